//! Plain mode: one fact a line, greppable, for CI and for files; and quiet mode, which is plain mode with nothing but
//! warnings and failures.
//!
//! In: events. Out: lines on the writer, which is stderr; each line is written whole. It moves no cursor.

use std::io::{self, Write};
use std::time::Duration;

use super::resolve::{Colour, Display, Verbosity};
use super::running::{Running, retry_text};
use super::summary::{Summary, done_word};
use super::text::{Style, clock, neutralise, pad, paint, shorten_digests, size, took};
use crate::events::Sink;
use crate::model::{Event, EventKind, Outcome, Phase};

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
    last_line: u64,
    text: String,
}

impl<W: Write + Send> Plain<W> {
    /// Writes to a writer; `record` is the folder of the run's record.
    pub fn new(writer: W, display: Display, record: Option<String>) -> Self {
        Self {
            writer,
            display,
            record,
            summary: Summary::default(),
            running: Running::default(),
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
        self.text.push_str(&paint(colour, Style::Dim, &clock(at)));
        self.text.push(' ');
        self.text.push_str(&pad(label, 10));
        self.text.push(' ');
        self.text.push_str(&paint(colour, style, &padded));
        self.text.push_str(gap);
        self.text.push_str(rest);
        self.text.push('\n');
        self.last_line = at;
    }

    fn take_finished(&mut self, event: &Event, why: &str) {
        let EventKind::StepFinished { phase, subject, outcome, took: time, detail, size: bytes, log, .. } =
            &event.kind
        else {
            return;
        };
        let (at, label) = (event.elapsed, phase.name());
        let subject = neutralise(subject);
        let first = neutralise(detail.lines().next().unwrap_or_default()).into_owned();
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
                let is_file = matches!(phase, Phase::SyncConfig | Phase::Render);
                let fact = match (first.is_empty() || is_file, is_digest) {
                    (true, _) => format!("{} {subject}", done_word(*phase)),
                    (_, true) => format!("{} {subject}@{}", done_word(*phase), shorten_digests(&first)),
                    (_, false) => format!("{} {subject}  {}", done_word(*phase), shorten_digests(&first)),
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
        match &event.kind {
            EventKind::RunStarted { .. } => {
                let facts = started_facts(&event.kind);
                self.line(at, "started", (Style::Plain, &facts), "");
            }
            EventKind::PhaseStarted { .. } | EventKind::StepProgress { .. } => {}
            EventKind::PhaseFinished { phase, summary } => {
                let own = self.summary.phase_sentence(*phase);
                let sentence = if summary.is_empty() { own } else { neutralise(summary).into_owned() };
                if !sentence.is_empty() {
                    self.line(at, phase.name(), (Style::Plain, &sentence), "");
                }
            }
            EventKind::StepStarted { phase, subject, why, .. } => {
                if *phase == Phase::Build || self.shows(Verbosity::Verbose) {
                    let fact = format!("{} started", neutralise(subject));
                    self.line(at, phase.name(), (Style::Plain, &fact), &in_parentheses(&neutralise(why)));
                }
            }
            EventKind::StepLog { step, line, .. } => {
                if self.shows(Verbosity::Logs) {
                    let (label, subject) = self.name_of(step);
                    let fact = format!("{subject} | {}", neutralise(line));
                    self.line(at, label, (Style::Plain, &fact), "");
                }
            }
            EventKind::StepWarning { step, message } => {
                let message = neutralise(message);
                let fact = match step {
                    Some(step) => format!("{}: {message}", self.name_of(step).1),
                    None => message.into_owned(),
                };
                self.line(at, "warning", (Style::Warning, &fact), "");
            }
            EventKind::Announced { message } => {
                self.line(at, "bootstrap", (Style::Plain, &neutralise(message)), "");
            }
            EventKind::StepRetrying { step, attempt, delay, cause } => {
                let (label, subject) = self.name_of(step);
                let fact = format!("{subject} {}", retry_text(*attempt, *delay, cause));
                self.line(at, label, (Style::Warning, &fact), "");
            }
            EventKind::StepFinished { .. } => {
                let why = ended.map(|step| step.why).unwrap_or_default();
                self.take_finished(event, &why);
            }
            EventKind::StepSkipped { phase, subject, outcome, why } => {
                self.take_skipped(at, *phase, (subject, *outcome), why);
            }
            EventKind::CancelRequested { cause } => {
                let fact = in_parentheses(&neutralise(cause));
                self.line(at, "cancelling", (Style::Warning, &fact), "");
            }
            EventKind::RunFinished { .. } => {
                let sentence = self.summary.sentence();
                let style = ending_style(&self.summary);
                self.line(at, self.summary.ending(), (style, &sentence), "");
            }
        }
    }

    fn take_quiet(&mut self, event: &Event) {
        self.running.take(event);
        if let EventKind::StepWarning { step, message } = &event.kind {
            let label = paint(self.display.colour, Style::Warning, "warning:");
            let subject = step.as_ref().map(|step| format!("{}: ", self.name_of(step).1)).unwrap_or_default();
            self.text.push_str(&format!("{label} {subject}{}\n", neutralise(message)));
        }
    }

    fn name_of(&self, step: &crate::model::StepId) -> (&'static str, String) {
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
            for line in closing_lines(&self.summary, self.record.as_deref(), self.display.colour) {
                self.text.push_str(&line);
                self.text.push('\n');
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

/// `1 image`, `2 images`
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
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

/// Failures again, each with its cause, its log and what to do; then where the record is.
pub(super) fn closing_lines(summary: &Summary, record: Option<&str>, colour: Colour) -> Vec<String> {
    let tellings = summary.tellings();
    if tellings.is_empty() {
        return Vec::new();
    }
    let mut lines: Vec<_> = tellings.iter().flat_map(|telling| telling.lines(colour)).collect();
    lines.extend(record.map(|record| format!("record of this run: {record}")));
    lines
}

fn in_parentheses(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!("({why})") }
}

#[cfg(test)]
mod tests {
    use super::super::resolve::Mode;
    use super::super::testing::{Paper, Story, failing_story};
    use super::*;
    use crate::model::Unit;

    fn screen(events: &[Event], verbosity: Verbosity, colour: Colour) -> String {
        let paper = Paper::default();
        let mode = if verbosity == Verbosity::Quiet { Mode::Quiet } else { Mode::Plain };
        let display = Display { mode, colour, verbosity };
        let mut plain = Plain::new(paper.clone(), display, Some("target/xtask/runs/8d2".to_owned()));
        for event in events {
            plain.take(event).unwrap();
        }
        paper.text()
    }

    #[test]
    fn the_screen_of_a_failing_run() {
        insta::assert_snapshot!(screen(&failing_story(), Verbosity::Normal, Colour::No), @"
        00:00 started    14 images, 9 base images, engine docker 27.3, network external
        00:02 prefetch   alpine:3.20 try 1 failed, again in 2.0s (TLS handshake timeout)
        00:06 prefetch   pulled alpine:3.20@sha256:1e421e421e42  (not in the local store)
        00:06 prefetch   1 pulled
        00:09 build      api started            (source changed: src/api/Cargo.lock)
        00:09 build      frontend started       (not built yet)
        00:09 warning    api: base image debian:12-slim is a year old
        01:31 build      api built              82s  1.2 GB  sha256:9f0c9f0c9f0c
        01:33 build      frontend failed        `RUN npm ci` at src/frontend/Dockerfile:12 exited with status 1   log target/xtask/runs/8d2/logs/build-frontend.log
        01:33 build      shop skipped           (frontend failed)
        01:33 build      1 built, 1 up to date, 1 failed, 1 skipped
        01:33 failed     1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning
        error: cannot build image `frontend`
          caused by: `RUN npm ci` at src/frontend/Dockerfile:12 exited with status 1
          last lines:
            npm ERR! code ENOTFOUND
        hint: full log in target/xtask/runs/8d2/logs/build-frontend.log
        hint: `cargo xtask build frontend` tries again
        record of this run: target/xtask/runs/8d2
        ");
    }

    #[test]
    fn more_with_v_and_all_with_vv() {
        insta::assert_snapshot!(screen(&failing_story(), Verbosity::Logs, Colour::No), @"
        00:00 started    14 images, 9 base images, engine docker 27.3, network external
        00:00 prefetch   alpine:3.20 started    (not in the local store)
        00:02 prefetch   alpine:3.20 try 1 failed, again in 2.0s (TLS handshake timeout)
        00:06 prefetch   pulled alpine:3.20@sha256:1e421e421e42  (not in the local store)
        00:06 prefetch   1 pulled
        00:06 build      worker skipped         (up to date: 212 inputs unchanged)
        00:09 build      api started            (source changed: src/api/Cargo.lock)
        00:09 build      frontend started       (not built yet)
        00:09 build      frontend | npm ERR! code ENOTFOUND
        00:09 warning    api: base image debian:12-slim is a year old
        01:31 build      api built              82s  1.2 GB  sha256:9f0c9f0c9f0c
        01:33 build      frontend failed        `RUN npm ci` at src/frontend/Dockerfile:12 exited with status 1   log target/xtask/runs/8d2/logs/build-frontend.log
        01:33 build      shop skipped           (frontend failed)
        01:33 build      1 built, 1 up to date, 1 failed, 1 skipped
        01:33 failed     1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning
        error: cannot build image `frontend`
          caused by: `RUN npm ci` at src/frontend/Dockerfile:12 exited with status 1
          last lines:
            npm ERR! code ENOTFOUND
        hint: full log in target/xtask/runs/8d2/logs/build-frontend.log
        hint: `cargo xtask build frontend` tries again
        record of this run: target/xtask/runs/8d2
        ");
    }

    #[test]
    fn quiet_is_warnings_and_failures() {
        insta::assert_snapshot!(screen(&failing_story(), Verbosity::Quiet, Colour::No), @"
        warning: api: base image debian:12-slim is a year old
        error: cannot build image `frontend`
          caused by: `RUN npm ci` at src/frontend/Dockerfile:12 exited with status 1
          last lines:
            npm ERR! code ENOTFOUND
        hint: full log in target/xtask/runs/8d2/logs/build-frontend.log
        hint: `cargo xtask build frontend` tries again
        record of this run: target/xtask/runs/8d2
        ");
    }

    #[test]
    fn a_no_op_of_a_hundred_images_is_short() {
        let mut story = Story::new();
        story.begin(100, 1).phase(Phase::Prefetch, 1, 0, 1);
        story.skip(Phase::Prefetch, "debian:12-slim", Outcome::UpToDate, "already here");
        story.phase_end(Phase::Prefetch).phase(Phase::Alias, 2, 0, 0).phase_end(Phase::Alias);
        story.phase(Phase::Build, 5, 0, 100);
        for n in 0..100 {
            story.skip(Phase::Build, &format!("s{n}"), Outcome::UpToDate, "up to date: 51 inputs unchanged");
        }
        story.phase_end(Phase::Build).end(Outcome::UpToDate, 0);
        insta::assert_snapshot!(screen(&story.events, Verbosity::Normal, Colour::No), @"
        00:00 started    100 images, 1 base image, engine docker 27.3, network external
        00:00 prefetch   1 already here
        00:00 build      100 up to date
        00:00 finished   nothing to do, 101 up to date
        ");
        assert_eq!(screen(&story.events, Verbosity::Quiet, Colour::No), "");
    }

    #[test]
    fn cancelled_runs_say_what_was_done() {
        let mut story = Story::new();
        story.begin(2, 1).phase(Phase::Build, 5, 2, 0).start(Phase::Build, "api", "not built yet");
        story.at(3).tell(EventKind::CancelRequested { cause: "Ctrl-C".to_owned() });
        story.tell(EventKind::StepFinished {
            step: crate::model::StepId::new(Phase::Build, "api"),
            phase: Phase::Build,
            subject: "api".to_owned(),
            outcome: Outcome::Cancelled,
            took: 3000,
            detail: String::new(),
            size: None,
            last_lines: Vec::new(),
            log: None,
        });
        story
            .skip(Phase::Build, "web", Outcome::Cancelled, "the run was stopped")
            .end(Outcome::Cancelled, 130);
        insta::assert_snapshot!(screen(&story.events, Verbosity::Normal, Colour::No), @"
        00:00 started    2 images, 1 base image, engine docker 27.3, network external
        00:00 build      api started            (not built yet)
        00:03 cancelling (Ctrl-C)
        00:03 build      api cancelled
        00:03 build      web cancelled          (the run was stopped)
        00:03 cancelled  2 cancelled
        ");
    }

    #[test]
    fn hostile_texts_reach_no_terminal() {
        let evil = "\x1b]0;owned\x07\x1b[2Jx\u{202e}y\rz\nw";
        let mut story = Story::new();
        story.begin(1, 1).phase(Phase::Build, 1, 1, 0).start(Phase::Build, evil, evil);
        story.log(Phase::Build, evil, evil).retry(Phase::Build, evil, evil).warn(None, evil);
        story.progress(Phase::Build, evil, (1, 2, Unit::Steps), evil);
        story.fail(Phase::Build, evil, evil, &[evil]).skip(Phase::Build, evil, Outcome::Skipped, evil);
        story.tell(EventKind::PhaseFinished { phase: Phase::Build, summary: evil.to_owned() });
        story.tell(EventKind::CancelRequested { cause: evil.to_owned() }).end(Outcome::Failed, 3);
        for verbosity in [Verbosity::Quiet, Verbosity::Logs] {
            let text = screen(&story.events, verbosity, Colour::No);
            let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.chars().any(is_bad), "{text:?}");
        }
    }

    #[test]
    fn colour_carries_nothing_alone() {
        let coloured = screen(&failing_story(), Verbosity::Logs, Colour::Yes);
        assert!(coloured.contains("\x1b[1;31m"));
        let stripped: String = coloured.lines().map(|line| format!("{}\n", neutralise(line))).collect();
        assert_eq!(stripped, screen(&failing_story(), Verbosity::Logs, Colour::No));
    }

    #[test]
    fn a_long_silence_names_what_runs() {
        let paper = Paper::default();
        let display = Display { mode: Mode::Plain, colour: Colour::No, verbosity: Verbosity::Normal };
        let mut plain = Plain::new(paper.clone(), display, None);
        let mut story = Story::new();
        story.start(Phase::Build, "api", "not built yet");
        story.progress(Phase::Build, "api", (12, 17, Unit::Steps), "RUN make");
        for event in &story.events {
            plain.take(event).unwrap();
        }
        for seconds in [59, 60, 61, 119, 120] {
            plain.tick(Duration::from_secs(seconds)).unwrap();
        }
        insta::assert_snapshot!(paper.text(), @"
        00:00 build      api started            (not built yet)
        01:00 build      api running            12/17 RUN make
        02:00 build      api running            12/17 RUN make
        ");
    }
}
