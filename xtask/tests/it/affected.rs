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
