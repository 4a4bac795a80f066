//! Pure: names of services by where they lie, for trees whose folders have the same names over and over.

use super::files::{is_dockerfile, legal_name, own_part};
use super::{FoundBy, ServiceSource};
use crate::read::conf::folder_of;
use crate::settings::ServiceNames;

/// What the settings have a service called, where that is not its folder.
pub(super) fn name_of(service: &ServiceSource, names: &ServiceNames, globs: &[String]) -> Option<String> {
    let is_file = matches!(service.found_by, FoundBy::File | FoundBy::FileAmongOthers);
    let own = is_file.then(|| own_part(&service.dockerfile)).flatten();
    let parts = parts(&service.dir, own, globs);
    let folder = *parts.last()?;
    let parent = parts.len().checked_sub(2).and_then(|at| parts.get(at)).copied().unwrap_or_default();
    let wished = match names {
        ServiceNames::Folder => return None,
        ServiceNames::Path => parts.join("-"),
        ServiceNames::Template(template) => template
            .replace("{path}", &parts.join("-"))
            .replace("{folder}", folder)
            .replace("{parent}", parent),
    };
    Some(legal_name(&wished))
}

/// What `name = "path"` has the service of a folder called, or that of a Dockerfile.
pub fn path_name(place: &str, globs: &[String]) -> String {
    let (dir, own) = if is_dockerfile(place) { (folder_of(place), own_part(place)) } else { (place, None) };
    legal_name(&parts(dir, own, globs).join("-"))
}

/// The folders from where a glob begins, and what a Dockerfile's name says beyond that.
fn parts<'a>(dir: &'a str, own: Option<&'a str>, globs: &[String]) -> Vec<&'a str> {
    let mut parts: Vec<&str> = dir.split('/').filter(|part| *part != ".").collect();
    let begins = globs.iter().map(|glob| literal(glob)).filter(|begin| is_begun_by(dir, begin));
    let longest = begins.map(|begin| begin.split('/').filter(|part| !part.is_empty()).count()).max();
    parts.drain(..longest.unwrap_or_default().min(parts.len()));
    parts.extend(own.filter(|part| !part.is_empty()));
    parts
}

/// What of a glob names one folder alone.
fn literal(glob: &str) -> String {
    let is_plain = |part: &&str| !part.contains(['*', '?', '[', '{']);
    glob.split('/').take_while(is_plain).collect::<Vec<_>>().join("/")
}

fn is_begun_by(dir: &str, begin: &str) -> bool {
    begin.is_empty() || dir.strip_prefix(begin).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_the_path_from_where_a_glob_begins() {
        let path = ServiceNames::Path;
        let template = |text: &str| format!("template {text}").parse::<ServiceNames>().expect(text);
        let folder = |dir: &str| ServiceSource { dir: dir.to_owned(), ..ServiceSource::default() };
        let file = |text: &str| ServiceSource {
            dir: text.rsplit_once('/').map_or(".", |(dir, _)| dir).to_owned(),
            dockerfile: text.to_owned(),
            found_by: FoundBy::File,
            ..ServiceSource::default()
        };
        let globs = ["src/**/Dockerfile*".to_owned(), "apps/web".to_owned()];
        for (service, names, expected) in [
            (folder("src/8.0/alpine3.20/amd64"), &path, Some("8.0-alpine3.20-amd64")),
            (file("src/17/jdk/Dockerfile"), &path, Some("17-jdk")),
            (file("src/17/jdk/Dockerfile.slim"), &path, Some("17-jdk-slim")),
            (folder("other/Api"), &path, Some("other-api")),
            (folder("apps/web"), &path, Some("apps-web")),
            (folder("src/17/jdk"), &template("{folder}-{parent}"), Some("jdk-17")),
            (folder("src/jdk"), &template("x{parent}-{folder}"), Some("x-jdk")),
            (folder("src/17/jdk"), &ServiceNames::Folder, None),
        ] {
            assert_eq!(name_of(&service, names, &globs).as_deref(), expected, "{}", service.dir);
        }
        for wrong in ["paths", "template", "template {name}", "template x"] {
            assert!(wrong.parse::<ServiceNames>().is_err(), "{wrong}");
        }
    }
}
