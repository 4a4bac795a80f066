//! What compose files run, stopped and started as steps of a plan: which services of which project.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rebuild::compose_projects;
use super::session::Session;
use super::world::World;
use crate::cli::error::{Error, ErrorKind};
use crate::engine::AnyEngine;
use crate::model::{ComposeCall, ImageName, Phase, Plan, Reason, Step, StepKind};
use crate::plan::{Planned, Request};
use crate::read::compose::{ComposeProject, ComposeService};

/// What becomes of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serve {
    /// They are stopped, and their containers removed.
    Stop,
    /// They are started from the images that are here, and waited for until they are well, for so long at most.
    Start(Duration),
}

impl Serve {
    /// The phase of it.
    pub fn phase(self) -> Phase {
        match self {
            Self::Stop => Phase::Stop,
            Self::Start(_) => Phase::Start,
        }
    }
}

/// Which services are meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom<'a> {
    /// All that there are.
    All,
    /// Those that run these images.
    Running(&'a BTreeSet<ImageName>),
}

/// What does this to each project, one project after the other. Projects that run nothing of what is meant are left out.
///
/// # Errors
/// There is no compose file, or one that cannot be read, or none that runs what is meant.
pub(super) fn serve(
    session: &Session,
    world: &World,
    engine: &AnyEngine,
    whom: Whom<'_>,
    what: &[Serve],
) -> Result<Plan, Error> {
    let projects = compose_projects(session)?;
    if projects.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "there is no compose file to stop or start")
            .hint("`compose` in .config/xtask.toml says where it is"));
    }
    let mut plan = Plan::default();
    for project in &projects {
        let services = services_of(world, project, whom);
        if services.is_empty() && matches!(whom, Whom::Running(_)) {
            continue;
        }
        let (files, tag) = (project.named.clone(), session.config.tag.clone());
        let call = ComposeCall { files, services, tag, variables: engine.variables() };
        for serve in what {
            let kind = match serve {
                Serve::Stop => StepKind::ComposeDown(call.clone()),
                Serve::Start(wait) => StepKind::ComposeUp { call: call.clone(), wait: *wait },
            };
            let before: Option<&Step> = plan.steps.iter().rev().find(|step| step.phase == serve.phase());
            let needs = before.map(|step| step.id.clone()).into_iter().collect();
            plan.steps.push(Step { needs, ..Step::new(serve.phase(), project.name(), kind, Reason::Asked) });
        }
    }
    match (plan.steps.is_empty(), whom) {
        (true, Whom::Running(images)) => Err(nobody_runs(&projects, images)),
        _ => Ok(plan),
    }
}

/// Adds what is to become of the services that run what a request is about, by name: not of what that builds on.
///
/// # Errors
/// As [`serve`]; there is no engine.
pub(super) fn add(
    session: &Session,
    world: &World,
    request: &mut Request,
    planned: &mut Planned,
    what: &[Serve],
) -> Result<(), Error> {
    let engine = world.engine.clone()?;
    let served = if request.is_of_all() {
        serve(session, world, &engine, Whom::All, what)?
    } else {
        let named = world.select(&Request { no_needs: true, ..request.clone() })?;
        serve(session, world, &engine, Whom::Running(&named), what)?
    };
    planned.plan.extend(served.clone());
    request.prepared = served;
    Ok(())
}

fn nobody_runs(projects: &[ComposeProject], images: &BTreeSet<ImageName>) -> Error {
    let names: Vec<&str> = images.iter().map(ImageName::as_str).collect();
    let files: Vec<&str> = projects.iter().map(ComposeProject::name).collect();
    let what = format!("no service of {} runs {}", files.join(" or "), names.join(", "));
    let services = projects.iter().flat_map(|project| &project.services);
    let run =
        services.filter_map(|one| Some(format!("{} runs {}", one.name, one.image.as_ref()?.familiar())));
    run.fold(Error::new(ErrorKind::UnknownName, what), Error::because)
}

/// The services of a project that are meant; an empty list is all of them, or that none is.
fn services_of(world: &World, project: &ComposeProject, whom: Whom<'_>) -> Vec<String> {
    let Whom::Running(names) = whom else { return Vec::new() };
    let images = world.tree.graph.images().iter().filter(|image| names.contains(&image.name));
    let repositories: BTreeSet<String> = images
        .flat_map(|image| image.all_names().map(|name| name.repository()).collect::<Vec<_>>())
        .collect();
    let runs = |service: &&ComposeService| {
        service.image.as_ref().is_some_and(|image| repositories.contains(&image.repository()))
    };
    project.services.iter().filter(runs).map(|service| service.name.clone()).collect()
}
