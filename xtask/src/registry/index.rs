//! Image indexes: what a registry answers by several platforms (OCI image-spec, "Image Index"; distribution-spec,
//! "Pushing Manifests").

use reqwest::Method;
use reqwest::header::{self, HeaderValue};
use serde_json::Value;

use super::{Registry, RegistryError, accept_manifests, agree, manifest_path, read_small};
use crate::model::{Digest, INDEX_TYPE, IndexSpec, IndexVariant, sha256};

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
        let digest = sha256(&body);
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
        let digest = agree(there, there.digest(), sha256(&body))?;
        let malformed = |why: String| RegistryError::Malformed { reference: there.familiar(), why };
        let manifest: Value = serde_json::from_slice(&body)
            .map_err(|error| malformed(format!("its manifest is not one: {error}")))?;
        match manifest["manifests"].as_array() {
            Some(all) => variant.among(all).ok_or_else(|| {
                let (reference, platform) = (there.familiar(), variant.platform.clone());
                RegistryError::NoPlatform { reference, platform }
            }),
            None => {
                let kind = manifest["mediaType"].as_str().map(str::to_owned).or(said);
                let kind =
                    kind.ok_or_else(|| malformed("nobody says what kind of manifest it is".to_owned()))?;
                Ok(vec![variant.entry(&kind, &digest, body.len() as u64)])
            }
        }
    }
}
