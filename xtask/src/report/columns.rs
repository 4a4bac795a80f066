//! Pure: rows as columns, in no more room than there is.

use super::text::{cut, pad, width};

/// A column that is cut keeps at least so many columns of a screen.
const LEAST: usize = 12;
const GAP: &str = "  ";

/// What becomes of a column when there is not enough room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Overflow {
    /// It stays as it is.
    Keep,
    /// It is left out; the higher number goes first.
    Drop(u8),
    /// It is cut when nothing is left to be left out; only the last column.
    Cut,
}

/// Lines of rows of which the first is the heading; `screen` is how many columns there are, none when nobody looks.
pub(super) fn columns(overflow: &[Overflow], rows: &[Vec<String>], screen: Option<usize>) -> String {
    let widths: Vec<usize> = (0..overflow.len())
        .map(|n| rows.iter().filter_map(|row| row.get(n)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    let mut shown: Vec<usize> = (0..overflow.len()).collect();
    // A column that says nothing but its heading is none.
    shown.retain(|n| {
        rows.len() < 2 || rows.iter().skip(1).any(|row| row.get(*n).is_some_and(|c| !c.is_empty()))
    });
    let least = |n: &usize| if overflow[*n] == Overflow::Cut { widths[*n].min(LEAST) } else { widths[*n] };
    let total = |shown: &[usize], of: &dyn Fn(&usize) -> usize| {
        shown.iter().map(of).sum::<usize>() + GAP.len() * shown.len().saturating_sub(1)
    };
    if let Some(screen) = screen {
        while total(&shown, &least) > screen {
            let next = shown.iter().enumerate().filter_map(|(at, n)| match overflow[*n] {
                Overflow::Drop(rank) => Some((rank, at)),
                Overflow::Keep | Overflow::Cut => None,
            });
            let Some((_, at)) = next.max() else { break };
            shown.remove(at);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, n) in shown.iter().enumerate() {
            let cell = row.get(*n).map(String::as_str).unwrap_or_default();
            let is_last = at + 1 == shown.len();
            match screen {
                Some(screen) if is_last => line.push_str(&cut(cell, screen.saturating_sub(width(&line)))),
                _ if is_last => line.push_str(cell),
                _ => line.push_str(&(pad(cell, widths[*n]) + GAP)),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_goes_in_order() {
        let overflow = [Overflow::Keep, Overflow::Drop(2), Overflow::Drop(1), Overflow::Keep, Overflow::Cut];
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        let rows = [
            row(["ID", "LONG HEAD", "B", "EMPTY", "COMMAND"]),
            row(["1", "2", "3", "", "a command of many words"]),
        ];
        let check = |screen, expected: &str| {
            let text = columns(&overflow, &rows, screen);
            assert_eq!(text.lines().last(), Some(expected), "{screen:?}");
            assert!(
                screen.is_none_or(|screen| text.lines().all(|line| width(line) <= screen.max(16))),
                "{text}"
            );
        };
        check(None, "1   2          3  a command of many words");
        check(Some(80), "1   2          3  a command of many words");
        check(Some(30), "1   2          3  a command...");
        check(Some(29), "1   3  a command of many w...");
        check(Some(17), "1   a command ...");
    }
}
