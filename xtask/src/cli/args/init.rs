//! `init`

use clap::Args;

use crate::init::Source;

/// `init`
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at the tree and says what it found: services, compose and bake files, registries, who runs the checks. Then it shows \
what it would write, and asks; without a terminal it writes with --yes alone. Files that stand are added to or left as \
they are, so a second run changes nothing.")]
pub struct Init {
    /// Make a package `xtask` too, so that `cargo xtask` runs this program; SOURCE is a version, a git repository or a folder [default: this version]
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, require_equals = true)]
    pub xtask: Option<Option<Source>>,
    /// Write a GitHub workflow too that builds the images
    #[arg(long)]
    pub workflow: bool,
    /// Show what would be written and do nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Write it without asking
    #[arg(short, long)]
    pub yes: bool,
}
