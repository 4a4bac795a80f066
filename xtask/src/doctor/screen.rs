//! A report as people read it: a line a check, the fix below those that need one, one line that sums up. Pure.

use super::{Check, Report, Verdict};
use crate::report::resolve::Colour;
use crate::report::text::{Style, neutralise, pad, paint, width};

/// Between columns.
const GAP: usize = 2;
/// Below that many columns for what was seen, it goes on a line of its own.
const ROOM: usize = 28;
/// Where there is little room, titles that are longer than this stick out.
const TITLE: usize = 16;
/// From here on there is room.
const WIDE: usize = 120;

/// What it is written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// How wide it is; none writes each finding on one line, for `grep`.
    pub columns: Option<usize>,
    /// With colours?
    pub colour: Colour,
}

/// The whole report.
pub fn text(report: &Report, screen: Screen) -> String {
    let verdicts = report.checks.iter().map(|check| check.verdict.as_str().len()).max().unwrap_or(0) + GAP;
    let titles = report.checks.iter().map(|check| width(&neutralise(&check.title)));
    let titles = match screen.columns {
        Some(columns) if columns < WIDE => titles.filter(|title| *title <= TITLE).max(),
        _ => titles.max(),
    };
    let table = Table { verdicts, titles: titles.unwrap_or(0) + GAP, screen };
    let mut lines: Vec<String> = report.checks.iter().flat_map(|check| table.lines_of(check)).collect();
    lines.push(String::new());
    lines.extend(wrapped(&summary(report), 0, 0, screen.columns));
    lines.join("\n")
}

struct Table {
    /// How wide the verdicts' column is, its gap included.
    verdicts: usize,
    /// The same of the titles'.
    titles: usize,
    screen: Screen,
}

impl Table {
    fn lines_of(&self, check: &Check) -> Vec<String> {
        let Self { verdicts, titles, screen: Screen { columns, colour } } = *self;
        let style = match check.verdict {
            Verdict::Ok => Style::Good,
            Verdict::Warning => Style::Warning,
            Verdict::Failed => Style::Bad,
            Verdict::Skipped => Style::Dim,
        };
        let verdict = check.verdict.as_str();
        let gap = " ".repeat(verdicts.saturating_sub(verdict.len()));
        let verdict = format!("{}{gap}", paint(colour, style, verdict));
        let title = neutralise(&check.title);
        let mut lines = Vec::new();
        if columns.is_some_and(|columns| columns < verdicts + titles + ROOM) {
            lines.push(format!("{verdict}{title}"));
            lines.extend(wrapped(&check.evidence, verdicts, verdicts, columns));
        } else {
            let indent = verdicts + titles;
            let begins = verdicts + titles.max(width(&title) + GAP);
            let mut seen = wrapped(&check.evidence, begins, indent, columns).into_iter();
            let first = seen.next().unwrap_or_default();
            lines.push(format!("{verdict}{}{}", pad(&title, begins - verdicts), first.trim_start()));
            lines.extend(seen);
        }
        if let Some(fix) = &check.fix {
            let label = "fix:";
            let indent = verdicts + label.len() + 1;
            let mut fix = wrapped(fix, indent, indent, columns).into_iter();
            let first = fix.next().unwrap_or_default();
            let margin = " ".repeat(verdicts);
            lines.push(format!("{margin}{} {}", paint(colour, Style::Bold, label), first.trim_start()));
            lines.extend(fix);
        }
        lines
    }
}

/// Words, broken at spaces into lines that begin with `indent` spaces, the first one with `begins`. A word that is too
/// long stays whole: it may be a path that somebody copies.
fn wrapped(text: &str, begins: usize, indent: usize, columns: Option<usize>) -> Vec<String> {
    let text = neutralise(text);
    let mut lines: Vec<String> = Vec::new();
    let mut line = " ".repeat(begins);
    let mut is_empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !is_empty && columns.is_some_and(|columns| width(&line) + 1 + width(word) > columns) {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

fn summary(report: &Report) -> String {
    let part = |verdict: Verdict, word: &str| match report.count(verdict) {
        0 => None,
        number => Some(format!("{number} {word}")),
    };
    let warnings = if report.count(Verdict::Warning) == 1 { "warning" } else { "warnings" };
    let parts = [
        part(Verdict::Failed, "failed"),
        part(Verdict::Warning, warnings),
        part(Verdict::Ok, "ok"),
        part(Verdict::Skipped, "skipped"),
    ];
    let checks = report.checks.len();
    format!("{checks} checks: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}
