//! The integration binary: one module per command, and the house itself.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests panic where something is wrong, say what they skip, and start the program"
)]

extern crate xtask_images as xtask;

mod affected;
mod base_images;
mod builders;
mod bump;
mod bundle;
mod calls;
mod completions;
mod docs;
mod doctor;
mod error_page;
mod errors;
mod files;
mod foreign;
mod forges;
mod help;
mod house;
mod lock;
mod matrix;
mod names;
mod outside;
mod page;
mod pages;
mod plan;
mod platforms;
mod repo;
mod secrets;
mod templates;
mod terminal;
#[path = "../../src/testing.rs"]
mod testing;
mod trials;
mod truth;
mod workflows;
