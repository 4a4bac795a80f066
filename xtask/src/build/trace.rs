//! What a build says of itself: BuildKit's vertexes, statuses and logs become progress, log lines and, in the
//! end, the instruction that failed. Pure but for the progress that it hands on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog, VertexStatus};

use crate::engine::{OnProgress, Progress, stall};
use crate::events::excerpt::Excerpt;
use crate::model::{LogStream, Reference, Unit};

/// A line without an end is cut here.
const MAX_LINE: usize = 64 * 1024;
/// What the builder does beside instructions (loading, exporting) is told at the end from here on.
const WORTH_TELLING: Duration = Duration::from_millis(100);
/// Standard error, as logs number it.
const STDERR: i64 = 2;

/// What the builder calls the questions that it asks registries, each before the name of an image.
const QUESTIONS: [&str; 4] = [
    "[internal] load metadata for ",
    "resolve image config for docker-image://",
    "resolve image config for ",
    "importing cache manifest from ",
];

/// The build so far.
#[derive(Default)]
pub(super) struct Trace {
    seen: HashMap<String, Seen>,
    /// Instructions by stage: the number of all, and those that are done.
    stages: BTreeMap<String, (u64, BTreeSet<u64>)>,
    /// Digests of what is running, in order of start.
    running: Vec<String>,
    /// The first vertex that failed by itself.
    failed: Option<String>,
    /// What comes from registries, by vertex and its part: bytes that came, and all.
    transfers: BTreeMap<(String, String), (i64, i64)>,
    /// How many bytes had come when it was last worth noting.
    noted: i64,
}

#[derive(Default)]
struct Seen {
    number: usize,
    name: String,
    started: bool,
    completed: bool,
    cached: bool,
    /// When it worked, in nanoseconds of the engine's clock: ends by beginnings.
    spans: BTreeMap<i128, i128>,
    error: String,
    /// Unfinished lines by stream.
    partial: BTreeMap<i64, Vec<u8>>,
    printed: Excerpt,
}

/// What a vertex did, for the end.
struct Part<'a> {
    seen: &'a Seen,
    began: Duration,
    took: Duration,
    failed: bool,
}

impl<'a> Part<'a> {
    fn of(seen: &'a Seen, first: i128, failed: bool) -> Self {
        let took: i128 = seen.spans.iter().map(|(began, ended)| (ended - began).max(0)).sum();
        let last = seen.spans.values().max().copied().unwrap_or(first);
        Self { seen, began: duration(last - took - first), took: duration(took), failed }
    }

    fn is_worth_telling(&self) -> bool {
        position(&self.seen.name).is_some() || self.failed || self.took >= WORTH_TELLING
    }
}

fn nanoseconds(at: Timestamp) -> i128 {
    i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos)
}

fn duration(nanoseconds: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX))
}

/// The instruction that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FailedVertex {
    /// The builder's name for it: `[builder 2/5] RUN npm ci`.
    pub(super) vertex: String,
    /// What it printed, as far as that tells why.
    pub(super) last_lines: Vec<String>,
}

impl Trace {
    /// Takes one message in, and says whether there was anything new in it.
    pub(super) fn take(&mut self, message: StatusResponse, progress: OnProgress<'_>) -> bool {
        let mut moved = false;
        let has_printed = !message.logs.is_empty();
        for vertex in message.vertexes {
            moved |= self.take_vertex(vertex, progress);
        }
        for status in message.statuses {
            self.take_status(status, progress);
        }
        for log in message.logs {
            self.take_log(log, progress);
        }
        for warning in message.warnings {
            progress(Progress::Warning(String::from_utf8_lossy(&warning.short).trim().to_owned()));
        }
        if moved {
            let (done, total) = self
                .stages
                .values()
                .fold((0, 0), |(done, total), (of, numbers)| (done + numbers.len() as u64, total + of));
            let detail = self.running.last().and_then(|digest| self.seen.get(digest));
            let detail = detail.map(|seen| instruction(&seen.name).unwrap_or(&seen.name).to_owned());
            progress(Progress::Moved { done, total, unit: Unit::Steps, detail });
        }
        let came: i64 = self.transfers.values().map(|(came, _)| came).sum();
        let has_come = came - self.noted >= stall::LEAST.cast_signed();
        if moved || has_come {
            self.noted = came;
        }
        moved || has_printed || has_come
    }

    /// The registry that everything which runs is waiting for; none while anything else goes on. What is looked up in the
    /// cache counts as complete, although its layers still come.
    pub(super) fn waits_for(&self) -> Option<String> {
        let is_coming = |(came, all): &(i64, i64)| came < all;
        let coming = self.transfers.iter().filter(|(_, part)| is_coming(part)).map(|((vertex, _), _)| vertex);
        let coming: BTreeSet<&String> = coming.collect();
        let waits = |digest: &String| {
            let name = &self.seen.get(digest)?.name;
            if let Some(reference) = QUESTIONS.iter().find_map(|words| name.strip_prefix(words)) {
                return registry(reference);
            }
            let has_begun = self.transfers.keys().any(|(vertex, _)| vertex == digest);
            let base = instruction(name)?.strip_prefix("FROM ")?;
            if coming.contains(digest) || !has_begun { registry(base) } else { None }
        };
        let mut waited_for = self.running.iter().chain(coming.iter().copied()).map(waits);
        let first = waited_for.next()??;
        waited_for.all(|other| other.is_some()).then_some(first)
    }

    /// Hands out what has no newline at its end, and then what each instruction did.
    pub(super) fn finish(&mut self, progress: OnProgress<'_>) {
        let mut unfinished: Vec<&mut Seen> = self.seen.values_mut().collect();
        unfinished.sort_by_key(|seen| seen.number);
        for seen in unfinished {
            for (stream, bytes) in std::mem::take(&mut seen.partial) {
                if !bytes.is_empty() {
                    say(&mut seen.printed, stream, &bytes, progress);
                }
            }
        }
        self.tell_parts(progress);
    }

    /// Only now, for a vertex that looked complete (its cache was looked up) may have gone on. Of what the builder
    /// does for itself only what took its time, or failed; nothing of what it was told to stop.
    fn tell_parts(&self, progress: OnProgress<'_>) {
        let is_over = |digest: &String, seen: &Seen| {
            !seen.spans.is_empty() && (seen.error.is_empty() || self.failed.as_ref() == Some(digest))
        };
        let all = || self.seen.iter().filter(|(digest, seen)| is_over(digest, seen));
        let first = all().filter_map(|(_, seen)| seen.spans.keys().next()).min().copied().unwrap_or_default();
        let mut parts: Vec<Part<'_>> = all()
            .map(|(digest, seen)| Part::of(seen, first, self.failed.as_ref() == Some(digest)))
            .filter(|part| part.is_worth_telling())
            .collect();
        parts.sort_by_key(|part| (part.began, part.seen.number));
        for Part { seen, began, took, failed } in parts {
            let (name, cached) = (seen.name.clone(), seen.cached);
            progress(Progress::Part { name, began, took, cached, failed });
        }
    }

    /// The instruction that failed, where the builder said which.
    pub(super) fn failure(&self) -> Option<FailedVertex> {
        let seen = self.seen.get(self.failed.as_ref()?)?;
        Some(FailedVertex { vertex: seen.name.clone(), last_lines: seen.printed.lines() })
    }

    /// Whether it is worth telling how far the build is.
    fn take_vertex(&mut self, vertex: Vertex, progress: OnProgress<'_>) -> bool {
        let number = self.seen.len() + 1;
        let digest = vertex.digest;
        let seen = self.seen.entry(digest.clone()).or_default();
        let mut moved = false;
        let say = |text: String| progress(Progress::Log { stream: LogStream::Progress, line: text });
        if seen.number == 0 {
            seen.number = number;
            seen.name = vertex.name;
            if let Some(position) = position(&seen.name) {
                self.stages.entry(position.stage.to_owned()).or_default().0 = position.of;
                moved = true;
            }
        }
        if vertex.started.is_some() && !seen.started {
            seen.started = true;
            say(format!("#{} {}", seen.number, seen.name));
            self.running.push(digest.clone());
            moved = true;
        }
        if let (Some(began), Some(ended)) = (vertex.started, vertex.completed) {
            seen.spans.insert(nanoseconds(began), nanoseconds(ended));
            seen.cached = vertex.cached;
        }
        // A vertex can complete more than once: first from the cache, then for real.
        if vertex.completed.is_some() && !seen.completed {
            seen.completed = true;
            self.running.retain(|running| *running != digest);
            if let Some(position) = position(&seen.name)
                && vertex.error.is_empty()
                && let Some((_, done)) = self.stages.get_mut(position.stage)
            {
                done.insert(position.number);
            }
            if vertex.cached {
                say(format!("#{} CACHED", seen.number));
            }
            moved = true;
        }
        if !vertex.error.is_empty() && seen.error.is_empty() {
            say(format!("#{} ERROR: {}", seen.number, vertex.error));
            // The others are only told to stop.
            if self.failed.is_none() && !vertex.error.contains("context canceled") {
                self.failed = Some(digest);
            }
            seen.error = vertex.error;
        }
        moved
    }

    /// What was transferred is told once, when it is over: the build context, a layer.
    fn take_status(&mut self, status: VertexStatus, progress: OnProgress<'_>) {
        let came = match status.completed {
            Some(_) => (status.total, status.total),
            None => (status.current, status.total),
        };
        self.transfers.insert((status.vertex.clone(), status.id.clone()), came);
        if status.completed.is_none() || status.current <= 0 {
            return;
        }
        let number = self.seen.get(&status.vertex).map_or(0, |seen| seen.number);
        let what = if status.name.is_empty() { &status.id } else { &status.name };
        let line = format!("#{number} {} {} bytes", what.trim_end_matches(':'), status.current);
        progress(Progress::Log { stream: LogStream::Progress, line });
    }

    fn take_log(&mut self, log: VertexLog, progress: OnProgress<'_>) {
        let seen = self.seen.entry(log.vertex).or_default();
        let mut rest = log.msg.as_slice();
        let partial = seen.partial.entry(log.stream).or_default();
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            partial.extend_from_slice(&rest[..end]);
            say_pieces(&mut seen.printed, log.stream, partial, progress);
            say(&mut seen.printed, log.stream, partial, progress);
            partial.clear();
            rest = &rest[end + 1..];
        }
        partial.extend_from_slice(rest);
        say_pieces(&mut seen.printed, log.stream, partial, progress);
    }
}

/// Says what is too long for one line, and leaves the rest.
fn say_pieces(printed: &mut Excerpt, stream: i64, partial: &mut Vec<u8>, progress: OnProgress<'_>) {
    while partial.len() > MAX_LINE {
        let end = piece_of(&partial[..MAX_LINE]);
        say(printed, stream, &partial[..end], progress);
        partial.drain(..end);
    }
}

/// Where to cut a line that is too long: behind a word, so that no secret is cut in two; in a line without words at
/// least not inside a character.
fn piece_of(bytes: &[u8]) -> usize {
    let last_words = bytes.len() - bytes.len() / 16;
    let after_word =
        bytes[last_words..].iter().rposition(u8::is_ascii_whitespace).map(|at| last_words + at + 1);
    after_word.unwrap_or_else(|| {
        let is_inside = |byte: &u8| byte & 0xc0 == 0x80;
        let tail = bytes.iter().rev().take(3).take_while(|byte| is_inside(byte)).count();
        // The first byte of the last character, which may have more to come.
        if bytes[bytes.len() - 1 - tail] >= 0xc0 { bytes.len() - 1 - tail } else { bytes.len() }
    })
}

fn say(printed: &mut Excerpt, stream: i64, bytes: &[u8], progress: OnProgress<'_>) {
    let text = String::from_utf8_lossy(bytes);
    // A progress bar draws over itself: what a terminal would show last is what counts.
    let line = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
    let stream = if stream == STDERR { LogStream::Stderr } else { LogStream::Stdout };
    if !line.trim().is_empty() {
        printed.push(stream, &line);
    }
    progress(Progress::Log { stream, line });
}

/// Where an instruction stands: `[builder 2/5]`, `[2/5]`, `[linux/arm64 builder 2/5]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position<'a> {
    /// What stands before the numbers: the stage, behind its platform if there are several; empty for an
    /// unnamed stage that is the only one.
    pub(super) stage: &'a str,
    /// 1 is the `FROM`.
    pub(super) number: u64,
    /// How many the stage has.
    pub(super) of: u64,
}

/// Where an instruction stands in its stage, from the builder's name for it.
pub(super) fn position(vertex: &str) -> Option<Position<'_>> {
    let (bracket, _) = vertex.strip_prefix('[')?.split_once(']')?;
    let (stage, numbers) = bracket.rsplit_once(' ').unwrap_or(("", bracket));
    let (number, of) = numbers.split_once('/')?;
    Some(Position { stage: stage.trim(), number: number.parse().ok()?, of: of.parse().ok()? })
}

/// The registry of an image, from what the builder calls it.
fn registry(reference: &str) -> Option<String> {
    let reference: Reference = reference.split_whitespace().next()?.parse().ok()?;
    Some(reference.domain().to_owned())
}

/// The instruction alone: `RUN npm ci` of `[builder 2/5] RUN npm ci`; none of what the builder does for itself.
pub(super) fn instruction(vertex: &str) -> Option<&str> {
    position(vertex)?;
    let (_, instruction) = vertex.split_once("] ")?;
    Some(instruction.lines().next().unwrap_or_default().trim())
}

/// The exit status in the builder's words: `… did not complete successfully: exit code: 3`.
pub(super) fn exit_code(cause: &str) -> Option<i64> {
    let (_, code) = cause.rsplit_once("exit code: ")?;
    let digits: String = code.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests;
