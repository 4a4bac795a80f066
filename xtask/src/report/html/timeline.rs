//! When each step worked: a picture with a band for each phase, and the critical path in words. Pure.
//!
//! Bars stand in percent of the run, so the picture is as wide as the page and its texts keep their size.

use super::facts::{Facts, Step};
use super::lanes::{Span, lanes};
use super::markup::Markup;
use super::pieces::{counted, percent, percentage, shorten, time};
use crate::model::Phase;
use crate::report::text::clock;

/// Height of a bar, and of a lane with the gap below it.
const BAR: u32 = 20;
const LANE: u32 = 25;
/// Bars are never thinner than this many percent, lest they vanish.
const THINNEST: f64 = 0.3;
/// What a letter takes, in percent of the picture at its usual width.
const LETTER: f64 = 0.72;

/// The whole section but its heading. `place` gives the address on the page of what a step is about.
pub fn timeline(markup: &mut Markup, facts: &Facts, place: &dyn Fn(&Step) -> Option<String>) {
    let whole =
        facts.steps.iter().map(|step| step.span.ended).max().unwrap_or(0).max(facts.summary.took).max(1);
    critical_path(markup, facts, place);
    let label = format!(
        "Timeline of {} over {}; the table of steps has the same as text",
        counted(facts.steps.len(), "step"),
        time(whole)
    );
    let region =
        [("class", "timeline"), ("role", "region"), ("tabindex", "0"), ("aria-label", label.as_str())];
    markup.open("div", &region).open("div", &[("class", "bands")]);
    axis(markup, whole);
    let mut phases: Vec<Phase> = facts.steps.iter().map(|step| step.phase).collect();
    phases.sort_unstable();
    phases.dedup();
    for phase in phases {
        band(markup, facts, phase, whole, place);
    }
    markup.close("div").close("div");
    markup.raw(concat!(
        r#"<p class="legend"><span class="key key-critical"></span>on the critical path"#,
        r#"<span class="key s-done"></span>done<span class="key s-failed key-hatched"></span>failed"#,
        r#"<span class="key s-cancelled"></span>cancelled</p>"#
    ));
}

fn critical_path(markup: &mut Markup, facts: &Facts, place: &dyn Fn(&Step) -> Option<String>) {
    let steps: Vec<&Step> = facts.critical.iter().filter_map(|&at| facts.steps.get(at)).collect();
    let length: u64 = steps.iter().map(|step| step.span.length()).sum();
    let sentence = format!(
        "The critical path: {} took {} of {}. Making these quicker makes the run quicker.",
        counted(steps.len(), "step"),
        time(length),
        time(facts.summary.took)
    );
    markup.element("p", &[], &sentence).open("ol", &[("class", "chain")]);
    for step in steps {
        markup.open("li", &[]).element("span", &[("class", "phase")], step.phase.name()).raw(" ");
        match place(step) {
            Some(address) => markup.element("a", &[("href", &address)], &step.subject),
            None => markup.text(&step.subject),
        };
        markup.raw(" ").element("b", &[], &time(step.span.length())).close("li");
    }
    markup.close("ol");
}

/// The moments that the axis names: a round number of seconds apart, at most eight.
fn moments(whole: u64) -> Vec<u64> {
    let steps = [
        100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000,
        900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000,
    ];
    let step = steps.into_iter().find(|step| whole / step <= 8).unwrap_or(whole / 8);
    (0..=whole / step.max(1)).map(|n| n * step).collect()
}

/// `0.4s` below two seconds, `01:42` from there on.
fn moment(at: u64, whole: u64) -> String {
    if whole < 4_000 { format!("{}.{}s", at / 1000, at / 100 % 10) } else { clock(at) }
}

fn axis(markup: &mut Markup, whole: u64) {
    markup.raw(r#"<div class="band axis"><span></span>"#);
    markup.open("svg", &[("class", "lanes"), ("height", "20"), ("aria-hidden", "true")]);
    for at in moments(whole) {
        let x = percent(at, whole);
        // What would stick out on the right is left out.
        if x < 97.0 {
            markup.element(
                "text",
                &[("x", &percentage(x)), ("y", "14"), ("class", "tick")],
                &moment(at, whole),
            );
        }
    }
    markup.close("svg").close("div");
}

fn band(
    markup: &mut Markup,
    facts: &Facts,
    phase: Phase,
    whole: u64,
    place: &dyn Fn(&Step) -> Option<String>,
) {
    let steps: Vec<(usize, &Step)> =
        facts.steps.iter().enumerate().filter(|(_, step)| step.phase == phase).collect();
    let thinnest = (whole as f64 * THINNEST / 100.0) as u64;
    let spans: Vec<Span> = steps
        .iter()
        .map(|(_, s)| Span { began: s.span.began, ended: s.span.ended.max(s.span.began + thinnest) })
        .collect();
    let lanes = lanes(&spans);
    let count = u32::try_from(lanes.iter().max().map_or(0, |last| last + 1)).unwrap_or(u32::MAX);
    let height = (count * LANE + 5).to_string();
    markup.raw(r#"<div class="band">"#).element("span", &[("class", "band-name")], phase.title());
    let label = format!("{}: {}", phase.title(), counted(steps.len(), "step"));
    let svg =
        [("class", "lanes"), ("height", height.as_str()), ("role", "group"), ("aria-label", label.as_str())];
    markup.open("svg", &svg);
    for at in moments(whole) {
        let x = percentage(percent(at, whole));
        markup.empty("line", &[("class", "grid"), ("x1", &x), ("x2", &x), ("y1", "0"), ("y2", "100%")]);
    }
    for (n, (at, step)) in steps.iter().enumerate() {
        let room = lanes
            .iter()
            .zip(&spans)
            .filter(|(lane, span)| **lane == lanes[n] && span.began >= spans[n].ended)
            .map(|(_, span)| span.began)
            .min()
            .unwrap_or(whole);
        let bar = Bar {
            step,
            x: percent(spans[n].began, whole).min(100.0 - THINNEST),
            width: percent(spans[n].length(), whole).max(THINNEST),
            y: u32::try_from(lanes[n]).unwrap_or(u32::MAX).saturating_mul(LANE) + 3,
            room: percent(room.saturating_sub(spans[n].ended), whole),
            is_critical: facts.critical.contains(at),
        };
        bar.draw(markup, place(step));
    }
    markup.close("svg").close("div");
}

struct Bar<'a> {
    step: &'a Step,
    /// In percent.
    x: f64,
    width: f64,
    /// How much is free on its right.
    room: f64,
    y: u32,
    is_critical: bool,
}

impl Bar<'_> {
    fn draw(&self, markup: &mut Markup, address: Option<String>) {
        let step = self.step;
        let critical = if self.is_critical { ", on the critical path" } else { "" };
        let title = format!(
            "{} {} in {}, from {} to {}{critical}",
            step.subject,
            step.state.word(step.phase),
            time(step.span.length()),
            clock(step.span.began),
            clock(step.span.ended)
        );
        let class = format!(
            "bar {}{}{}",
            step.state.class(),
            if self.is_critical { " critical" } else { "" },
            if address.is_some() { " link" } else { "" }
        );
        match &address {
            Some(address) => {
                markup.open("a", &[("href", address), ("class", &class), ("tabindex", "-1")]);
            }
            None => {
                markup.open("g", &[("class", &class)]);
            }
        }
        markup.element("title", &[], &title);
        let (x, y, width, height) =
            (percentage(self.x), self.y.to_string(), percentage(self.width), BAR.to_string());
        let name = shorten(&step.subject, 40);
        let text = name.chars().count() as f64 * LETTER + 1.0;
        let fits = text <= self.width;
        let is_outside = !fits && text <= self.room;
        // What sticks out of the inner picture is cut off.
        markup.open("svg", &[("x", &x), ("y", &y), ("width", &width), ("height", &height)]);
        let whole = [("width", "100%"), ("height", "100%"), ("rx", "3")];
        markup.empty("rect", &[&[("class", "fill")], &whole[..]].concat());
        if step.state == super::facts::State::Failed {
            markup.empty("rect", &[&[("fill", "url(#hatch)")], &whole[..]].concat());
        }
        if self.is_critical {
            markup.empty("rect", &[("class", "edge"), ("y", "17"), ("width", "100%"), ("height", "3")]);
        }
        if fits || (!is_outside && self.width > 6.0) {
            markup.element("text", &[("x", "6"), ("y", "14"), ("class", "in")], &name);
        }
        markup.close("svg");
        if is_outside {
            let (x, y) = (percentage(self.x + self.width + 0.4), (self.y + 14).to_string());
            markup.element("text", &[("x", &x), ("y", &y), ("class", "out")], &name);
        }
        markup.close(if address.is_some() { "a" } else { "g" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::facts::Material;
    use crate::report::testing::failing_story;

    #[test]
    fn the_axis_has_few_round_moments() {
        assert_eq!(moments(93_000), [0, 15_000, 30_000, 45_000, 60_000, 75_000, 90_000]);
        assert_eq!(moments(1), [0]);
        for whole in [1, 99, 100, 7_777, 3_600_000, 400_000_000, u64::MAX / 2] {
            assert!(moments(whole).len() <= 9, "{whole}");
        }
        assert_eq!(moment(1_400, 2_000), "1.4s");
        assert_eq!(moment(102_000, 200_000), "01:42");
    }

    #[test]
    fn draws_bars_and_tells_the_critical_path() {
        let facts = Facts::of(&Material { events: failing_story(), ..Material::default() });
        let mut markup = Markup::new();
        timeline(&mut markup, &facts, &|step| {
            (step.phase == Phase::Build).then(|| format!("#image-{}", step.subject))
        });
        let text = markup.finish().replace("><", ">\n<");
        let chain = text.split("</ol>").next().unwrap();
        insta::assert_snapshot!(chain, @r##"
        <p>The critical path: 2 steps took 90s of 93s. Making these quicker makes the run quicker.</p>
        <ol class="chain">
        <li>
        <span class="phase">prefetch</span> alpine:3.20 <b>6.0s</b>
        </li>
        <li>
        <span class="phase">build</span> <a href="#image-frontend">frontend</a> <b>84s</b>
        </li>
        "##);
        let frontend = text.split("<title>frontend").nth(1).unwrap().split("</a>").next().unwrap();
        insta::assert_snapshot!(frontend, @r#"
         failed in 84s, from 00:09 to 01:33, on the critical path</title>
        <svg x="9.677%" y="3" width="90.323%" height="20">
        <rect class="fill" width="100%" height="100%" rx="3"/>
        <rect fill="url(#hatch)" width="100%" height="100%" rx="3"/>
        <rect class="edge" y="17" width="100%" height="3"/>
        <text x="6" y="14" class="in">frontend</text>
        </svg>
        "#);
    }
}
