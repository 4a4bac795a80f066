//! What a terminal shows at one moment, as lines. Pure: [`Screen`] folds events, [`frame`] draws; `tty.rs` only puts
//! the lines on the terminal.
//!
//! Lines that will not change any more (finished phases, failures, warnings) settle and scroll away; the frame below
//! them holds one bar a phase and the running steps, at most [`MAX_STEPS`].

use super::plain::{closing_lines, counted, ending_style};
use super::resolve::{Colour, Display, Verbosity};
use super::running::{Running, RunningStep};
use super::summary::{Summary, done_word};
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
            | EventKind::StepRetrying { .. } => {}
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
            EventKind::StepSkipped { phase: _, subject, outcome, why } => {
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
                let mut facts = vec![done_word(*phase).to_owned(), took(*time)];
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
        let closing = closing_lines(&self.summary, self.record.as_deref(), self.display.colour);
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
mod tests {
    use super::super::resolve::Mode;
    use super::super::testing::{Story, failing_story};
    use super::*;
    use crate::model::Unit;

    const PLAIN: Display = Display { mode: Mode::Tty, colour: Colour::No, verbosity: Verbosity::Normal };

    fn screen_of(display: Display, events: &[Event]) -> Screen {
        let mut screen = Screen::new(display, Some("target/xtask/runs/8d2".to_owned()));
        for event in events {
            screen.take(event);
        }
        screen
    }

    /// Everything that the terminal shows: what settled, then the frame.
    fn show(events: &[Event], columns: usize, now: u64) -> String {
        let mut screen = screen_of(PLAIN, events);
        let mut lines = screen.take_settled(columns);
        lines.extend(frame(&screen, columns, now));
        lines.join("\n")
    }

    /// The moment of DESIGN's drawing.
    fn drawn_story() -> Vec<Event> {
        let mut story = Story::new();
        story.tell(EventKind::RunStarted {
            run: "8d2".to_owned(),
            command: "cargo xtask build-all".to_owned(),
            images: 14,
            base_images: 9,
            engine: Some("docker 27.3".to_owned()),
            network: Some("external (docker.io answered in 38 ms)".to_owned()),
        });
        story.phase(Phase::Prefetch, 1, 2, 7);
        for n in 0..7 {
            story.skip(Phase::Prefetch, &format!("b{n}"), Outcome::UpToDate, "already here");
        }
        for name in ["redis:7", "alpine:3.20"] {
            story.start(Phase::Prefetch, name, "not in the local store");
            story.at(6).finish(Phase::Prefetch, name, 6000, None, "");
        }
        story.phase_end(Phase::Prefetch).phase(Phase::Build, 5, 9, 5);
        for n in 0..5 {
            story.skip(Phase::Build, &format!("s{n}"), Outcome::UpToDate, "up to date: 3 inputs unchanged");
        }
        story.start(Phase::Build, "web", "not built yet").at(40).finish(
            Phase::Build,
            "web",
            34_000,
            None,
            "",
        );
        story.at(51).start(Phase::Build, "api", "source changed: src/api/Cargo.lock");
        story.progress(Phase::Build, "api", (12, 17, Unit::Steps), "RUN cargo build --release");
        story.at(64).start(Phase::Build, "frontend", "not built yet");
        story.progress(Phase::Build, "frontend", (4, 9, Unit::Steps), "RUN npm ci");
        story.at(65).start(Phase::Build, "gateway-with-a-long-name", "not built yet");
        story.progress(
            Phase::Build,
            "gateway-with-a-long-name",
            (1, 9, Unit::Steps),
            "RUN apt-get update && apt-get install --yes --no-install-recommends build-essential ca-certificates",
        );
        story.events
    }

    #[test]
    fn drawn_for_200_columns() {
        insta::assert_snapshot!(show(&drawn_story(), 200, 102_000), @"
        Discovered 14 images, 9 external base images, network external (docker.io answered in 38 ms)
        1/6   Prefetch 9/9   2 pulled, 7 already here                                    00:06
        5/6   Build [============>                 ]  6/14   3 running                   01:42
                   api          12/17 RUN cargo build --release                          00:51
                   frontend      4/9  RUN npm ci                                         00:38
                   gateway-with-a-long-name  1/9  RUN apt-get update && apt-get insta... 00:37
        ");
    }

    #[test]
    fn drawn_for_80_columns() {
        insta::assert_snapshot!(show(&drawn_story(), 80, 102_000), @"
        Discovered 14 images, 9 external base images, network external (docker.io answered in 38 ms)
        1/6   Prefetch 9/9   2 pulled, 7 already here                           00:06
        5/6   Build [============>                 ]  6/14   3 running          01:42
                   api          12/17 RUN cargo build --release                 00:51
                   frontend      4/9  RUN npm ci                                00:38
                   gateway-with-a-long-name  1/9  RUN apt-get update && apt-... 00:37
        ");
    }

    #[test]
    fn drawn_for_60_columns() {
        insta::assert_snapshot!(show(&drawn_story(), 60, 102_000), @"
        Discovered 14 images, 9 external base images, network external (docker.io answered in 38 ms)
        1/6   Prefetch 9/9   2 pulled, 7 already here       00:06
        5/6   Build [=======>          ]  6/14   3 running  01:42
                   api          12/17 RUN cargo build --... 00:51
                   frontend      4/9  RUN npm ci            00:38
                   gateway-with-a-long-name  1/9  RUN ap... 00:37
        ");
    }

    #[test]
    fn many_steps_are_counted_not_shown() {
        let mut story = Story::new();
        story.phase(Phase::Prefetch, 1, 12, 0);
        for n in 0..12 {
            let name = format!("image{n}:1");
            story.start(Phase::Prefetch, &name, "not in the local store");
            story.progress(Phase::Prefetch, &name, (12_345_678, 31_000_000, Unit::Bytes), "downloading");
        }
        story.retry(Phase::Prefetch, "image1:1", "503 Service Unavailable");
        insta::assert_snapshot!(show(&story.events, 80, 3_000), @"
        1/6   Prefetch [>                             ]  0/12   12 running      00:03
                   image0:1     12 MB/31 MB downloading                         00:03
                   image1:1     12 MB/31 MB try 1 failed, again in 2.0s (503... 00:03
                   image2:1     12 MB/31 MB downloading                         00:03
                   image3:1     12 MB/31 MB downloading                         00:03
                   image4:1     12 MB/31 MB downloading                         00:03
                   image5:1     12 MB/31 MB downloading                         00:03
                   image6:1     12 MB/31 MB downloading                         00:03
                   image7:1     12 MB/31 MB downloading                         00:03
                   ... and 4 more
        ");
    }

    #[test]
    fn the_end_of_a_failing_run() {
        insta::assert_snapshot!(show(&failing_story(), 80, 93_000), @"
          Discovered 14 images, 9 external base images, network external
          1/6   Prefetch 1/1   1 pulled                                           00:06
          warning: api: base image debian:12-slim is a year old
                     frontend     failed `RUN npm ci` at src/frontend/Dockerfi... 01:33
                       npm ERR! code ENOTFOUND
                       log target/xtask/runs/8d2/logs/build-frontend.log
                     shop         skipped (frontend failed)
          5/6   Build 4/4   1 built, 1 up to date, 1 failed, 1 skipped            01:33
          Failed 1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning  01:33
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
    fn no_frame_line_is_wider_than_the_terminal() {
        let mut story = Story::new();
        story.begin(3, 1).phase(Phase::SyncConfig, 3, 3, 0).phase(Phase::Build, 5, 1000, 0);
        for subject in ["日本語日本語日本語日本語", "a", "\x1b[2Jevil\u{202e}"] {
            story.start(Phase::Build, subject, "x");
            story.progress(
                Phase::Build,
                subject,
                (999, 1000, Unit::Steps),
                "RUN echo 日本語 日本語 日本語 日本語",
            );
        }
        let screen = screen_of(PLAIN, &story.events);
        let coloured = screen_of(Display { colour: Colour::Yes, ..PLAIN }, &story.events);
        for columns in 0..220 {
            for line in frame(&screen, columns, 3_600_000) {
                assert!(width(&line) <= columns.saturating_sub(1), "{columns}: {line:?}");
                assert!(!line.contains('\x1b'), "{line:?}");
            }
            let stripped: Vec<_> = frame(&coloured, columns, 9)
                .iter()
                .map(|line| neutralise(line).trim_end().to_owned())
                .collect();
            assert_eq!(stripped, frame(&screen, columns, 9), "{columns}");
        }
    }

    #[test]
    fn bars_fill() {
        for (done, total, drawn) in
            [(0, 4, ">   "), (1, 4, "=>  "), (3, 4, "===>"), (4, 4, "===="), (0, 0, "====")]
        {
            assert_eq!(bar(done, total, 4), drawn);
        }
    }
}
