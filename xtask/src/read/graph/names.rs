//! Pure: which references are images of this tree. The one place that decides it, for every command.
//!
//! An untagged name, `:latest` or the tag that is built, whose repository is an image of this tree, with or without
//! the prefix and a registry, is that image. Another tag is external. No image is its own base: what it names itself
//! is the upstream image, which shares its name (SPEC section 2, "Build").

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::model::{
    AliasRules, Image, ImageName, ImageSource, Originals, Platform, Reference, RegistryPrefix, Upstreams,
};

/// How the images of a tree are named.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    /// The further names that base images, and so images of this tree, answer to.
    pub rules: AliasRules<'a>,
    /// What names begin with.
    pub prefix: &'a str,
    /// `--registry`
    pub registry: Option<&'a RegistryPrefix>,
}

/// Something about a name that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameNote {
    /// Whose Dockerfile names it.
    pub image: ImageName,
    /// As the Dockerfile names it.
    pub reference: Reference,
    /// 1-based line.
    pub line: u32,
    /// What there is to know.
    pub about: About,
}

/// What there is to know about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// It is an image of this tree in another tag than the one that is built.
    OtherTag(ImageName),
    /// It is the upstream image of the image that takes its name; the twin keeps it here.
    SharedName(Reference),
    /// The same, and every further name of the upstream image is taken too.
    NoTwin,
    /// It is an image of this tree that is not made for the platform.
    NotFor(ImageName, Platform),
    /// It is taken for an image of this tree that the prefix keeps apart from what it extends under this name.
    Meant(ImageName),
}

/// What a reference in a Dockerfile stands for.
pub(super) enum Meaning<'a> {
    /// An image of this tree.
    Own(&'a ImageName),
    /// What the image that names it, or an image of the same Dockerfile, extends under its own name.
    Upstream,
    /// An image of this tree in another tag.
    OtherTag(&'a ImageName),
    External,
}

/// All names of a tree's images.
pub(super) struct Names<'a> {
    naming: Naming<'a>,
    owners: HashMap<Reference, ImageName>,
    /// Of services, whose tag is the one that is built.
    repositories: HashMap<String, ImageName>,
    /// Of images that are made for several platforms, which of these each variant is for.
    variants: HashMap<ImageName, Vec<(Platform, ImageName)>>,
    /// Dockerfiles with what they name that an image of theirs is called.
    selves: HashSet<(String, Reference)>,
}

impl<'a> Names<'a> {
    pub(super) fn of(images: &[Image], naming: Naming<'a>) -> Self {
        let (owners, repositories, selves) = (HashMap::new(), HashMap::new(), HashSet::new());
        let mut variants: HashMap<ImageName, Vec<(Platform, ImageName)>> = HashMap::new();
        for image in images {
            if let Some(index) = &image.index {
                let known = variants.entry(index.name.clone()).or_default();
                known.push((image.platform.clone(), image.name.clone()));
            }
        }
        let mut names = Self { naming, owners, repositories, variants, selves };
        // The names that images have come before those that they only answer to.
        for image in images {
            let exact: Vec<Reference> =
                image.known_names().flat_map(|(full, plain)| names.forms(full, plain)).collect();
            names.add(image, exact);
        }
        for image in images.iter().filter(|image| image.base_image().is_none()) {
            let (full, plain) = image.known_names().next().unwrap_or((&image.reference, None));
            let forms = names.forms(full, plain);
            for form in &forms {
                names.repositories.entry(form.repository()).or_insert_with(|| image.name.image());
            }
            names.add(image, forms.iter().filter_map(|form| form.with_tag(LATEST).ok()).collect());
        }
        for image in images.iter().filter(|image| image.base_image().is_none()) {
            let short = names.without_prefix(image);
            names.add(image, short);
        }
        for image in images {
            let ImageSource::Build(target) = &image.source else { continue };
            for base in image.base_images.iter().map(|base| &base.reference) {
                if names.owners.get(base) == Some(&image.name.image()) {
                    names.selves.insert((target.dockerfile.clone(), base.clone()));
                }
            }
        }
        names
    }

    /// A name in all forms in which a Dockerfile may write it.
    fn forms(&self, full: &Reference, plain: Option<&Reference>) -> Vec<Reference> {
        let names = self.naming.rules.names_of(plain.unwrap_or(full));
        let all = [Some(full.clone()), Some(names.original), names.localhost, names.internal];
        all.into_iter().flatten().collect()
    }

    /// The names of an image as if there were no prefix, in the tag that is built and as `:latest`.
    fn without_prefix(&self, image: &Image) -> Vec<Reference> {
        let whole = image.name.image();
        let short =
            whole.as_str().strip_prefix(self.naming.prefix).filter(|_| !self.naming.prefix.is_empty());
        let Some(short) = short else { return Vec::new() };
        let tags = [image.known_reference().tag().unwrap_or(LATEST), LATEST];
        let plain = tags.into_iter().filter_map(|tag| format!("{short}:{tag}").parse::<Reference>().ok());
        plain
            .flat_map(|plain| {
                let full = self.naming.registry.and_then(|registry| registry.join(&plain.familiar()).ok());
                self.forms(&full.unwrap_or_else(|| plain.clone()), Some(&plain))
            })
            .collect()
    }

    fn add(&mut self, image: &Image, names: Vec<Reference>) {
        for name in names {
            // An image that is pulled under the very name that it gets is external after all.
            if !matches!(&image.source, ImageSource::External(source) if *source == name) {
                self.owners.entry(name).or_insert_with(|| image.name.image());
            }
        }
    }

    /// Which image an image's name means for a platform; none where it is not made for that.
    pub(super) fn variant<'s>(&'s self, owner: &'s ImageName, platform: &Platform) -> Option<&'s ImageName> {
        let Some(variants) = self.variants.get(owner) else { return Some(owner) };
        let exact = variants.iter().find(|(known, _)| known == platform);
        let fitting = || variants.iter().find(|(known, _)| known.serves(platform));
        exact.or_else(fitting).map(|(_, name)| name)
    }

    /// What `reference` stands for in the Dockerfile of `image`.
    pub(super) fn meaning(&self, image: &Image, reference: &Reference) -> Meaning<'_> {
        let is_of_file = |target: &str| self.selves.contains(&(target.to_owned(), reference.clone()));
        match (self.owners.get(reference), &image.source) {
            (Some(_), ImageSource::Build(target)) if is_of_file(&target.dockerfile) => Meaning::Upstream,
            (Some(owner), _) => Meaning::Own(owner),
            (None, _) if reference.digest().is_some() => Meaning::External,
            (None, _) => match self.repositories.get(&reference.repository()) {
                Some(owner) if *owner == image.name.image() => Meaning::Upstream,
                Some(owner) => Meaning::OtherTag(owner),
                None => Meaning::External,
            },
        }
    }
}

const LATEST: &str = "latest";

/// The repositories that images of the tree are pulled from.
pub(super) fn pulled_repositories(images: &[Image]) -> BTreeSet<String> {
    let pulled = images.iter().filter_map(|image| match &image.source {
        ImageSource::External(source) => Some(source.repository()),
        ImageSource::Build(_) => None,
    });
    pulled.collect()
}

/// The base images that share their name with what extends them.
#[derive(Default)]
pub(super) struct Shared {
    twins: BTreeMap<Reference, Reference>,
    taken: BTreeSet<Reference>,
}

impl Shared {
    /// Takes in what `image` extends; says what people should know.
    pub(super) fn add(&mut self, image: &Image, base: &Reference, rules: AliasRules<'_>) -> Option<About> {
        let original = Originals::new(rules, []).original_of(base);
        let is_own = |name: &Reference| image.all_names().any(|own| own.repository() == name.repository());
        if !is_own(&original) && !is_own(base) {
            // The prefix keeps them apart.
            return None;
        }
        let is_taken = image.all_names().any(|own| *own == original || own == base);
        let names = rules.names_of(&original);
        let twin = [names.localhost, names.internal].into_iter().flatten().find(|name| !is_own(name));
        let Some(twin) = twin else { return is_taken.then_some(About::NoTwin) };
        for name in [&original, base].into_iter().filter(|name| **name != twin) {
            self.twins.insert(name.clone(), twin.clone());
        }
        self.taken.extend(image.all_names().cloned());
        is_taken.then_some(About::SharedName(twin))
    }

    pub(super) fn done(self) -> Upstreams {
        Upstreams::new(self.twins, self.taken)
    }
}
