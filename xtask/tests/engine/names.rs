//! Names that stand for images of the tree, or for what these extend, as real builders take them.

use std::path::Path;

use xtask::engine::Store as _;
use xtask::model::{Digest, Platform, Reference};

use crate::testing::TestTree;
use crate::world::{World, ended, private_world};

/// `busy` extends the image of its own name; the others name it, and `base`, without a tag.
const TREE: &str = "
//- src/busy/Dockerfile
FROM busy
COPY x /x
//- src/busy/x
1
//- src/base/Dockerfile
FROM busy:latest
COPY y /y
//- src/base/y
1
//- src/app/Dockerfile
FROM base
COPY --from=busy /x /copied
RUN --mount=from=base,target=/m cat /m/x /m/y >/both
";

#[track_caller]
fn run(world: &World, root: &Path, words: &str) -> String {
    ended(world.program(root).args(words.split(' ')).arg("--offline"), 0)
}

/// How the images stand, by what `status` says.
fn states(world: &World, root: &Path, tag: &str) -> Vec<String> {
    let words = ["status", tag, "--format", "json", "--offline"];
    let output = world.program(root).args(words).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let images = status["images"].as_array().unwrap().iter();
    images.map(|image| format!("{} {}", image["name"], image["state"]).replace('"', "")).collect()
}

async fn layers(world: &World, name: &str) -> Vec<Digest> {
    let name: Reference = name.parse().unwrap();
    world.engine.details(&name).await.unwrap().unwrap().layers
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_a_tag_are_the_tree_s_own_and_no_image_stands_on_itself() {
    let test = "names_without_a_tag_are_the_tree_s_own_and_no_image_stands_on_itself";
    let world = match private_world(None).await {
        Ok(world) if crate::support::find_program("busybox").is_some() => world,
        other => {
            assert!(std::env::var_os("CI").is_none(), "{test}: CI needs an engine and busybox");
            eprintln!("skipped: {test}: {:?}", other.err());
            return;
        }
    };
    let upstream = "busy:latest".parse().unwrap();
    world.engine.import(&world.rootfs(), &upstream, &Platform::local(), &Default::default()).await.unwrap();
    let upstream = layers(&world, "busy:latest").await;
    let tree = TestTree::new(TREE);
    let root = tree.root();
    let all_well = ["busy up-to-date", "base up-to-date", "app up-to-date"];
    run(&world, &root, "build-all");
    assert_eq!(states(&world, &root, "latest"), all_well, "the second run has nothing to do");
    let first = layers(&world, "busy:latest").await;
    assert_eq!((&first[..upstream.len()], first.len()), (&upstream[..], upstream.len() + 1));
    let old = layers(&world, "app:latest").await;
    assert_eq!(old[..first.len()], first);

    tree.write("src/busy/x", "2\n");
    run(&world, &root, "build-all v2");
    assert_eq!(states(&world, &root, "v2"), all_well);
    let [busy, base, app] = ["busy:v2", "base:v2", "app:v2"].map(|name| layers(&world, name));
    let (busy, base, app) = (busy.await, base.await, app.await);
    assert_eq!(
        (&busy[..upstream.len()], busy.len()),
        (&upstream[..], upstream.len() + 1),
        "never on top of itself"
    );
    assert_ne!(busy, first);
    assert_eq!(
        (&base[..busy.len()], &app[..base.len()]),
        (&busy[..], &base[..]),
        "each stands on what is new"
    );
    assert_eq!(layers(&world, "busy:latest").await, first, "no other tag is moved");
    assert_eq!(layers(&world, "app:latest").await, old);
    // What covers the upstream image for a second time stands on it all the same.
    run(&world, &root, "build-all");
    assert_eq!(layers(&world, "busy:latest").await, busy);
    assert_eq!(layers(&world, "localhost/busy:latest").await, upstream);
}
