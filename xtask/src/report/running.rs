//! The steps that are running now. Pure; the lines and the bars both look things up here.

use std::collections::VecDeque;

use super::text::{neutralise, size};
use crate::model::{Event, EventKind, LogStream, Phase, StepId, Unit};

/// A rate is that of the last five seconds.
const WINDOW: u64 = 5_000;
/// A shorter time tells no rate.
const SHORTEST: u64 = 500;

/// Bytes of a line that may be on a screen.
const MOST_SHOWN: usize = 2_000;

/// The steps that are running, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub struct Running {
    steps: Vec<RunningStep>,
}

/// A step that is running.
#[derive(Clone, Debug)]
pub struct RunningStep {
    /// Which.
    pub id: StepId,
    /// Its phase.
    pub phase: Phase,
    /// What it is about, harmless.
    pub subject: String,
    /// Why it is done, harmless.
    pub why: String,
    /// When it began, in milliseconds of the run.
    pub since: u64,
    /// How far it is: `12/17`, `12 MB/31 MB`; empty while nobody knows.
    pub count: String,
    /// What is going on, harmless.
    pub detail: String,
    /// The last line that it printed, as it came; empty when the builder has spoken since.
    output: String,
    /// Bytes that came, by moment of the run, of the last [`WINDOW`].
    bytes: VecDeque<(u64, u64)>,
    /// Of how many bytes; 0 when nobody knows.
    total: u64,
}

impl Running {
    /// One event further. Of a step that ends, gives what was known of it.
    pub fn take(&mut self, event: &Event) -> Option<RunningStep> {
        match &event.kind {
            EventKind::StepStarted { step, phase, subject, why } => {
                self.steps.push(RunningStep {
                    id: step.clone(),
                    phase: *phase,
                    subject: neutralise(subject).into_owned(),
                    why: neutralise(why).into_owned(),
                    since: event.elapsed,
                    count: String::new(),
                    detail: String::new(),
                    output: String::new(),
                    bytes: VecDeque::new(),
                    total: 0,
                });
            }
            EventKind::StepProgress { step, done, total, unit, detail } => {
                if let Some(step) = self.find_mut(step) {
                    step.count = count(*done, *total, *unit);
                    step.detail = detail.as_deref().map(one_line).unwrap_or_default();
                    if *unit == Unit::Bytes {
                        step.count_bytes(event.elapsed, *done, *total);
                    }
                }
            }
            EventKind::StepLog { step, stream, line } => {
                if let Some(step) = self.find_mut(step) {
                    step.printed(*stream, line);
                }
            }
            EventKind::StepRetrying { step, attempt, delay, cause } => {
                if let Some(step) = self.find_mut(step) {
                    step.detail = retry_text(*attempt, *delay, cause);
                    step.bytes.clear();
                }
            }
            EventKind::StepFinished { step, .. } => {
                let at = self.steps.iter().position(|running| running.id == *step)?;
                return Some(self.steps.remove(at));
            }
            EventKind::RunFinished { .. } => self.steps.clear(),
            _ => {}
        }
        None
    }

    /// What is known of a running step.
    pub fn find(&self, id: &StepId) -> Option<&RunningStep> {
        self.steps.iter().find(|step| step.id == *id)
    }

    /// All of them, oldest first.
    pub fn steps(&self) -> &[RunningStep] {
        &self.steps
    }

    fn find_mut(&mut self, id: &StepId) -> Option<&mut RunningStep> {
        self.steps.iter_mut().find(|step| step.id == *id)
    }
}

impl RunningStep {
    /// It is made harmless only where it is shown: a flood of lines costs next to nothing.
    fn printed(&mut self, stream: LogStream, line: &str) {
        if stream == LogStream::Progress {
            self.output.clear();
        } else if !line.trim().is_empty() {
            self.output.clear();
            self.output.push_str(&line[..line.floor_char_boundary(MOST_SHOWN)]);
        }
    }

    /// The last line that it printed, harmless, if it still runs what printed it.
    pub fn output(&self) -> Option<String> {
        let line = neutralise(self.output.trim_end());
        (!line.is_empty()).then(|| line.into_owned())
    }

    fn count_bytes(&mut self, now: u64, done: u64, total: u64) {
        // A new try begins anew.
        if self.bytes.back().is_some_and(|(_, before)| *before > done) {
            self.bytes.clear();
        }
        self.bytes.push_back((now, done));
        self.total = total;
        // The first one stays that is older, so that what is left spans the window.
        while self.bytes.get(1).is_some_and(|(at, _)| at + WINDOW <= now) {
            self.bytes.pop_front();
        }
    }

    /// Bytes a second at a moment of the run; none while nobody knows.
    pub fn rate(&self, now: u64) -> Option<u64> {
        let ((since, before), (_, done)) = (self.bytes.front()?, self.bytes.back()?);
        let time = now.checked_sub(*since).filter(|time| *time >= SHORTEST)?;
        Some(((done - before) * 1000).checked_div(time)?).filter(|rate| *rate > 0)
    }

    /// Milliseconds until all bytes are there, at this rate; none while nobody knows.
    pub fn bytes_left(&self, now: u64) -> Option<u64> {
        let (rate, (_, done)) = (self.rate(now)?, self.bytes.back()?);
        let rest = self.total.checked_sub(*done).filter(|rest| *rest > 0)?;
        (rest * 1000).checked_div(rate)
    }
}

/// Harmless, and without the gaps that the broken lines of an instruction leave.
fn one_line(text: &str) -> String {
    neutralise(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `try 1 failed, again in 2.0s (TLS handshake timeout)`
pub fn retry_text(attempt: u32, delay: u64, cause: &str) -> String {
    format!("try {attempt} failed, again in {} ({})", super::text::took(delay), neutralise(cause))
}

fn count(done: u64, total: u64, unit: Unit) -> String {
    match (unit, total) {
        (Unit::Steps, 0) => String::new(),
        (Unit::Steps, total) => format!("{done:>2}/{total:<2}"),
        (Unit::Bytes, 0) if done == 0 => String::new(),
        (Unit::Bytes, 0) => size(done),
        (Unit::Bytes, total) => format!("{}/{}", size(done), size(total)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut story = Story::new();
        story.start(Phase::Prefetch, "a", "");
        let mut told = |at, done| {
            story.now = at;
            story.progress(Phase::Prefetch, "a", (done, 50_000_000, Unit::Bytes), "downloading");
        };
        told(0, 0);
        told(1_000, 10_000_000);
        told(9_000, 10_000_000);
        told(10_000, 20_000_000);
        let mut running = Running::default();
        let rates: Vec<_> = story
            .events
            .iter()
            .map(|event| {
                running.take(event);
                let step = &running.steps()[0];
                (step.rate(event.elapsed), step.bytes_left(event.elapsed))
            })
            .collect();
        let expect = [
            (None, None),
            (None, None),
            (Some(10_000_000), Some(4_000)),
            (None, None),
            (Some(1_111_111), Some(27_000)),
        ];
        assert_eq!(rates, expect);
        assert_eq!(running.steps()[0].rate(100_000), Some(101_010), "nothing came for a long time");
        story.retry(Phase::Prefetch, "a", "reset");
        running.take(&story.events[5]);
        assert_eq!(running.steps()[0].rate(11_000), None);
    }

    #[test]
    fn an_instruction_of_several_lines_is_one() {
        let mut story = Story::new();
        story.start(Phase::Build, "a", "");
        story.progress(Phase::Build, "a", (1, 2, Unit::Steps), "RUN apt-get update     && \tx\n y");
        let mut running = Running::default();
        story.events.iter().for_each(|event| drop(running.take(event)));
        assert_eq!(running.steps()[0].detail, "RUN apt-get update && x y");
    }
}
