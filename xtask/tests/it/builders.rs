//! A builder that is no engine, where there is none: what is refused, and what is told.

use crate::repo::TestRepo;

const TREE: &str = "//- src/api/Dockerfile\nFROM scratch\nCOPY app /\n//- src/api/app\n1\n";

#[test]
fn what_is_built_elsewhere_has_to_go_somewhere() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(repo.run("build-all --builder unix:///no.sock"), @"
    exit 2
    --- stderr
    error: a builder elsewhere puts what it builds into a registry
    hint: `--push --registry REGISTRY` says which
    hint: `--builder default` builds on the engine
    ");
    insta::assert_snapshot!(repo.run("plan --builder unix:///no.sock --offline --registry r.example/x"), @"
    exit 2
    --- stderr
    error: a builder elsewhere has its images in r.example/x, and --offline asks nobody
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
    hint: `cargo xtask builder list` shows those that there are
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
