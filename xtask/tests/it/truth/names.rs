//! What a name in a Dockerfile stands for: an image of this tree, in every tag, or another one.

use xtask::engine::Store as _;
use xtask::model::{AliasRules, Indexes, Network, Originals, Outcome, Platform, Reason, StepKind};
use xtask::plan::alias::{self, AliasInput, OnConflict};
use xtask::plan::bake::{BakeInput, bake};
use xtask::plan::build::BuildRequest;
use xtask::plan::prefetch::{self, Bootstrap, PrefetchInput, Reach, Renew};
use xtask::settings::{OptionalRegistry, Tag};

use super::lab::{Lab, reference, wait};

/// What a Dockerfile in `src/app` needs beside `src/base`, and what the builder is told, in the tag `v2`.
#[track_caller]
fn check(settings: &str, from: &str, needs: &str, told: &str) {
    let fixture = format!(
        "//- .config/xtask.toml\n{settings}\n//- src/base/Dockerfile\nFROM debian:12\n//- src/app/Dockerfile\n{from}\n"
    );
    let mut lab = Lab::new(&fixture);
    lab.flags.tag = Some(Tag("v2".to_owned()));
    let look = lab.look();
    let app = look.reading.tree.graph.images().iter().find(|image| image.service == "app").unwrap();
    let found: Vec<String> = app.needs.iter().map(ToString::to_string).collect();
    assert_eq!(found.join(" "), needs, "{from}");
    let plan = look.plan(&BuildRequest { selected: look.all(), ..BuildRequest::default() });
    let text = plan.steps.iter().find_map(|step| match &step.kind {
        StepKind::Build(spec) if spec.image == app.name => Some(spec.text.clone()),
        _ => None,
    });
    assert_eq!(text.unwrap(), format!("{told}\n"), "{from}");
}

#[test]
fn a_name_without_a_tag_is_the_image_of_this_tree_in_the_tag_that_is_built() {
    for written in ["base", "base:latest", "localhost/base", "docker.io/library/base"] {
        check("", &format!("FROM {written} AS x"), "base", "FROM base:v2 AS x");
    }
    check("", "FROM base:v2", "base", "FROM base:v2");
    check("", "FROM localhost/base:v2", "base", "FROM base:v2");
    for external in
        ["base:v1", "base:latest@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
    {
        check("", &format!("FROM {external}"), "", &format!("FROM {external}"));
    }
    check("prefix = 'my-'", "FROM base", "my-base", "FROM my-base:v2");
    check("prefix = 'my-'", "FROM my-base", "my-base", "FROM my-base:v2");
    check("prefix = 'my-'", "FROM base:v1", "", "FROM base:v1");
    let registry = "registry = 'r.example.com/p'\nprefix = 'my-'";
    for written in ["base", "my-base", "r.example.com/p/base", "r.example.com/p/my-base:latest"] {
        check(registry, &format!("FROM {written}"), "my-base", "FROM r.example.com/p/my-base:v2");
    }
    check(registry, "FROM r.example.com/q/base", "", "FROM r.example.com/q/base");
    check("internal_registry = 'i.example.com/p'", "FROM i.example.com/p/base", "base", "FROM base:v2");
    check(
        "",
        "ARG B=base\nFROM $B\nCOPY --from=base:latest /x /\nRUN --mount=from=base,target=/m ls --from=base",
        "base",
        "ARG B=base\nFROM base:v2\nCOPY --from=base:v2 /x /\nRUN --mount=from=base:v2,target=/m ls --from=base",
    );
}

/// What the builder is told of a `src/base` whose triggers copy from `src/tool`, in the tag `v2`, and the base's key.
fn left_by_base(app: &str) -> (String, String) {
    let fixture = format!(
        "//- src/base/Dockerfile\nFROM debian:12\nONBUILD COPY --from=tool /x /\n\
         //- src/tool/Dockerfile\nFROM debian:12\n//- src/app/Dockerfile\n{app}"
    );
    let mut lab = Lab::new(&fixture);
    lab.flags.tag = Some(Tag("v2".to_owned()));
    let look = lab.look();
    let plan = look.plan(&BuildRequest { selected: look.all(), ..BuildRequest::default() });
    let text = plan.steps.iter().find_map(|step| match &step.kind {
        StepKind::Build(spec) if spec.image.as_str() == "base" => Some(spec.text.clone()),
        _ => None,
    });
    (text.unwrap(), look.keys()["base"].clone())
}

#[test]
fn triggers_take_along_which_tag_they_mean() {
    let (text, key) = left_by_base("FROM base\n");
    assert_eq!(text, "FROM debian:12\nONBUILD COPY --from=tool:v2 /x /\n");
    let unpinned = "FROM debian:12\nONBUILD COPY --from=tool /x /\n";
    let (text, other) = left_by_base("FROM debian:12 AS tool\nFROM base\n");
    assert_eq!(text, unpinned, "a stage of whoever stands on it");
    assert_ne!(other, key, "it is built again for whoever needs the tag");
    assert_eq!(left_by_base("FROM debian:12\nCOPY --from=base /x /\n"), (unpinned.to_owned(), other));
}

#[test]
fn a_change_of_the_base_reaches_what_is_built_on_it_in_another_tag() {
    let mut lab = Lab::built(
        "//- src/base/Dockerfile\nFROM debian:12\nCOPY x /\n//- src/base/x\n1\n//- src/app/Dockerfile\nFROM base\n",
    );
    let latest = lab.look().observed.find(&reference("base:latest")).unwrap().id.clone();
    lab.write("src/base/x", "2\n");
    lab.flags.tag = Some(Tag("v2".to_owned()));
    lab.build();
    assert_eq!(lab.stale(), "");
    let observed = lab.look().observed;
    let layers =
        |name: &str| wait(lab.engine.layers(&observed.find(&reference(name)).unwrap().id)).unwrap().unwrap();
    assert_eq!(layers("app:v2")[..2], layers("base:v2"), "it stands on the new base");
    assert_eq!(observed.find(&reference("base:latest")).unwrap().id, latest, "no other tag is moved");
}

#[test]
fn another_tag_is_external_and_says_so_once() {
    let fixture = "//- src/base/Dockerfile\nFROM debian:12\n//- src/a/Dockerfile\nFROM base:v1\n\
                   //- src/b/Dockerfile\nFROM debian:12\nCOPY --from=base:v1 /x /\n";
    assert_eq!(
        Lab::new(fixture).look().said(),
        "warning: src/a/Dockerfile:1: base:v1 is not the tag of base that is built now, latest, so it counts as an \
         external image; without a tag it is the image of this tree"
    );
    assert_eq!(
        Lab::new(
            "//- .config/xtask.toml\nprefix = 'my-'\n//- src/redis/Dockerfile\nFROM redis\n\
                  //- src/a/Dockerfile\nFROM redis\n//- src/b/Dockerfile\nFROM redis\n"
        )
        .look()
        .said(),
        "warning: src/a/Dockerfile:1: redis:latest is taken for my-redis, the image of this tree, and not for what that \
         one extends: for the latter write its tag"
    );
    // What it extends, what it is pulled from: names of these are not worth a word.
    for quiet in [
        "//- src/redis/Dockerfile\nFROM redis:7\n//- src/a/Dockerfile\nFROM redis:7\n//- src/b/Dockerfile\nFROM redis:6\n",
        "//- src/redis/dependency.conf\nredis:7\n//- src/a/Dockerfile\nFROM redis:7\n",
        "//- .config/xtask.toml\nprefix = 'my-'\n//- src/redis/Dockerfile\nFROM redis\n",
    ] {
        assert_eq!(Lab::new(quiet).look().said(), "", "{quiet}");
    }
}

/// What is pulled and named for all images, with the further names that pulls and conflicts have: one a line.
fn fetched(lab: &Lab, network: Network, internal: Option<&str>) -> String {
    let look = lab.look();
    let (graph, prefixes) = (&look.reading.tree.graph, Default::default());
    let internal = internal.map(|registry| registry.parse().unwrap());
    let rules = AliasRules { internal_registry: internal.as_ref(), prefixes: &prefixes };
    let bases = graph.images().iter().flat_map(|image| &image.base_images);
    let wanted: Vec<_> = bases.map(|base| (base.reference.clone(), Platform::local())).collect();
    let names: Vec<_> = wanted.iter().map(|(name, _)| name.clone()).collect();
    let originals = Originals::new(rules, &names).beside(graph.upstreams());
    let pulls = prefetch::plan(&PrefetchInput {
        wanted: &wanted,
        originals: &originals,
        observed: &look.observed,
        mirrors: &Default::default(),
        recipes: &Default::default(),
        reach: Reach::Registries(network),
        bootstrap: Bootstrap::No,
        renew: Renew::No,
        pins: &Default::default(),
        indexes: Indexes::NotKept,
    });
    let aliases = alias::plan(&AliasInput {
        wanted: &names,
        originals: &originals,
        observed: &look.observed,
        network,
        conflicts: OnConflict::Report,
        pulls: &pulls,
    });
    let steps = pulls.steps.iter().chain(&aliases.steps).map(|step| match &step.kind {
        StepKind::Pull { reference, .. } => format!("pull {}", reference.familiar()),
        StepKind::Tag { source, targets } => format!("{} -> {}", source.familiar(), targets[0].familiar()),
        other => panic!("{other:?}"),
    });
    let skipped = pulls.skipped.iter().chain(&aliases.skipped);
    let wrong = skipped.filter(|skip| skip.why.outcome() == Outcome::Failed).map(|skip| skip.why.to_string());
    steps.chain(wrong).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_upstream_image_is_pulled_and_named_beside_the_one_that_has_its_name() {
    let lab = Lab::new(FLUENTD);
    let external = |lab: &Lab| fetched(lab, Network::External, None);
    assert_eq!(external(&lab), "pull fluentd:latest\nfluentd:latest -> localhost/fluentd:latest");
    lab.give("fluentd", "upstream");
    assert_eq!(external(&lab), "fluentd:latest -> localhost/fluentd:latest");
    wait(lab.engine.tag(&reference("fluentd"), &reference("localhost/fluentd"))).unwrap();
    lab.build();
    assert_eq!(external(&lab), "", "two images under two names are no conflict, and no name is moved");
    assert_eq!(
        fetched(&lab, Network::Internal, Some("i.example.com/p")),
        "localhost/fluentd:latest -> i.example.com/p/fluentd:latest"
    );
    wait(lab.engine.remove(&reference("localhost/fluentd"))).unwrap();
    assert_eq!(external(&lab), "pull localhost/fluentd:latest");
    // What is pushed to the internal registry under the upstream's name is this tree's.
    let mut lab = Lab::new(FLUENTD);
    lab.flags.registry = Some(OptionalRegistry(Some("i.example.com/p".parse().unwrap())));
    let told = fetched(&lab, Network::Internal, Some("i.example.com/p"));
    assert!(told.contains("is named i.example.com/p/fluentd:latest as the image that it extends"), "{told}");
}

/// A folder named like the image that it extends, and another image that names it too.
const FLUENTD: &str = "//- src/fluentd/Dockerfile\nFROM fluentd\nCOPY x /\n//- src/fluentd/x\n1\n\
                       //- src/user/Dockerfile\nFROM fluentd:latest\n";

#[test]
fn an_image_that_extends_its_own_name_stands_on_the_upstream_one() {
    let lab = Lab::new(FLUENTD);
    let (name, twin) = (reference("fluentd"), reference("localhost/fluentd"));
    lab.give("fluentd", "upstream");
    wait(lab.engine.tag(&name, &twin)).unwrap();
    let said = lab.look().said();
    assert!(said.contains("stays here as localhost/fluentd:latest") && said.contains("`prefix`"), "{said}");
    let layers = |name: &str| {
        let observed = lab.look().observed;
        wait(lab.engine.layers(&observed.find(&reference(name)).unwrap().id)).unwrap().unwrap()
    };
    let upstream = layers("fluentd");
    lab.build();
    for content in ["2\n", "3\n"] {
        assert_eq!(lab.stale(), "", "the second run finds nothing to do");
        assert_eq!(lab.unverified(&lab.look()), "");
        assert_eq!(layers("localhost/fluentd"), upstream, "the upstream image stays");
        assert_eq!(layers("fluentd")[..upstream.len()], upstream);
        assert_eq!(layers("fluentd").len(), upstream.len() + 1, "never on top of itself");
        assert_eq!(layers("user")[..=upstream.len()], layers("fluentd"), "others get the image of this tree");
        lab.write("src/fluentd/x", content);
        assert_eq!(lab.stale(), "fluentd (source changed: x); user (base changed: fluentd)");
        lab.build();
    }
    let look = lab.look();
    let baked = bake(&BakeInput {
        request: &BuildRequest { selected: look.all(), ..BuildRequest::default() },
        graph: &look.reading.tree.graph,
        contexts: &look.reading.tree.contexts,
        assessments: &look.assessments,
        is_secret: &|_| false,
        pending: &Default::default(),
        observed: &look.observed,
        pins: &Default::default(),
        cache_from: &[],
        cache_to: None,
        aside: "aside",
    });
    let file: serde_json::Value = serde_json::from_str(&baked.text).unwrap();
    let of = |target: &str| file["target"][target]["contexts"]["fluentd"].clone();
    assert_eq!(
        (of("fluentd"), of("user")),
        ("docker-image://localhost/fluentd:latest".into(), "target:fluentd".into())
    );
    lab.give("localhost/fluentd", "a newer upstream");
    assert_eq!(lab.stale(), "fluentd (base image changed: fluentd:latest); user (base changed: fluentd)");
}

#[test]
fn where_the_upstream_image_is_only_under_the_name_that_was_taken_that_image_alone_fails() {
    let lab = Lab::new(FLUENTD);
    lab.give("fluentd", "upstream");
    let hidden = |lab: &Lab| {
        let look = lab.look();
        let plan = look.plan(&BuildRequest { selected: look.all(), ..BuildRequest::default() });
        let is_hidden =
            |why: &Reason| matches!(why, Reason::UpstreamHidden(name) if *name == reference("fluentd"));
        plan.skipped
            .iter()
            .filter(|skip| is_hidden(&skip.why))
            .map(|skip| skip.subject.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(hidden(&lab), ["fluentd"], "a build would lose it");
    wait(lab.engine.tag(&reference("fluentd"), &reference("localhost/fluentd"))).unwrap();
    assert!(hidden(&lab).is_empty());
    lab.build();
    wait(lab.engine.remove(&reference("localhost/fluentd"))).unwrap();
    assert_eq!(hidden(&lab), ["fluentd"], "a build would stand on itself");
    // A copy of what was built is not what it extends.
    wait(lab.engine.tag(&reference("fluentd"), &reference("localhost/fluentd"))).unwrap();
    assert_eq!(hidden(&lab), ["fluentd"]);
}
