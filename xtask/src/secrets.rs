//! Values that no eye may see: they become `***` in every event before any sink gets it.
//!
//! In: build args, registry credentials, proxy URLs. Out: texts without them. It does no IO, and it forgets nothing
//! during a run. What counts as a secret is decided here, in one place:
//!
//! * A credential, and the user information of a URL, always; anything shorter than [`MIN_LENGTH`] bytes never, for
//!   `a` or `1` would blot out every text.
//! * What is a secret by its shape, whoever printed it (`shapes`): a password in a URL, an `_authToken`, a token with
//!   a well-known beginning.
//! * A value of `.env` whose name says so (`TOKEN`, `PASSWORD`, …), from [`MIN_LENGTH_UNNAMED`] on, unless it is plainly
//!   public.
//! * A build arg whose name says so (`TOKEN`, `PASSWORD`, `SECRET`, `KEY`, `AUTH`, …): from [`MIN_LENGTH`] on.
//! * Any other build arg: from [`MIN_LENGTH_UNNAMED`] on, unless the value is plainly public: a version, a number,
//!   a path, a platform, an image reference, a URL without user information or query, or one word of lowercase
//!   letters and dashes.
//!
//! A hidden value is found again as JSON, a URL and base64 write it, and where a long line was cut in the middle of it
//! ([`Secrets::redact_line`]). What a build makes of it otherwise (its reverse, its hash) is not.

mod shapes;

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter values are never hidden.
pub const MIN_LENGTH: usize = 4;
/// Shorter values of build args with a harmless name are never hidden.
pub const MIN_LENGTH_UNNAMED: usize = 8;
/// Builders and we ourselves cut lines that are longer.
const PROBABLY_CUT: usize = 4096;
/// Shorter pieces of base64 are not looked for: they stand in innocent texts too.
const MIN_BASE64: usize = 8;
/// What stands in place of a secret.
pub const MASK: &str = "***";

/// The secrets of a run. Clones share one set, so that credentials found late are hidden from then on.
#[derive(Clone, Default)]
pub struct Secrets {
    known: Arc<RwLock<Known>>,
}

#[derive(Default)]
struct Known {
    /// As they were given, longest first.
    values: Vec<String>,
    /// All that is looked for, longest first: a secret inside a longer one must not break it up.
    forms: Vec<String>,
}

/// Counts only; a `{:?}` must not give away what this type is for.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.known.read().unwrap_or_else(PoisonError::into_inner).values.len();
        write!(f, "Secrets({count})")
    }
}

impl Secrets {
    /// Hides a credential (a password, a token), and each of its lines. Shorter than [`MIN_LENGTH`]: not hidden.
    pub fn add(&self, value: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for value in std::iter::once(value).chain(value.lines()).map(str::trim) {
            if value.len() >= MIN_LENGTH && value != MASK && !known.values.iter().any(|old| old == value) {
                known.values.push(value.to_owned());
                known.forms.extend(forms(value));
            }
        }
        let longest_first = |a: &String, b: &String| b.len().cmp(&a.len()).then_with(|| a.cmp(b));
        known.values.sort_by(longest_first);
        known.forms.sort_by(longest_first);
        known.forms.dedup();
    }

    /// Hides a build arg's value if it may be secret (see the module's rules).
    pub fn add_build_arg(&self, name: &str, value: &str) {
        self.add_url(value);
        let is_hidden =
            has_secret_name(name) || (value.len() >= MIN_LENGTH_UNNAMED && !is_plainly_public(value));
        if is_hidden {
            self.add(value);
        }
    }

    /// Hides a variable's value if its name says that it is secret and it is nothing that stands in other places too: a
    /// password such as `postgres` would blot out the image of that name.
    pub fn add_variable(&self, name: &str, value: &str) {
        self.add_url(value);
        if has_secret_name(name) && value.len() >= MIN_LENGTH_UNNAMED && !is_plainly_public(value) {
            self.add(value);
        }
    }

    /// Hides the user information of a URL such as `http://user:pass@proxy:3128`; other texts hide nothing.
    pub fn add_url(&self, url: &str) {
        let Some(user_information) = user_information(url) else { return };
        self.add(user_information);
        if let Some((_, password)) = user_information.split_once(':') {
            self.add(password);
            self.add(&percent_decoded(password));
        }
    }

    /// The text with every secret in it replaced.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = Cow::Borrowed(text);
        for form in &known.forms {
            if text.contains(form.as_str()) {
                text = Cow::Owned(text.replace(form.as_str(), MASK));
            }
        }
        match shapes::mask(&text) {
            Cow::Owned(masked) => Cow::Owned(masked),
            Cow::Borrowed(_) => text,
        }
    }

    /// [`redact`](Self::redact) of a line that may be a piece of a longer one: a secret of which it has only the
    /// beginning (at its end) or only the end (at its beginning) is hidden too, if that is half of it. In a line so
    /// long that it was probably cut, [`MIN_LENGTH`] bytes are enough.
    pub fn redact_line(&self, line: &mut String) {
        self.redact_in(line);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        for value in &known.values {
            let least = if line.len() >= PROBABLY_CUT { MIN_LENGTH } else { MIN_LENGTH.max(value.len() / 2) };
            let cuts = || (least..value.len()).rev();
            if let Some(head) = cuts().filter_map(|at| value.get(..at)).find(|head| line.ends_with(head)) {
                line.truncate(line.len() - head.len());
                line.push_str(MASK);
            }
            let tails = cuts().filter_map(|length| value.get(value.len() - length..));
            if let Some(tail) = tails.into_iter().find(|tail| line.starts_with(tail)) {
                line.replace_range(..tail.len(), MASK);
            }
        }
    }

    /// [`redact`](Self::redact) in place; costs nothing where there is nothing to hide.
    pub fn redact_in(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.redact(text) {
            *text = redacted;
        }
    }
}

/// How a value may be written: as it is, in JSON, in a URL, and in base64, where three bytes become four letters, so that
/// its letters depend on where it begins in what is encoded.
fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    let json = serde_json::Value::from(value).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    forms.push(percent_encoded(value));
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value.as_bytes());
        // Letters that other bytes have a part in are left out.
        let letters = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&bytes);
            let middle = encoded.get(letters.clone()).filter(|middle| middle.len() >= MIN_BASE64);
            forms.extend(middle.map(str::to_owned));
        }
    }
    forms
}

/// As `encodeURIComponent` does it.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte.into()),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// One of the words that name a secret stands in the name: as a word of its own, or inside for the long ones.
pub fn has_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let inside = ["TOKEN", "PASSW", "SECRET", "CREDENTIAL", "PRIVATE", "APIKEY", "SIGNATURE"];
    let words = ["KEY", "KEYS", "AUTH", "PASS", "PWD", "PAT", "PIN", "DSN", "COOKIE"];
    inside.iter().any(|word| name.contains(word))
        || name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| words.contains(&word))
}

fn is_plainly_public(value: &str) -> bool {
    let is_word = value.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    is_word || is_version(value) || is_path(value) || is_reference(value) || is_public_url(value)
}

/// `1.2.3`, `v3.12-slim`, `12-slim`, `20241121`: digits and dots, then perhaps a short word.
fn is_version(value: &str) -> bool {
    let value = value.strip_prefix('v').unwrap_or(value);
    let suffix = value.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let numbers = &value[..value.len() - suffix.len()];
    let is_suffix_byte = |b: u8| {
        b.is_ascii_lowercase()
            || b == b'-'
            || (numbers.contains('.') && (b.is_ascii_digit() || b"+.".contains(&b)))
    };
    numbers.starts_with(|c: char| c.is_ascii_digit())
        && suffix.len() <= 20
        && (suffix.is_empty() || suffix.starts_with(['-', '+']))
        && suffix.bytes().all(is_suffix_byte)
}

/// `/usr/local`, `./app`, `linux/amd64`: parts without anything odd, and a slash between them.
fn is_path(value: &str) -> bool {
    let is_part = |part: &str| {
        part.len() <= 32
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    value.contains('/') && value.split('/').all(is_part)
}

/// `debian:12-slim`, `registry:5000/team/app:1.2`, with or without a digest.
fn is_reference(value: &str) -> bool {
    let name = value.split_once('@').map_or(value, |(name, _)| name);
    let is_tag = |tag: &str| is_version(tag) || ["latest", "stable", "edge"].contains(&tag);
    let has_shape = name.contains('/') || name.rsplit_once(':').is_some_and(|(_, tag)| is_tag(tag));
    has_shape && value.parse::<crate::model::Reference>().is_ok()
}

fn is_public_url(value: &str) -> bool {
    value.contains("://") && user_information(value).is_none() && !value.contains('?')
}

fn user_information(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(user_information, _)| user_information)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let decoded = (first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_build_arg(name: &str, value: &str, hidden: bool) {
        let secrets = Secrets::default();
        secrets.add_build_arg(name, value);
        let text = format!("<{value}>");
        let expect = if hidden { "<***>".to_owned() } else { text.clone() };
        assert_eq!(secrets.redact(&text), expect, "{name}={value}");
    }

    #[test]
    fn hides_what_may_be_secret() {
        for (name, value, hidden) in [
            ("NPM_TOKEN", "hunter2", true),
            ("DB_PASSWORD", "1234", true),
            ("api_key", "abcd", true),
            ("NPM_TOKEN", "abc", false),
            ("PYTHON_VERSION", "3.12.4", false),
            ("PYTHON_VERSION", "3.12-slim-bookworm", false),
            ("NODE", "v22.11.0", false),
            ("BASE", "debian:12-slim", false),
            ("BASE", "quay.io/keycloak/keycloak:26.0", false),
            ("BASE", "node:22-alpine", false),
            ("LOGIN", "admin:hunter2", true),
            ("MODE", "production", false),
            ("PREFIX", "/usr/local", false),
            ("PLATFORM", "linux/amd64", false),
            ("MIRROR", "https://mirror.example.com/debian", false),
            ("MIRROR", "https://mirror.example.com/debian?sig=abc", true),
            ("ANYTHING", "s3cr3t-v4lue", true),
            ("ANYTHING", "ghp_0123456789abcdefABCDEF", true),
            ("ANYTHING", "Correct Horse Battery", true),
            ("ANYTHING", "aGVsbG8/d29ybGQK+x==", true),
            ("ANYTHING", "Ab1!", false),
            ("KEYCLOAK", "debug", false),
        ] {
            check_build_arg(name, value, hidden);
        }
    }

    #[test]
    fn hides_the_user_information_of_a_url_and_nothing_else_of_it() {
        let secrets = Secrets::default();
        secrets.add_url("http://joe:p%40ssword@proxy.example.com:3128/");
        assert_eq!(
            secrets.redact("http://joe:p%40ssword@proxy.example.com:3128/ p@ssword joe"),
            "http://***@proxy.example.com:3128/ *** joe"
        );
        let none = Secrets::default();
        none.add_url("http://proxy.example.com:3128/a@b");
        assert_eq!(none.redact("a@b proxy"), "a@b proxy");
    }

    #[test]
    fn longer_secrets_go_first_and_lines_count_alone() {
        let secrets = Secrets::default();
        secrets.add("abcd");
        secrets.add("abcdefgh");
        secrets.add("-----KEY\nline one\nno");
        assert_eq!(secrets.redact("abcdefgh abcd line one no"), "*** *** *** no");
        let clone = secrets.clone();
        clone.add("later");
        assert_eq!(secrets.redact("later"), "***", "clones share one set");
        assert_eq!(format!("{secrets:?}"), "Secrets(6)");
    }

    #[test]
    fn finds_a_secret_however_it_is_written() {
        let secrets = Secrets::default();
        secrets.add("quo\"te\\back & ash");
        secrets.add("joe:hunter2-4711");
        for (text, expect) in [
            (r#"{"a":"quo\"te\\back & ash"}"#, r#"{"a":"***"}"#),
            ("?q=quo%22te%5Cback%20%26%20ash&x", "?q=***&x"),
            ("am9lOmh1bnRlcjItNDcxMQ==", "***Q=="),
        ] {
            assert_eq!(secrets.redact(text), expect, "{text}");
        }
        for before in ["", "x", "xy", "xyz", "wxyz"] {
            for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let encoded = engine.encode(format!("{before}joe:hunter2-4711\n"));
                let left = secrets.redact(&encoded).replace(MASK, "").len();
                assert!(left <= 4 + before.len() * 4 / 3, "{before}: {encoded}");
            }
        }
    }

    #[test]
    fn a_line_that_was_cut_in_a_secret_keeps_no_half_of_it() {
        let secrets = Secrets::default();
        secrets.add("hunter2-4711");
        let long = "x".repeat(PROBABLY_CUT);
        for (line, expect) in [
            ("a hunter2-4711 b".to_owned(), "a *** b".to_owned()),
            ("a hunter2".to_owned(), "a ***".to_owned()),
            ("r2-4711 b".to_owned(), "*** b".to_owned()),
            ("a hunt".to_owned(), "a hunt".to_owned()),
            ("4711".to_owned(), "4711".to_owned()),
            (format!("{long}hunt"), format!("{long}***")),
            (format!("4711{long}"), format!("***{long}")),
            (format!("711{long}hun"), format!("711{long}hun")),
        ] {
            let mut redacted = line.clone();
            secrets.redact_line(&mut redacted);
            assert_eq!(redacted, expect, "{line:.40}");
        }
    }
}
