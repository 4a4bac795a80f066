//! `--prove`: the rebuild, done for real where there is no network: in an empty private engine with the cable out, of a
//! copy of the tree in which one line of each image's sources has changed. Everything that it makes is taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::pipeline;
use super::run::Run;
use super::session::Session;
use super::world::World;
use crate::bundle::manifest::{Proof, ProvenImage};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::provision::{Announce, DisposableEngine, EngineReach, EngineSettings};
use crate::engine::{self, AnyEngine, Surroundings};
use crate::execute::run::RunReport;
use crate::host::inside::Folder;
use crate::model::{
    ContextFile, ContextFileKind, Image, ImageName, ImageSource, ImageState, Phase, Platform,
};
use crate::plan::rebuild::network::{Need, need_of};
use crate::plan::{Request, facts};
use crate::report::resolve::{Mode, Verbosity};
use dockerfile::{Base, Link, Selector};

/// Larger files are no sources that somebody edits.
const LARGEST: u64 = 1 << 20;
/// What of a tree is never part of a build.
const LEFT_BEHIND: [&str; 2] = ["target", ".git"];

/// An empty engine without any network, in the tree's own folder; gone when dropped. `announce` hears what is done.
pub(super) async fn closed_engine(
    session: &Session,
    announce: Announce<'_>,
) -> Result<(DisposableEngine, AnyEngine), Error> {
    let tree = Folder::open(&session.config.root).and_then(|tree| tree.below("target/xtask/prove"));
    let folder = tree.map_err(|error| Error::of(ErrorKind::File, &error))?.path().to_owned();
    let settings = EngineSettings { reach: EngineReach::Nothing, ..EngineSettings::default() };
    let engine = DisposableEngine::start(&folder, &settings, announce).await?;
    let surroundings = Surroundings {
        docker_host: Some(engine.endpoint()),
        context: None,
        tls: false,
        tls_verify: false,
        cert_path: None,
        ..session.surroundings()
    };
    let connected = engine::connect(&surroundings).await?;
    Ok((engine, connected))
}

/// Rebuilds the selected images in an engine that holds what they need.
pub(super) async fn prove(
    session: &Session,
    world: &World,
    engine: AnyEngine,
    selected: &BTreeSet<ImageName>,
) -> Result<Proof, Error> {
    let unexpected = |error: &dyn std::error::Error| Error::of(ErrorKind::Unexpected, error);
    let copy = tempfile::tempdir().map_err(|error| unexpected(&error))?;
    let (from, to) = (session.config.root.clone(), copy.path().to_owned());
    let copied = tokio::task::spawn_blocking(move || copy_tree(&from, &to)).await;
    copied.map_err(|panic| unexpected(&panic))?.map_err(|error| unexpected(&error))?;
    let platform = facts::platform(&session.config, &world.observed);
    let mut changed: BTreeMap<ImageName, String> = BTreeMap::new();
    for image in world.tree.graph.images().iter().filter(|image| selected.contains(&image.name)) {
        let Some(file) = to_change(world, image, &platform) else { continue };
        append_line(copy.path(), &file).map_err(|error| unexpected(&error))?;
        changed.insert(image.name.clone(), file);
    }
    let mut there = session.elsewhere(copy.path(), engine);
    if there.display.mode == Mode::Tty {
        // The run that asks for a proof draws; two would draw over each other.
        there.display.mode = Mode::Quiet;
        there.display.verbosity = Verbosity::Quiet;
    }
    let request = Request {
        only: selected.iter().map(ToString::to_string).collect(),
        ..Request::of(&[Phase::Alias, Phase::Render, Phase::Build])
    };
    let (looked, planned) = pipeline::look_at_all(&there, &request).await?;
    looked.engine.clone()?;
    let ended = Run::start(&there, &request, &looked, &planned).go(&looked, planned).await;
    if ended.code? == ExitCode::Interrupted {
        return Err(Error::told(ErrorKind::Interrupted));
    }
    let failures = failures(&there, &ended.report);
    let request = Request { phases: vec![Phase::Build], ..request };
    let (after, now) = pipeline::look_at_all(&there, &request).await?;
    let images = now
        .assessments
        .iter()
        .filter(|assessment| selected.contains(&assessment.name))
        .map(|assessment| ProvenImage {
            name: assessment.name.clone(),
            changed: changed.get(&assessment.name).cloned().unwrap_or_default(),
            failure: (assessment.state != ImageState::UpToDate).then(|| {
                let told = failures.get(assessment.name.as_str());
                told.cloned().unwrap_or_else(|| assessment.reason.to_string())
            }),
        })
        .collect();
    let engine = after.observed.capabilities.as_ref().map(|c| format!("{} {}", c.name, c.version));
    Ok(Proof { engine: engine.unwrap_or_default(), images })
}

/// What a proof comes to: an error that names what needs the network, or nothing.
pub(super) fn judge(proof: &Proof) -> Result<(), Error> {
    let failed: Vec<&ProvenImage> = proof.images.iter().filter(|image| image.failure.is_some()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = failed.iter().map(|image| format!("`{}`", image.name)).collect();
    let what = format!("{} cannot be rebuilt without a network", names.join(", "));
    let error = failed.iter().fold(Error::new(ErrorKind::NotRebuildable, what), |error, image| {
        let changed = if image.changed.is_empty() { "what it stands on" } else { image.changed.as_str() };
        let failure = image.failure.as_deref().unwrap_or_default();
        error.because(format!("{}, after a change in {changed}: {failure}", image.name))
    });
    Err(error.hint("install first and copy sources afterwards: what stands above a COPY is not run again"))
}

/// The file whose change makes as few instructions as possible ask a network, some run again, and few: what somebody
/// edits between two builds. Relative to the root.
fn to_change(world: &World, image: &Image, build_platform: &Platform) -> Option<String> {
    let ImageSource::Build(target) = &image.source else { return None };
    let context = world.tree.contexts.get(&image.name)?;
    let (file, _) = dockerfile::parse(&target.dockerfile, &target.text);
    let options = target.options(&image.platform, build_platform);
    let chains = dockerfile::chains(&file, &options);
    let selectors: Vec<Vec<Option<Selector>>> = chains
        .iter()
        .map(|chain| {
            let of = |link: &Link| (!link.inputs.is_empty()).then(|| Selector::new(&link.inputs));
            chain.links.iter().map(of).collect()
        })
        .collect();
    let rank = |path: &str| {
        let (mut networks, mut reruns, mut is_read) = (0, 0, false);
        let mut moved = BTreeSet::new();
        for (chain, selectors) in chains.iter().zip(&selectors) {
            let mut has_moved = matches!(&chain.base, Base::Stage(below) if moved.contains(below));
            for (link, selector) in chain.links.iter().zip(selectors) {
                has_moved |= selector.as_ref().is_some_and(|selector| selector.reads(path));
                if has_moved && link.keyword == "RUN" {
                    reruns += 1;
                    networks += usize::from(matches!(need_of(&link.text), Need::Yes(_)));
                }
            }
            if has_moved {
                is_read = true;
                moved.insert(chain.index);
            }
        }
        is_read.then_some((networks, reruns == 0, reruns))
    };
    let is_source = |file: &&ContextFile| {
        file.source.is_none() && matches!(&file.kind, ContextFileKind::File { size, .. } if *size < LARGEST)
    };
    let ranked =
        context.files.counted().filter(is_source).filter_map(|file| Some((rank(&file.path)?, &file.path)));
    let (_, path) = ranked.min()?;
    Some(if target.context == "." { path.clone() } else { format!("{}/{path}", target.context) })
}

fn append_line(tree: &Path, file: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    Folder::open(tree)?.append(file)?.write_all(b"\n")
}

/// Files, folders and symlinks, with their permissions.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut folders: Vec<(PathBuf, PathBuf)> = vec![(from.to_owned(), to.to_owned())];
    while let Some((folder, to)) = folders.pop() {
        let is_root = folder == from;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            if is_root && LEFT_BEHIND.iter().any(|left| name == *left) {
                continue;
            }
            let target = to.join(&name);
            if kind.is_dir() {
                std::fs::create_dir(&target)?;
                std::fs::set_permissions(&target, entry.metadata()?.permissions())?;
                folders.push((entry.path(), target));
            } else if kind.is_symlink() {
                std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, target)?;
            } else if kind.is_file() {
                std::fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}

/// Why builds of a run failed or were left out, by image, with nothing secret in it.
fn failures(session: &Session, report: &RunReport) -> BTreeMap<String, String> {
    let left_out = report.left_out.iter().map(|(phase, subject, why)| (*phase, subject, why.clone()));
    let failed = report.failures.iter();
    let failed = failed.map(|failed| (failed.phase, &failed.subject, failed.failure.causes.join("; ")));
    let of_builds = left_out.chain(failed).filter(|(phase, ..)| *phase == Phase::Build);
    of_builds.map(|(_, subject, why)| (subject.clone(), session.secrets.redact(&why).into_owned())).collect()
}
