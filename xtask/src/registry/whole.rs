//! An image of a registry as an archive that engines load: an image layout in a tar (OCI image-spec, "Image Layout").
//!
//! For an engine that left out layers of an image when it pulled it (`execute/pull.rs`). Layers go through as they come;
//! what is small is held to its digest here, and the engine does the same with all of it.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Blob, Registry, RegistryError, accept_manifests, cause};
use crate::model::{CONTAINERD_NAME, Digest, INDEX_TYPE, LAYOUT_VERSION, Platform, Reference};

/// What a tar is made of.
const BLOCK: usize = 512;

impl Registry {
    /// Sends the image of a platform with all its layers, under `name`. `pinned` is where it is, by its digest. Whether anybody takes
    /// it, the other end knows.
    ///
    /// # Errors
    /// As [`Registry::image`]; then the archive has no end.
    pub async fn send_image(
        &self,
        pinned: &Reference,
        name: &Reference,
        platform: &Platform,
        to: mpsc::Sender<Bytes>,
    ) -> Result<(), RegistryError> {
        let image = self.manifests(pinned, platform).await?;
        file(&to, "oci-layout", LAYOUT_VERSION.to_vec()).await;
        file(&to, "index.json", layout_index(name, &image.texts[0])).await;
        for (digest, text) in &image.texts {
            file(&to, &path(digest), text.clone()).await;
        }
        for blob in image.layers.iter().chain([&image.config]) {
            self.send_blob(pinned, blob, &to).await?;
        }
        send(&to, vec![0; 2 * BLOCK]).await;
        Ok(())
    }

    /// A blob of the repository that `of` is in.
    async fn send_blob(
        &self,
        of: &Reference,
        blob: &Blob,
        to: &mpsc::Sender<Bytes>,
    ) -> Result<(), RegistryError> {
        let broken = |cause| RegistryError::Unreachable { domain: of.domain().to_owned(), cause };
        let place = format!("{}/blobs/{}", of.path(), blob.digest);
        let mut response = self.ask_with(Method::GET, of, &place, accept_manifests(), None).await?;
        begin(to, &path(&blob.digest), blob.size).await;
        let mut came = 0;
        while let Some(piece) = response.chunk().await.map_err(|error| broken(cause(&error)))? {
            came += piece.len() as u64;
            send(to, piece).await;
        }
        if came != blob.size {
            return Err(broken(format!("{} should have {} bytes and has {came}", blob.digest, blob.size)));
        }
        pad(to, blob.size).await;
        Ok(())
    }
}

/// `index.json`, which gives the image its name.
fn layout_index(name: &Reference, (digest, text): &(Digest, Vec<u8>)) -> Vec<u8> {
    let manifest: Value = serde_json::from_slice(text).unwrap_or_default();
    let media_type = manifest["mediaType"].as_str().unwrap_or(INDEX_TYPE);
    let entry = json!({
        "mediaType": media_type, "digest": digest, "size": text.len(),
        "annotations": { CONTAINERD_NAME: name.to_string() },
    });
    json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry] }).to_string().into_bytes()
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

async fn file(to: &mpsc::Sender<Bytes>, path: &str, content: Vec<u8>) {
    let size = content.len() as u64;
    begin(to, path, size).await;
    send(to, content).await;
    pad(to, size).await;
}

async fn begin(to: &mpsc::Sender<Bytes>, path: &str, size: u64) {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).expect("a header has room for 100 bytes, and no path has more than 77");
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    send(to, header.as_bytes().to_vec()).await;
}

async fn pad(to: &mpsc::Sender<Bytes>, size: u64) {
    let over = size as usize % BLOCK;
    send(to, vec![0; (BLOCK - over) % BLOCK]).await;
}

async fn send(to: &mpsc::Sender<Bytes>, bytes: impl Into<Bytes>) {
    // Who does not want it any more has a reason, and says it.
    let _ = to.send(bytes.into()).await;
}
