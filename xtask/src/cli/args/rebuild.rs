//! What can be typed after `rebuild`.

use clap::Args;

use super::{Format, Naming, Reporting};
use crate::settings::{Positive, Tag};

/// `rebuild`
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Services or images, and what they build on [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// The tag of what is rebuilt
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Stop the compose services first
    #[arg(long)]
    pub down: bool,
    /// Start the compose services afterwards, and wait until they are healthy
    #[arg(long)]
    pub up: bool,
    /// How long to wait for them, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "up")]
    pub wait: u64,
    /// Do it in an empty engine without any network, from a copy of the tree, and say whether it works
    #[arg(long, conflicts_with_all = ["down", "up", "dry_run"])]
    pub prove: bool,
    /// Build even what is sure to need a network
    #[arg(long)]
    pub r#try: bool,
    /// Say what would be rebuilt, and what cannot be, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to say it
    #[arg(long, default_value = "human")]
    pub format: Format,
    /// Build on nothing but what images.lock says
    #[arg(long)]
    pub locked: bool,
    /// Builds at the same time
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<Positive>,
    #[command(flatten)]
    pub naming: Naming,
    #[command(flatten)]
    pub reporting: Reporting,
}
