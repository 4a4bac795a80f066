//! How to see that nobody has touched a file since it was looked at.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// What `stat` says of a file that is another when it is touched or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Seconds and nanoseconds since the epoch.
    pub modified: (i64, u32),
    /// Seconds and nanoseconds since the epoch.
    pub changed: (i64, u32),
    /// Inode number.
    pub inode: u64,
}

impl Stamp {
    /// Of a file as it was when this was asked.
    pub fn of(found: &Metadata) -> Self {
        // A nanosecond count is below 10^9, so it fits.
        let nanos = |n: i64| u32::try_from(n).unwrap_or(0);
        Self {
            size: found.size(),
            modified: (found.mtime(), nanos(found.mtime_nsec())),
            changed: (found.ctime(), nanos(found.ctime_nsec())),
            inode: found.ino(),
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, modified, changed, inode } = self;
        write!(f, "{size} {}.{} {}.{} {inode}", modified.0, modified.1, changed.0, changed.1)
    }
}
