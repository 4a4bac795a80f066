//! Pure: which base images of ours can go, and why others cannot.
//!
//! In: the store, the names that base images have, and what containers run. Out: names to take away, and what is kept.

use std::collections::BTreeSet;

use crate::model::{ImageId, LocalImage, Observed, Phase, Plan, Reason, Reference, Skipped, labels};

/// What decides.
#[derive(Clone, Debug)]
pub struct CleanInput<'a> {
    /// The store.
    pub observed: &'a Observed,
    /// Which tree this is, as labels say it; images of other trees are not spoken of.
    pub tree: &'a str,
    /// What base images are called, without registry and tag.
    pub name: &'a str,
    /// The systems that are meant; empty is all.
    pub only: &'a [String],
    /// Those that are not.
    pub skip: &'a [String],
    /// The versions that are meant; empty is all.
    pub versions: &'a [String],
    /// The images of all containers, running or not.
    pub used: &'a BTreeSet<ImageId>,
}

/// The names to take away, and what is kept with the reason. An image goes as a whole or not at all: one that a
/// container uses, or that has a name which is not a base image's, keeps all its names.
pub fn names(input: &CleanInput<'_>) -> (Vec<Reference>, Plan) {
    let mut names = Vec::new();
    let mut kept = Plan::default();
    let ours = |image: &&LocalImage| {
        let is_of_tree = image.labels.get(labels::TREE).is_none_or(|tree| tree == input.tree);
        image.labels.contains_key(labels::FINGERPRINT) && is_of_tree
    };
    for image in input.observed.images().iter().filter(ours) {
        let (mine, others): (Vec<_>, Vec<_>) = image.names.iter().partition(|name| is_base(name, input.name));
        if !mine.iter().any(|name| is_meant(name, input)) {
            continue;
        }
        let why = if input.used.contains(&image.id) {
            Some(Reason::InUse("a container runs it".to_owned()))
        } else {
            others.first().map(|name| Reason::InUse(format!("it is {} too", name.familiar())))
        };
        match why {
            None => names.extend(mine.into_iter().cloned()),
            Some(why) => {
                let skip = |name: &&Reference| Skipped::new(Phase::CleanUp, name.familiar(), why.clone());
                kept.skipped.extend(mine.iter().map(skip));
            }
        }
    }
    names.sort();
    (names, kept)
}

/// `fit-framework`, with or without a registry and a project before it.
fn is_base(reference: &Reference, name: &str) -> bool {
    let path = reference.path();
    let path = path.strip_prefix("library/").unwrap_or(path);
    path == name || path.strip_suffix(name).is_some_and(|before| before.ends_with('/'))
}

/// `V-OS`, `OS` and `latest-OS`.
fn is_meant(reference: &Reference, input: &CleanInput<'_>) -> bool {
    let tag = reference.tag().unwrap_or_default();
    let is_of =
        |os: &String| tag == os || tag.strip_suffix(os.as_str()).is_some_and(|rest| rest.ends_with('-'));
    let is_version =
        |version: &String| tag.strip_prefix(version.as_str()).is_some_and(|rest| rest.starts_with('-'));
    is_base(reference, input.name)
        && (input.only.is_empty() || input.only.iter().any(is_of))
        && !input.skip.iter().any(is_of)
        && (input.versions.is_empty() || input.versions.iter().any(is_version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake_image;
    use crate::model::{Capabilities, Platform};

    fn store(images: &[&[&str]]) -> Observed {
        let capabilities = Capabilities {
            name: "fake".into(),
            version: "1".into(),
            api: (1, 41),
            buildkit: true,
            platform: Platform::local(),
            keeps: Default::default(),
        };
        let image = |names: &&[&str]| {
            let parsed: Vec<Reference> = names.iter().map(|name| name.parse().expect("reference")).collect();
            let mut image = fake_image(names[0], &parsed.iter().collect::<Vec<_>>());
            if !names[0].starts_with("foreign") {
                image.labels.insert(labels::FINGERPRINT.to_owned(), "x".to_owned());
            }
            if names[0].starts_with("elsewhere") {
                image.labels.insert(labels::TREE.to_owned(), "other".to_owned());
            }
            image
        };
        Observed::new(capabilities, images.iter().map(image).collect())
    }

    #[track_caller]
    fn check(only: &[&str], versions: &[&str], gone: &[&str], kept: &[&str]) {
        let observed = store(&[
            &["fit-framework:1.2.3-debian", "fit-framework:debian", "r.example/a/fit-framework:1.2.3-debian"],
            &["fit-framework:1.2.3-alpine", "my-own:1"],
            &["fit-framework:9.9.9-debian"],
            &["my-fit-framework:1"],
            &["foreign/fit-framework:1.2.3-debian"],
            &["elsewhere/fit-framework:1.2.3-debian"],
        ]);
        let used = [observed.images()[2].id.clone()].into();
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (only, versions) = (owned(only), owned(versions));
        let input = CleanInput {
            observed: &observed,
            tree: "this",
            name: "fit-framework",
            only: &only,
            skip: &[],
            versions: &versions,
            used: &used,
        };
        let (names, plan) = names(&input);
        assert_eq!(names.iter().map(Reference::familiar).collect::<Vec<_>>(), gone);
        let told: Vec<String> = plan.skipped.iter().map(|s| format!("{}: {}", s.subject, s.why)).collect();
        assert_eq!(told, kept);
    }

    #[test]
    fn what_is_used_or_has_another_name_is_kept() {
        let debian =
            ["fit-framework:1.2.3-debian", "fit-framework:debian", "r.example/a/fit-framework:1.2.3-debian"];
        let alpine = "fit-framework:1.2.3-alpine: in use: it is my-own:1 too";
        let newer = "fit-framework:9.9.9-debian: in use: a container runs it";
        check(&[], &[], &debian, &[alpine, newer]);
        check(&["debian"], &[], &debian, &[newer]);
        check(&["alpine"], &[], &[], &[alpine]);
        check(&["debian"], &["1.2.3"], &debian, &[]);
        check(&["rocky"], &[], &[], &[]);
    }
}
