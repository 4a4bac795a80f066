//! What an engine says of its machine: its name, its clock, its data root, what it keeps. Asked by `doctor` alone.

use std::path::PathBuf;

use http::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::EngineError;
use super::bollard::DockerEngine;
use super::http::{empty, target};

/// The longest answer that is read: an engine with thousands of images lists them all.
const MAX_ANSWER: usize = 32 << 20;

/// How an engine keeps its images, which decides what an image ID is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageStore {
    /// overlay2 and the other graph drivers: unpacked layers, and configs. An ID is the digest of a config.
    #[default]
    Graph,
    /// containerd: manifests and layers as they were packed. An ID is the digest of a manifest or an index.
    Containerd,
}

/// An engine's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Its host name.
    pub host: String,
    /// The engine's own version.
    pub version: String,
    /// `linux/x86_64`, in the machine's own words.
    pub machine: String,
    /// How it keeps images.
    pub store: ImageStore,
    /// What it unpacks layers with: `overlay2`, `overlayfs`.
    pub driver: String,
    /// Where the engine's data lies, on that machine.
    pub data_root: Option<PathBuf>,
    /// What time it is there, as RFC 3339.
    pub time: Option<String>,
    /// The connection ends on this machine; what is behind a socket may be a virtual machine all the same.
    pub is_near: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Info {
    name: String,
    server_version: String,
    #[serde(rename = "OSType")]
    os_type: String,
    architecture: String,
    docker_root_dir: Option<PathBuf>,
    system_time: Option<String>,
    driver: String,
    driver_status: Option<Vec<(String, String)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Used {
    layers_size: u64,
    build_cache: Option<Vec<Cached>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Cached {
    size: u64,
    shared: bool,
}

/// Asks `/info`.
pub(super) async fn survey(engine: &DockerEngine) -> Result<Survey, EngineError> {
    let info: Info = ask(engine, "/info").await?;
    // moby, `daemon/containerd/service.go`, LayerStoreStatus.
    let status = info.driver_status.unwrap_or_default();
    let snapshots = status
        .iter()
        .any(|(name, value)| name == "driver-type" && value.starts_with("io.containerd.snapshotter."));
    Ok(Survey {
        store: if snapshots { ImageStore::Containerd } else { ImageStore::Graph },
        driver: info.driver,
        host: info.name,
        version: info.server_version,
        machine: format!("{}/{}", info.os_type, info.architecture),
        data_root: info.docker_root_dir.filter(|path| path.is_absolute()),
        time: info.system_time,
        is_near: engine.wire.is_local(),
    })
}

/// Bytes of images and build cache. An engine adds them up for this, which takes it a while.
pub(super) async fn used(engine: &DockerEngine) -> Result<u64, EngineError> {
    let used: Used = ask(engine, "/system/df").await?;
    let cache = used.build_cache.unwrap_or_default();
    // What is shared is a layer of an image too.
    let cache = cache.iter().filter(|entry| !entry.shared).map(|entry| entry.size);
    Ok(used.layers_size + cache.sum::<u64>())
}

async fn ask<T: DeserializeOwned>(engine: &DockerEngine, path: &str) -> Result<T, EngineError> {
    let request = Request::get(target(engine.api, path, &[]))
        .body(empty())
        .map_err(|error| EngineError::Other(error.to_string()))?;
    let answer = engine.wire.call(request, path).await?.bytes(MAX_ANSWER).await?;
    serde_json::from_slice(&answer).map_err(|error| {
        EngineError::Other(format!("the engine's answer to {path} is not understood: {error}"))
    })
}
