//! From the view of a page to HTML: the templates, and how values look in them. Pure.
//!
//! Only the templates are markup. Every string that one puts into the page is made harmless, escaped and cut, wherever it
//! stands; numbers cannot harm.

use std::fmt::Write as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, UndefinedBehavior, Value, escape_formatter};
use serde::Serialize;

use super::facts::State;
use super::lanes::Span;
use crate::events::excerpt;
use crate::model::{Phase, counted};
use crate::report::text::{clock, neutralise, size, took};

/// Longer texts from outside are cut: one line of a build may have megabytes.
pub const MAX_TEXT: usize = 600;
/// What only shows when it is pointed at may be longer.
const MAX_TITLE: usize = 2_000;

/// `page.html` includes the one of each section by its id.
const TEMPLATES: [(&str, &str); 9] = [
    ("page.html", include_str!("templates/page.html")),
    ("pieces.html", include_str!("templates/pieces.html")),
    ("failures.html", include_str!("templates/failures.html")),
    ("timeline.html", include_str!("templates/timeline.html")),
    ("graph.html", include_str!("templates/graph.html")),
    ("images.html", include_str!("templates/images.html")),
    ("base-images.html", include_str!("templates/base-images.html")),
    ("steps.html", include_str!("templates/steps.html")),
    ("notes.html", include_str!("templates/notes.html")),
];

/// The page of a view.
///
/// # Errors
/// When a template has a mistake.
pub fn render(view: &impl Serialize) -> Result<String, Error> {
    environment()?.get_template("page.html")?.render(Value::from(Serde(view)))
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut jinja = Environment::new();
    // A name that a view lacks is a mistake; whether there is one may be asked.
    jinja.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    jinja.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    jinja.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => Ok(out.write_str(&escaped(text, MAX_TEXT))?),
        _ => escape_formatter(out, state, value),
    });
    jinja.add_filter("change", change);
    jinja.add_filter("clock", clock);
    jinja.add_filter("counted", counted);
    jinja.add_filter("lasted", |span: Serde<Span>| time(span.length()));
    jinja.add_filter("log_address", |log: String| log_address(&log).map(str::to_owned));
    jinja.add_filter("prose", prose);
    jinja.add_filter("shorten", shorten);
    jinja.add_filter("size", size);
    jinja.add_filter("time", time);
    jinja.add_filter("whole", |text: String| Value::from_safe_string(escaped(&text, MAX_TITLE)));
    jinja.add_filter("word", |state: Serde<State>, phase: Serde<Phase>| state.word(*phase));
    jinja.add_test("telling", excerpt::tells);
    for (name, text) in TEMPLATES {
        jinja.add_template(name, text)?;
    }
    Ok(jinja)
}

/// As text and as the value of an attribute.
fn escaped(text: &str, most: usize) -> String {
    let cut = text.char_indices().nth(most).map(|(at, _)| at);
    let shown = neutralise(&text[..cut.unwrap_or(text.len())]);
    let mut escaped = String::with_capacity(shown.len());
    for c in shown.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    if let Some(cut) = cut {
        // Writing to a String cannot fail.
        let _ = write!(escaped, " \u{2026} ({} more bytes)", text.len() - cut);
    }
    escaped
}

/// A text in which `` `…` `` is code.
fn prose(text: &str) -> Value {
    let ticks = text.matches('`').count();
    let mut told = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = escaped(part, MAX_TEXT);
        // A tick without its partner is a tick.
        told += &match at % 2 {
            0 => part,
            _ if at < ticks => format!("<code>{part}</code>"),
            _ => format!("`{part}"),
        };
    }
    Value::from_safe_string(told)
}

/// Where a log is, from the page's own folder; none for a path that is no log of a run.
pub fn log_address(log: &str) -> Option<&str> {
    let at = log.rfind("/logs/")? + 1;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name = &log[at + "logs/".len()..];
    ((1..=255).contains(&name.len()) && name.chars().all(is_plain)).then_some(&log[at..])
}

/// `+1.2 MB (+3%)`, `same size`: a size beside the one before.
fn change(now: u64, before: u64) -> String {
    if now == before {
        return "same size".to_owned();
    }
    let (sign, difference) = if now > before { ("+", now - before) } else { ("\u{2212}", before - now) };
    let percent = u128::from(difference) * 1000 / u128::from(before.max(1));
    let percent = match percent {
        _ if before == 0 => String::new(),
        0..5 => " (under 1%)".to_owned(),
        _ => format!(" ({sign}{}%)", (percent + 5) / 10),
    };
    format!("{sign}{}{percent}", size(difference))
}

/// How long something took; less than a tenth of a second in milliseconds.
pub fn time(milliseconds: u64) -> String {
    if milliseconds < 95 { format!("{milliseconds} ms") } else { took(milliseconds) }
}

/// A part of a whole, in percent.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// `12.5%`
pub fn percentage(value: f64) -> String {
    format!("{}%", (value * 1000.0).round() / 1000.0)
}

/// At most so many characters; what was cut out of the middle becomes an ellipsis.
pub fn shorten(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let head = (most - 1) * 2 / 3;
    let tail = most - 1 - head;
    let mut short: String = text.chars().take(head).collect();
    short.push('\u{2026}');
    short.extend(text.chars().skip(count - tail));
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_make_code() {
        for (text, expect) in [
            ("run `a <b>` now", "run <code>a &lt;b&gt;</code> now"),
            ("`a`, `b`", "<code>a</code>, <code>b</code>"),
            ("it`s", "it`s"),
            ("`a` it`s", "<code>a</code> it`s"),
            ("", ""),
        ] {
            assert_eq!(prose(text).as_str(), Some(expect));
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(
            escaped(&"é".repeat(MAX_TEXT + 3), MAX_TEXT),
            format!("{} … (6 more bytes)", "é".repeat(MAX_TEXT))
        );
    }

    #[test]
    fn whatever_a_template_shows_is_escaped() {
        let mut jinja = environment().unwrap();
        jinja
            .add_template("x.html", "<p title=\"{{ a ~ 1 }}\">{{ a }}{{ a|upper|trim }}{{ a|whole }}</p>")
            .unwrap();
        let view = std::collections::BTreeMap::from([("a", "\"><b>\x1b[31m'&")]);
        let told = jinja.get_template("x.html").unwrap().render(Value::from(Serde(view))).unwrap();
        let harmless = "&quot;&gt;&lt;b&gt;&#39;&amp;";
        let upper = harmless.replace("&lt;b", "&lt;B");
        assert_eq!(told, format!("<p title=\"{harmless}1\">{harmless}{upper}{harmless}</p>"));
    }

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in "(\\PC|[<>&\"'\\x00-\\x1f]){0,40}") {
            let inside = escaped(&text, MAX_TEXT);
            prop_assert!(!inside.contains(['<', '>', '"', '\'']) && !inside.chars().any(char::is_control), "{inside}");
        }
    }

    #[test]
    fn only_logs_are_linked() {
        assert_eq!(log_address("target/xtask/runs/8d2/logs/build-api.log"), Some("logs/build-api.log"));
        for bad in ["", "logs/x", "a/logs/", "a/logs/../../x", "a/logs/x\"y", "javascript:/logs/%61"] {
            assert_eq!(log_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(change(1_200_000_000, 1_000_000_000), "+200 MB (+20%)");
        assert_eq!(change(1_000_000, 2_000_000), "\u{2212}1.0 MB (\u{2212}50%)");
        assert_eq!(change(1_000_001, 1_000_000), "+1 B (under 1%)");
        assert_eq!(change(7, 7), "same size");
        assert_eq!(change(5, 0), "+5 B");
        assert_eq!([0, 94, 95, 8_000].map(time), ["0 ms", "94 ms", "0.1s", "8.0s"]);
        assert_eq!(percentage(percent(1, 3)), "33.333%");
        assert_eq!(percent(1, 0).to_string(), "0");
        assert_eq!(shorten("abcdefghij", 5), "ab\u{2026}ij");
        assert_eq!(shorten("abcde", 5), "abcde");
    }
}
