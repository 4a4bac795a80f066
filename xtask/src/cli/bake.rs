//! `plan --format bake`: the file, and beside it what a builder that reads the tree by itself would not find there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use super::session::Session;
use super::world::World;
use crate::cli::error::{Error, ErrorKind};
use crate::host::inside::Folder;
use crate::model::{ImageSource, StepKind};
use crate::plan::bake::{self, BakeInput, Content, ExtraFile};
use crate::plan::{self, Facts, Planned};

/// Where files are put that do not stand in the tree.
const ASIDE: &str = "target/xtask/bake";

/// The text of the file; says what is not in it.
pub(super) fn write(session: &Session, world: &World, planned: &Planned) -> Result<String, Error> {
    let mut pending: BTreeMap<String, String> = world
        .render
        .steps
        .iter()
        .filter_map(|step| match &step.kind {
            StepKind::WriteFile { path, contents, .. } => Some((path.clone(), contents.clone())),
            _ => None,
        })
        .collect();
    let config = &session.config;
    // A text that a definition has, or in which names stand for something else, is not what lies there.
    for image in world.tree.graph.images() {
        if let ImageSource::Build(target) = &image.source
            && std::fs::read_to_string(config.root.join(&target.dockerfile)).ok().as_ref()
                != Some(&target.text)
        {
            pending.entry(target.dockerfile.clone()).or_insert_with(|| target.text.clone());
        }
    }
    let network = planned.network.as_ref();
    let facts = Facts { network, ..world.facts(session, &world.observed) };
    let baked = bake::bake(&BakeInput {
        request: &plan::build_request(&planned.selected, &facts),
        graph: &world.tree.graph,
        contexts: &world.tree.contexts,
        assessments: &planned.assessments,
        is_secret: &|value| session.secrets.is_secret(value),
        pending: &pending,
        observed: &world.observed,
        pins: &planned.pins,
        cache_from: &config.cache_from,
        cache_to: config.cache_to.as_ref(),
        aside: ASIDE,
    });
    let tree = Folder::open(&config.root).map_err(|error| Error::of(ErrorKind::File, &error))?;
    for (path, file) in &baked.aside {
        put(&tree, path, file).map_err(|error| {
            Error::of(ErrorKind::File, &error).context(format!("cannot put {path} beside the tree"))
        })?;
    }
    for (image, why) in &baked.left_out {
        session.warn(&format!("{image} is not in the bake file: {why}"));
    }
    Ok(baked.text)
}

/// The file appears whole or not at all.
fn put(tree: &Folder, path: &str, aside: &ExtraFile) -> io::Result<()> {
    let source = match &aside.content {
        Content::Text(text) => return tree.write(path, text.as_bytes(), Some(aside.mode)),
        Content::File(source) => source,
    };
    let mut file = tree.new_file(ASIDE)?;
    io::copy(&mut File::open(source)?, file.file())?;
    file.set_mode(aside.mode)?;
    file.keep(tree, path).map(drop)
}
