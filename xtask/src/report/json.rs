//! `--progress json`: the events, one JSON object a line, on stderr. stdout stays free for a command's own data
//! (`plan --format json`), as `docker buildx --progress rawjson` does it. The format is `docs/events.md`.

use std::io::{self, Write};

use super::resolve::Forge;
use crate::events::Sink;
use crate::model::Event;

/// Writes events as they are.
#[derive(Debug)]
pub struct Json<W> {
    writer: W,
    forge: Forge,
    line: Vec<u8>,
}

impl<W: Write + Send> Json<W> {
    /// Writes to a writer, whose lines somebody may take for more than they are.
    pub fn new(writer: W, forge: Forge) -> Self {
        Self { writer, forge, line: Vec::new() }
    }
}

impl<W: Write + Send> Sink for Json<W> {
    fn name(&self) -> &'static str {
        "the JSON progress on stderr"
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, event)?;
        if self.forge == Forge::GitHub {
            escape_brackets(&mut self.line);
        }
        self.line.push(b'\n');
        self.writer.write_all(&self.line)?;
        self.writer.flush()
    }
}

/// `##[` anywhere in a line begins a command of GitHub's; in a string of JSON a bracket may be written by its number.
fn escape_brackets(line: &mut Vec<u8>) {
    if line.iter().filter(|byte| **byte == b'#').nth(1).is_none() {
        return;
    }
    let mut escaped = Vec::with_capacity(line.len() + 16);
    let mut is_in_string = false;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                escaped.push(byte);
                escaped.extend(bytes.next());
                continue;
            }
            b'"' => is_in_string = !is_in_string,
            b'[' if is_in_string => {
                escaped.extend_from_slice(b"\\u005b");
                continue;
            }
            _ => {}
        }
        escaped.push(byte);
    }
    *line = escaped;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::{Paper, Story, failing_story};
    use super::*;
    use crate::model::{
        ErrorKind, EventKind, Failure, LogStream, Outcome, Phase, Reason, RunStats, StepId, Unit,
    };

    #[test]
    fn what_is_written_reads_back() {
        let paper = Paper::default();
        let mut json = Json::new(paper.clone(), Forge::Nobody);
        for event in &failing_story() {
            json.take(event).unwrap();
        }
        let read: Vec<Event> = paper.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, failing_story());
    }

    #[test]
    fn no_line_is_a_command_of_githubs() {
        let paper = Paper::default();
        let mut json = Json::new(paper.clone(), Forge::GitHub);
        let mut story = Story::new();
        story.log(Phase::Build, "api", r###"##[set-env name=A]b "\"##[error]" [x] #"###);
        story.fail(Phase::Build, "api", "x", &["##[add-mask]a"]);
        for event in &story.events {
            json.take(event).unwrap();
        }
        let text = paper.text();
        assert!(!text.contains("##["), "{text}");
        let read: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, story.events);
    }

    /// One event of each kind. A new kind does not compile until it has a sample here.
    fn samples() -> Vec<EventKind> {
        let step = || StepId::new(Phase::Build, "api");
        let text = || "x".to_owned();
        let failure = || Failure {
            kind: ErrorKind::NotHere,
            what: text(),
            place: Some(text()),
            causes: vec![text()],
            hints: vec![text()],
        };
        let (phase, subject, why) = (Phase::Build, text(), text());
        let samples = vec![
            EventKind::RunStarted {
                run: text(),
                command: text(),
                images: 1,
                base_images: 1,
                engine: Some(text()),
                network: Some(text()),
            },
            EventKind::PhaseStarted { phase, position: 1, of: 1, steps: 1, skipped: 1 },
            EventKind::PhaseFinished { phase, summary: text() },
            EventKind::StepStarted { step: step(), phase, subject: subject.clone(), why: why.clone() },
            EventKind::StepProgress {
                step: step(),
                done: 1,
                total: 1,
                unit: Unit::Bytes,
                detail: Some(text()),
            },
            EventKind::StepLog { step: step(), stream: LogStream::Stdout, line: text() },
            EventKind::StepPart { step: step(), part: text(), began: 0, took: 1, cached: true, failed: true },
            EventKind::StepWarning { step: Some(step()), message: text() },
            EventKind::StepRetrying { step: step(), attempt: 1, delay: 1, cause: text() },
            EventKind::StepFinished {
                step: step(),
                phase,
                subject: subject.clone(),
                outcome: Outcome::Failed,
                took: 1,
                detail: text(),
                size: Some(1),
                last_lines: vec![text()],
                log: Some(text()),
                error: Some(ErrorKind::BuildFailed),
                place: Some(text()),
                failure: Some(failure()),
            },
            EventKind::StepSkipped {
                phase,
                subject,
                outcome: Outcome::Failed,
                why,
                reason: Some(Reason::Offline),
                error: Some(ErrorKind::NotHere),
                failure: Some(failure()),
            },
            EventKind::Announced { message: text() },
            EventKind::CancelRequested { cause: text() },
            EventKind::Error {
                error: ErrorKind::EngineGone,
                what: text(),
                causes: vec![text()],
                last_lines: vec![text()],
                hints: vec![text()],
            },
            EventKind::RunFinished { outcome: Outcome::Done, exit_code: 0, stats: RunStats::default() },
        ];
        let place = |kind: &EventKind| match kind {
            EventKind::RunStarted { .. } => 0,
            EventKind::PhaseStarted { .. } => 1,
            EventKind::PhaseFinished { .. } => 2,
            EventKind::StepStarted { .. } => 3,
            EventKind::StepProgress { .. } => 4,
            EventKind::StepLog { .. } => 5,
            EventKind::StepPart { .. } => 6,
            EventKind::StepWarning { .. } => 7,
            EventKind::StepRetrying { .. } => 8,
            EventKind::StepFinished { .. } => 9,
            EventKind::StepSkipped { .. } => 10,
            EventKind::Announced { .. } => 11,
            EventKind::CancelRequested { .. } => 12,
            EventKind::Error { .. } => 13,
            EventKind::RunFinished { .. } => 14,
        };
        assert!(samples.iter().map(place).eq(0..15));
        samples
    }

    /// The names in backticks that begin the rows of a section's table.
    fn rows_of(page: &str, heading: &str) -> BTreeSet<String> {
        let section = page.split(&format!("{heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split("\n#").next().unwrap_or_default();
        let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        names.map(str::to_owned).collect()
    }

    fn keys_of(value: &serde_json::Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_page_describes_every_event() {
        let page = include_str!("../../../docs/events.md");
        for kind in samples() {
            let value = serde_json::to_value(&kind).unwrap();
            let tag = value["event"].as_str().unwrap().to_owned();
            let mut fields = keys_of(&value);
            fields.remove("event");
            assert_eq!(rows_of(page, &format!("### `{tag}`")), fields, "docs/events.md, {tag}");
            if let EventKind::StepFinished { failure, .. } = &kind {
                let fields = keys_of(&serde_json::to_value(failure).unwrap());
                assert_eq!(rows_of(page, "### Failures"), fields);
            }
            if let EventKind::RunFinished { stats, .. } = kind {
                let fields = keys_of(&serde_json::to_value(stats).unwrap());
                assert_eq!(rows_of(page, "### Totals"), fields);
            }
        }
        let event = Event { v: 1, at: String::new(), elapsed: 0, kind: samples().remove(12) };
        let mut fields = keys_of(&serde_json::to_value(event).unwrap());
        fields.remove("cause");
        assert_eq!(rows_of(page, "## Every event"), fields);
        assert_eq!(page.matches("\n### `").count(), samples().len(), "no event that does not exist");
        let outcomes =
            [Outcome::Done, Outcome::UpToDate, Outcome::Skipped, Outcome::Failed, Outcome::Cancelled];
        assert_eq!(rows_of(page, "### Outcomes"), outcomes.map(|o| o.to_string()).into_iter().collect());
    }
}
