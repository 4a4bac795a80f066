//! `--locked`: what a plan is held to, and the refusal where the tree or the store is not as `images.lock` says.

use std::collections::BTreeMap;

use super::session::Session;
use super::world::World;
use crate::cli::error::{Error, ErrorKind};
use crate::model::{Diagnostic, Originals, Phase, Reason, Reference};
use crate::plan::image_lock::text::{self, ReadLock};
use crate::plan::image_lock::uses::{self, Use};
use crate::plan::locked::LockFinding;
use crate::plan::{Planned, Request};
use crate::settings::Config;

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
