//! Why this machine could not be made ready, and what mends it.

use std::path::PathBuf;

use super::packages::{Package, install_command, words};
use crate::host::CommandError;

/// Why provisioning did not work. Each has a [`hint`](ProvisionError::hint).
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// Programs are missing and may not (no `--bootstrap`) or cannot be installed here.
    #[error("missing on this machine: {}", why_each(packages))]
    Missing {
        /// What is missing.
        packages: Vec<Package>,
    },
    /// Something needs root, and we are not.
    #[error("{what} needs root, and `sudo` without a password is not available")]
    NeedsRoot {
        /// `starting a private engine (bridge, mounts)`
        what: String,
        /// What a person would type.
        commands: Vec<String>,
    },
    /// apt-get failed.
    #[error("cannot install {}: {cause}", words(packages))]
    Install {
        /// What was to be installed.
        packages: Vec<Package>,
        /// What apt-get said.
        cause: CommandError,
    },
    /// The system cannot do this at all.
    #[error("{what} works on Linux only")]
    NotLinux {
        /// `a private engine`
        what: &'static str,
    },
    /// The engine was started and does not answer.
    #[error("the private engine did not start: {why}")]
    EngineStart {
        /// The end of its log.
        why: String,
        /// Its log.
        log: PathBuf,
    },
    /// A builder has no other program.
    #[error("there is no `buildkitd` on this machine")]
    NoBuildkitd,
    /// The builder was started and does not answer.
    #[error("the private builder did not start: {why}")]
    BuilderStart {
        /// The end of its log.
        why: String,
        /// Its log.
        log: PathBuf,
    },
    /// The registry was started and does not answer.
    #[error("the private registry did not start: {why}")]
    RegistryStart {
        /// The end of its log.
        why: String,
        /// Its log.
        log: PathBuf,
    },
    /// Something of the private engine would not go away.
    #[error("the private engine is not wholly gone: {what}")]
    Leftover {
        /// What is left.
        what: String,
    },
    /// No subnet is free.
    #[error("no subnet is free for the private engine's bridge")]
    NoSubnet,
    /// A base image could not be made.
    #[error("cannot make {reference} from its recipe: {why}")]
    Recipe {
        /// Which.
        reference: String,
        /// Why.
        why: String,
    },
    /// A host command failed.
    #[error("cannot {doing}: {cause}")]
    Command {
        /// `make the bridge xt1a2b3c4d`
        doing: String,
        /// What it said.
        cause: CommandError,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// `write`
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ProvisionError {
    /// The next command to type or file to read.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { packages } => format!(
                "on Debian or Ubuntu add `--bootstrap`, or run `sudo {}`; elsewhere install {}",
                install_command(packages),
                packages
                    .iter()
                    .map(|package| format!("`{}`", package.program))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Self::NeedsRoot { commands, .. } => {
                format!("`{}`, then run it again; or run it as root", commands.join(" && "))
            }
            Self::Install { packages, .. } => format!(
                "`sudo {}` shows more; /etc/apt/sources.list names the mirror",
                install_command(packages)
            ),
            Self::NotLinux { .. } => {
                "start Docker Desktop, colima or podman machine, and run again".to_owned()
            }
            Self::NoBuildkitd => {
                "https://github.com/moby/buildkit/releases has it; `docker buildx create` makes one in a container".to_owned()
            }
            Self::EngineStart { log, .. }
            | Self::BuilderStart { log, .. }
            | Self::RegistryStart { log, .. } => {
                format!("its log is {}", log.display())
            }
            Self::Leftover { .. } => "`cargo xtask engine down` tries again".to_owned(),
            Self::NoSubnet => "`ip -4 route show table all` shows what takes the private ranges".to_owned(),
            Self::Recipe { .. } => "[recipes] in .config/xtask.toml says how it is made".to_owned(),
            Self::Command { .. } => "`cargo xtask engine down` removes what was made so far".to_owned(),
            Self::File { path, .. } => format!("`ls -ld {}` shows whose it is", path.display()),
        }
    }
}

fn why_each(packages: &[Package]) -> String {
    packages
        .iter()
        .map(|package| format!("`{}` ({})", package.program, package.why))
        .collect::<Vec<_>>()
        .join(", ")
}
