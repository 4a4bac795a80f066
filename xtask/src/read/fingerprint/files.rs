//! EFFECT: the files of a build context that the instructions can read, hashed.
//!
//! In: folder listings, what the instructions read, the ignore rules. Out: sorted entries for the builder, their
//! digest for the key, and diagnostics for what cannot be read. Decides nothing about builds.

use std::io::Read as _;
use std::sync::Arc;
use std::time::SystemTime;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::cache::{HashCache, Sha};
use super::listing::{Entry, EntryKind, Folder, GivenFile, Listings, join};
use super::sources::Trail;
use crate::model::{
    ContextFile, ContextFileKind, ContextFiles, Diagnostic, Digest, InputKind, InputPattern, sha256,
};
use dockerfile::ignorefile::IgnoreFile;
use dockerfile::inputs::Selector;

/// Set-user-ID, set-group-ID, sticky.
const SPECIAL: u32 = 0o7000;

/// A context and the rules for reading it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Folder listings of the tree.
    pub listings: &'a Listings,
    /// The context folder, relative to the root; empty for the root.
    pub folder: &'a str,
    /// What the ignore file hides, and its path for messages.
    pub ignore: Option<(&'a IgnoreFile, &'a str)>,
    /// The Dockerfile's path, for diagnostics.
    pub dockerfile: &'a str,
    /// A file at its top that lies elsewhere.
    pub given: Option<&'a Arc<GivenFile>>,
}

struct Found {
    path: String,
    entry: Entry,
    counts: bool,
}

/// What is read of a context.
struct Reads {
    /// All of it.
    all: Selector,
    /// Without what only a trigger may read that nobody knows yet: it is no trouble if it cannot be had.
    surely: Selector,
    /// What keeps the permission bits that it has here; none if all does.
    with_mode: Option<Selector>,
}

impl Reads {
    fn of(patterns: Vec<InputPattern>) -> Self {
        let those = |wanted: fn(&InputPattern) -> bool| {
            Selector::new(&patterns.iter().filter(|p| wanted(p)).cloned().collect::<Vec<_>>())
        };
        Self {
            surely: those(|pattern| pattern.kind != InputKind::Possible),
            with_mode: patterns.iter().any(|p| p.sets_mode).then(|| those(|pattern| !pattern.sets_mode)),
            all: Selector::new(&patterns),
        }
    }
}

impl Context<'_> {
    /// Everything that `patterns` read, hashed. What cannot be read is a diagnostic of severity error.
    pub fn select(&self, patterns: &[InputPattern], hashes: &HashCache) -> (ContextFiles, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let trails: Vec<Trail> = patterns.iter().map(|pattern| self.trail(pattern)).collect();
        let reads = Reads::of(trails.iter().flat_map(|trail| trail.patterns.iter().cloned()).collect());
        let mut found = Vec::new();
        self.walk("", &reads, &mut found, &mut diagnostics);
        let is_found = |selector: &Selector| found.iter().any(|f| f.counts && selector.reads(&f.path));
        for (pattern, trail) in patterns.iter().zip(&trails) {
            diagnostics.extend(self.unmatched(pattern, trail, &is_found));
        }
        let hashed: Vec<Result<(ContextFile, bool), Option<Diagnostic>>> =
            found.into_par_iter().with_min_len(32).map(|f| self.hash(f, &reads, hashes)).collect();
        let mut entries = Vec::with_capacity(hashed.len());
        for result in hashed {
            match result {
                Ok(entry) => entries.push(entry),
                Err(diagnostic) => diagnostics.extend(diagnostic),
            }
        }
        (ContextFiles::new(entries), diagnostics)
    }

    fn walk(&self, folder: &str, reading: &Reads, found: &mut Vec<Found>, diagnostics: &mut Vec<Diagnostic>) {
        let (selector, listing) = (&reading.all, self.listing(folder));
        if let Some(why) = listing.unreadable.as_ref().filter(|_| reading.surely.walks(folder)) {
            let path = if folder.is_empty() { "." } else { folder };
            diagnostics.push(self.error(0, format!("cannot read the folder {path} of the context: {why}")));
        }
        for (name, why) in &listing.problems {
            let path = join(folder, name);
            if reading.surely.reads(&path) && !self.is_ignored(&path) {
                diagnostics.push(self.error(0, format!("cannot take {path} of the context: {why}")));
            }
        }
        for entry in &listing.entries {
            let path = join(folder, &entry.name);
            let reads = selector.reads(&path);
            match &entry.kind {
                EntryKind::Directory => {
                    if !reads && !selector.walks(&path) {
                        continue;
                    }
                    let ignored = self.is_ignored(&path);
                    if ignored && self.can_prune(&path) {
                        continue;
                    }
                    let at = found.len();
                    found.push(Found { path: path.clone(), entry: entry.clone(), counts: reads });
                    self.walk(&path, reading, found, diagnostics);
                    // A folder that is only on the way to something, or ignored but for something below it, is
                    // there only if that is.
                    if (!reads || ignored) && found.len() == at + 1 {
                        found.truncate(at);
                    }
                }
                _ if reads && !self.is_ignored(&path) => {
                    found.push(Found { path, entry: entry.clone(), counts: true });
                }
                _ => {}
            }
        }
    }

    /// What cannot be read is a diagnostic where it surely is.
    fn hash(
        &self,
        found: Found,
        reads: &Reads,
        hashes: &HashCache,
    ) -> Result<(ContextFile, bool), Option<Diagnostic>> {
        let Found { path, entry, counts } = found;
        let keeps_mode = !counts || reads.with_mode.as_ref().is_none_or(|with_mode| with_mode.reads(&path));
        let mode = match &entry.kind {
            _ if keeps_mode => entry.mode,
            EntryKind::Symlink(_) | EntryKind::Broken(_) => entry.mode,
            // Older builders keep the special bits all the same (20.10).
            EntryKind::Directory => entry.mode & SPECIAL | 0o755,
            EntryKind::File(_) | EntryKind::Pending(_) | EntryKind::Given(_) => entry.mode & SPECIAL | 0o644,
        };
        let kind = match &entry.kind {
            EntryKind::Directory => ContextFileKind::Directory,
            EntryKind::Symlink(target) => ContextFileKind::Symlink { target: target.clone() },
            EntryKind::Pending(text) => {
                ContextFileKind::File { size: text.len() as u64, digest: sha256(text.as_bytes()) }
            }
            EntryKind::Broken(why) => return Err(Some(why.as_ref().clone())),
            EntryKind::Given(given) => {
                // Whoever gives a file that nobody has seen yet makes no key of it.
                let digest = given.digest.clone().unwrap_or_else(|| Digest::from_sha256(&[0; 32]));
                let kind = ContextFileKind::File { size: given.size, digest };
                return Ok((ContextFile { path, mode, kind, source: given.source.clone() }, counts));
            }
            EntryKind::File(stamp) => {
                let full = join_context(self.folder, &path);
                let (folder, name) = full.rsplit_once('/').unwrap_or(("", &full));
                let sha = match hashes.get(folder, name, stamp) {
                    Some(sha) => sha,
                    None => {
                        let when = SystemTime::now();
                        let sha = hash_file(&self.listings.root().join(&full)).map_err(|error| {
                            let is_sure = reads.surely.reads(&path);
                            is_sure.then(|| self.error(0, unreadable(&path, &error)))
                        })?;
                        hashes.put(folder, name, *stamp, sha, when);
                        sha
                    }
                };
                ContextFileKind::File { size: stamp.size, digest: Digest::from_sha256(&sha) }
            }
        };
        Ok((ContextFile { path, mode, kind, source: None }, counts))
    }

    /// What a folder of the context holds.
    pub(super) fn listing(&self, folder: &str) -> Arc<Folder> {
        let listing = self.listings.folder(&join_context(self.folder, folder));
        match self.given {
            Some(given) if folder.is_empty() => Arc::new(listing.with(given)),
            _ => listing,
        }
    }

    pub(super) fn is_ignored(&self, path: &str) -> bool {
        self.given.is_none_or(|given| given.name != path)
            && self.ignore.is_some_and(|(ignore, _)| ignore.is_ignored(path))
    }

    fn can_prune(&self, path: &str) -> bool {
        self.ignore.is_some_and(|(ignore, _)| ignore.can_prune(path))
    }

    pub(super) fn error(&self, line: u32, message: String) -> Diagnostic {
        Diagnostic::error(self.dockerfile, line, message)
    }
}

/// A path of the context, relative to the root.
pub(super) fn join_context(context: &str, path: &str) -> String {
    match (context, path) {
        (context, "") => context.to_owned(),
        ("", path) => path.to_owned(),
        (context, path) => format!("{context}/{path}"),
    }
}

fn unreadable(path: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{path} of the context vanished while it was read; run the command again")
        }
        _ => format!("cannot read {path} of the context: {error}"),
    }
}

fn hash_file(path: &std::path::Path) -> std::io::Result<Sha> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestTree;

    #[test]
    fn a_file_that_vanishes_while_it_is_read_is_named() {
        let tree = TestTree::new("//- d/gone\n1\n//- d/here\n1\n");
        let listings = Listings::new(&tree.root(), Default::default(), Default::default());
        assert_eq!(listings.folder("d").entries.len(), 2);
        std::fs::remove_file(tree.root().join("d/gone")).unwrap();
        let context =
            Context { listings: &listings, folder: "", ignore: None, dockerfile: "Dockerfile", given: None };
        let all = InputPattern::new(".", 1, InputKind::Copy);
        let (files, said) = context.select(&[all], &HashCache::in_memory());
        let said: Vec<String> = said.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["error: Dockerfile: d/gone of the context vanished while it was read; run the command again"]
        );
        assert_eq!(files.inputs().collect::<Vec<_>>(), ["d/here"]);
    }
}
