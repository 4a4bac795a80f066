//! The house itself: which way dependencies point, as `use crate::` and `crate::` paths say it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each room may know. A room that is not listed may know everything (`cli`, `lib.rs`).
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("settings", &["model"]),
    ("dockerfile", &["model"]),
    ("host", &["settings::env"]),
    ("host::inside", &[]),
    ("host::retry", &[]),
    ("events", &["model"]),
    // Its planners of `render` and `sync_config` make the texts that a tree is read from.
    (
        "read",
        &[
            "model",
            "settings",
            "dockerfile",
            "host",
            "artifact",
            "base_images::matrix",
            "plan::build",
            "plan::render",
            "plan::sync_config",
            "plan::facts",
        ],
    ),
    ("read::compose", &["model", "settings::dotenv", "settings::interpolate"]),
    ("read::conf", &["model", "settings"]),
    ("read::discover", &["model", "settings", "host::inside", "read"]),
    ("read::fingerprint", &["model", "dockerfile", "host::inside"]),
    ("read::graph", &["model", "settings", "dockerfile"]),
    ("read::revision", &["host"]),
    ("read::template", &["model"]),
    (
        "plan",
        &[
            "model",
            "settings",
            "dockerfile",
            "read::conf",
            "read::fingerprint::canonical",
            "read::graph",
            "read::template",
        ],
    ),
    ("registry", &["model", "settings", "host", "events::secrets"]),
    // It runs one in a container.
    ("registry::local", &["model", "engine", "host", "registry"]),
    (
        "engine",
        &[
            "model",
            "settings::env",
            "host",
            "dockerfile",
            "events",
            "registry::credentials",
            "registry::docker_config",
        ],
    ),
    // How far a download is, is said in the engine's words.
    ("artifact", &["model", "settings", "engine", "host", "events::secrets", "registry::web"]),
    // Planning and judging; only `smoke` runs anything.
    ("base_images", &["model", "settings::toml_words"]),
    ("base_images::bump", &["model", "artifact::lock", "host"]),
    ("base_images::smoke", &["model", "engine", "registry::loopback"]),
    ("bundle", &["model", "engine", "host", "dockerfile", "plan::rebuild", "read::compose", "read::graph"]),
    ("execute", &["model", "artifact", "base_images", "engine", "events", "host", "registry"]),
    // Facts to findings to text; only `gather` looks at the machine.
    ("doctor", &["model", "report::text", "report::resolve"]),
    (
        "doctor::gather",
        &["doctor", "model", "engine", "host", "plan::build", "read::tree", "registry", "settings"],
    ),
    ("report", &["model", "events", "host::inside"]),
];

/// What writes, removes or renames files by their paths.
const WRITES: &[&str] = &[
    "fs::write(",
    "fs::copy(",
    "fs::rename(",
    "fs::remove_",
    "fs::create_dir",
    "fs::hard_link(",
    "fs::set_permissions(",
    "fs::symlink(",
    "DirBuilder",
    "File::create",
    "File::options(",
    "OpenOptions",
    "NamedTempFile",
    "tempfile_in(",
    "tempdir_in(",
    ".persist",
];

/// Who does so and is not `inside.rs`, and why that may be: all else goes through `inside::Folder`, which no link, `..`
/// or race leads out of.
const WRITES_BY_PATH: &[(&str, &str)] = &[
    ("ci/bench_tree.rs", "trees to measure with, in temporary folders"),
    ("bundle/archive.rs", "where `-o` says; in the tree its folder comes from `inside::Folder`"),
    ("ci/mod.rs", "a copy of the tree, in a folder that `inside::Folder` just made"),
    ("cli/affected.rs", "appends to the file that GITHUB_OUTPUT names"),
    ("cli/bench.rs", "trees to measure with, in temporary folders"),
    ("cli/bundle.rs", "where `-o` says"),
    ("cli/man.rs", "the folder that was typed"),
    ("cli/prove.rs", "a copy of the tree, in a temporary folder"),
    ("engine/recipe/debootstrap.rs", "a temporary folder, in one that comes from `inside::Folder`"),
    ("host/inside.rs", "the one way"),
    ("report/github.rs", "appends to the file that GITHUB_STEP_SUMMARY names"),
    ("report/junit.rs", "the file that `--junit` names"),
    ("read/revision.rs", "a temporary folder"),
    ("testing.rs", "trees of tests"),
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without its tests and comments.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every `crate::a::b` of a file, from `use` lines with braces too.
fn known_paths(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split('}').next().unwrap_or_default();
            paths.extend(group.split(',').map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()));
        } else {
            let path: String =
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')).collect();
            paths.insert(path.trim_end_matches(':').to_owned());
        }
    }
    paths
}

#[test]
fn dependencies_point_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let rules: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&source).unwrap();
        let parts: Vec<&str> =
            inside.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs")).collect();
        let inner = parts.iter().take(2).copied().collect::<Vec<_>>().join("::");
        // A room within a room may have a rule of its own.
        let room = if rules.contains_key(inner.as_str()) { inner.as_str() } else { parts[0] };
        let Some(allowed) = rules.get(room) else {
            assert!(matches!(room, "cli" | "lib" | "main" | "ci" | "testing"), "{room} has no rule here");
            continue;
        };
        if inside.to_string_lossy().contains("test") {
            continue;
        }
        for path in known_paths(&code(&std::fs::read_to_string(&file).unwrap())) {
            let is_allowed = path == room
                || path.starts_with(&format!("{room}::"))
                || allowed.iter().any(|a| path == *a || path.starts_with(&format!("{a}::")));
            if !is_allowed {
                wrong.push(format!("{}: {room} may not know crate::{path}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_written_through_one_door() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let mut found = BTreeSet::new();
    for file in files {
        let inside = file.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
        if inside.contains("test") && inside != "testing.rs" {
            continue;
        }
        let code = code(&std::fs::read_to_string(&file).unwrap());
        let writes: Vec<&str> = WRITES.iter().copied().filter(|call| code.contains(call)).collect();
        assert!(
            writes.is_empty() || WRITES_BY_PATH.iter().any(|(file, _)| *file == inside),
            "{inside} has {}: write through `inside::Folder`",
            writes.join(", ")
        );
        if !writes.is_empty() {
            found.insert(inside);
        }
    }
    let listed: BTreeSet<String> = WRITES_BY_PATH.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(found, listed, "who no longer writes by path is no longer listed");
}

/// What a team copies (docs/adopt.md) must not switch off its own assertions, and tests are what assertions are for.
#[test]
fn assertions_are_left_out_of_our_own_packages_only_and_never_in_tests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let of = |table: &toml::Value| table.get("debug-assertions").and_then(toml::Value::as_bool);
    let profile = &manifest["profile"];
    assert_eq!(of(&profile["dev"]), None);
    for (name, settings) in profile["dev"]["package"].as_table().unwrap() {
        // Packages of the team's own workspace are none of `*`.
        let is_ours = matches!(name.as_str(), "*" | "xtask" | "xtask-launch");
        assert!(is_ours || of(settings) != Some(false), "{name}");
    }
    for ours in ["xtask", "xtask-launch"] {
        assert_eq!(of(&profile["test"]["package"][ours]), Some(true), "{ours}");
    }
    let are_on = std::panic::catch_unwind(|| debug_assert!(std::hint::black_box(false))).is_err();
    assert!(are_on, "this test itself is built without assertions");
}
