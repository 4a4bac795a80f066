//! Stages of a service's Dockerfile that are images of their own for once: those that `build --target` names, and those that
//! are tests. Which image a service is does not depend on it.

use super::service::{ReadService, Reader, ServiceFacts};
use crate::model::{Checks, ImageKind, TestCommand};
use crate::settings::Stages;
use dockerfile::Dockerfile;

/// A stage that is an image of its own.
pub(super) struct StageImage {
    /// The stage, as it is built.
    pub label: String,
    /// The image's name, without the prefix of all: `api.test`.
    pub name: String,
}

impl Reader<'_> {
    /// Those of this service; `base` is its image's name. A stage of a test that is not there is told when it is built, one
    /// of `--target` is another service's.
    pub(super) fn stages(&self, base: &str, facts: &ServiceFacts<'_>) -> Vec<StageImage> {
        let wanted = match &self.input.config.stages {
            Stages::No => None,
            Stages::Named(stage) => Some(stage.as_str()).filter(|stage| has(&self.parsed(facts), stage)),
            Stages::Tests => facts.settings.test.as_ref().and_then(|test| test.stage.as_deref()),
        };
        let image = |stage: &str| {
            let label = stage.to_lowercase();
            StageImage { name: format!("{base}.{label}"), label }
        };
        wanted.map(image).into_iter().collect()
    }

    fn parsed(&self, facts: &ServiceFacts<'_>) -> Dockerfile {
        dockerfile::parse(self.service.place(), facts.dockerfile).0
    }

    /// What is wanted of the images that were read; marks those that are stages.
    pub(super) fn check(&self, read: &mut ReadService, stages: &[StageImage], facts: &ServiceFacts<'_>) {
        let Some(main) = read.images.first().map(|(image, _)| image.name.image()) else { return };
        let of_stage = |name: &str| {
            let prefix = &self.input.config.prefix;
            stages.iter().find(|stage| {
                name == stage.name || name.strip_prefix(prefix.as_str()) == Some(stage.name.as_str())
            })
        };
        let (budget, test) = (facts.settings.size_budget, &facts.settings.test);
        for (image, _) in &mut read.images {
            let name = image.name.image();
            let stage = of_stage(name.as_str());
            let mut wanted = Checks::default();
            match stage {
                Some(_) => image.kind = ImageKind::Stage(main.clone()),
                None => wanted.size_budget = budget.map(|budget| budget.0),
            }
            wanted.test =
                test.as_ref().filter(|test| test.stage.is_some() == stage.is_some()).and_then(|test| {
                    let is_first = stage.is_some() || name == main;
                    is_first.then(|| match (test.command.as_slice(), stage) {
                        ([], Some(stage)) if starts_something(&self.parsed(facts), &stage.label) => {
                            TestCommand::OfImage
                        }
                        ([], _) => TestCommand::Instructions,
                        (words, _) => TestCommand::Words(words.to_vec()),
                    })
                });
            if wanted != Checks::default() {
                read.checks.push((image.name.clone(), wanted));
            }
        }
    }
}

fn has(file: &Dockerfile, stage: &str) -> bool {
    let mut labels = file.stages.iter().enumerate().map(|(at, stage)| stage.label(at));
    labels.any(|label| label.eq_ignore_ascii_case(stage))
        || stage.parse().is_ok_and(|at: usize| at < file.stages.len())
}

/// Whether a stage says itself what it starts. What it stands on may start a server that never ends.
fn starts_something(file: &Dockerfile, label: &str) -> bool {
    let mut stages = file.stages.iter().enumerate();
    let Some((_, stage)) = stages.find(|(at, stage)| stage.label(*at) == label || at.to_string() == label)
    else {
        return false;
    };
    file.body(stage).iter().any(|instruction| matches!(instruction.keyword.as_str(), "CMD" | "ENTRYPOINT"))
}
