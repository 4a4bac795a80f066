//! The one event stream of a run: whoever does something emits, one loop delivers to the sinks.
//!
//! ```text
//! Emitter (cheap clones, never blocks) -> mpsc -> Events::deliver -> sinks, in order; the record is first
//! ```
//! In: [`EventKind`]s. Out: stamped, redacted [`Event`]s. The loop knows no sink by name and prints nothing; a sink
//! that fails is dropped and the others are told by a warning, for showing must never fail doing.

pub mod excerpt;
pub mod harmless;
pub mod secrets;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::events::excerpt::Excerpt;
use crate::events::harmless::neutralise;
use crate::events::secrets::Secrets;
use crate::model::{Event, EventKind, Failure, LogStream, Outcome, StepId, program};

/// The version of the wire format.
pub const VERSION: u32 = 1;
/// A run that is over before this has drawn nothing and flushed nothing on the way.
pub const FIRST_TICK: Duration = Duration::from_millis(200);
/// How often sinks are told the time after that.
pub const TICK: Duration = Duration::from_millis(100);

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Wall-clock time.
    pub at: SystemTime,
    /// Since the run began.
    pub elapsed: Duration,
}

/// What time it is; tests bring their own.
pub trait Clock: Send + Sync {
    /// This moment.
    fn now(&self) -> Moment;
}

/// The machine's clock; the run begins when it is made.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    began: Instant,
}

impl SystemClock {
    /// The run begins now.
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment { at: SystemTime::now(), elapsed: self.began.elapsed() }
    }
}

/// RFC 3339 in UTC with milliseconds.
pub fn format_time(at: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(at).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// So many seconds after 1970 began, or before.
pub fn time_of(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// Takes events; what it does with them is its own.
pub trait Sink: Send {
    /// What to call it in a warning: `the run record`.
    fn name(&self) -> &'static str;

    /// Takes the next event. An error drops this sink.
    fn take(&mut self, event: &Event) -> io::Result<()>;

    /// Time goes by: draw, flush. First after [`FIRST_TICK`], then every [`TICK`].
    fn tick(&mut self, _elapsed: Duration) -> io::Result<()> {
        Ok(())
    }

    /// Where this sink keeps what a step printed, relative to the root, if it does and the step printed anything.
    fn log_of(&self, _step: &StepId) -> Option<String> {
        None
    }

    /// No event will follow.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends events into the stream. Cheap to clone, usable from any thread, never blocks: the channel has no bound,
/// for a build must not wait for a slow terminal (builders limit what a step may print).
#[derive(Clone)]
pub struct Emitter {
    clock: Arc<dyn Clock>,
    sender: mpsc::UnboundedSender<Event>,
}

impl Emitter {
    /// Stamps and sends. After the loop is gone nobody listens, which is fine.
    pub fn emit(&self, kind: EventKind) {
        let _ = self.sender.send(stamp(&*self.clock, kind));
    }
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Emitter")
    }
}

/// The receiving end of the stream.
pub struct Events {
    clock: Arc<dyn Clock>,
    receiver: mpsc::UnboundedReceiver<Event>,
}

/// A new stream.
pub fn channel(clock: Arc<dyn Clock>) -> (Emitter, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Emitter { clock: clock.clone(), sender }, Events { clock, receiver })
}

impl Events {
    /// The run loop: delivers until every emitter is gone. Dropping the future drops the sinks, which clean up.
    pub async fn deliver(mut self, secrets: Secrets, sinks: Vec<Box<dyn Sink>>) {
        let mut delivery = Delivery { clock: self.clock, secrets, sinks, printed: HashMap::new() };
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Ticks first: they are rare, and a flood of log lines must not freeze the screen.
            tokio::select! {
                biased;
                _ = ticks.tick() => delivery.tick(),
                event = self.receiver.recv() => match event {
                    Some(event) => delivery.take(event),
                    None => break,
                },
            }
        }
        delivery.each(&mut |sink| sink.finish());
    }
}

struct Delivery {
    clock: Arc<dyn Clock>,
    secrets: Secrets,
    sinks: Vec<Box<dyn Sink>>,
    printed: HashMap<StepId, Excerpt>,
}

impl Delivery {
    fn tick(&mut self) {
        let elapsed = self.clock.now().elapsed;
        self.each(&mut |sink| sink.tick(elapsed));
    }

    fn take(&mut self, mut event: Event) {
        clean(&self.secrets, &mut event.kind);
        self.complete(&mut event.kind);
        self.each(&mut |sink| sink.take(&event));
    }

    /// Adds what only the loop knows: what a failed step printed and where its log is kept.
    fn complete(&mut self, kind: &mut EventKind) {
        match kind {
            EventKind::StepLog { step, stream: stream @ (LogStream::Stdout | LogStream::Stderr), line } => {
                self.printed.entry(step.clone()).or_default().push(*stream, line);
            }
            EventKind::StepFinished { step, outcome, log, last_lines, .. } => {
                let printed = self.printed.remove(step);
                if *outcome == Outcome::Failed && last_lines.is_empty() {
                    last_lines.extend(printed.map(|printed| printed.lines()).unwrap_or_default());
                }
                if log.is_none() {
                    *log = self.sinks.iter().find_map(|sink| sink.log_of(step));
                }
            }
            _ => {}
        }
    }

    /// Drops the sinks for which it fails, and warns the others.
    fn each(&mut self, call: &mut dyn FnMut(&mut dyn Sink) -> io::Result<()>) {
        let mut failed = Vec::new();
        self.sinks.retain_mut(|sink| match call(&mut **sink) {
            Ok(()) => true,
            Err(error) => {
                failed.push(format!("{} is given up for the rest of this run: {error}", sink.name()));
                false
            }
        });
        for message in failed {
            let event = stamp(&*self.clock, EventKind::StepWarning { step: None, message });
            self.each(&mut |sink| sink.take(&event));
        }
    }
}

/// An event of no run: of now, and of its beginning.
pub fn lone(kind: EventKind) -> Event {
    Event { v: VERSION, at: format_time(SystemTime::now()), elapsed: 0, kind }
}

fn stamp(clock: &dyn Clock, kind: EventKind) -> Event {
    let now = clock.now();
    let elapsed = u64::try_from(now.elapsed.as_millis()).unwrap_or(u64::MAX);
    Event { v: VERSION, at: format_time(now.at), elapsed, kind }
}

/// Makes every free text of an event harmless, and hides secrets in it. The names of things (`run`, `step`, `subject`,
/// `log`) stay: they are image names and paths that stand in the tree for everybody to read, and files are found by them.
fn clean(secrets: &Secrets, kind: &mut EventKind) {
    let hide_output = |text: &mut String| {
        neutralise_lines(text);
        secrets.redact_in(text);
    };
    let hide = |text: &mut String| {
        hide_output(text);
        if let Cow::Owned(called) = program::as_called(text) {
            *text = called;
        }
    };
    let hide_some = |text: &mut Option<String>| text.iter_mut().for_each(hide);
    match kind {
        EventKind::RunStarted { run: _, command, images: _, base_images: _, engine, network } => {
            hide(command);
            hide_some(engine);
            hide_some(network);
        }
        EventKind::PhaseStarted { .. } | EventKind::RunFinished { .. } => {}
        EventKind::PhaseFinished { phase: _, summary } => hide(summary),
        EventKind::StepStarted { step: _, phase: _, subject: _, why } => hide(why),
        EventKind::StepSkipped { phase: _, subject: _, outcome: _, why, reason, error: _, failure } => {
            hide(why);
            // What cannot be told whole is told in words alone.
            if reason.as_ref().is_some_and(|reason| secrets.is_secret(&format!("{reason:?}"))) {
                *reason = None;
            }
            failure.iter_mut().flat_map(Failure::texts).for_each(hide);
        }
        EventKind::StepProgress { step: _, done: _, total: _, unit: _, detail } => hide_some(detail),
        EventKind::StepLog { step: _, stream: _, line } => {
            if let Cow::Owned(harmless) = neutralise(line) {
                *line = harmless;
            }
            secrets.redact_line(line);
        }
        EventKind::StepPart { step: _, part, began: _, took: _, cached: _, failed: _ } => hide(part),
        EventKind::StepWarning { step: _, message } | EventKind::Announced { message } => hide(message),
        EventKind::StepRetrying { step: _, attempt: _, delay: _, cause } => hide(cause),
        EventKind::StepFinished {
            step: _,
            phase: _,
            subject: _,
            outcome: _,
            took: _,
            detail,
            size: _,
            last_lines,
            log: _,
            error: _,
            place: _,
            failure,
        } => {
            hide(detail);
            last_lines.iter_mut().for_each(hide_output);
            failure.iter_mut().flat_map(Failure::texts).for_each(hide);
        }
        EventKind::CancelRequested { cause } => hide(cause),
        EventKind::Error { error: _, what, causes, last_lines, hints } => {
            let texts = std::iter::once(what).chain(causes).chain(last_lines).chain(hints);
            texts.for_each(hide);
        }
    }
}

/// [`neutralise`] for texts of several lines.
fn neutralise_lines(text: &mut String) {
    let cleaned: Vec<_> = text.split('\n').map(neutralise).collect();
    if cleaned.iter().any(|line| matches!(line, Cow::Owned(_))) {
        *text = cleaned.join("\n");
    }
}

#[cfg(test)]
mod tests;
