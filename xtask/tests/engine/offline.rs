//! The whole way of a bundle between two engines: what the first installed is what the second rebuilds on.

use std::path::Path;
use std::time::Duration;

use xtask::engine::{Containers as _, Store as _};
use xtask::model::{BuildSpec, ContainerSpec, Digest, Platform, Reference};

use crate::support::Registry;
use crate::testing::TestTree;
use crate::world::{World, ended, private_world};

/// Three stages. Each install step leaves something that no second run of it would make again.
const TREE: &str = "
//- src/shop/Dockerfile
FROM base:1 AS tools
RUN cat /proc/sys/kernel/random/uuid >/installed
COPY pip /bin/
COPY requirements.txt /
RUN pip install -r /requirements.txt

FROM tools AS maker
COPY main.txt /
RUN cat /installed /main.txt >/made

FROM base:1
RUN cat /proc/sys/kernel/random/uuid >/tmp/installed-too
COPY --from=maker /made /made
CMD [\"cat\", \"/made\"]
//- src/shop/pip mode=755
#!/bin/sh
cat /proc/sys/kernel/random/uuid >/installed-by-pip
//- src/shop/requirements.txt
flask
//- src/shop/main.txt
first
//- src/till/Dockerfile
FROM base:1
COPY till.txt /
//- src/till/till.txt
till
";

/// Runs the program on a tree and an engine; the exit code is as expected.
#[track_caller]
fn run(world: &World, root: &Path, args: &[&str], expect: i32) -> String {
    ended(world.program(root).args(args).arg("--offline"), expect)
}

/// A registry on this machine that nobody may ask; says whether somebody did.
fn forbidden_registry() -> (String, impl Fn() -> bool) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let domain = listener.local_addr().unwrap().to_string();
    (domain, move || listener.accept().is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_here_for_another_platform_is_looked_for_nowhere() {
    let test = "a_base_that_is_here_for_another_platform_is_looked_for_nowhere";
    let world = match private_world(None).await {
        Ok(world) => world,
        Err(cause) => {
            assert!(std::env::var_os("CI").is_none(), "{test}: CI needs an engine, but {cause}");
            eprintln!("skipped: {test}: {cause}");
            return;
        }
    };
    let (domain, was_asked) = forbidden_registry();
    let own = Platform::local();
    let other: Platform = if own.arch == "arm64" { "linux/amd64" } else { "linux/arm64" }.parse().unwrap();
    // Here for the engine's own platform and wanted for another one, and the other way round.
    for (found, wanted) in [(&own, Some(&other)), (&other, None)] {
        let name = format!("{domain}/team/base:{}", found.arch);
        // Engines before 23 import everything as their own platform; a builder gives what is asked.
        let spec = BuildSpec {
            tags: vec![name.parse().unwrap()],
            platform: found.clone(),
            ..world.spec("foreign", "FROM scratch\nCOPY file /\n", vec![world.file("file", "x", 0o644)])
        };
        world.build(&spec).await.unwrap();
        let tree = TestTree::new(&format!("//- src/shop/Dockerfile\nFROM {name}\n"));
        let asked = wanted.map(ToString::to_string);
        let mut args = vec!["build"];
        args.extend(asked.iter().flat_map(|platform| ["--platform", platform]));
        let told = run(&world, &tree.root(), &args, 13);
        assert!(told.contains(&format!("is here for {found} only")), "{told}");
        assert!(!was_asked(), "{told}");
    }
}

/// The phase that the newest record ends with.
fn last_phase(root: &Path) -> String {
    let events = std::fs::read_to_string(root.join("target/xtask/runs/latest/events.ndjson")).unwrap();
    let mut phases = events.lines().filter(|line| line.contains("phase-finished"));
    let last: serde_json::Value = serde_json::from_str(phases.next_back().unwrap()).unwrap();
    last["phase"].as_str().unwrap().to_owned()
}

async fn layers(world: &World, name: &str) -> Vec<Digest> {
    let name: Reference = name.parse().unwrap();
    world.engine.details(&name).await.unwrap().unwrap().layers
}

/// What a container of the image prints.
async fn printed(world: &World, name: &str) -> String {
    let id = world.engine.run(&ContainerSpec::of(name.parse().unwrap())).await.unwrap();
    for _ in 0..200 {
        if !world.engine.container(&id).await.unwrap().is_some_and(|state| state.running) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lines = world.engine.logs(&id).await.unwrap();
    world.engine.remove_container(&id).await.unwrap();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}

/// Named by digest in every place that takes an image, with a tag and without one.
const PINNED: &str = "
//- src/shop/Dockerfile
ARG BASE=BOTH
FROM $BASE AS maker
RUN cat /proc/sys/kernel/random/uuid >/installed
COPY main.txt /
RUN cat /main.txt >/made

FROM DIGEST
COPY --from=maker /installed /made /
COPY --from=BOTH /etc /etc-too
RUN --mount=type=bind,from=DIGEST,target=/m ls /m >/listed
//- src/shop/main.txt
first
";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pinned_by_digest_is_built_on_where_it_was_only_loaded() {
    let test = "what_is_pinned_by_digest_is_built_on_where_it_was_only_loaded";
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
    let base: Reference = format!("{}/base:1", registry.domain()).parse().unwrap();
    here.engine.import(&here.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let digest = here.engine.push(&base, &|_| {}).await.unwrap();
    // Nobody can ask for it any more, and its tag is another image's there.
    drop(registry);
    let text = PINNED.replace("BOTH", &format!("{base}@{digest}"));
    let text = text.replace("DIGEST", &format!("{}@{digest}", base.repository()));
    let (sent, received) = (TestTree::new(&text), TestTree::new(&text));
    let file = sent.root().join("shop.tar");
    let bundle = file.to_str().unwrap();
    let told = run(&here, &sent.root(), &["bundle", "create", "-o", bundle], 0);
    assert!(!told.contains("warning"), "nothing of it cannot be rebuilt there: {told}");
    let told = run(&there, &received.root(), &["bundle", "load", bundle], 0);
    assert!(!told.contains("not given"), "{told}");
    there.engine.remove(&base).await.unwrap();
    for content in ["second\n", "third\n"] {
        received.write("src/shop/main.txt", content);
        run(&there, &received.root(), &["rebuild"], 0);
    }
    let (old, new) = (layers(&here, "shop:latest").await, layers(&there, "shop:latest").await);
    assert_eq!(old[0], new[0], "both stand on the base");
    // What came by a bundle goes on by a bundle.
    run(&there, &received.root(), &["bundle", "create", "-o", bundle], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_rebuilt_where_nothing_can_be_installed() {
    let test = "a_bundle_is_rebuilt_where_nothing_can_be_installed";
    let (here, there) = match (private_world(None).await, private_world(None).await) {
        (Ok(here), Ok(there)) if crate::support::find_program("busybox").is_some() => (here, there),
        (here, there) => {
            assert!(std::env::var_os("CI").is_none(), "{test}: CI needs two engines and busybox");
            eprintln!("skipped: {test}: {:?} {:?}", here.err(), there.err());
            return;
        }
    };
    let base = "base:1".parse().unwrap();
    here.engine.import(&here.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let (sent, received) = (TestTree::new(TREE), TestTree::new(TREE));
    let file = sent.root().join("shop.tar");
    let bundle = file.to_str().unwrap();
    run(&here, &sent.root(), &["bundle", "create", "-o", bundle], 0);
    assert_eq!(
        last_phase(&sent.root()),
        "save",
        "all of the command is on record, the part that takes longest too"
    );
    let told = run(&there, &received.root(), &["rebuild"], 13);
    assert!(told.contains("base:1"), "{told}");

    run(&there, &received.root(), &["bundle", "load", bundle], 0);
    run(&there, &received.root(), &["bundle", "load", bundle], 0);
    received.write("src/shop/main.txt", "second\n");
    run(&there, &received.root(), &["rebuild"], 0);
    if crate::support::find_program("docker-compose").is_some() {
        received.write("compose.yml", "services: {shop: {image: 'shop:latest'}}\n");
        run(&there, &received.root(), &["rebuild", "--down", "--up"], 0);
        assert_eq!(last_phase(&received.root()), "start", "what it started is on record too");
        run(&there, &received.root(), &["rebuild", "--down"], 0);
    } else {
        eprintln!("skipped: {test}: rebuild --up needs docker-compose");
    }
    let (old, new) = (layers(&here, "shop:latest").await, layers(&there, "shop:latest").await);
    assert_eq!(old[..old.len() - 1], new[..new.len() - 1], "the install step of the last stage ran again");
    assert_ne!(old.last(), new.last());
    let (old, new) = (printed(&here, "shop:latest").await, printed(&there, "shop:latest").await);
    let (installed, first) = old.split_once('\n').unwrap();
    assert_eq!(first, "first\n");
    assert_eq!(new, format!("{installed}\nsecond\n"), "the install step of the first stage ran again");

    // A change that needs a network is named before anything begins.
    received.write("src/shop/requirements.txt", "django\n");
    received.write("src/till/till.txt", "other\n");
    let before = layers(&there, "till:latest").await;
    let told = run(&there, &received.root(), &["rebuild"], 13);
    assert!(told.contains("src/shop/Dockerfile:5") && told.contains("pip install -r"), "{told}");
    assert_eq!(layers(&there, "till:latest").await, before, "{told}");

    // A delta holds what is new, and is refused where what it follows on is not.
    let (inventory, delta) = (sent.root().join("there.json"), sent.root().join("delta.tar"));
    let [inventory, delta] = [&inventory, &delta].map(|path| path.to_str().unwrap());
    run(&there, &received.root(), &["bundle", "inventory", "-o", inventory], 0);
    sent.write("src/till/till.txt", "changed here\n");
    // What the old bundle brought has been rebuilt there since.
    for (since, expect) in [(bundle, 13), (inventory, 0)] {
        run(&here, &sent.root(), &["bundle", "create", "--since", since, "-o", delta], 0);
        let size = std::fs::metadata(delta).unwrap().len();
        assert!(size < 40_000, "{size} bytes for a change of one line");
        let told = run(&there, &received.root(), &["bundle", "load", delta], expect);
        assert!(expect == 0 || told.contains("(shop:latest)"), "{told}");
    }
    assert_eq!(layers(&there, "till:latest").await, layers(&here, "till:latest").await);
}
