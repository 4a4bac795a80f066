//! What can be typed after `watch`.

use clap::Args;

use super::{Build, Starting};
use crate::settings::Positive;

/// `watch`
#[derive(Debug, Args)]
pub struct Watch {
    /// What each round builds, and how.
    #[command(flatten)]
    pub build: Build,
    #[command(flatten)]
    pub starting: Starting,
    /// Run this in a shell at the root after each round that went well; XTASK_BUILT names the images it built
    #[arg(long, value_name = "COMMAND", help_heading = "Rounds")]
    pub run: Option<String>,
    /// Look for changes every so many seconds, where the system does not tell of them
    #[arg(long, value_name = "SECONDS", help_heading = "Rounds")]
    pub poll: Option<Positive>,
}
