//! When each step worked: a picture with a band for each phase, and the critical path in words. Pure.
//!
//! Bars stand in percent of the run, so the picture is as wide as the page and its texts keep their size.

use serde::Serialize;

use super::Places;
use super::facts::{Facts, State, Step};
use super::lanes::{Span, Waited, lanes};
use super::render::{percent, percentage, shorten, time};
use crate::model::{Phase, counted};
use crate::report::text::clock;

/// Height of a bar, and of a lane with the gap below it.
const BAR: usize = 20;
const LANE: usize = 25;
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

/// The critical path and the picture.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline<'a> {
    /// Milliseconds.
    whole: u64,
    sentence: String,
    critical: Vec<&'a Step>,
    /// How many steps of the critical path took next to no time.
    left_out: usize,
    ticks: Vec<Tick>,
    bands: Vec<Band>,
}

/// A moment that the axis names.
#[derive(Clone, Debug, Serialize)]
struct Tick {
    x: String,
    /// Empty where it would stick out on the right.
    text: String,
}

/// A phase.
#[derive(Clone, Debug, Serialize)]
struct Band {
    title: &'static str,
    count: usize,
    height: usize,
    bars: Vec<Bar>,
}

#[derive(Clone, Debug, Serialize)]
struct Bar {
    state: State,
    critical: bool,
    address: Option<String>,
    /// What it says when it is pointed at, and read aloud.
    title: String,
    x: String,
    y: usize,
    width: String,
    height: usize,
    name: Option<Name>,
}

/// A bar's name, where there is room for it.
#[derive(Clone, Debug, Serialize)]
struct Name {
    /// `inside` the bar, `after` or `before` it.
    place: &'static str,
    x: String,
    text: String,
}

/// The timeline of a run. `places` knows where on the page a step's subject is.
pub fn timeline<'a>(facts: &'a Facts, places: &Places<'_>) -> Timeline<'a> {
    let ended = facts.steps.iter().map(|step| step.span.ended).max().unwrap_or(0);
    let whole = ended.max(facts.summary.took).max(1);
    let tick = |at| {
        let x = percent(at, whole);
        Tick { x: percentage(x), text: if x < 97.0 { moment(at, whole) } else { String::new() } }
    };
    let critical: Vec<&Step> = facts.critical.iter().map(|stop| &facts.steps[stop.at]).collect();
    let length: u64 = critical.iter().map(|step| step.span.length()).sum();
    let is_told = |step: &Step| critical.len() <= LONG_PATH || step.span.length() * 1_000 >= length;
    let told: Vec<&Step> = critical.iter().copied().filter(|step| is_told(step)).collect();
    let bands = facts.phases().into_iter().map(|phase| band(facts, phase, whole, places));
    Timeline {
        whole,
        sentence: sentence(facts, length),
        left_out: critical.len() - told.len(),
        critical: told,
        ticks: moments(whole).into_iter().map(tick).collect(),
        bands: machine(facts, whole).into_iter().chain(bands.filter(|band| band.count > 0)).collect(),
    }
}

/// What the critical path is worth, and what would make the run quicker.
fn sentence(facts: &Facts, length: u64) -> String {
    let (whole, steps) = (facts.summary.took, &facts.critical);
    let mut sentence = format!(
        "The critical path: {} took {} of {}.",
        counted(steps.len(), "step"),
        time(length),
        time(whole)
    );
    let placed = steps.iter().filter(|stop| stop.waited == Waited::Place).count();
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

fn band(facts: &Facts, phase: Phase, whole: u64, places: &Places<'_>) -> Band {
    let pieces = pieces(facts, phase, whole);
    let spans: Vec<Span> = pieces.iter().map(|piece| piece.span).collect();
    let lanes = lanes(&spans);
    // How far bars and names reach in each lane, in percent.
    let mut reached = vec![0.0; lanes.iter().max().map_or(0, |last| last + 1)];
    // Pieces come in the order in which they began.
    let bar = |(n, piece): (usize, Piece<'_>)| {
        let beside = lanes.iter().zip(&spans).filter(|(lane, _)| **lane == lanes[n]).map(|(_, span)| span);
        let after = beside.map(|span| span.began).filter(|began| *began >= spans[n].ended).min();
        let address = match piece.steps[..] {
            [step] => places.get(step.subject.as_str()).map(|&place| place.to_owned()),
            _ => Some(format!("phase-{phase}")),
        };
        let free = (reached[lanes[n]], percent(after.unwrap_or(whole), whole));
        let (bar, reach) = piece.bar(free, whole, lanes[n] * LANE + 3, address);
        reached[lanes[n]] = reach;
        bar
    };
    Band {
        title: phase.title(),
        count: pieces.iter().map(|piece| piece.steps.len()).sum(),
        height: lanes.iter().max().map_or(0, |last| last + 1) * LANE + 5,
        bars: pieces.into_iter().enumerate().map(bar).collect(),
    }
}

/// What was done to the machine before there was anything to build with.
fn machine(facts: &Facts, whole: u64) -> Option<Band> {
    let spans: Vec<Span> = facts.machine.iter().map(|(span, _)| *span).collect();
    let lanes = lanes(&spans);
    let bar = |((span, text), lane): (&(Span, String), &usize)| {
        let x = percent(span.began, whole).min(100.0 - THINNEST);
        let width = percent(span.length(), whole).max(THINNEST).min(100.0 - x);
        let letters = ((width - 1.0) / LETTER).max(0.0) as usize;
        let name = (letters >= MANY_LETTERS).then(|| Name {
            place: "inside",
            x: percentage(0.0),
            text: shorten(text, letters),
        });
        Bar {
            state: State::Done,
            critical: false,
            address: Some("notes".to_owned()),
            title: format!("{text}, from {} to {}", clock(span.began), clock(span.ended)),
            x: percentage(x),
            y: lane * LANE + 3,
            width: percentage(width),
            height: BAR,
            name,
        }
    };
    let bars: Vec<Bar> = facts.machine.iter().zip(&lanes).map(bar).collect();
    let height = lanes.iter().max().map_or(0, |last| last + 1) * LANE + 5;
    let band = Band { title: "Bootstrap", count: bars.len(), height, bars };
    (band.count > 0).then_some(band)
}

/// What becomes one bar: a step, or many short ones that went well at about the same time.
struct Piece<'a> {
    steps: Vec<&'a Step>,
    /// Not thinner than can be seen.
    span: Span,
}

fn pieces(facts: &Facts, phase: Phase, whole: u64) -> Vec<Piece<'_>> {
    let thinnest = (whole as f64 * THINNEST / 100.0) as u64;
    let visible =
        |span: Span| Span { began: span.began, ended: span.ended.max(span.began.saturating_add(thinnest)) };
    let single = |step| Piece { steps: vec![step], span: visible(step.span) };
    let is_short = |step: &&Step| step.state == State::Done && percent(step.span.length(), whole) < SHORT;
    let of_phase = facts.steps.iter().filter(|step| step.phase == phase);
    let (mut short, rest): (Vec<&Step>, Vec<&Step>) = of_phase.partition(is_short);
    short.sort_by_key(|step| step.span.began);
    let mut groups: Vec<Piece<'_>> = Vec::new();
    for step in short {
        let span = visible(step.span);
        match groups.last_mut() {
            Some(group) if span.began <= group.span.ended => {
                group.span.ended = group.span.ended.max(span.ended);
                group.steps.push(step);
            }
            _ => groups.push(single(step)),
        }
    }
    let (many, few): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.steps.len() >= MANY);
    let singles = few.into_iter().flat_map(|group| group.steps).chain(rest).map(single);
    let mut pieces: Vec<Piece<'_>> = many.into_iter().chain(singles).collect();
    pieces.sort_by_key(|piece| piece.span.began);
    pieces
}

impl Piece<'_> {
    /// As it is drawn, and how far that reaches. `free` is what nothing else in its lane takes. All in percent.
    fn bar(self, free: (f64, f64), whole: u64, y: usize, address: Option<String>) -> (Bar, f64) {
        let x = percent(self.span.began, whole).min(100.0 - THINNEST);
        let width = percent(self.span.length(), whole).max(THINNEST).min(100.0 - x);
        let (room_before, room_after) = (x - free.0, free.1 - (x + width));
        let full = match self.steps[..] {
            [step] => step.subject.clone(),
            _ => counted(self.steps.len(), "short step"),
        };
        let name = shorten(&full, 40);
        let room = name.chars().count() as f64 * LETTER + 1.0;
        let letters = ((width - 1.0) / LETTER).max(0.0) as usize;
        let named = |place, x: f64, text| Some(Name { place, x: percentage(x), text });
        let name = match () {
            () if room <= width => named("inside", 0.0, name),
            () if room <= room_after => named("after", x + width + 0.4, name),
            () if letters >= MANY_LETTERS => named("inside", 0.0, shorten(&full, letters)),
            () if room <= room_before => named("before", x - 0.4, name),
            () => None,
        };
        let is_after = name.as_ref().is_some_and(|name| name.place == "after");
        let reach = x + width + if is_after { room } else { 0.0 };
        let bar = Bar {
            // Many are one bar only where all of them went well.
            state: self.steps.first().map_or(State::Done, |step| step.state),
            critical: self.steps.iter().any(|step| step.critical),
            title: self.title(),
            address,
            x: percentage(x),
            y,
            width: percentage(width),
            height: BAR,
            name,
        };
        (bar, reach)
    }

    fn title(&self) -> String {
        let [first, ..] = self.steps[..] else { return String::new() };
        let word = first.state.word(first.phase);
        let (what, began, ended) = match self.steps[..] {
            [step] => {
                let what = format!("{} {word} in {}", step.subject, time(step.span.length()));
                (what, step.span.began, step.span.ended)
            }
            _ => {
                let ended = self.steps.iter().map(|step| step.span.ended).max().unwrap_or_default();
                (format!("{} {word}", counted(self.steps.len(), "short step")), self.span.began, ended)
            }
        };
        let critical = self.steps.iter().any(|step| step.critical);
        let critical = if critical { ", on the critical path" } else { "" };
        format!("{what}, from {} to {}{critical}", clock(began), clock(ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::material::Material;
    use crate::report::html::page;
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
    fn what_is_done_to_the_machine_has_a_band_of_its_own() {
        let mut story = Story::new();
        story.begin(1, 1);
        story.now += 30_000;
        story.announce("started a private engine");
        story.start(Phase::Build, "api", "not built yet");
        story.now += 10_000;
        story.finish(Phase::Build, "api", 10_000, None, "");
        let facts = Facts::of(&Material { events: story.events, ..Material::default() });
        let timeline = timeline(&facts, &Places::new());
        let titles: Vec<&str> = timeline.bands.iter().map(|band| band.title).collect();
        assert_eq!(titles, ["Bootstrap", "Build"]);
        assert_eq!(
            (timeline.bands[0].bars[0].x.as_str(), timeline.bands[0].bars[0].width.as_str()),
            ("0%", "75%")
        );
    }

    #[test]
    fn two_names_never_share_a_gap() {
        let mut story = Story::new();
        story.begin(2, 0).phase(Phase::Build, 1, 2, 0);
        // Both are too narrow for their names, and on the right of the second nothing is free.
        for (subject, began, ended) in [("golinks-api", 80, 81), ("golinks-namer", 95, 100)] {
            story.at(began).start(Phase::Build, subject, "not built yet");
            story.at(ended).finish(Phase::Build, subject, (ended - began) * 1000, None, "");
        }
        let facts = Facts::of(&Material { events: story.events, ..Material::default() });
        let bars = timeline(&facts, &Places::default()).bands.into_iter().flat_map(|band| band.bars);
        let names: Vec<_> = bars.map(|bar| bar.name.map(|name| name.place)).collect();
        assert_eq!(names, [Some("after"), None]);
    }

    #[test]
    fn draws_bars_and_tells_the_critical_path() {
        let page = page(&Material { events: failing_story(), ..Material::default() }).unwrap();
        let text = page.split("timeline-title\">Timeline</h2>\n").nth(1).unwrap();
        let chain = text.split("</ol>").next().unwrap();
        insta::assert_snapshot!(chain, @r##"
        <p>The critical path: 2 steps took 90s of 93s. Making these quicker makes the run quicker.</p>
        <ol class="chain">
        <li><span class="phase">prefetch</span> alpine:3.20 <b>6.0s</b></li>
        <li><span class="phase">build</span> <a href="#image-frontend">frontend</a> <b>84s</b></li>
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
        let material = Material { events: story.events, ..Material::default() };
        let facts = Facts::of(&material);
        let told: Vec<(usize, State)> = pieces(&facts, Phase::Verify, 90_000)
            .iter()
            .map(|piece| (piece.steps.len(), piece.steps[0].state))
            .collect();
        assert_eq!(told, [(8, State::Done), (1, State::Failed)], "what failed stands alone");
        let text = page(&material).unwrap();
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
            timeline(&facts, &Places::new()).sentence
        };
        insta::assert_snapshot!(told("{}"), @"The critical path: 3 steps took 60s of 60s. All but the first waited for a place, not for what they build on: with more at a time (--jobs), and a machine that bears it, the same steps would take 20s at best.");
        let chain = r#"{"steps": [{"id": "build:b", "needs": ["build:a"]}, {"id": "build:c", "needs": ["build:b"]}]}"#;
        insta::assert_snapshot!(told(chain), @"The critical path: 3 steps took 60s of 60s. Making these quicker makes the run quicker.");
    }
}
