//! What can be cleaned away: images that nothing needs, what broken-off runs left, records and caches.
//!
//! In: the store, what the tree needs of it, what containers run, what lies below `target/xtask`. Out: a plan with
//! reasons, and how much it may free. `images.rs` and `reclaim.rs` are pure; `files.rs` lists files and removes none.

pub mod images;
pub mod reclaim;
