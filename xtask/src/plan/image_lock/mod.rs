//! `images.lock`: which content each external image has that the Dockerfiles name.
//!
//! `text.rs` the file's text, in and out; `uses.rs` who names what; `update.rs` what a new look at the world changes in
//! it; `judge.rs` the store against it. All pure but `find.rs`, which asks registries. [lock.md](../../../docs/lock.md)
//! says what people see of it.

pub mod judge;
pub mod text;
pub mod update;
pub mod uses;
