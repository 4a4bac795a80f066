//! EFFECT: one folder of a base image to its images, one for each version and platform.
//!
//! In: the folder's texts, what all base images share ([`Systems`]). Out: images with hashed contexts, and diagnostics.
//! The artifact of a version appears in the context although it lies in a cache. It downloads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::ReadInput;
use super::artifact::{self, Artifact};
use super::built::declared;
use super::service::{ReadService, Reader, is_sound, keep};
use crate::base_images::matrix::{Cell, Matrix};
use crate::model::{
    ArtifactSpec, BaseImageFacts, BuildTarget, Diagnostic, Image, ImageKind, ImageName, ImageSource,
    InputKind, InputPattern,
};
use crate::plan::build::Prepared;
use crate::read::conf::SERVICE_TOML;
use crate::read::conf::{self, ServiceContext, ServiceSettings};
use crate::read::discover::DOCKERFILE;
use crate::read::fingerprint::canonical::digest_files;
use crate::read::fingerprint::files::Context;
use dockerfile::{Dockerfile, Selector};

/// The build arg that says which version goes into an image.
const VERSION_ARG: &str = "FIT_VERSION";

/// What all base images share.
pub(super) struct Systems<'a> {
    matrix: Matrix<'a>,
    /// Why there is no version to build.
    problem: Option<Diagnostic>,
    /// By version; looked for when a Dockerfile reads one.
    artifacts: BTreeMap<String, OnceLock<Result<Artifact, Diagnostic>>>,
}

impl<'a> Systems<'a> {
    /// Reads what decides names.
    pub fn of(input: &'a ReadInput<'_>) -> Self {
        let settings = &input.config.base_image;
        let (default, problem) = match &settings.version {
            Some(version) => (Some(version.clone()), None),
            None => default_of_dockerfiles(input),
        };
        let mut versions = settings.versions.clone();
        let mut seen = BTreeSet::new();
        versions.retain(|version| seen.insert(version.clone()));
        let problem = match (versions.is_empty(), &default) {
            (true, Some(default)) => {
                versions.push(default.clone());
                problem
            }
            (true, None) => problem.or_else(|| Some(no_version(input))),
            (false, _) => problem,
        };
        let platforms = match input.config.platforms.as_slice() {
            [] => vec![input.engine.platform.clone()],
            some => some.to_vec(),
        };
        let indexes = input.engine.indexes;
        let artifacts = versions.iter().map(|version| (version.clone(), OnceLock::new())).collect();
        let registry = input.config.registry.as_ref();
        let matrix = Matrix { name: &settings.name, registry, versions, default, platforms, indexes };
        Self { matrix, problem, artifacts }
    }
}

impl Systems<'_> {
    /// What is built when nobody names a version.
    pub fn default_version(&self) -> Option<&str> {
        self.matrix.default.as_deref()
    }
}

/// The version on which the Dockerfiles agree.
fn default_of_dockerfiles(input: &ReadInput<'_>) -> (Option<String>, Option<Diagnostic>) {
    let mut first: Option<(String, String, u32)> = None;
    for folder in &input.discovered.base_images {
        let Some(text) = folder.text(DOCKERFILE, input.rendered) else { continue };
        let path = folder.path(DOCKERFILE);
        let Some((version, line)) = dockerfile::parse(&path, text).0.arg_default(VERSION_ARG) else {
            continue;
        };
        match &first {
            None => first = Some((version, path, line)),
            Some((agreed, at, at_line)) if *agreed != version => {
                let message = format!(
                    "the default version is {version} here and {agreed} at {at}:{at_line}; say which by \
                     `version` below [base_image] in .config/xtask.toml"
                );
                return (None, Some(Diagnostic::error(path, line, message)));
            }
            Some(_) => {}
        }
    }
    (first.map(|(version, ..)| version), None)
}

fn no_version(input: &ReadInput<'_>) -> Diagnostic {
    let dir = input.discovered.base_images.first().map_or("", |folder| folder.dir.as_str());
    let message = "nobody says which version of the base images to build: give --version V, or set `version` below \
                   [base_image] in .config/xtask.toml";
    Diagnostic::error(dir, 0, message)
}

/// What the images of one folder share.
struct System<'a> {
    path: String,
    text: &'a str,
    file: Dockerfile,
    settings: ServiceSettings,
    description: Option<String>,
}

impl Reader<'_> {
    /// Reads the folder of one system. Without a Dockerfile it is none.
    pub(super) fn read_base_image(&self, systems: &Systems<'_>) -> ReadService {
        let service = self.service;
        let name = format!("{}-{}", systems.matrix.name.replace('/', "-"), service.name);
        let mut read = ReadService::begin(name, self);
        let path = service.path(DOCKERFILE);
        let text = service.text(DOCKERFILE, self.input.rendered);
        let (file, findings) = dockerfile::parse(&path, text.unwrap_or_default());
        if text.is_some() {
            read.diagnostics.extend(findings);
        }
        read.diagnostics.extend(systems.problem.clone());
        let settings = self.settings(&mut read);
        let system =
            System { description: description(&file), text: text.unwrap_or_default(), path, file, settings };
        let cells = match systems.matrix.cells(&service.name) {
            Ok(cells) if text.is_some() => cells,
            Ok(_) => Vec::new(),
            Err(error) => {
                let message = format!("its name makes no tag: {error}");
                read.diagnostics.push(Diagnostic::error(&service.dir, 0, message));
                Vec::new()
            }
        };
        for cell in cells {
            self.read_cell(&mut read, systems, &system, cell);
        }
        if read.is_broken() {
            self.stand_in_base(&mut read, systems, &system);
        }
        read
    }

    fn read_cell(&self, read: &mut ReadService, systems: &Systems<'_>, system: &System<'_>, cell: Cell) {
        let docker = &self.input.config.base_image.docker;
        let settings = &system.settings;
        let said = &mut read.diagnostics;
        self.refuse_platform(settings, &cell.platform, said);
        let target = docker.target.as_deref().or(settings.target.as_deref());
        let given = BTreeMap::from([(VERSION_ARG.to_owned(), cell.version.clone())]);
        let triggers = match systems.matrix.is_indexed() {
            true => self.input.triggers_of(&cell.image.variant(&cell.platform)),
            false => self.input.triggers_of(&cell.image),
        };
        let (resolved, build_args) =
            self.resolve(&system.file, target, settings, &cell.platform, &given, &triggers);
        let mut inputs = resolved.inputs;
        inputs.extend(declared(settings));

        let artifact = self.artifact(systems, &cell.version, &inputs, said);
        let context = self.base_context(settings, &system.path, &inputs, said);
        let ignore = self.ignore_rules(&context, said);
        let file = artifact.as_ref().map(|artifact| Arc::new(artifact.as_file()));
        let reading = Context {
            ignore: ignore.as_ref().map(|(rules, path)| (rules, path.as_str())),
            given: file.as_ref(),
            ..self.context_at(&context, &system.path)
        };
        let (files, mut found) = reading.select(&inputs, self.hashes);
        found.extend(resolved.diagnostics);
        read.doubts.extend(resolved.doubts);
        found.retain(|diagnostic| !said.contains(diagnostic));
        said.extend(found);
        let is_whole = is_sound(said);
        let is_known = file.as_ref().is_none_or(|file| file.digest.is_some());
        let digest = (is_whole && is_known).then(|| digest_files(files.counted()));
        let missing = file.filter(|file| file.source.is_none()).map(|file| file.name.clone());
        let prepared = Prepared {
            files,
            digest,
            reads: inputs,
            uses: resolved.uses,
            base_doubts: resolved.base_doubts,
            runs: self.input.engine.foreign(resolved.runs),
            awaits: missing.filter(|_| is_whole),
        };

        let secrets = self.secrets(settings);
        let target = BuildTarget {
            dockerfile: system.path.clone(),
            text: system.text.to_owned(),
            reachable_text: resolved.reachable_text,
            context,
            target: target.map(str::to_owned),
            build_args,
            labels: docker.labels.clone(),
            network: docker.network.clone(),
            lacks: self.lacking(&system.path, &secrets, &resolved.secrets),
            secrets,
            layouts: Vec::new(),
            triggers: resolved.triggers,
            leaves: resolved.leaves,
            own_labels: resolved.labels,
        };
        let artifact = artifact.map(|artifact| Box::new(artifact.spec));
        let mut image = self.base_image(read, system, cell, target, artifact);
        image.base_images = resolved.base_images;
        if systems.matrix.is_indexed() {
            match image.into_variant() {
                Ok(variant) => image = variant,
                Err(error) => {
                    let message = format!("its name makes no tag: {error}");
                    read.diagnostics.push(Diagnostic::error(&self.service.dir, 0, message));
                    return;
                }
            }
        }
        read.images.push((image, prepared));
    }

    /// The artifact of a version, if the Dockerfile reads it.
    fn artifact(
        &self,
        systems: &Systems<'_>,
        version: &str,
        inputs: &[InputPattern],
        said: &mut Vec<Diagnostic>,
    ) -> Option<Artifact> {
        // A trigger that nobody knows yet is no reason to download anything.
        let sure: Vec<InputPattern> =
            inputs.iter().filter(|input| input.kind != InputKind::Possible).cloned().collect();
        if systems.problem.is_some() || !Selector::new(&sure).reads(&artifact::file_name(version)) {
            return None;
        }
        let known = systems.artifacts.get(version)?;
        keep(said, known.get_or_init(|| artifact::look(self.input.config, version)).clone())
    }

    fn base_image(
        &self,
        read: &ReadService,
        system: &System<'_>,
        cell: Cell,
        target: BuildTarget,
        artifact: Option<Box<ArtifactSpec>>,
    ) -> Image {
        let facts = BaseImageFacts {
            os: self.service.name.clone(),
            version: cell.version,
            description: system.description.clone(),
            artifact,
        };
        Image {
            name: cell.image,
            kind: ImageKind::BaseImage(facts),
            service: read.name.clone(),
            reference: cell.reference,
            local_alias: cell.local_alias,
            tags: cell.tags,
            source: ImageSource::Build(Box::new(target)),
            platform: cell.platform,
            group: None,
            needs: BTreeSet::new(),
            asks_for: BTreeMap::new(),
            asks_for_on: BTreeMap::new(),
            dependency_at: None,
            index: None,
            base_images: Vec::new(),
            companions: Vec::new(),
        }
    }

    /// `service.toml`, else the folder of all systems, the system's own, or the root: the first in which most of what is
    /// copied exists.
    fn base_context(
        &self,
        settings: &ServiceSettings,
        dockerfile: &str,
        inputs: &[InputPattern],
        said: &mut Vec<Diagnostic>,
    ) -> String {
        let folder = self.service.dir.as_str();
        if let Some(ServiceContext::Folder(relative)) = &settings.context {
            match conf::resolve_path(folder, relative) {
                Some(found) => return found,
                None => {
                    let message = format!("the context `{relative}` lies outside the tree");
                    said.push(Diagnostic::error(self.service.path(SERVICE_TOML), 0, message));
                }
            }
        }
        let above = folder.rsplit_once('/').map_or(".", |(above, _)| above);
        self.best_context(&[above, folder, "."], dockerfile, inputs)
    }

    /// A system that cannot be read still has an image, so that it is named and counted.
    fn stand_in_base(&self, read: &mut ReadService, systems: &Systems<'_>, system: &System<'_>) {
        let Ok(reference) = format!("{}:{}", systems.matrix.name, self.service.name).parse() else { return };
        let platform = systems.matrix.platforms.first().unwrap_or(&self.input.engine.platform).clone();
        let cell = Cell {
            image: ImageName::new(read.name.clone()),
            version: String::new(),
            platform,
            reference,
            local_alias: None,
            tags: Vec::new(),
        };
        let target = BuildTarget::without_text(system.path.clone(), self.service.dir.clone());
        let image = self.base_image(read, system, cell, target, None);
        read.images.push((image, Prepared::default()));
    }
}

/// What the label says of the system, without what all of them have before the dash.
fn description(file: &Dockerfile) -> Option<String> {
    let text = file.label("org.opencontainers.image.description").or_else(|| file.label("description"))?;
    let own = text.split_once(" - ").map_or(text.as_str(), |(_, own)| own).trim();
    (!own.is_empty()).then(|| own.to_owned())
}
