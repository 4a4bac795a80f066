//! The tables of a page: base images, the steps of each phase, and what was odd. Pure.

use super::facts::{Facts, Skip, State, Step};
use super::image_list::links;
use super::images::{Base, Image};
use super::markup::Markup;
use super::pieces::{badge, counted, digest, full_digest, prose, sign, time, wide};
use crate::model::Phase;
use crate::report::text::clock;

/// What images stand on, with digests.
pub fn base_images(markup: &mut Markup, bases: &[Base], images: &[Image<'_>]) {
    wide(markup, "Base images");
    markup.raw(concat!(
        r#"<table class="bases"><caption class="unseen">Base images and what stands on them</caption><thead><tr><th scope="col">State</th><th scope="col">Base image</th>"#,
        r#"<th scope="col">Image ID or digest</th><th scope="col">Why</th><th scope="col">Used by</th>"#,
        r#"<th scope="col" class="n">Time</th></tr></thead><tbody>"#
    ));
    for base in bases {
        markup.open("tr", &[("id", &base.anchor)]).raw("<td>");
        badge(markup, base.state, Phase::Prefetch);
        markup.raw("</td>").open("th", &[("scope", "row")]).element("code", &[], &base.name).raw("</th><td>");
        match &base.id {
            Some(id) => full_digest(markup, id),
            None => {
                markup.raw(r#"<span class="muted">not known</span>"#);
            }
        }
        markup.raw("</td><td>");
        prose(markup, base.why.lines().next().unwrap_or_default());
        markup.raw("</td><td>");
        let used: Vec<(&str, &str)> =
            base.used_by.iter().map(|&n| (images[n].anchor.as_str(), images[n].name)).collect();
        links(markup, &used);
        markup.raw("</td>").element("td", &[("class", "n")], &base.took.map(time).unwrap_or_default());
        markup.raw("</tr>");
    }
    markup.raw("</tbody></table></div>");
}

/// Everything that was done or not, phase by phase: the timeline as text, and more.
pub fn steps(markup: &mut Markup, facts: &Facts, place: &dyn Fn(&str) -> Option<String>) {
    let mut phases: Vec<Phase> =
        facts.steps.iter().map(|s| s.phase).chain(facts.skips.iter().map(|s| s.phase)).collect();
    phases.sort_unstable();
    phases.dedup();
    for phase in phases {
        let done: Vec<(usize, &Step)> =
            facts.steps.iter().enumerate().filter(|(_, step)| step.phase == phase).collect();
        let skipped: Vec<&Skip> = facts.skips.iter().filter(|skip| skip.phase == phase).collect();
        markup
            .open("details", &[("class", "phase-table"), ("id", &format!("phase-{phase}"))])
            .raw("<summary>");
        markup.element("h3", &[("class", "name")], phase.title()).raw(" ");
        markup.element("span", &[("class", "muted")], &facts.summary.phase_sentence(phase));
        markup.raw("</summary>");
        wide(markup, &format!("Steps of {}", phase.title()));
        markup.raw(r#"<table class="steps"><caption class="unseen">"#);
        markup.text(&format!("Steps of {}", phase.title())).raw(concat!(
            r#"</caption><thead><tr><th scope="col">State</th><th scope="col">What</th>"#,
            r#"<th scope="col">Why, and what came of it</th><th scope="col" class="n">From</th>"#,
            r#"<th scope="col" class="n">Time</th></tr></thead><tbody>"#
        ));
        for (at, step) in done {
            markup.raw("<tr><td>");
            badge(markup, step.state, phase);
            if facts.is_critical(at) {
                markup.raw(r#" <span class="tag">critical path</span>"#);
            }
            markup.raw("</td>");
            subject(markup, &step.subject, place);
            markup.raw("<td>");
            prose(markup, &step.why);
            let detail = step.detail.lines().next().unwrap_or_default();
            if !detail.is_empty() {
                markup.raw(if step.why.is_empty() { "" } else { r#"<br>"# });
                if detail.starts_with("sha256:") {
                    digest(markup, detail);
                } else {
                    prose(markup, detail);
                }
            }
            markup.raw("</td>").element("td", &[("class", "n")], &clock(step.span.began));
            markup.element("td", &[("class", "n")], &time(step.span.length())).raw("</tr>");
        }
        for skip in skipped {
            markup.raw("<tr><td>");
            badge(markup, skip.state, phase);
            markup.raw("</td>");
            subject(markup, &skip.subject, place);
            markup.raw("<td>");
            prose(markup, &skip.why);
            markup.raw(r#"</td><td class="n"></td><td class="n"></td></tr>"#);
        }
        markup.raw("</tbody></table></div></details>");
    }
}

fn subject(markup: &mut Markup, subject: &str, place: &dyn Fn(&str) -> Option<String>) {
    markup.open("th", &[("scope", "row")]);
    match place(subject) {
        Some(address) => markup.element("a", &[("href", &address)], subject),
        None => markup.text(subject),
    };
    markup.close("th");
}

/// Warnings, tries that failed, what was done to the machine, what the tree has wrong.
pub fn notes(markup: &mut Markup, facts: &Facts) {
    const MOST: usize = 300;
    markup.raw(r#"<ul class="notes">"#);
    for note in facts.notes.iter().take(MOST) {
        let state = match note.kind {
            "warning" | "retry" => State::Skipped,
            "cancelled" => State::Cancelled,
            _ => State::Untouched,
        };
        markup.open("li", &[("class", state.class())]).element("span", &[("class", "at")], &clock(note.at));
        markup.open("span", &[("class", "badge")]);
        sign(markup, state);
        markup.text(note.kind).raw(r#"</span><span class="note">"#);
        if let Some(subject) = &note.subject {
            markup.element("b", &[], subject).raw(" ");
        }
        prose(markup, &note.text);
        markup.raw("</span></li>");
    }
    if facts.notes.len() > MOST {
        markup.element("li", &[], &format!("and {}", counted(facts.notes.len() - MOST, "more")));
    }
    markup.raw("</ul>");
}
