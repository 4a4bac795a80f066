//! Templates: where their output goes and what it is. Pure.
//!
//! In: a template's text and the variables. Out: the rendered text, or everything that is undefined in it.
//!
//! `X.tpl` is ours when it asks for a name that is known, or when somebody says so ([`Claim`]); a web framework's is not.
//! It has `{{NAME}}` replaced (upper-case letters, digits and underscores; spaces and tabs inside allowed), and
//! `${NAME}` for the names that the settings list. Everything else is somebody else's and passes untouched: nginx's
//! `$uri`, Go's `{{ .State }}`, an action's `${{ x }}`, compose's `${X}` and `$${X}`. `X.j2` is Jinja, strict.
//!
//! The variables are those of `.env` as sync-config leaves it, and the settings' `[variables]`. The process environment does not override them, as it
//! would in docker compose: what is rendered ends up in images, and these must come out the same in every shell.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use crate::model::Diagnostic;
use crate::model::suggest::did_you_mean;

/// A template as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSource {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Where its output goes, relative to the root (see [`output_path`]).
    pub output: String,
    /// Its text.
    pub text: String,
    /// Its permission bits, which a new output gets.
    pub mode: Option<u32>,
    /// What stands at `output` now.
    pub was: Option<String>,
    /// Why nothing can be written there.
    pub in_the_way: Option<String>,
    /// Who says that it is ours.
    pub claim: Claim,
}

/// Who says that a template is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// Only the names that it asks for.
    Content,
    /// Its output is one of the files that say what a service is.
    Name,
    /// The settings' `templates` name it.
    Listed,
}

/// What templates are rendered with.
#[derive(Clone, Debug, Default)]
pub struct Variables<'a> {
    /// Value by name.
    pub values: BTreeMap<&'a str, &'a str>,
    /// Names that the settings give and that have no value now, each with why.
    pub unset: BTreeMap<&'a str, &'a str>,
}

/// One rendered text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Permission bits that a new file gets.
    pub mode: Option<u32>,
    /// The template's path.
    pub template: String,
}

/// How a template is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// `.tpl`
    Placeholders,
    /// `.j2`
    Jinja,
}

impl Syntax {
    /// By the file's name; none when it is no template.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        match name.rsplit_once('.') {
            Some((stem, "tpl")) if !stem.is_empty() => Some(Self::Placeholders),
            Some((stem, "j2")) if !stem.is_empty() => Some(Self::Jinja),
            _ => None,
        }
    }
}

/// Where the output of the template at `path` goes: beside it, or, from inside a folder named `templates`, into that
/// folder's parent with the sub-path kept. Only folders below `base` count (`.` is the root), the nearest one first:
/// a service that is itself called `templates` is no such folder. None when `path` is no template.
pub fn output_path(base: &str, path: &str) -> Option<String> {
    Syntax::of(path)?;
    let (output, _) = path.rsplit_once('.')?;
    let (prefix, below) = match path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) {
        Some(_) => output.split_at(base.len() + 1),
        None => ("", output),
    };
    let mut parts: Vec<&str> = below.split('/').collect();
    let folders = parts.len() - 1;
    if let Some(nearest) = parts[..folders].iter().rposition(|part| *part == "templates") {
        parts.remove(nearest);
    }
    Some(format!("{prefix}{}", parts.join("/")))
}

/// The names that a `.tpl` asks for, each with where.
pub fn asked_names<'a>(text: &'a str, dollar_names: &[String]) -> Vec<(&'a str, usize)> {
    placeholders(text, dollar_names).map(|found| (found.name, found.at)).collect()
}

/// Renders a template; `path` decides its syntax and names it in messages.
///
/// # Errors
/// All undefined names with their places, or the first mistake of a Jinja template.
pub fn render(
    path: &str,
    text: &str,
    variables: &Variables<'_>,
    dollar_names: &[String],
) -> Result<String, Diagnostic> {
    match Syntax::of(path) {
        Some(Syntax::Jinja) => render_jinja(path, text, variables),
        _ => render_placeholders(path, text, variables, dollar_names),
    }
}

fn render_placeholders(
    path: &str,
    text: &str,
    variables: &Variables<'_>,
    dollar_names: &[String],
) -> Result<String, Diagnostic> {
    let mut output = String::with_capacity(text.len());
    let mut unknown = Vec::new();
    let mut copied = 0;
    for found in placeholders(text, dollar_names) {
        output.push_str(&text[copied..found.at]);
        match variables.values.get(found.name) {
            Some(value) => output.push_str(value),
            None => unknown.push((found.name.to_owned(), found.at)),
        }
        copied = found.at + found.length;
    }
    output.push_str(&text[copied..]);
    if unknown.is_empty() { Ok(output) } else { Err(undefined(path, text, &unknown, variables)) }
}

struct Placeholder<'a> {
    name: &'a str,
    at: usize,
    length: usize,
}

fn placeholders<'a>(text: &'a str, dollar_names: &[String]) -> impl Iterator<Item = Placeholder<'a>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += text[at..].find(['{', '$'])?;
            match placeholder(text, at, dollar_names) {
                Some((name, length)) => {
                    let found = Placeholder { name, at, length };
                    at += length;
                    return Some(found);
                }
                None => at += 1,
            }
        }
    })
}

/// The name of the placeholder at `at`, and the placeholder's length.
fn placeholder<'a>(text: &'a str, at: usize, dollar_names: &[String]) -> Option<(&'a str, usize)> {
    let rest = &text[at..];
    // `${{ x }}` and `$${x}` are other programs' ways of writing.
    if text[..at].ends_with('$') {
        return None;
    }
    if let Some(inside) = rest.strip_prefix("{{") {
        let name_at = inside.find(|c| c != ' ' && c != '\t')?;
        let name = &inside[name_at..];
        let name = &name[..name.find(|c: char| !is_name_char(c)).unwrap_or(name.len())];
        let after = &inside[name_at + name.len()..];
        let close = after.trim_start_matches([' ', '\t']).strip_prefix("}}")?;
        // No variable begins with a digit: `{{0}}` is a format string's.
        let is_name = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
        return is_name.then_some((name, rest.len() - close.len()));
    }
    let inside = rest.strip_prefix("${")?;
    let name = &inside[..inside.find('}')?];
    dollar_names.iter().any(|listed| listed == name).then_some((name, name.len() + 3))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// As many names as one message has.
const MOST_NAMES: usize = 10;

/// All names that a template lacks, at the place of the first one.
fn undefined(path: &str, text: &str, unknown: &[(String, usize)], variables: &Variables<'_>) -> Diagnostic {
    let mut names: Vec<(&str, usize)> = Vec::new();
    for (name, at) in unknown {
        if names.iter().all(|(known, _)| known != name) {
            names.push((name, *at));
        }
    }
    let first = names.first().map_or(0, |(_, at)| *at);
    let why = |name: &str| match variables.unset.get(name) {
        Some(why) => format!(": {why}"),
        None => did_you_mean(name, variables.values.keys().copied()),
    };
    let message = match names[..] {
        [(name, _)] => format!("`{name}` is not defined in .env or .env.example{}", why(name)),
        _ => {
            let place = |at| Diagnostic::error("", 0, "").at_offset(text, at);
            let told = names.iter().take(MOST_NAMES).map(|(name, at)| {
                let Diagnostic { line, column, .. } = place(*at);
                format!("`{name}` ({line}:{column}{})", why(name))
            });
            let told: Vec<String> = told.collect();
            let more = names.len().saturating_sub(MOST_NAMES);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            let count = names.len();
            format!("{count} names are not defined in .env or .env.example: {}{more}", told.join(", "))
        }
    };
    Diagnostic::error(path, 0, message).at_offset(text, first)
}

fn render_jinja(path: &str, text: &str, variables: &Variables<'_>) -> Result<String, Diagnostic> {
    let mut jinja = Environment::new();
    jinja.set_undefined_behavior(UndefinedBehavior::Strict);
    // Which name is undefined is worth saying in every profile, not only where minijinja was built for debugging.
    jinja.set_debug(true);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    jinja.set_syntax(syntax.map_err(|error| Diagnostic::error(path, 0, error.to_string()))?);
    // What is rendered is configuration, whatever its name ends with.
    jinja.set_auto_escape_callback(|_| AutoEscape::None);
    let mut context: BTreeMap<String, String> =
        variables.values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut unknown: Vec<(String, usize)> = Vec::new();
    // It stops at the first name that it lacks; with that one given it goes on to the next.
    loop {
        let rendered = jinja.render_named_str(path, text, Value::from(context.clone()));
        let error = match rendered {
            Ok(text) if unknown.is_empty() => return Ok(text),
            Ok(_) => break,
            Err(error) => error,
        };
        let lacked = error.range().filter(|_| error.kind() == minijinja::ErrorKind::UndefinedError);
        let lacked = lacked.and_then(|range| {
            let (name, at) = first_unknown(text.get(range.clone())?, &|name| context.contains_key(name))?;
            Some((name, range.start + at))
        });
        match lacked {
            Some((name, at)) => {
                context.insert(name.to_owned(), String::new());
                unknown.push((name.to_owned(), at));
            }
            None if unknown.is_empty() => return Err(mistake(path, text, &error)),
            // What is wrong with a value that nobody gave says nothing.
            None => break,
        }
    }
    Err(undefined(path, text, &unknown, variables))
}

/// What is wrong with a Jinja template, beside names that it lacks.
fn mistake(path: &str, text: &str, error: &minijinja::Error) -> Diagnostic {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let found = Diagnostic::error(path, 0, format!("{}{detail}", error.kind()));
    match (error.range(), error.line()) {
        (Some(range), _) => found.at_offset(text, range.start),
        (None, Some(line)) => Diagnostic { line: u32::try_from(line).unwrap_or(0), ..found },
        (None, None) => found,
    }
}

/// Words of Jinja's own that may stand where a name could.
const KEYWORDS: [&str; 19] = [
    "if", "elif", "else", "for", "in", "not", "and", "or", "is", "set", "with", "do", "filter", "true",
    "false", "none", "True", "False", "None",
];

/// The first variable of an expression that `is_known` does not know, and where it stands in there.
fn first_unknown<'a>(expression: &'a str, is_known: &dyn Fn(&str) -> bool) -> Option<(&'a str, usize)> {
    let mut quote = None;
    let mut at = 0;
    while let Some(c) = expression[at..].chars().next() {
        let rest = &expression[at..];
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        // Fields, filters and tests are no variables.
        let follows = expression[..at].trim_end();
        let is_of_something = follows.ends_with(['.', '|']) || follows.ends_with(" is");
        let is_name = length > 0 && !c.is_ascii_digit() && quote.is_none() && !is_of_something;
        let name = &rest[..length];
        if is_name && !KEYWORDS.contains(&name) && !is_known(name) {
            return Some((name, at));
        }
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        at += if quote.is_none() { length.max(c.len_utf8()) } else { c.len_utf8() };
    }
    None
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    const VARIABLES: [(&str, &str); 6] = [
        ("HOST", "db.example.com"),
        ("PORT", "5432"),
        ("EMPTY", ""),
        ("NESTED", "{{HOST}} $1 \\1 &"),
        ("_X9", "x"),
        ("lower", "low"),
    ];

    fn variables() -> Variables<'static> {
        let unset = BTreeMap::from([("GIT_SHA", "`git rev-parse HEAD` exited with status 128")]);
        Variables { values: VARIABLES.into_iter().collect(), unset }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let variables = variables();
        let dollar = ["PORT".to_owned(), "GONE".to_owned()];
        assert_eq!(render("f.tpl", text, &variables, &dollar).as_deref(), Ok(expected), "{text:?}");
    }

    #[test]
    fn placeholders_are_replaced_and_nothing_else() {
        check("{{HOST}}:{{ PORT }}/{{\tEMPTY  }}.", "db.example.com:5432/.");
        check("{{NESTED}}", "{{HOST}} $1 \\1 &");
        check("{{{PORT}}} {{{{PORT}}}}", "{5432} {{5432}}");
        check("{{_X9}}{{PORT}}{{PORT}}", "x54325432");
        check("${PORT} ${HOST} $PORT $${PORT} ${PORT:-1}", "5432 ${HOST} $PORT $${PORT} ${PORT:-1}");
        for untouched in [
            "$uri $host ${HOST} ${X:-y}",
            "{{ .State }} {{lower}} {{ Name }} {{HOST-x}} {{HOST.x}} {{}} {{ }} {{0}} {{1A}}",
            "${{ x }} ${{ secrets.TOKEN }} ${{ HOST }} ${{HOST}}",
            "{{- .Values -}} {{HOST\n}} {{\nHOST}} {{HOST} } {HOST}} {{HOST",
            "{{ÀB}} {{é}} { { HOST } }",
            "a\r\nb\u{feff}\r\n",
            "",
            "{{",
            "${",
            "$",
        ] {
            check(untouched, untouched);
        }
    }

    #[track_caller]
    fn errors(path: &str, text: &str) -> String {
        render(path, text, &variables(), &["GONE".to_owned()]).expect_err(text).to_string()
    }

    #[test]
    fn undefined_names_have_a_place() {
        let text = "ok {{HOST}}\n  é {{ HOTS }} {{NOPE}}{{HOTS}}\n${GONE} {{GIT_SHA}}";
        assert_snapshot!(errors("src/a/x.conf.tpl", text), @"error: src/a/x.conf.tpl:2:5: 4 names are not defined in .env or .env.example: `HOTS` (2:5, did you mean `HOST`?), `NOPE` (2:16), `GONE` (3:1), `GIT_SHA` (3:9: `git rev-parse HEAD` exited with status 128)");
        assert_snapshot!(errors("x.tpl", "{{HOTS}}{{HOTS}}"), @"error: x.tpl:1:1: `HOTS` is not defined in .env or .env.example, did you mean `HOST`?");
        assert_snapshot!(errors("x.j2", "{{ NOPE }}\n{% if HOTS == 'x' %}{% endif %}{{ HOST.x }}"), @"error: x.j2:1:4: 2 names are not defined in .env or .env.example: `NOPE` (1:4), `HOTS` (2:7, did you mean `HOST`?)");
        let many: String = (0..30).map(|n| format!("{{{{N{n}}}}}")).collect();
        assert!(errors("x.tpl", &many).ends_with("`N9` (1:55), and 20 more"), "{}", errors("x.tpl", &many));
        assert_snapshot!(errors("x.j2", "a\n{{ HOST }} {{ HOTS }}\n"), @r"error: x.j2:2:15: `HOTS` is not defined in .env or .env.example, did you mean `HOST`?");
        assert_snapshot!(errors("x.j2", "a\n{% if HOST %}\n"), @r"error: x.j2:2:14: syntax error: unexpected end of input, expected end of block");
        assert_snapshot!(errors("x.j2", "{{ HOST.x.y }}"), @r"error: x.j2:1:8: undefined value: `HOST.x` is undefined");
        assert_snapshot!(errors("x.j2", "{% for x in NOPE %}{% endfor %}"), @r"error: x.j2:1:13: `NOPE` is not defined in .env or .env.example");
        assert_snapshot!(errors("x.j2", "{% include 'other' %}"), @r"error: x.j2:1:4: template not found: tried to include non-existing template 'other'");
    }

    #[test]
    fn jinja_renders_with_the_same_variables() {
        let variables = variables();
        let text = "{% if PORT == '5432' -%}\n  {{ HOST|upper }}<&>\n{%- endif %} {{ NOPE|default('d') }}\n";
        let rendered = render("a.html.j2", text, &variables, &[]);
        assert_eq!(rendered.as_deref(), Ok("DB.EXAMPLE.COM<&> d\n"));
        assert_eq!(render("a.json.j2", "{{ HOST }}", &variables, &[]).as_deref(), Ok("db.example.com"));
    }

    #[test]
    fn outputs_go_beside_or_above_templates() {
        for (base, path, expected) in [
            ("src/api", "src/api/Dockerfile.tpl", Some("src/api/Dockerfile")),
            ("src/nginx", "src/nginx/templates/conf.d/a.conf.tpl", Some("src/nginx/conf.d/a.conf")),
            ("src/nginx", "src/nginx/templates/a.conf.j2", Some("src/nginx/a.conf")),
            ("src/x", "src/x/deep/templates/a.tpl", Some("src/x/deep/a")),
            ("src/x", "src/x/templates/a/templates/b.tpl", Some("src/x/templates/a/b")),
            ("src/templates", "src/templates/Dockerfile.tpl", Some("src/templates/Dockerfile")),
            (".", "docker-compose.yml.tpl", Some("docker-compose.yml")),
            (".", "scripts/templates/x.sh.tpl", Some("scripts/x.sh")),
            ("src/x", "src/x/templates.tpl", Some("src/x/templates")),
            ("src/x", "src/x/Dockerfile.tpl.backup", None),
            ("src/x", "src/x/.tpl", None),
            ("src/x", "src/x/tpl", None),
        ] {
            assert_eq!(output_path(base, path).as_deref(), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn text_without_placeholders_is_kept(text in "[a-z{}$ .\n]{0,40}") {
            prop_assert_eq!(render("f.tpl", &text, &Variables::default(), &[]), Ok(text));
        }

        #[test]
        fn rendering_never_panics(text in "[A{}$ é\n%#]{0,24}") {
            let variables = Variables { values: BTreeMap::from([("A", "1")]), ..Variables::default() };
            let _ = render("f.tpl", &text, &variables, &["A".to_owned()]);
            let _ = render("f.j2", &text, &variables, &[]);
        }
    }
}
