//! Images as streams: what `docker save` gives and what `docker load` takes. One request each; nothing of an image is
//! held in memory, and nobody here looks into the archives.

use std::io;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde::Deserialize;

use super::EngineError;
use super::bollard::DockerEngine;
use super::classify::classify;
use super::http::{chain, empty, target};
use crate::model::{ImageId, Reference};

/// Bytes on their way. An error ends it.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// What an engine says that it loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The names that its images were given.
    pub names: Vec<Reference>,
    /// Images that came without a name.
    pub ids: Vec<ImageId>,
}

/// Asks for an archive of these images: docker-archive before Engine 25, an image layout with both kinds of index
/// since. The engine writes all of it to its own disk before the first byte comes.
pub(super) async fn save(engine: &DockerEngine, references: &[Reference]) -> Result<ByteStream, EngineError> {
    let names: Vec<String> = references.iter().map(Reference::familiar).collect();
    let query: Vec<(&str, String)> = names.iter().map(|name| ("names", name.clone())).collect();
    let request = Request::get(target(engine.api, "/images/get", &query))
        .body(empty())
        .map_err(|error| EngineError::Other(error.to_string()))?;
    let answer = engine.wire.call(request, &names.join(" ")).await?;
    Ok(Box::pin(answer.stream().map_err(|error| io::Error::other(chain(&error)))))
}

/// Hands an archive over, as it comes.
pub(super) async fn load(engine: &DockerEngine, archive: ByteStream) -> Result<Loaded, EngineError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        stream: Option<String>,
        error: Option<String>,
        error_detail: Option<Detail>,
    }
    #[derive(Deserialize)]
    struct Detail {
        code: Option<u16>,
    }
    let body = StreamBody::new(archive.map_ok(Frame::<Bytes>::data));
    let request = Request::post(target(engine.api, "/images/load", &[("quiet", "1".to_owned())]))
        .header(http::header::CONTENT_TYPE, "application/x-tar")
        .body(body.boxed_unsync())
        .map_err(|error| EngineError::Other(error.to_string()))?;
    let mut lines = engine.wire.call(request, "the archive").await?.lines();
    let mut loaded = Loaded::default();
    while let Some(line) = lines.next::<Line>().await? {
        if let Some(message) = line.error {
            return Err(classify(line.error_detail.and_then(|detail| detail.code), &message, "the archive"));
        }
        loaded.take(line.stream.as_deref().unwrap_or_default());
    }
    Ok(loaded)
}

impl Loaded {
    /// `Loaded image: alpine:3` or `Loaded image ID: sha256:…`; other lines say other things.
    fn take(&mut self, line: &str) {
        let line = line.trim();
        if let Some(id) = line.strip_prefix("Loaded image ID: ") {
            self.ids.extend(id.parse::<ImageId>());
        } else if let Some(name) = line.strip_prefix("Loaded image: ") {
            self.names.extend(name.parse::<Reference>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    #[test]
    fn what_was_loaded_is_read() {
        let id = ImageId::new(Digest::from_sha256(&[7; 32]));
        let mut loaded = Loaded::default();
        for line in
            ["Loaded image: alpine:3\n", &format!("Loaded image ID: {id}\n"), "The image x:1 already exists"]
        {
            loaded.take(line);
        }
        assert_eq!(loaded, Loaded { names: vec!["alpine:3".parse().unwrap()], ids: vec![id] });
    }
}
