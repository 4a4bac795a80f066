//! What a build's messages become.

use std::sync::Mutex;

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
            Progress::Part { .. } => return,
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
                vertex("y", "", true, true, "process \"false\" did not complete successfully: exit code: 1"),
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
    assert_eq!(failure.last_lines, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
}

/// From and to in milliseconds.
fn worked(name: &str, (from, to): (i64, i64), cached: bool) -> Vertex {
    let at = |ms: i64| {
        let nanos = i32::try_from(ms % 1000).expect("small") * 1_000_000;
        Some(Timestamp { seconds: ms / 1000, nanos })
    };
    let vertex = vertex(name, name, false, false, "");
    Vertex { started: at(from), completed: at(to), cached, ..vertex }
}

#[test]
fn what_instructions_did_is_told_at_the_end() {
    let mut trace = Trace::default();
    let message = vec![
        worked("[internal] load build context", (5_000, 5_099), false),
        worked("[internal] load metadata for x", (5_000, 5_300), false),
        worked("[1/3] FROM x", (5_300, 5_300), true),
        // Its cache was looked up first; then it ran.
        worked("[2/3] RUN make", (5_310, 5_320), true),
        worked("[2/3] RUN make", (7_000, 9_000), false),
    ];
    trace.take(vertexes(message), &|_| {});
    let failing = Vertex { error: "exit code: 1".into(), ..worked("[3/3] RUN x", (9_000, 9_001), false) };
    trace.take(vertexes(vec![failing]), &|_| {});
    let said = Mutex::new(Vec::new());
    trace.finish(&|progress| {
        if let Progress::Part { name, began, took, cached, failed } = progress {
            let ends = format!("{cached} {failed}");
            said.lock().expect("unpoisoned").push(format!("{name} {began:?} {took:?} {ends}"));
        }
    });
    assert_eq!(
        *said.lock().expect("unpoisoned"),
        [
            "[internal] load metadata for x 0ns 300ms false false",
            "[1/3] FROM x 300ms 0ns true false",
            "[2/3] RUN make 1.99s 2.01s false false",
            "[3/3] RUN x 4s 1ms false true",
        ]
    );
}

#[test]
fn an_endless_line_is_cut_between_words_and_characters() {
    for (unit, ends) in [("word-of-some-length ", " "), ("日本", "")] {
        let text = unit.repeat(300_000 / unit.len());
        let said = Mutex::new(Vec::new());
        let progress = |progress: Progress| {
            if let Progress::Log { line, .. } = progress {
                said.lock().expect("unpoisoned").push(line);
            }
        };
        let mut trace = Trace::default();
        // In pieces that end anywhere, as they come through a pipe.
        for piece in text.as_bytes().chunks(4097) {
            trace.take(logs(vec![log("a", 1, piece)]), &progress);
        }
        trace.take(logs(vec![log("a", 1, b"end\n")]), &progress);
        let said = said.into_inner().expect("unpoisoned");
        assert_eq!(said.concat(), format!("{text}end"));
        assert!(said.len() > 4 && said.iter().all(|line| line.len() <= MAX_LINE));
        assert!(said[..said.len() - 1].iter().all(|line| line.ends_with(ends)));
    }
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

fn transfer(vertex: &str, id: &str, current: i64, total: i64) -> StatusResponse {
    let status = VertexStatus {
        vertex: vertex.into(),
        id: id.into(),
        current,
        total,
        completed: (current == total).then(Timestamp::default),
        ..VertexStatus::default()
    };
    StatusResponse { statuses: vec![status], ..StatusResponse::default() }
}

#[test]
fn a_registry_is_waited_for_while_nothing_else_goes_on() {
    let question = "[internal] load metadata for docker.io/library/alpine:3";
    let base = format!("[1/2] FROM r.example:5000/team/base:1@sha256:{}", "a".repeat(64));
    let large = stall::LEAST.cast_signed() * 4;
    let mut trace = Trace::default();
    for (message, moved, waits_for) in [
        (vertexes(vec![vertex("q", question, true, false, "")]), true, Some("docker.io")),
        (vertexes(vec![vertex("r", "[other 2/2] RUN make", true, false, "")]), true, None),
        (vertexes(vec![vertex("r", "[other 2/2] RUN make", true, true, "")]), true, Some("docker.io")),
        (vertexes(vec![vertex("q", question, true, true, "")]), true, None),
        (vertexes(vec![vertex("b", &base, true, false, "")]), true, Some("r.example:5000")),
        // Complete by the cache's word, and its layers still come.
        (vertexes(vec![vertex("b", &base, true, true, "")]), true, None),
        (transfer("b", "l", 1, large), false, Some("r.example:5000")),
        (transfer("b", "l", 2, large), false, Some("r.example:5000")),
        (transfer("b", "l", large / 2, large), true, Some("r.example:5000")),
        (transfer("b", "l", large, large), true, None),
        (logs(vec![log("r", 1, b"more\n")]), true, None),
    ] {
        let told = format!("{message:?}");
        assert_eq!(trace.take(message, &|_| {}), moved, "{told}");
        assert_eq!(trace.waits_for().as_deref(), waits_for, "{told}");
    }
}
