//! What is changed in a small monorepo, and which images are rebuilt for it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use xtask::plan::status;

use super::lab::Lab;
use crate::testing::TestTree;

/// `base` <- `api`; `web` has stages, an ignore file and symlinks; `conf` is rendered; `cache` is pulled; `all` reads
/// from the root.
const MONOREPO: &str = "\
//- .env.example
# who says hello
GREETING=hello
LEVEL=1
//- .env
GREETING=hello
//- src/base/Dockerfile
FROM debian:12
COPY rootfs /
//- src/base/rootfs/etc/motd
welcome
//- src/api/Dockerfile
# The server.
FROM base
ARG LEVEL
COPY app /app
RUN --mount=type=bind,source=tools/build.sh,target=/b /b $LEVEL
//- src/api/app/main.py
1
//- src/api/app/run.sh mode=755
1
//- src/api/tools/build.sh mode=755
1
//- src/api/README.md
nobody reads this
//- src/web/Dockerfile
FROM redis:7 AS never
COPY unused /x
FROM alpine:3 AS build
COPY . /src
FROM debian:12
COPY linked /linked
COPY --from=build /src /src
//- src/web/.dockerignore
Dockerfile*
.dockerignore
*.log
unused
//- src/web/index.html
1
//- src/web/debug.log
1
//- src/web/unused/x
1
//- src/web/linked -> real
//- src/web/real/page
1
//- src/web/real/more -> page
//- src/web/empty/
//- src/conf/Dockerfile.tpl
FROM debian:12
LABEL greeting={{GREETING}}
COPY app.conf /
//- src/conf/app.conf.tpl
{{GREETING}}
//- src/cache/dependency.conf
redis:7
//- src/all/Dockerfile
FROM debian:12
COPY shared /shared
COPY src/all/own /own
//- src/all/own
1
//- shared/lib
1
";

#[track_caller]
fn check(what: &str, change: impl FnOnce(&Lab), expect: &str) {
    let lab = Lab::built(MONOREPO);
    change(&lab);
    assert_eq!(lab.stale(), expect, "{what}");
    lab.build();
    assert_eq!(lab.stale(), "", "{what}, built again");
}

#[test]
fn these_rebuild_nothing() {
    check("nothing", |_| {}, "");
    check("a file's time", |lab| lab.touch("src/api/app/main.py", 1_000_000_000), "");
    check("the same text written again", |lab| lab.write("src/api/app/main.py", "1\n"), "");
    check("a file that no instruction reads", |lab| lab.append("src/api/README.md", "x"), "");
    check("a new file that no instruction reads", |lab| lab.write("src/api/x/y", "x"), "");
    check("a comment in a Dockerfile", |lab| lab.append("src/api/Dockerfile", "# the end\n"), "");
    check("blank lines", |lab| lab.replace("src/api/Dockerfile", "\n", "\n\n"), "");
    check("an ignored file", |lab| lab.write("src/web/debug.log", "2"), "");
    check(
        "an unreachable stage",
        |lab| lab.replace("src/web/Dockerfile", "COPY unused /x", "COPY unused /y"),
        "",
    );
    check(
        "the base of an unreachable stage",
        |lab| lab.replace("src/web/Dockerfile", "redis:7", "redis:8"),
        "",
    );
    check("an ignore file that selects the same", |lab| lab.append("src/web/.dockerignore", "*.tmp\n"), "");
    check("a key of .env that no Dockerfile declares", |lab| lab.append(".env", "OTHER=1\n"), "");
    check("an image nobody names", |lab| lab.give("busybox:1", "x"), "");
    check("another service", |lab| lab.write("src/new/README", "x"), "");
}

#[test]
fn these_rebuild_exactly_the_images_concerned() {
    check("one byte", |lab| lab.write("src/api/app/main.py", "2\n"), "api (source changed: app/main.py)");
    check(
        "a mode bit",
        |lab| lab.chmod("src/api/app/run.sh", 0o744),
        "api (mode changed: app/run.sh (755 to 744))",
    );
    check(
        "a bind mount's file",
        |lab| lab.append("src/api/tools/build.sh", "2"),
        "api (source changed: tools/build.sh)",
    );
    check("an added file", |lab| lab.write("src/api/app/x", ""), "api (source added: app/x)");
    check(
        "an added folder",
        |lab| fs::create_dir(lab.path("src/api/app/d")).unwrap(),
        "api (source added: app/d)",
    );
    check("a removed file", |lab| lab.remove("src/web/index.html"), "web (source removed: index.html)");
    check(
        "a moved file",
        |lab| lab.rename("src/web/index.html", "src/web/empty/index.html"),
        "web (source added: empty/index.html, and 1 more)",
    );
    check(
        "a file replaced by a symlink to the same",
        |lab| {
            lab.write("src/web/copy", "1\n");
            lab.build();
            lab.symlink("index.html", "src/web/copy");
        },
        "web (source changed: copy)",
    );
    check(
        "a symlink's target",
        |lab| lab.symlink("../index.html", "src/web/real/more"),
        "web (source changed: real/more)",
    );
    check(
        "a file behind a symlink",
        |lab| lab.write("src/web/real/page", "2"),
        "web (source changed: real/page)",
    );
    check(
        "an instruction",
        |lab| lab.replace("src/web/Dockerfile", "/linked", "/links"),
        "web (Dockerfile changed)",
    );
    check("a build arg in .env", |lab| lab.append(".env", "LEVEL=2\n"), "api (build arg changed: LEVEL)");
    check(
        "a variable of a template",
        |lab| lab.write(".env", "GREETING=hi\n"),
        "conf (source changed: app.conf, and 1 more)",
    );
    check("a template", |lab| lab.append("src/conf/app.conf.tpl", "x\n"), "conf (source changed: app.conf)");
    check("a file at the root", |lab| lab.write("shared/lib", "2"), "all (source changed: shared/lib)");
    check("a base image of one", |lab| lab.give("alpine:3", "x"), "web (base image changed: alpine:3)");
    check("an external image", |lab| lab.give("redis:7", "x"), "cache (base image changed: redis:7)");
    check(
        "a base image of many",
        |lab| lab.give("debian:12", "x"),
        "all (base image changed: debian:12); base (base image changed: debian:12); api (base changed: base); \
         conf (base image changed: debian:12); web (base image changed: debian:12)",
    );
    check(
        "an internal base",
        |lab| lab.write("src/base/rootfs/etc/motd", "bye"),
        "base (source changed: rootfs/etc/motd); api (base changed: base)",
    );
    check(
        "an image that is gone",
        |lab| lab.give("web:latest", "x"),
        "web (has no fingerprint: not built by xtask)",
    );
}

#[test]
fn what_sync_config_and_render_are_going_to_write_counts_before_it_is_written() {
    let lab = Lab::new(MONOREPO);
    assert!(!lab.path("src/conf/Dockerfile").exists());
    let before = lab.look();
    assert_eq!(before.reading.tree.graph.images().len(), 6);
    lab.build();
    assert_eq!(lab.tree.read("src/conf/app.conf"), "hello\n");
    assert!(lab.tree.read(".env").contains("LEVEL=1"));
    assert_eq!(lab.look().keys(), before.keys(), "written or not, the key is the same");

    // An output that is there keeps its mode, whatever the template's.
    lab.chmod("src/conf/app.conf", 0o600);
    lab.build();
    lab.write(".env", "GREETING=hi\nLEVEL=1\n");
    let pending = lab.look();
    lab.build();
    assert_eq!(lab.tree.read("src/conf/app.conf"), "hi\n");
    assert_eq!(lab.look().keys(), pending.keys());
    assert_eq!(lab.stale(), "");
}

#[test]
fn an_output_written_through_a_symlink_counts_where_it_lies() {
    let lab = Lab::new(
        "//- .env\nA=1\n//- src/api/Dockerfile\nFROM debian:12\nCOPY . /x\n//- src/api/a.conf.tpl\n{{A}}\n\
         //- src/api/real.conf\nold\n//- src/api/a.conf -> real.conf\n",
    );
    let pending = lab.look();
    lab.build();
    assert_eq!(lab.tree.read("src/api/real.conf"), "1\n");
    assert_eq!(lab.look().keys(), pending.keys());
    assert_eq!(lab.stale(), "");
}

#[test]
fn a_second_look_reads_no_file() {
    let lab = Lab::built(MONOREPO);
    lab.settle();
    lab.write("src/api/app/main.py", "2\n");
    assert_eq!(lab.look().reading.tree.hashed, 1, "only what changed is read");
}

#[test]
fn explain_names_every_change_and_says_when_it_cannot() {
    let lab = Lab::built(MONOREPO);
    assert_eq!(
        status::explain(lab.look().assessment("api")),
        "api is up-to-date (up to date: 3 inputs unchanged)\n"
    );
    lab.write("src/api/app/main.py", "2");
    lab.write("src/api/app/new", "2");
    lab.chmod("src/api/app/run.sh", 0o700);
    lab.append(".env", "LEVEL=3\n");
    lab.append("src/api/Dockerfile", "RUN true\n");
    let expect = "api is stale: 5 changes\n  source changed: app/main.py\n  source added: app/new\n  \
                  mode changed: app/run.sh (755 to 700)\n  Dockerfile changed\n  build arg changed: LEVEL\n";
    assert_eq!(status::explain(lab.look().assessment("api")), expect);

    fs::remove_dir_all(lab.path("target")).unwrap();
    let text = status::explain(lab.look().assessment("api"));
    assert!(text.starts_with("api is stale: 3 changes\n  sources changed\n"), "{text}");
    assert!(text.contains("list of files is not known here"), "{text}");
}

/// Copies a tree as `cp -r` does, but in another order and with other times.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
    for entry in entries {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&source, &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source).unwrap(), &target).unwrap();
        } else {
            fs::copy(&source, &target).unwrap();
            let file = fs::File::open(&target).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        }
    }
}

#[test]
fn a_clone_elsewhere_reaches_the_same_keys() {
    let lab = Lab::built(MONOREPO);
    let clone = Lab { tree: TestTree::new(""), ..lab };
    let (engine, flags, external) = (clone.engine.clone(), clone.flags.clone(), clone.external.clone());
    let lab = Lab { tree: TestTree::new(MONOREPO), engine, flags, external };
    copy(&lab.tree.root(), &clone.tree.root());
    let (here, there) = (lab.look(), clone.look());
    assert_ne!(here.config.root, there.config.root);
    assert_eq!(here.keys(), there.keys());
    assert_eq!(here.keys().len(), 5);
    assert_eq!(clone.stale(), "", "what was built from one tree is up to date in the other");
}

/// A path of up to three short names.
fn paths() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof!["[a-c]", "[a-c]\\.[a-c]", "[a-c]-[a-c]"];
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    prop::collection::vec(path, 1..8).prop_map(|mut paths| {
        paths.sort();
        paths.dedup();
        // No file where another path needs a folder.
        let all = paths.clone();
        paths.retain(|path| !all.iter().any(|other| other.starts_with(&format!("{path}/"))));
        paths
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_do_not_depend_on_order_and_do_depend_on_every_file(paths in paths(), which in any::<prop::sample::Index>()) {
        const DOCKERFILE: &str = "FROM debian:12\nCOPY files /\n";
        let make = |paths: &[String]| {
            let lab = Lab::new(&format!("//- src/a/Dockerfile\n{DOCKERFILE}"));
            for path in paths {
                lab.write(&format!("src/a/files/{path}"), "1");
            }
            lab
        };
        let one = make(&paths);
        let mut reversed = paths.clone();
        reversed.reverse();
        let other = make(&reversed);
        let key = one.look().keys();
        prop_assert_eq!(&key, &other.look().keys());
        prop_assert_eq!(one.look().inputs("a").len(), paths.len());
        one.write(&format!("src/a/files/{}", which.get(&paths)), "2");
        prop_assert_ne!(key, one.look().keys());
    }
}
