//! Values that nobody may see: they become `***` in every free text before anybody gets it.
//!
//! In: build args, registry credentials, proxy URLs, and the names that stand in the tree. Out: texts without the
//! values. It does no IO, and it forgets nothing during a run. Only free text is given to it: names, references, paths
//! and structured output never are. What counts as a secret is decided here, in one place:
//!
//! * A credential, and the password in a URL. A user name is none.
//! * What is a secret by its shape, whoever printed it (`shapes`): a password in a URL, an `_authToken`, a token with
//!   a well-known beginning.
//! * A value of `.env` and a build arg whose name says so (`TOKEN`, `PASSWORD`, `SECRET`, `KEY`, `AUTH`, …), unless it
//!   is plainly no secret: a path, an image reference, a version, a yes or no.
//! * Any other build arg: from [`MIN_LENGTH_UNNAMED`] on, unless the value is plainly public: a version, a number,
//!   a path, a platform, an image reference, a URL without user information or query, or one word of lowercase
//!   letters and dashes.
//!
//! Such a value is hidden where it stands as a word of its own, one of `LONG` bytes or more anywhere. One that is too
//! weak to be told from innocent text is not hidden, and [`Secrets::take_weak`] says of which that is true: it is shorter
//! than [`MIN_LENGTH`], or a short or common word, or a word of a name that stands in the tree for everybody to read.
//!
//! A hidden value is found again as JSON, a URL and base64 write it, and where a long line was cut in the middle of it
//! ([`Secrets::redact_line`]). What a build makes of it otherwise (its reverse, its hash) is not.

mod shapes;
mod words;

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use words::Reach;

/// Shorter values are never hidden.
pub const MIN_LENGTH: usize = 4;
/// Words and numbers that are shorter are never hidden, nor shorter values of build args with a harmless name.
pub const MIN_LENGTH_UNNAMED: usize = 8;
/// So long a value stands nowhere by chance.
const LONG: usize = 16;
/// Words that are passwords on many a machine, and that stand in innocent texts of a build.
const COMMON: [&str; 16] = [
    "administrator",
    "anonymous",
    "change-me",
    "changeit",
    "changeme",
    "development",
    "elasticsearch",
    "localhost",
    "minioadmin",
    "passw0rd",
    "password",
    "postgres",
    "postgresql",
    "production",
    "rabbitmq",
    "username",
];
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
    values: Vec<Value>,
    /// All that is looked for, longest first: a secret inside a longer one must not break it up.
    forms: Vec<(String, Reach)>,
    /// Those that are not looked for.
    weak: Vec<Value>,
    /// Names that stand in the tree, one a line.
    public: String,
}

#[derive(Clone)]
struct Value {
    /// What people know it by: `` `DB_PASSWORD` ``. None for what is only hidden to be on the safe side, and for what
    /// was told to be weak.
    name: Option<String>,
    text: String,
}

/// Counts only; a `{:?}` must not give away what this type is for.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.read().values.len())
    }
}

impl Secrets {
    /// Hides a credential (a password, a token), and each of its lines. `name` is what people know it by.
    pub fn add(&self, name: &str, value: &str) {
        self.write().add(Some(name), value);
    }

    /// Hides a build arg's value if it may be secret (see the module's rules).
    pub fn add_build_arg(&self, name: &str, value: &str) {
        self.add_variable(name, value);
        if value.len() >= MIN_LENGTH_UNNAMED && !is_plainly_public(value) {
            self.write().add(None, value);
        }
    }

    /// Hides a variable's value if its name says that it is secret, and the password in it if it is a URL.
    pub fn add_variable(&self, name: &str, value: &str) {
        let name = format!("`{name}`");
        self.add_url(&name, value);
        if is_secret_by_name(&name, value) {
            self.add(&name, value);
        }
    }

    /// Hides the password of a URL such as `http://user:pass@proxy:3128`; other texts hide nothing. `place` is where the
    /// URL stands.
    pub fn add_url(&self, place: &str, url: &str) {
        let Some(user_information) = user_information(url) else { return };
        let name = format!("the password in {place}");
        match user_information.split_once(':') {
            Some((_, password)) => {
                self.add(&name, password);
                self.add(&name, &percent_decoded(password));
            }
            None if is_token(user_information) => self.add(&name, user_information),
            None => {}
        }
    }

    /// Names that stand in the tree for everybody to read: what is a word of one is not hidden, wherever it stands.
    pub fn spare<'a>(&self, names: impl Iterator<Item = &'a str>) {
        self.write().spare(names.fold(String::new(), |all, name| all + name + "\n"));
    }

    /// Whether there is anything that could be found in a name.
    pub fn is_empty(&self) -> bool {
        self.read().values.is_empty()
    }

    /// What is not hidden though it should be, each once: a sentence for people.
    pub fn take_weak(&self) -> Option<String> {
        let mut names: Vec<String> =
            self.write().weak.iter_mut().filter_map(|value| value.name.take()).collect();
        names.sort_unstable();
        names.dedup();
        match names.as_slice() {
            [] => None,
            [name] => {
                Some(format!("{name} is too short or too common to be hidden: what prints it shows it"))
            }
            [names @ .., last] => {
                let names = names.join(", ");
                Some(format!(
                    "{names} and {last} are too short or too common to be hidden: what prints them shows them"
                ))
            }
        }
    }

    /// Whether a whole value is, or has in it, what may be a secret; weak ones count.
    pub fn is_secret(&self, value: &str) -> bool {
        self.read().weak.iter().any(|weak| weak.text == value) || matches!(self.redact(value), Cow::Owned(_))
    }

    /// The text with every secret in it replaced.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut redacted = Cow::Borrowed(text);
        for (form, reach) in &self.read().forms {
            if let Some(masked) = words::mask(&redacted, form, *reach) {
                redacted = Cow::Owned(masked);
            }
        }
        match shapes::mask(&redacted) {
            Cow::Owned(masked) => Cow::Owned(masked),
            Cow::Borrowed(_) => redacted,
        }
    }

    /// [`redact`](Self::redact) of a line that may be a piece of a longer one: a secret of which it has only the
    /// beginning (at its end) or only the end (at its beginning) is hidden too, if that is half of it. In a line so
    /// long that it was probably cut, [`MIN_LENGTH`] bytes are enough. Half a word is no secret.
    pub fn redact_line(&self, line: &mut String) {
        self.redact_in(line);
        for value in &self.read().values {
            let (value, reach) = (&value.text, Reach::of(&value.text));
            if reach == Reach::Names {
                continue;
            }
            let (least, reach) = if line.len() >= PROBABLY_CUT {
                (MIN_LENGTH, Reach::Anywhere)
            } else {
                (MIN_LENGTH.max(value.len() / 2), reach)
            };
            let cuts = || (least..value.len()).rev();
            let is_head = |head: &&str| {
                line.ends_with(head) && words::stands_at(line, line.len() - head.len(), head, reach)
            };
            if let Some(head) = cuts().filter_map(|at| value.get(..at)).find(is_head) {
                line.truncate(line.len() - head.len());
                line.push_str(MASK);
            }
            let is_tail = |tail: &&str| line.starts_with(tail) && words::stands_at(line, 0, tail, reach);
            let tails = cuts().filter_map(|length| value.get(value.len() - length..));
            if let Some(tail) = tails.into_iter().find(is_tail) {
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

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn add(&mut self, name: Option<&str>, value: &str) {
        let value = value.trim();
        self.put(Value { name: name.map(str::to_owned), text: value.to_owned() });
        if value.contains('\n') {
            value.lines().for_each(|line| self.put(Value { name: None, text: line.trim().to_owned() }));
        }
        self.sort();
    }

    fn put(&mut self, value: Value) {
        let is_known = self.values.iter().chain(&self.weak).any(|old| old.text == value.text);
        if value.text.is_empty() || value.text == MASK || is_known {
            return;
        }
        if is_weak(&value.text) || self.is_public(&value) {
            self.weak.push(value);
        } else {
            self.forms.extend(forms(&value.text));
            self.values.push(value);
        }
    }

    fn spare(&mut self, names: String) {
        self.public = names;
        self.forms.clear();
        std::mem::take(&mut self.values).into_iter().for_each(|value| self.put(value));
        self.sort();
    }

    fn is_public(&self, value: &Value) -> bool {
        words::mask(&self.public, &value.text, Reach::of(&value.text)).is_some()
    }

    fn sort(&mut self) {
        self.values.sort_by(|a, b| longest_first(&a.text, &b.text));
        self.forms.sort_by(|a, b| longest_first(&a.0, &b.0));
        self.forms.dedup();
    }
}

/// A text that is shown of its own, such as a file's, without the values of variables whose names say that they are
/// secret, weak ones too.
pub fn redact_variables<'a>(text: &str, variables: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut values: Vec<&str> = variables
        .filter(|(name, value)| value.len() >= MIN_LENGTH && is_secret_by_name(name, value))
        .map(|(_, value)| value)
        .collect();
    values.sort_by(|a, b| longest_first(a, b));
    values.iter().fold(text.to_owned(), |text, value| words::mask(&text, value, Reach::Words).unwrap_or(text))
}

fn longest_first(a: &str, b: &str) -> std::cmp::Ordering {
    b.len().cmp(&a.len()).then_with(|| a.cmp(b))
}

/// Too little to be told from innocent text.
fn is_weak(value: &str) -> bool {
    let is_simple =
        value.bytes().all(|b| b.is_ascii_alphabetic()) || value.bytes().all(|b| b.is_ascii_digit());
    value.len() < MIN_LENGTH
        || (is_simple && value.len() < MIN_LENGTH_UNNAMED)
        || COMMON.contains(&value.to_ascii_lowercase().as_str())
}

/// In place of a user name, with no password.
fn is_token(user: &str) -> bool {
    user.len() >= 20
        && user.contains(|c: char| c.is_ascii_digit())
        && user.contains(|c: char| c.is_ascii_alphabetic())
}

/// How a value may be written: as it is, in JSON, in a URL, and in base64, where three bytes become four letters, so that
/// its letters depend on where it begins in what is encoded.
fn forms(value: &str) -> Vec<(String, Reach)> {
    let reach = Reach::of(value);
    let json = serde_json::Value::from(value).to_string();
    let mut forms = vec![
        (value.to_owned(), reach),
        (json[1..json.len() - 1].to_owned(), reach),
        (percent_encoded(value), reach),
    ];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value.as_bytes());
        // Letters that other bytes have a part in are left out.
        let letters = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&bytes);
            let middle = encoded.get(letters.clone()).filter(|middle| middle.len() >= MIN_BASE64);
            forms.extend(middle.map(|middle| (middle.to_owned(), Reach::Anywhere)));
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

/// Whether a name and a value make a secret. Empty, a yes or no, a path, a reference, a version are none, whatever the name.
fn is_secret_by_name(name: &str, value: &str) -> bool {
    let is_answer = ["true", "false", "yes", "no", "on", "off", "none", "null"];
    let is_answer = || is_answer.iter().any(|answer| value.eq_ignore_ascii_case(answer));
    let is_release = || value.contains('.') && is_version(value);
    let is_image = || value.contains('/') && is_reference(value);
    has_secret_name(name)
        && !(value.is_empty()
            || is_answer()
            || is_path(value)
            || is_release()
            || is_image()
            || is_public_url(value))
}

/// Whether a build arg looks like a secret, by its name or by its value: what is one by its shape, a key file, and a long
/// text that nobody would make up.
pub fn looks_secret(name: &str, value: &str) -> bool {
    let is_by_shape = matches!(shapes::mask(value), Cow::Owned(_)) || value.contains("PRIVATE KEY-----");
    is_secret_by_name(name, value) || is_by_shape || is_random(value)
}

/// Twenty letters and digits or more, in which small, large and digits take turns as they do not in words. Hashes, which
/// have small letters only, are public.
fn is_random(value: &str) -> bool {
    let kinds: Vec<Option<u8>> = value
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' => Some(0),
            b'A'..=b'Z' => Some(1),
            b'0'..=b'9' => Some(2),
            b'+' | b'/' | b'=' | b'_' | b'-' => Some(3),
            _ => None,
        })
        .collect();
    let turns = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let has = |kind| kinds.contains(&Some(kind));
    kinds.len() >= 20 && !kinds.contains(&None) && has(0) && has(1) && has(2) && turns * 5 >= kinds.len() * 2
}

/// One of the words that name a secret stands in the name, as a word of its own, or inside for the long ones, and the
/// name does not end with what is known of a secret (`TOKEN_TTL`, `SECRET_NAME`).
fn has_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let inside = ["TOKEN", "PASSW", "SECRET", "CREDENTIAL", "PRIVATEKEY", "APIKEY", "SIGNATURE"];
    let words = ["KEY", "KEYS", "AUTH", "PASS", "PWD", "PAT", "PIN", "DSN", "COOKIE"];
    let about = [
        "ALG",
        "ALGORITHM",
        "BITS",
        "COUNT",
        "DIR",
        "ENABLED",
        "EXPIRE",
        "EXPIRES",
        "EXPIRY",
        "FILE",
        "FORMAT",
        "HOST",
        "ID",
        "ISSUER",
        "LENGTH",
        "LIMIT",
        "METHOD",
        "MODE",
        "NAME",
        "PATH",
        "PORT",
        "PREFIX",
        "PROVIDER",
        "SIZE",
        "TIMEOUT",
        "TTL",
        "TYPE",
        "USER",
        "USERNAME",
        "VERSION",
    ];
    let mut parts = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let is_public = parts.clone().any(|part| ["PUBLIC", "PUB", "GPG", "PGP"].contains(&part));
    if is_public && !name.contains("PASS") {
        return false;
    }
    let is_named =
        inside.iter().any(|word| name.contains(word)) || parts.clone().any(|part| words.contains(&part));
    is_named && !parts.next_back().is_some_and(|last| about.contains(&last))
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
            ("NPM_TOKEN", "tok1", true),
            ("NPM_TOKEN", "abc", false),
            ("DB_PASSWORD", "topsecret", true),
            ("DB_PASSWORD", "12345678", true),
            ("DB_PASSWORD", "1234", false),
            ("DB_PASSWORD", "postgres", false),
            ("api_key", "abcd", false),
            ("TOKEN_TTL", "3600-seconds", false),
            ("SSH_KEY", "/root/.ssh/id_rsa", false),
            ("AUTH", "TRUE", false),
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
    fn a_build_arg_looks_like_a_secret_by_name_or_value() {
        for (name, value, looks) in [
            ("NPM_TOKEN", "x", true),
            ("DB_PASSWORD", "postgres", true),
            ("SIGNING_KEY", "/keys/a.pem", false),
            ("GPG_KEY", "E3FF2839C048B25C084DEBE9B26995E310250568", false),
            ("TOKEN_TTL", "60", false),
            ("PIP_INDEX", "https://joe:hunter2@pypi.example.com/simple", true),
            ("PIP_INDEX", "https://pypi.example.com/simple", false),
            ("X", "ghp_0123456789abcdefABCDEF", true),
            ("X", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", true),
            ("X", "-----BEGIN RSA PRIVATE KEY-----\nMIIE", true),
            ("GIT_SHA", "0f3d1b2a4c5e6f708192a3b4c5d6e7f8091a2b3c", false),
            ("BUILD", "OpenJDK17ReleaseBuild2024", false),
            ("BASE", "registry.example.com/team/app:v1.2.3-rc.1", false),
            ("VERSION", "3.12.4-slim-bookworm", false),
            ("NPM_TOKEN", "", false),
        ] {
            assert_eq!(looks_secret(name, value), looks, "{name}={value}");
        }
    }

    #[test]
    fn hides_the_password_of_a_url_and_nothing_else_of_it() {
        let secrets = Secrets::default();
        secrets.add_url("HTTPS_PROXY", "http://kafka-ui:p%40ssword@proxy.example.com:3128/");
        assert_eq!(
            secrets.redact("http://kafka-ui:p%40ssword@proxy.example.com:3128/ p@ssword kafka-ui:latest"),
            "http://***@proxy.example.com:3128/ *** kafka-ui:latest"
        );
        let none = Secrets::default();
        for url in ["http://proxy.example.com:3128/a@b", "https://some-long-user-name@git.example.com/"] {
            none.add_url("X", url);
        }
        assert_eq!(none.redact("a@b proxy some-long-user-name"), "a@b proxy some-long-user-name");
        assert_eq!(none.take_weak(), None);
    }

    #[test]
    fn what_cannot_be_told_from_innocent_text_is_named_once() {
        let secrets = Secrets::default();
        secrets.add_variable("DATABASE_URL", "postgres://test:test@db/test");
        let text = "kafka-ui:latest test-containers shop_test.go, and a test";
        assert_eq!(secrets.redact(text), text);
        assert_eq!(
            secrets.take_weak().as_deref(),
            Some(
                "the password in `DATABASE_URL` is too short or too common to be hidden: what prints it shows it"
            )
        );
        assert_eq!(secrets.take_weak(), None, "once");
        secrets.add_variable("DB_PASSWORD", "changeme");
        secrets.add_build_arg("PIN", "4711");
        secrets.add_build_arg("TITLE", "My Shop Front");
        secrets.spare(["My Shop Front"].into_iter());
        let told = secrets.take_weak().expect("two");
        assert!(told.starts_with("`DB_PASSWORD` and `PIN` are too short"), "{told}");
        assert!(secrets.is_secret("4711") && !secrets.is_secret("4712"), "weak, but a secret");
    }

    #[test]
    fn names_of_the_tree_are_never_hidden() {
        let secrets = Secrets::default();
        secrets.add_variable("REDIS_PASSWORD", "checkout-1");
        secrets.add_variable("API_TOKEN", "orders-db-credential-x");
        assert_eq!(secrets.redact("checkout-1"), "***");
        secrets.spare(["shop/checkout-1:v2", "src/orders/main.go"].into_iter());
        assert_eq!(
            secrets.redact("shop/checkout-1:v2 checkout-1 orders-db-credential-x"),
            "shop/checkout-1:v2 checkout-1 ***"
        );
        secrets.add("a login", "orders");
        assert_eq!(secrets.redact("orders"), "orders", "late ones too");
        let told = secrets.take_weak().expect("two");
        assert!(told.starts_with("`REDIS_PASSWORD` and a login are"), "{told}");
    }

    #[test]
    fn longer_secrets_go_first_and_lines_count_alone() {
        let secrets = Secrets::default();
        secrets.add("", "abcd-1");
        secrets.add("", "abcd-1-efgh");
        secrets.add("", "-----KEY\nline one\nno");
        assert_eq!(secrets.redact("abcd-1-efgh abcd-1 line one no"), "*** *** *** no");
        let clone = secrets.clone();
        clone.add("", "later-1");
        assert_eq!(secrets.redact("later-1"), "***", "clones share one set");
        assert_eq!(format!("{secrets:?}"), "Secrets(6)");
    }

    #[test]
    fn a_file_is_shown_without_values_of_variables_weak_ones_too() {
        let variables = [("DB_PASSWORD", "test"), ("DB_HOST", "latest-db"), ("API_KEY", "test-2")];
        let text = "url: latest-db\npassword=test\nkey: \"test-2\"\n";
        assert_eq!(
            redact_variables(text, variables.into_iter()),
            "url: latest-db\npassword=***\nkey: \"***\"\n"
        );
    }

    #[test]
    fn finds_a_secret_however_it_is_written() {
        let secrets = Secrets::default();
        secrets.add("", "quo\"te\\back & ash");
        secrets.add("", "joe:hunter2-4711");
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
        secrets.add("", "hunter2-4711");
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
