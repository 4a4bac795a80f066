//! The cache folder: files named by their digest, each with a record that tells whether it is still what it was.
//!
//! Only whole, checked files get a name here, by a rename. What stands under a name is hashed again whenever its size,
//! times or inode are not those of the record.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::source::Shown;
use super::{ArtifactError, Found};
use crate::host::Stamp;
use crate::host::inside::{Folder, NewFile};
use crate::model::{Digest, sha256};

/// What is read at a time.
const BUFFER: usize = 1 << 18;

/// One cache folder; several trees and processes share it.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    tree: PathBuf,
}

/// What is remembered of a file: where it came from, and how to see that it was not touched.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    url: String,
    #[serde(flatten)]
    stamp: Stamp,
}

/// What a URL gave.
#[derive(Debug, Serialize, Deserialize)]
struct Given {
    url: String,
    digest: Digest,
}

impl Cache {
    /// The cache in the folder `root`, as the tree at `tree` uses it; it may lie in there.
    pub fn at(tree: &Path, root: &Path) -> Self {
        Self { root: root.to_owned(), tree: tree.to_owned() }
    }

    /// What its files are written in.
    pub(super) fn folder(&self) -> io::Result<Folder> {
        Folder::owner_of(&self.tree, &self.root)
    }

    /// Where the file of a digest stands, if it is here.
    pub(super) fn place_of(&self, digest: &Digest) -> PathBuf {
        self.root.join("sha256").join(digest.hex())
    }

    /// The digests of all files. One that was touched is still named; whoever uses it looks.
    pub(super) fn digests(&self) -> BTreeSet<Digest> {
        let Ok(entries) = fs::read_dir(self.root.join("sha256")) else { return BTreeSet::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|hex| format!("sha256:{hex}").parse().ok()).collect()
    }

    /// A file for a download of `name` from `origin` that is not whole yet.
    pub(super) fn partial(&self, name: &str, origin: &Shown) -> PathBuf {
        self.root.join("partial").join(key_of(&format!("{name}\n{origin}")))
    }

    /// The file of a digest. One that was touched is hashed again; one that is something else is none.
    pub(super) fn get(&self, digest: &Digest) -> Result<Option<Found>, ArtifactError> {
        let path = self.place_of(digest);
        let failed = |error: &io::Error| ArtifactError::file(&path, error);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let size = metadata.len();
        let found = Found { path: path.clone(), digest: digest.clone(), size };
        let record: Option<Record> = read_json(&record_of(&path));
        if record.as_ref().is_some_and(|record| record.stamp == Stamp::of(&metadata)) {
            return Ok(Some(found));
        }
        if File::open(&path).and_then(|mut file| hash(&mut file)).map_err(|error| failed(&error))? != *digest
        {
            return Ok(None);
        }
        let url = record.map(|record| record.url).unwrap_or_default();
        // A cache that may only be read serves as well, if more slowly.
        let _ = self.write_json(&record_of(&path), &Record { url, stamp: Stamp::of(&metadata) });
        Ok(Some(found))
    }

    /// Takes over a whole, checked file of this digest: `put` moves it to where it is told.
    pub(super) fn take(
        &self,
        digest: &Digest,
        origin: &Shown,
        put: impl FnOnce(&Folder, &Path) -> io::Result<()>,
    ) -> Result<Found, ArtifactError> {
        let path = self.place_of(digest);
        let failed = |error: &io::Error| ArtifactError::file(&path, error);
        self.folder().and_then(|folder| put(&folder, &path)).map_err(|error| failed(&error))?;
        let metadata = fs::metadata(&path).map_err(|error| failed(&error))?;
        let record = Record { url: origin.to_string(), stamp: Stamp::of(&metadata) };
        self.write_json(&record_of(&path), &record).map_err(|error| failed(&error))?;
        Ok(Found { path, digest: digest.clone(), size: metadata.len() })
    }

    /// Takes over a small content that is made here.
    pub(super) fn put(&self, bytes: &[u8], origin: &Shown) -> Result<Found, ArtifactError> {
        let digest = sha256(bytes);
        if let Some(found) = self.get(&digest)? {
            return Ok(found);
        }
        let mut file = self.temporary()?;
        file.write_all(bytes).map_err(|error| ArtifactError::file(&self.root, &error))?;
        self.take_new(file, &digest, origin)
    }

    /// An empty file on the cache's own file system, gone when it is dropped.
    pub(super) fn temporary(&self) -> Result<NewFile, ArtifactError> {
        let partial = self.root.join("partial");
        let made = self.folder().and_then(|folder| folder.new_file(&partial));
        made.map_err(|error| ArtifactError::file(&partial, &error))
    }

    /// Takes over such a file, whole and checked by now.
    pub(super) fn take_new(
        &self,
        file: NewFile,
        digest: &Digest,
        origin: &Shown,
    ) -> Result<Found, ArtifactError> {
        self.take(digest, origin, |folder, path| file.keep(folder, path).map(drop))
    }

    /// The digest that a URL gave, whoever asked it.
    pub(super) fn given_by(&self, origin: &Shown) -> Result<Option<Digest>, ArtifactError> {
        let given: Option<Given> = read_json(&self.origin(origin));
        Ok(given.filter(|given| given.url == origin.as_str()).map(|given| given.digest))
    }

    /// Remembers what a URL gave.
    pub(super) fn remember(&self, origin: &Shown, digest: &Digest) -> Result<(), ArtifactError> {
        let path = self.origin(origin);
        let given = Given { url: origin.to_string(), digest: digest.clone() };
        self.write_json(&path, &given).map_err(|error| ArtifactError::file(&path, &error))
    }

    fn origin(&self, origin: &Shown) -> PathBuf {
        self.root.join("origins").join(format!("{}.json", key_of(origin.as_str())))
    }

    /// Whole or not at all.
    pub(super) fn write_json(&self, path: &Path, value: &impl Serialize) -> io::Result<()> {
        self.folder()?.write(path, &serde_json::to_vec(value)?, None)
    }
}

/// The SHA-256 of a file, from its beginning.
pub(super) fn hash(file: &mut File) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    file.rewind()?;
    feed(file, &mut hasher)?;
    Ok(digest_of(hasher))
}

/// The rest of a file into a hasher; how many bytes there were.
pub(super) fn feed(file: &mut File, hasher: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                total += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn digest_of(hasher: Sha256) -> Digest {
    Digest::from_sha256(&hasher.finalize().into())
}

/// A short name for a long text.
fn key_of(text: &str) -> String {
    digest_of(Sha256::new_with_prefix(text)).hex().chars().take(32).collect()
}

fn record_of(path: &Path) -> PathBuf {
    path.with_extension("json")
}

/// None for whatever cannot be read: it is only remembered, never needed.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_touched_is_hashed_again_and_a_changed_one_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path(), folder.path());
        let origin = Shown::of("https://example.com/V.zip");
        let found = cache.put(b"content", &origin).expect("writable");
        assert_eq!(cache.get(&found.digest).expect("readable").as_ref(), Some(&found));
        // Another time, the same content.
        fs::write(&found.path, "content").expect("writable");
        assert_eq!(cache.get(&found.digest).expect("readable").as_ref(), Some(&found));
        // The same size, another content.
        fs::write(&found.path, "CONTENT").expect("writable");
        assert_eq!(cache.get(&found.digest).expect("readable"), None);
        assert_eq!(cache.put(b"content", &origin).expect("mends it"), found);
        assert_eq!(hash(&mut File::open(&found.path).expect("there")).expect("readable"), found.digest);
        assert_eq!(fs::read_dir(folder.path().join("partial")).expect("there").count(), 0);
    }

    #[test]
    fn what_a_url_gave_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path(), folder.path());
        let (one, other) = (Shown::of("https://example.com/1"), Shown::of("https://example.com/2"));
        let digest = digest_of(Sha256::new());
        assert_eq!(cache.given_by(&one).expect("readable"), None);
        cache.remember(&one, &digest).expect("writable");
        assert_eq!(cache.given_by(&one).expect("readable"), Some(digest));
        assert_eq!(cache.given_by(&other).expect("readable"), None);
    }
}
