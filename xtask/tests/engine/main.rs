//! The engine's contract: the same test on the engine in memory and on a real one.
//!
//! The real one is the endpoint in `XTASK_TEST_DOCKER_HOST`, else a private engine started here (root and
//! `dockerd` needed), else these tests say aloud that they were skipped. With `CI` set, a missing engine is a
//! failure.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests say what they skip, panic where something is wrong, and start the programs that they need"
)]

extern crate xtask_images as xtask;

mod broken_off;
mod cache;
mod carried;
mod checks;
mod clean;
mod commands;
mod contract;
mod elsewhere;
mod endpoints;
#[path = "../support/faulty_proxy.rs"]
#[allow(dead_code, reason = "unit tests of the registry's API use the rest")]
mod faulty_proxy;
mod former;
mod listed;
mod lock;
mod measure;
mod names;
mod offline;
mod planned;
mod push;
mod real;
mod registry_trouble;
mod secrets;
mod selection;
mod shell;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "another test target uses the rest")]
mod support;
mod survival;
#[path = "../../src/testing.rs"]
#[allow(dead_code, reason = "unit tests use the rest")]
mod testing;
mod trials;
mod world;
