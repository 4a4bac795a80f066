//! Prefetch: which external base images are pulled, and where each is looked for.
//!
//! In: the references that the Dockerfiles name, the store, the network. Out: one `Pull` step for each missing
//! original, and a reason for each that is not pulled. The other names are alias's to make, so an image that
//! is here under any of its names is not pulled again (SPEC, "Prefetch" and "Aliases").

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{
    Indexes, LockedImage, Network, Observed, Originals, Phase, Plan, Platform, PullSource, Reason, Recipe,
    Reference, RegistryPrefix, RemoveFirst, Skipped, Step, StepKind,
};

use super::alias;

/// What decides the pulls.
#[derive(Clone, Copy, Debug)]
pub struct PrefetchInput<'a> {
    /// What the selected images stand on, as written, each with the platform that it is wanted for. Of a reference that
    /// comes twice the first counts where a store holds one platform under one name.
    pub wanted: &'a [(Reference, Platform)],
    /// Every original of the tree: what aliases stand for.
    pub originals: &'a Originals<'a>,
    /// The engine's store.
    pub observed: &'a Observed,
    /// Mirrors by domain, in order.
    pub mirrors: &'a BTreeMap<String, Vec<RegistryPrefix>>,
    /// How to make what no registry gives.
    pub recipes: &'a BTreeMap<Reference, Recipe>,
    /// Who may be asked.
    pub reach: Reach,
    /// `--bootstrap`
    pub bootstrap: Bootstrap,
    /// Whether what is here is pulled too.
    pub renew: Renew<'a>,
    /// What pulls are held to, by original.
    pub pins: &'a BTreeMap<Reference, Pin>,
    /// Whether several platforms fit under one name.
    pub indexes: Indexes,
}

/// What `--locked` says of one original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The only image that may be taken.
    pub locked: LockedImage,
    /// Where the lock says so: `images.lock:7`.
    pub place: String,
    /// Why it is pulled although something of its name is here.
    pub renew: Option<Reason>,
}

/// Whether an image that is here is pulled all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renew<'a> {
    /// Yes: its name may stand for another image by now.
    Yes,
    /// Where a registry said so: what was said of each original.
    IfMoved(&'a BTreeMap<Reference, Reason>),
    /// Never.
    No,
}

/// Who may be asked for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nobody (`--offline`); the priority of names is the network's all the same.
    Nobody(Network),
    /// The mirrors and the origin, or the internal registry only.
    Registries(Network),
}

/// Whether images may be made on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// From a recipe, when no registry gives them.
    Yes,
    /// Never.
    No,
}

/// Plans the pulls. A skip whose reason counts as failed leaves its image missing.
pub fn plan(input: &PrefetchInput<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut named_before = BTreeSet::new();
    for requested in requested_bases(input) {
        let mut subject = requested.original.familiar();
        if !named_before.insert(requested.original.clone()) {
            subject = format!("{subject}@{}", requested.platform);
        }
        match decide(input, &requested) {
            Ok((why, sources)) => {
                let reference = named(input, requested.original);
                let (platform, remove_first) = (requested.platform, RemoveFirst::No);
                let kind = StepKind::Pull { reference, platform, sources, remove_first };
                plan.steps.push(Step::new(Phase::Prefetch, subject, kind, why));
            }
            Err(why) => plan.skipped.push(Skipped::new(Phase::Prefetch, subject, *why)),
        }
    }
    plan
}

/// The name that what is pulled gets: its own, unless what was built upon it has that here.
fn named(input: &PrefetchInput<'_>, original: Reference) -> Reference {
    let upstreams = input.originals.upstreams();
    let twin = upstreams.twin_of(&original).filter(|_| upstreams.is_own(&original, input.observed));
    twin.cloned().unwrap_or(original)
}

/// One original, and the aliases by which Dockerfiles ask for it.
struct RequestedBase {
    original: Reference,
    written: Vec<Reference>,
    platform: Platform,
}

/// Why an image is not pulled.
pub type WhyNot = Box<Reason>;

fn requested_bases(input: &PrefetchInput<'_>) -> Vec<RequestedBase> {
    let mut requested_bases: Vec<RequestedBase> = Vec::new();
    let mut index_of: HashMap<(Reference, Option<&Platform>), usize> = HashMap::new();
    for (written, platform) in input.wanted {
        let original = input.originals.original_of(written);
        let key = (original, Some(platform).filter(|_| input.indexes == Indexes::Kept));
        let index = *index_of.entry(key).or_insert_with_key(|(original, _)| {
            requested_bases.push(RequestedBase {
                original: original.clone(),
                written: Vec::new(),
                platform: platform.clone(),
            });
            requested_bases.len() - 1
        });
        let Some(requested) = requested_bases.get_mut(index) else { continue };
        if *written != requested.original && !requested.written.contains(written) {
            requested.written.push(written.clone());
        }
    }
    requested_bases
}

fn decide(input: &PrefetchInput<'_>, requested: &RequestedBase) -> Result<(Reason, Vec<PullSource>), WhyNot> {
    if input.observed.capabilities.is_none() {
        return Err(Box::new(Reason::NoEngine));
    }
    let pin = input.pins.get(&requested.original);
    let renewed = || pin.and_then(|pin| pin.renew.clone());
    let why = match why_pull(input, requested) {
        Ok(why) => why,
        Err(kept) => match input.renew {
            Renew::Yes => Reason::Asked,
            Renew::No => renewed().ok_or(kept)?,
            Renew::IfMoved(tags) => match tags.get(&requested.original) {
                Some(moved @ Reason::TagMoved { .. }) => moved.clone(),
                said => return Err(said.map_or(kept, |said| Box::new(said.clone()))),
            },
        },
    };
    let network = match input.reach {
        // A recipe downloads packages, so it is no way out here.
        Reach::Nobody(_) => {
            return Err(Box::new(match why {
                Reason::NotInStore => Reason::Offline,
                why => nobody_asked(why),
            }));
        }
        Reach::Registries(network) => network,
    };
    let registries =
        places(&requested.original, &requested.written, input.originals, input.mirrors, network)?;
    if let Some(pin) = pin {
        let (lock, locked) = (pin.place.clone(), pin.locked.shown());
        let why = if why == Reason::NotInStore { Reason::NotInStoreLocked { lock, locked } } else { why };
        let sources = pinned_sources(&registries, &pin.locked, network);
        return if sources.is_empty() {
            Err(Box::new(Reason::NoInternalRegistry))
        } else {
            Ok((why, sources))
        };
    }
    let mut sources: Vec<PullSource> = registries.into_iter().map(PullSource::Registry).collect();
    if input.bootstrap == Bootstrap::Yes {
        sources.extend(input.recipes.get(&requested.original).cloned().map(PullSource::Recipe));
    }
    if !sources.is_empty() {
        return Ok((why, sources));
    }
    Err(Box::new(match why {
        why @ Reason::WrongPlatform { .. } => nobody_asked(why),
        _ => Reason::NoInternalRegistry,
    }))
}

/// Why a pull is not done that nobody may be asked for.
fn nobody_asked(why: Reason) -> Reason {
    match why {
        Reason::WrongPlatform { found, wanted } => Reason::OnlyFor { found, wanted },
        why => why,
    }
}

/// Why it has to be pulled, or why not.
fn why_pull(input: &PrefetchInput<'_>, requested: &RequestedBase) -> Result<Reason, WhyNot> {
    let wanted = &requested.platform;
    let wrong = |found: &Platform| !found.serves(wanted);
    let observed = input.observed.of_platform(wanted);
    if let Some(image) = input.originals.upstreams().at(&requested.original, observed) {
        return match image.platform.as_ref().filter(|found| wrong(found)) {
            Some(found) => Ok(Reason::WrongPlatform { found: found.clone(), wanted: wanted.clone() }),
            None => Err(Box::new(Reason::InStore)),
        };
    }
    let (Reach::Nobody(network) | Reach::Registries(network)) = input.reach;
    let present =
        alias::present_as(&requested.original, &requested.written, observed, input.originals, network);
    match present {
        None => Ok(Reason::NotInStore),
        Some((name, image)) => match image.platform.as_ref().filter(|found| wrong(found)) {
            Some(found) => Ok(Reason::WrongPlatform { found: found.clone(), wanted: wanted.clone() }),
            None => Err(Box::new(Reason::OtherName(name))),
        },
    }
}

/// Where `original` is asked for, in order; `written` are its aliases that Dockerfiles name.
///
/// # Errors
/// Why nobody can be asked.
pub fn places(
    original: &Reference,
    written: &[Reference],
    originals: &Originals<'_>,
    mirrors: &BTreeMap<String, Vec<RegistryPrefix>>,
    network: Network,
) -> Result<Vec<Reference>, WhyNot> {
    match network {
        Network::External => Ok(external_sources(original, written, originals, mirrors)),
        Network::Internal => internal_sources(original, written, originals),
    }
}

/// The locked content from the same places. A registry inside may have been given an image by push, under another
/// digest; the image itself is the same then, and known by what is in it. A recipe makes another image each time.
fn pinned_sources(registries: &[Reference], locked: &LockedImage, network: Network) -> Vec<PullSource> {
    let by_digest = registries.iter().filter_map(|name| {
        let pinned = name.pinned(locked.digest.as_ref()?);
        Some(PullSource::Registry(pinned))
    });
    let is_known = !(locked.identities.is_empty() && locked.ids.is_empty());
    let is_worth_a_look = is_known && (network == Network::Internal || locked.digest.is_none());
    let by_content = registries.iter().filter(|_| is_worth_a_look);
    by_digest
        .chain(by_content.map(|name| PullSource::IfLocked(name.clone(), Box::new(locked.clone()))))
        .collect()
}

/// Mirrors, the origin, and last the internal name if a Dockerfile names that: it may lie nowhere else.
fn external_sources(
    original: &Reference,
    written: &[Reference],
    originals: &Originals<'_>,
    mirrors: &BTreeMap<String, Vec<RegistryPrefix>>,
) -> Vec<Reference> {
    let rules = originals.rules();
    // Unlike an alias, a mirror keeps `library/` for the official images.
    let canonical = original.to_string();
    let path = canonical.strip_prefix(original.domain()).map_or("", |rest| rest.trim_start_matches('/'));
    let mirrors = mirrors.get(original.domain()).into_iter().flatten();
    let mut sources: Vec<Reference> = mirrors.filter_map(|mirror| mirror.join(path).ok()).collect();
    sources.push(original.clone());
    sources.extend(written.iter().filter(|name| rules.is_internal(name)).cloned());
    without_repeats(sources)
}

/// Only the internal registry: what a Dockerfile names there, then P.
fn internal_sources(
    original: &Reference,
    written: &[Reference],
    originals: &Originals<'_>,
) -> Result<Vec<Reference>, WhyNot> {
    let rules = originals.rules();
    let mut sources: Vec<Reference> =
        written.iter().filter(|name| rules.is_internal(name)).cloned().collect();
    if let Some(registry) = rules.internal_registry
        && registry.domain() == original.domain()
    {
        // Another project of the same registry.
        sources.push(original.clone());
    }
    if let Some(name) = rules.internal_name(original) {
        // One name there cannot give two different images.
        if let Some(other) = originals.clash_of(original) {
            return Err(Box::new(Reason::AliasClash { one: original.clone(), other: other.clone() }));
        }
        sources.push(name);
    }
    // What the registry has under a name that a build here is pushed as is that build.
    let (taken, sources): (Vec<_>, Vec<_>) =
        sources.into_iter().partition(|name| originals.upstreams().is_taken(name));
    match taken.into_iter().next().filter(|_| sources.is_empty()) {
        Some(name) => Err(Box::new(Reason::UpstreamHidden(name))),
        None => Ok(without_repeats(sources)),
    }
}

fn without_repeats(sources: Vec<Reference>) -> Vec<Reference> {
    let mut unique: Vec<Reference> = Vec::with_capacity(sources.len());
    for source in sources {
        if !unique.contains(&source) {
            unique.push(source);
        }
    }
    unique
}

#[cfg(test)]
mod tests;
