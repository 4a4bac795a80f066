//! Patterns inside `${V#p}`, `${V%p}` and `${V/p/r}`: `*`, `?` and escapes, no brackets.
//!
//! In: pattern and value. Out: the value with what matches taken off or replaced. The rules are those of
//! `convertShellPatternToRegex` in BuildKit's `shell/lex.go`. Rare, so each use may compile a regex.

use regex::Regex;

/// `${V#p}`, and `${V##p}` when greedy.
pub(super) fn trim_prefix(pattern: &str, value: &str, greedy: bool) -> Result<String, String> {
    let regex = compile(pattern, greedy, "^")?;
    Ok(regex.find(value).map_or(value, |found| &value[found.end()..]).to_owned())
}

/// `${V%p}`, and `${V%%p}` when greedy. Pattern and value are reversed, so that "shortest from the end" becomes
/// "shortest from the start", which regexes can do.
pub(super) fn trim_suffix(pattern: &str, value: &str, greedy: bool) -> Result<String, String> {
    let backwards: String = value.chars().rev().collect();
    let rest = trim_prefix(&reverse_pattern(pattern), &backwards, greedy)?;
    Ok(rest.chars().rev().collect())
}

/// `${V/p/r}`, and `${V//p/r}` for all; none when it comes to more than `limit` bytes.
pub(super) fn replace(
    pattern: &str,
    replacement: &str,
    value: &str,
    all: bool,
    limit: usize,
) -> Result<Option<String>, String> {
    let regex = compile(pattern, true, "")?;
    if !all {
        return Ok(Some(match regex.find(value) {
            Some(found) => format!("{}{replacement}{}", &value[..found.start()], &value[found.end()..]),
            None => value.to_owned(),
        }));
    }
    let (mut text, mut end) = (String::new(), 0);
    for captures in regex.captures_iter(value) {
        let found = captures.get_match();
        text.push_str(&value[end..found.start()]);
        let may_repeat = replacement.matches('$').count() * found.len();
        if text.len() + replacement.len() + may_repeat > limit {
            return Ok(None);
        }
        // `$1` and the like are looked for here, as Go's `ReplaceAllString` does.
        captures.expand(replacement, &mut text);
        end = found.end();
    }
    text.push_str(&value[end..]);
    Ok(Some(text))
}

fn compile(pattern: &str, greedy: bool, anchor: &str) -> Result<Regex, String> {
    let mut regex = anchor.to_owned();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => regex.push_str(if greedy { ".*" } else { ".*?" }),
            '?' => regex.push('.'),
            '\\' => match chars.next() {
                Some(closing @ ('}' | '/')) => {
                    regex.push_str(&regex::escape(closing.encode_utf8(&mut [0; 4])))
                }
                Some(escaped @ ('*' | '?' | '\\')) => regex.extend(['\\', escaped]),
                other => {
                    let other = other.map_or_else(String::new, String::from);
                    return Err(format!("`{pattern}` has an invalid escape `\\{other}`"));
                }
            },
            other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&regex).map_err(|_| format!("`{pattern}` is not a pattern"))
}

/// Reversed, with `\x` kept as `\x`.
fn reverse_pattern(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut units: Vec<&[char]> = Vec::new();
    let mut rest = chars.as_slice();
    while let Some(first) = rest.first() {
        let length = if *first == '\\' && rest.len() > 1 { 2 } else { 1 };
        let (unit, after) = rest.split_at(length);
        units.push(unit);
        rest = after;
    }
    units.iter().rev().flat_map(|unit| unit.iter()).collect()
}
