//! The whole way of `base-images e2e` with the smallest image that serves HTTP, and what is left of it: nothing.

use std::process::Output;

use xtask::engine::{Containers as _, Store as _};
use xtask::model::{ContainerId, ContainerSpec, Platform, Reference};

use crate::support::{find_program, free_address};
use crate::testing::TestTree;
use crate::world::{World, real_world};

/// `BASE` has a shell; the rest is busybox. `START` is what it runs.
const TINY: &str = r#"
FROM BASE
ARG FIT_VERSION=1.2.3
LABEL org.opencontainers.image.description="Tiny"
RUN B=/bin/busybox; for d in bin conf lib plugins dynamic-plugins logs data; do $B mkdir -p /opt/fit-framework/java/$d; done; \
    echo 'fit:x:2000:2000::/:/bin/sh' >/etc/passwd; $B chown -R 2000 /opt/fit-framework; \
    $B mkdir -p /www/actuator; echo '["a", "b"]' >/www/actuator/plugins; $B ln -s busybox /bin/id; \
    printf '#!/bin/sh\necho fit %s\n' "$FIT_VERSION" >/bin/fit; $B chmod 755 /bin/fit
ENV FIT_HOME=/opt/fit-framework
EXPOSE 8080 8090
USER fit
HEALTHCHECK --timeout=5s --start-period=5s --retries=3 CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/actuator/plugins"]
ENTRYPOINT ["sh", "-c", "START"]
"#;

/// Every name, container and registry of this test, to be compared; others share the engine.
async fn seen(world: &World, tree: &TestTree) -> (Vec<Reference>, usize, bool) {
    let observed = world.engine.observe().await.unwrap();
    let mut names: Vec<Reference> = observed.images().iter().flat_map(|image| image.names.clone()).collect();
    names.retain(|name| name.familiar().contains(&world.prefix));
    names.sort();
    let mut containers = 0;
    let runs = std::fs::read_dir(tree.root().join("target/xtask/runs"));
    for run in runs.into_iter().flatten() {
        let label = format!("dev.xtask.run={}", run.unwrap().file_name().to_string_lossy());
        containers += world.engine.containers(&label).await.unwrap().len();
    }
    (names, containers, tree.root().join("target/xtask/registry").exists())
}

fn base_images(world: &World, tree: &TestTree, words: &str) -> Output {
    world
        .program(&tree.root())
        .arg("base-images")
        .args(words.split(' '))
        .args(["--plugins", "2"])
        .env("XTASK_BASE_IMAGE_NAME", format!("{}/fit", world.prefix))
        .output()
        .unwrap()
}

/// A container as a run made it whose process is gone.
async fn leave(world: &World, tree: &TestTree, base: &Reference, further: &[&str]) -> ContainerId {
    let mut labels = vec![
        ("dev.xtask.run".to_owned(), "gone".to_owned()),
        ("dev.xtask.owner".to_owned(), "1@never".to_owned()),
        ("dev.xtask.tree".to_owned(), xtask::read::tree::identity(&tree.root())),
    ];
    labels.extend(further.iter().map(|name| ((*name).to_owned(), "true".to_owned())));
    let spec = ContainerSpec {
        labels: labels.into_iter().collect(),
        command: vec!["sleep".to_owned(), "600".to_owned()],
        ..ContainerSpec::of(base.clone())
    };
    world.engine.run(&spec).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_goes_there_and_back_and_leaves_nothing() {
    let Some(world) = real_world("e2e_goes_there_and_back_and_leaves_nothing").await else { return };
    if find_program("docker-registry").is_none() {
        return;
    }
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    for (start, code, said) in [
        ("trap 'exit 0' TERM; busybox httpd -f -p 8080 -h /www & wait", 0, "finished"),
        ("echo why; exit 7", 4, "ended by itself with status 7"),
    ] {
        let text = TINY.replace("BASE", &base.familiar()).replace("START", start);
        let tree = TestTree::new(&format!("//- docker/base-images/tiny/Dockerfile\n{text}"));
        let (left, kept) =
            (leave(&world, &tree, &base, &[]).await, leave(&world, &tree, &base, &["dev.xtask.kept"]).await);
        let before = seen(&world, &tree).await;
        let e2e = format!("e2e --offline --port {}", free_address().port());
        let output = base_images(&world, &tree, &e2e);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}{}", String::from_utf8_lossy(&output.stdout));
        assert!(told.contains(said), "{told}");
        assert_eq!(seen(&world, &tree).await, before, "{told}");
        assert_eq!(world.engine.container(&left).await.unwrap(), None, "an earlier run left it: {told}");
        assert!(world.engine.container(&kept).await.unwrap().is_some(), "it was to stay: {told}");
        world.engine.remove_container(&kept).await.unwrap();
    }
    world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_was_tested_and_is_there() {
    let Some(world) = real_world("what_is_published_was_tested_and_is_there").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let start = "trap 'exit 0' TERM; busybox httpd -f -p 8080 -h /www & wait";
    let text = TINY.replace("BASE", &base.familiar()).replace("START", start);
    let tree = TestTree::new(&format!("//- docker/base-images/tiny/Dockerfile\n{text}"));
    let registry = format!("--registry {}", world.registry);
    let publish = format!("publish {registry} --network external --port {}", free_address().port());
    for (words, said) in [(publish, "published "), (format!("test --offline {registry}"), "finished")] {
        let output = base_images(&world, &tree, &words);
        let told =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && told.contains(said), "{words}: {told}");
    }
    world.forget().await;
}
