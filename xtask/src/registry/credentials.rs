//! Who we are to a registry: what `docker login` stored, credential helpers included. The one reader of credentials,
//! for what engines and builders are told and for what this program asks registries itself.
//!
//! In: a registry's host. Out: its credentials, as an API header or as BuildKit asks for them. Never logged,
//! never shown: these types have no `Debug` that tells. What keeps stored credentials from being used is kept for whoever
//! tells people.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::Deserialize;

use super::docker_config::{DockerConfig, Stored};
use crate::events::secrets::Secrets;
use crate::host::{CommandError, HostCommand};

/// What docker writes has padding; what people make by hand may have none.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The user name under which helpers keep identity tokens.
const TOKEN_USER: &str = "<token>";

/// Reads credentials from docker's folder. Clones share what they found to be wrong.
#[derive(Clone, Default)]
pub struct Credentials {
    folder: Option<Arc<Path>>,
    secrets: Secrets,
    trouble: Arc<Mutex<Trouble>>,
}

#[derive(Default)]
struct Trouble {
    what: Option<String>,
    is_told: bool,
}

/// What a registry wants to hear.
#[derive(PartialEq, Eq)]
pub enum Login {
    /// A name and its password.
    Password(String, String),
    /// A token that is good for others.
    IdentityToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Those in docker's folder. What is found is hidden by `secrets` from then on.
    pub fn new(folder: Option<PathBuf>, secrets: Secrets) -> Self {
        Self { folder: folder.map(Arc::from), secrets, trouble: Arc::default() }
    }

    /// The credentials for a registry; none where there are none. A helper is a program that may take its time.
    pub async fn find(&self, domain: &str) -> Option<Login> {
        let folder = self.folder.as_deref()?;
        let found = match DockerConfig::read(folder) {
            Ok(config) => stored(&config, domain).await.map_err(|why| {
                format!("{} cannot be used for {domain}: {why}", folder.join("config.json").display())
            }),
            Err(what) => Err(what),
        };
        match found {
            Ok(login) => {
                if let Some(Login::Password(_, secret) | Login::IdentityToken(secret)) = &login {
                    self.secrets.add(&format!("the login for {domain}"), secret);
                }
                login
            }
            Err(what) => {
                self.trouble.lock().unwrap_or_else(PoisonError::into_inner).what = Some(what);
                None
            }
        }
    }

    /// What was wrong with what is stored when a login was looked for.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).what.clone()
    }

    /// The same as a sentence for people, once.
    pub fn take_trouble(&self) -> Option<String> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let what = trouble.what.as_ref().filter(|_| !trouble.is_told)?;
        let told = format!("registries were asked without a login: {what}");
        trouble.is_told = true;
        Some(told)
    }
}

/// The error says what is wrong with what is stored, and holds nothing of it.
async fn stored(config: &DockerConfig, domain: &str) -> Result<Option<Login>, String> {
    match config.stored(domain) {
        Stored::Nowhere => Ok(None),
        Stored::File(key, entry) => match of_entry(entry) {
            Some(login) => Ok(Some(login)),
            None => Err(format!("the entry `{key}` of `auths` is not what docker writes")),
        },
        Stored::Helper { program, setting, keys } => {
            for key in keys {
                if let Some(login) = of_helper(&program, setting, key).await? {
                    return Ok(Some(login));
                }
            }
            Ok(None)
        }
    }
}

/// `auth` is base64 of `user:password`; the other fields are as docker's own types have them
/// (github.com/docker/cli, `cli/config/types`).
fn of_entry(entry: &serde_json::Value) -> Option<Login> {
    let field = |name: &str| entry.get(name)?.as_str().filter(|text| !text.is_empty());
    if let Some(token) = field("identitytoken") {
        return Some(Login::IdentityToken(token.to_owned()));
    }
    match field("auth") {
        Some(auth) => {
            let text = String::from_utf8(BASE64.decode(auth).ok()?).ok()?;
            let (user, password) = text.split_once(':')?;
            Some(Login::Password(user.to_owned(), password.trim_matches('\0').to_owned()))
        }
        None => Some(Login::Password(field("username")?.to_owned(), field("password")?.to_owned())),
    }
}

/// What a helper keeps under a name; none where it knows nothing of it (github.com/docker/docker-credential-helpers).
async fn of_helper(program: &str, setting: &str, key: &str) -> Result<Option<Login>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let odd = || format!("{program} (`{setting}`) gave an odd answer");
    match HostCommand::new(program).arg("get").input(key).output().await {
        Ok(text) => {
            let Answer { username, secret } = serde_json::from_str(&text).map_err(|_| odd())?;
            let is_token = username == TOKEN_USER;
            Ok(Some(if is_token { Login::IdentityToken(secret) } else { Login::Password(username, secret) }))
        }
        Err(error @ CommandError::CannotStart { .. }) => Err(format!("{error} (`{setting}` names it)")),
        // Its output may hold a secret.
        Err(CommandError::Failed { .. }) => Ok(None),
    }
}

impl Login {
    /// User name and password as BuildKit takes them: a token comes without a name.
    pub(crate) fn into_parts(self) -> (String, String) {
        match self {
            Self::Password(user, password) => (user, password),
            Self::IdentityToken(token) => (String::new(), token),
        }
    }
}

/// The `X-Registry-Auth` header. It is there even without credentials: Engine 28.3.3 and later refuse a push
/// without one.
pub(crate) fn auth_header(login: Option<Login>, host: &str) -> String {
    let json = match login {
        None => serde_json::json!({}),
        Some(Login::IdentityToken(token)) => {
            serde_json::json!({ "identitytoken": token, "serveraddress": host })
        }
        Some(Login::Password(username, password)) => {
            serde_json::json!({ "username": username, "password": password, "serveraddress": host })
        }
    };
    URL_SAFE.encode(json.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.json"), config).expect("written");
        folder
    }

    fn reader(folder: &tempfile::TempDir) -> Credentials {
        Credentials::new(Some(folder.path().to_owned()), Secrets::default())
    }

    #[tokio::test]
    async fn finds_what_docker_login_stored() {
        // `tester:secret-1` in base64.
        let entry = r#"{"auth": "dGVzdGVyOnNlY3JldC0x"}"#;
        for (stored, domain) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("https://index.docker.io/v1/", "registry-1.docker.io"),
            ("docker.io", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("r.example:5000", "r.example:5000"),
            ("https://r.example/v2/", "r.example"),
        ] {
            let folder = folder(&format!(r#"{{"auths": {{"{stored}": {entry}, "other.example": {{}}}}}}"#));
            let credentials = reader(&folder);
            let login = credentials.find(domain).await.unwrap_or_else(|| panic!("{stored} for {domain}"));
            assert_eq!(login.into_parts(), ("tester".to_owned(), "secret-1".to_owned()));
            assert_eq!(credentials.secrets.redact("denied: tester:secret-1"), "denied: tester:***");
            assert!(credentials.find("elsewhere.example").await.is_none());
            assert!(credentials.find("other.example").await.is_none(), "an empty entry is none");
            assert_eq!(credentials.take_trouble(), None);
        }
        assert!(Credentials::default().find("docker.io").await.is_none());
    }

    #[tokio::test]
    async fn other_ways_to_write_an_entry() {
        let text = |login: Login| login.into_parts();
        for (entry, expect) in [
            (r#"{"username": "a", "password": "b"}"#, ("a", "b")),
            (r#"{"auth": "YTpiOmM"}"#, ("a", "b:c")),
            (r#"{"auth": "YTo=", "identitytoken": "t"}"#, ("", "t")),
        ] {
            let folder = folder(&format!(r#"{{"auths": {{"r.example": {entry}}}}}"#));
            let found = reader(&folder).find("r.example").await.map(text);
            assert_eq!(found, Some((expect.0.to_owned(), expect.1.to_owned())), "{entry}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_said_once_and_holds_no_secret() {
        for (config, says) in [
            ("{\n \"auths\": \"hunter2\"}", "config.json:2:"),
            (r#"{"auths": {"r.example": {"auth": "hunter2!"}}}"#, "the entry `r.example` of `auths`"),
            (r#"{"credHelpers": {"r.example": "of-nobody"}}"#, "`docker-credential-of-nobody`"),
        ] {
            let folder = folder(config);
            let credentials = reader(&folder);
            assert_eq!(credentials.take_trouble(), None, "nobody needed one yet");
            assert!(credentials.find("r.example").await.is_none());
            let told = credentials.clone().take_trouble().expect("told");
            assert!(told.contains(says) && !told.contains("hunter2"), "{told}");
            assert!(credentials.take_trouble().is_none() && credentials.trouble().is_some(), "once");
        }
    }

    #[test]
    fn the_header_is_there_without_credentials_too() {
        assert_eq!(auth_header(None, "r.example"), "e30=");
    }
}
