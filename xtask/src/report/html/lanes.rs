//! Where on the timeline a step stands, and which steps decided how long the run took. Pure.

use serde::{Deserialize, Serialize};

/// A step that begins so soon after the end of another, in milliseconds, or within half a percent of the run, began
/// because of it.
const AT_ONCE: u64 = 100;

/// A stretch of time, in milliseconds of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// From.
    pub began: u64,
    /// To; not before `began`.
    pub ended: u64,
}

impl Span {
    /// How long.
    pub fn length(self) -> u64 {
        self.ended.saturating_sub(self.began)
    }
}

/// For each span the lane in which it overlaps with no other; as few lanes as can be, earlier spans higher up.
pub fn lanes(spans: &[Span]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&at| (spans[at].began, std::cmp::Reverse(spans[at].ended)));
    // When the last span of each lane ends.
    let mut ends: Vec<u64> = Vec::new();
    let mut lanes = vec![0; spans.len()];
    for at in order {
        let span = spans[at];
        // Spans of no length would share a lane and hide each other.
        let ended = span.ended.max(span.began + 1);
        let lane = ends.iter().position(|&end| end <= span.began).unwrap_or(ends.len());
        if lane == ends.len() {
            ends.push(ended);
        } else {
            ends[lane] = ended;
        }
        lanes[at] = lane;
    }
    lanes
}

/// A step, as far as the critical path is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// When it worked.
    pub span: Span,
    /// Its phase's place in the run; a phase waits for the one before it.
    pub phase: usize,
    /// The steps that it waited for, by their place in the list.
    pub needs: Vec<usize>,
}

/// What a step on the critical path waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// For nothing: it is the first.
    Nothing,
    /// For the step before it on the path, which it needs.
    Need,
    /// For a place: only so many work at a time, and the step before it on the path made way.
    Place,
    /// For the phase before to end.
    Phase,
}

/// A step of the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Which step.
    pub at: usize,
    /// Why it did not begin earlier.
    pub waited: Waited,
}

/// The chain of steps that decided when the run ended, first to last: from the step that ended last back to whatever it
/// waited for. That is what ended last of what it needs, of the steps whose place it can have taken (only so many work at
/// a time), and of the phase before.
pub fn critical_path(links: &[Link]) -> Vec<Stop> {
    let end = links.iter().map(|link| link.span.ended).max().unwrap_or_default();
    let at_once = AT_ONCE.max(end / 200);
    let last_of = |among: &mut dyn Iterator<Item = usize>| {
        among.max_by_key(|&at| (links[at].span.ended, links[at].span.length(), std::cmp::Reverse(at)))
    };
    let mut path: Vec<Stop> = Vec::new();
    let mut next = last_of(&mut (0..links.len()));
    while let Some(at) = next {
        path.push(Stop { at, waited: Waited::Nothing });
        let link = &links[at];
        // What began later, or is on the path already, was not waited for, whatever a broken record says.
        let is_before = |&other: &usize| {
            other < links.len()
                && links[other].span.began <= link.span.began
                && !path.iter().any(|stop| stop.at == other)
        };
        let made_way = |&other: &usize| {
            let (began, ended) = (link.span.began, links[other].span.ended);
            let is_earlier = is_before(&other) && links[other].span.began < began;
            is_earlier && ended <= began + 5 && began.saturating_sub(ended) <= at_once
        };
        let of_phase = |phase: usize| (0..links.len()).filter(move |&other| links[other].phase == phase);
        let needed = last_of(&mut link.needs.iter().copied().filter(is_before));
        let place = last_of(&mut of_phase(link.phase).filter(made_way));
        let before = links.iter().map(|other| other.phase).filter(|phase| *phase < link.phase).max();
        let of_before = before.and_then(|before| last_of(&mut of_phase(before).filter(is_before)));
        let could = [(needed, Waited::Need), (place, Waited::Place), (of_before, Waited::Phase)];
        let could: Vec<(usize, Waited)> =
            could.into_iter().filter_map(|(at, waited)| Some((at?, waited))).collect();
        // What ended last; of what ended together, what says most.
        let last = could.iter().map(|(at, _)| links[*at].span.ended).max().unwrap_or_default();
        let found = could.into_iter().find(|(at, _)| links[*at].span.ended.saturating_add(AT_ONCE) > last);
        if let (Some((_, waited)), Some(stop)) = (found, path.last_mut()) {
            stop.waited = waited;
        }
        next = found.map(|(before, _)| before);
    }
    path.reverse();
    path
}

/// How long the run would take if no step waited for a place: phase after phase, the longest chain of needs.
pub fn longest_chain(links: &[Link]) -> u64 {
    let mut order: Vec<usize> = (0..links.len()).collect();
    // What is needed began earlier; a need that did not is one of a broken record.
    order.sort_by_key(|&at| (links[at].phase, links[at].span.began, links[at].span.ended));
    let mut ends: Vec<Option<u64>> = vec![None; links.len()];
    let (mut phase, mut phase_began, mut end) = (0, 0, 0);
    for at in order {
        let link = &links[at];
        if link.phase > phase {
            (phase, phase_began) = (link.phase, end);
        }
        let needed = link.needs.iter().filter_map(|&need| ends.get(need).copied().flatten()).max();
        let ended = needed.unwrap_or(0).max(phase_began) + link.span.length();
        ends[at] = Some(ended);
        end = end.max(ended);
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(began: u64, ended: u64) -> Span {
        Span { began, ended }
    }

    #[test]
    fn lanes_are_few_and_nothing_overlaps() {
        for (spans, expect) in [
            (vec![], vec![]),
            (vec![span(0, 5), span(5, 9)], vec![0, 0]),
            (vec![span(0, 5), span(4, 9), span(5, 6)], vec![0, 1, 0]),
            (vec![span(3, 3), span(3, 3), span(4, 8)], vec![0, 1, 0]),
            // The longer of two that begin together stands above.
            (vec![span(0, 2), span(0, 9), span(3, 4)], vec![1, 0, 1]),
        ] {
            assert_eq!(lanes(&spans), expect, "{spans:?}");
        }
    }

    #[track_caller]
    fn check(links: &[((u64, u64), usize, &[usize])], expect: &[usize]) {
        let links: Vec<Link> = links
            .iter()
            .map(|((began, ended), phase, needs)| Link {
                span: span(*began, *ended),
                phase: *phase,
                needs: needs.to_vec(),
            })
            .collect();
        assert_eq!(critical_path(&links).iter().map(|stop| stop.at).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn the_critical_path_is_what_was_waited_for() {
        check(&[], &[]);
        check(&[((0, 9), 0, &[])], &[0]);
        // A chain beside a longer single step that ends earlier.
        check(&[((0, 5), 0, &[]), ((5, 20), 0, &[0]), ((0, 15), 0, &[])], &[0, 1]);
        // Of two needs, the one that ended last.
        check(&[((0, 5), 0, &[]), ((0, 8), 0, &[]), ((8, 9), 0, &[0, 1])], &[1, 2]);
        // Through the phase before, and past one without steps.
        check(&[((0, 6), 0, &[]), ((0, 7), 0, &[]), ((8, 9), 2, &[])], &[1, 2]);
        // A build that needs a pull of an earlier phase waits for that phase, too.
        check(&[((0, 6_000), 0, &[]), ((0, 7_000), 0, &[]), ((7_010, 9_000), 2, &[0])], &[1, 2]);
        check(&[((0, 6_000), 0, &[]), ((0, 6_050), 0, &[]), ((6_060, 9_000), 2, &[0])], &[0, 2]);
        // The need was over long before; it waited for its place, and the step that made way for another need.
        check(
            &[
                ((0, 9_000), 0, &[]),
                ((0, 5_000), 0, &[]),
                ((9_010, 20_000), 0, &[]),
                ((20_050, 30_000), 0, &[1]),
            ],
            &[0, 2, 3],
        );
        // A record that contradicts itself ends the path, and not the program.
        check(&[((0, 5), 0, &[1]), ((0, 5), 0, &[0, 7])], &[1, 0]);
    }

    /// Runs steps as the executor does, so many at a time: phase after phase, each as soon as what it needs is done. A
    /// step needs only what stands before it.
    fn run(steps: &[(u64, usize, Vec<usize>)], at_a_time: usize) -> Vec<Link> {
        let link =
            |step: &(u64, usize, Vec<usize>)| Link { span: span(0, 0), phase: step.1, needs: step.2.clone() };
        let mut links: Vec<Link> = steps.iter().map(link).collect();
        let (mut now, mut phase_began) = (0, 0);
        for phase in 0..=steps.iter().map(|step| step.1).max().unwrap_or(0) {
            let mut places = vec![phase_began; at_a_time];
            let mut left: Vec<usize> = (0..steps.len()).filter(|&at| steps[at].1 == phase).collect();
            while !left.is_empty() {
                // Whichever may begin first; what it needs is done by then.
                let ready = |at: usize| {
                    let ends = links[at].needs.iter().map(|&need| links[need].span.ended);
                    ends.max().unwrap_or(0).max(phase_began)
                };
                let is_open = |at: &usize| links[*at].needs.iter().all(|need| !left.contains(need));
                let next = left.iter().copied().filter(is_open).min_by_key(|&at| (ready(at), at)).unwrap();
                let place = (0..at_a_time).min_by_key(|&place| places[place]).unwrap();
                let began = places[place].max(ready(next));
                places[place] = began + steps[next].0;
                links[next].span = span(began, places[place]);
                now = now.max(places[place]);
                left.retain(|&at| at != next);
            }
            phase_began = now;
        }
        links
    }

    /// Steps of whole seconds in some phases; needs of the same phase or of one before.
    fn steps() -> impl Strategy<Value = Vec<(u64, usize, Vec<usize>)>> {
        let step = (1u64..30, 0usize..3, proptest::collection::vec(0usize..24, 0..3));
        proptest::collection::vec(step, 1..24).prop_map(|mut steps| {
            steps.sort_by_key(|step| step.1);
            for (at, (length, _, needs)) in steps.iter_mut().enumerate() {
                *length *= 1_000;
                needs.retain(|need| *need < at);
            }
            steps
        })
    }

    proptest! {
        /// With a place for everybody, the path is the longest chain of what needs what.
        #[test]
        fn the_path_is_the_longest_chain(steps in steps()) {
            let links = run(&steps, steps.len());
            let end = links.iter().map(|link| link.span.ended).max().unwrap();
            let path = critical_path(&links);
            let length: u64 = path.iter().map(|stop| links[stop.at].span.length()).sum();
            prop_assert_eq!(length, end);
            prop_assert_eq!(longest_chain(&links), end);
        }

        /// With few places it has no gap either, each stop begins when the one before ends, and says why.
        #[test]
        fn the_path_has_no_gap(steps in steps(), at_a_time in 1usize..4) {
            let links = run(&steps, at_a_time);
            let path = critical_path(&links);
            prop_assert_eq!(path[0].waited, Waited::Nothing);
            prop_assert_eq!(links[path[0].at].span.began, 0);
            for pair in path.windows(2) {
                let (before, after) = (&links[pair[0].at], &links[pair[1].at]);
                prop_assert_eq!(before.span.ended, after.span.began);
                match pair[1].waited {
                    Waited::Need => prop_assert!(after.needs.contains(&pair[0].at)),
                    Waited::Place => prop_assert_eq!(before.phase, after.phase),
                    Waited::Phase => prop_assert!(before.phase < after.phase),
                    Waited::Nothing => prop_assert!(false, "only the first waits for nothing"),
                }
            }
            let end = links.iter().map(|link| link.span.ended).max().unwrap();
            prop_assert_eq!(links[path[path.len() - 1].at].span.ended, end);
            prop_assert!(longest_chain(&links) <= end);
        }

        #[test]
        fn laws(raw in proptest::collection::vec((0u64..50, 0u64..20, 0usize..3, proptest::collection::vec(0usize..20, 0..3)), 0..20)) {
            let links: Vec<Link> = raw.into_iter().map(|(began, took, phase, needs)| Link { span: span(began, began + took), phase, needs }).collect();
            let spans: Vec<Span> = links.iter().map(|link| link.span).collect();
            let lanes = lanes(&spans);
            for (a, one) in spans.iter().enumerate() {
                for (b, other) in spans.iter().enumerate().skip(a + 1) {
                    let overlap = one.began < other.ended && other.began < one.ended;
                    prop_assert!(!overlap || lanes[a] != lanes[b]);
                }
            }
            let path = critical_path(&links);
            prop_assert_eq!(path.is_empty(), links.is_empty());
            prop_assert!(path.iter().map(|stop| stop.at).collect::<std::collections::BTreeSet<_>>().len() == path.len());
        }
    }
}
