//! EFFECT: images into an engine: an archive for each of them, made while it is sent, of the layers that the engine
//! lacks.
//!
//! In: images whose blobs are at hand (a bundle that was proven, a store), and what the engine has. Out: the engine
//! has them under all their names. A layer is unpacked on its way, and what it unpacks to is hashed in the same pass
//! (`docker_archive.rs`); when that is not what it should be, the stream ends in an error and the engine drops what it
//! has taken. Images go one by one, so when this is killed the next time goes on behind the last image that was whole;
//! when it fails or is cancelled, what came goes again and names that moved come back (`displaced.rs`). An engine that
//! keeps manifests gets image and blobs as they are (`oci_archive.rs`). Nothing of size is held, in memory or on our disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::displaced::DisplacedName;
use super::docker_archive::Archive;
use super::fetch::tell;
use super::manifest::{NamedImage, StoredImage, StoredLayer};
use super::oci_archive;
use super::open::BlobSource;
use super::pipe::{self, StreamError};
use crate::engine::{AnyEngine, ByteStream, EngineError, ImageStore, OnProgress, Progress, Store as _};
use crate::model::{Digest, Identity, ImageId, Reference, stand_in};

/// What an engine has already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// What is in its images, with the names that they have.
    pub images: BTreeMap<Identity, BTreeSet<Reference>>,
    /// Images without a name.
    pub unnamed: BTreeSet<ImageId>,
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
    /// It was cancelled.
    #[error("interrupted")]
    Interrupted,
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

/// Brings images and names into an engine. When it fails or is cancelled, all of them or none: dropping it instead
/// leaves what came. `sizes` are unpacked sizes by diff ID; a layer without one is unpacked
/// twice, since a tar wants to know beforehand.
///
/// # Errors
/// [`DeliverError`], of the first image that did not come.
pub async fn deliver<B: BlobSource + Clone + Send + 'static>(
    engine: &AnyEngine,
    blobs: &B,
    named_images: &[NamedImage],
    present: Present,
    sizes: &BTreeMap<Digest, u64>,
    cancel: &CancellationToken,
    progress: OnProgress<'_>,
) -> Result<Delivered, DeliverError> {
    let at = Arc::new(AtomicU64::new(0));
    let mut delivery =
        Delivery { engine, blobs, present, sizes: sizes.clone(), at: at.clone(), cancel, given: Vec::new() };
    let mut done = Delivered::default();
    let result = tokio::select! {
        never = tell(&at, "taken by the engine", progress) => match never {},
        result = delivery.all(named_images, &mut done) => result,
    };
    if let Err(error) = result {
        delivery.undo(progress).await;
        return Err(error);
    }
    delivery.keep(progress).await;
    done.sent = at.load(Ordering::Relaxed);
    Ok(done)
}

struct Delivery<'a, B> {
    engine: &'a AnyEngine,
    blobs: &'a B,
    present: Present,
    sizes: BTreeMap<Digest, u64>,
    at: Arc<AtomicU64>,
    cancel: &'a CancellationToken,
    /// Names that this run gave, or is about to, with the image that had each before.
    given: Vec<(Reference, Option<DisplacedName>)>,
}

impl<B: BlobSource + Clone + Send + 'static> Delivery<'_, B> {
    async fn all(&mut self, named_images: &[NamedImage], done: &mut Delivered) -> Result<(), DeliverError> {
        let Some(first) = named_images.first() else { return Ok(()) };
        // What few layers stand on comes first, and is then there for what has more.
        let mut named_images: Vec<&NamedImage> = named_images.iter().collect();
        named_images.sort_by_key(|named| named.image.layers.len());
        let engine_failed =
            |source| DeliverError::Engine { reference: first.image.reference.clone(), source };
        let store = self.engine.survey().await.map_err(engine_failed)?.store;
        if store == ImageStore::Containerd {
            let is_new = |named: &&NamedImage| !self.present.images.contains_key(&named.image.identity);
            let (new, here): (Vec<&NamedImage>, Vec<&NamedImage>) =
                named_images.into_iter().partition(is_new);
            self.hand_over(&new, done).await?;
            named_images = here;
        }
        for named in named_images {
            if self.cancel.is_cancelled() {
                return Err(DeliverError::Interrupted);
            }
            self.one(named, done).await?;
        }
        if self.cancel.is_cancelled() { Err(DeliverError::Interrupted) } else { Ok(()) }
    }

    /// Images that are not here, as they are, in one archive: what they share is sent once.
    async fn hand_over(&mut self, new: &[&NamedImage], done: &mut Delivered) -> Result<(), DeliverError> {
        let Some(first) = new.first() else { return Ok(()) };
        let reference = first.image.reference.clone();
        for named in new {
            let bears = |name: &&Reference| oci_archive::is_of(name, named.image.named());
            let names: Vec<Reference> = named.names.iter().filter(bears).cloned().collect();
            self.give(&named.image.identity, &names)
                .await
                .map_err(|source| DeliverError::Engine { reference: reference.clone(), source })?;
        }
        let (blobs, at) = (self.blobs.clone(), self.at.clone());
        let (writer, receiver) = pipe::writer();
        let images: Vec<NamedImage> = new.iter().map(|named| (*named).clone()).collect();
        let writing = tokio::task::spawn_blocking(move || oci_archive::write(&images, &blobs, &at, writer));
        self.load_archive(&reference, receiver, writing).await?;
        for named in new {
            self.came(named).await?;
            done.loaded.push(named.names.first().unwrap_or(&named.image.reference).clone());
            let bears = |name: &Reference| oci_archive::is_of(name, named.image.named());
            let (given, unnamed): (Vec<Reference>, Vec<Reference>) =
                named.names.iter().cloned().partition(bears);
            self.remember(named, given.into_iter());
            done.unnamed.extend(unnamed);
        }
        Ok(())
    }

    /// Notes names that an image is about to get. One that loses a name to it waits under another, so that it can have
    /// it back.
    async fn give(&mut self, to: &Identity, names: &[Reference]) -> Result<(), EngineError> {
        for name in names {
            let is_taken = self.present.images.values().any(|known| known.contains(name));
            let mut before = None;
            if is_taken && name.digest().is_none() {
                let too_long = || EngineError::Other(format!("no name can stand for {name} meanwhile"));
                let displaced = DisplacedName::new(name, to).ok_or_else(too_long)?;
                self.engine.tag(name, &displaced.under).await?;
                before = Some(displaced);
            }
            self.given.push((name.clone(), before));
        }
        Ok(())
    }

    /// Lets go of the images that lost a name: all went well.
    async fn keep(&mut self, progress: OnProgress<'_>) {
        for displaced in std::mem::take(&mut self.given).into_iter().filter_map(|(_, before)| before) {
            if let Err(error) = displaced.let_go(self.engine).await {
                progress(Progress::Warning(format!(
                    "a name {} is left: {error}",
                    displaced.under.familiar()
                )));
            }
        }
    }

    /// Takes back what came, and gives names back that others had.
    async fn undo(&mut self, progress: OnProgress<'_>) {
        for (name, before) in std::mem::take(&mut self.given) {
            let undone = match &before {
                Some(displaced) => displaced.give_back(self.engine).await,
                None => self.take_away(&name).await,
            };
            if let Err(error) = undone {
                progress(Progress::Warning(format!("{} stays as it is now: {error}", name.familiar())));
            }
        }
    }

    /// Takes away a name that nobody had. An image goes with its last name, unless it was here without any: then another
    /// image takes the name for a moment, which is how an engine leaves one without.
    async fn take_away(&self, name: &Reference) -> Result<(), EngineError> {
        let image = self.engine.inspect(name).await?;
        if image.is_some_and(|image| self.present.unnamed.contains(&image.id)) {
            let observed = self.engine.observe().await?;
            let others = observed.images().iter().filter(|other| !other.names.contains(name));
            let other = others.flat_map(|other| &other.names).next();
            let alone =
                || EngineError::Other("its image had no name before, and no other image is here".to_owned());
            self.engine.tag(other.ok_or_else(alone)?, name).await?;
        }
        self.engine.remove(name).await
    }

    /// Holds what the engine made of an image to what is in it.
    async fn came(&self, named: &NamedImage) -> Result<(), DeliverError> {
        let Some(name) = named.names.iter().find(|name| name.digest().is_none()) else { return Ok(()) };
        let reference = named.names.first().unwrap_or(&named.image.reference);
        let engine_failed = |source| DeliverError::Engine { reference: reference.clone(), source };
        let found = self.engine.details(name).await.map_err(engine_failed)?.map(|details| details.identity);
        if found.as_ref() == Some(&named.image.identity) {
            return Ok(());
        }
        let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
        Err(DeliverError::Other { reference: reference.clone(), found, wanted: named.image.identity.clone() })
    }

    /// A name is one image's only.
    fn remember(&mut self, named: &NamedImage, names: impl Iterator<Item = Reference>) {
        let names: BTreeSet<Reference> = names.collect();
        for (identity, known) in &mut self.present.images {
            if *identity != named.image.identity {
                known.retain(|name| !names.contains(name));
            }
        }
        self.present.images.entry(named.image.identity.clone()).or_default().extend(names);
        self.present.layers.extend(named.image.chain_ids());
    }

    async fn one(&mut self, named: &NamedImage, done: &mut Delivered) -> Result<(), DeliverError> {
        let reference = named.names.first().unwrap_or(&named.image.reference);
        let engine_failed = |source| DeliverError::Engine { reference: reference.clone(), source };
        let (tags, pinned): (Vec<Reference>, Vec<Reference>) =
            named.names.iter().cloned().partition(|name| name.digest().is_none());
        let here = self.present.images.get(&named.image.identity).cloned();
        let has = here.clone().unwrap_or_default();
        let is_lost = |name: &Reference| {
            !has.contains(name) && stand_in(name).is_none_or(|stand_in| !tags.contains(&stand_in))
        };
        done.unnamed.extend(pinned.into_iter().filter(is_lost));
        let lacking: Vec<Reference> = tags.iter().filter(|name| !has.contains(*name)).cloned().collect();
        match (here, has.first()) {
            (Some(_), _) if lacking.is_empty() => {
                done.present += 1;
                return Ok(());
            }
            (Some(_), Some(name)) => {
                self.give(&named.image.identity, &lacking).await.map_err(engine_failed)?;
                for further in &lacking {
                    self.engine.tag(name, further).await.map_err(engine_failed)?;
                }
                done.named.extend(lacking);
            }
            _ => {
                self.give(&named.image.identity, &tags).await.map_err(engine_failed)?;
                self.load(reference, &named.image, &tags).await?;
                self.came(named).await?;
                done.loaded.push(reference.clone());
            }
        }
        self.remember(named, tags.into_iter());
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
        let archive = match measured.await.map_err(io::Error::other).map_err(blob_failed)? {
            Ok(archive) => archive,
            Err(StreamError::Blob(source) | StreamError::Receiver(source)) => {
                return Err(blob_failed(source));
            }
        };
        if self.cancel.is_cancelled() {
            return Err(DeliverError::Interrupted);
        }
        self.sizes.clone_from(&archive.sizes);
        let (writer, receiver) = pipe::writer();
        let writing = tokio::task::spawn_blocking(move || archive.write(writer));
        self.load_archive(reference, receiver, writing).await
    }

    /// Hands an archive over while it is written.
    async fn load_archive(
        &self,
        reference: &Reference,
        receiver: pipe::Receiver,
        writing: JoinHandle<Result<(), StreamError>>,
    ) -> Result<(), DeliverError> {
        let blob_failed = |source| DeliverError::Blob { reference: reference.clone(), source };
        // What was sent to its end the engine takes to its end, and that is waited for: whoever goes away earlier does not
        // know what it has.
        let loaded = self.engine.load(until(self.cancel.clone(), receiver)).await;
        if self.cancel.is_cancelled() {
            return Err(DeliverError::Interrupted);
        }
        match (loaded, writing.await.map_err(io::Error::other)) {
            (_, Ok(Err(StreamError::Blob(source))) | Err(source)) => Err(blob_failed(source)),
            (Err(source), Ok(_)) => Err(DeliverError::Engine { reference: reference.clone(), source }),
            (Ok(_), Ok(_)) => Ok(()),
        }
    }
}

/// What is drained, a chunk behind: where it is cancelled it ends in an error, and the engine has not seen its end.
fn until(cancel: CancellationToken, receiver: pipe::Receiver) -> ByteStream {
    let state = (Some(receiver), None);
    Box::pin(futures_util::stream::unfold(state, move |(mut receiver, mut held)| {
        let cancel = cancel.clone();
        async move {
            loop {
                let drained = receiver.as_mut()?;
                let next = tokio::select! {
                    biased;
                    () = cancel.cancelled() => Some(Err(io::Error::other("interrupted"))),
                    next = drained.recv() => next,
                };
                match (next, held.take()) {
                    (Some(Ok(chunk)), None) => held = Some(chunk),
                    (Some(Ok(chunk)), Some(before)) => return Some((Ok(before), (receiver, Some(chunk)))),
                    (Some(Err(error)), _) => return Some((Err(error), (None, None))),
                    (None, last) => return last.map(|last| (Ok(last), (None, None))),
                }
            }
        }
    }))
}
