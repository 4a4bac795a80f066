//! A folder with an image layout (github.com/opencontainers/image-spec, `image-layout.md`) as the store of a builder that has
//! none: what is built goes there under its names, and is found there again.
//!
//! In: archives of layouts, as builders send them. Out: blobs by digest, each written whole and only if it is what its name says,
//! and an index that names images as they are typed, for skopeo and others (`org.opencontainers.image.ref.name`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::host::inside::{Folder, NewFile};
use crate::model::{
    CONTAINERD_NAME, Digest, INDEX_TYPE, ImageConfig, LAYOUT_VERSION, Platform, REF_NAME, Reference,
    or_default, sha256,
};

/// An entry that is no image but speaks of one (moby/buildkit, `docs/attestations/attestation-storage.md`).
const ATTESTATION: &str = "vnd.docker.reference.type";
/// Where blobs are, and what names them.
const BLOBS: &str = "blobs/sha256";
const INDEX: &str = "index.json";
/// The largest manifest, index or config that is believed.
const MAX_TEXT: u64 = 16 << 20;

/// An image of the layout.
#[derive(Clone, Debug)]
pub(crate) struct LaidOut {
    /// What its name stands for: a manifest, or an index.
    pub(crate) named: Digest,
    /// The manifest for the platform that was asked for, with its text.
    pub(crate) manifest: (Digest, Vec<u8>),
    /// Its config and layers, with their sizes.
    pub(crate) blobs: BTreeMap<Digest, u64>,
    pub(crate) config: ImageConfig,
    /// Bytes of its layers, as they are packed.
    pub(crate) size: u64,
}

/// The folder. It need not be there before something is written.
#[derive(Debug)]
pub(crate) struct Layout {
    path: PathBuf,
}

/// A blob on its way into a layout.
#[derive(Debug)]
pub(crate) struct Incoming {
    folder: Folder,
    file: NewFile,
    hash: Sha256,
    /// How many bytes have come.
    pub(crate) size: u64,
}

impl Incoming {
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// What has come so far.
    pub(crate) fn digest(&self) -> Digest {
        Digest::from_sha256(&self.hash.clone().finalize().into())
    }

    /// Puts it into its place.
    ///
    /// # Errors
    /// It is another one than `digest`; the file system's.
    pub(crate) fn keep(self, digest: &Digest) -> io::Result<()> {
        if self.digest() != *digest {
            return Err(odd(format!("{digest} is not what its name says")));
        }
        self.file.set_mode(0o644)?;
        self.file.keep(&self.folder, Path::new(BLOBS).join(digest.hex())).map(drop)
    }
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<EntryPlatform>,
}

#[derive(Deserialize)]
struct EntryPlatform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<Descriptor>,
}

impl Layout {
    /// The layout in this folder.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The image of this name, or of this digest; none where anything of it is missing or wrong, so that it is made again.
    pub(crate) fn find(&self, reference: &Reference, platform: &Platform) -> Option<LaidOut> {
        let named = match reference.digest() {
            Some(digest) => digest.clone(),
            None => self.named(&reference.familiar())?,
        };
        let text = self.text(&named)?;
        let manifest = match serde_json::from_slice::<Index>(&text) {
            Ok(index) => {
                let mut images = index.manifests.into_iter().filter(|entry| entry.serves(platform));
                let digest = images.next()?.digest;
                let text = self.text(&digest)?;
                (digest, text)
            }
            Err(_) => (named.clone(), text),
        };
        let Manifest { config, layers } = serde_json::from_slice(&manifest.1).ok()?;
        let is_whole = |blob: &Descriptor| {
            std::fs::metadata(self.blob(&blob.digest)).is_ok_and(|found| found.len() == blob.size)
        };
        if !layers.iter().all(is_whole) {
            return None;
        }
        let read: ImageConfig = serde_json::from_slice(&self.text(&config.digest)?).ok()?;
        let size = layers.iter().map(|layer| layer.size).sum();
        let blobs = layers.into_iter().chain([config]).map(|blob| (blob.digest, blob.size)).collect();
        Some(LaidOut { named, manifest, blobs, config: read, size })
    }

    /// What the index calls so.
    pub(crate) fn named(&self, name: &str) -> Option<Digest> {
        let index = std::fs::read(self.path.join(INDEX)).ok()?;
        let index: Index = serde_json::from_slice(&index).ok()?;
        let is_it = |entry: &Descriptor| entry.annotations.get(REF_NAME).is_some_and(|known| known == name);
        Some(index.manifests.into_iter().find(is_it)?.digest)
    }

    /// What somebody means who gives a tag, or nothing, as buildx takes it: what is called so, else the only one that there is.
    ///
    /// # Errors
    /// There is no such image; the text says what there is.
    pub(crate) fn meant(&self, tag: Option<&str>) -> Result<Digest, String> {
        let index =
            std::fs::read(self.path.join(INDEX)).map_err(|error| format!("no image layout: {error}"))?;
        let index: Index = serde_json::from_slice(&index).map_err(|error| format!("{INDEX}: {error}"))?;
        let name = |entry: &Descriptor| entry.annotations.get(REF_NAME).cloned();
        let wanted = tag.unwrap_or("latest");
        if let Some(found) = index.manifests.iter().find(|entry| name(entry).as_deref() == Some(wanted)) {
            return Ok(found.digest.clone());
        }
        match &*index.manifests {
            [only] if tag.is_none() || name(only).is_none() => Ok(only.digest.clone()),
            all => {
                let names: Vec<String> = all.iter().filter_map(name).collect();
                let named = if names.is_empty() { "none has a name".to_owned() } else { names.join(", ") };
                Err(format!("none of its {} images is called `{wanted}` ({named})", all.len()))
            }
        }
    }

    /// Where a blob lies.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.path.join(BLOBS).join(digest.hex())
    }

    /// How large a blob is that is here.
    pub(crate) fn size(&self, digest: &Digest) -> Option<u64> {
        std::fs::metadata(self.blob(digest)).ok().map(|found| found.len())
    }

    /// A blob that is going to be here; blocks.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn begin(&self) -> io::Result<Incoming> {
        let folder = Folder::making(&self.path)?;
        let file = folder.new_file(BLOBS)?;
        Ok(Incoming { folder, file, hash: Sha256::new(), size: 0 })
    }

    /// A blob of text, if it is what its name says.
    fn text(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.blob(digest);
        if std::fs::metadata(&path).ok()?.len() > MAX_TEXT {
            return None;
        }
        let bytes = std::fs::read(path).ok()?;
        (sha256(&bytes) == *digest).then_some(bytes)
    }

    /// Takes an archive in, and gives its image these names. Nothing is named before all of it is here; blocks.
    ///
    /// # Errors
    /// The archive is none, or breaks off, or a blob is not what its name says; the file system's.
    pub(crate) fn take(&self, archive: impl Read, names: &[Reference]) -> io::Result<()> {
        let mut image = None;
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let hex = name.strip_prefix("blobs/sha256/").unwrap_or_default();
            match format!("sha256:{hex}").parse::<Digest>() {
                Ok(digest) => self.keep(&digest, &mut entry)?,
                Err(_) if name == INDEX => {
                    let mut text = Vec::new();
                    entry.take(MAX_TEXT).read_to_end(&mut text)?;
                    let index: Value = serde_json::from_slice(&text)?;
                    image = index.pointer("/manifests/0").cloned();
                }
                Err(_) => {}
            }
        }
        let image = image.ok_or_else(|| odd("it ended without an index".to_owned()))?;
        let annotations =
            |name: &Reference| json!({ REF_NAME: name.familiar(), CONTAINERD_NAME: name.to_string() });
        self.name(&image, &names.iter().map(annotations).collect::<Vec<_>>())
    }

    fn keep(&self, digest: &Digest, content: &mut impl Read) -> io::Result<()> {
        if self.blob(digest).exists() {
            return io::copy(content, &mut io::sink()).map(drop);
        }
        let mut incoming = self.begin()?;
        let mut piece = vec![0; 256 << 10];
        loop {
            match content.read(&mut piece)? {
                0 => return incoming.keep(digest),
                read => incoming.take(&piece[..read])?,
            }
        }
    }

    /// Calls what a descriptor stands for so; nothing else is called so any more. Blocks.
    ///
    /// # Errors
    /// The index is none; the file system's.
    pub(crate) fn call(&self, descriptor: &Value, name: &str) -> io::Result<()> {
        self.name(descriptor, &[json!({ REF_NAME: name })])
    }

    /// An entry for each of the annotations. One at a time changes the index, of all who write to the folder.
    fn name(&self, image: &Value, annotations: &[Value]) -> io::Result<()> {
        let folder = Folder::making(&self.path)?;
        let alone = File::open(&self.path)?;
        alone.lock()?;
        let mut index: Value = match folder.read(INDEX)? {
            Some(text) => serde_json::from_slice(&text)?,
            None => json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [] }),
        };
        let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
        let entries = entries.ok_or_else(|| odd("its index names no images".to_owned()))?;
        let is_ours = |entry: &Value| {
            let name = entry.pointer(&format!("/annotations/{REF_NAME}"));
            annotations.iter().any(|own| name == own.get(REF_NAME))
        };
        entries.retain(|entry| !is_ours(entry));
        entries.extend(annotations.iter().map(|annotations| {
            let mut entry = image.clone();
            entry["annotations"] = annotations.clone();
            entry
        }));
        // By name, so that the order in which builds end is nowhere.
        entries.sort_by_key(|entry| entry["annotations"][REF_NAME].as_str().unwrap_or_default().to_owned());
        folder.write("oci-layout", LAYOUT_VERSION, None)?;
        folder.write(INDEX, &serde_json::to_vec_pretty(&index)?, None)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Descriptor {
    fn serves(&self, platform: &Platform) -> bool {
        let found = |found: &EntryPlatform| {
            Platform::new(&found.os, &found.architecture, found.variant.as_deref()).serves(platform)
        };
        !self.annotations.contains_key(ATTESTATION) && self.platform.as_ref().is_none_or(found)
    }
}

fn odd(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the builder's archive cannot be used: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str =
        r#"{"os":"linux","architecture":"amd64","config":{"Labels":{"a":"b"}},"rootfs":{"diff_ids":[]}}"#;

    /// An archive of an image with one layer, as a builder sends it.
    fn archive(layer: &str, spoil: bool, has_index: bool) -> Vec<u8> {
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":{}}},"layers":[{{"digest":"{}","size":{}}}]}}"#,
            sha256(CONFIG.as_bytes()),
            CONFIG.len(),
            sha256(layer.as_bytes()),
            layer.len(),
        );
        let index = json!({ "schemaVersion": 2, "manifests": [{
            "mediaType": "m", "digest": sha256(manifest.as_bytes()), "size": manifest.len(),
            "annotations": { "org.opencontainers.image.created": "now" },
        }] });
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).expect("added");
        };
        let blob = |text: &str| format!("blobs/sha256/{}", sha256(text.as_bytes()).hex());
        add(&blob(layer), if spoil { b"other" } else { layer.as_bytes() });
        add(&blob(CONFIG), CONFIG.as_bytes());
        add(&blob(&manifest), manifest.as_bytes());
        if has_index {
            add("index.json", index.to_string().as_bytes());
        }
        tar.into_inner().expect("an archive")
    }

    fn name(text: &str) -> Reference {
        text.parse().expect("a name")
    }

    #[test]
    fn what_was_taken_is_found_under_its_names() {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::at(folder.path().join("images"));
        let platform = Platform::new("linux", "amd64", None);
        assert!(layout.find(&name("api:1"), &platform).is_none());
        layout
            .take(&archive("one", false, true)[..], &[name("api:1"), name("r.example/api:1")])
            .expect("taken");
        layout.take(&archive("two", false, true)[..], &[name("web:1")]).expect("taken");
        let api = layout.find(&name("r.example/api:1"), &platform).expect("there");
        assert_eq!((api.size, api.config.run_config().labels["a"].as_str()), (3, "b"));
        assert_eq!(api.named, layout.find(&name("api:1"), &platform).expect("there").named);
        assert!(layout.find(&name("api:1"), &Platform::new("linux", "arm64", None)).is_some(), "nobody said");
        // One that is built again takes the name over.
        layout.take(&archive("three", false, true)[..], &[name("api:1")]).expect("taken");
        assert_ne!(layout.find(&name("api:1"), &platform).expect("there").named, api.named);
        let index = std::fs::read_to_string(layout.path().join("index.json")).expect("an index");
        assert_eq!(index.matches("\"api:1\"").count(), 1, "{index}");
        // What lost a layer is made again.
        std::fs::remove_file(layout.blob(&sha256(b"two"))).expect("removed");
        assert!(layout.find(&name("web:1"), &platform).is_none());
    }

    #[test]
    fn an_archive_that_is_none_names_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::at(folder.path().join("images"));
        let whole = archive("one", false, true);
        for (bytes, why) in [
            (archive("one", true, true), "is not what its name says"),
            (archive("one", false, false), "it ended without an index"),
            (whole[..700].to_vec(), ""),
        ] {
            let error = layout.take(&bytes[..], &[name("api:1")]).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(!layout.path().join("index.json").exists());
    }
}
