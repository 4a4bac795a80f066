//! Whole screens of a terminal, at several widths.

use super::*;
use crate::model::{LogStream, Unit};
use crate::report::estimate::Expected;
use crate::report::resolve::Table;
use crate::report::resolve::{Colour, Forge, Mode};
use crate::report::testing::{Story, failing_story};

const PLAIN: Display = Display {
    mode: Mode::Tty,
    colour: Colour::No,
    verbosity: Verbosity::Normal,
    table: Table::Hidden,
    forge: Forge::Nobody,
};

fn screen_of(display: Display, events: &[Event]) -> Screen {
    let mut screen = Screen::new(display, Some("target/xtask/runs/8d2".to_owned()));
    for event in events {
        screen.take(event);
    }
    screen
}

fn size_of(columns: usize) -> Size {
    Size { columns, rows: 40 }
}

/// Everything that the terminal shows: what settled, then the frame.
fn show(events: &[Event], columns: usize, now: u64) -> String {
    let mut screen = screen_of(PLAIN, events);
    let mut lines = screen.take_settled(columns);
    lines.extend(frame(&screen, size_of(columns), now));
    lines.join("\n")
}

/// The moment of DESIGN's drawing.
fn drawn_story() -> Vec<Event> {
    let mut story = Story::new();
    story.tell(EventKind::RunStarted {
        run: "8d2".to_owned(),
        command: "cargo xtask build-all".to_owned(),
        images: 14,
        base_images: 9,
        engine: Some("docker 27.3".to_owned()),
        network: Some("external (docker.io answered in 38 ms)".to_owned()),
    });
    story.phase(Phase::Prefetch, 1, 2, 7);
    for n in 0..7 {
        story.skip(Phase::Prefetch, &format!("b{n}"), Outcome::UpToDate, "already here");
    }
    for name in ["redis:7", "alpine:3.20"] {
        story.start(Phase::Prefetch, name, "not in the local store");
        story.at(6).finish(Phase::Prefetch, name, 6000, None, "");
    }
    story.phase_end(Phase::Prefetch).phase(Phase::Build, 5, 9, 5);
    for n in 0..5 {
        story.skip(Phase::Build, &format!("s{n}"), Outcome::UpToDate, "up to date: 3 inputs unchanged");
    }
    story.start(Phase::Build, "web", "not built yet").at(40).finish(Phase::Build, "web", 34_000, None, "");
    story.at(51).start(Phase::Build, "api", "source changed: src/api/Cargo.lock");
    story.progress(Phase::Build, "api", (12, 17, Unit::Steps), "RUN cargo build --release");
    story.at(64).start(Phase::Build, "frontend", "not built yet");
    story.progress(Phase::Build, "frontend", (4, 9, Unit::Steps), "RUN npm ci");
    story.at(65).start(Phase::Build, "gateway-with-a-long-name", "not built yet");
    story.progress(
        Phase::Build,
        "gateway-with-a-long-name",
        (1, 9, Unit::Steps),
        "RUN apt-get update && apt-get install --yes --no-install-recommends build-essential ca-certificates",
    );
    story.events
}

#[test]
fn drawn_for_200_columns() {
    insta::assert_snapshot!(show(&drawn_story(), 200, 102_000), @"
    Discovered 14 images, 9 external base images, network external (docker.io answered in 38 ms)
    1/6   Prefetch 9/9   2 pulled, 7 already here                                    00:06
    5/6   Build [============>                 ]  6/14   3 running                   01:42
               api                      12/17 RUN cargo build --release              00:51
               frontend                  4/9  RUN npm ci                             00:38
               gateway-with-a-long-name  1/9  RUN apt-get update && apt-get insta... 00:37
    ");
}

#[test]
fn drawn_for_80_columns() {
    insta::assert_snapshot!(show(&drawn_story(), 80, 102_000), @"
    Discovered 14 images, 9 external base images, network external (docker.io
      answered in 38 ms)
    1/6   Prefetch 9/9   2 pulled, 7 already here                           00:06
    5/6   Build [============>                 ]  6/14   3 running          01:42
               api                     12/17 RUN cargo build --release      00:51
               frontend                 4/9  RUN npm ci                     00:38
               gateway-with-a-long-...  1/9  RUN apt-get update && apt-g... 00:37
    ");
}

#[test]
fn drawn_for_60_columns() {
    insta::assert_snapshot!(show(&drawn_story(), 60, 102_000), @"
    Discovered 14 images, 9 external base images, network
      external (docker.io answered in 38 ms)
    1/6   Prefetch 9/9   2 pulled, 7 already here       00:06
    5/6   Build [=======>          ]  6/14   3 running  01:42
               api               12/17 RUN cargo bui... 00:51
               frontend           4/9  RUN npm ci       00:38
               gateway-with-a...  1/9  RUN apt-get u... 00:37
    ");
}

#[test]
fn drawn_for_40_columns() {
    insta::assert_snapshot!(show(&drawn_story(), 40, 102_000), @"
    Discovered 14 images, 9 external base
      images, network external (docker.io
      answered in 38 ms)
    1/6   Prefetch 9/9   2 pulled,  00:06
            7 already here
    5/6   Build   6/14   3 running  01:42
      api          12/17 RUN car... 00:51
      frontend      4/9  RUN npm ci 00:38
      gateway-w...  1/9  RUN apt... 00:37
    ");
}

#[test]
fn drawn_for_20_columns() {
    insta::assert_snapshot!(show(&drawn_story(), 20, 102_000), @"
    Discovered 14
      images, 9
      external base
      images, network
      external
      (docker.io
      answered in 38
      ms)
    1/6   Prefetch
            9/9   2
            pulled, 7
            already
            here
    Build   6/14   3
      api          12
      frontend      4
      gateway-w...  1
    ");
}

/// The same moment, when it is known what the builds took before.
#[test]
fn what_is_left_is_told_where_there_is_room() {
    let mut screen = screen_of(PLAIN, &drawn_story());
    let expected = |(name, usually): (&str, Option<u64>)| Expected {
        id: StepId::new(Phase::Build, name),
        needs: Vec::new(),
        usually,
    };
    let mut steps: Vec<_> = [
        ("web", Some(30_000)),
        ("api", Some(90_000)),
        ("frontend", Some(31_000)),
        ("gateway-with-a-long-name", None),
    ]
    .map(expected)
    .into();
    for n in 0..5 {
        steps.push(expected((["a", "b", "c", "d", "e"][n], Some(20_000))));
    }
    screen.expect(BuildTimes { steps, side_by_side: 4 });
    let show = |columns: usize| frame(&screen, size_of(columns), 102_000).join("\n");
    insta::assert_snapshot!(show(100), @"
    5/6   Build [============>                 ]  6/14   3 running   over 40 s left  01:42
               api                      12/17 RUN cargo build --rel...  ~40 s left   00:51
               frontend                  4/9  RUN npm ci                usually 35 s 00:38
               gateway-with-a-long-name  1/9  RUN apt-get update &&...               00:37
    ");
    insta::assert_snapshot!(show(80), @"
    5/6   Build [=========>           ]  6/14   3 running   over 40 s left  01:42
               api                     12/17 RUN cargo bui...  ~40 s left   00:51
               frontend                 4/9  RUN npm ci        usually 35 s 00:38
               gateway-with-a-long-...  1/9  RUN apt-get u...               00:37
    ");
    insta::assert_snapshot!(show(50), @"
    5/6   Build [===>    ]  6/14   3 running  01:42
      api            12/17 RUN cargo build... 00:51
      frontend        4/9  RUN npm ci         00:38
      gateway-wit...  1/9  RUN apt-get upd... 00:37
    ");
}

#[test]
fn a_low_terminal_has_room_for_the_cursor() {
    let screen = screen_of(PLAIN, &drawn_story());
    let show = |rows: usize| frame(&screen, Size { columns: 60, rows }, 102_000).join("\n");
    insta::assert_snapshot!(show(4), @"
    5/6   Build [=======>          ]  6/14   3 running  01:42
               api          12/17 RUN cargo build --... 00:51
               ... and 2 more
    ");
    insta::assert_snapshot!(show(3), @"
    5/6   Build [=======>          ]  6/14   3 running  01:42
               ... and 3 more
    ");
    insta::assert_snapshot!(show(1), @"  5/6   Build [=======>          ]  6/14   3 running  01:42");
    let mut story = Story::new();
    for n in 0..20 {
        story.start(Phase::Build, &format!("b{n}"), "x").start(Phase::Render, &format!("r{n}"), "x");
    }
    story.phase(Phase::SyncConfig, 3, 30, 0).phase(Phase::Render, 4, 30, 0).phase(Phase::Build, 5, 1000, 0);
    let screen = screen_of(PLAIN, &story.events);
    for rows in 0..40 {
        let lines = frame(&screen, Size { columns: 80, rows }, 1);
        assert!(lines.len() < rows.max(2), "{rows}: {lines:#?}");
    }
}

#[test]
fn bytes_have_a_rate() {
    let mut story = Story::new();
    story.phase(Phase::Prefetch, 1, 2, 0).start(Phase::Prefetch, "debian:12-slim", "missing");
    story.start(Phase::Prefetch, "redis:7", "missing");
    for (second, done) in [(1, 1_000_000), (2, 9_000_000), (3, 17_000_000)] {
        let at = (done, 49_000_000, Unit::Bytes);
        story.at(second).progress(Phase::Prefetch, "debian:12-slim", at, "downloading");
    }
    story.progress(Phase::Prefetch, "redis:7", (512_000, 0, Unit::Bytes), "downloading");
    let screen = screen_of(PLAIN, &story.events);
    insta::assert_snapshot!(frame(&screen, size_of(80), 3_000).join("\n"), @"
    1/6   Prefetch [>                             ] 0/2   2 running         00:03
               debian:12-slim 17 MB/49 MB 8.0 MB/s downloading    ~4 s left 00:03
               redis:7        512 kB      downloading                       00:03
    ");
    insta::assert_snapshot!(frame(&screen, size_of(200), 3_000).join("\n"), @"
    1/6   Prefetch [>                             ] 0/2   2 running                  00:03
               debian:12-slim 17 MB/49 MB 8.0 MB/s downloading             ~4 s left 00:03
               redis:7        512 kB      downloading                                00:03
    ");
}

/// Four builds; the second one's instruction has printed nothing yet, the third one's is over.
fn printing_story() -> Vec<Event> {
    let mut story = Story::new();
    story.phase(Phase::Build, 5, 4, 0);
    for name in ["api", "web", "worker", "mailer"] {
        story.start(Phase::Build, name, "not built yet");
        story.progress(Phase::Build, name, (2, 4, Unit::Steps), "RUN npm ci");
    }
    let long = format!("npm http fetch GET 200 https://registry.example.com/{} 31ms", "react/".repeat(12));
    story.log(Phase::Build, "api", "first").log(Phase::Build, "api", &format!("\x1b[32m{long}\x1b[0m"));
    story.log(Phase::Build, "worker", "done").log(Phase::Build, "mailer", "1%\tof it   ");
    let step = StepId::new(Phase::Build, "worker");
    story.tell(EventKind::StepLog {
        step,
        stream: LogStream::Progress,
        line: "#9 [3/4] COPY . .".to_owned(),
    });
    story.events
}

#[test]
fn what_a_step_printed_last_stands_below_it() {
    let screen = screen_of(PLAIN, &printing_story());
    let show = |columns, rows| frame(&screen, Size { columns, rows }, 3_000).join("\n");
    insta::assert_snapshot!(show(80, 40), @"
    5/6   Build [>                             ] 0/4   4 running            00:03
               api           2/4  RUN npm ci                                00:03
               | npm http fetch GET 200 https://registry.example.com/react/rea...
               web           2/4  RUN npm ci                                00:03
               worker        2/4  RUN npm ci                                00:03
               mailer        2/4  RUN npm ci                                00:03
               | 1%    of it
    ");
    insta::assert_snapshot!(show(40, 40), @"
    5/6   Build  0/4   4 running    00:03
      api           2/4  RUN npm ci 00:03
      | npm http fetch GET 200 https:/...
      web           2/4  RUN npm ci 00:03
      worker        2/4  RUN npm ci 00:03
      mailer        2/4  RUN npm ci 00:03
      | 1%    of it
    ");
    insta::assert_snapshot!(show(120, 7), @"
    5/6   Build [>                             ] 0/4   4 running                     00:03
               api           2/4  RUN npm ci                                         00:03
               | npm http fetch GET 200 https://registry.example.com/react/react/react/react/react/react/react/react/r...
               web           2/4  RUN npm ci                                         00:03
               worker        2/4  RUN npm ci                                         00:03
               mailer        2/4  RUN npm ci                                         00:03
    ");
    insta::assert_snapshot!(show(80, 6), @"
    5/6   Build [>                             ] 0/4   4 running            00:03
               api           2/4  RUN npm ci                                00:03
               web           2/4  RUN npm ci                                00:03
               worker        2/4  RUN npm ci                                00:03
               mailer        2/4  RUN npm ci                                00:03
    ");
}

#[test]
fn how_something_ended_is_never_cut() {
    let digest = format!("sha256:{}", "9f0c".repeat(16));
    let name = "registry.example.com/team/a-service-with-quite-a-long-name";
    let mut story = Story::new();
    story.phase(Phase::Build, 5, 3, 0);
    for subject in ["api", name] {
        story.start(Phase::Build, subject, "source changed: src/api/internal/handlers/accounts_test.go");
        story.at(82).finish(Phase::Build, subject, 82_000, Some(1_200_000_000), &digest);
    }
    story.phase_end(Phase::Build);
    let show = |columns: usize| {
        let mut screen = screen_of(Display { verbosity: Verbosity::Verbose, ..PLAIN }, &story.events);
        screen.take_settled(columns)
    };
    insta::assert_snapshot!(show(160).join("\n"), @"
               api          built  82s  1.2 GB  sha256:9f0c9f0c9f0c  (source changed: src/api/internal/handlers/accounts_test.go) 01:22
               registry.example.com/team/a-service-with-quite-a-long-name built  82s  1.2 GB  sha256:9f0c9f0c9f0c  (source changed: src/api/internal/han... 01:22
    5/6   Build 2/3   2 built                                                        01:22
    ");
    insta::assert_snapshot!(show(80).join("\n"), @"
               api          built  82s  1.2 GB  sha256:9f0c9f0c9f0c  (so... 01:22
               ...y.example.com/team/a-service-with-quite-a-long-name built 01:22
    5/6   Build 2/3   2 built                                               01:22
    ");
    insta::assert_snapshot!(show(40).join("\n"), @"
      api          built  82s  1... 01:22
      ...th-quite-a-long-name built 01:22
    5/6   Build 2/3   2 built       01:22
    ");
    for columns in 24..220 {
        for line in &show(columns)[..2] {
            assert!(line.contains(" built") && width(line) < columns, "{columns}: {line:?}");
        }
    }
}

#[test]
fn many_steps_are_counted_not_shown() {
    let mut story = Story::new();
    story.phase(Phase::Prefetch, 1, 12, 0);
    for n in 0..12 {
        let name = format!("image{n}:1");
        story.start(Phase::Prefetch, &name, "not in the local store");
        story.progress(Phase::Prefetch, &name, (12_345_678, 31_000_000, Unit::Bytes), "downloading");
    }
    story.retry(Phase::Prefetch, "image1:1", "503 Service Unavailable");
    insta::assert_snapshot!(show(&story.events, 80, 3_000), @"
    1/6   Prefetch [>                             ]  0/12   12 running      00:03
               image0:1     12 MB/31 MB downloading                         00:03
               image1:1     12 MB/31 MB try 1 failed, again in 2.0s (503... 00:03
               image2:1     12 MB/31 MB downloading                         00:03
               image3:1     12 MB/31 MB downloading                         00:03
               image4:1     12 MB/31 MB downloading                         00:03
               image5:1     12 MB/31 MB downloading                         00:03
               image6:1     12 MB/31 MB downloading                         00:03
               image7:1     12 MB/31 MB downloading                         00:03
               ... and 4 more
    ");
}

#[test]
fn the_end_of_a_failing_run() {
    insta::assert_snapshot!(show(&failing_story(), 80, 93_000), @"
      Discovered 14 images, 9 external base images, network external
      1/6   Prefetch 1/1   1 pulled                                           00:06
      warning: api: base image debian:12-slim is a year old
                 frontend     failed src/frontend/Dockerfile:12: npm ERR!     01:33
                   code ENOTFOUND
                   log target/xtask/runs/8d2/logs/build-frontend.log
                 shop         skipped (frontend failed)
      5/6   Build 4/4   1 built, 1 up to date, 1 failed, 1 skipped            01:33
      Failed 1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning  01:33
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
fn no_frame_line_is_wider_than_the_terminal() {
    let mut story = Story::new();
    story.begin(3, 1).phase(Phase::SyncConfig, 3, 3, 0).phase(Phase::Build, 5, 1000, 0);
    for subject in ["日本語日本語日本語日本語", "a", "\x1b[2Jevil\u{202e}"] {
        story.start(Phase::Build, subject, "x");
        story.progress(
            Phase::Build,
            subject,
            (999, 1000, Unit::Steps),
            "RUN echo 日本語 日本語 日本語 日本語",
        );
        story.log(Phase::Build, subject, "日本語 \x1b[2J".repeat(60).as_str());
    }
    let screen = screen_of(PLAIN, &story.events);
    let coloured = screen_of(Display { colour: Colour::Yes, ..PLAIN }, &story.events);
    for columns in 0..220 {
        for line in frame(&screen, size_of(columns), 3_600_000) {
            assert!(width(&line) <= columns.saturating_sub(1), "{columns}: {line:?}");
            assert!(!line.contains('\x1b'), "{line:?}");
        }
        let stripped: Vec<_> = frame(&coloured, size_of(columns), 9)
            .iter()
            .map(|line| neutralise(line).trim_end().to_owned())
            .collect();
        assert_eq!(stripped, frame(&screen, size_of(columns), 9), "{columns}");
    }
}

#[test]
fn bars_fill() {
    for (done, total, drawn) in
        [(0, 4, ">   "), (1, 4, "=>  "), (3, 4, "===>"), (4, 4, "===="), (0, 0, "====")]
    {
        assert_eq!(bar(done, total, 4), drawn);
    }
}
