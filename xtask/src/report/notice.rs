//! How something that went wrong is told: what, why, the last lines, and what to do next. Pure.

use super::line::LOG_COLUMNS;
use super::resolve::Colour;
use super::text::{Style, cut, neutralise, paint};
use crate::events::excerpt::around;
use crate::model::Severity;

/// What was printed is cut to a line each; the log has all of it.
const MAX_COLUMNS: usize = LOG_COLUMNS - 4;

/// Something that went wrong, ready to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it fails the run, or the run goes on without it.
    pub severity: Severity,
    /// What could not be done.
    pub what: String,
    /// Why, from the outermost cause to the innermost.
    pub causes: Vec<String>,
    /// What was printed, as far as that tells why.
    pub last_lines: Vec<String>,
    /// Commands or files that help.
    pub hints: Vec<String>,
}

impl Notice {
    /// An error without causes or hints.
    pub fn error(what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            what: what.into(),
            causes: Vec::new(),
            last_lines: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// The lines of the screen, without newlines at their ends.
    pub fn lines(&self, colour: Colour) -> Vec<String> {
        let (style, label) = match self.severity {
            Severity::Error => (Style::Bad, "error:"),
            Severity::Warning => (Style::Warning, "warning:"),
        };
        let mut lines = vec![format!("{} {}", paint(colour, style, label), neutralise(&self.what))];
        for cause in &self.causes {
            for (n, line) in cause.lines().enumerate() {
                let label = if n == 0 { "caused by:" } else { "          " };
                lines.push(format!("  {label} {}", neutralise(line)));
            }
        }
        if !self.last_lines.is_empty() {
            lines.push("  last lines:".to_owned());
            let harmless = self.last_lines.iter().map(|line| neutralise(line));
            lines.extend(
                harmless.map(|line| format!("    {}", cut(&around(&line, MAX_COLUMNS), MAX_COLUMNS))),
            );
        }
        for hint in &self.hints {
            lines.push(format!("{} {}", paint(colour, Style::Bold, "hint:"), neutralise(hint)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_fills_no_screen() {
        let failure = Notice { last_lines: vec!["x".repeat(65_536)], ..Notice::error("y") };
        assert!(failure.lines(Colour::No).iter().all(|line| line.len() < MAX_COLUMNS + 10));
    }

    #[test]
    fn reads_as_drawn() {
        let failure = Notice {
            causes: vec!["src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1".to_owned()],
            last_lines: vec!["\x1b[31mnpm ERR!\x1b[0m code ENOTFOUND".to_owned()],
            hints: vec!["full log in target/xtask/runs/8d2/logs/build-frontend.log".to_owned()],
            ..Notice::error("cannot build image `frontend`")
        };
        insta::assert_snapshot!(failure.lines(Colour::No).join("\n"), @"
        error: cannot build image `frontend`
          caused by: src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1
          last lines:
            npm ERR! code ENOTFOUND
        hint: full log in target/xtask/runs/8d2/logs/build-frontend.log
        ");
    }
}
