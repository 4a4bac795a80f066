//! `.env` files: what they say, and how `.env.example` adds to `.env`. Pure.
//!
//! In: the texts. Out: entries with their places, values, and the synchronised text. It never looks at the
//! process environment: two machines with the same file get the same values, so also the same fingerprints.
//!
//! The grammar is that of docker compose's env files (docs.docker.com, "Syntax for environment files in Docker
//! Compose"), which is what `.env` is for: `K=V`, `export K=V`, unquoted values may hold spaces and end at ` #`,
//! `'…'` is literal and `"…"` knows escapes, both may span lines, `$NAME`, `${NAME}` and `${NAME:-default}` stand
//! for keys further up. As in a shell, the last of several entries of one key counts. dotenvy refuses unquoted
//! values with spaces and expands from the process environment, so it is the yardstick of a property test only.

mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::model::Diagnostic;

/// A parsed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dotenv {
    /// In file order; a key may come more than once.
    pub entries: Vec<Entry>,
    /// Keys set twice, variables that no line above defines.
    pub warnings: Vec<Diagnostic>,
}

/// One `KEY=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Quotes and escapes undone, variables expanded.
    pub value: String,
    /// 1-based line on which it begins.
    pub line: u32,
    /// 1-based column at which the key begins.
    pub column: u32,
    /// Where the whole entry stands in the text, without the line's end.
    pub raw: Range<usize>,
    /// Where the comment lines directly above it stand; empty when there are none.
    pub comment: Range<usize>,
}

impl Dotenv {
    /// Reads a file's text; `file` is its name in messages.
    ///
    /// # Errors
    /// The first line that is no assignment, with file, line and column.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostic> {
        if let Some(at) = text.find('\0') {
            let message = "there is a NUL byte; is the file saved as UTF-16, or no text at all?";
            return Err(Diagnostic::error(file, 0, message.to_owned()).at_offset(text, at));
        }
        let mut parsed = Self::default();
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut comment = at..at;
        while at < text.len() {
            let line_end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
            let line = text[at..line_end].trim();
            if line.is_empty() || line.starts_with('#') {
                let next = (line_end + 1).min(text.len());
                comment = if line.is_empty() { next..next } else { comment.start..next };
                at = next;
                continue;
            }
            let start = at + (text[at..].len() - text[at..].trim_start().len());
            let (key, value_at) = scan_key(file, text, start, line_end)?;
            let scanned = value::scan(file, text, value_at, &known)?;
            let place = Diagnostic::warning(file, 0, String::new()).at_offset(text, start);
            for name in scanned.undefined {
                parsed.warnings.push(Diagnostic {
                    message: format!("`${name}` is not set above in this file and counts as empty"),
                    ..place.clone()
                });
            }
            if known.insert(key.to_owned(), scanned.value.clone()).is_some() {
                parsed.warnings.push(Diagnostic {
                    message: format!("`{key}` is set more than once; the last one counts"),
                    ..place.clone()
                });
            }
            parsed.entries.push(Entry {
                key: key.to_owned(),
                value: scanned.value,
                line: place.line,
                column: place.column,
                raw: start..scanned.end,
                comment: comment.start..at,
            });
            at = text[scanned.end..].find('\n').map_or(text.len(), |newline| scanned.end + newline + 1);
            comment = at..at;
        }
        Ok(parsed)
    }

    /// Every key once, with the value that counts, in the order in which keys first appear.
    pub fn values(&self) -> Vec<(String, String)> {
        let last: BTreeMap<&str, &str> =
            self.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        let mut seen = BTreeSet::new();
        let firsts = self.entries.iter().filter(|entry| seen.insert(entry.key.as_str()));
        firsts.map(|entry| (entry.key.clone(), last[entry.key.as_str()].to_owned())).collect()
    }

    /// The entry that counts for a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }
}

/// `[export] KEY [=]`: the key, and where the value begins.
fn scan_key<'a>(
    file: &str,
    text: &'a str,
    start: usize,
    line_end: usize,
) -> Result<(&'a str, usize), Diagnostic> {
    let error = |offset, message: &str| Diagnostic::error(file, 0, message).at_offset(text, offset);
    let line = &text[start..line_end];
    let after_export = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map(|rest| rest.trim_start())
        // `export = x` sets a key of that name.
        .filter(|rest| !rest.starts_with('='));
    let declaration = after_export.unwrap_or(line);
    let key_at = line_end - declaration.len();
    let is_key_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let key = &declaration[..declaration.find(|c| !is_key_char(c)).unwrap_or(declaration.len())];
    if !key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return Err(error(key_at, "expected `KEY=value`: a key begins with a letter or `_`"));
    }
    let rest = &declaration[key.len()..];
    let equals = rest.trim_start_matches([' ', '\t']);
    match equals.strip_prefix('=') {
        Some(value) => Ok((key, line_end - value.len())),
        None => Err(error(
            line_end - equals.len(),
            &format!("expected `=` after `{key}`; a comment begins with `#`"),
        )),
    }
}

/// What `.env` becomes when `.env.example` is brought to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The whole new text of `.env`; the old text is its beginning, byte for byte.
    pub text: String,
    /// Keys that were appended, in the example's order.
    pub missing: Vec<String>,
    /// Keys that only `.env` has.
    pub extra: Vec<String>,
}

/// Appends to `current` the keys that only the example has, each with the comment lines directly above it. With
/// no `.env` yet, the example is taken over as it is.
///
/// # Errors
/// A line of one of the two that is no assignment.
pub fn sync(
    (example_file, example): (&str, &str),
    (current_file, current): (&str, Option<&str>),
) -> Result<Synced, Diagnostic> {
    let theirs = Dotenv::parse(example_file, example)?;
    let names = |dotenv: &Dotenv| dotenv.values().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let Some(current) = current else {
        return Ok(Synced { text: example.to_owned(), missing: names(&theirs), extra: Vec::new() });
    };
    let ours = Dotenv::parse(current_file, current)?;
    let missing: Vec<String> = names(&theirs).into_iter().filter(|key| ours.get(key).is_none()).collect();
    let extra: Vec<String> = names(&ours).into_iter().filter(|key| theirs.get(key).is_none()).collect();

    let newline = if current.contains("\r\n") { "\r\n" } else { "\n" };
    let mut text = current.to_owned();
    if !missing.is_empty() && !current.trim_start_matches('\u{feff}').is_empty() {
        if !text.ends_with('\n') {
            text.push_str(newline);
        }
        // A comment above the first new key must not be read as one below the last old key.
        if !text.ends_with("\n\n") && !text.ends_with("\n\r\n") {
            text.push_str(newline);
        }
    }
    for entry in missing.iter().filter_map(|key| theirs.get(key)) {
        for part in [&example[entry.comment.clone()], &example[entry.raw.clone()]] {
            let part = part.trim_end_matches(['\r', '\n']);
            if !part.is_empty() {
                text.push_str(&part.replace("\r\n", "\n").replace('\n', newline));
                text.push_str(newline);
            }
        }
    }
    Ok(Synced { text, missing, extra })
}

#[cfg(test)]
mod tests;
