//! What a run hashed as it wrote it is not hashed once more; what anybody touched since is, and a store that was
//! damaged is noticed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::bundle::archive::WriteError;
use crate::bundle::layout::made_here;
use crate::bundle::store::BlobStore;
use crate::host::inside::Folder;
use crate::model::ImageConfig;

/// A store in which this process has put an image with one layer that does not compress.
struct Fresh {
    folder: tempfile::TempDir,
    store: BlobStore,
    image: StoredImage,
}

impl Fresh {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(&Folder::open(folder.path()).unwrap(), "blobs").unwrap();
        let mut state = 1_u64;
        let content: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(1_500_000)
        .collect();
        let mut writer = store.begin_layer().unwrap();
        writer.write_all(&content).unwrap();
        let layer = writer.finish(|_| true).unwrap().unwrap().layer;
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
        });
        let id = store.put_config(config.to_string().as_bytes()).unwrap();
        let (config, text) = store.config(&id).unwrap();
        let read: ImageConfig = serde_json::from_slice(&text).unwrap();
        let image = made_here("shop:v1".parse().unwrap(), config, read.identity(), vec![layer]);
        Self { folder, store, image }
    }

    fn blob(&self) -> PathBuf {
        self.folder.path().join("blobs/sha256").join(self.image.layers[0].blob.digest.hex())
    }

    fn is_proven(&self) -> bool {
        self.store.proven_file(&self.image.layers[0].blob.digest).is_some()
    }

    fn write(&self, store: &BlobStore, output: &BundleOutput) -> Result<Written, WriteError> {
        let mut manifest = BundleManifest::new("v1");
        manifest.members = vec![member(&self.image, Role::Image, &[])];
        archive::write(&manifest, std::slice::from_ref(&self.image), store, output, &|_| {})
    }
}

fn contents_of(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|file| {
            let inside = file.path().strip_prefix(folder).unwrap().to_owned();
            (inside, fs::read(file.path()).unwrap())
        })
        .collect()
}

#[test]
fn what_is_copied_unhashed_is_the_same_in_every_form() {
    let fresh = Fresh::new();
    assert!(fresh.is_proven());
    // Another process knows nothing of what was hashed when.
    let later = BlobStore::open(&Folder::open(fresh.folder.path()).unwrap(), "blobs").unwrap();
    assert!(later.proven_file(&fresh.image.layers[0].blob.digest).is_none());
    for name in ["b.tar", "parts.tar", "folder"] {
        let written = [&fresh.store, &later].map(|store| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let output = match name {
                "parts.tar" => BundleOutput::Parts { file: path.clone(), size: archive::SMALLEST_PART },
                _ => archive::output_at(&path, None).unwrap(),
            };
            fresh.write(store, &output).unwrap();
            assert_eq!(told(&path), "whole", "{name}");
            contents_of(folder.path())
        });
        assert!(written[0] == written[1], "{name}");
        assert!(written[0].len() > usize::from(name != "b.tar"), "{name}");
    }
}

#[test]
fn what_was_touched_since_is_hashed_again() {
    let spoil = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    for (how, touch) in [
        ("written over", (|path, bytes| fs::write(path, bytes).unwrap()) as fn(&Path, Vec<u8>)),
        ("replaced", |path, bytes| {
            let beside = path.with_extension("new");
            fs::write(&beside, bytes).unwrap();
            fs::rename(beside, path).unwrap();
        }),
        ("written over, with its old time", |path, bytes| {
            let time = fs::metadata(path).unwrap().modified().unwrap();
            fs::write(path, bytes).unwrap();
            fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }),
    ] {
        let fresh = Fresh::new();
        // Times of files move on by the kernel's tick.
        let began = std::time::SystemTime::now();
        while began.elapsed().unwrap() < std::time::Duration::from_millis(20) {
            std::thread::yield_now();
        }
        touch(&fresh.blob(), spoil(&fresh.blob()));
        assert!(!fresh.is_proven(), "{how}");
        let output = BundleOutput::File(fresh.folder.path().join("b.tar"));
        let error = fresh.write(&fresh.store, &output).unwrap_err();
        assert!(matches!(error, WriteError::Damaged { .. }), "{how}: {error}");
        assert!(!output.path().exists(), "{how}");
    }
}

#[test]
fn a_file_that_is_touched_while_it_is_copied_is_noticed() {
    let fresh = Fresh::new();
    let mut file = fresh.store.proven_file(&fresh.image.layers[0].blob.digest).unwrap();
    let mut copied = Vec::new();
    while file.copy_some(&mut copied).unwrap() > 0 {}
    assert_eq!(copied.len() as u64, file.size());
    assert!(file.is_untouched());
    fs::File::options().append(true).open(fresh.blob()).unwrap().write_all(b"more").unwrap();
    assert!(!file.is_untouched());
}
