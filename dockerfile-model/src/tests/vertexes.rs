//! Names of build steps.

use super::super::{line_of_vertex, parse};

#[test]
fn names_lead_to_lines() {
    let text = "\
FROM golang AS builder
WORKDIR /
WORKDIR /src
COPY go.mod .
RUN go \\
  mod download
COPY . .
RUN --mount=type=cache,target=/x go build -o $OUT ./...
FROM scratch
COPY --from=builder /a /a
RUN <<E
one
two
E
FROM alpine as last
RUN a
RUN a
";
    let (file, _) = parse("x", text);
    for (name, line) in [
        ("[builder 1/7] FROM docker.io/library/golang:latest@sha256:00", Some(1)),
        ("[builder 2/7] WORKDIR /src", Some(3)),
        ("[builder 3/7] COPY go.mod .", Some(4)),
        ("[builder 4/7] RUN go   mod download", Some(5)),
        ("[linux/amd64 builder 5/7] COPY . .", Some(7)),
        (
            "[linux/amd64->arm64 builder  6/7] RUN --mount=type=cache,target=/x go build -o /bin/x ./...",
            Some(8),
        ),
        ("[builder 5/7] LINK COPY . .", Some(7)),
        ("[stage-1 1/2] COPY --from=builder /a /a", Some(10)),
        ("[stage-1 2/2] RUN <<E (one...)", Some(11)),
        ("[last 2/3] RUN a", Some(16)),
        ("[last 3/3] RUN a", Some(17)),
        // Two triggers of the base image come first; their line is that of the FROM.
        ("[last 2/5] COPY . /app", Some(15)),
        ("[last 3/5] ONBUILD RUN a", Some(15)),
        ("[last 4/5] RUN a", Some(16)),
        ("[last 5/5] RUN a", Some(17)),
        ("[internal] load metadata for docker.io/library/golang:latest", None),
        ("[auth] library/golang:pull token for registry-1.docker.io", None),
        ("[other 1/2] RUN a", None),
        ("exporting to image", None),
        ("", None),
    ] {
        assert_eq!(line_of_vertex(&file, name), line, "{name}");
    }
    // Builders before Engine 28 do not count what an image brings: `[2/3]`, `[3/3]`, `[4/3]`.
    let (file, _) = parse("x", "FROM a\nCOPY own /own\nRUN x $Y\n");
    for (name, line) in [
        ("[2/3] COPY brought /brought", 1),
        ("[3/3] ADD brought /brought", 1),
        ("[4/3] COPY own /own", 2),
        ("[5/3] RUN x y", 3),
    ] {
        assert_eq!(line_of_vertex(&file, name), Some(line), "{name}");
    }
    let (file, _) = parse("x", "FROM a AS b\nONBUILD COPY c d\nFROM b\nCOPY e f\n");
    assert_eq!(line_of_vertex(&file, "[stage-1 1/2] ONBUILD COPY c d"), Some(2));
    assert_eq!(line_of_vertex(&file, "[stage-1 2/2] COPY e f"), Some(4));
    // A named context stands for the FROM: it is counted, and has no place.
    let (file, _) = parse("x", "FROM a\nRUN b\nCOPY c d\n");
    assert_eq!(line_of_vertex(&file, "[1/3] RUN b"), Some(2));
    assert_eq!(line_of_vertex(&file, "[2/3] COPY c d"), Some(3));
    let (file, _) = parse("x", "FROM a\nRUN b\nCOPY c d\n");
    assert_eq!(line_of_vertex(&file, "[2/3] RUN b"), Some(2));
    assert_eq!(line_of_vertex(&file, "[3/3] COPY c d"), Some(3));
    assert_eq!(line_of_vertex(&file, "[linux/arm64 2/3] RUN b"), Some(2));
}
