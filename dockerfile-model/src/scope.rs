//! Which variable has which value where: global ARGs, and the environment of a stage.
//!
//! In: ARG and ENV in order, build args, platforms. Out: values and the names that were used. The rules are those
//! of BuildKit's `buildMetaArgs`, `defaultArgs` and `dispatchArg` (`dockerfile2llb/convert.go`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::command::Command;
use super::front_end::Use;
use super::lex::{Lex, UNKNOWN, Variables};
use super::lines::Findings;
use super::{Dockerfile, Options};
use crate::{Platform, Reference};

/// `PATH` of a stage whose image has none (`system.DefaultPathEnv`).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The ARGs before the first FROM, and the predefined ones, with their values.
pub(super) struct Globals {
    values: BTreeMap<Cow<'static, str>, String>,
    /// For each global ARG, whether or not it has a value: the instructions that declare it, and the names that
    /// its default asks for.
    declared: BTreeMap<String, GlobalArg>,
}

#[derive(Default)]
pub(super) struct GlobalArg {
    /// Positions in [`Dockerfile::instructions`].
    pub instructions: Vec<usize>,
    pub asks_for: BTreeSet<String>,
}

impl Variables for Globals {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

impl Globals {
    /// Evaluates what stands before the first FROM.
    pub(super) fn new(
        file: &Dockerfile,
        options: &Options<'_>,
        target: Option<&str>,
        found: &mut Findings,
    ) -> Self {
        let mut globals = Self { values: predefined(options, target), declared: BTreeMap::new() };
        let lex = Lex::new(file.escape);
        for (at, instruction) in file.head().iter().enumerate() {
            let Command::Arg(args) = &instruction.command else { continue };
            for (name, default) in args {
                let mut asks_for = Vec::new();
                let value = match (options.build_args.get(name), default) {
                    (Some(value), _) => Some(value.clone()),
                    (None, None) => None,
                    (None, Some(default)) => match lex.expand(default, &globals) {
                        Ok(expansion) => {
                            let uses = expansion.features.iter().map(|feature| Use {
                                feature: *feature,
                                written: default.clone(),
                                line: instruction.line,
                                trap: None,
                            });
                            found.uses.extend(uses);
                            asks_for = [expansion.matched, expansion.unmatched].concat();
                            Some(expansion.text)
                        }
                        Err(why) => {
                            found.error(instruction.line, format!("ARG {name}: {why}"));
                            None
                        }
                    },
                };
                let arg = globals.declared.entry(name.clone()).or_default();
                arg.asks_for.extend(asks_for);
                if arg.instructions.last() != Some(&at) {
                    arg.instructions.push(at);
                }
                if let Some(value) = value {
                    globals.values.insert(Cow::Owned(name.clone()), value);
                }
            }
        }
        globals
    }

    /// Whether `name` is declared before the first FROM.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }

    /// All names that may be used in FROM.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(Cow::as_ref).chain(self.declared.keys().map(String::as_str))
    }

    /// `names` with all that their defaults ask for.
    pub(super) fn close_over(&self, names: BTreeSet<String>) -> BTreeSet<String> {
        let mut queue: Vec<String> = names.into_iter().collect();
        let mut closed = BTreeSet::new();
        while let Some(name) = queue.pop() {
            if let Some(arg) = self.declared.get(&name) {
                queue.extend(arg.asks_for.iter().filter(|name| !closed.contains(*name)).cloned());
            }
            closed.insert(name);
        }
        closed
    }

    /// Where `name` is declared.
    pub(super) fn declaration(&self, name: &str) -> Option<&GlobalArg> {
        self.declared.get(name)
    }
}

/// `defaultArgs`: what is there without any ARG. Build args win here too.
fn predefined(options: &Options<'_>, target: Option<&str>) -> BTreeMap<Cow<'static, str>, String> {
    const BUILD: [&str; 5] = ["BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT"];
    const TARGET: [&str; 5] =
        ["TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT"];
    let mut values = BTreeMap::new();
    let mut set = |name: &'static str, value: &str| {
        let value = options.build_args.get(name).map_or(value, String::as_str);
        values.insert(Cow::Borrowed(name), value.to_owned());
    };
    for (names, platform) in [(BUILD, options.build_platform), (TARGET, options.platform)] {
        let Platform { os, arch, variant } = platform;
        let variant = variant.as_deref().unwrap_or_default();
        for (name, value) in names.into_iter().zip([&platform.to_string(), os, "", arch, variant]) {
            set(name, value);
        }
    }
    set("TARGETSTAGE", target.unwrap_or("default"));
    values
}

/// Where a stage's instructions run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Workdir {
    /// In `/`.
    Root,
    /// Below it.
    Below,
    /// Where its base image does.
    OfBase,
    /// Nobody knows.
    #[default]
    Unknown,
}

impl Workdir {
    /// What a path is, seen from here.
    pub(super) fn then(self, path: &str) -> Self {
        let start = if path.starts_with('/') { Self::Root } else { self };
        let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        match (start, parts.next()) {
            (start, None) => start,
            (Self::Root, Some("..")) if parts.all(|part| part == "..") => Self::Root,
            (_, Some(_)) if path.contains(UNKNOWN) || path.contains("..") => Self::Unknown,
            (_, Some(_)) => Self::Below,
        }
    }
}

/// The variables of a stage at one point of it.
#[derive(Clone, Default)]
pub(super) struct StageScope {
    /// Where it runs.
    pub workdir: Workdir,
    /// The external image below it.
    pub base: Option<Reference>,
    /// What instructions see: ARG and ENV.
    values: BTreeMap<String, String>,
    /// What the image's configuration keeps: ENV alone.
    kept: BTreeMap<String, String>,
    /// The stage stands on an image whose environment we do not know.
    has_unknown_base: bool,
    /// ARGs without a value: who declares one means it to be empty, whatever the image may set.
    empty_args: BTreeSet<String>,
    /// Names of the labels that were given, in this stage and in those that it stands on.
    pub labels: BTreeSet<String>,
}

impl Variables for StageScope {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn may_be_set_elsewhere(&self, name: &str) -> bool {
        // `$1`, `$$` and the like are never set.
        let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        self.has_unknown_base && is_name && !self.empty_args.contains(name)
    }
}

impl StageScope {
    /// A stage on `scratch`.
    pub(super) fn on_scratch() -> Self {
        let path = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
        Self { workdir: Workdir::Root, values: path.clone(), kept: path, ..Self::default() }
    }

    /// A stage on an external image.
    pub(super) fn on_image(base: Option<&Reference>) -> Self {
        let workdir = if base.is_some() { Workdir::OfBase } else { Workdir::Unknown };
        Self { has_unknown_base: true, workdir, base: base.cloned(), ..Self::default() }
    }

    /// A stage on another stage: it sees its ARGs as well, but ENV that an ARG had covered is back.
    pub(super) fn on_stage(base: &Self) -> Self {
        let mut scope = base.clone();
        scope.values.extend(scope.kept.clone());
        scope
    }

    pub(super) fn set_arg(&mut self, name: &str, value: Option<String>) {
        match value {
            Some(value) => drop(self.values.insert(name.to_owned(), value)),
            None => drop(self.empty_args.insert(name.to_owned())),
        }
    }

    pub(super) fn set_env(&mut self, name: String, value: String) {
        self.values.insert(name.clone(), value.clone());
        self.kept.insert(name, value);
    }
}
