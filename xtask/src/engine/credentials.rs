//! Who we are to a registry: what `docker login` stored, credential helpers included.
//!
//! In: a registry's host. Out: its credentials, as an API header or as BuildKit asks for them. Never logged,
//! never shown: these types have no `Debug`.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::docker_config::credential_key;
use crate::secrets::Secrets;

/// Reads credentials from one settings file.
#[derive(Clone)]
pub(super) struct Credentials {
    config_file: Option<Arc<PathBuf>>,
    secrets: Secrets,
}

/// What a registry wants to hear.
pub(super) struct Login(DockerCredential);

impl Credentials {
    pub(super) fn new(config_file: Option<PathBuf>, secrets: Secrets) -> Self {
        Self { config_file: config_file.map(Arc::new), secrets }
    }

    /// The credentials for a registry; none where there are none. A helper is a process that may ask a
    /// keychain, so this leaves the async threads alone. What is found is hidden from every eye from then on.
    pub(super) async fn find(&self, host: &str) -> Option<Login> {
        let path = self.config_file.clone()?;
        let key = credential_key(host).to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let file = File::open(path.as_path()).map_err(|_| CredentialRetrievalError::ConfigNotFound)?;
            docker_credential::get_credential_from_reader(BufReader::new(file), &key)
        });
        match found.await {
            Ok(Ok(credential)) => {
                self.secrets.add(match &credential {
                    DockerCredential::UsernamePassword(_, password) => password,
                    DockerCredential::IdentityToken(token) => token,
                });
                Some(Login(credential))
            }
            Ok(Err(CredentialRetrievalError::HelperFailure { helper, .. })) => {
                // Its output may hold a secret.
                tracing::debug!(host, helper, "the credential helper knows nothing");
                None
            }
            Ok(Err(error)) => {
                tracing::debug!(host, %error, "no credentials");
                None
            }
            Err(_) => None,
        }
    }
}

impl Login {
    /// User name and password as BuildKit takes them: a token comes without a name.
    pub(super) fn into_parts(self) -> (String, String) {
        match self.0 {
            DockerCredential::UsernamePassword(user, password) => (user, password),
            DockerCredential::IdentityToken(token) => (String::new(), token),
        }
    }
}

/// The `X-Registry-Auth` header. It is there even without credentials: Engine 28.3.3 and later refuse a push
/// without one.
pub(super) fn auth_header(login: Option<Login>, host: &str) -> String {
    let json = match login.map(|login| login.0) {
        None => serde_json::json!({}),
        Some(DockerCredential::IdentityToken(token)) => {
            serde_json::json!({ "identitytoken": token, "serveraddress": host })
        }
        Some(DockerCredential::UsernamePassword(username, password)) => {
            serde_json::json!({ "username": username, "password": password, "serveraddress": host })
        }
    };
    URL_SAFE.encode(json.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finds_what_docker_login_stored() {
        let file = tempfile::NamedTempFile::new().expect("file");
        // `tester:secret` in base64.
        std::fs::write(
            file.path(),
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dGVzdGVyOnNlY3JldA=="}, "r.example:5000": {"auth": "dGVzdGVyOnNlY3JldA=="}}}"#,
        )
        .expect("write");
        let secrets = Secrets::default();
        let none = || Secrets::default();
        let credentials = Credentials::new(Some(file.path().to_owned()), secrets.clone());
        assert_eq!(secrets.redact("secret"), "secret");
        for host in ["docker.io", "registry-1.docker.io", "r.example:5000"] {
            let login = credentials.find(host).await.expect(host);
            assert_eq!(login.into_parts(), ("tester".to_owned(), "secret".to_owned()));
        }
        assert_eq!(secrets.redact("denied: tester:secret"), "denied: tester:***");
        assert!(credentials.find("elsewhere.example").await.is_none());
        assert!(Credentials::new(None, none()).find("docker.io").await.is_none());
        assert!(Credentials::new(Some("/nowhere".into()), none()).find("docker.io").await.is_none());
    }

    #[test]
    fn the_header_is_there_without_credentials_too() {
        assert_eq!(auth_header(None, "r.example"), "e30=");
    }
}
