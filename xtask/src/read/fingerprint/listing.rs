//! EFFECT: folder listings with `stat`, read once per run however many images share a folder, and with the
//! files that sync-config and render are going to write laid over what is on disk.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::host::Stamp;
use crate::model::{Diagnostic, Digest, Modes};

/// Our own folder below the root; its files change with every run and are never part of a context.
const OWN_FOLDER: &str = "target/xtask";

/// The files that are going to be written, by root-relative path.
pub type Overlay = BTreeMap<String, Pending>;

/// A file that is going to be written.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its text.
    pub text: Arc<str>,
    /// Permission bits that it gets; none leaves those of the file that is there.
    pub mode: Option<u32>,
    /// Why it cannot be written after all: whoever reads it fails.
    pub broken: Option<Arc<Diagnostic>>,
}

/// Permission bits of a file that is made where none was.
const NEW_FILE: u32 = 0o644;

/// One entry of a folder.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// A regular file on disk.
    File(Stamp),
    /// A file that is going to be written.
    Pending(Arc<str>),
    /// A file that should be written, and cannot be.
    Broken(Arc<Diagnostic>),
    /// A file that lies elsewhere.
    Given(Arc<GivenFile>),
    /// A folder.
    Directory,
    /// A symlink and what it says; it need not lead anywhere.
    Symlink(String),
}

/// A file that stands at the top of one context and lies elsewhere, or is still to come: no other image sees it, and no
/// ignore file hides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenFile {
    /// Its name in the context.
    pub name: String,
    /// Where it lies, absolute; none while it is not on this machine.
    pub source: Option<PathBuf>,
    /// Bytes; 0 while nobody knows.
    pub size: u64,
    /// Its content's digest; none while nobody knows.
    pub digest: Option<Digest>,
}

/// A folder as it was read.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// Sorted by name.
    pub entries: Vec<Entry>,
    /// Names that could not be taken: lossy name and what is wrong with it.
    pub problems: Vec<(String, String)>,
    /// Why the folder itself could not be read.
    pub unreadable: Option<String>,
}

impl Folder {
    /// The same with a file laid over it.
    pub(super) fn with(&self, given: &Arc<GivenFile>) -> Self {
        let mut folder = self.clone();
        let kind = EntryKind::Given(Arc::clone(given));
        let entry = Entry { name: given.name.clone(), mode: NEW_FILE, kind };
        match folder.entries.binary_search_by(|e| e.name.as_str().cmp(&given.name)) {
            Ok(index) => folder.entries[index] = entry,
            Err(index) => folder.entries.insert(index, entry),
        }
        folder
    }

    /// The entry of that name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let index = self.entries.binary_search_by(|e| e.name.as_str().cmp(name)).ok()?;
        self.entries.get(index)
    }
}

/// The folders below a root, read as they are asked for.
#[derive(Debug)]
pub struct Listings {
    root: PathBuf,
    overlay: Overlay,
    modes: Modes,
    unmade: BTreeMap<String, String>,
    folders: Mutex<HashMap<String, Arc<Folder>>>,
}

impl Listings {
    /// The folders as they will be once `overlay` is written.
    pub fn new(root: &Path, overlay: Overlay, modes: Modes) -> Self {
        // What is written through a symlink changes the file that it leads to.
        let written = |path: String| {
            let real = std::fs::canonicalize(root.join(&path)).ok();
            let inside = real.as_deref().and_then(|real| real.strip_prefix(root).ok()?.to_str());
            inside.map_or(path, str::to_owned)
        };
        let overlay = overlay.into_iter().map(|(path, pending)| (written(path), pending)).collect();
        Self { root: root.to_owned(), overlay, modes, unmade: BTreeMap::new(), folders: Mutex::default() }
    }

    /// The same, knowing why files are not there that somebody may look for, by root-relative path.
    #[must_use]
    pub fn explaining(self, unmade: BTreeMap<String, String>) -> Self {
        Self { unmade, ..self }
    }

    /// Why a file is not there, if that is known.
    pub(super) fn why_not(&self, path: &str) -> Option<&str> {
        self.unmade.get(path).map(String::as_str)
    }

    /// The root that paths are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder at a root-relative path (empty for the root). A folder that is not there is empty.
    pub fn folder(&self, path: &str) -> Arc<Folder> {
        if let Some(folder) = self.lock().get(path) {
            return Arc::clone(folder);
        }
        let folder = Arc::new(self.read(path));
        self.lock().insert(path.to_owned(), Arc::clone(&folder));
        folder
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Folder>>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, path: &str) -> Folder {
        let mut folder = Folder::default();
        match std::fs::read_dir(self.root.join(path)) {
            Ok(entries) => {
                for entry in entries {
                    let entry = match entry {
                        Ok(entry) => entry,
                        Err(error) => {
                            folder.unreadable = Some(error.to_string());
                            break;
                        }
                    };
                    let name = match entry.file_name().into_string() {
                        Ok(name) => name,
                        Err(name) => {
                            let lossy = name.to_string_lossy().into_owned();
                            folder.problems.push((lossy, "its name is not UTF-8".to_owned()));
                            continue;
                        }
                    };
                    if join(path, &name) == OWN_FOLDER {
                        continue;
                    }
                    match stat(&entry) {
                        Ok(Some((mode, kind))) => {
                            let mode = match kind {
                                // Means nothing, and differs between systems.
                                EntryKind::Symlink(_) => 0o777,
                                _ => self.modes.of(mode),
                            };
                            folder.entries.push(Entry { name, mode, kind });
                        }
                        Ok(None) => {}
                        // Gone between listing and stat: as if it had never been listed.
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                        Err(error) => folder.problems.push((name, error.to_string())),
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => folder.unreadable = Some(error.to_string()),
        }
        folder.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.lay_over(path, &mut folder);
        folder
    }

    fn lay_over(&self, path: &str, folder: &mut Folder) {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        for (file, pending) in self.overlay.range(prefix.clone()..) {
            let Some(rest) = file.strip_prefix(&prefix) else { break };
            let name = rest.split('/').next().unwrap_or(rest);
            let found = folder.entries.binary_search_by(|e| e.name.as_str().cmp(name));
            let there = found.ok().and_then(|index| folder.entries.get(index));
            let (mode, kind) = if name.len() < rest.len() {
                if there.is_some() {
                    continue;
                }
                (0o755, EntryKind::Directory)
            } else {
                let mode = pending.mode.or(there.map(|entry| entry.mode)).unwrap_or(NEW_FILE);
                let kind = match &pending.broken {
                    Some(why) => EntryKind::Broken(Arc::clone(why)),
                    None => EntryKind::Pending(Arc::clone(&pending.text)),
                };
                (self.modes.of(mode), kind)
            };
            let entry = Entry { name: name.to_owned(), mode, kind };
            match found {
                Ok(index) => folder.entries[index] = entry,
                Err(index) => folder.entries.insert(index, entry),
            }
        }
    }
}

/// `folder/name`, without a slash in front when the folder is empty.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn stat(entry: &std::fs::DirEntry) -> std::io::Result<Option<(u32, EntryKind)>> {
    let meta = entry.metadata()?;
    let mode = meta.mode() & 0o7777;
    let kind = meta.file_type();
    let kind = if kind.is_file() {
        EntryKind::File(Stamp::of(&meta))
    } else if kind.is_dir() {
        EntryKind::Directory
    } else if kind.is_symlink() {
        let target = std::fs::read_link(entry.path())?;
        match target.into_os_string().into_string() {
            Ok(target) => EntryKind::Symlink(target),
            Err(_) => return Err(std::io::Error::other("it is a symlink to a name that is not UTF-8")),
        }
    } else {
        // Sockets, pipes and devices are not sent to a builder.
        return Ok(None);
    };
    Ok(Some((mode, kind)))
}
