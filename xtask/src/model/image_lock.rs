//! What `images.lock` says: which content each external reference stands for.

use std::collections::BTreeMap;

use super::{Digest, LocalImage, Platform, Reference};

/// The content of a lock file of images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageLock {
    /// By original: the name that the Dockerfiles mean, whichever of its forms they use.
    pub images: BTreeMap<Reference, LockedImage>,
}

/// One entry. At least one of its fields says something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockedImage {
    /// What `docker pull name@digest` takes: of the index where the registry has one, so the same for all platforms.
    /// None for an image that no registry gave.
    pub digest: Option<Digest>,
    /// Image IDs by platform, by which the image is known again where it did not come from a registry.
    pub ids: BTreeMap<Platform, Digest>,
}

impl LockedImage {
    /// Whether an image of the store is the locked one. Digests and IDs are made of content, so it does not matter by
    /// which registry it came, or for which platform an ID was noted.
    pub fn is(&self, image: &LocalImage) -> bool {
        let is_digest = |digest: &Digest| {
            *digest == image.id || image.digests.iter().any(|known| known.digest() == Some(digest))
        };
        self.digest.as_ref().is_some_and(is_digest) || self.ids.values().any(|id| *id == image.id)
    }

    /// What it is known by, for people: the digest, else an ID.
    pub fn shown(&self) -> String {
        match (&self.digest, self.ids.values().next()) {
            (Some(digest), _) => short(digest),
            (None, Some(id)) => format!("image {}", short(id)),
            (None, None) => "nothing".to_owned(),
        }
    }
}

/// `sha256:` and twelve digits.
fn short(digest: &Digest) -> String {
    let algorithm = digest.as_str().split(':').next().unwrap_or_default();
    format!("{algorithm}:{}", digest.short())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: char) -> Digest {
        format!("sha256:{}", String::from(fill).repeat(64)).parse().expect("a digest")
    }

    #[test]
    fn an_image_is_known_by_its_digest_from_any_registry_or_by_its_id() {
        let image = LocalImage {
            id: digest('a'),
            names: Vec::new(),
            digests: vec![
                format!("mirror.example.com/library/x@{}", digest('b')).parse().expect("reference"),
            ],
            labels: BTreeMap::new(),
            size: 1,
            platform: None,
        };
        let id = |fill| BTreeMap::from([(Platform::new("linux", "arm64", None), digest(fill))]);
        for (by_digest, ids, is) in [
            (Some(digest('b')), BTreeMap::new(), true),
            (Some(digest('a')), BTreeMap::new(), true),
            (Some(digest('c')), BTreeMap::new(), false),
            (Some(digest('c')), id('a'), true),
            (None, id('a'), true),
            (None, id('b'), false),
        ] {
            let locked = LockedImage { digest: by_digest, ids };
            assert_eq!(locked.is(&image), is, "{locked:?}");
        }
    }
}
