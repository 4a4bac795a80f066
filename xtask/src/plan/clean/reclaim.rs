//! Pure: how many bytes the store may get back when images are removed.
//!
//! Engines tell the size of a whole image, shared layers included. What an image shares with another one is known
//! where all layers of that other one are its lowest: then that one's size is the shared part. So the sum is never too
//! low, and too high only by layers that are shared with part of an image.

use crate::model::Digest;

/// One image of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Diff IDs, lowest first.
    pub layers: Vec<Digest>,
    /// Bytes of all of them.
    pub size: u64,
}

/// The most that goes with each of `going`, in order, when `staying` stays. Of layers that several have the first
/// gets all.
pub fn at_most(going: &[Stack], staying: &[Stack]) -> Vec<u64> {
    let mut all = Vec::with_capacity(going.len());
    for (at, stack) in going.iter().enumerate() {
        let before = going.iter().take(at);
        // Of two that go the smaller one is counted by itself wherever it stands.
        let smaller = going.iter().skip(at + 1).filter(|other| other.layers.len() < stack.layers.len());
        let shared = staying.iter().chain(before).chain(smaller).filter(|other| is_below(other, stack));
        let shared = shared.map(|other| other.size).max().unwrap_or(0);
        all.push(stack.size.saturating_sub(shared));
    }
    all
}

fn is_below(lower: &Stack, stack: &Stack) -> bool {
    !lower.layers.is_empty() && stack.layers.starts_with(&lower.layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers as letters, each of which weighs ten.
    fn stack(letters: &str) -> Stack {
        let layer =
            |c: char| format!("sha256:{}", format!("{:02x}", c as u32).repeat(32)).parse().expect("digest");
        Stack { layers: letters.chars().map(layer).collect(), size: letters.len() as u64 * 10 }
    }

    #[track_caller]
    fn check(going: &[&str], staying: &[&str], expected: &[u64]) {
        let stacks = |texts: &[&str]| texts.iter().map(|text| stack(text)).collect::<Vec<_>>();
        assert_eq!(at_most(&stacks(going), &stacks(staying)), expected, "{going:?} without {staying:?}");
    }

    #[test]
    fn what_stays_is_not_counted_and_nothing_twice() {
        check(&["abc"], &[], &[30]);
        check(&["abc"], &["ab"], &[10]);
        check(&["abc"], &["a", "ab"], &[10]);
        check(&["abc"], &["abc"], &[0]);
        check(&["abc", "abc"], &[], &[30, 0]);
        check(&["abc", "ab"], &[], &[10, 20]);
        check(&["ab", "abc"], &[], &[20, 10]);
        check(&["abc", "abd"], &["a"], &[20, 20]);
        check(&["abc"], &["abd"], &[30]);
        check(&["abc"], &["", "b"], &[30]);
        check(&[], &["a"], &[]);
    }
}
