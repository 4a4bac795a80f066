//! `cargo xtask`: builds every container image of a monorepo, in order, once, and says why.
#![doc = ""]
//! ```text
//! discover -> parse -> graph -> observe -> plan -> execute -> report
//! '---------------- read ---------------'  '- decide -' '- do -'  '- show -'
//! ```

pub mod config;
pub mod dockerfile;
pub mod engine;
pub mod ignorefile;
pub mod model;
