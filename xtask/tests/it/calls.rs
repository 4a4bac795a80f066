//! How often a run with nothing to do asks the engine: a fixed number of times, whatever the number of services. And what
//! it asks for where a list of all images takes the engine long.

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
            Some("json") if path.ends_with("/images/json") => ("200 OK", self.list(&target).to_string()),
            _ => ("404 Not Found", json!({ "message": "not here" }).to_string()),
        };
        let is_filtered = target.contains("filters=");
        self.asked.lock().unwrap().push(if is_filtered { format!("{path} of some names") } else { path });
        let answer = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes());
    }

    /// The images, of those that a filter asks for the names that it asks for.
    fn list(&self, target: &str) -> serde_json::Value {
        let mut images = self.images.lock().unwrap().clone();
        let target = reqwest::Url::parse(&format!("http://engine{target}")).unwrap();
        let Some(filters) = target.query_pairs().find(|(key, _)| key == "filters") else { return images };
        let filters: serde_json::Value = serde_json::from_str(&filters.1).unwrap();
        let Some(patterns) = filters["reference"].as_array() else { return images };
        images.as_array_mut().unwrap().retain_mut(|image| {
            let names = image["RepoTags"].as_array_mut().unwrap();
            names.retain(|name| patterns.contains(name));
            !names.is_empty()
        });
        images
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

/// The same as containerd's store lists it, where the ID is what registries call the image.
fn stored_with_manifest(mut image: serde_json::Value) -> serde_json::Value {
    let name = image["RepoTags"][0].as_str().unwrap();
    let repository = name.rsplit_once(':').map_or(name, |(repository, _)| repository);
    image["RepoDigests"] = json!([format!("{repository}@{}", image["Id"].as_str().unwrap())]);
    image
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
fn where_a_list_takes_long_only_known_names_are_asked_for_until_something_is_to_be_done() {
    const OTHER_ID: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let repo =
        TestRepo::new("//- src/api/Dockerfile\nFROM alpine:3.20\n//- src/web/Dockerfile\nFROM alpine:3.20\n")
            .with("DOCKER_HOST", &format!("unix://{}", socket.display()));
    let base = stored_with_manifest(image(BASE_ID, &["alpine:3.20", "localhost/alpine:3.20"], json!({})));
    let other = stored_with_manifest(image(OTHER_ID, &["debian:13", "localhost/debian:13"], json!({})));
    let engine = CountingEngine::start(&socket, json!([base, other]));
    let images_of = |plan: &serde_json::Value| -> Vec<serde_json::Value> {
        let built = plan["images"].as_array().unwrap().iter().enumerate().map(|(number, planned)| {
            let id = format!("sha256:{:064x}", 0xb000 + number);
            let labels = json!({ "dev.xtask.fingerprint": planned["key"] });
            stored_with_manifest(image(&id, &[planned["reference"].as_str().unwrap()], labels))
        });
        [&base, &other].into_iter().cloned().chain(built).collect()
    };
    let plan = "plan --network external --format json";
    *engine.images.lock().unwrap() = json!(images_of(&repo.json(plan)));
    engine.take();
    let all = "/images/json";
    let some = "/images/json of some names";
    let lists = |words: &str| -> Vec<String> {
        let _ = repo.run(words);
        engine.take().into_iter().filter(|asked| asked.contains("/images/json")).collect()
    };
    for words in ["status", "verify", plan, "build-all --network external"] {
        assert!(repo.run(words).starts_with("exit 0"));
        let asked = engine.take();
        assert!(asked.len() <= 3 && asked.iter().any(|asked| asked == some), "{words} asks {asked:?}");
    }
    for words in ["clean --dry-run", "build-all --force --dry-run", "plan --format bake"] {
        assert_eq!(lists(words), [all], "{words}");
    }
    // A base that was not asked for is here all the same, and one that is gone is missed.
    repo.write("src/web/Dockerfile", "FROM debian:13\n");
    let found = repo.json(plan);
    assert_eq!(engine.take().iter().filter(|asked| asked.contains("/images/json")).count(), 2);
    assert!(found["steps"].as_array().unwrap().iter().all(|step| step["phase"] != "prefetch"), "{found:#}");
    *engine.images.lock().unwrap() = json!(images_of(&found));
    assert_eq!(lists("status"), [some]);
    engine.images.lock().unwrap().as_array_mut().unwrap().remove(0);
    assert_eq!(lists(plan), [all, some]);
    let missed = repo.json(plan);
    assert!(missed["steps"].as_array().unwrap().iter().any(|step| step["phase"] == "prefetch"), "{missed:#}");
    // An engine that lists all as quickly is asked for all.
    let mut images = images_of(&found);
    images.iter_mut().for_each(|image| image["RepoDigests"] = json!([]));
    *engine.images.lock().unwrap() = json!(images);
    engine.take();
    assert_eq!(lists("status"), [all, some]);
    assert_eq!(lists("status"), [all]);
}

#[test]
fn where_something_is_to_be_done_the_tree_is_not_read_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let repo = TestRepo::new(
        "//- src/api/Dockerfile\nFROM alpine:3.20\n//- src/api/x.tpl\n{{READING}}\n\
         //- .config/xtask.toml\n[variables]\nREADING = { command = 'echo once >> readings; echo x' }\n",
    )
    .with("DOCKER_HOST", &format!("unix://{}", socket.display()));
    let base = stored_with_manifest(image(BASE_ID, &["alpine:3.20", "localhost/alpine:3.20"], json!({})));
    let engine = CountingEngine::start(&socket, json!([base]));
    let readings = |words: &str| {
        repo.write("readings", "");
        engine.take();
        let _ = repo.run(words);
        let lists = engine.take().into_iter().filter(|asked| asked.contains("/images/json")).count();
        (lists, repo.read("readings").lines().count())
    };
    let plan = "plan --network external --format json";
    let _ = repo.run(plan);
    assert_eq!(readings(plan), (2, 1));
    // The tree names more than last time.
    repo.write("src/web/Dockerfile", "FROM alpine:3.20\n");
    assert_eq!(readings(plan), (2, 1));
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
