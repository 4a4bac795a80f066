//! Whether an instruction is wrong, where that depends on what its stage's base image says.
//!
//! In: where the doubt arose, and what the image's configuration says. Out: what is wrong, or nothing. Whoever reads
//! only the Dockerfile has to leave these open.

use std::collections::BTreeMap;

use crate::Reference;

/// One thing that a base image decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseDoubt {
    /// Whose configuration it is.
    pub base: Reference,
    /// 1-based line.
    pub line: u32,
    /// What is wrong with it then.
    pub message: String,
    pub(crate) when: When,
}

/// When something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// The base image works in `/`.
    WorksInRoot,
    /// It sets none of these variables.
    SetsNone(Vec<String>),
}

impl BaseDoubt {
    /// Whether it is wrong on a base image with this WORKDIR (empty is `/`) and environment.
    pub fn holds(&self, workdir: &str, env: &BTreeMap<String, String>) -> bool {
        match &self.when {
            When::WorksInRoot => workdir.split('/').all(str::is_empty),
            When::SetsNone(names) => {
                names.iter().all(|name| env.get(name).is_none_or(|value| value.is_empty()))
            }
        }
    }
}
