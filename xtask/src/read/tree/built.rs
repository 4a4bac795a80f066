//! EFFECT: a Dockerfile to the images of its service: what each needs, its build args and secrets, its hashed context.
//!
//! In: the text, which stages of it are images, what the settings say. Out: images in a [`ReadService`], and what is wrong.

use std::collections::BTreeMap;
use std::path::Path;

use super::contexts::FOLDER;
use super::service::{ReadService, Reader, ServiceFacts, is_sound};
use super::stages::StageImage;
use crate::model::{
    BuildSecrets, BuildTarget, Diagnostic, ImageName, ImageSource, InputKind, InputPattern, LayoutContext,
    Platform, SecretKind, SecretMount, Severity, Triggers,
};
use crate::plan::build::Prepared;
use crate::read::conf;
use crate::read::discover::DOCKERFILE;
use crate::read::fingerprint::canonical::digest_files;
use crate::read::fingerprint::files::Context;
use crate::settings::is_socket;
use dockerfile::ignorefile::IgnoreFile;
use dockerfile::{Dockerfile, Options, Resolved};

/// One image of a service before its context is read.
struct Wanted<'a> {
    target: Option<&'a str>,
    /// Without the platform.
    name: ImageName,
    platform: &'a Platform,
    resolved: Resolved,
    build_args: BTreeMap<String, String>,
}

/// What the images of one Dockerfile share once its context is known.
struct Shared {
    /// Folders of named contexts, by name.
    folders: Vec<(String, String)>,
    layouts: Vec<LayoutContext>,
    path: String,
    context: String,
    /// What all of them read.
    inputs: Vec<InputPattern>,
    ignore: Option<(IgnoreFile, String)>,
    secrets: BuildSecrets,
    is_sound: bool,
}

impl Reader<'_> {
    /// Its images, each with its context.
    pub(super) fn read_dockerfile(
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
        let wanted = self.wanted(&file, names, stages, facts);
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
            layouts: written.layouts.clone(),
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

    /// What is to be built of the file, for each platform.
    fn wanted<'a>(
        &self,
        file: &Dockerfile,
        names: &[(Option<&'a str>, &'a str)],
        stages: &'a [StageImage],
        facts: &ServiceFacts<'a>,
    ) -> Vec<Wanted<'a>> {
        let settings = facts.settings;
        let of_stages = stages.iter().map(|stage| (Some(stage.label.as_str()), stage.name.as_str()));
        let all = names.iter().copied().chain(of_stages);
        let each = all.flat_map(|named| facts.platforms.iter().map(move |platform| (named, platform)));
        each.map(|((target, name), platform)| {
            let name = self.image_name(name);
            let triggers = match facts.platforms {
                [_] => self.input.triggers_of(&name),
                _ => self.input.triggers_of(&name.variant(platform)),
            };
            let (mut resolved, build_args) =
                self.resolve(file, target, settings, platform, &BTreeMap::new(), &triggers);
            resolved.inputs.retain(|input| !input.pattern.starts_with(FOLDER));
            Wanted { target, name, platform, resolved, build_args }
        })
        .collect()
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
        self.say_other_context(&mut found, shared);
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
            layouts: shared.layouts.clone(),
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

    /// Where sources are missing, which context has them.
    fn say_other_context(&self, found: &mut [Diagnostic], shared: &Shared) {
        let missing = |d: &&mut Diagnostic| {
            d.severity == Severity::Error && d.message.contains(" matches nothing in the context ")
        };
        let mut missing = found.iter_mut().filter(missing).peekable();
        if missing.peek().is_some() {
            let cure = self.other_context(&shared.context, &shared.path, &shared.inputs);
            missing.for_each(|d| d.message.push_str(&cure));
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
}

/// `inputs` of `service.toml`, as patterns.
pub(super) fn declared(settings: &conf::ServiceSettings) -> impl Iterator<Item = InputPattern> {
    settings.inputs.iter().map(|pattern| InputPattern::new(pattern, 0, InputKind::Declared))
}
