//! What is here of a download: its bytes, hashed as they come, and what is needed to ask for the rest.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::ArtifactError;
use super::cache::{digest_of, feed, make_folder_of, read_json, write_json};
use crate::lock::Lock;
use crate::model::Digest;

/// A download that is not over. Whoever holds this holds the lock on it.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    len: u64,
    furthest: u64,
    is_spliced: bool,
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
    pub fn open(path: PathBuf, lock: Lock) -> Result<Self, ArtifactError> {
        Self::try_open(path.clone(), lock).map_err(|error| ArtifactError::file(&path, &error))
    }

    fn try_open(path: PathBuf, lock: Lock) -> io::Result<Self> {
        make_folder_of(&path)?;
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        let source: Option<Source> = read_json(&note_of(&path));
        let mut hasher = Sha256::new();
        if source.is_none() {
            file.set_len(0)?;
        }
        let len = feed(&mut file, &mut hasher)?;
        let source = source.unwrap_or_default();
        Ok(Self { path, file, hasher, len, furthest: len, is_spliced: len > 0, source, _lock: lock })
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
        write_json(&note_of(&self.path), &source)?;
        self.source = source;
        Ok(())
    }

    /// What follows is of a further answer.
    pub fn splice(&mut self) {
        self.is_spliced = true;
    }

    /// One more piece.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
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
        for path in [&self.path, &note_of(&self.path)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Where the lock on a partial file is.
pub(super) fn lock_of(partial: &Path) -> PathBuf {
    partial.with_extension("lock")
}

fn note_of(partial: &Path) -> PathBuf {
    partial.with_extension("json")
}

/// Writes the pieces that arrive, until there are no more. Blocks.
pub(super) fn drain(partial: &Mutex<Partial>, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<()> {
    let mut partial = partial.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(piece) = pieces.blocking_recv() {
        partial.write(&piece)?;
    }
    Ok(())
}
