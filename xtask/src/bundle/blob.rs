//! Where blobs are read from.

use std::io::{self, Read};

use crate::model::Digest;

/// Where blobs are kept.
pub trait BlobSource: Sync {
    /// The bytes of a blob, from its beginning.
    ///
    /// # Errors
    /// `NotFound` when it is not there; else the operating system's.
    fn open_blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>>;
}
