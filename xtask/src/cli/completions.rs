//! `completions`: the script for a shell, and what the script asks on each TAB.

mod candidates;

use clap::CommandFactory as _;

use self::candidates::{Kind, Wanted, wanted};
use super::args::{self, Cli, Shell};
use super::session::{Session, Typed};
use crate::cli::error::{Error, ExitCode};
use crate::read::discover;
use crate::report::history::{self, Filter};
use crate::report::text::neutralise;
use crate::settings::Layer;

/// What a script reads in place of candidates when the shell is to complete a path itself.
const PATHS: &str = ":paths";
/// What a script has in place of the program that it falls back on.
const PROGRAM: &str = "@PROGRAM@";
/// Runs that are offered.
const RUNS: usize = 20;

/// `completions`
pub(super) fn run(typed: &Typed<'_>, args: &args::Completions) -> Result<ExitCode, Error> {
    if !args.words.is_empty() {
        let answer = answer(typed, &args.words);
        if !answer.is_empty() {
            super::print(&answer);
        }
        return Ok(ExitCode::Good);
    }
    let script = match args.shell {
        Some(Shell::Bash) => include_str!("completions/bash.sh"),
        Some(Shell::Zsh) => include_str!("completions/zsh.sh"),
        Some(Shell::Fish) => include_str!("completions/script.fish"),
        Some(Shell::Elvish) => include_str!("completions/script.elv"),
        Some(Shell::Powershell) | None => include_str!("completions/script.ps1"),
    };
    let program = std::env::current_exe().unwrap_or_default();
    super::print(&script.replace(PROGRAM, &program.display().to_string()));
    Ok(ExitCode::Good)
}

/// A line for each candidate: what is typed, a tab, a few words about it.
fn answer(typed: &Typed<'_>, words: &[String]) -> String {
    let mut command = Cli::command();
    command.build();
    let words = join_equals(words);
    let current = words.last().map(String::as_str).unwrap_or_default();
    let found = match wanted(&command, &words) {
        Wanted::OneOf(found) => found,
        Wanted::Path => return format!("{PATHS}\n"),
        Wanted::Anything => Vec::new(),
        Wanted::Name { kind, before } => {
            let names = names(typed, kind).into_iter();
            let found = names.map(|(name, about)| (format!("{before}{name}"), about));
            found.filter(|(name, _)| name.starts_with(current)).collect()
        }
    };
    let lines = found.into_iter().map(|(name, about)| {
        let about = about.lines().next().unwrap_or_default().to_owned();
        format!("{}\t{}\n", neutralise(&name), neutralise(&about))
    });
    lines.collect()
}

/// bash gives `--only=api` as three words.
fn join_equals(words: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for word in words {
        match joined.last_mut() {
            Some(last) if word == "=" && last.starts_with("--") => last.push('='),
            Some(last) if last.starts_with("--") && last.ends_with('=') => last.push_str(word),
            _ => joined.push(word.clone()),
        }
    }
    joined
}

/// Names that the tree knows. A tree that cannot be read has none: nobody wants to read errors while typing.
fn names(typed: &Typed<'_>, kind: Kind) -> Vec<(String, String)> {
    let Ok(session) = Session::open(typed, Layer::default(), &[]) else { return Vec::new() };
    match kind {
        Kind::Service => {
            let services = discover::discover(&session.config).services.into_iter();
            services.map(|service| (service.name, String::new())).collect()
        }
        Kind::System => {
            let systems = discover::discover(&session.config).base_images.into_iter();
            systems.map(|system| (system.name, String::new())).collect()
        }
        Kind::Run => {
            let runs = history::list(&session.config.root, &Filter { image: None, limit: Some(RUNS) });
            let latest = ("latest".to_owned(), "the newest".to_owned());
            let ids = runs.into_iter().map(|run| (run.run, format!("{} {}", run.command, run.sentence)));
            std::iter::once(latest).chain(ids).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::join_equals;

    #[test]
    fn what_bash_took_apart_is_one_word_again() {
        let check = |line: &str, expected: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(join_equals(&words).join(" "), expected, "{line}");
        };
        check("build --only = api", "build --only=api");
        check("build --only = ", "build --only=");
        check("build --only =", "build --only=");
        check("build --build-arg A = B", "build --build-arg A = B");
    }
}
