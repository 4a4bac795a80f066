//! What builds may be told that is in no layer: secrets and ssh agents.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{SecretKind, SecretMount};

/// Bytes of the largest secret, as buildkit has it (`session/secrets/secretsprovider`, `MaxSecretSize`).
pub const MAX_SECRET: u64 = 500 * 1024;

/// A text that no message shows, `{:?}` included.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret of builds is. Its value is in no key, plan or record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The bytes of a file, read when a build asks for them.
    File(PathBuf),
    /// A variable.
    Variable {
        /// Its name.
        name: String,
        /// What it held when the program began.
        value: Hidden,
    },
}

/// Who signs for `RUN --mount=type=ssh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshSource {
    /// An agent that listens on a socket.
    Agent(PathBuf),
    /// Files of private keys without a passphrase; an agent is started for them.
    Keys(Vec<PathBuf>),
}

/// What a build may ask for, each by its ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildSecrets {
    /// For `RUN --mount=type=secret`.
    pub secrets: BTreeMap<String, SecretSource>,
    /// For `RUN --mount=type=ssh`.
    pub ssh: BTreeMap<String, SshSource>,
}

impl BuildSecrets {
    /// Whether there is what a mount asks for.
    pub fn has(&self, mount: &SecretMount) -> bool {
        match mount.kind {
            SecretKind::Secret => self.secrets.contains_key(&mount.id),
            SecretKind::Ssh => self.ssh.contains_key(&mount.id),
        }
    }
}
