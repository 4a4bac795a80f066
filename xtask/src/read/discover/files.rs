//! Dockerfiles that globs of services name one by one, and what their services are called.

use std::collections::BTreeSet;

use super::nested::KEPT;
use super::{DOCKERFILE, Wanted, glob};
use crate::model::Diagnostic;
use crate::read::conf::folder_of;
use crate::read::template::Syntax;
use crate::settings::Config;

/// What the service in the root is called. The root's own name is another one in each clone.
pub(super) const ROOT: &str = "root";
/// Words by which a file says that it is a Dockerfile, in any case.
const WORDS: [&str; 2] = ["dockerfile", "containerfile"];

/// Whether a glob names files: its last part has the word.
pub fn names_files(pattern: &str) -> bool {
    let last = pattern.rsplit('/').next().unwrap_or(pattern).to_ascii_lowercase();
    WORDS.iter().any(|word| last.contains(word))
}

/// Whether a path's name says that it is a Dockerfile, written and not to be rendered.
pub fn is_dockerfile(path: &str) -> bool {
    own_part(path).is_some() && Syntax::of(path).is_none()
}

/// What the service of a Dockerfile is called.
pub fn service_name(path: &str) -> String {
    name_and_wish(path).0
}

/// The Dockerfiles that globs name, written or to be rendered, relative to the root.
pub(super) fn dockerfiles(
    config: &Config,
    wanted: &Wanted,
    problems: &mut Vec<Diagnostic>,
) -> BTreeSet<String> {
    let globs = config.services.iter().filter(|pattern| names_files(pattern));
    let named = globs.flat_map(|pattern| glob::files(&config.root, pattern, problems));
    let rendered = |path: String| match Syntax::of(&path) {
        None => Some(path),
        Some(_) => wanted.claim(&path).and_then(|_| Some(path.rsplit_once('.')?.0.to_owned())),
    };
    named.filter_map(rendered).filter(|path| own_part(path).is_some()).collect()
}

/// What the service of a Dockerfile is called, and what it would be called if images could be.
pub(super) fn name_and_wish(path: &str) -> (String, String) {
    let folder = folder_of(path);
    let wished = match own_part(path) {
        Some(part) if !part.is_empty() => part,
        _ if folder == "." => ROOT,
        _ => folder.rsplit('/').next().unwrap_or(folder),
    };
    (legal_name(wished), wished.to_owned())
}

/// `api` of `api.Dockerfile` and of `Dockerfile.api`, nothing of `Dockerfile`; none of what is no Dockerfile.
pub(super) fn own_part(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let lower = name.to_ascii_lowercase();
    let is_separator = |c: char| matches!(c, '.' | '-' | '_');
    WORDS.iter().find_map(|word| {
        if let Some(rest) = lower.strip_prefix(word) {
            let part = &name[word.len()..];
            let is_kept = KEPT.iter().any(|end| rest.ends_with(&format!(".{end}")));
            return (!is_kept && (rest.is_empty() || rest.starts_with(is_separator)))
                .then(|| part.trim_start_matches(is_separator));
        }
        lower.strip_suffix(word).filter(|rest| rest.ends_with(is_separator))?;
        Some(name[..name.len() - word.len()].trim_end_matches(is_separator))
    })
}

/// Lower-case letters and digits with separators between them, as image names have them.
pub(super) fn legal_name(wished: &str) -> String {
    let mut name = String::new();
    let mut separator = String::new();
    for c in wished.to_ascii_lowercase().chars() {
        if !c.is_ascii_alphanumeric() {
            separator.push(c);
            continue;
        }
        let is_legal = matches!(&*separator, "." | "_" | "__") || separator.chars().all(|c| c == '-');
        if !name.is_empty() {
            name.push_str(if is_legal { &separator } else { "-" });
        }
        separator.clear();
        name.push(c);
    }
    if name.is_empty() { DOCKERFILE.to_ascii_lowercase() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_called_by_the_files_own_part() {
        for (path, name) in [
            ("docker/Dockerfile.api", "api"),
            ("docker/api.Dockerfile", "api"),
            ("docker/api.dockerfile", "api"),
            ("docker/Dockerfile-api_v2", "api_v2"),
            ("images/py3.11-slim/Dockerfile", "py3.11-slim"),
            ("build/Containerfile.worker", "worker"),
            ("a/Dockerfile.Web App", "web-app"),
            ("a/Dockerfile.x..y_-_z", "x-y-z"),
            ("a/Dockerfile.linux.arm64", "linux.arm64"),
            ("a/Dockerfile.ä", "dockerfile"),
            ("images/-Api-/Dockerfile", "api"),
            ("Dockerfile", "root"),
        ] {
            assert_eq!(service_name(path), name, "{path}");
        }
    }

    #[test]
    fn not_everything_with_the_word_is_a_dockerfile() {
        for name in [
            "Dockerfile.dockerignore",
            "Dockerfile.api.dockerignore",
            "api.Dockerfile.dockerignore",
            "Dockerfile.orig",
            "Dockerfile.api.bak",
            "DockerfileParser.java",
            "mydockerfile",
            "dockerfiles",
            "api",
        ] {
            assert_eq!(own_part(name), None, "{name}");
        }
    }
}
