//! Pure: what is done to try base images: run them, push them to a registry on this machine and pull them back,
//! publish them, and take away what all that made.
//!
//! In: images of the tree, and where a registry listens. Out: steps. Names: `fit-framework:V-OS` is the image here,
//! `127.0.0.1:PORT/fit-framework:V-OS` the same in the registry on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::checks::FIT_VERSION;
use super::contract::Contract;
use crate::model::{
    Afterwards, BaseImageFacts, ContainerId, Expected, HttpAsk, Image, Lifetime, LocalImage, Observed,
    ParseReferenceError, Phase, Plan, Platform, PullSource, PushProof, Reason, Reference, RegistryPrefix,
    RegistrySpec, RemoveFirst, SmokeSpec, Step, StepId, StepKind, labels,
};

/// The port of the framework's HTTP server.
const HTTP_PORT: u16 = 8080;
/// Where it tells its plugins.
const PLUGINS: &str = "/actuator/plugins";
/// An image that is not healthy after this is not waited for, unless its own health check grants more.
const HEALTHY_WITHIN: Duration = Duration::from_secs(90);
/// How long one may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// By what everything that a run makes to try things is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialOwner {
    /// The run's id.
    pub run: String,
    /// The process, as `PID@STARTED`.
    pub process: String,
    /// Which tree it works in.
    pub tree: String,
}

impl TrialOwner {
    /// What is on its containers.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [(labels::RUN, &self.run), (labels::OWNER, &self.process), (labels::TREE, &self.tree)]
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .into()
    }

    /// The label that finds its containers.
    pub fn label(&self) -> String {
        format!("{}={}", labels::RUN, self.run)
    }

    /// The folder of its registry, relative to the root.
    pub fn registry_home(&self) -> String {
        format!("{REGISTRIES}/run-{}", self.run)
    }
}

/// Where the folders of registries lie, relative to the root.
pub const REGISTRIES: &str = "target/xtask/registry";

/// What images are held to.
#[derive(Clone, Copy, Debug)]
pub struct Requirements<'a> {
    /// What all of them promise.
    pub contract: &'a Contract,
    /// At least this many plugins have to be loaded.
    pub plugins: usize,
}

/// One base image, with what makes it one.
#[derive(Clone, Copy, Debug)]
pub struct BaseImage<'a> {
    /// The image.
    pub image: &'a Image,
    /// Its system and version.
    pub facts: &'a BaseImageFacts,
}

impl<'a> BaseImage<'a> {
    /// Those of the images that are base images.
    pub fn among(images: impl IntoIterator<Item = &'a Image>) -> Vec<Self> {
        images.into_iter().filter_map(|image| Some(Self { image, facts: image.base_image()? })).collect()
    }

    /// Its plain name: without a registry.
    pub fn plain(&self) -> &'a Reference {
        self.image.local_alias.as_ref().unwrap_or(&self.image.reference)
    }
}

/// How an image is tried under one of its names.
fn smoke(
    base: BaseImage<'_>,
    reference: &Reference,
    owner: &TrialOwner,
    requirements: Requirements<'_>,
) -> SmokeSpec {
    let contract = requirements.contract;
    let mut commands = contract.commands();
    if commands.iter().all(|(name, _)| name != FIT_VERSION) {
        commands.push((FIT_VERSION.to_owned(), vec!["fit".to_owned(), "version".to_owned()]));
    }
    SmokeSpec {
        image: base.image.name.clone(),
        os: base.facts.os.clone(),
        reference: reference.clone(),
        labels: owner.labels(),
        commands,
        ask: Some(HttpAsk { port: HTTP_PORT, path: PLUGINS.to_owned() }),
        healthy_within: HEALTHY_WITHIN,
        afterwards: Afterwards::Remove,
        expected: Expected {
            version: Some(base.facts.version.clone()),
            size_budget: contract.size_budget(&base.facts.os),
            plugins: Some(requirements.plugins),
            stop_within: contract.stop_within().unwrap_or(STOP_WITHIN),
        },
    }
}

/// Runs each image as it is in the store.
pub fn test(bases: &[BaseImage<'_>], owner: &TrialOwner, requirements: Requirements<'_>) -> Plan {
    let steps = bases.iter().map(|base| {
        let name = base.image.name.as_str();
        let needs = vec![StepId::new(Phase::Build, name), StepId::new(Phase::Verify, name)];
        let spec = smoke(*base, &base.image.reference, owner, requirements);
        step(Phase::Test, name, name, StepKind::Smoke(Box::new(spec)), needs)
    });
    Plan { steps: steps.collect(), ..Plan::default() }
}

/// Starts a registry on this machine.
pub fn registry(owner: &TrialOwner, port: u16, lifetime: Lifetime) -> Plan {
    let spec = RegistrySpec { home: owner.registry_home(), port, labels: owner.labels(), lifetime };
    let subject = format!("127.0.0.1:{port}");
    let start = step(Phase::Registry, "local", &subject, StepKind::StartRegistry(spec), Vec::new());
    Plan { steps: vec![start], ..Plan::default() }
}

/// The name of an image in a registry on this machine.
///
/// # Errors
/// When it makes no reference.
pub fn remote(base: BaseImage<'_>, port: u16) -> Result<Reference, ParseReferenceError> {
    format!("127.0.0.1:{port}").parse::<RegistryPrefix>()?.join(&base.plain().without_domain())
}

/// Pushes each image to the registry on this machine, pulls it back and tries what came back.
///
/// # Errors
/// When a name makes no reference.
pub fn there_and_back(
    bases: &[BaseImage<'_>],
    port: u16,
    owner: &TrialOwner,
    requirements: Requirements<'_>,
    afterwards: Afterwards,
) -> Result<Plan, ParseReferenceError> {
    let mut plan = Plan::default();
    for base in bases {
        let remote = remote(*base, port)?;
        let before = [Phase::Build, Phase::Verify];
        let pushed = push_to(Phase::Push, *base, &remote, &before, PushProof::Word);
        let full = remote.familiar();
        let pull = pull(&remote, &base.image.platform);
        let pulled = step(Phase::Pull, &full, &full, pull, vec![pushed.id.clone()]);
        let mut spec = SmokeSpec { afterwards, ..smoke(*base, &remote, owner, requirements) };
        if afterwards == Afterwards::Keep {
            spec.labels.insert(labels::KEPT.to_owned(), "true".to_owned());
        }
        let name = base.image.name.as_str();
        let tried = step(Phase::Test, name, name, StepKind::Smoke(Box::new(spec)), vec![pulled.id.clone()]);
        plan.steps.extend([pushed, pulled, tried]);
    }
    Ok(plan)
}

/// Pushes each image to the registry on this machine and asks for it back, before anybody else's registry is told.
///
/// # Errors
/// When a name makes no reference.
pub fn rehearse(bases: &[BaseImage<'_>], port: u16) -> Result<Plan, ParseReferenceError> {
    let mut plan = Plan::default();
    for base in bases {
        let remote = remote(*base, port)?;
        let before = [Phase::Build, Phase::Verify, Phase::Test];
        plan.steps.push(push_to(Phase::Rehearse, *base, &remote, &before, PushProof::PulledBack));
    }
    Ok(plan)
}

/// Gives an image its name in a registry and pushes it, if what was done to it before went well.
fn push_to(
    phase: Phase,
    base: BaseImage<'_>,
    remote: &Reference,
    before: &[Phase],
    proof: PushProof,
) -> Step {
    let name = base.image.name.as_str();
    let full = remote.familiar();
    let mut needs = vec![StepId::new(Phase::Registry, "local")];
    needs.extend(before.iter().map(|phase| StepId::new(*phase, name)));
    let push = StepKind::Push { reference: remote.clone(), from: Some(base.plain().clone()), proof };
    step(phase, &full, &full, push, needs)
}

fn pull(reference: &Reference, platform: &Platform) -> StepKind {
    StepKind::Pull {
        reference: reference.clone(),
        platform: platform.clone(),
        sources: vec![PullSource::Registry(reference.clone())],
        remove_first: RemoveFirst::Yes,
    }
}

/// Pushes every name of each image and looks each up again at the end. An image that failed its test or its rehearsal is
/// not pushed. No other name follows before the registry gave back the first one, the version's own, as what was
/// pushed: `latest-OS` never points past what is published.
///
/// # Errors
/// When a name makes no reference.
pub fn publish(bases: &[BaseImage<'_>], rehearsed_at: u16) -> Result<Plan, ParseReferenceError> {
    let mut plan = Plan::default();
    let mut named = BTreeSet::new();
    for base in bases {
        let whole = base.image.name.image();
        if !named.insert(whole.clone()) {
            continue;
        }
        // What is made for several platforms is pushed as its index, once all of it has passed.
        let mut needs = Vec::new();
        for one in bases.iter().filter(|one| one.image.name.image() == whole) {
            let rehearsed = remote(*one, rehearsed_at)?.familiar();
            needs.push(StepId::new(Phase::Test, one.image.name.as_str()));
            needs.push(StepId::new(Phase::Rehearse, &rehearsed));
        }
        for (at, (reference, _)) in base.image.known_names().enumerate() {
            let full = reference.familiar();
            let proof = if at == 0 { PushProof::PulledBack } else { PushProof::Word };
            let push = StepKind::Push { reference: reference.clone(), from: None, proof };
            let push = step(Phase::Push, &full, &full, push, needs.clone());
            let confirm = StepKind::Confirm { reference: reference.clone() };
            needs.push(push.id.clone());
            plan.steps.push(step(Phase::Confirm, &full, &full, confirm, vec![push.id.clone()]));
            plan.steps.push(push);
        }
    }
    // Steps stand in an order that respects what they need.
    plan.steps.sort_by_key(|step| step.phase);
    Ok(plan)
}

/// What is left of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Its containers, with what they run.
    pub containers: Vec<(ContainerId, String)>,
    /// Folders of its registries, relative to the root.
    pub registries: Vec<String>,
    /// Names that it gave.
    pub names: Vec<Reference>,
    /// Names that it took, each with what the image is called meanwhile that had it.
    pub taken: Vec<(Reference, Reference)>,
}

/// Takes it all away: containers, then the names of what they ran, then registries.
pub fn clean_up(left: &Leftovers) -> Plan {
    let mut plan = Plan::default();
    for (id, runs) in &left.containers {
        let subject = format!("container {} of {runs}", id.short());
        let kind = StepKind::RemoveContainer { id: id.clone() };
        plan.steps.push(step(
            Phase::CleanUp,
            &format!("container-{}", id.short()),
            &subject,
            kind,
            Vec::new(),
        ));
    }
    let containers: Vec<StepId> = plan.steps.iter().map(|step| step.id.clone()).collect();
    // One after the other: an engine answers two that take the last names of one image away with a conflict.
    let mut after = containers.clone();
    let go = left.names.iter().map(|name| {
        (name.familiar(), StepKind::Untag { reference: name.clone() }, format!("name {}", name.familiar()))
    });
    let back = left.taken.iter().map(|(name, from)| {
        let kind = StepKind::GiveBack { reference: name.clone(), from: from.clone() };
        (name.familiar(), kind, format!("name {}, given back", name.familiar()))
    });
    for (full, kind, subject) in go.chain(back) {
        let next = step(Phase::CleanUp, &format!("name-{full}"), &subject, kind, Vec::new());
        let next = Step { after: after.clone(), ..next };
        after = vec![next.id.clone()];
        plan.steps.push(next);
    }
    for home in &left.registries {
        let subject = format!("registry in {home}");
        let kind = StepKind::StopRegistry { home: home.clone() };
        let stop = step(Phase::CleanUp, &format!("registry-{home}"), &subject, kind, Vec::new());
        plan.steps.push(Step { after: after.clone(), ..stop });
    }
    plan
}

/// The names among `given` that are in the store now and were not before.
pub fn new_names(before: &Observed, now: &Observed, given: &BTreeSet<Reference>) -> Vec<Reference> {
    let names = now.images().iter().flat_map(|image: &LocalImage| &image.names);
    let mut names: Vec<Reference> =
        names.filter(|name| given.contains(*name) && before.find(name).is_none()).cloned().collect();
    names.sort();
    names
}

fn step(phase: Phase, id: &str, subject: &str, kind: StepKind, needs: Vec<StepId>) -> Step {
    Step { id: StepId::new(phase, id), needs, ..Step::new(phase, subject, kind, Reason::Asked) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake_image;
    use crate::model::{Capabilities, FurtherTag, ImageKind, ImageName, ImageSource};

    fn parse(text: &str) -> Reference {
        text.parse().expect(text)
    }

    fn image(registry: bool) -> Image {
        let full = |tag: &str| format!("{}fit-framework:{tag}", if registry { "r.example/a/" } else { "" });
        let plain = |tag: &str| registry.then(|| parse(&format!("fit-framework:{tag}")));
        Image {
            name: ImageName::new("fit-framework-debian"),
            kind: ImageKind::BaseImage(BaseImageFacts {
                os: "debian".to_owned(),
                version: "1.2.3".to_owned(),
                description: None,
                artifact: None,
            }),
            service: "fit-framework-debian".to_owned(),
            reference: parse(&full("1.2.3-debian")),
            tags: vec![FurtherTag { name: parse(&full("debian")), local_alias: plain("debian") }],
            local_alias: plain("1.2.3-debian"),
            source: ImageSource::External(parse("unused")),
            platform: Platform::local(),
            group: None,
            needs: BTreeSet::new(),
            asks_for: BTreeMap::new(),
            asks_for_on: BTreeMap::new(),
            dependency_at: None,
            index: None,
            base_images: Vec::new(),
            companions: Vec::new(),
        }
    }

    fn owner() -> TrialOwner {
        TrialOwner { run: "r1".to_owned(), process: "1@x".to_owned(), tree: "t".to_owned() }
    }

    /// `id kind <- needs`, a line each.
    fn told(plan: &Plan) -> String {
        let mut text = String::new();
        for step in &plan.steps {
            let waits: Vec<&str> = step.needs.iter().chain(&step.after).map(StepId::as_str).collect();
            let line = format!("{} | {} <- {}", step.id, step.kind.name(), waits.join(", "));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    #[test]
    fn there_and_back_pulls_what_it_pushed_and_tries_that() {
        let image = image(false);
        let bases = BaseImage::among([&image]);
        let contract = Contract::built_in();
        let requirements = Requirements { contract: &contract, plugins: 1 };
        let plan = there_and_back(&bases, 15001, &owner(), requirements, Afterwards::Remove).expect("names");
        insta::assert_snapshot!(told(&plan), @r"
        push:127.0.0.1:15001/fit-framework:1.2.3-debian | push <- registry:local, build:fit-framework-debian, verify:fit-framework-debian
        pull:127.0.0.1:15001/fit-framework:1.2.3-debian | pull <- push:127.0.0.1:15001/fit-framework:1.2.3-debian
        test:fit-framework-debian | smoke <- pull:127.0.0.1:15001/fit-framework:1.2.3-debian
        ");
        let StepKind::Smoke(spec) = &plan.steps[2].kind else { panic!("{:?}", plan.steps[2]) };
        assert_eq!(spec.reference.familiar(), "127.0.0.1:15001/fit-framework:1.2.3-debian");
        assert_eq!(spec.expected.version.as_deref(), Some("1.2.3"));
    }

    #[test]
    fn nothing_is_pushed_that_was_not_tested_and_rehearsed() {
        let image = image(true);
        let bases = BaseImage::among([&image]);
        let rehearsal = rehearse(&bases, 15000).expect("names");
        insta::assert_snapshot!(told(&rehearsal), @r"
        rehearse:127.0.0.1:15000/fit-framework:1.2.3-debian | push <- registry:local, build:fit-framework-debian, verify:fit-framework-debian, test:fit-framework-debian
        ");
        insta::assert_snapshot!(told(&publish(&bases, 15000).expect("names")), @r"
        push:r.example/a/fit-framework:1.2.3-debian | push <- test:fit-framework-debian, rehearse:127.0.0.1:15000/fit-framework:1.2.3-debian
        push:r.example/a/fit-framework:debian | push <- test:fit-framework-debian, rehearse:127.0.0.1:15000/fit-framework:1.2.3-debian, push:r.example/a/fit-framework:1.2.3-debian
        confirm:r.example/a/fit-framework:1.2.3-debian | confirm <- push:r.example/a/fit-framework:1.2.3-debian
        confirm:r.example/a/fit-framework:debian | confirm <- push:r.example/a/fit-framework:debian
        ");
    }

    #[test]
    fn what_is_left_goes_in_an_order_that_works() {
        let left = Leftovers {
            containers: vec![(ContainerId::new("c1"), "a:1".to_owned())],
            registries: vec!["target/xtask/registry/run-r1".to_owned()],
            names: vec![parse("a:1"), parse("a:2")],
            taken: vec![(parse("b:1"), parse("b-before:1"))],
        };
        insta::assert_snapshot!(told(&clean_up(&left)), @r"
        clean-up:container-c1 | remove-container <-
        clean-up:name-a:1 | untag <- clean-up:container-c1
        clean-up:name-a:2 | untag <- clean-up:name-a:1
        clean-up:name-b:1 | give-back <- clean-up:name-a:2
        clean-up:registry-target/xtask/registry/run-r1 | stop-registry <- clean-up:name-b:1
        ");
        assert!(clean_up(&Leftovers::default()).steps.is_empty());
    }

    #[test]
    fn only_names_of_ours_that_are_new_are_taken_away() {
        let capabilities = Capabilities {
            name: "fake".into(),
            version: "1".into(),
            api: (1, 41),
            buildkit: true,
            platform: Platform::local(),
            keeps: Default::default(),
        };
        let store = |names: &[&str]| {
            let names: Vec<Reference> = names.iter().map(|name| parse(name)).collect();
            let images = names.iter().map(|name| fake_image(&name.to_string(), &[name])).collect();
            Observed::new(capabilities.clone(), images)
        };
        let given = ["ours:1", "ours:2", "ours:3"].map(parse).into();
        let found = new_names(&store(&["ours:1"]), &store(&["ours:1", "ours:2", "theirs:1"]), &given);
        assert_eq!(found, [parse("ours:2")]);
    }
}
