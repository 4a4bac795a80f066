//! What the world looks like before anything is decided: the engine's store, its abilities, the network.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LocalImage, Platform, Reference, RegistryPrefix};

/// A container engine's store and abilities at one moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// What the engine can do; none when there is no engine to ask.
    pub capabilities: Option<Capabilities>,
    images: Vec<LocalImage>,
    by_name: HashMap<Reference, usize>,
}

impl Observed {
    /// From one listing.
    pub fn new(capabilities: Capabilities, images: Vec<LocalImage>) -> Self {
        let mut by_name = HashMap::new();
        for (index, image) in images.iter().enumerate() {
            for name in image.names.iter().chain(&image.digests) {
                by_name.insert(name.clone(), index);
            }
        }
        Self { capabilities: Some(capabilities), images, by_name }
    }

    /// No engine answered: every state is unknown.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// What the image of this name runs on, for a listing does not say.
    pub fn learn_platform(&mut self, name: &Reference, platform: Platform) {
        let index = self.by_name.get(name).or_else(|| self.by_name.get(&name.without_tag()?)).copied();
        if let Some(image) = index.and_then(|index| self.images.get_mut(index)) {
            image.platform = Some(platform);
        }
    }

    /// All images of the store.
    pub fn images(&self) -> &[LocalImage] {
        &self.images
    }

    /// The image that a reference names here. `name:tag@digest` is found by its digest.
    pub fn find(&self, reference: &Reference) -> Option<&LocalImage> {
        let index = self.by_name.get(reference).or_else(|| {
            // An engine keeps `name@digest` for what was pulled as `name:tag@digest`.
            let pinned = reference.without_tag()?;
            self.by_name.get(&pinned)
        })?;
        self.images.get(*index)
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
