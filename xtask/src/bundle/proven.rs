//! Files whose content this very run knows: it hashed every byte on its way there, and nobody has touched
//! them since. They are copied without being hashed once more; what an earlier run left is not taken on trust.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bytes that are copied at once: after each progress is told.
const STEP: u64 = 8 << 20;

/// What changes when a file is touched or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of a file as it is now.
    ///
    /// # Errors
    /// The file system's.
    pub fn of(file: &File) -> io::Result<Self> {
        let found: Metadata = file.metadata()?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// An open file that is as it was when it had been hashed.
#[derive(Debug)]
pub struct ProvenFile {
    file: File,
    stamp: Stamp,
}

impl ProvenFile {
    /// The file at `path`, if it is still the one of this stamp.
    pub fn open(path: &Path, stamp: Stamp) -> Option<Self> {
        let file = File::open(path).ok()?;
        (Stamp::of(&file).ok()? == stamp).then_some(Self { file, stamp })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Reads the next bytes into `to`, by the kernel alone where it can, and says how many; 0 is the end.
    ///
    /// # Errors
    /// Reading or writing fails; which of them cannot be told.
    pub fn copy_some(&mut self, to: &mut impl Write) -> io::Result<u64> {
        io::copy(&mut (&self.file).take(STEP), to)
    }

    /// Whether nobody touched it while it was copied.
    pub fn is_untouched(&self) -> bool {
        Stamp::of(&self.file).is_ok_and(|now| now == self.stamp)
    }
}
