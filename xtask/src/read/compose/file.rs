//! Pure: what one compose file says of its services' images.
//!
//! In: its text and the variables, which are replaced as compose does it. Out: services and what the file includes, as it
//! stands; `project.rs` puts several files together.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::{Spanned, Tagged};

use crate::model::Diagnostic;
use crate::settings::interpolate::interpolate;

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct ComposeFile {
    /// By name.
    pub services: BTreeMap<String, Service>,
    /// In order.
    pub includes: Vec<Include>,
}

/// What a file says of a field: nothing, that it is not to be what another file says, or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    #[default]
    Unset,
    /// `!reset`
    Reset,
    Set(T),
}

impl<T> Field<T> {
    /// This one over what stands below it.
    pub fn over(self, lower: Self) -> Self {
        if matches!(self, Self::Unset) { lower } else { self }
    }
}

/// A service, as far as images go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    /// The text of its `image`, and where it stands: `compose.yaml:3`.
    pub image: Field<(String, String)>,
    /// Compose may build it itself.
    pub build: Field<()>,
    /// What it begins with.
    pub extends: Option<Extends>,
    /// `!reset`: there is no such service. `!override`: what other files say of it does not count.
    pub tag: Option<String>,
}

impl Service {
    /// Whether it runs what another does, wherever that is said.
    pub fn is_as(&self, other: &Self) -> bool {
        let text = |service: &Self| match &service.image {
            Field::Set((text, _)) => Some(text.clone()),
            Field::Unset | Field::Reset => None,
        };
        text(self) == text(other) && self.build == other.build
    }
}

/// `extends`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extends {
    /// Without one, the same file.
    pub file: Option<String>,
    pub service: String,
}

/// `include`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Include {
    /// The first one, and what overrides it.
    pub paths: Vec<String>,
    pub project_directory: Option<String>,
    /// Without any, `.env` in the project's folder.
    pub env_files: Vec<String>,
}

#[derive(Deserialize)]
struct RawFile {
    name: Option<String>,
    services: Option<BTreeMap<String, Tagged<Option<RawService>>>>,
    include: Option<Vec<RawInclude>>,
}

#[derive(Deserialize)]
struct RawService {
    #[serde(default = "nothing")]
    image: Tagged<Option<Spanned<String>>>,
    #[serde(default = "nothing")]
    build: Tagged<Option<IgnoredAny>>,
    extends: Option<RawExtends>,
}

fn nothing<T>() -> Tagged<Option<T>> {
    Tagged(None, None)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawExtends {
    Service(String),
    Full { service: String, file: Option<String> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawInclude {
    Path(String),
    Full { path: Texts, project_directory: Option<String>, env_file: Option<Texts> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    fn all(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// Values of variables.
pub(super) type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Reads a compose file; `path` is its name in messages.
///
/// # Errors
/// Text that is no YAML of this form, a variable that is asked for with `?` and missing.
pub(super) fn parse(path: &str, text: &str, variable: &Variables<'_>) -> Result<ComposeFile, Diagnostic> {
    let documents: Vec<RawFile> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or(0, |location| to_line(location.line()));
        let message = error.to_string();
        Diagnostic::error(path, line, message.lines().next().unwrap_or_default())
    })?;
    let mut file = ComposeFile::default();
    for raw in documents {
        for (name, Tagged(service, tag)) in raw.services.unwrap_or_default() {
            let service = match service {
                Some(service) => read_service(path, &name, service, variable)?,
                None => Service::default(),
            };
            let service = Service { tag: tag.filter(|tag| is_ours(tag)), ..service };
            // A tag is about other files, too.
            let merged = match file.services.remove(&name) {
                Some(lower) if service.tag.is_none() => merge(Some(lower), service),
                _ => Some(service),
            };
            file.services.extend(merged.map(|service| (name, service)));
        }
        for include in raw.include.unwrap_or_default() {
            file.includes.push(read_include(path, include, variable)?);
        }
    }
    Ok(file)
}

/// What a file calls the project. One that cannot be read says nothing here.
pub(super) fn project_name(text: &str, variable: &Variables<'_>) -> Option<String> {
    let documents: Vec<RawFile> = serde_saphyr::from_multiple(text).ok()?;
    let name = documents.into_iter().rev().find_map(|document| document.name)?;
    interpolate(&name, variable).ok().filter(|name| !name.is_empty())
}

/// A service of a later file over the same of an earlier one; none when it is taken away.
pub(super) fn merge(lower: Option<Service>, upper: Service) -> Option<Service> {
    match upper.tag.as_deref() {
        Some("!reset") => None,
        Some(_) => Some(Service { tag: None, ..upper }),
        None => {
            let lower = lower.unwrap_or_default();
            Some(Service {
                image: upper.image.over(lower.image),
                build: upper.build.over(lower.build),
                extends: upper.extends.or(lower.extends),
                tag: lower.tag,
            })
        }
    }
}

fn is_ours(tag: &str) -> bool {
    matches!(tag, "!reset" | "!override")
}

fn read_service(
    path: &str,
    name: &str,
    raw: RawService,
    variable: &Variables<'_>,
) -> Result<Service, Diagnostic> {
    let is_reset = |tag: &Option<String>| tag.as_deref() == Some("!reset");
    let image = match raw.image {
        Tagged(_, tag) if is_reset(&tag) => Field::Reset,
        Tagged(None, _) => Field::Unset,
        Tagged(Some(written), _) => {
            let line = to_line(written.referenced.line());
            let text = interpolate(&written.value, variable)
                .map_err(|why| Diagnostic::error(path, line, format!("the image of `{name}`: {why}")))?;
            Field::Set((text, format!("{path}:{line}")))
        }
    };
    let build = match raw.build {
        Tagged(_, tag) if is_reset(&tag) => Field::Reset,
        Tagged(None, _) => Field::Unset,
        Tagged(Some(_), _) => Field::Set(()),
    };
    let replaced = |text: String| {
        let what = format!("`extends` of `{name}`");
        interpolate(&text, variable).map_err(|why| Diagnostic::error(path, 0, format!("{what}: {why}")))
    };
    let extends = match raw.extends {
        None => None,
        Some(RawExtends::Service(service)) => Some(Extends { file: None, service: replaced(service)? }),
        Some(RawExtends::Full { service, file }) => {
            Some(Extends { file: file.map(replaced).transpose()?, service: replaced(service)? })
        }
    };
    Ok(Service { image, build, extends, tag: None })
}

fn read_include(path: &str, raw: RawInclude, variable: &Variables<'_>) -> Result<Include, Diagnostic> {
    let replaced = |text: String| {
        interpolate(&text, variable).map_err(|why| Diagnostic::error(path, 0, format!("`include`: {why}")))
    };
    let all = |texts: Vec<String>| texts.into_iter().map(replaced).collect::<Result<Vec<_>, _>>();
    Ok(match raw {
        RawInclude::Path(text) => Include { paths: all(vec![text])?, ..Include::default() },
        RawInclude::Full { path, project_directory, env_file } => Include {
            paths: all(path.all())?,
            project_directory: project_directory.map(replaced).transpose()?,
            env_files: all(env_file.map(Texts::all).unwrap_or_default())?,
        },
    })
}

fn to_line(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(0)
}
