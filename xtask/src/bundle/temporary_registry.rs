//! EFFECT: a registry on 127.0.0.1 for the time of one [`super::fetch`], to which an engine pushes an image of which
//! the store has most layers. An engine's `save` always sends all of them, a push asks layer by layer.
//!
//! In: the engine's requests (OCI distribution-spec, "Pushing"). Out: blobs in the store. An engine does not know what
//! its layers look like compressed until it has pushed them once, so it cannot ask whether we have them: it begins to
//! send. A layer that begins as one that the store has is answered as if it had come whole, at once, and the engine
//! turns to the next. Should it turn out to be another one, the wanted one is missing in the end, and the
//! caller has another way to get it. What is kept is called what it hashes to, whoever sent it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::pipe::{self, Pieces as _};
use super::saved::{self, WantedBlobs};
use super::store::{BlobStore, MAX_CONFIG};
use crate::model::{Digest, sha256};

/// How long the connection of an upload that was answered early is kept: the engine has to read the answer before it
/// is closed, or it takes the upload for failed.
const LINGER: Duration = Duration::from_secs(5);
/// The first bytes of a gzip stream.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes of an upload for which the thread that reads it is woken; what is known should be found so soon.
const BATCH: usize = 32 << 10;
/// The same where nothing is to be found before the end.
const LARGE_BATCH: usize = 256 << 10;
const MAX_MANIFEST: usize = 4 << 20;

/// What is pushed to a repository.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// Layers that the engine compresses for us; these are kept.
    Layers(WantedBlobs),
    /// An image as it is in a store that keeps manifests; all of it is kept.
    Originals,
}

/// It listens as long as it lives.
#[derive(Debug)]
pub(super) struct TemporaryRegistry {
    address: SocketAddr,
    pushes: Arc<Pushes>,
    _server: AbortOnDropHandle<()>,
}

/// What is being pushed, by repository.
#[derive(Debug)]
struct Pushes {
    store: BlobStore,
    expected: Mutex<BTreeMap<String, Arc<Expected>>>,
    uploads: AtomicU64,
    received: AtomicU64,
    /// What the engine called its uploads: it asks for each of them once it has sent it.
    committed: Mutex<BTreeSet<String>>,
    /// When something last happened.
    last: Mutex<Instant>,
}

type Answer = Response<Full<Bytes>>;

impl TemporaryRegistry {
    /// Listens on a free port.
    ///
    /// # Errors
    /// The operating system has none.
    pub(super) async fn start(store: &BlobStore) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let pushes = Arc::new(Pushes {
            store: store.clone(),
            expected: Mutex::default(),
            uploads: AtomicU64::new(0),
            received: AtomicU64::new(0),
            committed: Mutex::default(),
            last: Mutex::new(Instant::now()),
        });
        let server = AbortOnDropHandle::new(tokio::spawn(serve(listener, pushes.clone())));
        Ok(Self { address, pushes, _server: server })
    }

    /// Lets an engine push to `repository`, and says under which name.
    pub(super) fn expect(&self, repository: &str, expected: Expected) -> String {
        self.pushes.lock().insert(repository.to_owned(), Arc::new(expected));
        format!("{}/{repository}", self.address)
    }

    /// How long nothing has come.
    pub(super) fn idle(&self) -> Duration {
        self.pushes.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Bytes that came so far.
    pub(super) fn received(&self) -> u64 {
        self.pushes.received.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, pushes: Arc<Pushes>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let pushes = pushes.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let pushes = pushes.clone();
                        async move { Ok::<_, Infallible>(pushes.answer(request).await) }
                    });
                    // What goes wrong, the engine tells.
                    if matches!(speaks_tls(&stream).await, Ok(true)) {
                        let _ = refuse_tls(stream).await;
                        return;
                    }
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Whether a client begins with a TLS handshake (RFC 8446, 5.1: a record of type 22). Engines try that first.
async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0] == 22)
}

/// Says in plain HTTP that this is plain HTTP. An engine that keeps images in containerd goes on without TLS only
/// when the answer to its handshake begins with `HTTP/` (containerd, `core/remotes/docker/registry.go`,
/// `HTTPFallback`); one that is just hung up on gives the push up.
async fn refuse_tls(mut stream: TcpStream) -> io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // Unread bytes would make the connection end in a reset, before the answer is read.
    let mut hello = [0; 4096];
    let _ = stream.read(&mut hello).await?;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await?;
    stream.shutdown().await
}

impl Pushes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Expected>>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened.
    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        self.touch();
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix("/v2/") else { return plain(StatusCode::NOT_FOUND) };
        if rest.is_empty() {
            return plain(StatusCode::OK);
        }
        let Some((repository, rest)) = rest.split_once('/') else { return plain(StatusCode::NOT_FOUND) };
        let Some(expected) = self.lock().get(repository).cloned() else {
            return plain(StatusCode::NOT_FOUND);
        };
        let upload = rest.strip_prefix("blobs/uploads/");
        match (request.method().clone(), upload) {
            (Method::POST, Some("")) => {
                let number = self.uploads.fetch_add(1, Ordering::Relaxed);
                accepted(&format!("/v2/{repository}/blobs/uploads/{number}"), 0)
            }
            (Method::PATCH, Some(_)) => {
                let store = self.store.clone();
                let keep = move |upload: pipe::Reader| match &*expected {
                    Expected::Layers(wanted) => keep(upload, &store, wanted),
                    Expected::Originals => Err(io::Error::other("in pieces")),
                };
                match self.take(request.into_body(), BATCH, keep).await {
                    Ok(received) => accepted(&path, received),
                    Err(error) => refused(&error),
                }
            }
            (Method::PUT, Some(_)) => {
                let digest = digest_in(request.uri().query());
                if let (Expected::Originals, Some(digest)) = (&*expected, digest.as_deref()) {
                    let Ok(wanted) = digest.parse::<Digest>() else { return plain(StatusCode::BAD_REQUEST) };
                    let store = self.store.clone();
                    let keep = move |upload: pipe::Reader| keep_as_is(upload, &store, &wanted);
                    if let Err(error) = self.take(request.into_body(), LARGE_BATCH, keep).await {
                        return refused(&error);
                    }
                }
                self.committed().extend(digest.clone());
                created(digest.as_deref())
            }
            (Method::HEAD, None) => match rest.strip_prefix("blobs/") {
                // The engine wants a length, which goes into a manifest that nobody reads.
                Some(digest) if self.committed().contains(digest) => {
                    with_body(StatusCode::OK, "1".to_owned())
                }
                Some(digest) if matches!(&*expected, Expected::Originals) && self.has(digest) => {
                    plain(StatusCode::OK)
                }
                // Nothing is here under the name that it has compressed.
                _ => plain(StatusCode::NOT_FOUND),
            },
            (Method::PUT, None) if rest.starts_with("manifests/") => {
                self.put_manifest(request.into_body(), &expected).await
            }
            _ => plain(StatusCode::NOT_FOUND),
        }
    }

    async fn put_manifest(&self, body: Incoming, expected: &Expected) -> Answer {
        let Ok(body) = Limited::new(body, MAX_MANIFEST).collect().await else {
            return plain(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        match expected {
            Expected::Layers(_) => created(Some(sha256(&body).as_str())),
            Expected::Originals => match self.store.put_config(&body) {
                Ok(digest) => created(Some(digest.as_str())),
                Err(error) => refused(&error),
            },
        }
    }

    /// Whether a blob need not be sent.
    fn has(&self, digest: &str) -> bool {
        digest.parse().is_ok_and(|digest| self.store.has(&digest))
    }

    /// Takes an upload, as far as it is worth it; returns how many bytes came.
    async fn take(
        &self,
        mut body: Incoming,
        batch: usize,
        keep: impl FnOnce(pipe::Reader) -> io::Result<()> + Send + 'static,
    ) -> io::Result<u64> {
        let (mut sender, reader) = pipe::reader(batch);
        let mut worker = tokio::task::spawn_blocking(move || keep(reader));
        let mut received = 0;
        let result = loop {
            tokio::select! {
                biased;
                done = &mut worker => break done,
                frame = body.frame() => match frame {
                    Some(Ok(frame)) => {
                        let Ok(data) = frame.into_data() else { continue };
                        self.touch();
                        received += data.len() as u64;
                        self.received.fetch_add(data.len() as u64, Ordering::Relaxed);
                        if sender.send(data).await.is_err() {
                            // The worker knows enough.
                            break worker.await;
                        }
                    }
                    Some(Err(error)) => {
                        sender.finish(Err(io::Error::other(error))).await;
                        break worker.await;
                    }
                    None => {
                        sender.finish(Ok(())).await;
                        break worker.await;
                    }
                },
            }
        };
        result.map_err(io::Error::other)??;
        // The engine must not find the connection closed while it still sends.
        tokio::spawn(async move {
            tokio::time::sleep(LINGER).await;
            drop(body);
        });
        Ok(received)
    }
}

/// Reads a layer into the store, or only so far that it is known; a config whole. Blocks.
fn keep(mut upload: impl Read, store: &BlobStore, wanted: &WantedBlobs) -> io::Result<()> {
    let mut start = [0; 2];
    upload.read_exact(&mut start)?;
    let upload = start.as_slice().chain(upload);
    if start != GZIP {
        let mut config = Vec::new();
        upload.take(MAX_CONFIG).read_to_end(&mut config)?;
        if wanted.configs.contains(&sha256(&config)) {
            store.put_config(&config)?;
        }
        return Ok(());
    }
    let mut tar = flate2::read::MultiGzDecoder::new(upload);
    let mut start = Vec::new();
    (&mut tar).take(saved::ALIKE).read_to_end(&mut start)?;
    for known in wanted.known.iter().filter_map(|diff_id| store.layer(diff_id)) {
        if store.begins_with(&known.layer, &start)? && start.len() as u64 == saved::ALIKE.min(known.raw) {
            return Ok(());
        }
    }
    let mut layer = store.begin_layer()?;
    layer.write_all(&start)?;
    drop(start);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match tar.read(&mut buffer)? {
            0 => break,
            read => layer.write_all(&buffer[..read])?,
        }
    }
    layer.finish(|found| wanted.layers.contains(found))?;
    Ok(())
}

/// Reads a blob into the store, if it is the one of this digest. Blocks.
fn keep_as_is(mut upload: pipe::Reader, store: &BlobStore, digest: &Digest) -> io::Result<()> {
    let mut blob = store.begin_blob()?;
    loop {
        let piece = upload.piece(LARGE_BATCH)?;
        if piece.is_empty() {
            break;
        }
        blob.push(piece);
    }
    let is_it = blob.finish(digest)?;
    if is_it { Ok(()) } else { Err(io::Error::other(format!("what came is not {digest}"))) }
}

fn refused(error: &io::Error) -> Answer {
    let body =
        format!("{{\"errors\":[{{\"code\":\"BLOB_UPLOAD_INVALID\",\"message\":{:?}}}]}}", error.to_string());
    with_body(StatusCode::BAD_REQUEST, body)
}

fn with_body(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let name = "docker-distribution-api-version";
    answer.headers_mut().insert(name, HeaderValue::from_static("registry/2.0"));
    answer
}

fn plain(status: StatusCode) -> Answer {
    with_body(status, String::new())
}

/// `202`: go on at `location`.
fn accepted(location: &str, received: u64) -> Answer {
    let mut answer = plain(StatusCode::ACCEPTED);
    let range = format!("0-{}", received.saturating_sub(1));
    insert(answer.headers_mut(), header::LOCATION, HeaderValue::from_str(location).ok());
    insert(answer.headers_mut(), header::RANGE, HeaderValue::from_str(&range).ok());
    answer
}

fn created(digest: Option<&str>) -> Answer {
    let digest = digest.and_then(|digest| HeaderValue::from_str(digest).ok());
    let mut answer = plain(StatusCode::CREATED);
    let name = header::HeaderName::from_static("docker-content-digest");
    insert(answer.headers_mut(), header::LOCATION, Some(HeaderValue::from_static("/v2/")));
    insert(answer.headers_mut(), name, digest);
    answer
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

/// The value of `digest=`, whose colon is escaped.
fn digest_in(query: Option<&str>) -> Option<String> {
    let value = query?.split('&').find_map(|part| part.strip_prefix("digest="))?;
    Some(value.replace("%3A", ":").replace("%3a", ":"))
}
