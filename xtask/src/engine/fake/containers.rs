//! The fake engine's containers: they run nothing, and behave as they were told to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::EngineError;
use crate::model::{
    ContainerId, ContainerSpec, ContainerState, Digest, ExecOutput, Health, Identity, ImageDetails, ImageId,
    LocalImage, LogStream, Platform, RunConfig,
};

/// How containers of an image behave.
#[derive(Clone, Debug, Default)]
pub struct FakeBehaviour {
    /// What the health check says at each look, the last of it for ever; empty is an image without one.
    pub health: Vec<Health>,
    /// The process ends at once with this status.
    pub exits: Option<i64>,
    /// How long the process takes to end once it is asked to.
    pub stops_in: Duration,
    /// What it prints.
    pub logs: Vec<(LogStream, String)>,
    /// What commands in it answer, by the words that the command begins with; others end with status 127.
    pub answers: Vec<(&'static str, ExecOutput)>,
    /// Where its ports are on this machine; others are where they were asked to be.
    pub ports: BTreeMap<u16, u16>,
    /// What `details` says beyond what the store knows.
    pub details: Option<ImageDetails>,
}

/// All containers, and how they behave.
#[derive(Default)]
pub(super) struct Containers {
    all: Vec<FakeContainer>,
    made: usize,
    behaviours: Vec<(String, FakeBehaviour)>,
    /// Ports of this machine that somebody else has.
    pub taken: BTreeSet<u16>,
}

struct FakeContainer {
    id: ContainerId,
    image: ImageId,
    spec: ContainerSpec,
    behaviour: FakeBehaviour,
    looks: usize,
    exit_code: Option<i64>,
}

impl Containers {
    /// Containers whose image's familiar name contains `image` behave so; the last word counts.
    pub(super) fn behave(&mut self, image: &str, behaviour: FakeBehaviour) {
        self.behaviours.push((image.to_owned(), behaviour));
    }

    fn behaviour(&self, name: &str) -> FakeBehaviour {
        let of = |(image, _): &&(String, FakeBehaviour)| name.contains(image.as_str());
        self.behaviours.iter().rev().find(of).map(|(_, behaviour)| behaviour.clone()).unwrap_or_default()
    }

    pub(super) fn run(
        &mut self,
        spec: &ContainerSpec,
        image: Option<&LocalImage>,
    ) -> Result<ContainerId, EngineError> {
        let image = image.ok_or_else(|| EngineError::NotFound(spec.image.familiar()))?;
        if let Some(port) = spec.ports.iter().filter_map(|p| p.host).find(|port| self.is_taken(*port)) {
            return Err(EngineError::PortTaken(format!("127.0.0.1:{port}")));
        }
        self.made += 1;
        let id = ContainerId::new(format!("{:064x}", self.made));
        let behaviour = self.behaviour(&spec.image.familiar());
        self.all.push(FakeContainer {
            id: id.clone(),
            image: image.id.clone(),
            spec: spec.clone(),
            exit_code: behaviour.exits,
            behaviour,
            looks: 0,
        });
        Ok(id)
    }

    fn is_taken(&self, port: u16) -> bool {
        let ours =
            |c: &FakeContainer| c.exit_code.is_none() && c.spec.ports.iter().any(|p| p.host == Some(port));
        self.taken.contains(&port) || self.all.iter().any(ours)
    }

    fn find(&mut self, id: &ContainerId) -> Option<&mut FakeContainer> {
        self.all.iter_mut().find(|container| container.id == *id)
    }

    /// What a container runs, for scripts; the ID when it is gone.
    pub(super) fn subject(&mut self, id: &ContainerId) -> String {
        self.find(id).map_or_else(|| id.to_string(), |container| container.spec.image.familiar())
    }

    pub(super) fn state(&mut self, id: &ContainerId) -> Option<ContainerState> {
        let container = self.find(id)?;
        let health = &container.behaviour.health;
        let now = health.get(container.looks).or(health.last()).copied().unwrap_or(Health::Unchecked);
        container.looks += 1;
        // A port that nobody has is as good as any.
        let port = |inside: u16, asked: Option<u16>| {
            container.behaviour.ports.get(&inside).copied().or(asked).unwrap_or(9)
        };
        let is_running = container.exit_code.is_none();
        let ports = container.spec.ports.iter().filter(|_| is_running);
        Some(ContainerState {
            name: container.spec.name.clone().unwrap_or_else(|| container.id.short().to_owned()),
            image: Some(container.image.clone()),
            labels: container.spec.labels.clone(),
            running: is_running,
            exit_code: container.exit_code,
            out_of_memory: false,
            error: String::new(),
            health: now,
            health_log: Vec::new(),
            ports: ports.map(|p| (p.container, port(p.container, p.host))).collect(),
        })
    }

    pub(super) fn exec(&mut self, id: &ContainerId, command: &[&str]) -> Result<ExecOutput, EngineError> {
        let container = self.find(id).ok_or_else(|| EngineError::NotFound(id.short().to_owned()))?;
        if container.exit_code.is_some() {
            return Err(EngineError::Other(format!("Container {id} is not running")));
        }
        let words = command.join(" ");
        let answer = container.behaviour.answers.iter().find(|(begin, _)| words.starts_with(begin));
        Ok(answer.map_or_else(
            || ExecOutput { exit_code: 127, stderr: format!("{words}: not found"), ..ExecOutput::default() },
            |(_, output)| output.clone(),
        ))
    }

    pub(super) fn logs(&mut self, id: &ContainerId) -> Result<Vec<(LogStream, String)>, EngineError> {
        let found = self.find(id).map(|container| container.behaviour.logs.clone());
        found.ok_or_else(|| EngineError::NotFound(id.short().to_owned()))
    }

    /// Ends it, and says how long that takes.
    pub(super) fn stop(&mut self, id: &ContainerId, grace: Duration) -> Duration {
        let Some(container) = self.find(id).filter(|container| container.exit_code.is_none()) else {
            return Duration::ZERO;
        };
        let needed = container.behaviour.stops_in;
        container.exit_code = Some(if needed <= grace { 0 } else { 137 });
        needed.min(grace)
    }

    pub(super) fn remove(&mut self, id: &ContainerId) {
        self.all.retain(|container| container.id != *id);
    }

    pub(super) fn labelled(&self, label: &str) -> Vec<ContainerId> {
        let (name, value) = label.split_once('=').map_or((label, None), |(name, value)| (name, Some(value)));
        let carries = |container: &&FakeContainer| {
            let found = container.spec.labels.get(name);
            label.is_empty() || found.is_some_and(|found| value.is_none_or(|value| value == found))
        };
        self.all.iter().filter(carries).map(|container| container.id.clone()).collect()
    }

    /// Whether a container of this image is there.
    pub(super) fn use_image(&self, image: &ImageId) -> bool {
        self.all.iter().any(|container| container.image == *image)
    }

    pub(super) fn details(&self, name: &str, image: &LocalImage, layers: Vec<Digest>) -> ImageDetails {
        let platform = image.platform.clone().unwrap_or_else(Platform::local);
        let config = RunConfig { labels: image.labels.clone(), ..RunConfig::default() };
        let identity = Identity::of(&platform, &layers, &config);
        self.behaviour(name).details.map_or_else(
            || ImageDetails {
                id: image.id.clone(),
                identity: identity.clone(),
                platform: platform.clone(),
                user: String::new(),
                workdir: String::new(),
                env: BTreeMap::new(),
                entrypoint: Vec::new(),
                cmd: Vec::new(),
                exposed_ports: BTreeSet::new(),
                healthcheck: None,
                labels: image.labels.clone(),
                triggers: Vec::new(),
                volumes: BTreeSet::new(),
                stop_signal: None,
                layers: layers.clone(),
                size: image.size,
                repo_digests: image.digests.clone(),
            },
            |details| ImageDetails {
                id: image.id.clone(),
                identity: identity.clone(),
                layers: if details.layers.is_empty() { layers.clone() } else { details.layers },
                size: image.size.max(details.size),
                repo_digests: image.digests.clone(),
                ..details
            },
        )
    }
}
