//! Who we are to a registry: from its challenge and what `docker login` stored to an `Authorization` header.
//!
//! Purpose and limits: docs of distribution, `spec/auth/token.md` and `spec/auth/oauth.md`. Nothing in here
//! ends up in a log or an error: without a usable answer the registry's own "denied" is what people see.

use docker_credential::DockerCredential;
use reqwest::Url;
use reqwest::header::{self, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::{Registry, is_loopback};
use crate::model::Reference;

/// The key under which Docker's own configuration keeps Docker Hub's credentials.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const CLIENT_ID: &str = "xtask";

/// What a registry asks for with a 401.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token, from the server that it names.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    /// The header that answers a 401; none when there is nothing to answer with.
    pub(super) async fn authorize(&self, reference: &Reference, response: &HeaderMap) -> Option<HeaderValue> {
        let challenges = response.get_all(header::WWW_AUTHENTICATE).iter();
        let challenge = challenges.filter_map(|value| parse_challenge(value.to_str().ok()?)).next()?;
        let credential = stored_credential(reference.domain()).await;
        if let Some(DockerCredential::UsernamePassword(_, secret) | DockerCredential::IdentityToken(secret)) =
            &credential
        {
            self.secrets.add(secret);
        }
        match (challenge, credential) {
            (Challenge::Basic, Some(DockerCredential::UsernamePassword(user, password))) => {
                // The request is never sent; it spells the header.
                let client = self.client(reference.domain()).ok()?;
                let request = client.get("http://localhost").basic_auth(user, Some(password)).build().ok()?;
                request.headers().get(header::AUTHORIZATION).cloned()
            }
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { realm, service, scope }, credential) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", reference.path()));
                let realm = Url::parse(&realm).ok()?;
                let token = self.token(realm, service.as_deref(), &scope, credential).await?;
                secret(&format!("Bearer {token}"))
            }
        }
    }

    async fn token(
        &self,
        realm: Url,
        service: Option<&str>,
        scope: &str,
        credential: Option<DockerCredential>,
    ) -> Option<String> {
        let host = realm.host_str()?.to_owned();
        // A password goes over TLS, or stays on this machine.
        let credential = credential.filter(|_| realm.scheme() == "https" || is_loopback(&host));
        let client = self.client(&host).ok()?;
        let mut query = realm.clone();
        query.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
        query.query_pairs_mut().append_pair("scope", scope);
        let request = match credential {
            None => client.get(query),
            Some(DockerCredential::UsernamePassword(user, password)) => {
                client.get(query).basic_auth(user, Some(password))
            }
            Some(DockerCredential::IdentityToken(identity)) => {
                let mut form = query;
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", CLIENT_ID)
                    .append_pair("refresh_token", &identity);
                let body = form.query().unwrap_or_default().to_owned();
                let form = "application/x-www-form-urlencoded";
                client.post(realm).header(header::CONTENT_TYPE, form).body(body)
            }
        };
        let response = request.send().await.ok().filter(|response| response.status().is_success())?;
        let token: Token = response.json().await.ok()?;
        token.token.or(token.access_token)
    }
}

/// What `docker login` stored for a registry, credential helpers included; none when it stored nothing.
async fn stored_credential(domain: &str) -> Option<DockerCredential> {
    let server = if domain == "docker.io" { DOCKER_HUB_KEY.to_owned() } else { domain.to_owned() };
    // A helper is a program that may take its time.
    tokio::task::spawn_blocking(move || docker_credential::get_credential(&server).ok()).await.ok()?
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `Bearer realm="…",service="…",scope="…"` or `Basic realm="…"` (RFC 9110, section 11.6.1).
fn parse_challenge(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    let mut rest = rest.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            "scope" => scope = Some(value.to_owned()),
            _ => {}
        }
        rest = after.trim_start_matches([',', ' ']);
    }
    Some(Challenge::Bearer { realm: realm?, service, scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_challenges() {
        assert_eq!(
            parse_challenge(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull,push""#
            ),
            Some(Challenge::Bearer {
                realm: "https://auth.docker.io/token".into(),
                service: Some("registry.docker.io".into()),
                scope: Some("repository:library/alpine:pull,push".into()),
            })
        );
        assert_eq!(
            parse_challenge("bearer realm=https://x/t, error=invalid"),
            Some(Challenge::Bearer { realm: "https://x/t".into(), service: None, scope: None })
        );
        assert_eq!(parse_challenge("Basic realm=\"Registry\""), Some(Challenge::Basic));
        assert_eq!(parse_challenge("Negotiate"), None);
        assert_eq!(parse_challenge("Bearer service=\"x\""), None);
        assert_eq!(parse_challenge("Bearer realm=\"never closed"), None);
    }
}
