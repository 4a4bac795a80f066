//! Pure: what a rebuild comes to, image by image, as text and JSON, before anything is started.
//!
//! In: the plan, the lineages, the store. Out: a [`RebuildPreview`]: what is rebuilt and why, what runs again, and what
//! cannot be rebuilt here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::forecast::{KeptRecord, Rerun, forecast};
use super::lineage::{Lineage, parse_record};
use crate::model::{
    Capabilities, Change, ImageName, ImageSource, Observed, Outcome, Phase, Plan, Reason, StepId, StepKind,
    labels,
};
use crate::read::graph::ImageGraph;

/// What a rebuild comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RebuildPreview {
    /// Of this document: 1.
    pub version: u32,
    /// One for each selected image, in build order.
    pub images: Vec<ImagePreview>,
}

/// What becomes of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImagePreview {
    /// Which.
    pub name: ImageName,
    /// What is done with it.
    pub action: RebuildAction,
    /// Why.
    pub reason: String,
    /// What is sure to need a network, and so forbids it.
    pub blockers: Vec<Rerun>,
    /// What else runs again.
    pub reruns: Vec<Rerun>,
}

/// What is done with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebuildAction {
    /// Nothing.
    Keep,
    /// It gets a name, no more.
    Tag,
    /// It is built again.
    Rebuild,
    /// It cannot be built here.
    Refuse,
}

/// Looks ahead.
pub fn preview(
    selected: &BTreeSet<ImageName>,
    graph: &ImageGraph,
    plan: &Plan,
    lineages: &BTreeMap<ImageName, Vec<Lineage>>,
    observed: &Observed,
) -> RebuildPreview {
    let mut images = Vec::new();
    for image in graph.images().iter().filter(|image| selected.contains(&image.name)) {
        let id = StepId::new(Phase::Build, image.name.as_str());
        let step = plan.steps.iter().find(|step| step.id == id);
        let mut skipped = plan.skipped.iter().filter(|skipped| skipped.phase == Phase::Build);
        let skipped = skipped.find(|skipped| skipped.subject == image.name.as_str());
        let mut preview = ImagePreview {
            name: image.name.clone(),
            action: RebuildAction::Keep,
            reason: String::new(),
            blockers: Vec::new(),
            reruns: Vec::new(),
        };
        match (step, skipped) {
            (Some(step), _) => {
                preview.reason = step.why.to_string();
                preview.action = if matches!(step.kind, StepKind::Build(_)) {
                    RebuildAction::Rebuild
                } else {
                    RebuildAction::Tag
                };
            }
            (None, Some(skipped)) => {
                preview.reason = skipped.why.to_string();
                let is_refused = matches!(skipped.why.outcome(), Outcome::Failed)
                    || matches!(skipped.why, Reason::NeedFails(_));
                preview.action = if is_refused { RebuildAction::Refuse } else { RebuildAction::Keep };
            }
            (None, None) => continue,
        }
        if let (RebuildAction::Rebuild, ImageSource::Build(target)) = (preview.action, &image.source) {
            // Image and stages came together, and only the image says which release wrote it.
            let is_former = matches!(step.map(|step| &step.why), Some(Reason::Changed(changes)) if changes.contains(&Change::KeyFormat));
            let recorded = |lineage: &Lineage| match record_of(lineage, observed) {
                KeptRecord::Known(steps) if is_former => KeptRecord::Former(steps),
                record => record,
            };
            let all = lineages.get(&image.name).map_or(&[][..], Vec::as_slice);
            let ahead = forecast(&image.name, &target.dockerfile, all, recorded);
            preview.blockers = ahead.blockers().cloned().collect();
            preview.reruns = ahead.reruns.into_iter().filter(|r| !preview.blockers.contains(r)).collect();
            if !preview.blockers.is_empty() {
                preview.action = RebuildAction::Refuse;
            }
        }
        images.push(preview);
    }
    RebuildPreview { version: 1, images }
}

fn record_of(lineage: &Lineage, observed: &Observed) -> KeptRecord {
    let Some(kept) = observed.find(&lineage.reference) else { return KeptRecord::Absent };
    let made = kept.labels.get(labels::BUILDER);
    if let (Some(made), Some(here)) = (made, observed.capabilities.as_ref().map(Capabilities::builder))
        && made != here
    {
        return KeptRecord::OtherBuilder(made.clone(), here.to_owned());
    }
    kept.labels
        .get(labels::LINEAGE)
        .and_then(|text| parse_record(text))
        .map_or(KeptRecord::Absent, KeptRecord::Known)
}

impl RebuildPreview {
    /// What cannot be rebuilt here.
    pub fn refused(&self) -> impl Iterator<Item = &ImagePreview> {
        self.images.iter().filter(|image| image.action == RebuildAction::Refuse)
    }

    /// For people.
    pub fn text(&self) -> String {
        let width = self.images.iter().map(|p| p.name.as_str().chars().count()).max().unwrap_or_default();
        let mut text = String::new();
        // Writing to a String cannot fail.
        for image in &self.images {
            let action = match image.action {
                RebuildAction::Keep => "stays",
                RebuildAction::Tag => "gets a name",
                RebuildAction::Rebuild => "is rebuilt",
                RebuildAction::Refuse => "cannot be rebuilt here",
            };
            let _ = writeln!(text, "{:width$}  {action} ({})", image.name.as_str(), image.reason);
            for blocker in &image.blockers {
                let _ = writeln!(text, "{:width$}    {blocker}", "");
            }
            for rerun in image.reruns.iter().filter(|rerun| rerun.is_worth_telling()) {
                let _ = writeln!(text, "{:width$}    {rerun}", "");
            }
        }
        text
    }
}
