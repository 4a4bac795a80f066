//! Which images a command is about, and what is said where there are none.

use std::collections::BTreeSet;

use super::intent;
use super::world::World;
use crate::cli::error::{Error, ErrorKind};
use crate::model::suggest::did_you_mean;
use crate::model::{Diagnostic, Image, ImageKind, ImageName, ImageSource, Severity};
use crate::plan::{Request, Subject, TagWord};
use crate::read::{discover, tree};

impl World {
    /// The images that `--only`, `--skip` or names on the command line leave, with all that they build on.
    pub fn select(&self, request: &Request) -> Result<BTreeSet<ImageName>, Error> {
        let graph = &self.tree.graph;
        let all = || graph.images().iter().filter(|image| self.is_about(image, request));
        let named = |names: &[String], source: Option<&str>| match request.subject {
            Subject::Services => self.named(names),
            Subject::Stages | Subject::Tests => {
                let is_meant =
                    |name: &ImageName| graph.get(name).is_some_and(|image| self.is_about(image, request));
                Ok(self.named(names)?.into_iter().filter(is_meant).collect())
            }
            Subject::BaseImages => self.of_systems(names, source),
        };
        let unknown = self.unknown_skips(request);
        let skip: Vec<String> = request.skip.iter().filter(|os| !unknown.contains(os)).cloned().collect();
        let chosen: BTreeSet<ImageName> = match request.only.as_slice() {
            [] => all().map(|image| image.name.clone()).collect(),
            only => named(only, request.only_source.as_deref())?,
        };
        let unwanted = named(&skip, request.skip_source.as_deref())?;
        let left: BTreeSet<ImageName> = chosen.difference(&unwanted).cloned().collect();
        if left.is_empty() {
            return Err(self.nothing_selected(request));
        }
        let whole = self.with_all_variants(graph.closure(&left));
        if !request.no_needs {
            return Ok(whole);
        }
        // Whoever pushes all services pushes the base images too that these stand on.
        let is_wanted = |name: &&ImageName| {
            let is_base = || graph.get(name).is_some_and(|image| image.base_image().is_some());
            left.contains(*name) || (request.only.is_empty() && is_base() && !unwanted.contains(*name))
        };
        Ok(whole.iter().filter(is_wanted).cloned().collect())
    }

    /// The one image that a word means: of an image of several platforms the one that runs here.
    ///
    /// # Errors
    /// When it means none or several.
    pub fn the_image(&self, word: &str) -> Result<&Image, Error> {
        let found = self.names().find(word);
        let own = &self.builds_with.platform;
        let runs = |image: &&Image| image.index.is_none() || image.platform.serves(own);
        let running: Vec<&Image> = found.iter().copied().filter(runs).collect();
        match if running.is_empty() { found } else { running }.as_slice() {
            [image] => Ok(image),
            [] => {
                self.select(&Request { only: vec![word.to_owned()], ..Request::of(&[]) })?;
                Err(Error::new(ErrorKind::UnknownName, format!("there is no image `{word}`")))
            }
            several => {
                let names = several.iter().map(|image| image.name.as_str()).collect::<Vec<_>>().join(", ");
                Err(Error::new(ErrorKind::Usage, format!("`{word}` means several images: {names}")))
            }
        }
    }

    /// An image that is needed for one of its platforms is made for all: no index is made of a part.
    fn with_all_variants(&self, needed: BTreeSet<ImageName>) -> BTreeSet<ImageName> {
        let graph = &self.tree.graph;
        let of_several = |name: &&ImageName| graph.get(name).is_some_and(|image| image.index.is_some());
        let whole: BTreeSet<ImageName> = needed.iter().filter(of_several).map(ImageName::image).collect();
        let variants = graph.images().iter().filter(|image| {
            image.index.as_ref().is_some_and(|index| whole.contains(&index.name))
                && !needed.contains(&image.name)
        });
        let further: Vec<&ImageName> = variants.map(|image| &image.name).collect();
        if further.is_empty() {
            return needed;
        }
        self.with_all_variants(graph.closure(needed.iter().chain(further)))
    }

    /// Whether an image is of the kind that a request is about.
    fn is_about(&self, image: &Image, request: &Request) -> bool {
        match request.subject {
            Subject::Services => image.base_image().is_none(),
            Subject::BaseImages => image.base_image().is_some(),
            Subject::Stages => matches!(image.kind, ImageKind::Stage(_)),
            Subject::Tests => self.tree.checks.get(&image.name).is_some_and(|wanted| wanted.test.is_some()),
        }
    }

    /// No image of the kind that is asked for is there, and why.
    fn nothing_there(&self, subject: Subject) -> Error {
        let others: BTreeSet<&str> = self.tree.graph.images().iter().map(|i| i.service.as_str()).collect();
        // Services that were dropped, folders that are nearly some, and what is wrong with the tree as a whole.
        let of_none = |f: &&tree::Finding| f.service.as_deref().is_none_or(|s| !others.contains(s));
        let found = self.tree.findings.iter().filter(of_none).map(|f| f.diagnostic.clone());
        let found: Vec<Diagnostic> = found.filter(|_| subject == Subject::Services).collect();
        if found.iter().any(|found| found.severity == Severity::Error) {
            return Error::of_diagnostics(&found);
        }
        let (none, globs, files, key) = match subject {
            Subject::Services if !others.is_empty() => {
                let listed: Vec<&str> = others.into_iter().collect();
                return Error::new(ErrorKind::NothingSelected, "there are no services in this tree, only base images")
                    .because(format!("the base images are {}", listed.join(", ")))
                    .hint("`cargo xtask base-images` builds them, `cargo xtask base-images --dry-run` shows the plan");
            }
            Subject::Services | Subject::Stages | Subject::Tests => (
                "there are no images in this tree",
                &self.places.services,
                "Dockerfile, Dockerfile.tpl or dependency.conf",
                "services",
            ),
            Subject::BaseImages => (
                "there are no base images in this tree",
                &self.places.base_images,
                "Dockerfile",
                "base_images",
            ),
        };
        let told = Error::new(ErrorKind::NothingSelected, none)
            .because(match globs.iter().any(|glob| discover::names_files(glob)) {
                true => format!("`{}` names no Dockerfile, and no folder with a {files}", globs.join("`, `")),
                false => format!("no folder `{}` has a {files}", globs.join("`, `")),
            })
            .hint(format!("`{key}` in .config/xtask.toml says where they lie"));
        found.iter().fold(told, |told, found| told.because(format!("{}: {}", found.place(), found.message)))
    }

    fn nothing_selected(&self, request: &Request) -> Error {
        let images = || self.tree.graph.images().iter();
        match request.subject {
            Subject::Stages => return self.no_such_stage(request),
            Subject::Tests => {
                return Error::new(ErrorKind::NothingSelected, "there is no test among what is selected").hint(
                    "`test = \"STAGE\"`, or `test = [\"COMMAND\", \"ARG\"]`, in a service's service.toml is one",
                );
            }
            Subject::Services | Subject::BaseImages => {}
        }
        if !images().any(|image| self.is_about(image, request)) {
            return self.nothing_there(request.subject);
        }
        let command = match request.subject {
            Subject::BaseImages => "base-images list",
            Subject::Services | Subject::Stages | Subject::Tests => "status",
        };
        let (only, skip) = match request.subject {
            Subject::Services | Subject::Stages | Subject::Tests => ("--only", "--skip"),
            Subject::BaseImages => ("--os", "--skip-os"),
        };
        let said = [
            (&request.only, &request.only_source, only, "chooses"),
            (&request.skip, &request.skip_source, skip, "leaves out"),
        ];
        let told = Error::new(ErrorKind::NothingSelected, "nothing is selected");
        let told = said.into_iter().filter(|(names, ..)| !names.is_empty()).fold(
            told,
            |told, (names, source, flag, does)| {
                let source = source.as_deref().unwrap_or(flag);
                told.because(format!("{source} {does} {}", names.join(", ")))
            },
        );
        let set_elsewhere = [&request.only_source, &request.skip_source];
        let set_elsewhere = set_elsewhere.into_iter().flatten().filter(|source| !source.starts_with("--"));
        set_elsewhere
            .fold(told, |told, source| told.hint(format!("unset or change {source}")))
            .hint(format!("`cargo xtask {command}` lists all images"))
    }

    /// `--target` names a stage that no Dockerfile has of those that are meant.
    fn no_such_stage(&self, request: &Request) -> Error {
        let named = self.named(&request.only).unwrap_or_default();
        let is_meant = |image: &&Image| {
            image.base_image().is_none() && (named.is_empty() || named.contains(&image.name))
        };
        let stages = self.tree.graph.images().iter().filter(is_meant).filter_map(|image| {
            let ImageSource::Build(target) = &image.source else { return None };
            let (file, _) = dockerfile::parse(&target.dockerfile, &target.text);
            let labels: Vec<String> =
                file.stages.iter().enumerate().map(|(at, stage)| stage.label(at)).collect();
            Some(format!("{} has the stages {}", target.dockerfile, labels.join(", ")))
        });
        let told = Error::new(ErrorKind::UnknownName, "nothing that is selected has this stage");
        stages.fold(told, Error::because)
    }

    /// Systems that are left out by a variable or a setting, and that this tree does not have: those stay when a system
    /// goes, and are a warning. What was just typed is an error.
    pub fn unknown_skips<'a>(&self, request: &'a Request) -> Vec<&'a String> {
        let is_set = request.skip_source.as_deref().is_some_and(|source| !source.starts_with("--"));
        if !request.is_of_bases() || !is_set {
            return Vec::new();
        }
        let systems = self.tree.graph.images().iter().filter_map(|image| Some(&image.base_image()?.os));
        let known: BTreeSet<&String> = systems.collect();
        request.skip.iter().filter(|os| !known.is_empty() && !known.contains(os)).collect()
    }

    /// The base images of these systems.
    fn of_systems(&self, systems: &[String], source: Option<&str>) -> Result<BTreeSet<ImageName>, Error> {
        let images = || self.tree.graph.images().iter().filter_map(|i| Some((i, &i.base_image()?.os)));
        let known: BTreeSet<&str> = images().map(|(_, os)| os.as_str()).collect();
        if let Some(unknown) = systems.iter().find(|os| !known.is_empty() && !known.contains(os.as_str())) {
            let meant = did_you_mean(unknown, known.iter().copied());
            let list = known.iter().copied().collect::<Vec<_>>().join(", ");
            let told = Error::new(ErrorKind::UnknownName, format!("there is no system `{unknown}`{meant}"));
            let told = match source.filter(|source| !source.starts_with("--")) {
                Some(source) => told.because(format!("{source} names it")),
                None => told,
            };
            return Err(told.hint(format!("the systems are {list}")));
        }
        let wanted = images().filter(|(_, os)| systems.contains(os));
        Ok(wanted.map(|(image, _)| image.name.clone()).collect())
    }

    /// Whoever types a service where a tag is expected does not want everything built under that tag.
    pub fn refuse_name_as_tag(&self, request: &Request) -> Result<(), Error> {
        let Some(TagWord { command, word }) = &request.tag_of else { return Ok(()) };
        let found = self.names().called(word);
        let Some(image) = found.first() else { return Ok(()) };
        let (a, what) = if image.service == *word { ("a", "service") } else { ("an", "image") };
        let other = intent::of_services(command).unwrap_or(command);
        Err(Error::new(ErrorKind::Usage, format!("`{word}` is {a} {what}; `{command}` takes a tag"))
            .hint(format!("`cargo xtask {other} {word}` is about this {what} alone"))
            .hint(format!("`cargo xtask {command} --tag {word}` if the tag is to be called that")))
    }

    fn named(&self, names: &[String]) -> Result<BTreeSet<ImageName>, Error> {
        let mut found = BTreeSet::new();
        for name in names {
            let matching = self.names().find(name);
            found.extend(matching.iter().map(|image| image.name.clone()));
            if matching.is_empty() {
                let known: BTreeSet<&str> =
                    self.tree.graph.images().iter().map(|i| i.service.as_str()).collect();
                let all: BTreeSet<ImageName> =
                    self.tree.graph.images().iter().map(|i| i.name.image()).collect();
                let names = || all.iter().map(ImageName::as_str);
                // Without what stands before it in more than one.
                let ending = format!("-{name}");
                let meant = match names().find(|image| image.ends_with(&ending)) {
                    Some(image) => format!(", did you mean `{image}`?"),
                    None => did_you_mean(name, known.iter().copied().chain(names())),
                };
                let list = known.iter().map(|service| self.listed(service)).collect::<Vec<_>>().join(", ");
                return Err(Error::new(
                    ErrorKind::UnknownName,
                    format!("there is no service or image `{name}`{meant}"),
                )
                .hint(format!("the services are {list}")));
            }
        }
        Ok(found)
    }

    /// A service, with the images that it makes under names of their own: `shop (api, worker)`.
    fn listed(&self, service: &str) -> String {
        let images = self.tree.graph.images().iter().filter(|image| image.service == service);
        let names: BTreeSet<ImageName> =
            images.map(|image| image.name.image()).filter(|name| name.as_str() != service).collect();
        match names.len() {
            0 | 1 => service.to_owned(),
            _ => {
                format!("{service} ({})", names.iter().map(ImageName::as_str).collect::<Vec<_>>().join(", "))
            }
        }
    }
}
