//! Which of the caches that builds are offered the registries have. A builder asks for one name after the other and says
//! nothing of those that it does not get; here all are asked for at once, and what is missing is said once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;

use super::session::Session;
use crate::events::Emitter;
use crate::model::{EventKind, Plan, Reference, RegistryPrefix, StepKind};
use crate::plan::cache::{self, Surroundings};
use crate::registry::{Registry, RegistryError};

/// Questions at the same time.
const AT_A_TIME: usize = 16;

/// What was asked in this run.
#[derive(Default)]
pub(super) struct Caches {
    /// Whether a registry has it.
    known: BTreeMap<Reference, bool>,
    /// The caches of which something was said.
    told: BTreeSet<String>,
}

impl Caches {
    /// Leaves builds only the names that a registry has.
    pub async fn withdraw_absent(
        &mut self,
        session: &Session,
        around: Surroundings<'_>,
        emitter: &Emitter,
        plan: &mut Plan,
    ) {
        let caches = &session.config.cache_from;
        let offered = cache::offered(plan, caches);
        let is_building = plan.steps.iter().any(|step| matches!(step.kind, StepKind::Build(_)));
        let registry = session.registry();
        for cache in caches {
            if let Some(why) = around.forbid(cache) {
                if is_building && self.told.insert(cache.to_string()) {
                    let message = format!("cache {cache} is not asked: {why}");
                    emitter.emit(EventKind::StepWarning { step: None, message });
                }
                continue;
            }
            let of_cache = offered.iter().filter(|name| cache.strip(name).is_some());
            let new: Vec<&Reference> = of_cache.filter(|name| !self.known.contains_key(*name)).collect();
            if new.is_empty() {
                continue;
            }
            let said = match look(&registry, cache, &new).await {
                Ok(found) => {
                    let absent = found.iter().filter(|is_there| !**is_there).count();
                    self.known.extend(new.iter().map(|name| (*name).clone()).zip(found));
                    (absent > 0).then(|| {
                        format!(
                            "cache {cache}: {absent} of {} stages are not there yet, so they are built anew",
                            new.len()
                        )
                    })
                }
                Err(why) => {
                    self.known.extend(new.iter().map(|name| ((*name).clone(), false)));
                    Some(format!("cache {cache} is of no use now: {why}"))
                }
            };
            if let Some(message) = said
                && self.told.insert(cache.to_string())
            {
                emitter.emit(EventKind::StepWarning { step: None, message });
            }
        }
        let absent = self.known.iter().filter(|(_, is_there)| !**is_there).map(|(name, _)| name.clone());
        cache::withdraw(plan, &absent.collect());
    }
}

/// Which of these names a registry has; an error is one that concerns all of them.
async fn look(
    registry: &Registry,
    cache: &RegistryPrefix,
    names: &[&Reference],
) -> Result<Vec<bool>, String> {
    registry.probe(cache.domain()).await.map_err(|error| error.to_string())?;
    let asked = names.iter().map(|name| async {
        match registry.manifest_digest(name, None).await {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound(_)) => Ok(false),
            // Many registries deny what they do not have.
            Err(RegistryError::Denied { .. }) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    });
    let answers: Vec<Result<bool, String>> =
        futures_util::stream::iter(asked).buffered(AT_A_TIME).collect().await;
    answers.into_iter().collect()
}
