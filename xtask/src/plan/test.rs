//! Pure: which tests of services are run, and which have passed already.
//!
//! In: the images that are selected and what is wanted of them, the builds that are planned, the tests that passed. Out:
//! steps of the phase. A stage that is a test is built in this phase, so that a test that fails is no image that cannot be
//! built. What was tested is known by a key over the image's own and the command, so that nothing is tested twice.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::build::Assessment;
use super::facts::Tree;
use super::request::Tests;
use crate::model::{
    Checks, Digest, Image, ImageKind, ImageName, ImageState, Outcome, Passed, Phase, Plan, Reason, Skipped,
    Step, StepId, StepKind, TestCommand, TestSpec,
};

/// What a test is known by: what is in the image, and what is run in it.
pub fn key(image: &Digest, command: &TestCommand) -> Digest {
    let words: &[String] = match command {
        TestCommand::Instructions => &[],
        TestCommand::OfImage => &["".to_owned()],
        TestCommand::Words(words) => words,
    };
    let mut hash = Sha256::new();
    hash.update(image.as_str());
    for word in words {
        hash.update([0]);
        hash.update(word);
    }
    Digest::from_sha256(&hash.finalize().into())
}

/// The test phase. Takes the builds of stages that are tests out of the build phase of `plan`.
pub fn plan(
    selected: &BTreeSet<ImageName>,
    tree: &Tree,
    assessments: &[Assessment],
    passed: &BTreeMap<ImageName, Passed>,
    tests: Tests,
    plan: &mut Plan,
) {
    for (image, assessment) in tree.graph.images().iter().zip(assessments) {
        let Some(Checks { test: Some(command), .. }) = tree.checks.get(&image.name) else { continue };
        if selected.contains(&image.name) {
            let wanted = Wanted { image, assessment, command, tests };
            wanted.plan(passed.get(&image.name), plan);
        }
    }
}

struct Wanted<'a> {
    image: &'a Image,
    assessment: &'a Assessment,
    command: &'a TestCommand,
    tests: Tests,
}

impl Wanted<'_> {
    fn plan(&self, passed: Option<&Passed>, plan: &mut Plan) {
        let subject = self.image.name.as_str();
        let is_stage = matches!(self.image.kind, ImageKind::Stage(_));
        let is_its = |skipped: &Skipped| skipped.phase == Phase::Build && skipped.subject == subject;
        if plan.skipped.iter().any(|s| is_its(s) && s.why.outcome() != Outcome::UpToDate) {
            // It cannot be built, which is told there.
            return;
        }
        let key = self.assessment.key.as_ref().map(|image| key(image, self.command));
        let id = StepId::new(Phase::Build, subject);
        let built = plan.steps.iter().position(|step| step.id == id);
        let why = self.settled(passed, key.as_ref());
        if is_stage {
            plan.skipped.retain(|skipped| !is_its(skipped));
        }
        if let Some(why) = why {
            // A stage is there for its test alone.
            built.filter(|_| is_stage).map(|at| plan.steps.remove(at));
            plan.skipped.push(Skipped::new(Phase::Test, subject, why));
            return;
        }
        let needs = match built {
            Some(at) if is_stage => {
                let build = plan.steps.remove(at);
                vec![self.build(build, plan)]
            }
            Some(_) => vec![id],
            None => Vec::new(),
        };
        if *self.command != TestCommand::Instructions {
            let spec = TestSpec {
                image: self.image.name.clone(),
                reference: self.image.reference.clone(),
                command: self.command.clone(),
                labels: BTreeMap::new(),
                key,
            };
            let step = Step::new(Phase::Test, subject, StepKind::RunTest(Box::new(spec)), self.why());
            plan.steps.push(Step { needs, ..step });
        }
    }

    /// The stage, built in this phase: under the test's own name where that is all of it.
    fn build(&self, mut build: Step, plan: &mut Plan) -> StepId {
        if let (Tests::Anew, StepKind::Build(spec)) = (self.tests, &mut build.kind) {
            spec.no_cache = true;
        }
        let subject = match self.command {
            TestCommand::Instructions => build.subject.clone(),
            TestCommand::OfImage | TestCommand::Words(_) => format!("{} (stage)", build.subject),
        };
        let id = StepId::new(Phase::Test, &subject);
        plan.steps.push(Step { id: id.clone(), phase: Phase::Test, subject, ..build });
        id
    }

    /// Why it need not be run; none if it has to be.
    fn settled(&self, passed: Option<&Passed>, key: Option<&Digest>) -> Option<Reason> {
        if self.tests == Tests::Anew {
            return None;
        }
        let before = passed.filter(|passed| Some(&passed.key) == key);
        if let Some(Passed { at, .. }) = before {
            return Some(Reason::TestPassed { at: at.clone() });
        }
        let is_built = self.assessment.state == ImageState::UpToDate;
        (is_built && *self.command == TestCommand::Instructions).then(|| self.assessment.reason.clone())
    }

    fn why(&self) -> Reason {
        match self.tests {
            Tests::Anew => Reason::Forced,
            Tests::IfChanged => Reason::NotPassed,
        }
    }
}
