//! Shows and keeps what happens. In: [`Event`](crate::model::Event)s. Out: bars, lines, JSON, files.
//!
//! It never starts, stops or decides anything, and knows neither engine nor executor.

pub mod resolve;
pub mod text;
