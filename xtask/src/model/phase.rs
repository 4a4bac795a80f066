//! The phases of a run, and all the words for them: a further phase is a variant and a line of words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::RunStats;

/// The phases of a run, in order. Their names are the planners' file names, the events' phase names, the
/// commands' names and the headings of the docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Write down what has to be said of a tree.
    Init,
    /// Name another version of the base images everywhere.
    Bump,
    /// Get the artifacts that go into images.
    Download,
    /// Pull the external base images.
    Prefetch,
    /// Make every base image answer to all its names.
    Alias,
    /// Bring `.env` up to `.env.example`.
    SyncConfig,
    /// Render every template.
    Render,
    /// Build what is stale.
    Build,
    /// Keep the stages of images as images of their own, so that they can be rebuilt without a network.
    Keep,
    /// Give images that are made for several platforms their names.
    Index,
    /// Compare the store with the plan.
    Verify,
    /// Push what was built.
    Push,
    /// Give a registry the stages that were kept, for builders elsewhere.
    Cache,
    /// Start a registry on this machine.
    Registry,
    /// Push to it and pull back, before anybody else's registry is told.
    Rehearse,
    /// Pull back what was pushed.
    Pull,
    /// Run images and look at them.
    Test,
    /// Compare what a registry has with what was pushed.
    Confirm,
    /// Take away what the run made to try things.
    CleanUp,
    /// Get images out of the engine and write a bundle of them.
    Save,
    /// Give the engine what a bundle holds.
    Load,
    /// Stop what compose files start.
    Stop,
    /// Start it, and wait until it is well.
    Start,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 23] = [
        Self::Init,
        Self::Bump,
        Self::Download,
        Self::Prefetch,
        Self::Alias,
        Self::SyncConfig,
        Self::Render,
        Self::Build,
        Self::Keep,
        Self::Index,
        Self::Verify,
        Self::Push,
        Self::Cache,
        Self::Registry,
        Self::Rehearse,
        Self::Pull,
        Self::Test,
        Self::Confirm,
        Self::CleanUp,
        Self::Save,
        Self::Load,
        Self::Stop,
        Self::Start,
    ];

    /// The six steps of `build-all`.
    pub const BUILD_ALL: [Self; 6] =
        [Self::Prefetch, Self::Alias, Self::SyncConfig, Self::Render, Self::Build, Self::Verify];

    /// Name, heading, what a step is when it is done, what a thing is that needed nothing, and what a failure says.
    #[rustfmt::skip]
    fn words(self) -> [&'static str; 5] {
        match self {
            Self::Init => ["init", "Init", "written", "there already", "cannot write `{}`"],
            Self::Bump => ["bump", "Bump", "changed", "unchanged", "cannot write `{}`"],
            Self::Download => ["download", "Download", "downloaded", "already here", "cannot get artifact `{}`"],
            Self::Prefetch => ["prefetch", "Prefetch", "pulled", "already here", "cannot pull `{}`"],
            Self::Alias => ["alias", "Alias", "tagged", "in place", "cannot tag `{}`"],
            Self::SyncConfig => ["sync-config", "Sync-config", "synced", "unchanged", "cannot write `{}`"],
            Self::Render => ["render", "Render", "rendered", "unchanged", "cannot render `{}`"],
            Self::Build => ["build", "Build", "built", "up to date", "cannot build image `{}`"],
            Self::Keep => ["keep", "Keep", "kept", "kept already", "cannot keep stage `{}`"],
            Self::Index => ["index", "Index", "indexed", "in place", "cannot make the index `{}`"],
            Self::Verify => ["verify", "Verify", "verified", "up to date", "image `{}` is not as planned"],
            Self::Push => ["push", "Push", "pushed", "already there", "cannot push `{}`"],
            Self::Cache => ["cache", "Cache", "stored", "already there", "cannot store `{}`, so builds elsewhere do without it"],
            Self::Registry => ["registry", "Registry", "started", "runs already", "cannot start a registry on this machine"],
            Self::Rehearse => ["rehearse", "Rehearse", "rehearsed", "not needed", "the rehearsal with a registry on this machine failed at `{}`"],
            Self::Pull => ["pull", "Pull", "pulled", "already here", "cannot pull back `{}`"],
            Self::Test => ["test", "Test", "passed", "not needed", "image `{}` does not pass its test"],
            Self::Confirm => ["confirm", "Confirm", "confirmed", "not needed", "`{}` cannot be confirmed: take it as not published"],
            Self::CleanUp => ["clean-up", "Clean-up", "removed", "kept", "cannot remove `{}`"],
            Self::Save => ["save", "Save", "saved", "already there", "cannot save `{}`"],
            Self::Load => ["load", "Load", "loaded", "already here", "cannot load `{}`"],
            Self::Stop => ["stop", "Stop", "stopped", "stopped already", "cannot stop `{}`"],
            Self::Start => ["start", "Start", "up", "up already", "cannot start `{}`"],
        }
    }

    /// The kebab-case name.
    pub fn name(self) -> &'static str {
        self.words()[0]
    }

    /// The heading, as screens show it.
    pub fn title(self) -> &'static str {
        self.words()[1]
    }

    /// `built`, `pulled`: what a step of the phase is when it is done.
    pub fn done(self) -> &'static str {
        self.words()[2]
    }

    /// `up to date`, `already here`: what a thing of the phase is that needed nothing.
    pub fn idle(self) -> &'static str {
        self.words()[3]
    }

    /// `cannot pull redis:7`: what it means that a step of the phase failed.
    pub fn failure(self, subject: &str) -> String {
        self.words()[4].replace("{}", subject)
    }

    /// The same of several at once; `subjects` is `a` and `b`, quoted but for its ends.
    pub fn failure_of_all(self, subjects: &str) -> String {
        match self {
            Self::Build => format!("cannot build images `{subjects}`"),
            Self::Verify => format!("images `{subjects}` are not as planned"),
            Self::Test => format!("images `{subjects}` do not pass their tests"),
            _ => self.failure(subjects),
        }
    }

    /// `2 pulled, 7 already here`: one phase's totals; empty when there is nothing to say.
    pub fn sentence(self, totals: &RunStats) -> String {
        let [_, _, done, idle, _] = self.words();
        let parts = [
            (totals.done, done),
            (totals.up_to_date, idle),
            (totals.failed, "failed"),
            (totals.skipped, "skipped"),
            (totals.cancelled, "cancelled"),
        ];
        let said =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        said.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_that_failed_are_told_in_the_plural() {
        let told = [Phase::Build, Phase::Verify, Phase::Test].map(|phase| phase.failure_of_all("a` and `b"));
        assert_eq!(
            told,
            [
                "cannot build images `a` and `b`",
                "images `a` and `b` are not as planned",
                "images `a` and `b` do not pass their tests",
            ]
        );
        assert_eq!(Phase::Push.failure_of_all("a` and `b"), "cannot push `a` and `b`");
    }
}
