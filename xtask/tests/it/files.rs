//! `sync-config` and `render`: what they write, what `--dry-run` shows, what `--check` says.

use crate::repo::TestRepo;

const TREE: &str = "\
//- .env.example
# How loud
LEVEL=info
PORT=80
//- .env
PORT=8080
MINE=1
//- src/web/Dockerfile.tpl
FROM scratch
COPY nginx.conf /
//- src/web/templates/nginx.conf.tpl
listen {{ PORT }}; # {{LEVEL}} $uri ${x} {{ .State }} ${{ y }}
//- helm/templates/_helpers.tpl
{{ define \"x\" }}{{NOT_OURS}}{{ end }}
";

#[test]
fn sync_config() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(repo.run("sync-config --check"), @"
    exit 15
    --- stdout
    sync-config  1 to do, 0 fine
      write-file .env  (lacks LEVEL)
                 @@ line 3 @@
                 +
                 +# How loud
                 +LEVEL=info
    ");
    insta::assert_snapshot!(repo.run("sync-config --dry-run"), @"
    exit 0
    --- stdout
    sync-config  1 to do, 0 fine
      write-file .env  (lacks LEVEL)
                 @@ line 3 @@
                 +
                 +# How loud
                 +LEVEL=info
    ");
    insta::assert_snapshot!(repo.run("sync-config"), @"
    exit 0
    --- stderr
    00:00 started    1 image, 0 base images
    00:00 sync-config synced .env            (lacks LEVEL)
    00:00 sync-config 1 synced
    00:00 finished   1 synced
    ");
    insta::assert_snapshot!(repo.read(".env"), @"
    PORT=8080
    MINE=1

    # How loud
    LEVEL=info
    ");
    assert_eq!(repo.code("sync-config --check"), 0);
    insta::assert_snapshot!(repo.run("sync-config"), @"
    exit 0
    --- stderr
    00:00 started    1 image, 0 base images
    00:00 sync-config 1 unchanged
    00:00 finished   nothing to do, 1 up to date
    ");
}

#[test]
fn render() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(repo.run("render --check"), @"
    exit 15
    --- stdout
    render  2 to do, 0 fine
      write-file src/web/Dockerfile  (does not exist yet)
                 @@ line 1 @@
                 +FROM scratch
                 +COPY nginx.conf /
      write-file src/web/nginx.conf  (does not exist yet)
                 @@ line 1 @@
                 +listen 8080; # info $uri ${x} {{ .State }} ${{ y }}
    ");
    let told = repo.run("render");
    // The two are written side by side; either may be first.
    let mut lines: Vec<&str> = told.lines().collect();
    lines[3..5].sort_unstable();
    insta::assert_snapshot!(lines.join("\n"), @"
    exit 0
    --- stderr
    00:00 started    1 image, 0 base images
    00:00 render     rendered src/web/Dockerfile  (does not exist yet)
    00:00 render     rendered src/web/nginx.conf  (does not exist yet)
    00:00 render     2 rendered
    00:00 finished   2 rendered
    ");
    insta::assert_snapshot!(repo.read("src/web/nginx.conf"), @"listen 8080; # info $uri ${x} {{ .State }} ${{ y }}");
    assert!(!repo.root().join("helm/_helpers").exists(), "charts are not ours");
    let before = std::fs::metadata(repo.root().join("src/web/nginx.conf")).unwrap().modified().unwrap();
    insta::assert_snapshot!(repo.run("render"), @"
    exit 0
    --- stderr
    00:00 started    1 image, 0 base images
    00:00 render     2 unchanged
    00:00 finished   nothing to do, 2 up to date
    ");
    let after = std::fs::metadata(repo.root().join("src/web/nginx.conf")).unwrap().modified().unwrap();
    assert_eq!(before, after, "what is as it should be is not written");
    assert_eq!(repo.code("render --check"), 0);
}

#[test]
fn the_first_run_makes_env() {
    let repo = TestRepo::new("//- .env.example\nA=1\n");
    assert_eq!(repo.code("sync-config --check"), 15);
    assert_eq!(repo.code("sync-config"), 0);
    assert_eq!(repo.read(".env"), "A=1\n");
}

#[test]
fn a_plan_reads_files_as_later_steps_leave_them() {
    let repo = TestRepo::new(
        "//- .env.example\nBASE_VERSION=3.20\n\
         //- src/a/Dockerfile.tpl\nFROM alpine:{{BASE_VERSION}}\nCOPY made.conf /\n\
         //- src/a/made.conf.tpl\n{{BASE_VERSION}}\n\
         //- src/b/Dockerfile\nARG BASE_VERSION\nFROM alpine:${BASE_VERSION}\n",
    );
    let before = repo.json("plan --offline --format json");
    assert_eq!(before["base_images"], serde_json::json!(["docker.io/library/alpine:3.20"]));
    assert_eq!(before["images"][0]["inputs"], serde_json::json!(["made.conf"]));
    assert!(!repo.root().join("src/a/Dockerfile").exists() && !repo.root().join(".env").exists());
    assert_eq!(repo.code("sync-config") + repo.code("render"), 0);
    let after = repo.json("plan --offline --format json");
    for at in 0..2 {
        assert_eq!(before["images"][at]["key"], after["images"][at]["key"], "the same key before and after");
    }
}
