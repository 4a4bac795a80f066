//! EFFECT: `--check-dockerfiles`. What the builder's own checks find, beside what was found by reading.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;

use super::pipeline;
use super::session::Session;
use super::world::World;
use crate::build::{BuildError, Builder as _};
use crate::cli::error::Error;
use crate::model::{
    BuildSpec, BuildTarget, ContextFiles, Diagnostic, Image, ImageName, ImageSource, Reference, Severity,
    StepKind,
};
use crate::plan::{Lint, Planned, Request};

/// How many Dockerfiles are checked at the same time.
const QUESTIONS: usize = 8;

/// What makes one question of several: images of one Dockerfile, read alike.
type Question<'a> = (&'a str, Option<&'a str>, &'a BTreeMap<String, String>);

/// Adds what is found in the Dockerfiles of a plan, where somebody asks for it. Where something is found that keeps an image
/// from being built, it is planned without that.
///
/// # Errors
/// Nothing is there to ask.
pub(super) async fn add(
    session: &Session,
    request: &Request,
    (mut world, planned): (World, Planned),
) -> Result<(World, Planned), Error> {
    if request.lint == Lint::No {
        return Ok((world, planned));
    }
    let engine = world.engine.as_ref().map_err(|error| session.without_engine(error))?;
    let questions = questions(&world, &planned);
    let root = &session.config.root;
    let answers: Vec<_> = futures_util::stream::iter(questions.into_values())
        .map(|(spec, asking)| async move { (engine.check(root, &spec).await, spec, asking) })
        .buffer_unordered(QUESTIONS)
        .collect()
        .await;
    let mut has_checks = true;
    let mut found: Vec<(ImageName, Vec<Diagnostic>)> = Vec::new();
    for (answer, spec, asking) in answers {
        has_checks &= !matches!(answer, Ok(None));
        let told = told(&world, &spec, answer);
        found.extend(asking.into_iter().map(|image| (image, told.clone())));
    }
    if !has_checks {
        session.warn(
            "the builder's front end has no checks: that of Engine 27 or BuildKit 0.15 has, and so has \
             `# syntax=docker/dockerfile:1` at the top of a Dockerfile",
        );
    }
    let refuses = found.iter().flat_map(|(_, told)| told).any(|found| found.severity == Severity::Error);
    // In the order of the tree, however quickly each was answered.
    found.sort();
    found.into_iter().for_each(|(image, told)| world.tree.add_findings(&image, told));
    let planned = if refuses { pipeline::plan(session, &world, request).await? } else { planned };
    Ok((world, planned))
}

/// What is asked, with the images that it is asked for.
fn questions<'a>(world: &'a World, planned: &Planned) -> BTreeMap<Question<'a>, (BuildSpec, Vec<ImageName>)> {
    let mut questions: BTreeMap<Question<'_>, (BuildSpec, Vec<ImageName>)> = BTreeMap::new();
    let images = world.tree.graph.images().iter();
    for image in images.filter(|image| planned.selected.contains(&image.name)) {
        let ImageSource::Build(target) = &image.source else { continue };
        let question = (target.dockerfile.as_str(), target.target.as_deref(), &target.build_args);
        let (_, asking) =
            questions.entry(question).or_insert_with(|| (spec(image, target, planned), Vec::new()));
        asking.push(image.name.clone());
    }
    questions
}

/// The build as it is planned, or would be.
fn spec(image: &Image, target: &BuildTarget, planned: &Planned) -> BuildSpec {
    let mut builds = planned.plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Build(spec) if spec.image == image.name => Some(BuildSpec::clone(spec)),
        _ => None,
    });
    // Checks read no file of the context.
    let files = ContextFiles::default();
    match builds.next() {
        Some(planned) => BuildSpec { files, ..planned },
        None => BuildSpec::of(image, target, files),
    }
}

/// What is told of an answer. That an image is not here on which another one stands is the business of the run, and what
/// reading found is told already.
fn told(
    world: &World,
    spec: &BuildSpec,
    answer: Result<Option<Vec<Diagnostic>>, BuildError>,
) -> Vec<Diagnostic> {
    let unchecked = |line, why: &str| {
        Diagnostic::warning(&spec.dockerfile, line, format!("not all of it was checked: {why}"))
    };
    let found = match answer {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => return vec![unchecked(0, &error.to_string())],
    };
    let is_known = |found: &Diagnostic| {
        let mut known = world.tree.findings.iter().map(|finding| &finding.diagnostic);
        let is_it = |known: &Diagnostic| known.file == found.file && known.line == found.line;
        found.severity == Severity::Error
            && known.any(|known| known.severity == Severity::Error && is_it(known))
    };
    let missing = missing_base(world, spec);
    let soften = |found: Diagnostic| match (&missing, found.severity) {
        (Some(base), Severity::Error) => unchecked(found.line, &format!("{base} is not here yet")),
        _ => found,
    };
    found.into_iter().filter(|found| !is_known(found)).map(soften).collect()
}

/// What the build stands on and is not here.
fn missing_base(world: &World, spec: &BuildSpec) -> Option<String> {
    let image = world.tree.graph.get(&spec.image)?;
    let is_here = |name: &Reference| world.observed.find(name).is_some();
    let ours = image.asks_for.iter().filter_map(|(name, owner)| Some((name, world.tree.graph.get(owner)?)));
    let ours = ours.filter(|(_, owner)| !is_here(&owner.reference)).map(|(name, _)| name);
    let others = image.base_images.iter().map(|base| &base.reference).filter(|base| !is_here(base));
    ours.chain(others).next().map(Reference::familiar)
}
