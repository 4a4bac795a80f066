//! Pure: which names are pushed.

use std::collections::BTreeSet;

use crate::graph::ImageGraph;
use crate::model::{ImageName, Observed, Phase, Plan, Proof, Reason, Skipped, Step, StepId, StepKind};

/// One push for each selected image, under its full name and each of its tags. An image that was to be built is pushed only if it was.
/// Where nothing is built before (`store` is what there is), a missing name is made of the plain one.
pub fn plan(selected: &BTreeSet<ImageName>, graph: &ImageGraph, store: Option<&Observed>) -> Plan {
    let mut plan = Plan::default();
    for image in graph.images().iter().filter(|image| selected.contains(&image.name)) {
        let mut first: Option<StepId> = None;
        for (reference, plain) in image.pushed_names() {
            let (name, full) = (image.name.as_str(), reference.familiar());
            let mut needs = vec![StepId::new(Phase::Build, name), StepId::new(Phase::Verify, name)];
            let mut from = None;
            let is_missing =
                |store: &&Observed| store.capabilities.is_some() && store.find(reference).is_none();
            if let Some(store) = store.filter(is_missing) {
                let Some(plain) = plain.filter(|plain| store.find(plain).is_some()) else {
                    let why = Reason::NothingToPush(image.name.clone());
                    plan.skipped.push(Skipped { phase: Phase::Push, subject: full, why });
                    continue;
                };
                from = Some(plain.clone());
            }
            // Further tags cost next to nothing once the registry has the layers, and would be sent twice before.
            needs.extend(first.clone());
            let id = StepId::new(Phase::Push, if first.is_none() { name } else { &full });
            first.get_or_insert_with(|| id.clone());
            let why = from
                .clone()
                .map_or(Reason::Asked, |from| Reason::AliasMissing { from, fell_back_past: Vec::new() });
            let kind = StepKind::Push { reference: reference.clone(), from, proof: Proof::Word };
            plan.steps.push(Step {
                id,
                phase: Phase::Push,
                subject: full,
                kind,
                needs,
                after: Vec::new(),
                why,
            });
        }
    }
    plan
}
