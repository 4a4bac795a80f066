//! The commands that do things: look, plan, do the phases, tell how it went. `build-all` is all of it; the others are
//! parts of it. No `if` about Docker here: planners decide, the executor does.

use std::collections::BTreeSet;

use super::run::{self, Ended, Run};
use super::session::{Changes, Session};
pub(super) use super::shown::{document, foreseeing, hidden, plan_text, steps_text};
use super::world::{Glance, World};
use super::{checked, locked, moved, secret_args, sinks, variants};
use crate::cli::error::{Error, ExitCode};
use crate::execute;
use crate::execute::scheduler::is_success;
use crate::model::{Digest, ImageName, ImageState, NetworkVerdict, Observed, Phase, Plan, StepKind};
use crate::plan::{self, Facts, Planned, Renewal, Request, alias};
use crate::read::tree;

/// Looks, and plans without doing anything. What is seen at a glance is enough where nothing is to be done.
pub(super) async fn look(session: &Session, request: &Request) -> Result<(World, Planned), Error> {
    let seen = look_as_far_as_needed(session, request).await?;
    checked::add(session, request, seen).await
}

async fn look_as_far_as_needed(session: &Session, request: &Request) -> Result<(World, Planned), Error> {
    let glance = if may_be_settled(session, request) { session.glance().await? } else { None };
    let Some((world, seen)) = glance else { return look_at_all(session, request).await };
    if seen == Glance::AllNamed
        && let Some(planned) = settled(session, &world, request)
    {
        warn_of_skips(session, &world, request);
        return Ok((world, planned));
    }
    let world = if seen == Glance::All { world } else { session.look_further(world).await? };
    let planned = plan(session, &world, request).await?;
    Ok((world, planned))
}

/// The same, by a list of all that the store has.
pub(super) async fn look_at_all(session: &Session, request: &Request) -> Result<(World, Planned), Error> {
    let world = session.look().await?;
    let planned = plan(session, &world, request).await?;
    Ok((world, planned))
}

/// Whether there may be nothing to do.
fn may_be_settled(session: &Session, request: &Request) -> bool {
    let always_looks_further =
        [Phase::Keep, Phase::Cache, Phase::Push].iter().any(|phase| request.has(*phase));
    request.has(Phase::Verify)
        && request.renew == Renewal::No
        && !always_looks_further
        && !session.config.force
}

/// The plan for a part of the store, if all is as it should be. Of anything else a part tells nothing: what is not in it
/// may be in the store all the same.
fn settled(session: &Session, world: &World, request: &Request) -> Option<Planned> {
    let selected = selected(session, world, request).ok()?;
    let planned = offhand(session, world, request, &selected)?;
    let mut chosen = planned.assessments.iter().filter(|found| selected.contains(&found.name));
    (is_satisfied(&planned.plan) && chosen.all(|found| found.state == ImageState::UpToDate))
        .then_some(planned)
}

/// Plans without doing anything.
pub(super) async fn plan(session: &Session, world: &World, request: &Request) -> Result<Planned, Error> {
    let selected = selected(session, world, request)?;
    warn_of_skips(session, world, request);
    if let Some(planned) = offhand(session, world, request, &selected) {
        return Ok(planned);
    }
    let make = |request: &Request, network: &NetworkVerdict| {
        make_plan(session, world, &world.observed, request, &selected, Some(network))
    };
    let verdict = session.network(world, &session.registry()).await;
    if request.renew == Renewal::IfMoved {
        let tags = moved::ask(session, world, request, &selected, verdict.network).await;
        let request = Request { tags, ..request.clone() };
        return Ok(make(&request, &verdict));
    }
    Ok(make(request, &verdict))
}

/// The images that a request is about.
///
/// # Errors
/// What cannot be planned at all.
fn selected(session: &Session, world: &World, request: &Request) -> Result<BTreeSet<ImageName>, Error> {
    world.refuse_name_as_tag(request)?;
    locked::require(session, world, request)?;
    if request.renew == Renewal::IfMoved {
        moved::refuse(session)?;
    }
    if request.references_only {
        Ok(BTreeSet::new())
    } else if !request.needs_engine() {
        // Files are everybody's: a tree without images has them too.
        Ok(world.tree.all())
    } else {
        world.select(request)
    }
}

fn warn_of_skips(session: &Session, world: &World, request: &Request) {
    if request.references_only || !request.needs_engine() {
        return;
    }
    for os in world.unknown_skips(request) {
        let source = request.skip_source.as_deref().unwrap_or_default();
        session.warn(&format!("{source} leaves out `{os}`, and there is no such system"));
    }
}

/// The plan, if nobody has to be probed for it: where it asks nobody, and where all is as it should be.
fn offhand(
    session: &Session,
    world: &World,
    request: &Request,
    selected: &BTreeSet<ImageName>,
) -> Option<Planned> {
    let make = |network| make_plan(session, world, &world.observed, request, selected, network);
    // A name without a registry is one of docker.io, which depends on the network too.
    let names_public =
        request.has(Phase::Push) && session.config.registry.is_none() && !session.config.offline;
    if !(request.asks_network() || names_public) {
        return Some(make(None));
    }
    if !request.has(Phase::Build) || request.renew != Renewal::No {
        return None;
    }
    let planned = make(Some(&session.last_network(world)?));
    let is_given = session.config.network.is_some() || session.config.offline;
    (is_given || is_satisfied(&planned.plan)).then_some(planned)
}

/// Plans for a store as it is now.
pub(super) fn make_plan(
    session: &Session,
    world: &World,
    observed: &Observed,
    request: &Request,
    selected: &BTreeSet<ImageName>,
    network: Option<&NetworkVerdict>,
) -> Planned {
    let recall = |digest: &Digest| tree::recall(&session.config.root, digest);
    plan::plan(request, selected, &Facts { network, recall: &recall, ..world.facts(session, observed) })
}

/// Whether a plan does nothing, and nothing is missing that it cannot do.
pub(super) fn is_satisfied(plan: &Plan) -> bool {
    !execute::changes_anything(plan) && plan.skipped.iter().all(|skipped| is_success(skipped.why.outcome()))
}

/// Looks, plans and does.
pub(super) async fn run(session: &Session, request: &Request) -> Result<ExitCode, Error> {
    run_with(session, request.clone(), |_, _, _| Ok(())).await
}

/// The same; `add` may add to what is planned, once it is known what there is.
pub(super) async fn run_with(
    session: &Session,
    request: Request,
    add: impl FnOnce(&World, &mut Request, &mut Planned) -> Result<(), Error>,
) -> Result<ExitCode, Error> {
    look_and_do(session, request, add).await.map_err(|error| match sinks::report_early(session, &error) {
        Ok(()) => error,
        Err(unwritten) => error.because(unwritten.to_string()),
    })
}

async fn look_and_do(
    session: &Session,
    mut request: Request,
    add: impl FnOnce(&World, &mut Request, &mut Planned) -> Result<(), Error>,
) -> Result<ExitCode, Error> {
    let changes = Changes::unless(request.dry_run || request.check);
    let (_lock, (world, mut planned)) = session.prepare(changes, look(session, &request)).await?;
    add(&world, &mut request, &mut planned)?;
    let request = &request;
    if request.dry_run {
        session.tell_warnings();
        super::print(&plan_text(session, &world, &planned, request));
        return run::foreseen(session, &world, request, &planned);
    }
    if request.check {
        has_engine(session, &world, request)?;
        session.tell_warnings();
        super::print(&plan_text(session, &world, &planned, request));
        return Ok(check(&world, &planned, request));
    }
    let ended = perform(session, request, &world, planned).await?;
    ended.report.answers.iter().for_each(|well| super::say(&format!("up: {well}")));
    ended.code
}

fn has_engine(session: &Session, world: &World, request: &Request) -> Result<(), Error> {
    match &world.engine {
        Err(error) if request.needs_engine() && (request.check || !session.bootstrap) => {
            Err(session.without_engine(error))
        }
        _ => Ok(()),
    }
}

/// Does what was planned.
///
/// # Errors
/// What keeps it from being begun.
pub(super) async fn perform(
    session: &Session,
    request: &Request,
    world: &World,
    planned: Planned,
) -> Result<Ended, Error> {
    has_engine(session, world, request)?;
    refuse(session, world, &planned, request)?;
    if request.has(Phase::Build)
        && let Ok(engine) = &world.engine
    {
        engine.fit_to_build()?;
        variants::refuse(session, world, &planned).await?;
    }
    Ok(Run::start(session, request, world, &planned).go(world, planned).await)
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
    if let Some(kind) = world.tree.trouble(request, &planned.selected, &world.render) {
        return kind.code();
    }
    let drifts = planned.plan.steps.iter().any(|step| !matches!(step.kind, StepKind::Verify(_)))
        || alias::has_gap(&planned.plan);
    if drifts { ExitCode::Drift } else { ExitCode::Good }
}
