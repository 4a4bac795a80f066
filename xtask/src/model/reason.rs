//! Why a thing is done or not done. Every step, skip and cache miss carries one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Diagnostic, ErrorKind, Failure, ImageId, ImageName, Outcome, Phase, Platform, Reference};

/// Why. `Display` is the text that screens show in parentheses; events carry both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "of", rename_all = "kebab-case")]
pub enum Reason {
    // -- pulls
    /// The store lacks it.
    NotInStore,
    /// The store has it.
    InStore,
    /// The store has it under another of its names; alias gives it this one.
    OtherName(Reference),
    /// The store has it for another platform, and nobody may be asked for the right one.
    OnlyFor {
        /// What the store has.
        found: Platform,
        /// What is asked for.
        wanted: Platform,
    },
    /// The store has it for another platform.
    WrongPlatform {
        /// What the store has.
        found: Platform,
        /// What is asked for.
        wanted: Platform,
    },
    /// It is missing and no network may be touched.
    Offline,
    /// It is missing, and the internal network has no registry to ask.
    NoInternalRegistry,
    /// The store has it, and its tag stands for another image by now.
    TagMoved {
        /// What is here, for people.
        from: String,
        /// What the tag stands for.
        to: String,
        /// Who says so.
        registry: String,
    },
    /// The store has what its tag stands for.
    TagUnmoved {
        /// What that is, for people.
        is: String,
        /// Who says so.
        registry: String,
    },
    /// The store has it, and nobody says whether its tag moved: why.
    TagUnknown(String),
    // -- the lock of images
    /// The store lacks what this lock says.
    NotInStoreLocked {
        /// The lock's file and line.
        lock: String,
        /// What is locked, for people.
        locked: String,
    },
    /// The lock says nothing of it.
    NotLocked {
        /// The lock's file.
        lock: String,
    },
    /// A name of it stands for another image than the lock says.
    NotAsLocked {
        /// The name.
        name: Reference,
        /// What it stands for, for people.
        found: String,
        /// The lock's file and line.
        lock: String,
        /// What is locked, for people.
        locked: String,
    },
    /// The locked image is missing, and nothing is going to bring it.
    LockedMissing {
        /// What is missing.
        name: Reference,
        /// The lock's file and line.
        lock: String,
        /// What is locked, for people.
        locked: String,
    },
    // -- artifacts
    /// The cache lacks it.
    NotInCache,
    /// The cache has it.
    InCache,
    /// The cache has it, but this lock file says nothing of it.
    ArtifactNotLocked(String),
    /// The cache lacks it, and no network may be touched.
    ArtifactUnavailable,
    /// The sample stands in for it.
    SampleArtifact,
    /// The file names a version that is not the default one any more.
    NamesVersion {
        /// Which.
        version: String,
        /// In how many lines.
        places: usize,
    },
    // -- aliases
    /// The name is missing; another name of the same image is there.
    AliasMissing {
        /// The name that makes it.
        from: Reference,
        /// The preferred names that were not there.
        fell_back_past: Vec<Reference>,
    },
    /// All names are there and agree.
    AliasesAgree,
    /// Two names point to different images.
    AliasConflict {
        /// The preferred name and its image.
        winner: (Reference, ImageId),
        /// The other name and its image.
        loser: (Reference, ImageId),
    },
    /// The name points to another image than the preferred name, and `--fix` was given.
    AliasFixed {
        /// The preferred name.
        winner: Reference,
        /// The image that the name pointed to.
        replaced: ImageId,
    },
    /// No name of it is here, and the pull that would bring it is not done.
    NotPulled,
    /// Pinned by digest without a tag: there is no name to alias.
    DigestOnly,
    /// Two base images want the same alias.
    AliasClash {
        /// The one reference.
        one: Reference,
        /// The other.
        other: Reference,
    },
    // -- files
    /// The file does not exist yet.
    FileMissing,
    /// The text differs.
    TextChanged,
    /// The text is as it should be.
    Unchanged,
    /// A template of another program.
    NotOurs,
    /// The repository has it, as somebody else wrote it.
    Committed,
    /// `.env` lacks these keys.
    KeysMissing(Vec<String>),
    // -- builds
    /// No image of that name in the store.
    NotBuilt,
    /// There, but without a fingerprint of ours.
    NoFingerprint,
    /// There, but of size 0.
    Empty,
    /// Something that it is made of changed.
    Changed(Vec<Change>),
    /// A base image that is not in the store yet.
    BaseMissing(Reference),
    /// `--force`.
    Forced,
    /// Its test has not passed yet, as things are now.
    NotPassed,
    /// Its test has passed, and nothing has changed since.
    TestPassed {
        /// When.
        at: String,
    },
    /// A base image is missing and nobody may be asked for it.
    BaseUnavailable(Reference),
    /// An image of this tree has the name of the base image that it extends, and that is here under no other name.
    UpstreamHidden(Reference),
    /// A base image is here, but for another platform, and nobody may be asked for the right one.
    BaseOnlyFor {
        /// Which.
        base: Reference,
        /// What it is here for.
        found: Platform,
        /// What it is wanted for.
        wanted: Platform,
    },
    /// A file that goes into it (`1.2.3.zip`) is not on this machine.
    ArtifactMissing(String),
    /// An image that it builds on cannot be built.
    NeedFails(ImageName),
    /// Everything that it is made of is as it was.
    UpToDate {
        /// How many files were compared.
        inputs: usize,
    },
    /// The Dockerfile, or something that it needs, is broken; the diagnostics say what.
    Broken,
    /// The same, with the first thing that is wrong.
    Invalid(Box<Diagnostic>),
    /// It is not in the store, so it cannot be pushed.
    NothingToPush(ImageName),
    /// Its registry may not be asked, and why not.
    PushForbidden(String),
    /// Nobody to ask.
    NoEngine,
    /// A name that the image should have is missing.
    NameMissing(Reference),
    // -- a registry as cache
    /// The registry was never given it.
    NotPushed,
    /// The registry has been given it.
    InRegistry,
    /// The registry may not be asked, and why not.
    CacheNotAsked(String),
    // -- the rest
    /// The image that it is a stage of was built since.
    ImageBuiltSince(ImageName),
    /// Was just built, so look at it.
    Built,
    /// Asked for on the command line.
    Asked,
    // -- bundles
    /// A bundle needs it, and its blobs are not at hand before the engine has given them.
    GoesAlong,
    /// Nothing of a bundle is believed before all of it was read.
    NotProven,
    // -- cleaning
    /// It was built again, or its name went to another image.
    Superseded(String),
    /// No image of the tree has this stage.
    StageUnused,
    /// No image of the tree is called that any more.
    ServiceGone(String),
    /// The tree makes it, but with another tag now.
    OtherTag,
    /// Built so many days ago.
    Old {
        /// Days.
        days: u64,
    },
    /// A run that is over left it.
    LeftBehind,
    /// Older than the last runs, of which so many are kept.
    BeyondKept(usize),
    /// It is made again when it is needed.
    Remade,
    /// Nothing that is here refers to it.
    Unreferenced,
    /// Whether it is needed cannot be told while something is wrong with the tree: what.
    TreeBroken(String),
    /// Somebody uses it: who.
    InUse(String),
    /// Not among what `--only` and `--skip` leave.
    NotSelected,
}

/// One thing that differs from what an image was built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "of", rename_all = "kebab-case")]
pub enum Change {
    /// A context file's content.
    Content(String),
    /// A context file's permission bits.
    Mode {
        /// Which.
        path: String,
        /// What they were.
        then: u32,
        /// What they are.
        now: u32,
    },
    /// A context file that was not there.
    Added(String),
    /// A context file that is gone.
    Removed(String),
    /// Some files, when the list of then is not on this machine.
    Files,
    /// The reachable part of the Dockerfile.
    Dockerfile,
    /// The stage.
    Target,
    /// The platform.
    Platform,
    /// A build arg, by name only: values may be secret.
    BuildArg(String),
    /// An external base image.
    BaseImage(Reference),
    /// An image of this tree that it builds on.
    Base(ImageName),
    /// How keys are computed changed between two versions of this program.
    KeyFormat,
}

/// How something ends that is not done.
enum Ending {
    /// As a failure, of this kind; none is the kind that its phase has.
    Failed(Option<ErrorKind>),
    Skipped,
    Fine,
}

impl Reason {
    /// How something ends that is not done for this reason. Each reason says so itself: one that was forgotten would pass
    /// for a success, or for another failure.
    #[deny(clippy::wildcard_enum_match_arm)]
    fn ending(&self) -> Ending {
        match self {
            Self::Broken | Self::Invalid(_) | Self::AliasClash { .. } => {
                Ending::Failed(Some(ErrorKind::SourceInvalid))
            }
            Self::NotLocked { .. } | Self::NotAsLocked { .. } => Ending::Failed(Some(ErrorKind::NotLocked)),
            Self::LockedMissing { .. }
            | Self::NothingToPush(_)
            | Self::BaseUnavailable(_)
            | Self::UpstreamHidden(_)
            | Self::BaseOnlyFor { .. }
            | Self::OnlyFor { .. }
            | Self::PushForbidden(_)
            | Self::ArtifactMissing(_)
            | Self::Offline
            | Self::ArtifactUnavailable
            | Self::NoInternalRegistry => Ending::Failed(Some(ErrorKind::NotHere)),
            Self::NotInStore
            | Self::NotInStoreLocked { .. }
            | Self::WrongPlatform { .. }
            | Self::TagUnknown(_)
            | Self::AliasConflict { .. } => Ending::Failed(None),
            Self::NeedFails(_)
            | Self::CacheNotAsked(_)
            | Self::NotSelected
            | Self::NotPulled
            | Self::DigestOnly
            | Self::NoEngine => Ending::Skipped,
            // What is asked for or missing is a reason to do something; where nothing is done for it, nothing is owed.
            Self::InStore
            | Self::OtherName(_)
            | Self::TagMoved { .. }
            | Self::TagUnmoved { .. }
            | Self::NotInCache
            | Self::InCache
            | Self::ArtifactNotLocked(_)
            | Self::SampleArtifact
            | Self::NamesVersion { .. }
            | Self::AliasMissing { .. }
            | Self::AliasesAgree
            | Self::AliasFixed { .. }
            | Self::FileMissing
            | Self::TextChanged
            | Self::Unchanged
            | Self::NotOurs
            | Self::Committed
            | Self::KeysMissing(_)
            | Self::NotBuilt
            | Self::NoFingerprint
            | Self::Empty
            | Self::Changed(_)
            | Self::BaseMissing(_)
            | Self::Forced
            | Self::NotPassed
            | Self::TestPassed { .. }
            | Self::UpToDate { .. }
            | Self::NameMissing(_)
            | Self::NotPushed
            | Self::InRegistry
            | Self::ImageBuiltSince(_)
            | Self::Built
            | Self::Asked
            | Self::GoesAlong
            | Self::NotProven
            | Self::Superseded(_)
            | Self::StageUnused
            | Self::ServiceGone(_)
            | Self::OtherTag
            | Self::Old { .. }
            | Self::LeftBehind
            | Self::BeyondKept(_)
            | Self::Remade
            | Self::Unreferenced
            | Self::TreeBroken(_)
            | Self::InUse(_) => Ending::Fine,
        }
    }

    /// How something ends that is not done for this reason.
    pub fn outcome(&self) -> Outcome {
        match self.ending() {
            Ending::Failed(_) => Outcome::Failed,
            Ending::Skipped => Outcome::Skipped,
            Ending::Fine => Outcome::UpToDate,
        }
    }

    /// The failure of something that is not done for this reason; none where that is fine.
    pub fn failure(&self, phase: Phase, subject: &str) -> Option<Failure> {
        let Ending::Failed(kind) = self.ending() else { return None };
        let place = match self {
            Self::Invalid(found) => Some(found.place()),
            _ => None,
        };
        let kind = kind.unwrap_or_else(|| phase.failure_kind());
        Some(Failure { place, ..Failure::of(kind, phase, subject, &self.to_string()) })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(path) => write!(f, "source changed: {path}"),
            Self::Mode { path, then, now } => write!(f, "mode changed: {path} ({then:o} to {now:o})"),
            Self::Added(path) => write!(f, "source added: {path}"),
            Self::Removed(path) => write!(f, "source removed: {path}"),
            Self::Files => f.write_str("sources changed"),
            Self::Dockerfile => f.write_str("Dockerfile changed"),
            Self::Target => f.write_str("target changed"),
            Self::Platform => f.write_str("platform changed"),
            Self::BuildArg(name) => write!(f, "build arg changed: {name}"),
            Self::BaseImage(reference) => write!(f, "base image changed: {}", reference.familiar()),
            Self::Base(name) => write!(f, "base changed: {name}"),
            Self::KeyFormat => f.write_str("built by another version of xtask"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInStore => f.write_str("not in the local store"),
            Self::InStore => f.write_str("already here"),
            Self::OtherName(name) => write!(f, "already here as {}", name.familiar()),
            Self::WrongPlatform { found, wanted } => write!(f, "is {found}, wanted {wanted}"),
            Self::OnlyFor { found, wanted } => {
                write!(f, "here for {found} only, and there is no registry to ask for {wanted}")
            }
            Self::Offline => f.write_str("missing, and --offline forbids to pull it"),
            Self::NoInternalRegistry => {
                f.write_str("missing, and the internal network has no registry: set INTERNAL_REGISTRY")
            }
            Self::TagMoved { from, to, registry } => {
                write!(f, "its tag moved at {registry}: {from} -> {to}")
            }
            Self::TagUnmoved { is, registry } => write!(f, "already here, its tag is {is} at {registry} too"),
            Self::TagUnknown(why) => write!(f, "kept as it is, nobody says whether its tag moved: {why}"),
            Self::NotInStoreLocked { lock, locked } => {
                write!(f, "not in the local store, {lock} says {locked}")
            }
            Self::NotLocked { lock } => write!(f, "not in {lock}"),
            Self::NotAsLocked { name, found, lock, locked } => {
                write!(f, "{} is {found} here, {lock} says {locked}", name.familiar())
            }
            Self::LockedMissing { name, lock, locked } => write!(
                f,
                "{} is not here, and --locked takes nothing but what {lock} says, {locked}",
                name.familiar()
            ),
            Self::NotInCache => f.write_str("not in the cache"),
            Self::InCache => f.write_str("in the cache"),
            Self::ArtifactNotLocked(lock_file) => write!(f, "in the cache, but not in {lock_file} yet"),
            Self::ArtifactUnavailable => {
                f.write_str(
                "not in the cache, and --offline forbids to download it: run once without it, or carry the file \
                 to $TMPDIR/fit-framework-cache",
            )
            }
            Self::SampleArtifact => f.write_str("sample artifact, not the release"),
            Self::NamesVersion { version, places: 1 } => write!(f, "names {version} in 1 line"),
            Self::NamesVersion { version, places } => write!(f, "names {version} in {places} lines"),
            Self::AliasMissing { from, fell_back_past } => {
                write!(f, "missing, made from {}", from.familiar())?;
                match fell_back_past.first() {
                    Some(preferred) => write!(f, ", since {} is not here", preferred.familiar()),
                    None => Ok(()),
                }
            }
            Self::AliasesAgree => f.write_str("all names agree"),
            Self::AliasConflict { winner, loser } => write!(
                f,
                "conflict: {} is {}, {} is {}; --fix makes {} win",
                winner.0.familiar(),
                winner.1.short(),
                loser.0.familiar(),
                loser.1.short(),
                winner.0.familiar()
            ),
            Self::AliasFixed { winner, replaced } => {
                write!(f, "pointed to {}, now follows {}", replaced.short(), winner.familiar())
            }
            Self::NotPulled => f.write_str("not here, and not pulled"),
            Self::DigestOnly => f.write_str("pinned by digest without a tag, so it has no aliases"),
            Self::AliasClash { one, other } => write!(f, "{one} and {other} want the same alias"),
            Self::FileMissing => f.write_str("does not exist yet"),
            Self::TextChanged => f.write_str("text differs"),
            Self::Unchanged => f.write_str("unchanged"),
            Self::NotOurs => f.write_str("asks for no name that is known: another program's"),
            Self::Committed => f.write_str("committed, and not what its template renders to"),
            Self::KeysMissing(keys) => write!(f, "lacks {}", keys.join(", ")),
            Self::NotBuilt => f.write_str("not built yet"),
            Self::NoFingerprint => f.write_str("has no fingerprint: not built by xtask"),
            Self::Empty => f.write_str("has size 0"),
            Self::Changed(changes) => match changes.split_first() {
                None => f.write_str("changed"),
                Some((first, [])) => write!(f, "{first}"),
                Some((first, rest)) => write!(f, "{first}, and {} more", rest.len()),
            },
            Self::BaseMissing(reference) => write!(f, "base image {} is not here yet", reference.familiar()),
            Self::BaseUnavailable(reference) => {
                write!(f, "base image {} is missing, and there is no registry to ask", reference.familiar())
            }
            Self::UpstreamHidden(reference) => write!(
                f,
                "an image of this tree is named {} as the image that it extends, and that one is here under no other \
                 name: `prefix` in .config/xtask.toml, or `image` in the service's service.toml, keeps them apart",
                reference.familiar()
            ),
            Self::BaseOnlyFor { base, found, wanted } => {
                write!(f, "base image {} is here for {found} only, and there is no registry to ask for {wanted}", base.familiar())
            }
            Self::PushForbidden(why) => f.write_str(why),
            Self::ArtifactMissing(file) => write!(f, "artifact {file} is not here"),
            Self::NeedFails(name) => write!(f, "needs {name}, which cannot be built"),
            Self::Forced => f.write_str("--force"),
            Self::NotPassed => f.write_str("not passed yet"),
            Self::TestPassed { at } => write!(f, "up to date: passed at {at}"),
            Self::UpToDate { inputs: 1 } => f.write_str("up to date: 1 input unchanged"),
            Self::UpToDate { inputs } => write!(f, "up to date: {inputs} inputs unchanged"),
            Self::Broken => f.write_str("cannot be planned, see the diagnostics"),
            Self::Invalid(found) => write!(f, "{}: {}", found.place(), found.message),
            Self::NothingToPush(name) => {
                write!(f, "not in the local store: `cargo xtask build {name}` makes it")
            }
            Self::NoEngine => f.write_str("no engine to ask"),
            Self::NameMissing(name) => write!(f, "lacks the name {}", name.familiar()),
            Self::NotPushed => f.write_str("not pushed yet"),
            Self::InRegistry => f.write_str("already in the registry"),
            Self::CacheNotAsked(why) => write!(f, "not asked: {why}"),
            Self::ImageBuiltSince(name) => write!(f, "{name} was built since"),
            Self::Built => f.write_str("just built"),
            Self::Asked => f.write_str("asked for"),
            Self::GoesAlong => f.write_str("out of the engine, what is not in the store of blobs yet"),
            Self::NotProven => f.write_str("a bundle is believed when every blob of it is right"),
            Self::Superseded(name) => write!(f, "superseded: {name} was built again"),
            Self::StageUnused => f.write_str("no image of this tree has this stage"),
            Self::ServiceGone(name) => write!(f, "no service of this tree makes {name} any more"),
            Self::OtherTag => f.write_str("not the current tag"),
            Self::Old { days: 1 } => f.write_str("built 1 day ago"),
            Self::Old { days } => write!(f, "built {days} days ago"),
            Self::LeftBehind => f.write_str("left by a run that is over"),
            Self::BeyondKept(kept) => write!(f, "older than the last {kept} runs"),
            Self::Remade => f.write_str("made again when it is needed"),
            Self::Unreferenced => f.write_str("nothing here refers to it"),
            Self::TreeBroken(what) => write!(f, "it may be needed: {what}"),
            Self::InUse(who) => write!(f, "in use: {who}"),
            Self::NotSelected => f.write_str("not selected"),
        }
    }
}
