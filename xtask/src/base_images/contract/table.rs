//! A comparison as text: one row a point, one column a system.

use std::fmt;

use super::compare::{Cell, ContractComparison};
use crate::model::SmokeVerdict;

/// What is right is `ok`; what is wrong is its value behind this mark, so that a search finds it.
const WRONG: &str = "! ";
const NOT_LOOKED_AT: &str = "-";
const SILENT: &str = "(the same)";
/// A longer promise or value is cut: the findings have it whole.
const WIDEST: usize = 48;
/// No column is made narrower than this to fit a screen.
const NARROWEST: usize = 8;

impl fmt::Display for ContractComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fitted(None))
    }
}

impl ContractComparison {
    /// The table on a screen of so many columns, whose widest ones give way; none is as many as it takes.
    pub fn fitted(&self, screen: Option<usize>) -> String {
        let mut lines = vec![vec!["contract".to_owned(), "promised".to_owned()]];
        lines[0].extend(self.systems.iter().cloned());
        for row in &self.rows {
            let promised = row.promised.as_deref().unwrap_or(SILENT);
            let mut line = vec![row.point.clone(), cut(promised)];
            // A size is worth seeing where it is right, too, and so is how it stops.
            let keeps_value = matches!(row.point.as_str(), "size" | "stops" | "fit version");
            line.extend(row.cells.iter().map(|cell| said(cell.as_ref(), keeps_value)));
            lines.push(line);
        }
        let columns = lines[0].len();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns).map(width).collect();
        while screen.is_some_and(|screen| widths.iter().sum::<usize>() + 2 * (columns - 1) > screen) {
            let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else { break };
            *widest -= 1;
        }
        let row = |line: &Vec<String>| {
            let cells = line.iter().zip(&widths);
            let padded: Vec<String> =
                cells.map(|(text, width)| format!("{:<width$}", cut_to(text, *width))).collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        lines.iter().map(row).collect()
    }
}

fn said(cell: Option<&Cell>, keeps_value: bool) -> String {
    match cell {
        None => NOT_LOOKED_AT.to_owned(),
        Some(cell) if cell.verdict == SmokeVerdict::Failed => format!("{WRONG}{}", cut(&cell.value)),
        Some(cell) if keeps_value => cut(&cell.value),
        Some(_) => "ok".to_owned(),
    }
}

fn cut(text: &str) -> String {
    cut_to(text, WIDEST)
}

fn cut_to(text: &str, widest: usize) -> String {
    if text.chars().count() <= widest {
        return text.to_owned();
    }
    let head: String = text.chars().take(widest - 1).collect();
    format!("{head}…")
}
