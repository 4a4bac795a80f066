//! The one event stream of a run: whoever does something emits, one loop delivers to the sinks.
//!
//! ```text
//! Emitter (cheap clones, never blocks) -> mpsc -> Events::deliver -> sinks, in order; the record is first
//! ```
//! In: [`EventKind`]s. Out: stamped, redacted [`Event`]s. The loop knows no sink by name and prints nothing; a sink
//! that fails is dropped and the others are told by a warning, for showing must never fail doing.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::model::{Event, EventKind, LogStream, Outcome, StepId};
use crate::secrets::Secrets;

/// The version of the wire format.
pub const VERSION: u32 = 1;
/// A run that is over before this has drawn nothing and flushed nothing on the way.
pub const FIRST_TICK: Duration = Duration::from_millis(200);
/// How often sinks are told the time after that.
pub const TICK: Duration = Duration::from_millis(100);
/// How many last lines a failed step carries.
pub const LAST_LINES: usize = 10;

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
        let mut delivery = Delivery { clock: self.clock, secrets, sinks, last_lines: HashMap::new() };
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
    last_lines: HashMap<StepId, VecDeque<String>>,
}

impl Delivery {
    fn tick(&mut self) {
        let elapsed = self.clock.now().elapsed;
        self.each(&mut |sink| sink.tick(elapsed));
    }

    fn take(&mut self, mut event: Event) {
        redact(&self.secrets, &mut event.kind);
        self.complete(&mut event.kind);
        self.each(&mut |sink| sink.take(&event));
    }

    /// Adds what only the loop knows: the last lines of a failed step and where its log is kept.
    fn complete(&mut self, kind: &mut EventKind) {
        match kind {
            EventKind::StepLog { step, stream: LogStream::Stdout | LogStream::Stderr, line } => {
                let lines = self.last_lines.entry(step.clone()).or_default();
                if lines.len() == LAST_LINES {
                    lines.pop_front();
                }
                lines.push_back(line.clone());
            }
            EventKind::StepFinished { step, outcome, log, last_lines, .. } => {
                let printed = self.last_lines.remove(step);
                if *outcome == Outcome::Failed && last_lines.is_empty() {
                    last_lines.extend(printed.unwrap_or_default());
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

/// Hides secrets in every free text of an event. The names of things (`run`, `step`, `subject`, `log`) stay: they
/// are image names and paths that stand in the tree for everybody to read, and files are found by them.
fn redact(secrets: &Secrets, kind: &mut EventKind) {
    let hide = |text: &mut String| secrets.redact_in(text);
    let hide_some = |text: &mut Option<String>| {
        if let Some(text) = text {
            secrets.redact_in(text);
        }
    };
    match kind {
        EventKind::RunStarted { run: _, command, images: _, base_images: _, engine, network } => {
            hide(command);
            hide_some(engine);
            hide_some(network);
        }
        EventKind::PhaseStarted { .. } | EventKind::RunFinished { .. } => {}
        EventKind::PhaseFinished { phase: _, summary } => hide(summary),
        EventKind::StepStarted { step: _, phase: _, subject: _, why }
        | EventKind::StepSkipped { phase: _, subject: _, outcome: _, why, error: _ } => hide(why),
        EventKind::StepProgress { step: _, done: _, total: _, unit: _, detail } => hide_some(detail),
        EventKind::StepLog { step: _, stream: _, line } => hide(line),
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
        } => {
            hide(detail);
            last_lines.iter_mut().for_each(hide);
        }
        EventKind::CancelRequested { cause } => hide(cause),
        EventKind::Error { error: _, what, causes, last_lines, hints } => {
            let texts = std::iter::once(what).chain(causes).chain(last_lines).chain(hints);
            texts.for_each(hide);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::model::{ErrorKind, Phase};

    /// Advances by 10 ms whenever somebody looks.
    #[derive(Default)]
    struct CountingClock(Mutex<u64>);

    impl Clock for CountingClock {
        fn now(&self) -> Moment {
            let mut now = self.0.lock().unwrap();
            *now += 10;
            let elapsed = Duration::from_millis(*now);
            Moment { at: SystemTime::UNIX_EPOCH + elapsed, elapsed }
        }
    }

    #[derive(Clone, Default)]
    struct Collect {
        seen: Arc<Mutex<Vec<String>>>,
        fails_at: Option<usize>,
        keeps_logs: bool,
    }

    impl Collect {
        fn note(&self, text: String) -> io::Result<()> {
            let mut seen = self.seen.lock().unwrap();
            if self.fails_at == Some(seen.len()) {
                return Err(io::Error::other("disk full"));
            }
            seen.push(text);
            Ok(())
        }

        fn text(&self) -> String {
            self.seen.lock().unwrap().join("\n")
        }
    }

    impl Sink for Collect {
        fn name(&self) -> &'static str {
            "the collection"
        }

        fn take(&mut self, event: &Event) -> io::Result<()> {
            self.note(serde_json::to_string(event).unwrap())
        }

        fn tick(&mut self, elapsed: Duration) -> io::Result<()> {
            self.note(format!("tick {}", elapsed.as_millis()))
        }

        fn log_of(&self, step: &StepId) -> Option<String> {
            self.keeps_logs.then(|| format!("logs/{}.log", step.file_stem()))
        }

        fn finish(&mut self) -> io::Result<()> {
            self.note("finished".to_owned())
        }
    }

    fn warning(message: &str) -> EventKind {
        EventKind::StepWarning { step: None, message: message.to_owned() }
    }

    async fn deliver(kinds: Vec<EventKind>, secrets: Secrets, sinks: &[&Collect]) {
        let (emitter, events) = channel(Arc::new(CountingClock::default()));
        for kind in kinds {
            emitter.emit(kind);
        }
        drop(emitter);
        events
            .deliver(secrets, sinks.iter().map(|&sink| Box::new(sink.clone()) as Box<dyn Sink>).collect())
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn delivers_stamped_events_in_order() {
        let sink = Collect::default();
        deliver(vec![warning("one"), warning("two")], Secrets::default(), &[&sink]).await;
        insta::assert_snapshot!(sink.text(), @r#"
        {"v":1,"at":"1970-01-01T00:00:00.010Z","elapsed":10,"event":"step-warning","step":null,"message":"one"}
        {"v":1,"at":"1970-01-01T00:00:00.020Z","elapsed":20,"event":"step-warning","step":null,"message":"two"}
        finished
        "#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_sink_is_dropped_and_the_others_are_told() {
        let (bad, good) = (Collect { fails_at: Some(1), ..Collect::default() }, Collect::default());
        deliver(vec![warning("one"), warning("two"), warning("three")], Secrets::default(), &[&bad, &good])
            .await;
        assert_eq!(bad.seen.lock().unwrap().len(), 1);
        let text = good.text();
        assert!(text.contains("the collection is given up for the rest of this run: disk full"), "{text}");
        assert_eq!(text.matches("given up").count(), 1, "{text}");
        assert!(text.contains("three") && text.ends_with("finished"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_come_late_and_then_steadily() {
        let sink = Collect::default();
        let (emitter, events) = channel(Arc::new(CountingClock::default()));
        let loop_task = tokio::spawn(events.deliver(Secrets::default(), vec![Box::new(sink.clone())]));
        tokio::time::sleep(Duration::from_millis(199)).await;
        assert_eq!(sink.text(), "");
        tokio::time::sleep(Duration::from_millis(202)).await;
        assert_eq!(sink.text(), "tick 10\ntick 20\ntick 30");
        drop(emitter);
        loop_task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn no_free_text_keeps_a_secret() {
        let secrets = Secrets::default();
        secrets.add("hunter2");
        let sink = Collect::default();
        let step = StepId::new(Phase::Build, "api");
        let text = || "a hunter2 b".to_owned();
        let kinds = vec![
            EventKind::RunStarted {
                run: "r".to_owned(),
                command: text(),
                images: 1,
                base_images: 1,
                engine: Some(text()),
                network: Some(text()),
            },
            EventKind::PhaseFinished { phase: Phase::Build, summary: text() },
            EventKind::StepStarted {
                step: step.clone(),
                phase: Phase::Build,
                subject: "api".to_owned(),
                why: text(),
            },
            EventKind::StepProgress {
                step: step.clone(),
                done: 1,
                total: 2,
                unit: crate::model::Unit::Steps,
                detail: Some(text()),
            },
            EventKind::StepLog { step: step.clone(), stream: LogStream::Stdout, line: text() },
            EventKind::StepPart {
                step: step.clone(),
                part: text(),
                began: 0,
                took: 1,
                cached: false,
                failed: false,
            },
            EventKind::StepWarning { step: None, message: text() },
            EventKind::StepRetrying { step: step.clone(), attempt: 1, delay: 1, cause: text() },
            EventKind::StepFinished {
                step,
                phase: Phase::Build,
                subject: "api".to_owned(),
                outcome: Outcome::Failed,
                took: 1,
                detail: text(),
                size: None,
                last_lines: vec![text()],
                log: None,
                error: None,
            },
            EventKind::StepSkipped {
                phase: Phase::Build,
                subject: "web".to_owned(),
                outcome: Outcome::Skipped,
                why: text(),
                error: None,
            },
            EventKind::CancelRequested { cause: text() },
            EventKind::Error {
                error: ErrorKind::NoEngine,
                what: text(),
                causes: vec![text()],
                last_lines: vec![text()],
                hints: vec![text()],
            },
        ];
        let count = kinds.len();
        deliver(kinds, secrets, &[&sink]).await;
        assert!(!sink.text().contains("hunter2"), "{}", sink.text());
        // Some events have several texts.
        assert_eq!(sink.text().matches("a *** b").count(), count + 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_step_gets_its_last_lines_and_its_log() {
        let sink = Collect { keeps_logs: true, ..Collect::default() };
        let step = StepId::new(Phase::Build, "api");
        let line = |stream, text: String| EventKind::StepLog { step: step.clone(), stream, line: text };
        let mut kinds: Vec<_> = (0..12).map(|n| line(LogStream::Stderr, format!("line {n}"))).collect();
        kinds.push(line(LogStream::Progress, "[2/3] RUN".to_owned()));
        kinds.push(EventKind::StepFinished {
            step: step.clone(),
            phase: Phase::Build,
            subject: "api".to_owned(),
            outcome: Outcome::Failed,
            took: 1,
            detail: "exit 1".to_owned(),
            size: None,
            last_lines: Vec::new(),
            log: None,
            error: None,
        });
        deliver(kinds, Secrets::default(), &[&sink]).await;
        let seen = sink.seen.lock().unwrap();
        let event: Event = serde_json::from_str(&seen[13]).unwrap();
        let EventKind::StepFinished { last_lines, log, .. } = event.kind else { panic!("{event:?}") };
        assert_eq!(last_lines.len(), LAST_LINES);
        assert_eq!((last_lines[0].as_str(), last_lines[9].as_str()), ("line 2", "line 11"));
        assert_eq!(log.as_deref(), Some("logs/build-api.log"));
    }
}
