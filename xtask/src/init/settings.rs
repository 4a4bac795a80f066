//! Pure: what was found, in words; and the settings that are not the default.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::services::Choice;
use super::{Found, Wanted};
use crate::model::program;

/// Where anybody's images come from; another domain may be a company's registry.
const PUBLIC: [&str; 14] = [
    "docker.io",
    "quay.io",
    "ghcr.io",
    "gcr.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "registry.k8s.io",
    "k8s.gcr.io",
    "nvcr.io",
    "cgr.dev",
    "docker.elastic.co",
    "registry.access.redhat.com",
    "registry.redhat.io",
    "registry.gitlab.com",
];
/// Lines of `.gitignore`, and what says the same.
const IGNORED: [(&str, &[&str]); 2] = [
    ("/target", &["target", "target/", "/target/", "**/target", "**/target/"]),
    ("/.config/xtask.local.toml", &[".config/xtask.local.toml", "*.local.toml", "xtask.local.toml"]),
];
/// So many things are named; of more the number is told.
const NAMED: usize = 6;

/// What was found, a fact a line.
pub fn tell(found: &Found, choice: &Choice, wanted: &Wanted, said: &mut Vec<String>) {
    match choice.globs.as_slice() {
        [] => said.push("no Dockerfile that a service could be built from".to_owned()),
        globs => said.push(format!("{} in {}", number(choice.services.len(), "service"), list(globs))),
    }
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, why) in &choice.left {
        reasons.entry(why).or_default().push(path);
    }
    let aside = "of tests, examples or documentation";
    reasons.entry(aside).or_default().extend(found.aside.iter().map(String::as_str));
    for (why, paths) in reasons.into_iter().filter(|(_, paths)| !paths.is_empty()) {
        said.push(format!("left out: {} ({why})", list(&paths)));
    }
    for (name, places) in choice.clashes() {
        said.push(format!(
            "{} would all be `{name}`: `image = \"…\"`, or `name` of an `[[image]]`, in a service.toml tells them apart",
            list(&places)
        ));
    }
    if let Some(registry) = own_registry(found, choice) {
        said.push(format!(
            "images of this tree are called {registry}/… in Dockerfiles: that is its registry"
        ));
    }
    for (domain, number) in company_registries(found) {
        let images = if number == 1 {
            "1 Dockerfile builds".to_owned()
        } else {
            format!("{number} Dockerfiles build")
        };
        said.push(format!("{images} on {domain}: `internal_registry = \"{domain}/…\"` if it keeps what public registries have"));
    }
    tell_definitions(found, wanted, said);
    let left_out = uncovered(found, choice);
    if covers(found, choice, wanted) && found.bake.is_empty() && !left_out.is_empty() {
        let places = list(&left_out);
        said.push(format!(
            "left out: {places} (the compose files do not build it); `services` takes it along"
        ));
    }
    if !found.env_files.is_empty() {
        said.push(format!("{}: their values reach build args and templates", list(&found.env_files)));
    }
    if !found.ci.is_empty() {
        let hint = if wanted.workflow || !found.ci.contains(&"GitHub Actions") {
            ""
        } else {
            "; --workflow writes a workflow that builds the images"
        };
        said.push(format!("checks run by {}{hint}", list(&found.ci)));
    }
}

fn tell_definitions(found: &Found, wanted: &Wanted, said: &mut Vec<String>) {
    let read = if wanted.definitions { "" } else { "; what they build is not read, only what they run" };
    if let Some(trouble) = &found.composed.trouble {
        said.push(format!("{} cannot be read: {trouble}", list(&found.compose)));
    } else if !found.compose.is_empty() {
        let built = found.composed.builds.len();
        said.push(format!(
            "{}: {}, {built} of them built here{read}",
            list(&found.compose),
            number(found.composed.services, "service")
        ));
    }
    if !found.more_compose.is_empty() {
        said.push(format!("further compose files: {}", list(&found.more_compose)));
    }
    if !found.bake.is_empty() {
        said.push(list(&found.bake));
    }
}

/// The settings file.
pub fn text(found: &Found, choice: &Choice, wanted: &Wanted) -> String {
    let mut text = format!("# What is not the default; `{} plan` shows what comes of it.\n", program::name());
    let definitions = definitions(found, wanted);
    // Writing to a String cannot fail.
    if !definitions.is_empty() {
        let _ = writeln!(text, "definitions = {}", array(&definitions));
    }
    if covers(found, choice, wanted) {
        let _ = writeln!(text, "# Everything that is built stands in the definitions.\nservices = []");
    } else if !choice.is_default() {
        let _ = writeln!(text, "services = {}", array(&choice.globs));
    }
    if choice.by_path && !covers(found, choice, wanted) {
        let _ = writeln!(text, "# Folders are called the same over and over: `a/b` is a-b.\nname = \"path\"");
    }
    if let Some(registry) = own_registry(found, choice) {
        let _ = writeln!(text, "registry = \"{registry}\"");
    }
    text
}

/// Files that say what is built, where the settings may name such.
fn definitions(found: &Found, wanted: &Wanted) -> Vec<String> {
    if !wanted.definitions {
        return Vec::new();
    }
    let compose = found.compose.iter().filter(|_| !found.composed.builds.is_empty());
    // Each brings its override.
    compose.chain(&found.bake).filter(|file| !file.contains(".override.")).cloned().collect()
}

/// Whether the definitions build most of what there is: what its owners leave out is no image of this tree.
fn covers(found: &Found, choice: &Choice, wanted: &Wanted) -> bool {
    let left_out = uncovered(found, choice).len();
    !definitions(found, wanted).is_empty()
        && (left_out == 0 || left_out < found.composed.builds.len() || !found.bake.is_empty())
}

/// Services that compose files do not build, by their names.
fn uncovered<'a>(found: &Found, choice: &'a Choice) -> Vec<&'a str> {
    let is_built = |name: &str| found.composed.builds.iter().any(|built| built.eq_ignore_ascii_case(name));
    let services = choice.services.iter().filter(|(_, name)| !is_built(name));
    services.map(|(place, _)| place.as_str()).collect()
}

/// The registry that Dockerfiles of this tree name its own images by.
fn own_registry(found: &Found, choice: &Choice) -> Option<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (path, dockerfile) in &found.dockerfiles {
        // What is made into another image of the same name is somebody else's.
        let is_own = |place: &str| path == place || path.starts_with(&format!("{place}/"));
        let others = choice.services.iter().filter(|(place, _)| !is_own(place));
        let names: BTreeSet<&str> = others.map(|(_, name)| name.as_str()).collect();
        for base in &dockerfile.bases {
            let repository = base.repository();
            let Some((before, name)) = repository.rsplit_once('/') else { continue };
            // Official images have no owner: `nginx` is not a service of that name.
            if names.contains(name) && before != "docker.io/library" {
                *seen.entry(before.to_owned()).or_default() += 1;
            }
        }
    }
    seen.into_iter().max_by_key(|(_, number)| *number).map(|(registry, _)| registry)
}

/// Registries that are nobody's public ones, and how many Dockerfiles build on what they have.
fn company_registries(found: &Found) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for dockerfile in found.dockerfiles.values() {
        let mut domains: Vec<&str> = dockerfile.bases.iter().map(|base| base.domain()).collect();
        domains.sort_unstable();
        domains.dedup();
        let is_public = |domain: &&str| {
            PUBLIC.contains(domain)
                || domain.ends_with(".pkg.dev")
                || domain.ends_with(".gcr.io")
                || *domain == "localhost"
        };
        for domain in domains.into_iter().filter(|domain| !is_public(domain)) {
            *seen.entry(domain.to_owned()).or_default() += 1;
        }
    }
    seen
}

/// The file with the lines that it lacks.
pub fn gitignore(was: Option<&str>) -> String {
    let mut text = was.unwrap_or_default().to_owned();
    let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    let has = |wanted: &str, same: &[&str]| {
        lines.iter().any(|line| line == wanted || same.contains(&line.as_str()))
    };
    for (line, same) in IGNORED {
        if has(line, same) {
            continue;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn array(items: &[String]) -> String {
    let quoted: Vec<String> =
        items.iter().map(|item| format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    let line = format!("[{}]", quoted.join(", "));
    if line.len() <= 90 { line } else { format!("[\n    {},\n]", quoted.join(",\n    ")) }
}

/// `a, b and 3 more`.
fn list<T: AsRef<str>>(items: &[T]) -> String {
    let named: Vec<&str> = items.iter().take(NAMED).map(AsRef::as_ref).collect();
    match items.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn number(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
