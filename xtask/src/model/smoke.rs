//! Trying an image out: what is run, what was seen, and what it came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{ExecOutput, Health, ImageDetails, ImageName, Reference};

/// How one image is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeSpec {
    /// Which image of the tree it is.
    pub image: ImageName,
    /// Its system: `debian`.
    pub os: String,
    /// The name by which it is run.
    pub reference: Reference,
    /// What is on its container.
    pub labels: BTreeMap<String, String>,
    /// Commands that are run in it once it is healthy, by the name of what they tell.
    pub commands: Vec<(String, Vec<String>)>,
    /// What is asked over HTTP once it is healthy, if anything.
    pub ask: Option<HttpAsk>,
    /// How long it may take to be healthy, at least; what its own health check grants counts if it is more.
    pub healthy_within: Duration,
    /// What becomes of the container.
    pub afterwards: Afterwards,
    /// What has to be true of it.
    pub expected: Expected,
}

/// What an image has to be, beyond being there and being healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// What `fit version` has to name.
    pub version: Option<String>,
    /// No image may be larger, in bytes.
    pub size_budget: Option<u64>,
    /// At least this many plugins have to be loaded.
    pub plugins: Option<usize>,
    /// How long it may take to end.
    pub stop_within: Duration,
}

/// A question over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAsk {
    /// The port inside the container.
    pub port: u16,
    /// `/actuator/plugins`
    pub path: String,
}

/// What becomes of a container that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It is stopped and removed.
    Remove,
    /// It goes on running, for people to look at.
    Keep,
}

/// What was seen of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeResult {
    /// Which image of the tree it is.
    pub image: ImageName,
    /// Its system.
    pub os: String,
    /// The name by which it was run.
    pub reference: Reference,
    /// What it says about itself; none when the store lacks it.
    pub details: Option<ImageDetails>,
    /// What its health check said last.
    pub health: Health,
    /// How long it took to be healthy, or to be given up.
    pub healthy_after: Duration,
    /// Why it was never healthy, in words; none when it was.
    pub unwell: Option<String>,
    /// What the commands answered, by name.
    pub answers: BTreeMap<String, ExecOutput>,
    /// What HTTP answered: the status and the body, or why there was none.
    pub answered: Option<Result<HttpAnswer, String>>,
    /// How it ended; none when it was kept, or had ended before.
    pub stopped: Option<Stopped>,
    /// How long all of it took.
    pub took: Duration,
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// `200`
    pub status: u16,
    /// The body as text; bytes that are none are replaced.
    pub body: String,
}

/// How a container ended once it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// How long it took.
    pub after: Duration,
    /// Its exit status, where the engine knows it; 137 is an end by force.
    pub exit_code: Option<i64>,
}

/// One thing that has to be true of an image, and whether it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeCheck {
    /// What is looked at: `healthy`, `fit version`.
    pub name: String,
    /// Whether it is as it should be.
    pub verdict: SmokeVerdict,
    /// What was seen, and what was expected where that differs.
    pub detail: String,
}

impl SmokeCheck {
    /// A check from a condition.
    pub fn that(name: &str, holds: bool, detail: impl Into<String>) -> Self {
        let verdict = if holds { SmokeVerdict::Passed } else { SmokeVerdict::Failed };
        Self { name: name.to_owned(), verdict, detail: detail.into() }
    }
}

/// Whether a check passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SmokeVerdict {
    /// As it should be.
    Passed,
    /// Odd, but it counts as passed.
    Warned,
    /// Wrong.
    Failed,
}

impl fmt::Display for SmokeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
        })
    }
}
