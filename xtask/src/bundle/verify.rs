//! Proves a bundle: reads every blob and hashes it, on all cores, and what is loaded also once it is unpacked.
//!
//! A blob whose digest is right but which unpacks to something else can only have been made on purpose. Looking
//! costs more than all the rest, so `verify` looks at every layer, and `load` at those that the engine is going
//! to get. In: [`Contents`]. Out: [`Verified`], which alone can be loaded.

use std::collections::BTreeMap;
use std::io::{self, Read};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use sha2::{Digest as _, Sha256};

use super::contents::{Contents, LargeBlob};
use super::finding::{BundleError, BundleFinding};
use super::layout::EntryName;
use super::packed::unpacked;
use crate::model::Digest;
use crate::model::bundle::Unpack;

/// A bundle of which every blob has been read and found to be what the manifest says.
#[derive(Clone, Debug)]
pub struct Verified {
    contents: Contents,
    unpacked: BTreeMap<Digest, u64>,
}

impl Verified {
    /// What it holds.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// How many bytes layers have once they are unpacked, by diff ID; of those that were.
    pub fn unpacked_sizes(&self) -> &BTreeMap<Digest, u64> {
        &self.unpacked
    }
}

/// How much there is to read: the total for the progress of [`verify`], in bytes.
pub fn total(contents: &Contents) -> u64 {
    contents.large_blobs().map(|blob| blob.descriptor.size).sum()
}

/// Reads every large blob once. `moved` hears how many bytes more have been read, from any thread. It blocks for as
/// long as reading and hashing take.
///
/// # Errors
/// [`BundleError::Refused`] with every blob that is not what it should be.
pub fn verify(
    contents: Contents,
    unpack: &Unpack,
    moved: &(dyn Fn(u64) + Sync),
) -> Result<Verified, BundleError> {
    let mut blobs: Vec<&LargeBlob> = contents.large_blobs().collect();
    // The longest first, so that no core is left alone with it at the end.
    blobs.sort_by(|a, b| {
        b.descriptor.size.cmp(&a.descriptor.size).then_with(|| a.descriptor.cmp(&b.descriptor))
    });
    let checked: Vec<Result<Option<(Digest, u64)>, BundleFinding>> = blobs
        .into_par_iter()
        .map(|blob| {
            let unpacked = check(&contents, blob, unpack, moved).map_err(|what| {
                BundleFinding::of_blob(&blob.descriptor.digest, what).needed_by(&blob.needed_by)
            })?;
            Ok(blob.diff_id.clone().zip(unpacked))
        })
        .collect();
    let mut findings = Vec::new();
    let mut unpacked = BTreeMap::new();
    for result in checked {
        match result {
            Ok(size) => unpacked.extend(size),
            Err(finding) => findings.push(finding),
        }
    }
    if findings.is_empty() {
        return Ok(Verified { contents, unpacked });
    }
    findings.sort_by(|a, b| a.blob.cmp(&b.blob));
    Err(BundleError::Refused { path: contents.bundle().path().to_owned(), findings })
}

/// One blob, in one pass; how long it is unpacked, if it was. The error says what is wrong with it.
fn check(
    contents: &Contents,
    blob: &LargeBlob,
    unpack: &Unpack,
    moved: &(dyn Fn(u64) + Sync),
) -> Result<Option<u64>, String> {
    let name = EntryName::Blob(blob.descriptor.digest.clone());
    let read_error = |error: io::Error| format!("it cannot be read: {error}");
    let file = contents.bundle().read(&name).map_err(read_error)?;
    let mut hashed = Hashed { inner: file, hash: Sha256::new(), moved };
    let diff_id = blob.diff_id.as_ref().filter(|_| unpack.includes(&blob.descriptor.digest));
    let unpacked = diff_id.map(|_| unpacked(&blob.descriptor, &mut hashed).and_then(unpack_all));
    // Whatever the decompressor has left, and all of it where nothing is unpacked.
    let mut buffer = vec![0; CHUNK];
    while hashed.read(&mut buffer).map_err(read_error)? > 0 {}
    if Digest::from_sha256(&hashed.hash.finalize().into()) != blob.descriptor.digest {
        return Err("its content is another one: the digest differs".to_owned());
    }
    match (diff_id, unpacked) {
        (Some(wanted), Some(Ok((found, _)))) if *wanted != found => {
            Err(format!("it unpacks to {found}, and the image's config says {wanted}"))
        }
        (_, Some(Err(error))) => Err(format!("it cannot be unpacked: {error}")),
        (_, Some(Ok((_, size)))) => Ok(Some(size)),
        (_, None) => Ok(None),
    }
}

/// The digest of what a layer unpacks to, however much that is, and how much; nothing of it is kept.
fn unpack_all(mut tar: impl Read) -> io::Result<(Digest, u64)> {
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; CHUNK];
    loop {
        match tar.read(&mut buffer)? {
            0 => return Ok((Digest::from_sha256(&hash.finalize().into()), size)),
            read => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// Hashes what is read through it.
struct Hashed<'a, R> {
    inner: R,
    hash: Sha256,
    moved: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        (self.moved)(read as u64);
        Ok(read)
    }
}
