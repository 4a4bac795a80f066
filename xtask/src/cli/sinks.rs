//! Who hears of a run: its record, the screen, and what CI systems read.
//!
//! In: the session, and what was planned. Out: the sinks, the record first. It decides nothing: the environment and
//! what was typed say who there is.

use std::io;
use std::path::Path;

use super::session::{Session, Typed};
use crate::cli::error::Error;
use crate::events::Sink;
use crate::model::Diagnostic;
use crate::plan::explain::PlanDocument;
use crate::report::github::JobSummary;
use crate::report::junit::{self, JunitReport};
use crate::report::places::{Places, Repository, TEMPLATE};
use crate::report::record::Recorder;
use crate::report::resolve::Forge;
use crate::report::{self, ExpectedBuilds};

/// Everybody who hears of a run.
pub(super) fn sinks(
    session: &Session,
    recorder: Option<Recorder>,
    places: &Places,
    expected_builds: Option<ExpectedBuilds>,
) -> Vec<Box<dyn Sink>> {
    let folder = recorder.as_ref().and_then(Recorder::folder);
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if let Some(recorder) = recorder {
        sinks.push(Box::new(recorder));
    }
    sinks.push(report::eye(session.display, folder, places.clone(), expected_builds));
    if let Some(file) = session.env.github_step_summary() {
        sinks.push(Box::new(JobSummary::new(file, places.clone())));
    }
    if let Some(file) = &session.junit {
        sinks.push(Box::new(JunitReport::new(file.clone())));
    }
    sinks
}

/// Reports a command that ended before its run began, which no sink has heard of.
///
/// # Errors
/// When the report cannot be written.
pub(super) fn report_early(session: &Session, error: &Error) -> io::Result<()> {
    let has_begun = session.notes.record.get().is_some();
    let (Some(file), Some(failure), false) = (&session.junit, error.telling(&session.secrets), has_begun)
    else {
        return Ok(());
    };
    junit::write(file, &junit::of_error(&session.command(), &failure))
}

/// Reports a command whose settings cannot be used: there is no session yet. The error comes back, with a cause more
/// when the report cannot be written.
pub(super) fn report_unopened(typed: &Typed<'_>, file: Option<&Path>, error: Error) -> Error {
    let (Some(file), Some(failure)) = (file, error.telling(&typed.notes.secrets)) else { return error };
    let command = typed.notes.secrets.redact(&super::typed_words()).into_owned();
    match junit::write(file, &junit::of_error(&command, &failure)) {
        Ok(()) => error,
        Err(cause) => error.because(format!("nor can {} be written: {cause}", file.display())),
    }
}

/// Where the images and the findings of a plan stand in the repository, for those who show it.
pub(super) fn places(session: &Session, document: &PlanDocument) -> Places {
    if session.display.forge != Forge::GitHub && session.env.github_step_summary().is_none() {
        return Places::default();
    }
    let root = &session.config.root;
    let dockerfiles = document.images.iter().filter_map(|image| {
        let file = image.dockerfile.clone()?;
        // What is rendered is in no repository; what it is rendered from is, line by line.
        let template = format!("{file}{TEMPLATE}");
        let file = if root.join(&template).is_file() { template } else { file };
        Some((image.name.to_string(), file))
    });
    let hidden = |found: &Diagnostic| Diagnostic {
        message: session.secrets.redact(&found.message).into_owned(),
        ..found.clone()
    };
    let findings = document.diagnostics.iter().map(hidden).collect();
    Places::new(dockerfiles, findings, repository(session, root))
}

/// Where the tree lies in the workflow's checkout. Of a tree elsewhere GitHub knows no files.
fn repository(session: &Session, root: &Path) -> Repository {
    let real = |path: &Path| path.canonicalize().ok();
    let workspace = session.env.github_workspace().and_then(|workspace| real(&workspace));
    let inside = workspace.and_then(|workspace| {
        let root = real(root)?;
        Some(root.strip_prefix(workspace).ok()?.to_str()?.to_owned())
    });
    match inside {
        Some(folder) => {
            let folder = if folder.is_empty() { folder } else { format!("{folder}/") };
            Repository { folder, files: session.env.github_files() }
        }
        None => Repository::default(),
    }
}
