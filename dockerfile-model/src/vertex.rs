//! From the name of a build step, as BuildKit shows it, to the line of its instruction.
//!
//! In: a [`Dockerfile`] and a name such as `[builder 3/7] RUN npm ci`. Out: a line. Names are made by BuildKit's
//! `prefixCommand`: platform and stage, then position and count of the instructions that make layers.

use super::command::Command;
use super::lex::{Lex, NoVariables};
use super::{Dockerfile, Instruction, Stage};

/// The 1-based line of the instruction that a vertex is named after; none for internal steps and foreign names.
pub fn line_of_vertex(file: &Dockerfile, name: &str) -> Option<u32> {
    let (head, shown) = name.strip_prefix('[')?.split_once(']')?;
    let shown = shown.trim_start();
    let (shown, is_trigger) = match shown.strip_prefix("ONBUILD ") {
        Some(trigger) => (trigger, true),
        None => (shown.strip_prefix("LINK ").unwrap_or(shown), false),
    };
    // `linux/amd64->arm64 builder  3/12`, without platform or stage where there is only one.
    let mut words: Vec<&str> = head.split_whitespace().collect();
    let (position, count) = words.pop()?.split_once('/')?;
    let (position, count): (usize, usize) = (position.parse().ok()?, count.parse().ok()?);
    let stage = match words.pop() {
        Some(word) if !word.contains('/') => find_stage(file, word)?,
        _ => file.stages.last().filter(|_| file.stages.len() == 1)?,
    };
    let keyword = shown.split_whitespace().next()?.to_ascii_uppercase();
    if keyword == "FROM" {
        return Some(stage.line);
    }
    let makes_layer = |instruction: &&Instruction| {
        matches!(instruction.command, Command::Run(_) | Command::Transfer(_) | Command::Workdir(_))
    };
    let layers: Vec<&Instruction> = file.body(stage).iter().filter(makes_layer).collect();
    // The count tells whether FROM is one of the steps, and how many triggers of the base come first.
    let ahead = count.saturating_sub(layers.len());
    let layers: Vec<&Instruction> = layers.into_iter().filter(|layer| !is_root_folder(layer)).collect();
    let guess = (position as isize) - (ahead as isize) - 1;
    let is_same = |at: usize| first_words(file, layers[at]) == squeeze(shown);
    if is_trigger || guess < 0 {
        // A FROM that a named context stands for is counted, and has no place.
        let of_first = layers.first().filter(|_| !is_trigger && guess == -1 && is_same(0));
        let line = of_first.map(|layer| layer.line).or_else(|| line_of_trigger(file, shown));
        return Some(line.unwrap_or(stage.line));
    }
    let similarity = |at: usize| (!is_same(at), (at as isize - guess).unsigned_abs());
    let nearest =
        (0..layers.len()).filter(|&at| layers[at].keyword == keyword).min_by_key(|&at| similarity(at));
    match nearest {
        Some(at) if is_same(at) || !is_shown_as_written(layers[at]) => Some(layers[at].line),
        // Builders before Engine 28 count triggers of an image on top, so their places do not tell.
        _ if matches!(keyword.as_str(), "RUN" | "COPY" | "ADD" | "WORKDIR") => {
            Some(line_of_trigger(file, shown).unwrap_or(stage.line))
        }
        _ => None,
    }
}

/// Whether nothing in it is replaced when its step is named.
fn is_shown_as_written(instruction: &Instruction) -> bool {
    instruction.heredocs.is_empty() && !instruction.text.contains(['$', '"', '\'', '\\', '['])
}

/// The `ONBUILD` of this file; the image that a stage stands on brings all others.
fn line_of_trigger(file: &Dockerfile, shown: &str) -> Option<u32> {
    let is_it = |instruction: &&Instruction| match &instruction.command {
        Command::Onbuild(Ok(inner)) => first_words(file, inner) == squeeze(shown),
        _ => false,
    };
    file.instructions.iter().find(is_it).map(|instruction| instruction.line)
}

fn find_stage<'f>(file: &'f Dockerfile, word: &str) -> Option<&'f Stage> {
    // The last stage of a name counts.
    let named = file.stages.iter().rev().find(|stage| stage.name.as_deref() == Some(word));
    named.or_else(|| {
        let index: usize = word.strip_prefix("stage-")?.parse().ok()?;
        file.stages.get(index)
    })
}

/// `WORKDIR /` is counted, but has no step of its own.
fn is_root_folder(instruction: &Instruction) -> bool {
    let is_root =
        |path: &str| path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."));
    matches!(&instruction.command, Command::Workdir(path) if is_root(path))
}

/// The text of an instruction as BuildKit shows it, variables aside.
fn first_words(file: &Dockerfile, instruction: &Instruction) -> String {
    let mut lex = Lex::new(file.escape);
    (lex.raw_quotes, lex.skip_unset) = (matches!(instruction.command, Command::Run(_)), true);
    let text = lex.expand(&instruction.text, &NoVariables).map(|expansion| expansion.text);
    squeeze(text.as_deref().unwrap_or(&instruction.text))
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
