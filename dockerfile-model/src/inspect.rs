//! All that is to be said of one Dockerfile, as data.
//!
//! In: a file's text and what is asked of it. Out: one value that serde makes a JSON object of.

use serde::Serialize;

use super::{Base, Options, judge, parse, resolve};
use crate::{Diagnostic, InputPattern, Reference};

/// What [`inspect`] finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The file, as it was given.
    pub path: String,
    /// The stages that the target reaches, in file order.
    pub stages: Vec<InspectedStage>,
    /// External images that the target reaches, normalised, in order of first naming.
    pub base_images: Vec<Reference>,
    /// What it reads of the build context.
    pub inputs: Vec<InputPattern>,
    /// What is wrong, by line.
    pub diagnostics: Vec<Diagnostic>,
}

/// One stage of an [`Inspection`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InspectedStage {
    /// Its name in lower case, or null.
    pub name: Option<String>,
    /// 0-based position in the file, as `COPY --from` counts.
    pub index: usize,
    /// What it stands on: an image, `scratch`, or a stage by name or position.
    pub base: String,
    /// 1-based line of its `FROM`.
    pub line: u32,
}

/// Reads and resolves one Dockerfile.
pub fn inspect(path: &str, text: &str, options: &Options<'_>) -> Inspection {
    let (file, mut diagnostics) = parse(path, text);
    let resolved = resolve(&file, options);
    diagnostics.extend(resolved.diagnostics);
    diagnostics.extend(judge(&resolved.uses, path, None));
    diagnostics.extend(resolved.doubts.into_iter().map(|(_, doubt)| doubt));
    diagnostics.sort_by_key(|diagnostic| diagnostic.line);
    let mut base_images: Vec<Reference> = Vec::with_capacity(resolved.base_images.len());
    for image in resolved.base_images {
        if !base_images.contains(&image.reference) {
            base_images.push(image.reference);
        }
    }
    let stages = resolved.stages.into_iter().map(|stage| InspectedStage {
        name: stage.name,
        index: stage.index,
        base: match stage.base {
            Base::Scratch => "scratch".to_owned(),
            Base::Stage(at) => file.stages.get(at).map_or_else(String::new, |base| base.label(at)),
            Base::Image(reference) => reference.to_string(),
            Base::Unresolved(text) => text,
        },
        line: stage.line,
    });
    Inspection {
        path: path.to_owned(),
        stages: stages.collect(),
        base_images,
        inputs: resolved.inputs,
        diagnostics,
    }
}
