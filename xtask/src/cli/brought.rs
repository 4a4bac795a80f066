//! EFFECT: what is in external base images, and what they bring to those that stand on them (`ONBUILD`).
//!
//! A listing does not tell it, so an engine is asked for each image once, and what it told is remembered by the image's ID,
//! which says all that is in it. What a name stood for is remembered too: reading the tree begins before the engine has
//! answered, and goes on without one. So are the names to list images by: they are asked for while the tree is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use crate::engine::{AnyEngine, Store as _};
use crate::host::inside;
use crate::model::{
    Brought, Identity, Image, ImageDetails, ImageId, ImageSource, Observed, Reference, Triggers, Upstreams,
};
use crate::read::graph::ImageGraph;

/// Where it is remembered, relative to the root.
const FILE: &str = "target/xtask/cache/bases.json";

/// How many images are asked about at the same time.
const QUESTIONS: usize = 8;

/// What engines have told.
#[derive(Debug)]
pub(super) struct Remembered {
    root: PathBuf,
    told: Told,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// By image ID; null where an engine lists an image and does not tell of it.
    images: BTreeMap<ImageId, Option<ToldImage>>,
    /// Which image a name stood for.
    names: BTreeMap<Reference, ImageId>,
    /// By which names the images of this tree are listed, where a list of all takes an engine long.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    listed: BTreeSet<String>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ToldImage {
    identity: Identity,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    triggers: Vec<String>,
}

impl Remembered {
    /// Reads it. A file that is missing or foreign tells nothing.
    pub(super) fn load(root: &Path) -> Self {
        let text = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
        Self { root: root.to_owned(), told: serde_json::from_str(&text).unwrap_or_default() }
    }

    /// What the images bring that all known names stood for.
    pub(super) fn guess(&self) -> Triggers {
        let of = |(name, id): (&Reference, &ImageId)| Some((name.clone(), self.told.of(id)?));
        self.told.names.iter().filter_map(of).filter(|(_, brought)| is_told(brought)).collect()
    }

    /// Completes what was seen of a store by what is in the images of these names, asked for where nobody knows. Returns
    /// what they bring; one that is not here may bring anything.
    pub(super) async fn learn(
        &mut self,
        engine: &AnyEngine,
        observed: &mut Observed,
        names: &BTreeSet<&Reference>,
        upstreams: &Upstreams,
    ) -> Triggers {
        let before = self.told.clone();
        let found: Vec<(&Reference, Reference, ImageId)> = names
            .iter()
            .filter_map(|name| {
                let (found, image) = upstreams.find(name, observed)?;
                // One that was loaded answers to no name with a digest, whatever its content is.
                let asked = image.names.first().filter(|_| found.digest().is_some()).unwrap_or(found);
                Some((*name, asked.clone(), image.id.clone()))
            })
            .collect();
        let here: BTreeMap<&Reference, &ImageId> = found.iter().map(|(name, _, id)| (*name, id)).collect();
        let is_unknown = |id: &ImageId| !self.told.images.contains_key(id);
        let unknown: BTreeMap<&ImageId, &Reference> =
            found.iter().filter(|(.., id)| is_unknown(id)).map(|(_, found, id)| (id, found)).collect();
        let answers: Vec<_> = futures_util::stream::iter(unknown)
            .map(|(id, name)| async move { (id, engine.details(name).await) })
            .buffer_unordered(QUESTIONS)
            .collect()
            .await;
        for (id, answer) in answers {
            // An engine that could not answer is asked again next time.
            let is_told = |details: &ImageDetails| details.identity != Identity::of_stored(id);
            if let Ok(details) = answer
                && details.as_ref().is_none_or(is_told)
            {
                let told = |details: ImageDetails| ToldImage {
                    identity: details.identity,
                    triggers: details.triggers,
                };
                self.told.images.insert(id.clone(), details.map(told));
            }
        }
        for id in here.values() {
            if let Some(Some(told)) = self.told.images.get(*id) {
                observed.learn_identity(id, told.identity.clone());
            }
        }
        self.told.names.extend(here.iter().map(|(name, id)| ((*name).clone(), (*id).clone())));
        if self.told != before {
            self.told.keep(names);
            // A convenience: without it an engine is asked once more.
            let _ = self.save();
        }
        let brought = |name: &&Reference| {
            let told = here.get(*name).and_then(|id| self.told.of(id));
            ((*name).clone(), told.unwrap_or(Brought::Unknown))
        };
        names.iter().map(brought).filter(|(_, brought)| is_told(brought)).collect()
    }

    /// The names to list images by; none where all are listed.
    pub(super) fn listed(&self) -> &BTreeSet<String> {
        &self.told.listed
    }

    /// By which names the next run is to list images.
    pub(super) fn list(&mut self, names: BTreeSet<String>) {
        if self.told.listed != names {
            self.told.listed = names;
            // A convenience: without it all images are listed.
            let _ = self.save();
        }
    }

    fn save(&self) -> std::io::Result<()> {
        inside::Folder::open(&self.root)?.write(FILE, &serde_json::to_vec(&self.told)?, None)
    }
}

impl Told {
    fn of(&self, id: &ImageId) -> Option<Brought> {
        let told = self.images.get(id)?.clone();
        Some(told.map_or(Brought::Unknown, |told| Brought::Known(told.triggers)))
    }

    /// Forgets all but these names and the images that they stand for.
    fn keep(&mut self, names: &BTreeSet<&Reference>) {
        self.names.retain(|name, _| names.contains(name));
        let named: BTreeSet<&ImageId> = self.names.values().collect();
        self.images.retain(|id, _| named.contains(id));
    }
}

/// Nothing brought is the rule, and is not kept.
fn is_told(brought: &Brought) -> bool {
    *brought != Brought::default()
}

/// The external images that stages of this tree stand on.
pub(super) fn stood_upon(graph: &ImageGraph) -> BTreeSet<&Reference> {
    let of = |image| -> Vec<&Reference> {
        let image: &Image = image;
        let ImageSource::Build(target) = &image.source else { return Vec::new() };
        let mut names: Vec<&Reference> = Vec::new();
        for name in target.triggers.keys() {
            match image.asks_for.get(name).and_then(|owner| graph.get(owner)).map(|owner| &owner.source) {
                None => names.push(name),
                Some(ImageSource::External(source)) => names.push(source),
                Some(ImageSource::Build(_)) => {}
            }
        }
        names
    };
    graph.images().iter().flat_map(of).collect()
}

/// Whether one of these names brings something else than was known.
pub(super) fn differs(names: &BTreeSet<&Reference>, known: &Triggers, now: &Triggers) -> bool {
    names.iter().any(|name| known.get(name) != now.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{FakeBehaviour, FakeEngine, Verb, fake_image};
    use crate::model::stand_in;

    #[tokio::test]
    async fn an_image_is_asked_about_once_and_an_absent_one_may_bring_anything() {
        let root = tempfile::tempdir().unwrap();
        let [bringing, plain, absent] = ["a:1", "b:1", "c:1"].map(|name| name.parse::<Reference>().unwrap());
        let fake = FakeEngine::new();
        fake.store(fake_image("a", &[&bringing]));
        fake.store(fake_image("b", &[&plain]));
        let engine: AnyEngine = fake.clone().into();
        let mut details = engine.details(&bringing).await.unwrap().unwrap();
        details.triggers = vec!["COPY . /app".to_owned()];
        fake.behave("a:1", FakeBehaviour { details: Some(details), ..FakeBehaviour::default() });
        let names = BTreeSet::from([&bringing, &plain, &absent]);
        let known = Brought::Known(vec!["COPY . /app".to_owned()]);
        let before = fake.count(Verb::Details);
        for questions in [2, 2] {
            let mut observed = engine.observe().await.unwrap();
            let mut remembered = Remembered::load(root.path());
            let brought = remembered.learn(&engine, &mut observed, &names, &Upstreams::default()).await;
            let expected =
                Triggers::from([(bringing.clone(), known.clone()), (absent.clone(), Brought::Unknown)]);
            assert_eq!(brought, expected);
            assert_eq!(fake.count(Verb::Details) - before, questions, "remembered by ID");
        }
        assert_eq!(Remembered::load(root.path()).guess(), Triggers::from([(bringing.clone(), known)]));
        // The name stands for another image now, which brings nothing.
        fake.store(fake_image("another a", &[&bringing]));
        fake.behave("a:1", FakeBehaviour::default());
        let mut observed = engine.observe().await.unwrap();
        let brought =
            Remembered::load(root.path()).learn(&engine, &mut observed, &names, &Upstreams::default()).await;
        assert_eq!(brought, Triggers::from([(absent, Brought::Unknown)]));
    }

    #[tokio::test]
    async fn what_is_pinned_and_was_loaded_is_asked_about_by_a_name_that_it_has() {
        let root = tempfile::tempdir().unwrap();
        let tag: Reference = "a:1".parse().unwrap();
        let pinned: Reference = format!("a:1@sha256:{}", "5".repeat(64)).parse().unwrap();
        let fake = FakeEngine::new();
        fake.store(fake_image("a", &[&tag, &stand_in(&pinned).unwrap()]));
        let engine: AnyEngine = fake.clone().into();
        let mut observed = engine.observe().await.unwrap();
        let names = BTreeSet::from([&tag, &pinned]);
        let mut remembered = Remembered::load(root.path());
        remembered.learn(&engine, &mut observed, &names, &Upstreams::default()).await;
        let identity = engine.details(&tag).await.unwrap().unwrap().identity;
        assert_eq!(
            [&tag, &pinned].map(|name| observed.identity(name)),
            [Some(identity.clone()), Some(identity)]
        );
    }
}
