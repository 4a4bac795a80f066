//! What kind of failure it is when something is not even begun, or fails in a phase for no reason of its own.
//!
//! Whatever can fail is named here: nothing new passes for something else, or for a success.

#![deny(clippy::wildcard_enum_match_arm)]

use super::{ErrorKind, Phase, Reason};

impl Phase {
    /// What a failure in it is, if nothing more is known.
    pub fn failure_kind(self) -> ErrorKind {
        match self {
            Self::Build | Self::Keep => ErrorKind::BuildFailed,
            Self::Download => ErrorKind::DownloadFailed,
            Self::Prefetch
            | Self::Alias
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
            Self::Bump | Self::SyncConfig | Self::Render => ErrorKind::File,
        }
    }
}

impl Reason {
    /// What kind of failure it is, where it counts as one: what is not even begun for it.
    pub fn kind(&self, phase: Phase) -> ErrorKind {
        match self {
            Self::Broken | Self::Invalid(_) | Self::AliasClash { .. } => ErrorKind::SourceInvalid,
            Self::NotLocked { .. } | Self::NotAsLocked { .. } => ErrorKind::NotLocked,
            Self::LockedMissing { .. }
            | Self::NothingToPush(_)
            | Self::BaseUnavailable(_)
            | Self::UpstreamHidden(_)
            | Self::BaseOnlyFor { .. }
            | Self::OnlyFor { .. }
            | Self::PushForbidden(_)
            | Self::ArtifactMissing(_)
            | Self::Offline
            | Self::ArtifactUnavailable
            | Self::NoInternalRegistry => ErrorKind::NotHere,
            Self::NotInStore
            | Self::NotInStoreLocked { .. }
            | Self::WrongPlatform { .. }
            | Self::TagUnknown(_)
            | Self::AliasConflict { .. } => phase.failure_kind(),
            // No failures: whoever asks has not looked at the outcome.
            Self::InStore
            | Self::OtherName(_)
            | Self::TagMoved { .. }
            | Self::TagUnmoved { .. }
            | Self::NotInCache
            | Self::InCache
            | Self::ArtifactNotLocked(_)
            | Self::SampleArtifact
            | Self::NamesVersion { .. }
            | Self::AliasMissing { .. }
            | Self::AliasesAgree
            | Self::AliasFixed { .. }
            | Self::NotPulled
            | Self::DigestOnly
            | Self::FileMissing
            | Self::TextChanged
            | Self::Unchanged
            | Self::NotOurs
            | Self::Committed
            | Self::KeysMissing(_)
            | Self::NotBuilt
            | Self::NoFingerprint
            | Self::Empty
            | Self::Changed(_)
            | Self::BaseMissing(_)
            | Self::Forced
            | Self::NeedFails(_)
            | Self::UpToDate { .. }
            | Self::NoEngine
            | Self::NameMissing(_)
            | Self::NotPushed
            | Self::InRegistry
            | Self::CacheNotAsked(_)
            | Self::ImageBuiltSince(_)
            | Self::Built
            | Self::Asked
            | Self::Superseded(_)
            | Self::StageUnused
            | Self::ServiceGone(_)
            | Self::OtherTag
            | Self::Old { .. }
            | Self::LeftBehind
            | Self::BeyondKept(_)
            | Self::Remade
            | Self::Unreferenced
            | Self::TreeBroken(_)
            | Self::InUse(_)
            | Self::NotSelected => ErrorKind::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_says_what_a_reason_means_that_is_not_a_kind_by_itself() {
        let why = Reason::NoInternalRegistry;
        assert_eq!(why.kind(Phase::Prefetch), ErrorKind::NotHere);
        assert_eq!(Reason::NotInStore.kind(Phase::Alias), ErrorKind::PullFailed);
    }
}
