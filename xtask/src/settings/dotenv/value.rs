//! The right-hand side of one `.env` entry.

use std::cell::RefCell;

use super::is_space;
use crate::model::Diagnostic;
use crate::settings::interpolate::interpolate;

/// A value, and where it ends.
pub(super) struct Scanned {
    /// Quotes and escapes undone, variables expanded.
    pub value: String,
    /// Names that nothing above defines.
    pub undefined: Vec<String>,
    /// Byte offset just after the value; after its line, without the line's end, where it is not in quotes.
    pub end: usize,
}

/// Reads the value that begins at `start`, just after `=`.
pub(super) fn scan(
    file: &str,
    text: &str,
    start: usize,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Scanned, Diagnostic> {
    let rest = text[start..].trim_start_matches(is_space);
    let at = text.len() - rest.len();
    let error = |message: String| Diagnostic::error(file, 0, message).at_offset(text, at);
    let undefined = RefCell::new(Vec::new());
    let expand = |text: &str| {
        let variable = |name: &str| {
            let value = variable(name);
            if value.is_none() {
                undefined.borrow_mut().push(name.to_owned());
            }
            value
        };
        interpolate(text, &variable).map_err(&error)
    };
    let (value, end) = match rest.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let Some((inner, length)) = quoted(&rest[1..], quote) else {
                return Err(error(format!(
                    "the quote `{quote}` is never closed; `\\{quote}` does not close it"
                )));
            };
            let value = if quote == '"' { expand(&unescape(&inner))? } else { inner };
            (value, at + 1 + length)
        }
        _ => {
            let line = rest.split('\n').next().unwrap_or_default();
            // Only a space makes `#` begin a comment: `x#y` and, as compose has it, a tab before it are of the value.
            let bare = line.split(" #").next().unwrap_or_default().trim_end();
            (expand(bare)?, at + line.strip_suffix('\r').unwrap_or(line).len())
        }
    };
    Ok(Scanned { value, undefined: undefined.into_inner(), end })
}

/// What stands before the closing quote, with `\` before a quote of that kind taken away, and the offset after it.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut inner = String::new();
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !is_escaped => is_escaped = true,
            c if c == quote && !is_escaped => return Some((inner, at + 1)),
            c => {
                if is_escaped && c != quote {
                    inner.push('\\');
                }
                inner.push(c);
                is_escaped = false;
            }
        }
    }
    None
}

/// Undoes the escapes of double quotes. `\$` becomes `$$`, which is no variable either.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(next) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        let plain = match next {
            'a' => "\u{7}",
            'b' => "\u{8}",
            'f' => "\u{c}",
            'n' => "\n",
            'r' => "\r",
            't' => "\t",
            'v' => "\u{b}",
            '"' => "\"",
            '\\' => "\\",
            '$' => "$$",
            '0' => {
                let digits = rest[1..].bytes().take(3).take_while(u8::is_ascii_digit).count();
                let (octal, after) = rest[1..].split_at(digits);
                match u8::from_str_radix(octal, 8) {
                    Ok(code) if digits == 3 => out.push(char::from(code)),
                    // As compose leaves them.
                    _ => out.extend(["\\", octal]),
                }
                rest = after;
                continue;
            }
            _ => {
                out.push('\\');
                continue;
            }
        };
        out.push_str(plain);
        rest = &rest[1..];
    }
    out.push_str(rest);
    out
}
