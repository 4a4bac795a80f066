//! EFFECT: the read half of every command: services to images with hashed contexts.
//!
//! In: the settings. Out: a [`Reading`]: what sync-config and render are going to write, and the [`Tree`] as it will
//! be then: the linked graph, a hashed context for each image, and diagnostics. Decides nothing: planners do. A
//! service that is broken stays in the tree, so that `status` can name it.

mod artifact;
mod base_image;
mod built;
mod context;
mod contexts;
mod defined;
mod memory;
mod named_dockerfile;
mod owner;
mod service;
mod stages;
mod variables;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::host;
use crate::model::{
    AliasRules, Brought, Diagnostic, Image, ImageName, ImageSource, Indexes, Platform, Reference, Severity,
    Step, StepKind, Triggers,
};
use crate::plan::build::Prepared;
use crate::plan::render::{Existing, RenderPlan, plan_render};
use crate::plan::sync_config::{SyncConfigPlan, plan_sync_config};
use crate::read::conf::BUILD_CONF;
use crate::read::conf::UnknownKey;
use crate::read::discover::{Discovered, IGNORE, OWN_FILES, ServiceSource, discover};
use crate::read::fingerprint::cache::{CACHE_FILE, HashCache};
use crate::read::fingerprint::listing::{Listings, Overlay, Pending};
use crate::read::graph::{About, ImageGraph, NameNote, Naming};
use crate::read::template::{Rendered, Variables};
use crate::settings::Config;

pub use crate::plan::facts::{Finding, Tree};
pub use memory::{LISTS, list_of, recall, remember, remember_rendered};
use owner::Owner;
use service::{ReadService, Reader, is_below};

/// All that a command starts from.
#[derive(Debug, Default)]
pub struct Reading {
    /// What `.env` lacks.
    pub sync: SyncConfigPlan,
    /// What templates come to.
    pub render: RenderPlan,
    /// The tree as it will be once both are written.
    pub tree: Tree,
    /// What commands of the settings gave templates, by name.
    pub computed: BTreeMap<String, String>,
}

/// Which tree this is among those that share an engine, for labels: a digest of where it lies, which says nothing of
/// the place itself. Another clone, and the same tree moved elsewhere, is another tree.
pub fn identity(root: &Path) -> String {
    use sha2::Digest as _;
    use std::os::unix::ffi::OsStrExt as _;
    let digest = sha2::Sha256::digest(root.as_os_str().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What decides how a tree is read beyond its files: who builds, and where images go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// What it runs by default.
    pub platform: Platform,
    /// What its nodes are: `BUILDPLATFORM` of what is built there.
    pub native: Vec<Platform>,
    /// Whether several platforms fit under one name.
    pub indexes: Indexes,
}

impl EngineFacts {
    /// Where what is for `platform` is built: natively if there is such a node.
    pub fn build_platform<'a>(&'a self, platform: &'a Platform) -> &'a Platform {
        if self.native.contains(platform) { platform } else { &self.platform }
    }
}

impl EngineFacts {
    /// What runs on other platforms than the builder's own.
    fn foreign(&self, mut runs: Vec<(Platform, u32)>) -> Vec<(Platform, u32)> {
        runs.retain(|(on, _)| !self.platform.serves(on) && !self.native.contains(on));
        runs
    }
}

impl From<Platform> for EngineFacts {
    /// One node, and whatever keeps its images.
    fn from(platform: Platform) -> Self {
        Self { native: vec![platform.clone()], platform, indexes: Indexes::Kept }
    }
}

/// Reads everything. Blocking: call it off the async threads.
///
/// # Errors
/// A `.env` or `.env.example` that cannot be taken; whatever is wrong with services is in the tree's findings.
pub fn look(config: &Config, engine: impl Into<EngineFacts>) -> Result<Reading, Diagnostic> {
    look_upon(config, engine, &Triggers::new())
}

/// The same, knowing what `external` images bring to those that stand on them. One that is not named brings nothing.
///
/// # Errors
/// As [`look`].
pub fn look_upon(
    config: &Config,
    engine: impl Into<EngineFacts>,
    external: &Triggers,
) -> Result<Reading, Diagnostic> {
    let sync = plan_sync_config(&config.env_files)?;
    let mut discovered = discover(config);
    let variables = variables::of(config, discovered.all_templates());
    let render = render_all(&discovered, config, &variables.names(config));
    discovered.forget(&|path| render.left.iter().any(|left| left == path));
    let mut overlay = overlay(sync.steps.iter().chain(&render.steps));
    overlay.extend(render.broken.iter().filter_map(|(path, why)| {
        let broken = Some(Arc::new(why.first()?.clone()));
        Some((path.clone(), Pending { text: "".into(), mode: None, broken }))
    }));
    let tree = read(&ReadInput {
        config,
        discovered: &discovered,
        rendered: &render.outputs,
        render: &render,
        overlay,
        engine: engine.into(),
        external,
        inner: BTreeMap::new(),
    });
    Ok(Reading { sync, render, tree, computed: variables.computed })
}

fn render_all(discovered: &Discovered, config: &Config, variables: &Variables<'_>) -> RenderPlan {
    let before = memory::rendered(&config.root);
    // Asked only where something would be overwritten.
    let committed = OnceCell::new();
    let list = || {
        let files = host::ask("git -c safe.directory='*' ls-files -z", &config.root).unwrap_or_default();
        files.split('\0').map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let existing = Existing {
        is_rendered: &|path, text| before.get(path).is_some_and(|known| *known == memory::digest_of(text)),
        was_rendered: &|path| before.contains_key(path),
        is_committed: &|path| committed.get_or_init(list).contains(path),
    };
    plan_render(discovered.all_templates(), variables, config, &existing)
}

/// The files that steps are going to write.
fn overlay<'a>(steps: impl Iterator<Item = &'a Step>) -> Overlay {
    steps
        .filter_map(|step| match &step.kind {
            StepKind::WriteFile { path, contents, mode, .. } => {
                Some((path.clone(), Pending { text: contents.as_str().into(), mode: *mode, broken: None }))
            }
            _ => None,
        })
        .collect()
}

/// What reading needs to know beyond the settings.
#[derive(Debug)]
struct ReadInput<'a> {
    /// The settings.
    config: &'a Config,
    /// Services and their texts.
    discovered: &'a Discovered,
    /// Every rendered text, written or not, by root-relative path.
    rendered: &'a BTreeMap<String, Rendered>,
    /// What rendering comes to.
    render: &'a RenderPlan,
    /// Files that are going to be written.
    overlay: Overlay,
    /// Who builds.
    engine: EngineFacts,
    /// What external images bring.
    external: &'a Triggers,
    /// What images of this tree bring, by the image that stands on them and the name that it uses.
    inner: BTreeMap<ImageName, Triggers>,
}

impl ReadInput<'_> {
    /// What is brought to an image.
    fn triggers_of(&self, image: &ImageName) -> Cow<'_, Triggers> {
        match self.inner.get(image) {
            None => Cow::Borrowed(self.external),
            Some(inner) => {
                let mut all = self.external.clone();
                all.extend(inner.clone());
                Cow::Owned(all)
            }
        }
    }

    /// What images of this tree bring to each other; an image that is in none of them is not named.
    fn inner_triggers(&self, graph: &ImageGraph) -> BTreeMap<ImageName, Triggers> {
        let brings = |owner: &ImageName| match &graph.get(owner)?.source {
            ImageSource::Build(target) => Some(Brought::Known(target.leaves.clone())),
            ImageSource::External(source) => self.external.get(source).cloned(),
        };
        let of = |image: &Image| {
            let asked = image.asks_for.iter();
            let brought = asked.map(|(name, owner)| (name.clone(), brings(owner).unwrap_or_default()));
            let differs = |(name, brought): &(Reference, Brought)| {
                self.external.get(name).unwrap_or(&Brought::default()) != brought
            };
            brought.filter(differs).collect::<Triggers>()
        };
        let all = graph.images().iter().map(|image| (image.name.clone(), of(image)));
        all.filter(|(_, brought)| !brought.is_empty()).collect()
    }
}

fn read(input: &ReadInput<'_>) -> Tree {
    let config = input.config;
    let hashes = HashCache::load(&config.root);
    let listings = Listings::new(&config.root, input.overlay.clone(), config.modes)
        .explaining(input.render.unmade.clone());
    let mut tree = Tree::default();
    let reader = |service| Reader { input, service, listings: &listings, hashes: &hashes };
    let mut services: Vec<ReadService> =
        input.discovered.services.par_iter().map(|service| reader(service).read()).collect();
    let base_images = &input.discovered.base_images;
    if !base_images.is_empty() {
        let systems = base_image::Systems::of(input);
        tree.default_version = systems.default_version().map(str::to_owned);
        services.par_extend(base_images.par_iter().map(|folder| reader(folder).read_base_image(&systems)));
    }
    // The largest part of what was read, and no longer needed.
    drop(listings);
    tree.findings.extend(unread(input, &services));
    tree.findings.extend(unknown_keys(&services));
    let Merged { mut images, wanted, doubts } = merge(services, &mut tree);
    add_needs(&mut images, &wanted, &mut tree);
    let rules =
        AliasRules { internal_registry: config.internal_registry.as_ref(), prefixes: &config.alias_prefixes };
    let naming = Naming { rules, prefix: &config.prefix, registry: config.registry.as_ref() };
    let (graph, cycles, notes) = ImageGraph::link(images, naming);
    // Who stands on whom is known only now; what that brings may read more, and name more images.
    let inner = input.inner_triggers(&graph);
    if input.inner.is_empty() && !inner.is_empty() {
        // Told by the second reading if it cannot be.
        let _ = hashes.save();
        let (overlay, engine) = (input.overlay.clone(), input.engine.clone());
        return read(&ReadInput { inner, overlay, engine, ..*input });
    }
    tell_notes(&graph, &notes, &mut tree);
    for cycle in cycles {
        for name in &cycle.path {
            if let Some(context) = tree.contexts.get_mut(name) {
                context.digest = None;
            }
        }
        tree.findings.push(cycle_finding(&graph, &cycle, &input.engine));
    }
    for (service, (image, diagnostic)) in doubts {
        if graph.images().iter().all(|known| known.all_names().all(|name| *name != image)) {
            tree.findings.push(Finding::about(Some(service), diagnostic));
        }
    }
    tree.graph = graph;
    tree.hashed = hashes.hashed();
    if let Err(error) = hashes.save() {
        let message = format!("cannot remember file hashes, so the next run hashes again: {error}");
        let diagnostic = Diagnostic::warning(CACHE_FILE, 0, message);
        tree.findings.push(Finding::about(None, diagnostic));
    }
    tree
}

/// What all folders came to, besides findings and contexts.
struct Merged {
    images: Vec<Image>,
    wanted: Vec<Need>,
    doubts: Vec<(String, (Reference, Diagnostic))>,
}

/// What images need beyond what their Dockerfile names.
struct Need {
    images: BTreeSet<ImageName>,
    /// A service or an image.
    needed: String,
    /// What is said where there is none, but for the words.
    finding: Finding,
}

/// Puts folders together. Of images that share a name none can be built.
fn merge(services: Vec<ReadService>, tree: &mut Tree) -> Merged {
    let mut merged = Merged { images: Vec::new(), wanted: Vec::new(), doubts: Vec::new() };
    let mut owners: BTreeMap<ImageName, Vec<Owner>> = BTreeMap::new();
    for service in services {
        let ReadService { name, owner, .. } = service;
        let first = service.images.first().map(|(image, _)| image);
        let of_one = first.filter(|_| owner.is_one_of_several());
        let finding = |found: Diagnostic| match of_one {
            Some(image) => Finding::of(image, found),
            None => Finding::about(Some(name.clone()), found),
        };
        tree.findings.extend(service.diagnostics.into_iter().map(finding));
        tree.checks.extend(service.checks);
        merged.doubts.extend(service.doubts.into_iter().map(|doubt| (name.clone(), doubt)));
        let names: BTreeSet<ImageName> = service.images.iter().map(|(image, _)| image.name.clone()).collect();
        merged.wanted.extend(service.needs.into_iter().map(|(needed, file, line)| Need {
            images: names.clone(),
            needed,
            finding: finding(Diagnostic::error(file, line, "")),
        }));
        for (image, context) in service.images {
            let places = owners.entry(image.name.clone()).or_default();
            places.push(owner.clone());
            if places.len() == 1 {
                tree.contexts.insert(image.name.clone(), context);
                merged.images.push(image);
            }
        }
    }
    for image in &merged.images {
        if let Some([first, others @ ..]) = owners.get(&image.name).map(Vec::as_slice)
            && !others.is_empty()
        {
            // Whichever was built would be taken for the others.
            tree.contexts.insert(image.name.clone(), Prepared::default());
            tree.findings.push(owner::double_finding(image, first, others));
        }
    }
    for (name, finding) in owner::double_references(&merged.images, &owners) {
        tree.contexts.insert(name, Prepared::default());
        tree.findings.push(finding);
    }
    merged
}

impl ReadInput<'_> {
    /// What rendering says of a service: what is odd in its folder, and which of the files that say what it is cannot
    /// be rendered.
    fn said_of(&self, service: &ServiceSource) -> Vec<Diagnostic> {
        let odd = self.render.warnings.iter().filter(|found| is_below(&found.file, &service.dir));
        let broken =
            OWN_FILES.iter().filter_map(|file| self.render.broken.get(&service.path(file))).flatten();
        broken.chain(odd).cloned().collect()
    }

    /// Why the ignore file of a context cannot be rendered.
    fn broken_ignore(&self, context: &str) -> Option<Diagnostic> {
        let path = if context == "." { IGNORE.to_owned() } else { format!("{context}/{IGNORE}") };
        self.render.broken.get(&path)?.first().cloned()
    }
}

/// What concerns no service: a template that cannot be rendered fails whoever reads its output, and nobody else.
fn unread(input: &ReadInput<'_>, read: &[ReadService]) -> Vec<Finding> {
    let of_nobody =
        |found: &&Diagnostic| input.discovered.folders().all(|service| !is_below(&found.file, &service.dir));
    let odd = input.render.warnings.iter().filter(of_nobody);
    let is_told = |why: &&Vec<Diagnostic>| {
        read.iter().any(|service| why.iter().any(|found| service.diagnostics.contains(found)))
    };
    let broken = input.render.broken.values().filter(|why| !is_told(why)).flatten();
    let broken = broken.map(|found| Diagnostic { severity: Severity::Warning, ..found.clone() });
    let all = input.discovered.problems.iter().chain(odd).cloned().chain(broken);
    all.map(|diagnostic| Finding::about(None, diagnostic)).collect()
}

/// Told at the instruction by which the cycle's first image asks for the second one.
fn cycle_finding(
    graph: &ImageGraph,
    cycle: &crate::read::graph::CycleError,
    engine: &EngineFacts,
) -> Finding {
    let first = cycle.path.first().and_then(|name| graph.get(name));
    let second = cycle.path.get(1).or(cycle.path.first()).and_then(|name| graph.get(name));
    let (file, line) = match (first, second) {
        (Some(first), Some(second)) => asked_at(first, second, engine),
        _ => (String::new(), 0),
    };
    let diagnostic = Diagnostic::error(file, line, format!("{cycle}; build one of them on something else"));
    Finding::about(first.map(|image| image.service.clone()), diagnostic)
}

/// Where one image asks for another: its Dockerfile, and the line if it is an instruction that does.
fn asked_at(image: &Image, asked: &Image, engine: &EngineFacts) -> (String, u32) {
    let ImageSource::Build(target) = &image.source else { return (String::new(), 0) };
    let (file, _) = dockerfile::parse(&target.dockerfile, &target.text);
    let options = target.options(&image.platform, engine.build_platform(&image.platform));
    let bases = dockerfile::resolve(&file, &options).base_images;
    let line = bases
        .iter()
        .find(|base| image.asks_for.get(&base.reference) == Some(&asked.name))
        .map(|base| base.line);
    (target.dockerfile.clone(), line.unwrap_or_default())
}

/// What people should know of names, each once.
fn tell_notes(graph: &ImageGraph, notes: &[NameNote], tree: &mut Tree) {
    let mut told: BTreeSet<&Reference> = BTreeSet::new();
    for note in notes {
        let Some(image) = graph.get(&note.image) else { continue };
        let ImageSource::Build(target) = &image.source else { continue };
        let name = note.reference.familiar();
        let cure = "`prefix` in .config/xtask.toml, or `image` in its service.toml, keeps the names apart";
        let (severity, message) = match &note.about {
            About::OtherTag(_) if !told.insert(&note.reference) => continue,
            About::OtherTag(owner) => {
                let tag = graph.get(owner).and_then(|owner| owner.reference.tag()).unwrap_or("latest");
                let message = format!(
                    "{name} is not the tag of {owner} that is built now, {tag}, so it counts as an external image; \
                     without a tag it is the image of this tree"
                );
                (Severity::Warning, message)
            }
            About::Meant(_) if !told.insert(&note.reference) => continue,
            About::Meant(owner) => {
                let message = format!(
                    "{name} is taken for {owner}, the image of this tree, and not for what that one extends: for the \
                     latter write its tag"
                );
                (Severity::Warning, message)
            }
            About::SharedName(twin) => {
                let message = format!(
                    "{owner} is named {name}, as the image that it extends: that one stays here as {twin}, and other \
                     images that name {name} get this tree's; {cure}",
                    owner = image.name,
                    twin = twin.familiar()
                );
                (Severity::Warning, message)
            }
            About::NoTwin => {
                if let Some(context) = tree.contexts.get_mut(&image.name) {
                    context.digest = None;
                }
                let message = format!(
                    "{owner} is named {name}, as the image that it extends, and takes its every other name too: \
                     {cure}",
                    owner = image.name
                );
                (Severity::Error, message)
            }
            About::NotFor(owner, platform) => {
                if let Some(context) = tree.contexts.get_mut(&image.name) {
                    context.digest = None;
                }
                let message = format!(
                    "{name} is {owner}, which is not made for {platform}: `platforms` in its service.toml says for what"
                );
                (Severity::Error, message)
            }
        };
        let diagnostic = Diagnostic { severity, ..Diagnostic::error(&target.dockerfile, note.line, message) };
        tree.findings.push(Finding::of(image, diagnostic));
    }
}

/// Keys of `build.conf` that mean nothing here, told once for the whole tree.
fn unknown_keys(read: &[ReadService]) -> Option<Finding> {
    let unknown: Vec<&UnknownKey> = read.iter().flat_map(|service| &service.unknown_keys).collect();
    let first = unknown.first()?;
    let keys: BTreeSet<String> = unknown.iter().map(|found| format!("`{}`", found.key)).collect();
    let files: BTreeSet<&str> = unknown.iter().map(|found| found.file.as_str()).collect();
    let others = match files.len() - 1 {
        0 => String::new(),
        1 => ", here and in another file".to_owned(),
        n => format!(", here and in {n} other files"),
    };
    let keys: Vec<String> = keys.into_iter().collect();
    let message = format!(
        "unknown {} {}{others}: only `BUILD_PHASE` means something in a {BUILD_CONF}",
        if keys.len() == 1 { "key" } else { "keys" },
        keys.join(", ")
    );
    Some(Finding::about(None, Diagnostic::warning(&first.file, first.line, message)))
}

/// `needs` of `service.toml`: names of services or images.
fn add_needs(images: &mut [Image], wanted: &[Need], tree: &mut Tree) {
    let names: Vec<(String, ImageName)> =
        images.iter().map(|i| (i.service.clone(), i.name.clone())).collect();
    // What is made for several platforms waits for what is made for the same one.
    let for_platform: BTreeMap<ImageName, Platform> =
        images.iter().filter(|i| i.index.is_some()).map(|i| (i.name.clone(), i.platform.clone())).collect();
    for Need { images: needing, needed, finding } in wanted {
        let targets: Vec<ImageName> = names
            .iter()
            .filter(|(s, name)| s == needed || name.as_str() == needed || name.plain() == needed)
            .map(|(_, name)| name.clone())
            .collect();
        if targets.is_empty() {
            let known = names.iter().map(|(s, _)| s.as_str());
            let message = format!(
                "needs `{needed}`, which is no service or image of this tree{}",
                crate::model::suggest::did_you_mean(needed, known)
            );
            let diagnostic = Diagnostic { message, ..finding.diagnostic.clone() };
            tree.findings.push(Finding { diagnostic, ..finding.clone() });
            for name in needing {
                if let Some(context) = tree.contexts.get_mut(name) {
                    context.digest = None;
                }
            }
        }
        for image in images.iter_mut().filter(|image| needing.contains(&image.name)) {
            let fits =
                |t: &&ImageName| for_platform.get(t).is_none_or(|platform| *platform == image.platform);
            image
                .needs
                .extend(targets.iter().filter(|t| t.plain() != image.name.plain()).filter(fits).cloned());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
