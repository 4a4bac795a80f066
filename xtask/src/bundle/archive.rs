//! Writes a bundle: one `.tar`, parts of one, or a folder; whole or not at all.
//!
//! In: our manifest, the images that it names, where their blobs are. Out: files that appear under their names only
//! when every byte of them has been hashed, found right and reached the disk. Entries are sorted and carry no times
//! and owners, so the same images give the same bytes. It reads blobs as a stream and keeps none of them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::TempPath;

use super::layout::{self, AssembleError, EntryName, Piece};
use super::manifest::{BundleManifest, StoredImage};
use super::open::BlobSource;
use super::parts::{self, MOST_PARTS};
use super::proven::ProvenFile;
use super::sync::Syncer;
use super::tarball;
use crate::host::inside::Folder;
use crate::model::Digest;
use crate::model::bundle::BundleOutput;

/// Bytes of a file that are brought to the disk while more are written.
const SYNCED_AT_ONCE: u64 = 64 << 20;

/// The smallest part that makes sense.
pub const SMALLEST_PART: u64 = 1 << 20;

/// What `-o PATH` and `--part-size` mean: a path that ends in `.tar` is a file, any other a folder.
///
/// # Errors
/// Parts of a folder, or parts that are too small.
pub fn output_at(path: &Path, part_size: Option<u64>) -> Result<BundleOutput, String> {
    let is_file = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tar")) && !path.is_dir();
    match (is_file, part_size) {
        (true, None) => Ok(BundleOutput::File(path.to_owned())),
        (true, Some(size)) if size < SMALLEST_PART => {
            Err(format!("parts of {size} bytes are too small: at least {SMALLEST_PART} (1MiB)"))
        }
        (true, Some(size)) => Ok(BundleOutput::Parts { file: path.to_owned(), size }),
        (false, None) => Ok(BundleOutput::Folder(path.to_owned())),
        (false, Some(_)) => Err(format!("{} is a folder: only a .tar has parts", path.display())),
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The files, or the folder.
    pub paths: Vec<PathBuf>,
    /// Bytes of all of them.
    pub size: u64,
    /// How many blobs.
    pub blobs: usize,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The images are not those that the manifest names.
    #[error("the images do not make a bundle")]
    Assemble(#[from] AssembleError),
    /// The operating system does not let us.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// A blob is not where it should be.
    #[error("cannot read blob {digest}")]
    Blob {
        /// Which.
        digest: Digest,
        /// What the store said.
        #[source]
        source: io::Error,
    },
    /// A blob has another content than its digest says.
    #[error("blob {digest} of the store is damaged: {what}")]
    Damaged {
        /// Which.
        digest: Digest,
        /// How.
        what: String,
    },
    /// There is something else already, and it is not ours to remove.
    #[error("{} is in the way: {what}", path.display())]
    InTheWay {
        /// What is there.
        path: PathBuf,
        /// Why it stays.
        what: &'static str,
    },
    /// It takes more parts than their names can count.
    #[error("parts of {size} bytes are too small: it would take more than {MOST_PARTS}")]
    TooManyParts {
        /// Bytes of a part.
        size: u64,
    },
}

/// How many bytes of blobs and small files [`write()`] is going to write: the total for its progress.
///
/// # Errors
/// As [`layout::assemble`].
pub fn total(manifest: &BundleManifest, images: &[StoredImage]) -> Result<u64, AssembleError> {
    Ok(layout::assemble(manifest, images)?.values().map(Piece::size).sum())
}

/// Writes a bundle. `moved` hears how many bytes more have been written. It blocks for as long as that takes; a
/// bundle of the same name is replaced at the end, and stays as it is if anything fails before.
///
/// # Errors
/// [`WriteError`]; nothing is left behind then.
pub fn write(
    manifest: &BundleManifest,
    images: &[StoredImage],
    blobs: &dyn BlobSource,
    output: &BundleOutput,
    moved: &dyn Fn(u64),
) -> Result<Written, WriteError> {
    let pieces = layout::assemble(manifest, images)?;
    let count = pieces.keys().filter(|name| matches!(name, EntryName::Blob(_))).count();
    let source = Pieces { pieces, blobs, moved };
    let (paths, size) = match output {
        BundleOutput::File(path) => (vec![path.clone()], write_file(source, path)?),
        BundleOutput::Parts { file, size } => write_parts(&source, file, *size)?,
        BundleOutput::Folder(path) => (vec![path.clone()], write_folder(&source, path)?),
    };
    Ok(Written { paths, size, blobs: count })
}

struct Pieces<'a> {
    pieces: BTreeMap<EntryName, Piece>,
    blobs: &'a dyn BlobSource,
    moved: &'a dyn Fn(u64),
}

impl Pieces<'_> {
    /// One file of the layout, hashed on its way.
    fn copy(&self, piece: &Piece, to: &mut impl Write, path: &Path) -> Result<(), WriteError> {
        let write_error = |source| WriteError::Write { path: path.to_owned(), source };
        let wanted = match piece {
            Piece::Bytes(bytes) => {
                to.write_all(bytes).map_err(write_error)?;
                (self.moved)(bytes.len() as u64);
                return Ok(());
            }
            Piece::Blob(descriptor) => descriptor,
        };
        let digest = &wanted.digest;
        if let Some(file) = self.blobs.proven_file(digest).filter(|file| file.size() == wanted.size) {
            return self.copy_proven(digest, file, to, path);
        }
        let read_error = |source| WriteError::Blob { digest: digest.clone(), source };
        let damaged = |what: String| WriteError::Damaged { digest: digest.clone(), what };
        let mut from = self.blobs.open_blob(digest).map_err(read_error)?;
        let mut buffer = vec![0; 1 << 20];
        let (mut hash, mut size) = (Sha256::new(), 0);
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read_error(error)),
            };
            size += read as u64;
            if size > wanted.size {
                break;
            }
            hash.update(&buffer[..read]);
            to.write_all(&buffer[..read]).map_err(write_error)?;
            (self.moved)(read as u64);
        }
        if size != wanted.size {
            let how = if size > wanted.size { "more" } else { "less" };
            return Err(damaged(format!("it has {how} than {} bytes", wanted.size)));
        }
        if Digest::from_sha256(&hash.finalize().into()) != *digest {
            return Err(damaged("its content is another one".to_owned()));
        }
        Ok(())
    }

    /// A blob that this run has hashed on its way into the file.
    fn copy_proven(
        &self,
        digest: &Digest,
        mut file: ProvenFile,
        to: &mut impl Write,
        path: &Path,
    ) -> Result<(), WriteError> {
        let write_error = |source| WriteError::Write { path: path.to_owned(), source };
        let mut size = 0;
        loop {
            match file.copy_some(to).map_err(write_error)? {
                0 => break,
                some => {
                    size += some;
                    (self.moved)(some);
                }
            }
        }
        if size != file.size() || !file.is_untouched() {
            let what = "it was changed while it was copied".to_owned();
            return Err(WriteError::Damaged { digest: digest.clone(), what });
        }
        Ok(())
    }

    /// All of it as a tar.
    fn write_tar(&self, to: &mut impl Write, path: &Path) -> Result<(), WriteError> {
        let write_error = |source| WriteError::Write { path: path.to_owned(), source };
        for (name, piece) in &self.pieces {
            let header = tarball::header(&name.path(), piece.size()).map_err(write_error)?;
            to.write_all(&header).map_err(write_error)?;
            self.copy(piece, to, path)?;
            let zeros = usize::try_from(tarball::padding(piece.size())).unwrap_or_default();
            to.write_all(&tarball::END[..zeros]).map_err(write_error)?;
        }
        to.write_all(&tarball::END).map_err(write_error)
    }
}

fn write_file(source: Pieces<'_>, path: &Path) -> Result<u64, WriteError> {
    let write_error = |source| WriteError::Write { path: path.to_owned(), source };
    if path.is_dir() {
        return Err(WriteError::InTheWay { path: path.to_owned(), what: "it is a folder" });
    }
    let (file, temporary) = new_beside(path).map_err(write_error)?;
    let syncer = Syncer::begin().map_err(write_error)?;
    let (told, unsynced) = (source.moved, Cell::new(0));
    let moved = |bytes| {
        told(bytes);
        unsynced.set(unsynced.get() + bytes);
        if unsynced.get() >= SYNCED_AT_ONCE {
            unsynced.set(0);
            // What cannot be synced early is synced in the end.
            let _ = syncer.sync(&file);
        }
    };
    let mut to = BufWriter::with_capacity(64 << 10, &file);
    Pieces { moved: &moved, ..source }.write_tar(&mut to, path)?;
    to.into_inner().map_err(|error| write_error(error.into_error()))?;
    syncer.sync(&file).and_then(|()| syncer.finish()).map_err(write_error)?;
    let size = file.metadata().map_err(write_error)?.len();
    temporary.persist(path).map_err(|error| write_error(error.error))?;
    sync_folder_of(path);
    Ok(size)
}

fn write_parts(source: &Pieces<'_>, whole: &Path, size: u64) -> Result<(Vec<PathBuf>, u64), WriteError> {
    let write_error = |path: &Path, source| WriteError::Write { path: path.to_owned(), source };
    let syncer = Syncer::begin().map_err(|error| write_error(whole, error))?;
    let mut to = PartsWriter { whole, size, written: 0, parts: Vec::new(), syncer: &syncer };
    match source.write_tar(&mut to, whole) {
        Err(WriteError::Write { source, .. }) if source.kind() == io::ErrorKind::QuotaExceeded => {
            return Err(WriteError::TooManyParts { size });
        }
        other => other?,
    }
    let (new_parts, written) = (to.parts, to.written);
    let count = new_parts.len();
    let synced = new_parts.last().map_or(Ok(()), |last| syncer.sync(&last.file));
    synced.and_then(|()| syncer.finish()).map_err(|error| write_error(whole, error))?;
    let mut sums = String::new();
    for (number, part) in (1..).zip(&new_parts) {
        let digest = Digest::from_sha256(&part.hash.clone().finalize().into());
        let name = parts::part_path(whole, number);
        let name = name.file_name().unwrap_or_default().to_string_lossy();
        sums.push_str(&format!("{}  {name}\n", digest.hex()));
    }
    // The first part comes last and an old one goes first: while it is there, it is of one piece with the others.
    let remove = |path: &Path| match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(write_error(path, error)),
        _ => Ok(()),
    };
    remove(&parts::part_path(whole, 1))?;
    for number in count + 1..=MOST_PARTS {
        remove(&parts::part_path(whole, number))?;
    }
    let mut paths = Vec::new();
    for (at, part) in new_parts.into_iter().enumerate().rev() {
        let number = at + 1;
        let path = parts::part_path(whole, number);
        if number == 1 {
            let sidecar = sums_path(whole);
            let folder = Folder::open(&folder_of(whole));
            let name = sidecar.file_name().unwrap_or_default();
            folder
                .and_then(|folder| folder.write(name, sums.as_bytes(), None))
                .map_err(|error| write_error(&sidecar, error))?;
            paths.push(sidecar);
        }
        part.temporary.persist(&path).map_err(|error| write_error(&path, error.error))?;
        paths.push(path);
    }
    sync_folder_of(whole);
    paths.reverse();
    Ok((paths, written))
}

/// `FILE.tar.sha256`
fn sums_path(whole: &Path) -> PathBuf {
    let mut name = whole.as_os_str().to_owned();
    name.push(".sha256");
    PathBuf::from(name)
}

/// Writes on into a new file whenever one is full, and hashes each.
struct PartsWriter<'a> {
    whole: &'a Path,
    size: u64,
    written: u64,
    parts: Vec<NewPart>,
    syncer: &'a Syncer,
}

struct NewPart {
    file: File,
    temporary: TempPath,
    hash: Sha256,
    left: u64,
}

impl Write for PartsWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.parts.last().is_none_or(|part| part.left == 0) {
            if self.parts.len() == MOST_PARTS {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            self.parts.last().map_or(Ok(()), |full| self.syncer.sync(&full.file))?;
            let (file, temporary) = new_beside(&parts::part_path(self.whole, self.parts.len() + 1))?;
            self.parts.push(NewPart { file, temporary, hash: Sha256::new(), left: self.size });
        }
        let Some(part) = self.parts.last_mut() else { return Ok(0) };
        let length = bytes.len().min(usize::try_from(part.left).unwrap_or(usize::MAX));
        let written = part.file.write(&bytes[..length])?;
        part.hash.update(&bytes[..written]);
        part.left -= written as u64;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_folder(source: &Pieces<'_>, path: &Path) -> Result<u64, WriteError> {
    let write_error = |source| WriteError::Write { path: path.to_owned(), source };
    if path.exists() && !is_replaceable(path) {
        let what = "it is neither an empty folder nor a bundle";
        return Err(WriteError::InTheWay { path: path.to_owned(), what });
    }
    let parent = folder_of(path);
    std::fs::create_dir_all(&parent).map_err(write_error)?;
    remove_left_over(path);
    let new = new_folder_beside(path).map_err(write_error)?;
    std::fs::create_dir_all(new.path().join("blobs/sha256")).map_err(write_error)?;
    let syncer = Syncer::begin().map_err(write_error)?;
    let mut size = 0;
    for (name, piece) in &source.pieces {
        let inside = new.path().join(name.path());
        let mut file = File::create(&inside).map_err(write_error)?;
        source.copy(piece, &mut file, path)?;
        syncer.sync(&file).map_err(write_error)?;
        size += piece.size();
    }
    syncer.finish().map_err(write_error)?;
    open_to_others(new.path()).map_err(write_error)?;
    // A folder cannot be replaced in one go. In between there is none, which nobody takes for a bundle.
    let old = new_folder_beside(path).map_err(write_error)?;
    let old_bundle = old.path().join("bundle");
    let had_one = path.exists();
    if had_one {
        std::fs::rename(path, &old_bundle).map_err(write_error)?;
    }
    if let Err(error) = std::fs::rename(new.path(), path) {
        if had_one {
            let _ = std::fs::rename(&old_bundle, path);
        }
        return Err(write_error(error));
    }
    sync_folder_of(path);
    Ok(size)
}

/// An empty folder, or one that holds a bundle and nothing else.
fn is_replaceable(path: &Path) -> bool {
    let Ok(mut entries) = std::fs::read_dir(path) else { return false };
    entries.next().is_none() || super::open::Bundle::open(path).is_ok_and(|bundle| bundle.path() == path)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What the names of unfinished files end with.
const UNFINISHED: &str = ".unfinished";

fn hidden_prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// A new folder beside what it becomes, under a name that nobody takes for a bundle; gone when dropped.
fn new_folder_beside(path: &Path) -> io::Result<tempfile::TempDir> {
    let prefix = hidden_prefix(path);
    tempfile::Builder::new().prefix(&prefix).suffix(UNFINISHED).tempdir_in(folder_of(path))
}

/// The same for a file.
fn new_beside(path: &Path) -> io::Result<(File, TempPath)> {
    let folder = folder_of(path);
    std::fs::create_dir_all(&folder)?;
    remove_left_over(path);
    let prefix = hidden_prefix(path);
    let named = tempfile::Builder::new().prefix(&prefix).suffix(UNFINISHED).tempfile_in(&folder)?;
    let (file, temporary) = named.into_parts();
    // Whoever holds the lock is still writing; see `remove_left_over`. Some file systems have no locks.
    let _ = file.try_lock();
    open_to_others(&temporary)?;
    Ok((file, temporary))
}

/// What a run that was killed has left of the same bundle. What another run is writing is locked.
fn remove_left_over(path: &Path) {
    let prefix = hidden_prefix(path);
    let Ok(entries) = std::fs::read_dir(folder_of(path)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with(&prefix) && name.ends_with(UNFINISHED)) {
            continue;
        }
        let old = entry.path();
        if old.is_dir() {
            // Folders have no lock; one run at a time in a tree is the rule.
            let _ = std::fs::remove_dir_all(&old);
        } else if File::open(&old).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = std::fs::remove_file(&old);
        }
    }
}

/// Temporary files are for their owner alone; a bundle is read by whoever carries it.
fn open_to_others(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// A rename is on disk when its folder is. Some file systems cannot; then it is there a little later.
fn sync_folder_of(path: &Path) {
    let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
}
