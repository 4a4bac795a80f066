//! Bars that move: a thin driver that puts the lines of [`frame`] on the terminal. The only user of indicatif.
//!
//! Until the first tick (200 ms into the run) it has drawn nothing and started nothing: a run that is over by then
//! prints its settled lines and that is all. It redraws on ticks only, so a flood of events costs no drawing, and it
//! takes its lines away when it is finished or dropped.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::frame::{Screen, frame};
use super::resolve::Display;
use crate::events::Sink;
use crate::model::{Event, EventKind};

/// Where the bars go.
pub trait Terminal: Send {
    /// How wide it is now.
    fn columns(&self) -> usize;
    /// Takes whole lines that stay.
    fn write(&mut self, text: &str) -> io::Result<()>;
    /// Takes the bars.
    fn draw_target(&self) -> ProgressDrawTarget;
}

/// The terminal on stderr.
#[derive(Debug)]
pub struct Stderr(console::Term);

impl Default for Stderr {
    fn default() -> Self {
        Self(console::Term::stderr())
    }
}

impl Terminal for Stderr {
    fn columns(&self) -> usize {
        usize::from(self.0.size().1)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        io::stderr().lock().write_all(text.as_bytes())
    }

    fn draw_target(&self) -> ProgressDrawTarget {
        // Our ticks are the rate limit; a drawing must not be dropped by a second one.
        ProgressDrawTarget::stderr_with_hz(u8::MAX)
    }
}

/// Draws a run on a terminal.
pub struct Tty<T: Terminal> {
    screen: Screen,
    terminal: T,
    bar: Option<ProgressBar>,
    is_over: bool,
}

impl<T: Terminal> Tty<T> {
    /// Draws on a terminal; `record` is the folder of the run's record.
    pub fn new(terminal: T, display: Display, record: Option<String>) -> Self {
        Self { screen: Screen::new(display, record), terminal, bar: None, is_over: false }
    }

    fn settle(&mut self) -> io::Result<()> {
        if !self.screen.has_settled() {
            return Ok(());
        }
        let mut text = self.screen.take_settled(self.terminal.columns()).join("\n");
        text.push('\n');
        match &self.bar {
            Some(bar) => bar.suspend(|| self.terminal.write(&text)),
            None => self.terminal.write(&text),
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl<T: Terminal> Sink for Tty<T> {
    fn name(&self) -> &'static str {
        "the progress on stderr"
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        self.screen.take(event);
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            self.is_over = true;
            self.clear();
            self.settle()?;
        }
        Ok(())
    }

    fn tick(&mut self, elapsed: Duration) -> io::Result<()> {
        if self.is_over {
            return self.settle();
        }
        self.settle()?;
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let lines = frame(&self.screen, self.terminal.columns(), now);
        if lines.is_empty() {
            self.clear();
            return Ok(());
        }
        let terminal = &self.terminal;
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, terminal.draw_target());
            // The template is constant and right; were it not, indicatif's own look would do.
            bar.set_style(
                ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar
        });
        bar.set_message(lines.join("\n"));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.is_over = true;
        self.clear();
        self.settle()
    }
}

impl<T: Terminal> Drop for Tty<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::super::resolve::{Colour, Mode, Table, Verbosity};
    use super::super::testing::{Story, failing_story};
    use super::*;
    use crate::model::Phase;

    /// A terminal of 80 columns that understands the few movements that bars need.
    #[derive(Clone, Debug, Default)]
    struct Glass(Arc<Mutex<Cells>>);

    #[derive(Debug, Default)]
    struct Cells {
        lines: Vec<Vec<char>>,
        row: usize,
        column: usize,
        writes: usize,
    }

    impl Cells {
        fn put(&mut self, text: &str) {
            self.writes += 1;
            for c in text.chars() {
                match c {
                    '\n' => (self.row, self.column) = (self.row + 1, 0),
                    '\r' => self.column = 0,
                    c => {
                        if self.column == 80 {
                            (self.row, self.column) = (self.row + 1, 0);
                        }
                        while self.lines.len() <= self.row {
                            self.lines.push(vec![' '; 80]);
                        }
                        self.lines[self.row][self.column] = c;
                        self.column += 1;
                    }
                }
            }
        }
    }

    impl Glass {
        fn text(&self) -> String {
            let cells = self.0.lock().unwrap();
            let lines = cells.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned());
            lines.collect::<Vec<_>>().join("\n")
        }

        fn writes(&self) -> usize {
            self.0.lock().unwrap().writes
        }
    }

    impl TermLike for Glass {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().row -= n;
            Ok(())
        }
        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().row += n;
            Ok(())
        }
        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().column += n;
            Ok(())
        }
        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().column -= n;
            Ok(())
        }
        fn write_line(&self, s: &str) -> io::Result<()> {
            self.0.lock().unwrap().put(&format!("{s}\n"));
            Ok(())
        }
        fn write_str(&self, s: &str) -> io::Result<()> {
            self.0.lock().unwrap().put(s);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            let mut cells = self.0.lock().unwrap();
            cells.column = 0;
            let row = cells.row;
            if let Some(line) = cells.lines.get_mut(row) {
                line.fill(' ');
            }
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Terminal for Glass {
        fn columns(&self) -> usize {
            80
        }
        fn write(&mut self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().put(text);
            Ok(())
        }
        fn draw_target(&self) -> ProgressDrawTarget {
            ProgressDrawTarget::term_like(Box::new(self.clone()))
        }
    }

    const DISPLAY: Display = Display {
        mode: Mode::Tty,
        colour: Colour::No,
        verbosity: Verbosity::Normal,
        table: Table::Hidden,
        forge: crate::report::resolve::Forge::Nobody,
    };

    /// What the terminal shows when it is told everything without a tick in between.
    fn without_ticks(events: &[Event]) -> String {
        let glass = Glass::default();
        let mut tty = Tty::new(glass.clone(), DISPLAY, None);
        for event in events {
            tty.take(event).unwrap();
        }
        tty.finish().unwrap();
        glass.text()
    }

    #[test]
    fn bars_leave_nothing_behind() {
        let glass = Glass::default();
        let mut tty = Tty::new(glass.clone(), DISPLAY, None);
        for event in &failing_story() {
            tty.take(event).unwrap();
            tty.tick(Duration::from_millis(event.elapsed)).unwrap();
        }
        tty.finish().unwrap();
        drop(tty);
        assert_eq!(glass.text().trim_end(), without_ticks(&failing_story()).trim_end());
        assert!(!glass.text().contains("running"), "{}", glass.text());
    }

    #[test]
    fn a_screen_in_the_middle_of_a_run() {
        let glass = Glass::default();
        let mut tty = Tty::new(glass.clone(), DISPLAY, None);
        for event in failing_story().iter().take(14) {
            tty.take(event).unwrap();
            tty.tick(Duration::from_millis(event.elapsed)).unwrap();
        }
        insta::assert_snapshot!(glass.text(), @"
        Discovered 14 images, 9 external base images, network external
        1/6   Prefetch 1/1   1 pulled                                           00:06
        warning: api: base image debian:12-slim is a year old
        5/6   Build [=======>                      ] 1/4   2 running            00:09
                   api          12/17 RUN cargo build --release                 00:00
                   frontend      4/9  RUN npm ci                                00:00
        ");
        // Ctrl-C, or a panic: the bars go with the sink.
        drop(tty);
        assert!(!glass.text().contains("running"), "{}", glass.text());
    }

    #[test]
    fn nothing_before_the_first_tick() {
        let glass = Glass::default();
        let mut tty = Tty::new(glass.clone(), DISPLAY, None);
        let mut story = Story::new();
        story.begin(3, 1).phase(Phase::Build, 5, 1, 0).start(Phase::Build, "api", "not built yet");
        for event in &story.events {
            tty.take(event).unwrap();
        }
        assert_eq!(glass.writes(), 0);
        tty.tick(Duration::from_millis(200)).unwrap();
        assert!(glass.text().contains("1 running"), "{}", glass.text());
    }
}
