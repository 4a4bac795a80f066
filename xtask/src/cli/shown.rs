//! A plan as it is shown: the document that `plan`, `--dry-run` and records have, and what is foreseen with it.

use super::session::Session;
use super::world::World;
use super::{locked, secret_args};
use crate::model::{
    ArtifactKind, Diagnostic, Image, ImageSource, Phase, Plan, PullSource, Reason, Reference, StepId,
    StepKind,
};
use crate::plan::explain::{self, Inputs, PlanDocument, Scope};
use crate::plan::{Planned, Request};
use crate::registry::network;

/// The document that `plan` and `--dry-run` print.
pub(super) fn document(session: &Session, world: &World, planned: &Planned, inputs: Inputs) -> PlanDocument {
    let entries = explain::image_entries(
        &planned.selected,
        &world.tree.graph,
        &world.tree.contexts,
        &planned.assessments,
        &world.observed,
        inputs,
    );
    let mut diagnostics = world.tree.diagnostics(&planned.selected);
    diagnostics.extend(locked::diagnostics(session, world, planned));
    diagnostics.extend(samples(world, planned));
    diagnostics.extend(secret_args::diagnostics(world, planned));
    let base_id =
        |base: &Reference| Some(world.tree.graph.upstreams().find(base, &world.observed)?.1.id.clone());
    explain::document(entries, &planned.plan, planned.network.as_ref(), base_id, &diagnostics)
}

/// The same for a plan that is only shown. What a run tells at its end, once it has gone wrong, is foreseen here: base
/// images that nobody is going to give.
pub(super) fn foreseeing(
    session: &Session,
    world: &World,
    planned: &Planned,
    inputs: Inputs,
) -> PlanDocument {
    let mut document = document(session, world, planned, inputs);
    document.diagnostics.extend(hopeless(world, planned));
    document
}

/// A command about files alone hears of the templates that it renders, and of nothing else.
pub(super) fn retain_concerning(request: &Request, world: &World, document: &mut PlanDocument) {
    if !request.needs_images() && !request.asks_network() {
        let found = world.render.problems().chain(&world.render.warnings);
        document.diagnostics = found.filter(|_| request.has(Phase::Render)).cloned().collect();
    }
}

/// The document without secrets in what is free text in it: reasons and messages. Names, references and paths stay.
pub(super) fn hidden(session: &Session, mut document: PlanDocument) -> PlanDocument {
    let images = document.images.iter_mut().flat_map(|image| {
        let variants = image.variants.iter_mut().map(|variant| &mut variant.reason);
        variants.chain([&mut image.reason])
    });
    let steps = document.steps.iter_mut().map(|step| &mut step.why);
    let skipped = document.skipped.iter_mut().map(|skipped| &mut skipped.why);
    let diagnostics = document.diagnostics.iter_mut().map(|found| &mut found.message);
    images.chain(steps).chain(skipped).chain(diagnostics).for_each(|text| session.secrets.redact_in(text));
    document
}

/// Where the sample goes into an image in place of the release.
fn samples(world: &World, planned: &Planned) -> Vec<Diagnostic> {
    let is_to_build = |image: &&Image| {
        let id = StepId::new(Phase::Build, image.name.as_str());
        planned.plan.steps.iter().any(|step| step.id == id && matches!(step.kind, StepKind::Build(_)))
    };
    let images = world.tree.graph.images().iter().filter(is_to_build);
    let samples = images.filter_map(|image| {
        let ImageSource::Build(target) = &image.source else { return None };
        let artifact = image.base_image()?.artifact.as_ref()?;
        let message = || format!("{} is the sample artifact, not the release", artifact.file);
        (artifact.kind == ArtifactKind::Sample).then(|| Diagnostic::warning(&target.dockerfile, 0, message()))
    });
    samples.collect()
}

/// Why a base image is hopeless where nobody forbids to pull it.
const SILENCE: &str = "not here and no registry answers";

/// Base images that are not here and that nobody is going to give, each once, at the first place that names it.
fn hopeless(world: &World, planned: &Planned) -> Vec<Diagnostic> {
    let nobody_answers = planned.network.as_ref().is_some_and(network::nobody_answered);
    let why = |base: &Reference| {
        let name = base.familiar();
        let mut skipped = planned.plan.skipped.iter();
        let skipped = skipped.find(|skipped| skipped.phase == Phase::Prefetch && skipped.subject == name);
        match skipped.map(|skipped| &skipped.why) {
            Some(Reason::Offline) => Some("not here and --offline forbids to pull it".to_owned()),
            Some(why @ Reason::OnlyFor { .. }) => Some(why.to_string()),
            Some(Reason::NoInternalRegistry) => Some(SILENCE.to_owned()),
            _ if nobody_answers => {
                let mut steps = planned.plan.steps.iter();
                steps.any(|step| is_hopeless_pull(&step.kind, base)).then(|| SILENCE.to_owned())
            }
            _ => None,
        }
    };
    struct Found<'a> {
        base: &'a Reference,
        why: String,
        places: Vec<(&'a str, u32)>,
    }
    let mut found: Vec<Found<'_>> = Vec::new();
    for image in world.tree.graph.images().iter().filter(|i| planned.selected.contains(&i.name)) {
        let ImageSource::Build(target) = &image.source else { continue };
        for base in &image.base_images {
            let place = (target.dockerfile.as_str(), base.line);
            match found.iter_mut().find(|found| *found.base == base.reference) {
                Some(found) => found.places.push(place),
                None => {
                    let base = &base.reference;
                    found.extend(why(base).map(|why| Found { base, why, places: vec![place] }));
                }
            }
        }
    }
    let told = found.into_iter().filter_map(|Found { base, why, places }| {
        let (file, line) = *places.first()?;
        let name = base.familiar();
        let others = match places.len() - 1 {
            0 => String::new(),
            1 => ", which another image needs too,".to_owned(),
            n => format!(", which {n} other images need too,"),
        };
        let out = if why == SILENCE {
            "name a mirror below [mirrors], or a registry inside (--internal-registry), or load a bundle that has it \
             (`cargo xtask bundle load FILE`)"
                .to_owned()
        } else {
            format!(
                "load a bundle that has it (`cargo xtask bundle load FILE`), or run `cargo xtask prefetch {name}` \
                 without --offline where there is a network"
            )
        };
        Some(Diagnostic::warning(file, line, format!("{name}{others} is {why}: {out}")))
    });
    told.collect()
}

/// A pull that only registries could satisfy.
fn is_hopeless_pull(kind: &StepKind, wanted: &Reference) -> bool {
    let StepKind::Pull { reference, sources, .. } = kind else { return false };
    reference == wanted && sources.iter().all(|source| matches!(source, PullSource::Registry(_)))
}

/// What a plan does, as people read it, where more is told in another way.
pub(super) fn steps_text(session: &Session, plan: &Plan) -> String {
    let text = explain::steps(plan, &|text| session.hide_in_files(text));
    session.secrets.redact(&text).into_owned()
}

/// The plan as people read it, without anything that nobody may see.
pub(super) fn plan_text(session: &Session, world: &World, planned: &Planned, request: &Request) -> String {
    let mut document = foreseeing(session, world, planned, Inputs::None);
    let scope = match (request.needs_images(), request.asks_network()) {
        (true, _) => Scope::Images,
        (false, true) => Scope::BaseImages,
        (false, false) => Scope::Files,
    };
    retain_concerning(request, world, &mut document);
    let verdict = planned.network.as_ref();
    let text = explain::text(&document, &planned.plan, verdict, scope, &|text| session.hide_in_files(text));
    session.secrets.redact(&text).into_owned()
}
