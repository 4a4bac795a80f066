//! The house itself: which way dependencies point, as `crate::` and `super::` paths say it, re-exports included. What
//! `model` hands on of the crate `dockerfile` is `model`'s; who reads Dockerfiles names the crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each room may know. A room that is not listed may know everything (`cli`, `lib.rs`).
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("model", &["dockerfile"]),
    ("settings", &["model"]),
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
            // Images in folders are named contexts.
            "engine::layout",
            "base_images::matrix",
            "plan::build",
            "plan::render",
            "plan::sync_config",
            "plan::facts",
        ],
    ),
    ("read::compose", &["model", "settings::dotenv", "settings::interpolate", "read::yaml"]),
    ("read::conf", &["model", "settings"]),
    ("read::definitions", &["model", "settings", "read::compose", "read::conf", "read::yaml"]),
    ("read::discover", &["model", "settings", "host::inside", "read"]),
    ("read::fingerprint", &["model", "dockerfile", "host::Stamp", "host::inside"]),
    ("read::graph", &["model", "settings", "dockerfile"]),
    ("read::revision", &["host"]),
    ("read::template", &["model"]),
    ("read::yaml", &["model"]),
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
    // An engine, for its door to its own builder.
    ("build", &["model", "dockerfile", "engine", "events::excerpt", "host", "registry::credentials"]),
    // What a builder is lent of an engine's store is got as bundles get it.
    ("build::beside", &["build", "bundle", "engine", "host::inside", "model"]),
    ("build::content", &["build", "bundle", "engine::layout", "host::inside", "model"]),
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
            // The store of a builder that is no engine.
            "registry",
        ],
    ),
    // How far a download is, is said in the engine's words.
    ("artifact", &["model", "settings", "engine", "host", "events::secrets", "registry::web"]),
    // Planning and judging; only `smoke` runs anything.
    ("base_images", &["model", "settings::toml_words"]),
    ("base_images::bump", &["model", "artifact::lock", "host"]),
    ("base_images::smoke", &["model", "engine", "registry::loopback"]),
    ("bundle", &["model", "engine", "host", "dockerfile", "plan::rebuild", "read::compose", "read::graph"]),
    ("execute", &["model", "artifact", "base_images", "build", "engine", "events", "host", "registry"]),
    // Facts to findings to text; only `gather` looks at the machine.
    ("doctor", &["model", "events::harmless", "report::text", "report::resolve"]),
    (
        "doctor::gather",
        &[
            "doctor",
            "model",
            "build",
            "engine",
            "host",
            "plan::build",
            "plan::facts",
            "read::tree",
            "registry",
            "settings",
        ],
    ),
    ("report", &["model", "events", "host::inside"]),
    // A look to sentences and files; only `gather` looks at the tree.
    ("init", &["model", "read::discover"]),
    ("init::gather", &["init", "dockerfile", "read::compose", "read::discover", "settings"]),
];

/// Rooms that know each other, and why that may be.
const CIRCLES: &[(&str, &str, &str)] = &[
    (
        "engine",
        "registry",
        "`registry::local` runs a registry in a container; pulls and pushes need credentials",
    ),
    ("plan", "read", "a tree is read as it will be once `render` and `sync_config` have planned its files"),
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

/// The module that a file is: `read::tree` for `read/tree.rs`.
fn module_of(inside: &Path) -> Vec<String> {
    let parts = inside.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs").to_owned());
    parts.filter(|part| !matches!(part.as_str(), "mod" | "lib" | "main")).collect()
}

/// The paths that `text` begins with, below `before`: several where there are braces.
fn expand(before: &[String], text: &str, paths: &mut BTreeSet<String>) {
    let end =
        text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | ':')).unwrap_or(text.len());
    let mut path = before.to_vec();
    path.extend(text[..end].split("::").filter(|name| !matches!(*name, "" | "self")).map(str::to_owned));
    let group = text[end..].strip_prefix('{').filter(|_| end == 0 || text[..end].ends_with("::"));
    let Some(group) = group else {
        paths.insert(path.join("::"));
        return;
    };
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                let member = group[begin..at].trim();
                if !member.is_empty() {
                    expand(&path, member, paths);
                }
                begin = at + 1;
                if c == '}' {
                    return;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
}

/// Every path of the crate that code of `module` names, by `crate::` or `super::`, and of the crate `dockerfile`.
fn known_paths(module: &[String], code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        expand(&[], &code[at + "crate::".len()..], &mut paths);
    }
    for (at, _) in code.match_indices("super::").filter(|(at, _)| !code[..*at].ends_with("super::")) {
        let (mut rest, mut above) = (&code[at..], module);
        while let Some(inner) = rest.strip_prefix("super::") {
            above = above.split_last().map_or(above, |(_, above)| above);
            rest = inner;
        }
        expand(above, rest, &mut paths);
    }
    for (at, _) in code.match_indices("dockerfile::") {
        if !code[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | ':')) {
            expand(&[], &code[at..], &mut paths);
        }
    }
    paths
}

/// What code of `module` hands on that is of another room: the name that it gets there, and where it is.
fn re_exports(module: &[String], code: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (at, _) in code.match_indices(" use ") {
        let visibility = code[..at].lines().next_back().unwrap_or_default().trim_start();
        if !matches!(visibility, "pub" | "pub(crate)" | "pub(super)") {
            continue;
        }
        let statement = code[at..].split(';').next().unwrap_or_default();
        // The language of Dockerfiles is for all.
        let paths = known_paths(module, statement).into_iter().filter(|path| !is_below(path, "dockerfile"));
        for path in paths {
            if let Some((_, name)) = path.rsplit_once("::").filter(|_| !is_below(&path, &module[0])) {
                found.insert(format!("{}::{name}", module.join("::")), path);
            }
        }
    }
    found
}

fn is_below(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Each file that is no test, its module and its code.
fn sources() -> Vec<(PathBuf, Vec<String>, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let inside = files.into_iter().map(|file| file.strip_prefix(&source).unwrap().to_owned());
    let shipped = inside.filter(|inside| !inside.to_string_lossy().contains("test"));
    shipped
        .map(|inside| {
            let code = code(&std::fs::read_to_string(source.join(&inside)).unwrap());
            (inside.clone(), module_of(&inside), code)
        })
        .collect()
}

/// What each file knows, by where it really is: a name that another room only hands on counts as known of both.
fn knowledge() -> Vec<(PathBuf, Vec<String>, BTreeSet<String>)> {
    let sources = sources();
    let handed_on: BTreeMap<String, String> = sources
        .iter()
        .filter(|(_, module, _)| !module.is_empty())
        .flat_map(|(_, module, code)| re_exports(module, code))
        .collect();
    let known = |module: &[String], code: &str| {
        let named = known_paths(module, code);
        let real = |path: &String| {
            handed_on.iter().find_map(|(name, origin)| {
                is_below(path, name).then(|| format!("{origin}{}", &path[name.len()..]))
            })
        };
        let behind: Vec<String> = named.iter().filter_map(real).collect();
        named.into_iter().chain(behind).collect()
    };
    sources.iter().map(|(file, module, code)| (file.clone(), module.clone(), known(module, code))).collect()
}

#[test]
fn dependencies_point_one_way() {
    let rules: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, module, known) in knowledge() {
        let outer = module.first().map_or("lib", String::as_str);
        let inner = module.iter().take(2).map(String::as_str).collect::<Vec<_>>().join("::");
        // A room within a room may have a rule of its own.
        let room = if rules.contains_key(inner.as_str()) { inner.as_str() } else { outer };
        let Some(allowed) = rules.get(room) else {
            assert!(matches!(room, "cli" | "lib" | "ci"), "{room} has no rule here");
            continue;
        };
        for path in known {
            if !is_below(&path, room) && !allowed.iter().any(|allowed| is_below(&path, allowed)) {
                wrong.push(format!("{}: {room} may not know crate::{path}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_that_know_each_other_are_few_and_have_a_reason() {
    let mut knows: BTreeSet<(String, String)> = BTreeSet::new();
    for (_, module, known) in knowledge() {
        let Some(room) = module.first() else { continue };
        let others = known.iter().filter_map(|path| path.split("::").next()).filter(|other| other != room);
        knows.extend(others.map(|other| (room.clone(), other.to_owned())));
    }
    // What the rooms know that a room knows, and so on.
    let mut reaches = knows;
    loop {
        let further: Vec<(String, String)> = reaches
            .iter()
            .flat_map(|(a, b)| {
                reaches.iter().filter(move |(from, _)| from == b).map(move |(_, c)| (a.clone(), c.clone()))
            })
            .filter(|pair| !reaches.contains(pair))
            .collect();
        if further.is_empty() {
            break;
        }
        reaches.extend(further);
    }
    let circles: BTreeSet<(&str, &str)> = reaches
        .iter()
        .filter(|(a, b)| a < b && reaches.contains(&(b.clone(), a.clone())))
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let listed: BTreeSet<(&str, &str)> = CIRCLES.iter().map(|(a, b, _)| (*a, *b)).collect();
    assert_eq!(circles, listed, "rooms that know each other, directly or through others");
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let module = module_of(Path::new("plan/rebuild/forecast.rs"));
    let code = "use crate::{host::{self, inside::Folder}, model};\nuse super::super::build::{Request, why};\n\
                fn f(x: super::super::super::engine::Engine) -> crate::read::Tree<'_> {}\npub use crate::events::harmless;\nuse dockerfile::Options;\n";
    let expected = [
        "dockerfile::Options",
        "engine::Engine",
        "events::harmless",
        "host",
        "host::inside::Folder",
        "model",
        "plan::build::Request",
        "plan::build::why",
        "read::Tree",
    ];
    assert_eq!(known_paths(&module, code).iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let handed_on = BTreeMap::from([("plan::rebuild::forecast::harmless".into(), "events::harmless".into())]);
    assert_eq!(re_exports(&module, code), handed_on);
    assert_eq!(module_of(Path::new("plan/mod.rs")), ["plan"]);
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

/// The packages that a team copies.
const OURS: [&str; 3] = ["xtask-images", "xtask-launch", "dockerfile-model"];

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
        let is_ours = name == "*" || OURS.contains(&name.as_str());
        assert!(is_ours || of(settings) != Some(false), "{name}");
    }
    for ours in OURS {
        assert_eq!(of(&profile["test"]["package"][ours]), Some(true), "{ours}");
    }
    let are_on = std::panic::catch_unwind(|| debug_assert!(std::hint::black_box(false))).is_err();
    assert!(are_on, "this test itself is built without assertions");
}
