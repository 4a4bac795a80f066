//! Pure: base images that are missing, each told once, with everything that cannot be built without it.
//!
//! In: what failed in a run. Out: one [`MissingBase`] for each base image, and the failures that have another cause. A
//! pull that failed, the alias of what was not pulled and the builds on it are one thing to mend.

use super::notice::Notice;
use super::summary::FailedStep;
use crate::model::{Phase, Platform, Reason, Reference, Severity};

/// So many images are named; of the others only their number is told.
const NAMED: usize = 6;

/// A base image that is not here, and what that is in the way of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MissingBase<'a> {
    /// As people write it.
    pub name: String,
    /// Its pull; none when none was planned.
    pull: Option<&'a FailedStep>,
    /// The builds that it is in the way of.
    builds: Vec<&'a FailedStep>,
}

/// Why nobody was asked for a base image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unasked {
    /// `--offline`
    Offline,
    /// The internal network, and no registry in it.
    NoRegistry,
    /// It is here, for another platform.
    OtherPlatform,
}

/// Sorts failures by their cause.
pub(super) fn sort(failures: &[FailedStep]) -> (Vec<MissingBase<'_>>, Vec<&FailedStep>) {
    let mut bases: Vec<MissingBase<'_>> = Vec::new();
    let mut rest = Vec::new();
    for failed in failures {
        let of = |name: &str| bases.iter().position(|base| base.name == name);
        match failed.phase {
            Phase::Prefetch => match of(&failed.subject) {
                Some(at) => bases[at].pull = Some(failed),
                None => {
                    let (name, builds) = (failed.subject.clone(), Vec::new());
                    bases.push(MissingBase { name, pull: Some(failed), builds });
                }
            },
            Phase::Build => {
                let told = unavailable_base(failed);
                let asked = |name: &str| failed.failure.causes.iter().any(|cause| asks_for(cause, name));
                let at = match &told {
                    Some(name) => of(name),
                    None => bases.iter().position(|base| asked(&base.name)),
                };
                match (at, told) {
                    (Some(at), _) => bases[at].builds.push(failed),
                    (None, Some(name)) => {
                        bases.push(MissingBase { name, pull: None, builds: vec![failed] });
                    }
                    (None, None) => rest.push(failed),
                }
            }
            _ => rest.push(failed),
        }
    }
    rest.retain(|failed| failed.phase != Phase::Alias || bases.iter().all(|b| b.name != failed.subject));
    (bases, rest)
}

impl<'a> MissingBase<'a> {
    /// Why nobody was asked for it; none when somebody was, and did not give it.
    pub fn unasked(&self) -> Option<Unasked> {
        match self.pull {
            _ if self.here_for().is_some() => Some(Unasked::OtherPlatform),
            None => Some(Unasked::NoRegistry),
            Some(pull) => match &pull.reason {
                Some(Reason::Offline) => Some(Unasked::Offline),
                Some(Reason::NoInternalRegistry) => Some(Unasked::NoRegistry),
                _ => None,
            },
        }
    }

    /// The platform for which alone it is here.
    fn here_for(&self) -> Option<&'a Platform> {
        let said = self.pull.into_iter().chain(self.builds.first().copied());
        said.filter_map(|failed| failed.reason.as_ref()).find_map(|reason| match reason {
            Reason::OnlyFor { found, .. } | Reason::BaseOnlyFor { found, .. } => Some(found),
            _ => None,
        })
    }

    /// The builds, or the pull where there are none.
    pub fn steps(&self) -> Vec<&'a FailedStep> {
        if self.builds.is_empty() { self.pull.into_iter().collect() } else { self.builds.clone() }
    }

    /// What is told of it; `pull` is the telling of its pull alone, of this severity if it is given one.
    pub fn telling(&self, pull: impl Fn(&FailedStep, Option<Severity>) -> Notice) -> Notice {
        let images: Vec<&str> = self.builds.iter().map(|failed| failed.subject.as_str()).collect();
        let state = self.here_for().map_or("missing".to_owned(), |found| format!("here for {found} only"));
        let what = format!("base image `{}` is {state}, so {} cannot be built", self.name, list(&images));
        match self.pull {
            Some(failed) if images.is_empty() => pull(failed, None),
            Some(failed) => Notice { what, ..pull(failed, Some(Severity::Error)) },
            None => Notice { causes: vec!["there is no registry to ask".to_owned()], ..Notice::error(what) },
        }
    }
}

/// The base image that a build was not begun for, as people write it.
fn unavailable_base(failed: &FailedStep) -> Option<String> {
    match &failed.reason {
        Some(Reason::BaseUnavailable(base) | Reason::BaseOnlyFor { base, .. }) => Some(base.familiar()),
        _ => None,
    }
}

impl Unasked {
    /// What brings base images that nobody is asked for.
    pub fn hints(self, names: &[&str]) -> Vec<String> {
        let command = match names {
            [name] => format!("cargo xtask prefetch {name}"),
            _ => "cargo xtask prefetch".to_owned(),
        };
        let bundle = "`cargo xtask bundle load FILE` brings them from a bundle, which `cargo xtask bundle create` \
                      makes on a machine with a network";
        let bundle =
            if names.len() == 1 { bundle.replace("brings them", "brings it") } else { bundle.to_owned() };
        match self {
            Self::Offline => {
                vec![bundle, format!("`{command}` without --offline, where there is a network, pulls")]
            }
            Self::OtherPlatform => vec![
                "`--platform` with the platform that is here builds for that one".to_owned(),
                format!(
                    "`{command} --platform P` where there is a network, or a bundle from there, brings the other"
                ),
            ],
            Self::NoRegistry => vec![
                "name a registry that answers here: --internal-registry HOST, or a mirror below [mirrors] in \
                 .config/xtask.toml"
                    .to_owned(),
                bundle,
            ],
        }
    }
}

/// `` `api`, `web` and 3 more ``
pub(super) fn list(names: &[&str]) -> String {
    // "and 1 more" takes as much room as the name.
    let most = if names.len() == NAMED + 1 { names.len() } else { NAMED };
    let (named, more) = names.split_at(names.len().min(most));
    let quoted: Vec<String> = named.iter().map(|name| format!("`{name}`")).collect();
    match (quoted.split_last(), more.len()) {
        (Some((last, [])), 0) => last.clone(),
        (Some((last, others)), 0) => format!("{} and {last}", others.join(", ")),
        (_, more) => format!("{} and {more} more", quoted.join(", ")),
    }
}

/// Whether a builder's words are about this image: they name it whole, or as a registry's address has it.
fn asks_for(text: &str, name: &str) -> bool {
    let Ok(reference) = name.parse::<Reference>() else { return false };
    let tag = reference.tag().unwrap_or("latest");
    let address = match reference.digest() {
        Some(digest) => format!("/v2/{}/manifests/{digest}", reference.path()),
        None => format!("/v2/{}/manifests/{tag}", reference.path()),
    };
    let is_whole = |wanted: &str| {
        text.match_indices(wanted).any(|(at, _)| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/@".contains(c);
            let before = text[..at].chars().next_back().is_some_and(is_part);
            let mut after = text[at + wanted.len()..].chars();
            let follows = match after.next() {
                // `alpine:3: not found`, but not `alpine:3.19`.
                Some('.' | '-' | '_') => after.next().is_some_and(|c| c.is_ascii_alphanumeric()),
                Some(c) => c.is_ascii_alphanumeric() || c == '@',
                None => false,
            };
            !before && !follows
        })
    };
    let address_is_there = text.match_indices(&address).any(|(at, _)| {
        let after = text[at + address.len()..].chars().next();
        !after.is_some_and(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    });
    address_is_there || is_whole(&reference.to_string()) || is_whole(&reference.familiar())
}

#[cfg(test)]
mod tests {
    use super::super::summary::Summary;
    use super::super::testing::Story;
    use super::*;
    use crate::model::Outcome;
    use crate::report::resolve::Colour;

    /// Why something failed: as the plan says it, or as others do.
    enum Why {
        Planned(Box<Reason>),
        Said(&'static str),
    }
    use Why::{Planned, Said};

    /// What a run's end tells of failures: the phase, what it is about, and why.
    fn told(exit_code: u8, failures: &[(Phase, &str, Why)]) -> String {
        let mut story = Story::new();
        story.begin(3, 1);
        for (phase, subject, why) in failures {
            match why {
                Planned(reason) => story.leave_out(*phase, subject, (**reason).clone()),
                Said(why) => story.skip(*phase, subject, Outcome::Failed, why),
            };
        }
        story.end(Outcome::Failed, exit_code);
        let tellings = Summary::of(&story.events).tellings();
        tellings.iter().flat_map(|failure| failure.lines(Colour::No)).collect::<Vec<_>>().join("\n")
    }

    fn planned(reason: Reason) -> Why {
        Planned(Box::new(reason))
    }

    fn unavailable(name: &str) -> Why {
        planned(Reason::BaseUnavailable(name.parse().unwrap()))
    }

    #[test]
    fn a_missing_base_is_told_once_with_all_that_it_hits() {
        insta::assert_snapshot!(told(13, &[
            (Phase::Prefetch, "redis:7", planned(Reason::Offline)),
            (Phase::Alias, "redis:7", planned(Reason::NotInStore)),
            (Phase::Build, "api", unavailable("redis:7")),
            (Phase::Build, "web", unavailable("redis:7")),
            (Phase::Build, "odd", Said("Dockerfile:3: no such stage")),
        ]), @r"
        error: base image `redis:7` is missing, so `api` and `web` cannot be built
          caused by: missing, and --offline forbids to pull it
        error: cannot build image `odd`
          caused by: Dockerfile:3: no such stage
        hint: `cargo xtask bundle load FILE` brings it from a bundle, which `cargo xtask bundle create` makes on a machine with a network
        hint: `cargo xtask prefetch redis:7` without --offline, where there is a network, pulls
        hint: `cargo xtask build odd` tries again
        ");
    }

    #[test]
    fn without_a_registry_nobody_is_told_to_pull() {
        insta::assert_snapshot!(told(13, &[
            (Phase::Prefetch, "redis:7", planned(Reason::NoInternalRegistry)),
            (Phase::Build, "api", unavailable("redis:7")),
            (Phase::Build, "web", unavailable("alpine:3")),
        ]), @r"
        error: base image `redis:7` is missing, so `api` cannot be built
          caused by: missing, and the internal network has no registry: set INTERNAL_REGISTRY
        error: base image `alpine:3` is missing, so `web` cannot be built
          caused by: there is no registry to ask
        hint: name a registry that answers here: --internal-registry HOST, or a mirror below [mirrors] in .config/xtask.toml
        hint: `cargo xtask bundle load FILE` brings them from a bundle, which `cargo xtask bundle create` makes on a machine with a network
        ");
    }

    #[test]
    fn a_failed_pull_is_the_cause_of_the_builds_that_ask_for_it() {
        let old = "failed to create LLB definition: failed to do request: Head \
                   \"https://quay.example/v2/a/b/manifests/1\": no such host";
        let new =
            "quay.example/a/b:1: failed to resolve source metadata for quay.example/a/b:1: no such host";
        insta::assert_snapshot!(told(3, &[
            (Phase::Prefetch, "quay.example/a/b:1", Said("no such host\nhint: look at the name")),
            (Phase::Build, "api", Said(old)),
            (Phase::Build, "web", Said(new)),
            (Phase::Build, "odd", Said("failed to resolve source metadata for quay.example/a/b:1.2: no such host")),
        ]), @r#"
        error: base image `quay.example/a/b:1` is missing, so `api` and `web` cannot be built
          caused by: no such host
        hint: look at the name
        error: cannot build image `odd`
          caused by: failed to resolve source metadata for quay.example/a/b:1.2: no such host
        hint: `cargo xtask prefetch quay.example/a/b:1` tries again
        hint: `cargo xtask build odd` tries again
        "#);
    }

    #[test]
    fn words_of_builders_name_the_image_or_its_address() {
        for (text, name, expected) in [
            ("docker.io/library/alpine:3: not found", "alpine:3", true),
            ("alpine:3: not found", "alpine:3", true),
            ("alpine:3.19: not found", "alpine:3", false),
            ("my/alpine:3: not found", "alpine:3", false),
            ("\"https://registry-1.docker.io/v2/library/alpine/manifests/3\": EOF", "alpine:3", true),
            ("\"https://registry-1.docker.io/v2/library/alpine/manifests/3.19\": EOF", "alpine:3", false),
            ("RUN npm ci exited with 1", "alpine:3", false),
        ] {
            assert_eq!(asks_for(text, name), expected, "{text}");
        }
    }

    #[test]
    fn many_images_are_counted() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        assert_eq!(list(&names[..1]), "`a`");
        assert_eq!(list(&names[..2]), "`a` and `b`");
        assert_eq!(list(&names[..7]), "`a`, `b`, `c`, `d`, `e`, `f` and `g`");
        assert_eq!(list(&names), "`a`, `b`, `c`, `d`, `e`, `f` and 2 more");
    }
}
