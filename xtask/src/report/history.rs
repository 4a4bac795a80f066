//! `cargo xtask history`: what former runs did, from their records. [`list`] reads, [`table`] and [`json`] show.
//!
//! A record may be cut off (a killed run), half foreign (another version) or unreadable: what can be read counts.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::columns::{Overflow, columns};
use super::record::{EVENTS_FILE, RUNS_FOLDER, is_id};
use super::summary::Summary;
use super::text::{neutralise, size, took};
use super::trends::{Trend, size_change};
use crate::model::{Event, EventKind, Outcome, Phase, RunStats, StepId};

/// So many runs are looked at for [`usual_times`].
const USUAL_RUNS: usize = 30;
/// So many times count.
const USUAL_TIMES: usize = 5;

/// One former run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// Its id.
    pub run: String,
    /// When it began, RFC 3339 in UTC; empty if its record does not say.
    pub at: String,
    /// What was typed.
    pub command: String,
    /// How it ended; none if it was killed or still goes on.
    pub outcome: Option<Outcome>,
    /// Its exit code.
    pub exit_code: Option<u8>,
    /// Milliseconds.
    pub took: u64,
    /// Totals.
    pub stats: RunStats,
    /// What became of each image.
    pub images: Vec<ImageInfo>,
    /// Its totals in words.
    #[serde(skip)]
    pub sentence: String,
}

/// What a run did with one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Which.
    pub image: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Milliseconds; 0 if nothing was done.
    pub took: u64,
    /// Bytes of the image that was built.
    pub size: Option<u64>,
    /// Why it was built, or was not.
    pub reason: String,
    /// Instructions of its build whose result was there already.
    #[serde(default)]
    pub cached: usize,
    /// All instructions of its build, as far as the builder told them.
    #[serde(default)]
    pub parts: usize,
}

/// Which runs to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only runs that dealt with this image, and of them only this image.
    pub image: Option<String>,
    /// At most so many, newest first.
    pub limit: Option<usize>,
}

/// The runs that are on record below `root`, newest first. No records, no runs; what cannot be read is left out.
pub fn list(root: &Path, filter: &Filter) -> Vec<RunInfo> {
    let runs = root.join(RUNS_FOLDER);
    ids(&runs)
        .into_iter()
        .filter_map(|id| {
            let bytes = fs::read(runs.join(&id).join(EVENTS_FILE)).ok()?;
            // Most runs of many know nothing of an image that is rarely built.
            let speaks_of = |image: &str| String::from_utf8_lossy(&bytes).contains(image);
            if filter.image.as_deref().is_some_and(|image| !speaks_of(image)) {
                return None;
            }
            select(read(&id, &bytes)?, filter.image.as_deref())
        })
        .take(filter.limit.unwrap_or(usize::MAX))
        .collect()
}

/// What builds usually take, in milliseconds: the median of the last few times that each was done, by its step.
pub fn usual_times(root: &Path) -> HashMap<StepId, u64> {
    let runs = root.join(RUNS_FOLDER);
    let mut times: HashMap<StepId, Vec<u64>> = HashMap::new();
    for id in ids(&runs).into_iter().take(USUAL_RUNS) {
        let Ok(text) = fs::read_to_string(runs.join(id).join(EVENTS_FILE)) else { continue };
        // Most lines are of another kind, and need not be understood.
        for line in text.lines().filter(|line| line.contains(r#""event":"step-finished""#)) {
            let Ok(event) = serde_json::from_str::<Event>(line) else { continue };
            if let EventKind::StepFinished {
                step, phase: Phase::Build, outcome: Outcome::Done, took, ..
            } = event.kind
            {
                let times = times.entry(step).or_default();
                if times.len() < USUAL_TIMES {
                    times.push(took);
                }
            }
        }
    }
    let median = |mut times: Vec<u64>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    times.into_iter().map(|(step, times)| (step, median(times))).collect()
}

/// The runs that are on record, newest first.
fn ids(runs: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(runs) else { return Vec::new() };
    let mut ids: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_id(name))
        .collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

/// One run from the bytes of its `events.ndjson`; lines that are no events of ours are passed over. None if there is
/// no event at all.
pub fn read(id: &str, bytes: &[u8]) -> Option<RunInfo> {
    let mut summary = Summary::default();
    let mut whys = HashMap::new();
    let mut parts: HashMap<StepId, (usize, usize)> = HashMap::new();
    let mut images = Vec::new();
    let mut at = None;
    let events = bytes.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice::<Event>(line).ok());
    for event in events {
        summary.take(&event);
        at.get_or_insert(event.at);
        match event.kind {
            EventKind::StepStarted { step, phase: Phase::Build, why, .. } => {
                whys.insert(step, why);
            }
            EventKind::StepFinished { step, phase: Phase::Build, subject, outcome, took, size, .. } => {
                let reason = whys.remove(&step).unwrap_or_default();
                let (cached, parts) = parts.remove(&step).unwrap_or_default();
                images.push(ImageInfo { image: subject, outcome, took, size, reason, cached, parts });
            }
            EventKind::StepSkipped { phase: Phase::Build, subject, outcome, why, .. } => {
                let (took, size, reason) = (0, None, why);
                images.push(ImageInfo { image: subject, outcome, took, size, reason, cached: 0, parts: 0 });
            }
            EventKind::StepPart { step, cached, .. } => {
                let (hits, all) = parts.entry(step).or_default();
                *hits += usize::from(cached);
                *all += 1;
            }
            _ => {}
        }
    }
    Some(RunInfo {
        run: id.to_owned(),
        at: at?,
        command: summary.command.clone().unwrap_or_default(),
        outcome: summary.outcome,
        exit_code: summary.exit_code,
        took: summary.took,
        stats: summary.stats(),
        images,
        sentence: summary.sentence(),
    })
}

fn select(mut run: RunInfo, image: Option<&str>) -> Option<RunInfo> {
    if let Some(image) = image {
        run.images.retain(|info| info.image == image);
        if run.images.is_empty() {
            return None;
        }
    }
    Some(run)
}

/// For people: a line a run; with an image, a line for each time that it was dealt with.
/// `screen` is how many columns there are to show it in; none is as many as it takes.
pub fn table(runs: &[RunInfo], image: Option<&str>, screen: Option<usize>) -> String {
    let rows: Vec<Vec<String>> = match image {
        None => runs.iter().map(run_row).collect(),
        Some(_) => image_rows(runs),
    };
    if rows.is_empty() {
        return match image {
            Some(image) => format!("no run on record dealt with `{}`\n", neutralise(image)),
            None => format!("no run on record in {RUNS_FOLDER}\n"),
        };
    }
    let head: &[&str] = match image {
        None => &["RUN", "WHEN (UTC)", "OUTCOME", "TOOK", "RESULT", "COMMAND"],
        Some(_) => &["RUN", "WHEN (UTC)", "OUTCOME", "TOOK", "SIZE", "CHANGE", "CACHED", "REASON"],
    };
    use Overflow::{Cut, Drop, Keep};
    let overflow: &[Overflow] = match image {
        None => &[Keep, Drop(1), Keep, Keep, Drop(2), Cut],
        Some(_) => &[Keep, Drop(1), Keep, Keep, Drop(2), Drop(3), Drop(4), Cut],
    };
    let head = head.iter().map(|&title| title.to_owned()).collect();
    columns(overflow, &std::iter::once(head).chain(rows).collect::<Vec<_>>(), screen)
}

/// The runs that [`json`] tells of.
///
/// # Errors
/// When the text is something else.
pub fn parse(text: &str) -> Result<Vec<RunInfo>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Document {
        runs: Vec<RunInfo>,
    }
    Ok(serde_json::from_str::<Document>(text)?.runs)
}

/// For programs: `{"version": 1, "runs": […], "images": […]}`, newest first, images by name.
pub fn json(runs: &[RunInfo], trends: &[Trend]) -> serde_json::Value {
    serde_json::json!({ "version": 1, "runs": runs, "images": trends })
}

fn run_row(run: &RunInfo) -> Vec<String> {
    let outcome = run.outcome.map_or_else(|| "unfinished".to_owned(), |outcome| outcome.to_string());
    let command = neutralise(&run.command).into_owned();
    vec![run.run.clone(), when(&run.at), outcome, took(run.took), run.sentence.clone(), command]
}

/// Newest first, each beside the build before it.
fn image_rows(runs: &[RunInfo]) -> Vec<Vec<String>> {
    let all: Vec<(&RunInfo, &ImageInfo)> =
        runs.iter().flat_map(|run| run.images.iter().map(move |image| (run, image))).collect();
    let row = |(at, (run, image)): (usize, &(&RunInfo, &ImageInfo))| {
        let before = all.iter().skip(at + 1).find_map(|(_, image)| image.size);
        let change = image
            .size
            .zip(before)
            .and_then(|(now, before)| Some(i64::try_from(now).ok()? - i64::try_from(before).ok()?));
        let cached =
            if image.parts > 0 { format!("{} of {}", image.cached, image.parts) } else { String::new() };
        vec![
            run.run.clone(),
            when(&run.at),
            image.outcome.to_string(),
            took(image.took),
            image.size.map(size).unwrap_or_default(),
            change.map(size_change).unwrap_or_default(),
            cached,
            neutralise(&image.reason).into_owned(),
        ]
    };
    all.iter().enumerate().map(row).collect()
}

/// `2024-11-21 00:08:30` of `2024-11-21T00:08:30.123Z`
fn when(at: &str) -> String {
    neutralise(at.get(..19).unwrap_or(at)).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, failing_story};
    use super::*;

    fn ndjson(events: &[Event]) -> String {
        events.iter().map(|event| format!("{}\n", serde_json::to_string(event).unwrap())).collect()
    }

    fn root_with(runs: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (id, bytes) in runs {
            let folder = root.path().join(RUNS_FOLDER).join(id);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(EVENTS_FILE), bytes).unwrap();
        }
        root
    }

    fn short_run() -> Vec<Event> {
        let mut story = Story::new();
        story.begin(1, 0).at(1).skip(
            Phase::Build,
            "api",
            Outcome::UpToDate,
            "up to date: 3 inputs unchanged",
        );
        story.end(Outcome::UpToDate, 0);
        story.events
    }

    #[test]
    fn shows_runs_and_images() {
        let full = ndjson(&failing_story());
        let cut_off = &full[..full.len() - 40];
        let noise = format!("not json\n{{\"v\":1}}\n\u{0}\n{}", ndjson(&short_run()));
        let root = root_with(&[
            ("00000001", full.as_bytes()),
            ("00000002", cut_off.as_bytes()),
            ("00000003", noise.as_bytes()),
            ("00000004", b""),
            ("00000005", b"\xff\xfe\n"),
            ("not-a-run", full.as_bytes()),
        ]);
        let runs = list(root.path(), &Filter::default());
        insta::assert_snapshot!(table(&runs, None, None), @"
        RUN       WHEN (UTC)           OUTCOME     TOOK  RESULT                                                           COMMAND
        00000003  1970-01-01 00:00:00  up-to-date  1.0s  nothing to do, 1 up to date                                      cargo xtask build-all
        00000002  1970-01-01 00:00:00  unfinished  93s   1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning  cargo xtask build-all
        00000001  1970-01-01 00:00:00  failed      93s   1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning  cargo xtask build-all
        ");
        let image = Filter { image: Some("api".to_owned()), limit: None };
        insta::assert_snapshot!(table(&list(root.path(), &image), Some("api"), None), @"
        RUN       WHEN (UTC)           OUTCOME     TOOK  SIZE    CACHED  REASON
        00000003  1970-01-01 00:00:00  up-to-date  0.0s                  up to date: 3 inputs unchanged
        00000002  1970-01-01 00:00:00  done        82s   1.2 GB  1 of 2  source changed: src/api/Cargo.lock
        00000001  1970-01-01 00:00:00  done        82s   1.2 GB  1 of 2  source changed: src/api/Cargo.lock
        ");
        let limited = list(root.path(), &Filter { image: None, limit: Some(1) });
        insta::assert_snapshot!(serde_json::to_string_pretty(&json(&limited, &[])).unwrap(), @r#"
        {
          "version": 1,
          "runs": [
            {
              "run": "00000003",
              "at": "1970-01-01T00:00:00.000Z",
              "command": "cargo xtask build-all",
              "outcome": "up-to-date",
              "exit_code": 0,
              "took": 1000,
              "stats": {
                "done": 0,
                "up_to_date": 1,
                "skipped": 0,
                "failed": 0,
                "cancelled": 0,
                "took": 1000
              },
              "images": [
                {
                  "image": "api",
                  "outcome": "up-to-date",
                  "took": 0,
                  "size": null,
                  "reason": "up to date: 3 inputs unchanged",
                  "cached": 0,
                  "parts": 0
                }
              ]
            }
          ],
          "images": []
        }
        "#);
    }

    #[test]
    fn nothing_on_record_is_said() {
        let root = tempfile::tempdir().unwrap();
        let runs = list(root.path(), &Filter::default());
        insta::assert_snapshot!(table(&runs, None, None), @"no run on record in target/xtask/runs");
        insta::assert_snapshot!(table(&runs, Some("x"), None), @"no run on record dealt with `x`");
    }

    #[test]
    fn a_usual_time_is_the_median_of_the_last_ones() {
        let run = |seconds: &[u64]| {
            let mut story = Story::new();
            for seconds in seconds {
                story.finish(Phase::Build, "api", seconds * 1000, None, "");
            }
            story.finish(Phase::Prefetch, "redis:7", 1, None, "").fail(Phase::Build, "web", "no", &[]);
            ndjson(&story.events)
        };
        let (old, new) = (run(&[90, 90, 90]), run(&[5, 1, 2, 3]));
        let root = root_with(&[("00000001", old.as_bytes()), ("00000002", new.as_bytes())]);
        let times = usual_times(root.path());
        assert_eq!(times, HashMap::from([(StepId::new(Phase::Build, "api"), 3_000)]));
    }
}
