//! Dockerfiles below a folder of services that has none itself: one stands for it, of several somebody has to choose.

use std::path::Path;

use walkdir::WalkDir;

use super::listing::is_skipped;
use super::{DOCKERFILE, Wanted};
use crate::model::{Diagnostic, relative};
use crate::read::conf::{SERVICE_TOML, folder_of};
use crate::read::template::Syntax;

/// How deep below the folder is looked.
const NEAR: usize = 4;
/// Folders whose Dockerfiles are seldom what a service is made of; no such one is taken unasked.
const ASIDE: [&str; 8] = ["e2e", "example", "examples", "test", "testdata", "tests", "third_party", "vendor"];
/// Ends of names that somebody kept.
pub(super) const KEPT: [&str; 6] = ["backup", "bak", "orig", "old", "dockerignore", "tpl.backup"];
/// As many are named where somebody has to choose.
const NAMED: usize = 4;

/// What is below a folder.
pub(super) enum Nested {
    /// Nothing that looks like a Dockerfile.
    Nothing,
    /// The Dockerfile that stands for the folder, relative to the root.
    Dockerfile(String),
    /// The folder is no service, and why that is worth a word.
    Unclear(Diagnostic),
}

/// Looks below a folder that has no Dockerfile, but not into folders that are `known` by themselves.
pub(super) fn look(root: &Path, dir: &str, wanted: &Wanted, known: impl Fn(&str) -> bool) -> Nested {
    if dir == "." {
        return Nested::Unclear(Diagnostic::warning(
            dir,
            0,
            format!("the root has no {DOCKERFILE}, so it is no service"),
        ));
    }
    let (mut whole, mut further) = (Vec::new(), Vec::new());
    for path in files_near(root, dir, known) {
        let (folder, name) = path.rsplit_once('/').unwrap_or((dir, &path));
        let is_aside = || relative(dir, folder).split('/').any(|part| ASIDE.contains(&part));
        match name {
            DOCKERFILE | "Dockerfile.tpl" if folder != dir && !is_aside() => {
                let is_claimed = name == DOCKERFILE || wanted.claim(&path).is_some();
                let path = format!("{folder}/{DOCKERFILE}");
                if is_claimed && whole.last() != Some(&path) {
                    whole.push(path);
                }
            }
            DOCKERFILE | "Dockerfile.tpl" | "Containerfile" => further.push(path),
            _ if name.strip_prefix("Dockerfile.").is_some_and(|end| !KEPT.contains(&end)) => {
                further.push(path);
            }
            _ => {}
        }
    }
    let has_own = further.iter().any(|path| folder_of(path) == dir);
    match (whole.as_slice(), further.first()) {
        ([only], _) if !has_own => Nested::Dockerfile(only.clone()),
        ([], None) => Nested::Nothing,
        ([], Some(path)) => Nested::Unclear(one_further(dir, path)),
        _ => {
            whole.extend(further.into_iter().filter(|path| folder_of(path) == dir));
            Nested::Unclear(several(dir, &whole))
        }
    }
}

/// All files at small depth, relative to the root.
fn files_near(root: &Path, dir: &str, known: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
    let below = move |path: &Path| path.strip_prefix(root).ok()?.to_str().map(str::to_owned);
    let walk = WalkDir::new(root.join(dir)).min_depth(1).max_depth(NEAR).sort_by_file_name().into_iter();
    let walk = walk.filter_entry(move |entry| {
        let is_hidden = |name: &str| name.starts_with('.') || is_skipped(name);
        let is_known = || entry.file_type().is_dir() && below(entry.path()).is_some_and(|path| known(&path));
        !entry.file_name().to_str().is_none_or(is_hidden) && !is_known()
    });
    walk.flatten().filter(|entry| entry.file_type().is_file()).filter_map(move |entry| below(entry.path()))
}

/// A file of another name, or one that seldom is meant.
fn one_further(dir: &str, path: &str) -> Diagnostic {
    let cure = match Syntax::of(path) {
        Some(_) => String::new(),
        None => format!(": `dockerfile = \"{}\"` in {dir}/{SERVICE_TOML} says so", relative(dir, path)),
    };
    let message = format!(
        "has no {DOCKERFILE}, so it is no service and nothing of it is built; {path} may be meant{cure}"
    );
    Diagnostic::warning(dir, 0, message)
}

fn several(dir: &str, paths: &[String]) -> Diagnostic {
    let named: Vec<&str> = paths.iter().take(NAMED).map(String::as_str).collect();
    let more = match paths.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first = relative(dir, paths.first().map_or(dir, String::as_str));
    let message = format!(
        "has no {DOCKERFILE} and several below it, so it is no service and nothing of it is built: {}{more}; \
         `dockerfile = \"{first}\"` in {dir}/{SERVICE_TOML} picks one, `[[image]]` with a `file` each takes several",
        named.join(", ")
    );
    Diagnostic::warning(dir, 0, message)
}
