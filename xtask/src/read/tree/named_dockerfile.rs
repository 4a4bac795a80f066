//! Which part of `service.toml` is about an image, and whether the Dockerfile that it names can be taken.
//!
//! In: what discover found. Out: what is said, or a finding at the line that says it.

use super::service::Reader;
use crate::model::Diagnostic;
use crate::read::conf::{self, SERVICE_TOML, ServiceFile, ServiceSettings};
use crate::read::discover::DOCKERFILE;

impl Reader<'_> {
    /// What the file says of this image. Which images there are was read before templates were rendered.
    pub(super) fn of_entry(&self, file: ServiceFile) -> Result<ServiceSettings, Diagnostic> {
        let service = self.service;
        let first = file.images.first().map(|image| image.line);
        let entry = service.entry.as_ref();
        let is_new = first.is_some() && !service.has_several();
        file.of(entry.map(|entry| entry.at)).filter(|_| !is_new).ok_or_else(|| {
            let message = "its `[[image]]` tables are not those of its template, which has to be right as it stands: no \
                           variable can be in a `name`, or decide how many there are";
            let line = first.or(entry.map(|entry| entry.line)).unwrap_or_default();
            Diagnostic::error(service.path(SERVICE_TOML), line, message)
        })
    }

    /// What is wrong where there is neither a Dockerfile nor an image to pull.
    pub(super) fn nothing_to_build(&self) -> Option<Diagnostic> {
        let service = self.service;
        let message = format!("there is no file {} to build it from", service.dockerfile);
        if let Some(definition) = &service.definition {
            return Some(Diagnostic::error(&*definition.file, definition.line, message));
        }
        let entry = service.entry.as_ref()?;
        let message = format!("{message}: `file = \"…\"` names another one");
        Some(Diagnostic::error(service.path(SERVICE_TOML), entry.line, message))
    }

    /// What is wrong with `dockerfile`, where it is set.
    pub(super) fn refuse_dockerfile(&self, settings: &ServiceSettings) -> Option<Diagnostic> {
        let service = self.service;
        let named = settings.dockerfile.as_ref()?;
        let is_broken = || service.problems.iter().any(|found| found.file == service.dockerfile);
        let message = match conf::resolve_path(&service.dir, named.get_ref()) {
            None => format!("the Dockerfile `{}` lies outside the tree", named.get_ref()),
            Some(path) if path != service.dockerfile => {
                format!(
                    "the Dockerfile is {} already: no variable can be in `dockerfile`, and nothing else where \
                     `services` names files",
                    service.dockerfile
                )
            }
            Some(path) if !service.has(DOCKERFILE) && !is_broken() && !self.is_rendered(&path) => {
                format!("there is no file {path}")
            }
            Some(_) => return None,
        };
        let (file, text) = (service.path(SERVICE_TOML), self.text(SERVICE_TOML).unwrap_or_default());
        Some(Diagnostic::error(file, 0, message).at_offset(text, named.span().start))
    }

    /// Whether a template makes the file, or should.
    fn is_rendered(&self, path: &str) -> bool {
        self.input.rendered.contains_key(path) || self.input.render.broken.contains_key(path)
    }
}
