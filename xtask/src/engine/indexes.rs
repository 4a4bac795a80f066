//! Image indexes in an engine that keeps its images in containerd.
//!
//! It makes none itself of images that it has; but it loads an archive of nothing but an index, if all that this is over is
//! there (measured on Engine 28.5: `containerd.Client.Import` looks for what is missing in its content store).

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::EngineError;
use super::archive;
use super::bollard::DockerEngine;
use super::container::{absent_is_fine, ask, read};
use crate::model::{
    CONTAINERD_NAME, INDEX_TYPE, ImageId, IndexSpec, IndexVariant, LAYOUT_VERSION, Reference, sha256,
};

/// What an engine tells of an image's manifests, since API 1.48.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    descriptor: Option<Value>,
    #[serde(default)]
    manifests: Vec<Manifest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    descriptor: Value,
    #[serde(default)]
    kind: String,
}

async fn image(engine: &DockerEngine, reference: &Reference) -> Result<Option<Image>, EngineError> {
    let name = reference.familiar();
    let path = format!("/images/{name}/json");
    let query = [("manifests", "1".to_owned())];
    match absent_is_fine(ask(engine, Method::GET, &path, &query, None, &name).await)? {
        Some(answer) => Ok(Some(read(answer).await?)),
        None => Ok(None),
    }
}

/// The images of an index; none where the name means none, or no index.
pub(super) async fn entries(
    engine: &DockerEngine,
    reference: &Reference,
) -> Result<Option<Vec<ImageId>>, EngineError> {
    let Some(image) = image(engine, reference).await? else { return Ok(None) };
    let is_index = image.descriptor.as_ref().is_some_and(|of| of["mediaType"] == INDEX_TYPE);
    let images = image.manifests.iter().filter(|manifest| manifest.kind == "image");
    let ids = images.filter_map(|manifest| manifest.descriptor["digest"].as_str()?.parse().ok());
    Ok(is_index.then(|| ids.collect()))
}

/// Makes an index over images of this engine, by their names, and gives it its own.
pub(super) async fn make(engine: &DockerEngine, spec: &IndexSpec) -> Result<ImageId, EngineError> {
    let mut manifests = Vec::new();
    for variant in &spec.variants {
        manifests.extend(of_variant(engine, variant).await?);
    }
    let index = spec.manifest(manifests);
    let digest = sha256(&index);
    let named = |name: &Reference| {
        json!({
            "mediaType": INDEX_TYPE,
            "digest": digest.as_str(),
            "size": index.len(),
            "annotations": { CONTAINERD_NAME: name.to_string() },
        })
    };
    let names: Vec<Value> = spec.names.iter().map(named).collect();
    let layout = json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": names });
    let files = BTreeMap::from([
        ("oci-layout".to_owned(), LAYOUT_VERSION.to_vec()),
        ("index.json".to_owned(), layout.to_string().into_bytes()),
        (format!("blobs/sha256/{}", digest.hex()), index),
    ]);
    let archive = archive_of(&files).map_err(|error| EngineError::Other(error.to_string()))?;
    archive::load(engine, Box::pin(stream::iter([Ok(Bytes::from(archive))]))).await?;
    Ok(ImageId::new(digest))
}

/// The entries for one platform: the image, and what is stated about it.
async fn of_variant(engine: &DockerEngine, variant: &IndexVariant) -> Result<Vec<Value>, EngineError> {
    let odd = |what: &str| EngineError::Other(format!("{} {what}", variant.name.familiar()));
    let image = image(engine, &variant.name).await?;
    let image = image.ok_or_else(|| EngineError::NotFound(variant.name.familiar()))?;
    let whole = image.descriptor.ok_or_else(|| odd("has no manifest here"))?;
    let manifests: Vec<Value> = match whole["mediaType"] == INDEX_TYPE {
        true => {
            let all: Vec<Value> = image.manifests.into_iter().map(|manifest| manifest.descriptor).collect();
            variant.among(&all).ok_or_else(|| odd(&format!("has nothing for {}", variant.platform)))?
        }
        false => vec![whole],
    };
    let entry = |descriptor: Value| {
        if descriptor["platform"]["os"] == "unknown" {
            // A statement about the image.
            return Some(descriptor);
        }
        // What else an engine notes beside it is its own business.
        let digest = descriptor["digest"].as_str()?.parse().ok()?;
        Some(variant.entry(descriptor["mediaType"].as_str()?, &digest, descriptor["size"].as_u64()?))
    };
    manifests
        .into_iter()
        .map(|of| entry(of).ok_or_else(|| odd("has a manifest that is not understood")))
        .collect()
}

fn archive_of(files: &BTreeMap<String, Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_slice())?;
    }
    archive.into_inner()
}
