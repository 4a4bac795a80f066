//! What can be typed after `lock`.

use clap::Args;

use super::{Format, known_platform};
use crate::model::Platform;
use crate::settings::{Layer, OptionalRegistry};

/// `lock`
#[derive(Debug, Args)]
pub struct Lock {
    /// Only these external images, or those of these services; the rest stays as it is [default: all]
    #[arg(value_name = "SERVICE or REF")]
    pub names: Vec<String>,
    /// Change nothing; exit 15 if an entry is missing, has moved or is unused
    #[arg(long)]
    pub check: bool,
    /// How to answer
    #[arg(long, default_value = "human")]
    pub format: Format,
    /// What the images run on, such as linux/amd64,linux/arm64
    #[arg(long, value_name = "OS/ARCH", value_parser = known_platform, value_delimiter = ',')]
    pub platform: Vec<Platform>,
    /// The registry that answers inside the company network
    #[arg(long, value_name = "REGISTRY")]
    pub internal_registry: Option<OptionalRegistry>,
    /// A build arg; repeat for more
    #[arg(long, value_name = "NAME=VALUE", action = clap::ArgAction::Append)]
    pub build_arg: Vec<String>,
}

impl Lock {
    /// What these options set. Several platforms are no setting: they are looked at one after the other.
    pub fn layer(&self) -> Layer {
        Layer { internal_registry: self.internal_registry.clone(), ..Layer::default() }
    }
}
