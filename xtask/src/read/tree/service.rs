//! EFFECT: one service to images with hashed contexts, and everything that is wrong with it.
//!
//! In: the folder as discover found it, the settings. Out: a [`ReadService`]. A service that cannot be read still
//! has an image, so that `status` can name it. Knows nothing of the other services.

use std::collections::{BTreeMap, BTreeSet};

use super::ReadInput;
use super::owner::Owner;
use crate::model::{
    BaseImage, BuildGroup, BuildTarget, Checks, Diagnostic, Image, ImageKind, ImageName, ImageSource,
    Indexes, ParseReferenceError, Platform, Reference, Severity,
};
use crate::plan::build::Prepared;
use crate::read::conf::{self, TargetLine, UnknownKey};
use crate::read::conf::{BUILD_CONF, BUILD_TARGETS, DEPENDENCY, SERVICE_TOML};
use crate::read::discover::{DOCKERFILE, ServiceSource};
use crate::read::fingerprint::cache::HashCache;
use crate::read::fingerprint::listing::Listings;

/// What one folder came to.
pub(super) struct ReadService {
    /// The service.
    pub name: String,
    /// Who makes its images.
    pub owner: Owner,
    /// Its images, each with its context.
    pub images: Vec<(Image, Prepared)>,
    /// `needs` of `service.toml`, each with the file and the line by which it says so.
    pub needs: Vec<(String, String, u32)>,
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// Keys of `build.conf` that mean nothing here.
    pub unknown_keys: Vec<UnknownKey>,
    /// What is wanted of its images.
    pub checks: Vec<(ImageName, Checks)>,
    /// What is odd with an external image, if no image of this tree has its name.
    pub doubts: Vec<(Reference, Diagnostic)>,
    /// Whole names of its image, where somebody gives them.
    pub names: Vec<String>,
}

/// Reads one folder.
pub(super) struct Reader<'a> {
    /// What is known of the whole tree.
    pub input: &'a ReadInput<'a>,
    /// The folder.
    pub service: &'a ServiceSource,
    /// Listings that all services share.
    pub listings: &'a Listings,
    /// Hashes that all services share.
    pub hashes: &'a HashCache,
}

impl ReadService {
    /// A folder of which nothing but its listing is known.
    pub(super) fn begin(name: String, reader: &Reader<'_>) -> Self {
        let mut diagnostics = reader.service.problems.clone();
        diagnostics.extend(reader.input.said_of(reader.service));
        Self {
            name,
            owner: Owner::of(reader.service),
            images: Vec::new(),
            needs: Vec::new(),
            diagnostics,
            unknown_keys: Vec::new(),
            checks: Vec::new(),
            doubts: Vec::new(),
            names: Vec::new(),
        }
    }

    /// Whether there is no image, for something is wrong.
    pub(super) fn is_broken(&self) -> bool {
        self.images.is_empty() && !is_sound(&self.diagnostics)
    }
}

impl Reader<'_> {
    /// Reads it.
    pub(super) fn read(&self) -> ReadService {
        let service = self.service;
        let mut read = ReadService::begin(service.service().to_owned(), self);
        let settings = self.settings(&mut read);
        let group = self.group(&mut read);
        let said = &mut read.diagnostics;
        let dependency = self
            .text(DEPENDENCY)
            .and_then(|text| keep(said, conf::parse_dependency(&service.path(DEPENDENCY), text)));
        let dependency_at =
            dependency.as_ref().map(|found| format!("{}:{}", service.path(DEPENDENCY), found.line));
        let targets = self
            .text(BUILD_TARGETS)
            .and_then(|text| keep(said, conf::parse_build_targets(&service.path(BUILD_TARGETS), text)))
            .unwrap_or_default();
        if !targets.is_empty() {
            read.names.clear();
        }
        let platforms = self.platforms(&settings, said);
        let platform = &platforms[0];
        let lower = service.name.to_lowercase();
        let base = settings.image.as_deref().unwrap_or(&lower);
        if targets.is_empty() {
            said.extend(self.lowered(&settings, &lower));
        }
        let dependency = dependency.map(|found| found.reference);
        match (self.text(DOCKERFILE), dependency) {
            (Some(dockerfile), dependency) => {
                let names: Vec<(Option<&str>, &str)> = match targets.as_slice() {
                    [] => vec![(settings.target.as_deref(), base)],
                    some => some.iter().map(|t| (Some(t.stage.as_str()), t.image.as_str())).collect(),
                };
                let companions = dependency.into_iter().collect();
                let facts = ServiceFacts {
                    dockerfile,
                    settings: &settings,
                    group,
                    platforms: &platforms,
                    companions,
                };
                let stages = self.stages(base, &facts);
                self.read_dockerfile(&mut read, &names, &stages, &facts);
                self.check(&mut read, &stages, &facts);
                self.place_unknown_stages(&mut read.diagnostics, &targets, &settings);
            }
            (None, Some(source)) => {
                self.add_image(&mut read, base, ImageSource::External(source), platform, group);
            }
            (None, None) if !is_sound(&read.diagnostics) => {}
            (None, None) => read.diagnostics.extend(self.nothing_to_build()),
        }
        for (image, _) in &mut read.images {
            image.dependency_at.clone_from(&dependency_at);
        }
        if read.is_broken() {
            // It still has an image, so that it is named and counted.
            let target = BuildTarget::without_text(service.path(DOCKERFILE), service.dir.clone());
            self.add_image(&mut read, base, ImageSource::Build(Box::new(target)), platform, group);
        }
        read
    }

    /// What is said where its image has not quite its name.
    fn lowered(&self, settings: &conf::ServiceSettings, lower: &str) -> Option<Diagnostic> {
        let is_named = settings.image.is_some() || !settings.names.is_empty();
        if is_named || lower == self.service.name {
            return None;
        }
        let message = format!(
            "image names have no capitals, so its image is named {lower}; `image` in {} names another one",
            self.service.path(SERVICE_TOML)
        );
        Some(Diagnostic::warning(&self.service.dir, 0, message))
    }

    pub(super) fn text(&self, file: &str) -> Option<&str> {
        self.service.text(file, self.input.rendered)
    }

    /// What `service.toml` says; the defaults where there is none, or none that can be read.
    pub(super) fn settings(&self, read: &mut ReadService) -> conf::ServiceSettings {
        let path = self.service.path(SERVICE_TOML);
        let parsed = self
            .text(SERVICE_TOML)
            .map(|text| conf::parse_service_toml(&path, text).and_then(|file| self.of_entry(file)));
        let mut settings = parsed.and_then(|parsed| keep(&mut read.diagnostics, parsed)).unwrap_or_default();
        read.diagnostics.extend(settings.warnings.iter().cloned());
        read.diagnostics.extend(self.refuse_dockerfile(&settings));
        read.needs = settings
            .needs
            .iter()
            .map(|need| (need.clone(), path.clone(), self.service.settings_line()))
            .collect();
        self.complete(&mut settings, read);
        settings
    }

    fn group(&self, read: &mut ReadService) -> Option<BuildGroup> {
        let parsed = conf::parse_build_conf(&self.service.path(BUILD_CONF), self.text(BUILD_CONF)?);
        let conf = keep(&mut read.diagnostics, parsed)?;
        read.diagnostics.extend(conf.warnings);
        read.unknown_keys.extend(conf.unknown);
        conf.group
    }

    /// An unknown stage is a mistake of whoever asks for it.
    fn place_unknown_stages(
        &self,
        said: &mut [Diagnostic],
        targets: &[TargetLine],
        settings: &conf::ServiceSettings,
    ) {
        let of_file = targets.iter().map(|target| (target.stage.as_str(), BUILD_TARGETS, target.line));
        let entry = self.service.entry.as_ref().zip(settings.target.as_deref());
        let of_entry = entry.map(|(entry, stage)| (stage, SERVICE_TOML, entry.line));
        for (stage, file, line) in of_file.chain(of_entry) {
            let unknown = format!("there is no stage `{stage}`");
            let place = format!(", asked for at {}:{line}", self.service.path(file));
            let found = said.iter_mut().filter(|found| found.message.starts_with(&unknown));
            found.for_each(|found| found.message.push_str(&place));
        }
    }

    /// Adds an image of which nothing is built.
    fn add_image(
        &self,
        read: &mut ReadService,
        base: &str,
        source: ImageSource,
        platform: &Platform,
        group: Option<BuildGroup>,
    ) {
        if let Some(image) = self.image(base, source, platform, group, read) {
            read.images.push((image, Prepared::default()));
        }
    }

    /// What its images are made for, at least one: of what is asked for what `service.toml` has, and all of that where
    /// nobody asks and several fit under one name.
    fn platforms(&self, settings: &conf::ServiceSettings, said: &mut Vec<Diagnostic>) -> Vec<Platform> {
        let (asked, declared) = (&self.input.config.platforms, &settings.platforms);
        let engine = &self.input.engine;
        let is_made = |platform: &&Platform| declared.is_empty() || declared.contains(platform);
        let platforms: Vec<Platform> = match asked.as_slice() {
            [] if declared.len() > 1 && engine.indexes == Indexes::Kept => declared.clone(),
            [] => vec![engine.platform.clone()],
            asked => asked.iter().filter(is_made).cloned().collect(),
        };
        if let Some(first) = asked.first().filter(|_| platforms.is_empty()) {
            self.refuse_platform(settings, first, said);
            return vec![first.clone()];
        }
        if asked.is_empty()
            && let Some(first) = self.defined_platform(&platforms[0], settings, said)
        {
            return vec![first];
        }
        self.refuse_platform(settings, &platforms[0], said);
        platforms
    }

    /// Says so where it is not made for a platform.
    pub(super) fn refuse_platform(
        &self,
        settings: &conf::ServiceSettings,
        platform: &Platform,
        said: &mut Vec<Diagnostic>,
    ) {
        if !settings.platforms.is_empty() && !settings.platforms.contains(platform) {
            let known: Vec<String> = settings.platforms.iter().map(ToString::to_string).collect();
            let message = format!("is not made for {platform}; its platforms are {}", known.join(", "));
            said.push(Diagnostic::error(
                self.service.path(SERVICE_TOML),
                self.service.settings_line(),
                message,
            ));
        }
    }

    /// The name of an image, with the prefix of all.
    pub(super) fn image_name(&self, base: &str) -> ImageName {
        let prefix = &self.input.config.prefix;
        ImageName::new(if base.starts_with(prefix) { base.to_owned() } else { format!("{prefix}{base}") })
    }

    /// An image of this service, named; a name that makes no reference is a diagnostic.
    pub(super) fn image(
        &self,
        base: &str,
        source: ImageSource,
        platform: &Platform,
        group: Option<BuildGroup>,
        read: &mut ReadService,
    ) -> Option<Image> {
        let name = self.image_name(base);
        match self.names(name.as_str(), &read.names) {
            Ok((reference, local_alias, tags)) => Some(Image {
                name,
                kind: ImageKind::Service,
                service: self.service.service().to_owned(),
                local_alias,
                tags,
                reference,
                source,
                platform: platform.clone(),
                group,
                needs: BTreeSet::new(),
                base_images: Vec::<BaseImage>::new(),
                companions: Vec::new(),
                asks_for: BTreeMap::new(),
                asks_for_on: BTreeMap::new(),
                dependency_at: None,
                index: None,
            }),
            Err(error) => {
                self.refuse_name(&error, read);
                None
            }
        }
    }

    /// Says so where a name makes no reference.
    pub(super) fn refuse_name(&self, error: &ParseReferenceError, read: &mut ReadService) {
        let settings = self.service.path(SERVICE_TOML);
        let message =
            format!("its image name makes no reference: {error}; `image` in {settings} names another one");
        let found = Diagnostic::error(&self.service.dir, 0, message);
        if !read.diagnostics.contains(&found) {
            read.diagnostics.push(found);
        }
    }
}

/// What a Dockerfile's images share.
pub(super) struct ServiceFacts<'a> {
    pub(super) dockerfile: &'a str,
    pub(super) settings: &'a conf::ServiceSettings,
    pub(super) group: Option<BuildGroup>,
    pub(super) platforms: &'a [Platform],
    pub(super) companions: Vec<Reference>,
}

/// Whether nothing of it is an error.
pub(super) fn is_sound(said: &[Diagnostic]) -> bool {
    said.iter().all(|found| found.severity != Severity::Error)
}

/// Whether a path lies below a folder.
pub(super) fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

pub(super) fn keep<T>(said: &mut Vec<Diagnostic>, result: Result<T, Diagnostic>) -> Option<T> {
    result.map_err(|diagnostic| said.push(diagnostic)).ok()
}
