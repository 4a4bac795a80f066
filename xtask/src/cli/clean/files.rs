//! EFFECT: what lies below `target/xtask`, and in the cache of downloads, that is not needed any more. It reads folders
//! and sizes; steps remove.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A download that nobody has touched for so long is given up.
const GIVEN_UP: Duration = Duration::from_secs(24 * 3600);

/// Files that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// As steps name them.
    pub paths: Vec<String>,
    /// Bytes of all that is in them.
    pub bytes: u64,
}

/// The record of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldRun {
    /// Its id.
    pub id: String,
    /// Its folder, relative to the root.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
}

/// The records beyond the last `keep`, oldest first. `folder` is relative to the root, `is_id` knows the names of runs;
/// what `latest` leads to stays whatever its age.
pub fn old_runs(
    root: &Path,
    folder: &str,
    latest: &str,
    keep: usize,
    is_id: &dyn Fn(&str) -> bool,
) -> Vec<OldRun> {
    let runs = root.join(folder);
    let newest = newest(&runs.join(latest));
    let mut ids: Vec<String> = names(&runs).into_iter().filter(|name| is_id(name)).collect();
    ids.sort_unstable();
    let surplus = ids.len().saturating_sub(keep);
    ids.truncate(surplus);
    ids.retain(|id| Some(id) != newest.as_ref());
    let old = ids.into_iter().map(|id| {
        let bytes = weigh(&runs.join(&id));
        OldRun { path: format!("{folder}/{id}"), bytes, id }
    });
    old.collect()
}

/// The run that a link, or a file in place of one, names.
fn newest(latest: &Path) -> Option<String> {
    let target = fs::read_link(latest).ok().map(|target| target.to_string_lossy().into_owned());
    let text = target.or_else(|| fs::read_to_string(latest).ok())?;
    Some(text.trim().trim_end_matches('/').rsplit('/').next()?.to_owned())
}

/// One folder with all that is in it; none when it is not there, or empty.
pub fn whole(root: &Path, folder: &str) -> Option<Found> {
    let bytes = weigh(&root.join(folder));
    (bytes > 0).then(|| Found { paths: vec![folder.to_owned()], bytes })
}

/// The lists of files that images were built from, but for those that `needed` names.
pub fn context_lists(root: &Path, folder: &str, needed: &BTreeSet<String>) -> Option<Found> {
    let path = root.join(folder);
    let unneeded = names(&path).into_iter().filter(|name| !needed.contains(name));
    collect(unneeded.map(|name| (format!("{folder}/{name}"), path.join(name))))
}

/// Downloads that were broken off a day ago or longer.
pub fn partial_downloads(cache: &Path) -> Option<Found> {
    let folder = cache.join("partial");
    let is_given_up = |path: &PathBuf| {
        let modified = fs::symlink_metadata(path).and_then(|found| found.modified());
        modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > GIVEN_UP))
    };
    let paths = names(&folder).into_iter().map(|name| folder.join(name)).filter(is_given_up);
    collect(paths.map(|path| (path.display().to_string(), path)))
}

fn collect(files: impl Iterator<Item = (String, PathBuf)>) -> Option<Found> {
    let mut found = Found::default();
    for (shown, path) in files {
        found.bytes += weigh(&path);
        found.paths.push(shown);
    }
    found.paths.sort();
    (!found.paths.is_empty()).then_some(found)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Bytes of a file, or of all files below a folder; symlinks are not followed.
fn weigh(path: &Path) -> u64 {
    let entries = walkdir::WalkDir::new(path).into_iter().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, usize)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, size) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("writable");
            fs::write(path, vec![b'x'; *size]).expect("writable");
        }
        root
    }

    #[test]
    fn the_last_runs_and_the_latest_stay() {
        let root = tree(&[("r/a1/e", 5), ("r/a2/logs/x", 7), ("r/a3/e", 1), ("r/a4/e", 1), ("r/notes/x", 9)]);
        let is_id = |name: &str| name.starts_with('a');
        let old = |keep| {
            let old = old_runs(root.path(), "r", "latest", keep, &is_id);
            old.into_iter().map(|run| (run.id, run.path, run.bytes)).collect::<Vec<_>>()
        };
        let run = |id: &str, bytes| (id.to_owned(), format!("r/{id}"), bytes);
        assert_eq!(old(2), [run("a1", 5), run("a2", 7)]);
        assert_eq!(old(9), []);
        // An old clock: the latest run is the oldest by name.
        std::os::unix::fs::symlink("a1", root.path().join("r/latest")).expect("a link");
        assert_eq!(old(0), [run("a2", 7), run("a3", 1), run("a4", 1)]);
        fs::remove_file(root.path().join("r/latest")).expect("was there");
        fs::write(root.path().join("r/latest"), "a2\n").expect("writable");
        assert_eq!(old(2), [run("a1", 5)]);
        assert_eq!(old_runs(root.path(), "nowhere", "latest", 0, &is_id), []);
    }

    #[test]
    fn caches_are_weighed_and_what_is_needed_is_not_named() {
        let root = tree(&[
            ("c/1.json", 3),
            ("c/2.json", 4),
            ("b/x/y", 10),
            ("p/partial/new", 2),
            ("p/partial/old", 6),
        ]);
        let needed = ["1.json".to_owned()].into();
        let lists = context_lists(root.path(), "c", &needed).expect("one");
        assert_eq!((lists.paths, lists.bytes), (vec!["c/2.json".to_owned()], 4));
        assert_eq!(whole(root.path(), "b").map(|found| found.bytes), Some(10));
        assert_eq!(whole(root.path(), "nowhere"), None);
        let old = root.path().join("p/partial/old");
        let file = fs::File::options().write(true).open(&old).expect("there");
        file.set_modified(SystemTime::now() - GIVEN_UP * 2).expect("its time");
        let partial = partial_downloads(&root.path().join("p")).expect("one");
        assert_eq!((partial.paths, partial.bytes), (vec![old.display().to_string()], 6));
    }
}
