//! What every command starts from: the settings, what to show, and the tree with the engine's store beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::args::{ColorChoice, Global, ProgressChoice};
use crate::config::{self, Config, Layer, parse_build_arg};
use crate::discover::{self, Discovered};
use crate::engine::connect::{Surroundings, connect};
use crate::engine::provision::Home;
use crate::engine::{AnyEngine, Engine as _, EngineError};
use crate::env::Env;
use crate::error::Error;
use crate::model::{
    AliasRules, ImageName, NetworkVerdict, Observed, Originals, Platform, Reference, Severity,
};
use crate::network::{self, Freshness, NetworkInput};
use crate::plan::build::prefetched;
use crate::plan::render::{RenderPlan, plan_render};
use crate::plan::sync_config::{SyncConfigPlan, plan_sync_config};
use crate::registry::Registry;
use crate::report::resolve::{self, Circumstances, ColourChoice, Display, resolve};
use crate::secrets::Secrets;
use crate::suggest::did_you_mean;
use crate::tree::{self, Finding, ReadInput, Tree};

/// What was typed and set, complete.
pub(super) struct Session {
    pub env: Env,
    pub config: Config,
    pub display: Display,
    pub secrets: Secrets,
    /// What was typed, for records and locks.
    pub command: String,
    pub bootstrap: bool,
    pub freshness: Freshness,
}

impl Session {
    /// Finds the root and reads the settings; `layer` is what the command's own options set.
    pub fn open(global: &Global, layer: Layer, build_args: &[String]) -> Result<Self, Error> {
        let env = Env::from_process();
        let here = std::env::current_dir().map_err(|error| Error::no_working_folder(&error))?;
        let root = config::find_root(global.root.as_deref(), &here, &env)?;
        let mut layer = layer.or(global.layer());
        for text in build_args {
            if let Some((name, value)) = parse_build_arg(text, &env).map_err(Error::usage)? {
                layer.build_args.insert(name, value.into());
            }
        }
        let file = global.config.as_ref().map(|path| here.join(path));
        let config = config::load(&root, layer, &env, file.as_deref())?;
        let secrets = Secrets::default();
        for (name, value) in config.build_args.flags.iter().chain(&config.build_args.settings) {
            secrets.add_build_arg(name, value);
        }
        for proxy in env.proxies().values() {
            secrets.add_url(proxy);
        }
        let typed: Vec<String> = std::env::args().skip(1).collect();
        let command = secrets.redact(&typed.join(" ")).into_owned();
        let display = resolve(circumstances(global, &env, config.verbose));
        let freshness = if global.no_cache_verdict { Freshness::Fresh } else { Freshness::Cached };
        Ok(Self { env, config, display, secrets, command, bootstrap: global.bootstrap, freshness })
    }

    /// The engine that is there, without starting one.
    pub async fn connect(&self) -> Result<AnyEngine, EngineError> {
        let private = Home::of_tree(&self.config.root).recorded_socket();
        connect(&Surroundings::new(&|name| self.env.get(name).map(str::to_owned), private)).await
    }

    /// Reads the tree and the engine's store side by side. Without an engine the store is unknown.
    pub async fn look(&self) -> Result<World, Error> {
        let store = async {
            match self.connect().await {
                Ok(engine) => match engine.observe().await {
                    Ok(observed) => Ok((engine, observed)),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            }
        };
        let guess = Platform::local();
        let (files, store) = tokio::join!(self.read_files(guess.clone()), store);
        let mut files = files?;
        let (engine, observed) = match store {
            Ok((engine, observed)) => (Ok(engine), observed),
            Err(error) => (Err(error), Observed::nothing()),
        };
        if let Some(found) = observed.capabilities.as_ref().map(|c| &c.platform).filter(|p| **p != guess) {
            // Rare: an engine of another kind of machine. Platform args reach into every Dockerfile.
            files = self.read_files(found.clone()).await?;
        }
        let Files { discovered, sync, render, tree } = files;
        Ok(World { discovered, sync, render, tree, engine, observed })
    }

    /// Reads the tree off the async threads.
    async fn read_files(&self, engine_platform: Platform) -> Result<Files, Error> {
        let config = self.config.clone();
        let read = tokio::task::spawn_blocking(move || read_files(&config, engine_platform));
        read.await.map_err(|panic| Error::bug(panic.to_string()))?
    }

    /// Which network this is; probes only when nothing else decides.
    pub async fn network(&self, world: &World, registry: &Registry) -> NetworkVerdict {
        let config = &self.config;
        let bases = world.base_images(&world.all());
        let originals = Originals::new(self.rules(), &bases);
        let input = NetworkInput {
            forced: config.network.map(|n| (n, config.network_source.clone().unwrap_or_default())),
            offline: config.offline,
            public: network::public_domains(&bases, &originals, &config.mirrors),
            internal: config.internal_registry.clone(),
            cache: Some(network::cache_path(&config.root)),
            freshness: self.freshness,
        };
        network::decide(&input, |domain| async move { registry.probe(&domain).await }).await
    }

    /// How names of base images are made.
    pub fn rules(&self) -> AliasRules<'_> {
        AliasRules {
            internal_registry: self.config.internal_registry.as_ref(),
            prefixes: &self.config.alias_prefixes,
        }
    }
}

fn circumstances(global: &Global, env: &Env, verbose: bool) -> Circumstances {
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
    }
}

/// What was read from disk, and what is going to be written.
struct Files {
    discovered: Discovered,
    sync: SyncConfigPlan,
    render: RenderPlan,
    tree: Tree,
}

fn read_files(config: &Config, engine_platform: Platform) -> Result<Files, Error> {
    let sync = plan_sync_config(&config.env_files).map_err(Error::config)?;
    let mut discovered = discover::discover(config);
    let render = plan_render(&discovered.templates, config);
    discovered.take_rendered(&render.outputs);
    let mut overlay: BTreeMap<String, (Arc<str>, u32)> = BTreeMap::new();
    for step in sync.steps.iter().chain(&render.steps) {
        if let crate::model::StepKind::WriteFile { path, contents, mode, .. } = &step.kind {
            overlay.insert(path.clone(), (Arc::from(contents.as_str()), mode.unwrap_or(0o644)));
        }
    }
    let tree = tree::read(&ReadInput { config, discovered: &discovered, overlay, engine_platform });
    Ok(Files { discovered, sync, render, tree })
}

/// The tree, and the engine's store as it was when the command began.
pub(super) struct World {
    pub discovered: Discovered,
    pub sync: SyncConfigPlan,
    pub render: RenderPlan,
    pub tree: Tree,
    pub engine: Result<AnyEngine, EngineError>,
    pub observed: Observed,
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

    /// The images that `--only`, `--skip` or names on the command line leave, with all that they build on.
    pub fn select(&self, only: &[String], skip: &[String]) -> Result<BTreeSet<ImageName>, Error> {
        let chosen: BTreeSet<ImageName> = if only.is_empty() { self.all() } else { self.named(only)? };
        let unwanted = self.named(skip)?;
        let left: BTreeSet<ImageName> = chosen.difference(&unwanted).cloned().collect();
        if left.is_empty() {
            return Err(Error::nothing_selected(&self.discovered.searched));
        }
        Ok(self.tree.graph.closure(&left))
    }

    fn named(&self, names: &[String]) -> Result<BTreeSet<ImageName>, Error> {
        let mut found = BTreeSet::new();
        for name in names {
            let images = self.tree.graph.images().iter();
            let matching = images.filter(|i| i.service == *name || i.name.as_str() == name);
            let before = found.len();
            found.extend(matching.map(|i| i.name.clone()));
            if found.len() == before && !self.is_known(name) {
                let known: BTreeSet<&str> =
                    self.tree.graph.images().iter().map(|i| i.service.as_str()).collect();
                return Err(Error::unknown_name("service", name, &did_you_mean(name, known.iter().copied()), &known));
            }
        }
        Ok(found)
    }

    pub fn is_known(&self, name: &str) -> bool {
        self.tree.graph.images().iter().any(|i| i.service == name || i.name.as_str() == name)
    }

    /// Findings of rendering count for the services that the templates belong to.
    pub fn render_findings(&self) -> impl Iterator<Item = Finding> {
        self.render.problems.iter().map(|problem| Finding {
            service: self.discovered.service_of(&problem.file),
            diagnostic: problem.clone(),
        })
    }

    /// True when something of the selected images is broken.
    pub fn has_errors(&self, selected: &BTreeSet<ImageName>) -> bool {
        self.tree.diagnostics(selected).iter().any(|d| d.severity == Severity::Error)
    }
}

/// Where a tree's private engine listens, if it was started.
pub(super) type Socket = PathBuf;
