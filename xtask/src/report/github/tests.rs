//! What the runner would take for a command, and what not.

use proptest::prelude::*;

use super::*;
use crate::model::{Diagnostic, Outcome, Phase};
use crate::report::places::Repository;
use crate::report::testing::{Story, failing_story};

/// As the runner decides it (`ActionCommand.cs`), of any name.
fn is_command(line: &str) -> bool {
    line.trim_start().starts_with("::") || line.contains("##[")
}

#[test]
fn nothing_from_outside_is_a_command() {
    for (line, harmless) in [
        ("plain: text :: [x] # # [", "plain: text :: [x] # # ["),
        ("::set-env name=A::b", "| ::set-env name=A::b"),
        ("   ::error::x", "|    ::error::x"),
        ("\u{a0}\u{3000}::error::x", "| \u{a0}\u{3000}::error::x"),
        ("\u{ad}::stop-commands::x", "| \u{ad}::stop-commands::x"),
        ("a ##[add-mask]b ##[group]", "a ## [add-mask]b ## [group]"),
        ("#\u{ad}#\u{ad}[error]", "#\u{ad}#\u{ad} [error]"),
        ("###[x]", "### [x]"),
        ("", ""),
    ] {
        assert_eq!(defuse(line), harmless);
    }
}

proptest! {
    #[test]
    fn whatever_is_printed(line in "( |\t|:|#|\\[|\u{ad}|x|\u{a0}){0,10}") {
        prop_assert!(!is_command(&defuse(&line)), "{:?}", defuse(&line));
    }

    #[test]
    fn a_command_is_one_line_and_one_command(text in "(%|:|,|\r|\n|#|\\[|\\]|a|\x1b\\[2J){0,12}") {
        for line in [group(&text), annotation(Severity::Error, None, &text, &text)] {
            prop_assert!(!line.contains(['\n', '\r', '\x1b']) && !line.contains("##["), "{line:?}");
        }
    }
}

#[test]
fn annotations_are_escaped() {
    let place = Place { file: "a,b:c%/Dockerfile".to_owned(), line: 12, column: 0 };
    insta::assert_snapshot!(annotation(Severity::Error, Some(&place), "cannot: x, y", "50%\r\nmore: a, b\r"),
        @"::error file=a%2Cb%3Ac%25/Dockerfile,line=12,title=cannot%3A x%2C y::50%25%0Amore: a, b");
    insta::assert_snapshot!(group("api 100%"), @"::group::api 100%25");
}

fn places() -> Places {
    let images = [("frontend".to_owned(), "src/frontend/Dockerfile".to_owned())];
    let findings = vec![
        Diagnostic { column: 4, ..Diagnostic::error("src/old/Dockerfile", 2, "unknown instruction") },
        Diagnostic::warning("src/api/Dockerfile", 0, "no user"),
    ];
    Places::new(images, findings, Repository { folder: "sub/".to_owned(), files: None })
}

#[test]
fn a_run_says_what_belongs_beside_which_line() {
    let lines = annotations(&Summary::of(&failing_story()), &places());
    insta::assert_snapshot!(lines.join("\n"), @"
    ::error file=sub/src/frontend/Dockerfile,line=12,title=cannot build image `frontend`::`RUN npm ci` exited with status 1%0Anpm ERR! code ENOTFOUND
    ::error file=sub/src/old/Dockerfile,line=2,col=4,title=src/old/Dockerfile::unknown instruction
    ::warning file=sub/src/api/Dockerfile,title=src/api/Dockerfile::no user
    ");
}

#[test]
fn no_more_than_are_shown() {
    let mut story = Story::new();
    for n in 0..30 {
        story.fail(Phase::Build, &format!("i{n}"), "x", &[]);
    }
    story.end(Outcome::Failed, 3);
    let lines = annotations(&Summary::of(&story.events), &Places::default());
    assert_eq!(lines.len(), MAX_ANNOTATIONS);
    assert!(lines[9].contains("and 21 more"), "{}", lines[9]);
}

#[test]
fn errors_outside_of_runs_have_a_place_if_they_name_one() {
    for (what, expect) in [
        (".config/xtask.toml:3:5: unknown key", "::error file=.config/xtask.toml,line=3,col=5,"),
        ("src/a/build.conf:2: no value", "::error file=src/a/build.conf,line=2,"),
        ("cannot reach: it", "::error title="),
        ("no engine", "::error title="),
    ] {
        let told = telling(&Notice::error(what));
        assert!(told.starts_with(expect), "{told}");
    }
}

#[test]
fn runs_share_one_summary_and_its_room() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("summary");
    let run = |sink: &mut JobSummary| failing_story().iter().try_for_each(|event| sink.take(event));
    for n in 1..=2 {
        run(&mut JobSummary::new(file.clone(), places())).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches("## `cargo xtask build-all` failed").count(), n);
    }
    let full = vec![b'x'; usize::try_from(MAX_SUMMARY).unwrap() - 700];
    std::fs::write(&file, full).unwrap();
    for _ in 0..3 {
        run(&mut JobSummary::new(file.clone(), places())).unwrap();
        assert!(std::fs::metadata(&file).unwrap().len() <= MAX_SUMMARY);
    }
    let error = run(&mut JobSummary::new(folder.path().to_owned(), places())).unwrap_err();
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
}
