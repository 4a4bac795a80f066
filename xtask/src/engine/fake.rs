//! An engine in memory: the verbs' semantics without containers, for tests of planning and executing.
//!
//! It keeps a store and the registries' side of it, counts every call, fails where it was told to, and reads a
//! build's files from disk as the real one does. The contract test holds it against a real engine.

mod containers;
mod content;
mod listing;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use self::content::Content;
use super::{ByteStream, Containers, EngineError, Loaded, OnProgress, Progress, Store};
use crate::model::{
    BuildSpec, ContainerId, ContainerSpec, ContainerState, Digest, ExecOutput, ImageDetails, ImageId,
    IndexSpec, LayerSize, LocalImage, LogStream, Observed, Platform, Reference, Unit,
};

pub use containers::FakeBehaviour;

/// What can be asked of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// [`Store::observe`]
    Observe,
    /// [`Store::inspect`]
    Inspect,
    /// [`Store::pull`]
    Pull,
    /// [`Store::tag`]
    Tag,
    /// [`crate::build::Builder::build`]
    Build,
    /// [`Store::push`]
    Push,
    /// [`Store::import`]
    Import,
    /// [`Store::save`]
    Save,
    /// [`Store::load`]
    Load,
    /// [`Store::remove`]
    Remove,
    /// [`Store::remove_unnamed`]
    RemoveUnnamed,
    /// [`Store::layers`]
    Layers,
    /// [`Store::details`]
    Details,
    /// [`Containers::run`]
    Run,
    /// [`Containers::container`]
    Container,
    /// [`Containers::exec`]
    Exec,
    /// [`Store::index`]
    Index,
    /// [`Containers::logs`]
    Logs,
    /// [`Containers::stop`]
    Stop,
    /// [`Containers::remove_container`]
    RemoveContainer,
    /// [`Containers::containers`]
    Containers,
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error.
    Fails(EngineError),
    /// It never ends; whoever waits has to give up.
    Hangs,
    /// It takes this long, and then goes well.
    Takes(Duration),
}

/// A build as the fake saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeBuild {
    /// What was asked for.
    pub spec: BuildSpec,
    /// The context paths that were there to be read.
    pub files: Vec<String>,
    /// The image that came of it; none while it runs and when it failed.
    pub id: Option<ImageId>,
}

/// An engine in memory. A clone speaks to the same store.
#[derive(Clone, Default)]
pub struct FakeEngine(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    images: Vec<LocalImage>,
    /// What registries would give.
    offered: HashMap<Reference, LocalImage>,
    faults: Vec<Script>,
    calls: Vec<(Verb, String)>,
    builds: Vec<FakeBuild>,
    containers: containers::Containers,
    /// What images are made of, by their ID.
    contents: HashMap<ImageId, Content>,
}

struct Script {
    verb: Verb,
    subject: String,
    /// Fails at this call of the same verb and subject, from 1.
    nth: usize,
    fault: Fault,
}

impl std::fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeEngine").field("calls", &self.state().calls).finish_non_exhaustive()
    }
}

/// An image of the fake's own making: of one layer that holds `content`.
pub fn fake_image(content: &str, names: &[&Reference]) -> LocalImage {
    LocalImage {
        id: content::remember(content),
        names: names.iter().map(|name| (*name).clone()).collect(),
        digests: Vec::new(),
        labels: BTreeMap::new(),
        size: content.len() as u64 + 1,
        platform: Some(Platform::local()),
        identity: None,
    }
}

impl FakeEngine {
    /// An empty store, and registries that have nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an image into the store; its names are taken from the images that had them.
    pub fn store(&self, image: LocalImage) {
        self.state().store(image);
    }

    /// Lets a registry have an image under this name.
    pub fn offer(&self, reference: &Reference, image: LocalImage) {
        self.state().offered.insert(reference.clone(), image);
    }

    /// Lets the `nth` call (from 1) of a verb on a subject go wrong. The subject is a reference in its familiar
    /// form, for builds the image's name, for containers the reference that they run, for `containers` the label,
    /// for `observe` the patterns of names.
    pub fn script(&self, verb: Verb, subject: &str, nth: usize, fault: Fault) {
        self.state().faults.push(Script { verb, subject: subject.to_owned(), nth, fault });
    }

    /// Containers whose image's familiar name contains `image` behave so from now on.
    pub fn behave(&self, image: &str, behaviour: FakeBehaviour) {
        self.state().containers.behave(image, behaviour);
    }

    /// Somebody else has this port.
    pub fn take_port(&self, port: u16) {
        self.state().containers.taken.insert(port);
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<(Verb, String)> {
        self.state().calls.clone()
    }

    /// How often a verb was asked.
    pub fn count(&self, verb: Verb) -> usize {
        self.state().calls.iter().filter(|(asked, _)| *asked == verb).count()
    }

    /// Every build so far, in order of start.
    pub fn builds(&self) -> Vec<FakeBuild> {
        self.state().builds.clone()
    }

    /// What the registries have by now: what was offered and what was pushed.
    pub fn offered(&self) -> Vec<Reference> {
        let mut names: Vec<Reference> = self.state().offered.keys().cloned().collect();
        names.sort();
        names
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and does to it what was scripted.
    async fn enter(&self, verb: Verb, subject: String) -> Result<(), EngineError> {
        let fault = {
            let mut state = self.state();
            state.calls.push((verb, subject.clone()));
            let nth = state.calls.iter().filter(|(v, s)| *v == verb && *s == subject).count();
            let script = state
                .faults
                .iter()
                .find(|script| script.verb == verb && script.subject == subject && script.nth == nth);
            script.map(|script| script.fault.clone())
        };
        match fault {
            None => Ok(()),
            Some(Fault::Fails(error)) => Err(error),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Takes(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }

    /// Whether a build can start from this base: the store has it, or a registry gives it.
    pub(crate) fn has_base(&self, base: &str) -> bool {
        let Ok(reference) = base.parse::<Reference>() else { return false };
        let mut state = self.state();
        if state.find(&reference).is_some() {
            return true;
        }
        let Some(mut image) = state.offered.get(&reference).cloned() else { return false };
        image.names = vec![reference];
        state.store(image);
        true
    }
}

impl State {
    fn find(&self, reference: &Reference) -> Option<&LocalImage> {
        self.images.iter().find(|image| {
            image.names.contains(reference)
                || image.digests.contains(reference)
                || reference.without_tag().is_some_and(|pinned| image.digests.contains(&pinned))
        })
    }

    fn details(&self, reference: &Reference, image: &LocalImage) -> ImageDetails {
        self.containers.details(&reference.familiar(), image, self.layers(&image.id))
    }

    fn store(&mut self, image: LocalImage) {
        for other in &mut self.images {
            other.names.retain(|name| !image.names.contains(name));
        }
        match self.images.iter_mut().find(|other| other.id == image.id) {
            Some(same) => {
                same.names.extend(image.names);
                for digest in image.digests {
                    if !same.digests.contains(&digest) {
                        same.digests.push(digest);
                    }
                }
            }
            None => self.images.push(image),
        }
    }
}

impl Store for FakeEngine {
    async fn observe(&self) -> Result<Observed, EngineError> {
        self.enter(Verb::Observe, String::new()).await?;
        Ok(Observed::new(listing::capabilities(), self.state().listed()))
    }

    async fn observe_names(&self, patterns: &[String]) -> Result<Observed, EngineError> {
        self.enter(Verb::Observe, patterns.join(" ")).await?;
        Ok(Observed::of_some_names(listing::capabilities(), self.state().listed_as(patterns)))
    }

    async fn inspect(&self, reference: &Reference) -> Result<Option<LocalImage>, EngineError> {
        self.enter(Verb::Inspect, reference.familiar()).await?;
        let state = self.state();
        Ok(state.find(reference).map(|image| LocalImage {
            identity: Some(state.details(reference, image).identity),
            ..image.clone()
        }))
    }

    async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: OnProgress<'_>,
    ) -> Result<(), EngineError> {
        self.enter(Verb::Pull, reference.familiar()).await?;
        let mut state = self.state();
        let mut image = state
            .offered
            .get(reference)
            .filter(|image| image.platform.as_ref().is_none_or(|of| of == platform))
            .cloned()
            .ok_or_else(|| EngineError::NotFound(reference.familiar()))?;
        image.names = if reference.tag().is_some() && reference.digest().is_none() {
            vec![reference.clone()]
        } else {
            Vec::new()
        };
        progress(Progress::Moved { done: image.size, total: image.size, unit: Unit::Bytes, detail: None });
        if let Some(pinned) =
            reference.without_tag().or_else(|| reference.digest().map(|_| reference.clone()))
        {
            image.digests.push(pinned);
        }
        state.store(image);
        Ok(())
    }

    async fn tag(&self, source: &Reference, target: &Reference) -> Result<(), EngineError> {
        self.enter(Verb::Tag, source.familiar()).await?;
        let mut state = self.state();
        let mut image =
            state.find(source).cloned().ok_or_else(|| EngineError::NotFound(source.familiar()))?;
        image.names = vec![target.clone()];
        state.store(image);
        Ok(())
    }

    async fn inspect_on(
        &self,
        reference: &Reference,
        _: &Platform,
    ) -> Result<Option<LocalImage>, EngineError> {
        self.inspect(reference).await
    }

    async fn index(&self, spec: &IndexSpec) -> Result<ImageId, EngineError> {
        let names: Vec<String> = spec.names.iter().map(Reference::familiar).collect();
        self.enter(Verb::Index, names.join(" ")).await?;
        Err(EngineError::Other("it keeps no indexes".to_owned()))
    }

    async fn push(&self, reference: &Reference, progress: OnProgress<'_>) -> Result<Digest, EngineError> {
        self.enter(Verb::Push, reference.familiar()).await?;
        let mut state = self.state();
        let image =
            state.find(reference).cloned().ok_or_else(|| EngineError::NotFound(reference.familiar()))?;
        progress(Progress::Moved { done: image.size, total: image.size, unit: Unit::Bytes, detail: None });
        let manifest = digest_of([b"manifest of ".as_slice(), image.id.as_str().as_bytes()]);
        if let Ok(pinned) = format!("{}@{manifest}", reference.repository()).parse::<Reference>() {
            let known = LocalImage { digests: vec![pinned.clone()], names: Vec::new(), ..image };
            state.offered.insert(reference.clone(), known.clone());
            state.offered.insert(pinned, known.clone());
            state.store(known);
        }
        Ok(manifest)
    }

    async fn import(
        &self,
        tar: &Path,
        reference: &Reference,
        platform: &Platform,
        labels: &BTreeMap<String, String>,
    ) -> Result<ImageId, EngineError> {
        self.enter(Verb::Import, reference.familiar()).await?;
        let content = std::fs::read(tar)
            .map_err(|error| EngineError::Other(format!("cannot read {}: {error}", tar.display())))?;
        let size = content.len() as u64;
        let content = Content::new(platform, labels, vec![content.into()]);
        let id = content.id();
        let mut state = self.state();
        state.contents.insert(id.clone(), content);
        state.store(LocalImage {
            id: id.clone(),
            names: vec![reference.clone()],
            digests: Vec::new(),
            labels: labels.clone(),
            size,
            platform: Some(platform.clone()),
            identity: None,
        });
        Ok(id)
    }

    async fn save(&self, references: &[Reference]) -> Result<ByteStream, EngineError> {
        let names: Vec<String> = references.iter().map(Reference::familiar).collect();
        self.enter(Verb::Save, names.join(" ")).await?;
        self.state().save(references)
    }

    async fn load(&self, archive: ByteStream) -> Result<Loaded, EngineError> {
        self.enter(Verb::Load, String::new()).await?;
        let bytes = content::read_all(archive).await?;
        self.state().load(&bytes)
    }

    async fn remove(&self, reference: &Reference) -> Result<(), EngineError> {
        self.enter(Verb::Remove, reference.familiar()).await?;
        let mut state = self.state();
        if let Some(image) = state.find(reference)
            && image.names.len() == 1
            && state.containers.use_image(&image.id)
        {
            return Err(EngineError::Other(format!("conflict: a container uses {}", reference.familiar())));
        }
        state.images.retain_mut(|image| {
            let had = image.names.len();
            image.names.retain(|name| name != reference);
            // The image goes with its last name; one that never had any stays.
            had == image.names.len() || !image.names.is_empty()
        });
        Ok(())
    }

    async fn remove_unnamed(&self, id: &ImageId) -> Result<(), EngineError> {
        self.enter(Verb::RemoveUnnamed, id.short().to_owned()).await?;
        let mut state = self.state();
        let named = state.images.iter().find(|image| image.id == *id).and_then(|image| image.names.first());
        if let Some(name) = named {
            return Err(EngineError::Other(format!("image {} is {} by now", id.short(), name.familiar())));
        }
        if state.containers.use_image(id) {
            return Err(EngineError::Other(format!("conflict: a container uses {}", id.short())));
        }
        state.images.retain(|image| image.id != *id);
        Ok(())
    }

    async fn layers(&self, id: &ImageId) -> Result<Option<Vec<Digest>>, EngineError> {
        self.enter(Verb::Layers, id.short().to_owned()).await?;
        let state = self.state();
        Ok(state.images.iter().any(|image| image.id == *id).then(|| state.layers(id)))
    }

    async fn history(&self, reference: &Reference) -> Result<Option<Vec<LayerSize>>, EngineError> {
        self.enter(Verb::Details, reference.familiar()).await?;
        let state = self.state();
        let all = |image: &LocalImage| vec![LayerSize::told("COPY all /", image.size)];
        Ok(state.find(reference).map(all))
    }

    async fn details(&self, reference: &Reference) -> Result<Option<ImageDetails>, EngineError> {
        self.enter(Verb::Details, reference.familiar()).await?;
        let state = self.state();
        Ok(state.find(reference).map(|image| state.details(reference, image)))
    }
}

/// What its builder (`build/fake.rs`) asks of it.
impl FakeEngine {
    /// A build begins; what it is to make is remembered under the number that is given back.
    pub(crate) async fn begin_build(&self, spec: &BuildSpec) -> Result<usize, EngineError> {
        let index = {
            let mut state = self.state();
            let files = spec.files.entries().iter().map(|file| file.path.clone()).collect();
            state.builds.push(FakeBuild { spec: spec.clone(), files, id: None });
            state.builds.len() - 1
        };
        self.enter(Verb::Build, spec.image.as_str().to_owned()).await?;
        Ok(index)
    }

    /// It went well: the image is in the store now.
    pub(crate) fn end_build(&self, index: usize, spec: &BuildSpec) -> ImageId {
        let mut state = self.state();
        let id = state.build(spec);
        state.store(LocalImage {
            id: id.clone(),
            names: spec.tags.clone(),
            digests: Vec::new(),
            labels: spec.labels.clone(),
            size: 1 + spec.text.len() as u64,
            platform: Some(spec.platform.clone()),
            identity: None,
        });
        if let Some(build) = state.builds.get_mut(index) {
            build.id = Some(id.clone());
        }
        id
    }
}

impl Containers for FakeEngine {
    async fn run(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        self.enter(Verb::Run, spec.image.familiar()).await?;
        let mut state = self.state();
        let image = state.find(&spec.image).cloned();
        state.containers.run(spec, image.as_ref())
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerState>, EngineError> {
        let subject = self.state().containers.subject(id);
        self.enter(Verb::Container, subject).await?;
        Ok(self.state().containers.state(id))
    }

    async fn exec(&self, id: &ContainerId, command: &[&str]) -> Result<ExecOutput, EngineError> {
        let subject = self.state().containers.subject(id);
        self.enter(Verb::Exec, subject).await?;
        self.state().containers.exec(id, command)
    }

    async fn logs(&self, id: &ContainerId) -> Result<Vec<(LogStream, String)>, EngineError> {
        let subject = self.state().containers.subject(id);
        self.enter(Verb::Logs, subject).await?;
        self.state().containers.logs(id)
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        let subject = self.state().containers.subject(id);
        self.enter(Verb::Stop, subject).await?;
        let takes = self.state().containers.stop(id, grace);
        tokio::time::sleep(takes).await;
        Ok(())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let subject = self.state().containers.subject(id);
        self.enter(Verb::RemoveContainer, subject).await?;
        self.state().containers.remove(id);
        Ok(())
    }

    async fn containers(&self, label: &str) -> Result<Vec<ContainerId>, EngineError> {
        self.enter(Verb::Containers, label.to_owned()).await?;
        Ok(self.state().containers.labelled(label))
    }
}

/// Everything that a build's result depends on.
fn identity(spec: &BuildSpec) -> Vec<String> {
    let mut parts = vec![spec.text.clone(), spec.platform.to_string(), format!("{:?}", spec.target)];
    parts.push(format!("{:?}{:?}", spec.build_args, spec.labels));
    parts.extend(spec.files.entries().iter().map(|file| format!("{file:?}")));
    parts
}

fn digest_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Digest::from_sha256(&hasher.finalize().into())
}
