//! `images.lock` where nobody is asked: what cannot be read, what is refused, what is told.

use crate::repo::TestRepo;

const TREE: &str = "\
//- src/api/Dockerfile
FROM alpine:3
COPY --from=redis:7 /a /a
//- src/web/Dockerfile
FROM alpine:3
//- src/cache/dependency.conf
# what it is
redis:7
//- src/fixed/Dockerfile
FROM alpine@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
";

const LOCK: &str = "\
version = 1

[[image]]
name = \"alpine:3\"
digest = \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"
";

#[test]
fn without_an_engine_and_offline_there_is_nothing_to_lock_from() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(repo.run("lock --offline"), @"
    exit 13
    --- stdout
    images.lock: 0 images, 2 not found
    --- stderr
    error: nobody knows what 2 images stand for; images.lock keeps what it says of them
      caused by: alpine:3 (src/api/Dockerfile:1, src/web/Dockerfile:1): no engine answers, and --offline asks no registry
      caused by: redis:7 (src/api/Dockerfile:2, src/cache/dependency.conf:2): no engine answers, and --offline asks no registry
    hint: `cargo xtask prefetch alpine:3 redis:7` shows whether it can be pulled at all
    ");
    assert!(!repo.root().join("images.lock").exists(), "nothing is known, so nothing is written");
    repo.write("images.lock", LOCK);
    let text = repo.run("lock --offline alpine:3");
    assert!(text.starts_with("exit 13\n"), "{text}");
    assert_eq!(repo.read("images.lock"), LOCK, "nothing is lost");
}

#[test]
fn a_build_is_refused_before_anything_is_done() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(repo.run("build-all --locked --offline --dry-run"), @"
    exit 15
    --- stderr
    error: there is no images.lock, and --locked builds on nothing else
    hint: `cargo xtask lock` writes it
    ");
    repo.write("images.lock", LOCK);
    insta::assert_snapshot!(repo.run("prefetch --locked --offline --dry-run"), @"
    exit 15
    --- stdout
    3 external base images, network internal (--offline, nothing was probed)

    prefetch  0 to do, 0 fine
      skipped    alpine:3  (no engine to ask)
      skipped    redis:7  (no engine to ask)
      skipped    alpine@sha256:DIGEST  (no engine to ask)

    warning: src/api/Dockerfile:2: --locked refuses: redis:7 is not in images.lock
    --- stderr
    error: --locked: an external image is not as images.lock has it, so nothing is done
      caused by: redis:7 is not in images.lock (src/api/Dockerfile:2, src/cache/dependency.conf:2)
    hint: `cargo xtask lock redis:7` locks what is new
    ");
    let code = |words: &str| repo.code(&format!("{words} --locked --offline --dry-run"));
    assert_eq!(code("build web"), 0, "what it stands on is locked");
    assert_eq!(code("build fixed"), 0, "pinned by its digest");
    assert_eq!(code("build api"), 15);
    assert_eq!(repo.code("plan --locked --offline"), 15);
    assert_eq!(repo.code("plan --offline"), 0, "nobody asked");
    assert_eq!(repo.code("render"), 0);
    let by_variable = TestRepo::new(TREE).with("XTASK_LOCKED", "1");
    assert_eq!(by_variable.code("build-all --offline --dry-run"), 15);
    repo.write(".config/xtask.toml", "locked = true\nimages_lock = \"deps/images.lock\"\n");
    assert_eq!(repo.code("build web --offline --dry-run"), 15, "another file");
    repo.write("deps/images.lock", LOCK);
    assert_eq!(repo.code("build web --offline --dry-run"), 0);
    // By what is in it, and as it was known before that.
    for key in ["identities", "ids"] {
        let text = LOCK.replace("digest =", &format!("{key}.\"linux/amd64\" ="));
        repo.write("deps/images.lock", &text);
        assert_eq!(repo.code("build web --offline --dry-run"), 0, "{text}");
    }
}

#[track_caller]
fn check(lock: &str, words: &str, code: i32, said: &str) {
    let repo = TestRepo::new(TREE);
    repo.write("images.lock", lock);
    let text = repo.run(words);
    assert!(text.starts_with(&format!("exit {code}\n")) && text.contains(said), "{words}: {said}\n{text}");
    assert_eq!(repo.read("images.lock"), lock, "it is left as it is");
}

#[test]
fn what_cannot_be_taken_is_told_with_its_place() {
    let merged = LOCK.replace("digest", "<<<<<<< HEAD\ndigest");
    for words in ["lock --offline", "lock --check --offline", "build-all --locked --offline --dry-run"] {
        check(&merged, words, 10, "images.lock:5: a merge has left both of its sides here");
        check("version = 3\n", words, 10, "images.lock:1:11: this program reads version 1 only");
        let typo = LOCK.replace("digest =", "digets =");
        check(&typo, words, 10, "images.lock:5:1: unknown key `digets`, did you mean `digest`?");
    }
    check(&merged, "plan --offline", 0, "warning: images.lock:5: a merge has left");
    check(LOCK, "lock --offline alpin:3", 2, "did you mean `alpine:3`?");
    check(LOCK, "lock --offline redis@sha256:1", 2, "is not a digest");
}

#[test]
fn half_a_tree_is_not_locked() {
    let repo = TestRepo::new(&format!("{TREE}//- src/bad/Dockerfile\nFROM alpine:${{MISSING}}\n"));
    repo.write("images.lock", LOCK);
    let text = repo.run("lock --offline");
    assert!(text.starts_with("exit 11\n") && text.contains("src/bad/Dockerfile:1"), "{text}");
    assert_eq!(repo.read("images.lock"), LOCK, "nothing is taken for unused");
}

#[test]
fn without_a_change_the_file_is_not_written() {
    let repo = TestRepo::new("//- src/api/Dockerfile\nFROM scratch\n");
    assert_eq!(repo.code("lock --offline"), 0);
    let written =
        |repo: &TestRepo| std::fs::metadata(repo.root().join("images.lock")).unwrap().modified().unwrap();
    let first = written(&repo);
    assert_eq!(repo.code("lock --offline"), 0);
    assert_eq!(repo.code("lock --check --offline"), 0);
    assert_eq!(written(&repo), first);
    repo.write("images.lock", LOCK);
    insta::assert_snapshot!(repo.run("lock --check --offline --format json"), @r#"
    exit 15
    --- stdout
    {
      "version": 1,
      "file": "images.lock",
      "images": [],
      "changes": [
        {
          "name": "alpine:3",
          "change": "unused",
          "was": "sha256:DIGEST",
          "now": null,
          "used_by": []
        }
      ],
      "failed": []
    }
    --- stderr
    error: images.lock is not up to date: 1 unused
    hint: `cargo xtask lock` brings it up to date
    "#);
    assert_eq!(repo.code("lock --offline"), 0);
    assert!(!repo.read("images.lock").contains("alpine"));
}
