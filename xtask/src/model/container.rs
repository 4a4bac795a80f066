//! Containers: what is asked for, and how one is doing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{ImageId, Reference};

/// A container's ID, as its engine gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// An ID as it stands.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve characters, as `docker ps` shows them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// What it runs; it has to be in the store.
    pub image: Reference,
    /// Its name; none lets the engine choose one.
    pub name: Option<String>,
    /// Variables beyond the image's.
    pub env: BTreeMap<String, String>,
    /// Instead of the image's `ENTRYPOINT`; none keeps it.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of the image's `CMD`; empty keeps it.
    pub command: Vec<String>,
    /// Ports to reach from this machine, all on 127.0.0.1.
    pub ports: Vec<PublishedPort>,
    /// Labels; ours are found again by them.
    pub labels: BTreeMap<String, String>,
    /// The image's own health check, but this often; none keeps its interval.
    pub health_interval: Option<Duration>,
}

impl ContainerSpec {
    /// A container of an image, with nothing else said.
    pub fn of(image: Reference) -> Self {
        Self {
            image,
            name: None,
            env: BTreeMap::new(),
            entrypoint: None,
            command: Vec::new(),
            ports: Vec::new(),
            labels: BTreeMap::new(),
            health_interval: None,
        }
    }
}

/// A TCP port of a container on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    /// Inside.
    pub container: u16,
    /// On 127.0.0.1; none lets the engine choose a free one.
    pub host: Option<u16>,
}

/// How a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// The ID of its image.
    pub image: Option<ImageId>,
    /// Its labels, the image's included.
    pub labels: BTreeMap<String, String>,
    /// Whether its process runs.
    pub running: bool,
    /// How its process ended; none while it runs.
    pub exit_code: Option<i64>,
    /// Whether it was ended for want of memory.
    pub out_of_memory: bool,
    /// What the engine says went wrong with it; empty is nothing.
    pub error: String,
    /// What its health check says.
    pub health: Health,
    /// Output of the last health checks, oldest first.
    pub health_log: Vec<String>,
    /// Where its TCP ports are on this machine, by the port inside.
    pub ports: BTreeMap<u16, u16>,
}

/// What a health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The image has no health check.
    Unchecked,
    /// Not known yet.
    Starting,
    /// It passed.
    Healthy,
    /// It failed too often.
    Unhealthy,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unchecked => "without a health check",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// What a command in a container printed, and how it ended. Bytes that are no text are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit status.
    pub exit_code: i64,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}
