use super::*;
use crate::engine::{FakeEngine, Verb, fake_image};
use crate::model::Capabilities;

fn spec(home: &Path, port: u16, lifetime: Lifetime) -> RegistrySpec {
    let labels = [("dev.xtask.run".to_owned(), "r1".to_owned())].into();
    RegistrySpec { home: home.display().to_string(), port, labels, lifetime }
}

/// A program that is a registry, or none on this machine, said aloud.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn program(test: &str) -> Option<RegistrySource> {
    let found = find_source(&Observed::nothing());
    if found.is_none() {
        eprintln!("skipped: {test}: there is no `docker-registry`");
    }
    found
}

/// A free port whose successor is free too.
fn two_ports() -> u16 {
    loop {
        let found = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        if found < u16::MAX && TcpListener::bind(("127.0.0.1", found + 1)).is_ok() {
            return found;
        }
    }
}

#[test]
fn an_image_comes_before_a_program() {
    let capabilities = Capabilities {
        name: "fake".into(),
        version: "1".into(),
        api: (1, 41),
        buildkit: true,
        platform: crate::model::Platform::local(),
        keeps: Default::default(),
    };
    let named = |names: &[&str]| {
        let names: Vec<Reference> = names.iter().map(|name| name.parse().expect("reference")).collect();
        let image = fake_image("x", &names.iter().collect::<Vec<_>>());
        find_source(&Observed::new(capabilities.clone(), vec![image]))
    };
    let image = |name: &str| Some(RegistrySource::Image(name.parse().expect("reference")));
    assert_eq!(named(&["registry:latest", "registry:2"]), image("registry:2"));
    assert_eq!(named(&["localhost/registry:2"]), image("localhost/registry:2"));
    assert!(!matches!(named(&["quay.io/a/registry:2"]), Some(RegistrySource::Image(_))));
}

#[tokio::test]
async fn a_program_takes_the_next_free_port_and_goes_without_trace() {
    let Some(source) = program("a_program_takes_the_next_free_port_and_goes_without_trace") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("registries").join("one");
    let port = two_ports();
    let taken = TcpListener::bind(("127.0.0.1", port)).expect("free");
    let running =
        start(None::<&FakeEngine>, &source, folder.path(), &spec(&home, port, Lifetime::AsLongAsWeDo))
            .await
            .expect("starts");
    assert!(running.record.port > port);
    assert_eq!(status(&home).await, Status::Up(running.record.clone()));
    assert_eq!(catalogue(&running.record).await.expect("an answer"), []);
    for repository in ["api", "team/web"] {
        let folder = home.join("data/docker/registry/v2/repositories").join(repository);
        std::fs::create_dir_all(folder.join("_layers")).expect("a folder");
        let tag = folder.join("_manifests/tags/v1/current");
        std::fs::create_dir_all(&tag).expect("a folder");
        std::fs::write(tag.join("link"), format!("sha256:{}", "a".repeat(64))).expect("written");
    }
    let tags = vec!["v1".to_owned()];
    let repository = |name: &str| Repository { name: name.to_owned(), tags: tags.clone() };
    let listed = catalogue(&running.record).await.expect("an answer");
    assert_eq!(listed, [repository("api"), repository("team/web")]);
    let process = running.record.process.clone().expect("a process");
    running.stop(None::<&FakeEngine>, folder.path(), &home).await.expect("stops");
    assert!(!process.is_alive() && !home.exists());
    assert!(!folder.path().join("registries").exists(), "nor an empty folder");
    assert_eq!(status(&home).await, Status::Down);
    drop(taken);
}

#[tokio::test]
async fn a_program_that_is_to_stay_is_found_by_its_folder() {
    let Some(source) = program("a_program_that_is_to_stay_is_found_by_its_folder") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("stays");
    let running =
        start(None::<&FakeEngine>, &source, folder.path(), &spec(&home, two_ports(), Lifetime::UntilDown))
            .await
            .expect("starts");
    let record = running.record.clone();
    drop(running);
    assert_eq!(status(&home).await, Status::Up(record.clone()));
    let process = record.process.clone().expect("a process");
    assert_eq!(down(None::<&FakeEngine>, folder.path(), &home).await.expect("stops"), Some(record));
    assert!(!process.is_alive() && !home.exists());
    assert_eq!(down(None::<&FakeEngine>, folder.path(), &home).await.expect("nothing to do"), None);
}

#[tokio::test]
async fn a_program_that_does_not_start_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("broken");
    let source = RegistrySource::Program("/bin/false".into());
    for lifetime in [Lifetime::AsLongAsWeDo, Lifetime::UntilDown] {
        let error = start(None::<&FakeEngine>, &source, folder.path(), &spec(&home, two_ports(), lifetime))
            .await
            .expect_err("fails");
        assert!(matches!(error, LocalRegistryError::Silent { .. }), "{error:?}");
        assert!(!home.exists());
    }
}

/// Answers 200 to everything, until the test ends.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let _ = io::Read::read(&mut stream, &mut request);
            let _ = io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    port
}

#[tokio::test]
async fn a_container_takes_the_next_free_port_and_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("image");
    let engine = FakeEngine::new();
    let image: Reference = "registry:2".parse().expect("reference");
    engine.store(fake_image("registry", &[&image]));
    let port = serve();
    engine.take_port(port - 1);
    let spec = spec(&home, port - 1, Lifetime::AsLongAsWeDo);
    let running =
        start(Some(&engine), &RegistrySource::Image(image), folder.path(), &spec).await.expect("starts");
    assert_eq!((running.record.port, engine.count(Verb::Run)), (port, 2));
    assert_eq!(engine.containers("dev.xtask.run=r1").await.expect("listed").len(), 1);
    running.stop(Some(&engine), folder.path(), &home).await.expect("stops");
    assert_eq!(engine.containers("").await.expect("listed"), []);
    assert!(!home.exists());
}

#[tokio::test]
async fn a_registry_whose_disk_is_full_is_known_by_what_it_says() {
    let home = tempfile::tempdir().expect("a folder");
    let is_full = async || has_no_space(None::<&FakeEngine>, home.path()).await;
    assert!(!is_full().await);
    let log =
        "level=error msg=\"unknown error reading request payload: write /r/data: no space left on device\"";
    std::fs::write(home.path().join("log"), log).expect("writable");
    assert!(is_full().await);
}
