//! What steps print, kept until they are over, so that it is shown in one piece: builds run side by side, and lines of
//! several do not mix. Pure; bounded, for the log on disk has all of it.

use std::collections::{HashMap, VecDeque};

use super::text::{cut, neutralise};
use crate::model::{Event, EventKind, StepId};

/// At most so many lines and bytes of a step, the last ones.
const MAX_LINES: usize = 2_000;
const MAX_BYTES: usize = 512 * 1024;
/// A build can print megabytes without a newline.
const MAX_COLUMNS: usize = 2_000;

/// What the running steps printed so far.
#[derive(Clone, Debug, Default)]
pub struct Transcripts {
    steps: HashMap<StepId, Transcript>,
}

/// What one step printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The last lines, harmless.
    pub lines: VecDeque<String>,
    /// How many lines came before them.
    pub before: usize,
    bytes: usize,
}

impl Transcripts {
    /// One event further. Of a step that ends, gives what it printed, if it did.
    pub fn take(&mut self, event: &Event) -> Option<Transcript> {
        match &event.kind {
            EventKind::StepLog { step, line, .. } => {
                if !self.steps.contains_key(step) {
                    self.steps.insert(step.clone(), Transcript::default());
                }
                self.steps.get_mut(step)?.push(line);
                None
            }
            EventKind::StepFinished { step, .. } => self.steps.remove(step),
            _ => None,
        }
    }
}

impl Transcript {
    fn push(&mut self, line: &str) {
        // Cut by bytes first: measuring megabytes takes time, and four bytes are the most that a character has.
        let end = (0..=line.len().min(4 * MAX_COLUMNS)).rev().find(|end| line.is_char_boundary(*end));
        let line = cut(&neutralise(&line[..end.unwrap_or(0)]), MAX_COLUMNS).into_owned();
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(gone) = self.lines.pop_front() else { return };
            self.bytes -= gone.len();
            self.before += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Phase;
    use crate::report::testing::Story;

    fn transcript(lines: impl IntoIterator<Item = String>) -> Transcript {
        let mut story = Story::new();
        for line in lines {
            story.log(Phase::Build, "api", &line).log(Phase::Build, "web", "other");
        }
        story.finish(Phase::Build, "api", 1, None, "");
        let mut all = Transcripts::default();
        let mut found = None;
        for event in &story.events {
            found = all.take(event).or(found);
        }
        found.unwrap()
    }

    #[test]
    fn the_last_lines_of_one_step_are_kept() {
        let kept = transcript((0..MAX_LINES + 5).map(|n| n.to_string()));
        assert_eq!((kept.lines.len(), kept.before, kept.lines[0].as_str()), (MAX_LINES, 5, "5"));
        let long = "é".repeat(20_000_000);
        let kept = transcript([long, "\x1b[2Jend\r".to_owned()]);
        assert!(kept.lines[0].len() <= 2 * MAX_COLUMNS, "{}", kept.lines[0].len());
        assert_eq!(kept.lines[1], "end");
        let wide = transcript((0..600).map(|_| "x".repeat(2_000)));
        assert!(wide.bytes <= MAX_BYTES && wide.before > 0);
    }
}
