//! Base images: what they need beyond what any image of the tree needs.

pub mod checks;
mod http;
pub mod local_registry;
pub mod smoke;
pub mod trial;
