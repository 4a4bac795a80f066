//! `doctor` from outside: without an engine, with broken settings, with a registry that wants a password.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use serde_json::Value;

use crate::repo::TestRepo;

const SERVICE: &str = "//- src/a/Dockerfile\nFROM redis:7\n";

/// The check of that id.
#[track_caller]
fn check<'a>(document: &'a Value, id: &str) -> &'a Value {
    let checks = document["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {document:#}"))
}

#[test]
fn it_works_with_nothing_at_all() {
    let repo = TestRepo::new(SERVICE);
    assert_eq!(repo.code("doctor --offline"), 12);
    let document = repo.json("doctor --offline --format json");
    assert_eq!((&document["version"], &document["verdict"]), (&1.into(), &"failed".into()));
    let engine = check(&document, "engine");
    let evidence = engine["evidence"].as_str().expect("text");
    assert!(evidence.contains("no-engine.sock (DOCKER_HOST): No such file or directory"), "{evidence}");
    assert!(engine["fix"].as_str().expect("text").contains("DOCKER_HOST"), "{engine}");
    for id in ["api", "buildkit", "engine-disk", "clock", "network", "registry/docker.io"] {
        assert_eq!(check(&document, id)["verdict"], "skipped", "{id}");
    }
    assert_eq!(check(&document, "tree")["evidence"], "1 service, 1 image");
    assert_eq!(check(&document, "settings")["verdict"], "ok");
    assert!(!repo.root().join("target").exists() || !repo.root().join("target/xtask/runs").exists());
}

#[test]
fn broken_settings_are_a_finding() {
    let repo = TestRepo::new(&format!("{SERVICE}//- .config/xtask.toml\nprefix = \"x-\"\njobs =\n"));
    let document = repo.json("doctor --offline --format json");
    let settings = check(&document, "settings");
    assert_eq!(settings["verdict"], "failed");
    assert!(settings["evidence"].as_str().expect("text").contains(".config/xtask.toml:2:"), "{settings}");
    assert!(settings["fix"].as_str().expect("text").contains("edit .config/xtask.toml:2"), "{settings}");
    assert_eq!(check(&document, "tree")["evidence"], "1 service, 1 image", "the rest goes on");
    let broken = TestRepo::new("//- src/a/Dockerfile\nFORM redis:7\n");
    let document = broken.json("doctor --offline --format json");
    assert!(check(&document, "tree")["evidence"].as_str().expect("text").starts_with("src/a/Dockerfile:1"));
}

/// A registry that takes one password, `hunter2-x`, and gives nothing.
fn guarded_registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let domain = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            // tester:hunter2-x
            let is_ours =
                |line: &String| line.eq_ignore_ascii_case("authorization: Basic dGVzdGVyOmh1bnRlcjIteA==");
            // All of them are read: who closes a connection early resets it.
            let knows = lines.by_ref().take_while(|line| !line.is_empty()).filter(is_ours).count() > 0;
            let head = if knows {
                "200 OK\r\n"
            } else {
                "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"tests\"\r\n"
            };
            let _ = write!(&stream, "HTTP/1.1 {head}Content-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    domain
}

#[test]
fn credentials_are_tried_and_never_told() {
    let domain = guarded_registry();
    let settings = format!("//- .config/xtask.toml\ninternal_registry = \"{domain}/team\"\n");
    let with = |config: &str| {
        let repo = TestRepo::new(&format!("{SERVICE}{settings}"));
        let folder = repo.home().join(".docker");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), config.replace("DOMAIN", &domain)).unwrap();
        let output = repo.output("doctor --network internal --format json");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("hunter2") && !text.contains("dGVzdGVy"), "{text}");
        let document: Value = serde_json::from_str(&text).unwrap();
        assert!(
            check(&document, &format!("registry/{domain}"))["evidence"]
                .as_str()
                .expect("text")
                .starts_with("internal registry: answered 401 in ")
        );
        assert_eq!(check(&document, "registry/docker.io")["verdict"], "skipped");
        let login = check(&document, &format!("credentials/{domain}"));
        format!("{}: {}", login["verdict"].as_str().unwrap(), login["evidence"].as_str().unwrap())
    };
    assert_eq!(
        with(r#"{"auths": {"DOMAIN": {"auth": "dGVzdGVyOmh1bnRlcjIteA=="}}}"#),
        "ok: from docker's config.json, accepted"
    );
    assert_eq!(
        with(r#"{"auths": {"DOMAIN": {"auth": "dGVzdGVyOmh1bnRlcjItdw=="}}}"#),
        "failed: from docker's config.json, refused with status 401"
    );
    assert_eq!(with("{}"), "warning: none stored, and the registry asks for a password");
    assert_eq!(
        with(r#"{"credHelpers": {"DOMAIN": "no-such-helper"}}"#),
        "warning: docker-credential-no-such-helper (credHelpers) is not on this machine, so nobody logs in"
    );
}

#[test]
fn proxies_of_docker_are_seen_without_their_passwords() {
    let repo = TestRepo::new(SERVICE).with("HTTPS_PROXY", "http://p.example:1");
    let folder = repo.home().join(".docker");
    std::fs::create_dir_all(&folder).unwrap();
    let config = r#"{"proxies": {"default": {"httpProxy": "http://ada:hunter2@q.example:3128"}}}"#;
    std::fs::write(folder.join("config.json"), config).unwrap();
    let document = repo.json("doctor --offline --format json");
    assert_eq!(
        check(&document, "proxies")["evidence"],
        "HTTPS_PROXY=http://p.example:1, HTTP_PROXY=http://***@q.example:3128 (docker's config.json, for builds)"
    );
    std::fs::write(folder.join("config.json"), "{\"auths\": {\"x\":\n oops").unwrap();
    let document = repo.json("doctor --offline --format json");
    assert!(check(&document, "docker-config")["evidence"].as_str().unwrap().contains("config.json:2:"));
}

/// An engine of long ago: it answers a ping, says a little of itself, and knows nothing else.
fn old_engine() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let (status, body) = match first.split(' ').nth(1) {
                Some("/_ping") => ("200 OK", "OK"),
                Some("/v1.38/info") => (
                    "200 OK",
                    r#"{"Name":"attic","ServerVersion":"18.06.3","OSType":"linux","Architecture":"x86_64"}"#,
                ),
                _ => ("404 Not Found", "{}"),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nApi-Version: 1.38\r\nContent-Length: {length}\r\n");
            let _ = write!(&stream, "{head}Connection: close\r\n\r\n{body}");
        }
    });
    host
}

#[test]
fn an_old_engine_is_told_as_such() {
    let host = old_engine();
    let repo = TestRepo::new(SERVICE).with("DOCKER_HOST", &host);
    assert_eq!(repo.code("doctor --offline"), 12);
    let document = repo.json("doctor --offline --format json");
    let told = |id: &str| {
        let check = check(&document, id);
        format!("{}: {}", check["verdict"].as_str().unwrap(), check["evidence"].as_str().unwrap())
    };
    assert_eq!(told("engine"), format!("ok: docker 18.06.3 at {host}, linux/x86_64"));
    assert_eq!(told("api"), "failed: 1.38; 1.41 is needed");
    assert!(told("buildkit").starts_with("failed: "), "{}", told("buildkit"));
    assert!(told("engine-disk").starts_with("skipped: the engine is on attic, whose disk"));
}
