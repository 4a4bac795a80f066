//! Pure: what can stand in place of the last word of a command line, as clap knows the command line.
//!
//! In: clap's command and the words after `cargo xtask`, the last of which is being typed. Out: candidates, or what kind
//! of name is wanted: files are the shell's to complete, names of the tree the caller's.

use clap::{Arg, ArgAction, Command};

/// What can stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One of these, each with a few words about it.
    OneOf(Vec<(String, String)>),
    /// A name of this kind, after the text that stands already (`a,b,`, `--only=`).
    Name { kind: Kind, before: String },
    /// A path, after the text that stands already.
    Path,
    /// Nobody knows.
    Anything,
}

/// Names that only a tree knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Services, and images.
    Service,
    /// Systems of base images.
    System,
    /// Runs on record.
    Run,
}

/// What can stand in place of the last word.
pub(super) fn wanted(root: &Command, words: &[String]) -> Wanted {
    let (before, current) = match words.split_last() {
        Some((current, before)) => (before, current.as_str()),
        None => (&[][..], ""),
    };
    let mut place = Place { command: root, globals: root, positionals: 0, awaits: None, is_escaped: false };
    for word in before {
        place.pass(word);
    }
    if let Some(argument) = place.awaits {
        return value_of(argument, current, "");
    }
    if !place.is_escaped && current.starts_with('-') {
        if let Some((flag, value)) = current.split_once('=')
            && let Some(argument) = place.find(flag)
        {
            return value_of(argument, value, &format!("{flag}="));
        }
        return Wanted::OneOf(flags(&place, current));
    }
    let mut found: Vec<(String, String)> = Vec::new();
    if place.positionals == 0 && !place.is_escaped {
        let commands = place.command.get_subcommands().filter(|command| !command.is_hide_set());
        found.extend(commands.flat_map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let names = std::iter::once(command.get_name()).chain(command.get_visible_aliases());
            names.map(|name| (name.to_owned(), about.clone())).collect::<Vec<_>>()
        }));
        found.retain(|(name, _)| name.starts_with(current));
    }
    let argument = place.positional();
    match argument.map(|argument| value_of(argument, current, "")) {
        Some(Wanted::OneOf(more)) => found.extend(more),
        Some(other) if found.is_empty() => return other,
        _ => {}
    }
    if found.is_empty() && argument.is_none() && place.command.get_subcommands().next().is_none() {
        return Wanted::OneOf(flags(&place, current));
    }
    Wanted::OneOf(found)
}

/// Where in a command line the words so far lead.
struct Place<'a> {
    command: &'a Command,
    globals: &'a Command,
    /// Positional arguments that stand already.
    positionals: usize,
    /// The option whose value comes next.
    awaits: Option<&'a Arg>,
    /// `--` stands already.
    is_escaped: bool,
}

impl<'a> Place<'a> {
    fn pass(&mut self, word: &str) {
        if self.awaits.take().is_some() {
            return;
        }
        if !self.is_escaped && word == "--" {
            self.is_escaped = true;
        } else if !self.is_escaped && word.starts_with('-') && word.len() > 1 {
            if !word.contains('=') {
                self.awaits = self.find(word).filter(|argument| argument.get_action().takes_values());
            }
        } else if self.positionals == 0
            && let Some(command) = self.command.find_subcommand(word)
        {
            self.command = command;
        } else {
            self.positionals += 1;
        }
    }

    /// The option that a word names; of several short ones in one word the last.
    fn find(&self, word: &str) -> Option<&'a Arg> {
        let is_named = |argument: &&Arg| match word.strip_prefix("--") {
            Some(long) => {
                argument.get_long() == Some(long)
                    || argument.get_all_aliases().is_some_and(|all| all.contains(&long))
            }
            None => argument.get_short().is_some() && argument.get_short() == word.chars().next_back(),
        };
        self.command.get_arguments().chain(self.globals.get_arguments()).find(is_named)
    }

    fn positional(&self) -> Option<&'a Arg> {
        let all: Vec<&Arg> =
            self.command.get_positionals().filter(|argument| !argument.is_hide_set()).collect();
        let takes_many = |argument: &&&Arg| {
            matches!(argument.get_action(), ArgAction::Append)
                || argument.get_num_args().is_some_and(|range| range.max_values() > 1)
        };
        all.get(self.positionals).or_else(|| all.last().filter(takes_many)).copied()
    }
}

fn flags(place: &Place<'_>, current: &str) -> Vec<(String, String)> {
    let own = place.command.get_arguments();
    let globals = place.globals.get_arguments().filter(|argument| argument.is_global_set());
    let mut found: Vec<(String, String)> = Vec::new();
    for argument in own.chain(globals).filter(|argument| !argument.is_hide_set()) {
        let Some(long) = argument.get_long() else { continue };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let flag = (format!("--{long}"), help);
        if flag.0.starts_with(current) && !found.contains(&flag) {
            found.push(flag);
        }
    }
    if "--help".starts_with(current) {
        found.push(("--help".to_owned(), "Print help".to_owned()));
    }
    found
}

/// What an argument's value can be; `flag` stands before it in the same word.
fn value_of(argument: &Arg, current: &str, flag: &str) -> Wanted {
    let possible = argument.get_possible_values();
    if !possible.is_empty() {
        let possible = possible.iter().filter(|value| !value.is_hide_set());
        let all = possible.map(|value| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            (value.get_name().to_owned(), help)
        });
        let fitting = all.filter(|(name, _)| name.starts_with(current));
        return Wanted::OneOf(fitting.map(|(name, help)| (format!("{flag}{name}"), help)).collect());
    }
    // `a,b` is a list where the argument takes one.
    let listed = argument.get_value_delimiter().and_then(|comma| current.rfind(comma).map(|at| at + 1));
    let before = format!("{flag}{}", &current[..listed.unwrap_or(0)]);
    let name = argument.get_value_names().unwrap_or_default().first().map_or("", |name| name.as_str());
    let kind = match name {
        "SERVICE" | "NAME" | "IMAGE" | "IMAGE or SERVICE" => Kind::Service,
        "OS" => Kind::System,
        "RUN" => Kind::Run,
        "FILE" | "DIR" | "PATH" | "BUNDLE" | "OLD" | "NEW" => return Wanted::Path,
        _ => return Wanted::Anything,
    };
    Wanted::Name { kind, before }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Cli;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let mut command = Cli::command();
        command.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let told = match wanted(&command, &words) {
            Wanted::OneOf(all) => all.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" "),
            Wanted::Name { kind, before } => format!("{kind:?} after `{before}`"),
            Wanted::Path => "path".to_owned(),
            Wanted::Anything => "anything".to_owned(),
        };
        assert_eq!(told, expected, "{line}");
    }

    #[test]
    fn commands_and_their_commands() {
        check("build", "build-all build build-service builder");
        check("--offline buil", "build-all build build-service builder");
        check("--network internal bui", "build-all build build-service builder");
        check("base-images ", "build list bump test e2e publish clean");
        check("base-images b", "build bump");
        check("nope ", "");
        check("engine s", "status");
        check("completions ", "bash zsh fish elvish powershell");
    }

    #[test]
    fn options_and_their_values() {
        check("build-all --dr", "--dry-run");
        check("build-all --progress p", "plain");
        check("build-all --progress=p", "--progress=plain");
        check("--color ", "auto always never");
        check("status --format ", "human json");
        check("build-all --jobs ", "anything");
        check("build-all -j", "");
        check("--root ", "path");
    }

    #[test]
    fn names_of_the_tree() {
        check("build ", "Service after ``");
        check("build api w", "Service after ``");
        check("build-all --only ", "Service after ``");
        check("build-all --only api,w", "Service after `api,`");
        check("build-all --only=api,w", "Service after `--only=api,`");
        check("report ", "Run after ``");
        check("base-images test --os ", "System after ``");
        check("build -- -x", "Service after ``");
        check("prefetch r", "Service after ``");
    }
}
