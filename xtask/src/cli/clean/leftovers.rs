//! What runs that are over left: containers, folders of registries, names that images had only while they were pushed
//! or loaded.

use std::collections::{BTreeMap, BTreeSet};

use super::super::session::Session;
use crate::base_images::trial::{Leftovers, REGISTRIES};
use crate::bundle::displaced::{self, Remedy};
use crate::bundle::fetch::is_temporary;
use crate::engine::{AnyEngine, Containers as _, EngineError};
use crate::host::ProcessId;
use crate::model::{ContainerId, ImageId, Observed, Reference, labels};
use crate::read::tree;
use crate::registry::local;

/// What is left, and the images that containers of others use, each with a container's name.
pub(super) async fn find(
    session: &Session,
    engine: &AnyEngine,
) -> Result<(Leftovers, BTreeMap<ImageId, String>), EngineError> {
    let root = &session.config.root;
    let this_tree = tree::identity(root);
    let mut left = Leftovers::default();
    let mut of_registries = BTreeSet::new();
    // Nobody else runs in this tree while we hold its lock.
    let entries = std::fs::read_dir(root.join(REGISTRIES)).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("run-") {
            of_registries.extend(local::recorded(&entry.path()).and_then(|record| record.container));
            left.registries.push(format!("{REGISTRIES}/{name}"));
        }
    }
    left.registries.sort();
    let mut used = BTreeMap::new();
    for id in engine.containers("").await? {
        let Some(state) = engine.container(&id).await? else { continue };
        if of_registries.contains(id.as_str()) {
            continue;
        }
        // Containers of older versions do not say their tree. A container has its image's labels too, but of these
        // two only its own.
        let owner = state.labels.get(labels::OWNER).filter(|_| state.labels.contains_key(labels::RUN));
        let is_of_tree = state.labels.get(labels::TREE).is_none_or(|tree| *tree == this_tree);
        match owner {
            Some(owner) if is_of_tree && is_over(owner) => left.containers.push((id, state.name)),
            _ => used.extend(state.image.map(|image| (image, state.name))),
        }
    }
    Ok((left, used))
}

/// Containers of this tree whose run was broken off; not those that were to stay.
pub(in crate::cli) async fn broken_off(
    session: &Session,
    engine: &AnyEngine,
) -> Result<Vec<(ContainerId, String)>, EngineError> {
    let this_tree = tree::identity(&session.config.root);
    let mut left = Vec::new();
    for id in engine.containers(&format!("{}={this_tree}", labels::TREE)).await? {
        let Some(state) = engine.container(&id).await? else { continue };
        let owner = state.labels.get(labels::OWNER).filter(|_| state.labels.contains_key(labels::RUN));
        if owner.is_some_and(|owner| is_over(owner)) && !state.labels.contains_key(labels::KEPT) {
            left.push((id, state.name));
        }
    }
    Ok(left)
}

/// Names that an image had only for a while: those that can go, and those that are given back, each with what its image
/// is called meanwhile. The run that gave them is over, and the registry that it pushed to answers no more.
pub(super) async fn names(
    engine: &AnyEngine,
    observed: &Observed,
) -> Result<(Vec<Reference>, Vec<(Reference, Reference)>), EngineError> {
    let (mut left, mut taken) = (Vec::new(), Vec::new());
    for name in observed.images().iter().flat_map(|image| &image.names).filter(|name| is_temporary(name)) {
        if tokio::net::TcpStream::connect(name.domain()).await.is_err() {
            left.push(name.clone());
        }
    }
    for (displaced, remedy) in displaced::left(engine, observed).await? {
        match remedy {
            Remedy::GiveBack => taken.push((displaced.name, displaced.under)),
            Remedy::LetGo => left.push(displaced.under),
        }
    }
    Ok((left, taken))
}

/// Whether the process that made a container is no more; one that nobody in particular owns is for its own command.
fn is_over(owner: &str) -> bool {
    owner.parse::<ProcessId>().is_ok_and(|process| !process.is_alive())
}
