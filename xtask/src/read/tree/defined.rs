//! What a compose or bake file says of a service, below what its `service.toml` says, and what its images are called.
//!
//! In: the definition that discover found, the settings. Out: the service's settings, and names of images: by the tree's
//! rules, or whole ones as the files have them.

use super::contexts::LAYOUT;
use super::service::{ReadService, Reader};
use crate::model::{Diagnostic, FurtherTag, ParseReferenceError, Platform, Reference};
use crate::read::conf::{self, SERVICE_TOML, ServiceContext, ServiceSettings};
use crate::read::definitions::Definition;
use crate::read::discover::ServiceSource;
use crate::settings::Scalar;
use crate::settings::interpolate::interpolate;

/// What an image is called: its own name, the plain one beside a registry's, further ones.
pub(super) type Names = (Reference, Option<Reference>, Vec<FurtherTag>);

impl Reader<'_> {
    /// Completes what `service.toml` says: variables, paths, and what a definition says below it.
    pub(super) fn complete(&self, settings: &mut ServiceSettings, read: &mut ReadService) {
        let config = self.input.config;
        let file = self.service.path(SERVICE_TOML);
        let replace = |text: &str| interpolate(text, &|name| config.variable(name));
        let mut refuse = |what: &str, why: String| {
            let line = self.service.settings_line();
            read.diagnostics.push(Diagnostic::error(&file, line, format!("`{what}`: {why}")));
        };
        for (name, value) in &mut settings.args {
            if value.0.contains("${") {
                match replace(&value.0) {
                    Ok(text) => value.0 = text,
                    Err(why) => refuse(&format!("args.{name}"), why),
                }
            }
        }
        for (name, value) in &mut settings.contexts {
            let (kind, path) = match value.strip_prefix(LAYOUT) {
                Some(path) if !path.starts_with('/') => (LAYOUT, path),
                _ => ("", value.as_str()),
            };
            if !is_named(path) {
                match conf::resolve_path(&self.service.dir, path) {
                    Some(folder) => *value = format!("{kind}{folder}"),
                    None => refuse(&format!("contexts.{name}"), format!("`{value}` lies outside the tree")),
                }
            }
        }
        // What an image of several is called here is its `name`, and `image` is what it is tagged; likewise beside `tags`.
        let is_tag = self.service.entry.is_some() || !settings.names.is_empty();
        if let Some(image) = settings.image.take_if(|image| is_tag || conf::is_whole_name(image)) {
            let whole = conf::is_whole_name(&image);
            settings.names.insert(0, if whole { image } else { self.image_name(&image).as_str().to_owned() });
        }
        for name in &mut settings.names {
            match replace(name) {
                Ok(text) => *name = text,
                Err(why) => refuse("image", why),
            }
        }
        if let Some(definition) = &self.service.definition {
            read.diagnostics.extend(definition.problems.iter().cloned());
            lay_under(settings, definition);
        }
        for (name, value) in &config.contexts {
            settings.contexts.entry(name.clone()).or_insert_with(|| value.clone());
        }
        read.names.clone_from(&settings.names);
    }

    /// What a definition's image is made for where nobody asks and it is not made for what the run is for: the first of its
    /// own platforms, as its tool would have it.
    pub(super) fn defined_platform(
        &self,
        wanted: &Platform,
        settings: &ServiceSettings,
        said: &mut Vec<Diagnostic>,
    ) -> Option<Platform> {
        let definition = self.service.definition.as_ref()?;
        let first = settings.platforms.first().filter(|_| !settings.platforms.contains(wanted))?;
        let message = format!("is made for {first}, not for {wanted}, which the engine runs");
        said.push(Diagnostic::warning(&*definition.file, definition.line, message));
        Some(first.clone())
    }

    /// The names of an image that is called `name` by the tree's rules, unless whole names say otherwise.
    pub(super) fn names(&self, name: &str, whole: &[String]) -> Result<Names, ParseReferenceError> {
        let Some((first, rest)) = whole.split_first() else {
            let (reference, alias) = self.named(name)?;
            return Ok((reference, alias, Vec::new()));
        };
        let (reference, alias) = self.named(first)?;
        let further = rest.iter().map(|text| {
            let (name, local_alias) = self.named(text)?;
            Ok(FurtherTag { name, local_alias })
        });
        Ok((reference, alias, further.collect::<Result<_, ParseReferenceError>>()?))
    }

    /// A name without a tag gets the one that is built, one without a registry that of the settings.
    fn named(&self, text: &str) -> Result<(Reference, Option<Reference>), ParseReferenceError> {
        let config = self.input.config;
        let end = text.rsplit('/').next().unwrap_or(text);
        let is_tagged = end.contains(':') || text.contains('@');
        let plain = if is_tagged { text.to_owned() } else { format!("{text}:{}", config.tag) };
        let domain = text.split_once('/').map_or("", |(first, _)| first);
        let has_registry = domain.contains(['.', ':']) || domain == "localhost";
        let own: Reference = plain.parse()?;
        match &config.registry {
            Some(registry) if !has_registry => {
                let full = registry.join(&plain)?;
                let alias = (full != own).then_some(own);
                Ok((full, alias))
            }
            _ => Ok((own, None)),
        }
    }

    /// The name of another service's image, or of one of its images.
    pub(super) fn reference_of(&self, word: &str) -> Result<Reference, String> {
        let all = &self.input.discovered.services;
        let named: Vec<&ServiceSource> = all.iter().filter(|known| known.name == word).collect();
        let of_service = || all.iter().filter(|known| known.service() == word).collect();
        match if named.is_empty() { of_service() } else { named }.as_slice() {
            [] => {
                let known = all.iter().map(|known| known.name.as_str());
                let meant = crate::model::suggest::did_you_mean(word, known);
                Err(format!("there is no service `{word}`{meant}"))
            }
            [one, others @ ..] if others.is_empty() || one.name == word => {
                let (base, whole) = self.called(one);
                let base = if whole.is_empty() { self.image_name(&base).as_str().to_owned() } else { base };
                self.names(&base, &whole).map(|(reference, ..)| reference).map_err(|error| error.to_string())
            }
            several => {
                let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
                Err(format!("`{word}` has several images: say which of {}", names.join(", ")))
            }
        }
    }

    /// What `service.toml`, or a definition, calls a service's image.
    fn called(&self, service: &ServiceSource) -> (String, Vec<String>) {
        let base = service.name.to_lowercase();
        let text = service.text(SERVICE_TOML, self.input.rendered);
        let at = service.entry.as_ref().map(|entry| entry.at);
        let settings = text.and_then(|text| conf::parse_service_toml("", text).ok()?.of(at));
        let ServiceSettings { image, names, .. } = settings.unwrap_or_default();
        let is_tag = service.entry.is_some() || !names.is_empty();
        match image.or_else(|| names.into_iter().next()) {
            Some(image) if conf::is_whole_name(&image) => {
                let name = interpolate(&image, &|name| self.input.config.variable(name));
                (base, name.into_iter().collect())
            }
            Some(image) if is_tag => (base, vec![self.image_name(&image).as_str().to_owned()]),
            Some(image) => (image, Vec::new()),
            None => (base, service.definition.as_ref().map(|one| one.names.clone()).unwrap_or_default()),
        }
    }
}

/// Whether a context is none of the tree's folders.
pub(super) fn is_named(context: &str) -> bool {
    context.contains("://") || context.starts_with("target:") || context.starts_with("service:")
}

fn lay_under(settings: &mut ServiceSettings, definition: &Definition) {
    if settings.context.is_none() {
        settings.context = Some(ServiceContext::InTree(definition.context.clone()));
    }
    settings.target = settings.target.take().or_else(|| definition.target.clone());
    if settings.image.is_none() && settings.names.is_empty() {
        settings.names.clone_from(&definition.names);
    }
    for (name, value) in &definition.args {
        settings.args.entry(name.clone()).or_insert_with(|| Scalar(value.clone()));
    }
    for (id, secret) in &definition.secrets {
        settings.secrets.entry(id.clone()).or_insert_with(|| secret.clone());
    }
    for (id, agent) in &definition.ssh {
        settings.ssh.entry(id.clone()).or_insert_with(|| agent.clone());
    }
    for (name, value) in &definition.contexts {
        settings.contexts.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if settings.platforms.is_empty() {
        settings.platforms.clone_from(&definition.platforms);
    }
    for (name, value) in &definition.labels {
        settings.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    settings.network.clone_from(&definition.network);
}
