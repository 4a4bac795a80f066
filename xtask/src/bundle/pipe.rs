//! Bytes between the async side (sockets) and a thread that blocks (hashing, compression, files): a short queue, so
//! that whoever is quicker waits, and nothing of size is held.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::model::Digest;

/// Batches under way.
const QUEUE: usize = 4;
/// Bytes that a [`Writer`] gathers into one chunk.
const CHUNK: usize = 256 << 10;

/// The end that the async side drains.
pub(super) type Receiver = mpsc::Receiver<io::Result<Bytes>>;

/// For a thread that reads. It is woken once for `batch` bytes: an engine sends 32 KiB at a time, and a thread that is
/// woken for each of them waits for its turn more than it works.
pub(super) fn reader(batch: usize) -> (Sender, Reader) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let sender = Sender { queue: sender, batch, gathered: Vec::new(), size: 0 };
    (sender, Reader { receiver, chunks: Vec::new().into_iter(), chunk: Bytes::new() })
}

/// The end into which the async side sends.
pub(super) struct Sender {
    queue: mpsc::Sender<io::Result<Vec<Bytes>>>,
    batch: usize,
    gathered: Vec<Bytes>,
    size: usize,
}

/// The thread wants no more.
#[derive(Debug)]
pub(super) struct Closed;

impl Sender {
    /// Hands some bytes over, sooner or later.
    pub(super) async fn send(&mut self, bytes: Bytes) -> Result<(), Closed> {
        self.size += bytes.len();
        self.gathered.push(bytes);
        if self.size < self.batch { Ok(()) } else { self.hand_over().await }
    }

    /// Ends it, well or with an error.
    pub(super) async fn finish(mut self, result: io::Result<()>) {
        // Whoever wants no more does not want to know of the end either.
        let _ = match result {
            Ok(()) => self.hand_over().await,
            Err(error) => self.queue.send(Err(error)).await.map_err(|_| Closed),
        };
    }

    async fn hand_over(&mut self) -> Result<(), Closed> {
        self.size = 0;
        self.queue.send(Ok(std::mem::take(&mut self.gathered))).await.map_err(|_| Closed)
    }
}

/// For a thread that writes.
pub(super) fn writer() -> (Writer, Receiver) {
    let (sender, receiver) = mpsc::channel(4);
    (Writer { sender, gathered: Vec::with_capacity(CHUNK) }, receiver)
}

/// Reads what was sent; the end is where the sender is dropped.
pub(super) struct Reader {
    receiver: mpsc::Receiver<io::Result<Vec<Bytes>>>,
    chunks: std::vec::IntoIter<Bytes>,
    chunk: Bytes,
}

/// Bytes that are read, or taken without being copied.
pub(super) trait Pieces: Read {
    /// The next bytes, at most so many; none at the end.
    fn piece(&mut self, most: usize) -> io::Result<Bytes>;
}

impl Pieces for Reader {
    fn piece(&mut self, most: usize) -> io::Result<Bytes> {
        while self.chunk.is_empty() {
            self.chunk = match self.chunks.next() {
                Some(chunk) => chunk,
                None => match self.receiver.blocking_recv() {
                    Some(chunks) => {
                        self.chunks = chunks?.into_iter();
                        continue;
                    }
                    None => break,
                },
            };
        }
        Ok(self.chunk.split_to(self.chunk.len().min(most)))
    }
}

#[cfg(test)]
impl Pieces for &[u8] {
    fn piece(&mut self, most: usize) -> io::Result<Bytes> {
        let (piece, rest) = self.split_at(self.len().min(most));
        *self = rest;
        Ok(Bytes::copy_from_slice(piece))
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.piece(buffer.len())?;
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

/// Sends what is written. Nobody knows that it was all unless it is sent by [`Writer::send`].
pub(super) struct Writer {
    sender: mpsc::Sender<io::Result<Bytes>>,
    gathered: Vec<u8>,
}

/// What ended a stream before its end.
pub(super) enum StreamError {
    /// A blob: nobody else is to blame.
    Blob(io::Error),
    /// Whoever drains it takes no more, and says why.
    Receiver(io::Error),
}

impl StreamError {
    /// Something is wrong with this blob.
    pub(super) fn blob(blob: &Digest, what: &str) -> Self {
        Self::Blob(io::Error::new(io::ErrorKind::InvalidData, format!("blob {blob} {what}")))
    }
}

/// What fails in writing.
impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        Self::Receiver(error)
    }
}

impl Writer {
    /// Sends what is written, and that it was all, or the error in which it ended.
    pub(super) fn send(
        mut self,
        write: impl FnOnce(&mut Self) -> Result<(), StreamError>,
    ) -> Result<(), StreamError> {
        let written = write(&mut self);
        self.finish(match &written {
            Ok(()) => Ok(()),
            Err(StreamError::Blob(error) | StreamError::Receiver(error)) => {
                Err(io::Error::other(error.to_string()))
            }
        });
        written
    }

    /// Ends the stream, well or with an error.
    fn finish(mut self, result: io::Result<()>) {
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
