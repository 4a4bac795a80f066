//! Bundles: all that a rebuild on a machine without a network needs, in one file that other tools read too.
//!
//! ```text
//! engine -> store (blobs) -> archive (one .tar, a folder, parts) -> open -> contents -> verify -> engine
//! ```
//! [`manifest`] has the nouns, [`layout`] the bytes that follow from them.

pub mod archive;
pub mod closure;
pub mod contents;
pub mod finding;
pub mod layout;
pub mod manifest;
pub mod open;
mod parts;
mod tarball;
#[cfg(test)]
mod tests;
pub mod verify;
