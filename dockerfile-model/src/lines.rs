//! Physical lines become instructions: directives, continuations, comments, heredocs.
//!
//! In: the text of a file. Out: instructions with their lines, and what is wrong with them. The rules are those of
//! BuildKit's `parser/parser.go` (`Parse`). Must not know stages or variables.

use super::command;
use super::directives::DirectiveReader;
use super::front_end::{Feature, Use};
use super::lex::{Lex, NoVariables};
use super::words::{Json, parse_json, split_line};
use super::{Dockerfile, Heredoc, Instruction};
use crate::{Diagnostic, Severity};

/// The longest line that BuildKit's scanner takes.
const MAX_LINE: usize = 64 * 1024;

/// What is wrong, by line, before the file has a name.
#[derive(Default)]
pub(super) struct Findings {
    list: Vec<(Severity, u32, String)>,
    /// What was met that not every front end can read.
    pub uses: Vec<Use>,
}

impl Findings {
    pub(super) fn error(&mut self, line: u32, message: String) {
        self.list.push((Severity::Error, line, message));
    }

    pub(super) fn warn(&mut self, line: u32, message: String) {
        self.list.push((Severity::Warning, line, message));
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// Says of all that was found after the first `known` where it comes from.
    pub(super) fn ascribe(&mut self, known: usize, origin: &str) {
        for (_, _, message) in self.list.iter_mut().skip(known) {
            *message = format!("{origin}: {message}");
        }
    }

    pub(super) fn into_diagnostics(mut self, path: &str) -> Vec<Diagnostic> {
        self.list.sort_by_key(|(_, line, _)| *line);
        let with_path = |(severity, line, message)| Diagnostic {
            severity,
            file: path.to_owned(),
            line,
            column: 0,
            message,
        };
        self.list.into_iter().map(with_path).collect()
    }
}

/// Reads all instructions, the escape character that the file chose, and what is no instruction.
pub(super) fn read(text: &str, found: &mut Findings) -> (char, Vec<Instruction>, Unknown) {
    let mut reader = Reader::new(text);
    let mut instructions = Vec::new();
    while let Some(instruction) = reader.next_instruction(found) {
        instructions.push(instruction);
    }
    (reader.escape, instructions, reader.unknown)
}

/// How many lines that are no instructions are told one by one.
const TOLD: usize = 3;

/// How often the whole rest of a file is looked through for the end of what may be no heredoc.
const MAX_LOOKS: u32 = 64;

/// How much of such a line's first word is shown, in characters: it may be anything.
const LONGEST_WORD: usize = 40;

/// Lines that are no instructions, and what each begins with as it is written.
#[derive(Default)]
pub(super) struct Unknown(Vec<(u32, String)>);

impl Unknown {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says what is wrong with them. A file that is mostly of such lines is no Dockerfile: that is said once, and
    /// nothing else of it.
    pub(super) fn say(self, file: &Dockerfile, found: &mut Findings) -> bool {
        let Self(lines) = self;
        let Some((line, word)) = lines.first() else { return false };
        let is_first = file.instructions.first().is_some_and(|first| first.line == *line)
            && command::near(&word.to_ascii_uppercase(), command::KEYWORDS).is_none();
        let is_other = if file.stages.is_empty() {
            is_first || lines.len() > TOLD
        } else {
            lines.len() > TOLD && lines.len() * 2 > file.instructions.len()
        };
        if is_other {
            found.list.clear();
            let count = lines.len();
            let more = if count == 1 {
                String::new()
            } else {
                format!(", and {} more lines are none either", count - 1)
            };
            let message = format!("this is no Dockerfile: `{word}` is no instruction{more}");
            found.error(*line, message);
            return true;
        }
        Self(lines).report(found);
        false
    }

    /// Says of the first ones what each may have been meant to be, and of the others how many they are.
    pub(super) fn report(self, found: &mut Findings) {
        let Self(lines) = self;
        for (line, word) in lines.iter().take(TOLD) {
            found.error(*line, command::unknown_instruction(word));
        }
        if let Some((line, word)) = lines.get(TOLD) {
            let message = format!("`{word}` and {} more are no instructions either", lines.len() - TOLD - 1);
            found.error(*line, message);
        }
    }
}

/// Physical lines with their ends, numbered from 1.
#[derive(Clone)]
struct Physical<'a> {
    rest: &'a str,
    number: u32,
}

impl<'a> Physical<'a> {
    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.number += 1;
        Some(line)
    }
}

struct Reader<'a> {
    lines: Physical<'a>,
    directives: DirectiveReader,
    escape: char,
    /// After a heredoc without end, nobody knows what is text and what is an instruction.
    is_lost: bool,
    unknown: Unknown,
    /// How often one may still look ahead in vain.
    looks: u32,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            lines: Physical { rest, number: 0 },
            directives: DirectiveReader::default(),
            escape: '\\',
            is_lost: false,
            unknown: Unknown::default(),
            looks: MAX_LOOKS,
        }
    }

    /// The next physical line without its end; the directive that it may be is taken in.
    fn next_line(&mut self, found: &mut Findings) -> Option<&'a str> {
        let line = self.lines.next()?;
        if line.len() > MAX_LINE {
            found.error(
                self.lines.number,
                "the line is longer than the 65535 bytes that BuildKit takes".to_owned(),
            );
        }
        Some(line.trim_end_matches(['\r', '\n']))
    }

    fn read_directive(&mut self, line: &str, found: &mut Findings) {
        match self.directives.read(line, "#") {
            Ok(Some(("escape", "`"))) => self.escape = '`',
            Ok(Some(("escape", "\\"))) => self.escape = '\\',
            Ok(Some(("escape", other))) => {
                found.error(
                    self.lines.number,
                    format!("the escape character is `\\` or a backtick, not `{other}`"),
                );
            }
            Ok(_) => {}
            Err(message) => found.error(self.lines.number, message),
        }
    }

    fn next_instruction(&mut self, found: &mut Findings) -> Option<Instruction> {
        let (mut text, mut goes_on, start) = loop {
            let line = self.next_line(found)?.trim_start();
            self.read_directive(line, found);
            let line = if line.starts_with('#') { "" } else { line };
            let (line, goes_on) = self.cut_continuation(line);
            if goes_on || !line.is_empty() {
                break (line.to_owned(), goes_on, self.lines.number);
            }
        };
        while goes_on {
            let Some(line) = self.next_line(found) else { break };
            self.read_directive(line, found);
            let trimmed = line.trim_start();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let (line, more) = self.cut_continuation(line);
            text.push_str(line);
            goes_on = more;
        }
        Some(self.finish(start, text, found))
    }

    /// The line without its continuation character, and whether it had one.
    fn cut_continuation<'l>(&self, line: &'l str) -> (&'l str, bool) {
        match line.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(rest) if !rest.ends_with(self.escape) => (rest, true),
            _ => (line, false),
        }
    }

    fn finish(&mut self, line: u32, text: String, found: &mut Findings) -> Instruction {
        let mut uses = Vec::new();
        let heredocs = if text.contains("<<") && can_have_heredocs(&text, self.escape, true) {
            self.read_heredocs(line, &text, &mut uses, found)
        } else {
            Vec::new()
        };
        let (keyword, parsed) = command::parse(&text, &heredocs, self.escape);
        let split = split_line(&text, self.escape);
        uses.extend(command::uses(&keyword, &split.flags, line));
        let is_known = command::KEYWORDS.contains(&keyword.as_str());
        if !is_known && !self.is_lost {
            self.unknown.0.push((line, split.keyword.chars().take(LONGEST_WORD).collect()));
        }
        let spaced = heredocs.iter().find(|heredoc| heredoc.is_spaced);
        let parsed = match spaced.filter(|_| matches!(keyword.as_str(), "COPY" | "ADD")) {
            Some(Heredoc { name, .. }) => Err(format!(
                "{keyword} takes a heredoc without a blank only: write `<<{name}`, not `<< {name}`"
            )),
            None => parsed,
        };
        let command = parsed.unwrap_or_else(|message| {
            if is_known && !self.is_lost {
                found.error(line, message);
            }
            command::salvage(&keyword, &text, self.escape)
        });
        Instruction { keyword, line, end_line: self.lines.number, text, heredocs, command, uses }
    }

    fn read_heredocs(
        &mut self,
        line: u32,
        text: &str,
        uses: &mut Vec<Use>,
        found: &mut Findings,
    ) -> Vec<Heredoc> {
        let mut heredocs = match heredocs_of_line(text) {
            Ok(heredocs) => heredocs,
            Err(message) => {
                found.error(line, message);
                return Vec::new();
            }
        };
        if heredocs.is_empty() {
            self.skip_meant_heredoc(line, text, found);
        }
        for heredoc in &mut heredocs {
            let feature = if heredoc.is_spaced { Feature::SpacedHeredoc } else { Feature::Heredoc };
            let blank = if heredoc.is_spaced { " " } else { "" };
            let written = format!("<<{}{blank}{}", if heredoc.chomp { "-" } else { "" }, heredoc.name);
            let no_end = format!("the heredoc `{}` has no end", heredoc.name);
            if heredoc.is_spaced && self.after(heredoc).is_none() {
                // `$((1 << 2))`, where blanks are not taken.
                uses.push(Use { feature, written, line, trap: Some(no_end) });
                continue;
            }
            let before = self.lines.clone();
            if self.read_heredoc(heredoc, found) {
                uses.push(Use { feature, written, line, trap: None });
                continue;
            }
            found.error(line, no_end);
            if self.is_lost {
                break;
            }
            // The front end gives up here. What follows may still name images, so read on as if it had ended.
            self.is_lost = true;
            heredoc.content.clear();
            self.lines = before;
        }
        heredocs
    }

    /// `<<- EOF` begins no heredoc. Where its lines follow all the same, that is said once, not for each of them.
    fn skip_meant_heredoc(&mut self, line: u32, text: &str, found: &mut Findings) {
        for (at, dashed) in text.match_indices("<<-") {
            let rest = &text[at + dashed.len()..];
            let word = rest.trim_start_matches([' ', '\t']);
            let name = word.split([' ', '\t', ';', '|', '&', '>']).next().unwrap_or_default();
            let name = name.trim_matches(['\'', '"']);
            if word.len() == rest.len() || name.is_empty() {
                continue;
            }
            let (name, content) = (name.to_owned(), String::new());
            let meant = Heredoc { name, expand: true, chomp: true, is_spaced: true, content };
            if let Some(after) = self.after(&meant) {
                self.lines = after;
                let name = &meant.name;
                let message = format!("`<<- {name}` begins no heredoc in a Dockerfile: write `<<-{name}`");
                found.error(line, message);
                return;
            }
        }
    }

    /// What follows the end of a heredoc; none if it has none. Looks ahead in vain only so many times: each is as long as
    /// the file.
    fn after(&mut self, heredoc: &Heredoc) -> Option<Physical<'a>> {
        if self.looks == 0 {
            return None;
        }
        let mut ahead = self.lines.clone();
        while let Some(line) = ahead.next() {
            if heredoc.ends_at(line.trim_end_matches(['\r', '\n'])) {
                return Some(ahead);
            }
        }
        self.looks -= 1;
        None
    }

    fn read_heredoc(&mut self, heredoc: &mut Heredoc, found: &mut Findings) -> bool {
        loop {
            let rest = self.lines.rest;
            let Some(line) = self.next_line(found) else { return false };
            if heredoc.ends_at(line) {
                return true;
            }
            let length = rest.len() - self.lines.rest.len();
            heredoc.content.push_str(&rest[..length]);
        }
    }
}

impl Heredoc {
    fn ends_at(&self, line: &str) -> bool {
        self.name == if self.chomp { line.trim_start_matches('\t') } else { line }
    }
}

/// RUN, COPY and ADD in shell form may have heredocs, also behind ONBUILD.
fn can_have_heredocs(text: &str, escape: char, may_be_trigger: bool) -> bool {
    let line = split_line(text, escape);
    let is = |name: &str| line.keyword.eq_ignore_ascii_case(name);
    if is("ONBUILD") {
        return may_be_trigger && can_have_heredocs(&line.rest, escape, false);
    }
    (is("RUN") || is("COPY") || is("ADD")) && matches!(parse_json(&line.rest), Json::Not)
}

/// `heredocsFromLine`: always with `\` as the escape, whatever the file chose.
fn heredocs_of_line(text: &str) -> Result<Vec<Heredoc>, String> {
    let mut lex = Lex::new('\\');
    (lex.raw_quotes, lex.raw_escapes, lex.skip_unset) = (true, true, true);
    let Ok(expansion) = lex.expand(text, &NoVariables) else { return Ok(Vec::new()) };
    expansion.words.iter().filter_map(|word| parse_heredoc(word).transpose()).collect()
}

/// `ParseHeredoc`: digits, `<<`, perhaps `-`, blanks, then a word without `<`.
pub(super) fn parse_heredoc(word: &str) -> Result<Option<Heredoc>, String> {
    let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else {
        return Ok(None);
    };
    let (rest, chomp) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let word = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    let (rest, is_spaced) = (word, word.len() < rest.len());
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let mut lex = Lex::new('\\');
    lex.skip_unset = true;
    let words = lex.expand(rest, &NoVariables)?.words;
    let [name] = words.as_slice() else { return Ok(None) };
    lex.raw_quotes = true;
    let raw = lex.expand(rest, &NoVariables)?.words;
    let [raw] = raw.as_slice() else { return Err(format!("the heredoc word `{rest}` cannot be read")) };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    let expand = quotes(name) == quotes(raw);
    Ok(Some(Heredoc { name: name.clone(), expand, chomp, is_spaced, content: String::new() }))
}
