//! The OCI image layout of a bundle, as bytes (OCI image-spec, image-layout.md, image-index.md, manifest.md).
//!
//! Pure. In: a manifest of ours and the images that it names. Out: the small files of the layout, and what they are
//! called. All of them follow from our manifest and the images' own, so a reader writes them again and compares: what
//! differs was not written by this program. Nothing here reads or writes a file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::manifest::{BundleManifest, Descriptor, Member, StoredImage, StoredLayer};
pub use super::manifest::{SmallBlob, describe};
use crate::model::{
    CONTAINERD_NAME, Digest, INDEX_TYPE, Identity, LAYOUT_VERSION, REF_NAME, Reference, or_default,
};

/// Layers: a tar, compressed with zstd.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// An image's config.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// An image's manifest.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What manifests of images are called: OCI's name, and Docker's.
pub const MANIFESTS: [&str; 2] = [IMAGE_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"];
/// What configs of images are called.
pub const CONFIGS: [&str; 2] = [CONFIG, "application/vnd.docker.container.image.v1+json"];
/// What indexes are called.
pub const INDEXES: [&str; 2] = [INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json"];
/// What layers are called, packed and not. Foreign ones, which are nowhere but at their makers', are not taken.
pub const LAYERS: [&str; 6] = [
    LAYER,
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar",
    // An engine with containerd names ours so in what it builds on them.
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
];
/// Our own manifest; compressed, for in a delta it would outweigh what it is about.
const BUNDLE_MANIFEST: &str = "application/vnd.dev.xtask.bundle.v1+json+zstd";
/// Artifacts and files of the tree.
pub const BYTES: &str = "application/octet-stream";

/// The annotation of the index that names our own manifest.
const OURS: &str = "dev.xtask.bundle";

/// What a file of the layout is; the order is that of their paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryName {
    /// `blobs/sha256/…`
    Blob(Digest),
    /// `index.json`
    Index,
    /// `manifest.json`, which engines before the OCI layout look for.
    DockerManifest,
    /// `oci-layout`
    Layout,
}

impl EntryName {
    /// The path inside the layout.
    pub fn path(&self) -> String {
        match self {
            Self::Blob(digest) => blob_path(digest),
            Self::Index => "index.json".to_owned(),
            Self::DockerManifest => "manifest.json".to_owned(),
            Self::Layout => "oci-layout".to_owned(),
        }
    }

    /// Of a path inside the layout; none when nothing of the layout is called so.
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            "index.json" => Some(Self::Index),
            "manifest.json" => Some(Self::DockerManifest),
            "oci-layout" => Some(Self::Layout),
            _ => {
                let hex = path.strip_prefix("blobs/sha256/")?;
                format!("sha256:{hex}").parse().ok().map(Self::Blob)
            }
        }
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// An image's manifest (manifest.md), or one of Docker's (distribution, `manifest-v2-2.md`), which has the same fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// 2
    pub schema_version: u32,
    /// One of [`MANIFESTS`]; OCI leaves it open whether it is said.
    #[serde(default)]
    pub media_type: String,
    /// The image's config.
    pub config: Descriptor,
    /// From the bottom up.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
}

/// An image of a store that keeps no manifests: it gets one of ours.
pub fn made_here(
    reference: Reference,
    config: Descriptor,
    identity: Identity,
    layers: Vec<StoredLayer>,
) -> StoredImage {
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: IMAGE_MANIFEST.to_owned(),
        config: config.clone(),
        layers: layers.iter().map(|layer| layer.blob.clone()).collect(),
    };
    StoredImage {
        reference,
        image_id: config.digest.clone(),
        identity,
        config,
        manifest: SmallBlob::new(IMAGE_MANIFEST, json(&manifest)),
        index: None,
        layers,
    }
}

/// `index.json`: an entry for each name of each image that the bundle holds, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<IndexEntry>,
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexEntry {
    media_type: String,
    digest: Digest,
    size: u64,
    platform: IndexPlatform,
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct IndexPlatform {
    architecture: String,
    os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

/// Members of which the bundle holds the image itself.
fn held(manifest: &BundleManifest) -> impl Iterator<Item = &Member> {
    let elsewhere: BTreeSet<&Digest> = manifest.requires.images.iter().collect();
    manifest.members.iter().filter(move |member| !elsewhere.contains(&member.image_id))
}

/// The bytes of `index.json`; `ours` is the digest of our own manifest.
pub fn index(manifest: &BundleManifest, ours: &Digest) -> Vec<u8> {
    let mut entries = BTreeMap::new();
    for member in held(manifest) {
        for name in member.names() {
            let name = name.to_string();
            let named = member.index.as_ref().unwrap_or(&member.manifest);
            let entry = IndexEntry {
                media_type: named.media_type.clone(),
                digest: named.digest.clone(),
                size: named.size,
                platform: IndexPlatform {
                    architecture: member.platform.arch.clone(),
                    os: member.platform.os.clone(),
                    variant: member.platform.variant.clone(),
                },
                annotations: [REF_NAME, CONTAINERD_NAME]
                    .map(|key| (key.to_owned(), name.clone()))
                    .into_iter()
                    .collect(),
            };
            entries.entry(name).or_insert(entry);
        }
    }
    json(&Index {
        schema_version: 2,
        media_type: INDEX_TYPE.to_owned(),
        manifests: entries.into_values().collect(),
        annotations: BTreeMap::from([(OURS.to_owned(), ours.to_string())]),
    })
}

/// Which blob is our own manifest, by the text of `index.json`.
///
/// # Errors
/// It is no index, or not one of a bundle.
pub fn find_manifest(index: &[u8]) -> Result<Digest, String> {
    #[derive(Deserialize)]
    struct Annotated {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let index: Annotated =
        serde_json::from_slice(index).map_err(|error| format!("it is no index: {error}"))?;
    let ours = index.annotations.get(OURS).ok_or_else(|| {
        format!("it has no annotation `{OURS}`, so this is an image layout, but not a bundle")
    })?;
    ours.parse().map_err(|error| format!("annotation `{OURS}`: {error}"))
}

/// One image of `manifest.json`, which `docker load` reads (moby, `image/tarexport`).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// The bytes of `manifest.json`. Layers that a delta leaves out are named all the same: engines do not open the file
/// of a layer that they have.
pub fn docker_manifest(manifest: &BundleManifest, images: &BTreeMap<Digest, StoredImage>) -> Vec<u8> {
    let mut named: BTreeMap<&Digest, BTreeSet<String>> = BTreeMap::new();
    for member in held(manifest) {
        // An image that is pinned by digest keeps no name: engines take tags only.
        let tags = member.names().filter(|name| name.digest().is_none()).map(|name| name.familiar());
        named.entry(&member.image_id).or_default().extend(tags);
    }
    let list: Vec<DockerImage> = named
        .into_iter()
        .filter_map(|(id, tags)| {
            let image = images.get(id)?;
            Some(DockerImage {
                config: blob_path(&image.config.digest),
                repo_tags: tags.into_iter().collect(),
                layers: image.layers.iter().map(|layer| blob_path(&layer.blob.digest)).collect(),
            })
        })
        .collect();
    json(&list)
}

/// Our own manifest as a blob.
///
/// # Errors
/// The compressor fails.
fn pack_manifest(manifest: &BundleManifest) -> std::io::Result<SmallBlob> {
    let bytes = zstd::bulk::compress(&json(manifest), 19)?;
    Ok(SmallBlob::new(BUNDLE_MANIFEST, bytes))
}

/// Strings, numbers and maps with string keys: serialising them cannot fail.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// One file of a layout that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Made here.
    Bytes(Vec<u8>),
    /// Copied from where blobs are kept.
    Blob(Descriptor),
}

impl Piece {
    /// Bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(descriptor) => descriptor.size,
        }
    }
}

/// Why a manifest and images do not make a bundle; a mistake of whoever put them together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// No image has a member's ID.
    #[error("{member} is image {image_id}, which is not among the images at hand")]
    NoImage {
        /// The member's reference.
        member: String,
        /// Its image.
        image_id: Digest,
    },
    /// A member names another manifest than its image has.
    #[error("{member} names manifest {found}, and its image has {expected}")]
    OtherManifest {
        /// The member's reference.
        member: String,
        /// What it names.
        found: Digest,
        /// What it should name.
        expected: Digest,
    },
    /// Two members claim one name.
    #[error("two different images are called {name}")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// The compressor failed.
    #[error("our own manifest cannot be compressed: {0}")]
    Compress(String),
}

/// Every file of the layout, in the order in which they are written. What `manifest.requires` names is left out.
///
/// # Errors
/// The images are not those that the manifest names.
pub fn assemble(
    manifest: &BundleManifest,
    images: &[StoredImage],
) -> Result<BTreeMap<EntryName, Piece>, AssembleError> {
    let by_id: BTreeMap<Digest, StoredImage> =
        images.iter().map(|image| (image.image_id.clone(), image.clone())).collect();
    check_names(manifest)?;
    let mut pieces = BTreeMap::new();
    let blob = |descriptor: &Descriptor| {
        (EntryName::Blob(descriptor.digest.clone()), Piece::Blob(descriptor.clone()))
    };
    for member in held(manifest) {
        let told = || member.reference.familiar();
        let image = by_id
            .get(&member.image_id)
            .ok_or_else(|| AssembleError::NoImage { member: told(), image_id: member.image_id.clone() })?;
        let own = &image.manifest;
        if own.descriptor != member.manifest {
            return Err(AssembleError::OtherManifest {
                member: told(),
                found: member.manifest.digest.clone(),
                expected: own.descriptor.digest.clone(),
            });
        }
        let small = image.index.iter().map(|index| &index.blob).chain([own]);
        pieces.extend(small.map(|small| {
            (EntryName::Blob(small.descriptor.digest.clone()), Piece::Bytes(small.bytes.clone()))
        }));
        pieces.extend([blob(&image.config)]);
        pieces.extend(image.index.iter().flat_map(|index| &index.attached).map(blob));
        let layers = image.layers.iter().zip(image.chain_ids());
        let lacking = layers.filter(|(_, chain)| manifest.requires.layers.binary_search(chain).is_err());
        pieces.extend(lacking.map(|(layer, _)| blob(&layer.blob)));
    }
    let is_held = |digest: &Digest| manifest.requires.artifacts.binary_search(digest).is_err();
    pieces.extend(manifest.artifacts.iter().map(|a| &a.blob).filter(|b| is_held(&b.digest)).map(blob));
    pieces.extend(manifest.files.iter().map(|file| blob(&file.blob)));
    let ours = pack_manifest(manifest).map_err(|error| AssembleError::Compress(error.to_string()))?;
    pieces.insert(EntryName::Index, Piece::Bytes(index(manifest, &ours.descriptor.digest)));
    pieces.insert(EntryName::Blob(ours.descriptor.digest), Piece::Bytes(ours.bytes));
    pieces.insert(EntryName::DockerManifest, Piece::Bytes(docker_manifest(manifest, &by_id)));
    pieces.insert(EntryName::Layout, Piece::Bytes(LAYOUT_VERSION.to_vec()));
    Ok(pieces)
}

/// Two members may be one image, but a name is one image's.
fn check_names(manifest: &BundleManifest) -> Result<(), AssembleError> {
    match clashing_name(manifest) {
        Some(name) => Err(AssembleError::NameTwice { name }),
        None => Ok(()),
    }
}

/// A name that two members with different images claim.
pub fn clashing_name(manifest: &BundleManifest) -> Option<String> {
    let mut owners = BTreeMap::new();
    manifest.members.iter().find_map(|member| {
        member.names().find_map(|name| {
            let owner = owners.entry(name).or_insert(&member.image_id);
            (*owner != &member.image_id).then(|| name.familiar())
        })
    })
}
