//! Which changes wake, over one tree that has some of everything.

use super::*;
use crate::model::Platform;
use crate::read::tree;
use crate::settings::{Layer, env::Env, load};
use crate::testing::TestTree;

const TREE: &str = "
//- .config/xtask.toml
templates = ['config/**/*.tpl']
services = ['src/*', 'deep/**/Dockerfile']
//- .env
A=1
//- src/api/Dockerfile
FROM alpine:3.19
COPY app.txt conf/ /app/
COPY *.c /c/
//- src/api/app.txt
one
//- src/api/conf/c
c
//- src/api/service.toml
inputs = ['more/*.lock']
//- src/web/Dockerfile
FROM alpine:3.19
COPY . /web
//- src/web/.dockerignore
node_modules
docs/*
!docs/kept
//- src/web/index.html
x
//- src/web/docs/kept
k
//- src/web/node_modules/a/b.js
b
//- src/page/Dockerfile.tpl
FROM alpine:3.19
COPY page.conf /
//- src/page/page.conf.tpl
page {{A}}
//- src/made/Dockerfile
FROM scratch
COPY target/release/made /
COPY src/made/x /
//- src/made/service.toml
context = 'root'
//- src/made/x
x
//- target/release/made
made
//- notes/today.txt
notes
";

fn interest(tree: &TestTree, images: &[&str]) -> Interest {
    let config = load(&tree.root(), Layer::default(), &Env::default(), None).expect("settings");
    let reading = tree::look(&config, Platform::local()).expect("a tree");
    let all = reading.tree.all();
    let images = all.into_iter().filter(|name| images.is_empty() || images.contains(&name.as_str()));
    let further = ["compose.yaml".to_owned(), "/elsewhere/x.toml".to_owned()];
    Interest::of(&config, &reading.tree, &reading.render, &images.collect(), further)
}

#[test]
fn what_builds_read_and_what_decides_counts() {
    let tree = TestTree::new(TREE);
    let all = interest(&tree, &[]);
    let root = tree.root();
    for (path, counts) in [
        // What instructions and settings read, there or not.
        ("src/api/app.txt", true),
        ("src/api/conf/new", true),
        ("src/api/new.c", true),
        ("src/api/new.h", false),
        ("src/api/more/a.lock", true),
        ("src/api/more/a.txt", false),
        ("src/web/anything", true),
        ("src/web/node_modules/a/b.js", false),
        ("src/web/docs/kept", true),
        ("src/web/docs/other", false),
        ("src/made/x", true),
        ("src/made/y", false),
        // What decides.
        ("src/api/Dockerfile", true),
        ("src/api/Dockerfile.dockerignore", true),
        ("src/api/service.toml", true),
        ("src/web/.dockerignore", true),
        ("src/page/Dockerfile.tpl", true),
        ("src/page/page.conf.tpl", true),
        ("config/a/b.tpl", true),
        ("deep/er/Dockerfile", true),
        ("src/later/Dockerfile", true),
        (".env", true),
        (".config/xtask.toml", true),
        (".config/other.toml", false),
        ("images.lock", true),
        ("compose.yaml", true),
        // A service that is gone, whole.
        ("src/api", true),
        ("src", true),
        // What is made of it, and what is nobody's.
        ("src/page/Dockerfile", false),
        ("src/page/page.conf", false),
        ("target/xtask/runs/1/events.ndjson", false),
        (".git/HEAD", false),
        ("src/web/.git/HEAD", false),
        ("notes/today.txt", false),
        ("README.md", false),
        // What editors leave while a file is open.
        ("src/web/.index.html.swp", false),
        ("src/web/4913", false),
        ("src/web/index.html~", false),
        ("src/web/.#index.html", false),
        // cargo's, since an instruction names it.
        ("target/release/made", true),
    ] {
        assert_eq!(all.counts(&root.join(path)).is_some(), counts, "{path}");
    }
    assert!(all.counts(Path::new("/elsewhere/x.toml")).is_some());
    assert!(all.counts(Path::new("/elsewhere/y.toml")).is_none());
    let api = interest(&tree, &["api"]);
    assert_eq!(api.images(), 1);
    for (path, counts) in
        [("src/api/app.txt", true), ("src/web/index.html", false), ("target/release/made", false)]
    {
        assert_eq!(api.counts(&root.join(path)).is_some(), counts, "{path}");
    }
}

#[test]
fn folders_that_nothing_is_read_of_are_not_watched() {
    let tree = TestTree::new(TREE);
    let names = |images: &[&str]| -> Vec<String> {
        let found = interest(&tree, images).folders();
        let found = found.iter().filter_map(|path| path.strip_prefix(tree.root()).ok());
        found.map(|path| path.display().to_string()).collect()
    };
    let watched = names(&[]);
    for (folder, is_watched) in [
        ("", true),
        (".config", true),
        ("src", true),
        ("src/api/conf", true),
        ("src/web/docs", true),
        ("src/web/node_modules", false),
        ("target/release", true),
        ("notes", false),
    ] {
        assert_eq!(watched.iter().any(|path| path == folder), is_watched, "{folder}: {watched:?}");
    }
    assert!(!names(&["api"]).iter().any(|path| path.starts_with("target")));
    tree.write("src/later/readme", "");
    assert!(names(&["api"]).contains(&"src/later".to_owned()), "a service may appear there");
}
