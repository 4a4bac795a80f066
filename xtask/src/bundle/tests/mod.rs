//! Bundles made, read and broken, without an engine.

mod carried;
mod delta;
mod hostile;
mod originals;
mod proven;
mod written;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::archive::{self, Written};
use super::contents::Contents;
use super::finding::BundleError;
use super::layout::{self, describe};
use super::manifest::{
    ArtifactRecord, BundleManifest, Descriptor, FileRecord, Member, StoredImage, StoredLayer,
};
use super::open::{BlobSource, Bundle};
use super::verify::{Verified, verify};
use crate::model::bundle::{BundleOutput, Role, Unpack};
use crate::model::{Digest, Platform, sha256};

/// Blobs in memory.
#[derive(Clone, Default)]
pub(super) struct Blobs(pub BTreeMap<Digest, Vec<u8>>);

impl Blobs {
    pub fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = describe(media_type, &bytes);
        self.0.insert(descriptor.digest.clone(), bytes);
        descriptor
    }

    pub fn add_layer(&mut self, content: &[u8]) -> StoredLayer {
        let blob = self.add(layout::LAYER, zstd::bulk::compress(content, 3).unwrap());
        StoredLayer { diff_id: sha256(content), blob }
    }

    pub fn add_image(&mut self, name: &str, layers: &[&StoredLayer]) -> StoredImage {
        let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "comment": name,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.add(layout::CONFIG, config.to_string().into_bytes());
        let read: crate::model::ImageConfig = serde_json::from_slice(&self.0[&config.digest]).unwrap();
        let layers = layers.iter().map(|layer| (*layer).clone()).collect();
        layout::made_here(name.parse().unwrap(), config, read.identity(), layers)
    }
}

impl BlobSource for Blobs {
    fn open_blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        let bytes = self.0.get(digest).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(bytes.as_slice()))
    }
}

/// A bundle in pieces.
#[derive(Clone)]
pub(super) struct Sample {
    pub manifest: BundleManifest,
    pub images: Vec<StoredImage>,
    pub blobs: Blobs,
}

/// A member that is this image.
pub(super) fn member(image: &StoredImage, role: Role, needed_by: &[&str]) -> Member {
    Member {
        reference: image.reference.clone(),
        further_names: Vec::new(),
        role,
        needed_by: needed_by.iter().map(|place| (*place).to_owned()).collect(),
        platform: "linux/amd64".parse::<Platform>().unwrap(),
        image_id: image.image_id.clone(),
        identity: Some(image.identity.clone()),
        manifest: image.manifest.descriptor.clone(),
        index: None,
        attached: Vec::new(),
    }
}

impl Sample {
    /// A base with two services on it, one of them with a stage, a file and an artifact. `change` is in the last
    /// layer of `api`.
    pub fn new(change: &str) -> Self {
        let mut blobs = Blobs::default();
        let rootfs = blobs.add_layer(&vec![b'r'; 300_000]);
        let packages = blobs.add_layer(&(0..40_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        let source = blobs.add_layer(format!("source {change}").as_bytes());
        let page = blobs.add_layer(b"page");
        let base = blobs.add_image("debian:12-slim", &[&rootfs]);
        let api = blobs.add_image(&format!("shop-api:{change}"), &[&rootfs, &packages, &source]);
        let web = blobs.add_image("shop-web:v1", &[&rootfs, &page]);
        let stage = blobs.add_image("xtask-cache/shop-web:build", &[&rootfs, &packages]);
        let mut manifest = BundleManifest::new("v1");
        manifest.members = vec![
            member(&base, Role::Base, &["src/api/Dockerfile:1", "src/web/Dockerfile:1"]),
            member(&api, Role::Image, &[]),
            member(&web, Role::Image, &[]),
            member(&stage, Role::Stage, &["src/web/Dockerfile:2"]),
        ];
        manifest.members[0].further_names = vec!["localhost/debian:12-slim".parse().unwrap()];
        let artifact = blobs.add(layout::BYTES, vec![7; 70_000]);
        manifest.artifacts.push(ArtifactRecord {
            file: "1.2.3.zip".to_owned(),
            version: "1.2.3".to_owned(),
            needed_by: vec!["docker/base-images/debian/Dockerfile:9".to_owned()],
            blob: artifact,
        });
        let file = blobs.add(layout::BYTES, b"services: {}\n".to_vec());
        manifest.files.push(FileRecord { path: "deploy/compose.yaml".to_owned(), blob: file });
        Self { manifest, images: vec![base, api, web, stage], blobs }
    }

    pub fn write(&self, output: &BundleOutput) -> Written {
        archive::write(&self.manifest, &self.images, &self.blobs, output, &|_| {}).unwrap()
    }

    /// As one file.
    pub fn tar(&self, folder: &Path) -> std::path::PathBuf {
        let path = folder.join("b.tar");
        self.write(&BundleOutput::File(path.clone()));
        path
    }
}

/// Opens, reads and proves all of a bundle.
pub(super) fn check(path: &Path) -> Result<Verified, BundleError> {
    verify(Contents::read(Bundle::open(path)?)?, &Unpack::All, &|_| {})
}

/// What is wrong with a bundle, digests shortened; `whole` when nothing is.
pub(super) fn told(path: &Path) -> String {
    match check(path) {
        Ok(_) => "whole".to_owned(),
        Err(error @ BundleError::Refused { .. }) => {
            let BundleError::Refused { findings, .. } = &error else { return String::new() };
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            lines.join("\n")
        }
        Err(error) => {
            let source = std::error::Error::source(&error).map(|s| format!(": {s}")).unwrap_or_default();
            format!("{error}{source}")
        }
    }
}
