//! What came of a run, as markdown: `summary.md` of its record, and its part of a GitHub job summary. Pure.
//!
//! Nothing from outside becomes markup: in cells what markdown gives a meaning is escaped, and what failed stands in
//! fences that are longer than any in it. It keeps to the room that it is given, and says what it leaves out.

use std::fmt::Write as _;

use super::notice::Notice;
use super::places::Places;
use super::resolve::Colour;
use super::summary::Summary;
use super::table::Row;
use super::text::{cut, neutralise, size, took};
use crate::model::{Outcome, Severity};

/// Longer texts in a cell are cut, and longer lines of what failed.
const MAX_CELL: usize = 240;
const MAX_LINE: usize = 500;
/// What is left for saying that something was left out.
const RESERVE: usize = 400;

/// The whole page, of at most so many bytes; `places` gives images and findings their addresses.
pub fn page(summary: &Summary, places: &Places, room: usize) -> String {
    let mut page = Page { text: String::new(), room: room.saturating_sub(RESERVE) };
    if page.head(summary) {
        page.failures(summary);
        page.images(summary, places);
        page.findings(places);
        page.phases(summary);
    }
    page.text
}

/// What ended a command, of at most so many bytes.
pub fn failure(command: &str, failure: &Notice, room: usize) -> String {
    let summary = Summary { command: Some(command.to_owned()), ..Summary::default() };
    let text = format!("## {} failed\n{}", title(&summary), block(failure));
    if text.len() <= room { text } else { String::new() }
}

/// What one machine of several builds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The images, each with why it is built.
    pub images: Vec<(String, String)>,
    /// Milliseconds that it is expected to take.
    pub estimate: u64,
}

/// What several machines are going to build, of at most so many bytes.
pub fn shares(shares: &[Share], room: usize) -> String {
    let mut page = Page { text: String::new(), room: room.saturating_sub(RESERVE) };
    let images: usize = shares.iter().map(|share| share.images.len()).sum();
    let head = match (images, shares.len()) {
        (0, _) => "## No image is affected\n".to_owned(),
        (1, _) => "## 1 image is affected\n".to_owned(),
        (_, 1) => format!("## {images} images are affected, for one machine\n"),
        (_, machines) => format!("## {images} images are affected, for {machines} machines\n"),
    };
    let rows = shares.iter().enumerate().flat_map(|(at, share)| {
        let first = format!("{}/{} ({})", at + 1, shares.len(), took(share.estimate));
        share
            .images
            .iter()
            .enumerate()
            .map(move |(n, (image, why))| {
                let machine = if n == 0 { first.as_str() } else { "" };
                format!("| {machine} | {} | {} |\n", cell(image), cell(why))
            })
            .collect::<Vec<_>>()
    });
    if page.add(&head) {
        let rows: Vec<String> = rows.collect();
        page.add_all("\n| machine (estimate) | image | why |\n|---|---|---|\n", &rows, "images");
    }
    page.text
}

struct Page {
    text: String,
    room: usize,
}

impl Page {
    /// Adds a piece if it fits.
    fn add(&mut self, piece: &str) -> bool {
        let fits = self.text.len() + piece.len() <= self.room;
        if fits {
            self.text.push_str(piece);
        }
        fits
    }

    /// Adds pieces as long as they fit, with a head before the first; what is left out is counted below.
    fn add_all(&mut self, head: &str, pieces: &[String], noun: &str) {
        if pieces.is_empty() || !self.add(head) {
            return;
        }
        let shown = pieces.iter().take_while(|piece| self.add(piece)).count();
        if shown < pieces.len() {
            // The reserve is for this.
            let _ = writeln!(self.text, "\n… and {} more {noun}", pieces.len() - shown);
        }
    }

    fn head(&mut self, summary: &Summary) -> bool {
        let mut text = format!("## {} {}\n\n", title(summary), summary.ending());
        let exit = summary.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} in {}{exit}", summary.sentence(), took(summary.took));
        if let Some(cause) = &summary.cancelled {
            let _ = writeln!(text, "\nCancelled: {}", cell(cause));
        }
        self.add(&text)
    }

    fn failures(&mut self, summary: &Summary) {
        let blocks: Vec<String> = summary.tellings().iter().map(block).collect();
        self.add_all("", &blocks, "failures");
    }

    fn images(&mut self, summary: &Summary, places: &Places) {
        const HEAD: &str = "\n| image | state | why | time | size |\n|---|---|---|---:|---:|\n";
        let mut rows = summary.images.rows();
        rows.sort_by_key(|row| urgency(row.outcome));
        let (idle, busy): (Vec<&Row>, Vec<&Row>) =
            rows.into_iter().partition(|row| row.outcome == Outcome::UpToDate);
        let line = |row: &&Row| {
            let failed = summary.failures.iter().find(|failed| failed.subject == row.image);
            let place = failed.and_then(|failed| places.of_failure(failed));
            let place = place.or_else(|| places.of_image(&row.image));
            let address = place.and_then(|place| places.address(&place));
            let name = linked(&cell(&row.image), address);
            let time = row.took.map(took).unwrap_or_default();
            let bytes = row.size.map(size).unwrap_or_default();
            format!("| {name} | {} | {} | {time} | {bytes} |\n", state(row), cell(&row.why))
        };
        let busy: Vec<String> = busy.iter().map(line).collect();
        self.add_all(HEAD, &busy, "images");
        let idle: Vec<String> = idle.iter().map(line).collect();
        let head = format!("\n<details><summary>{} up to date</summary>\n{HEAD}", idle.len());
        if !idle.is_empty() && self.text.len() + head.len() <= self.room {
            self.add_all(&head, &idle, "images");
            self.text.push_str("\n</details>\n");
        }
    }

    fn findings(&mut self, places: &Places) {
        let both = [Severity::Error, Severity::Warning];
        let found = both.into_iter().flat_map(|severity| places.findings(severity));
        let lines: Vec<String> = found
            .map(|(place, found)| {
                let severity = if found.severity == Severity::Error { "error" } else { "warning" };
                let at = linked(&cell(&found.place()), places.address(&place));
                format!("- {severity}: {at}: {}\n", cell(&found.message))
            })
            .collect();
        self.add_all("\n", &lines, "findings");
    }

    fn phases(&mut self, summary: &Summary) {
        let line = |phase: &crate::model::Phase| {
            format!("| {} | {} |\n", phase.title(), summary.phase_sentence(*phase))
        };
        let lines: Vec<String> = summary.phases.keys().map(line).collect();
        self.add_all("\n| phase | result |\n|---|---|\n", &lines, "phases");
    }
}

/// What was typed, as code.
fn title(summary: &Summary) -> String {
    let command = neutralise(&summary.full_command()).replace('`', "'");
    format!("`{}`", cut(&command, MAX_CELL))
}

/// What failed comes first.
fn urgency(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Failed => 0,
        Outcome::Cancelled => 1,
        Outcome::Skipped => 2,
        Outcome::Done => 3,
        Outcome::UpToDate => 4,
    }
}

fn state(row: &Row) -> String {
    let word = row.word();
    if matches!(row.outcome, Outcome::Failed | Outcome::Cancelled) { format!("**{word}**") } else { word }
}

/// A failure in a fence that nothing in it can end.
fn block(failure: &Notice) -> String {
    let lines = failure.lines(Colour::No);
    let lines: Vec<_> = lines.iter().map(|line| cut(line, MAX_LINE)).collect();
    let text = lines.join("\n");
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("\n{fence}text\n{text}\n{fence}\n")
}

/// How many backticks stand side by side at most.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn linked(text: &str, address: Option<String>) -> String {
    match address {
        Some(address) => format!("[{text}]({address})"),
        None => text.to_owned(),
    }
}

/// One line of text that markdown takes as it is, a table's cell included; nor does it become a link or a mention.
fn cell(text: &str) -> String {
    let harmless = neutralise(text);
    let mut escaped = String::with_capacity(harmless.len());
    let shown = cut(&harmless, MAX_CELL);
    for (at, c) in shown.char_indices() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '@' => escaped.push_str("&#64;"),
            // Bare addresses become links by `://` and by `www.`.
            ':' if shown[at..].starts_with("://") => escaped.push_str("&#58;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '.' if escaped.ends_with("www") => escaped.push_str("\\."),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
