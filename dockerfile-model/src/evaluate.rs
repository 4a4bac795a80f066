//! Runs through the instructions of one reachable stage: variables in order, and what is read of the context.
//!
//! In: a stage's instructions and the scope that it starts with. Out: its scope at the end, inputs, ARG names, and
//! what the front end would refuse. The rules are those of BuildKit's `dispatch` (`dockerfile2llb/convert.go`,
//! `convert_runmount.go`).

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::base_doubt::{BaseDoubt, When};
use super::command::{Command, Mount, Transfer};
use super::front_end::{Feature, Use};
use super::lex::{Expansion, Lex, UNKNOWN, Variables as _};
use super::lines::Findings;
use super::remote::{Origin, origin_of};
use super::scope::{Globals, StageScope, Workdir};
use super::values;
use super::{Dockerfile, Instruction, Options};
use crate::{InputKind, InputPattern, SecretKind, SecretMount};

/// Keys of `--mount`; those without a value are marked.
const MOUNT_KEYS: [(&str, bool); 19] = [
    ("type", false),
    ("from", false),
    ("source", false),
    ("src", false),
    ("target", false),
    ("dst", false),
    ("destination", false),
    ("readonly", true),
    ("ro", true),
    ("readwrite", true),
    ("rw", true),
    ("required", true),
    ("size", false),
    ("id", false),
    ("sharing", false),
    ("mode", false),
    ("uid", false),
    ("gid", false),
    ("env", false),
];
const MOUNT_TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

/// What a run through stages collects.
pub(super) struct Evaluation<'a> {
    pub options: &'a Options<'a>,
    pub globals: &'a Globals,
    pub lex: Lex,
    pub inputs: Vec<InputPattern>,
    /// ARG names of the stages.
    pub declared: BTreeSet<String>,
    /// Global ARGs whose values the stages take over.
    pub inherited: BTreeSet<String>,
    /// Secrets and agents that mounts ask for.
    pub secrets: Vec<SecretMount>,
    /// What base images decide.
    pub base_doubts: Vec<BaseDoubt>,
    /// What the instruction at hand uses that not every front end knows.
    uses: RefCell<Vec<(Feature, String)>>,
    /// Bytes that variables came to, all together.
    expanded: Cell<usize>,
}

/// What all variables of a file may come to, in bytes.
const MAX_EXPANDED: usize = 4 * 1024 * 1024;

impl<'a> Evaluation<'a> {
    pub(super) fn new(file: &Dockerfile, options: &'a Options<'a>, globals: &'a Globals) -> Self {
        Self {
            options,
            globals,
            lex: Lex::new(file.escape),
            inputs: Vec::new(),
            declared: BTreeSet::new(),
            inherited: BTreeSet::new(),
            secrets: Vec::new(),
            base_doubts: Vec::new(),
            uses: RefCell::default(),
            expanded: Cell::default(),
        }
    }
}

impl Evaluation<'_> {
    /// Evaluates one instruction. `line` is where its findings and inputs are reported.
    pub(super) fn step(
        &mut self,
        instruction: &Instruction,
        line: u32,
        scope: &mut StageScope,
        found: &mut Findings,
    ) {
        if let Err(why) = self.try_step(instruction, line, scope) {
            found.error(line, format!("{}: {why}", instruction.keyword));
        }
        let uses = self.uses.take().into_iter();
        found.uses.extend(uses.map(|(feature, written)| Use { feature, written, line, trap: None }));
        for heredoc in instruction.heredocs.iter().filter(|heredoc| heredoc.expand) {
            let mut lex = Lex::new('\\');
            lex.skip_quotes = true;
            if matches!(instruction.command, Command::Transfer(_))
                && let Err(why) = lex.expand(&heredoc.content, scope)
            {
                found.error(line, format!("heredoc `{}`: {why}", heredoc.name));
            }
        }
    }

    fn try_step(
        &mut self,
        instruction: &Instruction,
        line: u32,
        scope: &mut StageScope,
    ) -> Result<(), String> {
        match &instruction.command {
            Command::Arg(args) => {
                args.iter().try_for_each(|(name, default)| self.arg(name, default.as_deref(), scope))
            }
            Command::Env(pairs) => {
                let mut values = Vec::with_capacity(pairs.len());
                for (name, value) in pairs {
                    values.push((
                        self.expand(name, scope)?.into_owned(),
                        self.expand(value, scope)?.into_owned(),
                    ));
                }
                // All of them see the environment before the instruction.
                values.into_iter().for_each(|(name, value)| scope.set_env(name, value));
                Ok(())
            }
            Command::Transfer(transfer) => self.transfer(transfer, line, scope),
            Command::Run(mounts) => mounts.iter().try_for_each(|mount| self.mount(mount, line, scope)),
            Command::Workdir(word) => {
                let folder = self.expand(word, scope)?.into_owned();
                scope.workdir = scope.workdir.then(&folder);
                Ok(())
            }
            Command::Expose(words) => words.iter().try_for_each(|word| {
                let ports = self.lookup(word, scope)?.words;
                ports
                    .iter()
                    .filter(|port| !port.contains(UNKNOWN))
                    .try_for_each(|port| values::check_port(port))
            }),
            Command::Volume(words) => words.iter().try_for_each(|word| self.volume(word, line, scope)),
            Command::StopSignal(word) => {
                let signal = self.expand(word, scope)?;
                if signal.contains(UNKNOWN) { Ok(()) } else { values::check_signal(&signal) }
            }
            Command::Words(words) if instruction.keyword == "LABEL" => {
                for pair in words.chunks(2) {
                    let name = self.expand(&pair[0], scope)?.into_owned();
                    pair.iter().skip(1).try_for_each(|value| self.expand(value, scope).map(drop))?;
                    scope.labels.insert(name);
                }
                Ok(())
            }
            Command::Words(words) => words.iter().try_for_each(|word| self.expand(word, scope).map(drop)),
            Command::From(_) | Command::Onbuild(_) | Command::Other | Command::Refused => Ok(()),
        }
    }

    fn expand<'w>(&self, word: &'w str, scope: &StageScope) -> Result<Cow<'w, str>, String> {
        if self.lex.is_plain(word) {
            return Ok(word.into());
        }
        Ok(self.lookup(word, scope)?.text.into())
    }

    /// The word with its variables; the same, split where they have blanks.
    fn lookup(&self, word: &str, scope: &StageScope) -> Result<Expansion, String> {
        let expansion = self.lex.expand(word, scope)?;
        self.expanded.set(self.expanded.get() + expansion.text.len());
        if self.expanded.get() > MAX_EXPANDED {
            return Err("the file's variables stand for more than 4 MiB, all together".to_owned());
        }
        let features = expansion.features.iter();
        self.uses.borrow_mut().extend(features.map(|feature| (*feature, word.to_owned())));
        Ok(expansion)
    }

    fn arg(&mut self, name: &str, default: Option<&str>, scope: &mut StageScope) -> Result<(), String> {
        self.declared.insert(name.to_owned());
        let value = match (self.options.build_args.get(name), default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => Some(self.expand(default, scope)?.into_owned()),
            (None, None) => {
                self.inherited.insert(name.to_owned());
                self.globals.get(name).map(str::to_owned)
            }
        };
        scope.set_arg(name, value);
        Ok(())
    }

    fn transfer(&mut self, transfer: &Transfer, line: u32, scope: &StageScope) -> Result<(), String> {
        for word in [&transfer.to, &transfer.owner] {
            self.expand(word, scope)?;
        }
        let mode = self.mode(transfer, scope)?;
        // A symbolic mode changes the one that is there; parents that come along keep theirs.
        let sets_mode = u32::from_str_radix(&mode, 8).is_ok() && !transfer.parents;
        if transfer.has_checksum && transfer.sources.len() != 1 {
            return Err("--checksum takes exactly one source".to_owned());
        }
        for source in &transfer.sources {
            let source = self.expand(source, scope)?;
            let origin = origin_of(&source);
            if transfer.has_checksum && origin == Origin::Local && !source.contains(UNKNOWN) {
                return Err("--checksum is for URLs and git only".to_owned());
            }
            match (transfer.kind, origin) {
                (InputKind::Add, Origin::Http) => {}
                (InputKind::Add, Origin::Git) => self.using(Feature::AddGit, format!("ADD {source}")),
                (_, Origin::Http | Origin::Git) => {
                    return Err(format!("`{source}` is not local; only ADD reads URLs and git"));
                }
                (_, Origin::Local) if transfer.from.is_some() => {}
                (kind, Origin::Local) => self.inputs.push(InputPattern {
                    excludes: transfer.excludes.clone(),
                    parents: transfer.parents,
                    sets_mode,
                    ..InputPattern::new(cut_at_unknown(source.into_owned()), line, kind)
                }),
            }
        }
        Ok(())
    }

    /// Notes what the stage's base image decides.
    fn doubt(&mut self, scope: &StageScope, line: u32, message: String, when: When) {
        if let Some(base) = scope.base.clone() {
            self.base_doubts.push(BaseDoubt { base, line, message, when });
        }
    }

    fn volume(&mut self, word: &str, line: u32, scope: &StageScope) -> Result<(), String> {
        let expansion = self.lookup(word, scope)?;
        let why = format!("`{word}` is empty, and a volume needs a path");
        if expansion.text.is_empty() {
            return Err(why);
        }
        if expansion.text.chars().all(|c| c == UNKNOWN) {
            self.doubt(scope, line, format!("VOLUME: {why}"), When::SetsNone(expansion.unmatched));
        }
        Ok(())
    }

    fn using(&self, feature: Feature, written: String) {
        self.uses.borrow_mut().push((feature, written));
    }

    /// `--chmod` that begins with a digit is octal; the rest is symbolic and left to the builder.
    fn mode(&self, transfer: &Transfer, scope: &StageScope) -> Result<String, String> {
        let mode = self.expand(&transfer.mode, scope)?.into_owned();
        let written = || format!("--chmod={}", transfer.mode);
        if mode != transfer.mode {
            self.using(Feature::ChmodVariable, written());
        }
        let is_numeric = mode.starts_with(|c: char| c.is_ascii_digit());
        match u32::from_str_radix(&mode, 8) {
            Ok(value) if value > 0o7777 => return Err(format!("--chmod={mode} is more than 7777")),
            Err(_) if mode.is_empty() || mode.contains(UNKNOWN) => {}
            Err(_) if is_numeric => return Err(format!("--chmod={mode} is not octal")),
            Err(_) => self.using(Feature::ChmodSymbolic, written()),
            Ok(_) => {}
        }
        Ok(mode)
    }

    /// `parseMount` with variables.
    fn mount(&mut self, mount: &Mount, line: u32, scope: &StageScope) -> Result<(), String> {
        let (mut kind, mut source) = ("bind".to_owned(), String::new());
        let (mut from, mut target) = (String::new(), String::new());
        let (mut id, mut is_required) = (String::new(), false);
        for (key, value) in &mount.fields {
            let Some((_, may_be_bare)) = MOUNT_KEYS.iter().find(|(known, _)| known == key) else {
                let hint = super::command::did_you_mean(key, MOUNT_KEYS.map(|(key, _)| key), str::to_owned);
                return Err(format!("a mount has no key `{key}`{hint}"));
            };
            let value = match value {
                Some(value) => self.expand(value, scope)?.into_owned(),
                None if *may_be_bare => "true".to_owned(),
                None => return Err(format!("`{key}` of a mount needs a value")),
            };
            match key.as_str() {
                "type" => kind = value.to_ascii_lowercase(),
                "source" | "src" => source = value,
                "from" => from = value,
                "id" => id = value,
                "required" => {
                    is_required = matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")
                }
                "target" | "dst" | "destination" => target = value,
                "size" => self.using(Feature::TmpfsSize, "RUN --mount=…,size=".to_owned()),
                "env" => self.using(Feature::SecretEnv, "RUN --mount=…,env=".to_owned()),
                _ => {}
            }
        }
        if !MOUNT_TYPES.contains(&kind.as_str()) && !kind.contains(UNKNOWN) {
            return Err(format!("`{kind}` is no type of mount; there are {}", MOUNT_TYPES.join(", ")));
        }
        if !matches!(kind.as_str(), "secret" | "ssh") {
            let why = "a mount cannot have `/` as its target";
            let here = format!("{why}, and `{target}` is that here: the stage has no WORKDIR yet");
            match scope.workdir.then(&target) {
                Workdir::Root if target.starts_with('/') => return Err(why.to_owned()),
                Workdir::Root => return Err(here),
                Workdir::OfBase => self.doubt(scope, line, format!("RUN: {here}"), When::WorksInRoot),
                Workdir::Below | Workdir::Unknown => {}
            }
        }
        self.secrets.extend(SecretMount::of(&kind, [source.as_str(), &id, &target], line, is_required));
        if kind == "bind" && from.is_empty() {
            let pattern = if source.is_empty() { ".".to_owned() } else { cut_at_unknown(source) };
            self.inputs.push(InputPattern::new(pattern, line, InputKind::Bind));
        }
        Ok(())
    }
}

impl SecretMount {
    /// What BuildKit asks for: of a secret its source, else its `id`, else the file name of its target
    /// (`convert_secrets.go`); of an agent its `id` (`convert_ssh.go`). None of other mounts, and of an ID that only a base
    /// image's environment tells.
    fn of(kind: &str, [source, id, target]: [&str; 3], line: u32, is_required: bool) -> Option<Self> {
        let first =
            |names: &[&str]| names.iter().find(|name| !name.is_empty()).map(|name| (*name).to_owned());
        let (kind, id) = match kind {
            "secret" => {
                let file = target.rsplit('/').next().unwrap_or_default();
                (SecretKind::Secret, first(&[source, id, file])?)
            }
            "ssh" => (SecretKind::Ssh, first(&[id, "default"])?),
            _ => return None,
        };
        (!id.contains(UNKNOWN)).then_some(Self { kind, id, line, is_required })
    }
}

/// A source that depends on the base image's own environment may be anything below its known folders.
fn cut_at_unknown(source: String) -> String {
    let Some(at) = source.find(UNKNOWN) else { return source };
    match source[..at].rfind('/') {
        Some(slash) => source[..=slash].to_owned(),
        None => ".".to_owned(),
    }
}
