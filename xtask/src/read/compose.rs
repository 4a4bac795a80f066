//! EFFECT: reads the compose files that belong together, as compose itself puts them together (compose-go's `cli` and
//! `loader` packages): the files that it finds or that are named, each over the ones before, with what they `include`
//! and `extends`. `project/cases/` has trees with what `docker compose config` makes of them.

mod file;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use self::file::{ComposeFile, Extends, Field, Include, Service, Variables};
use crate::model::{Diagnostic, Reference};
use crate::settings::dotenv::Dotenv;

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

/// Reads the compose files of one project. `paths` are relative to the root, and `variable` knows the environment and
/// the root's `.env`.
///
/// # Errors
/// A file that cannot be read or is none of compose's, a variable that is asked for with `?` and missing, an image that
/// is no reference, files that lead in a circle.
pub fn read(root: &Path, paths: &[String], variable: &Variables<'_>) -> Result<ComposeProject, Diagnostic> {
    let mut reader = Reader { root, project: ComposeProject::default(), trail: Vec::new() };
    let files: Vec<PathBuf> = paths.iter().map(|path| clean(&root.join(path))).collect();
    let folder = files.first().and_then(|file| file.parent()).unwrap_or(root).to_owned();
    let beside =
        if folder == root { Vec::new() } else { reader.variables(&folder.join(".env"), variable)? };
    let variable = over(variable, &beside);
    let name = vec![(PROJECT_NAME.to_owned(), project_name(&files, &folder, &variable))];
    let variable = over(&variable, &name);
    let services = reader.model(&files, &folder, &variable)?;
    let mut project = reader.project;
    for (name, service) in services {
        let mut found = ComposeService {
            name,
            image: None,
            place: String::new(),
            builds: service.build == Field::Set(()),
        };
        if let Field::Set((text, place)) = service.image
            && !text.is_empty()
        {
            found.image = Some(text.parse().map_err(|why| {
                let (file, line) = place.rsplit_once(':').unwrap_or((&place, ""));
                let message = format!("the image of `{}` gives `{text}`: {why}", found.name);
                Diagnostic::error(file, line.parse().unwrap_or(0), message)
            })?);
            found.place = place;
        }
        project.services.push(found);
    }
    Ok(project)
}

/// What a project is called when its environment does not say it: the last `name` of its files, else its folder.
fn project_name(files: &[PathBuf], folder: &Path, variable: &Variables<'_>) -> String {
    let says = |file: &PathBuf| file::project_name(&std::fs::read_to_string(file).ok()?, variable);
    let of_folder = || {
        let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let is_kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        let name: String = name.chars().filter(is_kept).collect();
        name.trim_start_matches(['-', '_']).to_owned()
    };
    files.iter().rev().find_map(says).unwrap_or_else(of_folder)
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
    project: ComposeProject,
    /// What is being included and extended, from the outside in.
    trail: Vec<String>,
}

impl Reader<'_> {
    /// The services of files that go over each other. Paths in them are relative to `folder`.
    fn model(
        &mut self,
        files: &[PathBuf],
        folder: &Path,
        variable: &Variables<'_>,
    ) -> Result<BTreeMap<String, Service>, Diagnostic> {
        let mut all: BTreeMap<String, Service> = BTreeMap::new();
        for path in files {
            let shown = self.shown(path);
            let parsed = self.parse(path, variable)?;
            let mut own = BTreeMap::new();
            for name in parsed.services.keys() {
                own.insert(name.clone(), self.extended(&parsed, path, folder, name, variable)?);
            }
            for include in &parsed.includes {
                for (name, service) in self.included(&shown, include, folder, variable)? {
                    if own.get(&name).is_some_and(|known| !known.is_as(&service)) {
                        let message = format!("`{name}` is a service of a file that it includes too");
                        return Err(Diagnostic::error(shown, 0, message));
                    }
                    own.insert(name, service);
                }
            }
            for (name, service) in own {
                let lower = all.remove(&name);
                all.extend(file::merge(lower, service).map(|service| (name, service)));
            }
        }
        Ok(all)
    }

    fn parse(&mut self, path: &Path, variable: &Variables<'_>) -> Result<ComposeFile, Diagnostic> {
        let shown = self.shown(path);
        let text = std::fs::read_to_string(path).map_err(|error| {
            let named_by =
                self.trail.last().map(|trail| format!(", which {trail} names")).unwrap_or_default();
            Diagnostic::error(&shown, 0, format!("cannot be read{named_by}: {error}"))
        })?;
        if !self.project.files.contains(&shown) {
            self.project.files.push(shown.clone());
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
    ) -> Result<Service, Diagnostic> {
        let shown = self.shown(path);
        let Some(service) = file.services.get(name).cloned() else {
            let named_by = self.trail.last().map(|trail| format!("; {trail} names it")).unwrap_or_default();
            return Err(Diagnostic::error(shown, 0, format!("there is no service `{name}`{named_by}")));
        };
        let Some(Extends { file: other, service: base }) = service.extends.clone() else {
            return Ok(service);
        };
        let step = format!("`extends` of `{name}` in {shown}");
        self.enter(&shown, step)?;
        let lower = match other {
            None => self.extended(file, path, folder, &base, variable)?,
            Some(other) if is_remote(&other) => {
                self.skip(&shown, &format!("`extends` of `{name}`"), &other);
                Service::default()
            }
            Some(other) => {
                let other = clean(&folder.join(other));
                let parsed = self.parse(&other, variable)?;
                let folder = other.parent().unwrap_or(folder).to_owned();
                self.extended(&parsed, &other, &folder, &base, variable)?
            }
        };
        self.trail.pop();
        let tag = service.tag.clone();
        let merged = file::merge(Some(lower), Service { tag: None, ..service }).unwrap_or_default();
        Ok(Service { extends: None, tag, ..merged })
    }

    fn included(
        &mut self,
        shown: &str,
        include: &Include,
        folder: &Path,
        variable: &Variables<'_>,
    ) -> Result<BTreeMap<String, Service>, Diagnostic> {
        if let Some(remote) = include.paths.iter().find(|path| is_remote(path)) {
            self.skip(shown, "`include`", remote);
            return Ok(BTreeMap::new());
        }
        let files: Vec<PathBuf> = include.paths.iter().map(|path| clean(&folder.join(path))).collect();
        let beside = files.first().and_then(|file| file.parent()).unwrap_or(folder);
        let inner =
            include.project_directory.as_ref().map_or(beside.to_owned(), |dir| clean(&folder.join(dir)));
        let step = format!("`include` of {} in {shown}", include.paths.join(", "));
        self.enter(shown, step)?;
        let mut known = Vec::new();
        if include.env_files.is_empty() {
            known = self.variables(&inner.join(".env"), variable)?;
        }
        for file in &include.env_files {
            let read = self.variables(&clean(&folder.join(file)), &over(variable, &known))?;
            known.splice(0..0, read);
        }
        let found = self.model(&files, &inner, &over(variable, &known));
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
        if self.trail.contains(&step) {
            return Err(Diagnostic::error(shown, 0, format!("{step} leads back to itself")));
        }
        self.trail.push(step);
        Ok(())
    }

    fn skip(&mut self, shown: &str, what: &str, remote: &str) {
        let message = format!("{what} is not followed to {remote}: what that starts is not looked at");
        self.project.warnings.push(Diagnostic::warning(shown, 0, message));
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
