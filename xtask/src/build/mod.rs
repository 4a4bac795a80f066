//! EFFECT: who builds. BuildKit's own Control API, the same in a container engine and in a daemon of its own.
//!
//! In: a [`BuildSpec`] and the folder that its paths are relative to. Out: the image's ID, or a [`BuildError`]. `solve.rs` makes a
//! build of a spec, `control.rs` is the connection that it runs on, `session.rs` what the builder may ask us meanwhile
//! (`filesync.rs`: the planned files and no other; `secrets.rs`), `trace.rs` what it tells.

mod control;
mod failure;
mod fake;
mod filesync;
mod secrets;
mod session;
mod solve;
mod trace;

use std::path::Path;

pub use failure::BuildError;

use crate::engine::{AnyEngine, Containers, DockerEngine, OnProgress, Store};
use crate::model::{BuildSpec, ImageId};

/// Who builds images. Dropping a returned future cancels the work.
pub trait Builder: Send + Sync {
    /// Builds with BuildKit; `root` is what the spec's paths are relative to. Returns the image ID.
    fn build(
        &self,
        root: &Path,
        spec: &BuildSpec,
        progress: OnProgress<'_>,
    ) -> impl Future<Output = Result<ImageId, BuildError>> + Send;
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
        solve::build(self, root, spec, progress).await
    }
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
            Self::Fake(engine) => engine.build(root, spec, progress).await,
        }
    }
}
