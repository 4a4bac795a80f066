//! Decides. Pure: from a request, the images of the tree, the settings and what was observed to a [`Plan`].
//!
//! One file per phase, named as the phase. `plan` never performs IO: what a planner has to know is handed to it.
//!
//! [`Plan`]: crate::model::Plan

pub mod affected;
pub mod alias;
pub mod bake;
pub mod build;
pub mod cache;
pub mod download;
pub mod explain;
pub mod keep;
pub mod locked;
pub mod prefetch;
pub mod push;
pub mod render;
pub mod shards;
pub mod stand_ins;
pub mod sync_config;
pub mod verify;
