use super::*;
use crate::model::AliasRules;

fn answer(millis: u64) -> Answer {
    Answer { status: 401, took: Duration::from_millis(millis) }
}

/// How each domain behaves: `ok MS`, `no MS CAUSE`, `silent`.
async fn behave(behaviour: &str) -> Result<Answer, ProbeError> {
    let words: Vec<&str> = behaviour.splitn(3, ' ').collect();
    let millis = words.get(1).map_or(0, |text| text.parse().expect("milliseconds"));
    match words[0] {
        "ok" => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok(answer(millis))
        }
        "no" => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Err(ProbeError::Unreachable(words[2].to_owned()))
        }
        "silent" => std::future::pending().await,
        other => panic!("{other}"),
    }
}

async fn decide_with(input: &NetworkInput, world: &[(&str, &str)]) -> (NetworkVerdict, Duration, usize) {
    let asked = std::cell::Cell::new(0);
    let probe = |domain: String| {
        asked.set(asked.get() + 1);
        let behaviour = world.iter().find(|(known, _)| *known == domain).map_or("silent", |(_, how)| *how);
        behave(behaviour)
    };
    let began = tokio::time::Instant::now();
    let verdict = decide(input, probe).await;
    (verdict, began.elapsed(), asked.get())
}

fn input(public: &[&str], internal: Option<&str>) -> NetworkInput {
    NetworkInput {
        public: public.iter().map(|domain| (*domain).to_owned()).collect(),
        internal: internal.map(|text| text.parse().expect(text)),
        ..NetworkInput::default()
    }
}

/// `verdict: evidence`, and the milliseconds that it took at most.
#[track_caller]
fn expect(outcome: &(NetworkVerdict, Duration, usize), verdict: &str, millis: u64) {
    let (found, took, _) = outcome;
    assert_eq!(format!("{}: {}", found.network, found.evidence), verdict);
    assert!(*took <= Duration::from_millis(millis + 5), "took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_public_answer_is_enough_and_ends_the_waiting() {
    let asked = input(&["docker.io", "quay.io"], Some("h.example.com/p"));
    let world = [("docker.io", "silent"), ("quay.io", "ok 38"), ("h.example.com", "ok 2")];
    expect(&decide_with(&asked, &world).await, "external: quay.io answered in 38 ms", 38);
}

#[tokio::test(start_paused = true)]
async fn without_one_it_is_internal_and_says_who_did_not_answer() {
    let asked = input(&["docker.io", "quay.io"], Some("h.example.com/p"));
    let world = [("docker.io", "silent"), ("quay.io", "no 5 connection refused"), ("h.example.com", "ok 2")];
    expect(
        &decide_with(&asked, &world).await,
        "internal: h.example.com answered in 2 ms, but not docker.io (no answer within 2 s), quay.io (connection \
         refused)",
        2000,
    );
    let world = [("docker.io", "no 1 no such host"), ("h.example.com", "no 1 connection refused")];
    expect(
        &decide_with(&input(&["docker.io"], Some("h.example.com/p")), &world).await,
        "internal: nothing answered: docker.io (no such host), h.example.com (connection refused)",
        1,
    );
    expect(
        &decide_with(&input(&["docker.io"], None), &[]).await,
        "internal: nothing answered: docker.io (no answer within 2 s)",
        2000,
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_said_is_not_asked() {
    let forced = NetworkInput {
        forced: Some((Network::External, "AI_INFRA_NETWORK_ENV=external".into())),
        offline: true,
        ..input(&["docker.io"], None)
    };
    let outcome = decide_with(&forced, &[]).await;
    expect(&outcome, "external: AI_INFRA_NETWORK_ENV=external", 0);
    assert_eq!(outcome.2, 0);
    let offline = NetworkInput { offline: true, ..input(&["docker.io"], Some("h.example.com")) };
    let outcome = decide_with(&offline, &[("docker.io", "ok 1")]).await;
    expect(&outcome, "internal: --offline, nothing was probed", 0);
    assert_eq!(outcome.2, 0);
    assert_eq!(outcome.0.internal_registry, offline.internal);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_kept_for_the_same_question_only() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join(CACHE_FILE);
    let world = [("docker.io", "ok 3")];
    let asked = NetworkInput { cache: Some(root.path().to_owned()), ..input(&["docker.io"], None) };
    assert_eq!(decide_with(&asked, &world).await.2, 1, "nothing is kept yet");
    let (verdict, _, probes) = decide_with(&asked, &[]).await;
    assert_eq!((verdict.network, probes), (Network::External, 0));
    assert!(verdict.evidence.starts_with("docker.io answered in 3 ms; asked "), "{}", verdict.evidence);
    assert!(verdict.evidence.ends_with(" s ago"), "{}", verdict.evidence);

    let other = NetworkInput { internal: Some("h.example.com".parse().expect("registry")), ..asked.clone() };
    assert_eq!(decide_with(&other, &world).await.2, 2, "another question");
    assert_eq!(decide_with(&asked, &world).await.2, 1, "only the last verdict is kept");
    let fresh = NetworkInput { freshness: Freshness::Fresh, ..asked.clone() };
    assert_eq!(decide_with(&fresh, &world).await.2, 1, "--no-cache-verdict");

    std::fs::write(&path, b"{ not json").expect("write");
    assert_eq!(decide_with(&asked, &world).await.2, 1, "a broken file is no verdict");
    let left: Vec<_> = std::fs::read_dir(path.parent().expect("parent")).expect("folder").collect();
    assert_eq!(left.len(), 1, "no half-written files beside it: {left:?}");
}

#[test]
fn a_kept_verdict_grows_old() {
    let root = tempfile::tempdir().expect("a folder");
    let asked = input(&["docker.io"], None);
    let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    Kept::new(&asked, Network::External, "docker.io answered in 3 ms", now).write(root.path());
    for (age, usable) in [(-1, false), (0, true), (299, true), (300, false), (86_400, false)] {
        let later =
            UNIX_EPOCH + Duration::from_secs(u64::try_from(2_000_000_000_i64 + age).expect("positive"));
        assert_eq!(Kept::read(root.path(), &asked, later, CACHE_LIMIT).is_some(), usable, "{age} s");
    }
}

#[test]
fn the_last_verdict_is_known_however_old_it_is() {
    let root = tempfile::tempdir().expect("a folder");
    let asked = NetworkInput { cache: Some(root.path().to_owned()), ..input(&["docker.io"], None) };
    assert_eq!(last_known(&asked), None, "nothing is kept yet");
    let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    Kept::new(&asked, Network::External, "docker.io answered in 3 ms", long_ago).write(root.path());
    let verdict = last_known(&asked).expect("it is kept");
    assert_eq!(verdict.network, Network::External);
    assert!(verdict.evidence.ends_with(" s ago"), "{}", verdict.evidence);
    let other = NetworkInput { public: vec!["quay.io".to_owned()], ..asked.clone() };
    let forced = NetworkInput { forced: Some((Network::Internal, "--network".to_owned())), ..asked.clone() };
    let offline = NetworkInput { offline: true, ..asked.clone() };
    let fresh = NetworkInput { freshness: Freshness::Fresh, ..asked };
    for input in [other, fresh] {
        assert_eq!(last_known(&input), None, "{input:?}");
    }
    for input in [forced, offline] {
        assert_eq!(last_known(&input).map(|known| known.network), Some(Network::Internal), "{input:?}");
    }
}

#[test]
fn a_tree_that_cannot_be_written_to_is_no_trouble() {
    let root = tempfile::tempdir().expect("a folder");
    let file = root.path().join("target");
    std::fs::write(&file, b"a file where a folder should be").expect("write");
    Kept::new(&input(&["docker.io"], None), Network::External, "x", SystemTime::now()).write(root.path());
    assert!(file.is_file());
}

#[track_caller]
fn domains(bases: &[&str], internal: Option<&str>, mirrors: &[(&str, &str)], expected: &[&str]) {
    let bases: Vec<Reference> = bases.iter().map(|text| text.parse().expect(text)).collect();
    let registry: Option<RegistryPrefix> = internal.map(|text| text.parse().expect(text));
    let prefixes = BTreeMap::new();
    let rules = AliasRules { internal_registry: registry.as_ref(), prefixes: &prefixes };
    let mut by_domain: BTreeMap<String, Vec<RegistryPrefix>> = BTreeMap::new();
    for (domain, mirror) in mirrors {
        by_domain.entry((*domain).to_owned()).or_default().push(mirror.parse().expect(mirror));
    }
    assert_eq!(public_domains(&bases, &Originals::new(rules, &bases), &by_domain), expected);
}

#[test]
fn asks_the_registries_that_dockerfiles_name() {
    domains(&[], None, &[], &["docker.io"]);
    domains(&["redis", "quay.io/a/b", "alpine:3"], None, &[], &["docker.io", "quay.io"]);
    domains(&["quay.io/a/b"], None, &[], &["quay.io"]);
    domains(&["localhost/redis:7"], None, &[], &["docker.io"]);
    domains(&["h.example.com/p/redis:7", "gcr.io/x"], Some("h.example.com/p"), &[], &["docker.io", "gcr.io"]);
    domains(&["h.example.com/other/x:1"], Some("h.example.com/p"), &[], &["docker.io"]);
    domains(
        &["redis"],
        Some("h.example.com/p"),
        &[
            ("docker.io", "m.example.com/hub"),
            ("docker.io", "h.example.com/hub"),
            ("quay.io", "q.example.com"),
        ],
        &["docker.io", "m.example.com"],
    );
}
