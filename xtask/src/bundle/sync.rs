//! EFFECT: brings files to the disk while others are still written, so that the wait at the end is for the last bytes.

use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

/// A thread that waits for the disk.
pub(super) struct Syncer {
    files: Sender<File>,
    thread: JoinHandle<io::Result<()>>,
}

impl Syncer {
    /// Starts it.
    pub fn begin() -> io::Result<Self> {
        let (files, receiver) = mpsc::channel::<File>();
        let thread = std::thread::Builder::new()
            .spawn(move || receiver.iter().try_for_each(|file| file.sync_all()))?;
        Ok(Self { files, thread })
    }

    /// Brings to the disk what this file has by then.
    pub fn sync(&self, file: &File) -> io::Result<()> {
        // Where it has failed it says so in the end.
        let _ = self.files.send(file.try_clone()?);
        Ok(())
    }

    /// Waits until all of it is there.
    pub fn finish(self) -> io::Result<()> {
        drop(self.files);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    }
}
