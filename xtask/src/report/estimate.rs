//! How much longer it will take, judged by what it took before. Pure.
//!
//! In: the steps that are planned, what each usually takes, and which have begun or ended. Out: milliseconds, or none:
//! where nobody knows, nothing is said. The builds that are left are dealt out as the executor would, each when what it
//! needs is done and a slot is free.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::model::{Event, EventKind, Phase, StepId};

/// The builds of a run, and what they usually take.
#[derive(Clone, Debug, Default)]
pub struct BuildTimes {
    /// The steps, in the order in which they are begun where several could be.
    pub steps: Vec<Expected>,
    /// How many are done at the same time.
    pub side_by_side: usize,
}

/// A step that is to be done.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Which.
    pub id: StepId,
    /// What has to be done before; those that are no steps of this run are done.
    pub needs: Vec<StepId>,
    /// Milliseconds that it usually takes; none if it was never done before.
    pub usually: Option<u64>,
}

/// What is left of a run's builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// About so many milliseconds.
    About(u64),
    /// At least so many, since some were never done before.
    Over(u64),
}

/// Those times beside what really happens.
#[derive(Clone, Debug, Default)]
pub struct Estimate {
    times: BuildTimes,
    /// When they began, in milliseconds of the run.
    running: HashMap<StepId, u64>,
    over: HashSet<StepId>,
}

impl Estimate {
    /// One event further.
    pub fn take(&mut self, event: &Event) {
        match &event.kind {
            EventKind::StepStarted { step, phase: Phase::Build, .. } => {
                self.running.insert(step.clone(), event.elapsed);
            }
            EventKind::StepFinished { step, phase: Phase::Build, .. } => {
                self.running.remove(step);
                self.over.insert(step.clone());
            }
            EventKind::StepSkipped { phase: Phase::Build, subject, .. } => {
                self.over.insert(StepId::new(Phase::Build, subject));
            }
            _ => {}
        }
    }

    /// What is expected becomes known, be it in the middle of a run.
    pub fn expect(&mut self, times: BuildTimes) {
        self.times = times;
    }

    /// What a step usually takes, in milliseconds.
    pub fn usually(&self, step: &StepId) -> Option<u64> {
        self.times.steps.iter().find(|expected| expected.id == *step)?.usually
    }

    /// What is left at a moment of the run, of which `todo` steps are still to be done, those that are running among
    /// them. None if nothing is known, or if others are done than was planned.
    pub fn left(&self, todo: usize, now: u64) -> Option<Left> {
        let steps: Vec<&Expected> =
            self.times.steps.iter().filter(|step| !self.over.contains(&step.id)).collect();
        if steps.is_empty() || steps.len() != todo || steps.iter().all(|step| step.usually.is_none()) {
            return None;
        }
        let numbers: HashMap<&StepId, usize> =
            steps.iter().enumerate().map(|(n, step)| (&step.id, n)).collect();
        let mut needs_left = vec![0_usize; steps.len()];
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
        for (n, step) in steps.iter().enumerate() {
            for need in step.needs.iter().filter_map(|need| numbers.get(need)) {
                needs_left[n] += 1;
                needed_by[*need].push(n);
            }
        }
        let mut slots: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        // When each is done, from now on, of those that are sure to end: the earliest first.
        let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        // Which can begin when; of several, the one that the plan names first.
        let mut ready: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        for (n, step) in steps.iter().enumerate() {
            if let Some(since) = self.running.get(&step.id) {
                let rest = step.usually.map_or(0, |usually| rest_of(usually, now.saturating_sub(*since)));
                slots.push(Reverse(rest));
                ends.push(Reverse((rest, n)));
            } else if needs_left[n] == 0 {
                ready.push(Reverse((0, n)));
            }
        }
        while slots.len() < self.times.side_by_side.max(1) {
            slots.push(Reverse(0));
        }
        let (mut left, mut ended) = (0, 0);
        loop {
            while let Some(Reverse((at, n))) = ready.pop() {
                let Reverse(free) = slots.pop().unwrap_or(Reverse(0));
                let end = free.max(at) + steps[n].usually.unwrap_or(0);
                slots.push(Reverse(end));
                ends.push(Reverse((end, n)));
            }
            let Some(Reverse((at, n))) = ends.pop() else { break };
            (left, ended) = (at, ended + 1);
            for follower in needed_by[n].iter().copied() {
                needs_left[follower] -= 1;
                if needs_left[follower] == 0 && !self.running.contains_key(&steps[follower].id) {
                    ready.push(Reverse((at, follower)));
                }
            }
        }
        // Images that wait for each other in a circle are never begun.
        if ended < steps.len() {
            return None;
        }
        let is_complete = steps.iter().all(|step| step.usually.is_some());
        Some(if is_complete { Left::About(left) } else { Left::Over(left) })
    }
}

/// What is left of a step that runs: one that takes longer than usual is taken to be nearly done.
fn rest_of(usually: u64, elapsed: u64) -> u64 {
    usually.saturating_sub(elapsed).max(usually / 20)
}

impl Left {
    /// `about 40 s left`; none for what is over in a moment anyway.
    pub fn words(self) -> Option<String> {
        match self {
            Self::About(time) => rough(time).map(|time| format!("about {time} left")),
            Self::Over(time) => rough(time).map(|time| format!("over {time} left")),
        }
    }
}

/// `5 s`, `40 s`, `3 min`, `2 h`: as exact as such a thing can be; none below two seconds.
pub fn rough(milliseconds: u64) -> Option<String> {
    let seconds = milliseconds / 1000;
    match seconds {
        0..2 => None,
        2..10 => Some(format!("{seconds} s")),
        10..57 => Some(format!("{} s", seconds.div_ceil(5) * 5)),
        57..3_570 => Some(format!("{} min", (seconds + 30) / 60)),
        _ => Some(format!("{} h", (seconds + 1800) / 3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;

    fn id(name: &str) -> StepId {
        StepId::new(Phase::Build, name)
    }

    /// `api:40 web:20<api new`, in seconds, so many at a time.
    fn estimate(steps: &str, side_by_side: usize, story: &Story) -> Estimate {
        let steps = steps.split(' ').map(|text| {
            let (text, needs) = text.split_once('<').unwrap_or((text, ""));
            let (name, usually) = text.split_once(':').unwrap_or((text, ""));
            let needs = needs.split(',').filter(|need| !need.is_empty()).map(id).collect();
            Expected {
                id: id(name),
                needs,
                usually: usually.parse::<u64>().ok().map(|seconds| seconds * 1000),
            }
        });
        let mut estimate = Estimate::default();
        story.events.iter().for_each(|event| estimate.take(event));
        estimate.expect(BuildTimes { steps: steps.collect(), side_by_side });
        estimate
    }

    #[track_caller]
    fn check(steps: &str, side_by_side: usize, story: &Story, (todo, now): (usize, u64), expect: &str) {
        let left = estimate(steps, side_by_side, story).left(todo, now * 1000);
        assert_eq!(left.and_then(Left::words).as_deref().unwrap_or("-"), expect, "{steps}");
    }

    #[test]
    fn what_is_left_is_dealt_out() {
        let mut story = Story::new();
        check("a:40 b:20", 1, &story, (2, 0), "about 1 min left");
        check("a:40 b:20", 2, &story, (2, 0), "about 40 s left");
        check("a:40 b:20<a", 2, &story, (2, 0), "about 1 min left");
        check("b:20<a,x a:20", 2, &story, (2, 0), "about 40 s left");
        check("a:40 b", 2, &story, (2, 0), "over 40 s left");
        check("a b", 2, &story, (2, 0), "-");
        check("a:1", 2, &story, (1, 0), "-");
        check("a:40", 2, &story, (2, 0), "-");
        check("a:7200", 2, &story, (1, 0), "about 2 h left");
        story.start(Phase::Build, "a", "").at(10).finish(Phase::Build, "b", 1, None, "");
        check("a:40 b:20", 2, &story, (1, 30), "about 10 s left");
        check("a:40 b:20", 2, &story, (1, 90), "about 2 s left");
        check("a:40 b:20 c:30", 2, &story, (2, 30), "about 30 s left");
        story.skip(Phase::Build, "c", crate::model::Outcome::Skipped, "b failed");
        check("a:40 b:20 c:30", 1, &story, (1, 0), "about 40 s left");
        assert_eq!(estimate("a:40", 1, &story).usually(&id("a")), Some(40_000));
    }

    #[test]
    fn a_circle_is_not_waited_for() {
        check("a:40<b b:20<a", 2, &Story::new(), (2, 0), "-");
    }
}
