//! A run, or checks, as a JUnit report, which CI systems read.
//!
//! In: a run's events, or what was seen of images. Out: one XML file, whole or not at all. One suite is a phase, or an
//! image that was tried; one case is one step of the phase, or one check. Characters that XML cannot carry and escape
//! sequences are left out. The elements are those that Jenkins' schema knows (`junit-10.xsd` of its xunit plugin).

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::html::facts::{Facts, State, Step};
use super::html::material::Material;
use super::notice::Notice;
use super::resolve::Colour;
use super::summary::Summary;
use super::text::{cut, neutralise};
use crate::events::Sink;
use crate::model::{Event, EventKind, Outcome, Phase, SmokeCheck, SmokeVerdict, Unit};

/// Longer lines are cut.
const MAX_LINE: usize = 1000;

/// Cases that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The phase or the image.
    pub name: String,
    /// How long all of it took.
    pub took: Duration,
    /// What is in it.
    pub cases: Vec<Case>,
}

/// One thing that went well or did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// How long it took, where that is known.
    pub took: Option<Duration>,
    /// How it ended.
    pub end: End,
    /// What was seen.
    pub told: String,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Well.
    Passed,
    /// Badly.
    Failed {
        /// Why, on one line.
        message: String,
        /// All that is known.
        text: String,
    },
    /// It did not come to it.
    Skipped {
        /// Why not.
        why: String,
    },
}

/// The report's text. `name` is the command.
pub fn report(name: &str, suites: &[Suite]) -> String {
    let cases = || suites.iter().flat_map(|suite| &suite.cases);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\">\n",
        attribute(name),
        cases().count(),
        cases().filter(|case| matches!(case.end, End::Failed { .. })).count(),
    );
    suites.iter().for_each(|suite| write_suite(&mut xml, suite));
    xml.push_str("</testsuites>\n");
    xml
}

fn write_suite(xml: &mut String, Suite { name, took, cases }: &Suite) {
    let name = attribute(name);
    let count = |wanted: fn(&End) -> bool| cases.iter().filter(|case| wanted(&case.end)).count();
    let _ = writeln!(
        xml,
        "    <testsuite name=\"{name}\" tests=\"{}\" skipped=\"{}\" errors=\"0\" failures=\"{}\" time=\"{:.3}\">",
        cases.len(),
        count(|end| matches!(end, End::Skipped { .. })),
        count(|end| matches!(end, End::Failed { .. })),
        took.as_secs_f64(),
    );
    for Case { name: case, took, end, told } in cases {
        let _ = write!(xml, "        <testcase name=\"{}\" classname=\"{name}\"", attribute(case));
        if let Some(took) = took {
            let _ = write!(xml, " time=\"{:.3}\"", took.as_secs_f64());
        }
        if *end == End::Passed && told.is_empty() {
            xml.push_str("/>\n");
            continue;
        }
        xml.push_str(">\n");
        let _ = match end {
            End::Passed => Ok(()),
            End::Failed { message, text } => {
                let (message, text) = (attribute(message), content(text));
                writeln!(xml, "            <failure message=\"{message}\">{text}</failure>")
            }
            End::Skipped { why } => {
                writeln!(xml, "            <skipped message=\"{}\"/>", attribute(why))
            }
        };
        if !told.is_empty() {
            let _ = writeln!(xml, "            <system-out>{}</system-out>", content(told));
        }
        xml.push_str("        </testcase>\n");
    }
    xml.push_str("    </testsuite>\n");
}

/// A text between tags.
fn content(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in harmless(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// An attribute's value, in which readers would take a line's end for a space.
fn attribute(text: &str) -> String {
    content(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

/// Line by line without escape sequences and control characters, each line cut.
fn harmless(text: &str) -> String {
    let lines = text.lines().map(|line| cut(&neutralise(line), MAX_LINE).into_owned());
    let is_character = |c: &char| !matches!(c, '\u{fffe}' | '\u{ffff}');
    lines.collect::<Vec<_>>().join("\n").chars().filter(is_character).collect()
}

/// One image's checks; none means that it could not be tried.
pub fn of_checks(image: &str, took: Duration, checks: &[SmokeCheck]) -> Suite {
    let untried =
        SmokeCheck::that("tried", false, "it was not built, or could not be run: the run's record says why");
    let all = if checks.is_empty() { std::slice::from_ref(&untried) } else { checks };
    let case = |check: &SmokeCheck| Case {
        name: check.name.clone(),
        took: None,
        end: match check.verdict {
            SmokeVerdict::Passed | SmokeVerdict::Warned => End::Passed,
            SmokeVerdict::Failed => End::Failed { message: check.detail.clone(), text: String::new() },
        },
        told: check.detail.clone(),
    };
    Suite { name: image.to_owned(), took, cases: all.iter().map(case).collect() }
}

/// A run's steps, phase by phase, with what needed nothing and what did not come to be done.
pub fn of_run(events: &[Event]) -> Vec<Suite> {
    let facts = Facts::of(&Material { events: events.to_vec(), ..Material::default() });
    let mut suites: Vec<Suite> = facts.phases().into_iter().map(|phase| of_phase(&facts, phase)).collect();
    if facts.summary.outcome == Some(Outcome::Failed) && !suites.iter().any(has_failure) {
        suites.push(of_whole(&facts.summary));
    }
    suites
}

fn has_failure(suite: &Suite) -> bool {
    suite.cases.iter().any(|case| matches!(case.end, End::Failed { .. }))
}

fn of_phase(facts: &Facts, phase: Phase) -> Suite {
    let mut cases = Vec::new();
    let (mut began, mut ended) = (u64::MAX, 0);
    for step in facts.steps.iter().filter(|step| step.phase == phase) {
        began = began.min(step.span.began);
        ended = ended.max(step.span.ended);
        let end = match step.state {
            State::Failed => failed(step),
            State::Cancelled => End::Skipped { why: cancelled(&step.detail) },
            State::Skipped | State::Untouched => End::Skipped { why: step.detail.clone() },
            State::Done | State::UpToDate => End::Passed,
        };
        let told = match &end {
            End::Passed => [step.why.as_str(), step.detail.as_str()].join("\n").trim().to_owned(),
            _ => step.why.clone(),
        };
        let took = Some(Duration::from_millis(step.span.ended - step.span.began));
        cases.push(Case { name: step.subject.clone(), took, end, told });
    }
    for skip in facts.skips.iter().filter(|skip| skip.phase == phase) {
        let end = match skip.state {
            State::UpToDate | State::Done => End::Passed,
            State::Failed => End::Failed { message: skip.why.clone(), text: phase.failure(&skip.subject) },
            State::Cancelled => End::Skipped { why: cancelled(&skip.why) },
            State::Skipped | State::Untouched => End::Skipped { why: skip.why.clone() },
        };
        let told = if end == End::Passed { skip.why.clone() } else { String::new() };
        cases.push(Case { name: skip.subject.clone(), took: Some(Duration::ZERO), end, told });
    }
    let took = Duration::from_millis(ended.saturating_sub(began.min(ended)));
    Suite { name: phase.name().to_owned(), took, cases }
}

fn cancelled(why: &str) -> String {
    if why.is_empty() { "cancelled".to_owned() } else { format!("cancelled: {why}") }
}

fn failed(step: &Step) -> End {
    let what = step.failure.as_ref().map(|failure| failure.what.clone());
    let mut lines = vec![what.unwrap_or_else(|| step.phase.failure(&step.subject))];
    lines.extend(step.detail.lines().map(str::to_owned));
    lines.extend(step.failure.iter().flat_map(|failure| &failure.hints).map(|hint| format!("hint: {hint}")));
    if !step.last_lines.is_empty() {
        lines.push("last lines:".to_owned());
        lines.extend(step.last_lines.iter().cloned());
    }
    lines.extend(step.log.iter().map(|log| format!("full log in {log}")));
    let message = step.detail.lines().next().unwrap_or_default().to_owned();
    End::Failed { message, text: lines.join("\n") }
}

/// A run that failed though none of its steps did: the engine went away, a setting was wrong.
fn of_whole(summary: &Summary) -> Suite {
    let name = summary.full_command();
    let message = match summary.exit_code {
        Some(code) => format!("failed with exit code {code}"),
        None => "failed".to_owned(),
    };
    let end = End::Failed { message, text: summary.sentence() };
    let took = Duration::from_millis(summary.took);
    let case = Case { name, took: Some(took), end, told: String::new() };
    Suite { name: "run".to_owned(), took, cases: vec![case] }
}

/// The report of a command that ended before its run began.
pub fn of_error(command: &str, failure: &Notice) -> String {
    let name = Summary { command: Some(command.to_owned()), ..Summary::default() }.full_command();
    let text = failure.lines(Colour::No).join("\n");
    let end = End::Failed { message: failure.what.clone(), text };
    let case = Case { name: name.clone(), took: Some(Duration::ZERO), end, told: String::new() };
    report(&name, &[Suite { name: "run".to_owned(), took: Duration::ZERO, cases: vec![case] }])
}

/// Writes the report of a run when it is over.
#[derive(Debug)]
pub struct JunitReport {
    file: PathBuf,
    events: Vec<Event>,
}

impl JunitReport {
    /// Writes to a file, and makes its folders.
    pub fn new(file: PathBuf) -> Self {
        Self { file, events: Vec::new() }
    }
}

impl Sink for JunitReport {
    fn name(&self) -> &'static str {
        "the JUnit report"
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        match &event.kind {
            EventKind::StepLog { .. } | EventKind::StepProgress { unit: Unit::Bytes, .. } => return Ok(()),
            _ => self.events.push(event.clone()),
        }
        if !matches!(event.kind, EventKind::RunFinished { .. }) {
            return Ok(());
        }
        let events = std::mem::take(&mut self.events);
        write(&self.file, &report(&Summary::of(&events).full_command(), &of_run(&events)))
    }
}

/// Writes a report beside its place, then renames it there.
///
/// # Errors
/// When that is not possible; the error names the file.
pub fn write(file: &Path, text: &str) -> io::Result<()> {
    let about =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot write {}: {error}", file.display()));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(about)?;
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(about)?;
    new.write_all(text.as_bytes()).map_err(about)?;
    allow_reading(new.as_file()).map_err(about)?;
    new.persist(file).map_err(|error| about(error.error))?;
    Ok(())
}

/// Others collect reports; temporary files are for their owner alone.
fn allow_reading(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests;
