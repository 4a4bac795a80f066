//! A build for an engine by a builder that is no part of it: what it stands on is lent of the engine's store, what comes of it
//! is loaded there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::BuildError;
use super::checks;
use super::content::Lent;
use super::delivery::{Delivery, Taker};
use super::solve::{self, Target};
use crate::bundle::BLOBS;
use crate::bundle::fetch::{FetchError, fetch};
use crate::bundle::store::BlobStore;
use crate::engine::beside::Beside;
use crate::engine::{AnyEngine, DockerEngine, EngineError, OnProgress, Store as _};
use crate::host::inside::Folder;
use crate::model::{BuildSpec, Diagnostic, ImageId, Reference};

/// Builds, and returns what the engine calls the image.
pub(super) async fn build(
    engine: &DockerEngine,
    beside: &Beside,
    root: &Path,
    spec: &BuildSpec,
    progress: OnProgress<'_>,
) -> Result<ImageId, BuildError> {
    let lent = Arc::new(lend(engine, beside, spec, progress).await?);
    let build = |node| {
        let delivery = Delivery::to(Taker::Engine(Box::new(engine.clone()), beside.store));
        let target = Target::elsewhere(node, &beside.surroundings).lent(lent.clone()).delivering(delivery);
        async move { solve::build(&target, root, spec, progress).await }
    };
    let made = super::on_some_node((&beside.nodes, &beside.platforms), spec, progress, build).await?;
    let Some(name) = spec.tags.first() else { return Ok(made.id) };
    let found = engine.inspect(name).await?.map(|image| image.id);
    match found {
        Some(id) if id == made.id || Some(&id) == made.config.as_ref() => Ok(id),
        _ => {
            let found = found.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
            let what = format!("{} was built, and {} is {found}", made.id, name.familiar());
            Err(EngineError::Other(what).into())
        }
    }
}

/// What the front end of the builder finds; none if it has no checks.
pub(super) async fn check(
    engine: &DockerEngine,
    beside: &Beside,
    root: &Path,
    spec: &BuildSpec,
) -> Result<Option<Vec<Diagnostic>>, BuildError> {
    let lent = Arc::new(lend(engine, beside, spec, &|_| {}).await?);
    let check = |node| {
        let target = Target::elsewhere(node, &beside.surroundings).lent(lent.clone());
        async move { checks::check(&target, root, spec).await }
    };
    super::on_some_node((&beside.nodes, &beside.platforms), spec, &|_| {}, check).await
}

/// Copies of what the engine has of what the build stands on. What it lacks the builder may have, or pull.
async fn lend(
    engine: &DockerEngine,
    beside: &Beside,
    spec: &BuildSpec,
    progress: OnProgress<'_>,
) -> Result<Lent, EngineError> {
    if spec.contexts.is_empty() {
        return Ok(Lent::default());
    }
    let cannot = |error: &dyn std::error::Error| EngineError::Other(crate::engine::http::chain(error));
    let store = Folder::open(&beside.root).and_then(|tree| BlobStore::open(&tree, BLOBS));
    let store = store.map_err(|error| cannot(&error))?;
    let _alone = beside.lending.lock().await;
    let mut here = BTreeSet::new();
    for there in spec.contexts.values() {
        if engine.inspect(there).await?.is_some() {
            here.insert(there.clone());
        }
    }
    let here: Vec<Reference> = here.into_iter().collect();
    let lender = AnyEngine::Docker(Box::new(engine.clone()));
    let images = fetch(&lender, &store, &here, progress).await.map_err(|error| match error {
        FetchError::Engine { source, .. } => source,
        other => cannot(&other),
    })?;
    let images = spec.contexts.iter().filter_map(|(name, there)| {
        let at = here.iter().position(|known| known == there)?;
        Some((name.clone(), images.get(at)?.clone()))
    });
    Ok(Lent::new(store, images.collect::<Vec<_>>()))
}
