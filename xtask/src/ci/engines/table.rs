//! The table of `docs/engines.md`: which command works on which engine, as the tests found it.

use std::collections::BTreeMap;
use std::path::Path;

use super::{EngineVersion, Results};

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestOutcome {
    /// `ok`
    Passed,
    /// `FAILED`
    Failed,
}

/// Not tried.
const UNTRIED: &str = "—";
/// Where the table is.
const PAGE: &str = "docs/engines.md";

/// Each command, and the tests that say whether it works: all of them have to pass.
const COMMANDS: [(&str, &[&str]); 24] = [
    ("`push`, `push-all`", &["push::images_are_counted_and_not_their_names"]),
    ("`prefetch` (pull)", &["lock::pull_follows_a_tag_that_moved_and_no_other"]),
    (
        "`prefetch` of a base for several platforms",
        &["carried::a_base_of_several_platforms_is_pulled_and_goes_along"],
    ),
    ("`prefetch` of a base with attestations", &["carried::attestations_do_no_harm"]),
    ("`alias`, tags", &["commands::one_tree_through_all_commands"]),
    ("import (recipes)", &["contract::a_real_engine_keeps_the_contract"]),
    ("`build-all`", &["commands::one_tree_through_all_commands"]),
    ("`--secret`, `--ssh`", &["secrets::they_are_there_while_an_instruction_runs_and_nowhere_afterwards"]),
    ("its builder as a `--builder`", &["elsewhere::a_builder_and_a_registry_are_enough"]),
    ("its builder as a `--builder` for an engine", &["elsewhere::a_builder_beside_an_engine_fills_it"]),
    ("`--check-dockerfiles`", &["checks::dockerfiles_are_checked_where_the_front_end_can"]),
    ("`verify`", &["commands::one_tree_through_all_commands"]),
    ("`history`", &["commands::one_tree_through_all_commands"]),
    (
        "`lock`, `--locked`",
        &["lock::a_tag_moves_between_lock_and_build", "lock::without_a_registry_the_store_speaks"],
    ),
    ("`clean`", &["clean::only_what_nobody_needs_goes"]),
    ("`shell`", &["shell::it_stands_where_it_was_asked_to"]),
    ("`bundle create`, `load`", &["carried::a_bundle_comes_back_and_is_rebuilt"]),
    ("`bundle inventory`, `--since` (delta)", &["carried::a_bundle_comes_back_and_is_rebuilt"]),
    ("`bundle create --prove`", &["carried::a_bundle_is_proven"]),
    ("`rebuild`", &["carried::a_bundle_comes_back_and_is_rebuilt"]),
    ("bundles to the other engines", &["carried::bundles_and_keys_cross_engines"]),
    ("save and load to the other engines", &["carried::a_saved_base_has_the_same_key_everywhere"]),
    ("`base-images e2e`", &["trials::e2e_goes_there_and_back_and_leaves_nothing"]),
    ("`base-images test`, `publish`", &["trials::what_is_published_was_tested_and_is_there"]),
];

/// `test push::a_test ... ok`
pub fn outcome(line: &str) -> Option<(String, TestOutcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match outcome {
        "ok" => TestOutcome::Passed,
        "FAILED" => TestOutcome::Failed,
        _ => return None,
    };
    Some((name.to_owned(), outcome))
}

/// Whether the page has what the tests found; engines that are not up say nothing.
///
/// # Errors
/// The table as it should be.
pub fn compare(root: &Path, results: &BTreeMap<EngineVersion, Results>) -> Result<(), String> {
    let page = std::fs::read_to_string(root.join(PAGE)).map_err(|error| format!("{PAGE}: {error}"))?;
    let present = rows(&page);
    let wanted = table(&present, results);
    if present.join("\n") == wanted {
        return Ok(());
    }
    Err(format!("the tests say something else than the table does, which has to be:\n{wanted}"))
}

/// The lines of the page's table of commands.
fn rows(page: &str) -> Vec<&str> {
    let lines = page.lines().skip_while(|line| !line.starts_with("| command |"));
    lines.take_while(|line| line.starts_with('|')).collect()
}

/// The table; of an engine that is not up it has what the page says.
fn table(present: &[&str], results: &BTreeMap<EngineVersion, Results>) -> String {
    let engines = EngineVersion::ALL.map(|version| format!(" {} {} |", version.version(), version.store()));
    let mut lines =
        vec![format!("| command |{}", engines.concat()), format!("|---|{}", "---|".repeat(engines.len()))];
    for (command, tests) in COMMANDS {
        let cells = EngineVersion::ALL.into_iter().enumerate().map(|(column, version)| {
            let cell = match results.get(&version) {
                Some(results) => cell(results, command, tests),
                None => said(present, command, column).unwrap_or(UNTRIED).to_owned(),
            };
            format!(" {cell} |")
        });
        lines.push(format!("| {command} |{}", cells.collect::<String>()));
    }
    lines.join("\n")
}

fn said<'a>(present: &[&'a str], command: &str, column: usize) -> Option<&'a str> {
    let begin = format!("| {command} |");
    present.iter().find_map(|line| line.strip_prefix(&begin))?.split('|').nth(column).map(str::trim)
}

/// `yes`, `no: why`, or that nobody tried.
fn cell(results: &Results, command: &str, tests: &[&str]) -> String {
    let found = results.findings.lines().find_map(|line| line.strip_prefix(command)?.strip_prefix('\t'));
    if let Some(found) = found {
        return found.to_owned();
    }
    let outcomes: Vec<Option<&TestOutcome>> = tests.iter().map(|test| results.outcomes.get(*test)).collect();
    if let Some(at) = outcomes.iter().position(|outcome| *outcome == Some(&TestOutcome::Failed)) {
        return format!("no: the test `{}` fails", tests[at]);
    }
    let all = outcomes.iter().all(Option::is_some);
    if all { "yes".to_owned() } else { UNTRIED.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(lines: &str, findings: &str) -> Results {
        Results { outcomes: lines.lines().filter_map(outcome).collect(), findings: findings.to_owned() }
    }

    #[test]
    fn cells_come_from_results() {
        let tests: &[&str] = &["a::one", "a::two"];
        for (lines, findings, expected) in [
            ("test a::one ... ok\ntest a::two ... ok", "", "yes"),
            ("test a::one ... ok\ntest a::two ... FAILED", "", "no: the test `a::two` fails"),
            ("test a::one ... ok", "", UNTRIED),
            ("test a::one ... ok\ntest a::two ... ignored", "", UNTRIED),
            ("running 2 tests", "", UNTRIED),
            ("test a::one ... ok\ntest a::two ... ok", "`x`\tno: why\n`xy`\tother", "no: why"),
            ("test a::one ... ok\ntest a::two ... ok", "`xy`\tother\n", "yes"),
        ] {
            assert_eq!(cell(&results(lines, findings), "`x`", tests), expected, "{lines} {findings}");
        }
    }

    #[test]
    fn what_the_page_says_is_held_to_the_engines_that_are_up() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join("docs")).expect("a folder");
        let write = |text: &str| std::fs::write(root.path().join(PAGE), text).expect("writable");
        let page = include_str!("../../../../docs/engines.md");
        write(page);
        assert_eq!(compare(root.path(), &BTreeMap::new()), Ok(()), "no engine is up, so nothing is said");
        let all: String = COMMANDS
            .iter()
            .flat_map(|(_, tests)| *tests)
            .map(|test| format!("test {test} ... ok\n"))
            .collect();
        let up: BTreeMap<_, _> = [(EngineVersion::Sid, results(&all, ""))].into();
        let wanted = table(&rows(page), &up);
        write(&format!("before\n\n{wanted}\n\nafter\n"));
        assert_eq!(compare(root.path(), &up), Ok(()));
        let up: BTreeMap<_, _> = [(EngineVersion::Sid, results(&all, "`clean`\tno: no reason\n"))].into();
        let told = compare(root.path(), &up).expect_err("drift");
        assert!(
            told.lines().any(|line| line.starts_with("| `clean` | ") && line.contains(" no: no reason |")),
            "{told}"
        );
    }

    #[test]
    fn the_tests_that_speak_for_commands_are_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine");
        for (command, tests) in COMMANDS {
            for test in tests {
                let (module, name) = test.split_once("::").expect("a module");
                let text = std::fs::read_to_string(folder.join(format!("{module}.rs"))).expect(module);
                assert!(text.contains(&format!("async fn {name}()")), "{command}: {test}");
                let of_each_version =
                    EngineVersion::ALL.into_iter().filter(|engine| *engine != EngineVersion::SidGraph);
                for version in of_each_version {
                    let modules = version.modules();
                    let runs = modules.is_empty() || modules.contains(&format!("{module}::").as_str());
                    assert!(runs, "{command}: {test} does not run on {}", version.name());
                }
            }
        }
    }
}
