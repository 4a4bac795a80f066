//! Pure: from what was seen of an image to what is right and wrong with it.

use std::time::Duration;

use crate::model::{Expected, Health, HttpAnswer, SmokeCheck, SmokeResult, SmokeVerdict};

/// An image above this is worth a warning (contract section 3).
const LARGE: u64 = 1_500_000_000;
/// The name under which a trial keeps what `fit version` said.
pub const FIT_VERSION: &str = "fit version";
/// The exit status of a process that was ended by force.
const KILLED: i64 = 137;

/// Every check that could be made, in the order in which an image goes through them.
pub fn judge(seen: &SmokeResult, expected: &Expected) -> Vec<SmokeCheck> {
    let Some(details) = &seen.details else {
        return vec![SmokeCheck::that(
            "exists",
            false,
            format!("{} is not in the store", seen.reference.familiar()),
        )];
    };
    let mut checks =
        vec![SmokeCheck::that("exists", true, details.id.short()), size(details.size, expected.size_budget)];
    checks.push(healthy(seen));
    if seen.unwell.is_some() {
        return checks;
    }
    if let Some(version) = &expected.version {
        checks.push(fit_version(seen, version));
    }
    if let Some(answered) = &seen.answered {
        checks.extend(plugins(answered.as_ref(), expected.plugins.unwrap_or_default()));
    }
    checks.extend(stops(seen, expected.stop_within));
    checks
}

/// What is wrong, in one line; none when nothing is.
pub fn verdict(checks: &[SmokeCheck]) -> Option<String> {
    let wrong: Vec<String> = checks
        .iter()
        .filter(|check| check.verdict == SmokeVerdict::Failed)
        .map(|check| format!("{}: {}", check.name, check.detail))
        .collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

fn size(size: u64, budget: Option<u64>) -> SmokeCheck {
    let detail = megabytes(size);
    if let Some(budget) = budget.filter(|budget| size > *budget) {
        return SmokeCheck::that(
            "size",
            false,
            format!("{detail}, more than its budget of {}", megabytes(budget)),
        );
    }
    let (verdict, detail) = if size > LARGE {
        (SmokeVerdict::Warned, format!("{detail}, more than {}", megabytes(LARGE)))
    } else {
        (SmokeVerdict::Passed, detail)
    };
    SmokeCheck { name: "size".to_owned(), verdict, detail }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

fn healthy(seen: &SmokeResult) -> SmokeCheck {
    let after = format!("after {:.1} s", seen.healthy_after.as_secs_f64());
    match (&seen.unwell, seen.health) {
        (Some(unwell), _) => SmokeCheck::that("healthy", false, unwell.clone()),
        (None, Health::Healthy) => SmokeCheck::that("healthy", true, after),
        (None, _) => SmokeCheck::that("healthy", false, "it runs, but has no health check to say how it is"),
    }
}

fn fit_version(seen: &SmokeResult, version: &str) -> SmokeCheck {
    let name = FIT_VERSION;
    let Some(answer) = seen.answers.get(name) else { return SmokeCheck::that(name, false, "was not asked") };
    let said = answer.stdout.trim();
    let first = said.lines().next().unwrap_or_default();
    if answer.exit_code != 0 {
        let why = answer.stderr.trim().lines().next_back().unwrap_or(first);
        return SmokeCheck::that(name, false, format!("exited with status {}: {why}", answer.exit_code));
    }
    let names = |text: &str| {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || ".-_+".contains(c)))
            .any(|word| word == version || word.strip_prefix('v') == Some(version))
    };
    if names(said) || names(&answer.stderr) {
        return SmokeCheck::that(name, true, first);
    }
    SmokeCheck::that(name, false, format!("says `{first}`, which does not name {version}"))
}

/// 200, JSON, enough of them.
fn plugins(answered: Result<&HttpAnswer, &String>, at_least: usize) -> Vec<SmokeCheck> {
    let answer = match answered {
        Ok(answer) => answer,
        Err(cause) => return vec![SmokeCheck::that("http", false, cause.clone())],
    };
    if answer.status != 200 {
        let body: String = answer.body.trim().chars().take(200).collect();
        return vec![SmokeCheck::that("http", false, format!("answered {}: {body}", answer.status))];
    }
    let answers = SmokeCheck::that("http", true, "answered 200");
    let count = match count_plugins(&answer.body) {
        Ok(count) => SmokeCheck::that(
            "plugins",
            count >= at_least,
            format!("{count} loaded, at least {at_least} expected"),
        ),
        Err(why) => SmokeCheck::that("plugins", false, why),
    };
    vec![answers, count]
}

/// The actuator answers a list, or an object that holds one.
fn count_plugins(body: &str) -> Result<usize, String> {
    let value: serde_json::Value =
        serde_json::from_str(body).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let of_object = || value.as_object()?.values().find_map(serde_json::Value::as_array);
    let list = value.as_array().or_else(of_object);
    list.map(Vec::len).ok_or_else(|| "the answer holds no list".to_owned())
}

fn stops(seen: &SmokeResult, within: Duration) -> Option<SmokeCheck> {
    let stopped = seen.stopped?;
    let after = format!("{:.1} s", stopped.after.as_secs_f64());
    Some(match stopped.exit_code {
        Some(KILLED) => SmokeCheck::that(
            "stops",
            false,
            format!("did not end within {} s of TERM and was killed", within.as_secs()),
        ),
        Some(code) => SmokeCheck::that("stops", true, format!("after {after} with status {code}")),
        None => SmokeCheck::that("stops", true, format!("after {after}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExecOutput, Stopped};

    fn seen() -> SmokeResult {
        SmokeResult {
            image: crate::model::ImageName::new("fit-framework-debian"),
            os: "debian".to_owned(),
            reference: "fit-framework:1.2.3-debian".parse().expect("reference"),
            details: None,
            health: Health::Healthy,
            healthy_after: Duration::from_millis(2340),
            unwell: None,
            answers: Default::default(),
            answered: None,
            stopped: None,
            took: Duration::from_secs(3),
        }
    }

    #[track_caller]
    fn check(check: &SmokeCheck, verdict: SmokeVerdict, detail: &str) {
        assert_eq!((check.verdict, check.detail.as_str()), (verdict, detail));
    }

    #[test]
    fn an_image_that_is_not_there_is_not_judged_further() {
        let checks = judge(&seen(), &Expected::default());
        assert_eq!(
            verdict(&checks).as_deref(),
            Some("exists: fit-framework:1.2.3-debian is not in the store")
        );
        assert_eq!(checks.len(), 1);
    }

    #[test]
    fn sizes_warn_before_they_fail() {
        check(&size(900_000_000, None), SmokeVerdict::Passed, "900 MB");
        check(&size(1_600_000_000, None), SmokeVerdict::Warned, "1600 MB, more than 1500 MB");
        check(&size(1_600_000_000, Some(2_000_000_000)), SmokeVerdict::Warned, "1600 MB, more than 1500 MB");
        check(
            &size(900_000_001, Some(900_000_000)),
            SmokeVerdict::Failed,
            "900 MB, more than its budget of 900 MB",
        );
    }

    #[test]
    fn fit_version_has_to_name_the_version() {
        let said = |exit_code, stdout: &str, stderr: &str| {
            let answer = ExecOutput { exit_code, stdout: stdout.to_owned(), stderr: stderr.to_owned() };
            let mut seen = seen();
            seen.answers.insert(FIT_VERSION.to_owned(), answer);
            fit_version(&seen, "1.2.3")
        };
        check(&said(0, "FIT Framework 1.2.3\nmore\n", ""), SmokeVerdict::Passed, "FIT Framework 1.2.3");
        check(&said(0, "v1.2.3", ""), SmokeVerdict::Passed, "v1.2.3");
        check(&said(0, "1.2.30", ""), SmokeVerdict::Failed, "says `1.2.30`, which does not name 1.2.3");
        check(
            &said(0, "1.2.3-SNAPSHOT", ""),
            SmokeVerdict::Failed,
            "says `1.2.3-SNAPSHOT`, which does not name 1.2.3",
        );
        check(
            &said(127, "", "sh: fit: not found\n"),
            SmokeVerdict::Failed,
            "exited with status 127: sh: fit: not found",
        );
        check(&fit_version(&seen(), "1.2.3"), SmokeVerdict::Failed, "was not asked");
    }

    #[test]
    fn plugins_are_counted() {
        let answer = |status, body: &str| HttpAnswer { status, body: body.to_owned() };
        for (answer, wrong) in [
            (answer(200, "[1, 2]"), None),
            (answer(200, r#"{"code": 0, "data": [1, 2, 3]}"#), None),
            (answer(200, "[1]"), Some("plugins: 1 loaded, at least 2 expected")),
            (
                answer(200, "<html>"),
                Some("plugins: the answer is no JSON: expected value at line 1 column 1"),
            ),
            (answer(200, "{}"), Some("plugins: the answer holds no list")),
            (answer(500, "boom\n"), Some("http: answered 500: boom")),
        ] {
            assert_eq!(verdict(&plugins(Ok(&answer), 2)).as_deref(), wrong, "{answer:?}");
        }
        let cause = "connection refused".to_owned();
        assert_eq!(verdict(&plugins(Err(&cause), 2)).as_deref(), Some("http: connection refused"));
    }

    #[test]
    fn an_end_by_force_is_no_end() {
        let stopped = |exit_code| SmokeResult {
            stopped: Some(Stopped { after: Duration::from_millis(1500), exit_code }),
            ..seen()
        };
        let within = Duration::from_secs(20);
        let told = |exit_code| stops(&stopped(exit_code), within).expect("a check");
        check(&told(Some(143)), SmokeVerdict::Passed, "after 1.5 s with status 143");
        check(&told(Some(137)), SmokeVerdict::Failed, "did not end within 20 s of TERM and was killed");
        assert_eq!(stops(&seen(), within), None);
    }
}
