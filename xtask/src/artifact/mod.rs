//! EFFECT: the artifacts that go into base images: found in the cache, downloaded, checked, pinned by digest.
//!
//! In: settings and a version, the lock file, the cache folder, servers. Out: a file of the cache whose digest is the
//! lock file's, or why there is none. Nothing gets into the cache that is not a whole zip archive; nothing is ever put
//! into the source tree but one line of the lock file. It does not know what an artifact is used for.
//!
//! ```text
//! <cache>/sha256/<hex>         artifacts; beside each a record, so that finding one costs a look and no hashing
//! <cache>/origins/<key>.json   which digest a URL gave
//! <cache>/partial/<key>        what is here of a download, what may be resumed, and who is at it (a lock)
//! ```

mod body;
mod cache;
mod check;
mod fetch;
pub mod lock;
mod old;
mod partial;
mod sample;
mod source;
mod stream;

use std::path::{Path, PathBuf};

pub use cache::Cache;
pub use fetch::{DownloadLimits, Fetched, Fetcher, How};

use self::source::{Shown, UrlTarget};
use crate::model::{ArtifactKind, ArtifactSpec, Diagnostic, Digest, ErrorKind};
use crate::settings::ArtifactSettings;

/// An artifact that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file; it is the cache's and only to be read.
    pub path: PathBuf,
    /// Its SHA-256.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// Why there is no artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// The settings or the version make no artifact.
    #[error("{0}")]
    Settings(String),
    /// The lock file cannot be taken.
    #[error("{}: {}", .0.place(), .0.message)]
    Lock(Diagnostic),
    /// Not in the cache, and nobody may be asked.
    #[error("{file} is not in the cache, and --offline forbids to download it")]
    Offline {
        /// Its name.
        file: String,
        /// Where a file that was carried here is found.
        by_hand: PathBuf,
    },
    /// No source gave it.
    #[error("{}", unavailable(tried))]
    Unavailable {
        /// Each source, as it may be shown, and what was wrong with what it gave.
        tried: Vec<(String, String)>,
        /// Where a file that was carried here is found.
        by_hand: PathBuf,
    },
    /// What a source gave is not what was seen first.
    #[error(
        "{url} gives another file than the one that was seen first\n\
         {lock_file}:{line} has {locked}\n\
         the source has {found}"
    )]
    Changed {
        /// Where it came from, as it may be shown.
        url: String,
        /// What the lock file wants.
        locked: Digest,
        /// What came.
        found: Digest,
        /// The lock file, relative to the root.
        lock_file: String,
        /// The line of its entry there.
        line: u32,
    },
    /// The sample cannot be packed.
    #[error("the sample artifact cannot be packed: {path}: {cause}", path = path.display())]
    Sample {
        /// What of it.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A file of the cache or the lock file cannot be read or written.
    #[error("{path}: {cause}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// This machine cannot speak HTTPS.
    #[error("{0}")]
    Client(String),
}

impl ArtifactError {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Settings(_) | Self::Lock(_) => ErrorKind::ConfigInvalid,
            Self::Offline { .. } => ErrorKind::NotHere,
            Self::Unavailable { .. } | Self::Client(_) => ErrorKind::DownloadFailed,
            Self::Changed { .. } => ErrorKind::ArtifactChanged,
            Self::Sample { .. } => ErrorKind::SourceInvalid,
            Self::File { .. } => ErrorKind::File,
        }
    }

    /// What helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Offline { by_hand, .. } => Some(format!(
                "three ways out: run once without --offline; name a mirror inside by `artifact.mirrors`; copy the \
                 file to {}",
                by_hand.display()
            )),
            Self::Unavailable { by_hand, .. } => Some(format!(
                "three ways out: a mirror by `artifact.mirrors`; a file carried here, as {}; `--sample-artifact`, \
                 which is not the release",
                by_hand.display()
            )),
            Self::Changed { lock_file, line, .. } => Some(format!(
                "if the release was replaced on purpose, delete {lock_file}:{line} and run the same command again"
            )),
            Self::Settings(_) | Self::Lock(_) | Self::Sample { .. } | Self::File { .. } | Self::Client(_) => {
                None
            }
        }
    }
}

impl ArtifactError {
    fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::File { path: path.to_owned(), cause: error.to_string() }
    }
}

fn unavailable(tried: &[(String, String)]) -> String {
    let told: Vec<String> = tried.iter().map(|(url, why)| format!("{url}: {why}")).collect();
    match told.as_slice() {
        [] => "no source gave it".to_owned(),
        [only] => only.clone(),
        [first, ..] => {
            format!("none of {} sources gave it, the first: {first}\n{}", told.len(), told[1..].join("\n"))
        }
    }
}

/// What to get for a version, and the digest that the lock file wants of it. A `config.url` of `file://…` is the sample,
/// as `kind` says it is otherwise; a release that lies on this machine is had through a mirror of `file://…`.
///
/// # Errors
/// A version that is no file name, a URL that is none, a lock file that cannot be taken.
pub fn spec(
    config: &ArtifactSettings,
    root: &Path,
    version: &str,
    kind: ArtifactKind,
) -> Result<ArtifactSpec, ArtifactError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if version.is_empty() || version.starts_with('.') || !version.chars().all(is_plain) {
        return Err(ArtifactError::Settings(format!(
            "`{version}` is not a version: letters, digits, `.`, `_`, `+` and `-`"
        )));
    }
    let url = config.url.replace("{version}", version);
    let origin = UrlTarget::parse(&url, root).map_err(ArtifactError::Settings)?;
    let file = format!("{version}.zip");
    let lock_file = config.lock.clone();
    let spec = |urls, kind, locked| ArtifactSpec {
        file: file.clone(),
        version: version.to_owned(),
        urls,
        kind,
        locked,
        lock_file: lock_file.clone(),
    };
    match origin {
        UrlTarget::Folder(folder) => {
            return Ok(spec(vec![format!("file://{}/", folder.display())], ArtifactKind::Sample, None));
        }
        UrlTarget::File(path) => {
            return Ok(spec(vec![format!("file://{}", path.display())], ArtifactKind::Sample, None));
        }
        UrlTarget::Web => {}
    }
    if kind == ArtifactKind::Sample {
        return Ok(spec(Vec::new(), kind, None));
    }
    let mut urls = Vec::with_capacity(config.mirrors.len() + 1);
    if let Some(path) = source::path_of(&url) {
        urls.extend(config.mirrors.iter().map(|prefix| format!("{}{path}", prefix.trim_end_matches('/'))));
    }
    for mirror in &urls {
        UrlTarget::parse(mirror, root).map_err(ArtifactError::Settings)?;
    }
    urls.push(url);
    let locked = lock::read(root, &config.lock)?.get(&file).map(|entry| entry.digest.clone());
    Ok(spec(urls, kind, locked))
}

/// The artifact, if it is here: in the cache, or in `old_cache`, the folder of the old scripts, from which it is
/// copied into the cache after it was checked. A sample is packed and is always here. Blocks; without a lock entry it
/// is what the same URL gave before.
///
/// # Errors
/// When the cache cannot be read or written, or the sample cannot be packed.
pub fn find(spec: &ArtifactSpec, cache: &Cache, old_cache: &Path) -> Result<Option<Found>, ArtifactError> {
    if spec.kind == ArtifactKind::Sample {
        return sample::provide(spec, cache).map(Some);
    }
    if let Some(found) = find_cached(spec, cache)? {
        return Ok(Some(found));
    }
    Ok(old::import(spec, cache, old_cache)?.ok())
}

/// The file with this digest, if the cache has it. Blocks.
///
/// # Errors
/// When the cache cannot be read.
pub fn by_digest(cache: &Cache, digest: &Digest) -> Result<Option<Found>, ArtifactError> {
    cache.get(digest)
}

/// The digests of all files that the cache has, by their names alone. Blocks.
pub fn cached(cache: &Cache) -> std::collections::BTreeSet<Digest> {
    cache.digests()
}

/// Takes a file into the cache that came another way than by a download: in a bundle, from which it was read once
/// already and found to be right. Blocks; `from` says where it came from.
///
/// # Errors
/// When it cannot be read, or the cache cannot be written, or its content is another one by now.
pub fn adopt(
    cache: &Cache,
    digest: &Digest,
    from: &str,
    content: &mut dyn std::io::Read,
) -> Result<Found, ArtifactError> {
    if let Some(found) = cache.get(digest)? {
        return Ok(found);
    }
    let mut file = cache.temporary()?;
    let failed = |error: &std::io::Error| ArtifactError::file(&cache.place_of(digest), error);
    std::io::copy(content, file.file()).map_err(|error| failed(&error))?;
    let found = cache::hash(file.file()).map_err(|error| failed(&error))?;
    if found != *digest {
        let cause = format!("it is {found}, and should be {digest}");
        return Err(ArtifactError::File { path: PathBuf::from(from), cause });
    }
    cache.take_new(file, digest, &Shown::of(from))
}

fn find_cached(spec: &ArtifactSpec, cache: &Cache) -> Result<Option<Found>, ArtifactError> {
    let seen = match (&spec.locked, spec.urls.last()) {
        (Some(locked), _) => Some(locked.clone()),
        (None, Some(origin)) => cache.given_by(&Shown::of(origin))?,
        (None, None) => None,
    };
    seen.map_or(Ok(None), |digest| cache.get(&digest))
}

#[cfg(test)]
mod tests;
