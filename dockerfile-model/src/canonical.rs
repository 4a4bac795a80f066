//! Text of all that a target reaches, for its key.
//!
//! In: the resolved stages. Out: text that stays the same when comments, blank lines or unreachable stages change,
//! and differs when anything else does. Build args and the context's files are keys of their own.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::resolve::Base;
use super::scope::Globals;
use super::stages::Stages;
use super::{Dockerfile, Instruction};
use crate::Reference;

pub(super) fn text(
    file: &Dockerfile,
    stages: &Stages<'_>,
    reachable: &[usize],
    globals: &Globals,
    used_globals: &BTreeSet<String>,
    syntax: Option<&Reference>,
) -> String {
    let mut text = String::with_capacity(1024);
    // Writing to a String cannot fail.
    if let Some(syntax) = syntax {
        let _ = writeln!(text, "# syntax={syntax}");
    }
    if file.escape != '\\' {
        let _ = writeln!(text, "# escape={}", file.escape);
    }
    let declarations: BTreeSet<usize> = used_globals
        .iter()
        .filter_map(|name| globals.declaration(name))
        .flat_map(|arg| arg.instructions.iter().copied())
        .collect();
    for instruction in declarations.into_iter().filter_map(|at| file.instructions.get(at)) {
        push_instruction(&mut text, instruction);
    }
    // Positions count among the reachable ones, so that an unreachable stage may come and go.
    let position = |at: usize| reachable.iter().position(|&known| known == at).unwrap_or(at);
    for node in reachable.iter().filter_map(|&at| stages.nodes.get(at)) {
        let Some(stage) = node.stage.and_then(|index| file.stages.get(index)) else { continue };
        if let Some(from) = file.instructions.get(stage.from) {
            push_instruction(&mut text, from);
        }
        if let Base::Stage(base) = node.base {
            let _ = writeln!(text, "# on {}", position(base));
        }
        for edge in &node.edges {
            let _ = writeln!(text, "# from {}", position(edge.to));
        }
        // Those of this file stand in it; those of an image are what its `FROM` stands for.
        for trigger in node.triggers.iter().filter(|trigger| trigger.of.is_some()) {
            text.push_str("# onbuild ");
            push_instruction(&mut text, &trigger.instruction);
        }
        for instruction in file.body(stage) {
            push_instruction(&mut text, instruction);
        }
    }
    // Kept for as long as the program runs, for thousands of images.
    text.shrink_to_fit();
    text
}

fn push_instruction(text: &mut String, instruction: &Instruction) {
    text.push_str(&instruction.text);
    text.push('\n');
    for heredoc in &instruction.heredocs {
        let _ = writeln!(text, "# {} bytes until {}", heredoc.content.len(), heredoc.name);
        text.push_str(&heredoc.content);
        text.push('\n');
    }
}
