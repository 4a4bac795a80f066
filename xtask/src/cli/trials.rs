//! `base-images test|e2e|publish`: what images go through before somebody else gets them. Each is a run of the pipeline
//! that goes on: further phases, and a clean-up that comes whatever happened before it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::args::{BaseImagesE2e, BaseImagesPublish, BaseImagesTest, Trying};
use super::base_images::{Opened, open, request};
use super::clean::leftovers::broken_off;
use super::pipeline;
use super::provisioning;
use super::run::{self, Run};
use super::session::{Changes, Session, Typed};
use super::world::World;
use crate::base_images::contract::{self, Contract, ContractComparison};
use crate::base_images::trial::{self, BaseImage, Leftovers, Requirements, TrialOwner};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::{AnyEngine, Containers as _, Store as _};
use crate::execute::Tried;
use crate::host::ProcessId;
use crate::model::{
    Afterwards, ArtifactKind, ImageSource, Lifetime, OnFailure, Phase, Plan, Reference, Stage,
};
use crate::plan::{Planned, Request};
use crate::read::tree;
use crate::registry::local::{self, find_source};
use crate::registry::web::is_loopback;
use crate::report::junit::{self, Suite};

/// The port of the registry that is only there for a trial.
const PORT: u16 = 15_000;
/// A clean-up that takes longer is given up: `base-images clean` goes on with it.
const CLEAN_UP_WITHIN: Duration = Duration::from_secs(120);
/// What builds base images.
const BUILD: [Phase; 5] = [Phase::Download, Phase::Prefetch, Phase::Alias, Phase::Build, Phase::Verify];

/// What a trial is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// What is in the store is run.
    Test,
    /// It is built, pushed to a registry on this machine, pulled back and run.
    E2e(Afterwards),
    /// It is built, run, rehearsed, pushed and confirmed.
    Publish,
}

impl Purpose {
    /// The phases after those of the pipeline.
    fn phases(self) -> &'static [Phase] {
        match self {
            Self::Test => &[Phase::Test, Phase::CleanUp],
            Self::E2e(_) => &[Phase::Registry, Phase::Push, Phase::Pull, Phase::Test, Phase::CleanUp],
            Self::Publish => {
                &[Phase::Test, Phase::Registry, Phase::Rehearse, Phase::Push, Phase::Confirm, Phase::CleanUp]
            }
        }
    }
}

/// `base-images test`
pub(super) async fn test(typed: &Typed<'_>, args: BaseImagesTest) -> Result<ExitCode, Error> {
    let opened = open(typed, args.layer(), &args.making.build_arg)?;
    run(&opened, &[], Purpose::Test, args.trying, args.dry_run).await
}

/// `base-images e2e`
pub(super) async fn e2e(typed: &Typed<'_>, args: BaseImagesE2e) -> Result<ExitCode, Error> {
    let opened = open(typed, args.layer(), &args.making.build_arg)?;
    let mut opened = opened.pulling(&args.pulling);
    // A registry of people's own has no part in it, and its names none in the store.
    opened.session.config.registry = None;
    let afterwards = if args.keep { Afterwards::Keep } else { Afterwards::Remove };
    run(&opened, &BUILD, Purpose::E2e(afterwards), args.trying, args.dry_run).await
}

/// `base-images publish`
pub(super) async fn publish(typed: &Typed<'_>, args: BaseImagesPublish) -> Result<ExitCode, Error> {
    let opened = open(typed, args.layer(), &args.making.build_arg)?;
    let opened = opened.pulling(&args.pulling);
    let config = &opened.session.config;
    let Some(registry) = &config.registry else {
        return Err(Error::new(ErrorKind::Usage, "nobody says where to publish to").hint(
            "`cargo xtask base-images publish --registry registry.example.com/project` names a registry",
        ));
    };
    if config.artifact.kind() == ArtifactKind::Sample && !is_loopback(registry.domain()) {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("the sample artifact is not the release, so it is not published to {registry}"),
        )
        .hint(
            "`artifact.url` without `file://`, and no `--sample-artifact`, puts the release into the images",
        )
        .hint("a registry on this machine may have the sample: `cargo xtask registry up`"));
    }
    if config.offline {
        return Err(Error::new(ErrorKind::NotHere, "--offline forbids to publish anything"));
    }
    run(&opened, &BUILD, Purpose::Publish, args.trying, args.dry_run).await
}

async fn run(
    opened: &Opened,
    phases: &[Phase],
    purpose: Purpose,
    trying: Trying,
    dry_run: bool,
) -> Result<ExitCode, Error> {
    let session = &opened.session;
    let request = Request { dry_run, renew: opened.renew, ..request(session, phases) };
    let looking = pipeline::look_at_all(session, &request);
    let (_lock, (world, mut planned)) = session.prepare(Changes::unless(dry_run), looking).await?;
    let images = world.tree.graph.images().iter().filter(|image| planned.selected.contains(&image.name));
    let bases = BaseImage::among(images);
    let contract = read_contract(session, &bases)?;
    let trial = Trial {
        session,
        bases,
        contract: &contract,
        purpose,
        trying,
        port: session.config.registry_port.unwrap_or(PORT),
    };
    planned.plan.extend(trial.foreseen(&owner(session, "FORESEEN"))?);
    if dry_run {
        // Shown in the order in which they are done. A run goes through them by itself: only then the port is known.
        let has_steps = |phase: &Phase| planned.plan.steps.iter().any(|step| step.phase == *phase);
        let further = purpose.phases().iter().copied().filter(has_steps);
        let further: Vec<Stage> =
            further.map(|phase| Stage { phase, replan: None, on_failure: OnFailure::GoOn }).collect();
        planned.plan.stages.extend(further);
        session.tell_warnings();
        super::print(&pipeline::plan_text(session, &world, &planned, &request));
        return run::foreseen(session, &world, &request, &planned);
    }
    match &world.engine {
        Err(error) if !session.bootstrap => return Err(error.clone().into()),
        Ok(engine) if !phases.is_empty() => engine.fit_to_build()?,
        _ => {}
    }
    if let Ok(engine) = &world.engine {
        is_on_this_machine(engine)?;
    }
    trial.go(&request, &world, planned).await
}

/// Ports of containers are asked here, so they have to be this machine's.
pub(super) fn is_on_this_machine(engine: &AnyEngine) -> Result<(), Error> {
    let endpoint = engine.endpoint();
    let host = endpoint.split_once("://").filter(|(scheme, _)| *scheme != "unix" && *scheme != "fake");
    match host {
        Some((_, host)) if !is_loopback(host) => Err(Error::new(
            ErrorKind::EngineUnfit,
            format!("the engine at {endpoint} is on another machine, whose ports are not this one's"),
        )
        .hint("run the command there, or name an engine of this machine: `DOCKER_HOST=unix:///path/to/docker.sock`")),
        _ => Ok(()),
    }
}

fn owner(session: &Session, run: &str) -> TrialOwner {
    let process = ProcessId::of(std::process::id());
    let process = process.as_ref().map_or_else(String::new, ToString::to_string);
    TrialOwner { run: run.to_owned(), process, tree: tree::identity(&session.config.root) }
}

/// The contract beside the systems' folders, else the built-in one.
fn read_contract(session: &Session, bases: &[BaseImage<'_>]) -> Result<Contract, Error> {
    let dockerfiles = bases.iter().filter_map(|base| match &base.image.source {
        ImageSource::Build(target) => Some(Path::new(&target.dockerfile)),
        ImageSource::External(_) => None,
    });
    let mut files = dockerfiles.filter_map(|file| Some(file.parent()?.parent()?.join(contract::FILE)));
    let Some(file) = files.find(|file| session.config.root.join(file).is_file()) else {
        return Ok(Contract::built_in());
    };
    let text = std::fs::read_to_string(session.config.root.join(&file)).map_err(|error| {
        Error::of(ErrorKind::ConfigInvalid, &error).context(format!("cannot read {}", file.display()))
    })?;
    contract::parse(&file.display().to_string(), &text).map_err(|found| {
        Error::new(ErrorKind::ConfigInvalid, format!("{}: {}", found.place(), found.message))
    })
}

/// One command, as far as it goes beyond the pipeline.
struct Trial<'a> {
    session: &'a Session,
    bases: Vec<BaseImage<'a>>,
    contract: &'a Contract,
    purpose: Purpose,
    trying: Trying,
    port: u16,
}

impl Trial<'_> {
    fn requirements(&self) -> Requirements<'_> {
        Requirements { contract: self.contract, plugins: self.trying.plugins }
    }

    fn lifetime(&self) -> Lifetime {
        match self.purpose {
            Purpose::E2e(Afterwards::Keep) => Lifetime::UntilDown,
            _ => Lifetime::AsLongAsWeDo,
        }
    }

    /// All further steps, if the port is free and all goes well.
    fn foreseen(&self, owner: &TrialOwner) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if self.purpose != Purpose::Test {
            plan.extend(trial::registry(owner, self.port, self.lifetime()));
        }
        if matches!(self.purpose, Purpose::Test | Purpose::Publish) {
            plan.extend(trial::test(&self.bases, owner, self.requirements()));
        }
        plan.extend(self.with_registry(owner, self.port)?);
        Ok(plan)
    }

    /// The steps that need a registry on this machine.
    fn with_registry(&self, owner: &TrialOwner, port: u16) -> Result<Plan, Error> {
        let plan = match self.purpose {
            Purpose::Test => Ok(Plan::default()),
            Purpose::E2e(afterwards) => {
                trial::there_and_back(&self.bases, port, owner, self.requirements(), afterwards)
            }
            Purpose::Publish => trial::rehearse(&self.bases, port).and_then(|mut plan| {
                plan.extend(trial::publish(&self.bases, port)?);
                Ok(plan)
            }),
        };
        plan.map_err(|error| Error::of(ErrorKind::ConfigInvalid, &error))
    }

    async fn go(mut self, request: &Request, world: &World, planned: Planned) -> Result<ExitCode, Error> {
        let trouble = world.tree.trouble(request, &planned.selected, &world.render);
        let mut run = Run::start(self.session, request, world, &planned);
        run.expect_further(self.purpose.phases().len());
        let owner = owner(self.session, run.id());
        let work = AssertUnwindSafe(self.work(&mut run, world, planned, &owner));
        let result = work.catch_unwind().await;
        // What was to stay stays only if it came to be.
        let is_kept = self.purpose == Purpose::E2e(Afterwards::Keep) && !run.cancel().is_cancelled();
        self.clean_up(&mut run, &owner, is_kept).await;
        let tried = run.results().tried();
        let comparison = self.compare(&tried);
        let published = self.published(&run);
        let (is_cancelled, ended) = match result {
            Ok(result) => (run.cancel().is_cancelled(), run.finish(trouble, result).await.code),
            Err(panic) => {
                let _ = run.finish(trouble, Ok(())).await;
                resume_unwind(panic);
            }
        };
        if !is_cancelled && !comparison.systems.is_empty() {
            let stdout = console::Term::stdout();
            let screen =
                stdout.size_checked().filter(|_| stdout.is_term()).map(|(_, columns)| columns.into());
            super::print(&self.session.secrets.redact(&comparison.fitted(screen)));
        }
        published.iter().for_each(|line| super::print(line));
        self.write_junit(&tried, &comparison)?;
        if is_kept {
            self.tell_kept(&owner);
        }
        let code = ended?;
        if code == ExitCode::Good && !comparison.holds() {
            let told = Error::new(ErrorKind::Unhealthy, "the images do not keep their contract");
            return Err(comparison.findings().into_iter().fold(told, Error::because));
        }
        Ok(code)
    }

    async fn work(
        &mut self,
        run: &mut Run<'_>,
        world: &World,
        planned: Planned,
        owner: &TrialOwner,
    ) -> Result<(), Error> {
        run.phases(world, planned).await?;
        let cancel = run.cancel().clone();
        let Some(engine) = run.engine().cloned() else { return Ok(()) };
        is_on_this_machine(&engine)?;
        if cancel.is_cancelled() {
            return Ok(());
        }
        let observed = engine.observe().await?;
        if self.purpose != Purpose::Test {
            // What could not be built is told already.
            self.bases.retain(|base| observed.find(base.plain()).is_some());
            if self.bases.is_empty() {
                return Ok(());
            }
        }
        if matches!(self.purpose, Purpose::Test | Purpose::Publish) {
            let plan = trial::test(&self.bases, owner, self.requirements());
            run.also(&[Phase::Test], &plan, &cancel).await;
        }
        if self.purpose == Purpose::Test || cancel.is_cancelled() {
            return Ok(());
        }
        if self.session.bootstrap && find_source(&observed).is_none() {
            let announce = provisioning::announcer(run.emitter());
            provisioning::registry(&observed, &announce).await?;
        }
        run.also(&[Phase::Registry], &trial::registry(owner, self.port, self.lifetime()), &cancel).await;
        let home = self.session.config.root.join(owner.registry_home());
        let Some(port) = run.results().registry_port(&home) else { return Ok(()) };
        let plan = self.with_registry(owner, port)?;
        let phases: &[Phase] = match self.purpose {
            Purpose::E2e(_) => &[Phase::Push, Phase::Pull, Phase::Test],
            _ => &[Phase::Rehearse, Phase::Push, Phase::Confirm],
        };
        run.also(phases, &plan, &cancel).await;
        Ok(())
    }

    /// Takes away what the run made to try things, unless it is kept, however it went, and containers that runs before it
    /// left; Ctrl-C does not stop it.
    async fn clean_up(&self, run: &mut Run<'_>, owner: &TrialOwner, is_kept: bool) {
        let plan = match run.engine().cloned() {
            Some(engine) => match self.leftovers(run, &engine, owner, is_kept).await {
                Ok(left) => trial::clean_up(&left),
                Err(error) => {
                    let message = format!(
                        "cannot look for what is left: {error}; `cargo xtask base-images clean` does"
                    );
                    run.emitter().emit(crate::model::EventKind::StepWarning { step: None, message });
                    return;
                }
            },
            None => Plan::default(),
        };
        let never = CancellationToken::new();
        let removing = run.also(&[Phase::CleanUp], &plan, &never);
        if tokio::time::timeout(CLEAN_UP_WITHIN, removing).await.is_err() {
            let message =
                "the clean-up takes too long; `cargo xtask base-images clean` goes on with it".to_owned();
            run.emitter().emit(crate::model::EventKind::StepWarning { step: None, message });
        }
    }

    async fn leftovers(
        &self,
        run: &Run<'_>,
        engine: &AnyEngine,
        owner: &TrialOwner,
        is_kept: bool,
    ) -> Result<Leftovers, crate::engine::EngineError> {
        let mut containers = broken_off(self.session, engine).await?;
        if is_kept {
            return Ok(Leftovers { containers, ..Leftovers::default() });
        }
        let home = owner.registry_home();
        let path = self.session.config.root.join(&home);
        let of_registry = local::recorded(&path).and_then(|record| record.container);
        for id in engine.containers(&owner.label()).await? {
            if of_registry.as_deref() == Some(id.as_str()) {
                continue;
            }
            let state = engine.container(&id).await?;
            containers.push((id, state.map(|state| state.name).unwrap_or_default()));
        }
        let registries: Vec<String> = path.exists().then_some(home).into_iter().collect();
        // What a release made stays: it is the release. Its rehearsal goes.
        let now = engine.observe().await?;
        let mut names = trial::new_names(run.before(), &now, &run.results().given());
        if !matches!(self.purpose, Purpose::E2e(_)) {
            names.retain(|name| self.is_of_rehearsal(name, run, &path));
        }
        Ok(Leftovers { containers, registries, names, ..Leftovers::default() })
    }

    fn is_of_rehearsal(&self, name: &Reference, run: &Run<'_>, home: &Path) -> bool {
        let port = run.results().registry_port(home);
        port.is_some_and(|port| name.domain() == format!("127.0.0.1:{port}"))
    }

    fn compare(&self, tried: &[Tried]) -> ContractComparison {
        let systems: Vec<contract::System<'_>> = tried
            .iter()
            .filter_map(|tried| {
                let base = self.bases.iter().find(|base| base.image.name == tried.seen.image)?;
                Some(contract::System {
                    image: &tried.seen.image,
                    os: &tried.seen.os,
                    version: &base.facts.version,
                    details: tried.seen.details.as_ref()?,
                    answers: &tried.seen.answers,
                    stopped: tried.seen.stopped,
                })
            })
            .collect();
        contract::compare(self.contract, &systems)
    }

    /// One line for each name that is published: pushed, and found to be what was pushed.
    fn published(&self, run: &Run<'_>) -> Vec<String> {
        if self.purpose != Purpose::Publish {
            return Vec::new();
        }
        let confirmed = run.results().confirmed();
        // Variants have the names of their index.
        let mut told = BTreeSet::new();
        let names = self.bases.iter().flat_map(|base| base.image.known_names().map(|(name, _)| name));
        let names = names.filter(|name| told.insert(*name));
        let line = |name: &Reference| Some(format!("published {}@{}", name.familiar(), confirmed.get(name)?));
        names.filter_map(line).collect()
    }

    fn write_junit(&self, tried: &[Tried], comparison: &ContractComparison) -> Result<(), Error> {
        let Some(file) = &self.trying.junit else { return Ok(()) };
        let suites: Vec<Suite> = self
            .bases
            .iter()
            .map(|base| {
                let own = tried.iter().find(|tried| tried.seen.image == base.image.name);
                let mut checks = own.map(|tried| tried.checks.clone()).unwrap_or_default();
                if let Some(column) = comparison.images.iter().position(|image| *image == base.image.name) {
                    checks.extend(comparison.checks(column));
                }
                let took = own.map(|tried| tried.seen.took).unwrap_or_default();
                junit::of_checks(base.image.name.as_str(), took, &checks)
            })
            .collect();
        let text = junit::report("base-images", &suites);
        junit::write(file, &text).map_err(|error| Error::of(ErrorKind::File, &error))
    }

    fn tell_kept(&self, owner: &TrialOwner) {
        let home = self.session.config.root.join(owner.registry_home());
        if let Some(record) = local::recorded(&home) {
            super::say(&format!("kept: the registry at {} ({})", record.url(), record.source));
        }
        super::say(&format!(
            "kept: containers, which `docker ps --filter label={}` lists with their ports",
            owner.label()
        ));
        super::say("`cargo xtask base-images clean` removes both, and the images");
    }
}
