//! What a store calls an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Digest, ParseDigestError};

/// What one store calls an image: the digest of its config (overlay2 and the other graph drivers), or of its manifest or
/// index (containerd). Another store calls the same image otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(Digest);

impl ImageId {
    /// Of what a store says.
    pub fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// What it is the digest of, the store decides.
    pub fn digest(&self) -> &Digest {
        &self.0
    }

    /// The whole text, algorithm included.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first twelve hex digits, as `docker images` shows them.
    pub fn short(&self) -> &str {
        self.0.short()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ImageId {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
