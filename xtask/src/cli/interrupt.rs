//! Ctrl-C: once winds down, twice kills.

use crate::cli::error::{Error, ErrorKind};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::cli::error::ExitCode;
use crate::events::Emitter;
use crate::model::EventKind;
use crate::report;

/// Waits for Ctrl-C (or a TERM): the first one cancels what runs, the second one ends the process at once.
pub(super) async fn watch(cancel: CancellationToken, emitter: Emitter) {
    heed(cancel, emitter, 1, "interrupted; once more ends at once").await;
}

/// The same for what has to put things back first: only the third one ends the process at once.
pub(super) async fn watch_patiently(cancel: CancellationToken, emitter: Emitter) {
    heed(cancel, emitter, 2, "interrupted: what came goes again; twice more ends at once").await;
}

async fn heed(cancel: CancellationToken, emitter: Emitter, further: usize, cause: &str) {
    let Some(mut interrupts) = Interrupts::listen() else { return };
    interrupts.next().await;
    emitter.emit(EventKind::CancelRequested { cause: cause.to_owned() });
    cancel.cancel();
    for _ in 0..further {
        let last = Instant::now();
        interrupts.next().await;
        while is_echo(last.elapsed()) {
            interrupts.next().await;
        }
    }
    report::leave();
    std::process::exit(i32::from(ExitCode::Interrupted.number()));
}

/// What comes so soon after the first is the same wish: `timeout` sends its signal to a program and then to the group
/// that it is in.
const ECHO: Duration = Duration::from_millis(300);

fn is_echo(since_the_first: Duration) -> bool {
    since_the_first < ECHO
}

pub(super) struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupts {
    pub fn listen() -> Option<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt()).ok()?;
        let terminate = signal(SignalKind::terminate()).ok()?;
        Some(Self { interrupt, terminate })
    }

    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Runs work that is to end with exit code 130 when Ctrl-C comes, before there is a run to wind down.
pub(super) async fn or_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    let Some(mut interrupts) = Interrupts::listen() else { return Some(work.await) };
    tokio::select! {
        result = work => Some(result),
        () = interrupts.next() => None,
    }
}

/// Whether the person at the terminal agrees. What is no answer means no, and `otherwise` is said.
///
/// # Errors
/// On Ctrl-C.
pub(super) async fn agreed(question: &str, otherwise: &str) -> Result<bool, Error> {
    super::ask(question);
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let Some(answer) = or_interrupted(answer).await else {
        // The prompt of the shell goes below the question.
        super::say("");
        return Err(Error::told(ErrorKind::Interrupted));
    };
    let answer = answer.ok().and_then(Result::ok).unwrap_or_default();
    let agrees = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !agrees {
        super::say(otherwise);
    }
    Ok(agrees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_signals_at_once_are_one_wish() {
        assert!(is_echo(Duration::from_millis(1)));
        assert!(!is_echo(Duration::from_millis(400)));
    }
}
