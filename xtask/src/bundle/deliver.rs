//! EFFECT: images into an engine: an archive for each of them, made while it is sent, of the layers that the engine
//! lacks.
//!
//! In: images whose blobs are at hand (a bundle that was proven, a store), and what the engine has. Out: the engine
//! has them under all their names. A layer is unpacked on its way, and what it unpacks to is hashed in the same pass;
//! when that is not what it should be, the stream ends in an error and the engine drops what it has taken. Images go
//! one by one, so whatever ends this, the next time goes on behind the last image that was whole. Nothing of size is
//! held, in memory or on our disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::contents::WINDOW_LOG;
use super::fetch::tell;
use super::manifest::{StoredImage, StoredLayer};
use super::open::BlobSource;
use super::piped;
use super::tarball;
use crate::engine::{AnyEngine, ByteStream, Engine as _, EngineError, OnProgress};
use crate::model::{Digest, Reference};

/// Bytes that are unpacked at a time.
const BUFFER: usize = 256 << 10;

/// An image that is to be in an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// What it is made of.
    pub image: StoredImage,
    /// All names that it is to have.
    pub names: Vec<Reference>,
}

/// What an engine has already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Image IDs, with the names that they have.
    pub images: BTreeMap<Digest, BTreeSet<Reference>>,
    /// Chain IDs of layers.
    pub layers: BTreeSet<Digest>,
}

/// What has been done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Images that came, by their first name.
    pub loaded: Vec<Reference>,
    /// Names that images which were here have now too.
    pub named: Vec<Reference>,
    /// How many images were here under all their names.
    pub present: usize,
    /// Names with a digest, which an engine gives only to what it pulls.
    pub unnamed: Vec<Reference>,
    /// Bytes of layers that were sent, unpacked.
    pub sent: u64,
}

/// Why an image did not come. Those before it did.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The engine does not take it.
    #[error("the engine does not take {}: {source}", reference.familiar())]
    Engine {
        /// Which.
        reference: Reference,
        /// What it said.
        source: EngineError,
    },
    /// A blob cannot be read, or is not what it should be.
    #[error("{} cannot be loaded: {source}", reference.familiar())]
    Blob {
        /// Which image.
        reference: Reference,
        /// Which blob, and what is wrong with it.
        source: io::Error,
    },
    /// The engine says that all is well, and has another image.
    #[error("the engine made {found} of {}, and it should be {wanted}", reference.familiar())]
    Other {
        /// Which.
        reference: Reference,
        /// What is there under its name.
        found: String,
        /// Its image ID.
        wanted: Digest,
    },
}

/// Which layers of an image an engine with these layers lacks.
pub fn lacking<'a>(image: &'a StoredImage, layers: &BTreeSet<Digest>) -> Vec<&'a StoredLayer> {
    let chains = image.chain_ids();
    image
        .layers
        .iter()
        .zip(chains)
        .filter(|(_, chain)| !layers.contains(chain))
        .map(|(layer, _)| layer)
        .collect()
}

/// Brings images and names into an engine. `sizes` are unpacked sizes by diff ID; a layer without one is unpacked
/// twice, since a tar wants to know beforehand.
///
/// # Errors
/// [`DeliverError`], of the first image that did not come.
pub async fn deliver<B: BlobSource + Clone + Send + 'static>(
    engine: &AnyEngine,
    blobs: &B,
    parcels: &[Parcel],
    present: Present,
    sizes: &BTreeMap<Digest, u64>,
    progress: OnProgress<'_>,
) -> Result<Delivered, DeliverError> {
    let at = Arc::new(AtomicU64::new(0));
    let mut delivery = Delivery { engine, blobs, present, sizes: sizes.clone(), at: at.clone() };
    let mut done = Delivered::default();
    // What few layers stand on comes first, and is then there for what has more.
    let mut parcels: Vec<&Parcel> = parcels.iter().collect();
    parcels.sort_by_key(|parcel| parcel.image.layers.len());
    let all = async {
        for parcel in parcels {
            delivery.one(parcel, &mut done).await?;
        }
        Ok(())
    };
    tokio::select! {
        never = tell(&at, "taken by the engine", progress) => match never {},
        result = all => result?,
    }
    done.sent = at.load(Ordering::Relaxed);
    Ok(done)
}

struct Delivery<'a, B> {
    engine: &'a AnyEngine,
    blobs: &'a B,
    present: Present,
    sizes: BTreeMap<Digest, u64>,
    at: Arc<AtomicU64>,
}

impl<B: BlobSource + Clone + Send + 'static> Delivery<'_, B> {
    async fn one(&mut self, parcel: &Parcel, done: &mut Delivered) -> Result<(), DeliverError> {
        let reference = parcel.names.first().unwrap_or(&parcel.image.reference);
        let engine_failed = |source| DeliverError::Engine { reference: reference.clone(), source };
        let (tags, pinned): (Vec<Reference>, Vec<Reference>) =
            parcel.names.iter().cloned().partition(|name| name.digest().is_none());
        let here = self.present.images.get(&parcel.image.image_id).cloned();
        let has = here.clone().unwrap_or_default();
        done.unnamed.extend(pinned.into_iter().filter(|name| !has.contains(name)));
        let lacking: Vec<Reference> = tags.iter().filter(|name| !has.contains(*name)).cloned().collect();
        match (here, has.first()) {
            (Some(_), _) if lacking.is_empty() => {
                done.present += 1;
                return Ok(());
            }
            (Some(_), Some(name)) => {
                for further in &lacking {
                    self.engine.tag(name, further).await.map_err(engine_failed)?;
                }
                done.named.extend(lacking);
            }
            _ => {
                self.load(reference, &parcel.image, &tags).await?;
                done.loaded.push(reference.clone());
            }
        }
        for (id, names) in &mut self.present.images {
            if *id != parcel.image.image_id {
                // A name is one image's only.
                names.retain(|name| !tags.contains(name));
            }
        }
        self.present.images.entry(parcel.image.image_id.clone()).or_default().extend(tags);
        self.present.layers.extend(parcel.image.chain_ids());
        Ok(())
    }

    async fn load(
        &mut self,
        reference: &Reference,
        image: &StoredImage,
        tags: &[Reference],
    ) -> Result<(), DeliverError> {
        let needed: BTreeSet<Digest> =
            lacking(image, &self.present.layers).into_iter().map(|layer| layer.diff_id.clone()).collect();
        let leaves_out = image.layers.iter().any(|layer| !needed.contains(&layer.diff_id));
        match self.send(reference, image, tags, &needed).await {
            // A layer may have gone meanwhile, and an engine with its images in containerd takes whole archives only.
            Err(DeliverError::Engine {
                source: EngineError::Other(_) | EngineError::NotFound(_), ..
            }) if leaves_out => {
                let all = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
                self.send(reference, image, tags, &all).await?;
            }
            sent => sent?,
        }
        let Some(name) = tags.first() else { return Ok(()) };
        let engine_failed = |source| DeliverError::Engine { reference: reference.clone(), source };
        let found = self.engine.inspect(name).await.map_err(engine_failed)?.map(|image| image.id);
        if found.as_ref() == Some(&image.image_id) {
            return Ok(());
        }
        let found = found.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
        Err(DeliverError::Other { reference: reference.clone(), found, wanted: image.image_id.clone() })
    }

    async fn send(
        &mut self,
        reference: &Reference,
        image: &StoredImage,
        tags: &[Reference],
        needed: &BTreeSet<Digest>,
    ) -> Result<(), DeliverError> {
        let blob_failed = |source| DeliverError::Blob { reference: reference.clone(), source };
        let (blobs, sizes, at) = (self.blobs.clone(), self.sizes.clone(), self.at.clone());
        let (image, tags, needed) = (image.clone(), tags.to_vec(), needed.clone());
        let measured = tokio::task::spawn_blocking(move || {
            let mut archive = Archive { blobs, image, tags, needed, sizes, at };
            archive.measure().map(|()| archive)
        });
        let archive = measured.await.map_err(io::Error::other).flatten().map_err(blob_failed)?;
        self.sizes.clone_from(&archive.sizes);
        let (writer, receiver) = piped::writer();
        let writing = tokio::task::spawn_blocking(move || archive.write(writer));
        let stream: ByteStream = Box::pin(futures_util::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        }));
        let loaded = self.engine.load(stream).await;
        match (loaded, writing.await.map_err(io::Error::other)) {
            (_, Ok(Err(Wrong::Blob(source))) | Err(source)) => Err(blob_failed(source)),
            (Err(source), Ok(_)) => Err(DeliverError::Engine { reference: reference.clone(), source }),
            (Ok(_), Ok(_)) => Ok(()),
        }
    }
}

/// What ended an archive.
enum Wrong {
    /// A blob: nobody else is to blame.
    Blob(io::Error),
    /// The engine took no more; it says why itself.
    Engine,
}

/// A docker-archive of one image (moby, `image/tarexport`), without the layers that are not needed. All of it blocks.
struct Archive<B> {
    blobs: B,
    image: StoredImage,
    tags: Vec<Reference>,
    /// Diff IDs.
    needed: BTreeSet<Digest>,
    sizes: BTreeMap<Digest, u64>,
    at: Arc<AtomicU64>,
}

impl<B: BlobSource> Archive<B> {
    /// Learns the sizes that are not known.
    fn measure(&mut self) -> io::Result<()> {
        for layer in &self.image.layers {
            if self.needed.contains(&layer.diff_id) && !self.sizes.contains_key(&layer.diff_id) {
                let size = unpack(&self.blobs, layer, &mut |_| Ok(()))?;
                self.sizes.insert(layer.diff_id.clone(), size);
            }
        }
        Ok(())
    }

    fn write(&self, mut to: piped::Writer) -> Result<(), Wrong> {
        let mut blob_failed = None;
        let result = self.write_to(&mut to, &mut blob_failed);
        let ended = match (&result, &blob_failed) {
            (_, Some(error)) => Err(io::Error::other(format!("{error}"))),
            (Err(error), None) => Err(io::Error::other(format!("{error}"))),
            (Ok(()), None) => Ok(()),
        };
        to.finish(ended);
        match (blob_failed, result) {
            (Some(error), _) => Err(Wrong::Blob(error)),
            (None, Err(_)) => Err(Wrong::Engine),
            (None, Ok(())) => Ok(()),
        }
    }

    fn write_to(&self, to: &mut impl Write, blob_failed: &mut Option<io::Error>) -> io::Result<()> {
        let path = |layer: &StoredLayer| format!("{}/layer.tar", layer.diff_id.hex());
        let config = format!("{}.json", self.image.image_id.hex());
        let manifest = json!([{
            "Config": config,
            "RepoTags": self.tags.iter().map(Reference::familiar).collect::<Vec<_>>(),
            "Layers": self.image.layers.iter().map(path).collect::<Vec<_>>(),
        }]);
        let mut bytes = Vec::new();
        let read = self
            .blobs
            .open_blob(&self.image.config.digest)
            .and_then(|blob| blob.take(self.image.config.size.saturating_add(1)).read_to_end(&mut bytes))
            .and_then(|_| {
                let right = Digest::from_sha256(&Sha256::digest(&bytes).into()) == self.image.image_id;
                if right { Ok(()) } else { Err(wrong(&self.image.image_id, "is another config")) }
            });
        if let Err(error) = read {
            *blob_failed = Some(error);
            return Ok(());
        }
        entry(to, &config, &bytes)?;
        entry(to, "manifest.json", manifest.to_string().as_bytes())?;
        let mut written = BTreeSet::new();
        for layer in &self.image.layers {
            if !self.needed.contains(&layer.diff_id) || !written.insert(&layer.diff_id) {
                continue;
            }
            let size = self.sizes.get(&layer.diff_id).copied().unwrap_or_default();
            to.write_all(&tarball::header(&path(layer), size)?)?;
            let mut left = size;
            let mut engine_failed = None;
            let unpacked = unpack(&self.blobs, layer, &mut |piece| {
                left = left
                    .checked_sub(piece.len() as u64)
                    .ok_or_else(|| wrong(&layer.blob.digest, "is longer than it was"))?;
                self.at.fetch_add(piece.len() as u64, Ordering::Relaxed);
                to.write_all(piece).map_err(|error| {
                    let kind = error.kind();
                    engine_failed = Some(error);
                    kind.into()
                })
            });
            if let Some(error) = engine_failed {
                return Err(error);
            }
            match unpacked {
                Ok(_) if left == 0 => pad(to, size)?,
                Ok(_) => {
                    *blob_failed = Some(wrong(&layer.blob.digest, "is shorter than it was"));
                    return Ok(());
                }
                Err(error) => {
                    *blob_failed = Some(error);
                    return Ok(());
                }
            }
        }
        to.write_all(&[0; 1024])
    }
}

/// Unpacks a layer, and proves that it is the one; returns its size.
fn unpack(
    blobs: &impl BlobSource,
    layer: &StoredLayer,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut tar = zstd::Decoder::new(blobs.open_blob(&layer.blob.digest)?)?;
    tar.window_log_max(WINDOW_LOG)?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let read = tar.read(&mut buffer).map_err(|error| wrong(&layer.blob.digest, &error.to_string()))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
        take(&buffer[..read])?;
    }
    let found = Digest::from_sha256(&hash.finalize().into());
    if found == layer.diff_id {
        return Ok(size);
    }
    Err(wrong(&layer.blob.digest, &format!("unpacks to {found}, and it should be {}", layer.diff_id)))
}

fn wrong(blob: &Digest, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("blob {blob} {what}"))
}

fn entry(to: &mut impl Write, path: &str, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&tarball::header(path, bytes.len() as u64)?)?;
    to.write_all(bytes)?;
    pad(to, bytes.len() as u64)
}

fn pad(to: &mut impl Write, size: u64) -> io::Result<()> {
    let zeros = usize::try_from(tarball::padding(size)).unwrap_or_default();
    to.write_all(&[0; 512][..zeros])
}
