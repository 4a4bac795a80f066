//! EFFECT: how large images of a tree were when they were last built, and the time before, kept below `target/xtask`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::inside::Folder;
use crate::model::{ImageId, ImageName, LayerSize};

const FILE: &str = "target/xtask/cache/sizes.json";

/// What is known of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSizes {
    /// The image.
    pub id: ImageId,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerSize>,
    /// Those of the one before.
    #[serde(default)]
    pub before: Vec<LayerSize>,
}

/// By image.
pub fn load(root: &Path) -> BTreeMap<ImageName, KnownSizes> {
    let text = std::fs::read(root.join(FILE)).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Takes over what is there now; what was there before is what another image had.
pub fn follow(
    known: &mut BTreeMap<ImageName, KnownSizes>,
    seen: impl IntoIterator<Item = (ImageName, ImageId, Vec<LayerSize>)>,
) {
    for (name, id, layers) in seen {
        let before = match known.remove(&name) {
            Some(same) if same.id == id => same.before,
            Some(other) => other.layers,
            None => Vec::new(),
        };
        known.insert(name, KnownSizes { id, layers, before });
    }
}

/// Remembers them.
///
/// # Errors
/// The file system's; callers go on without.
pub fn save(root: &Path, known: &BTreeMap<ImageName, KnownSizes>) -> std::io::Result<()> {
    Folder::open(root)?.write(FILE, &serde_json::to_vec(known)?, None)
}
