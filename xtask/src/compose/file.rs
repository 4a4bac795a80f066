//! Pure: which images a compose file starts.
//!
//! In: its text and the variables. Out: its services with their images, variables replaced as compose does it
//! (compose-spec, `12-interpolation.md`). `include` and `extends` of other files are not followed; that is said.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::{Diagnostic, Reference};

/// Where compose looks for its file, the first one that exists counting.
pub const FILE_NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// What a compose file describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComposeFile {
    /// Relative to the root.
    pub path: String,
    /// By name.
    pub services: Vec<ComposeService>,
    /// What is odd, and what was not looked at.
    pub warnings: Vec<Diagnostic>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeService {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub image: Option<Reference>,
    /// 1-based line of its `image`; 0 without one.
    pub line: u32,
    /// Compose may build it itself.
    pub builds: bool,
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    services: BTreeMap<String, Option<RawService>>,
    include: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawService {
    image: Option<serde_saphyr::Spanned<String>>,
    build: Option<IgnoredAny>,
    extends: Option<IgnoredAny>,
}

/// Reads a compose file. `variable` gives the values of variables.
///
/// # Errors
/// Text that is no YAML of this form, a variable that is asked for with `?` and missing, an image that is no reference.
pub fn parse(
    path: &str,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<ComposeFile, Diagnostic> {
    let raw: RawFile = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |location| to_line(location.line()));
        let message = error.to_string();
        Diagnostic::error(path, line, message.lines().next().unwrap_or_default())
    })?;
    let mut file = ComposeFile { path: path.to_owned(), ..ComposeFile::default() };
    if raw.include.is_some() {
        let message = "`include` is not followed: name the files in `compose` of the settings";
        file.warnings.push(Diagnostic::warning(path, 0, message));
    }
    for (name, service) in raw.services {
        let Some(service) = service else { continue };
        let line = service.image.as_ref().map_or(0, |image| to_line(image.referenced.line()));
        if service.extends.is_some() {
            let message = format!("`extends` of `{name}` is not followed; its own `image` counts");
            file.warnings.push(Diagnostic::warning(path, line, message));
        }
        let image = match &service.image {
            None => None,
            Some(written) => {
                let text = interpolate(&written.value, variable)
                    .map_err(|why| Diagnostic::error(path, line, format!("the image of `{name}`: {why}")))?;
                Some(text.parse::<Reference>().map_err(|why| {
                    let message = format!("the image of `{name}` gives `{text}`: {why}");
                    Diagnostic::error(path, line, message)
                })?)
            }
        };
        file.services.push(ComposeService { name, image, line, builds: service.build.is_some() });
    }
    Ok(file)
}

fn to_line(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(0)
}

/// Replaces `$NAME`, `${NAME}` and the forms with `:-`, `-`, `:+`, `+`, `:?`, `?`; `$$` is a dollar.
///
/// # Errors
/// A brace that is not closed, a name that is none, a value that `?` asks for and that is missing.
pub fn interpolate(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing_brace(inner).ok_or_else(|| format!("`${{{inner}` has no closing brace"))?;
            out.push_str(&braced(&inner[..end], variable)?);
            rest = &inner[end + 1..];
        } else {
            let length = name_length(rest);
            if length == 0 {
                out.push('$');
                continue;
            }
            out.push_str(&variable(&rest[..length]).unwrap_or_default());
            rest = &rest[length..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braced(inner: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, form) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err(format!("`${{{inner}}}` names no variable"));
    }
    let value = variable(name);
    let (form, empty_counts) = match form.strip_prefix(':') {
        Some(form) => (form, false),
        None => (form, true),
    };
    let value = value.filter(|value| empty_counts || !value.is_empty());
    let mut chars = form.chars();
    match (chars.next(), chars.as_str(), value) {
        (None, _, value) => Ok(value.unwrap_or_default()),
        (Some('-' | '?'), _, Some(value)) => Ok(value),
        (Some('-'), default, None) => interpolate(default, variable),
        (Some('?'), "", None) => Err(format!("the variable {name} is not set")),
        (Some('?'), why, None) => Err(format!("the variable {name} is not set: {why}")),
        (Some('+'), alternative, Some(_)) => interpolate(alternative, variable),
        (Some('+'), _, None) => Ok(String::new()),
        (Some(_), _, _) => Err(format!("`${{{inner}}}` is no form of a variable")),
    }
}

/// Where the brace that is open is closed.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(is_first) {
        return 0;
    }
    text.find(|c: char| !is_first(c) && !c.is_ascii_digit()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "TAG" => Some("v1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = interpolate(text, &variable).unwrap_or_else(|why| format!("error: {why}"));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn variables_are_replaced_as_compose_does_it() {
        check("a:$TAG", "a:v1");
        check("a:${TAG}", "a:v1");
        check("a:${NO:-x}", "a:x");
        check("a:${EMPTY:-x}", "a:x");
        check("a:${EMPTY-x}", "a:");
        check("a:${NO-${TAG:-y}}", "a:v1");
        check("${TAG:+with}", "with");
        check("${NO:+with}", "");
        check("${NO:?say it}", "error: the variable NO is not set: say it");
        check("${NO", "error: `${NO` has no closing brace");
        check("${TAG!}", "error: `${TAG!}` is no form of a variable");
        check("$$x $ 1$2", "$x $ 1$2");
        check("é$TAG", "év1");
    }

    #[test]
    fn services_and_their_images_are_found_with_their_lines() {
        let text = "\
x-common: &common
  restart: always
include: [other.yaml]
services:
  web:
    <<: *common
    image: golinks-web:${TAG:-latest}
    ports: [\"80:80\"]
  cache:
    image: \"redis:7\"
    extends: {file: x.yaml, service: y}
  own:
    build: ./own
  none:
";
        let file = parse("compose.yaml", text, &variable).unwrap();
        let told: Vec<String> = file
            .services
            .iter()
            .map(|s| {
                let image = s.image.as_ref().map(Reference::familiar).unwrap_or_default();
                format!("{}:{} {image} {}", s.name, s.line, s.builds)
            })
            .collect();
        assert_eq!(told, ["cache:10 redis:7 false", "own:0  true", "web:7 golinks-web:v1 false"]);
        let warnings: Vec<String> = file.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "warning: compose.yaml: `include` is not followed: name the files in `compose` of the settings",
                "warning: compose.yaml:10: `extends` of `cache` is not followed; its own `image` counts",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let told = |text| parse("c.yaml", text, &variable).unwrap_err().to_string();
        assert_eq!(
            told("services:\n  a:\n    image: ${NO:?x}\n"),
            "error: c.yaml:3: the image of `a`: the variable NO is not set: x"
        );
        assert!(
            told("services:\n  a:\n    image: A B\n").starts_with("error: c.yaml:3: the image of `a` gives")
        );
        assert!(told("services: [\n").starts_with("error: c.yaml"));
        assert!(told("services:\n  a: 1\n").starts_with("error: c.yaml"));
    }

    #[test]
    fn an_empty_file_has_no_services() {
        assert_eq!(parse("c.yaml", "services: {}\n", &variable).unwrap().services, []);
    }
}
