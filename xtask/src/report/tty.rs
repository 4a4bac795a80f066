//! Bars that move: a thin driver that puts the lines of [`frame`] on the terminal.
//!
//! Until the first tick (200 ms into the run) it has drawn nothing and started nothing: a run that is over by then
//! prints its settled lines and that is all. It redraws on ticks only, so a flood of events costs no drawing, and
//! writes nothing where nothing changed. It takes its lines away when it is finished or dropped; [`leave`] does it from
//! anywhere else: before a panic is told, before the process ends at once, while it is stopped by Ctrl-Z.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use super::canvas::Canvas;
use super::estimate::BuildTimes;
use super::frame::{Screen, Size, frame};
use super::resolve::Display;
use crate::events::Sink;
use crate::model::{Event, EventKind};

/// Gives what a run is expected to take. It reads former runs, so it is asked on a thread of its own, and only when a run
/// has become long enough to be shown.
pub type ExpectedBuilds = Box<dyn FnOnce() -> BuildTimes + Send>;

/// What is drawn on the terminal of this process.
static DRAWN: Mutex<Option<Arc<Mutex<Canvas>>>> = Mutex::new(None);

/// Where the bars go.
pub trait Terminal: Send {
    /// How large it is now.
    fn size(&self) -> Size;
    /// Writes.
    fn write(&mut self, text: &str) -> io::Result<()>;
    /// The first bars are drawn now.
    fn begin(&mut self, canvas: &Arc<Mutex<Canvas>>);
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
    fn size(&self) -> Size {
        let (rows, columns) = self.0.size();
        Size { columns: columns.into(), rows: rows.into() }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        io::stderr().lock().write_all(text.as_bytes())
    }

    fn begin(&mut self, canvas: &Arc<Mutex<Canvas>>) {
        *locked(&DRAWN) = Some(canvas.clone());
        watch_for_stops();
    }
}

/// Takes away what is drawn on this process's terminal, from any thread; what is drawn next is drawn anew. Does nothing
/// where nothing is drawn, or where somebody is drawing: it must not wait in a panic.
pub fn leave() {
    let Ok(drawn) = DRAWN.try_lock() else { return };
    let Some(Ok(mut canvas)) = drawn.as_ref().map(|canvas| canvas.try_lock()) else { return };
    // Nobody is left to tell that stderr is gone.
    let _ = io::stderr().lock().write_all(canvas.clear(Stderr::default().size().columns).as_bytes());
}

/// Ctrl-Z: the terminal is left as it should be before the process stops; `fg` draws anew.
fn watch_for_stops() {
    use rustix::process::{Signal, getpid, kill_process};
    use tokio::signal::unix::{SignalKind, signal};
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let kind = SignalKind::from_raw(Signal::TSTP.as_raw());
        let Some(mut stops) = tokio::runtime::Handle::try_current().ok().and_then(|_| signal(kind).ok())
        else {
            return;
        };
        tokio::spawn(async move {
            while stops.recv().await.is_some() {
                let drawn = locked(&DRAWN);
                let mut canvas = drawn.as_ref().map(|canvas| locked(canvas));
                let text = canvas.as_mut().map(|canvas| canvas.clear(Stderr::default().size().columns));
                let _ = io::stderr().lock().write_all(text.unwrap_or_default().as_bytes());
                // Nobody draws before it goes on: the canvas is still held.
                let _ = kill_process(getpid(), Signal::STOP);
            }
        });
    });
}

/// Draws a run on a terminal.
pub struct Tty<T: Terminal> {
    screen: Screen,
    terminal: T,
    canvas: Arc<Mutex<Canvas>>,
    expected_builds: Option<ExpectedBuilds>,
    times: Arc<Mutex<Option<BuildTimes>>>,
    is_begun: bool,
    is_over: bool,
}

impl<T: Terminal> Tty<T> {
    /// Draws on a terminal; `record` is the folder of the run's record.
    pub fn new(
        terminal: T,
        display: Display,
        record: Option<String>,
        expected_builds: Option<ExpectedBuilds>,
    ) -> Self {
        Self {
            screen: Screen::new(display, record),
            terminal,
            canvas: Arc::default(),
            expected_builds,
            times: Arc::default(),
            is_begun: false,
            is_over: false,
        }
    }

    fn draw(&mut self, lines: Vec<String>) -> io::Result<()> {
        let columns = self.terminal.size().columns;
        let mut settled = self.screen.take_settled(columns).join("\n");
        if !settled.is_empty() {
            settled.push('\n');
        }
        // Nothing was drawn yet, and nothing will be: a plain text does.
        let mut canvas = locked(&self.canvas);
        let text = if self.is_begun { canvas.draw(&settled, lines, columns) } else { settled };
        if text.is_empty() { Ok(()) } else { self.terminal.write(&text) }
    }

    fn begin(&mut self) {
        self.is_begun = true;
        self.terminal.begin(&self.canvas);
        if let Some(expected_builds) = self.expected_builds.take() {
            let times = self.times.clone();
            std::thread::spawn(move || *locked(&times) = Some(expected_builds()));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Terminal> Sink for Tty<T> {
    fn name(&self) -> &'static str {
        "the progress on stderr"
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        self.screen.take(event);
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            self.is_over = true;
            self.draw(Vec::new())?;
        }
        Ok(())
    }

    fn tick(&mut self, elapsed: Duration) -> io::Result<()> {
        if self.is_over {
            return self.draw(Vec::new());
        }
        if let Some(times) = locked(&self.times).take() {
            self.screen.expect(times);
        }
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let lines = frame(&self.screen, self.terminal.size(), now);
        if !self.is_begun && !lines.is_empty() {
            self.begin();
        }
        self.draw(lines)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.is_over = true;
        self.draw(Vec::new())
    }
}

impl<T: Terminal> Drop for Tty<T> {
    fn drop(&mut self) {
        let text = locked(&self.canvas).clear(self.terminal.size().columns);
        if !text.is_empty() {
            // Nobody is left to tell that stderr is gone.
            let _ = self.terminal.write(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::resolve::{Colour, Mode, Table, Verbosity};
    use super::super::testing::{Story, failing_story};
    use super::*;
    use crate::model::Phase;

    /// A terminal of 80 columns.
    #[derive(Clone)]
    struct Glass(Arc<Mutex<(vt100::Parser, usize)>>);

    impl Default for Glass {
        fn default() -> Self {
            Self(Arc::new(Mutex::new((vt100::Parser::new(40, 80, 0), 0))))
        }
    }

    impl Glass {
        fn text(&self) -> String {
            self.0.lock().unwrap().0.screen().contents().trim_end().to_owned()
        }

        fn writes(&self) -> usize {
            self.0.lock().unwrap().1
        }
    }

    impl Terminal for Glass {
        fn size(&self) -> Size {
            Size { columns: 80, rows: 40 }
        }
        fn write(&mut self, text: &str) -> io::Result<()> {
            let mut glass = self.0.lock().unwrap();
            glass.0.process(text.replace('\n', "\r\n").as_bytes());
            glass.1 += 1;
            Ok(())
        }
        fn begin(&mut self, _: &Arc<Mutex<Canvas>>) {}
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
        let mut tty = Tty::new(glass.clone(), DISPLAY, None, None);
        for event in events {
            tty.take(event).unwrap();
        }
        tty.finish().unwrap();
        glass.text()
    }

    #[test]
    fn bars_leave_nothing_behind() {
        let glass = Glass::default();
        let mut tty = Tty::new(glass.clone(), DISPLAY, None, None);
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
        let mut tty = Tty::new(glass.clone(), DISPLAY, None, None);
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
                   | npm ERR! code ENOTFOUND
        ");
        // Ctrl-C, or a panic: the bars go with the sink.
        drop(tty);
        assert!(!glass.text().contains("running"), "{}", glass.text());
    }

    #[test]
    fn nothing_before_the_first_tick() {
        let glass = Glass::default();
        let mut tty = Tty::new(glass.clone(), DISPLAY, None, None);
        let mut story = Story::new();
        story.begin(3, 1).phase(Phase::Build, 5, 1, 0).start(Phase::Build, "api", "not built yet");
        for event in &story.events {
            tty.take(event).unwrap();
        }
        assert_eq!(glass.writes(), 0);
        tty.tick(Duration::from_millis(200)).unwrap();
        assert!(glass.text().contains("1 running"), "{}", glass.text());
    }

    /// A run with nothing to do costs the terminal one write, and a screen that stays as it is none.
    #[test]
    fn what_is_not_new_is_not_written() {
        let glass = Glass::default();
        let mut tty = Tty::new(glass.clone(), DISPLAY, None, Some(Box::new(|| panic!("nobody is asked"))));
        let mut story = Story::new();
        story.begin(1000, 0).phase(Phase::Build, 5, 0, 1000);
        for n in 0..1000 {
            story.skip(Phase::Build, &format!("s{n}"), crate::model::Outcome::UpToDate, "up to date");
        }
        story.phase_end(Phase::Build).end(crate::model::Outcome::UpToDate, 0);
        for event in &story.events {
            tty.take(event).unwrap();
        }
        tty.finish().unwrap();
        assert_eq!(glass.writes(), 1);

        let glass = Glass::default();
        let mut tty = Tty::new(glass.clone(), DISPLAY, None, None);
        let mut story = Story::new();
        story.begin(3, 1).phase(Phase::Build, 5, 1, 0).start(Phase::Build, "api", "not built yet");
        for n in 0..1000 {
            story.log(Phase::Build, "api", &format!("line {n}"));
        }
        for event in &story.events {
            tty.take(event).unwrap();
        }
        for tick in 0..10 {
            tty.tick(Duration::from_millis(1000 + tick)).unwrap();
        }
        assert_eq!(glass.writes(), 1);
        tty.tick(Duration::from_secs(2)).unwrap();
        assert_eq!(glass.writes(), 2);
    }
}
