//! Pure: a team's own `xtask`, a package of five lines, and the alias that runs it.

use super::{Found, Proposal, manifest};
use crate::model::Reason;

/// The manifest of the tree's workspace.
pub const WORKSPACE: &str = "Cargo.toml";
/// The manifest of the package.
pub const MANIFEST: &str = "xtask/Cargo.toml";
/// Its program.
pub const MAIN: &str = "xtask/src/main.rs";
/// Where the alias stands.
pub const CARGO_CONFIG: &str = ".cargo/config.toml";

/// The package that it depends on.
const PACKAGE: &str = env!("CARGO_PKG_NAME");
const MAIN_TEXT: &str = "\
//! `cargo xtask`: container images. Commands of our own stand beside its: `xtask_images::main_with` has an example.

fn main() -> std::process::ExitCode {
    xtask_images::main()
}
";
const ALIAS: &str = "xtask = \"run --quiet --package xtask --\"\n";

/// Where the package is had from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A registry: this version.
    Version(String),
    /// A git repository.
    Git(String),
    /// A folder, as seen from the root, or absolute.
    Folder(String),
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() || text.contains(['"', '\\', '\n']) {
            return Err(format!("`{text}` is neither a version, nor a git repository, nor a folder"));
        }
        Ok(if text.starts_with(|c: char| c.is_ascii_digit()) {
            Self::Version(text.to_owned())
        } else if text.contains("://") || text.ends_with(".git") || text.starts_with("git@") {
            Self::Git(text.to_owned())
        } else {
            Self::Folder(text.to_owned())
        })
    }
}

impl Source {
    /// The newest that this program knows of: itself.
    pub fn of_this_version() -> Self {
        Self::Version(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn dependency(&self) -> String {
        match self {
            Self::Version(version) => format!("{PACKAGE} = \"{version}\""),
            Self::Git(url) => format!("{PACKAGE} = {{ git = \"{url}\" }}"),
            Self::Folder(path) if path.starts_with('/') => format!("{PACKAGE} = {{ path = \"{path}\" }}"),
            // The manifest is one folder further down than the root.
            Self::Folder(path) => format!("{PACKAGE} = {{ path = \"../{path}\" }}"),
        }
    }
}

/// Adds its files.
pub fn add(found: &Found, source: &Source, proposal: &mut Proposal) {
    let text = |path: &str| found.texts.get(path).map(String::as_str);
    match text(MANIFEST) {
        Some(has) if !has.contains(PACKAGE) => {
            proposal.said.push(format!(
                "{MANIFEST} stands already: add `{}` to its dependencies, and call `xtask_images::main_with` in its main",
                source.dependency()
            ));
            return;
        }
        Some(_) => proposal.keep(MANIFEST),
        None => proposal.write(
            found,
            MANIFEST,
            format!(
                "[package]\nname = \"xtask\"\nedition = \"2024\"\npublish = false\n\n[dependencies]\n{}\n",
                source.dependency()
            ),
        ),
    }
    match text(MAIN) {
        Some(_) => proposal.keep(MAIN),
        None => proposal.write(found, MAIN, MAIN_TEXT.to_owned()),
    }
    proposal.write(found, CARGO_CONFIG, with_alias(text(CARGO_CONFIG)));
    match manifest::with_member(text(WORKSPACE), "xtask", &found.packages) {
        Ok(manifest) => proposal.write(found, WORKSPACE, manifest),
        Err(why) => {
            proposal.said.push(format!("{WORKSPACE}: {why}; add \"xtask\" to its workspace's members"));
            proposal.plan.skipped.push(crate::model::Skipped::new(
                crate::model::Phase::Init,
                WORKSPACE,
                Reason::Unchanged,
            ));
        }
    }
}

fn with_alias(was: Option<&str>) -> String {
    let Some(was) = was else { return format!("[alias]\n{ALIAS}") };
    let is_alias = |line: &str| {
        line.trim_start().strip_prefix("xtask").is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    if was.lines().any(is_alias) {
        return was.to_owned();
    }
    match was.lines().position(|line| line.trim() == "[alias]") {
        Some(at) => {
            let mut text: String = was.lines().take(at + 1).map(|line| format!("{line}\n")).collect();
            text.push_str(ALIAS);
            text.extend(was.lines().skip(at + 1).map(|line| format!("{line}\n")));
            text
        }
        None => format!(
            "{}{}\n[alias]\n{ALIAS}",
            was,
            if was.ends_with('\n') || was.is_empty() { "" } else { "\n" }
        ),
    }
}
