//! Bundles: all that a rebuild on a machine without a network needs, in one file that other tools read too.
//!
//! ```text
//! engine -> store (blobs) -> archive (one .tar, a folder, parts) -> open -> contents -> verify -> engine
//! ```
//! [`manifest`] has the nouns.

pub mod manifest;
