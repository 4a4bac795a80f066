//! Images of stores that keep manifests go along byte for byte.

use std::io::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::bundle::manifest::NamedImage;
use crate::bundle::originals::original;
use crate::bundle::store::BlobStore;
use crate::bundle::temporary_registry::{Expected, TemporaryRegistry};
use crate::bundle::{oci_archive, pipe, saved, tarball};
use crate::host::inside::Folder;
use crate::model::{INDEX_TYPE, Reference};

const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// What an engine with containerd saves: an index with an image for amd64, one that is not here, and an attestation.
struct Saved {
    blobs: Blobs,
    index: Digest,
    manifest: Digest,
}

impl Saved {
    fn new() -> Self {
        let mut blobs = Blobs::default();
        let tar = vec![b't'; 70_000];
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&tar).unwrap();
        let layer = blobs.add(GZIP, packed.finish().unwrap());
        let mut json = |media_type: &str, value: Value| blobs.add(media_type, value.to_string().into_bytes());
        let diff_id = describe("", &tar).digest;
        let config = json(
            "application/vnd.docker.container.image.v1+json",
            json!({ "architecture": "amd64", "os": "linux", "config": { "Env": ["A=1"] },
                    "rootfs": { "type": "layers", "diff_ids": [diff_id] } }),
        );
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json(
            docker,
            json!({ "schemaVersion": 2, "mediaType": docker, "config": config, "layers": [layer], "further": 1 }),
        );
        let statement = json("application/vnd.in-toto+json", json!({ "builder": "b" }));
        let nothing = json(layout::CONFIG, json!({ "rootfs": { "diff_ids": [] } }));
        let attestation = json(
            layout::IMAGE_MANIFEST,
            json!({ "schemaVersion": 2, "mediaType": layout::IMAGE_MANIFEST, "config": nothing, "layers": [statement] }),
        );
        let entry = |descriptor: &Descriptor, arch: &str| {
            let mut entry = serde_json::to_value(descriptor).unwrap();
            entry["platform"] =
                json!({ "os": if arch == "unknown" { arch } else { "linux" }, "architecture": arch });
            entry
        };
        let absent = describe(layout::IMAGE_MANIFEST, b"elsewhere");
        let mut attested = entry(&attestation, "unknown");
        attested["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
        let entries = [entry(&absent, "arm64"), entry(&manifest, "amd64"), attested];
        let index =
            json(INDEX_TYPE, json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries }));
        Self { index: index.digest, manifest: manifest.digest, blobs }
    }

    fn archive(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        for (digest, bytes) in &self.blobs.0 {
            let path = format!("blobs/sha256/{}", digest.hex());
            tar.extend(tarball::header(&path, bytes.len() as u64).unwrap());
            tar.extend(bytes);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.extend(tarball::END);
        tar
    }
}

fn taken(archive: &[u8]) -> io::Result<(tempfile::TempDir, BlobStore)> {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(&Folder::open(folder.path()).unwrap(), ".").unwrap();
    saved::take_as_is(archive, &store, &|_| {})?;
    Ok((folder, store))
}

fn find(store: &BlobStore, id: &Digest, platform: &str) -> Option<StoredImage> {
    let name: Reference = "shop:1".parse().unwrap();
    original(store, &name, id, &platform.parse().unwrap())
}

#[test]
fn an_image_is_found_by_its_index_or_its_manifest() {
    let saved = Saved::new();
    let (_folder, store) = taken(&saved.archive()).unwrap();
    let by_index = find(&store, &saved.index, "linux/amd64").unwrap();
    assert_eq!((by_index.named(), &by_index.manifest.descriptor.digest), (&saved.index, &saved.manifest));
    assert_eq!(by_index.index.as_ref().unwrap().attached.len(), 3);
    let by_manifest = find(&store, &saved.manifest, "linux/amd64").unwrap();
    assert_eq!((by_manifest.named(), &by_manifest.index), (&saved.manifest, &None));
    assert_eq!(by_manifest.identity, by_index.identity);
    assert_eq!(find(&store, &saved.index, "linux/arm64"), None, "its manifest is elsewhere");
    let (_folder, empty) = taken(&tarball::END).unwrap();
    assert_eq!(find(&empty, &saved.index, "linux/amd64"), None);
}

#[test]
fn what_has_no_layers_may_have_null_of_them() {
    for nothing in [json!([]), Value::Null] {
        let mut blobs = Blobs::default();
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": nothing } });
        let config = blobs.add(layout::CONFIG, config.to_string().into_bytes());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": nothing });
        let index = blobs.add(layout::IMAGE_MANIFEST, manifest.to_string().into_bytes()).digest;
        let saved = Saved { blobs, manifest: index.clone(), index };
        let (_folder, store) = taken(&saved.archive()).unwrap();
        let image = find(&store, &saved.index, "linux/amd64");
        assert_eq!(image.map(|image| image.layers), Some(Vec::new()), "{nothing}");
    }
}

#[test]
fn a_blob_that_is_not_what_its_name_says_is_refused() {
    let mut saved = Saved::new();
    saved.blobs.0.get_mut(&saved.manifest).unwrap().push(b' ');
    let error = taken(&saved.archive()).map(drop).unwrap_err();
    assert!(error.to_string().contains("is not what its name says"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_push_everything_is_kept_as_it_is_and_sent_once() {
    let saved = Saved::new();
    let (_folder, store) = taken(&tarball::END).unwrap();
    let registry = TemporaryRegistry::start(&store).await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // As containerd does: `HEAD`, and for what is not there `POST` and one `PUT` (`core/remotes/docker/pusher.go`).
    for (name, is_sent) in [("first", true), ("second", false)] {
        let base = format!("http://{}", registry.expect(name, Expected::Originals))
            .replace(name, &format!("v2/{name}"));
        for (digest, bytes) in &saved.blobs.0 {
            let asked = client.head(format!("{base}/blobs/{digest}")).send().await.unwrap();
            assert_eq!(asked.status(), if is_sent { 404 } else { 200 }, "{digest}");
            if !is_sent {
                continue;
            }
            let begun = client.post(format!("{base}/blobs/uploads/")).send().await.unwrap();
            let location = begun.headers()["location"].to_str().unwrap().to_owned();
            let url = format!("{}{location}", base.split("/v2/").next().unwrap());
            let put = |body: &[u8]| client.put(format!("{url}?digest={digest}")).body(body.to_vec()).send();
            assert_eq!(put(b"something else").await.unwrap().status(), 400, "{digest}");
            assert_eq!(put(bytes).await.unwrap().status(), 201, "{digest}");
        }
    }
    assert_eq!(registry.received(), {
        let sizes = saved.blobs.0.values().map(|bytes| bytes.len() + b"something else".len());
        sizes.sum::<usize>() as u64
    });
    assert!(find(&store, &saved.index, "linux/amd64").is_some());
}

#[tokio::test]
async fn what_came_goes_on_byte_for_byte() {
    let saved = Saved::new();
    let (folder, store) = taken(&saved.archive()).unwrap();
    let image = find(&store, &saved.index, "linux/amd64").unwrap();
    let mut manifest = BundleManifest::new("t");
    let index = image.index.as_ref().unwrap();
    manifest.members = vec![Member {
        index: Some(index.blob.descriptor.clone()),
        attached: index.attached.clone(),
        ..member(&image, Role::Base, &[])
    }];
    let path = folder.path().join("b.tar");
    let output = BundleOutput::File(path.clone());
    archive::write(&manifest, std::slice::from_ref(&image), &store, &output, &|_| {}).unwrap();
    let verified = check(&path).unwrap();
    assert_eq!(verified.contents().image(&manifest.members[0]), Some(&image));

    let names = ["shop:1", &format!("shop@{}", saved.index), &format!("shop@{}", saved.manifest)];
    let names = names.map(|name| name.parse().unwrap()).to_vec();
    let (writer, mut receiver) = pipe::writer();
    let named_images = vec![NamedImage { image, names }];
    let bundle = verified.contents().bundle().clone();
    let writing = tokio::task::spawn_blocking(move || {
        let at = std::sync::atomic::AtomicU64::new(0);
        oci_archive::write(&named_images, &bundle, &at, writer).is_ok()
    });
    let mut bytes = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        bytes.extend(chunk.unwrap());
    }
    assert!(writing.await.unwrap());
    let mut handed = BTreeMap::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        handed.insert(entry.path().unwrap().display().to_string(), content);
    }
    for (digest, content) in &saved.blobs.0 {
        assert_eq!(
            handed.remove(&format!("blobs/sha256/{}", digest.hex())).as_ref(),
            Some(content),
            "{digest}"
        );
    }
    let index: Value = serde_json::from_slice(&handed["index.json"]).unwrap();
    let named: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            assert_eq!(entry["digest"], saved.index.as_str());
            entry["annotations"]["io.containerd.image.name"].as_str().unwrap()
        })
        .collect();
    let pinned = format!("docker.io/library/shop@{}", saved.index);
    assert_eq!(named, ["docker.io/library/shop:1", &pinned], "a name of other content is not given");
    assert_eq!(handed.keys().collect::<Vec<_>>(), ["index.json", "oci-layout"]);
}
