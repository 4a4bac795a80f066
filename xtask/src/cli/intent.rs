//! Pure: what somebody means by a word of other tools'. Misspellings are caught by clap itself.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// `run -v HERE:THERE` is what everybody types; our own `-v` stands alone. What is no text stays as it is.
pub(super) fn as_docker_has_it(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let (mut is_run, mut is_over) = (false, false);
    for word in words {
        is_over |= word == "--";
        let text = word.to_str().filter(|_| is_run && !is_over);
        if text.is_some_and(|text| text.contains(':')) && all.last().is_some_and(|last| last == "-v") {
            all.pop();
            all.push("--volume".into());
        }
        match text.and_then(|text| text.strip_prefix("-v")).filter(|rest| rest.contains(':')) {
            Some(rest) => all.extend(["--volume".into(), rest.into()]),
            None => all.push(word.clone()),
        }
        // Further on it may be somebody's word for something else, but then `-v` is followed by no path.
        is_run |= word == "run";
    }
    all
}

/// Commands of other tools: the command that they stand under here, the word, and what there is.
const COMMANDS: &[(&str, &[&str], &str)] = &[
    ("", &["pull", "fetch", "download"], "`prefetch` pulls the external base images"),
    (
        "",
        &["ls", "list", "images", "image", "show"],
        "`status` lists the images, and `base-images list` the base images",
    ),
    ("", &["ps", "top", "stats"], "containers are compose's: `docker compose ps`; `status` lists the images"),
    (
        "",
        &["exec", "sh", "bash", "attach", "debug"],
        "`shell IMAGE` opens a shell in an image, and `shell IMAGE.STAGE` in a kept stage",
    ),
    ("", &["start", "compose"], "`up` starts compose's services; `engine up` and `registry up` start those"),
    ("", &["stop", "kill"], "`down` stops compose's services; `engine down` and `registry down` stop those"),
    (
        "",
        &["tests", "check", "validate"],
        "`test` runs the tests of services, `verify` checks the images that are built, and `base-images test` the base images",
    ),
    ("", &["lint"], "`plan` says what is wrong with Dockerfiles, and `inspect FILE` what one needs"),
    (
        "",
        &["tag", "retag"],
        "`build-all --tag TAG` gives a tag, `--registry` a registry's name, and `alias` names base images",
    ),
    (
        "",
        &["rm", "rmi", "prune", "remove", "gc", "purge"],
        "`clean` removes what nothing needs, after showing it",
    ),
    ("", &["save", "export", "pack"], "`bundle create` writes all images to one file"),
    ("", &["load", "import"], "`bundle load FILE` loads one"),
    (
        "",
        &["deploy", "publish", "release", "upload"],
        "`push-all` pushes every image, and `base-images publish` the base images",
    ),
    ("", &["all", "make"], "`build-all`"),
    (
        "",
        &["rebuild-all"],
        "`build-all --force` rebuilds everything, and `rebuild` what has changed, without a network",
    ),
    ("", &["bake"], "`plan --format bake` writes a file for `docker buildx bake`"),
    ("", &["graph", "dot", "tree", "deps"], "`plan --format dot` draws what builds on what"),
    (
        "",
        &["diff", "changes", "changed", "why"],
        "`status --explain NAME` lists what changed, file by file; `affected --since REV` compares commits",
    ),
    ("", &["info", "env"], "`doctor` looks at this machine"),
    ("", &["config", "settings"], "`plan` shows what the settings come to; docs/config.md lists them"),
    (
        "",
        &["update", "upgrade", "outdated", "freeze", "pin"],
        "`lock` writes down which base images are used, and `lock --check` says which have moved",
    ),
    ("", &["login", "logout"], "what `docker login REGISTRY` stores is used"),
    (
        "",
        &["dev", "develop"],
        "`watch NAME` builds again whenever something changes, and `watch --up` starts it anew",
    ),
    ("bundle", &["ls", "list", "show", "info"], "`bundle inspect FILE`"),
    ("bundle", &["save", "export", "new", "pack", "build"], "`bundle create`"),
    ("bundle", &["import", "install", "unpack", "extract", "open"], "`bundle load FILE`"),
    ("bundle", &["check", "test"], "`bundle verify FILE`"),
    ("registry", &["ls", "images", "catalog", "catalogue", "tags", "show"], "`registry list`"),
    ("registry", &["start", "run"], "`registry up`"),
    ("registry", &["stop", "rm", "clean"], "`registry down`"),
    ("engine", &["start", "run"], "`engine up`"),
    ("engine", &["stop", "rm", "clean"], "`engine down`"),
    ("engine", &["info", "ps", "ls"], "`engine status`"),
];

/// Options of other tools, and which of ours are meant; the first that the command has is named.
const OPTIONS: &[(&[&str], &[&str])] = &[
    (&["no-cache", "rebuild", "recreate", "force-rebuild", "clean", "fresh"], &["force", "skip-cache-check"]),
    (&["parallel", "p", "max-parallel", "workers", "concurrency", "threads", "jobs"], &["jobs"]),
    (&["n", "dry", "dryrun", "just-print", "simulate", "noop", "print"], &["dry-run", "check"]),
    (&["debug", "log-level", "trace"], &["verbose"]),
    (&["silent", "s"], &["quiet"]),
    (&["exclude", "ignore", "except", "without"], &["skip", "skip-os"]),
    (
        &["service", "services", "image", "images", "target", "select", "include", "filter", "f"],
        &["only", "os"],
    ),
    (&["json", "output", "o"], &["format", "output"]),
    (&["no-color", "no-colour", "colour"], &["color"]),
    (&["local", "air-gapped", "airgapped", "no-network", "isolated"], &["offline"]),
    (&["retry", "attempts"], &["retries"]),
    (&["k", "continue", "continue-on-error"], &["keep-going"]),
    (&["x", "exit-first", "failfast", "abort-on-error"], &["fail-fast"]),
    (&["arg", "args", "set", "e", "env"], &["build-arg"]),
    (&["arch", "os-arch", "platforms"], &["platform"]),
    (&["repo", "repository", "host"], &["registry"]),
    (&["frozen", "frozen-lockfile", "immutable"], &["locked"]),
    (&["no-pull"], &["no-prefetch"]),
    (&["C", "chdir", "directory", "project-directory", "dir"], &["root"]),
    (&["assume-yes", "force", "no-confirm"], &["yes", "fix"]),
    (&["why", "reason", "diff"], &["explain"]),
];

/// Commands whose first word is a tag, and what is typed to mean services there.
pub(super) fn of_services(command: &str) -> Option<&'static str> {
    Some(match command {
        "build-all" => "build",
        "push-all" => "push",
        "status" => "status --only",
        "plan" => "plan --only",
        "verify" => "verify --only",
        "bundle create" => "bundle create --only",
        _ => return None,
    })
}

/// The same error with what is meant, where that is known. `words` is what was typed, without the program.
pub(super) fn with_tip(mut error: Error, root: &Command, words: &[String]) -> Error {
    let (path, command) = command_of(root, words);
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    let tip = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            text(ContextKind::InvalidSubcommand).and_then(|typed| command_tip(&path, typed))
        }
        ErrorKind::UnknownArgument => {
            match argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) {
                Some(option) => option_tip(root, command, option),
                None => several_names(&path, words).or_else(|| command_tip(&path, argument)),
            }
        }
        ErrorKind::ValueValidation if argument == "[TAG]" => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            of_services(&path)
                .map(|other| format!("a service or a folder is meant by `cargo xtask {other} {value}`"))
        }
        _ => None,
    };
    if let Some(tip) = tip {
        for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
            error.remove(kind);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Several words where one tag is taken mean services.
fn several_names(path: &str, words: &[String]) -> Option<String> {
    let other = of_services(path)?;
    let last = path.split(' ').next_back()?;
    let at = words.iter().position(|word| word == last)?;
    // What follows an option may be its value.
    let is_name = |pair: &&[String]| pair.iter().all(|word| !word.starts_with('-'));
    let names: Vec<&str> = words[at..].windows(2).filter(is_name).map(|pair| pair[1].as_str()).collect();
    let names = names.join(if other.ends_with("--only") { "," } else { " " });
    Some(format!("`{path}` takes one tag; `cargo xtask {other} {names}` is for single services"))
}

fn command_tip(path: &str, typed: &str) -> Option<String> {
    let typed = typed.to_lowercase();
    let of = |(parent, words, _): &&(&str, &[&str], &str)| *parent == path && words.contains(&typed.as_str());
    let (_, _, tip) = COMMANDS.iter().find(of)?;
    Some((*tip).to_owned())
}

fn option_tip(root: &Command, command: &Command, typed: &str) -> Option<String> {
    let typed = typed.split('=').next().unwrap_or(typed);
    let meant = OPTIONS.iter().filter(|(theirs, _)| theirs.contains(&typed)).flat_map(|(_, ours)| *ours);
    let mut found = meant.filter_map(|name| {
        let mut arguments = command.get_arguments().chain(root.get_arguments());
        arguments.find(|argument| argument.get_long() == Some(name))
    });
    let found = found.next()?;
    let help = found.get_help().map(ToString::to_string).unwrap_or_default();
    Some(format!("there is `--{}`: {help}", found.get_long().unwrap_or_default()))
}

/// The command that the words lead to, and its name below the program's.
fn command_of<'a>(root: &'a Command, words: &[String]) -> (String, &'a Command) {
    let (mut path, mut command) = (Vec::new(), root);
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        if let Some(found) = command.find_subcommand(word) {
            path.push(found.get_name());
            command = found;
        }
    }
    (path.join(" "), command)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::args::Cli;

    fn tip(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let error = Cli::try_parse_from(std::iter::once("xtask".to_owned()).chain(words.clone()));
        let error = error.err().unwrap_or_else(|| panic!("`{line}` is taken"));
        with_tip(error, &Cli::command(), &words).to_string()
    }

    #[test]
    fn a_volume_is_what_it_is_to_docker() {
        for (typed, expected) in [
            ("xtask run api -v a:b", "xtask run api --volume a:b"),
            ("xtask -v run -va:b api -v", "xtask -v run --volume a:b api -v"),
            ("xtask run api -- sh -v a:b", "xtask run api -- sh -v a:b"),
            ("xtask build -v a:b", "xtask build -v a:b"),
        ] {
            let words = as_docker_has_it(typed.split(' ').map(OsString::from));
            let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
            assert_eq!(words.join(" "), expected);
        }
    }

    #[test]
    fn what_other_tools_call_it_is_understood() {
        for (line, part) in [
            ("pull", "tip: `prefetch` pulls"),
            ("ls", "tip: `status` lists"),
            ("Exec api sh", "tip: `shell IMAGE`"),
            ("start api", "tip: `up` starts"),
            ("tests", "tip: `test` runs"),
            ("bundle ls", "tip: `bundle inspect FILE`"),
            ("build api --no-cache", "tip: there is `--force`: Rebuild everything"),
            ("build api --parallel 3", "tip: there is `--jobs`"),
            ("push-all -n", "tip: there is `--dry-run`"),
            ("plan --json", "tip: there is `--format`"),
            ("build-all api web", "`cargo xtask build api web` is for single services"),
            ("--root x build-all api web --jobs 3", "`cargo xtask build api web` is for single services"),
            ("status src/api", "`cargo xtask status --only src/api`"),
            ("bundle create v1 web", "`cargo xtask bundle create --only v1,web`"),
            ("builld", "similar subcommand"),
            ("build --forc", "similar argument"),
        ] {
            let told = tip(line);
            assert!(told.contains(part), "{line}: {told}");
        }
        // An option that the command has no counterpart of is not made up.
        assert!(!tip("doctor --no-cache").contains("tip: there is"), "{}", tip("doctor --no-cache"));
    }

    /// Every command and option that a tip names exists.
    #[test]
    fn tips_name_what_there_is() {
        let root = Cli::command();
        for (_, words, tip) in COMMANDS {
            for typed in *words {
                assert!(
                    root.find_subcommand(typed).is_none()
                        || COMMANDS.iter().any(|(p, w, _)| !p.is_empty() && w.contains(typed)),
                    "{typed} is a command"
                );
            }
            for quoted in
                tip.split('`').skip(1).step_by(2).filter(|q| !q.starts_with("docker ") && !q.starts_with('-'))
            {
                let words: Vec<String> = quoted.split(' ').map(str::to_owned).collect();
                let (path, command) = command_of(&root, &words);
                assert!(!path.is_empty(), "there is no `{quoted}`");
                for option in words.iter().filter_map(|word| word.strip_prefix("--")) {
                    let has = command.get_arguments().any(|argument| argument.get_long() == Some(option));
                    assert!(has, "`{path}` has no --{option}");
                }
            }
        }
        let options: Vec<&str> = root
            .get_subcommands()
            .flat_map(Command::get_arguments)
            .chain(root.get_arguments())
            .filter_map(clap::Arg::get_long)
            .collect();
        for ours in OPTIONS.iter().flat_map(|(_, ours)| ours.iter()) {
            assert!(options.contains(ours) || *ours == "os" || *ours == "skip-os", "no command has --{ours}");
        }
    }
}
