//! Whichever engine there is, behind one type.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::bollard::DockerEngine;
use super::elsewhere::Elsewhere;
use super::fake::FakeEngine;
use super::indexes;
use super::survey::{self, ImageStore, Survey};
use super::{ByteStream, Containers, EngineError, Loaded, OnProgress, Store};
use crate::model::{
    ContainerId, ContainerSpec, ContainerState, Digest, ExecOutput, ImageDetails, ImageId, IndexSpec,
    Indexes, LayerSize, LocalImage, LogStream, Observed, Platform, Reference,
};

/// Since which API an engine tells the manifests of its images.
const INDEXES_SINCE: (u32, u32) = (1, 48);

/// Whichever engine there is. A clone speaks to the same store.
#[derive(Clone, Debug)]
pub enum AnyEngine {
    /// One that runs containers.
    Docker(Box<DockerEngine>),
    /// A builder that is none, with a registry as its store.
    Elsewhere(Box<Elsewhere>),
    /// One in memory, for tests.
    Fake(FakeEngine),
}

impl AnyEngine {
    /// Where it listens, as people type it.
    pub fn endpoint(&self) -> &str {
        match self {
            Self::Docker(engine) => engine.endpoint(),
            Self::Elsewhere(there) => there.endpoint(),
            Self::Fake(_) => "fake://",
        }
    }

    /// What docker's own programs have to be told to speak to the same engine: names and values of variables. An empty
    /// value takes away what the environment says.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Docker(engine) => engine.wire.variables(),
            Self::Elsewhere(_) | Self::Fake(_) => Vec::new(),
        }
    }

    /// The API that is spoken with it.
    pub fn api(&self) -> Option<(u32, u32)> {
        match self {
            Self::Docker(engine) => Some(engine.api),
            Self::Elsewhere(_) | Self::Fake(_) => None,
        }
    }

    /// What it says of its machine.
    ///
    /// # Errors
    /// When it does not answer, or not in a way that is understood.
    pub async fn survey(&self) -> Result<Survey, EngineError> {
        match self {
            Self::Docker(engine) => survey::survey(engine).await,
            Self::Elsewhere(_) | Self::Fake(_) => Ok(Survey::default()),
        }
    }

    /// Whether several platforms fit under one name where it keeps images.
    ///
    /// # Errors
    /// When it does not answer, or not in a way that is understood.
    pub async fn indexes(&self) -> Result<Indexes, EngineError> {
        let is_kept = match self {
            Self::Docker(engine) => {
                engine.api >= INDEXES_SINCE && survey::survey(engine).await?.store == ImageStore::Containerd
            }
            // A layout in a folder has one image under a name.
            Self::Elsewhere(there) => there.layout.is_none(),
            Self::Fake(_) => false,
        };
        Ok(if is_kept { Indexes::Kept } else { Indexes::NotKept })
    }

    /// The images that an index consists of; none where the name means none, or no index.
    ///
    /// # Errors
    /// When it does not answer, or not in a way that is understood.
    pub async fn index_entries(&self, reference: &Reference) -> Result<Option<Vec<ImageId>>, EngineError> {
        match self {
            Self::Docker(engine) => indexes::entries(engine, reference).await,
            Self::Elsewhere(_) | Self::Fake(_) => Ok(None),
        }
    }

    /// Bytes of its images and build cache. It may take its time.
    ///
    /// # Errors
    /// When it does not answer, or not in a way that is understood.
    pub async fn used(&self) -> Result<u64, EngineError> {
        match self {
            Self::Docker(engine) => survey::used(engine).await,
            Self::Elsewhere(_) | Self::Fake(_) => Ok(0),
        }
    }

    /// What everybody who uses this engine should know.
    pub fn caution(&self) -> Option<String> {
        match self {
            Self::Docker(engine) => engine.wire.caution(),
            Self::Elsewhere(_) | Self::Fake(_) => None,
        }
    }

    /// Whether it can build at all; asks nobody.
    ///
    /// # Errors
    /// [`EngineError::Unfit`]: it is too old, or has no BuildKit.
    pub fn fit_to_build(&self) -> Result<(), EngineError> {
        match self {
            Self::Docker(engine) => engine.fit_to_build(),
            Self::Elsewhere(_) | Self::Fake(_) => Ok(()),
        }
    }
}

impl From<FakeEngine> for AnyEngine {
    fn from(engine: FakeEngine) -> Self {
        Self::Fake(engine)
    }
}

/// Hands a call on to the engine that there is.
macro_rules! either {
    ($self:ident.$verb:ident($($argument:expr),*)) => {
        match $self {
            Self::Docker(engine) => engine.$verb($($argument),*).await,
            Self::Elsewhere(there) => there.$verb($($argument),*).await,
            Self::Fake(engine) => engine.$verb($($argument),*).await,
        }
    };
}

impl Store for AnyEngine {
    fn may_share_loopback(&self) -> bool {
        match self {
            Self::Docker(engine) => engine.may_share_loopback(),
            Self::Elsewhere(_) | Self::Fake(_) => false,
        }
    }

    async fn observe(&self) -> Result<Observed, EngineError> {
        either!(self.observe())
    }

    async fn observe_names(&self, patterns: &[String]) -> Result<Observed, EngineError> {
        either!(self.observe_names(patterns))
    }

    async fn inspect(&self, reference: &Reference) -> Result<Option<LocalImage>, EngineError> {
        either!(self.inspect(reference))
    }

    async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: OnProgress<'_>,
    ) -> Result<(), EngineError> {
        either!(self.pull(reference, platform, progress))
    }

    async fn tag(&self, source: &Reference, target: &Reference) -> Result<(), EngineError> {
        either!(self.tag(source, target))
    }

    async fn inspect_on(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<LocalImage>, EngineError> {
        either!(self.inspect_on(reference, platform))
    }

    async fn index(&self, spec: &IndexSpec) -> Result<ImageId, EngineError> {
        either!(self.index(spec))
    }

    async fn push(&self, reference: &Reference, progress: OnProgress<'_>) -> Result<Digest, EngineError> {
        either!(self.push(reference, progress))
    }

    async fn import(
        &self,
        tar: &Path,
        reference: &Reference,
        platform: &Platform,
        labels: &BTreeMap<String, String>,
    ) -> Result<ImageId, EngineError> {
        either!(self.import(tar, reference, platform, labels))
    }

    async fn save(&self, references: &[Reference]) -> Result<ByteStream, EngineError> {
        either!(self.save(references))
    }

    async fn load(&self, archive: ByteStream) -> Result<Loaded, EngineError> {
        either!(self.load(archive))
    }

    async fn remove(&self, reference: &Reference) -> Result<(), EngineError> {
        either!(self.remove(reference))
    }

    async fn remove_unnamed(&self, id: &ImageId) -> Result<(), EngineError> {
        either!(self.remove_unnamed(id))
    }

    async fn layers(&self, id: &ImageId) -> Result<Option<Vec<Digest>>, EngineError> {
        either!(self.layers(id))
    }

    async fn history(&self, reference: &Reference) -> Result<Option<Vec<LayerSize>>, EngineError> {
        either!(self.history(reference))
    }

    async fn details(&self, reference: &Reference) -> Result<Option<ImageDetails>, EngineError> {
        either!(self.details(reference))
    }
}

impl Containers for AnyEngine {
    async fn run(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        either!(self.run(spec))
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerState>, EngineError> {
        either!(self.container(id))
    }

    async fn exec(&self, id: &ContainerId, command: &[&str]) -> Result<ExecOutput, EngineError> {
        either!(self.exec(id, command))
    }

    async fn logs(&self, id: &ContainerId) -> Result<Vec<(LogStream, String)>, EngineError> {
        either!(self.logs(id))
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        either!(self.stop(id, grace))
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        either!(self.remove_container(id))
    }

    async fn containers(&self, label: &str) -> Result<Vec<ContainerId>, EngineError> {
        either!(self.containers(label))
    }
}
