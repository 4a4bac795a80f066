//! `clean` on a real engine that several trees share: what is superseded goes, and nothing that anybody needs.

use xtask::engine::{Containers as _, ImageStore, Store as _};
use xtask::model::{ContainerSpec, ImageId, Platform, Reference};

use crate::testing::TestTree;
use crate::world::{World, ended, real_world};

/// Runs the program in a tree; it ends well.
#[track_caller]
fn run(world: &World, tree: &TestTree, words: &str) -> String {
    ended(world.named_program(tree).args(words.split_whitespace()).arg("--offline"), 0)
}

async fn id_of(world: &World, name: &Reference) -> Option<ImageId> {
    world.engine.inspect(name).await.unwrap().map(|image| image.id)
}

async fn is_here(world: &World, id: &ImageId) -> bool {
    world.engine.observe().await.unwrap().images().iter().any(|image| image.id == *id)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_nobody_needs_goes() {
    let Some(world) = real_world("only_what_nobody_needs_goes").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    // Another tree has a service of the same name, which loses the name to this one's.
    let fixture = |text: &str| {
        format!(
            "//- src/api/Dockerfile\nFROM {base}\nCOPY x /\nCMD [\"sleep\", \"100\"]\n//- src/api/x\n{text}\n\
             //- src/run/Dockerfile\nFROM {base}\nCOPY x /\nCMD [\"sleep\", \"100\"]\n//- src/run/x\n{text}\n",
            base = base.familiar()
        )
    };
    let (other, tree) = (TestTree::new(&fixture("other")), TestTree::new(&fixture("one")));
    let (api, running) = (world.reference("api:latest"), world.reference("run:latest"));
    run(&world, &other, "build-all");
    let others = id_of(&world, &api).await.unwrap();
    run(&world, &tree, "build-all");
    let first = id_of(&world, &api).await.unwrap();
    let held = id_of(&world, &running).await.unwrap();
    let container = world.engine.run(&ContainerSpec::of(running.clone())).await.unwrap();
    tree.write("src/api/x", b"two");
    tree.write("src/run/x", b"two");
    run(&world, &tree, "build-all");
    run(&world, &tree, "build-all v1");
    let second = id_of(&world, &api).await.unwrap();
    // A twin of what is in use, under a name that nobody asks for.
    let twin = world.reference("twin:v1");
    world.engine.tag(&world.reference("api:v1"), &twin).await.unwrap();

    let shown = run(&world, &tree, "clean");
    assert!(shown.contains("nothing was removed: --yes removes it"), "{shown}");
    // An engine with containerd itself lets go of an image whose last name goes to another.
    let superseded_stay = world.engine.survey().await.unwrap().store == ImageStore::Graph;
    if superseded_stay {
        assert!(is_here(&world, &first).await, "nothing goes unasked: {shown}");
        assert!(shown.contains(first.short()) && !shown.contains(others.short()), "{shown}");
        assert!(shown.contains("in use: container "), "{shown}");
    }

    let told = run(&world, &tree, "clean --yes --tag latest,v1");
    assert!(!is_here(&world, &first).await, "{told}");
    for (what, id) in [("the current", &second), ("another tree's", &others), ("a container's", &held)] {
        if superseded_stay || *id == second {
            assert!(is_here(&world, id).await, "{what} image is gone: {told}");
        }
    }
    let localhost = format!("localhost/{}", base.familiar()).parse::<Reference>().unwrap();
    for name in [&base, &localhost, &twin, &world.reference("api:v1"), &running] {
        assert!(id_of(&world, name).await.is_some(), "{name} is gone: {told}");
    }
    assert!(id_of(&world, &world.reference("run:v1")).await.is_none(), "{told}");

    world.engine.remove_container(&container).await.unwrap();
    run(&world, &tree, "clean --yes");
    assert!(!is_here(&world, &held).await, "nobody holds it any more");
    assert_eq!(is_here(&world, &others).await, superseded_stay);
    assert!(run(&world, &tree, "clean --yes").contains("nothing to remove"));
    // A service goes, and another gets a tag of its own: both are offered, and what they stand on stays.
    std::fs::rename(tree.root().join("src/run"), tree.root().join("src/walk")).unwrap();
    tree.write("src/api/x", b"three");
    run(&world, &tree, "build-all v2");
    let shown = run(&world, &tree, "clean");
    assert!(shown.contains("makes") && shown.contains("run any more"), "{shown}");
    let gone = world.reference("run:latest");
    let told = run(&world, &tree, "clean --yes");
    assert!(id_of(&world, &gone).await.is_none(), "{told}");
    assert!(id_of(&world, &world.reference("api:v2")).await.is_some(), "nobody named its tag: {told}");
    let told = run(&world, &tree, "clean --images --yes");
    assert!(id_of(&world, &world.reference("api:v2")).await.is_none(), "not the current tag: {told}");
    assert!(id_of(&world, &api).await.is_some() && id_of(&world, &base).await.is_some(), "{told}");
    run(&world, &other, "clean --yes");
    assert!(!is_here(&world, &others).await, "its own tree may");
    let unnamed = world.engine.remove_unnamed(&second).await.unwrap_err().to_string();
    assert!(unnamed.contains("by now"), "what has a name is not removed by its ID: {unnamed}");
    world.engine.remove(&localhost).await.unwrap();
    world.clean_up().await;
}
