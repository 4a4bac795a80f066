//! What is carried from store to store: bundles back into the engine that they came from and into the others, saved bases,
//! bases as registries have them. The same tree has the same keys everywhere.

use std::io::{Read as _, Write as _};

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use xtask::engine::Store as _;
use xtask::model::{BuildSpec, Digest, Platform, Reference};

use crate::testing::TestTree;
use crate::world::{World, found, json, other_hosts, quietly, real_world};

/// Several stages, one that stands on another image, one on nothing. Each install step leaves something that no second run of
/// it would make again.
const TREE: &str = "
//- src/shop/Dockerfile
FROM BASE AS maker
RUN cat /proc/sys/kernel/random/uuid >/installed
COPY main.txt /
RUN cat /installed /main.txt >/made

FROM BASE
ENV WHO=me
COPY --from=maker /made /made
CMD [\"cat\", \"/made\"]
//- src/shop/main.txt
first
//- src/desk/Dockerfile
FROM PREFIX/shop
COPY desk.txt /
//- src/desk/desk.txt
desk
//- src/till/Dockerfile
FROM scratch
COPY till.txt /
//- src/till/till.txt
till
";

/// A base that only this test has, and the tree on it.
async fn imported(world: &World) -> (Reference, TestTree) {
    let base = world.reference("base:1");
    let labels = [("is".to_owned(), "carried".to_owned())].into();
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &labels).await.unwrap();
    let tree = TestTree::new(&TREE.replace("BASE", &base.familiar()).replace("PREFIX", &world.prefix));
    (base, tree)
}

/// Each image of the tree with its key and how it stands.
fn keys(world: &World, tree: &TestTree) -> Vec<String> {
    let plan = json(&world.xtask(tree, "plan --offline --format json", 0));
    let images = plan["images"].as_array().unwrap().iter();
    images.map(|image| format!("{} {} {}", image["name"], image["key"], image["state"])).collect()
}

fn all_stand(keys: &[String]) -> bool {
    !keys.is_empty()
        && keys.iter().all(|image| image.contains("sha256:") && image.ends_with("\"up-to-date\""))
}

async fn layers(world: &World, name: &Reference) -> Vec<Digest> {
    world.engine.details(name).await.unwrap().expect("there").layers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_comes_back_and_is_rebuilt() {
    let Some(world) = real_world("a_bundle_comes_back_and_is_rebuilt").await else { return };
    let (base, tree) = imported(&world).await;
    let [file, inventory, delta] = ["all.tar", "there.json", "delta.tar"].map(|name| tree.root().join(name));
    let [file, inventory, delta] = [&file, &inventory, &delta].map(|path| path.display().to_string());
    world.xtask(&tree, &format!("bundle create --offline -o {file}"), 0);
    let before = keys(&world, &tree);
    assert!(all_stand(&before), "{before:?}");
    let (shop, desk) = (world.reference("shop:latest"), world.reference("desk:latest"));
    let made = layers(&world, &desk).await;
    world.forget().await;
    assert_eq!(world.engine.inspect(&base).await.unwrap(), None);
    for _ in 0..2 {
        world.xtask(&tree, &format!("bundle load --offline {file}"), 0);
        assert_eq!((keys(&world, &tree), layers(&world, &desk).await), (before.clone(), made.clone()));
    }
    let old = layers(&world, &shop).await;
    tree.write("src/shop/main.txt", "second\n");
    let told = world.xtask(&tree, "rebuild", 0);
    let new = layers(&world, &shop).await;
    assert_eq!(old[..old.len() - 1], new[..new.len() - 1], "{told}");
    assert_ne!(old.last(), new.last(), "{told}");

    world.xtask(&tree, &format!("bundle inventory -o {inventory}"), 0);
    let till = world.reference("till:latest");
    tree.write("src/till/till.txt", "changed\n");
    world.xtask(&tree, &format!("bundle create --offline --since {inventory} -o {delta}"), 0);
    let size = std::fs::metadata(&delta).unwrap().len();
    assert!(size < 60_000, "{size} bytes for a change of one line");
    let (before, made) = (keys(&world, &tree), layers(&world, &till).await);
    world.engine.remove(&till).await.unwrap();
    world.xtask(&tree, &format!("bundle load --offline {delta}"), 0);
    assert_eq!((keys(&world, &tree), layers(&world, &till).await), (before, made));
    world.forget().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_proven() {
    let Some(world) = real_world("a_bundle_is_proven").await else { return };
    let (_, tree) = imported(&world).await;
    let file = tree.root().join("all.tar").display().to_string();
    let told = world.xtask(&tree, &format!("bundle create --offline --prove -o {file}"), 0);
    let shown = json(&world.xtask(&tree, &format!("bundle inspect --format json {file}"), 0));
    assert!(shown["proof"]["images"].as_array().is_some_and(|images| images.len() == 3), "{shown} {told}");
    world.forget().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_and_keys_cross_engines() {
    let test = "bundles_and_keys_cross_engines";
    let Some(here) = real_world(test).await else { return };
    if other_hosts().is_empty() {
        return found("bundles to the other engines", "—");
    }
    let (_, tree) = imported(&here).await;
    let [there_file, back_file] = ["there.tar", "back.tar"].map(|name| tree.root().join(name));
    let [there_file, back_file] = [&there_file, &back_file].map(|path| path.display().to_string());
    here.xtask(&tree, &format!("bundle create --offline -o {there_file}"), 0);
    let (desk, before) = (here.reference("desk:latest"), keys(&here, &tree));
    let made = layers(&here, &desk).await;
    assert!(all_stand(&before), "{before:?}");
    for host in other_hosts() {
        let there = here.on(&host).await;
        there.xtask(&tree, &format!("bundle load --offline {there_file}"), 0);
        assert_eq!(
            (keys(&there, &tree), layers(&there, &desk).await),
            (before.clone(), made.clone()),
            "{host}"
        );
        let told = there.xtask(&tree, "rebuild", 0);
        assert!(!told.contains(" kept xtask-cache/"), "nothing is new on {host}: {told}");
        if there.engine.observe().await.unwrap().keeps_manifests() {
            // The empty engine is this machine's own, which need not read what that one saves.
            there.xtask(&tree, "rebuild --prove", 0);
        }
        there.xtask(&tree, &format!("bundle create --offline -o {back_file}"), 0);
        here.forget().await;
        here.xtask(&tree, &format!("bundle load --offline {back_file}"), 0);
        assert_eq!(
            (keys(&here, &tree), layers(&here, &desk).await),
            (before.clone(), made.clone()),
            "{host}"
        );
        // What the first engine installed is what the second one rebuilds on.
        let received = TestTree::new("");
        copy(&tree, &received);
        received.write("src/shop/main.txt", host.as_bytes());
        there.xtask(&received, "rebuild", 0);
        let (old, new) = (&made, layers(&there, &desk).await);
        assert_eq!(old[..old.len() - 2], new[..new.len() - 2], "{host}");
        assert_ne!(old, &new, "{host}");
        there.forget().await;
    }
    here.forget().await;
}

/// The tree's sources.
fn copy(from: &TestTree, to: &TestTree) {
    for service in ["shop", "desk", "till"] {
        for entry in std::fs::read_dir(from.root().join("src").join(service)).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(from.root()).unwrap().to_str().unwrap().to_owned();
            to.write(&relative, std::fs::read(&path).unwrap());
        }
    }
}

async fn save_and_load(from: &World, to: &World, name: &Reference) {
    let archive = from.engine.save(std::slice::from_ref(name)).await.unwrap();
    let bytes: Vec<bytes::Bytes> = archive.try_collect().await.unwrap();
    let again = futures_util::stream::iter(bytes.into_iter().map(Ok));
    to.engine.load(Box::pin(again)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_base_has_the_same_key_everywhere() {
    let Some(here) = real_world("a_saved_base_has_the_same_key_everywhere").await else { return };
    if other_hosts().is_empty() {
        return found("save and load to the other engines", "—");
    }
    let (base, tree) = imported(&here).await;
    let before = keys(&here, &tree);
    for host in other_hosts() {
        let there = here.on(&host).await;
        save_and_load(&here, &there, &base).await;
        assert_eq!(keys(&there, &tree), before, "carried to {host}");
        here.forget().await;
        save_and_load(&there, &here, &base).await;
        assert_eq!(keys(&here, &tree), before, "carried back from {host}");
        there.forget().await;
    }
    here.forget().await;
}

/// Head and body of what a registry answers.
fn ask(registry: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut stream = std::net::TcpStream::connect(registry).unwrap();
    let (accept, length) = ("application/vnd.docker.distribution.manifest.v2+json", body.len());
    let accept = format!("{accept}, application/vnd.oci.image.manifest.v1+json, {INDEX}");
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {registry}\r\nAccept: {accept}\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    assert!(head.contains(" 20"), "{method} {path}: {head}");
    (head, answer[end + 4..].to_vec())
}

fn header(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).unwrap().1.to_owned()
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}

/// A blob or manifest in the test's repository, as an index names it.
fn upload(world: &World, repository: &str, kind: &str, bytes: &[u8]) -> serde_json::Value {
    let digest = digest(bytes);
    if kind == MANIFEST {
        ask(&world.registry, "PUT", &format!("/v2/{repository}/manifests/{digest}"), kind, bytes);
    } else {
        let (head, _) = ask(&world.registry, "POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        let place = header(&head, "Location");
        let place = place.split_once(&world.registry).map_or(place.as_str(), |(_, path)| path);
        let path = format!("{place}&digest={digest}");
        ask(&world.registry, "PUT", &path, "application/octet-stream", bytes);
    }
    serde_json::json!({ "mediaType": kind, "digest": digest.to_string(), "size": bytes.len() })
}

/// The image of one platform, pushed; as an index names it.
async fn published(world: &World, platform: &Platform) -> serde_json::Value {
    let name = world.remote(&format!("base:{}", platform.arch));
    let text = "FROM scratch\nCOPY file /\nENV WHO=me\n";
    let file = world.file("file", &format!("{} {platform}", world.prefix), 0o644);
    let spec = BuildSpec {
        tags: vec![name.clone()],
        platform: platform.clone(),
        ..world.spec("foreign", text, vec![file])
    };
    world.build(&spec).await.unwrap();
    world.engine.push(&name, quietly()).await.unwrap();
    let path = format!("/v2/{}/manifests/{}", name.path(), platform.arch);
    let (head, manifest) = ask(&world.registry, "GET", &path, "", b"");
    let mut told = serde_json::json!({
        "mediaType": header(&head, "Content-Type"), "digest": digest(&manifest).to_string(), "size": manifest.len(),
    });
    if told["mediaType"] == INDEX {
        // The builder made attestations of its own.
        let index: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        told = index["manifests"][0].clone();
    }
    told["platform"] = serde_json::json!({ "os": platform.os, "architecture": platform.arch });
    told
}

/// Puts the built images of a tree into a bundle; wherever that is loaded they have the same keys, and all of them stand.
async fn carries_everywhere(world: &World, tree: &TestTree) {
    let file = tree.root().join("all.tar").display().to_string();
    world.xtask(tree, &format!("bundle create -o {file}"), 0);
    let before = keys(world, tree);
    assert!(all_stand(&before), "{before:?}");
    for host in [world.host.clone()].into_iter().chain(other_hosts()) {
        world.forget().await;
        let there = world.on(&host).await;
        there.xtask(tree, &format!("bundle load --offline {file}"), 0);
        assert_eq!(keys(&there, tree), before, "on {host}");
        there.forget().await;
    }
}

/// Puts an index of these manifests under the tag that the tree stands on, and lets the tree's images come and go.
async fn stands_on(world: &World, manifests: Vec<serde_json::Value>) {
    let base = world.remote("base:all");
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let path = format!("/v2/{}/manifests/all", base.path());
    ask(&world.registry, "PUT", &path, INDEX, index.to_string().as_bytes());
    world.forget().await;
    let tree = TestTree::new(&format!("//- src/shop/Dockerfile\nFROM {base}\nCOPY x /\n//- src/shop/x\n1\n"));
    let told = world.xtask(&tree, "prefetch", 0);
    assert!(told.contains("pulled"), "{told}");
    let details = world.engine.details(&base).await.unwrap().expect("pulled");
    assert_eq!(details.platform, Platform::local());
    let told = world.xtask(&tree, "prefetch", 0);
    assert!(told.contains("1 already here"), "{told}");
    carries_everywhere(world, &tree).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_of_several_platforms_is_pulled_and_goes_along() {
    let Some(world) = real_world("a_base_of_several_platforms_is_pulled_and_goes_along").await else {
        return;
    };
    let own = Platform::local();
    let other = if own.arch == "arm64" { "linux/amd64" } else { "linux/arm64" }.parse().unwrap();
    let manifests = vec![published(&world, &other).await, published(&world, &own).await];
    stands_on(&world, manifests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attestations_do_no_harm() {
    let Some(world) = real_world("attestations_do_no_harm").await else { return };
    let image = published(&world, &Platform::local()).await;
    let base = world.remote("base:all");
    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1","subject":[],"predicate":{}}"#;
    let config = format!(
        r#"{{"architecture":"unknown","os":"unknown","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        digest(statement)
    );
    let config = upload(&world, base.path(), CONFIG, config.as_bytes());
    let layer = upload(&world, base.path(), "application/vnd.in-toto+json", statement);
    let manifest =
        serde_json::json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let mut attestation = upload(&world, base.path(), MANIFEST, manifest.to_string().as_bytes());
    attestation["platform"] = serde_json::json!({ "os": "unknown", "architecture": "unknown" });
    attestation["annotations"] = serde_json::json!({
        "vnd.docker.reference.digest": image["digest"], "vnd.docker.reference.type": "attestation-manifest",
    });
    stands_on(&world, vec![image, attestation]).await;
}

/// An engine with containerd pulls no layer that it has unpacked, whoever packed that.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_here_packed_otherwise_does_no_harm() {
    let Some(world) = real_world("a_layer_that_is_here_packed_otherwise_does_no_harm").await else { return };
    let (base, _) = imported(&world).await;
    let tar = std::fs::read(world.rootfs()).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(&tar).unwrap();
    let twin = world.remote("twin:1");
    let layer = upload(&world, twin.path(), LAYER, &packed.finish().unwrap());
    let own = Platform::local();
    let config = serde_json::json!({
        "architecture": own.arch, "os": own.os, "config": { "Env": ["WHO=twin"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
    });
    let config = upload(&world, twin.path(), CONFIG, config.to_string().as_bytes());
    let manifest =
        serde_json::json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let path = format!("/v2/{}/manifests/1", twin.path());
    let manifest = manifest.to_string();
    ask(&world.registry, "PUT", &path, MANIFEST, manifest.as_bytes());
    let pinned = format!("{}@{}", twin.repository(), digest(manifest.as_bytes()));
    let tree = TestTree::new(&format!(
        "//- src/shop/Dockerfile\nFROM {base}\nCOPY x /\n//- src/shop/x\n1\n\
         //- src/desk/Dockerfile\nFROM {twin}\nCOPY x /\n//- src/desk/x\n1\n\
         //- src/till/Dockerfile\nFROM {pinned}\nRUN echo $WHO >/who\n"
    ));
    world.xtask(&tree, "build-all", 0);
    carries_everywhere(&world, &tree).await;
}
