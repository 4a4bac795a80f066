//! Who we are to a registry: from its challenge and what `docker login` stored to an `Authorization` header.
//!
//! Purpose and limits: docs of distribution, `spec/auth/token.md` and `spec/auth/oauth.md`. Nothing in here
//! ends up in a log or an error: without a usable answer the registry's own "denied" is what people see.

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::credentials::Login;
use super::{Registry, cause, is_loopback};
use crate::model::Reference;

const CLIENT_ID: &str = "xtask";

/// What a registry asks for with a 401.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token, from the server that it names.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// What came of showing a registry our credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginAnswer {
    /// It asks for none.
    NotNeeded,
    /// There are none to show.
    NoCredentials {
        /// It wants a password with each request, rather than a token that strangers may get as well.
        wants_password: bool,
    },
    /// Taken.
    Accepted,
    /// Refused, with this HTTP status.
    Refused(u16),
    /// Not shown, and why.
    NotShown(&'static str),
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
        let credential = self.credentials.find(reference.domain()).await;
        match (challenge, credential) {
            (Challenge::Basic, Some(Login::Password(user, password))) => {
                self.basic(reference.domain(), &user, &password).ok()
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

    /// Shows the stored credentials, as `docker login` does, and says what came of it. The time limit is the caller's.
    ///
    /// # Errors
    /// What the network said.
    pub async fn check_login(&self, domain: &str) -> Result<LoginAnswer, String> {
        let asked = self.send(Method::GET, domain, "", HeaderMap::new()).await?;
        if asked.status() != StatusCode::UNAUTHORIZED {
            return Ok(LoginAnswer::NotNeeded);
        }
        let challenges = asked.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let challenge = challenges.filter_map(|value| parse_challenge(value.to_str().ok()?)).next();
        let Some(credential) = self.credentials.find(domain).await else {
            let wants_password = challenge == Some(Challenge::Basic);
            return Ok(LoginAnswer::NoCredentials { wants_password });
        };
        let status = match (challenge, credential) {
            (Some(Challenge::Basic), Login::Password(user, password)) => {
                let authorization = self.basic(domain, &user, &password)?;
                let headers = HeaderMap::from_iter([(header::AUTHORIZATION, authorization)]);
                self.send(Method::GET, domain, "", headers).await?.status()
            }
            (Some(Challenge::Bearer { realm, service, .. }), credential) => {
                let realm =
                    Url::parse(&realm).map_err(|_| "it names no server that gives tokens".to_owned())?;
                if !may_carry_credentials(&realm) {
                    return Ok(LoginAnswer::NotShown("its tokens are given without TLS"));
                }
                self.ask_token(realm, service.as_deref(), None, Some(credential)).await?.status()
            }
            (Some(Challenge::Basic) | None, _) => {
                return Ok(LoginAnswer::NotShown("it asks for them in a way that is not known here"));
            }
        };
        Ok(if status.is_success() { LoginAnswer::Accepted } else { LoginAnswer::Refused(status.as_u16()) })
    }

    /// The header of a name and a password.
    fn basic(&self, domain: &str, user: &str, password: &str) -> Result<HeaderValue, String> {
        // The request is never sent; it spells the header.
        let request = self.client(domain)?.get("http://localhost").basic_auth(user, Some(password)).build();
        let header = request.ok().and_then(|request| request.headers().get(header::AUTHORIZATION).cloned());
        header.ok_or_else(|| "the stored name cannot be sent".to_owned())
    }

    async fn token(
        &self,
        realm: Url,
        service: Option<&str>,
        scope: &str,
        credential: Option<Login>,
    ) -> Option<String> {
        let credential = credential.filter(|_| may_carry_credentials(&realm));
        let response = self.ask_token(realm, service, Some(scope), credential).await.ok()?;
        let response = Some(response).filter(|response| response.status().is_success())?;
        let token: Token = response.json().await.ok()?;
        token.token.or(token.access_token)
    }

    /// Asks the server that a registry names for a token; the error is what the network said.
    async fn ask_token(
        &self,
        realm: Url,
        service: Option<&str>,
        scope: Option<&str>,
        credential: Option<Login>,
    ) -> Result<Response, String> {
        let client = self.client(realm.host_str().unwrap_or_default())?;
        let mut query = realm.clone();
        query.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
        query.query_pairs_mut().extend_pairs(scope.map(|scope| ("scope", scope)));
        let request = match credential {
            None => client.get(query),
            Some(Login::Password(user, password)) => client.get(query).basic_auth(user, Some(password)),
            Some(Login::IdentityToken(identity)) => {
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
        request.send().await.map_err(|error| cause(&error))
    }
}

/// A password goes over TLS, or stays on this machine.
fn may_carry_credentials(realm: &Url) -> bool {
    realm.scheme() == "https" || realm.host_str().is_some_and(is_loopback)
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
