//! A server that does what a test tells it: whole answers, parts of them, lies, silence.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// How many were asked before.
    pub nth: usize,
    pub path: String,
    /// `Range`'s first byte.
    pub from: Option<usize>,
    pub if_range: Option<String>,
    pub authorization: Option<String>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// What `Content-Length` says; none is no such header.
    length: Option<usize>,
    /// The connection breaks after so many bytes of the body.
    cut: Option<usize>,
    /// Nothing follows, but the connection stays.
    hangs: bool,
    /// What is left comes a byte at a time.
    drips: bool,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            length: Some(0),
            cut: None,
            hangs: false,
            drips: false,
        }
    }

    pub fn whole(body: &[u8]) -> Self {
        Self { body: body.to_vec(), length: Some(body.len()), ..Self::status(200) }
    }

    /// The rest from where it was asked for, as a server that knows ranges has it.
    pub fn ranged(body: &[u8], asked: &Asked) -> Self {
        match asked.from {
            None => Self::whole(body),
            Some(from) if from >= body.len() => Self::status(416),
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                Self { status: 206, ..Self::whole(&body[from..]) }.header("Content-Range", &range)
            }
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn claiming(self, length: Option<usize>) -> Self {
        Self { length, ..self }
    }

    pub fn cut_after(self, bytes: usize) -> Self {
        Self { cut: Some(bytes), ..self }
    }

    pub fn hanging_after(self, bytes: usize) -> Self {
        Self { hangs: true, ..self.cut_after(bytes) }
    }

    pub fn dripping_after(self, bytes: usize) -> Self {
        Self { drips: true, ..self.cut_after(bytes) }
    }

    async fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", self.status);
        if let Some(length) = self.length {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        let end = self.cut.unwrap_or(self.body.len()).min(self.body.len());
        stream.write_all(&self.body[..end]).await?;
        stream.flush().await?;
        if self.drips {
            for byte in &self.body[end..] {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                stream.write_all(&[*byte]).await?;
            }
        }
        if self.hangs {
            std::future::pending::<()>().await;
        }
        stream.shutdown().await
    }
}

/// A server on a port of its own, until it is dropped.
pub(super) struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                connections.spawn(async move { serve(stream, &log, &*answer).await });
            }
        });
        Self { url, asked, task }
    }

    /// A URL of it.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// All that was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    answer: &(dyn Fn(&Asked) -> Reply + Send + Sync),
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let asked = {
        let mut log = log.lock().expect("not poisoned");
        let range = header("range");
        let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let asked = Asked {
            nth: log.len(),
            path: head.split(' ').nth(1).unwrap_or_default().to_owned(),
            from,
            if_range: header("if-range"),
            authorization: header("authorization"),
        };
        log.push(asked.clone());
        asked
    };
    // Who does not wait for the end of an answer says nothing.
    let _ = answer(&asked).send(&mut stream).await;
}
