//! `plan`, `status`, `inspect`, `history`: texts, JSON shapes, roots.

use crate::repo::TestRepo;

const TREE: &str = "\
//- src/base/Dockerfile
FROM debian:12-slim
COPY a.txt /
//- src/base/a.txt
a
//- src/api/Dockerfile
ARG TAG=latest
FROM base:${TAG}
COPY --from=redis:7-alpine /x /x
//- src/cache/dependency.conf
# the cache
redis:7-alpine
//- .env.example
LEVEL=info
";

#[test]
fn plan_as_text_json_and_dot() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(
        repo.run("plan v1 --build-arg TAG=v1 --network external --registry harbor.example.com:8443/team/")
    );
    insta::assert_snapshot!("plan_json", repo.run("plan --network external --format json"));
    insta::assert_snapshot!(repo.run("plan --network external --format dot --only base"), @"");
}

#[test]
fn status_as_text_and_json() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(repo.run("status --offline"), @"");
    let status = repo.json("status v2 --offline --format json");
    let keys =
        |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&status), ["version", "images", "aliases", "diagnostics"]);
    assert_eq!(
        keys(&status["images"][0]),
        [
            "name",
            "service",
            "reference",
            "dockerfile",
            "context",
            "target",
            "platform",
            "needs",
            "base_images",
            "inputs",
            "key",
            "state",
            "reason"
        ]
    );
    let references: Vec<&str> = status["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["reference"].as_str().unwrap())
        .collect();
    assert_eq!(references, ["api:v2", "base:v2", "cache:v2"]);
    insta::assert_snapshot!(repo.run("status --explain api --offline"), @"");
}

#[test]
fn registries_in_names() {
    let repo = TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n");
    for (registry, reference) in [
        ("harbor.example.com/team", "harbor.example.com/team/a:latest"),
        ("harbor.example.com/team/", "harbor.example.com/team/a:latest"),
        ("localhost:5000", "localhost:5000/a:latest"),
        ("harbor.example.com:8443/a/b/", "harbor.example.com:8443/a/b/a:latest"),
        ("", "a:latest"),
    ] {
        let plan = repo.json(&format!("plan --offline --format json --registry '{registry}'"));
        assert_eq!(plan["images"][0]["reference"], reference, "{registry}");
    }
}

#[test]
fn names_of_the_environment() {
    let tree = "//- src/a/Dockerfile\nFROM redis:7\n";
    let plan = |name: &str, value: &str| {
        TestRepo::new(tree).with(name, value).json("plan --format json --network internal")
    };
    assert_eq!(plan("IMAGE_TAG", "v7")["images"][0]["reference"], "a:v7");
    assert_eq!(plan("XTASK_TAG", "v8")["images"][0]["reference"], "a:v8");
    let network = TestRepo::new(tree).with("AI_INFRA_NETWORK_ENV", "internal").json("plan --format json");
    assert_eq!(network["network"], "internal");
    let phases = |value: serde_json::Value| -> Vec<String> {
        let all = value["steps"].as_array().unwrap().iter().chain(value["skipped"].as_array().unwrap());
        all.map(|step| step["phase"].as_str().unwrap().to_owned()).collect()
    };
    let has_pulls = |value| phases(value).iter().any(|phase| phase == "prefetch");
    assert!(has_pulls(plan("SKIP_PREFETCH", "0")));
    assert!(!has_pulls(plan("SKIP_PREFETCH", "1")));
    for (name, why) in [("FORCE_REBUILD", "--force"), ("SKIP_CACHE_CHECK", "--force")] {
        let plan = plan(name, "true");
        let build = plan["steps"].as_array().unwrap().iter().find(|s| s["phase"] == "build").unwrap();
        assert!(build["why"].as_str().unwrap().contains(why), "{name}: {build}");
    }
    assert_eq!(TestRepo::new(tree).with("PARALLEL_JOBS", "0").code("plan --offline"), 10);
}

#[test]
fn the_root_is_found_from_below_and_config_lies_where_one_stands() {
    let repo = TestRepo::new(
        "//- .config/xtask.toml\nprefix = \"p-\"\n//- src/a/Dockerfile\nFROM scratch\n//- src/a/my.toml\nprefix = \"mine-\"\n",
    );
    let below = repo.root().join("src/a");
    let plan = |words: &str| {
        let output = repo.command_in(&below, words).env_remove("XTASK_ROOT").output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["images"][0]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(plan("plan --offline --format json"), "p-a");
    assert_eq!(plan("plan --offline --format json --config my.toml"), "mine-a");
    assert_eq!(plan("plan --offline --format json --root ../.."), "p-a");
}

#[test]
fn inspect_tells_one_object_a_line() {
    let repo = TestRepo::new(
        "//- A\nARG V=1\nFROM redis:${V} AS base\nFROM base\nCOPY --from=busybox /x /\nCOPY a b* /\n//- B\nFROM base\nRUNN\n",
    );
    insta::assert_snapshot!(repo.run("inspect A --build-arg V=7"), @"");
    insta::assert_snapshot!(repo.run("inspect A B nope --target base --platform linux/arm64 --format json"), @"");
}

#[test]
fn nothing_to_see() {
    let repo = TestRepo::new("");
    insta::assert_snapshot!(repo.run("plan --offline"), @"");
    insta::assert_snapshot!(repo.run("status --offline"), @"");
    insta::assert_snapshot!(repo.run("history"), @"");
    insta::assert_snapshot!(repo.run("history --format json"), @"");
    insta::assert_snapshot!(repo.run("engine status"), @"");
}
