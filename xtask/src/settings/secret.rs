//! Secrets and ssh agents as people write them: `--secret`, `--ssh`, the tables `[secrets]` and `[ssh]`. Pure.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use crate::model::{Hidden, SecretSource, SshSource};

/// The variable of the user's own agent.
pub(super) const AGENT: &str = "SSH_AUTH_SOCK";

/// Where a secret is, as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Secret {
    /// A file.
    File(PathBuf),
    /// A variable of the environment or of `.env`.
    Env(String),
    /// Only its ID was said: the variable of that name, else the file (docker/buildx, `util/buildflags/secrets.go`).
    Named(String),
}

impl Secret {
    /// With a file that is relative to the working folder, whatever it would be relative to otherwise.
    #[must_use]
    pub fn from_here(self) -> Self {
        match self {
            Self::File(path) => Self::File(absolute(path)),
            other @ (Self::Env(_) | Self::Named(_)) => other,
        }
    }

    /// What it stands for: files are relative to `folder`, `variable` is what variables hold, `is_file` says what is there.
    /// None for a variable that is not set and a file that is not there.
    pub fn resolve(
        &self,
        folder: &Path,
        variable: impl Fn(&str) -> Option<String>,
        is_file: impl Fn(&Path) -> bool,
    ) -> Option<SecretSource> {
        let at = |path: &Path| Some(folder.join(path)).filter(|path| is_file(path)).map(SecretSource::File);
        let of = |name: &str| {
            let value = Hidden::new(variable(name)?);
            Some(SecretSource::Variable { name: name.to_owned(), value })
        };
        match self {
            Self::File(path) => at(path),
            Self::Env(name) => of(name),
            Self::Named(id) => of(id).or_else(|| at(Path::new(id))),
        }
    }
}

impl TryFrom<toml::Value> for Secret {
    type Error = &'static str;

    fn try_from(value: toml::Value) -> Result<Self, Self::Error> {
        const EXPECTED: &str =
            "a secret is `{ file = \"PATH\" }` or `{ env = \"NAME\" }`; its value has no place here";
        let toml::Value::Table(table) = value else { return Err(EXPECTED) };
        match table.iter().next() {
            Some((key, toml::Value::String(text))) if table.len() == 1 => match key.as_str() {
                "file" => Ok(Self::File(text.into())),
                "env" | "environment" => Ok(Self::Env(text.clone())),
                _ => Err(EXPECTED),
            },
            _ => Err(EXPECTED),
        }
    }
}

/// `--secret`: an ID, and where the secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFlag(pub String, pub Secret);

impl FromStr for SecretFlag {
    type Err = String;

    /// As docker takes it: `id=ID[,src=FILE|,env=NAME][,type=file|env]` (docs.docker.com, `docker buildx build --secret`).
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut id, mut src, mut env, mut kind) = (None, None, None, None);
        for field in text.split(',') {
            let (key, value) =
                field.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or_else(|| {
                    format!("`{field}` is no `key=value`: expected `id=ID,src=FILE` or `id=ID,env=NAME`")
                })?;
            let slot = match key.trim() {
                "id" => &mut id,
                "src" | "source" => &mut src,
                "env" => &mut env,
                "type" => &mut kind,
                other => return Err(format!("a secret has no `{other}`; there are id, src, env and type")),
            };
            *slot = Some(value);
        }
        let id = id.ok_or("a secret needs an ID: `id=ID,src=FILE` or `id=ID,env=NAME`")?;
        let secret = match (kind, src, env) {
            (_, Some(_), Some(_)) => {
                return Err("a secret is in a file (`src`) or in a variable (`env`)".to_owned());
            }
            (Some("env"), Some(name), None) | (None | Some("env"), None, Some(name)) => {
                Secret::Env(name.to_owned())
            }
            (Some("env"), None, None) => Secret::Env(id.to_owned()),
            (None | Some("file"), Some(path), None) => Secret::File(path.into()),
            (Some("file"), None, None) => Secret::File(id.into()),
            (None, None, None) => Secret::Named(id.to_owned()),
            (Some(other), ..) => {
                return Err(format!("`{other}` is no type of secret here; there are file and env"));
            }
        };
        Ok(Self(id.to_owned(), secret))
    }
}

/// What signs, as written: nothing is the user's own agent, else a socket of an agent, or files of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Ssh(Vec<PathBuf>);

impl From<String> for Ssh {
    fn from(text: String) -> Self {
        Self(text.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect())
    }
}

/// As it is, if the working folder is gone.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

impl Ssh {
    /// With files that are relative to the working folder.
    #[must_use]
    pub fn from_here(self) -> Self {
        Self(self.0.into_iter().map(absolute).collect())
    }

    /// With files that are relative to a folder, whatever they would be relative to otherwise.
    #[must_use]
    pub fn within(self, folder: &Path) -> Self {
        Self(self.0.into_iter().map(|path| folder.join(path)).collect())
    }

    /// What it stands for: files are relative to `folder`. `is_socket` tells a socket from a file of keys. None where the
    /// user has no agent.
    pub fn resolve(
        &self,
        folder: &Path,
        variable: impl Fn(&str) -> Option<String>,
        is_socket: impl Fn(&Path) -> bool,
    ) -> Option<SshSource> {
        let paths: Vec<PathBuf> = self.0.iter().map(|path| folder.join(path)).collect();
        match paths.as_slice() {
            [] => Some(SshSource::Agent(variable(AGENT).filter(|path| !path.is_empty())?.into())),
            [socket] if is_socket(socket) => Some(SshSource::Agent(socket.clone())),
            _ => Some(SshSource::Keys(paths)),
        }
    }
}

/// `--ssh`: an ID, and what signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshFlag(pub String, pub Ssh);

impl FromStr for SshFlag {
    type Err = String;

    /// As docker takes it: `default`, or `ID[=SOCKET|=KEY[,KEY]]` (docs.docker.com, `docker buildx build --ssh`).
    fn from_str(text: &str) -> Result<Self, String> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        if id.is_empty() {
            return Err("an agent needs an ID: `default`, or `ID=SOCKET`".to_owned());
        }
        Ok(Self(id.to_owned(), Ssh::from(paths.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Result<String, String> {
        text.parse::<SecretFlag>().map(|SecretFlag(id, secret)| format!("{id} {secret:?}"))
    }

    #[test]
    fn secrets_are_written_as_for_docker() {
        for (text, expected) in [
            ("id=a,src=b/c", "a File(\"b/c\")"),
            ("source=b,id=a", "a File(\"b\")"),
            ("id=a,env=B", "a Env(\"B\")"),
            ("type=env,id=a,src=B", "a Env(\"B\")"),
            ("id=a,type=env", "a Env(\"a\")"),
            ("type=file,id=a", "a File(\"a\")"),
            ("id=a", "a Named(\"a\")"),
        ] {
            assert_eq!(secret(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("a", "`a` is no `key=value`"),
            ("src=b", "needs an ID"),
            ("id=a,value=b", "has no `value`"),
            ("id=a,src=b,env=C", "in a file (`src`) or in a variable"),
            ("id=a,type=vault", "`vault` is no type"),
            ("id=a,src=", "`src=` is no `key=value`"),
        ] {
            let error = secret(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_not_set_is_no_secret_and_what_is_shows_nothing() {
        let variable = |name: &str| (name == "SET").then(|| "hush".to_owned());
        let folder = Path::new("/t");
        let of = |secret: Secret| {
            format!("{:?}", secret.resolve(folder, variable, |path| !path.ends_with("gone")))
        };
        assert_eq!(of(Secret::File("a".into())), "Some(File(\"/t/a\"))");
        assert_eq!(of(Secret::File("gone".into())), "None");
        assert_eq!(of(Secret::Env("UNSET".to_owned())), "None");
        assert_eq!(of(Secret::Named("id".to_owned())), "Some(File(\"/t/id\"))");
        assert_eq!(of(Secret::Named("SET".to_owned())), "Some(Variable { name: \"SET\", value: *** })");
        let text = "a = { file = \"x\" }\nb = { environment = \"B\" }\n";
        let table: std::collections::BTreeMap<String, Secret> = toml::from_str(text).expect("secrets");
        assert_eq!(table["b"], Secret::Env("B".to_owned()));
        for bad in ["a = \"value\"", "a = { value = \"x\" }", "a = { file = \"x\", env = \"y\" }"] {
            assert!(toml::from_str::<std::collections::BTreeMap<String, Secret>>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn agents_are_written_as_for_docker() {
        let of = |text: &str, agent: Option<&str>| {
            let SshFlag(id, ssh) = text.parse().expect(text);
            let is_socket = |path: &Path| path.ends_with("sock");
            format!("{id} {:?}", ssh.resolve(Path::new("/t"), |_| agent.map(str::to_owned), is_socket))
        };
        assert_eq!(of("default", Some("/a/sock")), "default Some(Agent(\"/a/sock\"))");
        assert_eq!(of("default", None), "default None");
        assert_eq!(of("git=sock", None), "git Some(Agent(\"/t/sock\"))");
        assert_eq!(of("git=/k/one,two", None), "git Some(Keys([\"/k/one\", \"/t/two\"]))");
        assert!("=x".parse::<SshFlag>().is_err());
    }
}
