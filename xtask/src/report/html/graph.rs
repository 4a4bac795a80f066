//! What builds on what, as a picture: base images on the left, then images, each after what it needs. Pure.

use super::facts::State;
use super::images::{Base, Image};
use super::layout::{Place, places};
use super::markup::Markup;
use super::pieces::{counted, shorten, time};
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
/// Columns of fewer rows than this stand centred beside each other; longer ones begin at the top, for the middle would
/// be out of sight.
const CENTRED: usize = 14;

/// The picture in its frame, which scrolls.
pub fn graph(markup: &mut Markup, images: &[Image<'_>], bases: &[Base]) {
    let mut needs: Vec<Vec<usize>> = bases.iter().map(|_| Vec::new()).collect();
    needs.extend(images.iter().map(|image| {
        let on_images = image.needs.iter().map(|need| bases.len() + need);
        image.bases.iter().copied().chain(on_images).collect()
    }));
    let places = places(&needs);
    let has_times =
        bases.iter().any(|base| base.took.is_some()) || images.iter().any(|i| i.build().is_some());
    let names = bases.iter().map(|base| base.name.as_str()).chain(images.iter().map(|image| image.name));
    let longest = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let beside = SIGN + if has_times { TIME } else { 0 };
    let width = ((longest as f64 * LETTER) as usize).saturating_add(beside).clamp(WIDTHS.0, WIDTHS.1);
    let letters = ((width - beside) as f64 / LETTER) as usize;
    let columns = places.iter().map(|place| place.column + 1).max().unwrap_or(0);
    let rows: Vec<usize> =
        (0..columns).map(|column| places.iter().filter(|place| place.column == column).count()).collect();
    let tallest = rows.iter().copied().max().unwrap_or(0);
    let at = |place: &Place| {
        let offset = if tallest < CENTRED { (tallest - rows[place.column]) * ROW / 2 } else { 0 };
        (MARGIN + place.column * (width + GAP), MARGIN + place.row * ROW + offset)
    };
    let all_lines: usize = needs.iter().map(Vec::len).sum();
    let lines = if all_lines > MOST_LINES { reduced(&needs) } else { needs.clone() };
    let drawn: usize = lines.iter().map(Vec::len).sum();
    markup.raw("<p>What builds on what, from left to right; base images from elsewhere are dashed.");
    if drawn < all_lines {
        markup
            .text(&format!(" {} that follow from others are left out.", counted(all_lines - drawn, "line")));
    }
    markup.raw("</p>");
    let label = format!(
        "Graph: {} on {}; the list of images has the same as text",
        counted(images.len(), "image"),
        counted(bases.len(), "external base image")
    );
    // A fan of hundreds of lines must not hide what it joins.
    let is_dense = drawn > 120;
    let class = if is_dense { "graph dense" } else { "graph" };
    let region = [("class", class), ("role", "region"), ("tabindex", "0"), ("aria-label", label.as_str())];
    markup.open("div", &region);
    let whole_width = (columns.saturating_sub(1) * (width + GAP) + width + 2 * MARGIN).to_string();
    let height = (tallest.saturating_sub(1) * ROW + HEIGHT + 2 * MARGIN).to_string();
    let view = format!("0 0 {whole_width} {height}");
    let svg = [
        ("width", whole_width.as_str()),
        ("height", height.as_str()),
        ("viewBox", view.as_str()),
        ("role", "group"),
        ("aria-label", "Images and what they build on"),
    ];
    markup.open("svg", &svg);
    for (node, needed) in lines.iter().enumerate() {
        for &need in needed {
            let line = curve(at(&places[need]), at(&places[node]), width);
            let (from, to) = (need.to_string(), node.to_string());
            markup.empty("path", &[("class", "line"), ("d", &line), ("data-from", &from), ("data-to", &to)]);
        }
    }
    for (n, base) in bases.iter().enumerate() {
        let node =
            Node { number: n, name: &base.name, anchor: &base.anchor, state: base.state, is_base: true };
        node.draw(markup, at(&places[n]), (width, letters), Phase::Prefetch, base.took);
    }
    for (n, image) in images.iter().enumerate() {
        let number = bases.len() + n;
        let node =
            Node { number, name: image.name, anchor: &image.anchor, state: image.state, is_base: false };
        let took = image.build().map(|step| step.span.length());
        node.draw(markup, at(&places[number]), (width, letters), Phase::Build, took);
    }
    markup.close("svg").close("div");
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

fn curve((from_x, from_y): (usize, usize), (to_x, to_y): (usize, usize), width: usize) -> String {
    let (x1, y1, x2, y2) = (from_x + width, from_y + HEIGHT / 2, to_x, to_y + HEIGHT / 2);
    // On a cycle it may lead back.
    let bend = x2.saturating_sub(x1).max(40) / 2;
    format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2.saturating_sub(bend))
}

struct Node<'a> {
    number: usize,
    name: &'a str,
    anchor: &'a str,
    state: State,
    is_base: bool,
}

impl Node<'_> {
    fn draw(
        &self,
        markup: &mut Markup,
        (x, y): (usize, usize),
        (wide, letters): (usize, usize),
        phase: Phase,
        took: Option<u64>,
    ) {
        let word = self.state.word(phase);
        let kind = if self.is_base { "base image " } else { "" };
        let title = match took {
            Some(took) => format!("{kind}{}, {word} in {}", self.name, time(took)),
            None => format!("{kind}{}, {word}", self.name),
        };
        let class = format!("node {}{}", self.state.class(), if self.is_base { " external" } else { "" });
        let (address, number) = (format!("#{}", self.anchor), self.number.to_string());
        let link = [
            ("href", address.as_str()),
            ("class", class.as_str()),
            ("data-node", number.as_str()),
            ("tabindex", "-1"),
        ];
        markup.open("a", &link).element("title", &[], &title);
        let place = |dx: usize, dy: usize| ((x + dx).to_string(), (y + dy).to_string());
        let (left, top) = place(0, 0);
        let (width, height) = (wide.to_string(), HEIGHT.to_string());
        let shape = [("x", left.as_str()), ("y", &top), ("width", &width), ("height", &height), ("rx", "7")];
        markup.empty("rect", &shape);
        let (sign_x, sign_y) = place(9, 9);
        super::pieces::sign_at(markup, self.state, (&sign_x, &sign_y));
        let right = took.map(time);
        let (text_x, text_y) = place(32, 22);
        markup.element("text", &[("x", &text_x), ("y", &text_y)], &shorten(self.name, letters));
        if let Some(right) = right {
            let (text_x, _) = place(wide - 10, 22);
            let end =
                [("x", text_x.as_str()), ("y", text_y.as_str()), ("class", "took"), ("text-anchor", "end")];
            markup.element("text", &end, &right);
        }
        markup.close("a");
    }
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
}
