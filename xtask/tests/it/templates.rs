//! Templates: whose they are, whom a broken one fails, what is never overwritten, and where values come from.

use std::process::Command;

use crate::repo::TestRepo;

const TREE: &str = "\
//- .env
HOST=db
//- src/ok/Dockerfile
FROM scratch
COPY mine.conf /
//- src/ok/mine.conf.tpl
host {{HOST}}
//- src/hub/Dockerfile
FROM scratch
COPY app.py /
//- src/hub/app.py
//- src/hub/broken.conf.tpl
{{HOST}} {{NOPE}} {{GONE}}
//- src/reads/Dockerfile
FROM scratch
COPY . /
//- src/reads/conf.d/x.tpl
{{HOST}} {{NOPE}}
//- src/rooted/Dockerfile
FROM scratch
COPY src/reads/conf.d /
";

/// The states of all images of a plan, and what it says of templates.
fn plan(repo: &TestRepo, words: &str) -> String {
    let plan = repo.json(&format!("plan --offline --format json {words}"));
    let images = plan["images"].as_array().unwrap().iter();
    let images = images
        .map(|image| format!("{} {}", image["name"].as_str().unwrap(), image["state"].as_str().unwrap()));
    let told = plan["diagnostics"].as_array().unwrap().iter();
    let told = told.map(|found| {
        let text = |key: &str| found[key].as_str().unwrap().to_owned();
        format!("{}: {}: {}", text("severity"), text("file"), text("message"))
    });
    images.chain(told).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_template_that_cannot_be_rendered_fails_those_who_read_its_output() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(plan(&repo, ""), @r#"
    hub unknown
    ok unknown
    reads invalid
    rooted invalid
    warning: src/hub/broken.conf.tpl: 2 names are not defined in .env or .env.example: `NOPE` (1:10), `GONE` (1:19)
    error: src/reads/conf.d/x.tpl: `NOPE` is not defined in .env or .env.example
    "#);
    insta::assert_snapshot!(repo.run("render"), @r#"
    exit 11
    --- stderr
    00:00 started    4 images, 0 base images
    00:00 render     src/hub/broken.conf.tpl failed  (src/hub/broken.conf.tpl:1:10: 2 names are not defined in .env or .env.example: `NOPE` (1:10), `GONE` (1:19))
    00:00 render     src/reads/conf.d/x.tpl failed  (src/reads/conf.d/x.tpl:1:10: `NOPE` is not defined in .env or .env.example)
    00:00 render     rendered src/ok/mine.conf  (does not exist yet)
    00:00 render     1 rendered, 2 failed
    00:00 failed     1 rendered, 2 failed
    error: cannot render `src/hub/broken.conf.tpl`
      caused by: src/hub/broken.conf.tpl:1:10: 2 names are not defined in .env or .env.example: `NOPE` (1:10), `GONE` (1:19)
    error: cannot render `src/reads/conf.d/x.tpl`
      caused by: src/reads/conf.d/x.tpl:1:10: `NOPE` is not defined in .env or .env.example
    hint: `cargo xtask render` tries again
    report of this run: target/xtask/runs/RUN/report.html
    "#);
    assert_eq!(repo.read("src/ok/mine.conf"), "host db\n", "the others are rendered");
    assert!(!repo.root().join("src/hub/broken.conf").exists());
}

#[test]
fn somebody_elses_templates_are_left_alone() {
    let repo = TestRepo::new(
        "//- .env\nHOST=db\n//- src/web/Dockerfile\nFROM scratch\nCOPY . /\nCOPY page /\n//- src/web/views/fortune.tpl\n{{#rows}}{{message}}{{/rows}}\n\
         //- src/web/page.tpl\n<b>{{TITLE}}</b>\n//- src/web/x.yml.j2\n{% for x in nope %}\n",
    );
    insta::assert_snapshot!(plan(&repo, ""), @r#"
    web invalid
    error: src/web/Dockerfile: COPY source `page` matches nothing in the context src/web: src/web/page.tpl would render to it, but asks for no name that is defined, so it is left alone; define one in .env, or name the template in `templates`
    "#);
    let told = repo.run("render");
    assert!(told.starts_with("exit 0") && !repo.root().join("src/web/views/fortune").exists(), "{told}");
    assert!(!told.contains("fortune"), "{told}");
    assert!(repo.run("render -v").contains("src/web/views/fortune.tpl"), "said with -v");
    repo.write(
        ".config/xtask.toml",
        "templates = ['src/web/views/*']\ntemplates_skip = ['src/web/page.tpl']\n",
    );
    assert_eq!(repo.code("render"), 0);
    assert_eq!(repo.read("src/web/views/fortune"), "{{#rows}}{{message}}{{/rows}}\n", "listed, it is ours");
}

fn git(repo: &TestRepo, words: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
        .args(words)
        .current_dir(repo.root())
        .env("HOME", repo.home())
        .output()
        .unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_committed_file_that_we_did_not_write_is_shown_and_left_alone() {
    let repo = TestRepo::new(
        "//- .gitignore\n.env\n//- .env\nPORT=1\n//- src/x/Dockerfile\nFROM scratch\nCOPY conf.py /\n//- src/x/conf.py\n# by hand\nport = 9\n\
         //- src/x/templates/conf.py.tpl\n# by hand\nport = {{PORT}}\n",
    );
    git(&repo, &["init", "-q"]);
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-qm", "all"]);
    insta::assert_snapshot!(repo.run("render"), @r#"
    exit 0
    --- stderr
    00:00 started    1 image, 0 base images
    00:00 warning    src/x/conf.py:2: is committed, and differs from what src/x/templates/conf.py.tpl renders to (`port = 9`, and not `port = 1`), so it is left alone; `cargo xtask render --force` writes it, and `templates` in the settings always does
    00:00 render     1 unchanged
    00:00 finished   nothing to do, 1 up to date, 1 warning
    "#);
    assert_eq!(repo.read("src/x/conf.py"), "# by hand\nport = 9\n");
    assert_eq!(repo.code("render --check"), 0, "what is left alone is no drift");
    assert_eq!(repo.code("render --force"), 0);
    assert_eq!(repo.read("src/x/conf.py"), "# by hand\nport = 1\n");
    // Ours from here on, though git still tracks it.
    repo.write(".env", "PORT=2\n");
    assert_eq!(repo.code("render"), 0);
    assert_eq!(repo.read("src/x/conf.py"), "# by hand\nport = 2\n");
    // Until somebody else writes it.
    git(&repo, &["checkout", "-q", "src/x/conf.py"]);
    assert_eq!(repo.code("render"), 0);
    assert_eq!(repo.read("src/x/conf.py"), "# by hand\nport = 9\n");
    repo.write(".config/xtask.toml", "templates = ['src/x/templates/*']\n");
    assert_eq!(repo.code("render"), 0);
    assert_eq!(repo.read("src/x/conf.py"), "# by hand\nport = 2\n", "listed");
}

#[test]
fn variables_come_from_the_settings_where_env_has_none() {
    let repo = TestRepo::new(
        "//- .env\nFIXED=dotenv\nEMPTY=\n\
         //- .config/xtask.toml\n[variables]\nFIXED = 'settings'\nEMPTY = 'filled'\nSHA = { env = 'CI_SHA' }\nWHERE = { command = 'pwd; echo two; echo' }\nBAD = { command = 'echo why >&2; exit 3' }\n\
         //- src/a/Dockerfile\nFROM scratch\nCOPY x /\n//- src/a/x.tpl\n{{FIXED}} {{EMPTY}} {{SHA}} {{WHERE}}\n",
    );
    let told = repo.run("render");
    assert!(
        told.contains("`SHA` is not defined in .env or .env.example: `[variables]` takes it from CI_SHA"),
        "{told}"
    );
    let repo = repo.with("CI_SHA", "abc");
    assert_eq!(repo.code("render"), 0);
    let root = repo.root().canonicalize().unwrap();
    assert_eq!(repo.read("src/a/x"), format!("dotenv filled abc {}\ntwo\n", root.display()));
    repo.write("src/a/y.tpl", "{{BAD}}");
    let told = repo.run("render");
    assert!(
        told.contains(
            "`BAD` is not defined in .env or .env.example: `echo why >&2; exit 3` exited with status 3: why"
        ),
        "{told}"
    );
}

#[test]
fn a_root_that_nobody_asked_for_is_named_first() {
    let repo = TestRepo::new(
        "//- repo/.git/HEAD\n//- repo/src/a/Dockerfile\nFROM scratch\n//- bare/src/b/Dockerfile\nFROM scratch\n",
    );
    let run = |folder: &str| {
        let mut command = repo.command_in(&repo.root().join(folder), "plan --offline");
        let output = command.env_remove("XTASK_ROOT").output().unwrap();
        let first = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        (repo.redact(&first), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (first, plan) = run("repo/src/a");
    assert_eq!(first, "root: TMP/tree/repo (this git repository; --root DIR names another)");
    assert!(plan.contains("src/a/Dockerfile") || plan.contains("build      a"), "{plan}");
    assert_eq!(run("bare").0, "root: TMP/tree/bare (the working directory; --root DIR names another)");
    repo.write("repo/.config/xtask.toml", "");
    assert!(!run("repo/src/a").0.starts_with("root:"), "it has settings of its own");
}

#[test]
fn a_working_directory_that_is_gone_is_said_so() {
    let repo = TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n");
    let run = |root: Option<&str>| {
        let program = env!("CARGO_BIN_EXE_xtask-images");
        let script = format!(
            "mkdir gone && cd gone && rmdir ../gone && exec {program} history {}",
            root.unwrap_or_default()
        );
        let mut command = Command::new("sh");
        let output =
            command.args(["-c", &script]).current_dir(repo.root()).env_remove("XTASK_ROOT").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = run(None);
    assert!(code == Some(1) || code == Some(10) || code == Some(2), "{code:?} {told}");
    assert!(
        told.contains("the working directory does not exist any more") && told.contains("--root"),
        "{told}"
    );
    assert_eq!(
        run(Some(&format!("--root {}", repo.root().display()))).0,
        Some(0),
        "a root of its own will do"
    );
}
