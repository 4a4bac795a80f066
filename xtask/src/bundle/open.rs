//! A bundle as it lies on disk: one `.tar`, the parts of one, or a folder. Opening makes a list of what lies where;
//! nothing is extracted, and nothing of it is believed yet ([`super::contents`] reads it, [`super::verify`] proves it).

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::finding::{BundleError, BundleFinding};
use super::layout::EntryName;
use super::parts::{self, Parts, PartsReader};
use super::proven::ProvenFile;
use super::tarball::{self, Extent};
use crate::model::Digest;

/// Where blobs are kept.
pub trait BlobSource: Sync {
    /// The bytes of a blob, from its beginning.
    ///
    /// # Errors
    /// `NotFound` when it is not there; else the operating system's.
    fn open_blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>>;

    /// The file of a blob of which it is known already that its content is right; all others are to be hashed.
    fn proven_file(&self, digest: &Digest) -> Option<ProvenFile> {
        let _ = digest;
        None
    }
}

/// An opened bundle. A clone reads the same open files.
#[derive(Clone, Debug)]
pub struct Bundle {
    path: PathBuf,
    source: Source,
    sizes: BTreeMap<EntryName, u64>,
}

#[derive(Clone, Debug)]
enum Source {
    Archive { parts: Parts, places: BTreeMap<EntryName, Extent> },
    Folder,
}

impl Bundle {
    /// Opens what a person names: the file, its first part (or the name that the parts have in common), or the folder
    /// of either.
    ///
    /// # Errors
    /// It cannot be read, it is no bundle, or the tar or folder has what a layout has not.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let read_error = |path: &Path, source| BundleError::Read { path: path.to_owned(), source };
        let is_split = || (1..=parts::MOST_PARTS).any(|number| parts::part_path(path, number).is_file());
        if !path.exists() && is_split() {
            return Self::open_parts(path);
        }
        let metadata = std::fs::metadata(path).map_err(|error| read_error(path, error))?;
        if !metadata.is_dir() {
            return match parts::whole_of_part(path) {
                Some(whole) => Self::open_parts(&whole),
                None => Self::open_archive(path, vec![path.to_owned()]),
            };
        }
        if path.join("oci-layout").exists() || path.join("index.json").exists() {
            return Self::open_folder(path);
        }
        match archives_in(path).map_err(|error| read_error(path, error))?.as_slice() {
            [one] => Self::open(one),
            [] => Err(not_a_bundle(path, "it has no oci-layout, and no .tar or .tar.001 lies in it")),
            [one, another, ..] => {
                let why = format!("both {} and {} lie in it: name one", one.display(), another.display());
                Err(not_a_bundle(path, why))
            }
        }
    }

    fn open_parts(whole: &Path) -> Result<Self, BundleError> {
        let numbers = 1..=parts::MOST_PARTS;
        let there: Vec<usize> = numbers.filter(|n| parts::part_path(whole, *n).exists()).collect();
        let last = there.last().copied().unwrap_or(1);
        let lacking: Vec<BundleFinding> = (1..=last)
            .filter(|number| !there.contains(number))
            .map(|number| {
                BundleFinding::new(format!("part {} is missing", parts::part_path(whole, number).display()))
            })
            .collect();
        if !lacking.is_empty() {
            return Err(BundleError::Refused { path: whole.to_owned(), findings: lacking });
        }
        Self::open_archive(whole, there.into_iter().map(|n| parts::part_path(whole, n)).collect())
    }

    fn open_archive(path: &Path, files: Vec<PathBuf>) -> Result<Self, BundleError> {
        let parts = Parts::open(files).map_err(|(path, source)| BundleError::Read { path, source })?;
        let places = tarball::list(&parts).map_err(|found| match found {
            Ok(finding) => refused(path, finding),
            Err(source) => BundleError::Read { path: path.to_owned(), source },
        })?;
        let sizes = places.iter().map(|(name, place)| (name.clone(), place.size)).collect();
        Ok(Self { path: path.to_owned(), source: Source::Archive { parts, places }, sizes })
    }

    fn open_folder(path: &Path) -> Result<Self, BundleError> {
        let mut sizes = BTreeMap::new();
        for entry in walkdir::WalkDir::new(path).min_depth(1).max_depth(4).sort_by_file_name() {
            let entry = entry.map_err(|error| {
                let at = error.path().unwrap_or(path).to_owned();
                BundleError::Read { path: at, source: error.into() }
            })?;
            let inside = entry.path().strip_prefix(path).unwrap_or(entry.path());
            let told = inside.display();
            let inside =
                inside.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
            let kind = entry.file_type();
            if kind.is_dir() {
                if !matches!(inside.as_str(), "blobs" | "blobs/sha256") {
                    let what = format!("the folder {told} is refused: an image layout has none called so");
                    return Err(refused(path, BundleFinding::new(what)));
                }
                continue;
            }
            let name = EntryName::of_path(&inside).ok_or_else(|| {
                let what = format!("the file {told} is refused: an image layout has nothing called so");
                refused(path, BundleFinding::new(what))
            })?;
            if !kind.is_file() {
                let what = if kind.is_symlink() { "it is a symbolic link" } else { "it is no regular file" };
                let finding = match &name {
                    EntryName::Blob(digest) => BundleFinding::of_blob(digest, what),
                    _ => BundleFinding::new(format!("{told} is refused: {what}")),
                };
                return Err(refused(path, finding));
            }
            let metadata = entry.metadata().map_err(io::Error::from);
            let length =
                metadata.map_err(|source| BundleError::Read { path: entry.path().to_owned(), source })?.len();
            sizes.insert(name, length);
        }
        Ok(Self { path: path.to_owned(), source: Source::Folder, sizes })
    }

    /// Where it lies; of several parts, the name that they have in common.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every file of the layout, with its size in bytes.
    pub fn entries(&self) -> impl Iterator<Item = (&EntryName, u64)> {
        self.sizes.iter().map(|(name, size)| (name, *size))
    }

    /// Bytes of a file; none when the bundle lacks it.
    pub fn size_of(&self, name: &EntryName) -> Option<u64> {
        self.sizes.get(name).copied()
    }

    /// Bytes of all files together, without the tar around them.
    pub fn size(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// A file from its beginning to its end, and not one byte more than it had when the bundle was opened.
    ///
    /// # Errors
    /// `NotFound` when the bundle lacks it; else the operating system's.
    pub fn read(&self, name: &EntryName) -> io::Result<EntryReader> {
        match &self.source {
            Source::Archive { parts, places } => {
                let place = places.get(name).ok_or(io::ErrorKind::NotFound)?;
                Ok(EntryReader(parts.reader(place.offset, place.size)))
            }
            Source::Folder => {
                let size = self.size_of(name).ok_or(io::ErrorKind::NotFound)?;
                let file = Parts::open([self.path.join(name.path())]).map_err(|(_, error)| error)?;
                if file.length() != size {
                    return Err(io::Error::other("the file was changed while it was read"));
                }
                Ok(EntryReader(file.reader(0, size)))
            }
        }
    }
}

impl BlobSource for Bundle {
    fn open_blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.read(&EntryName::Blob(digest.clone()))?))
    }
}

/// Reads one file of a bundle.
#[derive(Debug)]
pub struct EntryReader(PartsReader);

impl Read for EntryReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

fn refused(path: &Path, finding: BundleFinding) -> BundleError {
    BundleError::Refused { path: path.to_owned(), findings: vec![finding] }
}

fn not_a_bundle(path: &Path, why: impl Into<String>) -> BundleError {
    BundleError::NotABundle { path: path.to_owned(), why: why.into() }
}

/// The archives that lie directly in a folder; of parts the first one.
fn archives_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_hidden = name.starts_with('.');
        if !is_hidden && (name.ends_with(".tar") || name.ends_with(".tar.001")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
