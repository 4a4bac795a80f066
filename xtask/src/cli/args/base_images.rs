//! What can be typed after `base-images`.

use clap::{Args, Subcommand};

use super::groups::{Secrets, all_of, platforms};
use super::{
    BaseImagesClean, BaseImagesE2e, BaseImagesPublish, BaseImagesTest, Format, Pulling, Reporting, given,
    known_platform,
};
use crate::model::suggest::did_you_mean;
use crate::model::{CacheWays, Platform};
use crate::settings::{ArtifactLayer, BaseImageLayer, Layer, OptionalRegistry, Positive, Version};

/// `base-images`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true)]
pub struct BaseImages {
    /// What to do with them; without it they are built.
    #[command(subcommand)]
    pub command: Option<BaseImagesCommand>,
    #[command(flatten)]
    pub build: BaseImagesBuild,
}

/// What to do with base images.
#[derive(Debug, Subcommand)]
pub enum BaseImagesCommand {
    /// Build them, as `base-images` alone does
    Build(BaseImagesBuild),
    /// The systems, their descriptions, versions and tags, and what is built where an engine answers
    List(BaseImagesList),
    /// Name another default version everywhere in the tree, and show the diff
    Bump(BaseImagesBump),
    /// Run each image and hold it to the contract: healthy, user, folders, `fit version`, plugins, size, end
    Test(BaseImagesTest),
    /// Build, push to a registry on this machine, pull back, run and ask; then take all of that away
    E2e(BaseImagesE2e),
    /// The release checklist: build, test, rehearse, push, and confirm what the registry has
    Publish(BaseImagesPublish),
    /// Remove base images, and what broken-off trials left
    Clean(BaseImagesClean),
}

/// `base-images bump`
#[derive(Debug, Args)]
pub struct BaseImagesBump {
    /// The new default version
    #[arg(value_name = "VERSION", value_parser = version)]
    pub version: Version,
    /// Change nothing; list what would change, and exit 15 if anything would
    #[arg(long)]
    pub check: bool,
    /// Show the diff and change nothing
    #[arg(long, conflicts_with = "check")]
    pub dry_run: bool,
}

/// Which base images.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub struct Systems {
    /// Only these systems
    #[arg(long, value_name = "OS", value_delimiter = ',')]
    pub os: Vec<String>,
    /// Not these systems
    #[arg(long, value_name = "OS", value_delimiter = ',')]
    pub skip_os: Vec<String>,
    /// This version of the framework; repeat for more [default: the default version]
    #[arg(long = "version", value_name = "VERSION", value_delimiter = ',', value_parser = version)]
    pub versions: Vec<Version>,
}

/// How base images are named, and what goes into them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Images")]
pub struct Making {
    /// Name images after this registry; the plain names stay as local aliases
    #[arg(long, value_name = "REGISTRY")]
    pub registry: Option<OptionalRegistry>,
    /// The registry that answers inside the company network
    #[arg(long, value_name = "REGISTRY")]
    pub internal_registry: Option<OptionalRegistry>,
    /// What the images run on, such as linux/amd64,linux/arm64
    #[arg(long, value_name = "OS/ARCH", value_parser = known_platform, value_delimiter = ',')]
    pub platform: Vec<Platform>,
    /// A build arg; repeat for more
    #[arg(long, value_name = "NAME=VALUE", action = clap::ArgAction::Append)]
    pub build_arg: Vec<String>,
    /// Put the sample into the images, not the framework's release
    #[arg(long)]
    pub sample_artifact: bool,
    /// Where the artifact comes from, with {version} in it; file://… asks for the sample
    #[arg(long, value_name = "URL")]
    pub artifact_url: Option<String>,
    #[command(flatten)]
    pub secrets: Secrets,
}

/// `base-images`, `base-images build`
#[derive(Clone, Debug, Default, Args)]
pub struct BaseImagesBuild {
    /// The version of the framework, as --version
    #[arg(value_name = "VERSION", value_parser = version_or_command)]
    pub only_version: Option<Version>,
    /// The registry, as --registry
    #[arg(value_name = "REGISTRY", conflicts_with = "registry")]
    pub only_registry: Option<OptionalRegistry>,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub systems: Systems,
    /// Rebuild everything, without the builder's cache
    #[arg(long, help_heading = "Builds")]
    pub force: bool,
    /// Builds at the same time [default: 2]
    #[arg(short, long, value_name = "N", help_heading = "Builds")]
    pub jobs: Option<Positive>,
    /// Start nothing more after the first failure
    #[arg(long, overrides_with = "keep_going", help_heading = "Builds")]
    pub fail_fast: bool,
    /// Go on with what does not depend on a failure (the default)
    #[arg(long, overrides_with = "fail_fast", help_heading = "Builds")]
    pub keep_going: bool,
    /// Push what was built, and what is up to date
    #[arg(long, help_heading = "Builds")]
    pub push: bool,
    /// Look for build caches below this REF, or in the builder's own type=…; repeat for more
    #[arg(long, help_heading = "Builds", value_name = "CACHE")]
    pub cache_from: Vec<CacheWays>,
    /// Store the stages of what was built below this REF, or in the builder's own type=…
    #[arg(long, help_heading = "Builds", value_name = "CACHE")]
    pub cache_to: Vec<CacheWays>,
    #[command(flatten)]
    pub pulling: Pulling,
    #[command(flatten)]
    pub making: Making,
    #[command(flatten)]
    pub reporting: Reporting,
}

/// `base-images list`
#[derive(Debug, Args)]
pub struct BaseImagesList {
    /// How to answer
    #[arg(long, default_value = "human")]
    pub format: Format,
    #[command(flatten)]
    pub systems: Systems,
    #[command(flatten)]
    pub making: Making,
}

fn version(text: &str) -> Result<Version, String> {
    text.parse()
}

/// What stands where a subcommand could, and is no version, is most likely meant as one.
fn version_or_command(text: &str) -> Result<Version, String> {
    version(text).map_err(|why| {
        let mut command = BaseImagesCommand::augment_subcommands(clap::Command::new(""));
        command.build();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        match did_you_mean(text, names.iter().copied()) {
            meant if meant.is_empty() => why,
            meant => format!("`{text}` is no command{meant}"),
        }
    })
}

impl Systems {
    /// What these options set, over `layer`.
    pub fn over(&self, layer: Layer) -> Layer {
        let listed = |names: &[String]| (!names.is_empty()).then(|| names.to_vec());
        let base_image = BaseImageLayer {
            versions: (!self.versions.is_empty()).then(|| self.versions.clone()),
            only: listed(&self.os),
            skip: listed(&self.skip_os),
            ..BaseImageLayer::default()
        };
        Layer { base_image, ..Layer::default() }.or(layer)
    }
}

impl Making {
    /// What these options set, over `layer`.
    pub fn over(&self, layer: Layer) -> Layer {
        let artifact = ArtifactLayer {
            sample: given(self.sample_artifact),
            url: self.artifact_url.clone(),
            ..ArtifactLayer::default()
        };
        let own = Layer {
            registry: self.registry.clone(),
            internal_registry: self.internal_registry.clone(),
            platform: platforms(&self.platform),
            artifact,
            ..Layer::default()
        };
        own.or(self.secrets.over(layer))
    }
}

impl BaseImagesBuild {
    /// What these options set.
    pub fn layer(&self) -> Layer {
        let base_image =
            BaseImageLayer { jobs: self.jobs, push: given(self.push), ..BaseImageLayer::default() };
        let own = Layer {
            force: given(self.force),
            cache_from: all_of(&self.cache_from),
            cache_to: all_of(&self.cache_to),
            registry: self.only_registry.clone(),
            base_image,
            ..Layer::default()
        };
        let mut systems = self.systems.clone();
        systems.versions.splice(..0, self.only_version.clone());
        systems.over(self.making.over(self.pulling.over(own)))
    }
}
