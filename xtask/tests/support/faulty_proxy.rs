//! A registry that misbehaves as it is told: an HTTP proxy in front of a real one, or in front of nothing.
//!
//! Self-contained: unit tests and integration tests both include it by `#[path]`. One request a connection,
//! so what is counted is what was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MAX_HEAD: usize = 64 * 1024;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct FaultyProxy {
    address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

/// What is wrong with the requests that it is about.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// An answer of its own: the status, further headers, the body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The connection closes before any answer.
    Closed,
    /// The connection closes after so many bytes of the real answer, head included.
    Cut(usize),
    /// Nothing comes, ever.
    Silent,
}

/// A request as it came, and the status that it got, as far as it got one.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it came.
    pub at: Instant,
    /// `GET`
    pub method: String,
    /// `/v2/library/alpine/manifests/3.19`
    pub path: String,
    /// The whole head, for tests of headers.
    pub head: String,
    /// What was answered.
    pub status: Option<u16>,
}

#[derive(Debug)]
struct State {
    upstream: Option<SocketAddr>,
    faults: Mutex<Vec<Fault>>,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Debug)]
struct Fault {
    /// Which requests: those whose `METHOD /path` contains this.
    about: String,
    /// Of whom: those whose head contains this.
    of: &'static str,
    left: usize,
    trouble: Trouble,
}

impl FaultyProxy {
    /// Listens on a free port of 127.0.0.1; without an upstream, what no fault is about gets a 404.
    ///
    /// # Panics
    /// When there is no port to listen on.
    pub async fn start(upstream: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State { upstream, faults: Mutex::default(), seen: Mutex::default() });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                // A client that goes away is none of the proxy's troubles.
                tokio::spawn(async move { drop(serve(client, &state).await) });
            }
        });
        Self { address, state, task }
    }

    /// `127.0.0.1:PORT`, as a reference's domain.
    pub fn domain(&self) -> String {
        self.address.to_string()
    }

    /// The next `times` requests whose `METHOD /path` contains `about` get into trouble. Faults that were set
    /// first come first.
    pub fn fault(&self, about: &str, times: usize, trouble: Trouble) {
        self.fault_of("", about, times, trouble);
    }

    /// The same of requests whose head contains `of`, such as a client's name.
    pub fn fault_of(&self, of: &'static str, about: &str, times: usize, trouble: Trouble) {
        lock(&self.state.faults).push(Fault { about: about.to_owned(), of, left: times, trouble });
    }

    /// A status with an empty body, for the next `times` requests that contain `about`.
    pub fn status(&self, about: &str, times: usize, status: u16) {
        self.fault(about, times, Trouble::Answer(status, Vec::new(), String::new()));
    }

    /// The requests so far whose `METHOD /path` contains `about`.
    pub fn seen(&self, about: &str) -> Vec<Seen> {
        let is_about = |seen: &&Seen| format!("{} {}", seen.method, seen.path).contains(about);
        lock(&self.state.seen).iter().filter(is_about).cloned().collect()
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn trouble_for(&self, request: &str, head: &str) -> Option<Trouble> {
        let mut faults = lock(&self.faults);
        let is_about =
            |fault: &&mut Fault| fault.left > 0 && request.contains(&fault.about) && head.contains(fault.of);
        let fault = faults.iter_mut().find(is_about)?;
        fault.left -= 1;
        Some(fault.trouble.clone())
    }

    fn answered(&self, index: usize, status: u16) {
        if let Some(seen) = lock(&self.seen).get_mut(index) {
            seen.status = Some(status);
        }
    }
}

async fn serve(mut client: TcpStream, state: &State) -> std::io::Result<()> {
    let (head, rest) = read_head(&mut client).await?;
    let mut words = head.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let request = format!("{method} {path}");
    let index = {
        let mut seen = lock(&state.seen);
        seen.push(Seen { at: Instant::now(), method, path, head: head.clone(), status: None });
        seen.len() - 1
    };
    let mut limit = usize::MAX;
    match state.trouble_for(&request, &head) {
        Some(Trouble::Closed) => return Ok(()),
        Some(Trouble::Silent) => return std::future::pending().await,
        Some(Trouble::Answer(status, headers, body)) => {
            state.answered(index, status);
            return answer(&mut client, &request, status, &headers, &body).await;
        }
        Some(Trouble::Cut(bytes)) => limit = bytes,
        None => {}
    }
    let Some(upstream) = state.upstream else {
        state.answered(index, 404);
        return answer(&mut client, &request, 404, &[], "").await;
    };
    let mut server = TcpStream::connect(upstream).await?;
    let (first, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    server.write_all(format!("{first}\r\nConnection: close\r\n").as_bytes()).await?;
    let kept =
        headers.split_inclusive("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    server.write_all(kept.collect::<String>().as_bytes()).await?;
    server.write_all(&rest).await?;

    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let upload = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        std::future::pending::<std::io::Result<()>>().await
    };
    let download = async {
        let mut buffer = vec![0; 64 * 1024];
        let mut sent = 0;
        loop {
            let read = from_server.read(&mut buffer).await?;
            if sent == 0 {
                let status = std::str::from_utf8(buffer.get(9..12).unwrap_or_default()).unwrap_or_default();
                state.answered(index, status.parse().unwrap_or(0));
            }
            let some = read.min(limit - sent);
            if some == 0 {
                return to_client.shutdown().await;
            }
            to_client.write_all(&buffer[..some]).await?;
            sent += some;
        }
    };
    tokio::select! {
        result = upload => result,
        result = download => result,
    }
}

/// The head, its empty line included, and what came behind it.
async fn read_head(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        // An engine tries TLS first, and goes on to plain HTTP when it is refused.
        if bytes.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
            client.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await?;
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if bytes.len() > MAX_HEAD || client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn answer(
    client: &mut TcpStream,
    request: &str,
    status: u16,
    headers: &[(&'static str, String)],
    body: &str,
) -> std::io::Result<()> {
    use std::fmt::Write as _;
    let mut text =
        format!("HTTP/1.1 {status} Told So\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        // Writing to a String cannot fail.
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    if !request.starts_with("HEAD ") {
        text.push_str(body);
    }
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await?;
    // Until the client has read it: a reset would take the answer back.
    let drained = async { while client.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
    Ok(())
}
