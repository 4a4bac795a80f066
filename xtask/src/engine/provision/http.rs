//! One request of plain HTTP: what can be asked before the engine's adapter exists and after it is gone.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Home;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Status and body.
pub(super) type Answer = (u16, String);

/// Asks the engine of this home.
pub(super) async fn ask_engine(home: &Home, method: &str, path: &str, body: &str) -> Option<Answer> {
    let socket = tokio::net::UnixStream::connect(home.socket()).await.ok()?;
    ask(socket, method, path, body).await
}

/// Asks a web service.
pub(super) async fn ask_service(host: &str, port: u16, path: &str) -> Option<Answer> {
    let connect = tokio::net::TcpStream::connect((host, port));
    ask(tokio::time::timeout(PATIENCE, connect).await.ok()?.ok()?, "GET", path, "").await
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    method: &str,
    path: &str,
    body: &str,
) -> Option<Answer> {
    // HTTP/1.0: the answer ends with the connection and is never chunked.
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: xtask\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let exchange = async {
        stream.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        parse(&String::from_utf8_lossy(&answer))
    };
    tokio::time::timeout(PATIENCE, exchange).await.ok().flatten()
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn asks_and_reads_the_answer() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let serve = async move {
            let mut asked = vec![0; 4096];
            let length = theirs.read(&mut asked).await.expect("asked");
            theirs.write_all(b"HTTP/1.1 201 Created\r\nA: b\r\n\r\n{\"Id\":1}").await.expect("answered");
            String::from_utf8_lossy(&asked[..length]).into_owned()
        };
        let (answer, asked) = tokio::join!(ask(ours, "POST", "/x", "{}"), serve);
        assert_eq!(answer, Some((201, "{\"Id\":1}".to_owned())));
        assert!(
            asked.starts_with("POST /x HTTP/1.0\r\n") && asked.ends_with("Content-Length: 2\r\n\r\n{}"),
            "{asked}"
        );
    }

    #[test]
    fn half_an_answer_is_none() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\nA: b"), None);
        assert_eq!(parse(""), None);
    }
}
