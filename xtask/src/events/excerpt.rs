//! The part of a long output that tells why something failed: its beginning, its end, and every line that names an error. Pure,
//! and bounded, for the log on disk has all of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::LogStream;

/// An output of no more lines and bytes than these is kept whole.
const WHOLE: Room = Room { lines: 200, bytes: 32 * 1024 };
/// What is kept of the beginning of a longer one.
const HEAD: Room = Room { lines: 50, bytes: 8 * 1024 };
/// However much names an error, so much else is shown.
const LEAST: Room = Room { lines: 50, bytes: 8 * 1024 };
/// What names an error is kept beyond all that: so much from the first of it, and as much up to the last.
const TELLING: Room = Room { lines: 300, bytes: 64 * 1024 };
/// The two streams come through two pipes, so an error message can arrive before a flood of output that was printed
/// before it: the last lines of standard error count as if they named an error.
const ERRORS: Room = Room { lines: 5, bytes: 8 * 1024 };
/// So many lines before and after one that names an error say what it is about.
const NEIGHBOURS: usize = 2;
/// Bytes of one line: a build can print megabytes without a newline.
pub const MAX_LINE: usize = 2000;
/// What names an error, in any case.
const WORDS: [&str; 6] = ["error", "err!", "fatal", "panic", "not found", "denied"];

/// How much is kept of something.
#[derive(Clone, Copy, Debug)]
struct Room {
    lines: usize,
    bytes: usize,
}

impl Room {
    /// What is left of it beside something else, but never less than [`LEAST`].
    fn beside<'a>(self, others: impl Iterator<Item = &'a Line>) -> Self {
        let (lines, bytes) = others.fold((0, 0), |(lines, bytes), line| (lines + 1, bytes + line.text.len()));
        Self {
            lines: self.lines.saturating_sub(lines).max(LEAST.lines),
            bytes: self.bytes.saturating_sub(bytes).max(LEAST.bytes),
        }
    }

    fn take(&mut self, line: &Line) -> bool {
        let fits = self.lines > 0 && self.bytes >= line.text.len();
        if fits {
            self.lines -= 1;
            self.bytes -= line.text.len();
        }
        fits
    }
}

/// A line with its number, from 1.
#[derive(Clone, Debug)]
struct Line {
    number: usize,
    text: Arc<str>,
}

/// The last lines that there is room for.
#[derive(Clone, Debug, Default)]
struct Last {
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Last {
    fn push(&mut self, line: Line, room: Room) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > room.lines || self.bytes > room.bytes {
            let Some(gone) = self.lines.pop_front() else { return };
            self.bytes -= gone.text.len();
        }
    }
}

/// What is kept of an output while it is printed.
#[derive(Clone, Debug, Default)]
pub struct Excerpt {
    count: usize,
    bytes: usize,
    head: Vec<Line>,
    tail: Last,
    /// Lines that name an error, with their neighbours: the first, and the last beyond those.
    telling: (Vec<Line>, Last),
    /// The last of standard error.
    errors: Last,
    /// So many of the next lines are neighbours.
    near: usize,
}

impl Excerpt {
    /// The next line.
    pub fn push(&mut self, stream: LogStream, line: &str) {
        self.count += 1;
        let line = Line { number: self.count, text: around(line, MAX_LINE).into() };
        self.bytes += line.text.len();
        if tells(&line.text) {
            let before = self.tail.lines.iter().rev().take(NEIGHBOURS).cloned().collect::<Vec<_>>();
            before.into_iter().rev().for_each(|line| self.mark(line));
            self.near = NEIGHBOURS + 1;
        }
        if self.near > 0 {
            self.near -= 1;
            self.mark(line.clone());
        }
        if stream == LogStream::Stderr {
            self.errors.push(line.clone(), ERRORS);
        }
        if self.count == self.head.len() + 1 && fits(&self.head, &line, HEAD) {
            self.head.push(line.clone());
        }
        self.tail.push(line, WHOLE);
    }

    fn mark(&mut self, line: Line) {
        let (first, last) = &mut self.telling;
        let before = last.lines.back().or(first.last());
        if before.is_some_and(|before| before.number >= line.number) {
            return;
        }
        if last.lines.is_empty() && fits(first, &line, TELLING) {
            first.push(line);
        } else {
            last.push(line, TELLING);
        }
    }

    /// What is kept, in order. Where lines are left out, one says how many.
    pub fn lines(&self) -> Vec<String> {
        let mut chosen: BTreeMap<usize, &Line> = BTreeMap::new();
        let is_whole = self.count <= WHOLE.lines && self.bytes <= WHOLE.bytes;
        let kept = |line| (Line::number(line), line);
        if is_whole {
            chosen.extend(self.tail.lines.iter().map(kept));
        } else {
            chosen.extend(self.telling.0.iter().chain(&self.telling.1.lines).map(kept));
            chosen.extend(self.errors.lines.iter().map(kept));
            let mut room = WHOLE.beside(chosen.values().copied());
            // A quarter for the beginning, and all the rest for the end.
            let mut quarter = Room { lines: room.lines / 4, bytes: room.bytes / 4 };
            let head: Vec<&Line> = self.head.iter().take_while(|line| quarter.take(line)).collect();
            let head = head.into_iter().filter(|line| room.take(line)).map(kept).collect::<Vec<_>>();
            chosen.extend(head);
            let tail = self.tail.lines.iter().rev();
            let tail = tail.take_while(|line| chosen.contains_key(&line.number) || room.take(line));
            let tail = tail.map(kept).collect::<Vec<_>>();
            chosen.extend(tail);
        }
        let mut lines = Vec::with_capacity(chosen.len());
        let mut next = 1;
        for (number, line) in chosen {
            match number - next {
                0 => {}
                1 => lines.push("... 1 line left out ...".to_owned()),
                gap => lines.push(format!("... {gap} lines left out ...")),
            }
            lines.push(line.text.to_string());
            next = number + 1;
        }
        lines
    }
}

impl Line {
    fn number(&self) -> usize {
        self.number
    }
}

fn fits(lines: &[Line], line: &Line, room: Room) -> bool {
    let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
    lines.len() < room.lines && bytes + line.text.len() <= room.bytes
}

/// Whether a line names an error.
pub fn tells(line: &str) -> bool {
    word_in(line).is_some()
}

/// Where a line names an error for the first time: from which byte to which.
fn word_in(line: &str) -> Option<(usize, usize)> {
    let bytes = line.as_bytes();
    (0..bytes.len()).find_map(|at| {
        let begins = |word: &&&str| {
            bytes[at..].get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
        };
        WORDS.iter().find(begins).map(|word| (at, at + word.len()))
    })
}

/// The line in about so many bytes: what is around the place that names an error, where that would be cut off.
pub fn around(line: &str, most: usize) -> Cow<'_, str> {
    if line.len() <= most {
        return Cow::Borrowed(line);
    }
    let start = match word_in(line) {
        Some((at, end)) if end > most => line.floor_char_boundary(at.saturating_sub(most / 2)),
        _ => 0,
    };
    let end = line.floor_char_boundary(start + most);
    // Between words where there are any: half a secret is not known for one.
    let near = most / 3;
    let start = match line[start..end].find(' ') {
        Some(gap) if start > 0 && gap <= near => start + gap + 1,
        _ => start,
    };
    let end = match line[start..end].rfind(' ') {
        Some(gap) if end < line.len() && end - (start + gap) <= near => start + gap,
        _ => end,
    };
    let dots = |is_cut: bool| if is_cut { "..." } else { "" };
    Cow::Owned(format!("{}{}{}", dots(start > 0), &line[start..end], dots(end < line.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many lines, of which some are others; what is kept of them.
    fn kept(count: usize, others: &[(usize, &str)]) -> Vec<String> {
        let mut excerpt = Excerpt::default();
        for number in 1..=count {
            let other = others.iter().find(|(at, _)| *at == number);
            let line = other.map_or_else(|| format!("line {number}"), |(_, text)| (*text).to_owned());
            excerpt.push(LogStream::Stdout, &line);
        }
        excerpt.lines()
    }

    #[test]
    fn what_is_short_is_kept_whole() {
        for count in [0, 1, 50, 51, 199, 200] {
            let whole: Vec<String> = (1..=count).map(|number| format!("line {number}")).collect();
            assert_eq!(kept(count, &[]), whole);
        }
    }

    #[test]
    fn what_is_long_keeps_both_ends_and_what_names_an_error() {
        let lines = kept(5_000, &[]);
        assert_eq!(lines.len(), 201);
        assert_eq!(lines[49..52], ["line 50", "... 4800 lines left out ...", "line 4851"]);
        for word in
            ["error:", "npm ERR!", "FATAL", "thread panicked", "sh: x: not found", "Permission denied"]
        {
            let lines = kept(5_000, &[(60, word), (2_500, word), (4_990, "error")]);
            for (near, text) in [("line 59", "line 61"), ("line 2499", "line 2501")] {
                let at = lines.iter().position(|line| line == near).expect(near);
                assert_eq!(lines[at + 1..at + 3], [word, text]);
            }
            assert_eq!((lines[0].as_str(), lines.last().unwrap().as_str()), ("line 1", "line 5000"));
            assert!(lines.len() <= 204, "{}", lines.len());
        }
    }

    #[test]
    fn many_errors_leave_room_for_both_ends_and_are_bounded() {
        let all: Vec<(usize, String)> = (1..90).map(|n| (n * 50, format!("error {n}"))).collect();
        let others: Vec<(usize, &str)> = all.iter().map(|(at, text)| (*at, text.as_str())).collect();
        let lines = kept(5_000, &others);
        assert!(all.iter().all(|(_, text)| lines.contains(text)));
        assert!(lines.contains(&"line 1".to_owned()) && lines.contains(&"line 4999".to_owned()));
        let mut excerpt = Excerpt::default();
        (0..100_000)
            .for_each(|n| excerpt.push(LogStream::Stderr, &format!("error {n} {}", "x".repeat(5_000))));
        let lines = excerpt.lines();
        let bytes: usize = lines.iter().map(String::len).sum();
        assert!(bytes < 200 * 1024, "{bytes}");
        assert!(lines[0].starts_with("error 0") && lines.last().unwrap().starts_with("error 99999"));
    }

    #[test]
    fn wide_lines_are_bounded_too() {
        let mut excerpt = Excerpt::default();
        (0..100).for_each(|n| excerpt.push(LogStream::Stdout, &format!("{n} {}", "y".repeat(1_500))));
        let lines = excerpt.lines();
        let bytes: usize = lines.iter().map(String::len).sum();
        assert!(bytes <= WHOLE.bytes + 100, "{bytes}");
        assert!(lines[0].starts_with("0 ") && lines.last().unwrap().starts_with("99 "));
    }

    #[test]
    fn an_error_that_came_before_a_flood_is_kept() {
        let mut excerpt = Excerpt::default();
        let mut say = |count: usize, stream, text: &str| {
            (0..count).for_each(|_| excerpt.push(stream, text));
        };
        say(1_000, LogStream::Stdout, "before");
        say(1, LogStream::Stderr, "boom");
        say(1_000, LogStream::Stdout, "flood");
        assert!(excerpt.lines().contains(&"boom".to_owned()));
    }

    #[test]
    fn a_long_line_is_cut_around_its_error() {
        for (line, most, expect) in [
            ("short".to_owned(), 10, "short".to_owned()),
            ("x".repeat(20), 10, format!("{}...", "x".repeat(10))),
            ("word ".repeat(20), 13, "word word...".to_owned()),
            (format!("{} denied {}", "é".repeat(20), "z".repeat(20)), 24, "...éééééé denied...".to_owned()),
            (
                format!("{} error {}", "a b ".repeat(9), "c d ".repeat(9)),
                24,
                "...b a b a b  error c d c...".to_owned(),
            ),
        ] {
            assert_eq!(around(&line, most), expect);
        }
        assert!(!tells("a line of an erro"));
    }
}
