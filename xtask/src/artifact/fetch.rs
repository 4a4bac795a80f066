//! A download from its first source to its place in the cache: one at a time per artifact, whoever asks.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::Digest as _;

use super::body::{Ask, Shared, TryError, get_rest, open};
use super::cache::Cache;
use super::check::check;
use super::lock::{self, Noted};
use super::partial::{Partial, Source, lock_of};
use super::source::{Shown, UrlTarget};
use super::stream::Seen;
use super::{ArtifactError, Found, find, find_cached, old};
use crate::engine::{OnProgress, Progress};
use crate::events::secrets::Secrets;
use crate::host::lock::{Holder, Lock};
use crate::host::retry::{self, OnRetry, Policy};
use crate::model::{ArtifactKind, ArtifactSpec, Digest};

/// How patient a download is.
#[derive(Clone, Copy, Debug)]
pub struct DownloadLimits {
    /// Until a server takes a connection.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub stall: Duration,
}

impl Default for DownloadLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(30) }
    }
}

/// Gets artifacts, for a whole run. Holding one costs nothing.
#[derive(Debug)]
pub struct Fetcher {
    /// The tree's root, for the lock file.
    pub root: PathBuf,
    /// The cache folder.
    pub cache: PathBuf,
    /// The folder of the old scripts' cache.
    pub old_cache: PathBuf,
    /// How often to try again.
    pub policy: Policy,
    /// How patient to be.
    pub limits: DownloadLimits,
    /// `--offline`: nobody is asked.
    pub offline: bool,
    /// What was typed: others that wait for this download are told.
    pub command: String,
    /// Learns what no eye may see of a URL.
    pub secrets: Secrets,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The artifact.
    pub found: Found,
    /// How it got there.
    pub how: How,
}

/// How an artifact got into the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It was there.
    Cached,
    /// Another process put it there while this one waited.
    Waited,
    /// Downloaded from this source (as it may be shown).
    Downloaded(String),
}

impl std::fmt::Display for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.how {
            How::Cached => write!(f, "{} from the cache", self.found.digest),
            How::Waited => write!(f, "{} by another run", self.found.digest),
            How::Downloaded(source) => write!(f, "{} from {source}", self.found.digest),
        }
    }
}

/// What is wrong with a source once its retries are used up.
enum Fault {
    /// It has nothing, or nothing usable.
    Useless(String),
    /// It has another file than the locked one.
    Other(Digest),
    /// Not the source's fault.
    Here(ArtifactError),
}

impl Fetcher {
    /// Of a tree and a cache, with default patience.
    pub fn new(root: PathBuf, cache: PathBuf, old_cache: PathBuf, policy: Policy) -> Self {
        Self {
            root,
            cache,
            old_cache,
            policy,
            limits: DownloadLimits::default(),
            offline: false,
            command: String::from("cargo xtask"),
            secrets: Secrets::default(),
        }
    }

    /// Gets an artifact into the cache, from there or from the first source that gives what is wanted, and notes its
    /// digest in the lock file if it is not in there. Another process that is at it is waited for.
    ///
    /// # Errors
    /// [`ArtifactError::Offline`] and [`ArtifactError::Unavailable`] when it cannot be had, [`ArtifactError::Changed`]
    /// when it is not what the lock file has; the others when this machine is in trouble.
    pub async fn fetch(
        &self,
        spec: &ArtifactSpec,
        progress: OnProgress<'_>,
        on_retry: OnRetry<'_>,
    ) -> Result<Fetched, ArtifactError> {
        spec.urls.iter().for_each(|url| self.secrets.add_url("the URL of an artifact", url));
        if spec.kind == ArtifactKind::Sample {
            let found = self.look(spec, find).await?;
            return found
                .map(|found| Fetched { found, how: How::Cached })
                .ok_or_else(|| self.offline_error(spec));
        }
        let fetched = match self.look(spec, find).await? {
            Some(found) => Fetched { found, how: How::Cached },
            None => {
                self.tell_passed_over(spec, progress).await?;
                if self.offline {
                    return Err(self.offline_error(spec));
                }
                self.download(spec, progress, on_retry).await?
            }
        };
        self.note(spec, &fetched, progress).await?;
        Ok(fetched)
    }

    async fn look(
        &self,
        spec: &ArtifactSpec,
        find: fn(&ArtifactSpec, &Cache, &Path) -> Result<Option<Found>, ArtifactError>,
    ) -> Result<Option<Found>, ArtifactError> {
        let cache = Cache::at(&self.root, &self.cache);
        let (spec, old_cache) = (spec.clone(), self.old_cache.clone());
        blocking(move || find(&spec, &cache, &old_cache)).await
    }

    /// Says why a file of the old cache is of no use.
    async fn tell_passed_over(
        &self,
        spec: &ArtifactSpec,
        progress: OnProgress<'_>,
    ) -> Result<(), ArtifactError> {
        let (spec, cache, old_cache) =
            (spec.clone(), Cache::at(&self.root, &self.cache), self.old_cache.clone());
        if let Err(Some(why)) = blocking(move || old::import(&spec, &cache, &old_cache)).await? {
            progress(Progress::Warning(why));
        }
        Ok(())
    }

    fn offline_error(&self, spec: &ArtifactSpec) -> ArtifactError {
        ArtifactError::Offline { file: spec.file.clone(), by_hand: self.old_cache.join(&spec.file) }
    }

    async fn download(
        &self,
        spec: &ArtifactSpec,
        progress: OnProgress<'_>,
        on_retry: OnRetry<'_>,
    ) -> Result<Fetched, ArtifactError> {
        let cache = Cache::at(&self.root, &self.cache);
        let origin = spec.urls.last().map(|url| Shown::of(url));
        let origin = origin.ok_or_else(|| ArtifactError::Settings(format!("{} has no source", spec.file)))?;
        let path = cache.partial(&spec.file, &origin);
        let lock = self.lock(&cache, &path, &spec.file, progress).await?;
        // Whoever was waited for may have brought it.
        let found = self.look(spec, |spec, cache, _| find_cached(spec, cache)).await?;
        if let Some(found) = found {
            return Ok(Fetched { found, how: How::Waited });
        }
        let of_partial = cache.clone();
        let partial = blocking(move || Partial::open(of_partial, path, lock)).await?;
        let partial = Arc::new(Mutex::new(partial));
        let (mut tried, mut changed) = (Vec::new(), None);
        for (at, url) in spec.urls.iter().enumerate() {
            let shown = Shown::of(url);
            let why = match self.ask_source(spec, url, &shown, &partial, (progress, on_retry)).await {
                Ok(digest) => {
                    let found = self.take(&cache, &partial, &digest, &origin).await?;
                    return Ok(Fetched { found, how: How::Downloaded(shown.to_string()) });
                }
                Err(Fault::Here(error)) => return Err(error),
                Err(Fault::Useless(why)) => why,
                Err(Fault::Other(found)) => {
                    let why = format!("its digest is {found}, and {} has another", spec.lock_file);
                    changed.get_or_insert((shown.to_string(), found));
                    why
                }
            };
            if at + 1 < spec.urls.len() {
                progress(Progress::Warning(format!("{shown}: {why}; asking the next source")));
            }
            tried.push((shown.to_string(), why));
        }
        // What a broken line brought stays, for the next run to go on from; an empty file is of no use.
        if open(&partial).len() == 0 {
            let _ = open(&partial).forget();
        }
        match (changed, &spec.locked) {
            (Some((url, found)), Some(locked)) => Err(self.changed(spec, url, locked.clone(), found)),
            _ => Err(ArtifactError::Unavailable { tried, by_hand: self.old_cache.join(&spec.file) }),
        }
    }

    /// Waits for whoever is at the same artifact.
    async fn lock(
        &self,
        cache: &Cache,
        path: &Path,
        file: &str,
        progress: OnProgress<'_>,
    ) -> Result<Lock, ArtifactError> {
        let say = |holder: Option<&Holder>| {
            let whom = holder.map_or_else(|| "another run".to_owned(), Holder::to_string);
            progress(Progress::Warning(format!("waiting for {whom}, which is downloading {file}")));
        };
        let folder = cache.folder().map_err(|error| ArtifactError::file(path, &error))?;
        let lock = Lock::acquire_file(&folder, &lock_of(path), &self.command, &say).await;
        lock.map_err(|error| ArtifactError::file(&error.path, &error.source))
    }

    /// All of it from one source, checked. What was put together from several answers and is wrong gets one more
    /// chance, in one piece.
    async fn ask_source(
        &self,
        spec: &ArtifactSpec,
        url: &str,
        shown: &Shown,
        partial: &Shared,
        (progress, on_retry): (OnProgress<'_>, OnRetry<'_>),
    ) -> Result<Digest, Fault> {
        let mut is_second = false;
        loop {
            match UrlTarget::parse(url, &self.root).map_err(Fault::Useless)? {
                UrlTarget::Web => self.ask_server(url, shown, partial, progress, on_retry).await?,
                UrlTarget::File(path) => copy(path, shown, partial).await?,
                UrlTarget::Folder(_) => {
                    return Err(Fault::Useless("a folder, and no zip archive".to_owned()));
                }
            }
            let checked = Arc::clone(partial);
            let locked = spec.locked.clone();
            let (verdict, was_spliced) =
                blocking(move || verify(&checked, locked.as_ref())).await.map_err(Fault::Here)?;
            match verdict {
                Ok(digest) => return Ok(digest),
                Err(_) if was_spliced && !is_second => {
                    is_second = true;
                    progress(Progress::Warning(format!(
                        "{shown}: what several tries brought does not fit together; once more from the beginning"
                    )));
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// The whole body, with retries; as long as tries get further than the one before them, there are more of them.
    async fn ask_server(
        &self,
        url: &str,
        shown: &Shown,
        partial: &Shared,
        progress: OnProgress<'_>,
        on_retry: OnRetry<'_>,
    ) -> Result<(), Fault> {
        let ask = Ask { url: url.to_owned(), shown: shown.clone(), limits: self.limits };
        let tries = AtomicU32::new(0);
        loop {
            let before = tries.load(Relaxed);
            let first_got_to = AtomicU64::new(u64::MAX);
            let attempt = || {
                tries.fetch_add(1, Relaxed);
                get_rest(&ask, partial, progress)
            };
            let told = |attempt: u32, pause: Duration, cause: String| {
                if attempt == 1 {
                    first_got_to.store(open(partial).furthest(), Relaxed);
                }
                on_retry(before + attempt, pause, cause);
            };
            let error = match retry::run(&self.policy, attempt, &told).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let first = first_got_to.load(Relaxed);
            match error {
                TryError::Again { cause, .. }
                    if open(partial).furthest() > first.saturating_add(first / 100 + 1) =>
                {
                    on_retry(tries.load(Relaxed), Duration::ZERO, cause);
                }
                error @ (TryError::Again { .. } | TryError::Refused(_)) => {
                    return Err(Fault::Useless(error.to_string()));
                }
                TryError::Here(error) => return Err(Fault::Here(error)),
            }
        }
    }

    async fn take(
        &self,
        cache: &Cache,
        partial: &Shared,
        digest: &Digest,
        origin: &Shown,
    ) -> Result<Found, ArtifactError> {
        let (cache, partial, digest, origin) =
            (cache.clone(), Arc::clone(partial), digest.clone(), origin.clone());
        blocking(move || {
            let partial = open(&partial);
            let found = cache.take(&digest, &origin, |folder, path| folder.rename(partial.path(), path))?;
            cache.remember(&origin, &digest)?;
            partial.forget().map_err(|error| ArtifactError::file(partial.path(), &error))?;
            Ok(found)
        })
        .await
    }

    /// Writes the digest into the lock file at first sight, and compares it otherwise.
    async fn note(
        &self,
        spec: &ArtifactSpec,
        fetched: &Fetched,
        progress: OnProgress<'_>,
    ) -> Result<(), ArtifactError> {
        if spec.locked.is_some() {
            return Ok(());
        }
        let digest = fetched.found.digest.clone();
        let (root, lock_file, file) = (self.root.clone(), spec.lock_file.clone(), spec.file.clone());
        match blocking(move || lock::record(&root, &lock_file, &file, &digest)).await? {
            Noted::Before => Ok(()),
            Noted::Now => {
                progress(Progress::Warning(format!(
                    "seen for the first time: {} is now in {}; commit it",
                    fetched.found.digest, spec.lock_file
                )));
                Ok(())
            }
            Noted::Otherwise(entry) => {
                let url = spec.urls.last().map(|url| Shown::of(url).to_string()).unwrap_or_default();
                Err(self.changed(spec, url, entry.digest, fetched.found.digest.clone()))
            }
        }
    }

    fn changed(&self, spec: &ArtifactSpec, url: String, locked: Digest, found: Digest) -> ArtifactError {
        let entries = lock::read(&self.root, &spec.lock_file).unwrap_or_default();
        let line = entries.get(&spec.file).map_or(0, |entry| entry.line);
        ArtifactError::Changed { url, locked, found, lock_file: spec.lock_file.clone(), line }
    }
}

/// A file of this machine (or of a share) as a source.
async fn copy(path: PathBuf, shown: &Shown, partial: &Shared) -> Result<(), Fault> {
    let (partial, url) = (Arc::clone(partial), shown.to_string());
    let copied = blocking(move || {
        let mut partial = open(&partial);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return Ok(Err(Fault::Useless(error.to_string()))),
        };
        let begun = partial.restart(Source { url, ..Source::default() });
        begun.map_err(|error| ArtifactError::file(partial.path(), &error))?;
        let mut hasher = partial.hasher();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => {
                    partial.hashed(hasher, Seen::new());
                    return Ok(Ok(()));
                }
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    let written = partial.write(&buffer[..read]);
                    written.map_err(|error| ArtifactError::file(partial.path(), &error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(Fault::Useless(error.to_string()))),
            }
        }
    });
    copied.await.map_err(Fault::Here)?
}

/// The digest of what is here if it is what is wanted and a whole zip archive; whatever else is discarded. With it,
/// whether it came in several answers.
fn verify(partial: &Shared, locked: Option<&Digest>) -> Result<(Result<Digest, Fault>, bool), ArtifactError> {
    let mut partial = open(partial);
    let digest = partial.digest();
    let was_spliced = partial.is_spliced();
    let verdict = if locked.is_some_and(|locked| *locked != digest) {
        Err(Fault::Other(digest))
    } else {
        let file = File::open(partial.path()).map_err(|error| ArtifactError::file(partial.path(), &error))?;
        match check(file, partial.seen()) {
            Ok(()) => Ok(digest),
            Err(why) => Err(Fault::Useless(format!("{} bytes that are {why}", partial.len()))),
        }
    };
    if verdict.is_err() {
        let discarded = partial.restart(Source::default());
        discarded.map_err(|error| ArtifactError::file(partial.path(), &error))?;
    }
    Ok((verdict, was_spliced))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(ArtifactError::Client(panic.to_string())))
}
