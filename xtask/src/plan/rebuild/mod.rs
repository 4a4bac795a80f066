//! Pure: what a machine without a network can build again, and what not, before anything is started.
//!
//! [`lineage`] says what the stages of an image are made of, instruction by instruction, and which stages are kept as
//! images of their own so that a builder finds their layers again; [`forecast`] compares that with what was recorded in
//! those images; [`network`] knows which instructions ask a server, and
//! [`preview`] puts it all together, image by image. Nothing here builds, reads files or asks an engine.

pub mod forecast;
pub mod lineage;
pub mod network;
pub mod preview;

#[cfg(test)]
mod tests;
