//! Images for an engine that keeps manifests: an image layout in a tar, with each image's index, manifest, config and
//! layers as they are. So `name@sha256:…` names there what it named where the image came from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::layout::EntryName;
use super::manifest::{Descriptor, NamedImage, SmallBlob};
use super::open::BlobSource;
use super::pipe::{self, StreamError};
use super::tarball;
use crate::model::{CONTAINERD_NAME, Digest, INDEX_TYPE, LAYOUT_VERSION, Reference};

/// Bytes that are read at a time.
const BUFFER: usize = 256 << 10;

/// Writes the archive; `at` hears of the bytes of blobs. It blocks.
pub(super) fn write<B: BlobSource>(
    named_images: &[NamedImage],
    blobs: &B,
    at: &AtomicU64,
    to: pipe::Writer,
) -> Result<(), StreamError> {
    to.send(|to| write_to(named_images, blobs, at, to))
}

fn write_to<B: BlobSource>(
    named_images: &[NamedImage],
    blobs: &B,
    at: &AtomicU64,
    to: &mut impl Write,
) -> Result<(), StreamError> {
    let mut small: BTreeMap<&Digest, &SmallBlob> = BTreeMap::new();
    let mut large: BTreeMap<&Digest, &Descriptor> = BTreeMap::new();
    for image in named_images.iter().map(|named| &named.image) {
        let index = image.index.iter().map(|index| &index.blob);
        small.extend(index.chain([&image.manifest]).map(|blob| (&blob.descriptor.digest, blob)));
        let layers = image.layers.iter().map(|layer| &layer.blob);
        let attached = image.index.iter().flat_map(|index| &index.attached);
        large.extend(layers.chain(attached).chain([&image.config]).map(|blob| (&blob.digest, blob)));
    }
    tarball::entry(to, &EntryName::Layout.path(), LAYOUT_VERSION)?;
    for (digest, blob) in &small {
        tarball::entry(to, &EntryName::Blob((*digest).clone()).path(), &blob.bytes)?;
    }
    for descriptor in large.into_values().filter(|descriptor| !small.contains_key(&descriptor.digest)) {
        to.write_all(&tarball::header(&EntryName::Blob(descriptor.digest.clone()).path(), descriptor.size)?)?;
        copy(blobs, descriptor, at, to)?;
        tarball::pad(to, descriptor.size)?;
    }
    tarball::entry(to, &EntryName::Index.path(), index(named_images).to_string().as_bytes())?;
    Ok(to.write_all(&tarball::END)?)
}

/// An entry for each name. Engines take a name with a digest where the content has it.
fn index(named_images: &[NamedImage]) -> serde_json::Value {
    let mut entries = Vec::new();
    for NamedImage { image, names } in named_images {
        let top = image.index.as_ref().map_or(&image.manifest, |index| &index.blob);
        let Descriptor { media_type, digest, size } = &top.descriptor;
        let bears = |name: &&Reference| is_of(name, digest);
        let names: BTreeSet<String> = names.iter().filter(bears).map(full).collect();
        entries.extend(names.into_iter().map(|name| {
            json!({ "mediaType": media_type, "digest": digest, "size": size, "annotations": { CONTAINERD_NAME: name } })
        }));
    }
    json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries })
}

/// Whether content of this digest may bear the name.
pub(super) fn is_of(name: &Reference, digest: &Digest) -> bool {
    name.digest().is_none_or(|wanted| wanted == digest)
}

/// With its domain and a tag or digest, as containerd wants it.
fn full(name: &Reference) -> String {
    match (name.tag(), name.digest()) {
        (None, None) => format!("{name}:latest"),
        _ => name.to_string(),
    }
}

/// A blob as it is, proven on its way.
fn copy<B: BlobSource>(
    blobs: &B,
    descriptor: &Descriptor,
    at: &AtomicU64,
    to: &mut impl Write,
) -> Result<(), StreamError> {
    let wrong = |what: &str| StreamError::blob(&descriptor.digest, what);
    let blob = blobs.open_blob(&descriptor.digest).map_err(StreamError::Blob)?;
    let mut blob = blob.take(descriptor.size.saturating_add(1));
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let read = blob.read(&mut buffer).map_err(|error| wrong(&error.to_string()))?;
        if read == 0 {
            break;
        }
        size += read as u64;
        if size > descriptor.size {
            return Err(wrong("is longer than it was"));
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        at.fetch_add(read as u64, Ordering::Relaxed);
    }
    let is_it = Digest::from_sha256(&hash.finalize().into()) == descriptor.digest;
    if is_it { Ok(()) } else { Err(wrong("is another one than it was")) }
}
