//! The wire: one HTTP/1.1 connection a request to an engine's endpoint, over a unix socket, TCP, TLS or a program's pipes; to a
//! builder that is no engine the bare connection (`dial`).
//!
//! In: requests whose paths carry the API version. Out: responses, lines of JSON, or an upgraded connection.
//! It knows nothing of images. bollard runs over it too, so an endpoint is opened in one place only.
//! Dropping what these functions return closes the connection, and with it what the engine does for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream as ItemStream, StreamExt as _};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyDataStream, BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::EngineError;
use super::classify::{classify, without_stations};
use super::ssh::{Opening, Ssh};
use super::tls::{TlsFiles, Verify};
use crate::host::HostCommand;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an error's body is read.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// Where an engine listens.
#[derive(Clone)]
pub(super) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// Plain HTTP.
    Tcp { host: String, port: u16 },
    /// HTTP over TLS.
    Tls { host: String, port: u16, config: Arc<rustls::ClientConfig>, server: String },
    /// A socket on another machine, through `ssh`.
    Ssh(Ssh),
    /// What a program passes on: its words.
    Program(Arc<HostCommand>),
}

/// An endpoint that requests can be sent to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Wire {
    address: Address,
    shown: String,
    /// With TLS: what it was set up from.
    tls: Option<TlsFiles>,
}

/// A request body of any kind.
pub(crate) type AnyBody = http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>;

/// No body.
pub(crate) fn empty() -> AnyBody {
    full(Bytes::new())
}

/// A body that is in memory.
pub(crate) fn full(bytes: Bytes) -> AnyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The endpoint could not be opened.
    #[error("{0}")]
    Connect(io::Error),
    /// It was, but HTTP went wrong on it.
    #[error("{}", chain(.0))]
    Http(hyper::Error),
}

/// A response, and the connection that it comes over.
pub(crate) struct Answer {
    response: Response<Incoming>,
    connection: AbortOnDropHandle<()>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Wire {
    /// An endpoint, with the text that errors call it by.
    pub(super) fn new(address: Address, shown: impl Into<String>) -> Self {
        Self { address, shown: shown.into(), tls: None }
    }

    /// The same, knowing what its TLS was set up from.
    pub(super) fn with_certificates(mut self, tls: Option<TlsFiles>) -> Self {
        self.tls = tls.filter(|_| matches!(self.address, Address::Tls { .. }));
        self
    }

    /// The text that errors call it by: `unix:///var/run/docker.sock`.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether the other end seems to be on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match &self.address {
            Address::Unix(_) => true,
            Address::Ssh(_) | Address::Program(_) => false,
            Address::Tcp { host, .. } | Address::Tls { host, .. } => {
                let host = bare(host);
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }

    /// The program that passes it on, if one does.
    #[cfg(test)]
    pub(super) fn program(&self) -> Option<&HostCommand> {
        match &self.address {
            Address::Program(command) => Some(command),
            _ => None,
        }
    }

    /// Whether the other end is reached through ssh.
    pub(crate) fn is_ssh(&self) -> bool {
        matches!(self.address, Address::Ssh(_))
    }

    /// The variables that lead docker's own programs to this endpoint.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let one = |is_set: bool| if is_set { "1" } else { "" }.to_owned();
        let folder = self.tls.as_ref().and_then(|files| files.folder.as_ref());
        vec![
            ("DOCKER_HOST", self.shown.clone()),
            ("DOCKER_TLS", one(self.tls.is_some())),
            ("DOCKER_TLS_VERIFY", one(self.tls.as_ref().is_some_and(|files| files.verify == Verify::Yes))),
            ("DOCKER_CERT_PATH", folder.map(|folder| folder.display().to_string()).unwrap_or_default()),
        ]
    }

    /// What somebody who trusts this connection should know.
    pub(crate) fn caution(&self) -> Option<String> {
        let is_unverified = self.tls.as_ref().is_some_and(|files| files.verify == Verify::No);
        is_unverified.then(|| {
            format!("nothing vouches for the engine at {}: its certificate is not checked", self.shown)
        })
    }

    /// Sends one request over a connection of its own. The target is reduced to path and query.
    pub(crate) async fn send<B>(&self, mut request: Request<B>) -> Result<Answer, WireError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (stream, opening) = self.open().await.map_err(WireError::Connect)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(WireError::Http)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // What goes wrong here is told to whoever waits for the response or its body.
            let _ = connection.with_upgrades().await;
        }));
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        *request.uri_mut() = path.parse::<Uri>().unwrap_or_default();
        let host = match &self.address {
            Address::Unix(_) | Address::Ssh(_) | Address::Program(_) => "localhost".to_owned(),
            Address::Tcp { host, port } | Address::Tls { host, port, .. } => format!("{host}:{port}"),
        };
        if let Ok(host) = HeaderValue::from_str(&host) {
            request.headers_mut().insert(header::HOST, host);
        }
        let response = sender.send_request(request).await.map_err(|error| self.unanswered(error))?;
        if let Some(opening) = opening {
            opening.done();
        }
        Ok(Answer { response, connection })
    }

    /// Sends a request of ours and refuses every status but success.
    pub(crate) async fn call(&self, request: Request<AnyBody>, about: &str) -> Result<Answer, EngineError> {
        let answer = self.send(request).await.map_err(|error| self.lost(&error))?;
        let status = answer.response.status();
        // 304 is how an engine says that a container is stopped, or runs, already.
        let is_fine = matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NOT_MODIFIED);
        if status.is_success() || is_fine {
            return Ok(answer);
        }
        Err(classify(Some(status.as_u16()), &answer.error_message().await, about))
    }

    /// Nothing came back. Over ssh that is how an endpoint shows that it cannot be opened.
    fn unanswered(&self, error: hyper::Error) -> WireError {
        let Address::Ssh(ssh) = &self.address else { return WireError::Http(error) };
        if error.is_parse() {
            return WireError::Connect(ssh.explain_noise());
        }
        let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        match cause {
            Some(cause) => WireError::Connect(ssh.explain(cause)),
            None => WireError::Http(error),
        }
    }

    /// The engine does not answer any more.
    pub(crate) fn lost(&self, error: &WireError) -> EngineError {
        match error {
            WireError::Connect(cause) => EngineError::Unreachable {
                tried: vec![(self.shown.clone(), cause.to_string())],
                named_by: None,
            },
            WireError::Http(_) => EngineError::Gone(error.to_string()),
        }
    }

    /// A connection; one through ssh counts as being opened until its first answer.
    async fn open(&self) -> io::Result<(Box<dyn Stream>, Option<Opening>)> {
        if let Address::Ssh(ssh) = &self.address {
            let (conversation, opening) = ssh.open().await?;
            return Ok((Box::new(conversation), Some(opening)));
        }
        match tokio::time::timeout(CONNECT_TIMEOUT, self.open_directly()).await {
            Ok(opened) => Ok((opened?, None)),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            )),
        }
    }

    async fn open_directly(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.address {
            Address::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await?) as Box<dyn Stream>,
            Address::Tcp { host, port } => Box::new(connect_tcp(host, *port).await?),
            Address::Tls { host, port, config, server } => {
                let name = ServerName::try_from(bare(server).to_owned()).map_err(io::Error::other)?;
                let stream = connect_tcp(host, *port).await?;
                Box::new(tokio_rustls::TlsConnector::from(config.clone()).connect(name, stream).await?)
            }
            Address::Ssh(ssh) => Box::new(ssh.open().await?.0),
            Address::Program(program) => {
                Box::new(HostCommand::clone(program).converse().map_err(io::Error::other)?)
            }
        })
    }

    /// A connection that is not for HTTP of the engine's kind.
    pub(crate) async fn dial(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, EngineError> {
        match self.open().await {
            Ok((stream, _)) => Ok(stream),
            Err(error) => Err(self.lost(&WireError::Connect(error))),
        }
    }
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((bare(host), port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Answer {
    /// Status and headers.
    pub(crate) fn head(&self) -> &Response<Incoming> {
        &self.response
    }

    /// The response alone, for a reader that keeps no handle: the connection lives until its body is dropped.
    pub(crate) fn into_response(self) -> Response<Incoming> {
        self.connection.detach();
        self.response
    }

    /// The raw connection after `101 Switching Protocols`.
    pub(crate) async fn upgrade(self) -> Result<Upgraded, WireError> {
        if self.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = self.response.status();
            return Err(WireError::Connect(io::Error::other(format!("answered {status}, not an upgrade"))));
        }
        let upgraded = hyper::upgrade::on(self.response).await.map_err(WireError::Http);
        // Only now has the connection handed its socket over.
        drop(self.connection);
        upgraded
    }

    /// The body as lines of JSON.
    pub(crate) fn lines(self) -> JsonLines {
        JsonLines {
            body: self.response.into_body(),
            buffer: Vec::new(),
            scanned: 0,
            _connection: self.connection,
        }
    }

    /// The body, read to its end; of a longer one the first `limit` bytes.
    pub(crate) async fn bytes(self, limit: usize) -> Result<Vec<u8>, EngineError> {
        let mut body = self.response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| EngineError::Gone(without_stations(&chain(&error)).to_owned()))?;
            if let Some(data) = frame.data_ref() {
                let room = limit.saturating_sub(bytes.len()).min(data.len());
                bytes.extend_from_slice(&data[..room]);
            }
        }
        Ok(bytes)
    }

    /// The body as it comes.
    pub(crate) fn stream(self) -> impl ItemStream<Item = Result<Bytes, hyper::Error>> + Send + 'static {
        let connection = self.connection;
        BodyDataStream::new(self.response.into_body()).inspect(move |_| {
            // The connection lives as long as its stream.
            let _ = &connection;
        })
    }

    /// What the engine says in an error's body.
    async fn error_message(self) -> String {
        #[derive(serde::Deserialize)]
        struct Message {
            #[serde(alias = "cause")]
            message: String,
        }
        let status = self.response.status();
        let body = match Limited::new(self.response.into_body(), MAX_ERROR_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => Bytes::new(),
        };
        match serde_json::from_slice::<Message>(&body) {
            Ok(body) if !body.message.is_empty() => body.message.trim().to_owned(),
            _ if body.is_empty() => format!("answered {status}"),
            _ => String::from_utf8_lossy(&body).trim().to_owned(),
        }
    }
}

/// A body that is one JSON object after the other, a line each.
pub(crate) struct JsonLines {
    body: Incoming,
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no newline.
    scanned: usize,
    _connection: AbortOnDropHandle<()>,
}

impl JsonLines {
    /// The next object; none at the end. A line that is no JSON of this type is an error.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, EngineError> {
        loop {
            if let Some(end) = self.buffer[self.scanned..].iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.scanned + end).collect();
                self.scanned = 0;
                if !line.trim_ascii().is_empty() {
                    return parse(&line).map(Some);
                }
                continue;
            }
            self.scanned = self.buffer.len();
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => {
                    return Err(EngineError::Gone(without_stations(&chain(&error)).to_owned()));
                }
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                None => {
                    let line = std::mem::take(&mut self.buffer);
                    self.scanned = 0;
                    return parse(&line).map(Some);
                }
            }
        }
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(line).map_err(|error| {
        let text = String::from_utf8_lossy(line);
        let start: String = text.trim().chars().take(200).collect();
        EngineError::Other(format!("the engine said something that is not understood ({error}): {start}"))
    })
}

/// An error with its causes, as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// `/v1.41/images/create?fromImage=alpine` from its parts.
pub(crate) fn target(api: (u32, u32), path: &str, query: &[(&str, String)]) -> String {
    let mut text = format!("/v{}.{}{path}", api.0, api.1);
    for (index, (key, value)) in query.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

/// RFC 3986: everything but unreserved characters becomes `%XX`.
fn encode(value: &str, text: &mut String) {
    use std::fmt::Write as _;
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte as char);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        let query = [("fromSrc", "-".to_owned()), ("changes", "LABEL a=\"b & ü\"".to_owned())];
        assert_eq!(
            target((1, 41), "/images/create", &query),
            "/v1.41/images/create?fromSrc=-&changes=LABEL%20a%3D%22b%20%26%20%C3%BC%22"
        );
        assert_eq!(target((1, 41), "/version", &[]), "/v1.41/version");
    }
}
