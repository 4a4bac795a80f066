//! The only door to a container engine: a trait of verbs, its errors, and the adapters behind it.
//!
//! Nothing outside this folder knows bollard or Docker's HTTP API. Methods return `impl Future + Send`;
//! [`AnyEngine`] delegates, so nobody needs `Box<dyn>`.

mod archive;
mod bollard;
mod build;
mod classify;
pub mod compose;
mod connect;
mod container;
mod endpoint;
mod failure;
mod fake;
mod filesync;
mod http;
mod observe;
mod patience;
pub mod provision;
pub mod recipe;
mod session;
mod ssh;
mod stall;
mod survey;
mod tls;
mod trace;
mod transfer;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use crate::host::retry::Retriable;
use crate::model::{
    BuildSpec, ContainerId, ContainerSpec, ContainerState, Digest, ExecOutput, ImageDetails, ImageId,
    LocalImage, LogStream, Observed, Platform, Reference, Unit,
};

pub use archive::{ByteStream, Loaded};
pub use bollard::DockerEngine;
pub use connect::{Found, Surroundings, connect, endpoints, find};
pub use fake::{FakeBehaviour, FakeBuild, FakeEngine, Fault, Verb, fake_image};
pub use patience::patiently;
pub use survey::{ImageStore, Survey};
pub use transfer::ASKED_WITHOUT_LOGIN;

/// How far a pull, push or build is, or what it prints.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Further along.
    Moved {
        /// How far.
        done: u64,
        /// Of how much; 0 when nobody knows.
        total: u64,
        /// Counted in what.
        unit: Unit,
        /// The running instruction or layer.
        detail: Option<String>,
    },
    /// A line of output.
    Log {
        /// Where it was printed.
        stream: LogStream,
        /// Without its newline.
        line: String,
    },
    /// Odd, but it goes on.
    Warning(String),
    /// What one instruction of a build did, told at its end.
    Part {
        /// The builder's name for it: `[builder 2/5] RUN npm ci`.
        name: String,
        /// After the build's first instruction.
        began: Duration,
        /// How long it took.
        took: Duration,
        /// Whether its result was there already.
        cached: bool,
        /// Whether it failed by itself.
        failed: bool,
    },
}

/// Takes progress as it happens; called from async code, so it must not block.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// What this program asks of a container engine. Dropping a returned future cancels the work.
pub trait Engine: Send + Sync {
    /// The store and the engine's abilities, in a fixed number of calls whatever the store holds.
    fn observe(&self) -> impl Future<Output = Result<Observed, EngineError>> + Send;

    /// The same of images and names that match one of these patterns, as `docker images --filter reference=` takes them.
    /// An engine that reads patterns in its own way gives all.
    fn observe_names(
        &self,
        patterns: &[String],
    ) -> impl Future<Output = Result<Observed, EngineError>> + Send;

    /// One image, with its platform; none when the store lacks it.
    fn inspect(
        &self,
        reference: &Reference,
    ) -> impl Future<Output = Result<Option<LocalImage>, EngineError>> + Send;

    /// Pulls exactly this reference, once; retrying and choosing sources is the caller's.
    fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: OnProgress<'_>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Gives the image that `source` names the further name `target`.
    fn tag(
        &self,
        source: &Reference,
        target: &Reference,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Builds with BuildKit; `root` is what the spec's paths are relative to. Returns the image ID.
    fn build(
        &self,
        root: &Path,
        spec: &BuildSpec,
        progress: OnProgress<'_>,
    ) -> impl Future<Output = Result<ImageId, EngineError>> + Send;

    /// Pushes to the registry in the name; returns the manifest's digest as the registry took it.
    fn push(
        &self,
        reference: &Reference,
        progress: OnProgress<'_>,
    ) -> impl Future<Output = Result<Digest, EngineError>> + Send;

    /// Makes an image of one layer from an uncompressed tar of a root folder.
    fn import(
        &self,
        tar: &Path,
        reference: &Reference,
        platform: &Platform,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<ImageId, EngineError>> + Send;

    /// An archive of these images with all their layers, as `docker save` gives it.
    fn save(&self, references: &[Reference]) -> impl Future<Output = Result<ByteStream, EngineError>> + Send;

    /// Takes a docker-archive. Files of layers that the store has may be missing in it (by chain ID; an engine that
    /// keeps its images in containerd wants all). An archive whose stream ends in an error changes nothing.
    fn load(&self, archive: ByteStream) -> impl Future<Output = Result<Loaded, EngineError>> + Send;

    /// Takes a name away; the image goes with its last name. Absent is fine.
    fn remove(&self, reference: &Reference) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Gives a name back to an image that is called `from` meanwhile, which ends with that. Whatever has the name goes, if
    /// it has no other.
    fn give_back(
        &self,
        name: &Reference,
        from: &Reference,
    ) -> impl Future<Output = Result<(), EngineError>> + Send {
        async {
            self.remove(name).await?;
            self.tag(from, name).await?;
            self.remove(from).await
        }
    }

    /// Removes an image that has no name; one that has got a name, or that a container uses, is an error. Absent is
    /// fine.
    fn remove_unnamed(&self, id: &ImageId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The digests of an image's layers, uncompressed, lowest first; none when the store lacks it.
    fn layers(&self, id: &ImageId) -> impl Future<Output = Result<Option<Vec<Digest>>, EngineError>> + Send;

    /// What an image says about itself; none when the store lacks it.
    fn details(
        &self,
        reference: &Reference,
    ) -> impl Future<Output = Result<Option<ImageDetails>, EngineError>> + Send;

    /// Creates and starts a container; one that does not start is not left behind.
    fn run(&self, spec: &ContainerSpec) -> impl Future<Output = Result<ContainerId, EngineError>> + Send;

    /// How a container is doing; none when it is gone.
    fn container(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<ContainerState>, EngineError>> + Send;

    /// Runs a command in a running container, to its end.
    fn exec(
        &self,
        id: &ContainerId,
        command: &[&str],
    ) -> impl Future<Output = Result<ExecOutput, EngineError>> + Send;

    /// What a container printed last, line by line.
    fn logs(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Vec<(LogStream, String)>, EngineError>> + Send;

    /// Asks a container to end, and ends it by force after `grace`. Ended already, or gone, is fine.
    fn stop(&self, id: &ContainerId, grace: Duration)
    -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a container by force, with its anonymous volumes. Absent is fine.
    fn remove_container(&self, id: &ContainerId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The containers that carry a label (`name` or `name=value`), running or not; an empty text means all.
    fn containers(&self, label: &str) -> impl Future<Output = Result<Vec<ContainerId>, EngineError>> + Send;
}

/// Whichever engine there is. A clone speaks to the same store.
#[derive(Clone, Debug)]
pub enum AnyEngine {
    /// One that runs containers.
    Docker(Box<DockerEngine>),
    /// One in memory, for tests.
    Fake(FakeEngine),
}

impl AnyEngine {
    /// Where it listens, as people type it.
    pub fn endpoint(&self) -> &str {
        match self {
            Self::Docker(engine) => engine.endpoint(),
            Self::Fake(_) => "fake://",
        }
    }

    /// What docker's own programs have to be told to speak to the same engine: names and values of variables. An empty
    /// value takes away what the environment says.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Docker(engine) => engine.wire.variables(),
            Self::Fake(_) => Vec::new(),
        }
    }

    /// The API that is spoken with it.
    pub fn api(&self) -> Option<(u32, u32)> {
        match self {
            Self::Docker(engine) => Some(engine.api),
            Self::Fake(_) => None,
        }
    }

    /// What it says of its machine.
    ///
    /// # Errors
    /// When it does not answer, or not in a way that is understood.
    pub async fn survey(&self) -> Result<Survey, EngineError> {
        match self {
            Self::Docker(engine) => survey::survey(engine).await,
            Self::Fake(_) => Ok(Survey::default()),
        }
    }

    /// Bytes of its images and build cache. It may take its time.
    ///
    /// # Errors
    /// When it does not answer, or not in a way that is understood.
    pub async fn used(&self) -> Result<u64, EngineError> {
        match self {
            Self::Docker(engine) => survey::used(engine).await,
            Self::Fake(_) => Ok(0),
        }
    }

    /// What everybody who uses this engine should know.
    pub fn caution(&self) -> Option<String> {
        match self {
            Self::Docker(engine) => engine.wire.caution(),
            Self::Fake(_) => None,
        }
    }

    /// Whether a server on 127.0.0.1 here may be one that it can reach; asks nobody. A socket can be that of a virtual
    /// machine all the same, so it may turn out otherwise.
    pub fn may_share_loopback(&self) -> bool {
        match self {
            Self::Docker(engine) => engine.may_share_loopback(),
            Self::Fake(_) => false,
        }
    }

    /// Whether it can build at all; asks nobody.
    ///
    /// # Errors
    /// [`EngineError::Unfit`]: it is too old, or has no BuildKit.
    pub fn fit_to_build(&self) -> Result<(), EngineError> {
        match self {
            Self::Docker(engine) => engine.fit_to_build(),
            Self::Fake(_) => Ok(()),
        }
    }
}

impl From<FakeEngine> for AnyEngine {
    fn from(engine: FakeEngine) -> Self {
        Self::Fake(engine)
    }
}

impl Engine for AnyEngine {
    async fn observe(&self) -> Result<Observed, EngineError> {
        match self {
            Self::Docker(engine) => engine.observe().await,
            Self::Fake(engine) => engine.observe().await,
        }
    }

    async fn observe_names(&self, patterns: &[String]) -> Result<Observed, EngineError> {
        match self {
            Self::Docker(engine) => engine.observe_names(patterns).await,
            Self::Fake(engine) => engine.observe_names(patterns).await,
        }
    }

    async fn inspect(&self, reference: &Reference) -> Result<Option<LocalImage>, EngineError> {
        match self {
            Self::Docker(engine) => engine.inspect(reference).await,
            Self::Fake(engine) => engine.inspect(reference).await,
        }
    }

    async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: OnProgress<'_>,
    ) -> Result<(), EngineError> {
        match self {
            Self::Docker(engine) => engine.pull(reference, platform, progress).await,
            Self::Fake(engine) => engine.pull(reference, platform, progress).await,
        }
    }

    async fn tag(&self, source: &Reference, target: &Reference) -> Result<(), EngineError> {
        match self {
            Self::Docker(engine) => engine.tag(source, target).await,
            Self::Fake(engine) => engine.tag(source, target).await,
        }
    }

    async fn build(
        &self,
        root: &Path,
        spec: &BuildSpec,
        progress: OnProgress<'_>,
    ) -> Result<ImageId, EngineError> {
        match self {
            Self::Docker(engine) => engine.build(root, spec, progress).await,
            Self::Fake(engine) => engine.build(root, spec, progress).await,
        }
    }

    async fn push(&self, reference: &Reference, progress: OnProgress<'_>) -> Result<Digest, EngineError> {
        match self {
            Self::Docker(engine) => engine.push(reference, progress).await,
            Self::Fake(engine) => engine.push(reference, progress).await,
        }
    }

    async fn import(
        &self,
        tar: &Path,
        reference: &Reference,
        platform: &Platform,
        labels: &BTreeMap<String, String>,
    ) -> Result<ImageId, EngineError> {
        match self {
            Self::Docker(engine) => engine.import(tar, reference, platform, labels).await,
            Self::Fake(engine) => engine.import(tar, reference, platform, labels).await,
        }
    }

    async fn save(&self, references: &[Reference]) -> Result<ByteStream, EngineError> {
        match self {
            Self::Docker(engine) => engine.save(references).await,
            Self::Fake(engine) => engine.save(references).await,
        }
    }

    async fn load(&self, archive: ByteStream) -> Result<Loaded, EngineError> {
        match self {
            Self::Docker(engine) => engine.load(archive).await,
            Self::Fake(engine) => engine.load(archive).await,
        }
    }

    async fn remove(&self, reference: &Reference) -> Result<(), EngineError> {
        match self {
            Self::Docker(engine) => engine.remove(reference).await,
            Self::Fake(engine) => engine.remove(reference).await,
        }
    }

    async fn remove_unnamed(&self, id: &ImageId) -> Result<(), EngineError> {
        match self {
            Self::Docker(engine) => engine.remove_unnamed(id).await,
            Self::Fake(engine) => engine.remove_unnamed(id).await,
        }
    }

    async fn layers(&self, id: &ImageId) -> Result<Option<Vec<Digest>>, EngineError> {
        match self {
            Self::Docker(engine) => engine.layers(id).await,
            Self::Fake(engine) => engine.layers(id).await,
        }
    }

    async fn details(&self, reference: &Reference) -> Result<Option<ImageDetails>, EngineError> {
        match self {
            Self::Docker(engine) => engine.details(reference).await,
            Self::Fake(engine) => engine.details(reference).await,
        }
    }

    async fn run(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        match self {
            Self::Docker(engine) => engine.run(spec).await,
            Self::Fake(engine) => engine.run(spec).await,
        }
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerState>, EngineError> {
        match self {
            Self::Docker(engine) => engine.container(id).await,
            Self::Fake(engine) => engine.container(id).await,
        }
    }

    async fn exec(&self, id: &ContainerId, command: &[&str]) -> Result<ExecOutput, EngineError> {
        match self {
            Self::Docker(engine) => engine.exec(id, command).await,
            Self::Fake(engine) => engine.exec(id, command).await,
        }
    }

    async fn logs(&self, id: &ContainerId) -> Result<Vec<(LogStream, String)>, EngineError> {
        match self {
            Self::Docker(engine) => engine.logs(id).await,
            Self::Fake(engine) => engine.logs(id).await,
        }
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        match self {
            Self::Docker(engine) => engine.stop(id, grace).await,
            Self::Fake(engine) => engine.stop(id, grace).await,
        }
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        match self {
            Self::Docker(engine) => engine.remove_container(id).await,
            Self::Fake(engine) => engine.remove_container(id).await,
        }
    }

    async fn containers(&self, label: &str) -> Result<Vec<ContainerId>, EngineError> {
        match self {
            Self::Docker(engine) => engine.containers(label).await,
            Self::Fake(engine) => engine.containers(label).await,
        }
    }
}

/// What went wrong at the engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No socket answers.
    #[error("no container engine answers")]
    Unreachable {
        /// Each endpoint that was tried and what it said.
        tried: Vec<(String, String)>,
        /// The variable that names the only one.
        named_by: Option<&'static str>,
    },
    /// The engine answers but lacks something that is needed.
    #[error("the engine at {endpoint} {lacks}")]
    Unfit {
        /// Where.
        endpoint: String,
        /// `speaks API 1.38, and 1.41 is needed`
        lacks: String,
    },
    /// The registry or the store has no such image.
    #[error("{0} not found")]
    NotFound(String),
    /// The registry says no.
    #[error("access denied: {0}")]
    Denied(String),
    /// Might work a moment later.
    #[error("{cause}")]
    Transient {
        /// What the other side said.
        cause: String,
        /// What it asked to wait, in seconds.
        retry_after: Option<u64>,
    },
    /// The registry takes no pushes.
    #[error("{0}")]
    ReadOnly(String),
    /// No such host, connection refused: this registry is out of reach from here.
    #[error("{0}")]
    RegistryUnreachable(String),
    /// A registry took the question and gave no answer, or stopped in the middle of one.
    #[error("{from} has sent nothing for {}", stall::words(*silence))]
    Stalled {
        /// The registry.
        from: String,
        /// How long it was waited for.
        silence: Duration,
    },
    /// An instruction of the Dockerfile failed.
    #[error("{}", failed_instruction(instruction, *exit_code, cause))]
    BuildFailed {
        /// `RUN npm ci`, where the builder said which.
        instruction: Option<String>,
        /// 1-based line in the Dockerfile, where it could be found.
        line: Option<u32>,
        /// Exit status of the instruction's process.
        exit_code: Option<i64>,
        /// What the builder said.
        cause: String,
        /// What the instruction printed, as far as that tells why it failed.
        last_lines: Vec<String>,
    },
    /// A port of this machine that a container was to have is somebody else's.
    #[error("a port is taken: {0}")]
    PortTaken(String),
    /// The engine's disk is full.
    #[error("no space left on the engine's disk: {0}")]
    DiskFull(String),
    /// The engine went away in the middle.
    #[error("the engine closed the connection: {0}")]
    Gone(String),
    /// A context file changed or vanished between hashing and sending.
    #[error("{path} changed while it was being sent to the builder: {what}")]
    ContextChanged {
        /// Relative to the context.
        path: String,
        /// `size 12 became 14`, `vanished`
        what: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

fn failed_instruction(instruction: &Option<String>, exit_code: Option<i64>, cause: &str) -> String {
    match (instruction, exit_code) {
        (Some(instruction), Some(code)) => format!("`{}` exited with status {code}", one_line(instruction)),
        (Some(instruction), None) => format!("`{}` failed: {cause}", one_line(instruction)),
        (None, _) => cause.to_owned(),
    }
}

/// An instruction as a message names it; the Dockerfile has all of it.
fn one_line(instruction: &str) -> String {
    let mut line = instruction.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > MAX_INSTRUCTION {
        line.truncate(line.floor_char_boundary(MAX_INSTRUCTION));
        line.push_str("...");
    }
    line
}

impl Retriable for EngineError {
    fn worth_retrying_after(&self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after, .. } => Some(Duration::from_secs(retry_after.unwrap_or_default())),
            _ => None,
        }
    }
}

/// Bytes of an instruction that a message shows.
const MAX_INSTRUCTION: usize = 100;
/// What the kernel says of a program for another processor.
const OTHER_PROCESSOR: &str = "exec format error";
const EMULATION: &str = "
its program is for another processor than the engine's, which needs emulation (binfmt) to run it
hint: `apt-get install qemu-user-static binfmt-support` on the engine's machine lets it run such programs
hint: only `RUN` needs that: a Dockerfile of `FROM` and `COPY` is built for any platform without it";

impl EngineError {
    /// Where in the Dockerfile that was built an instruction failed: `src/frontend/Dockerfile:12`.
    pub fn place(&self, dockerfile: &str) -> Option<String> {
        let Self::BuildFailed { instruction: Some(_), line, .. } = self else { return None };
        Some(line.map_or_else(|| dockerfile.to_owned(), |line| format!("{dockerfile}:{line}")))
    }

    /// The text, behind the place of the failed instruction in the Dockerfile that was built:
    /// `` src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1 ``.
    pub fn told_at(&self, dockerfile: &str) -> String {
        match (self, self.place(dockerfile)) {
            (Self::BuildFailed { cause, last_lines, .. }, Some(place)) => {
                let mut told = format!("{place}: {self}");
                if last_lines.iter().chain([cause]).any(|line| line.contains(OTHER_PROCESSOR)) {
                    told.push_str(EMULATION);
                }
                told
            }
            (other, _) => other.to_string(),
        }
    }
}
