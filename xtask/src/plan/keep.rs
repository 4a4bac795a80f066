//! Pure: which stages of images are to be kept as images of their own, with an inline cache, so that a machine that has
//! nothing else can rebuild what stands on them (`rebuild/lineage.rs` says which and why).
//!
//! In: the lineages, the store, the planned builds. Out: a build for each stage that is not kept yet, or was kept of
//! another build of its image. Those builds find everything in the builder's cache, so they cost little.

use std::collections::{BTreeMap, BTreeSet};

use super::build::Contexts;
use super::stand_ins;
use crate::model::{
    BuildSpec, BuildTarget, Digest, Image, ImageName, ImageSource, InlineCache, LocalImage, Observed, Phase,
    Plan, Reason, Reference, Skipped, Step, StepId, StepKind, labels, sha256,
};
use crate::plan::rebuild::lineage::Lineage;
use crate::read::graph::ImageGraph;

/// What decides.
pub struct KeepInput<'a> {
    /// Whose stages.
    pub selected: &'a BTreeSet<ImageName>,
    /// The images.
    pub graph: &'a ImageGraph,
    /// Their contexts.
    pub contexts: &'a Contexts,
    /// Their stages.
    pub lineages: &'a BTreeMap<ImageName, Vec<Lineage>>,
    /// The store.
    pub observed: &'a Observed,
    /// What is going to be built first.
    pub builds: &'a Plan,
    /// What caches elsewhere may have of each image.
    pub offers: &'a BTreeMap<ImageName, Vec<Reference>>,
}

/// The keep phase.
pub fn plan(input: &KeepInput<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    for image in input.graph.images().iter().filter(|image| input.selected.contains(&image.name)) {
        let ImageSource::Build(target) = &image.source else { continue };
        let build = StepId::new(Phase::Build, image.name.as_str());
        let is_built = input.builds.steps.iter().any(|step| step.id == build);
        let here = input.observed.find(&image.reference);
        let awaits = input.contexts.get(&image.name).is_some_and(|context| context.awaits.is_some());
        if (here.is_none() || awaits) && !is_built {
            // It cannot be built; where it has to be, the build phase says so.
            continue;
        }
        for lineage in input.lineages.get(&image.name).into_iter().flatten() {
            if !seen.insert(&lineage.reference) {
                continue;
            }
            let subject = lineage.reference.familiar();
            let why = match input.observed.find(&lineage.reference) {
                None => Reason::NotInStore,
                Some(kept) => {
                    let beside = kept.labels.get(labels::KEPT_BESIDE);
                    let is_beside = |image: &&LocalImage| {
                        beside.is_some_and(|said| *said == mark(image).as_str() || *said == image.id.as_str())
                    };
                    let is_same = kept.labels.get(labels::LINEAGE) == Some(&lineage.record());
                    if is_same && !is_built && sharers(input, lineage).iter().any(is_beside) {
                        plan.skipped.push(Skipped::new(Phase::Keep, subject, Reason::InStore));
                        continue;
                    }
                    Reason::ImageBuiltSince(image.name.clone())
                }
            };
            let spec = spec(input, image, target, lineage, here);
            let needs = is_built.then(|| build.clone()).into_iter().collect();
            let step = Step::new(Phase::Keep, subject, StepKind::Build(Box::new(spec)), why);
            plan.steps.push(Step { needs, ..step });
        }
    }
    plan
}

/// The kept stages of each image that the store has.
pub fn kept(
    lineages: &BTreeMap<ImageName, Vec<Lineage>>,
    observed: &Observed,
) -> BTreeMap<ImageName, Vec<Reference>> {
    let here = |lineage: &&Lineage| observed.find(&lineage.reference).is_some();
    let names =
        |all: &Vec<Lineage>| all.iter().filter(here).map(|lineage| lineage.reference.clone()).collect();
    lineages.iter().map(|(image, all)| (image.clone(), names(all))).collect()
}

/// The images that share a stage.
fn sharers<'a>(input: &KeepInput<'a>, lineage: &Lineage) -> Vec<&'a LocalImage> {
    let shares = |all: &Vec<Lineage>| all.iter().any(|other| other.reference == lineage.reference);
    let names = input.lineages.iter().filter(|(_, all)| shares(all)).map(|(name, _)| name);
    names.filter_map(|name| input.observed.find(&input.graph.get(name)?.reference)).collect()
}

/// Tells one build of an image from the next, in every store alike: a build says in its labels when it was. Earlier
/// releases wrote the image's ID down, which holds for one kind of store only.
fn mark(image: &LocalImage) -> Digest {
    let fields = image.labels.iter().flat_map(|(name, value)| [name, "\0", value, "\0"]);
    sha256(fields.collect::<String>().as_bytes())
}

fn spec(
    input: &KeepInput<'_>,
    image: &Image,
    target: &BuildTarget,
    lineage: &Lineage,
    beside: Option<&LocalImage>,
) -> BuildSpec {
    let mut all = BTreeMap::from([
        (labels::LINEAGE.to_owned(), lineage.record()),
        (labels::PLATFORM.to_owned(), image.platform.to_string()),
    ]);
    if let Some(capabilities) = &input.observed.capabilities {
        all.insert(labels::BUILDER.to_owned(), capabilities.builder().to_owned());
    }
    if let Some(beside) = beside {
        all.insert(labels::KEPT_BESIDE.to_owned(), mark(beside).to_string());
    }
    let is_here = |other: &&Lineage| input.observed.find(&other.reference).is_some();
    let all_of_image = input.lineages.get(&image.name).into_iter().flatten();
    let text = lineage.text.as_ref().unwrap_or(&target.text);
    let files = input.contexts.get(&image.name).map(|context| context.files.clone()).unwrap_or_default();
    BuildSpec {
        tags: vec![lineage.reference.clone()],
        text: stand_ins::text(text, image, target, input.graph, input.observed),
        target: target.target.clone().filter(|_| lineage.is_target),
        labels: all,
        cache_from: all_of_image
            .filter(is_here)
            .map(|other| other.reference.clone())
            .chain(input.offers.get(&image.name).into_iter().flatten().cloned())
            .collect(),
        // Nobody runs it, and unpacking it again takes longer than the rest of this build.
        inline_cache: if input.observed.keeps_manifests() { InlineCache::Packed } else { InlineCache::Yes },
        ..BuildSpec::of(image, target, files)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::build::Builder as _;
    use crate::engine::{FakeEngine, Store as _, fake_image};
    use crate::model::Platform;
    use crate::plan::build::{self, BuildRequest};
    use crate::plan::rebuild::lineage::{LineageInput, lineages};
    use crate::read::tree;
    use crate::settings::env::Env;
    use crate::settings::{Layer, load};
    use crate::testing::TestTree;

    struct Looked {
        builds: Plan,
        keeps: Plan,
    }

    impl Looked {
        fn keeps(&self) -> Vec<String> {
            self.keeps.steps.iter().map(|step| format!("{} ({})", step.subject, step.why)).collect()
        }
    }

    async fn look(fixture: &TestTree, engine: &FakeEngine) -> Looked {
        let config = load(&fixture.root(), Layer::default(), &Env::default(), None).unwrap();
        let reading = tree::look(&config, Platform::local()).unwrap();
        let observed = engine.observe().await.unwrap();
        let (graph, contexts) = (&reading.tree.graph, &reading.tree.contexts);
        let assessments = build::assess(graph, contexts, &observed, &|_| None);
        let keys: HashMap<_, _> = assessments.iter().map(|a| (a.name.clone(), a.key.clone())).collect();
        let lineages = lineages(&LineageInput {
            graph,
            files: &|name| Some(contexts.get(name)?.files.clone()),
            build_platform: &Platform::local(),
            base: &|reference| observed.identity(reference),
            key: &|name| keys.get(name).cloned().flatten(),
        });
        let selected: BTreeSet<ImageName> = graph.images().iter().map(|image| image.name.clone()).collect();
        let request = BuildRequest {
            selected: selected.clone(),
            kept: kept(&lineages, &observed),
            ..BuildRequest::default()
        };
        let builds = build::plan(&request, graph, contexts, &assessments, &observed, &Plan::default());
        let (lineages, builds) = (&lineages, builds);
        let input = KeepInput {
            selected: &selected,
            graph,
            contexts,
            lineages,
            observed: &observed,
            builds: &builds,
            offers: &BTreeMap::new(),
        };
        let keeps = plan(&input);
        Looked { builds, keeps }
    }

    async fn perform(fixture: &TestTree, engine: &FakeEngine, plan: &Plan) {
        for step in &plan.steps {
            let StepKind::Build(spec) = &step.kind else { continue };
            engine.build(&fixture.root(), spec, &|_| {}).await.unwrap();
        }
    }

    #[tokio::test]
    async fn stages_are_kept_after_each_build_of_their_image_and_offered_to_the_next_one() {
        let fixture = TestTree::new(
            "\
//- src/api/Dockerfile
FROM debian:12 AS builder
COPY a .
FROM debian:12
RUN true
COPY --from=builder /a /a
//- src/api/a
1
",
        );
        let engine = FakeEngine::new();
        engine.store(fake_image("base", &[&"debian:12".parse().unwrap()]));
        let first = look(&fixture, &engine).await;
        let all = ["xtask-cache/api:latest.builder", "xtask-cache/api:latest.1"];
        assert_eq!(first.keeps(), all.map(|name| format!("{name} (not in the local store)")));
        let build = StepId::new(Phase::Build, "api");
        assert!(first.keeps.steps.iter().all(|step| step.needs == [build.clone()]), "after the build");
        perform(&fixture, &engine, &first.builds).await;

        // Only now the ID of the image is known.
        let second = look(&fixture, &engine).await;
        assert!(second.builds.steps.is_empty());
        perform(&fixture, &engine, &second.keeps).await;
        for step in &second.keeps.steps {
            let StepKind::Build(spec) = &step.kind else { panic!("{step:?}") };
            assert_eq!(spec.inline_cache, InlineCache::Yes);
        }

        let third = look(&fixture, &engine).await;
        assert_eq!(third.keeps(), Vec::<String>::new());
        assert_eq!(third.keeps.skipped.len(), 2);

        // Another kind of store calls the same image otherwise; another build of it says when it was.
        let name: Reference = "api:latest".parse().unwrap();
        let image = engine.observe().await.unwrap().find(&name).unwrap().clone();
        let elsewhere = LocalImage { id: fake_image("elsewhere", &[]).id, ..image.clone() };
        let mut anew = LocalImage { id: fake_image("anew", &[]).id, ..image.clone() };
        anew.labels.insert(labels::BUILD_TIMESTAMP.to_owned(), "2026-01-02T03:04:05Z".to_owned());
        for (image, is_kept) in [(elsewhere, true), (anew, false), (image, true)] {
            engine.store(image);
            assert_eq!(look(&fixture, &engine).await.keeps().is_empty(), is_kept);
        }

        fixture.write("src/api/a", "2\n");
        let fourth = look(&fixture, &engine).await;
        let StepKind::Build(spec) = &fourth.builds.steps[0].kind else { panic!("a build") };
        let offered: Vec<String> = spec.cache_from.iter().map(Reference::familiar).collect();
        assert_eq!(offered, all);
        assert_eq!(fourth.keeps(), all.map(|name| format!("{name} (api was built since)")));
    }

    #[tokio::test]
    async fn a_store_that_has_layers_packed_leaves_those_of_kept_stages_so() {
        let fixture = TestTree::new("//- src/api/Dockerfile\nFROM debian:12\nRUN true\n");
        for (keeps_manifests, expected) in [(false, InlineCache::Yes), (true, InlineCache::Packed)] {
            let engine = FakeEngine::new();
            let name: Reference = "debian:12".parse().unwrap();
            let mut base = fake_image("base", &[&name]);
            if keeps_manifests {
                base.digests = vec![name.pinned(base.id.digest())];
            }
            engine.store(base);
            let keeps = look(&fixture, &engine).await.keeps;
            let StepKind::Build(spec) = &keeps.steps[0].kind else { panic!("{keeps:?}") };
            assert_eq!(spec.inline_cache, expected);
        }
    }
}
