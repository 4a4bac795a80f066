//! Nothing is written outside the tree, whatever links it has: every command that writes, on trees that want it to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::repo::TestRepo;

const TREE: &str = "\
//- .env.example
HOST=db
//- src/a/Dockerfile
FROM scratch
COPY x.conf /
//- src/a/x.conf.tpl
host {{HOST}}
//- docker/base-images/alpine/Dockerfile
ARG FIT_VERSION=1.2.3
FROM scratch
";

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    files.map(|f| (f.path().display().to_string(), fs::read(f.path()).unwrap_or_default())).collect()
}

/// Commands that write, on a tree in which `link` leads out: nothing goes there, and the first command names the link.
#[track_caller]
fn check(link: &str, target: &str, commands: &[&str]) {
    let repo = TestRepo::new(TREE);
    let outside = tempfile::tempdir().unwrap();
    for file in ["precious", "xtask/lock", "xtask/runs/latest", "runs/latest", "lock"] {
        let path = outside.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "precious").unwrap();
    }
    fs::write(outside.path().join("env"), "A=1\n").unwrap();
    let link_path = repo.root().join(link);
    fs::create_dir_all(link_path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&link_path);
    symlink(outside.path().join(target), &link_path).unwrap();
    let before = contents(outside.path());
    for (at, command) in commands.iter().enumerate() {
        let told = repo.run(command);
        assert_eq!(contents(outside.path()), before, "{link}: {command}:\n{told}");
        if at == 0 {
            let is_named = told.contains(&format!("{link} is a link to")) && told.contains("leads out of");
            assert!(is_named && !told.starts_with("exit 0"), "{link}: {command}:\n{told}");
        }
    }
}

const ALL: [&str; 14] = [
    "render",
    "sync-config",
    "build-all --offline",
    "lock --offline",
    "plan --offline",
    "plan --format bake --offline",
    "status",
    "doctor",
    "base-images --offline",
    "base-images bump 9.9.9",
    "registry down",
    "engine down --purge",
    "clean --yes",
    "report",
];

#[test]
fn folders_of_our_own_that_lead_out() {
    for (link, target) in [("target", "."), ("target/xtask", "xtask"), ("target/xtask/lock", "precious")] {
        check(link, target, &ALL);
    }
}

#[test]
fn the_record_of_a_run_that_would_lead_out_is_said_and_not_kept() {
    let repo = TestRepo::new(TREE);
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(repo.root().join("target/xtask")).unwrap();
    symlink(outside.path(), repo.root().join("target/xtask/runs")).unwrap();
    let told = repo.run("render");
    assert!(told.contains("runs is a link to") && told.starts_with("exit 0"), "{told}");
    assert_eq!(contents(outside.path()).len(), 1, "{told}");
}

#[test]
fn files_of_the_tree_that_lead_out() {
    check("src/a/x.conf", "precious", &["render", "render --check", "build-all --offline"]);
    check("src/a/x.conf", "not-there", &["render"]);
    check(".env", "env", &["sync-config"]);
}
