//! `plan --format bake`: the file, and beside it what a builder that reads the tree by itself would not find there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::pipeline::{self, Planned};
use super::session::{Session, World};
use crate::error::{Error, ErrorKind};
use crate::model::StepKind;
use crate::plan::bake::{self, Aside, BakeInput, Content};

/// Where files are put that do not stand in the tree.
const ASIDE: &str = "target/xtask/bake";

/// The text of the file; says what is not in it.
pub(super) fn write(session: &Session, world: &World, planned: &Planned) -> Result<String, Error> {
    let pending: BTreeMap<String, String> = world
        .render
        .steps
        .iter()
        .filter_map(|step| match &step.kind {
            StepKind::WriteFile { path, contents, .. } => Some((path.clone(), contents.clone())),
            _ => None,
        })
        .collect();
    let config = &session.config;
    let baked = bake::bake(&BakeInput {
        request: &pipeline::build_request(session, &planned.selected, planned.verdict.as_ref()),
        graph: &world.tree.graph,
        contexts: &world.tree.contexts,
        assessments: &planned.assessments,
        is_secret: &|value| session.secrets.redact(value) != value,
        pending: &pending,
        pins: &planned.pins,
        cache_from: &config.cache_from,
        cache_to: config.cache_to.as_ref(),
        aside: ASIDE,
    });
    for (path, file) in &baked.aside {
        put(&config.root.join(path), file).map_err(|error| {
            Error::of(ErrorKind::File, &error).context(format!("cannot put {path} beside the tree"))
        })?;
    }
    for (image, why) in &baked.left_out {
        session.warn(&format!("{image} is not in the bake file: {why}"));
    }
    Ok(baked.text)
}

/// The file appears whole or not at all.
fn put(path: &Path, aside: &Aside) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    match &aside.content {
        Content::Text(text) => std::fs::write(file.path(), text)?,
        Content::File(source) => drop(std::fs::copy(source, file.path())?),
    }
    use std::os::unix::fs::PermissionsExt as _;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(aside.mode))?;
    file.persist(path)?;
    Ok(())
}
