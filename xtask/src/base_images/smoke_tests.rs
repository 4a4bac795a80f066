use super::*;
use crate::engine::{FakeBehaviour, FakeEngine, Fault, Verb, fake_image};
use crate::model::{Expected, ImageName, LogStream, Reference};

fn spec() -> SmokeSpec {
    SmokeSpec {
        image: ImageName::new("fit-framework-debian"),
        os: "debian".to_owned(),
        reference: reference(),
        labels: [("dev.xtask.run".to_owned(), "r1".to_owned())].into(),
        commands: vec![("fit version".to_owned(), vec!["fit".to_owned(), "version".to_owned()])],
        ask: None,
        healthy_within: Duration::from_secs(60),
        afterwards: Afterwards::Remove,
        expected: Expected { stop_within: Duration::from_secs(20), ..Expected::default() },
    }
}

fn reference() -> Reference {
    "fit-framework:1.2.3-debian".parse().expect("reference")
}

fn engine(behaviour: FakeBehaviour) -> FakeEngine {
    let engine = FakeEngine::new();
    engine.store(fake_image("debian", &[&reference()]));
    engine.behave("", behaviour);
    engine
}

fn well() -> FakeBehaviour {
    let version = ExecOutput { stdout: "1.2.3\n".to_owned(), ..ExecOutput::default() };
    FakeBehaviour {
        health: vec![Health::Starting, Health::Starting, Health::Healthy],
        answers: vec![("fit version", version)],
        logs: vec![(LogStream::Stdout, "up".to_owned())],
        stops_in: Duration::from_secs(2),
        ..FakeBehaviour::default()
    }
}

/// Tries it out, with what was logged; nothing may be left.
async fn tried(engine: &FakeEngine, spec: &SmokeSpec) -> (SmokeResult, Vec<String>) {
    let logged = std::sync::Mutex::new(Vec::new());
    let progress = |progress| {
        if let Progress::Log { line, .. } = progress {
            logged.lock().expect("unpoisoned").push(line);
        }
    };
    let seen = try_out(engine, spec, &progress).await.expect("the engine is well");
    assert_eq!(engine.containers("").await.expect("listed"), [], "nothing is left");
    (seen, logged.into_inner().expect("unpoisoned"))
}

#[tokio::test(start_paused = true)]
async fn a_healthy_image_is_asked_and_stopped() {
    let (seen, logged) = tried(&engine(well()), &spec()).await;
    assert_eq!((seen.health, seen.unwell), (Health::Healthy, None));
    assert_eq!(seen.answers["fit version"].stdout, "1.2.3\n");
    assert_eq!(seen.stopped.expect("stopped").exit_code, Some(0));
    assert_eq!(logged, ["up"]);
    assert!(seen.healthy_after >= Duration::from_millis(500) && seen.took >= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_well_says_why() {
    let never = FakeBehaviour { health: vec![Health::Starting], ..well() };
    let (seen, logged) = tried(&engine(never), &spec()).await;
    let told = "was not healthy within 60 s; its health check says nothing";
    assert_eq!((seen.unwell.as_deref(), seen.answers.len()), (Some(told), 0));
    assert_eq!(logged, ["up"], "the log is kept");

    let ends = FakeBehaviour { exits: Some(3), ..well() };
    let (seen, _) = tried(&engine(ends), &spec()).await;
    assert_eq!(seen.unwell.as_deref(), Some("ended by itself with status 3"));
    assert_eq!(seen.stopped, None);

    let unhealthy = FakeBehaviour { health: vec![Health::Starting, Health::Unhealthy], ..well() };
    let (seen, _) = tried(&engine(unhealthy), &spec()).await;
    assert_eq!(seen.unwell.as_deref(), Some("is unhealthy; its health check says nothing"));
}

#[tokio::test(start_paused = true)]
async fn no_health_check_is_a_second_up_and_no_image_is_no_container() {
    let plain = FakeBehaviour { health: Vec::new(), ..well() };
    let (seen, _) = tried(&engine(plain), &spec()).await;
    assert_eq!((seen.health, seen.unwell), (Health::Unchecked, None));

    let empty = FakeEngine::new();
    let (seen, _) = tried(&empty, &spec()).await;
    assert_eq!((seen.details, empty.count(Verb::Run)), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_end_is_killed_and_a_kept_container_stays() {
    let slow = FakeBehaviour { stops_in: Duration::from_secs(90), ..well() };
    let (seen, _) = tried(&engine(slow), &spec()).await;
    let stopped = seen.stopped.expect("stopped");
    assert_eq!(stopped.exit_code, Some(137));
    assert!(stopped.after >= Duration::from_secs(20) && stopped.after < Duration::from_secs(21));

    let engine = engine(well());
    let keep = SmokeSpec { afterwards: Afterwards::Keep, ..spec() };
    let seen = try_out(&engine, &keep, &|_| {}).await.expect("well");
    assert_eq!(seen.stopped, None);
    assert_eq!(engine.containers("dev.xtask.run=r1").await.expect("listed").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_trial_is_found_by_its_label() {
    let engine = engine(FakeBehaviour { health: vec![Health::Starting], ..well() });
    let spec = spec();
    tokio::select! {
        seen = try_out(&engine, &spec, &|_| {}) => panic!("{seen:?}"),
        () = tokio::time::sleep(Duration::from_secs(5)) => {}
    }
    assert_eq!(engine.containers("dev.xtask.run=r1").await.expect("listed").len(), 1);

    engine.script(
        Verb::Exec,
        &reference().familiar(),
        1,
        Fault::Fails(crate::engine::EngineError::Gone("x".into())),
    );
    engine.behave("", well());
    let seen = try_out(&engine, &spec, &|_| {}).await.expect("well");
    assert_eq!(seen.answers["fit version"].exit_code, -1, "a command that cannot be asked has no answer");
}

#[test]
fn patience_is_the_images_own_if_that_is_longer() {
    let least = Duration::from_secs(60);
    assert_eq!(patience(least, None), least);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let check = Healthcheck {
        start_period: seconds(90),
        timeout: seconds(9),
        retries: Some(2),
        ..Healthcheck::default()
    };
    assert_eq!(patience(least, Some(&check)), Duration::from_secs(120));
    let endless = Healthcheck { start_period: seconds(9999), ..Healthcheck::default() };
    assert_eq!(patience(least, Some(&endless)), LONGEST);
}

/// Answers each request with these bytes.
fn serve(answer: &'static [u8]) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let _ = std::io::Write::write_all(&mut stream, answer);
        }
    });
    port
}

#[tokio::test]
async fn http_is_asked_on_the_published_port() {
    for (answer, status) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n[\"a\"]\n"[..], 200),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nboom", 500),
        // A body that ends with the connection.
        (b"HTTP/1.0 404 No\r\n\r\nno", 404),
    ] {
        let ports = [(8080, serve(answer))].into();
        let behaviour =
            FakeBehaviour { ports, health: vec![Health::Healthy], stops_in: Duration::ZERO, ..well() };
        let ask = HttpAsk { port: 8080, path: "/actuator/plugins".to_owned() };
        let (seen, _) = tried(&engine(behaviour), &SmokeSpec { ask: Some(ask), ..spec() }).await;
        let answered = seen.answered.expect("asked").expect("answered");
        assert_eq!(answered.status, status);
    }
}
