//! What can be typed about trying images: a registry on this machine, and what `base-images` does beyond building.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, Making, Pulling, Systems};
use crate::settings::{Layer, OptionalRegistry, Port, Version};

/// `registry`
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct LocalRegistry {
    /// What to do with it.
    #[command(subcommand)]
    pub command: RegistryCommand,
    /// The port on 127.0.0.1; the next free one is taken if it is in use [default: 5000]
    #[arg(long, value_name = "PORT", global = true)]
    pub port: Option<Port>,
}

/// What to do with the registry on this machine.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum RegistryCommand {
    /// Start it, or say that it runs: a registry's image that the engine has, or the program docker-registry
    Up,
    /// Remove it, with all that it stored
    Down,
    /// Say what it has, a name that can be pulled on each line
    List {
        /// How to answer
        #[arg(long, default_value = "human")]
        format: Format,
    },
    /// Say whether it answers, and where
    Status {
        /// Exit 12 unless it answers
        #[arg(long)]
        check: bool,
        /// How to answer
        #[arg(long, default_value = "human")]
        format: Format,
    },
}

/// Where a report goes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Trials")]
pub struct Trying {
    /// Write a JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// At least this many plugins have to be loaded
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub plugins: usize,
}

/// `base-images test`
#[derive(Debug, Args)]
pub struct BaseImagesTest {
    /// The version of the framework, as --version
    #[arg(value_name = "VERSION")]
    pub only_version: Option<Version>,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub trying: Trying,
    #[command(flatten)]
    pub systems: Systems,
    #[command(flatten)]
    pub making: Making,
}

/// `base-images e2e`
#[derive(Debug, Args)]
pub struct BaseImagesE2e {
    /// The system, as --os
    #[arg(value_name = "OS")]
    pub only_os: Option<String>,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The registry's port on 127.0.0.1; the next free one is taken if it is in use [default: 15000]
    #[arg(long, value_name = "PORT", help_heading = "Trials")]
    pub port: Option<Port>,
    /// Leave containers, registry and images as they are, to be looked at
    #[arg(long, help_heading = "Trials")]
    pub keep: bool,
    #[command(flatten)]
    pub trying: Trying,
    #[command(flatten)]
    pub systems: Systems,
    #[command(flatten)]
    pub pulling: Pulling,
    #[command(flatten)]
    pub making: Making,
}

/// `base-images publish`
#[derive(Debug, Args)]
pub struct BaseImagesPublish {
    /// The version of the framework, as --version
    #[arg(value_name = "VERSION")]
    pub only_version: Option<Version>,
    /// The registry, as --registry
    #[arg(value_name = "REGISTRY", conflicts_with = "registry")]
    pub only_registry: Option<OptionalRegistry>,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The port of the registry to rehearse with [default: 15000]
    #[arg(long, value_name = "PORT", help_heading = "Trials")]
    pub port: Option<Port>,
    #[command(flatten)]
    pub trying: Trying,
    #[command(flatten)]
    pub systems: Systems,
    #[command(flatten)]
    pub pulling: Pulling,
    #[command(flatten)]
    pub making: Making,
}

/// `base-images clean`
#[derive(Debug, Args)]
pub struct BaseImagesClean {
    /// List what would be removed and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub systems: Systems,
}

/// What stands first is the version asked for first.
fn with_version(systems: &Systems, version: Option<&Version>) -> Systems {
    let mut systems = systems.clone();
    systems.versions.splice(..0, version.cloned());
    systems
}

impl BaseImagesTest {
    /// What these options set.
    pub fn layer(&self) -> Layer {
        let systems = with_version(&self.systems, self.only_version.as_ref());
        systems.over(self.making.over(Layer::default()))
    }
}

impl BaseImagesE2e {
    /// What these options set.
    pub fn layer(&self) -> Layer {
        let own = Layer { registry_port: self.port, ..Layer::default() };
        let mut systems = self.systems.clone();
        systems.os.extend(self.only_os.clone());
        systems.over(self.making.over(self.pulling.over(own)))
    }
}

impl BaseImagesPublish {
    /// What these options set.
    pub fn layer(&self) -> Layer {
        let own =
            Layer { registry_port: self.port, registry: self.only_registry.clone(), ..Layer::default() };
        let systems = with_version(&self.systems, self.only_version.as_ref());
        systems.over(self.making.over(self.pulling.over(own)))
    }
}
