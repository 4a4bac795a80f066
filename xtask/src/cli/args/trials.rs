//! What can be typed about trying images: a registry on this machine.

use clap::{Args, Subcommand};

use super::Format;
use crate::config::Port;

/// `registry`
#[derive(Debug, Args)]
pub struct LocalRegistry {
    /// What to do with it.
    #[command(subcommand)]
    pub command: RegistryCommand,
    /// The port on 127.0.0.1; the next free one is taken when it is somebody else's [default: 5000]
    #[arg(long, value_name = "PORT", global = true)]
    pub port: Option<Port>,
}

/// What to do with the registry on this machine.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum RegistryCommand {
    /// Start it, or say that it runs: a registry's image that the engine has, or the program docker-registry
    Up,
    /// Take it away, with all that it stored
    Down,
    /// Say whether it answers, and where
    Status {
        /// How to answer
        #[arg(long, default_value = "human")]
        format: Format,
    },
}
