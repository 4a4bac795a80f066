//! What to show, decided from what was typed and where we run. Pure; the doc comment of [`resolve`] is the truth
//! table and the table is the test.

use std::borrow::Cow;

use clap::ValueEnum;

/// `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    /// Bars on a terminal, lines elsewhere
    #[default]
    Auto,
    /// Bars
    Tty,
    /// One fact a line
    Plain,
    /// Events, one JSON object a line, on stderr
    Json,
    /// Failures only
    Quiet,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColourChoice {
    /// On a terminal or with CLICOLOR_FORCE, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Everything that decides what is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisplayInput {
    /// `--progress`
    pub progress: ProgressChoice,
    /// `--color`
    pub colour: ColourChoice,
    /// How many `-v`.
    pub verbose: u8,
    /// `-q`
    pub quiet: bool,
    /// stderr is a terminal.
    pub stderr_is_terminal: bool,
    /// `CI` is set, and not to `false` or `0`.
    pub is_ci: bool,
    /// `TERM=dumb`.
    pub term_is_dumb: bool,
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub no_color: bool,
    /// `CLICOLOR_FORCE` is set and not `0` (bixense.com/clicolors).
    pub forces_color: bool,
    /// Whose log takes what is shown.
    pub forge: Forge,
}

/// Whose log takes what is shown: some give certain lines a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forge {
    /// A terminal, a file, a log that takes lines as they are.
    #[default]
    Nobody,
    /// GitHub Actions (`GITHUB_ACTIONS=true`): groups, annotations.
    GitHub,
    /// GitLab CI (`GITLAB_CI=true`): sections.
    GitLab,
}

impl Forge {
    /// A line that this log takes for nothing but a line.
    pub fn harmless(self, line: &str) -> Cow<'_, str> {
        match self {
            Self::GitHub => super::github::defuse(line),
            // What makes a section of it is gone from texts that are neutralised.
            Self::Nobody | Self::GitLab => Cow::Borrowed(line),
        }
    }
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Display {
    /// In which way.
    pub mode: Mode,
    /// In colours?
    pub colour: Colour,
    /// How much.
    pub verbosity: Verbosity,
    /// Whether a table of the images stands at the end.
    pub table: Table,
    /// Whose language is spoken beside.
    pub forge: Forge,
}

/// Whether a table of the images stands at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Yes.
    Shown,
    /// No: there may be hundreds of them.
    Hidden,
}

/// In which way a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bars that move.
    Tty,
    /// One fact a line.
    Plain,
    /// Events.
    Json,
    /// Warnings and failures.
    Quiet,
}

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Yes.
    Yes,
    /// No.
    No,
}

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Warnings and failures.
    Quiet,
    /// What is done.
    Normal,
    /// `-v`: what is not done, too, and why.
    Verbose,
    /// `-vv`: what steps print, too.
    Logs,
}

/// The mode:
///
/// | `--progress` | `-q` | bars possible (1) | `CI` | mode |
/// |---|---|---|---|---|
/// | json | any | any | any | json |
/// | quiet | any | any | any | quiet |
/// | auto, tty, plain | yes | any | any | quiet |
/// | plain | no | any | any | plain |
/// | tty | no | yes | any | tty |
/// | tty | no | no | any | plain |
/// | auto | no | yes | no | tty |
/// | auto | no | yes | yes | plain |
/// | auto | no | no | any | plain |
///
/// (1) stderr is a terminal and not a dumb one.
///
/// The colours:
///
/// | `--color` | mode | `NO_COLOR` | `CLICOLOR_FORCE` | bars possible (1) | colours |
/// |---|---|---|---|---|---|
/// | any | json | any | any | any | no |
/// | never | tty, plain, quiet | any | any | any | no |
/// | always | tty, plain, quiet | any | any | any | yes |
/// | auto | tty, plain, quiet | yes | any | any | no |
/// | auto | tty, plain, quiet | no | yes | any | yes |
/// | auto | tty, plain, quiet | no | no | yes | yes |
/// | auto | tty, plain, quiet | no | no | no | no |
///
/// Verbosity: quiet in quiet mode, else by the number of `-v`.
///
/// The log whose language is spoken: the one that there is, but none in tty mode, which nobody keeps. In json mode it
/// is known for one thing only: nothing may be taken for a command of it.
pub fn resolve(input: DisplayInput) -> Display {
    use ProgressChoice as Choice;
    let can_draw = input.stderr_is_terminal && !input.term_is_dumb;
    let mode = match (input.progress, input.quiet) {
        (Choice::Json, _) => Mode::Json,
        (Choice::Quiet, _) | (_, true) => Mode::Quiet,
        (Choice::Plain, false) => Mode::Plain,
        (Choice::Tty, false) if can_draw => Mode::Tty,
        (Choice::Auto, false) if can_draw && !input.is_ci => Mode::Tty,
        (Choice::Tty | Choice::Auto, false) => Mode::Plain,
    };
    let is_coloured = mode != Mode::Json
        && match input.colour {
            ColourChoice::Always => true,
            ColourChoice::Never => false,
            ColourChoice::Auto => !input.no_color && (input.forces_color || can_draw),
        };
    let verbosity = match (mode, input.verbose) {
        (Mode::Quiet, _) => Verbosity::Quiet,
        (_, 0) => Verbosity::Normal,
        (_, 1) => Verbosity::Verbose,
        (_, _) => Verbosity::Logs,
    };
    let colour = if is_coloured { Colour::Yes } else { Colour::No };
    let forge = if mode == Mode::Tty { Forge::Nobody } else { input.forge };
    Display { mode, colour, verbosity, table: Table::Hidden, forge }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOICES: [(&str, ProgressChoice); 5] = [
        ("auto", ProgressChoice::Auto),
        ("tty", ProgressChoice::Tty),
        ("plain", ProgressChoice::Plain),
        ("json", ProgressChoice::Json),
        ("quiet", ProgressChoice::Quiet),
    ];

    /// The rows of a table in the doc comment of `resolve`, by its head.
    fn table(head: &str) -> Vec<Vec<String>> {
        include_str!("resolve.rs")
            .lines()
            .skip_while(|line| !line.starts_with(head))
            .skip(2)
            .take_while(|line| line.starts_with("/// |"))
            .map(|line| {
                line.trim_start_matches("/// |")
                    .trim_end_matches('|')
                    .split('|')
                    .map(|s| s.trim().to_owned())
                    .collect()
            })
            .collect()
    }

    fn matches(cell: &str, value: bool) -> bool {
        cell == "any" || cell == if value { "yes" } else { "no" }
    }

    #[test]
    fn every_case_has_one_row_and_the_row_is_right() {
        let table = table("/// | `--progress` |");
        assert_eq!(table.len(), 9);
        for (name, progress) in CHOICES {
            for bits in 0..16u8 {
                let [quiet, stderr_is_terminal, term_is_dumb, is_ci] =
                    [1, 2, 4, 8].map(|bit| bits & bit != 0);
                let input = DisplayInput {
                    progress,
                    quiet,
                    stderr_is_terminal,
                    term_is_dumb,
                    is_ci,
                    ..DisplayInput::default()
                };
                let can_draw = stderr_is_terminal && !term_is_dumb;
                let rows: Vec<_> = table
                    .iter()
                    .filter(|row| {
                        row[0].split(", ").any(|choice| choice == name)
                            && matches(&row[1], quiet)
                            && matches(&row[2], can_draw)
                            && matches(&row[3], is_ci)
                    })
                    .collect();
                assert_eq!(rows.len(), 1, "{input:?}");
                let mode = format!("{:?}", resolve(input).mode).to_lowercase();
                assert_eq!(mode, rows[0][4], "{input:?}");
            }
        }
    }

    #[test]
    fn colours_are_for_those_who_can_see_them() {
        let table = table("/// | `--color` |");
        assert_eq!(table.len(), 7);
        let choices =
            [("auto", ColourChoice::Auto), ("always", ColourChoice::Always), ("never", ColourChoice::Never)];
        for ((_, progress), (name, colour)) in
            CHOICES.iter().flat_map(|progress| choices.iter().map(move |choice| (*progress, *choice)))
        {
            for bits in 0..32u8 {
                let [no_color, forces_color, stderr_is_terminal, term_is_dumb, is_ci] =
                    [1, 2, 4, 8, 16].map(|bit| bits & bit != 0);
                let input = DisplayInput {
                    progress,
                    colour,
                    no_color,
                    forces_color,
                    stderr_is_terminal,
                    term_is_dumb,
                    is_ci,
                    ..DisplayInput::default()
                };
                let display = resolve(input);
                let mode = format!("{:?}", display.mode).to_lowercase();
                let is_one_of =
                    |cell: &str, value: &str| cell == "any" || cell.split(", ").any(|one| one == value);
                let rows: Vec<_> = table
                    .iter()
                    .filter(|row| {
                        is_one_of(&row[0], name)
                            && is_one_of(&row[1], &mode)
                            && matches(&row[2], no_color)
                            && matches(&row[3], forces_color)
                            && matches(&row[4], stderr_is_terminal && !term_is_dumb)
                    })
                    .collect();
                assert_eq!(rows.len(), 1, "{input:?}");
                let expect = if rows[0][5] == "yes" { Colour::Yes } else { Colour::No };
                assert_eq!(display.colour, expect, "{input:?}");
            }
        }
    }

    #[test]
    fn bars_speak_no_language_of_a_log() {
        for forge in [Forge::Nobody, Forge::GitHub, Forge::GitLab] {
            for (progress, expected) in [
                (ProgressChoice::Auto, forge),
                (ProgressChoice::Plain, forge),
                (ProgressChoice::Quiet, forge),
                (ProgressChoice::Json, forge),
                (ProgressChoice::Tty, Forge::Nobody),
            ] {
                let input = DisplayInput {
                    progress,
                    forge,
                    is_ci: true,
                    stderr_is_terminal: true,
                    ..DisplayInput::default()
                };
                assert_eq!(resolve(input).forge, expected, "{input:?}");
            }
        }
    }

    #[test]
    fn verbosity_counts_the_letters() {
        for (verbose, quiet, verbosity) in [
            (0, false, Verbosity::Normal),
            (1, false, Verbosity::Verbose),
            (2, false, Verbosity::Logs),
            (9, false, Verbosity::Logs),
            (2, true, Verbosity::Quiet),
        ] {
            let input = DisplayInput { verbose, quiet, ..DisplayInput::default() };
            assert_eq!(resolve(input).verbosity, verbosity, "{input:?}");
        }
    }
}
