//! Groups of options that several commands take, and the settings that they stand for.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::given;
use crate::model::suggest::did_you_mean;
use crate::model::{CacheWays, ParsePlatformError, Platform, Provenance};
use crate::plan::{Lint, Renewal};
use crate::settings::{ArtifactLayer, Layer, OptionalRegistry, Platforms, Positive, SecretFlag, SshFlag};

/// Which images.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub struct Selection {
    /// Only these services or images, and what they build on
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Not these services or images
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub skip: Vec<String>,
}

/// How images are named and what they are made for.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Images")]
pub struct Naming {
    /// Name images after this registry; the plain name stays as a local alias
    #[arg(long, value_name = "REGISTRY")]
    pub registry: Option<OptionalRegistry>,
    /// The registry that answers inside the company network
    #[arg(long, value_name = "REGISTRY")]
    pub internal_registry: Option<OptionalRegistry>,
    /// What every image name begins with
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// What the images run on, such as linux/amd64,linux/arm64
    #[arg(long, value_name = "OS/ARCH", value_parser = known_platform, value_delimiter = ',')]
    pub platform: Vec<Platform>,
    /// A build arg; repeat for more
    #[arg(long, value_name = "NAME=VALUE", action = clap::ArgAction::Append)]
    pub build_arg: Vec<String>,
    /// Put the sample into base images, not the framework's release
    #[arg(long)]
    pub sample_artifact: bool,
    #[command(flatten)]
    pub secrets: Secrets,
}

/// What builds may ask for that is in no layer.
#[derive(Clone, Debug, Default, Args)]
pub struct Secrets {
    /// A secret for RUN --mount=type=secret; repeat for more
    #[arg(long, value_name = "id=ID[,src=FILE][,env=NAME]", action = clap::ArgAction::Append)]
    pub secret: Vec<SecretFlag>,
    /// An agent (its socket, or keys) for RUN --mount=type=ssh; repeat for more
    #[arg(long, value_name = "ID[=SOCKET]", action = clap::ArgAction::Append)]
    pub ssh: Vec<SshFlag>,
}

impl Secrets {
    /// What these options set, over `layer`. Files are relative to where they were typed.
    pub fn over(&self, layer: Layer) -> Layer {
        let secrets =
            self.secret.iter().map(|SecretFlag(id, secret)| (id.clone(), secret.clone().from_here()));
        let ssh = self.ssh.iter().map(|SshFlag(id, ssh)| (id.clone(), ssh.clone().from_here()));
        let own = Layer { secrets: secrets.collect(), ssh: ssh.collect(), ..Layer::default() };
        own.or(layer)
    }
}

/// Who builds.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Builds")]
pub struct Elsewhere {
    /// Build elsewhere: an endpoint, or an instance of buildx
    #[arg(long, value_name = "BUILDER")]
    pub builder: Option<String>,
}

impl Elsewhere {
    /// What these options set, over `layer`.
    pub fn over(&self, layer: Layer) -> Layer {
        Layer { builder: self.builder.clone(), ..Layer::default() }.or(layer)
    }
}

/// What is started of what was built.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Services")]
pub struct Starting {
    /// Start the compose services of what was built, and wait until they are healthy
    #[arg(long)]
    pub up: bool,
    #[command(flatten)]
    pub waiting: Waiting,
}

/// For how long services are waited for.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Services")]
pub struct Waiting {
    /// How long to wait for compose services, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub wait: u64,
}

impl Waiting {
    /// The same as a time.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

/// How pulls are made.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Pulls")]
pub struct Pulling {
    /// Pull nothing in advance
    #[arg(long)]
    pub no_prefetch: bool,
    /// Ask registries whether tags moved, and pull what did
    #[arg(long, conflicts_with = "no_prefetch")]
    pub pull: bool,
    /// A failed pull fails the run
    #[arg(long)]
    pub strict_prefetch: bool,
    /// Further tries after a transient failure
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Build on nothing but what images.lock says
    #[arg(long)]
    pub locked: bool,
}

/// A folder that takes what is built, as an OCI image layout: `oci:DIR` as skopeo has it, `type=oci,dest=DIR` as buildx.
#[derive(Clone, Debug)]
pub struct ImageOutput(pub PathBuf);

impl FromStr for ImageOutput {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let attrs = text.strip_prefix("type=oci,").map(|attrs| attrs.split(','));
        let folder = match attrs {
            None => text.strip_prefix("oci:"),
            Some(mut attrs) => match (attrs.next().and_then(|attr| attr.strip_prefix("dest=")), attrs.next())
            {
                (Some(folder), None | Some("tar=false")) => Some(folder),
                _ => None,
            },
        };
        match folder.filter(|folder| !folder.is_empty()) {
            Some(folder) => std::path::absolute(folder).map(Self).map_err(|error| error.to_string()),
            None => Err(format!("`{text}` names no folder: `oci:DIR`, or `type=oci,dest=DIR`")),
        }
    }
}

/// How builds are made.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Builds")]
pub struct Building {
    /// Rebuild everything, without the builder's cache
    #[arg(long)]
    pub force: bool,
    /// Rebuild without comparing fingerprints, with the builder's cache
    #[arg(long)]
    pub skip_cache_check: bool,
    /// Builds at the same time
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<Positive>,
    /// Start nothing more after the first failure
    #[arg(long, overrides_with = "keep_going")]
    pub fail_fast: bool,
    /// Go on with what does not depend on a failure (the default)
    #[arg(long, overrides_with = "fail_fast")]
    pub keep_going: bool,
    /// Push what was built, and what is up to date
    #[arg(long)]
    pub push: bool,
    /// With --builder: put what is built into a folder, an OCI image layout
    #[arg(long, value_name = "oci:DIR", conflicts_with = "push")]
    pub output: Option<ImageOutput>,
    /// Look for build caches below this REF, or in the builder's own type=…; repeat for more
    #[arg(long, value_name = "CACHE")]
    pub cache_from: Vec<CacheWays>,
    /// Store the stages of what was built below this REF, or in the builder's own type=…
    #[arg(long, value_name = "CACHE")]
    pub cache_to: Vec<CacheWays>,
    /// State in its index how each image was built [default mode: min]
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "min")]
    pub provenance: Option<Provenance>,
    /// State in its index what is in each image
    #[arg(long)]
    pub sbom: bool,
    /// Give the same image for the same sources: times are SOURCE_DATE_EPOCH's, or the commit's
    #[arg(long)]
    pub reproducible: bool,
    /// Have the builder check the Dockerfiles first (docs.docker.com, "Build checks")
    #[arg(long)]
    pub check_dockerfiles: bool,
    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

/// What was typed of caches, if anything was.
pub(super) fn all_of(typed: &[CacheWays]) -> Option<CacheWays> {
    (!typed.is_empty()).then(|| typed.iter().cloned().collect())
}

impl Naming {
    /// What these options set, over `layer`.
    pub fn over(&self, layer: Layer) -> Layer {
        let own = Layer {
            registry: self.registry.clone(),
            internal_registry: self.internal_registry.clone(),
            prefix: self.prefix.clone(),
            platform: platforms(&self.platform),
            artifact: ArtifactLayer { sample: given(self.sample_artifact), ..ArtifactLayer::default() },
            ..Layer::default()
        };
        own.or(self.secrets.over(layer))
    }
}

impl Pulling {
    /// What becomes of base images that are here.
    pub(in crate::cli) fn renewal(&self) -> Renewal {
        if self.pull { Renewal::IfMoved } else { Renewal::No }
    }

    /// What these options set, over `layer`.
    pub fn over(&self, layer: Layer) -> Layer {
        let own = Layer {
            skip_prefetch: given(self.no_prefetch),
            strict_prefetch: given(self.strict_prefetch),
            retries: self.retries,
            locked: given(self.locked),
            ..Layer::default()
        };
        own.or(layer)
    }
}

impl Building {
    /// What these options set, over `layer`.
    pub fn over(&self, layer: Layer) -> Layer {
        let own = Layer {
            force: given(self.force),
            skip_cache_check: given(self.skip_cache_check),
            jobs: self.jobs,
            cache_from: all_of(&self.cache_from),
            cache_to: all_of(&self.cache_to),
            provenance: self.provenance,
            sbom: given(self.sbom),
            reproducible: given(self.reproducible),
            ..Layer::default()
        };
        own.or(self.elsewhere.over(layer))
    }

    /// Whether Dockerfiles are checked.
    pub fn lint(&self) -> Lint {
        if self.check_dockerfiles { Lint::Yes } else { Lint::No }
    }
}

/// What images are made for: Go's names, as engines and registries use them.
const PLATFORMS: [&str; 15] = [
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/arm/v5",
    "linux/386",
    "linux/loong64",
    "linux/mips64le",
    "linux/mipsle",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
    "windows/amd64",
    "windows/arm64",
    "freebsd/amd64",
];

/// What is typed, once each; none where nothing is.
pub(super) fn platforms(typed: &[Platform]) -> Option<Platforms> {
    (!typed.is_empty()).then(|| typed.iter().cloned().collect())
}

/// A platform that somebody makes images for; `linux/x86_64` and the like are understood.
pub(super) fn known_platform(text: &str) -> Result<Platform, String> {
    let platform: Platform = text.parse().map_err(|error: ParsePlatformError| error.to_string())?;
    let known =
        |name: &&str| name.parse::<Platform>().is_ok_and(|p| p.os == platform.os && p.arch == platform.arch);
    if PLATFORMS.iter().any(known) {
        return Ok(platform);
    }
    let meant = did_you_mean(text, PLATFORMS);
    Err(format!("nothing runs on `{text}`{meant} (there are {})", PLATFORMS.join(", ")))
}
