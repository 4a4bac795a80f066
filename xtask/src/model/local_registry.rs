//! A registry on this machine, as a plan asks for one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A registry to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySpec {
    /// The folder for everything of it, relative to the root; it is made, and goes with it.
    pub home: String,
    /// The port on 127.0.0.1 that is tried first.
    pub port: u16,
    /// What is on its container.
    pub labels: BTreeMap<String, String>,
    /// How long it runs.
    pub lifetime: Lifetime,
}

/// How long a registry runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// No longer than this process.
    AsLongAsWeDo,
    /// Until somebody takes it away.
    UntilDown,
}
