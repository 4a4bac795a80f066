//! Where a private engine lives, and the record of what was made for it, so that exactly that is removed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ProvisionError;
use super::subnet::Net;
use crate::host::ProcessId;
use crate::host::inside::Folder;

/// `sockaddr_un` holds 108 bytes on Linux and 104 on macOS, with a NUL.
pub(super) const LONGEST_SOCKET: usize = 100;
/// What was made for the engine.
const RECORD: &str = "state.json";

/// Where one private engine lives. All names follow from the folder, so that even an engine whose record was
/// deleted is found and removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    folder: PathBuf,
    /// The tree that it has to stay in; none leaves it to whoever named the folder.
    tree: Option<PathBuf>,
    id: String,
}

impl Home {
    /// The engine of a tree.
    pub fn of_tree(root: &Path) -> Self {
        Self { tree: Some(root.to_owned()), ..Self::at(&root.join("target/xtask/engine")) }
    }

    /// An engine that lives in `folder` (absolute).
    pub fn at(folder: &Path) -> Self {
        let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        let id = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Self { folder: folder.to_owned(), tree: None, id }
    }

    /// Everything of it that outlasts a reboot.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder where it is missing, and opens it to write into it.
    pub(super) fn open(&self) -> Result<Folder, ProvisionError> {
        let opened = match &self.tree {
            Some(tree) => Folder::open(tree).and_then(|tree| tree.below(&self.folder)),
            None => Folder::making(&self.folder),
        };
        opened.map_err(|source| self.failed("make", source))
    }

    /// Looks whether the folder stays in its tree, before it is removed by its path.
    pub(super) fn check(&self) -> Result<(), ProvisionError> {
        let Some(tree) = &self.tree else { return Ok(()) };
        match Folder::open(tree).and_then(|tree| tree.check(&self.folder)) {
            // Without a tree there is nothing to remove.
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(self.failed("remove", source))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> ProvisionError {
        ProvisionError::File { doing, path: self.folder.clone(), source }
    }

    /// Images, containers, build cache.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What the engine says.
    pub fn log(&self) -> PathBuf {
        self.folder.join("dockerd.log")
    }

    /// Where it takes requests.
    pub fn socket(&self) -> PathBuf {
        let beside = self.folder.join("docker.sock");
        if beside.as_os_str().len() <= LONGEST_SOCKET { beside } else { self.runtime().join("docker.sock") }
    }

    /// `unix://…`, as `DOCKER_HOST` takes it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Sockets and state of running containers: short, since containerd makes sockets below it.
    pub(super) fn runtime(&self) -> PathBuf {
        PathBuf::from(format!("/run/xtask-{}", self.id))
    }

    pub(super) fn exec_root(&self) -> PathBuf {
        self.runtime().join("exec")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.folder.join("dockerd.pid")
    }

    pub(super) fn settings(&self) -> PathBuf {
        self.folder.join("daemon.json")
    }

    /// Two copies: the folder may be deleted under a running engine (`cargo clean`), and what lies below
    /// `/run` goes with a restart, as do bridge and rules.
    pub(super) fn record_files(&self) -> [PathBuf; 2] {
        [&self.folder, &self.runtime()].map(|folder| folder.join(RECORD))
    }

    /// At most 15 bytes, as the kernel wants it.
    pub(super) fn bridge(&self) -> String {
        format!("xt{}", self.id)
    }

    /// Names this engine's containers even to a containerd that is shared with another engine.
    pub(super) fn namespace(&self) -> String {
        format!("xtask-{}", self.id)
    }

    /// Spreads the subnets of different engines.
    pub(super) fn seed(&self) -> u8 {
        u8::from_str_radix(&self.id[..2], 16).unwrap_or_default()
    }

    /// What was made, as the record has it; none without a record, or when nobody can read it.
    pub fn record(&self) -> Option<Record> {
        self.record_files().iter().find_map(|file| serde_json::from_slice(&std::fs::read(file).ok()?).ok())
    }

    pub(super) fn write_record(&self, record: &Record) -> Result<(), ProvisionError> {
        let text = serde_json::to_string_pretty(record).unwrap_or_default() + "\n";
        let write = |folder: &Folder| {
            folder.write(RECORD, text.as_bytes(), Some(0o600)).map_err(|source| self.failed("write", source))
        };
        if self.folder.is_dir() {
            write(&self.open()?)?;
        }
        match Folder::open(&self.runtime()) {
            Ok(runtime) => write(&runtime),
            // It goes with a restart of the machine.
            Err(_) => Ok(()),
        }
    }

    /// The endpoint of an engine that was started and not taken down; whether it answers is another question.
    pub fn recorded_endpoint(&self) -> Option<String> {
        self.record().map(|record| record.endpoint)
    }
}

/// What was made for a private engine. Written before each thing is made, so a crash leaves nothing unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `unix://…`
    pub endpoint: String,
    /// RFC 3339, local time.
    pub started_at: String,
    /// The daemon; none while it is being started.
    pub process: Option<ProcessId>,
    /// The bridge's name.
    pub bridge: String,
    /// The bridge's address.
    pub subnet: Net,
    /// iptables rules, as they are added: table, chain and what follows.
    pub rules: Vec<Rule>,
    /// Whether forwarding between interfaces was off before.
    pub turned_on_forwarding: bool,
    /// `0.1.0`, the xtask that wrote this.
    pub written_by: String,
}

/// One iptables rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `nat`
    pub table: String,
    /// `POSTROUTING`
    pub chain: String,
    /// Matches and target.
    pub rule: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_whatever_the_folder() {
        let home = Home::of_tree(Path::new("/home/ada/shop"));
        assert_eq!(home.endpoint(), "unix:///home/ada/shop/target/xtask/engine/docker.sock");
        let deep = Home::of_tree(Path::new(&format!("/{}", "deep/".repeat(40))));
        assert!(deep.endpoint().starts_with("unix:///run/xtask-"), "{}", deep.endpoint());
        assert!(deep.endpoint().len() < LONGEST_SOCKET);
        for home in [&home, &deep] {
            assert!(home.check().is_ok(), "nothing is there, so nothing leads out");
            assert!(home.bridge().len() <= 15, "{}", home.bridge());
            assert!(home.exec_root().as_os_str().len() < 40);
        }
        assert_ne!(home.bridge(), deep.bridge());
    }

    #[test]
    fn a_record_survives_being_written_and_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path());
        assert_eq!(home.recorded_endpoint(), None);
        let record = Record {
            endpoint: home.endpoint(),
            started_at: "2026-01-02T03:04:05+00:00".to_owned(),
            process: Some(ProcessId { pid: 7, started: "boot:9".to_owned() }),
            bridge: home.bridge(),
            subnet: "172.31.7.1/24".parse().expect("a network"),
            rules: vec![Rule {
                table: "nat".to_owned(),
                chain: "POSTROUTING".to_owned(),
                rule: vec!["-j".to_owned(), "MASQUERADE".to_owned()],
            }],
            turned_on_forwarding: true,
            written_by: "0.1.0".to_owned(),
        };
        home.write_record(&record).expect("writable");
        assert_eq!(home.record(), Some(record));
        std::fs::write(folder.path().join("state.json"), "{\"endpoint\":1").expect("writable");
        assert_eq!(home.record(), None, "a broken record is no record");
    }
}
