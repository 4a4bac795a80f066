//! A private builder: a `buildkitd` of this machine that belongs to one tree. `--builder private` is this one.
//!
//! In: the tree's root. Out: a daemon on a socket of its own, with its data below `target/xtask/builder`. It is found again by the
//! folder in its arguments, so nothing has to be noted, and a crash leaves nothing unknown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::home::LONGEST_SOCKET;
use super::remove::remove_tree;
use super::{Announce, Data, ProvisionError};
use crate::host::inside::Folder;
use crate::host::{self, HostCommand, Privilege, ProcessId};

/// What `--builder` calls the private builder of a tree.
pub const PRIVATE: &str = "private";
const PROGRAM: &str = "buildkitd";
/// How long it may take to end what it does.
const GRACE: Duration = Duration::from_secs(10);

/// Where the private builder of a tree lives. All names follow from the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderHome {
    root: PathBuf,
}

impl BuilderHome {
    /// The builder of a tree.
    pub fn of_tree(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn folder(&self) -> PathBuf {
        self.root.join("target/xtask/builder")
    }

    /// Its cache.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What it says.
    pub fn log(&self) -> PathBuf {
        self.folder().join("buildkitd.log")
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        let beside = self.folder().join("buildkitd.sock");
        if beside.as_os_str().len() <= LONGEST_SOCKET {
            return beside;
        }
        let hash = Sha256::digest(beside.as_os_str().as_encoded_bytes());
        let id: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        PathBuf::from(format!("/run/xtask-builder-{id}.sock"))
    }

    /// `unix://…`, as `--builder` takes it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The daemon, if it runs, and what started it.
    pub fn processes(&self) -> Vec<ProcessId> {
        host::processes_naming(&self.data().to_string_lossy())
    }

    /// The line with which it gave up, or its last one.
    pub fn last_words(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().rfind(|line| !line.trim().is_empty());
        last.unwrap_or("it says nothing").trim().to_owned()
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> ProvisionError {
        ProvisionError::File { doing, path: self.folder(), source }
    }
}

/// Starts the daemon. That it answers is for whoever speaks its language to find out.
///
/// # Errors
/// There is no `buildkitd`, it may not be started, or its folder cannot be made.
pub async fn start(home: &BuilderHome, announce: Announce<'_>) -> Result<(), ProvisionError> {
    if !cfg!(target_os = "linux") {
        return Err(ProvisionError::NotLinux { what: "a private builder" });
    }
    let program = host::find_program(PROGRAM).ok_or(ProvisionError::NoBuildkitd)?;
    let privilege = privilege("starting a private builder (it mounts and runs containers)")?;
    let folder = Folder::open(&home.root).and_then(|tree| tree.below(home.folder()));
    let folder = folder.map_err(|source| home.failed("make", source))?;
    folder
        .remove(home.log())
        .and_then(|()| folder.append(home.log()).map(drop))
        .map_err(|source| home.failed("write into", source))?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    HostCommand::new(text(&program))
        .args(["--addr", &home.endpoint()])
        .args(["--root", &text(&home.data())])
        // A containerd of this machine is none of its business.
        .args(["--oci-worker=true", "--containerd-worker=false"])
        .args(["--group", &host::user_and_group().1.to_string()])
        .as_root(privilege)
        .detach(&home.log())
        .await
        .map_err(|cause| ProvisionError::Command { doing: format!("start {PROGRAM}"), cause })?;
    announce(format!("started a private builder at {} (data in {})", home.endpoint(), home.data().display()));
    Ok(())
}

/// Ends the daemon; its cache stays unless it is to be purged. Nothing there is fine.
///
/// # Errors
/// It may not be ended, or its files not be removed.
pub async fn stop(home: &BuilderHome, data: Data, announce: Announce<'_>) -> Result<(), ProvisionError> {
    let is_purged = data == Data::Purge && home.folder().exists();
    let running = home.processes();
    if running.is_empty() && !is_purged {
        return Ok(());
    }
    let privilege = privilege("ending a private builder")?;
    for process in &running {
        process.stop(GRACE, Some(privilege)).await.map_err(|cause| ProvisionError::Command {
            doing: format!("end {PROGRAM} ({})", process.pid),
            cause,
        })?;
    }
    if !running.is_empty() {
        announce(format!("ended the private builder at {}", home.endpoint()));
    }
    if is_purged {
        // A link that leads out of the tree is not followed.
        let tree = Folder::open(&home.root).and_then(|tree| tree.check(home.folder()));
        tree.map_err(|source| home.failed("remove", source))?;
        remove_tree(&home.folder(), privilege).await?;
        announce(format!("removed {}", home.folder().display()));
    }
    Ok(())
}

fn privilege(what: &str) -> Result<Privilege, ProvisionError> {
    let commands = || vec!["sudo -v".to_owned()];
    host::privilege().ok_or_else(|| ProvisionError::NeedsRoot { what: what.to_owned(), commands: commands() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_short_whatever_the_folder() {
        let home = BuilderHome::of_tree(Path::new("/home/ada/shop"));
        assert_eq!(home.endpoint(), "unix:///home/ada/shop/target/xtask/builder/buildkitd.sock");
        let deep = BuilderHome::of_tree(Path::new(&format!("/{}", "deep/".repeat(40))));
        assert!(deep.endpoint().starts_with("unix:///run/xtask-builder-"), "{}", deep.endpoint());
    }

    #[tokio::test]
    async fn what_was_never_started_is_not_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = BuilderHome::of_tree(folder.path());
        stop(&home, Data::Purge, &|said| panic!("{said}")).await.expect("nothing to do");
        assert!(home.processes().is_empty());
    }
}
