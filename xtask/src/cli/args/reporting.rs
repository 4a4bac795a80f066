//! What can be typed about reports that other programs read.

use std::path::PathBuf;

use clap::Args;

/// Reports of a run beside its record.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Reports")]
pub struct Reporting {
    /// Write a JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}
