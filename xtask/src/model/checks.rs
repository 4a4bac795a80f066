//! What a service wants its image to pass, as its `service.toml` says.

use super::Digest;
use serde::{Deserialize, Serialize};

/// What is wanted of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// No image may be larger, in bytes.
    pub size_budget: Option<u64>,
    /// Its test, where it has one: of a stage that is one, or of the image itself.
    pub test: Option<TestCommand>,
}

/// What a test runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestCommand {
    /// Nothing: its instructions are the test, and an image that is built has passed.
    Instructions,
    /// What the image itself starts.
    OfImage,
    /// These words, in the image, without its entrypoint.
    Words(Vec<String>),
}

/// A test that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// What was tested, and how.
    pub key: Digest,
    /// When, RFC 3339.
    pub at: String,
}
