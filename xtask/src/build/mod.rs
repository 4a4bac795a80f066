//! EFFECT: who builds. BuildKit's own Control API, the same in a container engine and in a daemon of its own.
//!
//! In: a [`BuildSpec`] and the folder that its paths are relative to. Out: the image's ID, or a [`BuildError`]. `solve.rs` makes a
//! build of a spec, `control.rs` is the connection that it runs on, `session.rs` what the builder may ask us meanwhile
//! (`filesync.rs`: the planned files and no other; `secrets.rs`; `content.rs`: images that it is lent; `folders.rs`: caches and images in folders; `delivery.rs`: what takes its
//! result), `beside.rs` a build for an engine by another builder, `checks.rs` what a
//! front end finds without a build, `trace.rs` what it tells.

mod beside;
mod checks;
mod content;
mod control;
mod delivery;
mod failure;
mod fake;
mod filesync;
mod folders;
mod secrets;
mod session;
mod solve;
mod trace;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use self::content::Lent;
use self::delivery::{Delivery, Taker};
use crate::engine::builders::{BuilderNode, NodePlatforms};
use crate::engine::elsewhere::Elsewhere;
use crate::engine::{AnyEngine, Containers, DockerEngine, EngineError, OnProgress, Progress, Store};
use crate::model::{BuildSpec, Capabilities, Diagnostic, ImageId, Keeps, Platform};

pub use failure::BuildError;

/// How long a builder may take to say what it is: programs that pass its connection on have to start first.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a connection means that ends before anything was answered.
const MUTE: &str = "no BuildKit listens there, or one that wants TLS, and to see a certificate (`?cacert=FILE&cert=FILE&key=FILE`)";

/// Who builds images. Dropping a returned future cancels the work.
pub trait Builder: Send + Sync {
    /// Builds with BuildKit; `root` is what the spec's paths are relative to. Returns the image ID.
    fn build(
        &self,
        root: &Path,
        spec: &BuildSpec,
        progress: OnProgress<'_>,
    ) -> impl Future<Output = Result<ImageId, BuildError>> + Send;

    /// What the builder's own checks find in the Dockerfile of a build that is not made. None if its front end has none.
    fn check(
        &self,
        root: &Path,
        spec: &BuildSpec,
    ) -> impl Future<Output = Result<Option<Vec<Diagnostic>>, BuildError>> + Send;
}

/// What a daemon builds with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Worker {
    /// What the daemon calls it.
    pub id: String,
    /// What it builds for; its own first.
    pub platforms: Vec<Platform>,
    /// What it says of itself.
    pub labels: BTreeMap<String, String>,
}

/// What a builder that is no engine says of itself: its first node that answers.
///
/// # Errors
/// When none does, with what each said.
pub async fn ask(builder: &str, nodes: &[BuilderNode]) -> Result<Capabilities, EngineError> {
    let mut causes = Vec::new();
    for node in nodes {
        match about(node).await {
            Ok((version, workers)) => {
                let platforms = workers.first().map(|worker| worker.platforms.as_slice()).unwrap_or_default();
                let platform = node.platforms.first().or(platforms.first()).cloned();
                return Ok(Capabilities {
                    name: "buildkit".to_owned(),
                    version: version.unwrap_or_else(|| "before 0.11".to_owned()),
                    api: (0, 0),
                    buildkit: true,
                    platform: platform.unwrap_or_else(Platform::local),
                    keeps: Keeps::Registry,
                });
            }
            Err(error) => causes.push(format!("no answer at {}: {}", node.endpoint(), plainly(&error))),
        }
    }
    Err(EngineError::NoBuilder { builder: builder.to_owned(), causes })
}

/// An error of the one endpoint that was asked, which need not be named.
pub fn plainly(error: &EngineError) -> String {
    match error {
        EngineError::Unreachable { tried, .. } => tried.iter().map(|(_, cause)| cause.as_str()).collect(),
        other => other.to_string(),
    }
}

/// What one node is, and with what it builds.
///
/// # Errors
/// When it does not answer, or is no BuildKit.
pub async fn about(node: &BuilderNode) -> Result<(Option<String>, Vec<Worker>), EngineError> {
    let asked = async {
        let mut control = control::Control::dial(node).await?;
        let status = match control.about().await {
            Ok(told) => return Ok(told),
            Err(status) => status,
        };
        Err(match solve::lost(&status) {
            EngineError::Gone(_) => EngineError::Other(match control.why_gone().await {
                // TLS, or the program that passes the connection on, has said enough.
                Some(cause) if cause.contains("alert") || cause.contains("exited") => cause,
                Some(cause) => format!("{cause}; {MUTE}"),
                None => MUTE.to_owned(),
            }),
            other => other,
        })
    };
    let slow = |_| EngineError::Gone(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, asked).await.map_err(slow)?
}

/// What each node of a builder runs: its own platform first, then what it runs in other ways. A node that does not answer
/// runs nothing.
///
/// # Errors
/// When an engine does not answer.
pub async fn platforms(engine: &AnyEngine) -> Result<Vec<Vec<Platform>>, EngineError> {
    match engine {
        AnyEngine::Docker(engine) => {
            if let Some(beside) = &engine.beside {
                return Ok(of_nodes(&beside.nodes, &beside.platforms).await.clone());
            }
            let told = control::Control::open(engine).await?.about().await;
            let (_, workers) = told.map_err(|status| solve::lost(&status))?;
            Ok(vec![workers.into_iter().flat_map(|worker| worker.platforms).collect()])
        }
        AnyEngine::Elsewhere(there) => Ok(of_nodes(&there.nodes, &there.platforms).await.clone()),
        AnyEngine::Fake(_) => Ok(vec![vec![Platform::local()]]),
    }
}

/// What the nodes of a builder elsewhere are, for each its own platform; none of an engine's own builder.
pub async fn natives(engine: &AnyEngine) -> Option<Vec<Platform>> {
    let (nodes, platforms): (_, &NodePlatforms) = match engine {
        AnyEngine::Elsewhere(there) => (&there.nodes, &there.platforms),
        AnyEngine::Docker(engine) => {
            engine.beside.as_ref().map(|beside| (&beside.nodes, &beside.platforms))?
        }
        AnyEngine::Fake(_) => return None,
    };
    let mut natives: Vec<Platform> = Vec::new();
    for first in of_nodes(nodes, platforms).await.iter().filter_map(|all| all.first()) {
        if !natives.contains(first) {
            natives.push(first.clone());
        }
    }
    Some(natives)
}

/// Asked once.
async fn of_nodes<'n>(nodes: &[BuilderNode], platforms: &'n NodePlatforms) -> &'n Vec<Vec<Platform>> {
    let ask = |node: &BuilderNode| {
        let node = node.clone();
        async move {
            let workers = about(&node).await.map(|(_, workers)| workers).unwrap_or_default();
            workers.into_iter().flat_map(|worker| worker.platforms).collect()
        }
    };
    platforms.get_or_init(|| futures_util::future::join_all(nodes.iter().map(ask))).await
}

/// In which order nodes are asked to build for a platform: those that are such machines, those that run it in another way,
/// the others. Among equals the image decides, so that it always goes to the same node, which has its cache.
fn order(nodes: &[Vec<Platform>], platform: &Platform, share: impl Fn(usize) -> usize) -> Vec<usize> {
    let rank = |at: &usize| {
        let known = nodes.get(*at).map(Vec::as_slice).unwrap_or_default();
        match known.iter().position(|of| of.serves(platform)) {
            Some(0) => 0,
            Some(_) => 1,
            None => 2,
        }
    };
    let mut all = Vec::with_capacity(nodes.len());
    for wanted in 0..=2 {
        let mut equal: Vec<usize> = (0..nodes.len()).filter(|at| rank(at) == wanted).collect();
        if !equal.is_empty() {
            let first = share(equal.len());
            equal.rotate_left(first);
        }
        all.extend(equal);
    }
    all
}

/// What a run needs: a store, a builder and containers. An engine is all three.
pub trait Machine: Store + Builder + Containers {}

impl<M: Store + Builder + Containers> Machine for M {}

impl Builder for DockerEngine {
    async fn build(
        &self,
        root: &Path,
        spec: &BuildSpec,
        progress: OnProgress<'_>,
    ) -> Result<ImageId, BuildError> {
        self.fit_to_build()?;
        match &self.beside {
            Some(beside) => beside::build(self, beside, root, spec, progress).await,
            None => Ok(solve::build(&solve::Target::of(self), root, spec, progress).await?.id),
        }
    }

    async fn check(&self, root: &Path, spec: &BuildSpec) -> Result<Option<Vec<Diagnostic>>, BuildError> {
        self.fit_to_build()?;
        match &self.beside {
            Some(beside) => beside::check(self, beside, root, spec).await,
            None => checks::check(&solve::Target::of(self), root, spec).await,
        }
    }
}

impl Builder for Elsewhere {
    async fn build(
        &self,
        root: &Path,
        spec: &BuildSpec,
        progress: OnProgress<'_>,
    ) -> Result<ImageId, BuildError> {
        let build = |node| async move {
            let target = self.target(node, spec);
            let target = match &self.layout {
                Some(layout) => {
                    target.delivering(Delivery::to(Taker::Layout(layout.clone(), spec.tags.clone())))
                }
                None => target,
            };
            solve::build(&target, root, spec, progress).await
        };
        Ok(on_some_node((&self.nodes, &self.platforms), spec, progress, build).await?.id)
    }

    async fn check(&self, root: &Path, spec: &BuildSpec) -> Result<Option<Vec<Diagnostic>>, BuildError> {
        let check = |node| async move { checks::check(&self.target(node, spec), root, spec).await };
        on_some_node((&self.nodes, &self.platforms), spec, &|_| {}, check).await
    }
}

impl Elsewhere {
    /// A node, lent what a folder has of what is built on.
    fn target<'a>(&'a self, node: &'a BuilderNode, spec: &BuildSpec) -> solve::Target<'a> {
        let target = solve::Target::elsewhere(node, &self.surroundings);
        match &self.layout {
            Some(layout) => target.lent(Arc::new(Lent::of_layout(layout, spec))),
            None => target,
        }
    }
}

/// The same image goes to the same node, which has its cache; if that is away, to the next.
async fn on_some_node<'n, T, F: Future<Output = Result<T, BuildError>>>(
    (nodes, platforms): (&'n [BuilderNode], &NodePlatforms),
    spec: &BuildSpec,
    progress: OnProgress<'_>,
    ask: impl Fn(&'n BuilderNode) -> F,
) -> Result<T, BuildError> {
    let order = match nodes {
        [_] => vec![0],
        _ => order(of_nodes(nodes, platforms).await, &spec.platform, |nodes| solve::share_of(spec, nodes)),
    };
    let mut away = None;
    for node in order.into_iter().filter_map(|at| nodes.get(at)) {
        match ask(node).await {
            Err(BuildError::Engine(error @ (EngineError::Unreachable { .. } | EngineError::Gone(_))))
                if nodes.len() > 1 =>
            {
                progress(Progress::Warning(format!("the builder's node {} is left out: {error}", node.name)));
                away = Some(error);
            }
            done => return done,
        }
    }
    Err(away.unwrap_or_else(|| EngineError::Gone("the builder has no nodes".to_owned())).into())
}

impl Builder for AnyEngine {
    async fn build(
        &self,
        root: &Path,
        spec: &BuildSpec,
        progress: OnProgress<'_>,
    ) -> Result<ImageId, BuildError> {
        match self {
            Self::Docker(engine) => engine.build(root, spec, progress).await,
            Self::Elsewhere(there) => there.build(root, spec, progress).await,
            Self::Fake(engine) => engine.build(root, spec, progress).await,
        }
    }

    async fn check(&self, root: &Path, spec: &BuildSpec) -> Result<Option<Vec<Diagnostic>>, BuildError> {
        match self {
            Self::Docker(engine) => engine.check(root, spec).await,
            Self::Elsewhere(there) => there.check(root, spec).await,
            Self::Fake(engine) => engine.check(root, spec).await,
        }
    }
}
