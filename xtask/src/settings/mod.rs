//! The settings of a run, complete: every layer applied, nothing optional that planning would have to guess.
//!
//! flag > environment > `.env` > `.config/xtask.local.toml` > `.config/xtask.toml` > built-in (`default.toml`).
//! Planners read this struct; only `load.rs` touches files and only `env.rs` the environment.

mod docker_args;
pub mod dotenv;
pub mod env;
pub mod interpolate;
mod layer;
mod load;
mod secret;
mod table;
pub mod toml_words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

pub use docker_args::DockerArgs;
pub use layer::{
    ArtifactLayer, BaseImageLayer, ImageBaseName, Layer, NetworkChoice, OptionalRegistry, Platforms, Port,
    Positive, Scalar, Tag, TreeGlob, Variable, Version, parse_bool,
};
pub use load::{ConfigError, EnvFiles, Root, built_in, find_root, is_socket, load, parse_build_arg};
pub use secret::{Secret, SecretFlag, Ssh, SshFlag};
pub use table::{SETTINGS, Setting, settings_table};

use self::env::Env;
use crate::model::{
    AliasRules, ArtifactKind, Attestations, BuildSecrets, BuilderCaches, Modes, Network, Platform, Recipe,
    Reference, RegistryPrefix,
};

/// Which stages of services are images of their own, beside what the services are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stages {
    /// None.
    #[default]
    No,
    /// Those of this name (`build --target`).
    Named(String),
    /// Those that are tests.
    Tests,
}

/// Everything that decides what a run does. Built by [`load()`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The tree's root, absolute.
    pub root: PathBuf,
    /// Globs of service folders, or of their Dockerfiles, relative to the root: `src/*`.
    pub services: Vec<String>,
    /// Globs of base-image folders: `docker/base-images/*`.
    pub base_images: Vec<String>,
    /// What every image name begins with; empty by default.
    pub prefix: String,
    /// The tag of what is built.
    pub tag: String,
    /// `--registry`: images get this registry's name, the plain name stays as a local alias.
    pub registry: Option<RegistryPrefix>,
    /// `INTERNAL_REGISTRY`: the one registry that answers inside the company network.
    pub internal_registry: Option<RegistryPrefix>,
    /// `--network internal|external`; none is auto.
    pub network: Option<Network>,
    /// What decided `network`, for the verdict's evidence: `--network`, `AI_INFRA_NETWORK_ENV`, a file.
    pub network_source: Option<String>,
    /// Never touch a network.
    pub offline: bool,
    /// Mirrors by registry domain (`docker.io`), tried in order before the origin.
    pub mirrors: BTreeMap<String, Vec<RegistryPrefix>>,
    /// Path prefixes that tell aliases of different domains apart: `"quay.io" = "quay"`.
    pub alias_prefixes: BTreeMap<String, String>,
    /// Globs of further templates, relative to the root, beyond the services' folders and the root itself.
    pub templates: Vec<String>,
    /// Globs of files and folders whose templates are another program's.
    pub templates_skip: Vec<String>,
    /// Names that templates may ask for beyond those of `.env`. One that is still of the environment is not set there.
    pub variables: BTreeMap<String, Variable>,
    /// `render --force`: files that somebody else committed are written too.
    pub overwrite: bool,
    /// Which stages are images of their own.
    pub stages: Stages,
    /// Compose files, relative to the root; empty is the one that compose finds there.
    pub compose: Vec<String>,
    /// Compose and bake files that define images, relative to the root; of bake files `#` names groups and targets.
    pub definitions: Vec<String>,
    /// What names in every Dockerfile stand for: an image or a folder, relative to the root.
    pub contexts: BTreeMap<String, String>,
    /// Names for which `${NAME}` is replaced too.
    pub dollar_names: Vec<String>,
    /// How services are called that say nothing of it themselves.
    pub name: ServiceNames,
    /// Where build contexts lie.
    pub context: ContextChoice,
    /// What of the context's permission bits counts.
    pub modes: Modes,
    /// The platforms to build for; none is the engine's own, or what a service says.
    pub platforms: Vec<Platform>,
    /// The builder that is used in place of the engine's own: an endpoint, or an instance of buildx. `default` is
    /// the engine's own, whatever buildx was told.
    pub builder: Option<String>,
    /// What a build states about its image.
    pub attestations: Attestations,
    /// The same sources give the same image, bit by bit.
    pub reproducible: bool,
    /// `--build-arg` and config's `build_args`, flags winning. `service.toml` stands between the two, so each
    /// keeps its origin.
    pub build_args: BuildArgs,
    /// What becomes of build args that look like secrets.
    pub secret_args: SecretArgs,
    /// What builds may ask for; a `service.toml` may say more, and what is typed wins.
    pub secrets: BuildSecrets,
    /// IDs of those that were typed.
    pub typed_secrets: BTreeSet<String>,
    /// The environment, for variables that a `service.toml` names.
    pub env: Env,
    /// Builds at the same time; none lets the program choose.
    pub jobs: Option<usize>,
    /// Pulls at the same time from one registry.
    pub pulls_per_registry: usize,
    /// How long a registry may be silent before a try is over.
    pub stall: Duration,
    /// Further tries after a transient failure.
    pub retries: u32,
    /// A failed pull fails the run.
    pub strict_prefetch: bool,
    /// Pull nothing in advance.
    pub skip_prefetch: bool,
    /// Registries that hold build caches.
    pub cache_from: Vec<RegistryPrefix>,
    /// The registry that gets the stages of what was built.
    pub cache_to: Option<RegistryPrefix>,
    /// Caches of the builder's own.
    pub caches: BuilderCaches,
    /// Build on nothing but what the lock of images says.
    pub locked: bool,
    /// The lock of images, relative to the root.
    pub images_lock: String,
    /// Rebuild everything, without the builder's cache.
    pub force: bool,
    /// Rebuild without comparing fingerprints, with the builder's cache (`SKIP_CACHE_CHECK`).
    pub skip_cache_check: bool,
    /// How to make base images that no registry gives.
    pub recipes: BTreeMap<Reference, Recipe>,
    /// What base images are, and which are wanted.
    pub base_image: BaseImageSettings,
    /// What goes into base images.
    pub artifact: ArtifactSettings,
    /// Where a registry on this machine listens; none leaves it to the command.
    pub registry_port: Option<u16>,
    /// How many records of runs are kept.
    pub keep_runs: usize,
    /// `-v`, `DEBUG`: say more.
    pub verbose: bool,
    /// `.env`, or `.env.example` where there is no `.env` yet, as sync-config would leave it, in file order.
    pub dotenv: Vec<(String, String)>,
    /// The two files as they are, for sync-config.
    pub env_files: EnvFiles,
    /// Unknown keys and the like, to be shown once.
    pub warnings: Vec<String>,
}

fn variable(env: &Env, dotenv: &[(String, String)], name: &str) -> Option<String> {
    let of_file = || dotenv.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    env.get(name).map(str::to_owned).or_else(of_file)
}

/// Build args by origin; earlier fields win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildArgs {
    /// `--build-arg K=V`
    pub flags: BTreeMap<String, String>,
    /// `[build_args]` of the settings files.
    pub settings: BTreeMap<String, String>,
}

/// What base images are, and which of them are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseImageSettings {
    /// What they are called, without registry and tag.
    pub name: String,
    /// The default version; none leaves it to the Dockerfiles.
    pub version: Option<String>,
    /// The versions to build; empty is the default one.
    pub versions: Vec<String>,
    /// The systems that `base-images` is about; empty is all.
    pub only: Vec<String>,
    /// Who chose them: `--os`, `ONLY_OS in .env`, a file.
    pub only_source: Option<String>,
    /// The systems that it is not about.
    pub skip: Vec<String>,
    /// Who left them out.
    pub skip_source: Option<String>,
    /// Builds at the same time.
    pub jobs: usize,
    /// Whether `base-images` pushes.
    pub push: bool,
    /// `BUILD_ARGS` as it stands; only `base-images` reads it.
    pub docker_args: String,
    /// What `base-images` read of it.
    pub docker: DockerArgs,
}

/// Where the artifact of base images comes from and is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactSettings {
    /// Template with `{version}`.
    pub url: String,
    /// URL prefixes that are put before the path of the URL, tried in order before the origin.
    pub mirrors: Vec<String>,
    /// The lock file, relative to the root.
    pub lock: String,
    /// The cache, absolute.
    pub cache: PathBuf,
    /// Where the old scripts kept it, absolute.
    pub old_cache: PathBuf,
    /// `--sample-artifact`
    pub sample: bool,
}

impl Config {
    /// What a variable holds that settings name: the environment's, else that of `.env`.
    pub fn variable(&self, name: &str) -> Option<String> {
        variable(&self.env, &self.dotenv, name)
    }

    /// How names of base images are made.
    pub fn alias_rules(&self) -> AliasRules<'_> {
        AliasRules { internal_registry: self.internal_registry.as_ref(), prefixes: &self.alias_prefixes }
    }
}

impl ArtifactSettings {
    /// Which artifact is asked for. Nothing but a flag or a `file://` URL asks for the sample.
    pub fn kind(&self) -> ArtifactKind {
        if self.sample || self.url.starts_with("file://") {
            ArtifactKind::Sample
        } else {
            ArtifactKind::Release
        }
    }
}

/// What becomes of build args that look like secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretArgs {
    /// They are named before anything is built or pushed.
    #[default]
    Warn,
    /// Nothing is built or pushed.
    Refuse,
}

impl std::str::FromStr for SecretArgs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "warn" => Ok(Self::Warn),
            "refuse" => Ok(Self::Refuse),
            _ => Err(format!("`{text}` is neither `warn` nor `refuse`")),
        }
    }
}

/// How services are called that say nothing of it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum ServiceNames {
    /// By their folder, or by the own part of their Dockerfile's name.
    #[default]
    Folder,
    /// By all folders on the way to them, from where a glob begins to name any: `8.0-alpine-amd64`.
    Path,
    /// By a text with `{path}`, `{folder}` and `{parent}` in it.
    Template(String),
}

impl std::str::FromStr for ServiceNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let template = text.strip_prefix("template ").map(str::trim);
        match (text, template) {
            ("folder", _) => Ok(Self::Folder),
            ("path", _) => Ok(Self::Path),
            (_, Some(template)) => {
                let bare = ["{path}", "{folder}", "{parent}"]
                    .iter()
                    .fold(template.to_owned(), |left, word| left.replace(word, ""));
                if bare.contains(['{', '}']) || bare == template {
                    let why = "takes `{path}`, `{folder}` and `{parent}`, at least one of them";
                    return Err(format!("`{template}`: a template {why}"));
                }
                Ok(Self::Template(template.to_owned()))
            }
            _ => {
                Err(format!("`{text}` is no way to name services: expected `folder`, `path` or `template …`"))
            }
        }
    }
}

impl TryFrom<String> for ServiceNames {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Where build contexts lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContextChoice {
    /// The service's folder or the root: whichever has more of the COPY and ADD sources, a tie being the folder.
    #[default]
    Auto,
    /// The service's folder.
    Service,
    /// The root.
    Root,
}

impl std::str::FromStr for ContextChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "service" => Ok(Self::Service),
            "root" => Ok(Self::Root),
            _ => Err(format!("`{text}` is not a context: expected `service`, `root` or `auto`")),
        }
    }
}
