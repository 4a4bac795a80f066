//! What we build: images, where they come from and what they read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dockerfile::Options;
use serde::{Deserialize, Serialize};

use super::{
    ArtifactSpec, BaseImage, BuildSecrets, Diagnostic, Digest, Identity, ImageId, ParseReferenceError,
    Platform, Reference, Triggers,
};

/// What stands between an image's name and the platform of one of its variants.
const PLATFORM_SIGN: char = '@';

/// The name of an image of this tree, prefix included, without registry and tag: `ai-infra-backend`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageName(String);

impl ImageName {
    /// A name as it stands; whether it makes a valid reference is checked where the reference is made.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name of an image's variant for a platform: `shop-api@linux/arm64`.
    #[must_use]
    pub fn variant(&self, platform: &Platform) -> Self {
        Self(format!("{self}{PLATFORM_SIGN}{platform}"))
    }

    /// The name of the image that it is a variant of; its own where it is none. No image's name has an `@`.
    #[must_use]
    pub fn image(&self) -> Self {
        Self(self.plain().to_owned())
    }

    /// The text of that name.
    #[must_use]
    pub fn plain(&self) -> &str {
        self.0.split_once(PLATFORM_SIGN).map_or(&self.0, |(image, _)| image)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One image of this tree: what is built, keyed and explained by itself. Where it is made for several platforms each of
/// these is one, a variant, and an index has the name that people know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Unique in the tree.
    pub name: ImageName,
    /// What it is for.
    pub kind: ImageKind,
    /// The service folder's name; several images share it when `build-targets.conf` lists several stages. Of a base
    /// image the name without its version.
    pub service: String,
    /// What it is tagged, and pushed as when a registry is set. Of a variant a name of its own, `shop-api:v1-arm64`, which no
    /// registry gets.
    pub reference: Reference,
    /// The plain name that stays beside a registry's name.
    pub local_alias: Option<Reference>,
    /// Further tags of the same image; a base image has `OS` and `latest-OS` beside `VERSION-OS`.
    pub tags: Vec<FurtherTag>,
    /// The index that a variant is in.
    pub index: Option<Box<ImageIndex>>,
    /// Where it comes from.
    pub source: ImageSource,
    /// What it runs on.
    pub platform: Platform,
    /// `BUILD_PHASE` of `build.conf`.
    pub group: Option<BuildGroup>,
    /// Images of this tree that have to be there first.
    pub needs: BTreeSet<ImageName>,
    /// By which names its Dockerfile asks for them.
    pub asks_for: BTreeMap<Reference, ImageName>,
    /// The same of those that it asks for by `FROM --platform`, where that is another one than its own.
    pub asks_for_on: BTreeMap<(Reference, Platform), ImageName>,
    /// External images to have here before it is built, in the order in which they are first named.
    pub base_images: Vec<BaseImage>,
    /// External images that are prefetched with it but are no part of it (`dependency.conf` beside a Dockerfile).
    pub companions: Vec<Reference>,
    /// Where `dependency.conf` names its source or its companion: `src/redis/dependency.conf:2`.
    pub dependency_at: Option<String>,
}

impl Image {
    /// Every name that it has in the store; the first is the one that it is pushed as.
    pub fn names(&self) -> impl Iterator<Item = &Reference> {
        std::iter::once(&self.reference).chain(self.further_names())
    }

    /// All names but the first.
    pub fn further_names(&self) -> impl Iterator<Item = &Reference> {
        let tags = self.tags.iter().flat_map(|tag| std::iter::once(&tag.name).chain(&tag.local_alias));
        self.local_alias.iter().chain(tags)
    }

    /// The names that it is pushed as, each with the plain name that stands beside it.
    pub fn pushed_names(&self) -> impl Iterator<Item = (&Reference, Option<&Reference>)> {
        let tags = self.tags.iter().map(|tag| (&tag.name, tag.local_alias.as_ref()));
        std::iter::once((&self.reference, self.local_alias.as_ref())).chain(tags)
    }

    /// The names that people know it by, each with the plain name that stands beside it: of a variant those of its index.
    pub fn known_names(&self) -> impl Iterator<Item = (&Reference, Option<&Reference>)> {
        let index = self.index.iter().flat_map(|index| index.pushed_names());
        index.chain(self.pushed_names().filter(|_| self.index.is_none()))
    }

    /// The first of them.
    pub fn known_reference(&self) -> &Reference {
        self.index.as_ref().map_or(&self.reference, |index| &index.reference)
    }

    /// Every name that it or its index has in a store.
    pub fn all_names(&self) -> impl Iterator<Item = &Reference> {
        self.names().chain(self.index.iter().flat_map(|index| index.names()))
    }

    /// The same as one of several variants: its names become those of the index, and it gets one of its own.
    ///
    /// # Errors
    /// When that name is too long for a tag.
    pub fn into_variant(self) -> Result<Self, ParseReferenceError> {
        let tag = self.reference.tag().unwrap_or("latest");
        let reference = self.reference.with_tag(&format!("{tag}{}", suffix(&self.platform)))?;
        let (name, local_alias) = (self.name.variant(&self.platform), self.local_alias);
        let index = ImageIndex { name: self.name, reference: self.reference, local_alias, tags: self.tags };
        Ok(Self {
            name,
            reference,
            local_alias: None,
            tags: Vec::new(),
            index: Some(Box::new(index)),
            ..self
        })
    }

    /// What makes it a base image, if it is one.
    pub fn base_image(&self) -> Option<&BaseImageFacts> {
        match &self.kind {
            ImageKind::Service | ImageKind::Stage(_) => None,
            ImageKind::BaseImage(facts) => Some(facts),
        }
    }
}

/// An image index (OCI image-spec, "Image Index"): what has the name of an image that is made for several platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageIndex {
    /// The image's name: `shop-api`.
    pub name: ImageName,
    /// What it is tagged, and pushed as when a registry is set.
    pub reference: Reference,
    /// The plain name that stays beside a registry's name.
    pub local_alias: Option<Reference>,
    /// Further tags.
    pub tags: Vec<FurtherTag>,
}

impl ImageIndex {
    /// Every name that it has in a store that keeps it.
    pub fn names(&self) -> impl Iterator<Item = &Reference> {
        self.pushed_names().flat_map(|(name, alias)| std::iter::once(name).chain(alias))
    }

    /// The names that it is pushed as, each with the plain name that stands beside it.
    pub fn pushed_names(&self) -> impl Iterator<Item = (&Reference, Option<&Reference>)> {
        let tags = self.tags.iter().map(|tag| (&tag.name, tag.local_alias.as_ref()));
        std::iter::once((&self.reference, self.local_alias.as_ref())).chain(tags)
    }
}

/// What tells the names of a platform's images apart from others': `-arm64`, `-arm-v7`, `-windows-amd64`.
pub fn suffix(platform: &Platform) -> String {
    format!("-{}", platform.to_string().trim_start_matches("linux/").replace('/', "-"))
}

/// What an image is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// One of the monorepo's services.
    Service,
    /// What services build on, made here too.
    BaseImage(BaseImageFacts),
    /// A stage of a service's image, as an image of its own: of which one.
    Stage(ImageName),
}

/// What a base image has beyond a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseImageFacts {
    /// The system, which is the folder's name: `debian`.
    pub os: String,
    /// Which version of the framework is in it.
    pub version: String,
    /// What the Dockerfile's label says of it: `Debian 12 (stable)`.
    pub description: Option<String>,
    /// What its Dockerfile copies out of the cache; none when no instruction reads it.
    pub artifact: Option<Box<ArtifactSpec>>,
}

/// A further tag of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FurtherTag {
    /// Its whole name, registry included; it is pushed too.
    pub name: Reference,
    /// The plain name that stays beside a registry's name.
    pub local_alias: Option<Reference>,
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// Built from a Dockerfile.
    Build(Box<BuildTarget>),
    /// `dependency.conf` without a Dockerfile: pulled and tagged.
    External(Reference),
}

/// One target of one Dockerfile, with all that decides what a build of it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildTarget {
    /// The Dockerfile, relative to the root, with `/`.
    pub dockerfile: String,
    /// The whole text of the Dockerfile, rendered; this is what the builder gets.
    pub text: String,
    /// Canonical text of what the target reaches of it: changes outside do not count.
    pub reachable_text: String,
    /// The build context, relative to the root, with `/`; `.` is the root itself.
    pub context: String,
    /// The stage picked with `--target`; none is the last one.
    pub target: Option<String>,
    /// The build args that matter: those that the Dockerfile declares and somebody sets.
    pub build_args: BTreeMap<String, String>,
    /// Labels that somebody asked for, beyond those that tell of the build.
    pub labels: BTreeMap<String, String>,
    /// The network that instructions run in; none is the engine's default.
    pub network: Option<String>,
    /// What its build may ask for. The IDs that it asks for stand in its text, and so in its key; no value does.
    pub secrets: BuildSecrets,
    /// A secret or an agent that it cannot be built without, and that nobody gives.
    pub lacks: Option<Box<Diagnostic>>,
    /// Images in folders that its text names.
    pub layouts: Vec<LayoutContext>,
    /// What the images bring that its stages stand on, each of them named.
    pub triggers: Triggers,
    /// What it brings itself to an image that stands on it, in order.
    pub leaves: Vec<String>,
    /// Labels that its Dockerfile gives it by itself.
    pub own_labels: BTreeSet<String>,
}

/// An image in a folder that a Dockerfile names (docs.docker.com, "Additional contexts", `oci-layout://`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutContext {
    /// What the Dockerfile calls it.
    pub name: String,
    /// The stage that stands for it in the text that the builder gets, and that the builder replaces.
    pub stage: String,
    /// The folder, relative to the root or absolute.
    pub folder: String,
    /// The manifest or the index that is meant.
    pub digest: Digest,
}

impl BuildTarget {
    /// How its Dockerfile is read for an image of this platform.
    pub fn options<'a>(&'a self, platform: &'a Platform, build_platform: &'a Platform) -> Options<'a> {
        Options {
            target: self.target.as_deref(),
            build_args: &self.build_args,
            platform,
            build_platform,
            triggers: &self.triggers,
        }
    }

    /// Of a Dockerfile whose text is not known, or is empty, with nothing asked for beyond it.
    pub fn without_text(dockerfile: impl Into<String>, context: impl Into<String>) -> Self {
        Self {
            dockerfile: dockerfile.into(),
            text: String::new(),
            reachable_text: String::new(),
            context: context.into(),
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            network: None,
            secrets: BuildSecrets::default(),
            lacks: None,
            layouts: Vec::new(),
            triggers: Triggers::new(),
            leaves: Vec::new(),
            own_labels: BTreeSet::new(),
        }
    }
}

/// `BUILD_PHASE` of `build.conf`: foundation images come before all dependent ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildGroup {
    /// Built before every dependent image.
    Foundation,
    /// Built after every foundation image.
    Dependent,
}

/// How the engine's store compares with what the tree asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// There, and with the fingerprint that a build would give now.
    UpToDate,
    /// There, but something it is made of has changed.
    Stale,
    /// Not there.
    Missing,
    /// There, but unusable: size 0, wrong platform, or the Dockerfile is broken.
    Invalid,
    /// No engine to ask.
    Unknown,
}

impl fmt::Display for ImageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UpToDate => "up-to-date",
            Self::Stale => "stale",
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
        })
    }
}

/// One image in an engine's store, as its listing tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// The image ID.
    pub id: ImageId,
    /// Every tag that points to it.
    pub names: Vec<Reference>,
    /// `repository@digest` of the manifests that it was pulled or pushed as.
    pub digests: Vec<Reference>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Bytes, shared layers included.
    pub size: u64,
    /// What it runs on. A listing does not tell it.
    pub platform: Option<Platform>,
    /// What is in it. A listing does not tell that either, and some images a store cannot read.
    pub identity: Option<Identity>,
}
