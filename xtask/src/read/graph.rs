//! Pure: images to an order in which each comes after what it builds on. A cycle names its path.
//!
//! In: images whose base images are as their Dockerfiles name them. Out: the same images with those bases that
//! this tree produces turned into `needs`, in build order. Never reads anything.

mod names;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{BaseImage, Brought, BuildGroup, Image, ImageName, ImageSource, Reference, Upstreams};
pub use names::{About, NameNote, Naming};
use names::{Meaning, Names, Shared};

/// The images of a tree in build order.
#[derive(Clone, Debug, Default)]
pub struct ImageGraph {
    images: Vec<Image>,
    by_name: HashMap<ImageName, usize>,
    /// Foundation images (`BUILD_PHASE`).
    foundations: Vec<ImageName>,
    /// They and all that they build on: nothing of it waits for a foundation.
    below_foundations: BTreeSet<ImageName>,
    upstreams: Upstreams,
    /// Images of this tree that the triggers of an image copy from, by the names in these.
    left: BTreeMap<ImageName, BTreeMap<Reference, ImageName>>,
}

/// Images that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("images need each other: {}", spell(path))]
pub struct CycleError {
    /// The images on the cycle, each needing the next and the last needing the first; starts with the
    /// alphabetically first one.
    pub path: Vec<ImageName>,
}

fn note(image: &Image, base: &BaseImage, about: About) -> NameNote {
    NameNote { image: image.name.clone(), reference: base.reference.clone(), line: base.line, about }
}

fn spell(path: &[ImageName]) -> String {
    let mut names: Vec<&str> = path.iter().map(ImageName::as_str).collect();
    names.extend(path.first().map(ImageName::as_str));
    names.join(" -> ")
}

impl ImageGraph {
    /// Links images to the images that they build on, under any of the names by which a Dockerfile may ask for these.
    /// Each cycle is reported once; its images stay in the graph, in some order.
    pub fn link(images: Vec<Image>, naming: Naming<'_>) -> (Self, Vec<CycleError>, Vec<NameNote>) {
        let mut images = images;
        images.sort_by(|a, b| a.name.cmp(&b.name));
        let names = Names::of(&images, naming);
        let mut shared = Shared::default();
        let mut notes = Vec::new();
        let mut extended: BTreeSet<String> = names::pulled_repositories(&images);
        let mut selves = BTreeSet::new();
        for image in &mut images {
            for base in std::mem::take(&mut image.base_images) {
                let about = match names.meaning(image, &base.reference) {
                    Meaning::Own(whole) => {
                        let owner = whole;
                        // Without the prefix.
                        if base.reference.path().rsplit('/').next() != Some(owner.as_str()) {
                            notes.push(note(image, &base, About::Meant(owner.clone())));
                        }
                        let platform = base.platform.as_ref().unwrap_or(&image.platform);
                        let Some(owner) = names.variant(owner, platform) else {
                            let about = About::NotFor(owner.clone(), platform.clone());
                            notes.push(note(image, &base, about));
                            continue;
                        };
                        image.needs.insert(owner.clone());
                        match base.platform.filter(|_| names.variant(whole, &image.platform) != Some(owner)) {
                            None => image.asks_for.insert(base.reference, owner.clone()),
                            Some(on) => image.asks_for_on.insert((base.reference, on), owner.clone()),
                        };
                        continue;
                    }
                    Meaning::Upstream => {
                        extended.insert(base.reference.repository());
                        selves.insert((image.name.clone(), base.reference.repository()));
                        shared.add(image, &base.reference, naming.rules)
                    }
                    Meaning::OtherTag(owner) => Some(About::OtherTag(owner.clone())),
                    Meaning::External => None,
                };
                notes.extend(about.map(|about| note(image, &base, about)));
                image.base_images.push(base);
            }
        }
        // Whoever names another tag of what an image of the tree extends, or is, means that and not the image.
        let is_plain = |note: &NameNote| extended.contains(&note.reference.repository());
        notes.retain(|note| match &note.about {
            About::OtherTag(_) => !is_plain(note),
            About::Meant(owner) => selves.contains(&(owner.clone(), note.reference.repository())),
            About::SharedName(_) | About::NoTwin | About::NotFor(..) => true,
        });
        let after = images.iter().map(|i| (i.name.clone(), i.needs.clone())).collect();
        let is_foundation = |i: &&Image| i.group == Some(BuildGroup::Foundation);
        let foundations: Vec<ImageName> =
            images.iter().filter(is_foundation).map(|i| i.name.clone()).collect();
        let (order, cycles) = sort(&after, &foundations);
        let place: HashMap<&ImageName, usize> =
            order.iter().enumerate().map(|(at, name)| (name, at)).collect();
        images.sort_by_key(|image| place.get(&image.name).copied());
        let by_name = images.iter().enumerate().map(|(index, i)| (i.name.clone(), index)).collect();
        let upstreams = shared.done();
        let below_foundations = BTreeSet::new();
        let left = left(&images);
        let mut graph = Self { images, by_name, foundations, below_foundations, upstreams, left };
        graph.below_foundations = graph.closure(&graph.foundations);
        (graph, cycles, notes)
    }

    /// The base images that share their name with an image of this tree.
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// What the triggers (`ONBUILD`) of an image mean by the names of images of this tree that they copy from, where an
    /// image of this tree stands on it.
    pub fn left_by(&self, image: &ImageName) -> impl Iterator<Item = (&Reference, &Image)> {
        let named = self.left.get(image).into_iter().flatten();
        named.filter_map(|(written, name)| Some((written, self.get(name)?)))
    }

    /// All images, each after those that it needs.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The image of that name.
    pub fn get(&self, name: &ImageName) -> Option<&Image> {
        self.images.get(*self.by_name.get(name)?)
    }

    /// These images and all that they need, directly or not.
    pub fn closure<'a>(&self, names: impl IntoIterator<Item = &'a ImageName>) -> BTreeSet<ImageName> {
        let mut all = BTreeSet::new();
        let mut queue: Vec<&ImageName> = names.into_iter().collect();
        while let Some(name) = queue.pop() {
            let Some(image) = self.get(name) else { continue };
            if all.insert(image.name.clone()) {
                queue.extend(&image.needs);
            }
        }
        all
    }

    /// Foundation images that this dependent image waits for although it does not build on them
    /// (`BUILD_PHASE`). What a foundation image builds on waits for none: what builds on what wins.
    pub fn foundations_before(&self, image: &Image) -> &[ImageName] {
        let waits =
            image.group == Some(BuildGroup::Dependent) && !self.below_foundations.contains(&image.name);
        if waits { &self.foundations } else { &[] }
    }
}

/// What the triggers of images mean by the names that they copy from is said by those that stand on them: for one of
/// them a name may be a stage, and then it stays as it is.
fn left(images: &[Image]) -> BTreeMap<ImageName, BTreeMap<Reference, ImageName>> {
    let mut left: BTreeMap<ImageName, BTreeMap<Reference, ImageName>> = BTreeMap::new();
    let mut stages: BTreeSet<(&ImageName, Reference)> = BTreeSet::new();
    for image in images {
        let ImageSource::Build(target) = &image.source else { continue };
        for (base, brought) in &target.triggers {
            let (Some(base), Brought::Known(texts)) = (image.asks_for.get(base), brought) else { continue };
            for name in dockerfile::named_by_triggers(texts) {
                match image.asks_for.get(&name) {
                    Some(owner) => {
                        left.entry(base.clone()).or_default().insert(name, owner.clone());
                    }
                    None => {
                        stages.insert((base, name));
                    }
                }
            }
        }
    }
    for (base, name) in &stages {
        left.get_mut(*base).map(|named| named.remove(name));
    }
    left
}

/// Depth-first, so that the order is the alphabet's where nothing else decides, and each cycle is found once.
fn sort(
    needs: &BTreeMap<ImageName, BTreeSet<ImageName>>,
    foundations: &[ImageName],
) -> (Vec<ImageName>, Vec<CycleError>) {
    let mut sorter =
        Sorter { needs, order: Vec::new(), done: BTreeSet::new(), path: Vec::new(), cycles: Vec::new() };
    let first = foundations.iter().filter_map(|name| needs.get_key_value(name));
    for (name, _) in first.chain(needs) {
        sorter.visit(name);
    }
    (sorter.order, sorter.cycles)
}

struct Sorter<'a> {
    needs: &'a BTreeMap<ImageName, BTreeSet<ImageName>>,
    order: Vec<ImageName>,
    done: BTreeSet<&'a ImageName>,
    path: Vec<&'a ImageName>,
    cycles: Vec<CycleError>,
}

impl<'a> Sorter<'a> {
    fn visit(&mut self, name: &'a ImageName) {
        if self.done.contains(name) {
            return;
        }
        if let Some(start) = self.path.iter().position(|n| *n == name) {
            let mut path: Vec<ImageName> = self.path[start..].iter().map(|n| (*n).clone()).collect();
            let first = path.iter().enumerate().min_by_key(|(_, n)| (*n).clone()).map_or(0, |(i, _)| i);
            path.rotate_left(first);
            self.cycles.push(CycleError { path });
            return;
        }
        self.path.push(name);
        for need in self.needs.get(name).into_iter().flatten() {
            if let Some((need, _)) = self.needs.get_key_value(need) {
                self.visit(need);
            }
        }
        self.path.pop();
        if self.done.insert(name) {
            self.order.push(name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{AliasRules, BaseImage, BuildTarget, ImageKind, ImageSource, Platform};

    fn image(name: &str, bases: &[&str]) -> Image {
        let base_images = bases
            .iter()
            .map(|b| BaseImage { reference: b.parse().unwrap(), platform: None, line: 1 })
            .collect();
        Image {
            name: ImageName::new(name),
            kind: ImageKind::Service,
            service: name.to_owned(),
            reference: format!("{name}:1").parse().unwrap(),
            local_alias: None,
            tags: Vec::new(),
            source: ImageSource::Build(Box::new(BuildTarget::without_text(
                format!("src/{name}/Dockerfile"),
                format!("src/{name}"),
            ))),
            platform: Platform::new("linux", "amd64", None),
            group: None,
            needs: BTreeSet::new(),
            base_images,
            companions: Vec::new(),
            asks_for: BTreeMap::new(),
            asks_for_on: BTreeMap::new(),
            dependency_at: None,
            index: None,
        }
    }

    fn link(images: Vec<Image>) -> (ImageGraph, Vec<CycleError>) {
        let registry = "harbor.example.com/p".parse().unwrap();
        let rules = AliasRules { internal_registry: Some(&registry), prefixes: &BTreeMap::new() };
        let (graph, cycles, _) = ImageGraph::link(images, Naming { rules, prefix: "", registry: None });
        (graph, cycles)
    }

    #[track_caller]
    fn check(images: Vec<Image>, order: &str, cycles: &str) {
        let (graph, found) = link(images);
        let names: Vec<&str> = graph.images().iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names.join(" "), order);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("; "), cycles);
    }

    #[test]
    fn orders_by_what_builds_on_what() {
        check(vec![image("a", &["c:1"]), image("b", &["alpine"]), image("c", &["b:1"])], "b c a", "");
        check(vec![image("a", &["localhost/b:1"]), image("b", &[])], "b a", "");
        check(vec![image("a", &["harbor.example.com/p/b:1"]), image("b", &[])], "b a", "");
        check(vec![image("a", &["b:2"]), image("b", &[])], "a b", "");
    }

    #[test]
    fn spells_cycles_out() {
        check(vec![image("b", &["a:1"]), image("a", &["b:1"])], "b a", "images need each other: a -> b -> a");
        check(
            vec![image("d", &["a:1"]), image("a", &["b:1"]), image("b", &["c:1"]), image("c", &["a:1"])],
            "c b a d",
            "images need each other: a -> b -> c -> a",
        );
    }

    #[test]
    fn foundations_come_first_with_all_that_they_build_on() {
        let mut images = vec![
            image("a", &[]),
            image("b", &["c:1"]),
            image("c", &[]),
            image("y", &["b:1"]),
            image("z", &[]),
        ];
        for (index, group) in [
            (0, BuildGroup::Dependent),
            (1, BuildGroup::Dependent),
            (3, BuildGroup::Foundation),
            (4, BuildGroup::Foundation),
        ] {
            images[index].group = Some(group);
        }
        let (graph, _) = link(images);
        let names: Vec<&str> = graph.images().iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["c", "b", "y", "z", "a"]);
        let before = |name: &str| {
            let image = graph.get(&ImageName::new(name)).unwrap();
            graph.foundations_before(image).iter().map(ImageName::as_str).collect::<Vec<_>>()
        };
        assert_eq!(before("a"), ["y", "z"]);
        for name in ["b", "c", "y", "z"] {
            assert!(before(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn external_bases_stay_external() {
        let (graph, _) = link(vec![image("a", &["alpine:3", "b:1"]), image("b", &[])]);
        let a = graph.get(&ImageName::new("a")).unwrap();
        assert_eq!(a.base_images.len(), 1);
        assert_eq!(graph.closure([&a.name]).len(), 2);
    }

    proptest! {
        #[test]
        fn every_image_comes_after_its_needs(edges in prop::collection::vec((0u8..12, 0u8..12), 0..30)) {
            let images = (0..12u8).map(|n| {
                let bases: Vec<String> = edges.iter().filter(|(a, b)| *a == n && a > b).map(|(_, b)| format!("i{b}:1")).collect();
                image(&format!("i{n}"), &bases.iter().map(String::as_str).collect::<Vec<_>>())
            }).collect();
            let (graph, cycles) = link(images);
            prop_assert!(cycles.is_empty());
            let position = |name: &ImageName| graph.images().iter().position(|i| i.name == *name);
            for image in graph.images() {
                for need in &image.needs {
                    prop_assert!(position(need) < position(&image.name));
                }
            }
        }
    }
}
