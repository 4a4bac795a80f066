//! Images for several platforms: what is planned of them, without an engine.

use serde_json::Value;

use crate::repo::TestRepo;

const TREE: &str = "\
//- src/base/Dockerfile
FROM debian:12-slim
COPY a.txt /
//- src/base/a.txt
a
//- src/api/Dockerfile
FROM --platform=$BUILDPLATFORM base AS tools
FROM base
COPY --from=tools /a.txt /x
//- src/native/Dockerfile
FROM debian:12-slim
//- src/native/service.toml
platforms = ['linux/amd64']
";

const BOTH: &str = "--platform linux/amd64,linux/arm64 --network external --format json";

fn image<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let mut images = plan["images"].as_array().expect("images").iter();
    images.find(|image| image["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

#[test]
fn an_image_is_one_and_each_of_its_platforms_is_built_by_itself() {
    let repo = TestRepo::new(TREE);
    let plan = repo.json(&format!("plan v1 {BOTH}"));
    let names: Vec<&str> =
        plan["images"].as_array().unwrap().iter().filter_map(|i| i["name"].as_str()).collect();
    assert_eq!(names, ["base", "api", "native"]);
    let base = image(&plan, "base");
    assert_eq!(base["reference"], "base:v1");
    assert_eq!(texts(&base["platforms"]), ["linux/amd64", "linux/arm64"]);
    // What is left out for one platform is no image of several.
    assert_eq!(texts(&image(&plan, "native")["platforms"]), ["linux/amd64"]);
    assert_eq!(texts(&image(&plan, "api")["needs"]), ["base"]);
}

#[test]
fn the_key_of_a_platform_is_the_same_alone_and_among_others() {
    // Base images are known by name alone here.
    let repo = TestRepo::new(
        "//- src/a/Dockerfile\nFROM scratch\nARG TARGETARCH\nCOPY f /\n//- src/a/f\n1\n//- src/b/Dockerfile\nFROM a\n",
    );
    let both = repo.json(&format!("plan {BOTH}"));
    for name in ["a", "b"] {
        let variants = image(&both, name)["variants"].as_array().unwrap().clone();
        let keys: Vec<&str> = variants.iter().filter_map(|variant| variant["key"].as_str()).collect();
        assert!(keys.len() == 2 && keys[0] != keys[1], "{name}: {keys:?}");
        let whole = image(&both, name)["key"].as_str().unwrap();
        assert!(!keys.contains(&whole), "the image's own is over both");
        for variant in variants {
            let platform = variant["platform"].as_str().unwrap();
            let alone = repo.json(&format!("plan --platform {platform} --network external --format json"));
            assert_eq!(image(&alone, name)["key"], variant["key"], "{name} {platform}");
        }
        let turned = repo.json("plan --platform linux/arm64,linux/amd64 --network external --format json");
        assert_eq!(image(&turned, name)["key"], image(&both, name)["key"], "in any order");
    }
}

#[test]
fn platforms_come_from_service_toml_settings_and_environment() {
    let repo = TestRepo::new(
        "//- src/a/Dockerfile\nFROM scratch\n//- src/a/service.toml\nplatforms = ['linux/arm64', 'linux/amd64']\n\
         //- src/b/Dockerfile\nFROM scratch\n//- .config/xtask.toml\n",
    );
    let platforms = |repo: &TestRepo, words: &str, name: &str| {
        let plan = repo.json(&format!("plan --network external --format json {words}"));
        texts(&image(&plan, name)["platforms"]).join(",")
    };
    assert_eq!(platforms(&repo, "", "a"), "linux/amd64,linux/arm64");
    assert!(!platforms(&repo, "", "b").contains(','));
    assert_eq!(platforms(&repo, "--platform linux/amd64", "a"), "linux/amd64");
    for setting in
        ["platform = 'linux/amd64,linux/riscv64'\n", "platform = ['linux/amd64', 'linux/riscv64']\n"]
    {
        repo.write(".config/xtask.toml", setting);
        assert_eq!(
            platforms(&repo, "", "a"),
            "linux/amd64",
            "of those that are asked for, those that it has"
        );
        assert_eq!(platforms(&repo, "", "b"), "linux/amd64,linux/riscv64");
    }
}

#[test]
fn what_is_not_made_for_a_platform_says_so_where_it_is_named() {
    let repo = TestRepo::new(
        "//- src/low/Dockerfile\nFROM scratch\n//- src/low/service.toml\nplatforms = ['linux/amd64', 'linux/386']\n\
         //- src/high/Dockerfile\n# on top\nFROM low\n",
    );
    let told = repo.run("plan --platform linux/amd64,linux/386,linux/arm64 --network external");
    assert!(
        told.contains("src/high/Dockerfile:2") && told.contains("is low, which is not made for linux/arm64"),
        "{told}"
    );
    let told = repo.run("plan --platform linux/s390x --only low --network external");
    assert!(told.contains("is not made for linux/s390x; its platforms are linux/amd64, linux/386"), "{told}");
}

#[test]
fn base_images_of_several_platforms_have_one_name_too() {
    let repo = TestRepo::new(
        "//- docker/base-images/debian/Dockerfile\nFROM debian:12-slim\nARG FIT_VERSION\n//- .config/xtask.toml\n[base_image]\nversion = '1.2.3'\n",
    );
    let told = repo.run("base-images list --platform linux/amd64,linux/arm64 --offline --format json");
    assert!(
        told.contains("fit-framework:1.2.3-debian") && told.contains("fit-framework:latest-debian"),
        "{told}"
    );
}

#[test]
fn a_stage_that_is_a_test_gets_no_name_of_its_own() {
    let repo = TestRepo::new(
        "//- src/a/Dockerfile\nFROM scratch AS t\nCOPY f /\nFROM scratch\n//- src/a/f\n1\n//- src/a/service.toml\ntest = 't'\n",
    );
    let on = "--platform linux/amd64,linux/arm64 --network external --dry-run";
    let told = repo.run(&format!("test {on}"));
    assert!(told.contains("a.t@linux/arm64") && !told.contains("index      a.t"), "{told}");
    let told = repo.run(&format!("build --target t {on}"));
    assert!(told.contains("a.t@linux/arm64") && told.contains("index      a.t"), "{told}");
}
