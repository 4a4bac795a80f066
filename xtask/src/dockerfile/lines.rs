//! Physical lines become instructions: directives, continuations, comments, heredocs.
//!
//! In: the text of a file. Out: instructions with their lines, and what is wrong with them. The rules are those of
//! BuildKit's `parser/parser.go` (`Parse`). Must not know stages or variables.

use super::command;
use super::directives::DirectiveReader;
use super::lex::{Lex, NoVariables};
use super::words::{Json, parse_json, split_line};
use super::{Heredoc, Instruction};
use crate::model::{Diagnostic, Severity};

/// The longest line that BuildKit's scanner takes.
const MAX_LINE: usize = 64 * 1024;

/// What is wrong, by line, before the file has a name.
#[derive(Default)]
pub(super) struct Findings(Vec<(Severity, u32, String)>);

impl Findings {
    pub(super) fn error(&mut self, line: u32, message: String) {
        self.0.push((Severity::Error, line, message));
    }

    pub(super) fn warn(&mut self, line: u32, message: String) {
        self.0.push((Severity::Warning, line, message));
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Says of all that was found after the first `known` where it comes from.
    pub(super) fn ascribe(&mut self, known: usize, origin: &str) {
        for (_, _, message) in self.0.iter_mut().skip(known) {
            *message = format!("{origin}: {message}");
        }
    }

    pub(super) fn into_diagnostics(mut self, path: &str) -> Vec<Diagnostic> {
        self.0.sort_by_key(|(_, line, _)| *line);
        let with_path = |(severity, line, message)| Diagnostic {
            severity,
            file: path.to_owned(),
            line,
            column: 0,
            message,
        };
        self.0.into_iter().map(with_path).collect()
    }
}

/// Reads all instructions, and the escape character that the file chose.
pub(super) fn read(text: &str, found: &mut Findings) -> (char, Vec<Instruction>) {
    let mut reader = Reader::new(text);
    let mut instructions = Vec::new();
    while let Some(instruction) = reader.next_instruction(found) {
        instructions.push(instruction);
    }
    (reader.escape, instructions)
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
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            lines: Physical { rest, number: 0 },
            directives: DirectiveReader::default(),
            escape: '\\',
            is_lost: false,
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
        let heredocs = if text.contains("<<") && can_have_heredocs(&text, self.escape, true) {
            self.read_heredocs(line, &text, found)
        } else {
            Vec::new()
        };
        let (keyword, parsed) = command::parse(&text, &heredocs, self.escape);
        let command = parsed.unwrap_or_else(|message| {
            if !self.is_lost {
                found.error(line, message);
            }
            command::salvage(&keyword, &text, self.escape)
        });
        Instruction { keyword, line, end_line: self.lines.number, text, heredocs, command }
    }

    fn read_heredocs(&mut self, line: u32, text: &str, found: &mut Findings) -> Vec<Heredoc> {
        let mut heredocs = match heredocs_of_line(text) {
            Ok(heredocs) => heredocs,
            Err(message) => {
                found.error(line, message);
                return Vec::new();
            }
        };
        for heredoc in &mut heredocs {
            let before = self.lines.clone();
            if self.read_heredoc(heredoc, found) {
                continue;
            }
            found.error(line, format!("the heredoc `{}` has no end", heredoc.name));
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

    fn read_heredoc(&mut self, heredoc: &mut Heredoc, found: &mut Findings) -> bool {
        loop {
            let rest = self.lines.rest;
            let Some(line) = self.next_line(found) else { return false };
            let end = if heredoc.chomp { line.trim_start_matches('\t') } else { line };
            if end == heredoc.name {
                return true;
            }
            let length = rest.len() - self.lines.rest.len();
            heredoc.content.push_str(&rest[..length]);
        }
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
    let rest = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
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
    Ok(Some(Heredoc { name: name.clone(), expand, chomp, content: String::new() }))
}
