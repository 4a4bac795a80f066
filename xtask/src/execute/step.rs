//! One step, done: a match on what kind it is.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::failure::StepError;
use super::pull::MakeBase;
use super::retry::{self, OnRetry};
use super::{ExecuteBundle, Execution};
use crate::artifact::How;
use crate::build::Machine;
use crate::engine::{OnProgress, Progress, patiently};
use crate::events::Emitter;
use crate::host::inside::Folder;
use crate::model::{
    BuildSpec, EventKind, Expectation, IndexSpec, Outcome, Output, PullSource, PushProof, Reference,
    RemoveFirst, Step, StepId, StepKind, Unit,
};

/// Progress of one step is told at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(80);

/// What came of a step.
#[derive(Clone, Debug)]
pub struct Done {
    /// That it is, or that nothing had to be.
    pub outcome: Outcome,
    /// What came of it, in a few words.
    pub detail: String,
    /// Bytes of the image that it made, where it made one.
    pub size: Option<u64>,
    /// What its phase comes to by it, where that is more than how many steps were done.
    pub sentence: Option<String>,
    /// What it has to say to whoever asked for it.
    pub answer: Option<String>,
}

impl Done {
    /// It is done, with this.
    pub fn because(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Done, detail: detail.into(), size: None, sentence: None, answer: None }
    }
}

pub(super) async fn run_step<E: Machine, M: MakeBase, C: ExecuteBundle<E>>(
    execution: &Execution<'_, E, M, C>,
    step: &Step,
) -> Result<Done, StepError> {
    let reporter = ProgressEvents { emitter: execution.emitter, step: &step.id, last: Mutex::new(None) };
    let tell = |progress| reporter.tell(progress);
    let retrying = |attempt, delay, cause| reporter.retrying(attempt, delay, cause);
    let engine = || execution.engine();
    match &step.kind {
        StepKind::Pull { reference, platform, sources, remove_first } => {
            let from = sources.iter().filter_map(PullSource::reference);
            execution.results.giving(from.chain([reference]));
            if *remove_first == RemoveFirst::Yes {
                engine()?.remove(reference).await?;
            }
            let pulled =
                execution.puller.pull(engine()?, reference, platform, sources, &tell, &retrying).await?;
            Ok(Done::because(pulled.to_string()))
        }
        StepKind::Download(spec) => {
            let fetched = execution.artifacts.fetch(spec, &tell, &retrying).await?;
            let outcome = if fetched.how == How::Cached { Outcome::UpToDate } else { Outcome::Done };
            Ok(Done { outcome, size: Some(fetched.found.size), ..Done::because(fetched.to_string()) })
        }
        StepKind::Tag { source, targets } => {
            execution.results.giving(targets);
            let engine = engine()?;
            for target in targets {
                engine.tag(source, target).await?;
            }
            let names: Vec<String> = targets.iter().map(Reference::familiar).collect();
            Ok(Done::because(format!("{} -> {}", source.familiar(), names.join(", "))))
        }
        StepKind::WriteFile { path, contents, was, mode } => {
            let (root, path, mode) = (execution.root.to_owned(), path.clone(), *mode);
            let (contents, was) = (contents.clone(), was.clone());
            let write = move || write_file(&root, &path, &contents, was.as_deref(), mode);
            blocking(write, |error| StepError::File(error.to_string())).await?;
            Ok(Done::because("written"))
        }
        StepKind::Build(spec) => execution.build(spec, (&tell, &retrying)).await,
        StepKind::Index(spec) => execution.index(spec, &retrying).await,
        StepKind::Verify(expectation) => execution.verify(expectation, &tell).await,
        StepKind::Push { reference, from, proof } => {
            execution.push(reference, from.as_ref(), *proof, (&tell, &retrying)).await
        }
        StepKind::StartRegistry(spec) => execution.start_registry(spec).await,
        StepKind::StopRegistry { home } => execution.stop_registry(home, &tell).await,
        StepKind::Smoke(spec) => execution.try_out(spec, &tell).await,
        StepKind::RunTest(spec) => execution.run_test(spec, &tell).await,
        StepKind::Confirm { reference } => execution.confirm(reference, &tell, &retrying).await,
        StepKind::Untag { reference } => {
            engine()?.remove(reference).await?;
            Ok(Done::because("removed"))
        }
        StepKind::GiveBack { reference, from } => {
            engine()?.give_back(reference, from).await?;
            Ok(Done::because("given back"))
        }
        StepKind::RemoveImage { id } => {
            engine()?.remove_unnamed(id).await?;
            Ok(Done::because("removed"))
        }
        StepKind::RemoveFiles { paths } => {
            let (root, paths) = (execution.root.to_owned(), paths.clone());
            let cache = execution.artifacts.cache.clone();
            let failed = |(path, cause)| StepError::Remove { path, cause };
            blocking(move || remove_files(&root, &cache, &paths), failed).await?;
            Ok(Done::because("removed"))
        }
        StepKind::RemoveContainer { id } => execution.remove_container(id, &tell).await,
        StepKind::Bundle(step) => execution.executor.execute(step, engine(), execution.cancel, &tell).await,
        StepKind::ComposeDown(call) => execution.stop_services(call).await,
        StepKind::ComposeUp { call, wait } => execution.start_services(call, *wait).await,
    }
}

/// Does what blocks on a thread of its own; `failed` says what its error means.
async fn blocking<E: Send + 'static>(
    work: impl FnOnce() -> Result<(), E> + Send + 'static,
    failed: impl FnOnce(E) -> StepError,
) -> Result<(), StepError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(failed),
        Err(panic) => Err(StepError::File(panic.to_string())),
    }
}

/// Takes progress, and failed tries that are followed by another.
pub(super) type Listeners<'a> = (OnProgress<'a>, OnRetry<'a>);

impl<E: Machine, M: MakeBase, C: ExecuteBundle<E>> Execution<'_, E, M, C> {
    async fn build(&self, spec: &BuildSpec, (tell, retrying): Listeners<'_>) -> Result<Done, StepError> {
        let engine = self.engine()?;
        self.results.giving(&spec.tags);
        let policy = self.puller.policy();
        let spec = &*self.with_pushed(spec);
        let build = retry::run(policy, || engine.build(self.root, spec, tell), retrying);
        let id = build.await.map_err(|error| StepError::Build(error, spec.dockerfile.clone()))?;
        if matches!(spec.output, Output::Push | Output::PushByDigest) {
            spec.tags.iter().for_each(|name| self.results.pushed(name, id.digest()));
        }
        // The size is for people; an image that was built stays built without it.
        let size = match spec.tags.first() {
            Some(name) => engine.inspect(name).await.ok().flatten().map(|image| image.size),
            None => None,
        };
        Ok(Done { size, ..Done::because(id.as_str()) })
    }

    async fn index(&self, spec: &IndexSpec, retrying: OnRetry<'_>) -> Result<Done, StepError> {
        let engine = self.engine()?;
        self.results.giving(&spec.names);
        let mut spec = spec.clone();
        for variant in &mut spec.variants {
            let pushed = self.results.digest_of(&variant.name);
            variant.there = pushed.map(|digest| variant.name.pinned(&digest)).or(variant.there.take());
        }
        let made = retry::run(self.puller.policy(), || engine.index(&spec), retrying).await?;
        Ok(Done::because(made.as_str()))
    }

    /// What was pushed in this run is built on by its digest, whatever its name stands for by now.
    fn with_pushed<'s>(&self, spec: &'s BuildSpec) -> Cow<'s, BuildSpec> {
        let pushed = |name: &Reference| Some(name.pinned(&self.results.digest_of(name)?));
        let is_open = |there: &&Reference| there.digest().is_none();
        if !spec.contexts.values().filter(is_open).any(|there| pushed(there).is_some()) {
            return Cow::Borrowed(spec);
        }
        let mut spec = spec.clone();
        for there in spec.contexts.values_mut().filter(|there| there.digest().is_none()) {
            *there = pushed(there).unwrap_or_else(|| there.clone());
        }
        Cow::Owned(spec)
    }

    async fn verify(&self, expectation: &Expectation, tell: OnProgress<'_>) -> Result<Done, StepError> {
        let engine = self.engine()?;
        let slow = |message| tell(Progress::Warning(message));
        let store = self.store.get_or_try_init(|| patiently(engine.observe(), &slow)).await?;
        if let Some(wrong) = expectation.unmet_in(store) {
            return Err(StepError::Unverified(wrong));
        }
        let found = expectation.names.first().and_then(|name| store.find(name));
        if let (Some(limit), Some(found)) = (expectation.size_limit, found)
            && found.size > limit
        {
            let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
            let (is, most) = (gigabytes(found.size), gigabytes(limit));
            tell(Progress::Warning(format!(
                "its {is} are more than the {most} that a base image should have"
            )));
        }
        let detail = found.map(|image| image.id.short().to_owned()).unwrap_or_default();
        Ok(Done { size: found.map(|image| image.size), ..Done::because(detail) })
    }

    async fn push(
        &self,
        reference: &Reference,
        from: Option<&Reference>,
        proof: PushProof,
        (tell, retrying): Listeners<'_>,
    ) -> Result<Done, StepError> {
        let engine = self.engine()?;
        if let Some(from) = from {
            self.results.giving([reference]);
            engine.tag(from, reference).await?;
        }
        let policy = self.puller.policy();
        let pushed = retry::run(policy, || self.push_once(engine, reference, tell), retrying).await;
        let digest = pushed.map_err(|error| StepError::Push(error, reference.clone()))?;
        self.arrived(reference, &digest, (tell, retrying)).await?;
        self.results.pushed(reference, &digest);
        match proof {
            PushProof::PulledBack => self.confirm(reference, tell, retrying).await,
            PushProof::Word => Ok(Done::because(digest.to_string())),
        }
    }
}

/// Writes a text whole or not at all, and only over the text that the plan saw.
fn write_file(
    root: &Path,
    path: &str,
    contents: &str,
    was: Option<&str>,
    mode: Option<u32>,
) -> std::io::Result<()> {
    let tree = Folder::open(root)?;
    let found = tree.read(path)?;
    let is = |text: Option<&str>| found.as_deref() == text.map(str::as_bytes);
    if is(Some(contents)) && mode.is_none() {
        return Ok(());
    }
    if !is(was) && !is(Some(contents)) {
        return Err(std::io::Error::other("it changed since the plan was made; run the command again"));
    }
    tree.write(path, contents.as_bytes(), mode)
}

/// Removes files, and folders with all that is in them, of the tree and of the cache of artifacts; a symlink goes,
/// what it leads to stays.
fn remove_files(root: &Path, cache: &Path, paths: &[String]) -> Result<(), (PathBuf, String)> {
    for path in paths {
        let full = root.join(path);
        let owner = if full.starts_with(root) { root } else { cache };
        let removed = Folder::open(owner).and_then(|folder| folder.remove(&full));
        removed.map_err(|error| (full, error.to_string()))?;
    }
    Ok(())
}

/// Turns an engine's progress into events of one step.
struct ProgressEvents<'a> {
    emitter: &'a Emitter,
    step: &'a StepId,
    last: Mutex<Option<Instant>>,
}

impl ProgressEvents<'_> {
    fn tell(&self, progress: Progress) {
        let step = self.step.clone();
        let kind = match progress {
            Progress::Moved { done, total, unit, detail } => {
                let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let now = Instant::now();
                // Instructions are few, and the one that is passed over may be the one that runs for minutes.
                let is_often = unit == Unit::Bytes;
                if is_often && last.is_some_and(|at| now.duration_since(at) < PROGRESS_EVERY) && done < total
                {
                    return;
                }
                *last = Some(now);
                EventKind::StepProgress { step, done, total, unit, detail }
            }
            Progress::Log { stream, line } => EventKind::StepLog { step, stream, line },
            Progress::Warning(message) => EventKind::StepWarning { step: Some(step), message },
            Progress::Part { name, began, took, cached, failed } => {
                let (began, took) = (milliseconds(began), milliseconds(took));
                EventKind::StepPart { step, part: name, began, took, cached, failed }
            }
        };
        self.emitter.emit(kind);
    }

    fn retrying(&self, attempt: u32, delay: Duration, cause: String) {
        let delay = milliseconds(delay);
        self.emitter.emit(EventKind::StepRetrying { step: self.step.clone(), attempt, delay, cause });
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::events::secrets::Secrets;
    use crate::events::{self, Sink, SystemClock};
    use crate::model::{Event, Phase};

    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Sink for Heard {
        fn name(&self) -> &'static str {
            "heard"
        }

        fn take(&mut self, event: &Event) -> std::io::Result<()> {
            if let EventKind::StepProgress { done, detail, .. } = &event.kind {
                let told = format!("{done} {}", detail.as_deref().unwrap_or("-"));
                self.0.lock().expect("heard").push(told);
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn bytes_are_told_now_and_then_and_instructions_always() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (emitter, events) = events::channel(Arc::new(SystemClock::start()));
        let step = StepId::new(Phase::Build, "api");
        let reporter = ProgressEvents { emitter: &emitter, step: &step, last: Mutex::new(None) };
        for (done, unit, detail) in [
            (1, Unit::Steps, "FROM base"),
            (2, Unit::Steps, "RUN that takes minutes"),
            (10, Unit::Bytes, "layer"),
            (11, Unit::Bytes, "layer"),
            (99, Unit::Bytes, "layer"),
        ] {
            reporter.tell(Progress::Moved { done, total: 99, unit, detail: Some(detail.to_owned()) });
        }
        drop(emitter);
        events.deliver(Secrets::default(), vec![Box::new(Heard(heard.clone()))]).await;
        let heard = heard.lock().expect("heard").clone();
        assert_eq!(heard, ["1 FROM base", "2 RUN that takes minutes", "99 layer"]);
    }
}
