//! `bundle load`: proves a bundle, and gives this machine what it lacks of it: images and names to the engine, artifacts
//! to their cache, files to the tree. Nothing is touched before all of it is known to be right, and the engine is as it
//! was when a load fails or is interrupted.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::{artifacts, prove, read};
use crate::artifact;
use crate::bundle::BLOBS;
use crate::bundle::completed::{Completed, complete};
use crate::bundle::contents::Contents;
use crate::bundle::deliver::{Delivered, deliver};
use crate::bundle::inspect::counted;
use crate::bundle::inventory::{self, Inventory};
use crate::bundle::layout::EntryName;
use crate::bundle::load::LoadPlan;
use crate::bundle::manifest::FileRecord;
use crate::bundle::store::Store;
use crate::bundle::verify::{Unpack, Verified};
use crate::bundle::waiting::{self, Remedy};
use crate::cli::activity::{Activity, Recorded, Work, file_name};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::cli::interrupt::or_interrupted;
use crate::cli::session::Session;
use crate::engine::{AnyEngine, Progress, Store as _};
use crate::host::inside::Folder;
use crate::model::{Digest, Outcome, Phase, Reference};
use crate::report::text::size;

/// How many things that a receiver lacks are told.
const MOST_LACKS: usize = 20;

/// What is known before anything is done.
struct Outlook {
    contents: Contents,
    engine: AnyEngine,
    has: Inventory,
    plan: LoadPlan,
}

/// `bundle load --dry-run`
pub(super) async fn show(session: &Session, file: PathBuf) -> Result<ExitCode, Error> {
    let outlook = look(session, file).await?;
    crate::cli::print(&outlook.plan.text(&size));
    Ok(ExitCode::Good)
}

/// `bundle load`
pub(super) async fn load(session: &Session, file: PathBuf) -> Result<ExitCode, Error> {
    let _lock = session.lock().await?;
    let looking = async {
        put_right(&session.connect().await?).await?;
        look(session, file).await
    };
    let Some(outlook) = or_interrupted(looking).await else {
        return Err(Error::told(ErrorKind::Interrupted));
    };
    let outlook = outlook?;
    let engine = outlook.has.engine.clone();
    let mut activity = Activity::start(session, Recorded::Yes, engine, &[Phase::Verify, Phase::Load]);
    let (cancel, watch) = activity.work.cancelled_by_interrupts();
    let result = work(session, &mut activity.work, outlook, &cancel).await;
    // Nobody is told anything any more once it is told how it ended.
    drop(watch);
    crate::cli::print(&activity.finish(result).await?);
    Ok(ExitCode::Good)
}

/// Undoes what a load that was killed left.
async fn put_right(engine: &AnyEngine) -> Result<(), Error> {
    for (waiting, remedy) in waiting::left(engine, &engine.observe().await?).await? {
        let name = waiting.name.familiar();
        match remedy {
            Remedy::GiveBack => {
                waiting.give_back(engine).await?;
                crate::cli::say(&format!("{name} is again what it was before a load that was killed"));
            }
            Remedy::LetGo => waiting.let_go(engine).await?,
        }
    }
    Ok(())
}

/// Reads what the bundle says and what this machine has. A delta is for a machine that has what it leaves out.
async fn look(session: &Session, file: PathBuf) -> Result<Outlook, Error> {
    let contents = read(file).await?;
    let engine = session.connect().await?;
    let has = inventory::take(&engine, artifacts(session).await?).await?;
    let lacks = has.lacking(&contents);
    if !lacks.is_empty() {
        let what = format!("{} is a delta for another machine", contents.bundle().path().display());
        let told = lacks.iter().take(MOST_LACKS).map(|lack| format!("not here: {lack}"));
        let error = told.fold(Error::new(ErrorKind::NotHere, what), Error::because);
        let rest = lacks.len().saturating_sub(MOST_LACKS);
        let error = if rest > 0 { error.because(format!("and {rest} more")) } else { error };
        return Err(error
            .hint("`cargo xtask bundle inventory -o FILE` here, and `cargo xtask bundle create --since FILE` there")
            .hint("or load the bundle first that it follows on"));
    }
    let plan = LoadPlan::of(&contents, &has);
    Ok(Outlook { contents, engine, has, plan })
}

/// Proves, delivers, and says what was done.
async fn work(
    session: &Session,
    activity: &mut Work,
    outlook: Outlook,
    cancel: &CancellationToken,
) -> Result<String, Error> {
    let Outlook { contents, engine, has, plan } = outlook;
    let name = file_name(contents.bundle().path());
    let interrupted = || Error::told(ErrorKind::Interrupted);
    let proving = prove(activity, contents, Unpack::Only(plan.layers.clone()));
    let verified = cancel.run_until_cancelled(proving).await.ok_or_else(interrupted)??;
    activity.begin_phase(Phase::Load, 1);
    let step = activity.begin(Phase::Load, &name, "asked for");
    let total = verified.unpacked_sizes().values().sum();
    let tell = activity.gauge(&step, total);
    let on_progress = |progress: Progress| match progress {
        Progress::Moved { done, .. } => tell(done),
        Progress::Warning(message) => activity.warn(message),
        _ => {}
    };
    let bundle = verified.contents().bundle().clone();
    let sizes = verified.unpacked_sizes().clone();
    let root = session.config.root.clone();
    let store = Folder::open(&root).and_then(|tree| Store::open(&tree, BLOBS)).map_err(|error| {
        Error::of(ErrorKind::File, &error).context(format!("cannot open {}", root.join(BLOBS).display()))
    })?;
    let held = |digest: &Digest| bundle.size_of(&EntryName::Blob(digest.clone())).is_some();
    let cache = artifact::Cache::at(&root, &session.config.artifact.cache);
    let preparing = async {
        // What can fail comes before the engine is touched.
        let parcels = complete(&engine, &store, &held, &has, plan.parcels(), &on_progress).await?;
        let keeping = super::blocking(move || Ok::<_, Error>((keep_artifacts(&verified, &cache)?, verified)));
        Ok((parcels, keeping.await?))
    };
    let prepared: Result<_, Error> = cancel.run_until_cancelled(preparing).await.ok_or_else(interrupted)?;
    let (parcels, (mut kept, verified)) = prepared?;
    let blobs = Completed { bundle: bundle.clone(), store };
    let done = deliver(&engine, &blobs, &parcels, has.into(), &sizes, cancel, &on_progress).await?;
    kept.extend(super::blocking(move || Ok::<_, Error>(keep_files(&verified, &root))).await?);
    for warning in kept.iter().filter_map(|kept| kept.as_ref().err()) {
        activity.warn(warning.clone());
    }
    let summary = sentence(&done);
    activity.end(step, if done.loaded.is_empty() { Outcome::UpToDate } else { Outcome::Done }, String::new());
    activity.end_phase(Phase::Load, summary.clone());
    let mut text = String::new();
    let lines = |word: &str, names: &[Reference]| -> String {
        names.iter().map(|name| format!("{word} {}\n", name.familiar())).collect()
    };
    text.push_str(&lines("loaded ", &done.loaded));
    text.push_str(&lines("named  ", &done.named));
    text.push_str(&lines("unnamed", &done.unnamed));
    kept.into_iter().flatten().flatten().for_each(|path| text.push_str(&format!("wrote   {path}\n")));
    text.push_str(&summary);
    Ok(text)
}

fn sentence(done: &Delivered) -> String {
    let mut parts = vec![format!("{} loaded", counted(done.loaded.len(), "image"))];
    if !done.named.is_empty() {
        parts.push(format!("{} given", counted(done.named.len(), "name")));
    }
    parts.push(format!("{} here already", done.present));
    if !done.unnamed.is_empty() {
        let names = counted(done.unnamed.len(), "name");
        parts.push(format!("{names} with a digest not given: engines give these only to what they pull"));
    }
    parts.join(", ")
}

/// What was written (its path), was there (none), or stays out, with why.
type Kept = Result<Option<String>, String>;

/// Artifacts go to their cache.
fn keep_artifacts(verified: &Verified, cache: &artifact::Cache) -> Result<Vec<Kept>, Error> {
    let contents = verified.contents();
    let bundle = contents.bundle();
    let manifest = contents.manifest();
    let from = bundle.path().display().to_string();
    let mut kept = Vec::new();
    for record in &manifest.artifacts {
        let digest = &record.blob.digest;
        if manifest.requires.artifacts.contains(digest) {
            continue;
        }
        let failed = |error: &dyn std::error::Error| {
            Error::of(ErrorKind::File, error).context(format!("cannot keep {}", record.file))
        };
        let had = artifact::by_digest(cache, digest).map_err(|error| failed(&error))?.is_some();
        if !had {
            let mut content =
                bundle.read(&EntryName::Blob(digest.clone())).map_err(|error| failed(&error))?;
            artifact::adopt(cache, digest, &from, &mut content).map_err(|error| failed(&error))?;
        }
        kept.push(Ok((!had).then(|| record.file.clone())));
    }
    Ok(kept)
}

/// Files go to the tree; one that it has in another form is the tree's.
fn keep_files(verified: &Verified, root: &Path) -> Vec<Kept> {
    let contents = verified.contents();
    let keep = |record: &FileRecord| {
        let mut bytes = Vec::new();
        let content = contents.bundle().read(&EntryName::Blob(record.blob.digest.clone()));
        let read = content.and_then(|mut content| std::io::Read::read_to_end(&mut content, &mut bytes));
        let written = read.and_then(|_| write_new(root, &record.path, &bytes));
        written.map_err(|error| format!("{} was not written: {error}", record.path))
    };
    contents.manifest().files.iter().map(keep).collect()
}

/// Writes a file that the tree lacks. What is there stays as it is.
fn write_new(root: &Path, path: &str, bytes: &[u8]) -> std::io::Result<Option<String>> {
    let tree = Folder::open(root)?;
    match tree.read(path)? {
        Some(found) if found == bytes => Ok(None),
        Some(_) => Err(std::io::Error::other("the tree has another one, which stays")),
        None => tree.write_new(path, bytes).map(|()| Some(path.to_owned())),
    }
}
