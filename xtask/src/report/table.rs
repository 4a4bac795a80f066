//! The images of a run, a line each: size, time, digest, outcome. Pure: a fold over events, and text.

use std::collections::BTreeMap;

use super::text::{neutralise, pad, size, took, width};
use crate::model::{Digest, EventKind, Outcome, Phase, StepId};

/// What became of each image, in the order in which that was known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageTable {
    rows: Vec<Row>,
    /// Why builds that are not over began.
    reasons: BTreeMap<String, String>,
}

/// What became of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub image: String,
    /// Bytes.
    pub size: Option<u64>,
    /// Milliseconds that its build took.
    pub took: Option<u64>,
    /// Why it was built, or was not.
    pub why: String,
    digest: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What failed, when that was not the build itself.
    failed_at: Option<Phase>,
}

impl ImageTable {
    /// One event further.
    pub fn take(&mut self, kind: &EventKind) {
        match kind {
            EventKind::StepFinished { step, phase, outcome, took, detail, size, .. } => {
                let Some(image) = image_of(step, *phase) else { return };
                let took = (*phase == Phase::Build).then_some(*took);
                self.finished(image, *phase, *outcome, (took, *size, detail));
            }
            EventKind::StepSkipped { phase: Phase::Build, subject, outcome, why, .. } => {
                let row = self.row(subject);
                row.outcome = *outcome;
                row.why.clone_from(why);
            }
            EventKind::StepStarted { phase: Phase::Build, step, why, .. } => {
                if let Some(image) = image_of(step, Phase::Build) {
                    self.reasons.insert(image.to_owned(), why.clone());
                }
            }
            _ => {}
        }
    }

    fn finished(
        &mut self,
        image: &str,
        phase: Phase,
        outcome: Outcome,
        (took, size, detail): (Option<u64>, Option<u64>, &str),
    ) {
        // Only what was built or looked at has a row: a push alone is another command's.
        if phase == Phase::Push && !self.rows.iter().any(|row| row.image == image) {
            return;
        }
        let why = if phase == Phase::Build { self.reasons.remove(image) } else { None };
        let row = self.row(image);
        row.why = why.unwrap_or_else(|| std::mem::take(&mut row.why));
        row.took = took.or(row.took);
        row.size = size.or(row.size);
        if phase == Phase::Build {
            row.outcome = outcome;
        }
        match outcome {
            // A build tells the image, a push the manifest that others pull.
            Outcome::Done
                if detail.parse::<Digest>().is_ok() || (row.digest.is_empty() && is_short_id(detail)) =>
            {
                row.digest = detail.to_owned();
            }
            Outcome::Failed if phase != Phase::Build => {
                row.outcome = Outcome::Failed;
                row.failed_at = Some(phase);
            }
            _ => {}
        }
    }

    fn row(&mut self, image: &str) -> &mut Row {
        let at = self.rows.iter().position(|row| row.image == image).unwrap_or_else(|| {
            self.rows.push(Row {
                image: image.to_owned(),
                size: None,
                took: None,
                why: String::new(),
                digest: String::new(),
                outcome: Outcome::Done,
                failed_at: None,
            });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    /// The images, by name.
    pub fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|one, other| one.image.cmp(&other.image));
        rows
    }

    /// The table, by image; nothing without images.
    pub fn lines(&self) -> Vec<String> {
        let rows = self.rows();
        let head = ["image", "size", "time", "digest", "outcome"].map(str::to_owned);
        let cells = rows.iter().map(|row| {
            [
                neutralise(&row.image).into_owned(),
                row.size.map_or_else(|| "-".to_owned(), size),
                row.took.map_or_else(|| "-".to_owned(), took),
                shown_digest(&row.digest),
                row.word(),
            ]
        });
        let all: Vec<[String; 5]> = std::iter::once(head).chain(cells).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let widths = [0, 1, 2, 3].map(|at| all.iter().map(|cells| width(&cells[at])).max().unwrap_or(0));
        let line = |cells: &[String; 5]| {
            let padded = (0..4).map(|at| pad(&cells[at], widths[at] + 2));
            format!("{}{}", padded.collect::<String>(), cells[4])
        };
        all.iter().map(line).collect()
    }
}

impl Row {
    /// `built`, `failed at verify`
    pub fn word(&self) -> String {
        match (self.outcome, self.failed_at) {
            (_, Some(phase)) => format!("failed at {phase}"),
            (Outcome::Done, None) => "built".to_owned(),
            (outcome, None) => outcome.to_string(),
        }
    }
}

/// Which image a step is about; steps that only name it further are about none.
fn image_of(step: &StepId, phase: Phase) -> Option<&str> {
    let is_about_images = matches!(phase, Phase::Build | Phase::Verify | Phase::Push);
    let (_, subject) = step.as_str().split_once(':')?;
    (is_about_images && !subject.contains([':', '/', ' '])).then_some(subject)
}

fn is_short_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn shown_digest(digest: &str) -> String {
    match digest.parse::<Digest>() {
        Ok(digest) => digest.short().to_owned(),
        Err(_) if digest.is_empty() => "-".to_owned(),
        Err(_) => digest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(id: (Phase, &str), outcome: Outcome, detail: &str, size: Option<u64>) -> EventKind {
        EventKind::StepFinished {
            step: StepId::new(id.0, id.1),
            phase: id.0,
            subject: id.1.to_owned(),
            outcome,
            took: 61_000,
            detail: detail.to_owned(),
            size,
            last_lines: Vec::new(),
            log: None,
            error: None,
            place: None,
            failure: None,
        }
    }

    #[test]
    fn each_image_has_one_line() {
        let id = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let skipped = |subject: &str, outcome| EventKind::StepSkipped {
            phase: Phase::Build,
            subject: subject.to_owned(),
            outcome,
            why: String::new(),
            reason: None,
            error: None,
            failure: None,
        };
        let mut table = ImageTable::default();
        for kind in [
            skipped("rocky", Outcome::UpToDate),
            skipped("alpine", Outcome::Failed),
            finished((Phase::Prefetch, "debian"), Outcome::Done, "", None),
            finished((Phase::Build, "debian"), Outcome::Done, &id("a"), Some(512_300_000)),
            finished((Phase::Build, "suse"), Outcome::Done, &id("b"), Some(1_200_000_000)),
            finished((Phase::Build, "fit:debian"), Outcome::Done, "a -> b", None),
            finished((Phase::Verify, "debian"), Outcome::Done, "aaaaaaaaaaaa", Some(512_300_000)),
            finished((Phase::Verify, "rocky"), Outcome::Done, "cccccccccccc", Some(900_000)),
            finished((Phase::Verify, "suse"), Outcome::Failed, "has size 0", None),
            finished((Phase::Push, "debian"), Outcome::Done, &id("d"), None),
            finished((Phase::Push, "other"), Outcome::Done, &id("d"), None),
        ] {
            table.take(&kind);
        }
        insta::assert_snapshot!(table.lines().join("\n"), @r"
        image   size    time  digest        outcome
        alpine  -       -     -             failed
        debian  512 MB  61s   dddddddddddd  built
        rocky   900 kB  -     cccccccccccc  up-to-date
        suse    1.2 GB  61s   bbbbbbbbbbbb  failed at verify
        ");
        assert!(ImageTable::default().lines().is_empty());
    }
}
