//! What is wrong with an input, and where. Diagnostics are collected, never thrown: the rest still counts.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is held back.
    Warning,
    /// The thing it is about cannot be built as it stands.
    Error,
}

/// One finding in one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the root (as given for `inspect`).
    pub file: String,
    /// 1-based; 0 when the finding is about the whole file.
    pub line: u32,
    /// 1-based, in characters; 0 when the finding is about the whole line.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub column: u32,
    /// What is wrong and what mends it; no trailing period.
    pub message: String,
}

impl Diagnostic {
    /// An error at a line of a file.
    pub fn error(file: impl Into<String>, line: u32, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, file: file.into(), line, column: 0, message: message.into() }
    }

    /// A warning at a line of a file.
    pub fn warning(file: impl Into<String>, line: u32, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, file: file.into(), line, column: 0, message: message.into() }
    }

    /// Where: `file`, `file:line` or `file:line:column`, as much as is known.
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (0, _) => self.file.clone(),
            (line, 0) => format!("{}:{line}", self.file),
            (line, column) => format!("{}:{line}:{column}", self.file),
        }
    }

    /// The same finding at a byte offset of the file's text, which gives its line and column.
    #[must_use]
    pub fn at_offset(mut self, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.line = count(before.matches('\n').count() + 1);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.column = count(before[line_start..].chars().count() + 1);
        self
    }
}

/// So many places of one finding are named; of the others only their number is told.
const PLACES: usize = 3;

/// Findings as people are told of them: what is said of several places is said once, at the first of them.
pub fn told(found: &[Diagnostic]) -> Vec<Diagnostic> {
    let mut groups: Vec<(&Diagnostic, Vec<String>)> = Vec::new();
    let mut known: HashMap<(Severity, String), usize> = HashMap::new();
    for one in found {
        // That a message names its own file or folder makes it no other one.
        let folder = one.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let message = match folder {
            "" => one.message.clone(),
            folder => one.message.replace(&one.file, "FILE").replace(folder, "FOLDER"),
        };
        let at = *known.entry((one.severity, message)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some((_, places)) => places.push(one.place()),
            None => groups.push((one, Vec::new())),
        }
    }
    let told = groups.into_iter().map(|(first, others)| {
        let (named, rest) = others.split_at(others.len().min(PLACES - 1));
        let mut message = first.message.clone();
        if !named.is_empty() {
            message.push_str(&format!(" (and at {}", named.join(", ")));
            message.push_str(&if rest.is_empty() {
                ")".to_owned()
            } else {
                format!(", and {} more)", rest.len())
            });
        }
        Diagnostic { message, ..first.clone() }
    });
    told.collect()
}

fn is_zero(column: &u32) -> bool {
    *column == 0
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}: {}", self.place(), self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_in_many_places_is_told_once() {
        let at = |number: u32| {
            Diagnostic::error(format!("s/{number}/f"), number, format!("s/{number}/f is bad, see s/{number}"))
        };
        for (count, expect) in [
            (1, ""),
            (2, " (and at s/2/f:2)"),
            (3, " (and at s/2/f:2, s/3/f:3)"),
            (40, " (and at s/2/f:2, s/3/f:3, and 37 more)"),
        ] {
            let mut found: Vec<Diagnostic> = (1..=count).map(at).collect();
            found.insert(1, Diagnostic::warning("g", 1, "bad"));
            let told: Vec<String> = told(&found).iter().map(ToString::to_string).collect();
            assert_eq!(
                told,
                [format!("error: s/1/f:1: s/1/f is bad, see s/1{expect}"), "warning: g:1: bad".to_owned()]
            );
        }
    }

    #[test]
    fn says_as_much_of_the_place_as_is_known() {
        let text = "a\nbé{{X}}\n";
        let finding = Diagnostic::error("f", 0, "bad");
        assert_eq!(finding.to_string(), "error: f: bad");
        assert_eq!(Diagnostic::warning("f", 2, "bad").to_string(), "warning: f:2: bad");
        let offset = text.find("{{").expect("there");
        assert_eq!(finding.clone().at_offset(text, offset).to_string(), "error: f:2:3: bad");
        assert_eq!(finding.at_offset(text, 99).to_string(), "error: f:3:1: bad", "past the end is the end");
    }
}
