//! A registry with an optional project path, as `--registry` and `INTERNAL_REGISTRY` take it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ParseReferenceError, Reference};

/// `host[:port][/project…]`; a trailing slash or a leading `https://` of what was typed is dropped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryPrefix {
    domain: String,
    project: Option<String>,
}

impl RegistryPrefix {
    /// The host, with its port.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// `prefix/rest` for a reference without domain (`redis:7-alpine`). A reference that starts with the
    /// prefix already is left alone.
    pub fn join(&self, rest: &str) -> Result<Reference, ParseReferenceError> {
        let own = format!("{self}/");
        if rest.starts_with(&own) { rest.parse() } else { format!("{own}{rest}").parse() }
    }

    /// Whether it is served on this machine, as Docker tells it: `localhost` and 127.0.0.0/8.
    pub fn is_on_this_machine(&self) -> bool {
        dockerfile::is_on_this_machine(&self.domain)
    }

    /// What follows the prefix in a reference that lies under it: `redis:7-alpine`.
    pub fn strip(&self, reference: &Reference) -> Option<String> {
        if reference.domain() != self.domain {
            return None;
        }
        let text = reference.to_string();
        text.strip_prefix(&format!("{self}/")).map(str::to_owned)
    }
}

impl fmt::Display for RegistryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.domain)?;
        match &self.project {
            Some(project) => write!(f, "/{project}"),
            None => Ok(()),
        }
    }
}

impl FromStr for RegistryPrefix {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.trim();
        let bare = bare.strip_prefix("https://").or_else(|| bare.strip_prefix("http://")).unwrap_or(bare);
        let bare = bare.trim_end_matches('/');
        let (domain, project) = match bare.split_once('/') {
            Some((domain, project)) => (domain, Some(project)),
            None => (bare, None),
        };
        // A Docker Hub organisation (`modelengine/`) is a prefix too: its domain is docker.io.
        let is_host = domain.contains(['.', ':']) || domain == "localhost";
        let (domain, project) = if is_host {
            (domain.to_owned(), project.map(str::to_owned))
        } else {
            ("docker.io".to_owned(), Some(bare.to_owned()))
        };
        let prefix = Self { domain, project };
        // The prefix is right when a reference below it is.
        format!("{prefix}/x").parse::<Reference>().map(|_| prefix)
    }
}

impl TryFrom<String> for RegistryPrefix {
    type Error = ParseReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RegistryPrefix> for String {
    fn from(prefix: RegistryPrefix) -> Self {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_projects_ports_and_slashes() {
        for (typed, joined) in [
            ("harbor.example.com/ai-infra", "harbor.example.com/ai-infra/redis:7"),
            ("harbor.example.com/ai-infra/", "harbor.example.com/ai-infra/redis:7"),
            ("localhost:5000/", "localhost:5000/redis:7"),
            ("modelengine/", "docker.io/modelengine/redis:7"),
            ("https://r.example.com", "r.example.com/redis:7"),
        ] {
            let prefix: RegistryPrefix = typed.parse().expect(typed);
            let reference = prefix.join("redis:7").expect(typed);
            assert_eq!(reference.to_string(), joined);
            assert_eq!(prefix.strip(&reference).as_deref(), Some("redis:7"));
            assert_eq!(prefix.join(&reference.to_string()).expect(typed), reference, "left alone");
        }
        assert!("bad host/".parse::<RegistryPrefix>().is_err());
        assert!("".parse::<RegistryPrefix>().is_err());
    }
}
