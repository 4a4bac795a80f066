//! What a builder gets of a build context.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Digest;

/// The entries of a context that a build can read, and which of them count for its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextFiles {
    // Shared, since the plan's steps carry them too.
    entries: Arc<[ContextFile]>,
    counted: Arc<[usize]>,
}

impl ContextFiles {
    /// From entries, each with whether an instruction reads it (the others are folders on the way to one).
    pub fn new(entries: impl IntoIterator<Item = (ContextFile, bool)>) -> Self {
        let mut all: Vec<(ContextFile, bool)> = entries.into_iter().collect();
        all.sort_by(|a, b| path_order(&a.0.path, &b.0.path));
        all.dedup_by(|a, b| {
            let same = a.0.path == b.0.path;
            b.1 |= same && a.1;
            same
        });
        let counted = all.iter().enumerate().filter(|(_, (_, counts))| *counts).map(|(i, _)| i).collect();
        Self { entries: all.into_iter().map(|(file, _)| file).collect(), counted }
    }

    /// Everything to send: sorted component by component, parents before children.
    pub fn entries(&self) -> &[ContextFile] {
        &self.entries
    }

    /// What instructions read, in the same order.
    pub fn counted(&self) -> impl Iterator<Item = &ContextFile> {
        self.counted.iter().filter_map(|index| self.entries.get(*index))
    }

    /// Paths of the files and symlinks that instructions read.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.counted().filter(|f| f.kind != ContextFileKind::Directory).map(|f| f.path.as_str())
    }
}

/// The order of a walk: component by component, so that `a/b` comes before `a-b`.
pub fn path_order(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

/// What of permission bits counts, in keys and in what a builder gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modes {
    /// All but the write bits of group and others, which the umask of whoever cloned a tree decides. Nothing is added.
    #[default]
    Portable,
    /// All.
    Exact,
}

impl Modes {
    /// What counts of the permission bits of a file or folder.
    pub fn of(self, mode: u32) -> u32 {
        match self {
            Self::Portable => mode & !0o022,
            Self::Exact => mode,
        }
    }
}

impl std::str::FromStr for Modes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "portable" => Ok(Self::Portable),
            "exact" => Ok(Self::Exact),
            _ => Err(format!("`{text}` is no way to take modes: expected `portable` or `exact`")),
        }
    }
}

/// One entry of a build context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContextFile {
    /// Relative to the context, with `/`.
    pub path: String,
    /// Unix permission bits.
    pub mode: u32,
    /// What stands there.
    #[serde(flatten)]
    pub kind: ContextFileKind,
    /// Where it lies, absolute, when that is not below the context folder. It says nothing about the content, so it is
    /// neither kept nor part of a key.
    #[serde(skip)]
    pub source: Option<PathBuf>,
}

/// What stands at a path of a build context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ContextFileKind {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// SHA-256 of its content.
        digest: Digest,
    },
    /// A folder (its entries stand for themselves).
    Directory,
    /// A symlink, sent as such.
    Symlink {
        /// Where it points, as written.
        target: String,
    },
}

/// A path of the tree as seen from a folder of the tree.
pub fn relative(folder: &str, path: &str) -> String {
    let folder: Vec<&str> = folder.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let path: Vec<&str> = path.split('/').collect();
    let common = folder.iter().zip(&path).take_while(|(a, b)| a == b).count();
    let up = vec![".."; folder.len() - common];
    up.into_iter().chain(path[common..].iter().copied()).collect::<Vec<_>>().join("/")
}
