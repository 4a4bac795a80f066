//! Runs as lists of events, for the tests of the sinks.

use std::io;
use std::sync::{Arc, Mutex};

use crate::model::{
    ErrorKind, Event, EventKind, Failure, LogStream, Outcome, Phase, Reason, RunStats, StepId, Unit,
};

/// Makes events; the clock is set by hand.
#[derive(Default)]
pub struct Story {
    pub events: Vec<Event>,
    pub now: u64,
}

impl Story {
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything from here on happens at this second.
    pub fn at(&mut self, seconds: u64) -> &mut Self {
        self.now = seconds * 1000;
        self
    }

    pub fn tell(&mut self, kind: EventKind) -> &mut Self {
        let at = crate::events::format_time(
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(self.now),
        );
        self.events.push(Event { v: 1, at, elapsed: self.now, kind });
        self
    }

    pub fn begin(&mut self, images: usize, base_images: usize) -> &mut Self {
        self.tell(EventKind::RunStarted {
            run: "8d2".to_owned(),
            command: "cargo xtask build-all".to_owned(),
            images,
            base_images,
            engine: Some("docker 27.3".to_owned()),
            network: Some("external".to_owned()),
        })
    }

    pub fn phase(&mut self, phase: Phase, position: usize, steps: usize, skipped: usize) -> &mut Self {
        self.tell(EventKind::PhaseStarted { phase, position, of: 6, steps, skipped })
    }

    pub fn phase_end(&mut self, phase: Phase) -> &mut Self {
        self.tell(EventKind::PhaseFinished { phase, summary: String::new() })
    }

    pub fn start(&mut self, phase: Phase, subject: &str, why: &str) -> &mut Self {
        let (subject, why) = (subject.to_owned(), why.to_owned());
        self.tell(EventKind::StepStarted { step: StepId::new(phase, &subject), phase, subject, why })
    }

    pub fn progress(&mut self, phase: Phase, subject: &str, at: (u64, u64, Unit), detail: &str) -> &mut Self {
        let (done, total, unit) = at;
        let step = StepId::new(phase, subject);
        self.tell(EventKind::StepProgress { step, done, total, unit, detail: Some(detail.to_owned()) })
    }

    pub fn log(&mut self, phase: Phase, subject: &str, line: &str) -> &mut Self {
        let step = StepId::new(phase, subject);
        self.tell(EventKind::StepLog { step, stream: LogStream::Stderr, line: line.to_owned() })
    }

    /// An instruction that ran, or was cached if it took no time.
    pub fn part(&mut self, phase: Phase, subject: &str, part: &str, began: u64, took: u64) -> &mut Self {
        let (step, part, cached) = (StepId::new(phase, subject), part.to_owned(), took == 0);
        self.tell(EventKind::StepPart { step, part, began, took, cached, failed: false })
    }

    pub fn failing_part(&mut self, subject: &str, part: &str, began: u64, took: u64) -> &mut Self {
        let (step, part) = (StepId::new(Phase::Build, subject), part.to_owned());
        self.tell(EventKind::StepPart { step, part, began, took, cached: false, failed: true })
    }

    pub fn warn(&mut self, step: Option<StepId>, message: &str) -> &mut Self {
        self.tell(EventKind::StepWarning { step, message: message.to_owned() })
    }

    pub fn announce(&mut self, message: &str) -> &mut Self {
        self.tell(EventKind::Announced { message: message.to_owned() })
    }

    pub fn retry(&mut self, phase: Phase, subject: &str, cause: &str) -> &mut Self {
        let step = StepId::new(phase, subject);
        self.tell(EventKind::StepRetrying { step, attempt: 1, delay: 2000, cause: cause.to_owned() })
    }

    pub fn finish(
        &mut self,
        phase: Phase,
        subject: &str,
        took: u64,
        size: Option<u64>,
        detail: &str,
    ) -> &mut Self {
        self.tell(EventKind::StepFinished {
            step: StepId::new(phase, subject),
            phase,
            subject: subject.to_owned(),
            outcome: Outcome::Done,
            took,
            detail: detail.to_owned(),
            size,
            last_lines: Vec::new(),
            log: None,
            error: None,
            place: None,
            failure: None,
        })
    }

    pub fn fail(&mut self, phase: Phase, subject: &str, detail: &str, last_lines: &[&str]) -> &mut Self {
        let step = StepId::new(phase, subject);
        let failure = failure(ErrorKind::BuildFailed, phase, subject, detail);
        let log =
            (phase == Phase::Build).then(|| format!("target/xtask/runs/8d2/logs/{}.log", step.file_stem()));
        self.tell(EventKind::StepFinished {
            step,
            phase,
            subject: subject.to_owned(),
            outcome: Outcome::Failed,
            took: 2000,
            detail: failure.causes.join("\n"),
            size: None,
            last_lines: last_lines.iter().map(|&line| line.to_owned()).collect(),
            log,
            error: Some(ErrorKind::BuildFailed),
            place: failure.place.clone(),
            failure: Some(failure),
        })
    }

    pub fn skip(&mut self, phase: Phase, subject: &str, outcome: Outcome, why: &str) -> &mut Self {
        let error = (outcome == Outcome::Failed).then_some(ErrorKind::NotHere);
        let failure = error.map(|kind| failure(kind, phase, subject, why));
        let (subject, why) = (subject.to_owned(), why.to_owned());
        self.tell(EventKind::StepSkipped { phase, subject, outcome, why, reason: None, error, failure })
    }

    /// What a plan leaves out.
    pub fn leave_out(&mut self, phase: Phase, subject: &str, reason: Reason) -> &mut Self {
        let (outcome, failure) = (reason.outcome(), reason.failure(phase, subject));
        let (subject, why, error) =
            (subject.to_owned(), reason.to_string(), failure.as_ref().map(|f| f.kind));
        self.tell(EventKind::StepSkipped {
            phase,
            subject,
            outcome,
            why,
            reason: Some(reason),
            error,
            failure,
        })
    }

    pub fn end(&mut self, outcome: Outcome, exit_code: u8) -> &mut Self {
        self.tell(EventKind::RunFinished { outcome, exit_code, stats: RunStats::default() })
    }
}

/// The run of DESIGN's screens: one of four images fails.
pub fn failing_story() -> Vec<Event> {
    let digest = |c: &str| format!("sha256:{}", c.repeat(16));
    let mut story = Story::new();
    story.begin(14, 9).phase(Phase::Prefetch, 1, 1, 0);
    story.start(Phase::Prefetch, "alpine:3.20", "not in the local store");
    story.at(2).retry(Phase::Prefetch, "alpine:3.20", "TLS handshake timeout");
    story.at(6).finish(Phase::Prefetch, "alpine:3.20", 6000, None, &digest("1e42"));
    story.phase_end(Phase::Prefetch).phase(Phase::Build, 5, 3, 1);
    story.skip(Phase::Build, "worker", Outcome::UpToDate, "up to date: 212 inputs unchanged");
    story.at(9).start(Phase::Build, "api", "source changed: src/api/Cargo.lock");
    story.progress(Phase::Build, "api", (12, 17, Unit::Steps), "RUN cargo build --release");
    story.start(Phase::Build, "frontend", "not built yet");
    story.progress(Phase::Build, "frontend", (4, 9, Unit::Steps), "RUN npm ci");
    story.log(Phase::Build, "frontend", "npm ERR! code ENOTFOUND");
    story.warn(Some(StepId::new(Phase::Build, "api")), "base image debian:12-slim is a year old");
    story.at(91).part(Phase::Build, "api", "[builder 1/2] FROM docker.io/library/rust:1.80", 0, 0);
    story.part(Phase::Build, "api", "[builder 2/2] RUN cargo build --release", 10, 80_000);
    story.finish(Phase::Build, "api", 82_000, Some(1_200_000_000), &digest("9f0c"));
    let cause = "src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1";
    story.at(93).failing_part("frontend", "[4/9] RUN npm ci", 100, 1_900).fail(
        Phase::Build,
        "frontend",
        cause,
        &["npm ERR! code ENOTFOUND"],
    );
    story.skip(Phase::Build, "shop", Outcome::Skipped, "frontend failed");
    story.phase_end(Phase::Build).end(Outcome::Failed, 3);
    story.events
}

/// A run of so many images, with its plan: a few build on others, some fail, some are up to date.
pub fn big_story(count: usize) -> (Vec<Event>, serde_json::Value) {
    let stems = ["api", "auth", "billing", "catalog", "gateway", "mailer", "search", "worker"];
    let bases = ["debian:12-slim", "node:22-alpine", "golang:1.23", "nginx:1.27", "redis:7-alpine"];
    let full = |base: &str| format!("docker.io/library/{base}");
    let name = |n: usize| match n {
        0 => "runtime".to_owned(),
        1 => "toolchain".to_owned(),
        n => format!("{}-{:02}", stems[n % stems.len()], n),
    };
    let (mut story, mut images, mut steps) = (Story::new(), Vec::new(), Vec::new());
    story.begin(count, bases.len()).phase(Phase::Prefetch, 1, 3, 2);
    for base in &bases[..3] {
        story.start(Phase::Prefetch, base, "not in the local store");
    }
    story.retry(Phase::Prefetch, bases[1], "TLS handshake timeout");
    for (n, base) in bases[..3].iter().enumerate() {
        story.now += 1_400 + 900 * n as u64;
        story.finish(Phase::Prefetch, base, story.now, None, &format!("sha256:{:064x}", n + 77));
    }
    for base in &bases[3..] {
        story.skip(Phase::Prefetch, base, Outcome::UpToDate, "already here");
    }
    story.phase_end(Phase::Prefetch).phase(Phase::Alias, 2, 1, 4);
    story.start(Phase::Alias, "localhost/debian:12-slim", "missing, made from debian:12-slim");
    story.now += 40;
    story.finish(Phase::Alias, "localhost/debian:12-slim", 40, None, "").phase_end(Phase::Alias);
    story.phase(Phase::Build, 5, count, 0);
    // Eight builds at a time; each slot knows when it is free.
    let mut slots = [story.now; 8];
    let mut ends = vec![0; count];
    let mut todo = Vec::new();
    for n in 0..count {
        let needs: Vec<usize> = match n {
            0 | 1 => vec![],
            n if n % 9 == 4 && n > 10 => vec![1, n - 7],
            n => vec![n % 2],
        };
        let base = bases[(n * 7) % bases.len()];
        let (state, reason) = match n % 5 {
            3 if n > 2 => ("up-to-date", "up to date: 51 inputs unchanged".to_owned()),
            1 => ("missing", "not built yet".to_owned()),
            _ => ("stale", format!("source changed: src/{}/main.go, and 2 more", name(n))),
        };
        let changes: Vec<String> = match state {
            "stale" => ["main.go", "go.sum", "handlers/users.go"]
                .map(|file| format!("source changed: src/{}/{file}", name(n)))
                .to_vec(),
            _ => vec![],
        };
        images.push(serde_json::json!({
            "name": name(n), "reference": format!("{}:v1", name(n)), "dockerfile": format!("src/{}/Dockerfile", name(n)),
            "context": format!("src/{}", name(n)), "target": null, "platform": "linux/amd64",
            "needs": needs.iter().map(|&need| name(need)).collect::<Vec<_>>(), "base_images": [full(base)],
            "inputs": vec!["x"; 51], "key": format!("sha256:{:064x}", n * 31 + 5), "state": state,
            "reason": reason, "changes": changes,
        }));
        steps.push(serde_json::json!({"id": format!("build:{}", name(n)),
            "needs": needs.iter().map(|&need| format!("build:{}", name(need))).collect::<Vec<_>>()}));
        if state == "up-to-date" {
            story.skip(Phase::Build, &name(n), Outcome::UpToDate, &reason);
            continue;
        }
        let ready = needs.iter().map(|&need| ends[need]).max().unwrap_or(0).max(story.now);
        let slot = (0..slots.len()).min_by_key(|&slot| slots[slot].max(ready)).unwrap_or(0);
        let began = slots[slot].max(ready);
        let took = 2_000 + (n as u64 * 7_919) % 23_000 + if n < 2 { 20_000 } else { 0 };
        slots[slot] = began + took;
        ends[n] = began + took;
        todo.push((began, false, n, took, reason));
    }
    let ended: Vec<_> =
        todo.iter().map(|(began, _, n, took, why)| (began + took, true, *n, *took, why.clone())).collect();
    todo.extend(ended);
    todo.sort();
    for (at, is_end, n, took, why) in todo {
        story.now = at;
        let name = name(n);
        if !is_end {
            story.start(Phase::Build, &name, &why);
            continue;
        }
        let base = bases[(n * 7) % bases.len()];
        story.part(Phase::Build, &name, &format!("[builder 1/4] FROM {}", full(base)), 0, 0);
        story.part(Phase::Build, &name, "[builder 2/4] RUN apk add --no-cache build-base git", 20, 0);
        story.part(Phase::Build, &name, "[builder 3/4] COPY . /src", 30, 180);
        let run = "[builder 4/4] RUN --mount=type=cache,target=/root/.cache go build -trimpath -o /out/app ./cmd/app";
        if n % 41 == 40 {
            story.failing_part(&name, run, 240, took - 400);
            let cause = format!("src/{name}/Dockerfile:9: `RUN go build` exited with status 1");
            let lines = [
                "# example.com/shop/cmd/app",
                "cmd/app/main.go:41:2: undefined: handlers.Users",
                "exit status 1",
            ];
            story.fail(Phase::Build, &name, &cause, &lines);
            continue;
        }
        story.part(Phase::Build, &name, run, 240, took - 900);
        story.part(Phase::Build, &name, "[stage-1 2/2] COPY --from=builder /out/app /app", took - 600, 90);
        story.part(Phase::Build, &name, "exporting to image", took - 450, 420);
        story.finish(
            Phase::Build,
            &name,
            took,
            Some(40_000_000 + n as u64 * 1_234_567),
            &format!("sha256:{:064x}", n + 7),
        );
        if let Some(Event { kind: EventKind::StepFinished { log, .. }, .. }) = story.events.last_mut() {
            *log = Some(format!("target/xtask/runs/8d2/logs/build-{name}.log"));
        }
    }
    story.skip(Phase::Build, "shop-front", Outcome::Skipped, "search-40 failed");
    story.warn(None, "src/auth-01/Dockerfile:3: `as` and `FROM` are cased differently");
    story.phase_end(Phase::Build).end(Outcome::Failed, 3);
    let base_images: Vec<String> = bases.iter().map(|base| full(base)).collect();
    let ids = serde_json::json!({ full(bases[3]): format!("sha256:{:064x}", 901), full(bases[4]): format!("sha256:{:064x}", 902) });
    let plan = serde_json::json!({ "images": images, "base_images": base_images, "base_image_ids": ids, "steps": steps });
    (story.events, plan)
}

/// A writer that its test can look into.
#[derive(Clone, Default)]
pub struct Paper(pub Arc<Mutex<Vec<u8>>>);

impl Paper {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A failure as a text has it: a line for each cause, and one that begins with `hint: ` for each hint.
fn failure(kind: ErrorKind, phase: Phase, subject: &str, text: &str) -> Failure {
    let (hints, causes): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("hint: "));
    Failure {
        place: text.split_once(": `RUN").map(|(place, _)| place.to_owned()),
        hints: hints.iter().map(|hint| hint.trim_start_matches("hint: ").to_owned()).collect(),
        ..Failure::of(kind, phase, subject, &causes.join("\n"))
    }
}
