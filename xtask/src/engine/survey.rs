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

/// An engine's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Its host name.
    pub host: String,
    /// The engine's own version.
    pub version: String,
    /// `linux/x86_64`, in the machine's own words.
    pub machine: String,
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
    Ok(Survey {
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
