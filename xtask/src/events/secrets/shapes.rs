//! What is a secret by its shape, whoever printed it and whether we know its value or not. Pure.
//!
//! In: a text. Out: the text with the secret part of each shape masked. Only shapes that hardly anything else has: what
//! is masked in vain makes a log harder to read.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::MASK;

/// A shape, and the texts one of which stands in everything that has it: a regular expression is only made when one
/// of them was seen.
struct Shape {
    signs: &'static [&'static str],
    /// The first group stays, what follows it is masked, the second group stays.
    pattern: LazyLock<Option<Regex>>,
}

/// The patterns are constants; the test below compiles each of them.
static SHAPES: [Shape; 4] = [
    // `https://joe:password@host`, and `https://TOKEN@host`, but not `ssh://git@host`.
    Shape {
        signs: &["://"],
        pattern: LazyLock::new(|| compile(r#"(://)(?:[^\s/:@"'<>]*:[^\s/@"'<>]+|[A-Za-z0-9_.-]{20,})(@)"#)),
    },
    // `.npmrc`, and what docker keeps in `config.json`.
    Shape {
        signs: &["_auth", "_password", "identitytoken"],
        pattern: LazyLock::new(|| {
            compile(r#"((?:_authToken|_auth|_password|identitytoken)"?\s*[=:]\s*["']?)[^\s"'$,]{4,}()"#)
        }),
    },
    Shape {
        signs: &["uthorization", "UTHORIZATION"],
        pattern: LazyLock::new(|| {
            compile(r#"((?i:authorization)"?\s*[:=]\s*["']?(?i:bearer|basic|token)\s+)[^\s"']{4,}()"#)
        }),
    },
    // Tokens that their issuers made recognisable: GitHub, GitLab, npm, PyPI, Slack, Docker Hub, Hugging Face, OpenAI,
    // Google, and JSON web tokens.
    Shape {
        signs: &["gh", "glpat-", "npm_", "pypi-", "xox", "dckr_", "hf_", "sk-", "AIza", "eyJ"],
        pattern: LazyLock::new(|| {
            compile(concat!(
                r"(\b)(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,}",
                r"|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{40,}|xox[abeoprs]-[A-Za-z0-9-]{10,}",
                r"|dckr_[op]at_[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{30,}|sk-(?:[a-z]+[0-9]*-)*[A-Za-z0-9_]{32,}",
                r"|AIza[A-Za-z0-9_-]{35}",
                r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+)()",
            ))
        }),
    },
];

fn compile(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

/// The text with what is a secret by its shape replaced.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for shape in &SHAPES {
        if !shape.signs.iter().any(|sign| text.contains(sign)) {
            continue;
        }
        let Some(pattern) = &*shape.pattern else { continue };
        let masked = pattern.replace_all(&text, |found: &Captures<'_>| {
            // `docker://debian:12@sha256:…` is a digest, and nobody's password.
            let after = found.get(0).map_or(0, |all| all.end());
            if text[after..].starts_with("sha256:") {
                return found[0].to_owned();
            }
            format!("{}{MASK}{}", &found[1], &found[2])
        });
        if let Cow::Owned(masked) = masked {
            text = Cow::Owned(masked);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_what_is_a_secret_by_its_shape_and_nothing_else() {
        assert!(SHAPES.iter().all(|shape| shape.pattern.is_some()));
        let letters = "0123456789abcdefghijABCDEFGHIJ012345";
        for (text, expect) in [
            ("fatal: https://joe:pw@git.example.com/x.git", "fatal: https://***@git.example.com/x.git"),
            ("http://:pw@proxy:3128/ and http://a:b@c", "http://***@proxy:3128/ and http://***@c"),
            ("ssh://git@example.com/x", "ssh://git@example.com/x"),
            ("https://example.com/a:b@c", "https://example.com/a:b@c"),
            ("https://example.com:8080/@scope/x", "https://example.com:8080/@scope/x"),
            ("docker://debian:12@sha256:ab", "docker://debian:12@sha256:ab"),
            ("//r.example.com/:_authToken=abcd-1234", "//r.example.com/:_authToken=***"),
            ("//r.example.com/:_authToken=${NPM_TOKEN}", "//r.example.com/:_authToken=${NPM_TOKEN}"),
            (r#""identitytoken": "abcd1234""#, r#""identitytoken": "***""#),
            ("> Authorization: Bearer abc.def", "> Authorization: Bearer ***"),
            ("authorization: basic am9lOng=", "authorization: basic ***"),
            ("authorization failed", "authorization failed"),
            (&format!("ghp_{letters}"), "***"),
            (&format!("https://ghp_{letters}@github.com/a/b"), "https://***@github.com/a/b"),
            (&format!("x npm_{letters} y"), "x *** y"),
            (&format!("hf_{letters} dckr_pat_{letters}"), "*** ***"),
            (&format!("sk-{letters} sk-proj-{letters}"), "*** ***"),
            (
                "task-force sk-learn-contrib-experimental-features-extraction hf_hub_download",
                "task-force sk-learn-contrib-experimental-features-extraction hf_hub_download",
            ),
            (
                "npm_config_registry, glpat-short, ghost_writer",
                "npm_config_registry, glpat-short, ghost_writer",
            ),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "***"),
        ] {
            assert_eq!(mask(text), expect);
        }
    }
}
