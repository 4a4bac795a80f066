//! EFFECT: a folder to a tree. `tree` puts it together; what the others make of texts is pure.
//!
//! `discover` finds the folders of services, `conf` and `template` read and render the small files beside a Dockerfile,
//! `fingerprint` walks and hashes what builds can read, `graph` links images to what they build on, `interest` says which changes count,
//! `compose` reads
//! what compose files start, `revision` is a tree as a commit has it.

pub mod compose;
pub mod conf;
pub mod definitions;
pub mod discover;
pub mod fingerprint;
pub mod graph;
pub mod interest;
pub mod passed;
pub mod revision;
pub mod sizes;
pub mod template;
pub mod tree;
pub mod yaml;
