//! What every command starts from: what was typed and set, complete, and whom it may speak to.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::args::{Global, ImageOutput, Reporting};
use super::reproducible::is_too_old;
use super::world::World;
use crate::artifact::Fetcher;
use crate::build;
use crate::cli::error::{Error, ErrorKind};
use crate::engine::ImageStore;
use crate::engine::builders::{self, BuilderNode};
use crate::engine::elsewhere::Elsewhere;
use crate::engine::provision::Home;
use crate::engine::provision::builder::BuilderHome;
use crate::engine::{self, AnyEngine, EngineError, Surroundings};
use crate::events;
use crate::events::secrets::{self, Secrets};
use crate::host::lock::{Holder, Lock};
use crate::host::retry::Policy;
use crate::model::{Attestations, BuilderCache, CacheKind, Capabilities, EventKind, Keeps, Phase};
use crate::registry::Registry;
use crate::registry::credentials::Credentials;
use crate::registry::network::Freshness;
use crate::report;
use crate::report::bug::RunNotes;
use crate::report::resolve::{ColourChoice, Display, DisplayInput, Forge, Mode, ProgressChoice, resolve};
use crate::settings::env::Env;
use crate::settings::{self, Config, Layer, Scalar, Variable, parse_build_arg};

/// What `--builder` calls the engine's own builder.
const ENGINES_OWN: &str = "default";

/// What every command is given: the options that all of them take, what a panic would have to know, and what it was
/// started with.
#[derive(Clone, Copy)]
pub(super) struct Typed<'a> {
    pub global: &'a Global,
    pub notes: &'a RunNotes,
    pub env: &'a Env,
    /// The engine to speak to, whatever the environment says.
    pub engine: Option<&'a AnyEngine>,
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
    colour: ColourChoice,
    /// The engine to speak to, whatever the environment says.
    engine: Option<AnyEngine>,
    /// The builder that is used in place of the engine's own.
    builder: Option<String>,
    /// Where its images are.
    pub keeps: Keeps,
    /// The folder that has the images of a builder elsewhere, where no registry does.
    layout: Option<PathBuf>,
    /// Seconds since 1970 that stand for all times in images.
    pub epoch: Option<i64>,
}

/// Whether a command is going to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// It is.
    Yes,
    /// It only looks.
    No,
}

impl Changes {
    /// It is, unless it only says what it would do.
    pub fn unless(only_says: bool) -> Self {
        if only_says { Self::No } else { Self::Yes }
    }
}

/// Where a command works.
pub(super) struct Location {
    /// The tree's root.
    pub root: PathBuf,
    /// What relative paths that were typed start from.
    pub here: PathBuf,
}

/// Finds both; a root that nobody asked for is named before anything else is said.
pub(super) fn standpoint(typed: &Typed<'_>) -> Result<Location, Error> {
    let global = typed.global;
    let here = here(typed)?;
    let root = settings::find_root(global.root.as_deref(), &here, typed.env)?;
    let is_for_people =
        !global.quiet && !matches!(global.progress, ProgressChoice::Json | ProgressChoice::Quiet);
    if let Some(guessed) = root.guessed.filter(|_| is_for_people) {
        super::say(&format!("root: {} ({guessed}; --root DIR names another)", root.path.display()));
    }
    Ok(Location { root: root.path, here })
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
        let Location { root, here } = standpoint(typed)?;
        Self::open_at(typed, (&root, &here), layer, build_args)
    }

    fn open_at(
        typed: &Typed<'_>,
        (root, here): (&Path, &Path),
        layer: Layer,
        build_args: &[String],
    ) -> Result<Self, Error> {
        let global = typed.global;
        let mut layer = layer.or(global.layer());
        for text in build_args {
            if let Some((name, value)) =
                parse_build_arg(text, typed.env).map_err(|why| Error::new(ErrorKind::Usage, why))?
            {
                layer.build_args.insert(name, Scalar(value));
            }
        }
        let file = global.config.as_ref().map(|path| here.join(path));
        let config = settings::load(root, layer, typed.env, file.as_deref())?;
        Ok(Self::of(typed, config))
    }

    /// The same; where the settings cannot be used, with the built-in ones, and why.
    ///
    /// # Errors
    /// When not even these can be had.
    pub fn open_or_built_in(typed: &Typed<'_>, layer: Layer) -> Result<(Self, Option<Error>), Error> {
        let (Location { root, here }, trouble) = match standpoint(typed) {
            Ok(ground) => (ground, None),
            Err(trouble) => {
                let here = here(typed)?;
                (Location { root: here.clone(), here }, Some(trouble))
            }
        };
        let opened = match trouble {
            None => Self::open_at(typed, (&root, &here), layer.clone(), &[]),
            Some(trouble) => Err(trouble),
        };
        let trouble = match opened {
            Ok(session) => return Ok((session, None)),
            Err(trouble) => trouble,
        };
        let config = settings::built_in(&root, layer.or(typed.global.layer()), typed.env)?;
        Ok((Self::of(typed, config), Some(trouble)))
    }

    fn of(typed: &Typed<'_>, config: Config) -> Self {
        let (global, env) = (typed.global, typed.env.clone());
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
        let caches = config.caches.from.iter().chain(&config.caches.to);
        for (name, value) in caches.flat_map(BuilderCache::secrets) {
            secrets.add(&format!("`{name}` of a cache"), value);
        }
        for (name, url) in env.proxies() {
            secrets.add_url(&format!("`{name}`"), &url);
        }
        let display = resolve(display_input(global, &env, config.verbose));
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
            engine: typed.engine.cloned(),
            builder: None,
            keeps: Keeps::Engine,
            layout: None,
            epoch: None,
        }
    }

    /// What was typed, for records and locks, without secrets.
    pub fn command(&self) -> String {
        self.secrets.redact(&self.words).into_owned()
    }

    /// Whether what goes to stdout is coloured.
    pub fn colours_stdout(&self, is_terminal: bool) -> bool {
        match self.colour {
            ColourChoice::Always => true,
            ColourChoice::Never => false,
            ColourChoice::Auto => is_terminal && !self.env.no_color(),
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
    pub fn elsewhere(&self, root: &Path, engine: AnyEngine) -> Self {
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
            engine: Some(engine),
            builder: None,
            keeps: Keeps::Engine,
            layout: None,
            epoch: None,
        }
    }

    /// The engine that is there, without starting one. Says what is odd about it.
    pub async fn connect(&self) -> Result<AnyEngine, EngineError> {
        if let Some(engine) = &self.engine {
            return Ok(engine.clone());
        }
        if let (Some(builder), Keeps::Registry) = (&self.builder, self.keeps) {
            return self.connect_elsewhere(builder).await;
        }
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
        let Some(builder) = &self.builder else { return Ok(engine) };
        let (nodes, capabilities) = self.ask_builder(builder).await?;
        engine.built_for_by(nodes, &capabilities, self.surroundings(), self.config.root.clone()).await
    }

    /// What to say where the engine is missing.
    pub fn without_engine(&self, error: &EngineError) -> Error {
        let told = Error::from(error.clone());
        match (self.keeps, error) {
            (Keeps::Beside, EngineError::Unreachable { .. }) => told.hint(
                "`--push --registry REGISTRY` needs no engine: what the builder makes goes there, not into an engine",
            ),
            _ => told,
        }
    }

    async fn ask_builder(&self, builder: &str) -> Result<(Vec<BuilderNode>, Capabilities), EngineError> {
        let unknown = |why| EngineError::NoBuilder { builder: builder.to_owned(), causes: vec![why] };
        let nodes = builders::nodes(builder, &self.surroundings()).map_err(unknown)?;
        let capabilities = build::ask(builder, &nodes).await?;
        if self.epoch.is_some() && is_too_old(&capabilities.version) {
            let endpoint = nodes.first().map_or("", BuilderNode::endpoint).to_owned();
            let lacks = format!("is BuildKit {}, and --reproducible needs 0.13", capabilities.version);
            return Err(EngineError::Unfit { endpoint, lacks });
        }
        Ok((nodes, capabilities))
    }

    /// A builder that is no engine: what it makes goes to a registry, and what is there is asked of registries.
    async fn connect_elsewhere(&self, builder: &str) -> Result<AnyEngine, EngineError> {
        let (nodes, capabilities) = self.ask_builder(builder).await?;
        let there = Elsewhere::new(nodes, capabilities, self.surroundings(), &self.config.root);
        Ok(AnyEngine::Elsewhere(Box::new(match &self.layout {
            Some(folder) => there.into_layout(folder.clone()),
            None => there,
        })))
    }

    /// What of the environment decides which engine is used.
    pub fn surroundings(&self) -> Surroundings {
        let private = Home::of_tree(&self.config.root)
            .recorded_endpoint()
            .and_then(|e| Some(PathBuf::from(e.strip_prefix("unix://")?)));
        let private_builder = BuilderHome::of_tree(&self.config.root);
        let surroundings = Surroundings::new(&|name| self.env.get(name).map(str::to_owned), private);
        Surroundings {
            secrets: self.secrets.clone(),
            credentials: self.credentials.clone(),
            stall: self.config.stall,
            private_builder: private_builder.socket().exists().then(|| private_builder.endpoint()),
            ..surroundings
        }
    }

    /// The builder that is to be used in place of the engine's own. Whoever says nothing to us may have told buildx
    /// (`BUILDX_BUILDER`): an instance of its own counts, a docker context is an engine.
    pub fn builder_named(&self) -> Option<String> {
        let of_buildx = || {
            let name = self.env.non_empty("BUILDX_BUILDER")?.to_owned();
            let folder = self.surroundings().buildx_dir?;
            builders::instances(&folder).contains(&name).then_some(name)
        };
        let named = self.config.builder.clone().or_else(of_buildx);
        named.filter(|name| name != ENGINES_OWN)
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

    /// Looks at what a command is about, and holds the tree's lock where it is going to change something: what was seen has
    /// to be true still then. Ctrl-C ends it.
    pub async fn prepare<T>(
        &self,
        changes: Changes,
        looking: impl Future<Output = Result<T, Error>>,
    ) -> Result<(Option<Lock>, T), Error> {
        let lock = match changes {
            Changes::Yes => self.lock().await?,
            Changes::No => None,
        };
        Ok((lock, super::interruptible(looking).await?))
    }

    /// A builder elsewhere has a cache of its own, and no stages are kept of what it builds. Where it has its images in a registry,
    /// nothing is pulled, named or pushed by itself either, and what is looked at afterwards is the registry.
    pub fn with_builder(&self, phases: &mut Vec<Phase>) {
        let is_engines = |phase: &Phase| matches!(phase, Phase::Prefetch | Phase::Alias | Phase::Push);
        let is_stages = |phase: &Phase| matches!(phase, Phase::Keep | Phase::Cache);
        match self.keeps {
            Keeps::Engine => {}
            Keeps::Beside => phases.retain(|phase| !is_stages(phase)),
            Keeps::Registry => {
                phases.retain(|phase| !is_stages(phase) && !is_engines(phase));
                if phases.contains(&Phase::Build) && !phases.contains(&Phase::Verify) {
                    phases.push(Phase::Verify);
                }
            }
        }
    }

    /// For a command that builds, where a builder is named that is no engine. What it builds goes into the folder that is typed
    /// (`output`), or the registry that is pushed to (`may_push`), else into the engine.
    ///
    /// # Errors
    /// The registry may not be asked; a folder, and an engine that builds.
    pub fn built_elsewhere(self, may_push: bool, output: Option<&ImageOutput>) -> Result<Self, Error> {
        let builder = self.builder_named();
        if let Some(ImageOutput(folder)) = output {
            if builder.is_none() {
                let what = "an engine keeps what it builds, and --output wants it in a folder";
                return Err(Error::new(ErrorKind::Usage, what)
                    .hint("`--builder BUILDER --output oci:DIR` builds elsewhere, into the folder")
                    .hint("`cargo xtask bundle create -o DIR` writes what an engine has"));
            }
            return Ok(Self { builder, keeps: Keeps::Registry, layout: Some(folder.clone()), ..self });
        }
        if builder.is_none() || (may_push && self.config.registry.is_some()) {
            return self.looked_at_elsewhere();
        }
        Ok(Self { builder, keeps: Keeps::Beside, ..self })
    }

    /// For a command that only looks: images of a builder that is no engine are in the registry, where one is named, else in
    /// the engine as any others.
    ///
    /// # Errors
    /// The registry may not be asked.
    pub fn looked_at_elsewhere(self) -> Result<Self, Error> {
        let (Some(builder), Some(registry)) = (self.builder_named(), self.config.registry.as_ref()) else {
            return Ok(self);
        };
        if self.config.offline && !registry.is_on_this_machine() {
            let what = format!("a builder elsewhere has its images in {registry}, and --offline asks nobody");
            return Err(Error::new(ErrorKind::Usage, what)
                .hint("without --push and --registry they are loaded into the engine")
                .hint("`--builder default` builds on the engine"));
        }
        Ok(Self { builder: Some(builder), keeps: Keeps::Registry, ..self })
    }

    /// The engine, where it keeps images by itself and not in containerd: its builder can do less.
    pub async fn unpacking_engine(&self) -> Result<Option<AnyEngine>, Error> {
        let engine = self.connect().await?;
        Ok((engine.survey().await?.store == ImageStore::Graph).then_some(engine))
    }

    /// Refuses what a build is to state about its images where their store would lose it: an engine that keeps images by
    /// itself, not in containerd, has no index. Only who asks for it has the engine asked.
    pub async fn refuse_attestations(&self) -> Result<(), Error> {
        if self.keeps == Keeps::Registry || self.config.attestations == Attestations::default() {
            return Ok(());
        }
        let Some(engine) = self.unpacking_engine().await? else { return Ok(()) };
        let what =
            format!("the engine at {} keeps no index, which --provenance and --sbom need", engine.endpoint());
        Err(Error::new(ErrorKind::EngineUnfit, what)
            .hint("`\"features\": {\"containerd-snapshotter\": true}` in /etc/docker/daemon.json has it keep images in containerd")
            .hint("`--builder BUILDER --push --registry REGISTRY` builds elsewhere, into a registry"))
    }

    /// Refuses caches of the builder's own where the engine's builder knows none: one that keeps images by itself only leaves
    /// them in the image (moby, `builder/builder-next/controller.go`). Only who asks for one has the engine asked.
    pub async fn refuse_caches(&self) -> Result<(), Error> {
        let caches = &self.config.caches;
        for cache in caches.from.iter().chain(&caches.to) {
            if let Some(why) = cache.closed_because() {
                self.warn(&format!("`{cache}` is left out: {why}"));
            }
        }
        let foreign = caches.to.iter().find(|cache| cache.kind != CacheKind::Inline);
        let Some(cache) = foreign.filter(|_| self.keeps == Keeps::Engine) else { return Ok(()) };
        let Some(engine) = self.unpacking_engine().await? else { return Ok(()) };
        let what = format!("the builder of the engine at {} leaves no cache in `{cache}`", engine.endpoint());
        Err(Error::new(ErrorKind::EngineUnfit, what)
            .hint("`--cache-to REGISTRY/PATH` stores stages there, which any engine can")
            .hint("`--builder BUILDER` builds elsewhere, where every kind of cache is known"))
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
}

/// What was typed, and where it was.
pub(super) fn display_input(global: &Global, env: &Env, verbose: bool) -> DisplayInput {
    DisplayInput {
        progress: global.progress,
        colour: global.color,
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
