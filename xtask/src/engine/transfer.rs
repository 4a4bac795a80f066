//! Images that come and go: pull, push, import. One request each, answered by a stream of JSON lines, which can
//! hold an error although the status was 200.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::bollard::DockerEngine;
use super::classify::classify;
use super::http::{AnyBody, JsonLines, empty, target};
use super::stall::{self, Watch};
use super::{EngineError, OnProgress, Progress};
use crate::model::{Digest, ImageId, Platform, Reference, Unit};
use crate::registry::credentials::auth_header;

/// A line of the engine's answer.
#[derive(Deserialize)]
struct Line {
    id: Option<String>,
    status: Option<String>,
    #[serde(rename = "progressDetail")]
    progress: Option<Detail>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
    aux: Option<Aux>,
}

impl Line {
    /// The digest that a push ended with. Engines that keep images in containerd have no `aux` and say it in words:
    /// `v1: digest: sha256:… size: 405` (moby, `daemon/containerd/image_push.go`).
    fn pushed(&self) -> Option<Digest> {
        let in_words = || {
            let (_, said) = self.status.as_deref()?.split_once(": digest: ")?;
            said.split_whitespace().next()?.parse().ok()
        };
        self.aux.as_ref().and_then(|aux| aux.digest.clone()).or_else(in_words)
    }
}

#[derive(Clone, Copy, Deserialize)]
struct Detail {
    #[serde(default)]
    current: i64,
    #[serde(default)]
    total: i64,
}

#[derive(Deserialize)]
struct ErrorDetail {
    code: Option<u16>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Aux {
    #[serde(rename = "Digest")]
    digest: Option<Digest>,
}

/// Pulls exactly this reference, once.
pub(super) async fn pull(
    engine: &DockerEngine,
    reference: &Reference,
    platform: &Platform,
    progress: OnProgress<'_>,
) -> Result<(), EngineError> {
    let version = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let query = [
        ("fromImage", reference.familiar_repository()),
        ("tag", version),
        ("platform", platform.to_string()),
    ];
    let login = engine.credentials.find(reference.domain()).await;
    let is_known = login.is_some();
    let mut request = Request::post(target(engine.api, "/images/create", &query));
    if is_known {
        request = request.header("X-Registry-Auth", auth_header(login, reference.domain()));
    }
    let pulled = follow(engine, request, reference, Way::In, progress).await;
    pulled.map(drop).map_err(|error| saying_who_asked(error, engine, reference, is_known))
}

/// Pushes; the digest is that of the manifest which the registry took.
pub(super) async fn push(
    engine: &DockerEngine,
    reference: &Reference,
    progress: OnProgress<'_>,
) -> Result<Digest, EngineError> {
    let tag = reference
        .tag()
        .ok_or_else(|| EngineError::Other(format!("{reference} has no tag, and only a tag can be pushed")))?;
    let path = format!("/images/{}/push", reference.familiar_repository());
    let login = engine.credentials.find(reference.domain()).await;
    let is_known = login.is_some();
    let request = Request::post(target(engine.api, &path, &[("tag", tag.to_owned())]))
        .header("X-Registry-Auth", auth_header(login, reference.domain()));
    let pushed = follow(engine, request, reference, Way::Out, progress).await;
    let digest = pushed.map_err(|error| saying_who_asked(error, engine, reference, is_known))?;
    digest.ok_or_else(|| EngineError::Gone(format!("the push of {reference} ended without a digest")))
}

/// What is told of a registry whose stored login cannot be used.
pub const ASKED_WITHOUT_LOGIN: &str = "was asked without a login";

/// Texts of a registry that wants to know who asks.
const WHO: [&str; 5] = [
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "incorrect username or password",
    "authorization failed",
];

/// A registry that says no, with the login that it was shown.
fn saying_who_asked(
    error: EngineError,
    engine: &DockerEngine,
    reference: &Reference,
    is_known: bool,
) -> EngineError {
    let EngineError::Denied(said) = error else { return error };
    let (domain, lower) = (reference.domain(), said.to_ascii_lowercase());
    let asks_who = WHO.iter().any(|text| lower.contains(text));
    // Of the whole address that some engines tell, the answer is what matters.
    let said = match said.rsplit_once(": ") {
        Some((address, answer)) if asks_who && address.contains("://") => answer.to_owned(),
        _ => said,
    };
    EngineError::Denied(match engine.credentials.trouble() {
        Some(trouble) if !is_known => format!("{domain} {ASKED_WITHOUT_LOGIN} ({trouble}): {said}"),
        _ if is_known && asks_who => {
            format!("{domain} does not take the login that is stored for it: {said}")
        }
        _ if asks_who => format!("{domain} wants a login, and none is stored for it: {said}"),
        _ => said,
    })
}

/// Which way an image goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Follows a transfer to its end, as long as something moves; the digest is what the registry said, if it did.
async fn follow(
    engine: &DockerEngine,
    request: http::request::Builder,
    reference: &Reference,
    way: Way,
    progress: OnProgress<'_>,
) -> Result<Option<Digest>, EngineError> {
    let registry = || Some(reference.domain().to_owned());
    let mut watch = Watch::new(engine.stall, registry());
    // The answer may begin only when the registry has said something.
    let mut lines = watch.over(send(engine, request, empty(), reference), progress).await??;
    let mut layers = Layers::default();
    let mut digest = None;
    while let Some(line) = watch.over(lines.next::<Line>(), progress).await?? {
        check(&line, reference)?;
        if layers.take(&line, progress) {
            watch.moved();
        }
        watch.from = registry().filter(|_| way == Way::Out || !layers.are_all_here());
        digest = line.pushed().or(digest);
    }
    Ok(digest)
}

/// Makes an image of one layer from a tar, which is streamed from disk.
pub(super) async fn import(
    engine: &DockerEngine,
    tar: &Path,
    reference: &Reference,
    platform: &Platform,
    labels: &BTreeMap<String, String>,
) -> Result<ImageId, EngineError> {
    let mut query = vec![
        ("fromSrc", "-".to_owned()),
        ("repo", reference.familiar_repository()),
        ("tag", reference.tag().unwrap_or("latest").to_owned()),
        ("platform", platform.to_string()),
    ];
    query.extend(labels.iter().map(|(key, value)| ("changes", label_instruction(key, value))));
    let file = tokio::fs::File::open(tar)
        .await
        .map_err(|error| EngineError::Other(format!("cannot read {}: {error}", tar.display())))?;
    let body = StreamBody::new(ReaderStream::with_capacity(file, 256 * 1024).map_ok(Frame::<Bytes>::data));
    let request = Request::post(target(engine.api, "/images/create", &query))
        .header(http::header::CONTENT_TYPE, "application/x-tar");
    let mut lines = send(engine, request, body.boxed_unsync(), reference).await?;
    let mut id = None;
    while let Some(line) = lines.next::<Line>().await? {
        check(&line, reference)?;
        id = line.status.as_deref().and_then(|status| status.parse::<ImageId>().ok()).or(id);
    }
    id.ok_or_else(|| EngineError::Gone(format!("the import of {reference} ended without an image")))
}

async fn send(
    engine: &DockerEngine,
    request: http::request::Builder,
    body: AnyBody,
    reference: &Reference,
) -> Result<JsonLines, EngineError> {
    let request = request.body(body).map_err(|error| EngineError::Other(error.to_string()))?;
    Ok(engine.wire.call(request, &reference.familiar()).await?.lines())
}

fn check(line: &Line, reference: &Reference) -> Result<(), EngineError> {
    let detail = line.error_detail.as_ref();
    match detail.and_then(|detail| detail.message.as_ref()).or(line.error.as_ref()) {
        None => Ok(()),
        Some(message) => Err(classify(detail.and_then(|detail| detail.code), message, &reference.familiar())),
    }
}

/// `LABEL "key"="value"`, read by the engine as a Dockerfile instruction: quotes, backslashes and dollars of
/// the text itself are escaped. A line break cannot be written there and becomes a space.
fn label_instruction(key: &str, value: &str) -> String {
    let quote = |text: &str| {
        let mut quoted = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' | '$' => quoted.extend(['\\', c]),
                '\n' | '\r' => quoted.push(' '),
                other => quoted.push(other),
            }
        }
        quoted.push('"');
        quoted
    };
    format!("LABEL {}={}", quote(key), quote(value))
}

/// Bytes on their way, layer by layer.
#[derive(Default)]
struct Layers {
    bytes: BTreeMap<String, (u64, u64)>,
    /// What was said last of each.
    said: BTreeMap<String, String>,
    /// How many bytes had come when it was last worth noting.
    noted: u64,
}

/// What the engine says of a layer that no registry is asked for any more.
const HERE: [&str; 5] =
    ["Already exists", "Download complete", "Verifying Checksum", "Extracting", "Pull complete"];

impl Layers {
    /// Whether all that a registry has to give has come.
    fn are_all_here(&self) -> bool {
        let mut layers = self.said.values().filter(|said| !said.starts_with("Pulling from")).peekable();
        layers.peek().is_some() && layers.all(|said| HERE.contains(&said.as_str()))
    }

    /// A layer is told to unpack after it was told to download, in bytes of its own: only the transfer counts. Says
    /// whether there was anything new in the line.
    fn take(&mut self, line: &Line, progress: OnProgress<'_>) -> bool {
        let (Some(id), Some(status)) = (&line.id, &line.status) else {
            if let Some(status) = &line.status {
                let line = status.clone();
                progress(Progress::Log { stream: crate::model::LogStream::Progress, line });
            }
            return true;
        };
        let is_news = self.said.insert(id.clone(), status.clone()).as_ref() != Some(status);
        self.count(id, status, line.progress, progress);
        let done: u64 = self.bytes.values().map(|(done, _)| done).sum();
        let has_moved = done >= self.noted + stall::LEAST;
        if is_news || has_moved {
            self.noted = done;
        }
        is_news || has_moved
    }

    fn count(&mut self, id: &str, status: &str, detail: Option<Detail>, progress: OnProgress<'_>) {
        let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
        match (status, detail) {
            ("Downloading" | "Pushing", Some(detail)) => {
                let total = bytes(detail.total).max(bytes(detail.current));
                self.bytes.insert(id.to_owned(), (bytes(detail.current), total));
            }
            ("Download complete" | "Pull complete" | "Pushed", _) => {
                let Some(layer) = self.bytes.get_mut(id) else { return };
                if layer.0 == layer.1 {
                    return;
                }
                layer.0 = layer.1;
            }
            _ => return,
        }
        let (done, total) = self.bytes.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        let detail = match self.bytes.values().filter(|(done, total)| done < total).count() {
            0 => None,
            1 => Some(format!("layer {id}")),
            many => Some(format!("{many} layers")),
        };
        progress(Progress::Moved { done, total, unit: Unit::Bytes, detail });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn layers_are_summed_up() {
        let said = Mutex::new(Vec::new());
        let progress = |progress: Progress| {
            if let Progress::Moved { done, total, detail, .. } = progress {
                said.lock()
                    .expect("unpoisoned")
                    .push(format!("{done}/{total} {}", detail.unwrap_or_default()));
            }
        };
        let mut layers = Layers::default();
        for line in [
            r#"{"status":"Pulling from library/alpine","id":"3"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"a"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"a"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":5,"total":50},"id":"b"}"#,
            r#"{"status":"Download complete","progressDetail":{},"id":"a"}"#,
            r#"{"status":"Extracting","progressDetail":{"current":1,"total":100},"id":"a"}"#,
            r#"{"status":"Pull complete","progressDetail":{},"id":"a"}"#,
            r#"{"status":"Pull complete","progressDetail":{},"id":"b"}"#,
            r#"{"status":"Already exists","progressDetail":{},"id":"c"}"#,
        ] {
            layers.take(&serde_json::from_str(line).expect("line"), &progress);
        }
        assert_eq!(
            *said.lock().expect("unpoisoned"),
            ["10/100 layer a", "15/150 2 layers", "105/150 layer a", "150/150 "]
        );
    }

    #[test]
    fn only_what_is_new_is_movement_and_what_is_here_waits_for_nobody() {
        let mut layers = Layers::default();
        for (line, is_new, is_here) in [
            (r#"{"status":"Pulling from library/alpine","id":"3"}"#, true, false),
            (r#"{"status":"Waiting","progressDetail":{},"id":"a"}"#, true, false),
            (
                r#"{"status":"Downloading","progressDetail":{"current":10,"total":100000},"id":"a"}"#,
                true,
                false,
            ),
            (
                r#"{"status":"Downloading","progressDetail":{"current":11,"total":100000},"id":"a"}"#,
                false,
                false,
            ),
            (r#"{"status":"Waiting","progressDetail":{},"id":"b"}"#, true, false),
            (
                r#"{"status":"Downloading","progressDetail":{"current":65600,"total":100000},"id":"a"}"#,
                true,
                false,
            ),
            (r#"{"status":"Download complete","progressDetail":{},"id":"a"}"#, true, false),
            (r#"{"status":"Already exists","progressDetail":{},"id":"b"}"#, true, true),
            (r#"{"status":"Extracting","progressDetail":{"current":1,"total":100000},"id":"a"}"#, true, true),
        ] {
            assert_eq!(layers.take(&serde_json::from_str(line).expect("line"), &|_| {}), is_new, "{line}");
            assert_eq!(layers.are_all_here(), is_here, "{line}");
        }
    }

    #[test]
    fn errors_stand_in_the_stream() {
        let reference: Reference = "alpine:3".parse().expect("reference");
        let line = r#"{"errorDetail":{"message":"toomanyrequests: slow down"},"error":"toomanyrequests: slow down"}"#;
        let error = check(&serde_json::from_str(line).expect("line"), &reference).expect_err("an error");
        assert!(matches!(error, EngineError::Transient { .. }));
        let push = r#"{"progressDetail":{},"aux":{"Tag":"1","Digest":"sha256:zz","Size":5}}"#;
        assert!(serde_json::from_str::<Line>(push).is_err(), "a digest that is none is refused");
    }

    #[test]
    fn a_push_says_its_digest_in_a_field_or_in_words() {
        let digest = Digest::from_sha256(&[7; 32]);
        for (line, expected) in [
            (format!(r#"{{"progressDetail":{{}},"aux":{{"Tag":"1","Digest":"{digest}","Size":5}}}}"#), true),
            (format!(r#"{{"status":"v1: digest: {digest} size: 405"}}"#), true),
            (r#"{"status":"The push refers to repository [r.example/a]"}"#.to_owned(), false),
            (r#"{"status":"v1: digest: unknown size: 405"}"#.to_owned(), false),
            (r#"{"status":"Pushed","progressDetail":{},"id":"f86b03832f0f"}"#.to_owned(), false),
        ] {
            let pushed = serde_json::from_str::<Line>(&line).expect("line").pushed();
            assert_eq!(pushed, expected.then(|| digest.clone()), "{line}");
        }
    }

    #[test]
    fn labels_are_quoted() {
        assert_eq!(label_instruction("a.b", r#"1 "x" \ $HOME"#), r#"LABEL "a.b"="1 \"x\" \\ \$HOME""#);
        assert_eq!(label_instruction("a", "1\n2"), "LABEL \"a\"=\"1 2\"");
    }
}
