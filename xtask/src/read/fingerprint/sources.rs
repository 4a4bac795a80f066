//! EFFECT (folder listings): where the sources of COPY, ADD and bind mounts lead, symlinks followed as BuildKit does.
//!
//! In: what an instruction says. Out: a [`Trail`], and the diagnostic for a source that leads nowhere. The rules are
//! those of fsutil's `copy.Copy` (`ResolveWildcards`, `rootPath`): symlinks are followed on the way of a source and
//! where a source ends, always inside the context; those below a folder that is read stay symlinks, and a wildcard
//! does not look through them.

use super::files::Context;
use super::listing::{Entry, EntryKind, join};
use crate::model::{Diagnostic, InputKind, InputPattern};
use dockerfile::ignorefile::glob;
use dockerfile::inputs::{Selector, clean, matches_component};

/// Symlinks on the way of one source; more is a loop (Linux gives up at 40 as well).
const MAX_LINKS: usize = 40;

/// Where one source leads.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// Everything that is read, symlinks on the way included.
    pub patterns: Vec<InputPattern>,
    /// Symlinks on the way.
    links: Vec<String>,
    /// What the source matches in the end; empty for the whole context.
    ends: Vec<String>,
    /// It never ends.
    is_loop: bool,
}

/// A source, taken apart.
struct Source<'p> {
    /// Components without wildcards.
    fixed: Vec<&'p str>,
    /// Components from the first wildcard on.
    wild: Vec<&'p str>,
    /// `--parents`: what is taken below.
    include: Option<&'p str>,
}

impl<'p> Source<'p> {
    fn new(input: &'p InputPattern) -> Self {
        let (place, include) = match (input.parents, input.pattern.split_once("/./")) {
            (false, _) => (input.pattern.as_str(), None),
            (true, Some((place, include))) => (place, Some(include)),
            (true, None) => ("", Some(input.pattern.as_str())),
        };
        let mut fixed = clean(place);
        let has_wildcards = input.kind != InputKind::Bind;
        let first = fixed.iter().position(|component| has_wildcards && glob::is_wild(component));
        let wild = first.map(|at| fixed.split_off(at)).unwrap_or_default();
        Self { fixed, wild, include }
    }
}

impl Context<'_> {
    /// Follows one source.
    pub(super) fn trail(&self, input: &InputPattern) -> Trail {
        let source = Source::new(input);
        let mut trail = Trail::default();
        let place = self.enter(&source.fixed, &mut trail);
        let base = match &place {
            Some(base) => base.clone(),
            None => source.fixed.join("/"),
        };
        let mut pattern = literal(&base);
        for wild in &source.wild {
            pattern = join(&pattern, wild);
        }
        if let Some(include) = source.include {
            pattern = if pattern.is_empty() { include.to_owned() } else { format!("{pattern}/./{include}") };
        }
        trail.patterns.push(InputPattern { pattern, ..input.clone() });
        if place.is_some() {
            if source.wild.is_empty() {
                trail.ends.push(base);
            } else {
                self.expand(&base, &source.wild, input, &mut trail);
            }
        }
        let link = |path: &String| InputPattern {
            pattern: literal(path),
            excludes: Vec::new(),
            parents: false,
            ..input.clone()
        };
        trail.patterns.extend(trail.links.iter().map(link));
        trail
    }

    /// Adds what wildcards match. Symlinks are followed only where the whole pattern ends.
    fn expand(&self, base: &str, wild: &[&str], input: &InputPattern, trail: &mut Trail) {
        let Some((first, rest)) = wild.split_first() else { return };
        let listing = self.listing(base);
        for entry in listing.entries.iter().filter(|entry| matches_component(first, &entry.name)) {
            let path = join(base, &entry.name);
            match &entry.kind {
                EntryKind::Symlink(_) if rest.is_empty() => {
                    let components: Vec<&str> = path.split('/').collect();
                    if let Some(end) = self.enter(&components, trail) {
                        trail.patterns.push(InputPattern { pattern: literal(&end), ..input.clone() });
                        trail.ends.push(end);
                    }
                }
                _ if rest.is_empty() => trail.ends.push(path),
                EntryKind::Directory => self.expand(&path, rest, input, trail),
                _ => {}
            }
        }
    }

    /// Walks to a path as a process in the context would; none when there is nothing.
    fn enter(&self, components: &[&str], trail: &mut Trail) -> Option<String> {
        let mut path = String::new();
        let mut left: Vec<String> = components.iter().rev().map(|c| (*c).to_owned()).collect();
        let mut followed = 0;
        while let Some(component) = left.pop() {
            match component.as_str() {
                "" | "." => continue,
                ".." => {
                    path.truncate(path.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let listing = self.listing(&path);
            let next = join(&path, &component);
            match listing.find(&component)? {
                Entry { kind: EntryKind::Symlink(target), .. } => {
                    followed += 1;
                    if followed > MAX_LINKS {
                        trail.is_loop = true;
                        return None;
                    }
                    if target.starts_with('/') {
                        path.clear();
                    }
                    left.extend(target.split('/').rev().map(str::to_owned));
                    if !trail.links.contains(&next) {
                        trail.links.push(next);
                    }
                }
                Entry { kind: EntryKind::Directory, .. } => path = next,
                _ if left.iter().all(|c| matches!(c.as_str(), "" | ".")) => path = next,
                _ => return None,
            }
        }
        Some(path)
    }

    /// How many of the COPY and ADD sources have something to match here, and which have nothing. Sources that
    /// stand for the whole context tell nothing about where it lies and are left out.
    pub fn present_sources<'p>(&self, patterns: &'p [InputPattern]) -> (usize, Vec<&'p InputPattern>) {
        let mut present = 0;
        let mut absent = Vec::new();
        for pattern in patterns.iter().filter(|p| matches!(p.kind, InputKind::Copy | InputKind::Add)) {
            let mut source = Source::new(pattern);
            if let Some(include) = source.include {
                source.fixed.extend(clean(include).into_iter().take_while(|c| !glob::is_wild(c)));
            }
            if source.fixed.is_empty() && source.wild.is_empty() {
                continue;
            }
            let mut trail = Trail::default();
            let is_there = match self.enter(&source.fixed, &mut trail) {
                Some(_) if source.wild.is_empty() => true,
                Some(base) => {
                    self.expand(&base, &source.wild, pattern, &mut trail);
                    !trail.ends.is_empty()
                }
                None => false,
            };
            if is_there { present += 1 } else { absent.push(pattern) }
        }
        (present, absent)
    }

    /// What the builder would say of a source that matches nothing. `is_found` tells whether something is read.
    pub(super) fn unmatched(
        &self,
        input: &InputPattern,
        trail: &Trail,
        is_found: &dyn Fn(&Selector) -> bool,
    ) -> Option<Diagnostic> {
        if matches!(input.kind, InputKind::Declared | InputKind::Possible) {
            return None;
        }
        let what = match (instruction(input.kind), input.is_triggered) {
            (keyword, false) => format!("{keyword} source `{}`", input.pattern),
            (keyword, true) => format!("ONBUILD {keyword} of the base: its source `{}`", input.pattern),
        };
        if trail.is_loop {
            return Some(self.error(input.line, format!("{what} lies behind a loop of symlinks")));
        }
        let source = Source::new(input);
        if source.include.is_some() || trail.ends.is_empty() {
            if source.include.is_some() && is_found(&Selector::new(&trail.patterns)) {
                return None;
            }
            let place = if self.folder.is_empty() { "the root" } else { self.folder };
            let mut message = format!("{what} matches nothing in the context {place}");
            if let Some(link) = trail.links.last() {
                message.push_str(&format!(": the symlink {link} leads to nothing there"));
            }
            let plain = input.pattern.trim_start_matches("./").trim_start_matches('/');
            if let Some(why) = self.listings.why_not(&super::files::join_context(self.folder, plain)) {
                message.push_str(&format!(": {why}"));
            }
            return Some(self.unmatched_of(&source, input.line, message));
        }
        let hides = |path: &String| {
            let whole = InputPattern { pattern: literal(path), excludes: Vec::new(), ..input.clone() };
            // An ignored folder may hold something that is re-included.
            self.is_ignored(path) && !is_found(&Selector::new(&[whole]))
        };
        let hidden = match trail.links.iter().find(|link| source.wild.is_empty() && hides(link)) {
            Some(link) => link,
            None if trail.ends.iter().all(hides) => trail.ends.first()?,
            None => return None,
        };
        let (ignore, file) = self.ignore?;
        let rule = ignore.explain(hidden).map_or_else(
            || format!("rules of {file}"),
            |(line, rule)| format!("the rule `{rule}` at {file}:{line}"),
        );
        Some(self.unmatched_of(&source, input.line, format!("{what} is hidden by {rule}")))
    }

    /// The builder refuses a plain source that is not there, and takes a wildcard that matches nothing
    /// (`AllowEmptyWildcard` of its `dispatchCopy`).
    fn unmatched_of(&self, source: &Source<'_>, line: u32, message: String) -> Diagnostic {
        if source.wild.is_empty() && source.include.is_none() {
            self.error(line, message)
        } else {
            Diagnostic::warning(self.dockerfile, line, message)
        }
    }
}

fn instruction(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Copy => "COPY",
        InputKind::Add => "ADD",
        InputKind::Bind => "bind mount",
        InputKind::Declared => "declared",
        InputKind::Possible => "possible",
    }
}

/// The pattern that matches exactly this path.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
