//! Which of the failures of a run decides what it ends with.

#![deny(clippy::wildcard_enum_match_arm)]

use super::{ErrorKind, ExitCode};
use crate::model::Phase;

/// All that failed in a run, as far as it decides the exit code.
#[derive(Clone, Debug, Default)]
pub struct Failures(Vec<(Phase, ErrorKind)>);

/// Whether failed pulls and aliases fail a run by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulls {
    /// They do: the command is about them, or `--strict-prefetch`.
    Count,
    /// They only warn; the build that lacks the image fails by itself.
    Warn,
}

impl Failures {
    /// Those of a run.
    pub fn of(failures: impl IntoIterator<Item = (Phase, ErrorKind)>) -> Self {
        Self(failures.into_iter().collect())
    }

    /// All but those of one phase.
    #[must_use]
    pub fn but_of(&self, phase: Phase) -> Self {
        Self(self.0.iter().copied().filter(|(of, _)| *of != phase).collect())
    }

    /// The one that decides, if any counts: an engine that went away before content that is not what it should be, that
    /// before sources that cannot be taken, those before builds, builds before pulls, pulls before looks.
    pub fn worst(&self, pulls: Pulls) -> Option<ErrorKind> {
        let counts = |phase: Phase, kind: ErrorKind| {
            // What was built is as good without a cache.
            let only_warns = phase == Phase::Cache
                || (matches!(phase, Phase::Prefetch | Phase::Alias) && pulls == Pulls::Warn);
            !only_warns || severity(kind) < 3
        };
        let counted = self.0.iter().filter(|(phase, kind)| counts(*phase, *kind));
        counted.map(|(_, kind)| *kind).min_by_key(|kind| severity(*kind))
    }

    /// What the run ends with because of them.
    pub fn code(&self, pulls: Pulls) -> ExitCode {
        self.worst(pulls).map_or(ExitCode::Good, ErrorKind::code)
    }
}

/// The lower, the more it says about the run as a whole. Below 3 it fails a run in whatever phase it happens.
fn severity(kind: ErrorKind) -> u8 {
    if matches!(
        kind,
        ErrorKind::NoEngine | ErrorKind::EngineUnfit | ErrorKind::EngineGone | ErrorKind::LocalRegistry
    ) {
        return 0;
    }
    match kind.code() {
        ExitCode::DigestMismatch => 1,
        ExitCode::ConfigInvalid => 2,
        ExitCode::SourceInvalid => 3,
        ExitCode::BuildFailed => 4,
        ExitCode::PullFailed => 5,
        ExitCode::VerifyFailed => 6,
        ExitCode::Good
        | ExitCode::Unexpected
        | ExitCode::Usage
        | ExitCode::NothingSelected
        | ExitCode::EngineUnfit
        | ExitCode::Drift
        | ExitCode::Interrupted
        | ExitCode::OfContainer(_) => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_to_build_decides_the_code() {
        use ErrorKind as Kind;
        let (build, pull, prefetch) = (Phase::Build, Phase::Push, Phase::Prefetch);
        for (failed, warn, count) in [
            (&[][..], 0, 0),
            (&[(prefetch, Kind::ImageNotFound)], 0, 13),
            (&[(prefetch, Kind::EngineGone)], 12, 12),
            (&[(prefetch, Kind::PullFailed), (build, Kind::BuildFailed)], 3, 3),
            (&[(build, Kind::NotHere), (prefetch, Kind::NotHere)], 13, 13),
            (&[(build, Kind::NotHere), (build, Kind::BuildFailed)], 3, 3),
            (&[(Phase::Verify, Kind::VerifyFailed), (pull, Kind::AccessDenied)], 13, 13),
            (&[(Phase::Verify, Kind::VerifyFailed)], 4, 4),
            (&[(Phase::Render, Kind::File)], 1, 1),
            (&[(build, Kind::BuildFailed), (build, Kind::SourceInvalid)], 11, 11),
            (&[(Phase::CleanUp, Kind::EngineRefused), (build, Kind::BuildFailed)], 3, 3),
            (&[(Phase::Confirm, Kind::DigestMismatch), (build, Kind::BuildFailed)], 14, 14),
            (&[(Phase::Alias, Kind::SourceInvalid)], 0, 11),
        ] {
            let codes = [Pulls::Warn, Pulls::Count]
                .map(|pulls| Failures::of(failed.iter().copied()).code(pulls).number());
            assert_eq!(codes, [warn, count], "{failed:?}");
        }
    }
}
