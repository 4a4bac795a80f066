//! Base images: what they need beyond what any image of the tree needs.

pub mod bump;
pub mod checks;
pub mod clean;
pub mod contract;
pub mod matrix;
pub mod smoke;
pub mod trial;
