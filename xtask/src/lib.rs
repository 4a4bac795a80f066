//! `cargo xtask`: builds every container image of a monorepo, in order, once, and says why.
#![doc = ""]
//! ```text
//! discover -> parse -> graph -> observe -> plan -> execute -> report
//! '---------------- read ---------------'  '- decide -' '- do -'  '- show -'
//! ```

pub use cli::main;

pub mod base_images;
pub mod bench_tree;
pub mod bundle;
pub mod ci;
pub mod clean;
pub mod cli;
pub mod compose;
pub mod conf;
pub mod config;
pub mod discover;
pub mod dockerfile;
pub mod doctor;
pub mod dotenv;
pub mod engine;
pub mod env;
pub mod error;
pub mod events;
pub mod excerpt;
pub mod execute;
pub mod fingerprint;
pub mod graph;
pub mod harmless;
pub mod ignorefile;
pub mod image_lock;
pub mod inside;
pub mod interpolate;
pub mod lock;
pub mod model;
pub mod network;
pub mod os;
pub mod plan;
pub mod rebuild;
pub mod registry;
pub mod report;
pub mod retry;
pub mod revision;
pub mod secrets;
pub mod status;
pub mod suggest;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
pub mod toml_words;
pub mod tree;
pub mod web;
