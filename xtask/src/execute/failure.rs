//! Why steps fail: the error, its kind and what helps.

#![deny(clippy::wildcard_enum_match_arm)]

use std::fmt;
use std::path::PathBuf;

use super::pull::PullError;
use crate::artifact::ArtifactError;
use crate::build::BuildError;
use crate::engine::EngineError;
use crate::engine::compose::ComposeError;
use crate::model::{ErrorKind, Failure, Phase, Reference};
use crate::registry::RegistryError;
use crate::registry::local::LocalRegistryError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The engine said no.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A build failed; the Dockerfile that it is about.
    #[error("{}", .0.told_at(.1))]
    Build(BuildError, String),
    /// A push failed; the name that was pushed.
    #[error("{0}")]
    Push(EngineError, Reference),
    /// No source gave the image.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// An artifact cannot be had, or is not what it was.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The file that the step is about could not be written: what the system said.
    #[error("{0}")]
    File(String),
    /// A file or folder could not be removed.
    #[error("cannot remove {}: {cause}", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// The store is not as planned.
    #[error("{0}")]
    Unverified(String),
    /// An image that was tried is not as it has to be.
    #[error("{0}")]
    Smoke(String),
    /// No registry on this machine.
    #[error(transparent)]
    Registry(#[from] LocalRegistryError),
    /// A registry cannot be asked what it has.
    #[error(transparent)]
    Lookup(#[from] RegistryError),
    /// A registry has something else than was pushed.
    #[error("{}: the registry {found}, but {expected} was pushed", reference.familiar())]
    Differs {
        /// What was pushed.
        reference: Reference,
        /// What the registry has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// Services could not be stopped or started.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// Whoever was handed in to do the step could not.
    #[error("{0}")]
    OutsideFailure(Box<OutsideFailure>),
    /// It was cancelled, and has put back what it had done.
    #[error("cancelled")]
    Cancelled,
}

/// Why somebody else could not do a step, told to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideFailure {
    /// Why.
    pub failure: Failure,
    /// What was printed, as far as that tells why.
    pub last_lines: Vec<String>,
}

impl fmt::Display for OutsideFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure.what)?;
        self.failure.causes.iter().try_for_each(|cause| write!(f, "\n{cause}"))
    }
}

impl StepError {
    /// Where in the tree it failed, if it was an instruction.
    pub fn place(&self) -> Option<String> {
        let Self::Build(error, dockerfile) = self else { return None };
        error.place(dockerfile)
    }

    /// What a failed instruction printed.
    pub fn last_lines(&self) -> Vec<String> {
        match self {
            Self::Build(error, _) => error.last_lines().to_vec(),
            Self::Compose(error) => error.last_lines(),
            Self::OutsideFailure(outside) => outside.last_lines.clone(),
            Self::Engine(_)
            | Self::Push(..)
            | Self::Pull(_)
            | Self::Artifact(_)
            | Self::File(_)
            | Self::Remove { .. }
            | Self::Unverified(_)
            | Self::Smoke(_)
            | Self::Registry(_)
            | Self::Lookup(_)
            | Self::Differs { .. }
            | Self::Cancelled => Vec::new(),
        }
    }

    /// The kind of failure. In a build, everything but the engine's own end is a failed build: the log has what it came
    /// from.
    pub fn kind(&self, phase: Phase) -> ErrorKind {
        match self {
            Self::Engine(error) | Self::Push(error, _) => error.kind_in(phase),
            Self::Build(error, _) => error.kind_in(phase),
            Self::Pull(error) => error.kind(phase),
            Self::Artifact(error) => error.kind(),
            Self::File(_) | Self::Remove { .. } => ErrorKind::File,
            Self::Unverified(_) => ErrorKind::VerifyFailed,
            Self::Smoke(_) => ErrorKind::Unhealthy,
            Self::Registry(_) => ErrorKind::LocalRegistry,
            Self::Lookup(error) => error.kind(),
            Self::Differs { .. } => ErrorKind::DigestMismatch,
            Self::Compose(error) => error.kind(),
            Self::OutsideFailure(outside) => outside.failure.kind,
            Self::Cancelled => ErrorKind::Interrupted,
        }
    }

    /// The same as data.
    pub fn failure(&self, phase: Phase, subject: &str) -> Failure {
        if let Self::OutsideFailure(outside) = self {
            return outside.failure.clone();
        }
        Failure {
            place: self.place(),
            hints: self.hints(),
            ..Failure::of(self.kind(phase), phase, subject, &self.to_string())
        }
    }

    /// What helps, beside the command that tries again.
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Build(error, _) => return error.hints(),
            Self::Engine(error) => error.hint().map(str::to_owned),
            Self::Push(error, reference) => error.hint_for_push(reference),
            Self::Pull(error) => error.hint(),
            Self::Registry(error) => return error.hints().into_iter().map(str::to_owned).collect(),
            Self::Differs { .. } => Some("see who else pushes to this name, and publish again".to_owned()),
            Self::Artifact(error) => error.hint(),
            Self::Compose(error) => error.hint(),
            Self::OutsideFailure(outside) => return outside.failure.hints.clone(),
            Self::File(_)
            | Self::Remove { .. }
            | Self::Unverified(_)
            | Self::Smoke(_)
            | Self::Lookup(_)
            | Self::Cancelled => None,
        };
        hint.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ASKED_WITHOUT_LOGIN;
    use crate::model::PullSource;

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
            assert_eq!(error.kind(phase).name(), kind, "{phase}: {error}");
        }
        let nothing = PullError { reference: "alpine:3".parse().unwrap(), failed: Vec::new() };
        assert_eq!(StepError::Pull(nothing).kind(Phase::Prefetch), ErrorKind::NotHere);
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
                let hints = error.hints();
                assert!(hints[0].starts_with(helps), "{hints:?}");
            }
        }
    }

    #[test]
    fn what_helps_is_told_beside_the_causes() {
        let failed = BuildError::Failed {
            instruction: Some("RUN make".to_owned()),
            line: Some(2),
            exit_code: Some(1),
            cause: "exit code: 1".to_owned(),
            last_lines: vec!["/bin/sh: exec format error".to_owned()],
        };
        let failure = StepError::Build(failed, "src/api/Dockerfile".to_owned()).failure(Phase::Build, "api");
        assert_eq!(failure.place.as_deref(), Some("src/api/Dockerfile:2"));
        assert_eq!((failure.causes.len(), failure.hints.len()), (2, 2));
        assert!(failure.causes.iter().all(|cause| !cause.contains("hint")), "{failure:?}");
    }

    #[test]
    fn without_a_registry_to_run_it_is_said_how_to_get_one() {
        let hints = StepError::Registry(LocalRegistryError::NoSource).hints();
        assert!(hints.iter().any(|hint| hint.contains("--bootstrap")), "{hints:?}");
    }
}
