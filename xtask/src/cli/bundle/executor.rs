//! Does the steps of bundles. `bundle/` does what concerns the bundle; what concerns this machine's caches and tree is done
//! here.
//!
//! In: a step of a plan, the engine. Out: what there is to say once it is done, or why it is not. What one step has made is kept
//! for the next.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{blocking, load, read};
use crate::artifact;
use crate::bundle::BLOBS;
use crate::bundle::archive;
use crate::bundle::deliver::{Present, deliver};
use crate::bundle::fetch::fetch;
use crate::bundle::inventory::{self, leave_out};
use crate::bundle::layout::describe;
use crate::bundle::manifest::{
    ArtifactRecord, BundleManifest, Descriptor, FileRecord, Member, NamedImage, Proof, StoredImage,
};
use crate::bundle::open::BlobSource;
use crate::bundle::plan::file_name;
use crate::bundle::proven::ProvenFile;
use crate::bundle::store::BlobStore;
use crate::bundle::verify::{self, Verified};
use crate::cli::error::{Error, ErrorKind};
use crate::cli::prove;
use crate::cli::provisioning::announcer;
use crate::cli::session::Session;
use crate::engine::{AnyEngine, EngineError, OnProgress, Progress};
use crate::events::Emitter;
use crate::execute::{Done, ExecuteBundle, StepError};
use crate::host::inside::Folder;
use crate::model::bundle::{ProvenFrom, SaveSpec, Unpack, WantedImage};
use crate::model::{ArtifactSpec, BundleStep, Digest, ImageName, Reference, Unit, stand_in};
use crate::report::text::size;

/// What an artifact is, to readers that do not know of it.
const ARTIFACT: &str = "application/zip";
/// The same of a file of the tree.
const TEXT: &str = "text/plain";
/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

/// Does the steps of one run.
pub(in crate::cli) struct BundleExecutor<'a> {
    session: &'a Session,
    emitter: Emitter,
    made: Mutex<Made>,
}

/// What steps have made for those after them.
#[derive(Default)]
struct Made {
    fetched: Vec<(WantedImage, StoredImage)>,
    proof: Option<Proof>,
    verified: Option<Verified>,
}

impl<'a> BundleExecutor<'a> {
    /// For the steps of a run, whose events go there.
    pub fn new(session: &'a Session, emitter: Emitter) -> Self {
        Self { session, emitter, made: Mutex::default() }
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExecuteBundle<AnyEngine> for BundleExecutor<'_> {
    async fn execute(
        &self,
        step: &BundleStep,
        engine: Result<&AnyEngine, EngineError>,
        cancel: &CancellationToken,
        tell: OnProgress<'_>,
    ) -> Result<Done, StepError> {
        let engine = || engine.clone().map_err(Error::from);
        let done = async {
            match step {
                BundleStep::Fetch { images } => self.fetch(engine()?, images, tell).await,
                BundleStep::Prove { images, from } => self.prove(engine()?, images, from, tell).await,
                BundleStep::Save(spec) => self.save(spec, tell).await,
                BundleStep::Verify { file, unpack } => self.verify(file, unpack, tell).await,
                BundleStep::Load { file } => {
                    let verified = self.made().verified.take();
                    let unread =
                        || Error::new(ErrorKind::Unexpected, format!("{} is not read", file.display()));
                    load::load(self.session, engine()?, verified.ok_or_else(unread)?, cancel, tell).await
                }
            }
        };
        done.await.map_err(|error: Error| error.into())
    }
}

impl BundleExecutor<'_> {
    async fn fetch(
        &self,
        engine: &AnyEngine,
        images: &[(Reference, WantedImage)],
        tell: OnProgress<'_>,
    ) -> Result<Done, Error> {
        let names: Vec<Reference> = images.iter().map(|(name, _)| name.clone()).collect();
        let fetched = fetch(engine, &store(self.session)?, &names, tell).await?;
        let wanted = images.iter().map(|(_, wanted)| wanted.clone());
        self.made().fetched = wanted.zip(fetched).collect();
        Ok(Done::because(format!("{} images", images.len())))
    }

    async fn verify(&self, file: &Path, unpack: &Unpack, tell: OnProgress<'_>) -> Result<Done, Error> {
        let contents = read(file.to_owned()).await?;
        let (total, unpack) = (verify::total(&contents), unpack.clone());
        let verified = metered(total, tell, move |moved| verify::verify(contents, &unpack, moved)).await?;
        self.made().verified = Some(verified);
        Ok(Done { sentence: Some(format!("{} is whole", file_name(file))), ..Done::because("") })
    }

    /// Everything goes into an empty engine without a network, and is rebuilt there.
    async fn prove(
        &self,
        engine: &AnyEngine,
        images: &BTreeSet<ImageName>,
        from: &ProvenFrom,
        tell: OnProgress<'_>,
    ) -> Result<Done, Error> {
        let world = self.session.look().await?;
        let (disposable, closed) = prove::closed_engine(self.session, &announcer(&self.emitter)).await?;
        self.give(&closed, self.proven_from(engine, from, tell).await?).await?;
        // A proof is a run, whose steps are done as this one is: without a box its type would have no end.
        let proving: Pin<Box<dyn Future<Output = _> + '_>> =
            Box::pin(prove::prove(self.session, &world, closed, images));
        let proof: Result<Proof, Error> = proving.await;
        disposable.stop(&|_| {}).await?;
        let proof = proof?;
        prove::judge(&proof)?;
        let (count, place) = (proof.images.len(), proof.engine.clone());
        self.made().proof = Some(proof);
        let done = Done::because(format!("{count} images rebuilt"));
        Ok(match from {
            ProvenFrom::Fetched => done,
            ProvenFrom::Store(_) => {
                let answer = Some(format!("{count} images were rebuilt without a network ({place})"));
                Done { answer, ..done }
            }
        })
    }

    /// Images by the blobs that they are made of: what one engine saves, another one need not be able to load.
    async fn proven_from(
        &self,
        engine: &AnyEngine,
        from: &ProvenFrom,
        tell: OnProgress<'_>,
    ) -> Result<Vec<NamedImage>, Error> {
        let named_as = |image: StoredImage, names: Vec<Reference>| NamedImage { image, names };
        match from {
            ProvenFrom::Fetched => {
                let fetched = self.made().fetched.clone().into_iter();
                Ok(fetched
                    .map(|(wanted, image)| named_as(image, wanted.names().cloned().collect()))
                    .collect())
            }
            ProvenFrom::Store(names) => {
                let fetched = fetch(engine, &store(self.session)?, names, tell).await?.into_iter();
                // An engine that keeps no manifests gives no name with a digest.
                let all = |name: &Reference| [name.clone()].into_iter().chain(stand_in(name)).collect();
                Ok(fetched.zip(names).map(|(image, name)| named_as(image, all(name))).collect())
            }
        }
    }

    async fn give(&self, closed: &AnyEngine, named_images: Vec<NamedImage>) -> Result<(), Error> {
        let store = store(self.session)?;
        let layers = named_images.iter().flat_map(|named| &named.image.layers);
        let sizes: BTreeMap<Digest, u64> = layers
            .filter_map(|layer| Some((layer.diff_id.clone(), store.layer(&layer.diff_id)?.raw)))
            .collect();
        let never = CancellationToken::new();
        let given = deliver(closed, &store, &named_images, Present::default(), &sizes, &never, &|_| {}).await;
        given.map(drop).map_err(|error| Error::of(ErrorKind::EngineUnfit, &error))
    }

    async fn save(&self, spec: &SaveSpec, tell: OnProgress<'_>) -> Result<Done, Error> {
        let (fetched, proof) = {
            let made = self.made();
            (made.fetched.clone(), made.proof.clone())
        };
        let root = &self.session.config.root;
        let mut manifest = manifest_of(spec, &fetched);
        let images: Vec<StoredImage> = fetched.into_iter().map(|(_, image)| image).collect();
        let count = images.len();
        manifest.proof = proof;
        let mut files = BTreeMap::new();
        for path in &spec.files {
            let (blob, full) = describe_file(&root.join(path))?;
            files.insert(blob.digest.clone(), full);
            manifest.files.push(FileRecord { path: path.clone(), blob });
        }
        for (artifact, needed_by) in &spec.artifacts {
            let (record, path) = self.find_artifact(artifact, needed_by).await?;
            files.insert(record.blob.digest.clone(), path);
            manifest.artifacts.push(record);
        }
        if let Some(path) = spec.since.clone() {
            let has = blocking(move || inventory::read(&path)).await?;
            leave_out(&mut manifest, &images, &has);
        }
        let total =
            archive::total(&manifest, &images).map_err(|error| Error::of(ErrorKind::Unexpected, &error))?;
        let (blobs, output) = (Blobs { store: store(self.session)?, files }, spec.output.clone());
        let written =
            metered(total, tell, move |moved| archive::write(&manifest, &images, &blobs, &output, moved));
        let written = written.await?;
        let bytes = size(written.size);
        let paths: Vec<String> = written.paths.iter().map(|path| path.display().to_string()).collect();
        Ok(Done {
            sentence: Some(format!("{count} images, {} blobs, {bytes}", written.blobs)),
            answer: Some(paths.join("\n")),
            ..Done::because(bytes)
        })
    }

    async fn find_artifact(
        &self,
        spec: &ArtifactSpec,
        needed_by: &[String],
    ) -> Result<(ArtifactRecord, PathBuf), Error> {
        let (wanted, settings) = (spec.clone(), self.session.config.artifact.clone());
        let cache = artifact::Cache::at(&self.session.config.root, &settings.cache);
        let found = blocking(move || artifact::find(&wanted, &cache, &settings.old_cache)).await?;
        let Some(found) = found else {
            let what = format!("the artifact {} is not in the cache, and a bundle needs it", spec.file);
            let error = Error::new(ErrorKind::NotHere, what);
            return Err(needed_by.iter().fold(error, |error, by| error.because(by.clone())));
        };
        let blob = Descriptor { media_type: ARTIFACT.to_owned(), digest: found.digest, size: found.size };
        let (file, version, needed_by) = (spec.file.clone(), spec.version.clone(), needed_by.to_vec());
        Ok((ArtifactRecord { file, version, needed_by, blob }, found.path))
    }
}

/// Where layers are kept between runs.
pub(super) fn store(session: &Session) -> Result<BlobStore, Error> {
    let root = &session.config.root;
    Folder::open(root).and_then(|tree| BlobStore::open(&tree, BLOBS)).map_err(|error| {
        Error::of(ErrorKind::File, &error).context(format!("cannot open {}", root.join(BLOBS).display()))
    })
}

/// Does what blocks, and tells meanwhile how much of `total` it has moved.
async fn metered<T: Send + 'static, E: Into<Error> + Send + 'static>(
    total: u64,
    tell: OnProgress<'_>,
    work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> Result<T, E> + Send + 'static,
) -> Result<T, Error> {
    let at = Arc::new(AtomicU64::new(0));
    let moved = at.clone();
    let working = blocking(move || {
        work(&move |more| {
            moved.fetch_add(more, Ordering::Relaxed);
        })
    });
    tokio::select! {
        never = tell_how_far(&at, total, tell) => match never {},
        done = working => done,
    }
}

/// Tells it now and then, for as long as it is waited for.
async fn tell_how_far(at: &AtomicU64, total: u64, tell: OnProgress<'_>) -> Infallible {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let done = at.load(Ordering::Relaxed);
        tell(Progress::Moved { done, total, unit: Unit::Bytes, detail: None });
    }
}

/// Layers and configs of the store, and files that lie elsewhere.
struct Blobs {
    store: BlobStore,
    files: BTreeMap<Digest, PathBuf>,
}

impl BlobSource for Blobs {
    fn open_blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.files.get(digest) {
            Some(path) => Ok(Box::new(File::open(path)?)),
            None => self.store.open_blob(digest),
        }
    }

    fn proven_file(&self, digest: &Digest) -> Option<ProvenFile> {
        self.store.proven_file(digest)
    }
}

fn manifest_of(spec: &SaveSpec, images: &[(WantedImage, StoredImage)]) -> BundleManifest {
    let mut manifest = BundleManifest::new(spec.tag.clone());
    manifest.members = images
        .iter()
        .map(|(wanted, image)| Member {
            reference: wanted.reference.clone(),
            further_names: wanted.further_names.clone(),
            role: wanted.role,
            needed_by: wanted.needed_by.clone(),
            platform: wanted.platform.clone(),
            image_id: image.image_id.clone(),
            identity: Some(image.identity.clone()),
            manifest: image.manifest.descriptor.clone(),
            index: image.index.as_ref().map(|index| index.blob.descriptor.clone()),
            attached: image.index.as_ref().map(|index| index.attached.clone()).unwrap_or_default(),
        })
        .collect();
    manifest.services.clone_from(&spec.services);
    manifest
}

/// A small file of the tree.
fn describe_file(path: &Path) -> Result<(Descriptor, PathBuf), Error> {
    let bytes = std::fs::read(path).map_err(|error| {
        Error::of(ErrorKind::File, &error).context(format!("cannot read {}", path.display()))
    })?;
    Ok((describe(TEXT, &bytes), path.to_owned()))
}
