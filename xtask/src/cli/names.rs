//! Pure: which images a word on the command line means.
//!
//! In: the images of the tree, and where the command was typed. A word is, in this order: a service or an image (with or
//! without the prefix that the settings give to all, or as a whole reference), a folder of the tree (`src/api`, `.`), a
//! glob (`'a*'`), a service's name whose prefix is left out (`api` where only `shop-api` is there).

use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use crate::model::{Image, ImageSource, Reference};
use crate::read::compose::clean;

/// What names are looked up in.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub images: &'a [Image],
    /// What the settings put before every image's name.
    pub prefix: &'a str,
    pub root: &'a Path,
    /// The working directory.
    pub here: &'a Path,
}

impl<'a> Names<'a> {
    /// The images that a word means; none when nobody knows it.
    pub fn find(&self, word: &str) -> Vec<&'a Image> {
        let exact = self.called(word);
        if !exact.is_empty() {
            return exact;
        }
        let further: [fn(&Self, &str) -> Vec<&'a Image>; 3] = [Self::in_folder, Self::like, Self::shortened];
        further.iter().map(|find| find(self, word)).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The images of the one service whose name ends with a dash and this word.
    fn shortened(&self, word: &str) -> Vec<&'a Image> {
        let is_end = |name: &str| name.strip_suffix(word).is_some_and(|rest| rest.ends_with('-'));
        let is_meant = |image: &&Image| {
            image.base_image().is_none() && (is_end(&image.service) || is_end(image.name.plain()))
        };
        let found: Vec<&Image> = self.images.iter().filter(is_meant).collect();
        match found.split_first() {
            Some((first, others)) if others.iter().all(|other| other.service == first.service) => found,
            _ => Vec::new(),
        }
    }

    /// The images of the service, or the image, of this very name.
    pub fn called(&self, word: &str) -> Vec<&'a Image> {
        let whole = if word.contains([':', '/']) { word.parse::<Reference>().ok() } else { None };
        let is_called = |image: &&Image| {
            let is_reference =
                whole.as_ref().is_some_and(|whole| image.all_names().any(|name| name == whole));
            let is_name = image.name.as_str() == word || image.name.plain() == word;
            image.service == word || is_name || is_reference
        };
        let found: Vec<&Image> = self.images.iter().filter(is_called).collect();
        if !found.is_empty() {
            return found;
        }
        self.images.iter().filter(|image| self.short(image) == word).collect()
    }

    fn short(&self, image: &'a Image) -> &'a str {
        let name = image.name.plain();
        name.strip_prefix(self.prefix).unwrap_or(name)
    }

    /// The images of all folders in this one; else those of the folder that it lies in.
    fn in_folder(&self, word: &str) -> Vec<&'a Image> {
        let from_here = self.below_root(&self.here.join(word));
        let is_of_here = word.split('/').next().is_some_and(|first| matches!(first, "." | ".."));
        let from_root = if is_of_here { None } else { self.below_root(&self.root.join(word)) };
        for folder in from_here.into_iter().chain(from_root) {
            let found = self.services_first(|image| folder_of(image).starts_with(&folder));
            if !found.is_empty() {
                return found;
            }
            let holds = |image: &Image| folder.starts_with(folder_of(image));
            if (word.contains('/') || is_of_here) && self.root.join(&folder).exists() {
                let deepest = self.images.iter().filter(|i| holds(i)).map(folder_of).max();
                return self.services_first(|image| holds(image) && Some(folder_of(image)) == deepest);
            }
        }
        Vec::new()
    }

    /// A path without `.` and `..`, relative to the root; none outside it.
    fn below_root(&self, path: &Path) -> Option<PathBuf> {
        clean(path).strip_prefix(self.root).ok().map(Path::to_owned)
    }

    fn like(&self, word: &str) -> Vec<&'a Image> {
        if !word.contains(['*', '?', '[', '{']) {
            return Vec::new();
        }
        let Ok(glob) = GlobBuilder::new(word.trim_start_matches("./")).literal_separator(true).build() else {
            return Vec::new();
        };
        let glob = glob.compile_matcher();
        self.services_first(|image| {
            let names = [image.service.as_str(), image.name.plain(), self.short(image)];
            names.iter().any(|name| glob.is_match(name)) || glob.is_match(folder_of(image))
        })
    }

    /// Base images only where no service is meant: those that services need are taken along anyway.
    fn services_first(&self, is_meant: impl Fn(&'a Image) -> bool) -> Vec<&'a Image> {
        let found: Vec<&Image> = self.images.iter().filter(|image| is_meant(image)).collect();
        let services: Vec<&Image> =
            found.iter().copied().filter(|image| image.base_image().is_none()).collect();
        if services.is_empty() { found } else { services }
    }
}

/// Where an image's Dockerfile or `dependency.conf` lies, relative to the root.
fn folder_of(image: &Image) -> &Path {
    let file = match &image.source {
        ImageSource::Build(target) => target.dockerfile.as_str(),
        ImageSource::External(_) => image.dependency_at.as_deref().unwrap_or_default(),
    };
    Path::new(file).parent().unwrap_or(Path::new(""))
}
