#![doc = include_str!("../README.md")]
//! # The house
//!
//! ```text
//! discover -> parse -> graph -> observe -> plan -> execute -> report
//! '---------------- read ---------------'  '- decide -' '- do -'  '- show -'
//! ```
//!
//! What is not named above is the program's own, and changes whenever it has to. These are its rooms, in the order in which
//! they are read; docs/architecture.md in the repository is the tour.

pub use clap;
pub use cli::app::{App, main, main_with, root};

// What was typed, and one file a command that answers it. Nobody imports it.
#[doc(hidden)]
pub mod cli;

// Flags, environment, `.env` and files to one complete `Config`; the only reader of the environment.
#[doc(hidden)]
pub mod settings;

// Reading Dockerfiles is a crate of its own, `dockerfile` (../../dockerfile-model).

// A folder to a tree: services found, templates rendered, contexts hashed, images in the order of building.
#[doc(hidden)]
pub mod read;

// Pure: a request and what is known to a plan; one file a phase.
#[doc(hidden)]
pub mod plan;

// Runs any plan: each step as soon as what it needs is done.
#[doc(hidden)]
pub mod execute;

// Who builds: BuildKit's own API, and what a builder may ask us meanwhile.
#[doc(hidden)]
pub mod build;

// The only door to a container engine: images and containers.
#[doc(hidden)]
pub mod engine;

// The only door to a registry's HTTP API, its credentials, and a registry on this machine.
#[doc(hidden)]
pub mod registry;

// Downloaded input files, held to their digests.
#[doc(hidden)]
pub mod artifact;

// What base images need beyond what any image needs: versions, contract, trials.
#[doc(hidden)]
pub mod base_images;

// The archive that carries everything to a machine without a network.
#[doc(hidden)]
pub mod bundle;

// What is fit for the job on this machine, and what is not.
#[doc(hidden)]
pub mod doctor;

// What has to be said of a tree that was never made for this program.
#[doc(hidden)]
pub mod init;

// The stream of what happens, and what must never be shown in it.
#[doc(hidden)]
pub mod events;

// Events to what people and CI systems see: terminal, lines, JSON, records, pages.
#[doc(hidden)]
pub mod report;

// Plain data that all rooms know.
#[doc(hidden)]
pub mod model;

// This machine: its commands, the one way to write files, one run at a time.
#[doc(hidden)]
pub mod host;

// All checks of this repository, and trees to measure with.
#[doc(hidden)]
pub mod ci;

#[cfg(test)]
pub(crate) mod testing;
