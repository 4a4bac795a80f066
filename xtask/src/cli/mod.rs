//! What was typed becomes a request; one file per command, or per family of commands. Decides nothing, wires
//! everything: settings, tree, engine, planners, executor, report.

#![expect(clippy::print_stderr, reason = "what must be said before a run's report begins goes to stderr")]

mod affected;
pub mod app;
pub mod args;
mod bake;
mod base_images;
mod bench;
mod brought;
mod builder;
mod bump;
mod bundle;
mod caches;
mod checked;
mod clean;
mod commands;
mod completions;
mod containers;
mod doctor;
mod engine;
pub mod error;
mod foreign;
mod init;
mod intent;
mod interrupt;
mod local_registry;
mod lock;
mod locked;
mod man;
mod moved;
mod names;
mod overview;
mod page;
mod pipeline;
mod prove;
mod provisioning;
mod query;
mod rebuild;
mod replan;
mod reproducible;
mod run;
mod secret_args;
mod select;
mod serve;
mod session;
mod shell;
mod shown;
mod sinks;
mod size;
#[cfg(test)]
mod tests;
mod trials;
mod up;
mod variants;
mod watch;
mod world;

use std::io::Write as _;

use self::args::{Cli, Command};
use self::session::Typed;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::events;
use crate::model::program;
use crate::report;
use crate::report::bug::RunNotes;
use crate::report::resolve::{self, Colour, Forge, Mode};
use crate::report::{github, markdown};
use crate::settings::env::Env;

/// Does what was typed, and tells what went wrong.
fn run(cli: Cli, notes: &RunNotes) -> std::process::ExitCode {
    let style = Telling::of(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(&Error::of(ErrorKind::Unexpected, &error), style, notes).into(),
    };
    let result = runtime.block_on(dispatch(cli, notes));
    // A blocking task that outlives a cancelled run must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(code) => code.into(),
        Err(error) => tell(&error, style, notes).into(),
    }
}

async fn dispatch(cli: Cli, notes: &RunNotes) -> Result<ExitCode, Error> {
    let Cli { global, command } = cli;
    let env = Env::from_process();
    answer(command, &Typed { global: &global, notes, env: &env, engine: None }).await
}

async fn answer(command: Command, typed: &Typed<'_>) -> Result<ExitCode, Error> {
    match command {
        Command::BuildAll(args) => commands::build_all(typed, args).await,
        Command::Prefetch(args) => commands::prefetch(typed, args).await,
        Command::Alias(args) => commands::alias(typed, args).await,
        Command::SyncConfig(args) => commands::sync_config(typed, args).await,
        Command::Render(args) => commands::render(typed, args).await,
        Command::Build(args) => commands::build(typed, args).await,
        Command::Watch(args) => watch::run(typed, *args).await,
        Command::Up(args) => up::up(typed, *args).await,
        Command::Down(args) => up::down(typed, args).await,
        Command::Run(args) => containers::run(typed, *args).await,
        Command::Logs(args) => containers::logs(typed, args).await,
        Command::Test(args) => commands::test(typed, *args).await,
        Command::Size(args) => interruptible(size::run(typed, args)).await,
        Command::Shell(args) => shell::run(typed, *args).await,
        Command::Verify(args) => commands::verify(typed, args).await,
        Command::Push(args) => commands::push(typed, args).await,
        Command::PushAll(args) => commands::push_all(typed, args).await,
        Command::Status(args) => interruptible(query::status(typed, args)).await,
        Command::Doctor(args) => interruptible(doctor::run(typed, args)).await,
        Command::Plan(args) => interruptible(query::plan(typed, args)).await,
        Command::Inspect(args) => query::inspect(&args),
        Command::Affected(args) => interruptible(affected::run(typed, args)).await,
        Command::Matrix(args) => interruptible(affected::matrix(typed, args)).await,
        Command::Lock(args) => lock::run(typed, args).await,
        Command::Clean(args) => clean::run(typed, args).await,
        Command::Init(args) => init::run(typed, args).await,
        Command::History(args) => query::history(typed, &args).await,
        Command::Bundle(args) => bundle::run(typed, args.command).await,
        Command::Rebuild(args) => rebuild::run(typed, args).await,
        Command::BaseImages(args) => base_images::run(typed, *args).await,
        Command::Report(args) => page::run(typed, &args).await,
        Command::Builder(args) => interruptible(builder::run(typed, args)).await,
        Command::Engine(args) => interruptible(engine::run(typed, args)).await,
        Command::Registry(args) => interruptible(local_registry::run(typed, args)).await,
        Command::Ci(args) => engine::ci(typed, args).await,
        Command::Completions(args) => completions::run(typed, &args),
        Command::Man(args) => man::run(typed, &args),
        Command::Bench(args) => bench::run(typed, args).await,
    }
}

/// For what has nothing to wind down: Ctrl-C ends it where it is.
async fn interruptible<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    interrupt::or_interrupted(work).await.unwrap_or_else(|| Err(Error::told(ErrorKind::Interrupted)))
}

/// What was typed behind the program's name, so that a shell takes it again.
fn typed_words() -> String {
    let words = std::env::args().skip(1).map(|word| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
        let needs_no_quotes = !word.is_empty() && word.chars().all(is_plain);
        if needs_no_quotes { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Prints a command's data. A reader that has gone away (`| head`) is no error.
fn print(text: &str) {
    #[cfg(test)]
    if tests::heard(text) {
        return;
    }
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = stdout.write_all(b"\n");
    }
    let _ = stdout.flush();
}

/// Puts a question to the person at the terminal; the answer follows on the same line.
fn ask(question: &str) {
    eprint!("{question}");
}

/// Says something to people before a run's report begins, or without one.
fn say(text: &str) {
    eprintln!("{}", program::as_called(text));
}

/// How an error is told that no run's screen has told.
#[derive(Clone, Copy, Debug)]
enum Telling {
    Text(Colour, Forge),
    /// As the last event: `--progress json` has nothing but events on stderr.
    Event(Forge),
}

impl Telling {
    fn of(global: &args::Global) -> Self {
        let display = resolve::resolve(session::display_input(global, &Env::from_process(), false));
        match display.mode {
            Mode::Json => Self::Event(display.forge),
            _ => Self::Text(display.colour, display.forge),
        }
    }
}

fn tell(error: &Error, how: Telling, notes: &RunNotes) -> ExitCode {
    add_to_job_summary(error, notes);
    match how {
        Telling::Text(colour, forge) => {
            if let Some(failure) = error.telling(&notes.secrets) {
                report::tell(&failure, colour, forge);
            }
        }
        Telling::Event(forge) => {
            if let Some(kind) = error.as_event(&notes.secrets) {
                report::tell_event(&events::lone(kind), forge);
            }
        }
    }
    error.code()
}

/// What ends a command belongs into the job summary too: there may have been no run that told it there.
fn add_to_job_summary(error: &Error, notes: &RunNotes) {
    let file = Env::from_process().github_step_summary();
    if let (Some(file), Some(failure)) = (file, error.telling(&notes.secrets)) {
        let command = notes.secrets.redact(&typed_words()).into_owned();
        // The exit code speaks, and so does what follows; a summary that cannot be written stops neither.
        let _ = github::append(&file, |room| markdown::failure(&command, &failure, room));
    }
}
