//! One layer of settings: what one source says, and nothing about what it does not say.
//!
//! In: texts of settings files, single values from variables. Out: [`Layer`]s and their merge. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;

use crate::model::{
    CacheWays, Modes, Network, ParsePlatformError, Platform, Provenance, Recipe, Reference, RegistryPrefix,
};

use super::{ContextChoice, Secret, SecretArgs, ServiceNames, Ssh};

/// What one source sets. Field names are the keys of the settings files; [`super::Config`] says what they mean.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of Config and are described there and in SETTINGS")]
pub struct Layer {
    pub services: Option<Vec<TreeGlob>>,
    pub base_images: Option<Vec<TreeGlob>>,
    pub prefix: Option<String>,
    pub tag: Option<Tag>,
    pub registry: Option<OptionalRegistry>,
    pub internal_registry: Option<OptionalRegistry>,
    pub network: Option<NetworkChoice>,
    pub offline: Option<bool>,
    pub mirrors: BTreeMap<String, Vec<RegistryPrefix>>,
    pub aliases: BTreeMap<String, String>,
    pub templates: Option<Vec<TreeGlob>>,
    pub templates_skip: Option<Vec<TreeGlob>>,
    pub variables: BTreeMap<String, Variable>,
    pub compose: Option<Vec<String>>,
    pub definitions: Option<Vec<String>>,
    pub contexts: BTreeMap<String, String>,
    pub dollar_names: Option<Vec<String>>,
    pub name: Option<ServiceNames>,
    pub context: Option<ContextChoice>,
    pub modes: Option<Modes>,
    pub platform: Option<Platforms>,
    pub builder: Option<String>,
    pub provenance: Option<Provenance>,
    pub sbom: Option<bool>,
    pub reproducible: Option<bool>,
    pub build_args: BTreeMap<String, Scalar>,
    pub secret_args: Option<SecretArgs>,
    pub secrets: BTreeMap<String, Secret>,
    pub ssh: BTreeMap<String, Ssh>,
    pub jobs: Option<Positive>,
    pub pulls_per_registry: Option<Positive>,
    pub stall: Option<Positive>,
    pub retries: Option<u32>,
    pub strict_prefetch: Option<bool>,
    pub skip_prefetch: Option<bool>,
    pub locked: Option<bool>,
    pub cache_from: Option<CacheWays>,
    pub cache_to: Option<CacheWays>,
    pub images_lock: Option<String>,
    pub force: Option<bool>,
    pub skip_cache_check: Option<bool>,
    pub keep_runs: Option<Positive>,
    pub verbose: Option<bool>,
    pub recipes: BTreeMap<Reference, Recipe>,
    pub base_image: BaseImageLayer,
    pub artifact: ArtifactLayer,
    pub registry_port: Option<Port>,
}

/// The table `base_image`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of BaseImageSettings and are described there")]
pub struct BaseImageLayer {
    pub name: Option<ImageBaseName>,
    pub version: Option<Version>,
    pub versions: Option<Vec<Version>>,
    pub only: Option<Vec<String>>,
    pub skip: Option<Vec<String>>,
    pub jobs: Option<Positive>,
    pub push: Option<bool>,
    pub docker_args: Option<String>,
}

/// The table `artifact`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of ArtifactSettings and are described there")]
pub struct ArtifactLayer {
    pub url: Option<String>,
    pub mirrors: Option<Vec<String>>,
    pub lock: Option<String>,
    pub cache: Option<String>,
    pub sample: Option<bool>,
}

impl BaseImageLayer {
    fn or(self, lower: Self) -> Self {
        Self {
            name: self.name.or(lower.name),
            version: self.version.or(lower.version),
            versions: self.versions.or(lower.versions),
            only: self.only.or(lower.only),
            skip: self.skip.or(lower.skip),
            jobs: self.jobs.or(lower.jobs),
            push: self.push.or(lower.push),
            docker_args: self.docker_args.or(lower.docker_args),
        }
    }
}

impl ArtifactLayer {
    fn or(self, lower: Self) -> Self {
        Self {
            url: self.url.or(lower.url),
            mirrors: self.mirrors.or(lower.mirrors),
            lock: self.lock.or(lower.lock),
            cache: self.cache.or(lower.cache),
            sample: self.sample.or(lower.sample),
        }
    }
}

impl Layer {
    /// Fills what this layer leaves open from a lower one. Tables are merged key by key, lists replaced whole.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        fn merge<K: Ord, V>(upper: BTreeMap<K, V>, mut lower: BTreeMap<K, V>) -> BTreeMap<K, V> {
            lower.extend(upper);
            lower
        }
        Self {
            services: self.services.or(lower.services),
            base_images: self.base_images.or(lower.base_images),
            prefix: self.prefix.or(lower.prefix),
            tag: self.tag.or(lower.tag),
            registry: self.registry.or(lower.registry),
            internal_registry: self.internal_registry.or(lower.internal_registry),
            network: self.network.or(lower.network),
            offline: self.offline.or(lower.offline),
            mirrors: merge(self.mirrors, lower.mirrors),
            aliases: merge(self.aliases, lower.aliases),
            templates: self.templates.or(lower.templates),
            templates_skip: self.templates_skip.or(lower.templates_skip),
            variables: merge(self.variables, lower.variables),
            compose: self.compose.or(lower.compose),
            definitions: self.definitions.or(lower.definitions),
            contexts: merge(self.contexts, lower.contexts),
            dollar_names: self.dollar_names.or(lower.dollar_names),
            name: self.name.or(lower.name),
            context: self.context.or(lower.context),
            modes: self.modes.or(lower.modes),
            platform: self.platform.or(lower.platform),
            builder: self.builder.or(lower.builder),
            provenance: self.provenance.or(lower.provenance),
            sbom: self.sbom.or(lower.sbom),
            reproducible: self.reproducible.or(lower.reproducible),
            build_args: merge(self.build_args, lower.build_args),
            jobs: self.jobs.or(lower.jobs),
            secret_args: self.secret_args.or(lower.secret_args),
            secrets: merge(self.secrets, lower.secrets),
            ssh: merge(self.ssh, lower.ssh),
            pulls_per_registry: self.pulls_per_registry.or(lower.pulls_per_registry),
            stall: self.stall.or(lower.stall),
            retries: self.retries.or(lower.retries),
            strict_prefetch: self.strict_prefetch.or(lower.strict_prefetch),
            skip_prefetch: self.skip_prefetch.or(lower.skip_prefetch),
            locked: self.locked.or(lower.locked),
            cache_from: self.cache_from.or(lower.cache_from),
            cache_to: self.cache_to.or(lower.cache_to),
            images_lock: self.images_lock.or(lower.images_lock),
            force: self.force.or(lower.force),
            skip_cache_check: self.skip_cache_check.or(lower.skip_cache_check),
            keep_runs: self.keep_runs.or(lower.keep_runs),
            verbose: self.verbose.or(lower.verbose),
            recipes: merge(self.recipes, lower.recipes),
            base_image: self.base_image.or(lower.base_image),
            artifact: self.artifact.or(lower.artifact),
            registry_port: self.registry_port.or(lower.registry_port),
        }
    }
}

/// Where a variable of templates has its value from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Variable {
    /// It stands there.
    Value(String),
    /// A variable of the environment: `{ env = "NAME" }`.
    Env(String),
    /// What a shell command prints: `{ command = "…" }`.
    Command(String),
}

impl TryFrom<toml::Value> for Variable {
    type Error = &'static str;

    fn try_from(value: toml::Value) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "a variable is a value, `{ env = \"NAME\" }` or `{ command = \"…\" }`";
        match value {
            toml::Value::String(text) => Ok(Self::Value(text)),
            toml::Value::Integer(number) => Ok(Self::Value(number.to_string())),
            toml::Value::Boolean(flag) => Ok(Self::Value(flag.to_string())),
            toml::Value::Table(table) => match table.iter().next() {
                Some((key, toml::Value::String(name))) if table.len() == 1 && key == "env" => {
                    Ok(Self::Env(name.clone()))
                }
                Some((key, toml::Value::String(text))) if table.len() == 1 && key == "command" => {
                    Ok(Self::Command(text.clone()))
                }
                _ => Err(EXPECTED),
            },
            toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Array(_) => Err(EXPECTED),
        }
    }
}

/// `auto`, `internal` or `external`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum NetworkChoice {
    /// Probe.
    Auto,
    /// As said, without a probe.
    Fixed(Network),
}

impl std::str::FromStr for NetworkChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "internal" => Ok(Self::Fixed(Network::Internal)),
            "external" => Ok(Self::Fixed(Network::External)),
            _ => Err(format!("`{text}` is not a network: expected `internal`, `external` or `auto`")),
        }
    }
}

/// A registry, or an empty text that says that there is none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct OptionalRegistry(pub Option<RegistryPrefix>);

impl std::str::FromStr for OptionalRegistry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        let registry = text.parse::<RegistryPrefix>().map_err(|_| {
            format!("`{text}` is not a registry: expected a host such as `harbor.example.com/project`")
        });
        registry.map(|registry| Self(Some(registry)))
    }
}

/// A tag that a reference can carry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Tag(pub String);

impl std::str::FromStr for Tag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match format!("x:{text}").parse::<Reference>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(format!(
                "`{text}` is not a tag: up to 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-`"
            )),
        }
    }
}

/// A version of the framework, such as `1.2.3`; it becomes part of a tag and of a file's name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Version(pub String);

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The longest `latest-OS` or `V-OS` has to be a tag.
        let is_tag = text.len() <= 64 && !text.contains(['/', ':']) && text.parse::<Tag>().is_ok();
        if is_tag && text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains("..") {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{text}` is not a version: it begins with a digit and goes on with letters, digits, `.`, `_` and `-`, as `1.2.3`"
        ))
    }
}

/// What base images are called, without registry and tag.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ImageBaseName(pub String);

impl std::str::FromStr for ImageBaseName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Below a domain the first part of a path is none.
        let is_path = format!("registry.example.com/{text}:1").parse::<Reference>().is_ok();
        if is_path && !text.contains([':', '@']) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("`{text}` is not an image name without registry and tag, such as `fit-framework`"))
    }
}

/// A TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Port(pub u16);

impl TryFrom<u64> for Port {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        match u16::try_from(number) {
            Ok(port) if port > 0 => Ok(Self(port)),
            _ => Err(format!("`{number}` is not a port: expected 1 to 65535")),
        }
    }
}

impl std::str::FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: u64 = text.parse().map_err(|_| format!("`{text}` is not a port: expected 1 to 65535"))?;
        Self::try_from(number)
    }
}

/// A glob of paths inside the tree: relative, with `/`, never going up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TreeGlob(pub String);

impl std::str::FromStr for TreeGlob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cleaned = text.trim_start_matches("./").trim_end_matches('/');
        if cleaned.is_empty() {
            return Err(format!("`{text}` is not a glob inside the tree, such as `src/*`"));
        }
        if cleaned.starts_with('/') || cleaned.split('/').any(|part| part == "..") {
            return Err(format!("`{text}` leads out of the tree: globs are relative to the root"));
        }
        // Globs are matched part by part.
        if cleaned.split('/').any(|part| part.matches('{').count() != part.matches('}').count()) {
            return Err(format!("`{text}` has a `/` inside of braces: write two globs"));
        }
        match globset::Glob::new(cleaned) {
            Ok(_) => Ok(Self(cleaned.to_owned())),
            Err(error) => Err(format!("`{text}` is not a glob: {}", error.kind())),
        }
    }
}

/// A number of at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Positive(pub usize);

impl TryFrom<u64> for Positive {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        match usize::try_from(number) {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(format!("`{number}` is out of range: expected 1 or more")),
        }
    }
}

impl std::str::FromStr for Positive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: u64 = text.parse().map_err(|_| format!("`{text}` is not a number of 1 or more"))?;
        Self::try_from(number)
    }
}

/// A text; numbers and yes/no may stand without quotes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawScalar")]
pub struct Scalar(pub String);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, a number or true/false")]
enum RawScalar {
    Text(String),
    Flag(bool),
    Whole(i64),
    Real(f64),
}

impl From<RawScalar> for Scalar {
    fn from(raw: RawScalar) -> Self {
        Self(match raw {
            RawScalar::Text(text) => text,
            RawScalar::Flag(flag) => flag.to_string(),
            RawScalar::Whole(number) => number.to_string(),
            RawScalar::Real(number) => number.to_string(),
        })
    }
}

/// Platforms, once each: `linux/amd64,linux/arm64`, or a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawPlatforms")]
pub struct Platforms(pub Vec<Platform>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a platform such as `linux/amd64`, or a list of them")]
enum RawPlatforms {
    Text(String),
    List(Vec<String>),
}

impl TryFrom<RawPlatforms> for Platforms {
    type Error = String;

    fn try_from(raw: RawPlatforms) -> Result<Self, String> {
        match raw {
            RawPlatforms::Text(text) => text.parse(),
            RawPlatforms::List(all) => all.join(",").parse(),
        }
    }
}

impl FromStr for Platforms {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let all = items.map(|item| item.parse().map_err(|error: ParsePlatformError| error.to_string()));
        Ok(all.collect::<Result<Vec<Platform>, String>>()?.into_iter().collect())
    }
}

impl FromIterator<Platform> for Platforms {
    fn from_iter<I: IntoIterator<Item = Platform>>(all: I) -> Self {
        let mut once: Vec<Platform> = Vec::new();
        for platform in all {
            if !once.contains(&platform) {
                once.push(platform);
            }
        }
        Self(once)
    }
}

/// `try_from = "String"` for what knows how to parse itself.
macro_rules! from_string {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    )*};
}
from_string!(NetworkChoice, OptionalRegistry, Tag, TreeGlob, Version, ImageBaseName);

/// `true/false`, `1/0`, `yes/no`, `on/off`, in any case: the old scripts wrote `true`, people write all of them.
///
/// # Errors
/// Any other text.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither yes nor no: expected `true` or `false`")),
    }
}
