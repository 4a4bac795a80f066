//! `.env` files: what they say, and how `.env.example` adds to `.env`. Pure.
//!
//! In: the texts. Out: entries with their places, values, and the synchronised text. It never looks at the
//! process environment: two machines with the same file get the same values, so also the same fingerprints.
//!
//! The grammar is that of docker compose (compose-go's `dotenv` package, the same in compose 2.26 and 2.40), which is
//! what `.env` is for; `dotenv/compose-cases.json` has what both of them read. `K=V`, `K: V` and `export K=V`; unquoted
//! values may hold spaces and end at ` #`; `'…'` is literal and `"…"` knows escapes, both may span lines; `$NAME` and
//! `${NAME:-default}` stand for keys further up; a name alone is left to the environment. Of several entries of one key
//! the last counts.

mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::model::Diagnostic;

/// A parsed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dotenv {
    /// In file order; a key may come more than once.
    pub entries: Vec<Entry>,
    /// Names without a value, which compose takes from the environment.
    pub without_value: BTreeSet<String>,
    /// Keys set twice, variables that no line above defines, lines that do not say what they seem to say.
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

/// The value of a variable, given those that stand further up in the file.
type Lookup<'a> = dyn Fn(&str, &BTreeMap<String, String>) -> Option<String> + 'a;

impl Dotenv {
    /// Reads a file's text; `file` is its name in messages. Its variables are those that stand further up in it.
    ///
    /// # Errors
    /// The first line that is no assignment, with file, line and column.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostic> {
        Self::parse_or(file, text, &|_| None)
    }

    /// The same, and what does not stand further up in it is asked of `other`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_or(
        file: &str,
        text: &str,
        other: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Diagnostic> {
        Self::read(file, text, &|name, known| known.get(name).cloned().or_else(|| other(name)))
    }

    /// The same where what is `around` knows better than the file, as the environment does for compose.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_within(
        file: &str,
        text: &str,
        around: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Diagnostic> {
        Self::read(file, text, &|name, known| around(name).or_else(|| known.get(name).cloned()))
    }

    fn read(file: &str, text: &str, variable: &Lookup<'_>) -> Result<Self, Diagnostic> {
        if let Some(at) = text.find('\0') {
            let message = "there is a NUL byte; is the file saved as UTF-16, or no text at all?";
            return Err(Diagnostic::error(file, 0, message.to_owned()).at_offset(text, at));
        }
        let mut parsed = Self::default();
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut comment = at..at;
        while at < text.len() {
            let line_end = line_end(text, at);
            let line = text[at..line_end].trim();
            if line.is_empty() || line.starts_with('#') {
                let next = (line_end + 1).min(text.len());
                comment = if line.is_empty() { next..next } else { comment.start..next };
                at = next;
                continue;
            }
            let start = at + (text[at..].len() - text[at..].trim_start().len());
            let place = Diagnostic::warning(file, 0, String::new()).at_offset(text, start);
            let warn = |message: String| Diagnostic { message, ..place.clone() };
            if !text[..at].is_empty() && !text[..at].ends_with(['\n', '\u{feff}']) {
                parsed.warnings.push(warn(format!(
                    "compose takes `{line}` behind the closing quote for a setting of its own; a comment begins with `#`"
                )));
            }
            let (key, value_at) = match scan_key(file, text, start)? {
                Key::Alone { name, end } => {
                    parsed.without_value.extend((!name.is_empty()).then(|| name.to_owned()));
                    (at, comment) = (end, end..end);
                    continue;
                }
                Key::Assigned { name, value_at } => (name, value_at),
            };
            let scanned = value::scan(file, text, value_at, &|name| variable(name, &known))?;
            let end = with_comment(text, scanned.end);
            parsed.warnings.extend(scanned.undefined.iter().map(|name| {
                warn(format!(
                    "`${name}` is set neither above in this file nor in the environment and counts as empty"
                ))
            }));
            if key.is_empty() {
                parsed
                    .warnings
                    .push(warn(format!("`{line}` sets nothing: there is no name before the value")));
            } else {
                if known.insert(key.to_owned(), scanned.value.clone()).is_some() {
                    parsed.warnings.push(warn(format!("`{key}` is set more than once; the last one counts")));
                }
                parsed.entries.push(Entry {
                    key: key.to_owned(),
                    value: scanned.value,
                    line: place.line,
                    column: place.column,
                    raw: start..end,
                    comment: comment.start..at,
                });
            }
            at = after_line_end(text, end);
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

    /// Whether the file names this key, with a value or without one.
    fn has(&self, key: &str) -> bool {
        self.get(key).is_some() || self.without_value.contains(key)
    }

    /// The entry that counts for a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }
}

/// White space that ends no line, as compose has it.
fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline)
}

/// `end`, or the end of the comment that follows it on its line.
fn with_comment(text: &str, end: usize) -> usize {
    let rest = text[end..line_end(text, end)].trim_end();
    if rest.trim_start().starts_with('#') { end + rest.len() } else { end }
}

/// Where the next line begins; `end` itself if something more stands on this one.
fn after_line_end(text: &str, end: usize) -> usize {
    let line_end = line_end(text, end);
    if text[end..line_end].trim().is_empty() { (line_end + 1).min(text.len()) } else { end }
}

/// What an entry begins with.
enum Key<'a> {
    /// Up to the line's end there is nothing but a name.
    Alone {
        name: &'a str,
        end: usize,
    },
    Assigned {
        name: &'a str,
        value_at: usize,
    },
}

/// `[export] KEY`, and `=`, `:` or the line's end.
fn scan_key<'a>(file: &str, text: &'a str, start: usize) -> Result<Key<'a>, Diagnostic> {
    let error = |offset, message: String| Diagnostic::error(file, 0, message).at_offset(text, offset);
    let export = text[start..].strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace));
    let declaration = export.map_or(&text[start..], |rest| rest.trim_start_matches(is_space));
    let key_at = text.len() - declaration.len();
    let is_key_char = |c: char| c.is_alphanumeric() || "_.-[]".contains(c) || is_space(c);
    let length = declaration.find(|c| !is_key_char(c)).unwrap_or(declaration.len());
    let name = declaration[..length].trim_end();
    let end = key_at + length;
    // Newer composes let it pass where the file ends without a line's end.
    if let Some(space) = name.find(' ') {
        let message = format!("expected `=` after `{}`; a comment begins with `#`", &name[..space]);
        return Err(error(key_at + space + 1, message));
    }
    match declaration[length..].chars().next() {
        Some('=' | ':') => Ok(Key::Assigned { name, value_at: end + 1 }),
        Some('\n') => Ok(Key::Alone { name, end: end + 1 }),
        None if name.is_empty() => Err(error(end, "expected a name after `export`".to_owned())),
        None => Ok(Key::Alone { name, end }),
        Some(odd) => {
            let what = if name.is_empty() { "a name".to_owned() } else { format!("`=` after `{name}`") };
            let hint = match odd {
                '#' => "a comment is a line of its own, or stands behind a value",
                '\'' | '"' => "nothing may cling to a closing quote, and a name has none",
                _ => "a comment begins with `#`",
            };
            Err(error(end, format!("expected {what}, found `{odd}`: {hint}")))
        }
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
    // Only names are looked at: what variables give is the business of whoever reads values.
    let parse = |file: &str, text: &str| Dotenv::parse_or(file, text, &|name| Some(name.to_owned()));
    let theirs = parse(example_file, example)?;
    let names = |dotenv: &Dotenv| dotenv.values().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let Some(current) = current else {
        return Ok(Synced { text: example.to_owned(), missing: names(&theirs), extra: Vec::new() });
    };
    let ours = parse(current_file, current)?;
    let missing: Vec<String> = names(&theirs).into_iter().filter(|key| !ours.has(key)).collect();
    let extra: Vec<String> = names(&ours).into_iter().filter(|key| !theirs.has(key)).collect();

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
        let comment = example[entry.comment.clone()].lines();
        // Line ends within quotes are of the value.
        for part in comment.chain([&example[entry.raw.clone()]]) {
            text.push_str(part);
            text.push_str(newline);
        }
    }
    Ok(Synced { text, missing, extra })
}

#[cfg(test)]
mod tests;
