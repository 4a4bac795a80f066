//! Pure: the artifacts that images need and the cache lacks, as downloads.

use std::collections::BTreeSet;

use crate::model::{ArtifactKind, ArtifactSpec, Phase, Plan, Reason, Skipped, Step, StepKind};

/// One artifact that an image needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedArtifact {
    /// Which.
    pub spec: ArtifactSpec,
    /// Whether the cache has it.
    pub place: ArtifactPlace,
}

/// Where an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactPlace {
    /// In the cache.
    Here,
    /// Elsewhere.
    Away,
}

/// Whom a download may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadReach {
    /// Servers.
    Servers,
    /// `--offline`.
    Nobody,
}

/// Each artifact once, in the order in which it is first wanted.
pub fn plan(wanted: &[WantedArtifact], reach: DownloadReach) -> Plan {
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    for WantedArtifact { spec, place } in wanted {
        if !seen.insert(&spec.file) {
            continue;
        }
        let skipped = |why| Skipped::new(Phase::Download, &spec.file, why);
        let why = match (spec.kind, place, &spec.locked, reach) {
            (ArtifactKind::Sample, ..) => {
                plan.skipped.push(skipped(Reason::SampleArtifact));
                continue;
            }
            (ArtifactKind::Release, ArtifactPlace::Here, Some(_), _) => {
                plan.skipped.push(skipped(Reason::InCache));
                continue;
            }
            (ArtifactKind::Release, ArtifactPlace::Here, None, _) => {
                Reason::ArtifactNotLocked(spec.lock_file.clone())
            }
            (ArtifactKind::Release, ArtifactPlace::Away, _, DownloadReach::Nobody) => {
                plan.skipped.push(skipped(Reason::ArtifactUnavailable));
                continue;
            }
            (ArtifactKind::Release, ArtifactPlace::Away, _, DownloadReach::Servers) => Reason::NotInCache,
        };
        plan.steps.push(Step::new(
            Phase::Download,
            &spec.file,
            StepKind::Download(Box::new(spec.clone())),
            why,
        ));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(file: &str, kind: ArtifactKind, place: ArtifactPlace, is_locked: bool) -> WantedArtifact {
        let digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let spec = ArtifactSpec {
            file: file.to_owned(),
            version: file.trim_end_matches(".zip").to_owned(),
            urls: vec![format!("https://example.com/{file}")],
            kind,
            locked: is_locked.then_some(digest),
            lock_file: "artifacts.lock".to_owned(),
        };
        WantedArtifact { spec, place }
    }

    #[test]
    fn what_the_cache_has_is_not_downloaded() {
        use ArtifactKind::{Release, Sample};
        let all = [
            wanted("1.zip", Release, ArtifactPlace::Here, true),
            wanted("2.zip", Release, ArtifactPlace::Here, false),
            wanted("3.zip", Release, ArtifactPlace::Away, true),
            wanted("4.zip", Release, ArtifactPlace::Away, false),
            wanted("3.zip", Release, ArtifactPlace::Away, true),
            wanted("5.zip", Sample, ArtifactPlace::Here, false),
        ];
        let told = |reach| {
            let plan = plan(&all, reach);
            let steps = plan.steps.iter().map(|step| format!("{} ({})", step.id, step.why));
            let skipped =
                plan.skipped.iter().map(|s| format!("{} {} ({})", s.why.outcome(), s.subject, s.why));
            steps.chain(skipped).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(told(DownloadReach::Servers), @"
        download:2.zip (in the cache, but not in artifacts.lock yet)
        download:3.zip (not in the cache)
        download:4.zip (not in the cache)
        up-to-date 1.zip (in the cache)
        up-to-date 5.zip (sample artifact, not the release)
        ");
        insta::assert_snapshot!(told(DownloadReach::Nobody), @"
        download:2.zip (in the cache, but not in artifacts.lock yet)
        up-to-date 1.zip (in the cache)
        failed 3.zip (not in the cache, and --offline forbids to download it: run once without it, or carry the file to $TMPDIR/fit-framework-cache)
        failed 4.zip (not in the cache, and --offline forbids to download it: run once without it, or carry the file to $TMPDIR/fit-framework-cache)
        up-to-date 5.zip (sample artifact, not the release)
        ");
    }
}
