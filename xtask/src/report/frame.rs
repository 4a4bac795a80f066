//! What a terminal shows at one moment, as lines. Pure: [`Screen`] folds events, [`frame`] draws; `tty.rs` only puts
//! the lines on the terminal.
//!
//! Lines that will not change any more (finished phases, failures, warnings) settle and scroll away; the frame below
//! them holds one bar a phase and the running steps, at most [`MAX_STEPS`], and never more than the terminal is high.

use super::estimate::{BuildTimes, Estimate, rough};
use super::line::{Line, NAME, edge, indent};
use super::plain::{closing_lines, ending_style, first_words};
use super::resolve::{Colour, Display, Verbosity};
use super::running::{Running, RunningStep};
use super::summary::Summary;
use super::text::{Style, clock, cut, cut_name, neutralise, pad, paint, shorten_digests, size, took, width};
use crate::model::{Event, EventKind, Outcome, Phase, StepId, counted};

/// At most so many running steps are shown.
pub const MAX_STEPS: usize = 8;
/// How long a bar is where there is room.
const BAR: usize = 30;
/// Narrower ones are not told what is left of each step: what runs is more to know.
const ROOMY: usize = 76;

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// The state of a terminal's screen.
#[derive(Clone, Debug)]
pub struct Screen {
    display: Display,
    record: Option<String>,
    summary: Summary,
    running: Running,
    estimate: Estimate,
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

impl Screen {
    /// Nothing happened yet; `record` is the folder of the run's record.
    pub fn new(display: Display, record: Option<String>) -> Self {
        Self {
            display,
            record,
            summary: Summary::default(),
            running: Running::default(),
            estimate: Estimate::default(),
            phases: Vec::new(),
            settled: Vec::new(),
        }
    }

    /// One event further.
    pub fn take(&mut self, event: &Event) {
        self.summary.take(event);
        self.estimate.take(event);
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
                let text = format!("{subject}{}", neutralise(message));
                self.settled.push(Line::sentence((Style::Warning, "warning:"), &text));
            }
            EventKind::Announced { message } => {
                self.settled.push(Line::sentence((Style::Plain, ""), &neutralise(message)));
            }
            EventKind::StepFinished { .. } => self.settle_step(event, ended.as_ref()),
            EventKind::StepSkipped { subject, outcome, why, .. } => {
                if *outcome != Outcome::UpToDate || self.display.verbosity >= Verbosity::Verbose {
                    let word = if *outcome == Outcome::UpToDate { Outcome::Skipped } else { *outcome };
                    let subject = pad(&neutralise(subject), 12);
                    let text = format!("             {subject} {word} ({})", neutralise(why));
                    let left = vec![(Style::Plain, text)];
                    self.settled.push(Line::Prose { left, right: String::new(), hang: 15 });
                }
            }
            EventKind::CancelRequested { cause } => {
                let text = format!("({})", neutralise(cause));
                self.settled.push(Line::sentence((Style::Warning, "Cancelling"), &text));
            }
            EventKind::RunFinished { .. } => self.settle_end(at),
        }
    }

    /// What the run is expected to take becomes known.
    pub fn expect(&mut self, times: BuildTimes) {
        self.estimate.expect(times);
    }

    /// The lines that settled since the last call.
    pub fn take_settled(&mut self, columns: usize) -> Vec<String> {
        let colour = self.display.colour;
        self.settled.drain(..).map(|line| line.fit(columns, colour)).collect()
    }

    fn settle_start(&mut self, kind: &EventKind) {
        let EventKind::RunStarted { images, base_images, network, .. } = kind else { return };
        if *images + *base_images == 0 {
            return;
        }
        let mut text = format!(
            "Discovered {}, {}",
            counted(*images, "image"),
            counted(*base_images, "external base image")
        );
        if let Some(network) = network {
            text.push_str(&format!(", network {}", neutralise(network)));
        }
        self.settled.push(Line::sentence((Style::Plain, ""), &text));
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
        self.settled.push(Line::Prose { left, right: clock(at), hang: 10 });
    }

    fn settle_step(&mut self, event: &Event, ended: Option<&RunningStep>) {
        let EventKind::StepFinished { phase, subject, outcome, took: time, size: bytes, log, .. } =
            &event.kind
        else {
            return;
        };
        let subject = neutralise(subject);
        let first = first_words(&event.kind);
        let end = |(style, word): (Style, &str), rest| Line::Ended {
            name: subject.clone().into_owned(),
            word: (style, word.to_owned()),
            rest,
            right: clock(event.elapsed),
        };
        match outcome {
            Outcome::Failed => {
                let failed = vec![
                    (Style::Bad, format!("             {} ", pad(&subject, NAME))),
                    (Style::Bad, "failed ".to_owned()),
                    (Style::Plain, first),
                ];
                self.settled.push(Line::Prose { left: failed, right: clock(event.elapsed), hang: 15 });
                if let Some(log) = log {
                    self.settled.push(Line::Text(format!("               log {}", neutralise(log))));
                }
            }
            Outcome::Done if self.display.verbosity >= Verbosity::Verbose => {
                let mut facts = vec![took(*time)];
                facts.extend(bytes.map(size));
                facts.extend((!first.is_empty()).then(|| shorten_digests(&first).into_owned()));
                facts.extend(ended.map(|step| format!("({})", step.why)));
                self.settled.push(end((Style::Plain, phase.done()), facts.join("  ")));
            }
            Outcome::Cancelled => {
                self.settled.push(end((Style::Warning, "cancelled"), String::new()));
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
        self.settled.push(Line::Prose { left, right: clock(at), hang: 4 });
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

    fn subject_of(&self, step: &StepId) -> String {
        match self.running.find(step) {
            Some(step) => step.subject.clone(),
            None => neutralise(step.as_str()).into_owned(),
        }
    }

    /// What is left of a phase: of builds by what they took before.
    fn left(&self, state: &PhaseState, now: u64) -> Option<String> {
        let todo = state.total.saturating_sub(self.done_of(state.phase));
        if state.phase != Phase::Build || todo == 0 {
            return None;
        }
        self.estimate.left(todo, now)?.words()
    }

    /// What is left of a step: by the rate of its bytes, or by what it took before.
    fn left_of(&self, step: &RunningStep, now: u64) -> Option<String> {
        let elapsed = now.saturating_sub(step.since);
        match (step.bytes_left(now), self.estimate.usually(&step.id)) {
            (Some(left), _) => rough(left).map(|time| format!("~{time} left")),
            (None, Some(usually)) if elapsed < usually => {
                rough(usually - elapsed).map(|time| format!("~{time} left"))
            }
            (None, Some(usually)) => rough(usually).map(|time| format!("usually {time}")),
            (None, None) => None,
        }
    }
}

/// The part of the screen that still changes, for a terminal of this size, at a moment of the run (in milliseconds).
/// No line is longer than the terminal is wide, and there is room for the cursor below.
pub fn frame(screen: &Screen, terminal: Size, now: u64) -> Vec<String> {
    let Size { columns, rows } = terminal;
    let colour = screen.display.colour;
    let most = rows.saturating_sub(1).max(1);
    let phases = &screen.phases[screen.phases.len().saturating_sub(most)..];
    let mut lines = Vec::new();
    let mut room = MAX_STEPS;
    for (n, state) in phases.iter().enumerate() {
        let steps: Vec<_> = screen.running.steps().iter().filter(|step| step.phase == state.phase).collect();
        lines.push(bar_line(screen, state, steps.len(), columns, now).fit(columns, colour));
        let other_bars = phases.len() - n - 1;
        let space = most.saturating_sub(lines.len() + other_bars);
        let mut shown = steps.len().min(room);
        if shown + usize::from(shown < steps.len()) > space {
            shown = space.saturating_sub(1);
        }
        room -= shown;
        let is_cut = usize::from(shown < steps.len());
        let mut spare = space.saturating_sub(shown + is_cut);
        for (row, step) in step_lines(screen, &steps[..shown], columns, now).into_iter().zip(&steps) {
            lines.push(row.fit(columns, colour));
            let output = step.output().filter(|_| spare > 0 && screen.display.verbosity < Verbosity::Logs);
            if let Some(output) = output {
                spare -= 1;
                lines.push(output_line(&output, columns, colour));
            }
        }
        if shown < steps.len() && space > shown {
            let more = format!("{}... and {} more", indent(columns), steps.len() - shown);
            let left = vec![(Style::Dim, more)];
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
    let failures = if failed > 0 { format!("   {failed} failed") } else { String::new() };
    let texts = count.len() + tail.len() + failures.len();
    // On the narrowest of terminals how many there are tells more than which phase it is.
    let position = if columns < 30 { "  ".to_owned() } else { position(state) };
    let taken = position.len() + state.phase.title().len() + 1 + 2 + texts + 7;
    let left_over = screen.left(state, now).map(|left| format!("   {left}"));
    let left_over = left_over.filter(|text| taken + text.len() <= edge(columns)).unwrap_or_default();
    let room = edge(columns).saturating_sub(taken + left_over.len()).min(BAR);
    let mut left = vec![(Style::Dim, position), (Style::Bold, format!("{} ", state.phase.title()))];
    if room >= 6 {
        left.push((Style::Good, format!("[{}]", bar(done, total, room))));
    }
    left.push((Style::Plain, count));
    left.push((Style::Plain, tail));
    left.push((Style::Bad, failures));
    left.push((Style::Dim, left_over));
    Line::Row { left, right: clock(now) }
}

/// The running steps, in columns: name, how far, what, what is left.
fn step_lines(screen: &Screen, steps: &[&RunningStep], columns: usize, now: u64) -> Vec<Line> {
    let indent = indent(columns);
    let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let names = widest(&mut steps.iter().map(|step| width(&step.subject)));
    let names = names.clamp(NAME, (edge(columns) * 3 / 10).max(NAME));
    let counts = widest(&mut steps.iter().map(|step| width(&step.count)));
    let left_over: Vec<_> = steps
        .iter()
        .map(|step| screen.left_of(step, now).filter(|_| columns >= ROOMY).unwrap_or_default())
        .collect();
    let lefts = widest(&mut left_over.iter().map(|text| width(text)));
    let rows = steps.iter().zip(left_over).map(|(step, left_over)| {
        let mut left =
            vec![(Style::Plain, format!("{indent}{} ", pad(&cut_name(&step.subject, names), names)))];
        if counts > 0 {
            left.push((Style::Plain, format!("{} ", pad(&step.count, counts))));
        }
        if let Some(rate) = step.rate(now) {
            left.push((Style::Plain, format!("{}/s ", size(rate))));
        }
        let time = clock(now.saturating_sub(step.since));
        let taken: usize = left.iter().map(|(_, part)| width(part)).sum();
        let beside = if lefts > 0 { lefts + 2 } else { 0 };
        let room = edge(columns).saturating_sub(taken + beside + width(&time) + 1);
        if lefts > 0 && room > 0 {
            left.push((Style::Dim, pad(&cut(&step.detail, room), room)));
            left.push((Style::Plain, format!("  {}", pad(&left_over, lefts))));
        } else {
            left.push((Style::Dim, step.detail.clone()));
        }
        Line::Row { left, right: time }
    });
    rows.collect()
}

/// What a step printed last, dim below it.
fn output_line(output: &str, columns: usize, colour: Colour) -> String {
    let line = format!("{}| {output}", indent(columns));
    paint(colour, Style::Dim, cut(&line, columns.saturating_sub(1)).trim_end()).into_owned()
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

#[cfg(test)]
mod tests;
