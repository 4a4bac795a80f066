//! What of a bundle an engine is given. Pure. In: what the bundle holds, what the engine has. Out: a plan, and its text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::contents::Contents;
use super::deliver::{Present, lacking};
use super::inspect::counted;
use super::inventory::Inventory;
use super::layout::made_here;
use super::manifest::{Descriptor, Parcel};
use crate::model::{Digest, Reference};

/// What is done to one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The engine gets it.
    Load {
        /// How many layers it lacks.
        layers: usize,
        /// Their bytes in the bundle.
        size: u64,
    },
    /// It is there, and gets these names.
    Name(Vec<Reference>),
    /// It is there, with all its names.
    Nothing,
}

/// All that a load does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadPlan {
    /// Each image once, those with the fewest layers first.
    pub images: Vec<(Parcel, Action)>,
    /// The blobs of layers that the engine gets.
    pub layers: BTreeSet<Digest>,
}

impl LoadPlan {
    /// What an engine with this inventory lacks of a bundle. It has what the bundle requires.
    pub fn of(contents: &Contents, has: &Inventory) -> Self {
        let mut parcels: BTreeMap<&Digest, Parcel> = BTreeMap::new();
        for member in &contents.manifest().members {
            // What is neither in the bundle nor here was told before.
            let required = || {
                let config = Descriptor { size: 0, ..member.manifest.clone() };
                // It is there already, so nobody reads more of it.
                Some(made_here(member.reference.clone(), config, has.find(member)?.clone(), Vec::new()))
            };
            let Some(image) = contents.image(member).cloned().or_else(required) else { continue };
            let parcel = parcels.entry(&member.image_id).or_insert(Parcel { image, names: Vec::new() });
            for name in member.names() {
                if !parcel.names.contains(name) {
                    parcel.names.push(name.clone());
                }
            }
        }
        let mut parcels: Vec<Parcel> = parcels.into_values().collect();
        parcels.sort_by(|a, b| {
            let order = |parcel: &Parcel| (parcel.image.layers.len(), parcel.names.first().cloned());
            order(a).cmp(&order(b))
        });
        let mut plan = Self::default();
        let mut chains = has.layers.clone();
        for parcel in parcels {
            let action = match has.images.get(&parcel.image.identity) {
                Some(names) => {
                    // Engines give names with a digest to what they pull only.
                    let tags = parcel.names.iter().filter(|name| name.digest().is_none());
                    let lacking: Vec<Reference> =
                        tags.filter(|name| !names.contains(name)).cloned().collect();
                    if lacking.is_empty() { Action::Nothing } else { Action::Name(lacking) }
                }
                None => {
                    let layers = lacking(&parcel.image, &chains);
                    plan.layers.extend(layers.iter().map(|layer| layer.blob.digest.clone()));
                    let (layers, size) = (layers.len(), layers.iter().map(|layer| layer.blob.size).sum());
                    chains.extend(parcel.image.chain_ids());
                    Action::Load { layers, size }
                }
            };
            plan.images.push((parcel, action));
        }
        plan
    }

    /// What [`super::deliver::deliver`] is to deliver.
    pub fn parcels(&self) -> Vec<Parcel> {
        self.images.iter().map(|(parcel, _)| parcel.clone()).collect()
    }

    /// For people; `size` tells bytes.
    pub fn text(&self, size: &dyn Fn(u64) -> String) -> String {
        let mut text = String::new();
        let mut there = 0;
        for (parcel, action) in &self.images {
            let name = parcel.names.first().unwrap_or(&parcel.image.reference).familiar();
            match action {
                Action::Load { layers, size: bytes } => {
                    let layers = counted(*layers, "layer");
                    let _ = writeln!(text, "  load  {name}   {layers}, {}", size(*bytes));
                }
                Action::Name(names) => {
                    let names: Vec<String> = names.iter().map(Reference::familiar).collect();
                    let _ = writeln!(text, "  name  {name}   {}", names.join(", "));
                }
                Action::Nothing => there += 1,
            }
        }
        let _ = writeln!(text, "{} here already", counted(there, "image"));
        text
    }
}

/// What an engine has, as [`super::deliver::deliver`] wants to know it.
impl From<Inventory> for Present {
    fn from(inventory: Inventory) -> Self {
        Self { images: inventory.images, layers: inventory.layers }
    }
}
