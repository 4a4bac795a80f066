//! What a terminal shows at one moment, as lines. Pure: [`Screen`] folds events, [`frame`] draws; `tty.rs` only puts
//! the lines on the terminal.
//!
//! Lines that will not change any more (finished phases, failures, warnings) settle and scroll away; the frame below
//! them holds one bar a phase and the running steps, at most [`MAX_STEPS`].

use super::plain::{closing_lines, counted, ending_style};
use super::resolve::{Colour, Display, Verbosity};
use super::running::{Running, RunningStep};
use super::summary::Summary;
use super::text::{Style, clock, cut, neutralise, pad, paint, shorten_digests, size, took, width};
use crate::model::{Event, EventKind, Outcome, Phase};

/// At most so many running steps are shown.
pub const MAX_STEPS: usize = 8;
/// Times stand in this column at most: on a wide terminal the eye must not lose the line.
const RIGHT_EDGE: usize = 88;
/// How long a bar is where there is room.
const BAR: usize = 30;

/// The state of a terminal's screen.
#[derive(Clone, Debug)]
pub struct Screen {
    display: Display,
    record: Option<String>,
    summary: Summary,
    running: Running,
    phases: Vec<PhaseState>,
    settled: Vec<Line>,
}

#[derive(Clone, Debug)]
struct PhaseState {
    phase: Phase,
    position: usize,
    of: usize,
    total: usize,
}

/// One line before it knows how wide the terminal is.
#[derive(Clone, Debug)]
enum Line {
    /// Cut to the width, with a time at the right.
    Row { left: Vec<(Style, String)>, right: String },
    /// Whole, whatever its length: the terminal wraps it.
    Text(String),
}

impl Screen {
    /// Nothing happened yet; `record` is the folder of the run's record.
    pub fn new(display: Display, record: Option<String>) -> Self {
        Self {
            display,
            record,
            summary: Summary::default(),
            running: Running::default(),
            phases: Vec::new(),
            settled: Vec::new(),
        }
    }

    /// One event further.
    pub fn take(&mut self, event: &Event) {
        self.summary.take(event);
        let ended = self.running.take(event);
        let at = event.elapsed;
        match &event.kind {
            EventKind::RunStarted { .. } => self.settle_start(&event.kind),
            EventKind::PhaseStarted { phase, position, of, steps, skipped } => {
                let (phase, position, of) = (*phase, *position, *of);
                self.phases.push(PhaseState { phase, position, of, total: steps + skipped });
            }
            EventKind::PhaseFinished { phase, summary } => self.settle_phase(*phase, summary, at),
            EventKind::StepStarted { .. }
            | EventKind::StepProgress { .. }
            | EventKind::StepPart { .. }
            | EventKind::StepRetrying { .. }
            | EventKind::Error { .. } => {}
            EventKind::StepLog { step, line, .. } => {
                if self.display.verbosity >= Verbosity::Logs {
                    let text = format!("             {} | {}", self.subject_of(step), neutralise(line));
                    self.settled.push(Line::Text(text));
                }
            }
            EventKind::StepWarning { step, message } => {
                let subject =
                    step.as_ref().map(|step| format!("{}: ", self.subject_of(step))).unwrap_or_default();
                let label = self.paint(Style::Warning, "warning:");
                self.settled.push(Line::Text(format!("  {label} {subject}{}", neutralise(message))));
            }
            EventKind::Announced { message } => {
                self.settled.push(Line::Text(format!("  {}", neutralise(message))));
            }
            EventKind::StepFinished { .. } => self.settle_step(event, ended.as_ref()),
            EventKind::StepSkipped { subject, outcome, why, .. } => {
                if *outcome != Outcome::UpToDate || self.display.verbosity >= Verbosity::Verbose {
                    let word = if *outcome == Outcome::UpToDate { Outcome::Skipped } else { *outcome };
                    let subject = pad(&neutralise(subject), 12);
                    let text = format!("             {subject} {word} ({})", neutralise(why));
                    self.settled.push(Line::Text(text));
                }
            }
            EventKind::CancelRequested { cause } => {
                let label = self.paint(Style::Warning, "Cancelling");
                self.settled.push(Line::Text(format!("  {label} ({})", neutralise(cause))));
            }
            EventKind::RunFinished { .. } => self.settle_end(at),
        }
    }

    /// The lines that settled since the last call.
    pub fn take_settled(&mut self, columns: usize) -> Vec<String> {
        let colour = self.display.colour;
        self.settled.drain(..).map(|line| line.fit(columns, colour)).collect()
    }

    /// Whether lines wait to be put above the frame.
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    fn settle_start(&mut self, kind: &EventKind) {
        let EventKind::RunStarted { images, base_images, network, .. } = kind else { return };
        if *images + *base_images == 0 {
            return;
        }
        let mut text = format!(
            "  Discovered {}, {}",
            counted(*images, "image"),
            counted(*base_images, "external base image")
        );
        if let Some(network) = network {
            text.push_str(&format!(", network {}", neutralise(network)));
        }
        self.settled.push(Line::Text(text));
    }

    fn settle_phase(&mut self, phase: Phase, summary: &str, at: u64) {
        let Some(index) = self.phases.iter().position(|state| state.phase == phase) else { return };
        let state = self.phases.remove(index);
        let own = self.summary.phase_sentence(phase);
        let sentence = if summary.is_empty() { own } else { neutralise(summary).into_owned() };
        let done = self.done_of(phase).min(state.total);
        let count = if state.total == 0 { String::new() } else { format!("{done}/{}   ", state.total) };
        let style = if self.failed_of(phase) > 0 { Style::Bad } else { Style::Bold };
        let left = vec![
            (Style::Dim, position(&state)),
            (style, format!("{} ", phase.title())),
            (Style::Plain, format!("{count}{sentence}")),
        ];
        self.settled.push(Line::Row { left, right: clock(at) });
    }

    fn settle_step(&mut self, event: &Event, ended: Option<&RunningStep>) {
        let EventKind::StepFinished {
            phase,
            subject,
            outcome,
            took: time,
            detail,
            size: bytes,
            last_lines,
            log,
            ..
        } = &event.kind
        else {
            return;
        };
        let subject = neutralise(subject);
        let first = neutralise(detail.lines().next().unwrap_or_default());
        let head = |style| (style, format!("             {} ", pad(&subject, 12)));
        match outcome {
            Outcome::Failed => {
                let failed =
                    vec![head(Style::Bad), (Style::Bad, "failed ".to_owned()), (Style::Plain, first.into())];
                self.settled.push(Line::Row { left: failed, right: clock(event.elapsed) });
                for line in last_lines {
                    self.settled.push(Line::Text(format!("               {}", neutralise(line))));
                }
                if let Some(log) = log {
                    self.settled.push(Line::Text(format!("               log {}", neutralise(log))));
                }
            }
            Outcome::Done if self.display.verbosity >= Verbosity::Verbose => {
                let mut facts = vec![phase.done().to_owned(), took(*time)];
                facts.extend(bytes.map(size));
                facts.extend((!first.is_empty()).then(|| shorten_digests(&first).into_owned()));
                facts.extend(ended.map(|step| format!("({})", step.why)));
                let left = vec![head(Style::Plain), (Style::Plain, facts.join("  "))];
                self.settled.push(Line::Row { left, right: clock(event.elapsed) });
            }
            Outcome::Cancelled => {
                let left = vec![head(Style::Warning), (Style::Warning, "cancelled".to_owned())];
                self.settled.push(Line::Row { left, right: clock(event.elapsed) });
            }
            Outcome::Done | Outcome::UpToDate | Outcome::Skipped => {}
        }
    }

    fn settle_end(&mut self, at: u64) {
        self.phases.clear();
        let ending = self.summary.ending();
        let mut letters = ending.chars();
        let title: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        let left = vec![
            (ending_style(&self.summary), format!("  {title} ")),
            (Style::Plain, self.summary.sentence()),
        ];
        self.settled.push(Line::Row { left, right: clock(at) });
        let closing = closing_lines(&self.summary, self.record.as_deref(), self.display);
        self.settled.extend(closing.into_iter().map(Line::Text));
    }

    fn done_of(&self, phase: Phase) -> usize {
        let totals = self.summary.phases.get(&phase);
        totals.map_or(0, |t| t.done + t.up_to_date + t.skipped + t.failed + t.cancelled)
    }

    fn failed_of(&self, phase: Phase) -> usize {
        self.summary.phases.get(&phase).map_or(0, |totals| totals.failed)
    }

    fn subject_of(&self, step: &crate::model::StepId) -> String {
        match self.running.find(step) {
            Some(step) => step.subject.clone(),
            None => neutralise(step.as_str()).into_owned(),
        }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        paint(self.display.colour, style, text).into_owned()
    }
}

/// The part of the screen that still changes, for a terminal of so many columns, at a moment of the run (in
/// milliseconds). No line is longer than the terminal is wide.
pub fn frame(screen: &Screen, columns: usize, now: u64) -> Vec<String> {
    let colour = screen.display.colour;
    let mut lines = Vec::new();
    let mut room = MAX_STEPS;
    for state in &screen.phases {
        let steps = || screen.running.steps().iter().filter(|step| step.phase == state.phase);
        let count = steps().count();
        lines.push(bar_line(screen, state, count, columns, now).fit(columns, colour));
        let shown = count.min(room);
        room -= shown;
        lines.extend(steps().take(shown).map(|step| step_line(step, now).fit(columns, colour)));
        if shown < count {
            let left = vec![(Style::Dim, format!("             ... and {} more", count - shown))];
            lines.push(Line::Row { left, right: String::new() }.fit(columns, colour));
        }
    }
    lines
}

fn bar_line(screen: &Screen, state: &PhaseState, running: usize, columns: usize, now: u64) -> Line {
    let total = state.total;
    let done = screen.done_of(state.phase).min(total);
    let digits = total.to_string().len();
    let count = format!(" {done:>digits$}/{total}");
    let mut tail = String::new();
    if running > 0 {
        tail.push_str(&format!("   {running} running"));
    }
    let failed = screen.failed_of(state.phase);
    let mut left = vec![(Style::Dim, position(state)), (Style::Bold, format!("{} ", state.phase.title()))];
    let taken = 8 + state.phase.title().len() + 1 + 2 + count.len() + tail.len() + 7;
    let room = edge(columns).saturating_sub(taken).min(BAR);
    if room >= 6 {
        left.push((Style::Good, format!("[{}]", bar(done, total, room))));
    }
    left.push((Style::Plain, count));
    left.push((Style::Plain, tail));
    if failed > 0 {
        left.push((Style::Bad, format!("   {failed} failed")));
    }
    Line::Row { left, right: clock(now) }
}

fn step_line(step: &RunningStep, now: u64) -> Line {
    let mut left = vec![(Style::Plain, format!("             {} ", pad(&step.subject, 12)))];
    if !step.count.is_empty() {
        left.push((Style::Plain, format!("{} ", step.count)));
    }
    left.push((Style::Dim, step.detail.clone()));
    Line::Row { left, right: clock(now.saturating_sub(step.since)) }
}

/// `=================>            `
fn bar(done: usize, total: usize, columns: usize) -> String {
    let filled = (done * columns).checked_div(total).unwrap_or(columns);
    if filled >= columns {
        return "=".repeat(columns);
    }
    format!("{}>{}", "=".repeat(filled), " ".repeat(columns - filled - 1))
}

fn position(state: &PhaseState) -> String {
    pad(&format!("  {}/{}", state.position, state.of), 8)
}

/// The last column that lines use. The terminal's very last one stays free: some terminals wrap there.
fn edge(columns: usize) -> usize {
    columns.saturating_sub(1).min(RIGHT_EDGE)
}

impl Line {
    fn fit(self, columns: usize, colour: Colour) -> String {
        let (left, right) = match self {
            Self::Text(text) => return text,
            Self::Row { left, right } => (left, right),
        };
        let edge = edge(columns);
        // A terminal too narrow for a time does without.
        let right = if width(&right) + 12 > edge { String::new() } else { right };
        let reserved = if right.is_empty() { 0 } else { width(&right) + 1 };
        let mut room = edge.saturating_sub(reserved);
        let mut text = String::new();
        for (style, part) in &left {
            let part = cut(part, room);
            room -= width(&part);
            text.push_str(&paint(colour, *style, &part));
        }
        if !right.is_empty() {
            text.push_str(&" ".repeat(room + 1));
            text.push_str(&paint(colour, Style::Dim, &right));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests;
