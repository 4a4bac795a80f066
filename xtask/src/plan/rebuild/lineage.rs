//! Pure: what the stages of an image are made of, and which of them are kept as images of their own.
//!
//! A builder's inline cache tells only of the layers of the image that carries it: those of its last stage and of what
//! that stage stands on. The layers of a stage that is only copied from are found again if it is an image too
//! (BuildKit's `cache/remotecache/inline`; measured on Engine 20.10 and 26.1). So each stage that no other reachable
//! stage stands on, the target among them if it runs anything or images stand on it, is kept under a name of this
//! program's own ([`NAMESPACE`]), and the record of what it was made of is its label. In: the graph, contexts, what base images are. Out: [`Lineage`]s.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::network::{Need, need_of};
use crate::model::{
    BuildTarget, ContextFile, ContextFileKind, ContextFiles, Digest, Identity, Image, ImageName, ImageSource,
    Platform, Reference, sha256,
};
use crate::read::fingerprint::canonical::digest_files;
use crate::read::graph::ImageGraph;
use dockerfile::{Base, Link, Selector, StageChain};

/// What the names of kept stages begin with; nobody pushes these.
pub const NAMESPACE: &str = "xtask-cache";

/// Of an instruction that reads so many files or fewer, each is recorded, so that a change can be named.
const NAMED_FILES: usize = 16;

/// A stage that is kept as an image, with all that it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The name of the kept image.
    pub reference: Reference,
    /// The stage's name, or its position.
    pub label: String,
    /// Whether it is the image itself.
    pub is_target: bool,
    /// The Dockerfile up to the end of the stage, which is then the last one; none for the target.
    pub text: Option<String>,
    /// From the `FROM` of the first stage that it stands on to its own last instruction.
    pub steps: Vec<LineageStep>,
}

/// One instruction of a [`Lineage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineageStep {
    /// Position of its stage in the Dockerfile.
    pub stage: usize,
    /// Its stage's name, or position.
    pub stage_label: String,
    /// 1-based line.
    pub line: u32,
    /// `RUN`, in upper case.
    pub keyword: String,
    /// Its first line, for people.
    pub shown: String,
    /// What is compared.
    pub record: StepRecord,
    /// Other stages that it copies from or mounts, by position.
    pub from: Vec<usize>,
    /// It stands on, copies from or mounts images: the digest of its text depends on how these are told apart.
    pub names_images: bool,
    /// What it asks of a network when it runs; none if it runs nothing.
    pub need: Option<Need>,
    /// It asks a server even when nothing has changed.
    pub always_asks: bool,
}

/// What one instruction was made of, as a label keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Digest of its text, of what its ARGs stood for, and of the images that it names.
    #[serde(rename = "t")]
    pub text: String,
    /// Digest over the files that it reads of the context.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// The same for each file, where there are few.
    #[serde(rename = "n", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named: BTreeMap<String, String>,
}

impl Lineage {
    /// Whether anything in it may need more than the files at hand: it runs something, or asks a server.
    fn runs(&self) -> bool {
        self.steps.iter().any(|step| step.need.is_some())
    }

    /// The record, for a label.
    pub fn record(&self) -> String {
        let records: Vec<&StepRecord> = self.steps.iter().map(|step| &step.record).collect();
        // Structs of strings: serialising them cannot fail.
        serde_json::to_string(&records).unwrap_or_default()
    }
}

/// Reads what [`Lineage::record`] wrote; none if it is not one.
pub fn parse_record(label: &str) -> Option<Vec<StepRecord>> {
    serde_json::from_str(label).ok()
}

/// What is known beside the Dockerfiles.
pub struct LineageInput<'a> {
    /// The images.
    pub graph: &'a ImageGraph,
    /// The files of its context that count.
    pub files: &'a dyn Fn(&ImageName) -> Option<ContextFiles>,
    /// What the engine runs by default.
    pub build_platform: &'a Platform,
    /// The store's ID of an external image.
    pub base: &'a dyn Fn(&Reference) -> Option<Identity>,
    /// The key of an image of this tree.
    pub key: &'a dyn Fn(&ImageName) -> Option<Digest>,
}

/// The lineages of every image that is built from a Dockerfile. Two images of one Dockerfile share what is the same.
pub fn lineages(input: &LineageInput<'_>) -> BTreeMap<ImageName, Vec<Lineage>> {
    let mut known: HashMap<(String, usize, String), Reference> = HashMap::new();
    let mut all = BTreeMap::new();
    let images = input.graph.images();
    let stood_on: BTreeSet<&ImageName> = images.iter().flat_map(|image| &image.needs).collect();
    for image in images {
        let ImageSource::Build(target) = &image.source else { continue };
        let files = (input.files)(&image.name).unwrap_or_default();
        let mut found = of_image(input, image, target, &files);
        // What only copies is made again of what it copies, byte for byte but for times: what stands on it and runs
        // something would notice.
        found.retain(|lineage| !lineage.is_target || lineage.runs() || stood_on.contains(&image.name));
        for lineage in found.iter_mut().filter(|lineage| !lineage.is_target) {
            let stage = lineage.steps.last().map_or(0, |step| step.stage);
            let key = (target.dockerfile.clone(), stage, lineage.record());
            lineage.reference = known.entry(key).or_insert_with(|| lineage.reference.clone()).clone();
        }
        all.insert(image.name.clone(), found);
    }
    all
}

fn of_image(
    input: &LineageInput<'_>,
    image: &Image,
    target: &BuildTarget,
    files: &ContextFiles,
) -> Vec<Lineage> {
    let (file, _) = dockerfile::parse(&target.dockerfile, &target.text);
    let options = target.options(&image.platform, input.build_platform);
    let chains = dockerfile::chains(&file, &options);
    let Some(last) = chains.last().map(|chain| chain.index) else { return Vec::new() };
    let stood_on = |index: usize| chains.iter().any(|chain| chain.base == Base::Stage(index));
    let kept = chains.iter().filter(|chain| !stood_on(chain.index));
    let reader = Reader { input, image, files: &files.counted().collect::<Vec<_>>() };
    kept.filter_map(|tip| {
        let line = stood_upon(&chains, tip);
        // What makes no layer has none to find again.
        let is_target = tip.index == last;
        if !is_target && !line.iter().any(|chain| chain.makes_layers()) {
            return None;
        }
        let text = (!is_target).then(|| head_of(&target.text, tip.end));
        let reference = kept_name(image, &tip.label)?;
        let steps = line.iter().flat_map(|chain| reader.steps(chain)).collect();
        Some(Lineage { reference, label: tip.label.clone(), is_target, text, steps })
    })
    .collect()
}

/// A stage and all that it stands on, the lowest first.
fn stood_upon<'c>(chains: &'c [StageChain], tip: &'c StageChain) -> Vec<&'c StageChain> {
    let mut line = vec![tip];
    while let Some(Base::Stage(below)) = line.last().map(|chain| &chain.base)
        && let Some(chain) = chains.iter().find(|chain| chain.index == *below)
        && line.len() <= chains.len()
    {
        line.push(chain);
    }
    line.reverse();
    line
}

/// The lines before `end`.
fn head_of(text: &str, end: u32) -> String {
    let lines = usize::try_from(end.saturating_sub(1)).unwrap_or(usize::MAX);
    text.split_inclusive('\n').take(lines).collect()
}

/// `xtask-cache/golinks-api:v1.builder`; a digest stands for what no tag can be.
fn kept_name(image: &Image, stage: &str) -> Option<Reference> {
    // Of a variant the tag names the platform.
    let (name, tag) = (image.name.image(), image.reference.tag().unwrap_or("latest"));
    let tag = format!("{tag}.{stage}");
    let named = format!("{NAMESPACE}/{name}:{tag}").parse();
    named.or_else(|_| format!("{NAMESPACE}/{name}:{}", short(tag.as_bytes())).parse()).ok()
}

/// Reads the instructions of one image.
struct Reader<'a> {
    input: &'a LineageInput<'a>,
    image: &'a Image,
    files: &'a [&'a ContextFile],
}

impl Reader<'_> {
    fn steps(&self, chain: &StageChain) -> Vec<LineageStep> {
        let on = match &chain.base {
            Base::Scratch => Some("scratch".to_owned()),
            Base::Image(reference) => Some(self.identity(reference)),
            Base::Unresolved(text) => Some(text.clone()),
            Base::Stage(_) => None,
        };
        let from = on.map(|identity| LineageStep {
            stage: chain.index,
            stage_label: chain.label.clone(),
            line: chain.line,
            keyword: "FROM".to_owned(),
            shown: match &chain.base {
                Base::Image(reference) => format!("FROM {}", reference.familiar()),
                _ => "FROM scratch".to_owned(),
            },
            record: StepRecord { text: short(identity.as_bytes()), ..StepRecord::default() },
            from: Vec::new(),
            names_images: matches!(chain.base, Base::Image(_)),
            need: None,
            always_asks: false,
        });
        from.into_iter().chain(chain.links.iter().map(|link| self.step(chain, link))).collect()
    }

    fn step(&self, chain: &StageChain, link: &Link) -> LineageStep {
        let mut text = link.text.clone();
        for (name, value) in &link.values {
            text.push_str(&format!("\0{name}\0{}", value.as_deref().unwrap_or("\0")));
        }
        for image in &link.images {
            text.push_str(&format!("\0{}", self.identity(image)));
        }
        let selector = Selector::new(&link.inputs);
        let read: Vec<&ContextFile> =
            self.files.iter().copied().filter(|file| selector.reads(&file.path)).collect();
        let mut record = StepRecord { text: short(text.as_bytes()), ..StepRecord::default() };
        if !link.inputs.is_empty() {
            record.files = Some(digest_files(read.iter().copied()).hex()[..SHORT].to_owned());
            let is_file = |file: &&&ContextFile| file.kind != ContextFileKind::Directory;
            let named: Vec<&&ContextFile> = read.iter().filter(is_file).collect();
            if named.len() <= NAMED_FILES {
                let digest = |file: &ContextFile| digest_files([file]).hex()[..SHORT].to_owned();
                record.named = named.iter().map(|file| (file.path.clone(), digest(file))).collect();
            }
        }
        let need = match (link.keyword.as_str(), &link.remote) {
            ("RUN", _) => Some(need_of(&link.text)),
            (_, Some(remote)) => Some(Need::Yes(format!("{} {}", link.keyword, remote.source))),
            _ => None,
        };
        LineageStep {
            stage: chain.index,
            stage_label: chain.label.clone(),
            line: link.line,
            keyword: link.keyword.clone(),
            shown: link.text.lines().next().unwrap_or_default().to_owned(),
            record,
            from: link.stages.clone(),
            names_images: !link.images.is_empty(),
            need,
            always_asks: link.remote.as_ref().is_some_and(|remote| !remote.is_pinned),
        }
    }

    /// What an image is: the key of one of this tree, the ID of another one.
    fn identity(&self, reference: &Reference) -> String {
        let own = self.image.asks_for.get(reference).and_then(|name| (self.input.key)(name));
        let base = || (self.input.base)(reference).map(|base| base.to_string());
        own.map(|key| key.to_string()).or_else(base).unwrap_or_else(|| reference.to_string())
    }
}

/// Hex digits that are enough against accidents.
const SHORT: usize = 12;

fn short(bytes: &[u8]) -> String {
    sha256(bytes).hex()[..SHORT].to_owned()
}
