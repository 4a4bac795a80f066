//! A docker-archive of one image (moby, `image/tarexport`), without the layers that an engine has. Made while it is sent: a
//! layer is unpacked on its way, and what it unpacks to is hashed in the same pass.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::manifest::{StoredImage, StoredLayer};
use super::open::BlobSource;
use super::packed::unpacked;
use super::pipe::{self, StreamError};
use super::tarball;
use crate::model::{Digest, Reference, sha256};

/// Bytes that are unpacked at a time.
const BUFFER: usize = 256 << 10;

/// The archive before it is written. All of it blocks.
pub(super) struct Archive<B> {
    pub blobs: B,
    pub image: StoredImage,
    pub tags: Vec<Reference>,
    /// Diff IDs.
    pub needed: BTreeSet<Digest>,
    /// Unpacked sizes by diff ID, as far as they are known.
    pub sizes: BTreeMap<Digest, u64>,
    /// Hears of the bytes of layers.
    pub at: Arc<AtomicU64>,
}

impl<B: BlobSource> Archive<B> {
    /// Learns the sizes that are not known.
    pub fn measure(&mut self) -> Result<(), StreamError> {
        for layer in &self.image.layers {
            if self.needed.contains(&layer.diff_id) && !self.sizes.contains_key(&layer.diff_id) {
                let size = unpack(&self.blobs, layer, &mut |_| Ok(()))?;
                self.sizes.insert(layer.diff_id.clone(), size);
            }
        }
        Ok(())
    }

    /// Writes it.
    pub fn write(&self, to: pipe::Writer) -> Result<(), StreamError> {
        to.send(|to| self.write_to(to))
    }

    fn write_to(&self, to: &mut impl Write) -> Result<(), StreamError> {
        let path = |layer: &StoredLayer| format!("{}/layer.tar", layer.diff_id.hex());
        let config = format!("{}.json", self.image.image_id.hex());
        let manifest = json!([{
            "Config": config,
            "RepoTags": self.tags.iter().map(Reference::familiar).collect::<Vec<_>>(),
            "Layers": self.image.layers.iter().map(path).collect::<Vec<_>>(),
        }]);
        tarball::entry(to, &config, &self.config()?)?;
        tarball::entry(to, "manifest.json", manifest.to_string().as_bytes())?;
        let mut written = BTreeSet::new();
        for layer in &self.image.layers {
            if !self.needed.contains(&layer.diff_id) || !written.insert(&layer.diff_id) {
                continue;
            }
            let size = self.sizes.get(&layer.diff_id).copied().unwrap_or_default();
            to.write_all(&tarball::header(&path(layer), size)?)?;
            let mut left = size;
            unpack(&self.blobs, layer, &mut |piece| {
                left = left
                    .checked_sub(piece.len() as u64)
                    .ok_or_else(|| StreamError::blob(&layer.blob.digest, "is longer than it was"))?;
                self.at.fetch_add(piece.len() as u64, Ordering::Relaxed);
                Ok(to.write_all(piece)?)
            })?;
            if left > 0 {
                return Err(StreamError::blob(&layer.blob.digest, "is shorter than it was"));
            }
            tarball::pad(to, size)?;
        }
        Ok(to.write_all(&tarball::END)?)
    }

    fn config(&self) -> Result<Vec<u8>, StreamError> {
        let mut bytes = Vec::new();
        let blob = self.blobs.open_blob(&self.image.config.digest).map_err(StreamError::Blob)?;
        let most = self.image.config.size.saturating_add(1);
        blob.take(most).read_to_end(&mut bytes).map_err(StreamError::Blob)?;
        if sha256(&bytes) == self.image.image_id {
            return Ok(bytes);
        }
        Err(StreamError::blob(&self.image.image_id, "is another config"))
    }
}

/// Unpacks a layer, and proves that it is the one; returns its size.
fn unpack(
    blobs: &impl BlobSource,
    layer: &StoredLayer,
    take: &mut dyn FnMut(&[u8]) -> Result<(), StreamError>,
) -> Result<u64, StreamError> {
    let read_failed = |error: io::Error| StreamError::blob(&layer.blob.digest, &error.to_string());
    let blob = blobs.open_blob(&layer.blob.digest).map_err(StreamError::Blob)?;
    let mut tar = unpacked(&layer.blob, blob).map_err(StreamError::Blob)?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let read = tar.read(&mut buffer).map_err(read_failed)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
        take(&buffer[..read])?;
    }
    let found = Digest::from_sha256(&hash.finalize().into());
    if found == layer.diff_id {
        return Ok(size);
    }
    Err(StreamError::blob(
        &layer.blob.digest,
        &format!("unpacks to {found}, and it should be {}", layer.diff_id),
    ))
}
