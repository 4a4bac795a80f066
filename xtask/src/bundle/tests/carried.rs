//! Images out of one engine and into another, both of them fake; the store between them; archives of engines that are
//! odd or hostile.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Mutex;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::bundle::deliver::{DeliverError, Delivered, Present, deliver};
use crate::bundle::displaced::{self, DisplacedName, Remedy};
use crate::bundle::fetch::{FetchError, fetch};
use crate::bundle::layout::made_here;
use crate::bundle::manifest::{NamedImage, StoredImage, chain_ids};
use crate::bundle::open::BlobSource as _;
use crate::bundle::saved::{self, WantedBlobs};
use crate::bundle::store::BlobStore;
use crate::bundle::temporary_registry::{Expected, TemporaryRegistry};
use crate::engine::{AnyEngine, EngineError, FakeEngine, Fault, Store as _, Verb, fake_image};
use crate::host::inside::Folder;
use crate::model::{Digest, Identity, ImageConfig, Reference, sha256};

fn store() -> (TempDir, BlobStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(&Folder::open(folder.path()).unwrap(), ".").unwrap();
    (folder, store)
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn engine_with(names: &[&str]) -> (FakeEngine, Vec<Reference>) {
    let fake = FakeEngine::new();
    let references: Vec<Reference> = names.iter().map(|name| reference(name)).collect();
    for name in &references {
        fake.store(fake_image(&name.familiar(), &[name]));
    }
    (fake, references)
}

async fn present(engine: &AnyEngine) -> Present {
    let mut present = Present::default();
    for image in engine.observe().await.unwrap().images() {
        let Some(name) = image.names.first() else {
            present.unnamed.insert(image.id.clone());
            continue;
        };
        let details = engine.details(name).await.unwrap().unwrap();
        present.layers.extend(chain_ids(&details.layers));
        present.images.insert(details.identity, image.names.iter().cloned().collect());
    }
    present
}

fn named_images(images: &[StoredImage]) -> Vec<NamedImage> {
    images
        .iter()
        .map(|image| NamedImage { image: image.clone(), names: vec![image.reference.clone()] })
        .collect()
}

async fn bring(
    engine: &AnyEngine,
    store: &BlobStore,
    images: &[NamedImage],
) -> Result<Delivered, DeliverError> {
    deliver(
        engine,
        store,
        images,
        present(engine).await,
        &BTreeMap::new(),
        &CancellationToken::new(),
        &|_| {},
    )
    .await
}

#[tokio::test]
async fn an_image_is_the_same_on_the_other_side() {
    let (fake, names) = engine_with(&["a:1", "b:1", "host:5000/c/d:x"]);
    let (_folder, store) = store();
    let from: AnyEngine = fake.clone().into();
    let images = fetch(&from, &store, &names, &|_| {}).await.unwrap();
    assert_eq!(images.iter().map(|image| image.reference.clone()).collect::<Vec<_>>(), names);
    assert_eq!(fake.count(Verb::Save), 1);

    let other = FakeEngine::new();
    let to: AnyEngine = other.clone().into();
    let done = bring(&to, &store, &named_images(&images)).await.unwrap();
    assert_eq!((done.loaded.len(), done.present), (3, 0));
    for image in &images {
        let found = to.inspect(&image.reference).await.unwrap().unwrap();
        assert_eq!(*found.id.digest(), image.image_id);
    }

    // Once more, on both sides: nothing is moved.
    assert_eq!(fetch(&from, &store, &names, &|_| {}).await.unwrap(), images);
    assert_eq!(fake.count(Verb::Save), 1);
    let before = other.calls().len();
    let has = present(&to).await;
    let asked = other.calls().len() - before;
    let done = deliver(
        &to,
        &store,
        &named_images(&images),
        has,
        &BTreeMap::new(),
        &CancellationToken::new(),
        &|_| {},
    )
    .await
    .unwrap();
    assert_eq!(done, Delivered { present: 3, ..Delivered::default() });
    assert_eq!(other.calls().len(), before + asked);
}

#[tokio::test]
async fn only_what_is_new_is_asked_for_and_sent() {
    let (fake, names) = engine_with(&["a:1", "b:1"]);
    let (_folder, store) = store();
    let from: AnyEngine = fake.clone().into();
    fetch(&from, &store, &names[..1], &|_| {}).await.unwrap();
    let images = fetch(&from, &store, &names, &|_| {}).await.unwrap();
    let saves: Vec<String> = fake
        .calls()
        .into_iter()
        .filter(|(verb, _)| *verb == Verb::Save)
        .map(|(_, subject)| subject)
        .collect();
    assert_eq!(saves, ["a:1", "b:1"]);

    // A further name needs no archive.
    let other = FakeEngine::new();
    let to: AnyEngine = other.clone().into();
    bring(&to, &store, &named_images(&images)).await.unwrap();
    let mut named = named_images(&images[..1]);
    named[0].names.push(reference("localhost/a:1"));
    named[0].names.push(reference(&format!("a@{}", Digest::from_sha256(&[1; 32]))));
    let done = bring(&to, &store, &named).await.unwrap();
    assert_eq!((done.named, done.unnamed.len()), (vec![reference("localhost/a:1")], 1));
    assert_eq!((other.count(Verb::Load), other.count(Verb::Tag)), (2, 1));
}

#[tokio::test]
async fn a_name_moves_to_the_image_that_the_bundle_has() {
    let (fake, names) = engine_with(&["a:1"]);
    let (_folder, store) = store();
    let images = fetch(&fake.into(), &store, &names, &|_| {}).await.unwrap();
    let other = FakeEngine::new();
    other.store(fake_image("an older one", &[&names[0]]));
    let to: AnyEngine = other.into();
    bring(&to, &store, &named_images(&images)).await.unwrap();
    assert_eq!(to.inspect(&names[0]).await.unwrap().unwrap().id.digest(), &images[0].image_id);
}

#[tokio::test]
async fn what_is_missing_or_fails_is_named() {
    let (fake, names) = engine_with(&["a:1", "b:1"]);
    let (_folder, store) = store();
    let from: AnyEngine = fake.clone().into();
    let error = fetch(&from, &store, &[names[0].clone(), reference("none:1")], &|_| {}).await.unwrap_err();
    assert!(matches!(error, FetchError::Missing(ref name) if name.familiar() == "none:1"), "{error}");
    assert_eq!(fake.count(Verb::Save), 0, "known before anything is moved");
    let full = EngineError::DiskFull("/var/lib".to_owned());
    fake.script(Verb::Save, "a:1 b:1", 1, Fault::Fails(full));
    let error = fetch(&from, &store, &names, &|_| {}).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot get 2 images out of the engine: no space left"), "{error}");

    let images = fetch(&from, &store, &names, &|_| {}).await.unwrap();
    let other = FakeEngine::new();
    let to: AnyEngine = other.clone().into();
    other.script(Verb::Load, "", 2, Fault::Fails(EngineError::Gone("it fell over".to_owned())));
    let error = bring(&to, &store, &named_images(&images)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the engine does not take b:1: the engine closed the connection: it fell over"
    );
    assert!(to.observe().await.unwrap().images().is_empty(), "what came is gone again");
    let done = bring(&to, &store, &named_images(&images)).await.unwrap();
    assert_eq!((done.present, done.loaded), (0, names));
}

#[tokio::test]
async fn a_load_that_fails_gives_names_back() {
    let (fake, names) = engine_with(&["a:1", "b:1"]);
    let (_folder, store) = store();
    let images = fetch(&fake.into(), &store, &names, &|_| {}).await.unwrap();
    let other = FakeEngine::new();
    other.store(fake_image("an older one", &[&names[0]]));
    let to: AnyEngine = other.clone().into();
    let named = |observed: crate::model::Observed| {
        let images = observed.images().iter().map(|image| (image.id.clone(), image.names.clone()));
        images.collect::<Vec<_>>()
    };
    let before = named(to.observe().await.unwrap());
    other.script(Verb::Load, "", 2, Fault::Fails(EngineError::DiskFull("/var/lib".to_owned())));
    bring(&to, &store, &named_images(&images)).await.unwrap_err();
    assert_eq!(named(to.observe().await.unwrap()), before);
    bring(&to, &store, &named_images(&images)).await.unwrap();
    let names = named(to.observe().await.unwrap()).into_iter().flat_map(|(_, names)| names);
    assert_eq!(names.map(|name| name.familiar()).collect::<Vec<_>>(), ["a:1", "b:1"]);
}

#[tokio::test]
async fn an_image_that_was_here_without_a_name_stays_when_a_load_is_undone() {
    let (fake, names) = engine_with(&["a:1", "b:1"]);
    let (_folder, store) = store();
    let images = fetch(&fake.into(), &store, &names, &|_| {}).await.unwrap();
    let other = FakeEngine::new();
    let to: AnyEngine = other.clone().into();
    bring(&to, &store, &named_images(&images[..1])).await.unwrap();
    // Its name goes to an image that has another one too.
    other.store(fake_image("somebody's", &[&reference("x:1"), &names[0]]));
    to.remove(&names[0]).await.unwrap();
    let before = to.observe().await.unwrap();
    assert!(before.images().iter().any(|image| image.names.is_empty()), "{:?}", before.images());
    other.script(Verb::Load, "", 3, Fault::Fails(EngineError::DiskFull("/var/lib".to_owned())));
    bring(&to, &store, &named_images(&images)).await.unwrap_err();
    assert_eq!(other.count(Verb::Load), 3);
    assert_eq!(to.observe().await.unwrap().images(), before.images());
}

#[tokio::test]
async fn two_may_put_the_same_killed_load_right() {
    let name = reference("a:1");
    let fake = FakeEngine::new();
    let old = fake_image("old", &[&name]);
    fake.store(old.clone());
    let engine: AnyEngine = fake.clone().into();
    let before = engine.observe().await.unwrap();
    let displaced = DisplacedName::new(&name, &Identity::of_stored(&old.id)).unwrap();
    engine.tag(&name, &displaced.under).await.unwrap();
    fake.store(fake_image("of the bundle", &[&name]));
    for _ in 0..2 {
        displaced.give_back(&engine).await.unwrap();
        assert_eq!(engine.observe().await.unwrap().images(), before.images());
    }
}

#[tokio::test]
async fn a_load_that_is_cancelled_leaves_the_engine_as_it_was() {
    let (fake, names) = engine_with(&["a:1", "b:1", "c:1"]);
    let (_folder, store) = store();
    let images = fetch(&fake.into(), &store, &names, &|_| {}).await.unwrap();
    let other = FakeEngine::new();
    other.store(fake_image("an older one", &[&names[1]]));
    let to: AnyEngine = other.clone().into();
    let before = to.observe().await.unwrap();
    // Before anything, while the second image is on its way, and in another run the last one: as loads are counted.
    for at in [0, 2, 5] {
        let cancel = CancellationToken::new();
        match at {
            0 => cancel.cancel(),
            _ => other.script(Verb::Load, "", at, Fault::Takes(std::time::Duration::from_millis(500))),
        }
        let loading = async {
            let has = present(&to).await;
            deliver(&to, &store, &named_images(&images), has, &BTreeMap::new(), &cancel, &|_| {}).await
        };
        let interrupting = async {
            while other.count(Verb::Load) < at {
                tokio::task::yield_now().await;
            }
            cancel.cancel();
        };
        let (loaded, ()) = tokio::join!(loading, interrupting);
        assert!(matches!(loaded, Err(DeliverError::Interrupted)), "{at}: {loaded:?}");
        assert_eq!(to.observe().await.unwrap().images(), before.images(), "{at}");
    }
}

#[tokio::test]
async fn what_a_killed_load_left_is_put_right() {
    let (brought, changed) = (reference("a:1"), reference("b:1"));
    let fake = FakeEngine::new();
    let old = [&brought, &changed].map(|name| {
        let id = fake_image(&format!("old {name}"), &[name]);
        fake.store(id.clone());
        id
    });
    let engine: AnyEngine = fake.clone().into();
    // A load that had moved both names when it was killed; somebody gave one of them to another image since.
    let new = fake_image("of the bundle", &[&brought]);
    let mut under = Vec::new();
    for name in [&brought, &changed] {
        let identity = Identity::of_stored(&new.id);
        let displaced = DisplacedName::new(name, &identity).unwrap();
        let dead = displaced.under.to_string().replacen(
            &format!("xtask-load-before/{}-", std::process::id()),
            "xtask-load-before/4294967295-",
            1,
        );
        let dead = reference(&dead);
        engine.tag(name, &dead).await.unwrap();
        under.push(dead);
    }
    fake.store(fake_image("built since", &[&changed]));
    engine.remove(&brought).await.unwrap();
    let found = displaced::left(&engine, &engine.observe().await.unwrap()).await.unwrap();
    assert_eq!(
        found.iter().map(|(_, remedy)| *remedy).collect::<Vec<_>>(),
        [Remedy::GiveBack, Remedy::LetGo]
    );
    for (displaced, remedy) in found {
        match remedy {
            Remedy::GiveBack => displaced.give_back(&engine).await.unwrap(),
            Remedy::LetGo => displaced.let_go(&engine).await.unwrap(),
        }
    }
    assert_eq!(engine.inspect(&brought).await.unwrap().unwrap().id, old[0].id);
    assert_ne!(engine.inspect(&changed).await.unwrap().unwrap().id, old[1].id);
    for name in under {
        assert_eq!(engine.inspect(&name).await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn an_engine_that_wants_whole_archives_gets_them() {
    let (_folder, store) = store();
    let (image, other_image) = two_on_one_base(&store);
    let other = FakeEngine::new();
    let to: AnyEngine = other.clone().into();
    bring(&to, &store, &named_images(&[image])).await.unwrap();
    other.script(
        Verb::Load,
        "",
        2,
        Fault::Fails(EngineError::Other("open layer.tar: no such file".to_owned())),
    );
    let done = bring(&to, &store, &named_images(&[other_image])).await.unwrap();
    assert_eq!((done.loaded.len(), other.count(Verb::Load)), (1, 3));
}

/// Two images with a layer in common, in the store.
fn two_on_one_base(store: &BlobStore) -> (StoredImage, StoredImage) {
    let base = keep(store, &vec![b'b'; 600_000]);
    let [x, y] = ["x:1", "y:1"].map(|name| {
        let own = keep(store, name.as_bytes());
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [base, own] },
        });
        let id = store.put_config(config.to_string().as_bytes()).unwrap();
        let (config, text) = store.config(&id).unwrap();
        let read: ImageConfig = serde_json::from_slice(&text).unwrap();
        let layers = [&base, &own].map(|diff_id| store.layer(diff_id).unwrap().layer).into();
        made_here(reference(name), config, read.identity(), layers)
    });
    (x, y)
}

fn keep(store: &BlobStore, content: &[u8]) -> Digest {
    let mut layer = store.begin_layer().unwrap();
    layer.write_all(content).unwrap();
    layer.finish(|_| true).unwrap().unwrap().layer.diff_id
}

#[tokio::test]
async fn a_spoilt_blob_is_named_and_the_engine_is_as_it_was() {
    let (folder, store) = store();
    let (image, _) = two_on_one_base(&store);
    let blob = image.layers[0].blob.digest.clone();
    let path = folder.path().join("sha256").join(blob.hex());
    // A blob that is right by itself, and unpacks to something else of the same size.
    let other = keep(&store, &vec![b'c'; 600_000]);
    std::fs::copy(
        folder.path().join("sha256").join(store.layer(&other).unwrap().layer.blob.digest.hex()),
        &path,
    )
    .unwrap();
    let engine = FakeEngine::new();
    let to: AnyEngine = engine.clone().into();
    let error = bring(&to, &store, &named_images(std::slice::from_ref(&image))).await.unwrap_err();
    assert!(error.to_string().contains(&format!("blob {blob} unpacks to {other}")), "{error}");
    assert!(to.observe().await.unwrap().images().is_empty());
    // The same when its size is known, so that it is first unpacked on its way.
    let sizes = BTreeMap::from([(image.layers[0].diff_id.clone(), 600_000)]);
    let error = deliver(
        &to,
        &store,
        &named_images(std::slice::from_ref(&image)),
        Present::default(),
        &sizes,
        &CancellationToken::new(),
        &|_| {},
    )
    .await
    .unwrap_err();
    assert!(matches!(error, DeliverError::Blob { .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = bring(&to, &store, &named_images(&[image])).await.unwrap_err();
    assert!(matches!(error, DeliverError::Blob { .. }), "{error}");
    assert!(to.observe().await.unwrap().images().is_empty());
}

/// `(path, content)`; a path with ` -> ` is a symlink.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match path.split_once(" -> ") {
            Some((path, target)) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, path, target).unwrap();
            }
            None => {
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, path, *content).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

fn wants(configs: &[&[u8]], layers: &[&[u8]]) -> WantedBlobs {
    WantedBlobs {
        configs: configs.iter().map(|bytes| sha256(bytes)).collect(),
        layers: layers.iter().map(|bytes| sha256(bytes)).collect(),
        ..WantedBlobs::default()
    }
}

#[track_caller]
fn check(entries: &[(&str, &[u8])], wanted: &WantedBlobs, expect: Result<(), &str>) {
    let (_folder, store) = store();
    let took = saved::take(archive(entries).as_slice(), &store, wanted, &|_| {});
    assert_eq!(took.as_ref().map_err(ToString::to_string).err(), expect.err().map(str::to_owned));
    if expect.is_ok() {
        assert!(wanted.layers.iter().all(|diff_id| store.layer(diff_id).is_some()), "a layer is missing");
        assert!(wanted.configs.iter().all(|id| store.config(id).is_some()), "a config is missing");
    }
}

#[test]
fn archives_of_all_kinds_are_read_by_content() {
    let (config, one, two): (&[u8], &[u8], &[u8]) = (b"{}", b"one", &[7; 1_000_000]);
    let wanted = wants(&[config], &[one, two]);
    let hex = |bytes: &[u8]| sha256(bytes).hex().to_owned();
    let (config_name, one_blob) = (format!("{}.json", hex(config)), format!("blobs/sha256/{}", hex(one)));
    let two_blob = format!("blobs/sha256/{}", hex(two));
    // Before Engine 25: folders by a name of old, links for layers that come twice, even links in a circle.
    let old: &[(&str, &[u8])] = &[
        ("aa/VERSION", b"1.0"),
        ("aa/json", b"{}"),
        ("aa/layer.tar", one),
        ("bb/layer.tar", two),
        ("cc/layer.tar -> ../aa/layer.tar", b""),
        ("dd/layer.tar -> ../dd/layer.tar", b""),
        (&config_name, config),
        ("manifest.json", b"not even JSON"),
    ];
    check(old, &wanted, Ok(()));
    // Podman and skopeo.
    check(&[("one.tar", one), ("two.tar", two), (&config_name, config)], &wanted, Ok(()));
    // Since Engine 25.
    let blob_config = format!("blobs/sha256/{}", hex(config));
    let new: &[(&str, &[u8])] = &[
        (&one_blob, one),
        (&two_blob, two),
        (&blob_config, config),
        ("blobs/sha256/zz", b"?"),
        ("index.json", b""),
    ];
    check(new, &wanted, Ok(()));
    // Names that lie, and names that are endless.
    let lie = format!("the engine's archive cannot be read: {one_blob} is not what its name says");
    check(&[(&one_blob, two)], &wanted, Err(&lie));
    let lie = format!("the engine's archive cannot be read: {config_name} is not what its name says");
    check(&[(&config_name, one)], &wanted, Err(&lie));
    let endless = "x/".repeat(40_000) + "layer.tar";
    check(&[(&endless, one)], &wanted, Err("the engine's archive cannot be read: a name has 80010 bytes"));
    let longer = "x/".repeat(300) + "layer.tar";
    check(&[(&longer, one)], &wants(&[], &[one]), Ok(()));
    let large = vec![b' '; (16 << 20) + 1];
    let refused = format!("the engine's archive cannot be read: the config {config_name} has 16777217 bytes");
    check(&[(&config_name, &large)], &wanted, Err(&refused));
}

#[test]
fn what_is_cut_off_or_damaged_is_refused_and_never_kept() {
    let content = [9; 3000];
    let whole = archive(&[("a/layer.tar", &content)]);
    let wanted = wants(&[], &[&content]);
    for end in (0..512 + 3000).step_by(97) {
        let (_folder, store) = store();
        let error = saved::take(&whole[..end], &store, &wanted, &|_| {}).unwrap_err();
        assert!(error.to_string().contains("it ends at byte"), "{end}: {error}");
        assert!(store.layer(&sha256(&content)).is_none());
    }
    let (_folder, store) = store();
    let error = saved::take([1; 4096].as_slice(), &store, &wanted, &|_| {}).unwrap_err();
    assert!(error.to_string().contains("there is no header at byte 0"), "{error}");
    // An engine that fails on its way writes its error behind what it has sent.
    let mut failed = whole[..512 + 3072].to_vec();
    failed.extend(br#"{"errorDetail":{"message":"no space left"}}"#);
    assert!(saved::take(failed.as_slice(), &store, &wanted, &|_| {}).is_err());
}

#[test]
fn a_layer_that_only_begins_as_a_known_one_is_found_missing() {
    let (_folder, store) = store();
    let known = vec![3; 700_000];
    let mut alike = known.clone();
    alike[699_999] = 4;
    let diff_id = keep(&store, &known);
    let mut wanted = wants(&[], &[&alike]);
    wanted.known.insert(diff_id);
    let bytes = archive(&[("a/layer.tar", &known), ("b/layer.tar", &alike)]);
    saved::take(bytes.as_slice(), &store, &wanted, &|_| {}).unwrap();
    assert!(store.layer(&sha256(&alike)).is_none());
    wanted.known.clear();
    saved::take(bytes.as_slice(), &store, &wanted, &|_| {}).unwrap();
    assert!(store.layer(&sha256(&alike)).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_same_layer_is_the_same_blob_however_it_comes(
        seed in any::<u64>(), size in 1usize..9_000_000, pieces in 1usize..40, workers in 1u32..5,
    ) {
        let mut state = seed | 1;
        let content: Vec<u8> = (0..size).map(|at| {
            if at % 5 == 0 { state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); }
            (state >> 56) as u8 & 0x3f
        }).collect();
        let (_folder, store) = store();
        let (_other_folder, other) = self::store();
        let whole = keep(&store, &content);
        let mut layer = other.with_workers(workers).begin_layer().unwrap();
        for piece in content.chunks(size.div_ceil(pieces)) {
            layer.write_all(piece).unwrap();
            layer.flush().unwrap();
        }
        let layer = layer.finish(|_| true).unwrap().unwrap();
        prop_assert_eq!(Some(layer.clone()), store.layer(&whole));
        let mut back = Vec::new();
        let blob = other.open_blob(&layer.layer.blob.digest).unwrap();
        zstd::Decoder::new(blob).unwrap().read_to_end(&mut back).unwrap();
        prop_assert!(back == content);
    }
}

#[test]
fn a_store_forgets_what_was_not_used_for_longest() {
    let (folder, store) = store();
    let layers: Vec<Digest> = (0..3u8).map(|n| keep(&store, &[n; 1000])).collect();
    let hours = |count: u64| std::time::SystemTime::now() - std::time::Duration::from_secs(3600 * count);
    for (diff_id, age) in layers.iter().zip([5, 9, 7]) {
        let blob = store.layer(diff_id).unwrap().layer.blob.digest;
        for path in
            [folder.path().join("sha256").join(blob.hex()), folder.path().join("layers").join(diff_id.hex())]
        {
            std::fs::File::options().append(true).open(path).unwrap().set_modified(hours(age)).unwrap();
        }
    }
    let left = folder.path().join("new/left");
    std::fs::write(&left, "by a killed run").unwrap();
    std::fs::File::options().append(true).open(&left).unwrap().set_modified(hours(2)).unwrap();
    store.prune(u64::MAX).unwrap();
    assert!(!left.exists());
    // Asking is using: the oldest one is the youngest now.
    assert!(store.layer(&layers[1]).is_some());
    let total: u64 = std::fs::read_dir(folder.path().join("sha256"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(store.prune(total - 1).unwrap() > 0);
    let left: Vec<bool> = layers.iter().map(|diff_id| store.layer(diff_id).is_some()).collect();
    assert_eq!(left, [true, true, false]);
    assert_eq!(store.prune(0).unwrap(), 0, "what was used within the hour stays");
    // A blob that lost its end does not count.
    let blob = folder.path().join("sha256").join(store.layer(&layers[0]).unwrap().layer.blob.digest.hex());
    std::fs::File::options().append(true).open(blob).unwrap().set_len(3).unwrap();
    assert!(store.layer(&layers[0]).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_leaves_what_is_new_and_is_told_early_what_is_not() {
    let (_folder, store) = store();
    let mut state = 1u32;
    let mut noise = |size: usize| -> Vec<u8> {
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..size).map(next).collect()
    };
    let (known, new, config) = (noise(40_000_000), noise(700_000), b"{}".to_vec());
    let mut wanted = wants(&[&config], &[&new]);
    wanted.known.insert(keep(&store, &known));
    let registry = TemporaryRegistry::start(&store).await.unwrap();
    let base =
        format!("http://{}", registry.expect("repo", Expected::Layers(wanted)).replace("/repo", "/v2/repo"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let sent = Mutex::new(Vec::new());
    for (name, body) in [("config", config.clone()), ("new", gzip(&new)), ("known", gzip(&known))] {
        let begun = client.post(format!("{base}/blobs/uploads/")).send().await.unwrap();
        assert_eq!(begun.status(), 202);
        let location = begun.headers()["location"].to_str().unwrap().to_owned();
        let url = format!("{}{location}", base.split("/v2/").next().unwrap());
        let total = body.len();
        let pieces: Vec<std::io::Result<Vec<u8>>> =
            body.chunks(65_536).map(|piece| Ok(piece.to_vec())).collect();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let answer = client.patch(&url).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{name}");
        let range = answer.headers()["range"].to_str().unwrap().to_owned();
        let taken: usize = range.trim_start_matches("0-").parse().unwrap();
        sent.lock().unwrap().push((name, taken + 1 == total));
        let committed = client.put(format!("{url}?digest=sha256%3A{name}")).send().await.unwrap();
        assert_eq!(committed.status(), 201);
        let asked = client.head(format!("{base}/blobs/sha256:{name}")).send().await.unwrap();
        assert_eq!(
            (asked.status().as_u16(), asked.headers()["content-length"].to_str().unwrap()),
            (200, "1")
        );
    }
    assert_eq!(*sent.lock().unwrap(), [("config", true), ("new", true), ("known", false)]);
    assert_eq!(client.head(format!("{base}/blobs/sha256:other")).send().await.unwrap().status(), 404);
    let manifest = client.put(format!("{base}/manifests/1")).body("{}").send().await.unwrap();
    assert_eq!(manifest.headers()["docker-content-digest"].to_str().unwrap(), sha256(b"{}").as_str());
    let elsewhere = client.post(format!("{base}-else/blobs/uploads/")).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404);
    assert!(store.layer(&sha256(&new)).is_some() && store.config(&sha256(&config)).is_some());
}

#[tokio::test]
async fn a_client_that_begins_with_tls_is_answered_in_plain_http() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (_folder, store) = store();
    let registry = TemporaryRegistry::start(&store).await.unwrap();
    let name = registry.expect("repo", Expected::Originals);
    let mut client = tokio::net::TcpStream::connect(name.split_once('/').unwrap().0).await.unwrap();
    client.write_all(&[22, 3, 1, 0, 2, 1, 0]).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
