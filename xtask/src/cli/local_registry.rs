//! `registry up|down|list|status`: a registry on this machine, to try pushes against by hand.

use std::path::PathBuf;

use super::args::{self, Format, RegistryCommand};
use super::provisioning;
use super::session::{Session, Typed};
use super::trials::is_on_this_machine;
use crate::base_images::trial::{REGISTRIES, TrialOwner};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::{AnyEngine, Store as _};
use crate::model::{Lifetime, Observed, RegistrySpec};
use crate::read::tree;
use crate::registry::local::{self, LocalRegistryError, Status};
use crate::settings::Layer;

/// Its folder's name, beside those of runs.
const NAME: &str = "local";
/// Where registries listen by custom.
const PORT: u16 = 5000;

/// `registry`
pub(super) async fn run(typed: &Typed<'_>, args: args::LocalRegistry) -> Result<ExitCode, Error> {
    let layer = Layer { registry_port: args.port, ..Layer::default() };
    let session = Session::open(typed, layer, &[])?;
    let home = session.config.root.join(REGISTRIES).join(NAME);
    match args.command {
        RegistryCommand::Up => {
            let _lock = session.lock().await?;
            up(&session, home).await
        }
        RegistryCommand::Down => {
            let _lock = session.lock().await?;
            // Without an engine there can still be a program to stop.
            let engine = session.connect().await.ok();
            match local::down(engine.as_ref(), &session.config.root, &home).await? {
                Some(record) => super::say(&format!(
                    "{} at {} is gone, with all that it stored",
                    record.source,
                    record.domain()
                )),
                None => super::say("there is no registry to take away"),
            }
            Ok(ExitCode::Good)
        }
        RegistryCommand::List { format } => list(local::status(&home).await, format).await,
        RegistryCommand::Status { check, format } => {
            let status = local::status(&home).await;
            let code = match status {
                Status::Dead(_) | Status::Down if check => ExitCode::EngineUnfit,
                Status::Up(_) | Status::Dead(_) | Status::Down => ExitCode::Good,
            };
            tell(&status, format);
            Ok(code)
        }
    }
}

async fn up(session: &Session, home: PathBuf) -> Result<ExitCode, Error> {
    // A container on another machine would listen there.
    let engine = session.connect().await.ok().filter(|engine| is_on_this_machine(engine).is_ok());
    match local::status(&home).await {
        Status::Up(record) => {
            super::say(&format!("{} runs already", record.source));
            super::print(&record.domain());
            return Ok(ExitCode::Good);
        }
        // What does not answer is in the way of one that does.
        Status::Dead(_) => drop(local::down(engine.as_ref(), &session.config.root, &home).await?),
        Status::Down => {}
    }
    let observed = observe(engine.as_ref()).await;
    if session.bootstrap {
        provisioning::registry(&observed, &|message| super::say(&message)).await?;
    }
    let source = local::find_source(&observed).ok_or(LocalRegistryError::NoSource)?;
    let port = session.config.registry_port.unwrap_or(PORT);
    let owner = TrialOwner {
        run: format!("registry-{NAME}"),
        process: String::new(),
        tree: tree::identity(&session.config.root),
    };
    let spec = RegistrySpec {
        home: home.display().to_string(),
        port,
        labels: owner.labels(),
        lifetime: Lifetime::UntilDown,
    };
    let running = local::start(engine.as_ref(), &source, &session.config.root, &spec).await?;
    let record = &running.record;
    if record.port != port {
        super::say(&format!("port {port} is somebody else's; took {}", record.port));
    }
    super::say(&format!("started {}; `cargo xtask registry down` takes it away", record.source));
    super::print(&record.domain());
    Ok(ExitCode::Good)
}

/// What the registry has: a name that can be pulled on each line.
async fn list(status: Status, format: Format) -> Result<ExitCode, Error> {
    let Status::Up(record) = status else {
        return Err(Error::new(ErrorKind::EngineUnfit, "there is no registry of this tree that answers")
            .hint("`cargo xtask registry up` starts one"));
    };
    let repositories = local::catalogue(&record).await?;
    match format {
        Format::Json => {
            let domain = record.domain();
            super::print(&serde_json::json!({ "domain": domain, "repositories": repositories }).to_string());
        }
        Format::Human => {
            let domain = record.domain();
            let names = repositories.iter().flat_map(|repository| {
                repository
                    .tags
                    .iter()
                    .map(|tag| format!("{domain}/{}:{tag}\n", repository.name))
                    .collect::<Vec<_>>()
            });
            let names: String = names.collect();
            if names.is_empty() {
                super::say(&format!("{domain} has nothing yet"));
            } else {
                super::print(&names);
            }
        }
    }
    Ok(ExitCode::Good)
}

/// What the engine has; nothing when there is none.
async fn observe(engine: Option<&AnyEngine>) -> Observed {
    match engine {
        Some(engine) => engine.observe().await.unwrap_or_default(),
        None => Observed::nothing(),
    }
}

fn tell(status: &Status, format: Format) {
    let (state, record) = match status {
        Status::Up(record) => ("up", Some(record)),
        Status::Dead(record) => ("dead", Some(record)),
        Status::Down => ("down", None),
    };
    let text = match (format, record) {
        (Format::Json, record) => {
            let told = serde_json::json!({
                "state": state,
                "domain": record.map(local::RegistryRecord::domain),
                "source": record.map(|record| &record.source),
            });
            told.to_string()
        }
        (Format::Human, Some(record)) => format!("{state} {} ({})", record.domain(), record.source),
        (Format::Human, None) => state.to_owned(),
    };
    super::print(&text);
}
