//! `bundle load` that does not come to its end: the engine is as it was, at once or after the next run.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xtask::engine::Store as _;
use xtask::model::{ImageId, Platform, Reference};

use crate::testing::TestTree;
use crate::world::{World, real_world};

/// Begins the names under which images wait that lost theirs to a load.
const WAITING: &str = "xtask-load-before/";

fn start(world: &World, tree: &TestTree, words: &str) -> Child {
    world
        .named_program(tree)
        .args(words.split_whitespace())
        .arg("--offline")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The exit code, none when a signal ended it, and all that it told.
fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), told)
}

#[track_caller]
fn run(world: &World, tree: &TestTree, words: &str) -> String {
    let (code, told) = end(start(world, tree, words));
    assert_eq!(code, Some(0), "{words}: {told}");
    told
}

fn signal(child: &Child, name: &str) {
    Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

/// What this test's names and those that wait name.
async fn names(world: &World) -> BTreeMap<Reference, ImageId> {
    let observed = world.engine.observe().await.unwrap();
    let images = observed.images().iter().flat_map(|image| image.names.iter().map(|name| (name, &image.id)));
    let ours = |name: &Reference| {
        name.path().contains(&world.prefix) && (name.tag() == Some("v1") || name.path().starts_with(WAITING))
    };
    images.filter(|(name, _)| ours(name)).map(|(name, id)| (name.clone(), id.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_broken_off_leaves_the_engine_as_it_was() {
    let Some(world) = real_world("a_load_that_is_broken_off_leaves_the_engine_as_it_was").await else {
        return;
    };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let service = |name: &str| {
        format!("//- src/{name}/Dockerfile\nFROM {}\nCOPY x /\n//- src/{name}/x\nold\n", base.familiar())
    };
    let tree = TestTree::new(&["one", "two", "three"].map(service).concat());
    // Random, so that it takes a while; the same in all, so that each name is given at another time.
    let mut state = 1_u64;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(4 << 20)
    .collect();
    ["one", "two", "three"].iter().for_each(|name| tree.write(&format!("src/{name}/x"), &random));
    run(&world, &tree, "build-all v1");
    let file = tree.root().join("all.tar");
    let load = format!("bundle load {}", file.display());
    run(&world, &tree, &format!("bundle create v1 -o {}", file.display()));
    let bundled = names(&world).await;
    let before = {
        ["one", "two", "three"].iter().for_each(|name| tree.write(&format!("src/{name}/x"), b"new\n"));
        run(&world, &tree, "build-all v1");
        names(&world).await
    };
    assert_eq!(before.len(), 3);
    assert!(before.iter().all(|(name, id)| bundled[name] != *id));

    for (signals, then) in [
        (&["-INT"][..], None),
        (&["-TERM"], None),
        (&["-INT", "-INT"], None),
        (&["-KILL"], Some("clean --left --yes")),
        (&["-KILL"], Some(load.as_str())),
    ] {
        let mut loading = start(&world, &tree, &load);
        let begin = Instant::now();
        let is_moved = || async { names(&world).await.keys().any(|name| name.path().starts_with(WAITING)) };
        while !is_moved().await && loading.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(60), "no name was taken");
        }
        for name in signals {
            signal(&loading, name);
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        let (code, told) = end(loading);
        if code == Some(0) {
            // The engine was quicker.
            run(&world, &tree, "build-all v1");
            continue;
        }
        match then {
            None => {
                assert_eq!(code, Some(130), "{signals:?}: {told}");
                assert_eq!(names(&world).await, before, "{signals:?}: {told}");
            }
            Some(words) => {
                let told = run(&world, &tree, words);
                let expected = if words == load { &bundled } else { &before };
                assert_eq!(names(&world).await, *expected, "{words}: {told}");
            }
        }
    }
    world.clean_up().await;
}
