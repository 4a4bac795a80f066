//! `base-images bump`: another default version, everywhere where it is named.

use super::args::BaseImagesBump;
use super::pipeline;
use super::session::{Session, Typed};
use crate::base_images::bump::{self, Bump, BumpInput, texts};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::host::inside::Folder;
use crate::model::{ImageSource, Phase};
use crate::plan::Request;
use crate::settings::Layer;

/// The settings file that names the default version.
const SETTINGS: &str = ".config/xtask.toml";

/// `base-images bump`
pub(super) async fn run(typed: &Typed<'_>, args: BaseImagesBump) -> Result<ExitCode, Error> {
    let session = Session::open(typed, Layer::default(), &[])?;
    let config = &session.config;
    let world = session.look().await?;
    let to = &args.version.0;
    let texts = texts::read(&config.root).await.map_err(|error| {
        Error::of(ErrorKind::Command, &error).context("cannot read the files of the tree")
    })?;
    // `docker/base-images/*` stands for folders in a folder that is about base images as a whole.
    let folders: Vec<String> =
        config.base_images.iter().filter_map(|glob| Some(glob.rsplit_once('/')?.0.to_owned())).collect();
    let input = BumpInput {
        name: &config.base_image.name,
        folders: &folders,
        lock_file: &config.artifact.lock,
        settings: SETTINGS,
    };
    let default = world.tree.default_version.clone();
    let Some(from) = default.or_else(|| bump::default_of_folders(&texts, &input)) else {
        let error =
            Error::new(ErrorKind::ConfigInvalid, "this tree names no default version of its base images");
        return Err(error.hint(format!("set `base_image.version` in {SETTINGS}")));
    };
    // A version that stays there would be the default still.
    let tree = Folder::open(&config.root).map_err(|error| Error::of(ErrorKind::File, &error))?;
    for image in world.tree.graph.images().iter().filter(|image| image.base_image().is_some()) {
        let ImageSource::Build(target) = &image.source else { continue };
        tree.check(&target.dockerfile).map_err(|error| {
            Error::of(ErrorKind::File, &error).context(format!("cannot change {}", target.dockerfile))
        })?;
    }
    let bump = bump::plan(&texts, &from, to, &input);
    if bump.places.is_empty() {
        super::say(&format!("nothing to do: the default version is {from}, and nothing else has to change"));
        return Ok(ExitCode::Good);
    }
    if args.check {
        super::print(&session.secrets.redact(&places(&bump)));
        tell_left(&bump);
        return Ok(ExitCode::Drift);
    }
    tell_left(&bump);
    let request = Request { dry_run: true, prepared: bump.plan, ..Request::of(&[Phase::Bump]) };
    // The diff is shown in any case.
    let shown = pipeline::run(&session, &request).await?;
    if args.dry_run {
        return Ok(shown);
    }
    pipeline::run(&session, &Request { dry_run: false, ..request }).await
}

/// `file:line: old -> new`, a line each.
fn places(bump: &Bump) -> String {
    let lines = bump.places.iter().map(|place| match &place.now {
        Some(now) => format!("{}: {} -> {}\n", place.at, place.was.trim(), now.trim()),
        None => format!("{}: {} goes: its digest is of no use any more\n", place.at, place.was.trim()),
    });
    lines.collect()
}

/// What names one of the versions and is left alone.
fn tell_left(bump: &Bump) {
    for left in &bump.left {
        super::say(&format!("left alone: {} ({})", left.at, left.why));
    }
    for at in &bump.already {
        super::say(&format!("names the new version already: {at}; a bump back would change it too"));
    }
}
