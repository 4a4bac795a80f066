//! What an engine is given of a bundle. Pure. In: what the bundle holds, what the engine has. Out: a plan, and its text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::contents::Contents;
use super::deliver::{Present, lacking};
use super::inventory::Inventory;
use super::layout::made_here;
use super::manifest::{Descriptor, NamedImage};
use crate::model::{Digest, Reference, counted};

/// What is done to one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadAction {
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
    pub images: Vec<(NamedImage, LoadAction)>,
    /// The blobs of layers that the engine gets.
    pub layers: BTreeSet<Digest>,
}

impl LoadPlan {
    /// What an engine with this inventory lacks of a bundle. It has what the bundle requires.
    pub fn of(contents: &Contents, has: &Inventory) -> Self {
        let mut named_images: BTreeMap<&Digest, NamedImage> = BTreeMap::new();
        for member in &contents.manifest().members {
            // What is neither in the bundle nor here was told before.
            let required = || {
                let config = Descriptor { size: 0, ..member.manifest.clone() };
                // It is there already, so nobody reads more of it.
                Some(made_here(member.reference.clone(), config, has.find(member)?.clone(), Vec::new()))
            };
            let Some(image) = contents.image(member).cloned().or_else(required) else { continue };
            let named =
                named_images.entry(&member.image_id).or_insert(NamedImage { image, names: Vec::new() });
            for name in member.names() {
                if !named.names.contains(name) {
                    named.names.push(name.clone());
                }
            }
        }
        let mut named_images: Vec<NamedImage> = named_images.into_values().collect();
        named_images.sort_by(|a, b| {
            let order = |named: &NamedImage| (named.image.layers.len(), named.names.first().cloned());
            order(a).cmp(&order(b))
        });
        let mut plan = Self::default();
        let mut chains = has.layers.clone();
        for named in named_images {
            let action = match has.images.get(&named.image.identity) {
                Some(names) => {
                    // Engines give names with a digest to what they pull only.
                    let tags = named.names.iter().filter(|name| name.digest().is_none());
                    let lacking: Vec<Reference> =
                        tags.filter(|name| !names.contains(name)).cloned().collect();
                    if lacking.is_empty() { LoadAction::Nothing } else { LoadAction::Name(lacking) }
                }
                None => {
                    let layers = lacking(&named.image, &chains);
                    plan.layers.extend(layers.iter().map(|layer| layer.blob.digest.clone()));
                    let (layers, size) = (layers.len(), layers.iter().map(|layer| layer.blob.size).sum());
                    chains.extend(named.image.chain_ids());
                    LoadAction::Load { layers, size }
                }
            };
            plan.images.push((named, action));
        }
        plan
    }

    /// What [`super::deliver::deliver`] is to deliver.
    pub fn named_images(&self) -> Vec<NamedImage> {
        self.images.iter().map(|(named, _)| named.clone()).collect()
    }

    /// For people; `size` tells bytes.
    pub fn text(&self, size: &dyn Fn(u64) -> String) -> String {
        let mut text = String::new();
        let mut there = 0;
        for (named, action) in &self.images {
            let name = named.names.first().unwrap_or(&named.image.reference).familiar();
            match action {
                LoadAction::Load { layers, size: bytes } => {
                    let layers = counted(*layers, "layer");
                    let _ = writeln!(text, "  load  {name}   {layers}, {}", size(*bytes));
                }
                LoadAction::Name(names) => {
                    let names: Vec<String> = names.iter().map(Reference::familiar).collect();
                    let _ = writeln!(text, "  name  {name}   {}", names.join(", "));
                }
                LoadAction::Nothing => there += 1,
            }
        }
        let _ = writeln!(text, "{} here already", counted(there, "image"));
        text
    }
}

/// What an engine has, as [`super::deliver::deliver`] wants to know it.
impl From<Inventory> for Present {
    fn from(inventory: Inventory) -> Self {
        Self { images: inventory.images, unnamed: inventory.unnamed, layers: inventory.layers }
    }
}
