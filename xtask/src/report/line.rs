//! One line for a terminal, before it is known how wide that is. Pure.

use super::resolve::Colour;
use super::text::{Style, cut, cut_name, pad, paint, width};

/// Times stand in this column at most: on a wide terminal the eye must not lose the line.
const RIGHT_EDGE: usize = 88;

/// Names are aligned, up to this width.
pub const NAME: usize = 12;
/// Narrower terminals are spared the indentation.
const NARROW: usize = 60;
/// No line of a log is longer.
pub const LOG_COLUMNS: usize = 400;

/// A text as lines of a log: what is too long is broken between words, and a word that is too long is cut.
pub fn for_log(text: &str) -> impl Iterator<Item = String> {
    let lines = if width(text) <= LOG_COLUMNS {
        text.to_owned()
    } else {
        prose(&[(Style::Plain, text.to_owned())], "", 4, LOG_COLUMNS + 1, Colour::No)
    };
    lines.lines().map(|line| cut(line, LOG_COLUMNS).into_owned()).collect::<Vec<_>>().into_iter()
}

/// A line that does not know yet how wide the terminal is.
#[derive(Clone, Debug)]
pub enum Line {
    /// Cut to the width, with a time at the right.
    Row {
        /// Parts of it.
        left: Vec<(Style, String)>,
        /// The time.
        right: String,
    },
    /// Broken between words, its other lines indented by so much; the time at the right of the first one.
    Prose {
        /// Parts of it.
        left: Vec<(Style, String)>,
        /// The time.
        right: String,
        /// How far the other lines are indented.
        hang: usize,
    },
    /// How something ended, on one line as wide as the terminal. The word and the time are never cut: first what is told
    /// of it gives way, then its name.
    Ended {
        /// What ended.
        name: String,
        /// How.
        word: (Style, String),
        /// What else is told of it.
        rest: String,
        /// The time.
        right: String,
    },
    /// Whole, whatever its length, so that it can be copied: the terminal breaks it.
    Text(String),
}

impl Line {
    /// A sentence without a time, behind its label.
    pub fn sentence(label: (Style, &str), text: &str) -> Self {
        let left = vec![(Style::Plain, "  ".to_owned()), (label.0, label.1.to_owned())];
        let text = (Style::Plain, format!("{}{text}", if label.1.is_empty() { "" } else { " " }));
        Self::Prose { left: left.into_iter().chain([text]).collect(), right: String::new(), hang: 4 }
    }

    /// As it looks on a terminal of so many columns; only prose has more than one line.
    pub fn fit(self, columns: usize, colour: Colour) -> String {
        match self {
            Self::Text(text) => text,
            Self::Row { left, right } => row(&left, &right, columns, colour),
            Self::Ended { name, word, rest, right } => ended(&name, &word, &rest, &right, columns, colour),
            Self::Prose { left, right, hang } => prose(&left, &right, hang, columns, colour),
        }
    }
}

/// What steps are indented by. Narrow terminals are spared most of it.
pub fn indent(columns: usize) -> &'static str {
    if columns >= NARROW { "             " } else { "    " }
}

/// The last column that rows use. The terminal's very last one stays free: some terminals break there.
pub fn edge(columns: usize) -> usize {
    columns.saturating_sub(1).min(RIGHT_EDGE)
}

/// How many columns are left for the left side, and the right side if there is room for it.
fn split(right: &str, columns: usize) -> (usize, &str) {
    let edge = edge(columns);
    // A terminal too narrow for a time does without.
    let right = if width(right) + 15 > edge { "" } else { right };
    let reserved = if right.is_empty() { 0 } else { width(right) + 1 };
    (edge.saturating_sub(reserved), right)
}

fn row(left: &[(Style, String)], right: &str, columns: usize, colour: Colour) -> String {
    let (mut room, right) = split(right, columns);
    let mut text = String::new();
    for (style, part) in left {
        let part = cut(part, room);
        room -= width(&part);
        text.push_str(&paint(colour, *style, &part));
    }
    push_right(&mut text, room, right, colour);
    text
}

fn ended(
    name: &str,
    (style, word): &(Style, String),
    rest: &str,
    right: &str,
    columns: usize,
    colour: Colour,
) -> String {
    let whole = columns.saturating_sub(1);
    let indent = indent(columns);
    let taken = indent.len() + 1 + width(word);
    let rest = if rest.is_empty() { String::new() } else { format!("  {rest}") };
    // A name is known by 15 columns of it; a terminal too narrow for that does without a time.
    let right = if taken + 15 + width(right) < whole { right } else { "" };
    let reserved = if right.is_empty() { 0 } else { width(right) + 1 };
    let room = whole.saturating_sub(taken + reserved);
    let name = cut_name(name, room);
    let name = pad(&name, room.min(NAME));
    let used = taken + width(&name);
    let wanted = used + width(&rest) + reserved;
    let end = wanted.clamp(edge(columns), whole.max(edge(columns)));
    let rest = cut(&rest, end.saturating_sub(used + reserved));
    let mut text = format!("{indent}{name} {}{rest}", paint(colour, *style, word));
    push_right(&mut text, end.saturating_sub(used + width(&rest) + reserved), right, colour);
    text
}

fn push_right(text: &mut String, room: usize, right: &str, colour: Colour) {
    if right.is_empty() {
        text.truncate(text.trim_end().len());
    } else {
        text.push_str(&" ".repeat(room + 1));
        text.push_str(&paint(colour, Style::Dim, right));
    }
}

fn prose(left: &[(Style, String)], right: &str, hang: usize, columns: usize, colour: Colour) -> String {
    let (first_room, right) = split(right, columns);
    let all = left.iter().map(|(_, part)| width(part)).sum::<usize>();
    // Without a time at the right, a sentence may use all of a wide terminal.
    let whole = columns.saturating_sub(1);
    let first_room = match right {
        "" => whole,
        _ if all <= first_room => first_room,
        right => whole.saturating_sub(width(right) + 1),
    };
    if all <= first_room || whole <= hang + 8 {
        return row_of_prose(left, right, first_room, colour);
    }
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    // The space before the next word, which a break swallows.
    let (mut room, mut gap) = (first_room, 0);
    for (style, part) in left {
        for word in part.split_inclusive(' ') {
            let bare = word.trim_end();
            if used + gap + width(bare) > room && used > hang && !bare.is_empty() {
                lines.push(std::mem::take(&mut line));
                (used, room, gap) = (0, whole, hang);
            }
            if !bare.is_empty() {
                line.push_str(&" ".repeat(gap));
                line.push_str(&paint(colour, *style, bare));
                used += gap + width(bare);
                gap = 0;
            }
            gap += width(word) - width(bare);
        }
    }
    lines.push(line);
    if let Some(first) = lines.first_mut() {
        let taken = width(first).min(first_room);
        push_right(first, first_room - taken, right, colour);
    }
    lines.join("\n")
}

fn row_of_prose(left: &[(Style, String)], right: &str, room: usize, colour: Colour) -> String {
    let mut text: String = left.iter().map(|(style, part)| paint(colour, *style, part)).collect();
    let used: usize = left.iter().map(|(_, part)| width(part)).sum();
    push_right(&mut text, room.saturating_sub(used), right, colour);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(columns: usize, text: &str, right: &str, expect: &str) {
        let left = vec![(Style::Bold, "  note:".to_owned()), (Style::Plain, format!(" {text}"))];
        let prose = |colour| {
            Line::Prose { left: left.clone(), right: right.to_owned(), hang: 4 }.fit(columns, colour)
        };
        assert_eq!(prose(Colour::No), expect);
        assert_eq!(console::strip_ansi_codes(&prose(Colour::Yes)), expect);
    }

    #[test]
    fn prose_is_broken_between_words() {
        check(80, "one two", "", "  note: one two");
        check(30, "one two", "00:01", "  note: one two         00:01");
        check(24, "one two three four", "", "  note: one two three\n    four");
        check(24, "one two three four five six", "00:01", "  note: one two   00:01\n    three four five six");
        check(
            24,
            "a-word-that-is-too-long-for-it b",
            "",
            "  note:\n    a-word-that-is-too-long-for-it\n    b",
        );
        check(24, "one two", "00:01", "  note: one two   00:01");
        check(9, "one two three", "00:01", "  note: one two three");
    }
}
