//! What goes wrong, as people and scripts see it: a kind, a chain of causes, and what to do next.
//!
//! Each module has errors of its own and knows nothing of this room; what may fail in a run knows its kind and its hint, the
//! rest gets them here (`mapping.rs`; `worst.rs` says which failure of a run counts). The kind decides the exit code
//! (`model/catalogue.rs`). It prints nothing: `report` does.

mod mapping;
#[cfg(test)]
mod tests;
pub mod worst;

use crate::events::Emitter;
use crate::events::secrets::Secrets;
use crate::execute::{OutsideFailure, StepError};
use crate::model::{Diagnostic, EventKind, Failure, Severity, program};
pub use crate::model::{ErrorKind, ExitCode};
use crate::report::notice::Notice;

/// Why the program ends without having done what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    /// None when people were told already.
    failure: Option<Notice>,
}

impl Error {
    /// An error that still has to be told. `what` says what could not be done.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, failure: Some(Notice::error(what)) }
    }

    /// Only a kind, which gives the exit code: the run's own screen has told the rest.
    pub fn told(kind: ErrorKind) -> Self {
        Self { kind, failure: None }
    }

    /// Of a library's or the system's error, with its whole chain of sources below it.
    pub fn of(kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        Self::new(kind, error.to_string()).because_of_sources(error)
    }

    /// Broken sources: each diagnostic that is an error is a cause.
    pub fn of_diagnostics(diagnostics: &[Diagnostic]) -> Self {
        let errors: Vec<_> = diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        let what = match errors.as_slice() {
            [one] => format!("{} cannot be used", one.file),
            _ => format!("{} errors in the sources", errors.len()),
        };
        errors.iter().fold(Self::new(ErrorKind::SourceInvalid, what), |error, found| {
            let text = found.to_string();
            error.because(text.strip_prefix("error: ").unwrap_or(&text))
        })
    }

    /// One more cause, below those that are there.
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        if let Some(failure) = &mut self.failure {
            let cause = cause.into();
            // An error whose own text ends with its source's says it once.
            if !failure.causes.last().unwrap_or(&failure.what).ends_with(&cause) {
                failure.causes.push(cause);
            }
        }
        self
    }

    /// One more hint: a command, or a file to edit.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.hints.push(hint.into());
        }
        self
    }

    /// What this error was in the way of: `cannot build image `api``. The old text becomes the first cause.
    pub fn context(mut self, what: impl Into<String>) -> Self {
        if let Some(failure) = &mut self.failure {
            let cause = std::mem::replace(&mut failure.what, what.into());
            if !failure.what.ends_with(&cause) {
                failure.causes.insert(0, cause);
            }
        }
        self
    }

    /// Which kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the process ends with.
    pub fn code(&self) -> ExitCode {
        self.kind.code()
    }

    /// What people have to be told, without secrets; none if they were told already.
    pub fn telling(&self, secrets: &Secrets) -> Option<Notice> {
        let mut failure = self.failure.clone()?;
        let texts = std::iter::once(&mut failure.what)
            .chain(&mut failure.causes)
            .chain(&mut failure.last_lines)
            .chain(&mut failure.hints);
        texts.for_each(|text| secrets.redact_in(text));
        let own = std::iter::once(&mut failure.what).chain(&mut failure.causes).chain(&mut failure.hints);
        own.for_each(|text| *text = program::as_called(text).into_owned());
        Some(failure)
    }

    /// Tells a run's eyes of it; what is left is only its kind.
    pub fn tell_by(self, emitter: &Emitter) -> Self {
        let kind = self.kind;
        if let Some(failure) = self.failure {
            emitter.emit(event(kind, failure));
        }
        Self::told(kind)
    }

    /// The same as an event, for whoever reads events and no run was begun; none if it was told already.
    pub fn as_event(&self, secrets: &Secrets) -> Option<EventKind> {
        Some(event(self.kind, self.telling(secrets)?))
    }

    /// The same as something that the command could go on without.
    pub fn as_warning(&self, secrets: &Secrets) -> Option<Notice> {
        let failure = self.telling(secrets)?;
        Some(Notice { severity: Severity::Warning, ..failure })
    }

    fn because_of_sources(mut self, error: &dyn std::error::Error) -> Self {
        let mut source = error.source();
        while let Some(error) = source {
            self = self.because(error.to_string());
            source = error.source();
        }
        self
    }

    fn last_lines(mut self, lines: &[String]) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.last_lines.extend_from_slice(lines);
        }
        self
    }
}

/// What a step that was handed in ends with.
impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        let kind = error.kind;
        if kind == ErrorKind::Interrupted {
            return Self::Cancelled;
        }
        let told = error.failure.unwrap_or_else(|| Notice::error(kind.name()));
        let Notice { severity: _, what, causes, last_lines, hints } = told;
        let failure = Failure { kind, what, place: None, causes, hints };
        Self::OutsideFailure(Box::new(OutsideFailure { failure, last_lines }))
    }
}

fn event(error: ErrorKind, failure: Notice) -> EventKind {
    let Notice { severity: _, what, causes, last_lines, hints } = failure;
    EventKind::Error { error, what, causes, last_lines, hints }
}
