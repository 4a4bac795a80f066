//! What is written can be read, by us and by others, and nothing half written is ever there.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::bundle::verify;

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_bundle_reads_as_it_was_written() {
    let sample = Sample::new("v1");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for output in [
        BundleOutput::File(at("one.tar")),
        BundleOutput::Folder(at("folder")),
        BundleOutput::Parts { file: at("parts/x.tar"), size: archive::SMALLEST_PART },
    ] {
        let moved = Cell::new(0);
        let add = |more| moved.set(moved.get() + more);
        let written = archive::write(&sample.manifest, &sample.images, &sample.blobs, &output, &add).unwrap();
        assert_eq!(moved.get(), archive::total(&sample.manifest, &sample.images).unwrap());
        let verified = check(output.path()).unwrap();
        let contents = verified.contents();
        assert_eq!(*contents.manifest(), sample.manifest);
        for (member, image) in sample.manifest.members.iter().zip(&sample.images) {
            assert_eq!(contents.image(member), Some(image));
        }
        for (digest, bytes) in &sample.blobs.0 {
            let mut read = Vec::new();
            contents.bundle().open_blob(digest).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, *bytes, "{digest}");
        }
        // Four image manifests and our own come to those of the store.
        assert_eq!(written.blobs, sample.blobs.0.len() + 5);
    }
    assert_eq!(names_in(folder.path()), ["folder", "one.tar", "parts"].map(str::to_owned).into());
}

#[test]
fn the_same_images_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.tar"), folder.path().join("two.tar"));
    let sample = Sample::new("v1");
    sample.write(&BundleOutput::File(one.clone()));
    let mut shuffled = sample.clone();
    shuffled.images.reverse();
    shuffled.write(&BundleOutput::File(two.clone()));
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
    // Over an old one, too, of which nothing shines through.
    Sample::new("a-longer-one").write(&BundleOutput::File(two.clone()));
    assert_ne!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
    sample.write(&BundleOutput::File(two.clone()));
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
}

#[test]
fn parts_in_a_row_are_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut sample = Sample::new("v1");
    // Bytes that do not compress, so that there is more than one part.
    let noise: Vec<u8> = (0..100_000u32).flat_map(|n| Sha256::digest(n.to_le_bytes())).collect();
    let blob = sample.blobs.add(layout::BYTES, noise);
    sample.manifest.files.push(FileRecord { path: "noise".to_owned(), blob });
    let whole = sample.tar(folder.path());
    let file = folder.path().join("x.tar");
    let written = sample.write(&BundleOutput::Parts { file: file.clone(), size: archive::SMALLEST_PART });
    let parts: Vec<PathBuf> =
        written.paths.iter().filter(|p| !p.ends_with("x.tar.sha256")).cloned().collect();
    assert_eq!(parts.len(), 4);
    let joined: Vec<u8> = parts.iter().flat_map(|part| std::fs::read(part).unwrap()).collect();
    assert_eq!(joined, std::fs::read(&whole).unwrap());
    assert_eq!(written.size, joined.len() as u64);
    let sums = std::fs::read_to_string(folder.path().join("x.tar.sha256")).unwrap();
    let expected: String = (1..)
        .zip(&parts)
        .map(|(number, part)| {
            let digest = Sha256::digest(std::fs::read(part).unwrap());
            format!("{}  x.tar.{number:03}\n", Digest::from_sha256(&digest.into()).hex())
        })
        .collect();
    assert_eq!(sums, expected);
    // By the name that they have in common, and by any of theirs.
    std::fs::remove_file(whole).unwrap();
    for name in ["x.tar", "x.tar.001", "x.tar.003", "."] {
        assert_eq!(told(&folder.path().join(name)), "whole", "{name}");
    }
    // A smaller one leaves no part of the larger one.
    Sample::new("v2").write(&BundleOutput::Parts { file: file.clone(), size: archive::SMALLEST_PART });
    assert_eq!(names_in(folder.path()), ["x.tar.001", "x.tar.sha256"].map(str::to_owned).into());
    assert_eq!(told(&file), "whole");
}

#[test]
fn a_failure_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let good = Sample::new("v1");
    let mut bad = Sample::new("v2");
    let layer = &bad.images[2].layers[1].blob;
    bad.blobs.0.insert(layer.digest.clone(), vec![0; usize::try_from(layer.size).unwrap()]);
    let mut lacks = Sample::new("v2");
    lacks.blobs.0.remove(&lacks.images[1].config.digest);
    for output in [
        BundleOutput::File(folder.path().join("a.tar")),
        BundleOutput::Folder(folder.path().join("b")),
        BundleOutput::Parts { file: folder.path().join("c.tar"), size: archive::SMALLEST_PART },
    ] {
        good.write(&output);
        for broken in [&bad, &lacks] {
            let failed = archive::write(&broken.manifest, &broken.images, &broken.blobs, &output, &|_| {});
            assert!(
                matches!(failed, Err(archive::WriteError::Damaged { .. } | archive::WriteError::Blob { .. })),
                "{failed:?}"
            );
            assert_eq!(check(output.path()).unwrap().contents().manifest(), &good.manifest);
        }
    }
    let left = ["a.tar", "b", "c.tar.001", "c.tar.sha256"].map(str::to_owned);
    assert_eq!(names_in(folder.path()), left.into());
}

#[test]
fn what_is_not_ours_stays() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("thesis.txt"), "years").unwrap();
    let sample = Sample::new("v1");
    for output in [BundleOutput::Folder(home.clone()), BundleOutput::File(home.clone())] {
        let failed = archive::write(&sample.manifest, &sample.images, &sample.blobs, &output, &|_| {});
        assert!(matches!(failed, Err(archive::WriteError::InTheWay { .. })), "{failed:?}");
    }
    assert_eq!(names_in(&home), BTreeSet::from(["thesis.txt".to_owned()]));
}

#[test]
fn what_a_killed_run_left_goes_and_what_another_one_writes_stays() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join(".b.tar.abc.unfinished");
    let busy = folder.path().join(".b.tar.def.unfinished");
    std::fs::write(&left, "half").unwrap();
    std::fs::write(&busy, "half").unwrap();
    let writing = std::fs::File::open(&busy).unwrap();
    writing.lock().unwrap();
    Sample::new("v1").tar(folder.path());
    assert!(!left.exists() && busy.exists());
}

#[test]
fn mistakes_of_whoever_puts_it_together_are_told() {
    #[track_caller]
    fn check(change: impl Fn(&mut Sample), expect: &str) {
        let mut sample = Sample::new("v1");
        change(&mut sample);
        let failed = layout::assemble(&sample.manifest, &sample.images).unwrap_err().to_string();
        assert!(failed.contains(expect), "{failed}");
    }
    check(|s| drop(s.images.remove(0)), "debian:12-slim is image sha256:");
    check(|s| s.manifest.members[1].manifest.size += 1, "shop-api:v1 names manifest sha256:");
    check(
        |s| s.manifest.members[1].further_names.push("shop-web:v1".parse().unwrap()),
        "two different images are called shop-web:v1",
    );
}

#[test]
fn outputs_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d.tar")).unwrap();
    let of = |name: &str, part_size| archive::output_at(&folder.path().join(name), part_size);
    assert_eq!(of("x.tar", None), Ok(BundleOutput::File(folder.path().join("x.tar"))));
    assert_eq!(of("x", None), Ok(BundleOutput::Folder(folder.path().join("x"))));
    assert_eq!(of("d.tar", None), Ok(BundleOutput::Folder(folder.path().join("d.tar"))));
    assert_eq!(
        of("x.TAR", Some(2 << 20)),
        Ok(BundleOutput::Parts { file: folder.path().join("x.TAR"), size: 2 << 20 })
    );
    assert!(of("x", Some(2 << 20)).is_err() && of("x.tar", Some(5)).is_err());
}

#[test]
fn verify_reads_each_blob_once_and_unpacks_what_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut sample = Sample::new("v1");
    // The digest is right, and it unpacks to something else.
    let lie = StoredLayer {
        diff_id: Digest::from_sha256(&[9; 32]),
        blob: sample.blobs.add(layout::LAYER, zstd::bulk::compress(b"lie", 3).unwrap()),
    };
    let image = sample.blobs.add_image("liar:v1", &[&lie]);
    sample.manifest.members.push(member(&image, Role::Companion, &[]));
    sample.images.push(image);
    let path = sample.tar(folder.path());
    let contents = || Contents::read(Bundle::open(&path).unwrap()).unwrap();
    let read = AtomicU64::new(0);
    let add = |more| {
        read.fetch_add(more, Ordering::Relaxed);
    };
    assert!(verify::verify(contents(), &Unpack::Only(BTreeSet::new()), &add).is_ok());
    assert_eq!(read.into_inner(), verify::total(&contents()));
    let only = Unpack::Only(BTreeSet::from([lie.blob.digest.clone()]));
    for unpack in [Unpack::All, only] {
        let Err(BundleError::Refused { findings, .. }) = verify::verify(contents(), &unpack, &|_| {}) else {
            panic!("{unpack:?}");
        };
        let told = findings[0].to_string();
        assert!(told.contains("(needed by liar:v1): it unpacks to sha256:"), "{told}");
        assert_eq!(findings.len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_layers_come_back(layers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 1..6)) {
        let mut blobs = Blobs::default();
        let layers: Vec<StoredLayer> = layers.iter().map(|content| blobs.add_layer(content)).collect();
        let images: Vec<StoredImage> = (1..=layers.len())
            .map(|n| blobs.add_image(&format!("image:{n}"), &layers[..n].iter().collect::<Vec<_>>()))
            .collect();
        let mut manifest = BundleManifest::new("t");
        manifest.members = images.iter().map(|image| member(image, Role::Image, &[])).collect();
        let sample = Sample { manifest, images, blobs };
        let folder = tempfile::tempdir().unwrap();
        let verified = check(&sample.tar(folder.path())).unwrap();
        let found: Vec<StoredImage> = verified.contents().images().cloned().collect();
        let mut expected = sample.images.clone();
        expected.sort_by(|a, b| a.image_id.cmp(&b.image_id));
        prop_assert_eq!(found, expected);
    }
}
