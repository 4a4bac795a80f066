//! What this program asks of container engines, in two traits; building is a third (`build::Builder`), since what keeps images
//! need not build, and what builds need not run containers. Methods return `impl Future + Send`, so nobody needs `Box<dyn>`.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use super::{ByteStream, EngineError, Loaded, OnProgress};
use crate::model::{
    ContainerId, ContainerSpec, ContainerState, Digest, ExecOutput, ImageDetails, ImageId, IndexSpec,
    LayerSize, LocalImage, LogStream, Observed, Platform, Reference,
};

/// Where images are: an engine's own. Dropping a returned future cancels the work.
pub trait Store: Send + Sync {
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

    /// The same of a platform, where a name may mean several images.
    fn inspect_on(
        &self,
        reference: &Reference,
        platform: &Platform,
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

    /// Makes an image index over images that are there, and gives it its names; returns its digest. Only a store that
    /// keeps indexes can.
    fn index(&self, spec: &IndexSpec) -> impl Future<Output = Result<ImageId, EngineError>> + Send;

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
    /// it has no other and no container uses it. Two may do this at the same time: `from` is taken before anything is
    /// removed, and where it is gone, the other one was quicker.
    fn give_back(
        &self,
        name: &Reference,
        from: &Reference,
    ) -> impl Future<Output = Result<(), EngineError>> + Send {
        async {
            let before = self.inspect(name).await?.map(|image| image.id);
            match self.tag(from, name).await {
                Err(EngineError::NotFound(_)) => return Ok(()),
                tagged => tagged?,
            }
            self.remove(from).await?;
            if let Some(before) = before {
                // It is in use, or has a name: that of `from`, too.
                let _ = self.remove_unnamed(&before).await;
            }
            Ok(())
        }
    }

    /// Removes an image that has no name; one that has got a name, or that a container uses, is an error. Absent is
    /// fine.
    fn remove_unnamed(&self, id: &ImageId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Whether a server on 127.0.0.1 here may be one that it can reach; asks nobody. A socket can be that of a virtual
    /// machine all the same, so it may turn out otherwise.
    fn may_share_loopback(&self) -> bool {
        false
    }

    /// The digests of an image's layers, uncompressed, lowest first; none when the store lacks it.
    fn layers(&self, id: &ImageId) -> impl Future<Output = Result<Option<Vec<Digest>>, EngineError>> + Send;

    /// What each instruction added to an image, the first one first; none when the store lacks it, or does not tell.
    fn history(
        &self,
        reference: &Reference,
    ) -> impl Future<Output = Result<Option<Vec<LayerSize>>, EngineError>> + Send;

    /// What an image says about itself; none when the store lacks it.
    fn details(
        &self,
        reference: &Reference,
    ) -> impl Future<Output = Result<Option<ImageDetails>, EngineError>> + Send;
}

/// Who runs containers.
pub trait Containers: Send + Sync {
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
