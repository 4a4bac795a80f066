//! What is here of a download: its bytes, hashed as they come, and what is needed to ask for the rest.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ArtifactError;
use super::cache::{Cache, digest_of, feed, read_json};
use super::stream::Seen;
use crate::host::lock::Lock;
use crate::model::Digest;

/// Larger writes make the kernel look for large pages, which can cost it three times as much as the copy itself.
const WRITE_AT_ONCE: usize = 1 << 16;

/// A download that is not over. Whoever holds this holds the lock on it.
#[derive(Debug)]
pub(super) struct Partial {
    cache: Cache,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    len: u64,
    furthest: u64,
    is_spliced: bool,
    seen: Seen,
    source: Source,
    _lock: Lock,
}

/// Which content the bytes are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    /// Where it comes from, as it may be shown.
    pub url: String,
    /// A strong `ETag`, else `Last-Modified`: what `If-Range` takes (RFC 9110, section 13.1.5).
    pub validator: Option<String>,
    /// How long the whole is.
    pub total: Option<u64>,
}

impl Partial {
    /// What an earlier try, of whichever process, left at `path`. Blocks: what is there is hashed.
    pub fn open(cache: Cache, path: PathBuf, lock: Lock) -> Result<Self, ArtifactError> {
        Self::try_open(cache, path.clone(), lock).map_err(|error| ArtifactError::file(&path, &error))
    }

    fn try_open(cache: Cache, path: PathBuf, lock: Lock) -> io::Result<Self> {
        let mut file = cache.folder()?.read_write(&path)?;
        let source: Option<Source> = read_json(&note_of(&path));
        let mut hasher = Sha256::new();
        if source.is_none() {
            file.set_len(0)?;
        }
        let len = feed(&mut file, &mut hasher)?;
        let source = source.unwrap_or_default();
        let (furthest, is_spliced, seen) = (len, len > 0, Seen::new());
        Ok(Self { cache, path, file, hasher, len, furthest, is_spliced, seen, source, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are here.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The most bytes that ever were here: whether tries get further.
    pub fn furthest(&self) -> u64 {
        self.furthest
    }

    /// Whether the bytes came in several answers, which may have been of different contents.
    pub fn is_spliced(&self) -> bool {
        self.is_spliced
    }

    /// What the bytes are of, if they are of `url` and more can be asked for.
    pub fn of(&self, url: &str) -> Option<&Source> {
        (self.len > 0 && self.source.url == url).then_some(&self.source)
    }

    /// Begins anew, with another content.
    pub fn restart(&mut self, source: Source) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hasher = Sha256::new();
        self.len = 0;
        self.is_spliced = false;
        self.seen.clear();
        self.cache.write_json(&note_of(&self.path), &source)?;
        self.source = source;
        Ok(())
    }

    /// What follows is of a further answer.
    pub fn splice(&mut self) {
        self.is_spliced = true;
    }

    /// The hasher of what is here, for whoever hashes what follows; to be brought back by [`hashed`](Self::hashed).
    pub fn hasher(&mut self) -> Sha256 {
        std::mem::take(&mut self.hasher)
    }

    /// All that was written since is in the hasher, and these entries were read.
    pub fn hashed(&mut self, hasher: Sha256, seen: Seen) {
        self.hasher = hasher;
        self.seen.extend(seen);
    }

    /// Entries that were read on their way here.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// One more piece, which is hashed elsewhere.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(WRITE_AT_ONCE) {
            self.file.write_all(chunk)?;
        }
        self.len += bytes.len() as u64;
        self.furthest = self.furthest.max(self.len);
        Ok(())
    }

    /// The digest of what is here.
    pub fn digest(&self) -> Digest {
        digest_of(self.hasher.clone())
    }

    /// Takes the files away.
    pub fn forget(&self) -> io::Result<()> {
        let folder = self.cache.folder()?;
        folder.remove(&self.path)?;
        folder.remove(note_of(&self.path))
    }
}

/// Where the lock on a partial file is.
pub(super) fn lock_of(partial: &Path) -> PathBuf {
    partial.with_extension("lock")
}

fn note_of(partial: &Path) -> PathBuf {
    partial.with_extension("json")
}
