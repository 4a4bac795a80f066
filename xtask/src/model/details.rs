//! One image's configuration, as an engine tells it when asked for that image alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Digest, Identity, ImageId, Platform, Reference};

/// What an image carries, in the words of the OCI image configuration (image-spec, config.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDetails {
    /// What the store calls it: the digest of its config, or of its manifest or index where containerd keeps images.
    pub id: ImageId,
    /// What is in it, the same in every store.
    pub identity: Identity,
    /// What it runs on.
    pub platform: Platform,
    /// `USER` as written: a name, a number, `user:group`; empty is root.
    pub user: String,
    /// `WORKDIR`; empty is `/`.
    pub workdir: String,
    /// The environment that a container begins with.
    pub env: BTreeMap<String, String>,
    /// `ENTRYPOINT`, as the words that are executed.
    pub entrypoint: Vec<String>,
    /// `CMD`, likewise.
    pub cmd: Vec<String>,
    /// `EXPOSE`, each with its protocol: `8080/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// `HEALTHCHECK`; none where there is none, or where it is switched off (`NONE`).
    pub healthcheck: Option<Healthcheck>,
    /// `LABEL`.
    pub labels: BTreeMap<String, String>,
    /// `ONBUILD`: instructions that run first in a stage that stands on it.
    pub triggers: Vec<String>,
    /// `VOLUME`.
    pub volumes: BTreeSet<String>,
    /// `STOPSIGNAL`; none is TERM.
    pub stop_signal: Option<String>,
    /// The digests of the layers' uncompressed tars, lowest first.
    pub layers: Vec<Digest>,
    /// Bytes of all layers, uncompressed, as the engine counts them.
    pub size: u64,
    /// `repository@digest` of the manifests that it was pulled or pushed as.
    pub repo_digests: Vec<Reference>,
}

/// A `HEALTHCHECK` instruction. A duration that is not given is the engine's own default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// The test as engines store it: `CMD` or `CMD-SHELL`, then its words.
    pub test: Vec<String>,
    /// Time between two tests.
    pub interval: Option<Duration>,
    /// How long one test may take.
    pub timeout: Option<Duration>,
    /// How long failures do not count after the start.
    pub start_period: Option<Duration>,
    /// How many failures in a row make it unhealthy.
    pub retries: Option<u32>,
}
