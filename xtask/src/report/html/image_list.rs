//! Each image: why it was built or not, what its instructions did, its size, its log. Pure.

use super::facts::{Material, State, Step, Tail};
use super::images::{Base, Image};
use super::markup::Markup;
use super::pieces::{
    badge, change, counted, digest, log_address, percent, percentage, prose, shorten, sign, time, wide,
};
use crate::model::Phase;
use crate::report::text::size;

/// Logs beyond this many bytes in all are only linked.
const ALL_LOGS: usize = 400_000;
/// More than this many instructions of one image are only counted.
const MOST_PARTS: usize = 200;
/// More than this many changes of one image are only counted.
const MOST_CHANGES: usize = 40;

/// The list with its filter, worst first.
pub fn image_list(markup: &mut Markup, images: &[Image<'_>], bases: &[Base], material: &Material) {
    filter(markup, images);
    let mut order: Vec<&Image<'_>> = images.iter().collect();
    order.sort_by_key(|image| image.state);
    let mut logs = 0;
    markup.raw(r#"<div class="images" id="image-list">"#);
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
    markup.element("span", &[("class", "name")], image.name).open("span", &[("class", "why")]);
    prose(markup, image.why);
    markup.close("span").raw(r#"<span class="figures">"#);
    if let Some(build) = image.build() {
        markup.element("span", &[("class", "took")], &time(build.span.length()));
        if let Some(bytes) = build.size {
            markup.element("span", &[("class", "size")], &size(bytes));
        }
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
            let tail = material.tails.get(path).filter(|_| has_room);
            log(markup, build, path, tail);
        }
    }
    markup.raw("</div></details>");
}

fn changes(markup: &mut Markup, image: &Image<'_>) {
    let Some(planned) = image.planned.filter(|planned| planned.changes.len() > 1) else { return };
    markup.raw(r#"<h3>What changed</h3><ul class="changes">"#);
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
    if let Some(build) = image.build() {
        let before = image.earlier.and_then(|earlier| earlier.size.map(|size| (size, earlier)));
        let is_known = build.size.is_some() || before.is_some();
        let mut of_size = |m: &mut Markup| match (build.size, before) {
            (Some(now), Some((before, earlier))) => {
                m.text(&format!("{}, {} since run ", size(now), change(now, before)));
                m.element("code", &[], &earlier.run);
            }
            (Some(now), None) => {
                m.text(&format!("{}, first build on record", size(now)));
            }
            (None, Some((before, earlier))) => {
                m.text(&format!("was {} in run ", size(before))).element("code", &[], &earlier.run);
            }
            (None, None) => {}
        };
        if is_known {
            row(markup, "Size", &mut of_size);
        }
        row(markup, "Time", &mut |m| {
            m.text(&time(build.span.length()));
            if let Some(earlier) = image.earlier {
                m.text(&format!(", {} the time before", time(earlier.took)));
            }
        });
        if build.state == State::Done && build.detail.starts_with("sha256:") {
            row(markup, "Image ID", &mut |m| digest(m, build.detail.lines().next().unwrap_or_default()));
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
            row(markup, "Fingerprint", &mut |m| digest(m, key));
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

fn instructions(markup: &mut Markup, build: &Step) {
    let parts = &build.parts;
    if parts.is_empty() {
        return;
    }
    let whole = parts.iter().map(|part| part.span.ended).max().unwrap_or(0).max(1);
    let cached = parts.iter().filter(|part| part.cached).count();
    let caption = format!("{}, {cached} from the cache", counted(parts.len(), "instruction"));
    wide(markup, &format!("Instructions of {}", build.subject));
    markup.raw(r#"<table class="parts">"#).element("caption", &[], &caption).raw(concat!(
        r#"<thead><tr><th scope="col">Stage</th><th scope="col">Instruction</th><th scope="col">Result</th>"#,
        r#"<th scope="col" class="n">Time</th><th scope="col" class="when">When</th></tr></thead><tbody>"#
    ));
    for part in parts.iter().take(MOST_PARTS) {
        let (stage, what) = taken_apart(&part.name);
        let (word, state) = match (part.failed, part.cached) {
            (true, _) => ("failed", State::Failed),
            (false, true) => ("cached", State::UpToDate),
            (false, false) => ("ran", State::Done),
        };
        markup.raw("<tr>").element("td", &[("class", "stage")], stage).raw("<td>");
        markup.element("code", &[("title", what)], &shorten(what, 160)).raw("</td><td>");
        markup.open("span", &[("class", &format!("badge {}", state.class()))]);
        sign(markup, state);
        markup.text(word).raw("</span></td>");
        let took = if part.cached { String::new() } else { time(part.span.length()) };
        markup.element("td", &[("class", "n")], &took).raw(r#"<td class="when">"#);
        let class = format!("gauge {}", state.class());
        markup.open("svg", &[("class", &class), ("height", "8"), ("aria-hidden", "true")]);
        let x = percentage(percent(part.span.began, whole).min(99.0));
        let width = percentage(percent(part.span.length(), whole).max(1.0));
        markup.empty("rect", &[("class", "track"), ("width", "100%"), ("height", "8"), ("rx", "2")]);
        markup
            .empty("rect", &[("class", "fill"), ("x", &x), ("width", &width), ("height", "8"), ("rx", "2")]);
        markup.raw("</svg></td></tr>");
    }
    markup.raw("</tbody></table></div>");
    if parts.len() > MOST_PARTS {
        let rest = counted(parts.len() - MOST_PARTS, "more instruction");
        markup.element("p", &[("class", "muted")], &format!("{rest} in the log"));
    }
}

/// `builder 2/5` and `RUN npm ci` of `[builder 2/5] RUN npm ci`; what the builder does for itself has no stage.
fn taken_apart(name: &str) -> (&str, &str) {
    let apart = name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match apart {
        Some((stage, what)) if stage != "internal" => (stage, what),
        Some((_, what)) => ("", what),
        None => ("", name),
    }
}

fn log(markup: &mut Markup, step: &Step, path: &str, tail: Option<&Tail>) {
    if let Some(tail) = tail.filter(|tail| !tail.lines.is_empty()) {
        markup.raw("<h3>Log");
        let lines = counted(tail.lines.len(), "line");
        let all = if tail.before > 0 { format!(", the last {lines}") } else { format!(", {lines}") };
        markup.element("span", &[("class", "muted")], &all).raw("</h3>");
        let label = format!("Log of {}", step.subject);
        // It begins at its end, without a script: that is where the failing lines are.
        let frame = [("class", "log"), ("role", "region"), ("tabindex", "0"), ("aria-label", label.as_str())];
        markup.open("div", &frame).raw("<pre>");
        for (at, line) in tail.lines.iter().enumerate() {
            markup.raw(if at > 0 { "\n" } else { "" });
            let is_hot = step.state == State::Failed
                && !line.trim().is_empty()
                && (step.last_lines.contains(line) || line.contains(" ERROR: "));
            if is_hot {
                markup.element("mark", &[], line);
            } else {
                markup.text(line);
            }
        }
        markup.raw("</pre></div>");
    }
    log_link(markup, path);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_taken_apart() {
        for (name, apart) in [
            ("[builder 2/5] RUN npm ci", ("builder 2/5", "RUN npm ci")),
            ("[2/3] COPY [a, b] /", ("2/3", "COPY [a, b] /")),
            ("[internal] load metadata", ("", "load metadata")),
            ("exporting to image", ("", "exporting to image")),
            ("[", ("", "[")),
        ] {
            assert_eq!(taken_apart(name), apart);
        }
    }
}
