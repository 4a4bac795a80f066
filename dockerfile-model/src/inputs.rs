//! Which paths of a build context the sources of COPY, ADD and bind mounts read.
//!
//! In: [`InputPattern`]s and paths relative to the context, with `/`. Out: read or not, what has to be walked, and
//! which pattern matches nothing. The rules are those of BuildKit's `dispatchCopy` and of
//! github.com/tonistiigi/fsutil `copy` (`ResolveWildcards`, include and exclude patterns). Must not touch files:
//! the walk, symlinks included, stands on top of this.

use crate::InputPattern;
use crate::ignorefile::{IgnoreFile, glob};

/// All that some patterns read.
#[derive(Clone, Debug)]
pub struct Selector {
    sources: Vec<Source>,
    reads_everything: bool,
}

#[derive(Clone, Debug)]
struct Source {
    /// Components without wildcards.
    root: String,
    /// Components from the first one with a wildcard on.
    wild: Vec<String>,
    /// `--parents`: what is taken below the root, with `**`.
    include: Option<IgnoreFile>,
    /// `--exclude`, relative to what the pattern matches.
    exclude: Option<IgnoreFile>,
}

impl Selector {
    /// What `patterns` read together.
    pub fn new(patterns: &[InputPattern]) -> Self {
        let sources: Vec<Source> = patterns.iter().map(Source::new).collect();
        let reads_everything = sources.iter().any(Source::reads_everything);
        Self { sources, reads_everything }
    }

    /// Folders or files, without wildcards, below which everything lies that may be read; the empty one is the
    /// whole context. None lies below another.
    pub fn roots(&self) -> Vec<&str> {
        let mut roots: Vec<&str> = self.sources.iter().map(|source| source.root.as_str()).collect();
        roots.sort_unstable();
        let mut kept: Vec<&str> = Vec::with_capacity(roots.len());
        for root in roots {
            if !kept.iter().any(|above| below(above, root).is_some()) {
                kept.push(root);
            }
        }
        kept
    }

    /// Whether `path`, a file or a folder, is read.
    pub fn reads(&self, path: &str) -> bool {
        self.reads_everything || self.sources.iter().any(|source| source.reads(path))
    }

    /// Whether something below the folder `path` may be read, so it has to be walked.
    pub fn walks(&self, path: &str) -> bool {
        self.reads_everything || self.sources.iter().any(|source| source.walks(path))
    }
}

/// Whether one component of a pattern matches one name (`filepath.Match`); a malformed one matches nothing.
pub fn matches_component(pattern: &str, name: &str) -> bool {
    glob::matches(pattern, name).unwrap_or(false)
}

impl Source {
    fn new(input: &InputPattern) -> Self {
        let (place, include) = match (input.parents, input.pattern.split_once("/./")) {
            (false, _) => (input.pattern.as_str(), None),
            (true, Some((place, include))) => (place, Some(include)),
            (true, None) => ("/", Some(input.pattern.as_str())),
        };
        let components = clean(place);
        let literal = components.iter().take_while(|component| !glob::is_wild(component)).count();
        let (root, wild) = components.split_at(literal);
        let include = include.map(|include| clean(include).join("/")).filter(|include| !include.is_empty());
        let excludes = input.excludes.iter().map(String::as_str);
        Self {
            root: root.join("/"),
            wild: wild.iter().map(|component| (*component).to_owned()).collect(),
            include: include.map(|include| IgnoreFile::from_patterns([include.as_str()])),
            exclude: Some(IgnoreFile::from_patterns(excludes)).filter(|exclude| !exclude.is_empty()),
        }
    }

    fn is_context(&self) -> bool {
        self.root.is_empty() && self.wild.is_empty() && self.include.is_none()
    }

    fn reads_everything(&self) -> bool {
        self.is_context() && self.exclude.is_none()
    }

    fn reads(&self, path: &str) -> bool {
        let Some(rest) = below(&self.root, path) else { return false };
        let Some(rest) = self.below_wild(rest) else { return false };
        // What the pattern itself matches is taken whatever the other patterns say.
        if rest.is_empty() {
            return self.include.is_none();
        }
        let is_included = self.include.as_ref().is_none_or(|include| include.is_ignored(rest));
        is_included && !self.exclude.as_ref().is_some_and(|exclude| exclude.is_ignored(rest))
    }

    /// What is left of `path` below the wildcards; none when they do not match.
    fn below_wild<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut rest = path;
        for pattern in &self.wild {
            let (name, after) = rest.split_once('/').unwrap_or((rest, ""));
            if name.is_empty() || !matches_component(pattern, name) {
                return None;
            }
            rest = after;
        }
        Some(rest)
    }

    fn walks(&self, folder: &str) -> bool {
        // On the way to the root, or below it as far as the wildcards match.
        let Some(mut rest) = below(&self.root, folder) else { return below(folder, &self.root).is_some() };
        for pattern in &self.wild {
            if rest.is_empty() {
                return true;
            }
            let (name, after) = rest.split_once('/').unwrap_or((rest, ""));
            if !matches_component(pattern, name) {
                return false;
            }
            rest = after;
        }
        rest.is_empty() || !self.exclude.as_ref().is_some_and(|exclude| exclude.can_prune(rest))
    }
}

/// What is left of `path` below `folder`; none when it lies elsewhere.
fn below<'p>(folder: &str, path: &'p str) -> Option<&'p str> {
    if folder.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// The components of a source below the context, cleaned as BuildKit cleans them: `/a/../b/.` is `b`, and nothing
/// climbs out; none is the whole context.
pub fn clean(pattern: &str) -> Vec<&str> {
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
