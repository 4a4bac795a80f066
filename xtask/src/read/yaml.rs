//! Pure: YAML text to a tree that knows where each of its parts stands, scalars spelled as Go's YAML package
//! (go.yaml.in/yaml/v3) gives them to compose: `1.10` is the number 1.1, `010` is 8, and both are quoted where they are not
//! to be.
//!
//! Aliases and merge keys (`<<`) are resolved. Of tags only compose's `!reset` and `!override` mean something.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use crate::model::Diagnostic;

/// More nodes than that, aliases counted as what they stand for, are no file that a person wrote.
const MAX_NODES: usize = 500_000;
const TOO_MANY: &str = "has more parts than anything that a person writes";
/// How deep nodes may stand in each other.
const MAX_DEPTH: usize = 200;

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The file as messages name it.
    pub file: Arc<str>,
    /// 1-based.
    pub line: u32,
    /// What it does to the same part of files before it.
    pub tag: Option<NodeTag>,
    /// What stands there.
    pub value: Value,
}

/// Compose's own tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeTag {
    /// Takes the part away.
    Reset,
    /// Takes its place, whole.
    Override,
}

/// What stands at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`, `~`, nothing.
    Null,
    /// A scalar of any kind.
    Text(String),
    /// A scalar whose variables cannot be replaced: why.
    Broken(String),
    /// In order.
    List(Vec<Node>),
    /// In order, each key once.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// A finding about it.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&*self.file, self.line, message)
    }

    /// The same, of less weight.
    pub fn warning(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(&*self.file, self.line, message)
    }

    /// Another value that stands at the same place.
    #[must_use]
    pub fn with(&self, value: Value) -> Self {
        Self { value, ..self.clone() }
    }

    /// A key's node, unless it says nothing: `null`, or taken away.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let (_, node) = self.entries().iter().find(|(name, _)| name == key)?;
        (node.value != Value::Null && node.tag != Some(NodeTag::Reset)).then_some(node)
    }

    /// Keys with their nodes; none of what is no mapping.
    pub fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of a list; none of what is none.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Its text.
    ///
    /// # Errors
    /// It is no scalar, or its variables cannot be replaced.
    pub fn text(&self) -> Result<&str, Diagnostic> {
        match &self.value {
            Value::Text(text) => Ok(text),
            Value::Null => Ok(""),
            Value::Broken(why) => Err(self.error(why)),
            Value::List(_) => Err(self.error("expected a text, found a list")),
            Value::Map(_) => Err(self.error("expected a text, found a mapping")),
        }
    }

    /// Whether it says the same, wherever it stands.
    pub fn says(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::List(one), Value::List(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.says(two))
            }
            (Value::Map(one), Value::Map(two)) => {
                let two: BTreeMap<&String, &Self> = two.iter().map(|(key, node)| (key, node)).collect();
                let same = |(key, node): &(String, Self)| two.get(key).is_some_and(|other| node.says(other));
                one.len() == two.len() && one.iter().all(same)
            }
            (one, two) => one == two,
        }
    }

    /// Replaces what its scalars hold; one that cannot be replaced is [`Value::Broken`]. Keys stay.
    pub fn replace(&mut self, with: &dyn Fn(&str) -> Result<String, String>) {
        match &mut self.value {
            Value::Text(text) if text.contains('$') => {
                self.value = with(text).map_or_else(Value::Broken, Value::Text);
            }
            Value::Text(_) | Value::Null | Value::Broken(_) => {}
            Value::List(items) => items.iter_mut().for_each(|item| item.replace(with)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.replace(with)),
        }
    }
}

/// The text of a file, which a byte order mark may say to be UTF-16.
///
/// # Errors
/// It is no text.
pub fn decoded(bytes: Vec<u8>) -> std::io::Result<String> {
    let invalid = |kind: &str| {
        let message = format!("stream did not contain valid {kind}");
        std::io::Error::new(std::io::ErrorKind::InvalidData, message)
    };
    let utf16 = |of: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (pairs, odd) = bytes.as_chunks();
        let text = String::from_utf16(&pairs.iter().map(|pair| of(*pair)).collect::<Vec<u16>>());
        text.ok().filter(|_| odd.is_empty()).ok_or_else(|| invalid("UTF-16"))
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => utf16(u16::from_be_bytes, rest),
        _ => String::from_utf8(bytes).map_err(|_| invalid("UTF-8")),
    }
}

/// Reads all documents of a file; `file` is its name in messages.
///
/// # Errors
/// Text that is no YAML, a key that stands twice in one mapping, aliases that grow without bound.
pub fn parse(file: &str, text: &str) -> Result<Vec<Node>, Diagnostic> {
    read(file, text, None)
}

/// The same of JSON, in which a key may stand twice: whoever reads it says what that means. `number` spells numbers.
///
/// # Errors
/// Text that is none.
pub fn parse_json(file: &str, text: &str, number: fn(&str) -> String) -> Result<Vec<Node>, Diagnostic> {
    read(file, text, Some(number))
}

fn read(file: &str, text: &str, json: Option<fn(&str) -> String>) -> Result<Vec<Node>, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        json,
        file: file.into(),
        events: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
        kept: 0,
        documents: Vec::new(),
    };
    reader.documents()?;
    Ok(reader.documents)
}

struct Reader<'t> {
    /// Of JSON, how numbers are spelled.
    json: Option<fn(&str) -> String>,
    file: Arc<str>,
    events: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
    /// How many of them are kept for aliases, those in several anchors several times.
    kept: usize,
    documents: Vec<Node>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, u32)>, Diagnostic> {
        loop {
            match self.events.next() {
                None => return Ok(None),
                Some(Ok((event, span))) => {
                    if !matches!(
                        event,
                        Event::Alias(_)
                            | Event::Scalar(..)
                            | Event::SequenceStart(..)
                            | Event::SequenceEnd
                            | Event::MappingStart(..)
                            | Event::MappingEnd
                            | Event::DocumentEnd
                    ) {
                        continue;
                    }
                    return Ok(Some((event, line(span.start.line()))));
                }
                Some(Err(error)) => {
                    let at = error.marker();
                    let column = line(at.col() + 1);
                    let why = error.info();
                    return Err(Diagnostic {
                        column,
                        ..Diagnostic::error(&*self.file, line(at.line()), why)
                    });
                }
            }
        }
    }

    fn documents(&mut self) -> Result<(), Diagnostic> {
        while let Some((event, line)) = self.next()? {
            if matches!(event, Event::DocumentEnd) {
                self.anchors.clear();
                self.kept = 0;
                continue;
            }
            let node = self.node(event, line, 0)?;
            self.documents.push(node);
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'t>, line: u32, depth: usize) -> Result<Node, Diagnostic> {
        let node = |tag: Option<&Tag>, value| Node { file: self.file.clone(), line, tag: ours(tag), value };
        let file = self.file.clone();
        let refuse = |why: &str| Err(Diagnostic::error(&*file, line, why));
        if depth > MAX_DEPTH {
            return refuse("is nested deeper than anything that a person writes");
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return refuse(TOO_MANY);
        }
        let before = self.nodes;
        let (anchor, node) = match event {
            Event::Alias(id) => {
                let Some((known, size)) = self.anchors.get(&id) else {
                    return refuse("an alias stands within what it stands for");
                };
                self.nodes += size;
                if self.nodes > MAX_NODES {
                    return refuse(TOO_MANY);
                }
                return Ok(Node { line: known.line, ..known.clone() });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(text.into_owned(), style, tag.as_deref());
                (anchor, node(tag.as_deref(), value))
            }
            Event::SequenceStart(_, anchor, tag) => {
                let mut list = node(tag.as_deref(), Value::Null);
                let mut items = Vec::new();
                while let Some((event, line)) = self.next()? {
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, line, depth + 1)?);
                }
                list.value = Value::List(items);
                (anchor, list)
            }
            Event::MappingStart(_, anchor, tag) => {
                let mut map = node(tag.as_deref(), Value::Null);
                map.value = Value::Map(self.mapping(depth)?);
                (anchor, map)
            }
            _ => return refuse("is no YAML that can be read"),
        };
        if anchor != 0 {
            let size = self.nodes - before + 1;
            self.kept += size;
            if self.kept > MAX_NODES {
                return refuse(TOO_MANY);
            }
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn scalar(&self, text: String, style: ScalarStyle, tag: Option<&Tag>) -> Value {
        let is_string = tag.and_then(Tag::core_suffix) == Some("str");
        match self.json {
            _ if style != ScalarStyle::Plain || is_string => Value::Text(text),
            Some(number) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                Value::Text(number(&text))
            }
            _ => plain(&text),
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(String, Node)>, Diagnostic> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut known: HashSet<String> = HashSet::new();
        let mut merged: Vec<Node> = Vec::new();
        while let Some((event, line)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if &**text == "<<");
            let key = self.node(event, line, depth + 1)?;
            let key = match key.value {
                Value::Text(text) => text,
                Value::Null => "null".to_owned(),
                _ => return Err(Diagnostic::error(&*self.file, line, "a key is a text here")),
            };
            let Some((event, value_line)) = self.next()? else { break };
            let mut value = self.node(event, value_line, depth + 1)?;
            // What is said of a mapping is said of where its key stands.
            if matches!(value.value, Value::Map(_) | Value::List(_) | Value::Null) {
                value.line = line;
            }
            if is_merge {
                match value.value {
                    Value::List(items) => merged.extend(items),
                    _ => merged.push(value),
                }
            } else if !known.insert(key.clone()) && self.json.is_none() {
                let message = format!("the key `{key}` stands here for a second time");
                return Err(Diagnostic::error(&*self.file, line, message));
            } else {
                entries.push((key, value));
            }
        }
        for source in merged {
            let Value::Map(more) = source.value else {
                return Err(Diagnostic::error(&*self.file, source.line, "`<<` takes mappings only"));
            };
            for (key, value) in more {
                if known.insert(key.clone()) {
                    entries.push((key, value));
                }
            }
        }
        Ok(entries)
    }
}

fn ours(tag: Option<&Tag>) -> Option<NodeTag> {
    let tag = tag.filter(|tag| tag.handle() == "!")?;
    match tag.suffix() {
        "reset" => Some(NodeTag::Reset),
        "override" => Some(NodeTag::Override),
        _ => None,
    }
}

fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// A plain scalar, as Go prints the value that it stands for.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "True" | "TRUE" => return Value::Text("true".to_owned()),
        "False" | "FALSE" => return Value::Text("false".to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Text("+Inf".to_owned()),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Text("-Inf".to_owned()),
        ".nan" | ".NaN" | ".NAN" => return Value::Text("NaN".to_owned()),
        _ => {}
    }
    let number = if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        integer(text).or_else(|| float(text))
    } else {
        None
    };
    Value::Text(number.unwrap_or_else(|| text.to_owned()))
}

/// As `strconv.ParseInt` of base 0 reads it.
fn integer(text: &str) -> Option<String> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    // It takes one sign.
    let value =
        digits.starts_with(|c: char| c.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, radix));
    let value = value?.ok().filter(|value| sign.is_empty() || *value <= i64::MIN.unsigned_abs())?;
    Some(if value == 0 { "0".to_owned() } else { format!("{sign}{value}") })
}

fn float(text: &str) -> Option<String> {
    let text = text.replace('_', "");
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && unsigned.contains(|c: char| c.is_ascii_digit());
    if !is_number {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(go_float)
}

/// A float as compose writes it: with an exponent where it is below -4 or above 5.
fn go_float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        format!("{value}")
    } else {
        go_exponent(&format!("{value:e}"))
    }
}

/// `1e5` as Go writes it: with a sign and two digits.
fn go_exponent(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests;
