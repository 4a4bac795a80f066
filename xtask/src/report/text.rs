//! How texts and numbers look on a terminal. Pure; nothing in here prints.
//!
//! Whatever comes from outside (log lines, names, causes) passes [`neutralise`] before it reaches a screen.

use std::borrow::Cow;

use super::resolve::Colour;

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

/// One harmless line: escape sequences go, what a carriage return would overwrite goes, tabs become spaces, other
/// control characters and the invisible ones that turn or hide text (bidi overrides, zero-width) become U+FFFD.
pub fn neutralise(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let text = text.trim_end_matches(['\r', '\n']);
    let visible = text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    let mut harmless = String::with_capacity(visible.len());
    let mut rest = visible;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\x1b' => after_escape(after),
            '\u{9b}' => after_control_sequence(after),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => after_control_string(after),
            '\t' => {
                harmless.push_str("    ");
                after
            }
            '\n' | '\u{2028}' | '\u{2029}' => {
                harmless.push(' ');
                after
            }
            c => {
                harmless.push(if is_dangerous(c) { '\u{fffd}' } else { c });
                after
            }
        };
    }
    Cow::Owned(harmless)
}

fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// ECMA-48, section 5.3: what follows ESC decides how long the sequence is.
fn after_escape(rest: &str) -> &str {
    match rest.chars().next() {
        Some('[') => after_control_sequence(&rest[1..]),
        Some(']' | 'P' | 'X' | '^' | '_') => after_control_string(&rest[1..]),
        Some(' '..='/') => {
            let end = rest.find(|c: char| !(' '..='/').contains(&c)).unwrap_or(rest.len());
            let last = rest[end..].chars().next().map_or(0, char::len_utf8);
            &rest[end + last..]
        }
        Some(c @ '0'..='~') => &rest[c.len_utf8()..],
        _ => rest,
    }
}

fn after_control_sequence(rest: &str) -> &str {
    let end = rest.find(|c: char| !(' '..='?').contains(&c)).unwrap_or(rest.len());
    match rest[end..].chars().next() {
        Some('@'..='~') => &rest[end + 1..],
        // Not a sequence after all: drop what was read of it, keep what broke it.
        _ => &rest[end..],
    }
}

/// A string without its end hides nothing: only its introducer goes.
fn after_control_string(rest: &str) -> &str {
    let ends = [("\x07", 1), ("\x1b\\", 2), ("\u{9c}", 2)];
    ends.iter()
        .filter_map(|(end, length)| rest.find(end).map(|at| at + length))
        .min()
        .map_or(rest, |end| &rest[end..])
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

    #[test]
    fn nothing_hostile_survives() {
        for (text, harmless) in [
            ("plain text", "plain text"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b[2J\x1b[1;1Hgone", "gone"),
            ("\x1b]0;title\x07after", "after"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b]0;no end", "0;no end"),
            ("\x1bPq#0\x1b\\sixel", "sixel"),
            ("\u{9b}31mred", "red"),
            ("\x1bcreset", "reset"),
            ("\x1b(0charset", "charset"),
            ("\x1b", ""),
            ("\x1b[", ""),
            ("\x1b[31", ""),
            ("\x1b[é", "é"),
            ("10%\r20%\r", "20%"),
            ("10%\r20%", "20%"),
            ("dos\r\n", "dos"),
            ("a\tb", "a    b"),
            ("a\nb", "a b"),
            ("bell\x07 back\x08 nul\0 del\x7f", "bell\u{fffd} back\u{fffd} nul\u{fffd} del\u{fffd}"),
            ("evil\u{202e}gpj.exe", "evil\u{fffd}gpj.exe"),
            ("zero\u{200b}width", "zero\u{fffd}width"),
            ("日本語 ✓", "日本語 ✓"),
            ("\r", ""),
        ] {
            assert_eq!(neutralise(text), harmless, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn neutralised_text_is_one_line_without_controls(text in "(\\PC|[\\x00-\\x1f\\x7f-\u{9f}]|\x1b[\\[\\]P][0-9;]*[a-z]?){0,24}") {
            let harmless = neutralise(&text);
            prop_assert!(!harmless.chars().any(is_dangerous), "{harmless:?}");
            prop_assert_eq!(neutralise(&harmless), harmless.clone());
        }

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
    fn wide_characters_count_twice() {
        assert_eq!(width("日本"), 4);
        assert_eq!(cut("日本語日本語", 9), "日本語...");
        assert_eq!(pad("日本", 6), "日本  ");
    }
}
