//! What builds on what, as a picture: base images on the left, then images, each after what it needs. Pure.

use super::facts::State;
use super::images::{Base, Image};
use super::layout::{Place, places};
use super::markup::Markup;
use super::pieces::{counted, shorten, time};
use crate::model::Phase;

const WIDTH: usize = 212;
const HEIGHT: usize = 34;
/// From one row, or column, to the next.
const ROW: usize = 44;
const COLUMN: usize = 288;
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
    let columns = places.iter().map(|place| place.column + 1).max().unwrap_or(0);
    let rows: Vec<usize> =
        (0..columns).map(|column| places.iter().filter(|place| place.column == column).count()).collect();
    let tallest = rows.iter().copied().max().unwrap_or(0);
    let at = |place: &Place| {
        let offset = if tallest < CENTRED { (tallest - rows[place.column]) * ROW / 2 } else { 0 };
        (MARGIN + place.column * COLUMN, MARGIN + place.row * ROW + offset)
    };
    let label = format!(
        "Graph: {} on {}; the list of images has the same as text",
        counted(images.len(), "image"),
        counted(bases.len(), "external base image")
    );
    // A fan of hundreds of lines must not hide what it joins.
    let is_dense = needs.iter().map(Vec::len).sum::<usize>() > 120;
    let class = if is_dense { "graph dense" } else { "graph" };
    let region = [("class", class), ("role", "region"), ("tabindex", "0"), ("aria-label", label.as_str())];
    markup.open("div", &region);
    let width = (columns.saturating_sub(1) * COLUMN + WIDTH + 2 * MARGIN).to_string();
    let height = (tallest.saturating_sub(1) * ROW + HEIGHT + 2 * MARGIN).to_string();
    let view = format!("0 0 {width} {height}");
    let svg = [
        ("width", width.as_str()),
        ("height", height.as_str()),
        ("viewBox", view.as_str()),
        ("role", "group"),
        ("aria-label", "Images and what they build on"),
    ];
    markup.open("svg", &svg);
    for (node, needed) in needs.iter().enumerate() {
        for &need in needed {
            let line = curve(at(&places[need]), at(&places[node]));
            let (from, to) = (need.to_string(), node.to_string());
            markup.empty("path", &[("class", "line"), ("d", &line), ("data-from", &from), ("data-to", &to)]);
        }
    }
    for (n, base) in bases.iter().enumerate() {
        let node =
            Node { number: n, name: &base.name, anchor: &base.anchor, state: base.state, is_base: true };
        node.draw(markup, at(&places[n]), Phase::Prefetch, base.took);
    }
    for (n, image) in images.iter().enumerate() {
        let number = bases.len() + n;
        let node =
            Node { number, name: image.name, anchor: &image.anchor, state: image.state, is_base: false };
        node.draw(markup, at(&places[number]), Phase::Build, image.build().map(|step| step.span.length()));
    }
    markup.close("svg").close("div");
}

fn curve((from_x, from_y): (usize, usize), (to_x, to_y): (usize, usize)) -> String {
    let (x1, y1, x2, y2) = (from_x + WIDTH, from_y + HEIGHT / 2, to_x, to_y + HEIGHT / 2);
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
    fn draw(&self, markup: &mut Markup, (x, y): (usize, usize), phase: Phase, took: Option<u64>) {
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
        let (width, height) = (WIDTH.to_string(), HEIGHT.to_string());
        let shape = [("x", left.as_str()), ("y", &top), ("width", &width), ("height", &height), ("rx", "7")];
        markup.empty("rect", &shape);
        let (sign_x, sign_y) = place(9, 9);
        super::pieces::sign_at(markup, self.state, (&sign_x, &sign_y));
        let right = took.map(time);
        let letters = if right.is_some() { 18 } else { 23 };
        let (text_x, text_y) = place(32, 22);
        markup.element("text", &[("x", &text_x), ("y", &text_y)], &shorten(self.name, letters));
        if let Some(right) = right {
            let (text_x, _) = place(WIDTH - 10, 22);
            let end =
                [("x", text_x.as_str()), ("y", text_y.as_str()), ("class", "took"), ("text-anchor", "end")];
            markup.element("text", &end, &right);
        }
        markup.close("a");
    }
}
