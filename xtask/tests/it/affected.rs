//! `affected` and `matrix`: real commits of a real repository.

use std::process::Command;

use crate::repo::TestRepo;

const TREE: &str = "
//- .env.example
PORT=80
//- src/base/Dockerfile
FROM debian:12-slim
COPY list /list
//- src/base/list
one
//- src/api/Dockerfile
FROM base
COPY main.py /
//- src/api/main.py
print()
//- src/web/Dockerfile.tpl
FROM nginx:1
LABEL port={{PORT}}
COPY page /page
//- src/web/page
hello
";

struct History(TestRepo);

impl History {
    fn new() -> Self {
        let history = Self(TestRepo::new(TREE));
        history.git(&["init", "-q"]);
        history.commit();
        history
    }

    fn git(&self, args: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]).args(args);
        let done = git.current_dir(self.0.root()).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "change", "--allow-empty"]);
    }

    /// What a change of one file affects, as `name (reason)`.
    fn change(&self, path: &str, content: &str) -> Vec<String> {
        self.0.write(path, content);
        self.commit();
        let found = self.0.json("affected --since HEAD~1 --format json");
        let told = |image: &serde_json::Value| {
            format!("{} ({})", image["name"].as_str().unwrap(), image["reason"].as_str().unwrap())
        };
        found["images"].as_array().unwrap().iter().map(told).collect()
    }
}

#[test]
fn keys_decide_what_is_affected() {
    let tree = History::new();
    for (path, content, affected) in [
        ("README.md", "hello", &[][..]),
        ("src/api/unread.txt", "not copied", &[]),
        ("src/api/main.py", "print(1)", &["api (source changed: main.py)"]),
        ("src/base/list", "two", &["base (source changed: list)", "api (base changed: base)"]),
        (".env.example", "PORT=81\n", &["web (Dockerfile changed)"]),
        ("src/new/Dockerfile", "FROM debian:12-slim\n", &["new (new)"]),
        ("src/new/Dockerfile", "FROM debian:13-slim\n", &["new (Dockerfile changed, and 2 more)"]),
    ] {
        assert_eq!(tree.change(path, content), affected, "{path}");
    }
    // Nothing of it is left, in the repository or beside it.
    let status = Command::new("git").args(["status", "--porcelain"]).current_dir(tree.0.root()).output();
    let left = String::from_utf8(status.unwrap().stdout).unwrap();
    assert!(left.is_empty() || left.trim() == "?? target/", "{left}");
}

#[test]
fn matrices_are_what_github_takes() {
    let tree = History::new();
    assert_eq!(tree.0.json("matrix --since HEAD"), serde_json::json!({ "include": [] }));
    tree.change("src/base/list", "two");
    tree.0.write("src/web/page", "bye");
    tree.commit();
    let matrix = tree.0.json("matrix --since HEAD~2 --shards 4");
    insta::assert_json_snapshot!(matrix, @r#"
    {
      "include": [
        {
          "shard": "1/2",
          "images": [
            "base",
            "api"
          ],
          "only": "base,api",
          "estimate": "2m00s",
          "estimate_ms": 120000
        },
        {
          "shard": "2/2",
          "images": [
            "web"
          ],
          "only": "web",
          "estimate": "60s",
          "estimate_ms": 60000
        }
      ]
    }
    "#);
    let History(repo) = tree;
    let outputs = repo.home().join("outputs");
    let repo = repo.with("GITHUB_OUTPUT", outputs.to_str().unwrap());
    let printed = repo.json("matrix --since HEAD~1 --shards 9");
    let told = std::fs::read_to_string(outputs).unwrap();
    assert_eq!(told, format!("matrix={printed}\nimages=1\n"));
}

#[test]
fn commits_that_are_not_there_are_named() {
    let tree = History::new();
    let unborn = TestRepo::new(TREE);
    Command::new("git").args(["init", "-q"]).current_dir(unborn.root()).output().unwrap();
    assert_eq!(unborn.code("affected --since HEAD"), 2);
    let History(bare) = History::new();
    let bare = bare.with("PATH", "/nonexistent");
    assert!(bare.run("affected --since HEAD").contains("error: git is not installed"));
    insta::assert_snapshot!(tree.0.run("affected --since v9"), @"
    exit 2
    --- stderr
    error: this repository has no commit `v9`
      caused by: `git rev-parse --verify --quiet --end-of-options v9^{commit}` exited with status 1
    hint: `git fetch --unshallow` brings older commits; in a GitHub workflow, `fetch-depth: 0` of actions/checkout
    ");
    assert_eq!(TestRepo::new(TREE).code("affected --since HEAD"), 2);
    tree.0.write("src/api/main.py", "print(2)");
    insta::assert_snapshot!(tree.0.run("affected --since HEAD"), @"
    exit 0
    --- stdout
    no image is affected
    --- stderr
    warning: commits are compared; 1 uncommitted file not looked at
    ");
}

fn names(found: &serde_json::Value) -> Vec<String> {
    let images = found["images"].as_array().unwrap().iter();
    images.map(|image| image["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_gone_is_said() {
    let tree = History::new();
    std::fs::remove_dir_all(tree.0.root().join("src/web")).unwrap();
    std::fs::rename(tree.0.root().join("src/api"), tree.0.root().join("src/apis")).unwrap();
    tree.commit();
    let found = tree.0.json("affected --since HEAD~1 --format json");
    assert_eq!(
        (names(&found), &found["removed"]),
        (vec!["apis".to_owned()], &serde_json::json!(["api", "web"]))
    );
    insta::assert_snapshot!(tree.0.run("affected --since HEAD~1"), @"
    exit 0
    --- stdout
    apis  (new)
    --- stderr
    removed, so there is nothing to build: api, web
    ");
}

#[test]
fn branches_are_compared_with_where_they_began() {
    let tree = History::new();
    tree.git(&["branch", "-M", "main"]);
    tree.git(&["checkout", "-q", "-b", "topic"]);
    tree.change("src/web/page", "topic");
    tree.git(&["checkout", "-q", "main"]);
    tree.change("src/api/main.py", "main moves on");
    tree.git(&["checkout", "-q", "topic"]);
    let both = names(&tree.0.json("affected --since main --format json"));
    assert_eq!(both, ["api", "web"], "two commits differ in what either side changed");
    let own = names(&tree.0.json("affected --since main --merge-base --format json"));
    assert_eq!(own, ["web"]);
    tree.git(&["checkout", "-q", "--orphan", "other"]);
    tree.commit();
    assert!(tree.0.run("affected --since main --merge-base").contains("have no commit in common here"));
}

#[test]
fn a_tree_below_a_repository_counts_alone() {
    let above = History(TestRepo::new("//- other/file\nx\n"));
    above.git(&["init", "-q"]);
    above.commit();
    for part in TREE.split("//- ").skip(1) {
        let (path, content) = part.split_once('\n').unwrap();
        above.0.write(&format!("sub dir/{path}"), content);
    }
    above.commit();
    above.0.write("other/file", "y");
    above.0.write("sub dir/src/web/page", "y");
    above.commit();
    let below = |words: &str| {
        let mut command = above.0.command_in(&above.0.root(), words);
        let output = command.env("XTASK_ROOT", above.0.root().join("sub dir")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        names(&serde_json::from_slice(&output.stdout).unwrap())
    };
    assert_eq!(below("affected --since HEAD~1 --format json"), ["web"]);
    assert_eq!(
        below("affected --since HEAD~2 --format json"),
        ["base", "api", "web"],
        "there was no tree then"
    );
}

#[test]
fn submodules_count_by_their_commit() {
    let inner = History(TestRepo::new("//- lib.c\nint a;\n//- notes\nx\n"));
    inner.git(&["init", "-q"]);
    inner.commit();
    let inner_path = inner.0.root().display().to_string();
    let tree = History::new();
    tree.git(&["-c", "protocol.file.allow=always", "submodule", "add", "-q", &inner_path, "src/own/lib"]);
    tree.0.write("src/own/Dockerfile", "FROM debian:12-slim\nCOPY lib/lib.c /\n");
    tree.0.write("src/all/Dockerfile", "FROM debian:12-slim\nCOPY . /\n");
    tree.git(&["-c", "protocol.file.allow=always", "submodule", "add", "-q", &inner_path, "src/all/lib"]);
    tree.commit();
    let update = |file: &str, content: &str| {
        inner.0.write(file, content);
        inner.commit();
        for path in ["src/own/lib", "src/all/lib"] {
            tree.git(&["-C", path, "-c", "protocol.file.allow=always", "pull", "-q"]);
        }
        tree.commit();
        names(&tree.0.json("affected --since HEAD~1 --format json"))
    };
    assert_eq!(update("notes", "y"), ["all"], "what an image does not read does not count");
    assert_eq!(update("lib.c", "int b;"), ["all", "own"]);
    std::fs::remove_dir_all(tree.0.root().join("src/all/lib")).unwrap();
    let told = tree.0.run("affected --since HEAD~1");
    assert!(told.contains("the files of the submodule src/all/lib are not here"), "{told}");
    assert!(told.contains("all ") && !told.contains("notes"), "{told}");
}

#[test]
fn durations_of_elsewhere_count() {
    let tree = History::new();
    for service in ["a", "b", "c"] {
        tree.0.write(&format!("src/{service}/Dockerfile"), "FROM debian:12-slim\n");
    }
    tree.commit();
    let run = |took: u64| {
        let image = |name: &str, took: u64| serde_json::json!({"image": name, "outcome": "done", "took": took, "size": null, "reason": ""});
        serde_json::json!({"images": [image("a", took), image("b", 4_000), image("c", 5_000)]})
    };
    let document = serde_json::json!({"version": 1, "runs": [run(9_000), run(1), run(9_000)]});
    tree.0.write("durations.json", &document.to_string());
    let words = "matrix --since HEAD~1 --shards 2 --format json --durations";
    let shards = tree.0.json(&format!("{words} durations.json"));
    let told: Vec<(&serde_json::Value, &serde_json::Value)> =
        shards["shards"].as_array().unwrap().iter().map(|s| (&s["only"], &s["estimate_ms"])).collect();
    assert_eq!(told, [(&"a".into(), &9_000.into()), (&"b,c".into(), &9_000.into())]);
    // What `history` prints is what is read.
    let empty = tree.0.output("history --format json");
    std::fs::write(tree.0.root().join("mine.json"), empty.stdout).unwrap();
    assert_eq!(tree.0.code(&format!("{words} mine.json")), 0);
    let told = tree.0.run(&format!("{words} gone.json"));
    assert!(told.starts_with("exit 0") && told.contains("there is no gone.json"), "{told}");
    tree.0.write("bad.json", "[1]");
    assert_eq!(tree.0.code(&format!("{words} bad.json")), 2);
}

#[test]
fn any_number_of_images_is_a_matrix() {
    for (services, shards, expected) in [(20, 4, 4), (20, 64, 20), (300, 256, 256), (300, 4, 4)] {
        let tree = History(TestRepo::new(""));
        tree.git(&["init", "-q"]);
        tree.commit();
        for n in 0..services {
            tree.0.write(&format!("src/service-{n:03}/Dockerfile"), "FROM debian:12-slim\nRUN true\n");
        }
        tree.commit();
        let output = tree.0.output(&format!("matrix --since HEAD~1 --shards {shards}"));
        assert!(output.stdout.len() < 1_000_000 && output.stdout.ends_with(b"]}\n"));
        let matrix: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let include = matrix["include"].as_array().unwrap();
        assert_eq!(include.len(), expected, "{services} on {shards}");
        let images: usize = include.iter().map(|entry| entry["images"].as_array().unwrap().len()).sum();
        assert_eq!(images, services);
    }
    // A chain has to stay on one machine.
    let tree = History(TestRepo::new("//- src/i00/Dockerfile\nFROM debian:12-slim\n"));
    for n in 1..30 {
        tree.0.write(&format!("src/i{n:02}/Dockerfile"), &format!("FROM i{:02}\n", n - 1));
    }
    tree.git(&["init", "-q"]);
    tree.commit();
    tree.change("src/i00/Dockerfile", "FROM debian:13-slim\n");
    let matrix = tree.0.json("matrix --since HEAD~1 --shards 4");
    assert_eq!(matrix["include"].as_array().unwrap().len(), 1);
    assert_eq!(matrix["include"][0]["images"].as_array().unwrap().len(), 30);
}
