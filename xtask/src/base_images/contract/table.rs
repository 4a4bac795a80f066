//! A comparison as text: one row a point, one column a system.

use std::fmt;

use super::compare::{Cell, Comparison};
use crate::model::Verdict;

/// What is right is `ok`; what is wrong is its value behind this mark, so that a search finds it.
const WRONG: &str = "! ";
const NOT_LOOKED_AT: &str = "-";
const SILENT: &str = "(the same)";
/// A longer promise or value is cut: the findings have it whole.
const WIDEST: usize = 48;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in &lines {
            let padded: Vec<String> =
                line.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn said(cell: Option<&Cell>, keeps_value: bool) -> String {
    match cell {
        None => NOT_LOOKED_AT.to_owned(),
        Some(cell) if cell.verdict == Verdict::Failed => format!("{WRONG}{}", cut(&cell.value)),
        Some(cell) if keeps_value => cut(&cell.value),
        Some(_) => "ok".to_owned(),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= WIDEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(WIDEST - 1).collect();
    format!("{head}…")
}
