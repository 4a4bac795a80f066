//! Diagnostics as people read them.

use std::collections::HashMap;

use super::{Diagnostic, Severity};

/// So many places of one finding are named; of the others only their number is told.
const PLACES: usize = 3;

/// `1 image`, `2 images`
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// What is said of several places is said once, at the first of them.
pub fn told(found: &[Diagnostic]) -> Vec<Diagnostic> {
    let mut groups: Vec<(&Diagnostic, Vec<String>)> = Vec::new();
    let mut known: HashMap<(Severity, String), usize> = HashMap::new();
    for one in found {
        // That a message names its own file or folder makes it no other one.
        let folder = one.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let message = match folder {
            "" => one.message.clone(),
            folder => one.message.replace(&one.file, "FILE").replace(folder, "FOLDER"),
        };
        let at = *known.entry((one.severity, message)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some((_, places)) => places.push(one.place()),
            None => groups.push((one, Vec::new())),
        }
    }
    let told = groups.into_iter().map(|(first, others)| {
        let (named, rest) = others.split_at(others.len().min(PLACES - 1));
        let mut message = first.message.clone();
        if !named.is_empty() {
            message.push_str(&format!(" (and at {}", named.join(", ")));
            message.push_str(&if rest.is_empty() {
                ")".to_owned()
            } else {
                format!(", and {} more)", rest.len())
            });
        }
        Diagnostic { message, ..first.clone() }
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_in_many_places_is_told_once() {
        let at = |number: u32| {
            Diagnostic::error(format!("s/{number}/f"), number, format!("s/{number}/f is bad, see s/{number}"))
        };
        for (count, expect) in [
            (1, ""),
            (2, " (and at s/2/f:2)"),
            (3, " (and at s/2/f:2, s/3/f:3)"),
            (40, " (and at s/2/f:2, s/3/f:3, and 37 more)"),
        ] {
            let mut found: Vec<Diagnostic> = (1..=count).map(at).collect();
            found.insert(1, Diagnostic::warning("g", 1, "bad"));
            let told: Vec<String> = told(&found).iter().map(ToString::to_string).collect();
            assert_eq!(
                told,
                [format!("error: s/1/f:1: s/1/f is bad, see s/1{expect}"), "warning: g:1: bad".to_owned()]
            );
        }
    }
}
