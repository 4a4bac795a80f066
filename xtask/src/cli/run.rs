//! A run under way: its events, its record, Ctrl-C, the phases one after the other, and what it ends with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::activity::Work;
use super::caches::Caches;
use super::foreign::{self, Asked};
use super::pipeline::{Planned, Request, build_request, document, hidden, make_plan, refuse, surroundings};
use super::session::{Session, World};
use super::shown::retain_concerning;
use super::{interrupt, provisioning, sinks};
use crate::engine::{AnyEngine, patiently};
use crate::error::steps::{Failures, KINDS, Pulls, kind_of_reason, kind_of_step};
use crate::error::{Error, ErrorKind, ExitCode};
use crate::events::{self, Clock, Emitter, SystemClock};
use crate::execute::pull::Puller;
use crate::execute::retry::Policy;
use crate::execute::scheduler::is_success;
use crate::execute::{Execution, FailFast, Ledger, Limits, Outcomes, PhaseReport};
use crate::model::{
    self, Diagnostic, EventKind, Image, Observed, Outcome, Phase, Plan, Reason, RunStats, Step, StepId,
    StepKind, labels,
};
use crate::os::HostCommand;
use crate::plan::build;
use crate::plan::explain::{self, Inputs};
use crate::report::Foresight;
use crate::report::estimate::{Expected, Outlook};
use crate::report::history::usual_times;
use crate::report::record::Recorder;
use crate::report::resolve::Mode;
use crate::tree;

/// A run under way: its events, its record, Ctrl-C.
pub(super) struct Run<'a> {
    session: &'a Session,
    request: &'a Request,
    id: String,
    clock: SystemClock,
    emitter: Emitter,
    delivery: tokio::task::JoinHandle<()>,
    cancel: CancellationToken,
    interrupts: tokio::task::JoinHandle<()>,
    stats: RunStats,
    outcomes: Outcomes,
    /// Everything that decides the exit code.
    failures: Failures,
    /// The engine, once there is one.
    engine: Option<AnyEngine>,
    /// What its store held when the run began.
    before: Observed,
    /// What steps learn.
    ledger: Arc<Ledger>,
    /// Phases that are over.
    position: usize,
    /// Phases of the request that are shown.
    own: usize,
    /// Phases before and after those of the request.
    further: usize,
}

impl<'a> Run<'a> {
    /// Begins: from here on everything is an event.
    pub fn start(session: &'a Session, request: &'a Request, world: &World, planned: &Planned) -> Self {
        let clock = SystemClock::start();
        let recorder =
            Recorder::create(&session.config.root, clock.now().at).keeping(session.config.keep_runs);
        let id = recorder.id().to_owned();
        let mut document = document(session, world, planned, Inputs::OfStale);
        // A record that cannot be kept is told by the first event that it cannot take.
        let _ = recorder.write_plan(&explain::record(&hidden(session, document.clone())));
        let folder = recorder.folder();
        if let Some(folder) = folder {
            // A second run of one process would keep the first one's; there is none.
            let _ = session.notes.record.set(folder);
        }
        let (emitter, received) = events::channel(Arc::new(clock));
        let places = sinks::places(session, &document);
        let sinks = sinks::sinks(session, Some(recorder), &places, foresight(session, planned));
        let delivery = tokio::spawn(received.deliver(session.secrets.clone(), sinks));
        let cancel = CancellationToken::new();
        let interrupts = tokio::spawn(interrupt::watch(cancel.clone(), emitter.clone()));
        emitter.emit(EventKind::RunStarted {
            run: id.clone(),
            command: session.command(),
            images: document.images.len(),
            base_images: document.base_images.len(),
            engine: world.observed.capabilities.as_ref().map(|c| format!("{} {}", c.name, c.version)),
            network: planned.verdict.as_ref().map(|v| format!("{} ({})", v.network, v.evidence)),
        });
        for message in session.warnings() {
            emitter.emit(EventKind::StepWarning { step: None, message });
        }
        // What fails for it is told as a failure, with this very text.
        let is_told = |found: &&Diagnostic| {
            planned.plan.skipped.iter().any(|s| matches!(&s.why, Reason::Invalid(why) if why.place() == found.place() && why.message == found.message))
        };
        retain_concerning(request, world, &mut document);
        document.diagnostics.retain(|found| !is_told(&found));
        for diagnostic in model::told(&document.diagnostics) {
            let message = format!("{}: {}", diagnostic.place(), diagnostic.message);
            emitter.emit(EventKind::StepWarning { step: None, message });
        }
        Self {
            session,
            request,
            id,
            clock,
            emitter,
            delivery,
            cancel,
            interrupts,
            stats: RunStats::default(),
            outcomes: Outcomes::new(),
            failures: Failures::default(),
            engine: None,
            before: Observed::nothing(),
            ledger: Arc::default(),
            position: 0,
            own: phases_of(request, &planned.plan).len(),
            further: 0,
        }
    }

    /// Does the phases, and gives the exit code once all sinks have heard of it.
    pub async fn go(mut self, world: &World, planned: Planned) -> Result<ExitCode, Error> {
        let trouble = world.trouble(self.request, &planned.selected);
        let result = self.phases(world, planned).await;
        self.finish(trouble, result).await
    }

    /// Ends: the exit code, once all sinks have heard of it. `trouble` is what is wrong with what was read.
    pub async fn finish(
        mut self,
        trouble: Option<ErrorKind>,
        result: Result<(), Error>,
    ) -> Result<ExitCode, Error> {
        let code = match &result {
            _ if self.cancel.is_cancelled() => ExitCode::Interrupted,
            Ok(()) => with_trouble(self.exit_code(), trouble),
            Err(error) => error.code(),
        };
        let outcome = match code {
            ExitCode::Interrupted => Outcome::Cancelled,
            ExitCode::Good => Outcome::Done,
            _ => Outcome::Failed,
        };
        self.stats.took = u64::try_from(self.clock.now().elapsed.as_millis()).unwrap_or(u64::MAX);
        let exit_code = code.number();
        for message in self.session.late_warnings() {
            self.emitter.emit(EventKind::StepWarning { step: None, message });
        }
        // Told on the run's own screen and on record, so nobody tells it again.
        let told = result.map_err(|error| error.tell_by(&self.emitter));
        self.emitter.emit(EventKind::RunFinished { outcome, exit_code, stats: self.stats });
        self.interrupts.abort();
        drop(self.emitter);
        // The emitter of the interrupt watch goes with its task; then the stream ends.
        let _ = self.interrupts.await;
        let _ = self.delivery.await;
        told.map(|()| code)
    }

    /// Does the phases of the request.
    pub async fn phases(&mut self, world: &World, planned: Planned) -> Result<(), Error> {
        let mut observed = world.observed.clone();
        // Whether `observed` is still what the store holds.
        let mut is_fresh = true;
        let engine: Option<AnyEngine> = match &world.engine {
            Ok(engine) => Some(engine.clone()),
            Err(_) if self.session.bootstrap && self.request.needs_engine() => {
                let engine = provisioning::engine(self.session, &self.emitter, &self.cancel).await?;
                observed = self.session.observe(&engine, world).await?;
                Some(engine)
            }
            Err(_) => None,
        };
        let warn = self.emitter.clone();
        let slow = |message| warn.emit(EventKind::StepWarning { step: None, message });
        let Planned { selected, verdict, plan, .. } = planned;
        self.engine.clone_from(&engine);
        self.before.clone_from(&observed);
        let config = &self.session.config;
        let make = provisioning::Maker::new(&config.root, engine.clone(), self.emitter.clone());
        let registry = (!config.offline).then(|| self.session.registry());
        let puller = Puller::new(Policy::new(config.retries), config.pulls_per_registry, make, registry);
        let artifacts = self.session.fetcher();
        let (emitter, cancel, ledger) = (self.emitter.clone(), self.cancel.clone(), self.ledger.clone());
        let mut execution = Execution {
            engine: engine.as_ref(),
            root: &config.root,
            emitter: &emitter,
            cancel: &cancel,
            limits: limits(config.jobs),
            fail_fast: self.request.fail_fast,
            puller: &puller,
            artifacts: &artifacts,
            store: OnceCell::new(),
            ledger: &ledger,
            kinds: KINDS,
        };
        let session = self.session;
        let again = |world: &World, request: &Request, observed: &Observed| {
            make_plan(session, world, observed, request, selected.clone(), verdict.clone()).plan
        };
        let mut plan = if world.engine.is_err() { again(world, self.request, &observed) } else { plan };
        let phases = phases_of(self.request, &plan);
        self.own = phases.len();
        let of = self.of();
        let mut caches = Caches::default();
        let around = surroundings(session, verdict.as_ref());
        let wish = build_request(session, &selected, verdict.as_ref());
        // The tree once what was downloaded is part of it.
        let mut reread: Option<World> = None;
        for phase in phases.iter().copied() {
            self.position += 1;
            if phase == Phase::Render
                && let Err(error) = tree::remember_rendered(&session.config.root, &world.render.outputs)
            {
                let message = format!(
                    "cannot remember what templates were rendered to, so committed ones will be left alone: {error}"
                );
                self.emitter.emit(EventKind::StepWarning { step: None, message });
            }
            if phase == Phase::Build {
                if let (false, Some(engine)) = (is_fresh, &engine) {
                    observed = patiently(session.observe(engine, world), &slow).await?;
                    is_fresh = true;
                }
                let closer = match &engine {
                    Some(engine) => {
                        session.look_closer(reread.as_ref().unwrap_or(world), engine, &mut observed).await?
                    }
                    None => None,
                };
                let has_learnt = match &engine {
                    Some(engine) if wish.cut_off => {
                        self.learn_bases(engine, reread.as_ref().unwrap_or(world), &plan, &mut observed).await
                    }
                    _ => false,
                };
                let is_base =
                    |phase: Phase| matches!(phase, Phase::Download | Phase::Prefetch | Phase::Alias);
                if closer.is_some() || has_learnt || plan.steps.iter().any(|step| is_base(step.phase)) {
                    // What was pulled is here now, and what was not is not waited for.
                    reread = closer.or(reread);
                    let world = reread.as_ref().unwrap_or(world);
                    plan = again(world, &self.request.after_prefetch(), &observed);
                }
                self.give_labels(reread.as_ref().unwrap_or(world), &mut plan).await;
            }
            if phase == Phase::Keep {
                if let (false, Some(engine)) = (is_fresh, &engine) {
                    observed =
                        patiently(session.observe(engine, reread.as_ref().unwrap_or(world)), &slow).await?;
                    is_fresh = true;
                }
                // Stages are kept of what is here now; what failed to be built is still to be built by this plan.
                let world = reread.as_ref().unwrap_or(world);
                let now = again(world, &self.request.after_prefetch(), &observed);
                let is_kept = |phase: Phase| matches!(phase, Phase::Keep | Phase::Cache);
                plan.steps.retain(|step| !is_kept(step.phase));
                plan.skipped.retain(|skipped| !is_kept(skipped.phase));
                plan.steps.extend(now.steps.into_iter().filter(|step| is_kept(step.phase)));
                plan.skipped.extend(now.skipped.into_iter().filter(|skipped| is_kept(skipped.phase)));
                let tree = tree::identity(&config.root);
                for step in plan.steps.iter_mut().filter(|step| step.phase == Phase::Keep) {
                    if let StepKind::Build(spec) = &mut step.kind {
                        spec.labels.insert(labels::TREE.to_owned(), tree.clone());
                    }
                }
            }
            if matches!(phase, Phase::Build | Phase::Keep) {
                caches.withdraw_absent(session, around, &emitter, &mut plan).await;
            }
            if phase == Phase::Verify {
                if is_fresh {
                    execution.store = OnceCell::new_with(Some(observed.clone()));
                }
                plan.steps.retain(|step| {
                    let build = StepId::new(Phase::Build, &step.subject);
                    step.phase != Phase::Verify || self.outcomes.get(&build).is_none_or(|o| is_success(*o))
                });
            }
            let is_lenient = matches!(phase, Phase::Prefetch | Phase::Alias)
                && !(config.strict_prefetch || self.request.pulls_count);
            execution.fail_fast = if is_lenient { FailFast::No } else { self.request.fail_fast };
            let mut report = execution.run_phase(phase, (self.position, of), &plan, &mut self.outcomes).await;
            if let (Phase::Prefetch, false, Some(engine)) = (phase, report.changed_nothing(), &engine) {
                // What was pulled may bring triggers that name further images.
                observed = self.session.observe(engine, world).await?;
                if let Some(closer) =
                    session.look_closer(reread.as_ref().unwrap_or(world), engine, &mut observed).await?
                {
                    let now = again(&closer, &self.request.until_build(), &observed);
                    let further = take_over(&mut plan, now);
                    if !further.steps.is_empty() {
                        let place = (self.position, of);
                        let more = execution.run_phase(phase, place, &further, &mut self.outcomes).await;
                        report.add(more);
                    }
                    reread = Some(closer);
                }
            }
            if !report.changed_nothing()
                && matches!(phase, Phase::Prefetch | Phase::Alias | Phase::Build | Phase::Keep)
            {
                is_fresh = false;
            }
            if phase == Phase::Download && !report.changed_nothing() {
                let external = world.external.clone();
                reread = Some(session.look_again(world, external).await?);
            }
            if phase == Phase::Build {
                self.remember(reread.as_ref().unwrap_or(world), &plan);
            }
            self.count(phase, &plan, report);
            let is_fatal = self.request.fail_fast == FailFast::Yes
                || (phase == Phase::Prefetch && config.strict_prefetch);
            if self.cancel.is_cancelled() || (is_fatal && self.exit_code() != ExitCode::Good) {
                break;
            }
        }
        Ok(())
    }

    /// Asks what the bases of what is to be built are for, and says whether one is for something else.
    async fn learn_bases(
        &self,
        engine: &AnyEngine,
        world: &World,
        plan: &Plan,
        observed: &mut Observed,
    ) -> bool {
        let is_to_build = |image: &&Image| {
            let builds =
                |step: &Step| matches!(&step.kind, StepKind::Build(spec) if spec.image == image.name);
            plan.steps.iter().any(builds)
        };
        let bases = self.session.bases(world.tree.graph.images().iter().filter(is_to_build));
        foreign::learn_platforms(engine, observed, &bases, Asked::All).await
    }

    /// Phases that come after those of the request, whose plan is made once those are done. What went wrong before
    /// does not keep them from being done.
    pub async fn also(&mut self, phases: &[Phase], plan: &Plan, cancel: &CancellationToken) {
        let config = &self.session.config;
        let (engine, emitter, ledger) = (self.engine.clone(), self.emitter.clone(), self.ledger.clone());
        let make = provisioning::Maker::new(&config.root, engine.clone(), emitter.clone());
        let registry = (!config.offline).then(|| self.session.registry());
        let puller = Puller::new(Policy::new(config.retries), config.pulls_per_registry, make, registry);
        let artifacts = self.session.fetcher();
        let execution = Execution {
            engine: engine.as_ref(),
            root: &config.root,
            emitter: &emitter,
            cancel,
            limits: limits(config.jobs),
            fail_fast: FailFast::No,
            puller: &puller,
            artifacts: &artifacts,
            store: OnceCell::new(),
            ledger: &ledger,
            kinds: KINDS,
        };
        let of = self.of();
        for phase in phases.iter().copied() {
            self.position += 1;
            let report = execution.run_phase(phase, (self.position, of), plan, &mut self.outcomes).await;
            self.count(phase, plan, report);
            if cancel.is_cancelled() {
                break;
            }
        }
    }

    /// So many phases come before or after those of the request.
    pub fn expect_further(&mut self, phases: usize) {
        self.further = phases;
    }

    /// Phases whose work is no plan, before or after those of the request. [`Run::add`] takes what came of them.
    pub fn work(&mut self, phases: &[Phase]) -> Work {
        let place = (self.position, self.of());
        self.position += phases.len();
        Work::new(self.clock, self.emitter.clone(), phases, place)
    }

    /// Such work is over.
    pub fn add(&mut self, work: Work) {
        self.stats.add(&work.stats());
    }

    /// Whether nothing went wrong so far, and nobody pressed Ctrl-C.
    pub fn is_well(&self) -> bool {
        !self.cancel.is_cancelled() && self.exit_code() == ExitCode::Good
    }

    /// Whether what was built may be started: a stage that could not be kept is for the next rebuild only.
    pub fn is_servable(&self) -> bool {
        let built = self.failures.but_of(Phase::Keep);
        !self.cancel.is_cancelled() && built.code(pulls(self.session, self.request)) == ExitCode::Good
    }

    fn of(&self) -> usize {
        self.own + self.further
    }

    /// The engine, once the phases of the request are done.
    pub fn engine(&self) -> Option<&AnyEngine> {
        self.engine.as_ref()
    }

    /// What the engine's store held when the run began.
    pub fn before(&self) -> &Observed {
        &self.before
    }

    /// What steps learnt.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where its events go.
    pub fn emitter(&self) -> &Emitter {
        &self.emitter
    }

    /// Ctrl-C.
    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Labels that tell of this run; only builds need them, so nobody is asked for them in vain.
    async fn give_labels(&self, world: &World, plan: &mut Plan) {
        if !plan.steps.iter().any(|step| matches!(step.kind, StepKind::Build(_))) {
            return;
        }
        let now = events::format_time(self.clock.now().at);
        let mut all = BTreeMap::from([
            (labels::TREE.to_owned(), tree::identity(&self.session.config.root)),
            (labels::BUILD_ID.to_owned(), self.id.clone()),
            (labels::BUILD_TIMESTAMP.to_owned(), now.clone()),
            (labels::CREATED.to_owned(), now),
        ]);
        if let Some(revision) = git_revision(&self.session.config.root).await {
            all.insert(labels::REVISION.to_owned(), revision);
        }
        for step in &mut plan.steps {
            if let StepKind::Build(spec) = &mut step.kind
                && let Some(image) = world.tree.graph.get(&spec.image)
            {
                build::label(&mut spec.labels, image, all.clone());
            }
        }
    }

    /// Keeps the lists of files that images were built from, so that a later miss can name what changed.
    fn remember(&self, world: &World, plan: &Plan) {
        let built = plan.steps.iter().filter(|s| self.outcomes.get(&s.id) == Some(&Outcome::Done));
        let contexts = built.filter_map(|step| match &step.kind {
            StepKind::Build(spec) => world.tree.contexts.get(&spec.image),
            _ => None,
        });
        if let Err(error) = tree::remember(&self.session.config.root, contexts) {
            let message =
                format!("cannot remember what images were built from, so `status` can say less: {error}");
            self.emitter.emit(EventKind::StepWarning { step: None, message });
        }
    }

    /// Adds a phase to the totals and to what decides the exit code.
    fn count(&mut self, phase: Phase, plan: &Plan, report: PhaseReport) {
        self.stats.done += report.done;
        self.stats.cancelled += report.cancelled;
        self.stats.skipped += report.skipped;
        self.stats.failed += report.failures.len();
        for skipped in plan.skipped.iter().filter(|s| s.phase == phase) {
            match skipped.why.outcome() {
                Outcome::Failed => {
                    self.stats.failed += 1;
                    self.failures.add(phase, kind_of_reason(phase, &skipped.why));
                }
                Outcome::Skipped | Outcome::Cancelled => self.stats.skipped += 1,
                Outcome::Done | Outcome::UpToDate => self.stats.up_to_date += 1,
            }
        }
        for failure in &report.failures {
            self.failures.add(phase, kind_of_step(phase, &failure.error));
        }
    }

    fn exit_code(&self) -> ExitCode {
        self.failures.code(pulls(self.session, self.request))
    }
}

fn pulls(session: &Session, request: &Request) -> Pulls {
    if request.pulls_count || session.config.strict_prefetch { Pulls::Count } else { Pulls::Warn }
}

/// Something that is no image at all may be wrong, such as a service whose name makes no reference.
fn with_trouble(code: ExitCode, trouble: Option<ErrorKind>) -> ExitCode {
    match trouble {
        Some(kind) if matches!(code, ExitCode::Good | ExitCode::SourceInvalid) => kind.code(),
        _ => code,
    }
}

/// Takes over how base images are named, as a later look has it; gives the pulls that it wants beyond those of `plan`.
fn take_over(plan: &mut Plan, later: Plan) -> Plan {
    let is_known = |plan: &Plan, id: &StepId| plan.steps.iter().any(|step| step.id == *id);
    let (mut further, mut aliases) = (Plan::default(), Plan::default());
    for step in later.steps {
        match step.phase {
            Phase::Prefetch if !is_known(plan, &step.id) => further.steps.push(step),
            Phase::Alias => aliases.steps.push(step),
            _ => {}
        }
    }
    aliases.skipped = later.skipped.into_iter().filter(|skipped| skipped.phase == Phase::Alias).collect();
    plan.steps.retain(|step| step.phase != Phase::Alias);
    plan.skipped.retain(|skipped| skipped.phase != Phase::Alias);
    plan.extend(aliases);
    further
}

/// What the run of a plan would end with, as far as the plan knows: where nobody has looked at a store, as if it was
/// empty.
///
/// # Errors
/// With what the run would refuse to begin for.
pub(super) fn foreseen(
    session: &Session,
    world: &World,
    request: &Request,
    planned: &Planned,
) -> Result<ExitCode, Error> {
    refuse(session, world, planned, request)?;
    if let (true, Ok(engine)) = (request.has(Phase::Build), &world.engine) {
        engine.fit_to_build()?;
    }
    let mut failures = Failures::default();
    for skipped in planned.plan.skipped.iter().filter(|s| s.why.outcome() == Outcome::Failed) {
        failures.add(skipped.phase, kind_of_reason(skipped.phase, &skipped.why));
    }
    let trouble = world.trouble(request, &planned.selected);
    Ok(with_trouble(failures.code(pulls(session, request)), trouble))
}

/// The phases that are shown: artifacts only when there is one to get.
fn phases_of(request: &Request, plan: &Plan) -> Vec<Phase> {
    let has_downloads = plan.steps.iter().any(|step| step.phase == Phase::Download)
        || plan.skipped.iter().any(|s| s.phase == Phase::Download && !is_success(s.why.outcome()));
    let is_shown = |phase: &Phase| *phase != Phase::Download || has_downloads;
    request.phases.iter().copied().filter(is_shown).collect()
}

/// What the builds of a plan usually take, for whoever wants to know.
fn foresight(session: &Session, planned: &Planned) -> Option<Foresight> {
    let builds: Vec<_> = planned.plan.steps.iter().filter(|step| step.phase == Phase::Build).collect();
    if builds.is_empty() || session.display.mode != Mode::Tty {
        return None;
    }
    let steps: Vec<_> = builds.into_iter().map(|step| (step.id.clone(), step.needs.clone())).collect();
    let (root, side_by_side) = (session.config.root.clone(), limits(session.config.jobs).builds);
    Some(Box::new(move || {
        let times = usual_times(&root);
        let expected = |(id, needs)| Expected { usually: times.get(&id).copied(), id, needs };
        Outlook { steps: steps.into_iter().map(expected).collect(), side_by_side }
    }))
}

/// Builds wait for the builder most of the time; a few more of them than processors keep it busy.
fn limits(jobs: Option<usize>) -> Limits {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    Limits { builds: jobs.unwrap_or((processors * 4).clamp(4, 16)), others: 16 }
}

/// The commit that is checked out; none outside a git checkout.
async fn git_revision(root: &Path) -> Option<String> {
    let command = HostCommand::new("git").args(["rev-parse", "HEAD"]).in_folder(root);
    let output = command.output().await.ok()?;
    Some(output.trim().to_owned()).filter(|text| !text.is_empty())
}
