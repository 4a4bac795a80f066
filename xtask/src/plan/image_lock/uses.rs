//! Pure: which external images the tree names, by their originals, and where each is named.
//!
//! What is pinned by digest in the file that names it is left out: it is locked there. Images that this tree builds are
//! not external.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Image, ImageSource, Originals, Platform, Reference};

/// One external image, and all that the tree says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// The forms in which files name it, the original's own left out.
    pub written: BTreeSet<Reference>,
    /// What it is wanted for.
    pub platforms: BTreeSet<Platform>,
    /// `src/api/Dockerfile:3`, each once, in the order of the images.
    pub places: Vec<String>,
}

impl Use {
    /// Who names it, for people: the first two, and how many more.
    pub fn shown(&self) -> String {
        shown(&self.places)
    }
}

/// The first two places, and how many more.
pub fn shown(places: &[String]) -> String {
    match places {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one}, {two}"),
        [one, two, more @ ..] => format!("{one}, {two} and {} more", more.len()),
    }
}

/// What these images name, by original.
pub fn uses<'i>(
    images: impl IntoIterator<Item = &'i Image>,
    originals: &Originals<'_>,
) -> BTreeMap<Reference, Use> {
    let mut all: BTreeMap<Reference, Use> = BTreeMap::new();
    for image in images {
        let dependency = || image.dependency_at.clone().unwrap_or_default();
        let mut named: Vec<(&Reference, &Platform, String)> = Vec::new();
        match &image.source {
            ImageSource::External(source) => named.push((source, &image.platform, dependency())),
            ImageSource::Build(target) => {
                named.extend(image.base_images.iter().map(|base| {
                    let platform = base.platform.as_ref().unwrap_or(&image.platform);
                    (&base.reference, platform, format!("{}:{}", target.dockerfile, base.line))
                }));
            }
        }
        named.extend(image.companions.iter().map(|name| (name, &image.platform, dependency())));
        for (name, platform, place) in named {
            let original = originals.original_of(name);
            if original.digest().is_some() {
                continue;
            }
            let entry = all.entry(original.clone()).or_default();
            entry.platforms.insert(platform.clone());
            if *name != original {
                entry.written.insert(name.clone());
            }
            if !place.is_empty() && !entry.places.contains(&place) {
                entry.places.push(place);
            }
        }
    }
    all
}

/// Adds what another reading of the tree, for another platform, found.
pub fn merge(all: &mut BTreeMap<Reference, Use>, more: BTreeMap<Reference, Use>) {
    for (original, found) in more {
        let entry = all.entry(original).or_default();
        entry.written.extend(found.written);
        entry.platforms.extend(found.platforms);
        let new: Vec<String> =
            found.places.into_iter().filter(|place| !entry.places.contains(place)).collect();
        entry.places.extend(new);
    }
}
