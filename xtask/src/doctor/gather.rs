//! EFFECT: looks at the machine, the engine, the registries and the tree, side by side, and changes nothing.
//!
//! In: the settings and the environment. Out: [`Facts`]. It never fails: what does not answer in time, or cannot be read,
//! is a fact. All of it together takes about [`LIMIT`], whatever hangs; behind ssh, [`FAR_LIMIT`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::facts::{
    AboutEngine, BootstrapFacts, ComposeFacts, ComposeProgram, DiskFacts, EngineFacts, Facts, FoundEngine,
    Login, NetworkFacts, ProxyFacts, RegistryAnswer, RegistryFacts, Role, SettingsFacts, Source, TargetFacts,
    TreeFacts, Trial,
};
use crate::build::{BuildError, Builder as _};
use crate::engine::compose;
use crate::engine::provision::{FOR_ENGINE, missing_packages};
use crate::engine::{self, AnyEngine, EngineError, ImageStore, Store as _, Surroundings};
use crate::host;
use crate::host::inside::Folder;
use crate::model::{
    AliasRules, BuildSecrets, BuildSpec, ContextFiles, ImageName, InlineCache, Network, Observed, Originals,
    Platform, Reference, Severity,
};
use crate::read::tree::{self, Tree};
use crate::registry::docker_config::{CredentialSource, DockerConfig};
use crate::registry::network::{self, Probe};
use crate::registry::{self, LoginAnswer, ProbeError, Registry};
use crate::settings::Config;

/// About how long it all may take.
pub const LIMIT: Duration = Duration::from_secs(5);
/// The same where each question to the engine is a connection through ssh.
pub const FAR_LIMIT: Duration = Duration::from_secs(12);
/// How long the engine may take to answer at all; what it is asked then has the rest.
const ENGINE_LIMIT: Duration = Duration::from_secs(4);
/// The same behind ssh.
const FAR_ENGINE_LIMIT: Duration = Duration::from_secs(8);
/// How long the tree may take; registries are asked after it.
const TREE_LIMIT: Duration = Duration::from_millis(2_500);
/// How long a registry may take, credentials included.
const REGISTRY_LIMIT: Duration = Duration::from_secs(2);

/// Where to look.
#[derive(Debug)]
pub struct Inputs {
    /// The settings, or the built-in ones where they cannot be used.
    pub config: Config,
    /// Why, and what to do.
    pub trouble: Option<(String, String)>,
    /// The files that the settings come from.
    pub files: Vec<String>,
    /// The compose files, without what they include.
    pub compose: Vec<String>,
    /// What decides which engine is used.
    pub surroundings: Surroundings,
    /// Asks registries.
    pub registry: Registry,
}

/// Looks at everything.
pub async fn gather(inputs: &Inputs) -> Facts {
    let began = Instant::now();
    let deadline = began + LIMIT;
    let read = read_tree(&inputs.config);
    let registries = async {
        let tree = read.await;
        let bases = tree.as_ref().and_then(|tree| tree.as_ref().ok()).map_or_else(Vec::new, bases_of);
        let (network, registries) = ask_registries(inputs, &bases).await;
        (tree, network, registries)
    };
    let (registries, engine, compose, target) = tokio::join!(
        registries,
        look_at_engine(&inputs.surroundings, began),
        look_for_compose(&inputs.compose, deadline),
        look_at_target(&inputs.config.root),
    );
    let (tree, network, mut registries) = registries;
    let (engine, observed) = engine;
    for registry in &mut registries {
        let is_here =
            |image: &String| image.parse::<Reference>().is_ok_and(|image| observed.find(&image).is_some());
        registry.all_here = observed.capabilities.is_some().then(|| registry.images.iter().all(is_here));
    }
    let bootstrap = match engine.found {
        Some(_) => None,
        None => within(deadline, tokio::task::spawn_blocking(look_for_bootstrap)).await.and_then(Result::ok),
    };
    let docker_config = inputs.surroundings.config_dir.as_deref().map(DockerConfig::read);
    Facts {
        proxies: proxies(inputs, engine.found.as_ref().map(|found| found.endpoint.as_str())),
        docker_config_trouble: docker_config.and_then(Result::err),
        engine,
        network,
        registries,
        compose,
        settings: SettingsFacts {
            files: inputs.files.clone(),
            warnings: inputs.config.warnings.clone(),
            trouble: inputs.trouble.clone(),
        },
        tree: tree.map(|tree| tree.map(|tree| about_tree(tree, &observed))),
        target,
        bootstrap,
    }
}

/// What comes of it in time.
async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(deadline.into(), work).await.ok()
}

/// The services; none when they took too long.
async fn read_tree(config: &Config) -> Option<Result<Tree, String>> {
    let config = config.clone();
    let read = tokio::task::spawn_blocking(move || tree::look(&config, Platform::local()));
    Some(match tokio::time::timeout(TREE_LIMIT, read).await.ok()? {
        Err(panic) => Err(panic.to_string()),
        Ok(Err(diagnostic)) => Err(diagnostic.to_string()),
        Ok(Ok(reading)) => Ok(reading.tree),
    })
}

/// The base images that they stand on.
fn bases_of(tree: &Tree) -> Vec<Reference> {
    let images = tree.graph.images().iter();
    let bases: BTreeSet<Reference> = images.flat_map(crate::plan::build::prefetched).cloned().collect();
    bases.into_iter().collect()
}

/// What is to be said of them, with what this engine cannot read.
fn about_tree(mut tree: Tree, observed: &Observed) -> TreeFacts {
    tree.suit(observed, &BTreeMap::new(), false);
    let images = tree.graph.images();
    let services: BTreeSet<&str> = images.iter().map(|image| image.service.as_str()).collect();
    let of = |severity| {
        let findings = tree.findings.iter().map(|finding| &finding.diagnostic);
        findings.filter(move |diagnostic| diagnostic.severity == severity)
    };
    let errors: BTreeSet<String> =
        of(Severity::Error).map(|d| format!("{}: {}", d.place(), d.message)).collect();
    TreeFacts {
        services: services.len(),
        images: images.len(),
        errors: errors.into_iter().collect(),
        warnings: of(Severity::Warning).count(),
    }
}

async fn look_at_engine(surroundings: &Surroundings, began: Instant) -> (EngineFacts, Observed) {
    let is_far = engine::endpoints(surroundings).iter().any(|endpoint| endpoint.starts_with("ssh://"));
    let (engine_limit, limit) = if is_far { (FAR_ENGINE_LIMIT, FAR_LIMIT) } else { (ENGINE_LIMIT, LIMIT) };
    let deadline = began + limit;
    let found = engine::find(surroundings, Some(engine_limit)).await;
    let named_by = surroundings.named_by();
    let mut facts =
        EngineFacts { passed_over: found.passed_over, is_stand_in: found.is_stand_in, named_by, found: None };
    let engine = match found.engine {
        Ok(engine) => engine,
        Err(EngineError::Unreachable { .. }) => return (facts, Observed::nothing()),
        Err(error) => {
            facts.passed_over.push(("an engine".to_owned(), error.to_string()));
            return (facts, Observed::nothing());
        }
    };
    let (observed, survey, trial) = tokio::join!(
        within(deadline, engine.observe()),
        within(deadline, look_at_machine(&engine, deadline)),
        within(deadline, try_to_build(&engine)),
    );
    let late = || format!("no answer within {} s", limit.as_secs());
    let trial = match trial {
        None => Trial::Late(limit),
        Some(Ok(took)) => Trial::Built(took),
        Some(Err(cause)) => Trial::Failed(cause),
    };
    // An old engine is not asked for its images, but says how old it is.
    let observed = observed.unwrap_or_else(|| Err(EngineError::Gone(late())));
    let seen = survey.unwrap_or_default();
    let (about, observed) = match observed {
        Ok(observed) => (Ok(about(&observed, seen)), observed),
        Err(EngineError::Unfit { .. }) => {
            (Ok(AboutEngine { api: engine.api().unwrap_or_default(), ..seen }), Observed::nothing())
        }
        Err(error) => (Err(error.to_string()), Observed::nothing()),
    };
    facts.found =
        Some(FoundEngine { endpoint: engine.endpoint().to_owned(), caution: engine.caution(), about, trial });
    (facts, observed)
}

/// What is seen of its machine, with what it says of itself in the listing's words.
fn about(observed: &Observed, seen: AboutEngine) -> AboutEngine {
    let Some(found) = &observed.capabilities else { return seen };
    AboutEngine {
        name: found.name.clone(),
        version: found.version.clone(),
        api: found.api,
        platform: found.platform.to_string(),
        ..seen
    }
}

/// The engine's version, its disk, and how far its clock is ahead of ours in seconds: whatever its API.
async fn look_at_machine(engine: &AnyEngine, deadline: Instant) -> AboutEngine {
    let asked = chrono::Utc::now();
    let Ok(survey) = engine.survey().await else { return AboutEngine::default() };
    let now = asked + (chrono::Utc::now() - asked) / 2;
    let there = survey.time.as_deref().and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
    let ahead = there.map(|there| there.signed_duration_since(now).num_seconds());
    // A socket can be that of a virtual machine, or of another one through a tunnel.
    let is_ours = survey.is_near && survey.host == host::host_name();
    let disk = match survey.data_root.as_deref().filter(|_| is_ours) {
        Some(root) => match host::free_space(root) {
            Some(free) => DiskFacts::Here { path: root.display().to_string(), free },
            None => DiskFacts::Unknown,
        },
        None if survey.host.is_empty() => DiskFacts::Unknown,
        None => {
            let soon = deadline - Duration::from_millis(500);
            let used = within(soon, engine.used()).await.and_then(Result::ok);
            DiskFacts::Elsewhere { host: survey.host.clone(), used }
        }
    };
    AboutEngine {
        name: "docker".to_owned(),
        version: survey.version,
        platform: survey.machine,
        store: match survey.store {
            ImageStore::Graph => survey.driver,
            ImageStore::Containerd => format!("containerd ({})", survey.driver),
        },
        ahead,
        disk,
        ..AboutEngine::default()
    }
}

/// A build that has to fail at its first instruction, since there is no such file: whoever says so has read the
/// Dockerfile and asked for files through a session. Nothing is left behind but a line in the engine's log.
async fn try_to_build(engine: &AnyEngine) -> Result<Duration, String> {
    engine.fit_to_build().map_err(|error| error.to_string())?;
    const FILE: &str = "this-file-is-not-there";
    let spec = BuildSpec {
        image: ImageName::new("doctor"),
        tags: Vec::new(),
        dockerfile: "Dockerfile".to_owned(),
        text: format!("FROM scratch\nCOPY {FILE} /\n"),
        context: ".".to_owned(),
        files: ContextFiles::default(),
        target: None,
        platform: Platform::local(),
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        network: Some("none".to_owned()),
        secrets: BuildSecrets::default(),
        contexts: Default::default(),
        layouts: Vec::new(),
        output: Default::default(),
        attestations: Default::default(),
        epoch: None,
        no_cache: false,
        cache_from: Vec::new(),
        cache_to: None,
        caches: Default::default(),
        inline_cache: InlineCache::default(),
    };
    let began = Instant::now();
    match engine.build(Path::new("/"), &spec, &|_| {}).await {
        Ok(_) => Ok(began.elapsed()),
        Err(BuildError::Failed { cause, .. }) if cause.contains(FILE) => Ok(began.elapsed()),
        Err(BuildError::Failed { cause, .. }) => Err(cause),
        Err(error) => Err(error.to_string()),
    }
}

/// Every registry that matters, and which network that means.
async fn ask_registries(inputs: &Inputs, bases: &[Reference]) -> (NetworkFacts, Vec<RegistryFacts>) {
    let config = &inputs.config;
    let mut registries = registries_of(config, bases);
    let docker_config = inputs
        .surroundings
        .config_dir
        .as_deref()
        .and_then(|folder| DockerConfig::read(folder).ok())
        .unwrap_or_default();
    for registry in &mut registries {
        registry.source = source(&docker_config, &registry.domain);
        if config.offline {
            registry.answer = RegistryAnswer::NotAsked("--offline");
        } else if config.network == Some(Network::Internal) && registry.role != Role::Internal {
            registry.answer = RegistryAnswer::NotAsked("not asked in the internal network");
        }
    }
    let asked = join_all(registries.iter().map(|registry| async {
        let RegistryAnswer::None(_) = registry.answer else { return None };
        let limit = |seconds: Duration| format!("no answer within {} s", seconds.as_secs());
        let (probe, login) = tokio::join!(
            tokio::time::timeout(REGISTRY_LIMIT, inputs.registry.probe(&registry.domain)),
            tokio::time::timeout(REGISTRY_LIMIT, inputs.registry.check_login(&registry.domain)),
        );
        let login = login.unwrap_or_else(|_| Err(limit(REGISTRY_LIMIT)));
        Some((probe.ok(), login))
    }));
    let asked = asked.await;
    let mut probes = Vec::new();
    for (registry, asked) in registries.iter_mut().zip(asked) {
        let Some((probe, login)) = asked else { continue };
        let side = if registry.role == Role::Internal { Network::Internal } else { Network::External };
        take_answer(registry, &probe, login);
        // Where images are pushed says nothing about the world outside.
        if registry.role != Role::Push {
            probes.push(Probe { domain: registry.domain.clone(), side, answer: probe });
        }
    }
    let network = verdict(config, &probes);
    expect_silence(&mut registries, &network);
    (network, registries)
}

fn take_answer(
    registry: &mut RegistryFacts,
    probe: &Option<Result<registry::Answer, ProbeError>>,
    login: Result<LoginAnswer, String>,
) {
    registry.answer = match probe {
        Some(Ok(answer)) => RegistryAnswer::Status { status: answer.status, took: answer.took },
        Some(Err(error)) => RegistryAnswer::None(error.to_string()),
        None => RegistryAnswer::None(format!("no answer within {} s", REGISTRY_LIMIT.as_secs())),
    };
    if let RegistryAnswer::Status { .. } = registry.answer {
        registry.login = match login {
            Ok(LoginAnswer::NotNeeded) => Login::NotNeeded,
            Ok(LoginAnswer::NoCredentials { wants_password }) => Login::Nothing { wants_password },
            Ok(LoginAnswer::Accepted) => Login::Accepted,
            Ok(LoginAnswer::Refused(status)) => Login::Refused(status),
            Ok(LoginAnswer::NotShown(why)) => Login::Failed(why.to_owned()),
            Err(cause) => Login::Failed(cause),
        };
    }
}

/// In each network nobody expects an answer from the registries of the other.
fn expect_silence(registries: &mut [RegistryFacts], network: &NetworkFacts) {
    let is_silent = |registry: &&mut RegistryFacts| matches!(registry.answer, RegistryAnswer::None(_));
    for registry in registries.iter_mut().filter(is_silent) {
        let (is_internal, is_push) = (registry.role == Role::Internal, registry.role == Role::Push);
        let why = match network.verdict {
            Some(Network::Internal) if !network.nobody_answered && !is_internal && !is_push => {
                "does not answer in the internal network"
            }
            Some(Network::External) if is_internal => "does not answer in the external network",
            _ => continue,
        };
        registry.answer = RegistryAnswer::NotAsked(why);
    }
}

fn verdict(config: &Config, probes: &[Probe]) -> NetworkFacts {
    if let Some(forced) = config.network {
        let evidence = config.network_source.clone().unwrap_or_default();
        return NetworkFacts {
            verdict: Some(forced),
            evidence,
            is_offline: config.offline,
            nobody_answered: false,
        };
    }
    if config.offline {
        return NetworkFacts { is_offline: true, ..NetworkFacts::default() };
    }
    let (verdict, evidence) = network::judge(probes);
    let nobody_answered = !probes.iter().any(|probe| matches!(probe.answer, Some(Ok(_))));
    NetworkFacts { verdict: Some(verdict), evidence, is_offline: false, nobody_answered }
}

/// Who is to be asked: whom the Dockerfiles name, Docker Hub if they name nobody, their mirrors, the internal registry,
/// and where images are pushed.
fn registries_of(config: &Config, bases: &[Reference]) -> Vec<RegistryFacts> {
    let rules =
        AliasRules { internal_registry: config.internal_registry.as_ref(), prefixes: &config.alias_prefixes };
    let originals = Originals::new(rules, bases);
    let internal = config.internal_registry.as_ref().map(|registry| registry.domain().to_owned());
    let mut registries: Vec<RegistryFacts> = Vec::new();
    let mut add = |domain: &str, role: Role, images: Vec<String>| {
        if registries.iter().all(|known| known.domain != domain) {
            registries.push(RegistryFacts {
                domain: domain.to_owned(),
                role,
                images,
                all_here: None,
                answer: RegistryAnswer::None(String::new()),
                source: Source::Nowhere,
                login: Login::NotTried,
            });
        }
    };
    let of = |domain: &str| -> Vec<String> {
        let from_it = bases.iter().filter(|base| originals.original_of(base).domain() == domain);
        from_it.map(|base| base.familiar()).collect()
    };
    if let Some(internal) = &internal {
        add(internal, Role::Internal, of(internal));
    }
    for domain in network::public_domains(bases, &originals, &BTreeMap::new()) {
        add(&domain, Role::Origin, of(&domain));
        for mirror in config.mirrors.get(&domain).into_iter().flatten() {
            add(mirror.domain(), Role::Mirror(domain.clone()), Vec::new());
        }
    }
    if let Some(push) = &config.registry {
        add(push.domain(), Role::Push, Vec::new());
    }
    registries
}

fn source(docker_config: &DockerConfig, domain: &str) -> Source {
    match docker_config.credential_source(domain) {
        CredentialSource::Nowhere => Source::Nowhere,
        CredentialSource::File => Source::File,
        CredentialSource::Helper { program, setting } => {
            let is_there = host::find_program(&program).is_some();
            Source::Helper { program, setting, is_there }
        }
    }
}

fn proxies(inputs: &Inputs, endpoint: Option<&str>) -> ProxyFacts {
    let Inputs { config, surroundings, .. } = inputs;
    ProxyFacts {
        environment: surroundings.proxies.clone(),
        builds: surroundings.build_proxies(endpoint.unwrap_or_default()),
        internal: config.internal_registry.as_ref().map(|registry| registry.domain().to_owned()),
    }
}

async fn look_for_compose(files: &[String], deadline: Instant) -> ComposeFacts {
    let program = match within(deadline, compose::installed(&[])).await {
        None => ComposeProgram::Late,
        Some(None) => ComposeProgram::Missing,
        Some(Some(found)) => ComposeProgram::Found { name: found.words.join(" "), version: found.version },
    };
    ComposeFacts { files: files.to_vec(), program }
}

async fn look_at_target(root: &Path) -> TargetFacts {
    let (root, path) = (root.to_owned(), root.join("target/xtask"));
    let shown = path.display().to_string();
    let looked = tokio::task::spawn_blocking(move || {
        // What is not there yet is made where it is going to be.
        let nearest = path.ancestors().find(|folder| folder.exists()).unwrap_or(&path);
        let tried = Folder::open(&root)
            .and_then(|tree| tree.check(path.join("lock")))
            .and_then(|()| Folder::open(nearest)?.new_file(""));
        (tried.err().map(|error| error.to_string()), host::free_space(nearest))
    });
    let (trouble, free) = looked.await.unwrap_or_default();
    TargetFacts { path: shown, trouble, free }
}

fn look_for_bootstrap() -> BootstrapFacts {
    let missing = missing_packages(&FOR_ENGINE);
    BootstrapFacts {
        missing: missing.iter().map(|package| package.name.to_owned()).collect(),
        is_linux: cfg!(target_os = "linux"),
        may_be_root: host::privilege().is_some(),
        has_apt: host::find_program("apt-get").is_some(),
    }
}
