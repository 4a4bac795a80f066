//! What can be typed after `affected` and `matrix`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Format;

/// Which commits to compare.
#[derive(Clone, Debug, Args)]
pub struct Commits {
    /// The commit to compare with, such as origin/main
    #[arg(long, value_name = "REV")]
    pub since: String,
    /// The commit that is looked at
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub until: String,
    /// Compare with the last commit that both have in common, as `git diff SINCE...UNTIL` does
    #[arg(long)]
    pub merge_base: bool,
}

/// `affected`
#[derive(Debug, Args)]
pub struct Affected {
    #[command(flatten)]
    pub commits: Commits,
    /// How to answer
    #[arg(long, default_value = "human")]
    pub format: Format,
}

/// How `matrix` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MatrixFormat {
    /// What `strategy.matrix` of a GitHub workflow takes, on one line; also appended to $GITHUB_OUTPUT
    #[default]
    Github,
    /// One JSON document
    Json,
}

/// `matrix`
#[derive(Debug, Args)]
pub struct Matrix {
    #[command(flatten)]
    pub commits: Commits,
    /// At most this many machines; GitHub takes 256
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: u16,
    /// How long builds took elsewhere, as `history --format json` prints it; repeat for more
    #[arg(long, value_name = "FILE")]
    pub durations: Vec<PathBuf>,
    /// How to answer
    #[arg(long, default_value = "github")]
    pub format: MatrixFormat,
}
