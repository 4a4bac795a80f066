//! What every command starts from: the settings, what to show, and the tree with the engine's store beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::args::{ColorChoice, Global, ProgressChoice, Reporting};
use super::brought::{self, Remembered};
use super::foreign::{self, Asked};
use super::intent;
use super::locked;
use super::names::Names;
use super::pipeline::{Request, Subject, TagWord};
use crate::base_images::artifact::Fetcher;
use crate::config::{self, Config, ConfigError, Layer, Scalar, Variable, parse_build_arg};
use crate::discover::{BUILD_CONF, BUILD_TARGETS, DEPENDENCY, SERVICE_TOML};
use crate::engine::provision::Home;
use crate::engine::{self, AnyEngine, Credentials, Engine as _, EngineError, Surroundings, patiently};
use crate::env::Env;
use crate::error::{Error, ErrorKind};
use crate::events;
use crate::graph::ImageGraph;
use crate::lock::{Holder, Lock};
use crate::model::{
    AliasNames, AliasRules, BaseImage, Diagnostic, Digest, EventKind, Image, ImageName, ImageSource,
    NetworkVerdict, Observed, Originals, Phase, Platform, Reason, Reference, Severity, Skipped, Triggers,
};
use crate::network::{self, Freshness, NetworkInput};
use crate::plan::build::{Assessment, prefetched};
use crate::plan::render::RenderPlan;
use crate::plan::sync_config::SyncConfigPlan;
use crate::rebuild::lineage::{self, Ground, Lineage};
use crate::registry::Registry;
use crate::report;
use crate::report::bug::RunNotes;
use crate::report::resolve::{self, Circumstances, ColourChoice, Display, Forge, Mode, resolve};
use crate::retry::Policy;
use crate::secrets::{self, Secrets};
use crate::suggest::did_you_mean;
use crate::tree::{self, Reading, Tree};

/// What every command is given: the options that all of them take, and what a panic would have to know.
#[derive(Clone, Copy)]
pub(super) struct Typed<'a> {
    pub global: &'a Global,
    pub notes: &'a RunNotes,
}

/// What was typed and set, complete.
pub(super) struct Session {
    pub env: Env,
    pub config: Config,
    pub display: Display,
    pub secrets: Secrets,
    pub credentials: Credentials,
    pub notes: RunNotes,
    /// What was typed, as it was.
    words: String,
    pub bootstrap: bool,
    pub freshness: Freshness,
    /// `--junit`
    pub junit: Option<PathBuf>,
    /// `--color`
    colour: ColorChoice,
    /// The engine to speak to, whatever the environment says.
    endpoint: Option<String>,
}

/// Where a command works.
pub(super) struct Standpoint {
    /// The tree's root.
    pub root: PathBuf,
    /// What relative paths that were typed start from.
    pub here: PathBuf,
}

/// Finds both; a root that nobody asked for is named before anything else is said.
pub(super) fn standpoint(typed: &Typed<'_>, env: &Env) -> Result<Standpoint, Error> {
    let global = typed.global;
    let here = here(typed)?;
    let root = config::find_root(global.root.as_deref(), &here, env)?;
    let is_for_people =
        !global.quiet && !matches!(global.progress, ProgressChoice::Json | ProgressChoice::Quiet);
    if let Some(guessed) = root.guessed.filter(|_| is_for_people) {
        super::say(&format!("root: {} ({guessed}; --root DIR names another)", root.path.display()));
    }
    Ok(Standpoint { root: root.path, here })
}

/// The working folder. Where it is gone, a root that needs none will do.
fn here(typed: &Typed<'_>) -> Result<PathBuf, Error> {
    let error = match std::env::current_dir() {
        Ok(here) => return Ok(here),
        Err(error) => error,
    };
    if let Some(root) = typed.global.root.as_ref().filter(|root| root.is_absolute()) {
        return Ok(root.clone());
    }
    let what = match error.kind() {
        std::io::ErrorKind::NotFound => "the working directory does not exist any more",
        _ => "the working directory cannot be used",
    };
    Err(Error::new(ErrorKind::File, what)
        .because(error.to_string())
        .hint("`cd` to a folder that is there, or name the tree: --root /path/to/it"))
}

impl Session {
    /// Finds the root and reads the settings; `layer` is what the command's own options set.
    pub fn open(typed: &Typed<'_>, layer: Layer, build_args: &[String]) -> Result<Self, Error> {
        let env = Env::from_process();
        let Standpoint { root, here } = standpoint(typed, &env)?;
        Self::open_at(typed, (&root, &here), env, layer, build_args)
    }

    fn open_at(
        typed: &Typed<'_>,
        (root, here): (&Path, &Path),
        env: Env,
        layer: Layer,
        build_args: &[String],
    ) -> Result<Self, Error> {
        let global = typed.global;
        let mut layer = layer.or(global.layer());
        for text in build_args {
            if let Some((name, value)) =
                parse_build_arg(text, &env).map_err(|why| Error::new(ErrorKind::Usage, why))?
            {
                layer.build_args.insert(name, Scalar(value));
            }
        }
        let file = global.config.as_ref().map(|path| here.join(path));
        let config = config::load(root, layer, &env, file.as_deref())?;
        Ok(Self::of(typed, env, config))
    }

    /// The same; where the settings cannot be used, with the built-in ones, and why.
    ///
    /// # Errors
    /// When not even these can be had.
    pub fn open_or_built_in(typed: &Typed<'_>, layer: Layer) -> Result<(Self, Option<Error>), Error> {
        let env = Env::from_process();
        let (Standpoint { root, here }, trouble) = match standpoint(typed, &env) {
            Ok(ground) => (ground, None),
            Err(trouble) => {
                let here = here(typed)?;
                (Standpoint { root: here.clone(), here }, Some(trouble))
            }
        };
        let opened = match trouble {
            None => Self::open_at(typed, (&root, &here), env.clone(), layer.clone(), &[]),
            Some(trouble) => Err(trouble),
        };
        let trouble = match opened {
            Ok(session) => return Ok((session, None)),
            Err(trouble) => trouble,
        };
        let config = config::built_in(&root, layer.or(typed.global.layer()), &env)?;
        Ok((Self::of(typed, env, config), Some(trouble)))
    }

    fn of(typed: &Typed<'_>, env: Env, config: Config) -> Self {
        let global = typed.global;
        let secrets = typed.notes.secrets.clone();
        for (name, value) in config.build_args.flags.iter().chain(&config.build_args.settings) {
            secrets.add_build_arg(name, value);
        }
        for (name, value) in &config.dotenv {
            secrets.add_variable(name, value);
        }
        for (name, variable) in &config.variables {
            if let Variable::Value(value) = variable {
                secrets.add_variable(name, value);
            }
        }
        for (name, url) in env.proxies() {
            secrets.add_url(&format!("`{name}`"), &url);
        }
        let display = resolve(circumstances(global, &env, config.verbose));
        let freshness = if global.no_cache_verdict { Freshness::Fresh } else { Freshness::Cached };
        let credentials = Credentials::new(env.docker_config_dir(), secrets.clone());
        Self {
            env,
            config,
            display,
            secrets,
            credentials,
            notes: typed.notes.clone(),
            words: super::typed_words(),
            bootstrap: global.bootstrap,
            freshness,
            junit: None,
            colour: global.color,
            endpoint: None,
        }
    }

    /// What was typed, for records and locks, without secrets.
    pub fn command(&self) -> String {
        self.secrets.redact(&self.words).into_owned()
    }

    /// Whether what goes to stdout is coloured.
    pub fn colours_stdout(&self, is_terminal: bool) -> bool {
        match self.colour {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !self.env.no_color(),
        }
    }

    /// The same, with the reports that were asked for. Settings that are wrong are in them too.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn open_reporting(
        typed: &Typed<'_>,
        layer: Layer,
        build_args: &[String],
        reporting: Reporting,
    ) -> Result<Self, Error> {
        match Self::open(typed, layer, build_args) {
            Ok(session) => Ok(session.reporting(reporting)),
            Err(error) => Err(super::sinks::report_unopened(typed, reporting.junit.as_deref(), error)),
        }
    }

    /// With the reports that were asked for.
    pub fn reporting(self, reporting: Reporting) -> Self {
        Self { junit: reporting.junit, ..self }
    }

    /// What gets artifacts in this run.
    pub fn fetcher(&self) -> Fetcher {
        let Config { root, artifact, retries, .. } = &self.config;
        let (cache, old_cache) = (artifact.cache.clone(), artifact.old_cache.clone());
        let mut fetcher = Fetcher::new(root.clone(), cache, old_cache, Policy::new(*retries));
        fetcher.offline = self.config.offline;
        fetcher.limits.stall = fetcher.limits.stall.min(self.config.stall);
        fetcher.command = format!("cargo xtask {}", self.command());
        fetcher.secrets = self.secrets.clone();
        fetcher
    }

    /// The same command, cut off from every network, in another tree and with another engine.
    pub fn elsewhere(&self, root: &Path, endpoint: String) -> Self {
        let mut config = self.config.clone();
        root.clone_into(&mut config.root);
        config.offline = true;
        Self {
            env: self.env.clone(),
            config,
            display: self.display,
            secrets: self.secrets.clone(),
            credentials: self.credentials.clone(),
            notes: self.notes.clone(),
            words: self.words.clone(),
            bootstrap: false,
            freshness: self.freshness,
            // A report of this run, not of the one elsewhere.
            junit: None,
            colour: self.colour,
            endpoint: Some(endpoint),
        }
    }

    /// The engine that is there, without starting one. Says what is odd about it.
    pub async fn connect(&self) -> Result<AnyEngine, EngineError> {
        let found = engine::find(&self.surroundings(), None).await;
        let engine = found.engine?;
        if let Some((meant, cause)) = found.passed_over.first().filter(|_| found.is_stand_in) {
            let endpoint = engine.endpoint();
            let text = format!("warning: no answer at {meant}: {cause}; {endpoint} stands in for it");
            super::say(&self.secrets.redact(&text));
        }
        if let Some(caution) = engine.caution() {
            super::say(&format!("warning: {caution}"));
        }
        Ok(engine)
    }

    /// What of the environment decides which engine is used.
    pub fn surroundings(&self) -> Surroundings {
        let private = Home::of_tree(&self.config.root)
            .recorded_endpoint()
            .and_then(|e| Some(PathBuf::from(e.strip_prefix("unix://")?)));
        let variable = |name: &str| match (&self.endpoint, name) {
            (Some(endpoint), "DOCKER_HOST") => Some(endpoint.clone()),
            (Some(_), "DOCKER_CONTEXT" | "DOCKER_TLS" | "DOCKER_TLS_VERIFY" | "DOCKER_CERT_PATH") => None,
            _ => self.env.get(name).map(str::to_owned),
        };
        let surroundings = Surroundings::new(&variable, private);
        Surroundings {
            secrets: self.secrets.clone(),
            credentials: self.credentials.clone(),
            stall: self.config.stall,
            ..surroundings
        }
    }

    /// Reads the tree and the engine's store side by side. Without an engine the store is unknown.
    pub async fn look(&self) -> Result<World, Error> {
        let store = async {
            match self.connect().await {
                Ok(engine) => match patiently(engine.observe(), &|slow: String| self.warn(&slow)).await {
                    Ok(observed) => Ok((engine, observed)),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            }
        };
        let guess = Platform::local();
        let mut external = Remembered::load(&self.config.root).guess();
        let (files, store) = tokio::join!(self.read_files(guess.clone(), &external), store);
        let mut files = files?;
        let (engine, mut observed) = match store {
            Ok((engine, observed)) => (Ok(engine), observed),
            Err(error) => (Err(error), Observed::nothing()),
        };
        if let Some(found) = observed.capabilities.as_ref().map(|c| &c.platform).filter(|p| **p != guess) {
            // Rare: an engine of another kind of machine. Platform args reach into every Dockerfile.
            files = self.read_files(found.clone(), &external).await?;
        }
        if let Ok(engine) = &engine {
            let graph = &files.tree.graph;
            let now = self.know(graph, engine, &mut observed).await;
            if brought::differs(&brought::stood_upon(graph), &external, &now) {
                files = self.read_files(platform_of(&observed), &now).await?;
                // What they bring may name further images.
                self.know(&files.tree.graph, engine, &mut observed).await;
            }
            external = now;
        }
        let Reading { sync, render, mut tree, .. } = files;
        self.suit(&mut tree, &engine, &observed).await;
        if let Ok(engine) = &engine {
            let bases = self.bases(tree.graph.images());
            foreign::learn_platforms(engine, &mut observed, &bases, Asked::Foreign).await;
        }
        let (places, lock) = (self.places(), locked::read(&self.config));
        Ok(World { places, sync, render, tree, external, engine, observed, lock })
    }

    /// What the engine's store has now, as [`Self::look`] sees it.
    pub async fn observe(&self, engine: &AnyEngine, world: &World) -> Result<Observed, EngineError> {
        let mut observed = engine.observe().await?;
        let bases = self.bases(world.tree.graph.images());
        foreign::learn_platforms(engine, &mut observed, &bases, Asked::Foreign).await;
        self.know_bases(world, engine, &mut observed).await;
        Ok(observed)
    }

    /// What images stand on, under all its names, each with the platform that it is wanted for.
    pub fn bases<'a>(&self, images: impl IntoIterator<Item = &'a Image>) -> Vec<(Reference, Platform)> {
        let bases = images.into_iter().flat_map(|image| {
            let base =
                |base: &'a BaseImage| (&base.reference, base.platform.as_ref().unwrap_or(&image.platform));
            image.base_images.iter().map(base)
        });
        let mut all = Vec::new();
        for (reference, platform) in bases {
            let AliasNames { localhost, internal, .. } = self.rules().names_of(reference);
            all.push((reference.clone(), platform.clone()));
            all.extend(localhost.into_iter().chain(internal).map(|name| (name, platform.clone())));
        }
        all
    }

    /// The same world with its files read again, after something came that they stand on.
    pub async fn look_again(&self, world: &World, external: Triggers) -> Result<World, Error> {
        let Reading { sync, render, mut tree, .. } =
            self.read_files(platform_of(&world.observed), &external).await?;
        self.suit(&mut tree, &world.engine, &world.observed).await;
        let (places, lock) = (self.places(), world.lock.clone());
        let (engine, observed) = (world.engine.clone(), world.observed.clone());
        Ok(World { places, sync, render, tree, external, engine, observed, lock })
    }

    /// The same where base images that are here now bring something that was not known; none where they do not.
    pub async fn look_closer(
        &self,
        world: &World,
        engine: &AnyEngine,
        observed: &mut Observed,
    ) -> Result<Option<World>, Error> {
        let now = self.know_bases(world, engine, observed).await;
        if !brought::differs(&brought::stood_upon(&world.tree.graph), &world.external, &now) {
            return Ok(None);
        }
        let closer = self.look_again(world, now).await?;
        self.know_bases(&closer, engine, observed).await;
        Ok(Some(closer))
    }

    async fn know_bases(&self, world: &World, engine: &AnyEngine, observed: &mut Observed) -> Triggers {
        self.know(&world.tree.graph, engine, observed).await
    }

    /// Completes a store by what is in the external images of a tree, under each name by which one may be here. Returns what
    /// they bring.
    async fn know(&self, graph: &ImageGraph, engine: &AnyEngine, observed: &mut Observed) -> Triggers {
        let named: BTreeSet<&Reference> = graph.images().iter().flat_map(prefetched).collect();
        let originals = Originals::new(self.rules(), named.iter().copied()).beside(graph.upstreams());
        let aliases = named.iter().flat_map(|name| {
            let AliasNames { original, localhost, internal } =
                self.rules().names_of(&originals.original_of(name));
            [Some(original), localhost, internal].into_iter().flatten()
        });
        let aliases: BTreeSet<Reference> = aliases.collect();
        let names = named.iter().copied().chain(&aliases).collect();
        Remembered::load(&self.config.root).learn(engine, observed, &names, graph.upstreams()).await
    }

    fn places(&self) -> Places {
        let Config { services, base_images, prefix, root, .. } = self.config.clone();
        // A root that was named by a link is below no working directory.
        let root = root.canonicalize().unwrap_or(root);
        // Names are looked up from the root where there is no working directory any more.
        let here = std::env::current_dir().unwrap_or_else(|_| root.clone());
        Places { services, base_images, prefix, root, here }
    }

    /// Finds what this engine cannot build of the tree. Base images are asked about only where they decide something.
    async fn suit(&self, tree: &mut Tree, engine: &Result<AnyEngine, EngineError>, observed: &Observed) {
        let mut bases = BTreeMap::new();
        if let Ok(engine) = engine {
            for base in tree.doubted_bases() {
                let here = observed.find(&base).is_some();
                if let (true, Ok(Some(details))) = (here, engine.details(&base).await) {
                    bases.insert(base, details);
                }
            }
        }
        tree.suit(observed, &bases, self.config.force || self.config.skip_cache_check);
    }

    /// Reads the tree off the async threads.
    async fn read_files(&self, engine_platform: Platform, external: &Triggers) -> Result<Reading, Error> {
        let (config, external) = (self.config.clone(), external.clone());
        let read = tokio::task::spawn_blocking(move || tree::look_upon(&config, engine_platform, &external));
        let read = read.await.map_err(|panic| Error::of(ErrorKind::Unexpected, &panic))?;
        let reading = read.map_err(ConfigError::Invalid)?;
        self.hide_build_args(&reading.tree);
        for (name, value) in &reading.computed {
            self.secrets.add_variable(name, value);
        }
        self.spare_names(&reading.tree);
        Ok(reading)
    }

    /// Build args that stand in the tree, in a `service.toml`, are hidden as those that are typed. Those of `.env` are
    /// variables, and what base images are built with is their version.
    fn hide_build_args(&self, tree: &Tree) {
        for image in tree.graph.images() {
            let ImageSource::Build(target) = &image.source else { continue };
            for (name, value) in &target.build_args {
                let mut variables = self.config.dotenv.iter();
                let is_variable =
                    image.base_image().is_some() || variables.any(|(known, of)| known == name && of == value);
                if is_variable {
                    self.secrets.add_variable(name, value);
                } else {
                    self.secrets.add_build_arg(name, value);
                }
            }
        }
    }

    /// The names that stand in the tree and its settings are never hidden: everybody reads them anyway.
    fn spare_names(&self, tree: &Tree) {
        if self.secrets.is_empty() {
            return;
        }
        let config = &self.config;
        let mut names = vec![config.tag.clone()];
        names.extend(config.dotenv.iter().map(|(name, _)| name.clone()));
        for image in tree.graph.images() {
            names.extend([image.service.clone(), image.name.to_string()]);
            names.extend(image.names().map(Reference::familiar));
            names.extend(image.base_images.iter().map(|base| base.reference.familiar()));
            if let ImageSource::Build(target) = &image.source {
                names.extend([target.dockerfile.clone(), target.context.clone()]);
                names.extend(target.target.clone());
            }
            let context = tree.contexts.get(&image.name);
            names.extend(context.into_iter().flat_map(|context| context.files.inputs().map(str::to_owned)));
        }
        self.secrets.spare(names.iter().map(String::as_str));
    }

    /// Which network this is; probes only when nothing else decides.
    pub async fn network(&self, world: &World, registry: &Registry) -> NetworkVerdict {
        let input = self.network_input(world);
        network::decide(&input, |domain| async move { registry.probe(&domain).await }).await
    }

    /// Which network it was last time.
    pub fn last_network(&self, world: &World) -> Option<NetworkVerdict> {
        network::last_known(&self.network_input(world))
    }

    fn network_input(&self, world: &World) -> NetworkInput {
        let config = &self.config;
        let bases = world.base_images(&world.all());
        let originals = world.originals(self);
        NetworkInput {
            forced: config.network.map(|n| (n, config.network_source.clone().unwrap_or_default())),
            offline: config.offline,
            public: network::public_domains(&bases, &originals, &config.mirrors),
            internal: config.internal_registry.clone(),
            cache: Some(config.root.clone()),
            freshness: self.freshness,
        }
    }

    /// A client of registries.
    pub fn registry(&self) -> Registry {
        Registry::with(self.credentials.clone())
    }

    /// Says what is odd about the settings, where no run's report does.
    pub fn tell_warnings(&self) {
        for warning in self.warnings() {
            self.warn(&warning);
        }
    }

    /// What was found on the way, for the end: stored logins that cannot be used, and credentials that cannot be hidden.
    pub fn late_warnings(&self) -> impl Iterator<Item = String> {
        self.credentials.take_trouble().into_iter().chain(self.secrets.take_weak())
    }

    /// What is odd about the settings, and which of their secrets cannot be hidden.
    pub fn warnings(&self) -> Vec<String> {
        self.config.warnings.iter().cloned().chain(self.secrets.take_weak()).collect()
    }

    /// Says that the store is unknown, and why.
    pub fn tell_missing_engine(&self, world: &World) {
        if let Err(error) = &world.engine {
            let warning = Error::from(error.clone()).as_warning(&self.secrets);
            warning.iter().for_each(|warning| match self.display.mode {
                Mode::Json => self.warn(&format!("{}\n{}", warning.what, warning.causes.join("\n"))),
                _ => report::tell(warning, self.display.colour, self.display.forge),
            });
        }
    }

    /// Says that something is odd, where no run's report does.
    pub fn warn(&self, message: &str) {
        let message = self.secrets.redact(message).into_owned();
        match self.display.mode {
            Mode::Json => report::tell_event(
                &events::lone(EventKind::StepWarning { step: None, message }),
                self.display.forge,
            ),
            _ => super::say(&self.display.forge.harmless(&format!("warning: {message}"))),
        }
    }

    /// The text of a file that is shown, without values of `.env` whose names say that they are secret. Elsewhere they
    /// are not looked for: a password such as `postgres` would blot out half of a plan.
    pub fn hide_in_files(&self, text: &str) -> String {
        let variables = self.config.dotenv.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.secrets.redact(&secrets::redact_variables(text, variables)).into_owned()
    }

    /// What images are for unless they say otherwise.
    pub fn platform(&self, observed: &Observed) -> Platform {
        let of_engine = || observed.capabilities.as_ref().map(|c| c.platform.clone());
        self.config.platform.clone().or_else(of_engine).unwrap_or_else(Platform::local)
    }

    /// One run at a time in one tree; the second one waits and says for whom. A tree that cannot be written to has
    /// no lock: nobody can do anything in it.
    pub async fn lock(&self) -> Result<Option<Lock>, Error> {
        let on_wait = |holder: Option<&Holder>| match holder {
            Some(holder) => super::say(&format!("waiting for {holder}")),
            None => super::say("waiting for another run in this tree"),
        };
        let command = self.command();
        let lock = Lock::acquire(&self.config.root, &command, &on_wait);
        match super::interrupt::or_interrupted(lock).await {
            None => Err(Error::told(ErrorKind::Interrupted)),
            Some(Ok(lock)) => Ok(Some(lock)),
            Some(Err(error)) if error.source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Ok(None),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Names of services and images, and references. What means an image of the tree is one of the former.
    pub async fn split_names(&self, names: &[String]) -> Result<(Vec<String>, Vec<Reference>), Error> {
        let mut split = (Vec::new(), Vec::new());
        for name in names {
            if self.find(name).await?.is_empty() {
                split.1.push(name.parse().map_err(|error| Error::of(ErrorKind::Usage, &error))?);
            } else {
                split.0.push(name.clone());
            }
        }
        Ok(split)
    }

    /// The images that a word means, of the tree as its files are.
    pub async fn find(&self, word: &str) -> Result<Vec<ImageName>, Error> {
        let tree = self.read_files(Platform::local(), &Triggers::new()).await?.tree;
        Ok(self.places().names(&tree).find(word).into_iter().map(|image| image.name.clone()).collect())
    }

    /// Adds the phases that store a cache, where there is one to store in.
    pub fn with_cache(&self, phases: &mut Vec<Phase>) {
        if self.config.cache_to.is_none() {
            return;
        }
        let after_build =
            phases.iter().position(|phase| *phase == Phase::Build).map_or(phases.len(), |at| at + 1);
        phases.insert(after_build, Phase::Keep);
        phases.push(Phase::Cache);
    }

    /// How names of base images are made.
    pub fn rules(&self) -> AliasRules<'_> {
        AliasRules {
            internal_registry: self.config.internal_registry.as_ref(),
            prefixes: &self.config.alias_prefixes,
        }
    }
}

/// What was typed, and where it was.
pub(super) fn circumstances(global: &Global, env: &Env, verbose: bool) -> Circumstances {
    Circumstances {
        progress: match global.progress {
            ProgressChoice::Auto => resolve::ProgressChoice::Auto,
            ProgressChoice::Tty => resolve::ProgressChoice::Tty,
            ProgressChoice::Plain => resolve::ProgressChoice::Plain,
            ProgressChoice::Json => resolve::ProgressChoice::Json,
            ProgressChoice::Quiet => resolve::ProgressChoice::Quiet,
        },
        colour: match global.color {
            ColorChoice::Auto => ColourChoice::Auto,
            ColorChoice::Always => ColourChoice::Always,
            ColorChoice::Never => ColourChoice::Never,
        },
        verbose: global.verbose.max(u8::from(verbose)),
        quiet: global.quiet,
        stderr_is_terminal: std::io::stderr().is_terminal(),
        is_ci: env.is_ci(),
        term_is_dumb: env.is_dumb_terminal(),
        no_color: env.no_color(),
        forces_color: env.forces_color(),
        forge: forge(env),
    }
}

/// Whose log takes what is said.
pub(super) fn forge(env: &Env) -> Forge {
    match (env.is_github(), env.is_gitlab()) {
        (true, _) => Forge::GitHub,
        (false, true) => Forge::GitLab,
        (false, false) => Forge::Nobody,
    }
}

/// What the engine runs by default, or this machine where there is none.
fn platform_of(observed: &Observed) -> Platform {
    observed.capabilities.as_ref().map_or_else(Platform::local, |found| found.platform.clone())
}

/// Where the folders of images are looked for: globs, relative to the root.
struct Places {
    services: Vec<String>,
    base_images: Vec<String>,
    prefix: String,
    root: PathBuf,
    /// Where the command was typed.
    here: PathBuf,
}

impl Places {
    fn names<'a>(&'a self, tree: &'a Tree) -> Names<'a> {
        let images = tree.graph.images();
        Names { images, prefix: &self.prefix, root: &self.root, here: &self.here }
    }
}

/// The tree, and the engine's store as it was when the command began.
pub(super) struct World {
    places: Places,
    pub sync: SyncConfigPlan,
    pub render: RenderPlan,
    pub tree: Tree,
    /// What external images bring, as the tree was read with.
    pub external: Triggers,
    pub engine: Result<AnyEngine, EngineError>,
    pub observed: Observed,
    pub lock: locked::Held,
}

impl World {
    /// Every image.
    pub fn all(&self) -> BTreeSet<ImageName> {
        self.tree.graph.images().iter().map(|image| image.name.clone()).collect()
    }

    /// Every external reference that these images stand on, as written, once each.
    pub fn base_images(&self, selected: &BTreeSet<ImageName>) -> Vec<Reference> {
        self.wanted(selected).into_iter().map(|(reference, _)| reference).collect()
    }

    /// The same with the platform that each is wanted for.
    pub fn wanted(&self, selected: &BTreeSet<ImageName>) -> Vec<(Reference, Platform)> {
        let mut seen = BTreeSet::new();
        let mut wanted = Vec::new();
        for image in self.tree.graph.images().iter().filter(|i| selected.contains(&i.name)) {
            for reference in prefetched(image) {
                let own = image.base_images.iter().find(|b| b.reference == *reference);
                let platform = own.and_then(|b| b.platform.clone()).unwrap_or_else(|| image.platform.clone());
                if seen.insert(reference.clone()) {
                    wanted.push((reference.clone(), platform));
                }
            }
        }
        wanted
    }

    /// The originals of all external images that the tree names.
    pub fn originals<'a>(&self, session: &'a Session) -> Originals<'a> {
        let known = self.base_images(&self.all());
        Originals::new(session.rules(), &known).beside(self.tree.graph.upstreams())
    }

    /// The images that `--only`, `--skip` or names on the command line leave, with all that they build on.
    pub fn select(&self, request: &Request) -> Result<BTreeSet<ImageName>, Error> {
        let graph = &self.tree.graph;
        let all = || graph.images().iter().filter(|i| i.base_image().is_some() == request.is_of_bases());
        let named = |names: &[String], source: Option<&str>| match request.subject {
            Subject::Services => self.named(names),
            Subject::BaseImages => self.of_systems(names, source),
        };
        let unknown = self.unknown_skips(request);
        let skip: Vec<String> = request.skip.iter().filter(|os| !unknown.contains(os)).cloned().collect();
        let chosen: BTreeSet<ImageName> = match request.only.as_slice() {
            [] => all().map(|image| image.name.clone()).collect(),
            only => named(only, request.only_source.as_deref())?,
        };
        let unwanted = named(&skip, request.skip_source.as_deref())?;
        let left: BTreeSet<ImageName> = chosen.difference(&unwanted).cloned().collect();
        if left.is_empty() {
            return Err(self.nothing_selected(request));
        }
        let whole = graph.closure(&left);
        if !request.no_needs {
            return Ok(whole);
        }
        // Whoever pushes all services pushes the base images too that these stand on.
        let is_wanted = |name: &&ImageName| {
            let is_base = || graph.get(name).is_some_and(|image| image.base_image().is_some());
            left.contains(*name) || (request.only.is_empty() && is_base() && !unwanted.contains(*name))
        };
        Ok(whole.iter().filter(is_wanted).cloned().collect())
    }

    /// No image of the kind that is asked for is there, and why.
    fn nothing_there(&self, subject: Subject) -> Error {
        let others: BTreeSet<&str> = self.tree.graph.images().iter().map(|i| i.service.as_str()).collect();
        // Services that were dropped, folders that are nearly some, and what is wrong with the tree as a whole.
        let of_none = |f: &&tree::Finding| f.service.as_deref().is_none_or(|s| !others.contains(s));
        let found = self.tree.findings.iter().filter(of_none).map(|f| f.diagnostic.clone());
        let found: Vec<Diagnostic> = found.filter(|_| subject == Subject::Services).collect();
        if found.iter().any(|found| found.severity == Severity::Error) {
            return Error::of_diagnostics(&found);
        }
        let (none, globs, files, key) = match subject {
            Subject::Services if !others.is_empty() => {
                let listed: Vec<&str> = others.into_iter().collect();
                return Error::new(ErrorKind::NothingSelected, "there are no services in this tree, only base images")
                    .because(format!("the base images are {}", listed.join(", ")))
                    .hint("`cargo xtask base-images` builds them, `cargo xtask base-images --dry-run` shows the plan");
            }
            Subject::Services => (
                "there are no images in this tree",
                &self.places.services,
                "Dockerfile, Dockerfile.tpl or dependency.conf",
                "services",
            ),
            Subject::BaseImages => (
                "there are no base images in this tree",
                &self.places.base_images,
                "Dockerfile",
                "base_images",
            ),
        };
        let told = Error::new(ErrorKind::NothingSelected, none)
            .because(format!("no folder `{}` has a {files}", globs.join("`, `")))
            .hint(format!("`{key}` in .config/xtask.toml says where they lie"));
        found.iter().fold(told, |told, found| told.because(format!("{}: {}", found.place(), found.message)))
    }

    fn nothing_selected(&self, request: &Request) -> Error {
        let images = || self.tree.graph.images().iter();
        if !images().any(|i| i.base_image().is_some() == request.is_of_bases()) {
            return self.nothing_there(request.subject);
        }
        let command = match request.subject {
            Subject::Services => "status",
            Subject::BaseImages => "base-images list",
        };
        let (only, skip) = match request.subject {
            Subject::Services => ("--only", "--skip"),
            Subject::BaseImages => ("--os", "--skip-os"),
        };
        let said = [
            (&request.only, &request.only_source, only, "chooses"),
            (&request.skip, &request.skip_source, skip, "leaves out"),
        ];
        let told = Error::new(ErrorKind::NothingSelected, "nothing is selected");
        let told = said.into_iter().filter(|(names, ..)| !names.is_empty()).fold(
            told,
            |told, (names, source, flag, does)| {
                let source = source.as_deref().unwrap_or(flag);
                told.because(format!("{source} {does} {}", names.join(", ")))
            },
        );
        let set_elsewhere = [&request.only_source, &request.skip_source];
        let set_elsewhere = set_elsewhere.into_iter().flatten().filter(|source| !source.starts_with("--"));
        set_elsewhere
            .fold(told, |told, source| told.hint(format!("unset or change {source}")))
            .hint(format!("`cargo xtask {command}` lists all images"))
    }

    /// Systems that are left out by a variable or a setting, and that this tree does not have: those stay when a system
    /// goes, and are a warning. What was just typed is an error.
    pub fn unknown_skips<'a>(&self, request: &'a Request) -> Vec<&'a String> {
        let is_set = request.skip_source.as_deref().is_some_and(|source| !source.starts_with("--"));
        if !request.is_of_bases() || !is_set {
            return Vec::new();
        }
        let systems = self.tree.graph.images().iter().filter_map(|image| Some(&image.base_image()?.os));
        let known: BTreeSet<&String> = systems.collect();
        request.skip.iter().filter(|os| !known.is_empty() && !known.contains(os)).collect()
    }

    /// The base images of these systems.
    fn of_systems(&self, systems: &[String], source: Option<&str>) -> Result<BTreeSet<ImageName>, Error> {
        let images = || self.tree.graph.images().iter().filter_map(|i| Some((i, &i.base_image()?.os)));
        let known: BTreeSet<&str> = images().map(|(_, os)| os.as_str()).collect();
        if let Some(unknown) = systems.iter().find(|os| !known.is_empty() && !known.contains(os.as_str())) {
            let meant = did_you_mean(unknown, known.iter().copied());
            let list = known.iter().copied().collect::<Vec<_>>().join(", ");
            let told = Error::new(ErrorKind::UnknownName, format!("there is no system `{unknown}`{meant}"));
            let told = match source.filter(|source| !source.starts_with("--")) {
                Some(source) => told.because(format!("{source} names it")),
                None => told,
            };
            return Err(told.hint(format!("the systems are {list}")));
        }
        let wanted = images().filter(|(_, os)| systems.contains(os));
        Ok(wanted.map(|(image, _)| image.name.clone()).collect())
    }

    /// What names on the command line are looked up in.
    pub fn names(&self) -> Names<'_> {
        self.places.names(&self.tree)
    }

    /// Whoever types a service where a tag is expected does not want everything built under that tag.
    pub fn refuse_name_as_tag(&self, request: &Request) -> Result<(), Error> {
        let Some(TagWord { command, word }) = &request.tag_of else { return Ok(()) };
        let found = self.names().called(word);
        let Some(image) = found.first() else { return Ok(()) };
        let (a, what) = if image.service == *word { ("a", "service") } else { ("an", "image") };
        let other = intent::of_services(command).unwrap_or(command);
        Err(Error::new(ErrorKind::Usage, format!("`{word}` is {a} {what}; `{command}` takes a tag"))
            .hint(format!("`cargo xtask {other} {word}` is about this {what} alone"))
            .hint(format!("`cargo xtask {command} --tag {word}` if the tag is to be called that")))
    }

    fn named(&self, names: &[String]) -> Result<BTreeSet<ImageName>, Error> {
        let mut found = BTreeSet::new();
        for name in names {
            let matching = self.names().find(name);
            found.extend(matching.iter().map(|image| image.name.clone()));
            if matching.is_empty() {
                let known: BTreeSet<&str> =
                    self.tree.graph.images().iter().map(|i| i.service.as_str()).collect();
                let names = || self.tree.graph.images().iter().map(|i| i.name.as_str());
                // Without what stands before it in more than one.
                let ending = format!("-{name}");
                let meant = match names().find(|image| image.ends_with(&ending)) {
                    Some(image) => format!(", did you mean `{image}`?"),
                    None => did_you_mean(name, known.iter().copied().chain(names())),
                };
                let list = known.into_iter().collect::<Vec<_>>().join(", ");
                return Err(Error::new(
                    ErrorKind::UnknownName,
                    format!("there is no service or image `{name}`{meant}"),
                )
                .hint(format!("the services are {list}")));
            }
        }
        Ok(found)
    }

    /// What the stages of all images are made of, as the tree and this store have it.
    pub fn lineages(
        &self,
        observed: &Observed,
        assessments: &[Assessment],
    ) -> BTreeMap<ImageName, Vec<Lineage>> {
        let keys: BTreeMap<&ImageName, &Digest> =
            assessments.iter().filter_map(|a| Some((&a.name, a.key.as_ref()?))).collect();
        let platform = observed.capabilities.as_ref().map(|c| c.platform.clone());
        lineage::lineages(&Ground {
            graph: &self.tree.graph,
            files: &|name| Some(self.tree.contexts.get(name)?.files.clone()),
            build_platform: &platform.unwrap_or_else(Platform::local),
            base: &|reference| {
                let (_, image) = self.tree.graph.upstreams().find(reference, observed)?;
                Some(observed.identity_of(image))
            },
            key: &|name| keys.get(name).map(|key| (*key).clone()),
        })
    }

    /// What is wrong with these images and with the tree as a whole.
    pub fn diagnostics(&self, selected: &BTreeSet<ImageName>) -> Vec<Diagnostic> {
        self.tree.diagnostics(selected)
    }

    /// The first thing that is wrong with an image's service.
    pub fn problem_of(&self, image: &Image) -> Option<&Diagnostic> {
        let is_its = |f: &&tree::Finding| f.service.as_ref() == Some(&image.service);
        let found = self.tree.findings.iter().filter(is_its).map(|f| &f.diagnostic);
        found.filter(|d| d.severity == Severity::Error).min_by_key(|d| !is_about_settings(d))
    }

    /// Services that cannot even be named as images: they fail, and the end of a run says so.
    pub fn services_without_images(&self) -> Vec<Skipped> {
        let known: BTreeSet<&str> = self.tree.graph.images().iter().map(|i| i.service.as_str()).collect();
        let mut failed: Vec<Skipped> = Vec::new();
        let errors = self.tree.findings.iter().filter(|f| f.diagnostic.severity == Severity::Error);
        for finding in errors.filter(|f| f.service.as_deref().is_some_and(|s| !known.contains(s))) {
            let subject = finding.service.clone().unwrap_or_default();
            if failed.iter().all(|other| other.subject != subject) {
                let why = Reason::Invalid(Box::new(finding.diagnostic.clone()));
                failed.push(Skipped { phase: Phase::Build, subject, why });
            }
        }
        failed
    }

    /// What to exit with because of what was read, whatever comes of the rest: 10 when a small file beside a
    /// Dockerfile cannot be taken, 11 when a Dockerfile or what it reads is wrong.
    pub fn trouble(&self, request: &Request, selected: &BTreeSet<ImageName>) -> Option<ErrorKind> {
        let found = if request.needs_images() {
            let images = self.tree.graph.images().iter().filter(|i| selected.contains(&i.name));
            let services: BTreeSet<&str> = images.map(|i| i.service.as_str()).collect();
            // Who names what is wanted does not want to hear of the rest.
            let is_all = request.is_of_all();
            let is_of_bases = |service: &str| {
                let mut images = self.tree.graph.images().iter();
                images.any(|image| image.base_image().is_some() && image.service == service)
            };
            let concerns = |f: &&tree::Finding| match f.service.as_deref() {
                Some(service) => services.contains(service) || (is_all && !is_of_bases(service)),
                None => is_all,
            };
            self.tree.findings.iter().filter(concerns).map(|f| f.diagnostic.clone()).collect()
        } else if request.has(Phase::Render) {
            self.render.problems().cloned().collect()
        } else {
            Vec::new()
        };
        let mut errors = found.iter().filter(|d| d.severity == Severity::Error).peekable();
        errors.peek()?;
        Some(if errors.any(is_about_settings) { ErrorKind::ConfigInvalid } else { ErrorKind::SourceInvalid })
    }
}

/// The small files beside a Dockerfile are settings, with or without `.tpl`; so is the lock file of artifacts.
fn is_about_settings(found: &Diagnostic) -> bool {
    let name = found.file.rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".tpl").unwrap_or(name);
    matches!(name, BUILD_CONF | BUILD_TARGETS | DEPENDENCY | SERVICE_TOML) || name.ends_with(".lock")
}
