//! Services that compose and bake files define, and which of those that were found they stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::{Discovered, FoundBy, ServiceSource, Wanted, entries, glob, read_service, sort};
use crate::model::Diagnostic;
use crate::read::conf::{SERVICE_TOML, folder_of};
use crate::read::definitions::{self, Definition};
use crate::settings::Config;

/// Reads the files of the setting `definitions`. A service that was found too gives way to what they define, and the
/// small files of its folder are read for that.
pub(super) fn read(config: &Config, wanted: &Wanted, found: &mut Discovered) {
    if config.definitions.is_empty() {
        return;
    }
    let mut paths = Vec::new();
    for named in &config.definitions {
        let (pattern, picks) =
            named.split_once('#').map_or((named.as_str(), ""), |(path, _)| (path, &named[path.len()..]));
        let files = glob::files(&config.root, pattern, &mut found.problems);
        match files.as_slice() {
            [] => paths.push(named.clone()),
            files => paths.extend(files.iter().map(|file| format!("{file}{picks}"))),
        }
    }
    let defined = definitions::read(config, &paths);
    found.problems.extend(defined.problems);
    let mut merged: BTreeMap<Arc<str>, BTreeSet<String>> = BTreeMap::new();
    found.services.retain(|service| {
        let by = defined.images.iter().find(|definition| stands_for(definition, service));
        // Who writes an `[[image]]` by the name of a definition means that one.
        if let Some(definition) = by.filter(|_| service.entry.is_none()) {
            merged.entry(definition.file.clone()).or_default().insert(service.name.clone());
        }
        by.is_none()
    });
    found.problems.extend(merged.into_iter().map(|(file, names)| told(&file, &names)));
    let dirs: Vec<&str> = defined.images.iter().map(dir_of).collect();
    let others: Vec<String> = found.services.iter().map(|service| service.dir.clone()).collect();
    let read = |definition: &Definition| {
        let dir = dir_of(definition);
        let is_among =
            dirs.iter().filter(|other| **other == dir).count() > 1 || others.iter().any(|other| other == dir);
        let found_by = if is_among { FoundBy::DefinitionAmongOthers } else { FoundBy::Definition };
        let service = ServiceSource {
            name: definition.name.clone(),
            found_by,
            dir: dir.to_owned(),
            dockerfile: definition.dockerfile.clone(),
            definition: Some(Arc::new(definition.clone())),
            ..ServiceSource::default()
        };
        read_service(&config.root, service, wanted)
    };
    let services: Vec<ServiceSource> = defined.images.par_iter().filter_map(read).collect();
    add_entries(config, wanted, &services, found);
    found.services.extend(services);
    sort(&mut found.services);
}

/// The folder whose small files say something of it: its Dockerfile's, or its context where the text is given.
fn dir_of(definition: &Definition) -> &str {
    match definition.inline {
        Some(_) => &definition.context,
        None => folder_of(&definition.dockerfile),
    }
}

/// `[[image]]` tables beside these definitions that none of them has the name of, where nobody found them yet.
fn add_entries(config: &Config, wanted: &Wanted, defined: &[ServiceSource], found: &mut Discovered) {
    let mut known: BTreeSet<String> = found.services.iter().map(|service| service.dir.clone()).collect();
    for service in defined.iter().filter(|service| !service.images.is_empty()) {
        if !known.insert(service.dir.clone()) {
            continue;
        }
        let is_made = |name: &str| {
            let mut of_folder = defined.iter().filter(|other| other.dir == service.dir);
            of_folder.any(|other| other.name.eq_ignore_ascii_case(name))
        };
        let folder = entries::folder_like(config, service);
        found.services.extend(entries::read(&config.root, &folder, wanted, &is_made));
    }
}

/// They have one Dockerfile, or one name and one folder. An image of several that a `service.toml` has is told by its name.
fn stands_for(definition: &Definition, service: &ServiceSource) -> bool {
    if service.entry.is_some() {
        return definition.name.eq_ignore_ascii_case(&service.name) && dir_of(definition) == service.dir;
    }
    let is_same_file = definition.inline.is_none() && definition.dockerfile == service.dockerfile;
    let is_same_name = definition.name.eq_ignore_ascii_case(&service.name);
    is_same_file || (is_same_name && definition.context == service.dir)
}

fn told(file: &str, names: &BTreeSet<String>) -> Diagnostic {
    let count = names.len();
    let names: Vec<&str> = names.iter().map(String::as_str).take(8).collect();
    let more = if count > names.len() { format!(" and {} more", count - names.len()) } else { String::new() };
    let message = format!(
        "defines what folders of `services` have too: {}{more}; what stands here counts, and {SERVICE_TOML} over it",
        names.join(", ")
    );
    Diagnostic::warning(file, 0, message)
}
