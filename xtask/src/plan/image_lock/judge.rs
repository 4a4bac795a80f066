//! Pure: the store held to a lock. What an engine has under a name is compared; no registry is asked.

use super::text::ReadLock;
use super::uses::Use;
use crate::model::{ImageLock, LocalImage, LockedImage, Platform, Reference};

/// How one external image stands to the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockState {
    /// Every name of it that is here is the locked image.
    AsLocked,
    /// It is not here.
    Absent,
    /// The lock says nothing of it.
    NotLocked,
    /// A name stands for another image here.
    Differs {
        /// Which name.
        name: Reference,
        /// What that is, for people.
        found: String,
    },
}

/// Compares one external image, under each of the names in which the tree, or its aliases, know it. `find` gives what
/// the store has to build on.
pub fn standing<'o>(
    original: &Reference,
    used: &Use,
    further: &[Reference],
    lock: &ImageLock,
    find: impl Fn(&Reference) -> Option<&'o LocalImage>,
) -> LockState {
    let Some(locked) = lock.images.get(original) else { return LockState::NotLocked };
    let named: Vec<(&Reference, &LocalImage)> =
        std::iter::once(original).chain(&used.written).filter_map(|name| Some((name, find(name)?))).collect();
    // An alias only matters where it is what the others are going to be made of.
    let aliases = || further.iter().filter_map(|name| Some((name, find(name)?))).take(1).collect();
    let here: Vec<(&Reference, &LocalImage)> = if named.is_empty() { aliases() } else { named };
    if here.is_empty() {
        return LockState::Absent;
    }
    match here.into_iter().find(|(_, image)| !locked.is(image)) {
        Some((name, image)) => LockState::Differs { name: name.clone(), found: locked.shown_beside(image) },
        None => LockState::AsLocked,
    }
}

/// What the store knows of an image that no registry was asked about, or gave. Of several digests the one that `known`
/// has counts, then one of a repository that the image is asked from.
pub fn of_store(
    image: &LocalImage,
    platform: &Platform,
    sources: &[Reference],
    known: Option<&LockedImage>,
) -> LockedImage {
    let found = LockedImage::of(image, platform);
    // A store that keeps manifests has a digest for everything, whether or not a registry knows it.
    if let Some(known) = known.filter(|known| known.is(image)) {
        return LockedImage { digest: known.digest.clone(), ..found };
    }
    let mut digests: Vec<&Reference> = image.digests.iter().collect();
    let rank =
        |pinned: &Reference| sources.iter().position(|source| source.repository() == pinned.repository());
    digests.sort_by_key(|pinned| (rank(pinned).unwrap_or(usize::MAX), pinned.digest().cloned()));
    LockedImage { digest: digests.first().and_then(|pinned| pinned.digest().cloned()), ..found }
}

/// `images.lock:7`: where the lock speaks of an image.
pub fn place(file: &str, lock: &ReadLock, original: &Reference) -> String {
    match lock.lines.get(original) {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::ImageId;
    use crate::model::{Capabilities, Digest, Identity, Observed};

    fn digest(fill: char) -> Digest {
        format!("sha256:{}", String::from(fill).repeat(64)).parse().expect("a digest")
    }

    fn identity(fill: char) -> Identity {
        digest(fill).as_str().parse().expect("an identity")
    }

    fn parse(text: &str) -> Reference {
        text.parse().expect(text)
    }

    fn image(id: char, names: &[&str], digests: &[(&str, char)]) -> LocalImage {
        let pinned = |(name, fill): &(&str, char)| parse(name).pinned(&digest(*fill));
        LocalImage {
            id: ImageId::new(digest(id)),
            names: names.iter().map(|name| parse(name)).collect(),
            digests: digests.iter().map(pinned).collect(),
            labels: BTreeMap::new(),
            size: 1,
            platform: None,
            identity: None,
        }
    }

    fn observed(images: Vec<LocalImage>) -> Observed {
        let capabilities = Capabilities {
            name: "docker".to_owned(),
            version: "20.10.24".to_owned(),
            api: (1, 41),
            buildkit: true,
            platform: Platform::local(),
            keeps: Default::default(),
        };
        Observed::new(capabilities, images)
    }

    #[track_caller]
    fn check(images: Vec<LocalImage>, expected: &str) {
        let locked = LockedImage {
            digest: Some(digest('a')),
            identities: BTreeMap::from([("linux/arm64".parse().expect("platform"), identity('e'))]),
            ..LockedImage::default()
        };
        let lock = ImageLock { images: BTreeMap::from([(parse("x:1"), locked)]) };
        let used = Use { written: [parse("h.example.com/x:1")].into(), ..Use::default() };
        let store = observed(images);
        let found = standing(&parse("x:1"), &used, &[parse("localhost/x:1")], &lock, |name| store.find(name));
        let told = match found {
            LockState::Differs { name, found } => format!("{} is {found}", name.familiar()),
            other => format!("{other:?}"),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn every_name_that_a_build_may_use_has_to_be_the_locked_image() {
        check(vec![], "Absent");
        check(vec![image('1', &["x:1"], &[("x", 'a')])], "AsLocked");
        check(vec![image('1', &["x:1"], &[("mirror.example.com/x", 'a')])], "AsLocked");
        check(vec![image('1', &["x:1"], &[("x", 'b')])], "x:1 is sha256:bbbbbbbbbbbb");
        check(vec![image('1', &["x:1"], &[])], "x:1 is image sha256:111111111111");
        let loaded =
            |fill| LocalImage { identity: Some(identity(fill)), ..image('1', &["x:1"], &[("x", '2')]) };
        check(vec![loaded('e')], "AsLocked");
        check(vec![loaded('f')], "x:1 is sha256:222222222222");
        let good = || image('1', &["x:1"], &[("x", 'a')]);
        check(
            vec![good(), image('2', &["h.example.com/x:1"], &[])],
            "h.example.com/x:1 is image sha256:222222222222",
        );
        check(vec![good(), image('2', &["localhost/x:1"], &[])], "AsLocked");
        check(vec![image('2', &["localhost/x:1"], &[])], "localhost/x:1 is image sha256:222222222222");
    }

    #[test]
    fn the_store_speaks_for_itself_where_no_registry_does() {
        let platform = Platform::new("linux", "amd64", None);
        let of = |image: &LocalImage, known: Option<&LockedImage>| {
            let found = of_store(image, &platform, &[parse("m.example.com/x:1"), parse("x:1")], known);
            (
                found.digest.map(|d| d.hex()[..1].to_owned()),
                found.ids[&platform].digest().hex()[..1].to_owned(),
            )
        };
        let said = |digest: Option<&str>| (digest.map(str::to_owned), "1".to_owned());
        assert_eq!(of(&image('1', &[], &[]), None), said(None));
        let many = image('1', &[], &[("x", 'c'), ("z.example.com/x", 'a'), ("m.example.com/x", 'd')]);
        assert_eq!(of(&many, None), said(Some("d")), "where it is asked from first");
        let known = LockedImage { digest: Some(digest('a')), ..LockedImage::default() };
        assert_eq!(of(&many, Some(&known)), said(Some("a")), "what is locked stays locked");
        let by_id = LockedImage {
            digest: Some(digest('f')),
            ids: [(platform.clone(), ImageId::new(digest('1')))].into(),
            ..LockedImage::default()
        };
        assert_eq!(of(&image('1', &[], &[]), Some(&by_id)), said(Some("f")), "also by its ID");
        let by_content = LockedImage {
            digest: Some(digest('f')),
            identities: [(platform.clone(), identity('e'))].into(),
            ..LockedImage::default()
        };
        let loaded = LocalImage { identity: Some(identity('e')), ..image('1', &[], &[("x", 'c')]) };
        assert_eq!(of(&loaded, Some(&by_content)), said(Some("f")), "or by what is in it");
        let bare = LockedImage { digest: None, ..by_content };
        assert_eq!(of(&loaded, Some(&bare)), said(None), "and nothing has moved");
    }
}
