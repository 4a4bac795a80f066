//! Pure: what has to be true of the store once everything is built.

use std::collections::BTreeSet;

use super::build::Assessment;
use crate::model::{
    Expectation, Image, ImageId, ImageName, ImageSource, Phase, Plan, Reason, Reference, Step, StepKind,
    Upstreams,
};
use crate::read::graph::ImageGraph;

/// Base images above this are warned of: every service carries its base along (SPEC section 3).
const LARGE_BASE_IMAGE: u64 = 1_500_000_000;

/// One check for each selected image: its names, its size, its platform, the fingerprint that was planned
/// and the base images that this stands for.
pub fn plan(selected: &BTreeSet<ImageName>, graph: &ImageGraph, assessments: &[Assessment]) -> Plan {
    let steps = graph.images().iter().zip(assessments).filter(|(image, _)| selected.contains(&image.name));
    let steps = steps.map(|(image, assessment)| {
        let key = match image.source {
            ImageSource::Build(_) => assessment.key.clone(),
            ImageSource::External(_) => None,
        };
        let expectation = Expectation {
            names: image.names().cloned().collect(),
            platform: image.platform.clone(),
            key,
            bases: bases(image, assessment, graph.upstreams()),
            size_limit: image.base_image().map(|_| LARGE_BASE_IMAGE),
        };
        Step::new(Phase::Verify, image.name.as_str(), StepKind::Verify(expectation), Reason::Asked)
    });
    Plan { steps: steps.collect(), ..Plan::default() }
}

/// The base images that the key stands for, each by a name that no build takes.
fn bases(image: &Image, assessment: &Assessment, upstreams: &Upstreams) -> Vec<(Reference, ImageId)> {
    let references = image.base_images.iter().map(|base| &base.reference);
    let mut bases = Vec::with_capacity(image.base_images.len());
    bases.extend(references.filter_map(|base| {
        let id = assessment.base_ids.get(base)?.clone();
        let name = match upstreams.twin_of(base) {
            Some(twin) if upstreams.is_taken(base) => twin,
            // Which of the two it was found by is no matter.
            Some(_) => return None,
            None => base,
        };
        Some((name.clone(), id))
    }));
    bases
}
