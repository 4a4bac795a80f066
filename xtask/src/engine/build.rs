//! One BuildKit build through the Engine API: `POST /build?version=2&remote=client-session` beside a session.
//!
//! In: a [`BuildSpec`]. Out: the image's ID, or what failed and where. The Dockerfile and the files of the spec
//! are all that the builder can see. It never pulls what the store has: no `pull` is asked for, so a base image
//! of the exact name is used without any network.
//!
//! Dropping the future closes both connections; the engine cancels the build when its request goes away.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use http::Request;
use prost::Message as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::bollard::DockerEngine;
use super::classify::{classify, says_disk_full, without_stations};
use super::filesync::SentTree;
use super::http::{empty, target};
use super::session::{BuildSession, Served};
use super::stall::Watch;
use super::trace::{FailedVertex, Trace, exit_code, instruction};
use super::{EngineError, OnProgress, Progress};
use crate::model::{BuildSpec, Digest, ImageId, InlineCache, LogStream};

/// A disk that is full ends an instruction soon: it is among so many last words.
const LAST: usize = 10;

/// A line of the engine's answer.
#[derive(Deserialize)]
struct Line {
    id: Option<String>,
    aux: Option<serde_json::Value>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
    stream: Option<String>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    message: Option<String>,
}

/// The first API whose builder exports an inline cache on top of imported ones: that of Engine 23.0, with BuildKit 0.10.
/// BuildKit before 0.9 (Engine 20.10 has 0.8) may recurse without end in it, and takes the engine down
/// (moby/buildkit#1609, mended by moby/buildkit#2024).
const EXPORTS_ON_IMPORTS: (u32, u32) = (1, 42);

/// Builds, and returns the image's ID.
pub(super) async fn build(
    engine: &DockerEngine,
    root: &Path,
    spec: &BuildSpec,
    progress: OnProgress<'_>,
) -> Result<ImageId, EngineError> {
    let mut image = None;
    for pass in passes(engine.api, spec) {
        image = build_once(engine, root, &pass, progress).await?;
    }
    image.ok_or_else(|| EngineError::Gone("the build ended without an image".to_owned()))
}

/// One build; none of its image if it only fills the builder's cache.
async fn build_once(
    engine: &DockerEngine,
    root: &Path,
    pass: &Pass<'_>,
    progress: OnProgress<'_>,
) -> Result<Option<ImageId>, EngineError> {
    let spec = &*pass.spec;
    let name = dockerfile_name(spec);
    let context = Arc::new(SentTree::of_context(root.join(&spec.context), spec)?);
    let served = Served {
        dockerfile: Arc::new(SentTree::of_dockerfile(name, &spec.text)),
        context: context.clone(),
        credentials: engine.credentials.clone(),
    };
    let session = BuildSession::open(&engine.wire, engine.api, &shared_key(root, spec), served).await?;
    let query = query(pass, name, session.id(), &engine.proxies);
    let request = Request::post(target(engine.api, "/build", &query))
        .header(http::header::CONTENT_TYPE, "application/x-tar")
        .body(empty())
        .map_err(|error| EngineError::Other(error.to_string()))?;

    let mut trace = Trace::default();
    let result = follow(engine, request, spec, &mut trace, progress).await;
    trace.finish(progress);
    match (result, context.trouble()) {
        // The builder only says that its session went wrong.
        (Err(_), Some(trouble)) => Err(trouble),
        (Err(Stop::Engine(error)), None) => Err(error),
        (Err(Stop::Build(cause)), None) => Err(failure(spec, trace.failure(), cause)),
        (Ok(id), _) => Ok(id),
    }
}

/// One request to the builder.
struct Pass<'a> {
    spec: Cow<'a, BuildSpec>,
    yields: Yields,
}

/// What comes of a [`Pass`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yields {
    Image,
    /// Nothing but what the builder remembers.
    Cache,
}

/// A builder that must not import and export at once is first made to take over what it is offered; the second build
/// then finds all of it in the builder's own cache.
fn passes(api: (u32, u32), spec: &BuildSpec) -> Vec<Pass<'_>> {
    let does_both = spec.inline_cache != InlineCache::No && !spec.cache_from.is_empty();
    if !does_both || api >= EXPORTS_ON_IMPORTS {
        return vec![Pass { spec: Cow::Borrowed(spec), yields: Yields::Image }];
    }
    let import = BuildSpec { inline_cache: InlineCache::No, ..spec.clone() };
    let export = BuildSpec { cache_from: Vec::new(), ..spec.clone() };
    let import = (!spec.no_cache).then_some(Pass { spec: Cow::Owned(import), yields: Yields::Cache });
    import.into_iter().chain([Pass { spec: Cow::Owned(export), yields: Yields::Image }]).collect()
}

enum Stop {
    /// The engine itself.
    Engine(EngineError),
    /// The builder says so.
    Build(String),
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

async fn follow(
    engine: &DockerEngine,
    request: Request<super::http::AnyBody>,
    spec: &BuildSpec,
    trace: &mut Trace,
    progress: OnProgress<'_>,
) -> Result<Option<ImageId>, Stop> {
    let mut lines = engine.wire.call(request, spec.image.as_str()).await?.lines();
    let mut image = None;
    let mut watch = Watch::new(engine.stall, None);
    while let Some(line) = watch.over(lines.next::<Line>(), progress).await?? {
        if let Some(cause) = line.error_detail.and_then(|detail| detail.message).or(line.error) {
            return Err(Stop::Build(cause));
        }
        match (line.id.as_deref(), line.aux) {
            (Some("moby.buildkit.trace"), Some(serde_json::Value::String(text))) => {
                let decoded = STANDARD.decode(text).map_err(|error| error.to_string()).and_then(|bytes| {
                    StatusResponse::decode(bytes.as_slice()).map_err(|error| error.to_string())
                });
                match decoded {
                    Ok(message) => {
                        if trace.take(message, progress) {
                            watch.moved();
                        }
                        watch.from = trace.waits_for();
                    }
                    // The build itself is none the worse for it.
                    Err(error) => tracing::debug!(%error, "a message of the builder is not understood"),
                }
            }
            (_, Some(aux)) => {
                // `moby.image.id`, or no id at all in older answers.
                if let Some(id) = aux.get("ID").and_then(serde_json::Value::as_str) {
                    image = Some(id.to_owned());
                }
            }
            (_, None) => {
                if let Some(text) = line.stream.as_deref().map(str::trim_end).filter(|text| !text.is_empty())
                {
                    progress(Progress::Log { stream: LogStream::Progress, line: text.to_owned() });
                }
            }
        }
    }
    let parse = |id: String| {
        id.parse().map_err(|_| Stop::Engine(EngineError::Other(format!("the engine calls the image `{id}`"))))
    };
    image.map(parse).transpose()
}

/// The Dockerfile's own name; the builder shows it.
fn dockerfile_name(spec: &BuildSpec) -> &str {
    spec.dockerfile.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("Dockerfile")
}

/// Builds of the same files share what the builder keeps of them. Another image's files would push these out,
/// and two builds cannot use one copy at the same time, so the key is the image's own. Hashed, since a path
/// need not be ASCII and is nobody else's business.
fn shared_key(root: &Path, spec: &BuildSpec) -> String {
    let mut hasher = Sha256::new();
    let target = spec.target.as_deref().unwrap_or_default();
    for part in [
        root.as_os_str().as_encoded_bytes(),
        spec.context.as_bytes(),
        spec.dockerfile.as_bytes(),
        target.as_bytes(),
    ] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Digest::from_sha256(&hasher.finalize().into()).hex().to_owned()
}

fn query(
    pass: &Pass<'_>,
    dockerfile: &str,
    session: &str,
    proxies: &BTreeMap<String, String>,
) -> Vec<(&'static str, String)> {
    let spec = &*pass.spec;
    let json = |value: serde_json::Value| value.to_string();
    let mut args: BTreeMap<&str, &str> = proxies.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    if spec.inline_cache != InlineCache::No {
        args.insert("BUILDKIT_INLINE_CACHE", "1");
    }
    args.extend(spec.build_args.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let mut query = vec![
        ("version", "2".to_owned()),
        ("remote", "client-session".to_owned()),
        ("session", session.to_owned()),
        ("dockerfile", dockerfile.to_owned()),
        ("platform", spec.platform.to_string()),
        ("networkmode", spec.network.clone().unwrap_or_else(|| "default".to_owned())),
        ("rm", "1".to_owned()),
        ("buildargs", json(serde_json::json!(args))),
        ("labels", json(serde_json::json!(spec.labels))),
    ];
    match pass.yields {
        Yields::Image => {
            query.extend(spec.tags.iter().map(|tag| ("t", tag.familiar())));
            if spec.inline_cache == InlineCache::Packed {
                // The engine's own exporter, `moby`, always unpacks (moby, `builder-next/exporter/wrapper.go`).
                let packed = serde_json::json!([{ "Type": "image", "Attrs": { "unpack": "false" } }]);
                query.push(("outputs", json(packed)));
            }
        }
        // The engine's own word for no exporter at all.
        Yields::Cache => query.push(("outputs", json(serde_json::json!([{ "Type": "cacheonly" }])))),
    }
    query.extend(spec.target.iter().map(|stage| ("target", stage.clone())));
    if spec.no_cache {
        query.push(("nocache", "1".to_owned()));
    }
    if !spec.cache_from.is_empty() {
        let names: Vec<String> = spec.cache_from.iter().map(|name| name.familiar()).collect();
        query.push(("cachefrom", json(serde_json::json!(names))));
    }
    query
}

/// What the builder's last word means. An instruction that ran and failed is nobody's passing trouble,
/// whatever its command line says.
fn failure(spec: &BuildSpec, failed: Option<FailedVertex>, cause: String) -> EngineError {
    let exit_code = exit_code(&cause);
    let last_lines = failed.as_ref().map(|failed| failed.last_lines.clone()).unwrap_or_default();
    if let Some(line) =
        last_lines.iter().rev().take(LAST).find(|line| exit_code.is_some() && says_disk_full(line))
    {
        return EngineError::DiskFull(line.clone());
    }
    if exit_code.is_none()
        && let error @ (EngineError::Transient { .. } | EngineError::DiskFull(_)) =
            classify(None, &cause, spec.image.as_str())
    {
        return error;
    }
    let vertex = failed.map(|failed| failed.vertex);
    let cause = without_stations(&cause).to_owned();
    EngineError::BuildFailed {
        instruction: vertex.as_deref().and_then(instruction).map(str::to_owned),
        line: vertex.and_then(|vertex| dockerfile_line(spec, &vertex)),
        exit_code,
        cause,
        last_lines,
    }
}

/// The line of the instruction that the builder names.
fn dockerfile_line(spec: &BuildSpec, vertex: &str) -> Option<u32> {
    let (file, _) = dockerfile::parse(&spec.dockerfile, &spec.text);
    dockerfile::line_of_vertex(&file, vertex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContextFiles, ImageName, Platform};

    fn spec() -> BuildSpec {
        BuildSpec {
            image: ImageName::new("api"),
            tags: vec!["api:1".parse().expect("tag"), "r.example/api:1".parse().expect("tag")],
            dockerfile: "src/api/Dockerfile".to_owned(),
            text: "FROM scratch\n".to_owned(),
            context: ".".to_owned(),
            files: ContextFiles::default(),
            target: Some("runtime".to_owned()),
            platform: Platform::new("linux", "amd64", None),
            build_args: [("V".to_owned(), "1".to_owned()), ("http_proxy".to_owned(), "mine".to_owned())]
                .into(),
            labels: [("a".to_owned(), "b & \"c\"".to_owned())].into(),
            network: None,
            no_cache: true,
            cache_from: vec!["api:0".parse().expect("tag")],
            inline_cache: InlineCache::Yes,
        }
    }

    #[test]
    fn everything_that_decides_a_build_is_asked_for() {
        let proxies = [("http_proxy".to_owned(), "p".to_owned()), ("NO_PROXY".to_owned(), "n".to_owned())];
        let spec = spec();
        let [pass] = &passes(EXPORTS_ON_IMPORTS, &spec)[..] else { panic!("one") };
        let query = query(pass, "Dockerfile", "s", &proxies.into());
        let text: Vec<String> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            text,
            [
                "version=2",
                "remote=client-session",
                "session=s",
                "dockerfile=Dockerfile",
                "platform=linux/amd64",
                "networkmode=default",
                "rm=1",
                r#"buildargs={"BUILDKIT_INLINE_CACHE":"1","NO_PROXY":"n","V":"1","http_proxy":"mine"}"#,
                r#"labels={"a":"b & \"c\""}"#,
                "t=api:1",
                "t=r.example/api:1",
                "target=runtime",
                "nocache=1",
                r#"cachefrom=["api:0"]"#,
            ]
        );
    }

    /// Engine 20.10 (API 1.41) ends itself when it does both in one build.
    #[test]
    fn an_old_builder_never_exports_a_cache_on_top_of_imported_ones() {
        let reused = BuildSpec { no_cache: false, ..spec() };
        let of = |api, spec: &BuildSpec| {
            let passes = passes(api, spec);
            let told = passes.iter().map(|pass| {
                let query = query(pass, "Dockerfile", "s", &BTreeMap::new());
                let has = |name: &str| query.iter().any(|(key, _)| *key == name);
                let exports = query.iter().any(|(_, value)| value.contains("BUILDKIT_INLINE_CACHE"));
                (has("cachefrom"), exports, has("t"), has("outputs"))
            });
            told.collect::<Vec<_>>()
        };
        for old in [(1, 40), (1, 41)] {
            assert_eq!(of(old, &reused), [(true, false, false, true), (false, true, true, false)]);
        }
        assert_eq!(of((1, 42), &reused), [(true, true, true, false)]);
        let packed = BuildSpec { inline_cache: InlineCache::Packed, ..reused.clone() };
        assert_eq!(of((1, 42), &packed), [(true, true, true, true)]);
        let plain = BuildSpec { inline_cache: InlineCache::No, ..reused.clone() };
        assert_eq!(of((1, 41), &plain), [(true, false, true, false)]);
        let first = BuildSpec { cache_from: Vec::new(), ..reused };
        assert_eq!(of((1, 41), &first), [(false, true, true, false)]);
        assert_eq!(of((1, 41), &spec()), [(false, true, true, false)], "nothing is taken over with --force");
    }

    #[test]
    fn the_shared_key_is_ascii_and_each_images_own() {
        let (one, mut other) = (spec(), spec());
        other.target = None;
        let key = shared_key(Path::new("/tmp/项目"), &one);
        assert!(key.is_ascii());
        assert_eq!(key, shared_key(Path::new("/tmp/项目"), &one));
        assert_ne!(key, shared_key(Path::new("/tmp/项目"), &other));
        assert_ne!(key, shared_key(Path::new("/tmp"), &one));
    }

    #[test]
    fn failures_are_told_apart() {
        let failed = |lines: &[&str]| {
            Some(FailedVertex {
                vertex: "[runtime 2/3] RUN make".to_owned(),
                last_lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            })
        };
        let plain = failure(&spec(), failed(&["boom"]), "x: exit code: 2".to_owned());
        assert_eq!(plain.to_string(), "`RUN make` exited with status 2");
        let internal = FailedVertex {
            vertex: "[internal] load metadata for docker.io/library/x:1".to_owned(),
            last_lines: Vec::new(),
        };
        let baseless = failure(&spec(), Some(internal), "docker.io/library/x:1: not found".to_owned());
        assert_eq!(baseless.to_string(), "docker.io/library/x:1: not found");
        let full = failure(&spec(), failed(&["cp: No space left on device", "x"]), "exit code: 1".to_owned());
        assert_eq!(full, EngineError::DiskFull("cp: No space left on device".to_owned()));
        for words in [
            "frontend grpc server closed unexpectedly",
            "failed to prepare extraction snapshot \"extract-1 x\": parent snapshot y does not exist: not found",
        ] {
            let passing = failure(&spec(), None, words.to_owned());
            assert!(matches!(passing, EngineError::Transient { .. }), "{passing:?}");
        }
        let named = failure(
            &spec(),
            None,
            "executor failed running [sh -c echo unexpected EOF; false]: exit code: 1".into(),
        );
        assert!(matches!(named, EngineError::BuildFailed { exit_code: Some(1), .. }));
    }
}
