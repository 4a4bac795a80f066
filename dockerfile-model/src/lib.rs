#![doc = include_str!("../README.md")]
//!
//! # How it is laid out
//!
//! ```text
//! lines (continuations, heredocs) -> words -> instruction -> resolve (stages, scopes) -> canonical, inputs
//! ```
//!
//! What a Dockerfile speaks of has types of its own, each in a file: [`Reference`], [`Digest`], [`Platform`], what a build
//! takes from elsewhere ([`BaseImage`], [`InputPattern`], [`Brought`]), and what is wrong with it ([`Diagnostic`]).

mod affix;
mod base_doubt;
mod canonical;
pub mod chain;
mod command;
mod diagnostic;
mod digest;
mod directives;
mod evaluate;
mod facts;
mod front_end;
pub mod ignorefile;
pub mod inputs;
pub mod inspect;
mod lex;
mod lines;
mod needs;
mod platform;
mod reference;
mod remote;
mod rename;
mod resolve;
mod scope;
mod stages;
mod values;
mod vertex;
mod words;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use base_doubt::BaseDoubt;
pub use chain::{Link, Remote, StageChain, chains};
pub use diagnostic::{Diagnostic, Severity};
pub use digest::{Digest, ParseDigestError};
pub use facts::named_by_triggers;
pub use front_end::{Feature, Use, judge};
pub use inputs::Selector;
pub use inspect::{Inspection, inspect};
pub use needs::{BaseImage, Brought, InputKind, InputPattern, SecretKind, SecretMount, Triggers};
pub use platform::{ParsePlatformError, Platform};
pub use reference::{ParseReferenceError, Reference, is_on_this_machine};
pub use rename::{OtherNames, rename};
pub use resolve::{Base, Options, Resolved, ResolvedStage, resolve};
pub use vertex::line_of_vertex;

use command::Command;

/// A Dockerfile's structure. Instructions that the front end refuses are in it too, without effect.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// How diagnostics name the file.
    pub path: String,
    /// `# syntax=…`, in any of the forms that BuildKit detects.
    pub syntax: Option<Directive>,
    /// `# escape=…`: the character that escapes and continues lines.
    pub escape: char,
    /// All instructions, in file order.
    pub instructions: Vec<Instruction>,
    /// One a `FROM`, in file order.
    pub stages: Vec<Stage>,
    /// What of it not every front end can read, whether or not a target reaches it.
    pub(crate) uses: Vec<Use>,
}

/// A parser directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// What follows the `=`, up to the first space.
    pub value: String,
    /// 1-based line.
    pub line: u32,
}

/// One instruction with all its continuation lines.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// The keyword in upper case, as far as the line has one.
    pub keyword: String,
    /// 1-based line of the keyword.
    pub line: u32,
    /// 1-based last line, heredocs included.
    pub end_line: u32,
    /// Its text: continuations joined, comments inside them taken out.
    pub text: String,
    /// The here-documents that follow it.
    pub heredocs: Vec<Heredoc>,
    pub(crate) command: Command,
    /// What of it not every front end can read.
    pub(crate) uses: Vec<Use>,
}

/// One here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// Variables in it are expanded: the word was not quoted.
    pub expand: bool,
    /// `<<-`: leading tabs are taken off.
    pub chomp: bool,
    /// Blanks stand between the `<<` and the word.
    pub is_spaced: bool,
    /// The lines, as they stand in the file.
    pub content: String,
}

/// One `FROM` and what follows it.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The name after `AS`, in lower case.
    pub name: Option<String>,
    /// What follows `FROM`, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// 1-based line of the `FROM`.
    pub line: u32,
    /// Where its `FROM` stands in [`Dockerfile::instructions`].
    pub from: usize,
    /// Its further instructions in [`Dockerfile::instructions`].
    pub body: Range<usize>,
}

impl Stage {
    /// The name, or the 0-based position where it has none, as `COPY --from` takes it.
    pub fn label(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| index.to_string())
    }
}

impl Dockerfile {
    /// The instructions of a stage, without its `FROM`.
    pub fn body(&self, stage: &Stage) -> &[Instruction] {
        self.instructions.get(stage.body.clone()).unwrap_or_default()
    }

    /// The instructions before the first `FROM`.
    pub(crate) fn head(&self) -> &[Instruction] {
        let end = self.stages.first().map_or(self.instructions.len(), |stage| stage.from);
        self.instructions.get(..end).unwrap_or_default()
    }
}

/// The build args that a file declares, in file order: the line, the name, and the default as it is written.
pub fn declared_args(path: &str, text: &str) -> Vec<(u32, String, Option<String>)> {
    let (file, _) = parse(path, text);
    let mut declared = Vec::new();
    for instruction in file.instructions {
        if let Command::Arg(args) = instruction.command {
            declared.extend(args.into_iter().map(|(name, default)| (instruction.line, name, default)));
        }
    }
    declared
}

/// Reads a Dockerfile. `path` is what diagnostics call it.
pub fn parse(path: &str, text: &str) -> (Dockerfile, Vec<Diagnostic>) {
    let mut found = lines::Findings::default();
    let (escape, instructions, unknown) = lines::read(text, &mut found);
    // One of them may be the FROM that the rest misses.
    let is_odd = !unknown.is_empty();
    let mut file = Dockerfile {
        path: path.to_owned(),
        syntax: directives::detect_syntax(text),
        escape,
        stages: stages_of(&instructions, is_odd, &mut found),
        instructions,
        uses: Vec::new(),
    };
    if unknown.say(&file, &mut found) {
        // What a web page or a script seems to say as a Dockerfile is of no use to anybody.
        (file.instructions, file.stages) = (Vec::new(), Vec::new());
    } else if file.instructions.is_empty() {
        found.error(1, "there is no instruction in it; a Dockerfile begins with FROM".to_owned());
    } else if file.stages.is_empty() && !is_odd {
        found.error(file.instructions[0].line, "there is no FROM, so no stage to build".to_owned());
    }
    file.uses = file.instructions.iter().flat_map(|instruction| instruction.uses.iter().cloned()).collect();
    (file, found.into_diagnostics(path))
}

fn stages_of(instructions: &[Instruction], mut is_told: bool, found: &mut lines::Findings) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (at, instruction) in instructions.iter().enumerate() {
        match (&instruction.command, stages.last_mut()) {
            (Command::From(from), _) => {
                if let Some(name) = &from.name
                    && stages.iter().any(|stage| stage.name.as_ref() == Some(name))
                {
                    found.warn(
                        instruction.line,
                        format!("stage `{name}` is named twice; the last one counts"),
                    );
                }
                stages.push(Stage {
                    name: from.name.clone(),
                    base: from.image.clone(),
                    platform: from.platform.clone(),
                    line: instruction.line,
                    from: at,
                    body: at + 1..at + 1,
                });
            }
            (_, Some(stage)) => stage.body.end = at + 1,
            (Command::Arg(_) | Command::Refused, None) => {}
            (_, None) => {
                // The first one says it for all.
                if !std::mem::replace(&mut is_told, true) {
                    let message =
                        format!("{} stands before the first FROM; only ARG may", instruction.keyword);
                    found.error(instruction.line, message);
                }
            }
        }
    }
    stages
}
