//! A builder beside an engine: it builds, the engine keeps. What it is to build on is lent of the engine's store, and what it
//! has built is loaded into it, so that everything that looks at images looks at the engine alone.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::bollard::DockerEngine;
use super::builders::{BuilderNode, NodePlatforms};
use super::survey::{self, ImageStore};
use super::{AnyEngine, EngineError, Surroundings};
use crate::model::Capabilities;

/// The first BuildKit whose front end takes over images that are lent over a session (buildkit v0.11, `source/ocilayout`); the
/// first as well that says which one it is.
const LENDS_SINCE: &str = "0.11";

/// A builder that has said what it can do, and how the engine keeps what it makes.
#[derive(Debug)]
pub struct Beside {
    /// Where it builds.
    pub(crate) nodes: Vec<BuilderNode>,
    pub(crate) platforms: NodePlatforms,
    pub(crate) surroundings: Surroundings,
    /// Below it lie copies of what is lent.
    pub(crate) root: PathBuf,
    pub(crate) store: ImageStore,
    /// One at a time has the engine save something, since the next one may want the same.
    pub(crate) lending: Mutex<()>,
}

impl AnyEngine {
    /// The same engine, for which a builder elsewhere builds. `root` is where copies are kept of what is lent to it.
    ///
    /// # Errors
    /// The builder cannot be lent anything, or the engine does not answer.
    pub async fn built_for_by(
        self,
        nodes: Vec<BuilderNode>,
        builder: &Capabilities,
        surroundings: Surroundings,
        root: PathBuf,
    ) -> Result<Self, EngineError> {
        let Self::Docker(engine) = self else { return Ok(self) };
        if !builder.version.starts_with(|c: char| c == 'v' || c.is_ascii_digit()) {
            let endpoint = nodes.first().map_or("", BuilderNode::endpoint).to_owned();
            let lacks = format!(
                "is a BuildKit {}, and images of an engine are lent from {LENDS_SINCE} on; `--push --registry REGISTRY` \
                 builds on what a registry has",
                builder.version
            );
            return Err(EngineError::Unfit { endpoint, lacks });
        }
        let store = survey::survey(&engine).await?.store;
        let beside = Beside {
            nodes,
            platforms: NodePlatforms::new(),
            surroundings,
            root,
            store,
            lending: Mutex::default(),
        };
        Ok(Self::Docker(Box::new(DockerEngine { beside: Some(Arc::new(beside)), ..*engine })))
    }
}
