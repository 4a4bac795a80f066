use super::*;
use crate::model::{RunConfig, sha256};

#[path = "../../tests/support/faulty_proxy.rs"]
#[expect(dead_code, reason = "engine tests use the rest")]
pub(crate) mod faulty_proxy;

use faulty_proxy::{FaultyProxy, Trouble};

const INDEX: &str = r#"{"schemaVersion":2,"manifests":[
{"digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","platform":{"os":"linux","architecture":"amd64"}},
{"digest":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","platform":{"os":"linux","architecture":"arm64","variant":"v8"}},
{"digest":"sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","platform":{"os":"unknown","architecture":"unknown"}}]}"#;

fn body_digest() -> Digest {
    sha256(INDEX.as_bytes())
}

fn reference(proxy: &FaultyProxy, rest: &str) -> Reference {
    format!("{}/{rest}", proxy.domain()).parse().expect(rest)
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Trouble {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Trouble::Answer(status, headers, body.to_owned())
}

fn platform(text: &str) -> Platform {
    text.parse().expect(text)
}

#[tokio::test]
async fn any_answer_of_a_registry_is_an_answer() {
    let proxy = FaultyProxy::start(None).await;
    for (status, is_answer) in
        [(200, true), (401, true), (404, true), (429, true), (407, false), (502, false), (503, false)]
    {
        proxy.status("GET /v2/", 1, status);
        let answer = Registry::default().probe(&proxy.domain()).await;
        assert_eq!(answer.map(|answer| answer.status).ok(), is_answer.then_some(status), "{status}");
    }
    let error = Registry::default().probe("127.0.0.1:1").await.expect_err("nobody listens there");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn asks_for_digests_cheaply() {
    let proxy = FaultyProxy::start(None).await;
    let digest = body_digest();
    proxy.fault(
        "HEAD /v2/a/b/manifests/1",
        1,
        answer(200, &[("Docker-Content-Digest", digest.as_str())], INDEX),
    );
    let found = Registry::default().manifest_digest(&reference(&proxy, "a/b:1"), None).await;
    assert_eq!(found, Ok(digest));
    assert_eq!(proxy.seen("").len(), 1, "one request without a body");
}

#[tokio::test]
async fn reads_the_manifest_where_the_header_says_nothing_or_a_platform_is_wanted() {
    let proxy = FaultyProxy::start(None).await;
    proxy.fault("/v2/a/manifests/1", 9, answer(200, &[], INDEX));
    let registry = Registry::default();
    let name = reference(&proxy, "a:1");
    assert_eq!(registry.manifest_digest(&name, None).await, Ok(body_digest()));
    for (wanted, letter) in [("linux/amd64", "a"), ("linux/arm64", "b")] {
        let found = registry.manifest_digest(&name, Some(&platform(wanted))).await;
        assert_eq!(found.map(|digest| digest.hex().to_owned()), Ok(letter.repeat(64)));
    }
    let none = registry.manifest_digest(&name, Some(&platform("linux/s390x"))).await;
    assert!(matches!(none, Err(RegistryError::NoPlatform { .. })), "{none:?}");
}

#[tokio::test]
async fn lies_are_found_where_the_body_is_read() {
    let proxy = FaultyProxy::start(None).await;
    let lie = format!("sha256:{}", "f".repeat(64));
    let registry = Registry::default();
    proxy.fault("/v2/a/manifests/1", 1, answer(200, &[("Docker-Content-Digest", &lie)], INDEX));
    let found = registry.manifest_digest(&reference(&proxy, "a:1"), Some(&platform("linux/amd64"))).await;
    assert!(matches!(found, Err(RegistryError::DigestMismatch { .. })), "header and body: {found:?}");
    proxy.fault(
        "/v2/a/manifests/",
        1,
        answer(200, &[("Docker-Content-Digest", body_digest().as_str())], INDEX),
    );
    let found = registry.manifest_digest(&reference(&proxy, &format!("a@{lie}")), None).await;
    assert!(matches!(found, Err(RegistryError::DigestMismatch { .. })), "reference and header: {found:?}");
    proxy.fault("/v2/a/manifests/2", 2, answer(200, &[], "<html>sign in</html>"));
    let found = registry.manifest_digest(&reference(&proxy, "a:2"), Some(&platform("linux/amd64"))).await;
    assert!(matches!(found, Err(RegistryError::Malformed { .. })), "{found:?}");
}

#[tokio::test]
async fn what_is_sent_counts_and_not_what_is_said() {
    let proxy = FaultyProxy::start(None).await;
    let registry = Registry::default();
    let said = body_digest();
    proxy.fault("HEAD", 9, answer(200, &[("Docker-Content-Digest", said.as_str())], ""));
    proxy.fault("GET", 1, answer(200, &[], &format!("{INDEX} ")));
    let name = reference(&proxy, "a:1");
    assert_eq!(registry.manifest_digest(&name, None).await, Ok(said.clone()));
    let sent = registry.sent_digest(&name).await.expect("a manifest");
    assert_ne!(sent, said);
    proxy.fault("GET", 1, answer(200, &[], INDEX));
    assert_eq!(registry.sent_digest(&name).await, Ok(said));
}

#[test]
fn what_may_be_over_a_moment_later_is_tried_again() {
    let domain = || "r.example".to_owned();
    let unreachable = |cause: &str| RegistryError::Unreachable { domain: domain(), cause: cause.to_owned() };
    let status = |status| RegistryError::Status { domain: domain(), status };
    let throttled = |seconds: Option<u64>| RegistryError::Throttled {
        domain: domain(),
        retry_after: seconds.map(Duration::from_secs),
    };
    for (error, after) in [
        (throttled(Some(7)), Some(7)),
        (throttled(None), Some(0)),
        (status(500), Some(0)),
        (status(503), Some(0)),
        (status(501), None),
        (status(418), None),
        (unreachable("connection reset by peer"), Some(0)),
        (unreachable("operation timed out"), Some(0)),
        (unreachable("no such host"), None),
        (unreachable("connection refused"), None),
        (RegistryError::NotFound("a:1".to_owned()), None),
        (RegistryError::Denied { domain: domain(), path: "a".to_owned(), trouble: None }, None),
    ] {
        assert_eq!(error.worth_retrying_after(), after.map(Duration::from_secs), "{error}");
    }
}

#[tokio::test]
async fn an_image_is_known_by_what_its_config_says() {
    let proxy = FaultyProxy::start(None).await;
    let layer = body_digest();
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","created":"2001-01-01T00:00:00Z","config":{{"User":"1"}},"rootfs":{{"diff_ids":["{layer}"]}}}}"#
    );
    let blob = sha256(config.as_bytes());
    let manifest = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{blob}"}},"layers":[]}}"#);
    let digest = sha256(manifest.as_bytes());
    let index = format!(
        r#"{{"manifests":[{{"digest":"{digest}","platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
    );
    proxy.fault("/v2/a/manifests/1", 9, answer(200, &[], &index));
    proxy.fault("/v2/a/manifests/one", 9, answer(200, &[], &manifest));
    proxy.fault(&format!("/v2/a/manifests/{digest}"), 2, answer(200, &[], &manifest));
    proxy.fault(&format!("/v2/a/blobs/{blob}"), 2, answer(200, &[], &config));
    let registry = Registry::default();
    let amd64 = platform("linux/amd64");
    let run = RunConfig { user: "1".to_owned(), ..RunConfig::default() };
    let expected = Identity::of(&amd64, &[layer], &run);
    for name in ["a:1", "a:one"] {
        let found = registry.identity(&reference(&proxy, name), &amd64).await;
        assert_eq!(found, Ok(expected.clone()), "{name}");
    }
    proxy.fault(&format!("/v2/a/blobs/{blob}"), 1, answer(200, &[], &config));
    for name in ["a:1", "a:one"] {
        let none = registry.identity(&reference(&proxy, name), &platform("linux/s390x")).await;
        assert!(matches!(none, Err(RegistryError::NoPlatform { .. })), "{name}: {none:?}");
    }
    // What the index promised is not what comes; nor what the manifest did.
    proxy.fault("/v2/b/manifests/1", 1, answer(200, &[], &index));
    proxy.fault(&format!("/v2/b/manifests/{digest}"), 1, answer(200, &[], INDEX));
    proxy.fault("/v2/b/manifests/2", 2, answer(200, &[], &manifest));
    proxy.fault(&format!("/v2/b/blobs/{blob}"), 1, answer(200, &[], &format!("{config} ")));
    for name in ["b:1", "b:2"] {
        let lie = registry.identity(&reference(&proxy, name), &amd64).await;
        assert!(matches!(lie, Err(RegistryError::DigestMismatch { .. })), "{name}: {lie:?}");
    }
    // Something that is packed as images are, and is none.
    let chart = r#"{"name":"chart"}"#;
    let blob = sha256(chart.as_bytes());
    let manifest = format!(r#"{{"config":{{"digest":"{blob}"}}}}"#);
    proxy.fault("/v2/c/manifests/1", 1, answer(200, &[], &manifest));
    proxy.fault(&format!("/v2/c/blobs/{blob}"), 1, answer(200, &[], chart));
    let none = registry.identity(&reference(&proxy, "c:1"), &amd64).await;
    assert!(none.is_err_and(|error| error.to_string().contains("its config is not that of an image")));
}

#[tokio::test]
async fn errors_tell_what_is_wrong() {
    let proxy = FaultyProxy::start(None).await;
    let name = reference(&proxy, "a:1");
    let domain = proxy.domain();
    for (trouble, said) in [
        (answer(404, &[], ""), format!("{domain}/a:1 is not in the registry")),
        (answer(403, &[], ""), format!("{domain} denies access to a: try `docker login {domain}`")),
        (answer(401, &[], ""), format!("{domain} denies access to a: try `docker login {domain}`")),
        (answer(429, &[("Retry-After", "7")], ""), format!("{domain} asks to wait 7 s")),
        (answer(429, &[], ""), format!("{domain} asks to wait")),
        (answer(500, &[], ""), format!("{domain} answered with status 500")),
    ] {
        proxy.fault("HEAD", 1, trouble);
        let error = Registry::default().manifest_digest(&name, None).await.expect_err(&said);
        assert_eq!(error.to_string(), said);
    }
}

#[tokio::test]
async fn fetches_a_token_when_the_registry_asks_for_one() {
    let proxy = FaultyProxy::start(None).await;
    let digest = body_digest();
    let challenge = format!(r#"Bearer realm="http://{}/token?client=x",service="here""#, proxy.domain());
    proxy.fault("HEAD /v2/a/manifests/1", 1, answer(401, &[("WWW-Authenticate", &challenge)], ""));
    proxy.fault("GET /token", 1, answer(200, &[], r#"{"access_token":"secret"}"#));
    proxy.fault("HEAD /v2/a/manifests/1", 1, answer(200, &[("Docker-Content-Digest", digest.as_str())], ""));
    let found = Registry::default().manifest_digest(&reference(&proxy, "a:1"), None).await;
    assert_eq!(found, Ok(digest));
    let [token] = proxy.seen("/token").try_into().expect("one question for a token");
    assert_eq!(token.path, "/token?client=x&service=here&scope=repository%3Aa%3Apull");
    let asked = proxy.seen("HEAD");
    assert!(!asked[0].head.to_lowercase().contains("authorization"));
    assert!(asked[1].head.to_lowercase().contains("authorization: bearer secret"));
}

#[tokio::test]
async fn asks_whether_to_wait_and_takes_every_other_answer_for_no() {
    let proxy = FaultyProxy::start(None).await;
    let name = reference(&proxy, "a:1");
    let registry = Registry::default();
    for (trouble, wait) in [
        (answer(429, &[("Retry-After", "3")], ""), Some(3)),
        (answer(429, &[("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")], ""), Some(0)),
        (answer(429, &[("Retry-After", "soon")], ""), None),
        (answer(429, &[], ""), None),
        (answer(200, &[("Retry-After", "3")], ""), None),
        (answer(401, &[], ""), None),
        (answer(404, &[], ""), None),
        (answer(503, &[("Retry-After", "3")], ""), None),
    ] {
        proxy.fault("HEAD /v2/a/manifests/1", 1, trouble.clone());
        let told = registry.told_to_wait(&name).await;
        assert_eq!(told.map(|wait| wait.as_secs()), wait, "{trouble:?}");
    }
    proxy.fault("HEAD", 1, Trouble::Closed);
    assert_eq!(registry.told_to_wait(&name).await, None);
    let before = proxy.seen("").len();
    assert_eq!(registry.told_to_wait(&name).await, None);
    assert_eq!(proxy.seen("").len(), before, "who gives no answer is not asked again");
}

#[test]
fn knows_where_apis_are() {
    assert_eq!(api_host("docker.io"), "registry-1.docker.io");
    assert_eq!(api_host("quay.io"), "quay.io");
    for (domain, loopback) in [
        ("localhost", true),
        ("localhost:5000", true),
        ("127.0.0.1:5000", true),
        ("127.8.8.8", true),
        ("[::1]:5000", true),
        ("10.0.0.1:5000", false),
        ("localhost.example.com", false),
        ("127.0.0.1.example.com", false),
        ("quay.io", false),
    ] {
        assert_eq!(is_loopback(domain), loopback, "{domain}");
    }
}

#[tokio::test]
async fn an_image_goes_through_with_all_that_it_is_made_of() {
    let proxy = FaultyProxy::start(None).await;
    let (config, layer) = (r#"{"os":"linux"}"#, "a layer");
    let blob = |text: &str| format!(r#"{{"digest":"{}","size":{}}}"#, sha256(text.as_bytes()), text.len());
    let manifest = format!(r#"{{"config":{},"layers":[{}]}}"#, blob(config), blob(layer));
    let digest = sha256(manifest.as_bytes());
    let index = format!(
        r#"{{"manifests":[{{"digest":"{digest}","platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
    );
    let top = sha256(index.as_bytes());
    for (of, text) in [(&top, index.as_str()), (&digest, &manifest)] {
        proxy.fault(&format!("/manifests/{of}"), 9, answer(200, &[], text));
    }
    proxy.fault(&format!("/blobs/{}", sha256(config.as_bytes())), 9, answer(200, &[], config));
    let layer_blob = format!("/blobs/{}", sha256(layer.as_bytes()));
    proxy.fault(&layer_blob, 1, answer(200, &[], layer));
    proxy.fault(&layer_blob, 1, answer(200, &[], "a la"));
    let (name, pinned) = (reference(&proxy, "a:1"), reference(&proxy, &format!("a@{top}")));
    let (registry, amd64) = (Registry::default(), platform("linux/amd64"));
    for is_whole in [true, false] {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let received = async {
            let mut bytes = Vec::new();
            while let Some(piece) = receiver.recv().await {
                bytes.extend(piece);
            }
            bytes
        };
        let (sent, bytes) = tokio::join!(registry.send_image(&pinned, &name, &amd64, sender), received);
        assert_eq!(sent.is_ok(), is_whole, "{sent:?}");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map_while(Result::ok);
        let names: Vec<String> = entries.map(|entry| entry.path().unwrap().display().to_string()).collect();
        let blobs = [&top, &digest, &sha256(layer.as_bytes()), &sha256(config.as_bytes())];
        let blobs = blobs.map(|digest| format!("blobs/sha256/{}", digest.hex()));
        let expected = ["oci-layout".to_owned(), "index.json".to_owned()].into_iter().chain(blobs);
        let expected: Vec<String> = expected.take(if is_whole { 6 } else { 5 }).collect();
        assert_eq!(names, expected);
    }
}

/// A server whose certificate nobody has heard of, and who signed it. Its address is this machine's, and none for which TLS is
/// left alone.
async fn private_registry() -> (String, String, tokio::task::JoinHandle<()>) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let key = KeyPair::generate().expect("a key");
    let params = || CertificateParams::new(["0.0.0.0".to_owned()]).expect("a name");
    let mut ca = params();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&key).expect("a CA").pem();
    let own = params().signed_by(&key, &Issuer::new(ca, &key)).expect("a certificate");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], private)
        .expect("a server");
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
                .await;
            let _ = stream.shutdown().await;
        }
    });
    (format!("0.0.0.0:{port}"), authority, server)
}

#[tokio::test]
async fn whoever_vouches_for_a_registry_to_an_engine_does_so_to_us() {
    let (domain, authority, server) = private_registry().await;
    let folder = tempfile::tempdir().expect("a folder");
    let registry =
        || Registry { certificates: Certificates(folder.path().to_owned()), ..Registry::default() };
    let error = registry().probe(&domain).await.expect_err("nobody vouches for it");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    let place = folder.path().join(&domain);
    std::fs::create_dir(&place).expect("a folder");
    std::fs::write(place.join("ca.crt"), authority).expect("written");
    std::fs::write(place.join("other.crt"), "no certificate").expect("written");
    let registry = registry();
    for _ in 0..2 {
        assert_eq!(registry.probe(&domain).await.map(|answer| answer.status), Ok(200));
    }
    server.abort();
}
