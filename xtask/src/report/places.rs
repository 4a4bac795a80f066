//! Where in the repository the things of a run are, for whoever shows a file with its line. Pure.
//!
//! In: the images' Dockerfiles and the findings of a plan, both relative to the tree's root, and where the tree lies in
//! its repository. Out: files relative to the repository, and their addresses. It looks at no file.

use std::collections::BTreeMap;

use super::summary::FailedStep;
use crate::model::{Diagnostic, Phase, Reason, Severity};

/// What is known of where things stand. The default knows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    dockerfiles: BTreeMap<String, String>,
    findings: Vec<Diagnostic>,
    repository: Repository,
}

/// How the tree lies in its repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    /// The tree's folder in it, with a slash at its end; empty at the top.
    pub folder: String,
    /// What the addresses of its files begin with, where a browser finds them.
    pub files: Option<String>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Relative to the repository.
    pub file: String,
    /// 1-based; 0 is the whole file.
    pub line: u32,
    /// 1-based; 0 is the whole line.
    pub column: u32,
}

impl Places {
    /// From the images with their Dockerfiles, and the findings.
    pub fn new(
        dockerfiles: impl IntoIterator<Item = (String, String)>,
        findings: Vec<Diagnostic>,
        repository: Repository,
    ) -> Self {
        Self { dockerfiles: dockerfiles.into_iter().collect(), findings, repository }
    }

    /// The findings of a severity, each with its place.
    pub fn findings(&self, severity: Severity) -> impl Iterator<Item = (Place, &Diagnostic)> {
        let found = self.findings.iter().filter(move |found| found.severity == severity);
        found.map(|found| (self.place(&found.file, found.line, found.column), found))
    }

    /// An image's Dockerfile.
    pub fn of_image(&self, image: &str) -> Option<Place> {
        self.dockerfiles.get(image).map(|file| self.place(file, 0, 0))
    }

    /// Where a step failed: the line of the finding that it repeats, or of the instruction that failed.
    pub fn of_failure(&self, failed: &FailedStep) -> Option<Place> {
        if let Some(Reason::Invalid(found)) = &failed.reason
            && found.line > 0
        {
            return Some(self.place(&found.file, found.line, found.column));
        }
        let of_image = matches!(failed.phase, Phase::Build | Phase::Keep | Phase::Verify);
        let file = self.dockerfiles.get(&failed.subject).filter(|_| of_image)?;
        // A template's text is known by the name of what is rendered from it.
        let rendered = file.strip_suffix(TEMPLATE).unwrap_or(file);
        let place =
            failed.failure.place.as_ref().and_then(|place| place.strip_prefix(rendered)?.strip_prefix(':'));
        Some(self.place(file, place.and_then(|line| line.parse().ok()).unwrap_or(0), 0))
    }

    /// The address of a place, where files have one.
    pub fn address(&self, place: &Place) -> Option<String> {
        let mut address = self.repository.files.clone()?;
        for byte in place.file.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    address.push(char::from(byte));
                }
                byte => address.push_str(&format!("%{byte:02X}")),
            }
        }
        if place.line > 0 {
            address.push_str(&format!("#L{}", place.line));
        }
        Some(address)
    }

    fn place(&self, file: &str, line: u32, column: u32) -> Place {
        Place { file: format!("{}{file}", self.repository.folder), line, column }
    }
}

/// What the names of templates end in.
pub const TEMPLATE: &str = ".tpl";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorKind, Failure};

    fn places() -> Places {
        let files = [("api", "src/a b/Dockerfile"), ("web", "src/web/Dockerfile.tpl")];
        let findings = vec![
            Diagnostic::warning("src/web/Dockerfile.tpl", 3, "odd"),
            Diagnostic { column: 5, ..Diagnostic::error("src/old/Dockerfile", 7, "unknown instruction") },
        ];
        let repository =
            Repository { folder: "sub/".to_owned(), files: Some("https://example.org/blob/c/".to_owned()) };
        Places::new(files.map(|(image, file)| (image.to_owned(), file.to_owned())), findings, repository)
    }

    #[track_caller]
    fn check(
        phase: Phase,
        subject: &str,
        place: Option<&str>,
        reason: Option<Diagnostic>,
        expect: Option<(&str, u32, u32)>,
    ) {
        let failure = Failure {
            place: place.map(str::to_owned),
            ..Failure::of(ErrorKind::BuildFailed, phase, subject, "x")
        };
        let failed = FailedStep {
            phase,
            subject: subject.to_owned(),
            failure,
            reason: reason.map(|found| Reason::Invalid(Box::new(found))),
            last_lines: Vec::new(),
            log: None,
        };
        let expect = expect.map(|(file, line, column)| Place { file: file.to_owned(), line, column });
        assert_eq!(places().of_failure(&failed), expect);
    }

    #[test]
    fn failures_have_a_line() {
        let api = "sub/src/a b/Dockerfile";
        check(Phase::Build, "api", Some("src/a b/Dockerfile:12"), None, Some((api, 12, 0)));
        check(Phase::Build, "api", Some("src/a b/Dockerfile"), None, Some((api, 0, 0)));
        check(Phase::Build, "api", None, None, Some((api, 0, 0)));
        let web = "sub/src/web/Dockerfile.tpl";
        check(Phase::Build, "web", Some("src/web/Dockerfile:2"), None, Some((web, 2, 0)));
        let old =
            Diagnostic { column: 5, ..Diagnostic::error("src/old/Dockerfile", 7, "unknown instruction") };
        check(
            Phase::Build,
            "old",
            Some("src/old/Dockerfile:7:5"),
            Some(old),
            Some(("sub/src/old/Dockerfile", 7, 5)),
        );
        let template = Diagnostic::warning("src/web/Dockerfile.tpl", 3, "odd");
        check(Phase::Render, "src/web/Dockerfile", None, Some(template), Some((web, 3, 0)));
        check(Phase::Prefetch, "redis:7", None, None, None);
        check(Phase::Build, "gone", None, None, None);
    }

    #[test]
    fn addresses_are_escaped() {
        let known = places();
        let place = Place { file: "sub/src/a b#/%/Dockerfile".to_owned(), line: 3, column: 1 };
        let address = known.address(&place).unwrap();
        assert_eq!(address, "https://example.org/blob/c/sub/src/a%20b%23/%25/Dockerfile#L3");
        assert_eq!(Places::default().address(&place), None);
        assert_eq!(known.findings(Severity::Warning).count(), 1);
    }
}
