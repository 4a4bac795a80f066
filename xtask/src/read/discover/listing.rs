//! What a folder holds: names and kinds, from `readdir` alone, so that whoever needs sizes and times can `stat` just
//! the entries that count.

use std::fs::{self, FileType};
use std::path::{MAIN_SEPARATOR, Path};

use walkdir::WalkDir;

use crate::model::Diagnostic;
use crate::read::template::Syntax;

/// The entries below one folder, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by path.
    pub entries: Vec<ListEntry>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListEntry {
    /// Relative to the listed folder, with `/`.
    pub path: String,
    /// What stands there.
    pub kind: EntryKind,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder; its entries are in the listing too.
    Directory,
    /// A folder that was not entered (`node_modules` and the like): who needs its entries lists it itself.
    Unlisted,
    /// A symlink, wherever it points; it is not followed.
    Symlink,
    /// A socket, a pipe, a device.
    Other,
}

impl From<FileType> for EntryKind {
    fn from(found: FileType) -> Self {
        if found.is_file() {
            Self::File
        } else if found.is_dir() {
            Self::Directory
        } else if found.is_symlink() {
            Self::Symlink
        } else {
            Self::Other
        }
    }
}

impl Listing {
    /// The templates that are ours to render: `.tpl` files of a Helm chart are Helm's.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        let charts: Vec<&str> =
            self.entries.iter().filter_map(|entry| entry.path.strip_suffix("Chart.yaml")).collect();
        self.entries
            .iter()
            .filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Symlink | EntryKind::Other))
            .map(|entry| entry.path.as_str())
            .filter(|path| Syntax::of(path).is_some())
            .filter(move |path| !charts.iter().any(|chart| is_below_chart(path, chart)))
    }
}

/// `chart` is what stands before `Chart.yaml`: a folder with its `/`. A chart at the very top is none of a service.
fn is_below_chart(path: &str, chart: &str) -> bool {
    chart.ends_with('/') && path.starts_with(chart)
}

/// Folders in which nobody keeps templates, and which may be huge.
pub(super) fn is_skipped(name: &str) -> bool {
    matches!(name, ".git" | "node_modules" | "target")
}

/// What becomes of a name that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NonUtf8Name {
    /// It is a finding: it may be what is looked for.
    Named,
    /// Nothing. Whether it matters is for those to say who read the folder as a build context.
    PassedOver,
}

/// The entries directly in a folder.
pub(super) fn top(
    root: &Path,
    dir: &str,
    non_utf8: NonUtf8Name,
    problems: &mut Vec<Diagnostic>,
) -> Result<Vec<ListEntry>, Diagnostic> {
    let unreadable = |error: &std::io::Error| Diagnostic::error(dir, 0, format!("cannot be listed: {error}"));
    let mut entries = Vec::new();
    for entry in fs::read_dir(root.join(dir)).map_err(|error| unreadable(&error))? {
        let entry = entry.map_err(|error| unreadable(&error))?;
        let name = match entry.file_name().into_string() {
            Ok(name) => name,
            Err(name) => {
                if non_utf8 == NonUtf8Name::Named {
                    problems.push(not_utf8(&join(dir, &name.to_string_lossy())));
                }
                continue;
            }
        };
        match entry.file_type() {
            Ok(found) => entries.push(ListEntry { path: name, kind: found.into() }),
            Err(error) => {
                problems.push(Diagnostic::error(join(dir, &name), 0, format!("cannot be read: {error}")));
            }
        }
    }
    entries.sort();
    Ok(entries)
}

/// Everything below a folder whose direct entries are known.
pub(super) fn below(root: &Path, dir: &str, top: Vec<ListEntry>, problems: &mut Vec<Diagnostic>) -> Listing {
    let base = root.join(dir);
    let mut entries = Vec::with_capacity(top.len());
    for mut entry in top {
        if entry.kind == EntryKind::Directory {
            if is_skipped(&entry.path) {
                entry.kind = EntryKind::Unlisted;
            } else {
                walk(&base, dir, &entry.path, &mut entries, problems);
            }
        }
        entries.push(entry);
    }
    entries.sort();
    Listing { entries }
}

fn walk(base: &Path, dir: &str, start: &str, entries: &mut Vec<ListEntry>, problems: &mut Vec<Diagnostic>) {
    let mut walk = WalkDir::new(base.join(start)).min_depth(1).follow_links(false).into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().map_or_else(|| start.into(), |path| relative(base, path));
                let cause = error.io_error().map_or_else(|| "a symlink loop".to_owned(), ToString::to_string);
                let message = format!("cannot be searched for templates: {cause}");
                problems.push(Diagnostic::warning(join(dir, &path), 0, message));
                continue;
            }
        };
        let Some(path) = entry.path().strip_prefix(base).ok().and_then(Path::to_str) else {
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
            continue;
        };
        let mut kind = EntryKind::from(entry.file_type());
        if kind == EntryKind::Directory && entry.file_name().to_str().is_some_and(is_skipped) {
            kind = EntryKind::Unlisted;
            walk.skip_current_dir();
        }
        entries.push(ListEntry { path: with_slashes(path), kind });
    }
}

fn relative(base: &Path, path: &Path) -> String {
    with_slashes(&path.strip_prefix(base).unwrap_or(path).to_string_lossy())
}

fn with_slashes(path: &str) -> String {
    if MAIN_SEPARATOR == '/' { path.to_owned() } else { path.replace(MAIN_SEPARATOR, "/") }
}

/// A path below a folder, both relative to the root.
pub(super) fn join(dir: &str, path: &str) -> String {
    if dir == "." { path.to_owned() } else { format!("{dir}/{path}") }
}

/// The path is shown as well as it can be.
fn not_utf8(path: &str) -> Diagnostic {
    Diagnostic::error(path, 0, "the name is not UTF-8; rename it")
}
