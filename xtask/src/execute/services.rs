//! Steps that stop and start what compose files run.

use std::time::Duration;

use super::failure::StepError;
use super::pull::MakeBase;
use super::step::Done;
use super::{ExecuteBundle, Execution};
use crate::build::Machine;
use crate::engine::compose::Compose;
use crate::model::ComposeCall;

impl<E: Machine, M: MakeBase, C: ExecuteBundle<E>> Execution<'_, E, M, C> {
    pub(super) async fn stop_services(&self, call: &ComposeCall) -> Result<Done, StepError> {
        Compose::find(self.root, call).await?.down().await?;
        Ok(Done::because(call.services.join(", ")))
    }

    pub(super) async fn start_services(&self, call: &ComposeCall, wait: Duration) -> Result<Done, StepError> {
        let well = Compose::find(self.root, call).await?.up(self.engine()?, wait).await?.join(", ");
        Ok(Done { answer: Some(well.clone()), ..Done::because(well) })
    }
}
