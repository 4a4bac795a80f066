//! A builder that is no engine, where there is none: what is refused, and what is told.

use crate::repo::TestRepo;

const TREE: &str = "//- src/api/Dockerfile\nFROM scratch\nCOPY app /\n//- src/api/app\n1\n";

#[test]
fn what_is_built_elsewhere_has_to_go_somewhere() {
    let repo = TestRepo::new(TREE);
    // Into an engine, where there is one.
    let told = repo.run("build-all --builder unix:///no.sock");
    assert!(told.starts_with("exit 12") && told.contains("no container engine answers"), "{told}");
    assert!(told.contains("hint: `--push --registry REGISTRY` needs no engine"), "{told}");
    insta::assert_snapshot!(repo.run("plan --builder unix:///no.sock --offline --registry r.example/x"), @"
    exit 2
    --- stderr
    error: a builder elsewhere has its images in r.example/x, and --offline asks nobody
    hint: without --push and --registry they are loaded into the engine
    hint: `--builder default` builds on the engine
    ");
    assert_eq!(
        repo.code("plan --offline --builder default"),
        0,
        "the engine's own, of which nothing is needed"
    );
}

#[test]
fn a_builder_that_is_away_is_told_with_each_node() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(repo.run("build-all --push --registry 127.0.0.1:1/x --builder unix:///no.sock"), @"
    exit 12
    --- stderr
    error: cannot build with the builder `unix:///no.sock`
      caused by: no answer at unix:///no.sock: No such file or directory (os error 2)
    hint: `cargo xtask builder list` shows those that there are; `cargo xtask builder up` starts one
    ");
    insta::assert_snapshot!(repo.run("builder list"), @"
    exit 0
    --- stdout
    no builders but the engine's own; `--builder ENDPOINT` names one
    ");
    repo.write(".config/xtask.toml", "builder = \"nobody\"\n");
    insta::assert_snapshot!(repo.run("builder inspect"), @"
    exit 12
    --- stdout
    nobody
      no builder `nobody`: an endpoint (`unix://…`, `tcp://…`, `docker-container://NAME`, …) or an instance of buildx; there: none
    ");
    // Whatever the settings say, what needs an engine asks one.
    let told = repo.run("bundle create --dry-run");
    assert!(!told.contains("builder"), "{told}");
}

#[test]
fn what_buildx_was_told_counts_where_nobody_tells_us() {
    let of = |name: &str| {
        let repo = TestRepo::new(TREE).with("BUILDX_BUILDER", name);
        let instances = repo.home().join(".docker/buildx/instances");
        std::fs::create_dir_all(&instances).unwrap();
        let far = r#"{"Driver":"remote","Nodes":[{"Name":"far0","Endpoint":"unix:///no.sock"}]}"#;
        std::fs::write(instances.join("far"), far).unwrap();
        repo
    };
    let repo = of("far");
    let told = repo.run("builder inspect");
    assert!(told.contains("no answer  "), "{told}");
    repo.write(".config/xtask.toml", "builder = \"default\"\n");
    let told = repo.run("builder inspect");
    assert!(told.contains("no builder is named"), "our own settings come first: {told}");
    // A docker context is a builder to buildx, and an engine to us.
    let told = of("desktop-linux").run("builder inspect");
    assert!(told.contains("no builder is named"), "{told}");
}

#[test]
fn options_that_cannot_be_had_are_refused_before_anything_runs() {
    let repo = TestRepo::new(TREE);
    for (words, expected) in [
        (
            "build-all --output oci:images",
            "an engine keeps what it builds, and --output wants it in a folder",
        ),
        ("build-all --output docker:x", "`docker:x` names no folder: `oci:DIR`, or `type=oci,dest=DIR`"),
        ("build-all --output oci:x --push", "cannot be used with"),
        ("build-all --cache-to type=local,mode=max", "`type=local` needs `src=FOLDER`"),
        ("build-all --cache-to type=gha,token=abc", "`token` is a secret"),
        ("build-all --reproducible", "--reproducible knows no time"),
    ] {
        let told = repo.run(words);
        assert!(told.starts_with("exit 2") && told.contains(expected), "{words}: {told}");
    }
}
