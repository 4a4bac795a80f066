//! Steps that try things: a registry on this machine, images run and looked at, pushes looked up again.
//!
//! What they learn is for steps after them and for the end of the run, and is kept in the [`StepResults`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::failure::StepError;
use super::pull::MakeBase;
use super::step::{Done, Listeners};
use super::{ExecuteBundle, Execution, retry};
use crate::base_images::{checks, smoke};
use crate::build::Machine;
use crate::engine::{EngineError, OnProgress, Progress};
use crate::model::{
    ContainerId, Digest, LogStream, Platform, Reference, RegistrySpec, SmokeCheck, SmokeResult, SmokeSpec,
};
use crate::registry::local::{self, LocalRegistryError, Running, find_source};
use crate::registry::{RegistryError, web};

/// So many lines of a registry's own log are told when it has to be taken away.
const REGISTRY_LINES: usize = 200;

/// What steps learnt.
#[derive(Debug, Default)]
pub struct StepResults(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    pushed: BTreeMap<Reference, Digest>,
    confirmed: BTreeMap<Reference, Digest>,
    tried: Vec<Tried>,
    registries: BTreeMap<PathBuf, Running>,
    given: BTreeSet<Reference>,
}

/// An image that was tried.
#[derive(Clone, Debug)]
pub struct Tried {
    /// What was seen.
    pub seen: SmokeResult,
    /// What it came to.
    pub checks: Vec<SmokeCheck>,
}

impl StepResults {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A registry took this.
    pub(super) fn pushed(&self, reference: &Reference, digest: &Digest) {
        self.entries().pushed.insert(reference.clone(), digest.clone());
    }

    /// What this run pushed under a name.
    pub(super) fn digest_of(&self, reference: &Reference) -> Option<Digest> {
        self.entries().pushed.get(reference).cloned()
    }

    /// A step is about to give these names; it may be stopped before or after it has.
    pub(super) fn giving<'a>(&self, names: impl IntoIterator<Item = &'a Reference>) {
        self.entries().given.extend(names.into_iter().cloned());
    }

    /// Every name that a step gave, or was about to.
    pub fn given(&self) -> BTreeSet<Reference> {
        self.entries().given.clone()
    }

    /// Everything that was found in its registry just as it was pushed.
    pub fn confirmed(&self) -> BTreeMap<Reference, Digest> {
        self.entries().confirmed.clone()
    }

    /// Every image that was tried, in the order in which they were done.
    pub fn tried(&self) -> Vec<Tried> {
        self.entries().tried.clone()
    }

    /// The folder of the registry that listens there, if this run started it.
    fn registry_of(&self, domain: &str) -> Option<PathBuf> {
        let entries = self.entries();
        let found = entries.registries.iter().find(|(_, running)| running.record.domain() == domain);
        found.map(|(home, _)| home.clone())
    }

    /// Where the registry of a folder below the root listens; none when it was not started.
    pub fn registry_port(&self, home: &std::path::Path) -> Option<u16> {
        self.entries().registries.get(home).map(|running| running.record.port)
    }
}

impl<E: Machine, M: MakeBase, C: ExecuteBundle<E>> Execution<'_, E, M, C> {
    pub(super) async fn start_registry(&self, spec: &RegistrySpec) -> Result<Done, StepError> {
        let observed = match self.engine {
            Some(engine) => engine.observe().await?,
            None => Default::default(),
        };
        let source = find_source(&observed).ok_or(LocalRegistryError::NoSource)?;
        let running = local::start(self.engine, &source, self.root, spec).await?;
        let port = running.record.port;
        let place = format!("{} at {}", running.record.source, running.record.domain());
        let detail = if port == spec.port {
            place
        } else {
            format!("{place}, since port {} is somebody else's", spec.port)
        };
        self.results.entries().registries.insert(self.root.join(&spec.home), running);
        Ok(Done::because(detail))
    }

    /// Pushes once. Of a registry that this run started it is seen why it failed, and whether it would again.
    pub(super) async fn push_once(
        &self,
        engine: &E,
        reference: &Reference,
        tell: OnProgress<'_>,
    ) -> Result<Digest, EngineError> {
        let error = match engine.push(reference, tell).await {
            Err(error @ EngineError::Transient { .. }) => error,
            pushed => return pushed,
        };
        let home = self.results.registry_of(reference.domain());
        match home {
            Some(home) if local::has_no_space(self.engine, &home).await => {
                let home = home.display();
                Err(EngineError::Other(format!("the registry on this machine has no space left in {home}")))
            }
            _ => Err(error),
        }
    }

    /// Asks the registry what it has under a name that was pushed. Another digest, or nothing, is an error; of one that
    /// does not let itself be asked there is only the engine's word, which is told.
    pub(super) async fn arrived(
        &self,
        reference: &Reference,
        pushed: &Digest,
        (tell, retrying): Listeners<'_>,
    ) -> Result<(), StepError> {
        let Some(registry) = self.puller.registry() else { return Ok(()) };
        let ask = || async {
            match registry.named_digest(reference).await {
                // Some fronts answer so to HEAD, whatever is there.
                Err(RegistryError::NotFound(_)) => registry.sent_digest(reference).await,
                found => found,
            }
        };
        let answer = retry::run(self.puller.policy(), ask, retrying).await;
        // At such an address an engine on another machine has another registry than this one.
        let is_elsewhere = web::is_loopback(reference.domain())
            && !self.engine.is_some_and(|engine| engine.may_share_loopback());
        let differs = |found: String| StepError::Differs {
            reference: reference.clone(),
            found,
            expected: pushed.to_string(),
        };
        match arrival(pushed, answer) {
            Arrival::There => Ok(()),
            Arrival::Missing | Arrival::Unknown(_) if is_elsewhere => Ok(()),
            Arrival::Unknown(cause) => {
                let domain = reference.domain();
                tell(Progress::Warning(format!(
                    "{domain} does not say whether it has it, and the engine says so: {cause}"
                )));
                Ok(())
            }
            Arrival::Missing => Err(differs("has nothing by that name".to_owned())),
            Arrival::Other(found) => Err(differs(format!("has {found}"))),
        }
    }

    pub(super) async fn stop_registry(&self, home: &str, tell: OnProgress<'_>) -> Result<Done, StepError> {
        let home = self.root.join(home);
        let said = local::said(self.engine, &home).await;
        for line in said.iter().skip(said.len().saturating_sub(REGISTRY_LINES)) {
            tell(Progress::Log { stream: LogStream::Stderr, line: line.clone() });
        }
        let running = self.results.entries().registries.remove(&home);
        match running {
            Some(running) => running.stop(self.engine, self.root, &home).await?,
            None => drop(local::down(self.engine, self.root, &home).await?),
        }
        Ok(Done::because("removed, with all that it stored"))
    }

    pub(super) async fn try_out(&self, spec: &SmokeSpec, tell: OnProgress<'_>) -> Result<Done, StepError> {
        let seen = smoke::try_out(self.engine()?, spec, tell).await?;
        let checks = checks::judge(&seen, &spec.expected);
        for warned in checks.iter().filter(|check| check.verdict == crate::model::SmokeVerdict::Warned) {
            tell(Progress::Warning(format!("{}: {}", warned.name, warned.detail)));
        }
        let size = seen.details.as_ref().map(|details| details.size);
        let wrong = checks::verdict(&checks);
        let passed = format!(
            "{} checks passed, healthy after {:.1} s",
            checks.len(),
            seen.healthy_after.as_secs_f64()
        );
        self.results.entries().tried.push(Tried { seen, checks });
        match wrong {
            Some(wrong) => Err(StepError::Smoke(wrong)),
            None => Ok(Done { size, ..Done::because(passed) }),
        }
    }

    /// What a registry has under the name is what was pushed, and its content is the image that is here.
    pub(super) async fn confirm(
        &self,
        reference: &Reference,
        tell: OnProgress<'_>,
        retrying: retry::OnRetry<'_>,
    ) -> Result<Done, StepError> {
        let engine = self.engine()?;
        let registry = self.puller.registry().ok_or_else(|| RegistryError::Unreachable {
            domain: reference.domain().to_owned(),
            cause: "--offline forbids to ask it".to_owned(),
        })?;
        let pushed = self.results.digest_of(reference);
        let pushed = pushed
            .ok_or_else(|| EngineError::NotFound(format!("what was pushed as {}", reference.familiar())))?;
        let policy = self.puller.policy();
        let found = retry::run(policy, || registry.sent_digest(reference), retrying).await?;
        let differs = |found: String, expected: &str| StepError::Differs {
            reference: reference.clone(),
            found,
            expected: expected.to_owned(),
        };
        if found != pushed {
            return Err(differs(format!("has {found}"), pushed.as_str()));
        }
        let here =
            engine.inspect(reference).await?.ok_or_else(|| EngineError::NotFound(reference.familiar()))?;
        let pinned: Reference = format!("{}@{pushed}", reference.repository())
            .parse()
            .map_err(|_| EngineError::Other(format!("{reference} cannot be pinned to {pushed}")))?;
        let platform = here.platform.clone().unwrap_or_else(Platform::local);
        // An engine that still has what it pushed may ask for nothing, so this alone would prove nothing.
        retry::run(policy, || engine.pull(&pinned, &platform, tell), retrying).await?;
        let back = engine.inspect(&pinned).await?.map(|image| image.id);
        if back.as_ref() != Some(&here.id) {
            let back = back.map_or_else(|| "gives nothing".to_owned(), |id| format!("gives {id}"));
            return Err(differs(back, here.id.as_str()));
        }
        self.results.entries().confirmed.insert(reference.clone(), pushed.clone());
        Ok(Done::because(pushed.to_string()))
    }

    /// Removes a container; what it printed is the step's log.
    pub(super) async fn remove_container(
        &self,
        id: &ContainerId,
        tell: OnProgress<'_>,
    ) -> Result<Done, StepError> {
        let engine = self.engine()?;
        for (stream, line) in engine.logs(id).await.unwrap_or_default() {
            tell(Progress::Log { stream, line });
        }
        engine.stop(id, Duration::from_secs(1)).await?;
        engine.remove_container(id).await?;
        Ok(Done::because(id.short()))
    }
}

/// What a registry says of something that was pushed.
#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    /// It has it.
    There,
    /// It has nothing by that name.
    Missing,
    /// It has something else, or says one thing and sends another.
    Other(String),
    /// It does not say.
    Unknown(String),
}

fn arrival(pushed: &Digest, answer: Result<Digest, RegistryError>) -> Arrival {
    match answer {
        Ok(found) if found == *pushed => Arrival::There,
        Ok(found) => Arrival::Other(found.to_string()),
        Err(RegistryError::NotFound(_)) => Arrival::Missing,
        Err(RegistryError::DigestMismatch { promised, found, .. }) => {
            Arrival::Other(format!("{promised} by its own word and sends {found}"))
        }
        Err(error) => Arrival::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_there_when_the_registry_says_so() {
        let [pushed, other] = [[1; 32], [2; 32]].map(|bytes| Digest::from_sha256(&bytes));
        let forbidden = RegistryError::Status { domain: "r.example".to_owned(), status: 405 };
        let lie = RegistryError::DigestMismatch {
            reference: "a:1".to_owned(),
            promised: other.clone(),
            found: pushed.clone(),
        };
        for (answer, expected) in [
            (Ok(pushed.clone()), Arrival::There),
            (Ok(other.clone()), Arrival::Other(other.to_string())),
            (Err(RegistryError::NotFound("x".to_owned())), Arrival::Missing),
            (Err(lie), Arrival::Other(format!("{other} by its own word and sends {pushed}"))),
            (Err(forbidden.clone()), Arrival::Unknown(forbidden.to_string())),
        ] {
            assert_eq!(arrival(&pushed, answer), expected);
        }
    }
}
