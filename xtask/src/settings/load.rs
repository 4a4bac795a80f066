//! Finds the root and reads every source of settings into one [`Config`].
//!
//! In: the command line's layer, the environment's snapshot, files below the root. Out: the complete settings, or
//! the first error with its place. It reads files and nothing else; it writes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use crate::model::suggest::did_you_mean;
use crate::model::{
    ArtifactKind, Attestations, BuildSecrets, BuilderCache, BuilderCaches, CacheWay, CacheWays, Diagnostic,
    RegistryPrefix,
};
use crate::settings::dotenv::{self, Dotenv};
use crate::settings::env::Env;
use crate::settings::toml_words;

use super::layer::{ArtifactLayer, BaseImageLayer, Layer, NetworkChoice, Variable};
use super::secret::AGENT;
use super::table::{Refused, SETTINGS};
use super::{ArtifactSettings, BaseImageSettings, BuildArgs, Config, Secret, Ssh};

/// The project's settings, relative to the root.
const PROJECT_FILE: &str = ".config/xtask.toml";
/// One person's settings for it; git ignores the file.
const LOCAL_FILE: &str = ".config/xtask.local.toml";
const ENV_FILE: &str = ".env";
const ENV_EXAMPLE: &str = ".env.example";
/// The variable of the old scripts that says the tag of what is built.
const IMAGE_TAG: &str = "IMAGE_TAG";
const BUILT_IN: &str = include_str!("default.toml");

/// Settings that cannot be used. All of them end with exit code 10.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A line of a file; the place is part of the text.
    #[error("{}: {}", .0.place(), .0.message)]
    Invalid(Diagnostic),
    /// A variable of the environment.
    #[error("environment variable {name}: {why}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong with its value.
        why: String,
    },
    /// A file that is there (or was named) and cannot be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// There is no root to work on.
    #[error("{path} cannot be the root: {why}", path = .path.display())]
    Root {
        /// What was looked at.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Invalid(at) => format!("edit {}", at.place()),
            Self::Variable { name, .. } => format!("set {name} to a value it can have, or unset it"),
            Self::Unreadable { file, .. } => format!("see whether {file} exists and you may read it"),
            Self::Root { .. } => "name the tree's root with --root DIR".to_owned(),
        }
    }
}

/// `.env.example` and `.env` as they are on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFiles {
    /// `.env.example`
    pub example: Option<String>,
    /// `.env`
    pub current: Option<String>,
}

/// A tree's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Absolute.
    pub path: PathBuf,
    /// What it was taken for, where that need not be what somebody means.
    pub guessed: Option<&'static str>,
}

/// The tree's root: `--root`, else the nearest ancestor of `cwd` with `.config/xtask.toml`, else the Cargo workspace
/// that cargo runs this program of, else the git repository that `cwd` is in, else `cwd`.
///
/// # Errors
/// When it is not a folder.
pub fn find_root(explicit: Option<&Path>, cwd: &Path, env: &Env) -> Result<Root, ConfigError> {
    let found = |path: &Path, guessed| Ok(Root { path: folder(path)?, guessed });
    if let Some(named) = explicit {
        return found(&cwd.join(named), None);
    }
    let repository = cwd.ancestors().find(|dir| dir.join(".git").exists());
    if let Some(marked) = cwd.ancestors().find(|dir| dir.join(PROJECT_FILE).is_file()) {
        // Settings of a home folder, say, above a repository that knows nothing of them.
        let is_around =
            repository.is_some_and(|repository| repository != marked && repository.starts_with(marked));
        return found(
            marked,
            is_around.then_some("it has .config/xtask.toml, and is around this repository"),
        );
    }
    // `cargo run` names the package's folder.
    let run_by_cargo = env.get_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    if let Some(workspace) = run_by_cargo.filter(|dir| is_of_this_program(dir)).and_then(|dir| tree_of(&dir))
    {
        let workspace = &workspace;
        let is_elsewhere = !cwd.starts_with(workspace);
        return found(workspace, is_elsewhere.then_some("the workspace that cargo runs xtask of"));
    }
    match repository {
        Some(repository) => found(repository, Some("this git repository")),
        None => found(cwd, Some("the working directory")),
    }
}

/// Whether a package is a team's own xtask; cargo may run anything, and that may start this program.
fn is_of_this_program(package: &Path) -> bool {
    let manifest = fs::read_to_string(package.join("Cargo.toml")).unwrap_or_default();
    (package.ends_with("xtask") && package.is_dir()) || manifest.contains(env!("CARGO_PKG_NAME"))
}

/// The tree that a package belongs to: its workspace; of a package that is none of one, the git repository around it, else
/// the folder that it lies in.
fn tree_of(package: &Path) -> Option<PathBuf> {
    let repository = package.ancestors().find(|dir| dir.join(".git").exists());
    if repository == Some(package) {
        return Some(package.to_owned());
    }
    let is_workspace = |dir: &&Path| {
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim_start().starts_with("[workspace]"))
    };
    let is_inside = |dir: &&Path| repository.is_none_or(|repository| dir.starts_with(repository));
    let workspace = package.ancestors().skip(1).take_while(is_inside).find(is_workspace);
    workspace.or(repository).or_else(|| package.parent()).map(Path::to_owned)
}

fn folder(path: &Path) -> Result<PathBuf, ConfigError> {
    let error = |why: String| ConfigError::Root { path: path.to_owned(), why };
    let real = fs::canonicalize(path).map_err(|cause| error(cause.to_string()))?;
    if real.is_dir() { Ok(real) } else { Err(error("it is not a folder".to_owned())) }
}

/// Reads all settings of the tree at `root`. `flags` is what was typed; `config_file` replaces the project's own
/// settings file.
///
/// # Errors
/// Invalid TOML, a value of the wrong kind, a variable or a `.env` line that cannot be taken, an unreadable file.
pub fn load(root: &Path, flags: Layer, env: &Env, config_file: Option<&Path>) -> Result<Config, ConfigError> {
    let mut warnings = Vec::new();
    let env_files = EnvFiles {
        example: read_optional(root, &root.join(ENV_EXAMPLE))?,
        current: read_optional(root, &root.join(ENV_FILE))?,
    };
    let dotenv = read_dotenv(env, &env_files, &mut warnings)?;

    let project = match config_file {
        Some(named) => (shown(root, named), Some(read_required(root, named)?)),
        None => (PROJECT_FILE.to_owned(), read_optional(root, &root.join(PROJECT_FILE))?),
    };
    let local = (LOCAL_FILE.to_owned(), read_optional(root, &root.join(LOCAL_FILE))?);

    let typed = (flags.secrets.clone(), flags.ssh.clone());
    let mut sources =
        vec![Source::of_flags(flags), Source::of_environment(env)?, Source::of_dotenv(&dotenv)?];
    for (file, text) in [local, project] {
        if let Some(text) = text {
            sources.push(Source::of_file(&file, &text, &mut warnings)?);
        }
    }
    sources.push(Source::of_file("default.toml", BUILT_IN, &mut warnings)?);
    let config = complete(root, env, sources, dotenv, env_files, warnings);
    check_typed_secrets(&config, typed)?;
    Ok(config)
}

/// Who names a secret on the command line means it to be there, as docker has it. What files name may be missing on a
/// machine that does not build what needs it.
fn check_typed_secrets(
    config: &Config,
    (secrets, agents): (BTreeMap<String, Secret>, BTreeMap<String, Ssh>),
) -> Result<(), ConfigError> {
    let unset = |flag: &str, id: &str, name: &str| ConfigError::Variable {
        name: name.to_owned(),
        why: format!("it is not set, and `{flag} {id}` takes it"),
    };
    let is_missing = |(id, _): &(&String, &Secret)| !config.secrets.secrets.contains_key(*id);
    if let Some((id, secret)) = secrets.iter().find(is_missing) {
        let path = match secret {
            Secret::Env(name) => return Err(unset("--secret", &format!("id={id}"), name)),
            Secret::File(path) => config.root.join(path),
            Secret::Named(id) => config.root.join(id),
        };
        let file = shown(&config.root, &path);
        let not_a_file = || io::Error::other("it is no file");
        let source = fs::metadata(&path).err().unwrap_or_else(not_a_file);
        return Err(ConfigError::Unreadable { file, source });
    }
    match agents.keys().find(|id| !config.secrets.ssh.contains_key(*id)) {
        Some(id) => Err(unset("--ssh", id, AGENT)),
        None => Ok(()),
    }
}

/// What was typed over the built-in settings, and nothing else: for looking on where the settings of the tree at `root`
/// cannot be used.
///
/// # Errors
/// None that a person can cause: the built-in settings are part of the program.
pub fn built_in(root: &Path, flags: Layer, env: &Env) -> Result<Config, ConfigError> {
    let mut warnings = Vec::new();
    let built_in = Source::of_file("default.toml", BUILT_IN, &mut warnings)?;
    let sources = vec![Source::of_flags(flags), built_in];
    Ok(complete(root, env, sources, ReadDotenv::default(), EnvFiles::default(), warnings))
}

/// `K=V` of `--build-arg`; a bare `K` takes its value from the environment, and is left out when that has none
/// (as docker has it).
///
/// # Errors
/// When there is no name.
pub fn parse_build_arg(text: &str, env: &Env) -> Result<Option<(String, String)>, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, env.get(text)),
    };
    if name.trim().is_empty() {
        return Err(format!("`{text}` is not a build arg: expected `NAME=value` or `NAME`"));
    }
    Ok(value.map(|value| (name.to_owned(), value.to_owned())))
}

/// One layer, and which name set what in it.
struct Source {
    layer: Layer,
    /// What to call the origin of a key that is not in `names`.
    label: String,
    /// Which variable set a key.
    names: BTreeMap<&'static str, String>,
}

impl Source {
    fn of_flags(layer: Layer) -> Self {
        Self { layer, label: "the command line".to_owned(), names: BTreeMap::new() }
    }

    fn of_environment(env: &Env) -> Result<Self, ConfigError> {
        let mut source = Self::of_flags(Layer::default());
        source.take_variables(
            |name| env.get(name).map(|value| (value, name.to_owned())),
            |name, why| ConfigError::Variable { name: name.to_owned(), why },
        )?;
        Ok(source)
    }

    fn of_dotenv(dotenv: &ReadDotenv) -> Result<Self, ConfigError> {
        let mut source = Self::of_flags(Layer::default());
        source.take_variables(
            |name| {
                let (_, value) = dotenv.values.iter().find(|(key, _)| key == name)?;
                Some((value.as_str(), format!("{name} in {}", dotenv.file_of(name))))
            },
            |name, why| ConfigError::Invalid(dotenv.at(name, format!("{name}: {why}"))),
        )?;
        Ok(source)
    }

    fn of_file(file: &str, text: &str, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let layer = parse_file(file, text, warnings)?;
        Ok(Self { layer, label: file.to_owned(), names: BTreeMap::new() })
    }

    /// Fills the layer from variables; of two names of one setting the first that says something counts.
    fn take_variables<'a>(
        &mut self,
        get: impl Fn(&'static str) -> Option<(&'a str, String)>,
        error: impl Fn(&'static str, String) -> ConfigError,
    ) -> Result<(), ConfigError> {
        for setting in SETTINGS {
            for name in setting.variables() {
                let Some((text, origin)) = get(name) else { continue };
                // `IMAGE_TAG=` is how shell scripts and env files say nothing.
                if text.trim().is_empty() && !setting.is_set_by_empty() {
                    continue;
                }
                match setting.take(&mut self.layer, name, text) {
                    Ok(true) => {
                        self.names.insert(setting.key, origin);
                        break;
                    }
                    Ok(false) => {}
                    Err(Refused(why)) => return Err(error(name, why)),
                }
            }
        }
        Ok(())
    }

    fn name_of(&self, key: &str, flag: &str) -> String {
        match self.names.get(key) {
            Some(name) => name.clone(),
            None if self.label == "the command line" => flag.to_owned(),
            None => self.label.clone(),
        }
    }
}

fn parse_file(file: &str, text: &str, warnings: &mut Vec<String>) -> Result<Layer, ConfigError> {
    let invalid = |error: &toml::de::Error| ConfigError::Invalid(toml_words::finding(file, text, error));
    let table = toml::de::DeTable::parse(text).map_err(|error| invalid(&error))?;
    let mut keys: Vec<(String, usize)> = Vec::new();
    for (key, value) in table.get_ref() {
        let name: &str = key.get_ref();
        let is_of_table =
            |setting: &super::Setting| setting.key.split_once('.').is_some_and(|(t, _)| t == name);
        match value.get_ref() {
            toml::de::DeValue::Table(inner) if SETTINGS.iter().any(is_of_table) => {
                let inner = inner.keys().map(|key| (format!("{name}.{}", key.get_ref()), key.span().start));
                keys.extend(inner);
            }
            _ => keys.push((name.to_owned(), key.span().start)),
        }
    }
    keys.sort_by_key(|(_, start)| *start);
    for (name, start) in keys {
        if !SETTINGS.iter().any(|setting| setting.key == name) {
            let meant = did_you_mean(&name, SETTINGS.iter().map(|setting| setting.key));
            let found = Diagnostic::warning(file, 0, format!("unknown key `{name}`{meant}"));
            let found = found.at_offset(text, start);
            warnings.push(format!("{}: {}", found.place(), found.message));
        }
    }
    toml::from_str(text).map_err(|error| invalid(&error))
}

/// `.env` as sync-config will leave it.
#[derive(Default)]
struct ReadDotenv {
    values: Vec<(String, String)>,
    current: Option<Dotenv>,
    example: Option<Dotenv>,
}

impl ReadDotenv {
    fn file_of(&self, key: &str) -> &'static str {
        let is_ours = self.current.as_ref().is_some_and(|current| current.get(key).is_some());
        if is_ours { ENV_FILE } else { ENV_EXAMPLE }
    }

    fn at(&self, key: &str, message: String) -> Diagnostic {
        let file = self.file_of(key);
        let dotenv = if file == ENV_FILE { &self.current } else { &self.example };
        let entry = dotenv.as_ref().and_then(|dotenv| dotenv.get(key));
        let (line, column) = entry.map_or((0, 0), |entry| (entry.line, entry.column));
        Diagnostic { column, ..Diagnostic::error(file, line, message) }
    }
}

fn read_dotenv(env: &Env, files: &EnvFiles, warnings: &mut Vec<String>) -> Result<ReadDotenv, ConfigError> {
    let outside = |name: &str| env.get(name).map(str::to_owned);
    let parse = |file, text: &Option<String>| {
        let read = text.as_deref().map(|text| Dotenv::parse_or(file, text, &outside));
        read.transpose().map_err(ConfigError::Invalid)
    };
    let current = parse(ENV_FILE, &files.current)?;
    let example = parse(ENV_EXAMPLE, &files.example)?;
    if let Some(read) = current.as_ref().or(example.as_ref()) {
        warnings.extend(read.warnings.iter().map(|found| format!("{}: {}", found.place(), found.message)));
    }
    let synced = match &files.example {
        Some(text) => {
            let synced = dotenv::sync((ENV_EXAMPLE, text), (ENV_FILE, files.current.as_deref()));
            Some(synced.map_err(ConfigError::Invalid)?.text)
        }
        None => files.current.clone(),
    };
    let synced = parse(ENV_FILE, &synced)?;
    Ok(ReadDotenv { values: synced.map(|synced| synced.values()).unwrap_or_default(), current, example })
}

/// Caches of our own way, and the builder's, with what opens these.
fn apart(ways: Option<CacheWays>, env: &Env, root: &Path) -> (Vec<RegistryPrefix>, Vec<BuilderCache>) {
    let (mut stages, mut builders) = (Vec::new(), Vec::new());
    for way in ways.unwrap_or_default().0 {
        match way {
            CacheWay::Stages(registry) => stages.push(registry),
            CacheWay::Builder(cache) => {
                builders.push(cache.opened(&|name| env.get(name).map(str::to_owned), root));
            }
        }
    }
    (stages, builders)
}

fn complete(
    root: &Path,
    env: &Env,
    sources: Vec<Source>,
    dotenv: ReadDotenv,
    env_files: EnvFiles,
    warnings: Vec<String>,
) -> Config {
    let source_of = |key: &str, flag: &str, says: fn(&Layer) -> bool| {
        sources.iter().find(|source| says(&source.layer)).map(|source| source.name_of(key, flag))
    };
    let network_source = source_of("network", "--network", |layer| layer.network.is_some());
    let only_source = source_of("base_image.only", "--os", |layer| layer.base_image.only.is_some());
    let skip_source = source_of("base_image.skip", "--skip-os", |layer| layer.base_image.skip.is_some());
    let mut layers = sources.into_iter().map(|source| source.layer);
    let mut flags = layers.next().unwrap_or_default();
    let texts = |args: BTreeMap<String, super::Scalar>| -> BTreeMap<String, String> {
        args.into_iter().map(|(name, value)| (name, value.0)).collect()
    };
    let flag_args = texts(std::mem::take(&mut flags.build_args));
    let typed_secrets = flags.secrets.keys().chain(flags.ssh.keys()).cloned().collect();
    let all = layers.fold(flags, Layer::or);
    let network = match all.network {
        Some(NetworkChoice::Fixed(network)) => Some(network),
        Some(NetworkChoice::Auto) | None => None,
    };
    let (cache_from, from) = apart(all.cache_from, env, root);
    let (mut cache_to, to) = apart(all.cache_to, env, root);
    let caches = BuilderCaches { from, to };
    let tag = all.tag.map(|tag| tag.0).unwrap_or_default();
    let mut values = dotenv.values;
    // What beats `.env` as the tag of what is built beats it wherever that tag is named: `FROM base:${IMAGE_TAG}`.
    for (_, value) in values.iter_mut().filter(|(name, value)| name == IMAGE_TAG && !value.is_empty()) {
        value.clone_from(&tag);
    }
    let globs = |globs: Option<Vec<super::TreeGlob>>| -> Vec<String> {
        globs.unwrap_or_default().into_iter().map(|glob| glob.0).collect()
    };
    let variable = |name: &str| super::variable(env, &values, name);
    let resolved =
        |(id, secret): (String, Secret)| Some((id, secret.resolve(root, variable, Path::is_file)?));
    let secrets = all.secrets.into_iter().filter_map(resolved).collect();
    let resolved = |(id, ssh): (String, Ssh)| Some((id, ssh.resolve(root, variable, is_socket)?));
    let ssh = all.ssh.into_iter().filter_map(resolved).collect();
    let secrets = BuildSecrets { secrets, ssh };
    Config {
        root: root.to_owned(),
        services: globs(all.services),
        base_images: globs(all.base_images),
        prefix: all.prefix.unwrap_or_default(),
        tag,
        registry: all.registry.and_then(|registry| registry.0),
        internal_registry: all.internal_registry.and_then(|registry| registry.0),
        network,
        network_source: network_source.filter(|_| network.is_some()),
        offline: all.offline.unwrap_or_default(),
        mirrors: all.mirrors,
        alias_prefixes: all.aliases,
        templates: globs(all.templates),
        templates_skip: globs(all.templates_skip),
        variables: all
            .variables
            .into_iter()
            .map(|(name, variable)| (name, of_environment(variable, env)))
            .collect(),
        overwrite: false,
        stages: super::Stages::default(),
        compose: all.compose.unwrap_or_default(),
        definitions: all.definitions.unwrap_or_default(),
        contexts: all.contexts,
        dollar_names: all.dollar_names.unwrap_or_default(),
        name: all.name.unwrap_or_default(),
        context: all.context.unwrap_or_default(),
        modes: all.modes.unwrap_or_default(),
        platforms: all.platform.map(|platforms| platforms.0).unwrap_or_default(),
        builder: all.builder.filter(|name| !name.is_empty()),
        attestations: Attestations { provenance: all.provenance, sbom: all.sbom.unwrap_or_default() },
        reproducible: all.reproducible.unwrap_or_default(),
        build_args: BuildArgs { flags: flag_args, settings: texts(all.build_args) },
        secret_args: all.secret_args.unwrap_or_default(),
        secrets,
        typed_secrets,
        env: env.clone(),
        jobs: all.jobs.map(|jobs| jobs.0),
        pulls_per_registry: all.pulls_per_registry.map_or(1, |pulls| pulls.0),
        stall: Duration::from_secs(all.stall.map_or(180, |seconds| seconds.0 as u64)),
        retries: all.retries.unwrap_or_default(),
        strict_prefetch: all.strict_prefetch.unwrap_or_default(),
        skip_prefetch: all.skip_prefetch.unwrap_or_default(),
        locked: all.locked.unwrap_or_default(),
        cache_from,
        cache_to: cache_to.pop(),
        caches,
        images_lock: all.images_lock.unwrap_or_default(),
        force: all.force.unwrap_or_default(),
        skip_cache_check: all.skip_cache_check.unwrap_or_default(),
        recipes: all.recipes,
        base_image: BaseImageSettings { only_source, skip_source, ..base_image_settings(all.base_image) },
        artifact: artifact_settings(root, env, all.artifact),
        registry_port: all.registry_port.map(|port| port.0),
        keep_runs: all.keep_runs.map_or(1, |runs| runs.0),
        verbose: all.verbose.unwrap_or_default(),
        dotenv: values,
        env_files,
        warnings,
    }
}

/// A variable that the environment has is a value from here on.
/// Whether an agent may listen there.
pub fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn of_environment(variable: Variable, env: &Env) -> Variable {
    match variable {
        Variable::Env(name) => {
            env.get(&name).map_or(Variable::Env(name.clone()), |v| Variable::Value(v.to_owned()))
        }
        other @ (Variable::Value(_) | Variable::Command(_)) => other,
    }
}

fn base_image_settings(layer: BaseImageLayer) -> BaseImageSettings {
    let versions = layer.versions.unwrap_or_default().into_iter().map(|version| version.0);
    BaseImageSettings {
        name: layer.name.map(|name| name.0).unwrap_or_default(),
        version: layer.version.map(|version| version.0),
        versions: versions.collect(),
        only: layer.only.unwrap_or_default(),
        only_source: None,
        skip: layer.skip.unwrap_or_default(),
        skip_source: None,
        jobs: layer.jobs.map_or(1, |jobs| jobs.0),
        push: layer.push.unwrap_or_default(),
        docker_args: layer.docker_args.unwrap_or_default(),
        docker: super::DockerArgs::default(),
    }
}

fn artifact_settings(root: &Path, env: &Env, layer: ArtifactLayer) -> ArtifactSettings {
    let of_tree = root.join("target/xtask/cache/artifacts");
    let of_user = env.cache_dir().map_or_else(|| of_tree.clone(), |dir| dir.join("xtask/artifacts"));
    let named = layer.cache.map(|named| root.join(named));
    let mut settings = ArtifactSettings {
        url: layer.url.unwrap_or_default(),
        mirrors: layer.mirrors.unwrap_or_default(),
        lock: layer.lock.unwrap_or_default(),
        cache: named.clone().unwrap_or(of_user),
        old_cache: env.temp_dir().join("fit-framework-cache"),
        sample: layer.sample.unwrap_or_default(),
    };
    if named.is_none() && settings.kind() == ArtifactKind::Sample {
        // It is packed from this tree, and no other one has any use for it.
        settings.cache = of_tree;
    }
    settings
}

fn read_optional(root: &Path, path: &Path) -> Result<Option<String>, ConfigError> {
    match read_required(root, path) {
        Ok(text) => Ok(Some(text)),
        Err(ConfigError::Unreadable { source, .. })
            // A folder called `.env` is a Python environment, not a file of settings.
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn read_required(root: &Path, path: &Path) -> Result<String, ConfigError> {
    let file = shown(root, path);
    let bytes = fs::read(path).map_err(|source| ConfigError::Unreadable { file: file.clone(), source })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        ConfigError::Invalid(Diagnostic::error(file, 0, "the text is not UTF-8").at_offset(&text, valid))
    })
}

/// A path as messages name it: relative to the root where it lies below.
fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests;
