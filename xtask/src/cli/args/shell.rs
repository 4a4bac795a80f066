//! What can be typed after `shell`.

use clap::Args;

use super::Naming;
use crate::settings::Tag;

/// `shell`
#[derive(Debug, Args)]
pub struct OpenShell {
    /// An image, or one of its stages as IMAGE.STAGE
    #[arg(value_name = "IMAGE")]
    pub name: String,
    /// The tag of the image
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    #[command(flatten)]
    pub naming: Naming,
    /// What to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
