//! What a page tells, put together from a run's record. Pure: a fold over events and the plan.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::lanes::{Link, Span, Stop, critical_path, longest_chain};
use super::material::{Material, PlanRecord};
use crate::model::{Event, EventKind, Failure, Outcome, Phase, StepId};
use crate::report::summary::Summary;

/// How something ended, worst first. The page's classes and signs have these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It went wrong.
    Failed,
    /// Stopped, or the run ended before it did.
    Cancelled,
    /// Not done, because of something else.
    Skipped,
    /// Done.
    Done,
    /// Nothing had to be done.
    #[serde(rename = "same")]
    UpToDate,
    /// The run did not deal with it.
    #[serde(rename = "none")]
    Untouched,
}

impl State {
    /// What it is called, for a thing that has to do with a phase.
    pub fn word(self, phase: Phase) -> &'static str {
        match self {
            Self::Done => phase.done(),
            Self::UpToDate => phase.idle(),
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Untouched => "not touched",
        }
    }
}

impl From<Outcome> for State {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::UpToDate => Self::UpToDate,
            Outcome::Skipped => Self::Skipped,
            Outcome::Failed => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

/// A step that began.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Which.
    pub id: StepId,
    /// Its phase.
    pub phase: Phase,
    /// What it is about.
    pub subject: String,
    /// Why it is done.
    pub why: String,
    /// When it worked.
    pub span: Span,
    /// How it ended.
    pub state: State,
    /// Whether it is among the steps that decided how long the run took.
    pub critical: bool,
    /// What came of it, or the error.
    pub detail: String,
    /// Bytes of the image that it made.
    pub size: Option<u64>,
    /// Of a failed step: the last lines that it printed.
    pub last_lines: Vec<String>,
    /// Its log, relative to the root.
    pub log: Option<String>,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
    /// What its instructions did; the page has them stage by stage.
    #[serde(skip_serializing)]
    pub parts: Vec<Part>,
}

impl Step {
    /// One that began and of which nothing else is known.
    pub fn new(id: &StepId, phase: Phase, subject: &str, span: Span) -> Self {
        Self {
            id: id.clone(),
            phase,
            subject: subject.to_owned(),
            why: String::new(),
            span,
            state: State::Cancelled,
            critical: false,
            detail: String::new(),
            size: None,
            last_lines: Vec::new(),
            log: None,
            failure: None,
            parts: Vec::new(),
        }
    }
}

/// One instruction of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The builder's name for it.
    pub name: String,
    /// When it worked, after the build's first instruction.
    pub span: Span,
    /// Whether its result was there already.
    pub cached: bool,
    /// Whether it failed.
    pub failed: bool,
}

/// Something that was not done.
#[derive(Clone, Debug, Serialize)]
pub struct Skip {
    /// Its phase.
    pub phase: Phase,
    /// What it is about.
    pub subject: String,
    /// How that counts.
    pub state: State,
    /// Why.
    pub why: String,
}

/// Something worth knowing: a warning, a try that failed, a thing done to the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// Milliseconds of the run.
    pub at: u64,
    /// What kind: `warning`.
    pub kind: &'static str,
    /// What it is about, if not the run.
    pub subject: Option<String>,
    /// The text.
    pub text: String,
}

/// A run.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Totals and failures.
    pub summary: Summary,
    /// When it began, RFC 3339 in UTC.
    pub at: String,
    /// The engine.
    pub engine: Option<String>,
    /// The network, with its evidence.
    pub network: Option<String>,
    /// What began, in order.
    pub steps: Vec<Step>,
    /// What did not.
    pub skips: Vec<Skip>,
    /// Everything odd.
    pub notes: Vec<Note>,
    /// What was done to the machine: when, and what.
    pub machine: Vec<(Span, String)>,
    /// Since when nothing was said of anything else.
    said: u64,
    /// The steps that decided how long it took, first to last.
    pub critical: Vec<Stop>,
    /// Milliseconds that it would take with a place for every step that could work.
    pub longest_chain: u64,
}

impl Facts {
    /// Of a record.
    pub fn of(material: &Material) -> Self {
        let mut facts = Self { summary: Summary::of(&material.events), ..Self::default() };
        let mut running: HashMap<StepId, usize> = HashMap::new();
        for event in &material.events {
            facts.take(event, &mut running);
        }
        // What never ended was cut off with the run.
        let end = facts.summary.took;
        for &at in running.values() {
            facts.steps[at].span.ended = end.max(facts.steps[at].span.began);
        }
        let links = facts.links(&material.plan);
        facts.critical = critical_path(&links);
        for stop in &facts.critical {
            facts.steps[stop.at].critical = true;
        }
        facts.longest_chain = longest_chain(&links);
        facts
    }

    /// The phases in which there was anything to do, in order.
    pub fn phases(&self) -> Vec<Phase> {
        let skipped = self.skips.iter().map(|skip| skip.phase);
        let phases: BTreeSet<Phase> = self.steps.iter().map(|step| step.phase).chain(skipped).collect();
        phases.into_iter().collect()
    }

    fn take(&mut self, event: &Event, running: &mut HashMap<StepId, usize>) {
        self.take_kind(event, running);
        let is_progress = matches!(
            event.kind,
            EventKind::StepProgress { .. } | EventKind::StepLog { .. } | EventKind::StepPart { .. }
        );
        if !is_progress {
            self.said = event.elapsed;
        }
    }

    fn take_kind(&mut self, event: &Event, running: &mut HashMap<StepId, usize>) {
        if self.at.is_empty() {
            self.at.clone_from(&event.at);
        }
        match &event.kind {
            EventKind::RunStarted { engine, network, .. } => {
                self.engine.clone_from(engine);
                self.network.clone_from(network);
            }
            EventKind::StepStarted { step, phase, subject, why } => {
                running.insert(step.clone(), self.steps.len());
                let span = Span { began: event.elapsed, ended: event.elapsed };
                self.steps.push(Step { why: why.clone(), ..Step::new(step, *phase, subject, span) });
            }
            EventKind::StepPart { step, part, began, took, cached, failed } => {
                if let Some(&at) = running.get(step) {
                    self.steps[at].parts.push(Part {
                        name: part.clone(),
                        span: Span { began: *began, ended: began.saturating_add(*took) },
                        cached: *cached,
                        failed: *failed,
                    });
                }
            }
            EventKind::StepFinished { .. } => self.take_finished(event, running),
            EventKind::StepSkipped { phase, subject, outcome, why, .. } => self.skips.push(Skip {
                phase: *phase,
                subject: subject.clone(),
                state: State::from(*outcome),
                why: why.clone(),
            }),
            EventKind::StepWarning { step, message } => {
                self.note(event.elapsed, "warning", step.as_ref(), message.clone());
            }
            EventKind::StepRetrying { step, attempt, delay, cause } => {
                let text = crate::report::running::retry_text(*attempt, *delay, cause);
                self.note(event.elapsed, "retry", Some(step), text);
            }
            EventKind::Announced { message } => {
                // It is said when it is done.
                let span = Span { began: self.said.min(event.elapsed), ended: event.elapsed };
                self.machine.push((span, message.clone()));
                self.note(event.elapsed, "machine", None, message.clone());
            }
            EventKind::CancelRequested { cause } => {
                self.note(event.elapsed, "cancelled", None, what_cancelled(cause).to_owned());
            }
            EventKind::PhaseStarted { .. }
            | EventKind::PhaseFinished { .. }
            | EventKind::StepProgress { .. }
            | EventKind::StepLog { .. }
            | EventKind::Error { .. }
            | EventKind::RunFinished { .. } => {}
        }
    }

    fn take_finished(&mut self, event: &Event, running: &mut HashMap<StepId, usize>) {
        let EventKind::StepFinished {
            step,
            phase,
            subject,
            outcome,
            took,
            detail,
            size,
            last_lines,
            log,
            failure,
            ..
        } = &event.kind
        else {
            return;
        };
        // A failed plan tells of steps that never began.
        let at = running.remove(step).unwrap_or_else(|| {
            let span = Span { began: event.elapsed.saturating_sub(*took), ended: event.elapsed };
            self.steps.push(Step::new(step, *phase, subject, span));
            self.steps.len() - 1
        });
        let known = &mut self.steps[at];
        known.span.ended = event.elapsed.max(known.span.began);
        known.state = State::from(*outcome);
        known.detail.clone_from(detail);
        known.size = *size;
        known.last_lines.clone_from(last_lines);
        known.log.clone_from(log);
        known.failure.clone_from(failure);
    }

    fn note(&mut self, at: u64, kind: &'static str, step: Option<&StepId>, text: String) {
        let known = step.and_then(|id| self.steps.iter().rev().find(|step| step.id == *id));
        let subject = known.map(|step| step.subject.clone()).or_else(|| {
            step.map(|id| id.as_str().split_once(':').map_or(id.as_str(), |(_, s)| s).to_owned())
        });
        self.notes.push(Note { at, kind, subject, text });
    }

    fn links(&self, plan: &PlanRecord) -> Vec<Link> {
        let by_id: HashMap<&str, usize> =
            self.steps.iter().enumerate().map(|(at, step)| (step.id.as_str(), at)).collect();
        let needs: HashMap<&str, &Vec<String>> =
            plan.steps.iter().map(|step| (step.id.as_str(), &step.needs)).collect();
        let phases = self.phases();
        let link = |step: &Step| Link {
            span: step.span,
            phase: phases.iter().position(|phase| *phase == step.phase).unwrap_or_default(),
            needs: needs
                .get(step.id.as_str())
                .into_iter()
                .flat_map(|needs| needs.iter().filter_map(|need| by_id.get(need.as_str()).copied()))
                .collect(),
        };
        self.steps.iter().map(link).collect()
    }
}

/// Why a run was cancelled, without what only somebody at its terminal could do about it.
pub fn what_cancelled(cause: &str) -> &str {
    cause.split("; once more").next().unwrap_or(cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::failing_story;

    fn names(facts: &Facts) -> Vec<&str> {
        facts.critical.iter().map(|stop| facts.steps[stop.at].id.as_str()).collect()
    }

    #[test]
    fn a_record_becomes_facts() {
        let facts = Facts::of(&Material { events: failing_story(), ..Material::default() });
        let steps: Vec<String> = facts
            .steps
            .iter()
            .map(|s| format!("{} {:?} {}..{}", s.id, s.state, s.span.began, s.span.ended))
            .collect();
        assert_eq!(
            steps,
            [
                "prefetch:alpine:3.20 Done 0..6000",
                "build:api Done 9000..91000",
                "build:frontend Failed 9000..93000"
            ]
        );
        assert_eq!(facts.steps[1].parts.len(), 2);
        assert_eq!(facts.skips.len(), 2);
        let notes: Vec<_> =
            facts.notes.iter().map(|note| (note.kind, note.subject.as_deref().unwrap_or(""))).collect();
        assert_eq!(notes, [("retry", "alpine:3.20"), ("warning", "api")]);
        assert_eq!(names(&facts), ["prefetch:alpine:3.20", "build:frontend"]);
    }

    #[test]
    fn the_plan_says_what_was_waited_for() {
        let plan =
            r#"{"steps": [{"id": "build:frontend", "needs": ["build:api", "build:gone"]}], "else": 1}"#;
        let plan: PlanRecord = serde_json::from_str(plan).unwrap();
        let facts = Facts::of(&Material { events: failing_story(), plan, ..Material::default() });
        assert_eq!(names(&facts), ["prefetch:alpine:3.20", "build:api", "build:frontend"]);
    }

    #[test]
    fn what_never_ended_was_cut_off() {
        let mut events = failing_story();
        events.truncate(12);
        let facts = Facts::of(&Material { events, ..Material::default() });
        let api = facts.steps.iter().find(|step| step.subject == "api").unwrap();
        assert_eq!(
            (api.state, api.span.ended, facts.summary.ending()),
            (State::Cancelled, 9000, "unfinished")
        );
    }
}
