//! Pure: which images would come out differently now that the tree has changed.
//!
//! In: a tree as it was and as it is, each assessed without an engine, so that base images count by name. Out: the
//! images whose keys differ, with the reasons. Whatever a key covers counts: files, templates, build args, and the
//! images that an image builds on.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use crate::model::{Change, ContextFile, Image, ImageName, ImageSource, Reason};
use crate::plan::build::{Assessment, Contexts};
use crate::read::fingerprint::canonical::differing_files;
use crate::read::graph::ImageGraph;

/// A tree at one time.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// Its images.
    pub graph: &'a ImageGraph,
    /// Their contexts.
    pub contexts: &'a Contexts,
    /// Their keys, in the graph's order.
    pub assessments: &'a [Assessment],
}

/// An image that has to be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// Which.
    pub name: ImageName,
    /// The service's folder name.
    pub service: String,
    /// Its full name.
    pub reference: String,
    /// Images of this tree that it builds on.
    pub needs: Vec<ImageName>,
    /// Why.
    pub reason: String,
}

/// The images of `now`, in build order, that `then` would have made otherwise or did not have.
pub fn affected(then: Side<'_>, now: Side<'_>) -> Vec<Affected> {
    let old: HashMap<&ImageName, &Assessment> = then.assessments.iter().map(|a| (&a.name, a)).collect();
    let images = now.graph.images().iter().zip(now.assessments);
    // An image of several platforms is one, and is affected if one of them is.
    let mut named = BTreeSet::new();
    images
        .filter_map(|(image, assessment)| {
            let before = then.graph.get(&image.name).zip(old.get(&image.name).copied());
            let reason = why(image, assessment, before, then, now)?;
            let needs: BTreeSet<ImageName> = image.needs.iter().map(ImageName::image).collect();
            Some(Affected {
                name: image.name.image(),
                service: image.service.clone(),
                reference: image.known_reference().familiar(),
                needs: needs.into_iter().collect(),
                reason,
            })
        })
        .filter(|affected| named.insert(affected.name.clone()))
        .collect()
}

/// The images that `then` made and `now` does not have any more, in build order.
pub fn removed(then: Side<'_>, now: Side<'_>) -> Vec<ImageName> {
    let left: BTreeSet<ImageName> = now.graph.images().iter().map(|image| image.name.image()).collect();
    let mut named = BTreeSet::new();
    let images = then.graph.images().iter().map(|image| image.name.image());
    images.filter(|name| !left.contains(name) && named.insert(name.clone())).collect()
}

fn why(
    image: &Image,
    assessment: &Assessment,
    before: Option<(&Image, &Assessment)>,
    then: Side<'_>,
    now: Side<'_>,
) -> Option<String> {
    let Some((old_image, old)) = before else { return Some("new".to_owned()) };
    if let (ImageSource::External(source), ImageSource::External(old_source)) =
        (&image.source, &old_image.source)
    {
        let change = Change::BaseImage(source.clone());
        return (source != old_source).then(|| Reason::Changed(vec![change]).to_string());
    }
    let (Some(parts), Some(old_parts)) = (&assessment.parts, &old.parts) else {
        // What cannot be planned is not passed over: whoever broke it has to hear of it.
        return Some(assessment.reason.to_string());
    };
    if assessment.key == old.key {
        return None;
    }
    let counted = |side: Side<'_>| -> Vec<ContextFile> {
        let context = side.contexts.get(&image.name);
        context.map(|c| c.files.counted().cloned().collect()).unwrap_or_default()
    };
    let changes = parts.changes_since(old_parts, || differing_files(&counted(now), &counted(then)));
    Some(Reason::Changed(changes).to_string())
}
