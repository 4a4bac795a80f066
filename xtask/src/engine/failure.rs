//! What goes wrong at an engine: what kind of failure it is, and what helps.

use std::time::Duration;

use super::{ASKED_WITHOUT_LOGIN, stall};
use crate::host::retry::Retriable;
use crate::model::{ErrorKind, Phase, Reference};

/// What went wrong at the engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No socket answers.
    #[error("no container engine answers")]
    Unreachable {
        /// Each endpoint that was tried and what it said.
        tried: Vec<(String, String)>,
        /// The variable that names the only one.
        named_by: Option<&'static str>,
    },
    /// No node of a builder answers, or there is no such builder.
    #[error("cannot build with the builder `{builder}`")]
    NoBuilder {
        /// What was said.
        builder: String,
        /// Why not, for each node.
        causes: Vec<String>,
    },
    /// The engine answers but lacks something that is needed.
    #[error("the engine at {endpoint} {lacks}")]
    Unfit {
        /// Where.
        endpoint: String,
        /// `speaks API 1.38, and 1.41 is needed`
        lacks: String,
    },
    /// The registry or the store has no such image.
    #[error("{0} not found")]
    NotFound(String),
    /// The registry says no.
    #[error("access denied: {0}")]
    Denied(String),
    /// Might work a moment later.
    #[error("{cause}")]
    Transient {
        /// What the other side said.
        cause: String,
        /// What it asked to wait, in seconds.
        retry_after: Option<u64>,
    },
    /// The registry takes no pushes.
    #[error("{0}")]
    ReadOnly(String),
    /// No such host, connection refused: this registry is out of reach from here.
    #[error("{0}")]
    RegistryUnreachable(String),
    /// A registry took the question and gave no answer, or stopped in the middle of one.
    #[error("{from} has sent nothing for {}", stall::words(*silence))]
    Stalled {
        /// The registry.
        from: String,
        /// How long it was waited for.
        silence: Duration,
    },
    /// A port of this machine that a container was to have is somebody else's.
    #[error("a port is taken: {0}")]
    PortTaken(String),
    /// The engine's disk is full.
    #[error("no space left on the engine's disk: {0}")]
    DiskFull(String),
    /// The engine went away in the middle.
    #[error("the engine closed the connection: {0}")]
    Gone(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Retriable for EngineError {
    fn worth_retrying_after(&self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after, .. } => Some(Duration::from_secs(retry_after.unwrap_or_default())),
            _ => None,
        }
    }
}

impl EngineError {
    /// The kind, where no phase says more.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } | Self::NoBuilder { .. } => ErrorKind::NoEngine,
            Self::Unfit { .. } => ErrorKind::EngineUnfit,
            Self::NotFound(_) => ErrorKind::ImageNotFound,
            Self::Denied(_) | Self::ReadOnly(_) => ErrorKind::AccessDenied,
            Self::Transient { .. } => ErrorKind::RegistryBusy,
            Self::RegistryUnreachable(_) | Self::Stalled { .. } => ErrorKind::RegistryUnreachable,
            Self::PortTaken(_) => ErrorKind::PortTaken,
            Self::DiskFull(_) => ErrorKind::DiskFull,
            Self::Gone(_) => ErrorKind::EngineGone,
            Self::Other(_) => ErrorKind::EngineRefused,
        }
    }

    /// The kind of a step's failure: but for the engine's own end, it is what its phase was for.
    pub fn kind_in(&self, phase: Phase) -> ErrorKind {
        phase.kind_of_failure(self.kind())
    }

    /// What helps, where more does than trying again.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Denied(_) => "`docker login REGISTRY` stores credentials",
            Self::RegistryUnreachable(_) => {
                "`--network internal` asks the internal registry only, `--offline` asks none"
            }
            Self::Stalled { .. } => {
                "name a mirror below [mirrors] in .config/xtask.toml; `stall` there is how many seconds of silence are too many"
            }
            Self::PortTaken(_) => "`ss -ltnp` shows who listens where; another `--port` is another port",
            Self::DiskFull(_) => {
                "`docker system df` shows what takes the space, `docker builder prune` frees some of it"
            }
            Self::Gone(_) => {
                "`cargo xtask doctor` shows whether it is back; the same command goes on from here"
            }
            _ => return None,
        })
    }

    /// What helps where a registry does not give an image to the engine.
    pub fn hint_for_pull(&self, reference: &Reference) -> Option<String> {
        match self {
            Self::Denied(said) => Some(
                unread_login(said, reference.domain())
                    .unwrap_or_else(|| format!("`docker login {}` stores credentials", reference.domain())),
            ),
            Self::RegistryUnreachable(said) => certificate(said, reference.domain()),
            _ => None,
        }
    }

    /// What helps against a push of an image that failed.
    pub fn hint_for_push(&self, reference: &Reference) -> Option<String> {
        let (domain, path) = (reference.domain(), reference.path());
        Some(match self {
            Self::Denied(said) => unread_login(said, domain).unwrap_or_else(|| {
                format!("`docker login {domain}` stores a login; it has to be one that may push to {path}")
            }),
            Self::ReadOnly(_) => {
                format!("whoever runs {domain} can end its read-only mode; `--registry` names another registry")
            }
            Self::RegistryUnreachable(said) => certificate(said, domain).unwrap_or_else(|| {
                let scheme = if reference.is_on_this_machine() { "http" } else { "https" };
                format!(
                    "`curl -i {scheme}://{domain}/v2/` shows whether it runs; `--registry` names another registry"
                )
            }),
            Self::Stalled { .. } => {
                "`stall` in .config/xtask.toml is how many seconds of silence are too many".to_owned()
            }
            Self::Unreachable { .. }
            | Self::NoBuilder { .. }
            | Self::Unfit { .. }
            | Self::NotFound(_)
            | Self::Transient { .. }
            | Self::PortTaken(_)
            | Self::DiskFull(_)
            | Self::Gone(_)
            | Self::Other(_) => return self.hint().map(str::to_owned),
        })
    }
}

/// What helps where docker's file of logins could not be used: `docker login` reads it too.
fn unread_login(said: &str, domain: &str) -> Option<String> {
    let is_unread = said.contains(ASKED_WITHOUT_LOGIN);
    is_unread
        .then(|| format!("mend that file, or move it away and let `docker login {domain}` write a new one"))
}

/// What helps where an engine and a registry do not trust each other.
fn certificate(said: &str, domain: &str) -> Option<String> {
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
