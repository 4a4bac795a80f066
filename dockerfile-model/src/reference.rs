//! Image references, `[domain/]path[:tag][@digest]`.
//!
//! The grammar and the normalisation are those of github.com/distribution/reference (`reference.go`,
//! `normalize.go`): `alpine` is `docker.io/library/alpine`, a first component is a domain only when it has a
//! dot, a colon or an upper-case letter, or is `localhost`. A property test holds this parser against oci-spec's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Longest `domain/path` that the grammar allows (`NameTotalLengthMax`).
const MAX_NAME_LENGTH: usize = 255;

/// A normalised image reference. Equal references name the same thing: the domain is always there, and a
/// reference without tag and digest has the tag `latest` (as `TagNameOnly` gives it).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Whether a registry's host, with or without a port, is this machine, as Docker tells it: `localhost` and loopback
/// addresses.
pub fn is_on_this_machine(domain: &str) -> bool {
    let host = domain.rsplit_once(':').map_or(domain, |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference: {why}")]
pub struct ParseReferenceError {
    text: String,
    why: &'static str,
}

impl Reference {
    /// The registry's host, with its port: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether its registry is Docker Hub, as it is for a name without one.
    pub fn is_of_docker_hub(&self) -> bool {
        self.domain() == DEFAULT_DOMAIN
    }

    /// Whether its registry runs on this machine.
    pub fn is_on_this_machine(&self) -> bool {
        is_on_this_machine(self.domain())
    }

    /// The repository below the domain: `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if it has one (always, unless it has a digest).
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that it is pinned to.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `domain/path`, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The shortest text that means the same, as an engine's image list spells it: `alpine:3.19`.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_repository();
        self.push_suffix(&mut text);
        text
    }

    /// How BuildKit looks for a named context: the familiar form, without `:latest`
    /// (buildkit `frontend/dockerui/namedcontext.go`).
    pub fn context_name(&self) -> String {
        let name = self.familiar();
        name.strip_suffix(":latest").map_or_else(|| name.clone(), str::to_owned)
    }

    /// The familiar repository alone: `alpine`, `quay.io/keycloak/keycloak`.
    pub fn familiar_repository(&self) -> String {
        if self.domain == DEFAULT_DOMAIN { self.familiar_path().to_owned() } else { self.repository() }
    }

    /// The path with its suffix but without a domain, as aliases use it: `redis:7-alpine` for
    /// `docker.io/library/redis:7-alpine`, `keycloak/keycloak:26.0` for `quay.io/keycloak/keycloak:26.0`.
    pub fn without_domain(&self) -> String {
        let mut text = self.familiar_path().to_owned();
        self.push_suffix(&mut text);
        text
    }

    /// The same repository and digest under another tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        if !is_tag(tag) {
            return Err(ParseReferenceError { text: tag.to_owned(), why: BAD_TAG });
        }
        Ok(Self { tag: Some(tag.to_owned()), ..self.clone() })
    }

    /// `repository@digest` of a reference that has both a tag and a digest.
    pub fn without_tag(&self) -> Option<Self> {
        (self.tag.is_some() && self.digest.is_some()).then(|| Self { tag: None, ..self.clone() })
    }

    /// The same repository pinned to a digest, without a tag: what a registry cannot give another answer to.
    #[must_use]
    pub fn pinned(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// Whether it is `other`, or the same repository pinned to content.
    pub fn is_of(&self, other: &Self) -> bool {
        self == other || (self.tag.is_none() && self.domain == other.domain && self.path == other.path)
    }

    /// The reference by its tag alone; none when it has no tag.
    pub fn without_digest(&self) -> Option<Self> {
        self.tag.is_some().then(|| Self { digest: None, ..self.clone() })
    }

    fn familiar_path(&self) -> &str {
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(rest) if self.domain == DEFAULT_DOMAIN && !rest.contains('/') => rest,
            _ => &self.path,
        }
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

/// The canonical text, domain and tag included; parsing it gives the same reference.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.repository();
        self.push_suffix(&mut text);
        f.write_str(&text)
    }
}

const BAD_TAG: &str =
    "a tag is 1 to 128 letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`";
const BAD_PATH: &str =
    "a repository is lowercase letters and digits, separated by `/`, `.`, `_`, `__` or dashes";

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why| ParseReferenceError { text: text.to_owned(), why };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(error("64 hex digits are an image id"));
        }
        let (name_and_tag, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest
                    .parse::<Digest>()
                    .map_err(|_| error("what follows `@` is not a digest (`sha256:` and 64 hex digits)"))?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        let (name, tag) = match name_and_tag.rsplit_once(':') {
            // A colon before the last slash belongs to the port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name_and_tag, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error(BAD_TAG));
        }
        let (domain, path) = split_domain(name);
        if !is_domain(domain) {
            return Err(error("the part before the first `/` is not a host name"));
        }
        if !is_path(&path) {
            return Err(error(BAD_PATH));
        }
        if domain.len() + 1 + path.len() > MAX_NAME_LENGTH {
            return Err(error("the repository is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self { domain: domain.to_owned(), path: path.into_owned(), tag, digest })
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// `splitDockerDomain` of distribution/reference.
fn split_domain(name: &str) -> (&str, std::borrow::Cow<'_, str>) {
    let (domain, rest) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DEFAULT_DOMAIN { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') {
        (domain, format!("{OFFICIAL_PREFIX}{rest}").into())
    } else {
        (domain, rest.into())
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) => {
                let is_address =
                    !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
                return is_address && (after.is_empty() || after.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// `alphanumeric (separator alphanumeric)*`, a separator being one `.`, one or two `_`, or any dashes.
fn is_path_component(component: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(*first) || !is_word(*last) {
        return false;
    }
    let mut separator = String::new();
    for &byte in bytes {
        if is_word(byte) {
            let is_separator =
                matches!(separator.as_str(), "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
            if !is_separator {
                return false;
            }
            separator.clear();
        } else if matches!(byte, b'.' | b'_' | b'-') {
            separator.push(byte as char);
        } else {
            return false;
        }
    }
    true
}

fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str, familiar: &str, without_domain: &str) {
        let reference: Reference = text.parse().expect(text);
        assert_eq!(reference.to_string(), canonical);
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(reference.without_domain(), without_domain);
    }

    #[test]
    fn normalises_as_docker_does() {
        check("alpine", "docker.io/library/alpine:latest", "alpine:latest", "alpine:latest");
        check("redis:7-alpine", "docker.io/library/redis:7-alpine", "redis:7-alpine", "redis:7-alpine");
        check(
            "osixia/openldap:stable",
            "docker.io/osixia/openldap:stable",
            "osixia/openldap:stable",
            "osixia/openldap:stable",
        );
        check(
            "quay.io/keycloak/keycloak:26.0",
            "quay.io/keycloak/keycloak:26.0",
            "quay.io/keycloak/keycloak:26.0",
            "keycloak/keycloak:26.0",
        );
        check("localhost/redis:7", "localhost/redis:7", "localhost/redis:7", "redis:7");
        check("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b:latest", "a/b:latest");
        check("index.docker.io/alpine:3", "docker.io/library/alpine:3", "alpine:3", "alpine:3");
        check("docker.io/library/alpine:3", "docker.io/library/alpine:3", "alpine:3", "alpine:3");
        check(
            "host:80/x__y.z--w:A_1.b",
            "host:80/x__y.z--w:A_1.b",
            "host:80/x__y.z--w:A_1.b",
            "x__y.z--w:A_1.b",
        );
        check("[::1]:5000/a:1", "[::1]:5000/a:1", "[::1]:5000/a:1", "a:1");
    }

    #[test]
    fn keeps_digests() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned: Reference = format!("alpine@{digest}").parse().expect("pinned");
        assert_eq!(pinned.tag(), None);
        assert_eq!(pinned.to_string(), format!("docker.io/library/alpine@{digest}"));
        let both: Reference = format!("alpine:3@{digest}").parse().expect("both");
        assert_eq!(both.tag(), Some("3"));
        assert_eq!(both.digest().map(Digest::as_str), Some(digest.as_str()));
        assert_eq!(both.without_digest(), "alpine:3".parse().ok());
        assert_eq!(pinned.without_digest(), None);
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for bad in [
            "",
            "Alpine",
            "a//b",
            "a/",
            "/a",
            "a:",
            "a:-x",
            "a@sha256:xyz",
            "a b",
            "a_-b",
            "a...b",
            "-a",
            "a-",
            "héllo",
            "a:t/b:",
            "$BASE",
            "${BASE}:1",
            &"a".repeat(256),
            &"0123456789abcdef".repeat(4),
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?} must be refused");
        }
    }

    proptest! {
        #[test]
        fn canonical_and_familiar_texts_round_trip(text in "([a-z0-9.]{1,8}(:[0-9]{1,4})?/)?[a-z0-9]{1,6}(/[a-z0-9._-]{1,6}){0,2}(:[A-Za-z0-9._-]{1,6})?") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
                prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
            }
        }

        #[test]
        fn agrees_with_oci_spec_on_what_both_take(text in "([a-z0-9.-]{1,8}(:[0-9]{1,4})?/)?[a-z0-9]{1,6}(/[a-z0-9._-]{1,6}){0,2}(:[A-Za-z0-9._-]{1,6})?") {
            let theirs = text.parse::<oci_spec::distribution::Reference>();
            if let (Ok(ours), Ok(theirs)) = (text.parse::<Reference>(), theirs) {
                prop_assert_eq!(ours.domain(), theirs.registry());
                prop_assert_eq!(ours.path(), theirs.repository());
                prop_assert_eq!(ours.tag(), theirs.tag());
            }
        }
    }
}
