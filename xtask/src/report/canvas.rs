//! What is drawn at the bottom of a terminal, and the bytes that change it. Pure.
//!
//! In: the lines that are to be seen, and how wide the terminal is. Out: one text to write, which rewrites only lines
//! that changed and asks the terminal to show the result at once (synchronised output, mode 2026; terminals that do
//! not know it pass it over). The cursor rests at the beginning of the line below, visible: whatever ends the program
//! leaves a usable terminal.

use super::text::width;

const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
/// From the cursor to the end of the screen.
const CLEAR_BELOW: &str = "\x1b[J";
/// From the cursor to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";

/// The lines that are drawn now.
#[derive(Debug, Default)]
pub struct Canvas {
    lines: Vec<String>,
    columns: usize,
}

impl Canvas {
    /// Draws `lines` in place of what is drawn, and `settled` (whole lines, which stay) above them. Empty where nothing
    /// changes.
    pub fn draw(&mut self, settled: &str, lines: Vec<String>, columns: usize) -> String {
        let is_resized = columns != self.columns && !self.lines.is_empty();
        if settled.is_empty() && lines == self.lines && !is_resized {
            return String::new();
        }
        let mut text = BEGIN.to_owned();
        text.push_str(&self.home(columns));
        if !settled.is_empty() || is_resized {
            text.push_str(CLEAR_BELOW);
            text.push_str(settled);
            self.lines.clear();
        }
        for (n, line) in lines.iter().enumerate() {
            if self.lines.get(n) != Some(line) {
                text.push_str(line);
                text.push_str(CLEAR_LINE);
            }
            text.push_str("\r\n");
        }
        // Also what was typed meanwhile, such as the `^C` that the terminal shows for it.
        text.push_str(CLEAR_BELOW);
        text.push_str(END);
        (self.lines, self.columns) = (lines, columns);
        text
    }

    /// Takes away what is drawn; empty where nothing is.
    pub fn clear(&mut self, columns: usize) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        let text = format!("{}{CLEAR_BELOW}", self.home(columns));
        self.lines.clear();
        text
    }

    /// To the first column of the first line. A terminal that became narrower broke lines that do not fit any more.
    fn home(&self, columns: usize) -> String {
        let rows: usize = self.lines.iter().map(|line| width(line).div_ceil(columns.max(1)).max(1)).sum();
        if rows == 0 { "\r".to_owned() } else { format!("\r\x1b[{rows}A") }
    }
}

#[cfg(test)]
mod tests {
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
    fn a_line_that_stays_is_not_written_again_and_the_same_costs_nothing() {
        let mut canvas = Canvas::default();
        canvas.draw("", lines("bar 1\napi\nweb"), 40);
        assert_eq!(canvas.draw("", lines("bar 1\napi\nweb"), 40), "");
        let text = canvas.draw("", lines("bar 2\napi\nweb"), 40);
        assert_eq!(text, "\x1b[?2026h\r\x1b[3Abar 2\x1b[K\r\n\r\n\r\n\x1b[J\x1b[?2026l");
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_lines() {
        let mut canvas = Canvas::default();
        canvas.draw("", vec!["x".repeat(70), "日本".to_owned()], 80);
        let text = canvas.draw("", lines("bar"), 30);
        assert!(text.starts_with("\x1b[?2026h\r\x1b[4A\x1b[J"), "{text:?}");
    }
}
