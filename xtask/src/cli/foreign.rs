//! EFFECT: what base images run on.
//!
//! A listing does not tell platforms. An image that is here for the wrong one would count as present, and the builder
//! would go and look for the right one in a registry. So what is wanted for another platform than the engine's own is
//! asked about whenever the store is observed; nearly every run wants nothing of the kind, and observing stays the same
//! few calls. Of the others only those are asked about that something is about to be built on while no registry may be
//! asked.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;

use crate::engine::{AnyEngine, Store as _};
use crate::model::{Observed, Platform, Reference};

/// How many images are asked about at the same time.
const QUESTIONS: usize = 8;

/// Which of the wanted images are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Those that are wanted for another platform than the engine's own.
    Foreign,
    /// All.
    All,
}

/// Asks about images that are here and wanted for a platform, under any of the names given. One that cannot be asked
/// about stays unknown. Says whether there is one that does not serve.
pub(super) async fn learn_platforms(
    engine: &AnyEngine,
    observed: &mut Observed,
    wanted: &[(Reference, Platform)],
    asked: Asked,
) -> bool {
    let Some(own) = observed.capabilities.as_ref().map(|found| found.platform.clone()) else { return false };
    let is_asked_about = |(name, platform): &&(Reference, Platform)| {
        (asked == Asked::All || !own.serves(platform))
            && observed.find(name).is_some_and(|image| image.platform.is_none())
    };
    let names: BTreeSet<&Reference> = wanted.iter().filter(is_asked_about).map(|(name, _)| name).collect();
    let found: Vec<_> = futures_util::stream::iter(names)
        .map(|name| async move { (name, engine.inspect(name).await) })
        .buffer_unordered(QUESTIONS)
        .collect()
        .await;
    for (name, image) in found {
        if let Some(platform) = image.ok().flatten().and_then(|image| image.platform) {
            observed.learn_platform(name, platform);
        }
    }
    wanted.iter().any(|(name, platform)| {
        let found = observed.find(name).and_then(|image| image.platform.as_ref());
        found.is_some_and(|found| !found.serves(platform))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{FakeEngine, Verb, fake_image};
    use crate::model::LocalImage;

    #[tokio::test]
    async fn only_what_is_wanted_for_another_platform_is_asked_about() {
        let [here, absent] = ["debian:1", "absent:1"].map(|name| name.parse::<Reference>().unwrap());
        let [amd64, arm64] = ["linux/amd64", "linux/arm64"].map(|name| name.parse::<Platform>().unwrap());
        let fake = FakeEngine::new();
        fake.store(LocalImage { platform: Some(amd64.clone()), ..fake_image("base", &[&here]) });
        let engine: AnyEngine = fake.clone().into();
        let mut capabilities = engine.observe().await.unwrap().capabilities.unwrap();
        capabilities.platform = amd64.clone();
        for (wanted, asked, questions, known, does_not_serve) in [
            (&amd64, Asked::Foreign, 0, None, false),
            (&amd64, Asked::All, 1, Some(&amd64), false),
            (&arm64, Asked::Foreign, 1, Some(&amd64), true),
        ] {
            let before = fake.count(Verb::Inspect);
            // As a listing gives it.
            let listed = LocalImage { platform: None, identity: None, ..fake_image("base", &[&here]) };
            let mut observed = Observed::new(capabilities.clone(), vec![listed]);
            let wishes = [&here, &absent, &here].map(|name| (name.clone(), wanted.clone()));
            assert_eq!(
                learn_platforms(&engine, &mut observed, &wishes, asked).await,
                does_not_serve,
                "{wanted}"
            );
            assert_eq!(fake.count(Verb::Inspect) - before, questions, "{wanted}");
            assert_eq!(observed.find(&here).unwrap().platform.as_ref(), known, "{wanted}");
        }
    }
}
