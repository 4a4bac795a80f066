//! EFFECT: reads the compose files that belong together, as compose itself puts them together (compose-go's `cli` and
//! `loader` packages): the files that it finds or that are named, each over the ones before, with what they `include`
//! and `extends`. `project/cases/` has trees with what `docker compose config` makes of them.

mod file;
mod merge;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use self::file::{ComposeFile, Extends, Include, Variables};
use crate::model::{Diagnostic, Reference};
use crate::read::yaml::{self, Node, NodeTag, Value};
use crate::settings::dotenv::Dotenv;

pub use file::is_elsewhere;
pub use merge::{as_build, as_mapping};

/// Where compose looks for its file, the first one that exists counting.
const FILE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// What goes over it when it was found that way.
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];
/// Names the files, in the environment or in `.env`.
const COMPOSE_FILE: &str = "COMPOSE_FILE";
/// Names the project, and is known in every file.
const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";
/// How many steps files and services may lead through each other.
const MAX_TRAIL: usize = 100;
/// What stands between them.
const SEPARATOR: &str = "COMPOSE_PATH_SEPARATOR";

/// What compose files that belong together describe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComposeProject {
    /// The files that compose has to be given; none where it finds them itself.
    pub named: Vec<String>,
    /// All files that were read, relative to the root; the first one stands for all.
    pub files: Vec<String>,
    /// By name.
    pub services: Vec<ComposeService>,
    /// What was not looked at.
    pub warnings: Vec<Diagnostic>,
}

impl ComposeProject {
    /// What it is called in messages.
    pub fn name(&self) -> &str {
        self.files.first().map_or("compose", String::as_str)
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeService {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub image: Option<Reference>,
    /// Where its `image` stands: `compose.yaml:3`; empty without one.
    pub place: String,
    /// Compose may build it itself.
    pub builds: bool,
}

/// The files that compose takes at the root when it is told of none; empty when there are none.
pub fn found(root: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    if let Some(named) = variable(COMPOSE_FILE).filter(|named| !named.is_empty()) {
        let separator = variable(SEPARATOR).filter(|separator| !separator.is_empty());
        return named.split(separator.as_deref().unwrap_or(":")).map(str::to_owned).collect();
    }
    let first =
        |names: [&str; 4]| names.into_iter().find(|name| root.join(name).is_file()).map(str::to_owned);
    match first(FILE_NAMES) {
        Some(file) => std::iter::once(file).chain(first(OVERRIDE_NAMES)).collect(),
        None => Vec::new(),
    }
}

/// Adds what compose would put over a file that it finds by itself, where nothing else is named.
pub fn add_override(root: &Path, paths: &mut Vec<String>) {
    let [only] = paths.as_slice() else { return };
    let (folder, name) = only.rsplit_once('/').map_or(("", only.as_str()), |(folder, name)| (folder, name));
    if !FILE_NAMES.contains(&name) {
        return;
    }
    let beside = OVERRIDE_NAMES.iter().map(|name| match folder {
        "" => (*name).to_owned(),
        folder => format!("{folder}/{name}"),
    });
    let found: Vec<String> = beside.filter(|path| root.join(path).is_file()).take(1).collect();
    paths.extend(found);
}

/// All that files say of services, put together.
#[derive(Clone, Debug, Default)]
pub struct ComposeModel {
    /// What the project is called.
    pub name: String,
    /// The folder that paths are relative to.
    pub folder: PathBuf,
    /// All files that were read, relative to the root; the first one stands for all.
    pub files: Vec<String>,
    /// By name, with the keys that matter for images: `image`, `build` and `platform`. Paths are absolute.
    pub services: BTreeMap<String, Node>,
    /// Secrets of the project, by name.
    pub secrets: BTreeMap<String, Node>,
    /// What was not looked at.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the compose files of one project. `paths` are relative to the root, and `variable` knows the environment and
/// the root's `.env`.
///
/// # Errors
/// A file that cannot be read or is none of compose's, a variable that is asked for with `?` and missing, an image that
/// is no reference, files that lead in a circle.
pub fn read(root: &Path, paths: &[String], variable: &Variables<'_>) -> Result<ComposeProject, Diagnostic> {
    let model = model(root, paths, variable)?;
    let mut project =
        ComposeProject { files: model.files, warnings: model.warnings, ..ComposeProject::default() };
    for (name, service) in model.services {
        let builds = service.get("build").is_some();
        let mut found = ComposeService { name, image: None, place: String::new(), builds };
        if let Some(image) = service.get("image") {
            let told = |why: &str| image.error(format!("the image of `{}`{why}", found.name));
            let text = image.text().map_err(|error| told(&format!(": {}", error.message)))?;
            if !text.is_empty() {
                found.image = Some(text.parse().map_err(|why| told(&format!(" gives `{text}`: {why}")))?);
                found.place = format!("{}:{}", image.file, image.line);
            }
        }
        project.services.push(found);
    }
    Ok(project)
}

/// What the compose files of one project say of its services; `paths` and `variable` as in [`read`].
///
/// # Errors
/// A file that cannot be read or is none of compose's, files that lead in a circle. A variable that is missing is a
/// node's own trouble.
pub fn model(root: &Path, paths: &[String], variable: &Variables<'_>) -> Result<ComposeModel, Diagnostic> {
    let files: Vec<PathBuf> = paths.iter().map(|path| clean(&root.join(path))).collect();
    let folder = files.first().and_then(|file| file.parent()).unwrap_or(root).to_owned();
    let mut reader = Reader { root, model: ComposeModel::default(), trail: Vec::new() };
    let beside =
        if folder == root { Vec::new() } else { reader.variables(&folder.join(".env"), variable)? };
    let variable = over(variable, &beside);
    let named = variable(PROJECT_NAME).filter(|name| !name.is_empty());
    let name = named.unwrap_or_else(|| project_name(&files, &folder, &variable));
    let known = |key: &str| if key == PROJECT_NAME { Some(name.clone()) } else { variable(key) };
    let services = reader.services(&files, &folder, &known)?;
    let is_there = |(_, service): &(String, Node)| service.tag != Some(NodeTag::Reset);
    let mut services: BTreeMap<String, Node> = services.into_iter().filter(is_there).collect();
    services.values_mut().for_each(|service| file::fill_args(service, &known));
    Ok(ComposeModel { name, folder, services, ..reader.model })
}

/// What a project is called when its environment does not say it: the last `name` of its files, else its folder.
fn project_name(files: &[PathBuf], folder: &Path, variable: &Variables<'_>) -> String {
    let says = |file: &PathBuf| file::project_name(&text_of(file).ok()?, variable);
    let of_folder = || folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = files.iter().rev().find_map(says).unwrap_or_else(of_folder).to_lowercase();
    let is_kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let name: String = name.chars().filter(is_kept).collect();
    name.trim_start_matches(['-', '_']).to_owned()
}

fn text_of(file: &Path) -> std::io::Result<String> {
    yaml::decoded(std::fs::read(file)?)
}

/// What `upper` does not know, of `lower`.
fn over<'a>(upper: &'a Variables<'_>, lower: &'a [(String, String)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| {
        let below = || lower.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        upper(name).or_else(below)
    }
}

struct Reader<'a> {
    root: &'a Path,
    model: ComposeModel,
    /// What is being included and extended, from the outside in.
    trail: Vec<String>,
}

impl Reader<'_> {
    /// The services of files that go over each other. Paths in them are relative to `folder`.
    fn services(
        &mut self,
        files: &[PathBuf],
        folder: &Path,
        variable: &Variables<'_>,
    ) -> Result<BTreeMap<String, Node>, Diagnostic> {
        let mut all: BTreeMap<String, Node> = BTreeMap::new();
        for path in files {
            let shown = self.shown(path);
            let parsed = self.parse(path, variable)?;
            let mut own = BTreeMap::new();
            for name in parsed.services.keys() {
                own.insert(name.clone(), self.extended(&parsed, path, folder, name, variable)?);
            }
            for include in &parsed.includes {
                for (name, service) in self.included(&shown, include, folder, variable)? {
                    if own.get(&name).is_some_and(|known| !known.says(&service)) {
                        let message = format!("`{name}` is a service of a file that it includes too");
                        return Err(Diagnostic::error(shown, 0, message));
                    }
                    own.insert(name, service);
                }
            }
            for (name, mut secret) in parsed.secrets {
                file::place_file(&mut secret, folder, variable);
                self.model.secrets.insert(name, secret);
            }
            if parsed.replaces_services {
                all.clear();
            }
            for (name, service) in own {
                let lower = all.remove(&name);
                all.insert(name, merge::service(lower, service));
            }
        }
        all.values_mut().for_each(|service| file::default_context(service, folder));
        Ok(all)
    }

    fn parse(&mut self, path: &Path, variable: &Variables<'_>) -> Result<ComposeFile, Diagnostic> {
        let shown = self.shown(path);
        let text = text_of(path).map_err(|error| {
            let named_by =
                self.trail.last().map(|trail| format!(", which {trail} names")).unwrap_or_default();
            Diagnostic::error(&shown, 0, format!("cannot be read{named_by}: {error}"))
        })?;
        if !self.model.files.contains(&shown) {
            self.model.files.push(shown.clone());
        }
        file::parse(&shown, &text, variable)
    }

    /// A service with what it extends below it.
    fn extended(
        &mut self,
        file: &ComposeFile,
        path: &Path,
        folder: &Path,
        name: &str,
        variable: &Variables<'_>,
    ) -> Result<Node, Diagnostic> {
        let shown = self.shown(path);
        let Some(mut service) = file.services.get(name).cloned() else {
            let named_by = self.trail.last().map(|trail| format!("; {trail} names it")).unwrap_or_default();
            return Err(Diagnostic::error(shown, 0, format!("there is no service `{name}`{named_by}")));
        };
        file::place_paths(&mut service, folder, variable);
        let Some(Extends { file: other, service: base, line }) = file::extends(name, &service)? else {
            return Ok(service);
        };
        let step = format!("`extends` of `{name}` in {shown}");
        self.enter(&shown, step)?;
        let lower = match other {
            None => Some(self.extended(file, path, folder, &base, variable)?),
            Some(other) if is_remote(&other) => {
                self.skip(&shown, line, &format!("`extends` of `{name}`"), &other);
                None
            }
            Some(other) => {
                let other = clean(&folder.join(other));
                let parsed = self.parse(&other, variable)?;
                let folder = other.parent().unwrap_or(folder).to_owned();
                Some(self.extended(&parsed, &other, &folder, &base, variable)?)
            }
        };
        self.trail.pop();
        let tag = service.tag.take();
        let mut merged = merge::service(lower, service);
        if let Value::Map(entries) = &mut merged.value {
            entries.retain(|(key, _)| key != "extends");
        }
        Ok(Node { tag, ..merged })
    }

    fn included(
        &mut self,
        shown: &str,
        include: &Include,
        folder: &Path,
        variable: &Variables<'_>,
    ) -> Result<BTreeMap<String, Node>, Diagnostic> {
        if let Some(remote) = include.paths.iter().find(|path| is_remote(path)) {
            self.skip(shown, 0, "`include`", remote);
            return Ok(BTreeMap::new());
        }
        let files: Vec<PathBuf> = include.paths.iter().map(|path| clean(&folder.join(path))).collect();
        let beside = files.first().and_then(|file| file.parent()).unwrap_or(folder);
        let inner =
            include.project_directory.as_ref().map_or(beside.to_owned(), |dir| clean(&folder.join(dir)));
        let step = format!("`include` of {} in {shown}", include.paths.join(", "));
        self.enter(shown, step.clone())?;
        let mut known = Vec::new();
        if include.env_files.is_empty() {
            known = self.variables(&inner.join(".env"), variable)?;
        }
        for file in include.env_files.iter().filter(|file| *file != "/dev/null") {
            let path = clean(&folder.join(file));
            if !path.is_file() {
                let message = format!("there is no file {}, which {step} reads", self.shown(&path));
                return Err(Diagnostic::error(shown, 0, message));
            }
            let read = self.variables(&path, &over(variable, &known))?;
            known.splice(0..0, read);
        }
        let found = self.services(&files, &inner, &over(variable, &known));
        self.trail.pop();
        found
    }

    /// The values of an env file; of one that is not there, none.
    fn variables(
        &mut self,
        path: &Path,
        around: &Variables<'_>,
    ) -> Result<Vec<(String, String)>, Diagnostic> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Dotenv::parse_within(&self.shown(path), &text, around)?.values()),
            Err(_) => Ok(Vec::new()),
        }
    }

    fn enter(&mut self, shown: &str, step: String) -> Result<(), Diagnostic> {
        if self.trail.len() > MAX_TRAIL {
            let message = format!("{step} stands deeper than anything that a person writes");
            return Err(Diagnostic::error(shown, 0, message));
        }
        if self.trail.contains(&step) {
            return Err(Diagnostic::error(shown, 0, format!("{step} leads back to itself")));
        }
        self.trail.push(step);
        Ok(())
    }

    fn skip(&mut self, shown: &str, line: u32, what: &str, remote: &str) {
        let message = format!("{what} is not followed to {remote}: what that starts is not looked at");
        self.model.warnings.push(Diagnostic::warning(shown, line, message));
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).display().to_string()
    }
}

/// Fetched by compose from elsewhere: a git repository, an OCI artifact.
fn is_remote(path: &str) -> bool {
    path.contains("://") || path.starts_with("git@") || path.starts_with("github.com/")
}

/// A path without `.` and `..`, whatever links it has.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests;
