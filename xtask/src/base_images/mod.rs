//! Base images: what they need beyond what any image of the tree needs.

pub mod artifact;
