//! The right-hand side of one `.env` entry.

use std::collections::BTreeMap;

use crate::model::Diagnostic;

/// A value, and where it ends.
pub(super) struct Scanned {
    /// Quotes and escapes undone, variables expanded.
    pub value: String,
    /// Names that nothing above defines.
    pub undefined: Vec<String>,
    /// Byte offset just after the value (and the comment behind it, if there is one).
    pub end: usize,
}

/// Reads the value that begins at `start`, just after `=`.
pub(super) fn scan(
    file: &str,
    text: &str,
    start: usize,
    known: &BTreeMap<String, String>,
) -> Result<Scanned, Diagnostic> {
    let mut scanner = Scanner { file, text, known, value: String::new(), undefined: Vec::new() };
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let line = &text[start..line_end];
    let value = line.trim_start_matches([' ', '\t']);
    let at = line_end - value.len();
    let end = if value.starts_with(['\'', '"']) {
        scanner.quoted(at)?
    } else {
        // `K=#x` is a value, `K= #x` a comment: as in a shell.
        let comment = if at > start && value.starts_with('#') { Some(0) } else { find_comment(value) };
        let bare = &value[..comment.unwrap_or(value.len())];
        scanner.expand(at, bare.trim_end(), Escapes::Dollar)?;
        line_end - if line.ends_with('\r') { 1 } else { 0 }
    };
    Ok(Scanned { value: scanner.value, undefined: scanner.undefined, end })
}

/// The offset of a `#` with white space before it.
fn find_comment(value: &str) -> Option<usize> {
    value.match_indices('#').map(|(at, _)| at).find(|at| value[..*at].ends_with([' ', '\t']))
}

/// Which backslash sequences mean something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// `\$` only: elsewhere a backslash is one, as in `C:\dir`.
    Dollar,
    /// Those of double quotes.
    All,
}

struct Scanner<'a> {
    file: &'a str,
    text: &'a str,
    known: &'a BTreeMap<String, String>,
    value: String,
    undefined: Vec<String>,
}

impl Scanner<'_> {
    fn error(&self, offset: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.file, 0, message).at_offset(self.text, offset)
    }

    /// Quoted pieces and what clings to them, as a shell joins them: `'a'\''b'`. Gives the offset of the end.
    fn quoted(&mut self, mut at: usize) -> Result<usize, Diagnostic> {
        loop {
            let rest = &self.text[at..];
            let Some(first) = rest.chars().next() else { return Ok(at) };
            match first {
                '\'' => {
                    let Some(length) = rest[1..].find('\'') else {
                        return Err(self.error(at, "the quote `'` is never closed"));
                    };
                    self.value.push_str(&unix_lines(&rest[1..=length]));
                    at += length + 2;
                }
                '"' => {
                    let Some(length) = closing_quote(&rest[1..]) else {
                        return Err(self.error(at, "the quote `\"` is never closed"));
                    };
                    self.expand(at + 1, &rest[1..=length], Escapes::All)?;
                    at += length + 2;
                }
                '\r' | '\n' => return Ok(at),
                ' ' | '\t' => {
                    let line = rest.split(['\r', '\n']).next().unwrap_or_default();
                    let tail = line.trim();
                    if !tail.is_empty() && !tail.starts_with('#') {
                        let offset = at + line.len() - line.trim_start().len();
                        return Err(self.error(
                            offset,
                            "unexpected text after the closing quote; a comment begins with `#`",
                        ));
                    }
                    return Ok(at + line.len());
                }
                '\\' => {
                    let next = rest[1..].chars().next().filter(|c| !matches!(c, '\r' | '\n'));
                    self.value.push(next.unwrap_or('\\'));
                    at += 1 + next.map_or(0, char::len_utf8);
                }
                _ => {
                    let length =
                        rest.find(|c: char| c.is_whitespace() || "'\"\\".contains(c)).unwrap_or(rest.len());
                    self.expand(at, &rest[..length], Escapes::Dollar)?;
                    at += length;
                }
            }
        }
    }

    /// Appends `piece`, which stands at `offset`, with its escapes undone and its variables replaced.
    fn expand(&mut self, offset: usize, piece: &str, escapes: Escapes) -> Result<(), Diagnostic> {
        let mut rest = piece;
        while let Some(special) = rest.find(['$', '\\', '\r']) {
            self.value.push_str(&rest[..special]);
            let at = offset + (piece.len() - rest.len()) + special;
            rest = &rest[special..];
            let taken = match rest.as_bytes()[0] {
                b'$' => self.variable(at, rest)?,
                // Both line ends mean the same line end.
                b'\r' if rest.starts_with("\r\n") => 1,
                b'\r' => self.literally(rest, 1),
                _ => self.escape(rest, escapes),
            };
            rest = &rest[taken..];
        }
        self.value.push_str(rest);
        Ok(())
    }

    fn escape(&mut self, rest: &str, escapes: Escapes) -> usize {
        let plain = match (escapes, rest.as_bytes().get(1)) {
            (_, Some(b'$')) => '$',
            (Escapes::All, Some(b'n')) => '\n',
            (Escapes::All, Some(b'r')) => '\r',
            (Escapes::All, Some(b't')) => '\t',
            (Escapes::All, Some(b'\\')) => '\\',
            (Escapes::All, Some(b'"')) => '"',
            (Escapes::All, Some(b'\'')) => '\'',
            _ => return self.literally(rest, 1),
        };
        self.value.push(plain);
        2
    }

    fn literally(&mut self, rest: &str, length: usize) -> usize {
        self.value.push_str(&rest[..length]);
        length
    }

    /// Replaces the variable that `rest` begins with, and says how many bytes it took. What is no variable stays.
    fn variable(&mut self, at: usize, rest: &str) -> Result<usize, Diagnostic> {
        let after = &rest[1..];
        if after.starts_with('$') {
            self.value.push('$');
            return Ok(2);
        }
        let Some(braced) = after.strip_prefix('{') else {
            let name = leading_name(after);
            if name.is_empty() {
                return Ok(self.literally(rest, 1));
            }
            self.lookup(name);
            return Ok(1 + name.len());
        };
        let name = leading_name(braced);
        let operation = &braced[name.len()..];
        let Some(end) = closing_brace(operation).filter(|_| !name.is_empty()) else {
            return Ok(self.literally(rest, 1));
        };
        let taken = 2 + name.len() + end + 1;
        let operation = &operation[..end];
        let (operator, operand) = match operation.strip_prefix(':') {
            Some(stripped) => (stripped.chars().next(), stripped.get(1..).unwrap_or_default()),
            None => (operation.chars().next(), operation.get(1..).unwrap_or_default()),
        };
        let is_set =
            self.known.get(name).is_some_and(|value| !operation.starts_with(':') || !value.is_empty());
        let operand_at = at + taken - 1 - operand.len();
        match (operator, is_set) {
            (None, _) if operation.is_empty() => self.lookup(name),
            (Some('-' | '?'), true) => self.lookup(name),
            (Some('-'), false) | (Some('+'), true) => self.expand(operand_at, operand, Escapes::Dollar)?,
            (Some('+'), false) => {}
            (Some('?'), false) => {
                let said = if operand.is_empty() { "it is required" } else { operand };
                return Err(self.error(at, format!("`{name}` is not set above in this file: {said}")));
            }
            _ => return Ok(self.literally(rest, 1)),
        }
        Ok(taken)
    }

    fn lookup(&mut self, name: &str) {
        match self.known.get(name) {
            Some(value) => self.value.push_str(value),
            None => self.undefined.push(name.to_owned()),
        }
    }
}

fn leading_name(text: &str) -> &str {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return "";
    }
    &text[..text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// The offset of the `}` that closes a `${`, nested ones skipped.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if at > 0 && text.as_bytes()[at - 1] == b'$' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            b'\n' => return None,
            _ => {}
        }
    }
    None
}

/// The offset of the first `"` that no backslash hides.
fn closing_quote(text: &str) -> Option<usize> {
    let mut hidden = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if hidden => hidden = false,
            b'\\' => hidden = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

fn unix_lines(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains("\r\n") { text.replace("\r\n", "\n").into() } else { text.into() }
}
