//! Images that stand side by side in one `service.toml`: each `[[image]]` is read as a source of its own, with the folder's
//! service as what they belong to.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;

use super::files::{legal_name, own_part};
use super::nested::{self, Nested};
use super::{DOCKERFILE, Discovered, FoundBy, ServiceSource, Wanted, naming, read_service, sort};
use crate::model::Diagnostic;
use crate::read::conf::{BUILD_TARGETS, ImageEntry, SERVICE_TOML, folder_of, resolve_path};
use crate::settings::Config;

/// Which `[[image]]` of its folder's `service.toml` says what an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place among them.
    pub at: usize,
    /// 1-based line.
    pub line: u32,
    /// The folder's service.
    pub service: String,
}

/// Puts the images of folders that have several in place of the folders, and of Dockerfiles there that were named.
pub(super) fn split(config: &Config, wanted: &Wanted, found: &mut Discovered) {
    let dirs: BTreeSet<String> = found
        .services
        .iter()
        .filter(|service| !service.images.is_empty())
        .map(|service| service.dir.clone())
        .collect();
    for dir in dirs {
        let (of_dir, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut found.services).into_iter().partition(|service| service.dir == dir);
        found.services = others;
        let Some(first) = of_dir.first() else { continue };
        let folder = of_dir.iter().find(|one| matches!(one.found_by, FoundBy::Folder | FoundBy::Nested));
        let mut folder = folder.cloned().unwrap_or_else(|| folder_like(config, first));
        let is_known = |dir: &str| found.services.iter().any(|other| other.dir == dir);
        if !folder.has(DOCKERFILE)
            && folder.found_by == FoundBy::Folder
            && let Nested::Dockerfile(path) = nested::look(&config.root, &dir, wanted, is_known)
        {
            folder.dockerfile = path;
        }
        if folder.listing.entries.iter().any(|entry| entry.path == BUILD_TARGETS) {
            let message = format!("says nothing here: the images of {dir} are those of its {SERVICE_TOML}");
            found.problems.push(Diagnostic::warning(folder.path(BUILD_TARGETS), 0, message));
        }
        let images = read(&config.root, &folder, wanted, &|_| false);
        // A Dockerfile that was named and that no `[[image]]` has stays what it is.
        let is_taken = |path: &String| images.iter().any(|image| image.dockerfile == *path);
        let rest = of_dir.into_iter().filter(|one| {
            matches!(one.found_by, FoundBy::File | FoundBy::FileAmongOthers) && !is_taken(&one.dockerfile)
        });
        found.services.extend(rest.map(|one| ServiceSource { found_by: FoundBy::FileAmongOthers, ..one }));
        found.services.extend(images);
    }
    sort(&mut found.services);
}

/// The folder of a service that was found otherwise, as if it had been named.
pub(super) fn folder_like(config: &Config, service: &ServiceSource) -> ServiceSource {
    let images = service.images.clone();
    let mut folder = ServiceSource { images, ..ServiceSource::in_folder(&service.dir) };
    folder.listing.clone_from(&service.listing);
    if let Some(name) = naming::name_of(&folder, &config.name, &config.services) {
        folder.name = name;
    }
    folder
}

/// A source for each `[[image]]` of a folder but those that somebody else makes.
pub(super) fn read(
    root: &Path,
    folder: &ServiceSource,
    wanted: &Wanted,
    is_made: &dyn Fn(&str) -> bool,
) -> Vec<ServiceSource> {
    let is_only = folder.images.len() == 1;
    let source = |(at, entry): (usize, &ImageEntry)| {
        let service = folder.name.clone();
        let named = entry.settings.dockerfile.as_ref();
        let dockerfile = named.and_then(|named| resolve_path(&folder.dir, named.get_ref()));
        ServiceSource {
            name: name_of(entry, &folder.name, is_only),
            found_by: FoundBy::Entry,
            dir: folder.dir.clone(),
            dockerfile: dockerfile.unwrap_or_else(|| folder.dockerfile.clone()),
            entry: Some(Entry { at, line: entry.line, service }),
            ..ServiceSource::default()
        }
    };
    let sources: Vec<ServiceSource> =
        folder.images.iter().enumerate().map(source).filter(|source| !is_made(&source.name)).collect();
    sources.into_par_iter().filter_map(|source| read_service(root, source, wanted)).collect()
}

/// The `[[image]]` that has the name of what a definition makes of the folder.
pub(super) fn named(images: &[ImageEntry], definition: &ServiceSource) -> Option<Entry> {
    let folder = ServiceSource::in_folder(&definition.dir).name;
    let is_named = |entry: &ImageEntry| {
        name_of(entry, &folder, images.len() == 1).eq_ignore_ascii_case(&definition.name)
    };
    let (at, entry) = images.iter().enumerate().find(|(_, entry)| is_named(entry))?;
    Some(Entry { at, line: entry.line, service: folder })
}

/// What an image without a name is called: as the service where it is the only one, else by what tells it from the others,
/// its stage or its Dockerfile.
pub(super) fn name_of(entry: &ImageEntry, service: &str, is_only: bool) -> String {
    if let Some(name) = &entry.name {
        return name.clone();
    }
    let stem = || {
        let path = entry.dockerfile.as_deref()?;
        match own_part(path) {
            Some("") => folder_of(path).rsplit('/').next().filter(|name| !name.starts_with('.')),
            Some(part) => Some(part),
            None => path.rsplit('/').next(),
        }
    };
    match entry.target.as_deref().or_else(stem) {
        Some(part) if !is_only => legal_name(&format!("{service}-{part}")),
        _ => service.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::conf::parse_service_toml;

    #[test]
    fn an_image_without_a_name_is_called_by_what_tells_it_from_the_others() {
        for (text, expected) in [
            ("[[image]]\ntarget = 'x'\n", "Shop"),
            ("[[image]]\n[[image]]\ntarget = 'Worker_1'\n", "Shop shop-worker_1"),
            ("[[image]]\nfile = 'Dockerfile.api'\n[[image]]\nfile = 'web.Dockerfile'\n", "shop-api shop-web"),
            (
                "[[image]]\nfile = 'docker/job/Dockerfile'\n[[image]]\nfile = './Dockerfile'\n",
                "shop-job Shop",
            ),
            (
                "[[image]]\nfile = 'docker/job'\ntarget = 't'\n[[image]]\nfile = 'docker/job'\n",
                "shop-t shop-job",
            ),
            // What holds for all tells none from the others.
            (
                "target = 't'\nfile = 'D'\n[[image]]\nname = 'a'\n[[image]]\nimage = 'b/c'\n[[image]]\n",
                "a b/c Shop",
            ),
            ("[[image]]\nimage = 'r.example/x:1'\ntarget = 't'\n[[image]]\n", "shop-t Shop"),
        ] {
            let images = parse_service_toml("s", text).expect(text).images;
            let named = images.iter().map(|entry| name_of(entry, "Shop", images.len() == 1));
            assert_eq!(named.collect::<Vec<_>>().join(" "), expected, "{text}");
        }
    }
}
