//! Every module's error to its kind and its hints: the one place where that is decided. What may fail as a step of a
//! run knows its kind by itself.

use super::{Error, ErrorKind};
use crate::artifact::ArtifactError;
use crate::build::BuildError;
use crate::bundle::archive::WriteError;
use crate::bundle::deliver::DeliverError;
use crate::bundle::fetch::FetchError;
use crate::bundle::finding::BundleError;
use crate::engine::EngineError;
use crate::engine::compose::ComposeError;
use crate::engine::provision::ProvisionError;
use crate::host::CommandError;
use crate::host::lock::LockError;
use crate::model::{SOCKET_RIGHTS, denied_socket};
use crate::read::revision::RevisionError;
use crate::registry::local::LocalRegistryError;
use crate::settings::ConfigError;

impl From<ComposeError> for Error {
    fn from(error: ComposeError) -> Self {
        let hint = error.hint();
        hint.into_iter().fold(Self::of(error.kind(), &error), Self::hint)
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        let told = Self::new(error.kind(), error.to_string());
        match &error {
            EngineError::Unreachable { tried, named_by } => {
                let denied = denied_socket(tried);
                let told = match denied {
                    Some(socket) => {
                        Self::new(told.kind, format!("this user may not use the engine's socket {socket}"))
                    }
                    None => told,
                };
                let told = tried.iter().fold(told, |told, (endpoint, cause)| {
                    told.because(format!("no answer at {endpoint}: {cause}"))
                });
                if denied.is_some() {
                    return SOCKET_RIGHTS.into_iter().fold(told, Self::hint);
                }
                match named_by {
                    Some(name) => told
                        .hint(format!("see whether {name} is right"))
                        .hint("`cargo xtask doctor` looks closer"),
                    None => engine_hints(told),
                }
            }
            EngineError::NoBuilder { causes, .. } => {
                // TLS's words for what one side shows and the other does not take.
                let is_of_tls = |cause: &String| cause.to_lowercase().contains("certificate");
                let hint = if causes.iter().any(is_of_tls) {
                    "`cacert` has to vouch for what the builder shows, `cert` is shown to it: `openssl x509 -noout -dates \
                     -issuer -in FILE` says of each from when to when, and by whom"
                } else {
                    "`cargo xtask builder list` shows those that there are; `cargo xtask builder up` starts one"
                };
                causes.iter().fold(told, |told, cause| told.because(cause.clone())).hint(hint)
            }
            EngineError::Unfit { .. } => engine_hints(told),
            EngineError::Transient { .. } => told.hint("run the same command again in a while"),
            EngineError::NotFound(_) => {
                told.hint("see whether the name and the tag are right, and who may pull it")
            }
            EngineError::Other(_) => told.hint("the engine's own log says more"),
            _ => error.hint().into_iter().fold(told, Self::hint),
        }
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Engine(error) => error.into(),
            BuildError::Failed { .. } | BuildError::ContextChanged { .. } => error
                .hints()
                .into_iter()
                .fold(Self::of(error.kind(), &error).last_lines(error.last_lines()), Self::hint),
        }
    }
}

fn engine_hints(error: Error) -> Error {
    error
        .hint("`cargo xtask build-all --bootstrap` starts a private engine for this tree")
        .hint("`DOCKER_HOST=unix:///path/to/docker.sock` names an engine that runs already")
        .hint("`sudo systemctl start docker` starts the one of this machine")
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::of(ErrorKind::ConfigInvalid, &error).hint(error.hint())
    }
}

impl From<ProvisionError> for Error {
    fn from(error: ProvisionError) -> Self {
        Self::of(ErrorKind::Bootstrap, &error).hint(error.hint())
    }
}

impl From<RevisionError> for Error {
    fn from(error: RevisionError) -> Self {
        let kind = match error {
            RevisionError::Unknown { .. }
            | RevisionError::Unrelated { .. }
            | RevisionError::NoRepository { .. } => ErrorKind::UnknownRevision,
            RevisionError::NoGit { .. } | RevisionError::Git { .. } => ErrorKind::Command,
            RevisionError::Folder { .. } => ErrorKind::File,
        };
        Self::of(kind, &error).hint(error.hint())
    }
}

impl From<LocalRegistryError> for Error {
    fn from(error: LocalRegistryError) -> Self {
        if let LocalRegistryError::Engine(error) = error {
            return error.into();
        }
        error.hints().into_iter().fold(Self::of(ErrorKind::LocalRegistry, &error), Self::hint)
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        let hint = format!("`ls -ld {}` shows whose it is", error.path.display());
        Self::of(ErrorKind::File, &error).hint(hint)
    }
}

impl From<ArtifactError> for Error {
    fn from(error: ArtifactError) -> Self {
        let text = error.to_string();
        let mut lines = text.lines();
        let first = Self::new(error.kind(), lines.next().unwrap_or_default());
        let told = lines.fold(first, Self::because);
        error.hint().into_iter().fold(told, Self::hint)
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        let told = Self::new(ErrorKind::Command, error.to_string());
        match error {
            CommandError::CannotStart { program, .. } => {
                told.hint(format!("`command -v {program}` shows whether a shell finds it"))
            }
            CommandError::Failed { .. } => told,
        }
    }
}

/// How many things that are wrong with a bundle are told.
const MOST_FINDINGS: usize = 20;

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        match &error {
            BundleError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::of(ErrorKind::Usage, &error).hint("see whether the path is right")
            }
            BundleError::Read { .. } | BundleError::NotABundle { .. } => {
                Self::of(ErrorKind::BundleDamaged, &error)
                    .hint("`cargo xtask bundle create` makes one, where the images are")
            }
            BundleError::Refused { findings, .. } => {
                let told = findings.iter().take(MOST_FINDINGS).map(ToString::to_string);
                let mut error =
                    told.fold(Self::new(ErrorKind::BundleDamaged, error.to_string()), Self::because);
                if findings.len() > MOST_FINDINGS {
                    error = error.because(format!("and {} more", findings.len() - MOST_FINDINGS));
                }
                error
                    .hint("copy it again from where it was made, and compare with `cargo xtask bundle verify FILE` there")
            }
        }
    }
}

impl From<DeliverError> for Error {
    fn from(error: DeliverError) -> Self {
        match &error {
            DeliverError::Engine { source, .. } => Self::from(source.clone()).context(error.to_string()),
            DeliverError::Interrupted => Self::told(ErrorKind::Interrupted),
            DeliverError::Blob { .. } | DeliverError::Other { .. } => {
                Self::of(ErrorKind::BundleDamaged, &error)
                    .hint("copy the bundle again from where it was made")
            }
        }
    }
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match &error {
            FetchError::Missing(_) => Self::new(ErrorKind::NotHere, error.to_string()),
            FetchError::Engine { source, .. } => Self::from(source.clone()).context(error.to_string()),
            FetchError::Store { .. } => Self::of(ErrorKind::File, &error),
            FetchError::Incomplete { .. } => {
                Self::of(ErrorKind::EngineRefused, &error).hint("the engine's own log says more")
            }
        }
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        let (kind, hint) = match &error {
            WriteError::InTheWay { .. } => (ErrorKind::Usage, "name another file or folder with `-o`"),
            WriteError::TooManyParts { .. } => (ErrorKind::Usage, "ask for larger ones with `--part-size`"),
            WriteError::Blob { .. } | WriteError::Damaged { .. } => {
                (ErrorKind::BundleDamaged, "remove target/xtask/cache/blobs and run the same command again")
            }
            WriteError::Write { .. } => (ErrorKind::File, "see whether the disk is full, or another `-o`"),
            WriteError::Assemble(_) => (ErrorKind::Unexpected, "this is a bug"),
        };
        Self::of(kind, &error).hint(hint)
    }
}
