//! What a command asks of the plan: which phases, of which images, and how.

use std::collections::BTreeMap;

use crate::model::{FailFast, Phase, Plan, Reason, Reference};

/// Which images a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Services, by name, with the base images that they need.
    Services,
    /// Base images, by system.
    BaseImages,
    /// Stages of services, each as an image of its own, by the service's name.
    Stages,
    /// What services are tested by, by the service's name.
    Tests,
}

/// A tag that was typed as the first word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagWord {
    /// Of which command: `build-all`.
    pub command: &'static str,
    /// The word.
    pub word: String,
}

/// Whether base images that are here are pulled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Never.
    No,
    /// Where a registry says that the tag stands for another image by now (`--pull`).
    IfMoved,
    /// In any case (`--pull` of `BUILD_ARGS`).
    Always,
}

/// Whether the builder checks Dockerfiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lint {
    /// It does not.
    No,
    /// It does, before anything is built.
    Yes,
}

/// Which tests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tests {
    /// Those that have not passed as things are now.
    IfChanged,
    /// All.
    Anew,
}

/// What a command wants of the pipeline.
#[derive(Clone, Debug)]
pub struct Request {
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// Which images it is about.
    pub subject: Subject,
    /// `--only`, `--os` or names; empty is all.
    pub only: Vec<String>,
    /// Who says `only`, where it is not the command line: `ONLY_OS in .env`.
    pub only_source: Option<String>,
    /// The first word, of a command that takes a tag there.
    pub tag_of: Option<TagWord>,
    /// `--skip`, `--skip-os`
    pub skip: Vec<String>,
    /// Who says `skip`.
    pub skip_source: Option<String>,
    /// References named beside services (`prefetch IMAGE`, `alias REF`); their images are not looked for in the tree.
    pub references: Vec<Reference>,
    /// Only `references`, nothing that the tree names.
    pub references_only: bool,
    /// Print the plan and do nothing.
    pub dry_run: bool,
    /// Exit 15 if the plan would change anything, and do nothing.
    pub check: bool,
    /// Aliases that disagree follow the preferred name.
    pub fix: bool,
    /// Stop at the first failure.
    pub fail_fast: FailFast,
    /// A failed pull decides the exit code even if the rest went well.
    pub pulls_count: bool,
    /// Pull only inside the internal network, where a name that is missing may be had from its registry (`alias`).
    pub internal_pulls_only: bool,
    /// Only what was named, not what it builds on (`push`).
    pub no_needs: bool,
    /// What becomes of base images that are here already.
    pub renew: Renewal,
    /// What registries said of those, where they were asked.
    pub tags: BTreeMap<Reference, Reason>,
    /// Which tests are run.
    pub tests: Tests,
    /// Whether the builder checks Dockerfiles.
    pub lint: Lint,
    /// What the command planned itself.
    pub prepared: Plan,
}

impl Request {
    /// Everything of these phases.
    pub fn of(phases: &[Phase]) -> Self {
        Self {
            phases: phases.to_vec(),
            subject: Subject::Services,
            only: Vec::new(),
            only_source: None,
            tag_of: None,
            skip: Vec::new(),
            skip_source: None,
            references: Vec::new(),
            references_only: false,
            dry_run: false,
            check: false,
            fix: false,
            fail_fast: FailFast::No,
            pulls_count: false,
            internal_pulls_only: false,
            no_needs: false,
            renew: Renewal::No,
            tags: BTreeMap::new(),
            tests: Tests::IfChanged,
            lint: Lint::No,
            prepared: Plan::default(),
        }
    }

    /// Whether it has a phase.
    pub fn has(&self, phase: Phase) -> bool {
        self.phases.contains(&phase)
    }

    /// What is left once base images are pulled and named.
    pub fn after_prefetch(&self) -> Self {
        let is_left = |phase: &Phase| !matches!(phase, Phase::Download | Phase::Prefetch | Phase::Alias);
        Self { phases: self.phases.iter().copied().filter(is_left).collect(), ..self.clone() }
    }

    /// What comes before: base images, pulled and named.
    pub fn until_build(&self) -> Self {
        let is_of_bases = |phase: &Phase| matches!(phase, Phase::Prefetch | Phase::Alias);
        let phases = self.phases.iter().copied().filter(is_of_bases).collect();
        Self { phases, prepared: Plan::default(), ..self.clone() }
    }

    /// Whether the network decides anything.
    pub fn asks_network(&self) -> bool {
        self.has(Phase::Prefetch) || self.has(Phase::Alias)
    }

    /// Whether it is about all services: nothing was chosen or left out.
    pub fn is_of_all(&self) -> bool {
        self.subject == Subject::Services && self.only.is_empty() && self.skip.is_empty()
    }

    /// Whether it is about base images.
    pub fn is_of_bases(&self) -> bool {
        self.subject == Subject::BaseImages
    }

    /// Whether it is about images of this tree, not only about files and base images.
    pub fn needs_images(&self) -> bool {
        self.phases.is_empty()
            || self
                .phases
                .iter()
                .any(|p| matches!(p, Phase::Build | Phase::Verify | Phase::Push | Phase::CleanUp))
    }

    /// Whether anything can be done without an engine.
    pub fn needs_engine(&self) -> bool {
        let needs = |p: &Phase| !matches!(p, Phase::Init | Phase::Bump | Phase::SyncConfig | Phase::Render);
        // No phase of the pipeline's own: what follows is about images.
        self.phases.is_empty() || self.phases.iter().any(needs)
    }
}
