//! Pure: how large images are, layer by layer, and what grew.

use serde::Serialize;

use super::columns::{Overflow, columns};
use super::text;
use crate::model::LayerSize;

/// What `size` tells; its JSON grows only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizeReport {
    /// Of the format.
    pub version: u32,
    /// One image each.
    pub images: Vec<ImageSizes>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageSizes {
    /// Its name.
    pub name: String,
    /// Its whole name.
    pub reference: String,
    /// Bytes of all layers.
    pub size: u64,
    /// Bytes of the one that was built before; none where nobody knows of one.
    pub before: Option<u64>,
    /// How large it may be.
    pub budget: Option<u64>,
    /// Whether it is larger than that.
    pub over: bool,
    /// Its layers, the lowest first, without those that add nothing.
    pub layers: Vec<LayerGrowth>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerGrowth {
    /// The instruction.
    pub instruction: String,
    /// Bytes.
    pub size: u64,
    /// By how many bytes it is larger than it was; all of it where it was not there, none where nobody knows.
    pub grew: Option<i64>,
}

impl ImageSizes {
    /// From the layers that there are, and those that there were.
    pub fn of(
        (name, reference): (String, String),
        layers: &[LayerSize],
        before: &[LayerSize],
        budget: Option<u64>,
    ) -> Self {
        let total = |layers: &[LayerSize]| layers.iter().map(|layer| layer.size).sum::<u64>();
        let size = total(layers);
        let mut then: Vec<&LayerSize> = before.iter().collect();
        let mut grown = Vec::new();
        for layer in layers {
            let at = then.iter().position(|other| other.instruction == layer.instruction);
            let was = at.map(|at| then.remove(at).size).unwrap_or_default();
            let grew = (!before.is_empty()).then(|| signed(layer.size) - signed(was));
            if layer.size > 0 || grew.is_some_and(|by| by != 0) {
                grown.push(LayerGrowth { instruction: layer.instruction.clone(), size: layer.size, grew });
            }
        }
        let before = (!before.is_empty()).then(|| total(before));
        let over = budget.is_some_and(|budget| size > budget);
        Self { name, reference, size, before, budget, over, layers: grown }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// `+1.2 MB`, `-3 kB`; nothing where nothing grew.
fn growth(by: i64) -> String {
    match by {
        0 => String::new(),
        by => format!("{}{}", if by > 0 { "+" } else { "-" }, text::size(by.unsigned_abs())),
    }
}

impl SizeReport {
    /// For people; `screen` is how many columns there are, none when nobody looks.
    pub fn text(&self, screen: Option<usize>) -> String {
        let mut told = String::new();
        for image in &self.images {
            let since = image.before.map(|before| growth(signed(image.size) - signed(before)));
            let since = since.filter(|by| !by.is_empty()).map(|by| format!(", {by} since the build before"));
            let budget = image.budget.map(|budget| match image.over {
                true => {
                    format!(", {} over its budget of {}", text::size(image.size - budget), text::size(budget))
                }
                false => format!(", of a budget of {}", text::size(budget)),
            });
            told.push_str(&format!(
                "{}  {}{}{}\n",
                image.name,
                text::size(image.size),
                since.unwrap_or_default(),
                budget.unwrap_or_default()
            ));
            let heading = ["  size", "grew", "instruction"].map(str::to_owned).to_vec();
            let rows = image.layers.iter().map(|layer| {
                let grew = layer.grew.map(growth).unwrap_or_default();
                vec![format!("  {}", text::size(layer.size)), grew, layer.instruction.clone()]
            });
            let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
            if rows.len() > 1 {
                told.push_str(&columns(&[Overflow::Keep, Overflow::Keep, Overflow::Cut], &rows, screen));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(of: &[(&str, u64)]) -> Vec<LayerSize> {
        of.iter().map(|(text, size)| LayerSize { instruction: (*text).to_owned(), size: *size }).collect()
    }

    #[test]
    fn what_grew_is_seen_layer_by_layer() {
        let now = layers(&[("base", 2_000_000), ("COPY a", 300_000), ("ENV x", 0), ("RUN new", 5_000_000)]);
        let then = layers(&[("base", 2_000_000), ("COPY a", 200_000), ("ENV x", 0)]);
        let name = || ("api".to_owned(), "api:1".to_owned());
        let image = ImageSizes::of(name(), &now, &then, Some(7_000_000));
        let first = ImageSizes::of(name(), &now, &[], None);
        assert_eq!((image.size, image.before, image.over), (7_300_000, Some(2_200_000), true));
        let report = SizeReport { version: 1, images: vec![image, first] };
        insta::assert_snapshot!(report.text(Some(60)), @r"
        api  7.3 MB, +5.1 MB since the build before, 300 kB over its budget of 7.0 MB
          size    grew     instruction
          2.0 MB           base
          300 kB  +100 kB  COPY a
          5.0 MB  +5.0 MB  RUN new
        api  7.3 MB
          size    instruction
          2.0 MB  base
          300 kB  COPY a
          5.0 MB  RUN new
        ");
    }
}
