//! What a receiver has, and what a bundle for it may leave out.
//!
//! An inventory is taken of an engine, or follows from a bundle that was loaded there. In: images with their layers.
//! Out: the same as a small file, and what of a bundle it makes superfluous. Only [`take`] asks an engine and [`read`]
//! reads a file; all else is pure. A layer is known by its chain ID, as engines know it: the same layer on another base is another one to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::contents::Contents;
use super::finding::BundleError;
use super::inspect::Inspection;
use super::manifest::{BundleManifest, Member, StoredImage, chain_ids};
use super::open::Bundle;
use crate::engine::{AnyEngine, EngineError, Store as _};
use crate::model::{Digest, Identity, ImageDetails, ImageId, LocalImage, Reference};

/// The version of the file. Version 1 had image IDs, which mean nothing to another kind of store.
pub const VERSION: u32 = 2;
/// The longest file that is read as one.
const LARGEST: u64 = 256 << 20;
/// How many images an engine is asked about at the same time.
const QUESTIONS: usize = 16;

/// What a receiver has. The same engine in the same state gives the same text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Of this format: [`VERSION`].
    pub version: u32,
    /// `docker 20.10.24`; none when it follows from a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// What is in its images, with the names that they have.
    pub images: BTreeMap<Identity, BTreeSet<Reference>>,
    /// The IDs that its store gives them: bundles of version 1 require images by these.
    #[serde(skip)]
    pub ids: BTreeMap<Digest, Identity>,
    /// Images without a name in the store. They are of no use to a bundle, and stay where they are.
    #[serde(skip)]
    pub unnamed: BTreeSet<ImageId>,
    /// Chain IDs of the layers of these images.
    pub layers: BTreeSet<Digest>,
    /// Digests of artifacts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub artifacts: BTreeSet<Digest>,
}

/// What an engine has, and which of these artifacts. Images that nobody has named are left out.
///
/// # Errors
/// The engine's.
pub async fn take(engine: &AnyEngine, artifacts: BTreeSet<Digest>) -> Result<Inventory, EngineError> {
    let observed = engine.observe().await?;
    let is_unnamed = |image: &&LocalImage| image.names.is_empty();
    let unnamed = observed.images().iter().filter(is_unnamed).map(|image| image.id.clone()).collect();
    let named: Vec<(ImageId, Vec<Reference>)> = observed
        .images()
        .iter()
        .map(|image| (image.id.clone(), image.names.iter().chain(&image.digests).cloned().collect()))
        .collect();
    // An image that goes away meanwhile is not there.
    let details: Vec<(Vec<Reference>, Option<ImageDetails>)> = stream::iter(named)
        .map(|(id, names)| async move {
            let Some(name) = names.first() else { return Ok((names, None)) };
            let details = engine.details(name).await?.filter(|details| details.id == id);
            Ok::<_, EngineError>((names, details))
        })
        .buffer_unordered(QUESTIONS)
        .try_collect()
        .await?;
    let mut inventory = Inventory {
        version: VERSION,
        engine: observed.capabilities.map(|c| format!("{} {}", c.name, c.version)),
        artifacts,
        unnamed,
        ..Inventory::default()
    };
    for (names, details) in details {
        if let Some(details) = details {
            inventory.layers.extend(chain_ids(&details.layers));
            inventory.ids.insert(details.id.digest().clone(), details.identity.clone());
            inventory.images.entry(details.identity).or_default().extend(names);
        }
    }
    Ok(inventory)
}

/// What `--since FILE` names: an inventory, a bundle that was loaded, or what `bundle inspect` said of it. Blocks.
///
/// # Errors
/// It cannot be read, or is neither.
pub fn read(path: &Path) -> Result<Inventory, BundleError> {
    let read_error = |source| BundleError::Read { path: path.to_owned(), source };
    if path.is_file() {
        let mut file = File::open(path).map_err(read_error)?;
        let mut first = [0];
        let length = file.read(&mut first).map_err(read_error)?;
        if length == 1 && first == *b"{" {
            let mut text = first.to_vec();
            file.take(LARGEST).read_to_end(&mut text).map_err(read_error)?;
            return Inventory::parse(&text)
                .map_err(|why| BundleError::NotABundle { path: path.to_owned(), why });
        }
    }
    Ok(Inventory::of_bundle(&Contents::read(Bundle::open(path)?)?))
}

/// Something that a receiver has to have and has not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// A whole image.
    Image {
        /// Its ID.
        id: Digest,
        /// How it is called.
        names: Vec<String>,
    },
    /// A layer of an image that the bundle holds.
    Layer {
        /// Its diff ID.
        diff_id: Digest,
        /// Whose layer it is.
        of: String,
    },
    /// An artifact.
    Artifact {
        /// Its digest.
        digest: Digest,
        /// Its file's name.
        file: String,
    },
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image { id, names } => write!(f, "image {id} ({})", names.join(", ")),
            Self::Layer { diff_id, of } => write!(f, "layer {diff_id} of {of}"),
            Self::Artifact { digest, file } => write!(f, "artifact {digest} ({file})"),
        }
    }
}

impl Inventory {
    /// What a machine has once it has loaded a bundle. Of images that the bundle itself only required, the layers
    /// are not known.
    pub fn of_bundle(contents: &Contents) -> Self {
        let manifest = contents.manifest();
        let mut inventory = Self { version: VERSION, ..Self::default() };
        for member in &manifest.members {
            inventory.add(member);
        }
        inventory.layers.extend(contents.images().flat_map(StoredImage::chain_ids));
        inventory.artifacts.extend(manifest.artifacts.iter().map(|artifact| artifact.blob.digest.clone()));
        inventory
    }

    /// An image of a bundle. Of one that a bundle of version 1 only required nobody knows what is in it.
    pub(super) fn add(&mut self, member: &Member) {
        if let Some(identity) = &member.identity {
            self.images.entry(identity.clone()).or_default().extend(member.names().cloned());
        }
    }

    /// What is in a member's image, if it is here.
    pub fn find(&self, member: &Member) -> Option<&Identity> {
        let known = member.identity.as_ref().or_else(|| self.ids.get(&member.image_id))?;
        self.images.get_key_value(known).map(|(identity, _)| identity)
    }

    /// Reads an inventory's file, or what `bundle inspect --format json` says of a bundle.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_slice(text)
            .map_err(|error| format!("it is neither a bundle nor JSON: {error}"))?;
        if value.get("members").is_some() {
            let inspection: Inspection = serde_json::from_value(value)
                .map_err(|error| format!("it is no answer of `bundle inspect --format json`: {error}"))?;
            return Ok(inspection.inventory());
        }
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version < VERSION.into() => Err(format!(
                "it is an inventory of format {version}, which names images as one kind of store does; take a new one \
                 with `cargo xtask bundle inventory`"
            )),
            Some(version) if version > VERSION.into() => {
                Err(format!("it is of format {version}, and this program reads {VERSION}"))
            }
            _ => serde_json::from_value(value).map_err(|error| format!("it is no inventory: {error}")),
        }
    }

    /// The file's text.
    pub fn text(&self) -> String {
        // Strings, numbers and maps with string keys: serialising them cannot fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// What a bundle requires and is not here.
    pub fn lacking(&self, contents: &Contents) -> Vec<Lack> {
        let manifest = contents.manifest();
        let mut lacks = Vec::new();
        for id in &manifest.requires.images {
            let members = || manifest.members.iter().filter(|member| member.image_id == *id);
            if !members().any(|member| self.find(member).is_some()) {
                let names = members().map(|member| member.reference.familiar()).collect();
                lacks.push(Lack::Image { id: id.clone(), names });
            }
        }
        for image in contents.images() {
            for (layer, chain) in image.layers.iter().zip(image.chain_ids()) {
                if manifest.requires.layers.contains(&chain) && !self.layers.contains(&chain) {
                    let of = image.reference.familiar();
                    lacks.push(Lack::Layer { diff_id: layer.diff_id.clone(), of });
                }
            }
        }
        for digest in manifest.requires.artifacts.iter().filter(|digest| !self.artifacts.contains(digest)) {
            let record = manifest.artifacts.iter().find(|artifact| artifact.blob.digest == *digest);
            let file = record.map(|artifact| artifact.file.clone()).unwrap_or_default();
            lacks.push(Lack::Artifact { digest: digest.clone(), file });
        }
        lacks
    }
}

/// Leaves out of a bundle what its receiver has, and notes that it has to have it. Call it before the bundle is
/// written; `images` are those of all members.
pub fn leave_out(manifest: &mut BundleManifest, images: &[StoredImage], has: &Inventory) {
    let requires = &mut manifest.requires;
    let members: BTreeSet<&Digest> = manifest.members.iter().map(|member| &member.image_id).collect();
    let here = manifest.members.iter().filter(|member| has.find(member).is_some());
    let here: BTreeSet<Digest> = here.map(|member| member.image_id.clone()).collect();
    let sent = images.iter().filter(|image| members.contains(&image.image_id));
    let sent = sent.filter(|image| !here.contains(&image.image_id));
    requires.images = here.iter().cloned().collect();
    let layers: BTreeSet<Digest> = sent.flat_map(StoredImage::chain_ids).collect();
    requires.layers = layers.intersection(&has.layers).cloned().collect();
    let artifacts: BTreeSet<Digest> = manifest.artifacts.iter().map(|a| a.blob.digest.clone()).collect();
    requires.artifacts = artifacts.intersection(&has.artifacts).cloned().collect();
}
