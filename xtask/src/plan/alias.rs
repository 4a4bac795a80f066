//! Alias: every base image answers to all its names (SPEC, "Aliases").
//!
//! In: the references that the Dockerfiles name, the store, the network, and the pulls that are planned. Out:
//! one `Tag` step for each name that is missing (or, with `--fix`, wrong), and a reason for all else. `--check`
//! is the same plan, not executed: [`has_gap`] tells whether it exits 15.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use crate::model::{
    ImageId, LocalImage, Network, Observed, Originals, Outcome, Phase, Plan, PullSource, Reason, Reference,
    Skipped, Step, StepId, StepKind,
};

/// What decides the names.
#[derive(Clone, Copy, Debug)]
pub struct AliasInput<'a> {
    /// What the selected images stand on, as written, aliases included.
    pub wanted: &'a [Reference],
    /// Every original of the tree, selected or not: what aliases stand for, and who else wants them.
    pub originals: &'a Originals<'a>,
    /// The engine's store.
    pub observed: &'a Observed,
    /// Which names come first.
    pub network: Network,
    /// What becomes of names that disagree.
    pub conflicts: OnConflict,
    /// The plan of prefetch: what it pulls counts as here once its step is done.
    pub pulls: &'a Plan,
}

/// What becomes of a name that points to another image than a name of higher priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// It is reported, with both ids.
    Report,
    /// It follows the name of higher priority (`--fix`).
    Fix,
}

/// Plans the names. One clash or missing image does not hold back the others.
pub fn plan(input: &AliasInput<'_>) -> Plan {
    let mut plan = Plan::default();
    for family in families(input.wanted, input.originals) {
        plan_family(input, &family, &mut plan);
    }
    plan
}

/// True when a name is missing or in conflict, or would be without this plan: `--check` exits 15.
pub fn has_gap(plan: &Plan) -> bool {
    let gaps = |why: &Reason| {
        matches!(
            why,
            Reason::AliasConflict { .. } | Reason::AliasClash { .. } | Reason::NotInStore | Reason::NotPulled
        )
    };
    plan.steps.iter().any(|step| step.phase == Phase::Alias)
        || plan.skipped.iter().any(|skipped| skipped.phase == Phase::Alias && gaps(&skipped.why))
}

/// The alias health of one original, as `status --format json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AliasHealth {
    /// The original's familiar name.
    pub original: String,
    /// All its names, highest priority first.
    pub names: Vec<AliasName>,
    /// What they make together.
    pub state: AliasState,
}

impl AliasHealth {
    /// True when there is nothing to do about it.
    pub fn is_well(&self) -> bool {
        self.state == AliasState::Ok
    }
}

/// One line: `redis:7: gap: localhost/redis:7 is missing`.
impl fmt::Display for AliasHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.original, self.state)?;
        let mut between = ": ";
        for name in &self.names {
            match (self.state, &name.id) {
                (AliasState::Gap, None) => write!(f, "{between}{} is missing", name.name)?,
                (AliasState::Conflict, Some(id)) => write!(f, "{between}{} is {}", name.name, id.short())?,
                _ => continue,
            }
            between = ", ";
        }
        if self.state == AliasState::Clash {
            f.write_str(
                ": another original wants the same names; map a domain to a path prefix in alias_prefixes",
            )?;
        }
        Ok(())
    }
}

/// One name and what it points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AliasName {
    /// The familiar name.
    pub name: String,
    /// The image's ID; none when the name is missing.
    pub id: Option<ImageId>,
}

/// How an original's names stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AliasState {
    /// All needed names point to one image.
    Ok,
    /// Some or all needed names are missing; those that are here agree.
    Gap,
    /// Two names point to different images.
    Conflict,
    /// Another original wants the same names.
    Clash,
    /// No engine to ask.
    Unknown,
}

/// The names of every wanted original and how they stand. What is pinned by digest alone has none.
pub fn health(
    wanted: &[Reference],
    originals: &Originals<'_>,
    observed: &Observed,
    network: Network,
) -> Vec<AliasHealth> {
    let mut healths = Vec::new();
    for family in families(wanted, originals).iter().filter(|family| family.original.tag().is_some()) {
        let ranked = ranked_names(family, originals, network);
        let id = |name: &Reference| originals.upstreams().at(name, observed).map(|image| image.id.clone());
        let mut present = ranked.iter().filter_map(|name| id(&name.reference));
        let first = present.next();
        let state = if family.clash.is_some() {
            AliasState::Clash
        } else if observed.capabilities.is_none() {
            AliasState::Unknown
        } else if present.any(|other| Some(other) != first) {
            AliasState::Conflict
        } else if ranked.iter().any(|name| name.need == Need::Yes && observed.find(&name.reference).is_none())
        {
            AliasState::Gap
        } else {
            AliasState::Ok
        };
        let names = ranked
            .iter()
            .filter(|name| name.need != Need::Source)
            .filter(|name| !originals.upstreams().is_own(&name.reference, observed))
            .map(|name| AliasName { name: name.reference.familiar(), id: id(&name.reference) })
            .collect();
        healths.push(AliasHealth { original: family.original.familiar(), names, state });
    }
    healths
}

/// The name and the image that an original's further names will be made from: the first that is here.
/// `written` are the aliases by which Dockerfiles name it, beside those that the rules make.
pub fn present_as<'a>(
    original: &Reference,
    written: &[Reference],
    observed: &'a Observed,
    originals: &Originals<'_>,
    network: Network,
) -> Option<(Reference, &'a LocalImage)> {
    let here = |name: Reference| Some((originals.upstreams().at(&name, observed)?, name));
    if original.digest().is_some() {
        // No name with a tag vouches for a digest; the internal registry's name may carry it.
        let names = std::iter::once(original.clone()).chain(originals.rules().internal_name(original));
        return names.filter_map(here).map(swap).next();
    }
    let family =
        Family { original: original.clone(), written: written.to_vec(), pins: Vec::new(), clash: None };
    let names = ranked_names(&family, originals, network).into_iter().map(|name| name.reference);
    names.filter_map(here).map(swap).next()
}

impl fmt::Display for AliasState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Gap => "gap",
            Self::Conflict => "conflict",
            Self::Clash => "clash",
            Self::Unknown => "unknown",
        })
    }
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

/// One original and the names by which Dockerfiles ask for it.
struct Family {
    /// Without digest, unless the digest is all it has.
    original: Reference,
    /// Aliases, as written.
    written: Vec<Reference>,
    /// `original@digest`, as written.
    pins: Vec<Reference>,
    /// Another original with the same P.
    clash: Option<Reference>,
}

fn families(wanted: &[Reference], originals: &Originals<'_>) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut index_of: HashMap<Reference, usize> = HashMap::new();
    for name in wanted {
        let exact = originals.original_of(name);
        let original = exact.without_digest().unwrap_or_else(|| exact.clone());
        let index = *index_of.entry(original).or_insert_with_key(|original| {
            let clash = originals.clash_of(original).cloned();
            families.push(Family {
                original: original.clone(),
                written: Vec::new(),
                pins: Vec::new(),
                clash,
            });
            families.len() - 1
        });
        let Some(family) = families.get_mut(index) else { continue };
        let list = if originals.rules().is_alias(name) {
            // An engine cannot give a name with a digest, so the tag is what can be made of it.
            name.without_digest().map(|name| (&mut family.written, name))
        } else {
            exact.without_tag().map(|pinned| (&mut family.pins, pinned))
        };
        if let Some((list, name)) = list
            && !list.contains(&name)
        {
            list.push(name);
        }
    }
    families
}

/// Whether a name has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// The network's rules or a Dockerfile ask for it.
    Yes,
    /// Nobody asks for it, but when it is there it has to agree.
    No,
    /// It makes others and is never made: a digest.
    Source,
}

struct Ranked {
    reference: Reference,
    /// Lower comes first; names of the same rank are equals.
    rank: u8,
    need: Need,
}

/// All names of a family, highest priority first.
fn ranked_names(family: &Family, originals: &Originals<'_>, network: Network) -> Vec<Ranked> {
    let rules = originals.rules();
    let names = rules.names_of(&family.original);
    // What a single pin says is what the tag has to be; two pins say nothing.
    let pins: Vec<Reference> = match family.pins.as_slice() {
        [pin] => std::iter::once(pin.clone()).chain(rules.internal_name(pin)).collect(),
        _ => Vec::new(),
    };
    let (written_internal, written_local): (Vec<_>, Vec<_>) =
        family.written.iter().cloned().partition(|name| rules.is_internal(name));
    let original = std::iter::once(names.original);
    let mut ranked: Vec<Ranked> = Vec::new();
    let mut add = |references: Vec<Reference>, rank, need| {
        for reference in references {
            match ranked.iter_mut().find(|name| name.reference == reference) {
                Some(name) if need == Need::Yes => name.need = Need::Yes,
                Some(_) => {}
                None => ranked.push(Ranked { reference, rank, need }),
            }
        }
    };
    add(pins, 0, Need::Source);
    match network {
        Network::External => {
            add(original.chain(names.localhost).collect(), 1, Need::Yes);
            add(written_local, 1, Need::Yes);
            add(names.internal.into_iter().collect(), 2, Need::No);
            add(written_internal, 2, Need::Yes);
        }
        Network::Internal => {
            add(names.internal.into_iter().collect(), 1, Need::Yes);
            add(written_internal, 1, Need::Yes);
            add(names.localhost.into_iter().collect(), 2, Need::Yes);
            add(written_local, 2, Need::Yes);
            add(original.collect(), 3, Need::Yes);
        }
    }
    // Builds of this tree give them to another image.
    for name in ranked.iter_mut().filter(|name| originals.upstreams().is_taken(&name.reference)) {
        name.need = Need::No;
    }
    ranked
}

/// How a name stands when alias begins.
enum NameState {
    /// A pull brings it; what, nobody knows yet.
    Coming(StepId),
    Here(ImageId),
    /// An image of this tree that extends it has the name.
    Taken,
    Absent,
}

fn plan_family(input: &AliasInput<'_>, family: &Family, plan: &mut Plan) {
    let mut skip = |why| plan.skipped.push(Skipped::new(Phase::Alias, family.original.familiar(), why));
    if family.original.tag().is_none() {
        return skip(Reason::DigestOnly);
    }
    if let Some(other) = &family.clash {
        return skip(Reason::AliasClash { one: family.original.clone(), other: other.clone() });
    }
    if input.observed.capabilities.is_none() {
        return skip(Reason::NoEngine);
    }
    let names: Vec<(Ranked, NameState)> = ranked_names(family, input.originals, input.network)
        .into_iter()
        .map(|name| {
            let standing = standing(&name.reference, input);
            (name, standing)
        })
        .collect();
    // What a pull brings comes first: it was planned because nothing that is here will do.
    let coming = names.iter().find(|(_, standing)| matches!(standing, NameState::Coming(_)));
    let here = || names.iter().find(|(_, standing)| matches!(standing, NameState::Here(_)));
    let Some(winner) = coming.or_else(here) else {
        // What is wrong with it is said once, by the phase that should have pulled it.
        let subject = family.original.familiar();
        let is_told = |pull: &Skipped| pull.subject == subject && pull.why.outcome() == Outcome::Failed;
        let is_told = input.pulls.skipped.iter().any(is_told);
        return skip(if is_told { Reason::NotPulled } else { Reason::NotInStore });
    };
    let fell_back_past: Vec<Reference> = names
        .iter()
        .filter(|(name, standing)| {
            name.rank < winner.0.rank && name.need != Need::Source && matches!(standing, NameState::Absent)
        })
        .map(|(name, _)| name.reference.clone())
        .collect();
    let others = names.iter().filter(|(name, _)| name.reference != winner.0.reference);
    let mut all_agree = true;
    for (name, standing) in others.filter(|(name, _)| name.need != Need::Source) {
        let Some(why) = change(input, winner, (name, standing), &fell_back_past) else { continue };
        all_agree = false;
        if matches!(why, Reason::AliasConflict { .. }) {
            plan.skipped.push(Skipped::new(Phase::Alias, name.reference.familiar(), why));
        } else {
            plan.steps.push(tag_step(input, winner, &name.reference, why));
        }
    }
    if all_agree {
        plan.skipped.push(Skipped::new(Phase::Alias, family.original.familiar(), Reason::AliasesAgree));
    }
}

/// Why a name is not as it should be; none where it is, or where nobody can say so yet.
fn change(
    input: &AliasInput<'_>,
    (winner, source): &(Ranked, NameState),
    (name, standing): (&Ranked, &NameState),
    fell_back_past: &[Reference],
) -> Option<Reason> {
    let id = match standing {
        NameState::Absent if name.need == Need::Yes => {
            return Some(Reason::AliasMissing {
                from: winner.reference.clone(),
                fell_back_past: fell_back_past.to_vec(),
            });
        }
        NameState::Coming(_) | NameState::Absent | NameState::Taken => return None,
        NameState::Here(id) => id,
    };
    match (source, input.conflicts) {
        (NameState::Here(winning), _) if id == winning => None,
        (NameState::Here(winning), OnConflict::Report) => Some(Reason::AliasConflict {
            winner: (winner.reference.clone(), winning.clone()),
            loser: (name.reference.clone(), id.clone()),
        }),
        // The pull replaces what this name shared with the winner, so it follows. Another image can be
        // compared only when the pull is done: the next run does.
        (NameState::Coming(_), OnConflict::Report) if !is_replaced(id, winner, input) => None,
        _ => Some(Reason::AliasFixed { winner: winner.reference.clone(), replaced: id.clone() }),
    }
}

/// Gives a name to what the winner is, once that is here.
fn tag_step(
    input: &AliasInput<'_>,
    (winner, source): &(Ranked, NameState),
    name: &Reference,
    why: Reason,
) -> Step {
    let needs = match source {
        NameState::Coming(step) => vec![step.clone()],
        NameState::Here(_) | NameState::Taken | NameState::Absent => Vec::new(),
    };
    let here = input.observed.name_here(&winner.reference);
    let source = here.unwrap_or_else(|| winner.reference.clone());
    let kind = StepKind::Tag { source, targets: vec![name.clone()] };
    Step { needs, ..Step::new(Phase::Alias, name.familiar(), kind, why) }
}

fn standing(name: &Reference, input: &AliasInput<'_>) -> NameState {
    let brought = input.pulls.steps.iter().find(|step| brings(step, name));
    let is_taken = input.originals.upstreams().is_own(name, input.observed);
    match (brought, input.observed.find(name)) {
        (None, Some(_)) if is_taken => NameState::Taken,
        (Some(step), _) => NameState::Coming(step.id.clone()),
        (None, Some(image)) => NameState::Here(image.id.clone()),
        (None, None) => NameState::Absent,
    }
}

/// Whether a step surely leaves `name` in the store: the name that it is for, by its tag when it has one, and
/// a source's own name when there is no other source.
fn brings(step: &Step, name: &Reference) -> bool {
    let StepKind::Pull { reference, sources, .. } = &step.kind else { return false };
    let only_source = match sources.as_slice() {
        [PullSource::Registry(source)] => Some(source),
        _ => None,
    };
    reference == name || reference.without_digest().as_ref() == Some(name) || only_source == Some(name)
}

/// Whether the image that `winner` points to until it is pulled is `id`. What has the name of an upstream image until
/// then says nothing of it.
fn is_replaced(id: &ImageId, winner: &Ranked, input: &AliasInput<'_>) -> bool {
    input.originals.upstreams().is_own(&winner.reference, input.observed)
        || input.observed.find(&winner.reference).is_some_and(|image| image.id == *id)
}

#[cfg(test)]
mod tests;
