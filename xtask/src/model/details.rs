//! What an image says about itself, in full: its config, its layers, its size. An engine's listing does not tell these.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Digest, Reference};

/// An image's own words, as `docker image inspect` has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDetails {
    /// The image ID: the digest of its config.
    pub id: Digest,
    /// `USER`; empty is root.
    pub user: String,
    /// `WORKDIR`; empty is `/`.
    pub workdir: String,
    /// `ENV`, in order.
    pub env: Vec<(String, String)>,
    /// `ENTRYPOINT`, in exec form.
    pub entrypoint: Vec<String>,
    /// `CMD`, in exec form.
    pub cmd: Vec<String>,
    /// `EXPOSE`: `8080/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    /// `HEALTHCHECK`; none when there is none, or `NONE`.
    pub healthcheck: Option<Healthcheck>,
    /// `LABEL`, sorted by name.
    pub labels: std::collections::BTreeMap<String, String>,
    /// `VOLUME`, sorted.
    pub volumes: Vec<String>,
    /// `STOPSIGNAL`; empty is TERM.
    pub stop_signal: String,
    /// Diff IDs: the digests of the uncompressed layers, lowest first.
    pub layers: Vec<Digest>,
    /// Bytes, shared layers included.
    pub size: u64,
    /// `repository@digest` of the manifests that it was pulled or pushed as.
    pub repo_digests: Vec<Reference>,
}

impl ImageDetails {
    /// The value of a variable of its `ENV`.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A `HEALTHCHECK`. A time of zero is the engine's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["CMD", "…"]` or `["CMD-SHELL", "…"]`.
    pub test: Vec<String>,
    /// Between two checks.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// In which a failure does not count.
    pub start_period: Duration,
    /// Failures in a row until it is unhealthy; 0 is the engine's default.
    pub retries: u32,
}
