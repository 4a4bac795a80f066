//! Pure: which names are pushed.

use std::collections::BTreeSet;

use super::build::{Assessment, current};
use crate::model::{
    Image, ImageName, Observed, Phase, Plan, PushProof, Reason, Reference, Skipped, Step, StepId, StepKind,
    labels,
};
use crate::read::graph::ImageGraph;

/// What is there when nothing is built before.
#[derive(Clone, Copy, Debug)]
pub struct Available<'a> {
    /// The store.
    pub observed: &'a Observed,
    /// How each image of the graph stands, in its order.
    pub assessments: &'a [Assessment],
}

/// One push for each selected image, under its full name and each of its tags. An image that was to be built is pushed only if it was.
/// Where nothing is built before, a name that is missing or behind is made of the image that a build would name so.
/// What `forbid` gives a reason for is not pushed.
pub fn plan(
    selected: &BTreeSet<ImageName>,
    graph: &ImageGraph,
    available: Option<Available<'_>>,
    forbid: &dyn Fn(&Reference) -> Option<&'static str>,
) -> Plan {
    let mut plan = Plan::default();
    let mut indexes: BTreeSet<ImageName> = BTreeSet::new();
    for image in graph.images().iter().filter(|image| selected.contains(&image.name)) {
        let whole = image.name.image();
        if image.index.is_some() && !indexes.insert(whole.clone()) {
            continue;
        }
        let mut first: Option<StepId> = None;
        for (reference, plain) in image.known_names() {
            let (name, full) = (whole.as_str(), reference.familiar());
            if let Some(why) = forbid(reference).map(|why| Reason::PushForbidden(why.to_owned())) {
                plan.skipped.push(Skipped::new(Phase::Push, full, why));
                continue;
            }
            let mut needs = match image.index {
                // It is made only if all of its variants are there.
                Some(_) => vec![StepId::new(Phase::Index, name)],
                None => vec![StepId::new(Phase::Build, name), StepId::new(Phase::Verify, name)],
            };
            let (mut from, mut why) = (None, Reason::Asked);
            if let Some(available) = available.filter(|available| available.observed.capabilities.is_some()) {
                let index =
                    || [Some(reference), plain].into_iter().flatten().find(|name| is_here(name, available));
                let source =
                    if image.index.is_some() { index() } else { source(image, reference, plain, available) };
                let Some(source) = source else {
                    let why = Reason::NothingToPush(whole.clone());
                    plan.skipped.push(Skipped::new(Phase::Push, full, why));
                    continue;
                };
                let here = available.observed.find(reference).map(|here| &here.id);
                if here != available.observed.find(source).map(|right| &right.id) {
                    from = Some(source.clone());
                    why = match here {
                        None => Reason::AliasMissing { from: source.clone(), fell_back_past: Vec::new() },
                        Some(_) => Reason::NameMissing(reference.clone()),
                    };
                }
            }
            // Further tags cost next to nothing once the registry has the layers, and would be sent twice before.
            needs.extend(first.clone());
            let id = StepId::new(Phase::Push, if first.is_none() { name } else { &full });
            first.get_or_insert_with(|| id.clone());
            let kind = StepKind::Push { reference: reference.clone(), from, proof: PushProof::Word };
            plan.steps.push(Step { id, needs, ..Step::new(Phase::Push, full, kind, why) });
        }
    }
    plan
}

fn is_here(name: &Reference, available: Available<'_>) -> bool {
    available.observed.find(name).is_some()
}

/// A name of the image that is to be pushed: of the one that a build would give now; where none is, the plain one, which
/// every build gives, if it was built here; else the one that it is pushed as.
fn source<'a>(
    image: &'a Image,
    reference: &'a Reference,
    plain: Option<&'a Reference>,
    available: Available<'a>,
) -> Option<&'a Reference> {
    let assessment = available.assessments.iter().find(|assessment| assessment.name == image.name);
    let key = assessment.and_then(|assessment| assessment.key.as_ref());
    let find = |name: &&Reference| available.observed.find(name);
    let is_ours = |name: &&Reference| find(name).is_some_and(|i| i.labels.contains_key(labels::FINGERPRINT));
    let is_here = |name: &&Reference| find(name).is_some();
    let now = current(image, key, available.observed).map(|(name, _)| name);
    now.or_else(|| plain.filter(is_ours))
        .or_else(|| Some(reference).filter(is_here))
        .or_else(|| plain.filter(is_here))
}
