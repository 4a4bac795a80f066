//! `--bootstrap`: an engine when none answers, base images when no registry gives them. Each thing is announced.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::session::Session;
use crate::cli::error::{Error, ErrorKind};
use crate::engine::provision::{
    self, Announce, DEBOOTSTRAP, EngineSettings, FOR_ENGINE, Home, ProvisionError, REGISTRY,
};
use crate::engine::{AnyEngine, EngineError, OnProgress, recipe};
use crate::events::Emitter;
use crate::execute::pull::MakeBase;
use crate::model::{EventKind, Observed, Platform, Recipe, Reference};
use crate::registry::local::find_source;

/// Starts this tree's private engine, packages first. Cancelled by Ctrl-C.
pub(super) async fn engine(
    session: &Session,
    emitter: &Emitter,
    cancel: &CancellationToken,
) -> Result<AnyEngine, Error> {
    let announce = announcer(emitter);
    let home = Home::of_tree(&session.config.root);
    let up = async {
        provision::ensure_packages(&FOR_ENGINE, &announce).await?;
        provision::up(&home, &EngineSettings::default(), &announce).await
    };
    tokio::select! {
        () = cancel.cancelled() => return Err(Error::told(ErrorKind::Interrupted)),
        started = up => started?,
    };
    Ok(session.connect().await?)
}

/// Installs a registry to run, where there is none.
pub(super) async fn registry(observed: &Observed, announce: Announce<'_>) -> Result<(), Error> {
    if find_source(observed).is_none() {
        provision::ensure_packages(&[REGISTRY], announce).await?;
    }
    Ok(())
}

/// Tells what is done to the machine as events of a run.
pub(super) fn announcer(emitter: &Emitter) -> impl Fn(String) + Send + Sync + use<> {
    let emitter = emitter.clone();
    move |message| emitter.emit(EventKind::Announced { message })
}

/// Makes base images from recipes.
#[derive(Debug)]
pub(super) struct Maker {
    root: PathBuf,
    engine: Option<AnyEngine>,
    emitter: Emitter,
}

impl Maker {
    pub fn new(root: &Path, engine: Option<AnyEngine>, emitter: Emitter) -> Self {
        Self { root: root.to_owned(), engine, emitter }
    }
}

impl MakeBase for Maker {
    async fn make(
        &self,
        recipe: &Recipe,
        reference: &Reference,
        platform: &Platform,
        progress: OnProgress<'_>,
    ) -> Result<(), EngineError> {
        let engine =
            self.engine.as_ref().ok_or(EngineError::Unreachable { tried: Vec::new(), named_by: None })?;
        let announce = announcer(&self.emitter);
        let other = |error: ProvisionError| EngineError::Other(format!("{error}; {}", error.hint()));
        provision::ensure_packages(&[DEBOOTSTRAP], &announce).await.map_err(other)?;
        recipe::make(engine, &self.root, recipe, reference, platform, progress).await.map_err(other)?;
        announce(recipe::announcement(recipe, reference));
        Ok(())
    }
}
