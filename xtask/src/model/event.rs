//! What happens during a run, as one stream. Doing emits events; showing consumes them. `docs/events.md`
//! describes the wire format, which only grows.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ErrorKind, Failure, Phase, Reason, StepId};

/// One thing that happened. On the wire: one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of the format: 1.
    pub v: u32,
    /// Wall-clock time, RFC 3339 in UTC with milliseconds.
    pub at: String,
    /// Milliseconds since the run began.
    pub elapsed: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// The first event.
    RunStarted {
        /// The run's id, also the name of its folder below `target/xtask/runs/`.
        run: String,
        /// What was typed, without values that may be secret.
        command: String,
        /// Images selected.
        images: usize,
        /// External base images that they stand on.
        base_images: usize,
        /// `docker 27.3`; none when no engine is used.
        engine: Option<String>,
        /// `external (docker.io answered in 38 ms)`; none when no network is needed.
        network: Option<String>,
    },
    /// A phase begins.
    PhaseStarted {
        /// Which.
        phase: Phase,
        /// 1-based position among the phases of this run.
        position: usize,
        /// How many phases this run has.
        of: usize,
        /// Steps to do in it.
        steps: usize,
        /// Things of this phase that need not be done.
        skipped: usize,
    },
    /// A phase is over.
    PhaseFinished {
        /// Which.
        phase: Phase,
        /// A few words: `2 pulled, 7 already here`.
        summary: String,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: StepId,
        /// Its phase.
        phase: Phase,
        /// What it is about.
        subject: String,
        /// Why it is done.
        why: String,
    },
    /// A step got further.
    StepProgress {
        /// Which.
        step: StepId,
        /// How far.
        done: u64,
        /// Of how much; 0 when nobody knows.
        total: u64,
        /// Counted in what.
        unit: Unit,
        /// What is going on: the running instruction, the layer.
        detail: Option<String>,
    },
    /// A line of a step's own output.
    StepLog {
        /// Which.
        step: StepId,
        /// Where it was printed.
        stream: LogStream,
        /// The line, without its newline; may hold anything that a build prints.
        line: String,
    },
    /// What one instruction of a build did; told when the build is over, in the order in which they began.
    StepPart {
        /// Which step.
        step: StepId,
        /// The builder's name for it: `[builder 2/5] RUN npm ci`.
        part: String,
        /// Milliseconds after the build's first instruction.
        began: u64,
        /// Milliseconds that it took.
        took: u64,
        /// Whether its result was there already.
        cached: bool,
        /// Whether it failed by itself.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
    /// Something is odd, but the step goes on. Without a step: the run goes on.
    StepWarning {
        /// Which step, if one.
        step: Option<StepId>,
        /// What is odd, and what mends it.
        message: String,
    },
    /// A try failed and another one follows.
    StepRetrying {
        /// Which.
        step: StepId,
        /// The number of the try that failed, from 1.
        attempt: u32,
        /// Milliseconds until the next one.
        delay: u64,
        /// Why it failed.
        cause: String,
    },
    /// A step is over.
    StepFinished {
        /// Which.
        step: StepId,
        /// Its phase.
        phase: Phase,
        /// What it was about.
        subject: String,
        /// How it ended.
        outcome: Outcome,
        /// Milliseconds that it took.
        took: u64,
        /// What came of it (`sha256:9f0c…`), or the causes of its failure, a line each.
        detail: String,
        /// Bytes of the image that it made, where it made one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// Of a failed step: what it printed, as far as that tells why. Left empty, the run loop fills it from the log.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        last_lines: Vec<String>,
        /// The step's log, relative to the root, if it has one; the run loop fills it.
        log: Option<String>,
        /// Of a failed step: the kind of its failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorKind>,
        /// Of a failed build: the instruction's place in the tree (`src/api/Dockerfile:12`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<String>,
        /// Of a failed step: why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// Something was not done.
    StepSkipped {
        /// Its phase.
        phase: Phase,
        /// What it is about.
        subject: String,
        /// `up-to-date` because it need not, `skipped` because something that it needs failed or nobody asked
        /// for it, `cancelled` because the run was stopped before.
        outcome: Outcome,
        /// Why, for people.
        why: String,
        /// Why, for programs; none when it was not the plan that left it out, or when it has something to hide.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
        /// Of what counts as failed: the kind of its failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorKind>,
        /// Of what counts as failed: why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// Something was done to the machine: a package installed, an engine started, a base image made.
    Announced {
        /// What, and what for.
        message: String,
    },
    /// Ctrl-C, or the first failure under `--fail-fast`.
    CancelRequested {
        /// Why.
        cause: String,
    },
    /// What ends the run is no failed step: told once, before the run's end.
    Error {
        /// Its kind.
        error: ErrorKind,
        /// What could not be done.
        what: String,
        /// Why, from the outermost cause to the innermost.
        causes: Vec<String>,
        /// The last lines that were printed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        last_lines: Vec<String>,
        /// Commands or files that help.
        hints: Vec<String>,
    },
    /// The last event.
    RunFinished {
        /// How it ended.
        outcome: Outcome,
        /// The process's exit code.
        exit_code: u8,
        /// Totals.
        stats: RunStats,
    },
}

/// How a step or a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done: built, pulled, tagged, written, verified.
    Done,
    /// Nothing had to be done.
    UpToDate,
    /// Not done, because something that it needs failed or was not selected.
    Skipped,
    /// Tried and failed.
    Failed,
    /// Stopped by a person or by `--fail-fast`.
    Cancelled,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::UpToDate => "up-to-date",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// What progress is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Instructions of a Dockerfile.
    Steps,
}

/// Where a log line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The builder's own words: instructions, transfers.
    Progress,
}

/// Totals of a run, by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStats {
    /// Steps done.
    pub done: usize,
    /// Things that were right already.
    pub up_to_date: usize,
    /// Steps not done since something that they need failed.
    pub skipped: usize,
    /// Steps failed.
    pub failed: usize,
    /// Steps cancelled.
    pub cancelled: usize,
    /// Milliseconds from first to last event.
    pub took: u64,
}

impl RunStats {
    /// One more that ended so.
    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::UpToDate => self.up_to_date += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Cancelled => self.cancelled += 1,
        }
    }

    /// Those of others too; the time is this one's.
    pub fn add(&mut self, others: &Self) {
        self.done += others.done;
        self.up_to_date += others.up_to_date;
        self.skipped += others.skipped;
        self.failed += others.failed;
        self.cancelled += others.cancelled;
    }
}
