//! What builds on what, as a picture: base images on the left, then images, each after what it needs. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::facts::State;
use super::images::{Base, Image};
use super::layout::{Place, places};
use super::render::shorten;
use crate::model::Phase;

/// How wide a node may be; names that need more are shortened.
const WIDTHS: (usize, usize) = (150, 330);
/// What a letter of a name takes.
const LETTER: f64 = 7.3;
/// Beside the name: the sign on the left, the time on the right.
const SIGN: usize = 42;
const TIME: usize = 46;
/// From one column to the next.
const GAP: usize = 76;
/// With more lines than this, those that follow from others are left out.
const MOST_LINES: usize = 60;
const HEIGHT: usize = 34;
/// From one row to the next.
const ROW: usize = 44;
const MARGIN: usize = 12;
/// So many images that stand alike become one node: nobody looks for a name in a wall of them.
const ALIKE: usize = 8;
/// Columns of fewer rows than this stand centred beside each other; longer ones begin at the top, for the middle would
/// be out of sight.
const CENTRED: usize = 14;

/// The picture, in its own coordinates.
#[derive(Clone, Debug, Serialize)]
pub struct Graph<'a> {
    width: usize,
    height: usize,
    /// How many lines are left out, since they follow from others.
    left_out: usize,
    /// A fan of hundreds of lines must not hide what it joins.
    is_dense: bool,
    lines: Vec<Line>,
    /// Base images, then images.
    nodes: Vec<Node<'a>>,
    node_width: usize,
    node_height: usize,
}

/// From one node to another, by number.
#[derive(Clone, Debug, Serialize)]
struct Line {
    from: usize,
    to: usize,
    path: String,
}

#[derive(Clone, Debug, Serialize)]
struct Node<'a> {
    name: Cow<'a, str>,
    /// As much of it as there is room for.
    short: String,
    anchor: &'a str,
    state: State,
    phase: Phase,
    is_base: bool,
    /// Milliseconds.
    took: Option<u64>,
    x: usize,
    y: usize,
}

/// Where everything stands.
pub fn graph<'a>(images: &'a [Image<'_>], bases: &'a [Base]) -> Graph<'a> {
    let (mut nodes, needs) = folded(nodes(images, bases), &needs(images, bases));
    let beside = SIGN + if nodes.iter().any(|node| node.took.is_some()) { TIME } else { 0 };
    let longest = nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    let width = ((longest as f64 * LETTER) as usize).saturating_add(beside).clamp(WIDTHS.0, WIDTHS.1);
    let letters = ((width - beside) as f64 / LETTER) as usize;
    let places = places(&needs);
    let columns = places.iter().map(|place| place.column + 1).max().unwrap_or(0);
    let rows: Vec<usize> =
        (0..columns).map(|column| places.iter().filter(|place| place.column == column).count()).collect();
    let tallest = rows.iter().copied().max().unwrap_or(0);
    for (node, Place { column, row }) in nodes.iter_mut().zip(&places) {
        let offset = if tallest < CENTRED { (tallest - rows[*column]) * ROW / 2 } else { 0 };
        (node.x, node.y) = (MARGIN + column * (width + GAP), MARGIN + row * ROW + offset);
        node.short = shorten(&node.name, letters);
    }
    let all: usize = needs.iter().map(Vec::len).sum();
    let drawn = if all > MOST_LINES { reduced(&needs) } else { needs };
    let lines: Vec<Line> = drawn
        .iter()
        .enumerate()
        .flat_map(|(to, needed)| needed.iter().map(move |&from| (from, to)))
        .map(|(from, to)| Line { from, to, path: curve(&nodes[from], &nodes[to], width) })
        .collect();
    Graph {
        width: columns.saturating_sub(1) * (width + GAP) + width + 2 * MARGIN,
        height: tallest.saturating_sub(1) * ROW + HEIGHT + 2 * MARGIN,
        left_out: all - lines.len(),
        is_dense: lines.len() > 120,
        lines,
        nodes,
        node_width: width,
        node_height: HEIGHT,
    }
}

impl Graph<'_> {
    /// How many lines are drawn.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }
}

/// With one node for many images that nothing is built on, that are built on the same and of which the same became. What
/// failed is always shown by name.
fn folded<'a>(nodes: Vec<Node<'a>>, needs: &[Vec<usize>]) -> (Vec<Node<'a>>, Vec<Vec<usize>>) {
    let mut is_needed = vec![false; nodes.len()];
    needs.iter().flatten().filter(|&&need| need < nodes.len()).for_each(|&need| is_needed[need] = true);
    let mut alike: BTreeMap<(&[usize], State), Vec<usize>> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        if !is_needed[at] && !node.is_base && node.state != State::Failed {
            alike.entry((&needs[at], node.state)).or_default().push(at);
        }
    }
    let mut stands_for = vec![1_usize; nodes.len()];
    for group in alike.into_values().filter(|group| group.len() > ALIKE) {
        group.iter().for_each(|&at| stands_for[at] = 0);
        stands_for[group[0]] = group.len();
    }
    let mut places = vec![None; nodes.len()];
    let kept: Vec<usize> = (0..nodes.len()).filter(|&at| stands_for[at] > 0).collect();
    kept.iter().enumerate().for_each(|(place, &at)| places[at] = Some(place));
    let needs =
        kept.iter().map(|&at| needs[at].iter().filter_map(|&need| *places.get(need)?).collect()).collect();
    let shown = nodes.into_iter().zip(stands_for).filter(|(_, number)| *number > 0).map(|(node, number)| {
        if number == 1 {
            return node;
        }
        Node { name: Cow::Owned(format!("{number} images")), anchor: "images", took: None, ..node }
    });
    (shown.collect(), needs)
}

/// Of each node the numbers of those that it needs.
fn needs(images: &[Image<'_>], bases: &[Base]) -> Vec<Vec<usize>> {
    let of_image = |image: &Image<'_>| {
        let on_images = image.needs.iter().map(|need| bases.len() + need);
        image.bases.iter().copied().chain(on_images).collect()
    };
    bases.iter().map(|_| Vec::new()).chain(images.iter().map(of_image)).collect()
}

fn nodes<'a>(images: &'a [Image<'_>], bases: &'a [Base]) -> Vec<Node<'a>> {
    let node = |name, anchor, state, phase, took| {
        let (short, is_base) = (String::new(), phase == Phase::Prefetch);
        Node { name: Cow::Borrowed(name), short, anchor, state, phase, is_base, took, x: 0, y: 0 }
    };
    let bases =
        bases.iter().map(|b| node(b.name.as_str(), b.anchor.as_str(), b.state, Phase::Prefetch, b.took));
    let images = images.iter().map(|image| {
        let took = image.build.map(|step| step.span.length());
        node(image.name, &image.anchor, image.state, Phase::Build, took)
    });
    bases.chain(images).collect()
}

/// Without what follows from the rest: a line to something that is reached through another line.
fn reduced(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let reached_from = |start: usize| {
        let mut reached = vec![false; needs.len()];
        let mut next = vec![start];
        while let Some(at) = next.pop() {
            for &need in needs.get(at).into_iter().flatten() {
                if need < reached.len() && !std::mem::replace(&mut reached[need], true) {
                    next.push(need);
                }
            }
        }
        reached
    };
    let reached: Vec<Vec<bool>> = (0..needs.len()).map(reached_from).collect();
    let follows = |node: usize, need: usize| {
        // On a cycle everything follows from everything: there it stays as it is.
        needs[node].iter().any(|&other| other != need && reached[other][need] && !reached[need][other])
    };
    needs
        .iter()
        .enumerate()
        .map(|(node, needed)| needed.iter().copied().filter(|&need| !follows(node, need)).collect())
        .collect()
}

/// From the right edge of one to the left edge of the other.
fn curve(from: &Node<'_>, to: &Node<'_>, width: usize) -> String {
    let (x1, y1, x2, y2) = (from.x + width, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2);
    // On a cycle it may lead back.
    let bend = x2.saturating_sub(x1).max(40) / 2;
    format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2.saturating_sub(bend))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_follow_from_others_are_left_out() {
        for (needs, expect) in [
            (vec![vec![], vec![0], vec![0, 1]], vec![vec![], vec![0], vec![1]]),
            (vec![vec![], vec![], vec![0, 1]], vec![vec![], vec![], vec![0, 1]]),
            // Two that need each other keep their lines.
            (vec![vec![1], vec![0], vec![0, 1]], vec![vec![1], vec![0], vec![0, 1]]),
        ] {
            assert_eq!(reduced(&needs), expect);
        }
    }

    /// How many nodes are drawn of so many images on one base each, of which the first failed.
    #[track_caller]
    fn check_folded(images: usize, needed: &[(usize, usize)], expected: &[&str]) {
        let node = |name: String, state, is_base| Node {
            name: Cow::Owned(name),
            short: String::new(),
            anchor: "a",
            state,
            phase: Phase::Build,
            is_base,
            took: Some(1),
            x: 0,
            y: 0,
        };
        let state = |at| if at == 0 { State::Failed } else { State::Done };
        let mut nodes = vec![node("base".to_owned(), State::Done, true)];
        nodes.extend((0..images).map(|at| node(format!("i{at}"), state(at), false)));
        let mut needs = vec![vec![]];
        needs.extend((0..images).map(|_| vec![0]));
        needed.iter().for_each(|&(image, need)| needs[image + 1].push(need + 1));
        let (nodes, needs) = folded(nodes, &needs);
        let names: Vec<&str> = nodes.iter().map(|node| &*node.name).collect();
        assert_eq!(names, expected);
        assert!(needs.iter().flatten().all(|&need| need < names.len()), "{needs:?}");
    }

    #[test]
    fn images_that_stand_alike_are_one_node_and_what_failed_is_named() {
        check_folded(60, &[], &["base", "i0", "59 images"]);
        check_folded(4, &[], &["base", "i0", "i1", "i2", "i3"]);
        // What others stand on, and what stands on others, is no part of a crowd.
        check_folded(12, &[(11, 10)], &["base", "i0", "9 images", "i10", "i11"]);
    }
}
