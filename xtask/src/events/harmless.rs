//! Text from outside (build output, names, causes) made harmless for a screen, a file and their readers. Pure.
//!
//! In: any text. Out: one line without control characters. It hides no secrets; `secrets.rs` does, afterwards, so that
//! an escape sequence in the middle of a secret does not keep it from being found.

use std::borrow::Cow;

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
    }
}
