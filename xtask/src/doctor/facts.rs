//! What was seen of the machine, the engine, the registries and the tree. Plain data; nothing here judges.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Network;

/// Everything that a check may look at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The engine.
    pub engine: EngineFacts,
    /// Which network this is.
    pub network: NetworkFacts,
    /// Every registry that matters here, once each.
    pub registries: Vec<RegistryFacts>,
    /// What is wrong with docker's `config.json`.
    pub docker_config_trouble: Option<String>,
    /// Proxies.
    pub proxies: ProxyFacts,
    /// Compose.
    pub compose: ComposeFacts,
    /// Settings.
    pub settings: SettingsFacts,
    /// The services; none when they were not read, with why.
    pub tree: Option<Result<TreeFacts, String>>,
    /// The tree's own folder for what it makes.
    pub target: TargetFacts,
    /// What `--bootstrap` would need; looked at only where no engine answers.
    pub bootstrap: Option<BootstrapFacts>,
}

/// An engine, or where it was looked for.
#[derive(Clone, Debug, Default)]
pub struct EngineFacts {
    /// Endpoints that were asked in vain, and what each said.
    pub passed_over: Vec<(String, String)>,
    /// A person chose the first of these, and another one stands in for it.
    pub is_stand_in: bool,
    /// The variable that names the endpoint (`DOCKER_HOST`, `DOCKER_CONTEXT`), if one does.
    pub named_by: Option<&'static str>,
    /// The one that answers.
    pub found: Option<FoundEngine>,
}

/// An engine that answers.
#[derive(Clone, Debug)]
pub struct FoundEngine {
    /// Where.
    pub endpoint: String,
    /// What everybody who uses it should know.
    pub caution: Option<String>,
    /// What it says of itself, or why it does not.
    pub about: Result<AboutEngine, String>,
    /// What came of a build that ends before it makes anything.
    pub trial: Trial,
}

/// What came of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It went as far as it was meant to, in so long.
    Built(Duration),
    /// It did not, and why.
    Failed(String),
    /// It was still going on after so long.
    Late(Duration),
}

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AboutEngine {
    /// `docker`
    pub name: String,
    /// `20.10.24`
    pub version: String,
    /// `(1, 41)`
    pub api: (u32, u32),
    /// `linux/amd64`
    pub platform: String,
    /// How it keeps images: `overlay2`, `containerd (overlayfs)`; empty when it does not say.
    pub store: String,
    /// Seconds that its clock is ahead of ours; none when it does not say.
    pub ahead: Option<i64>,
    /// Its disk.
    pub disk: DiskFacts,
}

/// The disk that images and the builder's cache lie on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DiskFacts {
    /// It is this machine's.
    Here {
        /// The engine's data root.
        path: String,
        /// Bytes that can be used.
        free: u64,
    },
    /// It is another machine's, which tells only what it uses.
    Elsewhere {
        /// That machine's name.
        host: String,
        /// Bytes of images, containers, volumes and build cache, where it says so in time.
        used: Option<u64>,
    },
    /// Nobody knows.
    #[default]
    Unknown,
}

/// Which network this is.
#[derive(Clone, Debug, Default)]
pub struct NetworkFacts {
    /// The verdict.
    pub verdict: Option<Network>,
    /// What it rests on.
    pub evidence: String,
    /// Nobody was to be asked.
    pub is_offline: bool,
    /// Neither a public registry nor the internal one answered.
    pub nobody_answered: bool,
}

/// A registry, what it is for, and what it said.
#[derive(Clone, Debug)]
pub struct RegistryFacts {
    /// `docker.io`, `127.0.0.1:5000`
    pub domain: String,
    /// What it is for.
    pub role: Role,
    /// The base images that come from it.
    pub images: Vec<String>,
    /// Whether the engine has all of these; none when nobody knows.
    pub all_here: Option<bool>,
    /// What it said.
    pub answer: RegistryAnswer,
    /// Where credentials for it come from.
    pub source: Source,
    /// What came of them.
    pub login: Login,
}

/// What a registry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Dockerfiles name it.
    Origin,
    /// `internal_registry`
    Internal,
    /// A mirror of the registry of that name.
    Mirror(String),
    /// Images are pushed there (`registry`).
    Push,
}

/// What a registry said to `/v2/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryAnswer {
    /// It was not asked.
    NotAsked(&'static str),
    /// It answered.
    Status {
        /// 401 is an answer like 200.
        status: u16,
        /// How long it took.
        took: Duration,
    },
    /// It did not, and why.
    None(String),
}

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nowhere.
    Nowhere,
    /// `auths` of docker's `config.json`.
    File,
    /// A program.
    Helper {
        /// `docker-credential-pass`
        program: String,
        /// `credHelpers` or `credsStore`.
        setting: &'static str,
        /// Whether it is on this machine.
        is_there: bool,
    },
}

/// What came of a login. No value of a credential is ever in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// It was not tried.
    NotTried,
    /// The registry wants to know nobody's name.
    NotNeeded,
    /// There are no credentials to show.
    Nothing {
        /// It gives no tokens to strangers either: it wants a password at once.
        wants_password: bool,
    },
    /// Taken.
    Accepted,
    /// Refused.
    Refused(u16),
    /// It went wrong otherwise.
    Failed(String),
}

/// Proxies of this process and of what is built.
#[derive(Clone, Debug, Default)]
pub struct ProxyFacts {
    /// Of the environment.
    pub environment: BTreeMap<String, String>,
    /// What builds get, whatever it comes from.
    pub builds: BTreeMap<String, String>,
    /// The internal registry's host, which a proxy should not come between.
    pub internal: Option<String>,
}

/// Compose.
#[derive(Clone, Debug, Default)]
pub struct ComposeFacts {
    /// The tree's compose files.
    pub files: Vec<String>,
    /// The program.
    pub program: ComposeProgram,
}

/// The program that starts what a compose file describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ComposeProgram {
    /// There is none.
    #[default]
    Missing,
    /// There may be one, which takes its time.
    Late,
    /// This one.
    Found {
        /// `docker compose`
        name: String,
        /// `2.26.1`
        version: String,
    },
}

/// The settings.
#[derive(Clone, Debug, Default)]
pub struct SettingsFacts {
    /// Where they come from.
    pub files: Vec<String>,
    /// Unknown keys and the like.
    pub warnings: Vec<String>,
    /// Why they cannot be used, and what to do. Then the built-in ones stand in.
    pub trouble: Option<(String, String)>,
}

/// What was read of the services.
#[derive(Clone, Debug, Default)]
pub struct TreeFacts {
    /// How many services.
    pub services: usize,
    /// How many images.
    pub images: usize,
    /// `src/api/Dockerfile:3: …`
    pub errors: Vec<String>,
    /// How many warnings.
    pub warnings: usize,
}

/// The folder that runs write to.
#[derive(Clone, Debug, Default)]
pub struct TargetFacts {
    /// Where it is.
    pub path: String,
    /// Why nothing can be written there.
    pub trouble: Option<String>,
    /// Bytes that can be used there.
    pub free: Option<u64>,
}

/// What `--bootstrap` would find.
#[derive(Clone, Debug, Default)]
pub struct BootstrapFacts {
    /// Programs that a private engine needs and that are not here, by package.
    pub missing: Vec<String>,
    /// Whether this is Linux: a private engine is a Linux program.
    pub is_linux: bool,
    /// Whether this user is root or may become so without a password.
    pub may_be_root: bool,
    /// Whether packages can be installed by apt-get.
    pub has_apt: bool,
}
