//! What a GitHub workflow's log and job summary understand. Pure, but for the one file that takes the summary.
//!
//! A line of a log that looks like a command is one (`::error::`, `##[group]`), whoever printed it. So what comes from
//! outside passes [`defuse`], and what we command is escaped. Sources: the toolkit's `command.ts` (what is escaped), the
//! runner's `ActionCommand.cs` (what is taken for a command: `::` after leading blanks, `##[` anywhere),
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands> (both streams are read).

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::markdown;
use super::notice::Notice;
use super::places::{Place, Places};
use super::summary::{Summary, Told};
use super::text::{cut, neutralise};
use crate::events::Sink;
use crate::events::excerpt;
use crate::model::{Event, EventKind, Severity};

/// So many annotations of each kind does GitHub show of one step; the rest it drops without a word
/// (<https://github.com/orgs/community/discussions/26680>).
const MAX_ANNOTATIONS: usize = 10;
/// Of one step's summary GitHub takes 1 MiB, and nothing at all of a larger one
/// (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits>).
const MAX_SUMMARY: u64 = 1024 * 1024;
/// Longer messages do not fit beside a line of code.
const MAX_MESSAGE: usize = 1000;

/// Ends what [`group`] began.
pub const END_GROUP: &str = "::endgroup::";

/// A heading below which the lines that follow are folded.
pub fn group(heading: &str) -> String {
    format!("::group::{}", escape_data(&defuse(&neutralise(heading))))
}

/// A line that is no command, whatever it was: `::` at its beginning gets a companion, `##[` anywhere is torn apart.
/// Characters that take no room do not hide a command, since the runner may compare as people read.
pub fn defuse(line: &str) -> Cow<'_, str> {
    let mut seen = line.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).skip_while(|c| *c == ' ');
    let is_command = seen.next() == Some(':') && seen.next() == Some(':');
    let is_old_command = line.contains('[') && has_old_marker(line);
    if !is_command && !is_old_command {
        return Cow::Borrowed(line);
    }
    let mut harmless = String::with_capacity(line.len() + 8);
    if is_command {
        harmless.push_str("| ");
    }
    for (at, c) in line.char_indices() {
        if c == '[' && is_old_command && ends_in_marker(&line[..at]) {
            harmless.push(' ');
        }
        harmless.push(c);
    }
    Cow::Owned(harmless)
}

fn has_old_marker(line: &str) -> bool {
    line.match_indices('[').any(|(at, _)| ends_in_marker(&line[..at]))
}

/// Whether a text ends in `##`, but for what cannot be seen.
fn ends_in_marker(text: &str) -> bool {
    let mut seen = text.chars().rev().filter(char::is_ascii);
    seen.next() == Some('#') && seen.next() == Some('#')
}

/// As the toolkit escapes what a command says.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the toolkit escapes what is between a command's name and what it says.
fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// `::error file=…,line=…,title=…::message`
pub fn annotation(severity: Severity, place: Option<&Place>, title: &str, message: &str) -> String {
    let kind = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut properties = Vec::new();
    if let Some(place) = place {
        properties.push(format!("file={}", escape_property(&neutralise(&place.file))));
        properties.extend((place.line > 0).then(|| format!("line={}", place.line)));
        properties.extend((place.column > 0).then(|| format!("col={}", place.column)));
    }
    properties.push(format!("title={}", escape_property(&neutralise(title))));
    let lines: Vec<_> = message.lines().map(neutralise).collect();
    let message = lines.join("\n");
    defuse_old(&format!("::{kind} {}::{}", properties.join(","), escape_data(&cut(&message, MAX_MESSAGE))))
}

/// A command of ours says nothing that an older command could hide in.
fn defuse_old(command: &str) -> String {
    let mut harmless = String::with_capacity(command.len());
    for (at, c) in command.char_indices() {
        if c == '[' && ends_in_marker(&command[..at]) {
            harmless.push(' ');
        }
        harmless.push(c);
    }
    harmless
}

/// What went wrong outside of a run, beside the line that its error begins with if it does (`FILE:LINE:COLUMN: …`).
pub fn telling(failure: &Notice) -> String {
    let severity = failure.severity;
    let message = [std::slice::from_ref(&failure.what), &failure.causes[..]].concat().join("\n");
    annotation(severity, leading_place(&failure.what).as_ref(), "cargo xtask", without_place(&message))
}

/// What is said of a place, which need not be said again beside it.
fn without_place(text: &str) -> &str {
    match text.split_once(": ") {
        Some((_, rest)) if leading_place(text).is_some() => rest,
        _ => text,
    }
}

fn leading_place(text: &str) -> Option<Place> {
    let (head, _) = text.split_once(": ")?;
    let mut parts = head.rsplitn(3, ':').collect::<Vec<_>>();
    parts.reverse();
    let number = |text: &str| text.parse::<u32>().ok();
    let (file, line, column) = match *parts.as_slice() {
        [file, line, column] => (file.to_owned(), number(line)?, number(column)?),
        [file, line] => (file.to_owned(), number(line)?, 0),
        _ => return None,
    };
    (!file.contains(' ')).then_some(Place { file, line, column })
}

/// What a run has to say beside lines of files: what failed first, then what is wrong in the files, then what is odd.
/// Never more than GitHub shows; the last of too many says how many are left.
pub fn annotations(summary: &Summary, places: &Places) -> Vec<String> {
    let mut errors: Vec<String> = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    let mut told: Vec<Place> = Vec::new();
    for Told { failure: telling, steps } in summary.told() {
        let severity = telling.severity;
        let place = steps.first().and_then(|failed| places.of_failure(failed));
        let mut message = match telling.causes.as_slice() {
            [] => telling.what.clone(),
            causes => causes.join("\n"),
        };
        if let Some(line) = telling.last_lines.iter().find(|line| excerpt::tells(line)) {
            message.push_str(&format!("\n{}", excerpt::around(line.trim(), MAX_MESSAGE / 2)));
        }
        let line = annotation(severity, place.as_ref(), &telling.what, without_place(&message));
        if severity == Severity::Error { &mut errors } else { &mut warnings }.push(line);
        told.extend(place);
    }
    let findings = |severity| places.findings(severity).filter(|(place, _)| !told.contains(place));
    for severity in [Severity::Error, Severity::Warning] {
        for (place, found) in findings(severity) {
            let line = annotation(severity, Some(&place), &found.file, &found.message);
            if severity == Severity::Error { &mut errors } else { &mut warnings }.push(line);
        }
    }
    limit(&mut errors, Severity::Error);
    limit(&mut warnings, Severity::Warning);
    errors.append(&mut warnings);
    errors
}

fn limit(lines: &mut Vec<String>, severity: Severity) {
    let surplus = lines.len().saturating_sub(MAX_ANNOTATIONS - 1);
    if lines.len() > MAX_ANNOTATIONS {
        lines.truncate(MAX_ANNOTATIONS - 1);
        let message = "the log and the job summary have all of them";
        lines.push(annotation(severity, None, &format!("and {surplus} more"), message));
    }
}

/// Appends what came of a run to the file that `GITHUB_STEP_SUMMARY` names.
#[derive(Debug)]
pub struct JobSummary {
    file: PathBuf,
    places: Places,
    summary: Summary,
}

impl JobSummary {
    /// Appends to a file.
    pub fn new(file: PathBuf, places: Places) -> Self {
        Self { file, places, summary: Summary::default() }
    }
}

impl Sink for JobSummary {
    fn name(&self) -> &'static str {
        "the GitHub job summary"
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        self.summary.take(event);
        if !matches!(event.kind, EventKind::RunFinished { .. }) {
            return Ok(());
        }
        append(&self.file, |room| markdown::page(&self.summary, &self.places, room))
    }
}

/// Appends a page that keeps to the room that the summary of this step still has.
///
/// # Errors
/// When the file cannot be written; the error names it.
pub fn append(file: &Path, page: impl FnOnce(usize) -> String) -> io::Result<()> {
    let about = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let mut open = File::options().create(true).append(true).open(file).map_err(about)?;
    // Several runs of one step share the room.
    let used = open.metadata().map_err(about)?.len();
    let room = usize::try_from(MAX_SUMMARY.saturating_sub(used)).unwrap_or(usize::MAX);
    let mut text = page(room.saturating_sub(1));
    if !text.is_empty() {
        text.push('\n');
    }
    open.write_all(text.as_bytes()).map_err(about)
}

#[cfg(test)]
mod tests;
