//! The commands that do things: look, plan, do the phases, tell how it went. `build-all` is all of it; the others are
//! parts of it. No `if` about Docker here: planners decide, the executor does.

use std::collections::{BTreeMap, BTreeSet};

use super::args::Tagged;
use super::run::{self, Run};
use super::session::{Session, World};
pub(super) use super::shown::{document, foreseeing, hidden, plan_text};
use super::{interrupt, locked, moved, secret_args, sinks};
use crate::error::{Error, ErrorKind, ExitCode};
use crate::execute::scheduler::is_success;
use crate::execute::{self, FailFast};
use crate::model::{
    ImageName, Network, NetworkVerdict, Observed, Originals, Outcome, Phase, Plan, Platform, Reason,
    Reference, RegistryPrefix, Skipped, StepKind,
};
use crate::plan::alias::{self, AliasInput, OnConflict};
use crate::plan::build::{self, Assessment, BuildRequest};
use crate::plan::cache::{self, StoreInput};
use crate::plan::keep::{self, KeepInput};
use crate::plan::locked::{LockFinding, unfit, unmended};
use crate::plan::prefetch::{self, Bootstrap, Pin, PrefetchInput, Reach, Renew};
use crate::plan::{download, push, verify};
use crate::rebuild::lineage::NAMESPACE;
use crate::tree;

/// Which images a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Services, by name, with the base images that they need.
    Services,
    /// Base images, by system.
    BaseImages,
}

/// A tag that was typed as the first word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TagWord {
    pub command: &'static str,
    pub word: String,
}

impl TagWord {
    pub fn of(command: &'static str, tagged: &Tagged) -> Option<Self> {
        tagged.word().map(|word| Self { command, word })
    }
}

/// Whether base images that are here are pulled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// Never.
    No,
    /// Where a registry says that the tag stands for another image by now (`--pull`).
    IfMoved,
    /// In any case (`--pull` of `BUILD_ARGS`).
    Always,
}

/// What a command wants of the pipeline.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// Which images it is about.
    pub subject: Subject,
    /// `--only`, `--os` or names; empty is all.
    pub only: Vec<String>,
    /// Who says `only`, where it is not the command line: `ONLY_OS in .env`.
    pub only_source: Option<String>,
    /// The first word, of a command that takes a tag there.
    pub tag_of: Option<TagWord>,
    /// `--skip`, `--skip-os`
    pub skip: Vec<String>,
    /// Who says `skip`.
    pub skip_source: Option<String>,
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
    /// What becomes of base images that are here already.
    pub renew: Renewal,
    /// What registries said of those, where they were asked.
    pub tags: BTreeMap<Reference, Reason>,
    /// What the command planned itself.
    pub prepared: Plan,
}

impl Request {
    /// Everything of these phases.
    pub fn of(phases: &[Phase]) -> Self {
        Self {
            phases: phases.to_vec(),
            subject: Subject::Services,
            only: Vec::new(),
            only_source: None,
            tag_of: None,
            skip: Vec::new(),
            skip_source: None,
            references: Vec::new(),
            references_only: false,
            dry_run: false,
            check: false,
            fix: false,
            fail_fast: FailFast::No,
            pulls_count: false,
            internal_pulls_only: false,
            no_needs: false,
            renew: Renewal::No,
            tags: BTreeMap::new(),
            prepared: Plan::default(),
        }
    }

    pub fn has(&self, phase: Phase) -> bool {
        self.phases.contains(&phase)
    }

    /// What is left once base images are pulled and named.
    pub fn after_prefetch(&self) -> Self {
        let is_left = |phase: &Phase| !matches!(phase, Phase::Download | Phase::Prefetch | Phase::Alias);
        Self { phases: self.phases.iter().copied().filter(is_left).collect(), ..self.clone() }
    }

    /// What comes before: base images, pulled and named.
    pub fn until_build(&self) -> Self {
        let is_of_bases = |phase: &Phase| matches!(phase, Phase::Prefetch | Phase::Alias);
        let phases = self.phases.iter().copied().filter(is_of_bases).collect();
        Self { phases, prepared: Plan::default(), ..self.clone() }
    }

    /// Whether the network decides anything.
    pub fn asks_network(&self) -> bool {
        self.has(Phase::Prefetch) || self.has(Phase::Alias)
    }

    /// Whether it is about all services: nothing was chosen or left out.
    pub fn is_of_all(&self) -> bool {
        self.subject == Subject::Services && self.only.is_empty() && self.skip.is_empty()
    }

    /// Whether it is about base images.
    pub fn is_of_bases(&self) -> bool {
        self.subject == Subject::BaseImages
    }

    /// Whether it is about images of this tree, not only about files and base images.
    pub fn needs_images(&self) -> bool {
        self.phases.is_empty()
            || self.phases.iter().any(|p| matches!(p, Phase::Build | Phase::Verify | Phase::Push))
    }

    /// Whether anything can be done without an engine.
    pub fn needs_engine(&self) -> bool {
        let needs = |p: &Phase| !matches!(p, Phase::Bump | Phase::SyncConfig | Phase::Render);
        // No phase of the pipeline's own: what follows is about images.
        self.phases.is_empty() || self.phases.iter().any(needs)
    }
}

/// A plan with what it was made from.
pub(super) struct Planned {
    pub selected: BTreeSet<ImageName>,
    pub verdict: Option<NetworkVerdict>,
    pub assessments: Vec<Assessment>,
    pub plan: Plan,
    /// External images that are not as the lock says, and that the plan does not mend.
    pub off_lock: Vec<LockFinding>,
    /// What external images are held to, by every name that Dockerfiles use.
    pub pins: BTreeMap<Reference, Pin>,
}

/// Plans without doing anything.
pub(super) async fn plan(session: &Session, world: &World, request: &Request) -> Result<Planned, Error> {
    world.refuse_name_as_tag(request)?;
    locked::require(session, world, request)?;
    if request.renew == Renewal::IfMoved {
        moved::refuse(session)?;
    }
    let selected = if request.references_only {
        BTreeSet::new()
    } else if !request.needs_engine() {
        // Files are everybody's: a tree without images has them too.
        world.all()
    } else {
        for os in world.unknown_skips(request) {
            let source = request.skip_source.as_deref().unwrap_or_default();
            session.warn(&format!("{source} leaves out `{os}`, and there is no such system"));
        }
        world.select(request)?
    };
    let make = |verdict| make_plan(session, world, &world.observed, request, selected.clone(), verdict);
    // A name without a registry is one of docker.io, which depends on the network too.
    let names_public =
        request.has(Phase::Push) && session.config.registry.is_none() && !session.config.offline;
    if !(request.asks_network() || names_public) {
        return Ok(make(None));
    }
    // Where all is as it should be nobody is asked, so nobody is probed either.
    if request.has(Phase::Build)
        && request.renew == Renewal::No
        && let Some(verdict) = session.last_network(world)
    {
        let planned = make(Some(verdict));
        if is_satisfied(&planned.plan) {
            return Ok(planned);
        }
    }
    let verdict = session.network(world, &session.registry()).await;
    if request.renew == Renewal::IfMoved {
        let tags = moved::ask(session, world, request, &selected, verdict.network).await;
        let request = Request { tags, ..request.clone() };
        return Ok(make_plan(session, world, &world.observed, &request, selected, Some(verdict)));
    }
    Ok(make(Some(verdict)))
}

/// Whether a plan does nothing, and nothing is missing that it cannot do.
fn is_satisfied(plan: &Plan) -> bool {
    !execute::changes_anything(plan) && plan.skipped.iter().all(|skipped| is_success(skipped.why.outcome()))
}

pub(super) fn make_plan(
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
    let originals = Originals::new(session.rules(), known.iter().chain(&request.references))
        .beside(world.tree.graph.upstreams());
    let mut wanted = world.wanted(&selected);
    let comparison = locked::compare(session, world, request, &selected, &originals, observed);
    let platform = session.platform(observed);
    wanted.extend(request.references.iter().map(|r| (originals.original_of(r), platform.clone())));
    let root = config.root.clone();
    let recall = move |digest: &crate::model::Digest| tree::recall(&root, digest);
    let mut assessments = build::assess(&world.tree.graph, &world.tree.contexts, observed, &recall);
    let mut plan = request.prepared.clone();
    if request.has(Phase::Download) {
        let wish = build_request(session, &selected, verdict.as_ref());
        let (graph, contexts) = (&world.tree.graph, &world.tree.contexts);
        let artifacts = build::artifacts(&wish, graph, contexts, &assessments);
        let reach = if config.offline { download::Reach::Nobody } else { download::Reach::Servers };
        plan.extend(download::plan(&artifacts, reach));
    }
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
            renew: match request.renew {
                Renewal::No => Renew::No,
                Renewal::Always => Renew::Yes,
                Renewal::IfMoved => Renew::IfMoved(&request.tags),
            },
            pins: &comparison.pins,
        });
        plan.extend(pulls.clone());
    }
    let off_lock = unmended(&comparison.found, &pulls);
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
        // Of images that read what cannot be rendered their builds tell.
        let asked = (!request.needs_images()).then(|| world.render.problems());
        plan.skipped.extend(asked.into_iter().flatten().map(|found| {
            let why = Reason::Invalid(Box::new(found.clone()));
            Skipped { phase: Phase::Render, subject: found.file.clone(), why }
        }));
    }
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
    // Thousands of images are read in vain where nothing of theirs is kept.
    let lineages = if request.has(Phase::Keep)
        || (request.has(Phase::Build) && (keeps_stages(observed) || !config.cache_from.is_empty()))
    {
        world.lineages(observed, &assessments)
    } else {
        BTreeMap::new()
    };
    let around = surroundings(session, verdict.as_ref());
    let platforms: BTreeMap<ImageName, Platform> =
        world.tree.graph.images().iter().map(|image| (image.name.clone(), image.platform.clone())).collect();
    let caches: Vec<RegistryPrefix> =
        config.cache_from.iter().filter(|cache| around.forbid(cache).is_none()).cloned().collect();
    let offers = cache::offers(&caches, &lineages, &platforms, observed);
    if request.has(Phase::Build) {
        let mut kept = keep::kept(&lineages, observed);
        for (image, names) in &offers {
            kept.entry(image.clone()).or_default().extend(names.iter().cloned());
        }
        let unfit = if config.locked { unfit(&off_lock) } else { BTreeMap::new() };
        let wish = BuildRequest { kept, unfit, ..build_request(session, &selected, verdict.as_ref()) };
        let (graph, contexts) = (&world.tree.graph, &world.tree.contexts);
        let builds = build::plan(&wish, graph, contexts, &assessments, observed, &plan);
        plan.extend(builds);
        if request.is_of_all() {
            plan.skipped.extend(world.services_without_images());
        }
    }
    if request.has(Phase::Keep) {
        let (graph, contexts) = (&world.tree.graph, &world.tree.contexts);
        let mut keeps = keep::plan(&KeepInput {
            selected: &selected,
            graph,
            contexts,
            lineages: &lineages,
            observed,
            builds: &plan,
            offers: &offers,
        });
        let stored = config.cache_to.as_ref().filter(|_| request.has(Phase::Cache)).map(|to| {
            let input = StoreInput {
                cache: to,
                selected: &selected,
                lineages: &lineages,
                platforms: &platforms,
                observed,
                forbidden: around.forbid(to),
            };
            cache::store(&input, &mut keeps)
        });
        plan.extend(keeps);
        plan.extend(stored.unwrap_or_default());
    }
    if request.has(Phase::Verify) {
        plan.extend(verify::plan(&selected, &world.tree.graph, &assessments));
        let broken = broken_subjects(&plan);
        plan.steps.retain(|step| step.phase != Phase::Verify || !broken.contains(&step.subject));
    }
    if request.has(Phase::Push) {
        let stock = push::Stock { observed, assessments: &assessments };
        let stock = (!request.has(Phase::Build)).then_some(stock);
        let forbid = |name: &Reference| around.forbid_push(name);
        plan.extend(push::plan(&selected, &world.tree.graph, stock, &forbid));
    }
    Planned { selected, verdict, assessments, plan, off_lock, pins: comparison.pins }
}

/// Whether stages of some image were kept here.
fn keeps_stages(observed: &Observed) -> bool {
    let is_kept = |name: &Reference| name.path().split('/').next() == Some(NAMESPACE);
    observed.images().iter().any(|image| image.names.iter().any(is_kept))
}

/// What decides which caches may be asked.
pub(super) fn surroundings<'a>(
    session: &'a Session,
    verdict: Option<&NetworkVerdict>,
) -> cache::Surroundings<'a> {
    let config = &session.config;
    let network = verdict.map(|verdict| verdict.network).or(config.network);
    cache::Surroundings { offline: config.offline, network, internal: config.internal_registry.as_ref() }
}

/// What a command wants of the builds.
pub(super) fn build_request(
    session: &Session,
    selected: &BTreeSet<ImageName>,
    verdict: Option<&NetworkVerdict>,
) -> BuildRequest {
    let config = &session.config;
    BuildRequest {
        selected: selected.clone(),
        force: config.force,
        skip_cache_check: config.skip_cache_check,
        cut_off: config.offline || verdict.is_some_and(|v| v.network == Network::Internal),
        labels: BTreeMap::new(),
        kept: BTreeMap::new(),
        unfit: BTreeMap::new(),
    }
}

/// What cannot be built by plan, so there is nothing to verify.
fn broken_subjects(plan: &Plan) -> BTreeSet<String> {
    let bad = |s: &&Skipped| {
        s.phase == Phase::Build && matches!(s.why.outcome(), Outcome::Failed | Outcome::Skipped)
    };
    plan.skipped.iter().filter(bad).map(|s| s.subject.clone()).collect()
}

/// Looks, plans and does.
pub(super) async fn run(session: &Session, request: &Request) -> Result<ExitCode, Error> {
    look_and_do(session, request).await.map_err(|error| match sinks::report_early(session, &error) {
        Ok(()) => error,
        Err(unwritten) => error.because(unwritten.to_string()),
    })
}

async fn look_and_do(session: &Session, request: &Request) -> Result<ExitCode, Error> {
    let changes_things = !request.dry_run && !request.check;
    let _lock = if changes_things { session.lock().await? } else { None };
    let looked = async {
        let world = session.look().await?;
        let planned = plan(session, &world, request).await?;
        Ok::<_, Error>((world, planned))
    };
    let Some(looked) = interrupt::or_interrupted(looked).await else {
        return Err(Error::told(ErrorKind::Interrupted));
    };
    let (world, planned) = looked?;
    if request.dry_run {
        session.tell_warnings();
        super::print(&plan_text(session, &world, &planned, request));
        return run::foreseen(session, &world, request, &planned);
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
    refuse(session, &world, &planned, request)?;
    if request.has(Phase::Build)
        && let Ok(engine) = &world.engine
    {
        engine.fit_to_build()?;
    }
    Run::start(session, request, &world, &planned).go(&world, planned).await
}

/// What forbids all of a plan.
pub(super) fn refuse(
    session: &Session,
    world: &World,
    planned: &Planned,
    request: &Request,
) -> Result<(), Error> {
    locked::refuse(session, planned, request)?;
    secret_args::refuse(session, world, planned)
}

/// `--check`: nothing is changed, and a gap is exit 15.
fn check(world: &World, planned: &Planned, request: &Request) -> ExitCode {
    if let Some(kind) = world.trouble(request, &planned.selected) {
        return kind.code();
    }
    let drifts = planned.plan.steps.iter().any(|step| !matches!(step.kind, StepKind::Verify(_)))
        || alias::has_gap(&planned.plan);
    if drifts { ExitCode::Drift } else { ExitCode::Good }
}
