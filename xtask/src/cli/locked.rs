//! `--locked`: what a plan is held to, and the refusal where the tree or the store is not as `images.lock` says.

use std::collections::{BTreeMap, BTreeSet};

use super::pipeline::{Planned, Request};
use super::session::{Session, World};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::image_lock::text::{self, ReadLock};
use crate::image_lock::uses::{self, Use};
use crate::model::{Diagnostic, ImageName, Observed, Originals, Phase, Reason, Reference};
use crate::plan::locked::{LockFinding, LockInput, findings, pins};
use crate::plan::prefetch::Pin;

/// What the lock file says; none where there is none.
pub(super) type Held = Result<Option<ReadLock>, Diagnostic>;

/// Reads the lock of a tree.
pub(super) fn read(config: &Config) -> Held {
    let file = &config.images_lock;
    match std::fs::read_to_string(config.root.join(file)) {
        Ok(text) => text::parse(file, &text).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Diagnostic::error(file, 0, format!("cannot be read: {error}"))),
    }
}

/// A plan's external images beside the lock.
#[derive(Default)]
pub(super) struct Comparison {
    /// What is not as the lock says.
    pub found: Vec<LockFinding>,
    /// What pulls are held to; nothing without `--locked`.
    pub pins: BTreeMap<Reference, Pin>,
}

/// Whether a request is about external images at all.
fn concerns(request: &Request) -> bool {
    [Phase::Prefetch, Phase::Build, Phase::Verify].into_iter().any(|phase| request.has(phase))
}

/// Compares what the selected images name.
pub(super) fn compare(
    session: &Session,
    world: &World,
    request: &Request,
    selected: &BTreeSet<ImageName>,
    originals: &Originals<'_>,
    observed: &Observed,
) -> Comparison {
    let Ok(Some(lock)) = &world.lock else { return Comparison::default() };
    if !concerns(request) {
        return Comparison::default();
    }
    let images = world.tree.graph.images().iter().filter(|image| selected.contains(&image.name));
    let mut uses = uses::uses(images, originals);
    if request.references_only {
        let named: BTreeSet<Reference> =
            request.references.iter().map(|r| originals.original_of(r)).collect();
        uses = all_uses(world, originals);
        uses.retain(|original, _| named.contains(original));
    }
    let input = LockInput { lock, file: &session.config.images_lock, uses: &uses, originals, observed };
    let found = findings(&input);
    if !session.config.locked {
        // Nobody asked whether the lock is whole; that it is not what is here is worth a word.
        let differs = |finding: &LockFinding| matches!(finding.why, Reason::NotAsLocked { .. });
        return Comparison { found: found.into_iter().filter(differs).collect(), pins: BTreeMap::new() };
    }
    Comparison { pins: pins(&input, &found, request.fix), found }
}

/// Everything that the tree names.
pub(super) fn all_uses(world: &World, originals: &Originals<'_>) -> BTreeMap<Reference, Use> {
    uses::uses(world.tree.graph.images().iter(), originals)
}

/// What the lock's own state has to say before anything is planned.
///
/// # Errors
/// With `--locked`, where there is no lock or it cannot be read.
pub(super) fn require(session: &Session, world: &World, request: &Request) -> Result<(), Error> {
    let is_asked = request.has(Phase::Prefetch) || request.has(Phase::Build);
    if !session.config.locked || !is_asked {
        return Ok(());
    }
    match &world.lock {
        Ok(Some(_)) => Ok(()),
        Ok(None) => {
            let file = &session.config.images_lock;
            Err(Error::new(
                ErrorKind::NotLocked,
                format!("there is no {file}, and --locked builds on nothing else"),
            )
            .hint("`cargo xtask lock` writes it"))
        }
        Err(found) => Err(unreadable(found)),
    }
}

/// A lock file that cannot be taken.
pub(super) fn unreadable(found: &Diagnostic) -> Error {
    Error::new(ErrorKind::ConfigInvalid, format!("{}: {}", found.place(), found.message))
        .hint(format!("`git checkout {0}` brings back the committed one; without the file, `cargo xtask lock` writes it anew", found.file))
}

/// Refuses a plan that would build on something that is not locked.
///
/// # Errors
/// Each image that is not as the lock says, with who names it.
pub(super) fn refuse(session: &Session, planned: &Planned, request: &Request) -> Result<(), Error> {
    let is_asked = request.has(Phase::Prefetch) || request.has(Phase::Build);
    if !session.config.locked || !is_asked {
        return Ok(());
    }
    // What is only missing fails where it is needed; the rest goes on.
    let is_refused = |f: &&LockFinding| !matches!(f.why, Reason::LockedMissing { .. });
    let refused: Vec<&LockFinding> = planned.off_lock.iter().filter(is_refused).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let file = &session.config.images_lock;
    let what = match refused.len() {
        1 => format!("--locked: an external image is not as {file} has it, so nothing is done"),
        many => format!("--locked: {many} external images are not as {file} has them, so nothing is done"),
    };
    let mut error = refused.iter().fold(Error::new(ErrorKind::NotLocked, what), |error, finding| {
        let subject = match &finding.why {
            Reason::NotLocked { .. } => format!("{} is ", finding.original.familiar()),
            _ => String::new(),
        };
        let who = uses::shown(&finding.places);
        error.because(format!("{subject}{} ({who})", finding.why))
    });
    let names = |is: fn(&Reason) -> bool| -> Option<String> {
        let of: Vec<String> = refused.iter().filter(|f| is(&f.why)).map(|f| f.original.familiar()).collect();
        (!of.is_empty()).then(|| of.join(" "))
    };
    if let Some(new) = names(|why| matches!(why, Reason::NotLocked { .. })) {
        error = error.hint(format!("`cargo xtask lock {new}` locks what is new"));
    }
    if let Some(moved) = names(|why| matches!(why, Reason::NotAsLocked { .. })) {
        error = error
            .hint(format!("`cargo xtask prefetch --locked --fix {moved}` brings the locked content back"))
            .hint(format!("`cargo xtask lock {moved}` takes what registries have now"));
    }
    Err(error)
}

/// What `plan` and `status` say of it, at the first line that names the image.
pub(super) fn diagnostics(session: &Session, world: &World, planned: &Planned) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    if let Err(found) = &world.lock {
        all.push(Diagnostic { severity: crate::model::Severity::Warning, ..found.clone() });
    }
    for finding in &planned.off_lock {
        let (file, line) = match finding.places.first().and_then(|place| place.rsplit_once(':')) {
            Some((file, line)) => (file, line.parse().unwrap_or(0)),
            None => (session.config.images_lock.as_str(), 0),
        };
        let message = match &finding.why {
            why @ Reason::NotLocked { .. } => format!("{} is {why}", finding.original.familiar()),
            why => why.to_string(),
        };
        let message = if session.config.locked { format!("--locked refuses: {message}") } else { message };
        all.push(Diagnostic::warning(file, line, message));
    }
    all
}
