//! `clean`: what is looked for, and whether it goes.

use clap::Args;

use super::{Format, Tag};
use crate::settings::{Layer, Positive};

/// `clean`
#[derive(Debug, Args)]
#[command(after_help = "\
Without --images, --left, --runs or --caches it looks for images, for what broken-off runs left, and for old records. \
It shows what would go, and why, before anything does: on a terminal it asks, elsewhere it wants --yes. With --yes \
images of other tags stay, unless --images, --all, --tag or --older-than says that they go.

Only images that this program built for this tree are ever removed. An image stays, with all its names, while a \
container uses it (running or not), while this tree asks for any of its names (its images, its base images and all \
their aliases, its compose files), or while another image that stays was built on it.")]
pub struct Clean {
    /// Images of this tree that nothing needs any more: superseded, of services that are gone, of other tags; and stages that belong to no image
    #[arg(long)]
    pub images: bool,
    /// Containers, registries and names left by runs that are over
    #[arg(long)]
    pub left: bool,
    /// Records of runs, except the newest
    #[arg(long)]
    pub runs: bool,
    /// What is made or downloaded again when it is needed: layers kept for bundles, lists of files, broken-off downloads
    #[arg(long)]
    pub caches: bool,
    /// All of these
    #[arg(long, conflicts_with_all = ["images", "left", "runs", "caches"])]
    pub all: bool,
    /// Of images with other tags, only those with this one; repeat for more
    #[arg(short, long, value_name = "TAG", value_delimiter = ',')]
    pub tag: Vec<Tag>,
    /// Of images with other tags, only those built longer ago than this, such as 30d or 12w
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<u64>,
    /// How many records of runs to keep [default: keep_runs of the settings, 50]
    #[arg(long, value_name = "N")]
    pub keep_runs: Option<Positive>,
    /// Show what would be removed and do nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Remove it without asking
    #[arg(short, long)]
    pub yes: bool,
    /// How to answer
    #[arg(long, default_value = "human")]
    pub format: Format,
}

impl Clean {
    /// What these options set.
    pub fn layer(&self) -> Layer {
        Layer { keep_runs: self.keep_runs, ..Layer::default() }
    }

    /// Whether images are looked for. Whoever says which tags means images.
    pub fn wants_images(&self) -> bool {
        self.chooses_tags() || self.wants_usual()
    }

    /// Whether somebody said that images of other tags go: by their tags, or by asking for images.
    pub fn chooses_tags(&self) -> bool {
        self.images || self.all || !self.tag.is_empty() || self.older_than.is_some()
    }

    /// Whether what runs left is looked for.
    pub fn wants_left(&self) -> bool {
        self.left || self.all || self.wants_usual()
    }

    /// Whether records are looked for.
    pub fn wants_runs(&self) -> bool {
        self.runs || self.all || self.wants_usual()
    }

    /// Whether caches are looked for.
    pub fn wants_caches(&self) -> bool {
        self.caches || self.all
    }

    fn wants_usual(&self) -> bool {
        !(self.images || self.left || self.runs || self.caches)
    }
}

/// `30d`, `12w`, `1y`: in days.
fn age(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no age: expected days, weeks or years, such as 30d, 12w or 1y");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let days = match unit {
        'd' => 1,
        'w' => 7,
        'y' => 365,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(days).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_have_a_unit() {
        for (text, days) in [("30d", 30), ("12w", 84), ("1y", 365), ("0d", 0)] {
            assert_eq!(age(text), Ok(days), "{text}");
        }
        for text in
            ["", "30", "d", "-1d", "1.5d", "30 d", "3ä", "99999999999999999999d", "9999999999999999999y"]
        {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
