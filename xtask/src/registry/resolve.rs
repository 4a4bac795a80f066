//! EFFECT: what registries say that a name stands for.
//!
//! In: the places where an image is looked for, in order, as prefetch has them. Out: its digest, and what is in it for
//! each platform that is wanted, or why no place gave it. What a registry says for the first time is read and hashed; a
//! registry that says one digest and sends another is an error, not a reason to ask the next one.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;

use crate::host::retry::{self, Policy};
use crate::model::{LockedImage, Platform, Reference};
use crate::registry::{Registry, RegistryError};

/// Questions that are asked at the same time.
const AT_A_TIME: usize = 6;

/// One external image to look for.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its name.
    pub original: Reference,
    /// Where to ask, in order.
    pub sources: Vec<Reference>,
    /// For what.
    pub platforms: BTreeSet<Platform>,
    /// What is locked now: of the same digest nothing more is asked.
    pub known: Option<LockedImage>,
}

/// What came of one question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This is what it stands for, and who says so.
    Found(LockedImage, Reference),
    /// Nobody gave it: who was asked, and what each said.
    Nowhere(Vec<(Reference, RegistryError)>),
    /// A registry does not keep its word.
    Lie(RegistryError),
}

/// Asks all questions, several at a time; the answers come in the order of the questions.
pub async fn ask(registry: &Registry, policy: &Policy, questions: &[Question]) -> Vec<Answer> {
    let answers = questions.iter().map(|question| ask_one(registry, policy, question));
    futures_util::stream::iter(answers).buffered(AT_A_TIME).collect().await
}

async fn ask_one(registry: &Registry, policy: &Policy, question: &Question) -> Answer {
    let mut failed = Vec::new();
    for source in &question.sources {
        let attempt = || look(registry, source, question);
        match retry::run(policy, attempt, &|_, _: Duration, _| {}).await {
            Ok(found) => return Answer::Found(found, source.clone()),
            Err(lie @ RegistryError::DigestMismatch { .. }) => return Answer::Lie(lie),
            Err(error) => failed.push((source.clone(), error)),
        }
    }
    Answer::Nowhere(failed)
}

async fn look(
    registry: &Registry,
    source: &Reference,
    question: &Question,
) -> Result<LockedImage, RegistryError> {
    let digest = registry.manifest_digest(source, None).await?;
    let mut found = LockedImage { digest: Some(digest.clone()), ..LockedImage::default() };
    if let Some(known) = question.known.as_ref().filter(|known| known.digest.as_ref() == Some(&digest)) {
        found.identities.clone_from(&known.identities);
    }
    for platform in &question.platforms {
        if !found.identities.contains_key(platform) {
            let identity = registry.identity(&source.pinned(&digest), platform).await?;
            found.identities.insert(platform.clone(), identity);
        }
    }
    Ok(found)
}
