//! Runs through the instructions of one reachable stage: variables in order, and what is read of the context.
//!
//! In: a stage's instructions and the scope that it starts with. Out: its scope at the end, inputs, ARG names, and
//! what the front end would refuse. The rules are those of BuildKit's `dispatch` (`dockerfile2llb/convert.go`,
//! `convert_runmount.go`).

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::command::{Command, Mount, Transfer};
use super::lex::{Lex, UNKNOWN, Variables as _};
use super::lines::Findings;
use super::remote::{Origin, origin_of};
use super::scope::{Globals, StageScope};
use super::{Dockerfile, Instruction, Options};
use crate::model::{InputKind, InputPattern};

/// Keys of `--mount`; those without a value are marked.
const MOUNT_KEYS: [(&str, bool); 18] = [
    ("type", false),
    ("from", false),
    ("source", false),
    ("src", false),
    ("target", false),
    ("dst", false),
    ("destination", false),
    ("readonly", true),
    ("ro", true),
    ("readwrite", true),
    ("rw", true),
    ("required", true),
    ("size", false),
    ("id", false),
    ("sharing", false),
    ("mode", false),
    ("uid", false),
    ("gid", false),
];
const MOUNT_TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

/// What a run through stages collects.
pub(super) struct Evaluation<'a> {
    pub options: &'a Options<'a>,
    pub globals: &'a Globals,
    pub lex: Lex,
    pub inputs: Vec<InputPattern>,
    /// ARG names of the stages.
    pub declared: BTreeSet<String>,
    /// Global ARGs whose values the stages take over.
    pub inherited: BTreeSet<String>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(file: &Dockerfile, options: &'a Options<'a>, globals: &'a Globals) -> Self {
        Self {
            options,
            globals,
            lex: Lex::new(file.escape),
            inputs: Vec::new(),
            declared: BTreeSet::new(),
            inherited: BTreeSet::new(),
        }
    }
}

impl Evaluation<'_> {
    /// Evaluates one instruction. `line` is where its findings and inputs are reported.
    pub(super) fn step(
        &mut self,
        instruction: &Instruction,
        line: u32,
        scope: &mut StageScope,
        found: &mut Findings,
    ) {
        if let Err(why) = self.try_step(instruction, line, scope) {
            found.error(line, format!("{}: {why}", instruction.keyword));
        }
        for heredoc in instruction.heredocs.iter().filter(|heredoc| heredoc.expand) {
            let mut lex = Lex::new('\\');
            lex.skip_quotes = true;
            if matches!(instruction.command, Command::Transfer(_))
                && let Err(why) = lex.expand(&heredoc.content, scope)
            {
                found.error(line, format!("heredoc `{}`: {why}", heredoc.name));
            }
        }
    }

    fn try_step(
        &mut self,
        instruction: &Instruction,
        line: u32,
        scope: &mut StageScope,
    ) -> Result<(), String> {
        match &instruction.command {
            Command::Arg(args) => {
                args.iter().try_for_each(|(name, default)| self.arg(name, default.as_deref(), scope))
            }
            Command::Env(pairs) => {
                let mut values = Vec::with_capacity(pairs.len());
                for (name, value) in pairs {
                    values.push((
                        self.expand(name, scope)?.into_owned(),
                        self.expand(value, scope)?.into_owned(),
                    ));
                }
                // All of them see the environment before the instruction.
                values.into_iter().for_each(|(name, value)| scope.set_env(name, value));
                Ok(())
            }
            Command::Transfer(transfer) => self.transfer(transfer, line, scope),
            Command::Run(mounts) => mounts.iter().try_for_each(|mount| self.mount(mount, line, scope)),
            Command::Workdir(word) => self.expand(word, scope).map(drop),
            Command::Words(words) if instruction.keyword == "LABEL" => {
                for pair in words.chunks(2) {
                    let name = self.expand(&pair[0], scope)?.into_owned();
                    pair.iter().skip(1).try_for_each(|value| self.expand(value, scope).map(drop))?;
                    scope.labels.insert(name);
                }
                Ok(())
            }
            Command::Words(words) => words.iter().try_for_each(|word| self.expand(word, scope).map(drop)),
            Command::From(_) | Command::Onbuild(_) | Command::Other | Command::Refused => Ok(()),
        }
    }

    fn expand<'w>(&self, word: &'w str, scope: &StageScope) -> Result<Cow<'w, str>, String> {
        if self.lex.is_plain(word) {
            return Ok(word.into());
        }
        Ok(self.lex.expand(word, scope)?.text.into())
    }

    fn arg(&mut self, name: &str, default: Option<&str>, scope: &mut StageScope) -> Result<(), String> {
        self.declared.insert(name.to_owned());
        let value = match (self.options.build_args.get(name), default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => Some(self.expand(default, scope)?.into_owned()),
            (None, None) => {
                self.inherited.insert(name.to_owned());
                self.globals.get(name).map(str::to_owned)
            }
        };
        scope.set_arg(name, value);
        Ok(())
    }

    fn transfer(&mut self, transfer: &Transfer, line: u32, scope: &StageScope) -> Result<(), String> {
        for word in [&transfer.to, &transfer.owner] {
            self.expand(word, scope)?;
        }
        let mode = self.expand(&transfer.mode, scope)?;
        check_mode(&mode)?;
        // A symbolic mode changes the one that is there; parents that come along keep theirs.
        let sets_mode = u32::from_str_radix(&mode, 8).is_ok() && !transfer.parents;
        if transfer.has_checksum && transfer.sources.len() != 1 {
            return Err("--checksum takes exactly one source".to_owned());
        }
        for source in &transfer.sources {
            let source = self.expand(source, scope)?;
            let origin = origin_of(&source);
            if transfer.has_checksum && origin == Origin::Local && !source.contains(UNKNOWN) {
                return Err("--checksum is for URLs and git only".to_owned());
            }
            match (transfer.kind, origin) {
                (InputKind::Add, Origin::Http | Origin::Git) => {}
                (_, Origin::Http | Origin::Git) => {
                    return Err(format!("`{source}` is not local; only ADD reads URLs and git"));
                }
                (_, Origin::Local) if transfer.from.is_some() => {}
                (kind, Origin::Local) => self.inputs.push(InputPattern {
                    excludes: transfer.excludes.clone(),
                    parents: transfer.parents,
                    sets_mode,
                    ..InputPattern::new(cut_at_unknown(source.into_owned()), line, kind)
                }),
            }
        }
        Ok(())
    }

    /// `parseMount` with variables.
    fn mount(&mut self, mount: &Mount, line: u32, scope: &StageScope) -> Result<(), String> {
        let (mut kind, mut source) = ("bind".to_owned(), String::new());
        let (mut from, mut target) = (String::new(), String::new());
        for (key, value) in &mount.fields {
            let Some((_, may_be_bare)) =
                MOUNT_KEYS.iter().chain(&[("env", false)]).find(|(known, _)| known == key)
            else {
                let hint = super::command::did_you_mean(key, MOUNT_KEYS.map(|(key, _)| key), str::to_owned);
                return Err(format!("a mount has no key `{key}`{hint}"));
            };
            let value = match value {
                Some(value) => self.expand(value, scope)?.into_owned(),
                None if *may_be_bare => continue,
                None => return Err(format!("`{key}` of a mount needs a value")),
            };
            match key.as_str() {
                "type" => kind = value.to_ascii_lowercase(),
                "source" | "src" => source = value,
                "from" => from = value,
                "target" | "dst" | "destination" => target = value,
                _ => {}
            }
        }
        if !MOUNT_TYPES.contains(&kind.as_str()) && !kind.contains(UNKNOWN) {
            return Err(format!("`{kind}` is no type of mount; there are {}", MOUNT_TYPES.join(", ")));
        }
        let is_root =
            target.starts_with('/') && target.split('/').all(|part| matches!(part, "" | "." | ".."));
        if is_root && kind != "secret" && kind != "ssh" {
            return Err("a mount cannot have `/` as its target".to_owned());
        }
        if kind == "bind" && from.is_empty() {
            let pattern = if source.is_empty() { ".".to_owned() } else { cut_at_unknown(source) };
            self.inputs.push(InputPattern::new(pattern, line, InputKind::Bind));
        }
        Ok(())
    }
}

/// A source that depends on the base image's own environment may be anything below its known folders.
fn cut_at_unknown(source: String) -> String {
    let Some(at) = source.find(UNKNOWN) else { return source };
    match source[..at].rfind('/') {
        Some(slash) => source[..=slash].to_owned(),
        None => ".".to_owned(),
    }
}

/// `--chmod` that begins with a digit is octal; the rest is symbolic and left to the builder.
fn check_mode(mode: &str) -> Result<(), String> {
    let is_numeric = mode.starts_with(|c: char| c.is_ascii_digit()) && !mode.contains(UNKNOWN);
    match u32::from_str_radix(mode, 8) {
        Ok(value) if value > 0o7777 => Err(format!("--chmod={mode} is more than 7777")),
        Err(_) if is_numeric => Err(format!("--chmod={mode} is not octal")),
        _ => Ok(()),
    }
}
