//! EFFECT: does a plan. One executor for every command; it decides nothing, it only obeys order and limits.
//!
//! In: a plan, an engine, a cancel token. Out: events while it goes, a [`run::RunReport`] at the end.

mod failure;
pub mod pull;
pub mod run;
pub mod scheduler;
mod services;
mod step;
mod test;
mod trial;

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

pub use self::failure::{OutsideFailure, StepError};
use self::run::StepFailure;
pub use self::scheduler::{Outcomes, Proceed};
pub use self::step::Done;
use self::step::run_step;
pub use self::trial::{StepResults, Tried};
use crate::artifact::Fetcher;
use crate::build::Machine;
use crate::engine::{EngineError, OnProgress};
use crate::events::Emitter;
pub use crate::host::retry;
use crate::model::{
    BundleStep, EventKind, Failure, Observed, OnFailure, Outcome, Phase, Plan, Reason, RunStats, Skipped,
    Stage, Step, StepId, StepKind,
};

/// How many steps run side by side.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Builds.
    pub builds: usize,
    /// Everything else; pulls are bounded per registry as well.
    pub others: usize,
}

/// Does steps of bundles. What is in one is nothing to this room.
pub trait ExecuteBundle<E> {
    /// Does one. `cancel` is for what puts things back first; all else is dropped where it is.
    fn execute(
        &self,
        step: &BundleStep,
        engine: Result<&E, EngineError>,
        cancel: &CancellationToken,
        tell: OnProgress<'_>,
    ) -> impl Future<Output = Result<Done, StepError>>;
}

/// What steps are done with.
pub struct Execution<'a, E, M, C> {
    /// The engine; none for commands that only write files.
    pub engine: Option<&'a E>,
    /// The tree's root, which the plan's paths are relative to.
    pub root: &'a Path,
    /// Where events go.
    pub emitter: &'a Emitter,
    /// Ctrl-C.
    pub cancel: &'a CancellationToken,
    /// How many at a time.
    pub limits: Limits,
    /// Pulls with retries, bounded per registry.
    pub puller: &'a pull::Puller<M>,
    /// Does what is done with bundles.
    pub executor: &'a C,
    /// Artifacts, from the cache or from servers.
    pub artifacts: &'a Fetcher,
    /// The store as verify sees it, observed once.
    pub store: &'a OnceCell<Observed>,
    /// What steps learn for those after them.
    pub results: &'a StepResults,
}

/// How a phase went.
#[derive(Debug, Default)]
struct PhaseReport {
    /// How many ended how, with what the plan left out; the time is nobody's.
    stats: RunStats,
    /// What failed, and why.
    failures: Vec<StepFailure>,
    /// What was left out for want of something else, and why.
    left_out: Vec<(String, String)>,
    /// Whether any step was begun, or was to be when the run was stopped.
    changed: bool,
    /// What the phase comes to, where a step says more than that it is done.
    sentence: Option<String>,
    /// What steps have to say to whoever asked for them.
    answers: Vec<String>,
}

impl PhaseReport {
    /// Something ended so.
    fn count(&mut self, outcome: Outcome, phase: Phase, subject: &str, why: &str, failure: Option<&Failure>) {
        self.stats.count(outcome);
        let failed = failure.map(|failure| StepFailure {
            phase,
            subject: subject.to_owned(),
            failure: failure.clone(),
        });
        self.failures.extend(failed);
        if outcome == Outcome::Skipped {
            self.left_out.push((subject.to_owned(), why.to_owned()));
        }
    }
}

impl<E: Machine, M: pull::MakeBase, C: ExecuteBundle<E>> Execution<'_, E, M, C> {
    /// Does steps of one phase and tells what the plan skips. `outcomes` knows how earlier ones went and learns how these
    /// do.
    async fn run_phase(
        &self,
        stage: &Stage,
        place: (usize, usize),
        steps: &[Step],
        skipped: &[&Skipped],
        outcomes: &mut Outcomes,
    ) -> PhaseReport {
        let phase = stage.phase;
        let (position, of) = place;
        let (todo, idle) = (steps.len(), skipped.len());
        self.emitter.emit(EventKind::PhaseStarted { phase, position, of, steps: todo, skipped: idle });
        let mut report = PhaseReport::default();
        for skipped in skipped {
            let why = (skipped.why.outcome(), skipped.why.to_string(), Some(skipped.why.clone()));
            self.leave_out(phase, &skipped.subject, why, &mut report);
        }
        self.run_steps(stage, steps, outcomes, &mut report).await;
        let said = report.sentence.take().unwrap_or_else(|| phase.sentence(&report.stats));
        let summary = if said.is_empty() { "nothing to do".to_owned() } else { said };
        self.emitter.emit(EventKind::PhaseFinished { phase, summary });
        report
    }

    /// The engine, where there is one.
    fn engine(&self) -> Result<&E, EngineError> {
        self.engine.ok_or_else(|| EngineError::Unreachable { tried: Vec::new(), named_by: None })
    }

    async fn run_steps(
        &self,
        stage: &Stage,
        steps: &[Step],
        outcomes: &mut Outcomes,
        report: &mut PhaseReport,
    ) {
        let phase = stage.phase;
        let before = outcomes.clone();
        let limit =
            if matches!(phase, Phase::Build | Phase::Keep) { self.limits.builds } else { self.limits.others };
        let mut not_done = Vec::new();
        let start = |index: usize| async move { (index, self.attempt(&steps[index]).await) };
        let ended = |index: usize, (result, took): (Option<Result<Done, StepError>>, Duration)| {
            let step = &steps[index];
            let outcome = self.finish(step, result, took, report);
            outcomes.insert(step.id.clone(), outcome);
            let ends = stage.on_failure == OnFailure::EndAtOnce && outcome == Outcome::Failed;
            if ends {
                let cause = format!("{} failed and --fail-fast was given", step.subject);
                self.emitter.emit(EventKind::CancelRequested { cause });
            }
            (outcome, if ends || self.cancel.is_cancelled() { Proceed::No } else { Proceed::Yes })
        };
        scheduler::drive(steps, &before, limit, start, ended, |index, needed| {
            not_done.push((index, needed.cloned()));
        })
        .await;
        for (index, needed) in not_done {
            let step = &steps[index];
            let (outcome, why) = match needed {
                Some(needed) => lost(&needed, outcomes.get(&needed).copied()),
                None => (Outcome::Cancelled, "not started".to_owned()),
            };
            self.leave_out(phase, &step.subject, (outcome, why, None), report);
            outcomes.insert(step.id.clone(), outcome);
            report.changed |= outcome == Outcome::Cancelled;
        }
    }

    /// Does one step, unless the run is stopped before it is done. How long that took comes with it.
    async fn attempt(&self, step: &Step) -> (Option<Result<Done, StepError>>, Duration) {
        let began = Instant::now();
        self.emitter.emit(EventKind::StepStarted {
            step: step.id.clone(),
            phase: step.phase,
            subject: step.subject.clone(),
            why: step.why.to_string(),
        });
        let work = run_step(self, step);
        let result = if step.kind.puts_back() {
            Some(work.await)
        } else {
            self.cancel.run_until_cancelled(work).await
        };
        let result = result.filter(|result| !matches!(result, Err(StepError::Cancelled)));
        (result, began.elapsed())
    }

    /// Tells how a step ended.
    fn finish(
        &self,
        step: &Step,
        result: Option<Result<Done, StepError>>,
        took: Duration,
        report: &mut PhaseReport,
    ) -> Outcome {
        let (outcome, detail, size, last_lines, failure) = match result {
            None => (Outcome::Cancelled, "cancelled".to_owned(), None, Vec::new(), None),
            Some(Ok(done)) => {
                report.sentence = done.sentence.or(report.sentence.take());
                report.answers.extend(done.answer);
                (done.outcome, done.detail, done.size, Vec::new(), None)
            }
            Some(Err(error)) => {
                let failure = error.failure(step.phase, &step.subject);
                (Outcome::Failed, error.to_string(), None, error.last_lines(), Some(failure))
            }
        };
        // A step that found nothing to do is done all the same.
        let counted = if outcome == Outcome::UpToDate { Outcome::Done } else { outcome };
        report.count(counted, step.phase, &step.subject, &detail, failure.as_ref());
        report.changed = true;
        self.emitter.emit(EventKind::StepFinished {
            step: step.id.clone(),
            phase: step.phase,
            subject: step.subject.clone(),
            outcome,
            took: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            detail,
            size,
            last_lines,
            log: None,
            error: failure.as_ref().map(|failure| failure.kind),
            place: failure.as_ref().and_then(|failure| failure.place.clone()),
            failure,
        });
        outcome
    }

    /// Tells that something is not done: how that counts, why in words, and the plan's reason where it was the plan's.
    fn leave_out(
        &self,
        phase: Phase,
        subject: &str,
        (outcome, why, reason): (Outcome, String, Option<Reason>),
        report: &mut PhaseReport,
    ) {
        let failure = reason.as_ref().and_then(|reason| reason.failure(phase, subject));
        report.count(outcome, phase, subject, &why, failure.as_ref());
        let (subject, error) = (subject.to_owned(), failure.as_ref().map(|failure| failure.kind));
        self.emitter.emit(EventKind::StepSkipped { phase, subject, outcome, why, reason, error, failure });
    }
}

/// What becomes of a step that needed another which did not end well, and why.
fn lost(needed: &StepId, ended: Option<Outcome>) -> (Outcome, String) {
    let name = needed.as_str().split_once(':').map_or(needed.as_str(), |(_, name)| name);
    let (outcome, end) = match ended {
        Some(Outcome::Cancelled) => (Outcome::Cancelled, "was cancelled"),
        Some(Outcome::Skipped) => (Outcome::Skipped, "was skipped"),
        _ => (Outcome::Skipped, "failed"),
    };
    (outcome, format!("needs {name}, which {end}"))
}

/// Whether a plan changes the store or the tree at all.
pub fn changes_anything(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| !matches!(step.kind, StepKind::Verify(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_done_says_how_its_need_ended() {
        let id = StepId::new(Phase::Build, "base");
        for (ended, expect) in [
            (Some(Outcome::Failed), (Outcome::Skipped, "needs base, which failed")),
            (Some(Outcome::Cancelled), (Outcome::Cancelled, "needs base, which was cancelled")),
            (Some(Outcome::Skipped), (Outcome::Skipped, "needs base, which was skipped")),
            (None, (Outcome::Skipped, "needs base, which failed")),
        ] {
            assert_eq!(lost(&id, ended), (expect.0, expect.1.to_owned()));
        }
    }
}
