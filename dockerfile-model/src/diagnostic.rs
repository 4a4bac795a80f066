//! What is wrong with an input, and where. Diagnostics are collected, never thrown: the rest still counts.

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
