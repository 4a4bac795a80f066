//! The real engine: verbs of ours over the Docker Engine API. Plain questions go through bollard; what streams
//! (build, pull, push, import, save, load) is in `build.rs`, `transfer.rs` and `archive.rs`, over the same wire.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};
use bollard::{BollardRequest, ClientVersion, Docker};
use tokio::sync::RwLock;

use super::beside::Beside;
use super::classify::classify;
use super::connect::{Pong, Surroundings};
use super::http::{Wire, WireError, chain};
use super::indexes;
use super::{
    ByteStream, Containers, EngineError, Loaded, OnProgress, Store, archive, container, observe, transfer,
};
use crate::model::{
    ContainerId, ContainerSpec, ContainerState, Digest, ExecOutput, ImageDetails, ImageId, IndexSpec,
    LayerSize, LocalImage, LogStream, Observed, Platform, Reference,
};
use crate::registry::credentials::Credentials;

/// Seconds that a plain question may take. A store of thousands of images on a slow disk takes minutes over its list.
const TIMEOUT: u64 = 900;
/// The oldest API that builds are asked of.
const OLDEST_API: (u32, u32) = (1, 41);
/// The newest API whose answers bollard understands.
const NEWEST_API: (u32, u32) =
    (bollard::API_DEFAULT_VERSION.major_version as u32, bollard::API_DEFAULT_VERSION.minor_version as u32);

/// A connection to a Docker-compatible engine. Cheap to clone; nothing is kept open between calls.
#[derive(Clone)]
pub struct DockerEngine {
    pub(crate) wire: Wire,
    pub(super) docker: Docker,
    /// What we speak: the engine's version, or the newest that we know.
    pub(crate) api: (u32, u32),
    pub(super) podman: bool,
    pub(crate) credentials: Credentials,
    /// How long a registry may be silent.
    pub(crate) stall: Duration,
    /// Proxy variables, handed to builds.
    pub(crate) proxies: BTreeMap<String, String>,
    /// Held shared while a container is being made: whoever lists containers waits for those too.
    pub(super) making: Arc<RwLock<()>>,
    /// Who builds in its place.
    pub(crate) beside: Option<Arc<Beside>>,
}

impl std::fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DockerEngine").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl DockerEngine {
    pub(super) fn new(wire: Wire, pong: Pong, surroundings: &Surroundings) -> Result<Self, EngineError> {
        let api = pong.api.min(NEWEST_API);
        let transport = {
            let wire = wire.clone();
            move |request: BollardRequest| {
                let wire = wire.clone();
                async move {
                    match wire.send(request).await {
                        Ok(answer) => Ok(answer.into_response()),
                        Err(WireError::Connect(err)) => Err(BollardError::IOError { err }),
                        Err(WireError::Http(err)) => Err(BollardError::HyperResponseError { err }),
                    }
                }
            }
        };
        let version = ClientVersion { major_version: api.0 as usize, minor_version: api.1 as usize };
        let docker =
            Docker::connect_with_custom_transport(transport, Some("http://engine"), TIMEOUT, &version)
                .map_err(|error| EngineError::Other(chain(&error)))?;
        let proxies = surroundings.build_proxies(wire.shown());
        Ok(Self {
            wire,
            docker,
            api,
            podman: pong.podman,
            credentials: surroundings.credentials.clone(),
            stall: surroundings.stall,
            proxies,
            making: Arc::default(),
            beside: None,
        })
    }

    /// Where it listens, as people type it.
    pub fn endpoint(&self) -> &str {
        self.wire.shown()
    }

    /// What bollard's errors mean to us.
    pub(super) fn error(&self, error: BollardError, about: &str) -> EngineError {
        match error {
            BollardError::DockerResponseServerError { status_code, message } => {
                classify(Some(status_code), &message, about)
            }
            BollardError::IOError { err } => self.wire.lost(&WireError::Connect(err)),
            BollardError::HyperResponseError { err } => self.wire.lost(&WireError::Http(err)),
            BollardError::RequestTimeoutError => EngineError::Transient {
                cause: format!("the engine did not answer within {TIMEOUT} s"),
                retry_after: None,
            },
            other => EngineError::Other(format!(
                "the engine at {} gave an odd answer about {about}: {}",
                self.endpoint(),
                chain(&other)
            )),
        }
    }

    /// What is asked, and how it is answered, is that of a certain API.
    fn fit_to_ask(&self) -> Result<(), EngineError> {
        if self.api >= OLDEST_API {
            return Ok(());
        }
        let ((major, minor), (_, wanted)) = (self.api, OLDEST_API);
        let lacks = format!("speaks API {major}.{minor}, and 1.{wanted} (Docker 20.10) is needed");
        Err(EngineError::Unfit { endpoint: self.endpoint().to_owned(), lacks })
    }

    /// Builds need BuildKit as well; nothing else does.
    pub(crate) fn fit_to_build(&self) -> Result<(), EngineError> {
        if !self.podman || self.beside.is_some() {
            return self.fit_to_ask();
        }
        let lacks =
            "is podman, which has no BuildKit sessions: use a Docker Engine, 20.10 or later".to_owned();
        Err(EngineError::Unfit { endpoint: self.endpoint().to_owned(), lacks })
    }
}

impl Store for DockerEngine {
    async fn observe(&self) -> Result<Observed, EngineError> {
        self.fit_to_ask()?;
        observe::observe(self, None).await
    }

    async fn observe_names(&self, patterns: &[String]) -> Result<Observed, EngineError> {
        self.fit_to_ask()?;
        // podman compares patterns in a way of its own.
        observe::observe(self, Some(patterns).filter(|_| !self.podman)).await
    }

    async fn inspect(&self, reference: &Reference) -> Result<Option<LocalImage>, EngineError> {
        container::inspect(self, reference).await
    }

    async fn inspect_on(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<LocalImage>, EngineError> {
        container::inspect_on(self, reference, platform).await
    }

    async fn index(&self, spec: &IndexSpec) -> Result<ImageId, EngineError> {
        indexes::make(self, spec).await
    }

    async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: OnProgress<'_>,
    ) -> Result<(), EngineError> {
        transfer::pull(self, reference, platform, progress).await
    }

    async fn tag(&self, source: &Reference, target: &Reference) -> Result<(), EngineError> {
        let options = TagImageOptions {
            repo: Some(target.familiar_repository()),
            tag: Some(target.tag().unwrap_or("latest").to_owned()),
        };
        self.docker
            .tag_image(&source.familiar(), Some(options))
            .await
            .map_err(|error| self.error(error, &source.familiar()))
    }

    async fn push(&self, reference: &Reference, progress: OnProgress<'_>) -> Result<Digest, EngineError> {
        transfer::push(self, reference, progress).await
    }

    async fn import(
        &self,
        tar: &Path,
        reference: &Reference,
        platform: &Platform,
        labels: &BTreeMap<String, String>,
    ) -> Result<ImageId, EngineError> {
        transfer::import(self, tar, reference, platform, labels).await
    }

    async fn save(&self, references: &[Reference]) -> Result<ByteStream, EngineError> {
        archive::save(self, references).await
    }

    async fn load(&self, archive: ByteStream) -> Result<Loaded, EngineError> {
        archive::load(self, archive).await
    }

    async fn remove(&self, reference: &Reference) -> Result<(), EngineError> {
        let removed = self.docker.remove_image(&reference.familiar(), None::<RemoveImageOptions>, None).await;
        match removed {
            Ok(_) | Err(BollardError::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(self.error(error, &reference.familiar())),
        }
    }

    async fn remove_unnamed(&self, id: &ImageId) -> Result<(), EngineError> {
        container::remove_unnamed(self, id).await
    }

    /// Podman pushes what it has compressed to a file first, so there is nothing to gain with it.
    fn may_share_loopback(&self) -> bool {
        !self.podman && self.wire.is_local()
    }

    async fn layers(&self, id: &ImageId) -> Result<Option<Vec<Digest>>, EngineError> {
        container::layers(self, id).await
    }

    async fn history(&self, reference: &Reference) -> Result<Option<Vec<LayerSize>>, EngineError> {
        container::history(self, reference).await
    }

    async fn details(&self, reference: &Reference) -> Result<Option<ImageDetails>, EngineError> {
        container::details(self, reference).await
    }
}

impl Containers for DockerEngine {
    async fn run(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        container::run(self, spec).await
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerState>, EngineError> {
        container::state(self, id).await
    }

    async fn exec(&self, id: &ContainerId, command: &[&str]) -> Result<ExecOutput, EngineError> {
        container::exec(self, id, command).await
    }

    async fn logs(&self, id: &ContainerId) -> Result<Vec<(LogStream, String)>, EngineError> {
        container::logs(self, id).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        container::stop(self, id, grace).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        container::remove(self, id).await
    }

    async fn containers(&self, label: &str) -> Result<Vec<ContainerId>, EngineError> {
        container::list(self, label).await
    }
}
