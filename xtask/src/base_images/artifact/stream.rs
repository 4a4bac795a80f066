//! Hashes an artifact while it comes, and reads the entries of the archive on the way, so that neither has to be done
//! once more from the disk.
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

/// Reads all pieces. `is_start` says whether the first of them is the first of the file. Blocks.
pub(super) fn read(mut hasher: Sha256, pieces: mpsc::Receiver<Bytes>, is_start: bool) -> (Sha256, Seen) {
    let mut stream = Stream { hasher: &mut hasher, pieces, piece: Bytes::new(), at: 0 };
    let mut seen = Seen::new();
    if is_start {
        while let Some((at, checked)) = stream.next_entry() {
            seen.insert(at, checked);
        }
    }
    // To the end, for the digest.
    let _ = io::copy(&mut stream, &mut io::sink());
    (hasher, seen)
}

/// The pieces as a file that can only be read forwards; what is read is hashed.
struct Stream<'a> {
    hasher: &'a mut Sha256,
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
    at: u64,
}

impl Stream<'_> {
    /// The next entry if there is one and it is what it says.
    fn next_entry(&mut self) -> Option<(u64, (u32, u64))> {
        let at = self.at;
        let mut entry = zip::read::read_zipfile_from_stream(self).ok()??;
        let said = (entry.crc32(), entry.size());
        let read = io::copy(&mut (&mut entry).take(said.1.saturating_add(1)), &mut io::sink()).ok()?;
        (read == said.1).then_some((at, said))
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            self.hasher.update(&piece);
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

    fn read_all(bytes: &[u8], step: usize, is_start: bool) -> (Sha256, Seen) {
        let (sender, pieces) = mpsc::channel(bytes.len() + 1);
        for piece in bytes.chunks(step) {
            sender.try_send(Bytes::copy_from_slice(piece)).expect("room");
        }
        drop(sender);
        read(Sha256::new(), pieces, is_start)
    }

    #[test]
    fn entries_are_seen_however_the_bytes_come() {
        let bytes = zip_of(&[("a/b", b"content"), ("a/empty", b""), ("a/c", &[9; 70_000])]);
        let digest = digest_of(Sha256::new_with_prefix(&bytes));
        for step in [1, 7, 4096, bytes.len()] {
            let (hasher, seen) = read_all(&bytes, step, true);
            assert_eq!(digest_of(hasher), digest);
            assert_eq!(seen.values().map(|(_, size)| *size).collect::<Vec<_>>(), [7, 0, 70_000], "{step}");
        }
        let (hasher, seen) = read_all(&bytes, 100, false);
        assert_eq!((digest_of(hasher), seen.len()), (digest, 0));
    }

    #[test]
    fn a_damaged_entry_is_not_seen_and_hashing_goes_on() {
        let mut bytes = zip_of(&[("a", b"content"), ("b", &[9; 5000])]);
        let at = bytes.windows(4).position(|window| window == [9; 4]).expect("content");
        bytes[at + 100] = 1;
        let (hasher, seen) = read_all(&bytes, 300, true);
        assert_eq!((seen.len(), digest_of(hasher)), (1, digest_of(Sha256::new_with_prefix(&bytes))));
    }
}
