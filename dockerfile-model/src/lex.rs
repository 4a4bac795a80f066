//! Shell words as the Dockerfile front end reads them: quotes, escapes, `$V` and `${V…}`.
//!
//! In: a word and the variables that are set. Out: the word with variables expanded, the names it asked for, or
//! the reason why the front end refuses it. The rules are those of BuildKit's `frontend/dockerfile/shell/lex.go`.
//! Must not know instructions or scopes.

use super::affix;
use super::front_end::Feature;

/// Nested `${a:-${b:-…}}` deeper than this is refused; nobody writes it, and the stack is finite.
const MAX_DEPTH: usize = 100;

/// How much longer than what stands in the file a word may become, in bytes. `ARG B=$A$A`, thirty times over, would
/// else fill any memory.
const MAX_GROWTH: usize = 64 * 1024;

/// Stands for a value that only a base image's own environment can tell. Outside any text that people write.
pub(super) const UNKNOWN: char = '\u{10fffd}';

/// Where a word finds its variables.
pub(super) trait Variables {
    /// The value, if it is set.
    fn get(&self, name: &str) -> Option<&str>;

    /// Whether a variable that is not set here may be set by something that we cannot see.
    fn may_be_set_elsewhere(&self, _name: &str) -> bool {
        false
    }
}

/// No variables at all.
pub(super) struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// How words are read; the fields are named as in `shell.Lex`.
#[derive(Clone, Copy)]
pub(super) struct Lex {
    pub escape: char,
    pub raw_quotes: bool,
    pub raw_escapes: bool,
    pub skip_quotes: bool,
    pub skip_unset: bool,
}

/// What came of a word.
#[derive(Debug, Default)]
pub(super) struct Expansion {
    /// The word, expanded.
    pub text: String,
    /// The same, split at unquoted spaces.
    pub words: Vec<String>,
    /// Names that were asked for and set.
    pub matched: Vec<String>,
    /// Names that were asked for and not set.
    pub unmatched: Vec<String>,
    /// Forms of `${…}` that not every front end knows.
    pub features: Vec<Feature>,
}

impl Lex {
    /// The way instructions' arguments are read.
    pub(super) fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, skip_quotes: false, skip_unset: false }
    }

    /// Expands `word`.
    pub(super) fn expand(self, word: &str, variables: &dyn Variables) -> Result<Expansion, String> {
        let mut run = Run {
            lex: self,
            raw_escapes: self.raw_escapes,
            chars: word.chars(),
            variables,
            depth: 0,
            limit: word.len() + MAX_GROWTH,
            found: Expansion::default(),
        };
        let (text, words) = run.until(None, self.raw_escapes)?;
        Ok(Expansion { text, words, ..run.found })
    }

    /// Whether `word` comes out as it went in.
    pub(super) fn is_plain(self, word: &str) -> bool {
        !word.contains(|c| c == '$' || c == self.escape || (!self.skip_quotes && (c == '\'' || c == '"')))
    }
}

/// `wordsStruct`
#[derive(Default)]
struct Words {
    current: String,
    in_word: bool,
    done: Vec<String>,
}

impl Words {
    fn add(&mut self, c: char) {
        if !c.is_whitespace() {
            self.add_raw(c);
        } else if self.in_word && !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current));
            self.in_word = false;
        }
    }

    fn add_raw(&mut self, c: char) {
        self.current.push(c);
        self.in_word = true;
    }

    fn add_raw_text(&mut self, text: &str) {
        self.current.push_str(text);
        self.in_word = true;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.current.is_empty() {
            self.done.push(self.current);
        }
        self.done
    }
}

/// `shellWord`
struct Run<'a> {
    lex: Lex,
    raw_escapes: bool,
    chars: std::str::Chars<'a>,
    variables: &'a dyn Variables,
    depth: usize,
    /// Bytes that the word may come to.
    limit: usize,
    /// What was met on the way.
    found: Expansion,
}

impl Run<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.clone().next()
    }

    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), String> {
        if self.depth > MAX_DEPTH {
            return Err("variables are nested too deeply".to_owned());
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let result = self.read_until(stop);
        self.raw_escapes = before;
        self.depth -= 1;
        result
    }

    fn read_until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), String> {
        let (mut text, mut words) = (String::new(), Words::default());
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.chars.next();
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    if text.len() + value.len() > self.limit {
                        return Err(too_long());
                    }
                    value.chars().for_each(|c| words.add(c));
                    text.push_str(&value);
                }
                '<' => {
                    let part = self.possible_heredoc();
                    words.add_raw_text(&part);
                    text.push_str(&part);
                }
                '\'' if !self.lex.skip_quotes => {
                    let part = self.single_quoted()?;
                    words.add_raw_text(&part);
                    text.push_str(&part);
                }
                '"' if !self.lex.skip_quotes => {
                    let part = self.double_quoted()?;
                    words.add_raw_text(&part);
                    text.push_str(&part);
                }
                c if c == self.lex.escape => {
                    self.chars.next();
                    if self.raw_escapes {
                        words.add_raw(c);
                        text.push(c);
                    }
                    let Some(escaped) = self.chars.next() else { break };
                    words.add_raw(escaped);
                    text.push(escaped);
                }
                c => {
                    self.chars.next();
                    words.add(c);
                    text.push(c);
                }
            }
        }
        match stop {
            Some(stop) => Err(format!("`{stop}` is missing")),
            None => Ok((text, words.finish())),
        }
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let open = self.chars.next();
        if self.lex.raw_quotes {
            text.extend(open);
        }
        loop {
            match self.chars.next() {
                None => return Err("a single quote is not closed".to_owned()),
                Some('\'') => {
                    if self.lex.raw_quotes {
                        text.push('\'');
                    }
                    return Ok(text);
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let open = self.chars.next();
        if self.lex.raw_quotes {
            text.extend(open);
        }
        loop {
            match self.peek() {
                None => return Err("a double quote is not closed".to_owned()),
                Some('"') => {
                    self.chars.next();
                    if self.lex.raw_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                Some('$') => {
                    text.push_str(&self.dollar()?);
                    if text.len() > self.limit {
                        return Err(too_long());
                    }
                }
                Some(c) => {
                    self.chars.next();
                    if c != self.lex.escape {
                        text.push(c);
                        continue;
                    }
                    if self.raw_escapes {
                        text.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == self.lex.escape => {
                            self.chars.next();
                            text.push(next);
                        }
                        Some(_) => text.push(c),
                    }
                }
            }
        }
    }

    /// `<` and `<<` with the blanks after it, which do not end a word.
    fn possible_heredoc(&mut self) -> String {
        self.chars.next();
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.chars.next();
        let mut text = "<<".to_owned();
        while let Some(c @ ('\t' | '\r' | ' ')) = self.peek() {
            self.chars.next();
            text.push(c);
        }
        text
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.chars.next();
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(match name.as_str() {
                "" => "$".to_owned(),
                name => match self.look_up(name) {
                    None if self.lex.skip_unset => format!("${name}"),
                    value => self.value_or_unknown(name, value),
                },
            });
        }
        self.chars.next();
        match self.peek() {
            None => return Err(MISSING_BRACE.to_owned()),
            Some('{' | '}' | ':') => return Err("`${` begins a bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        match self.chars.next() {
            Some('}') => {
                let value = self.look_up(&name);
                Ok(match value {
                    None if self.lex.skip_unset => format!("${{{name}}}"),
                    value => self.value_or_unknown(&name, value),
                })
            }
            Some(':') => match self.chars.next() {
                Some(modifier @ ('+' | '-' | '?')) => self.choice(&name, modifier, true),
                other => Err(unsupported(Some(':'), other)),
            },
            Some(modifier @ ('+' | '-' | '?')) => self.choice(&name, modifier, false),
            Some(modifier @ ('#' | '%')) => self.trimmed(&name, modifier),
            Some('/') => self.replaced(&name),
            other => Err(unsupported(None, other)),
        }
    }

    /// `${V:-d} ${V:+a} ${V:?e}` and their forms without the colon.
    fn choice(&mut self, name: &str, modifier: char, null_is_unset: bool) -> Result<String, String> {
        let (word, _) = self.until(Some('}'), false)?;
        if !null_is_unset {
            self.found.features.push(Feature::BareDefault);
        }
        let value = self.look_up(name);
        if value.is_none() && self.lex.skip_unset {
            let colon = if null_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let is_empty = value.as_deref().is_some_and(|value| null_is_unset && value.is_empty());
        match (modifier, value) {
            ('-', Some(value)) if !is_empty => Ok(value),
            ('-', _) => Ok(word),
            ('+', Some(_)) if !is_empty => Ok(word),
            ('+', _) => Ok(String::new()),
            (_, Some(value)) if !is_empty => Ok(value),
            (_, value) if word.is_empty() => {
                let state = if value.is_none() { "unset" } else { "empty" };
                Err(format!("{name} must not be {state}"))
            }
            _ => Err(format!("{name}: {word}")),
        }
    }

    /// `${V#p} ${V##p} ${V%p} ${V%%p}`
    fn trimmed(&mut self, name: &str, modifier: char) -> Result<String, String> {
        let (word, _) = self.until(Some('}'), true)?;
        self.found.features.push(Feature::Patterns);
        let value = self.look_up(name);
        if value.is_none() && self.lex.skip_unset {
            return Ok(format!("${{{name}{modifier}{word}}}"));
        }
        let (pattern, greedy) =
            word.strip_prefix(modifier).map_or((word.as_str(), false), |rest| (rest, true));
        let value = self.value_or_unknown(name, value);
        match modifier {
            '%' => affix::trim_suffix(pattern, &value, greedy),
            _ => affix::trim_prefix(pattern, &value, greedy),
        }
    }

    /// `${V/p/r} ${V//p/r}`
    fn replaced(&mut self, name: &str) -> Result<String, String> {
        let all = self.peek() == Some('/');
        if all {
            self.chars.next();
        }
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        self.found.features.push(Feature::Patterns);
        let value = self.look_up(name);
        if value.is_none() && self.lex.skip_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let value = self.value_or_unknown(name, value);
        affix::replace(&pattern, &replacement, &value, all, self.limit)?.ok_or_else(too_long)
    }

    fn value_or_unknown(&self, name: &str, value: Option<String>) -> String {
        value.unwrap_or_else(|| {
            if self.variables.may_be_set_elsewhere(name) { UNKNOWN.to_string() } else { String::new() }
        })
    }

    fn look_up(&mut self, name: &str) -> Option<String> {
        let value = self.variables.get(name).map(str::to_owned);
        let names = if value.is_some() { &mut self.found.matched } else { &mut self.found.unmatched };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        value
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            let is_digit = is_digit(c);
            if name.is_empty() && is_digit {
                while let Some(digit) = self.peek().filter(|&c| self::is_digit(c)) {
                    self.chars.next();
                    name.push(digit);
                }
                return name;
            }
            if name.is_empty() && matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.chars.next();
                return c.to_string();
            }
            if !(c.is_alphabetic() || is_digit || c == '_') {
                break;
            }
            self.chars.next();
            name.push(c);
        }
        name
    }
}

const MISSING_BRACE: &str = "`}` is missing";

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric())
}

fn too_long() -> String {
    format!("what its variables stand for is longer than {} KiB", MAX_GROWTH / 1024)
}

fn unsupported(colon: Option<char>, modifier: Option<char>) -> String {
    match modifier {
        None => MISSING_BRACE.to_owned(),
        Some(modifier) => {
            let text: String = colon.into_iter().chain([modifier]).collect();
            format!("`{text}` is not a modifier that `${{…}}` knows")
        }
    }
}
