//! What goes into images without being in the tree: a release's archive, and where to get it.

use serde::{Deserialize, Serialize};

use super::Digest;

/// One artifact of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactSpec {
    /// Its name in the build context: `1.2.3.zip`.
    pub file: String,
    /// Which version it is of.
    pub version: String,
    /// Where to get it, in order: mirrors, then the origin. The sample's is its folder, or nothing where the copy in
    /// this program is packed.
    pub urls: Vec<String>,
    /// The release, or what stands in for it.
    pub kind: ArtifactKind,
    /// The SHA-256 that the lock file wants; none when nobody has seen it yet. A sample is never locked.
    pub locked: Option<Digest>,
    /// The lock file, relative to the root.
    pub lock_file: String,
}

/// Whether an artifact is what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactKind {
    /// The framework's release.
    Release,
    /// The sample of this tree: the same layout and verbs, only when asked for.
    Sample,
}
