//! Bundles: all that a rebuild on a machine without a network needs, in one file that other tools read too.
//!
//! ```text
//! engine -> store (blobs) -> archive (one .tar, a folder, parts) -> open -> contents -> verify -> engine
//!      fetch                                                                          deliver
//! ```
//! [`manifest`] has the nouns, [`layout`] the bytes that follow from them, [`inventory`] what a receiver has already.

/// Where layers are kept between runs, relative to the root.
pub const BLOBS: &str = "target/xtask/cache/blobs";

pub mod archive;
pub mod closure;
pub mod completed;
pub mod contents;
pub mod deliver;
pub mod diff;
pub mod displaced;
mod docker_archive;
pub mod fetch;
pub mod finding;
pub mod inspect;
pub mod inventory;
pub mod layout;
pub mod load;
pub mod manifest;
mod oci_archive;
pub mod open;
mod originals;
mod packed;
mod parts;
mod pipe;
pub mod plan;
pub mod proven;
mod saved;
pub mod store;
mod stream_thread;
mod sync;
mod tarball;
mod temporary_registry;
#[cfg(test)]
mod tests;
pub mod verify;
