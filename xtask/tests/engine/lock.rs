//! `images.lock` with a real engine and a real registry: tags that move, digests that stay, and no registry at all.

use std::collections::BTreeMap;
use std::io::Read as _;
use xtask::engine::{ImageStore, Store as _};
use xtask::model::{ImageId, Platform, Reference};

use crate::testing::TestTree;
use crate::world::{World, quietly, real_world};

struct Trial {
    world: World,
    tree: TestTree,
    base: Reference,
}

impl Trial {
    async fn new(test: &str) -> Option<Self> {
        let world = real_world(test).await?;
        let base = world.remote("base:1");
        let name = base.familiar();
        let tree = TestTree::new(&format!(
            "//- src/api/Dockerfile\nFROM {name}\nCOPY a /\n//- src/api/a\n1\n//- src/till/dependency.conf\n{name}\n"
        ));
        let trial = Self { world, tree, base };
        trial.publish("one").await;
        Some(trial)
    }

    /// Another image under the tag, here and in the registry.
    async fn publish(&self, label: &str) {
        let labels = [("is".to_owned(), label.to_owned())].into();
        let (engine, base) = (&self.world.engine, &self.base);
        engine.import(&self.world.rootfs(), base, &Platform::local(), &labels).await.unwrap();
        engine.push(base, quietly()).await.unwrap();
    }

    /// What the store has under the base's name.
    async fn here(&self) -> Option<String> {
        let image = self.world.engine.inspect(&self.base).await.unwrap()?;
        image.labels.get("is").cloned()
    }

    /// The base as an archive.
    async fn save(&self) -> Vec<u8> {
        let archive = self.world.engine.save(std::slice::from_ref(&self.base)).await.unwrap();
        let pieces: Vec<bytes::Bytes> = futures_util::TryStreamExt::try_collect(archive).await.unwrap();
        pieces.concat()
    }

    async fn load(&self, archive: Vec<u8>) {
        let archive = futures_util::stream::iter([Ok(bytes::Bytes::from(archive))]);
        self.world.engine.load(Box::pin(archive)).await.unwrap();
    }

    #[track_caller]
    fn run(&self, words: &str, code: i32) -> String {
        self.world.xtask(&self.tree, words, code)
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.tree.root().join("images.lock")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_follows_a_tag_that_moved_and_no_other() {
    let Some(trial) = Trial::new("pull_follows_a_tag_that_moved_and_no_other").await else { return };
    let (engine, kept) = (&trial.world.engine, trial.world.remote("kept:1"));
    engine.tag(&trial.base, &kept).await.unwrap();
    trial.run("build-all", 0);
    let told = trial.run("build-all --pull", 0);
    assert!(told.contains("1 already here") && !told.contains("its tag moved"), "{told}");

    // Another image under the tag, in the registry alone.
    trial.publish("two").await;
    engine.tag(&kept, &trial.base).await.unwrap();
    assert!(trial.run("build-all", 0).contains("up to date"), "nobody asked");
    assert_eq!(trial.here().await.as_deref(), Some("one"));
    let told = trial.run("plan --pull", 0);
    assert!(told.contains("its tag moved at") && told.contains(" -> sha256:"), "{told}");
    assert_eq!(trial.here().await.as_deref(), Some("one"), "a plan pulls nothing");
    let told = trial.run("build api --pull", 0);
    assert!(told.contains("its tag moved at") && told.contains("base image changed"), "{told}");
    assert_eq!(trial.here().await.as_deref(), Some("two"));
    let told = trial.run("prefetch --pull", 0);
    assert!(told.contains("1 already here") && !told.contains("its tag moved"), "{told}");

    assert!(trial.run("build-all --pull --offline", 2).contains("--offline forbids to ask anybody"));
    trial.run("lock", 0);
    assert!(trial.run("prefetch --pull --locked", 2).contains("images.lock"));
    trial.world.forget().await;
    trial.world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_moves_between_lock_and_build() {
    let Some(trial) = Trial::new("a_tag_moves_between_lock_and_build").await else { return };
    let name = trial.base.familiar();
    trial.run("lock", 0);
    let first = trial.lock();
    assert!(
        first.contains(&format!("name = \"{name}\"\ndigest = \"sha256:"))
            && first.contains("identities.")
            && !first.contains("\nids."),
        "{first}"
    );
    assert!(trial.run("lock --check", 0).contains("nothing changed"));
    trial.run("build-all --locked", 0);

    trial.publish("two").await;
    let told = trial.run("lock --check", 15);
    assert!(
        told.contains("moved") && told.contains("src/api/Dockerfile:1, src/till/dependency.conf:1"),
        "{told}"
    );
    let told = trial.run("build-all --locked", 15);
    assert!(
        told.contains(" here, images.lock:6 says sha256:") && told.contains("src/api/Dockerfile:1"),
        "{told}"
    );
    assert_eq!(trial.here().await.as_deref(), Some("two"), "nothing was touched");
    let told = trial.run("status", 0);
    assert!(told.contains("warning: src/api/Dockerfile:1:") && told.contains("images.lock:6 says"), "{told}");

    // Whoever says so gets the locked one back, and so does an engine that has nothing.
    trial.run("prefetch --locked --fix", 0);
    assert_eq!(trial.here().await.as_deref(), Some("one"));
    assert!(trial.run("build-all --locked", 0).contains("up to date"));
    trial.world.forget().await;
    let told = trial.run("build-all --locked", 0);
    assert!(told.contains("(not in the local store, images.lock:6 says sha256:"), "{told}");
    assert_eq!(trial.here().await.as_deref(), Some("one"), "though its tag has moved");
    assert_eq!(trial.lock(), first);

    trial.run(&format!("lock {name}"), 0);
    assert_ne!(trial.lock(), first);
    trial.run("build-all --locked", 15);
    trial.run("build-all --locked --fix", 0);
    assert_eq!(trial.here().await.as_deref(), Some("two"));
    trial.world.forget().await;
    trial.world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_registry_the_store_speaks() {
    let Some(trial) = Trial::new("without_a_registry_the_store_speaks").await else { return };
    let told = trial.run("lock --offline", 0);
    assert!(told.contains("is locked as the engine has it"), "{told}");
    let first = trial.lock();
    trial.run("lock", 0);
    assert_eq!(trial.lock(), first, "the registry says the same");

    // What came by an archive is known by what is in it.
    let archive = trial.save().await;
    trial.world.forget().await;
    trial.load(archive).await;
    trial.run("build-all --locked --offline", 0);
    trial.run("lock --offline", 0);
    assert_eq!(trial.lock(), first, "and it is still known by its digest");

    std::fs::remove_file(trial.tree.root().join("images.lock")).unwrap();
    let told = trial.run("lock --offline", 0);
    // A store that keeps manifests has a digest for everything.
    if trial.world.engine.survey().await.unwrap().store == ImageStore::Graph {
        assert!(told.contains("has no digest, so it is locked by what is in it"), "{told}");
        assert_eq!(trial.lock(), without_digests(&first));
    }
    trial.tree.write("images.lock", without_digests(&first));
    trial.run("build-all --locked --offline", 0);
    trial.world.forget().await;
    let told = trial.run("build-all --locked --offline", 13);
    assert!(told.contains("is not here, and --locked takes nothing but what images.lock:6 says"), "{told}");
    // A registry that has this very image will do.
    trial.run("build-all --locked", 0);
    trial.publish("two").await;
    trial.world.forget().await;
    let told = trial.run("build-all --locked", 15);
    assert!(told.contains("but the lock says content sha256:"), "{told}");
    trial.world.forget().await;
    trial.world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_store_calls_otherwise_is_the_locked_image_all_the_same() {
    let Some(trial) = Trial::new("what_another_store_calls_otherwise_is_the_locked_image_all_the_same").await
    else {
        return;
    };
    trial.run("lock", 0);
    let first = trial.lock();
    let id = || async { trial.world.engine.inspect(&trial.base).await.unwrap().unwrap().id };
    let before = id().await;
    let archive = otherwise(&trial.save().await);
    trial.world.forget().await;
    trial.load(archive).await;
    assert_ne!(id().await, before, "the same files and settings, made at another time");

    trial.run("build-all --locked --offline", 0);
    assert!(trial.run("build-all --locked", 0).contains("up to date"));
    assert!(trial.run("lock --check", 0).contains("nothing changed"));
    trial.run("lock --offline", 0);
    assert_eq!(trial.lock(), first, "it is known by what is in it");
    trial.tree.write("images.lock", without_digests(&first));
    trial.run("build-all --locked --offline", 0);

    // A lock file that knows IDs alone holds where it was made, and is read anew by `lock`.
    let entry = first.lines().find(|line| line.starts_with("identities.")).unwrap();
    let by_id = |id: &ImageId| {
        let (platform, _) = entry.trim_start_matches("identities.").split_once(" = ").unwrap();
        first.replace(entry, &format!("ids.{platform} = \"{id}\""))
    };
    trial.tree.write("images.lock", by_id(&before));
    let told = trial.run("build-all --locked --offline", 15);
    assert!(told.contains("images.lock:6 says sha256:"), "{told}");
    trial.tree.write("images.lock", by_id(&id().await));
    trial.run("build-all --locked --offline", 0);
    assert!(trial.run("lock --check", 0).contains("nothing changed"));
    trial.run("lock", 0);
    assert_eq!(trial.lock(), first);
    trial.world.forget().await;
    trial.world.clean_up().await;
}

/// A lock that knows images by what is in them alone.
fn without_digests(lock: &str) -> String {
    lock.lines().filter(|line| !line.starts_with("digest")).map(|line| format!("{line}\n")).collect()
}

/// The image of an archive as another store might call it: the same layers under a config that tells another time.
fn otherwise(archive: &[u8]) -> Vec<u8> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (path, mut content) = (entry.path().unwrap().display().to_string(), Vec::new());
        entry.read_to_end(&mut content).unwrap();
        files.insert(path, content);
    }
    let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let image = &manifest[0];
    let mut config: serde_json::Value =
        serde_json::from_slice(&files[image["Config"].as_str().unwrap()]).unwrap();
    config["created"] = "2001-01-01T00:00:00Z".into();
    let layers: Vec<&str> =
        image["Layers"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = serde_json::json!([
        { "Config": "config.json", "RepoTags": image["RepoTags"], "Layers": names }
    ]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
    };
    add("config.json", &serde_json::to_vec(&config).unwrap());
    for (name, path) in names.iter().zip(layers) {
        add(name, &files[path]);
    }
    add("manifest.json", &serde_json::to_vec(&manifest).unwrap());
    tar.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_the_internal_registry_vouches_by_digest_or_by_id() {
    let Some(trial) = Trial::new("inside_the_internal_registry_vouches_by_digest_or_by_id").await else {
        return;
    };
    // Outside nobody answers; the registry is the internal one, and its project is this test's.
    let registry = format!("{}/{}", trial.world.registry, trial.world.prefix);
    trial.tree.write("src/api/Dockerfile", "FROM base:1\nCOPY a /\n");
    trial.tree.write("src/till/dependency.conf", format!("{registry}/base:1\n"));
    let inside = format!("--network internal --internal-registry {registry}");
    trial.run(&format!("lock {inside}"), 0);
    let lock = trial.lock();
    assert_eq!(lock.matches("[[image]]").count(), 1, "two names of one image: {lock}");
    assert!(lock.contains("name = \"base:1\""), "{lock}");
    trial.world.forget().await;
    trial.run(&format!("build-all --locked {inside}"), 0);

    // Pushed anew, the same image may have another digest.
    let text = lock.replace("digest = \"sha256:", "digest = \"sha256:ffff");
    let cut: String =
        text.lines()
            .map(|line| {
                if line.starts_with("digest") { format!("{}\"\n", &line[..81]) } else { format!("{line}\n") }
            })
            .collect();
    trial.tree.write("images.lock", &cut);
    trial.world.forget().await;
    let told = trial.run(&format!("build-all --locked {inside}"), 0);
    assert!(told.contains("3 verified") || told.contains("2 verified"), "{told}");
    trial.world.forget().await;
    // Names of no test: the next one that is told of them finds what it brings itself.
    for name in ["base:1", "localhost/base:1"] {
        trial.world.engine.remove(&name.parse().unwrap()).await.unwrap();
    }
    trial.world.clean_up().await;
}
