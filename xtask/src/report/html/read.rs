//! From a run's folder to its page: the only part of this folder that touches files.
//!
//! A record may be cut off, half foreign or gone in part: what can be read counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::material::{Earlier, Excerpt, FormerSize, Material, PlanRecord, Tail};
use super::render::log_address;
use crate::events::secrets::Secrets;
use crate::host::inside::Folder;
use crate::model::{Event, EventKind, Failure, Outcome, Phase};
use crate::report::record::{EVENTS_FILE, LATEST, PLAN_FILE, is_id};

/// How much of a log is looked at, and how many lines of it are shown: of a step that failed, and of any other.
const FAILED_TAIL: (u64, usize) = (64 * 1024, 120);
const OTHER_TAIL: (u64, usize) = (8 * 1024, 16);

/// How much of a file is shown before and after the line that failed.
const AROUND: usize = 2;
/// A larger file is none that somebody wrote.
const LARGEST_SOURCE: u64 = 1 << 20;
/// So many letters of a line are in the error that it ended in, as long as it was not changed since.
const RECOGNISED: usize = 16;

/// Makes the page of the run `id` in `runs`, in the run's own `folder`, and gives its path.
///
/// # Errors
/// When the record cannot be read, or the page not be written.
pub fn write(folder: &Folder, runs: &Path, id: &str) -> io::Result<PathBuf> {
    let page = super::page(&material(runs, id)?).map_err(io::Error::other)?;
    folder.write(super::PAGE, page.as_bytes(), None)?;
    Ok(runs.join(id).join(super::PAGE))
}

/// The page of a run, if it was made since the last event. It is kept then: of old runs it knows sizes that no
/// record has any more.
pub fn made(runs: &Path, id: &str) -> Option<PathBuf> {
    let path = runs.join(id).join(super::PAGE);
    let since = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    (since(&path)? >= since(&runs.join(id).join(EVENTS_FILE))?).then_some(path)
}

/// The runs on record, newest first.
pub fn ids(runs: &Path) -> Vec<String> {
    let names = fs::read_dir(runs).into_iter().flatten();
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut ids: Vec<String> =
        names.filter(|name| is_id(name) && runs.join(name).join(EVENTS_FILE).is_file()).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

/// The run that `latest` names, where it is on record; else the newest that is.
pub fn latest(runs: &Path) -> Option<String> {
    let link = runs.join(LATEST);
    let named = fs::read_link(&link).ok().and_then(|path| path.into_os_string().into_string().ok());
    let named = named.or_else(|| fs::read_to_string(&link).ok()).map(|name| name.trim().to_owned());
    let ids = ids(runs);
    named.filter(|name| ids.contains(name)).or_else(|| ids.into_iter().next())
}

/// Everything that is on record of a run.
///
/// # Errors
/// When its events cannot be read.
pub fn material(runs: &Path, id: &str) -> io::Result<Material> {
    let folder = runs.join(id);
    let bytes = fs::read(folder.join(EVENTS_FILE))?;
    let events: Vec<Event> =
        bytes.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let plan = fs::read(folder.join(PLAN_FILE)).ok();
    let plan: PlanRecord = plan.and_then(|plan| serde_json::from_slice(&plan).ok()).unwrap_or_default();
    let plan = plan.by_platform();
    let (mut tails, mut excerpts) = (BTreeMap::new(), BTreeMap::new());
    let mut built = BTreeSet::new();
    for event in &events {
        let EventKind::StepFinished { phase, subject, outcome, log, failure, .. } = &event.kind else {
            continue;
        };
        if let Some(failure) = failure
            && let Some(place) = &failure.place
            && let Some(excerpt) = excerpt(runs, failure, place)
        {
            excerpts.insert(place.clone(), excerpt);
        }
        if *phase == Phase::Build {
            built.insert(subject.clone());
        }
        let most = if *outcome == Outcome::Failed { FAILED_TAIL } else { OTHER_TAIL };
        // Only what lies among the logs of this run is read, whatever the record names.
        if let Some(log) = log
            && let Some(address) = log_address(log)
            && let Ok(tail) = tail(&folder.join(address), most)
        {
            tails.insert(log.clone(), tail);
        }
    }
    let mut sized = built.clone();
    sized.extend(plan.images.iter().map(|image| image.name.clone()));
    let (earlier, sizes) = before(runs, id, built, sized);
    Ok(Material { run: id.to_owned(), events, plan, tails, excerpts, earlier, sizes })
}

/// What stands around a place of the tree, as long as it is still what failed.
fn excerpt(runs: &Path, failure: &Failure, place: &str) -> Option<Excerpt> {
    let (file, line) = place.rsplit_once(':')?;
    let failed: usize = line.parse().ok()?;
    let is_inside = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    // `target/xtask/runs` of the tree.
    let path = runs.ancestors().nth(3)?.join(file);
    if !is_inside || failed == 0 || fs::metadata(&path).ok()?.len() > LARGEST_SOURCE {
        return None;
    }
    let text = fs::read_to_string(&path).ok()?;
    let shown = text.lines().nth(failed - 1)?.trim().trim_end_matches('\\').trim_end();
    let beginning: String = shown.chars().take(RECOGNISED).collect();
    if beginning.is_empty() || !failure.causes.iter().any(|cause| cause.contains(&beginning)) {
        return None;
    }
    let first = failed.saturating_sub(AROUND).max(1);
    let lines = text.lines().skip(first - 1).take(failed + AROUND + 1 - first);
    let hidden = Secrets::default();
    let lines = lines.map(|line| hidden.redact(line).into_owned()).collect();
    Some(Excerpt { file: file.to_owned(), first, lines, failed })
}

fn tail(path: &Path, (bytes, lines): (u64, usize)) -> io::Result<Tail> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut before = length.saturating_sub(bytes);
    file.seek(SeekFrom::Start(before))?;
    let mut read = Vec::new();
    file.take(bytes).read_to_end(&mut read)?;
    let mut text = &read[..];
    if before > 0
        && let Some(end) = text.iter().position(|&b| b == b'\n')
        && end + 1 < text.len()
    {
        // Half a line is none.
        before += end as u64 + 1;
        text = &text[end + 1..];
    }
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut all: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
    let surplus = all.len().saturating_sub(lines);
    before += all.drain(..surplus).map(|line| line.len() as u64 + 1).sum::<u64>();
    Ok(Tail {
        lines: all.into_iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect(),
        before,
    })
}

/// When each of `built` was built last before this run, and how large each of `sized` was seen to be last.
fn before(
    runs: &Path,
    id: &str,
    mut built: BTreeSet<String>,
    mut sized: BTreeSet<String>,
) -> (BTreeMap<String, Earlier>, BTreeMap<String, FormerSize>) {
    let (mut earlier, mut sizes) = (BTreeMap::new(), BTreeMap::new());
    for run in ids(runs).into_iter().filter(|before| before.as_str() < id) {
        if built.is_empty() && sized.is_empty() {
            break;
        }
        let Ok(bytes) = fs::read(runs.join(&run).join(EVENTS_FILE)) else { continue };
        // The last word of a run on an image counts.
        for line in bytes.rsplit(|&b| b == b'\n') {
            let Ok(Event { kind, .. }) = serde_json::from_slice::<Event>(line) else { continue };
            let EventKind::StepFinished { phase, subject, outcome: Outcome::Done, took, size, .. } = kind
            else {
                continue;
            };
            if phase == Phase::Build && built.remove(&subject) {
                earlier.insert(subject.clone(), Earlier { run: run.clone(), took });
            }
            if let (Phase::Build | Phase::Verify, Some(bytes)) = (phase, size)
                && sized.remove(&subject)
            {
                sizes.insert(subject, FormerSize { run: run.clone(), bytes });
            }
        }
    }
    (earlier, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::RUNS_FOLDER;
    use crate::report::testing::failing_story;

    fn tail_of(content: &[u8], most: (u64, usize)) -> (Vec<String>, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        let tail = tail(file.path(), most).unwrap();
        (tail.lines, tail.before)
    }

    #[test]
    fn the_end_of_a_log() {
        let lines =
            |lines: &[&str], before| (lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>(), before);
        assert_eq!(tail_of(b"", (10, 3)), lines(&[""], 0));
        assert_eq!(tail_of(b"a\nb\n", (10, 3)), lines(&["a", "b"], 0));
        assert_eq!(tail_of(b"a\nb\nc\nd\n", (10, 2)), lines(&["c", "d"], 4));
        assert_eq!(tail_of(b"first\nsecond\nthird", (9, 9)), lines(&["third"], 13));
        assert_eq!(tail_of(b"one very long line", (4, 9)), lines(&["line"], 14));
        assert_eq!(tail_of(b"\xff\n", (10, 9)), lines(&["\u{fffd}"], 0));
    }

    fn record(runs: &Path, id: &str, events: &[Event]) {
        let folder = runs.join(id);
        fs::create_dir_all(folder.join("logs")).unwrap();
        let text: String =
            events.iter().map(|e| format!("{}\n", serde_json::to_string(e).unwrap())).collect();
        fs::write(folder.join(EVENTS_FILE), format!("{text}no json\n")).unwrap();
    }

    #[test]
    fn a_page_is_made_of_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let runs = root.path().join(RUNS_FOLDER);
        assert_eq!((ids(&runs), latest(&runs)), (vec![], None));
        assert!(material(&runs, "00000001").is_err());
        record(&runs, "00000001", &failing_story());
        record(&runs, "00000002", &failing_story());
        fs::write(runs.join("00000002/logs/build-frontend.log"), "npm ERR! code ENOTFOUND\n").unwrap();
        fs::write(runs.join("00000002/plan.json"), "{\"images\": 3}").unwrap();
        assert_eq!(ids(&runs), ["00000002", "00000001"]);
        assert_eq!(latest(&runs).as_deref(), Some("00000002"));
        fs::write(runs.join(LATEST), "00000001\n").unwrap();
        assert_eq!(latest(&runs).as_deref(), Some("00000001"));

        let found = material(&runs, "00000002").unwrap();
        assert_eq!(found.tails.len(), 1);
        let api = (&found.earlier["api"], &found.sizes["api"]);
        assert_eq!((api.0.run.as_str(), api.0.took, found.earlier.len()), ("00000001", 82_000, 1));
        assert_eq!((api.1.run.as_str(), api.1.bytes, found.sizes.len()), ("00000001", 1_200_000_000, 1));
        assert!(material(&runs, "00000001").unwrap().earlier.is_empty());

        assert_eq!(made(&runs, "00000002"), None);
        let path = write(&Folder::open(&runs.join("00000002")).unwrap(), &runs, "00000002").unwrap();
        assert_eq!(made(&runs, "00000002").as_ref(), Some(&path));
        let page = fs::read_to_string(path).unwrap();
        assert!(page.contains("same size as in run <code>00000001</code>"));
        assert_eq!(fs::read_dir(runs.join("00000002")).unwrap().count(), 4, "nothing is left beside it");
    }

    #[test]
    fn only_logs_of_the_run_are_read() {
        let root = tempfile::tempdir().unwrap();
        let runs = root.path().join(RUNS_FOLDER);
        let mut events = failing_story();
        for event in &mut events {
            if let EventKind::StepFinished { log: Some(log), .. } = &mut event.kind {
                *log = "target/xtask/runs/8d2/logs/../../../secret".to_owned();
            }
        }
        record(&runs, "00000001", &events);
        fs::write(runs.join("secret"), "hunter2").unwrap();
        assert!(material(&runs, "00000001").unwrap().tails.is_empty());
        assert!(!super::super::page(&material(&runs, "00000001").unwrap()).unwrap().contains("hunter2"));
    }
}
