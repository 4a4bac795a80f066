//! Parser directives: `# escape=`, `# syntax=`, `# check=`.
//!
//! In: lines. Out: which directive a line is. The rules are those of BuildKit's `parser/directives.go`: only in
//! the first lines, each once, and `syntax` also after `//`, as a JSON field, and behind a `#!` line.

use super::Directive;

const NAMES: [&str; 3] = ["syntax", "escape", "check"];

/// Follows the directive lines at the top of a file.
#[derive(Default)]
pub(super) struct DirectiveReader {
    seen: Vec<&'static str>,
    is_done: bool,
}

impl DirectiveReader {
    /// The directive that `line` is. An error says that it is one, but a second time.
    pub(super) fn read<'a>(
        &mut self,
        line: &'a str,
        comment: &str,
    ) -> Result<Option<(&'static str, &'a str)>, String> {
        if self.is_done {
            return Ok(None);
        }
        let Some((name, value)) = split_directive(line, comment) else {
            self.is_done = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(format!("the directive `{name}` is given twice"));
        }
        self.seen.push(name);
        Ok(Some((name, value)))
    }
}

/// `#\s*name\s*=\s*value\s*`
fn split_directive<'a>(line: &'a str, comment: &str) -> Option<(&'static str, &'a str)> {
    let is_space = |c: char| matches!(c, '\t' | '\n' | '\u{c}' | '\r' | ' ');
    let rest = line.strip_prefix(comment)?.trim_start_matches(is_space);
    let (name, value) = rest.split_once('=')?;
    let name = name.trim_end_matches(is_space);
    let known = NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    let value = value.trim_matches(is_space);
    (!value.is_empty()).then_some((known, value))
}

/// `DetectSyntax`: the image of the front end that a file asks for.
pub(super) fn detect_syntax(text: &str) -> Option<Directive> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (text, first) = match text.strip_prefix("#!") {
        Some(rest) => (rest.split_once('\n').map_or("", |(_, rest)| rest), 2),
        None => (text, 1),
    };
    syntax_in_comments(text, first, "#").or_else(|| syntax_in_comments(text, first, "//")).or_else(|| {
        let fields: serde_json::Map<String, serde_json::Value> =
            text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()?;
        let value = fields.get("syntax")?.as_str()?.to_owned();
        Some(Directive { value, line: first })
    })
}

fn syntax_in_comments(text: &str, first: u32, comment: &str) -> Option<Directive> {
    let mut reader = DirectiveReader::default();
    for (line, number) in text.lines().zip(first..) {
        match reader.read(line, comment) {
            Ok(Some(("syntax", value))) => {
                let value = value.split(' ').next().unwrap_or_default().to_owned();
                return Some(Directive { value, line: number });
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return None,
        }
    }
    None
}
