//! What one bundle has that another has not. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::inspect::{InspectedMember, Inspection, counted};
use crate::model::{Digest, Reference};

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
    /// Bytes of the layers that only the new one names.
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
    /// How many of its layers the old bundle does not name.
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
            old.members.iter().flat_map(|m| &m.layers).map(|layer| &layer.digest).collect();
        let new_layers = |members: &mut dyn Iterator<Item = &InspectedMember>| -> BTreeMap<Digest, u64> {
            let layers = members.flat_map(|m| m.layers.iter());
            let unknown = layers.filter(|layer| !known.contains(&layer.digest));
            unknown.map(|layer| (layer.digest.clone(), layer.size)).collect()
        };
        let changed = after.iter().filter_map(|(name, member)| {
            let was = before.get(name).filter(|was| was.member.image_id != member.member.image_id)?;
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

/// Artifacts and files, by their names.
fn files(bundle: &Inspection) -> BTreeMap<&str, &Digest> {
    let artifacts = bundle.artifacts.iter().map(|a| (a.file.as_str(), &a.blob.digest));
    artifacts.chain(bundle.files.iter().map(|file| (file.path.as_str(), &file.blob.digest))).collect()
}
