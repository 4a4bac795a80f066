//! Finds the engine: which endpoints there are, in which order they are asked, and why each did not answer.
//!
//! In: the few variables that matter, handed over as [`Surroundings`], and docker's own settings files.
//! Out: a connected [`AnyEngine`], or every endpoint that was tried with its cause. It never starts an engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::Request;

use super::bollard::DockerEngine;
use super::endpoint::address;
use super::http::{Address, Wire, empty};
use super::tls::{TlsFiles, Verify};
use super::{AnyEngine, EngineError, ssh};
use crate::events::secrets::Secrets;
use crate::registry::credentials::Credentials;
use crate::registry::docker_config::{ContextEndpoint, DockerConfig};

/// How long an endpoint may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The same over ssh, which has to be heard first when it cannot reach its host.
const FAR_PING_TIMEOUT: Duration = ssh::CONNECT_TIMEOUT.saturating_add(Duration::from_secs(5));
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
    /// `DOCKER_TLS`, set and not empty: TCP means TLS, and without `DOCKER_TLS_VERIFY` nothing vouches for the engine.
    pub tls: bool,
    /// `DOCKER_CERT_PATH`
    pub cert_path: Option<PathBuf>,
    /// `DOCKER_CONTEXT`
    pub context: Option<String>,
    /// `DOCKER_CONFIG`, else `.docker` in the home folder.
    pub config_dir: Option<PathBuf>,
    /// `BUILDX_CONFIG`, else `buildx` in docker's folder.
    pub buildx_dir: Option<PathBuf>,
    /// Where the tree's private builder listens, if it was started.
    pub private_builder: Option<String>,
    /// `XDG_RUNTIME_DIR`
    pub runtime_dir: Option<PathBuf>,
    /// `HOME`
    pub home: Option<PathBuf>,
    /// `PATH`, for `ssh`.
    pub path: Option<String>,
    /// The proxy variables, as spelled; docker's settings file adds those that are not here in any spelling.
    pub proxies: BTreeMap<String, String>,
    /// The socket of the tree's private engine: `target/xtask/engine/docker.sock`.
    pub private_socket: Option<PathBuf>,
    /// Learns the passwords of proxies, so that nobody sees them.
    pub secrets: Secrets,
    /// What registries are told.
    pub credentials: Credentials,
    /// How long a registry may be silent.
    pub stall: Duration,
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
        let config_dir = get("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|home| home.join(".docker")));
        Self {
            docker_host: get("DOCKER_HOST"),
            tls_verify: get("DOCKER_TLS_VERIFY").is_some(),
            tls: get("DOCKER_TLS").is_some(),
            cert_path: get("DOCKER_CERT_PATH").map(PathBuf::from),
            context: get("DOCKER_CONTEXT"),
            credentials: Credentials::new(config_dir.clone(), Secrets::default()),
            buildx_dir: get("BUILDX_CONFIG")
                .map(PathBuf::from)
                .or_else(|| config_dir.as_ref().map(|folder| folder.join("buildx"))),
            config_dir,
            private_builder: None,
            runtime_dir: get("XDG_RUNTIME_DIR").map(PathBuf::from),
            path: get("PATH"),
            home,
            proxies,
            private_socket,
            secrets: Secrets::default(),
            stall: Duration::from_secs(180),
        }
    }

    /// The variable that names the engine, so that no other one is tried.
    pub fn named_by(&self) -> Option<&'static str> {
        match self {
            Self { docker_host: Some(_), .. } => Some("DOCKER_HOST"),
            Self { context: Some(name), .. } if is_context(name) => Some("DOCKER_CONTEXT"),
            _ => None,
        }
    }

    fn docker_config(&self) -> DockerConfig {
        let read = self.config_dir.as_deref().map(DockerConfig::read);
        read.and_then(Result::ok).unwrap_or_default()
    }

    /// What builds on the engine at `endpoint` get as proxy variables. Learnt from docker's settings file too, as `docker
    /// build` does (docs.docker.com, "Use a proxy server with the Docker CLI"); the environment wins.
    pub fn build_proxies(&self, endpoint: &str) -> BTreeMap<String, String> {
        let mut proxies = self.docker_config().proxies(endpoint);
        let is_named = |name: &String| self.proxies.keys().any(|set| set.eq_ignore_ascii_case(name));
        proxies.retain(|name, _| !is_named(name));
        proxies.iter().for_each(|(name, url)| self.secrets.add_url(name, url));
        proxies.extend(self.proxies.clone());
        proxies
    }
}

/// An engine that answers, and which endpoints did not before it.
#[derive(Debug)]
pub struct Found {
    /// The first that answers; [`EngineError::Unreachable`] when none does.
    pub engine: Result<AnyEngine, EngineError>,
    /// Each endpoint that was asked in vain, and what it said.
    pub passed_over: Vec<(String, String)>,
    /// Whether the first of those was chosen (`docker context use`), and another one stands in for it.
    pub is_stand_in: bool,
}

/// The engine that is meant, if it answers. `DOCKER_HOST` or `DOCKER_CONTEXT` name it, and then nothing else is tried;
/// so does the current docker context, but the tree's private engine stands in for it. Where nothing is named: the tree's
/// private engine, then the usual sockets of docker, rootless docker, Docker Desktop and podman.
///
/// # Errors
/// [`EngineError::Unreachable`] with each endpoint and what it said.
pub async fn connect(surroundings: &Surroundings) -> Result<AnyEngine, EngineError> {
    find(surroundings, None).await.engine
}

/// The same, with what was passed over on the way. `limit` bounds all questions together; without it each endpoint has
/// the time that it needs.
pub async fn find(surroundings: &Surroundings, limit: Option<Duration>) -> Found {
    let deadline = limit.map(|limit| tokio::time::Instant::now() + limit);
    let mut passed_over = Vec::new();
    let candidates = candidates(surroundings);
    let is_chosen = candidates.first().is_some_and(|first| first.is_chosen);
    for candidate in candidates {
        let shown = candidate.shown;
        let pong = match &candidate.wire {
            Err(cause) => Err(cause.clone()),
            Ok(wire) => ping(wire, deadline).await,
        };
        match (candidate.wire, pong) {
            (Ok(wire), Ok(pong)) => {
                let engine = DockerEngine::new(wire, pong, surroundings)
                    .map(|engine| AnyEngine::Docker(Box::new(engine)));
                return Found { engine, is_stand_in: is_chosen && !passed_over.is_empty(), passed_over };
            }
            (_, Err(cause)) | (Err(cause), _) => passed_over.push((shown, cause)),
        }
    }
    let named_by = surroundings.named_by();
    let engine = Err(EngineError::Unreachable { tried: passed_over.clone(), named_by });
    Found { engine, passed_over, is_stand_in: false }
}

/// The endpoints that would be asked, in that order, as people type them.
pub fn endpoints(surroundings: &Surroundings) -> Vec<String> {
    candidates(surroundings).into_iter().map(|candidate| candidate.shown).collect()
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
    /// Named by a person, not one of the usual places.
    is_chosen: bool,
}

async fn ping(wire: &Wire, deadline: Option<tokio::time::Instant>) -> Result<Pong, String> {
    let request = Request::get("/_ping").body(empty()).map_err(|error| error.to_string())?;
    let patience = if wire.is_ssh() { FAR_PING_TIMEOUT } else { PING_TIMEOUT };
    let left = deadline.map(|deadline| deadline.saturating_duration_since(tokio::time::Instant::now()));
    let patience = left.map_or(patience, |left| left.min(patience));
    let answer = match tokio::time::timeout(patience, wire.send(request)).await {
        Ok(answer) => answer.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("no answer within {:.0} s", patience.as_secs_f32().max(1.0))),
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
        let tls = (surroundings.tls || surroundings.tls_verify).then(|| TlsFiles {
            folder: surroundings.cert_path.clone().or_else(|| surroundings.config_dir.clone()),
            verify: if surroundings.tls_verify { Verify::Yes } else { Verify::No },
        });
        return vec![candidate(surroundings, &format!("{host} (DOCKER_HOST)"), host, tls)];
    }
    let socket = |path: PathBuf| {
        let host = format!("unix://{}", path.display());
        Candidate { shown: host.clone(), wire: Ok(Wire::new(Address::Unix(path), host)), is_chosen: false }
    };
    // A tree without a private engine has no such socket: that is no news.
    let private = surroundings.private_socket.clone().filter(|path| path.exists()).map(socket);
    if let Some(name) = &surroundings.context {
        // Somebody who names an engine does not mean another one.
        if is_context(name) {
            return vec![context_candidate(surroundings, name)];
        }
    } else if let Some(name) = surroundings.docker_config().current_context.filter(|name| is_context(name)) {
        return std::iter::once(context_candidate(surroundings, &name)).chain(private).collect();
    }
    let mut list: Vec<Candidate> = private.into_iter().collect();
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

/// `default` means the usual sockets.
fn is_context(name: &str) -> bool {
    !name.is_empty() && name != "default"
}

fn candidate(surroundings: &Surroundings, shown: &str, host: &str, tls: Option<TlsFiles>) -> Candidate {
    let address = address(host, tls.clone(), surroundings.path.as_deref());
    let wire = address.map(|address| Wire::new(address, host).with_certificates(tls));
    Candidate { shown: shown.to_owned(), wire, is_chosen: true }
}

fn context_candidate(surroundings: &Surroundings, name: &str) -> Candidate {
    let shown = format!("docker context `{name}`");
    let failed = |cause: String| Candidate { shown, wire: Err(cause), is_chosen: true };
    let Some(config_dir) = &surroundings.config_dir else {
        return failed("there is no home folder to look for it in".to_owned());
    };
    match ContextEndpoint::read(config_dir, name) {
        Err(cause) => failed(cause),
        Ok(ContextEndpoint { host, skips_verification, certificates }) => {
            let verify = if skips_verification { Verify::No } else { Verify::Yes };
            let tls = (skips_verification || certificates.is_some())
                .then_some(TlsFiles { folder: certificates, verify });
            candidate(surroundings, &format!("{host} (docker context `{name}`)"), &host, tls)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use sha2::{Digest as _, Sha256};

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
    fn a_named_context_is_the_only_engine_and_a_current_one_has_a_stand_in() {
        let home = tempfile::tempdir().expect("folder");
        let private = tempfile::NamedTempFile::new().expect("file");
        let config = home.path().join(".docker");
        std::fs::create_dir_all(&config).expect("folder");
        std::fs::write(config.join("config.json"), r#"{"currentContext": "far"}"#).expect("config");
        let home = home.path().display().to_string();
        let socket = format!("unix://{}", private.path().display());
        let of = |variables: &[(&str, &str)]| -> Vec<String> {
            let mut all = surroundings(variables);
            all.private_socket = Some(private.path().to_owned());
            shown(&all).iter().map(|one| one.split(": ").next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(of(&[("HOME", &home), ("DOCKER_CONTEXT", "far")]), ["docker context `far`"]);
        assert_eq!(of(&[("HOME", &home)]), ["docker context `far`", &socket]);
        assert_eq!(
            of(&[("HOME", &home), ("DOCKER_CONTEXT", "default")])[..2],
            [socket.as_str(), "unix:///var/run/docker.sock"]
        );
    }

    #[test]
    fn proxies_are_kept_as_spelled_and_docker_adds_what_is_not_set() {
        let all = surroundings(&[("http_proxy", "http://p"), ("NO_PROXY", "a"), ("HTTPS_PROXY", "")]);
        assert_eq!(all.proxies.keys().collect::<Vec<_>>(), ["NO_PROXY", "http_proxy"]);
        let home = tempfile::tempdir().expect("folder");
        let text =
            r#"{"proxies": {"default": {"httpProxy": "http://q", "httpsProxy": "http://u:hunter2@q"}}}"#;
        std::fs::write(home.path().join("config.json"), text).expect("config");
        let all = Surroundings { config_dir: Some(home.path().to_owned()), ..all };
        let told: Vec<String> = all
            .build_proxies("unix:///x")
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let hidden = "http://u:hunter2@q";
        assert_eq!(
            told,
            [
                &format!("HTTPS_PROXY={hidden}"),
                "NO_PROXY=a",
                "http_proxy=http://p",
                &format!("https_proxy={hidden}")
            ]
        );
        assert_eq!(all.secrets.redact(hidden), "http://***@q");
    }

    #[test]
    fn tls_is_asked_for_by_either_variable_and_vouched_for_by_one() {
        let caution = |variables: &[(&str, &str)]| {
            let mut all = vec![("DOCKER_HOST", "tcp://far"), ("DOCKER_CERT_PATH", "/nowhere")];
            all.extend_from_slice(variables);
            let first = candidates(&surroundings(&all)).remove(0);
            match first.wire {
                Ok(wire) => wire.caution().unwrap_or_else(|| "none".to_owned()),
                Err(cause) => cause,
            }
        };
        assert_eq!(caution(&[]), "none");
        let careless = "nothing vouches for the engine at tcp://far: its certificate is not checked";
        assert_eq!(caution(&[("DOCKER_TLS", "1")]), careless);
        let strict = "TLS needs /nowhere/ca.pem, which is not there";
        assert_eq!(caution(&[("DOCKER_TLS_VERIFY", "1")]), strict);
        assert_eq!(caution(&[("DOCKER_TLS", "1"), ("DOCKER_TLS_VERIFY", "1")]), strict);
    }

    #[tokio::test]
    async fn says_what_was_tried() {
        let error = connect(&surroundings(&[("DOCKER_HOST", "unix:///nowhere/docker.sock")]))
            .await
            .expect_err("no engine there");
        let EngineError::Unreachable { tried, named_by: Some("DOCKER_HOST") } = error else {
            panic!("{error:?}")
        };
        assert_eq!(tried.len(), 1);
        assert!(tried[0].1.contains("No such file"), "{tried:?}");
    }
}
