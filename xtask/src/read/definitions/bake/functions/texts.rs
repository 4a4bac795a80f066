//! Pure: functions of strings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use sha2::{Digest as _, Sha256, Sha512};

use super::Arguments;
use crate::read::definitions::bake::value::Value;

/// What time it is, as far as builds go: with the time in it, an image would never be up to date.
const EPOCH: &str = "1970-01-01T00:00:00Z";

pub(super) fn call(name: &str, arguments: Arguments<'_>) -> Option<Result<Value, String>> {
    let one = |of: &dyn Fn(&str) -> String| arguments.text(0).map(|text| Value::Text(of(&text)));
    let two =
        |of: &dyn Fn(&str, &str) -> String| Ok(Value::Text(of(&arguments.text(0)?, &arguments.text(1)?)));
    let says =
        |of: &dyn Fn(&str, &str) -> bool| Ok(Value::Bool(of(&arguments.text(0)?, &arguments.text(1)?)));
    Some(match name {
        "upper" => one(&|text| text.to_uppercase()),
        "lower" => one(&|text| text.to_lowercase()),
        "title" => one(&title),
        "chomp" => one(&|text| text.trim_end_matches(['\n', '\r']).to_owned()),
        "trimspace" => one(&|text| text.trim().to_owned()),
        "trim" => two(&|text, cut| text.trim_matches(|c| cut.contains(c)).to_owned()),
        "trimprefix" => two(&|text, cut| text.strip_prefix(cut).unwrap_or(text).to_owned()),
        "trimsuffix" => two(&|text, cut| text.strip_suffix(cut).unwrap_or(text).to_owned()),
        "startswith" => says(&|text, start| text.starts_with(start)),
        "endswith" => says(&|text, end| text.ends_with(end)),
        "strcontains" => says(&|text, part| text.contains(part)),
        "strlen" => arguments.text(0).map(|text| Value::count(text.chars().count())),
        "reverse" if !matches!(arguments.0, [Value::List(_)]) => one(&|text| text.chars().rev().collect()),
        "sanitize" => one(&sanitize),
        "basename" => one(&|path| base_name(path).to_owned()),
        "dirname" => one(&|path| dir_name(path).to_owned()),
        "urlencode" => one(&url_encode),
        "base64encode" => one(&|text| STANDARD.encode(text)),
        "base64decode" => base64_decode(arguments),
        "sha256" => one(&|text| hex(&Sha256::digest(text.as_bytes()))),
        "sha512" => one(&|text| hex(&Sha512::digest(text.as_bytes()))),
        "split" => split(arguments),
        "join" => join(arguments),
        "replace" => replace(arguments),
        "substr" => substr(arguments),
        "indent" => indent(arguments),
        "format" => format(arguments),
        "formatlist" => format_list(arguments),
        "regex" => regex(arguments),
        "regexall" => regex_all(arguments),
        "regex_replace" => regex_replace(arguments),
        "jsonencode" => arguments.get(0).map(|value| Value::Text(value.to_json())),
        "jsondecode" => json_decode(arguments),
        "timestamp" => Ok(Value::text(EPOCH)),
        "formatdate" => format_date(arguments),
        _ => return None,
    })
}

fn title(text: &str) -> String {
    let mut is_first = true;
    let upper = |c: char| {
        let whole = if is_first { c.to_uppercase().to_string() } else { c.to_string() };
        is_first = !c.is_alphanumeric();
        whole
    };
    text.chars().map(upper).collect()
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

fn dir_name(path: &str) -> &str {
    match path.rsplit_once('/') {
        None => ".",
        Some(("", _)) => "/",
        Some((folder, _)) => folder.trim_end_matches('/'),
    }
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
    Ok(Value::Text(parts.join(&by)))
}

/// A part between slashes is a regular expression in Terraform, and only a text here.
fn replace(arguments: Arguments<'_>) -> Result<Value, String> {
    let (text, from, to) = (arguments.text(0)?, arguments.text(1)?, arguments.text(2)?);
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

fn format_list(arguments: Arguments<'_>) -> Result<Value, String> {
    let lists = arguments.rest(1).iter().filter_map(|value| value.to_list().ok());
    let length = lists.map(|list| list.len()).max().unwrap_or(1);
    let mut all = Vec::new();
    for at in 0..length {
        let pick = |value: &Value| match value {
            Value::List(items) => items.get(at).cloned().ok_or_else(|| "lists differ in length".to_owned()),
            single => Ok(single.clone()),
        };
        let row: Vec<Value> = arguments.0.iter().map(pick).collect::<Result<_, _>>()?;
        all.push(format(Arguments(&row))?);
    }
    Ok(Value::List(all))
}

/// The verbs of cty's `format` that strings of bake files have: `%s %d %v %q %f %t %x %X %b %o %%`, with flags, width and
/// precision.
fn format(arguments: Arguments<'_>) -> Result<Value, String> {
    let template = arguments.text(0)?;
    let verb =
        Regex::new(r"%([-+ 0#]*)(\d*)(?:\.(\d+))?(?:\[(\d+)\])?([a-zA-Z%])").map_err(|e| e.to_string())?;
    let (mut out, mut end, mut next) = (String::new(), 0, 1);
    for found in verb.captures_iter(&template) {
        let (Some(whole), Some(letter)) = (found.get(0), found.get(5)) else { continue };
        out.push_str(&template[end..whole.start()]);
        end = whole.end();
        if letter.as_str() == "%" {
            out.push('%');
            continue;
        }
        let given = found.get(4).and_then(|at| at.as_str().parse().ok());
        let at = given.unwrap_or(next);
        next = at + 1;
        let precision = found.get(3).and_then(|digits| digits.as_str().parse::<usize>().ok());
        let text = formatted(letter.as_str(), arguments.get(at)?, precision)?;
        let flags = found.get(1).map_or("", |flags| flags.as_str());
        let width: usize = found.get(2).and_then(|width| width.as_str().parse().ok()).unwrap_or(0);
        let missing = width.min(1000).saturating_sub(text.chars().count());
        if flags.contains('-') {
            out.push_str(&(text + &" ".repeat(missing)));
        } else if flags.contains('0') {
            let (sign, digits) = text.split_at(usize::from(text.starts_with('-')));
            out.push_str(&format!("{sign}{}{digits}", "0".repeat(missing)));
        } else {
            out.push_str(&(" ".repeat(missing) + &text));
        }
    }
    out.push_str(&template[end..]);
    Ok(Value::Text(out))
}

fn formatted(verb: &str, value: &Value, precision: Option<usize>) -> Result<String, String> {
    let whole = || Arguments(std::slice::from_ref(value)).whole(0);
    Ok(match verb {
        "s" => value.to_text()?.chars().take(precision.unwrap_or(usize::MAX)).collect(),
        "v" => value.to_text().unwrap_or_else(|_| value.to_json()),
        "q" => Value::Text(value.to_text()?).to_json(),
        "d" => whole()?.to_string(),
        "t" => value.to_bool()?.to_string(),
        "f" => format!("{:.*}", precision.unwrap_or(6), value.to_number()?),
        "x" => format!("{:x}", whole()?),
        "X" => format!("{:X}", whole()?),
        "b" => format!("{:b}", whole()?),
        "o" => format!("{:o}", whole()?),
        other => return Err(format!("does not know `%{other}`")),
    })
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
    Ok(Value::Text(from.replace_all(&text, to.as_str()).into_owned()))
}

fn json_decode(arguments: Arguments<'_>) -> Result<Value, String> {
    let json = serde_json::from_str(&arguments.text(0)?).map_err(|error| error.to_string())?;
    Ok(Value::of_json(&json))
}

/// The words of cty's `formatdate`; what stands in quotes stays as it is.
fn format_date(arguments: Arguments<'_>) -> Result<Value, String> {
    use chrono::format::strftime::StrftimeItems;
    let time = arguments.text(1)?;
    let time = chrono::DateTime::parse_from_rfc3339(&time).map_err(|error| format!("`{time}`: {error}"))?;
    let template = arguments.text(0)?;
    let word = Regex::new("'[^']*'|([A-Za-z])[A-Za-z]*").map_err(|error| error.to_string())?;
    let mut out = String::new();
    let mut end = 0;
    for found in word.find_iter(&template) {
        out.push_str(&template[end..found.start()]);
        end = found.end();
        let text = found.as_str();
        if let Some(literal) = text.strip_prefix('\'') {
            out.push_str(literal.trim_end_matches('\''));
            continue;
        }
        for part in runs(text) {
            let verb = match part {
                "YYYY" => "%Y",
                "YY" => "%y",
                "MMMM" => "%B",
                "MMM" => "%b",
                "MM" => "%m",
                "M" => "%-m",
                "DD" => "%d",
                "D" => "%-d",
                "EEEE" => "%A",
                "EEE" => "%a",
                "hh" => "%H",
                "h" => "%-H",
                "HH" => "%I",
                "H" => "%-I",
                "AA" => "%p",
                "aa" => "%P",
                "mm" => "%M",
                "m" => "%-M",
                "ss" => "%S",
                "s" => "%-S",
                "Z" | "ZZZZ" | "ZZZ" => "%z",
                "ZZZZZ" => "%:z",
                literal @ ("T" | "t") => literal,
                other => return Err(format!("does not know `{other}`")),
            };
            let is_utc = part == "Z" && time.offset().local_minus_utc() == 0;
            if is_utc {
                out.push('Z');
            } else {
                out.push_str(&time.format_with_items(StrftimeItems::new(verb)).to_string());
            }
        }
    }
    out.push_str(&template[end..]);
    Ok(Value::Text(out))
}

/// A word in parts of one letter each.
fn runs(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let bytes = word.as_bytes();
    for at in 1..=bytes.len() {
        if at == bytes.len() || bytes[at] != bytes[start] {
            parts.push(&word[start..at]);
            start = at;
        }
    }
    parts
}
