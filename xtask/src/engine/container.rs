//! Containers, and what an image says about itself: create, start, look, exec, logs, stop, remove.
//!
//! In: a [`ContainerSpec`] or an ID. Out: plain data. Ports are published to 127.0.0.1 alone. Without a terminal the
//! engine frames what a container prints: eight bytes before each piece, of which the first says which output it is
//! and the last four how long the piece is (Engine API, "Attach to a container", "Stream format").

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use http::{Method, Request, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::EngineError;
use super::bollard::DockerEngine;
use super::http::{Answer, empty, full, target};
use super::observe::references;
use crate::model::{
    ContainerId, ContainerSpec, ContainerState, Digest, ExecOutput, Health, Identity, ImageDetails, ImageId,
    LayerSize, LocalImage, LogStream, Platform, Reference, RunConfig,
};

/// No more of what a command or a container printed is kept.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// So many of a container's last lines tell how it went.
const LOG_LINES: u32 = 2000;
/// No answer in JSON is longer.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// How many of the last health checks are told.
const HEALTH_LOG: usize = 5;

/// Creates and starts; a container that does not start is removed again.
///
/// An engine goes on with what it was asked to make when nobody waits for its answer any more. So the answer is always
/// waited for, by a task of its own if need be, which takes away what nobody wants; [`list`] waits for that.
pub(super) async fn run(engine: &DockerEngine, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
    let about = spec.image.familiar();
    let (tell, told) = oneshot::channel();
    let (maker, wish) = (engine.clone(), spec.clone());
    let making = engine.making.clone().read_owned().await;
    tokio::spawn(async move {
        if let Err(Ok(unwanted)) = tell.send(create(&maker, &wish).await) {
            // It is found by its labels all the same.
            let _ = remove(&maker, &unwanted).await;
        }
        drop(making);
    });
    let id = told.await.map_err(|_| EngineError::Gone("the container was not made".to_owned()))??;
    match ask(engine, Method::POST, &format!("/containers/{id}/start"), &[], None, &about).await {
        Ok(_) => Ok(id),
        Err(error) => {
            // Why it did not start says more than why it could not be removed.
            let _ = remove(engine, &id).await;
            Err(error)
        }
    }
}

async fn create(engine: &DockerEngine, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Created {
        id: String,
    }
    let name: Vec<(&str, String)> = spec.name.iter().map(|name| ("name", name.clone())).collect();
    let (body, about) = (Some(request_body(spec)), spec.image.familiar());
    let answer = ask(engine, Method::POST, "/containers/create", &name, body, &about).await?;
    Ok(ContainerId::new(read::<Created>(answer).await?.id))
}

fn request_body(spec: &ContainerSpec) -> Value {
    let port = |port: u16| format!("{port}/tcp");
    let exposed: BTreeMap<String, Value> =
        spec.ports.iter().map(|p| (port(p.container), json!({}))).collect();
    let bindings: BTreeMap<String, Value> = spec
        .ports
        .iter()
        .map(|p| {
            let host = p.host.unwrap_or(0).to_string();
            (port(p.container), json!([{ "HostIp": "127.0.0.1", "HostPort": host }]))
        })
        .collect();
    let env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let command = (!spec.command.is_empty()).then_some(&spec.command);
    // What is left out of a health check is the image's.
    let interval = spec.health_interval.and_then(|time| u64::try_from(time.as_nanos()).ok());
    json!({
        "Image": spec.image.familiar(),
        "Healthcheck": interval.map(|interval| json!({ "Interval": interval })),
        "Env": env,
        "Entrypoint": spec.entrypoint,
        "Cmd": command,
        "Labels": spec.labels,
        "ExposedPorts": exposed,
        "HostConfig": { "PortBindings": bindings },
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
    config: Option<RunConfig>,
    state: State,
    network_settings: Option<NetworkSettings>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    out_of_memory: bool,
    #[serde(default)]
    error: String,
    health: Option<HealthState>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthState {
    #[serde(default)]
    status: String,
    log: Option<Vec<HealthEntry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthEntry {
    #[serde(default)]
    output: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    ports: Option<HashMap<String, Option<Vec<Binding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default)]
    host_ip: String,
    #[serde(default)]
    host_port: String,
}

/// How a container is doing; none when it is gone.
pub(super) async fn state(
    engine: &DockerEngine,
    id: &ContainerId,
) -> Result<Option<ContainerState>, EngineError> {
    let path = format!("/containers/{id}/json");
    let found: Inspected = match absent_is_fine(ask(engine, Method::GET, &path, &[], None, id.short()).await)?
    {
        Some(answer) => read(answer).await?,
        None => return Ok(None),
    };
    Ok(Some(told(found)))
}

fn told(found: Inspected) -> ContainerState {
    let State { running, exit_code, out_of_memory, error, health } = found.state;
    let health_log = health.iter().flat_map(|health| health.log.iter().flatten());
    let mut health_log: Vec<String> = health_log.map(|entry| entry.output.trim_end().to_owned()).collect();
    health_log.drain(..health_log.len().saturating_sub(HEALTH_LOG));
    ContainerState {
        name: found.name.trim_start_matches('/').to_owned(),
        image: found.image.parse().ok(),
        labels: found.config.unwrap_or_default().labels,
        running,
        exit_code: (!running).then_some(exit_code),
        out_of_memory,
        error,
        health: match health.as_ref().map(|health| health.status.as_str()) {
            Some("healthy") => Health::Healthy,
            Some("unhealthy") => Health::Unhealthy,
            Some("starting") => Health::Starting,
            _ => Health::Unchecked,
        },
        health_log,
        ports: found.network_settings.and_then(|network| network.ports).map(ports).unwrap_or_default(),
    }
}

/// `{"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}]}`
fn ports(bound: HashMap<String, Option<Vec<Binding>>>) -> BTreeMap<u16, u16> {
    let tcp = bound.into_iter().filter_map(|(inside, bindings)| {
        let inside = inside.strip_suffix("/tcp")?.parse().ok()?;
        let bindings = bindings?;
        let own = bindings.iter().find(|b| b.host_ip == "127.0.0.1").or(bindings.first())?;
        Some((inside, own.host_port.parse().ok()?))
    });
    tcp.collect()
}

/// Runs a command in a container, to its end.
pub(super) async fn exec(
    engine: &DockerEngine,
    id: &ContainerId,
    command: &[&str],
) -> Result<ExecOutput, EngineError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Created {
        id: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Ended {
        exit_code: Option<i64>,
    }
    let about = id.short();
    let wish = json!({ "AttachStdout": true, "AttachStderr": true, "Tty": false, "Cmd": command });
    let path = format!("/containers/{id}/exec");
    let exec = read::<Created>(ask(engine, Method::POST, &path, &[], Some(wish), about).await?).await?.id;
    let start = json!({ "Detach": false, "Tty": false });
    let answer = ask(engine, Method::POST, &format!("/exec/{exec}/start"), &[], Some(start), about).await?;
    let bytes = answer.bytes(MAX_OUTPUT).await?;
    let printed = frames(&bytes);
    let of = |wanted: LogStream| {
        let parts = printed.iter().filter(|(stream, _)| *stream == wanted);
        let bytes: Vec<u8> = parts.flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let ended = ask(engine, Method::GET, &format!("/exec/{exec}/json"), &[], None, about).await?;
    // A command that the container's end took with it has no status.
    let exit_code = read::<Ended>(ended).await?.exit_code.unwrap_or(-1);
    Ok(ExecOutput { exit_code, stdout: of(LogStream::Stdout), stderr: of(LogStream::Stderr) })
}

/// What a container printed last, line by line.
pub(super) async fn logs(
    engine: &DockerEngine,
    id: &ContainerId,
) -> Result<Vec<(LogStream, String)>, EngineError> {
    let flag = || "1".to_owned();
    let query = [("stdout", flag()), ("stderr", flag()), ("tail", LOG_LINES.to_string())];
    let path = format!("/containers/{id}/logs");
    let answer = ask(engine, Method::GET, &path, &query, None, id.short()).await?;
    Ok(lines(&frames(&answer.bytes(MAX_OUTPUT).await?)))
}

/// Asks it to end, and ends it by force after `grace`. Ended already, or gone, is fine.
pub(super) async fn stop(
    engine: &DockerEngine,
    id: &ContainerId,
    grace: Duration,
) -> Result<(), EngineError> {
    let query = [("t", grace.as_secs().to_string())];
    let path = format!("/containers/{id}/stop");
    absent_is_fine(ask(engine, Method::POST, &path, &query, None, id.short()).await).map(drop)
}

/// Removes it by force, with its anonymous volumes. Absent is fine.
pub(super) async fn remove(engine: &DockerEngine, id: &ContainerId) -> Result<(), EngineError> {
    let query = [("force", "1".to_owned()), ("v", "1".to_owned())];
    match ask(engine, Method::DELETE, &format!("/containers/{id}"), &query, None, id.short()).await {
        Err(EngineError::Other(cause)) if cause.contains("is already in progress") => Ok(()),
        answer => absent_is_fine(answer).map(drop),
    }
}

/// The containers that carry a label, running or not: `name`, or `name=value`. An empty text means all. What this
/// process is still making is among them.
pub(super) async fn list(engine: &DockerEngine, label: &str) -> Result<Vec<ContainerId>, EngineError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Listed {
        id: String,
    }
    let _made = engine.making.write().await;
    let mut query = vec![("all", "1".to_owned())];
    if !label.is_empty() {
        query.push(("filters", json!({ "label": [label] }).to_string()));
    }
    let answer = ask(engine, Method::GET, "/containers/json", &query, None, "containers").await?;
    let listed: Vec<Listed> = read(answer).await?;
    Ok(listed.into_iter().map(|container| ContainerId::new(container.id)).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    id: ImageId,
    #[serde(default)]
    size: u64,
    repo_digests: Option<Vec<String>>,
    repo_tags: Option<Vec<String>>,
    config: Option<RunConfig>,
    #[serde(rename = "RootFS")]
    root: Option<RootFs>,
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    layers: Option<Vec<Digest>>,
}

/// Since which API an engine tells of an image of one platform (docs.docker.com, "Engine API version history").
const PLATFORMS_SINCE: (u32, u32) = (1, 49);

/// What an image says about itself; none when the store lacks it.
pub(super) async fn details(
    engine: &DockerEngine,
    reference: &Reference,
) -> Result<Option<ImageDetails>, EngineError> {
    Ok(image(engine, reference, None).await?.map(described))
}

/// What each instruction added, the first one first; none when the store lacks the image.
pub(super) async fn history(
    engine: &DockerEngine,
    reference: &Reference,
) -> Result<Option<Vec<LayerSize>>, EngineError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Told {
        #[serde(default)]
        created_by: String,
        #[serde(default)]
        size: u64,
    }
    let name = reference.familiar();
    let path = format!("/images/{name}/history");
    let answer = absent_is_fine(ask(engine, Method::GET, &path, &[], None, &name).await)?;
    let Some(answer) = answer else { return Ok(None) };
    let told: Vec<Told> = read(answer).await?;
    Ok(Some(told.iter().rev().map(|layer| LayerSize::told(&layer.created_by, layer.size)).collect()))
}

/// One image, with its platform where the store tells it; none when the store lacks it.
pub(super) async fn inspect(
    engine: &DockerEngine,
    reference: &Reference,
) -> Result<Option<LocalImage>, EngineError> {
    Ok(image(engine, reference, None).await?.map(found))
}

/// The same of a platform. Engines that do not know the question have one image under a name.
pub(super) async fn inspect_on(
    engine: &DockerEngine,
    reference: &Reference,
    platform: &Platform,
) -> Result<Option<LocalImage>, EngineError> {
    let platform = Some(platform).filter(|_| engine.api >= PLATFORMS_SINCE);
    Ok(image(engine, reference, platform).await?.map(found))
}

async fn image(
    engine: &DockerEngine,
    reference: &Reference,
    platform: Option<&Platform>,
) -> Result<Option<Image>, EngineError> {
    let name = reference.familiar();
    let path = format!("/images/{name}/json");
    let asked = |platform: &Platform| {
        let Platform { os, arch, variant } = platform;
        let json = serde_json::json!({ "os": os, "architecture": arch, "variant": variant });
        ("platform", json.to_string())
    };
    let query: Vec<(&str, String)> = platform.map(asked).into_iter().collect();
    match absent_is_fine(ask(engine, Method::GET, &path, &query, None, &name).await)? {
        Some(answer) => Ok(Some(read(answer).await?)),
        None => Ok(None),
    }
}

fn found(image: Image) -> LocalImage {
    // containerd leaves layers that are unpacked already where they are, and its store then tells nothing of the image.
    let is_told = !image.os.is_empty() && !image.architecture.is_empty();
    LocalImage {
        identity: identity(&image),
        platform: is_told.then(|| platform(&image)),
        id: image.id,
        names: references(&image.repo_tags.unwrap_or_default()),
        digests: references(&image.repo_digests.unwrap_or_default()),
        labels: image.config.unwrap_or_default().labels,
        size: image.size,
    }
}

/// What is in an image. A store that keeps manifests answers for an index too of which it cannot read an image, and then
/// says nothing else.
fn identity(image: &Image) -> Option<Identity> {
    let layers = image.root.as_ref().and_then(|root| root.layers.as_deref()).unwrap_or_default();
    let is_told = !image.architecture.is_empty() || !layers.is_empty();
    let config = || image.config.clone().unwrap_or_default();
    is_told.then(|| Identity::of(&platform(image), layers, &config()))
}

fn platform(image: &Image) -> Platform {
    let os = if image.os.is_empty() { "linux" } else { &image.os };
    Platform::new(os, &image.architecture, image.variant.as_deref())
}

/// Removes an image by its ID. Engines take an ID for the one name that it may have got since it was listed, so that
/// is looked at first. Parents without a name are not ours to judge.
pub(super) async fn remove_unnamed(engine: &DockerEngine, id: &ImageId) -> Result<(), EngineError> {
    let path = format!("/images/{id}");
    let about = format!("image {}", id.short());
    let looked = ask(engine, Method::GET, &format!("{path}/json"), &[], None, &about).await;
    let Some(answer) = absent_is_fine(looked)? else { return Ok(()) };
    let image: Image = read(answer).await?;
    if let Some(name) = image.repo_tags.unwrap_or_default().first() {
        return Err(EngineError::Other(format!("{about} is {name} by now")));
    }
    let query = [("noprune", "1".to_owned())];
    absent_is_fine(ask(engine, Method::DELETE, &path, &query, None, &about).await).map(drop)
}

/// The layers of an image, lowest first.
pub(super) async fn layers(engine: &DockerEngine, id: &ImageId) -> Result<Option<Vec<Digest>>, EngineError> {
    let path = format!("/images/{id}/json");
    match absent_is_fine(ask(engine, Method::GET, &path, &[], None, id.short()).await)? {
        Some(answer) => {
            Ok(Some(read::<Image>(answer).await?.root.and_then(|root| root.layers).unwrap_or_default()))
        }
        None => Ok(None),
    }
}

fn described(image: Image) -> ImageDetails {
    let (identity, platform) = (identity(&image), platform(&image));
    let config = image.config.unwrap_or_default();
    let layers = image.root.and_then(|root| root.layers).unwrap_or_default();
    let digests = image.repo_digests.unwrap_or_default();
    ImageDetails {
        size: image.size,
        repo_digests: digests.iter().filter_map(|digest| digest.parse().ok()).collect(),
        identity: identity.unwrap_or_else(|| Identity::of_stored(&image.id)),
        ..ImageDetails::of(image.id, platform, layers, config)
    }
}

pub(super) async fn ask(
    engine: &DockerEngine,
    method: Method,
    path: &str,
    query: &[(&str, String)],
    body: Option<Value>,
    about: &str,
) -> Result<Answer, EngineError> {
    let request = Request::builder().method(method).uri(target(engine.api, path, query));
    let request = match body {
        Some(body) => {
            request.header(header::CONTENT_TYPE, "application/json").body(full(body.to_string().into()))
        }
        None => request.body(empty()),
    };
    let request = request.map_err(|error| EngineError::Other(error.to_string()))?;
    engine.wire.call(request, about).await
}

pub(super) async fn read<T: serde::de::DeserializeOwned>(answer: Answer) -> Result<T, EngineError> {
    let bytes = answer.bytes(MAX_ANSWER).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        EngineError::Other(format!("the engine said something that is not understood: {error}"))
    })
}

pub(super) fn absent_is_fine(answer: Result<Answer, EngineError>) -> Result<Option<Answer>, EngineError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The pieces of a framed stream. Half a piece at the end counts; what is no frame is taken as it is, for a container
/// with a terminal has none.
fn frames(mut bytes: &[u8]) -> Vec<(LogStream, &[u8])> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let [stream, 0, 0, 0, size @ ..] = head else { break };
        let stream = match stream {
            0 | 1 => LogStream::Stdout,
            2 => LogStream::Stderr,
            _ => break,
        };
        let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX).min(rest.len());
        let (piece, rest) = rest.split_at(size);
        found.push((stream, piece));
        bytes = rest;
    }
    if found.is_empty() && !bytes.is_empty() {
        found.push((LogStream::Stdout, bytes));
    }
    found
}

/// Lines by output, in the order in which they began.
fn lines(frames: &[(LogStream, &[u8])]) -> Vec<(LogStream, String)> {
    let mut lines: Vec<(LogStream, Vec<u8>)> = Vec::new();
    let mut open: [Option<usize>; 2] = [None, None];
    for (stream, bytes) in frames {
        let slot = &mut open[usize::from(*stream == LogStream::Stderr)];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let at = *slot.get_or_insert_with(|| {
                lines.push((*stream, Vec::new()));
                lines.len() - 1
            });
            if let Some((_, line)) = lines.get_mut(at) {
                line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                *slot = None;
            }
        }
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_owned();
    lines.iter().map(|(stream, bytes)| (*stream, text(bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunHealthcheck;

    fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
        let size = u32::try_from(text.len()).expect("short").to_be_bytes();
        [&[stream, 0, 0, 0], size.as_slice(), text].concat()
    }

    #[test]
    fn an_answer_that_tells_nothing_of_an_image_makes_none_alike() {
        let described_as = |id: u8, rest: &str| {
            let id = Digest::from_sha256(&[id; 32]);
            described(serde_json::from_str(&format!(r#"{{"Id":"{id}"{rest}}}"#)).expect(rest)).identity
        };
        // Engine 28.5 of an index of which it reads no image.
        let nothing = r#","RepoTags":["a:1"],"Architecture":"","Os":"","RootFS":{"Type":"","Layers":null},"Config":null"#;
        assert_ne!(described_as(1, nothing), described_as(2, nothing));
        let missing = r#","Architecture":"","Os":"","RootFS":{},"Config":{"Labels":null}"#;
        let id = Digest::from_sha256(&[1; 32]);
        let text = format!(r#"{{"Id":"{id}","RepoTags":["a:1"],"Size":7{missing}}}"#);
        let image = found(serde_json::from_str(&text).expect("an answer"));
        assert_eq!((image.names.len(), image.platform, image.size), (1, None, 7));
        let something = r#","Architecture":"amd64","Os":"linux","RootFS":{"Layers":[]}"#;
        assert_eq!(described_as(1, something), described_as(2, something));
    }

    #[test]
    fn lines_are_put_together_from_frames() {
        let stream = [
            frame(1, b"one\nha"),
            frame(2, b"wrong \xff\xfe\n"),
            frame(1, b"lf\r\n"),
            frame(1, b""),
            frame(2, b"open"),
        ]
        .concat();
        let found = lines(&frames(&stream));
        let expected = [
            (LogStream::Stdout, "one"),
            (LogStream::Stdout, "half"),
            (LogStream::Stderr, "wrong \u{fffd}\u{fffd}"),
            (LogStream::Stderr, "open"),
        ];
        assert_eq!(found, expected.map(|(stream, text)| (stream, text.to_owned())));
        // The engine went away in the middle of a piece, and of a frame's head.
        assert_eq!(lines(&frames(&frame(1, b"abcdef")[..11])), [(LogStream::Stdout, "abc".to_owned())]);
        assert_eq!(frames(&frame(1, b"")[..5]).len(), 1, "five bytes that are no frame");
        assert_eq!(lines(&frames(b"a terminal\n")), [(LogStream::Stdout, "a terminal".to_owned())]);
        assert!(frames(b"").is_empty());
    }

    #[test]
    fn a_container_is_read_as_engines_tell_it() {
        let id = format!("sha256:{}", "a".repeat(64));
        let text = json!({
            "Name": "/x", "Image": id, "Config": { "Labels": { "a": "b" } },
            "State": { "Running": false, "ExitCode": 137, "OOMKilled": true, "Error": "",
                       "Health": { "Status": "unhealthy", "Log": [{ "ExitCode": 1, "Output": "no\n" }] } },
            "NetworkSettings": { "Ports": {
                "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "1" }, { "HostIp": "127.0.0.1", "HostPort": "2" }],
                "81/tcp": null, "82/udp": [{ "HostIp": "127.0.0.1", "HostPort": "3" }] } },
        });
        let state = told(serde_json::from_value(text).expect("understood"));
        assert_eq!((state.name.as_str(), state.exit_code, state.out_of_memory), ("x", Some(137), true));
        assert_eq!((state.health, state.health_log), (Health::Unhealthy, vec!["no".to_owned()]));
        assert_eq!(state.ports, BTreeMap::from([(80, 2)]));
        let bare = told(serde_json::from_value(json!({ "State": { "Running": true } })).expect("understood"));
        assert_eq!((bare.health, bare.exit_code), (Health::Unchecked, None));
    }

    #[test]
    fn an_image_is_read_as_engines_tell_it() {
        let id = format!("sha256:{}", "a".repeat(64));
        let text = json!({
            "Id": id, "Size": 5, "RepoDigests": null, "RootFS": { "Type": "layers", "Layers": [id] },
            "Config": { "User": "2000", "Env": ["A=b=c", "D"], "Entrypoint": null, "Cmd": ["sh"],
                "ExposedPorts": { "8090/tcp": {}, "8080/tcp": {} }, "Labels": null,
                "Healthcheck": { "Test": ["CMD", "x"], "Interval": 2_000_000_000 } },
        });
        let details = described(serde_json::from_value(text).expect("understood"));
        assert_eq!((details.user.as_str(), details.env["A"].as_str()), ("2000", "b=c"));
        assert!(details.exposed_ports.iter().eq(["8080/tcp", "8090/tcp"]));
        let check = details.healthcheck.expect("a check");
        assert_eq!((check.interval, check.retries), (Some(Duration::from_secs(2)), None));
        let off = RunHealthcheck { test: vec!["NONE".to_owned()], ..RunHealthcheck::default() };
        let config = RunConfig { healthcheck: off, ..RunConfig::default() };
        let details = ImageDetails::of(details.id, details.platform, Vec::new(), config);
        assert_eq!(details.healthcheck, None);
    }
}
