//! The nouns of a bundle: what our own manifest in it says, and the descriptors of what it holds.
//!
//! Plain data. The manifest is versioned and only grows: readers skip fields that they do not know, and fields that
//! come later have a default. Version 2 has images as their store had them, with compressed layers and manifests of others. It holds no times, names of machines or paths outside the tree: the same images give
//! the same bytes.

use serde::{Deserialize, Serialize};

use crate::model::bundle::{Role, ServiceRecord};
use crate::model::{Digest, Identity, ImageName, Platform, Reference, sha256};

/// The version of the manifest that this program writes, and the newest that it reads.
pub const VERSION: u32 = 2;

/// What a blob is, by which name, and how long (OCI image-spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// `application/vnd.oci.image.layer.v1.tar+zstd`
    pub media_type: String,
    /// SHA-256 of the blob's bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// The descriptor of some bytes.
pub fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest: sha256(bytes), size: bytes.len() as u64 }
}

/// A blob that is held in memory: a manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallBlob {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl SmallBlob {
    /// Of these bytes.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Self { descriptor: describe(media_type, &bytes), bytes }
    }
}

/// What a bundle is for, and what it holds. One blob of the bundle, found through an annotation of its index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleManifest {
    /// Of this format: [`VERSION`].
    pub version: u32,
    /// What wrote it: `xtask 0.1.0`.
    pub tool: String,
    /// The tag of the images that were built.
    pub tag: String,
    /// Every image, sorted by reference.
    pub members: Vec<Member>,
    /// What a rebuild compares with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceRecord>,
    /// Downloads that base images are made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactRecord>,
    /// Compose files and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRecord>,
    /// What the receiver has to have already, since the bundle does not hold it. Empty unless it is a delta.
    #[serde(default, skip_serializing_if = "Requires::is_empty")]
    pub requires: Requires,
    /// What came of a rebuild with the cable out; none when nobody tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

impl BundleManifest {
    /// An empty one, written by this program.
    pub fn new(tag: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            tool: concat!("xtask ", env!("CARGO_PKG_VERSION")).to_owned(),
            tag: tag.into(),
            members: Vec::new(),
            services: Vec::new(),
            artifacts: Vec::new(),
            files: Vec::new(),
            requires: Requires::default(),
            proof: None,
        }
    }
}

/// One image of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The name that the Dockerfiles (or the compose file) use.
    pub reference: Reference,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_names: Vec<Reference>,
    /// What it is in the bundle for.
    pub role: Role,
    /// Who needs it, as `file:line`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<String>,
    /// What it runs on.
    pub platform: Platform,
    /// The digest of its config.
    pub image_id: Digest,
    /// What is in it, the same in every store. None in bundles of version 1, where it follows from the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Its manifest.
    pub manifest: Descriptor,
    /// The index that the manifest was found in, where its store had one: what `name@sha256:…` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Descriptor>,
    /// Blobs of the index that are not the image's own: attestations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<Descriptor>,
}

impl Member {
    /// All names, the first one first.
    pub fn names(&self) -> impl Iterator<Item = &Reference> {
        std::iter::once(&self.reference).chain(&self.further_names)
    }
}

/// A download that a base image is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Its name in the build context.
    pub file: String,
    /// Its version.
    pub version: String,
    /// Who needs it, as `file:line`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<String>,
    /// Its bytes.
    pub blob: Descriptor,
}

/// A file of the tree that goes along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its bytes.
    pub blob: Descriptor,
}

/// What a delta leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requires {
    /// IDs of whole images; their configs and manifests are left out too. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Digest>,
    /// Chain IDs of layers of the images that the bundle does hold. An engine finds a layer by all that lies below
    /// it, so its diff ID alone would not do. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Digest>,
    /// Digests of artifacts. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Digest>,
}

impl Requires {
    /// Whether the bundle holds everything itself.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.layers.is_empty() && self.artifacts.is_empty()
    }
}

/// What came of a rebuild in an empty engine without a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// `docker 20.10.24`
    pub engine: String,
    /// One for each image of the tree.
    pub images: Vec<ProvenImage>,
}

/// What came of the rebuild of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenImage {
    /// Which.
    pub name: ImageName,
    /// The file that was changed.
    pub changed: String,
    /// None when it went well; else the instruction that needs the network, and where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// An image of which every blob is at hand (in a store, or in a bundle).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// One of its names.
    pub reference: Reference,
    /// The digest of its config.
    pub image_id: Digest,
    /// What is in it, the same in every store.
    pub identity: Identity,
    /// Its config, byte for byte as the engine has it.
    pub config: Descriptor,
    /// Its manifest: the store's own where it keeps manifests, else one that is made here.
    pub manifest: SmallBlob,
    /// What its store had around the manifest.
    pub index: Option<StoredIndex>,
    /// From the bottom up.
    pub layers: Vec<StoredLayer>,
}

/// An index with the manifest of an image in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIndex {
    /// The index, byte for byte.
    pub blob: SmallBlob,
    /// Blobs of it that are not the image's own and are at hand: attestations.
    pub attached: Vec<Descriptor>,
}

impl StoredImage {
    /// What `name@sha256:…` names where its manifest is kept: its index, or the manifest itself.
    pub fn named(&self) -> &Digest {
        &self.index.as_ref().map_or(&self.manifest, |index| &index.blob).descriptor.digest
    }

    /// The chain ID of each layer, from the bottom up.
    pub fn chain_ids(&self) -> Vec<Digest> {
        chain_ids(self.layers.iter().map(|layer| &layer.diff_id))
    }
}

/// An image that is to be in an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImage {
    /// What it is made of.
    pub image: StoredImage,
    /// All names that it is to have.
    pub names: Vec<Reference>,
}

/// One layer of a [`StoredImage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLayer {
    /// SHA-256 of the uncompressed tar.
    pub diff_id: Digest,
    /// The compressed blob.
    pub blob: Descriptor,
}

/// The chain ID of each layer (OCI image-spec, config.md, "Layer ChainID"): what an engine knows a layer by.
pub fn chain_ids<'a>(diff_ids: impl IntoIterator<Item = &'a Digest>) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::new();
    for diff_id in diff_ids {
        let chain = match chains.last() {
            None => diff_id.clone(),
            Some(below) => {
                let text = format!("{below} {diff_id}");
                sha256(text.as_bytes())
            }
        };
        chains.push(chain);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_hashed_as_the_specification_says() {
        let digest = |byte: u8| Digest::from_sha256(&[byte; 32]);
        let chains = chain_ids(&[digest(1), digest(2), digest(3)]);
        let of = |text: String| sha256(text.as_bytes());
        let second = of(format!("{} {}", digest(1), digest(2)));
        let third = of(format!("{second} {}", digest(3)));
        assert_eq!(chains, [digest(1), second, third]);
        assert_eq!(chain_ids(&[]), []);
    }

    #[test]
    fn fields_of_later_versions_are_skipped_and_of_earlier_ones_defaulted() {
        let text = r#"{"version":1,"tool":"xtask 9.9.9","tag":"v1","members":[],"further":{"a":1}}"#;
        let manifest: BundleManifest = serde_json::from_str(text).unwrap();
        let expected =
            BundleManifest { version: 1, tool: "xtask 9.9.9".to_owned(), ..BundleManifest::new("v1") };
        assert_eq!(manifest, expected);
    }
}
