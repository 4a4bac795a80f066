//! EFFECT: what base images run on that are wanted for another platform than the engine's own.
//!
//! A listing does not tell platforms, and for the engine's own nobody is asked: nearly every run is one of those, and
//! observing stays the same few calls. An image that is here for the wrong platform would else count as present, and
//! the builder would go and look for the right one in a registry.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;

use crate::engine::{AnyEngine, Engine as _};
use crate::model::{Observed, Platform, Reference};

/// How many images are asked about at the same time.
const QUESTIONS: usize = 8;

/// Asks about each base image that is here and wanted for another platform. One that cannot be asked about stays unknown.
pub(super) async fn learn_platforms(
    engine: &AnyEngine,
    observed: &mut Observed,
    wanted: impl Iterator<Item = (&Reference, &Platform)>,
) {
    let Some(own) = observed.capabilities.as_ref().map(|found| found.platform.clone()) else { return };
    let is_asked_about = |(name, platform): &(&Reference, &Platform)| {
        !own.serves(platform) && observed.find(name).is_some_and(|image| image.platform.is_none())
    };
    let names: BTreeSet<&Reference> = wanted.filter(is_asked_about).map(|(name, _)| name).collect();
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
        for (wanted, questions, known) in [(&amd64, 0, None), (&arm64, 1, Some(&amd64))] {
            let before = fake.count(Verb::Inspect);
            // As a listing gives it.
            let listed = LocalImage { platform: None, ..fake_image("base", &[&here]) };
            let mut observed = Observed::new(capabilities.clone(), vec![listed]);
            let wishes = [(&here, wanted), (&absent, wanted), (&here, wanted)];
            learn_platforms(&engine, &mut observed, wishes.into_iter()).await;
            assert_eq!(fake.count(Verb::Inspect) - before, questions, "{wanted}");
            assert_eq!(observed.find(&here).unwrap().platform.as_ref(), known, "{wanted}");
        }
    }
}
