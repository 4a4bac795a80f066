//! Images of stores that keep manifests (containerd's, registries'): index, manifest, config and layers as they are there,
//! byte for byte, so that a digest names the same thing wherever they go.
//!
//! In: the ID by which such a store knows an image, which is the digest of its manifest or index. Out: the image, if
//! every blob that it needs is in our store of blobs.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::layout::{IMAGE_MANIFEST, ImageManifest};
use super::manifest::{Descriptor, SmallBlob, StoredImage, StoredIndex, StoredLayer};
use super::store::BlobStore;
use crate::model::{Digest, INDEX_TYPE, ImageConfig, Platform, Reference};

/// The annotation of an entry that is no image but speaks of one (moby/buildkit, `docs/attestations/attestation-storage.md`).
const ATTESTATION: &str = "vnd.docker.reference.type";

/// `index.json` of an image: only what leads to its parts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    #[serde(default)]
    media_type: String,
    manifests: Vec<Entry>,
}

#[derive(Clone, Deserialize)]
struct Entry {
    #[serde(flatten)]
    descriptor: Descriptor,
    platform: Option<EntryPlatform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize)]
struct EntryPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Entry {
    fn is_attestation(&self) -> bool {
        self.annotations.contains_key(ATTESTATION)
    }

    fn serves(&self, platform: &Platform) -> bool {
        !self.is_attestation()
            && self.platform.as_ref().is_none_or(|found| {
                Platform::new(&found.os, &found.architecture, found.variant.as_deref()).serves(platform)
            })
    }
}

/// The image with this ID, for this platform; none when something of it is not in the store.
pub(super) fn original(
    store: &BlobStore,
    reference: &Reference,
    id: &Digest,
    platform: &Platform,
) -> Option<StoredImage> {
    let top = store.small(id)?;
    let Ok(index) = serde_json::from_slice::<Index>(&top) else {
        return of_manifest(store, reference, id, top);
    };
    // An index may promise platforms that are not here.
    let mut images = index.manifests.iter().filter(|entry| entry.serves(platform));
    let mut image = images.find_map(|entry| {
        let digest = &entry.descriptor.digest;
        of_manifest(store, reference, digest, store.small(digest)?)
    })?;
    let attestations = index.manifests.iter().filter(|entry| entry.is_attestation());
    let attached = attestations.flat_map(|entry| attached(store, entry)).collect();
    let media_type = if index.media_type.is_empty() { INDEX_TYPE } else { &index.media_type };
    let blob = SmallBlob::new(media_type, top);
    image.index = Some(StoredIndex { blob, attached });
    Some(image)
}

fn of_manifest(
    store: &BlobStore,
    reference: &Reference,
    digest: &Digest,
    bytes: Vec<u8>,
) -> Option<StoredImage> {
    let manifest: ImageManifest = serde_json::from_slice(&bytes).ok()?;
    let config = store.small(&manifest.config.digest)?;
    let config: ImageConfig = serde_json::from_slice(&config).ok()?;
    let diff_ids = &config.rootfs.diff_ids;
    let is_whole = diff_ids.len() == manifest.layers.len() && manifest.layers.iter().all(|l| store.holds(l));
    is_whole.then(|| StoredImage {
        reference: reference.clone(),
        image_id: manifest.config.digest.clone(),
        identity: config.identity(),
        manifest: SmallBlob {
            descriptor: Descriptor {
                media_type: if manifest.media_type.is_empty() {
                    IMAGE_MANIFEST.to_owned()
                } else {
                    manifest.media_type
                },
                digest: digest.clone(),
                size: bytes.len() as u64,
            },
            bytes,
        },
        index: None,
        layers: manifest
            .layers
            .into_iter()
            .zip(diff_ids)
            .map(|(blob, diff_id)| StoredLayer { diff_id: diff_id.clone(), blob })
            .collect(),
        config: manifest.config,
    })
}

/// The blobs of an attestation; none of it when one is not here.
fn attached(store: &BlobStore, entry: &Entry) -> Vec<Descriptor> {
    let whole = || {
        let manifest: ImageManifest = serde_json::from_slice(&store.small(&entry.descriptor.digest)?).ok()?;
        let blobs: Vec<Descriptor> =
            [entry.descriptor.clone(), manifest.config].into_iter().chain(manifest.layers).collect();
        blobs.iter().all(|blob| store.holds(blob)).then_some(blobs)
    };
    whole().unwrap_or_default()
}
