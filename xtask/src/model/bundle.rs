//! What is done with bundles, as steps of a plan, and the nouns that say it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ArtifactSpec, Digest, ImageName, Platform, Reference};

/// One thing that is done with a bundle. Whoever executes a plan does not know how: it is handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleStep {
    /// Get images out of the engine, as far as the store of blobs lacks them.
    Fetch {
        /// Each by a name by which the engine's store has it, and what it goes along as.
        images: Vec<(Reference, WantedImage)>,
    },
    /// Rebuild images in an empty engine without a network.
    Prove {
        /// Which.
        images: BTreeSet<ImageName>,
        /// From nothing but this.
        from: ProvenFrom,
    },
    /// Write what was fetched, and all that goes along with it.
    Save(Box<SaveSpec>),
    /// Read every blob.
    Verify {
        /// The bundle.
        file: PathBuf,
        /// Of which layers it is proven what they unpack to.
        unpack: Unpack,
    },
    /// Give this machine what it lacks of a bundle that was read. It is all or nothing: interrupted, it puts back what it
    /// has done before it ends.
    Load {
        /// The bundle.
        file: PathBuf,
    },
}

impl BundleStep {
    /// The kebab-case name that the plan's JSON carries.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fetch { .. } => "fetch",
            Self::Prove { .. } => "prove",
            Self::Save(_) => "save",
            Self::Verify { .. } => "verify",
            Self::Load { .. } => "load",
        }
    }
}

/// What an empty engine is given for a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvenFrom {
    /// What was fetched.
    Fetched,
    /// These images of the engine's store.
    Store(Vec<Reference>),
}

/// What is written into a bundle beside the images, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveSpec {
    /// The tag of the images that were built.
    pub tag: String,
    /// What a rebuild compares with.
    pub services: Vec<ServiceRecord>,
    /// Downloads that base images of the tree are made of, and who needs each.
    pub artifacts: Vec<(ArtifactSpec, Vec<String>)>,
    /// Files of the tree, relative to the root.
    pub files: Vec<String>,
    /// What says what the receiver has already, which is left out; none is nothing.
    pub since: Option<PathBuf>,
    /// Where to.
    pub output: BundleOutput,
}

/// An image that goes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedImage {
    /// The name that is used.
    pub reference: Reference,
    /// Its other names.
    pub further_names: Vec<Reference>,
    /// What for.
    pub role: Role,
    /// Who needs it, as `file:line`.
    pub needed_by: Vec<String>,
    /// What it runs on.
    pub platform: Platform,
}

impl WantedImage {
    /// All names, the first one first.
    pub fn names(&self) -> impl Iterator<Item = &Reference> {
        std::iter::once(&self.reference).chain(&self.further_names)
    }
}

/// What an image is in a bundle for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// An image of the tree.
    Image,
    /// An intermediate stage of one, as a cache for its rebuild.
    Stage,
    /// An external image that a Dockerfile builds on or copies from.
    Base,
    /// An external image of a `dependency.conf`.
    Companion,
    /// What a `# syntax=` line names.
    Frontend,
    /// An image of others that a compose file starts.
    Compose,
}

impl Role {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Stage => "stage",
            Self::Base => "base",
            Self::Companion => "companion",
            Self::Frontend => "frontend",
            Self::Compose => "compose",
        }
    }
}

/// What a rebuild of one image compares with. It grows with what `rebuild` wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Which image of the tree.
    pub name: ImageName,
    /// Its reference.
    pub reference: Reference,
    /// Its Dockerfile, relative to the root.
    pub dockerfile: String,
}

/// Where a bundle goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleOutput {
    /// One `.tar`.
    File(PathBuf),
    /// `FILE.tar.001`, … of at most so many bytes each, and `FILE.tar.sha256` for `sha256sum -c`.
    Parts {
        /// `FILE.tar`
        file: PathBuf,
        /// Bytes; at least 1 MiB.
        size: u64,
    },
    /// A folder.
    Folder(PathBuf),
}

impl BundleOutput {
    /// What is named to read it.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) | Self::Parts { file: path, .. } => path,
        }
    }
}

/// Of which layers it is proven what they unpack to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpack {
    /// Of all.
    All,
    /// Of these blobs.
    Only(BTreeSet<Digest>),
}

impl Unpack {
    /// Whether the layer of this blob is among them.
    pub fn includes(&self, blob: &Digest) -> bool {
        match self {
            Self::All => true,
            Self::Only(blobs) => blobs.contains(blob),
        }
    }
}
