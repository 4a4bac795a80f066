//! Images and base images of a run, each with everything that the record knows of it. Pure.

use std::collections::HashMap;

use serde::Serialize;

use super::facts::{Facts, State, Step};
use super::material::{Earlier, FormerSize, Material, PlannedImage};
use super::parts::{Stages, stages};
use crate::model::{Phase, Reference};

/// One image of the tree.
#[derive(Clone, Debug, Serialize)]
pub struct Image<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where on the page it is.
    pub anchor: String,
    /// What the plan knows; none for images of records without a plan.
    pub planned: Option<&'a PlannedImage>,
    /// What became of it, the worst of all that was done with it.
    pub state: State,
    /// Why it was built, or was not.
    pub why: &'a str,
    /// All that was done with it, in order.
    pub steps: Vec<&'a Step>,
    /// The step that built it.
    pub build: Option<&'a Step>,
    /// What the instructions of that step did.
    pub stages: Option<Stages<'a>>,
    /// Bytes, as the run saw it last.
    pub size: Option<u64>,
    /// How many files its build reads.
    pub inputs: usize,
    /// When it was built before.
    pub earlier: Option<&'a Earlier>,
    /// How large it was before.
    pub former_size: Option<&'a FormerSize>,
    /// What it builds on, by place among the images.
    pub needs: Vec<usize>,
    /// What it stands on, by place among the base images.
    pub bases: Vec<usize>,
    /// What builds on it.
    pub needed_by: Vec<usize>,
}

impl Image<'_> {
    /// Whether it is larger or smaller than before.
    pub fn has_moved(&self) -> bool {
        matches!((self.size, self.former_size), (Some(now), Some(former)) if now != former.bytes)
    }
}

/// One external base image.
#[derive(Clone, Debug, Serialize)]
pub struct Base {
    /// As people write it.
    pub name: String,
    /// Where on the page it is.
    pub anchor: String,
    /// Its image ID, or the digest that it was pulled as.
    pub id: Option<String>,
    /// What became of it.
    pub state: State,
    /// Why it was pulled, or was not; the error.
    pub why: String,
    /// Milliseconds that pulling took.
    pub took: Option<u64>,
    /// The images that stand on it, by place.
    pub used_by: Vec<usize>,
}

/// The images of a run in build order, and what they stand on.
pub fn images<'a>(facts: &'a Facts, material: &'a Material) -> (Vec<Image<'a>>, Vec<Base>) {
    let mut by_subject: HashMap<&str, Vec<&Step>> = HashMap::new();
    for step in &facts.steps {
        by_subject.entry(&step.subject).or_default().push(step);
    }
    let mut skips: HashMap<&str, Vec<(Phase, State, &str)>> = HashMap::new();
    for skip in &facts.skips {
        skips.entry(&skip.subject).or_default().push((skip.phase, skip.state, &skip.why));
    }
    let (names, seen) = names(facts, material);
    let mut bases = bases(facts, material);
    let base_at: HashMap<&str, usize> =
        material.plan.base_images.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let image = |(at, (name, planned)): (usize, (&'a str, Option<&'a PlannedImage>))| {
        let mut steps = by_subject.get(name).cloned().unwrap_or_default();
        let reference = planned.map(|p| p.reference.as_str()).filter(|reference| *reference != name);
        steps.extend(reference.and_then(|r| by_subject.get(r)).into_iter().flatten());
        let (state, why) = became(planned, &steps, skips.get(name).map_or(&[], Vec::as_slice));
        let build = steps.iter().find(|step| step.phase == Phase::Build).copied();
        let places = |of: fn(&PlannedImage) -> &Vec<String>, at: &HashMap<&str, usize>| {
            planned.into_iter().flat_map(of).filter_map(|name| at.get(name.as_str()).copied()).collect()
        };
        Image {
            name,
            anchor: anchor("image", name, at),
            planned,
            state,
            why,
            build,
            stages: build.and_then(stages),
            size: steps.iter().rev().find_map(|step| step.size),
            steps,
            inputs: planned.map_or(0, |planned| planned.inputs.len()),
            earlier: material.earlier.get(name),
            former_size: material.sizes.get(name),
            needs: places(|planned| &planned.needs, &seen),
            bases: places(|planned| &planned.base_images, &base_at),
            needed_by: Vec::new(),
        }
    };
    let mut images: Vec<Image<'a>> = names.into_iter().enumerate().map(image).collect();
    for at in 0..images.len() {
        for need in images[at].needs.clone() {
            images[need].needed_by.push(at);
        }
        for &base in &images[at].bases {
            bases[base].used_by.push(at);
        }
    }
    (images, bases)
}

/// The images of the plan, then those that only events name; and the place of each.
type Names<'a> = (Vec<(&'a str, Option<&'a PlannedImage>)>, HashMap<&'a str, usize>);

fn names<'a>(facts: &'a Facts, material: &'a Material) -> Names<'a> {
    let mut names: Vec<(&str, Option<&PlannedImage>)> =
        material.plan.images.iter().map(|image| (image.name.as_str(), Some(image))).collect();
    let mut seen: HashMap<&str, usize> =
        names.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
    let built = facts.steps.iter().filter(|s| s.phase == Phase::Build).map(|s| s.subject.as_str());
    let skipped = facts.skips.iter().filter(|s| s.phase == Phase::Build).map(|s| s.subject.as_str());
    for name in built.chain(skipped) {
        seen.entry(name).or_insert_with(|| {
            names.push((name, None));
            names.len() - 1
        });
    }
    (names, seen)
}

/// A name as the value of `id`, and after `#`: what names of images are made of stays; where anything else stands, a number
/// tells names apart.
fn anchor(kind: &str, name: &str, number: usize) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:/@".contains(c);
    if name.chars().all(is_plain) && name.len() <= 200 {
        format!("{kind}-{name}")
    } else {
        format!("{kind}--{number}")
    }
}

/// What became of an image, and why: the build tells, unless something else went wrong.
fn became<'a>(
    planned: Option<&'a PlannedImage>,
    steps: &[&'a Step],
    skips: &[(Phase, State, &'a str)],
) -> (State, &'a str) {
    let build = steps.iter().find(|step| step.phase == Phase::Build);
    let skip = skips.iter().find(|(phase, _, _)| *phase == Phase::Build);
    let reason = planned.map_or("", |p| p.reason.as_str());
    let (mut state, why) = match (build, skip) {
        (Some(build), _) => (build.state, build.why.as_str()),
        (None, Some((_, state, why))) => (*state, *why),
        (None, None) if planned.is_some_and(|p| p.state == "up-to-date") => (State::UpToDate, reason),
        (None, None) => {
            match steps.iter().filter(|step| step.phase != Phase::Verify).map(|s| s.state).min() {
                Some(state) => (state, reason),
                None => (State::Untouched, reason),
            }
        }
    };
    let worst = steps.iter().map(|step| step.state).chain(skips.iter().map(|(_, state, _)| *state)).min();
    if let Some(worst @ (State::Failed | State::Cancelled)) = worst {
        state = state.min(worst);
    }
    (state, if why.is_empty() { reason } else { why })
}

fn bases(facts: &Facts, material: &Material) -> Vec<Base> {
    let pulls: HashMap<&str, &Step> =
        facts.steps.iter().filter(|s| s.phase == Phase::Prefetch).map(|s| (s.subject.as_str(), s)).collect();
    let skips: HashMap<&str, (State, &str)> = facts
        .skips
        .iter()
        .filter(|s| s.phase == Phase::Prefetch)
        .map(|s| (s.subject.as_str(), (s.state, s.why.as_str())))
        .collect();
    let plan = &material.plan;
    let base = |(at, full): (usize, &String)| {
        let familiar = full.parse::<Reference>().map_or_else(|_| full.clone(), |r| r.familiar());
        let known = plan.base_image_ids.get(full).cloned();
        let pull = pulls.get(familiar.as_str()).or_else(|| pulls.get(full.as_str()));
        let skip = skips.get(familiar.as_str()).or_else(|| skips.get(full.as_str()));
        let pulled = pull.map(|step| step.detail.as_str()).filter(|detail| detail.starts_with("sha256:"));
        let (state, why) = match (pull, skip) {
            (Some(step), _) if step.state == State::Failed => (step.state, step.detail.clone()),
            (Some(step), _) => (step.state, step.why.clone()),
            (None, Some((state, why))) => (*state, (*why).to_owned()),
            (None, None) if known.is_some() => (State::UpToDate, "already here".to_owned()),
            (None, None) => (State::Untouched, String::new()),
        };
        Base {
            anchor: anchor("base", &familiar, at),
            name: familiar,
            id: pulled.map(str::to_owned).or(known),
            state,
            why,
            took: pull.map(|step| step.span.length()),
            used_by: Vec::new(),
        }
    };
    plan.base_images.iter().enumerate().map(base).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;
    use crate::report::testing::{Story, failing_story};

    fn plan(json: &str) -> super::super::material::PlanRecord {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn images_are_linked_to_what_they_need() {
        let plan = plan(
            r#"{"images": [
                {"name": "api", "needs": [], "base_images": ["docker.io/library/alpine:3.20"], "reason": "stale"},
                {"name": "shop", "needs": ["api", "gone"], "base_images": [], "reason": "not built yet"},
                {"name": "idle", "state": "up-to-date", "reason": "up to date: 3 inputs unchanged"},
                {"name": "left"}],
              "base_images": ["docker.io/library/alpine:3.20", "not a reference"],
              "base_image_ids": {"not a reference": "sha256:1"}}"#,
        );
        let material = Material { events: failing_story(), plan, ..Material::default() };
        let facts = Facts::of(&material);
        let (images, bases) = images(&facts, &material);
        let told: Vec<String> = images
            .iter()
            .map(|i| {
                format!("{} {:?} ({}) {:?} {:?} {:?}", i.name, i.state, i.why, i.needs, i.bases, i.needed_by)
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"), @"
        api Done (source changed: src/api/Cargo.lock) [] [0] [1]
        shop Skipped (frontend failed) [0] [] []
        idle UpToDate (up to date: 3 inputs unchanged) [] [] []
        left Untouched () [] [] []
        frontend Failed (not built yet) [] [] []
        worker UpToDate (up to date: 212 inputs unchanged) [] [] []
        ");
        let told: Vec<String> = bases
            .iter()
            .map(|b| format!("{} {:?} {:?} ({}) {:?} {:?}", b.name, b.id, b.state, b.why, b.took, b.used_by))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        alpine:3.20 Some("sha256:1e421e421e421e421e421e421e421e421e421e421e421e421e421e421e421e42") Done (not in the local store) Some(6000) [0]
        not a reference Some("sha256:1") UpToDate (already here) None []
        "#);
    }

    #[test]
    fn anchors_are_what_an_address_may_hold() {
        assert_eq!(anchor("image", "a-b_c.1", 4), "image-a-b_c.1");
        assert_eq!(anchor("image", "a b\"", 4), "image--4");
    }

    #[test]
    fn an_image_that_is_not_as_planned_failed() {
        let mut story = Story::new();
        story.start(Phase::Build, "api", "asked for").finish(Phase::Build, "api", 5, None, "");
        story.start(Phase::Verify, "api", "just built").fail(Phase::Verify, "api", "moved", &[]);
        story.skip(Phase::Verify, "web", Outcome::UpToDate, "fine").end(Outcome::Failed, 4);
        let material = Material { events: story.events, ..Material::default() };
        let facts = Facts::of(&material);
        let (images, _) = images(&facts, &material);
        assert_eq!(images.len(), 1);
        assert_eq!((images[0].state, images[0].steps.len()), (State::Failed, 2));
    }
}
