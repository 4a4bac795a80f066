//! A private engine: started when none answers, controlled by `engine up|down|status`, found by later runs.
//!
//! In: a [`Home`] (the tree's, or any folder for a test). Out: a running `dockerd` with its own socket, data,
//! bridge and way out, and a [`Record`] of all that was made, so that [`down`] removes exactly that. It never
//! touches another engine, its bridge or its rules. Each thing done is announced; nothing is printed here.
//!
//! How it stands beside other engines (moby's own documentation of `dockerd`, measured with 20.10 and 26.1):
//! - `--iptables=false`, since a daemon that manages iptables flushes the chains of the first one. The one rule
//!   that builds need to reach package mirrors (masquerade) is ours.
//! - a bridge of its own, since `--bridge none` deletes `docker0` under the first engine.
//! - containerd namespaces of its own, since a daemon shares a system-wide containerd when one runs.
//! - a settings file of its own, since flags that `/etc/docker/daemon.json` has too are an error.

pub mod builder;
mod disposable;
mod error;
mod home;
mod http;
mod network;
mod packages;
mod remove;
mod root_folder;
mod subnet;
mod try_out;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use disposable::{DisposableEngine, DisposableRegistry};
pub use error::ProvisionError;
pub use home::{Home, Record, Rule};
pub use packages::{
    BUSYBOX, DEBOOTSTRAP, DOCKER, FOR_ENGINE, IPROUTE, IPTABLES, Package, REGISTRY, ensure_packages,
    install_command, missing_packages,
};
pub use remove::{Data, down};
pub use subnet::Net;

use super::ImageStore;
use crate::host::{self, HostCommand, Privilege, ProcessId};

/// Takes a sentence about each thing that was done, as it is done.
pub type Announce<'a> = &'a (dyn Fn(String) + Send + Sync);

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(60);

/// Settings of the machine's own engine that say how to reach registries; a private one needs them too.
const SHARED_SETTINGS: [&str; 8] = [
    "registry-mirrors",
    "insecure-registries",
    "allow-nondistributable-artifacts",
    "dns",
    "dns-opts",
    "dns-search",
    "mtu",
    "proxies",
];

/// What a private engine is told beyond its home.
#[derive(Clone, Debug, Default)]
pub struct EngineSettings {
    /// `http://127.0.0.1:5000`: asked first for images of Docker Hub.
    pub registry_mirrors: Vec<String>,
    /// What it, and its containers, can reach.
    pub reach: EngineReach,
    /// A system in a folder whose programs are run; none runs this machine's. Nothing is written into the folder.
    pub root_folder: Option<PathBuf>,
    /// How it keeps images; none leaves it to the engine.
    pub images: Option<ImageStore>,
    /// The oldest API that it speaks, as its environment says it (`DOCKER_MIN_API_VERSION`); none leaves it to the engine.
    pub oldest_api: Option<&'static str>,
}

/// What a private engine, and its containers, can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineReach {
    /// What this machine reaches.
    #[default]
    Machine,
    /// Nothing at all: it runs in a network namespace of its own, with the cable out, so to say. Names cannot be
    /// looked up and nothing can be pulled; both fail at once.
    Nothing,
}

/// How a private engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It answers.
    Up(Record),
    /// It was started, but does not answer: it crashed, or the machine was restarted.
    Dead(Record),
    /// It was never started, or taken down.
    Down,
}

/// How the engine of this home is; changes nothing.
pub async fn status(home: &Home) -> Status {
    match home.record() {
        Some(record) if answers(home).await => Status::Up(record),
        Some(record) => Status::Dead(record),
        None => Status::Down,
    }
}

/// Starts the engine of this home unless it answers already, and returns its endpoint.
///
/// # Errors
/// When a program is missing, without root, or when it does not start; what was made so far is removed then.
pub async fn up(
    home: &Home,
    settings: &EngineSettings,
    announce: Announce<'_>,
) -> Result<String, ProvisionError> {
    if !cfg!(target_os = "linux") {
        return Err(ProvisionError::NotLinux { what: "a private engine" });
    }
    match status(home).await {
        Status::Up(record) => return Ok(record.endpoint),
        Status::Dead(_) => {
            announce("removed what a private engine that no longer answers had left".to_owned());
            remove::remove_running_parts(home).await?;
        }
        Status::Down => remove::remove_running_parts(home).await?,
    }
    let missing = missing_packages(&FOR_ENGINE);
    if !missing.is_empty() {
        return Err(ProvisionError::Missing { packages: missing });
    }
    let Some(privilege) = host::privilege() else {
        return Err(ProvisionError::NeedsRoot {
            what: "starting a private engine (it makes a bridge and mounts)".to_owned(),
            commands: vec!["sudo -v".to_owned()],
        });
    };
    // Not every way out of a started function passes a destructor that may wait, so the removal is spelled out.
    match start(home, settings, privilege, announce).await {
        Ok(record) => {
            announce(format!(
                "started a private engine at {} (data in {}, bridge {} {})",
                record.endpoint,
                home.data().display(),
                record.bridge,
                record.subnet
            ));
            Ok(record.endpoint)
        }
        Err(error) => {
            remove::remove_running_parts(home).await?;
            Err(error)
        }
    }
}

async fn start(
    home: &Home,
    settings: &EngineSettings,
    privilege: Privilege,
    announce: Announce<'_>,
) -> Result<Record, ProvisionError> {
    make_folders(home, privilege).await?;
    write_settings(home, settings)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut words = Vec::new();
    let record = match settings.reach {
        EngineReach::Machine => network::make(home, privilege, announce).await?,
        EngineReach::Nothing => {
            let record = network::record_closed(home)?;
            // The bridge is inside, and goes with the namespace.
            words.extend(["unshare", "--net", "sh", "-c", network::MAKE_INSIDE, "sh"].map(str::to_owned));
            words.extend([record.bridge.clone(), record.subnet.to_string()]);
            record
        }
    };
    if let Some(folder) = &settings.root_folder {
        words.extend(root_folder::enter(folder, home));
    }
    words.push("dockerd".to_owned());
    let mut daemon = HostCommand::new(words.remove(0)).args(words);
    if let Some(oldest) = settings.oldest_api {
        daemon = daemon.env("DOCKER_MIN_API_VERSION", oldest);
    }
    daemon
        .args(["--host", &home.endpoint()])
        .args(["--config-file", &text(&home.settings())])
        .args(["--data-root", &text(&home.data())])
        .args(["--exec-root", &text(&home.exec_root())])
        .args(["--pidfile", &text(&home.pid_file())])
        .args(["--bridge", &record.bridge])
        .args(["--iptables=false", "--ip6tables=false", "--ip-forward=false"])
        .args(["--containerd-namespace", &home.namespace()])
        .args(["--containerd-plugins-namespace", &format!("{}-plugins", home.namespace())])
        // The folder is ours alone; the group lets us in when the daemon is root's and we are not.
        .args(["--group", &host::user_and_group().1.to_string()])
        .as_root(privilege)
        .detach(&home.log())
        .await
        .map_err(|cause| ProvisionError::Command { doing: "start dockerd".to_owned(), cause })?;
    let process = wait_until_up(home).await?;
    let record = Record { process: Some(process), ..record };
    home.write_record(&record)?;
    Ok(record)
}

/// The engine's folder is closed to others: who reaches the socket is as good as root.
async fn make_folders(home: &Home, privilege: Privilege) -> Result<(), ProvisionError> {
    let folder = home.open()?;
    // A new one: what an earlier engine said, or whatever else stands there, is not written on.
    folder
        .remove(home.log())
        .and_then(|()| folder.append(home.log()))
        .map_err(|source| ProvisionError::File { doing: "make", path: home.log(), source })?;
    let (user, group) = host::user_and_group();
    HostCommand::script("chmod 700 \"$2\" && mkdir -p \"$1\" && chmod 700 \"$1\" && chown \"$3:$4\" \"$1\"")
        .path(&home.runtime())
        .path(folder.path())
        .args([user.to_string(), group.to_string()])
        .as_root(privilege)
        .output()
        .await
        .map(drop)
        .map_err(|cause| ProvisionError::Command {
            doing: format!("make {}", home.runtime().display()),
            cause,
        })
}

fn write_settings(home: &Home, settings: &EngineSettings) -> Result<(), ProvisionError> {
    let machine: serde_json::Map<String, serde_json::Value> = std::fs::read("/etc/docker/daemon.json")
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let mut own = serde_json::Map::new();
    for key in SHARED_SETTINGS {
        own.extend(machine.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    if !settings.registry_mirrors.is_empty() {
        own.insert("registry-mirrors".to_owned(), settings.registry_mirrors.clone().into());
    }
    if let Some(images) = settings.images {
        let containerd = images == ImageStore::Containerd;
        own.insert("features".to_owned(), serde_json::json!({ "containerd-snapshotter": containerd }));
    }
    let path = home.settings();
    let text = serde_json::Value::Object(own).to_string();
    let written = home.open()?.write(&path, text.as_bytes(), None);
    written.map_err(|source| ProvisionError::File { doing: "write", path, source })
}

async fn wait_until_up(home: &Home) -> Result<ProcessId, ProvisionError> {
    let begin = tokio::time::Instant::now();
    let mut process = None;
    loop {
        process = process.or_else(|| read_pid(&home.pid_file()));
        if let Some(process) = &process
            && answers(home).await
        {
            return Ok(process.clone());
        }
        let died = process.as_ref().is_some_and(|process| !process.is_alive());
        let said = failure_in(&std::fs::read_to_string(home.log()).unwrap_or_default());
        if died || said.is_some() || begin.elapsed() > START {
            let silent = || format!("no answer within {} s", START.as_secs());
            return Err(ProvisionError::EngineStart {
                why: said.unwrap_or_else(silent),
                log: keep_log(home),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The log of a start that failed, where the clean-up that follows leaves it.
fn keep_log(home: &Home) -> std::path::PathBuf {
    let kept = home.log().with_extension("failed.log");
    let keep = || -> std::io::Result<()> {
        let log = std::fs::read(home.log())?;
        home.open().map_err(std::io::Error::other)?.write(&kept, &log, None)
    };
    if keep().is_ok() { kept } else { home.log() }
}

/// The line with which dockerd gives up.
fn failure_in(log: &str) -> Option<String> {
    const GIVES_UP: [&str; 4] = [
        "failed to start daemon",
        "failed to start containerd",
        "unable to configure the Docker daemon",
        "level=fatal",
    ];
    log.lines()
        .find(|line| GIVES_UP.iter().any(|words| line.contains(words)) || line.starts_with("Status: "))
        .map(|line| line.trim_start_matches("Status: ").to_owned())
}

/// The daemon that wrote a pid file.
fn read_pid(file: &Path) -> Option<ProcessId> {
    ProcessId::of(std::fs::read_to_string(file).ok()?.trim().parse().ok()?)
}

async fn answers(home: &Home) -> bool {
    http::ask_engine(home, "GET", "/_ping", "").await.is_some_and(|(status, _)| status == 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_with_which_the_daemon_gives_up() {
        let log = "time=1 level=info msg=\"Starting up\"\nfailed to start daemon: Error initializing network controller: x\n";
        assert_eq!(
            failure_in(log).as_deref(),
            Some("failed to start daemon: Error initializing network controller: x")
        );
        assert_eq!(failure_in("time=1 level=error msg=\"a container failed\""), None);
    }

    #[tokio::test]
    async fn an_engine_that_was_never_started_is_down() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(status(&Home::at(folder.path())).await, Status::Down);
    }
}
