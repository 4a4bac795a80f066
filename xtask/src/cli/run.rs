//! A run under way: its events, its record, Ctrl-C, the phases one after the other, and what it ends with.

use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::bundle::{BundleExecutor, Bundling};
use super::caches::Caches;
use super::pipeline::{document, hidden, make_plan, refuse};
use super::replan::Replanner;
use super::session::Session;
use super::shown::retain_concerning;
use super::world::World;
use super::{interrupt, provisioning, sinks};
use crate::artifact::Fetcher;
use crate::cli::error::worst::{Failures, Pulls};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::AnyEngine;
use crate::events::{self, Clock, Emitter, SystemClock};
use crate::execute::pull::Puller;
use crate::execute::retry::Policy;
use crate::execute::run::{self as stages, AsPlanned, RunReport};
use crate::execute::{Execution, Limits, StepResults};
use crate::model::{
    self, Diagnostic, EventKind, Observed, OnFailure, Outcome, Phase, Plan, Reason, RunStats, Stage,
};
use crate::plan::explain::{self, Inputs, PlanDocument};
use crate::plan::{Planned, Request};
use crate::report::ExpectedBuilds;
use crate::report::estimate::{BuildTimes, Expected};
use crate::report::history::usual_times;
use crate::report::record::Recorder;
use crate::report::resolve::Mode;

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
    on_interrupt: OnInterrupt,
    /// What came of it so far.
    report: RunReport,
    /// The engine, once there is one.
    engine: Option<AnyEngine>,
    /// What its store held when the run began.
    before: Observed,
    /// What steps learn.
    results: Arc<StepResults>,
    /// What goes into the bundle that the plan writes, where it writes one.
    bundling: Option<Bundling>,
    /// Phases of the plan.
    own: usize,
    /// Phases after those of the request.
    further: usize,
}

/// What a run begins with, beside its plan.
struct Opening {
    recorded: Recorded,
    on_interrupt: OnInterrupt,
    /// Its name and version, for people.
    engine: Option<String>,
    network: Option<String>,
    expected_builds: Option<ExpectedBuilds>,
}

/// Whether what happens is kept below `target/xtask/runs/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It changes something.
    Yes,
    /// It only looks.
    No,
}

/// What Ctrl-C comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnInterrupt {
    /// What runs is dropped.
    Drop,
    /// What runs puts back what it has done.
    PutBack,
}

/// How a run ended.
pub(super) struct Ended {
    /// The exit code, once all sinks have heard of it.
    pub code: Result<ExitCode, Error>,
    /// What came of its steps.
    pub report: RunReport,
}

impl<'a> Run<'a> {
    /// Begins: from here on everything is an event.
    pub fn start(session: &'a Session, request: &'a Request, world: &World, planned: &Planned) -> Self {
        let mut document = document(session, world, planned, Inputs::OfStale);
        let opening = Opening {
            recorded: Recorded::Yes,
            on_interrupt: OnInterrupt::Drop,
            engine: world.observed.capabilities.as_ref().map(|c| format!("{} {}", c.name, c.version)),
            network: planned.network.as_ref().map(|v| format!("{} ({})", v.network, v.evidence)),
            expected_builds: expected_builds(session, planned),
        };
        let run = Self::begin(session, request, &planned.plan, &document, opening);
        // What fails for it is told as a failure, with this very text.
        let is_told = |found: &&Diagnostic| {
            planned.plan.skipped.iter().any(|s| matches!(&s.why, Reason::Invalid(why) if why.place() == found.place() && why.message == found.message))
        };
        retain_concerning(request, world, &mut document);
        document.diagnostics.retain(|found| !is_told(&found));
        for diagnostic in model::told(&document.diagnostics) {
            run.warn(format!("{}: {}", diagnostic.place(), diagnostic.message));
        }
        run
    }

    /// The same for a plan that is about no tree. `engine` is what it is done with, and how it is called.
    pub fn start_plan(
        session: &'a Session,
        request: &'a Request,
        plan: &Plan,
        engine: Option<(AnyEngine, Option<String>)>,
        (recorded, on_interrupt): (Recorded, OnInterrupt),
    ) -> Self {
        let (engine, name) = engine.unzip();
        let opening =
            Opening { recorded, on_interrupt, engine: name.flatten(), network: None, expected_builds: None };
        let document = explain::document(Vec::new(), plan, None, |_| None, &[]);
        Self { engine, ..Self::begin(session, request, plan, &document, opening) }
    }

    fn begin(
        session: &'a Session,
        request: &'a Request,
        plan: &Plan,
        document: &PlanDocument,
        opening: Opening,
    ) -> Self {
        let clock = SystemClock::start();
        let recorder = (opening.recorded == Recorded::Yes).then(|| {
            Recorder::create(&session.config.root, clock.now().at).keeping(session.config.keep_runs)
        });
        let id = recorder.as_ref().map(|recorder| recorder.id().to_owned()).unwrap_or_default();
        if let Some(recorder) = &recorder {
            // A record that cannot be kept is told by the first event that it cannot take.
            let _ = recorder.write_plan(&explain::record(&hidden(session, document.clone())));
            if let Some(folder) = recorder.folder() {
                // A second run of one process would keep the first one's; there is none.
                let _ = session.notes.record.set(folder);
            }
        }
        let (emitter, received) = events::channel(Arc::new(clock));
        let places = sinks::places(session, document);
        let sinks = sinks::sinks(session, recorder, &places, opening.expected_builds);
        let delivery = tokio::spawn(received.deliver(session.secrets.clone(), sinks));
        let cancel = CancellationToken::new();
        let (token, teller) = (cancel.clone(), emitter.clone());
        let interrupts = match opening.on_interrupt {
            OnInterrupt::Drop => tokio::spawn(interrupt::watch(token, teller)),
            OnInterrupt::PutBack => tokio::spawn(interrupt::watch_patiently(token, teller)),
        };
        emitter.emit(EventKind::RunStarted {
            run: id.clone(),
            command: session.command(),
            images: document.images.len(),
            base_images: document.base_images.len(),
            engine: opening.engine,
            network: opening.network,
        });
        let run = Self {
            session,
            request,
            id,
            clock,
            emitter,
            delivery,
            cancel,
            interrupts,
            on_interrupt: opening.on_interrupt,
            report: RunReport::default(),
            engine: None,
            before: Observed::nothing(),
            results: Arc::default(),
            bundling: None,
            own: plan.phases().count(),
            further: 0,
        };
        session.warnings().into_iter().for_each(|message| run.warn(message));
        run
    }

    /// With what goes into the bundle that the plan writes.
    pub fn bundling(self, bundling: Bundling) -> Self {
        Self { bundling: Some(bundling), ..self }
    }

    fn warn(&self, message: String) {
        self.emitter.emit(EventKind::StepWarning { step: None, message });
    }

    /// Does the phases, and ends.
    pub async fn go(mut self, world: &World, planned: Planned) -> Ended {
        let trouble = world.tree.trouble(self.request, &planned.selected, &world.render);
        let result = self.phases(world, planned).await;
        self.finish(trouble, result).await
    }

    /// Does a plan that stays as it is, and ends.
    pub async fn go_as_planned(mut self, mut plan: Plan) -> Ended {
        let cancel = self.cancel.clone();
        self.as_planned(&mut plan, &cancel).await;
        self.finish(None, Ok(())).await
    }

    /// Ends. `trouble` is what is wrong with what was read.
    pub async fn finish(self, trouble: Option<ErrorKind>, result: Result<(), Error>) -> Ended {
        let code = match &result {
            _ if self.is_interrupted() => ExitCode::Interrupted,
            Ok(()) => with_trouble(self.exit_code(), trouble),
            Err(error) => error.code(),
        };
        let outcome = match code {
            ExitCode::Interrupted => Outcome::Cancelled,
            ExitCode::Good => Outcome::Done,
            _ => Outcome::Failed,
        };
        let took = u64::try_from(self.clock.now().elapsed.as_millis()).unwrap_or(u64::MAX);
        let stats = RunStats { took, ..self.report.stats.clone() };
        let exit_code = code.number();
        self.session.late_warnings().for_each(|message| self.warn(message));
        // Nobody is told of Ctrl-C any more once it is told how it ended.
        self.interrupts.abort();
        // Told on the run's own screen and on record, so nobody tells it again.
        let told = result.map_err(|error| error.tell_by(&self.emitter));
        self.emitter.emit(EventKind::RunFinished { outcome, exit_code, stats });
        drop(self.emitter);
        // The emitter of the interrupt watch goes with its task; then the stream ends.
        let _ = self.interrupts.await;
        let _ = self.delivery.await;
        Ended { code: told.map(|()| code), report: self.report }
    }

    /// Whether Ctrl-C left something undone. What is all or nothing may have been all when it came.
    fn is_interrupted(&self) -> bool {
        let is_all = self.on_interrupt == OnInterrupt::PutBack
            && self.report.stats.cancelled == 0
            && self.report.last.is_some_and(|(_, position)| position == self.of());
        self.cancel.is_cancelled() && !is_all
    }

    /// Runs the plan of the request.
    pub async fn phases(&mut self, world: &World, planned: Planned) -> Result<(), Error> {
        let session = self.session;
        let Planned { selected, network, mut plan, .. } = planned;
        let mut observed = world.observed.clone();
        self.engine = match &world.engine {
            Ok(engine) => Some(engine.clone()),
            Err(_) if session.bootstrap && self.request.needs_engine() => {
                let engine = provisioning::engine(session, &self.emitter, &self.cancel).await?;
                observed = session.observe(&engine, world).await?;
                let now = make_plan(session, world, &observed, self.request, &selected, network.as_ref());
                plan = now.plan;
                Some(engine)
            }
            Err(_) => None,
        };
        self.before.clone_from(&observed);
        self.own = plan.phases().count();
        let (engine, emitter, cancel) = (self.engine.clone(), self.emitter.clone(), self.cancel.clone());
        let store = OnceCell::new();
        let mut replanner = Replanner {
            session,
            request: self.request,
            selected: &selected,
            network: network.as_ref(),
            engine: engine.as_ref(),
            emitter: &emitter,
            cancel: &cancel,
            bundling: self.bundling.as_ref(),
            run: (&self.id, self.clock),
            world,
            reread: None,
            observed,
            is_fresh: true,
            store: &store,
            caches: Caches::default(),
        };
        let (of, results, tools) = (self.of(), self.results.clone(), self.tools());
        let execution = tools.execution(session, engine.as_ref(), (&emitter, &cancel), &store, &results);
        stages::run(&execution, &mut plan, of, &mut replanner, &mut self.report).await
    }

    /// Phases that come after those of the request, whose plan is made once those are done. What went wrong before
    /// does not keep them from being done.
    pub async fn also(&mut self, phases: &[Phase], plan: &Plan, cancel: &CancellationToken) {
        let stage = |phase: &Phase| Stage { phase: *phase, replan: None, on_failure: OnFailure::GoOn };
        let mut plan = Plan { stages: phases.iter().map(stage).collect(), ..plan.clone() };
        self.as_planned(&mut plan, cancel).await;
    }

    async fn as_planned(&mut self, plan: &mut Plan, cancel: &CancellationToken) {
        let (engine, emitter, store) = (self.engine.clone(), self.emitter.clone(), OnceCell::new());
        let (of, results, tools) = (self.of(), self.results.clone(), self.tools());
        let execution = tools.execution(self.session, engine.as_ref(), (&emitter, cancel), &store, &results);
        let Ok(()) = stages::run(&execution, plan, of, &mut AsPlanned, &mut self.report).await;
    }

    fn tools(&self) -> Tools<'a> {
        let config = &self.session.config;
        let make = provisioning::Maker::new(&config.root, self.engine.clone(), self.emitter.clone());
        let registry = (!config.offline).then(|| self.session.registry());
        let puller = Puller::new(Policy::new(config.retries), config.pulls_per_registry, make, registry);
        let executor = BundleExecutor::new(self.session, self.emitter.clone());
        Tools { puller, executor, artifacts: self.session.fetcher() }
    }

    /// So many phases come after those of the request.
    pub fn expect_further(&mut self, phases: usize) {
        self.further = phases;
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
    pub fn results(&self) -> &StepResults {
        &self.results
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

    fn exit_code(&self) -> ExitCode {
        failures(&self.report).code(pulls(self.session, self.request))
    }
}

/// What failed so far.
pub(super) fn failures(report: &RunReport) -> Failures {
    Failures::of(report.failures.iter().map(|failed| (failed.phase, failed.failure.kind)))
}

/// Whether failed pulls count.
pub(super) fn pulls(session: &Session, request: &Request) -> Pulls {
    if request.pulls_count || session.config.strict_prefetch { Pulls::Count } else { Pulls::Warn }
}

/// Something that is no image at all may be wrong, such as a service whose name makes no reference.
fn with_trouble(code: ExitCode, trouble: Option<ErrorKind>) -> ExitCode {
    match trouble {
        Some(kind) if matches!(code, ExitCode::Good | ExitCode::SourceInvalid) => kind.code(),
        _ => code,
    }
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
    let left_out = planned.plan.skipped.iter();
    let failures = left_out.filter_map(|s| Some((s.phase, s.why.failure(s.phase, &s.subject)?.kind)));
    let trouble = world.tree.trouble(request, &planned.selected, &world.render);
    Ok(with_trouble(Failures::of(failures).code(pulls(session, request)), trouble))
}

/// What the builds of a plan usually take, for whoever wants to know.
fn expected_builds(session: &Session, planned: &Planned) -> Option<ExpectedBuilds> {
    let builds: Vec<_> = planned.plan.steps.iter().filter(|step| step.phase == Phase::Build).collect();
    if builds.is_empty() || session.display.mode != Mode::Tty {
        return None;
    }
    let steps: Vec<_> = builds.into_iter().map(|step| (step.id.clone(), step.needs.clone())).collect();
    let (root, side_by_side) = (session.config.root.clone(), limits(session.config.jobs).builds);
    Some(Box::new(move || {
        let times = usual_times(&root);
        let expected = |(id, needs)| Expected { usually: times.get(&id).copied(), id, needs };
        BuildTimes { steps: steps.into_iter().map(expected).collect(), side_by_side }
    }))
}

/// Builds wait for the builder most of the time; a few more of them than processors keep it busy.
fn limits(jobs: Option<usize>) -> Limits {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    Limits { builds: jobs.unwrap_or((processors * 4).clamp(4, 16)), others: 16 }
}

/// What steps are done with beside an engine.
struct Tools<'s> {
    puller: Puller<provisioning::Maker>,
    executor: BundleExecutor<'s>,
    artifacts: Fetcher,
}

impl<'s> Tools<'s> {
    fn execution<'a>(
        &'a self,
        session: &'a Session,
        engine: Option<&'a AnyEngine>,
        (emitter, cancel): (&'a Emitter, &'a CancellationToken),
        store: &'a OnceCell<Observed>,
        results: &'a StepResults,
    ) -> Execution<'a, AnyEngine, provisioning::Maker, BundleExecutor<'s>> {
        Execution {
            engine,
            root: &session.config.root,
            emitter,
            cancel,
            limits: limits(session.config.jobs),
            puller: &self.puller,
            executor: &self.executor,
            artifacts: &self.artifacts,
            store,
            results,
        }
    }
}
