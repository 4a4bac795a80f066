//! Pure: bake files to targets as `docker buildx bake --print` tells them (buildx, `bake/bake.go` and
//! `bake/hclparser`).
//!
//! In: files, each over the ones before, and the environment, which overrides variables. Out: the targets that the default
//! group reaches, or those that were named, with what they inherit.

mod csv;
mod eval;
mod file;
mod functions;
mod globals;
mod number;
mod target;
mod template;
mod types;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use eval::Scope;
use file::{BakeFile, Block, Named};
use globals::Globals;
pub(super) use target::Target;
use value::Value;

use crate::model::Diagnostic;

/// What is built when nothing is named.
const DEFAULT: &str = "default";
/// How many targets may inherit through each other.
const MAX_DEPTH: usize = 200;

/// What files came to.
#[derive(Debug, Default)]
pub(super) struct Baked {
    /// In the order of the files.
    pub targets: Vec<Target>,
    /// What cannot be understood.
    pub problems: Vec<Diagnostic>,
}

/// Reads files, `(path, text)` each, later ones over earlier ones. `picks` are groups and targets; none is the default.
pub(super) fn bake(
    files: &[(String, String)],
    picks: &[String],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Baked {
    let mut baked = Baked::default();
    let mut all = BakeFile::default();
    for (path, text) in files {
        match file::parse(path, text) {
            Ok(parsed) => {
                all.blocks.extend(parsed.blocks);
                all.attributes.extend(parsed.attributes);
            }
            Err(problem) => baked.problems.push(problem),
        }
    }
    let globals = Globals::of(&all, environment);
    globals.validate(&mut baked.problems);
    let project = Project::of(&globals, &mut baked.problems);
    let wanted = project.wanted(picks, &all, &mut baked.problems);
    for name in wanted {
        if let Some(mut resolved) = project.resolve(&name, &mut BTreeMap::new(), 0) {
            resolved.finish();
            baked.targets.push(resolved);
        }
    }
    baked
}

/// Targets and groups by name, matrices taken apart, before anything is inherited.
#[derive(Default)]
struct Project {
    /// In the order in which they first stand in the files.
    names: Vec<String>,
    targets: BTreeMap<String, Target>,
    groups: BTreeMap<String, Vec<String>>,
    /// What is made of a label.
    renamed: BTreeMap<String, Vec<String>>,
}

impl Project {
    fn of(globals: &Globals<'_>, problems: &mut Vec<Diagnostic>) -> Self {
        let mut project = Self::default();
        for block in &globals.file.blocks {
            match block.kind.as_str() {
                "group" => project.add_group(globals, block, problems),
                "target" => project.add_target(globals, block, problems),
                "variable" | "function" => {}
                other => {
                    let message = format!("bake files have no blocks `{other}`: it says nothing");
                    problems.push(block.warning(message));
                }
            }
        }
        // What a matrix, or a name of its own, makes of a target is a group under the target's label.
        for (label, names) in std::mem::take(&mut project.renamed) {
            if names != [label.as_str()] {
                project.groups.entry(label).or_insert(names);
            }
        }
        project
    }

    fn add_group(&mut self, globals: &Globals<'_>, block: &Block, problems: &mut Vec<Diagnostic>) {
        let Some(targets) = block.get("targets") else { return };
        let names = globals.evaluate(&targets.value, 0).and_then(|value| match value {
            Value::Null => Ok(Vec::new()),
            value => value.to_texts(),
        });
        match names {
            Ok(names) => drop(self.groups.insert(block.label().to_owned(), names)),
            Err(why) => problems.push(targets.error(&why)),
        }
    }

    /// A target, or one for each row of its matrix.
    fn add_target(&mut self, globals: &Globals<'_>, block: &Block, problems: &mut Vec<Diagnostic>) {
        let rows = match globals.rows(block) {
            Ok(rows) => rows,
            Err(problem) => return problems.push(problem),
        };
        let names: BTreeSet<&String> = rows.iter().map(|(name, _)| name).collect();
        if names.len() < rows.len() {
            let message = format!("several rows of the matrix of `{}` have the same `name`", block.label());
            return problems.push(block.error(message));
        }
        let is_odd = |name: &&String| name.is_empty() || name.contains(|c: char| !is_of_name(c));
        if let Some(odd) = rows.iter().map(|(name, _)| name).find(is_odd) {
            let message = format!("`{odd}` is no name of a target: it takes letters, digits, `_` and `-`");
            return problems.push(block.error(message));
        }
        for (name, locals) in rows {
            let upper = Target::of(&name, block, &Scope::new(globals, locals, 0));
            let renamed = self.renamed.entry(block.label().to_owned()).or_default();
            if !renamed.contains(&name) {
                renamed.push(name.clone());
            }
            match self.targets.get_mut(&name) {
                Some(known) => known.merge(upper),
                None => {
                    self.names.push(name.clone());
                    self.targets.insert(name, upper);
                }
            }
        }
    }

    /// A target with what it inherits below it; none for one that is being looked at, as one that inherits from itself.
    /// `seen` has those that were looked at: however often one is inherited, that is done once.
    fn resolve(
        &self,
        name: &str,
        seen: &mut BTreeMap<String, Option<Target>>,
        depth: usize,
    ) -> Option<Target> {
        if let Some(known) = seen.get(name) {
            return known.clone();
        }
        let own = self.targets.get(name)?;
        let depth = depth + 1;
        if depth > MAX_DEPTH {
            let mut own = own.clone();
            own.problems.push(own.error("inherits through more targets than a person writes"));
            return Some(own);
        }
        seen.insert(name.to_owned(), None);
        let mut all = Target::default();
        for parent in &own.inherits {
            match self.resolve(parent, seen, depth) {
                Some(resolved) => all.merge(resolved),
                None if self.targets.contains_key(parent) => {}
                None => {
                    all.problems.push(own.error(&format!("there is no target `{parent}` to inherit from")));
                }
            }
        }
        all.merge(own.clone());
        all.inherits.clear();
        seen.insert(name.to_owned(), Some(all.clone()));
        Some(all)
    }

    /// The groups and targets that somebody names: a pattern stands for all that fit it, a dot for `_`.
    fn picked(&self, pick: &str) -> Vec<String> {
        let pick = pick.replace('.', "_");
        let pattern = globset::Glob::new(&pick).ok().filter(|_| pick.contains(['*', '?', '[']));
        let Some(pattern) = pattern.map(|pattern| pattern.compile_matcher()) else { return vec![pick] };
        let all = self.groups.keys().chain(&self.names);
        let found: Vec<String> = all.filter(|name| pattern.is_match(name)).cloned().collect();
        if found.is_empty() { vec![pick] } else { found }
    }

    /// The targets that are built, each once, those that others build on included.
    fn wanted(&self, picks: &[String], file: &BakeFile, problems: &mut Vec<Diagnostic>) -> Vec<String> {
        let default = vec![DEFAULT.to_owned()];
        let has_default = self.groups.contains_key(DEFAULT) || self.targets.contains_key(DEFAULT);
        let start = match picks {
            [] if has_default => default,
            // Nobody builds what only others inherit from.
            [] => {
                let inherited: BTreeSet<&String> =
                    self.targets.values().flat_map(|target| &target.inherits).collect();
                let is_own = |name: &&String| !name.starts_with('_') && !inherited.contains(name);
                self.names.iter().filter(is_own).cloned().collect()
            }
            picks => picks.iter().flat_map(|pick| self.picked(pick)).collect(),
        };
        let mut found: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut queue: Vec<String> = start.into_iter().rev().collect();
        while let Some(name) = queue.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            // As for bake, a name is a group first, and a target of the same name is reached by it.
            let members = self.groups.get(&name);
            queue.extend(members.iter().flat_map(|members| members.iter().rev().cloned()));
            if self.targets.contains_key(&name) && members.is_none_or(|members| members.contains(&name)) {
                let resolved = self.resolve(&name, &mut BTreeMap::new(), 0);
                queue.extend(resolved.iter().flat_map(Target::linked));
                found.push(name);
            } else if members.is_none() {
                problems.push(unknown(&name, file));
            }
        }
        found
    }
}

/// What names of targets are made of.
fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn unknown(name: &str, file: &BakeFile) -> Diagnostic {
    let by = file.blocks.iter().find(|block| {
        block.attributes.iter().any(|attribute| {
            matches!(attribute.name.as_str(), "targets" | "contexts")
                && format!("{}", DisplayOf(attribute)).contains(name)
        })
    });
    let labels = file.blocks.iter().filter(|block| matches!(block.kind.as_str(), "target" | "group"));
    let meant =
        crate::model::suggest::did_you_mean(name, labels.map(Block::label).filter(|label| *label != name));
    let message = format!("there is no target or group `{name}`{meant}");
    match by.or(file.blocks.first()) {
        Some(block) => block.error(message),
        None => Diagnostic::error("", 0, message),
    }
}

/// The text of an attribute.
struct DisplayOf<'a>(&'a Named);

impl std::fmt::Display for DisplayOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0.value, f)
    }
}
