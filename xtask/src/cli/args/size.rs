//! What can be typed after `size`.

use clap::Args;

use super::{Format, Naming};
use crate::settings::Tag;

/// `size`
#[derive(Debug, Args)]
pub struct Size {
    /// Services or images [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// The tag of the images
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Exit 4 if one is larger than its budget
    #[arg(long)]
    pub check: bool,
    /// How to answer
    #[arg(long, default_value = "human")]
    pub format: Format,
    #[command(flatten)]
    pub naming: Naming,
}
