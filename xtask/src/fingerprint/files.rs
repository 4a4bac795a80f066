//! EFFECT: the files of a build context that the instructions can read, hashed.
//!
//! In: folder listings, what the instructions read, the ignore rules. Out: sorted entries for the builder, their
//! digest for the key, and diagnostics for what cannot be read. Decides nothing about builds.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::time::SystemTime;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::cache::{HashCache, Sha};
use super::listing::{Entry, EntryKind, Listings, join};
use crate::dockerfile::inputs::Selector;
use crate::ignorefile::IgnoreFile;
use crate::model::{ContextFile, ContextFileKind, ContextFiles, Diagnostic, Digest, InputKind, InputPattern};

/// Symlinks in the path of one source; more is a loop (Linux gives up at 40 as well).
const MAX_LINKS: usize = 40;

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
}

struct Found {
    path: String,
    entry: Entry,
    counts: bool,
}

impl Context<'_> {
    /// Everything that `patterns` read, hashed. What cannot be read is a diagnostic of severity error.
    pub fn select(&self, patterns: &[InputPattern], hashes: &HashCache) -> (ContextFiles, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let mut patterns = Cow::Borrowed(patterns);
        self.follow_links(&mut patterns, &mut diagnostics);
        let selector = Selector::new(&patterns);
        let mut found = Vec::new();

        self.walk("", &selector, &mut found, &mut diagnostics);
        self.report_unmatched(&patterns, &found, &mut diagnostics);
        let hashed: Vec<Result<(ContextFile, bool), Diagnostic>> =
            found.into_par_iter().with_min_len(32).map(|f| self.hash(f, hashes)).collect();
        let mut entries = Vec::with_capacity(hashed.len());
        for result in hashed {
            match result {
                Ok(entry) => entries.push(entry),
                Err(diagnostic) => diagnostics.push(diagnostic),
            }
        }
        (ContextFiles::new(entries), diagnostics)
    }

    /// How many of the COPY and ADD sources have something to match here, and which have nothing. Sources that
    /// stand for the whole context tell nothing about where it lies and are left out.
    pub fn present_sources<'p>(&self, patterns: &'p [InputPattern]) -> (usize, Vec<&'p InputPattern>) {
        let mut present = 0;
        let mut absent = Vec::new();
        for pattern in patterns.iter().filter(|p| matches!(p.kind, InputKind::Copy | InputKind::Add)) {
            let components = clean(&pattern.pattern);
            if components.is_empty() {
                continue;
            }
            if self.exists("", &components) { present += 1 } else { absent.push(pattern) }
        }
        (present, absent)
    }

    fn exists(&self, folder: &str, components: &[&str]) -> bool {
        let Some((first, rest)) = components.split_first() else { return true };
        let listing = self.listings.folder(&join_context(self.folder, folder));
        let matches = |entry: &Entry| {
            let path = join(folder, &entry.name);
            match &entry.kind {
                _ if rest.is_empty() => true,
                EntryKind::Directory | EntryKind::Symlink(_) => self.exists(&path, rest),
                EntryKind::File(_) | EntryKind::Pending(_) => false,
            }
        };
        if first.contains(['*', '?', '[', '\\']) {
            listing
                .entries
                .iter()
                .any(|e| crate::dockerfile::inputs::matches_component(first, &e.name) && matches(e))
        } else {
            listing.find(first).is_some_and(matches)
        }
    }

    fn walk(
        &self,
        folder: &str,
        selector: &Selector,
        found: &mut Vec<Found>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let listing = self.listings.folder(&join_context(self.folder, folder));
        if let Some(why) = &listing.unreadable {
            let path = if folder.is_empty() { "." } else { folder };
            diagnostics.push(self.error(0, format!("cannot read the folder {path} of the context: {why}")));
        }
        for (name, why) in &listing.problems {
            let path = join(folder, name);
            if selector.reads(&path) && !self.is_ignored(&path) {
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
                    let counts = reads && !ignored;
                    found.push(Found { path: path.clone(), entry: entry.clone(), counts });
                    self.walk(&path, selector, found, diagnostics);
                    // A folder that is only on the way to something is sent only if there is something.
                    if !counts && found.len() == at + 1 {
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

    /// BuildKit follows a source that is a symlink, or lies behind one, inside the context (fsutil
    /// `FollowLinks`): what it leads to is read as well.
    fn follow_links(&self, patterns: &mut Cow<'_, [InputPattern]>, diagnostics: &mut Vec<Diagnostic>) {
        let mut seen = BTreeSet::new();
        let mut queue: Vec<(InputPattern, usize)> = patterns.iter().map(|p| (p.clone(), 0)).collect();
        while let Some((pattern, links)) = queue.pop() {
            let components = clean(&pattern.pattern);
            for target in self.links_on("", &components) {
                if links >= MAX_LINKS {
                    diagnostics.push(self.error(
                        pattern.line,
                        format!("the source `{}` lies behind a loop of symlinks", pattern.pattern),
                    ));
                    break;
                }
                if seen.insert(target.clone()) {
                    let followed = InputPattern { pattern: target, ..pattern.clone() };
                    patterns.to_mut().push(followed.clone());
                    queue.push((followed, links + 1));
                }
            }
        }
    }

    /// Where the symlinks on the way of a source lead, as patterns of their own.
    fn links_on(&self, folder: &str, components: &[&str]) -> Vec<String> {
        let Some((first, rest)) = components.split_first() else { return Vec::new() };
        let listing = self.listings.folder(&join_context(self.folder, folder));
        let is_wild = first.contains(['*', '?', '[', '\\']);
        let one;
        let entries: &[Entry] = if is_wild {
            &listing.entries
        } else {
            one = listing.find(first).cloned();
            one.as_slice()
        };
        let mut targets = Vec::new();
        for entry in entries {
            if is_wild && !crate::dockerfile::inputs::matches_component(first, &entry.name) {
                continue;
            }
            match &entry.kind {
                EntryKind::Symlink(target) => {
                    let resolved = resolve_link(folder, target);
                    let mut pattern: Vec<&str> = resolved.split('/').filter(|c| !c.is_empty()).collect();
                    pattern.extend(rest);
                    targets.push(if pattern.is_empty() { ".".to_owned() } else { pattern.join("/") });
                    targets.push(join(folder, &entry.name));
                }
                EntryKind::Directory if !rest.is_empty() => {
                    targets.extend(self.links_on(&join(folder, &entry.name), rest));
                }
                _ => {}
            }
        }
        targets
    }

    fn report_unmatched(
        &self,
        patterns: &[InputPattern],
        found: &[Found],
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for pattern in patterns {
            let components = clean(&pattern.pattern);
            if components.is_empty() || pattern.kind == InputKind::Declared {
                continue;
            }
            let selector = Selector::new(std::slice::from_ref(pattern));
            if found.iter().any(|f| f.counts && selector.reads(&f.path)) {
                continue;
            }
            // A symlink's own target was added as a pattern; only what the file says is reported.
            if !self.exists("", &components) {
                // A wildcard that matches nothing is an error for BuildKit too, unless another source matches.
                let place = if self.folder.is_empty() { "the root" } else { self.folder };
                diagnostics.push(self.error(
                    pattern.line,
                    format!(
                        "{} source `{}` matches nothing in the context {place}",
                        instruction(pattern.kind),
                        pattern.pattern
                    ),
                ));
            } else if let Some((ignore, file)) = self.ignore {
                let hidden = ignore.explain(&components.join("/"));
                let rule = hidden.map_or_else(
                    || format!("rules of {file}"),
                    |(line, rule)| format!("the rule `{rule}` at {file}:{line}"),
                );
                diagnostics.push(self.error(
                    pattern.line,
                    format!("{} source `{}` is hidden by {rule}", instruction(pattern.kind), pattern.pattern),
                ));
            }
        }
    }

    fn hash(&self, found: Found, hashes: &HashCache) -> Result<(ContextFile, bool), Diagnostic> {
        let Found { path, entry, counts } = found;
        let mode = entry.mode;
        let kind = match &entry.kind {
            EntryKind::Directory => ContextFileKind::Directory,
            EntryKind::Symlink(target) => ContextFileKind::Symlink { target: target.clone() },
            EntryKind::Pending(text) => ContextFileKind::File {
                size: text.len() as u64,
                digest: Digest::from_sha256(&Sha256::digest(text.as_bytes()).into()),
            },
            EntryKind::File(stamp) => {
                let full = join_context(self.folder, &path);
                let (folder, name) = full.rsplit_once('/').unwrap_or(("", &full));
                let sha = match hashes.get(folder, name, stamp) {
                    Some(sha) => sha,
                    None => {
                        let when = SystemTime::now();
                        let sha = hash_file(&self.listings.root().join(&full)).map_err(|error| {
                            self.error(0, format!("cannot read {path} of the context: {error}"))
                        })?;
                        hashes.put(folder, name, *stamp, sha, when);
                        sha
                    }
                };
                ContextFileKind::File { size: stamp.size, digest: Digest::from_sha256(&sha) }
            }
        };
        Ok((ContextFile { path, mode, kind }, counts))
    }

    fn is_ignored(&self, path: &str) -> bool {
        self.ignore.is_some_and(|(ignore, _)| ignore.is_ignored(path))
    }

    fn can_prune(&self, path: &str) -> bool {
        self.ignore.is_some_and(|(ignore, _)| ignore.can_prune(path))
    }

    fn error(&self, line: u32, message: String) -> Diagnostic {
        Diagnostic::error(self.dockerfile, line, message)
    }
}

fn instruction(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Copy => "COPY",
        InputKind::Add => "ADD",
        InputKind::Bind => "bind mount",
        InputKind::Declared => "declared",
    }
}

/// A source's components, cleaned as BuildKit cleans it: `/a/../b/.` is `b`; none is the whole context.
fn clean(pattern: &str) -> Vec<&str> {
    let mut components = Vec::new();
    for component in pattern.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            other => components.push(other),
        }
    }
    components
}

/// Where a symlink in `folder` leads, as a path of the context; a target that climbs out stops at its root.
fn resolve_link(folder: &str, target: &str) -> String {
    let from = if target.starts_with('/') { String::new() } else { folder.to_owned() };
    let joined = format!("{from}/{target}");
    clean(&joined).join("/")
}

fn join_context(context: &str, path: &str) -> String {
    match (context, path) {
        (context, "") => context.to_owned(),
        ("", path) => path.to_owned(),
        (context, path) => format!("{context}/{path}"),
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
