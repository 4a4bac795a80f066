//! Reads what an engine saves, as a stream: layers go into the store, configs too, all else is passed by.
//!
//! In: the bytes of a docker-archive, or of the layout that engines since version 25 write. Out: blobs in the store.
//! Names in the archive are hints only (is this a layer?): what a blob is follows from its bytes, so symlinks, order
//! and indexes do not matter. Everything here blocks.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use bytes::Bytes;

use super::manifest::Descriptor;
use super::pipe::Pieces;
use super::store::{BlobStore, MAX_CONFIG};
use crate::model::{Digest, sha256};

const BLOCK: usize = 512;
/// Longest path, or PAX record, that is read. Engines write 80 bytes.
const MAX_NAME: u64 = 64 << 10;
/// How much is taken at once.
const MOST: usize = 256 << 10;
/// How much of a layer has to be as that of a known one of the same length for it to be taken for that.
pub(super) const ALIKE: u64 = 256 << 10;

/// What is looked for in an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WantedBlobs {
    /// Image IDs.
    pub configs: BTreeSet<Digest>,
    /// Diff IDs.
    pub layers: BTreeSet<Digest>,
    /// Diff IDs of layers that may come along, and are in the store.
    pub known: BTreeSet<Digest>,
}

/// What an entry of the archive may be.
enum Kind {
    /// A layer, whose diff ID the name tells.
    Named(Digest),
    /// A layer with a name that says nothing.
    Layer,
    Config(Digest),
    Other,
}

impl WantedBlobs {
    fn kind(&self, name: &str) -> Kind {
        let named = |hex: &str| format!("sha256:{hex}").parse::<Digest>().ok();
        if let Some(digest) = name.strip_prefix("blobs/sha256/").and_then(named) {
            return match () {
                () if self.layers.contains(&digest) => Kind::Named(digest),
                () if self.configs.contains(&digest) => Kind::Config(digest),
                () => Kind::Other,
            };
        }
        if let Some(digest) = name.strip_suffix(".json").and_then(named)
            && self.configs.contains(&digest)
        {
            return Kind::Config(digest);
        }
        // Podman and skopeo write `HEX.tar`.
        if name.ends_with("/layer.tar") || name.ends_with(".tar") { Kind::Layer } else { Kind::Other }
    }
}

/// Reads an archive to its end; `moved` hears of the bytes read so far.
///
/// # Errors
/// The archive is no tar, or ends too early, or a blob is not what its name says; or the store's.
pub(super) fn take(
    archive: impl Pieces,
    store: &BlobStore,
    wanted: &WantedBlobs,
    moved: &dyn Fn(u64),
) -> io::Result<()> {
    let mut tar = Tar { archive, at: 0, moved };
    while let Some(entry) = tar.next()? {
        let misnamed = || odd(format!("{} is not what its name says", entry.name));
        match wanted.kind(&entry.name) {
            Kind::Named(diff_id) => {
                let mut layer = store.begin_layer()?;
                tar.content(entry.size, &mut |piece| layer.push(piece))?;
                layer.finish(|found| *found == diff_id)?.ok_or_else(misnamed)?;
            }
            Kind::Layer => {
                let start = tar.read(entry.size.min(ALIKE))?;
                let rest = entry.size - start.len() as u64;
                if is_known(store, wanted, entry.size, &start)? {
                    tar.content(rest, &mut |_| Ok(()))?;
                } else {
                    let mut layer = store.begin_layer()?;
                    layer.write_all(&start)?;
                    drop(start);
                    tar.content(rest, &mut |piece| layer.push(piece))?;
                    layer.finish(|found| wanted.layers.contains(found))?;
                }
            }
            Kind::Config(id) => {
                if entry.size > MAX_CONFIG {
                    return Err(odd(format!("the config {} has {} bytes", entry.name, entry.size)));
                }
                let bytes = tar.read(entry.size)?;
                if sha256(&bytes) != id {
                    return Err(misnamed());
                }
                store.put_config(&bytes)?;
            }
            Kind::Other => tar.content(entry.size, &mut |_| Ok(()))?,
        }
        tar.pad(entry.size)?;
    }
    Ok(())
}

/// Reads an archive of an engine that keeps manifests to its end: every blob goes into the store as it is, under the
/// digest that is its name.
///
/// # Errors
/// As [`take`].
pub(super) fn take_as_is(archive: impl Pieces, store: &BlobStore, moved: &dyn Fn(u64)) -> io::Result<()> {
    let mut tar = Tar { archive, at: 0, moved };
    while let Some(entry) = tar.next()? {
        let named = entry.name.strip_prefix("blobs/sha256/");
        let digest = named.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
        let is_new = |digest: &Digest| {
            !store.holds(&Descriptor { media_type: String::new(), digest: digest.clone(), size: entry.size })
        };
        match digest.filter(is_new) {
            Some(digest) => {
                let mut blob = store.begin_blob()?;
                tar.content(entry.size, &mut |piece| {
                    blob.push(piece);
                    Ok(())
                })?;
                if !blob.finish(&digest)? {
                    return Err(odd(format!("{} is not what its name says", entry.name)));
                }
            }
            None => tar.content(entry.size, &mut |_| Ok(()))?,
        }
        tar.pad(entry.size)?;
    }
    Ok(())
}

/// Whether a layer of this size that begins so is one that the store has. Should two layers be so alike and not be the
/// same, the one that is wanted is found missing in the end.
fn is_known(store: &BlobStore, wanted: &WantedBlobs, size: u64, start: &[u8]) -> io::Result<bool> {
    for diff_id in &wanted.known {
        let Some(known) = store.layer(diff_id).filter(|known| known.raw == size) else { continue };
        if store.begins_with(&known.layer, start)? {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Entry {
    name: String,
    size: u64,
}

/// A tar that is read once, from front to back. The crate's reader takes names of any length into memory.
struct Tar<'a, R> {
    archive: R,
    at: u64,
    moved: &'a dyn Fn(u64),
}

impl<R: Pieces> Tar<'_, R> {
    /// The next regular file; none at the end.
    fn next(&mut self) -> io::Result<Option<Entry>> {
        let (mut name, mut size) = (None, None);
        loop {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let header = tar::Header::from_byte_slice(&block);
            if header.cksum().ok() != Some(checksum(&block)) {
                return Err(odd(format!("there is no header at byte {}", self.at - BLOCK as u64)));
            }
            let length = header.entry_size()?;
            match header.entry_type() {
                tar::EntryType::XHeader => {
                    let records = self.small(length)?;
                    for record in tar::PaxExtensions::new(&records) {
                        let record = record?;
                        match record.key_bytes() {
                            b"path" => name = Some(text(record.value_bytes())),
                            b"size" => size = Some(number(record.value_bytes())?),
                            _ => {}
                        }
                    }
                }
                tar::EntryType::GNULongName => {
                    name =
                        Some(text(self.small(length)?.split(|byte| *byte == 0).next().unwrap_or_default()));
                }
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let name = name.unwrap_or_else(|| text(&header.path_bytes()));
                    return Ok(Some(Entry { name, size: size.unwrap_or(length) }));
                }
                // Folders, and links to layers that are in the archive under another name.
                _ => {
                    self.content(size.take().unwrap_or(length), &mut |_| Ok(()))?;
                    self.pad(length)?;
                    name = None;
                }
            }
        }
    }

    /// The content of an entry that speaks of another.
    fn small(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_NAME {
            return Err(odd(format!("a name has {size} bytes")));
        }
        let bytes = self.read(size)?;
        self.pad(size)?;
        Ok(bytes)
    }

    /// So many bytes, at once; whoever asks has looked at their number.
    fn read(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.content(size, &mut |piece| {
            bytes.extend_from_slice(&piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn content(&mut self, size: u64, take: &mut dyn FnMut(Bytes) -> io::Result<()>) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let piece = self.archive.piece(usize::try_from(left).unwrap_or(usize::MAX).min(MOST))?;
            if piece.is_empty() {
                return Err(self.truncated());
            }
            left -= piece.len() as u64;
            self.at += piece.len() as u64;
            take(piece)?;
            (self.moved)(self.at);
        }
        Ok(())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = (size % BLOCK as u64) as usize;
        if over == 0 { Ok(()) } else { self.fill(&mut [0; BLOCK][over..]) }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.archive.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(),
            _ => error,
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn truncated(&self) -> io::Error {
        odd(format!("it ends at byte {}, in the middle", self.at))
    }
}

/// The sum of a header's bytes, in which the sum itself counts as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(bytes: &[u8]) -> io::Result<u64> {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| odd("a size is no number".to_owned()))
}

fn odd(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the engine's archive cannot be read: {what}"))
}
