//! Stand-ins: names by which a machine knows images that are pinned by digest and that it did not pull. Engines give names
//! with a digest only to what they pull.

use super::{Digest, Reference};

/// The repository of stand-ins on Docker Hub.
const PINNED: &str = "xtask-pinned";

/// The stand-in of a reference; none for one without a digest.
pub fn stand_in(reference: &Reference) -> Option<Reference> {
    format!("{PINNED}:{}", reference.digest()?.hex()).parse().ok()
}

/// The digest that a [`stand_in`] is for.
pub fn stands_for(name: &Reference) -> Option<Digest> {
    let is_one = name.is_of_docker_hub() && name.path().strip_prefix("library/") == Some(PINNED);
    name.tag().filter(|_| is_one).and_then(|hex| format!("sha256:{hex}").parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_names_the_digest_that_it_is_for() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().expect("a digest");
        let pinned: Reference = format!("quay.io/a/b:1@{digest}").parse().expect("a reference");
        let name = stand_in(&pinned).expect("a digest");
        assert_eq!(name.familiar(), format!("xtask-pinned:{}", "a".repeat(64)));
        assert_eq!(stands_for(&name), Some(digest));
        assert_eq!(stand_in(&"alpine:3".parse().expect("a reference")), None);
        assert_eq!(stands_for(&"xtask-pinned:1".parse().expect("a reference")), None);
        assert_eq!(stands_for(&pinned), None);
    }
}
