//! What the instructions of a build did, stage by stage, with time and whether the result was there already. Pure.

use serde::Serialize;

use super::facts::{Part, State, Step};
use super::render::{percent, percentage};

/// More than this many instructions of one image are only counted.
const MOST_PARTS: usize = 200;

/// The instructions of one build.
#[derive(Clone, Debug, Serialize)]
pub struct Stages<'a> {
    count: usize,
    cached: usize,
    /// How many are not among the rows.
    left_out: usize,
    stages: Vec<Stage<'a>>,
}

/// The parts of one stage, in the order in which they began.
#[derive(Clone, Debug, Serialize)]
struct Stage<'a> {
    /// As the builder calls it; empty for a stage without a name.
    name: &'a str,
    /// Whether it is what the builder does beside the instructions.
    is_own_work: bool,
    /// Milliseconds of what was not cached.
    ran: u64,
    cached: usize,
    rows: Vec<Row<'a>>,
}

#[derive(Clone, Debug, Serialize)]
struct Row<'a> {
    name: Name<'a>,
    word: &'static str,
    state: State,
    /// None of what was there already.
    took: Option<u64>,
    /// When, in percent of the build.
    x: String,
    width: String,
}

/// A part's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Name<'a> {
    /// Its stage; none for what the builder does for itself.
    stage: Option<&'a str>,
    /// `2/5`: its place in the stage.
    place: &'a str,
    /// What is done.
    what: &'a str,
}

/// The instructions of a build; none if it tells of none.
pub fn stages(build: &Step) -> Option<Stages<'_>> {
    let whole = build.parts.iter().map(|part| part.span.ended).max()?.max(1);
    let (count, cached) = counts(&build.parts);
    let mut stages: Vec<Stage<'_>> = Vec::new();
    for part in build.parts.iter().take(MOST_PARTS) {
        let row = row(part, whole);
        let (name, is_own_work) = (row.name.stage.unwrap_or_default(), row.name.stage.is_none());
        let known = stages.iter().position(|known| (known.name, known.is_own_work) == (name, is_own_work));
        let at = known.unwrap_or_else(|| {
            stages.push(Stage { name, is_own_work, ran: 0, cached: 0, rows: Vec::new() });
            stages.len() - 1
        });
        stages[at].ran += row.took.unwrap_or(0);
        stages[at].cached += usize::from(part.cached);
        stages[at].rows.push(row);
    }
    stages.sort_by_key(|stage| stage.is_own_work);
    Some(Stages { count, cached, left_out: build.parts.len().saturating_sub(MOST_PARTS), stages })
}

/// How many instructions there are, and how many of them came from the cache.
pub fn counts(parts: &[Part]) -> (usize, usize) {
    let real = parts.iter().filter(|part| taken_apart(&part.name).stage.is_some());
    real.fold((0, 0), |(count, cached), part| (count + 1, cached + usize::from(part.cached)))
}

fn row(part: &Part, whole: u64) -> Row<'_> {
    let (word, state) = match (part.failed, part.cached) {
        (true, _) => ("failed", State::Failed),
        (false, true) => ("cached", State::UpToDate),
        (false, false) => ("ran", State::Done),
    };
    Row {
        name: taken_apart(&part.name),
        word,
        state,
        took: (!part.cached).then(|| part.span.length()),
        x: percentage(percent(part.span.began, whole).min(99.0)),
        width: percentage(percent(part.span.length(), whole).max(1.0)),
    }
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
    use crate::model::{Phase, StepId};
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
        let parts = vec![
            part("[internal] load build context", false),
            part("[a 1/2] FROM x", true),
            part("[b 1/1] FROM y", false),
            part("[a 2/2] RUN z", false),
        ];
        let (id, span) = (StepId::new(Phase::Build, "x"), Span { began: 0, ended: 40 });
        let build = Step { parts, ..Step::new(&id, Phase::Build, "x", span) };
        let told = stages(&build).unwrap();
        let rows: Vec<_> = told.stages.iter().map(|s| (s.name, s.is_own_work, s.rows.len(), s.ran)).collect();
        assert_eq!(rows, [("a", false, 2, 40), ("b", false, 1, 40), ("", true, 1, 40)]);
        assert_eq!((told.count, told.cached), (3, 1), "loading is no instruction");
    }
}
