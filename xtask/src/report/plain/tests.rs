//! Whole screens of plain and quiet mode.

use super::super::text::width;
use super::*;
use crate::model::Unit;
use crate::report::resolve::Colour;
use crate::report::resolve::Mode;
use crate::report::testing::{Paper, Story, failing_story};

fn screen(events: &[Event], verbosity: Verbosity, colour: Colour) -> String {
    let paper = Paper::default();
    let mode = if verbosity == Verbosity::Quiet { Mode::Quiet } else { Mode::Plain };
    let display = Display { mode, colour, verbosity, table: Table::Hidden, forge: Forge::Nobody };
    let mut plain =
        Plain::new(paper.clone(), display, Some("target/xtask/runs/8d2".to_owned()), Places::default());
    for event in events {
        plain.take(event).unwrap();
    }
    paper.text()
}

#[test]
fn the_screen_of_a_failing_run() {
    insta::assert_snapshot!(screen(&failing_story(), Verbosity::Normal, Colour::No), @"
    00:00 started    14 images, 9 base images, engine docker 27.3, network external
    00:02 prefetch   alpine:3.20 try 1 failed, again in 2.0s (TLS handshake timeout)
    00:06 prefetch   pulled alpine:3.20@sha256:1e421e421e42  (not in the local store)
    00:06 prefetch   1 pulled
    00:09 build      api started            (source changed: src/api/Cargo.lock)
    00:09 build      frontend started       (not built yet)
    00:09 warning    api: base image debian:12-slim is a year old
    01:31 build      api built              82s  1.2 GB  sha256:9f0c9f0c9f0c
    01:33 build      frontend failed        src/frontend/Dockerfile:12: npm ERR! code ENOTFOUND   log target/xtask/runs/8d2/logs/build-frontend.log
    01:33 build      shop skipped           (frontend failed)
    01:33 build      1 built, 1 up to date, 1 failed, 1 skipped
    01:33 failed     1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning
    error: cannot build image `frontend`
      caused by: src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1
      last lines:
        npm ERR! code ENOTFOUND
    hint: full log in target/xtask/runs/8d2/logs/build-frontend.log
    hint: `cargo xtask build frontend` tries again
    report of this run: target/xtask/runs/8d2/report.html
    ");
}

#[test]
fn more_with_v_and_all_with_vv() {
    insta::assert_snapshot!(screen(&failing_story(), Verbosity::Logs, Colour::No), @"
    00:00 started    14 images, 9 base images, engine docker 27.3, network external
    00:00 prefetch   alpine:3.20 started    (not in the local store)
    00:02 prefetch   alpine:3.20 try 1 failed, again in 2.0s (TLS handshake timeout)
    00:06 prefetch   pulled alpine:3.20@sha256:1e421e421e42  (not in the local store)
    00:06 prefetch   1 pulled
    00:06 build      worker skipped         (up to date: 212 inputs unchanged)
    00:09 build      api started            (source changed: src/api/Cargo.lock)
    00:09 build      frontend started       (not built yet)
    00:09 build      frontend | npm ERR! code ENOTFOUND
    00:09 warning    api: base image debian:12-slim is a year old
    01:31 build      api [builder 1/2] FROM docker.io/library/rust:1.80  cached
    01:31 build      api [builder 2/2] RUN cargo build --release  80s
    01:31 build      api built              82s  1.2 GB  sha256:9f0c9f0c9f0c
    01:33 build      frontend [4/9] RUN npm ci  1.9s failed
    01:33 build      frontend failed        src/frontend/Dockerfile:12: npm ERR! code ENOTFOUND   log target/xtask/runs/8d2/logs/build-frontend.log
    01:33 build      shop skipped           (frontend failed)
    01:33 build      1 built, 1 up to date, 1 failed, 1 skipped
    01:33 failed     1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning
    error: cannot build image `frontend`
      caused by: src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1
      last lines:
        npm ERR! code ENOTFOUND
    hint: full log in target/xtask/runs/8d2/logs/build-frontend.log
    hint: `cargo xtask build frontend` tries again
    report of this run: target/xtask/runs/8d2/report.html
    ");
}

#[test]
fn quiet_is_warnings_and_failures() {
    insta::assert_snapshot!(screen(&failing_story(), Verbosity::Quiet, Colour::No), @"
    warning: api: base image debian:12-slim is a year old
    error: cannot build image `frontend`
      caused by: src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1
      last lines:
        npm ERR! code ENOTFOUND
    hint: full log in target/xtask/runs/8d2/logs/build-frontend.log
    hint: `cargo xtask build frontend` tries again
    report of this run: target/xtask/runs/8d2/report.html
    ");
}

#[test]
fn a_no_op_of_a_hundred_images_is_short() {
    let mut story = Story::new();
    story.begin(100, 1).phase(Phase::Prefetch, 1, 0, 1);
    story.skip(Phase::Prefetch, "debian:12-slim", Outcome::UpToDate, "already here");
    story.phase_end(Phase::Prefetch).phase(Phase::Alias, 2, 0, 0).phase_end(Phase::Alias);
    story.phase(Phase::Build, 5, 0, 100);
    for n in 0..100 {
        story.skip(Phase::Build, &format!("s{n}"), Outcome::UpToDate, "up to date: 51 inputs unchanged");
    }
    story.phase_end(Phase::Build).end(Outcome::UpToDate, 0);
    insta::assert_snapshot!(screen(&story.events, Verbosity::Normal, Colour::No), @"
    00:00 started    100 images, 1 base image, engine docker 27.3, network external
    00:00 prefetch   1 already here
    00:00 build      100 up to date
    00:00 finished   nothing to do, 101 up to date
    ");
    assert_eq!(screen(&story.events, Verbosity::Quiet, Colour::No), "");
}

#[test]
fn cancelled_runs_say_what_was_done() {
    let mut story = Story::new();
    story.begin(2, 1).phase(Phase::Build, 5, 2, 0).start(Phase::Build, "api", "not built yet");
    story.at(3).tell(EventKind::CancelRequested { cause: "Ctrl-C".to_owned() });
    story.tell(EventKind::StepFinished {
        step: crate::model::StepId::new(Phase::Build, "api"),
        phase: Phase::Build,
        subject: "api".to_owned(),
        outcome: Outcome::Cancelled,
        took: 3000,
        detail: String::new(),
        size: None,
        last_lines: Vec::new(),
        log: None,
        error: None,
        place: None,
        failure: None,
    });
    story.skip(Phase::Build, "web", Outcome::Cancelled, "the run was stopped").end(Outcome::Cancelled, 130);
    insta::assert_snapshot!(screen(&story.events, Verbosity::Normal, Colour::No), @"
    00:00 started    2 images, 1 base image, engine docker 27.3, network external
    00:00 build      api started            (not built yet)
    00:03 cancelling (Ctrl-C)
    00:03 build      api cancelled
    00:03 build      web cancelled          (the run was stopped)
    00:03 cancelled  2 cancelled
    ");
}

#[test]
fn hostile_texts_reach_no_terminal() {
    let evil = "\x1b]0;owned\x07\x1b[2Jx\u{202e}y\rz\nw";
    let mut story = Story::new();
    story.begin(1, 1).phase(Phase::Build, 1, 1, 0).start(Phase::Build, evil, evil);
    story.log(Phase::Build, evil, evil).retry(Phase::Build, evil, evil).warn(None, evil);
    story.progress(Phase::Build, evil, (1, 2, Unit::Steps), evil);
    story.fail(Phase::Build, evil, evil, &[evil]).skip(Phase::Build, evil, Outcome::Skipped, evil);
    story.tell(EventKind::PhaseFinished { phase: Phase::Build, summary: evil.to_owned() });
    story.tell(EventKind::CancelRequested { cause: evil.to_owned() }).end(Outcome::Failed, 3);
    for verbosity in [Verbosity::Quiet, Verbosity::Logs] {
        let text = screen(&story.events, verbosity, Colour::No);
        let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.chars().any(is_bad), "{text:?}");
    }
}

#[test]
fn colour_carries_nothing_alone() {
    let coloured = screen(&failing_story(), Verbosity::Logs, Colour::Yes);
    assert!(coloured.contains("\x1b[1;31m"));
    let stripped: String = coloured.lines().map(|line| format!("{}\n", neutralise(line))).collect();
    assert_eq!(stripped, screen(&failing_story(), Verbosity::Logs, Colour::No));
}

#[test]
fn a_long_silence_names_what_runs() {
    let paper = Paper::default();
    let display = Display {
        mode: Mode::Plain,
        colour: Colour::No,
        verbosity: Verbosity::Normal,
        table: Table::Hidden,
        forge: Forge::Nobody,
    };
    let mut plain = Plain::new(paper.clone(), display, None, Places::default());
    let mut story = Story::new();
    story.start(Phase::Build, "api", "not built yet");
    story.progress(Phase::Build, "api", (12, 17, Unit::Steps), "RUN make");
    for event in &story.events {
        plain.take(event).unwrap();
    }
    for seconds in [59, 60, 61, 119, 120] {
        plain.tick(Duration::from_secs(seconds)).unwrap();
    }
    insta::assert_snapshot!(paper.text(), @"
    00:00 build      api started            (not built yet)
    01:00 build      api running            12/17 RUN make
    02:00 build      api running            12/17 RUN make
    ");
}

fn in_log_of(forge: Forge, verbosity: Verbosity, events: &[Event]) -> String {
    let paper = Paper::default();
    let mode = if verbosity == Verbosity::Quiet { Mode::Quiet } else { Mode::Plain };
    let display = Display { mode, colour: Colour::No, verbosity, table: Table::Hidden, forge };
    let mut plain = Plain::new(paper.clone(), display, None, Places::default());
    for event in events {
        plain.take(event).unwrap();
    }
    paper.text()
}

/// Two builds side by side, one of which prints what GitHub could take for commands.
fn hostile_story() -> Vec<Event> {
    let mut story = Story::new();
    story.begin(2, 0).start(Phase::Build, "api", "not built yet").start(Phase::Build, "web", "not built yet");
    for line in
        ["::set-env name=PATH::/evil", "  ::stop-commands::x", "a ##[add-mask]b", "\x1b[2J\r::error::x"]
    {
        story.log(Phase::Build, "api", line).log(Phase::Build, "web", "fine");
    }
    story.at(2).finish(Phase::Build, "web", 2000, Some(5_000_000), "");
    story.fail(
        Phase::Build,
        "api",
        "::error::cause\nsecond\n::warning::third",
        &["::add-path::/evil", "##[error]x"],
    );
    story.end(Outcome::Failed, 3);
    story.events
}

#[test]
fn githubs_log_folds_each_image_and_obeys_no_build() {
    insta::assert_snapshot!(in_log_of(Forge::GitHub, Verbosity::Normal, &hostile_story()), @"
    00:00 started    2 images, 0 base images, engine docker 27.3, network external
    00:00 build      api started            (not built yet)
    00:00 build      web started            (not built yet)
    ::group::web built in 2.0s
    fine
    fine
    fine
    fine
    ::endgroup::
    00:02 build      web built              2.0s  5.0 MB
    ::group::api failed after 2.0s
    | ::set-env name=PATH::/evil
    |   ::stop-commands::x
    a ## [add-mask]b
    | ::error::x
    ::endgroup::
    00:02 build      api failed             ::error::cause   log target/xtask/runs/8d2/logs/build-api.log
    00:02 failed     1 built, 1 failed
    ::error title=cannot build image `api`::::error::cause%0Asecond%0A::warning::third%0A## [error]x
    error: cannot build image `api`
      caused by: ::error::cause
      caused by: second
      caused by: ::warning::third
      last lines:
    |     ::add-path::/evil
        ## [error]x
    hint: full log in target/xtask/runs/8d2/logs/build-api.log
    hint: `cargo xtask build api` tries again
    ");
    for verbosity in [Verbosity::Quiet, Verbosity::Normal, Verbosity::Verbose, Verbosity::Logs] {
        let text = in_log_of(Forge::GitHub, verbosity, &hostile_story());
        let ours =
            ["::group::api failed", "::group::web built", "::endgroup::", "::error title=cannot build image"];
        for line in text.lines().filter(|line| line.trim_start().starts_with("::") || line.contains("##[")) {
            assert!(ours.iter().any(|ours| line.starts_with(ours)), "{line}");
        }
    }
}

#[test]
fn gitlabs_log_folds_what_went_well() {
    let text = in_log_of(Forge::GitLab, Verbosity::Logs, &hostile_story());
    insta::assert_snapshot!(text.replace('\x1b', "ESC").replace('\r', "CR"), @"
    00:00 started    2 images, 0 base images, engine docker 27.3, network external
    00:00 build      api started            (not built yet)
    00:00 build      web started            (not built yet)
    ESC[0Ksection_start:0:build_web[collapsed=true]CRESC[0Kweb built in 2.0s
    fine
    fine
    fine
    fine
    ESC[0Ksection_end:2:build_webCRESC[0K
    00:02 build      web built              2.0s  5.0 MB
    ESC[0Ksection_start:0:build_apiCRESC[0Kapi failed after 2.0s
    ::set-env name=PATH::/evil
      ::stop-commands::x
    a ##[add-mask]b
    ::error::x
    ESC[0Ksection_end:2:build_apiCRESC[0K
    00:02 build      api failed             ::error::cause   log target/xtask/runs/8d2/logs/build-api.log
    00:02 failed     1 built, 1 failed
    error: cannot build image `api`
      caused by: ::error::cause
      caused by: second
      caused by: ::warning::third
      last lines:
        ::add-path::/evil
        ##[error]x
    hint: full log in target/xtask/runs/8d2/logs/build-api.log
    hint: `cargo xtask build api` tries again
    ");
}

#[test]
fn no_line_is_longer_than_a_reader_takes() {
    let words = "a word and another ".repeat(400);
    let name = "x".repeat(7_906);
    let mut story = Story::new();
    story.begin(2, 0).phase(Phase::Build, 1, 2, 0).start(Phase::Build, "api", &words);
    story.warn(None, &words).log(Phase::Build, "api", &name).log(Phase::Build, "api", &words);
    story.fail(Phase::Build, "api", &format!("{words}\n{name}"), &[&format!("{name} error {name}"), &words]);
    story.skip(Phase::Build, "web", Outcome::Skipped, &name).end(Outcome::Failed, 3);
    for forge in [Forge::Nobody, Forge::GitLab, Forge::GitHub] {
        let text = in_log_of(forge, Verbosity::Logs, &story.events);
        let lines = text.lines().filter(|line| !line.starts_with("::"));
        assert!(lines.clone().all(|line| width(line) <= 400), "{text}");
        assert!(text.contains(" error "), "{text}");
        let said: usize = text.matches("another").count();
        assert!(said >= 3 * 400, "words are broken over lines, not cut: {said}");
    }
}

#[test]
fn what_an_instruction_printed_is_told_once_and_whole() {
    let lines: Vec<String> = (0..150).map(|n| format!("line {n} of it")).collect();
    let printed: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut story = Story::new();
    let cause = "src/api/Dockerfile:3: `RUN make` exited with status 2";
    story.start(Phase::Build, "api", "").fail(Phase::Build, "api", cause, &printed).end(Outcome::Failed, 3);
    for verbosity in [Verbosity::Normal, Verbosity::Quiet] {
        let text = screen(&story.events, verbosity, Colour::No);
        assert!(lines.iter().all(|line| text.matches(&format!("{line}\n")).count() == 1), "{text}");
        assert_eq!(text.matches("RUN make").count(), 1, "{text}");
    }
}
