//! Image indexes: what gives an image that is made for several platforms its name (OCI image-spec, "Image Index").

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Digest, Platform, Reference};

/// The media type of an index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

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
}
