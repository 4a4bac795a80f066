//! Compose files to definitions: every `build` section of a project, whatever its profiles, as `docker compose config` tells
//! it and `docker compose build` names it (compose-spec, `build.md`).

use std::collections::HashSet;

use super::{Definition, Definitions, NamedFile, unreadable};
use crate::model::Diagnostic;
use crate::read::compose::{self, ComposeModel};
use crate::read::conf::folder_of;
use crate::read::yaml::{Node, Value};
use crate::settings::{Config, Secret, Ssh};

/// Keys of `build` that decide what is built, and are taken.
const TAKEN: [&str; 11] = [
    "context",
    "dockerfile",
    "dockerfile_inline",
    "args",
    "target",
    "additional_contexts",
    "tags",
    "platforms",
    "secrets",
    "ssh",
    "labels",
];
/// Keys that say how it is built, where its cache is, and what goes beside it.
const PASSED_OVER: [&str; 8] =
    ["network", "cache_from", "cache_to", "no_cache", "no_cache_filter", "pull", "provenance", "sbom"];

/// What the files of one project define.
pub(super) fn of(config: &Config, set: Vec<NamedFile>) -> Definitions {
    let mut found = Definitions::default();
    let mut paths: Vec<String> = set.into_iter().map(|file| file.path).collect();
    paths.retain(|path| match std::fs::metadata(config.root.join(path)) {
        Ok(_) => true,
        Err(error) => {
            found.problems.push(unreadable(path, &error));
            false
        }
    });
    if paths.is_empty() {
        return found;
    }
    compose::add_override(&config.root, &mut paths);
    // `.env` of the project's folder counts, and no other.
    let is_at_root = paths.first().is_some_and(|path| folder_of(path) == ".");
    let variable = |name: &str| match is_at_root {
        true => config.variable(name),
        false => config.env.get(name).map(str::to_owned),
    };
    let model = match compose::model(&config.root, &paths, &variable) {
        Ok(model) => model,
        Err(problem) => {
            found.problems.push(problem);
            return found;
        }
    };
    found.problems.extend(model.warnings.iter().cloned());
    for (name, service) in &model.services {
        if let Some(build) = service.get("build") {
            let build = compose::as_build(build.clone());
            found.images.push(of_service(config, &model, name, (service, &build)));
        }
    }
    found
}

fn of_service(
    config: &Config,
    model: &ComposeModel,
    name: &str,
    (service, build): (&Node, &Node),
) -> Definition {
    let mut definition = Definition {
        name: name.to_owned(),
        place: format!("{}:{}", service.file, service.line),
        file: service.file.clone(),
        line: service.line,
        ..Definition::default()
    };
    let mut reading = Reading { config, model, definition: &mut definition };
    let image = reading.text(service, "image").filter(|image| !image.is_empty());
    let image = image.unwrap_or_else(|| format!("{}-{name}", model.name));
    reading.definition.names.push(image);
    reading.build(build);
    if reading.definition.platforms.is_empty() {
        let platform = reading.text(service, "platform");
        definition.add_platforms(platform.into_iter().filter(|text| !text.is_empty()).collect());
    }
    definition
}

struct Reading<'a> {
    config: &'a Config,
    model: &'a ComposeModel,
    definition: &'a mut Definition,
}

impl Reading<'_> {
    fn said<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|problem| self.definition.problems.push(problem)).ok()
    }

    fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = node.get(key)?.text().map(str::to_owned);
        self.said(text)
    }

    /// The elements of a list of texts.
    fn texts(&mut self, node: &Node, key: &str) -> Vec<String> {
        let Some(list) = node.get(key) else { return Vec::new() };
        let mut seen = HashSet::new();
        let texts = list.items().iter().filter_map(|item| self.said(item.text().map(str::to_owned)));
        texts.filter(|text| seen.insert(text.clone())).collect()
    }

    /// Keys and values, of which some have none.
    fn pairs(&mut self, node: &Node, key: &str) -> Vec<(String, Option<String>)> {
        let Some(pairs) = node.get(key) else { return Vec::new() };
        let pairs = compose::as_mapping(pairs.clone());
        let mut found = Vec::new();
        for (name, node) in pairs.entries() {
            let value = if node.value == Value::Null {
                Ok(None)
            } else {
                node.text().map(|text| Some(text.to_owned()))
            };
            found.extend(self.said(value).map(|value| (name.clone(), value)));
        }
        found
    }

    fn build(&mut self, build: &Node) {
        for (key, node) in build.entries() {
            let is_known =
                TAKEN.contains(&key.as_str()) || PASSED_OVER.contains(&key.as_str()) || key.starts_with("x-");
            if !is_known && node.value != Value::Null {
                let message = format!("`{key}` is not taken over: builds go without it");
                self.definition.problems.push(node.warning(message));
            }
        }
        let config = self.config;
        let folder = self.model.folder.display().to_string();
        let context = self.text(build, "context").unwrap_or(folder);
        self.definition.place_context(config, ".", &context);
        let dockerfile = self.text(build, "dockerfile").filter(|path| !path.is_empty());
        let inline = self.text(build, "dockerfile_inline").filter(|text| !text.is_empty());
        if let (Some(_), Some(_)) = (&dockerfile, &inline) {
            let message = "has both `dockerfile` and `dockerfile_inline`";
            self.definition.problems.push(build.error(message));
        }
        let dockerfile = dockerfile.unwrap_or_else(|| "Dockerfile".to_owned());
        self.definition.place_dockerfile(config, &dockerfile, inline);
        self.definition.target = self.text(build, "target").filter(|target| !target.is_empty());
        self.definition.network = self.text(build, "network").filter(|network| !network.is_empty());
        for (name, value) in self.pairs(build, "args") {
            self.definition.args.extend(value.map(|value| (name, value)));
        }
        let labels = self.pairs(build, "labels");
        self.definition
            .labels
            .extend(labels.into_iter().map(|(name, value)| (name, value.unwrap_or_default())));
        let mut tags = self.texts(build, "tags");
        tags.retain(|tag| !self.definition.names.contains(tag));
        self.definition.names.extend(tags);
        let platforms = self.texts(build, "platforms");
        self.definition.add_platforms(platforms);
        for (name, value) in self.pairs(build, "additional_contexts") {
            let value = self.definition.placed_context(config, ".", &value.unwrap_or_default());
            self.definition.contexts.insert(name, value);
        }
        self.secrets(build);
        for (id, value) in self.pairs(build, "ssh") {
            self.definition.ssh.insert(id, Ssh::from(value.unwrap_or_default()));
        }
    }

    /// Secrets of the build, which name those of the project.
    fn secrets(&mut self, build: &Node) {
        for item in build.get("secrets").map(Node::items).unwrap_or_default() {
            let (source, id) = match item.value {
                Value::Map(_) => {
                    let source = self.text(item, "source").unwrap_or_default();
                    let id = self.text(item, "target").filter(|id| !id.is_empty());
                    let id = id.unwrap_or_else(|| source.clone());
                    (source, id)
                }
                _ => {
                    let text = item.text().map(str::to_owned);
                    let Some(source) = self.said(text) else { continue };
                    (source.clone(), source)
                }
            };
            let Some(secret) = self.model.secrets.get(&source) else {
                let message = format!("there is no secret `{source}` in the project");
                self.definition.problems.push(item.error(message));
                continue;
            };
            let place = match (self.text(secret, "file"), self.text(secret, "environment")) {
                (Some(file), _) => Secret::File(file.into()),
                (None, Some(name)) => Secret::Env(name),
                // As for compose itself.
                (None, None) if secret.get("external").is_some() => {
                    let message = format!("the secret `{source}` is external: builds go without it");
                    self.definition.problems.push(secret.warning(message));
                    continue;
                }
                (None, None) => {
                    let message = format!("the secret `{source}` is in no file and no variable");
                    self.definition.problems.push(secret.error(message));
                    continue;
                }
            };
            self.definition.secrets.insert(id, place);
        }
    }
}
