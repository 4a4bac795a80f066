//! The only door to a container engine. Nothing outside this folder knows bollard or Docker's HTTP API.
//!
//! `traits.rs` has what is asked of one, `any.rs` whichever there is, `failure.rs` what goes wrong; `connect.rs` finds one and
//! `bollard.rs` speaks with it, over our own transport (`http.rs`, `tls.rs`, `ssh.rs`).

mod any;
mod archive;
pub(crate) mod beside;
mod bollard;
pub mod builders;
pub(crate) mod classify;
pub mod compose;
mod connect;
mod container;
pub mod elsewhere;
mod endpoint;
mod failure;
mod fake;
pub(crate) mod http;
mod indexes;
pub(crate) mod layout;
mod observe;
mod patience;
pub mod provision;
pub mod recipe;
mod ssh;
pub(crate) mod stall;
mod survey;
mod tls;
mod traits;
mod transfer;

use std::time::Duration;

use crate::model::{LogStream, Unit};

pub use any::AnyEngine;
pub use archive::{ByteStream, Loaded};
pub use bollard::DockerEngine;
pub use connect::{Found, Surroundings, connect, endpoints, find};
pub use failure::EngineError;
pub use fake::{FakeBehaviour, FakeBuild, FakeEngine, Fault, Verb, fake_image};
pub use patience::patiently;
pub use survey::{ImageStore, Survey};
pub use traits::{Containers, Store};
pub use transfer::ASKED_WITHOUT_LOGIN;

/// How far a pull, push or build is, or what it prints.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Further along.
    Moved {
        /// How far.
        done: u64,
        /// Of how much; 0 when nobody knows.
        total: u64,
        /// Counted in what.
        unit: Unit,
        /// The running instruction or layer.
        detail: Option<String>,
    },
    /// A line of output.
    Log {
        /// Where it was printed.
        stream: LogStream,
        /// Without its newline.
        line: String,
    },
    /// Odd, but it goes on.
    Warning(String),
    /// What one instruction of a build did, told at its end.
    Part {
        /// The builder's name for it: `[builder 2/5] RUN npm ci`.
        name: String,
        /// After the build's first instruction.
        began: Duration,
        /// How long it took.
        took: Duration,
        /// Whether its result was there already.
        cached: bool,
        /// Whether it failed by itself.
        failed: bool,
    },
}

/// Takes progress as it happens; called from async code, so it must not block.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);
