//! When a failed try is followed by another, and how long after.
//!
//! Only what may be over a moment later is tried again; each kind of error knows that of itself ([`Retriable`]). "Not
//! found", "denied" and a server that is out of reach stay what they are. Time is tokio's, so tests pause it.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// The first pause; each further one is twice as long, and up to as much again is added by chance, so that
/// those who failed together do not come back together.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause of our own is longer, before chance.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What a registry asks for with `Retry-After` is honoured up to this: a person waits. A registry that wants
/// more fails in the last try, and says so.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Told before each pause: the number of the try that failed (from 1), the pause, and why it failed.
pub type OnRetry<'a> = &'a (dyn Fn(u32, Duration, String) + Send + Sync);

/// An error that knows whether another try may help.
pub trait Retriable: std::fmt::Display {
    /// How long whoever failed asks to be left alone, zero if it does not say; none when another try is of no use.
    fn worth_retrying_after(&self) -> Option<Duration>;
}

/// How often to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    retries: u32,
    first_pause: Duration,
}

impl Policy {
    /// So many further tries after the first.
    pub fn new(retries: u32) -> Self {
        Self { retries, first_pause: FIRST_PAUSE }
    }

    /// The same with another first pause, and so with others after it.
    #[cfg(test)]
    #[must_use]
    pub fn pausing(self, first_pause: Duration) -> Self {
        Self { first_pause, ..self }
    }

    fn pauses(self) -> impl Iterator<Item = Duration> {
        ExponentialBuilder::new()
            .with_min_delay(self.first_pause)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(usize::try_from(self.retries).unwrap_or(usize::MAX))
            .with_jitter()
            .build()
    }
}

/// Tries until it goes well, fails for good, or the tries are used up; the last error is returned.
///
/// # Errors
/// The last try's.
pub async fn run<T, E, Try, Fut>(policy: &Policy, mut attempt: Try, on_retry: OnRetry<'_>) -> Result<T, E>
where
    E: Retriable,
    Try: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut pauses = policy.pauses();
    let mut tried = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tried += 1;
        let Some(pause) = pauses.next().and_then(|own| pause_after(&error, own)) else { return Err(error) };
        on_retry(tried, pause, error.to_string());
        tokio::time::sleep(pause).await;
    }
}

/// The pause after an error; none when another try is of no use. `own` is the policy's.
fn pause_after(error: &impl Retriable, own: Duration) -> Option<Duration> {
    let asked = error.worth_retrying_after()?;
    Some(own.max(asked.min(LONGEST_RETRY_AFTER)))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;
    use crate::engine::EngineError;

    fn transient(retry_after: Option<u64>) -> EngineError {
        EngineError::Transient { cause: "unexpected EOF".into(), retry_after }
    }

    /// Runs tries that fail with `errors` and then go well; returns how it ended, the seconds of each pause, and
    /// how many tries there were.
    async fn tries(retries: u32, errors: Vec<EngineError>) -> (Result<(), EngineError>, Vec<u64>, usize) {
        let errors = Mutex::new(errors.into_iter());
        let count = Mutex::new(0);
        let pauses = Mutex::new(Vec::new());
        let began = Instant::now();
        let attempt = || async {
            *count.lock().expect("count") += 1;
            errors.lock().expect("errors").next().map_or(Ok(()), Err)
        };
        let on_retry = |attempt, pause: Duration, cause: String| {
            let mut pauses = pauses.lock().expect("pauses");
            pauses.push(pause);
            assert_eq!(usize::try_from(attempt).expect("small"), pauses.len());
            assert!(!cause.is_empty());
        };
        let result = run(&Policy::new(retries), attempt, &on_retry).await;
        let pauses = pauses.into_inner().expect("pauses");
        // The timer counts in milliseconds.
        let slack = Duration::from_millis(5);
        assert!(began.elapsed() + slack >= pauses.iter().sum::<Duration>(), "it did wait");
        let seconds = pauses.iter().map(Duration::as_secs).collect();
        (result, seconds, count.into_inner().expect("count"))
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failures_are_tried_again_after_longer_and_longer_pauses() {
        let (result, pauses, count) = tries(3, vec![transient(None), transient(None)]).await;
        assert_eq!((result, count), (Ok(()), 3));
        assert_eq!(pauses.len(), 2);
        assert!((1..=2).contains(&pauses[0]) && (2..=4).contains(&pauses[1]), "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn tries_end() {
        let (result, pauses, count) = tries(3, vec![transient(None); 9]).await;
        assert_eq!((result, pauses.len(), count), (Err(transient(None)), 3, 4));
        let (result, pauses, count) = tries(0, vec![transient(None); 9]).await;
        assert_eq!((result, pauses.len(), count), (Err(transient(None)), 0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_wrong_is_not_tried_again() {
        for error in [
            EngineError::NotFound("alpine:9".into()),
            EngineError::Denied("alpine:9".into()),
            EngineError::RegistryUnreachable("no such host".into()),
            EngineError::DiskFull("/".into()),
            EngineError::Gone("EOF".into()),
            EngineError::Other("odd".into()),
        ] {
            let (result, _, count) = tries(3, vec![error.clone()]).await;
            assert_eq!((result, count), (Err(error), 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honoured_up_to_a_minute() {
        let (result, pauses, _) =
            tries(3, vec![transient(Some(17)), transient(Some(7200)), transient(Some(0))]).await;
        assert_eq!(result, Ok(()));
        assert_eq!(pauses[..2], [17, 60]);
        assert!(pauses[2] >= 4, "never less than our own pause: {pauses:?}");
    }
}
