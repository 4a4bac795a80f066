//! EFFECT: one service to images with hashed contexts, and everything that is wrong with it.
//!
//! In: the folder as discover found it, the settings. Out: a [`ReadService`]. A service that cannot be read still
//! has an image, so that `status` can name it. Knows nothing of the other services.

use std::collections::{BTreeMap, BTreeSet};

use super::ReadInput;
use crate::model::{
    BaseImage, BuildGroup, BuildSecrets, BuildTarget, Diagnostic, Image, ImageKind, ImageName, ImageSource,
    InputKind, InputPattern, Platform, Reference, SecretKind, SecretMount, SecretSource, Severity, Triggers,
};
use crate::plan::build::Prepared;
use crate::read::conf::{self, ServiceContext, UnknownKey};
use crate::read::conf::{BUILD_CONF, BUILD_TARGETS, DEPENDENCY, SERVICE_TOML};
use crate::read::discover::{DOCKERFILE, ServiceSource};
use crate::read::fingerprint::cache::HashCache;
use crate::read::fingerprint::canonical::digest_files;
use crate::read::fingerprint::files::Context;
use crate::read::fingerprint::listing::Listings;
use crate::settings::{ContextChoice, is_socket};
use dockerfile::ignorefile::IgnoreFile;
use dockerfile::{Dockerfile, Options, Resolved};

/// What one folder came to.
pub(super) struct ReadService {
    /// The folder's own name.
    pub name: String,
    /// The folder, relative to the root.
    pub dir: String,
    /// Its images, each with its context.
    pub images: Vec<(Image, Prepared)>,
    /// `needs` of `service.toml`, each with the file that says so.
    pub needs: Vec<(String, String)>,
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// Keys of `build.conf` that mean nothing here.
    pub unknown_keys: Vec<UnknownKey>,
    /// What is odd with an external image, if no image of this tree has its name.
    pub doubts: Vec<(Reference, Diagnostic)>,
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
    name: ImageName,
    resolved: Resolved,
    build_args: BTreeMap<String, String>,
}

impl Reader<'_> {
    /// Reads it.
    pub(super) fn read(&self) -> ReadService {
        let service = self.service;
        let text = |file: &str| service.text(file, self.input.rendered);
        let mut read = ReadService {
            name: service.name.clone(),
            dir: service.dir.clone(),
            images: Vec::new(),
            needs: Vec::new(),
            diagnostics: service.problems.clone(),
            unknown_keys: Vec::new(),
            doubts: Vec::new(),
        };
        let said = &mut read.diagnostics;
        let unknown = &mut read.unknown_keys;
        said.extend(self.input.said_of(service));
        let settings = text(SERVICE_TOML).and_then(|text| {
            let settings = keep(said, conf::parse_service_toml(&service.path(SERVICE_TOML), text))?;
            said.extend(settings.warnings.clone());
            Some(settings)
        });
        let settings = settings.unwrap_or_default();
        let group = text(BUILD_CONF).and_then(|text| {
            let conf = keep(said, conf::parse_build_conf(&service.path(BUILD_CONF), text))?;
            said.extend(conf.warnings);
            unknown.extend(conf.unknown);
            conf.group
        });
        let dependency = text(DEPENDENCY)
            .and_then(|text| keep(said, conf::parse_dependency(&service.path(DEPENDENCY), text)));
        let dependency_at =
            dependency.as_ref().map(|found| format!("{}:{}", service.path(DEPENDENCY), found.line));
        let targets = text(BUILD_TARGETS)
            .and_then(|text| keep(said, conf::parse_build_targets(&service.path(BUILD_TARGETS), text)))
            .unwrap_or_default();
        let needs = settings.needs.iter().map(|need| (need.clone(), service.path(SERVICE_TOML)));
        read.needs = needs.collect();
        let platform = self.platform(&settings, &mut read.diagnostics);
        let lower = service.name.to_lowercase();
        let base = settings.image.as_deref().unwrap_or(&lower);
        if settings.image.is_none() && targets.is_empty() && lower != service.name {
            let message = format!(
                "image names have no capitals, so its image is named {lower}; `image` in {} names another one",
                service.path(SERVICE_TOML)
            );
            read.diagnostics.push(Diagnostic::warning(&service.dir, 0, message));
        }
        match (text(DOCKERFILE), dependency) {
            (Some(dockerfile), dependency) => {
                let names: Vec<(Option<&str>, &str)> = if targets.is_empty() {
                    vec![(settings.target.as_deref(), base)]
                } else {
                    targets.iter().map(|t| (Some(t.stage.as_str()), t.image.as_str())).collect()
                };
                let companions = dependency.map(|d| d.reference).into_iter().collect();
                let service =
                    ServiceFacts { dockerfile, settings: &settings, group, platform: &platform, companions };
                self.read_dockerfile(&mut read, &names, &service);
                for target in &targets {
                    let unknown = format!("there is no stage `{}`", target.stage);
                    let place =
                        format!(", asked for at {}:{}", self.service.path(BUILD_TARGETS), target.line);
                    let found = read.diagnostics.iter_mut().filter(|d| d.message.starts_with(&unknown));
                    found.for_each(|d| d.message.push_str(&place));
                }
            }
            (None, Some(dependency)) => {
                if let Some(image) =
                    self.image(base, ImageSource::External(dependency.reference), &platform, group, &mut read)
                {
                    read.images.push((image, Prepared::default()));
                }
            }
            (None, None) => {}
        }
        for (image, _) in &mut read.images {
            image.dependency_at.clone_from(&dependency_at);
        }
        if read.images.is_empty() && read.diagnostics.iter().any(|d| d.severity == Severity::Error) {
            self.stand_in(&mut read, base, &platform, group);
        }
        read
    }

    /// A service that cannot be read still has an image, so that it is named and counted.
    fn stand_in(&self, read: &mut ReadService, base: &str, platform: &Platform, group: Option<BuildGroup>) {
        let target = BuildTarget::without_text(self.service.path(DOCKERFILE), self.service.dir.clone());
        let source = ImageSource::Build(Box::new(target));
        if let Some(image) = self.image(base, source, platform, group, read) {
            read.images.push((image, Prepared::default()));
        }
    }

    fn platform(&self, settings: &conf::ServiceSettings, said: &mut Vec<Diagnostic>) -> Platform {
        let platform =
            self.input.config.platform.clone().unwrap_or_else(|| self.input.engine_platform.clone());
        if !settings.platforms.is_empty() && !settings.platforms.contains(&platform) {
            let known: Vec<String> = settings.platforms.iter().map(ToString::to_string).collect();
            let message = format!("is not made for {platform}; its platforms are {}", known.join(", "));
            said.push(Diagnostic::error(self.service.path(SERVICE_TOML), 0, message));
        }
        platform
    }

    fn read_dockerfile(
        &self,
        read: &mut ReadService,
        names: &[(Option<&str>, &str)],
        facts: &ServiceFacts<'_>,
    ) {
        let path = self.service.path(DOCKERFILE);
        let settings = facts.settings;
        let (file, parse_findings) = dockerfile::parse(&path, facts.dockerfile);
        read.diagnostics.extend(parse_findings);
        let wanted: Vec<Wanted<'_>> = names
            .iter()
            .map(|(target, name)| {
                let name = self.image_name(name);
                let triggers = self.input.triggers_of(&name);
                let (resolved, build_args) =
                    self.resolve(&file, *target, settings, facts.platform, &BTreeMap::new(), &triggers);
                Wanted { target: *target, name, resolved, build_args }
            })
            .collect();
        let all_inputs: Vec<InputPattern> =
            wanted.iter().flat_map(|w| w.resolved.inputs.iter().cloned()).collect();
        let context = self.context(settings, &path, &all_inputs, &mut read.diagnostics);
        let root = &self.input.config.root;
        let found = self.input.discovered.ignore_file(root, self.service, &context, self.input.rendered);
        let (ignore_path, ignore_text) = keep(&mut read.diagnostics, found).flatten().unzip();
        read.diagnostics.extend(self.input.broken_ignore(&context));
        let ignore = ignore_text.as_deref().map(IgnoreFile::parse);
        for (line, why) in ignore.iter().flat_map(IgnoreFile::problems) {
            let file = ignore_path.as_deref().unwrap_or_default();
            read.diagnostics.push(Diagnostic::error(file, *line, why.as_str()));
        }
        let is_sound = read.diagnostics.iter().all(|d| d.severity != Severity::Error);
        let folder = if context == "." { "" } else { context.as_str() };
        let reading = Context {
            listings: self.listings,
            folder,
            ignore: ignore.as_ref().zip(ignore_path.as_deref()),
            dockerfile: &path,
            given: None,
        };
        let secrets = self.secrets(settings);
        // One is the rule; room for more, times thousands of services, is most of what reading would need.
        read.images.reserve_exact(wanted.len());
        for wanted in wanted {
            let mut inputs = wanted.resolved.inputs;
            inputs.extend(declared(settings));
            let (files, mut found) = reading.select(&inputs, self.hashes);
            let missing = |d: &&mut Diagnostic| {
                d.severity == Severity::Error && d.message.contains(" matches nothing in the context ")
            };
            let mut missing = found.iter_mut().filter(missing).peekable();
            if missing.peek().is_some() {
                let cure = self.other_context(&context, &path, &all_inputs);
                missing.for_each(|d| d.message.push_str(&cure));
            }
            found.extend(wanted.resolved.diagnostics);
            read.doubts.extend(wanted.resolved.doubts);
            let is_whole = is_sound && found.iter().all(|d| d.severity != Severity::Error);
            let digest = is_whole.then(|| digest_files(files.counted()));
            for diagnostic in found {
                if !read.diagnostics.contains(&diagnostic) {
                    read.diagnostics.push(diagnostic);
                }
            }
            let target = BuildTarget {
                dockerfile: path.clone(),
                text: facts.dockerfile.to_owned(),
                reachable_text: wanted.resolved.reachable_text,
                context: context.clone(),
                target: wanted.target.map(str::to_owned),
                build_args: wanted.build_args,
                labels: BTreeMap::new(),
                network: None,
                lacks: self.lacking(&path, &secrets, &wanted.resolved.secrets),
                secrets: secrets.clone(),
                triggers: wanted.resolved.triggers,
                leaves: wanted.resolved.leaves,
                own_labels: wanted.resolved.labels,
            };
            let source = ImageSource::Build(Box::new(target));
            if let Some(mut image) =
                self.image(wanted.name.as_str(), source, facts.platform, facts.group, read)
            {
                image.base_images = wanted.resolved.base_images;
                image.companions.clone_from(&facts.companions);
                let (uses, base_doubts) = (wanted.resolved.uses, wanted.resolved.base_doubts);
                read.images.push((image, Prepared { files, digest, uses, base_doubts, awaits: None }));
            }
        }
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
            let build_platform = &self.input.engine_platform;
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
            all.secrets.extend(secret.resolve(&folder, variable).map(|source| (id.clone(), source)));
        }
        for (id, ssh) in settings.ssh.iter().filter(|(id, _)| !is_typed(id)) {
            all.ssh.extend(ssh.resolve(&folder, variable, is_socket).map(|source| (id.clone(), source)));
        }
        all.secrets.retain(|_, source| !matches!(source, SecretSource::File(path) if !path.is_file()));
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

    /// The first of these folders in which most of the COPY and ADD sources exist.
    pub(super) fn best_context<const N: usize>(
        &self,
        folders: [&str; N],
        dockerfile: &str,
        inputs: &[InputPattern],
    ) -> String {
        let mut best = (0, folders.first().copied().unwrap_or("."));
        for (at, folder) in folders.into_iter().enumerate() {
            let place = if folder == "." { "" } else { folder };
            let context =
                Context { listings: self.listings, folder: place, ignore: None, dockerfile, given: None };
            let (present, missing) = context.present_sources(inputs);
            if at == 0 || present > best.0 {
                best = (present, folder);
            }
            if missing.is_empty() {
                break;
            }
        }
        best.1.to_owned()
    }

    /// The context folder, relative to the root; `.` is the root.
    fn context(
        &self,
        settings: &conf::ServiceSettings,
        dockerfile: &str,
        inputs: &[InputPattern],
        said: &mut Vec<Diagnostic>,
    ) -> String {
        let folder = self.service.dir.clone();
        let choice = match &settings.context {
            Some(ServiceContext::Folder(relative)) => match conf::resolve_folder(&folder, relative) {
                Some(found) => return found,
                None => {
                    let message = format!("the context `{relative}` lies outside the tree");
                    said.push(Diagnostic::error(self.service.path(SERVICE_TOML), 0, message));
                    ContextChoice::Service
                }
            },
            Some(ServiceContext::Choice(choice)) => *choice,
            None => self.input.config.context,
        };
        match choice {
            ContextChoice::Service => folder,
            ContextChoice::Root => ".".to_owned(),
            ContextChoice::Auto => {
                let best = self.best_context([folder.as_str(), "."], dockerfile, inputs);
                if self.fits(&best, dockerfile, inputs) {
                    return best;
                }
                // `docker build -f a/b/Dockerfile a` is common too; of several such folders nobody can choose.
                match self.fitting_above(dockerfile, inputs).as_slice() {
                    [only] => (*only).to_owned(),
                    _ => best,
                }
            }
        }
    }

    /// Whether there are sources of COPY and ADD, and the folder has them all.
    fn fits(&self, folder: &str, dockerfile: &str, inputs: &[InputPattern]) -> bool {
        let place = if folder == "." { "" } else { folder };
        let context =
            Context { listings: self.listings, folder: place, ignore: None, dockerfile, given: None };
        let (present, missing) = context.present_sources(inputs);
        present > 0 && missing.is_empty()
    }

    /// The folders between the service and the root that have all sources, the nearest first.
    fn fitting_above(&self, dockerfile: &str, inputs: &[InputPattern]) -> Vec<&str> {
        fn above(dir: &str) -> Option<&str> {
            dir.rsplit_once('/').map(|(above, _)| above)
        }
        let between = std::iter::successors(above(&self.service.dir), |dir| above(dir));
        between.filter(|folder| self.fits(folder, dockerfile, inputs)).collect()
    }

    /// What to set where sources are missing in the context and another one has them all; nothing where none has.
    fn other_context(&self, context: &str, dockerfile: &str, inputs: &[InputPattern]) -> String {
        let own = self.service.dir.as_str();
        let above = self.fitting_above(dockerfile, inputs);
        let ends = [own, "."].into_iter().filter(|folder| self.fits(folder, dockerfile, inputs));
        let Some(folder) = above.iter().copied().chain(ends).find(|folder| *folder != context) else {
            return String::new();
        };
        let value = match folder {
            "." => "root".to_owned(),
            folder if folder == own => "service".to_owned(),
            folder => vec![".."; own[folder.len()..].matches('/').count()].join("/"),
        };
        let folder = if folder == "." { "the root" } else { folder };
        format!(
            "; {folder} has all of them: set `context = \"{value}\"` in {}",
            self.service.path(SERVICE_TOML)
        )
    }

    /// The name of an image, with the prefix of all.
    fn image_name(&self, base: &str) -> ImageName {
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
        let config = self.input.config;
        let name = self.image_name(base);
        let plain = format!("{name}:{}", config.tag);
        let full = match &config.registry {
            Some(registry) => registry.join(&plain),
            None => plain.parse(),
        };
        match (full, plain.parse::<Reference>()) {
            (Ok(reference), Ok(plain)) => Some(Image {
                name,
                kind: ImageKind::Service,
                service: self.service.name.clone(),
                local_alias: (reference != plain).then_some(plain),
                tags: Vec::new(),
                reference,
                source,
                platform: platform.clone(),
                group,
                needs: BTreeSet::new(),
                base_images: Vec::<BaseImage>::new(),
                companions: Vec::new(),
                asks_for: BTreeMap::new(),
                dependency_at: None,
            }),
            (Err(error), _) | (_, Err(error)) => {
                let settings = self.service.path(SERVICE_TOML);
                let message = format!(
                    "its image name makes no reference: {error}; `image` in {settings} names another one"
                );
                let found = Diagnostic::error(&self.service.dir, 0, message);
                if !read.diagnostics.contains(&found) {
                    read.diagnostics.push(found);
                }
                None
            }
        }
    }
}

/// What a Dockerfile's images share.
struct ServiceFacts<'a> {
    dockerfile: &'a str,
    settings: &'a conf::ServiceSettings,
    group: Option<BuildGroup>,
    platform: &'a Platform,
    companions: Vec<Reference>,
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
