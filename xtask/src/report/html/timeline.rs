//! When each step worked: a picture with a band for each phase, and the critical path in words. Pure.
//!
//! Bars stand in percent of the run, so the picture is as wide as the page and its texts keep their size.

use super::facts::{Facts, State, Step};
use super::lanes::{Span, Waited, lanes};
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
/// Steps below this many percent of the run are short: they have no room for a name.
const SHORT: f64 = 1.5;
/// So many short steps beside or upon each other become one bar.
const MANY: usize = 4;
/// A name that has to be cut is worth showing from so many letters on.
const MANY_LETTERS: usize = 7;
/// A longer critical path is told without the steps that took next to no time.
const LONG_PATH: usize = 40;

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
        r#"<ul class="legend"><li><span class="key key-critical"></span>on the critical path</li>"#,
        r#"<li><span class="key s-done"></span>done</li>"#,
        r#"<li><span class="key s-failed key-hatched"></span>failed</li>"#,
        r#"<li><span class="key s-cancelled"></span>cancelled</li></ul>"#
    ));
}

fn critical_path(markup: &mut Markup, facts: &Facts, place: &dyn Fn(&Step) -> Option<String>) {
    let steps: Vec<(&Step, Waited)> =
        facts.critical.iter().filter_map(|stop| Some((facts.steps.get(stop.at)?, stop.waited))).collect();
    let length: u64 = steps.iter().map(|(step, _)| step.span.length()).sum();
    markup.raw("<p>").text(&sentence(facts, length, &steps)).raw(r#"</p><ol class="chain">"#);
    let is_told = |step: &Step| steps.len() <= LONG_PATH || step.span.length() * 1_000 >= length;
    for (step, _) in steps.iter().filter(|(step, _)| is_told(step)) {
        markup.open("li", &[]).element("span", &[("class", "phase")], step.phase.name()).raw(" ");
        match place(step) {
            Some(address) => markup.element("a", &[("href", &address)], &step.subject),
            None => markup.text(&step.subject),
        };
        markup.raw(" ").element("b", &[], &time(step.span.length())).close("li");
    }
    let left_out = steps.iter().filter(|(step, _)| !is_told(step)).count();
    if left_out > 0 {
        markup.element("li", &[], &format!("and {} that took next to no time", counted(left_out, "step")));
    }
    markup.close("ol");
}

/// What the critical path is worth, and what would make the run quicker.
fn sentence(facts: &Facts, length: u64, steps: &[(&Step, Waited)]) -> String {
    let whole = facts.summary.took;
    let mut sentence = format!(
        "The critical path: {} took {} of {}.",
        counted(steps.len(), "step"),
        time(length),
        time(whole)
    );
    let placed = steps.iter().filter(|(_, waited)| *waited == Waited::Place).count();
    // Of a run that was over at once there is nothing to say.
    if length < 1_000 {
        return sentence;
    }
    if placed > 0 && facts.longest_chain * 10 < length * 9 {
        sentence.push_str(&format!(
            " {} waited for a place, not for what they build on: with more at a time (--jobs), and a machine \
             that bears it, the same steps would take {} at best.",
            if placed + 1 == steps.len() {
                "All but the first".to_owned()
            } else {
                format!("{placed} of them")
            },
            time(facts.longest_chain)
        ));
    } else {
        sentence.push_str(" Making these quicker makes the run quicker.");
    }
    sentence
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
    let pieces = pieces(facts, phase, whole);
    let spans: Vec<Span> = pieces.iter().map(|piece| piece.span).collect();
    let lanes = lanes(&spans);
    let count = u32::try_from(lanes.iter().max().map_or(0, |last| last + 1)).unwrap_or(u32::MAX);
    let height = count.saturating_mul(LANE).saturating_add(5).to_string();
    markup.raw(r#"<div class="band">"#).element("span", &[("class", "band-name")], phase.title());
    let all: usize = pieces.iter().map(|piece| piece.steps.len()).sum();
    let label = format!("{}: {}", phase.title(), counted(all, "step"));
    let svg =
        [("class", "lanes"), ("height", height.as_str()), ("role", "group"), ("aria-label", label.as_str())];
    markup.open("svg", &svg);
    for at in moments(whole) {
        let x = percentage(percent(at, whole));
        markup.empty("line", &[("class", "grid"), ("x1", &x), ("x2", &x), ("y1", "0"), ("y2", "100%")]);
    }
    for (n, piece) in pieces.iter().enumerate() {
        let beside = || lanes.iter().zip(&spans).filter(|(lane, _)| **lane == lanes[n]).map(|(_, span)| span);
        let after = beside().map(|span| span.began).filter(|began| *began >= spans[n].ended).min();
        let before = beside().map(|span| span.ended).filter(|ended| *ended <= spans[n].began).max();
        let address = match piece.steps[..] {
            [step] => place(step),
            _ => Some(format!("#phase-{phase}")),
        };
        let x = percent(piece.span.began, whole).min(100.0 - THINNEST);
        let bar = Bar {
            piece,
            x,
            width: percent(piece.span.length(), whole).max(THINNEST).min(100.0 - x),
            y: u32::try_from(lanes[n]).unwrap_or(u32::MAX).saturating_mul(LANE).saturating_add(3),
            room: percent(after.unwrap_or(whole).saturating_sub(piece.span.ended), whole),
            room_before: percent(piece.span.began.saturating_sub(before.unwrap_or(0)), whole),
        };
        bar.draw(markup, address.as_deref());
    }
    markup.close("svg").close("div");
}

/// What becomes one bar: a step, or many short ones that went well at about the same time.
struct Piece<'a> {
    steps: Vec<&'a Step>,
    /// Not thinner than can be seen.
    span: Span,
    is_critical: bool,
}

fn pieces(facts: &Facts, phase: Phase, whole: u64) -> Vec<Piece<'_>> {
    let thinnest = (whole as f64 * THINNEST / 100.0) as u64;
    let visible =
        |span: Span| Span { began: span.began, ended: span.ended.max(span.began.saturating_add(thinnest)) };
    let is_short = |step: &Step| step.state == State::Done && percent(step.span.length(), whole) < SHORT;
    let of_phase = facts.steps.iter().enumerate().filter(|(_, step)| step.phase == phase);
    let (mut short, rest): (Vec<_>, Vec<_>) = of_phase.partition(|(_, step)| is_short(step));
    short.sort_by_key(|(_, step)| step.span.began);
    let mut groups: Vec<(Span, Vec<(usize, &Step)>)> = Vec::new();
    for (at, step) in short {
        let span = visible(step.span);
        match groups.last_mut() {
            Some((so_far, group)) if span.began <= so_far.ended => {
                so_far.ended = so_far.ended.max(span.ended);
                group.push((at, step));
            }
            _ => groups.push((span, vec![(at, step)])),
        }
    }
    let mut pieces = Vec::new();
    for (span, group) in groups {
        if group.len() >= MANY {
            let is_critical = group.iter().any(|(at, _)| facts.is_critical(*at));
            pieces.push(Piece {
                steps: group.into_iter().map(|(_, step)| step).collect(),
                span,
                is_critical,
            });
        } else {
            pieces.extend(group.into_iter().map(|(at, step)| single(facts, at, step, visible(step.span))));
        }
    }
    pieces.extend(rest.into_iter().map(|(at, step)| single(facts, at, step, visible(step.span))));
    pieces.sort_by_key(|piece| piece.span.began);
    pieces
}

fn single<'a>(facts: &Facts, at: usize, step: &'a Step, span: Span) -> Piece<'a> {
    Piece { steps: vec![step], span, is_critical: facts.is_critical(at) }
}

struct Bar<'a> {
    piece: &'a Piece<'a>,
    /// In percent.
    x: f64,
    width: f64,
    /// How much is free on its right.
    room: f64,
    y: u32,
    /// How much is free on its left.
    room_before: f64,
}

impl Bar<'_> {
    fn draw(&self, markup: &mut Markup, address: Option<&str>) {
        let Some(step) = self.piece.steps.first() else { return };
        let is_critical = self.piece.is_critical;
        let class = format!(
            "bar {}{}{}",
            step.state.class(),
            if is_critical { " critical" } else { "" },
            if address.is_some() { " link" } else { "" }
        );
        match address {
            Some(address) => {
                markup.open("a", &[("href", address), ("class", &class), ("tabindex", "-1")]);
            }
            None => {
                markup.open("g", &[("class", &class)]);
            }
        }
        markup.element("title", &[], &self.title(step));
        let (x, y, width, height) =
            (percentage(self.x), self.y.to_string(), percentage(self.width), BAR.to_string());
        // What sticks out of the inner picture is cut off.
        markup.open("svg", &[("x", &x), ("y", &y), ("width", &width), ("height", &height)]);
        let whole = [("width", "100%"), ("height", "100%"), ("rx", "3")];
        markup.empty("rect", &[&[("class", "fill")], &whole[..]].concat());
        if step.state == State::Failed {
            markup.empty("rect", &[&[("fill", "url(#hatch)")], &whole[..]].concat());
        }
        if is_critical {
            markup.empty("rect", &[("class", "edge"), ("y", "17"), ("width", "100%"), ("height", "3")]);
        }
        let full = match self.piece.steps.len() {
            1 => step.subject.clone(),
            many => counted(many, "short step"),
        };
        let name = shorten(&full, 40);
        let text = |name: &str| name.chars().count() as f64 * LETTER + 1.0;
        let fits = text(&name) <= self.width;
        let letters = ((self.width - 1.0) / LETTER).max(0.0) as usize;
        let text_y = (self.y + 14).to_string();
        let inside = [("x", "6"), ("y", "14"), ("class", "in")];
        if fits {
            markup.element("text", &inside, &name).close("svg");
        } else if text(&name) <= self.room {
            let x = percentage(self.x + self.width + 0.4);
            markup.close("svg").element(
                "text",
                &[("x", &x), ("y", text_y.as_str()), ("class", "out")],
                &name,
            );
        } else if letters < MANY_LETTERS && text(&name) <= self.room_before {
            let x = percentage(self.x - 0.4);
            let end = [("x", x.as_str()), ("y", text_y.as_str()), ("class", "out"), ("text-anchor", "end")];
            markup.close("svg").element("text", &end, &name);
        } else {
            if letters >= MANY_LETTERS {
                markup.element("text", &inside, &shorten(&full, letters));
            }
            markup.close("svg");
        }
        markup.close(if address.is_some() { "a" } else { "g" });
    }

    /// What it says when it is pointed at, and read aloud.
    fn title(&self, step: &Step) -> String {
        let critical = if self.piece.is_critical { ", on the critical path" } else { "" };
        if let [step] = self.piece.steps[..] {
            return format!(
                "{} {} in {}, from {} to {}{critical}",
                step.subject,
                step.state.word(step.phase),
                time(step.span.length()),
                clock(step.span.began),
                clock(step.span.ended)
            );
        }
        let ended = self.piece.steps.iter().map(|step| step.span.ended).max().unwrap_or_default();
        format!(
            "{} {}, from {} to {}{critical}",
            counted(self.piece.steps.len(), "short step"),
            step.state.word(step.phase),
            clock(self.piece.span.began),
            clock(ended)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::facts::Material;
    use crate::report::testing::{Story, failing_story};

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

    #[test]
    fn many_short_steps_are_one_bar() {
        let mut story = Story::new();
        story.start(Phase::Build, "slow", "not built yet").at(90);
        story.finish(Phase::Build, "slow", 90_000, None, "");
        for n in 0..9 {
            story.start(Phase::Verify, &format!("image-{n}"), "just built");
        }
        for n in 0..8 {
            story.finish(Phase::Verify, &format!("image-{n}"), 3, None, "");
        }
        story.fail(Phase::Verify, "image-8", "moved", &[]);
        let facts = Facts::of(&Material { events: story.events, ..Material::default() });
        let told: Vec<(usize, State)> = pieces(&facts, Phase::Verify, 90_000)
            .iter()
            .map(|piece| (piece.steps.len(), piece.steps[0].state))
            .collect();
        assert_eq!(told, [(8, State::Done), (1, State::Failed)], "what failed stands alone");
        let mut markup = Markup::new();
        timeline(&mut markup, &facts, &|_| None);
        let text = markup.finish();
        assert!(text.contains("<title>8 short steps verified, from 01:30 to 01:30</title>"), "{text}");
        assert!(text.contains("href=\"#phase-verify\""), "{text}");
    }

    #[test]
    fn the_sentence_says_what_would_be_quicker() {
        let mut story = Story::new();
        for (began, name) in [(0, "a"), (20, "b"), (40, "c")] {
            story.at(began).start(Phase::Build, name, "not built yet").at(began + 20);
            story.finish(Phase::Build, name, 20_000, None, "");
        }
        let told = |plan: &str| {
            let plan = serde_json::from_str(plan).unwrap();
            let facts = Facts::of(&Material { events: story.events.clone(), plan, ..Material::default() });
            let mut markup = Markup::new();
            timeline(&mut markup, &facts, &|_| None);
            markup.finish().split("</p>").next().unwrap_or_default().to_owned()
        };
        insta::assert_snapshot!(told("{}"), @"<p>The critical path: 3 steps took 60s of 60s. All but the first waited for a place, not for what they build on: with more at a time (--jobs), and a machine that bears it, the same steps would take 20s at best.");
        let chain = r#"{"steps": [{"id": "build:b", "needs": ["build:a"]}, {"id": "build:c", "needs": ["build:b"]}]}"#;
        insta::assert_snapshot!(told(chain), @"<p>The critical path: 3 steps took 60s of 60s. Making these quicker makes the run quicker.");
    }
}
