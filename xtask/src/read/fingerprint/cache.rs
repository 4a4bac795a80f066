//! EFFECT: remembers the SHA-256 of files by what `stat` says of them, so that a run with nothing to do reads no
//! file content.
//!
//! A file is the same while size, mtime, ctime and inode are; ctime cannot be set back, so a changed file of
//! the same size and mtime is seen (FIELD C15). A file that changed less than one tick of the file system's
//! clock before it was hashed could change once more unseen, so its hash is not kept (git's "racy" rule).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use crate::host::{Stamp, inside};

/// Where the cache of a tree lies, below its root.
pub const CACHE_FILE: &str = "target/xtask/cache/files.bin";
/// First bytes of the cache file; the digit is its version.
const MAGIC: &[u8; 8] = b"xtaskh1\n";
/// Linux stamps files with its tick's time, at most 10 ms old; twice that is safe.
const TICK: Duration = Duration::from_millis(20);
/// File systems without nanoseconds (HFS+, FAT) count whole or even seconds.
const COARSE_TICK: Duration = Duration::from_secs(2);

/// SHA-256, raw.
pub type Sha = [u8; 32];

type Folder = Vec<(String, Stamp, Sha)>;

/// The hashes of files, by folder and name.
#[derive(Debug)]
pub struct HashCache {
    /// None is never written.
    root: Option<PathBuf>,
    known: HashMap<String, Folder>,
    learned: Mutex<HashMap<String, Folder>>,
    hashed: AtomicUsize,
}

impl HashCache {
    /// Reads the cache file of the tree at `root`. A missing, foreign or broken one is an empty cache.
    pub fn load(root: &Path) -> Self {
        let bytes = std::fs::read(root.join(CACHE_FILE)).ok();
        let known = bytes.and_then(|bytes| decode(&bytes)).unwrap_or_default();
        Self { root: Some(root.to_owned()), known, learned: Mutex::default(), hashed: AtomicUsize::default() }
    }

    /// A cache that is never written.
    pub fn in_memory() -> Self {
        Self { root: None, known: HashMap::new(), learned: Mutex::default(), hashed: AtomicUsize::default() }
    }

    /// The hash of a file that has not changed since it was last hashed.
    pub fn get(&self, folder: &str, name: &str, stamp: &Stamp) -> Option<Sha> {
        let files = self.known.get(folder)?;
        let index = files.binary_search_by(|(n, _, _)| n.as_str().cmp(name)).ok()?;
        let (_, known, sha) = files.get(index)?;
        (known == stamp).then_some(*sha)
    }

    /// Remembers a hash that was computed at `when`, unless the file is too young to be trusted.
    pub fn put(&self, folder: &str, name: &str, stamp: Stamp, sha: Sha, when: SystemTime) {
        self.hashed.fetch_add(1, Ordering::Relaxed);
        if !is_settled(&stamp, when) {
            return;
        }
        let mut learned = self.learned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        learned.entry(folder.to_owned()).or_default().push((name.to_owned(), stamp, sha));
    }

    /// How many hashes were computed, remembered or not.
    pub fn hashed(&self) -> usize {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Writes the cache file if anything was learned, whole or not at all.
    ///
    /// # Errors
    /// The file system's; the cache is a convenience, so callers warn and go on.
    pub fn save(&self) -> std::io::Result<()> {
        let mut learned = self.learned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(root) = self.root.as_ref().filter(|_| !learned.is_empty()) else { return Ok(()) };
        let mut merged = self.known.clone();
        for (folder, files) in learned.drain() {
            let known = merged.entry(folder).or_default();
            for (name, stamp, sha) in files {
                match known.binary_search_by(|(n, _, _)| n.as_str().cmp(&name)) {
                    Ok(index) => known[index] = (name, stamp, sha),
                    Err(index) => known.insert(index, (name, stamp, sha)),
                }
            }
        }
        inside::Folder::open(root)?.write(CACHE_FILE, &encode(&merged), None)
    }
}

fn is_settled(stamp: &Stamp, when: SystemTime) -> bool {
    let tick = if stamp.modified.1 == 0 && stamp.changed.1 == 0 { COARSE_TICK } else { TICK };
    let newest = stamp.modified.max(stamp.changed);
    let Ok(seconds) = u64::try_from(newest.0) else { return true };
    UNIX_EPOCH
        .checked_add(Duration::new(seconds, newest.1))
        .and_then(|at| at.checked_add(tick))
        .is_some_and(|settled| settled <= when)
}

fn encode(folders: &HashMap<String, Folder>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    bytes.extend((folders.len() as u32).to_le_bytes());
    for (folder, files) in folders {
        text(&mut bytes, folder);
        bytes.extend((files.len() as u32).to_le_bytes());
        for (name, stamp, sha) in files {
            text(&mut bytes, name);
            bytes.extend(stamp.size.to_le_bytes());
            bytes.extend(stamp.inode.to_le_bytes());
            for (seconds, nanos) in [stamp.modified, stamp.changed] {
                bytes.extend(seconds.to_le_bytes());
                bytes.extend(nanos.to_le_bytes());
            }
            bytes.extend(sha);
        }
    }
    let seal: Sha = Sha256::digest(&bytes).into();
    bytes.extend(seal);
    bytes
}

fn decode(bytes: &[u8]) -> Option<HashMap<String, Folder>> {
    let (body, seal) = bytes.split_last_chunk::<32>()?;
    if body.get(..MAGIC.len())? != MAGIC || Sha256::digest(body).as_slice() != seal {
        return None;
    }
    let mut rest = Reader(body.get(MAGIC.len()..)?);
    let mut folders = HashMap::new();
    for _ in 0..rest.u32()? {
        let folder = rest.text()?;
        let count = rest.u32()?;
        let mut files = Vec::with_capacity(count.min(65_536) as usize);
        for _ in 0..count {
            let name = rest.text()?;
            let (size, inode) = (rest.u64()?, rest.u64()?);
            let modified = (rest.u64()?.cast_signed(), rest.u32()?);
            let changed = (rest.u64()?.cast_signed(), rest.u32()?);
            files.push((name, Stamp { size, inode, modified, changed }, *rest.take::<32>()?));
        }
        folders.insert(folder, files);
    }
    Some(folders)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take::<4>().map(|b| u32::from_le_bytes(*b))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take::<8>().map(|b| u64::from_le_bytes(*b))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(modified: (i64, u32)) -> Stamp {
        Stamp { size: 3, inode: 7, modified, changed: modified }
    }

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    #[test]
    fn remembers_across_runs_and_forgets_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = HashCache::load(folder.path());
        let old = stamp((100, 5));
        cache.put("src/a", "x", old, [1; 32], at(200, 0));
        cache.put("src/a", "b", old, [2; 32], at(200, 0));
        cache.save().unwrap();
        let cache = HashCache::load(folder.path());
        assert_eq!(cache.get("src/a", "x", &old), Some([1; 32]));
        assert_eq!(cache.get("src/a", "b", &old), Some([2; 32]));
        assert_eq!(cache.get("src/b", "x", &old), None);
        for changed in [
            Stamp { size: 4, ..old },
            Stamp { inode: 8, ..old },
            Stamp { modified: (100, 6), ..old },
            Stamp { changed: (101, 5), ..old },
        ] {
            assert_eq!(cache.get("src/a", "x", &changed), None, "{changed:?}");
        }
    }

    #[test]
    fn does_not_trust_what_is_younger_than_the_clocks_tick() {
        for (modified, when, trusted) in [
            ((100, 500_000_000), at(100, 510_000_000), false),
            ((100, 500_000_000), at(100, 520_000_000), true),
            ((100, 0), at(101, 0), false),
            ((100, 0), at(102, 0), true),
            ((200, 1), at(100, 0), false),
            ((-5, 1), at(100, 0), true),
        ] {
            let cache = HashCache::in_memory();
            cache.put("", "x", stamp(modified), [0; 32], when);
            assert_eq!(!cache.learned.lock().unwrap().is_empty(), trusted, "{modified:?} at {when:?}");
        }
    }

    #[test]
    fn a_broken_file_is_an_empty_cache() {
        let folder = tempfile::tempdir().unwrap();
        let cache = HashCache::load(folder.path());
        cache.put("d", "x", stamp((1, 1)), [1; 32], at(200, 0));
        cache.save().unwrap();
        let good = std::fs::read(folder.path().join(CACHE_FILE)).unwrap();
        for broken in 0..good.len() {
            let mut bytes = good.clone();
            bytes[broken] ^= 1;
            assert_eq!(decode(&bytes).map(|m| m.len()), None, "byte {broken} flipped");
            assert!(decode(&good[..broken]).is_none(), "cut at {broken}");
        }
        assert!(decode(&good).is_some());
    }
}
