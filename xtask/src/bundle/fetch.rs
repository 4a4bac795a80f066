//! EFFECT: images out of an engine into the store, and only what the store lacks.
//!
//! In: names. Out: [`StoredImage`]s, every blob of which is in the store. Two ways lead out of an engine: `save` sends
//! every layer of an image, and a push to us (`temporary_registry.rs`) those that are asked for. Which is quicker depends on how
//! the engine keeps its layers. Whatever a push did not bring is saved too. Nothing new: then nothing is moved at all.
//!
//! - Unpacked (overlay2): a save is quick, and for a push the engine compresses, slowly. So what has little that is new
//!   is pushed.
//! - Packed (containerd): a push sends them as they are, several at once, but each takes the engine some work of its
//!   own. A save takes it five times as long for each byte. So images of many small layers are saved.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::layout::made_here;
use super::manifest::{StoredImage, StoredLayer};
use super::originals::original;
use super::pipe;
use super::saved::{self, WantedBlobs};
use super::store::{BUDGET, BlobStore};
use super::temporary_registry::{Expected, TemporaryRegistry};
use crate::engine::{AnyEngine, EngineError, OnProgress, Progress, Store as _};
use crate::model::{Digest, Identity, ImageConfig, ImageDetails, Platform, Reference, Unit};

/// How many images are asked about at the same time.
const QUESTIONS: usize = 8;
/// How many images are pushed at the same time: the engine compresses.
const PUSHES: usize = 2;
/// A push of so many bytes takes an engine as long as a save of so many times as much (measured on 20.10 and 26.1).
const PUSH_COST: u64 = 6;
/// What a push costs anyway, in bytes that could be saved meanwhile.
const PUSH_START: u64 = 32 << 20;
/// Where layers are kept packed, what has less than so many bytes for each layer is saved (measured on 28.5).
const SMALL_LAYER: u64 = 1 << 20;
/// Begins the repository that an image is pushed as.
const REPOSITORY: &str = "xtask-bundle-";
/// An engine whose upload fails tries again after 5 s, and then after more and more: there is a better way.
const PATIENCE: Duration = Duration::from_secs(8);
/// One that sends what it has as it is does not wait; on a busy machine it only takes its time.
const LONG_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an archive for which the thread that reads it is woken.
const BATCH: usize = 256 << 10;
/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

/// Why images cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The engine has no such image.
    #[error("the engine has no image {}", .0.familiar())]
    Missing(Reference),
    /// The engine failed.
    #[error("cannot get {subject} out of the engine: {source}")]
    Engine {
        /// Which images.
        subject: String,
        /// What it said.
        source: EngineError,
    },
    /// What the engine sent is odd, or cannot be kept.
    #[error("cannot keep {subject}: {source}")]
    Store {
        /// Which images.
        subject: String,
        /// What the system or the reader said.
        source: io::Error,
    },
    /// The engine left something out.
    #[error("the engine did not send {what} of {}", reference.familiar())]
    Incomplete {
        /// Of which image.
        reference: Reference,
        /// `layer sha256:…`
        what: String,
    },
}

/// An image that is asked for.
#[derive(Clone, Debug)]
struct Asked {
    reference: Reference,
    id: Digest,
    identity: Identity,
    platform: Platform,
    /// The ID is the digest of a manifest or an index: the engine keeps these, and the layers as they were packed.
    has_manifest: bool,
    size: u64,
    layers: Vec<Digest>,
}

/// What the store has of an image, and what not.
#[derive(Clone, Debug)]
struct Lack {
    asked: Asked,
    wanted: WantedBlobs,
    /// About how many bytes are new.
    new: u64,
}

/// Brings every layer and config of these images into the store. The result is in the order of `references`.
///
/// # Errors
/// [`FetchError`]; what came so far stays in the store, so the next time goes on from there.
pub async fn fetch(
    engine: &AnyEngine,
    store: &BlobStore,
    references: &[Reference],
    progress: OnProgress<'_>,
) -> Result<Vec<StoredImage>, FetchError> {
    let asked: Vec<Asked> = futures_util::stream::iter(references.to_vec())
        .map(|reference| async move { ask(engine, &reference).await })
        .buffered(QUESTIONS)
        .try_collect()
        .await?;
    if asked.iter().any(|asked| asked.has_manifest) {
        return fetch_originals(engine, store, asked, progress).await;
    }
    let mut lacks = lacks(store, &asked).await?;
    let had_all = lacks.is_empty();
    let may_push = engine.may_share_loopback();
    let is_small = |lack: &Lack| may_push && lack.new * PUSH_COST + PUSH_START < lack.asked.size;
    let large: Vec<Lack> = lacks.iter().filter(|lack| !is_small(lack)).cloned().collect();
    if !large.is_empty() {
        save_layers(engine, store, &large, progress).await?;
        lacks = self::lacks(store, &asked).await?;
    }
    if !lacks.is_empty() && may_push {
        let expected = |lack: &Lack| (lack.asked.reference.clone(), Expected::Layers(lack.wanted.clone()));
        push(engine, store, lacks.iter().map(expected).collect(), (PUSHES, PATIENCE), progress).await;
        lacks = self::lacks(store, &asked).await?;
    }
    if !lacks.is_empty() {
        // This time nothing is taken for known by its beginning.
        for lack in &mut lacks {
            lack.wanted.known.clear();
        }
        save_layers(engine, store, &lacks, progress).await?;
    }
    let images = assemble(store, asked).await?;
    if !had_all {
        prune(store, progress).await;
    }
    Ok(images)
}

async fn prune(store: &BlobStore, progress: OnProgress<'_>) {
    let store = store.clone();
    if let Err(error) = blocking("the rest", move || store.prune(BUDGET)).await {
        progress(Progress::Warning(format!("the store of blobs stays larger than it should be: {error}")));
    }
}

/// Images of an engine that keeps manifests, as they are there: nothing is packed anew.
async fn fetch_originals(
    engine: &AnyEngine,
    store: &BlobStore,
    asked: Vec<Asked>,
    progress: OnProgress<'_>,
) -> Result<Vec<StoredImage>, FetchError> {
    let lacking = lacking_originals(store, &asked).await?;
    if !lacking.is_empty() {
        let mut saved: Vec<Reference> = Vec::new();
        let (pushed, small): (Vec<&Asked>, Vec<&Asked>) =
            lacking.iter().partition(|asked| engine.may_share_loopback() && asked.has_large_layers());
        saved.extend(small.into_iter().map(|asked| asked.reference.clone()));
        if !pushed.is_empty() {
            let expected = |asked: &&Asked| (asked.reference.clone(), Expected::Originals);
            // One after the other, so that what they share is sent once.
            push(engine, store, pushed.iter().map(expected).collect(), (1, LONG_PATIENCE), progress).await;
            let pushed: Vec<Asked> = pushed.into_iter().cloned().collect();
            let left = lacking_originals(store, &pushed).await?;
            saved.extend(left.into_iter().map(|asked| asked.reference));
        }
        if !saved.is_empty() {
            let take = |reader: pipe::Reader, store: &BlobStore, moved: &dyn Fn(u64)| {
                saved::take_as_is(reader, store, moved)
            };
            save(engine, store, &saved, progress, take).await?;
        }
        prune(store, progress).await;
    }
    let store = store.clone();
    let images = blocking("the images", move || {
        // Two manifests of the same image, packed at different times, are one image: the first one speaks for it.
        let mut seen: BTreeMap<Digest, StoredImage> = BTreeMap::new();
        let image = |asked: Asked| {
            let incomplete =
                || FetchError::Incomplete { reference: asked.reference.clone(), what: asked.id.to_string() };
            let found = asked.original(&store).ok_or_else(incomplete)?;
            let first = seen.entry(found.image_id.clone()).or_insert(found);
            Ok(StoredImage { reference: asked.reference.clone(), ..first.clone() })
        };
        Ok(asked.into_iter().map(image).collect::<Result<Vec<_>, _>>())
    });
    images.await?
}

/// Those of which the store lacks something.
async fn lacking_originals(store: &BlobStore, asked: &[Asked]) -> Result<Vec<Asked>, FetchError> {
    let (store, asked) = (store.clone(), asked.to_vec());
    let lacks = move |asked: &Asked| asked.original(&store).is_none();
    blocking("the list of blobs", move || Ok(asked.into_iter().filter(lacks).collect())).await
}

impl Asked {
    fn has_large_layers(&self) -> bool {
        self.size / SMALL_LAYER >= self.layers.len() as u64
    }

    fn original(&self, store: &BlobStore) -> Option<StoredImage> {
        original(store, &self.reference, &self.id, &self.platform)
    }
}

async fn ask(engine: &AnyEngine, reference: &Reference) -> Result<Asked, FetchError> {
    let details: Option<ImageDetails> = engine
        .details(reference)
        .await
        .map_err(|source| FetchError::Engine { subject: reference.familiar(), source })?;
    let details = details.ok_or_else(|| FetchError::Missing(reference.clone()))?;
    // A store that keeps no manifests knows those of registries, and they are never the ID of an image.
    let has_manifest = details.repo_digests.iter().any(|known| known.digest() == Some(details.id.digest()));
    Ok(Asked {
        reference: reference.clone(),
        id: details.id.digest().clone(),
        identity: details.identity,
        platform: details.platform,
        has_manifest,
        size: details.size,
        layers: details.layers,
    })
}

/// Each image of which the store lacks something, once.
async fn lacks(store: &BlobStore, asked: &[Asked]) -> Result<Vec<Lack>, FetchError> {
    let (store, asked) = (store.clone(), asked.to_vec());
    blocking("the list of blobs", move || {
        let mut seen = BTreeSet::new();
        let mut lacks = Vec::new();
        for asked in asked.into_iter().filter(|asked| seen.insert(asked.id.clone())) {
            let mut wanted = WantedBlobs::default();
            let mut new = asked.size;
            for diff_id in &asked.layers {
                match store.layer(diff_id) {
                    Some(known) => {
                        new = new.saturating_sub(known.raw);
                        wanted.known.insert(diff_id.clone());
                    }
                    None => {
                        wanted.layers.insert(diff_id.clone());
                    }
                }
            }
            if store.config(&asked.id).is_none() {
                wanted.configs.insert(asked.id.clone());
            }
            if !wanted.layers.is_empty() || !wanted.configs.is_empty() {
                lacks.push(Lack { asked, wanted, new });
            }
        }
        Ok(lacks)
    })
    .await
}

/// What is lacking, out of one archive.
async fn save_layers(
    engine: &AnyEngine,
    store: &BlobStore,
    lacks: &[Lack],
    progress: OnProgress<'_>,
) -> Result<(), FetchError> {
    let references: Vec<Reference> = lacks.iter().map(|lack| lack.asked.reference.clone()).collect();
    let mut wanted = WantedBlobs::default();
    for lack in lacks {
        wanted.configs.extend(lack.wanted.configs.iter().cloned());
        wanted.layers.extend(lack.wanted.layers.iter().cloned());
        wanted.known.extend(lack.wanted.known.iter().cloned());
    }
    let take = move |reader: pipe::Reader, store: &BlobStore, moved: &dyn Fn(u64)| {
        saved::take(reader, store, &wanted, moved)
    };
    save(engine, store, &references, progress, take).await
}

/// One archive with all of them, read by `take` as it comes.
async fn save(
    engine: &AnyEngine,
    store: &BlobStore,
    references: &[Reference],
    progress: OnProgress<'_>,
    take: impl FnOnce(pipe::Reader, &BlobStore, &dyn Fn(u64)) -> io::Result<()> + Send + 'static,
) -> Result<(), FetchError> {
    let subject = subject(references);
    let engine_failed = |source| FetchError::Engine { subject: subject.clone(), source };
    let (mut sender, reader) = pipe::reader(BATCH);
    let at = Arc::new(AtomicU64::new(0));
    let (moved, store) = (at.clone(), store.clone());
    let reading =
        blocking(&subject, move || take(reader, &store, &|bytes| moved.store(bytes, Ordering::Relaxed)));
    let sending = async {
        // The engine writes all to its own disk before it answers.
        let mut archive = engine.save(references).await.map_err(engine_failed)?;
        let ended = loop {
            match archive.next().await {
                Some(Ok(chunk)) => {
                    if sender.send(chunk).await.is_err() {
                        // Who reads has seen the archive's end, or an error, before the stream's.
                        return Ok(());
                    }
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        sender.finish(ended).await;
        Ok(())
    };
    let told = tell(&at, "saved by the engine", progress);
    tokio::select! {
        never = told => match never {},
        done = async { tokio::join!(sending, reading) } => {
            let (sent, read) = done;
            // Without an archive there is nothing to read, which is not the cause.
            sent.and(read)
        }
    }
}

/// Pushes images, so many at once, unless nothing comes for so long. What goes wrong is warned of: there is another way.
async fn push(
    engine: &AnyEngine,
    store: &BlobStore,
    images: Vec<(Reference, Expected)>,
    (at_once, patience): (usize, Duration),
    progress: OnProgress<'_>,
) {
    let references: Vec<Reference> = images.iter().map(|(reference, _)| reference.clone()).collect();
    let warn = |cause: &dyn std::fmt::Display| {
        let subject = subject(&references);
        progress(Progress::Warning(format!(
            "{subject} cannot be pushed to 127.0.0.1, so all of it is saved: {cause}"
        )));
    };
    let registry = match TemporaryRegistry::start(store).await {
        Ok(registry) => registry,
        Err(error) => return warn(&error),
    };
    remove_leftovers(engine).await;
    let at = AtomicU64::new(0);
    let pushing = async {
        let mut pushes = futures_util::stream::iter(images.into_iter().enumerate())
            .map(|(number, (reference, expected))| push_one(engine, &registry, number, reference, expected))
            .buffer_unordered(at_once);
        while let Some(pushed) = pushes.next().await {
            at.store(registry.received(), Ordering::Relaxed);
            pushed?;
        }
        Ok::<(), EngineError>(())
    };
    let idle = async {
        while registry.idle() < patience {
            tokio::time::sleep(patience.saturating_sub(registry.idle())).await;
        }
    };
    tokio::select! {
        never = tell(&at, "pushed by the engine", progress) => match never {},
        () = idle => warn(&format!("nothing came for {} s", patience.as_secs())),
        pushed = pushing => if let Err(error) = pushed { warn(&error) },
    }
}

async fn push_one(
    engine: &AnyEngine,
    registry: &TemporaryRegistry,
    number: usize,
    reference: Reference,
    expected: Expected,
) -> Result<(), EngineError> {
    let repository = format!("{REPOSITORY}{}-{number}", std::process::id());
    let name = format!("{}:1", registry.expect(&repository, expected));
    let name: Reference = name.parse().map_err(|error| EngineError::Other(format!("{error}")))?;
    engine.tag(&reference, &name).await?;
    let mut name = TemporaryName { engine: engine.clone(), name: Some(name) };
    let pushed = match &name.name {
        Some(name) => engine.push(name, &|_| {}).await.map(drop),
        None => Ok(()),
    };
    name.remove().await?;
    pushed
}

/// A name that an image has only while it is pushed.
struct TemporaryName {
    engine: AnyEngine,
    name: Option<Reference>,
}

impl TemporaryName {
    async fn remove(&mut self) -> Result<(), EngineError> {
        match self.name.take() {
            Some(name) => self.engine.remove(&name).await,
            None => Ok(()),
        }
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        let (Some(name), Ok(runtime)) = (self.name.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let engine = self.engine.clone();
        // Interrupted. Should this come too late, the next run removes it.
        runtime.spawn(async move { engine.remove(&name).await });
    }
}

/// Whether a name is one that an image has only while it is pushed to the registry of a bundle's making.
pub fn is_temporary(name: &Reference) -> bool {
    name.domain().starts_with("127.0.0.1:") && name.path().starts_with(REPOSITORY)
}

/// Names that killed runs left: nobody listens where they say.
async fn remove_leftovers(engine: &AnyEngine) {
    let Ok(observed) = engine.observe_names(&[format!("127.0.0.1:*/{REPOSITORY}*")]).await else { return };
    for name in observed.images().iter().flat_map(|image| &image.names) {
        if is_temporary(name) && tokio::net::TcpStream::connect(name.domain()).await.is_err() {
            // It does no harm where it is.
            let _ = engine.remove(name).await;
        }
    }
}

/// Says now and then how many bytes came, for as long as it is waited for.
pub(super) async fn tell(at: &AtomicU64, way: &str, progress: OnProgress<'_>) -> std::convert::Infallible {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let done = at.load(Ordering::Relaxed);
        // An engine writes an archive to its own disk before it sends the first byte of it.
        let detail = Some(if done == 0 { "waiting for the engine".to_owned() } else { way.to_owned() });
        progress(Progress::Moved { done, total: 0, unit: Unit::Bytes, detail });
    }
}

async fn assemble(store: &BlobStore, asked: Vec<Asked>) -> Result<Vec<StoredImage>, FetchError> {
    let store = store.clone();
    let images = blocking("the images", move || {
        // What is not in the store by now is told as it is found.
        Ok(asked.into_iter().map(|asked| stored(&store, asked)).collect::<Result<Vec<_>, _>>())
    });
    images.await?
}

fn stored(store: &BlobStore, asked: Asked) -> Result<StoredImage, FetchError> {
    let incomplete = |what: String| FetchError::Incomplete { reference: asked.reference.clone(), what };
    let (config, bytes) =
        store.config(&asked.id).ok_or_else(|| incomplete(format!("the config {}", asked.id)))?;
    let read: ImageConfig = serde_json::from_slice(&bytes).map_err(|error| FetchError::Store {
        subject: asked.reference.familiar(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    })?;
    let layers: Result<Vec<StoredLayer>, FetchError> = read
        .rootfs
        .diff_ids
        .iter()
        .map(|diff_id| {
            let known = store.layer(diff_id).ok_or_else(|| incomplete(format!("layer {diff_id}")))?;
            Ok(known.layer)
        })
        .collect();
    Ok(made_here(asked.reference.clone(), config, asked.identity, layers?))
}

fn subject(references: &[Reference]) -> String {
    match references {
        [one] => one.familiar(),
        many => format!("{} images", many.len()),
    }
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    subject: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FetchError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    done.flatten().map_err(|source| FetchError::Store { subject: subject.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{FakeEngine, fake_image};

    #[tokio::test]
    async fn names_that_killed_runs_left_are_removed_and_those_in_use_stay() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let in_use = listener.local_addr().unwrap();
        let gone = {
            let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            closed.local_addr().unwrap()
        };
        let names = [
            "a:1".to_owned(),
            format!("{gone}/a:1"),
            format!("{in_use}/{REPOSITORY}1-0:1"),
            format!("{gone}/{REPOSITORY}2-0:1"),
        ];
        let names = names.map(|name| name.parse::<Reference>().unwrap());
        let fake = FakeEngine::new();
        fake.store(fake_image("a", &names.each_ref()));
        let engine: AnyEngine = fake.into();
        remove_leftovers(&engine).await;
        assert_eq!(engine.observe().await.unwrap().images()[0].names, names[..3]);
    }
}
