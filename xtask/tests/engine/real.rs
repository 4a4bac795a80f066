//! What only a real engine can show: processes that end, connections that break, registries out of reach.

use std::time::{Duration, Instant, SystemTime};

use xtask::build::{BuildError, Builder as _};
use xtask::engine::{Containers as _, EngineError, Progress, Store as _};
use xtask::model::{ContainerSpec, Platform};

use crate::support::{LOGIN, Registry, free_address};
use crate::world::{World, connect_to, private_world, quietly, real_world};

async fn import_base(world: &World) {
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
}

/// Whether a process with this command line runs on this machine.
fn is_running(command: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        std::fs::read(process.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim() == command)
    })
}

async fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let begin = Instant::now();
    while !ready() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_build_ends_its_processes() {
    let Some(world) = real_world("a_dropped_build_ends_its_processes").await else { return };
    import_base(&world).await;
    // The number tells this process from every other one on the machine.
    let command = format!("sleep {}", 100_000 + std::process::id());
    let spec = world.spec("sleepy:1", &format!("FROM BASE\nRUN exec {command}\n"), Vec::new());
    tokio::select! {
        result = world.build(&spec) => panic!("it should sleep: {result:?}"),
        () = wait_for("the start", || is_running(&command)) => {}
    }
    wait_for("the end", || !is_running(&command)).await;
    world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_is_gone() {
    let mut world = match private_world(None).await {
        Ok(world) => world,
        Err(cause) => {
            eprintln!("skipped: an_engine_that_dies_is_gone: {cause}");
            return;
        }
    };
    import_base(&world).await;
    // What runs outlives an engine that is killed, but not for long.
    let spec = world.spec("sleepy:1", "FROM BASE\nRUN echo asleep && sleep 30\n", Vec::new());
    let (asleep, wake) = tokio::sync::oneshot::channel();
    let asleep = std::sync::Mutex::new(Some(asleep));
    let progress = |progress| {
        if matches!(&progress, Progress::Log { line, .. } if line == "asleep") {
            asleep.lock().unwrap().take().map(|asleep| asleep.send(()));
        }
    };
    let mut private = world.private.take().expect("private");
    let (result, ()) = tokio::join!(world.engine.build(world.path(), &spec, &progress), async {
        wake.await.unwrap();
        private.kill();
    });
    assert!(matches!(result, Err(BuildError::Engine(EngineError::Gone(_)))), "{result:?}");
    let error = world.engine.observe().await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_where_nobody_listens_is_unreachable() {
    let Some(world) = real_world("a_registry_where_nobody_listens_is_unreachable").await else { return };
    let nowhere = format!("{}/nothing:1", free_address()).parse().unwrap();
    let error = world.engine.pull(&nowhere, &Platform::local(), quietly()).await.unwrap_err();
    assert!(matches!(error, EngineError::RegistryUnreachable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_being_made_is_found_and_nothing_comes_after_it() {
    let test = "what_is_still_being_made_is_found_and_nothing_comes_after_it";
    let Some(world) = real_world(test).await else { return };
    import_base(&world).await;
    let label = format!("{}=made", world.prefix);
    let spec = ContainerSpec {
        labels: [(world.prefix.clone(), "made".to_owned())].into(),
        command: vec!["sleep".to_owned(), "60".to_owned()],
        ..ContainerSpec::of(world.reference("base:1"))
    };
    for wait in 0..15 {
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_millis(wait * 4)) => {}
            made = world.engine.run(&spec) => drop(made.unwrap()),
        }
        for id in world.engine.containers(&label).await.unwrap() {
            world.engine.remove_container(&id).await.unwrap();
        }
    }
    // What an engine was asked for before is made before what it is asked for now.
    let last = world.engine.run(&spec).await.unwrap();
    assert_eq!(world.engine.containers(&label).await.unwrap(), std::slice::from_ref(&last));
    world.engine.remove_container(&last).await.unwrap();
    world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_run_side_by_side() {
    let Some(world) = real_world("builds_run_side_by_side").await else { return };
    import_base(&world).await;
    let specs: Vec<_> = (0..8)
        .map(|number| {
            let file = world.file(&format!("{number}/file"), &format!("content {number}"), 0o644);
            let text = format!("FROM BASE\nCOPY {number} /x/\nRUN cat /x/file\n");
            world.spec(&format!("side:{number}"), &text, vec![file])
        })
        .collect();
    let results = futures_util::future::join_all(specs.iter().map(|spec| world.build(spec))).await;
    for result in results {
        result.unwrap();
    }
    world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_builder_has_is_not_sent_again() {
    let Some(world) = real_world("what_the_builder_has_is_not_sent_again").await else { return };
    import_base(&world).await;
    let large = "large ".repeat(100_000);
    let mut sent = Vec::new();
    for content in ["one", "two!"] {
        let files = vec![world.file("large", &large, 0o644), world.file("small", content, 0o644)];
        // The large file is written twice here; an untouched one keeps its time.
        let file = std::fs::File::options().write(true).open(world.path().join("context/large")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000)).unwrap();
        let spec = world.spec("resent:1", "FROM BASE\nCOPY . /x/\n", files);
        let lines = std::sync::Mutex::new(Vec::new());
        let progress = |progress| {
            if let Progress::Log { line, .. } = progress {
                lines.lock().unwrap().push(line);
            }
        };
        world.engine.build(world.path(), &spec, &progress).await.unwrap();
        // `#5 [internal] load build context`, and later `#5 transferring 66 bytes`.
        let lines = lines.into_inner().unwrap();
        let find = |begin: &str, end: &str| {
            lines.iter().find_map(|line| line.strip_prefix(begin)?.strip_suffix(end)).unwrap().to_owned()
        };
        let step = find("#", " [internal] load build context");
        let bytes: u64 = find(&format!("#{step} transferring "), " bytes").parse().unwrap();
        sent.push(bytes);
    }
    assert!(sent[0] > 600_000, "{sent:?}");
    assert!(sent[1] < 10_000, "{sent:?}");
    world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_open_a_registry() {
    let Some(world) = real_world("credentials_open_a_registry").await else { return };
    let guarded = Registry::start_guarded().unwrap();
    let config = world.path().join("docker");
    std::fs::create_dir(&config).unwrap();
    let auths = format!(r#"{{"auths": {{"{}": {{"auth": "{LOGIN}"}}}}}}"#, guarded.domain());
    std::fs::write(config.join("config.json"), auths).unwrap();
    let known = connect_to(&world.host, Some(&config)).await.unwrap();
    let platform = Platform::local();

    import_base(&world).await;
    let base = world.reference("base:1");
    let remote = format!("{}/{}/base:1", guarded.domain(), world.prefix).parse().unwrap();
    world.engine.tag(&base, &remote).await.unwrap();
    let error = world.engine.push(&remote, quietly()).await.unwrap_err();
    assert!(matches!(error, EngineError::Denied(_)), "{error:?}");
    known.push(&remote, quietly()).await.unwrap();

    world.engine.remove(&remote).await.unwrap();
    let error = world.engine.pull(&remote, &platform, quietly()).await.unwrap_err();
    assert!(matches!(error, EngineError::Denied(_)), "{error:?}");
    // The builder asks our session who we are.
    let spec = world.spec("guarded:1", &format!("FROM {}\nRUN echo in\n", remote.familiar()), Vec::new());
    let error = world.build(&spec).await.unwrap_err();
    assert!(matches!(error, BuildError::Failed { instruction: None, .. }), "{error:?}");
    known.build(world.path(), &spec, quietly()).await.unwrap();
    known.pull(&remote, &platform, quietly()).await.unwrap();
    assert!(world.engine.inspect(&remote).await.unwrap().is_some());
    world.clean_up().await;
}
