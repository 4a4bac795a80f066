//! Hands a build its files: one `DiffCopy` stream of `moby.filesync.v1.FileSync`, spoken as fsutil speaks it
//! (github.com/tonistiigi/fsutil, `send.go`, `receive.go`, `validator.go`).
//!
//! In: the exact list of files that a build may see. Out: their stats, then the content of those that the
//! builder asks for. Nothing else is ever sent, nothing is held in memory whole, and a file that is no longer
//! what was listed stops the build. All reading is done on a thread that may block.
//!
//! The builder keeps what it got in an earlier build and asks again only for files whose size or time differ.
//! Content of the same size and time would be missed, so the last six digits of the nanoseconds are the
//! content's: the time that an image shows (seconds) is the file's own.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tonic::Status;

use super::BuildError;
use crate::engine::EngineError;
use crate::model::{BuildSpec, ContextFile, ContextFileKind, Digest, sha256};

/// How much of a file is in one packet.
const CHUNK: usize = 64 * 1024;
/// Packets that may wait for the network.
pub(super) const PACKETS_AHEAD: usize = 8;
/// Of a nanosecond time, what the content decides.
const STAMP: i64 = 1_000_000;
/// Permission bits of folders that nobody listed.
const FOLDER_MODE: u32 = 0o755;

/// What a session serves under one `dir-name`.
pub(super) struct SentTree {
    /// Where the files of `entries` lie that do not say so themselves; unused for content in memory.
    folder: PathBuf,
    entries: Vec<Entry>,
    /// The first thing that went wrong on our side; the builder's own words for it are worse.
    trouble: Mutex<Option<BuildError>>,
}

struct Entry {
    file: ContextFile,
    content: Content,
}

#[derive(Clone)]
enum Content {
    /// At this path below the folder.
    Disk,
    /// Here.
    Memory(Arc<[u8]>),
}

/// The sending ended early.
enum Stop {
    /// The builder went away or has enough.
    Receiver,
    /// A file is not what was listed.
    Trouble(BuildError),
}

impl SentTree {
    /// The Dockerfile alone. There is no ignore file: what is ignored is not in the list of files.
    pub(super) fn of_dockerfile(name: &str, text: &str) -> Self {
        let bytes: Arc<[u8]> = text.as_bytes().into();
        let digest = sha256(&bytes);
        let kind = ContextFileKind::File { size: bytes.len() as u64, digest };
        let file = ContextFile { path: name.to_owned(), mode: 0o644, kind, source: None };
        let entries = vec![Entry { file, content: Content::Memory(bytes) }];
        Self { folder: PathBuf::new(), entries, trouble: Mutex::default() }
    }

    /// The files of a build, in the order in which a builder wants to hear of them.
    ///
    /// # Errors
    /// A path that leads out of the context, or is no clean relative path.
    pub(super) fn of_context(folder: PathBuf, spec: &BuildSpec) -> Result<Self, BuildError> {
        let entries = in_order(spec.files.entries())?
            .into_iter()
            .map(|file| Entry { file, content: Content::Disk })
            .collect();
        Ok(Self { folder, entries, trouble: Mutex::default() })
    }

    /// No files at all.
    pub(super) fn empty() -> Self {
        Self { folder: PathBuf::new(), entries: Vec::new(), trouble: Mutex::default() }
    }

    /// Where a file of the context lies.
    fn place(&self, file: &ContextFile) -> PathBuf {
        file.source.clone().unwrap_or_else(|| self.folder.join(&file.path))
    }

    /// What went wrong on our side.
    pub(super) fn trouble(&self) -> Option<BuildError> {
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Sends everything that is asked for, until nobody asks any more. Blocks.
    pub(super) fn send(
        &self,
        packets: &mpsc::Sender<Result<Packet, Status>>,
        mut requests: mpsc::UnboundedReceiver<u32>,
    ) {
        let sent = self.send_stats(packets).and_then(|()| {
            while let Some(id) = requests.blocking_recv() {
                self.send_content(id, packets)?;
            }
            Ok(())
        });
        if let Err(Stop::Trouble(error)) = sent {
            let status = Status::aborted(error.to_string());
            self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
            let _ = packets.blocking_send(Err(status));
        }
    }

    fn send_stats(&self, packets: &mpsc::Sender<Result<Packet, Status>>) -> Result<(), Stop> {
        for entry in &self.entries {
            let stat = self.stat(entry).map_err(Stop::Trouble)?;
            push(
                packets,
                Packet { r#type: PacketType::PacketStat.into(), stat: Some(stat), ..Packet::default() },
            )?;
        }
        // A stat without a file ends the list.
        push(packets, Packet { r#type: PacketType::PacketStat.into(), ..Packet::default() })
    }

    /// What the builder hears of an entry; the file on disk has to be what was listed.
    fn stat(&self, entry: &Entry) -> Result<Stat, BuildError> {
        let file = &entry.file;
        let mut stat =
            Stat { path: file.path.clone(), mode: go_mode(&file.kind, file.mode), ..Stat::default() };
        match (&entry.content, &file.kind) {
            (Content::Memory(_), ContextFileKind::File { size, digest }) => {
                stat.size = signed(*size);
                // Nobody sees this time; it only has to differ when the text does.
                stat.mod_time = i64::from_str_radix(digest.hex().get(..14).unwrap_or("0"), 16).unwrap_or(0);
            }
            (_, kind) => {
                let found = std::fs::symlink_metadata(self.place(file))
                    .map_err(|error| changed(&file.path, &unreadable(&error)))?;
                let time = modified(&found);
                match kind {
                    ContextFileKind::File { size, digest } => {
                        if !found.is_file() {
                            return Err(changed(&file.path, "is no regular file any more"));
                        }
                        if found.len() != *size {
                            return Err(changed(&file.path, &resized(*size, found.len())));
                        }
                        stat.size = signed(*size);
                        stat.mod_time = stamped(time, digest);
                    }
                    ContextFileKind::Directory => {
                        if !found.is_dir() {
                            return Err(changed(&file.path, "is no folder any more"));
                        }
                        stat.mod_time = time;
                    }
                    ContextFileKind::Symlink { target } => {
                        let points_to = std::fs::read_link(self.place(file))
                            .map_err(|_| changed(&file.path, "is no symlink any more"))?;
                        if points_to.as_os_str() != target.as_str() {
                            let what = format!("points to {} now, not {target}", points_to.display());
                            return Err(changed(&file.path, &what));
                        }
                        stat.linkname = target.clone();
                        stat.mod_time = time;
                    }
                }
            }
        }
        Ok(stat)
    }

    fn send_content(&self, id: u32, packets: &mpsc::Sender<Result<Packet, Status>>) -> Result<(), Stop> {
        let data = |bytes: Vec<u8>| Packet {
            r#type: PacketType::PacketData.into(),
            id,
            data: bytes,
            ..Packet::default()
        };
        let Some(entry) = self.entries.get(id as usize) else {
            let error =
                EngineError::Other(format!("the builder asked for file {id}, which was never offered"));
            return Err(Stop::Trouble(error.into()));
        };
        match &entry.content {
            Content::Memory(bytes) => {
                for chunk in bytes.chunks(CHUNK) {
                    push(packets, data(chunk.to_vec()))?;
                }
            }
            Content::Disk => self.send_file(&entry.file, |chunk| push(packets, data(chunk)))?,
        }
        push(packets, data(Vec::new()))
    }

    fn send_file(
        &self,
        file: &ContextFile,
        mut push_chunk: impl FnMut(Vec<u8>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let trouble = |what: &str| Stop::Trouble(changed(&file.path, what));
        let ContextFileKind::File { size, digest } = &file.kind else {
            return Err(trouble("was asked for as a file"));
        };
        let mut reader = File::open(self.place(file)).map_err(|error| trouble(&unreadable(&error)))?;
        let mut hasher = Sha256::new();
        let mut sent = 0_u64;
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = reader.read(&mut chunk).map_err(|error| trouble(&unreadable(&error)))?;
            if read == 0 {
                break;
            }
            chunk.truncate(read);
            hasher.update(&chunk);
            sent += read as u64;
            if sent > *size {
                return Err(trouble(&format!("was {size} bytes and grew")));
            }
            push_chunk(chunk)?;
        }
        if sent != *size {
            return Err(trouble(&resized(*size, sent)));
        }
        let found = Digest::from_sha256(&hasher.finalize().into());
        if found != *digest {
            return Err(trouble(&format!("content {} became {}", digest.short(), found.short())));
        }
        Ok(())
    }
}

fn push(packets: &mpsc::Sender<Result<Packet, Status>>, packet: Packet) -> Result<(), Stop> {
    packets.blocking_send(Ok(packet)).map_err(|_| Stop::Receiver)
}

fn changed(path: &str, what: &str) -> BuildError {
    BuildError::ContextChanged { path: path.to_owned(), what: what.to_owned() }
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "vanished".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

fn resized(was: u64, is: u64) -> String {
    format!("size {was} became {is}")
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Nanoseconds since 1970, possibly before.
fn modified(metadata: &Metadata) -> i64 {
    let Ok(time) = metadata.modified() else { return 0 };
    let nanoseconds = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()),
        Err(before) => i128::try_from(before.duration().as_nanos()).map(|n| -n),
    };
    nanoseconds.ok().and_then(|n| i64::try_from(n).ok()).unwrap_or(0)
}

/// A file's time whose last digits are its content's, so that other content of the same size and time is sent.
fn stamped(time: i64, digest: &Digest) -> i64 {
    let content = i64::from_str_radix(digest.hex().get(..15).unwrap_or("0"), 16).unwrap_or(0);
    time.div_euclid(STAMP).saturating_mul(STAMP).saturating_add(content % STAMP)
}

/// Mode bits as Go's `os.FileMode` has them, which is what travels.
fn go_mode(kind: &ContextFileKind, unix: u32) -> u32 {
    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    const SETUID: u32 = 1 << 23;
    const SETGID: u32 = 1 << 22;
    const STICKY: u32 = 1 << 20;
    let kind_bits = match kind {
        ContextFileKind::File { .. } => 0,
        ContextFileKind::Directory => DIRECTORY,
        // A symlink's own permissions mean nothing; Linux shows 0777.
        ContextFileKind::Symlink { .. } => return SYMLINK | 0o777,
    };
    let special = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];
    let special = special.iter().filter(|(bit, _)| unix & bit != 0).fold(0, |bits, (_, go)| bits | go);
    kind_bits | special | (unix & 0o777)
}

/// Parents before children, names compared bytewise level by level, every parent folder present, no file twice.
fn in_order(files: &[ContextFile]) -> Result<Vec<ContextFile>, BuildError> {
    let mut tree: BTreeMap<Vec<&str>, ContextFile> = BTreeMap::new();
    for file in files {
        let parts: Vec<&str> = file.path.split('/').collect();
        if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
            let what = format!("`{}` is no path of a build context", file.path);
            return Err(EngineError::Other(what).into());
        }
        for depth in 1..parts.len() {
            tree.entry(parts[..depth].to_vec()).or_insert_with(|| ContextFile {
                path: parts[..depth].join("/"),
                mode: FOLDER_MODE,
                kind: ContextFileKind::Directory,
                source: None,
            });
        }
        tree.insert(parts, file.clone());
    }
    Ok(tree.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> ContextFile {
        let digest = sha256(content.as_bytes());
        let kind = ContextFileKind::File { size: content.len() as u64, digest };
        ContextFile { path: path.to_owned(), mode: 0o644, kind, source: None }
    }

    #[test]
    fn parents_come_first_and_levels_are_compared_by_name() {
        let names = ["a-b", "a/z", "a.txt", "a/b/c", "ü", "B"];
        let files: Vec<ContextFile> = names.iter().map(|name| file(name, "")).collect();
        let order: Vec<String> = in_order(&files).expect("clean").into_iter().map(|file| file.path).collect();
        assert_eq!(order, ["B", "a", "a/b", "a/b/c", "a/z", "a-b", "a.txt", "ü"]);
        for bad in ["../x", "/x", "a//b", "a/./b", ""] {
            assert!(in_order(&[file(bad, "")]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn modes_are_gos() {
        let regular = file("a", "").kind;
        assert_eq!(go_mode(&regular, 0o4755), (1 << 23) | 0o755);
        assert_eq!(go_mode(&regular, 0o100_644), 0o644);
        assert_eq!(go_mode(&ContextFileKind::Directory, 0o1777), (1 << 31) | (1 << 20) | 0o777);
        assert_eq!(go_mode(&ContextFileKind::Symlink { target: "x".into() }, 0), (1 << 27) | 0o777);
    }

    #[test]
    fn a_time_differs_when_only_the_content_does() {
        let (one, other) = (file("a", "one"), file("a", "two"));
        let time = 1_700_000_000_123_456_789;
        let stamp = |file: &ContextFile| match &file.kind {
            ContextFileKind::File { digest, .. } => stamped(time, digest),
            _ => 0,
        };
        assert_ne!(stamp(&one), stamp(&other));
        assert_eq!(stamp(&one), stamp(&one));
        assert_eq!(stamp(&one) / STAMP, time / STAMP, "to the millisecond it is the file's own");
        assert_eq!(stamped(-1, &Digest::from_sha256(&[0; 32])), -STAMP);
    }

    #[track_caller]
    fn check_sending(listed: &ContextFile, on_disk: Option<&str>, expect: Result<&str, &str>) {
        let folder = tempfile::tempdir().expect("folder");
        if let Some(text) = on_disk {
            std::fs::write(folder.path().join(&listed.path), text).expect("write");
        }
        let entries = vec![Entry { file: listed.clone(), content: Content::Disk }];
        let tree = SentTree { folder: folder.path().to_owned(), entries, trouble: Mutex::default() };
        let (packets, mut received) = mpsc::channel(100);
        let (ask, asked) = mpsc::unbounded_channel();
        ask.send(0).expect("open");
        drop(ask);
        tree.send(&packets, asked);
        drop(packets);
        let mut bytes = Vec::new();
        let mut failed = false;
        while let Ok(packet) = received.try_recv() {
            match packet {
                Ok(packet) => bytes.extend(packet.data),
                Err(_) => failed = true,
            }
        }
        match expect {
            Ok(content) => {
                assert_eq!(tree.trouble(), None);
                assert_eq!(String::from_utf8_lossy(&bytes), content);
            }
            Err(what) => {
                assert!(failed, "the builder must hear of it");
                assert_eq!(tree.trouble(), Some(changed(&listed.path, what)));
            }
        }
    }

    #[test]
    fn a_file_from_elsewhere_is_read_there() {
        let elsewhere = tempfile::tempdir().expect("folder");
        std::fs::write(elsewhere.path().join("kept"), "hello").expect("write");
        let listed = ContextFile { source: Some(elsewhere.path().join("kept")), ..file("a", "hello") };
        check_sending(&listed, None, Ok("hello"));
        check_sending(&listed, Some("another"), Ok("hello"));
        std::fs::write(elsewhere.path().join("kept"), "hullo").expect("write");
        let what = format!("content {} became {}", digest_of("hello").short(), digest_of("hullo").short());
        check_sending(&listed, None, Err(&what));
    }

    fn digest_of(content: &str) -> Digest {
        sha256(content.as_bytes())
    }

    #[test]
    fn a_file_that_changed_stops_the_build() {
        let listed = file("a", "hello");
        check_sending(&listed, Some("hello"), Ok("hello"));
        check_sending(&listed, None, Err("vanished"));
        check_sending(&listed, Some("hello!"), Err("size 5 became 6"));
        check_sending(&listed, Some("hullo"), Err("content 2cf24dba5fb0 became 7835066a1457"));
        let big = "x".repeat(3 * CHUNK + 1);
        check_sending(&file("b", &big), Some(&big), Ok(&big));
    }
}
