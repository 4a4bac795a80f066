//! EFFECT: the read half of every command: services to images with hashed contexts.
//!
//! In: the settings, what discover found, what rendering is going to write. Out: a [`Tree`]: the linked graph,
//! a hashed context for each image, and diagnostics. Decides nothing: planners do. A service that is broken
//! stays in the tree, so that `status` can name it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::conf::{self, ServiceContext};
use crate::config::{Config, ContextChoice};
use crate::discover::{
    BUILD_CONF, BUILD_TARGETS, DEPENDENCY, DOCKERFILE, Discovered, SERVICE_TOML, ServiceSource,
};
use crate::dockerfile::{self, Dockerfile, Options, Resolved};
use crate::fingerprint::cache::HashCache;
use crate::fingerprint::canonical::digest_files;
use crate::fingerprint::files::Context;
use crate::fingerprint::listing::Listings;
use crate::graph::ImageGraph;
use crate::ignorefile::IgnoreFile;
use crate::model::{
    AliasRules, BaseImage, BuildGroup, BuildTarget, ContextFile, Diagnostic, Digest, Image, ImageName,
    ImageSource, InputKind, InputPattern, Platform, Reference, Severity,
};
use crate::plan::build::{Contexts, Prepared};
use crate::template::Rendered;

/// Everything that was read of a tree.
#[derive(Debug, Default)]
pub struct Tree {
    /// The images, linked.
    pub graph: ImageGraph,
    /// Their contexts, hashed.
    pub contexts: Contexts,
    /// What is wrong, each with the service that it concerns (none: the whole tree).
    pub findings: Vec<Finding>,
}

/// A diagnostic and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The service; none for what concerns the whole tree.
    pub service: Option<String>,
    /// What is wrong.
    pub diagnostic: Diagnostic,
}

/// What reading needs to know beyond the settings.
#[derive(Debug)]
pub struct ReadInput<'a> {
    /// The settings.
    pub config: &'a Config,
    /// Services and their texts.
    pub discovered: &'a Discovered,
    /// Every rendered text, written or not, by root-relative path.
    pub rendered: &'a BTreeMap<String, Rendered>,
    /// What rendering found wrong.
    pub render_problems: &'a [Diagnostic],
    /// Texts and permission bits of files that are going to be written, by root-relative path.
    pub overlay: BTreeMap<String, (Arc<str>, u32)>,
    /// What the engine runs by default.
    pub engine_platform: Platform,
}

/// Where the hash cache of a tree lies.
fn cache_path(root: &Path) -> PathBuf {
    root.join("target/xtask/cache/files.bin")
}

/// Reads the tree. Blocking: call it off the async threads.
pub fn read(input: &ReadInput<'_>) -> Tree {
    let config = input.config;
    let hashes = HashCache::load(&cache_path(&config.root));
    let listings = Listings::new(&config.root, input.overlay.clone());
    let read: Vec<ReadService> = input
        .discovered
        .services
        .par_iter()
        .map(|service| Reader { input, service, listings: &listings, hashes: &hashes }.read())
        .collect();
    let mut tree = Tree::default();
    let belongs = |d: &&Diagnostic| input.discovered.services.iter().all(|s| !is_below(&d.file, &s.dir));
    let own = input.render_problems.iter().filter(belongs);
    for problem in input.discovered.problems.iter().chain(own) {
        tree.findings.push(Finding { service: None, diagnostic: problem.clone() });
    }
    let mut images = Vec::new();
    let mut wanted = Vec::new();
    for service in read {
        let name = service.name;
        tree.findings.extend(
            service.diagnostics.into_iter().map(|d| Finding { service: Some(name.clone()), diagnostic: d }),
        );
        wanted.extend(service.needs.into_iter().map(|need| (name.clone(), need)));
        for (image, context) in service.images {
            tree.contexts.insert(image.name.clone(), context);
            images.push(image);
        }
    }
    refuse_doubles(&mut images, &mut tree);
    add_needs(&mut images, &wanted, &mut tree);
    let rules =
        AliasRules { internal_registry: config.internal_registry.as_ref(), prefixes: &config.alias_prefixes };
    let (graph, cycles) = ImageGraph::link(images, rules);
    for cycle in cycles {
        for name in &cycle.path {
            if let Some(context) = tree.contexts.get_mut(name) {
                context.digest = None;
            }
        }
        tree.findings.push(cycle_finding(&graph, &cycle));
    }
    tree.graph = graph;
    if let Err(error) = hashes.save() {
        let message = format!("cannot remember file hashes, so the next run hashes again: {error}");
        let diagnostic = Diagnostic::warning("target/xtask/cache/files.bin", 0, message);
        tree.findings.push(Finding { service: None, diagnostic });
    }
    tree
}

impl Tree {
    /// The diagnostics that concern these images or the whole tree.
    pub fn diagnostics(&self, selected: &BTreeSet<ImageName>) -> Vec<Diagnostic> {
        let services: BTreeSet<&str> = self
            .graph
            .images()
            .iter()
            .filter(|image| selected.contains(&image.name))
            .map(|image| image.service.as_str())
            .collect();
        let known: BTreeSet<&str> = self.graph.images().iter().map(|i| i.service.as_str()).collect();
        self.findings
            .iter()
            .filter(|finding| {
                finding.service.as_deref().is_none_or(|s| services.contains(s) || !known.contains(s))
            })
            .map(|finding| finding.diagnostic.clone())
            .collect()
    }
}

fn cycle_finding(graph: &ImageGraph, cycle: &crate::graph::CycleError) -> Finding {
    let first = cycle.path.first().and_then(|name| graph.get(name));
    let file = match first.map(|image| &image.source) {
        Some(ImageSource::Build(target)) => target.dockerfile.clone(),
        _ => String::new(),
    };
    Finding {
        service: first.map(|image| image.service.clone()),
        diagnostic: Diagnostic::error(file, 0, format!("{cycle}; build one of them on something else")),
    }
}

/// Two images of one name: the second one is refused, by name and place.
fn refuse_doubles(images: &mut Vec<Image>, tree: &mut Tree) {
    let mut owners: BTreeMap<ImageName, String> = BTreeMap::new();
    images.retain(|image| match owners.get(&image.name) {
        None => {
            owners.insert(image.name.clone(), image.service.clone());
            true
        }
        Some(owner) => {
            let message = format!(
                "the image name {} is taken by the service {owner}; set another one in service.toml (`image`)",
                image.name
            );
            let service = Some(image.service.clone());
            let diagnostic = Diagnostic::error(format!("src/{}", image.service), 0, message);
            tree.findings.push(Finding { service, diagnostic });
            false
        }
    });
}

/// `needs` of `service.toml`: names of services or images.
fn add_needs(images: &mut [Image], wanted: &[(String, (String, String))], tree: &mut Tree) {
    let names: Vec<(String, ImageName)> =
        images.iter().map(|i| (i.service.clone(), i.name.clone())).collect();
    for (service, (need, file)) in wanted {
        let targets: Vec<ImageName> = names
            .iter()
            .filter(|(s, name)| s == need || name.as_str() == need)
            .map(|(_, name)| name.clone())
            .collect();
        if targets.is_empty() {
            let known = names.iter().map(|(s, _)| s.as_str());
            let message = format!(
                "needs `{need}`, which is no service or image of this tree{}",
                crate::suggest::did_you_mean(need, known)
            );
            let diagnostic = Diagnostic::error(file.as_str(), 0, message);
            tree.findings.push(Finding { service: Some(service.clone()), diagnostic });
        }
        for image in images.iter_mut().filter(|i| i.service == *service) {
            image.needs.extend(targets.iter().filter(|t| **t != image.name).cloned());
        }
    }
}

struct ReadService {
    name: String,
    images: Vec<(Image, Prepared)>,
    needs: Vec<(String, String)>,
    diagnostics: Vec<Diagnostic>,
}

struct Reader<'a> {
    input: &'a ReadInput<'a>,
    service: &'a ServiceSource,
    listings: &'a Listings,
    hashes: &'a HashCache,
}

/// One image of a service before its context is read.
struct Wanted<'a> {
    target: Option<&'a str>,
    name: ImageName,
    resolved: Resolved,
    build_args: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn read(&self) -> ReadService {
        let service = self.service;
        let text = |file: &str| service.text(file, self.input.rendered);
        let mut read = ReadService {
            name: service.name.clone(),
            images: Vec::new(),
            needs: Vec::new(),
            diagnostics: service.problems.clone(),
        };
        let said = &mut read.diagnostics;
        let of_service = |d: &&Diagnostic| is_below(&d.file, &service.dir);
        said.extend(self.input.render_problems.iter().filter(of_service).cloned());
        let settings = text(SERVICE_TOML).and_then(|text| {
            let settings = keep(said, conf::parse_service_toml(&service.path(SERVICE_TOML), text))?;
            said.extend(settings.warnings.clone());
            Some(settings)
        });
        let settings = settings.unwrap_or_default();
        let group = text(BUILD_CONF).and_then(|text| {
            let conf = keep(said, conf::parse_build_conf(&service.path(BUILD_CONF), text))?;
            said.extend(conf.warnings);
            conf.group
        });
        let dependency = text(DEPENDENCY)
            .and_then(|text| keep(said, conf::parse_dependency(&service.path(DEPENDENCY), text)));
        let targets = text(BUILD_TARGETS)
            .and_then(|text| keep(said, conf::parse_build_targets(&service.path(BUILD_TARGETS), text)))
            .unwrap_or_default();
        let needs = settings.needs.iter().map(|need| (need.clone(), service.path(SERVICE_TOML)));
        read.needs = needs.collect();
        let platform = self.platform(&settings, &mut read.diagnostics);
        let base = settings.image.as_deref().unwrap_or(&service.name);
        let is_sound = read.diagnostics.iter().all(|d| d.severity != Severity::Error);
        match (text(DOCKERFILE), dependency) {
            (Some(dockerfile), dependency) => {
                let names: Vec<(Option<&str>, &str)> = if targets.is_empty() {
                    vec![(settings.target.as_deref(), base)]
                } else {
                    targets.iter().map(|t| (Some(t.stage.as_str()), t.image.as_str())).collect()
                };
                let companions = dependency.map(|d| d.reference).into_iter().collect();
                let service = ServiceFacts {
                    dockerfile,
                    settings: &settings,
                    group,
                    platform: &platform,
                    companions,
                    is_sound,
                };
                self.read_dockerfile(&mut read, &names, &service);
            }
            (None, Some(dependency)) => {
                if let Some(image) =
                    self.image(base, ImageSource::External(dependency.reference), &platform, group, &mut read)
                {
                    read.images.push((image, Prepared::default()));
                }
            }
            (None, None) => {}
        }
        if read.images.is_empty() && read.diagnostics.iter().any(|d| d.severity == Severity::Error) {
            self.stand_in(&mut read, base, &platform, group);
        }
        read
    }

    /// A service that cannot be read still has an image, so that it is named and counted.
    fn stand_in(&self, read: &mut ReadService, base: &str, platform: &Platform, group: Option<BuildGroup>) {
        let target = BuildTarget {
            dockerfile: self.service.path(DOCKERFILE),
            text: String::new(),
            reachable_text: String::new(),
            context: self.service.dir.clone(),
            ignore: None,
            target: None,
            build_args: BTreeMap::new(),
            inputs: Vec::new(),
        };
        let source = ImageSource::Build(Box::new(target));
        if let Some(image) = self.image(base, source, platform, group, read) {
            read.images.push((image, Prepared::default()));
        }
    }

    fn platform(&self, settings: &conf::ServiceSettings, said: &mut Vec<Diagnostic>) -> Platform {
        let platform =
            self.input.config.platform.clone().unwrap_or_else(|| self.input.engine_platform.clone());
        if !settings.platforms.is_empty() && !settings.platforms.contains(&platform) {
            let known: Vec<String> = settings.platforms.iter().map(ToString::to_string).collect();
            let message = format!("is not made for {platform}; its platforms are {}", known.join(", "));
            said.push(Diagnostic::error(self.service.path(SERVICE_TOML), 0, message));
        }
        platform
    }

    fn read_dockerfile(
        &self,
        read: &mut ReadService,
        names: &[(Option<&str>, &str)],
        facts: &ServiceFacts<'_>,
    ) {
        let path = self.service.path(DOCKERFILE);
        let settings = facts.settings;
        let (file, parse_findings) = dockerfile::parse(&path, facts.dockerfile);
        let is_sound = facts.is_sound && parse_findings.iter().all(|d| d.severity != Severity::Error);
        read.diagnostics.extend(parse_findings);
        let wanted: Vec<Wanted<'_>> = names
            .iter()
            .map(|(target, name)| self.resolve(&file, *target, name, settings, facts.platform))
            .collect();
        let all_inputs: Vec<InputPattern> =
            wanted.iter().flat_map(|w| w.resolved.inputs.iter().cloned()).collect();
        let context = self.context(settings, &path, &all_inputs, &mut read.diagnostics);
        let root = &self.input.config.root;
        let found = self.input.discovered.ignore_file(root, self.service, &context, self.input.rendered);
        let (ignore_path, ignore_text) = keep(&mut read.diagnostics, found).flatten().unzip();
        let ignore = ignore_text.as_deref().map(IgnoreFile::parse);
        let folder = if context == "." { "" } else { context.as_str() };
        let reading = Context {
            listings: self.listings,
            folder,
            ignore: ignore.as_ref().zip(ignore_path.as_deref()),
            dockerfile: &path,
        };
        for wanted in wanted {
            let mut inputs = wanted.resolved.inputs;
            inputs.extend(settings.inputs.iter().map(|pattern| InputPattern {
                pattern: pattern.clone(),
                line: 0,
                kind: InputKind::Declared,
                excludes: Vec::new(),
                parents: false,
            }));
            let (files, mut found) = reading.select(&inputs, self.hashes);
            found.extend(wanted.resolved.diagnostics);
            let is_whole = is_sound && found.iter().all(|d| d.severity != Severity::Error);
            let digest = is_whole.then(|| digest_files(files.counted()));
            for diagnostic in found {
                if !read.diagnostics.contains(&diagnostic) {
                    read.diagnostics.push(diagnostic);
                }
            }
            let target = BuildTarget {
                dockerfile: path.clone(),
                text: facts.dockerfile.to_owned(),
                reachable_text: wanted.resolved.reachable_text,
                context: context.clone(),
                ignore: ignore_text.clone(),
                target: wanted.target.map(str::to_owned),
                build_args: wanted.build_args,
                inputs,
            };
            let source = ImageSource::Build(Box::new(target));
            if let Some(mut image) =
                self.image(wanted.name.as_str(), source, facts.platform, facts.group, read)
            {
                image.base_images = wanted.resolved.base_images;
                image.companions.clone_from(&facts.companions);
                read.images.push((image, Prepared { files, digest }));
            }
        }
    }

    fn resolve<'t>(
        &self,
        file: &Dockerfile,
        target: Option<&'t str>,
        name: &str,
        settings: &conf::ServiceSettings,
        platform: &Platform,
    ) -> Wanted<'t> {
        let config = self.input.config;
        let mut args = config.build_args.settings.clone();
        args.extend(settings.args.iter().map(|(k, v)| (k.clone(), v.0.clone())));
        args.extend(config.build_args.flags.clone());
        let look = |args: &BTreeMap<String, String>| {
            let build_platform = &self.input.engine_platform;
            dockerfile::resolve(file, &Options { target, build_args: args, platform, build_platform })
        };
        let mut resolved = look(&args);
        let from_env: Vec<&(String, String)> = config
            .dotenv
            .iter()
            .filter(|(key, value)| {
                !value.is_empty() && !args.contains_key(key) && resolved.declared_args.contains(key)
            })
            .collect();
        if !from_env.is_empty() {
            args.extend(from_env.into_iter().cloned());
            resolved = look(&args);
        }
        args.retain(|name, _| resolved.declared_args.contains(name));
        Wanted { target, name: ImageName::new(name), resolved, build_args: args }
    }

    /// The context folder, relative to the root; `.` is the root.
    fn context(
        &self,
        settings: &conf::ServiceSettings,
        dockerfile: &str,
        inputs: &[InputPattern],
        said: &mut Vec<Diagnostic>,
    ) -> String {
        let folder = self.service.dir.clone();
        let choice = match &settings.context {
            Some(ServiceContext::Folder(relative)) => match conf::resolve_folder(&folder, relative) {
                Some(found) => return found,
                None => {
                    let message = format!("the context `{relative}` lies outside the tree");
                    said.push(Diagnostic::error(self.service.path(SERVICE_TOML), 0, message));
                    ContextChoice::Service
                }
            },
            Some(ServiceContext::Choice(choice)) => *choice,
            None => self.input.config.context,
        };
        match choice {
            ContextChoice::Service => folder,
            ContextChoice::Root => ".".to_owned(),
            ContextChoice::Auto => {
                let at = |folder| Context { listings: self.listings, folder, ignore: None, dockerfile };
                let (here, missing) = at(folder.as_str()).present_sources(inputs);
                if missing.is_empty() {
                    return folder;
                }
                let (above, _) = at("").present_sources(inputs);
                if above > here { ".".to_owned() } else { folder }
            }
        }
    }

    /// An image of this service, named; a name that makes no reference is a diagnostic.
    fn image(
        &self,
        base: &str,
        source: ImageSource,
        platform: &Platform,
        group: Option<BuildGroup>,
        read: &mut ReadService,
    ) -> Option<Image> {
        let config = self.input.config;
        let name = if base.starts_with(&config.prefix) {
            base.to_owned()
        } else {
            format!("{}{base}", config.prefix)
        };
        let plain = format!("{name}:{}", config.tag);
        let full = match &config.registry {
            Some(registry) => registry.join(&plain),
            None => plain.parse(),
        };
        match (full, plain.parse::<Reference>()) {
            (Ok(reference), Ok(plain)) => Some(Image {
                name: ImageName::new(name),
                service: self.service.name.clone(),
                local_alias: (reference != plain).then_some(plain),
                reference,
                source,
                platform: platform.clone(),
                group,
                needs: BTreeSet::new(),
                base_images: Vec::<BaseImage>::new(),
                companions: Vec::new(),
            }),
            (Err(error), _) | (_, Err(error)) => {
                let message = format!("its image name makes no reference: {error}");
                read.diagnostics.push(Diagnostic::error(&self.service.dir, 0, message));
                None
            }
        }
    }
}

/// What a Dockerfile's images share.
struct ServiceFacts<'a> {
    dockerfile: &'a str,
    settings: &'a conf::ServiceSettings,
    group: Option<BuildGroup>,
    platform: &'a Platform,
    companions: Vec<Reference>,
    /// No error in the small files beside the Dockerfile.
    is_sound: bool,
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn keep<T>(said: &mut Vec<Diagnostic>, result: Result<T, Diagnostic>) -> Option<T> {
    result.map_err(|diagnostic| said.push(diagnostic)).ok()
}

/// Where the lists of files that keys stood for are remembered.
fn memory_path(root: &Path, digest: &Digest) -> PathBuf {
    root.join("target/xtask/cache/contexts").join(format!("{}.json", digest.short()))
}

/// The files that a digest stood for, if this machine built it.
pub fn recall(root: &Path, digest: &Digest) -> Option<Vec<ContextFile>> {
    let text = std::fs::read_to_string(memory_path(root, digest)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Remembers the files of a context that was built, so that a later miss can name what changed.
///
/// # Errors
/// The file system's; callers warn and go on.
pub fn remember(root: &Path, context: &Prepared) -> std::io::Result<()> {
    let Some(digest) = &context.digest else { return Ok(()) };
    let path = memory_path(root, digest);
    let folder = path.parent().unwrap_or(root);
    std::fs::create_dir_all(folder)?;
    let files: Vec<&ContextFile> = context.files.counted().collect();
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(std::io::BufWriter::new(&mut file), &files)?;
    file.persist(path)?;
    Ok(())
}
