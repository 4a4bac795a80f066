//! Runs a plan: its stages in order, each phase's steps side by side.
//!
//! In: a plan and what it is done with. Out: events meanwhile, a [`RunReport`]. What has to be planned again on the way
//! is planned by a [`PlanAgain`] that is handed in: nothing is decided here.

use super::pull::MakeBase;
use super::{ExecuteBundle, Execution, Outcomes, Proceed};
use crate::build::Machine;
use crate::model::{Failure, OnFailure, Phase, Plan, RunStats, Skipped, Stage, Step};

/// What came of a run so far, and in the end.
#[derive(Debug, Default)]
pub struct RunReport {
    /// How each step ended.
    pub outcomes: Outcomes,
    /// How many ended how; the time is nobody's yet.
    pub stats: RunStats,
    /// What failed, and why.
    pub failures: Vec<StepFailure>,
    /// What was left out because something that it needs failed, or was not to be done: its phase, what it was about, why.
    pub left_out: Vec<(Phase, String, String)>,
    /// What steps have to say to whoever asked for them, in the order in which they were done.
    pub answers: Vec<String>,
    /// The phase that ran last, and which of all it was, counted from 1.
    pub last: Option<(Phase, usize)>,
}

/// A step that failed, or that could not be begun.
#[derive(Clone, Debug)]
pub struct StepFailure {
    /// Its phase.
    pub phase: Phase,
    /// What it was about.
    pub subject: String,
    /// Why.
    pub failure: Failure,
}

/// Plans again what only the steps before it tell, and keeps what is worth knowing of those.
pub trait PlanAgain {
    /// What keeps a run from going on.
    type Error;

    /// A stage is about to begin: its plan may change now. With [`Proceed::No`] it is left out.
    ///
    /// # Errors
    /// What keeps the run from going on.
    fn before(
        &mut self,
        stage: &Stage,
        plan: &mut Plan,
        report: &RunReport,
    ) -> impl Future<Output = Result<Proceed, Self::Error>>;

    /// A stage is over; `changed` says whether any step of it was begun.
    ///
    /// # Errors
    /// What keeps the run from going on.
    fn after(
        &mut self,
        stage: &Stage,
        plan: &Plan,
        report: &RunReport,
        changed: bool,
    ) -> impl Future<Output = Result<(), Self::Error>>;
}

/// For plans that stay as they are.
#[derive(Debug)]
pub struct AsPlanned;

impl PlanAgain for AsPlanned {
    type Error = std::convert::Infallible;

    async fn before(&mut self, _: &Stage, _: &mut Plan, _: &RunReport) -> Result<Proceed, Self::Error> {
        Ok(Proceed::Yes)
    }

    async fn after(&mut self, _: &Stage, _: &Plan, _: &RunReport, _: bool) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Runs the stages of a plan. `of` is how many phases the command has, with those of other plans. What failed is in the
/// report, and the run goes on as each stage says.
///
/// # Errors
/// What planning again came to.
pub async fn run<E: Machine, M: MakeBase, C: ExecuteBundle<E>, R: PlanAgain>(
    execution: &Execution<'_, E, M, C>,
    plan: &mut Plan,
    of: usize,
    replan: &mut R,
    report: &mut RunReport,
) -> Result<(), R::Error> {
    for stage in plan.stages.clone() {
        if replan.before(&stage, plan, report).await? == Proceed::No {
            continue;
        }
        let (position, told) = match report.last {
            // The same phase goes on: what it leaves out is told already.
            Some((phase, position)) if phase == stage.phase => (position, true),
            last => (last.map_or(0, |(_, position)| position) + 1, false),
        };
        let is_open = |step: &&Step| step.phase == stage.phase && !report.outcomes.contains_key(&step.id);
        let steps: Vec<Step> = plan.steps.iter().filter(is_open).cloned().collect();
        if told && steps.is_empty() {
            continue;
        }
        let of_phase = |skipped: &&Skipped| skipped.phase == stage.phase && !told;
        let skipped: Vec<&Skipped> = plan.skipped.iter().filter(of_phase).collect();
        report.last = Some((stage.phase, position));
        let phase = execution.run_phase(&stage, (position, of), &steps, &skipped, &mut report.outcomes).await;
        let failed = !phase.failures.is_empty();
        report.stats.add(&phase.stats);
        report.failures.extend(phase.failures);
        report.answers.extend(phase.answers);
        let left_out = phase.left_out.into_iter().map(|(subject, why)| (stage.phase, subject, why));
        report.left_out.extend(left_out);
        replan.after(&stage, plan, report, phase.changed).await?;
        if execution.cancel.is_cancelled() || (failed && stage.on_failure != OnFailure::GoOn) {
            break;
        }
    }
    Ok(())
}
