//! The kind of a failure that has no kind of its own, by the phase in which it happened.

#![deny(clippy::wildcard_enum_match_arm)]

use super::{ErrorKind, Phase};

impl Phase {
    /// What a failure in it is, if nothing more is known.
    pub fn failure_kind(self) -> ErrorKind {
        match self {
            Self::Build | Self::Keep => ErrorKind::BuildFailed,
            Self::Download => ErrorKind::DownloadFailed,
            Self::Prefetch
            | Self::Alias
            | Self::Index
            | Self::Push
            | Self::Cache
            | Self::Rehearse
            | Self::Pull
            | Self::Confirm => ErrorKind::PullFailed,
            Self::Verify => ErrorKind::VerifyFailed,
            Self::Test => ErrorKind::Unhealthy,
            Self::Registry | Self::CleanUp | Self::Save | Self::Load | Self::Stop | Self::Start => {
                ErrorKind::EngineRefused
            }
            Self::Init | Self::Bump | Self::SyncConfig | Self::Render => ErrorKind::File,
        }
    }

    /// What a failure of some kind is in it: but for an engine's own end, it is what the phase was for.
    pub fn kind_of_failure(self, kind: ErrorKind) -> ErrorKind {
        let is_the_engine =
            matches!(kind, ErrorKind::NoEngine | ErrorKind::EngineUnfit | ErrorKind::EngineGone);
        let general = self.failure_kind();
        if is_the_engine || kind.code() == general.code() { kind } else { general }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    #[test]
    fn the_phase_says_what_a_reason_means_that_is_not_a_kind_by_itself() {
        let why = Reason::NoInternalRegistry;
        let kind = |why: Reason, phase: Phase| why.failure(phase, "x").map(|failure| failure.kind);
        assert_eq!(kind(why, Phase::Prefetch), Some(ErrorKind::NotHere));
        assert_eq!(kind(Reason::NotInStore, Phase::Alias), Some(ErrorKind::PullFailed));
        assert_eq!(kind(Reason::InStore, Phase::Alias), None);
    }
}
