//! `cargo xtask`: builds every container image of a monorepo, in order, once, and says why.
#![doc = ""]
//! ```text
//! discover -> parse -> graph -> observe -> plan -> execute -> report
//! '---------------- read ---------------'  '- decide -' '- do -'  '- show -'
//! ```

pub mod conf;
pub mod config;
pub mod discover;
pub mod dotenv;
pub mod engine;
pub mod env;
pub mod model;
pub mod plan;
pub mod suggest;
pub mod template;

#[cfg(test)]
pub(crate) mod testing;
