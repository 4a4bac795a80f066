//! `bundle verify|inspect|diff|inventory|load`: what bundles hold, whether they are whole, and into the engine with it.

mod create;
mod executor;
mod load;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub(super) use self::create::{Bundling, closure_of};
pub(super) use self::executor::BundleExecutor;
use super::args::{BundleCommand, Format};
use super::interruptible;
use super::run::{OnInterrupt, Recorded, Run};
use super::session::{Session, Typed};
use crate::artifact;
use crate::bundle::contents::Contents;
use crate::bundle::diff::BundleDiff;
use crate::bundle::inspect::Inspection;
use crate::bundle::inventory;
use crate::bundle::open::Bundle;
use crate::bundle::plan;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::model::bundle::Unpack;
use crate::model::{Digest, counted};
use crate::plan::Request;
use crate::report::text::size;
use crate::settings::Layer;

/// `bundle`
pub(super) async fn run(typed: &Typed<'_>, command: BundleCommand) -> Result<ExitCode, Error> {
    let open = || Session::open(typed, Layer::default(), &[]);
    match command {
        // These tell what they did, also when they are stopped.
        BundleCommand::Create(args) => create::create(typed, *args).await,
        BundleCommand::Load { file, dry_run: false } => load::load_bundle(&open()?, file).await,
        BundleCommand::Load { file, dry_run: true } => interruptible(load::show(&open()?, file)).await,
        BundleCommand::Verify { file } => verify(&open()?, file).await,
        BundleCommand::Inspect { file, format } => interruptible(show(file, format)).await,
        BundleCommand::Diff { old, new, format } => interruptible(compare(old, new, format)).await,
        BundleCommand::Inventory { output } => interruptible(take_inventory(&open()?, output)).await,
    }
}

/// `bundle inspect`
async fn show(file: PathBuf, format: Format) -> Result<ExitCode, Error> {
    let inspection = inspect(file).await?;
    answer(format, &inspection, |inspection| inspection.text(&size));
    Ok(ExitCode::Good)
}

/// `bundle diff`
async fn compare(old: PathBuf, new: PathBuf, format: Format) -> Result<ExitCode, Error> {
    let (old, new) = tokio::try_join!(inspect(old), inspect(new))?;
    answer(format, &BundleDiff::between(&old, &new), |diff| diff.text(&size));
    Ok(ExitCode::Good)
}

/// `bundle inventory`
async fn take_inventory(session: &Session, output: Option<PathBuf>) -> Result<ExitCode, Error> {
    let engine = session.connect().await?;
    let text = inventory::take(&engine, artifacts(session).await?).await?.text();
    match output {
        None => super::print(&text),
        Some(path) => std::fs::write(&path, text).map_err(|error| {
            Error::of(ErrorKind::File, &error).context(format!("cannot write {}", path.display()))
        })?,
    }
    Ok(ExitCode::Good)
}

/// `bundle verify`
async fn verify(session: &Session, file: PathBuf) -> Result<ExitCode, Error> {
    let contents = interruptible(read(file.clone())).await?;
    let (bundle, blobs) = (contents.bundle(), counted(Inspection::of(&contents).blobs, "blob"));
    let (plan, request) = (plan::verify(bundle.path(), Unpack::All), Request::of(&[]));
    let how = (Recorded::No, OnInterrupt::Drop);
    let ended = Run::start_plan(session, &request, &plan, None, how).go_as_planned(plan).await;
    if let Ok(ExitCode::Good) = ended.code {
        super::print(&format!("{} is whole: {blobs}, {}", file.display(), size(bundle.size())));
    }
    ended.code
}

/// What a bundle says that it holds.
pub(super) async fn read(file: PathBuf) -> Result<Contents, Error> {
    blocking(move || Contents::read(Bundle::open(&file)?)).await
}

async fn inspect(file: PathBuf) -> Result<Inspection, Error> {
    Ok(Inspection::of(&read(file).await?))
}

/// Reading, hashing and writing, off the async threads.
async fn blocking<T: Send + 'static, E: Into<Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Error::of(ErrorKind::Unexpected, &panic))?.map_err(Into::into)
}

/// The artifacts of this machine's cache.
async fn artifacts(session: &Session) -> Result<BTreeSet<Digest>, Error> {
    let cache = artifact::Cache::at(&session.config.root, &session.config.artifact.cache);
    blocking(move || Ok::<_, Error>(artifact::cached(&cache))).await
}

fn answer<T: serde::Serialize>(format: Format, document: &T, text: impl Fn(&T) -> String) {
    match format {
        Format::Human => super::print(&text(document)),
        // Strings, numbers and maps with string keys: serialising them cannot fail.
        Format::Json => super::print(&serde_json::to_string_pretty(document).unwrap_or_default()),
    }
}
