//! What is to be done: steps, what they need and why. Planning makes them, one executor does them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    ArtifactSpec, BuildSecrets, BuildTarget, BuilderCaches, BundleStep, ContainerId, ContextFiles, Digest,
    Image, ImageId, ImageName, IndexSpec, LayoutContext, LockedImage, Observed, Phase, Platform, Reason,
    Reference, RegistrySpec, SmokeSpec, TestCommand, labels,
};

/// A step's name, unique in its plan: `build:ai-infra-backend`. Also the stem of its log file's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// `phase:subject`.
    pub fn new(phase: Phase, subject: &str) -> Self {
        Self(format!("{}:{subject}", phase.name()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as a file name: everything but letters, digits, `.`, `_` and `-` becomes `-`.
    pub fn file_stem(&self) -> String {
        self.0.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that one command is going to do, in an order that respects `needs`.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What is done.
    pub steps: Vec<Step>,
    /// What is not done, and why not.
    pub skipped: Vec<Skipped>,
    /// In which order phases are run, and what is planned again before them. What only adds to a plan has none.
    pub stages: Vec<Stage>,
}

/// A phase as it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Which.
    pub phase: Phase,
    /// What is planned again before it.
    pub replan: Option<Replan>,
    /// What a failure in it means for what comes after.
    pub on_failure: OnFailure,
}

/// What is planned again in the middle of a run, since only what was done before it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replan {
    /// Pulls that images which were just pulled ask for (`ONBUILD COPY --from=…`), and how base images are named then.
    FurtherPulls,
    /// All that is left, once base images and artifacts are here or are known not to be: what stands on them, and their
    /// keys, are final then.
    Builds,
    /// Which stages are kept: those of what is in the store now.
    Keeps,
    /// What is verified: nothing of what could not be built.
    WhatWasBuilt,
    /// What goes into a bundle: what is in the store now. Nothing, where something went wrong before.
    Save,
    /// Whether services are started: not what could not be built.
    Start,
}

/// What a failed step means for the rest of its run. What needs it is never done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// All else goes on.
    GoOn,
    /// The phase goes on, and is the last one.
    EndAfterPhase,
    /// Nothing else is started.
    EndAtOnce,
}

/// Whether the first failure stops the start of further steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailFast {
    /// It does.
    Yes,
    /// What does not depend on it goes on.
    No,
}

impl Plan {
    /// Its phases, in the order in which they are run.
    pub fn phases(&self) -> impl Iterator<Item = Phase> {
        let before = std::iter::once(None).chain(self.stages.iter().map(|stage| Some(stage.phase)));
        let is_new = |(stage, before): &(&Stage, Option<Phase>)| *before != Some(stage.phase);
        self.stages.iter().zip(before).filter(is_new).map(|(stage, _)| stage.phase)
    }

    /// Adds what another planner found.
    pub fn extend(&mut self, other: Self) {
        append(&mut self.steps, other.steps);
        append(&mut self.skipped, other.skipped);
    }
}

/// Without room to spare: plans of thousands of steps are put together from a few parts, and then stay as they are.
fn append<T>(all: &mut Vec<T>, more: Vec<T>) {
    if all.is_empty() {
        *all = more;
    } else {
        all.reserve_exact(more.len());
        all.extend(more);
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Step {
    /// Unique in the plan.
    pub id: StepId,
    /// Which phase shows it.
    pub phase: Phase,
    /// What it is about, as people name it: an image, a reference, a path.
    pub subject: String,
    /// What to do.
    pub kind: StepKind,
    /// Steps that have to succeed first; if one of them fails, this one is skipped.
    pub needs: Vec<StepId>,
    /// Steps that have to be over first, however they ended (foundation images before dependent ones).
    pub after: Vec<StepId>,
    /// Why it is done at all.
    pub why: Reason,
}

impl Step {
    /// A step that is called by its phase and subject, and waits for no other.
    pub fn new(phase: Phase, subject: impl Into<String>, kind: StepKind, why: Reason) -> Self {
        let subject = subject.into();
        let id = StepId::new(phase, &subject);
        Self { id, phase, subject, kind, needs: Vec::new(), after: Vec::new(), why }
    }
}

/// One thing that is not done.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// Which phase would have done it.
    pub phase: Phase,
    /// What it is about.
    pub subject: String,
    /// Why not.
    pub why: Reason,
}

impl Skipped {
    /// Something of a phase that is not done.
    pub fn new(phase: Phase, subject: impl Into<String>, why: Reason) -> Self {
        Self { phase, subject: subject.into(), why }
    }
}

/// What a step does; each is one arm of `execute/step.rs`.
#[derive(Clone, Debug)]
pub enum StepKind {
    /// Get an artifact into the cache, and note its digest in the lock file when it is seen for the first time.
    Download(Box<ArtifactSpec>),
    /// Get an external image, from the first source that gives it, and make it answer to `reference`.
    Pull {
        /// The name that the Dockerfiles use.
        reference: Reference,
        /// Which platform of it.
        platform: Platform,
        /// Where to try, in order.
        sources: Vec<PullSource>,
        /// Whether what is here under the name may stand for what a registry gives.
        remove_first: RemoveFirst,
    },
    /// Give an image of the store further names, taking them from other images if need be.
    Tag {
        /// A name that the store has (or has once `needs` are done).
        source: Reference,
        /// The further names.
        targets: Vec<Reference>,
    },
    /// Write a text file, whole or not at all.
    WriteFile {
        /// Relative to the root, with `/`.
        path: String,
        /// The new text.
        contents: String,
        /// The text that it replaces; none for a new file. Anything else found there is left alone.
        was: Option<String>,
        /// Unix permission bits for the file; none leaves them as they are (0644 for a new file).
        mode: Option<u32>,
    },
    /// Build an image.
    Build(Box<BuildSpec>),
    /// Give an image that is made for several platforms its names.
    Index(IndexSpec),
    /// Compare the store with what was planned.
    Verify(Expectation),
    /// Push an image to the registry in its name.
    Push {
        /// What to push.
        reference: Reference,
        /// Whose image gets the name first, where it lacks it.
        from: Option<Reference>,
        /// Whether it is looked up again.
        proof: PushProof,
    },
    /// Start a registry on this machine.
    StartRegistry(RegistrySpec),
    /// Take a registry of ours away, with all that it stored.
    StopRegistry {
        /// Its folder, relative to the root.
        home: String,
    },
    /// Run an image and look at it.
    Smoke(Box<SmokeSpec>),
    /// Run the test of an image, to its end.
    RunTest(Box<TestSpec>),
    /// Compare what a registry has under a name with what was pushed, and pull it back by its digest.
    Confirm {
        /// What was pushed.
        reference: Reference,
    },
    /// Take a name away; the image goes with its last one.
    Untag {
        /// Which.
        reference: Reference,
    },
    /// Give a name back to an image that has another one meanwhile.
    GiveBack {
        /// The name.
        reference: Reference,
        /// What the image is called meanwhile.
        from: Reference,
    },
    /// Remove an image that has no name.
    RemoveImage {
        /// Which.
        id: ImageId,
    },
    /// Remove files and folders of ours.
    RemoveFiles {
        /// Relative to the root, or absolute. What is gone already is fine.
        paths: Vec<String>,
    },
    /// Remove a container of ours; what it printed is kept first.
    RemoveContainer {
        /// Which.
        id: ContainerId,
    },
    /// Do something with a bundle.
    Bundle(BundleStep),
    /// Stop services of compose files, and remove their containers.
    ComposeDown(ComposeCall),
    /// Start services of compose files from images that are here, and wait until they are well.
    ComposeUp {
        /// Which.
        call: ComposeCall,
        /// For how long at most.
        wait: Duration,
    },
}

/// What compose is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeCall {
    /// The files, relative to the root; none where compose finds them itself.
    pub files: Vec<String>,
    /// The services; none is all.
    pub services: Vec<String>,
    /// What `IMAGE_TAG` is in the files.
    pub tag: String,
    /// What leads compose to the engine: names and values of variables.
    pub variables: Vec<(&'static str, String)>,
}

impl StepKind {
    /// The kebab-case name that the plan's JSON carries.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Download(_) => "download",
            Self::Pull { .. } => "pull",
            Self::Tag { .. } => "tag",
            Self::WriteFile { .. } => "write-file",
            Self::Build(_) => "build",
            Self::Index(_) => "index",
            Self::Verify(_) => "verify",
            Self::Push { .. } => "push",
            Self::StartRegistry(_) => "start-registry",
            Self::StopRegistry { .. } => "stop-registry",
            Self::Smoke(_) => "smoke",
            Self::RunTest(_) => "run-test",
            Self::Confirm { .. } => "confirm",
            Self::Untag { .. } => "untag",
            Self::GiveBack { .. } => "give-back",
            Self::RemoveImage { .. } => "remove-image",
            Self::RemoveFiles { .. } => "remove-files",
            Self::RemoveContainer { .. } => "remove-container",
            Self::Bundle(step) => step.name(),
            Self::ComposeDown(_) => "compose-down",
            Self::ComposeUp { .. } => "compose-up",
        }
    }

    /// Whether it puts back what it has done before it ends when it is interrupted, so that it is waited for.
    pub fn puts_back(&self) -> bool {
        matches!(self, Self::Bundle(BundleStep::Load { .. }) | Self::RunTest(_))
    }
}

/// A test that is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSpec {
    /// Which image of the tree it is of.
    pub image: ImageName,
    /// The name by which it is run.
    pub reference: Reference,
    /// What is run in it.
    pub command: TestCommand,
    /// What is on its container.
    pub labels: BTreeMap<String, String>,
    /// What it is known by once it has passed.
    pub key: Option<Digest>,
}

/// Whether a pull begins with nothing. What only prepares a step, or proves what it did, is a part of it and no step of its
/// own: a run counts what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveFirst {
    /// The name is taken away first.
    Yes,
    /// It is not.
    No,
}

/// Whether a push is over only when the registry has what was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushProof {
    /// It is pulled back by its digest and compared.
    PulledBack,
    /// The registry's word is taken.
    Word,
}

/// One place to get an external image from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullSource {
    /// Pull this reference: the origin itself, a mirror's or the internal registry's name for it.
    Registry(Reference),
    /// Pull this reference, and take it only if it is the locked image: the internal registry may have it under
    /// another digest, which says nothing of the image itself.
    IfLocked(Reference, Box<LockedImage>),
    /// Make it on this machine (`--bootstrap` only).
    Recipe(Recipe),
}

impl PullSource {
    /// What a registry is asked for; none where it is made here.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Registry(name) | Self::IfLocked(name, _) => Some(name),
            Self::Recipe(_) => None,
        }
    }
}

/// How to make a base image that no registry gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Recipe {
    /// A Debian (or Ubuntu) root folder by debootstrap, imported as one layer.
    Debootstrap {
        /// `bookworm`
        suite: String,
        /// Where to get packages from; none is debootstrap's own default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mirror: Option<String>,
        /// `minbase`
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<String>,
        /// Packages beyond the variant's.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        include: Vec<String>,
    },
}

/// All that a builder has to know to build one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSpec {
    /// Which image.
    pub image: ImageName,
    /// Every name that the result gets.
    pub tags: Vec<Reference>,
    /// The Dockerfile's path relative to the root, for messages.
    pub dockerfile: String,
    /// The Dockerfile's text; the builder never reads it from disk again.
    pub text: String,
    /// The context folder relative to the root; `.` is the root.
    pub context: String,
    /// The entries of the context that the builder gets; nothing else is sent.
    pub files: ContextFiles,
    /// The stage to build; none is the last.
    pub target: Option<String>,
    /// What it runs on.
    pub platform: Platform,
    /// Build args that matter and are part of the key.
    pub build_args: BTreeMap<String, String>,
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// The network that instructions run in; none is the engine's default.
    pub network: Option<String>,
    /// What it may ask for.
    pub secrets: BuildSecrets,
    /// What names in the text stand for, for a builder that has no store: in registries, pinned or pushed by this very run;
    /// with [`Output::Load`], in the engine's store.
    pub contexts: BTreeMap<Reference, Reference>,
    /// Images in folders that the text names.
    pub layouts: Vec<LayoutContext>,
    /// Where the image goes.
    pub output: Output,
    /// What is stated about it.
    pub attestations: Attestations,
    /// Seconds since 1970 that stand for all times in the image, those of its files included; none leaves them as they are.
    pub epoch: Option<i64>,
    /// Ignore the builder's cache.
    pub no_cache: bool,
    /// Images that may serve as cache.
    pub cache_from: Vec<Reference>,
    /// What gets all that was built on the way, as cache; only a builder that is no engine knows of this.
    pub cache_to: Option<Reference>,
    /// Caches of the builder's own.
    pub caches: BuilderCaches,
    /// Whether the image can serve as cache itself, wherever it is.
    pub inline_cache: InlineCache,
}

impl BuildSpec {
    /// What an image's own target says, under no name and with the builder's cache.
    pub fn of(image: &Image, target: &BuildTarget, files: ContextFiles) -> Self {
        Self {
            image: image.name.clone(),
            tags: Vec::new(),
            dockerfile: target.dockerfile.clone(),
            text: target.text.clone(),
            context: target.context.clone(),
            files,
            target: target.target.clone(),
            platform: image.platform.clone(),
            build_args: target.build_args.clone(),
            labels: BTreeMap::new(),
            network: target.network.clone(),
            secrets: target.secrets.clone(),
            contexts: BTreeMap::new(),
            layouts: target.layouts.clone(),
            output: Output::Store,
            attestations: Attestations::default(),
            epoch: None,
            no_cache: false,
            cache_from: Vec::new(),
            cache_to: None,
            caches: BuilderCaches::default(),
            inline_cache: InlineCache::No,
        }
    }
}

/// Where what is built goes, under its names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Into the store of the engine that builds.
    #[default]
    Store,
    /// To the registries in the names.
    Push,
    /// To the repository of the first name, by digest alone.
    PushByDigest,
    /// Into the store of an engine, from a builder that is no part of it.
    Load,
}

/// What a build states about its image, beside it in the index (in-toto attestations; docs.docker.com, "Build
/// attestations").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attestations {
    /// How it was built.
    pub provenance: Option<Provenance>,
    /// What is in it.
    pub sbom: bool,
}

/// How much is told of how an image was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// Materials and times.
    Min,
    /// All: build args and the Dockerfile too.
    Max,
}

impl std::str::FromStr for Provenance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // `mode=max` is how docker has it.
        match text.strip_prefix("mode=").unwrap_or(text) {
            "min" => Ok(Self::Min),
            "max" => Ok(Self::Max),
            _ => Err(format!("`{text}` is neither `min` nor `max`")),
        }
    }
}

/// Whether an image carries what a builder has to know to find its layers again (BuildKit's inline cache: some
/// kilobytes in its config).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InlineCache {
    /// It does.
    Yes,
    /// It does, and is for nothing else: a store that keeps layers packed leaves them so. Others do not know of this.
    Packed,
    /// It does not.
    #[default]
    No,
}

/// What verify looks for in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Every name that has to point to the image.
    pub names: Vec<Reference>,
    /// The platform that it has to have.
    pub platform: Platform,
    /// The fingerprint in its label; none for an image that is pulled and tagged.
    pub key: Option<Digest>,
    /// The image IDs of external bases that the fingerprint stands for. A name that moved while the image was built
    /// makes its fingerprint a lie.
    pub bases: Vec<(Reference, ImageId)>,
    /// Bytes above which it is so large that somebody should know; none is any size.
    pub size_limit: Option<u64>,
}

impl Expectation {
    /// What is wrong with an image, in words; none when it is as expected.
    pub fn unmet_in(&self, observed: &Observed) -> Option<String> {
        let (first, further) = self.names.split_first()?;
        let Some(image) = observed.find(first) else {
            return Some(format!("{} is not in the store", first.familiar()));
        };
        if let Some(name) = further.iter().find(|name| observed.find(name).map(|i| &i.id) != Some(&image.id))
        {
            return Some(format!("{} is not the image that {} is", name.familiar(), first.familiar()));
        }
        if image.size == 0 {
            return Some(format!("{} has size 0", first.familiar()));
        }
        let Some(key) = &self.key else { return None };
        let labelled = image.labels.get(labels::PLATFORM).and_then(|text| text.parse().ok());
        if let Some(found) = image.platform.clone().or(labelled).filter(|found| *found != self.platform) {
            return Some(format!("{} is for {found}, not {}", first.familiar(), self.platform));
        }
        let moved = self.bases.iter().find_map(|(base, planned)| {
            let found = observed.find(base).map(|i| &i.id);
            (found != Some(planned)).then_some((base, planned, found))
        });
        if let Some((base, planned, found)) = moved {
            let now = found.map_or_else(|| "gone".to_owned(), |id| id.short().to_owned());
            return Some(format!(
                "its base {} was {} when the build was planned and is {now} now; run the command again",
                base.familiar(),
                planned.short(),
            ));
        }
        match image.labels.get(labels::FINGERPRINT) {
            Some(found) if found == key.as_str() => None,
            Some(_) => {
                Some(format!("{} was built from something else than is planned now", first.familiar()))
            }
            None => Some(format!("{} has no fingerprint: xtask did not build it", first.familiar())),
        }
    }
}
