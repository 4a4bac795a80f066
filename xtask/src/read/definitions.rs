//! EFFECT: what compose and bake files say of images: the files that the setting `definitions` names, each to the
//! images that `docker compose build` and `docker buildx bake` would make of it.
//!
//! In: paths and the settings. Out: one [`Definition`] an image, with where it stands, and what cannot be understood. Files
//! of one folder belong together, later ones over earlier ones; those of other folders are projects of their own. What the
//! words mean for the tree is the business of whoever reads services.

mod bake;
mod compose;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::model::{Diagnostic, Platform};
use crate::read::conf::{folder_of, resolve_path};
use crate::settings::{Config, Secret, SecretFlag, Ssh, SshFlag};

/// What a bake file goes with when nobody names files (buildx, `bake.defaultFilenames`).
const BAKE_NAMES: [&str; 2] = ["docker-bake.json", "docker-bake.hcl"];
const BAKE_OVERRIDES: [&str; 2] = ["docker-bake.override.json", "docker-bake.override.hcl"];

/// One image, as a file defines it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    /// The name of the service or target.
    pub name: String,
    /// Where it stands: `compose.yaml:3`.
    pub place: String,
    /// The file alone.
    pub file: Arc<str>,
    /// 1-based.
    pub line: u32,
    /// The context folder, relative to the root.
    pub context: String,
    /// The Dockerfile, relative to the root; of one whose text stands in the file, what it is called in messages.
    pub dockerfile: String,
    /// The Dockerfile's text, where the file has it.
    pub inline: Option<String>,
    /// The stage.
    pub target: Option<String>,
    /// Build args.
    pub args: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// The network of its instructions.
    pub network: Option<String>,
    /// Names of the image, whole; the first is its own. None where only the tree's rules name it.
    pub names: Vec<String>,
    /// What it is made for; empty is whatever the run is for.
    pub platforms: Vec<Platform>,
    /// What names in the Dockerfile stand for.
    pub contexts: BTreeMap<String, String>,
    /// Secrets by ID; files are absolute.
    pub secrets: BTreeMap<String, Secret>,
    /// Ssh agents by ID.
    pub ssh: BTreeMap<String, Ssh>,
    /// What is wrong with it.
    pub problems: Vec<Diagnostic>,
}

/// What all files came to.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// In the order of the files; each name once.
    pub images: Vec<Definition>,
    /// What belongs to none of them.
    pub problems: Vec<Diagnostic>,
}

/// A file, and the groups and targets of it that are meant; none is what bake takes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamedFile {
    path: String,
    picks: Vec<String>,
}

/// Reads the files that the settings name, globs resolved: `compose.yaml`, `docker-bake.hcl`, `docker-bake.hcl#release`.
pub fn read(config: &Config, paths: &[String]) -> Definitions {
    let named = paths.iter().map(|text| match text.split_once('#') {
        Some((path, picks)) => NamedFile {
            path: path.to_owned(),
            picks: picks.split('+').filter(|pick| !pick.is_empty()).map(str::to_owned).collect(),
        },
        None => NamedFile { path: text.clone(), picks: Vec::new() },
    });
    let mut sets: Vec<Vec<NamedFile>> = Vec::new();
    for file in named {
        let belongs = |set: &&mut Vec<NamedFile>| {
            set.iter().any(|other| {
                is_bake(&other.path) == is_bake(&file.path) && folder_of(&other.path) == folder_of(&file.path)
            })
        };
        match sets.iter_mut().find(belongs) {
            Some(set) => set.push(file),
            None => sets.push(vec![file]),
        }
    }
    let mut found = Definitions::default();
    let mut places = HashMap::new();
    for set in sets {
        let more = if set.first().is_some_and(|file| is_bake(&file.path)) {
            of_bake(config, set)
        } else {
            compose::of(config, set)
        };
        found.problems.extend(more.problems);
        for image in more.images {
            found.add(image, &mut places);
        }
    }
    found
}

impl Definitions {
    /// Of two images of one name the later one counts. `places` says where names are.
    fn add(&mut self, image: Definition, places: &mut HashMap<String, usize>) {
        match places.get(&image.name).and_then(|at| self.images.get_mut(*at)) {
            None => {
                places.insert(image.name.clone(), self.images.len());
                self.images.push(image);
            }
            Some(known) => {
                let message = format!(
                    "`{}` is defined at {} too, and what stands here counts",
                    image.name, known.place
                );
                self.problems.push(Diagnostic::warning(&*image.file, image.line, message));
                *known = image;
            }
        }
    }
}

fn is_bake(path: &str) -> bool {
    path.ends_with(".hcl") || path.ends_with(".json")
}

fn of_bake(config: &Config, set: Vec<NamedFile>) -> Definitions {
    let mut found = Definitions::default();
    let picks: Vec<String> = set.iter().flat_map(|file| file.picks.clone()).collect();
    let mut paths: Vec<String> = set.into_iter().map(|file| file.path).collect();
    let base = paths.first().map_or(".", |path| folder_of(path)).to_owned();
    let in_folder = |name: &str| if base == "." { name.to_owned() } else { format!("{base}/{name}") };
    if paths.iter().all(|path| BAKE_NAMES.iter().any(|name| in_folder(name) == *path)) {
        let there = BAKE_OVERRIDES.iter().map(|name| in_folder(name));
        paths.extend(there.filter(|path| config.root.join(path).is_file()));
    }
    let mut texts = Vec::new();
    for path in paths {
        match std::fs::read_to_string(config.root.join(&path)) {
            Ok(text) => texts.push((path, text)),
            Err(error) => found.problems.push(unreadable(&path, &error)),
        }
    }
    let baked = bake::bake(&texts, &picks, &|name| config.env.get(name).map(str::to_owned));
    found.problems.extend(baked.problems);
    found.images = baked.targets.into_iter().map(|target| of_target(config, &base, target)).collect();
    found
}

fn unreadable(path: &str, error: &std::io::Error) -> Diagnostic {
    Diagnostic::error(path, 0, format!("`definitions` names it, and it cannot be read: {error}"))
}

/// Paths of bake files are relative to where bake is run, which is the root, or else the file's folder.
fn of_target(config: &Config, base: &str, target: bake::Target) -> Definition {
    let mut definition = Definition {
        place: format!("{}:{}", target.file, target.line),
        file: target.file.clone(),
        line: target.line,
        target: target.target,
        args: target.args,
        labels: target.labels,
        network: target.network,
        names: target.tags.unwrap_or_default(),
        problems: target.problems,
        name: target.name,
        ..Definition::default()
    };
    let mut context = target.context.unwrap_or_default();
    if let Some(linked) = context.strip_prefix("target:") {
        definition.problems.push(
            definition
                .error(format!("its context is the result of `{linked}`, which nothing here can build on")),
        );
        context = ".".to_owned();
    }
    let dockerfile = target.dockerfile.unwrap_or_default();
    let start = if base == "." || is_there(&config.root, ".", &context, &dockerfile) { "." } else { base };
    definition.place_context(config, start, context.trim_start_matches("cwd://"));
    definition.place_dockerfile(config, &dockerfile, target.dockerfile_inline);
    for (name, value) in target.contexts {
        let value = definition.placed_context(config, start, &value);
        definition.contexts.insert(name, value);
    }
    definition.add_platforms(target.platforms.unwrap_or_default());
    definition.add_mounts(config, start, &target.secrets, &target.ssh);
    definition
}

fn is_there(root: &Path, start: &str, context: &str, dockerfile: &str) -> bool {
    resolve_path(start, context).is_some_and(|folder| root.join(folder).join(dockerfile).exists())
}

impl Definition {
    fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&*self.file, self.line, message)
    }

    /// The folder that `path` names, seen from `start`.
    fn place_context(&mut self, config: &Config, start: &str, path: &str) {
        let placed = if crate::read::compose::is_elsewhere(path) {
            Err(format!("the context `{path}` lies elsewhere: only folders of the tree are built"))
        } else {
            in_tree(&config.root, start, path)
                .ok_or_else(|| format!("the context `{path}` lies outside the tree"))
        };
        match placed {
            Ok(folder) if config.root.join(&folder).is_dir() => self.context = folder,
            Ok(folder) => {
                self.problems.push(self.error(format!("there is no folder {folder} to be its context")));
                self.context = folder;
            }
            Err(why) => {
                self.problems.push(self.error(why));
                self.context = ".".to_owned();
            }
        }
    }

    /// The Dockerfile, relative to the context, unless its text is given.
    fn place_dockerfile(&mut self, config: &Config, path: &str, inline: Option<String>) {
        if inline.is_some() {
            self.dockerfile = format!("{}#{}", self.file, self.name);
            self.inline = inline;
            return;
        }
        match in_tree(&config.root, &self.context, path) {
            Some(path) => self.dockerfile = path,
            None => {
                self.problems.push(self.error(format!("the Dockerfile `{path}` lies outside the tree")));
                self.dockerfile = "Dockerfile".to_owned();
            }
        }
    }

    /// What a named context stands for: a folder relative to the root, or what is none as it stands.
    fn placed_context(&mut self, config: &Config, start: &str, value: &str) -> String {
        if value.contains("://") && !value.starts_with("cwd://")
            || value.starts_with("target:")
            || value.starts_with("service:")
        {
            return value.to_owned();
        }
        match in_tree(&config.root, start, value.trim_start_matches("cwd://")) {
            Some(folder) => folder,
            None => {
                self.problems.push(self.error(format!("the context `{value}` lies outside the tree")));
                ".".to_owned()
            }
        }
    }

    fn add_platforms(&mut self, platforms: Vec<String>) {
        for text in platforms {
            // buildx's word for the machine's own.
            if text == "local" {
                continue;
            }
            // A processor alone is one that Linux runs on.
            let whole = if is_processor(&text) { format!("linux/{text}") } else { text };
            match whole.parse() {
                Ok(platform) => self.platforms.push(platform),
                Err(error) => self.problems.push(self.error(format!("{error}"))),
            }
        }
    }

    /// Secrets and agents as flags have them.
    fn add_mounts(&mut self, config: &Config, start: &str, secrets: &[String], ssh: &[String]) {
        let clean = crate::read::compose::clean;
        let folder = clean(&config.root.join(start));
        for text in secrets {
            match text.parse::<SecretFlag>() {
                Ok(SecretFlag(id, secret)) => {
                    let secret = match secret {
                        Secret::File(path) => Secret::File(clean(&folder.join(path))),
                        other => other,
                    };
                    self.secrets.insert(id, secret);
                }
                Err(why) => self.problems.push(self.error(why)),
            }
        }
        for text in ssh {
            match text.parse::<SshFlag>() {
                Ok(SshFlag(id, agent)) => drop(self.ssh.insert(id, agent.within(&folder))),
                Err(why) => self.problems.push(self.error(why)),
            }
        }
    }
}

/// The words for processors that containerd takes for a whole platform (github.com/containerd/platforms).
fn is_processor(text: &str) -> bool {
    const NAMES: [&str; 12] = [
        "386", "i386", "amd64", "x86_64", "x86-64", "arm", "armhf", "armel", "arm64", "aarch64", "riscv64",
        "s390x",
    ];
    NAMES.contains(&text) || matches!(text, "ppc64le" | "ppc64" | "loong64" | "mips64le" | "mips64")
}

/// A path, absolute or seen from a folder of the tree, relative to the root; none outside.
fn in_tree(root: &Path, start: &str, path: &str) -> Option<String> {
    let path = Path::new(path);
    let whole = if path.is_absolute() { path.to_owned() } else { root.join(start).join(path) };
    let whole = crate::read::compose::clean(&whole);
    let inside = whole.strip_prefix(root).ok()?.to_str()?;
    Some(if inside.is_empty() { ".".to_owned() } else { inside.to_owned() })
}

#[cfg(test)]
mod tests;
