//! Pure: what has to be true of the store once everything is built.

use std::collections::BTreeSet;

use super::build::{Assessment, names};
use crate::graph::ImageGraph;
use crate::model::{Expectation, ImageName, ImageSource, Phase, Plan, Reason, Step, StepId, StepKind};

/// One check for each selected image: its names, its size, its platform and the fingerprint that was planned.
pub fn plan(selected: &BTreeSet<ImageName>, graph: &ImageGraph, assessments: &[Assessment]) -> Plan {
    let steps = graph.images().iter().zip(assessments).filter(|(image, _)| selected.contains(&image.name));
    let steps = steps.map(|(image, assessment)| {
        let key = match image.source {
            ImageSource::Build(_) => assessment.key.clone(),
            ImageSource::External(_) => None,
        };
        let expectation = Expectation { names: names(image), platform: image.platform.clone(), key };
        Step {
            id: StepId::new(Phase::Verify, image.name.as_str()),
            phase: Phase::Verify,
            subject: image.name.to_string(),
            kind: StepKind::Verify(expectation),
            needs: Vec::new(),
            after: Vec::new(),
            why: Reason::Asked,
        }
    });
    Plan { steps: steps.collect(), skipped: Vec::new() }
}
