//! The process environment, read once and handed on as a value.
//!
//! In: the environment of this process, or a list for tests. Out: lookups. It decides nothing about settings
//! (`config::load` does) and never changes the environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A snapshot of the environment.
#[derive(Clone, Default)]
pub struct Env {
    vars: BTreeMap<OsString, OsString>,
}

/// Counts only: there are tokens and passwords in it.
impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Env({})", self.vars.len())
    }
}

/// The proxy variables that BuildKit passes into builds without an `ARG` (its predefined args), both spellings.
const PROXY_NAMES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

impl Env {
    /// What this process was started with.
    pub fn from_process() -> Self {
        Self { vars: std::env::vars_os().collect() }
    }

    /// The value as text; a value that is not UTF-8 is no text (see [`Env::get_os`]).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_os(name)?.to_str()
    }

    /// The value as text, with empty counting as not set.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The value as it is, for paths.
    pub fn get_os(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// What this program is called by what started it: `XTASK_CALLED_AS`.
    pub fn called_as(&self) -> Option<&str> {
        self.non_empty("XTASK_CALLED_AS")
    }

    /// Whether a continuous-integration service runs us: `CI` (GitHub, GitLab, Travis, …) set to anything but no.
    pub fn is_ci(&self) -> bool {
        self.non_empty("CI").is_some_and(|value| !matches!(value, "0" | "false" | "no" | "off"))
    }

    /// Whether colour is unwanted: `NO_COLOR` not empty (no-color.org).
    pub fn no_color(&self) -> bool {
        self.non_empty("NO_COLOR").is_some()
    }

    /// Whether colour is wanted where there is no terminal too: `CLICOLOR_FORCE` set to anything but `0`.
    pub fn forces_color(&self) -> bool {
        self.non_empty("CLICOLOR_FORCE").is_some_and(|value| value != "0")
    }

    /// Whether the terminal cannot move its cursor.
    pub fn is_dumb_terminal(&self) -> bool {
        self.get("TERM") == Some("dumb")
    }

    /// Whether a GitHub workflow runs us: `GITHUB_ACTIONS=true`.
    pub fn is_github(&self) -> bool {
        self.get("GITHUB_ACTIONS") == Some("true")
    }

    /// Whether a GitLab pipeline runs us: `GITLAB_CI=true`.
    pub fn is_gitlab(&self) -> bool {
        self.get("GITLAB_CI") == Some("true")
    }

    /// The file that takes a GitHub workflow step's part of the job summary: `GITHUB_STEP_SUMMARY`.
    pub fn github_step_summary(&self) -> Option<PathBuf> {
        self.absolute("GITHUB_STEP_SUMMARY")
    }

    /// Where a GitHub workflow has the repository: `GITHUB_WORKSPACE`.
    pub fn github_workspace(&self) -> Option<PathBuf> {
        self.absolute("GITHUB_WORKSPACE")
    }

    /// What the addresses of files begin with that the commit of a GitHub workflow has:
    /// `https://github.com/owner/repository/blob/COMMIT/`.
    pub fn github_files(&self) -> Option<String> {
        let named = |name| self.non_empty(name).filter(|value| !value.contains(char::is_whitespace));
        let (server, repository) = (named("GITHUB_SERVER_URL")?, named("GITHUB_REPOSITORY")?);
        let server = server.strip_suffix('/').unwrap_or(server);
        Some(format!("{server}/{repository}/blob/{}/", named("GITHUB_SHA")?))
    }

    /// The file that takes a GitHub workflow step's outputs: `GITHUB_OUTPUT`.
    pub fn github_output(&self) -> Option<PathBuf> {
        self.absolute("GITHUB_OUTPUT")
    }

    /// The user's home.
    pub fn home(&self) -> Option<PathBuf> {
        self.absolute("HOME").or_else(|| self.absolute("USERPROFILE"))
    }

    /// Where this user's caches lie: `XDG_CACHE_HOME`, else `~/.cache`.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        self.absolute("XDG_CACHE_HOME").or_else(|| Some(self.home()?.join(".cache")))
    }

    /// Where temporary files lie: `TMPDIR`, else `/tmp`.
    pub fn temp_dir(&self) -> PathBuf {
        self.absolute("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"))
    }

    /// Where docker keeps credentials and contexts: `DOCKER_CONFIG`, else `~/.docker`.
    pub fn docker_config_dir(&self) -> Option<PathBuf> {
        let named = self.get_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        named.or_else(|| Some(self.home()?.join(".docker")))
    }

    /// Seconds since 1970 that stand for all times in what is built: `SOURCE_DATE_EPOCH`
    /// (reproducible-builds.org/specs/source-date-epoch).
    ///
    /// # Errors
    /// The text, where it is no such number.
    pub fn source_date_epoch(&self) -> Result<Option<i64>, String> {
        let text = self.non_empty("SOURCE_DATE_EPOCH");
        text.map(|text| text.parse().map_err(|_| text.to_owned())).transpose()
    }

    /// The proxy variables that are set, as builds get them.
    pub fn proxies(&self) -> BTreeMap<String, String> {
        let set = |name: &&str| Some(((*name).to_owned(), self.non_empty(name)?.to_owned()));
        PROXY_NAMES.iter().filter_map(set).collect()
    }

    /// The XDG base-directory specification has relative paths ignored.
    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.get_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { vars: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_is_what_says_so() {
        for (value, expected) in
            [("true", true), ("1", true), ("woodpecker", true), ("false", false), ("", false)]
        {
            let env: Env = [("CI", value)].into_iter().collect();
            assert_eq!(env.is_ci(), expected, "CI={value}");
        }
        assert!(!Env::default().is_ci());
    }

    #[test]
    fn workflows_say_where_they_are() {
        let bare: Env = [("GITHUB_ACTIONS", "1"), ("GITLAB_CI", "false"), ("GITHUB_STEP_SUMMARY", "x")]
            .into_iter()
            .collect();
        assert!(!bare.is_github() && !bare.is_gitlab());
        assert_eq!((bare.github_step_summary(), bare.github_files()), (None, None));
        let env: Env = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_STEP_SUMMARY", "/tmp/s"),
            ("GITHUB_SERVER_URL", "https://github.example/"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_SHA", "abc"),
        ]
        .into_iter()
        .collect();
        assert!(env.is_github());
        assert_eq!(env.github_step_summary(), Some("/tmp/s".into()));
        assert_eq!(env.github_files().as_deref(), Some("https://github.example/o/r/blob/abc/"));
    }

    #[test]
    fn folders_follow_xdg_and_docker() {
        let bare: Env = [("HOME", "/home/u")].into_iter().collect();
        assert_eq!(bare.cache_dir(), Some("/home/u/.cache".into()));
        assert_eq!(bare.docker_config_dir(), Some("/home/u/.docker".into()));
        let set: Env =
            [("HOME", "/home/u"), ("XDG_CACHE_HOME", "/c"), ("DOCKER_CONFIG", "conf")].into_iter().collect();
        assert_eq!(set.cache_dir(), Some("/c".into()));
        let relative: Env = [("HOME", "/home/u"), ("XDG_CACHE_HOME", "relative")].into_iter().collect();
        assert_eq!(
            relative.cache_dir(),
            Some("/home/u/.cache".into()),
            "a relative XDG folder does not count"
        );
        assert_eq!(set.docker_config_dir(), Some("conf".into()));
        assert_eq!(Env::default().cache_dir(), None);
        assert_eq!(Env::default().temp_dir(), PathBuf::from("/tmp"));
    }

    #[test]
    fn colour_and_proxies() {
        let env: Env =
            [("NO_COLOR", ""), ("https_proxy", "http://p:1"), ("HTTP_PROXY", "")].into_iter().collect();
        assert!(!env.no_color(), "an empty NO_COLOR means nothing");
        assert_eq!(env.proxies(), BTreeMap::from([("https_proxy".to_owned(), "http://p:1".to_owned())]));
        let dumb: Env = [("TERM", "dumb"), ("CLICOLOR_FORCE", "0")].into_iter().collect();
        assert!(dumb.is_dumb_terminal() && !dumb.no_color() && !dumb.forces_color());
        let forced: Env = [("CLICOLOR_FORCE", "1")].into_iter().collect();
        assert!(forced.forces_color());
    }
}
