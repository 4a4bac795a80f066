//! `base-images clean`: base images of ours, and what broken-off or kept trials left. Lists first with `--dry-run`.

use std::collections::BTreeSet;

use super::args::BaseImagesClean;
use super::base_images::{open, request};
use super::pipeline::{self, Request};
use super::run::Run;
use super::session::{Session, Typed, World};
use crate::base_images::clean::{self, CleanInput};
use crate::base_images::local_registry;
use crate::base_images::trial::{self, Leftovers, REGISTRIES};
use crate::config::Layer;
use crate::engine::{AnyEngine, Engine as _, EngineError};
use crate::error::{Error, ErrorKind, ExitCode};
use crate::model::{Digest, Phase, Plan, labels};
use crate::os::ProcessId;

/// `base-images clean`
pub(super) async fn run(typed: &Typed<'_>, args: BaseImagesClean) -> Result<ExitCode, Error> {
    let opened = open(typed, args.systems.over(Layer::default()), &[], &[])?;
    let session = &opened.session;
    let _lock = if args.dry_run { None } else { session.lock().await? };
    let request = Request { dry_run: args.dry_run, ..request(session, &[]) };
    let looked = async {
        let world = session.look().await?;
        let engine = world.engine.as_ref().map_err(|error| Error::from(error.clone()))?.clone();
        let found = find(session, &world, &engine).await?;
        Ok::<_, Error>((world, found))
    };
    let Some(looked) = super::interrupt::or_interrupted(looked).await else {
        return Err(Error::told(ErrorKind::Interrupted));
    };
    let (world, plan) = looked?;
    // Broken or missing systems are no reason to keep what they left.
    let mut planned = pipeline::make_plan(session, &world, &world.observed, &request, BTreeSet::new(), None);
    if args.dry_run {
        planned.plan.extend(plan);
        session.tell_warnings();
        super::print(&pipeline::plan_text(session, &world, &planned, &request));
        return Ok(ExitCode::Good);
    }
    let mut run = Run::start(session, &request, &world, &planned);
    run.expect_further(1);
    let result = run.phases(&world, planned).await;
    if result.is_ok() {
        let cancel = run.cancel().clone();
        run.also(&[Phase::CleanUp], &plan, &cancel).await;
    }
    run.finish(None, result).await
}

/// What can go, and what is kept with the reason.
async fn find(session: &Session, world: &World, engine: &AnyEngine) -> Result<Plan, EngineError> {
    let root = &session.config.root;
    let mut left = Leftovers::default();
    let mut of_registries = BTreeSet::new();
    // Nobody else runs in this tree while we hold its lock.
    let entries = std::fs::read_dir(root.join(REGISTRIES)).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("run-") {
            of_registries.extend(local_registry::recorded(&entry.path()).and_then(|record| record.container));
            left.registries.push(format!("{REGISTRIES}/{name}"));
        }
    }
    left.registries.sort();
    let mut used: BTreeSet<Digest> = BTreeSet::new();
    for id in engine.containers("").await? {
        let Some(state) = engine.container(&id).await? else { continue };
        if of_registries.contains(id.as_str()) {
            continue;
        }
        match state.labels.get(labels::OWNER) {
            Some(owner) if is_over(owner) => left.containers.push((id, state.name)),
            _ => used.extend(state.image),
        }
    }
    let settings = &session.config.base_image;
    let input = CleanInput {
        observed: &world.observed,
        name: &settings.name,
        only: &settings.only,
        skip: &settings.skip,
        versions: &settings.versions,
        used: &used,
    };
    let (names, kept) = clean::names(&input);
    left.names = names;
    let mut plan = trial::clean_up(&left);
    plan.extend(kept);
    Ok(plan)
}

/// Whether the process that made a container is no more; one that nobody in particular owns is for its own command.
fn is_over(owner: &str) -> bool {
    let Some((pid, started)) = owner.split_once('@') else { return false };
    let Ok(pid) = pid.parse() else { return false };
    !ProcessId { pid, started: started.to_owned() }.is_alive()
}
