//! What one bundle has that another has not. Pure. Images are the same when the same is in them, and layers when they
//! unpack to the same: bundles of two kinds of store have other configs and blobs for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::inspect::{InspectedMember, Inspection};
use super::manifest::Member;
use crate::model::{Digest, Reference, counted};

/// `bundle diff --format json`; it only grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleDiff {
    /// Of this document: 1.
    pub version: u32,
    /// Names that only the new one has.
    pub added: Vec<Reference>,
    /// Names that only the old one has.
    pub removed: Vec<Reference>,
    /// Names that are other images now.
    pub changed: Vec<ChangedMember>,
    /// How many names are the same images.
    pub unchanged: usize,
    /// Artifacts and files that are new or other ones now, by their names.
    pub changed_files: Vec<String>,
    /// Artifacts and files that only the old one has.
    pub removed_files: Vec<String>,
    /// Bytes of the layers that only the new one has.
    pub new_bytes: u64,
}

/// A name that is another image now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedMember {
    /// The name.
    pub reference: Reference,
    /// What it was.
    pub old: Digest,
    /// What it is.
    pub new: Digest,
    /// How many of its layers the old bundle does not have.
    pub new_layers: usize,
    /// Their bytes.
    pub new_bytes: u64,
}

impl BundleDiff {
    /// From one to another.
    pub fn between(old: &Inspection, new: &Inspection) -> Self {
        let names = |bundle: &Inspection| -> BTreeMap<Reference, InspectedMember> {
            let each = bundle.members.iter();
            each.flat_map(|m| m.member.names().map(|name| (name.clone(), m.clone()))).collect()
        };
        let (before, after) = (names(old), names(new));
        let known: BTreeSet<&Digest> =
            old.members.iter().flat_map(|m| &m.layers).map(|layer| &layer.diff_id).collect();
        let new_layers = |members: &mut dyn Iterator<Item = &InspectedMember>| -> BTreeMap<Digest, u64> {
            let layers = members.flat_map(|m| m.layers.iter());
            let unknown = layers.filter(|layer| !known.contains(&layer.diff_id));
            unknown.map(|layer| (layer.diff_id.clone(), layer.size)).collect()
        };
        let changed = after.iter().filter_map(|(name, member)| {
            let was = before.get(name).filter(|was| !is_same_image(&was.member, &member.member))?;
            let layers = new_layers(&mut std::iter::once(member));
            Some(ChangedMember {
                reference: name.clone(),
                old: was.member.image_id.clone(),
                new: member.member.image_id.clone(),
                new_layers: layers.len(),
                new_bytes: layers.values().sum(),
            })
        });
        let changed: Vec<ChangedMember> = changed.collect();
        let added: Vec<Reference> = after.keys().filter(|name| !before.contains_key(name)).cloned().collect();
        let (files_before, files_after) = (files(old), files(new));
        let is_same = |(name, digest): &(&&str, &&Digest)| files_before.get(**name) == Some(digest);
        Self {
            version: 1,
            unchanged: after.len() - added.len() - changed.len(),
            removed: before.keys().filter(|name| !after.contains_key(name)).cloned().collect(),
            added,
            changed,
            changed_files: files_after.iter().filter(|f| !is_same(f)).map(|(n, _)| (*n).to_owned()).collect(),
            removed_files: files_before
                .keys()
                .filter(|name| !files_after.contains_key(**name))
                .map(|name| (*name).to_owned())
                .collect(),
            new_bytes: new_layers(&mut new.members.iter()).values().sum(),
        }
    }

    /// For people; `size` tells bytes.
    pub fn text(&self, size: &dyn Fn(u64) -> String) -> String {
        let mut text = String::new();
        for name in &self.added {
            let _ = writeln!(text, "  added    {}", name.familiar());
        }
        for changed in &self.changed {
            let _ = writeln!(
                text,
                "  changed  {}  {} -> {}, {}, {}",
                changed.reference.familiar(),
                changed.old.short(),
                changed.new.short(),
                counted(changed.new_layers, "new layer"),
                size(changed.new_bytes)
            );
        }
        for name in &self.removed {
            let _ = writeln!(text, "  removed  {}", name.familiar());
        }
        for name in &self.changed_files {
            let _ = writeln!(text, "  changed  {name}");
        }
        for name in &self.removed_files {
            let _ = writeln!(text, "  removed  {name}");
        }
        let unchanged = counted(self.unchanged, "name");
        let _ = writeln!(text, "{unchanged} unchanged, {} of new layers", size(self.new_bytes));
        text
    }
}

fn is_same_image(old: &Member, new: &Member) -> bool {
    match (&old.identity, &new.identity) {
        (Some(old), Some(new)) => old == new,
        // Of what a bundle of version 1 only requires.
        _ => old.image_id == new.image_id,
    }
}

/// Artifacts and files, by their names.
fn files(bundle: &Inspection) -> BTreeMap<&str, &Digest> {
    let artifacts = bundle.artifacts.iter().map(|a| (a.file.as_str(), &a.blob.digest));
    artifacts.chain(bundle.files.iter().map(|file| (file.path.as_str(), &file.blob.digest))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(byte: u8) -> String {
        Digest::from_sha256(&[byte; 32]).to_string()
    }

    /// A bundle with one image of two layers; `packed` is how its store packs them.
    fn bundle(identity: Option<u8>, packed: u8, diff_ids: [u8; 2]) -> Inspection {
        let layers = diff_ids.map(|diff_id| {
            json!({ "digest": digest(packed + diff_id), "size": 10, "diff_id": digest(diff_id),
                    "chain_id": digest(diff_id), "held": true })
        });
        let blob = json!({ "mediaType": "m", "digest": digest(packed), "size": 1 });
        let mut member = json!({ "reference": "a:1", "role": "base", "platform": "linux/amd64",
            "image_id": digest(packed), "manifest": blob, "held": true, "size": 20, "own": 20, "shared": 0,
            "layers": layers });
        if let Some(identity) = identity {
            member["identity"] = digest(identity).into();
        }
        serde_json::from_value(
            json!({ "version": 1, "tool": "t", "tag": "v1", "size": 1, "blobs": 1, "members": [member],
            "services": [], "artifacts": [], "files": [], "requires": {}, "proof": null }),
        )
        .unwrap()
    }

    #[test]
    fn the_same_image_of_another_store_is_the_same() {
        let of_graph = bundle(Some(1), 100, [1, 2]);
        for (what, new, told) in [
            ("packed otherwise", bundle(Some(1), 200, [1, 2]), (1, 0)),
            ("another top layer", bundle(Some(2), 200, [1, 3]), (0, 10)),
            ("another config", bundle(Some(3), 200, [1, 2]), (0, 0)),
            ("only required, by its ID", bundle(None, 100, [1, 2]), (1, 0)),
            ("only required, by another ID", bundle(None, 200, [1, 2]), (0, 0)),
        ] {
            let diff = BundleDiff::between(&of_graph, &new);
            assert_eq!((diff.unchanged, diff.new_bytes), told, "{what}");
            assert_eq!(diff.changed.len(), 1 - diff.unchanged, "{what}");
        }
    }
}
