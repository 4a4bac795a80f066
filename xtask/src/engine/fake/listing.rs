//! What the fake engine lists: all of its images, or those with names that match a pattern, as containerd's store does.

use globset::{Glob, GlobBuilder};

use super::State;
use crate::model::{Capabilities, LocalImage, Platform, Reference};

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        name: "fake".to_owned(),
        version: "1.0".to_owned(),
        api: (1, 41),
        buildkit: true,
        platform: Platform::local(),
        keeps: Default::default(),
    }
}

impl State {
    pub(super) fn listed(&self) -> Vec<LocalImage> {
        // A listing knows neither.
        let listed = |image: &LocalImage| LocalImage { platform: None, identity: None, ..image.clone() };
        self.images.iter().map(listed).collect()
    }

    /// Names that match none of the patterns are left out, and images without a name then.
    pub(super) fn listed_as(&self, patterns: &[String]) -> Vec<LocalImage> {
        let patterns: Vec<Glob> = patterns.iter().filter_map(|pattern| glob(pattern)).collect();
        let matches = |name: &Reference| {
            let forms = [name.familiar(), name.familiar_repository()];
            patterns.iter().any(|pattern| {
                let matcher = pattern.compile_matcher();
                forms.iter().any(|form| matcher.is_match(form))
            })
        };
        let mut images = self.listed();
        images.retain_mut(|image| {
            let (names, others): (Vec<_>, Vec<_>) = image.names.iter().cloned().partition(&matches);
            // A digest that is listed for a name's sake goes with it.
            image.digests.retain(|digest| {
                let is_of = |name: &Reference| name.repository() == digest.repository();
                matches(digest) || (names.iter().any(is_of) && !others.iter().any(is_of))
            });
            image.names = names;
            !(image.names.is_empty() && image.digests.is_empty())
        });
        images
    }
}

fn glob(pattern: &str) -> Option<Glob> {
    GlobBuilder::new(pattern).literal_separator(true).build().ok()
}
