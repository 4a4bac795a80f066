//! Pure: what a bundle has to hold so that its images can be rebuilt, and started, where there is no network.
//!
//! In: the images, their stages, the compose files, the store. Out: every [`WantedImage`] image with its role and who needs
//! it, and what of it is [`Missing`]. Nothing is asked, read or written here.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::bundle::{Role, WantedImage};
use crate::model::{
    AliasRules, ArtifactSpec, Image, ImageName, ImageSource, Observed, Originals, Platform, Reference,
    stand_in,
};
use crate::plan::rebuild::lineage::Lineage;
use crate::read::compose::{ComposeProject, ComposeService};
use crate::read::graph::ImageGraph;

/// What decides.
pub struct ClosureInput<'a> {
    /// The images, with all that they build on.
    pub selected: &'a BTreeSet<ImageName>,
    /// All images of the tree.
    pub graph: &'a ImageGraph,
    /// The stages of each that are kept.
    pub lineages: &'a BTreeMap<ImageName, Vec<Lineage>>,
    /// What is started.
    pub compose: &'a [ComposeProject],
    /// How names of base images are made.
    pub rules: AliasRules<'a>,
    /// The store: only names that it has go along.
    pub observed: &'a Observed,
    /// What images are for unless they say otherwise.
    pub platform: &'a Platform,
}

/// All that goes along.
#[derive(Clone, Debug, Default)]
pub struct Closure {
    /// By reference.
    pub images: Vec<WantedImage>,
    /// Downloads that base images of the tree are made of.
    pub artifacts: Vec<(ArtifactSpec, Vec<String>)>,
    /// What will not work there although it goes along.
    pub warnings: Vec<String>,
}

/// An image that has to go along and is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub reference: Reference,
    /// Who needs it, as `file:line`.
    pub needed_by: Vec<String>,
    /// The command that gets it.
    pub command: String,
}

/// Everything that the selected images and the compose files need.
pub fn closure(input: &ClosureInput<'_>) -> Closure {
    let graph = input.graph.images();
    let bases = graph.iter().flat_map(|image| image.base_images.iter().map(|base| &base.reference));
    let originals = Originals::new(input.rules, bases);
    let mut search = Search { input, originals, found: Found::default(), closure: Closure::default() };
    for image in graph.iter().filter(|image| input.selected.contains(&image.name)) {
        search.add_image(image);
    }
    for service in input.compose.iter().flat_map(|project| &project.services) {
        if let Some(reference) = &service.image {
            search.add_service(service, reference);
        }
    }
    Closure { images: search.found.0.into_values().collect(), ..search.closure }
}

/// A closure being made.
struct Search<'a> {
    input: &'a ClosureInput<'a>,
    originals: Originals<'a>,
    found: Found,
    closure: Closure,
}

impl Search<'_> {
    /// An image of the tree with all that it stands on.
    fn add_image(&mut self, image: &Image) {
        let place = place(image);
        let platform = &image.platform;
        self.found.add(&image.reference, Role::Image, &place, platform, image.further_names().cloned());
        if let Some(index) = image.index.as_deref() {
            // Whoever keeps no indexes takes what this engine runs.
            let of_index = self.found.0.get(&index.reference).map(|known| &known.platform);
            if of_index.is_none_or(|known| !known.serves(self.input.platform)) {
                self.found.0.remove(&index.reference);
                self.found.add(&index.reference, Role::Image, &place, platform, index.names().cloned());
            }
        }
        match &image.source {
            ImageSource::External(source) => self.add_external(source, Role::Companion, &place, platform),
            ImageSource::Build(target) => {
                for lineage in self.input.lineages.get(&image.name).into_iter().flatten() {
                    let line = lineage.steps.iter().rev().find(|step| step.keyword == "FROM");
                    let place = format!("{}:{}", target.dockerfile, line.map_or(1, |step| step.line));
                    self.found.add(&lineage.reference, Role::Stage, &place, platform, []);
                }
                self.add_bases(image, &target.dockerfile);
            }
        }
        for companion in &image.companions {
            let place = image.dependency_at.as_deref().unwrap_or(&place);
            self.add_external(companion, Role::Companion, place, platform);
        }
        if let Some(artifact) = image.base_image().and_then(|facts| facts.artifact.as_deref()) {
            match self.closure.artifacts.iter_mut().find(|(known, _)| known == artifact) {
                Some((_, needed_by)) => needed_by.push(place),
                None => self.closure.artifacts.push((artifact.clone(), vec![place])),
            }
        }
    }

    /// What the instructions of an image name.
    fn add_bases(&mut self, image: &Image, dockerfile: &str) {
        let upstreams = self.input.graph.upstreams();
        let frontend = frontend(image, self.input.platform);
        for base in &image.base_images {
            let place = format!("{dockerfile}:{}", base.line);
            let role = if frontend.as_ref() == Some(&base.reference) { Role::Frontend } else { Role::Base };
            // What was built upon a base image may have its name.
            let here = upstreams.find(&base.reference, self.input.observed).map(|(name, _)| name);
            let twin = upstreams.twin_of(&base.reference).filter(|_| upstreams.is_taken(&base.reference));
            let name = here.or(twin).unwrap_or(&base.reference);
            self.add_external(name, role, &place, base.platform.as_ref().unwrap_or(&image.platform));
            if role == Role::Frontend && base.reference.digest().is_some() {
                self.closure.warnings.push(format!(
                    "{place}: the front end {} is pinned by digest, and few engines take a digest from an archive: \
                     name its tag alone, or nothing of this file may be rebuilt there",
                    base.reference.familiar()
                ));
            }
        }
    }

    /// What a service of a compose file runs.
    fn add_service(&mut self, service: &ComposeService, reference: &Reference) {
        let ClosureInput { graph, selected, observed, platform, .. } = self.input;
        let (place, name) = (&service.place, &service.name);
        let mut warn = |why: String| self.closure.warnings.push(format!("{place}: {why}"));
        let shown = reference.familiar();
        if reference.digest().is_some() {
            warn(format!(
                "`{name}` runs {shown}, which is pinned by digest; no engine takes a digest from an archive, so compose \
                 will ask a registry for it there: name the tag alone, or start others with `docker compose up SERVICE`"
            ));
        }
        let is_own =
            |image: &&Image| image.all_names().any(|name| name.repository() == reference.repository());
        match graph.images().iter().find(is_own) {
            None if service.builds && observed.find(reference).is_none() => warn(format!(
                "compose builds {shown} of `{name}` itself, and it does not go along: `docker compose build {name}` first"
            )),
            None => self.add_external(reference, Role::Compose, place, platform),
            Some(image) if !selected.contains(&image.name) => {
                let image = image.name.image();
                warn(format!("`{name}` runs {image}, which is not selected and does not go along"));
            }
            Some(image) if !image.all_names().any(|name| name == reference) => {
                let along = image.known_reference().familiar();
                warn(format!("`{name}` runs {shown}, and {along} is what goes along"))
            }
            Some(_) => {}
        }
    }

    /// An image from elsewhere, under all its names that are here.
    fn add_external(&mut self, reference: &Reference, role: Role, place: &str, platform: &Platform) {
        let ClosureInput { rules, observed, .. } = self.input;
        let names = rules.names_of(&self.originals.original_of(reference));
        let all = std::iter::once(names.original).chain(names.localhost).chain(names.internal);
        let id = observed.find(reference).map(|image| &image.id);
        // A name that is another image is nobody's alias.
        let is_same = |name: &Reference| {
            name != reference && id.is_some() && observed.find(name).map(|image| &image.id) == id
        };
        self.found.add(reference, role, place, platform, all.filter(is_same));
    }
}

/// What of it is not in the store. Images and stages of the tree are built before, so they are not asked for.
pub fn missing(closure: &Closure, observed: &Observed) -> Vec<Missing> {
    let is_external = |wanted: &&WantedImage| !matches!(wanted.role, Role::Image | Role::Stage);
    closure
        .images
        .iter()
        .filter(is_external)
        .filter(|wanted| observed.find(&wanted.reference).is_none())
        .map(|wanted| Missing {
            reference: wanted.reference.clone(),
            needed_by: wanted.needed_by.clone(),
            command: format!("cargo xtask prefetch {}", wanted.reference.familiar()),
        })
        .collect()
}

fn place(image: &Image) -> String {
    match &image.source {
        ImageSource::Build(target) => target.dockerfile.clone(),
        ImageSource::External(_) => image.dependency_at.clone().unwrap_or_default(),
    }
}

fn frontend(image: &Image, build_platform: &Platform) -> Option<Reference> {
    let ImageSource::Build(target) = &image.source else { return None };
    let (file, _) = dockerfile::parse(&target.dockerfile, &target.text);
    let options = target.options(&image.platform, build_platform);
    dockerfile::resolve(&file, &options).syntax
}

/// By reference, each once.
#[derive(Default)]
struct Found(BTreeMap<Reference, WantedImage>);

impl Found {
    fn add(
        &mut self,
        reference: &Reference,
        role: Role,
        needed_by: &str,
        platform: &Platform,
        further_names: impl IntoIterator<Item = Reference>,
    ) {
        let wanted = self.0.entry(reference.clone()).or_insert_with(|| WantedImage {
            reference: reference.clone(),
            further_names: Vec::new(),
            role,
            needed_by: Vec::new(),
            platform: platform.clone(),
        });
        wanted.role = wanted.role.min(role);
        if !wanted.needed_by.iter().any(|known| known == needed_by) {
            wanted.needed_by.push(needed_by.to_owned());
        }
        // What is pinned by digest is found there, and built on, by a name that an archive can carry.
        for name in further_names.into_iter().chain(stand_in(reference)) {
            if name != *reference && !wanted.further_names.contains(&name) {
                wanted.further_names.push(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
