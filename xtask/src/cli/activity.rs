//! A command's work that is no plan, shown and recorded as a run is: phases, steps, bytes.
//!
//! In: what is done, as it is done. Out: events. It decides nothing and runs nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::interrupt;
use super::session::Session;
use super::sinks;
use crate::cli::error::{Error, ExitCode};
use crate::engine::Progress;
use crate::events::{self, Clock as _, Emitter, SystemClock};
use crate::model::{EventKind, Outcome, Phase, RunStats, StepId, Unit};
use crate::report::places::Places;
use crate::report::record::Recorder;

/// Whether what happens is kept below `target/xtask/runs/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It changes something.
    Yes,
    /// It only looks.
    No,
}

/// A command of nothing but such work.
pub(super) struct Activity {
    /// What is done.
    pub work: Work,
    delivery: tokio::task::JoinHandle<()>,
}

/// Work under way, in a command of its own or as a part of a run.
pub(super) struct Work {
    clock: SystemClock,
    emitter: Emitter,
    stats: RunStats,
    phases: Vec<Phase>,
    /// Phases before these, and all phases.
    place: (usize, usize),
}

/// A step of it under way.
pub(super) struct ActiveStep {
    id: StepId,
    phase: Phase,
    subject: String,
    began: u64,
}

impl Activity {
    /// Begins; `phases` are all that will follow.
    pub fn start(session: &Session, recorded: Recorded, engine: Option<String>, phases: &[Phase]) -> Self {
        let clock = SystemClock::start();
        let (emitter, received) = events::channel(Arc::new(clock));
        let recorder = (recorded == Recorded::Yes).then(|| {
            Recorder::create(&session.config.root, clock.now().at).keeping(session.config.keep_runs)
        });
        let run = recorder.as_ref().map(|recorder| recorder.id().to_owned()).unwrap_or_default();
        let sinks = sinks::sinks(session, recorder, &Places::default(), None);
        let delivery = tokio::spawn(received.deliver(session.secrets.clone(), sinks));
        let command = session.command();
        emitter.emit(EventKind::RunStarted {
            run,
            command,
            images: 0,
            base_images: 0,
            engine,
            network: None,
        });
        for message in session.warnings() {
            emitter.emit(EventKind::StepWarning { step: None, message });
        }
        Self { work: Work::new(clock, emitter, phases, (0, phases.len())), delivery }
    }

    /// Tells how it ended and waits until everybody has heard of everything: what is left of an error is its kind.
    pub async fn finish<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        let Self { work, delivery } = self;
        let result = result.map_err(|error| error.tell_by(&work.emitter));
        let code = result.as_ref().map_or_else(Error::code, |_| ExitCode::Good);
        let outcome = match code {
            ExitCode::Good => Outcome::Done,
            ExitCode::Interrupted => Outcome::Cancelled,
            _ => Outcome::Failed,
        };
        let (exit_code, stats) = (code.number(), RunStats { took: work.now(), ..work.stats() });
        work.emitter.emit(EventKind::RunFinished { outcome, exit_code, stats });
        drop(work);
        let _ = delivery.await;
        result
    }
}

impl Work {
    /// Phases that come after so many others, of so many in all.
    pub fn new(clock: SystemClock, emitter: Emitter, phases: &[Phase], place: (usize, usize)) -> Self {
        Self { clock, emitter, stats: RunStats::default(), phases: phases.to_vec(), place }
    }

    /// What came of it so far.
    pub fn stats(&self) -> RunStats {
        self.stats.clone()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// A phase of so many steps begins.
    pub fn begin_phase(&self, phase: Phase, steps: usize) {
        let (before, of) = self.place;
        let position = before + self.phases.iter().position(|p| *p == phase).map_or(1, |at| at + 1);
        self.emitter.emit(EventKind::PhaseStarted { phase, position, of, steps, skipped: 0 });
    }

    /// A phase is over; `summary` says what came of it.
    pub fn end_phase(&self, phase: Phase, summary: String) {
        self.emitter.emit(EventKind::PhaseFinished { phase, summary });
    }

    /// A step begins.
    pub fn begin(&self, phase: Phase, subject: &str, why: &str) -> ActiveStep {
        let step = ActiveStep {
            id: StepId::new(phase, subject),
            phase,
            subject: subject.to_owned(),
            began: self.now(),
        };
        let (id, subject, why) = (step.id.clone(), subject.to_owned(), why.to_owned());
        self.emitter.emit(EventKind::StepStarted { step: id, phase, subject, why });
        step
    }

    /// Cancels on Ctrl-C what has to put things back before it ends.
    pub fn cancelled_by_interrupts(&self) -> (CancellationToken, AbortOnDropHandle<()>) {
        let cancel = CancellationToken::new();
        let watch = interrupt::watch_patiently(cancel.clone(), self.emitter.clone());
        (cancel, AbortOnDropHandle::new(tokio::spawn(watch)))
    }

    /// Tells what is done on this machine, beyond the steps.
    pub fn announcer(&self) -> impl Fn(String) + Send + Sync + 'static {
        let emitter = self.emitter.clone();
        move |message| emitter.emit(EventKind::Announced { message })
    }

    /// Takes how many bytes more were moved, from any thread, and tells how far a step is.
    pub fn meter(&self, step: &ActiveStep, total: u64) -> impl Fn(u64) + Send + Sync + 'static {
        /// Bytes between two events.
        const STRIDE: u64 = 8 << 20;
        let (emitter, step) = (self.emitter.clone(), step.id.clone());
        let (done, told) = (AtomicU64::new(0), AtomicU64::new(0));
        move |more| {
            let done = done.fetch_add(more, Ordering::Relaxed) + more;
            let last = told.load(Ordering::Relaxed);
            let is_due = done >= last + STRIDE || done == total;
            if is_due && told.compare_exchange(last, done, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                let step = step.clone();
                emitter.emit(EventKind::StepProgress { step, done, total, unit: Unit::Bytes, detail: None });
            }
        }
    }

    /// The same for whoever counts all bytes so far.
    pub fn gauge(&self, step: &ActiveStep, total: u64) -> impl Fn(u64) + Send + Sync + 'static {
        let (emitter, step) = (self.emitter.clone(), step.id.clone());
        move |done| {
            let step = step.clone();
            emitter.emit(EventKind::StepProgress { step, done, total, unit: Unit::Bytes, detail: None });
        }
    }

    /// Something is odd, but the work goes on.
    pub fn warn(&self, message: String) {
        self.emitter.emit(EventKind::StepWarning { step: None, message });
    }

    /// Takes what an engine tells of a step, from any thread.
    pub fn teller(&self, step: &ActiveStep) -> impl Fn(Progress) + Send + Sync + 'static {
        let (emitter, step) = (self.emitter.clone(), step.id.clone());
        move |progress| {
            let step = step.clone();
            match progress {
                Progress::Moved { done, total, unit, detail } => {
                    emitter.emit(EventKind::StepProgress { step, done, total, unit, detail });
                }
                Progress::Log { stream, line } => emitter.emit(EventKind::StepLog { step, stream, line }),
                Progress::Warning(message) => {
                    emitter.emit(EventKind::StepWarning { step: Some(step), message });
                }
                // Of builds alone.
                Progress::Part { .. } => {}
            }
        }
    }

    /// A step went well.
    pub fn end(&mut self, step: ActiveStep, outcome: Outcome, detail: String) {
        self.stats.count(outcome);
        self.emitter.emit(EventKind::StepFinished {
            step: step.id,
            phase: step.phase,
            subject: step.subject,
            outcome,
            took: self.now().saturating_sub(step.began),
            detail,
            size: None,
            last_lines: Vec::new(),
            log: None,
            error: None,
            place: None,
            failure: None,
        });
    }
}

/// A path as the end of a line tells it.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
