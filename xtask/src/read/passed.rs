//! EFFECT: the tests that passed in a tree, kept below `target/xtask`. Without the file they are run once more.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host::inside::Folder;
use crate::model::{ImageName, Passed};

const FILE: &str = "target/xtask/cache/tests.json";

/// By the image that was tested.
pub fn load(root: &Path) -> BTreeMap<ImageName, Passed> {
    let text = std::fs::read(root.join(FILE)).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Adds to them.
///
/// # Errors
/// The file system's; callers warn and go on.
pub fn add(root: &Path, passed: BTreeMap<ImageName, Passed>) -> std::io::Result<()> {
    if passed.is_empty() {
        return Ok(());
    }
    let mut all = load(root);
    all.extend(passed);
    Folder::open(root)?.write(FILE, &serde_json::to_vec(&all)?, None)
}
