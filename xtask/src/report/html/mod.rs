//! A run as one self-contained page: `target/xtask/runs/<id>/report.html`.
//!
//! In: [`Material`], all that is on record of a run. Out: HTML that works without a network, without a script, on paper
//! and read aloud. Everything but [`read`] is pure. [`page`] puts together what the page shows; how it looks is in
//! `templates/`. Nothing from outside becomes markup: [`render`] escapes it, and a Content-Security-Policy that knows only
//! the hashes of this program's own style and script is the second lock.

pub mod facts;
pub mod graph;
pub mod images;
pub mod lanes;
pub mod layout;
pub mod material;
pub mod parts;
pub mod read;
pub mod render;
pub mod timeline;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use self::facts::{Facts, Note, Skip, State, Step, what_cancelled};
use self::graph::Graph;
use self::images::{Base, Image};
use self::material::{Excerpt, Material, Tail};
use self::render::{MAX_TEXT, percent, percentage, time};
use self::timeline::Timeline;
use super::missing;
use super::summary::Told;
use crate::model::{Outcome, Phase, Severity};

/// The name of the page in a run's folder.
pub const PAGE: &str = "report.html";

const STYLE: &str = include_str!("templates/page.css");
const SCRIPT: &str = include_str!("templates/page.js");

/// More notes than this are only counted.
const MOST_NOTES: usize = 300;
/// Places in the tree that are shown of one failure.
const MOST_EXCERPTS: usize = 2;
/// Logs beyond this many bytes in all are only linked.
const ALL_LOGS: usize = 400_000;

/// Where on the page a thing is, by its name.
pub type Places<'a> = BTreeMap<&'a str, &'a str>;

/// All that the page shows.
#[derive(Serialize)]
struct View<'a> {
    style: &'static str,
    script: &'static str,
    policy: String,
    title: String,
    run: &'a str,
    events: usize,
    head: Head<'a>,
    sections: Vec<Section>,
    places: &'a Places<'a>,
    failures: Vec<Failed<'a>>,
    timeline: Timeline<'a>,
    graph: Graph<'a>,
    images: &'a [Image<'a>],
    /// All images, by what became of them.
    shares: Vec<Share>,
    has_moved: bool,
    /// The images again, worst first.
    list: Vec<Entry<'a>>,
    bases: &'a [Base],
    phases: Vec<PhaseTable>,
    steps: &'a [Step],
    skips: &'a [Skip],
    notes: &'a [Note],
    notes_left_out: usize,
}

/// How the run went, before all else.
#[derive(Serialize)]
struct Head<'a> {
    state: State,
    /// When it began, RFC 3339 in UTC, and as people read it.
    at: &'a str,
    when: String,
    ending: String,
    sentences: Vec<String>,
    command: String,
    rows: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Section {
    id: &'static str,
    title: &'static str,
    count: Option<usize>,
}

/// The images of which the same became.
#[derive(Serialize)]
struct Share {
    state: State,
    count: usize,
    /// In percent of all.
    x: String,
    width: String,
}

/// Something that failed.
#[derive(Serialize)]
struct Failed<'a> {
    state: State,
    what: String,
    causes: String,
    /// What stands in the tree where it failed.
    excerpts: Vec<&'a Excerpt>,
    /// Of the last lines.
    label: String,
    last_lines: Vec<String>,
    hints: Vec<String>,
    /// What it is about, each with its log.
    steps: Vec<(&'a str, Option<&'a str>)>,
}

/// An image in the list.
#[derive(Serialize)]
struct Entry<'a> {
    /// Its place among the images.
    at: usize,
    tail: Option<&'a Tail>,
    /// Whether the log is left out, since there are too many for one page.
    is_left_out: bool,
}

#[derive(Serialize)]
struct PhaseTable {
    phase: Phase,
    title: &'static str,
    sentence: String,
}

/// The whole page.
///
/// # Errors
/// When a template has a mistake.
pub fn page(material: &Material) -> Result<String, minijinja::Error> {
    let facts = Facts::of(material);
    let (images, bases) = images::images(&facts, material);
    let places = places(&images, &bases);
    let told = grouped(facts.summary.told());
    let graph = graph::graph(&images, &bases);
    let head = head(&facts);
    let notes = &facts.notes[..facts.notes.len().min(MOST_NOTES)];
    let table = |phase: Phase| PhaseTable {
        phase,
        title: phase.title(),
        sentence: facts.summary.phase_sentence(phase),
    };
    render::render(&View {
        style: STYLE,
        script: SCRIPT,
        policy: policy(),
        title: format!("{}: {} ({})", facts.summary.ending(), head.command, material.run),
        run: &material.run,
        events: material.events.len(),
        head,
        sections: sections(
            &facts,
            told.iter().map(|told| told.steps.len().max(1)).sum(),
            graph.lines(),
            (images.len(), bases.len()),
        ),
        places: &places,
        failures: told.iter().map(|told| failed(told, material)).collect(),
        timeline: timeline::timeline(&facts, &places),
        graph,
        shares: shares(&images),
        has_moved: images.iter().any(Image::has_moved),
        list: list(&images, material),
        images: &images,
        bases: &bases,
        phases: facts.phases().into_iter().map(table).collect(),
        steps: &facts.steps,
        skips: &facts.skips,
        notes_left_out: facts.notes.len() - notes.len(),
        notes,
    })
}

/// What is one mistake in several places is told once: the same output of the same instruction.
fn grouped(told: Vec<Told<'_>>) -> Vec<Told<'_>> {
    let without_place = |cause: &String| match cause.split_once(": ") {
        Some((place, rest)) if !place.contains(' ') && place.contains(':') => rest.to_owned(),
        _ => cause.clone(),
    };
    let mark = |told: &Told<'_>| {
        let causes: Vec<String> = told.failure.causes.iter().map(without_place).collect();
        (told.failure.severity, causes, told.failure.last_lines.clone())
    };
    let mut groups: Vec<Told<'_>> = Vec::new();
    for one in told {
        let is_alike =
            |other: &&mut Told<'_>| !one.failure.last_lines.is_empty() && mark(other) == mark(&one);
        let Some(group) = groups.iter_mut().find(is_alike) else {
            groups.push(one);
            continue;
        };
        group.steps.extend(one.steps);
        let hints = one.failure.hints.into_iter();
        let new: Vec<String> = hints.filter(|hint| !group.failure.hints.contains(hint)).collect();
        group.failure.hints.extend(new);
        let subjects: Vec<&str> = group.steps.iter().map(|step| step.subject.as_str()).collect();
        if let Some(first) = group.steps.first() {
            group.failure.what = first.phase.failure_of_all(missing::list(&subjects).trim_matches('`'));
        }
    }
    groups
}

/// Only the page's own style and script, and nothing from anywhere.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// An image counts before a base image, and the first of a name before the rest.
fn places<'a>(images: &'a [Image<'_>], bases: &'a [Base]) -> Places<'a> {
    let bases = bases.iter().rev().map(|base| (base.name.as_str(), base.anchor.as_str()));
    let names = |image: &'a Image<'_>| {
        let reference = image.planned.map(|planned| planned.reference.as_str());
        reference.into_iter().chain([image.name]).map(|name| (name, image.anchor.as_str()))
    };
    bases.chain(images.iter().rev().flat_map(names)).collect()
}

fn sections(facts: &Facts, failures: usize, lines: usize, (images, bases): (usize, usize)) -> Vec<Section> {
    let (steps, skips, notes) = (facts.steps.len(), facts.skips.len(), facts.notes.len());
    let all = [
        (failures, "failures", "What failed", Some(failures)),
        (steps, "timeline", "Timeline", None),
        (lines, "graph", "Graph", None),
        (images, "images", "Images", Some(images)),
        (bases, "base-images", "Base images", Some(bases)),
        (steps + skips, "steps", "Steps", None),
        (notes, "notes", "Warnings and notes", Some(notes)),
    ];
    let filled = all.into_iter().filter(|(things, ..)| *things > 0);
    filled.map(|(_, id, title, count)| Section { id, title, count }).collect()
}

fn head(facts: &Facts) -> Head<'_> {
    let summary = &facts.summary;
    let (state, ending) = match summary.outcome {
        Some(Outcome::Failed) => (State::Failed, "Failed"),
        Some(Outcome::Cancelled) => (State::Cancelled, "Cancelled"),
        Some(_) => (State::Done, "Finished"),
        None => (State::Cancelled, "Unfinished"),
    };
    let mut sentences = vec![summary.sentence()];
    sentences.extend(summary.cancelled.iter().map(|cause| format!("Cancelled: {}", what_cancelled(cause))));
    if summary.outcome.is_none() {
        sentences.push("The record ends before the run did: it was killed, or still goes on.".to_owned());
    }
    let work: u64 = facts.steps.iter().map(|step| step.span.length()).sum();
    let parts = facts.steps.iter().map(|step| parts::counts(&step.parts));
    let (count, cached) = parts.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let rows = [
        ("Engine", facts.engine.clone()),
        ("Network", facts.network.clone()),
        ("Exit code", summary.exit_code.map(|code| code.to_string())),
        (
            "Work",
            (summary.took > 0 && !facts.steps.is_empty())
                .then(|| format!("{} of steps in {}", time(work), time(summary.took))),
        ),
        ("Instructions", (count > 0).then(|| format!("{count}, {cached} from the cache"))),
    ];
    Head {
        state,
        at: &facts.at,
        when: facts.at.get(..16).unwrap_or(&facts.at).replace('T', " "),
        ending: format!("{ending} in {}", time(summary.took)),
        sentences,
        command: summary.full_command(),
        rows: rows.into_iter().filter_map(|(term, value)| Some((term, value?))).collect(),
    }
}

fn shares(images: &[Image<'_>]) -> Vec<Share> {
    let mut counts: BTreeMap<State, usize> = BTreeMap::new();
    for image in images {
        *counts.entry(image.state).or_default() += 1;
    }
    let in_percent = |count: usize| percentage(percent(count as u64, images.len() as u64));
    let mut before = 0;
    let share = |(state, count)| {
        before += count;
        Share { state, count, x: in_percent(before - count), width: in_percent(count) }
    };
    counts.into_iter().map(share).collect()
}

fn failed<'a>(Told { failure, steps }: &Told<'a>, material: &'a Material) -> Failed<'a> {
    let subjects: Vec<&str> = steps.iter().map(|step| step.subject.as_str()).collect();
    let places = steps.iter().filter_map(|step| step.failure.place.as_ref());
    let mut excerpts: Vec<&Excerpt> = places.filter_map(|place| material.excerpts.get(place)).collect();
    excerpts.dedup();
    Failed {
        state: match failure.severity {
            Severity::Error => State::Failed,
            Severity::Warning => State::Skipped,
        },
        what: failure.what.clone(),
        causes: failure.causes.join("\n"),
        // One is enough to see what all of them have in common.
        excerpts: excerpts.into_iter().take(MOST_EXCERPTS).collect(),
        label: format!("Last lines of {}", subjects.join(", ")),
        last_lines: failure.last_lines.clone(),
        // Logs are linked.
        hints: failure.hints.iter().filter(|hint| !hint.starts_with("full log in ")).cloned().collect(),
        steps: steps.iter().map(|step| (step.subject.as_str(), step.log.as_deref())).collect(),
    }
}

fn list<'a>(images: &[Image<'_>], material: &'a Material) -> Vec<Entry<'a>> {
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by_key(|&at| images[at].state);
    let mut room = ALL_LOGS;
    let entry = |at: usize| {
        let log = images[at].build.and_then(|step| step.log.as_ref());
        let tail = log.and_then(|log| material.tails.get(log)).filter(|tail| !tail.lines.is_empty());
        let is_left_out = tail.is_some() && room == 0;
        let tail = tail.filter(|_| !is_left_out);
        let bytes = tail.map_or(0, |tail| tail.lines.iter().map(|line| line.len().min(MAX_TEXT)).sum());
        room = room.saturating_sub(bytes);
        Entry { at, tail, is_left_out }
    };
    order.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests;
