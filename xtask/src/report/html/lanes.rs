//! Where on the timeline a step stands, and which steps decided how long the run took. Pure.

/// A step that begins so soon after the end of another, in milliseconds, or within half a percent of the run, began
/// because of it.
const AT_ONCE: u64 = 100;

/// A stretch of time, in milliseconds of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The chain of steps that decided when the run ended, first to last: from the step that ended last back to whatever it
/// waited for. That is what it needs and what ended last of it; or, where that was over long before, the step whose place
/// it took (only so many work at a time); or else the last of the phase before.
pub fn critical_path(links: &[Link]) -> Vec<usize> {
    let end = links.iter().map(|link| link.span.ended).max().unwrap_or_default();
    let at_once = AT_ONCE.max(end / 200);
    let last_of = |among: &mut dyn Iterator<Item = usize>| {
        among.max_by_key(|&at| (links[at].span.ended, links[at].span.length(), std::cmp::Reverse(at)))
    };
    let mut path = Vec::new();
    let mut next = last_of(&mut (0..links.len()));
    while let Some(at) = next {
        path.push(at);
        let link = &links[at];
        // What began later, or is on the path already, was not waited for, whatever a broken record says.
        let is_before = |&other: &usize| {
            !path.contains(&other) && other < links.len() && links[other].span.began <= link.span.began
        };
        let made_way = |&other: &usize| {
            let (began, ended) = (link.span.began, links[other].span.ended);
            let is_earlier = is_before(&other) && links[other].span.began < began;
            is_earlier && ended <= began + 5 && began.saturating_sub(ended) <= at_once
        };
        let needed = last_of(&mut link.needs.iter().copied().filter(is_before));
        let of_phase = |phase: usize| (0..links.len()).filter(move |&other| links[other].phase == phase);
        next = needed
            .filter(made_way)
            .or_else(|| last_of(&mut of_phase(link.phase).filter(made_way)))
            .or(needed)
            .or_else(|| {
                let before =
                    links.iter().map(|other| other.phase).filter(|phase| *phase < link.phase).max()?;
                last_of(&mut of_phase(before).filter(is_before))
            });
    }
    path.reverse();
    path
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
        assert_eq!(critical_path(&links), expect);
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
        // A build that needs a pull of an earlier phase.
        check(&[((0, 6), 0, &[]), ((0, 7), 0, &[]), ((8, 9), 2, &[0])], &[0, 2]);
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

    proptest! {
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
            prop_assert!(path.iter().collect::<std::collections::BTreeSet<_>>().len() == path.len());
        }
    }
}
