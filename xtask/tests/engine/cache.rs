//! A registry as cache between two engines: what the first one ran, the second one does not run again.

use std::path::Path;

use xtask::engine::Store as _;
use xtask::model::Platform;

use crate::support::Registry;
use crate::testing::TestTree;
use crate::world::{World, private_world, quietly};

const TREE: &str = "
//- src/shop/Dockerfile
FROM BASE AS maker
RUN cat /proc/sys/kernel/random/uuid >/installed
COPY main.txt /
RUN cat /installed /main.txt >/made

FROM BASE
RUN cat /proc/sys/kernel/random/uuid >/installed-too
COPY --from=maker /made /made
//- src/shop/main.txt
first
";

/// Which instructions ran: the names of the builder's parts that were not cached.
fn ran(root: &Path) -> Vec<String> {
    let events = std::fs::read_to_string(root.join("target/xtask/runs/latest/events.ndjson")).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let parts = events.filter(|event| event["step"] == "build:shop" && event["cached"] == false);
    let names = parts.filter_map(|event| Some(event["part"].as_str()?.split_once("] ")?.1.to_owned()));
    names.filter(|name| name.starts_with("RUN") || name.starts_with("COPY")).collect()
}

fn build(world: &World, root: &Path, cache: &str, offline: bool) -> String {
    let mut command = world.program(root);
    command.args(["build-all", "--network", "external", "--cache-from", cache, "--cache-to", cache]);
    if offline {
        command.arg("--offline");
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_engine_runs_only_what_changed() {
    let test = "a_fresh_engine_runs_only_what_changed";
    let (here, there, registry) =
        match (private_world(None).await, private_world(None).await, Registry::start()) {
            (Ok(here), Ok(there), Ok(registry)) if crate::support::find_program("busybox").is_some() => {
                (here, there, registry)
            }
            (here, there, registry) => {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "{test}: CI needs two engines, a registry and busybox"
                );
                eprintln!("skipped: {test}: {:?} {:?} {:?}", here.err(), there.err(), registry.err());
                return;
            }
        };
    let base = format!("{}/base:1", registry.domain()).parse().unwrap();
    here.engine.import(&here.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    here.engine.push(&base, quietly()).await.unwrap();
    let tree = TestTree::new(&TREE.replace("BASE", &base.familiar()));
    let (root, cache) = (tree.root(), format!("{}/ci/cache", registry.domain()));

    let told = build(&here, &root, &cache, false);
    assert!(
        told.contains("2 of 2 stages are not there yet") && told.contains("cache      2 stored"),
        "{told}"
    );
    assert_eq!(ran(&root).len(), 5, "{told}");
    let told = build(&here, &root, &cache, false);
    assert!(told.contains("cache      2 already there"), "{told}");

    tree.write("src/shop/main.txt", "second\n");
    let told = build(&there, &root, &cache, false);
    let expected =
        ["COPY main.txt /", "RUN cat /installed /main.txt >/made", "COPY --from=maker /made /made"];
    assert_eq!(ran(&root), expected, "{told}");
    assert!(told.contains("cache      2 stored"), "{told}");

    tree.write("src/shop/main.txt", "third\n");
    let told = build(&there, &root, &cache, true);
    assert!(told.contains("is not asked: --offline forbids to ask it"), "{told}");
    drop(registry);
    tree.write("src/shop/main.txt", "fourth\n");
    let told = build(&there, &root, &cache, false);
    assert!(told.contains("is of no use now:") && told.contains("warning: cannot store"), "{told}");
}
