//! Pure: the selected images as a bake file, so that `docker buildx bake` can build them on its own builders.
//!
//! In: the graph, contexts and assessments of a plan. Out: one JSON document with a target for each image: context,
//! Dockerfile, stage, args, labels with the fingerprint, names, platform, and the images of this tree that it builds on
//! as named contexts. A target has the same content and the same key as what `build` makes, so what bake built and
//! loaded is up to date here. Format: <https://docs.docker.com/build/bake/reference/>.

mod apart;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::build::{Assessment, BuildRequest, build_spec};
use crate::model::{
    BuildSpec, Image, ImageName, ImageSource, LayoutContext, Observed, Reference, RegistryPrefix,
    SecretSource, SshSource, labels, relative,
};
use crate::plan::build::Contexts;
use crate::plan::cache::of_builder;
use crate::plan::prefetch::Pin;
use crate::read::graph::ImageGraph;

#[derive(Serialize)]
struct BakeFile {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    variable: BTreeMap<String, Variable>,
    group: BTreeMap<&'static str, Group>,
    target: BTreeMap<String, Target>,
}

/// Taken from the environment; without a default.
#[derive(Serialize)]
struct Variable {}

#[derive(Serialize)]
struct Group {
    targets: Vec<String>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Target {
    context: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dockerfile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dockerfile_inline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    tags: Vec<String>,
    platforms: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    contexts: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secret: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache_from: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache_to: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_cache: bool,
}

/// What a bake file is made of.
#[derive(Clone, Copy)]
pub struct BakeInput<'a> {
    /// Which images, and how.
    pub request: &'a BuildRequest,
    /// The images.
    pub graph: &'a ImageGraph,
    /// Their contexts.
    pub contexts: &'a Contexts,
    /// Their keys.
    pub assessments: &'a [Assessment],
    /// A build arg whose value is one becomes a variable of the same name, which bake takes from the environment.
    pub is_secret: &'a dyn Fn(&str) -> bool,
    /// Files that are going to be written, relative to the root.
    pub pending: &'a BTreeMap<String, String>,
    /// The store.
    pub observed: &'a Observed,
    /// What external images are held to.
    pub pins: &'a BTreeMap<Reference, Pin>,
    /// `--cache-from`
    pub cache_from: &'a [RegistryPrefix],
    /// `--cache-to`
    pub cache_to: Option<&'a RegistryPrefix>,
    /// The folder that files which do not stand in the tree are put into, relative to the root.
    pub aside: &'a str,
}

/// A bake file, and what has to be beside it.
#[derive(Clone, Debug, Default)]
pub struct Bake {
    /// The file's text. Paths in it are relative to the root, where bake has to be run.
    pub text: String,
    /// Files to be put beside the tree, by path relative to the root.
    pub aside: BTreeMap<String, ExtraFile>,
    /// What cannot be baked, and why.
    pub left_out: Vec<(ImageName, String)>,
}

/// A file beside the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraFile {
    /// What it holds.
    pub content: Content,
    /// Unix permission bits, as a build would see them.
    pub mode: u32,
}

/// What a file beside the tree holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The same as another file, absolute.
    File(PathBuf),
    /// This text.
    Text(String),
}

/// The bake file of the images that the request selects. Images that cannot be planned are left out, and so is whatever
/// builds on them.
pub fn bake(input: &BakeInput<'_>) -> Bake {
    let BakeInput { request, graph, contexts, assessments, .. } = *input;
    let names = target_names(graph);
    let mut baked = Bake::default();
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    let mut variables = BTreeMap::new();
    let mut made = BTreeSet::new();
    let all = graph.images().iter().zip(assessments);
    for (image, assessment) in all.filter(|(image, _)| request.selected.contains(&image.name)) {
        if let Some(need) = image.needs.iter().find(|need| !made.contains(*need)) {
            baked.left_out.push((image.name.clone(), format!("it builds on {need}")));
            continue;
        }
        let name = &names[&image.name];
        if let (Some(_), Some(whole)) = (&image.index, targets.get_mut(name)) {
            // Bake builds all platforms of a target; only what is told of one of them is different.
            whole.platforms.push(image.platform.to_string());
            whole.labels.retain(|label, _| !of_one_platform(label));
            made.insert(image.name.clone());
            continue;
        }
        let target = match &image.source {
            ImageSource::External(source) => Ok(external(image, source)),
            ImageSource::Build(_) if assessment.key.is_none() => Err(assessment.reason.to_string()),
            ImageSource::Build(_) => match build_spec(request, image, assessment, contexts) {
                Some(spec) => built(input, image, spec, &names, &mut baked.aside),
                None => continue,
            },
        };
        let mut target = match target {
            Ok(target) => target,
            Err(why) => {
                baked.left_out.push((image.name.clone(), why));
                continue;
            }
        };
        for base in image.base_images.iter().map(|base| &base.reference) {
            let pinned = input.pins.get(base).and_then(|pin| pin.locked.digest.as_ref());
            if let Some(name) = pinned.map(|digest| base.pinned(digest)).or_else(|| upstream(input, base)) {
                target.contexts.insert(base.context_name(), format!("docker-image://{name}"));
            }
        }
        let cache = |cache: &RegistryPrefix| {
            Some(format!("type=registry,ref={}", of_builder(cache, image)?.familiar()))
        };
        target.cache_from = input.cache_from.iter().filter_map(cache).collect();
        target.cache_to =
            input.cache_to.and_then(cache).map(|to| format!("{to},mode=max")).into_iter().collect();
        for (name, value) in &mut target.args {
            if (input.is_secret)(value) {
                *value = format!("${{{name}}}");
                variables.insert(name.clone(), Variable {});
            } else {
                *value = literal(value);
            }
        }
        made.insert(image.name.clone());
        targets.insert(name.clone(), target);
    }
    let group = Group { targets: targets.keys().cloned().collect() };
    separate(&mut targets);
    let file = BakeFile { variable: variables, group: BTreeMap::from([("default", group)]), target: targets };
    // Strings and maps with string keys: serialising them cannot fail.
    baked.text = serde_json::to_string_pretty(&file).unwrap_or_default();
    baked
}

/// Labels that say something else on each platform.
fn of_one_platform(label: &str) -> bool {
    [labels::FINGERPRINT, labels::BUILD_HASH, labels::PARTS, labels::PLATFORM].contains(&label)
}

fn built(
    input: &BakeInput<'_>,
    image: &Image,
    spec: BuildSpec,
    names: &BTreeMap<ImageName, String>,
    aside: &mut BTreeMap<String, ExtraFile>,
) -> Result<Target, String> {
    let context =
        |(name, need): (&Reference, &ImageName)| (name.context_name(), format!("target:{}", names[need]));
    let on_others = image.asks_for_on.iter().map(|((name, _), need)| (name, need));
    let mut contexts: BTreeMap<String, String> =
        image.asks_for.iter().chain(on_others).map(context).collect();
    let in_tree =
        |path: &str| if spec.context == "." { path.to_owned() } else { format!("{}/{path}", spec.context) };
    let apart: Vec<(&str, ExtraFile)> = spec
        .files
        .counted()
        .filter_map(|file| {
            let pending = || input.pending.get(&in_tree(&file.path)).cloned().map(Content::Text);
            let content = file.source.clone().map(Content::File).or_else(pending)?;
            Some((file.path.as_str(), ExtraFile { content, mode: file.mode }))
        })
        .collect();
    let mut inline = input.pending.contains_key(&spec.dockerfile).then(|| spec.text.clone());
    if !apart.is_empty() {
        let paths: Vec<&str> = apart.iter().map(|(path, _)| *path).collect();
        let pointed = apart::point_to_folder(&spec, &paths).map_err(|line| {
            let (files, at) = (paths.join(", "), &spec.dockerfile);
            format!("{at}:{line} copies {files} with other files, and {files} does not stand in the tree")
        })?;
        inline = Some(pointed);
        let folder = format!("{}/{}", input.aside, names[&image.name]);
        for (path, file) in &apart {
            aside.insert(format!("{folder}/{path}"), file.clone());
        }
        contexts.insert(apart::CONTEXT.to_owned(), folder);
    }
    contexts.extend(
        spec.layouts.into_iter().map(|LayoutContext { name, folder, digest, .. }| {
            (name, format!("oci-layout://{folder}@{digest}"))
        }),
    );
    Ok(Target {
        // Bake takes Dockerfiles relative to their contexts.
        dockerfile: inline.is_none().then(|| relative(&spec.context, &spec.dockerfile)),
        dockerfile_inline: inline.as_deref().map(literal),
        context: spec.context,
        target: spec.target,
        args: spec.build_args,
        labels: spec.labels.into_iter().map(|(name, value)| (name, literal(&value))).collect(),
        tags: tags(image),
        platforms: vec![spec.platform.to_string()],
        contexts,
        secret: spec.secrets.secrets.iter().map(|(id, source)| secret(id, source)).collect(),
        ssh: spec.secrets.ssh.iter().map(|(id, source)| agent(id, source)).collect(),
        cache_from: Vec::new(),
        cache_to: Vec::new(),
        no_cache: spec.no_cache,
    })
}

/// What it is pushed as. The plain name beside that of a registry is an engine's own affair: `bake --push` would push it too,
/// to docker.io, and `build-all` gives it without a build.
fn tags(image: &Image) -> Vec<String> {
    image.known_names().map(|(name, _)| name.familiar()).collect()
}

/// Where it is, as `--secret` has it.
fn secret(id: &str, source: &SecretSource) -> String {
    match source {
        SecretSource::File(path) => format!("id={id},src={}", path.display()),
        SecretSource::Variable { name, .. } => format!("id={id},env={name}"),
    }
}

/// The same for `--ssh`.
fn agent(id: &str, source: &SshSource) -> String {
    let paths = match source {
        SshSource::Agent(socket) => std::slice::from_ref(socket),
        SshSource::Keys(keys) => keys,
    };
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    format!("{id}={}", paths.join(","))
}

/// What to build on in place of a base image whose name an image of the tree takes: the same content by its digest, which
/// any builder can ask its registry for, or else the further name that a builder with this store finds.
fn upstream(input: &BakeInput<'_>, base: &Reference) -> Option<Reference> {
    let upstreams = input.graph.upstreams();
    let twin = upstreams.twin_of(base).filter(|_| upstreams.is_taken(base))?;
    let (_, here) = upstreams.find(base, input.observed)?;
    let pinned = here.digests.iter().find(|pinned| pinned.repository() == base.repository());
    Some(pinned.unwrap_or(twin).clone())
}

/// One target cannot stand behind two contexts of another (buildx 0.13: "unsupported context source target"), so a
/// Dockerfile that uses two names of one image gets a nameless twin of its target for the second.
fn separate(targets: &mut BTreeMap<String, Target>) {
    let mut twins = BTreeMap::new();
    for target in targets.values_mut() {
        let mut seen = BTreeSet::new();
        for context in target.contexts.values_mut() {
            let original = context.trim_start_matches("target:").to_owned();
            let mut n = 2;
            while !seen.insert(context.clone()) {
                let twin = format!("{original}--{n}");
                *context = format!("target:{twin}");
                twins.insert(twin, original.clone());
                n += 1;
            }
        }
    }
    for (twin, original) in twins {
        if let Some(target) = targets.get(&original).cloned() {
            targets.insert(twin, Target { tags: Vec::new(), ..target });
        }
    }
}

/// An image that is only renamed: bake has no word for that, but a Dockerfile of one line gives the same layers.
fn external(image: &Image, source: &Reference) -> Target {
    Target {
        context: ".".to_owned(),
        dockerfile: None,
        dockerfile_inline: Some(format!("FROM {}\n", source.familiar())),
        target: None,
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        tags: tags(image),
        platforms: vec![image.platform.to_string()],
        contexts: BTreeMap::new(),
        secret: Vec::new(),
        ssh: Vec::new(),
        cache_from: Vec::new(),
        cache_to: Vec::new(),
        no_cache: false,
    }
}

/// Bake reads `${…}` in strings as its own variables and `%{…}` as its own templates; doubled they stand for
/// themselves.
fn literal(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

/// Target names take letters, digits, `_` and `-` only; each image has one of its own.
fn target_names(graph: &ImageGraph) -> BTreeMap<ImageName, String> {
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    let mut wholes: BTreeMap<ImageName, String> = BTreeMap::new();
    for image in graph.images() {
        let whole = image.name.image();
        if let Some(name) = wholes.get(&whole) {
            names.insert(image.name.clone(), name.clone());
            continue;
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let plain: String = whole.as_str().chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
        let mut name = plain.clone();
        let mut n = 2;
        while !taken.insert(name.clone()) {
            name = format!("{plain}-{n}");
            n += 1;
        }
        wholes.insert(whole, name.clone());
        names.insert(image.name.clone(), name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_context() {
        for (folder, path, seen) in [
            (".", "src/a/Dockerfile", "src/a/Dockerfile"),
            ("src/a", "src/a/Dockerfile", "Dockerfile"),
            ("src/common", "src/a/Dockerfile", "../a/Dockerfile"),
            ("docker/base-images", "docker/base-images/debian/Dockerfile", "debian/Dockerfile"),
        ] {
            assert_eq!(relative(folder, path), seen, "{path} from {folder}");
        }
    }

    #[test]
    fn texts_mean_themselves() {
        assert_eq!(literal("a $b ${c} %{d} {e}"), "a $b $${c} %%{d} {e}");
    }
}
