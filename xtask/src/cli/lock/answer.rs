//! What `lock` says: the changes, for people or as JSON, and how it ends.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Compared;
use crate::cli::args::{Format, Lock};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::cli::session::Session;
use crate::model::{Digest, Identity, ImageId, Platform};
use crate::plan::image_lock::update::{ChangeKind, LockChange};
use crate::plan::image_lock::uses::{self, Use};

/// Says what was found.
pub(super) fn tell(session: &Session, outcome: &Compared, args: &Lock) {
    for note in &outcome.notes {
        crate::cli::say(&session.secrets.redact(&format!("note: {note}")));
    }
    let text = match args.format {
        Format::Human => session.secrets.redact(&human(outcome, args.check)).into_owned(),
        // Strings and maps with string keys: serialising them cannot fail.
        Format::Json => serde_json::to_string_pretty(&document(outcome)).unwrap_or_default(),
    };
    crate::cli::print(&text);
}

/// How it ends, and what to do about it.
pub(super) fn verdict(session: &Session, outcome: &Compared, is_check: bool) -> Result<ExitCode, Error> {
    let file = &outcome.file;
    if !outcome.lies.is_empty() {
        let error = Error::new(ErrorKind::DigestMismatch, "a registry does not keep its word");
        let error = outcome.lies.iter().fold(error, |error, (_, why)| error.because(why.clone()));
        return Err(error.hint("a proxy in between may change what it passes on; ask who runs it"));
    }
    if !outcome.failed.is_empty() {
        let names: Vec<String> = outcome.failed.iter().map(|(name, _)| name.familiar()).collect();
        let what = match names.as_slice() {
            [one] => format!("nobody knows what {one} stands for; {file} keeps what it says of it"),
            many => format!(
                "nobody knows what {} images stand for; {file} keeps what it says of them",
                many.len()
            ),
        };
        let error =
            outcome.failed.iter().fold(Error::new(ErrorKind::PullFailed, what), |error, (name, causes)| {
                let who = outcome.uses.get(name).map(Use::shown).unwrap_or_default();
                let store = if outcome.has_engine { "not in the store" } else { "no engine answers" };
                let why = if session.config.offline {
                    format!("{store}, and --offline asks no registry")
                } else if causes.is_empty() {
                    format!("{store}, and there is no registry to ask")
                } else {
                    causes.join("; ")
                };
                error.because(format!("{} ({who}): {why}", name.familiar()))
            });
        let names: Vec<String> = outcome.failed.iter().map(|(name, _)| name.familiar().to_string()).collect();
        let names = names.join(" ");
        return Err(
            error.hint(format!("`cargo xtask prefetch {names}` shows whether it can be pulled at all"))
        );
    }
    if !is_check || outcome.changes.is_empty() {
        return Ok(ExitCode::Good);
    }
    let changed: Vec<&str> = outcome.changes.iter().map(|change| change.name.as_str()).collect();
    let what = format!("{file} is not up to date: {}", counted(&outcome.changes, true));
    let hint = if changed.len() <= 3 && outcome.changes.iter().all(|c| c.change != ChangeKind::Unused) {
        format!("`cargo xtask lock {}` brings it up to date", changed.join(" "))
    } else {
        "`cargo xtask lock` brings it up to date".to_owned()
    };
    Err(Error::new(ErrorKind::Drift, what).hint(hint))
}

/// `1 new, 2 moved`
fn counted(changes: &[LockChange], is_check: bool) -> String {
    let kinds = [ChangeKind::Missing, ChangeKind::Moved, ChangeKind::Unused];
    let count = |kind: ChangeKind| changes.iter().filter(|change| change.change == kind).count();
    let said =
        kinds.into_iter().map(|kind| (count(kind), word(kind, is_check))).filter(|(count, _)| *count > 0);
    said.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn word(kind: ChangeKind, is_check: bool) -> &'static str {
    match (kind, is_check) {
        (ChangeKind::Missing, true) => "missing",
        (ChangeKind::Missing, false) => "new",
        (ChangeKind::Moved, _) => "moved",
        (ChangeKind::Unused, true) => "unused",
        (ChangeKind::Unused, false) => "removed",
    }
}

/// One line for the whole, and one for each change.
fn human(outcome: &Compared, is_check: bool) -> String {
    let count = match outcome.new.images.len() {
        1 => "1 image".to_owned(),
        many => format!("{many} images"),
    };
    let mut said = counted(&outcome.changes, is_check);
    if !outcome.failed.is_empty() {
        let between = if said.is_empty() { "" } else { ", " };
        said = format!("{said}{between}{} not found", outcome.failed.len());
    }
    let said = if said.is_empty() { "nothing changed".to_owned() } else { said };
    let mut lines = vec![format!("{}: {count}, {said}", outcome.file)];
    let width = outcome.changes.iter().map(|change| change.name.len()).max().unwrap_or(0);
    for change in &outcome.changes {
        let content = match (&change.was, &change.now) {
            (Some(was), Some(now)) => format!("{was} -> {now}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        };
        let who = if change.used_by.is_empty() {
            String::new()
        } else {
            format!("  ({})", uses::shown(&change.used_by))
        };
        let word = word(change.change, is_check);
        lines.push(format!("  {word:8} {:width$}  {content}{who}", change.name));
    }
    lines.join("\n")
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    file: &'a str,
    images: Vec<Entry<'a>>,
    changes: &'a [LockChange],
    failed: Vec<Failed<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: String,
    digest: Option<&'a Digest>,
    identities: BTreeMap<String, &'a Identity>,
    ids: BTreeMap<String, &'a ImageId>,
    used_by: &'a [String],
}

#[derive(Serialize)]
struct Failed<'a> {
    name: String,
    causes: &'a [String],
}

fn by_platform<T>(map: &BTreeMap<Platform, T>) -> BTreeMap<String, &T> {
    map.iter().map(|(platform, found)| (platform.to_string(), found)).collect()
}

fn document(outcome: &Compared) -> Document<'_> {
    let images = outcome.new.images.iter().map(|(name, locked)| Entry {
        name: name.familiar(),
        digest: locked.digest.as_ref(),
        identities: by_platform(&locked.identities),
        ids: by_platform(&locked.ids),
        used_by: outcome.uses.get(name).map_or(&[], |used| used.places.as_slice()),
    });
    let failed = outcome.failed.iter().map(|(name, causes)| Failed { name: name.familiar(), causes });
    Document {
        version: 1,
        file: &outcome.file,
        images: images.collect(),
        changes: &outcome.changes,
        failed: failed.collect(),
    }
}
