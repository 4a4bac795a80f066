//! EFFECT: images into an engine: an archive for each of them, made while it is sent, of the layers that the engine
//! lacks.
//!
//! In: images whose blobs are at hand (a bundle that was proven, a store), and what the engine has. Out: the engine
//! has them under all their names. A layer is unpacked on its way, and what it unpacks to is hashed in the same pass;
//! when that is not what it should be, the stream ends in an error and the engine drops what it has taken. Images go
//! one by one, so when this is killed the next time goes on behind the last image that was whole; when it fails, what
//! came goes again. An engine that keeps manifests gets image and blobs as they are (`handover.rs`). Nothing of
//! size is held, in memory or on our disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::fetch::tell;
use super::handover;
use super::manifest::{StoredImage, StoredLayer};
use super::open::BlobSource;
use super::packed::unpacked;
use super::piped;
use super::tarball;
use crate::engine::{AnyEngine, ByteStream, Engine as _, EngineError, ImageStore, OnProgress, Progress};
use crate::model::{Digest, Identity, Reference};

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
    /// What is in its images, with the names that they have.
    pub images: BTreeMap<Identity, BTreeSet<Reference>>,
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
    /// Names with a digest, which an engine that keeps no manifests gives only to what it pulls.
    pub unnamed: Vec<Reference>,
    /// Bytes of layers that were sent, unpacked.
    pub sent: u64,
}

/// Why an image did not come. Those before it are gone again.
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
        /// What should be.
        wanted: Identity,
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
    let mut delivery =
        Delivery { engine, blobs, present, sizes: sizes.clone(), at: at.clone(), given: Vec::new() };
    let mut done = Delivered::default();
    let result = tokio::select! {
        never = tell(&at, "taken by the engine", progress) => match never {},
        result = delivery.all(parcels, &mut done) => result,
    };
    if let Err(error) = result {
        delivery.undo(progress).await;
        return Err(error);
    }
    if let Err(error) = delivery.keep().await {
        progress(Progress::Warning(format!("a name {WAITING}:… is left: {error}")));
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
    /// Names that this run gave, or is about to.
    given: Vec<Given>,
}

/// A name that a run gives.
struct Given {
    name: Reference,
    /// What the image is called meanwhile that had the name before.
    before: Option<Reference>,
}

/// Begins the names under which images wait that lost theirs to a bundle.
const WAITING: &str = "xtask-load-before";

impl<B: BlobSource + Clone + Send + 'static> Delivery<'_, B> {
    async fn all(&mut self, parcels: &[Parcel], done: &mut Delivered) -> Result<(), DeliverError> {
        let Some(first) = parcels.first() else { return Ok(()) };
        // What few layers stand on comes first, and is then there for what has more.
        let mut parcels: Vec<&Parcel> = parcels.iter().collect();
        parcels.sort_by_key(|parcel| parcel.image.layers.len());
        let engine_failed =
            |source| DeliverError::Engine { reference: first.image.reference.clone(), source };
        let store = self.engine.survey().await.map_err(engine_failed)?.store;
        if store == ImageStore::Containerd {
            let is_new = |parcel: &&Parcel| !self.present.images.contains_key(&parcel.image.identity);
            let (new, here): (Vec<&Parcel>, Vec<&Parcel>) = parcels.into_iter().partition(is_new);
            self.hand_over(&new, done).await?;
            parcels = here;
        }
        for parcel in parcels {
            self.one(parcel, done).await?;
        }
        Ok(())
    }

    /// Images that are not here, as they are, in one archive: what they share is sent once.
    async fn hand_over(&mut self, new: &[&Parcel], done: &mut Delivered) -> Result<(), DeliverError> {
        let Some(first) = new.first() else { return Ok(()) };
        let reference = first.image.reference.clone();
        for parcel in new {
            let bears = |name: &&Reference| handover::is_of(name, parcel.image.named());
            let names: Vec<Reference> = parcel.names.iter().filter(bears).cloned().collect();
            self.give(&names)
                .await
                .map_err(|source| DeliverError::Engine { reference: reference.clone(), source })?;
        }
        let (blobs, at) = (self.blobs.clone(), self.at.clone());
        let (writer, receiver) = piped::writer();
        let images: Vec<Parcel> = new.iter().map(|parcel| (*parcel).clone()).collect();
        let writing = tokio::task::spawn_blocking(move || handover::write(&images, &blobs, &at, writer));
        self.load_archive(&reference, receiver, writing).await?;
        for parcel in new {
            self.came(parcel).await?;
            done.loaded.push(parcel.names.first().unwrap_or(&parcel.image.reference).clone());
            let bears = |name: &Reference| handover::is_of(name, parcel.image.named());
            let (given, unnamed): (Vec<Reference>, Vec<Reference>) =
                parcel.names.iter().cloned().partition(bears);
            self.remember(parcel, given.into_iter());
            done.unnamed.extend(unnamed);
        }
        Ok(())
    }

    /// Notes names that are about to be given. An image that loses one to it waits under another, so that it can have
    /// it back.
    async fn give(&mut self, names: &[Reference]) -> Result<(), EngineError> {
        for name in names {
            let is_taken = self.present.images.values().any(|known| known.contains(name));
            let mut before = None;
            if is_taken && name.digest().is_none() {
                let waiting = format!("{WAITING}:{}-{}", std::process::id(), self.given.len());
                let waiting = waiting.parse().map_err(|error| EngineError::Other(format!("{error}")))?;
                self.engine.tag(name, &waiting).await?;
                before = Some(waiting);
            }
            self.given.push(Given { name: name.clone(), before });
        }
        Ok(())
    }

    /// Lets go of the images that lost a name: all went well.
    async fn keep(&mut self) -> Result<(), EngineError> {
        for Given { before, .. } in std::mem::take(&mut self.given) {
            if let Some(before) = before {
                self.engine.remove(&before).await?;
            }
        }
        Ok(())
    }

    /// Takes back what came, and gives names back that others had.
    async fn undo(&mut self, progress: OnProgress<'_>) {
        for Given { name, before } in std::mem::take(&mut self.given) {
            let undone = async {
                // An image goes with its last name.
                self.engine.remove(&name).await?;
                if let Some(before) = &before {
                    self.engine.tag(before, &name).await?;
                    self.engine.remove(before).await?;
                }
                Ok::<_, EngineError>(())
            };
            if let Err(error) = undone.await {
                progress(Progress::Warning(format!("{} stays as it is now: {error}", name.familiar())));
            }
        }
    }

    /// Holds what the engine made of an image to what is in it.
    async fn came(&self, parcel: &Parcel) -> Result<(), DeliverError> {
        let Some(name) = parcel.names.iter().find(|name| name.digest().is_none()) else { return Ok(()) };
        let reference = parcel.names.first().unwrap_or(&parcel.image.reference);
        let engine_failed = |source| DeliverError::Engine { reference: reference.clone(), source };
        let found = self.engine.details(name).await.map_err(engine_failed)?.map(|details| details.identity);
        if found.as_ref() == Some(&parcel.image.identity) {
            return Ok(());
        }
        let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
        Err(DeliverError::Other {
            reference: reference.clone(),
            found,
            wanted: parcel.image.identity.clone(),
        })
    }

    /// A name is one image's only.
    fn remember(&mut self, parcel: &Parcel, names: impl Iterator<Item = Reference>) {
        let names: BTreeSet<Reference> = names.collect();
        for (identity, known) in &mut self.present.images {
            if *identity != parcel.image.identity {
                known.retain(|name| !names.contains(name));
            }
        }
        self.present.images.entry(parcel.image.identity.clone()).or_default().extend(names);
        self.present.layers.extend(parcel.image.chain_ids());
    }

    async fn one(&mut self, parcel: &Parcel, done: &mut Delivered) -> Result<(), DeliverError> {
        let reference = parcel.names.first().unwrap_or(&parcel.image.reference);
        let engine_failed = |source| DeliverError::Engine { reference: reference.clone(), source };
        let (tags, pinned): (Vec<Reference>, Vec<Reference>) =
            parcel.names.iter().cloned().partition(|name| name.digest().is_none());
        let here = self.present.images.get(&parcel.image.identity).cloned();
        let has = here.clone().unwrap_or_default();
        let is_lost = |name: &Reference| {
            !has.contains(name) && name.stand_in().is_none_or(|stand_in| !tags.contains(&stand_in))
        };
        done.unnamed.extend(pinned.into_iter().filter(is_lost));
        let lacking: Vec<Reference> = tags.iter().filter(|name| !has.contains(*name)).cloned().collect();
        match (here, has.first()) {
            (Some(_), _) if lacking.is_empty() => {
                done.present += 1;
                return Ok(());
            }
            (Some(_), Some(name)) => {
                self.give(&lacking).await.map_err(engine_failed)?;
                for further in &lacking {
                    self.engine.tag(name, further).await.map_err(engine_failed)?;
                }
                done.named.extend(lacking);
            }
            _ => {
                self.give(&tags).await.map_err(engine_failed)?;
                self.load(reference, &parcel.image, &tags).await?;
                self.came(parcel).await?;
                done.loaded.push(reference.clone());
            }
        }
        self.remember(parcel, tags.into_iter());
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
            // A layer may have gone meanwhile.
            Err(DeliverError::Engine {
                source: EngineError::Other(_) | EngineError::NotFound(_), ..
            }) if leaves_out => {
                let all = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
                self.send(reference, image, tags, &all).await
            }
            sent => sent,
        }
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
        self.load_archive(reference, receiver, writing).await
    }

    /// Hands an archive over while it is written.
    async fn load_archive(
        &self,
        reference: &Reference,
        receiver: piped::Receiver,
        writing: JoinHandle<Result<(), Wrong>>,
    ) -> Result<(), DeliverError> {
        let blob_failed = |source| DeliverError::Blob { reference: reference.clone(), source };
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
pub(super) enum Wrong {
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
    let mut tar = unpacked(&layer.blob, blobs.open_blob(&layer.blob.digest)?)?;
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

pub(super) fn wrong(blob: &Digest, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("blob {blob} {what}"))
}

pub(super) fn entry(to: &mut impl Write, path: &str, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&tarball::header(path, bytes.len() as u64)?)?;
    to.write_all(bytes)?;
    pad(to, bytes.len() as u64)
}

pub(super) fn pad(to: &mut impl Write, size: u64) -> io::Result<()> {
    let zeros = usize::try_from(tarball::padding(size)).unwrap_or_default();
    to.write_all(&[0; 512][..zeros])
}
