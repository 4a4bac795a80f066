//! Pure: which instructions run again when images are rebuilt here, why, and which of those need a network.
//!
//! In: the lineages of an image as it is now, and what the store's kept stages say that they were made of. Out: a
//! [`Forecast`]. What is certain may be refused before anything starts; what is only possible is said.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::lineage::{Lineage, LineageStep, StepRecord};
use super::network::Need;
use crate::model::ImageName;

/// What rebuilding one image comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Which.
    pub image: ImageName,
    /// Instructions that run something and are going to run again, by stage and line.
    pub reruns: Vec<Rerun>,
}

/// An instruction that is going to run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rerun {
    /// `src/api/Dockerfile:7`
    pub place: String,
    /// Its stage's name, or position.
    pub stage: String,
    /// Its first line.
    pub instruction: String,
    /// Why it runs.
    #[serde(serialize_with = "as_text")]
    pub cause: Cause,
    /// Whether that is sure.
    pub certainty: Certainty,
    /// What it asks of a network.
    #[serde(serialize_with = "as_text")]
    pub need: Need,
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// How sure a forecast is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// It depends on what other stages come to, or on what the builder itself remembers.
    Possible,
    /// Something before it in its own stage has changed.
    Certain,
}

/// Why an instruction runs again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Files that an instruction reads are others.
    Files {
        /// Where that instruction is.
        place: String,
        /// Its keyword.
        keyword: String,
        /// The files, as far as they are known.
        names: Vec<String>,
    },
    /// An instruction is another one, or new.
    Instruction {
        /// Where it is.
        place: String,
    },
    /// A base image is another one.
    Base {
        /// Where it is named.
        place: String,
        /// `FROM debian:12`
        shown: String,
    },
    /// A stage that it copies from is made again.
    Stage(String),
    /// Nothing here says what the stage was made of.
    NoRecord(String),
    /// The stage was kept by an earlier release of this program, which wrote base images down otherwise.
    FormerRecord(String),
    /// The stage was kept by another generation of builders: which one made it, and which one is here.
    OtherBuilder(String, String),
    /// It asks a server at every build.
    AlwaysAsks,
}

/// What is known of how a kept stage was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptRecord {
    /// Its instructions.
    Known(Vec<StepRecord>),
    /// The same, as an earlier release of this program wrote it down: what images are is not to be compared.
    Former(Vec<StepRecord>),
    /// It is not here, or does not say.
    Absent,
    /// It is of no use to the builder here: which one made it, and which one is here.
    OtherBuilder(String, String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { place, keyword, names } => match names.as_slice() {
                [] => write!(f, "files that {keyword} at {place} reads have changed"),
                [one] => write!(f, "{one} has changed ({keyword} at {place})"),
                [one, two] => write!(f, "{one} and {two} have changed ({keyword} at {place})"),
                [one, rest @ ..] => {
                    write!(f, "{one} and {} more have changed ({keyword} at {place})", rest.len())
                }
            },
            Self::Instruction { place } => write!(f, "the instruction at {place} has changed"),
            Self::Base { place, shown } => write!(f, "`{shown}` at {place} is another image now"),
            Self::Stage(label) => write!(f, "stage `{label}` is made again"),
            Self::OtherBuilder(made, here) => {
                write!(f, "the stage was kept by {made}, and the builder of {here} does not take that over")
            }
            Self::FormerRecord(label) => write!(
                f,
                "another version of xtask kept stage `{label}`, and what it stood on cannot be compared"
            ),
            Self::NoRecord(label) => write!(f, "no kept image of stage `{label}` is here"),
            Self::AlwaysAsks => f.write_str("a server is asked at every build; `--checksum` spares that"),
        }
    }
}

impl Forecast {
    /// What is sure to run and to need a network: the rebuild cannot work here.
    pub fn blockers(&self) -> impl Iterator<Item = &Rerun> {
        let is_sure =
            |rerun: &&Rerun| rerun.certainty == Certainty::Certain && matches!(rerun.need, Need::Yes(_));
        self.reruns.iter().filter(is_sure)
    }
}

impl Rerun {
    /// Whether people want to know: it is sure to run, or if it does it may need a network.
    pub fn is_worth_telling(&self) -> bool {
        self.certainty == Certainty::Certain || self.need != Need::Unknown
    }
}

impl fmt::Display for Rerun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sure = if self.certainty == Certainty::Certain { "runs again" } else { "may run again" };
        write!(f, "{}: `{}` {sure}: {}; {}", self.place, self.instruction, self.cause, self.need)
    }
}

/// Where the first difference of a lineage is.
enum Since {
    Never,
    Step(usize, Cause),
    Unknown(Cause),
}

/// What runs again of one image. `recorded` tells what a kept stage was made of.
pub fn forecast(
    image: &ImageName,
    dockerfile: &str,
    lineages: &[Lineage],
    recorded: impl Fn(&Lineage) -> KeptRecord,
) -> Forecast {
    let place = |step: &LineageStep| format!("{dockerfile}:{}", step.line);
    let since: Vec<Since> =
        lineages.iter().map(|lineage| first_change(lineage, recorded(lineage), &place)).collect();
    let mut spread = Spread::default();
    for _ in 0..=lineages.len() {
        let before = spread.moved.len();
        lineages.iter().zip(&since).for_each(|(lineage, since)| spread.take(lineage, since));
        if spread.moved.len() == before {
            break;
        }
    }
    let reruns = spread
        .found
        .into_values()
        .filter_map(|(step, cause, certainty)| {
            Some(Rerun {
                place: place(step),
                stage: step.stage_label.clone(),
                instruction: step.shown.clone(),
                cause,
                certainty,
                need: step.need.clone()?,
            })
        })
        .collect();
    Forecast { image: image.clone(), reruns }
}

/// What runs again, as far as it is known, over all stages of an image.
#[derive(Default)]
struct Spread<'a> {
    /// Stages whose result may be another one, by position; what copies from them may run again, and so on.
    moved: BTreeMap<usize, String>,
    /// By stage and line.
    found: BTreeMap<(usize, u32), (&'a LineageStep, Cause, Certainty)>,
}

impl<'a> Spread<'a> {
    fn take(&mut self, lineage: &'a Lineage, since: &Since) {
        let mut reason: Option<(Cause, Certainty)> = None;
        for (at, step) in lineage.steps.iter().enumerate() {
            let here = match since {
                Since::Step(first, cause) if at >= *first => Some((cause.clone(), Certainty::Certain)),
                Since::Unknown(cause) => Some((cause.clone(), Certainty::Possible)),
                _ if step.always_asks => Some((Cause::AlwaysAsks, Certainty::Certain)),
                _ => None,
            };
            if let Some(here) = here
                && reason.as_ref().is_none_or(|(_, sure)| *sure < here.1)
            {
                reason = Some(here);
            }
            if reason.is_none()
                && let Some(label) = step.from.iter().find_map(|stage| self.moved.get(stage))
            {
                reason = Some((Cause::Stage(label.clone()), Certainty::Possible));
            }
            let Some((cause, certainty)) = &reason else { continue };
            self.moved.entry(step.stage).or_insert_with(|| step.stage_label.clone());
            let place = (step.stage, step.line);
            if self.found.get(&place).is_none_or(|(.., sure)| sure < certainty) {
                self.found.insert(place, (step, cause.clone(), *certainty));
            }
            // The answer may be the same as last time; then nothing after it runs.
            if *cause == Cause::AlwaysAsks {
                reason = Some((Cause::AlwaysAsks, Certainty::Possible));
            }
        }
    }
}

fn first_change(lineage: &Lineage, record: KeptRecord, place: &dyn Fn(&LineageStep) -> String) -> Since {
    match record {
        KeptRecord::Known(then) => first_difference(&lineage.steps, &then, place, |_| true),
        // A base that is another one cannot be told from one that is called otherwise.
        KeptRecord::Former(then) => {
            match first_difference(&lineage.steps, &then, place, |step| !step.names_images) {
                Since::Never => Since::Unknown(Cause::FormerRecord(lineage.label.clone())),
                since => since,
            }
        }
        KeptRecord::OtherBuilder(made, here) => Since::Step(0, Cause::OtherBuilder(made, here)),
        KeptRecord::Absent => Since::Unknown(Cause::NoRecord(lineage.label.clone())),
    }
}

fn first_difference(
    now: &[LineageStep],
    then: &[StepRecord],
    place: &dyn Fn(&LineageStep) -> String,
    is_comparable: impl Fn(&LineageStep) -> bool,
) -> Since {
    for (at, step) in now.iter().enumerate() {
        let Some(old) = then.get(at) else {
            return Since::Step(at, Cause::Instruction { place: place(step) });
        };
        if is_comparable(step) && step.record.text != old.text {
            let cause = if step.keyword == "FROM" {
                Cause::Base { place: place(step), shown: step.shown.clone() }
            } else {
                Cause::Instruction { place: place(step) }
            };
            return Since::Step(at, cause);
        }
        if step.record.files != old.files {
            let names = changed_names(&step.record.named, &old.named);
            return Since::Step(
                at,
                Cause::Files { place: place(step), keyword: step.keyword.clone(), names },
            );
        }
    }
    Since::Never
}

/// Names whose digests differ; none where one side has too many files to name them.
fn changed_names(now: &BTreeMap<String, String>, then: &BTreeMap<String, String>) -> Vec<String> {
    if now.is_empty() || then.is_empty() {
        return Vec::new();
    }
    let changed = now.iter().filter(|(name, digest)| then.get(*name) != Some(digest)).map(|(name, _)| name);
    let gone = then.keys().filter(|name| !now.contains_key(*name));
    changed.chain(gone).cloned().collect()
}
