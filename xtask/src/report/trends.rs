//! Pure: how long images take to be built, from run to run: the last time beside the median of the times before it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::columns::{Overflow, columns};
use super::history::{ImageInfo, RunInfo};
use super::text::{neutralise, size, took};
use crate::model::Outcome;

/// So many of the newest runs are looked at.
pub const WINDOW: usize = 50;
/// So many builds make a median and a sparkline.
const BUILDS: usize = 12;
/// What is slower by less than this, in milliseconds or of the median, is as fast as ever.
const NOTICEABLE: u64 = 1000;
const NOTICEABLE_PERCENT: u64 = 20;
/// So many of those that got slower are named.
const NAMED: usize = 5;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How one image fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trend {
    /// Which.
    pub image: String,
    /// How many runs dealt with it.
    pub runs: usize,
    /// In how many of them it was up to date.
    pub up_to_date: usize,
    /// Milliseconds of its builds, oldest first, the last one included.
    pub took: Vec<u64>,
    /// Milliseconds of its last build.
    pub last: Option<u64>,
    /// The median of the builds before the last; none before the second.
    pub median: Option<u64>,
    /// By how many percent of the median the last one was slower; less than 0 is faster.
    pub percent: Option<i64>,
    /// Whether it got noticeably slower.
    pub slower: bool,
    /// Bytes after its last build.
    pub size: Option<u64>,
    /// Bytes more than after the build before that; less than 0 is smaller.
    pub size_change: Option<i64>,
    /// Of the instructions of its last build those whose result was there already.
    pub cached: usize,
    /// All instructions of its last build, as far as the builder told them.
    pub parts: usize,
}

/// The trends of all images that these runs dealt with, newest run first, by name.
pub fn trends(runs: &[RunInfo]) -> Vec<Trend> {
    let mut by_image: BTreeMap<&str, Vec<&ImageInfo>> = BTreeMap::new();
    for image in runs.iter().take(WINDOW).flat_map(|run| &run.images) {
        by_image.entry(&image.image).or_default().push(image);
    }
    by_image.into_iter().map(|(name, infos)| trend(name, &infos)).collect()
}

fn trend(name: &str, infos: &[&ImageInfo]) -> Trend {
    // What was only named anew was not built, and has no size.
    let built: Vec<&&ImageInfo> = infos
        .iter()
        .filter(|info| info.outcome == Outcome::Done && info.size.is_some())
        .take(BUILDS)
        .collect();
    let last = built.first();
    let median = median(built.iter().skip(1).map(|info| info.took).collect());
    let percent = last.zip(median).and_then(|(last, median)| {
        let (last, median) = (i64::try_from(last.took).ok()?, i64::try_from(median.max(1)).ok()?);
        Some((last - median) * 100 / median)
    });
    let slower = last
        .zip(median)
        .is_some_and(|(last, median)| last.took > median + NOTICEABLE.max(median * NOTICEABLE_PERCENT / 100));
    let before = built.get(1).and_then(|info| info.size);
    let size = last.and_then(|info| info.size);
    let size_change = size
        .zip(before)
        .and_then(|(now, before)| Some(i64::try_from(now).ok()? - i64::try_from(before).ok()?));
    Trend {
        image: name.to_owned(),
        runs: infos.len(),
        up_to_date: infos.iter().filter(|info| info.outcome == Outcome::UpToDate).count(),
        took: built.iter().rev().map(|info| info.took).collect(),
        last: last.map(|info| info.took),
        median,
        percent,
        slower,
        size,
        size_change,
        cached: last.map_or(0, |info| info.cached),
        parts: last.map_or(0, |info| info.parts),
    }
}

fn median(mut times: Vec<u64>) -> Option<u64> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// For people: a line an image, those that got slower named below; nothing without images.
pub fn table(trends: &[Trend], screen: Option<usize>) -> String {
    if trends.is_empty() {
        return String::new();
    }
    let overflow = [
        Overflow::Keep,
        Overflow::Drop(1),
        Overflow::Keep,
        Overflow::Drop(2),
        Overflow::Drop(3),
        Overflow::Drop(6),
        Overflow::Drop(4),
        Overflow::Drop(5),
        Overflow::Drop(7),
    ];
    let head = ["IMAGE", "BUILT", "LAST", "MEDIAN", "CHANGE", "TREND", "SIZE", "CHANGE", "CACHED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(trends.iter().map(row));
    let mut text = columns(&overflow, &rows, screen);
    let mut slower: Vec<&Trend> = trends.iter().filter(|trend| trend.slower).collect();
    slower.sort_by_key(|trend| {
        std::cmp::Reverse(trend.last.zip(trend.median).map(|(last, usual)| last - usual))
    });
    for trend in slower.iter().take(NAMED) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "slower: {}", sentence(trend));
    }
    if slower.len() > NAMED {
        let _ = writeln!(text, "slower: {} more", slower.len() - NAMED);
    }
    text
}

/// `api took 82s, 34% more than the median of 4 builds before (61s)`
pub fn sentence(trend: &Trend) -> String {
    let name = neutralise(&trend.image);
    let Some(last) = trend.last else { return format!("{name} was not built in these runs") };
    let mut text = format!("{name} took {}", took(last));
    if let (Some(median), Some(percent)) = (trend.median, trend.percent) {
        let before = match trend.took.len() - 1 {
            1 => "the build before".to_owned(),
            n => format!("the median of {n} builds before"),
        };
        let by = match percent {
            0 => "as".to_owned(),
            p if p > 0 => format!("{p}% more than"),
            p => format!("{}% less than", -p),
        };
        let _ = write!(text, ", {by} {before} ({})", took(median));
    }
    text
}

fn row(trend: &Trend) -> Vec<String> {
    let cached = match trend.parts {
        0 => String::new(),
        parts => format!("{} of {parts}", trend.cached),
    };
    vec![
        neutralise(&trend.image).into_owned(),
        format!("{} of {}", trend.took.len(), trend.runs),
        trend.last.map(took).unwrap_or_default(),
        trend.median.map(took).unwrap_or_default(),
        trend.percent.map(|percent| format!("{percent:+}%")).unwrap_or_default(),
        sparkline(&trend.took),
        trend.size.map(size).unwrap_or_default(),
        trend.size_change.map(size_change).unwrap_or_default(),
        cached,
    ]
}

/// `+12 MB`, `-3.0 kB`; nothing where nothing changed.
pub(super) fn size_change(change: i64) -> String {
    match change {
        0 => String::new(),
        change if change < 0 => format!("-{}", size(change.unsigned_abs())),
        change => format!("+{}", size(change.unsigned_abs())),
    }
}

/// A bar for each, from the lowest to the highest; nothing for fewer than two.
fn sparkline(all: &[u64]) -> String {
    let (Some(least), Some(most)) = (all.iter().min(), all.iter().max()) else { return String::new() };
    if all.len() < 2 {
        return String::new();
    }
    let span = (most - least).max(1);
    let last = BARS.len() as u64 - 1;
    // Between the first and the last bar there is always one, so the index is in range.
    all.iter().map(|value| BARS[usize::try_from((value - least) * last / span).unwrap_or(0)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs, newest first, as `seconds/megabytes` of each build, `-` where it was up to date.
    fn runs(of: &[(&str, &str)]) -> Vec<RunInfo> {
        let count = of.iter().map(|(_, all)| all.split(' ').count()).max().unwrap_or(0);
        let info = |image: &str, text: &str| {
            let (seconds, megabytes) = text.split_once('/').unwrap_or(("0", "0"));
            let is_built = text != "-";
            ImageInfo {
                image: image.to_owned(),
                outcome: if is_built { Outcome::Done } else { Outcome::UpToDate },
                took: (seconds.parse::<f64>().unwrap() * 1000.0) as u64,
                size: is_built.then(|| megabytes.parse::<u64>().unwrap() * 1_000_000),
                reason: String::new(),
                cached: 3,
                parts: 4,
            }
        };
        let run = |at: usize| RunInfo {
            images: of.iter().filter_map(|(image, all)| Some(info(image, all.split(' ').nth(at)?))).collect(),
            ..RunInfo::default()
        };
        (0..count).map(run).collect()
    }

    #[test]
    fn the_last_build_stands_beside_those_before() {
        let all = trends(&runs(&[
            ("api", "82/1200 - 61/1188 60/1188 64/1188"),
            ("new", "5/10"),
            ("web", "3/50 3.2/60 3/60"),
            ("idle", "- - -"),
        ]));
        insta::assert_snapshot!(table(&all, None), @"
        IMAGE  BUILT   LAST  MEDIAN  CHANGE  TREND  SIZE    CHANGE  CACHED
        api    4 of 5  82s   61s     +34%    ▂▁▁█   1.2 GB  +12 MB  3 of 4
        idle   0 of 3
        new    1 of 1  5.0s                         10 MB           3 of 4
        web    3 of 3  3.0s  3.2s    -6%     ▁█▁    50 MB   -10 MB  3 of 4
        slower: api took 82s, 34% more than the median of 3 builds before (61s)
        ");
        insta::assert_snapshot!(table(&all, Some(60)), @"
        IMAGE  BUILT   LAST  MEDIAN  CHANGE  TREND  SIZE    CHANGE
        api    4 of 5  82s   61s     +34%    ▂▁▁█   1.2 GB  +12 MB
        idle   0 of 3
        new    1 of 1  5.0s                         10 MB
        web    3 of 3  3.0s  3.2s    -6%     ▁█▁    50 MB   -10 MB
        slower: api took 82s, 34% more than the median of 3 builds before (61s)
        ");
    }

    #[test]
    fn small_differences_are_none() {
        let slower = |text: &str| trends(&runs(&[("a", text)]))[0].slower;
        for (text, expected) in [
            ("2/1 1/1 1/1", false),
            ("2.1/1 1/1 1/1", true),
            ("110/1 100/1 100/1", false),
            ("130/1 100/1 100/1", true),
            ("1/1", false),
            ("0/1 0/1", false),
        ] {
            assert_eq!(slower(text), expected, "{text}");
        }
    }

    #[test]
    fn only_the_newest_runs_count() {
        let many = vec!["9/1"; WINDOW * 2].join(" ");
        let trend = &trends(&runs(&[("a", &many)]))[0];
        assert_eq!((trend.runs, trend.took.len()), (WINDOW, BUILDS));
        assert_eq!(sparkline(&[1, 1]), "▁▁");
        assert_eq!(sparkline(&[0, u64::MAX / 8, 3]), "▁█▁");
    }
}
