//! The integration binary: one module per command, and the house itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod docs;
mod errors;
mod files;
mod foreign;
mod help;
mod house;
mod plan;
mod repo;
#[path = "../../src/testing.rs"]
mod testing;
mod truth;
