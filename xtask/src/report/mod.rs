//! Shows and keeps what happens. In: [`Event`](crate::model::Event)s. Out: bars, lines, JSON, files.
//!
//! It never starts, stops or decides anything, and knows neither engine nor executor. stdout is data; everything in
//! here that people read goes to stderr.

pub mod failure;
pub mod frame;
pub mod history;
pub mod json;
pub mod plain;
pub mod record;
pub mod resolve;
pub mod running;
pub mod summary;
pub mod text;
pub mod tty;

#[cfg(test)]
#[expect(missing_docs, reason = "for the tests of this folder only")]
pub mod testing;
