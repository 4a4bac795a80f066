//! `builder list|inspect|up|down`: the builders that there are, and what they build for; a private one of the tree.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;

use super::args::{self, BuilderCommand, Format};
use super::session::{Session, Typed};
use crate::build::{self, Worker};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::Surroundings;
use crate::engine::builders::{self, BuilderNode};
use crate::engine::provision::builder::{self as private, BuilderHome, PRIVATE};
use crate::engine::provision::{Announce, Data, ProvisionError};
use crate::model::Platform;
use crate::settings::Layer;

/// A private builder that takes longer to answer has failed.
const START: Duration = Duration::from_secs(30);
/// After this it runs, or has ended.
const FIRST_BREATH: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// A builder, as it is told.
#[derive(Serialize)]
struct Told {
    /// What `--builder` takes.
    name: String,
    nodes: Vec<ToldNode>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct ToldNode {
    name: String,
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    platforms: Vec<Platform>,
    workers: Vec<Worker>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// `builder`
pub(super) async fn run(typed: &Typed<'_>, args: args::Builder) -> Result<ExitCode, Error> {
    let session = Session::open(typed, Layer::default(), &[])?;
    let surroundings = session.surroundings();
    let announce = |message: String| super::say(&message);
    match &args.command {
        BuilderCommand::Up => return up(&session, &announce).await,
        BuilderCommand::Down { purge } => {
            let data = if *purge { Data::Purge } else { Data::Keep };
            private::stop(&BuilderHome::of_tree(&session.config.root), data, &announce).await?;
            return Ok(ExitCode::Good);
        }
        BuilderCommand::List { .. } | BuilderCommand::Inspect { .. } => {}
    }
    let known = || surroundings.buildx_dir.as_deref().map(builders::instances).unwrap_or_default();
    let (names, format) = match args.command {
        BuilderCommand::List { format } => {
            let mut names = known();
            let is_up = surroundings.private_builder.is_some();
            let more = session.builder_named().into_iter().chain(is_up.then(|| PRIVATE.to_owned()));
            for name in more {
                if !names.contains(&name) {
                    names.insert(0, name);
                }
            }
            (names, format)
        }
        BuilderCommand::Inspect { name, format } => {
            let name = name.or_else(|| session.builder_named()).ok_or_else(|| {
                Error::new(ErrorKind::Usage, "no builder is named")
                    .hint("`cargo xtask builder inspect BUILDER`, or `builder` in .config/xtask.toml")
            })?;
            (vec![name], format)
        }
        BuilderCommand::Up | BuilderCommand::Down { .. } => (Vec::new(), Format::Human),
    };
    let told = join_all(names.into_iter().map(|name| {
        let nodes = builders::nodes(&name, &surroundings);
        async move {
            match nodes {
                Ok(nodes) => Told { name, nodes: join_all(nodes.iter().map(node)).await, error: None },
                Err(why) => Told { name, nodes: Vec::new(), error: Some(why) },
            }
        }
    }))
    .await;
    let is_away = |told: &Told| told.error.is_some() || told.nodes.iter().all(|node| node.error.is_some());
    let text = match format {
        Format::Human if told.is_empty() => {
            "no builders but the engine's own; `--builder ENDPOINT` names one".to_owned()
        }
        Format::Human => told.iter().map(text).collect::<Vec<_>>().join("\n"),
        // Strings, lists and maps with string keys: serialising them cannot fail.
        Format::Json => serde_json::to_string_pretty(&told).unwrap_or_default(),
    };
    super::print(&session.secrets.redact(&text));
    let only = told.first().filter(|_| told.len() == 1);
    Ok(if only.is_some_and(is_away) { ExitCode::EngineUnfit } else { ExitCode::Good })
}

/// Starts the private builder unless it answers already, and waits until it does.
async fn up(session: &Session, announce: Announce<'_>) -> Result<ExitCode, Error> {
    let home = BuilderHome::of_tree(&session.config.root);
    let surroundings = Surroundings { private_builder: Some(home.endpoint()), ..session.surroundings() };
    let nodes = builders::nodes(PRIVATE, &surroundings).unwrap_or_default();
    let answers = async || match nodes.first() {
        Some(node) => build::about(node).await.is_ok(),
        None => false,
    };
    if !answers().await {
        private::stop(&home, Data::Keep, announce).await?;
        private::start(&home, announce).await?;
        let begin = tokio::time::Instant::now();
        while !answers().await {
            let is_gone = home.processes().is_empty() && begin.elapsed() > FIRST_BREATH;
            if is_gone || begin.elapsed() > START {
                let (why, log) = (home.last_words(), home.log());
                private::stop(&home, Data::Keep, announce).await?;
                return Err(ProvisionError::BuilderStart { why, log }.into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    super::print(&home.endpoint());
    Ok(ExitCode::Good)
}

async fn node(node: &BuilderNode) -> ToldNode {
    let asked = build::about(node).await;
    let error = asked.as_ref().err().map(build::plainly);
    let (version, workers) = asked.unwrap_or_default();
    let mut platforms = node.platforms.clone();
    if platforms.is_empty() {
        platforms = workers.iter().flat_map(|worker| worker.platforms.iter().cloned()).collect();
        platforms.dedup();
    }
    let (name, endpoint) = (node.name.clone(), node.endpoint().to_owned());
    ToldNode { name, endpoint, version, platforms, workers, error }
}

fn text(told: &Told) -> String {
    let mut text = told.name.clone();
    if let Some(error) = &told.error {
        let _ = write!(text, "\n  {error}");
    }
    for node in &told.nodes {
        if node.name != told.name {
            let _ = write!(text, "\n  {}", node.name);
        }
        if node.endpoint != told.name {
            let _ = write!(text, "\n  endpoint   {}", node.endpoint);
        }
        if let Some(error) = &node.error {
            let _ = write!(text, "\n  no answer  {error}");
            continue;
        }
        let platforms: Vec<String> = node.platforms.iter().map(ToString::to_string).collect();
        let _ = write!(
            text,
            "\n  buildkit   {}\n  platforms  {}",
            node.version.as_deref().unwrap_or("before 0.11"),
            platforms.join(", ")
        );
    }
    text
}
