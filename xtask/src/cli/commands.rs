//! The commands that do things, as requests to the pipeline.

use super::args::{self, Building, Naming, Pulling, Reporting};
use super::pipeline;
use super::serve::Serve;
use super::session::{Session, Typed};
use super::up;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::model::FailFast;
use crate::model::{Phase, Reference};
use crate::plan::{Request, Subject, Tests};
use crate::settings::{Layer, Stages, Tag};

fn tagged(tag: Option<Tag>) -> Layer {
    Layer { tag, ..Layer::default() }
}

fn fail_fast(building: &Building) -> FailFast {
    if building.fail_fast { FailFast::Yes } else { FailFast::No }
}

/// With what the settings and options of a build add.
pub(super) fn further(session: &Session, mut phases: Vec<Phase>, building: &Building) -> Vec<Phase> {
    phases.extend(building.push.then_some(Phase::Push));
    session.with_cache(&mut phases);
    session.with_builder(&mut phases);
    phases
}

/// The settings that the options of a build set.
fn build_layer(tag: Layer, building: &Building, pulling: &Pulling, naming: &Naming) -> Layer {
    naming.over(pulling.over(building.over(tag)))
}

/// A session of a command that builds, once it is sure that what it builds with can do what is asked.
async fn opened(
    typed: &Typed<'_>,
    layer: Layer,
    naming: &Naming,
    reporting: Reporting,
    building: &Building,
) -> Result<Session, Error> {
    let session = Session::open_reporting(typed, layer, &naming.build_arg, reporting)?
        .built_elsewhere(building.push, building.output.as_ref())?
        .reproducibly()
        .await?;
    session.refuse_attestations().await?;
    session.refuse_caches().await?;
    Ok(session)
}

/// `build-all`
pub(super) async fn build_all(typed: &Typed<'_>, args: args::BuildAll) -> Result<ExitCode, Error> {
    let layer = build_layer(args.tagged.layer(), &args.building, &args.pulling, &args.naming);
    let session = opened(typed, layer, &args.naming, args.reporting, &args.building).await?;
    let phases = further(&session, [&[Phase::Download], &Phase::BUILD_ALL[..]].concat(), &args.building);
    let request = Request {
        only: args.selection.only,
        skip: args.selection.skip,
        tag_of: args.tagged.word_of("build-all"),
        dry_run: args.dry_run,
        fix: args.fix,
        fail_fast: fail_fast(&args.building),
        lint: args.building.lint(),
        renew: args.pulling.renewal(),
        ..Request::of(&phases)
    };
    if args.starting.up {
        return up::serving(&session, request, Serve::Start(args.starting.waiting.time())).await;
    }
    pipeline::run(&session, &request).await
}

/// `build`: the selected images, and whatever they need first.
pub(super) async fn build(typed: &Typed<'_>, args: args::Build) -> Result<ExitCode, Error> {
    let (session, request) = building(typed, &args).await?;
    pipeline::run(&session, &request).await
}

/// What a build is asked for, and with which settings.
pub(super) async fn building(typed: &Typed<'_>, args: &args::Build) -> Result<(Session, Request), Error> {
    let layer = build_layer(tagged(args.tag.clone()), &args.building, &args.pulling, &args.naming);
    let mut session = opened(typed, layer, &args.naming, args.reporting.clone(), &args.building).await?;
    session.config.stages = args.target.clone().map_or(Stages::No, Stages::Named);
    let phases = further(
        &session,
        vec![Phase::Download, Phase::Prefetch, Phase::Alias, Phase::Render, Phase::Build],
        &args.building,
    );
    let request = Request {
        subject: if args.target.is_some() { Subject::Stages } else { Subject::Services },
        only: [&args.services[..], &args.selection.only].concat(),
        skip: args.selection.skip.clone(),
        dry_run: args.dry_run,
        fail_fast: fail_fast(&args.building),
        lint: args.building.lint(),
        renew: args.pulling.renewal(),
        ..Request::of(&phases)
    };
    Ok((session, request))
}

/// `test`: what services are tested by, and whatever that needs first.
pub(super) async fn test(typed: &Typed<'_>, args: args::Test) -> Result<ExitCode, Error> {
    let building = Building { jobs: args.jobs, fail_fast: args.fail_fast, ..Building::default() };
    let layer = build_layer(tagged(args.tag.clone()), &building, &args.pulling, &args.naming);
    let mut session = Session::open_reporting(typed, layer, &args.naming.build_arg, args.reporting)?;
    session.config.stages = Stages::Tests;
    let phases = [Phase::Download, Phase::Prefetch, Phase::Alias, Phase::Render, Phase::Build, Phase::Test];
    let request = Request {
        subject: Subject::Tests,
        only: [args.services, args.selection.only].concat(),
        skip: args.selection.skip,
        dry_run: args.dry_run,
        fail_fast: self::fail_fast(&building),
        renew: args.pulling.renewal(),
        tests: if args.force { Tests::Anew } else { Tests::IfChanged },
        ..Request::of(&phases)
    };
    pipeline::run(&session, &request).await
}

/// `prefetch`: a name is a service of the tree if there is one, else a reference.
pub(super) async fn prefetch(typed: &Typed<'_>, args: args::Prefetch) -> Result<ExitCode, Error> {
    let pulling = Pulling {
        strict_prefetch: args.strict_prefetch,
        retries: args.retries,
        locked: args.locked,
        no_prefetch: false,
        pull: args.pull,
    };
    let layer = args.naming.over(pulling.over(Layer::default()));
    let session = Session::open_reporting(typed, layer, &args.naming.build_arg, args.reporting)?;
    let (services, references) = session.split_names(&args.what).await?;
    let request = Request {
        references_only: services.is_empty() && !references.is_empty(),
        only: services,
        references,
        dry_run: args.dry_run,
        fix: args.fix,
        pulls_count: true,
        renew: pulling.renewal(),
        ..Request::of(&[Phase::Prefetch])
    };
    pipeline::run(&session, &request).await
}

/// `alias`
pub(super) async fn alias(typed: &Typed<'_>, args: args::Alias) -> Result<ExitCode, Error> {
    let session = Session::open(typed, args.naming.over(Layer::default()), &args.naming.build_arg)?;
    let references: Vec<Reference> = args
        .refs
        .iter()
        .map(|text| text.parse::<Reference>().map_err(|error| Error::of(ErrorKind::Usage, &error)))
        .collect::<Result<_, _>>()?;
    let request = Request {
        references_only: !references.is_empty(),
        references,
        check: args.check,
        fix: args.fix,
        dry_run: args.dry_run,
        pulls_count: true,
        internal_pulls_only: true,
        ..Request::of(&[Phase::Prefetch, Phase::Alias])
    };
    pipeline::run(&session, &request).await
}

/// `sync-config`
pub(super) async fn sync_config(typed: &Typed<'_>, args: args::Files) -> Result<ExitCode, Error> {
    let session = Session::open(typed, Layer::default(), &[])?;
    files(session, &args, Phase::SyncConfig).await
}

/// `render`
pub(super) async fn render(typed: &Typed<'_>, args: args::Render) -> Result<ExitCode, Error> {
    let mut session = Session::open(typed, Layer::default(), &[])?;
    session.config.overwrite = args.force;
    files(session, &args.files, Phase::Render).await
}

async fn files(session: Session, args: &args::Files, phase: Phase) -> Result<ExitCode, Error> {
    let request = Request { check: args.check, dry_run: args.dry_run, ..Request::of(&[phase]) };
    pipeline::run(&session, &request).await
}

/// `verify`
pub(super) async fn verify(typed: &Typed<'_>, args: args::Verify) -> Result<ExitCode, Error> {
    let layer = args.naming.over(args.elsewhere.over(args.tagged.layer()));
    let session = Session::open_reporting(typed, layer, &args.naming.build_arg, args.reporting)?
        .looked_at_elsewhere()?;
    let request = Request {
        only: args.selection.only,
        skip: args.selection.skip,
        tag_of: args.tagged.word_of("verify"),
        ..Request::of(&[Phase::Verify])
    };
    pipeline::run(&session, &request).await
}

/// `push`
pub(super) async fn push(typed: &Typed<'_>, args: args::Push) -> Result<ExitCode, Error> {
    let layer = args.naming.over(tagged(args.tag));
    let session = Session::open_reporting(typed, layer, &args.naming.build_arg, args.reporting)?;
    let request =
        Request { only: args.services, dry_run: args.dry_run, no_needs: true, ..Request::of(&[Phase::Push]) };
    pipeline::run(&session, &request).await
}

/// `push-all`
pub(super) async fn push_all(typed: &Typed<'_>, args: args::PushAll) -> Result<ExitCode, Error> {
    let layer = args.naming.over(args.tagged.layer());
    let session = Session::open_reporting(typed, layer, &args.naming.build_arg, args.reporting)?;
    let request = Request {
        only: args.selection.only,
        skip: args.selection.skip,
        tag_of: args.tagged.word_of("push-all"),
        dry_run: args.dry_run,
        no_needs: true,
        ..Request::of(&[Phase::Push])
    };
    pipeline::run(&session, &request).await
}
