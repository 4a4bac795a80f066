//! Shows and keeps what happens. In: [`Event`]s. Out: bars, lines, JSON, files.
//!
//! It never starts, stops or decides anything, and knows neither engine nor executor. stdout is data; everything in
//! here that people read goes to stderr.

pub mod bug;
pub mod canvas;
mod columns;
pub mod estimate;
pub mod frame;
pub mod github;
pub mod gitlab;
pub mod history;
pub mod html;
pub mod json;
pub mod junit;
pub mod line;
pub mod markdown;
mod missing;
pub mod notice;
pub mod places;
pub mod plain;
pub mod record;
pub mod resolve;
pub mod running;
pub mod sizes;
pub mod summary;
pub mod table;
pub mod text;
pub mod transcript;
pub mod trends;
pub mod tty;

#[cfg(test)]
#[expect(missing_docs, reason = "for the tests of this folder only")]
pub mod testing;

use std::io::{self, Write};

use self::notice::Notice;
use self::places::Places;
use self::resolve::{Colour, Display, Forge, Mode};
use crate::events::Sink;
use crate::model::Event;

pub use self::tty::{ExpectedBuilds, leave};

/// The eye for a display, on stderr. `record` is the folder of the run's record, to be named when something failed;
/// `places` says where in the repository that is, `expected_builds` what the run is expected to take.
pub fn eye(
    display: Display,
    record: Option<String>,
    places: Places,
    expected_builds: Option<ExpectedBuilds>,
) -> Box<dyn Sink> {
    match display.mode {
        Mode::Tty => Box::new(tty::Tty::new(tty::Stderr::default(), display, record, expected_builds)),
        Mode::Plain | Mode::Quiet => Box::new(plain::Plain::new(io::stderr(), display, record, places)),
        Mode::Json => Box::new(json::Json::new(io::stderr(), display.forge)),
    }
}

/// Tells on stderr an event of no run.
pub fn tell_event(event: &Event, forge: Forge) {
    let mut sink = json::Json::new(io::stderr(), forge);
    // As below.
    let _ = sink.take(event);
}

/// Tells on stderr what went wrong outside of a run's screen, or after it.
pub fn tell(failure: &Notice, colour: Colour, forge: Forge) {
    let mut text = String::new();
    if forge == Forge::GitHub {
        text.push_str(&github::telling(failure));
        text.push('\n');
    }
    for line in failure.lines(colour).iter().flat_map(|line| line::for_log(line)) {
        text.push_str(&forge.harmless(&line));
        text.push('\n');
    }
    // Nobody is left to tell that stderr is gone; the exit code still speaks.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
