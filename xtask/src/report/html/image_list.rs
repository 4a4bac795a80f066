//! Each image: why it was built or not, what its instructions did, its size, its log. Pure.

use super::facts::{Material, State, Step, Tail};
use super::images::{Base, Image};
use super::markup::Markup;
use super::parts::instructions;
use super::pieces::{badge, change, counted, full_digest, log_address, prose, sign, time};
use crate::excerpt;
use crate::model::Phase;
use crate::report::text::size;

/// Logs beyond this many bytes in all are only linked.
const ALL_LOGS: usize = 400_000;
/// More than this many changes of one image are only counted.
const MOST_CHANGES: usize = 40;

/// The list with its filter, worst first.
pub fn image_list(markup: &mut Markup, images: &[Image<'_>], bases: &[Base], material: &Material) {
    filter(markup, images);
    let mut order: Vec<&Image<'_>> = images.iter().collect();
    order.sort_by_key(|image| image.state);
    let mut logs = 0;
    let has_moved = images.iter().any(|image| image.has_moved());
    let class = if has_moved { "images moved" } else { "images" };
    markup.open("div", &[("class", class), ("id", "image-list")]);
    for image in order {
        let before = markup.len();
        one(markup, image, (images, bases), material, logs < ALL_LOGS);
        if image.build().is_some_and(|step| step.log.is_some()) {
            logs += markup.len() - before;
        }
    }
    markup.raw(r#"</div><p class="nothing" id="nothing" hidden>No image matches.</p>"#);
}

/// Only the script makes it work, so only the script shows it.
fn filter(markup: &mut Markup, images: &[Image<'_>]) {
    markup.raw(concat!(
        r#"<div class="filter" id="filter" hidden><label for="search">Filter</label>"#,
        r#"<input id="search" type="search" placeholder="name or reason" autocomplete="off" aria-keyshortcuts="/">"#,
        r#"<div class="states" role="group" aria-label="Show only">"#
    ));
    let states =
        [State::Failed, State::Cancelled, State::Skipped, State::Done, State::UpToDate, State::Untouched];
    for state in states {
        let count = images.iter().filter(|image| image.state == state).count();
        if count > 0 {
            let class = format!("chip {}", state.class());
            let button = [
                ("type", "button"),
                ("class", class.as_str()),
                ("aria-pressed", "false"),
                ("data-state", state.class()),
            ];
            markup.open("button", &button);
            sign(markup, state);
            markup.text(&format!("{count} {}", state.word(Phase::Build))).close("button");
        }
    }
    markup.raw(concat!(
        r#"</div><button type="button" class="chip" id="unfold" aria-pressed="false">Open all</button>"#,
        r#"<p class="hits" id="hits" role="status"></p></div>"#
    ));
}

fn one(
    markup: &mut Markup,
    image: &Image<'_>,
    all: (&[Image<'_>], &[Base]),
    material: &Material,
    has_room: bool,
) {
    let class = format!("image {}", image.state.class());
    let mut attributes = vec![("class", class.as_str()), ("id", image.anchor.as_str())];
    if image.state == State::Failed {
        attributes.push(("open", ""));
    }
    markup.open("details", &attributes).raw("<summary>");
    badge(markup, image.state, Phase::Build);
    markup.element("h3", &[("class", "name")], image.name).open("span", &[("class", "why")]);
    prose(markup, image.why);
    markup.close("span").raw(r#"<span class="figures">"#);
    if let Some(build) = image.build() {
        markup.element("span", &[("class", "took")], &time(build.span.length()));
    }
    if let Some(now) = image.size() {
        markup.element("span", &[("class", "size")], &size(now));
        let moved = image.former_size.filter(|_| image.has_moved());
        let moved = moved.map(|former| change(now, former.bytes)).unwrap_or_default();
        markup.element("span", &[("class", "change")], &moved);
    }
    markup.raw("</span></summary>").raw(r#"<div class="inside">"#);
    changes(markup, image);
    facts(markup, image, all);
    for step in image.steps.iter().filter(|step| step.phase != Phase::Build || step.state == State::Failed) {
        other_step(markup, step);
    }
    if let Some(build) = image.build() {
        instructions(markup, build);
        if let Some(path) = &build.log {
            let tail = material.tails.get(path);
            if tail.is_some() && !has_room {
                markup.raw(
                    r#"<p class="muted">The end of the log is left out: too many logs for one page.</p>"#,
                );
            }
            log(markup, build, path, tail.filter(|_| has_room));
        }
    }
    markup.raw("</div></details>");
}

fn changes(markup: &mut Markup, image: &Image<'_>) {
    let Some(planned) = image.planned.filter(|planned| planned.changes.len() > 1) else { return };
    markup.raw(r#"<h4>What changed</h4><ul class="changes">"#);
    for change in planned.changes.iter().take(MOST_CHANGES) {
        markup.element("li", &[], change);
    }
    if planned.changes.len() > MOST_CHANGES {
        markup.element("li", &[], &format!("and {} more", planned.changes.len() - MOST_CHANGES));
    }
    markup.raw("</ul>");
}

fn facts(markup: &mut Markup, image: &Image<'_>, (images, bases): (&[Image<'_>], &[Base])) {
    markup.raw(r#"<dl class="facts">"#);
    let row = |markup: &mut Markup, term: &'static str, fill: &mut dyn FnMut(&mut Markup)| {
        markup.raw("<div>").element("dt", &[], term).raw("<dd>");
        fill(markup);
        markup.raw("</dd></div>");
    };
    let mut of_size = |m: &mut Markup| match (image.size(), image.former_size) {
        (Some(now), Some(former)) => {
            let word = if now == former.bytes { "as in" } else { "since" };
            m.text(&format!("{}, {} {word} run ", size(now), change(now, former.bytes)));
            m.element("code", &[], &former.run);
        }
        (Some(now), None) => {
            m.text(&format!("{}, seen for the first time", size(now)));
        }
        (None, Some(former)) => {
            m.text(&format!("was {} in run ", size(former.bytes))).element("code", &[], &former.run);
        }
        (None, None) => {}
    };
    if image.size().is_some() || image.former_size.is_some() {
        row(markup, "Size", &mut of_size);
    }
    if let Some(build) = image.build() {
        row(markup, "Time", &mut |m| {
            m.text(&time(build.span.length()));
            if let Some(earlier) = image.earlier {
                m.text(&format!(", {} the time before", time(earlier.took)));
            }
        });
        if build.state == State::Done && build.detail.starts_with("sha256:") {
            row(markup, "Image ID", &mut |m| full_digest(m, build.detail.lines().next().unwrap_or_default()));
        }
    }
    if let Some(planned) = image.planned {
        let code = |text: &str, m: &mut Markup| {
            m.element("code", &[], text);
        };
        row(markup, "Reference", &mut |m| code(&planned.reference, m));
        let platform = Some(planned.platform.clone()).filter(|platform| !platform.is_empty());
        let named = [
            ("Dockerfile", &planned.dockerfile),
            ("Context", &planned.context),
            ("Target", &planned.target),
            ("Platform", &platform),
        ];
        for (term, value) in named {
            if let Some(value) = value {
                row(markup, term, &mut |m| code(value, m));
            }
        }
        if let Some(key) = &planned.key {
            row(markup, "Fingerprint", &mut |m| full_digest(m, key));
        }
        if !planned.inputs.is_empty() {
            row(markup, "Inputs", &mut |m| {
                m.text(&counted(planned.inputs.len(), "file"));
            });
        }
    }
    let list = |markup: &mut Markup, term: &'static str, of: Vec<(&str, &str)>| {
        if !of.is_empty() {
            row(markup, term, &mut |m| links(m, &of));
        }
    };
    let images_of = |at: &[usize]| at.iter().map(|&n| (images[n].anchor.as_str(), images[n].name)).collect();
    let bases_of =
        |at: &[usize]| at.iter().map(|&n| (bases[n].anchor.as_str(), bases[n].name.as_str())).collect();
    list(markup, "Base images", bases_of(&image.bases));
    list(markup, "Builds on", images_of(&image.needs));
    list(markup, "Needed by", images_of(&image.needed_by));
    markup.raw("</dl>");
}

/// Names as links, with commas between.
pub(super) fn links(markup: &mut Markup, of: &[(&str, &str)]) {
    const MOST: usize = 12;
    for (at, (anchor, name)) in of.iter().take(MOST).enumerate() {
        markup.raw(if at > 0 { ", " } else { "" });
        markup.element("a", &[("href", &format!("#{anchor}"))], name);
    }
    if of.len() > MOST {
        markup.text(&format!(" and {} more", of.len() - MOST));
    }
}

/// What else was done with the image, and why its build failed.
fn other_step(markup: &mut Markup, step: &Step) {
    markup.raw(r#"<p class="step">"#);
    badge(markup, step.state, step.phase);
    markup.raw(" ").element(
        "span",
        &[("class", "muted")],
        &format!("{}, {}", step.phase.name(), time(step.span.length())),
    );
    markup.raw("</p>");
    if step.state == State::Failed {
        causes(markup, &step.detail);
    }
}

/// An error with the causes below it.
pub(super) fn causes(markup: &mut Markup, detail: &str) {
    markup.raw(r#"<ul class="causes">"#);
    for line in detail.lines().filter(|line| !line.trim().is_empty()) {
        markup.raw("<li>");
        prose(markup, line);
        markup.raw("</li>");
    }
    markup.raw("</ul>");
}

fn log(markup: &mut Markup, step: &Step, path: &str, tail: Option<&Tail>) {
    if let Some(tail) = tail.filter(|tail| !tail.lines.is_empty()) {
        markup.raw("<h4>Log");
        let lines = counted(tail.lines.len(), "line");
        let all = match tail.before {
            0 => format!(", {lines}"),
            before => format!(", the last {lines}; {} before them only in the file", size(before)),
        };
        markup.element("span", &[("class", "muted")], &all).raw("</h4>");
        let label = format!("Log of {}", step.subject);
        // It begins at its end, without a script: that is where the failing lines are.
        let frame = [("class", "log"), ("role", "region"), ("tabindex", "0"), ("aria-label", label.as_str())];
        markup.open("div", &frame).raw("<pre>");
        output(markup, &tail.lines, step.state);
        markup.raw("</pre></div>");
    }
    log_link(markup, path);
}

/// Lines that were printed; of what failed, those that name an error stand out.
pub(super) fn output<'a>(markup: &'a mut Markup, lines: &[String], state: State) -> &'a mut Markup {
    for (at, line) in lines.iter().enumerate() {
        markup.raw(if at > 0 { "\n" } else { "" });
        if state == State::Failed && excerpt::tells(line) {
            markup.element("mark", &[], line);
        } else {
            markup.text(line);
        }
    }
    markup
}

/// Where the whole log is.
pub(super) fn log_link(markup: &mut Markup, path: &str) {
    markup.raw(r#"<p class="muted">Whole log: "#);
    match log_address(path) {
        Some(address) => markup.element("a", &[("href", address)], path),
        None => markup.element("code", &[], path),
    };
    markup.raw("</p>");
}
