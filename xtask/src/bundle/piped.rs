//! Bytes between the async side (sockets) and a thread that blocks (hashing, compression, files): a short queue, so
//! that whoever is quicker waits, and nothing of size is held.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

/// Chunks under way. An engine's are of 32 KiB.
const QUEUE: usize = 32;
/// Bytes that a [`Writer`] gathers into one chunk.
const CHUNK: usize = 256 << 10;

/// The end that the async side feeds.
pub(super) type Sender = mpsc::Sender<io::Result<Bytes>>;
/// The end that the async side drains.
pub(super) type Receiver = mpsc::Receiver<io::Result<Bytes>>;

/// For a thread that reads.
pub(super) fn reader() -> (Sender, Reader) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (sender, Reader { receiver, chunk: Bytes::new() })
}

/// For a thread that writes.
pub(super) fn writer() -> (Writer, Receiver) {
    let (sender, receiver) = mpsc::channel(4);
    (Writer { sender, gathered: Vec::with_capacity(CHUNK) }, receiver)
}

/// Reads what was sent; the end is where the sender is dropped.
pub(super) struct Reader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let length = self.chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.chunk[..length]);
        self.chunk.advance(length);
        Ok(length)
    }
}

/// Sends what is written. Nobody knows that it was all unless [`Writer::finish`] is called.
pub(super) struct Writer {
    sender: Sender,
    gathered: Vec<u8>,
}

impl Writer {
    /// Ends the stream, well or with an error.
    pub(super) fn finish(mut self, result: io::Result<()>) {
        let result = result.and_then(|()| self.flush());
        if let Err(error) = result {
            // Nobody listens any more: then nobody wants to know.
            let _ = self.sender.blocking_send(Err(error));
        }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(CHUNK - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..length]);
        if self.gathered.len() == CHUNK {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.gathered, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Ok(chunk.into()))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the engine does not take any more of it"))
    }
}
