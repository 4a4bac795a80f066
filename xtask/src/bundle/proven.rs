//! Files whose content this very run knows: it hashed every byte on its way there, and nobody has touched
//! them since. They are copied without being hashed once more; what an earlier run left is not taken on trust.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;

use crate::host::Stamp;

/// Bytes that are copied at once: after each progress is told.
const STEP: u64 = 8 << 20;

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
        (Stamp::of(&file.metadata().ok()?) == stamp).then_some(Self { file, stamp })
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
        self.file.metadata().is_ok_and(|now| Stamp::of(&now) == self.stamp)
    }
}
