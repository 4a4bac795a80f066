//! EFFECT: a registry on this machine, to try pushes against: started, looked at, taken away without trace.
//!
//! In: a [`RegistrySpec`]. Out: a [`Running`] registry on 127.0.0.1. It is the container of a registry's image when the engine
//! has one, else the `docker-registry` program. All of it lies in one folder (`home`), with a record that says what it
//! is; a port is taken by binding it, and the next one is tried when it is somebody else's.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::loopback;
use crate::engine::{Containers, EngineError};
use crate::host::inside::Folder;
use crate::host::{self, CommandError, HostCommand, ProcessId, Tether};
use crate::model::{ContainerId, ContainerSpec, Lifetime, Observed, PublishedPort, Reference, RegistrySpec};

/// What a registry is, in its folder.
const RECORD: &str = "registry.json";
/// How many ports are tried, from the one that is wished.
const PORTS: u16 = 100;
/// How long a registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Repositories that are asked for at a time.
const PAGE: usize = 500;
/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// Where the image's registry listens.
const INSIDE: u16 = 5000;
/// The header by which a registry of ours is known from another one on the same port.
const TOKEN: &str = "X-Xtask-Registry";
/// Programs that are one: Debian's name, and upstream's.
const PROGRAMS: [&str; 2] = ["docker-registry", "registry"];
/// Images that are one, the best first.
const IMAGES: [&str; 4] = ["registry:2", "registry:latest", "registry:3", "registry:2.8"];

/// What can be run as a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrySource {
    /// An image that the engine has.
    Image(Reference),
    /// A program of this machine.
    Program(PathBuf),
}

/// A disk with less has no room for a layer. Bytes.
const LEAST_SPACE: u64 = 1 << 20;

/// A registry that answers.
#[derive(Debug)]
pub struct Running {
    /// What it is, as its folder's record says.
    pub record: RegistryRecord,
    /// Holds a program that ends with this process.
    tether: Option<Tether>,
}

/// What a registry's folder says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryRecord {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// `registry:2`, `/usr/bin/docker-registry`
    pub source: String,
    /// Its container's ID, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its process, if it is a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// What its answers carry.
    token: String,
}

impl RegistryRecord {
    /// `127.0.0.1:5000`
    pub fn domain(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:5000/v2/`
    pub fn url(&self) -> String {
        format!("http://{}/v2/", self.domain())
    }
}

/// How the registry of a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It answers.
    Up(RegistryRecord),
    /// It was started and does not answer.
    Dead(RegistryRecord),
    /// There is none.
    Down,
}

/// Why there is no registry.
#[derive(Debug, thiserror::Error)]
pub enum LocalRegistryError {
    /// Neither an image nor a program.
    #[error(
        "there is no registry to run: the engine has no image of one, and this machine no `docker-registry`"
    )]
    NoSource,
    /// No port was free.
    #[error("no port is free between {first} and {last} on 127.0.0.1")]
    NoPort {
        /// The first one tried.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// It runs, but not as it should.
    #[error("the registry ({registry}) did not start: {cause}")]
    Silent {
        /// What was run.
        registry: String,
        /// What it said last.
        cause: String,
    },
    /// It does not say what it has.
    #[error("the registry at {domain} does not say what it has: {cause}")]
    Unlisted {
        /// Where it listens.
        domain: String,
        /// What it said instead.
        cause: String,
    },
    /// Its folder cannot be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine said no.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The program could not be started or stopped.
    #[error(transparent)]
    Program(#[from] CommandError),
}

impl LocalRegistryError {
    /// What helps.
    pub fn hints(&self) -> Vec<&'static str> {
        match self {
            Self::NoSource => vec![
                "the same command with `--bootstrap` installs docker-registry",
                "`docker pull registry:2` gets an image of one, where a registry answers",
                "`docker load` takes one from a file",
            ],
            Self::NoPort { .. } => vec!["`ss -ltnp` shows who listens; `--port` begins elsewhere"],
            Self::Silent { .. } | Self::Program(_) => {
                vec!["`docker-registry --version` says whether the program runs at all"]
            }
            Self::Unlisted { .. } => {
                vec!["`cargo xtask registry down` and `up` make it anew; what it stored is gone then"]
            }
            Self::Folder { .. } => {
                vec!["the folder has to be writable; `df -h` shows whether the disk is full"]
            }
            Self::Engine(error) => error.hint().into_iter().collect(),
        }
    }
}

/// What can be run as a registry here: an image in the store, else a program. Blocks for a moment.
pub fn find_source(observed: &Observed) -> Option<RegistrySource> {
    let image = IMAGES.iter().filter_map(|name| name.parse::<Reference>().ok());
    let image = image.flat_map(|name| [format!("localhost/{}", name.familiar()).parse().ok(), Some(name)]);
    if let Some(image) = image.flatten().find(|name| observed.find(name).is_some()) {
        return Some(RegistrySource::Image(image));
    }
    PROGRAMS.iter().find_map(|name| host::find_program(name)).map(RegistrySource::Program)
}

/// The first free port from `first` on. Binding it says whether it is free, whoever listens where.
fn free_port(first: u16) -> Option<u16> {
    let last = first.saturating_add(PORTS - 1);
    (first..=last).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// Starts a registry and waits until it answers. A folder that holds one already is left alone and is an error.
///
/// # Errors
/// When no port is free, or when it does not start; nothing of it is left then.
pub async fn start<E: Containers>(
    engine: Option<&E>,
    source: &RegistrySource,
    root: &Path,
    spec: &RegistrySpec,
) -> Result<Running, LocalRegistryError> {
    let home = root.join(&spec.home);
    let home = Folder::open(root)
        .and_then(|tree| tree.below(&home))
        .map_err(|source| LocalRegistryError::Folder { path: home, source })?;
    let started = match (source, engine) {
        (RegistrySource::Image(image), Some(engine)) => start_container(engine, image, spec, &home).await,
        (RegistrySource::Image(_), None) => Err(LocalRegistryError::NoSource),
        (RegistrySource::Program(program), _) => start_program(program, spec, root, home.clone()).await,
    };
    if started.is_err() {
        remove_folder(root, home.path());
    }
    started
}

async fn start_container<E: Containers>(
    engine: &E,
    image: &Reference,
    spec: &RegistrySpec,
    home: &Folder,
) -> Result<Running, LocalRegistryError> {
    let last = spec.port.saturating_add(PORTS - 1);
    for port in spec.port..=last {
        let container = ContainerSpec {
            ports: vec![PublishedPort { container: INSIDE, host: Some(port) }],
            labels: spec.labels.clone(),
            env: [("REGISTRY_STORAGE_DELETE_ENABLED".to_owned(), "true".to_owned())].into(),
            ..ContainerSpec::of(image.clone())
        };
        let id = match engine.run(&container).await {
            Ok(id) => id,
            Err(EngineError::PortTaken(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        let record = RegistryRecord {
            port,
            source: image.familiar(),
            container: Some(id.to_string()),
            process: None,
            token: String::new(),
        };
        write_record(home, &record)?;
        let is_alive =
            async || engine.container(&id).await.is_ok_and(|state| state.is_some_and(|s| s.running));
        if answers_in_time(&record, is_alive).await {
            return Ok(Running { record, tether: None });
        }
        let said = engine.logs(&id).await.unwrap_or_default();
        let cause = said.last().map_or_else(|| "it says nothing".to_owned(), |(_, line)| line.clone());
        // Why it did not answer says more.
        let _ = engine.remove_container(&id).await;
        return Err(LocalRegistryError::Silent { registry: image.familiar(), cause });
    }
    Err(LocalRegistryError::NoPort { first: spec.port, last })
}

async fn start_program(
    program: &Path,
    spec: &RegistrySpec,
    root: &Path,
    mut home: Folder,
) -> Result<Running, LocalRegistryError> {
    let last = spec.port.saturating_add(PORTS - 1);
    let mut first = spec.port;
    let registry = program.display().to_string();
    while let Some(port) = free_port(first).filter(|port| *port <= last) {
        let token = format!("{}-{port}", std::process::id());
        let path = home.path();
        let settings = path.join("config.yml");
        home.write("config.yml", config(&path.join("data"), port, &token).as_bytes(), None)
            .and_then(|()| home.append("log"))
            .map_err(|source| LocalRegistryError::Folder { path: settings.clone(), source })?;
        let log = path.join("log");
        // A person's `REGISTRY_…` variables would override its settings.
        let command = HostCommand::new("env").args(["-i", &registry, "serve"]).path(&settings);
        let (tether, process) = match spec.lifetime {
            Lifetime::AsLongAsWeDo => {
                let tether = command.tether(path, &log).await?;
                let process = tether.process().clone();
                (Some(tether), process)
            }
            Lifetime::UntilDown => (None, detach(command, path, &log).await?),
        };
        let record = RegistryRecord {
            port,
            source: registry.clone(),
            container: None,
            process: Some(process.clone()),
            token,
        };
        write_record(&home, &record)?;
        if answers_in_time(&record, async || process.is_alive()).await {
            return Ok(Running { record, tether });
        }
        let said = last_lines(&log);
        process.stop(GRACE, None).await?;
        if let Some(tether) = tether {
            tether.let_go().await;
        }
        if !said.contains("address already in use") {
            return Err(LocalRegistryError::Silent { registry, cause: said });
        }
        // Somebody took it after it was found free.
        let again = Folder::open(root).and_then(|tree| tree.below(home.path()));
        home = again.map_err(|source| LocalRegistryError::Folder { path: home.path().to_owned(), source })?;
        let Some(next) = port.checked_add(1) else { break };
        first = next;
    }
    Err(LocalRegistryError::NoPort { first: spec.port, last })
}

/// What the program reads (distribution, "Configuring a registry").
fn config(data: &Path, port: u16, token: &str) -> String {
    let quoted = serde_json::Value::String(data.display().to_string());
    format!(
        "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  delete:\n    enabled: true\n  \
         filesystem:\n    rootdirectory: {quoted}\nhttp:\n  addr: 127.0.0.1:{port}\n  headers:\n    {TOKEN}: [\"{token}\"]\n"
    )
}

/// Starts a program that survives this process.
async fn detach(command: HostCommand, home: &Path, log: &Path) -> Result<ProcessId, LocalRegistryError> {
    // The shell becomes the program, so its number is the program's.
    let pid = home.join("pid");
    let script = HostCommand::script("echo $$ >\"$1.new\" && mv \"$1.new\" \"$1\"; shift; exec \"$@\"");
    script.path(&pid).args(command.words()).detach(log).await?;
    let read = async {
        loop {
            let number = std::fs::read_to_string(&pid).ok().and_then(|text| text.trim().parse().ok());
            if let Some(number) = number {
                return ProcessId::of(number).unwrap_or(ProcessId { pid: number, started: String::new() });
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .map_err(|_| LocalRegistryError::Silent { registry: command.to_string(), cause: last_lines(log) })
}

async fn answers_in_time(record: &RegistryRecord, is_alive: impl AsyncFn() -> bool) -> bool {
    let wait = async {
        while !answers(record).await {
            if !is_alive().await {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or(false)
}

/// Whether it is our registry that answers there.
async fn answers(record: &RegistryRecord) -> bool {
    let Ok(answer) = loopback::get(record.port, "/v2/").await else { return false };
    let token = answer.headers.get(TOKEN).and_then(|value| value.to_str().ok()).unwrap_or_default();
    answer.status == 200 && (record.container.is_some() || token == record.token)
}

impl Running {
    /// Takes it away with all that it stored.
    ///
    /// # Errors
    /// When the engine or the system refuses.
    pub async fn stop<E: Containers>(
        self,
        engine: Option<&E>,
        root: &Path,
        home: &Path,
    ) -> Result<(), LocalRegistryError> {
        if let Some(tether) = self.tether {
            tether.let_go().await;
        }
        take_away(engine, &self.record, root, home).await
    }
}

/// How the registry of a folder is.
pub async fn status(home: &Path) -> Status {
    match read_record(home) {
        None => Status::Down,
        Some(record) if answers(&record).await => Status::Up(record),
        Some(record) => Status::Dead(record),
    }
}

/// Takes the registry of a folder away, with all that it stored; says what it was.
///
/// # Errors
/// When the engine or the system refuses.
pub async fn down<E: Containers>(
    engine: Option<&E>,
    root: &Path,
    home: &Path,
) -> Result<Option<RegistryRecord>, LocalRegistryError> {
    let Some(record) = read_record(home) else {
        remove_folder(root, home);
        return Ok(None);
    };
    take_away(engine, &record, root, home).await?;
    Ok(Some(record))
}

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// Its name, without the registry.
    pub name: String,
    /// Its tags; none when all were deleted.
    pub tags: Vec<String>,
}

/// Everything that a registry has, by name.
///
/// # Errors
/// When it does not answer as a registry does.
pub async fn catalogue(record: &RegistryRecord) -> Result<Vec<Repository>, LocalRegistryError> {
    let unlisted = |cause: String| LocalRegistryError::Unlisted { domain: record.domain(), cause };
    let mut names: Vec<String> = Vec::new();
    loop {
        let last = names.last().map(|last| format!("&last={last}")).unwrap_or_default();
        let path = format!("/v2/_catalog?n={PAGE}{last}");
        let page = ask(record.port, &path, "repositories").await.map_err(unlisted)?.unwrap_or_default();
        let is_last = page.len() < PAGE;
        names.extend(page);
        if is_last {
            break;
        }
    }
    let mut all = Vec::new();
    for name in names {
        let path = format!("/v2/{name}/tags/list");
        let mut tags = ask(record.port, &path, "tags").await.map_err(unlisted)?.unwrap_or_default();
        tags.sort();
        all.push(Repository { name, tags });
    }
    Ok(all)
}

/// The list below `key` of an answer; none where there is nothing of that name.
async fn ask(port: u16, path: &str, key: &str) -> Result<Option<Vec<String>>, String> {
    let answer = loopback::get(port, path).await?;
    match answer.status {
        200 => {}
        404 => return Ok(None),
        status => return Err(format!("{path} answers {status}")),
    }
    let mut document: serde_json::Value =
        serde_json::from_slice(&answer.body).map_err(|error| format!("{path} answers no JSON: {error}"))?;
    serde_json::from_value(document[key].take()).map_err(|error| format!("{path}: {error}"))
}

/// What a folder's record says, whether it answers or not.
pub fn recorded(home: &Path) -> Option<RegistryRecord> {
    read_record(home)
}

/// What a registry said last, for people to whom a push has failed.
pub async fn said<E: Containers>(engine: Option<&E>, home: &Path) -> Vec<String> {
    let container = read_record(home).and_then(|record| record.container);
    match (container, engine) {
        (Some(id), Some(engine)) => {
            let lines = engine.logs(&ContainerId::new(id)).await.unwrap_or_default();
            lines.into_iter().map(|(_, line)| line).collect()
        }
        _ => {
            let log = std::fs::read(home.join("log")).unwrap_or_default();
            String::from_utf8_lossy(&log).lines().map(str::to_owned).collect()
        }
    }
}

/// Whether a registry cannot store any more: all that an engine is told then is status 500.
pub async fn has_no_space<E: Containers>(engine: Option<&E>, home: &Path) -> bool {
    // Its log lies on the same disk, so it may be silent.
    let is_full = rustix::fs::statvfs(home).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < LEAST_SPACE);
    is_full || said(engine, home).await.iter().any(|line| line.contains("no space left on device"))
}

async fn take_away<E: Containers>(
    engine: Option<&E>,
    record: &RegistryRecord,
    root: &Path,
    home: &Path,
) -> Result<(), LocalRegistryError> {
    if let Some(process) = &record.process {
        process.stop(GRACE, None).await?;
    }
    match (&record.container, engine) {
        (Some(id), Some(engine)) => engine.remove_container(&ContainerId::new(id.clone())).await?,
        (Some(_), None) => return Err(EngineError::Unreachable { tried: Vec::new(), named_by: None }.into()),
        (None, _) => {}
    }
    remove_folder(root, home);
    Ok(())
}

fn write_record(home: &Folder, record: &RegistryRecord) -> Result<(), LocalRegistryError> {
    let text = serde_json::to_string(record).unwrap_or_default();
    let written = home.write(RECORD, text.as_bytes(), None);
    written.map_err(|source| LocalRegistryError::Folder { path: home.path().join(RECORD), source })
}

fn read_record(home: &Path) -> Option<RegistryRecord> {
    serde_json::from_slice(&std::fs::read(home.join(RECORD)).ok()?).ok()
}

/// Gone already is fine, and what cannot be removed is found by the next `clean`.
fn remove_folder(root: &Path, home: &Path) {
    let Ok(tree) = Folder::open(root) else { return };
    let _ = tree.remove(home);
    // The folder of all registries goes with the last one.
    if let Some(parent) = home.parent() {
        let _ = tree.remove_if_empty(parent);
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    if last.is_empty() { "it says nothing".to_owned() } else { last.join("\n") }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
