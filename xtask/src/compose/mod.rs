//! Compose files: which images they start ([`mod@file`], pure), and starting and stopping what they describe ([`runner`]).

pub mod file;
pub mod runner;
