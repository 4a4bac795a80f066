//! What the world looks like before anything is decided: the engine's store, its abilities, the network.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Digest, Identity, ImageId, LocalImage, Platform, Reference, RegistryPrefix, stands_for};

/// A container engine's store and abilities at one moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// What the engine can do; none when there is no engine to ask.
    pub capabilities: Option<Capabilities>,
    images: Vec<LocalImage>,
    is_partial: bool,
    by_name: HashMap<Reference, usize>,
    /// What registries call the content of images, and what stands for that.
    by_digest: HashMap<Digest, usize>,
    /// The store as it is for platforms for which some of its names mean other images.
    views: BTreeMap<Platform, Self>,
    /// What is in image indexes.
    indexes: HashMap<ImageId, Vec<ImageId>>,
}

impl Observed {
    /// From one listing.
    pub fn new(capabilities: Capabilities, images: Vec<LocalImage>) -> Self {
        let (mut by_name, mut by_digest) = (HashMap::new(), HashMap::new());
        for (index, image) in images.iter().enumerate() {
            for name in image.names.iter().chain(&image.digests) {
                by_name.insert(name.clone(), index);
            }
            // With containerd's store the ID is such a digest too.
            let pushed = image.digests.iter().filter_map(Reference::digest).chain([image.id.digest()]);
            by_digest.extend(pushed.map(|digest| (digest.clone(), index)));
        }
        for (index, image) in images.iter().enumerate() {
            for digest in image.names.iter().filter_map(stands_for) {
                by_digest.entry(digest).or_insert(index);
            }
        }
        let (views, indexes) = (BTreeMap::new(), HashMap::new());
        let capabilities = Some(capabilities);
        Self { capabilities, images, is_partial: false, by_name, by_digest, views, indexes }
    }

    /// The same, with the store as it is for another platform.
    #[must_use]
    pub fn with_view(mut self, platform: Platform, view: Self) -> Self {
        self.views.insert(platform, view);
        self
    }

    /// The store as it is for a platform: where a name means several images, those of this one.
    pub fn of_platform(&self, platform: &Platform) -> &Self {
        self.views.get(platform).unwrap_or(self)
    }

    /// What an index consists of, for a listing does not say.
    pub fn learn_index(&mut self, index: ImageId, entries: Vec<ImageId>) {
        self.indexes.insert(index, entries);
    }

    /// The images that an index consists of; none where it is not known to be one.
    pub fn entries_of(&self, index: &ImageId) -> Option<&[ImageId]> {
        self.indexes.get(index).map(Vec::as_slice)
    }

    /// From a listing of some names only: what is not here may be in the store all the same.
    pub fn of_some_names(capabilities: Capabilities, images: Vec<LocalImage>) -> Self {
        Self { is_partial: true, ..Self::new(capabilities, images) }
    }

    /// Whether only some names were asked for.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// No engine answered: every state is unknown.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// What the image of this name runs on, for a listing does not say.
    pub fn learn_platform(&mut self, name: &Reference, platform: Platform) {
        if let Some(image) = self.index(name).and_then(|index| self.images.get_mut(index)) {
            image.platform = Some(platform);
        }
    }

    /// What is in the image of this ID, for a listing does not say.
    pub fn learn_identity(&mut self, id: &ImageId, identity: Identity) {
        let index = self.by_digest.get(id.digest()).copied();
        if let Some(image) =
            index.and_then(|index| self.images.get_mut(index)).filter(|image| image.id == *id)
        {
            image.identity = Some(identity);
        }
    }

    /// Whether images are in a registry, and nowhere else.
    pub fn is_registry(&self) -> bool {
        self.capabilities.as_ref().is_some_and(|known| known.keeps == Keeps::Registry)
    }

    /// Whether images are in an engine, and something else builds them.
    pub fn is_beside(&self) -> bool {
        self.capabilities.as_ref().is_some_and(|known| known.keeps == Keeps::Beside)
    }

    /// Whether the store keeps manifests, and layers as they were packed: a manifest's digest is the image's ID there.
    pub fn keeps_manifests(&self) -> bool {
        let is_named =
            |image: &LocalImage| image.digests.iter().any(|d| d.digest() == Some(image.id.digest()));
        self.images.iter().any(is_named)
    }

    /// What is in an image. One that nobody was asked about is known by its ID alone.
    pub fn identity_of(&self, image: &LocalImage) -> Identity {
        image.identity.clone().unwrap_or_else(|| Identity::of_stored(&image.id))
    }

    /// What is in the image that a reference names here.
    pub fn identity(&self, reference: &Reference) -> Option<Identity> {
        Some(self.identity_of(self.find(reference)?))
    }

    /// All images of the store; of a partial one those that were asked for, and of their names no others.
    pub fn images(&self) -> &[LocalImage] {
        &self.images
    }

    /// The image that a reference names here. What is pinned by digest is found by its digest, whatever it is called: the
    /// digest is made of the content.
    pub fn find(&self, reference: &Reference) -> Option<&LocalImage> {
        self.images.get(self.index(reference)?)
    }

    /// By which name the engine knows the image of a reference: the reference itself where it can.
    pub fn name_here(&self, reference: &Reference) -> Option<Reference> {
        if self.by_name(reference).is_some() {
            return Some(reference.clone());
        }
        let image = self.find(reference)?;
        image.names.iter().chain(&image.digests).next().cloned()
    }

    fn index(&self, reference: &Reference) -> Option<usize> {
        self.by_name(reference).or_else(|| self.by_digest.get(reference.digest()?).copied())
    }

    fn by_name(&self, reference: &Reference) -> Option<usize> {
        // An engine keeps `name@digest` for what was pulled as `name:tag@digest`.
        let pinned = || self.by_name.get(&reference.without_tag()?);
        self.by_name.get(reference).or_else(pinned).copied()
    }
}

/// What an engine can do, asked as predicates rather than by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// `docker`, `podman`, …
    pub name: String,
    /// The engine's own version, `20.10.24`.
    pub version: String,
    /// `(1, 41)`
    pub api: (u32, u32),
    /// BuildKit builds through a session.
    pub buildkit: bool,
    /// What it runs by default.
    pub platform: Platform,
    /// Where what it builds goes.
    #[serde(skip)]
    pub keeps: Keeps,
}

/// Where images are that a builder builds on, and those that it makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeps {
    /// In the engine that it is a part of.
    #[default]
    Engine,
    /// In a registry.
    Registry,
    /// In an engine that it is no part of: bases are lent from there, and what is built is loaded into it.
    Beside,
}

/// Whether a store keeps image indexes, so that several platforms fit under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexes {
    /// It does: containerd, registries.
    Kept,
    /// One platform a name.
    NotKept,
}

impl Capabilities {
    /// The generation of its builder. One generation does not take over what another one's cache images hold:
    /// measured between Engine 20.10.24 and 26.1.5, in both directions.
    pub fn builder(&self) -> &'static str {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < 23) { "engine 20.10" } else { "engine 23 or newer" }
    }
}

/// The two worlds that have a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Only the internal registry is asked.
    Internal,
    /// Public registries answer.
    External,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internal => "internal",
            Self::External => "external",
        })
    }
}

/// Which network we are in, and how we know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkVerdict {
    /// The verdict.
    pub network: Network,
    /// One line that a person can check: `docker.io answered in 38 ms`, `AI_INFRA_NETWORK_ENV=internal`.
    pub evidence: String,
    /// The internal registry that the verdict is about, if one is set.
    pub internal_registry: Option<RegistryPrefix>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::stand_in;
    use super::*;

    #[test]
    fn what_is_pinned_is_found_by_its_digest_whatever_it_is_called() {
        let digest = |fill: char| -> Digest {
            format!("sha256:{}", String::from(fill).repeat(64)).parse().expect("digest")
        };
        let parse = |text: &str| -> Reference { text.parse().expect(text) };
        let image = |id: char, names: &[Reference], digests: &[Reference]| LocalImage {
            id: ImageId::new(digest(id)),
            names: names.to_vec(),
            digests: digests.to_vec(),
            labels: BTreeMap::new(),
            size: 1,
            platform: None,
            identity: None,
        };
        let pinned = |fill: char| parse("alpine:3").pinned(&digest(fill)).with_tag("3").expect("a tag");
        let capabilities = Capabilities {
            name: "fake".to_owned(),
            version: "1".to_owned(),
            api: (1, 41),
            buildkit: true,
            platform: Platform::local(),
            keeps: Keeps::Engine,
        };
        let observed = Observed::new(
            capabilities,
            vec![
                image('1', &[], &[parse("alpine").pinned(&digest('a'))]),
                image('2', &[parse("other:1")], &[parse("mirror.example.com/alpine").pinned(&digest('b'))]),
                image('3', &[stand_in(&pinned('c')).expect("a digest")], &[]),
                image('4', &[parse("stored:by-manifest")], &[]),
            ],
        );
        for (asked, id, named) in [
            (pinned('a'), '1', Some(pinned('a'))),
            (pinned('b'), '2', Some(parse("other:1"))),
            (pinned('c'), '3', stand_in(&pinned('c'))),
            (pinned('4'), '4', Some(parse("stored:by-manifest"))),
        ] {
            assert_eq!(
                observed.find(&asked).map(|image| image.id.clone()),
                Some(ImageId::new(digest(id))),
                "{asked}"
            );
            assert_eq!(observed.name_here(&asked), named, "{asked}");
        }
        assert!(observed.find(&pinned('d')).is_none() && observed.name_here(&parse("alpine:3")).is_none());
    }
}
