//! Pure: one target, its attributes evaluated, and how one goes over another (buildx, `Target.Merge` in `bake/bake.go`).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::eval::Scope;
use super::file::{Block, Named};
use super::value::Value;
use crate::model::Diagnostic;

/// What a target says. None is what it says nothing of.
#[derive(Clone, Debug, Default)]
pub(in crate::read::definitions) struct Target {
    pub name: String,
    pub file: Arc<str>,
    pub line: u32,
    pub inherits: Vec<String>,
    pub context: Option<String>,
    pub dockerfile: Option<String>,
    pub dockerfile_inline: Option<String>,
    pub target: Option<String>,
    pub network: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub contexts: BTreeMap<String, String>,
    pub tags: Option<Vec<String>>,
    pub platforms: Option<Vec<String>>,
    /// As `--secret` has them.
    pub secrets: Vec<String>,
    /// As `--ssh` has them.
    pub ssh: Vec<String>,
    /// What cannot be understood.
    pub problems: Vec<Diagnostic>,
}

impl Target {
    /// What a block says.
    pub(super) fn of(name: &str, block: &Block, scope: &Scope<'_>) -> Self {
        let mut target =
            Self { name: name.to_owned(), file: block.file.clone(), line: block.line, ..Self::default() };
        for attribute in &block.attributes {
            if let Err(why) = target.take(attribute, scope) {
                target.problems.push(attribute.error(&why));
            }
        }
        for inner in &block.blocks {
            target
                .problems
                .push(inner.warning(format!("targets have no blocks `{}`: it says nothing", inner.kind)));
        }
        target
    }

    pub(super) fn error(&self, message: &str) -> Diagnostic {
        Diagnostic::error(&*self.file, self.line, message)
    }

    fn take(&mut self, attribute: &Named, scope: &Scope<'_>) -> Result<(), String> {
        let value = || scope.value(&attribute.value);
        let text = || match value()? {
            Value::Null => Ok(None),
            value => value.to_text().map(Some),
        };
        let texts = || match value()? {
            Value::Null => Ok(None),
            value => value.to_texts().map(Some),
        };
        // `null` leaves what others say.
        let map = || -> Result<BTreeMap<String, String>, String> {
            let entries = match value()? {
                Value::Null => return Ok(BTreeMap::new()),
                value => value.to_object()?,
            };
            let said = entries.into_iter().filter(|(_, value)| *value != Value::Null);
            said.map(|(key, value)| Ok((key, value.to_text()?))).collect()
        };
        match attribute.name.as_str() {
            "inherits" => self.inherits = texts()?.unwrap_or_default(),
            "context" => self.context = text()?,
            "dockerfile" => self.dockerfile = text()?,
            "dockerfile-inline" => self.dockerfile_inline = text()?,
            "target" => self.target = text()?,
            "network" => self.network = text()?,
            "args" => self.args = map()?,
            "labels" => self.labels = map()?,
            "contexts" => self.contexts = map()?,
            "tags" => self.tags = texts()?,
            "platforms" => self.platforms = texts()?,
            "secret" => self.secrets = mounts(&value()?, &["id", "src", "env"])?,
            "ssh" => self.ssh = agents(&value()?)?,
            // What does not change what is in the image, or what is taken elsewhere.
            "name" | "matrix" | "description" | "output" | "cache-from" | "cache-to" | "no-cache"
            | "no-cache-filter" | "pull" | "attest" | "call" | "annotations" => {}
            "shm-size" | "ulimits" | "entitlements" | "extra-hosts" => {
                self.problems.push(attribute.warning("is not taken over: builds go without it"));
            }
            _ => self.problems.push(attribute.warning("is no attribute of targets: it says nothing")),
        }
        Ok(())
    }

    /// Another one over it.
    pub(super) fn merge(&mut self, upper: Self) {
        fn over<T>(lower: &mut Option<T>, upper: Option<T>) {
            if upper.is_some() {
                *lower = upper;
            }
        }
        (self.name, self.file, self.line) = (upper.name, upper.file, upper.line);
        self.inherits.extend(upper.inherits);
        over(&mut self.context, upper.context);
        over(&mut self.dockerfile, upper.dockerfile);
        over(&mut self.dockerfile_inline, upper.dockerfile_inline);
        over(&mut self.target, upper.target);
        over(&mut self.network, upper.network);
        over(&mut self.tags, upper.tags);
        over(&mut self.platforms, upper.platforms);
        self.args.extend(upper.args);
        self.labels.extend(upper.labels);
        self.contexts.extend(upper.contexts);
        let new = |known: &[String], more: Vec<String>| -> Vec<String> {
            more.into_iter().filter(|one| !known.contains(one)).collect()
        };
        let (secrets, ssh) = (new(&self.secrets, upper.secrets), new(&self.ssh, upper.ssh));
        self.secrets.extend(secrets);
        self.ssh.extend(ssh);
        for problem in upper.problems {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    /// What holds where nobody says anything; what is empty or said twice goes.
    pub(super) fn finish(&mut self) {
        self.contexts.retain(|_, context| !context.is_empty());
        for list in [&mut self.tags, &mut self.platforms].into_iter().flatten() {
            let mut seen = HashSet::new();
            list.retain(|one| !one.is_empty() && seen.insert(one.clone()));
        }
        self.context.get_or_insert_with(|| ".".to_owned());
        self.dockerfile = self.dockerfile.take().filter(|path| !path.is_empty());
        if self.dockerfile_inline.is_none() {
            self.dockerfile.get_or_insert_with(|| "Dockerfile".to_owned());
        }
        for text in [&mut self.target, &mut self.network] {
            *text = text.take().filter(|text| !text.is_empty());
        }
    }

    /// Whether targets have an attribute of this name, which they need not have said.
    pub(super) fn knows(name: &str) -> bool {
        const NAMES: [&str; 15] = [
            "args",
            "annotations",
            "attest",
            "context",
            "contexts",
            "description",
            "dockerfile",
            "dockerfile-inline",
            "inherits",
            "labels",
            "network",
            "platforms",
            "secret",
            "tags",
            "target",
        ];
        NAMES.contains(&name)
    }

    /// The targets whose results it builds on.
    pub(super) fn linked(&self) -> Vec<String> {
        self.contexts
            .values()
            .filter_map(|context| context.strip_prefix("target:"))
            .map(str::to_owned)
            .collect()
    }
}

/// `id=ID,src=FILE` in each, whether written so or as an object.
fn mounts(value: &Value, keys: &[&str]) -> Result<Vec<String>, String> {
    let items = match value {
        Value::Null => return Ok(Vec::new()),
        value => value.to_list()?,
    };
    let one = |item: &Value| match item {
        Value::Object(entries) => {
            let said = keys.iter().filter_map(|key| Some((key, entries.get(*key)?)));
            let said = said.filter(|(_, value)| **value != Value::Null);
            let parts = said.map(|(key, value)| Ok(format!("{key}={}", value.to_text()?)));
            parts.collect::<Result<Vec<_>, String>>().map(|parts| parts.join(","))
        }
        other => other.to_text(),
    };
    items.iter().filter(|item| **item != Value::text("")).map(one).collect()
}

/// `ID[=PATH,…]` in each.
fn agents(value: &Value) -> Result<Vec<String>, String> {
    let items = match value {
        Value::Null => return Ok(Vec::new()),
        value => value.to_list()?,
    };
    let one = |item: &Value| match item {
        Value::Object(entries) => {
            let id = entries.get("id").map_or(Ok("default".to_owned()), Value::to_text)?;
            let paths = entries.get("paths").map_or(Ok(Vec::new()), Value::to_texts)?;
            Ok(if paths.is_empty() { id } else { format!("{id}={}", paths.join(",")) })
        }
        other => other.to_text(),
    };
    items.iter().filter(|item| **item != Value::text("")).map(one).collect()
}
