//! What the instructions of a build did, stage by stage, with time and whether the result was there already. Pure.

use super::facts::{Part, State, Step};
use super::markup::Markup;
use super::pieces::{counted, percent, percentage, shorten, sign, time, wide};

/// More than this many instructions of one image are only counted.
const MOST_PARTS: usize = 200;

/// The parts of one stage, in the order in which they began.
struct Stage<'a> {
    /// As the builder calls it; empty for a stage without a name.
    name: &'a str,
    /// Whether it is what the builder does beside the instructions.
    is_own_work: bool,
    parts: Vec<(&'a Part, Name<'a>)>,
}

/// A part's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name<'a> {
    /// Its stage; none for what the builder does for itself.
    stage: Option<&'a str>,
    /// `2/5`: its place in the stage.
    place: &'a str,
    /// What is done.
    what: &'a str,
}

/// The table, with a caption that counts.
pub fn instructions(markup: &mut Markup, build: &Step) {
    if build.parts.is_empty() {
        return;
    }
    let whole = build.parts.iter().map(|part| part.span.ended).max().unwrap_or(0).max(1);
    let (count, cached) = counts(&build.parts);
    let stages = stages(&build.parts[..build.parts.len().min(MOST_PARTS)]);
    let caption = format!("{}, {cached} from the cache", counted(count, "instruction"));
    wide(markup, &format!("Instructions of {}", build.subject));
    markup.raw(r#"<table class="parts">"#).element("caption", &[], &caption).raw(concat!(
        r#"<thead><tr><th scope="col" class="place">Place</th><th scope="col">Instruction</th>"#,
        r#"<th scope="col">Result</th><th scope="col" class="n">Time</th>"#,
        r#"<th scope="col" class="when">When</th></tr></thead>"#
    ));
    for stage in &stages {
        markup.raw("<tbody>");
        head(markup, stage);
        for (part, name) in &stage.parts {
            row(markup, part, *name, whole);
        }
        markup.raw("</tbody>");
    }
    markup.raw("</table></div>");
    if build.parts.len() > MOST_PARTS {
        let rest = counted(build.parts.len() - MOST_PARTS, "more instruction");
        markup.element("p", &[("class", "muted")], &format!("{rest} in the log"));
    }
}

/// How many instructions there are, and how many of them came from the cache.
pub fn counts(parts: &[Part]) -> (usize, usize) {
    let real = parts.iter().filter(|part| taken_apart(&part.name).stage.is_some());
    real.fold((0, 0), |(count, cached), part| (count + 1, cached + usize::from(part.cached)))
}

fn stages(parts: &[Part]) -> Vec<Stage<'_>> {
    let mut stages: Vec<Stage<'_>> = Vec::new();
    for part in parts {
        let name = taken_apart(&part.name);
        let (stage, is_own_work) = (name.stage.unwrap_or_default(), name.stage.is_none());
        match stages.iter_mut().find(|known| (known.name, known.is_own_work) == (stage, is_own_work)) {
            Some(known) => known.parts.push((part, name)),
            None => stages.push(Stage { name: stage, is_own_work, parts: vec![(part, name)] }),
        }
    }
    stages.sort_by_key(|stage| stage.is_own_work);
    stages
}

fn head(markup: &mut Markup, stage: &Stage<'_>) {
    let ran: u64 = stage.parts.iter().filter(|(p, _)| !p.cached).map(|(p, _)| p.span.length()).sum();
    let cached = stage.parts.iter().filter(|(part, _)| part.cached).count();
    markup.raw(r#"<tr class="stage"><th scope="rowgroup" colspan="5">"#);
    if stage.is_own_work {
        markup.raw("The builder's own work");
    } else if stage.name.is_empty() {
        markup.raw("Stage without a name");
    } else {
        markup.raw("Stage ").element("code", &[], stage.name);
    }
    let figures = match (cached, stage.parts.len()) {
        (0, _) => time(ran),
        (cached, all) if cached == all => "all from the cache".to_owned(),
        (cached, all) => format!("{}, {cached} of {all} from the cache", time(ran)),
    };
    markup.raw(r#" <span class="muted">"#).text(&figures).raw("</span></th></tr>");
}

fn row(markup: &mut Markup, part: &Part, name: Name<'_>, whole: u64) {
    let (word, state) = match (part.failed, part.cached) {
        (true, _) => ("failed", State::Failed),
        (false, true) => ("cached", State::UpToDate),
        (false, false) => ("ran", State::Done),
    };
    markup.raw("<tr>").element("td", &[("class", "place")], name.place).raw("<td>");
    markup.element("code", &[("title", name.what)], &shorten(name.what, 160)).raw("</td><td>");
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
    markup.empty("rect", &[("class", "fill"), ("x", &x), ("width", &width), ("height", "8"), ("rx", "2")]);
    markup.raw("</svg></td></tr>");
}

/// `builder`, `2/5` and `RUN npm ci` of `[builder 2/5] RUN npm ci`.
fn taken_apart(name: &str) -> Name<'_> {
    let own = |what| Name { stage: None, place: "", what };
    match name.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some(("internal", what)) => own(what),
        Some((stage, what)) => {
            let (stage, place) = stage.rsplit_once(' ').unwrap_or(("", stage));
            Name { stage: Some(stage), place, what }
        }
        None => own(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::lanes::Span;

    #[test]
    fn instructions_are_taken_apart() {
        for (name, stage, place, what) in [
            ("[builder 2/5] RUN npm ci", Some("builder"), "2/5", "RUN npm ci"),
            ("[2/3] COPY [a, b] /", Some(""), "2/3", "COPY [a, b] /"),
            ("[linux/amd64 builder 2/5] RUN x", Some("linux/amd64 builder"), "2/5", "RUN x"),
            ("[internal] load metadata", None, "", "load metadata"),
            ("exporting to image", None, "", "exporting to image"),
            ("[", None, "", "["),
        ] {
            assert_eq!(taken_apart(name), Name { stage, place, what }, "{name}");
        }
    }

    #[test]
    fn stages_stand_together_and_the_builder_s_own_work_last() {
        let part = |name: &str, cached| Part {
            name: name.to_owned(),
            span: Span { began: 0, ended: 40 },
            cached,
            failed: false,
        };
        let parts = [
            part("[internal] load build context", false),
            part("[a 1/2] FROM x", true),
            part("[b 1/1] FROM y", false),
            part("[a 2/2] RUN z", false),
        ];
        let told: Vec<_> = stages(&parts).iter().map(|s| (s.name, s.is_own_work, s.parts.len())).collect();
        assert_eq!(told, [("a", false, 2), ("b", false, 1), ("", true, 1)]);
        assert_eq!(counts(&parts), (3, 1), "loading is no instruction");
    }
}
