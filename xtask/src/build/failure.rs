//! What goes wrong with a build: what kind of failure it is, where it happened, and what helps.

use std::time::Duration;

use crate::engine::EngineError;
use crate::host::retry::Retriable;
use crate::model::{ErrorKind, Phase};

/// Bytes of an instruction that a message shows.
const MAX_INSTRUCTION: usize = 100;
/// What the kernel says of a program for another processor.
const OTHER_PROCESSOR: &str = "exec format error";
const EMULATION: &str =
    "its program is for another processor than the engine's, which needs emulation (binfmt) to run it";

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// An instruction of the Dockerfile failed, or the builder refused the Dockerfile.
    #[error("{}", failed_instruction(instruction, *exit_code, cause))]
    Failed {
        /// `RUN npm ci`, where the builder said which.
        instruction: Option<String>,
        /// 1-based line in the Dockerfile, where it could be found.
        line: Option<u32>,
        /// Exit status of the instruction's process.
        exit_code: Option<i64>,
        /// What the builder said.
        cause: String,
        /// What the instruction printed, as far as that tells why it failed.
        last_lines: Vec<String>,
    },
    /// A context file changed or vanished between hashing and sending.
    #[error("{path} changed while it was being sent to the builder: {what}")]
    ContextChanged {
        /// Relative to the context.
        path: String,
        /// `size 12 became 14`, `vanished`
        what: String,
    },
    /// The builder's end, or that of a registry that it asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn failed_instruction(instruction: &Option<String>, exit_code: Option<i64>, cause: &str) -> String {
    match (instruction, exit_code) {
        (Some(instruction), Some(code)) => format!("`{}` exited with status {code}", one_line(instruction)),
        (Some(instruction), None) => format!("`{}` failed: {cause}", one_line(instruction)),
        (None, _) => cause.to_owned(),
    }
}

/// An instruction as a message names it; the Dockerfile has all of it.
fn one_line(instruction: &str) -> String {
    let mut line = instruction.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > MAX_INSTRUCTION {
        line.truncate(line.floor_char_boundary(MAX_INSTRUCTION));
        line.push_str("...");
    }
    line
}

impl Retriable for BuildError {
    fn worth_retrying_after(&self) -> Option<Duration> {
        match self {
            Self::Engine(error) => error.worth_retrying_after(),
            Self::Failed { .. } | Self::ContextChanged { .. } => None,
        }
    }
}

impl BuildError {
    /// The kind, where no phase says more.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Failed { .. } => ErrorKind::BuildFailed,
            Self::ContextChanged { .. } => ErrorKind::ContextChanged,
            Self::Engine(error) => error.kind(),
        }
    }

    /// The kind of a step's failure: but for the engine's own end, it is what its phase was for.
    pub fn kind_in(&self, phase: Phase) -> ErrorKind {
        phase.kind_of_failure(self.kind())
    }

    /// Where in the Dockerfile that was built an instruction failed: `src/frontend/Dockerfile:12`.
    pub fn place(&self, dockerfile: &str) -> Option<String> {
        let Self::Failed { instruction: Some(_), line, .. } = self else { return None };
        Some(line.map_or_else(|| dockerfile.to_owned(), |line| format!("{dockerfile}:{line}")))
    }

    /// The text, behind the place of the failed instruction in the Dockerfile that was built:
    /// `` src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1 ``.
    pub fn told_at(&self, dockerfile: &str) -> String {
        match self.place(dockerfile) {
            Some(place) if self.lacks_emulation() => format!("{place}: {self}\n{EMULATION}"),
            Some(place) => format!("{place}: {self}"),
            None => self.to_string(),
        }
    }

    /// What the failed instruction printed.
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::Failed { last_lines, .. } => last_lines,
            Self::ContextChanged { .. } | Self::Engine(_) => &[],
        }
    }

    /// Whether it failed because its program is for another processor.
    fn lacks_emulation(&self) -> bool {
        let Self::Failed { cause, last_lines, .. } = self else { return false };
        last_lines.iter().chain([cause]).any(|line| line.contains(OTHER_PROCESSOR))
    }

    /// What helps, where more does than trying again.
    pub fn hints(&self) -> Vec<String> {
        if self.lacks_emulation() {
            return vec![
                "`apt-get install qemu-user-static binfmt-support` on the engine's machine lets it run such programs"
                    .to_owned(),
                "only `RUN` needs that: a Dockerfile of `FROM` and `COPY` is built for any platform without it"
                    .to_owned(),
            ];
        }
        let hint = match self {
            Self::Engine(error) => error.hint(),
            Self::ContextChanged { .. } => {
                Some("run the same command again when nothing else writes to the tree")
            }
            Self::Failed { .. } => None,
        };
        hint.map(str::to_owned).into_iter().collect()
    }
}
