//! How this program speaks HTTP: one way to make a client, one way to say what went wrong.
//!
//! In: nothing but what `reqwest` itself takes from the machine (proxies, certificates). Out: client builders and words.
//! It asks nobody anything; whom to ask, and what an answer means, is for the rooms that use it.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, ClientBuilder};

/// A client with this program's name, the machine's certificates and proxies, and no time limits yet.
pub fn client() -> ClientBuilder {
    // The process has one TLS provider; whoever came first is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("xtask/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(DetachedResolver))
}

/// Finishes a client.
///
/// # Errors
/// When the machine has no certificates to check servers with; the text says so.
pub fn build(builder: ClientBuilder) -> Result<Client, String> {
    builder
        .build()
        .map_err(|error| format!("no TLS on this machine (is ca-certificates installed?): {}", cause(&error)))
}

/// Resolves names on threads that nobody waits for: the runtime's own would hold up the end of the program
/// for as long as a dead name server lets them hang.
struct DetachedResolver;

impl reqwest::dns::Resolve for DetachedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let name = name.as_str().to_owned();
        let spawned = std::thread::Builder::new().name("resolve".into()).spawn(move || {
            // The port is a placeholder: the caller puts in its own. Nobody listens any more after a timeout.
            let _ = sender.send((name.as_str(), 0).to_socket_addrs());
        });
        Box::pin(async move {
            spawned?;
            let addresses = receiver.await.map_err(std::io::Error::other)??;
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}

/// What Docker takes for insecure without being told: this machine's own addresses.
pub fn is_loopback(domain: &str) -> bool {
    let host = match domain.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => domain.split(':').next().unwrap_or(domain),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    let wait = date.signed_duration_since(chrono::Utc::now());
    Some(wait.to_std().unwrap_or_default())
}

/// The innermost cause: what the operating system or the TLS library said, without the URL.
pub fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    let text = source.to_string();
    if text.starts_with("failed to lookup address information") {
        return "no such host".to_owned();
    }
    // What the number says, the words before it say too.
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_ascii_lowercase(),
        None => text,
    }
}
