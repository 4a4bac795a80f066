//! A builder that is no engine: an engine's builder, shown as a socket and as a TCP port that only speak BuildKit's API.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use xtask::engine::Store as _;
use xtask::model::{Indexes, Platform};

use crate::testing::TestTree;
use crate::world::{World, ended, found, other_hosts, quietly, real_world};

/// What an engine's endpoint passes on once it was asked for its builder.
async fn pass_on<S>(mut stream: S, engine: &Path) -> std::io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut far = UnixStream::connect(engine).await?;
    far.write_all(b"POST /grpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(far.read_u8().await?);
    }
    tokio::io::copy_bidirectional(&mut stream, &mut far).await.map(drop)
}

/// A socket that speaks BuildKit's API and nothing else.
fn bridge(socket: &Path, engine: &Path) -> tokio::task::JoinHandle<()> {
    let (listener, engine) = (UnixListener::bind(socket).unwrap(), engine.to_owned());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let engine = engine.clone();
            tokio::spawn(async move { pass_on(stream, &engine).await });
        }
    })
}

/// The program where no engine answers.
fn xtask(world: &World, tree: &TestTree, words: &str, code: i32) -> String {
    let mut command = world.named_program(tree);
    command.env("DOCKER_HOST", "unix:///no/engine.sock").env("XTASK_NETWORK", "external");
    command.env("BUILDX_CONFIG", tree.root().join("buildx"));
    ended(command.args(words.split_whitespace()), code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_and_a_registry_are_enough() {
    let Some(world) = real_world("a_builder_and_a_registry_are_enough").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    if !world.engine.observe().await.unwrap().keeps_manifests() {
        found("its builder as a `--builder`", "no: it pushes nothing");
        return world.clean_up().await;
    }
    let Some(engine) = world.host.strip_prefix("unix://") else { return world.clean_up().await };
    let there = world.remote("base:1");
    world.engine.tag(&base, &there).await.unwrap();
    world.engine.push(&there, quietly()).await.unwrap();
    world.forget().await;
    let tree = TestTree::new(&format!(
        "//- src/low/Dockerfile\nFROM {0}\nRUN cat /etc/test > /low\n\
         //- src/high/Dockerfile\nFROM {0} AS tools\nFROM {1}/low\nCOPY --from=tools /bin/busybox /again\nCOPY app /\n\
         RUN test -s /low && test -s /again && test -s /app\n//- src/high/app\n1\n",
        there.familiar(),
        world.prefix,
    ));
    let socket = tree.root().join("bk.sock");
    let bridge = bridge(&socket, Path::new(engine));
    let flags = format!("--registry {}/x --builder unix://{}", world.registry, socket.display());
    let told = xtask(&world, &tree, &format!("build-all --push {flags}"), 0);
    assert!(told.contains("2 built, 2 verified"), "{told}");
    assert!(world.engine.observe().await.unwrap().find(&there).is_none(), "the engine itself got nothing");
    let told = xtask(&world, &tree, &format!("build-all --push {flags}"), 0);
    assert!(told.contains("2 up to date") && !told.contains("built"), "{told}");
    tree.write("src/high/app", "2\n");
    let told = xtask(&world, &tree, &format!("plan {flags}"), 0);
    assert!(told.contains("source changed: app") && !told.contains("alias"), "{told}");
    // An instance of two nodes, of which one is away.
    tree.write(
        "buildx/instances/pair",
        format!(
            r#"{{"Name":"pair","Driver":"remote","Nodes":[{{"Name":"away","Endpoint":"unix:///no/builder.sock"}},
            {{"Name":"here","Endpoint":"unix://{}"}}]}}"#,
            socket.display()
        ),
    );
    let listed = xtask(&world, &tree, "builder list", 0);
    assert!(listed.contains("pair") && listed.contains("no answer") && listed.contains("linux/"), "{listed}");
    let pair = format!("--registry {}/x --builder pair", world.registry);
    let cache = format!("{0}/cache --cache-from {0}/cache", world.registry);
    let told = xtask(&world, &tree, &format!("build-all --push {pair} --cache-to {cache}"), 0);
    let kept = format!("{}/cache/{}/high:bake-amd64", world.registry, world.prefix);
    let kept: xtask::model::Reference = kept.parse().unwrap();
    assert!(xtask::registry::Registry::default().manifest_digest(&kept, None).await.is_ok(), "{kept}");
    assert!(told.contains("1 built") && told.contains("1 up to date"), "{told}");
    // An index with what the build states about its image is the image all the same.
    let high: xtask::model::Reference =
        format!("{}/x/{}/high:latest", world.registry, world.prefix).parse().unwrap();
    xtask(&world, &tree, &format!("build-all --push {pair} --only high --force --provenance"), 0);
    let registry = xtask::registry::Registry::default();
    let index = registry.manifest_digest(&high, None).await.unwrap();
    assert_ne!(registry.manifest_digest(&high, Some(&Platform::local())).await.unwrap(), index);
    let told = xtask(&world, &tree, &format!("build-all --push {pair}"), 0);
    assert!(told.contains("2 up to date") && !told.contains("built"), "{told}");

    // The key is the same wherever it is looked at: an engine that pulls the images has nothing to build.
    for name in ["low", "high"] {
        let image: xtask::model::Reference =
            format!("{}/x/{}/{name}:latest", world.registry, world.prefix).parse().unwrap();
        world.engine.pull(&image, &Platform::local(), quietly()).await.unwrap();
    }
    let told = world.xtask(&tree, &format!("build-all --registry {}/x", world.registry), 0);
    assert_eq!(told.matches("lacks the name").count(), 2, "only plain names are given: {told}");
    assert!(!told.contains("changed") && !told.contains("not built yet"), "{told}");

    tree.write("src/low/Dockerfile", format!("FROM {}\nRUN exit 3\n", there.familiar()));
    let told = xtask(&world, &tree, &format!("build-all --push {flags}"), 3);
    assert!(told.contains("src/low/Dockerfile:2: `RUN exit 3` exited with status 3"), "{told}");
    bridge.abort();
    let told =
        xtask(&world, &tree, &format!("build-all --push --registry {}/x --builder away", world.registry), 12);
    assert!(told.contains("no builder `away`") && told.contains("there: pair"), "{told}");
    world.forget().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_platforms_make_an_index() {
    let Some(world) = real_world("several_platforms_make_an_index").await else { return };
    let Some(engine) = world.host.strip_prefix("unix://") else { return world.clean_up().await };
    if world.engine.indexes().await.unwrap() == Indexes::NotKept {
        // One that keeps one platform under a name refuses before it does anything.
        let tree = TestTree::new("//- src/a/Dockerfile\nFROM scratch\nCOPY f /\n//- src/a/f\n1\n");
        let told = world.xtask(&tree, "build-all --platform linux/amd64,linux/arm64", 12);
        assert!(told.contains("keeps one platform under a name") && told.contains("--builder"), "{told}");
        return world.clean_up().await;
    }
    let tree = TestTree::new(
        "//- src/low/Dockerfile\nFROM scratch\nCOPY f /low\n//- src/low/f\nlow\n\
         //- src/high/Dockerfile\nFROM --platform=$BUILDPLATFORM low AS tools\nFROM low\nARG TARGETARCH\n\
         COPY --from=tools /low /again\nCOPY f /high-$TARGETARCH\n//- src/high/f\nhigh\n",
    );
    let socket = tree.root().join("bk.sock");
    let bridge = bridge(&socket, Path::new(engine));
    let on = "--platform linux/amd64,linux/arm64";
    let flags = format!("--registry {}/x --builder unix://{} {on}", world.registry, socket.display());
    let told = xtask(&world, &tree, &format!("build-all --push {flags}"), 0);
    assert!(told.contains("4 built, 2 indexed, 4 verified"), "{told}");
    let told = xtask(&world, &tree, &format!("build-all --push {flags}"), 0);
    assert!(told.contains("4 verified, 6 up to date") && !told.contains("built"), "{told}");
    // Both platforms answer to one name, each with its own content.
    let registry = xtask::registry::Registry::default();
    let high: xtask::model::Reference =
        format!("{}/x/{}/high:latest", world.registry, world.prefix).parse().unwrap();
    let [amd, arm] = ["amd64", "arm64"].map(|arch| Platform::new("linux", arch, None));
    let amd = registry.manifest_digest(&high, Some(&amd)).await.unwrap();
    assert_ne!(amd, registry.manifest_digest(&high, Some(&arm)).await.unwrap());
    // One platform alone is stale: a change that only it reads.
    tree.write("src/low/f", "other\n");
    let told = xtask(&world, &tree, &format!("build-all --push {flags} --only low"), 0);
    assert!(told.contains("2 built, 1 indexed"), "{told}");
    bridge.abort();

    // The same on the engine itself, which keeps the index and pushes it whole.
    let told = world.xtask(&tree, &format!("build-all v1 {on}"), 0);
    assert!(told.contains("4 built, 2 indexed, 4 verified"), "{told}");
    let told = world.xtask(&tree, &format!("build-all v1 {on}"), 0);
    assert!(told.contains("4 verified, 6 up to date") && !told.contains("built"), "{told}");
    world.xtask(&tree, &format!("push-all v1 {on} --registry {}/e", world.registry), 0);
    let pushed: xtask::model::Reference =
        format!("{}/e/{}/high:v1", world.registry, world.prefix).parse().unwrap();
    assert!(registry.manifest_digest(&pushed, Some(&arm)).await.is_ok());
    world.forget().await;
}

/// What another engine's builder makes of a tree for this engine: everything that it builds on is lent, and all is loaded.
async fn fills(world: &World, builder: &Path) {
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let tree = TestTree::new(&format!(
        "//- src/low/Dockerfile\nFROM {0}\nRUN cat /etc/test > /low\n\
         //- src/high/Dockerfile\nFROM {0} AS tools\nFROM {1}/low\nCOPY --from=tools /bin/busybox /again\nCOPY app /\n\
         RUN test -s /low && test -s /again && test -s /app\nLABEL of=author\n//- src/high/app\n1\n",
        base.familiar(),
        world.prefix,
    ));
    let socket = tree.root().join("bk.sock");
    let bridge = bridge(&socket, builder);
    let flags = format!("build-all --builder unix://{}", socket.display());
    let told = world.xtask(&tree, &flags, 0);
    assert!(told.contains("2 built, 2 verified"), "{told}");
    let high = world.reference("high:latest");
    let found = world.engine.inspect(&high).await.unwrap().unwrap();
    assert_eq!(found.labels["of"], "author");
    // The key is the one that a build on the engine itself would give.
    for flags in [&flags, "build-all"] {
        let told = world.xtask(&tree, flags, 0);
        assert!(told.contains("2 up to date") && !told.contains("built"), "{told}");
    }
    // What fails leaves the image as it was.
    tree.write("src/low/Dockerfile", format!("FROM {}\nRUN exit 3\n", base.familiar()));
    let told = world.xtask(&tree, &flags, 3);
    assert!(told.contains("src/low/Dockerfile:2: `RUN exit 3` exited with status 3"), "{told}");
    assert_eq!(world.engine.inspect(&high).await.unwrap().unwrap().id, found.id);
    bridge.abort();
    world.forget().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_beside_an_engine_fills_it() {
    let Some(world) = real_world("a_builder_beside_an_engine_fills_it").await else { return };
    let Some(builder) = world.host.strip_prefix("unix://").map(Path::new) else { return };
    if !world.engine.observe().await.unwrap().keeps_manifests() {
        // Of the builders in engines, only those beside containerd give an image away.
        found("its builder as a `--builder` for an engine", "no: it exports nothing");
        return;
    }
    fills(&world, builder).await;
    for host in other_hosts() {
        fills(&world.on(&host).await, builder).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_enough_for_what_is_built_elsewhere() {
    let Some(world) = real_world("a_folder_is_enough_for_what_is_built_elsewhere").await else { return };
    let Some(engine) = world.host.strip_prefix("unix://").map(Path::new) else { return };
    if !world.engine.observe().await.unwrap().keeps_manifests() {
        // As above.
        return world.clean_up().await;
    }
    let tree = TestTree::new(&format!(
        "//- src/low/Dockerfile\nFROM scratch\nCOPY app /low\n//- src/low/app\n1\n\
         //- src/high/Dockerfile\nFROM {}/low\nCOPY app /\n//- src/high/app\n1\n",
        world.prefix,
    ));
    let socket = tree.root().join("bk.sock");
    let bridge = bridge(&socket, engine);
    let images = tree.root().join("images");
    let words = format!("build-all --builder unix://{} --output oci:{}", socket.display(), images.display());
    let told = xtask(&world, &tree, &words, 0);
    assert!(told.contains("2 built, 2 verified"), "{told}");
    let index = std::fs::read_to_string(images.join("index.json")).unwrap();
    for name in ["low", "high"] {
        assert!(index.contains(&format!("\"{}/{name}:latest\"", world.prefix)), "{index}");
    }
    let told = xtask(&world, &tree, &words, 0);
    assert!(told.contains("2 up to date") && !told.contains("built"), "{told}");
    // What instructions leave is kept in a folder, and looked for there, each image's by itself.
    let cached = format!("{words} --skip-cache-check --cache-from type=local,src=cache");
    xtask(&world, &tree, &format!("{cached} --cache-to type=local,dest=cache,mode=max"), 0);
    let kept = std::fs::read_to_string(tree.root().join("cache/index.json")).unwrap();
    assert_eq!(kept.matches(&format!("-{}\"", Platform::local().arch)).count(), 2, "{kept}");
    let told = xtask(&world, &tree, &cached, 0);
    assert!(told.contains("2 built"), "{told}");
    // The same sources make the same image.
    let index = || std::fs::read(images.join("index.json")).unwrap();
    let again = |epoch: &str| {
        let mut command = world.named_program(&tree);
        command.env("DOCKER_HOST", "unix:///no/engine.sock").env("SOURCE_DATE_EPOCH", epoch);
        let told = ended(command.args(words.split_whitespace()).args(["--force", "--reproducible"]), 0);
        assert!(told.contains("2 built"), "{told}");
    };
    again("1700000000");
    let first = index();
    again("1700000000");
    assert_eq!(index(), first);
    again("1600000000");
    assert_ne!(index(), first);
    bridge.abort();
    world.forget().await;
}

/// A folder with an image of one variable and no layers, called `v1`.
fn layout(tree: &TestTree, folder: &str) {
    let blob = |text: &str| {
        let digest = xtask::model::sha256(text.as_bytes());
        tree.write(&format!("{folder}/blobs/sha256/{}", digest.hex()), text);
        format!(r#""digest":"{digest}","size":{}"#, text.len())
    };
    let platform = Platform::local();
    let config = blob(&format!(
        r#"{{"os":"linux","architecture":"{}","config":{{"Env":["MADE=elsewhere"]}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#,
        platform.arch
    ));
    let kind = "application/vnd.oci.image";
    let manifest = blob(&format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json","config":{{"mediaType":"{kind}.config.v1+json",{config}}},"layers":[]}}"#
    ));
    tree.write(&format!("{folder}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    tree.write(
        &format!("{folder}/index.json"),
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{kind}.manifest.v1+json",{manifest},"annotations":{{"org.opencontainers.image.ref.name":"v1"}}}}]}}"#
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_a_folder_is_built_on() {
    let Some(world) = real_world("an_image_in_a_folder_is_built_on").await else { return };
    let tree = TestTree::new(
        "//- src/api/Dockerfile\nFROM base\nCOPY app /app\n//- src/api/app\n1\n\
         //- .config/xtask.toml\n[contexts]\nbase = 'oci-layout://images:v1'\n",
    );
    layout(&tree, "images");
    if !world.engine.observe().await.unwrap().keeps_manifests() {
        let told = world.xtask(&tree, "build-all", 12);
        assert!(told.contains("src/api/Dockerfile: `base` is oci-layout://images"), "{told}");
        found("an image in a folder (`oci-layout://`)", "no: its builder has no source for it");
        return world.clean_up().await;
    }
    let told = world.xtask(&tree, "build-all", 0);
    assert!(told.contains("1 built, 1 verified"), "{told}");
    let image = format!("{}/api:latest", world.prefix).parse().unwrap();
    let details = world.engine.details(&image).await.unwrap().unwrap();
    assert_eq!(details.env.get("MADE").map(String::as_str), Some("elsewhere"), "{details:?}");
    let told = world.xtask(&tree, "build-all", 0);
    assert!(told.contains("1 up to date"), "{told}");
    world.clean_up().await;
}
