//! One pull: its sources in order, each with retries, bounded per registry.
//!
//! In: a `Pull` step's fields and an engine. Out: what is in the store then, or why each source failed. A
//! registry that asks for patience is left alone by every pull of the run, not only by the one that it told.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::retry::{self, LONGEST_RETRY_AFTER, OnRetry, Policy};
use crate::engine::{EngineError, OnProgress, Progress, Store};
use crate::model::{ErrorKind, ImageId, LocalImage, Phase, Platform, PullSource, Recipe, Reference};
use crate::registry::Registry;

/// Pieces of an archive that may wait for the engine.
const PIECES: usize = 16;

/// Makes a base image on this machine, when no registry gives it.
pub trait MakeBase: Send + Sync {
    /// Makes what the recipe says and gives it the name `reference` in the engine's store.
    ///
    /// # Errors
    /// What kept it from being made.
    fn make(
        &self,
        recipe: &Recipe,
        reference: &Reference,
        platform: &Platform,
        progress: OnProgress<'_>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;
}

/// Pulls for a whole run; one for all its steps.
#[derive(Debug)]
pub struct Puller<M> {
    policy: Policy,
    per_registry: usize,
    make: M,
    registry: Option<Registry>,
    queues: Mutex<HashMap<String, Arc<Queue>>>,
}

/// The pulls from one registry.
#[derive(Debug)]
struct Queue {
    places: Semaphore,
    /// Nobody asks before.
    open_from: Mutex<Instant>,
}

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The reference that was asked for.
    pub reference: Reference,
    /// The image's ID.
    pub id: ImageId,
    /// `repository@digest` as the registry gave it; none for what was made here.
    pub digest: Option<Reference>,
    /// Where it came from.
    pub source: PullSource,
}

/// No source gave the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullError {
    /// What was asked for.
    pub reference: Reference,
    /// Each source that was tried, in order, and why it failed.
    pub failed: Vec<(PullSource, EngineError)>,
}

impl<M: MakeBase> Puller<M> {
    /// At most `per_registry` pulls at a time from one registry. `registry` is asked before each pull whether
    /// it wants to be left alone for a while, which an engine does not pass on; none asks nobody.
    pub fn new(policy: Policy, per_registry: usize, make: M, registry: Option<Registry>) -> Self {
        Self { policy, per_registry: per_registry.max(1), make, registry, queues: Mutex::default() }
    }

    /// What is asked beside the engine; none asks nobody.
    pub fn registry(&self) -> Option<&Registry> {
        self.registry.as_ref()
    }

    /// How often to try again.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Pulls `reference` from the first source that gives it and makes it answer to that name.
    ///
    /// # Errors
    /// When every source failed; when the engine itself is the trouble, further sources are not tried.
    pub async fn pull<E: Store>(
        &self,
        engine: &E,
        reference: &Reference,
        platform: &Platform,
        sources: &[PullSource],
        progress: OnProgress<'_>,
        on_retry: OnRetry<'_>,
    ) -> Result<Pulled, PullError> {
        let mut failed = Vec::new();
        for source in sources {
            let brought = match source {
                PullSource::Registry(name) | PullSource::IfLocked(name, _) => {
                    self.pull_with_retries(engine, name, platform, progress, on_retry).await
                }
                PullSource::Recipe(recipe) => self.make.make(recipe, reference, platform, progress).await,
            };
            let found = match brought {
                Ok(()) => self.take(engine, source, reference, platform, progress).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(pulled) => return Ok(pulled),
                Err(error) => {
                    let is_engine = is_engine_trouble(&error);
                    failed.push((source.clone(), error));
                    if is_engine {
                        break;
                    }
                }
            }
        }
        Err(PullError { reference: reference.clone(), failed })
    }

    async fn pull_with_retries<E: Store>(
        &self,
        engine: &E,
        source: &Reference,
        platform: &Platform,
        progress: OnProgress<'_>,
        on_retry: OnRetry<'_>,
    ) -> Result<(), EngineError> {
        let queue = self.queue(source.domain());
        let attempt = || async {
            let _place = queue.enter().await?;
            if let Some(registry) = &self.registry
                && let Some(wait) = registry.told_to_wait(source).await
            {
                return Err(queue.close_for(wait, source.domain()));
            }
            engine.pull(source, platform, progress).await.inspect_err(|error| {
                if let EngineError::Transient { retry_after: Some(seconds), .. } = error {
                    queue.close_for(Duration::from_secs(*seconds), source.domain());
                }
            })
        };
        let on_retry = |attempt, pause, cause: String| {
            if is_throttled(&cause) {
                queue.close_for(pause, source.domain());
            }
            on_retry(attempt, pause, cause);
        };
        retry::run(&self.policy, attempt, &on_retry).await
    }

    /// What the store has now, read at once, before anything can move the name; if it is what was wanted, it
    /// gets the name that the Dockerfiles use.
    async fn take<E: Store>(
        &self,
        engine: &E,
        source: &PullSource,
        reference: &Reference,
        platform: &Platform,
        progress: OnProgress<'_>,
    ) -> Result<Pulled, EngineError> {
        let pulled_as = match source {
            PullSource::Registry(name) | PullSource::IfLocked(name, _) => {
                name.without_tag().unwrap_or_else(|| name.clone())
            }
            PullSource::Recipe(_) => reference.clone(),
        };
        let image = match engine.inspect(&pulled_as).await? {
            // A name may mean several images.
            Some(first) if first.platform.as_ref().is_some_and(|found| !found.serves(platform)) => {
                engine.inspect_on(&pulled_as, platform).await?.or(Some(first))
            }
            found => found,
        };
        let image = image.ok_or_else(|| {
            EngineError::Other(format!("the engine has no {pulled_as}, though the pull went well"))
        })?;
        let image = self.complete(engine, &pulled_as, image, platform, progress).await?;
        if let Some(found) = image.platform.as_ref().filter(|found| !found.serves(platform)) {
            return Err(EngineError::Other(format!(
                "{pulled_as} is there for {found} only, and {platform} is wanted"
            )));
        }
        if let PullSource::IfLocked(_, locked) = source
            && !locked.is(&image)
        {
            let (found, locked) = (locked.shown_beside(&image), locked.shown());
            let why = format!("{pulled_as} is {found}, but the lock says {locked}");
            return Err(EngineError::Other(why));
        }
        // An engine gives no name with a digest; the tag beside it, if there is one, is the name to give.
        match reference.without_digest() {
            Some(name) if name != pulled_as => engine.tag(&pulled_as, &name).await?,
            None if pulled_as != *reference => progress(Progress::Warning(format!(
                "{} is here as {}: an engine gives no name with a digest, so a build may still ask {}",
                reference.familiar(),
                pulled_as.familiar(),
                reference.domain()
            ))),
            Some(_) | None => {}
        }
        let digest = image.digests.iter().find(|digest| digest.repository() == pulled_as.repository());
        Ok(Pulled {
            reference: reference.clone(),
            id: image.id.clone(),
            digest: digest.cloned(),
            source: source.clone(),
        })
    }

    /// The image with all its layers. An engine that keeps manifests fetches no layer of a pull that it has unpacked already
    /// of an image which was packed otherwise (containerd, `core/unpack/unpacker.go`). What it has then runs, and it can
    /// neither tell of it nor save nor push it. So it is handed what it left out.
    async fn complete<E: Store>(
        &self,
        engine: &E,
        name: &Reference,
        image: LocalImage,
        platform: &Platform,
        progress: OnProgress<'_>,
    ) -> Result<LocalImage, EngineError> {
        let id = image.id.digest();
        let keeps_manifests = image.digests.iter().any(|known| known.digest() == Some(id));
        let Some(registry) = self.registry.as_ref().filter(|_| keeps_manifests && image.platform.is_none())
        else {
            return Ok(image);
        };
        let (sender, receiver) = tokio::sync::mpsc::channel(PIECES);
        let archive = futures_util::stream::unfold(receiver, |mut receiver| async move {
            Some((Ok(receiver.recv().await?), receiver))
        });
        let pinned = name.pinned(id);
        let sent = async {
            let sent = registry.send_image(&pinned, name, platform, sender).await;
            sent.map_err(|error| EngineError::Other(error.to_string()))
        };
        match tokio::try_join!(sent, engine.load(Box::pin(archive))) {
            Ok(_) => Ok(engine.inspect(name).await?.unwrap_or(image)),
            // As long as nobody carries it further, it does no harm.
            Err(error) => {
                progress(Progress::Warning(format!(
                    "{} is here without layers that the engine has of another image, so it cannot be saved or \
                     pushed ({error})",
                    name.familiar()
                )));
                Ok(image)
            }
        }
    }

    fn queue(&self, domain: &str) -> Arc<Queue> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(domain.to_owned()).or_insert_with(|| {
            Arc::new(Queue {
                places: Semaphore::new(self.per_registry),
                open_from: Mutex::new(Instant::now()),
            })
        });
        Arc::clone(queue)
    }
}

impl Queue {
    /// A place among the pulls from this registry, as soon as it may be asked.
    async fn enter(&self) -> Result<tokio::sync::SemaphorePermit<'_>, EngineError> {
        let place = self.places.acquire().await.map_err(|error| EngineError::Other(error.to_string()))?;
        loop {
            let open_from = *self.open_from.lock().unwrap_or_else(PoisonError::into_inner);
            if open_from <= Instant::now() {
                return Ok(place);
            }
            tokio::time::sleep_until(open_from).await;
        }
    }

    /// Nobody asks this registry for so long (within reason); the error says so.
    fn close_for(&self, wait: Duration, domain: &str) -> EngineError {
        let until = Instant::now() + wait.min(LONGEST_RETRY_AFTER);
        let mut open_from = self.open_from.lock().unwrap_or_else(PoisonError::into_inner);
        *open_from = (*open_from).max(until);
        let seconds = wait.as_secs();
        EngineError::Transient {
            cause: format!("{domain} has had too many requests and asks to wait {seconds} s"),
            retry_after: Some(seconds),
        }
    }
}

fn is_throttled(cause: &str) -> bool {
    let cause = cause.to_ascii_lowercase();
    ["toomanyrequests", "too many requests", "http 429", "status: 429"]
        .iter()
        .any(|text| cause.contains(text))
}

/// Trouble that another source cannot mend.
fn is_engine_trouble(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Unreachable { .. }
            | EngineError::Unfit { .. }
            | EngineError::Gone(_)
            | EngineError::DiskFull(_)
    )
}

/// What came of it: the digest where a registry gave one, and from where when that is not the name itself.
impl fmt::Display for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digest.as_ref().and_then(Reference::digest) {
            Some(digest) => write!(f, "{digest}")?,
            None => write!(f, "{}", self.id)?,
        }
        match &self.source {
            PullSource::Registry(source) | PullSource::IfLocked(source, _)
                if source.is_of(&self.reference) =>
            {
                Ok(())
            }
            PullSource::Registry(source) | PullSource::IfLocked(source, _) => {
                write!(f, " from {}", source.familiar())
            }
            PullSource::Recipe(_) => f.write_str(" made here from its recipe"),
        }
    }
}

/// One line: each source with its cause, and the command to try by hand. What was asked for is named by who tells it.
impl fmt::Display for PullError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (source, error) in &self.failed {
            match source {
                PullSource::Registry(name) if self.failed.len() == 1 && *name == self.reference => {}
                PullSource::Registry(name) | PullSource::IfLocked(name, _) => {
                    write!(f, "{between}{}: ", name.familiar())?;
                }
                PullSource::Recipe(_) => write!(f, "{between}its recipe: ")?,
            }
            match error {
                // What, the source says.
                EngineError::NotFound(_) => f.write_str("not found")?,
                error => write!(f, "{error}")?,
            }
            between = "; ";
        }
        match self.command() {
            Some(command) => write!(f, "; try `{command}`"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PullError {}

impl PullError {
    /// The kind of failure. Whoever was asked last is the one that the Dockerfile names.
    pub fn kind(&self, phase: Phase) -> ErrorKind {
        self.failed.last().map_or(ErrorKind::NotHere, |(_, error)| error.kind_in(phase))
    }

    /// What helps against the first failure that anything helps against.
    pub fn hint(&self) -> Option<String> {
        self.failed.iter().find_map(|(source, error)| match (source, error) {
            (_, EngineError::DiskFull(_) | EngineError::Stalled { .. }) => error.hint().map(str::to_owned),
            (PullSource::Registry(name), _) => error.hint_for_pull(name),
            (PullSource::IfLocked(..) | PullSource::Recipe(_), _) => None,
        })
    }

    /// The command that shows the trouble by hand: the pull from the last registry that was tried.
    pub fn command(&self) -> Option<String> {
        let named = self.failed.iter().rev().find_map(|(source, _)| source.reference());
        named.map(|name| format!("docker pull {}", name.familiar()))
    }
}

#[cfg(test)]
mod tests;
