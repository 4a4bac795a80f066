//! Reports of runs and of checks.

use super::*;
use crate::report::testing::{Story, failing_story};

#[test]
fn a_run_is_a_suite_for_each_phase() {
    insta::assert_snapshot!(report("cargo xtask build-all", &of_run(&failing_story())), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="cargo xtask build-all" tests="5" failures="1" errors="0">
        <testsuite name="prefetch" tests="1" skipped="0" errors="0" failures="0" time="6.000">
            <testcase name="alpine:3.20" classname="prefetch" time="6.000">
                <system-out>not in the local store
    sha256:1e421e421e421e421e421e421e421e421e421e421e421e421e421e421e421e42</system-out>
            </testcase>
        </testsuite>
        <testsuite name="build" tests="4" skipped="1" errors="0" failures="1" time="84.000">
            <testcase name="api" classname="build" time="82.000">
                <system-out>source changed: src/api/Cargo.lock
    sha256:9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c</system-out>
            </testcase>
            <testcase name="frontend" classname="build" time="84.000">
                <failure message="src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1">cannot build image `frontend`
    src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1
    last lines:
    npm ERR! code ENOTFOUND
    full log in target/xtask/runs/8d2/logs/build-frontend.log</failure>
                <system-out>not built yet</system-out>
            </testcase>
            <testcase name="worker" classname="build" time="0.000">
                <system-out>up to date: 212 inputs unchanged</system-out>
            </testcase>
            <testcase name="shop" classname="build" time="0.000">
                <skipped message="frontend failed"/>
            </testcase>
        </testsuite>
    </testsuites>
    "#);
}

/// The elements and attributes of `junit-10.xsd` in github.com/jenkinsci/xunit-plugin, those that are required first.
#[test]
fn a_report_keeps_to_jenkins_schema() {
    let of = |element: &str| match element {
        "testsuites" => (vec![], vec!["name", "time", "tests", "failures", "errors"]),
        "testsuite" => {
            (vec!["name", "tests", "failures", "errors"], vec!["time", "skipped", "timestamp", "id"])
        }
        "testcase" => (vec!["name"], vec!["time", "classname", "group"]),
        "failure" | "error" | "skipped" => (vec![], vec!["type", "message"]),
        "system-out" | "system-err" => (vec![], vec![]),
        other => panic!("the schema has no <{other}>"),
    };
    let odd = Case {
        name: "a skipped=\"1\" > b".to_owned(),
        took: None,
        end: End::Skipped { why: "<skipped>".to_owned() },
        told: String::new(),
    };
    let mut suites = of_run(&failing_story());
    suites.push(Suite { name: "x skipped=\"2\"".to_owned(), took: Duration::ZERO, cases: vec![odd] });
    let text = report("run skipped=\"3\" all", &suites);
    let element = regex::Regex::new(r#"<([a-z-]+)((?: [a-z]+="[^"]*")*)/?>"#).unwrap();
    let attribute = regex::Regex::new(r#" ([a-z]+)="[^"]*""#).unwrap();
    let mut seen = 0;
    for found in element.captures_iter(&text) {
        let (required, optional) = of(&found[1]);
        let names: Vec<String> = attribute.captures_iter(&found[2]).map(|name| name[1].to_owned()).collect();
        for name in required.iter().chain(&optional) {
            assert!(names.iter().filter(|known| known == name).count() <= 1, "{}", &found[0]);
        }
        assert!(required.iter().all(|name| names.iter().any(|known| known == name)), "{}", &found[0]);
        let is_known = |name: &String| required.contains(&name.as_str()) || optional.contains(&name.as_str());
        assert!(names.iter().all(is_known), "{}", &found[0]);
        seen += 1;
    }
    assert!(seen > 12 && text.contains("run skipped=&quot;3&quot; all"), "{text}");
}

#[test]
fn checks_are_cases_of_their_image() {
    let checks = vec![
        SmokeCheck::that("exists", true, "abc"),
        SmokeCheck { name: "size".into(), verdict: SmokeVerdict::Warned, detail: "1600 MB".into() },
        SmokeCheck::that("fit version", false, "says `<1>` & \u{1b}[31mmore"),
    ];
    let suites = [
        of_checks("fit-framework-debian", Duration::from_millis(1500), &checks),
        of_checks("fit-framework-alpine", Duration::ZERO, &[]),
    ];
    let text = report("base-images test", &suites);
    assert!(
        text.starts_with("<?xml") && text.contains(r#"tests="4""#) && text.contains(r#"failures="2""#),
        "{text}"
    );
    assert!(text.contains(r#"message="says `&lt;1&gt;` &amp; "#) && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn nothing_that_xml_cannot_carry() {
    let hostile = "a\x1b[31mred\x1b[0m \0\u{1}\u{fffe}\u{ffff}]]></testcase><x a=\"&\u{b}\r\nb\u{202e}";
    let mut story = Story::new();
    story.begin(1, 0).start(Phase::Build, "api", hostile);
    story.fail(Phase::Build, "api", hostile, &[hostile, &"x".repeat(70_000)]);
    story.skip(Phase::Build, hostile, Outcome::Cancelled, hostile).end(Outcome::Failed, 3);
    let text = report(hostile, &of_run(&story.events));
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(text.chars().all(allowed), "{text}");
    assert_eq!(text.matches("<testcase ").count(), 2, "{text}");
    assert_eq!(text.matches("</testcase>").count(), 2, "{text}");
    assert!(!text.contains("<x ") && text.len() < 10_000, "{text}");
}

#[test]
fn a_run_that_fails_as_a_whole_has_a_failure() {
    let mut story = Story::new();
    story.begin(1, 0).skip(Phase::Build, "api", Outcome::UpToDate, "same").end(Outcome::Failed, 12);
    let suites = of_run(&story.events);
    let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
    assert_eq!(names, ["build", "run"]);
    assert_eq!(suites[0].cases[0].end, End::Passed);
    assert!(has_failure(&suites[1]));
}

#[test]
fn the_file_is_there_when_the_run_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/report.xml");
    let mut sink = JunitReport::new(file.clone());
    for event in failing_story() {
        assert!(!file.exists());
        sink.take(&event).unwrap();
    }
    assert!(std::fs::read_to_string(&file).unwrap().contains("npm ERR! code ENOTFOUND"));
    let error = write(folder.path(), "x").unwrap_err().to_string();
    assert!(error.contains(&folder.path().display().to_string()), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}
