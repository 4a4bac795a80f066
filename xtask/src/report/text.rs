//! How texts and numbers look on a terminal. Pure; nothing in here prints.
//!
//! Whatever comes from outside (log lines, names, causes) passes [`neutralise`] before it reaches a screen.

use std::borrow::Cow;

use super::resolve::Colour;
pub use crate::events::harmless::neutralise;

/// What a piece of text means; colour is never the only carrier of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Secondary: times, reasons.
    Dim,
    /// A heading.
    Bold,
    /// Went well.
    Good,
    /// Odd.
    Warning,
    /// Went wrong.
    Bad,
}

/// Puts a style on a text, where colours are wanted.
pub fn paint(colour: Colour, style: Style, text: &str) -> Cow<'_, str> {
    let code = match (colour, style) {
        (Colour::No, _) | (_, Style::Plain) => return Cow::Borrowed(text),
        (Colour::Yes, Style::Dim) => "2",
        (Colour::Yes, Style::Bold) => "1",
        (Colour::Yes, Style::Good) => "32",
        (Colour::Yes, Style::Warning) => "33",
        (Colour::Yes, Style::Bad) => "1;31",
    };
    if text.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m")) }
}

/// How many columns a harmless, unpainted text takes.
pub fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// The text in at most so many columns; what was cut ends in `...`.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let tail = if columns >= 8 { "..." } else { "" };
    console::truncate_str(text, columns, tail)
}

/// The same for a name: of a reference, the end is what tells it from others.
pub fn cut_name(name: &str, columns: usize) -> Cow<'_, str> {
    if width(name) <= columns || columns < 8 || !name.contains('/') {
        return cut(name, columns);
    }
    let fits = |(at, _): &(usize, char)| width(&name[*at..]) <= columns - 3;
    let start = name.char_indices().rev().take_while(fits).last().map_or(name.len(), |(at, _)| at);
    Cow::Owned(format!("...{}", &name[start..]))
}

/// Filled with spaces up to so many columns.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// A position in a run: `01:42`, `1:02:03`.
pub fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 {
        format!("{minutes:02}:{seconds:02}")
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}")
    }
}

/// How long something took: `0.4s`, `82s`, `2m05s`, `1h02m`.
pub fn took(milliseconds: u64) -> String {
    match milliseconds {
        0..9_950 => {
            let tenths = (milliseconds + 50) / 100;
            format!("{}.{}s", tenths / 10, tenths % 10)
        }
        9_950..120_000 => format!("{}s", (milliseconds + 500) / 1000),
        120_000..3_600_000 => format!("{}m{:02}s", milliseconds / 60_000, milliseconds / 1000 % 60),
        _ => format!("{}h{:02}m", milliseconds / 3_600_000, milliseconds / 60_000 % 60),
    }
}

/// Bytes as docker shows them, in powers of 1000: `1.2 GB`.
pub fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1000;
    let mut unit = 0;
    while tenths >= 9_995 && unit + 1 < units.len() {
        tenths = (tenths + 500) / 1000;
        unit += 1;
    }
    if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
    } else {
        format!("{} {}", (tenths + 5) / 10, units[unit])
    }
}

/// Digests inside a text, cut to the twelve hex digits that `docker images` shows.
pub fn shorten_digests(text: &str) -> Cow<'_, str> {
    const PREFIX: &str = "sha256:";
    let mut short = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let (head, digest) = rest.split_at(at + PREFIX.len());
        let hex = digest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digest.len());
        short.push_str(head);
        short.push_str(&digest[..hex.min(12)]);
        rest = &digest[hex..];
    }
    if short.is_empty() {
        return Cow::Borrowed(text);
    }
    short.push_str(rest);
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cut_text_fits(text in "\\PC{0,40}", columns in 0usize..60) {
            let text = neutralise(&text);
            prop_assert!(width(&cut(&text, columns)) <= columns);
        }
    }

    #[test]
    fn numbers_read_well() {
        let times = [0, 999, 6_400, 102_000, 3_723_000].map(clock);
        assert_eq!(times, ["00:00", "00:00", "00:06", "01:42", "1:02:03"]);
        let times = [0, 449, 9_949, 9_950, 82_400, 125_000, 3_725_000].map(took);
        assert_eq!(times, ["0.0s", "0.4s", "9.9s", "10s", "82s", "2m05s", "1h02m"]);
        let sizes = [0, 999, 1_000, 1_234_567, 12_345_678, 1_200_000_000, 999_999, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.2 MB", "12 MB", "1.2 GB", "1.0 MB", "18 EB"]);
        assert_eq!(
            shorten_digests(&format!("a sha256:{} b", "0123456789abcdef".repeat(4))),
            "a sha256:0123456789ab b"
        );
        assert_eq!(shorten_digests("nothing"), "nothing");
    }

    #[test]
    fn a_reference_is_told_by_its_end() {
        for (name, columns, cut) in [
            ("registry.example.com/team/base:1.2.3", 20, "...m/team/base:1.2.3"),
            ("gateway-with-a-long-name", 20, "gateway-with-a-lo..."),
            ("a/b", 20, "a/b"),
            ("a/bcdefgh", 5, "a/bcd"),
        ] {
            assert_eq!(cut_name(name, columns), cut);
        }
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(width("日本"), 4);
        assert_eq!(cut("日本語日本語", 9), "日本語...");
        assert_eq!(pad("日本", 6), "日本  ");
        assert_eq!(cut_name("日本/日本語", 8), "...本語");
    }
}
