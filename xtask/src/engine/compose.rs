//! EFFECT: stops and starts the services of a compose file, with compose v2 or v1, whichever is there, and waits until
//! they are healthy. Compose is asked which containers belong to a service, the engine how they are doing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::{Containers, EngineError};
use crate::events::excerpt::Excerpt;
use crate::host::{CommandError, HostCommand};
use crate::model::{ComposeCall, ContainerId, ContainerState, ErrorKind, Health, LogStream};

/// Between two looks at containers.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// Neither compose is installed.
    #[error("there is neither `docker compose` nor `docker-compose`")]
    Missing,
    /// Compose failed.
    #[error("cannot {doing}: {cause}")]
    Command {
        /// `start the services`
        doing: &'static str,
        /// What it said.
        cause: CommandError,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Some services did not come up.
    #[error("{}", .0.iter().map(|s| format!("{} {}", s.service, s.why)).collect::<Vec<_>>().join("\n"))]
    Unwell(Vec<Unwell>),
}

impl ComposeError {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing => ErrorKind::ComposeMissing,
            Self::Command { .. } => ErrorKind::Command,
            Self::Engine(error) => error.kind(),
            Self::Unwell(_) => ErrorKind::Unhealthy,
        }
    }

    /// What helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing => Some("`apt-get install docker-compose` on Debian installs it".to_owned()),
            Self::Command { cause: CommandError::CannotStart { program, .. }, .. } => {
                Some(format!("`command -v {program}` shows whether a shell finds it"))
            }
            Self::Engine(error) => error.hint().map(str::to_owned),
            Self::Command { .. } | Self::Unwell(_) => None,
        }
    }

    /// What services that did not come up printed, as far as that tells why.
    pub fn last_lines(&self) -> Vec<String> {
        let Self::Unwell(unwell) = self else { return Vec::new() };
        let lines = |one: &Unwell| -> Vec<String> {
            one.last_lines.iter().map(|line| format!("{}: {line}", one.service)).collect()
        };
        unwell.iter().flat_map(lines).collect()
    }
}

/// A service that did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwell {
    /// Its name.
    pub service: String,
    /// `exited with status 1`
    pub why: String,
    /// Its log, as far as that tells why.
    pub last_lines: Vec<String>,
}

/// A compose that is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// How it is called: `docker compose`, `docker-compose`.
    pub words: &'static [&'static str],
    /// What it says it is: `2.26.1`
    pub version: String,
}

/// Compose v2, else v1; `variables` lead it to the engine.
pub async fn installed(variables: &[(&'static str, String)]) -> Option<Installed> {
    for words in [&["docker", "compose"][..], &["docker-compose"]] {
        let (program, rest) = words.split_first()?;
        let command = HostCommand::new(*program).args(rest.iter().copied()).args(["version", "--short"]);
        let command = variables.iter().fold(command, |command, (name, value)| command.env(name, value));
        // `docker` without the plugin prints its help and may still end well, so the answer is looked at.
        let Ok(printed) = command.output().await else { continue };
        let version = printed.trim().trim_start_matches('v');
        if version.starts_with(|c: char| c.is_ascii_digit()) {
            return Some(Installed { words, version: version.to_owned() });
        }
    }
    None
}

/// How compose is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compose {
    words: Vec<&'static str>,
    root: PathBuf,
    call: ComposeCall,
}

impl Compose {
    /// Finds compose v2, else v1. It is called at `root`.
    ///
    /// # Errors
    /// [`ComposeError::Missing`].
    pub async fn find(root: &Path, call: &ComposeCall) -> Result<Self, ComposeError> {
        let installed = installed(&call.variables).await.ok_or(ComposeError::Missing)?;
        Ok(Self { words: installed.words.to_vec(), root: root.to_owned(), call: call.clone() })
    }

    fn bare(&self) -> HostCommand {
        let (program, rest) = self.words.split_first().map_or(("docker-compose", &[][..]), |(p, r)| (*p, r));
        let command = HostCommand::new(program).args(rest.iter().copied()).env("IMAGE_TAG", &self.call.tag);
        self.call.variables.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    fn command(&self) -> HostCommand {
        // `.env` at the root counts, as it does for whoever types it there.
        let command = self.bare().in_folder(&self.root);
        self.call.files.iter().fold(command, |command, file| command.arg("-f").arg(file))
    }

    /// Stops and removes the containers of the services.
    ///
    /// # Errors
    /// When compose fails.
    pub async fn down(&self) -> Result<(), ComposeError> {
        let services = &self.call.services;
        let command = if services.is_empty() {
            self.command().arg("down")
        } else {
            self.command().args(["rm", "--stop", "--force"]).args(services.iter().cloned())
        };
        let stopped = command.output().await.map(drop);
        stopped.map_err(|cause| ComposeError::Command { doing: "stop the services", cause })
    }

    /// Starts the services from images that are here, and waits until each is healthy, or runs if it has no health check.
    /// `wait` bounds the waiting.
    ///
    /// # Errors
    /// When compose fails, or a service does not come up: [`ComposeError::Unwell`] with the end of its log.
    pub async fn up(&self, engine: &impl Containers, wait: Duration) -> Result<Vec<String>, ComposeError> {
        let services = &self.call.services;
        let started = self.command().args(["up", "-d", "--no-build"]).args(services.iter().cloned());
        let started = started.output().await.map(drop);
        started.map_err(|cause| ComposeError::Command { doing: "start the services", cause })?;
        let containers = self.containers(engine).await?;
        let (mut well, mut unwell) = (Vec::new(), Vec::new());
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let mut is_waiting = false;
            // All of them at each look: one that ran can have ended while another became healthy.
            for id in &containers {
                let state = engine.container(id).await?;
                let is_late = tokio::time::Instant::now() >= deadline;
                match judge(state.as_ref(), is_late, wait) {
                    Verdict::Well => well.push(service_of(id, state.as_ref())),
                    Verdict::Wait => is_waiting = true,
                    Verdict::Unwell(why) => {
                        let last_lines = last_lines(engine.logs(id).await.unwrap_or_default());
                        unwell.push(Unwell { service: service_of(id, state.as_ref()), why, last_lines });
                    }
                }
            }
            if !is_waiting {
                break;
            }
            well.clear();
            unwell.clear();
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if unwell.is_empty() { Ok(well) } else { Err(ComposeError::Unwell(unwell)) }
    }

    /// Shows what the services print; `how` is compose's own options for it. Dropping the future ends that.
    ///
    /// # Errors
    /// When compose fails.
    pub async fn logs(&self, how: &[String]) -> Result<(), ComposeError> {
        let command = self.command().arg("logs").args(how.iter().cloned());
        let shown = command.args(self.call.services.iter().cloned()).pass_through().await;
        shown.map_err(|cause| ComposeError::Command { doing: "show what the services print", cause })
    }

    async fn containers(&self, engine: &impl Containers) -> Result<Vec<ContainerId>, ComposeError> {
        let services = self.call.services.iter().cloned();
        // Without `--all`, v2 is silent about one that has already failed; with it, both list what `run` left too.
        let printed = self.command().args(["ps", "--all", "-q"]).args(services).output().await;
        let printed = printed.map_err(|cause| ComposeError::Command { doing: "list the services", cause })?;
        let left_by_run = engine.containers("com.docker.compose.oneoff=True").await?;
        let mut containers: Vec<ContainerId> = printed.split_whitespace().map(ContainerId::new).collect();
        containers.retain(|id| !left_by_run.contains(id));
        Ok(containers)
    }
}

enum Verdict {
    Well,
    Wait,
    Unwell(String),
}

fn judge(state: Option<&ContainerState>, is_late: bool, wait: Duration) -> Verdict {
    let Some(state) = state else { return Verdict::Unwell("is gone".to_owned()) };
    if !state.running {
        return match state.exit_code {
            // What sets something up once ends by itself.
            Some(0) => Verdict::Well,
            _ if state.out_of_memory => Verdict::Unwell("ran out of memory".to_owned()),
            Some(code) => Verdict::Unwell(format!("exited with status {code}")),
            None => Verdict::Unwell(format!("does not run: {}", state.error)),
        };
    }
    match state.health {
        Health::Healthy | Health::Unchecked => Verdict::Well,
        Health::Unhealthy => Verdict::Unwell("is unhealthy".to_owned()),
        Health::Starting if is_late => Verdict::Unwell(format!("is not healthy after {} s", wait.as_secs())),
        Health::Starting => Verdict::Wait,
    }
}

fn service_of(id: &ContainerId, state: Option<&ContainerState>) -> String {
    let labelled = state.and_then(|state| state.labels.get("com.docker.compose.service"));
    labelled.cloned().unwrap_or_else(|| id.short().to_owned())
}

fn last_lines(log: Vec<(LogStream, String)>) -> Vec<String> {
    let mut printed = Excerpt::default();
    log.iter().for_each(|(stream, line)| printed.push(*stream, line));
    printed.lines()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{FakeBehaviour, FakeEngine, fake_image};
    use crate::model::{ContainerSpec, Reference};

    fn state(running: bool, exit_code: Option<i64>, health: Health) -> ContainerState {
        ContainerState {
            name: "x".to_owned(),
            image: None,
            labels: Default::default(),
            running,
            exit_code,
            out_of_memory: false,
            error: String::new(),
            health,
            health_log: Vec::new(),
            ports: Default::default(),
        }
    }

    fn call(files: Vec<String>) -> ComposeCall {
        ComposeCall { files, services: Vec::new(), tag: "1".to_owned(), variables: Vec::new() }
    }

    #[track_caller]
    fn check(state: Option<ContainerState>, is_late: bool, expected: &str) {
        let told = match judge(state.as_ref(), is_late, Duration::from_secs(9)) {
            Verdict::Well => "well".to_owned(),
            Verdict::Wait => "wait".to_owned(),
            Verdict::Unwell(why) => why,
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn a_container_is_well_ill_or_waited_for() {
        check(Some(state(true, None, Health::Unchecked)), false, "well");
        check(Some(state(true, None, Health::Healthy)), true, "well");
        check(Some(state(true, None, Health::Starting)), false, "wait");
        check(Some(state(true, None, Health::Starting)), true, "is not healthy after 9 s");
        check(Some(state(true, None, Health::Unhealthy)), false, "is unhealthy");
        check(Some(state(false, Some(0), Health::Unchecked)), false, "well");
        check(Some(state(false, Some(3), Health::Unchecked)), false, "exited with status 3");
        check(None, false, "is gone");
    }

    #[test]
    fn compose_finds_its_files_itself_unless_they_are_named() {
        let given = |files: &[&str]| {
            let files = files.iter().map(ToString::to_string).collect();
            let (words, root) = (vec!["docker", "compose"], PathBuf::from("/tree"));
            Compose { words, root, call: call(files) }.command().words().join(" ")
        };
        assert_eq!(given(&[]), "docker compose");
        assert_eq!(given(&["deploy/c.yaml"]), "docker compose -f deploy/c.yaml");
    }

    /// Compose v2 as far as this file goes: `ps` is silent about what does not run any more, unless it is asked for all.
    #[tokio::test]
    async fn a_service_that_has_failed_already_is_seen() {
        let engine = FakeEngine::new();
        let image: Reference = "shop:1".parse().expect("a reference");
        engine.store(fake_image("shop", &[&image]));
        engine.behave("shop", FakeBehaviour { exits: Some(3), ..FakeBehaviour::default() });
        let id = engine.run(&ContainerSpec::of(image)).await.expect("started");
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("compose");
        let script = format!("case \" $* \" in *' ps --all '*) echo {id} ;; esac\n");
        std::fs::write(&program, script).expect("written");
        let program: &'static str = Box::leak(program.display().to_string().into_boxed_str());
        let compose =
            Compose { words: vec!["sh", program], root: folder.path().to_owned(), call: call(Vec::new()) };
        let error = compose.up(&engine, Duration::from_secs(1)).await.expect_err("it has failed");
        let ComposeError::Unwell(unwell) = error else { panic!("{error}") };
        assert_eq!(unwell.iter().map(|one| one.why.as_str()).collect::<Vec<_>>(), ["exited with status 3"]);
    }
}
