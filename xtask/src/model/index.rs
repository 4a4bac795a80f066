//! Image indexes: what gives an image that is made for several platforms its name (OCI image-spec, "Image Index").

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Digest, Platform, Reference};

/// What an attestation in an index is about (docs.docker.com, "Image attestation storage").
const ABOUT: &str = "vnd.docker.reference.digest";

/// The media type of an index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The annotation by which tools find an image of a layout (OCI image-spec, `annotations.md`).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation after which containerd, and engines that keep their images in it, name an image.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The content of `oci-layout` (OCI image-spec, `image-layout.md`).
pub const LAYOUT_VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// An image index that is to be made (OCI image-spec, "Image Index").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSpec {
    /// Its names; all of one repository.
    pub names: Vec<Reference>,
    /// What it consists of, in this order.
    pub variants: Vec<IndexVariant>,
    /// What it says of itself.
    pub annotations: BTreeMap<String, String>,
}

/// One image of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexVariant {
    /// What it runs on.
    pub platform: Platform,
    /// Its own name in a store; what this run pushed is known by it too.
    pub name: Reference,
    /// Where a registry has it, where it is not built now: an image, or an index that has it.
    pub there: Option<Reference>,
}

impl IndexSpec {
    /// The index as registries and engines take it: the same bytes for the same entries.
    pub fn manifest(&self, entries: Vec<Value>) -> Vec<u8> {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": entries,
            "annotations": self.annotations,
        });
        index.to_string().into_bytes()
    }
}

impl IndexVariant {
    /// The entry of an index for an image's manifest (OCI image-spec, "Content Descriptors"): its media type, digest and
    /// size in bytes.
    pub fn entry(&self, kind: &str, digest: &Digest, size: u64) -> Value {
        let Platform { os, arch, variant } = &self.platform;
        let mut platform = json!({ "architecture": arch, "os": os });
        if let Some(variant) = variant {
            platform["variant"] = json!(variant);
        }
        json!({ "mediaType": kind, "digest": digest.as_str(), "size": size, "platform": platform })
    }

    /// Of the entries of an index the one for this platform, and those that state something about it; none where it has
    /// nothing for it.
    pub fn among(&self, all: &[Value]) -> Option<Vec<Value>> {
        let of = |entry: &Value| {
            let text = |name: &str| entry["platform"][name].as_str();
            Some(Platform::new(text("os")?, text("architecture")?, text("variant")))
        };
        let exact = all.iter().find(|entry| of(entry).as_ref() == Some(&self.platform));
        let fitting = || all.iter().find(|entry| of(entry).is_some_and(|found| found.serves(&self.platform)));
        let image = exact.or_else(fitting)?;
        let is_about = |entry: &&Value| {
            let about = entry["annotations"][ABOUT].as_str();
            about.is_some() && about == image["digest"].as_str()
        };
        Some(std::iter::once(image).chain(all.iter().filter(is_about)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
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
            let platform = Platform::new("linux", arch, None);
            let found = IndexVariant { platform, name: name.clone(), there: None }.among(&all)?;
            Some(found.iter().filter_map(|entry| entry["digest"].as_str()).collect::<String>())
        };
        assert_eq!(digests("amd64").as_deref(), Some("ac"));
        assert_eq!(digests("arm64").as_deref(), Some("bd"));
        assert_eq!(digests("s390x"), None);
    }
}
