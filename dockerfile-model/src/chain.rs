//! What the stages of a target are made of, instruction by instruction, in the order in which a builder caches them.
//!
//! In: a [`Dockerfile`] and what is asked of it. Out: a [`StageChain`] for each reachable stage. A layer is used again
//! as long as no instruction before it in its stage, or in what that stage stands on, has changed; comparing
//! chains tells what runs again. Findings are [`super::resolve`]'s business.

use super::command::Command;
use super::evaluate::Evaluation;
use super::lex::Variables as _;
use super::lines::Findings;
use super::remote::{Origin, origin_of};
use super::resolve::{Base, Options, find_target, walk};
use super::scope::Globals;
use super::stages::Stages;
use super::{Dockerfile, Instruction};
use crate::{InputPattern, Reference};

/// A stage that the target reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageChain {
    /// Position in [`Dockerfile::stages`].
    pub index: usize,
    /// Its name in lower case, or its position, as `COPY --from` takes it.
    pub label: String,
    /// What it stands on.
    pub base: Base,
    /// 1-based line of its `FROM`.
    pub line: u32,
    /// 1-based line before which it ends.
    pub end: u32,
    /// Its instructions, triggers of `ONBUILD` first.
    pub links: Vec<Link>,
}

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// 1-based line.
    pub line: u32,
    /// In upper case.
    pub keyword: String,
    /// As written, continuations joined, with its here-documents.
    pub text: String,
    /// Of an `ARG`: what its names stand for. May be secret.
    pub values: Vec<(String, Option<String>)>,
    /// What it reads of the build context.
    pub inputs: Vec<InputPattern>,
    /// Other stages that it copies from or mounts, by position.
    pub stages: Vec<usize>,
    /// External images that it copies from or mounts.
    pub images: Vec<Reference>,
    /// What an `ADD` fetches from a server, as written.
    pub remote: Option<Remote>,
}

/// A URL or git repository that `ADD` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// As written.
    pub source: String,
    /// `--checksum` says what it holds. Without it the server is asked at every build, cached or not
    /// (BuildKit's `source/http`: the cache key is the answer's).
    pub is_pinned: bool,
}

impl StageChain {
    /// Whether anything in it makes a layer.
    pub fn makes_layers(&self) -> bool {
        self.links.iter().any(|link| matches!(link.keyword.as_str(), "RUN" | "COPY" | "ADD" | "WORKDIR"))
    }
}

/// The reachable stages in file order, the target last; empty when there is no such target.
pub fn chains(file: &Dockerfile, options: &Options<'_>) -> Vec<StageChain> {
    let mut unheard = Findings::default();
    let last_name = file.stages.last().and_then(|stage| stage.name.as_deref());
    let globals = Globals::new(file, options, options.target.or(last_name), &mut unheard);
    let mut stages = Stages::new(file, options, &globals, &mut unheard);
    let Some(target) = find_target(file, options.target, &stages, &mut unheard) else { return Vec::new() };
    let reachable = stages.reach(target, &mut unheard);
    let mut chains: Vec<StageChain> = Vec::new();
    for node in reachable.iter().filter_map(|&at| stages.nodes.get(at)) {
        let Some(index) = node.stage else { continue };
        chains.push(StageChain {
            index,
            label: file.stages[index].label(index),
            base: node.base.clone(),
            line: node.line,
            end: file.stages.get(index + 1).map_or(u32::MAX, |next| next.line),
            links: Vec::new(),
        });
    }
    let mut evaluation = Evaluation::new(file, options, &globals);
    walk(file, &stages, &reachable, &mut evaluation, &mut unheard, &mut |visited| {
        let Some(chain) = chains.iter_mut().find(|chain| chain.index == visited.stage) else { return };
        let instruction = visited.instruction;
        let names: &[(String, Option<String>)] = match &instruction.command {
            Command::Arg(names) => names,
            _ => &[],
        };
        let value = |name: &String| (name.clone(), visited.scope.get(name).map(str::to_owned));
        let mut link = Link {
            line: visited.line,
            keyword: instruction.keyword.clone(),
            text: text(instruction),
            values: names.iter().map(|(name, _)| value(name)).collect(),
            inputs: visited.inputs.to_vec(),
            stages: Vec::new(),
            images: Vec::new(),
            remote: remote(&instruction.command),
        };
        let edges = stages.nodes[visited.stage].edges.iter().filter(|edge| edge.line == visited.line);
        for node in edges.filter_map(|edge| stages.nodes.get(edge.to)) {
            match (node.stage, &node.base) {
                (Some(index), _) => link.stages.push(index),
                (None, Base::Image(reference)) => link.images.push(reference.clone()),
                (None, _) => {}
            }
        }
        chain.links.push(link);
    });
    // The builder takes the last stage for the target where none is named; here it is the one that was asked for.
    if let Some(at) = chains.iter().position(|chain| chain.index == target) {
        let last = chains.remove(at);
        chains.push(last);
    }
    chains
}

fn remote(command: &Command) -> Option<Remote> {
    let Command::Transfer(transfer) = command else { return None };
    let is_remote = |source: &&String| matches!(origin_of(source), Origin::Http | Origin::Git);
    let source = transfer.sources.iter().find(is_remote)?;
    Some(Remote { source: source.clone(), is_pinned: transfer.has_checksum })
}

fn text(instruction: &Instruction) -> String {
    let mut text = instruction.text.clone();
    for heredoc in &instruction.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
    }
    text
}
