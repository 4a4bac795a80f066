//! `bundle load`: proves a bundle, and gives this machine what it lacks of it: images and names to the engine, artifacts
//! to their cache, files to the tree. Nothing is touched before all of it is known to be right, and the engine is as it
//! was when a load fails or is interrupted.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::executor::store;
use super::{artifacts, read};
use crate::artifact;
use crate::bundle::completed::{Completed, complete};
use crate::bundle::contents::Contents;
use crate::bundle::deliver::{Delivered, deliver};
use crate::bundle::displaced::{self, Remedy};
use crate::bundle::inventory::{self, Inventory};
use crate::bundle::layout::EntryName;
use crate::bundle::load::LoadPlan;
use crate::bundle::manifest::FileRecord;
use crate::bundle::plan;
use crate::bundle::verify::Verified;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::cli::pipeline;
use crate::cli::run::{OnInterrupt, Recorded, Run};
use crate::cli::session::{Changes, Session};
use crate::engine::{AnyEngine, OnProgress, Progress, Store as _};
use crate::execute::Done;
use crate::host::inside::Folder;
use crate::model::{Digest, Outcome, Plan, Reference, Unit, counted};
use crate::plan::Request;
use crate::report::text::size;

/// How many things that a receiver lacks are told.
const MOST_LACKS: usize = 20;

/// What is known before anything is done.
struct LoadFacts {
    contents: Contents,
    engine: AnyEngine,
    has: Inventory,
    plan: LoadPlan,
}

impl LoadFacts {
    fn steps(&self) -> Plan {
        plan::load(self.contents.bundle().path(), self.plan.layers.clone())
    }
}

/// `bundle load --dry-run`
pub(super) async fn show(session: &Session, file: PathBuf) -> Result<ExitCode, Error> {
    let facts = look(session, file).await?;
    let steps = pipeline::steps_text(session, &facts.steps());
    crate::cli::print(&format!("{steps}\n{}", facts.plan.text(&size)));
    Ok(ExitCode::Good)
}

/// `bundle load`
pub(super) async fn load_bundle(session: &Session, file: PathBuf) -> Result<ExitCode, Error> {
    let looking = async {
        put_right(&session.connect().await?).await?;
        look(session, file).await
    };
    let (_lock, facts) = session.prepare(Changes::Yes, looking).await?;
    let (steps, request) = (facts.steps(), Request::of(&[]));
    let engine = Some((facts.engine, facts.has.engine));
    let how = (Recorded::Yes, OnInterrupt::PutBack);
    let ended = Run::start_plan(session, &request, &steps, engine, how).go_as_planned(steps).await;
    ended.report.answers.iter().for_each(|answer| crate::cli::print(answer));
    ended.code
}

/// Undoes what a load that was killed left.
async fn put_right(engine: &AnyEngine) -> Result<(), Error> {
    for (displaced, remedy) in displaced::left(engine, &engine.observe().await?).await? {
        let name = displaced.name.familiar();
        match remedy {
            Remedy::GiveBack => {
                displaced.give_back(engine).await?;
                crate::cli::say(&format!("{name} is again what it was before a load that was killed"));
            }
            Remedy::LetGo => displaced.let_go(engine).await?,
        }
    }
    Ok(())
}

/// Reads what the bundle says and what this machine has. A delta is for a machine that has what it leaves out.
async fn look(session: &Session, file: PathBuf) -> Result<LoadFacts, Error> {
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
    Ok(LoadFacts { contents, engine, has, plan })
}

/// Gives this machine what it lacks of a bundle, and says what that was. The store is asked once more: it took its time to
/// read all of the bundle.
pub(super) async fn load(
    session: &Session,
    engine: &AnyEngine,
    verified: Verified,
    cancel: &CancellationToken,
    tell: OnProgress<'_>,
) -> Result<Done, Error> {
    let interrupted = || Error::told(ErrorKind::Interrupted);
    let total = verified.unpacked_sizes().values().sum();
    let on_progress = |progress: Progress| match progress {
        Progress::Moved { done, .. } => {
            tell(Progress::Moved { done, total, unit: Unit::Bytes, detail: None });
        }
        Progress::Warning(message) => tell(Progress::Warning(message)),
        _ => {}
    };
    let bundle = verified.contents().bundle().clone();
    let sizes = verified.unpacked_sizes().clone();
    let root = session.config.root.clone();
    let store = store(session)?;
    let held = |digest: &Digest| bundle.size_of(&EntryName::Blob(digest.clone())).is_some();
    let cache = artifact::Cache::at(&root, &session.config.artifact.cache);
    let preparing = async {
        // What can fail comes before the engine is touched.
        let has = inventory::take(engine, artifacts(session).await?).await?;
        let named_images = LoadPlan::of(verified.contents(), &has).named_images();
        let named_images = complete(engine, &store, &held, &has, named_images, &on_progress).await?;
        let keeping = super::blocking(move || Ok::<_, Error>((keep_artifacts(&verified, &cache)?, verified)));
        Ok((has, named_images, keeping.await?))
    };
    let prepared: Result<_, Error> = cancel.run_until_cancelled(preparing).await.ok_or_else(interrupted)?;
    let (has, named_images, (mut kept, verified)) = prepared?;
    let blobs = Completed { bundle: bundle.clone(), store };
    let done = deliver(engine, &blobs, &named_images, has.into(), &sizes, cancel, &on_progress).await?;
    kept.extend(super::blocking(move || Ok::<_, Error>(keep_files(&verified, &root))).await?);
    for warning in kept.iter().filter_map(|kept| kept.as_ref().err()) {
        tell(Progress::Warning(warning.clone()));
    }
    let outcome = if done.loaded.is_empty() { Outcome::UpToDate } else { Outcome::Done };
    let (sentence, answer) = (Some(sentence(&done)), Some(answer(&done, kept)));
    Ok(Done { outcome, sentence, answer, ..Done::because("") })
}

fn answer(done: &Delivered, kept: Vec<Kept>) -> String {
    let lines = |word: &str, names: &[Reference]| -> String {
        names.iter().map(|name| format!("{word} {}\n", name.familiar())).collect()
    };
    let mut text = lines("loaded ", &done.loaded);
    text.push_str(&lines("named  ", &done.named));
    text.push_str(&lines("unnamed", &done.unnamed));
    kept.into_iter().flatten().flatten().for_each(|path| text.push_str(&format!("wrote   {path}\n")));
    text + &sentence(done)
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
