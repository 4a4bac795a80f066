//! The steps that are running now. Pure; the lines and the bars both look things up here.

use super::text::{neutralise, size};
use crate::model::{Event, EventKind, Phase, StepId, Unit};

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
                });
            }
            EventKind::StepProgress { step, done, total, unit, detail } => {
                if let Some(step) = self.find_mut(step) {
                    step.count = count(*done, *total, *unit);
                    step.detail = detail.as_deref().map(neutralise).unwrap_or_default().into_owned();
                }
            }
            EventKind::StepRetrying { step, attempt, delay, cause } => {
                if let Some(step) = self.find_mut(step) {
                    step.detail = retry_text(*attempt, *delay, cause);
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

/// `try 1 failed, again in 2.0s (TLS handshake timeout)`
pub fn retry_text(attempt: u32, delay: u64, cause: &str) -> String {
    format!("try {attempt} failed, again in {} ({})", super::text::took(delay), neutralise(cause))
}

fn count(done: u64, total: u64, unit: Unit) -> String {
    match (unit, total) {
        (Unit::Steps, 0) => String::new(),
        (Unit::Steps, total) => format!("{done:>2}/{total:<2}"),
        (Unit::Bytes, 0) => size(done),
        (Unit::Bytes, total) => format!("{}/{}", size(done), size(total)),
    }
}
