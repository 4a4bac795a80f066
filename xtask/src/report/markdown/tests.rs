//! Whole pages.

use super::*;
use crate::model::{Diagnostic, Event, Phase};
use crate::report::places::Repository;
use crate::report::testing::{Story, big_story, failing_story};

const ROOM: usize = 1024 * 1024;

fn plain(events: &[Event]) -> String {
    page(&Summary::of(events), &Places::default(), ROOM)
}

#[test]
fn the_page_of_a_failing_run() {
    insta::assert_snapshot!(plain(&failing_story()), @"
    ## `cargo xtask build-all` failed

    1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning in 93s, exit code 3

    ```text
    error: cannot build image `frontend`
      caused by: src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1
      last lines:
        npm ERR! code ENOTFOUND
    hint: full log in target/xtask/runs/8d2/logs/build-frontend.log
    hint: `cargo xtask build frontend` tries again
    ```

    | image | state | why | time | size |
    |---|---|---|---:|---:|
    | frontend | **failed** | not built yet | 2.0s |  |
    | shop | skipped | frontend failed |  |  |
    | api | built | source changed: src/api/Cargo.lock | 82s | 1.2 GB |

    <details><summary>1 up to date</summary>

    | image | state | why | time | size |
    |---|---|---|---:|---:|
    | worker | up-to-date | up to date: 212 inputs unchanged |  |  |

    </details>

    | phase | result |
    |---|---|
    | Prefetch | 1 pulled |
    | Build | 1 built, 1 up to date, 1 failed, 1 skipped |
    ");
}

#[test]
fn images_and_findings_are_linked() {
    let repository =
        Repository { folder: String::new(), files: Some("https://github.com/o/r/blob/c0/".to_owned()) };
    let findings = vec![Diagnostic::warning("src/api/Dockerfile", 3, "`as` and `FROM` differ | in case")];
    let images = [("api".to_owned(), "src/api/Dockerfile".to_owned())];
    let places = Places::new(images, findings, repository);
    let mut story = Story::new();
    story.begin(1, 0).start(Phase::Build, "api", "not built yet");
    story.at(3).finish(Phase::Build, "api", 3000, Some(5_000_000), "").end(Outcome::Done, 0);
    insta::assert_snapshot!(page(&Summary::of(&story.events), &places, ROOM), @r#"
    ## `cargo xtask build-all` finished

    1 built in 3.0s, exit code 0

    | image | state | why | time | size |
    |---|---|---|---:|---:|
    | [api](https://github.com/o/r/blob/c0/src/api/Dockerfile) | built | not built yet | 3.0s | 5.0 MB |

    - warning: [src/api/Dockerfile:3](https://github.com/o/r/blob/c0/src/api/Dockerfile#L3): \`as\` and \`FROM\` differ \| in case

    | phase | result |
    |---|---|
    | Build | 1 built |
    "#);
}

#[test]
fn nothing_hostile_becomes_markup() {
    let hostile = "</details> <img src=x> | `a` ``` [x](http://evil) www.evil @all ![](x) \x1b[2J $x$ <!--";
    let mut story = Story::new();
    story.begin(2, 0).start(Phase::Build, "api", hostile);
    story.fail(Phase::Build, "api", hostile, &["```", "````", "# heading", hostile]);
    story.skip(Phase::Build, "web", Outcome::Skipped, hostile).end(Outcome::Failed, 3);
    let text = plain(&story.events);
    let mut fence = None;
    for line in text.lines() {
        match &fence {
            None if line.starts_with("```") => fence = Some(line.trim_end_matches("text").to_owned()),
            Some(open) if line == open => fence = None,
            Some(open) => assert!(!line.trim_start().starts_with(open.as_str()), "{line}"),
            None => {
                assert!(
                    !line.contains('<') || line.starts_with("<details>") || line == "</details>",
                    "{line}"
                );
                assert!(!line.contains("://") && !line.contains("www.") && !line.contains('@'), "{line}");
                assert!(!line.replace("\\]", "").contains("](") && !line.contains("!["), "{line}");
                assert!(!line.contains('\x1b'), "{line}");
            }
        }
    }
    assert_eq!(fence, None, "{text}");
    assert!(text.contains("`````text\n"), "{text}");
}

#[test]
fn it_keeps_to_its_room() {
    let (events, _) = big_story(900);
    let summary = Summary::of(&events);
    let whole = page(&summary, &Places::default(), usize::MAX);
    for room in [0, 100, 600, 2_000, 20_000, whole.len() / 2, whole.len() + RESERVE] {
        let text = page(&summary, &Places::default(), room);
        assert!(text.len() <= room, "{} > {room}", text.len());
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
        if (2_000..whole.len()).contains(&room) {
            assert!(
                text.contains("… and ") && text.starts_with("## `cargo xtask build-all` failed"),
                "{room}"
            );
        }
    }
}

#[test]
fn shares_say_who_builds_what() {
    let image = |name: &str, why: &str| (name.to_owned(), why.to_owned());
    let both = [
        Share { images: vec![image("base", "a|b"), image("api", "base changed: base")], estimate: 90_000 },
        Share { images: vec![image("web", "new")], estimate: 60_000 },
    ];
    insta::assert_snapshot!(shares(&both, ROOM), @r"
    ## 3 images are affected, for 2 machines

    | machine (estimate) | image | why |
    |---|---|---|
    | 1/2 (90s) | base | a\|b |
    |  | api | base changed: base |
    | 2/2 (60s) | web | new |
    ");
    assert_eq!(shares(&[], ROOM), "## No image is affected\n");
    assert_eq!(shares(&both, 300), "");
}
