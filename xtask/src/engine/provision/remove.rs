//! Takes a private engine down: exactly what was made for it, after a crash and a reboot as well.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::home::Home;
use super::http::ask_engine;
use super::{Announce, ProvisionError, network, read_pid};
use crate::host::{self, HostCommand, Privilege, ProcessId};

/// dockerd gives containers 10 s and itself 15 s.
const GRACE: Duration = Duration::from_secs(30);

/// What becomes of images, containers and build cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// They stay for the next start.
    Keep,
    /// They go too.
    Purge,
}

/// Takes the engine of this home down. Nothing there is fine; so is doing it twice.
///
/// # Errors
/// When something is left that needs root and we are not, or that will not go.
pub async fn down(home: &Home, data: Data, announce: Announce<'_>) -> Result<(), ProvisionError> {
    let record = home.record();
    home.check()?;
    remove_running_parts(home).await?;
    if let Some(record) = record {
        announce(format!("stopped the private engine at {}", record.endpoint));
    }
    if data == Data::Purge && home.folder().exists() {
        remove_tree(home.folder(), need_root()?).await?;
        announce(format!("removed {}", home.folder().display()));
    }
    Ok(())
}

/// Processes, mounts, bridge, rules, sockets, record: everything but the data and the log.
pub(super) async fn remove_running_parts(home: &Home) -> Result<(), ProvisionError> {
    let record = home.record();
    let daemon =
        record.as_ref().and_then(|record| record.process.clone()).or_else(|| read_pid(&home.pid_file()));
    let daemon = daemon.filter(|process| process.is_alive() && is_ours(home, process));
    let left = leftover_processes(home);
    let nothing_runs = daemon.is_none() && left.is_empty() && mounts(home).is_empty();
    if nothing_runs && record.is_none() && !home.runtime().exists() {
        return Ok(());
    }
    let privilege = need_root()?;
    let bridges = bridges_of_networks(home).await;
    if let Some(daemon) = daemon {
        stop(&daemon, GRACE, privilege).await?;
    }
    // Containers outlive a daemon that was killed: each has a shim, and the shim's children are the container.
    for process in leftover_processes(home) {
        for child in host::descendants(process.pid) {
            stop(&child, Duration::ZERO, privilege).await?;
        }
        stop(&process, Duration::from_secs(2), privilege).await?;
    }
    unmount(home, privilege).await?;
    for bridge in bridges {
        network::remove_bridge(&bridge, privilege).await?;
    }
    if let Some(record) = &record {
        network::remove(record, privilege).await?;
    }
    network::remove_bridge(&home.bridge(), privilege).await?;
    remove_files(home, privilege).await?;
    remove_tree(&home.runtime(), privilege).await
}

fn need_root() -> Result<Privilege, ProvisionError> {
    host::privilege().ok_or_else(|| ProvisionError::NeedsRoot {
        what: "taking the private engine down (processes, mounts and a bridge are root's)".to_owned(),
        commands: vec!["sudo -v".to_owned()],
    })
}

async fn stop(process: &ProcessId, grace: Duration, privilege: Privilege) -> Result<(), ProvisionError> {
    process
        .stop(grace, Some(privilege))
        .await
        .map_err(|cause| ProvisionError::Command { doing: format!("stop process {}", process.pid), cause })?;
    if process.is_alive() {
        return Err(ProvisionError::Leftover { what: format!("process {} still runs", process.pid) });
    }
    Ok(())
}

/// A pid file may outlive its daemon and name another's process.
fn is_ours(home: &Home, process: &ProcessId) -> bool {
    leftover_processes(home).contains(process)
}

/// Daemon, containerd, shims and port proxies name our folder or our namespace in their arguments.
fn leftover_processes(home: &Home) -> Vec<ProcessId> {
    let mut found = host::processes_naming(&home.runtime().to_string_lossy());
    found.extend(host::processes_naming(&home.namespace()));
    found.dedup();
    found
}

/// Bridges of networks that a user of this engine made (compose does); the daemon leaves them when it ends and
/// makes them again when it starts. A bridge that was named by hand may be another's, and stays.
async fn bridges_of_networks(home: &Home) -> Vec<String> {
    let Some((200, text)) = ask_engine(home, "GET", "/networks", "").await else { return Vec::new() };
    let Ok(serde_json::Value::Array(networks)) = serde_json::from_str(&text) else { return Vec::new() };
    networks.iter().filter_map(bridge_of_network).collect()
}

fn bridge_of_network(network: &serde_json::Value) -> Option<String> {
    let named = network["Options"]["com.docker.network.bridge.name"].is_string();
    if named || network["Driver"] != "bridge" {
        return None;
    }
    Some(format!("br-{}", network["Id"].as_str()?.get(..12)?))
}

/// Mount points at or below data and runtime folders, deepest first.
fn mounts(home: &Home) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts_below(&table, &[&home.data(), &home.runtime()])
}

/// Field 5 of proc(5)'s mountinfo, with its octal escapes undone.
fn mounts_below(table: &str, folders: &[&Path]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| {
            PathBuf::from(
                point
                    .replace("\\040", " ")
                    .replace("\\011", "\t")
                    .replace("\\012", "\n")
                    .replace("\\134", "\\"),
            )
        })
        .filter(|point| folders.iter().any(|folder| point.starts_with(folder)))
        .collect();
    found.reverse();
    found
}

async fn unmount(home: &Home, privilege: Privilege) -> Result<(), ProvisionError> {
    for point in mounts(home) {
        HostCommand::script("umount \"$1\" 2>/dev/null || umount -l \"$1\"")
            .path(&point)
            .as_root(privilege)
            .output()
            .await
            .map_err(|cause| ProvisionError::Command {
                doing: format!("unmount {}", point.display()),
                cause,
            })?;
    }
    Ok(())
}

pub(super) async fn remove_tree(folder: &Path, privilege: Privilege) -> Result<(), ProvisionError> {
    HostCommand::new("rm")
        .args(["-rf", "--one-file-system", "--"])
        .path(folder)
        .as_root(privilege)
        .output()
        .await
        .map(drop)
        .map_err(|cause| ProvisionError::Command { doing: format!("remove {}", folder.display()), cause })
}

/// The runtime folder, and the record's copy in it, go last: until then a further try knows what to remove.
async fn remove_files(home: &Home, privilege: Privilege) -> Result<(), ProvisionError> {
    let [record, _] = home.record_files();
    HostCommand::new("rm")
        .args(["-f", "--"])
        .path(&home.socket())
        .path(&home.pid_file())
        .path(&home.settings())
        .path(&record)
        .as_root(privilege)
        .output()
        .await
        .map(drop)
        .map_err(|cause| ProvisionError::Command {
            doing: "remove the private engine's files".to_owned(),
            cause,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_mounts_deepest_first() {
        let table = "\
22 1 254:0 / / rw - ext4 /dev/vda rw
40 22 0:40 / /t/data rw - tmpfs t rw
41 40 0:41 / /t/data/a\\040b rw - overlay overlay rw
42 22 0:42 / /t/database rw - tmpfs t rw
43 22 0:43 / /run/xtask-1/exec/netns/x rw - nsfs nsfs rw";
        assert_eq!(
            mounts_below(table, &[Path::new("/t/data"), Path::new("/run/xtask-1")]),
            ["/run/xtask-1/exec/netns/x", "/t/data/a b", "/t/data"].map(PathBuf::from)
        );
    }

    #[test]
    fn knows_the_bridges_of_networks() {
        let mut network = serde_json::json!({"Driver": "bridge", "Id": "0123456789abcdef", "Options": {}});
        assert_eq!(bridge_of_network(&network).as_deref(), Some("br-0123456789ab"));
        network["Options"]["com.docker.network.bridge.name"] = "docker0".into();
        assert_eq!(bridge_of_network(&network), None);
        assert_eq!(bridge_of_network(&serde_json::json!({"Driver": "host", "Id": "0123456789abcdef"})), None);
    }

    #[tokio::test]
    async fn nothing_there_is_nothing_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(&folder.path().join("engine"));
        down(&home, Data::Purge, &|said| panic!("{said}")).await.expect("nothing to do");
        down(&home, Data::Keep, &|said| panic!("{said}")).await.expect("nothing to do");
    }
}
