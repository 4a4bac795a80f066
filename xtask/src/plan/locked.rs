//! Pure: the external images of a plan held to `images.lock`: what is pulled is what is locked, and what is here has to
//! be that too.
//!
//! In: a lock, who names what, the store. Out: [`LockFinding`]s, pins for prefetch, and reasons not to build on an image.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::prefetch::Pin;
use super::request::Request;
use crate::model::{ImageName, Observed, Originals, Phase, Plan, Reason, Reference, StepKind};
use crate::plan::image_lock::judge::{self, LockState};
use crate::plan::image_lock::text::ReadLock;
use crate::plan::image_lock::uses::{self, Use};

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub struct LockInput<'a> {
    /// The lock.
    pub lock: &'a ReadLock,
    /// Its file, for messages.
    pub file: &'a str,
    /// What the selected images name.
    pub uses: &'a BTreeMap<Reference, Use>,
    /// Every original of the tree.
    pub originals: &'a Originals<'a>,
    /// The store.
    pub observed: &'a Observed,
}

/// An external image that is not as the lock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockFinding {
    /// Which.
    pub original: Reference,
    /// Every form of it that is named.
    pub forms: Vec<Reference>,
    /// What is wrong: [`Reason::NotLocked`], [`Reason::NotAsLocked`] or [`Reason::LockedMissing`].
    pub why: Reason,
    /// Who names it: `src/api/Dockerfile:3`.
    pub places: Vec<String>,
}

/// Everything that is not as the lock says. With no engine to ask only what the lock lacks is found.
pub fn findings(input: &LockInput<'_>) -> Vec<LockFinding> {
    let rules = input.originals.rules();
    let mut found = Vec::new();
    for (original, used) in input.uses {
        let names = rules.names_of(original);
        let further: Vec<Reference> = [names.internal, names.localhost].into_iter().flatten().collect();
        let locked = input.lock.lock.images.get(original);
        let (lock, locked) = (
            judge::place(input.file, input.lock, original),
            locked.map(crate::model::LockedImage::shown).unwrap_or_default(),
        );
        let find = |name: &Reference| input.originals.upstreams().at(name, input.observed);
        let why = match judge::standing(original, used, &further, &input.lock.lock, find) {
            LockState::AsLocked => continue,
            LockState::NotLocked => Reason::NotLocked { lock: input.file.to_owned() },
            _ if input.observed.capabilities.is_none() => continue,
            LockState::Absent => Reason::LockedMissing { name: original.clone(), lock, locked },
            LockState::Differs { name, found } => Reason::NotAsLocked { name, found, lock, locked },
        };
        found.push(LockFinding {
            original: original.clone(),
            forms: std::iter::once(original.clone()).chain(used.written.iter().cloned()).collect(),
            why,
            places: used.places.clone(),
        });
    }
    found
}

/// What pulls of locked images are held to. With `fix`, what is another image here is pulled too.
pub fn pins(input: &LockInput<'_>, found: &[LockFinding], fix: bool) -> BTreeMap<Reference, Pin> {
    let renewed = |original: &Reference| {
        let of =
            found.iter().find(|f| f.original == *original && matches!(f.why, Reason::NotAsLocked { .. }));
        of.filter(|_| fix).map(|f| f.why.clone())
    };
    let pin = |(original, _): (&Reference, &Use)| {
        let locked = input.lock.lock.images.get(original)?.clone();
        let place = judge::place(input.file, input.lock, original);
        Some((original.clone(), Pin { locked, place, renew: renewed(original) }))
    };
    input.uses.iter().filter_map(pin).collect()
}

/// What no plan is going to mend, so that nothing may be built on it: findings whose image is not pulled.
pub fn unmended(found: &[LockFinding], plan: &Plan) -> Vec<LockFinding> {
    let is_pulled = |original: &Reference| {
        plan.steps
            .iter()
            .any(|step| matches!(&step.kind, StepKind::Pull { reference, .. } if reference == original))
    };
    found.iter().filter(|found| !is_pulled(&found.original)).cloned().collect()
}

/// The same by every name that a build may ask for.
pub fn unfit(found: &[LockFinding]) -> BTreeMap<Reference, Reason> {
    let forms = |found: &LockFinding| {
        let why = found.why.clone();
        found.forms.clone().into_iter().map(move |form| (form, why.clone()))
    };
    found.iter().flat_map(forms).collect()
}

/// A plan's external images beside the lock.
#[derive(Default)]
pub struct LockComparison {
    /// What is not as the lock says.
    pub found: Vec<LockFinding>,
    /// What pulls are held to; nothing without `--locked`.
    pub pins: BTreeMap<Reference, Pin>,
}

/// Whether a request is about external images at all.
fn concerns(request: &Request) -> bool {
    [Phase::Prefetch, Phase::Build, Phase::Verify].into_iter().any(|phase| request.has(phase))
}

/// Compares what the selected images name.
pub fn compare(
    request: &Request,
    selected: &BTreeSet<ImageName>,
    originals: &Originals<'_>,
    facts: &Facts<'_>,
) -> LockComparison {
    let Some(lock) = facts.lock else { return LockComparison::default() };
    if !concerns(request) {
        return LockComparison::default();
    }
    let images = facts.tree.graph.images().iter().filter(|image| selected.contains(&image.name));
    let mut uses = uses::uses(images, originals);
    if request.references_only {
        let named: BTreeSet<Reference> =
            request.references.iter().map(|r| originals.original_of(r)).collect();
        uses = uses::uses(facts.tree.graph.images().iter(), originals);
        uses.retain(|original, _| named.contains(original));
    }
    let input = LockInput {
        lock,
        file: &facts.settings.images_lock,
        uses: &uses,
        originals,
        observed: facts.observed,
    };
    let found = findings(&input);
    if !facts.settings.locked {
        // Nobody asked whether the lock is whole; that it is not what is here is worth a word.
        let differs = |finding: &LockFinding| matches!(finding.why, Reason::NotAsLocked { .. });
        return LockComparison { found: found.into_iter().filter(differs).collect(), pins: BTreeMap::new() };
    }
    LockComparison { pins: pins(&input, &found, request.fix), found }
}
