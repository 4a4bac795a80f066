//! Pure: what a new look at registries and store changes in a lock.
//!
//! In: the lock as it was, what the tree names, what was found. Out: the new lock, and each change with who it
//! concerns. What was not looked at, or not found, stays as it was.

use std::collections::BTreeMap;

use serde::Serialize;

use super::uses::Use;
use crate::model::{ImageLock, LockedImage, Platform, Reference};

/// One difference between two locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockChange {
    /// The image's name.
    pub name: String,
    /// What became of it.
    pub change: ChangeKind,
    /// What it was, for people; none for a new one.
    pub was: Option<String>,
    /// What it is; none for one that is gone.
    pub now: Option<String>,
    /// Who names it: `src/api/Dockerfile:3`.
    pub used_by: Vec<String>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// The tree names it and the lock lacks it.
    Missing,
    /// Its name stands for other content now.
    Moved,
    /// Nothing names it any more.
    Unused,
}

/// The new lock, and how it differs. `found` are the entries as they are now.
pub fn update(
    old: &ImageLock,
    uses: &BTreeMap<Reference, Use>,
    found: &BTreeMap<Reference, LockedImage>,
) -> (ImageLock, Vec<LockChange>) {
    let mut new = ImageLock::default();
    let mut changes = Vec::new();
    for (name, locked) in old.images.iter().filter(|(name, _)| !uses.contains_key(*name)) {
        changes.push(change(name, ChangeKind::Unused, Some(locked), None, &[]));
    }
    for (name, used) in uses {
        let (was, found) = (old.images.get(name), found.get(name));
        let Some(now) = found.map(|found| follow(was, found)).or_else(|| was.cloned()) else { continue };
        match (was, found) {
            (None, _) => changes.push(change(name, ChangeKind::Missing, None, Some(&now), &used.places)),
            (Some(was), Some(found)) if has_moved(was, found) => {
                changes.push(change(name, ChangeKind::Moved, Some(was), Some(&now), &used.places));
            }
            (Some(_), _) => {}
        }
        new.images.insert(name.clone(), now);
    }
    changes.sort_by(|one, other| (one.change, &one.name).cmp(&(other.change, &other.name)));
    (new, changes)
}

/// The entry as it is now; what an earlier run knew of the same content stays known. An ID is what one store calls an
/// image, so it goes where it is known what is in it.
fn follow(was: Option<&LockedImage>, found: &LockedImage) -> LockedImage {
    let mut now = was.filter(|was| was.digest == found.digest).cloned().unwrap_or_default();
    now.digest.clone_from(&found.digest);
    now.identities.extend(found.identities.clone());
    now.ids.extend(found.ids.clone());
    now.ids.retain(|platform, _| !now.identities.contains_key(platform));
    now
}

/// Whether it is other content. What is known for a platform that had nothing is no move.
fn has_moved(was: &LockedImage, found: &LockedImage) -> bool {
    fn differs<T: PartialEq>(was: &BTreeMap<Platform, T>, now: &BTreeMap<Platform, T>) -> bool {
        was.iter().any(|(platform, was)| now.get(platform).is_some_and(|now| now != was))
    }
    let is_other = || differs(&was.identities, &found.identities) || differs(&was.ids, &found.ids);
    was.digest != found.digest || (found.digest.is_none() && is_other())
}

fn change(
    name: &Reference,
    change: ChangeKind,
    was: Option<&LockedImage>,
    now: Option<&LockedImage>,
    places: &[String],
) -> LockChange {
    LockChange {
        name: name.familiar(),
        change,
        was: was.map(LockedImage::shown),
        now: now.map(LockedImage::shown),
        used_by: places.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` is a digest, `amd64=a` what is in it, `amd64:a` an ID.
    fn locked(text: &str) -> LockedImage {
        let digest = |fill: &str| format!("sha256:{}", fill.repeat(64));
        let platform = |arch: &str| format!("linux/{arch}").parse().expect("platform");
        let mut locked = LockedImage::default();
        for word in text.split_whitespace() {
            if let Some((arch, fill)) = word.split_once('=') {
                locked.identities.insert(platform(arch), digest(fill).parse().expect("identity"));
            } else if let Some((arch, fill)) = word.split_once(':') {
                locked.ids.insert(platform(arch), digest(fill).parse().expect("ID"));
            } else {
                locked.digest = Some(digest(word).parse().expect("digest"));
            }
        }
        locked
    }

    fn entries(list: &[(&str, &str)]) -> BTreeMap<Reference, LockedImage> {
        list.iter().map(|(name, text)| (name.parse().expect("name"), locked(text))).collect()
    }

    #[track_caller]
    fn check(
        old: &[(&str, &str)],
        names: &[&str],
        found: &[(&str, &str)],
        new: &[(&str, &str)],
        says: &[&str],
    ) {
        let old = ImageLock { images: entries(old) };
        let uses = names.iter().map(|name| (name.parse().expect("name"), Use::default())).collect();
        let (lock, changes) = update(&old, &uses, &entries(found));
        assert_eq!(lock.images, entries(new));
        let told: Vec<String> = changes.iter().map(|c| format!("{:?} {}", c.change, c.name)).collect();
        assert_eq!(told, says);
    }

    #[test]
    fn what_is_new_moved_or_unused_is_told_and_the_rest_stays() {
        check(&[], &["a"], &[("a", "1 amd64=2")], &[("a", "1 amd64=2")], &["Missing a:latest"]);
        check(&[("a", "1")], &["a"], &[("a", "1")], &[("a", "1")], &[]);
        check(
            &[("a", "1 amd64=2")],
            &["a"],
            &[("a", "3 amd64=4")],
            &[("a", "3 amd64=4")],
            &["Moved a:latest"],
        );
        check(&[("a", "1"), ("b", "2")], &["b"], &[], &[("b", "2")], &["Unused a:latest"]);
        check(&[("a", "1")], &["a", "b"], &[], &[("a", "1")], &[]);
    }

    #[test]
    fn what_is_known_of_other_platforms_is_kept_while_the_content_is_the_same() {
        check(&[("a", "1 amd64=2")], &["a"], &[("a", "1 arm64=3")], &[("a", "1 amd64=2 arm64=3")], &[]);
        check(
            &[("a", "1 amd64=2")],
            &["a"],
            &[("a", "4 arm64=3")],
            &[("a", "4 arm64=3")],
            &["Moved a:latest"],
        );
        check(&[("a", "amd64=2")], &["a"], &[("a", "arm64=3")], &[("a", "amd64=2 arm64=3")], &[]);
        check(&[("a", "amd64=2")], &["a"], &[("a", "amd64=3")], &[("a", "amd64=3")], &["Moved a:latest"]);
        check(&[("a", "amd64=2")], &["a"], &[("a", "1 amd64=2")], &[("a", "1 amd64=2")], &["Moved a:latest"]);
    }

    #[test]
    fn an_id_goes_where_it_is_known_what_is_in_the_image() {
        check(&[("a", "1 amd64:2")], &["a"], &[("a", "1 amd64=3")], &[("a", "1 amd64=3")], &[]);
        check(
            &[("a", "1 amd64:2 arm64:4")],
            &["a"],
            &[("a", "1 amd64=3")],
            &[("a", "1 amd64=3 arm64:4")],
            &[],
        );
        // What no registry gave: a store tells both.
        check(&[("a", "amd64:2")], &["a"], &[("a", "amd64:2 amd64=3")], &[("a", "amd64=3")], &[]);
        check(
            &[("a", "amd64:2")],
            &["a"],
            &[("a", "amd64:4 amd64=3")],
            &[("a", "amd64=3")],
            &["Moved a:latest"],
        );
        check(&[("a", "amd64=3")], &["a"], &[("a", "amd64:4 amd64=3")], &[("a", "amd64=3")], &[]);
        check(&[], &["a"], &[("a", "amd64:4")], &[("a", "amd64:4")], &["Missing a:latest"]);
        check(&[("a", "amd64:2")], &["a"], &[], &[("a", "amd64:2")], &[]);
    }
}
