//! EFFECT: where blobs of images are kept between runs, by digest: layers in zstd, configs as they are.
//!
//! In: uncompressed layers and configs, as an engine gives them. Out: the same blobs for the same layers on every
//! machine: level, tables, job size and overlap are fixed, and zstd's workers decide nothing but the time. It never asks an
//! engine, and never believes a name: a layer is called what its bytes hash to.
//!
//! Everything appears by a rename, blob first and then the note that leads to it, so a run that is killed leaves
//! nothing that looks whole, and runs may share the folder. Nothing is synced to disk: it is a cache, and a blob
//! whose size is not as noted does not count. What was not used for longest goes first when it grows beyond its
//! budget ([`BlobStore::prune`]).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zstd::zstd_safe::CParameter;

use super::layout::{CONFIG, LAYER};
use super::manifest::{Descriptor, StoredLayer};
use super::open::BlobSource;
use super::proven::ProvenFile;
use super::stream_thread::{Pieces, StreamThread};
use crate::host::Stamp;
use crate::host::inside::{Folder, NewFile};
use crate::model::{Digest, sha256};

/// Bytes that the store may keep when nobody says otherwise.
pub(super) const BUDGET: u64 = 20 << 30;
/// What was used this recently may be in use by another run.
const IN_USE: Duration = Duration::from_secs(3600);
/// The longest image config that is believed.
pub const MAX_CONFIG: u64 = 16 << 20;

/// zstd's own default.
const LEVEL: i32 = 3;
/// That level's tables, at half their size: with these they stay in a core's cache. Blobs of programs and libraries are 2 %
/// larger, and take a quarter less processor time.
const HASH_LOG: u32 = 16;
const CHAIN_LOG: u32 = 15;
/// Bytes that a worker compresses at once. Part of the format: another size gives other bytes.
const JOB: u32 = 2 << 20;
/// How much of the window a job sees of the one before it, as zstd chooses for this level: an eighth.
const OVERLAP: u32 = 6;
/// Each worker holds two jobs in memory, and no engine gives more than eight can compress.
const MOST_WORKERS: u32 = 8;

/// A folder of blobs. A clone is the same folder.
#[derive(Clone, Debug)]
pub struct BlobStore {
    folder: Folder,
    workers: u32,
    /// Blobs that this process hashed as it wrote them.
    proven: Arc<Mutex<HashMap<Digest, Stamp>>>,
}

/// What is noted of a layer, under its diff ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    blob: Digest,
    size: u64,
    /// Uncompressed.
    raw: u64,
}

/// A layer of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLayer {
    /// Diff ID and blob.
    pub layer: StoredLayer,
    /// Bytes of the tar.
    pub raw: u64,
}

impl BlobStore {
    /// The store in this folder of `tree`, which is made when it is not there.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(tree: &Folder, folder: &str) -> io::Result<Self> {
        let folder = tree.below(folder)?;
        for part in ["sha256", "layers", "new"] {
            folder.below(part)?;
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = u32::try_from(cores).unwrap_or(MOST_WORKERS).clamp(1, MOST_WORKERS);
        Ok(Self { folder, workers, proven: Arc::default() })
    }

    /// The same folder, with so many threads that compress.
    #[cfg(test)]
    pub(super) fn with_workers(&self, workers: u32) -> Self {
        Self { workers, ..self.clone() }
    }

    /// The layer with this diff ID, if it is here; asking counts as use.
    pub fn layer(&self, diff_id: &Digest) -> Option<KnownLayer> {
        let path = self.note(diff_id);
        let note: Note = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        if fs::metadata(self.blob(&note.blob)).ok()?.len() != note.size {
            return None;
        }
        self.touch(&path);
        let blob = Descriptor { media_type: LAYER.to_owned(), digest: note.blob, size: note.size };
        Some(KnownLayer { layer: StoredLayer { diff_id: diff_id.clone(), blob }, raw: note.raw })
    }

    /// The config of the image with this ID, if it is here, with its text.
    pub fn config(&self, id: &Digest) -> Option<(Descriptor, Vec<u8>)> {
        let bytes = self.small(id)?;
        let size = bytes.len() as u64;
        Some((Descriptor { media_type: CONFIG.to_owned(), digest: id.clone(), size }, bytes))
    }

    /// A manifest, an index or a config, whole and proven, if it is here; asking counts as use.
    pub(super) fn small(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.blob(digest);
        if fs::metadata(&path).ok()?.len() > MAX_CONFIG {
            return None;
        }
        let bytes = fs::read(&path).ok()?;
        self.touch(&path);
        (sha256(&bytes) == *digest).then_some(bytes)
    }

    /// Whether a blob of this digest and size is here; asking counts as use.
    pub(super) fn holds(&self, blob: &Descriptor) -> bool {
        let path = self.blob(&blob.digest);
        let is_here = fs::metadata(&path).is_ok_and(|found| found.len() == blob.size);
        if is_here {
            self.touch(&path);
        }
        is_here
    }

    /// Whether a blob of this digest is here, whatever its size.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.blob(digest).is_file()
    }

    /// Takes a blob in as it is. Nothing of it is kept before [`BlobWriter::finish`].
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn begin_blob(&self) -> io::Result<BlobWriter> {
        let file = self.new_file()?;
        Ok(BlobWriter { store: self.clone(), blob: StreamThread::begin(|pieces| written(file, pieces))? })
    }

    /// A blob, from this byte on.
    ///
    /// # Errors
    /// The file system's.
    pub fn open_at(&self, digest: &Digest, offset: u64) -> io::Result<impl Read + Send + use<>> {
        let mut file = File::open(self.blob(digest))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    }

    /// Keeps a config under the digest of its bytes.
    ///
    /// # Errors
    /// The file system's.
    pub fn put_config(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = sha256(bytes);
        let mut file = self.new_file()?;
        file.write_all(bytes)?;
        file.keep(&self.folder, self.blob(&digest))?;
        Ok(digest)
    }

    /// Takes a layer in. Nothing of it is kept before [`LayerWriter::finish`].
    ///
    /// # Errors
    /// The file system's.
    pub fn begin_layer(&self) -> io::Result<LayerWriter> {
        let file = self.new_file()?;
        let blob = StreamThread::begin(|pieces| written(file, pieces))?;
        let mut encoder = zstd::stream::write::Encoder::new(blob, LEVEL)?;
        for parameter in [
            CParameter::NbWorkers(self.workers),
            CParameter::HashLog(HASH_LOG),
            CParameter::ChainLog(CHAIN_LOG),
            CParameter::JobSize(JOB),
            CParameter::OverlapSizeLog(OVERLAP),
            CParameter::ChecksumFlag(false),
        ] {
            encoder.set_parameter(parameter)?;
        }
        Ok(LayerWriter { store: self.clone(), encoder, hash: StreamThread::begin(hashed)?, raw: 0 })
    }

    /// Whether the tar of a layer begins with these bytes.
    ///
    /// # Errors
    /// The blob cannot be read or is not in zstd.
    pub(super) fn begins_with(&self, layer: &StoredLayer, start: &[u8]) -> io::Result<bool> {
        let mut tar = zstd::stream::read::Decoder::new(File::open(self.blob(&layer.blob.digest))?)?;
        let mut piece = vec![0; 64 << 10];
        for expected in start.chunks(piece.len()) {
            let found = &mut piece[..expected.len()];
            match tar.read_exact(found) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                read => read?,
            }
            if found != expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes what was not used for longest until the rest is within `budget` bytes, and what killed runs left. What
    /// was used within the last hour stays, since another run may be about to read it. Returns the bytes that went.
    ///
    /// # Errors
    /// The file system's; what could be removed is.
    pub fn prune(&self, budget: u64) -> io::Result<u64> {
        let mut freed = 0;
        for file in files(&self.folder.path().join("new"))? {
            if file.age > IN_USE {
                freed += file.size;
                self.folder.remove(&file.path)?;
            }
        }
        let mut blobs: HashMap<PathBuf, Kept> = files(&self.folder.path().join("sha256"))?
            .into_iter()
            .map(|blob| (blob.path.clone(), blob))
            .collect();
        for note in files(&self.folder.path().join("layers"))? {
            let of = fs::read(&note.path).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
            match of.and_then(|of| blobs.get_mut(&self.blob(&of.blob))) {
                // The note's time is that of the last use.
                Some(blob) => blob.age = blob.age.min(note.age),
                // A younger one may be of a blob that came after the blobs were listed.
                None if note.age > IN_USE => self.folder.remove(&note.path)?,
                None => {}
            }
        }
        let mut blobs: Vec<Kept> = blobs.into_values().collect();
        let mut total: u64 = blobs.iter().map(|blob| blob.size).sum();
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.age));
        for blob in blobs.iter().take_while(|blob| blob.age > IN_USE) {
            if total <= budget {
                break;
            }
            self.folder.remove(&blob.path)?;
            total -= blob.size;
            freed += blob.size;
        }
        Ok(freed)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.path().join("sha256").join(digest.hex())
    }

    fn note(&self, diff_id: &Digest) -> PathBuf {
        self.folder.path().join("layers").join(diff_id.hex())
    }

    fn new_file(&self) -> io::Result<NewFile> {
        self.folder.new_file("new")
    }

    /// It was used just now. Should this fail, it only seems less used than it is.
    fn touch(&self, path: &Path) {
        let _ = self.folder.touch(path);
    }

    fn keep_proven(&self, blob: Blob) -> io::Result<()> {
        let file = blob.file.keep(&self.folder, self.blob(&blob.digest))?;
        // After the rename, which changes it.
        let stamp = Stamp::of(&file.metadata()?);
        if stamp.size == blob.size {
            self.proven.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest, stamp);
        }
        Ok(())
    }
}

impl BlobSource for BlobStore {
    fn open_blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(BufReader::with_capacity(256 << 10, File::open(self.blob(digest))?)))
    }

    fn proven_file(&self, digest: &Digest) -> Option<ProvenFile> {
        let stamp = *self.proven.lock().unwrap_or_else(PoisonError::into_inner).get(digest)?;
        ProvenFile::open(&self.blob(digest), stamp)
    }
}

/// A layer on its way into the store: what is written is hashed and compressed in the same pass, on all cores.
pub struct LayerWriter {
    store: BlobStore,
    encoder: zstd::stream::write::Encoder<'static, StreamThread<io::Result<Blob>>>,
    hash: StreamThread<Digest>,
    raw: u64,
}

impl std::fmt::Debug for LayerWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerWriter").field("raw", &self.raw).finish_non_exhaustive()
    }
}

impl LayerWriter {
    /// Takes some bytes in, without a copy of them for each who works on them.
    ///
    /// # Errors
    /// The compressor's.
    pub fn push(&mut self, piece: Bytes) -> io::Result<()> {
        self.encoder.write_all(&piece)?;
        self.raw += piece.len() as u64;
        self.hash.push(piece);
        Ok(())
    }

    /// Keeps the layer if `wanted` takes its diff ID; else it is gone.
    ///
    /// # Errors
    /// The file system's.
    pub fn finish(self, wanted: impl FnOnce(&Digest) -> bool) -> io::Result<Option<KnownLayer>> {
        let diff_id = self.hash.finish()?;
        if !wanted(&diff_id) {
            return Ok(None);
        }
        let blob = self.encoder.finish()?.finish()??;
        let note = Note { blob: blob.digest.clone(), size: blob.size, raw: self.raw };
        self.store.keep_proven(blob)?;
        let mut file = self.store.new_file()?;
        serde_json::to_writer(&mut file, &note)?;
        file.keep(&self.store.folder, self.store.note(&diff_id))?;
        let blob = Descriptor { media_type: LAYER.to_owned(), digest: note.blob, size: note.size };
        Ok(Some(KnownLayer { layer: StoredLayer { diff_id, blob }, raw: self.raw }))
    }
}

impl Write for LayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(Bytes::copy_from_slice(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // A flush of the compressor would cut its job short, and so change the bytes.
        Ok(())
    }
}

/// A blob on its way into the store as it is: what is written is hashed meanwhile.
pub(super) struct BlobWriter {
    store: BlobStore,
    blob: StreamThread<io::Result<Blob>>,
}

impl BlobWriter {
    /// Takes some bytes in.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.blob.push(piece);
    }

    /// Keeps it if it is the blob of this digest, and says whether it is.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn finish(self, wanted: &Digest) -> io::Result<bool> {
        let blob = self.blob.finish()??;
        let is_it = blob.digest == *wanted;
        if is_it {
            self.store.keep_proven(blob)?;
        }
        Ok(is_it)
    }
}

/// A file, with its digest.
struct Blob {
    file: NewFile,
    digest: Digest,
    size: u64,
}

fn written(mut file: NewFile, pieces: Pieces) -> io::Result<Blob> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    for piece in pieces.each() {
        file.write_all(&piece)?;
        hash.update(&piece);
        size += piece.len() as u64;
    }
    Ok(Blob { file, digest: Digest::from_sha256(&hash.finalize().into()), size })
}

fn hashed(pieces: Pieces) -> Digest {
    let mut hash = Sha256::new();
    for piece in pieces.each() {
        hash.update(&piece);
    }
    Digest::from_sha256(&hash.finalize().into())
}

struct Kept {
    path: PathBuf,
    size: u64,
    age: Duration,
}

fn files(folder: &Path) -> io::Result<Vec<Kept>> {
    let now = SystemTime::now();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Another run may have removed it meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        let age = metadata.modified().ok().and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
        found.push(Kept { path: entry.path(), size: metadata.len(), age });
    }
    Ok(found)
}
