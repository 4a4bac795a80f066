//! The record of a run on disk, always kept: `target/xtask/runs/<id>/{events.ndjson, plan.json, logs/, summary.md}`
//! below the root, and `latest` beside the runs.
//!
//! In: events, first of all sinks. Out: files. A folder is made at the start, each file when something goes into it,
//! so that a run that does nothing costs next to nothing. `events.ndjson` leaves out what a step printed (that is in
//! `logs/<step>.log`, which `StepFinished` names) and how many bytes of a pull have come. Of all runs only the
//! last stay, as many as [`Recorder::keeping`] says.
//! What cannot be written is said once; it never fails a run.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::places::Places;
use super::summary::Summary;
use super::{html, markdown};
use crate::events::Sink;
use crate::host::inside::Folder;
use crate::model::{Event, EventKind, StepId, Unit};

/// Where records lie, relative to the root.
pub const RUNS_FOLDER: &str = "target/xtask/runs";
/// Name of the link (or, where links cannot be made, of the file) that tells the newest run.
pub const LATEST: &str = "latest";
/// The events of a run.
pub const EVENTS_FILE: &str = "events.ndjson";
/// The plan of a run.
pub const PLAN_FILE: &str = "plan.json";
/// Bytes that `summary.md` may have.
const MAX_SUMMARY: usize = 1024 * 1024;

/// Longer file names are refused by some file systems (255 bytes, with room for `.log` and a number).
const MAX_STEM: usize = 200;
/// 2020-01-01: ids count from here.
const EPOCH_SECONDS: u64 = 1_577_836_800;
/// Crockford's base 32: sorts as it counts, and no letter is taken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_LENGTH: usize = 8;

/// Writes the record of one run.
#[derive(Debug)]
pub struct Recorder {
    id: String,
    runs: PathBuf,
    keep: Option<usize>,
    /// The folder of all runs and the run's own; none if they could not be made.
    folders: Option<(Folder, Folder)>,
    /// Why there is none; given away as the first event's error.
    broken: Option<io::Error>,
    events: Option<BufWriter<File>>,
    line: Vec<u8>,
    logs: HashMap<StepId, StepLogFile>,
    summary: Summary,
}

#[derive(Debug)]
struct StepLogFile {
    name: String,
    /// None once the step is over.
    file: Option<BufWriter<File>>,
}

impl Recorder {
    /// Makes the folder of a new run below `root`. Its name, the run's id, is short, sorts by time and is unique on
    /// this tree. Where no folder can be made there is still an id, and the first event fails with the cause.
    pub fn create(root: &Path, at: SystemTime) -> Self {
        let runs = root.join(RUNS_FOLDER);
        let (id, folders, broken) = match make_folder(root, at) {
            Ok((id, folders)) => (id, Some(folders), None),
            Err(error) => (format_id(milliseconds(at)), None, Some(about(&runs, error))),
        };
        Self {
            id,
            runs,
            keep: None,
            folders,
            broken,
            events: None,
            line: Vec::new(),
            logs: HashMap::new(),
            summary: Summary::default(),
        }
    }

    /// At its end only so many runs are kept, this one and the newest; otherwise all are.
    pub fn keeping(self, runs: usize) -> Self {
        Self { keep: Some(runs), ..self }
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The run's folder relative to the root; none if it could not be made.
    pub fn folder(&self) -> Option<String> {
        self.folders.is_some().then(|| format!("{RUNS_FOLDER}/{}", self.id))
    }

    /// Keeps the plan, as `plan --format json` prints it but for the inputs of images that are up to date. The caller
    /// leaves secrets out.
    pub fn write_plan(&self, json: &str) -> io::Result<()> {
        if self.folders.is_some() { self.write(PLAN_FILE, json) } else { Ok(()) }
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let written = self.own().and_then(|folder| folder.write(name, text.as_bytes(), None));
        written.map_err(|error| about(&self.path(name), error))
    }

    fn begin(&self, name: &str) -> io::Result<BufWriter<File>> {
        let file = self.own().and_then(|folder| folder.append(name));
        Ok(BufWriter::new(file.map_err(|error| about(&self.path(name), error))?))
    }

    fn own(&self) -> io::Result<&Folder> {
        let folders = self.folders.as_ref();
        folders.map(|(_, own)| own).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.runs.join(&self.id).join(name)
    }

    fn append(&mut self, event: &Event) -> io::Result<()> {
        if self.events.is_none() {
            self.events = Some(self.begin(EVENTS_FILE)?);
        }
        let Some(file) = &mut self.events else { return Ok(()) };
        self.line.clear();
        serde_json::to_writer(&mut self.line, event)?;
        self.line.push(b'\n');
        file.write_all(&self.line)
    }

    fn log(&mut self, step: &StepId, line: &str) -> io::Result<()> {
        if !self.logs.contains_key(step) {
            let name = self.free_log_name(step);
            self.logs.insert(step.clone(), StepLogFile { name, file: None });
        }
        if let Some(StepLogFile { name, file: None }) = self.logs.get(step) {
            let begun = self.begin(&format!("logs/{name}"))?;
            self.logs.entry(step.clone()).and_modify(|log| log.file = Some(begun));
        }
        let Some(file) = self.logs.get_mut(step).and_then(|log| log.file.as_mut()) else { return Ok(()) };
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")
    }

    /// Two steps may differ only in letters that a file name cannot show, or in case.
    fn free_log_name(&self, step: &StepId) -> String {
        let mut stem = step.file_stem();
        stem.truncate(MAX_STEM);
        let mut name = format!("{stem}.log");
        let mut n = 2;
        while self.logs.values().any(|log| log.name.eq_ignore_ascii_case(&name)) {
            name = format!("{stem}-{n}.log");
            n += 1;
        }
        name
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.events {
            file.flush()?;
        }
        self.logs.values_mut().filter_map(|log| log.file.as_mut()).try_for_each(Write::flush)
    }
}

impl Sink for Recorder {
    fn name(&self) -> &'static str {
        "the record of this run"
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        self.summary.take(event);
        match &event.kind {
            EventKind::StepLog { step, line, .. } => return self.log(step, line),
            EventKind::StepProgress { unit: Unit::Bytes, .. } => return Ok(()),
            EventKind::StepFinished { step, .. } => {
                if let Some(mut file) = self.logs.get_mut(step).and_then(|log| log.file.take()) {
                    file.flush()?;
                }
            }
            _ => {}
        }
        self.append(event)?;
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            self.flush()?;
            self.write("summary.md", &markdown::page(&self.summary, &Places::default(), MAX_SUMMARY))?;
            if let (Some(keep), Some((runs, _))) = (self.keep, &self.folders) {
                prune(runs, &self.id, keep);
            }
            // A run that did nothing must cost nothing; `report` makes its page when somebody asks.
            if self.summary.has_news() {
                self.own()
                    .and_then(|folder| html::read::write(folder, &self.runs, &self.id))
                    .map_err(|error| about(&self.path(html::PAGE), error))?;
            }
        }
        Ok(())
    }

    fn tick(&mut self, _elapsed: Duration) -> io::Result<()> {
        self.flush()
    }

    fn log_of(&self, step: &StepId) -> Option<String> {
        let log = self.logs.get(step)?;
        Some(format!("{RUNS_FOLDER}/{}/logs/{}", self.id, log.name))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }
}

/// Whether a folder's name is a run's id.
pub fn is_id(name: &str) -> bool {
    name.len() == ID_LENGTH && name.bytes().all(|b| ALPHABET.contains(&b))
}

fn make_folder(root: &Path, at: SystemTime) -> io::Result<(String, (Folder, Folder))> {
    let tree = Folder::open(root)?;
    let is_first = !root.join(RUNS_FOLDER).is_dir();
    let runs = tree.below(RUNS_FOLDER)?;
    // A tree that was never made for us does not ignore `target/`.
    let ignore = Path::new(RUNS_FOLDER).with_file_name(".gitignore");
    if is_first && !root.join(&ignore).exists() {
        tree.write(&ignore, b"*\n", None)?;
    }
    let mut number = milliseconds(at);
    let id = loop {
        let id = format_id(number);
        match runs.make_new(&id) {
            Ok(()) => break id,
            // Another run began in the same millisecond.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    point_latest(&runs, &id)?;
    let own = runs.below(&id)?;
    Ok((id, (runs, own)))
}

/// Replaced in one step, so that `latest` is never missing once it is there.
fn point_latest(runs: &Folder, id: &str) -> io::Result<()> {
    let new = format!(".{LATEST}-{id}");
    if runs.link(id, &new).is_err() {
        runs.write(&new, format!("{id}\n").as_bytes(), None)?;
    }
    runs.rename(&new, LATEST).inspect_err(|_| drop(runs.remove(&new)))
}

/// Removes the oldest runs beyond the last `keep`, never this one. What cannot be removed is tried again by the next run.
fn prune(runs: &Folder, current: &str, keep: usize) {
    let Ok(entries) = fs::read_dir(runs.path()) else { return };
    let mut ids: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            (is_id(&name) && entry.file_type().ok()?.is_dir()).then_some(name)
        })
        .collect();
    ids.sort_unstable();
    let surplus = ids.len().saturating_sub(keep);
    for id in ids.iter().take(surplus).filter(|id| *id != current) {
        let _ = runs.remove(id);
    }
}

fn milliseconds(at: SystemTime) -> u64 {
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX).saturating_sub(EPOCH_SECONDS * 1000)
}

/// Eight digits last until 2054.
fn format_id(mut number: u64) -> String {
    let mut digits = [b'0'; ID_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(number % 32) as usize];
        number /= 32;
    }
    digits.iter().map(|&b| char::from(b)).collect()
}

fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, failing_story};
    use super::*;
    use crate::model::{Outcome, Phase};

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS) + Duration::from_millis(milliseconds)
    }

    fn record(root: &Path, moment: u64, events: &[Event]) -> Recorder {
        let mut recorder = Recorder::create(root, at(moment)).keeping(5);
        for event in events {
            recorder.take(event).unwrap();
        }
        recorder.finish().unwrap();
        recorder
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn ids_are_short_sorted_and_unique() {
        assert_eq!([0, 31, 32, 1_000_000].map(format_id), ["00000000", "0000000z", "00000010", "0000ygj0"]);
        assert!(is_id("0000ygj0") && !is_id("latest") && !is_id("0000ygjl") && !is_id("0000ygj00"));
        let root = tempfile::tempdir().unwrap();
        let ids: Vec<_> = (0..5).map(|_| Recorder::create(root.path(), at(7)).id().to_owned()).collect();
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(ids, sorted);
        assert_eq!(
            Recorder::create(root.path(), SystemTime::UNIX_EPOCH).id(),
            "00000000",
            "a clock gone wrong"
        );
    }

    #[test]
    fn keeps_events_logs_and_summary() {
        let root = tempfile::tempdir().unwrap();
        let recorder = record(root.path(), 1, &failing_story());
        recorder.write_plan("{}").unwrap();
        let folder = root.path().join(recorder.folder().unwrap());
        assert_eq!(names(&folder), [EVENTS_FILE, "logs", "plan.json", "report.html", "summary.md"]);
        assert_eq!(names(&folder.join("logs")), ["build-frontend.log"]);
        assert_eq!(
            fs::read_to_string(folder.join("logs/build-frontend.log")).unwrap(),
            "npm ERR! code ENOTFOUND\n"
        );
        let events = fs::read_to_string(folder.join(EVENTS_FILE)).unwrap();
        assert!(!events.contains("step-log"), "{events}");
        let replayed: Vec<Event> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(Summary::of(&replayed), Summary::of(&failing_story()), "record, replay: the same summary");
        let summary = fs::read_to_string(folder.join("summary.md")).unwrap();
        assert!(summary.contains("cannot build image `frontend`"), "{summary}");
        assert_eq!(fs::read_to_string(root.path().join("target/xtask/.gitignore")).unwrap(), "*\n");
        let latest = root.path().join(RUNS_FOLDER).join(LATEST);
        assert_eq!(fs::canonicalize(latest).unwrap(), fs::canonicalize(&folder).unwrap());
    }

    #[test]
    fn a_run_that_does_nothing_makes_two_files() {
        let root = tempfile::tempdir().unwrap();
        let mut story = Story::new();
        story.begin(1, 0).skip(Phase::Build, "a", Outcome::UpToDate, "same").end(Outcome::UpToDate, 0);
        let recorder = record(root.path(), 1, &story.events);
        assert_eq!(names(&root.path().join(recorder.folder().unwrap())), [EVENTS_FILE, "summary.md"]);
    }

    #[test]
    fn steps_whose_names_look_alike_have_logs_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        let mut story = Story::new();
        let long = "x".repeat(300);
        for subject in ["a/b", "a-b", "A-b", &long] {
            story.log(Phase::Build, subject, subject);
        }
        let recorder = record(root.path(), 1, &story.events);
        let log = |subject: &str| recorder.log_of(&StepId::new(Phase::Build, subject)).unwrap();
        for subject in ["a/b", "a-b", "A-b", &long] {
            let text = fs::read_to_string(root.path().join(log(subject))).unwrap();
            assert_eq!(text, format!("{subject}\n"));
        }
        assert_eq!(recorder.log_of(&StepId::new(Phase::Build, "silent")), None);
    }

    #[test]
    fn old_runs_go_and_nothing_else_does() {
        let root = tempfile::tempdir().unwrap();
        let runs = root.path().join(RUNS_FOLDER);
        const KEEP: usize = 5;
        for n in 0..KEEP as u64 + 3 {
            fs::create_dir_all(runs.join(format_id(n))).unwrap();
        }
        fs::create_dir(runs.join("my-notes")).unwrap();
        let mut story = Story::new();
        story.end(Outcome::Done, 0);
        // An old clock: this run's own folder is among the oldest and stays all the same.
        let recorder = record(root.path(), 0, &story.events);
        let left = names(&runs);
        assert!(
            left.contains(&"my-notes".to_owned()) && left.contains(&recorder.id().to_owned()),
            "{left:?}"
        );
        assert!(!left.contains(&format_id(0)));
        assert_eq!(left.iter().filter(|name| is_id(name)).count(), KEEP);
    }

    #[test]
    fn what_cannot_be_written_is_said_once() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("target"), "a file in the way").unwrap();
        let mut recorder = Recorder::create(root.path(), at(1));
        assert_eq!(recorder.folder(), None);
        assert!(is_id(recorder.id()));
        recorder.write_plan("{}").unwrap();
        let error = recorder.take(&failing_story()[0]).unwrap_err();
        assert!(error.to_string().contains(RUNS_FOLDER), "{error}");
    }
}
