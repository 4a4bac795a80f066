//! EFFECT: what an engine has of images that are made, or wanted, for several platforms, and whether its builder can run what
//! their builds run.
//!
//! A listing tells of an index only that it is there, with the labels of one of its images. So where something of the tree is
//! made for several platforms, each base image is asked about for each platform other than the engine's own, and each index
//! for what it consists of. Nothing else asks.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;

use super::session::Session;
use super::world::World;
use crate::build;
use crate::cli::error::{Error, ErrorKind};
use crate::engine::{AnyEngine, Store as _};
use crate::model::{
    Diagnostic, ImageName, ImageSource, Indexes, Keeps, LocalImage, Observed, Platform, Reference, StepKind,
};
use crate::plan::Planned;
use crate::read::graph::ImageGraph;

/// How many images are asked about at the same time.
const QUESTIONS: usize = 8;

/// Completes what was seen of an engine's store.
pub(super) async fn look(
    engine: &AnyEngine,
    mut observed: Observed,
    graph: &ImageGraph,
    bases: &[(Reference, Platform)],
    indexes: Indexes,
) -> Observed {
    let made: BTreeSet<&Reference> =
        graph.images().iter().filter_map(|image| Some(&image.index.as_ref()?.reference)).collect();
    if made.is_empty() || indexes == Indexes::NotKept || observed.is_registry() {
        return observed;
    }
    let Some(own) = observed.capabilities.as_ref().map(|known| known.platform.clone()) else {
        return observed;
    };
    let here = made.into_iter().filter_map(|name| Some((name, observed.find(name)?.id.clone())));
    let entries: Vec<_> = futures_util::stream::iter(here)
        .map(|(name, id)| async move { (id, engine.index_entries(name).await) })
        .buffer_unordered(QUESTIONS)
        .collect()
        .await;
    for (id, entries) in entries {
        if let Ok(Some(entries)) = entries {
            observed.learn_index(id, entries);
        }
    }
    let others: BTreeSet<&Platform> =
        bases.iter().map(|(_, platform)| platform).filter(|platform| !own.serves(platform)).collect();
    for platform in others {
        let view = view(engine, &observed, bases, platform).await;
        observed = observed.with_view(platform.clone(), view);
    }
    observed
}

/// The store as it is for another platform: base images that are wanted for it are that platform's, or are not there.
async fn view(
    engine: &AnyEngine,
    observed: &Observed,
    bases: &[(Reference, Platform)],
    platform: &Platform,
) -> Observed {
    let wanted: BTreeSet<&Reference> =
        bases.iter().filter(|(_, on)| on == platform).map(|(name, _)| name).collect();
    let here = wanted.iter().copied().filter(|name| observed.find(name).is_some());
    let found: Vec<(&Reference, Option<LocalImage>)> = futures_util::stream::iter(here)
        .map(|name| async move { (name, engine.inspect_on(name, platform).await.ok().flatten()) })
        .buffer_unordered(QUESTIONS)
        .collect()
        .await;
    let is_of = |image: &LocalImage| image.platform.as_ref().is_none_or(|of| of.serves(platform));
    let found = found.into_iter().filter_map(|(name, image)| {
        let image = image.filter(is_of)?;
        // The store calls the whole index so, whichever of its images is meant.
        let id = observed.find(name)?.id.clone();
        Some(LocalImage { id, names: vec![name.clone()], ..image })
    });
    let others = observed.images().iter().map(|image| {
        let names = image.names.iter().filter(|name| !wanted.contains(name)).cloned().collect();
        LocalImage { names, ..image.clone() }
    });
    let images: Vec<LocalImage> = others.chain(found).collect();
    match observed.capabilities.clone() {
        Some(capabilities) => Observed::new(capabilities, images),
        None => Observed::nothing(),
    }
}

/// Refuses what cannot be built for the platforms that are asked for, before anything is done.
///
/// # Errors
/// The store keeps one platform under a name; no node of the builder runs what a build runs.
pub(super) async fn refuse(session: &Session, world: &World, planned: &Planned) -> Result<(), Error> {
    let Ok(engine) = &world.engine else { return Ok(()) };
    let of_several = |name: &ImageName| world.tree.graph.get(name).is_some_and(|image| image.index.is_some());
    if world.builds_with.indexes == Indexes::NotKept && planned.selected.iter().any(of_several) {
        let what = format!("the engine at {} keeps one platform under a name", engine.endpoint());
        let one = session.config.platforms.first().unwrap_or(&world.builds_with.platform);
        return Err(Error::new(ErrorKind::EngineUnfit, what)
            .because("an image for several platforms is an index, which containerd and registries keep")
            .hint(format!("`--platform {one}` builds for one"))
            .hint("`\"features\": {\"containerd-snapshotter\": true}` in /etc/docker/daemon.json has Engine 28 or newer keep images in containerd")
            .hint("`--builder BUILDER --push` builds elsewhere, into a registry"));
    }
    refuse_layouts(session, planned).await?;
    let foreign = running_elsewhere(world, planned);
    if foreign.is_empty() {
        return Ok(());
    }
    let nodes = build::platforms(engine).await?;
    let runs = |platform: &Platform| nodes.iter().flatten().any(|known| known.serves(platform));
    let missing: Vec<&(Diagnostic, Platform)> = foreign.iter().filter(|(_, on)| !runs(on)).collect();
    let Some((_, first)) = missing.first() else { return Ok(()) };
    let known: BTreeSet<String> = nodes.iter().flatten().map(ToString::to_string).collect();
    let known: Vec<String> = known.into_iter().collect();
    let error = missing.iter().fold(
        Error::new(ErrorKind::EngineUnfit, format!("nothing here runs programs for {first}")),
        |error, (found, _)| error.because(format!("{}: {}", found.place(), found.message)),
    );
    Err(error
        .because(format!("the builder runs {}", known.join(", ")))
        .hint(format!("`docker run --privileged --rm tonistiigi/binfmt --install {}` installs emulation on its machine", first.arch))
        .hint("`docker buildx create --append --platform …` adds a node to an instance, which `--builder` takes")
        .hint(format!("`--platform {}` builds for what it runs", world.builds_with.platform)))
}

/// An engine that keeps images by itself reads none in a folder (moby, `builder/builder-next/worker`): it has no source for
/// them.
async fn refuse_layouts(session: &Session, planned: &Planned) -> Result<(), Error> {
    let mut layouts = planned.plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Build(spec) => Some((&spec.dockerfile, spec.layouts.first()?)),
        _ => None,
    });
    let Some((dockerfile, layout)) = layouts.next().filter(|_| session.keeps == Keeps::Engine) else {
        return Ok(());
    };
    let Some(engine) = session.unpacking_engine().await? else { return Ok(()) };
    let what = format!("the builder of the engine at {} reads no image in a folder", engine.endpoint());
    Err(Error::new(ErrorKind::EngineUnfit, what)
        .because(format!("{dockerfile}: `{}` is oci-layout://{}", layout.name, layout.folder))
        .hint("`--builder BUILDER` builds elsewhere")
        .hint("`\"features\": {\"containerd-snapshotter\": true}` in /etc/docker/daemon.json has an engine keep images in containerd")
        .hint("`docker-image://NAME` names an image that the engine has"))
}

/// What planned builds run on other platforms than the builder's own.
fn running_elsewhere(world: &World, planned: &Planned) -> Vec<(Diagnostic, Platform)> {
    let builds = planned.plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Build(spec) => world.tree.graph.get(&spec.image),
        _ => None,
    });
    let found = builds.flat_map(|image| {
        let runs = world.tree.contexts.get(&image.name).map(|context| context.runs.as_slice());
        let file = match &image.source {
            ImageSource::Build(target) => target.dockerfile.as_str(),
            ImageSource::External(_) => "",
        };
        runs.unwrap_or_default().iter().map(move |(on, line)| {
            let message = format!("RUN needs {on}, for {}", image.name.image());
            (Diagnostic::error(file, *line, message), on.clone())
        })
    });
    found.collect()
}
