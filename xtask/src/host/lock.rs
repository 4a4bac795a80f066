//! One run at a time in one tree, one download at a time of one artifact: the second one waits and says for whom.
//!
//! The lock is the operating system's (`flock` on Unix), so it is gone with the process that held it, however
//! that ended; the file's text only tells others who holds it, and the file stays.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::inside::Folder;

/// The lock of a tree, below its root.
const LOCK_FILE: &str = "target/xtask/lock";
/// How often a waiting run looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// What was typed, without values that may be secret.
    pub command: String,
    /// RFC 3339, local time.
    pub since: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (pid {}, since {})", self.command, self.pid, self.since)
    }
}

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// The lock cannot be had at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot lock {}: {source}", path.display())]
pub struct LockError {
    /// The lock's file.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

impl Lock {
    /// Takes the lock of the tree at `root`, waiting for whoever holds it. `on_wait` is called once for each
    /// holder that is waited for (none when it has not said its name yet). Dropping the future ends the wait.
    ///
    /// # Errors
    /// When the file below `target/xtask/` cannot be made, or the file system knows no locks.
    pub async fn acquire(
        root: &Path,
        command: &str,
        on_wait: &(dyn Fn(Option<&Holder>) + Send + Sync),
    ) -> Result<Self, LockError> {
        let failed = |source| LockError { path: root.join(LOCK_FILE), source };
        let folder = Folder::open(root).map_err(failed)?;
        Self::acquire_file(&folder, Path::new(LOCK_FILE), command, on_wait).await
    }

    /// The same with a lock of its own in `path`, below `folder`, which must be nothing but a lock.
    ///
    /// # Errors
    /// When the file cannot be made, or the file system knows no locks.
    pub async fn acquire_file(
        folder: &Folder,
        path: &Path,
        command: &str,
        on_wait: &(dyn Fn(Option<&Holder>) + Send + Sync),
    ) -> Result<Self, LockError> {
        let failed = |source| LockError { path: folder.path().join(path), source };
        let mut file = folder.read_write(path).map_err(failed)?;
        let mut told = None;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) => {
                    let holder = read_holder(&mut file);
                    if told.as_ref() != Some(&holder) {
                        on_wait(holder.as_ref());
                        told = Some(holder);
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
        let holder = Holder {
            pid: std::process::id(),
            command: command.to_owned(),
            since: chrono::Local::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, false),
        };
        // Who waits for us without knowing our name still waits rightly.
        let _ = write_holder(&mut file, &holder);
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // So that nobody reads our name between us and the next holder's.
        let _ = self.file.set_len(0);
    }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_holder(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(holder)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_says_so_once() {
        let root = tempfile::tempdir().expect("a folder");
        let first = Lock::acquire(root.path(), "cargo xtask build-all", &|_| panic!("is free")).await;
        let said = Mutex::new(Vec::new());
        let second = async {
            let say = |holder: Option<&Holder>| said.lock().expect("not poisoned").push(holder.cloned());
            Lock::acquire(root.path(), "cargo xtask render", &say).await
        };
        let release = async {
            while said.lock().expect("not poisoned").is_empty() {
                tokio::task::yield_now().await;
            }
            drop(first.expect("is free"));
        };
        let (second, ()) = tokio::join!(second, release);
        let mut file = File::open(root.path().join("target/xtask/lock")).expect("stays");
        assert_eq!(read_holder(&mut file).expect("is named").command, "cargo xtask render");
        drop(second.expect("is free by now"));
        assert_eq!(read_holder(&mut file), None);
        let said = said.into_inner().expect("not poisoned");
        assert_eq!(said.len(), 1);
        let holder = said[0].as_ref().expect("named");
        assert_eq!((holder.command.as_str(), holder.pid), ("cargo xtask build-all", std::process::id()));
    }

    #[tokio::test]
    async fn a_tree_that_cannot_be_written_names_the_file() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("target"), "a file where a folder should be").expect("writable");
        let error = Lock::acquire(root.path(), "x", &|_| {}).await.expect_err("cannot be");
        assert!(error.to_string().contains("target/xtask/lock"), "{error}");
    }

    #[tokio::test]
    async fn an_old_text_in_the_file_stops_nobody() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("target/xtask")).expect("writable");
        std::fs::write(root.path().join("target/xtask/lock"), "{\"pid\":1}rubbish").expect("writable");
        Lock::acquire(root.path(), "x", &|_| panic!("is free")).await.expect("is free");
    }
}
