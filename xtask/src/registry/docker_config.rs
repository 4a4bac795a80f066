//! docker's own settings file, `config.json` (docs.docker.com, "docker CLI reference", configuration files), and the
//! contexts beside it.
//!
//! In: docker's folder. Out: what of the two matters here. A file that cannot be read is docker's trouble: it counts as
//! empty, and `doctor` says what is wrong with it. Credentials themselves are read in `credentials.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Docker Hub's credentials stand under the first of these when docker stored them, under others when somebody else did.
const DOCKER_HUB_KEYS: [&str; 4] =
    ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];

/// What of `config.json` matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerConfig {
    /// `docker context use`
    pub current_context: Option<String>,
    /// By endpoint, and `default`.
    proxies: BTreeMap<String, Proxies>,
    auths: BTreeMap<String, serde_json::Value>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

/// The proxies that containers get (docs.docker.com, "Use a proxy server with the Docker CLI").
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Proxies {
    http_proxy: String,
    https_proxy: String,
    ftp_proxy: String,
    no_proxy: String,
    all_proxy: String,
}

/// Where a registry's credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// Nowhere.
    Nowhere,
    /// `auths` of `config.json`.
    File,
    /// The program `docker-credential-NAME`; named for this registry (`credHelpers`) or for all (`credsStore`).
    Helper {
        /// `docker-credential-pass`
        program: String,
        /// The setting that names it.
        setting: &'static str,
    },
}

/// The same for whoever reads them.
pub(crate) enum Stored<'a> {
    Nowhere,
    /// An entry of `auths`, and its key.
    File(&'a str, &'a serde_json::Value),
    /// A helper, and the names under which it may keep them.
    Helper {
        program: String,
        setting: &'static str,
        keys: Vec<&'a str>,
    },
}

impl DockerConfig {
    /// Reads the file in docker's folder; absent means empty.
    ///
    /// # Errors
    /// The file's path and what is wrong with it.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join("config.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // Of what the file holds, serde's message shows values: only the place is told.
        serde_json::from_slice(&text).map_err(|error| {
            format!("{}:{}:{} is not what docker writes", path.display(), error.line(), error.column())
        })
    }

    /// Where the credentials of a registry come from.
    pub fn credential_source(&self, domain: &str) -> CredentialSource {
        match self.stored(domain) {
            Stored::Nowhere => CredentialSource::Nowhere,
            Stored::File(..) => CredentialSource::File,
            Stored::Helper { program, setting, keys: _ } => CredentialSource::Helper { program, setting },
        }
    }

    /// The same, in the order in which they are looked for: the registry's own helper, the file, the helper for all.
    pub(crate) fn stored<'a>(&'a self, domain: &'a str) -> Stored<'a> {
        let keys = match domain {
            "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB_KEYS.to_vec(),
            other => vec![other],
        };
        let helper = |name: &str, setting, keys| Stored::Helper {
            program: format!("docker-credential-{name}"),
            setting,
            keys,
        };
        let own = keys.iter().find_map(|key| self.cred_helpers.get(*key).filter(|name| !name.is_empty()));
        if let Some(name) = own {
            return helper(name, "credHelpers", keys);
        }
        let is_filled = |entry: &serde_json::Value| {
            let is_text = |field| entry.get(field).and_then(|v| v.as_str()).is_some_and(|v| !v.is_empty());
            ["auth", "identitytoken", "password"].into_iter().any(is_text)
        };
        let entry = |is_its: &dyn Fn(&str, &str) -> bool| {
            let mut entries = self.auths.iter().filter(|(_, entry)| is_filled(entry));
            entries.find(|(stored, _)| keys.iter().any(|key| is_its(stored, key)))
        };
        let exact = entry(&|stored, key| stored == key);
        if let Some((key, entry)) = exact.or_else(|| entry(&|stored, key| host_of(stored) == host_of(key))) {
            return Stored::File(key, entry);
        }
        match self.creds_store.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => helper(name, "credsStore", keys),
            None => Stored::Nowhere,
        }
    }

    /// The proxy variables for what runs on the engine at `endpoint`, in both spellings as docker sets them.
    pub(crate) fn proxies(&self, endpoint: &str) -> BTreeMap<String, String> {
        let Some(proxies) = self.proxies.get(endpoint).or_else(|| self.proxies.get("default")) else {
            return BTreeMap::new();
        };
        let named = [
            ("HTTP_PROXY", &proxies.http_proxy),
            ("HTTPS_PROXY", &proxies.https_proxy),
            ("FTP_PROXY", &proxies.ftp_proxy),
            ("NO_PROXY", &proxies.no_proxy),
            ("ALL_PROXY", &proxies.all_proxy),
        ];
        let set = named.into_iter().filter(|(_, value)| !value.is_empty());
        set.flat_map(|(name, value)| {
            [name.to_owned(), name.to_ascii_lowercase()].map(|name| (name, value.clone()))
        })
        .collect()
    }
}

/// A key can be a host or a whole URL.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The engine's endpoint of a docker context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContextEndpoint {
    /// `ssh://far`
    pub(crate) host: String,
    /// `docker context create --docker skip-tls-verify=true`
    pub(crate) skips_verification: bool,
    /// Where its certificates are, if it has any.
    pub(crate) certificates: Option<PathBuf>,
}

impl ContextEndpoint {
    /// Reads a context: `contexts/meta/<sha256 of its name>/meta.json`, its certificates in
    /// `contexts/tls/<sha256>/docker/` (github.com/docker/cli, `cli/context/store`).
    pub(crate) fn read(folder: &Path, name: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Meta {
            endpoints: BTreeMap<String, Endpoint>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Endpoint {
            #[serde(default)]
            host: String,
            #[serde(default, rename = "SkipTLSVerify")]
            skip_tls_verify: bool,
        }
        let id: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join("contexts/meta").join(&id).join("meta.json");
        let told = |cause: String| format!("{}: {cause}", path.display());
        let text = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("there is no such context in {}; `docker context ls` lists them", folder.display())
            }
            _ => told(error.to_string()),
        })?;
        let mut meta: Meta = serde_json::from_slice(&text).map_err(|error| told(error.to_string()))?;
        let endpoint = meta.endpoints.remove("docker").ok_or("has no docker endpoint")?;
        let certificates = folder.join("contexts/tls").join(&id).join("docker");
        Ok(Self {
            host: endpoint.host,
            skips_verification: endpoint.skip_tls_verify,
            certificates: Some(certificates).filter(|folder| folder.exists()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> DockerConfig {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.json"), text).expect("written");
        DockerConfig::read(folder.path()).expect("readable")
    }

    #[test]
    fn proxies_are_those_of_the_endpoint_or_the_default() {
        let config = config(
            r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a,b"},
                "tcp://far:2375": {"httpsProxy": "http://q:2"}}}"#,
        );
        let names = |endpoint: &str| -> Vec<String> {
            config.proxies(endpoint).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        assert_eq!(
            names("unix:///var/run/docker.sock"),
            ["HTTP_PROXY=http://p:1", "NO_PROXY=a,b", "http_proxy=http://p:1", "no_proxy=a,b"]
        );
        assert_eq!(names("tcp://far:2375"), ["HTTPS_PROXY=http://q:2", "https_proxy=http://q:2"]);
        assert!(DockerConfig::default().proxies("x").is_empty());
    }

    #[test]
    fn credentials_come_from_somewhere() {
        let config = config(
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "eDp5"}, "https://r.example": {"auth": "eDp5"},
                "empty.example": {}}, "credHelpers": {"ecr.example": "ecr-login"}}"#,
        );
        let helper =
            |program: &str, setting| CredentialSource::Helper { program: program.to_owned(), setting };
        for (domain, source) in [
            ("docker.io", CredentialSource::File),
            ("r.example", CredentialSource::File),
            ("empty.example", CredentialSource::Nowhere),
            ("ecr.example", helper("docker-credential-ecr-login", "credHelpers")),
            ("other.example", CredentialSource::Nowhere),
        ] {
            assert_eq!(config.credential_source(domain), source, "{domain}");
        }
        let store = DockerConfig { creds_store: Some("pass".to_owned()), ..config };
        assert_eq!(store.credential_source("docker.io"), CredentialSource::File);
        assert_eq!(store.credential_source("empty.example"), helper("docker-credential-pass", "credsStore"));
    }

    #[test]
    fn a_broken_file_is_named_without_what_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(DockerConfig::read(folder.path()).is_ok(), "none is none");
        std::fs::write(folder.path().join("config.json"), "{\n \"auths\": \"hunter2\"}").expect("written");
        let error = DockerConfig::read(folder.path()).expect_err("is broken");
        assert!(error.contains("config.json:2:") && !error.contains("hunter2"), "{error}");
    }
}
