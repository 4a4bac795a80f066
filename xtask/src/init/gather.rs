//! Looks at a tree: names of files everywhere, and the texts of the few that tell something. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dockerfile::{Base, Options, Platform, Triggers, parse, resolve};
use walkdir::{DirEntry, WalkDir};

use super::{Composed, Dockerfile, FILES, Found};
use crate::read::compose;
use crate::read::discover::is_dockerfile;
use crate::settings::Config;

/// Folders of what others made, which hold no services of this tree.
const FOREIGN: [&str; 8] =
    ["node_modules", "vendor", "third_party", "target", "dist", "bower_components", "venv", "__pycache__"];
/// Folders of Dockerfiles that nobody ships. A part of the path with one of these names is enough.
const ASIDE: [&str; 14] = [
    "test",
    "tests",
    "testdata",
    "fixtures",
    "testfiles",
    "e2e",
    "example",
    "examples",
    "samples",
    "docs",
    "doc",
    "documentation",
    "templates",
    // Where mybinder.org looks.
    "binder",
];
/// The same as an ending, for `dockerfile-templates`, `integration-tests`.
const ASIDE_ENDS: [&str; 3] = ["-templates", "-tests", "_test"];
/// Who runs checks, by what it reads.
const CI: [(&str, &str); 8] = [
    (".github/workflows", "GitHub Actions"),
    (".gitlab-ci.yml", "GitLab CI"),
    (".circleci", "CircleCI"),
    ("azure-pipelines.yml", "Azure Pipelines"),
    ("Jenkinsfile", "Jenkins"),
    ("cloudbuild.yaml", "Cloud Build"),
    (".drone.yml", "Drone"),
    (".travis.yml", "Travis CI"),
];
/// Files that bake takes at the root when it is told of none.
const BAKE: [&str; 4] =
    ["docker-bake.hcl", "docker-bake.json", "docker-bake.override.hcl", "docker-bake.override.json"];
/// Larger texts are no Dockerfiles.
const LARGEST: u64 = 1 << 20;

/// Looks. What cannot be read is left out: nothing is decided here.
pub fn gather(config: &Config) -> Found {
    let root = config.root.as_path();
    let mut found = Found {
        is_repository: root.join(".git").exists(),
        ci: CI.iter().filter(|(path, _)| root.join(path).exists()).map(|(_, name)| *name).collect(),
        bake: BAKE.iter().filter(|name| root.join(name).is_file()).map(|name| (*name).to_owned()).collect(),
        env_files: [".env.example", ".env"].into_iter().filter(|name| root.join(name).is_file()).collect(),
        texts: texts(root),
        ..Found::default()
    };
    let base_images: Vec<&str> =
        config.base_images.iter().filter_map(|glob| Some(glob.rsplit_once('/')?.0)).collect();
    for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(is_of_this_tree).flatten() {
        let Some(path) = relative(root, &entry) else { continue };
        let name = entry.file_name().to_string_lossy();
        if !entry.file_type().is_file() {
            continue;
        }
        if name == "Cargo.toml" && path != "Cargo.toml" {
            found.packages.push(path.trim_end_matches("/Cargo.toml").to_owned());
        }
        if !is_dockerfile(&path) || base_images.iter().any(|folder| path.starts_with(&format!("{folder}/"))) {
            continue;
        }
        if is_aside(&path) {
            found.aside.insert(path);
        } else if let Some(read) = read(root, &path) {
            found.dockerfiles.insert(path, read);
        }
    }
    compose_files(config, &mut found);
    found
}

fn texts(root: &Path) -> BTreeMap<String, String> {
    let read = |path: &&str| Some(((*path).to_owned(), std::fs::read_to_string(root.join(path)).ok()?));
    FILES.iter().filter_map(read).collect()
}

fn relative(root: &Path, entry: &DirEntry) -> Option<String> {
    Some(entry.path().strip_prefix(root).ok()?.to_str()?.replace('\\', "/"))
}

/// Hidden folders are tools', and what others made is not of this tree.
fn is_of_this_tree(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.depth() == 0 || !entry.file_type().is_dir() || !(name.starts_with('.') || FOREIGN.contains(&&*name))
}

fn is_aside(path: &str) -> bool {
    let folder = path.rsplit_once('/').map(|(folder, _)| folder).unwrap_or_default().to_ascii_lowercase();
    folder.split('/').any(|part| ASIDE.contains(&part) || ASIDE_ENDS.iter().any(|end| part.ends_with(end)))
}

/// What it is built on, with the build args that it has itself. None of what is no Dockerfile.
fn read(root: &Path, path: &str) -> Option<Dockerfile> {
    let file = root.join(path);
    if std::fs::metadata(&file).ok()?.len() > LARGEST {
        return None;
    }
    let (parsed, _) = parse(path, &std::fs::read_to_string(file).ok()?);
    let platform = Platform::local();
    let resolved = resolve(
        &parsed,
        &Options {
            target: None,
            build_args: &BTreeMap::new(),
            platform: &platform,
            build_platform: &platform,
            triggers: &Triggers::new(),
        },
    );
    let mut found = Dockerfile::default();
    let mut bases = BTreeSet::new();
    for stage in resolved.stages {
        match stage.base {
            Base::Image(reference) => drop(bases.insert(reference)),
            Base::Unresolved(_) => found.is_open = true,
            Base::Scratch | Base::Stage(_) => {}
        }
    }
    found.bases = bases.into_iter().collect();
    (!parsed.stages.is_empty()).then_some(found)
}

fn compose_files(config: &Config, found: &mut Found) {
    let root = config.root.as_path();
    let variable = |name: &str| config.variable(name);
    found.compose = compose::found(root, &variable);
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_compose = |name: &String| {
        (name.starts_with("compose.") || name.starts_with("docker-compose"))
            && (name.ends_with(".yaml") || name.ends_with(".yml"))
    };
    found.more_compose = names.filter(is_compose).filter(|name| !found.compose.contains(name)).collect();
    found.more_compose.sort();
    if found.compose.is_empty() {
        return;
    }
    found.composed = match compose::read(root, &found.compose, &variable) {
        Ok(project) => Composed {
            services: project.services.len(),
            builds: project
                .services
                .iter()
                .filter(|service| service.builds)
                .map(|service| service.name.clone())
                .collect(),
            trouble: None,
        },
        Err(why) => Composed { trouble: Some(why.to_string()), ..Composed::default() },
    };
}
