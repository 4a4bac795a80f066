//! A report as people read it: a line a check, the fix below those that need one, one line that sums up. Pure.

use super::{Check, Report, Verdict};
use crate::report::resolve::Colour;
use crate::report::text::{Style, neutralise, pad, paint, width};

/// Between columns.
const GAP: usize = 2;
/// Below that many columns for what was seen, it goes on a line of its own.
const ROOM: usize = 28;

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
    let titles = report.checks.iter().map(|check| width(&check.title)).max().unwrap_or(0) + GAP;
    let mut lines = Vec::new();
    for check in &report.checks {
        lines.extend(lines_of(check, verdicts, titles, screen));
    }
    lines.push(String::new());
    lines.extend(wrapped(&summary(report), 0, screen.columns));
    lines.join("\n")
}

fn lines_of(check: &Check, verdicts: usize, titles: usize, screen: Screen) -> Vec<String> {
    let style = match check.verdict {
        Verdict::Ok => Style::Good,
        Verdict::Warning => Style::Warning,
        Verdict::Failed => Style::Bad,
        Verdict::Skipped => Style::Dim,
    };
    let verdict = check.verdict.as_str();
    let verdict = format!(
        "{}{}",
        paint(screen.colour, style, verdict),
        " ".repeat(verdicts.saturating_sub(verdict.len()))
    );
    let is_narrow = screen.columns.is_some_and(|columns| columns < verdicts + titles + ROOM);
    let indent = if is_narrow { verdicts } else { verdicts + titles };
    let mut seen = wrapped(&check.evidence, indent, screen.columns);
    let title = neutralise(&check.title);
    let mut lines = Vec::new();
    if is_narrow {
        lines.push(format!("{verdict}{title}"));
    } else if !seen.is_empty() {
        let first = seen.remove(0);
        lines.push(format!("{verdict}{}{}", pad(&title, titles), first.trim_start()));
    }
    lines.append(&mut seen);
    if let Some(fix) = &check.fix {
        let label = "fix: ";
        let fix = wrapped(fix, indent + label.len(), screen.columns);
        lines.extend(fix.into_iter().enumerate().map(|(index, line)| match index {
            0 => format!(
                "{}{}{}",
                " ".repeat(indent),
                paint(screen.colour, Style::Bold, label.trim_end()),
                &line[indent + label.len() - 1..]
            ),
            _ => line,
        }));
    }
    lines
}

/// Words, broken at spaces into lines that begin with so many spaces. A word that is too long stays whole: it may be a
/// path that somebody copies.
fn wrapped(text: &str, indent: usize, columns: Option<usize>) -> Vec<String> {
    let margin = " ".repeat(indent);
    let text = neutralise(text);
    let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(indent).max(1));
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && width(&line) + 1 + width(word) > room {
            lines.push(format!("{margin}{line}"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(format!("{margin}{line}"));
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
