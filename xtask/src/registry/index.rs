//! Image indexes: what a registry answers by several platforms (OCI image-spec, "Image Index"; distribution-spec,
//! "Pushing Manifests").

use reqwest::Method;
use reqwest::header::{self, HeaderValue};
use serde_json::Value;

use super::{Registry, RegistryError, accept_manifests, agree, digest_of, manifest_path, read_small};
use crate::model::{Digest, INDEX_TYPE, IndexSpec, IndexVariant, Platform, Reference};

/// What an attestation in an index is about (docs.docker.com, "Image attestation storage").
const ABOUT: &str = "vnd.docker.reference.digest";

impl Registry {
    /// Makes an index over images of one repository, which are there, and gives it its names. What is stated about these
    /// images goes along.
    ///
    /// # Errors
    /// When the registry cannot be reached, lacks one of the images, says no, or has another index afterwards.
    pub async fn put_index(&self, spec: &IndexSpec) -> Result<Digest, RegistryError> {
        let mut manifests = Vec::new();
        for variant in &spec.variants {
            manifests.extend(self.entries(variant).await?);
        }
        let body = spec.manifest(manifests);
        let digest = digest_of(&body);
        for name in &spec.names {
            let mut headers = accept_manifests();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(INDEX_TYPE));
            self.ask_with(Method::PUT, name, &manifest_path(name), headers, Some(&body)).await?;
            let found = self.manifest_digest(name, None).await?;
            agree(name, Some(&found), digest.clone())?;
        }
        Ok(digest)
    }

    /// The entries of an index for one platform.
    async fn entries(&self, variant: &IndexVariant) -> Result<Vec<Value>, RegistryError> {
        let there = variant.there.as_ref().ok_or_else(|| RegistryError::NotFound(variant.name.familiar()))?;
        let response = self.manifest(Method::GET, there).await?;
        let said = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let said = said.map(str::to_owned);
        let body = read_small(response, there, "manifest").await?;
        let digest = agree(there, there.digest(), digest_of(&body))?;
        let malformed = |why: String| RegistryError::Malformed { reference: there.familiar(), why };
        let manifest: Value = serde_json::from_slice(&body)
            .map_err(|error| malformed(format!("its manifest is not one: {error}")))?;
        match manifest["manifests"].as_array() {
            Some(all) => of_platform(all, there, &variant.platform),
            None => {
                let kind = manifest["mediaType"].as_str().map(str::to_owned).or(said);
                let kind =
                    kind.ok_or_else(|| malformed("nobody says what kind of manifest it is".to_owned()))?;
                Ok(vec![variant.entry(&kind, &digest, body.len() as u64)])
            }
        }
    }
}

/// The entry for a platform, and those that state something about it.
fn of_platform(all: &[Value], there: &Reference, platform: &Platform) -> Result<Vec<Value>, RegistryError> {
    let of = |entry: &Value| {
        let text = |name: &str| entry["platform"][name].as_str();
        Some(Platform::new(text("os")?, text("architecture")?, text("variant")))
    };
    let exact = all.iter().find(|entry| of(entry).as_ref() == Some(platform));
    let fitting = || all.iter().find(|entry| of(entry).is_some_and(|found| found.serves(platform)));
    let Some(image) = exact.or_else(fitting) else {
        let (reference, platform) = (there.familiar(), platform.clone());
        return Err(RegistryError::NoPlatform { reference, platform });
    };
    let is_about = |entry: &&Value| {
        let about = entry["annotations"][ABOUT].as_str();
        about.is_some() && about == image["digest"].as_str()
    };
    Ok(std::iter::once(image).chain(all.iter().filter(is_about)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_platform_has_its_image_and_what_is_stated_about_it() {
        let entry = |digest: &str, os: &str, arch: &str, about: Option<&str>| {
            let platform = json!({ "os": os, "architecture": arch });
            match about {
                None => json!({ "digest": digest, "platform": platform }),
                Some(about) => {
                    json!({ "digest": digest, "platform": platform, "annotations": { ABOUT: about } })
                }
            }
        };
        let all = [
            entry("a", "linux", "amd64", None),
            entry("b", "linux", "arm64", None),
            entry("c", "unknown", "unknown", Some("a")),
            entry("d", "unknown", "unknown", Some("b")),
        ];
        let name: Reference = "r.example.com/a:1".parse().expect("a name");
        let digests = |arch: &str| {
            let found = of_platform(&all, &name, &Platform::new("linux", arch, None));
            let told = |entry: &Value| entry["digest"].as_str().unwrap_or_default().to_owned();
            found.map(|all| all.iter().map(told).collect::<String>())
        };
        assert_eq!(digests("amd64").ok().as_deref(), Some("ac"));
        assert_eq!(digests("arm64").ok().as_deref(), Some("bd"));
        assert!(matches!(digests("s390x"), Err(RegistryError::NoPlatform { .. })));
    }
}
