//! Pure: functions of strings.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use regex::Regex;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use super::{Arguments, format};
use crate::read::definitions::bake::csv;
use crate::read::definitions::bake::value::{Budget, Value};

pub(super) fn call(name: &str, arguments: Arguments<'_>) -> Option<Result<Value, String>> {
    let one = |of: &dyn Fn(&str) -> String| arguments.text(0).map(|text| Value::Text(of(&text)));
    let two =
        |of: &dyn Fn(&str, &str) -> String| Ok(Value::Text(of(&arguments.text(0)?, &arguments.text(1)?)));
    Some(match name {
        "upper" => one(&|text| text.chars().map(upper).collect()),
        "lower" => one(&|text| text.chars().map(|c| single(c, c.to_lowercase())).collect()),
        "title" => one(&title),
        "chomp" => one(&|text| text.trim_end_matches(['\n', '\r']).to_owned()),
        "trimspace" => one(&|text| text.trim().to_owned()),
        "trim" => two(&|text, cut| text.trim_matches(|c| cut.contains(c)).to_owned()),
        "trimprefix" => two(&|text, cut| text.strip_prefix(cut).unwrap_or(text).to_owned()),
        "trimsuffix" => two(&|text, cut| text.strip_suffix(cut).unwrap_or(text).to_owned()),
        "strlen" => arguments.text(0).map(|text| Value::count(text.chars().count())),
        "reverse" => one(&|text| text.chars().rev().collect()),
        "sanitize" => one(&sanitize),
        "basename" => one(&|path| base_name(path).to_owned()),
        "dirname" => one(&dir_name),
        "urlencode" => one(&url_encode),
        "base64encode" => one(&|text| STANDARD.encode(text)),
        "base64decode" => base64_decode(arguments),
        "md5" => one(&|text| hex(&Md5::digest(text.as_bytes()))),
        "sha1" => one(&|text| hex(&Sha1::digest(text.as_bytes()))),
        "sha256" => one(&|text| hex(&Sha256::digest(text.as_bytes()))),
        "sha512" => one(&|text| hex(&Sha512::digest(text.as_bytes()))),
        "split" => split(arguments),
        "join" => join(arguments),
        "replace" => replace(arguments),
        "substr" => substr(arguments),
        "indent" => indent(arguments),
        "format" => format::format(arguments),
        "formatlist" => format::format_list(arguments),
        "regex" => regex(arguments),
        "regexall" => regex_all(arguments),
        "regex_replace" => regex_replace(arguments),
        "jsonencode" => arguments.get(0).map(|value| Value::Text(value.to_json())),
        "jsondecode" => json_decode(arguments),
        "csvdecode" => csv_decode(arguments),
        "uuidv5" => uuid(arguments),
        _ => return None,
    })
}

/// A letter whose other case is several letters stays, as for Go.
fn single(c: char, mut other: impl ExactSizeIterator<Item = char>) -> char {
    if other.len() == 1 { other.next().unwrap_or(c) } else { c }
}

fn upper(c: char) -> char {
    single(c, c.to_uppercase())
}

fn title(text: &str) -> String {
    let mut is_first = true;
    let one = |c: char| {
        let whole = if is_first { upper(c) } else { c };
        is_first = !c.is_alphanumeric() && c != '_';
        whole
    };
    text.chars().map(one).collect()
}

/// What target names cannot have becomes `_` (buildx, `hclparser/stdlib.go`).
fn sanitize(text: &str) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.chars().map(|c| if is_kept(c) { c } else { '_' }).collect()
}

/// Go's `filepath.Base`.
fn base_name(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        rest => rest.rsplit('/').next().unwrap_or(rest),
    }
}

/// Go's `path.Dir`, which cleans what it gives.
fn dir_name(path: &str) -> String {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    let whole = format!("{root}{}", parts.join("/"));
    if whole.is_empty() { ".".to_owned() } else { whole }
}

/// Go's `url.QueryEscape`.
fn url_encode(text: &str) -> String {
    let one = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64_decode(arguments: Arguments<'_>) -> Result<Value, String> {
    let bytes = STANDARD.decode(arguments.text(0)?).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map(Value::Text).map_err(|_| "what is encoded is no text".to_owned())
}

fn split(arguments: Arguments<'_>) -> Result<Value, String> {
    let (by, text) = (arguments.text(0)?, arguments.text(1)?);
    let parts: Vec<String> = match by.as_str() {
        "" => text.chars().map(String::from).collect(),
        by => text.split(by).map(str::to_owned).collect(),
    };
    Ok(Value::List(parts.into_iter().map(Value::Text).collect()))
}

fn join(arguments: Arguments<'_>) -> Result<Value, String> {
    let by = arguments.text(0)?;
    let mut parts = Vec::new();
    for list in arguments.rest(1) {
        for item in list.to_list()? {
            parts.push(item.to_text()?);
        }
    }
    Budget::default().spend(parts.len().saturating_mul(by.len()))?;
    Ok(Value::Text(parts.join(&by)))
}

/// A part between slashes is a regular expression in Terraform, and only a text here.
fn replace(arguments: Arguments<'_>) -> Result<Value, String> {
    let (text, from, to) = (arguments.text(0)?, arguments.text(1)?, arguments.text(2)?);
    Budget::default().spend(text.matches(&from).count().saturating_mul(to.len()))?;
    Ok(Value::Text(text.replace(&from, &to)))
}

fn substr(arguments: Arguments<'_>) -> Result<Value, String> {
    let (text, offset, length) = (arguments.text(0)?, arguments.whole(1)?, arguments.whole(2)?);
    let chars: Vec<char> = text.chars().collect();
    let count = i64::try_from(chars.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { (count + offset).max(0) } else { offset.min(count) };
    let end = if length < 0 { count } else { start.saturating_add(length).min(count) };
    let at = |position: i64| usize::try_from(position).unwrap_or_default();
    Ok(Value::Text(chars[at(start)..at(end)].iter().collect()))
}

fn indent(arguments: Arguments<'_>) -> Result<Value, String> {
    let spaces = usize::try_from(arguments.whole(0)?).map_err(|_| "a count is 0 or more".to_owned())?;
    Ok(Value::Text(arguments.text(1)?.replace('\n', &format!("\n{}", " ".repeat(spaces.min(1000))))))
}

fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("`{text}` is no pattern: {error}"))
}

/// The groups of a match: none is the match itself, named ones an object, others a list.
fn groups(pattern: &Regex, found: &regex::Captures<'_>) -> Value {
    let of = |group: Option<regex::Match<'_>>| group.map_or(Value::Null, |group| Value::text(group.as_str()));
    let names: Vec<&str> = pattern.capture_names().flatten().collect();
    match pattern.captures_len() {
        1 => of(found.get(0)),
        _ if !names.is_empty() => {
            Value::Object(names.iter().map(|name| ((*name).to_owned(), of(found.name(name)))).collect())
        }
        count => Value::List((1..count).map(|at| of(found.get(at))).collect()),
    }
}

fn regex(arguments: Arguments<'_>) -> Result<Value, String> {
    let (pattern, text) = (pattern(&arguments.text(0)?)?, arguments.text(1)?);
    let found = pattern.captures(&text).ok_or_else(|| format!("`{pattern}` does not match `{text}`"))?;
    Ok(groups(&pattern, &found))
}

fn regex_all(arguments: Arguments<'_>) -> Result<Value, String> {
    let (pattern, text) = (pattern(&arguments.text(0)?)?, arguments.text(1)?);
    Ok(Value::List(pattern.captures_iter(&text).map(|found| groups(&pattern, &found)).collect()))
}

fn regex_replace(arguments: Arguments<'_>) -> Result<Value, String> {
    let (text, from, to) = (arguments.text(0)?, pattern(&arguments.text(1)?)?, arguments.text(2)?);
    Budget::default().spend(from.find_iter(&text).count().saturating_mul(to.len()))?;
    Ok(Value::Text(from.replace_all(&text, to.as_str()).into_owned()))
}

fn json_decode(arguments: Arguments<'_>) -> Result<Value, String> {
    let json = serde_json::from_str(&arguments.text(0)?).map_err(|error| error.to_string())?;
    Ok(Value::of_json(&json))
}

/// A list of objects, one a line, by the names of the first one.
fn csv_decode(arguments: Arguments<'_>) -> Result<Value, String> {
    let mut records = csv::records(&arguments.text(0)?, ',')?.into_iter();
    let names = records.next().ok_or_else(|| "there is no line with names".to_owned())?;
    let row = |record: Vec<String>| {
        if record.len() != names.len() {
            return Err(format!("a line has {} values for {} names", record.len(), names.len()));
        }
        let entries = names.iter().cloned().zip(record.into_iter().map(Value::Text));
        Ok(Value::Object(entries.collect::<BTreeMap<_, _>>()))
    };
    records.map(row).collect::<Result<_, _>>().map(Value::List)
}

/// The UUID of a name in a space of names (RFC 9562, version 5).
fn uuid(arguments: Arguments<'_>) -> Result<Value, String> {
    let (space, name) = (arguments.text(0)?, arguments.text(1)?);
    // The four that the RFC has differ in one digit.
    let space = match space.as_str() {
        "dns" => "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "url" => "6ba7b811-9dad-11d1-80b4-00c04fd430c8",
        "oid" => "6ba7b812-9dad-11d1-80b4-00c04fd430c8",
        "x500" => "6ba7b814-9dad-11d1-80b4-00c04fd430c8",
        other => other,
    };
    let digits = space.replace('-', "");
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
    let number = number.ok_or_else(|| format!("`{space}` is no UUID"))?;
    let hashed = hex(&Sha1::new().chain_update(number.to_be_bytes()).chain_update(name).finalize());
    let number = u128::from_str_radix(&hashed[..32], 16).map_err(|error| error.to_string())?;
    let versioned = number & !(0xf << 76) & !(0b11 << 62) | 5 << 76 | 0b10 << 62;
    let hashed = format!("{versioned:032x}");
    let parts = [&hashed[..8], &hashed[8..12], &hashed[12..16], &hashed[16..20], &hashed[20..]];
    Ok(Value::Text(parts.join("-")))
}
