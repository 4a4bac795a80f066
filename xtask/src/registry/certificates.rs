//! Who vouches for a registry to an engine, vouches for it to us: `/etc/docker/certs.d/HOST[:PORT]/*.crt`
//! (docs.docker.com, "Verify repository client with certificates"). Read for each registry that has such a folder.

use std::path::{Path, PathBuf};

use reqwest::Certificate;

/// Where these certificates lie.
#[derive(Debug)]
pub(super) struct Certificates(pub PathBuf);

impl Default for Certificates {
    fn default() -> Self {
        Self(Path::new("/etc/docker/certs.d").to_owned())
    }
}

impl Certificates {
    /// Those of one registry; what cannot be read vouches for nobody.
    pub(super) fn of(&self, domain: &str) -> Vec<Certificate> {
        let Ok(entries) = std::fs::read_dir(self.0.join(domain)) else { return Vec::new() };
        let files = entries.flatten().map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "crt"));
        let read = |path| Certificate::from_pem_bundle(&std::fs::read(path).ok()?).ok();
        files.filter_map(read).flatten().collect()
    }
}
