//! Which network we are in: probes, and the verdict with its evidence (SPEC, "Network verdict").
//!
//! In: what decides (a setting, `--offline`), whom to ask, and how to ask one. Out: a [`NetworkVerdict`]; the
//! only file that is touched is the cached verdict. It never fails: what does not answer is evidence.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};

use crate::host::inside::Folder;
use crate::model::{Network, NetworkVerdict, Originals, Reference, RegistryPrefix};
use crate::registry::{Answer, ProbeError};

/// All probes together take no longer.
pub const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// A verdict holds for so long.
pub const CACHE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How the evidence begins when there is none.
const NOTHING_ANSWERED: &str = "nothing answered";
const DOCKER_HUB: &str = "docker.io";

/// What decides the verdict.
#[derive(Clone, Debug, Default)]
pub struct NetworkInput {
    /// `--network` or a setting, and which of them said so. Then nothing is probed.
    pub forced: Option<(Network, String)>,
    /// `--offline`: nothing is probed.
    pub offline: bool,
    /// Domains of which any answer means external; see [`public_domains`].
    pub public: Vec<String>,
    /// The internal registry.
    pub internal: Option<RegistryPrefix>,
    /// The root of the tree that keeps the last verdict; none neither reads nor writes one.
    pub cache: Option<PathBuf>,
    /// Whether the kept verdict may answer.
    pub freshness: Freshness,
}

/// Whether a kept verdict may answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Yes, for five minutes and for the same question.
    #[default]
    Cached,
    /// No (`--no-cache-verdict`); the new one is kept.
    Fresh,
}

/// Where the verdict is kept, below the root.
const CACHE_FILE: &str = "target/xtask/cache/network.json";

/// Whom to ask: the domains of the external base images, Docker Hub if there are none, and the mirrors that
/// stand for those domains. What lies in the internal registry says nothing about the world outside.
pub fn public_domains<'a>(
    base_images: impl IntoIterator<Item = &'a Reference>,
    originals: &Originals<'_>,
    mirrors: &BTreeMap<String, Vec<RegistryPrefix>>,
) -> Vec<String> {
    let internal = originals.rules().internal_registry.map(RegistryPrefix::domain);
    let add = |domains: &mut Vec<String>, domain: &str| {
        if Some(domain) != internal && !domains.iter().any(|known| known == domain) {
            domains.push(domain.to_owned());
        }
    };
    let mut domains: Vec<String> = Vec::new();
    for reference in base_images {
        add(&mut domains, originals.original_of(reference).domain());
    }
    if domains.is_empty() {
        domains.push(DOCKER_HUB.to_owned());
    }
    for mirror in domains.clone().iter().filter_map(|domain| mirrors.get(domain)).flatten() {
        add(&mut domains, mirror.domain());
    }
    domains
}

/// The verdict: forced, kept, or probed with `probe` (which asks one domain) within [`PROBE_LIMIT`].
pub async fn decide<F, Fut>(input: &NetworkInput, probe: F) -> NetworkVerdict
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<Answer, ProbeError>>,
{
    if let Some(verdict) = given(input) {
        return verdict;
    }
    let now = SystemTime::now();
    let kept = input.cache.as_deref().filter(|_| input.freshness == Freshness::Cached);
    if let Some(kept) = kept.and_then(|root| Kept::read(root, input, now, CACHE_LIMIT)) {
        return kept.verdict(input, now);
    }
    let probes = probe_all(input, probe).await;
    let (network, evidence) = judge(&probes);
    if let Some(root) = input.cache.as_deref() {
        Kept::new(input, network, &evidence, now).write(root);
    }
    verdict(input, network, evidence)
}

/// What settings say, so that nobody is probed.
fn given(input: &NetworkInput) -> Option<NetworkVerdict> {
    match &input.forced {
        Some((network, source)) => Some(verdict(input, *network, source.clone())),
        None if input.offline => {
            Some(verdict(input, Network::Internal, "--offline, nothing was probed".to_owned()))
        }
        None => None,
    }
}

fn verdict(input: &NetworkInput, network: Network, evidence: String) -> NetworkVerdict {
    NetworkVerdict { network, evidence, internal_registry: input.internal.clone() }
}

/// The verdict without a probe: what settings say, or that of last time on the same question, however long ago; none when
/// a new one is asked for. It is good enough to find that nobody has to be asked, and for nothing else.
pub fn last_known(input: &NetworkInput) -> Option<NetworkVerdict> {
    if let Some(verdict) = given(input) {
        return Some(verdict);
    }
    if input.freshness == Freshness::Fresh {
        return None;
    }
    let now = SystemTime::now();
    let kept = Kept::read(input.cache.as_deref()?, input, now, Duration::MAX)?;
    Some(kept.verdict(input, now))
}

/// Whether neither a public registry nor the internal one answered when this verdict was found.
pub fn nobody_answered(verdict: &NetworkVerdict) -> bool {
    verdict.evidence.starts_with(NOTHING_ANSWERED)
}

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who was asked.
    pub domain: String,
    /// Whether an answer means external.
    pub side: Network,
    /// What came back; none when it was still open at the end.
    pub answer: Option<Result<Answer, ProbeError>>,
}

/// The verdict that probes lead to, and its evidence: the answer that decided, or all that did not answer.
pub fn judge(probes: &[Probe]) -> (Network, String) {
    let answered = |side| {
        let probes = probes.iter().filter(move |probe| probe.side == side);
        probes.filter_map(|probe| Some((probe, probe.answer.as_ref()?.as_ref().ok()?)))
    };
    if let Some((probe, answer)) = answered(Network::External).next() {
        return (Network::External, say_answer(probe, answer));
    }
    let mut evidence = match answered(Network::Internal).next() {
        Some((probe, answer)) => say_answer(probe, answer),
        None => NOTHING_ANSWERED.to_owned(),
    };
    let mut between = ": ";
    let inside_answered = answered(Network::Internal).next().is_some();
    for probe in probes {
        let why = match &probe.answer {
            Some(Ok(_)) => continue,
            Some(Err(ProbeError::Unreachable(cause))) => cause.clone(),
            Some(Err(error @ ProbeError::Status(_))) => error.to_string(),
            None => format!("no answer within {} s", PROBE_LIMIT.as_secs()),
        };
        if inside_answered && between == ": " {
            between = ", but not ";
        }
        // Writing to a String cannot fail.
        let _ = write!(evidence, "{between}{} ({why})", probe.domain);
        between = ", ";
    }
    (Network::Internal, evidence)
}

fn say_answer(probe: &Probe, answer: &Answer) -> String {
    format!("{} answered in {} ms", probe.domain, answer.took.as_millis())
}

/// Asks everybody at the same time and listens until a public one has answered, all have said something, or
/// time is up.
async fn probe_all<F, Fut>(input: &NetworkInput, probe: F) -> Vec<Probe>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<Answer, ProbeError>>,
{
    let public = input.public.iter().map(|domain| (domain.as_str(), Network::External));
    let internal = input.internal.iter().map(|registry| (registry.domain(), Network::Internal));
    let mut probes: Vec<Probe> = public
        .chain(internal)
        .map(|(domain, side)| Probe { domain: domain.to_owned(), side, answer: None })
        .collect();
    let probe = &probe;
    let mut open: FuturesUnordered<_> = probes
        .iter()
        .enumerate()
        .map(|(index, asked)| {
            let domain = asked.domain.clone();
            async move { (index, probe(domain).await) }
        })
        .collect();
    let listening = async {
        while let Some((index, answer)) = open.next().await {
            let Some(probe) = probes.get_mut(index) else { continue };
            let decides = probe.side == Network::External && answer.is_ok();
            probe.answer = Some(answer);
            if decides {
                return;
            }
        }
    };
    // What is still open then has no answer, which the verdict says.
    let _ = tokio::time::timeout(PROBE_LIMIT, listening).await;
    probes
}

/// A verdict on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Seconds since 1970.
    at: u64,
    public: Vec<String>,
    internal: Option<RegistryPrefix>,
    network: Network,
    evidence: String,
}

impl Kept {
    fn new(input: &NetworkInput, network: Network, evidence: &str, now: SystemTime) -> Self {
        let at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (public, internal) = (input.public.clone(), input.internal.clone());
        Self { at, public, internal, network, evidence: evidence.to_owned() }
    }

    /// The kept verdict, if it is one, about the same question, and neither older than `limit` nor from the future.
    fn read(root: &Path, input: &NetworkInput, now: SystemTime, limit: Duration) -> Option<Self> {
        let kept: Self = serde_json::from_slice(&std::fs::read(root.join(CACHE_FILE)).ok()?).ok()?;
        let same = kept.public == input.public && kept.internal == input.internal;
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(kept.at))?;
        let fresh = now.duration_since(at).is_ok_and(|age| age < limit);
        (same && fresh).then_some(kept)
    }

    fn verdict(self, input: &NetworkInput, now: SystemTime) -> NetworkVerdict {
        let age = self.age(now).as_secs();
        NetworkVerdict {
            network: self.network,
            evidence: format!("{}; asked {age} s ago", self.evidence),
            internal_registry: input.internal.clone(),
        }
    }

    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(Duration::from_secs(self.at))
    }

    /// Keeps it, whole or not at all. A tree that cannot be written to is asked about again next time.
    fn write(&self, root: &Path) {
        let write = || Folder::open(root)?.write(CACHE_FILE, &serde_json::to_vec(self)?, None);
        let _: std::io::Result<_> = write();
    }
}

#[cfg(test)]
mod tests;
