//! What GitHub and GitLab are told of a run, and the JUnit report.

use crate::repo::TestRepo;

const TREE: &str = "//- .env\nNAME=x\n//- conf.tpl\n{{NAME}}\n";

fn on_github(fixture: &str) -> (TestRepo, std::path::PathBuf) {
    let repo = TestRepo::new(fixture);
    let summary = repo.home().join("summary.md");
    let repo = repo
        .with("GITHUB_ACTIONS", "true")
        .with("CI", "true")
        .with("GITHUB_STEP_SUMMARY", summary.to_str().unwrap());
    (repo, summary)
}

#[test]
fn every_run_of_a_step_adds_to_its_summary() {
    let (repo, summary) = on_github(TREE);
    assert_eq!(repo.code("render"), 0);
    assert_eq!(repo.code("render --progress json"), 0);
    assert_eq!(repo.code("render --check"), 0, "a look is no run");
    let text = repo.redact(&std::fs::read_to_string(&summary).unwrap());
    insta::assert_snapshot!(text, @"
    ## `cargo xtask render` finished

    1 rendered in 0.0s, exit code 0

    | phase | result |
    |---|---|
    | Render | 1 rendered |

    ## `cargo xtask render --progress json` finished

    nothing to do, 1 up to date in 0.0s, exit code 0

    | phase | result |
    |---|---|
    | Render | 1 unchanged |
    ");
}

#[test]
fn a_summary_that_cannot_be_written_fails_nothing() {
    let (repo, summary) = on_github(TREE);
    std::fs::create_dir(&summary).unwrap();
    let told = repo.run("render");
    assert!(told.starts_with("exit 0"), "{told}");
    assert!(told.contains("the GitHub job summary is given up for the rest of this run: "), "{told}");
}

#[test]
fn what_is_wrong_stands_beside_its_line() {
    let (repo, summary) = on_github("//- .env\nPORT=1\n//- conf.tpl\n{{PORT}}\n  {{NAME}}\n");
    let repo = repo.with("GITHUB_WORKSPACE", "/nowhere");
    insta::assert_snapshot!(repo.run("render"), @"
    exit 11
    --- stderr
    00:00 started    render
    00:00 render     conf.tpl failed        (conf.tpl:2:3: `NAME` is not defined in .env or .env.example)
    00:00 render     1 failed
    00:00 failed     1 failed
    ::error file=conf.tpl,line=2,col=3,title=cannot render `conf.tpl`::`NAME` is not defined in .env or .env.example
    error: cannot render `conf.tpl`
      caused by: conf.tpl:2:3: `NAME` is not defined in .env or .env.example
    hint: `cargo xtask render` tries again
    report of this run: target/xtask/runs/RUN/report.html
    ");
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.contains("- warning: conf.tpl:2:3: "), "{text}");
    let (repo, summary) = on_github("//- .config/xtask.toml\nprefix = 3\n");
    insta::assert_snapshot!(repo.run("render"), @"
    exit 10
    --- stderr
    ::error file=.config/xtask.toml,line=1,col=10,title=cargo xtask::expected a text in quotes, found 3
    error: .config/xtask.toml:1:10: expected a text in quotes, found 3
    hint: edit .config/xtask.toml:1:10
    ");
    let text = std::fs::read_to_string(&summary).unwrap();
    insta::assert_snapshot!(text, @"
    ## `cargo xtask render` failed

    ```text
    error: .config/xtask.toml:1:10: expected a text in quotes, found 3
    hint: edit .config/xtask.toml:1:10
    ```
    ");
}

#[test]
fn places_are_those_of_the_repository() {
    let repo = TestRepo::new("//- .env\nPORT=1\n//- conf.tpl\n{{NAME}} {{PORT}}\n");
    let above = repo.root().parent().unwrap().to_owned();
    let repo = repo.with("GITHUB_ACTIONS", "true").with("GITHUB_WORKSPACE", above.to_str().unwrap());
    let told = repo.run("render");
    assert!(told.contains("\n::error file=tree/conf.tpl,line=1,"), "{told}");
}

#[test]
fn json_progress_stays_json() {
    let (repo, _) = on_github(TREE);
    let output = repo.output("render --progress json");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.lines().count() > 3);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
}

#[test]
fn a_report_is_written_where_it_is_asked_for() {
    let repo = TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n");
    let file = repo.root().join("out/junit.xml");
    // No engine answers: there is no run, and the report says why.
    assert_eq!(repo.code("verify --junit out/junit.xml"), 12);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(r#"<testcase name="cargo xtask verify --junit out/junit.xml" classname="run""#),
        "{text}"
    );
    assert!(text.contains("<failure message=\"no container engine answers"), "{text}");
    // Nor is there one where the settings are wrong.
    let repo = TestRepo::new("//- .config/xtask.toml\njobs = \"many\"\n");
    for command in ["build-all", "base-images"] {
        assert_eq!(repo.code(&format!("{command} --junit {command}.xml")), 10);
        let text = std::fs::read_to_string(repo.root().join(format!("{command}.xml"))).unwrap();
        assert!(text.contains("<failure message") && text.contains("xtask.toml:1:8"), "{text}");
    }
    // A run that has nothing to do is a report too.
    let repo = TestRepo::new("");
    assert_eq!((repo.code("build --junit report.xml"), repo.root().join("report.xml").exists()), (5, true));
}
