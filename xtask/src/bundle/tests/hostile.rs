//! Bundles that are damaged, and bundles that somebody made to do harm: all are refused, and the blob is named.

use std::path::PathBuf;

use proptest::prelude::*;
use tar::EntryType;

use super::*;
use crate::model::LAYOUT_VERSION;

/// A bundle as its entries, to be changed and written again.
struct Raw(Vec<(tar::Header, Vec<u8>)>);

impl Raw {
    fn of(path: &Path) -> Self {
        let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.header().clone(), bytes)
        });
        Self(entries.collect())
    }

    fn add(&mut self, path: &str, kind: EntryType, bytes: &[u8]) -> &mut tar::Header {
        let mut header = tar::Header::new_ustar();
        // The library refuses names that leave the folder; who wants to do harm does not.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(kind);
        header.set_cksum();
        self.0.insert(0, (header, bytes.to_vec()));
        &mut self.0[0].0
    }

    fn put(&mut self, path: &str, kind: EntryType, bytes: &[u8]) {
        self.add(path, kind, bytes);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (header, content) in &self.0 {
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.extend([0; 1024]);
        bytes
    }

    fn entry(&mut self, path: &str) -> &mut (tar::Header, Vec<u8>) {
        self.0.iter_mut().find(|(header, _)| header.path_bytes() == path.as_bytes()).unwrap()
    }
}

/// The sample, changed, written again and told.
#[track_caller]
fn refused(change: impl FnOnce(&mut Raw), expect: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = Sample::new("v1").tar(folder.path());
    let mut raw = Raw::of(&path);
    change(&mut raw);
    std::fs::write(&path, raw.bytes()).unwrap();
    let told = told(&path);
    assert!(told.contains(expect), "{told}\nlacks: {expect}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[test]
fn a_checksum_written_in_another_way() {
    for (at, other) in [(148, b' '), (154, b' '), (155, b' ')] {
        refused(|raw| raw.entry("index.json").0.as_mut_bytes()[at] = other, "the checksum differs");
    }
}

#[test]
fn names_that_leave_the_bundle() {
    for path in [
        "../evil",
        "/etc/passwd",
        "blobs/sha256/../../../evil",
        "blobs//sha256/x",
        "blobs/sha256/ABC",
        "blobs/sha512/00",
        "index.json/",
        "C:\\evil",
        "...",
        "index.json.bak",
        "\u{1b}[2J",
    ] {
        refused(|raw| raw.put(path, EntryType::Regular, b"x"), "is refused");
    }
    refused(|raw| raw.put("etc/", EntryType::Directory, b""), "has no folder called so");
    refused(|raw| raw.put("../", EntryType::Directory, b""), "has no folder called so");
}

#[test]
fn entries_that_are_no_files() {
    for (kind, expect) in [
        (EntryType::Symlink, "it is a symbolic link"),
        (EntryType::Link, "it is a hard link"),
        (EntryType::Char, "it is a device"),
        (EntryType::Block, "it is a device"),
        (EntryType::Fifo, "it is a pipe"),
        (EntryType::GNUSparse, "it is a sparse file"),
        (EntryType::GNULongName, "it gives another entry a long name"),
        (EntryType::GNULongLink, "it gives another entry a long name"),
        (EntryType::XHeader, "it is an extended header"),
        (EntryType::XGlobalHeader, "it is an extended header"),
        (EntryType::Continuous, "it is of unknown type 55"),
    ] {
        refused(|raw| raw.put("index.json", kind, b""), expect);
    }
    refused(
        |raw| {
            let header = raw.add("index.json", EntryType::Regular, b"");
            header.set_link_name_literal("oci-layout").unwrap();
            header.set_cksum();
        },
        "it has a link's target",
    );
    refused(
        |raw| {
            let header = raw.add("index.json", EntryType::Regular, b"");
            header.as_mut_bytes()[345..348].copy_from_slice(b"../");
            header.set_cksum();
        },
        "the rest of its header is not empty",
    );
    refused(
        |raw| {
            let header = raw.add("index.json", EntryType::Regular, b"");
            header.as_mut_bytes()[20] = b'x';
            header.set_cksum();
        },
        "bytes are hidden behind its name",
    );
    refused(|raw| raw.put("oci-layout", EntryType::Regular, b"{}"), "two entries called oci-layout");
    refused(
        |raw| {
            let header = raw.add("oci-layout", EntryType::Regular, b"");
            header.set_size(u64::MAX);
            header.set_cksum();
        },
        "oci-layout",
    );
}

#[test]
fn blobs_that_are_not_what_they_should_be() {
    let sample = Sample::new("v1");
    let layer = sample.images[1].layers[1].blob.clone();
    let path = EntryPath::of(&layer);
    let named = format!("blob {} (needed by shop-api:v1, xtask-cache/shop-web:build)", layer.digest);
    let missing = format!("{named}: it is missing");
    refused(|raw| raw.0.retain(|(header, _)| header.path_bytes() != path.as_bytes()), &missing);
    let longer = format!("{named}: it has {} bytes, and should have {}", layer.size + 1, layer.size);
    refused(
        |raw| {
            let (header, bytes) = raw.entry(&path);
            bytes.push(0);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
        },
        &longer,
    );
    let other = format!("{named}: its content is another one");
    refused(|raw| raw.entry(&path).1[77] ^= 1, &other);
    let extra = vec![0; 100];
    let digest = describe(layout::BYTES, &extra).digest;
    let unneeded = format!("blob {digest}: nothing in the bundle needs it");
    let extra_path = format!("blobs/sha256/{}", digest.hex());
    refused(|raw| raw.put(&extra_path, EntryType::Regular, &extra), &unneeded);
    let config = &sample.images[2].config.digest;
    let expect = format!("blob {config} (needed by shop-web:v1): its content is another one");
    refused(|raw| raw.entry(&format!("blobs/sha256/{}", config.hex())).1[5] ^= 1, &expect);
    // The index can say something else than the manifest only by being another text.
    refused(|raw| raw.entry("index.json").1.push(b' '), "");
    refused(
        |raw| {
            let (header, bytes) = raw.entry("index.json");
            *bytes =
                String::from_utf8(bytes.clone()).unwrap().replace("shop-web:v1", "shop-api:v2").into_bytes();
            header.set_size(bytes.len() as u64);
            header.set_cksum();
        },
        "index.json does not say what the manifest of the bundle says",
    );
    refused(
        |raw| {
            let (header, bytes) = raw.entry("manifest.json");
            bytes.truncate(bytes.len() - 1);
            bytes.extend_from_slice(br#",{"Config":"../../etc/passwd","RepoTags":[],"Layers":[]}]"#);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
        },
        "manifest.json does not say what the manifest of the bundle says",
    );
    refused(
        |raw| {
            let (header, bytes) = raw.entry("index.json");
            let text = String::from_utf8(bytes.clone()).unwrap();
            let at = text.find("dev.xtask.bundle\":\"").unwrap() + 19;
            *bytes = format!("{}../../etc/passwd{}", &text[..at], &text[at + 71..]).into_bytes();
            header.set_size(bytes.len() as u64);
            header.set_cksum();
        },
        "`../../etc/passwd` is not a digest",
    );
    refused(
        |raw| {
            let (header, bytes) = raw.entry("oci-layout");
            *bytes = br#"{"imageLayoutVersion":"9.0.0"}"#.to_vec();
            header.set_size(bytes.len() as u64);
            header.set_cksum();
        },
        "oci-layout is not of version 1.0.0",
    );
}

struct EntryPath;

impl EntryPath {
    fn of(descriptor: &Descriptor) -> String {
        format!("blobs/sha256/{}", descriptor.digest.hex())
    }
}

#[test]
fn ten_gigabytes_of_nothing_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::new("v1");
    let path = sample.tar(folder.path());
    let layer = &sample.images[1].layers[1].blob;
    let mut raw = Raw::of(&path);
    // A tar whose one blob is a hole of 10 GB; the file itself takes no room either.
    let at =
        raw.0.iter().position(|(header, _)| header.path_bytes() == EntryPath::of(layer).as_bytes()).unwrap();
    let (mut header, _) = raw.0.remove(at);
    let rest = raw.bytes();
    header.set_size(10 << 30);
    header.set_cksum();
    let mut file = std::fs::File::create(&path).unwrap();
    io::Write::write_all(&mut file, header.as_bytes()).unwrap();
    io::Seek::seek(&mut file, io::SeekFrom::Current(10 << 30)).unwrap();
    io::Write::write_all(&mut file, &rest).unwrap();
    drop(file);
    let began = std::time::Instant::now();
    let told = told(&path);
    assert!(told.contains(&format!("{} (needed by", layer.digest)) && told.contains("10737418240"), "{told}");
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

/// What a maker can put into manifests whose digests are all right.
#[track_caller]
fn maker(change: impl FnOnce(&mut Sample), expect: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut sample = Sample::new("v1");
    change(&mut sample);
    let path = sample.tar(folder.path());
    let told = told(&path);
    assert!(told.contains(expect), "{told}\nlacks: {expect}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[test]
fn manifests_that_lie() {
    for path in ["../x", "/etc/cron.d/x", "a/../../x", "a\\..\\x", "", ".", "a//b", "a/./b", "c:x", "./x"] {
        maker(|s| s.manifest.files[0].path = path.to_owned(), "would be written outside the tree");
    }
    for path in [".git/hooks/pre-commit", "a/.cargo/config.toml", ".env", ".bashrc"] {
        maker(|s| s.manifest.files[0].path = path.to_owned(), "is none that a bundle carries");
    }
    for file in ["../x", "a/b", "", "/x"] {
        maker(|s| s.manifest.artifacts[0].file = file.to_owned(), "is no name of a file");
    }
    maker(|s| s.manifest.tag = "\u{1b}[2J".to_owned(), "has control characters");
    maker(|s| s.manifest.members[0].needed_by[0] = "a\nb".to_owned(), "has control characters");
    maker(|s| s.manifest.version = 3, "it is of format 3, and this program reads up to 2");
    let id = |byte| Digest::from_sha256(&[byte; 32]);
    maker(|s| s.manifest.requires.images = vec![id(2), id(1)], "what it requires is not sorted");
    maker(|s| s.manifest.requires.layers = vec![id(2)], "which no image of it has");
    maker(
        |s| {
            let mut image = s.images[1].clone();
            image.layers.pop();
            let image = layout::made_here(image.reference, image.config, image.identity, image.layers);
            s.manifest.members[1] = member(&image, Role::Image, &[]);
            s.images[1] = image;
        },
        "it has 2 layers, and its config has 3",
    );
    maker(
        |s| {
            let mut image = s.images[1].clone();
            image.layers[0].blob.media_type = "text/\u{1b}plain".to_owned();
            let image = layout::made_here(image.reference, image.config, image.identity, image.layers);
            s.manifest.members[1] = member(&image, Role::Image, &[]);
            s.images[1] = image;
        },
        "it is of type `text/\\u{1b}plain`",
    );
    maker(
        |s| {
            let StoredImage { reference, image_id, identity, layers, .. } = s.images[1].clone();
            let lie = layout::made_here(reference, s.images[2].config.clone(), identity, layers);
            let image = StoredImage { image_id, ..lie };
            s.manifest.members[1] = member(&image, Role::Image, &[]);
            s.images[1] = image;
        },
        "and the image should be",
    );
}

#[test]
fn folders_with_more_than_a_layout() {
    #[track_caller]
    fn check(change: impl FnOnce(&Path), expect: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        Sample::new("v1").write(&BundleOutput::Folder(path.clone()));
        assert_eq!(told(&path), "whole");
        change(&path);
        let told = told(&path);
        assert!(told.contains(expect), "{told}\nlacks: {expect}");
    }
    let blob = Sample::new("v1").images[0].layers[0].blob.clone();
    let inside = EntryPath::of(&blob);
    check(|path| std::fs::write(path.join("x"), "").unwrap(), "the file x is refused");
    check(|path| std::fs::create_dir(path.join("blobs/x")).unwrap(), "the folder blobs/x is refused");
    check(|path| std::fs::remove_file(path.join(&inside)).unwrap(), &format!("blob {}", blob.digest));
    check(|path| std::fs::remove_file(path.join("index.json")).unwrap(), "index.json is missing");
    check(
        |path| {
            let at = path.join(&inside);
            let moved = path.with_file_name("moved");
            std::fs::rename(&at, &moved).unwrap();
            std::os::unix::fs::symlink(&moved, &at).unwrap();
        },
        &format!("blob {}: it is a symbolic link", blob.digest),
    );
}

#[test]
fn parts_that_are_cut_off_or_missing() {
    #[track_caller]
    fn check(change: impl FnOnce(&dyn Fn(usize) -> PathBuf), expect: &str) {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("x.tar");
        let bytes = std::fs::read(Sample::new("v1").tar(folder.path())).unwrap();
        let part = |number: usize| folder.path().join(format!("x.tar.{number:03}"));
        for (number, piece) in (1..).zip(bytes.chunks(bytes.len() / 3 - 100)) {
            std::fs::write(part(number), piece).unwrap();
        }
        std::fs::remove_file(folder.path().join("b.tar")).unwrap();
        assert_eq!(told(&whole), "whole");
        change(&part);
        let told = told(&whole);
        assert!(told.contains(expect), "{told}\nlacks: {expect}");
    }
    let cut = |path: &Path, by: u64| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - by).unwrap();
    };
    check(|part| std::fs::remove_file(part(2)).unwrap(), "x.tar.002 is missing");
    check(|part| std::fs::remove_file(part(1)).unwrap(), "x.tar.001 is missing");
    check(
        |part| std::fs::remove_file(part(4)).unwrap(),
        "x.tar.003 is cut off, or a part after it is missing",
    );
    check(|part| cut(&part(4), 1), "x.tar.004 is cut off");
    check(|part| cut(&part(2), 7), "");
    check(|part| std::fs::write(part(5), "more").unwrap(), "something follows the end of the tar");
    check(|part| std::fs::rename(part(4), part(6)).unwrap(), "x.tar.005 is missing");
}

#[test]
fn what_is_no_bundle_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(told(&at("nothing")).contains("cannot read"));
    assert!(told(folder.path()).contains("it has no oci-layout"));
    std::fs::write(at("empty.tar"), "").unwrap();
    assert!(told(&at("empty.tar")).contains("it ends too early, at byte 0"));
    std::fs::write(at("zeros.tar"), [0; 1024]).unwrap();
    assert!(told(&at("zeros.tar")).contains("oci-layout is missing"));
    std::fs::write(at("photo.jpg"), [0xffu8; 4096]).unwrap();
    assert!(told(&at("photo.jpg")).contains("its header is damaged"));
    let both = told(folder.path());
    assert!(both.contains("name one"), "{both}");
    // An image layout of somebody else.
    std::fs::create_dir_all(at("other/blobs/sha256")).unwrap();
    std::fs::write(at("other/oci-layout"), LAYOUT_VERSION).unwrap();
    std::fs::write(at("other/index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    assert!(told(&at("other")).contains("this is an image layout, but not a bundle"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    /// Whatever bit is another one: it is refused, the checksums of headers included.
    #[test]
    fn one_byte_flipped_anywhere(at in any::<prop::sample::Index>(), bit in 0..8u32, in_headers in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = Sample::new("v1").tar(folder.path());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = if in_headers { at.index(512) + header_of(&bytes, at) } else { at.index(bytes.len()) };
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, &bytes).unwrap();
        prop_assert!(check(&path).is_err(), "byte {} of the tar means nothing?", at);
    }

    #[test]
    fn cut_off_anywhere(at in any::<prop::sample::Index>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = Sample::new("v1").tar(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..at.index(bytes.len())]).unwrap();
        prop_assert!(check(&path).is_err());
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        std::fs::write(&path, bytes).unwrap();
        prop_assert!(check(&path).is_err());
    }
}

/// Where some header begins.
fn header_of(bytes: &[u8], at: prop::sample::Index) -> usize {
    let starts: Vec<usize> =
        (0..bytes.len() / 512).map(|n| n * 512).filter(|n| &bytes[n + 257..n + 262] == b"ustar").collect();
    *at.get(&starts)
}
