//! One small tree through the commands of every day, on whatever engine is given.

use xtask::engine::Store as _;
use xtask::model::{Platform, Reference};

use crate::testing::TestTree;
use crate::world::{json, real_world};

#[tokio::test(flavor = "multi_thread")]
async fn one_tree_through_all_commands() {
    let Some(world) = real_world("one_tree_through_all_commands").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let tree = TestTree::new(&format!(
        "//- src/till/Dockerfile\nFROM {0}\nCOPY x /\nRUN cat /x >/y\n//- src/till/x\n1\n\
         //- src/desk/Dockerfile\nFROM {1}/till\nCOPY x /z\n//- src/desk/x\n2\n\
         //- src/lent/dependency.conf\n{0}\n",
        base.familiar(),
        world.prefix,
    ));
    world.xtask(&tree, "verify --offline", 4);
    let told = world.xtask(&tree, "build-all --offline", 0);
    assert!(told.contains("3 built"), "{told}");
    let told = world.xtask(&tree, "build-all --offline", 0);
    assert!(!told.contains(" built,") && told.contains("up to date"), "{told}");
    world.xtask(&tree, "verify --offline", 0);

    let alias: Reference = format!("localhost/{}", base.familiar()).parse().unwrap();
    let id = world.engine.inspect(&base).await.unwrap().map(|image| image.id);
    assert_eq!(world.engine.inspect(&alias).await.unwrap().map(|image| image.id), id);
    world.engine.remove(&alias).await.unwrap();
    world.xtask(&tree, "alias --check --offline", 15);
    world.xtask(&tree, "alias --offline", 0);
    world.xtask(&tree, "alias --check --offline", 0);
    assert_eq!(world.engine.inspect(&alias).await.unwrap().map(|image| image.id), id);

    tree.write("src/till/x", "changed\n");
    let told = world.xtask(&tree, "build-all --offline", 0);
    assert!(told.contains("2 built"), "the other stands on it: {told}");
    let told = world.xtask(&tree, "history --format json", 0);
    let history = json(&told);
    let till = history["images"]
        .as_array()
        .unwrap()
        .iter()
        .find(|image| image["image"].as_str().unwrap().ends_with("till"))
        .unwrap();
    assert!(till["took"].as_array().is_some_and(|took| took.len() == 2), "{told}");
    assert!(till["size"].as_u64().is_some_and(|size| size > 0), "{told}");
    world.engine.remove(&world.reference("desk:latest")).await.unwrap();
    world.xtask(&tree, "verify --offline", 4);
    world.forget().await;
}
