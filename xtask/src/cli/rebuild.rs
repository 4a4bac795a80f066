//! `rebuild`: what has changed is built again with no network at all, from what is here. Says first what cannot be.

use std::time::Duration;

use super::args::{self, Format};
use super::bundle::closure_of;
use super::pipeline;
use super::run::Run;
use super::serve::{self, Serve, Whom};
use super::session::{Changes, Session, Typed};
use super::world::World;
use crate::bundle::plan;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::AnyEngine;
use crate::engine::compose::{self, ComposeError};
use crate::model::bundle::WantedImage;
use crate::model::{Phase, Plan};
use crate::plan::rebuild::preview::{RebuildAction, RebuildPreview, preview};
use crate::plan::{Planned, Request};
use crate::read::compose::{self as files, ComposeProject};
use crate::settings::{Config, ConfigError, Layer};

/// The phases: nothing is pulled, and stages are kept again, for the next change.
const PHASES: [Phase; 5] = [Phase::Alias, Phase::Render, Phase::Build, Phase::Keep, Phase::Verify];

/// `rebuild`
pub(super) async fn run(typed: &Typed<'_>, args: args::Rebuild) -> Result<ExitCode, Error> {
    let own = Layer {
        tag: args.tag.clone(),
        offline: Some(true),
        jobs: args.jobs,
        locked: args.locked.then_some(true),
        ..Layer::default()
    };
    let session = Session::open_reporting(
        typed,
        args.naming.over(own),
        &args.naming.build_arg,
        args.reporting.clone(),
    )?;
    let phases: Vec<Phase> = [(args.down, Phase::Stop)]
        .into_iter()
        .chain(PHASES.map(|phase| (true, phase)))
        .chain([(args.up, Phase::Start)])
        .filter_map(|(is_wanted, phase)| is_wanted.then_some(phase))
        .collect();
    let mut request = Request { only: args.services.clone(), dry_run: args.dry_run, ..Request::of(&phases) };
    let looking = pipeline::look_at_all(&session, &request);
    let (_lock, (world, mut planned)) = session.prepare(Changes::unless(args.dry_run), looking).await?;
    let engine = world.engine.clone()?;
    engine.fit_to_build()?;
    pipeline::refuse(&session, &world, &planned, &request)?;
    let preview = look_ahead(&world, &planned);
    let refused =
        if args.prove { Ok(()) } else { refuse(&session, &world, &request, &planned, &preview, args.r#try) };
    // The error says the same.
    if refused.is_ok() || args.dry_run || args.format == Format::Json {
        tell(&session, &preview, args.format, args.dry_run);
    }
    if args.prove {
        return prove_here(&session, &request, &world, planned).await;
    }
    refused?;
    if args.down || args.up {
        let served = serve(&session, &world, &planned, &engine, &args)?;
        planned.plan.extend(served.clone());
        request.prepared = served;
    }
    if args.dry_run {
        if args.format == Format::Human {
            super::print(&format!("\n{}", pipeline::steps_text(&session, &planned.plan)));
        }
        return Ok(ExitCode::Good);
    }
    if args.down || args.up {
        compose::installed(&engine.variables()).await.ok_or(ComposeError::Missing)?;
    }
    let ended = Run::start(&session, &request, &world, &planned).go(&world, planned).await;
    ended.report.answers.iter().for_each(|well| super::say(&format!("up: {well}")));
    ended.code
}

/// What stops and starts the services that run what is rebuilt.
fn serve(
    session: &Session,
    world: &World,
    planned: &Planned,
    engine: &AnyEngine,
    args: &args::Rebuild,
) -> Result<Plan, Error> {
    let start = args.up.then(|| Serve::Start(Duration::from_secs(args.wait)));
    let what: Vec<Serve> = args.down.then_some(Serve::Stop).into_iter().chain(start).collect();
    let whom = if args.services.is_empty() { Whom::All } else { Whom::Running(&planned.selected) };
    serve::serve(session, world, engine, whom, &what)
}

/// `--prove`: from the images that are here.
async fn prove_here(
    session: &Session,
    request: &Request,
    world: &World,
    planned: Planned,
) -> Result<ExitCode, Error> {
    let all = closure_of(session, world, &planned, &[]);
    let names = all.images.iter().flat_map(WantedImage::names);
    let here = names.filter_map(|name| world.observed.name_here(name)).collect();
    let planned = Planned { plan: plan::prove(planned.selected.clone(), here), ..planned };
    let ended = Run::start(session, request, world, &planned).go(world, planned).await;
    ended.report.answers.iter().for_each(|answer| super::print(answer));
    ended.code
}

/// What the rebuild comes to.
fn look_ahead(world: &World, planned: &Planned) -> RebuildPreview {
    let lineages = world.tree.lineages(&world.observed, &planned.assessments);
    preview(&planned.selected, &world.tree.graph, &planned.plan, &lineages, &world.observed)
}

/// The answer of a dry run is data; before a real one it is said to people.
fn tell(session: &Session, preview: &RebuildPreview, format: Format, is_dry: bool) {
    let mut shown = preview.clone();
    for image in &mut shown.images {
        session.secrets.redact_in(&mut image.reason);
        let runs = image.blockers.iter_mut().chain(&mut image.reruns);
        runs.for_each(|run| session.secrets.redact_in(&mut run.instruction));
    }
    let text = match format {
        Format::Human => shown.text(),
        // Strings, numbers and lists: serialising them cannot fail.
        Format::Json => serde_json::to_string_pretty(&shown).unwrap_or_default(),
    };
    if is_dry || format == Format::Json {
        super::print(&text);
    } else if preview.images.iter().any(|image| image.action != RebuildAction::Keep) {
        super::say(text.trim_end());
    }
}

/// Nothing is started when it is sure that it cannot end well.
fn refuse(
    session: &Session,
    world: &World,
    request: &Request,
    planned: &Planned,
    preview: &RebuildPreview,
    is_tried: bool,
) -> Result<(), Error> {
    if let Some(kind) = world.tree.trouble(request, &planned.selected, &world.render) {
        let found = world.tree.diagnostics(&planned.selected);
        return Err(if found.is_empty() { Error::told(kind) } else { Error::of_diagnostics(&found) });
    }
    let refused: Vec<_> = preview.refused().collect();
    let is_hopeless = refused.iter().any(|image| image.blockers.is_empty());
    if refused.is_empty() || (is_tried && !is_hopeless) {
        return Ok(());
    }
    let names: Vec<String> = refused.iter().map(|image| format!("`{}`", image.name)).collect();
    let what = format!("cannot rebuild {} without a network; nothing was started", names.join(", "));
    let mut error = Error::new(ErrorKind::NotHere, what);
    for image in &refused {
        if image.blockers.is_empty() {
            error = error.because(format!("{}: {}", image.name, image.reason));
        }
        for blocker in &image.blockers {
            error = error.because(session.secrets.redact(&blocker.to_string()).into_owned());
        }
    }
    error = error.hint(
        "where there is a network, and an engine of this one's generation: `cargo xtask bundle create`; here `cargo xtask bundle load` of what it writes",
    );
    if !is_hopeless {
        error = error
            .hint("or install from files of the tree (wheels, a vendored folder), which needs no network")
            .hint("`--try` builds all the same");
    }
    Err(error)
}

/// What compose files start: those of the settings, each for itself, else those that compose finds at the root.
pub(super) fn compose_projects(session: &Session) -> Result<Vec<ComposeProject>, ConfigError> {
    let root = &session.config.root;
    let read = |paths: Vec<String>| {
        let variable = |name: &str| compose_variable(session, name);
        let project = files::read(root, &paths, &variable).map_err(ConfigError::Invalid)?;
        for warning in &project.warnings {
            super::say(&session.secrets.redact(&warning.to_string()));
        }
        let named = if session.config.compose.is_empty() { Vec::new() } else { paths };
        Ok(ComposeProject { named, ..project })
    };
    compose_paths(session).into_iter().map(read).collect()
}

/// The files of each project, relative to the root, without what they include.
pub(super) fn compose_paths(session: &Session) -> Vec<Vec<String>> {
    let Config { compose, root, .. } = &session.config;
    if !compose.is_empty() {
        return compose.iter().map(|path| vec![path.clone()]).collect();
    }
    let found = files::found(root, &|name| compose_variable(session, name));
    if found.is_empty() { Vec::new() } else { vec![found] }
}

/// What a variable of a compose file is: what beats `.env` there beats it here.
fn compose_variable(session: &Session, name: &str) -> Option<String> {
    let Config { tag, dotenv, .. } = &session.config;
    if name == "IMAGE_TAG" {
        return Some(tag.clone());
    }
    let of_file = || dotenv.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    session.env.get(name).map(str::to_owned).or_else(of_file)
}
