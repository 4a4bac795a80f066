//! Pure: what one compose file says of its services, as far as images and builds go.
//!
//! In: its text and the variables, which are replaced as compose does it. Out: services and what the file includes, as it
//! stands; `compose.rs` puts several files together.

use std::collections::BTreeMap;
use std::path::Path;

use super::merge;
use crate::model::Diagnostic;
use crate::read::yaml::{self, Node, NodeTag, Value};
use crate::settings::interpolate::interpolate;

/// What of a service counts here.
const KEPT: [&str; 4] = ["image", "build", "extends", "platform"];
/// Where a path is not one of this machine.
const ELSEWHERE: [&str; 3] = ["git@", "github.com/", "service:"];

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct ComposeFile {
    /// By name.
    pub services: BTreeMap<String, Node>,
    /// Those of files before it do not count.
    pub replaces_services: bool,
    /// By name.
    pub secrets: BTreeMap<String, Node>,
    /// In order.
    pub includes: Vec<Include>,
}

/// `extends`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extends {
    /// Without one, the same file.
    pub file: Option<String>,
    pub service: String,
    /// Where it stands.
    pub line: u32,
}

/// `include`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Include {
    /// The first one, and what overrides it.
    pub paths: Vec<String>,
    pub project_directory: Option<String>,
    /// Without any, `.env` in the project's folder.
    pub env_files: Vec<String>,
}

/// Values of variables.
pub(super) type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Reads a compose file; `path` is its name in messages. Of services only some keys are kept, with their variables
/// replaced.
///
/// # Errors
/// Text that is no YAML of this form, a variable that an `include` asks for with `?` and that is missing.
pub(super) fn parse(path: &str, text: &str, variable: &Variables<'_>) -> Result<ComposeFile, Diagnostic> {
    let replace = |text: &str| interpolate(text, variable);
    let mut file = ComposeFile::default();
    for document in yaml::parse(path, text)? {
        if !matches!(document.value, Value::Map(_) | Value::Null) {
            return Err(document.error("is no compose file: it is no mapping"));
        }
        let is_tagged = |(key, node): &(String, Node)| key == "services" && node.tag.is_some();
        file.replaces_services |= document.entries().iter().any(is_tagged);
        for (name, service) in section(&document, "services")? {
            let mut service = kept(service)?;
            service.replace(&replace);
            // A tag is about other files, too.
            let service = match file.services.remove(name) {
                Some(lower) if service.tag.is_none() => merge::service(Some(lower), service),
                _ => service,
            };
            file.services.insert(name.clone(), service);
        }
        for (name, secret) in section(&document, "secrets")? {
            let mut secret = secret.clone();
            secret.replace(&replace);
            file.secrets.insert(name.clone(), secret);
        }
        for include in document.get("include").map(Node::items).unwrap_or_default() {
            let mut include = include.clone();
            include.replace(&|text| replace(text).map_err(|why| format!("`include`: {why}")));
            file.includes.push(read_include(&include)?);
        }
    }
    Ok(file)
}

fn section<'d>(document: &'d Node, key: &str) -> Result<&'d [(String, Node)], Diagnostic> {
    match document.get(key) {
        None => Ok(&[]),
        Some(node) if matches!(node.value, Value::Map(_)) => Ok(node.entries()),
        Some(node) => Err(node.error(format!("`{key}` is a mapping"))),
    }
}

fn kept(service: &Node) -> Result<Node, Diagnostic> {
    match &service.value {
        Value::Null => Ok(service.with(Value::Map(Vec::new()))),
        Value::Map(entries) => {
            let kept = entries.iter().filter(|(key, _)| KEPT.contains(&key.as_str())).cloned().collect();
            Ok(service.with(Value::Map(kept)))
        }
        _ => Err(service.error("a service is a mapping")),
    }
}

/// A build arg that is nothing but a name has the value of the environment, if that has any.
pub(super) fn fill_args(service: &mut Node, variable: &Variables<'_>) {
    let Value::Map(entries) = &mut service.value else { return };
    for (_, build) in entries.iter_mut().filter(|(key, _)| key == "build") {
        let Value::Map(entries) = &mut build.value else { continue };
        for (_, args) in entries.iter_mut().filter(|(key, _)| key == "args") {
            *args = merge::as_mapping(args.clone());
            let Value::Map(args) = &mut args.value else { continue };
            for (name, arg) in
                args.iter_mut().filter(|(_, arg)| arg.value == Value::Null && arg.tag.is_none())
            {
                arg.value = variable(name).map_or(Value::Null, Value::Text);
            }
        }
    }
}

/// What a file calls the project. One that cannot be read says nothing here.
pub(super) fn project_name(text: &str, variable: &Variables<'_>) -> Option<String> {
    let documents = yaml::parse("", text).ok()?;
    let name = documents.iter().rev().find_map(|document| document.get("name"))?;
    interpolate(name.text().ok()?, variable).ok().filter(|name| !name.is_empty())
}

/// What a service begins with.
///
/// # Errors
/// It is neither a name nor a mapping with one.
pub(super) fn extends(name: &str, service: &Node) -> Result<Option<Extends>, Diagnostic> {
    let Some(extends) = service.get("extends") else { return Ok(None) };
    let told = |found: Diagnostic| Diagnostic {
        message: format!("`extends` of `{name}`: {}", found.message),
        ..found
    };
    let text = |node: &Node| node.text().map(str::to_owned).map_err(told);
    let line = extends.line;
    if !matches!(extends.value, Value::Map(_)) {
        return Ok(Some(Extends { file: None, service: text(extends)?, line }));
    }
    let service = extends.get("service").ok_or_else(|| told(extends.error("names no service")))?;
    let file = extends.get("file").map(text).transpose()?;
    Ok(Some(Extends { file, service: text(service)?, line }))
}

fn read_include(include: &Node) -> Result<Include, Diagnostic> {
    let text = |node: &Node| node.text().map(str::to_owned);
    let texts = |node: &Node| match node.value {
        Value::List(_) => node.items().iter().map(text).collect(),
        _ => Ok(vec![text(node)?]),
    };
    if !matches!(include.value, Value::Map(_)) {
        return Ok(Include { paths: texts(include)?, ..Include::default() });
    }
    let path = include.get("path").ok_or_else(|| include.error("`include` names no path"))?;
    Ok(Include {
        paths: texts(path)?,
        project_directory: include.get("project_directory").map(text).transpose()?,
        env_files: include.get("env_file").map(texts).transpose()?.unwrap_or_default(),
    })
}

/// Paths of a service's build as they are seen from anywhere: below `folder`, where they are relative.
pub(super) fn place_paths(service: &mut Node, folder: &Path, variable: &Variables<'_>) {
    let Value::Map(entries) = &mut service.value else { return };
    for (_, build) in entries.iter_mut().filter(|(key, _)| key == "build") {
        place(build, folder, variable);
        let Value::Map(entries) = &mut build.value else { continue };
        for (key, node) in entries {
            match (key.as_str(), &mut node.value) {
                ("context", _) => place(node, folder, variable),
                ("additional_contexts" | "ssh", Value::Map(paths)) => {
                    paths.iter_mut().for_each(|(_, node)| place(node, folder, variable));
                }
                ("additional_contexts" | "ssh", Value::List(items)) => {
                    for item in items {
                        let Value::Text(text) = &item.value else { continue };
                        let Some((name, value)) = text.split_once('=') else { continue };
                        let mut value = item.with(Value::Text(value.to_owned()));
                        place(&mut value, folder, variable);
                        if let Value::Text(value) = value.value {
                            item.value = Value::Text(format!("{name}={value}"));
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// A build that names no context has the folder of its project, which is another one for files that are included.
pub(super) fn default_context(service: &mut Node, folder: &Path) {
    let Value::Map(entries) = &mut service.value else { return };
    for (_, build) in entries.iter_mut().filter(|(key, _)| key == "build") {
        let context = build.with(Value::Text(folder.display().to_string()));
        if let Value::Map(entries) = &mut build.value
            && !entries.iter().any(|(key, _)| key == "context")
        {
            entries.push(("context".to_owned(), Node { tag: None, ..context }));
        }
    }
}

/// The same for the file of a secret.
pub(super) fn place_file(secret: &mut Node, folder: &Path, variable: &Variables<'_>) {
    let Value::Map(entries) = &mut secret.value else { return };
    entries.iter_mut().filter(|(key, _)| key == "file").for_each(|(_, node)| place(node, folder, variable));
}

fn place(node: &mut Node, folder: &Path, variable: &Variables<'_>) {
    if node.tag == Some(NodeTag::Reset) {
        return;
    }
    let Value::Text(text) = &node.value else { return };
    let path = match text.strip_prefix('~') {
        _ if is_elsewhere(text) => return,
        Some(rest) => Path::new(&variable("HOME").unwrap_or_default()).join(rest.trim_start_matches('/')),
        None => folder.join(text),
    };
    node.value = Value::Text(super::clean(&path).display().to_string());
}

/// Whether a context is none of this machine's folders.
pub fn is_elsewhere(context: &str) -> bool {
    context.contains("://") || ELSEWHERE.iter().any(|start| context.starts_with(start))
}
