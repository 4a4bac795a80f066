//! Compose files: which images they start ([`project`]), and starting and stopping what they describe ([`runner`]).

mod file;
pub mod project;
pub mod runner;
