//! What a build says of itself: BuildKit's vertexes, statuses and logs become progress, log lines and, in the
//! end, the instruction that failed. Pure but for the progress that it hands on.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog, VertexStatus};

use super::{OnProgress, Progress};
use crate::model::{LogStream, Unit};

/// Lines kept for the end, for each instruction.
const TAIL: usize = 10;
/// As many of them are kept for standard error alone. The two streams come through two pipes, so an error message can
/// arrive before a flood of output that was printed before it.
const ERROR_TAIL: usize = 5;
/// A line without an end is cut here.
const MAX_LINE: usize = 64 * 1024;
/// Standard error, as logs number it.
const STDERR: i64 = 2;

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
}

#[derive(Default)]
struct Seen {
    number: usize,
    name: String,
    started: bool,
    completed: bool,
    error: String,
    /// Unfinished lines by stream.
    partial: BTreeMap<i64, Vec<u8>>,
    tail: Tail,
}

/// The last lines that an instruction printed, each with its number.
#[derive(Default)]
struct Tail {
    count: u64,
    all: VecDeque<(u64, String)>,
    errors: VecDeque<(u64, String)>,
}

impl Tail {
    fn push(&mut self, stream: i64, line: &str) {
        self.count += 1;
        let keep = |lines: &mut VecDeque<(u64, String)>, most: usize| {
            if lines.len() == most {
                lines.pop_front();
            }
            lines.push_back((self.count, line.to_owned()));
        };
        keep(&mut self.all, TAIL);
        if stream == STDERR {
            keep(&mut self.errors, ERROR_TAIL);
        }
    }

    /// The last of all, and before them the last errors that are not among them.
    fn lines(&self) -> Vec<String> {
        let first = self.all.front().map_or(0, |(number, _)| *number);
        let lost: Vec<&String> =
            self.errors.iter().filter(|(number, _)| *number < first).map(|(_, line)| line).collect();
        let room = TAIL - lost.len();
        let rest = self.all.iter().map(|(_, line)| line).skip(self.all.len().saturating_sub(room));
        lost.into_iter().chain(rest).cloned().collect()
    }
}

/// The instruction that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The builder's name for it: `[builder 2/5] RUN npm ci`.
    pub(super) vertex: String,
    /// The last lines that it printed.
    pub(super) last_lines: Vec<String>,
}

impl Trace {
    /// Takes one message in.
    pub(super) fn take(&mut self, message: StatusResponse, progress: OnProgress<'_>) {
        let mut moved = false;
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
    }

    /// Hands out what has no newline at its end.
    pub(super) fn finish(&mut self, progress: OnProgress<'_>) {
        let mut unfinished: Vec<&mut Seen> = self.seen.values_mut().collect();
        unfinished.sort_by_key(|seen| seen.number);
        for seen in unfinished {
            for (stream, bytes) in std::mem::take(&mut seen.partial) {
                if !bytes.is_empty() {
                    say(&mut seen.tail, stream, &bytes, progress);
                }
            }
        }
    }

    /// The instruction that failed, where the builder said which.
    pub(super) fn failure(&self) -> Option<Failure> {
        let seen = self.seen.get(self.failed.as_ref()?)?;
        Some(Failure { vertex: seen.name.clone(), last_lines: seen.tail.lines() })
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
            say(&mut seen.tail, log.stream, partial, progress);
            partial.clear();
            rest = &rest[end + 1..];
        }
        partial.extend_from_slice(rest);
        if partial.len() > MAX_LINE {
            say(&mut seen.tail, log.stream, partial, progress);
            partial.clear();
        }
    }
}

fn say(tail: &mut Tail, stream: i64, bytes: &[u8], progress: OnProgress<'_>) {
    let text = String::from_utf8_lossy(bytes);
    // A progress bar draws over itself: what a terminal would show last is what counts.
    let line = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
    if !line.trim().is_empty() {
        tail.push(stream, &line);
    }
    let stream = if stream == STDERR { LogStream::Stderr } else { LogStream::Stdout };
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
mod tests {
    use std::sync::Mutex;

    use bollard_buildkit_proto::google::protobuf::Timestamp;

    use super::*;

    fn vertex(digest: &str, name: &str, started: bool, completed: bool, error: &str) -> Vertex {
        let at = |yes: bool| yes.then(Timestamp::default);
        Vertex {
            digest: digest.into(),
            name: name.into(),
            started: at(started),
            completed: at(completed),
            error: error.into(),
            ..Vertex::default()
        }
    }

    fn log(digest: &str, stream: i64, msg: &[u8]) -> VertexLog {
        VertexLog { vertex: digest.into(), stream, msg: msg.to_vec(), ..VertexLog::default() }
    }

    fn vertexes(vertexes: Vec<Vertex>) -> StatusResponse {
        StatusResponse { vertexes, ..StatusResponse::default() }
    }

    fn logs(logs: Vec<VertexLog>) -> StatusResponse {
        StatusResponse { logs, ..StatusResponse::default() }
    }

    #[track_caller]
    fn check(messages: Vec<StatusResponse>, expect: &[&str]) -> Trace {
        let said = Mutex::new(Vec::new());
        let progress = |progress: Progress| {
            let text = match progress {
                Progress::Moved { done, total, detail, .. } => {
                    format!("{done}/{total} {}", detail.unwrap_or_default())
                }
                Progress::Log { stream: LogStream::Progress, line } => line,
                Progress::Log { stream, line } => format!("{stream:?}: {line}"),
                Progress::Warning(text) => format!("warning: {text}"),
            };
            said.lock().expect("unpoisoned").push(text);
        };
        let mut trace = Trace::default();
        for message in messages {
            trace.take(message, &progress);
        }
        trace.finish(&progress);
        assert_eq!(*said.lock().expect("unpoisoned"), expect);
        trace
    }

    #[test]
    fn instructions_are_counted_over_all_stages() {
        check(
            vec![
                vertexes(vec![
                    vertex("i", "[internal] load build definition from Dockerfile", true, true, ""),
                    vertex("a", "[builder 1/2] FROM docker.io/library/a", false, false, ""),
                    vertex("b", "[builder 2/2] RUN make", false, false, ""),
                    vertex("c", "[stage-1 2/2] COPY --from=builder /a /a", false, false, ""),
                ]),
                vertexes(vec![vertex("a", "[builder 1/2] FROM docker.io/library/a", true, true, "")]),
                vertexes(vec![vertex("b", "[builder 2/2] RUN make", true, false, "")]),
                vertexes(vec![vertex("b", "[builder 2/2] RUN make", true, true, "")]),
            ],
            &[
                "#1 [internal] load build definition from Dockerfile",
                "0/4 ",
                "#2 [builder 1/2] FROM docker.io/library/a",
                "1/4 ",
                "#3 [builder 2/2] RUN make",
                "1/4 RUN make",
                "2/4 ",
            ],
        );
    }

    #[test]
    fn lines_are_joined_by_vertex_and_stream() {
        check(
            vec![
                vertexes(vec![vertex("a", "", false, false, ""), vertex("b", "", false, false, "")]),
                logs(vec![log("a", 1, b"one\ntw"), log("b", 1, b"other\n"), log("a", 2, b"err\n")]),
                logs(vec![log("a", 1, b"o\r\n\xff\n10%\r20%\r"), log("b", 1, b"end")]),
            ],
            &[
                "Stdout: one",
                "Stdout: other",
                "Stderr: err",
                "Stdout: two",
                "Stdout: \u{fffd}",
                "Stdout: 20%",
                "Stdout: end",
            ],
        );
    }

    #[test]
    fn the_first_that_failed_by_itself_is_to_blame() {
        let trace = check(
            vec![
                vertexes(vec![vertex("x", "[a 2/2] RUN sleep 9", true, false, "")]),
                vertexes(vec![vertex("y", "[b 2/2] RUN false", true, false, "")]),
                logs(vec![log("y", 2, b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n\n")]),
                vertexes(vec![
                    vertex("x", "", true, true, "context canceled"),
                    vertex(
                        "y",
                        "",
                        true,
                        true,
                        "process \"false\" did not complete successfully: exit code: 1",
                    ),
                ]),
            ],
            &[
                "#1 [a 2/2] RUN sleep 9",
                "0/2 RUN sleep 9",
                "#2 [b 2/2] RUN false",
                "0/4 RUN false",
                "Stderr: 1",
                "Stderr: 2",
                "Stderr: 3",
                "Stderr: 4",
                "Stderr: 5",
                "Stderr: 6",
                "Stderr: 7",
                "Stderr: 8",
                "Stderr: 9",
                "Stderr: 10",
                "Stderr: 11",
                "Stderr: ",
                "#1 ERROR: context canceled",
                "#2 ERROR: process \"false\" did not complete successfully: exit code: 1",
                "0/4 ",
            ],
        );
        let failure = trace.failure().expect("failed");
        assert_eq!(failure.vertex, "[b 2/2] RUN false");
        assert_eq!(failure.last_lines, ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
    }

    #[test]
    fn an_error_that_came_before_a_flood_is_among_the_last_lines() {
        let mut trace = Trace::default();
        let flood: String = (1..=20).map(|number| format!("line {number}\n")).collect();
        trace.take(vertexes(vec![vertex("a", "[2/2] RUN x", true, false, "")]), &|_| {});
        trace.take(logs(vec![log("a", 2, b"boom\n"), log("a", 1, flood.as_bytes())]), &|_| {});
        trace.take(vertexes(vec![vertex("a", "[2/2] RUN x", true, true, "exit code: 7")]), &|_| {});
        let lines = trace.failure().expect("failed").last_lines;
        assert_eq!((lines.len(), lines[0].as_str(), lines[1].as_str()), (10, "boom", "line 12"));
    }

    #[test]
    fn names_are_taken_apart() {
        for (vertex, bare, at) in [
            ("[builder 2/5] RUN npm ci", Some("RUN npm ci"), Some(("builder", 2, 5))),
            ("[2/3] COPY [a, b] /", Some("COPY [a, b] /"), Some(("", 2, 3))),
            ("[linux/arm64 a 1/3] FROM x", Some("FROM x"), Some(("linux/arm64 a", 1, 3))),
            ("[stage-1  2/12] RUN x", Some("RUN x"), Some(("stage-1", 2, 12))),
            ("[internal] load .dockerignore", None, None),
            ("exporting to image", None, None),
            ("[1/2] RUN <<EOF\necho\nEOF", Some("RUN <<EOF"), Some(("", 1, 2))),
        ] {
            assert_eq!(instruction(vertex), bare);
            assert_eq!(position(vertex).map(|p| (p.stage, p.number, p.of)), at);
        }
        assert_eq!(exit_code("executor failed running [/bin/sh -c false]: exit code: 1"), Some(1));
        assert_eq!(exit_code("x did not complete successfully: exit code: 137: context"), Some(137));
        assert_eq!(exit_code("failed to compute cache key"), None);
    }
}
