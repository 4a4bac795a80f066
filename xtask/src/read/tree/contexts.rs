//! What names in a Dockerfile stand for that are not in it: named contexts (`additional_contexts` of compose, `contexts` of
//! bake files, of settings and of `service.toml`).
//!
//! In: a Dockerfile's text, what names stand for. Out: a text that every builder understands, engines before 23 too, which
//! know no named contexts: images are written in their places, and a folder is a stage of its own whose files are sent
//! with the context, below [`FOLDER`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::defined::is_named;
use super::service::Reader;
use crate::model::{
    ContextFile, ContextFileKind, ContextFiles, Diagnostic, InputKind, InputPattern, Platform, Reference,
    Triggers,
};
use crate::read::conf::ServiceSettings;
use crate::read::fingerprint::files::Context;
use dockerfile::ignorefile::IgnoreFile;
use dockerfile::{Options, OtherNames};

/// Where the folders lie in the context that is sent.
pub(super) const FOLDER: &str = ".xtask-contexts";

/// A text in which names stand for what they mean.
pub(super) struct InContexts {
    pub text: String,
    /// Name and folder, relative to the root.
    pub folders: Vec<(String, String)>,
    /// 1-based line before which lines were put.
    at: u32,
    /// How many.
    count: u32,
}

impl InContexts {
    /// The line of the text as it stands in the file.
    pub(super) fn line(&self, line: u32) -> u32 {
        if line < self.at || self.count == 0 { line } else { line.saturating_sub(self.count).max(self.at) }
    }

    /// The same for findings about the file.
    pub(super) fn place(&self, file: &str, said: &mut [Diagnostic]) {
        let of_file = said.iter_mut().filter(|found| found.file == file);
        of_file.for_each(|found| found.line = self.line(found.line));
    }
}

enum Meaning {
    Image(Reference),
    Folder(String),
}

impl Reader<'_> {
    /// The text with the service's named contexts in it; what is not understood is said.
    pub(super) fn in_contexts(
        &self,
        text: &str,
        path: &str,
        (settings, platform): (&ServiceSettings, &Platform),
        said: &mut Vec<Diagnostic>,
    ) -> InContexts {
        let mut names = OtherNames::new();
        let mut done = InContexts { text: text.to_owned(), folders: Vec::new(), at: 0, count: 0 };
        let (file, _) = dockerfile::parse(path, text);
        for (name, value) in &settings.contexts {
            if !text.contains(name.as_str()) {
                continue;
            }
            let mut refuse = |why: String| {
                said.push(Diagnostic::error(path, 0, format!("the context `{name}`: {why}")));
            };
            if file.stages.iter().any(|stage| stage.name.as_deref() == Some(&name.to_lowercase())) {
                refuse("a stage has its name, and would be replaced by it; rename one of them".to_owned());
                continue;
            }
            match (self.meaning(value), name.parse::<Reference>()) {
                (Ok(Meaning::Image(image)), Ok(name)) => drop(names.insert((name, None), image)),
                (Ok(Meaning::Folder(folder)), _) => done.folders.push((name.clone(), folder)),
                (Err(why), _) => refuse(why),
                (_, Err(error)) => refuse(error.to_string()),
            }
        }
        let build_args: BTreeMap<String, String> =
            settings.args.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
        let triggers = Triggers::new();
        let build_platform = self.input.engine.build_platform(platform);
        let target = settings.target.as_deref();
        let options =
            Options { target, build_args: &build_args, platform, build_platform, triggers: &triggers };
        done.text = dockerfile::rename(text, &options, &names);
        if let (Some(first), false) = (file.stages.first(), done.folders.is_empty()) {
            done.at = first.line;
            let stage =
                |(name, _): &(String, String)| format!("FROM scratch AS {name}\nCOPY {FOLDER}/{name}/ /\n");
            let stages: String = done.folders.iter().map(stage).collect();
            done.count = u32::try_from(stages.matches('\n').count()).unwrap_or_default();
            let before = usize::try_from(first.line).unwrap_or_default().saturating_sub(1);
            let offset: usize = done.text.split_inclusive('\n').take(before).map(str::len).sum();
            done.text.insert_str(offset, &stages);
        }
        done
    }

    fn meaning(&self, value: &str) -> Result<Meaning, String> {
        if let Some(image) = value.strip_prefix("docker-image://") {
            return image
                .parse()
                .map(Meaning::Image)
                .map_err(|error: crate::model::ParseReferenceError| error.to_string());
        }
        if let Some(service) = value.strip_prefix("target:").or_else(|| value.strip_prefix("service:")) {
            return self.reference_of(service).map(Meaning::Image);
        }
        if is_named(value) {
            return Err(format!("`{value}` is not read: images, services and folders of the tree are"));
        }
        if self.input.config.root.join(value).is_dir() {
            return Ok(Meaning::Folder(value.to_owned()));
        }
        Err(format!("there is no folder {value}"))
    }

    /// The files of the folders, where the text has them, beside those of the context itself.
    pub(super) fn with_folders(
        &self,
        files: ContextFiles,
        (folders, dockerfile): (&[(String, String)], &str),
        said: &mut Vec<Diagnostic>,
    ) -> ContextFiles {
        if folders.is_empty() {
            return files;
        }
        let mut all: Vec<(ContextFile, bool)> = with_counts(&files);
        for (name, folder) in folders {
            let root = self.input.config.root.join(folder);
            let rules =
                std::fs::read_to_string(root.join(".dockerignore")).ok().map(|text| IgnoreFile::parse(&text));
            let ignore_path = format!("{folder}/.dockerignore");
            let ignore = rules.as_ref().map(|rules| (rules, ignore_path.as_str()));
            let reading = Context { ignore, ..self.context_at(folder, dockerfile) };
            // The folders on the way are nowhere in the tree.
            let on_the_way = [FOLDER.to_owned(), format!("{FOLDER}/{name}")];
            all.extend(on_the_way.map(|path| (way_to(path, &root), false)));
            let whole = [InputPattern::new(".", 0, InputKind::Declared)];
            let (found, problems) = reading.select(&whole, self.hashes);
            said.extend(problems);
            let moved = with_counts(&found).into_iter().map(|(file, counts)| {
                let source = file.source.clone().unwrap_or_else(|| root.join(&file.path));
                (
                    ContextFile {
                        path: format!("{FOLDER}/{name}/{}", file.path),
                        source: Some(source),
                        ..file
                    },
                    counts,
                )
            });
            all.extend(moved);
        }
        ContextFiles::new(all)
    }
}

/// A folder of the sent context, with what stands for it.
fn way_to(path: String, stands_for_it: &Path) -> ContextFile {
    let kind = ContextFileKind::Directory;
    ContextFile { path, mode: 0o755, kind, source: Some(stands_for_it.to_owned()) }
}

fn with_counts(files: &ContextFiles) -> Vec<(ContextFile, bool)> {
    let counted: BTreeSet<&str> = files.counted().map(|file| file.path.as_str()).collect();
    let both = |file: &ContextFile| (file.clone(), counted.contains(file.path.as_str()));
    files.entries().iter().map(both).collect()
}
