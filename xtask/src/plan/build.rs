//! Pure: which images have to be built, in which order, and why.
//!
//! In: the graph, the hashed contexts, the store. Out: an [`Assessment`] for every image, and steps for those
//! that are not up to date. An image is up to date when its label carries the key that a build would give now.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::cache;
use super::{download, stand_ins};
use crate::model::{
    ArtifactKind, Attestations, BaseImage, BuildSpec, BuildTarget, BuilderCache, BuilderCaches, Change,
    ContextFile, ContextFiles, Digest, Image, ImageId, ImageName, ImageSource, ImageState, InputPattern,
    LocalImage, Observed, Output, Phase, Plan, Platform, Reason, Reference, RegistryPrefix, Skipped, Step,
    StepId, StepKind, labels,
};
use crate::read::fingerprint::canonical::{Parts, differing_files};
use crate::read::graph::ImageGraph;
use dockerfile::{BaseDoubt, Use};

/// A context that has been read and hashed.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// What the builder gets.
    pub files: ContextFiles,
    /// Digest over what counts; none when the context or the Dockerfile has an error, or when nobody has seen yet what
    /// it awaits.
    pub digest: Option<Digest>,
    /// What of the context its instructions and its settings read, whatever is there now.
    pub reads: Vec<InputPattern>,
    /// What of its Dockerfile not every engine's front end can read.
    pub uses: Vec<Use>,
    /// The platforms, other than the builder's, that it runs programs on, each with the line of the first `RUN`.
    pub runs: Vec<(Platform, u32)>,
    /// What of it its base images decide.
    pub base_doubts: Vec<BaseDoubt>,
    /// A file of it that is not on this machine yet (`1.2.3.zip`): nothing can be built before it is.
    pub awaits: Option<String>,
}

/// The contexts of a tree by image.
pub type Contexts = HashMap<ImageName, Prepared>;

/// Gives the files that a digest over files stood for, if this machine remembers them.
pub type Recall<'a> = &'a dyn Fn(&Digest) -> Option<Vec<ContextFile>>;

/// How one image in the store compares with the tree.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// Which image.
    pub name: ImageName,
    /// The verdict.
    pub state: ImageState,
    /// Why that verdict.
    pub reason: Reason,
    /// What its key is made of; none if it cannot be planned or is not built here.
    pub parts: Option<Parts>,
    /// The key that a build would give now.
    pub key: Option<Digest>,
    /// The store's IDs of the external bases that the key stands for.
    pub base_ids: BTreeMap<Reference, ImageId>,
}

/// Compares every image with the store, in build order. Costs nothing but comparisons.
pub fn assess(
    graph: &ImageGraph,
    contexts: &Contexts,
    observed: &Observed,
    recall: Recall<'_>,
) -> Vec<Assessment> {
    let mut keys: HashMap<ImageName, Digest> = HashMap::new();
    let mut all = Vec::with_capacity(graph.images().len());
    let mut unkeyed = Unkeyed { graph, contexts, names: HashSet::new() };
    for image in graph.images() {
        let base = |base: &BaseImage| {
            let here = observed.of_platform(platform_for(base, image));
            Some((here, graph.upstreams().find(&base.reference, here)?.1))
        };
        let identity = |named: &BaseImage| base(named).map(|(here, found)| here.identity_of(found));
        let parts = contexts.get(&image.name).and_then(|c| c.digest.as_ref()).and_then(|digest| {
            let known = image.needs.iter().all(|need| keys.contains_key(need) || is_external(graph, need));
            known
                .then(|| Parts::of(image, digest, identity, |need| need_key(graph, observed, &keys, need)))?
        });
        let counted = contexts.get(&image.name).into_iter().flat_map(|context| context.files.counted());
        let parts = parts.map(|parts| parts.with_modes(counted).with_left(stand_ins::left(image, graph)));
        let key = parts.as_ref().map(Parts::key);
        if let Some(key) = &key {
            keys.insert(image.name.clone(), key.clone());
        }
        let context = contexts.get(&image.name);
        let (state, reason) = match &image.source {
            ImageSource::External(source) => assess_external(image, source, observed),
            ImageSource::Build(_) => match (&parts, &key) {
                (Some(parts), Some(key)) => {
                    assess_built(image, parts, key, context, (graph, observed), recall)
                }
                _ => match unkeyed.because(image) {
                    Some(reason) => state_without_key(image, reason, observed),
                    None => (ImageState::Invalid, broken_because(image, contexts, graph)),
                },
            },
        };
        let ids = image
            .base_images
            .iter()
            .filter_map(|named| Some((named.reference.clone(), base(named)?.1.id.clone())));
        let base_ids = if parts.is_some() { ids.collect() } else { BTreeMap::new() };
        all.push(Assessment { name: image.name.clone(), state, reason, parts, key, base_ids });
    }
    all
}

/// Images that nothing is wrong with and that have no key yet, since nobody has seen what goes into them.
struct Unkeyed<'a> {
    graph: &'a ImageGraph,
    contexts: &'a Contexts,
    names: HashSet<&'a ImageName>,
}

impl<'a> Unkeyed<'a> {
    /// Why an image is one of them; images have to be asked about in build order.
    fn because(&mut self, image: &'a Image) -> Option<Reason> {
        let context = self.contexts.get(&image.name)?;
        let reason = match (&context.digest, &context.awaits) {
            (None, None) => return None,
            (None, Some(file)) => Reason::ArtifactMissing(file.clone()),
            (Some(_), _) => {
                let is_whole = |need: &ImageName| {
                    let has_digest = self.contexts.get(need).is_some_and(|c| c.digest.is_some());
                    has_digest || self.names.contains(need) || is_external(self.graph, need)
                };
                let awaited = image.needs.iter().find(|need| self.names.contains(*need))?;
                if !image.needs.iter().all(is_whole) {
                    return None;
                }
                Reason::Changed(vec![Change::Base(awaited.clone())])
            }
        };
        self.names.insert(&image.name);
        Some(reason)
    }
}

fn state_without_key(image: &Image, reason: Reason, observed: &Observed) -> (ImageState, Reason) {
    match observed.find(&image.reference) {
        _ if observed.capabilities.is_none() => (ImageState::Unknown, Reason::NoEngine),
        Some(_) => (ImageState::Stale, reason),
        None => (ImageState::Missing, Reason::NotBuilt),
    }
}

fn is_external(graph: &ImageGraph, name: &ImageName) -> bool {
    graph.get(name).is_some_and(|i| matches!(i.source, ImageSource::External(_)))
}

/// What an image of this tree contributes to the keys of those that build on it: its own key, or what is in the
/// external image that it renames.
fn need_key(
    graph: &ImageGraph,
    observed: &Observed,
    keys: &HashMap<ImageName, Digest>,
    need: &ImageName,
) -> Option<Digest> {
    match &graph.get(need)?.source {
        ImageSource::Build(_) => keys.get(need).cloned(),
        ImageSource::External(source) => Some(observed.identity(source)?.digest().clone()),
    }
}

fn broken_because(image: &Image, contexts: &Contexts, graph: &ImageGraph) -> Reason {
    let is_whole =
        |name: &ImageName| is_external(graph, name) || contexts.get(name).is_some_and(|c| c.digest.is_some());
    match image.needs.iter().find(|need| !is_whole(need)) {
        Some(need) if is_whole(&image.name) => Reason::NeedFails(need.clone()),
        _ => Reason::Broken,
    }
}

fn assess_external(image: &Image, source: &Reference, observed: &Observed) -> (ImageState, Reason) {
    if observed.capabilities.is_none() {
        return (ImageState::Unknown, Reason::NoEngine);
    }
    match (observed.find(source), observed.find(&image.reference)) {
        (_, None) => (ImageState::Missing, Reason::NotBuilt),
        (None, Some(_)) => (ImageState::Stale, Reason::BaseMissing(source.clone())),
        (Some(here), Some(named)) if here.id != named.id => {
            (ImageState::Stale, Reason::Changed(vec![Change::BaseImage(source.clone())]))
        }
        (Some(_), Some(named)) => match missing_name(image, named, observed) {
            Some(name) => (ImageState::Stale, Reason::NameMissing(name)),
            None => (ImageState::UpToDate, Reason::AliasesAgree),
        },
    }
}

fn assess_built(
    image: &Image,
    parts: &Parts,
    key: &Digest,
    context: Option<&Prepared>,
    (graph, observed): (&ImageGraph, &Observed),
    recall: Recall<'_>,
) -> (ImageState, Reason) {
    if observed.capabilities.is_none() {
        return (ImageState::Unknown, Reason::NoEngine);
    }
    if let Some((_, here)) = current(image, Some(key), observed) {
        return match missing_name(image, here, observed) {
            Some(name) => (ImageState::Stale, Reason::NameMissing(name)),
            None => {
                let inputs = context.map_or(0, |c| c.files.inputs().count());
                (ImageState::UpToDate, Reason::UpToDate { inputs })
            }
        };
    }
    let Some(here) = image.names().find_map(|name| observed.find(name)) else {
        return (ImageState::Missing, Reason::NotBuilt);
    };
    if here.size == 0 {
        return (ImageState::Invalid, Reason::Empty);
    }
    if !here.labels.contains_key(labels::FINGERPRINT) {
        return (ImageState::Stale, Reason::NoFingerprint);
    }
    if let Some(found) = platform_of(here).filter(|found| *found != image.platform) {
        return (ImageState::Invalid, Reason::WrongPlatform { found, wanted: image.platform.clone() });
    }
    let is_absent = |base: &&BaseImage| {
        graph.upstreams().find(&base.reference, observed.of_platform(platform_for(base, image))).is_none()
    };
    if let Some(base) = image.base_images.iter().find(is_absent) {
        return (ImageState::Stale, Reason::BaseMissing(base.reference.clone()));
    }
    let old = here.labels.get(labels::PARTS).and_then(|json| serde_json::from_str::<Parts>(json).ok());
    let changes = match old {
        None => vec![Change::KeyFormat],
        Some(old) => parts.changes_since(&old, || {
            let now: Vec<ContextFile> =
                context.map(|c| c.files.counted().cloned().collect()).unwrap_or_default();
            match recall(&old.files) {
                Some(then) => differing_files(&now, &then),
                None => parts.modes_changed_since(&old, &now).unwrap_or_else(|| vec![Change::Files]),
            }
        }),
    };
    (ImageState::Stale, Reason::Changed(changes))
}

/// What a base image is wanted for.
fn platform_for<'a>(base: &'a BaseImage, image: &'a Image) -> &'a Platform {
    base.platform.as_ref().unwrap_or(&image.platform)
}

/// The platform of an image in the store: what the engine says, else what our label says.
fn platform_of(image: &LocalImage) -> Option<Platform> {
    let labelled = || image.labels.get(labels::PLATFORM)?.parse().ok();
    image.platform.clone().or_else(labelled)
}

/// The image that a build would give now, and a name of it. Names say nothing: what was built without a registry is the
/// same with one.
pub fn current<'a>(
    image: &'a Image,
    key: Option<&Digest>,
    observed: &'a Observed,
) -> Option<(&'a Reference, &'a LocalImage)> {
    let is_current = |here: &LocalImage| {
        let has_key = here.labels.get(labels::FINGERPRINT).map(String::as_str) == key.map(Digest::as_str);
        has_key && here.size > 0 && platform_of(here).is_none_or(|found| found == image.platform)
    };
    key?;
    image.names().filter_map(|name| Some((name, observed.find(name)?))).find(|(_, here)| is_current(here))
}

/// A name that the image should have and that points elsewhere or nowhere.
fn missing_name(image: &Image, here: &LocalImage, observed: &Observed) -> Option<Reference> {
    image.names().find(|name| observed.find(name).map(|i| &i.id) != Some(&here.id)).cloned()
}

/// What the build phase is asked for.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    /// The images to bring up to date, their needs included.
    pub selected: BTreeSet<ImageName>,
    /// Rebuild without the builder's cache, whatever the fingerprints say.
    pub force: bool,
    /// Rebuild whatever the fingerprints say, with the builder's cache.
    pub skip_cache_check: bool,
    /// No registry may be asked, so a base image that is not here is not going to come.
    pub cut_off: bool,
    /// External images that nothing may be built on, and why (`--locked`).
    pub unfit: BTreeMap<Reference, Reason>,
    /// Labels that every image gets: version control, run, time.
    pub labels: BTreeMap<String, String>,
    /// Kept stages of each image that are in the store: their layers need not be made again.
    pub kept: BTreeMap<ImageName, Vec<Reference>>,
    /// What a builder without a store leaves its cache in.
    pub cache_to: Option<RegistryPrefix>,
    /// Caches of the builder's own.
    pub caches: BuilderCaches,
    /// What is stated about each image.
    pub attestations: Attestations,
}

/// The build phase. `pulls` are the planned downloads and pulls, which builds wait for.
pub fn plan(
    request: &BuildRequest,
    graph: &ImageGraph,
    contexts: &Contexts,
    assessments: &[Assessment],
    observed: &Observed,
    pulls: &Plan,
) -> Plan {
    let mut plan = Plan::default();
    let mut pulled: HashMap<&Reference, Vec<&StepId>> = HashMap::new();
    for step in &pulls.steps {
        if let StepKind::Pull { reference, .. } = &step.kind {
            pulled.entry(reference).or_default().push(&step.id);
        }
    }
    let builds = Builds { request, graph, contexts, observed, pulls, pulled };
    let mut planned: HashMap<&ImageName, StepId> = HashMap::new();
    let mut failing: BTreeSet<&ImageName> = BTreeSet::new();
    for (image, assessment) in graph.images().iter().zip(assessments) {
        if !request.selected.contains(&image.name) {
            continue;
        }
        let subject = image.name.to_string();
        let forced = request.force || (request.skip_cache_check && assessment.parts.is_some());
        let is_renamed = !forced && matches!(assessment.reason, Reason::NameMissing(_));
        let is_done = assessment.state == ImageState::UpToDate && !forced;
        let obstacle = builds.fault(image, assessment, &failing);
        let obstacle = obstacle.or_else(|| if is_done { None } else { builds.lack(image, is_renamed) });
        let skipped = match obstacle {
            Some(why) => {
                failing.insert(&image.name);
                Some(why)
            }
            None => is_done.then(|| assessment.reason.clone()),
        };
        if let Some(why) = skipped {
            plan.skipped.push(Skipped { phase: Phase::Build, subject, why });
            continue;
        }
        let (needs, after) = builds.order(image, is_renamed, &planned);
        let why = if forced { Reason::Forced } else { assessment.reason.clone() };
        let id = StepId::new(Phase::Build, &subject);
        planned.insert(&image.name, id.clone());
        let kind = builds.kind(image, assessment, &why, &planned);
        plan.steps.push(Step { id, phase: Phase::Build, subject, kind, needs, after, why });
    }
    plan
}

/// What the steps of the phase are made from.
struct Builds<'a> {
    request: &'a BuildRequest,
    graph: &'a ImageGraph,
    contexts: &'a Contexts,
    observed: &'a Observed,
    pulls: &'a Plan,
    /// Steps that pull, by what they pull.
    pulled: HashMap<&'a Reference, Vec<&'a StepId>>,
}

impl Builds<'_> {
    /// What is wrong with an image whether it is up to date or not. What is wrong with itself comes before what is wrong
    /// with others: on a cycle, one of them says so.
    fn fault(
        &self,
        image: &Image,
        assessment: &Assessment,
        failing: &BTreeSet<&ImageName>,
    ) -> Option<Reason> {
        if matches!(assessment.reason, Reason::Broken | Reason::Invalid(_) | Reason::NeedFails(_)) {
            return Some(assessment.reason.clone());
        }
        let unfit = externals(image).into_iter().find_map(|base| self.request.unfit.get(base));
        let failed = || image.needs.iter().find(|need| failing.contains(need));
        unfit.cloned().or_else(|| failed().map(|need| Reason::NeedFails(need.clone())))
    }

    /// What a build of it would lack.
    fn lack(&self, image: &Image, is_renamed: bool) -> Option<Reason> {
        let Self { graph, observed, .. } = *self;
        if let Some(base) = stand_ins::hidden(image, graph, observed, self.pulls) {
            return Some(Reason::UpstreamHidden(base.clone()));
        }
        let is_cut_off = self.request.cut_off && observed.capabilities.is_some();
        let bases = externals(image).into_iter().filter(|_| is_cut_off);
        let mut awaited = bases.filter(|base| !self.pulled.contains_key(*base));
        if let Some(why) = awaited.find_map(|base| unavailable(image, base, graph, observed)) {
            return Some(why);
        }
        if let (ImageSource::Build(target), false) = (&image.source, is_renamed)
            && let Some(lacked) = &target.lacks
        {
            return Some(Reason::Invalid(lacked.clone()));
        }
        let (file, id) = self.download(image, is_renamed)?;
        let is_planned = self.pulls.steps.iter().any(|step| step.id == id);
        (!is_planned).then(|| Reason::ArtifactMissing(file.clone()))
    }

    /// The artifact that has to come first, and the step that gets it.
    fn download(&self, image: &Image, is_renamed: bool) -> Option<(&String, StepId)> {
        let file = self.contexts.get(&image.name)?.awaits.as_ref().filter(|_| !is_renamed)?;
        Some((file, StepId::new(Phase::Download, file)))
    }

    /// The steps that it needs, and those that it only comes after.
    fn order(
        &self,
        image: &Image,
        is_renamed: bool,
        planned: &HashMap<&ImageName, StepId>,
    ) -> (Vec<StepId>, Vec<StepId>) {
        let images = image.needs.iter().filter_map(|need| planned.get(need).cloned());
        let download = self.download(image, is_renamed).map(|(_, id)| id);
        let bases = externals(image).into_iter();
        let pulls =
            bases.flat_map(|base| self.pulled.get(base).into_iter().flatten().map(|id| (*id).clone()));
        let foundations = self.graph.foundations_before(image);
        let after = foundations.iter().filter_map(|name| planned.get(name).cloned()).collect();
        (images.chain(download).chain(pulls).collect(), after)
    }

    /// What brings it up to date.
    fn kind(
        &self,
        image: &Image,
        assessment: &Assessment,
        why: &Reason,
        planned: &HashMap<&ImageName, StepId>,
    ) -> StepKind {
        let Self { graph, observed, .. } = *self;
        let mut kind = step_kind(self.request, image, assessment, self.contexts, observed, why);
        if let (StepKind::Build(spec), ImageSource::Build(target)) = (&mut kind, &image.source) {
            spec.text = stand_ins::text(&target.text, image, target, graph, observed);
            if observed.is_registry() {
                spec.tags = pushed_as(image);
                spec.contexts = stand_ins::contexts(image, graph, observed, planned);
                // An index gives it its name.
                spec.output = if image.index.is_some() { Output::PushByDigest } else { Output::Push };
            } else if observed.is_beside() {
                spec.contexts = stand_ins::lent(image, graph, observed);
                spec.output = Output::Load;
            }
        }
        kind
    }
}

/// The names that a builder pushes an image as; of a variant one in each repository of its index, of which only the
/// repository counts.
fn pushed_as(image: &Image) -> Vec<Reference> {
    let Some(index) = image.index.as_deref() else {
        return image.pushed_names().map(|(name, _)| name.clone()).collect();
    };
    let mut names = vec![image.reference.clone()];
    for (name, _) in index.pushed_names() {
        let own = name.with_tag(image.reference.tag().unwrap_or_default());
        names.extend(own.ok().filter(|_| names.iter().all(|known| known.repository() != name.repository())));
    }
    names
}

/// The artifacts that builds of the selected images are going to read.
pub fn artifacts(
    request: &BuildRequest,
    graph: &ImageGraph,
    contexts: &Contexts,
    assessments: &[Assessment],
) -> Vec<download::WantedArtifact> {
    let images = graph.images().iter().zip(assessments);
    let is_to_build = |image: &Image, assessment: &Assessment| {
        let fine = matches!(assessment.reason, Reason::NameMissing(_) | Reason::Broken | Reason::Invalid(_))
            || assessment.state == ImageState::UpToDate;
        request.selected.contains(&image.name) && (request.force || request.skip_cache_check || !fine)
    };
    let wanted = images.filter(|(image, assessment)| is_to_build(image, assessment));
    let artifacts = wanted.filter_map(|(image, _)| {
        let spec = image.base_image()?.artifact.as_deref()?;
        let is_away = contexts.get(&image.name).is_some_and(|context| context.awaits.is_some());
        let place = if is_away { download::ArtifactPlace::Away } else { download::ArtifactPlace::Here };
        Some(download::WantedArtifact { spec: spec.clone(), place })
    });
    artifacts.collect()
}

/// Everything external that is prefetched for an image.
pub fn prefetched(image: &Image) -> Vec<&Reference> {
    externals(image).into_iter().chain(&image.companions).collect()
}

/// External references that have to be in the store before the image can be made.
fn externals(image: &Image) -> Vec<&Reference> {
    let source = match &image.source {
        ImageSource::External(source) => Some(source),
        ImageSource::Build(_) => None,
    };
    source.into_iter().chain(image.base_images.iter().map(|b| &b.reference)).collect()
}

/// Why nothing can be built on an external image as it is in the store; none if it can.
fn unavailable(image: &Image, base: &Reference, graph: &ImageGraph, observed: &Observed) -> Option<Reason> {
    let named = image.base_images.iter().find(|b| b.reference == *base);
    let wanted = named.map_or(&image.platform, |named| platform_for(named, image));
    let Some((_, here)) = graph.upstreams().find(base, observed.of_platform(wanted)) else {
        return Some(Reason::BaseUnavailable(base.clone()));
    };
    let found = here.platform.clone().filter(|found| !found.serves(wanted))?;
    Some(Reason::BaseOnlyFor { base: base.clone(), found, wanted: wanted.clone() })
}

/// What brings one image up to date.
fn step_kind(
    request: &BuildRequest,
    image: &Image,
    assessment: &Assessment,
    contexts: &Contexts,
    observed: &Observed,
    why: &Reason,
) -> StepKind {
    let further = image.further_names().cloned();
    match (&image.source, why) {
        (ImageSource::External(source), _) => {
            let targets = std::iter::once(image.reference.clone()).chain(further).collect();
            let source = observed.name_here(source).unwrap_or_else(|| source.clone());
            StepKind::Tag { source, targets }
        }
        // A registry gives no further names: what is built once more comes from the builder's cache.
        (ImageSource::Build(_), Reason::NameMissing(_)) if !observed.is_registry() => {
            let here = current(image, assessment.key.as_ref(), observed);
            let source = here.map_or(&image.reference, |(name, _)| name);
            let targets = image.names().filter(|name| *name != source).cloned().collect();
            StepKind::Tag { source: source.clone(), targets }
        }
        (ImageSource::Build(target), why) => {
            let files = contexts.get(&image.name).map(|c| c.files.clone()).unwrap_or_default();
            StepKind::Build(Box::new(spec(request, image, target, assessment, files, why)))
        }
    }
}

/// What a builder would be told of an image, whatever the store holds; none for one that is only pulled and tagged.
pub fn build_spec(
    request: &BuildRequest,
    image: &Image,
    assessment: &Assessment,
    contexts: &Contexts,
) -> Option<BuildSpec> {
    let ImageSource::Build(target) = &image.source else { return None };
    let files = contexts.get(&image.name).map(|c| c.files.clone()).unwrap_or_default();
    Some(spec(request, image, target, assessment, files, &assessment.reason))
}

/// Adds labels to those that an image gets. OCI's own that its author gave it, in the Dockerfile or by `--label`, stay as
/// they are.
pub fn label(all: &mut BTreeMap<String, String>, image: &Image, more: BTreeMap<String, String>) {
    let is_authors = |name: &str| match &image.source {
        ImageSource::Build(target) => target.own_labels.contains(name) || target.labels.contains_key(name),
        ImageSource::External(_) => false,
    };
    all.extend(more.into_iter().filter(|(name, _)| !(name.starts_with(labels::OCI) && is_authors(name))));
}

fn spec(
    request: &BuildRequest,
    image: &Image,
    target: &BuildTarget,
    assessment: &Assessment,
    files: ContextFiles,
    why: &Reason,
) -> BuildSpec {
    let mut ours = BTreeMap::new();
    let mut give = |name: &str, value: String| {
        ours.insert(name.to_owned(), value);
    };
    if let (Some(key), Some(parts)) = (&assessment.key, &assessment.parts) {
        give(labels::FINGERPRINT, key.to_string());
        give(labels::BUILD_HASH, key.hex().to_owned());
        // Parts are strings and maps with string keys: serialising them cannot fail.
        give(labels::PARTS, serde_json::to_string(parts).unwrap_or_default());
    }
    give(labels::PLATFORM, image.platform.to_string());
    give(labels::BUILD_REASON, why.to_string());
    give(labels::IMAGE, image.name.image().to_string());
    give(labels::TITLE, image.name.image().to_string());
    match image.base_image() {
        Some(facts) => {
            give(labels::VERSION, facts.version.clone());
            if facts.artifact.as_ref().is_some_and(|artifact| artifact.kind == ArtifactKind::Sample) {
                give(labels::ARTIFACT, "sample".to_owned());
            }
        }
        None => {
            if let Some(tag) = image.known_reference().tag() {
                give(labels::VERSION, tag.to_owned());
            }
        }
    }
    let mut all = target.labels.clone();
    label(&mut all, image, request.labels.clone());
    label(&mut all, image, ours);
    let kept = || request.kept.get(&image.name).cloned().unwrap_or_default();
    BuildSpec {
        tags: image.names().cloned().collect(),
        attestations: request.attestations,
        labels: all,
        no_cache: request.force,
        cache_from: if request.force { Vec::new() } else { kept() },
        cache_to: request.cache_to.as_ref().and_then(|cache| cache::of_builder(cache, image)),
        caches: caches_of(request, image),
        ..BuildSpec::of(image, target, files)
    }
}

fn caches_of(request: &BuildRequest, image: &Image) -> BuilderCaches {
    let of_image = |caches: &[BuilderCache]| {
        caches.iter().map(|cache| cache.of_image(&image.name, &image.platform)).collect()
    };
    let BuilderCaches { from, to } = &request.caches;
    BuilderCaches { from: if request.force { Vec::new() } else { of_image(from) }, to: of_image(to) }
}
