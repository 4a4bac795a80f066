//! What changes in folders of this machine, told as it happens.
//!
//! In: folders. Out: paths that were written, made, renamed or removed directly in one of them, or that somebody has to look
//! at all of them. Only the folders themselves are watched, not what is below them: whoever asks knows which of those
//! matter, and each costs the system a watch. Where the system can or may watch no more, the folders are looked at again
//! and again instead. It reads no contents, and decides nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::ModifyKind;
use notify::{Event, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What the system has to say of its limit on watches (inotify(7)).
const LIMIT: &str = "/proc/sys/fs/inotify/max_user_watches";

/// How changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticing {
    /// The system tells.
    Told,
    /// All that is watched is looked at this often.
    Looking(Duration),
}

/// What was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// Something happened to this path.
    Path(PathBuf),
    /// More happened than could be told.
    Lost,
}

/// Why folders cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The user may not have more watches.
    #[error("this user may watch no more folders{}", limit())]
    Limit,
    /// Something else.
    #[error("cannot watch {}: {cause}", path.display())]
    Other {
        /// What was to be watched.
        path: PathBuf,
        /// What the system said.
        cause: notify::Error,
    },
}

fn limit() -> String {
    let most = std::fs::read_to_string(LIMIT).unwrap_or_default();
    let most = most.trim();
    if most.is_empty() { String::new() } else { format!(" (fs.inotify.max_user_watches is {most})") }
}

impl WatchError {
    fn of(path: &Path, cause: notify::Error) -> Self {
        /// EMFILE: no more inotify instances or open files.
        const TOO_MANY: i32 = 24;
        /// ENOSPC, of inotify_add_watch(2).
        const NO_ROOM: i32 = 28;
        let is_limit = match &cause.kind {
            notify::ErrorKind::MaxFilesWatch => true,
            notify::ErrorKind::Io(error) => matches!(error.raw_os_error(), Some(TOO_MANY | NO_ROOM)),
            _ => false,
        };
        if is_limit { Self::Limit } else { Self::Other { path: path.to_owned(), cause } }
    }

    /// Whether there is nothing any more to be watched.
    fn is_gone(&self) -> bool {
        let Self::Other { cause, .. } = self else { return false };
        match &cause.kind {
            notify::ErrorKind::PathNotFound => true,
            notify::ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

enum Inner {
    Told(RecommendedWatcher),
    Looking(PollWatcher),
}

/// Watches folders until it is dropped.
pub struct Watcher {
    inner: Inner,
    folders: BTreeSet<PathBuf>,
    noticed: UnboundedReceiver<(Noticed, Stays)>,
}

/// Whether what is at a path is still what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    Yes,
    /// It was removed or renamed, or something took its place.
    No,
}

impl Watcher {
    /// Begins, with no folder yet.
    ///
    /// # Errors
    /// When the system cannot, or the user may not.
    pub fn start(noticing: Noticing) -> Result<Self, WatchError> {
        let (tell, noticed) = unbounded_channel();
        let handler = move |event: notify::Result<Event>| {
            for one in read(event) {
                // Whoever does not listen any more needs no telling.
                let _ = tell.send(one);
            }
        };
        let config = notify::Config::default();
        let inner = match noticing {
            Noticing::Told => RecommendedWatcher::new(handler, config).map(Inner::Told),
            Noticing::Looking(every) => {
                PollWatcher::new(handler, config.with_poll_interval(every)).map(Inner::Looking)
            }
        };
        let inner = inner.map_err(|cause| WatchError::of(Path::new("anything"), cause))?;
        Ok(Self { inner, folders: BTreeSet::new(), noticed })
    }

    /// How many folders are watched.
    pub fn watched(&self) -> usize {
        self.folders.len()
    }

    /// Watches exactly these folders from now on, and says how many of them are new. One that is gone is left out.
    ///
    /// # Errors
    /// When the system cannot, or the user may not; some of them are watched all the same.
    pub fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> Result<usize, WatchError> {
        let mut new = 0;
        for gone in self.folders.difference(folders).cloned().collect::<Vec<_>>() {
            // A folder that was removed took its watch along.
            let _ = match &mut self.inner {
                Inner::Told(inner) => inner.unwatch(&gone),
                Inner::Looking(inner) => inner.unwatch(&gone),
            };
            self.folders.remove(&gone);
        }
        for folder in folders {
            if self.folders.contains(folder) {
                continue;
            }
            let watched = match &mut self.inner {
                Inner::Told(inner) => inner.watch(folder, RecursiveMode::NonRecursive),
                Inner::Looking(inner) => inner.watch(folder, RecursiveMode::NonRecursive),
            };
            match watched.map_err(|cause| WatchError::of(folder, cause)) {
                Ok(()) => {
                    self.folders.insert(folder.clone());
                    new += 1;
                }
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(new)
    }

    /// Waits for the next thing that happens.
    pub async fn next(&mut self) -> Noticed {
        match self.noticed.recv().await {
            Some((noticed, stays)) => {
                if let (Noticed::Path(path), Stays::No) = (&noticed, stays) {
                    // A watch stands on a folder, not on its name: one that is made again is watched anew.
                    self.folders.retain(|watched| !watched.starts_with(path));
                }
                noticed
            }
            // The watching thread lives as long as this does.
            None => std::future::pending().await,
        }
    }
}

/// What an event says. Reading a file changes nothing.
fn read(event: notify::Result<Event>) -> Vec<(Noticed, Stays)> {
    let Ok(event) = event else { return vec![(Noticed::Lost, Stays::Yes)] };
    if event.need_rescan() {
        return vec![(Noticed::Lost, Stays::Yes)];
    }
    let stays = match event.kind {
        EventKind::Access(_) => return Vec::new(),
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => Stays::No,
        _ => Stays::Yes,
    };
    event.paths.into_iter().map(|path| (Noticed::Path(path), stays)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(watcher: &mut Watcher, path: &Path) {
        let found = async { while watcher.next().await != Noticed::Path(path.to_owned()) {} };
        tokio::time::timeout(Duration::from_secs(20), found).await.expect("it is noticed");
    }

    async fn check(noticing: Noticing) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        let inner = root.join("inner");
        std::fs::create_dir(&inner).expect("a folder");
        let mut watcher = Watcher::start(noticing).expect("it starts");
        let both: BTreeSet<PathBuf> = [root.clone(), inner.clone()].into();
        assert_eq!(watcher.watch(&both).expect("they are watched"), 2);
        assert_eq!((watcher.watch(&both).expect("and still are"), watcher.watched()), (0, 2));
        // As editors do it: written beside, and renamed.
        std::fs::write(inner.join("4913"), "new").expect("written");
        std::fs::rename(inner.join("4913"), inner.join("file")).expect("renamed");
        until(&mut watcher, &inner.join("file")).await;
        std::fs::remove_dir_all(&inner).expect("removed");
        while watcher.watched() > 1 {
            watcher.next().await;
        }
        std::fs::create_dir(&inner).expect("a folder");
        watcher.watch(&both).expect("watched again");
        std::fs::write(inner.join("other"), "new").expect("written");
        until(&mut watcher, &inner.join("other")).await;
    }

    #[tokio::test]
    async fn what_happens_in_a_folder_is_noticed() {
        check(Noticing::Told).await;
        check(Noticing::Looking(Duration::from_millis(50))).await;
    }

    #[test]
    fn limits_are_told_apart_from_other_trouble() {
        let of = |kind: notify::ErrorKind| WatchError::of(Path::new("/x"), notify::Error::new(kind));
        let io = |code: i32| notify::ErrorKind::Io(io::Error::from_raw_os_error(code));
        for (kind, is_limit, is_gone) in [
            (notify::ErrorKind::MaxFilesWatch, true, false),
            (io(24), true, false),
            (io(28), true, false),
            (io(13), false, false),
            (io(2), false, true),
            (notify::ErrorKind::PathNotFound, false, true),
        ] {
            let error = of(kind);
            assert_eq!((matches!(error, WatchError::Limit), error.is_gone()), (is_limit, is_gone), "{error}");
        }
    }
}
