use super::*;
use crate::model::{AliasRules, Capabilities, ImageId, LocalImage, Outcome};

struct World {
    reach: Reach,
    registry: Option<RegistryPrefix>,
    mirrors: BTreeMap<String, Vec<RegistryPrefix>>,
    recipes: BTreeMap<Reference, Recipe>,
    bootstrap: Bootstrap,
    store: Vec<LocalImage>,
    pins: BTreeMap<Reference, Pin>,
    tags: Option<BTreeMap<Reference, Reason>>,
}

fn parse(text: &str) -> Reference {
    text.parse().expect(text)
}

fn digest() -> ImageId {
    format!("sha256:{}", "e".repeat(64)).parse().expect("digest")
}

fn image(name: &str, platform: Option<&str>) -> LocalImage {
    let reference = parse(name);
    let (names, digests) =
        if reference.tag().is_some() { (vec![reference], vec![]) } else { (vec![], vec![reference]) };
    LocalImage {
        id: digest(),
        names,
        digests,
        labels: BTreeMap::new(),
        size: 1,
        platform: platform.map(|text| text.parse().expect(text)),
        identity: None,
    }
}

fn world(reach: Reach) -> World {
    World {
        reach,
        registry: None,
        mirrors: BTreeMap::new(),
        recipes: BTreeMap::new(),
        bootstrap: Bootstrap::No,
        store: Vec::new(),
        pins: BTreeMap::new(),
        tags: None,
    }
}

fn external() -> World {
    world(Reach::Registries(Network::External))
}

fn internal(registry: &str) -> World {
    World { registry: Some(registry.parse().expect(registry)), ..world(Reach::Registries(Network::Internal)) }
}

impl World {
    fn store(mut self, name: &str, platform: Option<&str>) -> Self {
        self.store.push(image(name, platform));
        self
    }

    fn mirror(mut self, domain: &str, mirror: &str) -> Self {
        self.mirrors.entry(domain.into()).or_default().push(mirror.parse().expect(mirror));
        self
    }

    fn registry(mut self, registry: &str) -> Self {
        self.registry = Some(registry.parse().expect(registry));
        self
    }

    fn recipe(mut self, name: &str) -> Self {
        let recipe = Recipe::Debootstrap {
            suite: "bookworm".into(),
            mirror: None,
            variant: None,
            include: Vec::new(),
        };
        self.recipes.insert(parse(name), recipe);
        self.bootstrap = Bootstrap::Yes;
        self
    }

    /// The plan as lines: `subject [sources] (why)`, `- subject (why not)`.
    #[track_caller]
    fn check(self, wanted: &[&str], expected: &str) {
        let names: Vec<Reference> = wanted.iter().map(|text| parse(text)).collect();
        let amd64 = Platform::new("linux", "amd64", None);
        let wanted: Vec<_> = names.iter().map(|name| (name.clone(), amd64.clone())).collect();
        let prefixes = BTreeMap::from([("quay.io".to_owned(), "quay".to_owned())]);
        let rules = AliasRules { internal_registry: self.registry.as_ref(), prefixes: &prefixes };
        let capabilities = Capabilities {
            name: "fake".into(),
            version: "1".into(),
            api: (1, 41),
            buildkit: true,
            platform: amd64,
            keeps: Default::default(),
        };
        let plan = plan(&PrefetchInput {
            wanted: &wanted,
            originals: &Originals::new(rules, &names),
            observed: &Observed::new(capabilities, self.store),
            mirrors: &self.mirrors,
            recipes: &self.recipes,
            reach: self.reach,
            bootstrap: self.bootstrap,
            renew: self.tags.as_ref().map_or(Renew::No, Renew::IfMoved),
            pins: &self.pins,
            indexes: Indexes::NotKept,
        });
        let steps = plan.steps.iter().map(|step| {
            let StepKind::Pull { reference, sources, .. } = &step.kind else { panic!("not a pull") };
            assert_eq!(step.id.as_str(), format!("prefetch:{}", reference.familiar()));
            let sources: Vec<String> = sources
                .iter()
                .map(|source| match source {
                    PullSource::Registry(reference) => reference.to_string(),
                    PullSource::IfLocked(reference, _) => format!("{reference} if locked"),
                    PullSource::Recipe(_) => "recipe".into(),
                })
                .collect();
            format!("{} [{}] ({})", step.subject, sources.join(", "), step.why)
        });
        let skipped = plan.skipped.iter().map(|skipped| {
            let missing = if skipped.why.outcome() == Outcome::Failed { "MISSING " } else { "" };
            format!("- {missing}{} ({})", skipped.subject, skipped.why)
        });
        assert_eq!(steps.chain(skipped).collect::<Vec<_>>().join("\n"), expected);
    }
}

#[test]
fn pulls_what_is_missing_once() {
    external().check(
        &["alpine:3.20", "redis", "docker.io/library/alpine:3.20"],
        "alpine:3.20 [docker.io/library/alpine:3.20] (not in the local store)\n\
         redis:latest [docker.io/library/redis:latest] (not in the local store)",
    );
    external()
        .store("alpine:3.20", Some("linux/amd64"))
        .check(&["alpine:3.20"], "- alpine:3.20 (already here)");
    external().store("alpine:3.20", None).check(&["alpine:3.20"], "- alpine:3.20 (already here)");
    external().store("alpine:3.20", Some("linux/arm64")).check(
        &["alpine:3.20"],
        "alpine:3.20 [docker.io/library/alpine:3.20] (is linux/arm64, wanted linux/amd64)",
    );
}

#[test]
fn what_is_here_is_pulled_again_where_its_tag_moved() {
    let moved = |from: &str| Reason::TagMoved { from: from.into(), to: "b".into(), registry: "r".into() };
    let said = |name: &str, why: Reason| World {
        tags: Some(BTreeMap::from([(parse(name), why)])),
        ..external().store(name, Some("linux/amd64"))
    };
    said("alpine:3", moved("a"))
        .check(&["alpine:3"], "alpine:3 [docker.io/library/alpine:3] (its tag moved at r: a -> b)");
    said("alpine:3", Reason::TagUnmoved { is: "a".into(), registry: "r".into() })
        .check(&["alpine:3"], "- alpine:3 (already here, its tag is a at r too)");
    said("alpine:3", Reason::TagUnknown("no answer".into())).check(
        &["alpine:3"],
        "- MISSING alpine:3 (kept as it is, nobody says whether its tag moved: no answer)",
    );
    // Nothing was said of these two.
    said("alpine:3", moved("a")).store("redis:7", None).check(
        &["redis:7", "debian:12"],
        "debian:12 [docker.io/library/debian:12] (not in the local store)\n- redis:7 (already here)",
    );
}

#[test]
fn is_content_with_another_name_of_the_right_platform() {
    external()
        .store("localhost/alpine:3.20", Some("linux/amd64"))
        .check(&["alpine:3.20"], "- alpine:3.20 (already here as localhost/alpine:3.20)");
    external().store("localhost/alpine:3.20", Some("linux/arm64")).check(
        &["alpine:3.20"],
        "alpine:3.20 [docker.io/library/alpine:3.20] (is linux/arm64, wanted linux/amd64)",
    );
}

#[test]
fn mirrors_come_first_and_keep_library() {
    external()
        .mirror("docker.io", "mirror.example.com/hub")
        .mirror("docker.io", "localhost:5000/")
        .mirror("quay.io", "mirror.example.com/quay")
        .check(
            &["alpine:3.20", "osixia/openldap:stable", "quay.io/a/b:1", "gcr.io/c:1"],
            "alpine:3.20 [mirror.example.com/hub/library/alpine:3.20, localhost:5000/library/alpine:3.20, \
             docker.io/library/alpine:3.20] (not in the local store)\n\
             osixia/openldap:stable [mirror.example.com/hub/osixia/openldap:stable, \
             localhost:5000/osixia/openldap:stable, docker.io/osixia/openldap:stable] (not in the local store)\n\
             quay.io/a/b:1 [mirror.example.com/quay/a/b:1, quay.io/a/b:1] (not in the local store)\n\
             gcr.io/c:1 [gcr.io/c:1] (not in the local store)",
        );
}

#[test]
fn inside_only_the_internal_registry_is_asked() {
    let digest = digest();
    internal("h.example.com:8443/p/").mirror("docker.io", "mirror.example.com").check(
        &["alpine:3.20", "quay.io/a/b:1", "h.example.com:8443/p/own/base:2", &format!("redis@{digest}")],
        &format!(
            "alpine:3.20 [h.example.com:8443/p/alpine:3.20] (not in the local store)\n\
             quay.io/a/b:1 [h.example.com:8443/p/quay/a/b:1] (not in the local store)\n\
             own/base:2 [h.example.com:8443/p/own/base:2] (not in the local store)\n\
             redis@{digest} [h.example.com:8443/p/redis@{digest}] (not in the local store)"
        ),
    );
    internal("h.example.com/p").check(
        &["h.example.com/other/base:2", "h.example.com/p/library/redis:7"],
        "h.example.com/other/base:2 [h.example.com/other/base:2, h.example.com/p/other/base:2] (not in the \
         local store)\n\
         redis:7 [h.example.com/p/library/redis:7, h.example.com/p/redis:7] (not in the local store)",
    );
    internal("h.example.com/p").check(
        &["a/b:1", "gcr.io/a/b:1"],
        "- MISSING a/b:1 (docker.io/a/b:1 and gcr.io/a/b:1 want the same alias)\n\
         - MISSING gcr.io/a/b:1 (gcr.io/a/b:1 and docker.io/a/b:1 want the same alias)",
    );
}

#[test]
fn aliases_in_a_from_stand_for_their_original() {
    external().registry("h.example.com/p").check(
        &["localhost/redis:7", "h.example.com/p/alpine:3", "h.example.com/p/quay/a/b:1"],
        "redis:7 [docker.io/library/redis:7] (not in the local store)\n\
         alpine:3 [docker.io/library/alpine:3, h.example.com/p/alpine:3] (not in the local store)\n\
         quay.io/a/b:1 [quay.io/a/b:1, h.example.com/p/quay/a/b:1] (not in the local store)",
    );
}

#[test]
fn nobody_to_ask_is_said() {
    let offline = || world(Reach::Nobody(Network::Internal));
    offline()
        .recipe("alpine:3")
        .check(&["alpine:3"], "- MISSING alpine:3 (missing, and --offline forbids to pull it)");
    offline().store("alpine:3", None).check(&["alpine:3"], "- alpine:3 (already here)");
    offline().store("alpine:3", Some("linux/arm64")).check(
        &["alpine:3"],
        "- MISSING alpine:3 (here for linux/arm64 only, and there is no registry to ask for linux/amd64)",
    );
    world(Reach::Registries(Network::Internal)).check(
        &["alpine:3"],
        "- MISSING alpine:3 (missing, and the internal network has no registry: set INTERNAL_REGISTRY)",
    );
}

#[test]
fn what_is_locked_is_pulled_by_its_digest() {
    let digest = digest();
    let noted = || Platform::new("linux", "amd64", None);
    let text = format!("sha256:{}", "b".repeat(64));
    let identities = BTreeMap::from([(noted(), text.parse().expect("identity"))]);
    let lock = |world: World, locked: &LockedImage, renew: Option<Reason>| {
        let pin = Pin { locked: locked.clone(), place: "images.lock:7".into(), renew };
        World { pins: [(parse("alpine:3"), pin)].into(), ..world }
    };
    let by_content = LockedImage { identities, ..LockedImage::default() };
    let both = LockedImage { digest: Some(digest.digest().clone()), ..by_content.clone() };
    let known = |world| lock(world, &both, None);
    known(external().mirror("docker.io", "m.example.com").recipe("alpine:3")).check(
        &["alpine:3", "redis:7"],
        &format!(
            "alpine:3 [m.example.com/library/alpine@{digest}, docker.io/library/alpine@{digest}] (not in the local \
             store, images.lock:7 says sha256:eeeeeeeeeeee)\n\
             redis:7 [m.example.com/library/redis:7, docker.io/library/redis:7] (not in the local store)"
        ),
    );
    known(internal("h.example.com/p")).check(
        &["alpine:3"],
        &format!(
            "alpine:3 [h.example.com/p/alpine@{digest}, h.example.com/p/alpine:3 if locked] (not in the local store, \
             images.lock:7 says sha256:eeeeeeeeeeee)"
        ),
    );
    let ids = BTreeMap::from([(noted(), text.parse().expect("ID"))]);
    let by_id = LockedImage { ids, ..LockedImage::default() };
    for (locked, shown) in [(by_content, "content"), (by_id, "image")] {
        lock(external(), &locked, None).check(
            &["alpine:3"],
            &format!(
                "alpine:3 [docker.io/library/alpine:3 if locked] (not in the local store, images.lock:7 says {shown} \
                 sha256:bbbbbbbbbbbb)"
            ),
        );
    }
    known(external().store("alpine:3", None)).check(&["alpine:3"], "- alpine:3 (already here)");
    let moved = Reason::NotAsLocked {
        name: parse("alpine:3"),
        found: "sha256:x".into(),
        lock: "images.lock:7".into(),
        locked: "sha256:y".into(),
    };
    lock(external().store("alpine:3", None), &both, Some(moved.clone())).check(
        &["alpine:3"],
        &format!("alpine:3 [docker.io/library/alpine@{digest}] (alpine:3 is sha256:x here, images.lock:7 says sha256:y)"),
    );
    lock(world(Reach::Nobody(Network::Internal)).store("alpine:3", None), &both, Some(moved))
        .check(&["alpine:3"], "- MISSING alpine:3 (alpine:3 is sha256:x here, images.lock:7 says sha256:y)");
}

#[test]
fn recipes_come_last_and_only_with_bootstrap() {
    external().recipe("debian:12-slim").check(
        &["debian:12-slim", "alpine:3"],
        "debian:12-slim [docker.io/library/debian:12-slim, recipe] (not in the local store)\n\
         alpine:3 [docker.io/library/alpine:3] (not in the local store)",
    );
    world(Reach::Registries(Network::Internal))
        .recipe("debian:12-slim")
        .check(&["localhost/debian:12-slim"], "debian:12-slim [recipe] (not in the local store)");
    let mut without = external().recipe("debian:12-slim");
    without.bootstrap = Bootstrap::No;
    without.check(
        &["debian:12-slim"],
        "debian:12-slim [docker.io/library/debian:12-slim] (not in the local store)",
    );
}
