//! The tag, of commands that take it as their first word.

use clap::Args;

use crate::plan::TagWord;
use crate::settings::{Layer, Tag};

/// Which tag.
#[derive(Clone, Debug, Default, Args)]
pub struct Tagged {
    /// The tag of the images
    #[arg(value_name = "TAG", conflicts_with = "tag")]
    pub first_word: Option<Tag>,
    /// The same as an option
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
}

impl Tagged {
    /// What it sets.
    pub fn layer(&self) -> Layer {
        Layer { tag: self.first_word.clone().or_else(|| self.tag.clone()), ..Layer::default() }
    }

    /// The first word of a command: whoever types a service there means something else.
    pub fn word_of(&self, command: &'static str) -> Option<TagWord> {
        self.first_word.as_ref().map(|tag| TagWord { command, word: tag.0.clone() })
    }
}
