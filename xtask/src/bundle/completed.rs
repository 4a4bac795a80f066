//! EFFECT: images of a delta, whole again, for an engine that keeps manifests.
//!
//! Such an engine takes images with all their blobs, and a delta leaves out layers that its receiver has. So these are
//! taken from the receiver's own images. It may have packed them differently from where the bundle was made; then the
//! image gets a manifest that names what is here, and is still the same image under another digest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use super::fetch::{FetchError, fetch};
use super::inventory::Inventory;
use super::layout::{EntryName, made_here};
use super::manifest::{NamedImage, StoredImage, StoredLayer, chain_ids};
use super::open::{BlobSource, Bundle};
use super::store::BlobStore;
use crate::engine::{AnyEngine, EngineError, ImageStore, OnProgress, Store as _};
use crate::model::{Digest, Reference};

/// The blobs of a bundle, and of a store what the bundle leaves out.
#[derive(Clone, Debug)]
pub struct Completed {
    /// The bundle.
    pub bundle: Bundle,
    /// Where the rest is.
    pub store: BlobStore,
}

impl BlobSource for Completed {
    fn open_blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.bundle.size_of(&EntryName::Blob(digest.clone())) {
            Some(_) => self.bundle.open_blob(digest),
            None => self.store.open_blob(digest),
        }
    }
}

/// The same images, with every layer either among the `held` blobs or in the store.
///
/// # Errors
/// [`FetchError`]: what the engine has cannot be got out of it.
pub async fn complete(
    engine: &AnyEngine,
    store: &BlobStore,
    held: &(dyn Fn(&Digest) -> bool + Sync),
    has: &Inventory,
    named_images: Vec<NamedImage>,
    progress: OnProgress<'_>,
) -> Result<Vec<NamedImage>, FetchError> {
    let is_new = |named: &&NamedImage| !has.images.contains_key(&named.image.identity);
    let mut lacking: BTreeSet<Digest> =
        named_images.iter().filter(is_new).flat_map(|named| left_out(&named.image, held)).collect();
    if lacking.is_empty() {
        return Ok(named_images);
    }
    let failed = |source: EngineError| FetchError::Engine { subject: "images".to_owned(), source };
    if engine.survey().await.map_err(failed)?.store != ImageStore::Containerd {
        return Ok(named_images);
    }
    let mut from: Vec<Reference> = Vec::new();
    for names in has.images.values() {
        // A name with a digest does for asking, and not for saving.
        let Some(name) = names.iter().find(|name| name.digest().is_none()) else { continue };
        let Some(details) = engine.details(name).await.map_err(failed)? else { continue };
        let before = lacking.len();
        for chain in chain_ids(&details.layers) {
            lacking.remove(&chain);
        }
        if lacking.len() < before {
            from.push(name.clone());
        }
    }
    let mut here: BTreeMap<Digest, StoredLayer> = BTreeMap::new();
    for image in fetch(engine, store, &from, progress).await? {
        here.extend(image.chain_ids().into_iter().zip(image.layers));
    }
    let completed = named_images.into_iter().map(|named| {
        let is_new = !has.images.contains_key(&named.image.identity);
        let image = if is_new { with_layers(named.image, held, &here) } else { named.image };
        NamedImage { image, names: named.names }
    });
    Ok(completed.collect())
}

/// The chain IDs of the layers of an image that are not held.
fn left_out(image: &StoredImage, held: &dyn Fn(&Digest) -> bool) -> Vec<Digest> {
    let layers = image.layers.iter().zip(image.chain_ids());
    layers.filter(|(layer, _)| !held(&layer.blob.digest)).map(|(_, chain)| chain).collect()
}

/// An image with these layers, by chain ID, in the place of those that are not held.
fn with_layers(
    mut image: StoredImage,
    held: &dyn Fn(&Digest) -> bool,
    here: &BTreeMap<Digest, StoredLayer>,
) -> StoredImage {
    let mut is_other = false;
    let chains = image.chain_ids();
    for (layer, chain) in image.layers.iter_mut().zip(chains) {
        if let Some(found) = here.get(&chain).filter(|_| !held(&layer.blob.digest)) {
            is_other |= found.blob.digest != layer.blob.digest;
            *layer = found.clone();
        }
    }
    if is_other { made_here(image.reference, image.config, image.identity, image.layers) } else { image }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::manifest::Descriptor;
    use crate::model::{Identity, ImageId};

    fn digest(byte: u8) -> Digest {
        Digest::from_sha256(&[byte; 32])
    }

    fn layer(diff_id: u8, blob: u8) -> StoredLayer {
        let blob = Descriptor { media_type: "application/x".to_owned(), digest: digest(blob), size: 1 };
        StoredLayer { diff_id: digest(diff_id), blob }
    }

    #[test]
    fn layers_that_a_delta_leaves_out_are_those_of_the_receiver() {
        let config = layer(0, 9).blob;
        let image = made_here(
            "a:1".parse().unwrap(),
            config,
            Identity::of_stored(&ImageId::new(digest(7))),
            vec![layer(1, 11), layer(2, 12)],
        );
        let held = |digest_of: &Digest| *digest_of == digest(12);
        let chains = image.chain_ids();
        assert_eq!(left_out(&image, &held), chains[..1]);

        let same = BTreeMap::from([(chains[0].clone(), layer(1, 11))]);
        assert_eq!(with_layers(image.clone(), &held, &same), image, "the digest of the manifest survives");

        let packed_otherwise = BTreeMap::from([(chains[0].clone(), layer(1, 13))]);
        let found = with_layers(image.clone(), &held, &packed_otherwise);
        assert_eq!(found.layers, [layer(1, 13), layer(2, 12)]);
        assert_eq!((&found.image_id, &found.identity), (&image.image_id, &image.identity));
        assert_ne!(found.manifest, image.manifest);
    }
}
