//! The graph of stages and of the images that they name.
//!
//! In: a Dockerfile and its global ARGs. Out: for each stage what it stands on and copies from, and what a target
//! reaches. The rules, oddities included, are those of BuildKit's `dispatchStates`, `toCommand`, `detectRunMount`
//! and `initOnBuildTriggers` (`dockerfile2llb`).

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use super::command::{ALIAS_STAGE, Command, did_you_mean, near};
use super::front_end::{Feature, Use};
use super::lex::{Expansion, Lex, NoVariables};
use super::lines::{self, Findings};
use super::resolve::{Base, ResolvedStage};
use super::scope::Globals;
use super::{Dockerfile, Instruction, Options, Stage};
use crate::{Brought, Diagnostic, Platform, Reference, Triggers};

/// The name that stands for nothing.
const SCRATCH: &str = "scratch";

/// One `FROM`, or one image that a COPY or a mount names.
pub(super) struct Node<'a> {
    /// Position in [`Dockerfile::stages`]; none for an image.
    pub stage: Option<usize>,
    pub name: Option<String>,
    pub base: Base,
    pub platform: Option<Platform>,
    pub line: u32,
    /// Names of variables in its FROM.
    pub asks_for: BTreeSet<String>,
    pub edges: Vec<Edge>,
    /// `ONBUILD` instructions of the stage or image that it stands on.
    pub triggers: Vec<Trigger<'a>>,
    has_triggers: bool,
}

/// "copies from"
#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub to: usize,
    pub line: u32,
}

/// An instruction that runs because of an ONBUILD.
pub(super) struct Trigger<'a> {
    pub instruction: Cow<'a, Instruction>,
    /// Of the `ONBUILD`, or of the `FROM` that names the image which brings it.
    pub line: u32,
    /// The image that brings it; none for one of this file.
    pub of: Option<&'a Reference>,
}

impl Node<'_> {
    pub(super) fn to_stage(&self) -> Option<ResolvedStage> {
        Some(ResolvedStage {
            index: self.stage?,
            name: self.name.clone(),
            base: self.base.clone(),
            platform: self.platform.clone(),
            line: self.line,
        })
    }
}

/// All stages, then the images that COPY and mounts name, in BuildKit's order: `--from=<index>` counts them so.
pub(super) struct Stages<'a> {
    pub nodes: Vec<Node<'a>>,
    pub doubts: Vec<Doubt>,
    file: &'a Dockerfile,
    names: HashMap<String, usize>,
    brought: &'a Triggers,
    /// What the target reaches without any trigger.
    plain: Vec<usize>,
}

/// An image that a stage copies from, and whose name is nearly that of a stage.
pub(super) struct Doubt {
    /// Position of the stage that names it.
    pub stage: usize,
    pub image: Reference,
    /// As it is written.
    name: String,
    meant: String,
    line: u32,
}

impl Doubt {
    /// What to say if no image of that name is known.
    pub(super) fn told(&self, path: &str) -> Diagnostic {
        let Self { image, name, meant, line, .. } = self;
        let message = format!(
            "`from={name}` is no stage, so it is taken for the image {}; did you mean the stage `{meant}`?",
            image.familiar()
        );
        Diagnostic::warning(path, *line, message)
    }
}

impl<'a> Stages<'a> {
    pub(super) fn new(
        file: &'a Dockerfile,
        options: &Options<'a>,
        globals: &Globals,
        found: &mut Findings,
    ) -> Self {
        let nodes = Vec::with_capacity(file.stages.len());
        let (doubts, names, brought) = (Vec::new(), HashMap::new(), options.triggers);
        let mut stages = Self { nodes, doubts, file, names, brought, plain: Vec::new() };
        for (index, stage) in file.stages.iter().enumerate() {
            let node = stages.from(index, stage, options, globals, found);
            stages.nodes.push(node);
            if let Some(name) = &stage.name {
                stages.names.insert(name.clone(), index);
            }
        }
        for (index, stage) in file.stages.iter().enumerate() {
            for instruction in file.body(stage) {
                stages.connect(index, instruction, instruction.line, found);
            }
        }
        stages
    }

    /// A stage by name, in any case.
    pub(super) fn by_name(&self, name: &str) -> Option<usize> {
        self.names.get(&name.to_lowercase()).copied()
    }

    fn from(
        &self,
        index: usize,
        stage: &Stage,
        options: &Options<'_>,
        globals: &Globals,
        found: &mut Findings,
    ) -> Node<'a> {
        let mut node = Node {
            stage: Some(index),
            name: stage.name.clone(),
            base: Base::Unresolved(stage.base.clone()),
            platform: None,
            line: stage.line,
            asks_for: BTreeSet::new(),
            edges: Vec::new(),
            triggers: Vec::new(),
            has_triggers: false,
        };
        let from = From { file: self.file, stage, globals };
        match from.expand(&stage.base) {
            Err(why) => found.error(stage.line, format!("FROM {}: {why}", stage.base)),
            Ok(expansion) => {
                let text = from.note(&stage.base, expansion, &mut node.asks_for, found);
                node.base = self.base(&from, text, found);
            }
        }
        if let Some(platform) = &stage.platform {
            let expanded = from
                .expand(platform)
                .map(|expansion| from.note(platform, expansion, &mut node.asks_for, found));
            match expanded {
                Err(why) => found.error(stage.line, format!("--platform={platform}: {why}")),
                Ok(text) => match parse_platform(&text, options.build_platform) {
                    Some(parsed) => node.platform = Some(parsed).filter(|parsed| parsed != options.platform),
                    None => {
                        let why = from.blame(platform);
                        found.error(
                            stage.line,
                            format!("--platform={platform} gives `{text}`, which is no platform{why}"),
                        );
                    }
                },
            }
        }
        node
    }

    fn base(&self, from: &From<'_>, text: String, found: &mut Findings) -> Base {
        // A FROM sees the stages before it only, and names them in lower case.
        if let Some(&at) = self.names.get(&text) {
            return Base::Stage(at);
        }
        if text == SCRATCH {
            return Base::Scratch;
        }
        if from.stage.base.is_empty() {
            // Reported where it was read.
            return Base::Unresolved(text);
        }
        let line = from.stage.line;
        match text.parse::<Reference>() {
            Ok(reference) => {
                from.warn_of_undeclared(found);
                Base::Image(reference)
            }
            Err(_) if self.by_name(&text).is_some() => {
                let lower = text.to_lowercase();
                found.error(
                    line,
                    format!("FROM takes stage names in lower case: write `{lower}`, not `{text}`"),
                );
                self.by_name(&text).map_or(Base::Unresolved(text), Base::Stage)
            }
            Err(why) => {
                let written = &from.stage.base;
                let blame = from.blame(written);
                let message = if *written == text {
                    format!("FROM {written}: {why}{blame}")
                } else {
                    format!("FROM {written} gives `{text}`, which is no image reference{blame}")
                };
                found.error(line, message);
                Base::Unresolved(text)
            }
        }
    }

    /// Adds what `instruction` copies from to the stage `at`. Says whether there was anything.
    fn connect(&mut self, at: usize, instruction: &Instruction, line: u32, found: &mut Findings) -> bool {
        match &instruction.command {
            Command::Transfer(transfer) => {
                let Some(from) = &transfer.from else { return false };
                match Lex::new(self.file.escape).expand(from, &NoVariables) {
                    Ok(expansion) if expansion.text == *from => {}
                    _ => {
                        let message = format!("`--from={from}` cannot have variables; {ALIAS_STAGE}");
                        found.error(line, message);
                        return false;
                    }
                }
                let to = match parse_index(from) {
                    Some(index) if (0..self.nodes.len() as i64).contains(&index) => index as usize,
                    Some(index) => {
                        let count = self.file.stages.len();
                        found.error(
                            line,
                            format!("`--from={index}`: there is no such stage, the file has {count}"),
                        );
                        return false;
                    }
                    None => self.named_or_image(at, from, line, found),
                };
                self.nodes[at].edges.push(Edge { to, line });
                true
            }
            Command::Run(mounts) => {
                for mount in mounts {
                    let to = self.named_or_image(at, mount.from.as_deref().unwrap_or(SCRATCH), line, found);
                    self.nodes[at].edges.push(Edge { to, line });
                }
                !mounts.is_empty()
            }
            _ => false,
        }
    }

    /// The same for a trigger. Front ends before 1.11 decide what a target reaches before they look at any.
    fn connect_trigger(&mut self, at: usize, inner: &Instruction, line: u32, found: &mut Findings) -> bool {
        let known = self.nodes[at].edges.len();
        let has_grown = self.connect(at, inner, line, found);
        let is_late = |edge: &Edge| {
            let to = &self.nodes[edge.to];
            let is_scratch = to.stage.is_none() && to.base == Base::Scratch;
            !is_scratch && !self.plain.contains(&edge.to)
        };
        if self.nodes[at].edges[known..].iter().any(is_late) {
            let from = match &inner.command {
                Command::Transfer(transfer) => transfer.from.as_deref(),
                Command::Run(mounts) => mounts.iter().find_map(|mount| mount.from.as_deref()),
                _ => None,
            };
            let flag = if inner.keyword == "RUN" { "--mount=from" } else { "--from" };
            let written = format!("ONBUILD {} {flag}={}", inner.keyword, from.unwrap_or_default());
            found.uses.push(Use { feature: Feature::TriggeredFrom, written, line, trap: None });
        }
        has_grown
    }

    fn named_or_image(&mut self, stage: usize, name: &str, line: u32, found: &mut Findings) -> usize {
        if let Some(at) = self.by_name(name) {
            return at;
        }
        let stages = &self.file.stages;
        let names = || stages.iter().filter_map(|stage| stage.name.as_deref());
        let base = match name.parse() {
            _ if name == SCRATCH => Base::Scratch,
            Ok(reference) => {
                let meant = near(name, names()).filter(|_| !name.contains([':', '/', '@']));
                self.doubts.extend(meant.map(|meant| Doubt {
                    stage,
                    image: Reference::clone(&reference),
                    name: name.to_owned(),
                    meant: meant.to_owned(),
                    line,
                }));
                Base::Image(reference)
            }
            Err(why) => {
                let hint = did_you_mean(&name.to_lowercase(), names(), str::to_owned);
                found.error(line, format!("`from={name}` is no stage, and {why}{hint}"));
                Base::Unresolved(name.to_owned())
            }
        };
        self.nodes.push(Node {
            stage: None,
            name: None,
            base,
            platform: None,
            line,
            asks_for: BTreeSet::new(),
            edges: Vec::new(),
            triggers: Vec::new(),
            has_triggers: false,
        });
        self.nodes.len() - 1
    }

    /// What `target` reaches, in file order. Triggers of ONBUILD are found on the way: they may reach further.
    pub(super) fn reach(&mut self, target: usize, found: &mut Findings) -> Vec<usize> {
        self.plain = self.closure(target);
        loop {
            let reached = self.closure(target);
            let mut has_grown = false;
            for &at in &reached {
                // What is only copied from triggers nothing.
                let node = &mut self.nodes[at];
                if node.stage.is_none() || std::mem::replace(&mut node.has_triggers, true) {
                    continue;
                }
                has_grown |= match &node.base {
                    Base::Stage(base) => {
                        let base = *base;
                        self.trigger(at, base, found)
                    }
                    Base::Image(reference) => match self.brought.get_key_value(reference) {
                        Some((of, Brought::Known(texts))) => self.trigger_of_image(at, of, texts, found),
                        Some((_, Brought::Unknown)) | None => false,
                    },
                    Base::Scratch | Base::Unresolved(_) => false,
                };
            }
            if !has_grown {
                self.report_order(&reached, found);
                return reached;
            }
        }
    }

    fn trigger(&mut self, at: usize, base: usize, found: &mut Findings) -> bool {
        let file = self.file;
        let mut has_grown = false;
        for instruction in file.stages.get(base).map_or(&[][..], |stage| file.body(stage)) {
            match &instruction.command {
                Command::Onbuild(Ok(inner)) => {
                    has_grown |= self.connect_trigger(at, inner, instruction.line, found);
                    let instruction_of = Cow::Borrowed(&**inner);
                    let trigger = Trigger { instruction: instruction_of, line: instruction.line, of: None };
                    self.nodes[at].triggers.push(trigger);
                }
                Command::Onbuild(Err(why)) => found.error(instruction.line, format!("ONBUILD: {why}")),
                _ => {}
            }
        }
        has_grown
    }

    /// Triggers as an image has them: each is a text of its own, read with `\` as the escape.
    fn trigger_of_image(
        &mut self,
        at: usize,
        of: &'a Reference,
        texts: &[String],
        found: &mut Findings,
    ) -> bool {
        let (line, known) = (self.nodes[at].line, found.count());
        let mut has_grown = false;
        for text in texts {
            let mut unread = Findings::default();
            let (_, instructions, unknown) = lines::read(text, &mut unread);
            unknown.report(&mut unread);
            for instruction in instructions {
                has_grown |= self.connect_trigger(at, &instruction, line, found);
                let trigger = Trigger { instruction: Cow::Owned(instruction), line, of: Some(of) };
                self.nodes[at].triggers.push(trigger);
            }
            unread.into_diagnostics("").into_iter().for_each(|why| found.error(line, why.message));
        }
        found.ascribe(known, &format!("ONBUILD of {}", of.familiar()));
        has_grown
    }

    fn closure(&self, from: usize) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let mut queue = vec![from];
        while let Some(at) = queue.pop() {
            if !seen.insert(at) {
                continue;
            }
            let Some(node) = self.nodes.get(at) else { continue };
            queue.extend(node.edges.iter().map(|edge| edge.to));
            if let Base::Stage(base) = node.base {
                queue.push(base);
            }
        }
        seen.into_iter().collect()
    }

    /// Whether one stage copies from another, directly or not; what they stand on does not count
    /// (`validateCircularDependency`).
    fn copies_from(&self, from: usize, wanted: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut queue = vec![from];
        while let Some(at) = queue.pop() {
            if at == wanted {
                return true;
            }
            if seen.insert(at) {
                queue.extend(self.nodes[at].edges.iter().map(|edge| edge.to));
            }
        }
        false
    }

    /// A stage can copy from what stands before it only.
    fn report_order(&self, reached: &[usize], found: &mut Findings) {
        let is_reached: BTreeSet<usize> = reached.iter().copied().collect();
        let label = |at: usize| self.file.stages.get(at).map_or_else(String::new, |stage| stage.label(at));
        let mut reported = BTreeSet::new();
        let mut circles = BTreeSet::new();
        for at in 0..self.file.stages.len() {
            for edge in &self.nodes[at].edges {
                let is_later = self.nodes[edge.to].stage.is_some_and(|to| to >= at);
                // Of a stage that nothing needs, only circles are refused.
                let is_refused = || is_reached.contains(&at) || self.copies_from(edge.to, at);
                if !is_later || !is_refused() || !reported.insert((edge.to, edge.line)) {
                    continue;
                }
                let (from, to) = (label(at), label(edge.to));
                let is_circle = edge.to == at || self.closure(edge.to).contains(&at);
                if is_circle && !circles.is_disjoint(&BTreeSet::from([at, edge.to])) {
                    // The same one, seen from another of its stages.
                    circles.insert(edge.to);
                    continue;
                }
                let message = if edge.to == at {
                    format!("stage `{from}` copies from itself")
                } else if is_circle {
                    circles.extend([at, edge.to]);
                    format!("stages go round in a circle: `{from}` copies from `{to}`, which needs `{from}`")
                } else {
                    format!("stage `{to}` stands after `{from}`, which copies from it; move it before")
                };
                found.error(edge.line, message);
            }
        }
    }
}

/// One FROM and what its variables can be.
struct From<'a> {
    file: &'a Dockerfile,
    stage: &'a Stage,
    globals: &'a Globals,
}

impl From<'_> {
    fn expand(&self, text: &str) -> Result<Expansion, String> {
        let lex = Lex::new(self.file.escape);
        if lex.is_plain(text) {
            return Ok(Expansion { text: text.to_owned(), ..Expansion::default() });
        }
        lex.expand(text, self.globals)
    }

    /// Keeps what an expansion asked for and used; gives its text.
    fn note(
        &self,
        written: &str,
        expansion: Expansion,
        asks_for: &mut BTreeSet<String>,
        found: &mut Findings,
    ) -> String {
        asks_for.extend(expansion.matched.into_iter().chain(expansion.unmatched));
        let (written, line) = (format!("FROM {written}"), self.stage.line);
        let uses = expansion.features.into_iter();
        found.uses.extend(uses.map(|feature| Use { feature, written: written.clone(), line, trap: None }));
        expansion.text
    }

    /// The names that a text asks for; none if it cannot be read.
    fn names_in(&self, text: &str) -> Option<BTreeSet<String>> {
        let expansion = self.expand(text).ok()?;
        Some(expansion.matched.into_iter().chain(expansion.unmatched).collect())
    }

    /// Which variables without a value spoil `text`, and what to do about it.
    fn blame(&self, text: &str) -> String {
        use super::lex::Variables as _;
        let Some(names) = self.names_in(text) else { return String::new() };
        let mut message = String::new();
        for name in self.globals.close_over(names) {
            if self.globals.get(&name).is_some_and(|value| !value.is_empty()) {
                continue;
            }
            if self.globals.declares(&name) {
                message.push_str(&format!("; `{name}` has no value: pass --build-arg {name}=…"));
            } else {
                let hint = did_you_mean(&name, self.globals.names(), str::to_owned);
                let place = if self.is_declared_in_a_stage(&name) {
                    format!("`ARG {name}` stands after a FROM; only those before the first FROM count in one")
                } else {
                    format!("`{name}` is not declared")
                };
                message.push_str(&format!(
                    "; {place}{hint}: put `ARG {name}` before the first FROM and pass --build-arg {name}=…"
                ));
            }
        }
        message
    }

    fn warn_of_undeclared(&self, found: &mut Findings) {
        use super::lex::Variables as _;
        let Some(names) = self.names_in(&self.stage.base).filter(|_| self.stage.base.contains('$')) else {
            return;
        };
        for name in
            names.iter().filter(|name| self.globals.get(name).is_none() && !self.globals.declares(name))
        {
            let written = &self.stage.base;
            let message =
                format!("FROM {written}: `{name}` is not declared before the first FROM, so it is empty");
            found.warn(self.stage.line, message);
        }
    }

    fn is_declared_in_a_stage(&self, name: &str) -> bool {
        self.file.stages.iter().flat_map(|stage| self.file.body(stage)).any(|instruction| {
            matches!(&instruction.command, Command::Arg(args) if args.iter().any(|(known, _)| known == name))
        })
    }
}

/// `strconv.Atoi`
pub(super) fn parse_index(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// `platforms.Parse`: also a system or a processor alone, completed from the builder's own.
fn parse_platform(text: &str, own: &Platform) -> Option<Platform> {
    const SYSTEMS: [&str; 9] =
        ["linux", "windows", "darwin", "macos", "freebsd", "netbsd", "openbsd", "solaris", "android"];
    const PROCESSORS: [&str; 15] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "mips", "mipsle", "ppc64",
        "ppc64le", "riscv64", "s390x", "wasm", "sparc64",
    ];
    if text.contains('/') {
        let (system, rest) = text.split_once('/')?;
        // `windows(10.0.17763)/amd64`: the version does not name another image here.
        let system = system.split_once('(').map_or(system, |(system, _)| system);
        return format!("{system}/{rest}").parse().ok();
    }
    let lower = text.to_ascii_lowercase();
    if SYSTEMS.contains(&lower.as_str()) {
        return Some(Platform::new(&lower, &own.arch, own.variant.as_deref()));
    }
    let parsed = Platform::new(&own.os, &lower, None);
    PROCESSORS.contains(&parsed.arch.as_str()).then_some(parsed)
}
