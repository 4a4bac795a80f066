//! What is drawn at the bottom of a terminal, and the bytes that change it. Pure.
//!
//! In: the lines that are to be seen, and how wide the terminal is. Out: one text to write. indicatif puts the lines in
//! place of those before, on paper instead of a terminal: what it would do call by call becomes one write, which
//! asks the terminal to show the result at once (synchronised output, mode 2026; terminals that do not know it pass it
//! over). Here is what it does not know: lines that settle above, terminals that became narrower, and that the cursor
//! rests at the beginning of the line below, visible, so that whatever ends the program leaves a usable terminal and
//! nothing that is typed meanwhile stays.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::text::width;

const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
/// From the cursor to the end of the screen.
const CLEAR_BELOW: &str = "\x1b[J";
/// From the line below to the last one drawn, where indicatif expects the cursor. Also what was typed meanwhile is gone,
/// such as the `^C` that the terminal shows for it.
const BACK: &str = "\r\x1b[J\x1b[A";
/// The end of a line: what stood behind it is gone.
const NEXT_LINE: &str = "\x1b[K\r\n";

/// The lines that are drawn now.
#[derive(Debug)]
pub struct Canvas {
    lines: Vec<String>,
    columns: usize,
    bar: ProgressBar,
    paper: Paper,
}

impl Default for Canvas {
    fn default() -> Self {
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_style(style);
        Self { lines: Vec::new(), columns: 0, bar, paper: Paper::default() }
    }
}

impl Canvas {
    /// Draws `lines` in place of what is drawn, and `settled` (whole lines, which stay) above them. Empty where nothing
    /// changes.
    pub fn draw(&mut self, settled: &str, mut lines: Vec<String>, columns: usize) -> String {
        lines.retain(|line| !line.trim().is_empty());
        let is_resized = columns != self.columns && !self.lines.is_empty();
        if settled.is_empty() && lines == self.lines && !is_resized {
            return String::new();
        }
        let mut text = BEGIN.to_owned();
        if !settled.is_empty() || is_resized || lines.is_empty() {
            text.push_str(&self.clear(columns));
            text.push_str(settled);
        }
        if !lines.is_empty() {
            if self.lines.is_empty() {
                // Nothing of it is there any more.
                let paper = Paper { columns, ..self.paper.clone() };
                self.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(paper)));
            } else {
                text.push_str(BACK);
            }
            self.bar.set_message(lines.join("\n"));
            text.push_str(&self.paper.take());
            text.push_str(CLEAR_BELOW);
        }
        text.push_str(END);
        (self.lines, self.columns) = (lines, columns);
        text
    }

    /// Takes away what is drawn; empty where nothing is.
    pub fn clear(&mut self, columns: usize) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        // A terminal that became narrower broke lines that do not fit any more.
        let rows: usize = self.lines.iter().map(|line| width(line).div_ceil(columns.max(1)).max(1)).sum();
        self.lines.clear();
        format!("\r\x1b[{rows}A{CLEAR_BELOW}")
    }
}

/// Stands in for a terminal: keeps what would be written to it.
#[derive(Clone, Debug, Default)]
struct Paper {
    columns: usize,
    text: Arc<Mutex<String>>,
}

impl Paper {
    fn take(&self) -> String {
        std::mem::take(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, text: &str) -> io::Result<()> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn go(&self, count: usize, code: char) -> io::Result<()> {
        if count == 0 { Ok(()) } else { self.put(&format!("\x1b[{count}{code}")) }
    }
}

impl TermLike for Paper {
    fn width(&self) -> u16 {
        u16::try_from(self.columns).unwrap_or(u16::MAX)
    }

    /// A frame fits already.
    fn height(&self) -> u16 {
        u16::MAX
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.put(text)?;
        self.put(NEXT_LINE)
    }

    /// indicatif fills each line with spaces, so that the terminal breaks it: one that became narrower would break all of
    /// them once more, and who copies lines gets the spaces too.
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.put(if text.trim_matches(' ').is_empty() { NEXT_LINE } else { text })
    }

    /// Nothing flickers: lines are cleared behind what is written.
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::cut;
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn screen_after(columns: u16, script: impl Fn(&mut Canvas, &mut dyn FnMut(String))) -> String {
        let mut terminal = vt100::Parser::new(8, columns, 0);
        terminal.process(b"$ cargo xtask\r\n");
        let mut canvas = Canvas::default();
        script(&mut canvas, &mut |text| terminal.process(text.replace('\n', "\r\n").as_bytes()));
        terminal.screen().contents()
    }

    #[test]
    fn draws_in_place_and_takes_away() {
        let text = screen_after(40, |canvas, write| {
            write(canvas.draw("", lines("bar\napi\nweb\nold"), 40));
            write("^C".to_owned());
            write(canvas.draw("done 1\n", lines("bar 2\nweb"), 40));
            write(canvas.draw("", lines("bar 3\nweb"), 40));
        });
        assert_eq!(text, "$ cargo xtask\ndone 1\nbar 3\nweb");
        let text = screen_after(40, |canvas, write| {
            write(canvas.draw("done 1\n", lines("bar\napi\nweb"), 40));
            write(canvas.clear(40));
            write(canvas.clear(40));
            write("error: x\n".to_owned());
        });
        assert_eq!(text, "$ cargo xtask\ndone 1\nerror: x");
    }

    #[test]
    fn scrolls_at_the_bottom_without_leaving_anything() {
        let text = screen_after(40, |canvas, write| {
            for n in 0..20 {
                write(canvas.draw(&format!("done {n}\n"), lines("bar\napi"), 40));
            }
            write(canvas.clear(40));
        });
        assert_eq!(text, "done 15\ndone 16\ndone 17\ndone 18\ndone 19");
    }

    #[test]
    fn the_same_costs_nothing_and_another_one_is_a_single_text_that_clears_no_line_before_it_is_written() {
        let mut canvas = Canvas::default();
        canvas.draw("", lines("bar 1\napi\nweb"), 40);
        assert_eq!(canvas.draw("", lines("bar 1\napi\nweb"), 40), "");
        let text = canvas.draw("", lines("bar 2\napi\nweb"), 40);
        let up = "\x1b[2A\x1b[1B\x1b[1B\x1b[2A";
        let drawn = "bar 2\x1b[K\r\napi\x1b[K\r\nweb\x1b[K\r\n";
        assert_eq!(text, format!("{BEGIN}{BACK}{up}{drawn}{CLEAR_BELOW}{END}"));
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_lines() {
        let mut canvas = Canvas::default();
        canvas.draw("", vec!["x".repeat(70), "日本".to_owned()], 80);
        let text = canvas.draw("", lines("bar"), 30);
        assert!(text.starts_with("\x1b[?2026h\r\x1b[4A\x1b[J"), "{text:?}");
    }

    #[test]
    fn wide_characters_and_colours_take_the_room_that_they_take() {
        for columns in 2..24 {
            let room = usize::from(columns) - 1;
            let line = |text: &str| format!("\x1b[1m{}\x1b[0m", cut(text, room));
            let text = screen_after(columns, |canvas, write| {
                for n in 0..3 {
                    let drawn = vec![
                        line(&format!("{n} 日本語日本語")),
                        line("語語語語語語語語語語語語"),
                        line("api"),
                    ];
                    write(canvas.draw(&format!("{n}\n"), drawn, room + 1));
                }
                write(canvas.draw("", vec![line("last")], room + 1));
            });
            let drawn = text.lines().rev().take(4).collect::<Vec<_>>();
            assert_eq!(drawn, [cut("last", room).trim(), "2", "1", "0"], "{columns}: {text}");
        }
        assert_eq!(Canvas::default().draw("", vec![String::new()], 1), "");
    }
}
