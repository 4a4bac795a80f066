//! An engine and a registry that live as long as a value does: for tests, `ci`, rehearsals of a push.
//!
//! Both live in a folder of the caller's. Dropping them takes them down, on a panic too; what a killed process
//! left is removed by the next start in the same folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::http::ask_engine;
use super::{Announce, Data, EngineSettings, Home, ProvisionError, down, up};
use crate::host::inside::Folder;
use crate::host::{self, HostCommand, ProcessId};

/// A private engine of its own, purged when dropped.
#[derive(Debug)]
pub struct DisposableEngine {
    home: Home,
    up: bool,
}

impl DisposableEngine {
    /// Starts an empty engine in `folder` (absolute).
    ///
    /// # Errors
    /// As [`up`].
    pub async fn start(
        folder: &Path,
        settings: &EngineSettings,
        announce: Announce<'_>,
    ) -> Result<Self, ProvisionError> {
        let mut engine = Self { home: Home::at(folder), up: true };
        down(&engine.home, Data::Purge, announce).await?;
        match up(&engine.home, settings, announce).await {
            Ok(_) => Ok(engine),
            Err(error) => {
                // A failed start has removed its parts; its log is worth keeping.
                engine.up = false;
                Err(error)
            }
        }
    }

    /// `unix://…`
    pub fn endpoint(&self) -> String {
        self.home.endpoint()
    }

    /// `20.10.24`; none when it does not answer.
    pub async fn version(&self) -> Option<String> {
        let (_, told) = ask_engine(&self.home, "GET", "/version", "").await?;
        let told: serde_json::Value = serde_json::from_str(&told).ok()?;
        Some(told["Version"].as_str()?.to_owned())
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// Takes it down with all its data.
    ///
    /// # Errors
    /// As [`down`].
    pub async fn stop(mut self, announce: Announce<'_>) -> Result<(), ProvisionError> {
        down(&self.home, Data::Purge, announce).await?;
        self.up = false;
        Ok(())
    }
}

impl Drop for DisposableEngine {
    fn drop(&mut self) {
        if !self.up {
            return;
        }
        let home = self.home.clone();
        // A thread of its own: this may run inside a runtime, and blocking in there is forbidden.
        let take_down = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(down(&home, Data::Purge, &|_| {})))
        });
        // What could not be removed is removed by the next start in this folder.
        let _ = take_down.join();
    }
}

/// A real registry on a free port of 127.0.0.1, stopped when dropped.
#[derive(Debug)]
pub struct DisposableRegistry {
    folder: PathBuf,
    process: ProcessId,
    address: String,
}

impl DisposableRegistry {
    /// Starts an empty registry in `folder` (absolute). The system chooses the port as the registry binds it,
    /// so no port is found free and lost again.
    ///
    /// # Errors
    /// When `docker-registry` is missing or does not start.
    pub async fn start(folder: &Path) -> Result<Self, ProvisionError> {
        let missing = super::missing_packages(&[super::REGISTRY]);
        if !missing.is_empty() {
            return Err(ProvisionError::Missing { packages: missing });
        }
        let [settings, log, pid, store] =
            ["registry.yml", "registry.log", "registry.pid", "registry"].map(|name| folder.join(name));
        for left in host::processes_naming(&settings.to_string_lossy()) {
            left.kill_now();
        }
        let failed = |source| ProvisionError::File { doing: "write", path: settings.clone(), source };
        let own = Folder::making(folder).map_err(failed)?;
        for old in [&log, &pid, &store] {
            own.remove(old).map_err(failed)?;
        }
        let text = serde_json::json!({
            "version": "0.1",
            "log": { "level": "info", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": store }, "delete": { "enabled": true } },
            "http": { "addr": "127.0.0.1:0" },
        });
        // JSON is YAML.
        own.write(&settings, text.to_string().as_bytes(), None).map_err(failed)?;
        HostCommand::script("echo $$ >\"$1\"; exec docker-registry serve \"$2\"")
            .path(&pid)
            .path(&settings)
            .env("OTEL_TRACES_EXPORTER", "none")
            .detach(&log)
            .await
            .map_err(|cause| ProvisionError::Command { doing: "start docker-registry".to_owned(), cause })?;
        let listen = async {
            loop {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let process = super::read_pid(&pid);
                if let (Some(address), Some(process)) = (address_in(&text), process) {
                    return Some((address, process));
                }
                if text.contains("level=fatal") {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), listen).await {
            Ok(Some((address, process))) => Ok(Self { folder: folder.to_owned(), process, address }),
            _ => {
                if let Some(process) = super::read_pid(&pid) {
                    process.kill_now();
                }
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let why = text.lines().last().unwrap_or("no answer within 20 s").to_owned();
                Err(ProvisionError::RegistryStart { why, log })
            }
        }
    }

    /// `127.0.0.1:43210`, the domain of its references; an engine speaks plain HTTP to it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it and its images are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for DisposableRegistry {
    fn drop(&mut self) {
        self.process.kill_now();
    }
}

/// `… msg="listening on 127.0.0.1:43210" …`
fn address_in(log: &str) -> Option<String> {
    let (_, after) = log.split_once("listening on ")?;
    let address: String = after.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
    // The line may be half written.
    after.len().gt(&address.len()).then_some(address).filter(|address| address.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_address_that_the_registry_bound() {
        let line = "time=\"2026\" level=info msg=\"listening on 127.0.0.1:43210\" go.version=go1.19\n";
        assert_eq!(address_in(line).as_deref(), Some("127.0.0.1:43210"));
        assert_eq!(address_in("msg=\"listening on 127.0.0.1:43"), None);
        assert_eq!(address_in("msg=\"redis not configured\""), None);
    }
}
