//! Pure: a plan as people and programs read it: text, JSON (append-only, described in `docs/cli.md`), dot.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::build::{Assessment, Contexts};
use super::index;
use crate::model::{
    self, Diagnostic, Digest, Identity, Image, ImageId, ImageName, ImageSource, ImageState, Network,
    NetworkVerdict, Observed, Phase, Plan, Platform, Reason, Reference, StepId, StepKind,
};
use crate::read::graph::ImageGraph;

/// Version of the JSON below; it only grows within a version.
const VERSION: u32 = 1;

/// A plan with everything that it was made from.
#[derive(Clone, Debug, Serialize)]
pub struct PlanDocument {
    /// 1.
    pub version: u32,
    /// The network that the plan is for; none when no registry is asked.
    pub network: Option<Network>,
    /// The selected images, in build order.
    pub images: Vec<ImageEntry>,
    /// Every external base image, once, normalised.
    pub base_images: Vec<Reference>,
    /// The image IDs of those that the store has, by normalised reference.
    pub base_image_ids: BTreeMap<String, ImageId>,
    /// What would be done.
    pub steps: Vec<StepEntry>,
    /// What is not done, and why.
    pub skipped: Vec<SkippedEntry>,
    /// What is wrong with the tree.
    pub diagnostics: Vec<Diagnostic>,
}

/// One image of a plan or a status.
#[derive(Clone, Debug, Serialize)]
pub struct ImageEntry {
    /// Its name, without registry and tag.
    pub name: ImageName,
    /// The service folder's name.
    pub service: String,
    /// Its full name, as an engine's listing spells it.
    pub reference: String,
    /// The Dockerfile, relative to the root; none for an image that is pulled and tagged.
    pub dockerfile: Option<String>,
    /// The build context, relative to the root, `.` for the root; none likewise.
    pub context: Option<String>,
    /// The stage.
    pub target: Option<String>,
    /// The platform; of several the first.
    pub platform: String,
    /// All platforms.
    pub platforms: Vec<String>,
    /// What it is on each of them.
    pub variants: Vec<VariantEntry>,
    /// Images of this tree that it waits for.
    pub needs: Vec<ImageName>,
    /// Normalised external references that it stands on.
    pub base_images: Vec<Reference>,
    /// Context files that it reads, relative to the context.
    pub inputs: Vec<String>,
    /// The fingerprint that a build would give now; of several platforms one over those of all.
    pub key: Option<Digest>,
    /// How the store compares; of several platforms the one that is furthest from up to date.
    pub state: ImageState,
    /// Why that state.
    pub reason: String,
    /// Everything that differs from what it was built from; the reason names the first of it.
    pub changes: Vec<String>,
}

/// An image on one platform.
#[derive(Clone, Debug, Serialize)]
pub struct VariantEntry {
    /// The platform.
    pub platform: String,
    /// The fingerprint that a build would give now.
    pub key: Option<Digest>,
    /// How the store compares.
    pub state: ImageState,
    /// Why that state.
    pub reason: String,
    /// What is in the image that is there, where the store tells it.
    pub identity: Option<Identity>,
    /// The manifest's digest in the registry that it was pushed to or pulled from, or of the index that has it there.
    pub digest: Option<Digest>,
}

/// One step of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct StepEntry {
    /// Unique in the plan.
    pub id: StepId,
    /// Its phase.
    pub phase: Phase,
    /// `download`, `pull`, `tag`, `write-file`, `build`, `verify`, `push`.
    pub kind: &'static str,
    /// What it is about.
    pub subject: String,
    /// Steps that have to succeed first.
    pub needs: Vec<StepId>,
    /// Why it is done.
    pub why: String,
}

/// Something that is not done.
#[derive(Clone, Debug, Serialize)]
pub struct SkippedEntry {
    /// Its phase.
    pub phase: Phase,
    /// What it is about.
    pub subject: String,
    /// Why not.
    pub why: String,
}

/// Of which images an entry lists the inputs, which are most of a large document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Of all: what `--format json` prints.
    All,
    /// Of those that are not up to date: what a run keeps.
    OfStale,
    /// Of none: text does not show them.
    None,
}

/// The entries of the selected images.
pub fn image_entries(
    selected: &BTreeSet<ImageName>,
    graph: &ImageGraph,
    contexts: &Contexts,
    assessments: &[Assessment],
    observed: &Observed,
    inputs: Inputs,
) -> Vec<ImageEntry> {
    let mut entries: Vec<ImageEntry> = Vec::new();
    let mut variants_at: BTreeMap<ImageName, usize> = BTreeMap::new();
    let images = graph.images().iter().zip(assessments);
    for (image, assessment) in images.filter(|(image, _)| selected.contains(&image.name)) {
        let entry = image_entry(image, contexts, assessment, observed, inputs);
        let at =
            image.index.as_ref().map(|_| *variants_at.entry(image.name.image()).or_insert(entries.len()));
        match at.and_then(|at| entries.get_mut(at)) {
            Some(known) => known.add_variant(entry),
            None => entries.push(entry),
        }
    }
    entries
}

impl ImageEntry {
    /// Takes in the same image on a further platform.
    fn add_variant(&mut self, other: Self) {
        fn merge<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
            for item in more {
                if !all.contains(&item) {
                    all.push(item);
                }
            }
        }
        let (before, after) = (self.distance(), other.distance());
        if after > before {
            (self.state, self.reason) = (other.state, other.reason);
        }
        self.platforms.extend(other.platforms);
        self.variants.extend(other.variants);
        merge(&mut self.needs, other.needs);
        merge(&mut self.base_images, other.base_images);
        merge(&mut self.inputs, other.inputs);
        merge(&mut self.changes, other.changes);
        let mut variants: Vec<&VariantEntry> = self.variants.iter().collect();
        variants.sort_by_key(|variant| variant.platform.parse::<Platform>().ok());
        self.key = index::key_of(variants.iter().map(|variant| variant.key.as_ref()));
    }

    /// How far it is from up to date.
    fn distance(&self) -> u8 {
        match self.state {
            ImageState::UpToDate => 0,
            ImageState::Unknown => 1,
            ImageState::Stale => 2,
            ImageState::Missing => 3,
            ImageState::Invalid => 4,
        }
    }
}

fn image_entry(
    image: &Image,
    contexts: &Contexts,
    assessment: &Assessment,
    observed: &Observed,
    inputs: Inputs,
) -> ImageEntry {
    let target = match &image.source {
        ImageSource::Build(target) => Some(target),
        ImageSource::External(_) => None,
    };
    let lists_inputs = match inputs {
        Inputs::All => true,
        Inputs::OfStale => assessment.state != ImageState::UpToDate,
        Inputs::None => false,
    };
    let context = contexts.get(&image.name).filter(|_| lists_inputs);
    let inputs = context.map(|c| c.files.inputs().map(str::to_owned).collect());
    let here = observed.find(&image.reference);
    let pushed = here.and_then(|here| here.digests.iter().find_map(Reference::digest));
    let variant = VariantEntry {
        platform: image.platform.to_string(),
        key: assessment.key.clone(),
        state: assessment.state,
        reason: assessment.reason.to_string(),
        identity: here.and_then(|here| here.identity.clone()),
        digest: pushed.cloned(),
    };
    let mut needs: Vec<ImageName> = image.needs.iter().map(ImageName::image).collect();
    needs.dedup();
    ImageEntry {
        name: image.name.image(),
        service: image.service.clone(),
        reference: image.known_reference().familiar(),
        dockerfile: target.map(|t| t.dockerfile.clone()),
        context: target.map(|t| t.context.clone()),
        target: target.and_then(|t| t.target.clone()),
        platform: image.platform.to_string(),
        platforms: vec![image.platform.to_string()],
        variants: vec![variant],
        needs,
        base_images: once_each(super::build::prefetched(image)),
        inputs: inputs.unwrap_or_default(),
        key: assessment.key.clone(),
        state: assessment.state,
        reason: assessment.reason.to_string(),
        changes: match &assessment.reason {
            Reason::Changed(changes) => changes.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        },
    }
}

fn once_each(references: Vec<&Reference>) -> Vec<Reference> {
    let mut seen = BTreeSet::new();
    let mut once = Vec::with_capacity(references.len());
    once.extend(references.into_iter().filter(|reference| seen.insert(*reference)).cloned());
    once
}

/// The whole document.
pub fn document(
    images: Vec<ImageEntry>,
    plan: &Plan,
    verdict: Option<&NetworkVerdict>,
    base_id: impl Fn(&Reference) -> Option<ImageId>,
    diagnostics: &[Diagnostic],
) -> PlanDocument {
    let mut seen = BTreeSet::new();
    let base_images: Vec<Reference> = images
        .iter()
        .flat_map(|image| &image.base_images)
        .filter(|base| seen.insert((*base).clone()))
        .cloned()
        .collect();
    let steps = plan.steps.iter().map(|step| StepEntry {
        id: step.id.clone(),
        phase: step.phase,
        kind: step.kind.name(),
        subject: step.subject.clone(),
        needs: step.needs.clone(),
        why: step.why.to_string(),
    });
    let skipped = plan.skipped.iter().map(|skipped| SkippedEntry {
        phase: skipped.phase,
        subject: skipped.subject.clone(),
        why: skipped.why.to_string(),
    });
    PlanDocument {
        version: VERSION,
        network: verdict.map(|v| v.network),
        base_image_ids: base_images
            .iter()
            .filter_map(|base| Some((base.to_string(), base_id(base)?)))
            .collect(),
        base_images,
        steps: steps.collect(),
        skipped: skipped.collect(),
        images,
        diagnostics: diagnostics.to_vec(),
    }
}

/// The document as one JSON object.
pub fn json(document: &PlanDocument) -> String {
    // Strings, numbers and maps with string keys: serialising them cannot fail.
    serde_json::to_string_pretty(document).unwrap_or_default()
}

/// The document as a run keeps it: on one line.
pub fn record(document: &PlanDocument) -> String {
    // As above.
    serde_json::to_string(document).unwrap_or_default()
}

/// The plan as text: every step and every image with its reason, and the new text of files that would be
/// written, as a diff, after `hide` has taken out what nobody may see.
pub fn text(
    document: &PlanDocument,
    plan: &Plan,
    verdict: Option<&NetworkVerdict>,
    scope: Scope,
    hide: &dyn Fn(&str) -> String,
) -> String {
    let mut out = String::new();
    let network = verdict.map(|v| format!(", network {} ({})", v.network, v.evidence)).unwrap_or_default();
    let bases = count(document.base_images.len(), "external base image");
    // Writing to a String cannot fail.
    match scope {
        Scope::Images => {
            let _ = writeln!(out, "{}, {bases}{network}", count(document.images.len(), "image"));
            images(&mut out, &document.images);
        }
        Scope::BaseImages => {
            let _ = writeln!(out, "{bases}{network}");
        }
        Scope::Files => {}
    }
    phases(&mut out, plan, hide);
    diagnostics(&mut out, document);
    out.trim_start().to_owned()
}

/// The steps of a plan alone, and what is not done, as [`text`] has them.
pub fn steps(plan: &Plan, hide: &dyn Fn(&str) -> String) -> String {
    let mut out = String::new();
    phases(&mut out, plan, hide);
    out.trim_start().to_owned()
}

/// What a plan's text is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Images and all that they stand on.
    Images,
    /// Pulls and aliases only.
    BaseImages,
    /// Templates and `.env` only.
    Files,
}

fn images(out: &mut String, images: &[ImageEntry]) {
    if images.is_empty() {
        return;
    }
    let width = images.iter().map(|i| i.name.as_str().len()).max().unwrap_or(0);
    let _ = writeln!(out, "\nimages");
    for image in images {
        let context = image.context.as_deref().map(|c| format!("  context {c}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "  {:width$}  {:<10}  ({}){context}",
            image.name.as_str(),
            image.state.to_string(),
            image.reason
        );
    }
}

fn diagnostics(out: &mut String, document: &PlanDocument) {
    for (at, diagnostic) in model::told(&document.diagnostics).iter().enumerate() {
        let _ = writeln!(out, "{}{diagnostic}", if at == 0 { "\n" } else { "" });
    }
}

fn phases(out: &mut String, plan: &Plan, hide: &dyn Fn(&str) -> String) {
    let planned: Vec<Phase> = plan.phases().collect();
    // What a plan only adds has no place in its order.
    let added = Phase::ALL.into_iter().filter(|phase| !planned.contains(phase));
    for phase in planned.iter().copied().chain(added) {
        let steps: Vec<_> = plan.steps.iter().filter(|s| s.phase == phase).collect();
        let skipped = plan.skipped.iter().filter(|s| s.phase == phase);
        let (failed, fine): (Vec<_>, Vec<_>) =
            skipped.partition(|s| s.why.outcome() != crate::model::Outcome::UpToDate);
        if steps.is_empty() && failed.is_empty() && fine.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{}  {} to do, {} fine", phase.name(), steps.len(), fine.len());
        for step in steps {
            let _ = writeln!(out, "  {:<10} {}  ({})", step.kind.name(), step.subject, step.why);
            for need in &step.needs {
                let _ = writeln!(out, "             after {need}");
            }
            if let StepKind::WriteFile { contents, was, .. } = &step.kind {
                diff(out, &hide(was.as_deref().unwrap_or("")), &hide(contents));
            }
        }
        for skipped in failed {
            let _ = writeln!(
                out,
                "  {:<10} {}  ({})",
                skipped.why.outcome().to_string(),
                skipped.subject,
                skipped.why
            );
        }
    }
}

/// `1 image`, `2 images`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The lines that differ, without context.
fn diff(out: &mut String, was: &str, now: &str) {
    let (old, new): (Vec<&str>, Vec<&str>) = (was.lines().collect(), now.lines().collect());
    if old.len() == new.len() {
        return diff_lines(out, &old, &new);
    }
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[same..], &new[same..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let _ = writeln!(out, "             @@ line {} @@", same + 1);
    for line in &old_rest[..old_rest.len() - tail] {
        let _ = writeln!(out, "             -{line}");
    }
    for line in &new_rest[..new_rest.len() - tail] {
        let _ = writeln!(out, "             +{line}");
    }
}

/// The same where every line is still the line that it was, however far apart the changes are.
fn diff_lines(out: &mut String, old: &[&str], new: &[&str]) {
    let mut start = 0;
    while let Some(at) = (start..old.len()).find(|at| old[*at] != new[*at]) {
        let end = (at..old.len()).find(|at| old[*at] == new[*at]).unwrap_or(old.len());
        let _ = writeln!(out, "             @@ line {} @@", at + 1);
        for (sign, lines) in [('-', &old[at..end]), ('+', &new[at..end])] {
            for line in lines {
                let _ = writeln!(out, "             {sign}{line}");
            }
        }
        start = end;
    }
}

/// The graph in Graphviz's language: images as boxes coloured by state, external base images as ellipses.
pub fn dot(document: &PlanDocument) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = String::from("digraph images {\n  rankdir = LR;\n  node [fontname = \"monospace\"];\n");
    for base in &document.base_images {
        let _ = writeln!(out, "  {} [shape = ellipse, style = dashed];", quote(&base.familiar()));
    }
    for image in &document.images {
        let colour = match image.state {
            ImageState::UpToDate => "darkgreen",
            ImageState::Stale | ImageState::Missing => "darkorange",
            ImageState::Invalid => "red",
            ImageState::Unknown => "gray",
        };
        let label = format!("{}\\n{}: {}", image.name, image.state, image.reason.replace('"', "'"));
        let _ = writeln!(
            out,
            "  {} [shape = box, color = {colour}, label = \"{label}\"];",
            quote(image.name.as_str())
        );
        for need in &image.needs {
            let _ = writeln!(out, "  {} -> {};", quote(need.as_str()), quote(image.name.as_str()));
        }
        for base in &image.base_images {
            let _ = writeln!(out, "  {} -> {};", quote(&base.familiar()), quote(image.name.as_str()));
        }
    }
    out.push_str("}\n");
    out
}
