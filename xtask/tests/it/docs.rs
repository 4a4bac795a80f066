//! `docs/cli.md` says what the command line takes: each command and flag, as clap knows them.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use xtask::cli::args::Cli;

const PAGE: &str = include_str!("../../../docs/cli.md");

/// The table of a command's own options, as the page must have it.
fn table(arguments: &[&Arg]) -> String {
    let mut text = String::from("| option | meaning |\n|---|---|\n");
    for argument in arguments {
        let names = argument.get_value_names().unwrap_or_default();
        let takes = argument.get_action().takes_values() && !argument.is_positional();
        let value = names.first().filter(|_| takes).map(|name| format!(" {name}")).unwrap_or_default();
        let option = match (argument.get_long(), argument.get_short()) {
            (Some(long), Some(short)) => format!("`-{short}`, `--{long}{value}`"),
            (Some(long), None) => format!("`--{long}{value}`"),
            (None, _) => format!("`{}`", names.first().map_or("", |name| name.as_str())),
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default().replace('|', "\\|");
        let _ = writeln!(text, "| {option} | {help} |");
    }
    text
}

fn own_arguments(command: &Command) -> Vec<&Arg> {
    let is_own = |a: &&Arg| {
        !a.is_hide_set() && !a.is_global_set() && !matches!(a.get_id().as_str(), "help" | "version")
    };
    command.get_arguments().filter(is_own).collect()
}

fn sections(command: &Command, path: &str, out: &mut Vec<(String, String)>) {
    let name = format!("{path}{}", command.get_name());
    let arguments = own_arguments(command);
    let mut text = String::new();
    let aliases: Vec<String> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        let _ = writeln!(text, "Also called {}.\n", aliases.join(" and "));
    }
    if !arguments.is_empty() {
        text.push_str(&table(&arguments));
    }
    out.push((format!("## `{name}`"), text));
    for sub in command.get_subcommands() {
        sections(sub, &format!("{name} "), out);
    }
}

#[test]
fn the_page_lists_every_command_and_flag() {
    let mut cli = Cli::command();
    cli.build();
    let globals: Vec<&Arg> = cli.get_arguments().filter(|a| a.is_global_set() && !a.is_hide_set()).collect();
    let globals: Vec<&Arg> = globals.into_iter().filter(|a| a.get_id() != "help").collect();
    let mut wanted = vec![("## Everywhere".to_owned(), table(&globals))];
    for command in cli.get_subcommands().filter(|c| c.get_name() != "help") {
        sections(command, "", &mut wanted);
    }
    let mut lacking = String::new();
    for (heading, text) in &wanted {
        let section =
            PAGE.split("\n## ").find(|part| part.lines().next() == Some(heading.trim_start_matches("## ")));
        if !section.is_some_and(|section| section.contains(text.as_str())) {
            let _ = writeln!(lacking, "{heading}\n\n{text}");
        }
    }
    assert!(lacking.is_empty(), "docs/cli.md lacks:\n{lacking}");
    for heading in PAGE.lines().filter(|line| line.starts_with("## `")) {
        assert!(wanted.iter().any(|(known, _)| known == heading), "docs/cli.md: {heading} is no command");
    }
}

#[test]
fn the_page_names_every_field_of_the_documents() {
    let repo = crate::repo::TestRepo::new("//- src/a/Dockerfile\nFROM redis:7\nCOPY nope /\n");
    for words in ["plan --offline --format json", "status --offline --format json"] {
        let document = repo.json(words);
        let mut names: Vec<String> = document.as_object().unwrap().keys().cloned().collect();
        for list in ["images", "steps", "skipped", "diagnostics", "aliases"] {
            let first = document[list].get(0).and_then(|value| value.as_object());
            names.extend(first.into_iter().flat_map(|object| object.keys().cloned()));
        }
        for name in names {
            assert!(PAGE.contains(&format!("`{name}`")), "docs/cli.md does not speak of {name} ({words})");
        }
    }
}
