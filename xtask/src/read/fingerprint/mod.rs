//! Content keys: what an image is made of, reduced to one digest that a label carries.
//!
//! [`canonical`] is pure (inputs to key), [`files`] reads and hashes the context, `sources` follows their symlinks, [`cache`]
//! remembers hashes of files that have not been touched. Two trees with the same content reach the same key on any machine.

pub mod cache;
pub mod canonical;
pub mod files;
pub mod listing;
mod sources;
