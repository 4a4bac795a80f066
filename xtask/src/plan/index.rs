//! Pure: which images that are made for several platforms get their names, as image indexes over their variants.
//!
//! In: the graph, the store, what is going to be built. Out: one step for each index that is not there, or not over what a
//! build gives now. It is made only when all of its variants are there.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::build::{Assessment, current};
use crate::model::{
    Digest, Image, ImageId, ImageIndex, ImageName, IndexSpec, IndexVariant, Observed, Outcome, Phase, Plan,
    Reason, Skipped, Step, StepId, StepKind, labels,
};
use crate::read::graph::ImageGraph;

/// The index phase. `builds` is what is going to be built before.
pub fn plan(
    selected: &BTreeSet<ImageName>,
    graph: &ImageGraph,
    assessments: &[Assessment],
    observed: &Observed,
    builds: &Plan,
) -> Plan {
    let mut plan = Plan::default();
    for (index, variants) in indexes(graph, assessments) {
        if variants.iter().any(|(image, _)| !selected.contains(&image.name)) {
            continue;
        }
        let subject = index.name.to_string();
        let is_of = |name: &str| variants.iter().any(|(image, _)| image.name.as_str() == name);
        let is_bad = |s: &&Skipped| {
            s.phase == Phase::Build
                && is_of(&s.subject)
                && matches!(s.why.outcome(), Outcome::Failed | Outcome::Skipped)
        };
        if let Some(bad) = builds.skipped.iter().find(is_bad) {
            let why = Reason::NeedFails(ImageName::new(bad.subject.clone()));
            plan.skipped.push(Skipped::new(Phase::Index, subject, why));
            continue;
        }
        let steps = builds.steps.iter().filter(|step| step.phase == Phase::Build && is_of(&step.subject));
        let needs: Vec<StepId> = steps.map(|step| step.id.clone()).collect();
        let why = match (needs.is_empty(), lacking(index, &variants, observed)) {
            (true, None) => {
                plan.skipped.push(Skipped::new(Phase::Index, subject, Reason::InStore));
                continue;
            }
            (true, Some(why)) | (false, Some(why @ Reason::NotBuilt)) => why,
            (false, _) => Reason::Built,
        };
        let spec = spec(index, &variants, observed, &needs);
        plan.steps.push(Step { needs, ..Step::new(Phase::Index, subject, StepKind::Index(spec), why) });
    }
    plan
}

type Variant<'a> = (&'a Image, &'a Assessment);

/// Every index, with its variants in the order of their platforms.
fn indexes<'a>(
    graph: &'a ImageGraph,
    assessments: &'a [Assessment],
) -> Vec<(&'a ImageIndex, Vec<Variant<'a>>)> {
    let mut all: BTreeMap<&ImageName, (&ImageIndex, Vec<Variant<'a>>)> = BTreeMap::new();
    for variant in graph.images().iter().zip(assessments) {
        if let Some(index) = variant.0.index.as_deref() {
            all.entry(&index.name).or_insert_with(|| (index, Vec::new())).1.push(variant);
        }
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.iter_mut().for_each(|(_, variants)| variants.sort_by_key(|(image, _)| &image.platform));
    all
}

/// Why an index has to be made; none where all of its names are there and stand for what is up to date.
fn lacking(index: &ImageIndex, variants: &[Variant<'_>], observed: &Observed) -> Option<Reason> {
    observed.capabilities.as_ref()?;
    let missing = |observed: &Observed| {
        index.pushed_names().find(|(name, _)| observed.find(name).is_none()).map(|(name, _)| name.clone())
    };
    if let Some(name) = missing(observed) {
        return Some(if name == index.reference { Reason::NotBuilt } else { Reason::NameMissing(name) });
    }
    let here = |name| observed.find(name).map(|found| &found.id);
    let first = here(&index.reference)?;
    let names = index.names().filter(|_| !observed.is_registry());
    let mut names = names.chain(index.pushed_names().map(|(name, _)| name));
    if let Some(other) = names.find(|name| here(name) != Some(first)) {
        return Some(Reason::NameMissing(other.clone()));
    }
    let found: Vec<Option<&ImageId>> = variants
        .iter()
        .map(|(image, assessment)| Some(&current(image, assessment.key.as_ref(), observed)?.1.id))
        .collect();
    let is_over = match observed.is_registry() {
        // There each was found by way of the index.
        true => found.iter().all(|id| *id == Some(first)),
        false => observed.entries_of(first).is_some_and(|entries| {
            // A bundle may bring what is the index under the name of one of its images too.
            let is_in = |id: &ImageId| id == first || entries.contains(id);
            entries.len() == found.len() && found.iter().all(|id| id.is_some_and(is_in))
        }),
    };
    (!is_over).then(|| Reason::NameMissing(index.reference.clone()))
}

fn spec(index: &ImageIndex, variants: &[Variant<'_>], observed: &Observed, builds: &[StepId]) -> IndexSpec {
    let entry = |(image, _): &Variant<'_>| {
        let is_built = builds.contains(&StepId::new(Phase::Build, image.name.as_str()));
        let known = observed.find(&image.reference).filter(|_| !is_built && observed.is_registry());
        let there = known.map(|found| index.reference.pinned(found.id.digest()));
        IndexVariant { platform: image.platform.clone(), name: image.reference.clone(), there }
    };
    let mut annotations = BTreeMap::from([(labels::TITLE.to_owned(), index.name.to_string())]);
    annotations.extend(index.reference.tag().map(|tag| (labels::VERSION.to_owned(), tag.to_owned())));
    annotations.extend(key(variants).map(|key| (labels::FINGERPRINT.to_owned(), key.to_string())));
    let names = match observed.is_registry() {
        true => index.pushed_names().map(|(name, _)| name.clone()).collect(),
        false => index.names().cloned().collect(),
    };
    IndexSpec { names, variants: variants.iter().map(entry).collect(), annotations }
}

/// The key of an image that is made for several platforms: over those of its variants, in the order of their names; none
/// while one of these has none.
pub fn key_of<'a>(keys: impl Iterator<Item = Option<&'a Digest>>) -> Option<Digest> {
    let mut hash = Sha256::new();
    for key in keys {
        hash.update(key?.as_str());
        hash.update("\n");
    }
    Some(Digest::from_sha256(&hash.finalize().into()))
}

fn key(variants: &[Variant<'_>]) -> Option<Digest> {
    key_of(variants.iter().map(|(_, assessment)| assessment.key.as_ref()))
}
