//! What a bundle holds, for people and for scripts. Pure. In: [`Contents`]. Out: a document and its text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::contents::Contents;
use super::inventory::{self, Inventory};
use super::manifest::{ArtifactRecord, FileRecord, Member, Proof, Requires};
use crate::model::bundle::ServiceRecord;
use crate::model::{Digest, counted};

const THERE: &str = "has to be there already";

/// `bundle inspect --format json`; it only grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Of this document: 1.
    pub version: u32,
    /// What wrote the bundle.
    pub tool: String,
    /// The tag of the images that were built.
    pub tag: String,
    /// Bytes of all files of the bundle.
    pub size: u64,
    /// How many blobs it holds.
    pub blobs: usize,
    /// Every image.
    pub members: Vec<InspectedMember>,
    /// What a rebuild compares with.
    pub services: Vec<ServiceRecord>,
    /// Downloads that base images are made of.
    pub artifacts: Vec<ArtifactRecord>,
    /// Compose files and the like.
    pub files: Vec<FileRecord>,
    /// What the receiver has to have already.
    pub requires: Requires,
    /// What came of a rebuild with the cable out; null when nobody tried.
    pub proof: Option<Proof>,
}

/// One image of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedMember {
    /// As the bundle's manifest has it.
    #[serde(flatten)]
    pub member: Member,
    /// Whether the bundle holds it; else the receiver has to have it.
    pub held: bool,
    /// Compressed bytes of all its layers, those that the bundle leaves out included.
    pub size: u64,
    /// Compressed bytes that the bundle holds for it alone.
    pub own: u64,
    /// Compressed bytes that the bundle holds for it and for others.
    pub shared: u64,
    /// From the bottom up; empty when the bundle does not hold the image.
    pub layers: Vec<InspectedLayer>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedLayer {
    /// The blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// What it unpacks to.
    pub diff_id: Digest,
    /// What an engine knows it by.
    pub chain_id: Digest,
    /// Whether the bundle holds it.
    pub held: bool,
}

impl Inspection {
    /// Of a bundle.
    pub fn of(contents: &Contents) -> Self {
        let manifest = contents.manifest().clone();
        let held: BTreeSet<&Digest> = contents.large_blobs().map(|blob| &blob.descriptor.digest).collect();
        let mut users: BTreeMap<&Digest, usize> = BTreeMap::new();
        for image in contents.images() {
            let blobs: BTreeSet<&Digest> = image.layers.iter().map(|layer| &layer.blob.digest).collect();
            blobs.into_iter().for_each(|blob| *users.entry(blob).or_default() += 1);
        }
        let members = manifest.members.into_iter().map(|member| {
            let image = contents.image(&member);
            let layers: Vec<InspectedLayer> = image.map_or_else(Vec::new, |image| {
                let layers = image.layers.iter().zip(image.chain_ids());
                let layer = layers.map(|(layer, chain_id)| InspectedLayer {
                    digest: layer.blob.digest.clone(),
                    size: layer.blob.size,
                    diff_id: layer.diff_id.clone(),
                    chain_id,
                    held: held.contains(&layer.blob.digest),
                });
                layer.collect()
            });
            let bytes = |is_own: bool| -> u64 {
                let mut seen = BTreeSet::new();
                let here = layers.iter().filter(|layer| layer.held && seen.insert(&layer.digest));
                here.filter(|l| (users.get(&l.digest) == Some(&1)) == is_own).map(|l| l.size).sum()
            };
            InspectedMember {
                held: image.is_some(),
                size: layers.iter().map(|layer| layer.size).sum(),
                own: bytes(true),
                shared: bytes(false),
                member,
                layers,
            }
        });
        let blobs = contents.bundle().entries();
        Self {
            version: 1,
            tool: manifest.tool,
            tag: manifest.tag,
            size: contents.bundle().size(),
            blobs: blobs.filter(|(name, _)| matches!(name, super::layout::EntryName::Blob(_))).count(),
            members: members.collect(),
            services: manifest.services,
            artifacts: manifest.artifacts,
            files: manifest.files,
            requires: manifest.requires,
            proof: manifest.proof,
        }
    }

    /// What a machine has that has loaded the bundle.
    pub fn inventory(&self) -> Inventory {
        let mut inventory = Inventory { version: inventory::VERSION, ..Inventory::default() };
        for InspectedMember { member, layers, .. } in &self.members {
            inventory.add(member);
            inventory.layers.extend(layers.iter().map(|layer| layer.chain_id.clone()));
        }
        inventory.artifacts.extend(self.artifacts.iter().map(|artifact| artifact.blob.digest.clone()));
        inventory
    }

    /// For people; `size` tells bytes.
    pub fn text(&self, size: &dyn Fn(u64) -> String) -> String {
        let mut text = format!(
            "{} of tag {}, {}, {}, by {}\n",
            counted(self.members.len(), "image"),
            self.tag,
            counted(self.blobs, "blob"),
            size(self.size),
            self.tool
        );
        let width = self.members.iter().map(|m| m.member.reference.familiar().len()).max().unwrap_or(0);
        for InspectedMember { member, held, own, shared, .. } in &self.members {
            let bytes = match held {
                true => format!("{:>9} own {:>9} shared", size(*own), size(*shared)),
                false => format!("{THERE:>30}"),
            };
            let name = member.reference.familiar();
            let _ = write!(text, "  {:9} {name:width$} {bytes}", member.role.name());
            if !member.needed_by.is_empty() {
                let _ = write!(text, "   {}", member.needed_by.join(", "));
            }
            text.push('\n');
            for name in &member.further_names {
                let _ = writeln!(text, "            also {}", name.familiar());
            }
        }
        for artifact in &self.artifacts {
            let is_here = !self.requires.artifacts.contains(&artifact.blob.digest);
            let bytes = if is_here { size(artifact.blob.size) } else { THERE.to_owned() };
            let _ = writeln!(text, "  artifact  {}   {bytes}", artifact.file);
        }
        for file in &self.files {
            let _ = writeln!(text, "  file      {}   {}", file.path, size(file.blob.size));
        }
        if !self.requires.is_empty() {
            let Requires { images, layers, artifacts } = &self.requires;
            let _ = writeln!(
                text,
                "a delta: the receiver has to have {}, {} of others and {} already",
                counted(images.len(), "image"),
                counted(layers.len(), "layer"),
                counted(artifacts.len(), "artifact"),
            );
        }
        text.push_str(&self.proof_text());
        text
    }

    fn proof_text(&self) -> String {
        let Some(Proof { engine, images, .. }) = &self.proof else {
            return "not proven: nobody has rebuilt from it with the cable out\n".to_owned();
        };
        let failed: Vec<_> = images.iter().filter(|image| image.failure.is_some()).collect();
        let (good, all) = (images.len() - failed.len(), images.len());
        let mut text =
            format!("proven on {engine}: {good} of {all} images were rebuilt with the cable out\n");
        for image in failed {
            let why = image.failure.as_deref().unwrap_or_default();
            let _ = writeln!(text, "  {} cannot be rebuilt: {why}", image.name);
        }
        text
    }
}
