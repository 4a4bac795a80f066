//! What failed in a run: the kind of each failure, and which of them decides the exit code.
//!
//! Whatever can fail is named here: nothing new passes for something else, or for a success.

#![deny(clippy::wildcard_enum_match_arm)]

use super::mapping::hint_for;
use super::{ErrorKind, ExitCode};
use crate::base_images::artifact::ArtifactError;
use crate::base_images::local_registry::RegistryError as LocalRegistryError;
use crate::engine::{ASKED_WITHOUT_LOGIN, EngineError};
use crate::execute::pull::PullError;
use crate::execute::{Kinds, StepError};
use crate::model::{Phase, PullSource, Reason, Reference};
use crate::registry::RegistryError;

/// All of the below, for whoever does the steps.
pub const KINDS: Kinds = Kinds { of_step: kind_of_step, of_reason: kind_of_reason, hint_for: hint_for_step };

/// The kind of a step's failure. In a build, everything but the engine's own end is a failed build: the log has
/// what it came from.
pub fn kind_of_step(phase: Phase, error: &StepError) -> ErrorKind {
    match error {
        StepError::Engine(error) | StepError::Build(error, _) | StepError::Push(error, _) => {
            of_engine(phase, error)
        }
        StepError::Pull(error) => of_pull(phase, error),
        StepError::Artifact(error) => kind_of_artifact(error),
        StepError::File(_) | StepError::Remove { .. } => ErrorKind::File,
        StepError::Unverified(_) => ErrorKind::VerifyFailed,
        StepError::Smoke(_) => ErrorKind::Unhealthy,
        StepError::Registry(_) => ErrorKind::LocalRegistry,
        StepError::Lookup(error) => of_registry(error),
        StepError::Differs { .. } => ErrorKind::DigestMismatch,
    }
}

/// What helps against a step's failure, beside the command that tries again.
pub fn hint_for_step(error: &StepError) -> Option<String> {
    match error {
        StepError::Engine(error) | StepError::Build(error, _) => hint_for(error).map(str::to_owned),
        StepError::Push(error, reference) => hint_for_push(error, reference),
        StepError::Pull(error) => error.failed.iter().find_map(|(source, error)| match (source, error) {
            (PullSource::Registry(name), EngineError::Denied(said)) => Some(
                hint_for_unread_login(said, name.domain())
                    .unwrap_or_else(|| format!("`docker login {}` stores credentials", name.domain())),
            ),
            (PullSource::Registry(name), EngineError::RegistryUnreachable(said)) => {
                hint_for_certificate(said, name.domain())
            }
            (_, error @ (EngineError::DiskFull(_) | EngineError::Stalled { .. })) => {
                hint_for(error).map(str::to_owned)
            }
            _ => None,
        }),
        StepError::Registry(LocalRegistryError::NoSource) => {
            Some("the same command with `--bootstrap` installs docker-registry".to_owned())
        }
        StepError::Differs { .. } => Some("see who else pushes to this name, and publish again".to_owned()),
        StepError::Artifact(_)
        | StepError::File(_)
        | StepError::Remove { .. }
        | StepError::Unverified(_)
        | StepError::Smoke(_)
        | StepError::Registry(_)
        | StepError::Lookup(_) => None,
    }
}

/// What helps where docker's file of logins could not be used: `docker login` reads it too.
fn hint_for_unread_login(said: &str, domain: &str) -> Option<String> {
    let is_unread = said.contains(ASKED_WITHOUT_LOGIN);
    is_unread
        .then(|| format!("mend that file, or move it away and let `docker login {domain}` write a new one"))
}

/// What helps against a push that failed.
fn hint_for_push(error: &EngineError, reference: &Reference) -> Option<String> {
    let (domain, path) = (reference.domain(), reference.path());
    Some(match error {
        EngineError::Denied(said) => hint_for_unread_login(said, domain).unwrap_or_else(|| {
            format!("`docker login {domain}` stores a login; it has to be one that may push to {path}")
        }),
        EngineError::ReadOnly(_) => {
            format!("whoever runs {domain} can end its read-only mode; `--registry` names another registry")
        }
        EngineError::RegistryUnreachable(said) => hint_for_certificate(said, domain).unwrap_or_else(|| {
            let scheme = if reference.is_on_this_machine() { "http" } else { "https" };
            format!(
                "`curl -i {scheme}://{domain}/v2/` shows whether it runs; `--registry` names another registry"
            )
        }),
        EngineError::Stalled { .. } => {
            "`stall` in .config/xtask.toml is how many seconds of silence are too many".to_owned()
        }
        EngineError::Unreachable { .. }
        | EngineError::Unfit { .. }
        | EngineError::NotFound(_)
        | EngineError::Transient { .. }
        | EngineError::BuildFailed { .. }
        | EngineError::PortTaken(_)
        | EngineError::DiskFull(_)
        | EngineError::Gone(_)
        | EngineError::ContextChanged { .. }
        | EngineError::Other(_) => return hint_for(error).map(str::to_owned),
    })
}

/// What helps where an engine and a registry do not trust each other.
fn hint_for_certificate(said: &str, domain: &str) -> Option<String> {
    let hints = [
        (" expired at ", format!("whoever runs {domain} has to renew it")),
        (" is valid from ", "`date` on the engine's machine shows whether its clock is right".to_owned()),
        (
            "who signed the certificate",
            format!(
                "on the engine's machine, /etc/docker/certs.d/{domain}/ca.crt is where the signer's certificate goes"
            ),
        ),
        (
            "speaks plain HTTP",
            format!(
                "`\"insecure-registries\": [\"{domain}\"]` in the engine's /etc/docker/daemon.json allows that"
            ),
        ),
    ];
    hints.into_iter().find(|(sign, _)| said.contains(sign)).map(|(_, hint)| hint)
}

/// The kind of what was not even begun, for this reason; the reason is one that counts as a failure.
pub fn kind_of_reason(phase: Phase, why: &Reason) -> ErrorKind {
    match why {
        Reason::Broken | Reason::Invalid(_) | Reason::AliasClash { .. } => ErrorKind::SourceInvalid,
        Reason::NotLocked { .. } | Reason::NotAsLocked { .. } => ErrorKind::NotLocked,
        Reason::LockedMissing { .. }
        | Reason::NothingToPush(_)
        | Reason::BaseUnavailable(_)
        | Reason::UpstreamHidden(_)
        | Reason::BaseOnlyFor { .. }
        | Reason::OnlyFor { .. }
        | Reason::PushForbidden(_)
        | Reason::ArtifactMissing(_)
        | Reason::Offline
        | Reason::ArtifactUnavailable
        | Reason::NoInternalRegistry => ErrorKind::NotHere,
        Reason::NotInStore
        | Reason::NotInStoreLocked { .. }
        | Reason::WrongPlatform { .. }
        | Reason::TagUnknown(_)
        | Reason::AliasConflict { .. } => of_phase(phase),
        // No failures: whoever asks has not looked at the outcome.
        Reason::InStore
        | Reason::OtherName(_)
        | Reason::TagMoved { .. }
        | Reason::TagUnmoved { .. }
        | Reason::NotInCache
        | Reason::InCache
        | Reason::ArtifactNotLocked(_)
        | Reason::SampleArtifact
        | Reason::NamesVersion { .. }
        | Reason::AliasMissing { .. }
        | Reason::AliasesAgree
        | Reason::AliasFixed { .. }
        | Reason::NotPulled
        | Reason::DigestOnly
        | Reason::FileMissing
        | Reason::TextChanged
        | Reason::Unchanged
        | Reason::NotOurs
        | Reason::Committed
        | Reason::KeysMissing(_)
        | Reason::NotBuilt
        | Reason::NoFingerprint
        | Reason::Empty
        | Reason::Changed(_)
        | Reason::BaseMissing(_)
        | Reason::Forced
        | Reason::NeedFails(_)
        | Reason::UpToDate { .. }
        | Reason::NoEngine
        | Reason::NameMissing(_)
        | Reason::NotPushed
        | Reason::InRegistry
        | Reason::CacheNotAsked(_)
        | Reason::ImageBuiltSince(_)
        | Reason::Built
        | Reason::Asked
        | Reason::Superseded(_)
        | Reason::StageUnused
        | Reason::ServiceGone(_)
        | Reason::OtherTag
        | Reason::Old { .. }
        | Reason::LeftBehind
        | Reason::BeyondKept(_)
        | Reason::Remade
        | Reason::Unreferenced
        | Reason::TreeBroken(_)
        | Reason::InUse(_)
        | Reason::NotSelected => ErrorKind::Unexpected,
    }
}

/// The kind of what is wrong with an artifact.
pub(super) fn kind_of_artifact(error: &ArtifactError) -> ErrorKind {
    match error {
        ArtifactError::Settings(_) | ArtifactError::Lock(_) => ErrorKind::ConfigInvalid,
        ArtifactError::Offline { .. } => ErrorKind::NotHere,
        ArtifactError::Unavailable { .. } | ArtifactError::Client(_) => ErrorKind::DownloadFailed,
        ArtifactError::Changed { .. } => ErrorKind::ArtifactChanged,
        ArtifactError::Sample { .. } => ErrorKind::SourceInvalid,
        ArtifactError::File { .. } => ErrorKind::File,
    }
}

/// The kind of an engine's error, where no phase says more.
pub(super) fn kind_of_engine(error: &EngineError) -> ErrorKind {
    match error {
        EngineError::Unreachable { .. } => ErrorKind::NoEngine,
        EngineError::Unfit { .. } => ErrorKind::EngineUnfit,
        EngineError::NotFound(_) => ErrorKind::ImageNotFound,
        EngineError::Denied(_) | EngineError::ReadOnly(_) => ErrorKind::AccessDenied,
        EngineError::Transient { .. } => ErrorKind::RegistryBusy,
        EngineError::RegistryUnreachable(_) | EngineError::Stalled { .. } => ErrorKind::RegistryUnreachable,
        EngineError::BuildFailed { .. } => ErrorKind::BuildFailed,
        EngineError::PortTaken(_) => ErrorKind::PortTaken,
        EngineError::DiskFull(_) => ErrorKind::DiskFull,
        EngineError::Gone(_) => ErrorKind::EngineGone,
        EngineError::ContextChanged { .. } => ErrorKind::ContextChanged,
        EngineError::Other(_) => ErrorKind::EngineRefused,
    }
}

fn of_engine(phase: Phase, error: &EngineError) -> ErrorKind {
    let kind = kind_of_engine(error);
    let general = of_phase(phase);
    let is_the_engine = matches!(kind, ErrorKind::NoEngine | ErrorKind::EngineUnfit | ErrorKind::EngineGone);
    if is_the_engine || kind.code() == general.code() { kind } else { general }
}

fn of_pull(phase: Phase, error: &PullError) -> ErrorKind {
    // Whoever was asked last is the one that the Dockerfile names.
    error.failed.last().map_or(ErrorKind::NotHere, |(_, error)| of_engine(phase, error))
}

fn of_registry(error: &RegistryError) -> ErrorKind {
    match error {
        RegistryError::Unreachable { .. } => ErrorKind::RegistryUnreachable,
        RegistryError::NotFound(_) | RegistryError::NoPlatform { .. } => ErrorKind::ImageNotFound,
        RegistryError::Denied { .. } => ErrorKind::AccessDenied,
        RegistryError::Throttled { .. } | RegistryError::Status { .. } => ErrorKind::RegistryBusy,
        RegistryError::DigestMismatch { .. } => ErrorKind::DigestMismatch,
        RegistryError::Malformed { .. } => ErrorKind::PullFailed,
    }
}

/// What a failure of this phase is, if nothing more is known.
fn of_phase(phase: Phase) -> ErrorKind {
    match phase {
        Phase::Build | Phase::Keep => ErrorKind::BuildFailed,
        Phase::Download => ErrorKind::DownloadFailed,
        Phase::Prefetch
        | Phase::Alias
        | Phase::Push
        | Phase::Cache
        | Phase::Rehearse
        | Phase::Pull
        | Phase::Confirm => ErrorKind::PullFailed,
        Phase::Verify => ErrorKind::VerifyFailed,
        Phase::Test => ErrorKind::Unhealthy,
        Phase::Registry | Phase::CleanUp | Phase::Save | Phase::Load | Phase::Stop | Phase::Start => {
            ErrorKind::EngineRefused
        }
        Phase::Bump | Phase::SyncConfig | Phase::Render => ErrorKind::File,
    }
}

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
    /// One more.
    pub fn add(&mut self, phase: Phase, kind: ErrorKind) {
        self.0.push((phase, kind));
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
        | ExitCode::Interrupted => 7,
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
            let mut failures = Failures::default();
            failed.iter().for_each(|(phase, kind)| failures.add(*phase, *kind));
            let codes = [Pulls::Warn, Pulls::Count].map(|pulls| failures.code(pulls).number());
            assert_eq!(codes, [warn, count], "{failed:?}");
        }
    }

    #[test]
    fn the_phase_says_what_an_engines_error_means() {
        let denied = || StepError::Engine(EngineError::Denied("x".to_owned()));
        let other = || StepError::Engine(EngineError::Other("x".to_owned()));
        for (phase, error, kind) in [
            (Phase::Push, denied(), "access-denied"),
            (Phase::Build, denied(), "build-failed"),
            (Phase::Build, StepError::Engine(EngineError::Gone("x".to_owned())), "engine-gone"),
            (Phase::Prefetch, other(), "pull-failed"),
            (Phase::Save, other(), "engine-refused"),
            (Phase::Verify, other(), "verify-failed"),
            (Phase::Test, StepError::Smoke("x".to_owned()), "unhealthy"),
        ] {
            assert_eq!(kind_of_step(phase, &error).name(), kind, "{phase}: {error}");
        }
        let nothing = PullError { reference: "alpine:3".parse().unwrap(), failed: Vec::new() };
        assert_eq!(kind_of_step(Phase::Prefetch, &StepError::Pull(nothing)), ErrorKind::NotHere);
        let why = Reason::NoInternalRegistry;
        assert_eq!(kind_of_reason(Phase::Prefetch, &why), ErrorKind::NotHere);
        assert_eq!(kind_of_reason(Phase::Alias, &Reason::NotInStore), ErrorKind::PullFailed);
    }

    #[test]
    fn a_file_of_logins_that_cannot_be_read_is_no_place_to_log_in_to() {
        let reference: Reference = "r.example/a:1".parse().unwrap();
        for (said, helps) in [
            (format!("r.example {ASKED_WITHOUT_LOGIN} (config.json:1:3): no"), "mend that file"),
            ("no".to_owned(), "`docker login r.example`"),
        ] {
            let denied = || EngineError::Denied(said.clone());
            let failed = vec![(PullSource::Registry(reference.clone()), denied())];
            let pull = StepError::Pull(PullError { reference: reference.clone(), failed });
            for error in [pull, StepError::Push(denied(), reference.clone())] {
                let hint = hint_for_step(&error).unwrap();
                assert!(hint.starts_with(helps), "{hint}");
            }
        }
    }

    #[test]
    fn without_a_registry_to_run_it_is_said_how_to_get_one() {
        let hint = hint_for_step(&StepError::Registry(LocalRegistryError::NoSource));
        assert!(hint.is_some_and(|hint| hint.contains("--bootstrap")));
    }
}
