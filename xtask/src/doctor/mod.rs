//! `doctor`: whether this machine, its engine, its registries and this tree are fit for the job, and what to do where
//! they are not.
//!
//! `gather.rs` looks (the rim; it changes nothing and its time is bounded), `facts.rs` is what it saw, `judge.rs` turns
//! that into a [`Report`], purely, and `screen.rs` writes it down.

pub mod facts;
pub mod gather;
mod judge;
mod registries;
mod screen;

use serde::Serialize;

pub use judge::judge;
pub use screen::{Screen, text};

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Of the JSON document: 1. It only grows.
    pub version: u32,
    /// The worst of all checks; a skipped one counts as good.
    pub verdict: Verdict,
    /// The checks, in the order in which they are shown.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `engine`, `registry/docker.io`: for scripts, stable.
    pub id: String,
    /// The same for people.
    pub title: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen, or why nothing was looked at.
    pub evidence: String,
    /// What to do about it; none where there is nothing to do.
    pub fix: Option<String>,
    /// What a failure is about.
    #[serde(skip)]
    pub area: Area,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Not looked at, and the evidence says why.
    Skipped,
    /// Good.
    Ok,
    /// Odd, or in the way of some commands; nothing fails for it.
    Warning,
    /// In the way.
    Failed,
}

impl Verdict {
    /// As scripts and people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// What a failed check is about: it decides the exit code. In the order in which they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The engine and this machine.
    Machine,
    /// The settings.
    Settings,
    /// Dockerfiles and what is beside them.
    Sources,
    /// Registries and credentials.
    Registries,
}

impl Report {
    /// From its checks.
    fn new(checks: Vec<Check>) -> Self {
        let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
        Self { version: 1, verdict: worst.max(Verdict::Ok), checks }
    }

    /// What failed, by what decides first.
    pub fn failed(&self) -> Option<Area> {
        self.checks.iter().filter(|check| check.verdict == Verdict::Failed).map(|check| check.area).min()
    }

    /// The checks of one verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }
}
