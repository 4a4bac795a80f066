//! Pure: `service.toml`, what a service wants otherwise than by default, and which images it has.
//!
//! In: its text, rendered. Out: the settings of its one image, or of each `[[image]]`, over what stands outside of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::checks::{ByteSize, ServiceTest};
use super::{check_image_name, check_target_name};
use crate::model::suggest::did_you_mean;
use crate::model::{Diagnostic, Platform};
use crate::settings::toml_words;
use crate::settings::{ContextChoice, Scalar, Secret, Ssh};

/// What can be said of an image.
const KEYS: [&str; 15] = [
    "dockerfile",
    "context",
    "target",
    "image",
    "tags",
    "args",
    "labels",
    "secrets",
    "ssh",
    "platforms",
    "needs",
    "inputs",
    "contexts",
    "size_budget",
    "test",
];
/// What only an `[[image]]` has.
const NAME: &str = "name";
/// What the field calls the Dockerfile beside its own word.
const FILE: &str = "file";

/// `service.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFile {
    /// What holds for its one image, or for all of them.
    pub settings: ServiceSettings,
    /// Its `[[image]]` tables, in their order.
    pub images: Vec<ImageEntry>,
}

/// One `[[image]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEntry {
    /// What it is called, by `name` or a plain `image`.
    pub name: Option<String>,
    /// The stage that it names itself.
    pub target: Option<String>,
    /// The Dockerfile that it names itself.
    pub dockerfile: Option<String>,
    /// 1-based line on which it begins.
    pub line: u32,
    /// All that is said of it: what stands outside of `[[image]]` holds where it says nothing.
    pub settings: ServiceSettings,
}

/// What is said of an image. Every key is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceSettings {
    /// The Dockerfile, relative to the service's folder; discover takes it from here.
    pub dockerfile: Option<Spanned<String>>,
    /// The build context: `auto`, `service`, `root`, or a folder, relative to the service's own as in a compose
    /// file (`../shared`).
    pub context: Option<ServiceContext>,
    /// The stage to build; without it the last one.
    pub target: Option<String>,
    /// The image's name, without prefix, registry and tag; without it the folder's name.
    pub image: Option<String>,
    /// Whole names of the image beside that, the first its own where there is no `image`.
    #[serde(rename = "tags")]
    pub names: Vec<String>,
    /// Build args; only `--build-arg` beats them.
    pub args: BTreeMap<String, Scalar>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Secrets that its build may ask for, by ID; files are relative to the service's folder.
    pub secrets: BTreeMap<String, Secret>,
    /// Ssh agents, likewise.
    pub ssh: BTreeMap<String, Ssh>,
    /// What the image can run on; without it everything. A platform that is asked for must be among them.
    pub platforms: Vec<Platform>,
    /// Images or services of this tree that have to be built first, beyond those that the Dockerfile names.
    pub needs: Vec<String>,
    /// Globs, relative to the context, of further files that count for the fingerprint: those that a build reads
    /// in ways that no COPY shows. Which files are sent does not change.
    pub inputs: Vec<String>,
    /// What names in the Dockerfile stand for: `docker-image://REF`, `target:SERVICE`, or a folder, relative to the
    /// service's.
    pub contexts: BTreeMap<String, String>,
    /// The network of instructions; a compose or bake file says it.
    #[serde(skip)]
    pub network: Option<String>,
    /// How large its images may be.
    pub size_budget: Option<ByteSize>,
    /// Its test.
    pub test: Option<ServiceTest>,
    /// Unknown keys.
    #[serde(skip)]
    pub warnings: Vec<Diagnostic>,
}

/// Where a service's build context lies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum ServiceContext {
    /// By rule.
    Choice(ContextChoice),
    /// A folder, relative to the service's.
    Folder(String),
    /// A folder, relative to the root.
    InTree(String),
}

impl From<String> for ServiceContext {
    fn from(text: String) -> Self {
        match text.parse() {
            Ok(choice) => Self::Choice(choice),
            Err(_) => Self::Folder(text),
        }
    }
}

/// Reads `service.toml`.
///
/// # Errors
/// Invalid TOML, a value of the wrong kind, a name that no image can have.
pub fn parse_service_toml(file: &str, text: &str) -> Result<ServiceFile, Diagnostic> {
    let parsed = DeTable::parse(text).map_err(|error| toml_words::finding(file, text, &error))?;
    let reading = Reading { file, text };
    let (span, mut table) = (parsed.span(), parsed.into_inner());
    let entries = reading.take_entries(&mut table)?;
    reading.call_it_dockerfile(&mut table)?;
    let settings = reading.settings(Spanned::new(span, table.clone()))?;
    let settings = ServiceSettings { warnings: reading.unknown_keys(&table, false), ..settings };
    let read = |entry| reading.entry(entry, &table, &settings);
    let images = entries.into_iter().map(read).collect::<Result<_, Diagnostic>>()?;
    Ok(ServiceFile { settings, images })
}

/// A text that is read.
struct Reading<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reading<'_> {
    fn refuse(&self, at: usize, why: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.file, 0, why).at_offset(self.text, at)
    }

    /// The `[[image]]` tables; a text by that key is a name, and stays.
    fn take_entries<'i>(&self, table: &mut DeTable<'i>) -> Result<Vec<Spanned<DeTable<'i>>>, Diagnostic> {
        let Some(value) = table.get("image") else { return Ok(Vec::new()) };
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Table(_) => {
                return Err(self.refuse(at, "an image's table is one of several: `[[image]]` begins each"));
            }
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {}
            _ => return Ok(Vec::new()),
        }
        let Some(DeValue::Array(items)) = table.remove("image").map(Spanned::into_inner) else {
            return Ok(Vec::new());
        };
        let as_table = |item: Spanned<DeValue<'i>>| {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => Ok(Spanned::new(span, table)),
                _ => Err(self.refuse(span.start, "expected a table, as `[[image]]` begins one")),
            }
        };
        items.into_iter().map(as_table).collect()
    }

    /// `file` is another word for `dockerfile`.
    fn call_it_dockerfile(&self, table: &mut DeTable<'_>) -> Result<(), Diagnostic> {
        let Some((key, value)) = table.remove_entry(FILE) else { return Ok(()) };
        if table.contains_key("dockerfile") {
            let why = "`file` and `dockerfile` are one key: leave one of them out";
            return Err(self.refuse(key.span().start, why));
        }
        table.insert(Spanned::new(key.span(), "dockerfile".into()), value);
        Ok(())
    }

    fn settings(&self, table: Spanned<DeTable<'_>>) -> Result<ServiceSettings, Diagnostic> {
        let image_at = table.get_ref().get("image").map_or(0, |value| value.span().start);
        let settings = ServiceSettings::deserialize(toml::Deserializer::from(table))
            .map_err(|error| toml_words::finding(self.file, self.text, &error))?;
        let named = settings.image.as_deref().map_or(Ok(()), check_image_name);
        named.map_err(|why| self.refuse(image_at, why))?;
        Ok(settings)
    }

    fn unknown_keys(&self, table: &DeTable<'_>, is_entry: bool) -> Vec<Diagnostic> {
        let known = || KEYS.into_iter().chain([FILE]).chain(is_entry.then_some(NAME));
        let keys = table.keys().filter(|key| known().all(|name| name != key.get_ref().as_ref()));
        let said = keys.map(|key| {
            let name: &str = key.get_ref();
            let message = format!("unknown key `{name}`{}", did_you_mean(name, known()));
            Diagnostic::warning(self.file, 0, message).at_offset(self.text, key.span().start)
        });
        said.collect()
    }

    /// One `[[image]]` over what holds for all.
    fn entry(
        &self,
        entry: Spanned<DeTable<'_>>,
        all: &DeTable<'_>,
        settings: &ServiceSettings,
    ) -> Result<ImageEntry, Diagnostic> {
        let (span, mut own) = (entry.span(), entry.into_inner());
        self.call_it_dockerfile(&mut own)?;
        let warnings = self.unknown_keys(&own, true);
        let said = |key: &str| own.get(key).and_then(|value| value.get_ref().as_str()).map(str::to_owned);
        let image = said("image").filter(|image| !super::is_whole_name(image));
        let (target, dockerfile) = (said("target"), said("dockerfile"));
        let name = match own.remove(NAME) {
            None => image,
            Some(value) => {
                let name = value.get_ref().as_str().ok_or_else(|| "expected a text in quotes".to_owned());
                // Capitals are said where the image is named.
                let named =
                    name.and_then(|name| check_target_name(&name.to_lowercase()).map(|()| name.to_owned()));
                Some(named.map_err(|why| self.refuse(value.span().start, why))?)
            }
        };
        let line = self.refuse(span.start, "").line;
        let merged = self.settings(Spanned::new(span, over(all, own)))?;
        let warnings = settings.warnings.iter().cloned().chain(warnings).collect();
        Ok(ImageEntry { name, target, dockerfile, line, settings: ServiceSettings { warnings, ..merged } })
    }
}

/// An image's table over what holds for all: tables key by key, everything else as a whole.
fn over<'i>(all: &DeTable<'i>, own: DeTable<'i>) -> DeTable<'i> {
    let mut merged = all.clone();
    for (key, value) in own {
        let is_whole = key.get_ref() == "test";
        let known = merged.remove_entry(&key);
        let value = match (known.map(|(_, known)| known.into_inner()), value.get_ref()) {
            (Some(DeValue::Table(mut known)), DeValue::Table(more)) if !is_whole => {
                known.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
                Spanned::new(value.span(), DeValue::Table(known))
            }
            _ => value,
        };
        merged.insert(key, value);
    }
    merged
}

impl ServiceFile {
    /// What is said of an image by its place among the `[[image]]` tables, or of the service where that is none of them.
    pub fn of(self, entry: Option<usize>) -> Option<ServiceSettings> {
        let Some(at) = entry else { return Some(self.settings) };
        self.images.into_iter().nth(at).map(|entry| entry.settings)
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn service_toml_says_what_differs() {
        let text = "context = 'root'\ntarget = 'prod'\nimage = 'ai-api'\nplatforms = ['linux/x86_64']\nneeds = ['base']\ninputs = ['*.lock']\n[args]\nA = 'x'\nB = 2\nC = true\n";
        let settings = parse_service_toml("s", text).expect("valid").settings;
        assert_eq!(settings.context, Some(ServiceContext::Choice(ContextChoice::Root)));
        assert_eq!(settings.platforms, [Platform::new("linux", "amd64", None)]);
        let args: Vec<_> =
            settings.args.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
        assert_eq!(args, [("A", "x"), ("B", "2"), ("C", "true")]);
        assert_eq!(settings.warnings, []);
        let folder = parse_service_toml("s", "context = '../shared'").expect("valid").settings.context;
        assert_eq!(folder, Some(ServiceContext::Folder("../shared".to_owned())));

        let warnings =
            parse_service_toml("service.toml", "need = []\nimage = 'a'\n").expect("valid").settings.warnings;
        let mut said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        for bad in [
            "image = 'A'\n",
            "image = 'a@sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff'\n",
            "\nplatforms = ['amd64']\n",
            "needs = 'x'\n",
            "target =\n",
        ] {
            said.push(parse_service_toml("service.toml", bad).expect_err(bad).to_string());
        }
        assert_snapshot!(said.join("\n"), @r#"
        warning: service.toml:1:1: unknown key `need`, did you mean `needs`?
        error: service.toml:1:9: `A` is not an image reference: a repository is lowercase letters and digits, separated by `/`, `.`, `_`, `__` or dashes
        error: service.toml:1:9: `a@sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff` has a digest, which nobody can choose
        error: service.toml:2:13: `amd64` is not a platform: expected `os/arch` or `os/arch/variant`, for example `linux/amd64`
        error: service.toml:1:9: expected a list: `["..."]`, found "x"
        error: service.toml:1:9: string values must be quoted, expected literal string
        "#);
    }

    /// What is said of each image: its name, and what differs from the built-in.
    fn entries(text: &str) -> String {
        let read = match parse_service_toml("s", text) {
            Ok(read) => read,
            Err(found) => return found.to_string(),
        };
        let told = read.images.iter().map(|entry| {
            let ImageEntry { name, line, settings, .. } = entry;
            let file = settings.dockerfile.as_ref().map_or("-", |file| file.get_ref());
            let args: Vec<String> =
                settings.args.iter().map(|(name, value)| format!("{name}={}", value.0)).collect();
            let target = settings.target.as_deref().unwrap_or("-");
            let name = name.as_deref().unwrap_or("-");
            let said: Vec<String> = settings.warnings.iter().map(ToString::to_string).collect();
            let (args, said) = (args.join(","), said.join("; "));
            format!("{line}: {name} {file} {target} [{args}] {:?} {said}", settings.test)
        });
        told.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_image_stands_over_what_holds_for_all() {
        let cases = [
            "dockerfile = 'D'\nargs = { A = '1', B = '2' }\ntest = { stage = 't' }\n\n[[image]]\nname = 'api'\n\
             [[image]]\nfile = 'w'\nargs = { B = 3, C = 4 }\ntarget = 'x'\ntest = ['y']\n",
            "image = [{ image = 'a/b' }, { image = 'r.example/c:1' }, { name = 'n', image = 'm', tagets = 1 }]\nneed = 1",
            "[[image]]\nname = 'Api'\n",
            "[[image]]\nname = 'a b'\n",
            "[[image]]\n\nname = 'a:1'\n",
            "[[image]]\nname = 3\n",
            "[[image]]\nfile = 'a'\ndockerfile = 'b'\n",
            "file = 3\n[[image]]\nname = 'a'\n",
            "\n[image]\nname = 'a'\n",
            "image = [{ name = 'a' }, 3]",
            "image = []",
            "[[image]]\nname = 'a'\n[[image]]\nplatforms = ['amd64']\n",
        ];
        assert_snapshot!(cases.map(entries).join("\n\n"), @r#"
        5: api D - [A=1,B=2] Some(ServiceTest { stage: Some("t"), command: [] }) 
        7: - w x [A=1,B=3,C=4] Some(ServiceTest { stage: None, command: ["y"] }) 

        1: a/b - - [] None warning: s:2:1: unknown key `need`, did you mean `needs`?
        1: - - - [] None warning: s:2:1: unknown key `need`, did you mean `needs`?
        1: n - - [] None warning: s:2:1: unknown key `need`, did you mean `needs`?; warning: s:1:85: unknown key `tagets`, did you mean `tags`?

        1: Api - - [] None 

        error: s:2:8: `a b` is not an image reference: a repository is lowercase letters and digits, separated by `/`, `.`, `_`, `__` or dashes

        error: s:3:8: `a:1` carries a tag or a port: an image name has neither

        error: s:2:8: expected a text in quotes

        error: s:2:1: `file` and `dockerfile` are one key: leave one of them out

        error: s:1:8: expected a text in quotes, found 3

        error: s:2:1: an image's table is one of several: `[[image]]` begins each

        error: s:1:26: expected a table, as `[[image]]` begins one

        error: s:1:9: expected a text in quotes, found a list

        error: s:4:13: `amd64` is not a platform: expected `os/arch` or `os/arch/variant`, for example `linux/amd64`
    "#);
    }
}
