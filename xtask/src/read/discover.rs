//! Finds the services and base images of a tree, and reads the small files that say what they are.
//!
//! In: the settings. Out: texts with their paths, a listing of every service's folder (names and kinds, no `stat`),
//! the templates. It parses nothing and writes nothing. Whatever cannot be read is a finding that names the path;
//! it fails the service that it belongs to, never the run.

mod defined;
mod entries;
mod files;
mod glob;
mod listing;
mod naming;
mod nested;
mod read;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use globset::GlobSet;
use rayon::prelude::*;

pub use entries::Entry;
pub use files::{is_dockerfile, names_files, service_name};
pub use listing::{EntryKind, ListEntry, Listing};
use listing::{NonUtf8Name, join};
pub use naming::path_name;
use nested::Nested;
use service::read_service;

use crate::model::Diagnostic;
use crate::read::conf::{self, BUILD_CONF, BUILD_TARGETS, DEPENDENCY, ImageEntry, SERVICE_TOML};
use crate::read::definitions::Definition;
use crate::read::template::{Claim, Rendered, Syntax, TemplateSource, output_path};
use crate::settings::Config;

/// What a service is built from.
pub const DOCKERFILE: &str = "Dockerfile";
/// The ignore file of a context.
pub const IGNORE: &str = ".dockerignore";
/// The ignore file of one Dockerfile; it is preferred to the context's.
const DOCKERFILE_IGNORE: &str = "Dockerfile.dockerignore";

/// The files that say what a service is.
pub const OWN_FILES: [&str; 7] =
    [DOCKERFILE, DEPENDENCY, BUILD_TARGETS, BUILD_CONF, SERVICE_TOML, IGNORE, DOCKERFILE_IGNORE];

fn is_own_name(name: &str) -> bool {
    OWN_FILES.contains(&name)
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Discovered {
    /// By name.
    pub services: Vec<ServiceSource>,
    /// By name.
    pub base_images: Vec<ServiceSource>,
    /// Those directly at the root and those that the settings name.
    pub templates: Vec<TemplateSource>,
    /// The root's `.dockerignore`.
    pub root_ignore: Option<String>,
    /// Why that cannot be read; no image may be built of the whole root without it.
    pub root_ignore_problem: Option<Diagnostic>,
    /// Findings that belong to no service.
    pub problems: Vec<Diagnostic>,
}

/// How a service came to be one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FoundBy {
    /// Its folder was named, and has what makes a service.
    #[default]
    Folder,
    /// Its folder was named, and has a Dockerfile further down.
    Nested,
    /// Its Dockerfile was named.
    File,
    /// The same, and its folder has other services too, so that the small files there say nothing of it.
    FileAmongOthers,
    /// An `[[image]]` of its folder's `service.toml`.
    Entry,
    /// A compose or bake file defines it.
    Definition,
    /// The same, and the folder of its Dockerfile has others too.
    DefinitionAmongOthers,
}

/// One folder, or one Dockerfile, that images come from.
#[derive(Clone, Debug, Default)]
pub struct ServiceSource {
    /// The folder's own name, or the own part of the Dockerfile's.
    pub name: String,
    /// How it was found.
    pub found_by: FoundBy,
    /// The folder, relative to the root, with `/`.
    pub dir: String,
    /// The Dockerfile, relative to the root: the folder's own, or another one that stands for it.
    pub dockerfile: String,
    /// What a compose or bake file says of it.
    pub definition: Option<Arc<Definition>>,
    /// Which of several images that its folder's `service.toml` has it is.
    pub entry: Option<Entry>,
    /// All templates below the folder.
    pub templates: Vec<TemplateSource>,
    /// What the folder holds.
    pub listing: Listing,
    /// What could not be read; the service cannot be built while an error is among them.
    pub problems: Vec<Diagnostic>,
    texts: BTreeMap<&'static str, String>,
    /// All images that its folder's `service.toml` has.
    images: Vec<ImageEntry>,
}

impl ServiceSource {
    fn in_folder(dir: &str) -> Self {
        let name = if dir == "." { files::ROOT } else { dir.rsplit('/').next().unwrap_or(dir) };
        Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            dockerfile: join(dir, DOCKERFILE),
            ..Self::default()
        }
    }

    fn of_file(path: &str, found_by: FoundBy) -> Self {
        let (name, wished) = files::name_and_wish(path);
        let dir = conf::folder_of(path).to_owned();
        let mut service = Self { name, dir, found_by, dockerfile: path.to_owned(), ..Self::default() };
        if service.name != wished {
            let message = format!("no image can be named `{wished}`, so it is {}", service.name);
            service.problems.push(Diagnostic::warning(path, 0, message));
        }
        service
    }

    /// The service that its images are of: itself, unless it is one of several of a folder.
    pub fn service(&self) -> &str {
        match &self.entry {
            Some(entry) if self.found_by == FoundBy::Entry => &entry.service,
            _ => &self.name,
        }
    }

    /// The line on which the part of `service.toml` begins that is about it; 0 where that is all of the file.
    pub fn settings_line(&self) -> u32 {
        self.entry.as_ref().map_or(0, |entry| entry.line)
    }

    /// Whether its folder's `service.toml` has `[[image]]` tables.
    pub fn has_several(&self) -> bool {
        !self.images.is_empty()
    }

    /// What tells it from all others: its folder, or its Dockerfile where that was named.
    pub fn place(&self) -> &str {
        match self.found_by {
            FoundBy::Folder | FoundBy::Nested | FoundBy::Entry => &self.dir,
            FoundBy::File | FoundBy::FileAmongOthers => &self.dockerfile,
            FoundBy::Definition | FoundBy::DefinitionAmongOthers => {
                self.definition.as_ref().map_or(&self.dockerfile, |definition| &definition.place)
            }
        }
    }

    /// Whether a file of this name says something of it.
    pub fn reads(&self, file: &str) -> bool {
        match self.found_by {
            FoundBy::Folder | FoundBy::Nested | FoundBy::File => true,
            // Which stages are built is defined already.
            FoundBy::Definition | FoundBy::Entry => file != BUILD_TARGETS,
            FoundBy::DefinitionAmongOthers if file == SERVICE_TOML => true,
            FoundBy::FileAmongOthers | FoundBy::DefinitionAmongOthers => {
                [DOCKERFILE, DOCKERFILE_IGNORE, IGNORE].contains(&file)
            }
        }
    }

    /// The path of a file of the folder, relative to the root; [`DOCKERFILE`] is the one that it is built from, and
    /// its ignore file lies beside that.
    pub fn path(&self, file: &str) -> String {
        match file {
            DOCKERFILE => self.dockerfile.clone(),
            DOCKERFILE_IGNORE => format!("{}{IGNORE}", self.dockerfile),
            _ => join(&self.dir, file),
        }
    }

    /// Whether the folder has the file, or will have it once templates are rendered.
    pub fn has(&self, file: &str) -> bool {
        self.texts.contains_key(file) || self.template_of(file).is_some()
    }

    /// The template that makes the file.
    fn template_of(&self, file: &str) -> Option<&TemplateSource> {
        let path = self.path(file);
        self.templates.iter().find(|template| template.output == path)
    }

    /// The text of one of the files named in this module, as it will be once templates are rendered. A file whose
    /// template could not be rendered has none, whatever an earlier run left on disk.
    pub fn text<'a>(&'a self, file: &str, rendered: &'a BTreeMap<String, Rendered>) -> Option<&'a str> {
        match (rendered.get(&self.path(file)), self.template_of(file)) {
            _ if !self.reads(file) => None,
            (Some(output), _) => Some(&output.text),
            (None, Some(_)) => None,
            (None, None) => self.texts.get(file).map(String::as_str),
        }
    }
}

impl Discovered {
    /// Every template of the services, the root and the settings.
    pub fn all_templates(&self) -> impl Iterator<Item = &TemplateSource> {
        self.folders().flat_map(|folder| &folder.templates).chain(&self.templates)
    }

    /// Forgets templates that turned out to be somebody else's: what stands where their outputs would go is read.
    pub fn forget(&mut self, is_foreign: &dyn Fn(&str) -> bool) {
        let of_services = self.services.iter_mut().chain(&mut self.base_images).map(|one| &mut one.templates);
        for templates in of_services.chain([&mut self.templates]) {
            templates.retain(|template| !is_foreign(&template.path));
        }
    }

    /// Every folder that images come from.
    pub fn folders(&self) -> impl Iterator<Item = &ServiceSource> {
        self.services.iter().chain(&self.base_images)
    }

    /// The ignore file of a build: `Dockerfile.dockerignore` beside the Dockerfile, else the context's
    /// `.dockerignore`. Gives its path relative to the root, and its text.
    ///
    /// # Errors
    /// When the root, or a context that is not the service's folder, has one that cannot be read.
    pub fn ignore_file(
        &self,
        root: &Path,
        service: &ServiceSource,
        context: &str,
        rendered: &BTreeMap<String, Rendered>,
    ) -> Result<Option<(String, String)>, Diagnostic> {
        if let Some(text) = service.text(DOCKERFILE_IGNORE, rendered) {
            return Ok(Some((service.path(DOCKERFILE_IGNORE), text.to_owned())));
        }
        let path = if context == "." { IGNORE.to_owned() } else { format!("{context}/{IGNORE}") };
        let text = match rendered.get(&path) {
            Some(output) => Some(output.text.clone()),
            None if context == "." => match &self.root_ignore_problem {
                Some(problem) => return Err(problem.clone()),
                None => self.root_ignore.clone(),
            },
            None if context == service.dir => service.text(IGNORE, rendered).map(str::to_owned),
            None => read::optional(root, &path)?,
        };
        Ok(text.map(|text| (path, text)))
    }
}

/// Walks the folders that the settings' globs name.
pub fn discover(config: &Config) -> Discovered {
    let root = config.root.as_path();
    let mut found = Discovered::default();
    let mut dirs_of = |globs: &[String]| {
        let dirs: BTreeSet<String> =
            globs.iter().flat_map(|pattern| glob::folders(root, pattern, &mut found.problems)).collect();
        dirs
    };
    let base_dirs = dirs_of(&config.base_images);
    let mut service_dirs: BTreeSet<String> =
        dirs_of(&config.services).difference(&base_dirs).cloned().collect();
    service_dirs.extend(config.services.iter().filter(|glob| *glob == ".").cloned());
    let wanted = Wanted::of(config, &mut found.problems);
    let files = files::dockerfiles(config, &wanted, &mut found.problems);
    found.services = read_services(root, &service_dirs, &wanted);
    found.base_images = read_services(root, &base_dirs, &wanted);
    for folder in &mut found.base_images {
        folder.problems.extend(folder.images.first().map(|image| {
            let message =
                "`[[image]]` means nothing here: the images of a base image's folder are its versions";
            Diagnostic::warning(folder.path(SERVICE_TOML), image.line, message)
        }));
    }
    let of_files: BTreeSet<&str> = files.iter().map(|path| conf::folder_of(path)).collect();
    let known = |dir: &str| service_dirs.contains(dir) || base_dirs.contains(dir) || of_files.contains(dir);
    let read: BTreeSet<&str> = found.services.iter().map(|service| service.dir.as_str()).collect();
    let is_read = |dir: &str| read.contains(dir) || of_files.contains(dir);
    let rest: Vec<&String> = service_dirs.iter().filter(|dir| !is_read(dir)).collect();
    read_nested(root, rest, &wanted, known, &mut found);
    read_files(root, files, &wanted, &mut found);
    for service in &mut found.services {
        if let Some(name) = naming::name_of(service, &config.name, &config.services) {
            service.name = name;
        }
    }
    entries::split(config, &wanted, &mut found);
    defined::read(config, &wanted, &mut found);
    read_root(config, wanted, &mut found);
    found
}

/// Which templates the settings name, and which they leave out.
struct Wanted {
    listed: BTreeSet<String>,
    skipped: GlobSet,
}

impl Wanted {
    fn of(config: &Config, problems: &mut Vec<Diagnostic>) -> Self {
        let mut listed = BTreeSet::new();
        for pattern in &config.templates {
            let matching = glob::files(&config.root, pattern, problems);
            let (templates, others): (Vec<_>, Vec<_>) =
                matching.into_iter().partition(|path| Syntax::of(path).is_some());
            if let (true, Some(other)) = (templates.is_empty(), others.first()) {
                let message =
                    format!("`templates` names it by `{pattern}`, but templates end with `.tpl` or `.j2`");
                problems.push(Diagnostic::warning(other, 0, message));
            }
            listed.extend(templates);
        }
        Self { listed, skipped: glob::below(&config.templates_skip) }
    }

    /// Who says that this template is ours, as far as its path tells; none says that it is not.
    fn claim(&self, path: &str) -> Option<Claim> {
        let output = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(name, _)| name);
        match Syntax::of(path)? {
            _ if self.skipped.is_match(path) => None,
            _ if self.listed.contains(path) => Some(Claim::Listed),
            // Jinja is everybody's.
            Syntax::Jinja => None,
            Syntax::Placeholders if output.is_some_and(is_own_name) => Some(Claim::Name),
            Syntax::Placeholders => Some(Claim::Content),
        }
    }
}

fn read_services(root: &Path, dirs: &BTreeSet<String>, wanted: &Wanted) -> Vec<ServiceSource> {
    let mut services: Vec<ServiceSource> =
        dirs.par_iter().filter_map(|dir| read_service(root, ServiceSource::in_folder(dir), wanted)).collect();
    sort(&mut services);
    services
}

fn sort(services: &mut [ServiceSource]) {
    services.sort_by(|one, other| (&one.name, one.place()).cmp(&(&other.name, other.place())));
}

/// Folders that turned out to have nothing of a service, each with the Dockerfile below it that may stand for it.
fn read_nested(
    root: &Path,
    dirs: Vec<&String>,
    wanted: &Wanted,
    known: impl Fn(&str) -> bool + Sync,
    found: &mut Discovered,
) {
    let look = |dir: &&String| match nested::look(root, dir, wanted, &known) {
        Nested::Dockerfile(dockerfile) => {
            let service = ServiceSource::in_folder(dir);
            let service = ServiceSource { dockerfile, found_by: FoundBy::Nested, ..service };
            (read_service(root, service, wanted), None)
        }
        Nested::Unclear(problem) => (None, Some(problem)),
        Nested::Nothing => (None, None),
    };
    let (services, problems): (Vec<_>, Vec<_>) = dirs.par_iter().map(look).unzip();
    found.services.extend(services.into_iter().flatten());
    found.problems.extend(problems.into_iter().flatten());
    sort(&mut found.services);
}

/// Dockerfiles that were named one by one, unless a folder has them already.
fn read_files(root: &Path, mut paths: BTreeSet<String>, wanted: &Wanted, found: &mut Discovered) {
    for service in found.folders() {
        paths.remove(&service.dockerfile);
    }
    let folders: Vec<&str> = found.services.iter().map(|service| service.dir.as_str()).collect();
    let read = |path: &String| {
        let dir = conf::folder_of(path);
        let among = folders.contains(&dir)
            || paths.iter().any(|other| other != path && conf::folder_of(other) == dir);
        let found_by = if among { FoundBy::FileAmongOthers } else { FoundBy::File };
        read_service(root, ServiceSource::of_file(path, found_by), wanted)
    };
    let services: Vec<ServiceSource> = paths.par_iter().filter_map(read).collect();
    found.services.extend(services);
    sort(&mut found.services);
}

/// The root's own templates and ignore file, and what the `templates` globs name.
fn read_root(config: &Config, wanted: Wanted, found: &mut Discovered) {
    let root = config.root.as_path();
    let mut paths = wanted.listed.clone();
    match listing::top(root, ".", NonUtf8Name::PassedOver, &mut found.problems) {
        Ok(entries) => {
            let files = entries.into_iter().filter(|entry| entry.kind != EntryKind::Directory);
            paths.extend(files.map(|entry| entry.path));
        }
        Err(problem) => found.problems.push(problem),
    }
    for path in paths {
        let (Some(claim), Some(output)) = (wanted.claim(&path), output_path(".", &path)) else { continue };
        match read::template(root, path, output, claim) {
            Ok(template) => found.templates.extend(template),
            Err(problem) => found.problems.push(problem),
        }
    }
    match read::optional(root, IGNORE) {
        Ok(text) => found.root_ignore = text,
        Err(problem) => found.root_ignore_problem = Some(problem),
    }
}

#[cfg(test)]
mod tests;
