//! Base images: what they need beyond what any image of the tree needs.

pub mod artifact;
pub mod bump;
pub mod checks;
pub mod clean;
pub mod contract;
mod http;
pub mod local_registry;
pub mod matrix;
pub mod smoke;
pub mod trial;
