//! One image's configuration, as an engine tells it when asked for that image alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Digest, Identity, ImageId, Platform, Reference, RunConfig, RunHealthcheck};

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

impl ImageDetails {
    /// What an image's config says, of one whose size and digests nobody has asked for.
    pub fn of(id: ImageId, platform: Platform, layers: Vec<Digest>, config: RunConfig) -> Self {
        Self {
            identity: Identity::of(&platform, &layers, &config),
            id,
            platform,
            user: config.user,
            workdir: config.working_dir,
            env: config.env.iter().map(|text| variable(text)).collect(),
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            exposed_ports: config.exposed_ports.into_keys().collect(),
            healthcheck: healthcheck(config.healthcheck),
            labels: config.labels,
            triggers: config.on_build,
            volumes: config.volumes.into_keys().collect(),
            stop_signal: Some(config.stop_signal).filter(|signal| !signal.is_empty()),
            layers,
            size: 0,
            repo_digests: Vec::new(),
        }
    }
}

fn variable(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

/// `["NONE"]` switches an inherited check off.
fn healthcheck(config: RunHealthcheck) -> Option<Healthcheck> {
    let test = Some(config.test).filter(|test| test.first().is_some_and(|word| word != "NONE"))?;
    // Zero is "as the engine likes".
    let number = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let time = |nanoseconds: i64| number(nanoseconds).map(Duration::from_nanos);
    Some(Healthcheck {
        test,
        interval: time(config.interval),
        timeout: time(config.timeout),
        start_period: time(config.start_period),
        retries: number(config.retries).and_then(|number| u32::try_from(number).ok()),
    })
}
