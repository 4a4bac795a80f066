//! `registry` and `base-images test|e2e|publish|clean` where there is no engine, and what they refuse.

use crate::repo::TestRepo;

const TREE: &str = "//- docker/base-images/tiny/Dockerfile\nFROM local/busy:1\nARG FIT_VERSION=1.2.3\nRUN echo $FIT_VERSION\n";

#[test]
fn without_an_engine_nothing_is_tried() {
    let repo = TestRepo::new(TREE);
    for words in ["test", "e2e --offline", "clean", "publish 1.2.3 127.0.0.1:1/x --network external"] {
        assert_eq!(repo.code(&format!("base-images {words}")), 12, "{words}");
    }
    for of in ["registry", "engine"] {
        assert_eq!(repo.code(&format!("{of} status")), 0, "that it is down is an answer");
        assert_eq!(repo.code(&format!("{of} status --format json")), 0);
        assert_eq!(repo.code(&format!("{of} status --check")), 12);
    }
    assert_eq!(repo.code("registry down"), 0);
    assert!(!repo.root().join("target/xtask/registry").exists());
}

#[test]
fn publishing_wants_to_know_where_and_never_the_sample() {
    let repo = TestRepo::new(TREE);
    for (words, code, said) in [
        ("publish", 2, "nobody says where to publish to"),
        ("publish --registry r.example/a --sample-artifact", 2, "is not the release"),
        ("publish 1.2.3 r.example/a --sample-artifact", 2, "is not the release"),
        ("publish 1.2.3 r.example/a --offline", 13, "--offline forbids"),
        ("publish 1.2.3 r.example/a --registry r.example/b", 2, "cannot be used with"),
        ("e2e --os tny", 2, "did you mean"),
    ] {
        let text = repo.run(&format!("base-images {words}"));
        assert!(text.starts_with(&format!("exit {code}\n")) && text.contains(said), "{words}:\n{text}");
    }
}

#[test]
fn a_dry_run_shows_the_whole_way() {
    let repo = TestRepo::new(TREE);
    let text = repo.run("base-images e2e --dry-run --network external --port 15123");
    assert!(text.starts_with("exit 0\n"), "{text}");
    for step in [
        "start-registry 127.0.0.1:15123",
        "push       127.0.0.1:15123/fit-framework:1.2.3-tiny",
        "pull       127.0.0.1:15123/fit-framework:1.2.3-tiny",
        "smoke      fit-framework-tiny",
    ] {
        assert!(text.contains(step), "lacks {step}:\n{text}");
    }
    let text = repo.run("base-images publish 1.2.3 r.example/a --dry-run --network external");
    assert!(text.contains("confirm    r.example/a/fit-framework:1.2.3-tiny"), "{text}");
    // In the order in which it is done.
    let at = |phase: &str| text.find(&format!("\n{phase}  ")).unwrap_or_else(|| panic!("no {phase}: {text}"));
    let places = ["build", "verify", "test", "registry", "rehearse", "push", "confirm"].map(at);
    assert!(places.is_sorted(), "{text}");
}
