//! The commands that do things: look, plan, do the phases, tell how it went. `build-all` is all of it; the others are
//! parts of it. No `if` about Docker here: planners decide, the executor does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::session::{Session, World};
use super::{interrupt, provisioning};
use crate::engine::{AnyEngine, Engine as _, EngineError};
use crate::error::{Error, ExitCode};
use crate::events::{self, Clock, Emitter, SystemClock};
use crate::execute::retry::Policy;
use crate::execute::scheduler::is_success;
use crate::execute::{self, pull::Puller};
use crate::execute::{Execution, FailFast, Limits, Outcomes, PhaseReport, StepError};
use crate::model::{
    EventKind, ImageName, Network, NetworkVerdict, Observed, Originals, Outcome, Phase, Plan, Reason,
    Reference, RunStats, Skipped, StepId, StepKind, labels,
};
use crate::os::HostCommand;
use crate::plan::alias::{self, AliasInput, OnConflict};
use crate::plan::build::{self, Assessment, BuildRequest};
use crate::plan::explain::{self, Inputs, PlanDocument, Scope};
use crate::plan::prefetch::{self, Bootstrap, PrefetchInput, Reach};
use crate::plan::{push, verify};
use crate::report::{self, record::Recorder};
use crate::tree;

/// What a command wants of the pipeline.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// `--only` or names; empty is all.
    pub only: Vec<String>,
    /// `--skip`
    pub skip: Vec<String>,
    /// References named beside services (`prefetch IMAGE`, `alias REF`); their images are not looked for in the tree.
    pub references: Vec<Reference>,
    /// Only `references`, nothing that the tree names.
    pub references_only: bool,
    /// Print the plan and do nothing.
    pub dry_run: bool,
    /// Exit 15 if the plan would change anything, and do nothing.
    pub check: bool,
    /// Aliases that disagree follow the preferred name.
    pub fix: bool,
    /// Stop at the first failure.
    pub fail_fast: FailFast,
    /// A failed pull decides the exit code even if the rest went well.
    pub pulls_count: bool,
    /// Pull only inside the internal network, where a name that is missing may be had from its registry (`alias`).
    pub internal_pulls_only: bool,
    /// Only what was named, not what it builds on (`push`).
    pub no_needs: bool,
}

impl Request {
    /// Everything of these phases.
    pub fn of(phases: &[Phase]) -> Self {
        Self {
            phases: phases.to_vec(),
            only: Vec::new(),
            skip: Vec::new(),
            references: Vec::new(),
            references_only: false,
            dry_run: false,
            check: false,
            fix: false,
            fail_fast: FailFast::No,
            pulls_count: false,
            internal_pulls_only: false,
            no_needs: false,
        }
    }

    pub fn has(&self, phase: Phase) -> bool {
        self.phases.contains(&phase)
    }

    /// What is left once base images are pulled and named.
    fn after_prefetch(&self) -> Self {
        let is_left = |phase: &Phase| !matches!(phase, Phase::Prefetch | Phase::Alias);
        Self { phases: self.phases.iter().copied().filter(is_left).collect(), ..self.clone() }
    }

    /// Whether the network decides anything.
    fn asks_network(&self) -> bool {
        self.has(Phase::Prefetch) || self.has(Phase::Alias)
    }

    /// Whether nothing was chosen or left out.
    pub fn is_of_all(&self) -> bool {
        self.only.is_empty() && self.skip.is_empty()
    }

    /// Whether it is about images of this tree, not only about files and base images.
    pub fn needs_images(&self) -> bool {
        self.phases.iter().any(|p| matches!(p, Phase::Build | Phase::Verify | Phase::Push))
    }

    /// Whether anything can be done without an engine.
    fn needs_engine(&self) -> bool {
        self.phases.iter().any(|p| !matches!(p, Phase::SyncConfig | Phase::Render))
    }
}

/// A plan with what it was made from.
pub(super) struct Planned {
    pub selected: BTreeSet<ImageName>,
    pub verdict: Option<NetworkVerdict>,
    pub assessments: Vec<Assessment>,
    pub plan: Plan,
}

/// Plans without doing anything.
pub(super) async fn plan(session: &Session, world: &World, request: &Request) -> Result<Planned, Error> {
    let selected = if request.references_only {
        BTreeSet::new()
    } else if !request.needs_engine() {
        // Files are everybody's: a tree without images has them too.
        world.all()
    } else {
        world.select(&request.only, &request.skip, request.no_needs)?
    };
    let make = |verdict| make_plan(session, world, &world.observed, request, selected.clone(), verdict);
    if !request.asks_network() {
        return Ok(make(None));
    }
    // Where all is as it should be nobody is asked, so nobody is probed either.
    if request.has(Phase::Build)
        && let Some(verdict) = session.last_network(world)
    {
        let planned = make(Some(verdict));
        if is_satisfied(&planned.plan) {
            return Ok(planned);
        }
    }
    let verdict = session.network(world, &session.registry()).await;
    Ok(make(Some(verdict)))
}

/// Whether a plan does nothing, and nothing is missing that it cannot do.
fn is_satisfied(plan: &Plan) -> bool {
    !execute::changes_anything(plan) && plan.skipped.iter().all(|skipped| is_success(skipped.why.outcome()))
}

fn make_plan(
    session: &Session,
    world: &World,
    observed: &Observed,
    request: &Request,
    selected: BTreeSet<ImageName>,
    verdict: Option<NetworkVerdict>,
) -> Planned {
    let config = &session.config;
    let network = verdict.as_ref().map_or(Network::Internal, |v| v.network);
    let known = world.base_images(&world.all());
    let originals = Originals::new(session.rules(), known.iter().chain(&request.references));
    let mut wanted = world.wanted(&selected);
    let platform = session.platform(observed);
    wanted.extend(request.references.iter().map(|r| (originals.original_of(r), platform.clone())));
    let mut plan = Plan::default();
    let mut pulls = Plan::default();
    let may_pull = !request.internal_pulls_only || network == Network::Internal;
    if request.has(Phase::Prefetch) && !config.skip_prefetch && may_pull {
        pulls = prefetch::plan(&PrefetchInput {
            wanted: &wanted,
            originals: &originals,
            observed,
            mirrors: &config.mirrors,
            recipes: &config.recipes,
            reach: if config.offline { Reach::Nobody(network) } else { Reach::Registries(network) },
            bootstrap: if session.bootstrap { Bootstrap::Yes } else { Bootstrap::No },
        });
        plan.extend(pulls.clone());
    }
    if request.has(Phase::Alias) {
        let names: Vec<Reference> = wanted.iter().map(|(reference, _)| reference.clone()).collect();
        plan.extend(alias::plan(&AliasInput {
            wanted: &names,
            originals: &originals,
            observed,
            network,
            conflicts: if request.fix { OnConflict::Fix } else { OnConflict::Report },
            pulls: &pulls,
        }));
    }
    if request.has(Phase::SyncConfig) {
        plan.steps.extend(world.sync.steps.iter().cloned());
        plan.skipped.extend(world.sync.skipped.iter().cloned());
    }
    if request.has(Phase::Render) {
        plan.steps.extend(world.render.steps.iter().cloned());
        plan.skipped.extend(world.render.skipped.iter().cloned());
        plan.skipped.extend(world.render.problems.iter().map(|found| {
            let why = Reason::Invalid(Box::new(found.clone()));
            Skipped { phase: Phase::Render, subject: found.file.clone(), why }
        }));
    }
    let root = config.root.clone();
    let recall = move |digest: &crate::model::Digest| tree::recall(&root, digest);
    let mut assessments = build::assess(&world.tree.graph, &world.tree.contexts, observed, &recall);
    for (image, assessment) in world.tree.graph.images().iter().zip(&mut assessments) {
        if assessment.reason != Reason::Broken {
            continue;
        }
        let is_broken = |need: &&ImageName| {
            world.tree.contexts.get(*need).is_some_and(|context| context.digest.is_none())
        };
        match (world.problem_of(image), image.needs.iter().find(is_broken)) {
            (Some(found), _) => assessment.reason = Reason::Invalid(Box::new(found.clone())),
            // On a cycle, whose first image says so.
            (None, Some(need)) => assessment.reason = Reason::NeedFails(need.clone()),
            (None, None) => {}
        }
    }
    if request.has(Phase::Build) {
        let wish = BuildRequest {
            selected: selected.clone(),
            force: config.force,
            skip_cache_check: config.skip_cache_check,
            cut_off: config.offline || verdict.as_ref().is_some_and(|v| v.network == Network::Internal),
            labels: BTreeMap::new(),
        };
        let (graph, contexts) = (&world.tree.graph, &world.tree.contexts);
        let builds = build::plan(&wish, graph, contexts, &assessments, observed, &plan);
        plan.extend(builds);
        if request.is_of_all() {
            plan.skipped.extend(world.services_without_images());
        }
    }
    if request.has(Phase::Verify) {
        plan.extend(verify::plan(&selected, &world.tree.graph, &assessments));
        let broken = broken_subjects(&plan);
        plan.steps.retain(|step| step.phase != Phase::Verify || !broken.contains(&step.subject));
    }
    if request.has(Phase::Push) {
        let store = (!request.has(Phase::Build)).then_some(observed);
        plan.extend(push::plan(&selected, &world.tree.graph, store));
    }
    Planned { selected, verdict, assessments, plan }
}

/// The document that `plan` and `--dry-run` print.
pub(super) fn document(world: &World, planned: &Planned, inputs: Inputs) -> PlanDocument {
    let entries = explain::image_entries(
        &planned.selected,
        &world.tree.graph,
        &world.tree.contexts,
        &planned.assessments,
        inputs,
    );
    let diagnostics = world.diagnostics(&planned.selected);
    explain::document(entries, &planned.plan, planned.verdict.as_ref(), &diagnostics)
}

/// Looks, plans and does.
pub(super) async fn run(session: &Session, request: &Request) -> Result<ExitCode, Error> {
    let changes_things = !request.dry_run && !request.check;
    let _lock = if changes_things { session.lock().await? } else { None };
    let looked = async {
        let world = session.look().await?;
        let planned = plan(session, &world, request).await?;
        Ok::<_, Error>((world, planned))
    };
    let Some(looked) = interrupt::or_interrupted(looked).await else {
        return Err(Error::told(ExitCode::Interrupted));
    };
    let (world, planned) = looked?;
    if request.dry_run {
        session.tell_warnings();
        super::print(&plan_text(session, &world, &planned, request));
        return Ok(ExitCode::Good);
    }
    if request.needs_engine()
        && (request.check || !session.bootstrap)
        && let Err(error) = &world.engine
    {
        return Err(Error::from(error.clone()));
    }
    if request.check {
        session.tell_warnings();
        super::print(&plan_text(session, &world, &planned, request));
        return Ok(check(&world, &planned, request));
    }
    if request.has(Phase::Build)
        && let Ok(engine) = &world.engine
    {
        engine.fit_to_build()?;
    }
    Run::start(session, request, &world, &planned).go(&world, planned).await
}

/// The plan as people read it, without anything that nobody may see.
pub(super) fn plan_text(session: &Session, world: &World, planned: &Planned, request: &Request) -> String {
    let mut document = document(world, planned, Inputs::None);
    let scope = match (request.needs_images(), request.asks_network()) {
        (true, _) => Scope::Images,
        (false, true) => Scope::BaseImages,
        (false, false) => Scope::Files,
    };
    if scope == Scope::Files {
        let is_rendering = request.has(Phase::Render);
        document.diagnostics.retain(|found| is_rendering && world.render.problems.contains(found));
    }
    let verdict = planned.verdict.as_ref();
    let text = explain::text(&document, &planned.plan, verdict, scope, &|text| session.hide_in_files(text));
    session.secrets.redact(&text).into_owned()
}

/// `--check`: nothing is changed, and a gap is exit 15.
fn check(world: &World, planned: &Planned, request: &Request) -> ExitCode {
    if let Some(code) = world.trouble(request, &planned.selected) {
        return code;
    }
    let drifts = planned.plan.steps.iter().any(|step| !matches!(step.kind, StepKind::Verify(_)))
        || alias::has_gap(&planned.plan);
    if drifts { ExitCode::Drift } else { ExitCode::Good }
}

/// A run under way: its events, its record, Ctrl-C.
struct Run<'a> {
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
    trouble: Trouble,
}

impl<'a> Run<'a> {
    fn start(session: &'a Session, request: &'a Request, world: &World, planned: &Planned) -> Self {
        let clock = SystemClock::start();
        let recorder = Recorder::create(&session.config.root, clock.now().at);
        let id = recorder.id().to_owned();
        let document = document(world, planned, Inputs::OfStale);
        // A record that cannot be kept is told by the first event that it cannot take.
        let _ = recorder.write_plan(&session.secrets.redact(&explain::record(&document)));
        let folder = recorder.folder();
        if let Some(folder) = &folder {
            // A second run of one process would keep the first one's; there is none.
            let _ = session.notes.record.set(folder.clone());
        }
        let (emitter, received) = events::channel(Arc::new(clock));
        let sinks: Vec<Box<dyn events::Sink>> =
            vec![Box::new(recorder), report::eye(session.display, folder)];
        let delivery = tokio::spawn(received.deliver(session.secrets.clone(), sinks));
        let cancel = CancellationToken::new();
        let interrupts = tokio::spawn(interrupt::watch(cancel.clone(), emitter.clone()));
        emitter.emit(EventKind::RunStarted {
            run: id.clone(),
            command: session.command.clone(),
            images: document.images.len(),
            base_images: document.base_images.len(),
            engine: world.observed.capabilities.as_ref().map(|c| format!("{} {}", c.name, c.version)),
            network: planned.verdict.as_ref().map(|v| format!("{} ({})", v.network, v.evidence)),
        });
        for message in &session.config.warnings {
            emitter.emit(EventKind::StepWarning { step: None, message: message.clone() });
        }
        for diagnostic in &document.diagnostics {
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
            trouble: Trouble::default(),
        }
    }

    async fn go(mut self, world: &World, planned: Planned) -> Result<ExitCode, Error> {
        let trouble = world.trouble(self.request, &planned.selected);
        let result = self.phases(world, planned).await;
        let code = match &result {
            _ if self.cancel.is_cancelled() => ExitCode::Interrupted,
            Ok(()) => match self.exit_code() {
                // Something that is no image at all may be wrong, such as a service whose name makes no reference.
                ExitCode::Good | ExitCode::SourceInvalid => trouble.unwrap_or(self.exit_code()),
                code => code,
            },
            Err(error) => error.code(),
        };
        let outcome = match code {
            ExitCode::Interrupted => Outcome::Cancelled,
            ExitCode::Good => Outcome::Done,
            _ => Outcome::Failed,
        };
        self.stats.took = u64::try_from(self.clock.now().elapsed.as_millis()).unwrap_or(u64::MAX);
        let exit_code = code.number();
        self.emitter.emit(EventKind::RunFinished { outcome, exit_code, stats: self.stats });
        self.interrupts.abort();
        drop(self.emitter);
        // The emitter of the interrupt watch goes with its task; then the stream ends.
        let _ = self.interrupts.await;
        let _ = self.delivery.await;
        result.map(|()| code)
    }

    async fn phases(&mut self, world: &World, planned: Planned) -> Result<(), Error> {
        let mut observed = world.observed.clone();
        // Whether `observed` is still what the store holds.
        let mut is_fresh = true;
        let engine: Option<AnyEngine> = match &world.engine {
            Ok(engine) => Some(engine.clone()),
            Err(_) if self.session.bootstrap && self.request.needs_engine() => {
                let engine = provisioning::engine(self.session, &self.emitter, &self.cancel).await?;
                observed = engine.observe().await?;
                Some(engine)
            }
            Err(_) => None,
        };
        let Planned { selected, verdict, plan, .. } = planned;
        let config = &self.session.config;
        let make = provisioning::Maker::new(&config.root, engine.clone(), self.emitter.clone());
        let registry = (!config.offline).then(|| self.session.registry());
        let puller = Puller::new(Policy::new(config.retries), config.pulls_per_registry, make, registry);
        let (emitter, cancel) = (self.emitter.clone(), self.cancel.clone());
        let mut execution = Execution {
            engine: engine.as_ref(),
            root: &config.root,
            emitter: &emitter,
            cancel: &cancel,
            limits: limits(config.jobs),
            fail_fast: self.request.fail_fast,
            puller: &puller,
            store: OnceCell::new(),
        };
        let again = |request: &Request, observed: &Observed| {
            make_plan(self.session, world, observed, request, selected.clone(), verdict.clone()).plan
        };
        let mut plan = if world.engine.is_err() { again(self.request, &observed) } else { plan };
        let of = self.request.phases.len();
        for (at, phase) in self.request.phases.iter().copied().enumerate() {
            if phase == Phase::Build {
                if let (false, Some(engine)) = (is_fresh, &engine) {
                    observed = engine.observe().await?;
                    is_fresh = true;
                }
                let is_base = |phase: Phase| matches!(phase, Phase::Prefetch | Phase::Alias);
                if plan.steps.iter().any(|step| is_base(step.phase)) {
                    // What was pulled is here now, and what was not is not waited for.
                    plan = again(&self.request.after_prefetch(), &observed);
                }
                self.give_labels(&mut plan).await;
            }
            if phase == Phase::Verify {
                if is_fresh {
                    execution.store = OnceCell::new_with(Some(observed.clone()));
                }
                plan.steps.retain(|step| {
                    let build = StepId::new(Phase::Build, &step.subject);
                    step.phase != Phase::Verify || self.outcomes.get(&build).is_none_or(|o| is_success(*o))
                });
                let broken = broken_subjects(&plan);
                plan.steps.retain(|step| step.phase != Phase::Verify || !broken.contains(&step.subject));
            }
            let is_lenient = matches!(phase, Phase::Prefetch | Phase::Alias)
                && !(config.strict_prefetch || self.request.pulls_count);
            execution.fail_fast = if is_lenient { FailFast::No } else { self.request.fail_fast };
            let report = execution.run_phase(phase, (at + 1, of), &plan, &mut self.outcomes).await;
            if !report.changed_nothing() && matches!(phase, Phase::Prefetch | Phase::Alias | Phase::Build) {
                is_fresh = false;
            }
            if phase == Phase::Build {
                self.remember(world, &plan);
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

    /// Labels that tell of this run; only builds need them, so nobody is asked for them in vain.
    async fn give_labels(&self, plan: &mut Plan) {
        if !plan.steps.iter().any(|step| matches!(step.kind, StepKind::Build(_))) {
            return;
        }
        let now = events::format_time(self.clock.now().at);
        let mut all = BTreeMap::from([
            (labels::BUILD_ID.to_owned(), self.id.clone()),
            (labels::BUILD_TIMESTAMP.to_owned(), now.clone()),
            ("org.opencontainers.image.created".to_owned(), now),
        ]);
        if let Some(revision) = git_revision(&self.session.config.root).await {
            all.insert("org.opencontainers.image.revision".to_owned(), revision);
        }
        for step in &mut plan.steps {
            if let StepKind::Build(spec) = &mut step.kind {
                spec.labels.extend(all.clone());
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
                    self.trouble.add(phase, Cause::of_reason(&skipped.why));
                }
                Outcome::Skipped | Outcome::Cancelled => self.stats.skipped += 1,
                Outcome::Done | Outcome::UpToDate => self.stats.up_to_date += 1,
            }
        }
        for failure in &report.failures {
            self.trouble.add(phase, Cause::of_error(&failure.error));
        }
    }

    fn exit_code(&self) -> ExitCode {
        let pulls_count = self.request.pulls_count || self.session.config.strict_prefetch;
        self.trouble.exit_code(pulls_count)
    }
}

/// What went wrong in a run, as far as it decides the exit code.
#[derive(Debug, Default)]
struct Trouble(Vec<(Phase, Cause)>);

/// Which kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Dockerfile, graph or context.
    Sources,
    /// An image is missing and nobody may be asked.
    Missing,
    /// The engine went away or is full.
    Engine,
    /// The step itself.
    Step,
}

impl Cause {
    fn of_reason(why: &Reason) -> Self {
        match why {
            Reason::Broken | Reason::Invalid(_) | Reason::AliasClash { .. } => Self::Sources,
            Reason::NothingToPush(_)
            | Reason::BaseUnavailable(_)
            | Reason::Offline
            | Reason::NoInternalRegistry => Self::Missing,
            _ => Self::Step,
        }
    }

    fn of_error(error: &StepError) -> Self {
        match error {
            StepError::Engine(error) | StepError::Build(error, _) => match error {
                EngineError::Unreachable { .. } | EngineError::Unfit { .. } | EngineError::Gone(_) => {
                    Self::Engine
                }
                _ => Self::Step,
            },
            _ => Self::Step,
        }
    }
}

impl Trouble {
    fn add(&mut self, phase: Phase, cause: Cause) {
        self.0.push((phase, cause));
    }

    /// A failed pull or alias only warns, unless it was what the command is about; the build that lacks the image
    /// fails by itself.
    fn exit_code(&self, pulls_count: bool) -> ExitCode {
        let mut counted = self
            .0
            .iter()
            .filter(|(phase, _)| pulls_count || !matches!(phase, Phase::Prefetch | Phase::Alias));
        let has = |cause: Cause| self.0.iter().any(|(phase, c)| *phase >= Phase::SyncConfig && *c == cause);
        if self.0.iter().any(|(_, cause)| *cause == Cause::Engine) {
            ExitCode::EngineUnfit
        } else if counted.clone().any(|(_, cause)| *cause == Cause::Sources) {
            ExitCode::SourceInvalid
        } else if has(Cause::Step) || !has(Cause::Missing) {
            ExitCode::of_failed(counted.map(|(phase, _)| *phase))
        } else if counted.next().is_some() {
            ExitCode::PullFailed
        } else {
            ExitCode::Good
        }
    }
}

/// What cannot be built by plan, so there is nothing to verify.
fn broken_subjects(plan: &Plan) -> BTreeSet<String> {
    let bad = |s: &&Skipped| {
        s.phase == Phase::Build && matches!(s.why.outcome(), Outcome::Failed | Outcome::Skipped)
    };
    plan.skipped.iter().filter(bad).map(|s| s.subject.clone()).collect()
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
