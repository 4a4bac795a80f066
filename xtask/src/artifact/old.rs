//! The cache of the old scripts, `$TMPDIR/fit-framework-cache/V.zip`: what it holds is copied over once it is checked.
//!
//! Never linked: everybody may write below a temporary folder, and what was checked must stay what it was.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::cache::{Cache, digest_of};
use super::check::check;
use super::source::Shown;
use super::stream::Seen;
use super::{ArtifactError, Found};
use crate::host;
use crate::model::ArtifactSpec;

/// Why a file of the old cache is not used; none when there is no such file.
pub(super) type PassedOver = Option<String>;

/// Copies the artifact out of the old cache, if it is there and is what it should be.
pub(super) fn import(
    spec: &ArtifactSpec,
    cache: &Cache,
    old_cache: &Path,
) -> Result<Result<Found, PassedOver>, ArtifactError> {
    let path = old_cache.join(&spec.file);
    let Ok(mut source) = File::open(&path) else { return Ok(Err(None)) };
    let Ok(metadata) = source.metadata() else { return Ok(Err(None)) };
    if !metadata.is_file() {
        return Ok(Err(None));
    }
    let passed_over = |why: String| Ok(Err(Some(format!("{} is passed over: {why}", path.display()))));
    let (user, _) = host::user_and_group();
    // Without a digest to compare with, only whoever runs this (or root) is believed.
    if spec.locked.is_none() && ![user, 0].contains(&metadata.uid()) {
        return passed_over(
            "it belongs to another user, and the lock file does not know its digest".to_owned(),
        );
    }
    let mut copy = cache.temporary()?;
    let mut hasher = Sha256::new();
    let copied = copy_hashing(&mut source, copy.file(), &mut hasher);
    if let Err(error) = copied {
        return passed_over(error.to_string());
    }
    let digest = digest_of(hasher);
    if let Some(locked) = spec.locked.as_ref().filter(|locked| **locked != digest) {
        return passed_over(format!("{} has {locked}, and it is {digest}", spec.lock_file));
    }
    let again = copy.again().map_err(|error| ArtifactError::file(&path, &error))?;
    if let Err(why) = check(again, &Seen::new()) {
        return passed_over(format!("it is {why}"));
    }
    let found = cache.take_new(copy, &digest, &Shown::of(&format!("file://{}", path.display())))?;
    if let Some(origin) = spec.urls.last() {
        cache.remember(&Shown::of(origin), &digest)?;
    }
    Ok(Ok(found))
}

fn copy_hashing(source: &mut File, copy: &mut File, hasher: &mut Sha256) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return copy.rewind();
        }
        hasher.update(&buffer[..read]);
        copy.write_all(&buffer[..read])?;
    }
}
