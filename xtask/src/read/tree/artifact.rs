//! EFFECT: the artifact of one version, as far as this machine knows it.
//!
//! In: the settings, a version. Out: what is asked for, and the file if it is here. It downloads nothing.

use crate::artifact::{self, Cache, Found};
use crate::model::{ArtifactSpec, Diagnostic};
use crate::read::fingerprint::listing::GivenFile;
use crate::settings::Config;

/// An artifact, here or not.
#[derive(Clone, Debug)]
pub(super) struct Artifact {
    /// What is asked for.
    pub spec: ArtifactSpec,
    found: Option<Found>,
}

/// Looks for it in the caches.
pub(super) fn look(config: &Config, version: &str) -> Result<Artifact, Diagnostic> {
    let settings = &config.artifact;
    let cache = Cache::at(&config.root, &settings.cache);
    let found = artifact::spec(settings, &config.root, version, settings.kind()).and_then(|spec| {
        let found = artifact::find(&spec, &cache, &settings.old_cache)?;
        Ok(Artifact { spec, found })
    });
    found.map_err(|error| match error {
        artifact::ArtifactError::Lock(found) => found,
        error => Diagnostic::error(settings.lock.as_str(), 0, error.to_string().replace('\n', "; ")),
    })
}

/// Its name in the context of a version's images.
pub(super) fn file_name(version: &str) -> String {
    format!("{version}.zip")
}

impl Artifact {
    /// The file as the context has it. What the lock file says is true of what is yet to come.
    pub fn as_file(&self) -> GivenFile {
        let digest = self.found.as_ref().map(|found| &found.digest).or(self.spec.locked.as_ref());
        GivenFile {
            name: self.spec.file.clone(),
            source: self.found.as_ref().map(|found| found.path.clone()),
            size: self.found.as_ref().map_or(0, |found| found.size),
            digest: digest.cloned(),
        }
    }
}
