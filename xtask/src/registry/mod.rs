//! The only door to a registry's HTTP API: does it answer, may it be asked now, which digest has a name.
//!
//! Pulls and pushes are the engine's; what is asked here costs a registry little and tells what an engine does
//! not pass on. The API is the OCI distribution specification (github.com/opencontainers/distribution-spec),
//! tokens as in distribution's `docs/spec/auth/token.md`. Credentials are those of `docker login`; they are
//! sent to nobody but the registry and the token server that it names, and appear in no message.

mod auth;
mod certificates;
pub mod credentials;
pub mod docker_config;
pub mod index;
pub mod local;
pub mod loopback;
pub mod network;
pub mod resolve;
pub mod web;
mod whole;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Certificate, Client, Method, Response, StatusCode, header};

use self::certificates::Certificates;
use self::credentials::Credentials;
use self::web::{cause, is_loopback, retry_after};
use crate::host::retry::Retriable;
use crate::model::{Digest, ErrorKind, Identity, ImageConfig, Platform, Reference, or_default, sha256};

pub use auth::LoginAnswer;

const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Registries have to take manifests of 4 MiB (distribution-spec, "Pushing Manifests"); none is larger, and no config.
const MAX_SMALL: usize = 4 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// A layer takes its time, as long as something comes.
const BLOB_TIMEOUT: Duration = Duration::from_secs(2 * 3600);
/// A question whose answer is only good to know.
const HINT_TIMEOUT: Duration = Duration::from_secs(2);

/// A registry answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; 401 is an answer like 200.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
}

/// No registry answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// No connection, or one that broke: name resolution, refused, TLS.
    #[error("{0}")]
    Unreachable(String),
    /// Something answered, but no registry: a gateway or a proxy in between.
    #[error("answered with status {0}")]
    Status(u16),
}

/// Words of a connection that was there and broke, or was too slow.
const BROKEN: &[&str] = &["reset", "closed", "eof", "broken pipe", "timed out"];

/// A question about an image was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or one that broke.
    #[error("{domain} cannot be reached: {cause}")]
    Unreachable {
        /// The registry.
        domain: String,
        /// What the network said.
        cause: String,
    },
    /// The registry has no such image.
    #[error("{0} is not in the registry")]
    NotFound(String),
    /// The registry says no, with or without our credentials.
    #[error("{domain} denies access to {path}: {}", .trouble.clone().unwrap_or_else(|| format!("try `docker login {domain}`")))]
    Denied {
        /// The registry.
        domain: String,
        /// The repository.
        path: String,
        /// Why no login was sent, where one may be stored.
        trouble: Option<String>,
    },
    /// Too many requests.
    #[error("{domain} asks to wait{}", .retry_after.map(|wait| format!(" {} s", wait.as_secs())).unwrap_or_default())]
    Throttled {
        /// The registry.
        domain: String,
        /// `Retry-After`
        retry_after: Option<Duration>,
    },
    /// A server's fault, or an answer that the specification does not know.
    #[error("{domain} answered with status {status}")]
    Status {
        /// The registry.
        domain: String,
        /// The HTTP status.
        status: u16,
    },
    /// The content is not what the registry, or the reference, says it is.
    #[error("{reference}: the registry promised {promised} and sent {found}")]
    DigestMismatch {
        /// What was asked for.
        reference: String,
        /// What it should be.
        promised: Digest,
        /// What it is.
        found: Digest,
    },
    /// The manifest is too large, or no manifest.
    #[error("{reference}: {why}")]
    Malformed {
        /// What was asked for.
        reference: String,
        /// What is wrong with it.
        why: String,
    },
    /// The index has nothing for the platform.
    #[error("{reference} is not there for {platform}")]
    NoPlatform {
        /// What was asked for.
        reference: String,
        /// For what.
        platform: Platform,
    },
}

impl RegistryError {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } => ErrorKind::RegistryUnreachable,
            Self::NotFound(_) | Self::NoPlatform { .. } => ErrorKind::ImageNotFound,
            Self::Denied { .. } => ErrorKind::AccessDenied,
            Self::Throttled { .. } | Self::Status { .. } => ErrorKind::RegistryBusy,
            Self::DigestMismatch { .. } => ErrorKind::DigestMismatch,
            Self::Malformed { .. } => ErrorKind::PullFailed,
        }
    }
}

impl Retriable for RegistryError {
    fn worth_retrying_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => Some(retry_after.unwrap_or_default()),
            // Not what the server will never do: 501 and 505.
            Self::Status { status: 500 | 502..=504 | 506..=599, .. } => Some(Duration::ZERO),
            // Who is out of reach stays so; a connection that broke may not.
            Self::Unreachable { cause, .. } => {
                let cause = cause.to_ascii_lowercase();
                let is_broken = BROKEN.iter().any(|word| cause.contains(word));
                is_broken.then_some(Duration::ZERO)
            }
            _ => None,
        }
    }
}

/// An image as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryImage {
    /// Of the manifest that the name stands for, or of the index.
    pub digest: Digest,
    /// The config of the platform that was asked for.
    pub config: ImageConfig,
    /// Bytes of its layers, as they are packed.
    pub size: u64,
}

/// What leads to the blobs of an image.
struct Manifests {
    /// What the name stands for, and the manifest of the platform where that is an index.
    texts: Vec<(Digest, Vec<u8>)>,
    config: Blob,
    layers: Vec<Blob>,
}

#[derive(serde::Deserialize)]
struct Blob {
    digest: Digest,
    #[serde(default)]
    size: u64,
}

/// Asks registries. Connections are made on the first question, so holding one costs nothing.
#[derive(Debug, Default)]
pub struct Registry {
    /// HTTPS with the machine's certificates and proxies; the same for all registries.
    secure: OnceLock<Result<Client, String>>,
    /// The same for registries that have certificates of their own.
    private: Mutex<HashMap<String, Client>>,
    /// Where these lie.
    certificates: Certificates,
    /// For this machine's own registries: no proxy, any certificate, as Docker treats 127.0.0.0/8.
    loopback: OnceLock<Result<Client, String>>,
    /// Registries that did not answer a question that was only good to ask.
    mute: Mutex<HashSet<String>>,
    /// What registries are told.
    credentials: Credentials,
}

impl Registry {
    /// The same, with these credentials to show.
    pub fn with(credentials: Credentials) -> Self {
        Self { credentials, ..Self::default() }
    }

    /// Asks `/v2/`. The time limit is the caller's.
    ///
    /// # Errors
    /// When nothing answers, or a gateway does instead of the registry (407 and 5xx).
    pub async fn probe(&self, domain: &str) -> Result<Answer, ProbeError> {
        let began = Instant::now();
        let response =
            self.send(Method::GET, domain, "", HeaderMap::new()).await.map_err(ProbeError::Unreachable)?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(ProbeError::Status(status.as_u16()));
        }
        Ok(Answer { status: status.as_u16(), took: began.elapsed() })
    }

    /// How long the registry asks to wait before `reference` is pulled; none when it does not ask.
    ///
    /// An engine does not pass `Retry-After` on, so this looks for it beforehand, without credentials. Every
    /// other answer, and none within 2 s, means "go ahead"; a registry that gives none is not asked again.
    pub async fn told_to_wait(&self, reference: &Reference) -> Option<Duration> {
        let domain = reference.domain();
        let is_mute = || self.mute.lock().unwrap_or_else(PoisonError::into_inner).contains(domain);
        if is_mute() {
            return None;
        }
        let path = manifest_path(reference);
        let asked = self.send(Method::HEAD, domain, &path, accept_manifests());
        match tokio::time::timeout(HINT_TIMEOUT, asked).await {
            Ok(Ok(response)) if response.status() == StatusCode::TOO_MANY_REQUESTS => {
                retry_after(response.headers())
            }
            Ok(Ok(_)) => None,
            Ok(Err(_)) | Err(_) => {
                self.mute.lock().unwrap_or_else(PoisonError::into_inner).insert(domain.to_owned());
                None
            }
        }
    }

    /// The digest of the manifest that a reference names in its registry: of the index when it is one, or of
    /// the index's entry for `platform`.
    ///
    /// # Errors
    /// When the registry cannot be reached, lacks it, says no, or says one digest and sends another.
    pub async fn manifest_digest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Digest, RegistryError> {
        if platform.is_none() {
            let response = self.manifest(Method::HEAD, reference).await?;
            if let Some(digest) = promised(response.headers()) {
                return agree(reference, reference.digest(), digest);
            }
        }
        // Some registries say no digest, and an index has to be read.
        let (digest, body) = self.verified_manifest(reference).await?;
        match platform {
            None => Ok(digest),
            Some(platform) => entry_for(reference, &body, platform).map(|entry| entry.unwrap_or(digest)),
        }
    }

    /// What a name stands for, of registries too whose front refuses HEAD and answers GET.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`].
    pub async fn named_digest(&self, reference: &Reference) -> Result<Digest, RegistryError> {
        match self.manifest_digest(reference, None).await {
            Err(RegistryError::Denied { .. } | RegistryError::Status { .. }) => {
                self.sent_digest(reference).await
            }
            found => found,
        }
    }

    /// The digest of the manifest that the registry really sends for a reference; no header is believed.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`].
    pub async fn sent_digest(&self, reference: &Reference) -> Result<Digest, RegistryError> {
        Ok(self.verified_manifest(reference).await?.0)
    }

    /// What is in the image of a platform, as an engine tells it once it has pulled it.
    ///
    /// # Errors
    /// As [`Self::image`].
    pub async fn identity(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Identity, RegistryError> {
        Ok(self.image(reference, platform).await?.config.identity())
    }

    /// The image of a platform. All that is read on the way is held to its digest.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`]; also when there is nothing for the platform, or it is no image.
    pub async fn image(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<RegistryImage, RegistryError> {
        let Manifests { texts, config: Blob { digest: blob, .. }, layers } =
            self.manifests(reference, platform).await?;
        let path = format!("{}/blobs/{blob}", reference.path());
        let response = self.ask(Method::GET, reference, &path).await?;
        let config = read_small(response, reference, "config").await?;
        agree(reference, Some(&blob), sha256(&config))?;
        let config: ImageConfig =
            serde_json::from_slice(&config).map_err(|error| no_image(reference, "config", &error))?;
        // Where there is no index the registry gives what it has, whoever asks.
        if config.is_foreign_to(platform) {
            let (reference, platform) = (reference.familiar(), platform.clone());
            return Err(RegistryError::NoPlatform { reference, platform });
        }
        let size = layers.iter().map(|layer| layer.size).sum();
        Ok(RegistryImage { digest: texts[0].0.clone(), config, size })
    }

    /// What leads to the blobs of an image.
    async fn manifests(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Manifests, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Manifest {
            config: Blob,
            #[serde(default, deserialize_with = "or_default")]
            layers: Vec<Blob>,
        }
        let mut texts = vec![self.verified_manifest(reference).await?];
        if let Some(entry) = entry_for(reference, &texts[0].1, platform)? {
            texts.push(self.verified_manifest(&reference.pinned(&entry)).await?);
        }
        let text = texts.last().map_or(&[][..], |(_, text)| text);
        let Manifest { config, layers } =
            serde_json::from_slice(text).map_err(|error| no_image(reference, "manifest", &error))?;
        Ok(Manifests { texts, config, layers })
    }

    /// A manifest, held to what the registry says that it is, and to the digest of the reference if it has one.
    async fn verified_manifest(&self, reference: &Reference) -> Result<(Digest, Vec<u8>), RegistryError> {
        let response = self.manifest(Method::GET, reference).await?;
        let said = promised(response.headers());
        let body = read_small(response, reference, "manifest").await?;
        let digest = agree(reference, said.as_ref(), sha256(&body))?;
        Ok((agree(reference, reference.digest(), digest)?, body))
    }

    async fn manifest(&self, method: Method, reference: &Reference) -> Result<Response, RegistryError> {
        self.ask(method, reference, &manifest_path(reference)).await
    }

    /// Something of a reference's repository, with a login where the registry wants one.
    async fn ask(
        &self,
        method: Method,
        reference: &Reference,
        path: &str,
    ) -> Result<Response, RegistryError> {
        self.ask_with(method, reference, path, accept_manifests(), None).await
    }

    /// The same with headers of its own, and perhaps a body.
    async fn ask_with(
        &self,
        method: Method,
        reference: &Reference,
        path: &str,
        mut headers: HeaderMap,
        body: Option<&[u8]>,
    ) -> Result<Response, RegistryError> {
        let domain = reference.domain();
        let unreachable = |cause| RegistryError::Unreachable { domain: domain.to_owned(), cause };
        let asked = self.send_with(method.clone(), domain, path, headers.clone(), body);
        let mut response = asked.await.map_err(unreachable)?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(authorization) = self.authorize(reference, response.headers()).await
        {
            headers.insert(header::AUTHORIZATION, authorization);
            response = self.send_with(method, domain, path, headers, body).await.map_err(unreachable)?;
        }
        let domain = domain.to_owned();
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound(reference.familiar())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let (path, trouble) = (reference.path().to_owned(), self.credentials.trouble());
                Err(RegistryError::Denied { domain, path, trouble })
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Err(RegistryError::Throttled { domain, retry_after: retry_after(response.headers()) })
            }
            status => Err(RegistryError::Status { domain, status: status.as_u16() }),
        }
    }

    /// One request below `/v2/`; the error is what the network said. A registry on this machine is tried by
    /// HTTP, then by HTTPS; any other by HTTPS alone.
    async fn send(
        &self,
        method: Method,
        domain: &str,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Response, String> {
        self.send_with(method, domain, path, headers, None).await
    }

    async fn send_with(
        &self,
        method: Method,
        domain: &str,
        path: &str,
        headers: HeaderMap,
        body: Option<&[u8]>,
    ) -> Result<Response, String> {
        let host = api_host(domain);
        let client = self.client(domain)?;
        let ask = |scheme| {
            let request = client.request(method.clone(), format!("{scheme}://{host}/v2/{path}"));
            let request = if path.contains("/blobs/") { request.timeout(BLOB_TIMEOUT) } else { request };
            match body {
                Some(body) => request.body(body.to_vec()),
                None => request,
            }
        };
        if !is_loopback(domain) {
            return ask("https").headers(headers).send().await.map_err(|error| cause(&error));
        }
        let plain = ask("http").headers(headers.clone()).send().await;
        // 400 is what a TLS server says to plain HTTP.
        let is_final = match &plain {
            Ok(response) => response.status() != StatusCode::BAD_REQUEST,
            Err(error) => error.is_connect() || error.is_timeout(),
        };
        if !is_final && let Ok(response) = ask("https").headers(headers).send().await {
            return Ok(response);
        }
        plain.map_err(|error| cause(&error))
    }

    fn client(&self, domain: &str) -> Result<Client, String> {
        if is_loopback(domain) {
            return self.loopback.get_or_init(|| client(domain, Vec::new())).clone();
        }
        let trusted = self.certificates.of(domain);
        if trusted.is_empty() {
            return self.secure.get_or_init(|| client(domain, trusted)).clone();
        }
        let mut private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = private.get(domain) {
            return Ok(client.clone());
        }
        let client = client(domain, trusted)?;
        private.insert(domain.to_owned(), client.clone());
        Ok(client)
    }
}

/// `trusted` vouch for it beside those whom the machine trusts.
fn client(domain: &str, trusted: Vec<Certificate>) -> Result<Client, String> {
    let builder =
        web::client().connect_timeout(CONNECT_TIMEOUT).read_timeout(REQUEST_TIMEOUT).timeout(REQUEST_TIMEOUT);
    let builder =
        if is_loopback(domain) { builder.no_proxy().tls_danger_accept_invalid_certs(true) } else { builder };
    web::build(if trusted.is_empty() { builder } else { builder.tls_certs_merge(trusted) })
}

/// Where the API of a domain is served.
fn api_host(domain: &str) -> &str {
    if domain == "docker.io" { "registry-1.docker.io" } else { domain }
}

fn manifest_path(reference: &Reference) -> String {
    let which = match reference.digest() {
        Some(digest) => digest.as_str(),
        None => reference.tag().unwrap_or("latest"),
    };
    format!("{}/manifests/{which}", reference.path())
}

fn accept_manifests() -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, header::HeaderValue::from_static(MANIFEST_TYPES))])
}

fn no_image(reference: &Reference, what: &str, error: &serde_json::Error) -> RegistryError {
    let why = format!("its {what} is not that of an image: {error}");
    RegistryError::Malformed { reference: reference.familiar(), why }
}

fn promised(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

fn agree(reference: &Reference, promised: Option<&Digest>, found: Digest) -> Result<Digest, RegistryError> {
    match promised {
        // Another algorithm's digest cannot be compared with ours.
        Some(promised) if *promised != found && promised.as_str().starts_with("sha256:") => {
            Err(RegistryError::DigestMismatch {
                reference: reference.familiar(),
                promised: promised.clone(),
                found,
            })
        }
        _ => Ok(found),
    }
}

/// All of an answer that is no layer.
async fn read_small(
    mut response: Response,
    reference: &Reference,
    what: &str,
) -> Result<Vec<u8>, RegistryError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_SMALL => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                let why = format!("its {what} is larger than 4 MiB");
                return Err(RegistryError::Malformed { reference: reference.familiar(), why });
            }
            Ok(None) => return Ok(body),
            Err(error) => {
                let domain = reference.domain().to_owned();
                return Err(RegistryError::Unreachable { domain, cause: cause(&error) });
            }
        }
    }
}

/// The digest of an index's entry for a platform; none when it is no index.
fn entry_for(
    reference: &Reference,
    manifest: &[u8],
    platform: &Platform,
) -> Result<Option<Digest>, RegistryError> {
    #[derive(serde::Deserialize)]
    struct Manifest {
        manifests: Option<Vec<Entry>>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        digest: Digest,
        platform: Option<EntryPlatform>,
    }
    #[derive(serde::Deserialize)]
    struct EntryPlatform {
        os: String,
        architecture: String,
        variant: Option<String>,
    }
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(|error| RegistryError::Malformed {
        reference: reference.familiar(),
        why: format!("its manifest is not one: {error}"),
    })?;
    let Some(entries) = manifest.manifests else { return Ok(None) };
    let of = |entry: &Entry| {
        let platform = entry.platform.as_ref()?;
        Some(Platform::new(&platform.os, &platform.architecture, platform.variant.as_deref()))
    };
    let exact = entries.iter().find(|entry| of(entry).as_ref() == Some(platform));
    let fitting = || entries.iter().find(|entry| of(entry).is_some_and(|found| found.serves(platform)));
    match exact.or_else(fitting) {
        Some(entry) => Ok(Some(entry.digest.clone())),
        None => {
            Err(RegistryError::NoPlatform { reference: reference.familiar(), platform: platform.clone() })
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
