//! What has to be written down so that a tree that was never made for this program is built as its owners build it.
//!
//! `gather.rs` looks at the tree (the rim; it changes nothing), `Found` is what it saw, and from there on all is pure:
//! `services.rs` says where services lie, `settings.rs` what of that is not the default, `thin.rs` makes a team's own
//! `xtask`. Out come sentences and a plan of files to write; what stands already is left as it is.

pub mod gather;
mod manifest;
mod services;
mod settings;
mod thin;
mod workflow;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{OnFailure, Phase, Plan, Reason, Reference, Skipped, Stage, Step, StepKind};

pub use thin::Source;

/// The settings file.
const SETTINGS: &str = ".config/xtask.toml";
/// What git leaves alone.
const GITIGNORE: &str = ".gitignore";
/// The workflow that builds the images.
const WORKFLOW: &str = ".github/workflows/images.yml";
/// Files that may be written or added to; `gather` reads those that are there.
pub const FILES: [&str; 7] =
    [SETTINGS, GITIGNORE, WORKFLOW, thin::WORKSPACE, thin::MANIFEST, thin::MAIN, thin::CARGO_CONFIG];

/// What a look at a tree found. Paths are relative to the root, with `/`.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Every Dockerfile that may be a service's, by path.
    pub dockerfiles: BTreeMap<String, Dockerfile>,
    /// Those that are of tests, examples, documentation and the like.
    pub aside: BTreeSet<String>,
    /// The compose files that compose takes at the root when it is told of none.
    pub compose: Vec<String>,
    /// Other compose files at the root, which somebody has to name.
    pub more_compose: Vec<String>,
    /// What they are about.
    pub composed: Composed,
    /// Bake files at the root.
    pub bake: Vec<String>,
    /// Who runs this tree's checks, as people call them.
    pub ci: Vec<&'static str>,
    /// Whether there are `.env.example` and `.env`.
    pub env_files: Vec<&'static str>,
    /// Texts of [`FILES`] that are there.
    pub texts: BTreeMap<String, String>,
    /// Folders with a Cargo package, the root apart.
    pub packages: Vec<String>,
    /// Whether git looks after it.
    pub is_repository: bool,
}

/// A Dockerfile, as far as it tells whose it is.
#[derive(Clone, Debug, Default)]
pub struct Dockerfile {
    /// What it is built on.
    pub bases: Vec<Reference>,
    /// Whether it is built on something else each time, which a build arg says.
    pub is_open: bool,
}

/// What compose files say.
#[derive(Clone, Debug, Default)]
pub struct Composed {
    /// Services with a `build:` section.
    pub builds: Vec<String>,
    /// How many services there are.
    pub services: usize,
    /// Why they cannot be read.
    pub trouble: Option<String>,
}

/// What is asked for beside the settings.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A team's own `xtask`, and where it has this program from.
    pub thin: Option<Source>,
    /// A workflow.
    pub workflow: bool,
    /// Whether the settings may name definitions.
    pub definitions: bool,
}

/// What comes of it.
#[derive(Clone, Debug, Default)]
pub struct Proposal {
    /// What was found, a fact a line.
    pub said: Vec<String>,
    /// What to write.
    pub plan: Plan,
}

/// Says what a tree is and what to write.
pub fn propose(found: &Found, wanted: &Wanted) -> Proposal {
    let choice = services::choose(found);
    let mut proposal = Proposal::default();
    proposal.plan.stages.push(Stage {
        phase: Phase::Init,
        replan: None,
        on_failure: OnFailure::EndAfterPhase,
    });
    settings::tell(found, &choice, wanted, &mut proposal.said);
    match found.texts.get(SETTINGS) {
        Some(_) => proposal.keep(SETTINGS),
        None => proposal.write(found, SETTINGS, settings::text(found, &choice, wanted)),
    }
    if found.is_repository || found.texts.contains_key(GITIGNORE) {
        proposal.write(found, GITIGNORE, settings::gitignore(found.texts.get(GITIGNORE).map(String::as_str)));
    }
    if let Some(source) = &wanted.thin {
        thin::add(found, source, &mut proposal);
    }
    if wanted.workflow {
        match found.texts.get(WORKFLOW) {
            Some(_) => proposal.keep(WORKFLOW),
            None => proposal.write(found, WORKFLOW, workflow::text(found, wanted)),
        }
    }
    proposal
}

impl Proposal {
    /// A file as it should be; nothing is done where it is so.
    fn write(&mut self, found: &Found, path: &str, contents: String) {
        let was = found.texts.get(path).cloned();
        if was.as_deref() == Some(contents.as_str()) {
            return self.keep(path);
        }
        let why = if was.is_some() { Reason::TextChanged } else { Reason::FileMissing };
        let kind = StepKind::WriteFile { path: path.to_owned(), contents, was, mode: None };
        self.plan.steps.push(Step::new(Phase::Init, path, kind, why));
    }

    /// A file that is left as it is.
    fn keep(&mut self, path: &str) {
        self.plan.skipped.push(Skipped {
            phase: Phase::Init,
            subject: path.to_owned(),
            why: Reason::Unchanged,
        });
    }
}

#[cfg(test)]
mod tests;
