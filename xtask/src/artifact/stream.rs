//! Hashes an artifact while it comes, and reads the entries of the archive on the way, each in a thread of its own, so
//! that neither has to be done once more from the disk.
//!
//! What cannot be read on the way (a size that the archive says only behind an entry, the end of a download that was
//! resumed) is left to [`check`](super::check::check).

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

/// Entries whose content was compared with their checksum: where each begins, its checksum and its size.
pub(super) type Seen = BTreeMap<u64, (u32, u64)>;

/// Hashes all pieces. Blocks.
pub(super) fn hash(mut hasher: Sha256, mut pieces: mpsc::Receiver<Bytes>) -> Sha256 {
    while let Some(piece) = pieces.blocking_recv() {
        hasher.update(&piece);
    }
    hasher
}

/// Reads the entries of an archive whose first piece is the first of these, as far as they can be. Blocks.
pub(super) fn entries(pieces: mpsc::Receiver<Bytes>) -> Seen {
    let mut stream = Stream { pieces, piece: Bytes::new(), at: 0 };
    let mut seen = Seen::new();
    while let Some((at, checked)) = stream.next_entry() {
        seen.insert(at, checked);
    }
    seen
}

/// The pieces as a file that can only be read forwards.
struct Stream {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
    at: u64,
}

impl Stream {
    /// The next entry if there is one and it is what it says.
    fn next_entry(&mut self) -> Option<(u64, (u32, u64))> {
        let at = self.at;
        let mut entry = zip::read::read_zipfile_from_stream(self).ok()??;
        let said = (entry.crc32(), entry.size());
        let read = io::copy(&mut (&mut entry).take(said.1.saturating_add(1)), &mut io::sink()).ok()?;
        (read == said.1).then_some((at, said))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            self.piece = piece;
        }
        let read = buffer.len().min(self.piece.len());
        buffer[..read].copy_from_slice(&self.piece[..read]);
        self.piece.advance(read);
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::digest_of;
    use super::super::check::tests::zip_of;
    use super::*;

    fn pieces(bytes: &[u8], step: usize) -> mpsc::Receiver<Bytes> {
        let (sender, pieces) = mpsc::channel(bytes.len() + 1);
        for piece in bytes.chunks(step) {
            sender.try_send(Bytes::copy_from_slice(piece)).expect("room");
        }
        pieces
    }

    #[test]
    fn entries_are_seen_however_the_bytes_come() {
        let bytes = zip_of(&[("a/b", b"content"), ("a/empty", b""), ("a/c", &[9; 70_000])]);
        for step in [1, 7, 4096, bytes.len()] {
            let hasher = hash(Sha256::new(), pieces(&bytes, step));
            assert_eq!(digest_of(hasher), digest_of(Sha256::new_with_prefix(&bytes)));
            let seen = entries(pieces(&bytes, step));
            assert_eq!(seen.values().map(|(_, size)| *size).collect::<Vec<_>>(), [7, 0, 70_000], "{step}");
        }
    }

    #[test]
    fn a_damaged_entry_is_not_seen() {
        let mut bytes = zip_of(&[("a", b"content"), ("b", &[9; 5000])]);
        let at = bytes.windows(4).position(|window| window == [9; 4]).expect("content");
        bytes[at + 100] = 1;
        assert_eq!(entries(pieces(&bytes, 300)).len(), 1);
    }
}
