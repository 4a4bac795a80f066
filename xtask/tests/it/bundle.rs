//! `bundle …`, on bundles of a few bytes and without an engine.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use xtask::bundle::archive;
use xtask::bundle::layout::{self, describe};
use xtask::bundle::manifest::{BundleManifest, Member, StoredLayer};
use xtask::bundle::open::BlobSource;
use xtask::model::Digest;
use xtask::model::bundle::{BundleOutput, Role};

use crate::repo::TestRepo;

struct Blobs(BTreeMap<Digest, Vec<u8>>);

impl BlobSource for Blobs {
    fn open_blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.0.get(digest).ok_or(io::ErrorKind::NotFound)?.as_slice()))
    }
}

/// A bundle of one image of one layer.
fn bundle(repo: &TestRepo, file: &str, content: &str) -> (PathBuf, Digest) {
    let packed = zstd::bulk::compress(content.as_bytes(), 3).unwrap();
    let diff_id = Digest::from_sha256(&Sha256::digest(content).into());
    let layer = StoredLayer { diff_id: diff_id.clone(), blob: describe(layout::LAYER, &packed) };
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    );
    let identity = serde_json::from_str::<xtask::model::ImageConfig>(&config).unwrap().identity();
    let described = describe(layout::CONFIG, config.as_bytes());
    let image = layout::made_here("shop-api:v1".parse().unwrap(), described, identity, vec![layer.clone()]);
    let mut manifest = BundleManifest::new("v1");
    manifest.members = vec![Member {
        reference: image.reference.clone(),
        further_names: Vec::new(),
        role: Role::Image,
        needed_by: vec!["compose.yaml:3".to_owned()],
        platform: "linux/amd64".parse().unwrap(),
        image_id: image.image_id.clone(),
        identity: Some(image.identity.clone()),
        manifest: image.manifest.descriptor.clone(),
        index: None,
        attached: Vec::new(),
    }];
    let blobs = Blobs(BTreeMap::from([
        (layer.blob.digest.clone(), packed),
        (image.image_id.clone(), config.into_bytes()),
    ]));
    let path = repo.root().join(file);
    archive::write(&manifest, &[image], &blobs, &BundleOutput::File(path.clone()), &|_| {}).unwrap();
    (path, layer.blob.digest)
}

#[test]
fn a_whole_one_and_a_damaged_one() {
    let repo = TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n");
    let (path, layer) = bundle(&repo, "b.tar", "one");
    insta::assert_snapshot!(repo.run("bundle verify b.tar"), @"
    exit 0
    --- stdout
    b.tar is whole: 4 blobs, 1.7 kB
    --- stderr
    00:00 started    bundle verify b.tar
    00:00 verify     b.tar is whole
    00:00 finished   1 verified
    ");
    insta::assert_snapshot!(repo.run("bundle verify b.tar -q"), @"
    exit 0
    --- stdout
    b.tar is whole: 4 blobs, 1.7 kB
    ");
    insta::assert_snapshot!(repo.run("bundle inspect b.tar"), @"
    exit 0
    --- stdout
    1 image of tag v1, 4 blobs, 1.7 kB, by xtask 0.1.0
      image     shop-api:v1      12 B own       0 B shared   compose.yaml:3
    not proven: nobody has rebuilt from it with the cable out
    ");
    let mut bytes = std::fs::read(&path).unwrap();
    let name = format!("blobs/sha256/{}\0", layer.hex());
    let name = name.as_bytes();
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at + 512 + 3] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    insta::assert_snapshot!(repo.run("bundle verify b.tar"), @"
    exit 14
    --- stderr
    00:00 started    bundle verify b.tar
    00:00 verify     b.tar failed           b.tar is refused
    00:00 verify     1 failed
    00:00 failed     1 failed
    error: b.tar is refused
      caused by: blob sha256:DIGEST (needed by shop-api:v1): its content is another one: the digest differs
    hint: copy it again from where it was made, and compare with `cargo xtask bundle verify FILE` there
    ");
    std::fs::write(&path, &bytes[..1000]).unwrap();
    insta::assert_snapshot!(repo.run("bundle verify b.tar"), @"
    exit 14
    --- stderr
    error: b.tar is refused
      caused by: blob sha256:DIGEST: it ends too early, at byte 1000: blobs/sha256/229dbecec0b2b359d6d3cb08e2313d392096d2ae705de84a1a3effce4daed135 should have 400 bytes from byte 512 on; b.tar is cut off
    hint: copy it again from where it was made, and compare with `cargo xtask bundle verify FILE` there
    ");
    insta::assert_snapshot!(repo.run("bundle verify nothing.tar"), @"
    exit 2
    --- stderr
    error: cannot read nothing.tar
      caused by: No such file or directory (os error 2)
    hint: see whether the path is right
    ");
    insta::assert_snapshot!(repo.run("bundle inspect src"), @"
    exit 14
    --- stderr
    error: src is not a bundle: it has no oci-layout, and no .tar or .tar.001 lies in it
    hint: `cargo xtask bundle create` makes one, where the images are
    ");
}

#[test]
fn two_of_them() {
    let repo = TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n");
    bundle(&repo, "one.tar", "one");
    bundle(&repo, "two.tar", "two");
    insta::assert_snapshot!(repo.run("bundle diff one.tar two.tar"), @"
    exit 0
    --- stdout
      changed  shop-api:v1  4d083d77878a -> bc8de4652fdb, 1 new layer, 12 B
    0 names unchanged, 12 B of new layers
    ");
    let document = repo.json("bundle diff one.tar two.tar --format json");
    assert_eq!(document["changed"][0]["reference"], "docker.io/library/shop-api:v1");
    let document = repo.json("bundle inspect one.tar --format json");
    assert_eq!(document["members"][0]["layers"].as_array().unwrap().len(), 1);
}

#[test]
fn an_inventory_needs_an_engine() {
    let repo = TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n");
    assert_eq!(repo.code("bundle inventory"), 12);
}
