//! Plain mode: one fact a line, greppable, for CI and for files; and quiet mode, which is plain mode with nothing but
//! warnings and failures.
//!
//! In: events. Out: lines on the writer, which is stderr; each line is written whole. It moves no cursor.

use std::io::{self, Write};
use std::time::Duration;

use super::gitlab::Fold;
use super::line::for_log;
use super::places::Places;
use super::resolve::{Display, Forge, Table, Verbosity};
use super::running::{Running, retry_text};
use super::summary::Summary;
use super::text::{Style, clock, neutralise, pad, paint, shorten_digests, size, took};
use super::transcript::{Transcript, Transcripts};
use super::{github, gitlab};
use crate::events::Sink;
use crate::events::excerpt;
use crate::model::{Event, EventKind, Outcome, Phase, StepId, counted};

/// After so long without a line, the running steps are named: some CI systems stop what is silent.
const HEARTBEAT: u64 = 60_000;
/// At most so many in one heartbeat.
const HEARTBEAT_STEPS: usize = 8;

/// Writes lines.
#[derive(Debug)]
pub struct Plain<W> {
    writer: W,
    display: Display,
    /// Where the run's record lies, to be named when something failed.
    record: Option<String>,
    summary: Summary,
    running: Running,
    /// Where lines are folded: what running steps printed.
    transcripts: Transcripts,
    places: Places,
    last_line: u64,
    text: String,
}

impl<W: Write + Send> Plain<W> {
    /// Writes to a writer; `record` is the folder of the run's record, `places` where annotations belong.
    pub fn new(writer: W, display: Display, record: Option<String>, places: Places) -> Self {
        Self {
            writer,
            display,
            record,
            summary: Summary::default(),
            running: Running::default(),
            transcripts: Transcripts::default(),
            places,
            last_line: 0,
            text: String::new(),
        }
    }

    fn shows(&self, verbosity: Verbosity) -> bool {
        self.display.verbosity >= verbosity
    }

    /// `01:31 build      api built              82s  1.2 GB`
    fn line(&mut self, at: u64, label: &str, (style, fact): (Style, &str), rest: &str) {
        let colour = self.display.colour;
        let gap = if rest.is_empty() { "" } else { " " };
        let fact_columns = if rest.is_empty() { 0 } else { 22 };
        let padded = pad(fact, fact_columns);
        let gap = if padded.len() == fact.len() && !rest.is_empty() { "  " } else { gap };
        let (at_text, fact) = (clock(at), paint(colour, style, &padded));
        let time = paint(colour, Style::Dim, &at_text);
        self.push(&format!("{time} {} {fact}{gap}{rest}", pad(label, 10)));
        self.last_line = at;
    }

    /// A line that nobody takes for more.
    fn push(&mut self, line: &str) {
        for line in for_log(line) {
            self.text.push_str(&self.display.forge.harmless(&line));
            self.text.push('\n');
        }
    }

    /// A line that whoever keeps this log takes for a command.
    fn command(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// What a step printed, in one piece that folds, where such logs are.
    fn fold(&mut self, event: &Event, transcript: &Transcript) {
        let EventKind::StepFinished { step, phase, subject, outcome, took: time, log, .. } = &event.kind
        else {
            return;
        };
        let ended = match outcome {
            Outcome::Done => format!("{} in {}", phase.done(), took(*time)),
            outcome => format!("{outcome} after {}", took(*time)),
        };
        let heading = format!("{} {ended}", neutralise(subject));
        let name = step.as_str();
        match self.display.forge {
            Forge::Nobody => return,
            Forge::GitHub => self.command(&github::group(&heading)),
            Forge::GitLab => {
                let began = began(event, *time);
                let fold = if *outcome == Outcome::Failed { Fold::Open } else { Fold::Closed };
                self.command(&gitlab::section_start(name, &began, fold, &heading));
            }
        }
        if transcript.before > 0 {
            let place = log.as_ref().map(|log| format!(": {}", neutralise(log))).unwrap_or_default();
            self.push(&format!("... {} before these{place}", counted(transcript.before, "line")));
        }
        for line in &transcript.lines {
            self.push(line);
        }
        match self.display.forge {
            Forge::GitLab => self.command(&gitlab::section_end(name, &event.at)),
            _ => self.command(github::END_GROUP),
        }
    }

    fn take_finished(&mut self, event: &Event, why: &str) {
        let EventKind::StepFinished { phase, subject, outcome, took: time, size: bytes, log, .. } =
            &event.kind
        else {
            return;
        };
        let (at, label) = (event.elapsed, phase.name());
        let subject = neutralise(subject);
        let first = first_words(&event.kind);
        match outcome {
            Outcome::Done if *phase == Phase::Build => {
                let mut rest = vec![took(*time)];
                rest.extend(bytes.map(size));
                rest.extend((!first.is_empty()).then(|| shorten_digests(&first).into_owned()));
                self.line(at, label, (Style::Good, &format!("{subject} built")), &rest.join("  "));
            }
            // That an image is as planned is worth a line of its own only to those who ask for more.
            Outcome::Done if *phase == Phase::Verify && !self.shows(Verbosity::Verbose) => {}
            Outcome::Done => {
                let is_digest = first.starts_with("sha256:") && !subject.contains('@');
                // What came of a file is that it is written, which the verb says.
                let is_file = matches!(phase, Phase::Init | Phase::SyncConfig | Phase::Render | Phase::Bump);
                let fact = match (first.is_empty() || is_file, is_digest) {
                    (true, _) => format!("{} {subject}", phase.done()),
                    (_, true) => format!("{} {subject}@{}", phase.done(), shorten_digests(&first)),
                    (_, false) => format!("{} {subject}  {}", phase.done(), shorten_digests(&first)),
                };
                self.line(at, label, (Style::Plain, &fact), &in_parentheses(why));
            }
            Outcome::UpToDate | Outcome::Skipped => {
                self.take_skipped(at, *phase, (&subject, *outcome), &first)
            }
            Outcome::Failed => {
                let log = log.as_ref().map(|log| format!("log {}", neutralise(log)));
                let rest: Vec<_> =
                    Some(first).into_iter().filter(|text| !text.is_empty()).chain(log).collect();
                self.line(at, label, (Style::Bad, &format!("{subject} failed")), &rest.join("   "));
            }
            Outcome::Cancelled => self.line(
                at,
                label,
                (Style::Warning, &format!("{subject} cancelled")),
                &in_parentheses(&first),
            ),
        }
    }

    fn take_skipped(&mut self, at: u64, phase: Phase, (subject, outcome): (&str, Outcome), why: &str) {
        let (style, word) = match outcome {
            Outcome::UpToDate | Outcome::Done if !self.shows(Verbosity::Verbose) => return,
            Outcome::UpToDate | Outcome::Done => (Style::Plain, "skipped"),
            Outcome::Skipped => (Style::Warning, "skipped"),
            Outcome::Cancelled => (Style::Warning, "cancelled"),
            Outcome::Failed => (Style::Bad, "failed"),
        };
        let fact = format!("{} {word}", neutralise(subject));
        self.line(at, phase.name(), (style, &fact), &in_parentheses(&neutralise(why)));
    }

    fn take_normal(&mut self, event: &Event) {
        let at = event.elapsed;
        let ended = self.running.take(event);
        let transcript = match self.display.forge {
            Forge::Nobody => None,
            Forge::GitHub | Forge::GitLab => self.transcripts.take(event),
        };
        match &event.kind {
            EventKind::RunStarted { .. } => {
                let facts = started_facts(&event.kind);
                self.line(at, "started", (Style::Plain, &facts), "");
            }
            EventKind::PhaseStarted { .. } | EventKind::StepProgress { .. } | EventKind::Error { .. } => {}
            EventKind::PhaseFinished { phase, summary } => {
                self.take_phase_end(at, *phase, summary);
            }
            EventKind::Announced { message } => {
                self.line(at, "bootstrap", (Style::Plain, &neutralise(message)), "");
            }
            EventKind::StepStarted { .. }
            | EventKind::StepLog { .. }
            | EventKind::StepPart { .. }
            | EventKind::StepWarning { .. }
            | EventKind::StepRetrying { .. } => self.take_step(event),
            EventKind::StepFinished { .. } => {
                if let Some(transcript) = transcript {
                    self.fold(event, &transcript);
                }
                let why = ended.map(|step| step.why).unwrap_or_default();
                self.take_finished(event, &why);
            }
            EventKind::StepSkipped { phase, subject, outcome, why, .. } => {
                self.take_skipped(at, *phase, (subject, *outcome), why);
            }
            EventKind::CancelRequested { cause } => {
                let fact = in_parentheses(&neutralise(cause));
                self.line(at, "cancelling", (Style::Warning, &fact), "");
            }
            EventKind::RunFinished { .. } => {
                let (sentence, style) = (self.summary.sentence(), ending_style(&self.summary));
                self.line(at, self.summary.ending(), (style, &sentence), "");
            }
        }
    }

    /// What happens in a step before it ends.
    fn take_step(&mut self, event: &Event) {
        let at = event.elapsed;
        match &event.kind {
            EventKind::StepStarted { phase, subject, why, .. }
                if *phase == Phase::Build || self.shows(Verbosity::Verbose) =>
            {
                let fact = format!("{} started", neutralise(subject));
                self.line(at, phase.name(), (Style::Plain, &fact), &in_parentheses(&neutralise(why)));
            }
            EventKind::StepLog { step, line, .. }
                if self.shows(Verbosity::Logs) && self.display.forge == Forge::Nobody =>
            {
                let said = format!("| {}", neutralise(line));
                self.step_line(at, step, (Style::Plain, &said), "");
            }
            EventKind::StepPart { step, part, took: time, cached, failed, .. }
                if self.shows(Verbosity::Verbose) =>
            {
                let rest = match (cached, failed) {
                    (_, true) => format!("{} failed", took(*time)),
                    (true, false) => "cached".to_owned(),
                    (false, false) => took(*time),
                };
                self.step_line(at, step, (Style::Plain, &neutralise(part)), &rest);
            }
            EventKind::StepWarning { step, message } => {
                let message = neutralise(message);
                let fact = match step {
                    Some(step) => format!("{}: {message}", self.name_of(step).1),
                    None => message.into_owned(),
                };
                self.line(at, "warning", (Style::Warning, &fact), "");
            }
            EventKind::StepRetrying { step, attempt, delay, cause } => {
                let said = retry_text(*attempt, *delay, cause);
                self.step_line(at, step, (Style::Warning, &said), "");
            }
            _ => {}
        }
    }

    fn take_phase_end(&mut self, at: u64, phase: Phase, summary: &str) {
        let own = self.summary.phase_sentence(phase);
        let sentence = if summary.is_empty() { own } else { neutralise(summary).into_owned() };
        if !sentence.is_empty() {
            self.line(at, phase.name(), (Style::Plain, &sentence), "");
        }
    }

    /// A line about a step that runs.
    fn step_line(&mut self, at: u64, step: &StepId, (style, said): (Style, &str), rest: &str) {
        let (label, subject) = self.name_of(step);
        self.line(at, label, (style, &format!("{subject} {said}")), rest);
    }

    fn take_quiet(&mut self, event: &Event) {
        self.running.take(event);
        if let EventKind::StepWarning { step, message } = &event.kind {
            let label = paint(self.display.colour, Style::Warning, "warning:");
            let subject = step.as_ref().map(|step| format!("{}: ", self.name_of(step).1)).unwrap_or_default();
            self.push(&format!("{label} {subject}{}", neutralise(message)));
        }
    }

    fn name_of(&self, step: &StepId) -> (&'static str, String) {
        match self.running.find(step) {
            Some(step) => (step.phase.name(), step.subject.clone()),
            None => ("", neutralise(step.as_str()).into_owned()),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let written = self.writer.write_all(self.text.as_bytes()).and_then(|()| self.writer.flush());
        self.text.clear();
        written
    }
}

impl<W: Write + Send> Sink for Plain<W> {
    fn name(&self) -> &'static str {
        "the progress on stderr"
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        self.summary.take(event);
        if self.shows(Verbosity::Normal) {
            self.take_normal(event);
        } else {
            self.take_quiet(event);
        }
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            if self.display.forge == Forge::GitHub {
                for line in github::annotations(&self.summary, &self.places) {
                    self.command(&line);
                }
            }
            for line in closing_lines(&self.summary, self.record.as_deref(), self.display) {
                self.push(&line);
            }
        }
        if self.text.is_empty() { Ok(()) } else { self.write() }
    }

    fn tick(&mut self, elapsed: Duration) -> io::Result<()> {
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if !self.shows(Verbosity::Normal) || now < self.last_line + HEARTBEAT {
            return Ok(());
        }
        let steps: Vec<_> = self.running.steps().iter().take(HEARTBEAT_STEPS).cloned().collect();
        for step in steps {
            let rest = [step.count.trim(), step.detail.as_str()].join(" ");
            let fact = format!("{} running", step.subject);
            self.line(now, step.phase.name(), (Style::Plain, &fact), rest.trim());
        }
        self.last_line = now;
        if self.text.is_empty() { Ok(()) } else { self.write() }
    }
}

/// `14 images, 9 base images, engine docker 27.3, network external`
fn started_facts(kind: &EventKind) -> String {
    let EventKind::RunStarted { command, images, base_images, engine, network, .. } = kind else {
        return String::new();
    };
    let mut facts = Vec::new();
    if *images + *base_images > 0 {
        facts.push(counted(*images, "image"));
        facts.push(counted(*base_images, "base image"));
    }
    facts.extend(engine.as_ref().map(|engine| format!("engine {engine}")));
    facts.extend(network.as_ref().map(|network| format!("network {network}")));
    if facts.is_empty() {
        facts.push(command.clone());
    }
    neutralise(&facts.join(", ")).into_owned()
}

/// What a step's end is told with when it comes, harmless: what came of it, or why it failed. Of an instruction that is its
/// place and the first line that names an error; what is told of it at the end of the run has the rest.
pub(super) fn first_words(ended: &EventKind) -> String {
    let EventKind::StepFinished { detail, last_lines, place, .. } = ended else { return String::new() };
    let told = match (place, last_lines.iter().find(|line| excerpt::tells(line))) {
        (Some(place), Some(line)) => format!("{place}: {}", line.trim()),
        (Some(place), None) => place.clone(),
        (None, _) => detail.lines().next().unwrap_or_default().to_owned(),
    };
    neutralise(&told).into_owned()
}

/// When a step that ends with this event began, RFC 3339.
fn began(event: &Event, took: u64) -> String {
    let took = chrono::Duration::milliseconds(i64::try_from(took).unwrap_or(i64::MAX));
    let began =
        chrono::DateTime::parse_from_rfc3339(&event.at).ok().and_then(|at| at.checked_sub_signed(took));
    began.map_or_else(|| event.at.clone(), |at| at.to_rfc3339())
}

/// How the last line is coloured.
pub(super) fn ending_style(summary: &Summary) -> Style {
    match summary.outcome {
        Some(Outcome::Failed) => Style::Bad,
        Some(Outcome::Cancelled) => Style::Warning,
        _ if summary.failures.is_empty() => Style::Good,
        _ => Style::Warning,
    }
}

/// The images, where they are asked for; failures again, each with its cause, its log and what to do; then where the
/// record is.
pub(super) fn closing_lines(summary: &Summary, record: Option<&str>, display: Display) -> Vec<String> {
    let is_shown = display.table == Table::Shown && display.verbosity != Verbosity::Quiet;
    let mut lines = if is_shown { summary.images.lines() } else { Vec::new() };
    let tellings = summary.tellings();
    if tellings.is_empty() {
        return lines;
    }
    lines.extend(tellings.iter().flat_map(|telling| telling.lines(display.colour)));
    lines.extend(record.map(|record| format!("report of this run: {record}/{}", super::html::PAGE)));
    lines
}

fn in_parentheses(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!("({why})") }
}

#[cfg(test)]
mod tests;
