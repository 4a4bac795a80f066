//! Which step may run next: a pure ready-set, and the tokio loop that drives it.
//!
//! Nothing waits for a level or a batch: a step runs as soon as what it needs is done. A failed step skips those
//! that need it, by name; the rest goes on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::model::{Outcome, Step, StepId};

/// How steps ended, over all phases of a run.
pub type Outcomes = HashMap<StepId, Outcome>;

/// The ready-set over one phase's steps. Pure.
#[derive(Debug)]
pub struct Schedule {
    /// How many steps each one still waits for.
    open: Vec<usize>,
    /// Who waits for a step, and whether it needs its success.
    waiters: Vec<Vec<(usize, bool)>>,
    /// Ready steps: those with the longest chain behind them first, then in plan order.
    ready: BinaryHeap<(usize, Reverse<usize>)>,
    chain: Vec<usize>,
    over: Vec<bool>,
}

/// A step that will not run, and the step that it needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Index of the step.
    pub step: usize,
    /// What it needed.
    pub needed: StepId,
}

impl Schedule {
    /// From the steps of one phase and the outcomes of earlier phases. Steps that need something that failed
    /// before are orphans from the start.
    pub fn new(steps: &[Step], before: &Outcomes) -> (Self, Vec<Orphan>) {
        let index: HashMap<&StepId, usize> = steps.iter().enumerate().map(|(i, s)| (&s.id, i)).collect();
        let mut waiters: Vec<Vec<(usize, bool)>> = vec![Vec::new(); steps.len()];
        let mut open = vec![0; steps.len()];
        let mut lost = Vec::new();
        for (i, step) in steps.iter().enumerate() {
            let needs = step.needs.iter().map(|id| (id, true));
            for (id, must_succeed) in needs.chain(step.after.iter().map(|id| (id, false))) {
                match index.get(id) {
                    Some(&other) => {
                        open[i] += 1;
                        waiters[other].push((i, must_succeed));
                    }
                    None if must_succeed && before.get(id).is_some_and(|o| !is_success(*o)) => {
                        lost.push((i, id.clone()));
                    }
                    None => {}
                }
            }
        }
        let mut schedule = Self {
            chain: chains(&waiters, &open),
            open,
            waiters,
            ready: BinaryHeap::new(),
            over: vec![false; steps.len()],
        };
        for i in 0..steps.len() {
            schedule.offer(i);
        }
        let mut orphans = Vec::new();
        for (i, needed) in lost {
            schedule.orphan(i, &needed, steps, &mut orphans);
        }
        (schedule, orphans)
    }

    /// Takes the ready step that most depends on, if any may run.
    fn take_ready(&mut self) -> Option<usize> {
        while let Some((_, Reverse(i))) = self.ready.pop() {
            if !self.over[i] {
                self.over[i] = true;
                return Some(i);
            }
        }
        None
    }

    /// A step is over: what waited for it becomes ready, or is orphaned when it needed a success.
    pub fn finish(&mut self, step: usize, outcome: Outcome, steps: &[Step]) -> Vec<Orphan> {
        let mut orphans = Vec::new();
        self.release(step, is_success(outcome), steps, &mut orphans);
        orphans
    }

    fn release(&mut self, step: usize, success: bool, steps: &[Step], orphans: &mut Vec<Orphan>) {
        for (waiter, must_succeed) in self.waiters[step].clone() {
            self.open[waiter] = self.open[waiter].saturating_sub(1);
            if must_succeed && !success {
                self.orphan(waiter, &steps[step].id, steps, orphans);
            } else {
                self.offer(waiter);
            }
        }
    }

    fn orphan(&mut self, step: usize, needed: &StepId, steps: &[Step], orphans: &mut Vec<Orphan>) {
        if std::mem::replace(&mut self.over[step], true) {
            return;
        }
        orphans.push(Orphan { step, needed: needed.clone() });
        self.release(step, false, steps, orphans);
    }

    fn offer(&mut self, step: usize) {
        if self.open[step] == 0 && !self.over[step] {
            self.ready.push((self.chain[step], Reverse(step)));
        }
    }
}

/// Whether what needs a step may go on.
pub fn is_success(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Done | Outcome::UpToDate)
}

/// For each step, the longest chain of steps that wait for it.
fn chains(waiters: &[Vec<(usize, bool)>], open: &[usize]) -> Vec<usize> {
    let mut open = open.to_vec();
    let mut order: Vec<usize> = (0..open.len()).filter(|&i| open[i] == 0).collect();
    let mut at = 0;
    while at < order.len() {
        for &(waiter, _) in &waiters[order[at]] {
            open[waiter] -= 1;
            if open[waiter] == 0 {
                order.push(waiter);
            }
        }
        at += 1;
    }
    let mut chain = vec![0; waiters.len()];
    for &i in order.iter().rev() {
        chain[i] = waiters[i].iter().map(|&(w, _)| chain[w] + 1).max().unwrap_or(0);
    }
    chain
}

/// Runs steps, at most `limit` at a time, until nothing is left that may run. `start` makes a step's future,
/// `ended` hears of each end and says whether to go on; `skipped` hears of orphans. Once told to stop, nothing
/// more is started and what has not run is reported through `skipped` without a need.
pub async fn drive<F, R>(
    steps: &[Step],
    before: &Outcomes,
    limit: usize,
    mut start: impl FnMut(usize) -> F,
    mut ended: impl FnMut(usize, R) -> (Outcome, Proceed),
    mut skipped: impl FnMut(usize, Option<&StepId>),
) where
    F: Future<Output = (usize, R)>,
{
    let (mut schedule, orphans) = Schedule::new(steps, before);
    let mut reported = vec![false; steps.len()];
    let mut report = |orphans: Vec<Orphan>, reported: &mut Vec<bool>| {
        for orphan in orphans {
            reported[orphan.step] = true;
            skipped(orphan.step, Some(&orphan.needed));
        }
    };
    report(orphans, &mut reported);
    let mut running = FuturesUnordered::new();
    let mut proceed = Proceed::Yes;
    loop {
        while proceed == Proceed::Yes && running.len() < limit.max(1) {
            let Some(step) = schedule.take_ready() else { break };
            reported[step] = true;
            running.push(start(step));
        }
        let Some((step, result)) = running.next().await else { break };
        let (outcome, go) = ended(step, result);
        if go == Proceed::No {
            proceed = Proceed::No;
        }
        report(schedule.finish(step, outcome, steps), &mut reported);
    }
    for (step, _) in reported.iter().enumerate().filter(|(_, reported)| !**reported) {
        skipped(step, None);
    }
}

/// Whether further steps, or a stage, are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proceed {
    /// Go on.
    Yes,
    /// Let what runs end, start nothing more.
    No,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Phase, PushProof, Reason, StepKind};

    fn step(name: &str, needs: &[&str], after: &[&str]) -> Step {
        let ids = |names: &[&str]| names.iter().map(|n| StepId::new(Phase::Build, n)).collect();
        let name_ref: crate::model::Reference = "x".parse().unwrap();
        Step {
            id: StepId::new(Phase::Build, name),
            phase: Phase::Build,
            subject: name.to_owned(),
            kind: StepKind::Push { reference: name_ref, from: None, proof: PushProof::Word },
            needs: ids(needs),
            after: ids(after),
            why: Reason::Asked,
        }
    }

    /// Runs one at a time; steps in `failing` fail. Gives the order and who was skipped for whom.
    fn run(steps: &[Step], failing: &[&str], before: &Outcomes) -> String {
        let mut log = Vec::new();
        let (mut schedule, orphans) = Schedule::new(steps, before);
        let tell = |orphans: Vec<Orphan>, log: &mut Vec<String>| {
            for o in orphans {
                log.push(format!(
                    "-{}({})",
                    steps[o.step].subject,
                    o.needed.as_str().trim_start_matches("build:")
                ));
            }
        };
        tell(orphans, &mut log);
        while let Some(i) = schedule.take_ready() {
            log.push(steps[i].subject.clone());
            let failed = failing.contains(&steps[i].subject.as_str());
            let outcome = if failed { Outcome::Failed } else { Outcome::Done };
            tell(schedule.finish(i, outcome, steps), &mut log);
        }
        log.join(" ")
    }

    #[test]
    fn runs_long_chains_first_and_skips_by_name() {
        let steps =
            [step("a", &[], &[]), step("b", &[], &[]), step("c", &["b"], &[]), step("d", &["c"], &[])];
        let none = Outcomes::new();
        assert_eq!(run(&steps, &[], &none), "b c a d");
        assert_eq!(run(&steps, &["b"], &none), "b -c(b) -d(c) a");
        assert_eq!(run(&steps, &["a"], &none), "b c a d");
    }

    #[test]
    fn after_waits_but_does_not_need() {
        let steps = [step("a", &[], &["b"]), step("b", &[], &[])];
        assert_eq!(run(&steps, &["b"], &Outcomes::new()), "b a");
    }

    #[test]
    fn earlier_phases_count() {
        let steps = [step("a", &["pull"], &[]), step("b", &["a"], &[]), step("c", &["other"], &[])];
        let before = Outcomes::from([(StepId::new(Phase::Build, "pull"), Outcome::Failed)]);
        assert_eq!(run(&steps, &[], &before), "-a(pull) -b(a) c");
    }

    proptest! {
        #[test]
        fn every_step_ends_once_and_after_its_needs(edges in prop::collection::vec((0usize..15, 0usize..15), 0..40), failing in prop::collection::vec(0usize..15, 0..4)) {
            let names: Vec<String> = (0..15).map(|n| format!("s{n}")).collect();
            let steps: Vec<Step> = (0..15).map(|n| {
                let needs: Vec<&str> = edges.iter().filter(|(a, b)| *a == n && b < a).map(|(_, b)| names[*b].as_str()).collect();
                step(&names[n], &needs, &[])
            }).collect();
            let failing: Vec<&str> = failing.iter().map(|n| names[*n].as_str()).collect();
            let log = run(&steps, &failing, &Outcomes::new());
            let mut seen: Vec<String> = Vec::new();
            for word in log.split(' ') {
                let name = word.trim_start_matches('-').split('(').next().unwrap_or("").to_owned();
                prop_assert!(!seen.contains(&name));
                if !word.starts_with('-') {
                    let step = steps.iter().find(|s| s.subject == name).unwrap();
                    for need in &step.needs {
                        let is_over = seen.iter().any(|s| need.as_str() == format!("build:{s}"));
                        prop_assert!(is_over);
                    }
                }
                seen.push(name);
            }
            prop_assert_eq!(seen.len(), 15);
        }
    }
}
