//! What can be typed after `up` and `down`.

use clap::Args;

use super::{Build, Naming, Waiting};
use crate::settings::Tag;

/// `up`
#[derive(Debug, Args)]
pub struct Up {
    /// Start what is here, stale or not
    #[arg(long, help_heading = "Services")]
    pub no_build: bool,
    #[command(flatten)]
    pub waiting: Waiting,
    /// What is built first, and how.
    #[command(flatten)]
    pub build: Build,
}

/// `down`
#[derive(Debug, Args)]
pub struct Down {
    /// Services or images whose compose services are meant [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// The tag that the compose files are read with
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub naming: Naming,
}
