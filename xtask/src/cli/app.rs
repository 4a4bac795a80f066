//! The program as somebody starts it: `main`, or `main_with` with commands of a team's own beside ours.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind as Unparsed;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::args::Cli;
use super::{intent, overview};
use crate::cli::error::ExitCode;
use crate::model::program;
use crate::report::bug::{RunNotes, guard};
use crate::settings::{self, env::Env};

/// Commands that are about the repository of this program itself: nobody else is shown them, and where a team has its own
/// of that name, they are called as the second says.
const OF_THIS_REPOSITORY: [(&str, &str); 2] = [("ci", "xtask-images-ci"), ("bench", "xtask-images-bench")];

/// The whole program: reads the command line, does, tells what went wrong.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     xtask_images::main()
/// }
/// ```
pub fn main() -> std::process::ExitCode {
    main_with(|app| app)
}

/// The same with what a team adds: commands of its own stand beside ours, in `--help` too.
///
/// ```no_run
/// use xtask_images::clap::{Arg, Command};
///
/// fn main() -> std::process::ExitCode {
///     xtask_images::main_with(|app| {
///         let seed = Command::new("seed").about("Fill the database").arg(Arg::new("FILE").required(true));
///         app.command(seed, |matches| {
///             let root = xtask_images::root(matches)?;
///             println!("{} {}", root.display(), matches.get_one::<String>("FILE").unwrap());
///             Ok::<(), String>(())
///         })
///     })
/// }
/// ```
pub fn main_with(extend: impl FnOnce(App) -> App) -> std::process::ExitCode {
    let env = Env::from_process();
    let app = extend(App::default());
    program::is_called(env.called_as().unwrap_or(app.called.as_deref().unwrap_or(program::ALIAS)));
    let notes = RunNotes::default();
    guard(&notes, || match app.parse(&env) {
        Parsed::Ours(cli) => super::run(*cli, &notes),
        Parsed::Theirs(run, matches) => {
            // A panic of theirs is no bug of ours.
            drop(std::panic::take_hook());
            run(&matches)
        }
        Parsed::Told(code) => code.into(),
    })
}

/// The tree that a command works on, found as ours find it: `--root`, settings, the workspace, the git repository. For a
/// command of [`App::command`].
///
/// # Errors
/// When it is not a folder, or there is no working directory; the text says which.
pub fn root(matches: &ArgMatches) -> Result<PathBuf, String> {
    let named = matches.try_get_one::<PathBuf>("root").ok().flatten();
    let here =
        std::env::current_dir().map_err(|error| format!("the working directory cannot be used: {error}"))?;
    let found = settings::find_root(named.map(PathBuf::as_path), &here, &Env::from_process());
    found.map(|root| root.path).map_err(|error| error.to_string())
}

type Doing = Box<dyn FnOnce(&ArgMatches) -> std::process::ExitCode>;

/// The program before it runs, to add to.
#[derive(Default)]
pub struct App {
    called: Option<String>,
    theirs: Vec<(clap::Command, Doing)>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.theirs.iter().map(|(command, _)| command.get_name());
        f.debug_struct("App")
            .field("called", &self.called)
            .field("commands", &names.collect::<Vec<_>>())
            .finish()
    }
}

impl App {
    /// One more command; `run` is given what was typed to it, global options such as `--root` included. What it returns
    /// becomes the exit code as in `main`: `()`, `ExitCode`, or a `Result` of these, whose error is printed.
    #[must_use]
    pub fn command<T: std::process::Termination>(
        mut self,
        command: clap::Command,
        run: impl FnOnce(&ArgMatches) -> T + 'static,
    ) -> Self {
        self.theirs.push((command, Box::new(move |matches| run(matches).report())));
        self
    }

    /// What is typed to run it, for help and hints: `cargo xtask`, unless said here.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.called = Some(name.to_owned());
        self
    }

    fn parse(mut self, env: &Env) -> Parsed {
        let named: Vec<&clap::Command> = self.theirs.iter().map(|(command, _)| command).collect();
        let shape = match shape(&named, env) {
            Ok(shape) => shape,
            Err(clash) => {
                super::say(&clash);
                return Parsed::Told(ExitCode::Usage);
            }
        };
        let matches = match overview::with_overview(shape.clone())
            .try_get_matches_from(intent::as_docker_has_it(std::env::args_os()))
        {
            Ok(matches) => matches,
            Err(error) => {
                let words: Vec<String> = std::env::args().skip(1).collect();
                return Parsed::Told(refused(intent::with_tip(error, &shape, &words)));
            }
        };
        if let Some((name, typed)) = matches.subcommand()
            && let Some(at) = self.theirs.iter().position(|(command, _)| command.get_name() == name)
        {
            return Parsed::Theirs(self.theirs.swap_remove(at).1, Box::new(typed.clone()));
        }
        match Cli::from_arg_matches(&matches) {
            Ok(cli) => Parsed::Ours(Box::new(cli)),
            Err(error) => Parsed::Told(refused(error.format(&mut shape.clone()))),
        }
    }
}

/// What was typed.
enum Parsed {
    Ours(Box<Cli>),
    Theirs(Doing, Box<ArgMatches>),
    /// What there was to say was said.
    Told(ExitCode),
}

/// What clap knows of all commands: ours, as this tree is shown them, and theirs.
///
/// # Errors
/// When one of theirs has a name of ours.
pub(super) fn shape(theirs: &[&clap::Command], env: &Env) -> Result<clap::Command, String> {
    let is_theirs = |name: &str| theirs.iter().any(|command| command.get_name() == name);
    let is_at_home = is_at_home(env);
    let ours = Cli::command().mut_subcommands(|command| {
        let name = command.get_name();
        let Some((_, otherwise)) = OF_THIS_REPOSITORY.iter().find(|(own, _)| *own == name) else {
            return command;
        };
        let gives_way = is_theirs(name);
        let command = command.hide(!is_at_home);
        if gives_way { command.name(*otherwise) } else { command }
    });
    for command in theirs {
        let name = command.get_name();
        if ours
            .get_subcommands()
            .any(|own| own.get_name() == name || own.get_all_aliases().any(|alias| alias == name))
        {
            return Err(format!(
                "error: `{name}` is a command already, and `App::command` adds another one\n\
                 hint: call it otherwise where `main_with` adds it"
            ));
        }
    }
    let ours = theirs.iter().fold(ours, |ours, command| ours.subcommand((*command).clone()));
    let name = program::name();
    Ok(if name == program::ALIAS { ours } else { renamed(ours, name) })
}

/// With the name that is typed.
fn renamed(command: clap::Command, name: &'static str) -> clap::Command {
    let notes = command.get_after_help().map(ToString::to_string);
    let command = command.name(name).bin_name(name);
    let command = match notes {
        Some(notes) => command.after_help(program::as_called(&notes).into_owned()),
        None => command,
    };
    command.mut_subcommands(|sub| {
        let notes = sub.get_after_help().map(|notes| program::as_called(&notes.to_string()).into_owned());
        match notes {
            Some(notes) => sub.after_help(notes),
            None => sub,
        }
    })
}

/// Whether the tree is the repository of this program.
fn is_at_home(env: &Env) -> bool {
    let Ok(here) = std::env::current_dir() else { return false };
    let named = env.get_os("XTASK_ROOT").map(PathBuf::from);
    let root = settings::find_root(named.as_deref(), &here, env).map(|root| root.path);
    root.is_ok_and(|root| is_our_manifest(&root.join("xtask/Cargo.toml")))
}

fn is_our_manifest(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line == concat!("name = \"", env!("CARGO_PKG_NAME"), "\""))
}

/// Prints what clap says. It knows which of its texts are errors; those go to stderr.
fn refused(error: clap::Error) -> ExitCode {
    let _ = error.print();
    let is_help = matches!(error.kind(), Unparsed::DisplayHelp | Unparsed::DisplayVersion);
    if is_help { ExitCode::Good } else { ExitCode::Usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(theirs: &[&'static str], expected: Result<&[&str], &str>) {
        let commands: Vec<clap::Command> = theirs.iter().map(|name| clap::Command::new(*name)).collect();
        let commands: Vec<&clap::Command> = commands.iter().collect();
        match (shape(&commands, &Env::default()), expected) {
            (Ok(shape), Ok(expected)) => {
                shape.clone().debug_assert();
                for name in expected {
                    assert!(shape.find_subcommand(name).is_some(), "{name}");
                }
            }
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (found, _) => panic!("{theirs:?}: {found:?}"),
        }
    }

    #[test]
    fn commands_of_a_team_stand_beside_ours() {
        check(&[], Ok(&["plan", "ci", "bench"]));
        check(&["seed", "deploy"], Ok(&["plan", "seed", "deploy", "ci"]));
        check(&["ci"], Ok(&["ci", "xtask-images-ci"]));
        check(&["build"], Err("`build` is a command already"));
        check(&["check-status"], Err("`check-status` is a command already"));
    }
}
