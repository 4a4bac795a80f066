//! Pure: in which stages a plan is run, and what has to be planned again before one of them.
//!
//! What external images bring and are is known only when they are here, so what stands on them is planned once more then.

use super::Request;
use crate::model::{FailFast, OnFailure, Outcome, Phase, Plan, Replan, Stage};
use crate::settings::Config;

/// The stages of a plan, in order. Phases without a stage are not shown: artifacts, where there is none to get.
pub fn of(request: &Request, settings: &Config, plan: &Plan, has_indexes: bool) -> Vec<Stage> {
    let mut stages = Vec::new();
    for phase in request.phases.iter().copied().filter(|phase| is_shown(*phase, plan)) {
        let on_failure = on_failure(phase, request, settings);
        let stage = |replan| Stage { phase, replan, on_failure };
        match phase {
            Phase::Prefetch => {
                stages.push(stage(None));
                stages.push(stage(Some(Replan::FurtherPulls)));
            }
            Phase::Build => {
                stages.push(stage(Some(Replan::Builds)));
                stages.extend(has_indexes.then(|| Stage { phase: Phase::Index, ..stage(None) }));
            }
            Phase::Keep => stages.push(stage(Some(Replan::Keeps))),
            Phase::Verify => stages.push(stage(Some(Replan::WhatWasBuilt))),
            Phase::Save => stages.push(stage(Some(Replan::Save))),
            Phase::Start => stages.push(stage(Some(Replan::Start))),
            _ => stages.push(stage(None)),
        }
    }
    stages
}

fn is_shown(phase: Phase, plan: &Plan) -> bool {
    let is_success = |outcome| matches!(outcome, Outcome::Done | Outcome::UpToDate);
    phase != Phase::Download
        || plan.steps.iter().any(|step| step.phase == Phase::Download)
        || plan.skipped.iter().any(|s| s.phase == Phase::Download && !is_success(s.why.outcome()))
}

/// A base image that cannot be pulled or named fails what is built on it, and the rest goes on, unless pulls count.
fn on_failure(phase: Phase, request: &Request, settings: &Config) -> OnFailure {
    if matches!(phase, Phase::Stop | Phase::Save | Phase::Start) {
        return OnFailure::EndAfterPhase;
    }
    let is_lenient =
        matches!(phase, Phase::Prefetch | Phase::Alias) && !(settings.strict_prefetch || request.pulls_count);
    match (is_lenient, request.fail_fast) {
        (true, _) => OnFailure::GoOn,
        (false, FailFast::Yes) => OnFailure::EndAtOnce,
        (false, FailFast::No) if phase == Phase::Prefetch && settings.strict_prefetch => {
            OnFailure::EndAfterPhase
        }
        (false, FailFast::No) => OnFailure::GoOn,
    }
}
