//! Whether something still comes from a registry that an engine or a builder waits for.
//!
//! In: what is waited for, and when it moved. Out: a warning after a while of silence, and the end of the wait after a longer
//! one. An engine has no such limit of its own: a registry that accepts a connection and says nothing holds it up for
//! good.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{EngineError, OnProgress, Progress};

/// So many seconds of silence are worth a word; of a shorter limit a third is.
const WORTH_A_WORD: u64 = 60;
/// Who sends less than this in all that time sends as good as nothing.
pub(crate) const LEAST: u64 = 64 * 1024;

/// Watches one transfer.
pub(crate) struct Watch {
    limit: Duration,
    moved: Instant,
    is_told: bool,
    /// Whom the transfer waits for; none while it waits for nobody.
    pub(crate) from: Option<String>,
}

impl Watch {
    /// Gives up after `limit` of silence.
    pub(crate) fn new(limit: Duration, from: Option<String>) -> Self {
        Self { limit, moved: Instant::now(), is_told: false, from }
    }

    /// Something came.
    pub(crate) fn moved(&mut self) {
        self.moved = Instant::now();
        self.is_told = false;
    }

    /// What is waited for, unless it takes too long.
    pub(crate) async fn over<T>(
        &mut self,
        next: impl Future<Output = T>,
        progress: OnProgress<'_>,
    ) -> Result<T, EngineError> {
        let Some(from) = self.from.clone() else { return Ok(next.await) };
        tokio::pin!(next);
        loop {
            let worth_a_word = Duration::from_secs((self.limit.as_secs() / 3).clamp(1, WORTH_A_WORD));
            let patience = if self.is_told { self.limit } else { worth_a_word };
            tokio::select! {
                biased;
                came = &mut next => return Ok(came),
                () = sleep_until(self.moved + patience) => {}
            }
            if self.is_told {
                return Err(EngineError::Stalled { from, silence: self.limit });
            }
            self.is_told = true;
            progress(Progress::Warning(format!(
                "nothing has come from {from} for {}; given up after {}",
                words(patience),
                words(self.limit)
            )));
        }
    }
}

/// `60 s`, `3 min`
pub(crate) fn words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 120 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const STALL: Duration = Duration::from_secs(180);

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_and_then_ended() {
        let told = Mutex::new(Vec::new());
        let began = Instant::now();
        let progress = |progress: Progress| {
            let Progress::Warning(text) = progress else { return };
            told.lock().expect("unpoisoned").push((began.elapsed().as_secs(), text));
        };
        let mut watch = Watch::new(STALL, Some("r.example".to_owned()));
        let late = watch.over(tokio::time::sleep(Duration::from_secs(100)), &progress).await;
        assert_eq!(late, Ok(()));
        watch.moved();
        let never = watch.over(std::future::pending::<()>(), &progress).await.expect_err("ends");
        assert_eq!(never.to_string(), "r.example has sent nothing for 3 min");
        assert_eq!(began.elapsed().as_secs(), 100 + 180);
        let text = "nothing has come from r.example for 60 s; given up after 3 min".to_owned();
        assert_eq!(*told.lock().expect("unpoisoned"), [(60, text.clone()), (160, text)]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_blamed_while_nobody_is_waited_for() {
        let mut watch = Watch::new(STALL, None);
        let local = watch.over(tokio::time::sleep(STALL * 10), &|_| unreachable!("nothing to say")).await;
        assert_eq!(local, Ok(()));
    }
}
