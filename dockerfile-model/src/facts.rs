//! What a Dockerfile says of itself: labels and defaults, as written.
//!
//! In: a [`Dockerfile`]. Out: texts and their lines. Variables stay as they are: who asks here wants to know what the
//! file says before anybody sets anything.

use std::collections::BTreeSet;

use super::command::Command;
use super::lex::{Lex, NoVariables};
use super::lines::{self, Findings};
use super::{Dockerfile, Instruction, Stage};
use crate::Reference;

/// The images, or stages, that triggers copy from.
pub fn named_by_triggers(texts: &[String]) -> BTreeSet<Reference> {
    let mut named = BTreeSet::new();
    for text in texts {
        let (_, instructions, _) = lines::read(text, &mut Findings::default());
        for instruction in instructions {
            match &instruction.command {
                Command::Transfer(transfer) => {
                    named.extend(transfer.from.iter().filter_map(|from| from.parse().ok()))
                }
                Command::Run(mounts) => {
                    named.extend(mounts.iter().filter_map(|mount| mount.from.as_ref()?.parse().ok()));
                }
                _ => {}
            }
        }
    }
    named
}

impl Dockerfile {
    /// The last stage's label of that name, quotes taken off.
    pub fn label(&self, name: &str) -> Option<String> {
        let stage = self.stages.last()?;
        let words = self.body(stage).iter().rev().filter(|instruction| instruction.keyword == "LABEL");
        words.filter_map(|instruction| self.pair(&instruction.command, name)).next()
    }

    /// What a stage leaves to be run by whatever stands on it, as BuildKit keeps it in the image: the instruction without
    /// `ONBUILD`, its here-documents after it.
    pub(super) fn triggers(&self, stage: &Stage) -> Vec<String> {
        let onbuild = self.body(stage).iter().filter(|found| matches!(found.command, Command::Onbuild(_)));
        let text = |instruction: &Instruction| {
            let text = instruction.text.trim_start().get("ONBUILD".len()..).unwrap_or_default().trim_start();
            let heredocs = instruction.heredocs.iter();
            heredocs
                .fold(text.to_owned(), |text, heredoc| format!("{text}\n{}{}", heredoc.content, heredoc.name))
        };
        onbuild.map(text).collect()
    }

    fn pair(&self, command: &Command, name: &str) -> Option<String> {
        let Command::Words(words) = command else { return None };
        let mut pairs = words.chunks_exact(2).rev();
        pairs.find(|pair| self.unquoted(&pair[0]) == name).map(|pair| self.unquoted(&pair[1]))
    }

    fn unquoted(&self, word: &str) -> String {
        let lex = Lex { skip_unset: true, ..Lex::new(self.escape) };
        lex.expand(word, &NoVariables).map_or_else(|_| word.to_owned(), |expansion| expansion.text)
    }

    /// The default of an `ARG`, and the 1-based line of the first instruction that gives it one.
    pub fn arg_default(&self, name: &str) -> Option<(String, u32)> {
        self.instructions.iter().find_map(|instruction| {
            let Command::Arg(args) = &instruction.command else { return None };
            let value = args.iter().find_map(|(arg, value)| value.as_ref().filter(|_| arg == name))?;
            Some((self.unquoted(value), instruction.line))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[track_caller]
    fn check(text: &str, label: Option<&str>, default: Option<(&str, u32)>) {
        let (file, _) = parse("Dockerfile", text);
        assert_eq!(file.label("description").as_deref(), label);
        let found = file.arg_default("V");
        assert_eq!(found.as_ref().map(|(value, line)| (value.as_str(), *line)), default);
    }

    #[test]
    fn labels_are_the_last_stages() {
        check("FROM a\nLABEL description=\"A - b c\"\n", Some("A - b c"), None);
        check("FROM a\nLABEL x=1 'description'='A $B'\n", Some("A $B"), None);
        check("FROM a\nLABEL description plain words\n", Some("plain words"), None);
        check("FROM a\nLABEL description=one\nLABEL description=two\n", Some("two"), None);
        check("FROM a AS one\nLABEL description=one\nFROM one\n", None, None);
        check("LABEL description=x\n", None, None);
        check("", None, None);
    }

    #[test]
    fn defaults_are_found_before_and_after_from() {
        check("ARG V=1.2.3\nFROM a\nARG V\n", None, Some(("1.2.3", 1)));
        check("FROM a\nARG V=\"1.2.3\"\n", None, Some(("1.2.3", 2)));
        check("ARG V\nFROM a\nARG W=1 V=2\n", None, Some(("2", 3)));
        check("ARG W=1\nFROM a\n", None, None);
    }
}
