//! What a page is made of, as [`read`](super::read) finds it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::Event;

/// All that is on record of a run.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// The run's id.
    pub run: String,
    /// What happened.
    pub events: Vec<Event>,
    /// `plan.json`, as far as it can be read.
    pub plan: PlanRecord,
    /// The ends of logs, by the path that the events name.
    pub tails: BTreeMap<String, Tail>,
    /// What stands in the tree where something failed, by the place that the events name.
    pub excerpts: BTreeMap<String, Excerpt>,
    /// Of each image that was built: when it was built before.
    pub earlier: BTreeMap<String, Earlier>,
    /// Of each image: its size the last time that a run before this one saw it.
    pub sizes: BTreeMap<String, FormerSize>,
}

/// The end of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tail {
    /// Its last lines.
    pub lines: Vec<String>,
    /// Bytes before them.
    pub before: u64,
}

/// Some lines of a file of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// The file, relative to the root.
    pub file: String,
    /// The number of the first line.
    pub first: usize,
    /// The lines.
    pub lines: Vec<String>,
    /// The number of the line that failed.
    pub failed: usize,
}

/// A former run that built an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Earlier {
    /// Which run.
    pub run: String,
    /// Milliseconds that it took.
    pub took: u64,
}

/// How large an image was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormerSize {
    /// In which run.
    pub run: String,
    /// Bytes.
    pub bytes: u64,
}

/// What of `plan.json` is looked at; whatever is not there is left empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PlanRecord {
    /// The selected images, in build order.
    pub images: Vec<PlannedImage>,
    /// External base images.
    pub base_images: Vec<String>,
    /// Image IDs of base images that were here before the run.
    pub base_image_ids: BTreeMap<String, String>,
    /// What was to be done.
    pub steps: Vec<PlannedStep>,
}

/// One image of the plan.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/cli.md describes the fields of a plan")]
pub struct PlannedImage {
    pub name: String,
    pub reference: String,
    pub dockerfile: Option<String>,
    pub context: Option<String>,
    pub target: Option<String>,
    pub platform: String,
    pub needs: Vec<String>,
    pub base_images: Vec<String>,
    #[serde(skip_serializing)]
    pub inputs: Vec<String>,
    pub key: Option<String>,
    pub state: String,
    pub reason: String,
    pub changes: Vec<String>,
    #[serde(skip_serializing)]
    pub variants: Vec<PlannedVariant>,
}

/// An image on one of its platforms.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/cli.md describes the fields of a plan")]
pub struct PlannedVariant {
    pub platform: String,
    pub key: Option<String>,
    pub state: String,
    pub reason: String,
}

impl PlanRecord {
    /// The same with an image for each platform, named as the steps of a run name it: that is what was built.
    #[must_use]
    pub fn by_platform(mut self) -> Self {
        let several: BTreeSet<String> = self
            .images
            .iter()
            .filter(|image| image.variants.len() > 1)
            .map(|image| image.name.clone())
            .collect();
        if several.is_empty() {
            return self;
        }
        let on = |name: &str, platform: &str| match several.contains(name) {
            true => format!("{name}@{platform}"),
            false => name.to_owned(),
        };
        let each = |image: PlannedImage| {
            let variants = if image.variants.len() > 1 { image.variants.clone() } else { Vec::new() };
            let made: Vec<PlannedImage> = variants
                .into_iter()
                .map(|variant| PlannedImage {
                    name: on(&image.name, &variant.platform),
                    needs: image.needs.iter().map(|need| on(need, &variant.platform)).collect(),
                    platform: variant.platform,
                    key: variant.key,
                    state: variant.state,
                    reason: variant.reason,
                    variants: Vec::new(),
                    ..image.clone()
                })
                .collect();
            if made.is_empty() { vec![image] } else { made }
        };
        self.images = self.images.into_iter().flat_map(each).collect();
        self
    }
}

/// One step of the plan.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/cli.md describes the fields of a plan")]
pub struct PlannedStep {
    pub id: String,
    pub needs: Vec<String>,
}
