//! Expands the settings' globs against the tree, part by part, so that only folders which can match are listed.
//!
//! As in a shell, wildcards match no hidden names. They match neither `node_modules` nor the root's own `target`.

use std::fs;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use crate::model::Diagnostic;

use super::listing::{self, EntryKind, NonUtf8Name, join};

/// The folders that a pattern names, relative to the root. Linked folders count.
pub(super) fn folders(root: &Path, pattern: &str, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    expand(root, pattern, Wanted::Folders, problems)
}

/// The files that a pattern names, relative to the root. Linked files count, those in linked folders do not.
pub(super) fn files(root: &Path, pattern: &str, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    expand(root, pattern, Wanted::Files, problems)
}

/// Matches what patterns name, and everything below folders that they name.
pub(super) fn below(patterns: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // The settings accept valid globs only.
        for whole in [pattern.clone(), format!("{pattern}/**")] {
            GlobBuilder::new(&whole).literal_separator(true).build().ok().map(|glob| set.add(glob));
        }
    }
    set.build().unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Folders,
    Files,
}

fn expand(root: &Path, pattern: &str, wanted: Wanted, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let mut expansion = Expansion { root, wanted, problems, found: Vec::new() };
    expansion.step(".", &parts);
    let mut found = expansion.found;
    found.sort();
    found.dedup();
    found
}

struct Expansion<'a> {
    root: &'a Path,
    wanted: Wanted,
    problems: &'a mut Vec<Diagnostic>,
    found: Vec<String>,
}

impl Expansion<'_> {
    fn step(&mut self, dir: &str, parts: &[&str]) {
        match parts {
            [] if self.wanted == Wanted::Folders && dir != "." => self.found.push(dir.to_owned()),
            [] => {}
            ["**", rest @ ..] => {
                self.step(dir, rest);
                for (path, kind) in self.entries(dir) {
                    match kind {
                        EntryKind::Directory => self.step(&path, parts),
                        // A trailing `**` means everything below.
                        _ if rest.is_empty() => self.take_file(path),
                        _ => {}
                    }
                }
            }
            [part, rest @ ..] => match matcher(part) {
                Some(matcher) => self.matching(dir, part, &matcher, rest),
                None => self.literal(&join(dir, part), rest),
            },
        }
    }

    fn literal(&mut self, path: &str, rest: &[&str]) {
        // What a pattern names and is not there is simply not there: a tree need not have base images.
        let Ok(metadata) = fs::metadata(self.root.join(path)) else { return };
        if metadata.is_dir() {
            self.step(path, rest);
        } else if rest.is_empty() {
            self.take_file(path.to_owned());
        }
    }

    fn matching(&mut self, dir: &str, part: &str, matcher: &GlobMatcher, rest: &[&str]) {
        for (path, kind) in self.entries(dir) {
            let name = path.rsplit('/').next().unwrap_or(&path);
            if !matcher.is_match(name) || (name.starts_with('.') && !part.starts_with('.')) {
                continue;
            }
            match kind {
                EntryKind::Directory => self.step(&path, rest),
                EntryKind::Symlink if self.wanted == Wanted::Folders => {
                    match fs::metadata(self.root.join(&path)) {
                        Ok(metadata) if metadata.is_dir() => self.step(&path, rest),
                        Ok(_) => {}
                        Err(error) => {
                            let message = format!("is a symlink that leads nowhere: {error}");
                            self.problems.push(Diagnostic::error(path, 0, message));
                        }
                    }
                }
                _ if rest.is_empty() => self.take_file(path),
                _ => {}
            }
        }
    }

    fn take_file(&mut self, path: String) {
        if self.wanted == Wanted::Files {
            self.found.push(path);
        }
    }

    /// What a wildcard may match in a folder.
    fn entries(&mut self, dir: &str) -> Vec<(String, EntryKind)> {
        match listing::top(self.root, dir, NonUtf8Name::Named, self.problems) {
            Ok(entries) => entries
                .into_iter()
                .filter(|entry| entry.path != ".git" && entry.path != "node_modules")
                .filter(|entry| dir != "." || entry.path != "target")
                .map(|entry| (join(dir, &entry.path), entry.kind))
                .collect(),
            Err(problem) => {
                self.problems.push(problem);
                Vec::new()
            }
        }
    }
}

/// Matches one part of a pattern; none when it has no wildcard.
fn matcher(part: &str) -> Option<GlobMatcher> {
    if !part.contains(['*', '?', '[', '{', '\\']) {
        return None;
    }
    // The settings accept valid globs only.
    GlobBuilder::new(part).literal_separator(true).build().ok().map(|glob| glob.compile_matcher())
}
