//! `--progress json`: the events, one JSON object a line, on stderr. stdout stays free for a command's own data
//! (`plan --format json`), as `docker buildx --progress rawjson` does it. The format is `docs/events.md`.

use std::io::{self, Write};

use crate::events::Sink;
use crate::model::Event;

/// Writes events as they are.
#[derive(Debug)]
pub struct Json<W> {
    writer: W,
    line: Vec<u8>,
}

impl<W: Write + Send> Json<W> {
    /// Writes to a writer.
    pub fn new(writer: W) -> Self {
        Self { writer, line: Vec::new() }
    }
}

impl<W: Write + Send> Sink for Json<W> {
    fn name(&self) -> &'static str {
        "the JSON progress on stderr"
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, event)?;
        self.line.push(b'\n');
        self.writer.write_all(&self.line)?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Paper, failing_story};
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let paper = Paper::default();
        let mut json = Json::new(paper.clone());
        for event in &failing_story() {
            json.take(event).unwrap();
        }
        let read: Vec<Event> = paper.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, failing_story());
    }
}
