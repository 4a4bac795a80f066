//! Pure: the selected images as a bake file, so that `docker buildx bake` can build them on its own builders.
//!
//! In: the graph, contexts and assessments of a plan. Out: one JSON document with a target for each image: context,
//! Dockerfile, stage, args, labels with the fingerprint, names, platform, and the images of this tree that it builds on
//! as named contexts. A target has the same content and the same key as what `build` makes, so what bake built and
//! loaded is up to date here. Format: <https://docs.docker.com/build/bake/reference/>.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::build::{Assessment, BuildRequest, build_spec};
use crate::graph::ImageGraph;
use crate::model::{BuildSpec, Image, ImageName, ImageSource, Reference};
use crate::plan::build::Contexts;

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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_cache: bool,
}

/// The bake file of the images that the request selects. Paths are relative to the root, where bake has to be run.
/// Images that cannot be planned are left out, and so is whatever builds on them. A build arg whose value `is_secret`
/// becomes a variable of the same name, which bake takes from the environment.
pub fn bake(
    request: &BuildRequest,
    graph: &ImageGraph,
    contexts: &Contexts,
    assessments: &[Assessment],
    is_secret: &dyn Fn(&str) -> bool,
) -> String {
    let names = target_names(graph);
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    let mut variables = BTreeMap::new();
    let mut made = BTreeSet::new();
    let all = graph.images().iter().zip(assessments);
    for (image, assessment) in all.filter(|(image, _)| request.selected.contains(&image.name)) {
        if !image.needs.iter().all(|need| made.contains(need)) {
            continue;
        }
        let mut target = match &image.source {
            ImageSource::External(source) => external(image, source),
            ImageSource::Build(_) if assessment.key.is_none() => continue,
            ImageSource::Build(_) => match build_spec(request, image, assessment, contexts) {
                Some(spec) => built(image, spec, &names),
                None => continue,
            },
        };
        for (name, value) in &mut target.args {
            if is_secret(value) {
                *value = format!("${{{name}}}");
                variables.insert(name.clone(), Variable {});
            } else {
                *value = literal(value);
            }
        }
        made.insert(image.name.clone());
        targets.insert(names[&image.name].clone(), target);
    }
    let group = Group { targets: targets.keys().cloned().collect() };
    separate(&mut targets);
    let file = BakeFile { variable: variables, group: BTreeMap::from([("default", group)]), target: targets };
    // Strings and maps with string keys: serialising them cannot fail.
    serde_json::to_string_pretty(&file).unwrap_or_default()
}

fn built(image: &Image, spec: BuildSpec, names: &BTreeMap<ImageName, String>) -> Target {
    let context =
        |(name, need): (&Reference, &ImageName)| (context_name(name), format!("target:{}", names[need]));
    Target {
        dockerfile: Some(relative(&spec.context, &spec.dockerfile)),
        dockerfile_inline: None,
        context: spec.context,
        target: spec.target,
        args: spec.build_args,
        labels: spec.labels.into_iter().map(|(name, value)| (name, literal(&value))).collect(),
        tags: spec.tags.iter().map(Reference::familiar).collect(),
        platforms: vec![spec.platform.to_string()],
        contexts: image.asks_for.iter().map(context).collect(),
        no_cache: spec.no_cache,
    }
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
        tags: image.names().map(Reference::familiar).collect(),
        platforms: vec![image.platform.to_string()],
        contexts: BTreeMap::new(),
        no_cache: false,
    }
}

/// How BuildKit looks for a named context: the familiar form, without `:latest`
/// (buildkit `frontend/dockerui/namedcontext.go`).
fn context_name(reference: &Reference) -> String {
    let name = reference.familiar();
    name.strip_suffix(":latest").map_or_else(|| name.clone(), str::to_owned)
}

/// Bake reads `${…}` in strings as its own variables and `%{…}` as its own templates; doubled they stand for
/// themselves.
fn literal(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

/// A path of the tree as seen from a folder of the tree: bake takes Dockerfiles relative to their contexts.
fn relative(folder: &str, path: &str) -> String {
    let folder: Vec<&str> = folder.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let path: Vec<&str> = path.split('/').collect();
    let common = folder.iter().zip(&path).take_while(|(a, b)| a == b).count();
    let up = vec![".."; folder.len() - common];
    up.into_iter().chain(path[common..].iter().copied()).collect::<Vec<_>>().join("/")
}

/// Target names take letters, digits, `_` and `-` only; each image has one of its own.
fn target_names(graph: &ImageGraph) -> BTreeMap<ImageName, String> {
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    for image in graph.images() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let plain: String = image.name.as_str().chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
        let mut name = plain.clone();
        let mut n = 2;
        while !taken.insert(name.clone()) {
            name = format!("{plain}-{n}");
            n += 1;
        }
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
