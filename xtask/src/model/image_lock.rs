//! What `images.lock` says: which content each external reference stands for.

use std::collections::BTreeMap;

use super::{Digest, Identity, ImageId, LocalImage, Platform, Reference};

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
    /// What is in it, by platform. By that it is known again wherever it came from, and whatever a store calls it.
    pub identities: BTreeMap<Platform, Identity>,
    /// What one store calls it, by platform: of lock files that know no identities, and of images that a store cannot
    /// read.
    pub ids: BTreeMap<Platform, ImageId>,
}

impl LockedImage {
    /// An image of a store, in all the terms in which a lock may know it.
    pub fn of(image: &LocalImage, platform: &Platform) -> Self {
        Self {
            digest: image.digests.iter().find_map(Reference::digest).cloned(),
            identities: image.identity.iter().map(|found| (platform.clone(), found.clone())).collect(),
            ids: BTreeMap::from([(platform.clone(), image.id.clone())]),
        }
    }

    /// Whether an image of the store is the locked one. All three are made of content, so it does not matter by which
    /// registry it came, or for which platform something was noted.
    pub fn is(&self, image: &LocalImage) -> bool {
        let is_digest = |digest: &Digest| {
            digest == image.id.digest() || image.digests.iter().any(|known| known.digest() == Some(digest))
        };
        let is_identity = |wanted: &Identity| image.identity.as_ref() == Some(wanted);
        self.digest.as_ref().is_some_and(is_digest)
            || self.identities.values().any(is_identity)
            || self.ids.values().any(|id| *id == image.id)
    }

    /// What it is known by, for people: the digest, else what is in it, else an ID.
    pub fn shown(&self) -> String {
        match (&self.digest, self.identities.values().next(), self.ids.values().next()) {
            (Some(digest), ..) => short(digest),
            (None, Some(identity), _) => format!("content {}", short(identity.digest())),
            (None, None, Some(id)) => format!("image {}", short(id.digest())),
            (None, None, None) => "nothing".to_owned(),
        }
    }

    /// An image that is another one, in the terms of [`Self::shown`].
    pub fn shown_beside(&self, image: &LocalImage) -> String {
        let mut other = Self::of(image, &Platform::local());
        if self.digest.is_none() {
            other.digest = None;
            if self.identities.is_empty() {
                other.identities.clear();
            }
        }
        other.shown()
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
    fn an_image_is_known_by_its_digest_by_what_is_in_it_or_by_its_id() {
        let identity = |fill| -> Identity { digest(fill).as_str().parse().expect("identity") };
        let image = LocalImage {
            id: ImageId::new(digest('a')),
            names: Vec::new(),
            digests: vec![
                format!("mirror.example.com/library/x@{}", digest('b')).parse().expect("reference"),
            ],
            labels: BTreeMap::new(),
            size: 1,
            platform: None,
            identity: Some(identity('d')),
        };
        for (by_digest, by_identity, by_id, is, shown, beside) in [
            (Some('b'), None, None, true, "sha256:bbbb", "sha256:bbbb"),
            (Some('a'), None, None, true, "sha256:aaaa", "sha256:bbbb"),
            (Some('c'), None, None, false, "sha256:cccc", "sha256:bbbb"),
            (Some('d'), None, None, false, "sha256:dddd", "sha256:bbbb"),
            (Some('c'), None, Some('a'), true, "sha256:cccc", "sha256:bbbb"),
            (Some('c'), Some('d'), None, true, "sha256:cccc", "sha256:bbbb"),
            (None, Some('d'), None, true, "content sha256:dddd", "content sha256:dddd"),
            (None, Some('a'), None, false, "content sha256:aaaa", "content sha256:dddd"),
            (None, None, Some('a'), true, "image sha256:aaaa", "image sha256:aaaa"),
            (None, None, Some('d'), false, "image sha256:dddd", "image sha256:aaaa"),
        ] {
            let arm = || Platform::new("linux", "arm64", None);
            let locked = LockedImage {
                digest: by_digest.map(digest),
                identities: by_identity.map(|fill| (arm(), identity(fill))).into_iter().collect(),
                ids: by_id.map(|fill| (arm(), ImageId::new(digest(fill)))).into_iter().collect(),
            };
            assert_eq!(locked.is(&image), is, "{locked:?}");
            assert_eq!(locked.shown(), format!("{shown}{}", &shown[shown.len() - 4..].repeat(2)));
            assert_eq!(
                locked.shown_beside(&image),
                format!("{beside}{}", &beside[beside.len() - 4..].repeat(2))
            );
        }
    }
}
