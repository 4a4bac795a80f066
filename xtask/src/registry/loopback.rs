//! EFFECT: one question over plain HTTP to a port of this machine: a container's, or a registry's.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer that is asked for here is longer.
const MAX_BODY: usize = 1024 * 1024;

/// An answer.
pub(crate) struct Answer {
    /// `200`
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// `GET http://127.0.0.1:PORT/PATH`, without redirects and proxies. The error says what the connection said.
pub(crate) async fn get(port: u16, path: &str) -> Result<Answer, String> {
    match tokio::time::timeout(PATIENCE, ask(port, path)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn ask(port: u16, path: &str) -> Result<Answer, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| plain(&error.to_string()))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    // What goes wrong on it is told to whoever waits for the answer.
    let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let request = Request::get(path)
        .header(http::header::HOST, format!("127.0.0.1:{port}"))
        .header(http::header::ACCEPT, "application/json, */*")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| error.to_string())?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes().to_vec() })
}

/// What the number says, the words before it say too.
fn plain(text: &str) -> String {
    text.split(" (os error ").next().unwrap_or(text).to_ascii_lowercase()
}
