//! `engine up|down|status`: the private engine of this tree. `ci`: all checks of this repository.

use super::args::{self, EngineCommand, Format};
use super::session::{Session, Typed};
use crate::ci::{self, CiError, Lacking};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::provision::{self, Data, EngineSettings, FOR_ENGINE, Home, Status};
use crate::settings::Layer;

/// `engine`
pub(super) async fn run(typed: &Typed<'_>, args: args::Engine) -> Result<ExitCode, Error> {
    let session = Session::open(typed, Layer::default(), &[])?;
    let home = Home::of_tree(&session.config.root);
    let announce = |message: String| super::say(&message);
    match args.command {
        EngineCommand::Up => {
            if session.bootstrap {
                provision::ensure_packages(&FOR_ENGINE, &announce).await?;
            }
            let endpoint = provision::up(&home, &EngineSettings::default(), &announce).await?;
            super::print(&endpoint);
        }
        EngineCommand::Down { purge } => {
            let data = if purge { Data::Purge } else { Data::Keep };
            provision::down(&home, data, &announce).await?;
        }
        EngineCommand::Status { check, format } => {
            let (state, endpoint) = match provision::status(&home).await {
                Status::Up(record) => ("up", Some(record.endpoint)),
                Status::Dead(record) => ("dead", Some(record.endpoint)),
                Status::Down => ("down", None),
            };
            // That it is down is an answer, and wrong only for who asks for more.
            let code = if check && state != "up" { ExitCode::EngineUnfit } else { ExitCode::Good };
            match (format, endpoint) {
                (Format::Json, endpoint) => {
                    super::print(&serde_json::json!({ "state": state, "endpoint": endpoint }).to_string());
                }
                (Format::Human, Some(endpoint)) => super::print(&format!("{state} {endpoint}")),
                (Format::Human, None) => super::print(state),
            }
            return Ok(code);
        }
    }
    Ok(ExitCode::Good)
}

/// `ci`: the checks of the repository that this program was built from, or of `--root`.
pub(super) async fn ci(typed: &Typed<'_>, args: args::Ci) -> Result<ExitCode, Error> {
    let session = Session::open(typed, Layer::default(), &[])?;
    let fails_if = |is_so: bool| if is_so { Lacking::Fails } else { Lacking::Skips };
    let settings = ci::Settings {
        bootstrap: if session.bootstrap { ci::Bootstrap::Yes } else { ci::Bootstrap::No },
        // There the tools are; elsewhere a machine may be cut off from their registry.
        no_packages: fails_if(session.env.is_github()),
        no_engine: fails_if(session.env.is_ci()),
        engines: args.engines,
        cache: session.env.cache_dir(),
    };
    let announce = |message: String| super::say(&message);
    // Dropping the checks on Ctrl-C stops their engines.
    let checks = ci::run(&session.config.root, &settings, &announce);
    match super::interrupt::or_interrupted(checks).await {
        None => Ok(ExitCode::Interrupted),
        Some(Ok(_)) => Ok(ExitCode::Good),
        Some(Err(CiError::Provision(error))) => Err(error.into()),
        Some(Err(error)) => Err(Error::of(ErrorKind::Command, &error)),
    }
}
