//! Finds the engine: which endpoints there are, in which order they are asked, and why each did not answer.
//!
//! In: the few variables that matter, handed over as [`Surroundings`], and docker's own settings files.
//! Out: a connected [`AnyEngine`], or every endpoint that was tried with its cause. It never starts an engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::bollard::DockerEngine;
use super::http::{Address, Wire, chain, empty};
use super::{AnyEngine, EngineError};
use crate::secrets::Secrets;

/// How long an endpoint may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Proxy settings that builds get as build args. They are no part of a key: BuildKit leaves them out of its
/// own as well (docs.docker.com, "Dockerfile reference", predefined ARGs).
const PROXY_VARIABLES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// What of the environment decides which engine is used, and how.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `DOCKER_HOST`; when it is set nothing else is tried.
    pub docker_host: Option<String>,
    /// `DOCKER_TLS_VERIFY`, set and not empty: TCP means TLS.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`
    pub cert_path: Option<PathBuf>,
    /// `DOCKER_CONTEXT`
    pub context: Option<String>,
    /// `DOCKER_CONFIG`, else `.docker` in the home folder.
    pub config_dir: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`
    pub runtime_dir: Option<PathBuf>,
    /// `HOME`
    pub home: Option<PathBuf>,
    /// The proxy variables, as spelled.
    pub proxies: BTreeMap<String, String>,
    /// The socket of the tree's private engine: `target/xtask/engine/docker.sock`.
    pub private_socket: Option<PathBuf>,
    /// Learns every credential that is used, so that nobody sees it.
    pub secrets: Secrets,
}

impl Surroundings {
    /// From the variables of a process. An empty variable is an unset one, as docker has it.
    pub fn new(variable: &dyn Fn(&str) -> Option<String>, private_socket: Option<PathBuf>) -> Self {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = get("HOME").map(PathBuf::from);
        let mut proxies = BTreeMap::new();
        for name in PROXY_VARIABLES {
            for spelled in [name.to_owned(), name.to_ascii_lowercase()] {
                if let Some(value) = get(&spelled) {
                    proxies.insert(spelled, value);
                }
            }
        }
        Self {
            docker_host: get("DOCKER_HOST"),
            tls_verify: get("DOCKER_TLS_VERIFY").is_some(),
            cert_path: get("DOCKER_CERT_PATH").map(PathBuf::from),
            context: get("DOCKER_CONTEXT"),
            config_dir: get("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| home.as_ref().map(|home| home.join(".docker"))),
            runtime_dir: get("XDG_RUNTIME_DIR").map(PathBuf::from),
            home,
            proxies,
            private_socket,
            secrets: Secrets::default(),
        }
    }

    /// docker's settings file, where credentials are.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.config_dir.as_ref().map(|dir| dir.join("config.json"))
    }
}

/// The first endpoint that answers: `DOCKER_HOST` (and then nothing else) > `DOCKER_CONTEXT` or the current
/// docker context > the tree's private engine > the usual sockets of docker, rootless docker, Docker Desktop
/// and podman.
///
/// # Errors
/// [`EngineError::Unreachable`] with each endpoint and what it said.
pub async fn connect(surroundings: &Surroundings) -> Result<AnyEngine, EngineError> {
    let mut tried = Vec::new();
    for candidate in candidates(surroundings) {
        let shown = candidate.shown;
        match candidate.wire {
            Err(cause) => tried.push((shown, cause)),
            Ok(wire) => match ping(&wire).await {
                Err(cause) => tried.push((shown, cause)),
                Ok(pong) => return DockerEngine::new(wire, pong, surroundings).map(AnyEngine::Docker),
            },
        }
    }
    Err(EngineError::Unreachable { tried })
}

/// What an engine tells of itself before anything is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pong {
    pub(super) api: (u32, u32),
    pub(super) podman: bool,
}

struct Candidate {
    shown: String,
    wire: Result<Wire, String>,
}

async fn ping(wire: &Wire) -> Result<Pong, String> {
    let request = Request::get("/_ping").body(empty()).map_err(|error| error.to_string())?;
    let answer = match tokio::time::timeout(PING_TIMEOUT, wire.send(request)).await {
        Ok(answer) => answer.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("accepts connections but says nothing within {PING_TIMEOUT:?}")),
    };
    let head = answer.head();
    let header = |name: &str| head.headers().get(name).and_then(|value| value.to_str().ok());
    let api = header("api-version").and_then(parse_version);
    match api {
        Some(api) if head.status().is_success() => {
            Ok(Pong { api, podman: header("libpod-api-version").is_some() })
        }
        _ if head.status().is_success() => Err("answers, but not as a container engine".to_owned()),
        _ => Err(format!("answers {}", head.status())),
    }
}

/// `1.41`
pub(super) fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn candidates(surroundings: &Surroundings) -> Vec<Candidate> {
    if let Some(host) = &surroundings.docker_host {
        let tls = surroundings.tls_verify.then(|| TlsFiles {
            folder: surroundings.cert_path.clone().or_else(|| surroundings.config_dir.clone()),
        });
        return vec![candidate(&format!("{host} (DOCKER_HOST)"), host, tls)];
    }
    let mut list = Vec::new();
    if let Some(name) = context_name(surroundings) {
        list.push(context_candidate(surroundings, &name));
    }
    let socket = |path: PathBuf| {
        let host = format!("unix://{}", path.display());
        Candidate { shown: host.clone(), wire: Ok(Wire::new(Address::Unix(path), host)) }
    };
    // A tree without a private engine has no such socket: that is no news.
    list.extend(surroundings.private_socket.clone().filter(|path| path.exists()).map(socket));
    list.push(socket("/var/run/docker.sock".into()));
    let below = |folder: &Option<PathBuf>, path: &str| folder.as_ref().map(|folder| folder.join(path));
    list.extend(
        [
            below(&surroundings.runtime_dir, "docker.sock"),
            below(&surroundings.home, ".docker/run/docker.sock"),
            below(&surroundings.runtime_dir, "podman/podman.sock"),
            Some("/run/podman/podman.sock".into()),
        ]
        .into_iter()
        .flatten()
        .map(socket),
    );
    list
}

struct TlsFiles {
    folder: Option<PathBuf>,
}

fn candidate(shown: &str, host: &str, tls: Option<TlsFiles>) -> Candidate {
    let wire = address(host, tls).map(|address| Wire::new(address, host));
    Candidate { shown: shown.to_owned(), wire }
}

fn address(host: &str, tls: Option<TlsFiles>) -> Result<Address, String> {
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    match scheme {
        "unix" => Ok(Address::Unix(rest.into())),
        "tcp" | "http" | "https" => {
            let tls = tls.or((scheme == "https").then_some(TlsFiles { folder: None }));
            let authority = rest.trim_end_matches('/');
            let default_port = if tls.is_some() { 2376 } else { 2375 };
            let (host, port) = match authority.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => {
                    (host, port.parse().map_err(|_| format!("`{port}` is not a port"))?)
                }
                _ => (authority, default_port),
            };
            let host = if host.is_empty() { "localhost" } else { host }.to_owned();
            match tls {
                None => Ok(Address::Tcp { host, port }),
                Some(files) => {
                    let config = tls_config(files.folder.as_deref())?;
                    Ok(Address::Tls { host, port, config: Arc::new(config) })
                }
            }
        }
        "ssh" => Err("ssh endpoints are not spoken; forward the socket instead: ssh -nNT -L \
                      /tmp/docker.sock:/var/run/docker.sock HOST, and DOCKER_HOST=unix:///tmp/docker.sock"
            .to_owned()),
        other => Err(format!("`{other}://` is not a kind of endpoint known here: unix, tcp or https")),
    }
}

/// `ca.pem` decides whom we trust, `cert.pem` and `key.pem` say who we are (docs.docker.com, "Protect the
/// Docker daemon socket").
fn tls_config(folder: Option<&Path>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    let at = |name: &str| folder.map(|folder| folder.join(name)).filter(|path| path.exists());
    let read = |path: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| format!("cannot read certificates of {}: {error}", path.display()))
    };
    match at("ca.pem") {
        Some(path) => {
            for certificate in read(&path)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("bad certificate in {}: {error}", path.display()))?;
            }
        }
        None => {
            return Err(match folder {
                Some(folder) => format!("TLS needs {}, which is not there", folder.join("ca.pem").display()),
                None => "TLS needs DOCKER_TLS_VERIFY=1 and the certificates of DOCKER_CERT_PATH".to_owned(),
            });
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match (at("cert.pem"), at("key.pem")) {
        (Some(certificate), Some(key)) => {
            let chain = read(&certificate)?;
            let key = PrivateKeyDer::from_pem_file(&key)
                .map_err(|error| format!("cannot read the key {}: {error}", key.display()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// The docker context in use, unless it is `default`, which means the usual sockets.
fn context_name(surroundings: &Surroundings) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ConfigFile {
        current_context: Option<String>,
    }
    let current = || {
        // An unreadable file is docker's trouble; there are other endpoints to try.
        let text = std::fs::read(surroundings.config_file()?).ok()?;
        serde_json::from_slice::<ConfigFile>(&text).ok()?.current_context
    };
    surroundings.context.clone().or_else(current).filter(|name| !name.is_empty() && name != "default")
}

/// A context lies in `contexts/meta/<sha256 of its name>/meta.json`, its certificates in
/// `contexts/tls/<sha256>/docker/` (github.com/docker/cli, `cli/context/store`).
fn context_candidate(surroundings: &Surroundings, name: &str) -> Candidate {
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
    let failed = |cause: String| Candidate { shown: format!("docker context `{name}`"), wire: Err(cause) };
    let Some(config_dir) = &surroundings.config_dir else {
        return failed("there is no home folder to look for it in".to_owned());
    };
    let id: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let path = config_dir.join("contexts/meta").join(&id).join("meta.json");
    let meta = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice::<Meta>(&text).map_err(|error| chain(&error)),
        Err(error) => Err(error.to_string()),
    };
    match meta {
        Err(cause) => failed(format!("{}: {cause}", path.display())),
        Ok(mut meta) => match meta.endpoints.remove("docker") {
            None => failed("has no docker endpoint".to_owned()),
            Some(endpoint) if endpoint.skip_tls_verify => {
                failed("skips TLS verification, which is not supported".to_owned())
            }
            Some(endpoint) => {
                let folder = config_dir.join("contexts/tls").join(&id).join("docker");
                let tls = folder.exists().then_some(TlsFiles { folder: Some(folder) });
                candidate(&format!("{} (docker context `{name}`)", endpoint.host), &endpoint.host, tls)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Surroundings::new(&find, None)
    }

    fn shown(surroundings: &Surroundings) -> Vec<String> {
        candidates(surroundings)
            .into_iter()
            .map(|candidate| match candidate.wire {
                Ok(_) => candidate.shown,
                Err(cause) => format!("{}: {cause}", candidate.shown),
            })
            .collect()
    }

    #[test]
    fn docker_host_alone_counts_when_it_is_set() {
        let host = [("DOCKER_HOST", "unix:///x.sock"), ("HOME", "/home/a"), ("DOCKER_CONTEXT", "b")];
        assert_eq!(shown(&surroundings(&host)), ["unix:///x.sock (DOCKER_HOST)"]);
        let empty = [("DOCKER_HOST", "")];
        assert_eq!(
            shown(&surroundings(&empty)),
            ["unix:///var/run/docker.sock", "unix:///run/podman/podman.sock"]
        );
    }

    #[test]
    fn the_usual_sockets_in_order() {
        let private = tempfile::NamedTempFile::new().expect("file");
        let mut all = surroundings(&[("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/run/user/1")]);
        all.config_dir = None;
        all.private_socket = Some(private.path().to_owned());
        assert_eq!(
            shown(&all),
            [
                format!("unix://{}", private.path().display()),
                "unix:///var/run/docker.sock".to_owned(),
                "unix:///run/user/1/docker.sock".to_owned(),
                "unix:///home/a/.docker/run/docker.sock".to_owned(),
                "unix:///run/user/1/podman/podman.sock".to_owned(),
                "unix:///run/podman/podman.sock".to_owned(),
            ]
        );
    }

    #[test]
    fn docker_contexts_are_read() {
        let home = tempfile::tempdir().expect("folder");
        let config = home.path().join(".docker");
        // sha256 of `far`
        let id: String = Sha256::digest(b"far").iter().map(|byte| format!("{byte:02x}")).collect();
        let meta = config.join("contexts/meta").join(id);
        std::fs::create_dir_all(&meta).expect("folders");
        std::fs::write(config.join("config.json"), r#"{"currentContext": "far"}"#).expect("config");
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://10.0.0.9:2375","SkipTLSVerify":false}}}"#,
        )
        .expect("meta");
        let home = home.path().display().to_string();
        assert_eq!(
            shown(&surroundings(&[("HOME", &home)])).first().map(String::as_str),
            Some("tcp://10.0.0.9:2375 (docker context `far`)")
        );
        let asked = shown(&surroundings(&[("HOME", &home), ("DOCKER_CONTEXT", "gone")]));
        assert!(asked[0].starts_with("docker context `gone`: "), "{}", asked[0]);
        let default = shown(&surroundings(&[("HOME", &home), ("DOCKER_CONTEXT", "default")]));
        assert_eq!(default[0], "unix:///var/run/docker.sock");
    }

    #[test]
    fn endpoints_are_parsed() {
        let text = |host: &str, tls: Option<TlsFiles>| match address(host, tls) {
            Ok(Address::Unix(path)) => format!("unix {}", path.display()),
            Ok(Address::Tcp { host, port }) => format!("tcp {host} {port}"),
            Ok(Address::Tls { host, port, .. }) => format!("tls {host} {port}"),
            Err(cause) => cause,
        };
        assert_eq!(text("unix:///a b/c.sock", None), "unix /a b/c.sock");
        assert_eq!(text("tcp://1.2.3.4", None), "tcp 1.2.3.4 2375");
        assert_eq!(text("tcp://1.2.3.4:99/", None), "tcp 1.2.3.4 99");
        assert_eq!(text("host:99", None), "tcp host 99");
        assert_eq!(text("tcp://[::1]:99", None), "tcp [::1] 99");
        assert!(text("tcp://a:b", None).contains("not a port"));
        assert!(text("npipe:////./pipe/docker_engine", None).contains("npipe"));
        assert!(text("ssh://a", None).contains("ssh -nNT"));
        let nowhere = TlsFiles { folder: Some("/nowhere".into()) };
        assert!(text("tcp://a", Some(nowhere)).contains("/nowhere/ca.pem"));
    }

    #[test]
    fn proxies_are_kept_as_spelled() {
        let all = surroundings(&[("http_proxy", "http://p"), ("NO_PROXY", "a"), ("HTTPS_PROXY", "")]);
        assert_eq!(all.proxies.keys().collect::<Vec<_>>(), ["NO_PROXY", "http_proxy"]);
    }

    #[tokio::test]
    async fn says_what_was_tried() {
        let error = connect(&surroundings(&[("DOCKER_HOST", "unix:///nowhere/docker.sock")]))
            .await
            .expect_err("no engine there");
        let EngineError::Unreachable { tried } = error else { panic!("{error:?}") };
        assert_eq!(tried.len(), 1);
        assert!(tried[0].1.contains("No such file"), "{tried:?}");
    }
}
