//! What kinds of things go wrong. A kind is a stable name to look up and to write scripts on; what it means, what it
//! ends with and what to do about it is in `model/catalogue.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of failure. Names are kebab-case in events, records and docs, and are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// A bug of this program.
    Unexpected,
    /// A file or folder cannot be read or written.
    File,
    /// A program of this machine is missing or failed.
    Command,
    /// The command line makes no sense.
    Usage,
    /// Nothing has the name that was typed.
    UnknownName,
    /// Git knows no such commit.
    UnknownRevision,
    /// An image could not be built.
    BuildFailed,
    /// A file changed while it was sent to the builder.
    ContextChanged,
    /// The store is not as planned.
    VerifyFailed,
    /// Something was started and does not do what it should.
    Unhealthy,
    /// A bundle is not enough to build from.
    NotRebuildable,
    /// No image is left to work on.
    NothingSelected,
    /// A settings file, a variable or a small file beside a Dockerfile cannot be taken.
    ConfigInvalid,
    /// A Dockerfile, a template, or what they name cannot be taken.
    SourceInvalid,
    /// No engine answers.
    NoEngine,
    /// The engine lacks something.
    EngineUnfit,
    /// The engine went away in the middle.
    EngineGone,
    /// The engine says no.
    EngineRefused,
    /// The engine's disk is full.
    DiskFull,
    /// Somebody else has the port.
    PortTaken,
    /// No registry could be started on this machine.
    LocalRegistry,
    /// This machine could not be made able to do it.
    Bootstrap,
    /// Compose is not installed.
    ComposeMissing,
    /// A registry has no such image.
    ImageNotFound,
    /// A registry denies it.
    AccessDenied,
    /// A registry does not answer.
    RegistryUnreachable,
    /// A registry answers with trouble that may pass.
    RegistryBusy,
    /// Something is not on this machine, and nobody may be asked for it.
    NotHere,
    /// An artifact cannot be downloaded.
    DownloadFailed,
    /// A pull, a tag or a push failed for another reason.
    PullFailed,
    /// An artifact is another file than before.
    ArtifactChanged,
    /// A bundle, or a kept layer, is not what it says.
    BundleDamaged,
    /// A registry has, or gives, something else than it should.
    DigestMismatch,
    /// Something is not as it should be, and was only looked at.
    Drift,
    /// With `--locked`: an external image is not what `images.lock` says.
    NotLocked,
    /// Ctrl-C.
    Interrupted,
}

impl ErrorKind {
    /// All of them, by exit code.
    pub const ALL: [Self; 36] = [
        Self::Unexpected,
        Self::File,
        Self::Command,
        Self::Usage,
        Self::UnknownName,
        Self::UnknownRevision,
        Self::BuildFailed,
        Self::ContextChanged,
        Self::VerifyFailed,
        Self::Unhealthy,
        Self::NotRebuildable,
        Self::NothingSelected,
        Self::ConfigInvalid,
        Self::SourceInvalid,
        Self::NoEngine,
        Self::EngineUnfit,
        Self::EngineGone,
        Self::EngineRefused,
        Self::DiskFull,
        Self::PortTaken,
        Self::LocalRegistry,
        Self::Bootstrap,
        Self::ComposeMissing,
        Self::ImageNotFound,
        Self::AccessDenied,
        Self::RegistryUnreachable,
        Self::RegistryBusy,
        Self::NotHere,
        Self::DownloadFailed,
        Self::PullFailed,
        Self::ArtifactChanged,
        Self::BundleDamaged,
        Self::DigestMismatch,
        Self::Drift,
        Self::NotLocked,
        Self::Interrupted,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::File => "file",
            Self::Command => "command",
            Self::Usage => "usage",
            Self::UnknownName => "unknown-name",
            Self::UnknownRevision => "unknown-revision",
            Self::BuildFailed => "build-failed",
            Self::ContextChanged => "context-changed",
            Self::VerifyFailed => "verify-failed",
            Self::Unhealthy => "unhealthy",
            Self::NotRebuildable => "not-rebuildable",
            Self::NothingSelected => "nothing-selected",
            Self::ConfigInvalid => "config-invalid",
            Self::SourceInvalid => "source-invalid",
            Self::NoEngine => "no-engine",
            Self::EngineUnfit => "engine-unfit",
            Self::EngineGone => "engine-gone",
            Self::EngineRefused => "engine-refused",
            Self::DiskFull => "disk-full",
            Self::PortTaken => "port-taken",
            Self::LocalRegistry => "local-registry",
            Self::Bootstrap => "bootstrap",
            Self::ComposeMissing => "compose-missing",
            Self::ImageNotFound => "image-not-found",
            Self::AccessDenied => "access-denied",
            Self::RegistryUnreachable => "registry-unreachable",
            Self::RegistryBusy => "registry-busy",
            Self::NotHere => "not-here",
            Self::DownloadFailed => "download-failed",
            Self::PullFailed => "pull-failed",
            Self::ArtifactChanged => "artifact-changed",
            Self::BundleDamaged => "bundle-damaged",
            Self::DigestMismatch => "digest-mismatch",
            Self::Drift => "drift",
            Self::NotLocked => "not-locked",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_everywhere() {
        let mut names = std::collections::BTreeSet::new();
        for kind in ErrorKind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("a string"), kind.name());
            assert!(names.insert(kind.name()), "{kind} twice");
        }
    }
}
