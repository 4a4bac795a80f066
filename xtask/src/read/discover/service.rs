//! One service as it was found, to its texts and templates: what its `service.toml` says of which Dockerfile it is built from,
//! the small files, what its folder holds.

use std::path::Path;

use super::listing::{self, EntryKind, ListEntry, Listing, NonUtf8Name, join};
use super::{DOCKERFILE, FoundBy, OWN_FILES, ServiceSource, Wanted, entries, read};
use crate::read::conf::{self, DEPENDENCY, SERVICE_TOML, ServiceFile};
use crate::read::template::{Claim, Syntax, output_path};

/// Reads a service of which no more is known than how it was found; none when its folder is none.
pub(super) fn read_service(
    root: &Path,
    mut service: ServiceSource,
    wanted: &Wanted,
) -> Option<ServiceSource> {
    let dir = service.dir.clone();
    let dir = dir.as_str();
    let top = match listing::top(root, dir, NonUtf8Name::PassedOver, &mut service.problems) {
        Ok(top) => top,
        Err(problem) => {
            // Nobody can tell whether it is a service; to leave it out in silence would be worse.
            service.problems.push(problem);
            return Some(service);
        }
    };
    let holds = |file: &str| {
        top.iter().filter(|entry| entry.kind != EntryKind::Directory).find(|entry| {
            let name = match Syntax::of(&entry.path).and_then(|_| wanted.claim(&join(dir, &entry.path))) {
                Some(_) => entry.path.rsplit_once('.').map_or("", |(output, _)| output),
                None => &entry.path,
            };
            name == file
        })
    };
    let said = holds(SERVICE_TOML).map(|entry| Said::read(root, dir, &entry.path)).unwrap_or_default();
    if matches!(service.found_by, FoundBy::Folder | FoundBy::Nested) {
        let is_service = service.found_by == FoundBy::Nested || said.makes_a_service();
        if !is_service && holds(DOCKERFILE).is_none() && holds(DEPENDENCY).is_none() {
            return None;
        }
    }
    said.tell(&mut service);
    read_texts(root, &top, &mut service);
    // The root's own templates are found anyway, and what is below it is not all one service's.
    service.listing = if dir == "." {
        Listing { entries: top }
    } else {
        listing::below(root, dir, top, &mut service.problems)
    };
    read_templates(root, wanted, &mut service);
    Some(service)
}

/// The small files that say something of it, and its Dockerfile. `top` is what its folder holds.
fn read_texts(root: &Path, top: &[ListEntry], service: &mut ServiceSource) {
    let dir = service.dir.clone();
    let has = |path: &str| match path.strip_prefix(dir.as_str()).and_then(|rest| rest.strip_prefix('/')) {
        Some(name) if !name.contains('/') => {
            top.iter().any(|entry| entry.path == name && entry.kind != EntryKind::Directory)
        }
        _ => root.join(path).symlink_metadata().is_ok(),
    };
    for name in OWN_FILES {
        let path = service.path(name);
        let definition = service.definition.as_ref().filter(|_| name == DOCKERFILE);
        let inline = definition.filter(|definition| definition.dockerfile == service.dockerfile);
        if let Some(text) = inline.and_then(|definition| definition.inline.clone()) {
            service.texts.insert(name, text);
            continue;
        }
        if !service.reads(name) || !has(&path) {
            continue;
        }
        match read::required(root, &path) {
            Ok(text) => {
                service.texts.insert(name, text);
            }
            Err(problem) => service.problems.push(problem),
        }
    }
}

/// What `service.toml`, or what it is rendered from, says of which Dockerfiles are built. Whatever is wrong with that is
/// said where all of the file is read (`read/tree/named_dockerfile.rs`).
#[derive(Default)]
struct Said {
    file: ServiceFile,
    /// It cannot be read, and would name one.
    is_unclear: bool,
}

impl Said {
    fn read(root: &Path, dir: &str, file: &str) -> Self {
        let Ok(Some(text)) = read::optional(root, &join(dir, file)) else { return Self::default() };
        match conf::parse_service_toml(file, &text) {
            Ok(file) => Self { file, is_unclear: false },
            Err(_) => {
                let is_unclear = text.contains("dockerfile") || text.contains("[[image]]");
                Self { is_unclear, ..Self::default() }
            }
        }
    }

    /// Whether a folder without a Dockerfile is a service by it.
    fn makes_a_service(&self) -> bool {
        self.is_unclear || self.file.settings.dockerfile.is_some() || !self.file.images.is_empty()
    }

    /// Which of its images a service is, and the Dockerfile that it names.
    fn tell(self, service: &mut ServiceSource) {
        let ServiceFile { settings, images } = self.file;
        let mut named = None;
        match service.found_by {
            FoundBy::Folder | FoundBy::Nested => named = settings.dockerfile,
            FoundBy::Definition | FoundBy::DefinitionAmongOthers => {
                service.entry = entries::named(&images, service);
                let entry = service.entry.as_ref().and_then(|entry| images.get(entry.at));
                named = entry.map_or(settings.dockerfile, |entry| entry.settings.dockerfile.clone());
            }
            FoundBy::File | FoundBy::FileAmongOthers | FoundBy::Entry => {}
        }
        if let Some(path) = named.and_then(|named| conf::resolve_path(&service.dir, named.get_ref())) {
            service.dockerfile = path;
        }
        service.images = images;
    }
}

fn read_templates(root: &Path, wanted: &Wanted, service: &mut ServiceSource) {
    let claimed = |path: &str| {
        let path = service.path(path);
        Some((wanted.claim(&path)?, path))
    };
    let paths: Vec<(Claim, String)> = service.listing.templates().filter_map(claimed).collect();
    for (claim, path) in paths {
        let Some(output) = output_path(&service.dir, &path) else { continue };
        let claim = match claim {
            Claim::Content if output == service.dockerfile => Claim::Name,
            claim => claim,
        };
        match read::template(root, path, output, claim) {
            Ok(template) => service.templates.extend(template),
            Err(problem) => service.problems.push(problem),
        }
    }
}
