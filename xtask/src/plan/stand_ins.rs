//! Pure: what the images that a Dockerfile names are called in the store, where that is not how it names them.
//!
//! In: the graph, which knows what the names mean, and the store. Out: the text for the builder. `FROM base` is built as
//! `FROM base:v2` in the tag `v2`, what an image extends under its own name is built on by its further name, and what is
//! pinned by digest by the name that the engine knows it by.

use std::collections::{BTreeMap, HashMap};

use crate::model::{
    BaseImage, BuildTarget, Image, ImageName, Observed, Plan, Platform, Reference, StepId, StepKind,
};
use crate::read::graph::ImageGraph;
use dockerfile::OtherNames;

/// The text of a Dockerfile, or of its beginning, as the builder gets it.
pub fn text(
    text: &str,
    image: &Image,
    target: &BuildTarget,
    graph: &ImageGraph,
    observed: &Observed,
) -> String {
    let own = observed.capabilities.as_ref().map_or_else(Platform::local, |known| known.platform.clone());
    let options = target.options(&image.platform, &own);
    dockerfile::rename(text, &options, &stand_ins(image, graph, observed))
}

/// What the names in that text stand for where there is no store: images of this tree as the registry has them, or will
/// once `built` has them, and base images as they were seen. What was seen is pinned, so that what is built on is what the key
/// says.
pub fn contexts(
    image: &Image,
    graph: &ImageGraph,
    observed: &Observed,
    built: &HashMap<&ImageName, StepId>,
) -> BTreeMap<Reference, Reference> {
    let seen = |name: &Reference| Some(name.pinned(observed.find(name)?.id.digest()));
    let for_base = |base: &BaseImage| observed.of_platform(base.platform.as_ref().unwrap_or(&image.platform));
    let needs = image.asks_for.iter().chain(on_other_platforms(image)).filter_map(|(written, need)| {
        let need = graph.get(need)?;
        let is_its_name = need.names().any(|name| name == written);
        let written = if is_its_name { written } else { &need.reference };
        let there = if built.contains_key(&need.name) { None } else { seen(&need.reference) };
        Some((written.clone(), there.unwrap_or_else(|| need.reference.clone())))
    });
    let named = stand_ins(image, graph, observed);
    let bases = image.base_images.iter().filter(|base| !image.asks_for.contains_key(&base.reference));
    let bases = bases.filter_map(|base| {
        let written = (base.reference.clone(), base.platform.clone());
        let name = named.get(&written).unwrap_or(&base.reference);
        Some((name.clone(), name.pinned(for_base(base).find(name)?.id.digest())))
    });
    needs.chain(bases).collect()
}

/// What an image asks for on another platform than its own.
fn on_other_platforms(image: &Image) -> impl Iterator<Item = (&Reference, &ImageName)> {
    image.asks_for_on.iter().map(|((written, _), need)| (written, need))
}

/// The names in that text, all of which a builder without a store is lent of an engine's.
pub fn lent(image: &Image, graph: &ImageGraph, observed: &Observed) -> BTreeMap<Reference, Reference> {
    let named = stand_ins(image, graph, observed);
    let own = image.asks_for.keys().map(|written| (written.clone(), None));
    let others = image.asks_for_on.keys().map(|(written, on)| (written.clone(), Some(on.clone())));
    let bases = image.base_images.iter().map(|base| (base.reference.clone(), base.platform.clone()));
    let names =
        own.chain(others).chain(bases).map(|written| named.get(&written).unwrap_or(&written.0).clone());
    names.map(|name| (name.clone(), name)).collect()
}

fn stand_ins(image: &Image, graph: &ImageGraph, observed: &Observed) -> OtherNames {
    let upstreams = graph.upstreams();
    let own = image.asks_for.iter().map(|(written, need)| ((written.clone(), None), need));
    let others = image.asks_for_on.iter();
    let others = others.map(|((written, on), need)| ((written.clone(), Some(on.clone())), need));
    let needs = own.chain(others).filter_map(|(written, need)| {
        let need = graph.get(need)?;
        let is_its_name = need.names().any(|name| *name == written.0);
        (!is_its_name).then(|| (written, need.reference.clone()))
    });
    let bases = image.base_images.iter().filter_map(|base| {
        let observed = observed.of_platform(base.platform.as_ref().unwrap_or(&image.platform));
        let written = (base.reference.clone(), base.platform.clone());
        let base = &base.reference;
        let (found, _) = upstreams.find(base, observed)?;
        let name = upstreams.twin_of(base).filter(|_| upstreams.is_taken(base)).unwrap_or(found);
        // What is pinned by digest may be here under a name without one.
        let name = observed.name_here(name).unwrap_or_else(|| name.clone());
        (name != *base).then_some((written, name))
    });
    let left = left(image, graph).map(|(written, name)| ((written.clone(), None), name.clone()));
    left.chain(needs).chain(bases).collect()
}

/// The names of images of this tree that triggers of an image have to bring along, since whoever stands on it gets its
/// triggers and not this text. The plain ones: they are the same with a registry and without.
pub fn left<'g>(
    image: &Image,
    graph: &'g ImageGraph,
) -> impl Iterator<Item = (&'g Reference, &'g Reference)> {
    let plain = |need: &'g Image| {
        let (full, plain) = need.known_names().next().unwrap_or((&need.reference, None));
        plain.unwrap_or(full)
    };
    let named = graph.left_by(&image.name).map(move |(written, need)| (written, plain(need)));
    named.filter(|(written, name)| written != name)
}

/// A base image that would be lost, or that is nowhere but under the name of what was built upon it. `before` is what
/// is going to be pulled and named.
pub fn hidden<'i>(
    image: &'i Image,
    graph: &ImageGraph,
    observed: &Observed,
    before: &Plan,
) -> Option<&'i Reference> {
    let upstreams = graph.upstreams();
    image.base_images.iter().map(|base| &base.reference).find(|base| {
        let Some(twin) = upstreams.twin_of(base) else { return false };
        let comes = before.steps.iter().any(|step| match &step.kind {
            StepKind::Tag { targets, .. } => targets.contains(twin),
            StepKind::Pull { reference, .. } => reference == *base || reference == twin,
            _ => false,
        });
        let is_lost = upstreams.is_taken(base) && upstreams.at(base, observed).is_some();
        let is_away = upstreams.at(twin, observed).is_none();
        is_away && !comes && (is_lost || upstreams.is_own(base, observed))
    })
}
