//! What the fake engine's images are made of, so that they can be saved, and be loaded elsewhere under the same ID:
//! configs and layers that are as real as those of an engine, only small.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read as _};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{State, digest_of, identity};
use crate::engine::{ByteStream, EngineError, Loaded};
use crate::model::{BuildSpec, Digest, ImageId, LocalImage, Platform, Reference, sha256};

/// The pieces in which a saved archive comes.
const PIECE: usize = 4096;

/// The texts of images that [`super::fake_image`] made, by ID: it knows no engine that could keep them.
static TEXTS: Mutex<BTreeMap<ImageId, String>> = Mutex::new(BTreeMap::new());

/// An image's config and its layers, from the bottom up.
#[derive(Clone, Debug)]
pub(super) struct Content {
    config: Bytes,
    layers: Vec<Bytes>,
}

impl Content {
    pub(super) fn new(platform: &Platform, labels: &BTreeMap<String, String>, layers: Vec<Bytes>) -> Self {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| sha256(layer)).collect();
        let config = json!({
            "architecture": platform.arch,
            "os": platform.os,
            "variant": platform.variant,
            "config": { "Labels": labels },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        Self { config: config.to_string().into(), layers }
    }

    /// Of one layer that holds this text.
    fn of_text(text: &str) -> Self {
        Self::new(&Platform::local(), &BTreeMap::new(), vec![layer(text)])
    }

    pub(super) fn id(&self) -> ImageId {
        ImageId::new(sha256(&self.config))
    }

    fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| sha256(layer)).collect()
    }
}

/// The ID of the image that holds this text.
pub(super) fn remember(text: &str) -> ImageId {
    let id = Content::of_text(text).id();
    TEXTS.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), text.to_owned());
    id
}

/// A tar with one file.
fn layer(text: &str) -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    // Writing to memory cannot fail.
    let _ = append(&mut tar, "content", text.as_bytes());
    tar.into_inner().unwrap_or_default().into()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, bytes)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The whole archive, or the error in which it ended.
pub(super) async fn read_all(archive: ByteStream) -> Result<Vec<u8>, EngineError> {
    let chunks: Vec<Bytes> =
        archive.try_collect().await.map_err(|error| EngineError::Gone(error.to_string()))?;
    Ok(chunks.concat())
}

impl State {
    fn content(&self, id: &ImageId) -> Option<Content> {
        self.contents.get(id).cloned().or_else(|| {
            TEXTS.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(|text| Content::of_text(text))
        })
    }

    /// The diff IDs of an image, from the bottom up; a layer of its own when nobody knows what it is made of.
    pub(super) fn layers(&self, id: &ImageId) -> Vec<Digest> {
        let made_up = || vec![digest_of([b"layer of ".as_slice(), id.as_str().as_bytes()])];
        self.content(id).map_or_else(made_up, |content| content.diff_ids())
    }

    /// The image that a build makes: the layers of its last base, and one that is the build's own.
    pub(super) fn build(&mut self, spec: &BuildSpec) -> ImageId {
        let base = spec.text.lines().rev().find_map(|line| {
            let name = line.trim().strip_prefix("FROM ")?.split_whitespace().next()?;
            self.find(&name.parse::<Reference>().ok()?).map(|image| image.id.clone())
        });
        let mut layers = base.and_then(|id| self.content(&id)).map(|base| base.layers).unwrap_or_default();
        layers.push(layer(digest_of(identity(spec).iter().map(String::as_bytes)).as_str()));
        let content = Content::new(&spec.platform, &spec.labels, layers);
        let id = content.id();
        self.contents.insert(id.clone(), content);
        id
    }

    pub(super) fn save(&self, references: &[Reference]) -> Result<ByteStream, EngineError> {
        let mut tar = tar::Builder::new(Vec::new());
        let failed = |error: io::Error| EngineError::Other(error.to_string());
        let (mut entries, mut written) = (Vec::new(), HashSet::new());
        for reference in references {
            let image = self.find(reference).ok_or_else(|| EngineError::NotFound(reference.familiar()))?;
            let content = self.content(&image.id).ok_or_else(|| {
                EngineError::Other(format!("nobody knows what {} is made of", reference.familiar()))
            })?;
            let mut paths = Vec::new();
            for (diff_id, bytes) in content.diff_ids().iter().zip(&content.layers) {
                let path = format!("{}/layer.tar", diff_id.hex());
                if written.insert(path.clone()) {
                    append(&mut tar, &path, bytes).map_err(failed)?;
                }
                paths.push(path);
            }
            let config = format!("{}.json", image.id.digest().hex());
            if written.insert(config.clone()) {
                append(&mut tar, &config, &content.config).map_err(failed)?;
            }
            entries.push(Entry { config, repo_tags: Some(vec![reference.familiar()]), layers: paths });
        }
        let manifest = serde_json::to_vec(&entries).unwrap_or_default();
        append(&mut tar, "manifest.json", &manifest).map_err(failed)?;
        let bytes = Bytes::from(tar.into_inner().map_err(failed)?);
        let pieces: Vec<Bytes> = bytes.chunks(PIECE).map(|piece| bytes.slice_ref(piece)).collect();
        Ok(futures_util::stream::iter(pieces.into_iter().map(Ok)).boxed())
    }

    pub(super) fn load(&mut self, archive: &[u8]) -> Result<Loaded, EngineError> {
        let odd = |what: String| EngineError::Other(format!("the archive cannot be loaded: {what}"));
        let files = unpack(archive).map_err(|error| odd(error.to_string()))?;
        let file = |path: &str| files.get(path).cloned().ok_or_else(|| odd(format!("{path} is missing")));
        let entries: Vec<Entry> =
            serde_json::from_slice(&file("manifest.json")?).map_err(|error| odd(error.to_string()))?;
        let mut loaded = Loaded::default();
        for entry in entries {
            let config = file(&entry.config)?;
            let text: Value = serde_json::from_slice(&config).map_err(|error| odd(error.to_string()))?;
            let wanted: Vec<Digest> = serde_json::from_value(text["rootfs"]["diff_ids"].clone())
                .map_err(|error| odd(error.to_string()))?;
            let mut layers: Vec<Bytes> = Vec::new();
            for (index, diff_id) in wanted.iter().enumerate() {
                // As an engine does: a layer that is here is not opened.
                let known = self.chain(&wanted[..=index]);
                let bytes = match known {
                    Some(bytes) => bytes,
                    None => file(entry.layers.get(index).map_or("", String::as_str))?,
                };
                if sha256(&bytes) != *diff_id {
                    return Err(odd(format!("layer {index} is not {diff_id}")));
                }
                layers.push(bytes);
            }
            let content = Content { config: config.clone(), layers };
            let id = content.id();
            let names: Vec<Reference> =
                entry.repo_tags.unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
            if names.is_empty() {
                loaded.ids.push(id.clone());
            }
            loaded.names.extend(names.iter().cloned());
            let part = |key: &str| text[key].as_str().unwrap_or_default();
            self.store(LocalImage {
                id: id.clone(),
                names,
                digests: Vec::new(),
                labels: serde_json::from_value(text["config"]["Labels"].clone()).unwrap_or_default(),
                size: content.layers.iter().map(|layer| layer.len() as u64).sum(),
                platform: Some(Platform::new(part("os"), part("architecture"), text["variant"].as_str())),
                identity: None,
            });
            self.contents.insert(id, content);
        }
        Ok(loaded)
    }

    /// The top layer of this chain, if an image of the store has it.
    fn chain(&self, diff_ids: &[Digest]) -> Option<Bytes> {
        self.images.iter().find_map(|image| {
            let content = self.content(&image.id)?;
            let has = content.diff_ids().starts_with(diff_ids);
            has.then(|| content.layers.get(diff_ids.len() - 1).cloned()).flatten()
        })
    }
}

fn unpack(archive: &[u8]) -> io::Result<HashMap<String, Bytes>> {
    let mut files = HashMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(entry.path()?.to_string_lossy().into_owned(), bytes.into());
    }
    Ok(files)
}
