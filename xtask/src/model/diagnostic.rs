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
    /// What is wrong and what mends it; no trailing period.
    pub message: String,
}

impl Diagnostic {
    /// An error at a line of a file.
    pub fn error(file: impl Into<String>, line: u32, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, file: file.into(), line, message: message.into() }
    }

    /// A warning at a line of a file.
    pub fn warning(file: impl Into<String>, line: u32, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, file: file.into(), line, message: message.into() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        match self.line {
            0 => write!(f, "{severity}: {}: {}", self.file, self.message),
            line => write!(f, "{severity}: {}:{line}: {}", self.file, self.message),
        }
    }
}
