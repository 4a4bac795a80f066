//! EFFECT: one service to images with hashed contexts, and everything that is wrong with it.
//!
//! In: the folder as discover found it, the settings. Out: a [`ReadService`]. A service that cannot be read still
//! has an image, so that `status` can name it. Knows nothing of the other services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::ReadInput;
use super::contexts::FOLDER;
use super::stages::StageImage;
use crate::model::{
    BaseImage, BuildGroup, BuildSecrets, BuildTarget, Checks, Diagnostic, Image, ImageKind, ImageName,
    ImageSource, Indexes, InputKind, InputPattern, ParseReferenceError, Platform, Reference, SecretKind,
    SecretMount, Severity, Triggers,
};
use crate::plan::build::Prepared;
use crate::read::conf::{self, TargetLine, UnknownKey};
use crate::read::conf::{BUILD_CONF, BUILD_TARGETS, DEPENDENCY, SERVICE_TOML};
use crate::read::discover::{DOCKERFILE, ServiceSource};
use crate::read::fingerprint::cache::HashCache;
use crate::read::fingerprint::canonical::digest_files;
use crate::read::fingerprint::files::Context;
use crate::read::fingerprint::listing::Listings;
use crate::settings::is_socket;
use dockerfile::ignorefile::IgnoreFile;
use dockerfile::{Dockerfile, Options, Resolved};

/// What one folder came to.
pub(super) struct ReadService {
    /// The folder's own name.
    pub name: String,
    /// The folder, or the Dockerfile if that was named, relative to the root.
    pub place: String,
    /// Its `service.toml`, there or not; none where that would be another service's too.
    pub settings: Option<String>,
    /// Its images, each with its context.
    pub images: Vec<(Image, Prepared)>,
    /// `needs` of `service.toml`, each with the file that says so.
    pub needs: Vec<(String, String)>,
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

/// One image of a service before its context is read.
struct Wanted<'a> {
    target: Option<&'a str>,
    /// Without the platform.
    name: ImageName,
    platform: &'a Platform,
    resolved: Resolved,
    build_args: BTreeMap<String, String>,
}

impl ReadService {
    /// A folder of which nothing but its listing is known.
    pub(super) fn begin(name: String, reader: &Reader<'_>) -> Self {
        let mut diagnostics = reader.service.problems.clone();
        diagnostics.extend(reader.input.said_of(reader.service));
        Self {
            name,
            place: reader.service.place().to_owned(),
            settings: reader.service.reads(SERVICE_TOML).then(|| reader.service.path(SERVICE_TOML)),
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
        let mut read = ReadService::begin(service.name.clone(), self);
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
        if settings.image.is_none()
            && settings.names.is_empty()
            && targets.is_empty()
            && lower != service.name
        {
            let message = format!(
                "image names have no capitals, so its image is named {lower}; `image` in {} names another one",
                service.path(SERVICE_TOML)
            );
            said.push(Diagnostic::warning(&service.dir, 0, message));
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
                self.place_unknown_stages(&mut read.diagnostics, &targets);
            }
            (None, Some(source)) => {
                self.add_image(&mut read, base, ImageSource::External(source), platform, group);
            }
            (None, None) if !is_sound(&read.diagnostics) => {}
            (None, None) => read.diagnostics.extend(service.definition.as_ref().map(|definition| {
                let message = format!("there is no file {} to build it from", definition.dockerfile);
                Diagnostic::error(&*definition.file, definition.line, message)
            })),
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

    pub(super) fn text(&self, file: &str) -> Option<&str> {
        self.service.text(file, self.input.rendered)
    }

    /// What `service.toml` says; the defaults where there is none, or none that can be read.
    pub(super) fn settings(&self, read: &mut ReadService) -> conf::ServiceSettings {
        let path = self.service.path(SERVICE_TOML);
        let parsed = self.text(SERVICE_TOML).map(|text| conf::parse_service_toml(&path, text));
        let mut settings = parsed.and_then(|parsed| keep(&mut read.diagnostics, parsed)).unwrap_or_default();
        read.diagnostics.extend(settings.warnings.iter().cloned());
        read.diagnostics.extend(self.refuse_dockerfile(&settings));
        read.needs = settings.needs.iter().map(|need| (need.clone(), path.clone())).collect();
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
    fn place_unknown_stages(&self, said: &mut [Diagnostic], targets: &[TargetLine]) {
        for target in targets {
            let unknown = format!("there is no stage `{}`", target.stage);
            let place = format!(", asked for at {}:{}", self.service.path(BUILD_TARGETS), target.line);
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
            said.push(Diagnostic::error(self.service.path(SERVICE_TOML), 0, message));
        }
    }

    fn read_dockerfile(
        &self,
        read: &mut ReadService,
        names: &[(Option<&str>, &str)],
        stages: &[StageImage],
        facts: &ServiceFacts<'_>,
    ) {
        let path = self.service.path(DOCKERFILE);
        let settings = facts.settings;
        let known = read.diagnostics.len();
        let written =
            self.in_contexts(facts.dockerfile, &path, (settings, &facts.platforms[0]), &mut read.diagnostics);
        let facts =
            &ServiceFacts { dockerfile: &written.text, companions: facts.companions.clone(), ..*facts };
        let (file, parse_findings) = dockerfile::parse(&path, facts.dockerfile);
        read.diagnostics.extend(parse_findings);
        let of_stages = stages.iter().map(|stage| (Some(stage.label.as_str()), stage.name.as_str()));
        let all = names.iter().copied().chain(of_stages);
        let each = all.flat_map(|named| facts.platforms.iter().map(move |platform| (named, platform)));
        let wanted: Vec<Wanted<'_>> = each
            .map(|((target, name), platform)| {
                let name = self.image_name(name);
                let triggers = match facts.platforms {
                    [_] => self.input.triggers_of(&name),
                    _ => self.input.triggers_of(&name.variant(platform)),
                };
                let (resolved, build_args) =
                    self.resolve(&file, target, settings, platform, &BTreeMap::new(), &triggers);
                Wanted { target, name, platform, resolved, build_args }
            })
            .collect();
        let mut wanted = wanted;
        for wanted in &mut wanted {
            wanted.resolved.inputs.retain(|input| !input.pattern.starts_with(FOLDER));
        }
        // Where the context lies is for the service to say, whatever else is built of it.
        let of_service = wanted.iter().take(names.len() * facts.platforms.len());
        let all_inputs: Vec<InputPattern> =
            of_service.flat_map(|w| w.resolved.inputs.iter().cloned()).collect();
        let context = self.context(settings, &path, &all_inputs, &mut read.diagnostics);
        let ignore = self.ignore_rules(&context, &mut read.diagnostics);
        let shared = Shared {
            secrets: self.secrets(settings),
            is_sound: is_sound(&read.diagnostics),
            inputs: all_inputs,
            folders: written.folders.clone(),
            path,
            context,
            ignore,
        };
        // One is the rule; room for more, times thousands of services, is most of what reading would need.
        read.images.reserve_exact(wanted.len());
        let of_service = names.len() * facts.platforms.len();
        for (at, wanted) in wanted.into_iter().enumerate() {
            if at == of_service {
                // Whole names are the service's, and a stage is called after it.
                read.names.clear();
            }
            self.read_target(read, wanted, facts, &shared);
        }
        written.place(&shared.path, read.diagnostics.get_mut(known..).unwrap_or_default());
        for base in read.images.iter_mut().flat_map(|(image, _)| &mut image.base_images) {
            base.line = written.line(base.line);
        }
    }

    fn read_target(
        &self,
        read: &mut ReadService,
        wanted: Wanted<'_>,
        facts: &ServiceFacts<'_>,
        shared: &Shared,
    ) {
        let Shared { path, context, ignore, secrets, .. } = shared;
        let Wanted { target, name, platform, resolved, build_args } = wanted;
        let mut inputs = resolved.inputs;
        inputs.extend(declared(facts.settings));
        let reading = Context {
            ignore: ignore.as_ref().map(|(rules, path)| (rules, path.as_str())),
            ..self.context_at(context, path)
        };
        let (files, mut found) = reading.select(&inputs, self.hashes);
        let files = self.with_folders(files, (&shared.folders, path), &mut found);
        let missing = |d: &&mut Diagnostic| {
            d.severity == Severity::Error && d.message.contains(" matches nothing in the context ")
        };
        let mut missing = found.iter_mut().filter(missing).peekable();
        if missing.peek().is_some() {
            let cure = self.other_context(context, path, &shared.inputs);
            missing.for_each(|d| d.message.push_str(&cure));
        }
        found.extend(resolved.diagnostics);
        read.doubts.extend(resolved.doubts);
        let is_whole = shared.is_sound && is_sound(&found);
        let digest = is_whole.then(|| digest_files(files.counted()));
        for diagnostic in found {
            if !read.diagnostics.contains(&diagnostic) {
                read.diagnostics.push(diagnostic);
            }
        }
        let target = BuildTarget {
            dockerfile: path.clone(),
            text: facts.dockerfile.to_owned(),
            reachable_text: resolved.reachable_text,
            context: context.clone(),
            target: target.map(str::to_owned),
            build_args,
            labels: facts.settings.labels.clone(),
            network: facts.settings.network.clone(),
            lacks: self.lacking(path, secrets, &resolved.secrets),
            secrets: secrets.clone(),
            triggers: resolved.triggers,
            leaves: resolved.leaves,
            own_labels: resolved.labels,
        };
        let source = ImageSource::Build(Box::new(target));
        let Some(mut image) = self.image(name.as_str(), source, platform, facts.group, read) else { return };
        if facts.platforms.len() > 1 {
            match image.into_variant() {
                Ok(variant) => image = variant,
                Err(error) => return self.refuse_name(&error, read),
            }
        }
        image.base_images = resolved.base_images;
        image.companions.clone_from(&facts.companions);
        let (uses, base_doubts) = (resolved.uses, resolved.base_doubts);
        let runs = self.input.engine.foreign(resolved.runs);
        read.images
            .push((image, Prepared { files, digest, reads: inputs, uses, base_doubts, runs, awaits: None }));
    }

    /// What a target of a Dockerfile needs, and the build args that matter to it. `given` beats all others.
    pub(super) fn resolve(
        &self,
        file: &Dockerfile,
        target: Option<&str>,
        settings: &conf::ServiceSettings,
        platform: &Platform,
        given: &BTreeMap<String, String>,
        triggers: &Triggers,
    ) -> (Resolved, BTreeMap<String, String>) {
        let config = self.input.config;
        let mut args = config.build_args.settings.clone();
        args.extend(settings.args.iter().map(|(k, v)| (k.clone(), v.0.clone())));
        args.extend(config.build_args.flags.clone());
        args.extend(given.clone());
        let look = |args: &BTreeMap<String, String>| {
            let build_platform = self.input.engine.build_platform(platform);
            dockerfile::resolve(
                file,
                &Options { target, build_args: args, platform, build_platform, triggers },
            )
        };
        let mut resolved = look(&args);
        let from_env: Vec<&(String, String)> = config
            .dotenv
            .iter()
            .filter(|(key, value)| {
                !value.is_empty() && !args.contains_key(key) && resolved.declared_args.contains(key)
            })
            .collect();
        if !from_env.is_empty() {
            args.extend(from_env.into_iter().cloned());
            resolved = look(&args);
        }
        args.retain(|name, _| resolved.declared_args.contains(name));
        (resolved, args)
    }

    /// What its builds may ask for: what is typed wins, then the service's own, then what holds for all.
    pub(super) fn secrets(&self, settings: &conf::ServiceSettings) -> BuildSecrets {
        let config = self.input.config;
        let folder = config.root.join(&self.service.dir);
        let variable = |name: &str| config.variable(name);
        let mut all = config.secrets.clone();
        let is_typed = |id: &String| config.typed_secrets.contains(id);
        for (id, secret) in settings.secrets.iter().filter(|(id, _)| !is_typed(id)) {
            let source = secret.resolve(&folder, variable, Path::is_file);
            all.secrets.extend(source.map(|source| (id.clone(), source)));
        }
        for (id, ssh) in settings.ssh.iter().filter(|(id, _)| !is_typed(id)) {
            all.ssh.extend(ssh.resolve(&folder, variable, is_socket).map(|source| (id.clone(), source)));
        }
        all
    }

    /// The first mount that needs what nobody gives.
    pub(super) fn lacking(
        &self,
        dockerfile: &str,
        given: &BuildSecrets,
        mounts: &[SecretMount],
    ) -> Option<Box<Diagnostic>> {
        let lacked = mounts.iter().find(|mount| mount.is_required && !given.has(mount))?;
        let SecretMount { id, line, .. } = lacked;
        let message = match lacked.kind {
            SecretKind::Secret => format!(
                "RUN needs the secret `{id}`, which nobody gives: `--secret id={id},src=FILE`, or `[secrets]` in .config/xtask.toml"
            ),
            SecretKind::Ssh => format!(
                "RUN needs the ssh agent `{id}`, which nobody gives: `--ssh {id}`, or `[ssh]` in .config/xtask.toml"
            ),
        };
        Some(Box::new(Diagnostic::error(dockerfile, *line, message)))
    }

    /// The name of an image, with the prefix of all.
    pub(super) fn image_name(&self, base: &str) -> ImageName {
        let prefix = &self.input.config.prefix;
        ImageName::new(if base.starts_with(prefix) { base.to_owned() } else { format!("{prefix}{base}") })
    }

    /// An image of this service, named; a name that makes no reference is a diagnostic.
    fn image(
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
                service: self.service.name.clone(),
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

    fn refuse_name(&self, error: &ParseReferenceError, read: &mut ReadService) {
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
    group: Option<BuildGroup>,
    platforms: &'a [Platform],
    companions: Vec<Reference>,
}

/// What the images of one Dockerfile share once its context is known.
struct Shared {
    /// Folders of named contexts, by name.
    folders: Vec<(String, String)>,
    path: String,
    context: String,
    /// What all of them read.
    inputs: Vec<InputPattern>,
    ignore: Option<(IgnoreFile, String)>,
    secrets: BuildSecrets,
    is_sound: bool,
}

/// Whether nothing of it is an error.
pub(super) fn is_sound(said: &[Diagnostic]) -> bool {
    said.iter().all(|found| found.severity != Severity::Error)
}

/// Whether a path lies below a folder.
pub(super) fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// `inputs` of `service.toml`, as patterns.
pub(super) fn declared(settings: &conf::ServiceSettings) -> impl Iterator<Item = InputPattern> {
    settings.inputs.iter().map(|pattern| InputPattern::new(pattern, 0, InputKind::Declared))
}

pub(super) fn keep<T>(said: &mut Vec<Diagnostic>, result: Result<T, Diagnostic>) -> Option<T> {
    result.map_err(|diagnostic| said.push(diagnostic)).ok()
}
