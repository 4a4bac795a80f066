//! The run loop, and what of an event reaches the sinks.

use std::sync::Mutex;

use super::*;
use crate::events::excerpt;
use crate::model::{ErrorKind, Phase, Reason};

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
    deliver(vec![warning("one"), warning("two"), warning("three")], Secrets::default(), &[&bad, &good]).await;
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
    secrets.add("a login", "hunter2");
    let sink = Collect::default();
    let step = StepId::new(Phase::Build, "api");
    let text = || "a hunter2 b".to_owned();
    let failure = || Failure {
        kind: ErrorKind::NotHere,
        what: text(),
        place: Some(text()),
        causes: vec![text()],
        hints: vec![text()],
    };
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
            place: None,
            failure: Some(failure()),
        },
        EventKind::StepSkipped {
            phase: Phase::Build,
            subject: "web".to_owned(),
            outcome: Outcome::Skipped,
            why: text(),
            reason: Some(Reason::TagUnknown(text())),
            error: None,
            failure: Some(failure()),
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
    assert_eq!(sink.text().matches("a *** b").count(), count + 14);
    assert!(!sink.text().contains("reason"), "{}", sink.text());
}

#[tokio::test(start_paused = true)]
async fn no_reason_keeps_a_secret_that_is_written_with_escapes() {
    let secrets = Secrets::default();
    secrets.add("a login", r#"hun"ter\\2-4711"#);
    let sink = Collect::default();
    let left_out = |why: &str| EventKind::StepSkipped {
        phase: Phase::Build,
        subject: "web".to_owned(),
        outcome: Outcome::Failed,
        why: "x".to_owned(),
        reason: Some(Reason::TagUnknown(why.to_owned())),
        error: None,
        failure: None,
    };
    deliver(vec![left_out(r#"a hun"ter\\2-4711 b"#), left_out("another")], secrets, &[&sink]).await;
    assert_eq!(sink.text().matches("\"reason\"").count(), 1, "{}", sink.text());
    assert!(sink.text().contains("another") && !sink.text().contains("4711"), "{}", sink.text());
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
        place: None,
        failure: None,
    });
    deliver(kinds, Secrets::default(), &[&sink]).await;
    let seen = sink.seen.lock().unwrap();
    let event: Event = serde_json::from_str(&seen[13]).unwrap();
    let EventKind::StepFinished { last_lines, log, .. } = event.kind else { panic!("{event:?}") };
    assert_eq!(last_lines.len(), 12);
    assert_eq!((last_lines[0].as_str(), last_lines[11].as_str()), ("line 0", "line 11"));
    assert_eq!(log.as_deref(), Some("logs/build-api.log"));
}

#[tokio::test(start_paused = true)]
async fn hostile_output_reaches_no_sink() {
    let secrets = Secrets::default();
    secrets.add("a login", "hunter2-4711");
    let sink = Collect { keeps_logs: true, ..Collect::default() };
    let step = StepId::new(Phase::Build, "api");
    let line = |line: &str| EventKind::StepLog {
        step: step.clone(),
        stream: LogStream::Stdout,
        line: line.to_owned(),
    };
    let mut kinds = vec![
        line("\x1b]52;c;aGk=\x07\x1b[2Jhun\x1b[0mter2-4711\x1b[?1049h"),
        line("\u{9d}0;title\u{9c}nul\0 \u{202e}evil"),
        line(&"x".repeat(100_000)),
        EventKind::StepWarning { step: None, message: "one\x1b[2J\ntwo\x07".to_owned() },
    ];
    kinds.push(EventKind::StepFinished {
        step: step.clone(),
        phase: Phase::Build,
        subject: "api".to_owned(),
        outcome: Outcome::Failed,
        took: 1,
        detail: "hun\x1b[1mter2-4711\nexit 1".to_owned(),
        size: None,
        last_lines: Vec::new(),
        log: None,
        error: None,
        place: None,
        failure: None,
    });
    deliver(kinds, secrets, &[&sink]).await;
    let seen = sink.seen.lock().unwrap();
    let events: Vec<Event> = seen[..5].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let EventKind::StepFinished { detail, last_lines, .. } = &events[4].kind else { panic!() };
    assert_eq!(detail, "***\nexit 1");
    assert_eq!(last_lines[..2], ["***", "nul\u{fffd} \u{fffd}evil"]);
    assert_eq!(last_lines[2].len(), excerpt::MAX_LINE + 3);
    let EventKind::StepWarning { message, .. } = &events[3].kind else { panic!() };
    assert_eq!(message, "one\ntwo\u{fffd}");
}
