//! What was typed becomes a request; one file per command, or per family of commands. Decides nothing, wires
//! everything: settings, tree, engine, planners, executor, report.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "stdout is a command's data, stderr is for what must be said before a run's report begins"
)]

pub mod args;
mod commands;
mod engine;
mod interrupt;
mod pipeline;
mod provisioning;
mod query;
mod session;

use std::io::Write as _;

use clap::Parser as _;
use clap::error::ErrorKind;

use self::args::{Cli, Command};
use crate::error::{Error, ExitCode};
use crate::report;
use crate::report::resolve::Colour;
use crate::secrets::Secrets;

/// The whole program: parses, does, tells what went wrong.
pub fn main() -> std::process::ExitCode {
    install_panic_hook();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap knows which of its texts are errors; those go to stderr.
            let _ = error.print();
            let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if is_help { ExitCode::Good } else { ExitCode::Usage }.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(&Error::of(ExitCode::Unexpected, &error)).into(),
    };
    let result = runtime.block_on(dispatch(cli));
    // A blocking task that outlives a cancelled run must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(code) => code.into(),
        Err(error) => tell(&error).into(),
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Error> {
    let Cli { global, command } = cli;
    match command {
        Command::BuildAll(args) => commands::build_all(&global, args).await,
        Command::Prefetch(args) => commands::prefetch(&global, args).await,
        Command::Alias(args) => commands::alias(&global, args).await,
        Command::SyncConfig(args) => commands::sync_config(&global, args).await,
        Command::Render(args) => commands::render(&global, args).await,
        Command::Build(args) => commands::build(&global, args).await,
        Command::Verify(args) => commands::verify(&global, args).await,
        Command::Push(args) => commands::push(&global, args).await,
        Command::PushAll(args) => commands::push_all(&global, args).await,
        Command::Status(args) => query::status(&global, args).await,
        Command::Plan(args) => query::plan(&global, args).await,
        Command::Inspect(args) => query::inspect(&global, &args),
        Command::History(args) => query::history(&global, &args),
        Command::Engine(args) => engine::run(&global, args).await,
    }
}

/// Prints a command's data. A reader that has gone away (`| head`) is no error.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = stdout.write_all(b"\n");
    }
    let _ = stdout.flush();
}

/// Says something to people before a run's report begins, or without one.
fn say(text: &str) {
    eprintln!("{text}");
}

fn tell(error: &Error) -> ExitCode {
    if let Some(failure) = error.telling(&Secrets::default()) {
        report::tell(&failure, Colour::No);
    }
    error.code()
}

/// A panic is a bug of this program; it says so, in few words, and leaves the terminal usable.
fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        eprintln!("error: this is a bug in xtask: {what} at {place}");
        eprintln!("hint: what was done so far is in target/xtask/runs/latest/events.ndjson");
    }));
}
