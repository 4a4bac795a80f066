//! `bundle create`: builds what is stale, keeps stages, gets everything out of the engine, and writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::bundle::archive;
use crate::bundle::closure::{Closure, ClosureInput, Missing, closure, missing};
use crate::bundle::inventory;
use crate::bundle::plan;
use crate::cli::args;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::cli::pipeline;
use crate::cli::rebuild::compose_projects;
use crate::cli::run::Run;
use crate::cli::session::{Changes, Session, Typed};
use crate::cli::world::World;
use crate::host::inside::Folder;
use crate::model::bundle::{BundleOutput, Role, SaveSpec, ServiceRecord, WantedImage};
use crate::model::{ImageName, ImageSource, ImageState, Phase, Plan, Reference, StepKind};
use crate::plan::rebuild::lineage::Lineage;
use crate::plan::{Planned, Request, facts};
use crate::read::compose::ComposeProject;
use crate::settings::Layer;

/// What goes along beside the compose files.
const ENV_EXAMPLE: &str = ".env.example";

/// `bundle create`
pub(super) async fn create(typed: &Typed<'_>, args: args::Create) -> Result<ExitCode, Error> {
    let layer = Layer { jobs: args.jobs, locked: args.locked.then_some(true), ..args.tagged.layer() };
    let session = Session::open(typed, args.naming.over(layer), &args.naming.build_arg)?;
    let bundling = Bundling {
        output: output_of(&session, &args)?,
        compose: compose_projects(&session)?,
        since: args.since.clone(),
        is_proven: args.prove,
    };
    if let Some(path) = bundling.since.clone() {
        // What cannot be read is told before anything is built.
        super::blocking(move || inventory::read(&path)).await?;
    }
    let looking = async {
        let world = session.look().await?;
        let request = request(&session, &world, &bundling.compose, &args)?;
        let planned = pipeline::plan(&session, &world, &request).await?;
        Ok((world, request, planned))
    };
    let (_lock, (world, request, mut planned)) =
        session.prepare(Changes::unless(args.dry_run), looking).await?;
    if !session.bootstrap || args.dry_run {
        world.engine.clone()?.fit_to_build()?;
    }
    let closure = closure_of(&session, &world, &planned, &bundling.compose);
    check_before(&world, &request, &planned, &closure, args.no_build)?;
    pipeline::refuse(&session, &world, &planned, &request)?;
    planned.plan.extend(bundling.plan(&session, &world, &planned, &closure));
    if args.dry_run {
        crate::cli::print(&pipeline::plan_text(&session, &world, &planned, &request));
        crate::cli::print(&list(&closure));
        return Ok(ExitCode::Good);
    }
    closure.warnings.iter().for_each(|warning| session.warn(&warning.to_string()));
    let run = Run::start(&session, &request, &world, &planned).bundling(bundling);
    let ended = run.go(&world, planned).await;
    if ended.code.is_ok() {
        ended.report.answers.iter().for_each(|written| crate::cli::print(written));
    }
    ended.code
}

/// What is asked of a bundle that is written.
pub(in crate::cli) struct Bundling {
    /// Where to.
    output: BundleOutput,
    /// What is started where it goes.
    compose: Vec<ComposeProject>,
    /// What says what the receiver has.
    since: Option<PathBuf>,
    is_proven: bool,
}

impl Bundling {
    /// The same once what was pulled and built is here.
    ///
    /// # Errors
    /// What has to go along and is not here.
    pub async fn plan_again(&self, session: &Session, request: &Request) -> Result<Plan, Error> {
        let world = session.look().await?;
        let after = Request { phases: vec![Phase::Keep, Phase::Verify], ..request.clone() };
        let planned = pipeline::plan(session, &world, &after).await?;
        let closure = closure_of(session, &world, &planned, &self.compose);
        refuse_missing(&missing(&closure, &world.observed))?;
        Ok(self.plan(session, &world, &planned, &closure))
    }

    /// What is done to write it.
    fn plan(&self, session: &Session, world: &World, planned: &Planned, closure: &Closure) -> Plan {
        let here = |wanted: &WantedImage| world.observed.name_here(&wanted.reference);
        let images = closure
            .images
            .iter()
            .map(|wanted| (here(wanted).unwrap_or_else(|| wanted.reference.clone()), wanted.clone()));
        let is_member =
            |reference: &Reference| closure.images.iter().any(|wanted| wanted.reference == *reference);
        let records = world.tree.graph.images().iter().filter(|image| is_member(&image.reference));
        let mut named = BTreeSet::new();
        let services = records.filter(|image| named.insert(image.name.image())).filter_map(|image| {
            let ImageSource::Build(target) = &image.source else { return None };
            let (name, reference) = (image.name.image(), image.known_reference().clone());
            Some(ServiceRecord { name, reference, dockerfile: target.dockerfile.clone() })
        });
        let spec = SaveSpec {
            tag: session.config.tag.clone(),
            services: services.collect(),
            artifacts: closure.artifacts.clone(),
            files: files_of(session, &self.compose),
            since: self.since.clone(),
            output: self.output.clone(),
        };
        plan::save(images.collect(), self.is_proven.then(|| planned.selected.clone()), spec)
    }
}

/// What goes along with what is selected.
pub(in crate::cli) fn closure_of(
    session: &Session,
    world: &World,
    planned: &Planned,
    compose: &[ComposeProject],
) -> Closure {
    let lineages = world.tree.lineages(&world.observed, &planned.assessments);
    close_over(session, world, &planned.selected, &lineages, compose)
}

fn close_over(
    session: &Session,
    world: &World,
    selected: &BTreeSet<ImageName>,
    lineages: &BTreeMap<ImageName, Vec<Lineage>>,
    compose: &[ComposeProject],
) -> Closure {
    closure(&ClosureInput {
        selected,
        graph: &world.tree.graph,
        lineages,
        compose,
        rules: session.config.alias_rules(),
        observed: &world.observed,
        platform: &facts::platform(&session.config, &world.observed),
    })
}

fn output_of(session: &Session, args: &args::Create) -> Result<BundleOutput, Error> {
    let root = &session.config.root;
    let path = args.output.clone().unwrap_or_else(|| {
        let name = root.file_name().map_or("bundle".into(), |name| name.to_string_lossy());
        root.join(format!("target/xtask/bundles/{name}-{}.tar", session.config.tag))
    });
    if let Some(folder) = path.parent().filter(|_| args.output.is_none() && !args.dry_run) {
        let made = Folder::open(root).and_then(|tree| tree.below(folder));
        made.map_err(|error| Error::of(ErrorKind::File, &error))?;
    }
    archive::output_at(&path, args.part_size).map_err(|why| Error::new(ErrorKind::Usage, why))
}

/// The phases of `build-all`, and the stages; what compose files start is pulled too.
fn request(
    session: &Session,
    world: &World,
    compose: &[ComposeProject],
    args: &args::Create,
) -> Result<Request, Error> {
    let (only, skip) = (args.selection.only.clone(), args.selection.skip.clone());
    let chosen = Request { only: only.clone(), skip: skip.clone(), ..Request::of(&[Phase::Build]) };
    let selected = world.select(&chosen)?;
    let wanted = close_over(session, world, &selected, &BTreeMap::new(), compose);
    let started = wanted.images.iter().filter(|wanted| wanted.role == Role::Compose);
    let references = started.map(|wanted| wanted.reference.clone()).collect();
    let phases: &[Phase] = if args.no_build {
        &[Phase::Keep, Phase::Verify, Phase::Save]
    } else {
        &[
            Phase::Download,
            Phase::Prefetch,
            Phase::Alias,
            Phase::SyncConfig,
            Phase::Render,
            Phase::Build,
            Phase::Keep,
            Phase::Verify,
            Phase::Save,
        ]
    };
    let tag_of = args.tagged.word_of("bundle create");
    Ok(Request { only, skip, tag_of, references, dry_run: args.dry_run, ..Request::of(phases) })
}

/// Everything that is sure to go wrong is told before anything is built.
fn check_before(
    world: &World,
    request: &Request,
    planned: &Planned,
    closure: &Closure,
    no_build: bool,
) -> Result<(), Error> {
    if world.tree.trouble(request, &planned.selected, &world.render).is_some() {
        return Err(Error::of_diagnostics(&world.tree.diagnostics(&planned.selected)));
    }
    if no_build {
        let stale: Vec<String> = planned
            .assessments
            .iter()
            .filter(|a| planned.selected.contains(&a.name) && a.state != ImageState::UpToDate)
            .map(|a| format!("{}: {} ({})", a.name, a.state, a.reason))
            .collect();
        if !stale.is_empty() {
            let error = Error::new(
                ErrorKind::Drift,
                "not all images are up to date, and --no-build forbids to build",
            );
            return Err(stale
                .into_iter()
                .fold(error, Error::because)
                .hint("`cargo xtask build-all` builds them"));
        }
    }
    let pulled: BTreeSet<_> = planned
        .plan
        .steps
        .iter()
        .flat_map(|step| match &step.kind {
            StepKind::Pull { reference, .. } => std::slice::from_ref(reference),
            StepKind::Tag { targets, .. } => targets,
            _ => &[],
        })
        .collect();
    let mut lacking = missing(closure, &world.observed);
    lacking.retain(|lack| !pulled.contains(&lack.reference));
    refuse_missing(&lacking)
}

fn refuse_missing(lacking: &[Missing]) -> Result<(), Error> {
    if lacking.is_empty() {
        return Ok(());
    }
    let what = match lacking {
        [one] => format!("{} is not here, and a bundle needs it", one.reference.familiar()),
        all => format!("{} images are not here, and a bundle needs them", all.len()),
    };
    let mut error = Error::new(ErrorKind::NotHere, what);
    for lack in lacking {
        error = error.because(format!("{}: {}", lack.needed_by.join(", "), lack.reference.familiar()));
    }
    Err(lacking.iter().fold(error, |error, lack| error.hint(format!("`{}` gets it", lack.command))))
}

fn list(closure: &Closure) -> String {
    let mut text = "goes along:\n".to_owned();
    for wanted in &closure.images {
        let by = wanted.needed_by.join(", ");
        text.push_str(&format!("  {:9} {}  ({by})\n", wanted.role.name(), wanted.reference.familiar()));
    }
    for (artifact, needed_by) in &closure.artifacts {
        text.push_str(&format!("  artifact  {}  ({})\n", artifact.file, needed_by.join(", ")));
    }
    text
}

/// Compose files and the example of `.env`, relative to the root.
fn files_of(session: &Session, compose: &[ComposeProject]) -> Vec<String> {
    let example = session.config.root.join(ENV_EXAMPLE).is_file().then(|| ENV_EXAMPLE.to_owned());
    let read = compose.iter().flat_map(|project| project.files.iter().cloned());
    // What lies outside the tree has no place there.
    let mut files: Vec<String> = read.filter(|file| !file.starts_with('/')).chain(example).collect();
    files.sort();
    files.dedup();
    files
}
