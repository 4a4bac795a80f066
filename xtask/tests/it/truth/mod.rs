//! Up to date means up to date: what rebuilds which image, and what rebuilds none.
//!
//! The tests named `cNN_…` are the ways in which content keys of other programs go wrong, in the order of the list
//! that this program was written from; each was seen failing with the code broken on purpose.

mod lab;
mod names;
mod rebuilds;
mod services;
mod traps;
mod triggers;
mod trouble;
