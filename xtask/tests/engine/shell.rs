//! `shell` on a real engine: in an image, in a stage, and where a build fails.

use std::process::Command;

use xtask::engine::Store as _;
use xtask::model::Platform;

use crate::support::find_program;
use crate::testing::TestTree;
use crate::world::{World, real_world};

/// Exit status, and all that was said.
fn shell(world: &World, tree: &TestTree, words: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask-images"))
        .args(words.split(' '))
        .env("DOCKER_HOST", &world.host)
        .env("HOME", tree.root())
        .env("XTASK_ROOT", tree.root())
        .output()
        .unwrap();
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stands_where_it_was_asked_to() {
    let Some(world) = real_world("it_stands_where_it_was_asked_to").await else { return };
    if find_program("docker").is_none() {
        eprintln!("skipped: it_stands_where_it_was_asked_to: there is no `docker`");
        return;
    }
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let tree = TestTree::new(&format!(
        "//- src/x{0}/Dockerfile\nFROM {1} AS first\nRUN echo one > /made\nFROM first AS second\nRUN echo two >> /made\n\
         RUN echo why; exit 3\nFROM second\nRUN echo three >> /made\n",
        world.prefix.len(),
        base.familiar()
    ));
    let name = format!("x{}", world.prefix.len());
    let (code, told) = shell(&world, &tree, &format!("shell {name} -- cat /made"));
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("Dockerfile:5 fails") && told.contains("one\ntwo\n") && told.contains("why"),
        "{told}"
    );
    let (code, told) = shell(&world, &tree, &format!("shell {name}.first -- cat /made"));
    assert_eq!((code, told.contains("one\n"), told.contains("two\n")), (Some(0), true, false), "{told}");
    let (code, told) = shell(&world, &tree, &format!("shell {name}.third"));
    assert!(code == Some(2) && told.contains("the stages are first, second, 2"), "{told}");
    let (code, told) = shell(&world, &tree, &format!("shell {name}.first -- false"));
    assert!(code != Some(0), "what was asked for failed: {told}");
    let left = world.engine.observe().await.unwrap();
    assert!(
        left.images().iter().all(|image| image.names.iter().all(|name| !name.path().ends_with("/shell")))
    );
    world.clean_up().await;
}
