//! Pure: the first screen of help: the commands in groups, with examples. `help COMMAND` has the rest.

use clap::Command;

/// Columns of a screen.
const WIDTH: usize = 100;
/// Where the words begin that say what an example does.
const SAYS: usize = 59;

/// What belongs together, and what is typed most.
struct Group {
    title: &'static str,
    commands: &'static [&'static str],
    examples: [(&'static str, &'static str); 3],
}

const GROUPS: [Group; 5] = [
    Group {
        title: "Every day",
        commands: &[
            "init",
            "build-all",
            "build",
            "watch",
            "test",
            "run",
            "shell",
            "logs",
            "up",
            "down",
            "status",
            "plan",
            "size",
            "prefetch",
            "alias",
            "sync-config",
            "render",
            "verify",
        ],
        examples: [
            ("build-all", "everything, in order, once"),
            ("watch api --up", "build on change, start it anew"),
            ("status --explain api", "what changed since it was built"),
        ],
    },
    Group {
        title: "Release",
        commands: &["push", "push-all", "promote", "base-images", "lock", "outdated", "registry"],
        examples: [
            ("build-all v1 --push --registry r.example.com", "build, and push under a tag"),
            ("build-all --locked", "on nothing but what images.lock says"),
            ("base-images publish", "the base images' release, step by step"),
        ],
    },
    Group {
        title: "Air gap",
        commands: &["bundle", "rebuild"],
        examples: [
            ("bundle create -o all.tar", "all that a rebuild elsewhere needs"),
            ("bundle load all.tar", "check every byte, load what is missing"),
            ("rebuild api --up", "rebuild without a network, and start"),
        ],
    },
    Group {
        title: "CI",
        commands: &["affected", "matrix", "inspect", "builder", "ci", "bench"],
        examples: [
            ("affected --since main", "images that a change reaches"),
            ("build-all --progress plain --junit r.xml", "one fact per line, and a report"),
            ("size --check", "fail where an image is over its budget"),
        ],
    },
    Group {
        title: "Care",
        commands: &["doctor", "history", "report", "clean", "engine", "completions", "man"],
        examples: [
            ("doctor", "what is amiss here, and what helps"),
            ("report --open", "the last run as a page"),
            ("clean", "what nothing needs, after showing it"),
        ],
    },
];

/// With the first screen in place of clap's list.
pub(super) fn with_overview(command: Command) -> Command {
    let text = overview(&command);
    command.override_help(text)
}

/// The screen.
fn overview(command: &Command) -> String {
    let shown = || command.get_subcommands().filter(|one| !one.is_hide_set()).map(Command::get_name);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let program = command.get_bin_name().unwrap_or(command.get_name());
    let mut text =
        format!("{about}\n\nUsage: {program} COMMAND [OPTIONS]; `{program} help COMMAND` says all of one\n");
    for Group { title, commands, examples } in &GROUPS {
        let there: Vec<&str> =
            commands.iter().copied().filter(|name| shown().any(|one| one == *name)).collect();
        text.push('\n');
        push_wrapped(&mut text, title, &there);
        for (typed, says) in examples {
            let typed = format!("  {program} {typed}");
            text.push_str(&format!("{typed:<SAYS$}  {says}\n"));
        }
    }
    let is_known = |name: &&str| GROUPS.iter().any(|group| group.commands.contains(name));
    let further: Vec<&str> = shown().filter(|name| *name != "help" && !is_known(name)).collect();
    if !further.is_empty() {
        text.push('\n');
        push_wrapped(&mut text, "More", &further);
    }
    let options = command.get_arguments().filter(|one| one.is_global_set() && !one.is_hide_set());
    let options: Vec<String> = options.filter_map(|one| Some(format!("--{}", one.get_long()?))).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).filter(|one| *one != "--help").collect();
    text.push('\n');
    push_wrapped(&mut text, "Everywhere", &options);
    text
}

/// `Title: a b c`, in lines that fit.
fn push_wrapped(text: &mut String, title: &str, words: &[&str]) {
    let mut line = format!("{title}:");
    for word in words {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = "  ".to_owned();
            line.push_str(word);
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn it_fits_a_screen_and_names_every_command_once() {
        let command = Cli::command();
        let own = Command::new("deploy").about("theirs");
        for command in [command.clone(), command.subcommand(own)] {
            let text = overview(&command);
            assert!(text.lines().count() <= 40, "{}\n{text}", text.lines().count());
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            let lists = text.lines().filter(|line| !line.contains("cargo xtask"));
            let words: Vec<&str> = lists.flat_map(str::split_whitespace).collect();
            for name in command.get_subcommands().map(Command::get_name).filter(|name| *name != "help") {
                assert_eq!(words.iter().filter(|word| **word == name).count(), 1, "{name}\n{text}");
            }
        }
    }

    #[test]
    fn its_examples_can_be_typed() {
        for (typed, _) in GROUPS.iter().flat_map(|group| group.examples) {
            let words = typed.split(' ');
            let parsed = Cli::command().try_get_matches_from(std::iter::once("xtask").chain(words));
            assert!(parsed.is_ok(), "{typed}: {:?}", parsed.err().map(|error| error.to_string()));
        }
    }
}
