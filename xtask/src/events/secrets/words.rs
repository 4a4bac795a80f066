//! Where in a text a secret stands as a word of its own, so that `test` is not found in `latest`. Pure.

use super::{LONG, MASK};

/// How a value is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Wherever it stands: it is so long that nothing has it by chance.
    Anywhere,
    /// Between things that are no letters, digits or `_`.
    Words,
    /// The same, and not as a part of a name: of `some-name`, `a/path`, `host.name` or `image:tag`.
    Names,
}

impl Reach {
    /// That of a value: one word can be a part of any name.
    pub(super) fn of(value: &str) -> Self {
        let is_word = |b: u8| b.is_ascii_lowercase() || b == b'-';
        if value.bytes().all(is_word) || value.bytes().all(|b| b.is_ascii_digit()) {
            Self::Names
        } else if value.len() >= LONG {
            Self::Anywhere
        } else {
            Self::Words
        }
    }
}

/// The text with the value masked wherever it stands; none where it does not.
pub(super) fn mask(text: &str, value: &str, reach: Reach) -> Option<String> {
    let mut found = text.match_indices(value).filter(|(at, _)| stands_at(text, *at, value, reach)).peekable();
    found.peek()?;
    let (mut masked, mut end) = (String::with_capacity(text.len()), 0);
    for (at, _) in found {
        masked.push_str(&text[end..at]);
        masked.push_str(MASK);
        end = at + value.len();
    }
    masked.push_str(&text[end..]);
    Some(masked)
}

/// Whether the value that begins at this byte is no part of something longer.
pub(super) fn stands_at(text: &str, at: usize, value: &str, reach: Reach) -> bool {
    let (before, after) = (&text[..at], &text[at + value.len()..]);
    let begins_free = !value.starts_with(is_word) || !before.ends_with(is_word) || ends_otherwise(before);
    let ends_free = !value.ends_with(is_word) || !after.starts_with(is_word);
    match reach {
        Reach::Anywhere => true,
        Reach::Words => begins_free && ends_free,
        Reach::Names => {
            let goes_on =
                after.strip_prefix(['-', '.', '/', ':', '@']).is_some_and(|rest| rest.starts_with(is_word));
            begins_free && ends_free && !goes_on && !before.ends_with(['-', '.', '/'])
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The letter before the value belongs to something else: to `\n` or `%3A`, which stand for one character, or to a flag
/// that has its value behind it, as in `mysql -pPASSWORD`.
fn ends_otherwise(before: &str) -> bool {
    match before.as_bytes() {
        [.., b'\\', b'b' | b'f' | b'n' | b'r' | b't'] => true,
        [.., b'%', high, low] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        [b'-', letter] | [.., b' ' | b'"' | b'\'', b'-', letter] => letter.is_ascii_alphabetic(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_word_of_its_own() {
        for (value, text, expect) in [
            (
                "pa55-wd",
                "pa55-wd xpa55-wd pa55-wdx pa55-wd_1 (pa55-wd)",
                "*** xpa55-wd pa55-wdx pa55-wd_1 (***)",
            ),
            ("pa55-wd", "joe:pa55-wd@db/pa55-wd/", "joe:***@db/***/"),
            (
                "pa55-wd",
                r#"{"a":"x\npa55-wd\n"} q%3Apa55-wd mysql -ppa55-wd"#,
                r#"{"a":"x\n***\n"} q%3A*** mysql -p***"#,
            ),
            ("$igma!", "x$igma!y", "x***y"),
            ("sesameopen", "x sesameopen. token=sesameopen, joe:sesameopen", "x ***. token=***, joe:***"),
            (
                "sesameopen",
                "sesameopen:1 a/sesameopen sesameopen-db my-sesameopen",
                "sesameopen:1 a/sesameopen sesameopen-db my-sesameopen",
            ),
            ("0123456789abcdefX", "a0123456789abcdefXb", "a***b"),
        ] {
            assert_eq!(mask(text, value, Reach::of(value)).as_deref().unwrap_or(text), expect, "{value}");
        }
    }
}
