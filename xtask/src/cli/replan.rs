//! What is planned again in the middle of a run: what stands on base images once they are here, which stages are kept once
//! images are built. Here too is what a run remembers for later ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::bundle::Bundling;
use super::caches::Caches;
use super::foreign::{self, Asked};
use super::pipeline::make_plan;
use super::run::{failures, pulls};
use super::session::Session;
use super::world::World;
use crate::cli::error::worst::Failures;
use crate::cli::error::{Error, ExitCode};
use crate::engine::{AnyEngine, Store as _, patiently};
use crate::events::{self, Clock as _, Emitter, SystemClock};
use crate::execute::Proceed;
use crate::execute::run::{self, RunReport};
use crate::execute::scheduler::is_success;
use crate::host::{HostCommand, ProcessId};
use crate::model::{
    EventKind, Image, ImageName, NetworkVerdict, Observed, Outcome, Passed, Phase, Plan, Replan, Stage, Step,
    StepId, StepKind, TestCommand, labels,
};
use crate::plan::cache::Surroundings;
use crate::plan::{Facts, Request, build, test};
use crate::read::{passed, sizes, tree};

/// What a run knows beyond its plan.
pub(super) struct Replanner<'a> {
    pub session: &'a Session,
    pub request: &'a Request,
    pub selected: &'a BTreeSet<ImageName>,
    pub network: Option<&'a NetworkVerdict>,
    pub engine: Option<&'a AnyEngine>,
    pub emitter: &'a Emitter,
    /// Ctrl-C.
    pub cancel: &'a CancellationToken,
    /// What goes into the bundle that is written, where one is.
    pub bundling: Option<&'a Bundling>,
    /// The run's id and clock, for the labels of what is built.
    pub run: (&'a str, SystemClock),
    /// The tree as it was when the run began.
    pub world: &'a World,
    /// The tree once what was downloaded or pulled is part of it.
    pub reread: Option<World>,
    /// What the store held when it was last looked at.
    pub observed: Observed,
    /// Whether it still holds that.
    pub is_fresh: bool,
    /// The store as verify sees it.
    pub store: &'a OnceCell<Observed>,
    pub caches: Caches,
}

impl run::PlanAgain for Replanner<'_> {
    type Error = Error;

    async fn before(&mut self, stage: &Stage, plan: &mut Plan, report: &RunReport) -> Result<Proceed, Error> {
        if stage.phase == Phase::Render {
            self.remember_rendered();
        }
        match stage.replan {
            Some(Replan::FurtherPulls) => self.plan_further_pulls(plan).await?,
            Some(Replan::Builds) => self.plan_builds(plan).await?,
            Some(Replan::Keeps) => self.plan_keeps(plan).await?,
            Some(Replan::WhatWasBuilt) => self.plan_verify(plan, report),
            Some(Replan::Save) => return self.plan_save(plan, report).await,
            // A stage that could not be kept is for the next rebuild only.
            Some(Replan::Start) => return Ok(self.if_well(&failures(report).but_of(Phase::Keep))),
            None => {}
        }
        if matches!(stage.phase, Phase::Build | Phase::Keep) {
            let around = Surroundings::of(&self.session.config, self.network);
            self.caches.withdraw_absent(self.session, around, self.emitter, plan).await;
        }
        Ok(Proceed::Yes)
    }

    async fn after(
        &mut self,
        stage: &Stage,
        plan: &Plan,
        report: &RunReport,
        changed: bool,
    ) -> Result<(), Error> {
        let names_images =
            matches!(stage.phase, Phase::Prefetch | Phase::Alias | Phase::Build | Phase::Index | Phase::Keep);
        if changed && names_images {
            self.is_fresh = false;
        }
        if changed && stage.phase == Phase::Download {
            let external = self.world.external.clone();
            self.reread = Some(self.session.look_again(self.world, external).await?);
        }
        if matches!(stage.phase, Phase::Build | Phase::Test) {
            self.remember_built(plan, report);
        }
        if stage.phase == Phase::Build {
            self.remember_sizes(plan, report).await;
        }
        if stage.phase == Phase::Test {
            self.remember_passed(plan, report);
        }
        Ok(())
    }
}

impl Replanner<'_> {
    fn world(&self) -> &World {
        self.reread.as_ref().unwrap_or(self.world)
    }

    fn plan_again(&self, request: &Request) -> Plan {
        make_plan(self.session, self.world(), &self.observed, request, self.selected, self.network).plan
    }

    async fn refresh(&mut self) -> Result<(), Error> {
        if let (false, Some(engine)) = (self.is_fresh, self.engine) {
            let slow = |message| self.warn(message);
            self.observed = patiently(self.session.observe(engine, self.world()), &slow).await?;
            self.is_fresh = true;
        }
        Ok(())
    }

    /// Reads the tree again where base images that are here now bring something that was not known; whether they do.
    async fn look_closer(&mut self) -> Result<bool, Error> {
        let Some(engine) = self.engine else { return Ok(false) };
        let world = self.reread.as_ref().unwrap_or(self.world);
        let closer = self.session.look_closer(world, engine, &mut self.observed).await?;
        let has_learnt = closer.is_some();
        self.reread = closer.or(self.reread.take());
        Ok(has_learnt)
    }

    /// What was pulled may bring triggers that name further images.
    async fn plan_further_pulls(&mut self, plan: &mut Plan) -> Result<(), Error> {
        if self.is_fresh {
            return Ok(());
        }
        self.refresh().await?;
        if self.look_closer().await? {
            let later = self.plan_again(&self.request.until_build());
            take_over(plan, later);
        }
        Ok(())
    }

    /// What was pulled is here now, and what was not is not waited for.
    async fn plan_builds(&mut self, plan: &mut Plan) -> Result<(), Error> {
        self.refresh().await?;
        let mut has_learnt = self.look_closer().await?;
        let facts = self.world().facts(self.session, &self.observed);
        if (Facts { network: self.network, ..facts }).is_cut_off() {
            has_learnt |= self.learn_bases(plan).await;
        }
        let is_of_bases =
            |step: &Step| matches!(step.phase, Phase::Download | Phase::Prefetch | Phase::Alias);
        if has_learnt || plan.steps.iter().any(is_of_bases) {
            let stages = std::mem::take(&mut plan.stages);
            *plan = Plan { stages, ..self.plan_again(&self.request.after_prefetch()) };
        }
        self.give_labels(plan).await;
        Ok(())
    }

    /// Stages are kept of what is here now; what failed to be built is still to be built by this plan.
    async fn plan_keeps(&mut self, plan: &mut Plan) -> Result<(), Error> {
        self.refresh().await?;
        let now = self.plan_again(&self.request.after_prefetch());
        let is_kept = |phase: Phase| matches!(phase, Phase::Keep | Phase::Cache);
        plan.steps.retain(|step| !is_kept(step.phase));
        plan.skipped.retain(|skipped| !is_kept(skipped.phase));
        plan.steps.extend(now.steps.into_iter().filter(|step| is_kept(step.phase)));
        plan.skipped.extend(now.skipped.into_iter().filter(|skipped| is_kept(skipped.phase)));
        let tree = tree::identity(&self.session.config.root);
        for step in plan.steps.iter_mut().filter(|step| step.phase == Phase::Keep) {
            if let StepKind::Build(spec) = &mut step.kind {
                spec.labels.insert(labels::TREE.to_owned(), tree.clone());
            }
        }
        Ok(())
    }

    fn plan_verify(&self, plan: &mut Plan, report: &RunReport) {
        if self.is_fresh {
            // Another stage may have looked already.
            let _ = self.store.set(self.observed.clone());
        }
        let is_well = |id: &StepId| report.outcomes.get(id).is_none_or(|outcome| is_success(*outcome));
        plan.steps.retain(|step| {
            let build = StepId::new(Phase::Build, &step.subject);
            // A registry has a variant by way of its index.
            let index = StepId::new(Phase::Index, ImageName::new(step.subject.clone()).image().as_str());
            step.phase != Phase::Verify || (is_well(&build) && is_well(&index))
        });
    }

    /// What was pulled and built is looked at once more: nothing is written of what was only planned, and nothing at all
    /// when something went wrong.
    async fn plan_save(&mut self, plan: &mut Plan, report: &RunReport) -> Result<Proceed, Error> {
        let Some(bundling) = self.bundling.filter(|_| self.if_well(&failures(report)) == Proceed::Yes) else {
            return Ok(Proceed::No);
        };
        let planning = bundling.plan_again(self.session, self.request);
        let Some(save) = self.cancel.run_until_cancelled(planning).await else { return Ok(Proceed::No) };
        plan.steps.retain(|step| step.phase != Phase::Save);
        plan.extend(save?);
        Ok(Proceed::Yes)
    }

    fn if_well(&self, failed: &Failures) -> Proceed {
        let is_well = failed.code(pulls(self.session, self.request)) == ExitCode::Good;
        if is_well && !self.cancel.is_cancelled() { Proceed::Yes } else { Proceed::No }
    }

    /// Asks what the bases of what is to be built are for, and says whether one is for something else.
    async fn learn_bases(&mut self, plan: &Plan) -> bool {
        let Some(engine) = self.engine else { return false };
        let is_to_build = |image: &&Image| {
            let builds =
                |step: &Step| matches!(&step.kind, StepKind::Build(spec) if spec.image == image.name);
            plan.steps.iter().any(builds)
        };
        let world = self.reread.as_ref().unwrap_or(self.world);
        let bases = self.session.bases(world.tree.graph.images().iter().filter(is_to_build));
        foreign::learn_platforms(engine, &mut self.observed, &bases, Asked::All).await
    }

    /// Labels that tell of this run. Only builds need them, and asking git costs a process.
    async fn give_labels(&self, plan: &mut Plan) {
        self.label_containers(plan);
        if !plan.steps.iter().any(|step| matches!(step.kind, StepKind::Build(_))) {
            return;
        }
        let root = &self.session.config.root;
        let (id, clock) = self.run;
        let epoch = self.session.epoch;
        let at = events::format_time(epoch.map_or(clock.now().at, events::time_of));
        let mut all = BTreeMap::from([
            (labels::BUILD_TIMESTAMP.to_owned(), at.clone()),
            (labels::CREATED.to_owned(), at),
        ]);
        if epoch.is_none() {
            all.insert(labels::TREE.to_owned(), tree::identity(root));
            all.insert(labels::BUILD_ID.to_owned(), id.to_owned());
        }
        if let Some(revision) = git_revision(root).await {
            all.insert(labels::REVISION.to_owned(), revision);
        }
        for step in &mut plan.steps {
            if let StepKind::Build(spec) = &mut step.kind
                && let Some(image) = self.world().tree.graph.get(&spec.image)
            {
                build::label(&mut spec.labels, image, all.clone());
                if epoch.is_some() {
                    // It tells of the run too: what was here before.
                    spec.labels.remove(labels::BUILD_REASON);
                    spec.epoch = epoch;
                }
            }
        }
    }

    /// By these `clean` knows containers that a run left which was broken off.
    fn label_containers(&self, plan: &mut Plan) {
        let process = ProcessId::of(std::process::id());
        let owner = process.as_ref().map_or_else(String::new, ToString::to_string);
        for step in &mut plan.steps {
            if let StepKind::RunTest(spec) = &mut step.kind {
                spec.labels.extend([
                    (labels::TREE.to_owned(), tree::identity(&self.session.config.root)),
                    (labels::RUN.to_owned(), self.run.0.to_owned()),
                    (labels::OWNER.to_owned(), owner.clone()),
                ]);
            }
        }
    }

    fn remember_rendered(&self) {
        let remembered = tree::remember_rendered(&self.session.config.root, &self.world.render.outputs);
        if let Err(error) = remembered {
            self.warn(format!(
                "cannot remember what templates were rendered to, so committed ones will be left alone: {error}"
            ));
        }
    }

    /// Keeps the lists of files that images were built from, so that a later miss can name what changed.
    fn remember_built(&self, plan: &Plan, report: &RunReport) {
        let built = plan.steps.iter().filter(|s| report.outcomes.get(&s.id) == Some(&Outcome::Done));
        let contexts = built.filter_map(|step| match &step.kind {
            StepKind::Build(spec) => self.world().tree.contexts.get(&spec.image),
            _ => None,
        });
        if let Err(error) = tree::remember(&self.session.config.root, contexts) {
            self.warn(format!(
                "cannot remember what images were built from, so `status` can say less: {error}"
            ));
        }
    }

    /// Keeps how large what was built is, so that a later `size` can say what grew.
    async fn remember_sizes(&self, plan: &Plan, report: &RunReport) {
        let Some(engine) = self.engine else { return };
        let built = plan.steps.iter().filter(|s| report.outcomes.get(&s.id) == Some(&Outcome::Done));
        let specs = built.filter_map(|step| match &step.kind {
            StepKind::Build(spec) => Some(spec),
            _ => None,
        });
        let mut seen = Vec::new();
        for spec in specs {
            let Some(name) = spec.tags.first() else { continue };
            // An image that was built stays built without it.
            if let (Ok(Some(here)), Ok(Some(layers))) =
                (engine.inspect(name).await, engine.history(name).await)
            {
                seen.push((spec.image.clone(), here.id, layers));
            }
        }
        if seen.is_empty() {
            return;
        }
        let root = &self.session.config.root;
        let mut known = sizes::load(root);
        sizes::follow(&mut known, seen);
        if let Err(error) = sizes::save(root, &known) {
            self.warn(format!(
                "cannot remember how large images are, so `size` cannot say what grew: {error}"
            ));
        }
    }

    /// Keeps which tests passed, so that they are run again only when something has changed.
    fn remember_passed(&self, plan: &Plan, report: &RunReport) {
        let at = events::format_time(self.run.1.now().at);
        let done = plan.steps.iter().filter(|step| report.outcomes.get(&step.id) == Some(&Outcome::Done));
        let passed = done.filter_map(|step| match &step.kind {
            StepKind::RunTest(spec) => {
                Some((spec.image.clone(), Passed { key: spec.key.clone()?, at: at.clone() }))
            }
            StepKind::Build(spec) if step.phase == Phase::Test => {
                let wanted = self.world().tree.checks.get(&spec.image)?.test.as_ref()?;
                let key = spec.labels.get(labels::FINGERPRINT)?.parse().ok()?;
                let is_all = *wanted == TestCommand::Instructions;
                is_all.then(|| (spec.image.clone(), Passed { key: test::key(&key, wanted), at: at.clone() }))
            }
            _ => None,
        });
        if let Err(error) = passed::add(&self.session.config.root, passed.collect()) {
            self.warn(format!("cannot remember which tests passed, so they will be run again: {error}"));
        }
    }

    fn warn(&self, message: String) {
        self.emitter.emit(EventKind::StepWarning { step: None, message });
    }
}

/// Takes over how base images are named, as a later look has it, and the pulls that it wants beyond those of `plan`.
fn take_over(plan: &mut Plan, later: Plan) {
    let known: BTreeSet<StepId> = plan.steps.iter().map(|step| step.id.clone()).collect();
    plan.steps.retain(|step| step.phase != Phase::Alias);
    plan.skipped.retain(|skipped| skipped.phase != Phase::Alias);
    let is_new = |step: &Step| match step.phase {
        Phase::Prefetch => !known.contains(&step.id),
        phase => phase == Phase::Alias,
    };
    plan.steps.extend(later.steps.into_iter().filter(is_new));
    plan.skipped.extend(later.skipped.into_iter().filter(|skipped| skipped.phase == Phase::Alias));
}

/// The commit that is checked out; none outside a git checkout.
async fn git_revision(root: &Path) -> Option<String> {
    let command = HostCommand::new("git").args(["rev-parse", "HEAD"]).in_folder(root);
    let output = command.output().await.ok()?;
    Some(output.trim().to_owned()).filter(|text| !text.is_empty())
}
