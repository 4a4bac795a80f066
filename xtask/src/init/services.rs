//! Pure: which Dockerfiles are services, and the fewest globs that name them.
//!
//! A folder with a `Dockerfile` is a service. Other Dockerfiles beside it are variants of it, and those below it are of its
//! own affairs, the root apart. A folder with a Dockerfile further down counts as that Dockerfile's where its
//! neighbours are services. Dockerfiles of other names (`docker/Dockerfile.api`) are services of their own.

use std::collections::{BTreeMap, BTreeSet};

use globset::GlobBuilder;

use super::Found;
use crate::read::discover::{path_name, service_name};

/// The built-in value of `services`.
const DEFAULT: &str = "src/*";
/// The name of a folder's own Dockerfile.
const OWN: &str = "Dockerfile";
/// From so many globs in folders beside each other on, one names them all.
const MANY: usize = 3;
/// Of more than so many that lie differently deep one names every Dockerfile.
const TOO_MANY: usize = 8;
/// What a Dockerfile's own part says when it is the same service in another form.
const FORMS: [&str; 13] = [
    "dev",
    "development",
    "prod",
    "production",
    "debug",
    "test",
    "tests",
    "ci",
    "local",
    "release",
    "cypress",
    "base",
    "builder",
];

/// Where services lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Globs of folders and files; empty where there are no services.
    pub globs: Vec<String>,
    /// The service of each folder or Dockerfile that they name.
    pub services: BTreeMap<String, String>,
    /// Whether services are called by their paths, since folders are called the same over and over.
    pub by_path: bool,
    /// Dockerfiles that are no services of their own, and why.
    pub left: Vec<(String, &'static str)>,
}

impl Choice {
    /// Whether nothing has to be said.
    pub fn is_default(&self) -> bool {
        self.globs.is_empty() || self.globs == [DEFAULT]
    }

    /// Calls services by their paths where that keeps more of them apart.
    fn name(&mut self) {
        let is_nameless = |place: &String| place.is_empty();
        let by_path = self.services.iter().map(|(place, name)| match is_nameless(place) {
            true => (place.clone(), name.clone()),
            false => (place.clone(), path_name(place, &self.globs)),
        });
        let other = Self { services: by_path.collect(), by_path: true, ..Self::default() };
        if other.clashes().len() < self.clashes().len() {
            (self.services, self.by_path) = (other.services, true);
        }
    }

    /// Names that several folders have.
    pub fn clashes(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (place, name) in &self.services {
            by_name.entry(name).or_default().push(place);
        }
        by_name.retain(|_, places| places.len() > 1);
        by_name
    }
}

/// Chooses.
pub fn choose(found: &Found) -> Choice {
    let mut choice = Choice::default();
    let mut by_folder: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in found.dockerfiles.keys() {
        by_folder.entry(folder_of(path)).or_default().push(path);
    }
    let own: BTreeSet<&str> =
        by_folder.keys().copied().filter(|dir| found.dockerfiles.contains_key(&join(dir, OWN))).collect();
    let is_inside = |path: &str| {
        own.iter()
            .any(|dir| !dir.is_empty() && folder_of(path) != *dir && path.starts_with(&format!("{dir}/")))
    };
    let (mut folders, mut files) = (BTreeSet::new(), BTreeSet::new());
    for (dir, paths) in &by_folder {
        for path in paths {
            if is_inside(path) {
                choice.left.push(((*path).to_owned(), "inside of another service's folder"));
            } else if name_of(path) == OWN {
                folders.insert((*dir).to_owned());
            } else if own.contains(dir) || is_form(path) {
                choice.left.push((
                    (*path).to_owned(),
                    "a variant: in the folder's service.toml `dockerfile = \"…\"` takes it, and an `[[image]]` with \
                     `file = \"…\"` for each makes images of both",
                ));
            } else if found.dockerfiles.get(*path).is_some_and(|file| file.is_open) {
                choice.left.push(((*path).to_owned(), "a tool: build args say what it is built on"));
            } else {
                files.insert((*path).to_owned());
            }
        }
    }
    let folders = raise(folders, &by_folder);
    choice.services.extend(folders.iter().map(|dir| (dir.clone(), service_name(&join(dir, OWN)))));
    choice.services.extend(files.iter().map(|path| (path.clone(), service_name(path))));
    choice.globs = folder_globs(&folders, found);
    choice.globs.extend(file_globs(&files));
    choice.name();
    choice
}

/// `src/cart` for `src/cart/src`, where other services lie directly in `src` and nothing else is in `src/cart`.
fn raise(folders: BTreeSet<String>, by_folder: &BTreeMap<&str, Vec<&str>>) -> BTreeSet<String> {
    let parents = count(folders.iter().map(|dir| folder_of(dir).to_owned()));
    let files_below = |dir: &str| {
        by_folder
            .iter()
            .filter(|(at, _)| at.starts_with(&format!("{dir}/")))
            .map(|(_, paths)| paths.iter().filter(|path| name_of(path) == OWN).count())
            .sum::<usize>()
    };
    let raised = |dir: String| {
        if parents.get(folder_of(&dir)).copied().unwrap_or_default() > 1 || dir.is_empty() {
            return dir;
        }
        let above = ancestors(&dir).find(|above| {
            let neighbours = parents.get(folder_of(above)).copied().unwrap_or_default();
            neighbours > 0 && !folder_of(above).is_empty() && files_below(above) == 1
        });
        above.map_or_else(|| dir.clone(), str::to_owned)
    };
    folders.into_iter().map(raised).collect()
}

/// Folders above, the nearest first, without the root.
fn ancestors(dir: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(folder_of(dir)), |dir| Some(folder_of(dir))).take_while(|dir| !dir.is_empty())
}

fn folder_globs(folders: &BTreeSet<String>, found: &Found) -> Vec<String> {
    let parents = count(folders.iter().map(|dir| folder_of(dir).to_owned()));
    let unwanted: Vec<&str> =
        found.aside.iter().filter(|path| name_of(path) == OWN).map(|path| folder_of(path)).collect();
    let is_clean = |glob: &str| !unwanted.iter().any(|dir| matches(glob, dir));
    let glob_of = |dir: &String| {
        let parent = folder_of(dir);
        let all = join(parent, "*");
        let enough = if parent.is_empty() { 8 } else { 1 };
        let is_usual = all == DEFAULT;
        if is_clean(&all) && (parents[parent] > enough || is_usual) { all } else { spelled(dir) }
    };
    let globs: BTreeSet<String> = folders.iter().map(glob_of).collect();
    widen(globs, folders, found).into_iter().collect()
}

/// One glob for many, from the highest folder on that has them: `a/*/*` where they lie equally deep, else `a/**/Dockerfile`.
fn widen(mut globs: BTreeSet<String>, folders: &BTreeSet<String>, found: &Found) -> BTreeSet<String> {
    let mut tops: Vec<&str> = folders.iter().flat_map(|dir| ancestors(dir)).chain([""]).collect();
    tops.sort_by_key(|dir| (depth(dir), *dir));
    tops.dedup();
    for top in tops {
        let below: Vec<&String> = globs.iter().filter(|glob| is_below(glob, top)).collect();
        let mut by_depth: BTreeMap<usize, Vec<&String>> = BTreeMap::new();
        below.iter().for_each(|glob| by_depth.entry(depth(glob)).or_default().push(glob));
        let is_of_many = |globs: &[&String]| globs.iter().filter(|glob| glob.ends_with("/*")).count() >= MANY;
        let deep = by_depth.iter().filter(|(at, globs)| **at >= depth(top) + 2 && is_of_many(globs));
        let stars = deep.map(|(at, globs)| (join(top, &vec!["*"; at - depth(top)].join("/")), globs.clone()));
        let every = (by_depth.len() > 1 && below.len() > TOO_MANY)
            .then(|| (join(top, &format!("**/{OWN}")), below.clone()));
        let candidates = every.into_iter().chain(stars);
        let wide = candidates
            .filter(|(_, globs)| is_highest(top, globs))
            .find(|(wide, _)| names_no_other(wide, folders, found));
        if let Some((wide, covered)) = wide {
            let covered: BTreeSet<String> = covered.into_iter().cloned().collect();
            globs = globs.difference(&covered).cloned().collect();
            globs.insert(wide);
        }
    }
    globs
}

/// Whether no folder further down has all of them.
fn is_highest(top: &str, globs: &[&String]) -> bool {
    let next = |glob: &&String| {
        folder_of(glob)[top.len()..].trim_start_matches('/').split('/').next().map(str::to_owned)
    };
    let mut firsts = globs.iter().map(next);
    let first = firsts.next().flatten();
    first.as_deref() == Some("") || firsts.any(|other| other != first)
}

/// Whether a wide glob names these folders alone: others with a Dockerfile in them or further down would be services too.
fn names_no_other(glob: &str, folders: &BTreeSet<String>, found: &Found) -> bool {
    let others = |path: &String| {
        let of_file = matches(glob, path).then(|| folder_of(path));
        let above = std::iter::once(folder_of(path)).chain(ancestors(folder_of(path)));
        let mut named = above.filter(|dir| matches(glob, dir)).chain(of_file);
        named.any(|dir| !folders.contains(dir))
    };
    !found.dockerfiles.keys().chain(&found.aside).any(others)
}

fn is_below(path: &str, dir: &str) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

fn file_globs(files: &BTreeSet<String>) -> Vec<String> {
    let form = |path: &String| {
        let (dir, name) = (folder_of(path), name_of(path));
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("dockerfile.") {
            join(dir, &format!("{}*", &name[.."dockerfile.".len()]))
        } else {
            join(dir, &format!("*{}", &name[name.len() - ".dockerfile".len().min(name.len())..]))
        }
    };
    let forms = count(files.iter().map(form));
    let chosen: BTreeSet<String> =
        files.iter().map(|path| if forms[&form(path)] > 1 { form(path) } else { path.clone() }).collect();
    chosen.into_iter().collect()
}

fn is_form(path: &str) -> bool {
    FORMS.contains(&service_name(path).as_str()) && folder_of(path).rsplit('/').next() != Some("docker")
}

fn count(items: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    items.for_each(|item| *counted.entry(item).or_default() += 1);
    counted
}

fn matches(glob: &str, path: &str) -> bool {
    let built = GlobBuilder::new(glob).literal_separator(true).build();
    built.is_ok_and(|built| built.compile_matcher().is_match(path))
}

/// A folder as a glob that names it alone.
fn spelled(dir: &str) -> String {
    if dir.is_empty() {
        return ".".to_owned();
    }
    dir.chars().flat_map(|c| if "*?[]{}".contains(c) { vec!['[', c, ']'] } else { vec![c] }).collect()
}

/// The folder of a path; the root's is empty.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}
