use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::engine::{ByteStream, Loaded};
use crate::model::Digest;
use crate::model::{ImageDetails, IndexSpec, LayerSize, LocalImage, Observed};

fn parse(text: &str) -> Reference {
    text.parse().expect(text)
}

fn id(letter: char) -> ImageId {
    format!("sha256:{}", letter.to_string().repeat(64)).parse().expect("digest")
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64", None)
}

/// Pulls as it is told and tags; nothing else.
#[derive(Default)]
struct Double {
    /// What the pulls of a reference do, in order; nothing left means that it goes well.
    script: Mutex<HashMap<Reference, VecDeque<EngineError>>>,
    /// Every call: `pull x`, `tag x y`, with its time.
    calls: Mutex<Vec<(String, Instant)>>,
    store: Mutex<BTreeSet<Reference>>,
    arm: Vec<Reference>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Double {
    fn fails(self, name: &str, errors: &[EngineError]) -> Self {
        self.script.lock().expect("script").insert(parse(name), errors.iter().cloned().collect());
        self
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("calls").iter().map(|(call, _)| call.clone()).collect()
    }

    fn note(&self, call: String) {
        self.calls.lock().expect("calls").push((call, Instant::now()));
    }
}

fn unused<T>() -> Result<T, EngineError> {
    Err(EngineError::Other("no pull asks for this".into()))
}

impl Store for Double {
    async fn observe(&self) -> Result<Observed, EngineError> {
        unused()
    }

    async fn observe_names(&self, _: &[String]) -> Result<Observed, EngineError> {
        unused()
    }

    async fn inspect_on(
        &self,
        reference: &Reference,
        _: &Platform,
    ) -> Result<Option<LocalImage>, EngineError> {
        self.inspect(reference).await
    }

    async fn index(&self, _: &IndexSpec) -> Result<ImageId, EngineError> {
        unused()
    }

    async fn inspect(&self, reference: &Reference) -> Result<Option<LocalImage>, EngineError> {
        let found = self.store.lock().expect("store").contains(reference);
        let arch = if self.arm.contains(reference) { "arm64" } else { "amd64" };
        let digest = format!("{}@{}", reference.repository(), id('d'));
        Ok(found.then(|| LocalImage {
            id: id('a'),
            names: vec![reference.clone()],
            digests: vec![parse(&digest)],
            labels: BTreeMap::new(),
            size: 1,
            platform: Some(Platform::new("linux", arch, None)),
            identity: None,
        }))
    }

    async fn pull(&self, reference: &Reference, _: &Platform, _: OnProgress<'_>) -> Result<(), EngineError> {
        self.note(format!("pull {}", reference.familiar()));
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        let error = self.script.lock().expect("script").get_mut(reference).and_then(VecDeque::pop_front);
        match error {
            Some(error) => Err(error),
            None => {
                let name = reference.without_tag().unwrap_or_else(|| reference.clone());
                self.store.lock().expect("store").insert(name);
                Ok(())
            }
        }
    }

    async fn tag(&self, source: &Reference, target: &Reference) -> Result<(), EngineError> {
        self.note(format!("tag {} {}", source.familiar(), target.familiar()));
        self.store.lock().expect("store").insert(target.clone());
        Ok(())
    }

    async fn push(&self, _: &Reference, _: OnProgress<'_>) -> Result<Digest, EngineError> {
        unused()
    }

    async fn import(
        &self,
        _: &Path,
        _: &Reference,
        _: &Platform,
        _: &BTreeMap<String, String>,
    ) -> Result<ImageId, EngineError> {
        unused()
    }

    async fn save(&self, _: &[Reference]) -> Result<ByteStream, EngineError> {
        unused()
    }

    async fn load(&self, _: ByteStream) -> Result<Loaded, EngineError> {
        unused()
    }

    async fn remove(&self, _: &Reference) -> Result<(), EngineError> {
        unused()
    }

    async fn remove_unnamed(&self, _: &ImageId) -> Result<(), EngineError> {
        unused()
    }

    async fn layers(&self, _: &ImageId) -> Result<Option<Vec<Digest>>, EngineError> {
        unused()
    }

    async fn history(&self, _: &Reference) -> Result<Option<Vec<LayerSize>>, EngineError> {
        unused()
    }

    async fn details(&self, _: &Reference) -> Result<Option<ImageDetails>, EngineError> {
        unused()
    }
}

/// Makes everything at once, by noting that it is there.
struct Maker<'a>(&'a Double);

impl MakeBase for Maker<'_> {
    async fn make(
        &self,
        _: &Recipe,
        reference: &Reference,
        _: &Platform,
        _: OnProgress<'_>,
    ) -> Result<(), EngineError> {
        self.0.note(format!("make {}", reference.familiar()));
        self.0.store.lock().expect("store").insert(reference.clone());
        Ok(())
    }
}

fn recipe() -> PullSource {
    PullSource::Recipe(Recipe::Debootstrap {
        suite: "bookworm".into(),
        mirror: None,
        variant: None,
        include: Vec::new(),
    })
}

fn from(names: &[&str]) -> Vec<PullSource> {
    names
        .iter()
        .map(|name| if *name == "recipe" { recipe() } else { PullSource::Registry(parse(name)) })
        .collect()
}

fn transient(retry_after: Option<u64>) -> EngineError {
    EngineError::Transient { cause: "unexpected EOF".into(), retry_after }
}

/// What came of one pull, and all that was called, retries included.
async fn pull(
    engine: &Double,
    reference: &str,
    sources: &[&str],
) -> (Result<Pulled, PullError>, Vec<String>) {
    let puller = Puller::new(Policy::new(3), 3, Maker(engine), None);
    let said = Mutex::new(Vec::new());
    let progress = |progress: Progress| {
        if let Progress::Warning(text) = progress {
            said.lock().expect("said").push(text);
        }
    };
    let on_retry = |attempt, _, cause: String| {
        engine.note(format!("retry after try {attempt}: {cause}"));
    };
    let result = puller.pull(engine, &parse(reference), &amd64(), &from(sources), &progress, &on_retry).await;
    let mut calls = engine.calls();
    calls.extend(said.into_inner().expect("said"));
    (result, calls)
}

#[track_caller]
fn check(outcome: (Result<Pulled, PullError>, Vec<String>), said: &str, calls: &[&str]) {
    let text = match outcome.0 {
        Ok(pulled) => pulled.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(text.replace(id('d').as_str(), "sha256:d").replace(id('a').as_str(), "sha256:a"), said);
    assert_eq!(outcome.1, calls);
}

#[tokio::test(start_paused = true)]
async fn the_first_source_that_gives_it_is_enough() {
    let engine = Double::default();
    check(pull(&engine, "alpine:3", &["alpine:3"]).await, "sha256:d", &["pull alpine:3"]);
    let engine = Double::default();
    check(
        pull(&engine, "alpine:3", &["m.example.com/library/alpine:3", "alpine:3"]).await,
        "sha256:d from m.example.com/library/alpine:3",
        &["pull m.example.com/library/alpine:3", "tag m.example.com/library/alpine:3 alpine:3"],
    );
}

#[tokio::test(start_paused = true)]
async fn failures_go_on_to_the_next_source() {
    let unreachable = EngineError::RegistryUnreachable("m.example.com: no such host".into());
    let engine = Double::default().fails("m.example.com/library/alpine:3", &[unreachable]);
    check(
        pull(&engine, "alpine:3", &["m.example.com/library/alpine:3", "alpine:3"]).await,
        "sha256:d",
        &["pull m.example.com/library/alpine:3", "pull alpine:3"],
    );
    let engine = Double::default().fails("alpine:3", &[EngineError::NotFound("alpine:3".into())]);
    check(
        pull(&engine, "alpine:3", &["alpine:3", "recipe"]).await,
        "sha256:d made here from its recipe",
        &["pull alpine:3", "make alpine:3"],
    );
}

#[tokio::test(start_paused = true)]
async fn transient_failures_are_tried_again_before_the_next_source() {
    let engine = Double::default().fails("alpine:3", &[transient(None), transient(None)]);
    check(
        pull(&engine, "alpine:3", &["alpine:3"]).await,
        "sha256:d",
        &[
            "pull alpine:3",
            "retry after try 1: unexpected EOF",
            "pull alpine:3",
            "retry after try 2: unexpected EOF",
            "pull alpine:3",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_pull_names_every_source_and_the_command() {
    let engine = Double::default()
        .fails("m.example.com/a:1", &[EngineError::RegistryUnreachable("no such host".into())])
        .fails("a:1", &[EngineError::NotFound("a:1".into())]);
    check(
        pull(&engine, "a:1", &["m.example.com/a:1", "a:1"]).await,
        "m.example.com/a:1: no such host; a:1: not found; try `docker pull a:1`",
        &["pull m.example.com/a:1", "pull a:1"],
    );
}

#[tokio::test(start_paused = true)]
async fn trouble_of_the_engine_itself_ends_it() {
    let engine = Double::default().fails("m.example.com/a:1", &[EngineError::DiskFull("/var".into())]);
    check(
        pull(&engine, "a:1", &["m.example.com/a:1", "a:1"]).await,
        "m.example.com/a:1: no space left on the engine's disk: /var; try `docker pull \
         m.example.com/a:1`",
        &["pull m.example.com/a:1"],
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_for_another_platform_is_not_taken() {
    let engine = Double { arm: vec![parse("m.example.com/a:1")], ..Double::default() };
    check(
        pull(&engine, "a:1", &["m.example.com/a:1", "a:1"]).await,
        "sha256:d",
        &["pull m.example.com/a:1", "pull a:1"],
    );
}

#[tokio::test(start_paused = true)]
async fn digests_are_pulled_as_such() {
    let digest = id('d');
    let (mirror, name) = (format!("m.example.com/library/a@{digest}"), format!("a@{digest}"));
    let engine = Double::default();
    check(pull(&engine, &name, &[&name]).await, "sha256:d", &[&format!("pull {name}")]);
    let engine = Double::default();
    let warning = format!(
        "{name} is here as {mirror}: an engine gives no name with a digest, so a build may still ask docker.io"
    );
    let (result, calls) = pull(&engine, &name, &[&mirror]).await;
    assert!(result.is_ok());
    assert_eq!(calls, [format!("pull {mirror}"), warning]);
    let engine = Double::default();
    let both = format!("a:7@{digest}");
    let (result, calls) = pull(&engine, &both, &[&both]).await;
    assert!(result.is_ok());
    assert_eq!(calls, [format!("pull {both}"), format!("tag {name} a:7")]);
}

#[tokio::test(start_paused = true)]
async fn one_registry_is_not_asked_for_everything_at_once() {
    let engine = Double::default();
    let puller = Puller::new(Policy::new(0), 3, Maker(&engine), None);
    let names: Vec<Reference> = (0..20).map(|number| parse(&format!("image-{number}:1"))).collect();
    let sources: Vec<[PullSource; 1]> =
        names.iter().map(|name| [PullSource::Registry(name.clone())]).collect();
    let platform = amd64();
    let pulls = names
        .iter()
        .zip(&sources)
        .map(|(name, sources)| puller.pull(&engine, name, &platform, sources, &|_| {}, &|_, _, _| {}));
    let results = futures_util::future::join_all(pulls).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(engine.most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_asks_for_patience_is_left_alone_by_every_pull() {
    let engine = Double::default().fails("one:1", &[transient(Some(20))]);
    let puller = Puller::new(Policy::new(3), 1, Maker(&engine), None);
    let platform = amd64();
    let names = [parse("one:1"), parse("two:1"), parse("quay.io/three:1")];
    let sources: Vec<[PullSource; 1]> =
        names.iter().map(|name| [PullSource::Registry(name.clone())]).collect();
    let began = Instant::now();
    let pulls = names
        .iter()
        .zip(&sources)
        .map(|(name, sources)| puller.pull(&engine, name, &platform, sources, &|_| {}, &|_, _, _| {}));
    let results = futures_util::future::join_all(pulls).await;
    assert!(results.iter().all(Result::is_ok));
    let calls = engine.calls.lock().expect("calls");
    let at = |call: &str| {
        let times = calls.iter().filter(|(made, _)| made == call);
        times.map(|(_, at)| (*at - began).as_secs()).collect::<Vec<_>>()
    };
    assert_eq!(at("pull quay.io/three:1"), [0], "another registry goes on");
    assert!(at("pull two:1")[0] >= 20, "{calls:?}");
    assert!(at("pull one:1")[1] >= 20, "{calls:?}");
}
