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
use crate::engine::layout::Layout;
use crate::model::{
    ContextFile, ContextFileKind, ContextFiles, Diagnostic, Digest, InputKind, InputPattern, LayoutContext,
    Platform, Reference, Triggers,
};
use crate::read::conf::ServiceSettings;
use crate::read::fingerprint::files::Context;
use dockerfile::ignorefile::IgnoreFile;
use dockerfile::{Options, OtherNames};

/// Where the folders lie in the context that is sent.
pub(super) const FOLDER: &str = ".xtask-contexts";
/// How an image layout is named.
pub(super) const LAYOUT: &str = "oci-layout://";

/// A text in which names stand for what they mean.
pub(super) struct InContexts {
    pub text: String,
    /// Name and folder, relative to the root.
    pub folders: Vec<(String, String)>,
    /// Images in folders.
    pub layouts: Vec<LayoutContext>,
    /// 1-based line before which lines were put.
    at: u32,
    /// How many.
    count: u32,
}

impl InContexts {
    /// Puts a stage for each folder and each layout before this line.
    fn add_stages(&mut self, line: u32) {
        for LayoutContext { stage, .. } in &self.layouts {
            // A reference is written with its tag, and a stage has none.
            self.text = self.text.replace(&format!("{stage}:latest"), stage);
        }
        let folder =
            |(name, _): &(String, String)| format!("FROM scratch AS {name}\nCOPY {FOLDER}/{name}/ /\n");
        // The digest is there for the key: the builder puts the image in place of the whole stage.
        let layout = |LayoutContext { stage, digest, .. }: &LayoutContext| {
            format!("FROM scratch AS {stage}\nLABEL layout={digest}\n")
        };
        let stages: String = self.folders.iter().map(folder).chain(self.layouts.iter().map(layout)).collect();
        self.at = line;
        self.count = u32::try_from(stages.matches('\n').count()).unwrap_or_default();
        let before = usize::try_from(line).unwrap_or_default().saturating_sub(1);
        let offset: usize = self.text.split_inclusive('\n').take(before).map(str::len).sum();
        self.text.insert_str(offset, &stages);
    }

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
    /// A folder with an image layout, and what is meant of it.
    Layout(String, Digest),
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
        let mut done =
            InContexts { text: text.to_owned(), folders: Vec::new(), layouts: Vec::new(), at: 0, count: 0 };
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
                (Ok(Meaning::Layout(folder, digest)), Ok(written)) => {
                    let stage = format!("xtask-layout-{}", done.layouts.len() + 1);
                    match stage.parse() {
                        Ok(stage) => drop(names.insert((written, None), stage)),
                        Err(error) => refuse(error.to_string()),
                    }
                    done.layouts.push(LayoutContext { name: name.clone(), stage, folder, digest });
                }
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
        if let Some(first) = file.stages.first() {
            done.add_stages(first.line);
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
        if let Some(layout) = value.strip_prefix(LAYOUT) {
            return self.image_in(layout);
        }
        if is_named(value) {
            return Err(format!("`{value}` is not read: images, services, folders and image layouts are"));
        }
        if self.input.config.root.join(value).is_dir() {
            return Ok(Meaning::Folder(value.to_owned()));
        }
        Err(format!("there is no folder {value}"))
    }

    /// `FOLDER[:TAG][@DIGEST]`, as buildx reads it (docker/buildx, `build/opt.go`).
    fn image_in(&self, layout: &str) -> Result<Meaning, String> {
        let (named, digest) =
            layout.split_once('@').map_or((layout, None), |(named, digest)| (named, Some(digest)));
        let (folder, tag) = named.split_once(':').map_or((named, None), |(folder, tag)| (folder, Some(tag)));
        let images = Layout::at(self.input.config.root.join(folder));
        let digest = match digest {
            Some(digest) => digest.parse().map_err(|_| format!("`{digest}` is no digest"))?,
            None => images.meant(tag).map_err(|why| format!("{folder}: {why}"))?,
        };
        Ok(Meaning::Layout(folder.to_owned(), digest))
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

#[cfg(test)]
mod tests {
    use crate::model::{ImageName, ImageSource};
    use crate::read::tree::tests::read_fixture;

    /// An index that names these images, each of the digest of one letter.
    fn index(images: &[(&str, &str)]) -> String {
        let entry = |(letter, name): &(&str, &str)| {
            let named = if name.is_empty() {
                String::new()
            } else {
                format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#)
            };
            format!(r#"{{"digest":"sha256:{}","size":1{named}}}"#, letter.repeat(64))
        };
        let entries: Vec<String> = images.iter().map(entry).collect();
        format!(r#"{{"manifests":[{}]}}"#, entries.join(","))
    }

    /// The text that a builder gets, which image stands for which stage, or what is wrong.
    fn told(value: &str, images: &[(&str, &str)]) -> String {
        let tree = read_fixture(&format!(
            "//- src/api/Dockerfile\nARG A\nFROM alpine:3.19 AS x\nFROM base\nCOPY --from=alpine:3.19 /a /b\n\
             //- src/api/service.toml\ncontexts = {{ 'alpine:3.19' = '{value}', base = 'oci-layout://one' }}\n\
             //- images/index.json\n{}\n//- src/api/one/index.json\n{}\n",
            index(images),
            index(&[("f", "")]),
        ));
        if let Some(found) = tree.findings.first() {
            return found.diagnostic.message.clone();
        }
        let image = tree.graph.get(&ImageName::new("api")).expect("read");
        let ImageSource::Build(target) = &image.source else { panic!("{image:?}") };
        let layout = |layout: &crate::model::LayoutContext| {
            format!("{} {} {} {}", layout.stage, layout.name, layout.folder, &layout.digest.hex()[..3])
        };
        assert!(image.base_images.is_empty(), "{:?}", image.base_images);
        assert!(target.reachable_text.contains("sha256:f"), "a part of the key: {}", target.reachable_text);
        let layouts: Vec<String> = target.layouts.iter().map(layout).collect();
        let text = ["a", "b", "c", "f"]
            .iter()
            .fold(target.text.clone(), |text, letter| text.replace(&letter.repeat(64), letter));
        format!("{text}{}", layouts.join("\n"))
    }

    #[test]
    fn an_image_in_a_folder_is_a_stage_that_the_builder_replaces() {
        let (one, two) = (&[("a", "")][..], &[("a", "v1"), ("b", "v2")][..]);
        let cases = [
            ("oci-layout://../../images", one),
            ("oci-layout://../../images:v2", two),
            ("oci-layout://../../images", two),
            ("oci-layout://../../images:v3", two),
            (&format!("oci-layout://../../images:v3@sha256:{}", "c".repeat(64)), two),
            ("oci-layout://../../images@sha256:1", two),
            ("oci-layout://../../../images", one),
            ("oci-layout://gone", one),
            ("https://x/y", one),
        ];
        insta::assert_snapshot!(cases.map(|(value, images)| told(value, images)).join("\n\n"), @r"
        ARG A
        FROM scratch AS xtask-layout-1
        LABEL layout=sha256:a
        FROM scratch AS xtask-layout-2
        LABEL layout=sha256:f
        FROM xtask-layout-1 AS x
        FROM xtask-layout-2
        COPY --from=xtask-layout-1 /a /b
        xtask-layout-1 alpine:3.19 images aaa
        xtask-layout-2 base src/api/one fff

        ARG A
        FROM scratch AS xtask-layout-1
        LABEL layout=sha256:b
        FROM scratch AS xtask-layout-2
        LABEL layout=sha256:f
        FROM xtask-layout-1 AS x
        FROM xtask-layout-2
        COPY --from=xtask-layout-1 /a /b
        xtask-layout-1 alpine:3.19 images bbb
        xtask-layout-2 base src/api/one fff

        the context `alpine:3.19`: images: none of its 2 images is called `latest` (v1, v2)

        the context `alpine:3.19`: images: none of its 2 images is called `v3` (v1, v2)

        ARG A
        FROM scratch AS xtask-layout-1
        LABEL layout=sha256:c
        FROM scratch AS xtask-layout-2
        LABEL layout=sha256:f
        FROM xtask-layout-1 AS x
        FROM xtask-layout-2
        COPY --from=xtask-layout-1 /a /b
        xtask-layout-1 alpine:3.19 images ccc
        xtask-layout-2 base src/api/one fff

        the context `alpine:3.19`: `sha256:1` is no digest

        `contexts.alpine:3.19`: `oci-layout://../../../images` lies outside the tree

        the context `alpine:3.19`: src/api/gone: no image layout: No such file or directory (os error 2)

        the context `alpine:3.19`: `https://x/y` is not read: images, services, folders and image layouts are
        ");
    }
}
