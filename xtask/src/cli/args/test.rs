//! What can be typed after `test`.

use clap::Args;

use super::{Naming, Pulling, Reporting, Selection};
use crate::settings::{Positive, Tag};

/// `test`
#[derive(Debug, Args)]
pub struct Test {
    /// Services or images [default: all that have a test]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// The tag of what is tested
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Run also what has passed, without the builder's cache
    #[arg(long)]
    pub force: bool,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Tests at the same time
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<Positive>,
    /// Start nothing more after the first failure
    #[arg(long)]
    pub fail_fast: bool,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub pulling: Pulling,
    #[command(flatten)]
    pub naming: Naming,
    #[command(flatten)]
    pub reporting: Reporting,
}
