//! The numbers that the process ends with.
//!
//! `docs/exit-codes.md` is the page for people; a test compares. Which kind of failure ends with which is in
//! `catalogue.rs`.

use std::fmt;

/// The exit codes of this program, for scripts to rely on. 101 is cargo's, never ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitCode {
    /// 0
    Good,
    /// 1
    Unexpected,
    /// 2
    Usage,
    /// 3
    BuildFailed,
    /// 4
    VerifyFailed,
    /// 5
    NothingSelected,
    /// 10
    ConfigInvalid,
    /// 11
    SourceInvalid,
    /// 12
    EngineUnfit,
    /// 13
    PullFailed,
    /// 14
    DigestMismatch,
    /// 15
    Drift,
    /// 130
    Interrupted,
    /// What a container that `run` ran ended with, whatever that means there.
    OfContainer(u8),
}

impl ExitCode {
    /// All of them that are ours, ascending.
    pub const ALL: [Self; 13] = [
        Self::Good,
        Self::Unexpected,
        Self::Usage,
        Self::BuildFailed,
        Self::VerifyFailed,
        Self::NothingSelected,
        Self::ConfigInvalid,
        Self::SourceInvalid,
        Self::EngineUnfit,
        Self::PullFailed,
        Self::DigestMismatch,
        Self::Drift,
        Self::Interrupted,
    ];

    /// What the shell sees.
    pub fn number(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::BuildFailed => 3,
            Self::VerifyFailed => 4,
            Self::NothingSelected => 5,
            Self::ConfigInvalid => 10,
            Self::SourceInvalid => 11,
            Self::EngineUnfit => 12,
            Self::PullFailed => 13,
            Self::DigestMismatch => 14,
            Self::Drift => 15,
            Self::Interrupted => 130,
            Self::OfContainer(code) => code,
        }
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Good => "all good",
            Self::Unexpected => "unexpected: a file or a program of this machine, or a bug",
            Self::Usage => "wrong usage of the command line",
            Self::BuildFailed => "some image failed to build",
            Self::VerifyFailed => "built, but verify or smoke failed",
            Self::NothingSelected => "nothing selected",
            Self::ConfigInvalid => "config invalid",
            Self::SourceInvalid => "Dockerfile or graph invalid",
            Self::EngineUnfit => "engine unreachable or lacks a capability",
            Self::PullFailed => "pull or push failed, or missing while offline",
            Self::DigestMismatch => "artifact or bundle digest mismatch",
            Self::Drift => "drift found by --check, or refused by --locked",
            Self::OfContainer(_) => "what the container ended with",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.meaning())
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_the_type_says() {
        let page = include_str!("../../../docs/exit-codes.md");
        let rows: Vec<(String, String)> = page
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| ")?.split(" | ").map(str::trim);
                let (number, meaning) = (cells.next()?, cells.next()?);
                number.parse::<u8>().ok()?;
                Some((number.to_owned(), meaning.replace('`', "")))
            })
            .collect();
        let codes = ExitCode::ALL.map(|code| (code.number().to_string(), code.meaning().to_owned()));
        assert_eq!(rows, codes);
        assert!(!ExitCode::ALL.iter().any(|code| code.number() == 101), "101 is cargo's");
    }
}
