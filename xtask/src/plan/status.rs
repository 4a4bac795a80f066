//! Pure: how the store compares with the tree, for people and programs to read.
//!
//! In: assessed images and the health of aliases. Out: text and JSON. Never asks anybody.

use std::fmt::Write as _;

use serde::Serialize;

use crate::model::{self, Change, Diagnostic, ImageName, ImageState, Reason};
use crate::plan::alias::{AliasHealth, AliasState};
use crate::plan::build::Assessment;
use crate::plan::explain::{ImageEntry, count};

/// Everything that `status` says.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// 1.
    pub version: u32,
    /// The selected images, in build order.
    pub images: Vec<ImageEntry>,
    /// Every base image's names and whether they agree.
    pub aliases: Vec<AliasHealth>,
    /// What is wrong with the tree.
    pub diagnostics: Vec<Diagnostic>,
}

/// `12 up-to-date, 1 stale, 1 missing`.
pub fn totals(images: &[ImageEntry]) -> String {
    let states = [
        ImageState::UpToDate,
        ImageState::Stale,
        ImageState::Missing,
        ImageState::Invalid,
        ImageState::Unknown,
    ];
    let parts: Vec<String> = states
        .into_iter()
        .map(|state| (images.iter().filter(|i| i.state == state).count(), state))
        .filter(|(n, _)| *n > 0)
        .map(|(n, state)| format!("{n} {state}"))
        .collect();
    if parts.is_empty() { "no images".to_owned() } else { parts.join(", ") }
}

/// The report as a table.
pub fn text(report: &StatusReport) -> String {
    let mut out = String::new();
    let width = report.images.iter().map(|i| i.reference.len()).max().unwrap_or(0);
    // Writing to a String cannot fail.
    for image in &report.images {
        let _ =
            writeln!(out, "{:width$}  {:<10}  ({})", image.reference, image.state.to_string(), image.reason);
    }
    let _ = writeln!(out, "{}: {}", count(report.images.len(), "image"), totals(&report.images));
    let is_unknown = |health: &&AliasHealth| health.state == AliasState::Unknown;
    let unknown = report.aliases.iter().filter(is_unknown).count();
    let unwell: Vec<&AliasHealth> =
        report.aliases.iter().filter(|health| !health.is_well() && !is_unknown(health)).collect();
    let bases = count(report.aliases.len(), "base image");
    let _ = match report.aliases.len() {
        0 => Ok(()),
        all if all == unknown => writeln!(out, "{bases}: {unknown} unknown (no engine to ask)"),
        all => match (unwell.len(), unknown) {
            (0, 0) => writeln!(out, "{bases}: all names agree"),
            (bad, _) => writeln!(out, "{bases}: names of {} agree, of {bad} do not", all - bad - unknown),
        },
    };
    for health in unwell {
        let _ = writeln!(out, "  {health}");
    }
    for diagnostic in model::told(&report.diagnostics) {
        let _ = writeln!(out, "{diagnostic}");
    }
    out
}

/// Every change of one image since it was built, a line each.
pub fn explain(assessment: &Assessment) -> String {
    let name: &ImageName = &assessment.name;
    let mut out = String::new();
    match &assessment.reason {
        Reason::Changed(changes) => {
            let _ = writeln!(out, "{name} is {}: {}", assessment.state, count(changes.len(), "change"));
            for change in changes {
                let _ = writeln!(out, "  {change}");
            }
            if changes.contains(&Change::Files) {
                let _ = writeln!(
                    out,
                    "  (it was built on another machine, or long ago: its list of files is not known here)"
                );
            }
        }
        reason => {
            let _ = writeln!(out, "{name} is {} ({reason})", assessment.state);
        }
    }
    out
}
