//! The engines that the tests run on, each a version of its own, all up at the same time.
//!
//! In: which of them. Out: their tests' results, check by check, and whether `docs/engines.md` says what they say. The first
//! is this machine's own package; the others come out of folders that are made once, in the background, and kept.

mod folder;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::table::TestOutcome;
use super::{Checks, Lacking, text};
use crate::engine::ImageStore;
use crate::engine::provision::{
    Announce, Data, DisposableEngine, EngineSettings, Home, ProvisionError, down,
};
use crate::host::inside::Folder;
use crate::host::{HostCommand, Stream};

/// An engine that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum EngineVersion {
    /// This machine's package; Debian 12 has 20.10, images in overlay2
    #[value(name = "20.10")]
    Installed,
    /// Debian 13's, images in overlay2
    #[value(name = "26.1")]
    Trixie,
    /// Debian sid's, images in containerd
    #[value(name = "28.5")]
    Sid,
    /// The same, images in overlay2
    #[value(name = "28.5-overlay2")]
    SidGraph,
}

impl EngineVersion {
    /// All, oldest first.
    pub const ALL: [Self; 4] = [Self::Installed, Self::Trixie, Self::Sid, Self::SidGraph];

    /// `26.1`; what is chosen by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SidGraph => "28.5-overlay2",
            other => other.version(),
        }
    }

    /// `26.1`
    pub const fn version(self) -> &'static str {
        match self {
            Self::Installed => "20.10",
            Self::Trixie => "26.1",
            Self::Sid | Self::SidGraph => "28.5",
        }
    }

    /// Where it keeps images.
    pub const fn store(self) -> &'static str {
        match self {
            Self::Installed | Self::Trixie | Self::SidGraph => "overlay2",
            Self::Sid => "containerd",
        }
    }

    /// The suite of Debian that has it; none for the one that is installed.
    const fn suite(self) -> Option<&'static str> {
        match self {
            Self::Installed => None,
            Self::Trixie => Some("trixie"),
            Self::Sid | Self::SidGraph => Some("sid"),
        }
    }

    fn settings(self, root_folder: Option<PathBuf>) -> EngineSettings {
        let plain = EngineSettings { root_folder, ..EngineSettings::default() };
        match self {
            Self::Installed | Self::Trixie => plain,
            // Like every engine from 29 on, of which a fresh one has containerd.
            Self::Sid | Self::SidGraph => {
                let images = if self == Self::Sid { ImageStore::Containerd } else { ImageStore::Graph };
                EngineSettings { images: Some(images), oldest_api: Some("1.44"), ..plain }
            }
        }
    }

    /// The modules of `tests/engine` that are about the engine they are given. The others start engines of their own, of
    /// this machine's package, and are run once.
    const fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Installed => &[],
            Self::Trixie | Self::Sid => &[
                "carried::",
                "checks::",
                "clean::",
                "commands::",
                "contract::",
                "elsewhere::",
                "lock::",
                "push::",
                "secrets::",
                "shell::",
                "trials::",
            ],
            // What the store decides; the rest the same version has shown with the other one.
            Self::SidGraph => &["carried::", "contract::", "push::"],
        }
    }

    /// Whether images are carried from this engine to that one: between the two stores of one version, and between
    /// versions.
    fn trades_with(self, other: Self) -> bool {
        self != other && (self.version() == other.version() || ![self, other].contains(&Self::SidGraph))
    }
}

/// Makes the folders of those that need one, one after the other; why not, where one cannot be had.
pub async fn folders(
    cache: Option<&Path>,
    wanted: &[EngineVersion],
    announce: Announce<'_>,
) -> BTreeMap<EngineVersion, Result<Option<PathBuf>, String>> {
    let mut found = BTreeMap::new();
    for version in EngineVersion::ALL.into_iter().filter(|version| wanted.contains(version)) {
        let place = match (version.suite(), cache) {
            (None, _) => Ok(None),
            (Some(_), None) => {
                Err("this user has no cache folder (neither XDG_CACHE_HOME nor HOME)".to_owned())
            }
            (Some(suite), Some(cache)) => {
                folder::ready(&cache.join("xtask/engines"), version.version(), suite, announce)
                    .await
                    .map(Some)
            }
        };
        found.insert(version, place);
    }
    found
}

fn home(folder: &Path, version: EngineVersion) -> PathBuf {
    folder.join(format!("engine-{}", version.name()))
}

/// Takes down what a run that was killed has left below `folder`.
///
/// # Errors
/// As [`down`].
pub async fn clear(folder: &Path, announce: Announce<'_>) -> Result<(), ProvisionError> {
    for version in EngineVersion::ALL {
        down(&Home::at(&home(folder, version)), Data::Purge, announce).await?;
    }
    Ok(())
}

/// One of the engines, up.
pub struct Up {
    version: EngineVersion,
    engine: DisposableEngine,
}

/// Starts those whose folders are there, below `folder`.
pub async fn start(
    checks: &mut Checks<'_>,
    folder: &Path,
    folders: BTreeMap<EngineVersion, Result<Option<PathBuf>, String>>,
    lacking: Lacking,
) -> Vec<Up> {
    let mut up = Vec::new();
    for (version, place) in folders {
        let name = format!("engine {} up", version.name());
        let announce = checks.announce;
        let begin = async {
            let settings = version.settings(place?);
            let home = home(folder, version);
            DisposableEngine::start(&home, &settings, announce).await.map_err(|error| error.to_string())
        };
        match (begin.await, lacking) {
            (Ok(engine), _) => up.push(Up { version, engine }),
            (Err(why), Lacking::Fails) => checks.check(&name, async { Err::<(), _>(why) }).await,
            (Err(why), Lacking::Skips) => announce(format!("engine {} skipped ({why})", version.name())),
        }
    }
    up
}

/// Runs the tests on each engine, the others beside it, and compares what came of it with `docs/engines.md`.
pub async fn test(checks: &mut Checks<'_>, root: &Path, folder: &Path, up: &[Up]) {
    let mut results = BTreeMap::new();
    for Up { version, engine } in up {
        let others = up.iter().filter(|other| version.trades_with(other.version));
        let others: Vec<String> = others.map(|other| other.engine.endpoint()).collect();
        let found = folder.join(format!("findings-{}", version.name()));
        let command = HostCommand::new("cargo")
            .args(["test", "--locked", "-p", "xtask-images", "--test", "engine", "--no-fail-fast", "--"])
            .args(version.modules().iter().copied());
        let command = super::for_tests(command, root)
            .env("XTASK_TEST_DOCKER_HOST", engine.endpoint())
            .env("XTASK_TEST_OTHER_HOSTS", others.join(","))
            .env("XTASK_TEST_FINDINGS", text(&found));
        let mut outcomes = BTreeMap::new();
        let announce = checks.announce;
        let run = async {
            Folder::open(folder)
                .and_then(|folder| folder.write(&found, b"", None))
                .map_err(|error| error.to_string())?;
            let mut each = |_: Stream, line: &str| {
                announce(line.to_owned());
                outcomes.extend(table::outcome(line));
            };
            command.lines(&mut each).await.map_err(|error| error.to_string())
        };
        checks.check(&format!("engine tests on {} ({})", version.name(), version.store()), run).await;
        let is = engine.version().await.unwrap_or_default();
        if is.starts_with(&format!("{}.", version.version())) {
            let findings = std::fs::read_to_string(&found).unwrap_or_default();
            results.insert(*version, Results { outcomes, findings });
        } else {
            announce(format!("engine {} is {is} here, so docs/engines.md is not held to it", version.name()));
        }
    }
    checks.check("docs/engines.md", async { table::compare(root, &results) }).await;
}

/// What the tests on one engine came to.
pub struct Results {
    /// By the test's name.
    outcomes: BTreeMap<String, TestOutcome>,
    /// What tests say of an engine beyond that they passed: a line each, command and cell with a tab between.
    findings: String,
}

/// Takes all of them down.
///
/// # Errors
/// As [`DisposableEngine::stop`].
pub async fn stop(up: Vec<Up>, announce: Announce<'_>) -> Result<(), ProvisionError> {
    for Up { engine, .. } in up {
        engine.stop(announce).await?;
    }
    Ok(())
}
