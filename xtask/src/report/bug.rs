//! What a panic looks like: short, told as a bug of this program, with what a report of it needs. Exit code 1, never 101.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use super::notice::Notice;
use super::resolve::Colour;
use crate::events::secrets::Secrets;

/// What the process ends with after a panic.
const EXIT_CODE: u8 = 1;

/// What a panic's message needs to know of the run, as it becomes known.
#[derive(Clone, Debug, Default)]
pub struct RunNotes {
    /// Values to leave out.
    pub secrets: Secrets,
    /// Where the run's record lies, relative to the root.
    pub record: Arc<OnceLock<String>>,
}

/// Does all that the program does. A panic, in whatever thread, is told as a bug; one that reaches this thread ends
/// it with exit code 1.
pub fn guard(notes: &RunNotes, program: impl FnOnce() -> ExitCode) -> ExitCode {
    let notes = notes.clone();
    std::panic::set_hook(Box::new(move |info| {
        super::leave();
        let mut text = describe(info, &notes).lines(Colour::No).join("\n");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            text.push_str(&format!("\n{backtrace}"));
        }
        text.push('\n');
        // Nobody is left to tell that stderr is gone.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }));
    // Whatever the panic left half done is gone with the program: nothing looks at it again.
    catch_unwind(AssertUnwindSafe(program)).unwrap_or_else(|_| ExitCode::from(EXIT_CODE))
}

fn describe(info: &PanicHookInfo<'_>, notes: &RunNotes) -> Notice {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    telling(info.payload_as_str().unwrap_or("no message"), &place, notes)
}

fn telling(message: &str, place: &str, notes: &RunNotes) -> Notice {
    let record = notes.record.get().map(|record| format!(", with {record}")).unwrap_or_default();
    Notice {
        causes: vec![format!("{} ({place})", notes.secrets.redact(message))],
        hints: vec![format!("please report it{record}; RUST_BACKTRACE=1 shows how it came to this")],
        ..Notice::error("this is a bug in xtask")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_as_a_bug() {
        let notes = RunNotes::default();
        notes.secrets.add("a login", "hunter2");
        let lines = |notes: &RunNotes| {
            let failure = telling("index out of bounds: hunter2", "xtask/src/x.rs:1:2", notes);
            failure.lines(Colour::No).join("\n")
        };
        insta::assert_snapshot!(lines(&notes), @"
        error: this is a bug in xtask
          caused by: index out of bounds: *** (xtask/src/x.rs:1:2)
        hint: please report it; RUST_BACKTRACE=1 shows how it came to this
        ");
        notes.record.set("target/xtask/runs/8d2".to_owned()).unwrap();
        insta::assert_snapshot!(lines(&notes), @"
        error: this is a bug in xtask
          caused by: index out of bounds: *** (xtask/src/x.rs:1:2)
        hint: please report it, with target/xtask/runs/8d2; RUST_BACKTRACE=1 shows how it came to this
        ");
    }
}
