//! What a GitLab job's log understands: sections that fold. Pure.
//!
//! Markers count only with escape sequences around them, which nothing from outside keeps
//! ([`neutralise`]). Source: <https://docs.gitlab.com/ci/jobs/job_logs/>.

use chrono::DateTime;

use super::text::neutralise;

/// Whether a section is folded from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// It is.
    Closed,
    /// It is not: something in it has to be read.
    Open,
}

/// The marker that begins a section, and its heading. Of `at`, RFC 3339, the log's clock is set.
pub fn section_start(name: &str, at: &str, fold: Fold, heading: &str) -> String {
    let options = if fold == Fold::Closed { "[collapsed=true]" } else { "" };
    let (name, at, heading) = (plain_name(name), seconds(at), neutralise(heading));
    format!("\x1b[0Ksection_start:{at}:{name}{options}\r\x1b[0K{heading}")
}

/// The marker that ends it.
pub fn section_end(name: &str, at: &str) -> String {
    format!("\x1b[0Ksection_end:{}:{}\r\x1b[0K", seconds(at), plain_name(name))
}

/// Letters, digits, `_`, `.` and `-` are what a section's name may have.
fn plain_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

fn seconds(at: &str) -> i64 {
    DateTime::parse_from_rfc3339(at).map_or(0, |at| at.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_as_documented() {
        let start = section_start("build:a/b c", "2024-11-21T00:08:30.123Z", Fold::Closed, "a \x1b[2Jlog");
        assert_eq!(start, "\x1b[0Ksection_start:1732147710:build_a_b_c[collapsed=true]\r\x1b[0Ka log");
        assert_eq!(section_end("x", "no time"), "\x1b[0Ksection_end:0:x\r\x1b[0K");
        assert!(!section_start("x", "", Fold::Open, "h").contains("collapsed"));
    }
}
