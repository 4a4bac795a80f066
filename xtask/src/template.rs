//! Templates: where their output goes and what it is. Pure.
//!
//! In: a template's text and the variables. Out: the rendered text, or everything that is undefined in it.
//!
//! `X.tpl` has `{{NAME}}` replaced (upper-case letters, digits and underscores; spaces and tabs inside allowed), and
//! `${NAME}` for the names that the settings list. Everything else is somebody else's and passes untouched: nginx's
//! `$uri`, Go's `{{ .State }}`, an action's `${{ x }}`, compose's `${X}` and `$${X}`. `X.j2` is Jinja, strict.
//!
//! The variables are those of `.env` as sync-config leaves it. The process environment does not override them, as it
//! would in docker compose: what is rendered ends up in images, and these must come out the same in every shell.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use crate::model::Diagnostic;
use crate::suggest::did_you_mean;

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

/// Renders a template; `path` decides its syntax and names it in messages.
///
/// # Errors
/// Every undefined name with file, line and column, or the first mistake of a Jinja template.
pub fn render(
    path: &str,
    text: &str,
    variables: &BTreeMap<&str, &str>,
    dollar_names: &[String],
) -> Result<String, Vec<Diagnostic>> {
    match Syntax::of(path) {
        Some(Syntax::Jinja) => render_jinja(path, text, variables).map_err(|error| vec![error]),
        _ => render_placeholders(path, text, variables, dollar_names),
    }
}

fn render_placeholders(
    path: &str,
    text: &str,
    variables: &BTreeMap<&str, &str>,
    dollar_names: &[String],
) -> Result<String, Vec<Diagnostic>> {
    let mut output = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find(['{', '$']) {
        at += found;
        let Some((name, length)) = placeholder(text, at, dollar_names) else {
            at += 1;
            continue;
        };
        output.push_str(&text[copied..at]);
        match variables.get(name) {
            Some(value) => output.push_str(value),
            None => problems.push(undefined(path, text, at, name, variables)),
        }
        at += length;
        copied = at;
    }
    output.push_str(&text[copied..]);
    if problems.is_empty() { Ok(output) } else { Err(problems) }
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

fn undefined(path: &str, text: &str, at: usize, name: &str, variables: &BTreeMap<&str, &str>) -> Diagnostic {
    let meant = did_you_mean(name, variables.keys().copied());
    let message = format!("`{name}` is not defined in .env or .env.example{meant}");
    Diagnostic::error(path, 0, message).at_offset(text, at)
}

fn render_jinja(path: &str, text: &str, variables: &BTreeMap<&str, &str>) -> Result<String, Diagnostic> {
    let mut jinja = Environment::new();
    jinja.set_undefined_behavior(UndefinedBehavior::Strict);
    // Which name is undefined is worth saying in every profile, not only where minijinja was built for debugging.
    jinja.set_debug(true);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    jinja.set_syntax(syntax.map_err(|error| Diagnostic::error(path, 0, error.to_string()))?);
    // What is rendered is configuration, whatever its name ends with.
    jinja.set_auto_escape_callback(|_| AutoEscape::None);
    let context = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let context = Value::from(context.collect::<BTreeMap<String, String>>());
    jinja.render_named_str(path, text, context).map_err(|error| {
        let place = |found: Diagnostic| match (error.range(), error.line()) {
            (Some(range), _) => found.at_offset(text, range.start),
            (None, Some(line)) => Diagnostic { line: u32::try_from(line).unwrap_or(0), ..found },
            (None, None) => found,
        };
        if error.kind() == minijinja::ErrorKind::UndefinedError
            && let Some(name) = error.range().and_then(|range| text.get(range)).and_then(first_name)
            && !variables.contains_key(name)
        {
            return place(undefined(path, text, 0, name, variables));
        }
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        place(Diagnostic::error(path, 0, format!("{}{detail}", error.kind())))
    })
}

/// The variable that an expression begins with, if it begins with one.
fn first_name(expression: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = &expression[..expression.find(|c| !is_name(c)).unwrap_or(expression.len())];
    (!name.is_empty()).then_some(name)
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

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let variables = VARIABLES.into_iter().collect();
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
        let problems = render(path, text, &VARIABLES.into_iter().collect(), &["GONE".to_owned()]);
        problems.expect_err(text).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn undefined_names_have_a_place() {
        assert_snapshot!(errors("src/a/x.conf.tpl", "ok {{HOST}}\n  é {{ HOTS }} {{NOPE}}\n${GONE}"), @r"
        error: src/a/x.conf.tpl:2:5: `HOTS` is not defined in .env or .env.example, did you mean `HOST`?
        error: src/a/x.conf.tpl:2:16: `NOPE` is not defined in .env or .env.example
        error: src/a/x.conf.tpl:3:1: `GONE` is not defined in .env or .env.example
        ");
        assert_snapshot!(errors("x.j2", "a\n{{ HOST }} {{ HOTS }}\n"), @r"error: x.j2:2:15: `HOTS` is not defined in .env or .env.example, did you mean `HOST`?");
        assert_snapshot!(errors("x.j2", "a\n{% if HOST %}\n"), @r"error: x.j2:2:14: syntax error: unexpected end of input, expected end of block");
        assert_snapshot!(errors("x.j2", "{{ HOST.x.y }}"), @r"error: x.j2:1:8: undefined value: `HOST.x` is undefined");
        assert_snapshot!(errors("x.j2", "{% for x in NOPE %}{% endfor %}"), @r"error: x.j2:1:13: `NOPE` is not defined in .env or .env.example");
        assert_snapshot!(errors("x.j2", "{% include 'other' %}"), @r"error: x.j2:1:4: template not found: tried to include non-existing template 'other'");
    }

    #[test]
    fn jinja_renders_with_the_same_variables() {
        let variables = VARIABLES.into_iter().collect();
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
            prop_assert_eq!(render("f.tpl", &text, &BTreeMap::new(), &[]), Ok(text));
        }

        #[test]
        fn rendering_never_panics(text in "[A{}$ é\n%#]{0,24}") {
            let variables = BTreeMap::from([("A", "1")]);
            let _ = render("f.tpl", &text, &variables, &["A".to_owned()]);
            let _ = render("f.j2", &text, &variables, &[]);
        }
    }
}
