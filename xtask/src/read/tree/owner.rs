//! Who makes an image, and what is said where two make one.
//!
//! In: what discover found. Out: a finding with its place and a cure. Nothing of such images is built: whichever was,
//! would be taken for the other.

use std::collections::BTreeMap;

use crate::model::{Diagnostic, Image, ImageName, Reference};
use crate::plan::facts::Finding;
use crate::read::conf::{SERVICE_TOML, folder_of};
use crate::read::discover::{FoundBy, ServiceSource};

/// A folder, a Dockerfile, a definition or an `[[image]]` that makes an image.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// Where it stands, relative to the root.
    file: String,
    /// 1-based; 0 is the whole file or folder.
    line: u32,
    cure: Cure,
}

/// How it gets another name.
#[derive(Clone, Debug)]
enum Cure {
    /// By `image` in this `service.toml`.
    Image(String),
    /// By `name` there.
    Name,
    /// By another name of its own.
    Rename,
}

impl Owner {
    /// Who it is that was found.
    pub(super) fn of(source: &ServiceSource) -> Self {
        let settings = source.path(SERVICE_TOML);
        let entry = source.entry.as_ref().filter(|_| source.found_by == FoundBy::Entry);
        if let Some(entry) = entry {
            return Self { file: settings, line: entry.line, cure: Cure::Name };
        }
        let says = matches!(
            source.found_by,
            FoundBy::Folder | FoundBy::Nested | FoundBy::File | FoundBy::Definition
        );
        let cure = if says { Cure::Image(settings) } else { Cure::Rename };
        match &source.definition {
            Some(definition) => Self { file: definition.file.to_string(), line: definition.line, cure },
            None => Self { file: source.place().to_owned(), line: 0, cure },
        }
    }

    /// Whether its service has further images, of which it says nothing.
    pub(super) fn is_one_of_several(&self) -> bool {
        matches!(self.cure, Cure::Name)
    }

    fn place(&self) -> String {
        if self.line == 0 { self.file.clone() } else { format!("{}:{}", self.file, self.line) }
    }
}

/// Several whose images have one name: none is built, and one line of settings cures it.
pub(super) fn double_finding(image: &Image, first: &Owner, others: &[Owner]) -> Finding {
    let (mut set, mut rename) = (Vec::new(), Vec::new());
    for owner in others {
        match &owner.cure {
            Cure::Image(file) => {
                let parts: Vec<&str> = folder_of(file).rsplitn(3, '/').take(2).collect();
                let apart = parts.into_iter().rev().collect::<Vec<_>>().join("-").to_lowercase();
                set.push(format!("`image = \"{apart}\"` in {file}"));
            }
            Cure::Name => set.push(format!("another `name` at {}", owner.place())),
            Cure::Rename => rename.push(owner.place()),
        }
    }
    let set = (!set.is_empty()).then(|| format!("set {}", set.join(" and ")));
    let rename = (!rename.is_empty()).then(|| format!("rename {}", rename.join(" and ")));
    let cures: Vec<String> = set.into_iter().chain(rename).collect();
    let places = std::iter::once(first).chain(others).map(Owner::place);
    let message = format!(
        "{} make one image, {}, so none of them is built: {}",
        places.collect::<Vec<_>>().join(" and "),
        image.name,
        cures.join(" and ")
    );
    let last = others.last().unwrap_or(first);
    Finding::of(image, Diagnostic::error(&last.file, last.line, message))
}

/// An `[[image]]` whose image would take the name of another one. What compose files build under one name is theirs to say.
pub(super) fn double_references(
    images: &[Image],
    owners: &BTreeMap<ImageName, Vec<Owner>>,
) -> Vec<(ImageName, Finding)> {
    let mut found = Vec::new();
    let mut seen: BTreeMap<&Reference, &Image> = BTreeMap::new();
    for image in images {
        for name in image.all_names() {
            let Some(other) = seen.insert(name, image) else { continue };
            let owner_of = |image: &Image| owners.get(&image.name).and_then(|owners| owners.first());
            let (Some(first), Some(second)) = (owner_of(other), owner_of(image)) else { continue };
            let is_said = first.is_one_of_several() || second.is_one_of_several();
            if !is_said || other.name.image() == image.name.image() {
                continue;
            }
            let message = format!(
                "{} and {} give their images one name, {}, so neither is built: set another `image` or `tags`",
                first.place(),
                second.place(),
                name.familiar()
            );
            let diagnostic = Diagnostic::error(&second.file, second.line, message);
            found.push((other.name.clone(), Finding::of(other, diagnostic.clone())));
            found.push((image.name.clone(), Finding::of(image, diagnostic)));
        }
    }
    found
}
