//! EFFECT: what is remembered of a tree below `target/xtask`: the lists of files that images were built from, so that a
//! later miss can name what changed file by file, and what templates were rendered to, so that nobody else's file is
//! taken for one of ours. Without the first only a sentence is missing; without the second files are left alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::host::inside::Folder;
use crate::model::{ContextFile, Digest, sha256};
use crate::plan::build::Prepared;
use crate::read::template::Rendered;

/// How many lists are kept; enough for the last builds of a few hundred images.
const KEPT: usize = 500;

/// Where the lists lie, relative to the root.
pub const LISTS: &str = "target/xtask/cache/contexts";

/// What templates were rendered to: digests by path.
const RENDERED: &str = "target/xtask/cache/rendered.json";

/// The digest of each text that a template was rendered to, by the path of its output.
pub(super) fn rendered(root: &Path) -> BTreeMap<String, Digest> {
    let text = std::fs::read(root.join(RENDERED)).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The digest of a rendered text.
pub(super) fn digest_of(text: &str) -> Digest {
    sha256(text.as_bytes())
}

/// Remembers what templates are rendered to. To be called before that is written: what is not written after all
/// stands nowhere, and says nothing.
///
/// # Errors
/// The file system's; callers warn and go on.
pub fn remember_rendered(root: &Path, outputs: &BTreeMap<String, Rendered>) -> std::io::Result<()> {
    let before = rendered(root);
    let mut now = before.clone();
    now.extend(outputs.iter().map(|(path, output)| (path.clone(), digest_of(&output.text))));
    if now == before {
        return Ok(());
    }
    Folder::open(root)?.write(RENDERED, &serde_json::to_vec(&now)?, None)
}

/// The name of the list that a digest stands for.
pub fn list_of(digest: &Digest) -> String {
    format!("{}.json", digest.short())
}

/// The files that a digest stood for, if an image was built from them in this tree.
pub fn recall(root: &Path, digest: &Digest) -> Option<Vec<ContextFile>> {
    let text = std::fs::read_to_string(root.join(LISTS).join(list_of(digest))).ok()?;
    serde_json::from_str(&text).ok()
}

/// Remembers the files of contexts that images were built from, and forgets the oldest beyond what is kept.
///
/// # Errors
/// The file system's; callers warn and go on.
pub fn remember<'a>(root: &Path, contexts: impl IntoIterator<Item = &'a Prepared>) -> std::io::Result<()> {
    remember_up_to(root, contexts, KEPT)
}

fn remember_up_to<'a>(
    root: &Path,
    contexts: impl IntoIterator<Item = &'a Prepared>,
    kept: usize,
) -> std::io::Result<()> {
    let mut lists = None;
    for context in contexts {
        let Some(digest) = &context.digest else { continue };
        let lists = match &mut lists {
            Some(lists) => lists,
            None => lists.insert(Folder::open(root)?.below(LISTS)?),
        };
        let files: Vec<&ContextFile> = context.files.counted().collect();
        lists.write(list_of(digest), &serde_json::to_vec(&files)?, None)?;
    }
    lists.map_or(Ok(()), |lists| forget_oldest(&lists, kept))
}

fn forget_oldest(folder: &Folder, kept: usize) -> std::io::Result<()> {
    let paths: Vec<PathBuf> = std::fs::read_dir(folder.path())?.flatten().map(|entry| entry.path()).collect();
    let Some(surplus) = paths.len().checked_sub(kept).filter(|n| *n > 0) else { return Ok(()) };
    let age = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified());
    let mut aged: Vec<(SystemTime, PathBuf)> = paths
        .into_iter()
        // What is gone already is somebody else's work.
        .filter_map(|path| Some((age(&path).ok()?, path)))
        .collect();
    aged.sort();
    for (_, path) in aged.into_iter().take(surplus) {
        folder.remove(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{ContextFileKind, ContextFiles};
    use crate::read::fingerprint::canonical::digest_files;

    fn context(name: &str) -> Prepared {
        let kind = ContextFileKind::Symlink { target: "x".to_owned() };
        let file = ContextFile { path: name.to_owned(), mode: 0o777, kind, source: None };
        let files = ContextFiles::new([(file, true)]);
        let digest = Some(digest_files(files.counted()));
        Prepared { files, digest, ..Prepared::default() }
    }

    fn known(root: &Path, context: &Prepared) -> Option<Vec<ContextFile>> {
        recall(root, context.digest.as_ref().unwrap())
    }

    #[test]
    fn what_was_built_is_remembered_and_the_oldest_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let all: Vec<Prepared> = (0..5).map(|n| context(&format!("file {n}"))).collect();
        assert_eq!(known(root, &all[0]), None, "nothing was built here");
        for (age, context) in all.iter().take(4).enumerate() {
            remember_up_to(root, [context], 10).unwrap();
            let file = root.join(LISTS).join(list_of(context.digest.as_ref().unwrap()));
            let file = std::fs::File::options().write(true).open(file).unwrap();
            let hour = u64::try_from(age).unwrap() * 3600;
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(hour)).unwrap();
        }
        remember_up_to(root, [&all[4]], 3).unwrap();
        let is_known: Vec<bool> = all.iter().map(|context| known(root, context).is_some()).collect();
        assert_eq!(is_known, [false, false, true, true, true]);
        assert_eq!(known(root, &all[4]).unwrap()[0].path, "file 4");
    }

    #[test]
    fn nothing_built_touches_nothing() {
        let root = tempfile::tempdir().unwrap();
        remember(root.path(), []).unwrap();
        remember(root.path(), [&Prepared::default()]).unwrap();
        assert!(!root.path().join(LISTS).exists());
    }
}
