use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::model::{AliasRules, Capabilities, Indexes, Platform, RegistryPrefix};
use crate::plan::prefetch::{self, Bootstrap, PrefetchInput, Reach};

const O: &str = "redis:7-alpine";
const L: &str = "localhost/redis:7-alpine";
const R: &str = "harbor.example.com/infra/redis:7-alpine";

fn parse(text: &str) -> Reference {
    text.parse().expect(text)
}

fn digest(letter: char) -> ImageId {
    format!("sha256:{}", letter.to_string().repeat(64)).parse().expect("digest")
}

fn platform() -> Platform {
    Platform::new("linux", "amd64", None)
}

/// A store, by familiar name: which image each name points to.
type Store = BTreeMap<String, char>;

fn observe(store: &Store) -> Observed {
    let mut images: HashMap<char, LocalImage> = HashMap::new();
    for (name, &letter) in store {
        let reference = parse(name);
        let image = images.entry(letter).or_insert_with(|| LocalImage {
            id: digest(letter),
            names: Vec::new(),
            digests: Vec::new(),
            labels: BTreeMap::new(),
            size: 1,
            platform: Some(platform()),
            identity: None,
        });
        if reference.tag().is_some() { &mut image.names } else { &mut image.digests }.push(reference);
    }
    let capabilities = Capabilities {
        name: "fake".into(),
        version: "1".into(),
        api: (1, 41),
        buildkit: true,
        platform: platform(),
        keeps: Default::default(),
    };
    Observed::new(capabilities, images.into_values().collect())
}

/// Does a plan as an engine would; a pull brings the image `p`.
fn apply(plan: &Plan, store: &mut Store) {
    for step in &plan.steps {
        match &step.kind {
            StepKind::Pull { reference, sources, .. } => {
                let Some(PullSource::Registry(source)) = sources.first() else { panic!("no source") };
                store.insert(source.familiar(), 'd');
                store.insert(reference.familiar(), 'd');
            }
            StepKind::Tag { source, targets } => {
                let image =
                    *store.get(&source.familiar()).unwrap_or_else(|| panic!("no {source} in {store:?}"));
                store.extend(targets.iter().map(|target| (target.familiar(), image)));
            }
            other => panic!("{} in a plan of names", other.name()),
        }
    }
}

struct World {
    registry: Option<RegistryPrefix>,
    network: Network,
    wanted: Vec<Reference>,
    prefixes: BTreeMap<String, String>,
}

impl World {
    fn new(network: Network, registry: Option<&str>, wanted: &[&str]) -> Self {
        Self {
            registry: registry.map(|text| text.parse().expect(text)),
            network,
            wanted: wanted.iter().map(|text| parse(text)).collect(),
            prefixes: BTreeMap::new(),
        }
    }

    fn rules(&self) -> AliasRules<'_> {
        AliasRules { internal_registry: self.registry.as_ref(), prefixes: &self.prefixes }
    }

    fn pulls(&self, store: &Store) -> Plan {
        let wanted: Vec<_> = self.wanted.iter().map(|name| (name.clone(), platform())).collect();
        prefetch::plan(&PrefetchInput {
            wanted: &wanted,
            originals: &Originals::new(self.rules(), &self.wanted),
            observed: &observe(store),
            mirrors: &BTreeMap::new(),
            recipes: &BTreeMap::new(),
            reach: Reach::Registries(self.network),
            bootstrap: Bootstrap::No,
            renew: prefetch::Renew::No,
            pins: &BTreeMap::new(),
            indexes: Indexes::NotKept,
        })
    }

    fn names(&self, store: &Store, conflicts: OnConflict, pulls: &Plan) -> Plan {
        plan(&AliasInput {
            wanted: &self.wanted,
            originals: &Originals::new(self.rules(), &self.wanted),
            observed: &observe(store),
            network: self.network,
            conflicts,
            pulls,
        })
    }

    fn health(&self, store: &Store) -> Vec<AliasHealth> {
        health(&self.wanted, &Originals::new(self.rules(), &self.wanted), &observe(store), self.network)
    }
}

/// The rules of SPEC, "Aliases", said once more in another way: what the store is after a run, and how many
/// conflicts are reported before it.
fn oracle(
    store: &Store,
    network: Network,
    has_registry: bool,
    fix: bool,
    names_registry: bool,
) -> (Store, usize) {
    let get = |name: &str| store.get(name).copied();
    let mut after = store.clone();
    let by_priority: Vec<&str> = match (network, has_registry) {
        (Network::Internal, true) => vec![R, L, O],
        (Network::Internal, false) => vec![L, O],
        (Network::External, true) => vec![O, L, R],
        (Network::External, false) => vec![O, L],
    };
    let Some(winner) = by_priority.iter().find_map(|name| get(name)) else { return (after, 0) };
    let losers: Vec<&str> =
        by_priority.iter().copied().filter(|name| get(name).is_some_and(|image| image != winner)).collect();
    for &name in &by_priority {
        // Outside, nobody asks for the internal registry's name, unless a Dockerfile does.
        let unasked = network == Network::External && name == R && !names_registry;
        if get(name).is_none() && !unasked {
            after.insert(name.to_owned(), winner);
        }
    }
    if fix {
        for name in &losers {
            after.insert((*name).to_owned(), winner);
        }
    }
    (after, if fix { 0 } else { losers.len() })
}

fn conflicts(plan: &Plan) -> usize {
    plan.skipped.iter().filter(|skipped| matches!(skipped.why, Reason::AliasConflict { .. })).count()
}

#[test]
fn all_states_of_the_three_names_follow_the_rules() {
    let mut cases = 0;
    let states = [None, Some('a'), Some('b'), Some('c')];
    let nothing = Plan::default();
    for state in 0..64 {
        let [o, l, r] = [states[state % 4], states[state / 4 % 4], states[state / 16]];
        let store: Store = [(O, o), (L, l), (R, r)]
            .into_iter()
            .filter_map(|(name, image)| Some((name.to_owned(), image?)))
            .collect();
        for network in [Network::External, Network::Internal] {
            for registry in [None, Some("harbor.example.com/infra/")] {
                for wanted in [&[O] as &[&str], &[L], &[O, L], &[R], &[R, O]] {
                    let names_registry = wanted.contains(&R);
                    if names_registry && registry.is_none() {
                        continue; // Then it is an original of its own.
                    }
                    for conflict in [OnConflict::Report, OnConflict::Fix] {
                        cases += 1;
                        let fix = conflict == OnConflict::Fix;
                        let case = format!(
                            "{store:?} {network} registry {registry:?} wanted {wanted:?} {conflict:?}"
                        );
                        let world = World::new(network, registry, wanted);
                        let plan = world.names(&store, conflict, &nothing);
                        let (expected, reported) =
                            oracle(&store, network, registry.is_some(), fix, names_registry);

                        let mut after = store.clone();
                        apply(&plan, &mut after);
                        assert_eq!(after, expected, "{case}");
                        assert_eq!(conflicts(&plan), reported, "{case}");
                        // --check: the same plan says whether there is a gap.
                        let nothing_here = expected.is_empty() || (registry.is_none() && o.or(l).is_none());
                        assert_eq!(
                            has_gap(&plan),
                            expected != store || reported > 0 || nothing_here,
                            "{case}"
                        );

                        let again = world.names(&after, conflict, &nothing);
                        assert!(
                            again.steps.is_empty(),
                            "a second run does nothing: {case}: {:?}",
                            again.steps
                        );
                        if reported == 0 {
                            let ours = after.iter().filter(|(name, _)| registry.is_some() || *name != R);
                            let images: std::collections::BTreeSet<_> =
                                ours.map(|(_, image)| image).collect();
                            assert!(images.len() <= 1, "all names agree: {case}: {after:?}");
                        }
                        check_health(&world, &store, &plan, &case);
                    }
                }
            }
        }
    }
    assert_eq!(cases, 64 * 2 * 2 * (3 + 5), "every state was looked at");
}

/// `status` and `--check` never tell two stories.
#[track_caller]
fn check_health(world: &World, store: &Store, plan: &Plan, case: &str) {
    let [health] = world.health(store).try_into().expect("one original");
    assert_eq!(health.original, O, "{case}");
    let disagree =
        conflicts(plan) > 0 || plan.steps.iter().any(|step| matches!(step.why, Reason::AliasFixed { .. }));
    let expected = match (disagree, has_gap(plan)) {
        (true, _) => AliasState::Conflict,
        (false, true) => AliasState::Gap,
        (false, false) => AliasState::Ok,
    };
    assert_eq!(health.state, expected, "{case}");
}

#[test]
fn prefetch_and_alias_together_leave_nothing_to_do() {
    for (store, network, registry, wanted) in [
        (vec![], Network::External, None, vec![O]),
        (vec![], Network::External, Some("harbor.example.com/infra"), vec![O]),
        (vec![], Network::External, Some("harbor.example.com/infra"), vec![R, L]),
        (vec![], Network::Internal, Some("harbor.example.com/infra"), vec![O]),
        (vec![], Network::Internal, Some("harbor.example.com/infra"), vec![R]),
        (
            vec![],
            Network::Internal,
            Some("harbor.example.com/infra"),
            vec!["harbor.example.com/infra/library/redis:7-alpine"],
        ),
        (vec![(L, 'a')], Network::External, None, vec![O]),
        (vec![(R, 'a')], Network::Internal, Some("harbor.example.com/infra"), vec![L]),
        (vec![], Network::Internal, Some("harbor.example.com/infra"), vec!["quay.io/keycloak/keycloak:26.0"]),
    ] {
        let world = World::new(network, registry, &wanted);
        let mut store: Store = store.into_iter().map(|(name, image)| (name.to_owned(), image)).collect();
        let pulls = world.pulls(&store);
        let names = world.names(&store, OnConflict::Report, &pulls);
        for step in &names.steps {
            assert_eq!(step.needs, pulls.steps.iter().map(|pull| pull.id.clone()).collect::<Vec<_>>());
        }
        apply(&pulls, &mut store);
        apply(&names, &mut store);
        let pulls = world.pulls(&store);
        assert!(pulls.steps.is_empty(), "{wanted:?} {network}: {:?}", pulls.steps);
        let names = world.names(&store, OnConflict::Report, &pulls);
        assert!(!has_gap(&names), "{wanted:?} {network}: {names:?}");
        for name in &world.wanted {
            assert!(store.contains_key(&name.familiar()), "{name} is there for the build: {store:?}");
        }
    }
}

/// The plan as lines: `source -> target (why)`, `- subject (why not)`.
fn lines(plan: &Plan) -> String {
    let steps = plan.steps.iter().map(|step| match &step.kind {
        StepKind::Tag { source, targets } => {
            let targets: Vec<String> = targets.iter().map(|target| target.familiar()).collect();
            let needs: Vec<&str> = step.needs.iter().map(StepId::as_str).collect();
            let needs = if needs.is_empty() { String::new() } else { format!(" after {}", needs.join(", ")) };
            format!("{} -> {}{needs} ({})", source.familiar(), targets.join(", "), step.why)
        }
        other => other.name().to_owned(),
    });
    let skipped = plan.skipped.iter().map(|skipped| format!("- {} ({})", skipped.subject, skipped.why));
    steps.chain(skipped).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(network: Network, registry: Option<&str>, store: &[(&str, char)], wanted: &[&str], expected: &str) {
    let world = World::new(network, registry, wanted);
    let store: Store = store.iter().map(|(name, image)| ((*name).to_owned(), *image)).collect();
    let plan = world.names(&store, OnConflict::Report, &world.pulls(&store));
    assert_eq!(lines(&plan), expected);
}

#[test]
fn says_where_a_name_comes_from_and_what_it_fell_back_past() {
    let harbor = Some("harbor.example.com/infra");
    check(
        Network::External,
        harbor,
        &[(L, 'a')],
        &[O],
        "localhost/redis:7-alpine -> redis:7-alpine (missing, made from localhost/redis:7-alpine)",
    );
    check(
        Network::Internal,
        harbor,
        &[(O, 'a')],
        &[O],
        "redis:7-alpine -> harbor.example.com/infra/redis:7-alpine (missing, made from redis:7-alpine, since \
         harbor.example.com/infra/redis:7-alpine is not here)\n\
         redis:7-alpine -> localhost/redis:7-alpine (missing, made from redis:7-alpine, since \
         harbor.example.com/infra/redis:7-alpine is not here)",
    );
    check(
        Network::Internal,
        harbor,
        &[],
        &[O],
        "harbor.example.com/infra/redis:7-alpine -> localhost/redis:7-alpine after prefetch:redis:7-alpine \
         (missing, made from harbor.example.com/infra/redis:7-alpine)",
    );
    check(
        Network::External,
        harbor,
        &[(O, 'a'), (L, 'b'), (R, 'a')],
        &[O],
        "- localhost/redis:7-alpine (conflict: redis:7-alpine is aaaaaaaaaaaa, localhost/redis:7-alpine is \
         bbbbbbbbbbbb; --fix makes redis:7-alpine win)",
    );
    check(Network::Internal, None, &[], &[O], "- redis:7-alpine (not here, and not pulled)");
    check(Network::External, None, &[(O, 'a'), (L, 'a')], &[O], "- redis:7-alpine (all names agree)");
}

#[test]
fn health_says_what_is_wrong_in_a_line() {
    let say = |wanted: &[&str], store: &[(&str, char)]| {
        let world = World::new(Network::External, None, wanted);
        let store: Store = store.iter().map(|(name, image)| ((*name).to_owned(), *image)).collect();
        world.health(&store).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(say(&[O], &[(O, 'a'), (L, 'a')]), "redis:7-alpine: ok");
    assert_eq!(say(&[O], &[(O, 'a')]), "redis:7-alpine: gap: localhost/redis:7-alpine is missing");
    assert_eq!(
        say(&[O], &[(O, 'a'), (L, 'b')]),
        "redis:7-alpine: conflict: redis:7-alpine is aaaaaaaaaaaa, localhost/redis:7-alpine is bbbbbbbbbbbb"
    );
    let clash = say(&["a/b:1", "quay.io/a/b:1"], &[]);
    assert!(clash.starts_with("a/b:1: clash: "), "{clash}");
    assert_eq!(say(&[&format!("redis@{}", digest('e'))], &[]), "", "a digest alone has no names");
}

#[test]
fn two_originals_with_one_path_are_named_and_the_others_go_on() {
    check(
        Network::External,
        None,
        &[("a/b:1", 'a'), ("quay.io/a/b:1", 'b'), (O, 'c')],
        &["a/b:1", O, "quay.io/a/b:1"],
        "redis:7-alpine -> localhost/redis:7-alpine (missing, made from redis:7-alpine)\n\
         - a/b:1 (docker.io/a/b:1 and quay.io/a/b:1 want the same alias)\n\
         - quay.io/a/b:1 (quay.io/a/b:1 and docker.io/a/b:1 want the same alias)",
    );
    let mut world = World::new(Network::External, None, &["a/b:1", "quay.io/a/b:1"]);
    world.prefixes.insert("quay.io".into(), "quay".into());
    let store: Store = [("a/b:1".to_owned(), 'a'), ("quay.io/a/b:1".to_owned(), 'b')].into();
    let plan = world.names(&store, OnConflict::Report, &Plan::default());
    assert_eq!(
        lines(&plan),
        "a/b:1 -> localhost/a/b:1 (missing, made from a/b:1)\n\
         quay.io/a/b:1 -> localhost/quay/a/b:1 (missing, made from quay.io/a/b:1)"
    );
}

#[test]
fn digests_make_names_but_never_get_them() {
    let pinned = format!("redis@{}", digest('e'));
    check(
        Network::External,
        None,
        &[(&pinned, 'a')],
        &[&pinned],
        &format!("- {pinned} (pinned by digest without a tag, so it has no aliases)"),
    );
    let both = format!("redis:7@{}", digest('e'));
    check(
        Network::External,
        None,
        &[(&pinned, 'a')],
        &[&both],
        &format!(
            "{pinned} -> redis:7 (missing, made from {pinned})\n\
             {pinned} -> localhost/redis:7 (missing, made from {pinned})"
        ),
    );
    check(
        Network::External,
        None,
        &[],
        &[&both],
        &format!(
            "redis:7 -> localhost/redis:7 after prefetch:redis:7@{} (missing, made from redis:7)",
            digest('e')
        ),
    );
}

#[test]
fn a_pull_for_the_right_platform_takes_its_names_along() {
    let world = World::new(Network::External, None, &[O]);
    let store: Store = [(O.to_owned(), 'a'), (L.to_owned(), 'a')].into();
    let wanted = [(parse(O), Platform::new("linux", "arm64", None))];
    let pulls = prefetch::plan(&PrefetchInput {
        wanted: &wanted,
        originals: &Originals::new(world.rules(), &world.wanted),
        observed: &observe(&store),
        mirrors: &BTreeMap::new(),
        recipes: &BTreeMap::new(),
        reach: Reach::Registries(Network::External),
        bootstrap: Bootstrap::No,
        renew: prefetch::Renew::No,
        pins: &BTreeMap::new(),
        indexes: Indexes::NotKept,
    });
    assert_eq!(pulls.steps.len(), 1);
    let plan = world.names(&store, OnConflict::Report, &pulls);
    assert_eq!(
        lines(&plan),
        "redis:7-alpine -> localhost/redis:7-alpine after prefetch:redis:7-alpine (pointed to aaaaaaaaaaaa, \
         now follows redis:7-alpine)"
    );
}

#[test]
fn knows_nothing_without_an_engine() {
    let world = World::new(Network::External, None, &[O]);
    let plan = plan(&AliasInput {
        wanted: &world.wanted,
        originals: &Originals::new(world.rules(), &world.wanted),
        observed: &Observed::nothing(),
        network: Network::External,
        conflicts: OnConflict::Report,
        pulls: &Plan::default(),
    });
    assert_eq!(lines(&plan), "- redis:7-alpine (no engine to ask)");
}
