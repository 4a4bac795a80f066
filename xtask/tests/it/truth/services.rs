//! What a tree's folders come to: names, contexts, targets, needs, phases.

use xtask::model::{BuildGroup, Image, ImageSource, Reason, Reference, StepKind};
use xtask::plan::build::BuildRequest;
use xtask::plan::push;
use xtask::settings::OptionalRegistry;

use super::lab::{Lab, Look};

/// One image a line: `name = reference [also …] from Dockerfile in context [target] [args] [needs …] [bases …]`.
fn show(look: &Look) -> String {
    let images = look.reading.tree.graph.images().iter().map(show_image);
    images.collect::<Vec<_>>().join("\n")
}

fn show_image(image: &Image) -> String {
    let mut text = format!("{} = {}", image.name, image.reference.familiar());
    for name in image.further_names() {
        text.push_str(&format!(" also {}", name.familiar()));
    }
    match &image.source {
        ImageSource::External(source) => text.push_str(&format!(" pulled {}", source.familiar())),
        ImageSource::Build(target) => {
            text.push_str(&format!(" from {} in {}", target.dockerfile, target.context));
            text.extend(target.target.iter().map(|stage| format!(" target {stage}")));
            text.extend(target.build_args.iter().map(|(name, value)| format!(" {name}={value}")));
        }
    }
    match image.group {
        Some(BuildGroup::Foundation) => text.push_str(" foundation"),
        Some(BuildGroup::Dependent) => text.push_str(" dependent"),
        None => {}
    }
    text.extend(image.needs.iter().map(|need| format!(" needs {need}")));
    text.extend(image.base_images.iter().map(|base| format!(" on {}", base.reference.familiar())));
    text.extend(image.companions.iter().map(|companion| format!(" beside {}", companion.familiar())));
    text
}

#[track_caller]
fn check(fixture: &str, expect: &str) {
    let look = Lab::new(fixture).look();
    assert_eq!(show(&look), expect);
    assert_eq!(look.said(), "");
}

/// The findings of a tree that has some.
#[track_caller]
fn says(fixture: &str, expect: &str) {
    assert_eq!(Lab::new(fixture).look().said(), expect);
}

#[test]
fn a_folder_with_a_dockerfile_is_an_image() {
    check(
        "//- src/api/Dockerfile\nFROM debian:12\n",
        "api = api:latest from src/api/Dockerfile in src/api on debian:12",
    );
    check("//- src/README\n//- src/empty/x\n", "");
}

#[test]
fn targets_are_images_of_one_folder() {
    check(
        "//- src/app/build-targets.conf\n# stage image\nserver app-server\nworker app-worker\n\
         //- src/app/Dockerfile\nFROM debian:12 AS server\nCOPY s /\nFROM alpine:3 AS worker\n//- src/app/s\n",
        "app-server = app-server:latest from src/app/Dockerfile in src/app target server on debian:12\n\
         app-worker = app-worker:latest from src/app/Dockerfile in src/app target worker on alpine:3",
    );
    says(
        "//- src/app/build-targets.conf\nsrever app\n//- src/app/Dockerfile\nFROM debian:12 AS server\n",
        "error: src/app/Dockerfile: there is no stage `srever` to build; did you mean `server`? (stages: server), \
         asked for at src/app/build-targets.conf:1",
    );
}

#[test]
fn a_target_counts_only_what_it_reaches() {
    let lab = Lab::built(
        "//- src/app/build-targets.conf\nserver app-server\nworker app-worker\n\
         //- src/app/Dockerfile\nFROM debian:12 AS server\nCOPY s /\nFROM alpine:3 AS worker\nCOPY w /\n\
         //- src/app/s\n//- src/app/w\n",
    );
    lab.write("src/app/w", "2");
    assert_eq!(lab.stale(), "app-worker (source changed: w)");
    lab.write("src/app/build-targets.conf", "worker app-server\nworker app-worker\n");
    assert_eq!(lab.stale(), "app-server (source removed: s, and 5 more); app-worker (source changed: w)");
}

#[test]
fn service_toml_says_what_the_folder_cannot() {
    check(
        "//- src/api/service.toml\nimage = \"server\"\ntarget = \"final\"\ncontext = \"root\"\nneeds = [\"tools\"]\n\
         inputs = [\"VERSION\"]\n[args]\nLEVEL = 3\nUNUSED = \"x\"\n\
         //- src/api/Dockerfile\nFROM debian:12 AS final\nARG LEVEL\nFROM alpine:3 AS other\n\
         //- src/tools/Dockerfile\nFROM debian:12\n//- VERSION\n1\n",
        "tools = tools:latest from src/tools/Dockerfile in src/tools on debian:12\n\
         server = server:latest from src/api/Dockerfile in . target final LEVEL=3 needs tools on debian:12",
    );
    check(
        "//- src/api/service.toml\ncontext = \"../shared\"\n//- src/api/Dockerfile\nFROM debian:12\nCOPY x /\n//- src/shared/x\n",
        "api = api:latest from src/api/Dockerfile in src/shared on debian:12",
    );
    says(
        "//- src/api/service.toml\nneeds = [\"tolos\"]\n//- src/api/Dockerfile\nFROM debian:12\n//- src/tools/Dockerfile\nFROM debian:12\n",
        "error: src/api/service.toml: needs `tolos`, which is no service or image of this tree, did you mean `tools`?",
    );
}

#[test]
fn inputs_of_service_toml_count() {
    let lab = Lab::built(
        "//- src/api/service.toml\ninputs = [\"VERSION\"]\n//- src/api/Dockerfile\nFROM debian:12\n//- src/api/VERSION\n1\n",
    );
    lab.write("src/api/VERSION", "2");
    assert_eq!(lab.stale(), "api (source changed: VERSION)");
}

#[test]
fn needs_rebuild_and_order() {
    let lab = Lab::built(
        "//- src/a/service.toml\nneeds = [\"z\"]\n//- src/a/Dockerfile\nFROM debian:12\n//- src/z/Dockerfile\nFROM alpine:3\n",
    );
    lab.give("alpine:3", "another");
    assert_eq!(lab.stale(), "z (base image changed: alpine:3); a (base changed: z)");
}

#[test]
fn a_need_that_is_none_breaks_the_service_and_no_other() {
    let lab = Lab::new(
        "//- src/a/service.toml\nneeds = [\"nobody\"]\n//- src/a/Dockerfile\nFROM debian:12\n\
         //- src/b/Dockerfile\nFROM a\n//- src/c/Dockerfile\nFROM debian:12\n",
    );
    assert_eq!(
        lab.stale(),
        "c (not built yet); a (cannot be planned, see the diagnostics); b (needs a, which cannot be built)"
    );
}

#[test]
fn a_dependency_is_pulled_or_stands_beside_a_dockerfile() {
    check("//- src/cache/dependency.conf\n# the cache\nredis:7\n", "cache = cache:latest pulled redis:7");
    check(
        "//- src/cache/dependency.conf\nredis:7\n//- src/cache/Dockerfile\nFROM debian:12\n",
        "cache = cache:latest from src/cache/Dockerfile in src/cache on debian:12 beside redis:7",
    );
    check(
        "//- .env\nV=7\n//- src/cache/dependency.conf.tpl\nredis:{{V}}\n",
        "cache = cache:latest pulled redis:7",
    );
    // A dependent of a pulled image follows the image that was pulled.
    let lab = Lab::built("//- src/cache/dependency.conf\nredis:7\n//- src/app/Dockerfile\nFROM cache\n");
    lab.give("redis:7", "another");
    assert_eq!(lab.stale(), "cache (base image changed: redis:7); app (base changed: cache)");
}

#[test]
fn a_prefix_is_put_before_what_does_not_have_it() {
    check(
        "//- .config/xtask.toml\nprefix = \"ai-\"\ntag = \"v1\"\n//- src/api/Dockerfile\nFROM debian:12\n\
         //- src/ai-web/Dockerfile\nFROM ai-api:v1\n",
        "ai-api = ai-api:v1 from src/api/Dockerfile in src/api on debian:12\n\
         ai-web = ai-web:v1 from src/ai-web/Dockerfile in src/ai-web needs ai-api",
    );
}

#[test]
fn a_registry_names_the_image_and_the_plain_name_stays() {
    for registry in ["harbor.example.com:8443/ai/", "harbor.example.com:8443/ai"] {
        let mut lab = Lab::new(
            "//- src/base/Dockerfile\nFROM debian:12\n//- src/a/Dockerfile\nFROM base\n\
             //- src/b/Dockerfile\nFROM harbor.example.com:8443/ai/base\n//- src/cache/dependency.conf\nredis:7\n",
        );
        lab.flags.registry = Some(OptionalRegistry(Some(registry.parse().unwrap())));
        assert_eq!(
            show(&lab.look()),
            "base = harbor.example.com:8443/ai/base:latest also base:latest from src/base/Dockerfile in src/base on debian:12\n\
             a = harbor.example.com:8443/ai/a:latest also a:latest from src/a/Dockerfile in src/a needs base\n\
             b = harbor.example.com:8443/ai/b:latest also b:latest from src/b/Dockerfile in src/b needs base\n\
             cache = harbor.example.com:8443/ai/cache:latest also cache:latest pulled redis:7"
        );
        lab.build();
        assert_eq!(lab.stale(), "");
        lab.give("base:latest", "somebody took the plain name");
        assert_eq!(lab.stale(), "base (lacks the name base:latest)");
        lab.build();
        assert_eq!(lab.stale(), "");
    }
}

#[test]
fn what_exists_under_its_plain_name_gets_further_names_and_nothing_is_built() {
    let mut lab = Lab::built(
        "//- src/base/Dockerfile\nFROM debian:12\n//- src/web/Dockerfile\nFROM base\nCOPY a /\n//- src/web/a\n1\n",
    );
    let builds = lab.engine.builds().len();
    for registry in ["r.example.com/one", "other.example.com:5000/two"] {
        lab.flags.registry = Some(OptionalRegistry(Some(registry.parse().unwrap())));
        let lacks = ["base", "web"].map(|name| format!("{name} (lacks the name {registry}/{name}:latest)"));
        assert_eq!(lab.stale(), lacks.join("; "));
        // A push alone takes the image that a build would take.
        let look = lab.look();
        let available = push::Available { observed: &look.observed, assessments: &look.assessments };
        let pushed = push::plan(&look.all(), &look.reading.tree.graph, Some(available), &|_| None);
        let from = pushed.steps.iter().map(|step| match &step.kind {
            StepKind::Push { from, .. } => from.as_ref().map(Reference::familiar),
            other => panic!("{other:?}"),
        });
        assert_eq!(from.collect::<Vec<_>>(), [Some("base:latest".to_owned()), Some("web:latest".to_owned())]);
        lab.build();
        assert_eq!(lab.stale(), "");
        assert_eq!(lab.engine.builds().len(), builds, "{registry}");
    }
    // What was built without the registry since is what it gets.
    let registry = lab.flags.registry.take();
    lab.write("src/web/a", "2\n");
    lab.build();
    lab.flags.registry = registry;
    assert_eq!(lab.stale(), "web (lacks the name other.example.com:5000/two/web:latest)");
    let look = lab.look();
    let available = push::Available { observed: &look.observed, assessments: &look.assessments };
    let pushed = push::plan(&look.all(), &look.reading.tree.graph, Some(available), &|_| None);
    let told: Vec<String> =
        pushed.steps.iter().map(|step| format!("{} ({})", step.subject, step.why)).collect();
    assert_eq!(
        told,
        [
            "other.example.com:5000/two/base:latest (asked for)",
            "other.example.com:5000/two/web:latest (lacks the name other.example.com:5000/two/web:latest)",
        ]
    );
}

#[test]
fn foundations_come_before_dependents() {
    let lab = Lab::new(
        "//- src/a/build.conf\nBUILD_PHASE=dependent\n//- src/a/Dockerfile\nFROM debian:12\n\
         //- src/z/build.conf\nBUILD_PHASE=foundation\n//- src/z/Dockerfile\nFROM debian:12\n\
         //- src/m/Dockerfile\nFROM debian:12\n",
    );
    let look = lab.look();
    let plan = look.plan(&BuildRequest { selected: look.all(), ..BuildRequest::default() });
    let step = |name: &str| plan.steps.iter().find(|step| step.subject == name).unwrap();
    assert_eq!(step("a").after, [step("z").id.clone()]);
    assert!(step("z").after.is_empty() && step("m").after.is_empty());
    // One that fails does not keep the dependents from being built.
    assert!(step("a").needs.is_empty());
}

#[test]
fn of_images_with_one_name_none_is_built() {
    let own = "//- src/a/Dockerfile\nFROM debian:12\n//- src/b/Dockerfile\nFROM debian:12\n";
    let folders = "//- .config/xtask.toml\nservices = ['one/*', 'two/*']\n//- one/App/Dockerfile\nFROM debian:12\n\
                   //- two/App/Dockerfile\nFROM debian:12\n//- one/App/service.toml\nimage = 'app'\n\
                   //- two/App/service.toml\nimage = 'app'\n//- two/other/Dockerfile\nFROM app\n";
    for (fixture, stale, said) in [
        (
            format!("{own}//- src/b/service.toml\nimage = 'a'\n"),
            "a (cannot be planned, see the diagnostics)",
            "error: src/b: src/a and src/b make one image, a, so none of them is built: set `image = \"src-b\"` in \
             src/b/service.toml",
        ),
        (
            folders.to_owned(),
            "app (cannot be planned, see the diagnostics); other (needs app, which cannot be built)",
            "error: two/App: one/App and two/App make one image, app, so none of them is built: set \
             `image = \"two-app\"` in two/App/service.toml",
        ),
        (
            format!(
                "{own}//- src/b/service.toml\nimage = 'a'\n//- src/c/Dockerfile\nFROM debian:12\n//- src/c/service.toml\nimage = 'a'\n"
            ),
            "a (cannot be planned, see the diagnostics)",
            "error: src/c: src/a and src/b and src/c make one image, a, so none of them is built: set \
             `image = \"src-b\"` in src/b/service.toml and `image = \"src-c\"` in src/c/service.toml",
        ),
    ] {
        let look = Lab::new(&fixture).look();
        assert_eq!((look.stale().as_str(), look.said().as_str()), (stale, said));
    }
    let cured =
        folders.replacen("two/App/service.toml\nimage = 'app'", "two/App/service.toml\nimage = 'two-app'", 1);
    says(&cured, "");
}

#[test]
fn capitals_of_a_folder_are_lowered_and_what_no_name_can_have_is_said() {
    says(
        "//- src/NodeBase/Dockerfile\nFROM debian:12\n//- src/app/Dockerfile\nFROM nodebase\n",
        "warning: src/NodeBase: image names have no capitals, so its image is named nodebase; `image` in \
         src/NodeBase/service.toml names another one",
    );
    says("//- src/NodeBase/Dockerfile\nFROM debian:12\n//- src/NodeBase/service.toml\nimage = 'node'\n", "");
}

#[test]
fn keys_of_build_conf_that_mean_nothing_are_told_once() {
    says(
        "//- src/a/build.conf\nBUILD_PHASE=foundation\nONE=1\nTWO=2\n//- src/a/Dockerfile\nFROM debian:12\n\
         //- src/b/build.conf\nONE=1\n//- src/b/Dockerfile\nFROM debian:12\n\
         //- src/c/build.conf\nBUILD_PHSE=foundation\n//- src/c/Dockerfile\nFROM debian:12\n",
        "warning: src/a/build.conf:2: unknown keys `ONE`, `TWO`, here and in another file: only `BUILD_PHASE` means \
         something in a build.conf\n\
         warning: src/c/build.conf:1:1: unknown key `BUILD_PHSE`, did you mean `BUILD_PHASE`?",
    );
}

#[test]
fn a_folder_between_is_the_context_where_it_is_the_only_one_that_has_all_sources() {
    let own = "//- .config/xtask.toml\nservices = ['apps/*/*/*']\n//- apps/a/b/api/Dockerfile\nFROM debian:12\nCOPY x lib/y /\n";
    for (files, context, said) in [
        ("//- apps/a/x\n//- apps/a/lib/y\n", "apps/a", ""),
        ("//- apps/a/x\n//- apps/a/lib/y\n//- apps/a/b/api/x\n//- lib/y\n", "apps/a", ""),
        ("//- apps/a/x\n//- apps/a/lib/y\n//- x\n//- lib/y\n", ".", ""),
        (
            "//- apps/a/x\n//- apps/a/lib/y\n//- apps/x\n//- apps/lib/y\n",
            "apps/a/b/api",
            "; apps/a has all of them: set `context = \"../..\"` in apps/a/b/api/service.toml",
        ),
        (
            "//- apps/a/x\n//- apps/a/lib/y\n//- apps/a/b/api/service.toml\ncontext = 'root'\n",
            ".",
            "; apps/a has all of them: set `context = \"../..\"` in apps/a/b/api/service.toml",
        ),
        (
            "//- x\n//- lib/y\n//- apps/a/b/api/service.toml\ncontext = '..'\n",
            "apps/a/b",
            "; the root has all of them: set `context = \"root\"` in apps/a/b/api/service.toml",
        ),
        ("//- apps/a/x\n//- lib/y\n", ".", "matches nothing in the context the root"),
    ] {
        let look = Lab::new(&format!("{own}{files}")).look();
        let told = look.said();
        assert!(show(&look).contains(&format!(" in {context} ")), "{files}: {}", show(&look));
        assert!(
            told.is_empty() == said.is_empty() && told.lines().all(|line| line.ends_with(said)),
            "{files}: {told}"
        );
    }
}

#[test]
fn the_context_is_where_more_of_the_sources_are() {
    let own = "//- src/api/Dockerfile\nFROM debian:12\nCOPY a /\nCOPY b/*.c /\n";
    for (files, context) in [
        ("//- src/api/a\n//- src/api/b/x.c\n", "src/api"),
        ("//- a\n//- b/x.c\n", "."),
        ("//- a\n//- b/x.c\n//- src/api/a\n//- src/api/b/x.c\n", "src/api"),
        ("//- a\n//- b/x.c\n//- src/api/a\n", "."),
        ("//- a\n//- src/api/a\n", "src/api"),
        ("//- a\n//- src/api/a -> nowhere\n//- src/api/b/x.c\n//- b/y.h\n", "src/api"),
    ] {
        let look = Lab::new(&format!("{own}{files}")).look();
        let text = show(&look);
        assert!(text.contains(&format!(" in {context} ")), "{files}: {text}");
    }
}

#[test]
fn what_is_forced_is_rebuilt_and_says_so() {
    let lab = Lab::built("//- src/api/Dockerfile\nFROM debian:12\n//- src/cache/dependency.conf\nredis:7\n");
    let look = lab.look();
    let request = BuildRequest { selected: look.all(), ..BuildRequest::default() };
    let forced = look.plan(&BuildRequest { force: true, ..request.clone() });
    let no_cache: Vec<bool> = forced
        .steps
        .iter()
        .filter_map(|step| match &step.kind {
            StepKind::Build(spec) => Some(spec.no_cache),
            _ => None,
        })
        .collect();
    assert_eq!(no_cache, [true]);
    assert!(forced.steps.iter().all(|step| step.why == Reason::Forced));
    let unchecked = look.plan(&BuildRequest { skip_cache_check: true, ..request });
    assert_eq!(unchecked.steps.len(), 1, "a pulled image has no fingerprint to skip");
}
