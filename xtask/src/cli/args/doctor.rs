//! What can be typed after `doctor`.

use clap::Args;

use super::Format;

/// `doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// How to answer
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}
