//! `doctor`: looks at the machine, the engine, the registries and the tree, and says what is wrong with them.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::args::{self, Format};
use super::rebuild::compose_paths;
use super::session::{Session, Typed};
use crate::cli::error::{Error, ExitCode};
use crate::doctor::gather::{Inputs, gather};
use crate::doctor::{Area, Report, Screen, judge, text};
use crate::model::program;
use crate::report::resolve::Colour;
use crate::settings::Layer;

/// Below that a line cannot be read any more.
const NARROWEST: usize = 30;

/// `doctor`
pub(super) async fn run(typed: &Typed<'_>, args: args::Doctor) -> Result<ExitCode, Error> {
    let (session, trouble) = Session::open_or_built_in(typed, Layer::default())?;
    let inputs = Inputs {
        config: session.config.clone(),
        trouble: trouble.and_then(|error| told(&session, &error)),
        files: settings_files(typed, &session),
        compose: compose_paths(&session).concat(),
        surroundings: session.surroundings(),
        registry: session.registry(),
    };
    let mut report = judge(&gather(&inputs).await);
    for check in &mut report.checks {
        session.secrets.redact_in(&mut check.evidence);
        check.fix.iter_mut().for_each(|fix| {
            session.secrets.redact_in(fix);
            *fix = program::as_called(fix).into_owned();
        });
    }
    let answer = match args.format {
        // Strings and numbers: serialising them cannot fail.
        Format::Json => serde_json::to_string_pretty(&report).unwrap_or_default(),
        Format::Human => text(&report, screen(&session)),
    };
    super::print(&answer);
    Ok(code(&report))
}

/// What a report ends with: what is wrong with the machine says more than what is wrong around it.
fn code(report: &Report) -> ExitCode {
    match report.failed() {
        None => ExitCode::Good,
        Some(Area::Machine) => ExitCode::EngineUnfit,
        Some(Area::Settings) => ExitCode::ConfigInvalid,
        Some(Area::Sources) => ExitCode::SourceInvalid,
        Some(Area::Registries) => ExitCode::PullFailed,
    }
}

/// Why the settings cannot be used, and what to do.
fn told(session: &Session, error: &Error) -> Option<(String, String)> {
    let failure = error.telling(&session.secrets)?;
    let what = std::iter::once(failure.what).chain(failure.causes).collect::<Vec<_>>().join(": ");
    Some((what, failure.hints.join("; ")))
}

/// Those that are there, as people know them.
fn settings_files(typed: &Typed<'_>, session: &Session) -> Vec<String> {
    let named = typed.global.config.as_ref().map(|path| path.display().to_string());
    let project = named.is_none().then(|| ".config/xtask.toml".to_owned());
    let usual = [".config/xtask.local.toml", ".env"].map(str::to_owned);
    let is_there = |path: &String| session.config.root.join(PathBuf::from(path)).is_file();
    named.into_iter().chain(project.into_iter().chain(usual).filter(is_there)).collect()
}

/// Stdout, if it is a terminal; else every check stays on its line.
fn screen(session: &Session) -> Screen {
    let is_terminal = std::io::stdout().is_terminal();
    let columns = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    Screen {
        columns: columns.filter(|_| is_terminal).map(|columns| columns.max(NARROWEST)),
        colour: if session.colours_stdout(is_terminal) { Colour::Yes } else { Colour::No },
    }
}
