//! What a command looks at: the tree with the engine's store beside it, and which network this is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::brought::{self, Remembered};
use super::foreign::{self, Asked};
use super::locked;
use super::names::Names;
use super::session::Session;
use super::variants;
use crate::build;
use crate::cli::error::{Error, ErrorKind};
use crate::engine::elsewhere::Sought;
use crate::engine::{AnyEngine, EngineError, Store as _, patiently};
use crate::events::secrets::Secrets;
use crate::model::{
    AliasNames, BaseImage, Image, ImageName, ImageSource, MAX_SECRET, Network, NetworkVerdict, Observed,
    Originals, Passed, Platform, Reference, RegistryPrefix, SecretSource, Triggers, stand_in,
};
use crate::plan::Facts;
use crate::plan::build::prefetched;
use crate::plan::prefetch::Bootstrap;
use crate::plan::render::RenderPlan;
use crate::plan::sync_config::SyncConfigPlan;
use crate::read::graph::ImageGraph;
use crate::read::passed;
use crate::read::tree::{self, EngineFacts, Reading, Tree};
use crate::registry::Registry;
use crate::registry::network::{self, NetworkInput};
use crate::settings::{Config, ConfigError, Stages};

/// Shorter lines of a secret file hide nothing.
const LEAST_LINE: usize = 8;

/// What builds are told is nobody else's business, even where an instruction prints it.
fn hide_secrets(secrets: &Secrets, tree: &Tree) {
    let mut hidden = None;
    for image in tree.graph.images() {
        let ImageSource::Build(target) = &image.source else { continue };
        // Most services may ask for the same.
        if hidden.replace(&target.secrets) != Some(&target.secrets) {
            target.secrets.secrets.iter().for_each(|(id, source)| hide_secret(secrets, id, source));
        }
    }
}

/// Each line, and in `key=value` the value alone.
fn hide_secret(secrets: &Secrets, id: &str, source: &SecretSource) {
    let text = match source {
        SecretSource::Variable { value, .. } => Cow::Borrowed(value.reveal()),
        SecretSource::File(path) => {
            let is_secret = std::fs::metadata(path).is_ok_and(|found| found.len() <= MAX_SECRET);
            // What is no text cannot be printed as such.
            Cow::Owned(is_secret.then(|| std::fs::read_to_string(path).ok()).flatten().unwrap_or_default())
        }
    };
    let name = format!("the secret `{id}`");
    // Short lines of a file are its grammar.
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    for line in lines.filter(|line| line.len() >= LEAST_LINE || text.trim().len() == line.len()) {
        secrets.add(&name, line);
        let value = line.rsplit_once('=').or(line.rsplit_once(": ")).map(|(_, value)| value.trim());
        if let Some(value) = value.filter(|value| value.len() >= LEAST_LINE) {
            secrets.add(&name, value.trim_matches(['"', '\'']));
        }
    }
}

/// How much of a store was seen at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// All of it.
    All,
    /// All that the tree names.
    AllNamed,
    /// Less: the tree names more than last time.
    Part,
}

impl Session {
    /// Reads the tree and the engine's store side by side. Without an engine the store is unknown.
    pub async fn look(&self) -> Result<World, Error> {
        self.look_with(Remembered::load(&self.config.root), &[]).await
    }

    /// The same, of the store only what the tree named last time: a list of all that containerd keeps takes an engine
    /// long. None where the store lists all as quickly.
    pub async fn glance(&self) -> Result<Option<(World, Glance)>, Error> {
        let remembered = Remembered::load(&self.config.root);
        let asked = remembered.listed().clone();
        if asked.is_empty() {
            return Ok(None);
        }
        let patterns: Vec<String> = asked.iter().cloned().collect();
        let world = self.look_with(remembered, &patterns).await?;
        let seen = if !world.observed.is_partial() {
            Glance::All
        } else if world.observed.keeps_manifests() && self.listed_names(&world.tree.graph).is_subset(&asked) {
            Glance::AllNamed
        } else {
            Glance::Part
        };
        Ok(Some((world, seen)))
    }

    /// Completes what was seen at a glance by a list of all that the store has. The tree is not read once more, unless
    /// what it stands on is another image than was thought.
    pub async fn look_further(&self, world: World) -> Result<World, Error> {
        let World { sync, render, tree, external, engine, builds_with, .. } = world;
        let store = async {
            let engine = engine?;
            let observed = patiently(engine.observe(), &|slow| self.warn(&slow)).await?;
            Ok((engine, observed))
        };
        let files = Reading { sync, render, tree, computed: BTreeMap::new() };
        let remembered = Remembered::load(&self.config.root);
        self.put_together(files, external, store.await, (remembered, builds_with)).await
    }

    /// All that matches the patterns; without any, all that there is.
    async fn look_with(&self, remembered: Remembered, patterns: &[String]) -> Result<World, Error> {
        let store = async {
            let engine = self.connect().await?;
            let slow = |slow: String| self.warn(&slow);
            let observed = match patterns {
                [] => patiently(engine.observe(), &slow).await?,
                _ => patiently(engine.observe_names(patterns), &slow).await?,
            };
            Ok((engine, observed))
        };
        let guess = EngineFacts::from(Platform::local());
        let external = remembered.guess();
        let (files, store) = tokio::join!(self.read_files(&guess, &external), store);
        let mut files = files?;
        let builds_with = match &store {
            Ok((engine, observed)) => engine_facts(engine, observed, &files.tree).await?,
            Err(_) => guess.clone(),
        };
        if builds_with != guess {
            // Rare: an engine of another kind of machine, or one that keeps no index of what is made for several platforms.
            // Platform args reach into every Dockerfile.
            files = self.read_files(&builds_with, &external).await?;
        }
        self.put_together(files, external, store, (remembered, builds_with)).await
    }

    /// Reads the files once more where what they stand on brings something else than `external`.
    async fn put_together(
        &self,
        mut files: Reading,
        mut external: Triggers,
        store: Result<(AnyEngine, Observed), EngineError>,
        (mut remembered, builds_with): (Remembered, EngineFacts),
    ) -> Result<World, Error> {
        let (engine, mut observed) = match store {
            Ok((engine, observed)) => (Ok(engine), observed),
            Err(error) => (Err(error), Observed::nothing()),
        };
        if let Ok(AnyEngine::Elsewhere(there)) = &engine {
            observed = there.look_for(self.sought(&files.tree.graph)).await?;
        }
        if let Ok(engine) = &engine {
            let graph = &files.tree.graph;
            let now = self.know(graph, engine, &mut observed, &mut remembered).await;
            if brought::differs(&brought::stood_upon(graph), &external, &now) {
                files = self.read_files(&builds_with, &now).await?;
                // What they bring may name further images.
                self.know(&files.tree.graph, engine, &mut observed, &mut remembered).await;
            }
            external = now;
        }
        let Reading { sync, render, mut tree, .. } = files;
        // Of a part of the store nothing is believed but that all is up to date, which suits any engine.
        if !observed.is_partial() {
            self.suit(&mut tree, &engine, &observed).await;
        }
        if let Ok(engine) = &engine {
            if !observed.is_partial() {
                let is_slow = observed.keeps_manifests();
                remembered.list(if is_slow { self.listed_names(&tree.graph) } else { BTreeSet::new() });
            }
            let bases = self.bases(tree.graph.images());
            foreign::learn_platforms(engine, &mut observed, &bases, Asked::Foreign).await;
            observed = variants::look(engine, observed, &tree.graph, &bases, builds_with.indexes).await;
        }
        let (places, lock) = (self.places(), locked::read(&self.config));
        // No other command asks.
        let passed = match self.config.stages {
            Stages::Tests => passed::load(&self.config.root),
            Stages::No | Stages::Named(_) => BTreeMap::new(),
        };
        Ok(World { places, sync, render, tree, external, engine, observed, builds_with, lock, passed })
    }

    /// What registries are asked for in place of a store: the images of the tree, and what they stand on under each name.
    fn sought(&self, graph: &ImageGraph) -> Vec<Sought> {
        let own = graph.images().iter().flat_map(|image| {
            image.known_names().enumerate().map(|(at, (name, alias))| Sought {
                reference: name.clone(),
                platform: image.platform.clone(),
                // A variant is found by way of its index.
                also: Some(&image.reference)
                    .filter(|_| at == 0 && image.index.is_some())
                    .into_iter()
                    .chain(alias)
                    .cloned()
                    .collect(),
                is_ours: true,
            })
        });
        let config = &self.config;
        let internal = config.internal_registry.as_ref().map(RegistryPrefix::domain);
        let is_cut_off = config.network == Some(Network::Internal);
        let may_ask = |name: &Reference| match name.domain() {
            // It names what an engine keeps.
            "localhost" => false,
            _ if name.is_on_this_machine() => true,
            domain => !config.offline && (!is_cut_off || Some(domain) == internal),
        };
        let bases = self.bases(graph.images()).into_iter().filter(|(name, _)| may_ask(name));
        let bases = bases.map(|(reference, platform)| Sought {
            reference,
            platform,
            also: Vec::new(),
            is_ours: false,
        });
        let mut all: Vec<Sought> = own.chain(bases).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What the engine's store has now, as [`Self::look`] sees it.
    pub async fn observe(&self, engine: &AnyEngine, world: &World) -> Result<Observed, EngineError> {
        let mut observed = engine.observe().await?;
        let bases = self.bases(world.tree.graph.images());
        foreign::learn_platforms(engine, &mut observed, &bases, Asked::Foreign).await;
        self.know_bases(world, engine, &mut observed).await;
        let indexes = world.builds_with.indexes;
        Ok(variants::look(engine, observed, &world.tree.graph, &bases, indexes).await)
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
            let AliasNames { localhost, internal, .. } = self.config.alias_rules().names_of(reference);
            all.push((reference.clone(), platform.clone()));
            all.extend(localhost.into_iter().chain(internal).map(|name| (name, platform.clone())));
        }
        all
    }

    /// The same world with its files read again, after something came that they stand on.
    pub async fn look_again(&self, world: &World, external: Triggers) -> Result<World, Error> {
        let builds_with = world.builds_with.clone();
        let Reading { sync, render, mut tree, .. } = self.read_files(&builds_with, &external).await?;
        self.suit(&mut tree, &world.engine, &world.observed).await;
        let (places, lock) = (self.places(), world.lock.clone());
        let (engine, observed) = (world.engine.clone(), world.observed.clone());
        let passed = world.passed.clone();
        Ok(World { places, sync, render, tree, external, engine, observed, builds_with, lock, passed })
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
        let mut remembered = Remembered::load(&self.config.root);
        self.know(&world.tree.graph, engine, observed, &mut remembered).await
    }

    /// Completes a store by what is in the external images of a tree, under each name by which one may be here. Returns what
    /// they bring.
    async fn know(
        &self,
        graph: &ImageGraph,
        engine: &AnyEngine,
        observed: &mut Observed,
        remembered: &mut Remembered,
    ) -> Triggers {
        let external = self.external_names(graph);
        remembered.learn(engine, observed, &external.iter().collect(), graph.upstreams()).await
    }

    /// The external images of a tree, under each name by which one may be here.
    fn external_names(&self, graph: &ImageGraph) -> BTreeSet<Reference> {
        let named: BTreeSet<&Reference> = graph.images().iter().flat_map(prefetched).collect();
        let rules = self.config.alias_rules();
        let originals = Originals::new(rules, named.iter().copied()).beside(graph.upstreams());
        let aliases = named.iter().flat_map(|name| {
            let AliasNames { original, localhost, internal } = rules.names_of(&originals.original_of(name));
            [Some(original), localhost, internal].into_iter().flatten()
        });
        named.iter().copied().cloned().chain(aliases).collect()
    }

    /// By which names a run with nothing to do finds all that it looks for.
    fn listed_names(&self, graph: &ImageGraph) -> BTreeSet<String> {
        let external = self.external_names(graph);
        let twins = external.iter().filter_map(|name| graph.upstreams().twin_of(name));
        let bases = self.bases(graph.images());
        let external = external.iter().chain(twins).chain(bases.iter().map(|(name, _)| name));
        // What is pinned may be here as pulled by its digest, by its tag alone, or as loaded.
        let forms = external
            .flat_map(|name| [Some(name.clone()), name.without_tag(), name.without_digest(), stand_in(name)]);
        let own = graph.images().iter().flat_map(Image::all_names).cloned();
        forms.flatten().chain(own).map(|name| name.familiar()).collect()
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
    async fn read_files(&self, builds_with: &EngineFacts, external: &Triggers) -> Result<Reading, Error> {
        let (config, external, secrets) = (self.config.clone(), external.clone(), self.secrets.clone());
        let builds_with = builds_with.clone();
        let read = tokio::task::spawn_blocking(move || {
            let reading = tree::look_upon(&config, builds_with, &external)?;
            hide_secrets(&secrets, &reading.tree);
            Ok(reading)
        });
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
            names.extend([image.service.clone(), image.name.image().to_string()]);
            names.extend(image.all_names().map(Reference::familiar));
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
        let bases = world.tree.base_images(&world.tree.all());
        let originals = world.tree.originals(self.config.alias_rules());
        NetworkInput {
            forced: config.network.map(|n| (n, config.network_source.clone().unwrap_or_default())),
            offline: config.offline,
            public: network::public_domains(&bases, &originals, &config.mirrors),
            internal: config.internal_registry.clone(),
            cache: Some(config.root.clone()),
            freshness: self.freshness,
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
        let tree = self.read_files(&Platform::local().into(), &Triggers::new()).await?.tree;
        Ok(self.places().names(&tree).find(word).into_iter().map(|image| image.name.clone()).collect())
    }
}

/// What decides how the tree is read. Only where something is made for several platforms more is asked than what the engine
/// runs by default.
async fn engine_facts(engine: &AnyEngine, observed: &Observed, tree: &Tree) -> Result<EngineFacts, Error> {
    let own = observed.capabilities.as_ref().map_or_else(Platform::local, |found| found.platform.clone());
    let is_foreign = tree.graph.images().iter().any(|image| image.platform != own);
    let is_of_several = tree.graph.images().iter().any(|image| image.index.is_some());
    let facts = EngineFacts::from(own);
    let native = if is_foreign { build::natives(engine).await } else { None };
    let native = native.unwrap_or(facts.native);
    let indexes = if is_of_several { engine.indexes().await? } else { facts.indexes };
    Ok(EngineFacts { indexes, native, ..facts })
}

/// Where the folders of images are looked for: globs, relative to the root.
pub(super) struct Places {
    pub services: Vec<String>,
    pub base_images: Vec<String>,
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
    pub places: Places,
    pub sync: SyncConfigPlan,
    pub render: RenderPlan,
    pub tree: Tree,
    /// What external images bring, as the tree was read with.
    pub external: Triggers,
    pub engine: Result<AnyEngine, EngineError>,
    pub observed: Observed,
    /// Who builds, as the tree was read for.
    pub builds_with: EngineFacts,
    pub lock: locked::Held,
    /// The tests that passed.
    pub passed: BTreeMap<ImageName, Passed>,
}

impl World {
    /// What plans are made from, for a store as it is now; nobody has asked yet which network this is.
    pub fn facts<'a>(&'a self, session: &'a Session, observed: &'a Observed) -> Facts<'a> {
        Facts {
            settings: &session.config,
            bootstrap: if session.bootstrap { Bootstrap::Yes } else { Bootstrap::No },
            tree: &self.tree,
            sync: &self.sync,
            render: &self.render,
            lock: self.lock.as_ref().ok().and_then(Option::as_ref),
            passed: &self.passed,
            observed,
            indexes: self.builds_with.indexes,
            network: None,
            recall: &|_| None,
        }
    }

    /// What names on the command line are looked up in.
    pub fn names(&self) -> Names<'_> {
        self.places.names(&self.tree)
    }
}
