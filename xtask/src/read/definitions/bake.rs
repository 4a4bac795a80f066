//! Pure: bake files to targets as `docker buildx bake --print` tells them (buildx, `bake/bake.go` and
//! `bake/hclparser`).
//!
//! In: files, each over the ones before, and the environment, which overrides variables. Out: the targets that the default
//! group reaches, or those that were named, with what they inherit.

mod eval;
mod file;
mod functions;
mod target;
mod value;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use eval::{Names, Scope};
use file::{BakeFile, Block, Named};
pub(super) use target::Target;
use value::Value;

use crate::model::Diagnostic;

/// What is built when nothing is named.
const DEFAULT: &str = "default";
/// What a file can use without anybody setting it.
const BUILT_IN: [(&str, &str); 2] = [("BAKE_CMD_CONTEXT", "cwd://"), ("BAKE_LOCAL_PLATFORM", "linux/amd64")];

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
    let globals = Globals { file: &all, environment, known: RefCell::default() };
    let project = Project::of(&globals, &mut baked.problems);
    let wanted = project.wanted(picks, &all, &mut baked.problems);
    for name in wanted {
        let mut resolved = project.resolve(&name, &mut BTreeSet::new());
        resolved.finish();
        baked.targets.push(resolved);
    }
    baked
}

/// Variables, functions and blocks by name.
struct Globals<'a> {
    file: &'a BakeFile,
    environment: &'a dyn Fn(&str) -> Option<String>,
    known: RefCell<BTreeMap<String, Value>>,
}

impl Globals<'_> {
    fn last<'f>(&'f self, kind: &str, label: &str) -> Option<&'f Block> {
        self.file.blocks.iter().rev().find(|block| block.kind == kind && block.label == label)
    }

    fn evaluate(&self, expression: &hcl_edit::expr::Expression, depth: usize) -> Result<Value, String> {
        Scope::new(self, Vec::new(), depth).value(expression)
    }

    /// A variable block: the environment, as the kind that its default has, else that default.
    fn declared(&self, name: &str, block: &Block, depth: usize) -> Result<Value, String> {
        let default = block.get("default").map(|default| self.evaluate(&default.value, depth)).transpose()?;
        let Some(text) = (self.environment)(name) else {
            return Ok(default.unwrap_or_else(|| Value::text("")));
        };
        let told = |why: String| format!("the variable {name} of the environment: {why}");
        let value = Value::text(text.clone());
        match default {
            Some(Value::Bool(_)) => value.to_bool().map(Value::Bool).map_err(told),
            Some(Value::Number(_)) => value.to_number().map(Value::Number).map_err(told),
            Some(Value::List(_)) => match serde_json::from_str(&text) {
                Ok(json @ serde_json::Value::Array(_)) => Ok(Value::of_json(&json)),
                _ => Ok(Value::List(text.split(',').map(Value::text).collect())),
            },
            Some(Value::Object(_)) => {
                let json: serde_json::Value =
                    serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
                Ok(Value::of_json(&json))
            }
            Some(Value::Text(_) | Value::Null) | None => Ok(value),
        }
    }
}

impl Names for Globals<'_> {
    fn variable(&self, name: &str, depth: usize) -> Result<Option<Value>, String> {
        if let Some(known) = self.known.borrow().get(name) {
            return Ok(Some(known.clone()));
        }
        let attribute = self.file.attributes.iter().rev().find(|attribute| attribute.name == name);
        let value = match (attribute, self.last("variable", name)) {
            (_, Some(block)) => self.declared(name, block, depth)?,
            (Some(attribute), None) => self.evaluate(&attribute.value, depth)?,
            (None, None) => {
                let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
                return Ok(built_in.map(|(_, value)| Value::text(*value)));
            }
        };
        self.known.borrow_mut().insert(name.to_owned(), value.clone());
        Ok(Some(value))
    }

    fn call(&self, name: &str, arguments: &[Value], depth: usize) -> Option<Result<Value, String>> {
        let block = self.last("function", name)?;
        let names = |key: &str| -> Vec<String> {
            let found = block.get(key).map(|named| file::in_string(&named.value));
            match found {
                Some(hcl_edit::expr::Expression::Array(items)) => {
                    items.iter().filter_map(param_name).collect()
                }
                Some(other) => param_name(&other).into_iter().collect(),
                None => Vec::new(),
            }
        };
        let params = names("params");
        let result = block.get("result")?;
        if arguments.len() < params.len() {
            return Some(Err(format!("takes {} arguments, and has {}", params.len(), arguments.len())));
        }
        let rest = arguments.get(params.len()..).unwrap_or_default().to_vec();
        let variadic = names("variadic_params").into_iter().map(|name| (name, Value::List(rest.clone())));
        let locals = params.into_iter().zip(arguments.iter().cloned()).chain(variadic).collect();
        Some(Scope::new(self, locals, depth).value(&file::in_string(&result.value)))
    }

    fn attribute(&self, path: &[&str], depth: usize) -> Option<Result<Value, String>> {
        let [kind @ ("target" | "group" | "variable"), label, name] = path else { return None };
        let blocks = self.file.blocks.iter().rev();
        let mut blocks = blocks.filter(|block| block.kind == *kind && block.label == *label);
        let found = blocks.find_map(|block| block.get(name))?;
        Some(self.evaluate(&found.value, depth))
    }
}

fn param_name(expression: &hcl_edit::expr::Expression) -> Option<String> {
    match expression {
        hcl_edit::expr::Expression::Variable(name) => Some(name.as_str().to_owned()),
        hcl_edit::expr::Expression::String(name) => Some(name.as_str().to_owned()),
        _ => None,
    }
}

/// Targets and groups by name, matrices taken apart, before anything is inherited.
#[derive(Default)]
struct Project {
    /// In the order in which they first stand in the files.
    names: Vec<String>,
    targets: BTreeMap<String, Target>,
    groups: BTreeMap<String, Vec<String>>,
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
                    let message = format!("there are no blocks `{other}` in bake files");
                    problems.push(block.error(message));
                }
            }
        }
        project
    }

    fn add_group(&mut self, globals: &Globals<'_>, block: &Block, problems: &mut Vec<Diagnostic>) {
        let Some(targets) = block.get("targets") else { return };
        match globals.evaluate(&targets.value, 0).and_then(|value| value.to_texts()) {
            Ok(names) => drop(self.groups.insert(block.label.clone(), names)),
            Err(why) => problems.push(targets.error(&why)),
        }
    }

    /// A target, or one for each row of its matrix.
    fn add_target(&mut self, globals: &Globals<'_>, block: &Block, problems: &mut Vec<Diagnostic>) {
        let rows = match block.get("matrix").map(|matrix| (matrix, rows(globals, matrix))) {
            None => vec![Vec::new()],
            Some((_, Ok(rows))) => rows,
            Some((matrix, Err(why))) => return problems.push(matrix.error(&why)),
        };
        let name_of = |locals: &[(String, Value)]| match block.get("name") {
            None if block.get("matrix").is_some() => {
                Err(block.error(format!("the target `{}` has a matrix and no `name`", block.label)))
            }
            None => Ok(block.label.clone()),
            Some(name) => {
                let value = Scope::new(globals, locals.to_vec(), 0).value(&name.value);
                value.and_then(|value| value.to_text()).map_err(|why| name.error(&why))
            }
        };
        for locals in rows {
            let name = match name_of(&locals) {
                Ok(name) => name,
                Err(problem) => return problems.push(problem),
            };
            let scope = Scope::new(globals, locals, 0);
            let upper = Target::of(&name, block, &scope);
            if block.label != name {
                let group = self.groups.entry(block.label.clone()).or_default();
                if !group.contains(&name) {
                    group.push(name.clone());
                }
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

    /// A target with what it inherits below it.
    fn resolve(&self, name: &str, trail: &mut BTreeSet<String>) -> Target {
        let Some(own) = self.targets.get(name) else { return Target::default() };
        let mut all = Target::default();
        if !trail.insert(name.to_owned()) {
            all.problems.push(own.error("`inherits` leads back to itself"));
            return all;
        }
        for parent in &own.inherits {
            if self.targets.contains_key(parent) {
                all.merge(self.resolve(parent, trail));
            } else {
                all.problems.push(own.error(&format!("there is no target `{parent}` to inherit from")));
            }
        }
        trail.remove(name);
        all.merge(own.clone());
        all
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
            picks => picks.to_vec(),
        };
        let mut found: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut queue: Vec<String> = start.into_iter().rev().collect();
        while let Some(name) = queue.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            // As for bake, a name is a group first, and a target of the same name is reached by it.
            match self.groups.get(&name) {
                Some(members) => {
                    queue.extend(members.iter().rev().cloned());
                    if members.contains(&name) && self.targets.contains_key(&name) {
                        found.push(name);
                    }
                }
                None if self.targets.contains_key(&name) => {
                    let linked = self.resolve(&name, &mut BTreeSet::new()).linked();
                    queue.extend(linked);
                    found.push(name);
                }
                None => problems.push(unknown(&name, file)),
            }
        }
        found
    }
}

fn unknown(name: &str, file: &BakeFile) -> Diagnostic {
    let by = file.blocks.iter().find(|block| {
        block.attributes.iter().any(|attribute| {
            matches!(attribute.name.as_str(), "targets" | "contexts")
                && format!("{}", DisplayOf(attribute)).contains(name)
        })
    });
    let labels = file.blocks.iter().filter(|block| matches!(block.kind.as_str(), "target" | "group"));
    let meant = crate::model::suggest::did_you_mean(name, labels.map(|block| block.label.as_str()));
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

/// The rows of a matrix: every combination of its values, the first name's values slowest.
fn rows(globals: &Globals<'_>, matrix: &Named) -> Result<Vec<Vec<(String, Value)>>, String> {
    let axes = globals.evaluate(&matrix.value, 0)?.to_object()?;
    let mut rows: Vec<Vec<(String, Value)>> = vec![Vec::new()];
    for (name, values) in axes {
        let values = values.to_list()?;
        let longer = rows.iter().flat_map(|row| {
            values.iter().map(|value| {
                let mut longer = row.clone();
                longer.push((name.clone(), value.clone()));
                longer
            })
        });
        rows = longer.collect();
        if rows.len() > 10_000 {
            return Err("has more rows than anything that a person writes".to_owned());
        }
    }
    Ok(rows)
}
