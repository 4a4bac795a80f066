//! Base images whose name an image of this tree takes: `src/fluentd` that begins with `FROM fluentd`.
//!
//! One name then stands for two images. In the store the built one has it, so the other one, the upstream, is reached
//! by a twin, its `localhost/` alias. Plain data; who decides which base images these are is `graph/names.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::{LocalImage, Observed, Reference, labels};

/// Which base images share their name with an image of this tree, and where each is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams {
    twins: BTreeMap<Reference, Reference>,
    taken: BTreeSet<Reference>,
}

impl Upstreams {
    /// `twins` is by the base images' own names. `taken` are the names that builds of now give to what extends them.
    pub fn new(twins: BTreeMap<Reference, Reference>, taken: BTreeSet<Reference>) -> Self {
        Self { twins, taken }
    }

    /// The further name of a base image that shares its own.
    pub fn twin_of(&self, base: &Reference) -> Option<&Reference> {
        self.twins.get(base)
    }

    /// Whether an image that extends a base image is going to have this name.
    pub fn is_taken(&self, name: &Reference) -> bool {
        self.taken.contains(name)
    }

    /// Whether what the store has under a name was built upon the base image that the name stands for.
    pub fn is_own(&self, name: &Reference, observed: &Observed) -> bool {
        let Some(image) = observed.find(name) else { return false };
        let is_shared = self.is_taken(name) || self.twins.contains_key(name);
        let is_twin_of_itself =
            || self.twins.iter().any(|(base, twin)| twin == name && is_built_upon(image, base));
        (is_shared && image.labels.contains_key(labels::FINGERPRINT)) || is_twin_of_itself()
    }

    /// What the store has under a name, as something to build on: never what was built upon that very thing.
    pub fn at<'o>(&self, name: &Reference, observed: &'o Observed) -> Option<&'o LocalImage> {
        observed.find(name).filter(|_| !self.is_own(name, observed))
    }

    /// A base image in the store, and by which name it is found.
    pub fn find<'a, 'o>(
        &'a self,
        base: &'a Reference,
        observed: &'o Observed,
    ) -> Option<(&'a Reference, &'o LocalImage)> {
        let twin = self.twins.get(base);
        // A name that is going to be another image's is not built on.
        let names = if self.is_taken(base) { [twin, Some(base)] } else { [Some(base), twin] };
        names.into_iter().flatten().find_map(|name| Some((name, self.at(name, observed)?)))
    }
}

/// Whether its record says that it was built upon an image of this name: base images are keys there, and nothing else
/// that is a key has a tag.
fn is_built_upon(image: &LocalImage, base: &Reference) -> bool {
    let key = format!("\"{}\":", base.familiar());
    image.labels.get(labels::PARTS).is_some_and(|parts| parts.contains(&key))
}
