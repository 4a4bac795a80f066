//! `base-images clean`: base images of ours, and what broken-off or kept trials left. Lists first with `--dry-run`.

use std::collections::BTreeSet;

use super::super::args::BaseImagesClean;
use super::super::base_images::{open, request};
use super::super::pipeline;
use super::super::run::Run;
use super::super::session::{Changes, Session, Typed};
use super::super::world::World;
use super::leftovers;
use crate::base_images::clean::{self, CleanInput};
use crate::base_images::trial;
use crate::cli::error::{Error, ExitCode};
use crate::engine::{AnyEngine, EngineError};
use crate::model::{ImageId, Phase, Plan};
use crate::plan::Request;
use crate::read::tree;
use crate::settings::Layer;

/// `base-images clean`
pub(in crate::cli) async fn run(typed: &Typed<'_>, args: BaseImagesClean) -> Result<ExitCode, Error> {
    let opened = open(typed, args.systems.over(Layer::default()), &[])?;
    let session = &opened.session;
    let mut request = Request { dry_run: args.dry_run, ..request(session, &[Phase::CleanUp]) };
    let looking = async {
        let world = session.look().await?;
        let engine = world.engine.as_ref().map_err(|error| Error::from(error.clone()))?.clone();
        let found = find(session, &world, &engine).await?;
        Ok((world, found))
    };
    let (_lock, (world, plan)) = session.prepare(Changes::unless(args.dry_run), looking).await?;
    request.prepared = plan;
    let planned = pipeline::make_plan(session, &world, &world.observed, &request, &BTreeSet::new(), None);
    if args.dry_run {
        session.tell_warnings();
        super::super::print(&pipeline::plan_text(session, &world, &planned, &request));
        return Ok(ExitCode::Good);
    }
    let mut run = Run::start(session, &request, &world, &planned);
    let result = run.phases(&world, planned).await;
    // Broken or missing systems are no reason to keep what they left.
    run.finish(None, result).await.code
}

/// What can go, and what is kept with the reason.
async fn find(session: &Session, world: &World, engine: &AnyEngine) -> Result<Plan, EngineError> {
    let (mut left, used) = leftovers::find(session, engine).await?;
    let used: BTreeSet<ImageId> = used.into_keys().collect();
    let settings = &session.config.base_image;
    let input = CleanInput {
        observed: &world.observed,
        tree: &tree::identity(&session.config.root),
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
