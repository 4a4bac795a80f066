//! Decides. Pure: from what a command asks and what is known to a [`Plan`].
//!
//! One file per phase, named as the phase; this one puts their parts together. `plan` never performs IO: what a planner
//! has to know is in the [`Facts`].
//!
//! [`Plan`]: crate::model::Plan

pub mod affected;
pub mod alias;
pub mod bake;
pub mod build;
pub mod cache;
pub mod clean;
pub mod download;
pub mod explain;
pub mod facts;
pub mod image_lock;
pub mod index;
pub mod keep;
pub mod locked;
pub mod prefetch;
pub mod push;
pub mod rebuild;
pub mod render;
pub mod request;
pub mod shards;
pub mod stages;
pub mod stand_ins;
pub mod status;
pub mod sync_config;
pub mod test;
pub mod verify;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    BuilderCache, BuilderCaches, CacheKind, Image, ImageKind, ImageName, Network, NetworkVerdict, Observed,
    Originals, Outcome, Phase, Plan, Platform, Reason, Reference, RegistryPrefix, Skipped,
};
use crate::plan::rebuild::lineage::NAMESPACE;

use self::alias::{AliasInput, OnConflict};
use self::build::{Assessment, BuildRequest};
use self::cache::{Lineages, StoreInput, Surroundings};
pub use self::facts::{Facts, Finding, Tree};
use self::keep::KeepInput;
use self::locked::{LockComparison, LockFinding};
use self::prefetch::{Pin, PrefetchInput, Reach, Renew};
pub use self::request::{Lint, Renewal, Request, Subject, TagWord, Tests};

/// A plan with what it was made from.
pub struct Planned {
    /// The images that it is about.
    pub selected: BTreeSet<ImageName>,
    /// How each image of the tree compares with the store.
    pub assessments: Vec<Assessment>,
    /// What is done.
    pub plan: Plan,
    /// Which network this is; none where it decides nothing.
    pub network: Option<NetworkVerdict>,
    /// External images that are not as the lock says, and that the plan does not mend.
    pub off_lock: Vec<LockFinding>,
    /// What external images are held to, by every name that Dockerfiles use.
    pub pins: BTreeMap<Reference, Pin>,
}

/// Plans what a command asks for of the selected images.
pub fn plan(request: &Request, selected: &BTreeSet<ImageName>, facts: &Facts<'_>) -> Planned {
    let known = facts.tree.base_images(&facts.tree.all());
    let originals = Originals::new(facts.settings.alias_rules(), known.iter().chain(&request.references))
        .beside(facts.tree.graph.upstreams());
    let compared = locked::compare(request, selected, &originals, facts);
    let planner = Planner { request, selected, facts, originals, compared };
    planner.plan()
}

/// What a command wants of its builds.
pub fn build_request(selected: &BTreeSet<ImageName>, facts: &Facts<'_>) -> BuildRequest {
    let settings = facts.settings;
    BuildRequest {
        selected: selected.clone(),
        force: settings.force,
        skip_cache_check: settings.skip_cache_check,
        cut_off: facts.is_cut_off(),
        labels: BTreeMap::new(),
        kept: BTreeMap::new(),
        unfit: BTreeMap::new(),
        cache_to: None,
        caches: caches_within_reach(facts),
        attestations: settings.attestations,
    }
}

/// The builder's own caches that may be asked.
fn caches_within_reach(facts: &Facts<'_>) -> BuilderCaches {
    let around = Surroundings::of(facts.settings, facts.network);
    let may_ask = |cache: &&BuilderCache| match (cache.kind, cache.registry()) {
        _ if cache.closed_because().is_some() => false,
        (CacheKind::Inline | CacheKind::Local, _) => true,
        (_, Some(registry)) => around.forbid(&registry).is_none(),
        _ => !facts.settings.offline,
    };
    let of = |caches: &[BuilderCache]| caches.iter().filter(may_ask).cloned().collect();
    BuilderCaches { from: of(&facts.settings.caches.from), to: of(&facts.settings.caches.to) }
}

/// One plan being made.
struct Planner<'a> {
    request: &'a Request,
    selected: &'a BTreeSet<ImageName>,
    facts: &'a Facts<'a>,
    originals: Originals<'a>,
    compared: LockComparison,
}

/// What stages of images were kept before, and where more of them may be had.
struct Caches {
    lineages: Lineages,
    platforms: BTreeMap<ImageName, Platform>,
    offers: BTreeMap<ImageName, Vec<Reference>>,
}

impl Planner<'_> {
    fn plan(self) -> Planned {
        let (request, facts) = (self.request, self.facts);
        let tree = facts.tree;
        let mut assessments = build::assess(&tree.graph, &tree.contexts, facts.observed, facts.recall);
        let mut plan = request.prepared.clone();
        if request.has(Phase::Download) {
            plan.extend(self.downloads(&assessments));
        }
        let mut wanted = tree.wanted(self.selected, facts.indexes);
        let platform = facts.platform();
        let named = request.references.iter().map(|r| (self.originals.original_of(r), platform.clone()));
        wanted.extend(named);
        let pulls = self.pulls(&wanted);
        plan.extend(pulls.clone());
        let off_lock = locked::unmended(&self.compared.found, &pulls);
        if request.has(Phase::Alias) {
            plan.extend(self.aliases(&wanted, &pulls));
        }
        self.add_files(&mut plan);
        self.name_what_is_wrong(&mut assessments);
        let caches = self.caches(&assessments);
        if request.has(Phase::Build) {
            let builds = self.builds(&assessments, &caches, &off_lock, &plan);
            plan.extend(builds);
            let (graph, observed) = (&tree.graph, facts.observed);
            plan.extend(index::plan(&self.indexed(), graph, &assessments, observed, &plan));
            if request.is_of_all() {
                plan.skipped.extend(tree.services_without_images());
            }
        }
        // Base images are tried by a command of their own, which plans that itself.
        if request.subject == Subject::Tests {
            test::plan(self.selected, tree, &assessments, facts.passed, request.tests, &mut plan);
        }
        if request.has(Phase::Keep) {
            let keeps = self.keeps(&caches, &plan);
            plan.extend(keeps);
        }
        if request.has(Phase::Verify) {
            plan.extend(verify::plan(self.selected, &tree.graph, &assessments));
            let broken = broken_subjects(&plan);
            plan.steps.retain(|step| step.phase != Phase::Verify || !broken.contains(&step.subject));
        }
        if request.has(Phase::Push) {
            plan.extend(self.pushes(&assessments));
        }
        let is_indexed = |name: &ImageName| tree.graph.get(name).is_some_and(|image| image.index.is_some());
        let has_indexes = self.selected.iter().any(is_indexed);
        plan.stages = stages::of(request, facts.settings, &plan, has_indexes);
        let (selected, pins) = (self.selected.clone(), self.compared.pins);
        let network = facts.network.cloned();
        Planned { selected, assessments, plan, network, off_lock, pins }
    }

    /// What gets an index, where it is made for several platforms. A stage that is a test needs no name.
    fn indexed(&self) -> BTreeSet<ImageName> {
        let is_meant = |image: &Image| {
            self.request.subject == Subject::Stages || !matches!(image.kind, ImageKind::Stage(_))
        };
        let is_indexed = |name: &&ImageName| {
            let image = self.facts.tree.graph.get(name).filter(|image| image.index.is_some());
            image.is_some_and(is_meant)
        };
        self.selected.iter().filter(is_indexed).cloned().collect()
    }

    fn downloads(&self, assessments: &[Assessment]) -> Plan {
        let request = build_request(self.selected, self.facts);
        let tree = self.facts.tree;
        let artifacts = build::artifacts(&request, &tree.graph, &tree.contexts, assessments);
        let is_offline = self.facts.settings.offline;
        download::plan(
            &artifacts,
            if is_offline { download::DownloadReach::Nobody } else { download::DownloadReach::Servers },
        )
    }

    fn pulls(&self, wanted: &[(Reference, Platform)]) -> Plan {
        let (request, settings, network) = (self.request, self.facts.settings, self.facts.network());
        let may_pull = !request.internal_pulls_only || network == Network::Internal;
        if !request.has(Phase::Prefetch) || settings.skip_prefetch || !may_pull {
            return Plan::default();
        }
        prefetch::plan(&PrefetchInput {
            wanted,
            originals: &self.originals,
            observed: self.facts.observed,
            mirrors: &settings.mirrors,
            recipes: &settings.recipes,
            reach: if settings.offline { Reach::Nobody(network) } else { Reach::Registries(network) },
            bootstrap: self.facts.bootstrap,
            renew: match request.renew {
                Renewal::No => Renew::No,
                Renewal::Always => Renew::Yes,
                Renewal::IfMoved => Renew::IfMoved(&request.tags),
            },
            pins: &self.compared.pins,
            indexes: self.facts.indexes,
        })
    }

    fn aliases(&self, wanted: &[(Reference, Platform)], pulls: &Plan) -> Plan {
        let mut names: Vec<Reference> = Vec::with_capacity(wanted.len());
        let mut seen = BTreeSet::new();
        names.extend(wanted.iter().map(|(name, _)| name).filter(|name| seen.insert(*name)).cloned());
        alias::plan(&AliasInput {
            wanted: &names,
            originals: &self.originals,
            observed: self.facts.observed,
            network: self.facts.network(),
            conflicts: if self.request.fix { OnConflict::Fix } else { OnConflict::Report },
            pulls,
        })
    }

    fn add_files(&self, plan: &mut Plan) {
        let (request, sync, render) = (self.request, self.facts.sync, self.facts.render);
        if request.has(Phase::SyncConfig) {
            plan.steps.extend(sync.steps.iter().cloned());
            plan.skipped.extend(sync.skipped.iter().cloned());
        }
        if request.has(Phase::Render) {
            plan.steps.extend(render.steps.iter().cloned());
            plan.skipped.extend(render.skipped.iter().cloned());
            // Of images that read what cannot be rendered their builds tell.
            let asked = (!request.needs_images()).then(|| render.problems());
            plan.skipped.extend(asked.into_iter().flatten().map(|found| {
                let why = Reason::Invalid(Box::new(found.clone()));
                Skipped { phase: Phase::Render, subject: found.file.clone(), why }
            }));
        }
    }

    /// Replaces "broken" by what is wrong with the image, or by the image on the same cycle that says so.
    fn name_what_is_wrong(&self, assessments: &mut [Assessment]) {
        let tree = self.facts.tree;
        for (image, assessment) in tree.graph.images().iter().zip(assessments) {
            if assessment.reason != Reason::Broken {
                continue;
            }
            let is_broken =
                |need: &&ImageName| tree.contexts.get(*need).is_some_and(|context| context.digest.is_none());
            match (tree.problem_of(image), image.needs.iter().find(is_broken)) {
                (Some(found), _) => assessment.reason = Reason::Invalid(Box::new(found.clone())),
                (None, Some(need)) => assessment.reason = Reason::NeedFails(need.clone()),
                (None, None) => {}
            }
        }
    }

    fn caches(&self, assessments: &[Assessment]) -> Caches {
        let (request, facts) = (self.request, self.facts);
        // Reading the stages of thousands of images would be for nothing where none of them is kept.
        let is_asked = request.has(Phase::Keep)
            || (request.has(Phase::Build)
                && (keeps_stages(facts.observed) || !facts.settings.cache_from.is_empty()));
        let is_asked = is_asked && !builds_elsewhere(facts.observed);
        let lineages =
            if is_asked { facts.tree.lineages(facts.observed, assessments) } else { BTreeMap::new() };
        let platform = |image: &Image| (image.name.clone(), image.platform.clone());
        let platforms = facts.tree.graph.images().iter().map(platform).collect();
        let around = Surroundings::of(facts.settings, facts.network);
        let may_ask = |cache: &&RegistryPrefix| around.forbid(cache).is_none();
        let from: Vec<RegistryPrefix> = facts.settings.cache_from.iter().filter(may_ask).cloned().collect();
        let offers = cache::offers(&from, &lineages, &platforms, facts.observed);
        Caches { lineages, platforms, offers }
    }

    fn builds(
        &self,
        assessments: &[Assessment],
        caches: &Caches,
        off_lock: &[LockFinding],
        so_far: &Plan,
    ) -> Plan {
        let facts = self.facts;
        let mut kept = keep::kept(&caches.lineages, facts.observed);
        for (image, names) in &caches.offers {
            kept.entry(image.clone()).or_default().extend(names.iter().cloned());
        }
        let unfit = if facts.settings.locked { locked::unfit(off_lock) } else { BTreeMap::new() };
        let around = Surroundings::of(facts.settings, facts.network);
        let may_ask =
            |cache: &&RegistryPrefix| builds_elsewhere(facts.observed) && around.forbid(cache).is_none();
        for cache in facts.settings.cache_from.iter().filter(may_ask) {
            for image in facts.tree.graph.images() {
                kept.entry(image.name.clone()).or_default().extend(cache::of_builder(cache, image));
            }
        }
        let cache_to = facts.settings.cache_to.as_ref().filter(may_ask).cloned();
        let request = BuildRequest { kept, unfit, cache_to, ..build_request(self.selected, facts) };
        let (graph, contexts) = (&facts.tree.graph, &facts.tree.contexts);
        build::plan(&request, graph, contexts, assessments, facts.observed, so_far)
    }

    fn keeps(&self, caches: &Caches, so_far: &Plan) -> Plan {
        let facts = self.facts;
        let mut keeps = keep::plan(&KeepInput {
            selected: self.selected,
            graph: &facts.tree.graph,
            contexts: &facts.tree.contexts,
            lineages: &caches.lineages,
            observed: facts.observed,
            builds: so_far,
            offers: &caches.offers,
        });
        if let Some(to) = facts.settings.cache_to.as_ref().filter(|_| self.request.has(Phase::Cache)) {
            let input = StoreInput {
                cache: to,
                selected: self.selected,
                lineages: &caches.lineages,
                platforms: &caches.platforms,
                observed: facts.observed,
                forbidden: Surroundings::of(facts.settings, facts.network).forbid(to),
            };
            let stored = cache::store(&input, &mut keeps);
            keeps.extend(stored);
        }
        keeps
    }

    fn pushes(&self, assessments: &[Assessment]) -> Plan {
        let facts = self.facts;
        let available = push::Available { observed: facts.observed, assessments };
        let available = (!self.request.has(Phase::Build)).then_some(available);
        let around = Surroundings::of(facts.settings, facts.network);
        let forbid = |name: &Reference| around.forbid_push(name);
        push::plan(self.selected, &facts.tree.graph, available, &forbid)
    }
}

/// Whether caches are the builder's own business: what an engine keeps of stages is none of it.
fn builds_elsewhere(observed: &Observed) -> bool {
    observed.is_registry() || observed.is_beside()
}

/// Whether stages of some image were kept here.
fn keeps_stages(observed: &Observed) -> bool {
    let is_kept = |name: &Reference| name.path().split('/').next() == Some(NAMESPACE);
    observed.images().iter().any(|image| image.names.iter().any(is_kept))
}

/// What cannot be built by plan, so there is nothing to verify.
fn broken_subjects(plan: &Plan) -> BTreeSet<String> {
    let bad = |s: &&Skipped| {
        s.phase == Phase::Build && matches!(s.why.outcome(), Outcome::Failed | Outcome::Skipped)
    };
    plan.skipped.iter().filter(bad).map(|s| s.subject.clone()).collect()
}
