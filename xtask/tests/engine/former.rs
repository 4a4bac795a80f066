//! What the release before this one left behind: bundles of version 1 of the format, and stages that it kept.

use std::path::Path;

use xtask::engine::Store as _;
use xtask::model::{Platform, Reference};

use crate::testing::TestTree;
use crate::world::{World, ended, json, private_world, real_world};

/// `bundle create` of that release, of [`TREE`] on Engine 20.10 (commit 540f0ca), compressed.
const BUNDLE: &[u8] = include_bytes!("former/bundle.tar.zst");
/// A program for amd64 of 129 bytes that ends well, whatever it is told.
const PIP: &[u8] = include_bytes!("former/pip");
const TREE: &str = "
//- src/former-base/Dockerfile
FROM scratch
COPY pip /bin/
//- src/former-base/pip mode=755
//- src/former-shop/Dockerfile
FROM former-base AS maker
RUN [\"/bin/pip\", \"install\", \"flask\"]
COPY main.txt /

FROM former-base
COPY --from=maker /main.txt /
//- src/former-shop/main.txt
first
";
const NAMES: [&str; 5] = [
    "former-base:latest",
    "former-shop:latest",
    "xtask-cache/former-base:latest.0",
    "xtask-cache/former-shop:latest.1",
    "xtask-cache/former-shop:latest.maker",
];

fn run(world: &World, root: &Path, words: &str, expect: i32) -> String {
    ended(world.program(root).args(words.split(' ')).arg("--offline"), expect)
}

/// The tree, and that bundle in it.
fn received() -> (TestTree, String) {
    let tree = TestTree::new(TREE);
    tree.write("src/former-base/pip", PIP);
    let file = tree.root().join("former.tar");
    std::fs::write(&file, zstd::decode_all(BUNDLE).unwrap()).unwrap();
    (tree, file.display().to_string())
}

fn is_for_this_machine(test: &str) -> bool {
    let is = Platform::local().arch == "amd64";
    if !is {
        eprintln!("skipped: {test}: the bundle is for amd64");
    }
    is
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_the_former_format_is_loaded() {
    let test = "a_bundle_of_the_former_format_is_loaded";
    let Some(world) = real_world(test).await.filter(|_| is_for_this_machine(test)) else { return };
    let (tree, file) = received();
    let shown =
        json(&ended(world.program(&tree.root()).args(["bundle", "inspect", "--format", "json", &file]), 0));
    assert_eq!(shown["version"], 1, "{shown}");
    for loaded in [5, 0] {
        let told = run(&world, &tree.root(), &format!("bundle load {file}"), 0);
        assert!(told.contains(&format!("{loaded} images loaded, {} here already", 5 - loaded)), "{told}");
    }
    for name in NAMES {
        let name: Reference = name.parse().unwrap();
        assert!(world.engine.details(&name).await.unwrap().is_some(), "{name} is not here");
        world.engine.remove(&name).await.unwrap();
    }
    world.clean_up().await;
}

/// What that release called the bases of its stages is not what this one calls them: that alone forbids no rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_the_former_format_is_rebuilt_and_a_delta_follows_on_it() {
    let test = "a_bundle_of_the_former_format_is_rebuilt_and_a_delta_follows_on_it";
    let (here, there) = match (private_world(None).await, private_world(None).await) {
        (Ok(here), Ok(there)) if is_for_this_machine(test) => (here, there),
        (here, there) => {
            let is_missing = here.is_err() || there.is_err();
            assert!(!is_missing || std::env::var_os("CI").is_none(), "{test}: CI needs two engines");
            eprintln!("skipped: {test}: {:?} {:?}", here.err(), there.err());
            return;
        }
    };
    // It was made on this generation of builders; another one runs everything again.
    let capabilities = here.engine.observe().await.unwrap().capabilities.unwrap();
    let expect = if capabilities.builder() == "engine 20.10" { 0 } else { 13 };
    let (tree, file) = received();
    for world in [&here, &there] {
        run(world, &tree.root(), &format!("bundle load {file}"), 0);
    }
    tree.write("src/former-shop/main.txt", "second\n");
    let told = run(&here, &tree.root(), "rebuild", expect);
    assert!(expect == 0 || told.contains("the stage was kept by engine 20.10"), "{told}");
    let delta = tree.root().join("delta.tar").display().to_string();
    run(&here, &tree.root(), &format!("bundle create --since {file} -o {delta}"), 0);
    run(&there, &tree.root(), &format!("bundle load {delta}"), 0);
    let told = run(&there, &tree.root(), "rebuild", 0);
    assert!(told.contains("2 up to date") || told.contains("stays"), "{told}");
}
