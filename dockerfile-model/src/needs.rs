//! What a build of a Dockerfile takes from elsewhere: images, what they bring, and files of the build context.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Platform, Reference};

/// An external image that a Dockerfile stands on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BaseImage {
    /// What the file names, variables expanded.
    pub reference: Reference,
    /// `--platform` of the instruction that names it; none is the platform that the image is built for.
    pub platform: Option<Platform>,
    /// 1-based line of the first instruction that names it.
    pub line: u32,
}

/// What images bring to a Dockerfile that stands on them, by the name that it uses.
pub type Triggers = BTreeMap<Reference, Brought>;

/// The triggers (`ONBUILD`) of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brought {
    /// Instructions as the image has them, in order; they run first in a stage that stands on it.
    Known(Vec<String>),
    /// Nobody has seen the image yet: they may read anything.
    Unknown,
}

impl Default for Brought {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

/// Which instruction reads an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// `COPY`
    Copy,
    /// `ADD` of a local path
    Add,
    /// `RUN --mount=type=bind` from the build context
    Bind,
    /// No instruction: somebody says that it counts all the same
    Declared,
    /// What a trigger may read that nobody knows yet
    Possible,
}

/// One source of one COPY, ADD or bind mount that reads the build context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InputPattern {
    /// As written, variables expanded.
    pub pattern: String,
    /// 1-based line of the instruction.
    pub line: u32,
    /// Which instruction.
    pub kind: InputKind,
    /// `--exclude` patterns of the same instruction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
    /// `COPY --parents`: the pattern knows `**`, and `/./` cuts off what is not kept of the path.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parents: bool,
    /// `--chmod` gives permission bits to what is read, so its own do not count.
    #[serde(skip)]
    pub sets_mode: bool,
    /// The instruction is a trigger (`ONBUILD`) of the image that the stage stands on.
    #[serde(skip)]
    pub is_triggered: bool,
}

impl InputPattern {
    /// A source without flags.
    pub fn new(pattern: impl Into<String>, line: u32, kind: InputKind) -> Self {
        Self {
            pattern: pattern.into(),
            line,
            kind,
            excludes: Vec::new(),
            parents: false,
            sets_mode: false,
            is_triggered: false,
        }
    }
}

/// What `RUN --mount=type=…` asks whoever builds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKind {
    /// `secret`: a file or a variable that is in no layer.
    Secret,
    /// `ssh`: an agent that signs.
    Ssh,
}

/// One mount of a secret or of an ssh agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretMount {
    /// Which of the two.
    pub kind: SecretKind,
    /// What it is asked for by.
    pub id: String,
    /// 1-based line of the instruction.
    pub line: u32,
    /// The instruction fails without it.
    pub is_required: bool,
}
