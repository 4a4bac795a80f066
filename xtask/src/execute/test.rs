//! The test of an image: its command, run in a container to the end.

use std::time::Duration;

use super::failure::StepError;
use super::pull::MakeBase;
use super::step::Done;
use super::{ExecuteBundle, Execution};
use crate::build::Machine;
use crate::engine::{EngineError, OnProgress, Progress};
use crate::model::{ContainerId, ContainerSpec, ContainerState, TestCommand, TestSpec};

/// Between two looks at a container.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl<E: Machine, M: MakeBase, C: ExecuteBundle<E>> Execution<'_, E, M, C> {
    /// Runs it. What it prints is the step's log; a status other than 0 fails the test. The container goes in any case.
    pub(super) async fn run_test(&self, spec: &TestSpec, tell: OnProgress<'_>) -> Result<Done, StepError> {
        let engine = self.engine()?;
        let mut container =
            ContainerSpec { labels: spec.labels.clone(), ..ContainerSpec::of(spec.reference.clone()) };
        if let TestCommand::Words(words) = &spec.command {
            container.entrypoint = words.get(..1).map(<[String]>::to_vec);
            container.command = words.get(1..).unwrap_or_default().to_vec();
        }
        let Some(id) = self.cancel.run_until_cancelled(engine.run(&container)).await else {
            return Err(StepError::Cancelled);
        };
        let id = id?;
        let ended = self.cancel.run_until_cancelled(ended(engine, &id)).await;
        let printed = engine.logs(&id).await.unwrap_or_default();
        engine.remove_container(&id).await?;
        let Some(ended) = ended else { return Err(StepError::Cancelled) };
        let state = ended?;
        for (stream, line) in printed {
            tell(Progress::Log { stream, line });
        }
        match state.exit_code {
            Some(0) => Ok(Done::because("exit 0")),
            _ if state.out_of_memory => Err(StepError::Smoke("it ran out of memory".to_owned())),
            Some(code) => {
                Err(StepError::Smoke(format!("{} exited with status {code}", called(&spec.command))))
            }
            None => Err(StepError::Smoke(format!("it does not run: {}", state.error))),
        }
    }
}

fn called(command: &TestCommand) -> String {
    match command {
        TestCommand::Words(words) => format!("`{}`", shell_words::join(words)),
        TestCommand::OfImage | TestCommand::Instructions => "its command".to_owned(),
    }
}

async fn ended<E: Machine>(engine: &E, id: &ContainerId) -> Result<ContainerState, EngineError> {
    loop {
        match engine.container(id).await? {
            Some(state) if !state.running => return Ok(state),
            Some(_) => tokio::time::sleep(LOOK_EVERY).await,
            None => return Err(EngineError::Gone("the container of the test is gone".to_owned())),
        }
    }
}
