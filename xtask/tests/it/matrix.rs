//! `base-images`: the matrix, its names, what services get of it, and what is refused. No engine, no network.

use std::io::Write as _;

use serde_json::Value;

use crate::repo::TestRepo;

/// A tree as the framework's own: two systems, what they share, scripts that nobody reads.
const SYSTEMS: &str = "\
//- docker/base-images/debian/Dockerfile
ARG FIT_VERSION=1.2.3
FROM debian:12-slim
ARG FIT_VERSION=1.2.3
LABEL description=\"FIT Framework Base Image - Debian 12 (Stable)\"
COPY ${FIT_VERSION}.zip /tmp/
COPY --chmod=755 common/entry.sh /usr/local/bin/
//- docker/base-images/debian/build.sh
echo
//- docker/base-images/alpine/Dockerfile
ARG FIT_VERSION=1.2.3
FROM alpine:3.19
ARG FIT_VERSION=1.2.3
LABEL org.opencontainers.image.description=\"Alpine\" description=\"x - no\"
COPY ${FIT_VERSION}.zip /tmp/
COPY --chmod=755 common/entry.sh /usr/local/bin/
//- docker/base-images/common/entry.sh
exec \"$@\"
//- docker/base-images/README.md
x
//- docker/base-images/.dockerignore
*.zip
";

/// The image of that name in a plan.
#[track_caller]
fn image<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let images = plan["images"].as_array().unwrap();
    images.iter().find(|image| image["name"] == name).unwrap_or_else(|| panic!("no {name} in {plan:#}"))
}

fn names(plan: &Value) -> Vec<&str> {
    plan["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect()
}

/// A zip archive of one file, where the artifact cache has it and the lock file knows it.
fn artifact(repo: &TestRepo, version: &str, content: &str) {
    let folder = repo.home().join(".cache/xtask/artifacts");
    let old = repo.home().join("fit-framework-cache");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::create_dir_all(&old).unwrap();
    let mut zip = zip::ZipWriter::new(std::fs::File::create(old.join(format!("{version}.zip"))).unwrap());
    zip.start_file(format!("{version}/bin/fit"), zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(content.as_bytes()).unwrap();
    zip.finish().unwrap();
}

fn with_old_cache(repo: TestRepo) -> TestRepo {
    let home = repo.home().display().to_string();
    repo.with("TMPDIR", &home)
}

#[test]
fn the_list_needs_no_engine() {
    let repo = TestRepo::new(SYSTEMS);
    insta::assert_snapshot!(repo.run("base-images list"), @r#"
    exit 0
    --- stdout
    alpine       - Alpine
                   fit-framework:1.2.3-alpine fit-framework:alpine fit-framework:latest-alpine
                   unknown  (no engine to ask)
    debian       - Debian 12 (Stable)
                   fit-framework:1.2.3-debian fit-framework:debian fit-framework:latest-debian
                   unknown  (no engine to ask)
    2 systems, default version 1.2.3
    "#);
    let listed =
        repo.json("base-images list --format json --os debian --registry localhost:5000/ --version 9.9.9");
    assert_eq!(listed["default_version"], "1.2.3");
    let image = &listed["systems"][0]["images"][0];
    assert_eq!(
        image["tags"].to_string(),
        r#"["localhost:5000/fit-framework:9.9.9-debian","localhost:5000/fit-framework:debian"]"#
    );
    assert_eq!(listed["systems"][0]["description"], "Debian 12 (Stable)");
}

#[test]
fn the_plan_says_what_is_missing() {
    let repo = TestRepo::new(SYSTEMS);
    insta::assert_snapshot!(repo.run("base-images --dry-run --network external"), @r#"
    exit 0
    --- stdout
    2 images, 2 external base images, network external (--network)

    images
      fit-framework-alpine  unknown     (no engine to ask)  context docker/base-images
      fit-framework-debian  unknown     (no engine to ask)  context docker/base-images

    download  1 to do, 0 fine
      download   1.2.3.zip  (not in the cache)

    prefetch  0 to do, 0 fine
      skipped    alpine:3.19  (no engine to ask)
      skipped    debian:12-slim  (no engine to ask)

    alias  0 to do, 0 fine
      skipped    alpine:3.19  (no engine to ask)
      skipped    debian:12-slim  (no engine to ask)

    build  2 to do, 0 fine
      build      fit-framework-alpine  (no engine to ask)
                 after download:1.2.3.zip
      build      fit-framework-debian  (no engine to ask)
                 after download:1.2.3.zip

    verify  2 to do, 0 fine
      verify     fit-framework-alpine  (asked for)
      verify     fit-framework-debian  (asked for)
    "#);
    insta::assert_snapshot!(repo.run("base-images 9.9.9 r.example.com/p/ --os debian --dry-run --offline"), @"
    exit 13
    --- stdout
    1 image, 1 external base image, network internal (--offline, nothing was probed)

    images
      fit-framework-debian  unknown     (no engine to ask)  context docker/base-images

    download  0 to do, 0 fine
      failed     9.9.9.zip  (not in the cache, and --offline forbids to download it: run once without it, or carry the file to $TMPDIR/fit-framework-cache)

    prefetch  0 to do, 0 fine
      skipped    debian:12-slim  (no engine to ask)

    alias  0 to do, 0 fine
      skipped    debian:12-slim  (no engine to ask)

    build  0 to do, 0 fine
      failed     fit-framework-debian  (artifact 9.9.9.zip is not here)
    ");
}

#[test]
fn the_artifact_is_part_of_the_context_and_of_the_key() {
    let repo = with_old_cache(TestRepo::new(&format!(
        "{SYSTEMS}//- src/api/Dockerfile\nFROM fit-framework:debian\n"
    )));
    let plan = |repo: &TestRepo| repo.json("plan --network external --format json");
    let before = plan(&repo);
    assert!(image(&before, "fit-framework-debian")["key"].is_null(), "nobody has seen the artifact");
    assert!(image(&before, "api")["key"].is_null());
    artifact(&repo, "1.2.3", "one");
    let one = plan(&repo);
    let debian = image(&one, "fit-framework-debian");
    assert_eq!(debian["context"], "docker/base-images");
    assert_eq!(debian["inputs"].to_string(), r#"["1.2.3.zip","common/entry.sh"]"#, "no ignore file hides it");
    assert!(debian["key"].is_string() && image(&one, "api")["key"].is_string());
    assert_eq!(image(&one, "api")["needs"].to_string(), r#"["fit-framework-debian"]"#);
    assert!(!repo.root().join("docker/base-images/1.2.3.zip").exists());

    let other = with_old_cache(TestRepo::new(&format!(
        "{SYSTEMS}//- src/api/Dockerfile\nFROM fit-framework:debian\n"
    )));
    artifact(&other, "1.2.3", "two");
    let two = plan(&other);
    for name in ["fit-framework-debian", "api"] {
        assert_ne!(image(&one, name)["key"], image(&two, name)["key"], "{name}");
    }
}

#[test]
fn services_get_the_base_images_that_they_need_and_no_others() {
    for from in [
        "fit-framework:debian",
        "fit-framework:1.2.3-debian",
        "fit-framework:latest-debian",
        "localhost/fit-framework:debian",
        "docker.io/library/fit-framework:debian",
        "r.example.com/p/fit-framework:1.2.3-debian",
    ] {
        let repo = TestRepo::new(&format!(
            "{SYSTEMS}//- src/api/Dockerfile\nFROM {from}\n//- src/web/Dockerfile\nFROM redis:7\n"
        ));
        let plan = repo.json("plan --network external --format json --registry r.example.com/p");
        assert_eq!(names(&plan), ["fit-framework-debian", "api", "web"], "{from}");
        let plan = repo.json("plan --network external --format json --only web");
        assert_eq!(names(&plan), ["web"]);
        assert_eq!(plan["base_images"].to_string(), r#"["docker.io/library/redis:7"]"#);
    }
    let repo = TestRepo::new(&format!("{SYSTEMS}//- src/api/Dockerfile\nFROM fit-framework:9.9.9-debian\n"));
    assert_eq!(
        names(&repo.json("plan --network external --format json")),
        ["api"],
        "another version is external"
    );
}

#[test]
fn a_broken_base_image_is_nobodys_trouble_who_does_not_need_it() {
    let broken = "//- docker/base-images/rocky/Dockerfile\nFROM rocky:9\nCOPY nope /\n//- src/web/Dockerfile\nFROM scratch\n";
    let repo = TestRepo::new(&format!("{SYSTEMS}{broken}"));
    assert_eq!(repo.code("plan --network external"), 0);
    assert_eq!(repo.code("base-images list"), 11);
    assert_eq!(repo.code("base-images list --os debian"), 0);
}

#[test]
fn a_third_system_is_one_folder() {
    let third = "//- docker/base-images/rocky/Dockerfile\nFROM rocky:9\nARG FIT_VERSION\nCOPY ${FIT_VERSION}.zip /tmp/\n\
                 COPY --chmod=755 common/entry.sh /usr/local/bin/\n";
    let repo = TestRepo::new(&format!("{SYSTEMS}{third}//- src/api/Dockerfile\nFROM fit-framework:rocky\n"));
    let listed = repo.json("base-images list --format json");
    let systems: Vec<&str> =
        listed["systems"].as_array().unwrap().iter().map(|system| system["os"].as_str().unwrap()).collect();
    assert_eq!(systems, ["alpine", "debian", "rocky"]);
    assert_eq!(names(&repo.json("plan --network external --format json")), ["fit-framework-rocky", "api"]);
}

#[test]
fn a_system_may_have_all_it_copies_in_its_own_folder() {
    let own = "//- docker/base-images/own/Dockerfile\nFROM a:1\nCOPY files /\n//- docker/base-images/own/files/x\n1\n\
               //- .config/xtask.toml\n[base_image]\nversion = '1.2.3'\nname = 'team/base'\n\
               //- src/s/Dockerfile\nFROM team/base:own\n";
    let plan = TestRepo::new(own).json("plan --network external --format json");
    let image = image(&plan, "team-base-own");
    assert_eq!(
        (&image["context"], &image["reference"]),
        (&"docker/base-images/own".into(), &"team/base:1.2.3-own".into())
    );
    let downloads =
        plan["steps"].as_array().unwrap().iter().filter(|step| step["phase"] == "download").count();
    assert_eq!(downloads, 0, "nothing reads the artifact");
}

#[test]
fn old_variables_and_docker_flags_work() {
    let repo = TestRepo::new(SYSTEMS)
        .with("ONLY_OS", "debian")
        .with("FIT_VERSION", "9.9.9")
        .with("PUSH_IMAGE", "true")
        .with("BUILD_ARGS", "--no-cache --label team=base --build-arg UNUSED=1");
    let told = repo.run("base-images --dry-run --network external");
    for part in ["fit-framework-debian", "9.9.9.zip", "push ", "(--force)"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("alpine"), "{told}");
    let repo = TestRepo::new(SYSTEMS).with("BUILD_ARGS", "--squash");
    assert_eq!(
        repo.code("plan --network external"),
        5,
        "only `base-images` reads BUILD_ARGS, and there is no service"
    );
    insta::assert_snapshot!(repo.run("base-images --dry-run"), @r#"
    exit 10
    --- stderr
    error: BUILD_ARGS cannot be taken
      caused by: `--squash` is not taken here; there are --no-cache, --pull, --build-arg, --label, --network, --target
    hint: BUILD_ARGS holds flags of `docker build`; everything else has an option of its own: `cargo xtask base-images --help`
    "#);
}

#[test]
fn what_is_refused() {
    let repo = TestRepo::new(SYSTEMS);
    insta::assert_snapshot!(repo.run("base-images --os debain"), @r#"
    exit 2
    --- stderr
    error: there is no system `debain`, did you mean `debian`?
    hint: the systems are alpine, debian
    "#);
    insta::assert_snapshot!(repo.run("base-images lst"), @r#"
    exit 2
    --- stderr
    error: invalid value 'lst' for '[VERSION]': `lst` is no command, did you mean `list`?

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(repo.run("base-images --version latest"), @r#"
    exit 2
    --- stderr
    error: invalid value 'latest' for '--version <VERSION>': `latest` is not a version: it begins with a digit and goes on with letters, digits, `.`, `_` and `-`, as `1.2.3`

    For more information, try '--help'.
    "#);
    assert_eq!(repo.code("base-images --skip-os debian,alpine"), 5);
    assert_eq!(TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n").code("base-images"), 5);
    let two = SYSTEMS.replacen("ARG FIT_VERSION=1.2.3", "ARG FIT_VERSION=9.9.9", 1);
    insta::assert_snapshot!(TestRepo::new(&two).run("base-images list"), @r#"
    exit 11
    --- stdout
    alpine       - Alpine
                   fit-framework:alpine
                   invalid  (docker/base-images/debian/Dockerfile:1: the default version is 9.9.9 here and 1.2.3 at docker/base-images/alpine/Dockerfile:1; say which by `version` below [base_image] in .config/xtask.toml)
    debian       - Debian 12 (Stable)
                   fit-framework:debian
                   invalid  (docker/base-images/debian/Dockerfile:1: the default version is 9.9.9 here and 1.2.3 at docker/base-images/alpine/Dockerfile:1; say which by `version` below [base_image] in .config/xtask.toml)
    2 systems, default version none
    --- stderr
    error: docker/base-images/debian/Dockerfile:1: the default version is 9.9.9 here and 1.2.3 at docker/base-images/alpine/Dockerfile:1; say which by `version` below [base_image] in .config/xtask.toml
    "#);
    let none = SYSTEMS.replace("ARG FIT_VERSION=1.2.3", "ARG FIT_VERSION");
    assert_eq!(TestRepo::new(&none).code("base-images list"), 11);
    assert_eq!(TestRepo::new(&none).code("base-images list --version 1.2.3"), 0);
}
