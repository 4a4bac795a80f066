//! What is in an image, the same in every store.
//!
//! Stores name images differently: by the digest of the config (overlay2 and the other graph drivers), by that of the
//! manifest or index (containerd), and a manifest changes with the compression of its layers. So keys stand on none of
//! them but on what decides builds and containers: platform, uncompressed layers, and config.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Digest, ImageId, ParseDigestError, Platform};

/// SHA-256 over an image's platform, the diff IDs of its layers and its [`RunConfig`]. Never an image ID or the digest of
/// a manifest, and never compared with one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(Digest);

/// What an image's config says to builds on it and to containers of it. An engine's answer and the blob itself write
/// it alike (OCI image-spec, config.md, "config"; Docker's extensions OnBuild, Healthcheck and Shell). `null`, an empty
/// list and no field at all are the same: engines differ in which of them they write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `USER` as written: a name, a number, `user:group`; empty is root.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// `WORKDIR`; empty is `/`.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// `NAME=value`, in the order of the config.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// `ENTRYPOINT`, as the words that are executed.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// `CMD`, likewise.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// `EXPOSE`, each with its protocol: `8080/tcp`. The values are empty objects.
    #[serde(deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, Nothing>,
    /// `VOLUME`, likewise.
    #[serde(deserialize_with = "or_default")]
    pub volumes: BTreeMap<String, Nothing>,
    /// `LABEL`.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// `ONBUILD`: instructions for whoever builds on it.
    #[serde(deserialize_with = "or_default")]
    pub on_build: Vec<String>,
    /// `STOPSIGNAL`; empty is TERM.
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
    /// `SHELL`; empty is the system's.
    #[serde(deserialize_with = "or_default")]
    pub shell: Vec<String>,
    /// `HEALTHCHECK`.
    #[serde(deserialize_with = "or_default")]
    pub healthcheck: RunHealthcheck,
}

/// What is read of an image's config (config.md); the rest is the engine's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// The layers.
    pub rootfs: RootFs,
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<RunConfig>,
}

impl ImageConfig {
    /// What is in the image, the same in every store.
    pub fn identity(&self) -> Identity {
        Identity::of(&self.platform(), &self.rootfs.diff_ids, &self.run_config())
    }

    /// Whether it is known to run on nothing that serves this platform.
    pub fn is_foreign_to(&self, platform: &Platform) -> bool {
        !self.architecture.is_empty() && !self.platform().serves(platform)
    }

    /// What it says to builds and containers.
    pub fn run_config(&self) -> RunConfig {
        self.config.clone().unwrap_or_default()
    }

    /// As engines read it: no system is Linux.
    pub fn platform(&self) -> Platform {
        let os = if self.os.is_empty() { "linux" } else { &self.os };
        Platform::new(os, &self.architecture, self.variant.as_deref())
    }
}

/// `rootfs` of an image's config.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// SHA-256 of each uncompressed layer, from the bottom up.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

/// `HEALTHCHECK` as it stands in a config. `StartInterval` is left out: engines before 25 do not pass it on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunHealthcheck {
    /// `CMD` or `CMD-SHELL`, then its words; `NONE` switches an inherited one off.
    #[serde(deserialize_with = "or_default")]
    pub test: Vec<String>,
    /// Nanoseconds between two tests; 0 is the engine's default, here and below.
    pub interval: i64,
    /// Nanoseconds that one test may take.
    pub timeout: i64,
    /// Nanoseconds after the start in which failures do not count.
    pub start_period: i64,
    /// How many failures in a row make it unhealthy.
    pub retries: i64,
}

/// The value of a set that is written as a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Nothing {}

impl Identity {
    /// Of an image with these layers, lowest first, each by its diff ID.
    pub fn of(platform: &Platform, layers: &[Digest], config: &RunConfig) -> Self {
        let mut hash = Fields(Sha256::new());
        hash.text(&platform.to_string());
        hash.list(layers.iter().map(Digest::as_str));
        hash.text(&config.user);
        hash.text(&config.working_dir);
        hash.list(config.env.iter().map(String::as_str));
        hash.list(config.entrypoint.iter().map(String::as_str));
        hash.list(config.cmd.iter().map(String::as_str));
        hash.list(config.exposed_ports.keys().map(String::as_str));
        hash.list(config.volumes.keys().map(String::as_str));
        hash.list(config.labels.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        hash.list(config.on_build.iter().map(String::as_str));
        hash.text(&config.stop_signal);
        hash.list(config.shell.iter().map(String::as_str));
        let check = &config.healthcheck;
        hash.list(check.test.iter().map(String::as_str));
        for number in [check.interval, check.timeout, check.start_period, check.retries] {
            hash.text(&number.to_string());
        }
        Self(Digest::from_sha256(&hash.0.finalize().into()))
    }

    /// Of an image of which nothing is known but what its store calls it: the same in that store only.
    pub fn of_stored(id: &ImageId) -> Self {
        let mut hash = Fields(Sha256::new());
        hash.text("an image of one store");
        hash.text(id.as_str());
        Self(Digest::from_sha256(&hash.0.finalize().into()))
    }

    /// The digest that stands for it.
    pub fn digest(&self) -> &Digest {
        &self.0
    }

    /// The whole text, algorithm included.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Identity {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}

/// Each field with its length before it, so that no two configs read as the same bytes.
struct Fields(Sha256);

impl Fields {
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn list<'a>(&mut self, items: impl Iterator<Item = &'a str> + Clone) {
        self.0.update((items.clone().count() as u64).to_le_bytes());
        for item in items {
            self.text(item);
        }
    }
}

/// A field that may be written as `null`: Go programs write so what is empty.
///
/// # Errors
/// The format's.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(platform: &str, layers: &[u8], config: &str) -> Identity {
        let layers: Vec<Digest> = layers.iter().map(|byte| Digest::from_sha256(&[*byte; 32])).collect();
        let config: RunConfig = serde_json::from_str(config).expect(config);
        Identity::of(&platform.parse().expect(platform), &layers, &config)
    }

    #[test]
    fn what_engines_write_differently_is_the_same() {
        // Engine 20.10 with overlay2, Engine 28.5 with containerd, and the blob itself.
        let graph = r#"{"Hostname":"","Env":null,"Cmd":["sh"],"ArgsEscaped":true,"Image":"sha256:1","Volumes":null,
            "Entrypoint":null,"OnBuild":null,"Labels":{},"ExposedPorts":{"80/tcp":{}},
            "Healthcheck":{"Test":["CMD","true"],"Interval":5000000000}}"#;
        let containerd = r#"{"AttachStdin":false,"Env":[],"Cmd":["sh"],"WorkingDir":"","OnBuild":[],"Labels":null,
            "ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","true"],"Interval":5000000000,"Timeout":0,
            "StartInterval":7}}"#;
        let blob = r#"{"Cmd":["sh"],"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","true"],"Interval":5000000000}}"#;
        let expected = identity("linux/amd64", &[1, 2], blob);
        assert_eq!(identity("linux/amd64", &[1, 2], graph), expected);
        assert_eq!(identity("linux/x86_64", &[1, 2], containerd), expected);
    }

    #[test]
    fn whatever_builds_or_containers_feel_makes_another_identity() {
        let mut seen = vec![("nothing", identity("linux/amd64", &[1, 2], "{}"))];
        for config in [
            r#"{"User":"1"}"#,
            r#"{"WorkingDir":"1"}"#,
            r#"{"Env":["A=1","B=2"]}"#,
            r#"{"Env":["B=2","A=1"]}"#,
            r#"{"Entrypoint":["a b"]}"#,
            r#"{"Entrypoint":["a","b"]}"#,
            r#"{"Cmd":["a","b"]}"#,
            r#"{"ExposedPorts":{"80/tcp":{}}}"#,
            r#"{"Volumes":{"80/tcp":{}}}"#,
            r#"{"Labels":{"a":"b"}}"#,
            r#"{"Labels":{"a":"","b":""}}"#,
            r#"{"OnBuild":["COPY . ."]}"#,
            r#"{"StopSignal":"INT"}"#,
            r#"{"Shell":["bash"]}"#,
            r#"{"Healthcheck":{"Test":["NONE"]}}"#,
            r#"{"Healthcheck":{"Test":["NONE"],"Retries":1}}"#,
            r#"{"Healthcheck":{"Test":["NONE"],"Timeout":1}}"#,
        ] {
            seen.push((config, identity("linux/amd64", &[1, 2], config)));
        }
        seen.push(("platform", identity("linux/arm64", &[1, 2], "{}")));
        seen.push(("order of layers", identity("linux/amd64", &[2, 1], "{}")));
        seen.push(("fewer layers", identity("linux/amd64", &[1], "{}")));
        for (at, (this, identity)) in seen.iter().enumerate() {
            for (other, another) in &seen[..at] {
                assert_ne!(identity, another, "{this} and {other}");
            }
        }
    }
}
