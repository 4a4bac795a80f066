//! `shell`: a shell in an image, in one of its stages, or where its build fails.
//!
//! What is up to date is opened as it is. Anything else is built as far as it goes, from the builder's cache: an
//! instruction that fails is left out with all that follows, and the shell stands just before it.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use super::args;
use super::pipeline;
use super::session::{Session, Typed};
use super::world::World;
use crate::build::{BuildError, Builder as _};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::{AnyEngine, Progress, Store as _};
use crate::host::{CommandError, HostCommand};
use crate::model::{BuildSpec, BuildTarget, Image, ImageSource, ImageState, Phase, Reference, labels};
use crate::plan::Request;
use crate::plan::rebuild::lineage::{Lineage, NAMESPACE};
use crate::read::tree;
use crate::settings::Layer;

/// The best shell that an image has.
const SHELL: [&str; 3] = ["sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh"];
/// From here on a status is what `docker run` says of itself: 126 and 127 are no such program.
const NOT_STARTED: std::ops::RangeInclusive<i32> = 125..=127;

/// `shell`
pub(super) async fn run(typed: &Typed<'_>, args: args::OpenShell) -> Result<ExitCode, Error> {
    let layer = args.naming.over(Layer { tag: args.tag, ..Layer::default() });
    let session = Session::open(typed, layer, &args.naming.build_arg)?;
    let opening = async {
        let world = session.look().await?;
        let engine = world.engine.clone()?;
        let (image, stage) = meant(&world, &args.name)?;
        let opened = open(&session, &world, &engine, image, stage.as_deref()).await?;
        Ok((engine, opened))
    };
    let (engine, opened) = super::interruptible(opening).await?;
    let ended = start(&engine, &opened.reference, &args.command).await;
    if opened.is_temporary {
        engine.remove(&opened.reference).await?;
    }
    match ended {
        Ok(()) => Ok(ExitCode::Good),
        // A shell ends with whatever its last command did.
        Err(CommandError::Failed { code: Some(code), .. })
            if args.command.is_empty() && !NOT_STARTED.contains(&code) =>
        {
            Ok(ExitCode::Good)
        }
        Err(error) => Err(Error::from(error)
            .hint("an image without a shell has none to open: name a stage as IMAGE.STAGE, or a program behind `--`")),
    }
}

/// The image and the stage that a word names: `api`, `api.builder`.
fn meant<'a>(world: &'a World, word: &str) -> Result<(&'a Image, Option<String>), Error> {
    let names = world.names();
    match word.rsplit_once('.') {
        Some((name, stage)) if names.find(word).is_empty() && !names.find(name).is_empty() => {
            Ok((world.the_image(name)?, Some(stage.to_owned())))
        }
        _ => Ok((world.the_image(word)?, None)),
    }
}

/// What a shell is opened in.
struct Opened {
    reference: Reference,
    /// Built for this alone.
    is_temporary: bool,
}

async fn open(
    session: &Session,
    world: &World,
    engine: &AnyEngine,
    image: &Image,
    stage: Option<&str>,
) -> Result<Opened, Error> {
    let request = Request { only: vec![image.name.to_string()], ..Request::of(&[Phase::Verify]) };
    let planned = pipeline::plan(session, world, &request).await?;
    let here = |reference: &Reference| {
        world.observed.find(reference).map(|_| Opened { reference: reference.clone(), is_temporary: false })
    };
    let ImageSource::Build(target) = &image.source else {
        return here(&image.reference).ok_or_else(|| {
            Error::new(ErrorKind::NotHere, format!("{} is not here", image.reference.familiar()))
                .hint(format!("`cargo xtask build {}` gets it", image.name))
        });
    };
    let kept =
        world.tree.lineages(&world.observed, &planned.assessments).remove(&image.name).unwrap_or_default();
    let mut assessments = planned.assessments.iter();
    let is_fresh = assessments.any(|a| a.name == image.name && a.state == ImageState::UpToDate);
    let ready = match stage {
        None => Some(&image.reference),
        Some(stage) => kept.iter().find(|kept| kept.label == stage).map(|kept| &kept.reference),
    };
    if let Some(opened) = ready.filter(|_| is_fresh).and_then(here) {
        return Ok(opened);
    }
    if let Some(stage) = stage {
        has_stage(target, stage)?;
    }
    let spec = spec(session, world, image, target, &kept, stage)?;
    let reference = as_far_as_it_goes(session, engine, spec).await?;
    Ok(Opened { reference, is_temporary: true })
}

fn has_stage(target: &BuildTarget, stage: &str) -> Result<(), Error> {
    let (file, _) = dockerfile::parse(&target.dockerfile, &target.text);
    let labels: Vec<String> = file.stages.iter().enumerate().map(|(at, stage)| stage.label(at)).collect();
    let is_known = labels.iter().any(|label| label == stage);
    if is_known || stage.parse::<usize>().is_ok_and(|at| at < labels.len()) {
        return Ok(());
    }
    let what = format!("{} has no stage `{stage}`", target.dockerfile);
    Err(Error::new(ErrorKind::UnknownName, what).hint(format!("the stages are {}", labels.join(", "))))
}

fn spec(
    session: &Session,
    world: &World,
    image: &Image,
    target: &BuildTarget,
    kept: &[Lineage],
    stage: Option<&str>,
) -> Result<BuildSpec, Error> {
    let name = format!("{NAMESPACE}/shell:{}", std::process::id());
    let tag = name.parse().map_err(|error| Error::of(ErrorKind::Unexpected, &error))?;
    let is_here = |kept: &&Lineage| world.observed.find(&kept.reference).is_some();
    let files = world.tree.contexts.get(&image.name).map(|context| context.files.clone()).unwrap_or_default();
    Ok(BuildSpec {
        tags: vec![tag],
        target: stage.map(str::to_owned).or_else(|| target.target.clone()),
        // By these `clean` knows one that a broken-off run left.
        labels: BTreeMap::from([
            (labels::TREE.to_owned(), tree::identity(&session.config.root)),
            (labels::LINEAGE.to_owned(), String::new()),
        ]),
        cache_from: kept.iter().filter(is_here).map(|kept| kept.reference.clone()).collect(),
        ..BuildSpec::of(image, target, files)
    })
}

/// Builds it, or else what stands before the instruction that fails; says which.
async fn as_far_as_it_goes(
    session: &Session,
    engine: &AnyEngine,
    mut spec: BuildSpec,
) -> Result<Reference, Error> {
    let tell = |progress: Progress| {
        if let Progress::Log { line, .. } = progress {
            super::say(&session.secrets.redact(&line));
        }
    };
    let root = &session.config.root;
    super::say(&format!("building `{}` as far as it goes", spec.image));
    let error = match engine.build(root, &spec, &tell).await {
        Ok(_) => return Ok(spec.tags[0].clone()),
        Err(error) => error,
    };
    let BuildError::Failed { line: Some(line), cause, .. } = &error else { return Err(error.into()) };
    let place = format!("{}:{line}", spec.dockerfile);
    let before = usize::try_from(*line).unwrap_or_default().saturating_sub(1);
    let text: String = spec.text.split_inclusive('\n').take(before).collect();
    if dockerfile::parse(&spec.dockerfile, &text).0.stages.is_empty() {
        return Err(error.into());
    }
    super::say(&session.secrets.redact(&format!("{place} fails: {cause}\nthe shell stands just before it")));
    (spec.text, spec.target) = (text, None);
    engine.build(root, &spec, &tell).await?;
    Ok(spec.tags[0].clone())
}

async fn start(engine: &AnyEngine, image: &Reference, command: &[String]) -> Result<(), CommandError> {
    let shell = SHELL.map(str::to_owned);
    let words = if command.is_empty() { &shell[..] } else { command };
    let (program, rest) = words.split_first().map_or(("sh", &[][..]), |(first, rest)| (first.as_str(), rest));
    let mut docker = HostCommand::new("docker").args(["run", "--rm", "--interactive", "--pull", "never"]);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        docker = docker.arg("--tty");
    }
    let docker = docker.args(["--entrypoint", program]).arg(image.familiar()).args(rest.iter().cloned());
    let variables = engine.variables();
    variables.iter().fold(docker, |docker, (name, value)| docker.env(name, value)).hand_over().await
}
