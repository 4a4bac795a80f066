//! A thread that works on a stream while it is made: hashing and writing take as long as compressing.
//!
//! In: bytes, piece by piece, shared where they can be. Out: what the work makes of them. It decides nothing.

use std::io::{self, Write};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use bytes::Bytes;

/// Bytes for which the other thread is woken, and how many such batches may wait there: on a busy machine a thread
/// waits for its turn for milliseconds, and the others go on meanwhile.
const BATCH: usize = 256 << 10;
const BATCHES: usize = 16;

/// All pieces, in order.
pub(super) struct Pieces(mpsc::Receiver<Vec<Bytes>>);

impl Pieces {
    /// Each of them, until no more can come.
    pub fn each(self) -> impl Iterator<Item = Bytes> {
        self.0.into_iter().flatten()
    }
}

/// The thread, and the way to it.
pub(super) struct StreamThread<T> {
    gathered: Vec<Bytes>,
    size: usize,
    batches: SyncSender<Vec<Bytes>>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> StreamThread<T> {
    /// Starts the work.
    pub fn begin(work: impl FnOnce(Pieces) -> T + Send + 'static) -> io::Result<Self> {
        let (batches, receiver) = mpsc::sync_channel(BATCHES);
        let thread = std::thread::Builder::new().spawn(move || work(Pieces(receiver)))?;
        Ok(Self { gathered: Vec::new(), size: 0, batches, thread })
    }

    /// What came of it.
    pub fn finish(mut self) -> io::Result<T> {
        self.hand_over();
        drop(self.batches);
        self.thread.join().map_err(|_| io::Error::other("a thread panicked"))
    }
}

impl<T> StreamThread<T> {
    /// Hands a piece over, sooner or later.
    pub fn push(&mut self, piece: Bytes) {
        self.size += piece.len();
        self.gathered.push(piece);
        if self.size >= BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.size = 0;
        // If it has failed it says why in the end; until then nobody is to stop.
        let _ = self.batches.send(std::mem::take(&mut self.gathered));
    }
}

impl<T> Write for StreamThread<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(Bytes::copy_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
