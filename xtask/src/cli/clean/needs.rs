//! What a tree asks of the store: names, and stages that it keeps.

use std::collections::{BTreeMap, BTreeSet};

use super::super::rebuild::compose_projects;
use super::super::session::Session;
use super::super::world::World;
use crate::model::{Digest, ImageId, ImageSource, Observed, Reference, Severity, labels};
use crate::plan::build;
use crate::read::tree;

/// Every name that the tree asks for, and who does: what it builds, what that stands on under all names that the
/// alias rules know, and what its compose files start.
pub(super) fn names(session: &Session, world: &World) -> BTreeMap<Reference, String> {
    let graph = &world.tree.graph;
    let mut names: BTreeMap<Reference, String> = BTreeMap::new();
    for image in graph.images() {
        let what = if matches!(image.source, ImageSource::Build(_)) { "builds" } else { "names" };
        for name in image.all_names() {
            names.insert(name.clone(), format!("which this tree {what}"));
        }
    }
    let originals = world.tree.originals(session.config.alias_rules());
    for image in graph.images() {
        for reference in build::prefetched(image) {
            let who = format!("which {} is built on", image.name);
            let family = session.config.alias_rules().names_of(&originals.original_of(reference));
            let twins = [Some(family.original), family.localhost, family.internal];
            for name in twins.into_iter().flatten().chain([reference.clone()]) {
                names.entry(name).or_insert_with(|| who.clone());
            }
        }
    }
    // One that cannot be read is told where it decides: nothing that has a name goes then.
    for project in compose_projects(session).unwrap_or_default() {
        for service in project.services {
            let image = service.image.into_iter();
            names.extend(image.map(|name| (name, format!("which {} starts", service.place))));
        }
    }
    names
}

/// The names of all stages that images of the tree keep; while some image cannot be read nobody can say.
pub(super) fn stages(session: &Session, world: &World) -> Result<BTreeSet<Reference>, String> {
    let wrong = world.tree.findings.iter().find(|found| found.diagnostic.severity == Severity::Error);
    if let Some(found) = wrong {
        return Err(format!("{} is wrong", found.diagnostic.place()));
    }
    if let Err(error) = compose_projects(session) {
        return Err(error.to_string());
    }
    let root = session.config.root.clone();
    let recall = move |digest: &Digest| tree::recall(&root, digest);
    let assessments = build::assess(&world.tree.graph, &world.tree.contexts, &world.observed, &recall);
    let lineages = world.tree.lineages(&world.observed, &assessments);
    Ok(lineages.into_values().flatten().map(|lineage| lineage.reference).collect())
}

/// Whole days since each image was built, as its label says.
pub(super) fn ages(observed: &Observed) -> BTreeMap<ImageId, u64> {
    let now = chrono::Utc::now();
    let age = |text: &str| {
        let built = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        u64::try_from((now - built.to_utc()).num_days()).ok()
    };
    let images = observed.images().iter();
    images
        .filter_map(|image| Some((image.id.clone(), age(image.labels.get(labels::BUILD_TIMESTAMP)?)?)))
        .collect()
}
