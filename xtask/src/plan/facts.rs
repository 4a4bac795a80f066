//! What plans are made from: the tree as it was read, the store as it was observed.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{Assessment, Contexts, Recall, assess, prefetched};
use super::prefetch::Bootstrap;
use super::render::RenderPlan;
use super::request::Request;
use super::sync_config::SyncConfigPlan;
use crate::model::{
    AliasRules, Checks, Diagnostic, Digest, ErrorKind, Image, ImageDetails, ImageKind, ImageName,
    ImageSource, ImageState, Indexes, Keeps, Network, NetworkVerdict, Observed, Originals, Passed, Phase,
    Platform, Reason, Reference, Severity, Skipped,
};
use crate::plan::image_lock::text::ReadLock;
use crate::plan::rebuild::lineage::{self, Lineage, LineageInput};
use crate::read::conf::{BUILD_CONF, BUILD_TARGETS, DEPENDENCY, SERVICE_TOML};
use crate::read::graph::ImageGraph;
use crate::settings::Config;
use dockerfile::BaseDoubt;

/// Everything that was read of a tree.
#[derive(Debug, Default)]
pub struct Tree {
    /// The images, linked.
    pub graph: ImageGraph,
    /// Their contexts, hashed.
    pub contexts: Contexts,
    /// What is wrong, each with the service that it concerns (none: the whole tree).
    pub findings: Vec<Finding>,
    /// The default version of the base images, if there are any and somebody names one.
    pub default_version: Option<String>,
    /// What is wanted of images, of those that have something to pass.
    pub checks: BTreeMap<ImageName, Checks>,
    /// How many files had to be read to hash them; an earlier run knew the others.
    pub hashed: usize,
}

/// A diagnostic and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The service; none for what concerns the whole tree.
    pub service: Option<String>,
    /// The one of its images that it is about; none for all of them.
    pub image: Option<ImageName>,
    /// What is wrong.
    pub diagnostic: Diagnostic,
}

impl Finding {
    /// About one image, and the stages that are images of its own.
    pub fn of(image: &Image, diagnostic: Diagnostic) -> Self {
        Self { service: Some(image.service.clone()), image: Some(main(image)), diagnostic }
    }

    /// About a service, or the whole tree.
    pub fn about(service: Option<String>, diagnostic: Diagnostic) -> Self {
        Self { service, image: None, diagnostic }
    }

    fn is_about(&self, image: &Image) -> bool {
        self.service.as_deref() == Some(image.service.as_str())
            && self.image.as_ref().is_none_or(|name| *name == main(image))
    }
}

/// The image of which an image is a stage or a variant; else itself.
fn main(image: &Image) -> ImageName {
    match &image.kind {
        ImageKind::Stage(main) => main.clone(),
        ImageKind::Service | ImageKind::BaseImage(_) => image.name.image(),
    }
}

/// All that a plan is made from. Nothing of it changes while the plan is made.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The settings.
    pub settings: &'a Config,
    /// Whether base images may be made on this machine.
    pub bootstrap: Bootstrap,
    /// The tree, as it will be once `sync` and `render` are written.
    pub tree: &'a Tree,
    /// What `.env` lacks.
    pub sync: &'a SyncConfigPlan,
    /// What templates come to.
    pub render: &'a RenderPlan,
    /// The lock file, where there is one that can be read.
    pub lock: Option<&'a ReadLock>,
    /// The tests that passed.
    pub passed: &'a BTreeMap<ImageName, Passed>,
    /// The store.
    pub observed: &'a Observed,
    /// Whether several platforms fit under one name there.
    pub indexes: Indexes,
    /// Which network this is; none where it decides nothing.
    pub network: Option<&'a NetworkVerdict>,
    /// The lists of files behind digests that this machine remembers.
    pub recall: Recall<'a>,
}

impl Facts<'_> {
    /// What images are for unless they say otherwise.
    pub fn platform(&self) -> Platform {
        platform(self.settings, self.observed)
    }

    /// Which network this is; inside, where nobody had to know: less may be done there.
    pub fn network(&self) -> Network {
        self.network.map_or(Network::Internal, |verdict| verdict.network)
    }

    /// Whether nothing outside is asked.
    pub fn is_cut_off(&self) -> bool {
        self.settings.offline || self.network.is_some_and(|verdict| verdict.network == Network::Internal)
    }
}

/// What images are for unless they say otherwise.
pub fn platform(settings: &Config, observed: &Observed) -> Platform {
    let of_engine = || observed.capabilities.as_ref().map(|found| found.platform.clone());
    settings.platforms.first().cloned().or_else(of_engine).unwrap_or_else(Platform::local)
}

impl Tree {
    /// The base images whose configuration decides whether something is wrong.
    pub fn doubted_bases(&self) -> BTreeSet<Reference> {
        let doubts = self.contexts.values().flat_map(|context| &context.base_doubts);
        doubts.map(|doubt| doubt.base.clone()).collect()
    }

    /// Finds what the engine's own front end cannot read of the images that are to be built, and what cannot stand on
    /// `bases` as they are: it would be said in the middle of a build, without a file, or be taken for something else.
    /// What is up to date is not read by anybody, unless it is built again in any case.
    pub fn suit(&mut self, observed: &Observed, bases: &BTreeMap<Reference, ImageDetails>, builds_all: bool) {
        let engine =
            observed.capabilities.as_ref().filter(|engine| engine.buildkit && engine.keeps == Keeps::Engine);
        let version = engine.map(|engine| engine.version.as_str());
        let refused = self.graph.images().iter().zip(0..).filter_map(|(image, at)| {
            let ImageSource::Build(target) = &image.source else { return None };
            let context = self.contexts.get(&image.name)?;
            let mut found = dockerfile::judge(&context.uses, &target.dockerfile, version);
            let holds = |doubt: &&BaseDoubt| {
                bases.get(&doubt.base).is_some_and(|base| doubt.holds(&base.workdir, &base.env))
            };
            let wrong = context.base_doubts.iter().filter(holds);
            found.extend(
                wrong.map(|doubt| Diagnostic::error(&target.dockerfile, doubt.line, doubt.message.as_str())),
            );
            (!found.is_empty()).then_some((at, found))
        });
        let refused: Vec<(usize, Vec<Diagnostic>)> = refused.collect();
        if refused.is_empty() {
            return;
        }
        let states = assess(&self.graph, &self.contexts, observed, &|_| None);
        for (at, found) in refused {
            if states[at].state != ImageState::UpToDate || builds_all {
                let image = self.graph.images()[at].name.clone();
                self.add_findings(&image, found);
            }
        }
    }

    /// Adds what was found in what an image is made of. Where something of it is an error, it cannot be built.
    pub fn add_findings(&mut self, image: &ImageName, found: Vec<Diagnostic>) {
        let is_refused = found.iter().any(|found| found.severity == Severity::Error);
        if let Some(context) = self.contexts.get_mut(image).filter(|_| is_refused) {
            context.digest = None;
        }
        if let Some(image) = self.graph.get(image) {
            self.findings.extend(found.into_iter().map(|diagnostic| Finding::of(image, diagnostic)));
        }
    }

    /// The diagnostics that concern these images; where they are those of all services, also what concerns the whole tree
    /// and services that are not even images.
    pub fn diagnostics(&self, selected: &BTreeSet<ImageName>) -> Vec<Diagnostic> {
        let services = self.by_service(selected);
        let known: BTreeSet<&str> = self.graph.images().iter().map(|i| i.service.as_str()).collect();
        let mut of_services = self.graph.images().iter().filter(|image| image.base_image().is_none());
        let is_all = of_services.all(|image| selected.contains(&image.name));
        // Several services may suffer from one thing.
        let mut seen = BTreeSet::new();
        self.findings
            .iter()
            .filter(|finding| {
                let service = finding.service.as_deref();
                let is_nobodys = service.is_none_or(|service| !known.contains(service));
                if is_nobodys { is_all } else { concerns(finding, &services) }
            })
            .map(|finding| &finding.diagnostic)
            .filter(|diagnostic| seen.insert(*diagnostic))
            .cloned()
            .collect()
    }

    /// The selected images of each service.
    fn by_service(&self, selected: &BTreeSet<ImageName>) -> BTreeMap<&str, Vec<&Image>> {
        let mut found: BTreeMap<&str, Vec<&Image>> = BTreeMap::new();
        for image in self.graph.images().iter().filter(|image| selected.contains(&image.name)) {
            found.entry(image.service.as_str()).or_default().push(image);
        }
        found
    }

    /// Every image.
    pub fn all(&self) -> BTreeSet<ImageName> {
        self.graph.images().iter().map(|image| image.name.clone()).collect()
    }

    /// Every external reference that these images stand on, as written, once each.
    pub fn base_images(&self, selected: &BTreeSet<ImageName>) -> Vec<Reference> {
        self.wanted(selected, Indexes::NotKept).into_iter().map(|(reference, _)| reference).collect()
    }

    /// The same with the platforms that each is wanted for: the first one where a name keeps one.
    pub fn wanted(&self, selected: &BTreeSet<ImageName>, indexes: Indexes) -> Vec<(Reference, Platform)> {
        let mut seen = BTreeSet::new();
        let mut wanted = Vec::new();
        for image in self.graph.images().iter().filter(|i| selected.contains(&i.name)) {
            for reference in prefetched(image) {
                let named = image.base_images.iter().filter(|b| b.reference == *reference);
                let mut on: Vec<Platform> =
                    named.map(|b| b.platform.clone().unwrap_or_else(|| image.platform.clone())).collect();
                if on.is_empty() {
                    on.push(image.platform.clone());
                }
                for platform in on {
                    let key = (indexes == Indexes::Kept).then(|| platform.clone());
                    if seen.insert((reference.clone(), key)) {
                        wanted.push((reference.clone(), platform));
                    }
                }
            }
        }
        wanted
    }

    /// The originals of all external images that the tree names.
    pub fn originals<'a>(&self, rules: AliasRules<'a>) -> Originals<'a> {
        let known = self.base_images(&self.all());
        Originals::new(rules, &known).beside(self.graph.upstreams())
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
        lineage::lineages(&LineageInput {
            graph: &self.graph,
            files: &|name| Some(self.contexts.get(name)?.files.clone()),
            build_platform: &platform.unwrap_or_else(Platform::local),
            base: &|reference| {
                let (_, image) = self.graph.upstreams().find(reference, observed)?;
                Some(observed.identity_of(image))
            },
            key: &|name| keys.get(name).map(|key| (*key).clone()),
        })
    }

    /// The first thing that is wrong with an image's service.
    pub fn problem_of(&self, image: &Image) -> Option<&Diagnostic> {
        let found = self.findings.iter().filter(|finding| finding.is_about(image)).map(|f| &f.diagnostic);
        found.filter(|d| d.severity == Severity::Error).min_by_key(|d| !is_about_settings(d))
    }

    /// Services that cannot even be named as images: they fail, and the end of a run says so.
    pub fn services_without_images(&self) -> Vec<Skipped> {
        let known: BTreeSet<&str> = self.graph.images().iter().map(|i| i.service.as_str()).collect();
        let mut failed: Vec<Skipped> = Vec::new();
        let errors = self.findings.iter().filter(|f| f.diagnostic.severity == Severity::Error);
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
    pub fn trouble(
        &self,
        request: &Request,
        selected: &BTreeSet<ImageName>,
        render: &RenderPlan,
    ) -> Option<ErrorKind> {
        let found = if request.needs_images() {
            let services = self.by_service(selected);
            // Who names what is wanted does not want to hear of the rest.
            let is_all = request.is_of_all();
            let is_of_bases = |service: &str| {
                let mut images = self.graph.images().iter();
                images.any(|image| image.base_image().is_some() && image.service == service)
            };
            let counts = |f: &&Finding| match f.service.as_deref() {
                Some(service) => concerns(f, &services) || (is_all && !is_of_bases(service)),
                None => is_all,
            };
            self.findings.iter().filter(counts).map(|f| f.diagnostic.clone()).collect()
        } else if request.has(Phase::Render) {
            render.problems().cloned().collect()
        } else {
            Vec::new()
        };
        let mut errors = found.iter().filter(|d| d.severity == Severity::Error).peekable();
        errors.peek()?;
        Some(if errors.any(is_about_settings) { ErrorKind::ConfigInvalid } else { ErrorKind::SourceInvalid })
    }
}

/// Whether a finding is about one of these images.
fn concerns(finding: &Finding, services: &BTreeMap<&str, Vec<&Image>>) -> bool {
    let images = finding.service.as_deref().and_then(|service| services.get(service));
    images.is_some_and(|images| images.iter().any(|image| finding.is_about(image)))
}

/// The small files beside a Dockerfile are settings, with or without `.tpl`; so is the lock file of artifacts.
fn is_about_settings(found: &Diagnostic) -> bool {
    let name = found.file.rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".tpl").unwrap_or(name);
    matches!(name, BUILD_CONF | BUILD_TARGETS | DEPENDENCY | SERVICE_TOML) || name.ends_with(".lock")
}
