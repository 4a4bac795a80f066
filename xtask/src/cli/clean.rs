//! `clean`: images, records and caches that nothing needs, and what broken-off runs left. Shows first, removes then.

pub(super) mod base_images;
mod files;
pub(super) mod leftovers;
mod listing;
mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::path::Path;

use self::listing::{Listing, Section};
use super::args::{self, Format};
use super::pipeline;
use super::run::Run;
use super::session::{Changes, Session, Typed};
use super::world::World;
use crate::base_images::trial;
use crate::bundle::BLOBS;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::{AnyEngine, EngineError, Store as _};
use crate::model::{ImageId, Phase, Plan, Reason, Step, StepId, StepKind, labels};
use crate::plan::Request;
use crate::plan::clean::images::{self, ImageInput, RemovedImage, Tags};
use crate::plan::clean::reclaim::{self, Stack};
use crate::read::fingerprint::canonical::Parts;
use crate::read::tree;
use crate::report::record::{LATEST, RUNS_FOLDER, is_id};

/// `clean`
pub(super) async fn run(typed: &Typed<'_>, args: args::Clean) -> Result<ExitCode, Error> {
    let session = Session::open(typed, args.layer(), &[])?;
    let may_ask =
        args.format == Format::Human && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let may_remove = !args.dry_run && (args.yes || may_ask);
    let looking = async {
        let world = session.look().await?;
        let listing = look(&session, &world, &args).await?;
        Ok((world, listing))
    };
    let (_lock, (world, listing)) = session.prepare(Changes::unless(!may_remove), looking).await?;
    if args.format == Format::Human {
        session.tell_warnings();
        if args.wants_images() || args.wants_left() {
            session.tell_missing_engine(&world);
        }
        super::print(&session.secrets.redact(&listing.text()));
    }
    let is_wanted = if listing.is_empty() || !may_remove {
        if !listing.is_empty() && !args.dry_run && args.format == Format::Human {
            super::say("nothing was removed: --yes removes it");
            if listing.has(&Reason::OtherTag) && !args.chooses_tags() {
                super::say(
                    "images of other tags go with --images, --tag TAG or --older-than AGE beside --yes",
                );
            }
        }
        false
    } else {
        args.yes || super::interrupt::agreed("Remove all this? [y/N] ", "nothing was removed").await?
    };
    if !is_wanted {
        if args.format == Format::Json {
            super::print(&listing.json(false));
        }
        return Ok(ExitCode::Good);
    }
    let code = remove(&session, &world, listing.plan()).await?;
    if args.format == Format::Json {
        super::print(&listing.json(true));
    }
    Ok(code)
}

async fn remove(session: &Session, world: &World, plan: Plan) -> Result<ExitCode, Error> {
    let request = Request { prepared: plan, ..Request::of(&[Phase::CleanUp]) };
    let planned = pipeline::make_plan(session, world, &world.observed, &request, &BTreeSet::new(), None);
    let mut run = Run::start(session, &request, world, &planned);
    let result = run.phases(world, planned).await;
    run.finish(None, result).await.code
}

/// Everything that was asked for and can go.
async fn look(session: &Session, world: &World, args: &args::Clean) -> Result<Listing, Error> {
    let root = &session.config.root;
    let mut listing = Listing::default();
    match &world.engine {
        Ok(engine) if args.wants_images() || args.wants_left() => {
            let (left, containers) = leftovers::find(session, engine).await?;
            if args.wants_left() {
                let (names, taken) = leftovers::names(engine, &world.observed).await?;
                let mut plan = trial::clean_up(&trial::Leftovers { names, taken, ..left });
                plan.steps.iter_mut().for_each(|step| step.why = Reason::LeftBehind);
                listing.add(Section::Left, plan, BTreeMap::new());
            }
            if args.wants_images() {
                let (plan, bytes) = look_at_images(session, world, args, engine, &containers).await?;
                listing.add(Section::Images, plan, bytes);
            }
        }
        // Whoever asks for images alone has to be told that they cannot be had.
        Err(error) if args.images || args.left => return Err(error.clone().into()),
        _ => {}
    }
    let (runs, caches) = (args.wants_runs(), args.wants_caches());
    let (root, keep, downloads) =
        (root.clone(), session.config.keep_runs, session.config.artifact.cache.clone());
    let lists: BTreeSet<String> = parts_of(world).map(|parts| tree::list_of(&parts.files)).collect();
    let found = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        if runs {
            found.push((Section::Runs, records(&root, keep)));
        }
        if caches {
            found.push((Section::Caches, cached(&root, &downloads, &lists)));
        }
        found
    });
    let found = found.await.map_err(|panic| Error::of(ErrorKind::Unexpected, &panic))?;
    for (section, (plan, bytes)) in found {
        listing.add(section, plan, bytes);
    }
    Ok(listing)
}

/// What the labels of all images here say that they were made of.
fn parts_of(world: &World) -> impl Iterator<Item = Parts> {
    let labelled = world.observed.images().iter().filter_map(|image| image.labels.get(labels::PARTS));
    labelled.filter_map(|label| serde_json::from_str(label).ok())
}

type Weighed = (Plan, BTreeMap<StepId, u64>);

async fn look_at_images(
    session: &Session,
    world: &World,
    args: &args::Clean,
    engine: &AnyEngine,
    containers: &BTreeMap<ImageId, String>,
) -> Result<Weighed, EngineError> {
    let needed = needs::names(session, world);
    let stages = needs::stages(session, world);
    let tags = Tags {
        named: args.tag.iter().map(|tag| tag.0.clone()).collect(),
        older_than: args.older_than,
        stay: args.yes && !args.chooses_tags(),
        ages: needs::ages(&world.observed),
    };
    let (plan, going) = images::plan(&ImageInput {
        observed: &world.observed,
        tree: &tree::identity(&session.config.root),
        needed: &needed,
        stages: stages.as_ref().map_err(String::as_str),
        containers,
        made: &world.tree.all().iter().map(ToString::to_string).collect(),
        tags: &tags,
    });
    let bytes = weigh(world, engine, &going).await?;
    Ok((plan, bytes))
}

/// What each image that goes may free, at the step that it goes with.
async fn weigh(
    world: &World,
    engine: &AnyEngine,
    going: &[RemovedImage],
) -> Result<BTreeMap<StepId, u64>, EngineError> {
    let mut bytes = BTreeMap::new();
    if going.is_empty() {
        return Ok(bytes);
    }
    let (mut leaving, mut staying) = (BTreeMap::new(), Vec::new());
    for image in world.observed.images() {
        let layers = engine.layers(&image.id).await?.unwrap_or_default();
        let stack = Stack { layers, size: image.size };
        if going.iter().any(|going| going.id == image.id) {
            leaving.insert(&image.id, stack);
        } else {
            staying.push(stack);
        }
    }
    let (last, stacks): (Vec<_>, Vec<_>) =
        going.iter().filter_map(|going| Some((going.steps.last()?, leaving.get(&going.id)?.clone()))).unzip();
    bytes.extend(last.into_iter().cloned().zip(reclaim::at_most(&stacks, &staying)));
    Ok(bytes)
}

/// Records beyond the last ones.
fn records(root: &Path, keep: usize) -> Weighed {
    let old = files::old_runs(root, RUNS_FOLDER, LATEST, keep, &is_id);
    let (Some(first), Some(last)) = (old.first(), old.last()) else { return Weighed::default() };
    let subject = match old.as_slice() {
        [one] => format!("record of run {}", one.id),
        all => format!("records of {} runs, {} to {}", all.len(), first.id, last.id),
    };
    let bytes = old.iter().map(|run| run.bytes).sum();
    let paths = old.into_iter().map(|run| run.path).collect();
    one_step(subject, paths, Reason::BeyondKept(keep), bytes)
}

/// What lies in caches.
fn cached(root: &Path, downloads: &Path, lists: &BTreeSet<String>) -> Weighed {
    let found = [
        ("layers kept for bundles", files::whole(root, BLOBS), Reason::Remade),
        (
            "lists of files of images that are gone",
            files::context_lists(root, tree::LISTS, lists),
            Reason::Unreferenced,
        ),
        ("broken-off downloads", files::partial_downloads(downloads), Reason::Remade),
    ];
    let mut all = Weighed::default();
    for (subject, found, why) in found {
        if let Some(found) = found {
            let (plan, bytes) = one_step(subject.to_owned(), found.paths, why, found.bytes);
            all.0.extend(plan);
            all.1.extend(bytes);
        }
    }
    all
}

fn one_step(subject: String, paths: Vec<String>, why: Reason, bytes: u64) -> Weighed {
    let step = Step::new(Phase::CleanUp, subject, StepKind::RemoveFiles { paths }, why);
    let sizes = [(step.id.clone(), bytes)].into();
    (Plan { steps: vec![step], ..Plan::default() }, sizes)
}
