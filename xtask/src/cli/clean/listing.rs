//! What is to be removed and what is kept, section by section, as people and programs read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::model::{Plan, Reason, StepId};
use crate::report::text::{neutralise, pad, size, width};

/// Version of the JSON; it only grows within a version.
const VERSION: u32 = 1;

/// One kind of thing that can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Section {
    /// What broken-off runs left.
    Left,
    /// Images, and names of images.
    Images,
    /// Records of runs.
    Runs,
    /// What can be made again.
    Caches,
}

impl Section {
    fn title(self) -> &'static str {
        match self {
            Self::Left => "left by runs",
            Self::Images => "images",
            Self::Runs => "runs",
            Self::Caches => "caches",
        }
    }
}

/// Everything that can be removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    sections: Vec<(Section, Plan, BTreeMap<StepId, u64>)>,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    removed: bool,
    up_to_bytes: u64,
    remove: Vec<Entry<'a>>,
    kept: Vec<Kept<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    section: Section,
    kind: &'static str,
    subject: &'a str,
    bytes: u64,
    why: String,
}

#[derive(Serialize)]
struct Kept<'a> {
    section: Section,
    subject: &'a str,
    why: String,
}

impl Listing {
    /// One section more; `bytes` is what each step may free, none or 0 where it frees nothing.
    pub fn add(&mut self, section: Section, plan: Plan, bytes: BTreeMap<StepId, u64>) {
        self.sections.push((section, plan, bytes));
    }

    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.sections.iter().all(|(_, plan, _)| plan.steps.is_empty())
    }

    /// Whether something would be removed for this reason.
    pub fn has(&self, why: &Reason) -> bool {
        self.sections.iter().flat_map(|(_, plan, _)| &plan.steps).any(|step| step.why == *why)
    }

    /// All sections as one plan.
    pub fn plan(&self) -> Plan {
        let mut all = Plan::default();
        for (_, plan, _) in &self.sections {
            all.extend(plan.clone());
        }
        all
    }

    fn up_to(&self) -> u64 {
        self.sections.iter().flat_map(|(.., bytes)| bytes.values()).sum()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for (section, plan, bytes) in self.sections.iter().filter(|(_, plan, _)| !plan.steps.is_empty()) {
            let subjects: Vec<_> = plan.steps.iter().map(|step| neutralise(&step.subject)).collect();
            let widest = subjects.iter().map(|subject| width(subject)).max().unwrap_or(0);
            let total: u64 = bytes.values().sum();
            let title = section.title();
            // An image goes with its last name, where its size stands.
            let _ = match section {
                Section::Left => writeln!(text, "{title}: {}", plan.steps.len()),
                Section::Images => writeln!(text, "{title}: {}, up to {}", bytes.len(), size(total)),
                Section::Runs | Section::Caches => writeln!(text, "{title}: {}", size(total)),
            };
            for (step, subject) in plan.steps.iter().zip(&subjects) {
                let frees = bytes.get(&step.id).map(|bytes| size(*bytes)).unwrap_or_default();
                let _ = writeln!(text, "  {}  {frees:>7}  ({})", pad(subject, widest), step.why);
            }
        }
        let kept: Vec<_> = self.sections.iter().flat_map(|(_, plan, _)| &plan.skipped).collect();
        if !kept.is_empty() {
            let subjects: Vec<_> = kept.iter().map(|kept| neutralise(&kept.subject)).collect();
            let widest = subjects.iter().map(|subject| width(subject)).max().unwrap_or(0);
            let _ = writeln!(text, "kept: {}", kept.len());
            for (kept, subject) in kept.iter().zip(&subjects) {
                let why = kept.why.to_string();
                let _ = writeln!(text, "  {}  ({})", pad(subject, widest), neutralise(&why));
            }
        }
        if self.is_empty() {
            text.push_str("nothing to remove\n");
        } else {
            let _ = writeln!(text, "in all: up to {}", size(self.up_to()));
        }
        text
    }

    /// For programs.
    pub fn json(&self, removed: bool) -> String {
        let mut document = Document {
            version: VERSION,
            removed,
            up_to_bytes: self.up_to(),
            remove: Vec::new(),
            kept: Vec::new(),
        };
        for (section, plan, bytes) in &self.sections {
            document.remove.extend(plan.steps.iter().map(|step| Entry {
                section: *section,
                kind: step.kind.name(),
                subject: &step.subject,
                bytes: bytes.get(&step.id).copied().unwrap_or(0),
                why: step.why.to_string(),
            }));
            document.kept.extend(plan.skipped.iter().map(|kept| Kept {
                section: *section,
                subject: &kept.subject,
                why: kept.why.to_string(),
            }));
        }
        // Strings and numbers: serialising them cannot fail.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Phase, Reason, Skipped, Step, StepKind};

    fn plan(steps: &[(&str, StepKind, Reason)], kept: &[(&str, Reason)]) -> Plan {
        let step = |(subject, kind, why): &(&str, StepKind, Reason)| {
            Step::new(Phase::CleanUp, *subject, kind.clone(), why.clone())
        };
        let skip = |(subject, why): &(&str, Reason)| Skipped::new(Phase::CleanUp, *subject, why.clone());
        Plan {
            steps: steps.iter().map(step).collect(),
            skipped: kept.iter().map(skip).collect(),
            ..Plan::default()
        }
    }

    fn listing() -> Listing {
        let untag = |name: &str| StepKind::Untag { reference: name.parse().expect("a name") };
        let files = StepKind::RemoveFiles { paths: vec!["x".to_owned()] };
        let unnamed =
            StepKind::RemoveImage { id: format!("sha256:{}", "a".repeat(64)).parse().expect("an ID") };
        let images = plan(
            &[
                ("api:v1", untag("api:v1"), Reason::Asked),
                ("aaaaaaaaaaaa (w\u{1b}[2Jeb)", unnamed, Reason::Superseded("web".to_owned())),
            ],
            &[("old:1", Reason::InUse("container web-1".to_owned()))],
        );
        let bytes = [
            (StepId::new(Phase::CleanUp, "api:v1"), 420_000_000),
            (StepId::new(Phase::CleanUp, "aaaaaaaaaaaa (w\u{1b}[2Jeb)"), 0),
        ];
        let runs = plan(&[("records of 2 runs, a to b", files, Reason::BeyondKept(50))], &[]);
        let of_runs = [(StepId::new(Phase::CleanUp, "records of 2 runs, a to b"), 3000)];
        let mut listing = Listing::default();
        listing.add(Section::Left, Plan::default(), BTreeMap::new());
        listing.add(Section::Images, images, bytes.into());
        listing.add(Section::Runs, runs, of_runs.into());
        listing
    }

    #[test]
    fn people_see_what_goes_and_what_stays() {
        insta::assert_snapshot!(listing().text(), @r"
        images: 2, up to 420 MB
          api:v1               420 MB  (asked for)
          aaaaaaaaaaaa (web)      0 B  (superseded: web was built again)
        runs: 3.0 kB
          records of 2 runs, a to b   3.0 kB  (older than the last 50 runs)
        kept: 1
          old:1  (in use: container web-1)
        in all: up to 420 MB
        ");
        assert_eq!(Listing::default().text(), "nothing to remove\n");
    }

    #[test]
    fn programs_see_the_same() {
        let document: serde_json::Value = serde_json::from_str(&listing().json(true)).expect("JSON");
        assert_eq!((&document["version"], &document["removed"]), (&1.into(), &true.into()));
        assert_eq!(document["up_to_bytes"], 420_003_000);
        insta::assert_snapshot!(document["remove"][0], @r#"{"section":"images","kind":"untag","subject":"api:v1","bytes":420000000,"why":"asked for"}"#);
        insta::assert_snapshot!(document["kept"][0], @r#"{"section":"images","subject":"old:1","why":"in use: container web-1"}"#);
    }
}
