//! One logical line becomes a typed command, as far as images, inputs and variables depend on it.
//!
//! In: the text of an instruction and its heredocs. Out: a [`Command`], or why the front end refuses it. The rules
//! are those of BuildKit's `instructions/parse.go` (frontend 1.20, `--parents` included). No variables are
//! expanded here.

use super::front_end::{Feature, Use};
use super::lines::parse_heredoc;
use super::values;
use super::words::{
    Json, parse_json, parse_pairs, split_blanks, split_csv, split_line, split_once_blank, split_quoted,
};
use super::{Heredoc, Instruction};
use crate::InputKind;

pub(super) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What an instruction does, as far as it matters here.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    From(From),
    Arg(Vec<(String, Option<String>)>),
    Env(Vec<(String, String)>),
    Transfer(Transfer),
    Run(Vec<Mount>),
    Workdir(String),
    Onbuild(Result<Box<Instruction>, String>),
    /// Ports and their ranges.
    Expose(Vec<String>),
    Volume(Vec<String>),
    StopSignal(String),
    /// Words in which variables are expanded, and nothing more.
    Words(Vec<String>),
    /// Nothing that matters here.
    Other,
    /// The front end refuses it; a diagnostic says why.
    Refused,
}

/// `FROM`
#[derive(Clone, Debug)]
pub(crate) struct From {
    pub image: String,
    pub platform: Option<String>,
    pub name: Option<String>,
}

/// `COPY` and `ADD`
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub kind: InputKind,
    pub from: Option<String>,
    pub sources: Vec<String>,
    pub excludes: Vec<String>,
    pub parents: bool,
    pub to: String,
    pub owner: String,
    pub mode: String,
    pub has_checksum: bool,
}

/// One `RUN --mount`, as written.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// `from=`, never expanded.
    pub from: Option<String>,
    /// All fields in order; values are expanded where the instruction runs.
    pub fields: Vec<(String, Option<String>)>,
}

/// The keyword in upper case, and what the line means.
pub(super) fn parse(text: &str, heredocs: &[Heredoc], escape: char) -> (String, Result<Command, String>) {
    let line = split_line(text, escape);
    let keyword = line.keyword.to_ascii_uppercase();
    let command = Arguments::new(&keyword, line.flags, &line.rest, escape)
        .and_then(|args| args.command(text, heredocs));
    (keyword, command)
}

/// What of an instruction's flags not every front end knows.
pub(super) fn uses(keyword: &str, flags: &[String], line: u32) -> Vec<Use> {
    let feature = |flag: &str| match (keyword, flag) {
        ("COPY" | "ADD", "--link") => Some(Feature::Link),
        ("COPY" | "ADD", "--exclude") => Some(Feature::Exclude),
        ("COPY", "--parents") => Some(Feature::Parents),
        ("ADD", "--checksum") => Some(Feature::Checksum),
        ("ADD", "--keep-git-dir") => Some(Feature::KeepGitDir),
        ("ADD", "--unpack") => Some(Feature::Unpack),
        ("RUN", "--network") => Some(Feature::RunNetwork),
        ("RUN", "--security") => Some(Feature::RunSecurity),
        ("RUN", "--device") => Some(Feature::RunDevice),
        ("HEALTHCHECK", "--start-interval") => Some(Feature::StartInterval),
        _ => None,
    };
    let mut uses: Vec<Use> = Vec::new();
    for flag in flags {
        let flag = flag.split_once('=').map_or(flag.as_str(), |(name, _)| name);
        if let Some(feature) = feature(flag)
            && uses.iter().all(|known| known.feature != feature)
        {
            uses.push(Use { feature, written: format!("{keyword} {flag}"), line, trap: None });
        }
    }
    uses
}

/// What still counts of an instruction that the front end refuses: a broken FROM begins a stage all the same.
pub(super) fn salvage(keyword: &str, text: &str, escape: char) -> Command {
    if keyword != "FROM" {
        return Command::Refused;
    }
    let mut words = split_blanks(&split_line(text, escape).rest).into_iter();
    let image = words.next().unwrap_or_default();
    let is_named = words.next().is_some_and(|word| word.eq_ignore_ascii_case("as"));
    let name = words.next().filter(|_| is_named).map(|name| name.to_lowercase());
    Command::From(From { image, platform: None, name })
}

/// What follows the keyword.
struct Arguments<'a> {
    keyword: &'a str,
    flags: Vec<String>,
    rest: &'a str,
    words: Vec<String>,
    is_json: bool,
    escape: char,
}

impl<'a> Arguments<'a> {
    fn new(keyword: &'a str, flags: Vec<String>, rest: &'a str, escape: char) -> Result<Self, String> {
        let mut args = Self { keyword, flags, rest, words: Vec::new(), is_json: false, escape };
        let whole = || if rest.is_empty() { Vec::new() } else { vec![rest.to_owned()] };
        match keyword {
            "ADD" | "COPY" | "VOLUME" | "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" => match parse_json(rest) {
                Json::Strings(words) => (args.words, args.is_json) = (words, true),
                Json::Mixed => return Err(MIXED_JSON.to_owned()),
                Json::Not if matches!(keyword, "ADD" | "COPY" | "VOLUME") => args.words = split_blanks(rest),
                Json::Not => args.words = whole(),
            },
            "EXPOSE" | "FROM" => args.words = split_blanks(rest),
            "MAINTAINER" | "STOPSIGNAL" | "USER" | "WORKDIR" => args.words = whole(),
            _ => {}
        }
        Ok(args)
    }

    fn command(mut self, text: &str, heredocs: &[Heredoc]) -> Result<Command, String> {
        match self.keyword {
            "FROM" => self.from(),
            "ARG" => self.arg(),
            "ENV" => {
                self.take_flags(&[])?;
                Ok(Command::Env(parse_pairs(self.rest, "ENV", self.escape)?))
            }
            "LABEL" => {
                self.take_flags(&[])?;
                let pairs = parse_pairs(self.rest, "LABEL", self.escape)?;
                Ok(Command::Words(pairs.into_iter().flat_map(|(name, value)| [name, value]).collect()))
            }
            "COPY" | "ADD" => self.transfer(),
            "RUN" => self.run(),
            "ONBUILD" => self.onbuild(text, heredocs),
            "WORKDIR" => {
                self.take_flags(&[])?;
                Ok(Command::Workdir(self.exactly_one()?))
            }
            "USER" | "STOPSIGNAL" | "MAINTAINER" => {
                if self.keyword != "STOPSIGNAL" {
                    self.take_flags(&[])?;
                }
                let word = self.exactly_one()?;
                Ok(match self.keyword {
                    "MAINTAINER" => Command::Other,
                    "STOPSIGNAL" => Command::StopSignal(word),
                    _ => Command::Words(vec![word]),
                })
            }
            "EXPOSE" => {
                self.take_flags(&[])?;
                self.at_least_one()?;
                Ok(Command::Expose(self.words))
            }
            "VOLUME" => {
                self.take_flags(&[])?;
                self.at_least_one()?;
                if self.words.iter().any(|word| word.trim().is_empty()) {
                    return Err("VOLUME must not be empty".to_owned());
                }
                Ok(Command::Volume(self.words))
            }
            "CMD" | "ENTRYPOINT" => {
                self.take_flags(&[])?;
                Ok(Command::Other)
            }
            "SHELL" => self.shell(),
            "HEALTHCHECK" => self.healthcheck(),
            other => Err(unknown_instruction(other)),
        }
    }

    fn shell(mut self) -> Result<Command, String> {
        self.take_flags(&[])?;
        if !self.is_json && !self.words.is_empty() {
            return Err("SHELL takes a JSON array, for example `SHELL [\"/bin/sh\", \"-c\"]`".to_owned());
        }
        self.at_least_one()?;
        Ok(Command::Other)
    }

    fn from(mut self) -> Result<Command, String> {
        let name = match self.words.as_slice() {
            [_] => None,
            [_, r#as, name] if r#as.eq_ignore_ascii_case("as") => {
                let lower = name.to_lowercase();
                if !is_stage_name(&lower) {
                    return Err(format!(
                        "`{name}` is no stage name: it begins with a letter, then letters, digits, `-`, `_`, `.`"
                    ));
                }
                Some(lower)
            }
            _ => return Err("FROM takes an image, or `image AS name`".to_owned()),
        };
        let mut platform = None;
        for (flag, value) in self.take_flags(&[("platform", Flag::Text)])? {
            debug_assert_eq!(flag, "platform");
            platform = Some(value).filter(|value| !value.is_empty());
        }
        let image = self.words.into_iter().next().unwrap_or_default();
        Ok(Command::From(From { image, platform, name }))
    }

    fn arg(self) -> Result<Command, String> {
        // Flags of ARG are dropped, not refused (`parseArg` never looks at them).
        let words = split_quoted(self.rest, self.escape);
        if words.is_empty() {
            return Err("ARG needs at least one argument".to_owned());
        }
        words
            .into_iter()
            .map(|word| match word.split_once('=') {
                Some(("", _)) => Err("ARG has a blank name".to_owned()),
                Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
                None => Ok((word, None)),
            })
            .collect::<Result<_, _>>()
            .map(Command::Arg)
    }

    fn transfer(mut self) -> Result<Command, String> {
        let is_add = self.keyword == "ADD";
        let known: &[(&str, Flag)] = if is_add {
            &[
                ("chown", Flag::Text),
                ("chmod", Flag::Text),
                ("link", Flag::Bool),
                ("keep-git-dir", Flag::Bool),
                ("checksum", Flag::Text),
                ("unpack", Flag::Bool),
                ("exclude", Flag::List),
            ]
        } else {
            &[
                ("parents", Flag::Bool),
                ("chown", Flag::Text),
                ("from", Flag::Text),
                ("chmod", Flag::Text),
                ("link", Flag::Bool),
                ("exclude", Flag::List),
            ]
        };
        if self.words.len() < 2 {
            return Err(format!("{} needs a source and a destination", self.keyword));
        }
        let kind = if is_add { InputKind::Add } else { InputKind::Copy };
        let mut transfer = Transfer {
            kind,
            from: None,
            sources: Vec::new(),
            excludes: Vec::new(),
            parents: false,
            to: self.words.pop().unwrap_or_default(),
            owner: String::new(),
            mode: String::new(),
            has_checksum: false,
        };
        for (flag, value) in self.take_flags(known)? {
            match flag {
                "from" => transfer.from = Some(value).filter(|value| !value.is_empty()),
                "exclude" => transfer.excludes.push(value),
                "chown" => transfer.owner = value,
                "chmod" => transfer.mode = value,
                "checksum" => transfer.has_checksum = !value.is_empty(),
                "parents" => transfer.parents = value == "true",
                _ => {}
            }
        }
        if matches!(parse_heredoc(&transfer.to), Ok(Some(_))) {
            return Err(format!("{} cannot write to a heredoc", self.keyword));
        }
        let is_path = |word: &String| !matches!(parse_heredoc(word), Ok(Some(_)));
        transfer.sources = self.words.into_iter().filter(is_path).collect();
        Ok(Command::Transfer(transfer))
    }

    fn run(mut self) -> Result<Command, String> {
        let flags = self.take_flags(&[
            ("mount", Flag::List),
            ("network", Flag::Text),
            ("security", Flag::Text),
            ("device", Flag::List),
        ])?;
        let mounts = flags.into_iter().filter(|(flag, _)| *flag == "mount");
        Ok(Command::Run(mounts.map(|(_, value)| parse_mount(&value)).collect::<Result<_, _>>()?))
    }

    fn onbuild(mut self, text: &str, heredocs: &[Heredoc]) -> Result<Command, String> {
        self.take_flags(&[])?;
        let trigger =
            split_once_blank(self.rest).map_or(self.rest, |(keyword, _)| keyword).to_ascii_uppercase();
        match trigger.as_str() {
            "" => return Err("ONBUILD needs an instruction".to_owned()),
            "ONBUILD" | "FROM" | "MAINTAINER" => return Err(format!("ONBUILD cannot trigger {trigger}")),
            _ => {}
        }
        let inner = split_line(self.rest, self.escape);
        let uses = uses(&trigger, &inner.flags, 0);
        // The trigger's own form is checked where it stands; whether it can run, where it is triggered.
        Arguments::new(&trigger, inner.flags, &inner.rest, self.escape)?;
        if trigger == "ENV" || trigger == "LABEL" {
            parse_pairs(&inner.rest, &trigger, self.escape)?;
        }
        let text = text.trim_start();
        let text = text.get("ONBUILD".len()..).unwrap_or_default().trim_start();
        // BuildKit stores the trigger as text and reads it again, with `\` as the escape.
        let (keyword, command) = parse(text, heredocs, '\\');
        Ok(Command::Onbuild(command.map(|command| {
            Box::new(Instruction {
                keyword,
                line: 0,
                end_line: 0,
                text: text.to_owned(),
                heredocs: heredocs.to_vec(),
                command,
                uses,
            })
        })))
    }

    fn healthcheck(mut self) -> Result<Command, String> {
        let (kind, rest) = match self.rest.find(char::is_whitespace) {
            Some(at) => (&self.rest[..at], self.rest[at..].trim_start()),
            None => (self.rest, ""),
        };
        match kind.to_ascii_uppercase().as_str() {
            "" => Err("HEALTHCHECK needs CMD or NONE".to_owned()),
            "NONE" if rest.is_empty() => Ok(Command::Other),
            "NONE" => Err("HEALTHCHECK NONE takes no arguments".to_owned()),
            "CMD" => {
                let flags = self.take_flags(&[
                    ("interval", Flag::Text),
                    ("timeout", Flag::Text),
                    ("start-period", Flag::Text),
                    ("start-interval", Flag::Text),
                    ("retries", Flag::Text),
                ])?;
                flags.iter().try_for_each(|(flag, value)| values::check_health_flag(flag, value))?;
                match parse_json(rest) {
                    Json::Mixed => Err(MIXED_JSON.to_owned()),
                    Json::Strings(words) if words.is_empty() => {
                        Err("HEALTHCHECK CMD needs a command".to_owned())
                    }
                    Json::Not if rest.is_empty() => Err("HEALTHCHECK CMD needs a command".to_owned()),
                    _ => Ok(Command::Other),
                }
            }
            _ => Err(format!("HEALTHCHECK takes CMD or NONE, not `{kind}`")),
        }
    }

    fn exactly_one(&mut self) -> Result<String, String> {
        self.words.pop().ok_or_else(|| format!("{} needs an argument", self.keyword))
    }

    fn at_least_one(&self) -> Result<(), String> {
        if self.words.is_empty() {
            Err(format!("{} needs at least one argument", self.keyword))
        } else {
            Ok(())
        }
    }

    /// `BFlags.Parse`: the flags with their values; a boolean's value is `true` or `false`.
    fn take_flags<'k>(&mut self, known: &[(&'k str, Flag)]) -> Result<Vec<(&'k str, String)>, String> {
        let mut taken: Vec<(&str, String)> = Vec::new();
        for flag in std::mem::take(&mut self.flags) {
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag.as_str(), None),
            };
            let bare = name.trim_start_matches("--");
            let Some(&(bare, kind)) = known.iter().find(|(known, _)| name.strip_prefix("--") == Some(known))
            else {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                let hint = did_you_mean(bare, names, |name| format!("--{name}"));
                return Err(format!("{} has no flag `{name}`{hint}", self.keyword));
            };
            if kind != Flag::List && taken.iter().any(|(name, _)| *name == bare) {
                return Err(format!("`{name}` is given twice"));
            }
            let value = match (kind, value) {
                (Flag::Bool, None) => "true".to_owned(),
                (Flag::Bool, Some(value)) if value.eq_ignore_ascii_case("true") => "true".to_owned(),
                (Flag::Bool, Some(value)) if value.eq_ignore_ascii_case("false") => "false".to_owned(),
                (Flag::Bool, Some(value)) => return Err(format!("`{name}` is true or false, not `{value}`")),
                (_, Some(value)) => value.to_owned(),
                (_, None) => return Err(format!("`{name}` needs a value")),
            };
            taken.push((bare, value));
        }
        Ok(taken)
    }
}

/// The type of a flag's value (`FlagType`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    Bool,
    Text,
    List,
}

const MIXED_JSON: &str = "a JSON array holds strings only";

/// `parseMount` before variables are known.
fn parse_mount(text: &str) -> Result<Mount, String> {
    let fields = split_csv(text).map_err(|why| format!("`--mount={text}` cannot be read: {why}"))?;
    let mut mount = Mount { from: None, fields: Vec::with_capacity(fields.len()) };
    for field in fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
            None => (field.to_lowercase(), None),
        };
        if let ("from", Some(value)) = (key.as_str(), &value) {
            if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(format!("`from={value}` of a mount cannot have variables; {ALIAS_STAGE}"));
            }
            mount.from = Some(value.clone()).filter(|value| !value.is_empty());
        }
        mount.fields.push((key, value));
    }
    Ok(mount)
}

/// What to do instead of a variable in `--from`.
pub(super) const ALIAS_STAGE: &str =
    "give the image a stage of its own, `FROM … AS name`, and name that stage";

/// `validStageName`, for a name in lower case.
fn is_stage_name(name: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    name.bytes().all(is_word) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

pub(super) fn unknown_instruction(written: &str) -> String {
    let hint = did_you_mean(&written.to_ascii_uppercase(), KEYWORDS, str::to_owned);
    format!("unknown instruction `{written}`{hint}")
}

/// `; did you mean …?`, or nothing when nothing is near.
pub(super) fn did_you_mean<'n>(
    typed: &str,
    names: impl IntoIterator<Item = &'n str>,
    show: impl Fn(&str) -> String,
) -> String {
    near(typed, names).map_or_else(String::new, |name| format!("; did you mean `{}`?", show(name)))
}

/// The name that is nearest to what was typed, if any is near.
pub(super) fn near<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let nearest = names.into_iter().map(|name| (strsim::damerau_levenshtein(typed, name), name)).min();
    nearest.filter(|(distance, name)| *distance <= 2 && distance * 2 < name.len()).map(|(_, name)| name)
}
