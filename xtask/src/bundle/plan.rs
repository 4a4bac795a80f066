//! What is done with a bundle, as a plan. Pure.

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::bundle::{ProvenFrom, SaveSpec, Unpack, WantedImage};
use crate::model::{
    BundleStep, Digest, ImageName, OnFailure, Phase, Plan, Reason, Reference, Stage, Step, StepKind,
};

/// All of a bundle is read.
pub fn verify(file: &Path, unpack: Unpack) -> Plan {
    let step = BundleStep::Verify { file: file.to_owned(), unpack };
    let steps = vec![step_of(Phase::Verify, &file_name(file), step, Reason::NotProven)];
    Plan { steps, stages: vec![stage(Phase::Verify)], ..Plan::default() }
}

/// All of a bundle is read, and this machine given what it lacks of it. Of the layers in `unpack` it is proven what they
/// unpack to.
pub fn load(file: &Path, unpack: BTreeSet<Digest>) -> Plan {
    let mut plan = verify(file, Unpack::Only(unpack));
    let step = BundleStep::Load { file: file.to_owned() };
    let load = step_of(Phase::Load, &file_name(file), step, Reason::Asked);
    plan.steps.push(chained(load, plan.steps.last()));
    plan.stages.push(stage(Phase::Load));
    plan
}

/// Images are got out of the engine, by the names that it has them by; those in `proven` are rebuilt from nothing else; a
/// bundle is written. The stage is that of a run which builds them.
pub fn save(
    images: Vec<(Reference, WantedImage)>,
    proven: Option<BTreeSet<ImageName>>,
    spec: SaveSpec,
) -> Plan {
    let name = file_name(spec.output.path());
    let fetch = BundleStep::Fetch { images };
    let mut steps = vec![step_of(Phase::Save, "images", fetch, Reason::GoesAlong)];
    let proof = proven.map(|images| proof_in(Phase::Save, images, ProvenFrom::Fetched));
    let write = step_of(Phase::Save, &name, BundleStep::Save(Box::new(spec)), Reason::Asked);
    for step in proof.into_iter().chain([write]) {
        steps.push(chained(step, steps.last()));
    }
    Plan { steps, ..Plan::default() }
}

/// Images are rebuilt from nothing but these of the engine's store.
pub fn prove(images: BTreeSet<ImageName>, from: Vec<Reference>) -> Plan {
    let steps = vec![proof_in(Phase::Test, images, ProvenFrom::Store(from))];
    Plan { steps, stages: vec![stage(Phase::Test)], ..Plan::default() }
}

/// A path as the end of a line tells it.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn step_of(phase: Phase, subject: &str, step: BundleStep, why: Reason) -> Step {
    Step::new(phase, subject, StepKind::Bundle(step), why)
}

fn proof_in(phase: Phase, images: BTreeSet<ImageName>, from: ProvenFrom) -> Step {
    step_of(phase, "proof", BundleStep::Prove { images, from }, Reason::Asked)
}

fn chained(step: Step, before: Option<&Step>) -> Step {
    Step { needs: before.map(|step| step.id.clone()).into_iter().collect(), ..step }
}

fn stage(phase: Phase) -> Stage {
    Stage { phase, replan: None, on_failure: OnFailure::EndAfterPhase }
}
