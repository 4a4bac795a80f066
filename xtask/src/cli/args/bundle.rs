//! What can be typed after `bundle`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

/// `bundle`
#[derive(Debug, Args)]
pub struct Bundle {
    /// What to do with it.
    #[command(subcommand)]
    pub command: BundleCommand,
}

/// What to do with bundles.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Read every blob of a bundle and check that it is what the manifest says
    Verify {
        /// The .tar, its first part, or the folder
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say what a bundle holds, how large it is, and who needs it
    Inspect {
        /// The .tar, its first part, or the folder
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How to answer
        #[arg(long, default_value = "human")]
        format: Format,
    },
    /// Say how two bundles differ
    Diff {
        /// The one
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The other
        #[arg(value_name = "NEW")]
        new: PathBuf,
        /// How to answer
        #[arg(long, default_value = "human")]
        format: Format,
    },
    /// Check a bundle, and give the engine the images and names of it that it lacks
    Load {
        /// The .tar, its first part, or the folder
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Say what would be loaded and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say what this machine's engine has, for `bundle create --since` elsewhere
    Inventory {
        /// Write it to a file [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}
