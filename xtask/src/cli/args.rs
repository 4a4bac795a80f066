//! What can be typed: clap's structs, and their translation to a [`Layer`] of settings. Decides nothing.

#![expect(
    missing_docs,
    reason = "a group of options has texts of its own, and docs/cli.md has one for each option"
)]

mod affected;
mod base_images;
mod bundle;
mod clean;
mod doctor;
mod groups;
mod init;
mod lock;
mod manual;
mod rebuild;
mod reporting;
mod run;
mod shell;
mod size;
mod tagged;
mod test;
mod trials;
mod up;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::ci::EngineVersion;
use crate::model::Platform;
use crate::report::resolve::{ColourChoice, ProgressChoice};
use crate::settings::{Layer, NetworkChoice, Tag};

pub use affected::{Affected, Commits, Matrix, MatrixFormat};
pub use base_images::{
    BaseImages, BaseImagesBuild, BaseImagesBump, BaseImagesCommand, BaseImagesList, Making, Systems,
};
pub use bundle::{Bundle, BundleCommand, Create};
pub use clean::Clean;
pub use doctor::Doctor;
use groups::known_platform;
pub use groups::{Building, Elsewhere, ImageOutput, Naming, Pulling, Selection, Starting, Waiting};
pub use init::Init;
pub use lock::Lock;
pub use manual::{Completions, Man, Shell};
pub use rebuild::Rebuild;
pub use reporting::Reporting;
pub use run::{Container, Logs, Run};
pub use shell::OpenShell;
pub use size::Size;
pub use tagged::Tagged;
pub use test::Test;
pub use trials::{
    BaseImagesClean, BaseImagesE2e, BaseImagesPublish, BaseImagesTest, LocalRegistry, RegistryCommand, Trying,
};
pub use up::{Down, Up};
pub use watch::Watch;

/// Builds every container image of a monorepo, in order, once, and says why.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
#[command(after_help = "Start with `cargo xtask plan`, which changes nothing, or `cargo xtask build-all`.")]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes, before or after its name.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The tree [default: the nearest folder above with .config/xtask.toml, else the workspace that cargo runs this of, else the git repository, else this folder]
    #[arg(long, global = true, value_name = "DIR", env = "XTASK_ROOT", hide_env_values = true)]
    pub root: Option<PathBuf>,
    /// Read settings from this file instead of .config/xtask.toml
    #[arg(long, global = true, value_name = "FILE", env = "XTASK_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Never touch a network
    #[arg(long, global = true)]
    pub offline: bool,
    /// Which network this is: internal, external or auto
    #[arg(long, global = true, value_name = "NETWORK")]
    pub network: Option<NetworkChoice>,
    /// Probe the network again even if a recent verdict is known
    #[arg(long, global = true)]
    pub no_cache_verdict: bool,
    /// How to show what happens
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        default_value = "auto",
        env = "XTASK_PROGRESS",
        hide_env_values = true
    )]
    pub progress: ProgressChoice,
    /// Install what is missing, start a private engine, make base images that no registry gives; says each thing
    #[arg(long, global = true)]
    pub bootstrap: bool,
    /// Whether to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "XTASK_COLOR",
        hide_env_values = true
    )]
    pub color: ColourChoice,
    /// Say more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything in order: status, prefetch, alias, sync-config, render, build, verify
    BuildAll(BuildAll),
    /// Say of each image whether it is up to date, and why not
    #[command(visible_alias = "check-status")]
    Status(Status),
    /// Look at the engine, the registries, this machine and the tree, and say what helps
    Doctor(Doctor),
    /// Pull the external base images that the images need
    #[command(visible_alias = "prefetch-images")]
    Prefetch(Prefetch),
    /// Make every base image answer to all its names
    #[command(visible_aliases = ["tag-localhost", "fix-image-aliases"])]
    Alias(Alias),
    /// Bring .env up to .env.example
    SyncConfig(Files),
    /// Render every template
    Render(Render),
    /// Build what is stale, in dependency order, in parallel
    #[command(visible_alias = "build-service")]
    Build(Build),
    /// Build again whenever something changes that a build reads; start services, or run a command
    Watch(Box<Watch>),
    /// Build what is stale, start the compose services that run it, and wait until they are healthy
    Up(Box<Up>),
    /// Stop compose services, and remove their containers
    Down(Down),
    /// Bring an image up to date and run it; ends with what the container ends with
    Run(Box<Run>),
    /// Show what the container of a service prints, one of `run` or of compose
    Logs(Logs),
    /// Run the tests that services name in their service.toml, those that have not passed yet
    Test(Box<Test>),
    /// Show how large images are, layer by layer, and what grew since the build before
    Size(Size),
    /// Open a shell in an image, in one of its stages, or where its build fails
    Shell(Box<OpenShell>),
    /// Check that every image exists, with its tag, size, platform and fingerprint
    Verify(Verify),
    /// Show what build-all would do, with every reason; changes nothing and needs no engine
    Plan(PlanArgs),
    /// Say what Dockerfiles need, one JSON object a line
    Inspect(Inspect),
    /// Push images to the registry in their names
    Push(Push),
    /// Push every image
    PushAll(PushAll),
    /// Bundles: all that a rebuild needs on a machine without a network
    Bundle(Bundle),
    /// Rebuild without any network what has changed, and say first what cannot be
    Rebuild(Rebuild),
    /// The base images: build them, and what belongs to their release
    BaseImages(Box<BaseImages>),
    /// Builders that are no engine: what there is, and what they build for
    Builder(Builder),
    /// The private engine of this tree
    Engine(Engine),
    /// A registry on this machine, to try pushes against by hand
    Registry(LocalRegistry),
    /// List the images that are affected by what changed between two commits
    Affected(Affected),
    /// Share the affected images out among several machines
    Matrix(Matrix),
    /// Write images.lock: the digest of every external image, for --locked
    Lock(Lock),
    /// Remove images, records and caches that nothing needs, after showing them
    Clean(Clean),
    /// Look at a tree, and write down what has to be said of it, after showing it
    Init(Init),
    /// Past runs, with durations, sizes, reasons and outcomes
    History(History),
    /// A run as a page for the browser; prints where it is
    Report(Report),
    /// All checks of this repository, on a private engine and registry of their own
    Ci(Ci),
    /// Print a script that completes `cargo xtask` in a shell
    Completions(Completions),
    /// Print or write manual pages
    Man(Man),
    /// Measure this program on trees made for it, beside `docker buildx bake`
    Bench(Bench),
}

/// `ci`
#[derive(Debug, Args)]
pub struct Ci {
    /// Run the engine tests on these; one that cannot be had is skipped, and with CI set it fails
    #[arg(
        long,
        value_name = "VERSIONS",
        value_enum,
        value_delimiter = ',',
        default_values_t = EngineVersion::ALL
    )]
    pub engines: Vec<EngineVersion>,
}

/// `build-all`
#[derive(Debug, Args)]
pub struct BuildAll {
    #[command(flatten)]
    pub tagged: Tagged,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Make the preferred name win where two names of a base image are different images
    #[arg(long)]
    pub fix: bool,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub building: Building,
    #[command(flatten)]
    pub pulling: Pulling,
    #[command(flatten)]
    pub naming: Naming,
    #[command(flatten)]
    pub starting: Starting,
    #[command(flatten)]
    pub reporting: Reporting,
}

/// How a query answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Human,
    /// One JSON document on stdout
    Json,
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub tagged: Tagged,
    /// List what changed since this image was built, file by file
    #[arg(long, value_name = "NAME")]
    pub explain: Option<String>,
    /// How to answer
    #[arg(long, default_value = "human")]
    pub format: Format,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub naming: Naming,
    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

/// `prefetch`
#[derive(Debug, Args)]
pub struct Prefetch {
    /// References, or services whose base images are meant [default: all]
    #[arg(value_name = "IMAGE or SERVICE")]
    pub what: Vec<String>,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Ask registries whether tags moved, and pull what did
    #[arg(long)]
    pub pull: bool,
    /// A failed pull fails the run
    #[arg(long)]
    pub strict_prefetch: bool,
    /// Further tries after a transient failure
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Pull nothing but what images.lock says
    #[arg(long)]
    pub locked: bool,
    /// With --locked: pull also what is another image here, and move its name
    #[arg(long)]
    pub fix: bool,
    #[command(flatten)]
    pub naming: Naming,
    #[command(flatten)]
    pub reporting: Reporting,
}

/// `alias`
#[derive(Debug, Args)]
pub struct Alias {
    /// Base images, by any of their names [default: all that the Dockerfiles name]
    #[arg(value_name = "REF")]
    pub refs: Vec<String>,
    /// Change nothing, exit 15 on any gap or conflict
    #[arg(long, conflicts_with_all = ["fix", "dry_run"])]
    pub check: bool,
    /// Make the preferred name win where two names are different images
    #[arg(long)]
    pub fix: bool,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub naming: Naming,
}

/// `sync-config` and `render`
#[derive(Debug, Args)]
pub struct Files {
    /// Change nothing, exit 15 if anything would change
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,
    /// Print what would change and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `render`
#[derive(Debug, Args)]
pub struct Render {
    /// How much is done.
    #[command(flatten)]
    pub files: Files,
    /// Write committed files too that differ from what their templates render to, and that xtask did not write
    #[arg(long)]
    pub force: bool,
}

/// `build`
#[derive(Clone, Debug, Default, Args)]
pub struct Build {
    /// Services or images, and what they build on [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// The tag of what is built
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Build this stage of theirs, as an image of its own: IMAGE.STAGE
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub building: Building,
    #[command(flatten)]
    pub pulling: Pulling,
    #[command(flatten)]
    pub naming: Naming,
    #[command(flatten)]
    pub reporting: Reporting,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    pub tagged: Tagged,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub naming: Naming,
    #[command(flatten)]
    pub elsewhere: Elsewhere,
    #[command(flatten)]
    pub reporting: Reporting,
}

/// How `plan` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people
    #[default]
    #[value(alias = "human")]
    Text,
    /// One JSON document on stdout
    Json,
    /// Graphviz
    Dot,
    /// A file for `docker buildx bake -f`, run at the root
    Bake,
}

/// `plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub tagged: Tagged,
    /// How to answer
    #[arg(long, default_value = "text")]
    pub format: PlanFormat,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub building: Building,
    #[command(flatten)]
    pub pulling: Pulling,
    #[command(flatten)]
    pub naming: Naming,
}

/// `inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// Dockerfiles
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// A build arg; repeat for more
    #[arg(long, value_name = "NAME=VALUE", action = clap::ArgAction::Append)]
    pub build_arg: Vec<String>,
    /// The platform to build for
    #[arg(long, value_name = "OS/ARCH", value_parser = known_platform)]
    pub platform: Option<Platform>,
    /// The answer is always one JSON object a line
    #[arg(long, default_value = "json", value_parser = ["json"], hide = true)]
    pub format: String,
}

/// `push`
#[derive(Debug, Args)]
pub struct Push {
    /// Services or images
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
    /// The tag to push
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub naming: Naming,
    #[command(flatten)]
    pub reporting: Reporting,
}

/// `push-all`
#[derive(Debug, Args)]
pub struct PushAll {
    #[command(flatten)]
    pub tagged: Tagged,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub naming: Naming,
    #[command(flatten)]
    pub reporting: Reporting,
}

/// `builder`
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct Builder {
    /// What to do with them.
    #[command(subcommand)]
    pub command: BuilderCommand,
}

/// What to do with builders.
#[derive(Debug, Subcommand)]
pub enum BuilderCommand {
    /// List the instances of buildx, and the builder of the settings, with their nodes
    List {
        /// How to answer
        #[arg(long, default_value = "human")]
        format: Format,
    },
    /// Start a private builder of this tree, or say that it runs: `--builder private`
    Up,
    /// End it; its cache stays unless --purge
    Down {
        /// Remove its cache too
        #[arg(long)]
        purge: bool,
    },
    /// Say what one builder is, and what it builds for
    Inspect {
        /// An endpoint, or an instance of buildx [default: the builder of the settings]
        #[arg(value_name = "BUILDER")]
        name: Option<String>,
        /// How to answer
        #[arg(long, default_value = "human")]
        format: Format,
    },
}

/// `engine`
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct Engine {
    /// What to do with it.
    #[command(subcommand)]
    pub command: EngineCommand,
}

/// What to do with the private engine.
#[derive(Debug, Subcommand)]
pub enum EngineCommand {
    /// Start it, or say that it runs
    Up,
    /// Stop it and remove its bridge; images stay unless --purge
    Down {
        /// Remove its images and all its data too
        #[arg(long)]
        purge: bool,
    },
    /// Say whether it runs, and where
    Status {
        /// Exit 12 unless it runs
        #[arg(long)]
        check: bool,
        /// How to answer
        #[arg(long, default_value = "human")]
        format: Format,
    },
}

/// `history`
#[derive(Debug, Args)]
pub struct History {
    /// Only runs that dealt with this image, and how it fared
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// The same
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub image: Option<String>,
    /// At most this many runs, newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// How to answer
    #[arg(long, default_value = "human")]
    pub format: Format,
}

/// `report`
#[derive(Debug, Args)]
pub struct Report {
    /// A run: its id, or how that begins; latest, previous; or its folder [default: the latest]
    #[arg(value_name = "RUN", default_value = "latest", hide_default_value = true)]
    pub run: String,
    /// Open it in the browser
    #[arg(long)]
    pub open: bool,
}

/// `bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// Services in the tree that is made for it
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub services: usize,
    /// Files in each service
    #[arg(long, value_name = "N", default_value_t = 51)]
    pub files: usize,
    /// Runs of each command that are counted; one more comes first
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub runs: usize,
}

/// `Some(true)` where a switch was given, so that lower layers may still say yes.
fn given(switch: bool) -> Option<bool> {
    switch.then_some(true)
}

impl Global {
    /// What these options set.
    pub fn layer(&self) -> Layer {
        Layer {
            offline: given(self.offline),
            network: self.network,
            verbose: given(self.verbose > 0),
            ..Layer::default()
        }
    }
}
