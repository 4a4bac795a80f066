//! Where an artifact comes from: URLs, and how much of them may be shown. Pure.

use std::fmt;
use std::path::{Path, PathBuf};

/// What a URL leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UrlTarget {
    /// A server.
    Web,
    /// A file of this machine.
    File(PathBuf),
    /// A folder of this machine, to be packed.
    Folder(PathBuf),
}

impl UrlTarget {
    /// Reads `http://`, `https://` and `file://` (a path that does not begin with `/` is relative to `root`, one that
    /// ends with `/` or stands for a folder is a folder).
    pub fn parse(url: &str, root: &Path) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("file://") {
            let full =
                root.join(path.strip_prefix("localhost/").map_or(path.into(), |rest| format!("/{rest}")));
            let is_folder = path.ends_with('/') || full.is_dir();
            return Ok(if is_folder { Self::Folder(trimmed(&full)) } else { Self::File(full) });
        }
        match reqwest::Url::parse(url) {
            Ok(parsed) if ["http", "https"].contains(&parsed.scheme()) && parsed.has_host() => Ok(Self::Web),
            Ok(_) | Err(_) => Err(format!(
                "`{}` is no URL of an artifact: expected https://, http:// or file://",
                Shown::of(url)
            )),
        }
    }
}

/// Without the slash at its end.
fn trimmed(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The path of a web URL, query included: what follows the host.
pub(super) fn path_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    if scheme == "file" {
        return None;
    }
    rest.find('/').map(|at| &rest[at..])
}

/// A URL as it may be shown: no user information, no query (both may hold a token), no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown(String);

impl Shown {
    pub fn of(url: &str) -> Self {
        let url = url.split(['?', '#']).next().unwrap_or(url);
        let Some((scheme, rest)) = url.split_once("://") else { return Self(url.to_owned()) };
        let authority_end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        Self(format!("{scheme}://{host}{path}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_somewhere() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        for (url, expect) in [
            ("https://example.com/a/V.zip", Ok(UrlTarget::Web)),
            ("http://127.0.0.1:8080/V.zip", Ok(UrlTarget::Web)),
            ("file:///tmp/none/V.zip", Ok(UrlTarget::File("/tmp/none/V.zip".into()))),
            ("file://localhost/tmp/none/V.zip", Ok(UrlTarget::File("/tmp/none/V.zip".into()))),
            ("file://docker/V.zip", Ok(UrlTarget::File(root.join("docker/V.zip")))),
            ("file://docker/sample/", Ok(UrlTarget::Folder(root.join("docker/sample")))),
            ("file:///", Ok(UrlTarget::Folder("/".into()))),
            ("ftp://example.com/V.zip", Err(())),
            ("V.zip", Err(())),
            ("https://", Err(())),
        ] {
            assert_eq!(UrlTarget::parse(url, root).map_err(|_| ()), expect, "{url}");
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (url, shown) in [
            ("https://joe:pass@example.com/a?token=1#x", "https://example.com/a"),
            ("http://h:1/a@b", "http://h:1/a@b"),
            ("file:///tmp/V.zip", "file:///tmp/V.zip"),
            ("odd", "odd"),
        ] {
            assert_eq!(Shown::of(url).as_str(), shown);
        }
        let error =
            UrlTarget::parse("ftp://joe:pass@example.com/a", Path::new("/")).expect_err("no URL for us");
        assert!(!error.contains("pass"), "{error}");
    }

    #[test]
    fn mirrors_take_the_path() {
        assert_eq!(path_of("https://example.com:1/a/b.zip?x=1"), Some("/a/b.zip?x=1"));
        assert_eq!(path_of("https://example.com"), None);
        assert_eq!(path_of("file:///a"), None);
    }
}
