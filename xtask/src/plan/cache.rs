//! Pure: a registry as the builder's cache, for engines that have none (`--cache-from`, `--cache-to`).
//!
//! An engine's own builder exports one kind of cache, the inline one that an image carries of its own layers; it knows
//! `type=registry,mode=max` only where images are kept in containerd (moby, `builder/builder-next/controller.go`). So what is stored are the images that `keep.rs` keeps of the stages, under
//! stable names. In: the kept stages, the store, who may be asked. Out: names, and steps that push what is not there yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Capabilities, Image, ImageName, LocalImage, Network, NetworkVerdict, Observed, Phase, Plan, Platform,
    PushProof, Reason, Reference, RegistryPrefix, Skipped, Step, StepId, StepKind,
};
use crate::plan::rebuild::lineage::{Lineage, NAMESPACE};
use crate::settings::Config;

/// The kept stages of each image.
pub type Lineages = BTreeMap<ImageName, Vec<Lineage>>;

/// What decides whether a registry may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// `--offline`
    pub offline: bool,
    /// Which network this is; none where nobody had to know.
    pub network: Option<Network>,
    /// The one registry that answers inside.
    pub internal: Option<&'a RegistryPrefix>,
}

impl<'a> Surroundings<'a> {
    /// As the settings and the network have it.
    pub fn of(settings: &'a Config, network: Option<&NetworkVerdict>) -> Self {
        Self {
            offline: settings.offline,
            network: network.map(|verdict| verdict.network).or(settings.network),
            internal: settings.internal_registry.as_ref(),
        }
    }

    /// Why a registry may not be asked; none if it may. What runs on this machine is in no network.
    pub fn forbid(&self, cache: &RegistryPrefix) -> Option<&'static str> {
        let is_inside = || {
            let is_internal = self.internal.is_some_and(|internal| internal.domain() == cache.domain());
            is_internal || cache.is_on_this_machine()
        };
        if self.offline {
            Some("--offline forbids to ask it")
        } else if self.network == Some(Network::Internal) && !is_inside() {
            Some("inside only the internal registry is asked")
        } else {
            None
        }
    }

    /// Why nothing may be pushed under a name; none if it may. A registry that somebody named may be anywhere; Docker
    /// Hub, which a name without a registry means, is outside.
    pub fn forbid_push(&self, name: &Reference) -> Option<&'static str> {
        if name.is_on_this_machine() {
            None
        } else if self.offline {
            Some("--offline forbids to push it")
        } else if self.network == Some(Network::Internal) && name.is_of_docker_hub() {
            Some(
                "it would go to docker.io, which is not in the internal network: name another registry with --registry",
            )
        } else {
            None
        }
    }
}

/// `harbor.example.com/ci/cache/golinks-api:bake-amd64`: where BuildKit itself keeps the cache of an image, as `docker buildx
/// bake` of our own bake files does.
pub fn of_builder(cache: &RegistryPrefix, image: &Image) -> Option<Reference> {
    cache.join(&format!("{}:bake-{}", image.name.image(), image.platform.arch)).ok()
}

/// `harbor.example.com/ci/cache/golinks-api:builder-amd64`: what a kept stage is called in a cache. The tag of the image
/// is not in it: the next version is to find what this one made. Another platform's layers are other layers, and one
/// generation of builders does not take over what another one stored.
fn name_in(
    cache: &RegistryPrefix,
    lineage: &Lineage,
    platform: &Platform,
    capabilities: Option<&Capabilities>,
) -> Option<Reference> {
    let image = lineage.reference.path().strip_prefix(NAMESPACE)?.trim_start_matches('/');
    // A stage's name may be longer than a tag; its own kept name then has a digest for it.
    let stage = match lineage.reference.tag() {
        Some(tag) if !tag.ends_with(&format!(".{}", lineage.label)) => tag,
        _ => lineage.label.as_str(),
    };
    let arch = [Some(platform.arch.as_str()), platform.variant.as_deref()];
    let arch = arch.into_iter().flatten().collect::<Vec<_>>().join("");
    let os = if platform.os == "linux" { String::new() } else { format!("{}-", platform.os) };
    let is_old = capabilities.is_some_and(|capabilities| capabilities.builder() == "engine 20.10");
    let generation = if is_old { "-20.10" } else { "" };
    cache.join(&format!("{image}:{stage}-{os}{arch}{generation}")).ok()
}

/// What builds of each image are offered, in every cache that may be asked.
pub fn offers(
    caches: &[RegistryPrefix],
    lineages: &Lineages,
    platforms: &BTreeMap<ImageName, Platform>,
    observed: &Observed,
) -> BTreeMap<ImageName, Vec<Reference>> {
    let capabilities = observed.capabilities.as_ref();
    let of = |(image, all): (&ImageName, &Vec<Lineage>)| {
        let platform = platforms.get(image)?;
        let names = caches.iter().flat_map(|cache| {
            all.iter().filter_map(move |lineage| name_in(cache, lineage, platform, capabilities))
        });
        Some((image.clone(), names.collect()))
    };
    lineages.iter().filter_map(of).collect()
}

/// What is pushed, and where to.
#[derive(Clone, Copy, Debug)]
pub struct StoreInput<'a> {
    /// The cache.
    pub cache: &'a RegistryPrefix,
    /// Whose stages.
    pub selected: &'a BTreeSet<ImageName>,
    /// The stages.
    pub lineages: &'a Lineages,
    /// What each image runs on.
    pub platforms: &'a BTreeMap<ImageName, Platform>,
    /// The store.
    pub observed: &'a Observed,
    /// Why the registry may not be asked, if it may not.
    pub forbidden: Option<&'static str>,
}

/// The cache phase: each stage that is kept now (`keeps`, whose builds get the name too), or that the registry was never
/// given, gets its name there.
pub fn store(input: &StoreInput<'_>, keeps: &mut Plan) -> Plan {
    let mut plan = Plan::default();
    if let Some(why) = input.forbidden {
        let why = Reason::CacheNotAsked(why.to_owned());
        plan.skipped.push(Skipped::new(Phase::Cache, input.cache.to_string(), why));
        return plan;
    }
    let mut seen = BTreeSet::new();
    let of_selected = input.lineages.iter().filter(|(image, _)| input.selected.contains(*image));
    for (image, lineage) in
        of_selected.flat_map(|(image, all)| all.iter().map(move |lineage| (image, lineage)))
    {
        let Some(platform) = input.platforms.get(image) else { continue };
        let capabilities = input.observed.capabilities.as_ref();
        let Some(name) = name_in(input.cache, lineage, platform, capabilities) else { continue };
        if !seen.insert(name.clone()) {
            continue;
        }
        let keep = StepId::new(Phase::Keep, &lineage.reference.familiar());
        let here = input.observed.find(&lineage.reference);
        let subject = name.familiar();
        let push = |from: Option<&Reference>| StepKind::Push {
            reference: name.clone(),
            from: from.cloned(),
            proof: PushProof::Word,
        };
        match (keeps.steps.iter_mut().find(|step| step.id == keep), here) {
            (Some(kept), _) => {
                let step = Step::new(Phase::Cache, subject, push(None), Reason::Built);
                plan.steps.push(Step { needs: vec![keep], ..step });
                if let StepKind::Build(spec) = &mut kept.kind {
                    spec.tags.push(name);
                }
            }
            (None, None) => {}
            (None, Some(kept)) if was_pushed(kept, &name, input.observed) => {
                plan.skipped.push(Skipped::new(Phase::Cache, subject, Reason::InRegistry));
            }
            (None, Some(_)) => {
                let push = push(Some(&lineage.reference));
                plan.steps.push(Step::new(Phase::Cache, subject, push, Reason::NotPushed));
            }
        }
    }
    plan
}

/// Whether this very image has the name here, and was pushed by it: an engine notes the digest that a registry took.
fn was_pushed(kept: &LocalImage, name: &Reference, observed: &Observed) -> bool {
    observed.find(name).is_some_and(|named| named.id == kept.id)
        && kept.digests.iter().any(|pushed| pushed.repository() == name.repository())
}

/// The names of a plan's builds that lie in one of these caches.
pub fn offered(plan: &Plan, caches: &[RegistryPrefix]) -> BTreeSet<Reference> {
    let specs = plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Build(spec) => Some(spec),
        _ => None,
    });
    let is_in = |name: &&Reference| caches.iter().any(|cache| cache.strip(name).is_some());
    specs.flat_map(|spec| spec.cache_from.iter().filter(is_in).cloned()).collect()
}

/// Takes names away that no cache has: the builder would ask for each in vain.
pub fn withdraw(plan: &mut Plan, absent: &BTreeSet<Reference>) {
    for step in &mut plan.steps {
        if let StepKind::Build(spec) = &mut step.kind {
            spec.cache_from.retain(|name| !absent.contains(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;
    use crate::model::ImageId;

    fn parse(text: &str) -> Reference {
        text.parse().expect(text)
    }

    fn lineage(reference: &str, label: &str) -> Lineage {
        Lineage {
            reference: parse(reference),
            label: label.to_owned(),
            is_target: false,
            text: None,
            steps: Vec::new(),
        }
    }

    fn engine(version: &str) -> Capabilities {
        Capabilities {
            name: "docker".to_owned(),
            version: version.to_owned(),
            api: (1, 45),
            buildkit: true,
            platform: Platform::new("linux", "amd64", None),
            keeps: Default::default(),
        }
    }

    #[test]
    fn pushes_go_where_the_network_leads() {
        let internal: RegistryPrefix = "harbor.example.com/p".parse().expect("prefix");
        for (name, offline, network, expect) in [
            ("api:1", false, Some(Network::External), None),
            ("api:1", false, None, None),
            ("api:1", false, Some(Network::Internal), Some("docker.io")),
            ("docker.io/team/api:1", false, Some(Network::Internal), Some("docker.io")),
            ("harbor.example.com/p/api:1", false, Some(Network::Internal), None),
            ("other.example.com/api:1", false, Some(Network::Internal), None),
            ("harbor.example.com/p/api:1", true, Some(Network::Internal), Some("--offline")),
            ("api:1", true, None, Some("--offline")),
            ("127.0.0.1:5000/api:1", true, Some(Network::Internal), None),
        ] {
            let around = Surroundings { offline, network, internal: Some(&internal) };
            let why = around.forbid_push(&parse(name));
            assert_eq!(why.is_some(), expect.is_some(), "{name} {network:?}: {why:?}");
            assert!(why.is_none_or(|why| why.contains(expect.unwrap_or_default())), "{name}: {why:?}");
        }
    }

    #[test]
    fn names_are_the_same_for_every_tag_and_another_for_what_is_not_interchangeable() {
        let cache: RegistryPrefix = "r.example.com/ci/cache".parse().expect("prefix");
        for (reference, label, platform, version, expected) in [
            (
                "xtask-cache/golinks-api:v1.builder",
                "builder",
                "linux/amd64",
                "26.1.5",
                "golinks-api:builder-amd64",
            ),
            (
                "xtask-cache/golinks-api:v2.builder",
                "builder",
                "linux/amd64",
                "26.1.5",
                "golinks-api:builder-amd64",
            ),
            ("xtask-cache/team/api:v1.0", "0", "linux/arm/v7", "26.1.5", "team/api:0-armv7"),
            ("xtask-cache/api:v1.1", "1", "linux/amd64", "20.10.24", "api:1-amd64-20.10"),
            (
                "xtask-cache/api:0123456789ab",
                "much-too-long",
                "linux/amd64",
                "27.0",
                "api:0123456789ab-amd64",
            ),
        ] {
            let platform: Platform = platform.parse().expect("platform");
            let name = name_in(&cache, &lineage(reference, label), &platform, Some(&engine(version)));
            assert_eq!(name.expect(reference).familiar(), format!("r.example.com/ci/cache/{expected}"));
        }
    }

    #[test]
    fn only_what_may_be_asked_is_asked() {
        let internal: RegistryPrefix = "h.example.com/p".parse().expect("prefix");
        for (offline, network, cache, may) in [
            (false, None, "r.example.com/c", true),
            (false, Some(Network::External), "r.example.com/c", true),
            (false, Some(Network::Internal), "r.example.com/c", false),
            (false, Some(Network::Internal), "h.example.com/other", true),
            (false, Some(Network::Internal), "127.0.0.1:5000/c", true),
            (true, None, "127.0.0.1:5000/c", false),
        ] {
            let around = Surroundings { offline, network, internal: Some(&internal) };
            assert_eq!(around.forbid(&cache.parse().expect(cache)).is_none(), may, "{cache} {network:?}");
        }
    }

    #[test]
    fn a_stage_is_pushed_once() {
        let digest = |fill: char| -> Digest {
            format!("sha256:{}", String::from(fill).repeat(64)).parse().expect("digest")
        };
        let cache: RegistryPrefix = "r.example.com/c".parse().expect("prefix");
        let kept = parse("xtask-cache/api:v1.builder");
        let there = parse("r.example.com/c/api:builder-amd64");
        let image = |names: &[&Reference], pushed: Option<char>| LocalImage {
            id: ImageId::new(digest('a')),
            names: names.iter().map(|name| (*name).clone()).collect(),
            digests: pushed.map(|fill| there.pinned(&digest(fill))).into_iter().collect(),
            labels: BTreeMap::new(),
            size: 1,
            platform: None,
            identity: None,
        };
        let name = ImageName::new("api");
        let lineages =
            BTreeMap::from([(name.clone(), vec![lineage("xtask-cache/api:v1.builder", "builder")])]);
        let platforms = BTreeMap::from([(name.clone(), Platform::new("linux", "amd64", None))]);
        for (images, forbidden, expected) in [
            (vec![], None, ""),
            (vec![image(&[&kept], None)], None, "push"),
            (vec![image(&[&kept, &there], None)], None, "push"),
            (vec![image(&[&kept], Some('b'))], None, "push"),
            (vec![image(&[&kept, &there], Some('b'))], None, "- already in the registry"),
            (vec![image(&[&kept], None)], Some("no"), "- not asked: no"),
        ] {
            let input = StoreInput {
                cache: &cache,
                selected: &[name.clone()].into(),
                lineages: &lineages,
                platforms: &platforms,
                observed: &Observed::new(engine("26"), images),
                forbidden,
            };
            let plan = store(&input, &mut Plan::default());
            let steps = plan.steps.iter().map(|step| step.kind.name().to_owned());
            let skipped = plan.skipped.iter().map(|skipped| format!("- {}", skipped.why));
            assert_eq!(steps.chain(skipped).collect::<Vec<_>>().join(" "), expected);
        }
    }
}
