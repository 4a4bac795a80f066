//! How often a run with nothing to do asks the engine: a fixed number of times, whatever the number of services.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::repo::TestRepo;

const BASE_ID: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// An engine that holds what it is told to hold and counts what it is asked.
struct CountingEngine {
    images: Mutex<serde_json::Value>,
    asked: Mutex<Vec<String>>,
}

impl CountingEngine {
    fn start(socket: &Path, images: serde_json::Value) -> Arc<Self> {
        let engine = Arc::new(Self { images: Mutex::new(images), asked: Mutex::default() });
        let listener = UnixListener::bind(socket).unwrap();
        let server = Arc::clone(&engine);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                std::thread::spawn(move || server.answer(stream));
            }
        });
        engine
    }

    fn answer(&self, mut stream: UnixStream) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap_or("").to_owned();
        let path = target.split('?').next().unwrap_or("").to_owned();
        let (status, body) = match path.rsplit('/').next() {
            Some("_ping") => ("200 OK", "OK".to_owned()),
            Some("version") => {
                let version =
                    json!({ "Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64" });
                ("200 OK", version.to_string())
            }
            Some("json") if path.ends_with("/images/json") => {
                ("200 OK", self.images.lock().unwrap().to_string())
            }
            _ => ("404 Not Found", json!({ "message": "not here" }).to_string()),
        };
        self.asked.lock().unwrap().push(path);
        let answer = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes());
    }

    fn take(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked
    }
}

fn image(id: &str, names: &[&str], labels: serde_json::Value) -> serde_json::Value {
    json!({
        "Id": id, "ParentId": "", "RepoTags": names, "RepoDigests": [], "Created": 1, "Size": 1000,
        "SharedSize": -1, "VirtualSize": 1000, "Labels": labels, "Containers": -1,
    })
}

/// What the engine is asked by commands that find everything as it should be, with so many services.
fn asked(services: usize) -> Vec<(&'static str, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let repo = TestRepo::new("").with("DOCKER_HOST", &format!("unix://{}", socket.display()));
    for service in 0..services {
        repo.write(&format!("src/s{service}/Dockerfile"), "FROM alpine:3.20\nCOPY a /a\n");
        repo.write(&format!("src/s{service}/a"), "a");
    }
    let base = image(BASE_ID, &["alpine:3.20", "localhost/alpine:3.20"], json!({}));
    let engine = CountingEngine::start(&socket, json!([base]));
    let plan = repo.json("plan --network external --format json");
    let built = plan["images"].as_array().unwrap().iter().enumerate().map(|(number, planned)| {
        let id = format!("sha256:{:064x}", 0xb000 + number);
        let labels = json!({ "dev.xtask.fingerprint": planned["key"] });
        image(&id, &[planned["reference"].as_str().unwrap()], labels)
    });
    let images: Vec<_> = std::iter::once(base).chain(built).collect();
    *engine.images.lock().unwrap() = json!(images);
    engine.take();
    ["status", "alias --network external", "build-all --network external", "verify"]
        .map(|words| {
            assert_eq!(repo.code(words), 0, "{words}: {}", repo.run(words));
            (words, engine.take())
        })
        .into()
}

#[test]
fn a_run_with_nothing_to_do_asks_as_often_for_forty_services_as_for_two() {
    let few = asked(2);
    assert_eq!(few, asked(40));
    for (words, asked) in few {
        assert!(asked.len() <= 3, "{words} asks {asked:?}");
    }
}

#[test]
fn base_images_with_nothing_to_do_ask_for_the_store_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let repo = TestRepo::new("//- .config/xtask.toml\n[base_image]\nversion = '1.2.3'\n")
        .with("DOCKER_HOST", &format!("unix://{}", socket.display()));
    for os in ["a", "b", "c"] {
        let dockerfile = format!("FROM alpine:3.20\nARG FIT_VERSION\nRUN echo {os}\n");
        repo.write(&format!("docker/base-images/{os}/Dockerfile"), &dockerfile);
    }
    let base = image(BASE_ID, &["alpine:3.20", "localhost/alpine:3.20"], json!({}));
    let engine = CountingEngine::start(&socket, json!([base]));
    let plan = repo
        .json("plan --network external --format json --only fit-framework-a,fit-framework-b,fit-framework-c");
    let built = plan["images"].as_array().unwrap().iter().enumerate().map(|(number, planned)| {
        let id = format!("sha256:{:064x}", 0xb000 + number);
        let os = planned["name"].as_str().unwrap().trim_start_matches("fit-framework-");
        let names = [format!("1.2.3-{os}"), os.to_owned(), format!("latest-{os}")];
        let names = names.map(|tag| format!("fit-framework:{tag}"));
        image(&id, &names.each_ref().map(String::as_str), json!({ "dev.xtask.fingerprint": planned["key"] }))
    });
    let images: Vec<_> = std::iter::once(base).chain(built).collect();
    *engine.images.lock().unwrap() = json!(images);
    engine.take();
    let told = repo.run("base-images --network external");
    assert!(told.starts_with("exit 0") && told.contains("fit-framework-c  1.0 kB  -"), "{told}");
    let asked = engine.take();
    assert!(asked.len() <= 3, "{asked:?}");
}
