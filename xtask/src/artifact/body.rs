//! One answer of one server into a partial file.
//!
//! In: a URL and what is here already. Out: the rest, or what is wrong, sorted by what helps: another try, another
//! source, or nothing that is far away.
//!
//! A try has a thread and a runtime of its own: what comes from the network is written while it is still in that
//! processor's cache, which halves the cost of a copy through the runtime's workers, and a slow disk holds up nobody else.
//! A second thread hashes, a third reads the archive's entries.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{Client, Response, StatusCode, header};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::partial::{Partial, Source};
use super::source::Shown;
use super::stream;
use super::{ArtifactError, DownloadLimits};
use crate::engine::{OnProgress, Progress};
use crate::host::retry::Retriable;
use crate::model::Unit;
use crate::registry::web;

/// No release is larger.
const MAX_SIZE: u64 = 8 << 30;
/// A line that brings less is as good as broken. Bytes per second.
const SLOWEST: u128 = 1024;
/// Pieces on their way from the network to the disk. A piece is at most some hundred KiB.
const PIECES: usize = 16;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(50);
/// How often the rate is looked at.
const RATE_EVERY: Duration = Duration::from_millis(500);

/// What is wrong with a try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TryError {
    /// May go well a moment later.
    #[error("{cause}")]
    Again {
        /// What happened.
        cause: String,
        /// What the server asked to wait.
        after: Duration,
    },
    /// This source has nothing for us.
    #[error("{0}")]
    Refused(String),
    /// It is this machine that is in trouble.
    #[error(transparent)]
    Here(#[from] ArtifactError),
}

impl TryError {
    fn again(cause: impl Into<String>) -> Self {
        Self::Again { cause: cause.into(), after: Duration::ZERO }
    }
}

impl Retriable for TryError {
    fn worth_retrying_after(&self) -> Option<Duration> {
        match self {
            Self::Again { after, .. } => Some(*after),
            Self::Refused(_) | Self::Here(_) => None,
        }
    }
}

/// Whom to ask for what.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub url: String,
    pub shown: Shown,
    pub limits: DownloadLimits,
}

/// The partial file of this download; its writer may outlive a cancelled try for a moment.
pub(super) type Shared = Arc<Mutex<Partial>>;

pub(super) fn open(partial: &Shared) -> MutexGuard<'_, Partial> {
    partial.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gets what is missing. When this ends well, the file is as long as the server says. Dropping the future ends the try.
pub(super) async fn get_rest(ask: &Ask, partial: &Shared, progress: OnProgress<'_>) -> Result<(), TryError> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let _stops_when_dropped = stop.clone().drop_guard();
    let (ask, partial) = (ask.clone(), Arc::clone(partial));
    let work = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| here(&open(&partial), &error))?;
        runtime.block_on(async {
            let client = ask.client()?;
            let attempt = Try { ask: &ask, client: &client, tell: &tell };
            tokio::select! {
                result = attempt.rest(&partial) => result,
                () = stop.cancelled() => Err(TryError::again("stopped")),
            }
        })
    });
    let relay = async {
        while let Some(moved) = told.recv().await {
            progress(moved);
        }
    };
    let (result, ()) = tokio::join!(work, relay);
    result.unwrap_or_else(|panic| Err(TryError::Here(ArtifactError::Client(panic.to_string()))))
}

impl Ask {
    fn client(&self) -> Result<Client, TryError> {
        let builder = web::client().connect_timeout(self.limits.connect).read_timeout(self.limits.stall);
        let host = reqwest::Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        // No proxy leads to this machine itself.
        let is_here = host.is_some_and(|host| web::is_loopback(&host));
        let client = web::build(if is_here { builder.no_proxy() } else { builder });
        client.map_err(|error| TryError::Here(ArtifactError::Client(error)))
    }
}

/// One try.
struct Try<'a> {
    ask: &'a Ask,
    client: &'a Client,
    tell: &'a mpsc::UnboundedSender<Progress>,
}

impl Try<'_> {
    async fn rest(&self, partial: &Shared) -> Result<(), TryError> {
        let resume = open(partial).of(self.ask.shown.as_str()).cloned();
        if resume.as_ref().is_some_and(|source| source.total == Some(open(partial).len())) {
            return Ok(());
        }
        let mut response = self.request(partial, resume.as_ref()).await?;
        let rest = response.status() == StatusCode::PARTIAL_CONTENT;
        if rest && continues(&response, resume.as_ref(), open(partial).len()) {
            open(partial).splice();
            return self.body(response, partial).await;
        }
        if rest || response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // Not what was asked for: another content by now, or a server that cannot count. So all of it.
            self.restart(partial, Source::default())?;
            response = self.request(partial, None).await?;
        }
        if response.status() != StatusCode::OK {
            return Err(refusal(response.status(), &response));
        }
        let source = Source {
            url: self.ask.shown.to_string(),
            validator: validator(&response),
            total: response.content_length(),
        };
        self.restart(partial, source)?;
        self.body(response, partial).await
    }

    async fn request(&self, partial: &Shared, resume: Option<&Source>) -> Result<Response, TryError> {
        let mut request = self.client.get(&self.ask.url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(source) = resume {
            request = request.header(header::RANGE, format!("bytes={}-", open(partial).len()));
            if let Some(validator) = &source.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        request.send().await.map_err(|error| self.no_answer(&error))
    }

    fn restart(&self, partial: &Shared, source: Source) -> Result<(), TryError> {
        let mut partial = open(partial);
        partial.restart(source).map_err(|error| here(&partial, &error))
    }

    async fn body(&self, mut response: Response, partial: &Shared) -> Result<(), TryError> {
        let (done, told) = {
            let partial = open(partial);
            (partial.len(), partial.of(self.ask.shown.as_str()).and_then(|source| source.total))
        };
        let total = told.or(response.content_length());
        if total.is_some_and(|total| total > MAX_SIZE) {
            return Err(TryError::Refused(format!("more than {} GiB, which no release is", MAX_SIZE >> 30)));
        }
        let (to_hasher, pieces) = mpsc::channel::<Bytes>(PIECES);
        let hasher = open(partial).hasher();
        let hashing = tokio::task::spawn_blocking(move || stream::hash(hasher, pieces));
        let (to_reader, pieces) = mpsc::channel::<Bytes>(PIECES);
        let reading = tokio::task::spawn_blocking(move || {
            // From the middle of an archive nothing can be read.
            if done == 0 { stream::entries(pieces) } else { stream::Seen::new() }
        });
        let mut intake = Intake {
            partial,
            tell: self.tell,
            done,
            total,
            head: Head::after(done),
            rate: Rate::from(done),
            pace: Pace::from(done, self.ask.limits.stall),
            to_hasher,
            to_reader,
        };
        let ended = loop {
            match response.chunk().await {
                Ok(Some(piece)) => {
                    if let Err(error) = intake.take(piece, &response).await {
                        break Err(error);
                    }
                }
                Ok(None) => break intake.head.end(intake.done, &response),
                Err(error) => break Err(self.broken(&error, intake.done, total)),
            }
        };
        let done = intake.done;
        drop(intake);
        let (hasher, seen) = tokio::join!(hashing, reading);
        let mut ours = open(partial);
        let failed = |panic| here(&ours, &io::Error::other::<tokio::task::JoinError>(panic));
        let (hasher, seen) = (hasher.map_err(failed)?, seen.map_err(failed)?);
        ours.hashed(hasher, seen);
        drop(ours);
        ended?;
        match total {
            Some(total) if total != done => {
                Err(TryError::again(format!("the answer ended after {done} of {total} bytes")))
            }
            _ => Ok(()),
        }
    }

    fn no_answer(&self, error: &reqwest::Error) -> TryError {
        let cause = web::cause(error);
        if error.is_redirect() || error.is_builder() {
            return TryError::Refused(format!("no answer: {cause}"));
        }
        if error.is_connect() {
            // Out of reach stays out of reach; a handshake that broke may not.
            let is_broken = ["reset", "closed", "eof", "broken pipe"]
                .iter()
                .any(|word| cause.to_ascii_lowercase().contains(word));
            let told = format!("no connection: {cause}");
            return if is_broken { TryError::again(told) } else { TryError::Refused(told) };
        }
        if error.is_timeout() {
            return TryError::again(format!("no answer for {} s", self.ask.limits.stall.as_secs_f32()));
        }
        TryError::again(format!("the connection broke before an answer came: {cause}"))
    }

    fn broken(&self, error: &reqwest::Error, done: u64, total: Option<u64>) -> TryError {
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        let why = if error.is_timeout() {
            format!("no bytes for {} s", self.ask.limits.stall.as_secs_f32())
        } else {
            format!("the connection broke ({})", web::cause(error))
        };
        TryError::again(format!("{why} after {done}{of} bytes"))
    }
}

/// What is done with the pieces of an answer as they come.
struct Intake<'a> {
    partial: &'a Shared,
    tell: &'a mpsc::UnboundedSender<Progress>,
    done: u64,
    total: Option<u64>,
    head: Head,
    rate: Rate,
    pace: Pace,
    to_hasher: mpsc::Sender<Bytes>,
    to_reader: mpsc::Sender<Bytes>,
}

impl Intake<'_> {
    async fn take(&mut self, piece: Bytes, response: &Response) -> Result<(), TryError> {
        self.done += piece.len() as u64;
        self.head.look(&piece, response)?;
        if self.done > MAX_SIZE {
            return Err(TryError::Refused(format!("no end after {} GiB", MAX_SIZE >> 30)));
        }
        // The disk first, so that the hasher never knows of what is not here.
        write(self.partial, &piece)?;
        // It may have seen enough.
        let _ = self.to_reader.send(piece.clone()).await;
        self.to_hasher.send(piece).await.map_err(|_| TryError::again("the hasher is gone"))?;
        self.pace.look(self.done)?;
        if let Some(detail) = self.rate.at(self.done) {
            let total = self.total.unwrap_or_default();
            // Nobody listens any more when the try was stopped.
            let _ = self.tell.send(Progress::Moved { done: self.done, total, unit: Unit::Bytes, detail });
        }
        Ok(())
    }
}

fn write(partial: &Shared, piece: &Bytes) -> Result<(), TryError> {
    let mut partial = open(partial);
    partial.write(piece).map_err(|error| here(&partial, &error))
}

fn here(partial: &Partial, error: &io::Error) -> TryError {
    TryError::Here(ArtifactError::file(partial.path(), error))
}

/// What `If-Range` takes: a strong entity tag, else the time of the last change.
fn validator(response: &Response) -> Option<String> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let strong = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
    strong.or_else(|| text(header::LAST_MODIFIED))
}

/// Whether a 206 is the rest of what is here: from where we are, of the same whole.
fn continues(response: &Response, resume: Option<&Source>, len: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let parsed = range.and_then(|range| {
        let (span, total) = range.strip_prefix("bytes ")?.split_once('/')?;
        let from: u64 = span.split_once('-')?.0.parse().ok()?;
        Some((from, total.parse::<u64>().ok()))
    });
    let (Some((from, total)), Some(source)) = (parsed, resume) else { return false };
    let same_total = match (total, source.total) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let now = validator(response);
    let same_content = match (&now, &source.validator) {
        (Some(now), Some(before)) => now == before,
        _ => true,
    };
    from == len && same_total && same_content
}

fn refusal(status: StatusCode, response: &Response) -> TryError {
    let words = status.canonical_reason().unwrap_or("an odd status");
    let cause = format!("HTTP {} {words}", status.as_u16());
    let is_transient = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    let never = [StatusCode::NOT_IMPLEMENTED, StatusCode::HTTP_VERSION_NOT_SUPPORTED];
    if is_transient && !never.contains(&status) {
        TryError::Again { cause, after: web::retry_after(response.headers()).unwrap_or_default() }
    } else {
        TryError::Refused(cause)
    }
}

/// The first bytes of a content: what is no zip archive is not waited for.
struct Head {
    bytes: Vec<u8>,
    is_known: bool,
}

impl Head {
    /// Bytes that are here were looked at already.
    fn after(len: u64) -> Self {
        Self { bytes: Vec::new(), is_known: len > 0 }
    }

    fn look(&mut self, piece: &Bytes, response: &Response) -> Result<(), TryError> {
        if self.is_known {
            return Ok(());
        }
        self.bytes.extend(piece.iter().take(4 - self.bytes.len().min(4)));
        if self.bytes.len() < 4 {
            return Ok(());
        }
        self.is_known = true;
        // A file's or, in an empty archive, the end's signature (APPNOTE.TXT 4.3.7 and 4.3.16).
        if [b"PK\x03\x04", b"PK\x05\x06"].iter().any(|signature| **signature == self.bytes[..]) {
            return Ok(());
        }
        Err(TryError::Refused(format!("{} instead of a zip archive", kind_of(response))))
    }

    fn end(&self, done: u64, response: &Response) -> Result<(), TryError> {
        if self.is_known {
            return Ok(());
        }
        Err(TryError::Refused(format!("{done} bytes ({}) instead of a zip archive", kind_of(response))))
    }
}

/// What a server calls what it sent.
fn kind_of(response: &Response) -> String {
    let named = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match named {
        Some(kind) if kind.starts_with("text/html") => "an HTML page".to_owned(),
        Some(kind) => kind.chars().take(60).filter(|c| !c.is_control()).collect(),
        None => "something".to_owned(),
    }
}

/// Whether a line brings enough to be waited for: a byte now and then would keep a run for days.
struct Pace {
    every: Duration,
    since: Instant,
    from: u64,
}

impl Pace {
    fn from(done: u64, every: Duration) -> Self {
        Self { every, since: Instant::now(), from: done }
    }

    fn look(&mut self, done: u64) -> Result<(), TryError> {
        let elapsed = self.since.elapsed();
        if elapsed < self.every {
            return Ok(());
        }
        let came = done - self.from;
        if u128::from(came) < self.every.as_millis() * SLOWEST / 1000 {
            let seconds = elapsed.as_secs_f32();
            return Err(TryError::again(format!("no more than {came} bytes came in {seconds:.0} s")));
        }
        (self.since, self.from) = (Instant::now(), done);
        Ok(())
    }
}

/// Bytes per second, lately, and when to tell.
struct Rate {
    since: Instant,
    from: u64,
    told: Option<String>,
    next: Instant,
}

impl Rate {
    fn from(done: u64) -> Self {
        let now = Instant::now();
        Self { since: now, from: done, told: None, next: now }
    }

    /// The rate, empty at first, if it is time to tell again.
    fn at(&mut self, done: u64) -> Option<Option<String>> {
        let now = Instant::now();
        if now < self.next {
            return None;
        }
        let elapsed = now.duration_since(self.since);
        if elapsed >= RATE_EVERY {
            #[expect(clippy::cast_precision_loss, reason = "a rate is shown with one digit after the point")]
            let rate = (done - self.from) as f64 / elapsed.as_secs_f64() / 1e6;
            (self.since, self.from, self.told) = (now, done, Some(format!("{rate:.1} MB/s")));
        }
        self.next = now + TELL_EVERY;
        Some(self.told.clone())
    }
}
