//! How one logical line becomes words: keyword, `--flags`, JSON arrays, `name=value` lists.
//!
//! In: text of one instruction. Out: strings, or the reason why the front end refuses it. No variables are
//! expanded here. The rules, oddities included, are those of BuildKit's `frontend/dockerfile/parser`
//! (`split_command.go`, `line_parsers.go`).

/// A keyword, its flags and the rest of the line.
pub(super) struct SplitLine<'a> {
    pub keyword: &'a str,
    pub flags: Vec<String>,
    pub rest: std::borrow::Cow<'a, str>,
}

/// The blanks that separate a keyword and plain arguments; other Unicode spaces do not.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Cuts at the first run of blanks.
pub(super) fn split_once_blank(text: &str) -> Option<(&str, &str)> {
    let at = text.find(is_blank)?;
    Some((&text[..at], text[at..].trim_start_matches(is_blank)))
}

/// `splitCommand`: keyword, flags, arguments.
pub(super) fn split_line(line: &str, escape: char) -> SplitLine<'_> {
    let line = line.trim();
    let Some((keyword, rest)) = split_once_blank(line) else {
        return SplitLine { keyword: line, flags: Vec::new(), rest: "".into() };
    };
    if !rest.trim_start().starts_with("--") {
        return SplitLine { keyword, flags: Vec::new(), rest: rest.trim().into() };
    }
    let (flags, end) = split_flags(rest.as_bytes(), escape);
    let rest = match rest.get(end..) {
        Some(rest) => rest.trim().into(),
        None => String::from_utf8_lossy(&rest.as_bytes()[end..]).trim().to_owned().into(),
    };
    SplitLine { keyword, flags, rest }
}

/// `extractBuilderFlags`: the leading `--…` words with quotes and escapes taken off, and where the rest begins.
/// BuildKit reads bytes as characters here, so a flag that is not ASCII comes out garbled there and here alike.
fn split_flags(line: &[u8], escape: char) -> (Vec<String>, usize) {
    let is_space = |b: u8| matches!(b, b'\t' | b'\n' | 0xb | 0xc | b'\r' | b' ' | 0x85 | 0xa0);
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&b| is_space(b)) {
            at += 1;
        }
        if !line[at..].starts_with(b"--") {
            return (flags, at);
        }
        let (mut word, mut quote, mut is_blank_ok) = (String::new(), None, false);
        while let Some(&byte) = line.get(at) {
            match quote {
                None if is_space(byte) => break,
                None if byte == b'\'' || byte == b'"' => {
                    (quote, is_blank_ok) = (Some(byte), true);
                }
                Some(open) if byte == open => quote = None,
                _ if char::from(byte) == escape => {
                    at += 1;
                    match line.get(at) {
                        Some(&escaped) => word.push(char::from(escaped)),
                        None => break,
                    }
                }
                _ => word.push(char::from(byte)),
            }
            at += 1;
        }
        if word == "--" {
            return (flags, at);
        }
        if is_blank_ok || !word.is_empty() {
            flags.push(word);
        }
        if at >= line.len() {
            return (flags, line.len());
        }
    }
}

/// `parseStringsWhitespaceDelimited`.
pub(super) fn split_blanks(rest: &str) -> Vec<String> {
    if rest.is_empty() {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut rest = rest;
    while let Some((word, after)) = split_once_blank(rest) {
        words.push(word.to_owned());
        rest = after;
    }
    words.push(rest.to_owned());
    words
}

/// What JSON form an argument list has.
pub(super) enum Json {
    /// `["a", "b"]`
    Strings(Vec<String>),
    /// An array with something else in it, which the front end refuses.
    Mixed,
    /// No JSON array: plain words.
    Not,
}

/// `parseJSON`.
pub(super) fn parse_json(rest: &str) -> Json {
    let rest = rest.trim_start();
    if !rest.starts_with('[') {
        return Json::Not;
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(rest) {
        Err(_) => Json::Not,
        Ok(values) => {
            let strings = values.into_iter().map(|value| match value {
                serde_json::Value::String(text) => Some(text),
                _ => None,
            });
            strings.collect::<Option<Vec<_>>>().map_or(Json::Mixed, Json::Strings)
        }
    }
}

/// `parseWords`: words with their quotes and escapes left in.
pub(super) fn split_quoted(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut is_blank_ok, mut quote, mut in_word) = (String::new(), false, None, false);
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        if !in_word {
            if c.is_whitespace() {
                continue;
            }
            in_word = true;
        }
        match quote {
            None => {
                if c.is_whitespace() {
                    in_word = false;
                    if is_blank_ok || !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                    is_blank_ok = false;
                    continue;
                }
                if c == '\'' || c == '"' {
                    (quote, is_blank_ok) = (Some(c), true);
                }
                if c == escape {
                    match chars.next() {
                        Some(escaped) => word.extend([c, escaped]),
                        None => break,
                    }
                } else {
                    word.push(c);
                }
            }
            Some(open) => {
                if c == open {
                    quote = None;
                }
                if c == escape && open != '\'' {
                    match chars.next() {
                        Some(escaped) => word.extend([c, escaped]),
                        None => break,
                    }
                } else {
                    word.push(c);
                }
            }
        }
    }
    if in_word && (is_blank_ok || !word.is_empty()) {
        words.push(word);
    }
    words
}

/// `parseNameVal`: `name=value …`, or the old `name value`.
pub(super) fn parse_pairs(rest: &str, keyword: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = split_quoted(rest, escape);
    let Some(first) = words.first() else {
        return Err(format!("{keyword} needs at least one argument"));
    };
    if !first.contains('=') {
        let (name, value) =
            split_once_blank(rest).ok_or_else(|| format!("{keyword} needs a name and a value"))?;
        return Ok(vec![(name.to_owned(), value.to_owned())]);
    }
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!("{keyword} has a blank name")),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("{keyword} cannot find `=` in `{word}`; write `name=value`")),
        })
        .collect()
}

/// One CSV record, as `--mount` takes it (`csvvalue.Fields`, RFC 4180 without lazy quotes).
pub(super) fn split_csv(text: &str) -> Result<Vec<String>, String> {
    let bare = || format!("`{text}` has a quote inside a field");
    let mut fields = Vec::new();
    let mut rest = text;
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, after) = rest.split_once(',').map_or((rest, None), |(f, a)| (f, Some(a)));
            if field.contains('"') {
                return Err(bare());
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
            continue;
        };
        let (mut field, mut tail) = (String::new(), quoted);
        loop {
            let (part, after) = tail.split_once('"').ok_or_else(bare)?;
            field.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    tail = more;
                }
                None => {
                    tail = after;
                    break;
                }
            }
        }
        fields.push(field);
        if tail.is_empty() {
            return Ok(fields);
        }
        rest = tail.strip_prefix(',').ok_or_else(bare)?;
    }
}
