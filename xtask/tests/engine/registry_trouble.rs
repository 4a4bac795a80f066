//! Registries that misbehave, in front of a real one, and a real engine that pulls through them.
//!
//! What is counted here is requests for manifests. For one pull Docker (20.10 and later) asks by TLS first, then
//! `GET /v2/`, and for the manifest by HEAD and GET; this program asks by HEAD once before. A blob that fails the
//! engine fetches up to five more times by itself, so its requests tell nothing of ours.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use xtask::build::Builder as _;
use xtask::engine::{EngineError, OnProgress, Progress, Store as _};
use xtask::execute::pull::{MakeBase, PullError, Pulled, Puller};
use xtask::execute::retry::Policy;
use xtask::model::{Platform, PullSource, Recipe, Reference};
use xtask::registry::Registry;

use crate::faulty_proxy::{FaultyProxy, Trouble};
use crate::support::free_address;
use crate::world::{World, connect_with, quietly, real_world};

/// There is no recipe in these tests.
struct Never;

impl MakeBase for Never {
    async fn make(
        &self,
        _: &Recipe,
        reference: &Reference,
        _: &Platform,
        _: OnProgress<'_>,
    ) -> Result<(), EngineError> {
        Err(EngineError::NotFound(reference.familiar()))
    }
}

/// A proxy in front of the world's registry, which has `base:1`; the store has nothing.
struct Trial {
    world: World,
    proxy: FaultyProxy,
    puller: Puller<Never>,
    retries: Mutex<Vec<String>>,
}

impl Trial {
    /// None, said aloud, where there is no engine.
    async fn new(test: &str) -> Option<Self> {
        let world = real_world(test).await?;
        let remote = world.remote("base:1");
        world.engine.import(&world.rootfs(), &remote, &Platform::local(), &Default::default()).await.unwrap();
        world.engine.push(&remote, quietly()).await.unwrap();
        world.engine.remove(&remote).await.unwrap();
        let upstream = world.registry.parse().expect("an address");
        let proxy = FaultyProxy::start(Some(upstream)).await;
        let puller = Puller::new(Policy::new(3), 3, Never, Some(Registry::default()));
        Some(Self { world, proxy, puller, retries: Mutex::default() })
    }

    /// What the registry has, asked for through the proxy.
    fn source(&self, name: &str) -> PullSource {
        let text = format!("{}/{}/{name}", self.proxy.domain(), self.world.prefix);
        PullSource::Registry(text.parse().unwrap())
    }

    async fn pull(&self, name: &str, sources: &[PullSource]) -> Result<Pulled, PullError> {
        let on_retry = |attempt, pause: Duration, cause: String| {
            self.retries.lock().unwrap().push(format!("{attempt}: {cause} ({pause:?})"));
        };
        let reference = self.world.reference(name);
        let platform = Platform::local();
        self.puller.pull(&self.world.engine, &reference, &platform, sources, quietly(), &on_retry).await
    }

    async fn is_here(&self, name: &str) -> bool {
        self.world.engine.inspect(&self.world.reference(name)).await.unwrap().is_some()
    }

    fn retries(&self) -> Vec<String> {
        self.retries.lock().unwrap().clone()
    }

    async fn clean_up(self) {
        for name in ["base:1", "other:1"] {
            self.world.engine.remove(&self.world.reference(name)).await.unwrap();
        }
        let through_proxy = format!("{}/{}/base:1", self.proxy.domain(), self.world.prefix);
        self.world.engine.remove(&through_proxy.parse().unwrap()).await.unwrap();
        self.world.engine.remove(&self.world.remote("base:1")).await.unwrap();
    }
}

fn too_many(seconds: u64) -> Trouble {
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
    let headers = vec![
        ("Retry-After", seconds.to_string()),
        ("Content-Type", "application/json".to_owned()),
        ("Docker-Distribution-Api-Version", "registry/2.0".to_owned()),
    ];
    Trouble::Answer(429, headers, body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_with_retry_after_is_waited_for() {
    let Some(trial) = Trial::new("a_429_with_retry_after_is_waited_for").await else { return };
    trial.proxy.fault("/manifests/", 1, too_many(4));
    let pulled = trial.pull("base:1", &[trial.source("base:1")]).await.unwrap();
    assert!(pulled.digest.is_some(), "{pulled:?}");
    assert!(trial.is_here("base:1").await, "it has the name that was asked for");
    let asked = trial.proxy.seen("/manifests/");
    assert_eq!(asked[0].status, Some(429));
    let waited = asked[1].at - asked[0].at;
    assert!(waited >= Duration::from_secs(4), "asked again after {waited:?}");
    assert_eq!(trial.retries().len(), 1, "{:?}", trial.retries());
    trial.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_that_only_the_engine_sees_is_tried_again() {
    let Some(trial) = Trial::new("a_429_that_only_the_engine_sees_is_tried_again").await else { return };
    trial.proxy.fault("GET /v2/xtask", 1, too_many(1));
    trial.pull("base:1", &[trial.source("base:1")]).await.unwrap();
    assert_eq!(trial.retries().len(), 1, "{:?}", trial.retries());
    trial.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_says_nothing_is_left_for_the_next() {
    let Some(trial) = Trial::new("a_registry_that_says_nothing_is_left_for_the_next").await else { return };
    let engine = connect_with(&trial.world.host, None, Duration::from_secs(3)).await.unwrap();
    let mute = FaultyProxy::start(None).await;
    mute.fault("/v2/", usize::MAX, Trouble::Silent);
    let domain = mute.domain();
    let silent: Reference = format!("{domain}/team/base:1").parse().unwrap();
    let warned = Mutex::new(Vec::new());
    let progress = |progress: Progress| {
        if let Progress::Warning(text) = progress {
            warned.lock().unwrap().push(text);
        }
    };
    let sources = [PullSource::Registry(silent.clone()), trial.source("base:1")];
    let (reference, platform) = (trial.world.reference("base:1"), Platform::local());
    let pulled =
        trial.puller.pull(&engine, &reference, &platform, &sources, &progress, &|_, _, _| {}).await.unwrap();
    assert_eq!(pulled.source, sources[1]);
    assert_eq!(
        *warned.lock().unwrap(),
        [format!("nothing has come from {domain} for 1 s; given up after 3 s")]
    );

    engine.tag(&reference, &silent).await.unwrap();
    let error = engine.push(&silent, quietly()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{domain} has sent nothing for 3 s"));
    engine.remove(&silent).await.unwrap();

    let text = format!("FROM {domain}/team/other:1\n");
    let error =
        engine.build(trial.world.path(), &trial.world.spec("x:1", &text, Vec::new()), quietly()).await;
    assert_eq!(error.unwrap_err().to_string(), format!("{domain} has sent nothing for 3 s"));
    trial.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_503_twice_and_then_fine_succeeds() {
    let Some(trial) = Trial::new("a_503_twice_and_then_fine_succeeds").await else { return };
    // Not HEAD: an engine that gets no answer to that goes on to GET.
    trial.proxy.status("GET /v2/xtask", 2, 503);
    trial.pull("base:1", &[trial.source("base:1")]).await.unwrap();
    assert!(trial.is_here("base:1").await);
    let manifests = trial.proxy.seen("GET /v2/xtask");
    let statuses: Vec<_> = manifests.iter().map(|seen| seen.status).take(3).collect();
    assert_eq!(statuses, [Some(503), Some(503), Some(200)]);
    assert_eq!(trial.retries().len(), 2, "{:?}", trial.retries());
    trial.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_is_not_tried_again() {
    let Some(trial) = Trial::new("a_404_is_not_tried_again").await else { return };
    let begin = Instant::now();
    let error = trial.pull("nothing:1", &[trial.source("nothing:1")]).await.unwrap_err();
    assert!(matches!(error.failed[..], [(_, EngineError::NotFound(_))]), "{error}");
    assert!(error.to_string().contains("try `docker pull "), "{error}");
    assert_eq!(trial.retries(), [""; 0]);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let asked = trial.proxy.seen("/manifests/").len();
    assert!(asked <= 3, "{asked} requests");
    trial.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_mirror_falls_to_the_next() {
    let Some(trial) = Trial::new("an_unreachable_mirror_falls_to_the_next").await else { return };
    let nowhere = format!("{}/{}/base:1", free_address(), trial.world.prefix).parse().unwrap();
    let sources = [PullSource::Registry(nowhere), trial.source("base:1")];
    let pulled = trial.pull("base:1", &sources).await.unwrap();
    assert_eq!(pulled.source, sources[1]);
    assert_eq!(trial.retries(), [""; 0], "nobody there is no reason to wait");
    assert!(trial.is_here("base:1").await);
    trial.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_breaks_off_is_tried_again() {
    let Some(trial) = Trial::new("a_mirror_that_breaks_off_is_tried_again").await else { return };
    trial.proxy.fault("GET /v2/xtask", 1, Trouble::Cut(300));
    trial.pull("base:1", &[trial.source("base:1")]).await.unwrap();
    assert!(trial.is_here("base:1").await);
    trial.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_pull_leaves_the_others_going() {
    let Some(trial) = Trial::new("a_failing_pull_leaves_the_others_going").await else { return };
    let [missing, there] = [[trial.source("nothing:1")], [trial.source("base:1")]];
    let (failed, pulled) = tokio::join!(trial.pull("nothing:1", &missing), trial.pull("other:1", &there));
    assert!(failed.is_err());
    assert!(pulled.is_ok());
    assert!(trial.is_here("other:1").await);
    trial.clean_up().await;
}
