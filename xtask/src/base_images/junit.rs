//! Pure: checks as a JUnit report, which CI systems read.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::model::{Check, Verdict};

/// One image's checks.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The image.
    pub name: String,
    /// How long trying it took.
    pub took: Duration,
    /// The checks; none means that it could not be tried.
    pub checks: Vec<Check>,
}

/// The report's text. `name` is the command.
pub fn report(name: &str, suites: &[Suite]) -> String {
    let mut report = Report::new(name);
    for suite in suites {
        let mut told = TestSuite::new(suite.name.as_str());
        told.set_time(suite.took);
        let untried = || {
            Check::that("tried", false, "it was not built, or could not be run: the run's record says why")
        };
        let untried: Vec<Check> = suite.checks.is_empty().then(untried).into_iter().collect();
        told.add_test_cases(suite.checks.iter().chain(&untried).map(|check| case(&suite.name, check)));
        report.add_test_suite(told);
    }
    // A report of plain texts: writing it to memory cannot fail.
    report.to_string().unwrap_or_default()
}

fn case(suite: &str, check: &Check) -> TestCase {
    let status = match check.verdict {
        Verdict::Passed | Verdict::Warned => TestCaseStatus::success(),
        Verdict::Failed => {
            let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
            failed.set_message(check.detail.as_str());
            failed
        }
    };
    let mut case = TestCase::new(check.name.as_str(), status);
    case.set_classname(suite);
    case.set_system_out(check.detail.as_str());
    case
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_carry_what_was_seen() {
        let checks = vec![
            Check::that("exists", true, "abc"),
            Check { name: "size".into(), verdict: Verdict::Warned, detail: "1600 MB".into() },
            Check::that("fit version", false, "says `<1>` & \u{1b}[31mmore"),
        ];
        let took = Duration::from_millis(1500);
        let suites = [
            Suite { name: "fit-framework-debian".into(), took, checks },
            Suite { name: "fit-framework-alpine".into(), took: Duration::ZERO, checks: Vec::new() },
        ];
        let text = report("base-images test", &suites);
        assert!(
            text.starts_with("<?xml") && text.contains(r#"tests="4""#) && text.contains(r#"failures="2""#),
            "{text}"
        );
        assert!(text.contains(r#"message="says `&lt;1&gt;` &amp; "#) && !text.contains('\u{1b}'), "{text}");
    }
}
