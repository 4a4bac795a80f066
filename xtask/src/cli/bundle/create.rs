//! `bundle create`: builds what is stale, keeps stages, gets everything out of the engine, and writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::super::activity::{Work, file_name};
use super::super::args;
use super::super::interrupt::or_interrupted;
use super::super::pipeline;
use super::super::prove;
use super::super::rebuild::compose_projects;
use super::super::run::Run;
use super::super::session::{Session, Typed};
use super::super::world::World;
use crate::artifact;
use crate::bundle::BLOBS;
use crate::bundle::archive::{self, Output, Written};
use crate::bundle::closure::{Closure, ClosureInput, Missing, Wanted, closure, missing};
use crate::bundle::deliver::{Present, deliver};
use crate::bundle::fetch::fetch;
use crate::bundle::inventory::{self, Inventory, leave_out};
use crate::bundle::layout::describe;
use crate::bundle::manifest::{
    ArtifactRecord, BundleManifest, Descriptor, FileRecord, Member, Parcel, Proof, Role, ServiceRecord,
    StoredImage,
};
use crate::bundle::open::BlobSource;
use crate::bundle::proven::ProvenFile;
use crate::bundle::store::Store;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::AnyEngine;
use crate::engine::provision::Announce;
use crate::host::inside::Folder;
use crate::model::{Digest, ImageName, ImageSource, ImageState, Outcome, Phase, Reference, StepKind};
use crate::plan::{Planned, Request, facts};
use crate::read::compose::ComposeProject;
use crate::report::text::size;
use crate::settings::Layer;

/// What goes along beside the compose files.
const ENV_EXAMPLE: &str = ".env.example";
/// What an artifact is, to readers that do not know of it.
const ARTIFACT: &str = "application/zip";
/// The same of a file of the tree.
const TEXT: &str = "text/plain";

/// `bundle create`
pub(super) async fn create(typed: &Typed<'_>, args: args::Create) -> Result<ExitCode, Error> {
    let layer = Layer { jobs: args.jobs, locked: args.locked.then_some(true), ..args.tagged.layer() };
    let session = Session::open(typed, args.naming.over(layer), &args.naming.build_arg)?;
    let output = output_of(&session, &args)?;
    let compose = compose_projects(&session)?;
    let has = match &args.since {
        Some(path) => Some(inventory_of(path.clone()).await?),
        None => None,
    };
    let _lock = if args.dry_run { None } else { session.lock().await? };
    let looked = async {
        let world = session.look().await?;
        let request = request(&session, &world, &compose, &args)?;
        let planned = pipeline::plan(&session, &world, &request).await?;
        Ok::<_, Error>((world, request, planned))
    };
    let Some(looked) = or_interrupted(looked).await else {
        return Err(Error::told(ErrorKind::Interrupted));
    };
    let (world, request, planned) = looked?;
    if !session.bootstrap || args.dry_run {
        world.engine.clone()?.fit_to_build()?;
    }
    let closure = closure_of(&session, &world, &planned, &compose);
    check_before(&world, &request, &planned, &closure, args.no_build)?;
    pipeline::refuse(&session, &world, &planned, &request)?;
    if args.dry_run {
        super::super::print(&pipeline::plan_text(&session, &world, &planned, &request));
        super::super::print(&list(&closure));
        return Ok(ExitCode::Good);
    }
    closure.warnings.iter().for_each(|warning| session.warn(&warning.to_string()));
    let trouble = world.tree.trouble(&request, &planned.selected, &world.render);
    let mut run = Run::start(&session, &request, &world, &planned);
    run.expect_further(1);
    let wish = Wish { compose, has, output, is_proven: args.prove };
    let result = build_and_save(&session, &mut run, &request, (world, planned), wish).await;
    let (result, written) = match result {
        Ok(written) => (Ok(()), written),
        Err(error) => (Err(error), None),
    };
    let code = run.finish(trouble, result).await?;
    if let Some(written) = written {
        let paths: Vec<String> = written.paths.iter().map(|path| path.display().to_string()).collect();
        super::super::print(&paths.join("\n"));
    }
    Ok(code)
}

/// What is to be written, but for the images.
struct Wish {
    compose: Vec<ComposeProject>,
    has: Option<Inventory>,
    output: Output,
    is_proven: bool,
}

/// All phases of the command, in one run. None is written when something went wrong before: that is told.
async fn build_and_save(
    session: &Session,
    run: &mut Run<'_>,
    request: &Request,
    (world, planned): (World, Planned),
    wish: Wish,
) -> Result<Option<Written>, Error> {
    run.phases(&world, planned).await?;
    if !run.is_well() {
        return Ok(None);
    }
    let cancel = run.cancel().clone();
    let mut work = run.work(&[Phase::Save]);
    // What was pulled and built is looked at once more: nothing is written of what was only planned.
    let saving = async {
        let world = session.look().await?;
        let after = Request { phases: vec![Phase::Keep, Phase::Verify], ..request.clone() };
        let planned = pipeline::plan(session, &world, &after).await?;
        let closure = closure_of(session, &world, &planned, &wish.compose);
        refuse_missing(&missing(&closure, &world.observed))?;
        let engine = world.engine.clone()?;
        let selected = wish.is_proven.then(|| planned.selected.clone());
        let files = files_of(session, &wish.compose);
        let goods = Goods { closure, selected, files, has: wish.has, output: wish.output };
        save(&mut work, session, &world, &engine, &goods).await.map(Some)
    };
    let saved = cancel.run_until_cancelled(saving).await.unwrap_or(Ok(None));
    run.add(work);
    saved
}

fn output_of(session: &Session, args: &args::Create) -> Result<Output, Error> {
    let root = &session.config.root;
    let path = args.output.clone().unwrap_or_else(|| {
        let name = root.file_name().map_or("bundle".into(), |name| name.to_string_lossy());
        root.join(format!("target/xtask/bundles/{name}-{}.tar", session.config.tag))
    });
    if let Some(folder) = path.parent().filter(|_| args.output.is_none() && !args.dry_run) {
        let made = Folder::open(root).and_then(|tree| tree.below(folder));
        made.map_err(|error| Error::of(ErrorKind::File, &error))?;
    }
    Output::of(&path, args.part_size).map_err(|why| Error::new(ErrorKind::Usage, why))
}

/// What a receiver has, by its own word or by a bundle that it has loaded.
async fn inventory_of(path: PathBuf) -> Result<Inventory, Error> {
    super::blocking(move || inventory::read(&path)).await
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
    let lineages = BTreeMap::new();
    let wanted = closure(&ClosureInput {
        selected: &selected,
        graph: &world.tree.graph,
        lineages: &lineages,
        compose,
        rules: session.config.alias_rules(),
        observed: &world.observed,
        platform: &facts::platform(&session.config, &world.observed),
    });
    let started = wanted.images.iter().filter(|wanted| wanted.role == Role::Compose);
    let references = started.map(|wanted| wanted.reference.clone()).collect();
    let phases: &[Phase] = if args.no_build {
        &[Phase::Keep, Phase::Verify]
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
        ]
    };
    let tag_of = args.tagged.word_of("bundle create");
    Ok(Request { only, skip, tag_of, references, dry_run: args.dry_run, ..Request::of(phases) })
}

fn closure_of(session: &Session, world: &World, planned: &Planned, compose: &[ComposeProject]) -> Closure {
    let lineages = world.tree.lineages(&world.observed, &planned.assessments);
    closure(&ClosureInput {
        selected: &planned.selected,
        graph: &world.tree.graph,
        lineages: &lineages,
        compose,
        rules: session.config.alias_rules(),
        observed: &world.observed,
        platform: &facts::platform(&session.config, &world.observed),
    })
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

/// What is written, and where to.
struct Goods {
    closure: Closure,
    /// What is to be proven; none is nothing.
    selected: Option<BTreeSet<ImageName>>,
    files: Vec<String>,
    has: Option<Inventory>,
    output: Output,
}

/// Layers and configs of the store, and files that lie elsewhere.
struct Blobs {
    store: Store,
    files: BTreeMap<Digest, PathBuf>,
}

impl BlobSource for Blobs {
    fn open_blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.files.get(digest) {
            Some(path) => Ok(Box::new(File::open(path)?)),
            None => self.store.open_blob(digest),
        }
    }

    fn proven_file(&self, digest: &Digest) -> Option<ProvenFile> {
        self.store.proven_file(digest)
    }
}

async fn save(
    activity: &mut Work,
    session: &Session,
    world: &World,
    engine: &AnyEngine,
    goods: &Goods,
) -> Result<Written, Error> {
    let root = &session.config.root;
    let store = Folder::open(root)
        .and_then(|tree| Store::open(&tree, BLOBS))
        .map_err(|error| Error::of(ErrorKind::File, &error).context("cannot keep blobs"))?;
    activity.begin_phase(Phase::Save, if goods.selected.is_some() { 3 } else { 2 });
    let count = goods.closure.images.len();
    let step =
        activity.begin(Phase::Save, "images", "out of the engine, what is not in the store of blobs yet");
    let named = |wanted: &Wanted| {
        world.observed.name_here(&wanted.reference).unwrap_or_else(|| wanted.reference.clone())
    };
    let references: Vec<_> = goods.closure.images.iter().map(named).collect();
    let images = fetch(engine, &store, &references, &activity.teller(&step)).await?;
    activity.end(step, Outcome::Done, format!("{count} images"));

    let mut files = BTreeMap::new();
    let mut manifest = manifest_of(session, world, &goods.closure, &images);
    for path in &goods.files {
        let (blob, full) = describe_file(&root.join(path))?;
        files.insert(blob.digest.clone(), full);
        manifest.files.push(FileRecord { path: path.clone(), blob });
    }
    for (spec, needed_by) in &goods.closure.artifacts {
        let (spec, settings) = (spec.clone(), session.config.artifact.clone());
        let file = spec.file.clone();
        let cache = artifact::Cache::at(root, &settings.cache);
        let found = tokio::task::spawn_blocking(move || artifact::find(&spec, &cache, &settings.old_cache));
        let found = found.await.map_err(|panic| Error::of(ErrorKind::Unexpected, &panic))??;
        let Some(found) = found else {
            let what = format!("the artifact {file} is not in the cache, and a bundle needs it");
            return Err(needed_by
                .iter()
                .fold(Error::new(ErrorKind::NotHere, what), |e, by| e.because(by.clone())));
        };
        let blob = Descriptor { media_type: ARTIFACT.to_owned(), digest: found.digest, size: found.size };
        files.insert(blob.digest.clone(), found.path);
        let version = goods.closure.artifacts.iter().find(|(known, _)| known.file == file);
        let version = version.map(|(known, _)| known.version.clone()).unwrap_or_default();
        manifest.artifacts.push(ArtifactRecord { file, version, needed_by: needed_by.clone(), blob });
    }
    if let Some(selected) = &goods.selected {
        let step = activity.begin(Phase::Save, "proof", "rebuilt in an empty engine without a network");
        let announce = activity.announcer();
        let proof = prove_store(session, world, &manifest, &images, &store, selected, &announce).await?;
        activity.end(step, Outcome::Done, format!("{} images rebuilt", proof.images.len()));
        manifest.proof = Some(proof);
    }
    if let Some(has) = &goods.has {
        leave_out(&mut manifest, &images, has);
    }
    let name = file_name(goods.output.path());
    let total =
        archive::total(&manifest, &images).map_err(|error| Error::of(ErrorKind::Unexpected, &error))?;
    let step = activity.begin(Phase::Save, &name, "written whole or not at all");
    let (moved, output) = (activity.meter(&step, total), goods.output.clone());
    let blobs = Blobs { store, files };
    let written =
        tokio::task::spawn_blocking(move || archive::write(&manifest, &images, &blobs, &output, &moved));
    let written = written.await.map_err(|panic| Error::of(ErrorKind::Unexpected, &panic))??;
    activity.end(step, Outcome::Done, size(written.size));
    activity
        .end_phase(Phase::Save, format!("{count} images, {} blobs, {}", written.blobs, size(written.size)));
    Ok(written)
}

fn manifest_of(
    session: &Session,
    world: &World,
    closure: &Closure,
    images: &[StoredImage],
) -> BundleManifest {
    let mut manifest = BundleManifest::new(session.config.tag.clone());
    manifest.members = closure
        .images
        .iter()
        .zip(images)
        .map(|(wanted, image)| Member {
            reference: wanted.reference.clone(),
            further_names: wanted.further_names.clone(),
            role: wanted.role,
            needed_by: wanted.needed_by.clone(),
            platform: wanted.platform.clone(),
            image_id: image.image_id.clone(),
            identity: Some(image.identity.clone()),
            manifest: image.manifest.descriptor.clone(),
            index: image.index.as_ref().map(|index| index.blob.descriptor.clone()),
            attached: image.index.as_ref().map(|index| index.attached.clone()).unwrap_or_default(),
        })
        .collect();
    let is_member =
        |reference: &Reference| closure.images.iter().any(|wanted| wanted.reference == *reference);
    let records = world.tree.graph.images().iter().filter(|image| is_member(&image.reference));
    manifest.services = records
        .filter_map(|image| {
            let ImageSource::Build(target) = &image.source else { return None };
            let (name, reference) = (image.name.clone(), image.reference.clone());
            Some(ServiceRecord { name, reference, dockerfile: target.dockerfile.clone() })
        })
        .collect();
    manifest
}

/// Everything goes into an empty engine without a network, and is rebuilt there.
async fn prove_store(
    session: &Session,
    world: &World,
    manifest: &BundleManifest,
    images: &[StoredImage],
    store: &Store,
    selected: &BTreeSet<ImageName>,
    announce: Announce<'_>,
) -> Result<Proof, Error> {
    let parcels: Vec<Parcel> = manifest
        .members
        .iter()
        .zip(images)
        .map(|(member, image)| Parcel { image: image.clone(), names: member.names().cloned().collect() })
        .collect();
    let layers = images.iter().flat_map(|image| &image.layers);
    let sizes: BTreeMap<Digest, u64> =
        layers.filter_map(|layer| Some((layer.diff_id.clone(), store.layer(&layer.diff_id)?.raw))).collect();
    let (disposable, closed) = prove::closed_engine(session, announce).await?;
    deliver(&closed, store, &parcels, Present::default(), &sizes, &CancellationToken::new(), &|_| {})
        .await
        .map_err(|error| Error::of(ErrorKind::EngineUnfit, &error))?;
    let proof = prove::prove(session, world, disposable.endpoint(), selected).await;
    disposable.stop(&|_| {}).await?;
    let proof = proof?;
    prove::judge(&proof)?;
    Ok(proof)
}

/// A small file of the tree.
fn describe_file(path: &Path) -> Result<(Descriptor, PathBuf), Error> {
    let bytes = std::fs::read(path).map_err(|error| {
        Error::of(ErrorKind::File, &error).context(format!("cannot read {}", path.display()))
    })?;
    Ok((describe(TEXT, &bytes), path.to_owned()))
}
