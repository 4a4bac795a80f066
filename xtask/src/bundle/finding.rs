//! Why a bundle is not taken.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::model::Digest;

/// One thing that is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFinding {
    /// The blob that it is about, where it is about one.
    pub blob: Option<Digest>,
    /// What is wrong.
    pub what: String,
    /// The members that need the blob, as people name them.
    pub needed_by: Vec<String>,
}

impl BundleFinding {
    /// About the bundle as a whole, or a file of it that is no blob.
    pub fn new(what: impl Into<String>) -> Self {
        Self { blob: None, what: what.into(), needed_by: Vec::new() }
    }

    /// About a blob.
    pub fn of_blob(blob: &Digest, what: impl Into<String>) -> Self {
        Self { blob: Some(blob.clone()), what: what.into(), needed_by: Vec::new() }
    }

    /// With who needs the blob.
    pub fn needed_by(mut self, members: &[String]) -> Self {
        self.needed_by = members.to_vec();
        self
    }
}

impl fmt::Display for BundleFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(blob) = &self.blob {
            write!(f, "blob {blob}")?;
            match self.needed_by.as_slice() {
                [] => {}
                all if all.len() <= 3 => write!(f, " (needed by {})", all.join(", "))?,
                [first, rest @ ..] => write!(f, " (needed by {first} and {} more)", rest.len())?,
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
    }
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The operating system does not let us.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a bundle: {why}", path.display())]
    NotABundle {
        /// Which file or folder.
        path: PathBuf,
        /// What it lacks.
        why: String,
    },
    /// It is damaged, or somebody made it so.
    #[error("{} is refused", path.display())]
    Refused {
        /// Which file or folder.
        path: PathBuf,
        /// All that is wrong, at least one.
        findings: Vec<BundleFinding>,
    },
}
