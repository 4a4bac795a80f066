//! What one target of a Dockerfile needs: stages, external images, inputs, build args.
//!
//! In: a [`Dockerfile`], a target, build args, platforms. Out: [`Resolved`], with everything that could be found out
//! and a diagnostic for each thing that BuildKit would refuse. The rules are those of BuildKit's `toDispatchState`
//! (`dockerfile2llb/convert.go`). Must not pull, build or look at files: what images bring (`ONBUILD`) is handed in, and
//! their variables are unknown here.

use std::collections::{BTreeMap, BTreeSet};

use super::base_doubt::BaseDoubt;
use super::command::{Command, did_you_mean};
use super::evaluate::Evaluation;
use super::front_end::{Reader, Use};
use super::lex::Variables as _;
use super::lines::Findings;
use super::scope::{Globals, StageScope};
use super::stages::{Node, Stages};
use super::{Dockerfile, Instruction, canonical};
use crate::{
    BaseImage, Brought, Diagnostic, InputKind, InputPattern, Platform, Reference, SecretMount, Triggers,
};

/// Build args that change what is built without being declared (BuildKit's reference, "BuildKit built-in build
/// args").
const UNDECLARED_ARGS: [&str; 3] = ["BUILDKIT_SYNTAX", "BUILDKIT_SANDBOX_HOSTNAME", "SOURCE_DATE_EPOCH"];

/// What is asked of a Dockerfile.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// `--target`; none is the last stage.
    pub target: Option<&'a str>,
    /// `--build-arg`, declared or not.
    pub build_args: &'a BTreeMap<String, String>,
    /// What the image is for.
    pub platform: &'a Platform,
    /// What the builder runs on.
    pub build_platform: &'a Platform,
    /// What images bring to a stage that stands on them; one that is not named brings nothing.
    pub triggers: &'a Triggers,
}

/// What a target needs.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// Position of the target in [`Dockerfile::stages`]; none when there is no such stage.
    pub target: Option<usize>,
    /// The stages that the target reaches, itself included, in file order.
    pub stages: Vec<ResolvedStage>,
    /// External images that it reaches, the `# syntax=` one included, in order of first naming, once each.
    pub base_images: Vec<BaseImage>,
    /// The front end that the file, or `BUILDKIT_SYNTAX`, asks for.
    pub syntax: Option<Reference>,
    /// What it reads of the build context.
    pub inputs: Vec<InputPattern>,
    /// Secrets and ssh agents that its mounts ask for, in file order.
    pub secrets: Vec<SecretMount>,
    /// Build args that can change the build.
    pub declared_args: BTreeSet<String>,
    /// Text of all that the target reaches: the same when nothing that matters has changed.
    pub reachable_text: String,
    /// What the images bring that its stages stand on, each of them named.
    pub triggers: Triggers,
    /// What it brings itself to an image that stands on it.
    pub leaves: Vec<String>,
    /// The labels that it gives the image.
    pub labels: BTreeSet<String>,
    /// What is wrong. Findings of [`super::parse`] are not repeated.
    pub diagnostics: Vec<Diagnostic>,
    /// What only some engines' front ends can read; [`super::judge`] says which. None where the file names its own.
    pub uses: Vec<Use>,
    /// The platforms that its stages run programs on, each with the 1-based line of the first `RUN`: a builder needs such
    /// a machine, or emulation.
    pub runs: Vec<(Platform, u32)>,
    /// What the base images of its stages decide.
    pub base_doubts: Vec<BaseDoubt>,
    /// Images that a COPY or a mount names and that a stage's name is near to, each with what to say if nobody else
    /// knows them.
    pub doubts: Vec<(Reference, Diagnostic)>,
}

/// A stage that the target reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedStage {
    /// Position in [`Dockerfile::stages`].
    pub index: usize,
    /// Its name in lower case.
    pub name: Option<String>,
    /// What it stands on.
    pub base: Base,
    /// `--platform`, where it is given and another one than the target's.
    pub platform: Option<Platform>,
    /// 1-based line of its `FROM`.
    pub line: u32,
}

/// What a stage stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// Another stage, by position.
    Stage(usize),
    /// An external image.
    Image(Reference),
    /// A diagnostic says why it is unknown; the text as far as it could be expanded.
    Unresolved(String),
}

/// Works out what a target needs. Never fails: see [`Resolved::diagnostics`].
pub fn resolve(file: &Dockerfile, options: &Options<'_>) -> Resolved {
    let mut found = Findings::default();
    let last_name = file.stages.last().and_then(|stage| stage.name.as_deref());
    let target_name = options.target.or(last_name);
    let globals = Globals::new(file, options, target_name, &mut found);
    let mut stages = Stages::new(file, options, &globals, &mut found);
    let syntax = syntax_of(file, options, &mut found);
    check_epoch(options, &mut found);
    let target = find_target(file, options.target, &stages, &mut found);
    let reachable = target.map_or_else(Vec::new, |target| stages.reach(target, &mut found));

    let mut evaluation = Evaluation::new(file, options, &globals);
    let nodes =
        || reachable.iter().filter_map(|&at| stages.nodes.get(at)).filter(|node| node.stage.is_some());
    let mut used: BTreeSet<String> = nodes().flat_map(|node| node.asks_for.iter().cloned()).collect();
    let mut scopes = walk(file, &stages, &reachable, &mut evaluation, &mut found, &mut |_| {});
    let Evaluation { mut inputs, secrets, declared, inherited, base_doubts, .. } = evaluation;
    let triggers = triggers(nodes(), options, &mut inputs);
    used.extend(inherited);
    let mut declared_args = globals.close_over(used);
    declared_args.retain(|name| globals.declares(name) || globals.get(name).is_some());
    let reachable_text =
        canonical::text(file, &stages, &reachable, &globals, &declared_args, syntax.as_ref());
    declared_args.extend(declared);
    let set = |name: &&str| options.build_args.contains_key(*name);
    declared_args.extend(UNDECLARED_ARGS.iter().filter(|name| set(name)).map(|name| (*name).to_owned()));

    let reached: BTreeSet<usize> = reachable.iter().copied().collect();
    let doubts = stages.doubts.iter().filter(|doubt| reached.contains(&doubt.stage));
    let doubts = doubts.map(|doubt| (doubt.image.clone(), doubt.told(&file.path))).collect();
    let uses = file.uses.iter().cloned().chain(std::mem::take(&mut found.uses)).collect();
    let is_asked = file.syntax.is_some() || options.build_args.contains_key("BUILDKIT_SYNTAX");
    let reader = Reader::of(syntax.as_ref(), file.syntax.as_ref(), is_asked);
    let (refused, uses) = reader.refuse(uses);
    refused.into_iter().for_each(|(line, message)| found.error(line, message));

    Resolved {
        target,
        uses,
        runs: runs(file, options, &stages, &reachable),
        base_doubts,
        doubts,
        stages: reachable.iter().filter_map(|&at| stages.nodes.get(at)).filter_map(Node::to_stage).collect(),
        base_images: base_images(file, options, &stages, &reachable, syntax.as_ref()),
        syntax,
        inputs,
        secrets,
        declared_args,
        reachable_text,
        triggers,
        leaves: target
            .and_then(|at| file.stages.get(at))
            .map(|stage| file.triggers(stage))
            .unwrap_or_default(),
        labels: target.and_then(|at| scopes.remove(&at)).map(|scope| scope.labels).unwrap_or_default(),
        diagnostics: found.into_diagnostics(&file.path),
    }
}

/// The first `RUN` on each platform. A stage that stands on another one runs where that one runs.
fn runs(
    file: &Dockerfile,
    options: &Options<'_>,
    stages: &Stages<'_>,
    reachable: &[usize],
) -> Vec<(Platform, u32)> {
    let mut runs: Vec<(Platform, u32)> = Vec::new();
    for &at in reachable {
        let is_run = |instruction: &&Instruction| matches!(instruction.command, Command::Run(_));
        let stage = file.stages.get(at);
        let Some(run) = stage.and_then(|stage| file.body(stage).iter().find(is_run)) else { continue };
        let mut root = stages.nodes.get(at);
        while let Some(Node { base: Base::Stage(below), platform: None, .. }) = root {
            root = stages.nodes.get(*below);
        }
        let platform = root.and_then(|node| node.platform.as_ref()).unwrap_or(options.platform);
        if runs.iter().all(|(known, _)| known != platform) {
            runs.push((platform.clone(), run.line));
        }
    }
    runs
}

/// What external images bring. What nobody knows may read all of the context.
fn triggers<'a>(
    nodes: impl Iterator<Item = &'a Node<'a>>,
    options: &Options<'_>,
    inputs: &mut Vec<InputPattern>,
) -> Triggers {
    let mut triggers = Triggers::new();
    for node in nodes {
        let Base::Image(reference) = &node.base else { continue };
        let brought = options.triggers.get(reference).cloned().unwrap_or_default();
        if brought == Brought::Unknown {
            inputs.push(InputPattern::new(".", node.line, InputKind::Possible));
        }
        triggers.insert(reference.clone(), brought);
    }
    triggers
}

/// One instruction of a reachable stage, just evaluated.
pub(super) struct Visited<'a> {
    /// Position of the stage.
    pub stage: usize,
    pub instruction: &'a Instruction,
    /// Where it is reported: an `ONBUILD` where it stands, one of an image at the `FROM`.
    pub line: u32,
    /// What it reads of the build context.
    pub inputs: &'a [InputPattern],
    /// Variables after it.
    pub scope: &'a StageScope,
}

/// Evaluates the reachable stages in file order, each instruction once, triggers of `ONBUILD` first. Gives what is known
/// at the end of each stage.
pub(super) fn walk(
    file: &Dockerfile,
    stages: &Stages<'_>,
    reachable: &[usize],
    evaluation: &mut Evaluation<'_>,
    found: &mut Findings,
    visit: &mut dyn FnMut(Visited<'_>),
) -> BTreeMap<usize, StageScope> {
    let mut scopes: BTreeMap<usize, StageScope> = BTreeMap::new();
    for node in reachable.iter().filter_map(|&at| stages.nodes.get(at)) {
        let Some(index) = node.stage else { continue };
        let mut scope = match &node.base {
            Base::Stage(base) => {
                scopes.get(base).map_or_else(|| StageScope::on_image(None), StageScope::on_stage)
            }
            Base::Scratch => StageScope::on_scratch(),
            Base::Image(base) => StageScope::on_image(Some(base)),
            Base::Unresolved(_) => StageScope::on_image(None),
        };
        let triggers = node.triggers.iter().map(|trigger| (&*trigger.instruction, trigger.line, trigger.of));
        let own =
            file.body(&file.stages[index]).iter().map(|instruction| (instruction, instruction.line, None));
        for (instruction, line, of) in triggers.chain(own) {
            let (before, known) = (evaluation.inputs.len(), found.count());
            evaluation.step(instruction, line, &mut scope, found);
            if line != instruction.line || of.is_some() {
                let uses = instruction.uses.iter().cloned();
                found.uses.extend(uses.map(|used| Use { line, ..used }));
            }
            let inputs = &mut evaluation.inputs[before..];
            if let Some(of) = of {
                inputs.iter_mut().for_each(|input| input.is_triggered = true);
                found.ascribe(known, &format!("ONBUILD of {}", of.familiar()));
            }
            let inputs = &evaluation.inputs[before..];
            visit(Visited { stage: index, instruction, line, inputs, scope: &scope });
        }
        scopes.insert(index, scope);
    }
    scopes
}

/// `parseSourceDateEpoch`: what nobody could take for a time.
fn check_epoch(options: &Options<'_>, found: &mut Findings) {
    let epoch = options.build_args.get("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty());
    if let Some(value) = epoch.filter(|value| value.parse::<i64>().is_err()) {
        let message = format!(
            "the build arg SOURCE_DATE_EPOCH is `{value}`, and has to be a number of seconds since 1970"
        );
        found.error(0, message);
    }
}

/// `BUILDKIT_SYNTAX`, else what the file says (`builder/build.go`).
fn syntax_of(file: &Dockerfile, options: &Options<'_>, found: &mut Findings) -> Option<Reference> {
    let directive = file.syntax.as_ref();
    let (text, line) = match options.build_args.get("BUILDKIT_SYNTAX") {
        Some(value) => (value.trim().split(' ').next().unwrap_or_default(), 0),
        None => directive.map(|directive| (directive.value.as_str(), directive.line))?,
    };
    text.parse().map_err(|why| found.error(line, format!("the syntax image: {why}"))).ok()
}

pub(super) fn find_target(
    file: &Dockerfile,
    target: Option<&str>,
    stages: &Stages<'_>,
    found: &mut Findings,
) -> Option<usize> {
    let Some(name) = target else { return file.stages.len().checked_sub(1) };
    let at = stages.by_name(name);
    if at.is_none() {
        let names: Vec<&str> = file.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
        let hint = did_you_mean(&name.to_lowercase(), names.iter().copied(), str::to_owned);
        let list = if names.is_empty() { "none has a name".to_owned() } else { names.join(", ") };
        found.error(0, format!("there is no stage `{name}` to build{hint} (stages: {list})"));
    }
    at
}

fn base_images(
    file: &Dockerfile,
    options: &Options<'_>,
    stages: &Stages<'_>,
    reachable: &[usize],
    syntax: Option<&Reference>,
) -> Vec<BaseImage> {
    let mut images = Vec::new();
    if let Some(reference) = syntax {
        // The front end itself runs on the builder.
        let platform = Some(options.build_platform).filter(|platform| *platform != options.platform).cloned();
        let line = file.syntax.as_ref().map_or(1, |directive| directive.line);
        images.push(BaseImage { reference: reference.clone(), platform, line });
    }
    let nodes = reachable.iter().filter_map(|&at| stages.nodes.get(at));
    images.extend(nodes.filter_map(|node| match &node.base {
        Base::Image(reference) => {
            Some(BaseImage { reference: reference.clone(), platform: node.platform.clone(), line: node.line })
        }
        _ => None,
    }));
    images.sort_by_key(|image| image.line);
    let mut seen = BTreeSet::new();
    images.retain(|image| seen.insert((image.reference.clone(), image.platform.clone())));
    // Kept for as long as the program runs, for thousands of images.
    images.shrink_to_fit();
    images
}
