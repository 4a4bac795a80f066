//! What is wrong with a TOML text, told to whoever wrote it, with line and column. Pure.
//!
//! In: the parser's error. Out: a [`Diagnostic`]. It reads no file and knows no setting.

use crate::model::Diagnostic;

/// The parser's error as a finding in `file`, whose text this is.
pub fn finding(file: &str, text: &str, error: &toml::de::Error) -> Diagnostic {
    let found = Diagnostic::error(file, 0, in_words(error.message()));
    match error.span() {
        Some(span) => found.at_offset(text, span.start),
        None => found,
    }
}

/// The parser speaks of Rust's types; people wrote numbers, texts and lists.
fn in_words(message: &str) -> String {
    let message = message.trim_end().replace('\n', ", ");
    let told = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = told.and_then(|told| told.rsplit_once(", expected ")) {
        return format!("expected {}, found {}", expected_in_words(expected), found_in_words(found));
    }
    if let Some((found, expected)) =
        message.strip_prefix("unknown variant ").and_then(|told| told.split_once(", expected "))
    {
        return format!(
            "{found} is none of the values that it can have: {}",
            expected.trim_start_matches("one of ")
        );
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return format!("{name} is missing");
    }
    message
}

fn expected_in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "`true` or `false`",
        "a string" => "a text in quotes",
        "a sequence" => "a list: `[\"...\"]`",
        "a map" => "a table: `key = value`",
        expected if expected.starts_with("struct ") => "a table: `key = value`",
        expected => expected,
    }
}

fn found_in_words(found: &str) -> String {
    for kind in ["string ", "integer ", "floating point ", "boolean "] {
        if let Some(value) = found.strip_prefix(kind) {
            return value.trim_matches('`').to_owned();
        }
    }
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        found => found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_type_of_rust_is_named() {
        for (message, words) in [
            (
                "invalid type: string \"many\", expected u32",
                "expected a whole number, 0 or more, found \"many\"",
            ),
            ("invalid value: integer `-1`, expected u64", "expected a whole number, 0 or more, found -1"),
            (
                "invalid type: string \"x, expected y\", expected a sequence",
                "expected a list: `[\"...\"]`, found \"x, expected y\"",
            ),
            ("invalid type: map, expected a string", "expected a text in quotes, found a table"),
            (
                "invalid type: sequence, expected struct Layer",
                "expected a table: `key = value`, found a list",
            ),
            (
                "invalid type: floating point `1.5`, expected a boolean",
                "expected `true` or `false`, found 1.5",
            ),
            (
                "unknown variant `here`, expected one of `auto`, `root`",
                "`here` is none of the values that it can have: `auto`, `root`",
            ),
            ("missing field `from`", "`from` is missing"),
            (
                "string values must be quoted, expected literal string",
                "string values must be quoted, expected literal string",
            ),
        ] {
            assert_eq!(in_words(message), words);
        }
    }
}
