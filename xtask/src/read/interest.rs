//! EFFECT (it lists folders): which changes in a tree can change what is built of it.
//!
//! In: the settings, and a tree as it was read. Out: an [`Interest`], which says of a path whether a change there counts,
//! and which folders have to be watched to hear of it. What builds read counts (`COPY`, `ADD`, mounts, `inputs`, after
//! the ignore file), and what decides what is built: Dockerfiles and the small files beside them, templates, `.env`, the
//! settings, lock files, compose files. What this program writes itself does not. It says yes too often rather than too
//! seldom: whether something is to be done is decided by keys, as ever.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::model::{Image, ImageName, ImageSource};
use crate::plan::build::Prepared;
use crate::plan::facts::Tree;
use crate::plan::render::RenderPlan;
use crate::read::discover::{IGNORE, OWN_FILES};
use crate::read::template::Syntax;
use crate::settings::Config;
use dockerfile::ignorefile::IgnoreFile;
use dockerfile::inputs::Selector;

/// Where cargo, and this program, put what they make.
const TARGET: &str = "target";
/// Where this program keeps its records and caches.
const OWN_STATE: &str = "target/xtask";
/// Folders in which nobody keeps services, and which may be huge.
const ASIDE: [&str; 2] = [".git", "node_modules"];

/// What changes count.
#[derive(Debug, Default)]
pub struct Interest {
    root: PathBuf,
    reads: Vec<Reads>,
    /// Files that decide, relative to the root.
    deciding: BTreeSet<String>,
    /// Files elsewhere that decide.
    elsewhere: BTreeSet<PathBuf>,
    /// Files that rendering writes.
    written: BTreeSet<String>,
    /// Where services may appear.
    places: Vec<Vec<Part>>,
    /// The folders of services.
    services: BTreeSet<String>,
}

/// What the builds of one image read.
#[derive(Debug)]
struct Reads {
    /// The context, relative to the root; empty is the root.
    context: String,
    selector: Selector,
    ignore: IgnoreFile,
    /// What is read though no instruction names it: what links lead to.
    further: BTreeSet<String>,
}

/// One part of a glob; none is `**`.
type Part = Option<GlobMatcher>;

/// What lies below a folder, as it is named from there; empty for the folder itself.
fn below<'p>(folder: &str, path: &'p str) -> Option<&'p str> {
    if folder.is_empty() || folder == "." {
        return Some(path);
    }
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn parts_of(glob: &str) -> Vec<Part> {
    let parts = glob.split('/').filter(|part| !matches!(*part, "" | "."));
    let matcher = |part: &str| {
        // The settings accept valid globs only.
        GlobBuilder::new(part).literal_separator(true).build().ok().map(|glob| glob.compile_matcher())
    };
    parts.map(|part| if part == "**" { None } else { matcher(part) }).collect()
}

/// Whether a folder is one that a glob means, or on the way to it. Wildcards match no hidden names.
fn leads_to(parts: &[Part], folder: &[&str]) -> bool {
    match (parts, folder) {
        (_, []) => true,
        ([], _) => false,
        ([None, rest @ ..], [first, further @ ..]) => {
            leads_to(rest, folder)
                || (!first.starts_with('.') && !ASIDE.contains(first) && leads_to(parts, further))
        }
        ([Some(part), rest @ ..], [first, further @ ..]) => part.is_match(first) && leads_to(rest, further),
    }
}

/// What editors write for themselves while a file is open, and take away again: vim's, emacs', kate's, JetBrains'.
fn is_of_editor(name: &str) -> bool {
    let is_swap = || {
        let end = name.rsplit_once('.').map(|(_, end)| end);
        name.starts_with('.') && end.is_some_and(|end| end.len() == 3 && end.starts_with("sw"))
    };
    name == "4913"
        || name.ends_with('~')
        || name.starts_with(".#")
        || (name.starts_with('#') && name.ends_with('#'))
        || name.contains("___jb_")
        || name.ends_with(".kate-swp")
        || is_swap()
}

impl Reads {
    fn of(root: &Path, dockerfile: &str, context: &str, prepared: &Prepared) -> Self {
        let context = if context == "." { "" } else { context };
        let beside = format!("{dockerfile}{IGNORE}");
        let in_context = if context.is_empty() { IGNORE.to_owned() } else { format!("{context}/{IGNORE}") };
        let text = [beside, in_context].iter().find_map(|path| std::fs::read_to_string(root.join(path)).ok());
        let selector = Selector::new(&prepared.reads);
        let is_further = |path: &str| !selector.reads(path) && !selector.walks(path);
        let further = prepared.files.entries().iter().filter(|entry| is_further(&entry.path));
        let further = further.map(|entry| entry.path.clone()).collect();
        Self {
            context: context.to_owned(),
            further,
            selector,
            ignore: IgnoreFile::parse(&text.unwrap_or_default()),
        }
    }

    /// Whether something at a path, or below it, is read.
    fn may_read(&self, path: &str) -> bool {
        let Some(inside) = below(&self.context, path) else { return false };
        if inside.is_empty() || self.further.contains(inside) {
            return true;
        }
        let is_named = self.selector.reads(inside) || self.selector.walks(inside);
        is_named && !(self.ignore.is_ignored(inside) && self.ignore.can_prune(inside))
    }

    /// Whether an instruction names what cargo made.
    fn names_target(&self) -> bool {
        let names = |root: &&str| below(TARGET, root).is_some();
        self.context.is_empty() && self.selector.roots().iter().any(names)
    }
}

impl Interest {
    /// What counts for these images of a tree. `further` are more files that decide, relative to the root or absolute.
    pub fn of(
        config: &Config,
        tree: &Tree,
        render: &RenderPlan,
        images: &BTreeSet<ImageName>,
        further: impl IntoIterator<Item = String>,
    ) -> Self {
        let wanted = tree.graph.images().iter().filter(|image| images.contains(&image.name));
        let built = wanted.filter_map(|image| Some((image, tree.contexts.get(&image.name)?)));
        let reads = built.filter_map(|(image, prepared)| match &image.source {
            ImageSource::Build(target) => {
                Some(Reads::of(&config.root, &target.dockerfile, &target.context, prepared))
            }
            ImageSource::External(_) => None,
        });
        let places = config.services.iter().chain(&config.base_images).chain(&config.templates);
        let mut interest = Self {
            root: config.root.clone(),
            reads: reads.collect(),
            written: render.outputs.keys().cloned().collect(),
            places: places.map(|glob| parts_of(glob)).collect(),
            services: tree.graph.images().iter().filter_map(folder_of).map(str::to_owned).collect(),
            ..Self::default()
        };
        let settings = [".env", ".env.example", ".config/xtask.toml", ".config/xtask.local.toml"];
        let deciding = settings.map(str::to_owned).into_iter();
        let deciding = deciding.chain([config.images_lock.clone(), config.artifact.lock.clone()]);
        let deciding = deciding.chain(config.definitions.iter().cloned());
        for path in deciding.chain(tree.graph.images().iter().filter_map(dockerfile_of)).chain(further) {
            interest.decide(&path);
        }
        interest
    }

    /// One more file that decides.
    fn decide(&mut self, path: &str) {
        let full = self.root.join(path);
        match full.strip_prefix(&self.root).ok().and_then(Path::to_str) {
            Some(inside) => drop(self.deciding.insert(inside.to_owned())),
            None => drop(self.elsewhere.insert(full)),
        }
    }

    /// The tree's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many images it is about.
    pub fn images(&self) -> usize {
        self.reads.len()
    }

    /// Whether a change of this path counts, and how the path is called from the root.
    pub fn counts(&self, path: &Path) -> Option<String> {
        let Ok(inside) = path.strip_prefix(&self.root) else {
            return self.elsewhere.contains(path).then(|| path.display().to_string());
        };
        // A name that is not UTF-8 is said as well as it can be; whether it may be there is the build's to say.
        let inside = inside.to_string_lossy().into_owned();
        let name = inside.rsplit('/').next().unwrap_or_default();
        if self.written.contains(&inside) {
            return None;
        }
        let is_idle = || is_of_editor(name) || self.is_never(&inside);
        let counts = self.deciding.contains(&inside) || (!is_idle() && self.may_count(path, &inside, name));
        counts.then_some(inside)
    }

    fn may_count(&self, path: &Path, inside: &str, name: &str) -> bool {
        self.says_what_is_built(inside, name)
            || self.reads.iter().any(|reads| reads.may_read(inside))
            // One that is gone with all that was in it, or that is new, and nobody knows yet what is in it.
            || self.services.iter().any(|service| below(inside, service).is_some())
            || (path.is_dir() && self.may_hold(inside, name))
    }

    /// What this program, git or cargo writes; the last one's counts where an instruction names it.
    fn is_never(&self, path: &str) -> bool {
        let is_made = below(TARGET, path).is_some() && !self.reads.iter().any(Reads::names_target);
        path.is_empty()
            || is_made
            || below(OWN_STATE, path).is_some()
            || path.split('/').any(|part| part == ".git")
    }

    /// Whether a file by this name decides what there is to build, or how.
    fn says_what_is_built(&self, path: &str, name: &str) -> bool {
        let folder: Vec<&str> = path.split('/').collect();
        let folder = folder.split_last().map_or(&[][..], |(_, folder)| folder);
        let is_of_service = || {
            self.services.iter().any(|service| below(service, path).is_some())
                || self.places.iter().any(|parts| leads_to(parts, folder))
        };
        let plain = name.strip_suffix(".tpl").unwrap_or(name);
        let is_own = OWN_FILES.contains(&plain) || plain.to_ascii_lowercase().contains("dockerfile");
        (is_own || plain == "Containerfile" || Syntax::of(path).is_some())
            && (folder.is_empty() || is_of_service())
    }

    /// The folders in which something may happen that counts, those of them that are there.
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::from([self.root.clone()]);
        self.walk("", &mut found);
        let inside = self.deciding.iter().map(|path| self.root.join(path));
        let parents = inside.chain(self.elsewhere.iter().cloned());
        found.extend(parents.filter_map(|path| Some(path.parent()?.to_owned())).filter(|path| path.is_dir()));
        found
    }

    fn walk(&self, folder: &str, found: &mut BTreeSet<PathBuf>) {
        // A folder that cannot be listed, or is gone meanwhile, has nothing to tell.
        let Ok(entries) = std::fs::read_dir(self.root.join(folder)) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let Ok(kind) = entry.file_type() else { continue };
            // Linked folders may be services; builds do not look through links below a context.
            let is_folder =
                kind.is_dir() || (kind.is_symlink() && self.is_place(&path) && entry.path().is_dir());
            if is_folder && self.may_hold(&path, name) {
                found.insert(entry.path());
                self.walk(&path, found);
            }
        }
    }

    fn is_place(&self, folder: &str) -> bool {
        let folder: Vec<&str> = folder.split('/').collect();
        self.places.iter().any(|parts| leads_to(parts, &folder))
    }

    /// Whether something in a folder, or below it, may count.
    fn may_hold(&self, folder: &str, name: &str) -> bool {
        if self.is_never(folder) {
            return false;
        }
        let is_service = || {
            let leads = |service: &String| below(folder, service).is_some();
            let is_inside = |service: &String| below(service, folder).is_some_and(|rest| !rest.is_empty());
            self.services.iter().any(|service| {
                leads(service) || (is_inside(service) && !ASIDE.contains(&name) && name != TARGET)
            })
        };
        let leads_to_file = || self.deciding.iter().any(|file| below(folder, file).is_some());
        let leads_to_context = |reads: &Reads| below(folder, &reads.context).is_some();
        self.reads.iter().any(|reads| leads_to_context(reads) || reads.may_read(folder))
            || self.is_place(folder)
            || is_service()
            || leads_to_file()
    }
}

/// Where an image's files lie.
fn folder_of(image: &Image) -> Option<&str> {
    let file = match &image.source {
        ImageSource::Build(target) => target.dockerfile.as_str(),
        ImageSource::External(_) => image.dependency_at.as_deref()?,
    };
    Some(crate::read::conf::folder_of(file)).filter(|folder| *folder != ".")
}

fn dockerfile_of(image: &Image) -> Option<String> {
    match &image.source {
        ImageSource::Build(target) => Some(target.dockerfile.clone()),
        ImageSource::External(_) => None,
    }
}

#[cfg(test)]
mod tests;
