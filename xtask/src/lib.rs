//! `cargo xtask`: builds every container image of a monorepo, in order, once, and says why.
#![doc = ""]
//! ```text
//! discover -> parse -> graph -> observe -> plan -> execute -> report
//! '---------------- read ---------------'  '- decide -' '- do -'  '- show -'
//! ```
//!
//! The rooms, in the order in which they are read. [docs/architecture.md](../../docs/architecture.md) is the tour.

pub use cli::main;

// What was typed, and one file a command that answers it. Nobody imports it.
pub mod cli;

// Flags, environment, `.env` and files to one complete `Config`; the only reader of the environment.
pub mod settings;

// Reading Dockerfiles is a crate of its own, `dockerfile` (../../dockerfile-model).

// A folder to a tree: services found, templates rendered, contexts hashed, images in the order of building.
pub mod read;

// Pure: a request and what is known to a plan; one file a phase.
pub mod plan;

// Runs any plan: each step as soon as what it needs is done.
pub mod execute;

// Who builds: BuildKit's own API, and what a builder may ask us meanwhile.
pub mod build;

// The only door to a container engine: images and containers.
pub mod engine;

// The only door to a registry's HTTP API, its credentials, and a registry on this machine.
pub mod registry;

// Downloaded input files, held to their digests.
pub mod artifact;

// What base images need beyond what any image needs: versions, contract, trials.
pub mod base_images;

// The archive that carries everything to a machine without a network.
pub mod bundle;

// What is fit for the job on this machine, and what is not.
pub mod doctor;

// The stream of what happens, and what must never be shown in it.
pub mod events;

// Events to what people and CI systems see: terminal, lines, JSON, records, pages.
pub mod report;

// Plain data that all rooms know.
pub mod model;

// This machine: its commands, the one way to write files, one run at a time.
pub mod host;

// All checks of this repository, and trees to measure with.
pub mod ci;

#[cfg(test)]
pub(crate) mod testing;
