//! A run as one self-contained page: `target/xtask/runs/<id>/report.html`.
//!
//! In: [`Material`], all that is on record of a run. Out: HTML that works without a network, without a script, on paper
//! and read aloud. Everything but [`read`] is pure. Nothing from outside becomes markup: [`markup`] escapes it, and a
//! Content-Security-Policy that knows only the hashes of this program's own style and script is the second lock.

pub mod facts;
pub mod graph;
pub mod image_list;
pub mod images;
pub mod lanes;
pub mod layout;
pub mod markup;
pub mod parts;
pub mod pieces;
pub mod read;
pub mod tables;
pub mod timeline;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use self::facts::{Facts, Material, State, Step, what_cancelled};
use self::images::{Base, Image};
use self::markup::Markup;
use self::pieces::{SIGNS, counted, percent, percentage, prose, sign, time};
use super::failure::FailureSeverity;
use super::summary::Told;
use crate::model::{Outcome, Phase};

/// The name of the page in a run's folder.
pub const PAGE: &str = "report.html";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub fn page(material: &Material) -> String {
    let facts = Facts::of(material);
    let (images, bases) = images::images(&facts, material);
    let sections = sections(&facts, &images, &bases, material);
    let mut page = Markup::new();
    head(&mut page, &facts, material);
    page.raw("<body>").raw(SIGNS).raw(r##"<a class="skip" href="#main">To the content</a>"##);
    mast(&mut page, &facts, &images, material);
    if !sections.is_empty() {
        contents(&mut page, &sections);
    }
    page.raw(r#"<main id="main">"#);
    for section in &sections {
        let heading = format!("{}-title", section.id);
        page.open("section", &[("id", section.id), ("aria-labelledby", &heading)]);
        page.element("h2", &[("id", &heading)], section.title).piece(&section.body).close("section");
    }
    if sections.is_empty() {
        page.raw("<p>Nothing was done, and nothing was left undone.</p>");
    }
    page.raw("</main>");
    foot(&mut page, material);
    page.raw("<script>").raw(SCRIPT).raw("</script></body></html>\n");
    page.finish()
}

fn contents(page: &mut Markup, sections: &[Section]) {
    page.raw(r#"<nav aria-label="Sections"><ul>"#);
    for section in sections {
        page.raw("<li>").open("a", &[("href", &format!("#{}", section.id))]).text(section.title);
        if let Some(count) = section.count {
            page.element("span", &[("class", "count")], &count.to_string());
        }
        page.raw("</a></li>");
    }
    page.raw("</ul></nav>");
}

struct Section {
    id: &'static str,
    title: &'static str,
    count: Option<usize>,
    body: Markup,
}

fn sections(facts: &Facts, images: &[Image<'_>], bases: &[Base], material: &Material) -> Vec<Section> {
    let place_of = |subject: &str| {
        let image = images
            .iter()
            .find(|i| i.name == subject || i.planned.is_some_and(|planned| planned.reference == subject));
        let base = || bases.iter().find(|base| base.name == subject);
        let anchor = image.map(|image| &image.anchor).or_else(|| base().map(|base| &base.anchor));
        anchor.map(|anchor| format!("#{anchor}"))
    };
    let mut sections = Vec::new();
    let mut add = |id, title, count, fill: &mut dyn FnMut(&mut Markup)| {
        let mut body = Markup::new();
        fill(&mut body);
        sections.push(Section { id, title, count, body });
    };
    let tellings = facts.summary.told();
    if !tellings.is_empty() {
        add("failures", "What failed", Some(tellings.len()), &mut |m| failures(m, &tellings, &place_of));
    }
    if !facts.steps.is_empty() {
        let place = |step: &Step| place_of(&step.subject);
        add("timeline", "Timeline", None, &mut |m| timeline::timeline(m, facts, &place));
    }
    if !images.is_empty() {
        add("graph", "Graph", None, &mut |m| graph::graph(m, images, bases));
        add("images", "Images", Some(images.len()), &mut |m| {
            image_list::image_list(m, images, bases, material);
        });
    }
    if !bases.is_empty() {
        add("base-images", "Base images", Some(bases.len()), &mut |m| tables::base_images(m, bases, images));
    }
    if facts.steps.len() + facts.skips.len() > 0 {
        add("steps", "Steps", None, &mut |m| tables::steps(m, facts, &place_of));
    }
    if !facts.notes.is_empty() {
        add("notes", "Warnings and notes", Some(facts.notes.len()), &mut |m| tables::notes(m, facts));
    }
    sections
}

fn head(page: &mut Markup, facts: &Facts, material: &Material) {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    page.raw(r#"<!doctype html><html lang="en"><head><meta charset="utf-8">"#);
    page.empty("meta", &[("http-equiv", "Content-Security-Policy"), ("content", &policy)]);
    page.raw(concat!(
        r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#,
        r#"<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">"#,
        r#"<link rel="icon" href="data:,">"#
    ));
    let title = format!("{}: {} ({})", facts.summary.ending(), command(facts), material.run);
    page.element("title", &[], &title);
    page.raw("<style>").raw(STYLE).raw("</style></head>");
}

/// What was typed, as it can be typed again.
fn command(facts: &Facts) -> String {
    match facts.summary.command.as_deref().unwrap_or_default() {
        typed if typed.starts_with("cargo xtask") => typed.to_owned(),
        words => format!("cargo xtask {words}").trim_end().to_owned(),
    }
}

/// How the whole run counts.
fn state_of(facts: &Facts) -> State {
    match facts.summary.outcome {
        Some(Outcome::Failed) => State::Failed,
        None | Some(Outcome::Cancelled) => State::Cancelled,
        Some(_) => State::Done,
    }
}

fn mast(page: &mut Markup, facts: &Facts, images: &[Image<'_>], material: &Material) {
    let (summary, state) = (&facts.summary, state_of(facts));
    page.open("header", &[("class", &format!("mast {}", state.class()))]);
    page.raw(r#"<p class="run"><span>Run "#).element("code", &[], &material.run).raw("</span>");
    let when = facts.at.get(..16).unwrap_or(&facts.at).replace('T', " ");
    page.open("time", &[("datetime", &facts.at)]).text(&when).raw(" UTC</time></p>");
    page.raw("<h1>");
    sign(page, state);
    let ending = match summary.ending() {
        "finished" => "Finished",
        "failed" => "Failed",
        "cancelled" => "Cancelled",
        _ => "Unfinished",
    };
    page.text(&format!("{ending} in {}", time(summary.took))).raw("</h1>");
    page.element("p", &[("class", "sentence")], &summary.sentence());
    if let Some(cause) = &summary.cancelled {
        page.element("p", &[("class", "sentence")], &format!("Cancelled: {}", what_cancelled(cause)));
    }
    if summary.outcome.is_none() {
        page.raw(
            r#"<p class="sentence">The record ends before the run did: it was killed, or still goes on.</p>"#,
        );
    }
    shares(page, images);
    page.raw(r#"<dl class="facts"><div><dt>Command</dt><dd>"#);
    page.element("code", &[("class", "command")], &command(facts)).raw("</dd></div>");
    let mut row = |term: &'static str, value: Option<&str>| {
        if let Some(value) = value {
            page.raw("<div>").element("dt", &[], term).element("dd", &[], value).raw("</div>");
        }
    };
    row("Engine", facts.engine.as_deref());
    row("Network", facts.network.as_deref());
    row("Exit code", summary.exit_code.map(|code| code.to_string()).as_deref());
    let work: u64 = facts.steps.iter().map(|step| step.span.length()).sum();
    let work = (summary.took > 0 && !facts.steps.is_empty())
        .then(|| format!("{} of steps in {}", time(work), time(summary.took)));
    row("Work", work.as_deref());
    let parts = facts.steps.iter().map(|step| parts::counts(&step.parts));
    let (count, cached) = parts.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let instructions = (count > 0).then(|| format!("{count}, {cached} from the cache"));
    row("Instructions", instructions.as_deref());
    page.raw("</dl></header>");
}

/// All images as one bar, by what became of them.
fn shares(page: &mut Markup, images: &[Image<'_>]) {
    if images.is_empty() {
        return;
    }
    let states =
        [State::Failed, State::Cancelled, State::Skipped, State::Done, State::UpToDate, State::Untouched];
    let count = |state: State| images.iter().filter(|image| image.state == state).count();
    let counts: Vec<(State, usize)> =
        states.into_iter().map(|s| (s, count(s))).filter(|(_, count)| *count > 0).collect();
    page.open("svg", &[("class", "shares"), ("height", "10"), ("aria-hidden", "true")]);
    let mut x = 0;
    for &(state, count) in &counts {
        let (left, width) = (percent(x, images.len() as u64), percent(count as u64, images.len() as u64));
        let (left, width) = (percentage(left), percentage(width));
        page.empty("rect", &[("class", state.class()), ("x", &left), ("width", &width), ("height", "10")]);
        x += count as u64;
    }
    page.raw(r#"</svg><ul class="counts">"#);
    page.raw("<li><b>").text(&images.len().to_string()).raw("</b> ");
    page.text(if images.len() == 1 { "image" } else { "images" }).raw("</li>");
    for (state, count) in counts {
        page.open("li", &[("class", state.class())]);
        sign(page, state);
        page.element("b", &[], &count.to_string()).raw(" ").text(state.word(Phase::Build)).raw("</li>");
    }
    page.raw("</ul>");
}

/// Each failure with its cause, the last lines, the log and the next command.
fn failures(markup: &mut Markup, tellings: &[Told<'_>], place: &dyn Fn(&str) -> Option<String>) {
    for Told { failure: telling, steps } in tellings {
        let state = match telling.severity {
            FailureSeverity::Error => State::Failed,
            FailureSeverity::Warning => State::Skipped,
        };
        markup.open("article", &[("class", &format!("failure {}", state.class()))]).raw("<h3>");
        sign(markup, state);
        markup.raw("<span>");
        prose(markup, &telling.what);
        markup.raw("</span></h3>");
        image_list::causes(markup, &telling.causes.join("\n"));
        if !telling.last_lines.is_empty() {
            let subjects: Vec<&str> = steps.iter().map(|failed| failed.subject.as_str()).collect();
            let label = format!("Last lines of {}", subjects.join(", "));
            let frame =
                [("class", "log"), ("role", "region"), ("tabindex", "0"), ("aria-label", label.as_str())];
            markup.open("div", &frame).raw("<pre>");
            image_list::output(markup, &telling.last_lines, State::Failed).raw("</pre></div>");
        }
        for hint in telling.hints.iter().filter(|hint| !hint.starts_with("full log in ")) {
            markup.raw(r#"<p class="hint">"#);
            prose(markup, hint);
            markup.raw("</p>");
        }
        for failed in steps {
            if let Some(log) = &failed.log {
                image_list::log_link(markup, log);
            }
            if let Some(address) = place(&failed.subject) {
                markup.raw("<p>").open("a", &[("href", &address)]);
                markup.text("All about ").text(&failed.subject).raw("</a></p>");
            }
        }
        markup.raw("</article>");
    }
}

fn foot(page: &mut Markup, material: &Material) {
    page.raw("<footer><p>Made from the record of run ").element("code", &[], &material.run);
    page.raw(": <a href=\"events.ndjson\">events</a>, <a href=\"plan.json\">plan</a>, ");
    page.raw("<a href=\"summary.md\">summary</a>. ");
    page.text(&format!("{} on record.", counted(material.events.len(), "event"))).raw("</p></footer>");
}

#[cfg(test)]
mod tests;
