//! Downloads from servers that lie, break and hang: how each ends, and that the cache never holds a bad file.

mod server;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use self::server::{Asked, Reply, Server};
use super::check::tests::zip_of;
use super::*;
use crate::engine::Progress;
use crate::host::retry::Policy;
use crate::model::sha256;

/// A cache, a tree and what people are told.
struct Lab {
    folder: tempfile::TempDir,
    fetcher: Fetcher,
    told: Mutex<Vec<String>>,
    retries: Mutex<Vec<String>>,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("tree")).expect("writable");
        let policy = Policy::new(3).pausing(Duration::from_millis(1));
        let mut fetcher = Fetcher::new(at("tree"), at("cache"), at("old"), policy);
        fetcher.limits =
            DownloadLimits { connect: Duration::from_secs(5), stall: Duration::from_millis(600) };
        Self { folder, fetcher, told: Mutex::default(), retries: Mutex::default() }
    }

    fn spec(&self, urls: &[String], locked: Option<&[u8]>) -> ArtifactSpec {
        ArtifactSpec {
            file: "1.2.3.zip".to_owned(),
            version: "1.2.3".to_owned(),
            urls: urls.to_vec(),
            kind: ArtifactKind::Release,
            locked: locked.map(digest),
            lock_file: "docker/artifacts.lock".to_owned(),
        }
    }

    async fn fetch(&self, spec: &ArtifactSpec) -> Result<Fetched, ArtifactError> {
        let progress = |progress| {
            if let Progress::Warning(text) = progress {
                self.told.lock().expect("not poisoned").push(text);
            }
        };
        let on_retry = |_, _, cause| self.retries.lock().expect("not poisoned").push(cause);
        let result = self.fetcher.fetch(spec, &progress, &on_retry).await;
        self.check_cache();
        result
    }

    /// Whatever stands under a digest's name has that digest and is a zip archive.
    #[track_caller]
    fn check_cache(&self) {
        let Ok(files) = std::fs::read_dir(self.fetcher.cache.join("sha256")) else { return };
        for file in files.map(|file| file.expect("readable").path()) {
            if file.extension().is_none() {
                let bytes = std::fs::read(&file).expect("readable");
                assert_eq!(digest(&bytes).hex(), file.file_name().expect("a name").to_string_lossy());
                let file = std::fs::File::open(&file).expect("readable");
                check::check(file, &stream::Seen::new()).expect("a zip archive");
            }
        }
    }

    fn cache(&self) -> Cache {
        Cache::at(self.folder.path(), &self.fetcher.cache)
    }

    fn lock_file(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("tree/docker/artifacts.lock")).unwrap_or_default()
    }

    fn told(&self) -> String {
        self.told.lock().expect("not poisoned").join("\n")
    }

    fn retries(&self) -> Vec<String> {
        self.retries.lock().expect("not poisoned").clone()
    }

    /// Files in a folder of the cache.
    fn files_in(&self, folder: &str) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.fetcher.cache.join(folder)) else { return Vec::new() };
        files.map(|file| file.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }
}

fn digest(bytes: &[u8]) -> Digest {
    sha256(bytes)
}

/// A release of some hundred KiB that does not compress.
fn release(seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(300_000)
    .collect();
    zip_of(&[
        ("1.2.3/bin/fit", b"#!/bin/sh\n"),
        ("1.2.3/lib/a.jar", &noise[..100_000]),
        ("1.2.3/lib/b.jar", &noise[100_000..]),
    ])
}

/// Serves one artifact by a rule, gets it once, and returns how that ended with what was asked.
async fn get(
    locked: Option<&[u8]>,
    answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> (Lab, Result<Fetched, ArtifactError>, Vec<Asked>) {
    let server = Server::start(answer).await;
    let lab = Lab::new();
    let result = lab.fetch(&lab.spec(&[server.at("/v1.2.3/1.2.3.zip")], locked)).await;
    let asked = server.asked();
    (lab, result, asked)
}

#[track_caller]
fn is_good(result: &Result<Fetched, ArtifactError>, content: &[u8]) {
    let fetched = result.as_ref().expect("goes well");
    assert_eq!(fetched.found.digest, digest(content));
    assert_eq!(std::fs::read(&fetched.found.path).expect("there"), content);
}

#[track_caller]
fn says(result: &Result<Fetched, ArtifactError>, texts: &[&str]) {
    let error = result.as_ref().expect_err("goes wrong");
    let error = format!("{error}\n{}", error.hint().unwrap_or_default());
    for text in texts {
        assert!(error.contains(text), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_release_is_downloaded_once_and_recorded() {
    let content = release(0);
    let body = content.clone();
    let server = Server::start(move |_| Reply::whole(&body)).await;
    let lab = Lab::new();
    let spec = lab.spec(&[server.at("/1.2.3.zip")], None);
    let first = lab.fetch(&spec).await;
    is_good(&first, &content);
    assert_eq!(first.expect("good").how, How::Downloaded(server.at("/1.2.3.zip")));
    assert!(
        lab.lock_file().ends_with(&format!("\"1.2.3.zip\" = \"{}\"\n", digest(&content))),
        "{}",
        lab.lock_file()
    );
    insta::assert_snapshot!(
        lab.told().replace(digest(&content).hex(), "…"),
        @"seen for the first time: sha256:… is now in docker/artifacts.lock; commit it"
    );
    assert_eq!(lab.fetch(&spec).await.expect("good").how, How::Cached);
    assert_eq!(server.asked().len(), 1);
    assert!(
        lab.files_in("partial").iter().all(|name| name.ends_with(".lock")),
        "{:?}",
        lab.files_in("partial")
    );
    // Another tree, whose lock file says nothing yet, finds it by its URL.
    let found = find(&spec, &lab.cache(), Path::new("/nowhere")).expect("readable").expect("is there");
    assert_eq!(found.digest, digest(&content));
}

#[tokio::test]
async fn a_line_that_breaks_is_taken_up_where_it_broke() {
    let content = release(1);
    let body = content.clone();
    let third = content.len() * 3 / 10;
    let (lab, result, asked) =
        get(None, move |asked| Reply::ranged(&body, asked).header("ETag", "\"one\"").cut_after(third)).await;
    is_good(&result, &content);
    let from: Vec<_> = asked.iter().map(|asked| asked.from).collect();
    assert_eq!(from, [None, Some(third), Some(2 * third), Some(3 * third)]);
    assert!(asked[1..].iter().all(|asked| asked.if_range.as_deref() == Some("\"one\"")), "{asked:?}");
    assert!(
        lab.retries()[0].contains(&format!("after {third} of {} bytes", content.len())),
        "{:?}",
        lab.retries()
    );
}

#[tokio::test]
async fn as_long_as_tries_get_further_there_are_more_of_them() {
    let content = release(1);
    let body = content.clone();
    let twentieth = content.len() / 20 + 1;
    let (_lab, result, asked) =
        get(None, move |asked| Reply::ranged(&body, asked).cut_after(twentieth)).await;
    is_good(&result, &content);
    assert_eq!(asked.len(), 20);
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_is_asked_for_all_of_it_again() {
    let content = release(2);
    let body = content.clone();
    let (_lab, result, asked) = get(None, move |asked| {
        let reply = Reply::whole(&body);
        if asked.nth < 2 { reply.cut_after(100_000) } else { reply }
    })
    .await;
    is_good(&result, &content);
    assert_eq!(asked.len(), 3);
    // One that always breaks at the same place is given up.
    let (lab, result, asked) = get(None, move |_| Reply::whole(&content).cut_after(90_000)).await;
    says(&result, &["/v1.2.3/1.2.3.zip: the connection broke", "after 90000 of 300"]);
    assert_eq!(asked.len(), 4);
    assert_eq!((lab.lock_file(), lab.files_in("sha256")), (String::new(), Vec::new()));
}

#[tokio::test]
async fn content_that_changes_between_two_tries_is_never_mixed() {
    // With an entity tag the server says so itself; without one the length does; without both the archive does.
    for tags in [["\"one\"", "\"two\""], ["", ""]] {
        let (old, new) = (release(3), release(4));
        let expect = new.clone();
        let (lab, result, asked) = get(None, move |asked| {
            let (body, tag) = if asked.nth == 0 { (&old, tags[0]) } else { (&new, tags[1]) };
            let matches = asked.if_range.as_deref().is_none_or(|wanted| wanted == tag);
            let reply = if matches { Reply::ranged(body, asked) } else { Reply::whole(body) };
            let reply = if tag.is_empty() { reply } else { reply.header("ETag", tag) };
            if asked.nth == 0 { reply.cut_after(150_000) } else { reply }
        })
        .await;
        is_good(&result, &expect);
        assert_eq!(asked.len(), if tags[0].is_empty() { 3 } else { 2 });
        assert_eq!(lab.told().contains("does not fit together"), tags[0].is_empty(), "{}", lab.told());
    }
}

#[tokio::test]
async fn what_is_refused_is_not_asked_again_and_the_next_source_is() {
    for status in [400, 401, 403, 404, 410, 501] {
        let content = release(5);
        let body = content.clone();
        let server = Server::start(move |asked| {
            if asked.path.starts_with("/mirror/") { Reply::status(status) } else { Reply::whole(&body) }
        })
        .await;
        let lab = Lab::new();
        let spec = lab.spec(&[server.at("/mirror/1.2.3.zip"), server.at("/1.2.3.zip")], Some(&content));
        is_good(&lab.fetch(&spec).await, &content);
        assert_eq!(server.asked().len(), 2, "{status}");
        assert!(lab.told().contains(&format!("/mirror/1.2.3.zip: HTTP {status} ")), "{}", lab.told());
        assert_eq!(lab.lock_file(), "", "what is locked is not written again");
    }
    let (lab, result, asked) = get(None, |_| Reply::status(404)).await;
    says(
        &result,
        &["/v1.2.3/1.2.3.zip: HTTP 404 Not Found", "artifact.mirrors", "old/1.2.3.zip", "--sample-artifact"],
    );
    assert_eq!(asked.len(), 1);
    assert!(
        lab.files_in("partial").iter().all(|name| name.ends_with(".lock")),
        "{:?}",
        lab.files_in("partial")
    );
}

#[tokio::test]
async fn what_may_be_over_soon_is_tried_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let content = release(6);
        let body = content.clone();
        let (lab, result, asked) = get(None, move |asked| {
            if asked.nth < 2 { Reply::status(status).header("Retry-After", "0") } else { Reply::whole(&body) }
        })
        .await;
        is_good(&result, &content);
        assert_eq!((asked.len(), lab.retries().len()), (3, 2));
        assert!(lab.retries()[0].contains(&status.to_string()));
    }
    let (_lab, result, asked) = get(None, |_| Reply::status(503)).await;
    says(&result, &["HTTP 503 Service Unavailable"]);
    assert_eq!(asked.len(), 4);
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let content = release(6);
    let body = content.clone();
    let began = std::time::Instant::now();
    let (_lab, result, _) = get(None, move |asked| {
        if asked.nth == 0 { Reply::status(429).header("Retry-After", "1") } else { Reply::whole(&body) }
    })
    .await;
    is_good(&result, &content);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_no_zip_archive_is_refused_and_named() {
    let good = release(7);
    let page = b"<!DOCTYPE html><html><body>Please log in</body></html>".repeat(1000);
    let html = "text/html; charset=utf-8";
    let (lab, result, asked) = get(None, move |_| Reply::whole(&page).header("Content-Type", html)).await;
    says(&result, &["/v1.2.3/1.2.3.zip: an HTML page instead of a zip archive"]);
    assert_eq!((asked.len(), lab.lock_file(), lab.files_in("sha256").len()), (1, String::new(), 0));

    let (_lab, result, _) = get(None, |_| Reply::whole(b"")).await;
    says(&result, &["0 bytes", "instead of a zip archive"]);
    let (_lab, result, _) = get(None, |_| Reply::whole(b"PK").claiming(None)).await;
    says(&result, &["2 bytes", "instead of a zip archive"]);

    let cut = good[..good.len() - 1000].to_vec();
    let (_lab, result, _) = get(None, move |_| Reply::whole(&cut)).await;
    says(&result, &[&format!("{} bytes that are no whole zip archive", good.len() - 1000)]);

    let mut damaged = good.clone();
    damaged[150_000] ^= 1;
    let (_lab, result, asked) = get(None, move |_| Reply::whole(&damaged)).await;
    says(&result, &["damaged zip archive: entry `1.2.3/lib/b.jar`"]);
    assert_eq!(asked.len(), 1, "the same again would be the same");
}

#[tokio::test]
async fn a_wrong_length_is_seen() {
    let good = release(8);
    // It says less than it sends: the rest is not read.
    let (body, short) = (good.clone(), good.len() - 5000);
    let (_lab, result, _) = get(None, move |_| Reply::whole(&body).claiming(Some(short))).await;
    says(&result, &[&format!("{short} bytes that are no whole zip archive")]);
    // It says more than it sends.
    let (body, long) = (good.clone(), good.len() + 5000);
    let (_lab, result, _) = get(None, move |asked| {
        if asked.from.is_some() { Reply::status(416) } else { Reply::whole(&body).claiming(Some(long)) }
    })
    .await;
    says(&result, &["the connection broke", &format!("of {long} bytes")]);
    // It says nothing: the archive itself knows where it ends.
    let body = good.clone();
    let (_lab, result, _) = get(None, move |_| Reply::whole(&body).claiming(None)).await;
    is_good(&result, &good);
}

#[tokio::test]
async fn silence_has_an_end() {
    let content = release(9);
    let body = content.clone();
    let (lab, result, _) = get(None, move |asked| {
        let reply = Reply::ranged(&body, asked);
        if asked.nth == 0 { reply.hanging_after(50_000) } else { reply }
    })
    .await;
    is_good(&result, &content);
    assert!(lab.retries()[0].contains("no bytes for 0.6 s after 50000 of"), "{:?}", lab.retries());
}

#[tokio::test]
async fn a_byte_now_and_then_has_an_end() {
    let content = release(9);
    let body = content.clone();
    let (lab, result, _) = get(None, move |asked| {
        let reply = Reply::ranged(&body, asked);
        if asked.nth == 0 { reply.dripping_after(50_000) } else { reply }
    })
    .await;
    is_good(&result, &content);
    // The first look is at what came at once, too.
    assert!(lab.retries()[0].contains("no more than"), "{:?}", lab.retries());
}

#[tokio::test]
async fn redirects_are_followed_and_circles_are_not() {
    let content = release(10);
    let body = content.clone();
    let (_lab, result, asked) = get(None, move |asked| match asked.path.as_str() {
        "/there" => Reply::whole(&body),
        _ => Reply::status(302).header("Location", "/there"),
    })
    .await;
    is_good(&result, &content);
    assert_eq!(asked.len(), 2);
    let (_lab, result, _) = get(None, |_| Reply::status(302).header("Location", "/v1.2.3/1.2.3.zip")).await;
    says(&result, &["no answer: too many redirects"]);
}

#[tokio::test]
async fn another_content_than_the_locked_one_is_a_change() {
    let (locked, now) = (release(11), release(12));
    let lab = Lab::new();
    lock::record(&lab.fetcher.root, "docker/artifacts.lock", "1.2.3.zip", &digest(&locked))
        .expect("writable");
    let body = now.clone();
    let server = Server::start(move |_| Reply::whole(&body)).await;
    let result = lab.fetch(&lab.spec(&[server.at("/1.2.3.zip")], Some(&locked))).await;
    let error = result.expect_err("changed");
    let hint = error.hint().expect("helps");
    assert!(hint.contains("docker/artifacts.lock:4"), "{hint}");
    let text = error
        .to_string()
        .replace(&server.url, "http://S")
        .replace(digest(&locked).hex(), "LOCKED")
        .replace(digest(&now).hex(), "NOW");
    insta::assert_snapshot!(text, @"
    http://S/1.2.3.zip gives another file than the one that was seen first
    docker/artifacts.lock:4 has sha256:LOCKED
    the source has sha256:NOW
    ");
    assert_eq!(lab.files_in("sha256").len(), 0);
    // A mirror that has another one is passed over.
    let (good, bad) = (locked.clone(), now.clone());
    let server =
        Server::start(
            move |asked| {
                if asked.path.starts_with("/m/") { Reply::whole(&bad) } else { Reply::whole(&good) }
            },
        )
        .await;
    let result =
        lab.fetch(&lab.spec(&[server.at("/m/1.2.3.zip"), server.at("/1.2.3.zip")], Some(&locked))).await;
    is_good(&result, &locked);
    assert!(lab.told().contains("its digest is"), "{}", lab.told());
}

#[tokio::test]
async fn what_the_lock_file_says_by_now_counts() {
    let (before, now) = (release(11), release(12));
    let (lab, body) = (Lab::new(), now.clone());
    let server = Server::start(move |_| Reply::whole(&body)).await;
    let spec = lab.spec(&[server.at("/1.2.3.zip")], None);
    lock::record(&lab.fetcher.root, "docker/artifacts.lock", "1.2.3.zip", &digest(&before))
        .expect("writable");
    let result = lab.fetch(&spec).await;
    assert!(matches!(&result, Err(ArtifactError::Changed { line: 4, .. })), "{result:?}");
}

#[tokio::test]
async fn two_at_once_make_one_download() {
    let content = release(13);
    let body = content.clone();
    let server = Server::start(move |_| Reply::whole(&body)).await;
    let lab = Lab::new();
    let spec = lab.spec(&[server.at("/1.2.3.zip")], Some(&content));
    let (one, other) = tokio::join!(lab.fetch(&spec), lab.fetch(&spec));
    is_good(&one, &content);
    is_good(&other, &content);
    assert_eq!(server.asked().len(), 1);
    let how = [one.expect("good").how, other.expect("good").how];
    assert!(how.contains(&How::Waited), "{how:?}");
    assert!(lab.told().contains("waiting for"), "{}", lab.told());
}

#[tokio::test]
async fn a_download_that_is_stopped_is_resumed_by_the_next_one() {
    let content = release(14);
    let body = content.clone();
    let server = Server::start(move |asked| {
        let reply = Reply::ranged(&body, asked).header("Last-Modified", "Thu, 21 Nov 2024 00:00:00 GMT");
        if asked.nth == 0 { reply.hanging_after(120_000) } else { reply }
    })
    .await;
    let mut lab = Lab::new();
    lab.fetcher.limits.stall = Duration::from_secs(60);
    let spec = lab.spec(&[server.at("/1.2.3.zip")], None);
    let partial = lab.cache().partial(&spec.file, &Shown::of(&spec.urls[0]));
    let written = async {
        while std::fs::metadata(&partial).map_or(0, |found| found.len()) < 120_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        result = lab.fetch(&spec) => panic!("it hangs: {result:?}"),
        () = written => {}
    }
    let second = lab.fetch(&spec).await;
    is_good(&second, &content);
    let from: Vec<_> = server.asked().iter().map(|asked| asked.from).collect();
    assert_eq!(from, [None, Some(120_000)]);
    assert_eq!(server.asked()[1].if_range.as_deref(), Some("Thu, 21 Nov 2024 00:00:00 GMT"));
}

#[tokio::test]
async fn trees_that_want_different_files_of_one_url_each_get_their_answer() {
    let (has, wants) = (release(15), release(16));
    let body = has.clone();
    let server = Server::start(move |_| Reply::whole(&body)).await;
    let lab = Lab::new();
    let urls = [server.at("/1.2.3.zip")];
    let (right, wrong) = (lab.spec(&urls, Some(&has)), lab.spec(&urls, Some(&wants)));
    let (right, wrong) = tokio::join!(lab.fetch(&right), lab.fetch(&wrong));
    is_good(&right, &has);
    assert!(matches!(wrong, Err(ArtifactError::Changed { .. })), "{wrong:?}");
}

#[tokio::test]
async fn without_a_network_the_cache_is_all_there_is() {
    let content = release(17);
    let mut lab = Lab::new();
    lab.fetcher.offline = true;
    let spec = lab.spec(&["http://127.0.0.1:9/1.2.3.zip".to_owned()], Some(&content));
    let result = lab.fetch(&spec).await;
    assert!(matches!(&result, Err(ArtifactError::Offline { .. })), "{result:?}");
    says(&result, &["1.2.3.zip is not in the cache, and --offline", "old/1.2.3.zip", "artifact.mirrors"]);
    lab.cache().put(&content, &Shown::of("file:///by/hand")).expect("writable");
    assert_eq!(lab.fetch(&spec).await.expect("is there").how, How::Cached);
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let lab = Lab::new();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://joe:pass@{}/1.2.3.zip?token=abc", free.local_addr().expect("an address"));
    drop(free);
    let result = lab.fetch(&lab.spec(&[url], None)).await;
    says(&result, &["no connection: connection refused"]);
    let text = result.expect_err("nobody").to_string();
    assert!(!text.contains("pass") && !text.contains("abc"), "{text}");
    assert!(lab.retries().is_empty());
}

#[tokio::test]
async fn credentials_of_a_url_are_sent_and_not_shown() {
    let content = release(18);
    let body = content.clone();
    let server = Server::start(move |asked| match asked.authorization.as_deref() {
        // base64 of joe:pass
        Some("Basic am9lOnBhc3M=") => Reply::whole(&body),
        _ => Reply::status(401),
    })
    .await;
    let lab = Lab::new();
    let url = server.at("/1.2.3.zip").replace("http://", "http://joe:pass@");
    let fetched = lab.fetch(&lab.spec(&[url], None)).await.expect("is let in");
    assert_eq!(fetched.how, How::Downloaded(server.at("/1.2.3.zip")));
    let records = lab.files_in("sha256").into_iter().find(|name| name.ends_with(".json")).expect("a record");
    let record = std::fs::read_to_string(lab.fetcher.cache.join("sha256").join(records)).expect("text");
    assert!(!record.contains("pass"), "{record}");
}

#[tokio::test]
async fn files_of_this_machine_are_sources_too() {
    let content = release(19);
    let lab = Lab::new();
    let path = lab.folder.path().join("carried.zip");
    std::fs::write(&path, &content).expect("writable");
    let missing = format!("file://{}", lab.folder.path().join("missing.zip").display());
    let spec = lab.spec(&[missing, format!("file://{}", path.display())], None);
    is_good(&lab.fetch(&spec).await, &content);
    assert!(lab.told().contains("missing.zip: No such file"), "{}", lab.told());
}

#[tokio::test]
async fn the_old_cache_is_used_after_a_look_at_it() {
    let (content, other) = (release(20), release(21));
    let lab = Lab::new();
    let old = lab.folder.path().join("old");
    std::fs::create_dir_all(&old).expect("writable");
    let spec = lab.spec(&["http://127.0.0.1:9/1.2.3.zip".to_owned()], Some(&content));
    let look = || find(&spec, &lab.cache(), &old).expect("readable");
    std::fs::write(old.join("1.2.3.zip"), &other).expect("writable");
    assert_eq!(look(), None);
    let result = lab.fetch(&spec).await;
    says(&result, &["no connection"]);
    assert!(
        lab.told().contains("old/1.2.3.zip is passed over: docker/artifacts.lock has sha256:"),
        "{}",
        lab.told()
    );
    std::fs::write(old.join("1.2.3.zip"), &content).expect("writable");
    let found = look().expect("is good");
    assert_eq!((found.digest, found.size), (digest(&content), content.len() as u64));
    std::fs::remove_file(old.join("1.2.3.zip")).expect("there");
    assert!(look().is_some(), "it is a copy");
    let unlocked = ArtifactSpec { locked: None, ..spec.clone() };
    std::fs::write(old.join("1.2.3.zip"), b"<html>").expect("writable");
    let empty = lab.folder.path().join("empty");
    assert_eq!(
        find(&unlocked, &Cache::at(lab.folder.path(), &empty), &old).expect("readable"),
        None,
        "no zip archive"
    );
}

#[tokio::test]
async fn a_cache_file_that_was_changed_is_downloaded_again() {
    let content = release(22);
    let body = content.clone();
    let server = Server::start(move |_| Reply::whole(&body)).await;
    let lab = Lab::new();
    let spec = lab.spec(&[server.at("/1.2.3.zip")], Some(&content));
    let found = lab.fetch(&spec).await.expect("good").found;
    std::fs::write(&found.path, b"PK\x03\x04 something else").expect("writable");
    let again = lab.fetch(&spec).await;
    is_good(&again, &content);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_spec_says_where_to_ask_and_what_is_wanted() {
    let root = tempfile::tempdir().expect("a folder");
    let mut settings = ArtifactSettings {
        url: "https://example.com/releases/v{version}/{version}.zip".to_owned(),
        mirrors: vec!["https://mirror.example.com/x/".to_owned(), "file:///mnt/share".to_owned()],
        lock: "artifacts.lock".to_owned(),
        ..ArtifactSettings::default()
    };
    let of = |settings: &ArtifactSettings, kind| spec(settings, root.path(), "1.2.3", kind);
    let release = of(&settings, ArtifactKind::Release).expect("a spec");
    assert_eq!(
        release.urls,
        [
            "https://mirror.example.com/x/releases/v1.2.3/1.2.3.zip",
            "file:///mnt/share/releases/v1.2.3/1.2.3.zip",
            "https://example.com/releases/v1.2.3/1.2.3.zip",
        ]
    );
    assert_eq!((release.file.as_str(), release.locked), ("1.2.3.zip", None));
    let wanted = digest(b"x");
    lock::record(root.path(), "artifacts.lock", "1.2.3.zip", &wanted).expect("writable");
    assert_eq!(of(&settings, ArtifactKind::Release).expect("a spec").locked, Some(wanted));
    let sample = of(&settings, ArtifactKind::Sample).expect("a spec");
    assert_eq!((sample.urls.len(), sample.locked, sample.kind), (0, None, ArtifactKind::Sample));
    settings.url = "file://sample/".to_owned();
    let folder = of(&settings, ArtifactKind::Release).expect("a spec");
    assert_eq!((folder.kind, folder.urls.len()), (ArtifactKind::Sample, 1));
    assert!(folder.urls[0].ends_with("/sample/"), "{:?}", folder.urls);
    settings.url = "file://V/{version}.zip".to_owned();
    let file = of(&settings, ArtifactKind::Release).expect("a spec");
    assert_eq!((file.kind, file.urls.len()), (ArtifactKind::Sample, 1));
    settings.url = "gopher://example.com".to_owned();
    assert!(of(&settings, ArtifactKind::Release).is_err());
    for version in ["", "..", "a/b", "1 2", ".hidden"] {
        let error = spec(&settings, root.path(), version, ArtifactKind::Sample).expect_err("no version");
        assert!(error.to_string().contains("is not a version"), "{error}");
    }
}
