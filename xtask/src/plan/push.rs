//! Pure: which names are pushed.

use std::collections::BTreeSet;

use crate::graph::ImageGraph;
use crate::model::{ImageName, Phase, Plan, Reason, Step, StepId, StepKind};

/// One push for each selected image, under its full name. An image that was to be built is pushed only if it was.
pub fn plan(selected: &BTreeSet<ImageName>, graph: &ImageGraph) -> Plan {
    let steps = graph.images().iter().filter(|image| selected.contains(&image.name)).map(|image| Step {
        id: StepId::new(Phase::Push, image.name.as_str()),
        phase: Phase::Push,
        subject: image.reference.familiar(),
        kind: StepKind::Push { reference: image.reference.clone() },
        needs: vec![
            StepId::new(Phase::Build, image.name.as_str()),
            StepId::new(Phase::Verify, image.name.as_str()),
        ],
        after: Vec::new(),
        why: Reason::Asked,
    });
    Plan { steps: steps.collect(), skipped: Vec::new() }
}
