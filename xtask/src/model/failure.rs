//! Why a step failed, or could not be begun, as events and the reports of runs carry it.

use serde::{Deserialize, Serialize};

use super::{ErrorKind, Phase};

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its kind, which decides the exit code.
    pub kind: ErrorKind,
    /// What could not be done: ``cannot build image `api` ``.
    pub what: String,
    /// Where in the tree: `src/api/Dockerfile:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Why, from the outermost cause to the innermost; a cause may have several lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Commands or files that help, beside the command that tries again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl Failure {
    /// Of a step, by its error's text: a cause a line.
    pub fn of(kind: ErrorKind, phase: Phase, subject: &str, text: &str) -> Self {
        let causes = text.lines().filter(|line| !line.trim().is_empty());
        Self {
            kind,
            what: phase.failure(subject),
            place: None,
            causes: causes.map(str::to_owned).collect(),
            hints: Vec::new(),
        }
    }

    /// All its texts, for whoever has to hide something in them.
    pub fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        std::iter::once(&mut self.what).chain(&mut self.place).chain(&mut self.causes).chain(&mut self.hints)
    }
}
