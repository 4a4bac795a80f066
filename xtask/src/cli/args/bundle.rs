//! What can be typed after `bundle`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, Naming, Selection, Tagged};
use crate::settings::Positive;

/// `bundle`
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct Bundle {
    /// What to do with it.
    #[command(subcommand)]
    pub command: BundleCommand,
}

/// What to do with bundles.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Build what is stale, and write everything that a rebuild elsewhere needs
    Create(Box<Create>),
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

/// `bundle create`
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    pub tagged: Tagged,
    /// Where to: a .tar, or a folder [default: target/xtask/bundles/NAME-TAG.tar]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Leave out what the receiver has: its `bundle inventory`, or a bundle that it has loaded
    #[arg(long, value_name = "FILE")]
    pub since: Option<PathBuf>,
    /// In parts of at most this many bytes: 4GiB, 700MB
    #[arg(long, value_name = "SIZE", value_parser = byte_size)]
    pub part_size: Option<u64>,
    /// Rebuild everything from it first, in an empty engine without any network, and write down what came of it
    #[arg(long, conflicts_with = "dry_run")]
    pub prove: bool,
    /// Build no image; one that is stale is an error
    #[arg(long)]
    pub no_build: bool,
    /// Say what would be built and what would go along, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Build on nothing but what images.lock says
    #[arg(long)]
    pub locked: bool,
    /// Builds at the same time
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<Positive>,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub naming: Naming,
}

/// `4GiB`, `700MB`, `1048576`.
fn byte_size(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        _ => return Err(format!("`{text}` is no size: write 4GiB, 700MB or a number of bytes")),
    };
    let number = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| format!("`{text}` is no size: write 4GiB, 700MB or a number of bytes"))
}
