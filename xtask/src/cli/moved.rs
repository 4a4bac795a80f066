//! `--pull`: what the names of external images stand for by now, as registries say, beside what is here.
//!
//! In: what the selected images stand on, the store, who may be asked. Out: for each name whose image is here, why it is
//! pulled again or why not. A tag that did not move costs one question and no pull; a name with a digest never moves.

use std::collections::{BTreeMap, BTreeSet};

use super::session::Session;
use super::world::World;
use crate::cli::error::{Error, ErrorKind};
use crate::host::retry::Policy;
use crate::model::{
    ImageName, Indexes, LocalImage, LockedImage, Network, Observed, Originals, Platform, Reason, Reference,
};
use crate::plan::prefetch::places;
use crate::plan::{Request, facts};
use crate::registry::resolve::{self, Answer, Question};

/// Says what `--pull` cannot be together with.
///
/// # Errors
/// With `--offline` nobody can be asked, and with `--locked` tags do not count.
pub(super) fn refuse(session: &Session) -> Result<(), Error> {
    let refused = |why, hint: &str| Err(Error::new(ErrorKind::Usage, why).hint(hint));
    if session.config.offline {
        return refused(
            "--pull asks registries whether tags moved, and --offline forbids to ask anybody",
            "leave one of the two out; offline, images are built on what is here",
        );
    }
    if session.config.locked {
        return refused(
            "--pull follows tags that moved, and --locked takes nothing but what images.lock says",
            "`cargo xtask lock update` asks registries and moves the lock",
        );
    }
    Ok(())
}

/// Asks, several registries at a time.
pub(super) async fn ask(
    session: &Session,
    world: &World,
    request: &Request,
    selected: &BTreeSet<ImageName>,
    network: Network,
) -> BTreeMap<Reference, Reason> {
    let config = &session.config;
    let known = world.tree.base_images(&world.tree.all());
    let originals = Originals::new(session.config.alias_rules(), known.iter().chain(&request.references));
    let platform = facts::platform(&session.config, &world.observed);
    let named = request.references.iter().map(|reference| (reference.clone(), platform.clone()));
    let mut here: BTreeMap<Reference, &LocalImage> = BTreeMap::new();
    let mut questions = Vec::new();
    for (written, platform) in world.tree.wanted(selected, Indexes::NotKept).into_iter().chain(named) {
        let original = originals.original_of(&written);
        let image = present(world, &originals, &original, &written);
        let Some(image) = image.filter(|_| original.digest().is_none()) else { continue };
        if here.insert(original.clone(), image).is_some() {
            continue;
        }
        let sources = places(&original, &[written], &originals, &config.mirrors, network);
        questions.push(Question {
            known: Some(as_known(image, &world.observed, &original, &platform)),
            sources: sources.unwrap_or_default(),
            platforms: BTreeSet::from([platform]),
            original,
        });
    }
    let answers = resolve::ask(&session.registry(), &Policy::new(config.retries), &questions).await;
    let said = questions.iter().zip(answers).filter_map(|(question, answer)| {
        let image = here.get(&question.original)?;
        Some((question.original.clone(), judge(image, question, answer)))
    });
    said.collect()
}

/// The image that answers to any of its names.
fn present<'w>(
    world: &'w World,
    originals: &Originals<'_>,
    original: &Reference,
    written: &Reference,
) -> Option<&'w LocalImage> {
    let aliases = originals.rules().names_of(original);
    let names = [Some(original.clone()), Some(written.clone()), aliases.internal, aliases.localhost];
    names.into_iter().flatten().find_map(|name| world.observed.find(&name))
}

/// What is here, as a lock would say it.
fn as_known(
    image: &LocalImage,
    observed: &Observed,
    original: &Reference,
    platform: &Platform,
) -> LockedImage {
    let mut digests = image.digests.iter();
    let own = digests.find(|digest| digest.repository() == original.repository());
    LockedImage {
        digest: own.or(image.digests.first()).and_then(|name| name.digest().cloned()),
        // Where its digest says enough, a registry is asked no more than that, whatever else is known.
        identities: BTreeMap::from([(platform.clone(), observed.identity_of(image))]),
        ..LockedImage::of(image, platform)
    }
}

fn judge(image: &LocalImage, question: &Question, answer: Answer) -> Reason {
    let known = question.known.clone().unwrap_or_default();
    match answer {
        Answer::Found(now, place) if now.is(image) => {
            Reason::TagUnmoved { is: now.shown(), registry: place.domain().to_owned() }
        }
        Answer::Found(now, place) => {
            Reason::TagMoved { from: known.shown(), to: now.shown(), registry: place.domain().to_owned() }
        }
        Answer::Lie(error) => Reason::TagUnknown(error.to_string()),
        Answer::Nowhere(failed) if failed.is_empty() => {
            Reason::TagUnknown("there is no registry to ask".to_owned())
        }
        Answer::Nowhere(failed) => {
            let is_one = failed.len() == 1;
            let causes = failed.iter().map(|(place, error)| match is_one {
                true => error.to_string(),
                false => format!("{}: {error}", place.familiar()),
            });
            Reason::TagUnknown(causes.collect::<Vec<_>>().join("; "))
        }
    }
}
