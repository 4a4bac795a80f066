//! What every engine has to do, in the order in which a first run would ask for it.

use std::time::{Duration, SystemTime};

use xtask::build::{BuildError, Builder as _};
use xtask::bundle::deliver::{Present, deliver, lacking};
use xtask::bundle::fetch::fetch;
use xtask::bundle::manifest::{NamedImage, chain_ids};
use xtask::bundle::store::BlobStore;
use xtask::engine::{Containers as _, EngineError, FakeBehaviour, FakeEngine, Store as _, Verb};
use xtask::host::inside::Folder;
use xtask::model::{
    ContainerId, ContainerSpec, ContainerState, ExecOutput, Health, LogStream, Platform, PublishedPort,
};

use crate::world::{World, quietly, real_world};

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_engine_keeps_the_contract() {
    let fake = FakeEngine::new();
    let say = |stream, line: &str| (stream, line.to_owned());
    let answer = |exit_code, stdout: &str, stderr: &str| ExecOutput {
        exit_code,
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    };
    fake.behave(
        "served",
        FakeBehaviour {
            health: vec![Health::Starting, Health::Healthy],
            logs: vec![say(LogStream::Stdout, "out \u{fffd}"), say(LogStream::Stderr, "err")],
            answers: vec![
                ("cat /etc/who", answer(0, "me\n", "")),
                ("sh -c", answer(7, "a\u{fffd}b\n", "bad\n")),
                ("env", answer(0, "SAID=so\n", "")),
            ],
            ..FakeBehaviour::default()
        },
    );
    fake.behave("ending", FakeBehaviour { exits: Some(3), ..FakeBehaviour::default() });
    contract(&World::new(fake.clone().into(), None)).await;
    assert!(fake.count(Verb::Build) > 5);
    assert!(fake.builds().iter().any(|build| build.files.contains(&"a file.txt".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_engine_keeps_the_contract() {
    if let Some(world) = real_world("a_real_engine_keeps_the_contract").await {
        contract(&world).await;
    }
}

pub async fn contract(world: &World) {
    nothing_is_there(world).await;
    import_makes_a_base_image(world).await;
    tags_are_names(world).await;
    a_build_sees_exactly_its_files(world).await;
    a_changed_file_changes_the_image(world).await;
    a_target_ends_the_build_at_its_stage(world).await;
    a_failing_instruction_is_named(world).await;
    a_missing_base_is_named(world).await;
    a_file_that_is_not_as_listed_stops_the_build(world).await;
    images_travel_through_a_registry(world).await;
    images_come_out_and_go_in(world).await;
    a_dropped_build_is_over(world).await;
    an_image_says_what_it_is(world).await;
    a_container_runs_and_goes(world).await;
    a_container_that_cannot_run_is_no_container(world).await;
    images_come_out_and_go_in(world).await;
    world.clean_up().await;
}

async fn nothing_is_there(world: &World) {
    let observed = world.engine.observe().await.unwrap();
    let capabilities = observed.capabilities.clone().unwrap();
    assert!(capabilities.buildkit && capabilities.api >= (1, 41), "{capabilities:?}");
    assert_eq!(capabilities.platform, Platform::local());
    let nothing = world.reference("nothing:1");
    assert!(observed.find(&nothing).is_none());
    assert_eq!(world.engine.inspect(&nothing).await.unwrap(), None);
    world.engine.remove(&nothing).await.expect("absent is fine");
    let error = world.engine.tag(&nothing, &world.reference("other:1")).await.unwrap_err();
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
}

async fn import_makes_a_base_image(world: &World) {
    let odd = "a \"quoted\" $HOME \\ text";
    let labels = [("xtask.test".to_owned(), odd.to_owned()), ("xtask.empty".to_owned(), String::new())];
    let base = world.reference("base:1");
    let id = world.engine.import(&world.rootfs(), &base, &Platform::local(), &labels.into()).await.unwrap();
    let observed = world.engine.observe().await.unwrap();
    let image = observed.find(&base).expect("listed");
    assert_eq!(image.id, id);
    assert_eq!(image.labels.get("xtask.test").map(String::as_str), Some(odd));
    assert_eq!(image.labels.get("xtask.empty").map(String::as_str), Some(""));
    assert!(image.size > 0);
    let inspected = world.engine.inspect(&base).await.unwrap().expect("there");
    assert_eq!(inspected.platform, Some(Platform::local()));
    assert_eq!((inspected.id, inspected.names), (id, vec![base]));
}

async fn tags_are_names(world: &World) {
    let (base, other) = (world.reference("base:1"), world.reference("base:other"));
    world.engine.tag(&base, &other).await.unwrap();
    let observed = world.engine.observe().await.unwrap();
    let image = observed.find(&base).expect("listed");
    assert_eq!(observed.find(&other).map(|image| &image.id), Some(&image.id));
    assert!(image.names.contains(&base) && image.names.contains(&other));
    let is_named_by_id = observed.keeps_manifests();
    for (pattern, expected) in [
        (base.familiar(), [true, false]),
        (base.familiar_repository(), [true, true]),
        (format!("{}/*:other", world.prefix), [false, true]),
        (world.prefix.clone(), [false, false]),
    ] {
        let observed = world.engine.observe_names(&[world.prefix.clone(), pattern.clone()]).await.unwrap();
        assert!(observed.is_partial() && observed.capabilities.is_some());
        assert_eq!([&base, &other].map(|name| observed.find(name).is_some()), expected, "{pattern}");
        let listed = observed.images().iter().flat_map(|image| &image.names);
        assert_eq!(listed.count(), expected.iter().filter(|is_here| **is_here).count(), "{pattern}");
        assert_eq!(observed.keeps_manifests(), is_named_by_id && expected != [false, false], "{pattern}");
    }
    world.engine.remove(&other).await.unwrap();
    let observed = world.engine.observe().await.unwrap();
    assert!(observed.find(&base).is_some() && observed.find(&other).is_none());
}

async fn a_build_sees_exactly_its_files(world: &World) {
    let files = vec![
        world.file("a file.txt", "hello\n", 0o644),
        world.file("run.sh", "#!/bin/sh\necho ran\n", 0o755),
        world.file("dir/secret", "s", 0o600),
        world.file("dir/äöü", "umlaut", 0o644),
        world.file("dir.d/x", "x", 0o644),
        world.directory("empty", 0o750),
        world.symlink("link", "dir/äöü"),
        world.symlink("broken", "/nowhere"),
    ];
    world.file("ignored.txt", "never sent", 0o644);
    world.file(".dockerignore", "*\n", 0o644);
    world.file("app.Dockerfile", "not this text", 0o644);
    let text = r#"
ARG WHO
FROM BASE
ARG WHO
COPY . /app/
COPY ["a file.txt", "/copy/"]
RUN test "$(cat '/app/a file.txt')" = hello && test "$WHO" = me
RUN test "$(/app/run.sh)" = ran && test "$(stat -c %a /app/dir/secret)" = 600
RUN test "$(stat -c %a /app/empty)" = 750 && test "$(stat -c %u:%g /app/run.sh)" = 0:0
RUN test "$(readlink /app/link)" = dir/äöü && test "$(cat /app/link)" = umlaut && test -L /app/broken
RUN test "$(ls -A /app | tr '\n' ,)" = "a file.txt,broken,dir,dir.d,empty,link,run.sh,"
"#;
    let mut spec = world.spec("app:1", &text.replace("| tr '\\n' ,", "| /bin/busybox tr '\\n' ,"), files);
    spec.build_args.insert("WHO".to_owned(), "me".to_owned());
    spec.labels.insert("xtask.key".to_owned(), "sha256:\"x\" & $y".to_owned());
    spec.tags.push(world.reference("app:also"));
    let id = world.build(&spec).await.unwrap();

    let observed = world.engine.observe().await.unwrap();
    for tag in &spec.tags {
        let image = observed.find(tag).expect("tagged");
        assert_eq!(image.id, id);
        assert_eq!(image.labels.get("xtask.key"), spec.labels.get("xtask.key"));
    }
    let inspected = world.engine.inspect(&spec.tags[0]).await.unwrap().expect("there");
    assert_eq!(inspected.platform, Some(Platform::local()));
    assert_eq!(world.build(&spec).await.unwrap(), id, "nothing changed, so nothing changes");
}

async fn a_changed_file_changes_the_image(world: &World) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let touch = |path: &str| {
        let file =
            std::fs::File::options().write(true).open(world.path().join("context").join(path)).unwrap();
        file.set_modified(time).unwrap();
    };
    let text = "FROM BASE\nCOPY one two /x/\nARG WANT\nRUN test \"$(cat /x/one)\" = \"$WANT\"\n";
    let mut ids = Vec::new();
    // The last but one differs from its predecessor by content alone: same size, same time.
    for content in ["first", "other", "third", "first"] {
        // More than an instruction asks for does no harm.
        let files = vec![
            world.file("one", content, 0o644),
            world.file("two", "2", 0o644),
            world.file("z", "", 0o644),
        ];
        touch("one");
        touch("two");
        let mut spec = world.spec("changing:1", text, files);
        spec.build_args.insert("WANT".to_owned(), content.to_owned());
        ids.push(world.build(&spec).await.unwrap());
    }
    assert_ne!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
    assert_eq!(ids[0], ids[3]);
}

async fn a_target_ends_the_build_at_its_stage(world: &World) {
    let text = "FROM BASE AS builder\nRUN touch /built\nFROM BASE AS broken\nRUN exit 9\nFROM BASE\nCOPY --from=builder /built /\n";
    let mut spec = world.spec("staged:builder", text, Vec::new());
    spec.target = Some("builder".to_owned());
    world.build(&spec).await.unwrap();
    spec.target = Some("nowhere".to_owned());
    let error = world.build(&spec).await.unwrap_err();
    let BuildError::Failed { cause, .. } = &error else { panic!("{error:?}") };
    assert!(cause.contains("nowhere"), "{cause}");
}

async fn a_failing_instruction_is_named(world: &World) {
    let text =
        "FROM BASE AS base\nRUN echo fine\n\n# why\nRUN echo one && echo two && exit 3\nRUN echo never\n";
    let spec = world.spec("failing:1", text, Vec::new());
    let error = world.build(&spec).await.unwrap_err();
    let BuildError::Failed { instruction, line, exit_code, last_lines, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*line, Some(5));
    assert_eq!(instruction.as_deref(), Some("RUN echo one && echo two && exit 3"));
    assert_eq!(*exit_code, Some(3));
    assert_eq!(last_lines, &["one", "two"]);
    assert_eq!(world.engine.inspect(&spec.tags[0]).await.unwrap(), None);
}

async fn a_missing_base_is_named(world: &World) {
    let missing = world.remote("missing:1").familiar();
    let spec = world.spec("baseless:1", &format!("FROM {missing}\n"), Vec::new());
    let error = world.build(&spec).await.unwrap_err();
    let BuildError::Failed { instruction: None, cause, .. } = &error else { panic!("{error:?}") };
    assert!(cause.contains(&missing), "{cause}");
}

async fn a_file_that_is_not_as_listed_stops_the_build(world: &World) {
    let context = world.path().join("context");
    for (content, expect) in [
        (Some("longer"), "size 5 became 6"),
        (Some("hullo"), "content 2cf24dba5fb0 became 7835066a1457"),
        (None, "vanished"),
    ] {
        let files = vec![world.file("unsteady", "hello", 0o644)];
        match content {
            Some(content) => std::fs::write(context.join("unsteady"), content).unwrap(),
            None => std::fs::remove_file(context.join("unsteady")).unwrap(),
        }
        let spec = world.spec("unsteady:1", "FROM BASE\nCOPY unsteady /\n", files);
        let error = world.build(&spec).await.unwrap_err();
        let wanted = BuildError::ContextChanged { path: "unsteady".to_owned(), what: expect.to_owned() };
        assert_eq!(error, wanted);
    }
    // It does not spoil the next one.
    let files = vec![world.file("unsteady", "hello", 0o644)];
    let text = "FROM BASE\nCOPY unsteady /\nRUN test \"$(cat /unsteady)\" = hello\n";
    world.build(&world.spec("unsteady:1", text, files)).await.unwrap();
}

async fn images_travel_through_a_registry(world: &World) {
    let (base, remote) = (world.reference("base:1"), world.remote("base:1"));
    let platform = Platform::local();
    let error = world.engine.pull(&remote, &platform, quietly()).await.unwrap_err();
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    let error = world.engine.push(&remote, quietly()).await.unwrap_err();
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");

    world.engine.tag(&base, &remote).await.unwrap();
    let digest = world.engine.push(&remote, quietly()).await.unwrap();
    let id = world.engine.inspect(&base).await.unwrap().expect("there").id;
    world.engine.remove(&remote).await.unwrap();
    assert_eq!(world.engine.inspect(&remote).await.unwrap(), None);
    world.engine.pull(&remote, &platform, quietly()).await.unwrap();
    assert_eq!(world.engine.inspect(&remote).await.unwrap().expect("pulled").id, id);

    let pinned = format!("{}@{digest}", remote.repository()).parse().unwrap();
    world.engine.pull(&pinned, &platform, quietly()).await.unwrap();
    let observed = world.engine.observe().await.unwrap();
    assert_eq!(observed.find(&pinned).map(|image| &image.id), Some(&id));

    // A base image that only the registry has is fetched by the build itself.
    world.engine.remove(&remote).await.unwrap();
    let spec = world.spec("travelled:1", &format!("FROM {}\nRUN echo hi\n", remote.familiar()), Vec::new());
    world.build(&spec).await.unwrap();
}

async fn images_come_out_and_go_in(world: &World) {
    let folder = world.path().join("blobs");
    let store = BlobStore::open(&Folder::making(&folder).unwrap(), ".").unwrap();
    let (base, child) = (world.reference("base:1"), world.reference("carried:1"));
    let text = "FROM BASE\nRUN echo once > /once\n";
    let id = world.build(&world.spec("carried:1", text, Vec::new())).await.unwrap();
    let names = [base.clone(), child.clone()];
    let images = fetch(&world.engine, &store, &names, quietly()).await.unwrap();
    // What a store calls an image is its own affair; what is in it is not.
    let identity = async |name| world.engine.details(name).await.unwrap().expect("there").identity;
    let was = identity(&child).await;
    assert_eq!(images[1].identity, was);
    assert!(images[1].chain_ids().starts_with(&images[0].chain_ids()));

    // The child goes, and comes back without the layer that is there.
    let details = world.engine.details(&base).await.unwrap().expect("there");
    world.engine.remove(&child).await.unwrap();
    let present = Present { layers: chain_ids(&details.layers).into_iter().collect(), ..Present::default() };
    let named = NamedImage { image: images[1].clone(), names: vec![child.clone()] };
    let own: usize = images[1].layers.len() - images[0].layers.len();
    assert_eq!(lacking(&named.image, &present.layers).len(), own);
    let done = deliver(
        &world.engine,
        &store,
        &[named],
        present,
        &Default::default(),
        &Default::default(),
        quietly(),
    )
    .await
    .unwrap();
    assert_eq!((done.loaded, done.present), (vec![child.clone()], 0));
    assert_eq!(identity(&child).await, was);
    assert_eq!(world.engine.inspect(&child).await.unwrap().expect("back").id, id);

    // An archive whose stream ends in an error changes nothing.
    let broken = futures_util::stream::iter([Ok(vec![0; 512].into()), Err(std::io::Error::other("cut off"))]);
    world.engine.load(Box::pin(broken)).await.unwrap_err();
    let error = world.engine.save(&[world.reference("nothing:1")]).await.err().expect("nothing is there");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    assert_eq!(world.engine.inspect(&child).await.unwrap().expect("still there").id, id);
}

async fn a_dropped_build_is_over(world: &World) {
    let spec = world.spec("sleepy:1", "FROM BASE\nRUN echo asleep && sleep 30\n", Vec::new());
    let (asleep, wake) = tokio::sync::oneshot::channel();
    let asleep = std::sync::Mutex::new(Some(asleep));
    let progress = |progress| {
        if matches!(&progress, xtask::engine::Progress::Log { line, .. } if line == "asleep") {
            asleep.lock().unwrap().take().map(|asleep| asleep.send(()));
        }
    };
    tokio::select! {
        result = world.engine.build(world.path(), &spec, &progress) => panic!("it should sleep: {result:?}"),
        woken = wake => woken.unwrap(),
    }
    assert_eq!(world.engine.inspect(&spec.tags[0]).await.unwrap(), None);
}

/// An image with everything that `details` tells, whose containers are healthy as soon as they are asked.
const SERVED: &str = r#"
FROM BASE
ENV WHO=me EMPTY= EQUAL=a=b
WORKDIR /srv
EXPOSE 8090 8080
VOLUME /data
STOPSIGNAL INT
LABEL xtask.test=served
HEALTHCHECK --interval=40s --timeout=5s --retries=3 CMD ["cat", "/etc/who"]
RUN echo me >/etc/who
USER 2000:2000
ENTRYPOINT ["sh", "-c", "printf 'out \\377\\n'; echo err >&2; exec sleep 300"]
CMD ["unused"]
"#;

async fn an_image_says_what_it_is(world: &World) {
    let spec = world.spec("served:1", SERVED, Vec::new());
    let id = world.build(&spec).await.unwrap();
    let details = world.engine.details(&spec.tags[0]).await.unwrap().expect("there");
    assert_eq!(details.id, id);
    assert!(details.size > 0 && !details.layers.is_empty());
    assert_eq!(details.platform, Platform::local());
    assert_eq!(world.engine.details(&world.reference("nothing:1")).await.unwrap(), None);
    if world.host.is_empty() {
        return;
    }
    assert_eq!((details.user.as_str(), details.workdir.as_str()), ("2000:2000", "/srv"));
    assert_eq!(
        ["WHO", "EMPTY", "EQUAL", "NONE"].map(|name| details.env.get(name).map(String::as_str)),
        [Some("me"), Some(""), Some("a=b"), None]
    );
    assert!(details.exposed_ports.iter().eq(["8080/tcp", "8090/tcp"]));
    assert!(details.volumes.iter().eq(["/data"]));
    assert_eq!(details.stop_signal.as_deref(), Some("INT"));
    assert_eq!(details.labels.get("xtask.test").map(String::as_str), Some("served"));
    assert_eq!((details.entrypoint.len(), details.cmd.as_slice()), (3, ["unused".to_owned()].as_slice()));
    let check = details.healthcheck.expect("a check");
    assert_eq!(
        (check.test[0].as_str(), check.interval, check.retries),
        ("CMD", Some(Duration::from_secs(40)), Some(3))
    );
}

async fn state(world: &World, id: &ContainerId) -> ContainerState {
    world.engine.container(id).await.unwrap().expect("there")
}

/// Asks until it is so.
async fn wait_for(
    world: &World,
    id: &ContainerId,
    is_so: impl Fn(&ContainerState) -> bool,
) -> ContainerState {
    let begin = std::time::Instant::now();
    loop {
        let state = state(world, id).await;
        if is_so(&state) {
            return state;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{state:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_container_runs_and_goes(world: &World) {
    let image = world.reference("served:1");
    let label = format!("xtask.test={}", world.prefix);
    let spec = ContainerSpec {
        env: [("SAID".to_owned(), "so".to_owned())].into(),
        ports: vec![PublishedPort { container: 8080, host: None }],
        labels: [("xtask.test".to_owned(), world.prefix.clone())].into(),
        name: Some(world.prefix.clone()),
        health_interval: Some(Duration::from_secs(1)),
        ..ContainerSpec::of(image.clone())
    };
    let id = world.engine.run(&spec).await.unwrap();
    assert_eq!(world.engine.containers(&label).await.unwrap(), std::slice::from_ref(&id));
    assert!(world.engine.containers("").await.unwrap().contains(&id));
    assert!(world.engine.containers("xtask.test=other").await.unwrap().is_empty());

    let healthy = wait_for(world, &id, |state| state.health == Health::Healthy).await;
    assert!(healthy.running && healthy.exit_code.is_none() && healthy.ports[&8080] > 0, "{healthy:?}");
    assert_eq!(healthy.name, world.prefix);
    assert_eq!(healthy.image, world.engine.inspect(&image).await.unwrap().map(|image| image.id));
    assert_eq!(healthy.labels.get("xtask.test"), Some(&world.prefix));

    let exec = async |command: &[&str]| world.engine.exec(&id, command).await.unwrap();
    assert_eq!(exec(&["cat", "/etc/who"]).await.stdout, "me\n");
    let output = exec(&["sh", "-c", "printf 'a\\377b\\n'; echo bad >&2; exit 7"]).await;
    assert_eq!(
        (output.exit_code, output.stdout.as_str(), output.stderr.as_str()),
        (7, "a\u{fffd}b\n", "bad\n")
    );
    assert!(matches!(exec(&["no-such-program"]).await.exit_code, 126 | 127));
    let mut logs = world.engine.logs(&id).await.unwrap();
    logs.sort_by_key(|(stream, _)| *stream == LogStream::Stderr);
    let expected = [(LogStream::Stdout, "out \u{fffd}"), (LogStream::Stderr, "err")];
    assert_eq!(logs, expected.map(|(stream, line)| (stream, line.to_owned())));

    // Its image keeps its last name while the container is there.
    assert!(world.engine.remove(&image).await.is_err());
    world.engine.stop(&id, Duration::from_secs(1)).await.unwrap();
    world.engine.stop(&id, Duration::from_secs(1)).await.expect("stopped already is fine");
    let ended = state(world, &id).await;
    assert!(!ended.running && ended.exit_code.is_some(), "{ended:?}");
    assert!(world.engine.exec(&id, &["env"]).await.is_err());
    world.engine.remove_container(&id).await.unwrap();
    world.engine.remove_container(&id).await.expect("absent is fine");
    world.engine.stop(&id, Duration::ZERO).await.expect("absent is fine");
    assert_eq!(world.engine.container(&id).await.unwrap(), None);
    assert!(world.engine.logs(&id).await.is_err());
    assert!(world.engine.containers(&label).await.unwrap().is_empty());
}

async fn a_container_that_cannot_run_is_no_container(world: &World) {
    let missing = ContainerSpec::of(world.reference("nothing:1"));
    let error = world.engine.run(&missing).await.unwrap_err();
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");

    let ending = world.spec("ending:1", "FROM BASE\nENTRYPOINT [\"sh\", \"-c\", \"exit 3\"]\n", Vec::new());
    world.build(&ending).await.unwrap();
    let id = world.engine.run(&ContainerSpec::of(ending.tags[0].clone())).await.unwrap();
    let ended = wait_for(world, &id, |state| !state.running).await;
    assert_eq!(ended.exit_code, Some(3));
    world.engine.remove_container(&id).await.unwrap();

    let label = || [("xtask.test".to_owned(), world.prefix.clone())].into();
    let taken = |port| ContainerSpec {
        ports: vec![PublishedPort { container: 8080, host: Some(port) }],
        labels: label(),
        ..ContainerSpec::of(world.reference("served:1"))
    };
    let first = world
        .engine
        .run(&ContainerSpec { ports: vec![PublishedPort { container: 8080, host: None }], ..taken(1) })
        .await;
    let first = first.unwrap();
    let port = state(world, &first).await.ports[&8080];
    world.engine.remove_container(&first).await.unwrap();
    let first = world.engine.run(&taken(port)).await.unwrap();
    let error = world.engine.run(&taken(port)).await.unwrap_err();
    assert!(matches!(error, EngineError::PortTaken(_)), "{error:?}");
    let left = world.engine.containers(&format!("xtask.test={}", world.prefix)).await.unwrap();
    assert_eq!(left, std::slice::from_ref(&first), "what did not start is not left behind");
    world.engine.remove_container(&first).await.unwrap();
}
